// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
)

// busy is an account as on a bad day: 32 doses and changes of rate in the windows.
func busy(tb testing.TB) (*world, *Envelope) {
	w := newWorld(tb)
	e := load(tb, insulin)
	for i := range 16 {
		w.give(e, device.SetBasalRate, []string{"0.5 U/h", "0.6 U/h"}[i%2], "")
		w.wait(4 * time.Minute)
		w.give(e, device.DeliverBolus, "0.1 U", "")
		w.wait(4 * time.Minute)
	}
	if n := w.View(ward, e).Entries; n < 32 {
		tb.Fatal(n)
	}
	return w, e
}

func TestJudgeAllocations(t *testing.T) {
	w, e := busy(t)
	for _, r := range []*Request{
		ask(t, device.SetBasalRate, "0.7 U/h", ""), ask(t, device.SetBasalRate, "0.1 U/h", ""), ask(t, device.SetTemporaryBasal, "0.1 U/h", "1 h"),
		ask(t, device.DeliverBolus, "1 U", ""), ask(t, device.DeliverBolus, "7.9 U", ""), ask(t, device.Suspend, "", "30 min"), ask(t, device.Suspend, "", ""),
	} {
		if n := testing.AllocsPerRun(100, func() { w.Judge(ward, e, r) }); n != 0 {
			t.Errorf("%v: %v allocations", r.Command.Verb, n)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	for _, c := range []struct {
		name         string
		verb         device.Verb
		value, limit string
	}{
		{"rate", device.SetBasalRate, "0.7 U/h", ""},
		{"lower", device.SetBasalRate, "0.4 U/h", ""},
		{"bolus", device.DeliverBolus, "1 U", ""},
		{"beyond", device.DeliverBolus, "7.9 U", ""},
		{"nothing", device.SetBasalRate, "0.05 U/h", ""},
		{"dip", device.SetTemporaryBasal, "0.1 U/h", "1 h"}, // every window has to be looked at
		{"unnamed", device.Prime, "1 U", ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, e := busy(b)
			w.Book.cfg.Clock = func() Reading { ReadClock(); return w.now } // for what that takes
			r := ask(b, c.verb, c.value, c.limit)
			b.ReportAllocs()
			for b.Loop() {
				w.Judge(ward, e, r)
			}
		})
	}
}
