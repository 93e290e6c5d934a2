// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// whole is a batch with one of everything.
func whole() *Batch {
	e := event.Event{Kind: event.VerdictGiven, Time: 1_700_000_000_000_000_000, Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	e.Add(event.Text(event.Reason, "<b> & \u2028 a limit"), event.Int(event.Verdict, device.Deny))
	return &Batch{
		Sensor: "s-a", Sequence: 7, Part: 3, Sent: 5,
		Observations: []Observation{{Client: device.Address{Kind: device.IP, Value: "10.0.0.1"}, Server: device.Address{Kind: device.MAC, Value: "00:00:5e:00:53:01"}, Protocol: "hl7", Port: 2575, First: 1, Last: 2, Count: 3, Packets: 4, Bytes: 5, Encrypted: true}},
		Devices:      []device.Device{{ID: "d-1", Product: device.Product{Manufacturer: "<Norra>", Harm: device.Critical}, Addresses: []device.Address{{Kind: device.IP, Value: "10.0.0.1"}}}},
		Findings:     []finding.Finding{{ID: "f-1", Kind: finding.WeakTLS, Harm: device.Serious, Decision: finding.Act, Count: 9}},
		Events:       []event.Event{e},
		Held:         []Held{{ID: "1", Device: "pump-3", Verb: "set-infusion-rate", Asked: 8}}, HeldToo: true,
		State: json.RawMessage(`{"devices":[{"id":"pump-3"}]}`), StateNews: true,
		Beat: &Beat{Version: "1", Dropped: 2, Problem: "none"},
	}
}

func TestWire(t *testing.T) {
	want := whole()
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(event.Event{}), cmpopts.IgnoreUnexported(Observation{}), cmpopts.EquateComparable(device.TherapiesOf())); d != "" {
		t.Error(d)
	}
}

// TestWireEmpty: what a batch says nothing of, it says nothing of when it is read.
func TestWireEmpty(t *testing.T) {
	b, err := (&Batch{Sequence: 1}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{string(b), `{"Sequence":1,"State":null}`} {
		if got, err := DecodeBatch([]byte(body)); err != nil || got.State != nil || got.Beat != nil || got.HeldToo {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

// TestWireHostile: at each bound a batch is let in, and behind it is not.
func TestWireHostile(t *testing.T) {
	list := func(field, element string, n int) string {
		return `{"Sequence":1,"` + field + `":[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]}`
	}
	for _, c := range []struct {
		what, body string
		ok         bool
	}{
		{"nothing", ``, false},
		{"a word", `"x"`, false},
		{"no number", `{"Sequence":0}`, false},
		{"a number that a database has no room for", `{"Sequence":9223372036854775808}`, false},
		{"the most observations", list("Observations", `{}`, MaxObservations), true},
		{"one more", list("Observations", `{}`, MaxObservations+1), false},
		{"the most devices", list("Devices", `{"ID":"a"}`, MaxDevices), true},
		{"one more", list("Devices", `{"ID":"a"}`, MaxDevices+1), false},
		{"the most findings", list("Findings", `{"ID":"a"}`, MaxFindings), true},
		{"one more", list("Findings", `{"ID":"a"}`, MaxFindings+1), false},
		{"a count that adds up to less than nothing", list("Observations", `{"Count":18446744073709551615}`, 1), false},
		{"a device without a name", list("Devices", `{}`, 1), false},
		{"an event of no kind", list("Events", `{}`, 1), false},
		{"a list that is none", `{"Sequence":1,"Findings":{"a":1}}`, false},
		{"no list", `{"Sequence":1,"Findings":null}`, true},
		{"the longest state", `{"Sequence":1,"State":"` + strings.Repeat("x", MaxStateBytes-2) + `"}`, true},
		{"one more", `{"Sequence":1,"State":"` + strings.Repeat("x", MaxStateBytes-1) + `"}`, false},
		{"a long body", `{"Sequence":1}` + strings.Repeat(" ", MaxBatchBytes-13), false},
		{"the longest body", `{"Sequence":1}` + strings.Repeat(" ", MaxBatchBytes-14), true},
	} {
		_, err := DecodeBatch([]byte(c.body))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrBatch) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	b, err := DecodeBatch([]byte(`{"Sequence":1,"Sensor":"a\u0000b\\u0000\\\u0000"}`))
	if want := "a\ufffdb\\u0000\\\ufffd"; err != nil || b.Sensor != want {
		t.Errorf("%q, %v; want %q", b.Sensor, err, want)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	b, _ := whole().Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeBatch(b)
		if err != nil {
			return
		}
		again, err := got.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeBatch(again); err != nil && len(again) <= MaxBatchBytes {
			t.Fatal(err)
		}
	})
}
