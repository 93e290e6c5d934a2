// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/gate"
)

// TestState shows what a server is told: whose limits hold, what was given under them,
// and what waits for people.
func TestState(t *testing.T) {
	r := run(t, served(t, "server: {url: \"https://myelin.example:8443\", enrolment: token, confirms: true}"))
	before, err := json.Marshal(r.g.Standing().Doubts)
	if err != nil || string(before) != "[]" {
		t.Errorf("%s, %v", before, err)
	}
	a, _ := r.ask("CASTOREHR", "0.4 ug/kg/min")
	a.Sent()
	a.Outcome(gate.Unknown)
	b, err := r.g.State().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseState(b)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Confirms || s.At.IsZero() || len(s.Doubts) != 1 || s.Doubts[0].Since.UnixNano() != r.g.book.Doubts()[0].Since.UnixNano() {
		t.Errorf("%+v", s)
	}
	i := slices.IndexFunc(s.Devices, func(d DeviceState) bool { return d.ID == "pump-3" })
	if i < 0 {
		t.Fatalf("%s", b)
	}
	d := s.Devices[i]
	if !d.Enforcing || d.Version != 3 || d.Author != "mh" || d.AuthorRole != "prescriber" || d.Approver != "ap" || d.ApproverRole != "pharmacist" ||
		d.Risk != "RM-2026-014" || !strings.HasPrefix(d.Manufacturer, "letter of") || len(d.Digest) != 64 || d.Drug != "norepinephrine" {
		t.Errorf("%+v", d)
	}
	want := []string{
		"set-infusion-rate: max 1.0 ug/kg/min, roles clinician, confirm second-person above 0.5 ug/kg/min, held for 2m",
		"everything highest 48 ug/kg in 1h",
	}
	if !slices.Equal(d.Limits, want) {
		t.Errorf("limits: %q", d.Limits)
	}
	if len(d.Sums) != 1 || d.Sums[0].Most != 48 || len(d.Sums[0].Hour) == 0 || d.Sums[0].Hour[0].Planned != 24 {
		t.Errorf("sums: %+v", d.Sums)
	}
	again, err := s.Bytes()
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("read and written it is\n%s\nnot\n%s", again, b)
	}
}

// TestStateRoom: what has no room is left out, and the rest is told.
func TestStateRoom(t *testing.T) {
	s := &State{}
	for range maxDevices {
		d := DeviceState{ID: "pump", Limits: []string{strings.Repeat("x", 100)}, Sums: []SumState{{Hour: make([]Sample, maxSamples)}}}
		s.Devices = append(s.Devices, d)
	}
	b, err := s.Bytes()
	if err != nil || len(b) > MaxStateBytes {
		t.Fatal(len(b), err)
	}
	if back, err := ParseState(b); err != nil || len(back.Devices) != maxDevices || back.Devices[0].Sums[0].Hour != nil || back.Devices[0].Limits == nil {
		t.Error("pictures have room before limits, or nothing has", err)
	}
	for _, bad := range []string{"", "[]", `{"devices":` + strings.Repeat("[", 20000), `{"trouble":[` + strings.Repeat(`"",`, maxOpen) + `""]}`, strings.Repeat(" ", MaxStateBytes+1)} {
		if _, err := ParseState([]byte(bad)); err == nil {
			t.Errorf("%.20q is a state", bad)
		}
	}
}

func TestThin(t *testing.T) {
	var list []Sample
	for at := range int64(600) {
		list = append(list, Sample{At: at * 15, Delivered: float64(at) / 7})
	}
	out := thin(list)
	if len(out) != 150 || out[0].At != 45 || out[149].At != 599*15 || out[149].Delivered != 85.57 {
		t.Errorf("%d samples, %+v, %+v", len(out), out[0], out[len(out)-1])
	}
}

// FuzzParseState: a guard may be hostile, and what it says is drawn.
func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"devices":[{"id":"pump-3","sums":[{"highest":"48 ug/kg","most":48,"hour":[{"t":1,"d":1,"c":2,"p":3},{"t":61,"d":1e308,"c":-1,"p":0}]}]}]}`))
	f.Add([]byte(`{"doubts":[{"id":18446744073709551615}],"at":"2026-03-03T06:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseState(b)
		if err != nil {
			return
		}
		for _, now := range []time.Time{s.At, time.Unix(61, 0)} {
			for _, d := range s.Devices {
				for _, sum := range d.Sums {
					p := sum.Picture(d.ID, now)
					for _, path := range []string{p.Delivered, p.Unknown, p.Reserved, p.Planned} {
						if strings.Trim(path, "MLZ0123456789. -") != "" {
							t.Errorf("a path is %q", path)
						}
					}
				}
			}
		}
	})
}
