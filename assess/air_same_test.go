// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/report"
)

// spokenOnAir returns files in which only radios speak.
func spokenOnAir(t *testing.T) (files []string) {
	all, _ := converse(t, 1, false, whole)
	return slices.DeleteFunc(all, func(file string) bool { return filepath.Base(file) == "peers.pcap" })
}

func assessAir(t *testing.T, c Config, files ...string) *report.Assessment {
	t.Helper()
	c.Dialects = []*radio.Dialect{markedDialect()}
	a, err := Run(context.Background(), files, c)
	if err != nil || damaged(a) {
		t.Fatal(err, a.Inputs)
	}
	a.Stats.Seconds = 0
	return a
}

// TestAirSame holds that what is said of radios depends on neither workers nor
// the order of the arguments, with and without a key.
func TestAirSame(t *testing.T) {
	files := spokenOnAir(t)
	if len(files) != 5 {
		t.Fatal(files)
	}
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
		said := func(jobs int, files ...string) map[string]string {
			a := assessAir(t, Config{Jobs: jobs, Key: key}, files...)
			out := map[string]string{}
			for name, write := range formats {
				var b bytes.Buffer
				if err := write(&b, a); err != nil {
					t.Fatal(err)
				}
				out[name] = b.String()
			}
			return out
		}
		want := said(1, files...)
		for _, jobs := range []int{1, 2, 4} {
			for i := range files {
				turned := slices.Concat(files[i:], files[:i])
				if i%2 == 1 {
					slices.Reverse(turned)
				}
				if d := cmp.Diff(want, said(jobs, turned...)); d != "" {
					t.Fatalf("%d workers, order %v:\n%s", jobs, turned, d)
				}
			}
		}
	}
}

// TestAirKey holds that a key gives those on the radio a pseudonym, and changes
// nothing else: the ids of devices and findings are those without it. Without
// one there are ordinals only.
func TestAirKey(t *testing.T) {
	files := spokenOnAir(t)
	ids := func(a *report.Assessment) (all []string) {
		for i := range a.Devices {
			all = append(all, a.Devices[i].ID)
		}
		for i := range a.Findings {
			f := &a.Findings[i]
			all = append(all, f.Kind.String()+" "+f.ID+" of "+f.Device)
		}
		slices.Sort(all)
		return all
	}
	names := func(a *report.Assessment) (all []string) {
		for i := range a.Devices {
			for _, x := range a.Devices[i].Addresses {
				ordinal := strings.TrimLeft(strings.TrimPrefix(x.Value, x.Kind.String()+"-"), "0123456789") == ""
				if !ordinal {
					all = append(all, x.Value)
				}
				if x.Kind != device.BLE && x.Kind != device.Radio || !strings.HasPrefix(x.Value, x.Kind.String()+"-") {
					t.Errorf("an address that is no radio's: %+v", x)
				}
			}
		}
		slices.Sort(all)
		return all
	}
	none := assessAir(t, Config{}, files...)
	one := assessAir(t, Config{Key: bytes.Repeat([]byte{1}, 32)}, files...)
	two := assessAir(t, Config{Key: bytes.Repeat([]byte{2}, 32)}, files...)
	if len(none.Devices) == 0 || len(none.Findings) == 0 || !slices.ContainsFunc(none.Sessions, func(s report.Session) bool { return s.Protocol == proto.Radio.String() }) {
		t.Fatalf("%d devices, %d findings, sessions %+v", len(none.Devices), len(none.Findings), none.Sessions)
	}
	for what, a := range map[string]*report.Assessment{"one key": one, "another": two} {
		if d := cmp.Diff(ids(none), ids(a)); d != "" {
			t.Errorf("under %s other ids than without:\n%s", what, d)
		}
	}
	if got := names(none); len(got) > 0 {
		t.Errorf("without a key: %v", got)
	}
	if a, b := names(one), names(two); len(a) == 0 || len(a) != len(b) || slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) }) {
		t.Errorf("pseudonyms %v under one key, %v under another", a, b)
	}
}
