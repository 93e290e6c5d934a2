// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/journal"
)

// FuzzJudge: whatever is asked, however it is written, the answer is one of the
// verdicts, the same again, and what is not proven does not pass.
func FuzzJudge(f *testing.F) {
	e, other := load(f, insulin), load(f, noradrenaline)
	ug := quantity(f, "1 ug/kg/min").Unit
	f.Add(uint8(device.DeliverBolus), int64(40), int8(-1), uint16(quantity(f, "1 U").Unit), int64(30), int8(0), uint16(second), int64(0), int8(0), uint16(0), uint8(7), uint8(device.Clinician), uint8(0))
	f.Add(uint8(device.SetInfusionRate), int64(7), int8(-1), uint16(ug), int64(0), int8(0), uint16(0), int64(2), int8(-1), uint16(ug), uint8(7), uint8(device.Clinician), uint8(1))
	f.Add(uint8(device.Suspend), int64(0), int8(0), uint16(0), int64(-1), int8(127), uint16(second), int64(1), int8(1), uint16(1), uint8(3), uint8(0), uint8(255))
	f.Fuzz(func(t *testing.T, verb uint8, vc int64, ve int8, vu uint16, lc int64, le int8, lu uint16, nc int64, ne int8, nu uint16, channel, role, flags uint8) {
		r := &Request{
			Command: device.Command{
				Verb: device.Verb(verb), Value: device.Quantity{Coefficient: vc, Exponent: ve, Unit: device.Unit(vu)},
				Limit: device.Quantity{Coefficient: lc, Exponent: le, Unit: device.Unit(lu)}, Now: device.Quantity{Coefficient: nc, Exponent: ne, Unit: device.Unit(nu)},
				Channel: device.Protection(channel), Role: device.Role(role), Attended: flags&2 != 0, Actor: "x",
			},
			Replayed: flags&4 != 0, Emergency: flags&8 != 0,
		}
		if flags&16 != 0 {
			r.Weight, r.Concentration = r.Command.Now, r.Command.Limit
		}
		if flags&32 != 0 {
			r.Confirmed = &Confirmation{Person: "MH", Role: ClinicalRole(role), OnDevice: flags&64 != 0}
		}
		use := e
		if flags&1 != 0 {
			use = other
		}
		a := newAccount(moment{})
		a.Unit, a.UnitText = use.Unit, use.Unit.String()
		a.says(moment{1e9, 1e9}, rate{Lo: 1e6, Hi: 1e6})
		now := moment{3600e9, 3700e9}
		for id := range uint64(3) {
			a.advance(now)
			q, again := candidate{Request: r}, candidate{Request: r}
			d := use.decide(a, now, &q)
			if d != use.decide(a, now, &again) {
				t.Fatal("the same asked twice differs")
			}
			if d.Verdict == device.NoVerdict || d.Reason == "" {
				t.Fatalf("%+v", d)
			}
			passes := d.Verdict == device.Allow || d.Verdict == device.AllowEmergency
			if passes && (r.Replayed || r.Command.Channel&device.Authenticated == 0 || r.Command.Role == device.NoRole) {
				t.Fatalf("not proven, and passes: %+v", d)
			}
			if passes && q.effect != device.Reads && r.Command.Channel&device.Fresh == 0 {
				t.Fatalf("not fresh, and passes: %+v", d)
			}
			if d.Verdict == device.Allow && !d.Rescue && vc < 0 && q.effect != device.Reads && q.limits != nil && vu != 0 {
				t.Fatalf("less than nothing, and passes: %+v", d)
			}
			if !passes {
				return
			}
			if q.uncount != "" {
				return
			}
			// What passes is counted, and can be read back.
			before := *a
			x := &entry{ID: id + 1, Shape: q.shape, Takes: q.limits.takes(q.shape.Kind)}
			if !q.shape.sane() {
				t.Fatalf("%+v", q.shape)
			}
			a.reserve(now, x)
			for i := range use.Sums {
				if _, hi, _ := a.sums(now, &use.Sums[i]); hi < 0 || !d.Rescue && use.Sums[i].above.line != 0 && hi > use.Sums[i].most {
					t.Fatalf("%d counted of %d: %+v, %+v", hi, use.Sums[i].most, q.shape, before.Runs)
				}
			}
			b, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			c := new(account)
			if err := json.Unmarshal(b, c); err != nil {
				t.Fatal(err)
			}
			now.Least += int64(time.Minute)
			now.Most += int64(time.Minute)
			a.accepted(now, x)
		}
	})
}

func parse(b []byte) (texts [][]byte, n int, err error) {
	texts, _, n, err = journal.Parse(b, journalOf)
	return texts, n, err
}

// FuzzJournal: whatever stands in the file, it is read or refused, and what is read
// once is read again.
func FuzzJournal(f *testing.F) {
	w := newWorldQuick(f)
	e := load(f, insulin)
	w.give(e, device.SetBasalRate, "1 U/h", "")
	w.give(e, device.DeliverBolus, "1 U", "")
	w.Reserve(ward, e, ask(f, device.SetTemporaryBasal, "0.5 U/h", "30 min"))
	w.Report(ward, e, &Report{Rate: quantity(f, "1 U/h"), Total: quantity(f, "70 U")})
	w.wait(time.Minute)
	w.Report(ward, e, &Report{Total: quantity(f, "73.5 U")})
	w.Book.Close()
	whole, err := os.ReadFile(w.cfg.Path)
	if err != nil {
		f.Fatal(err)
	}
	texts, _, err := parse(whole)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, true)
	for _, t := range texts {
		f.Add(t, false)
	}
	texts, err = w.snapshot()
	if err != nil {
		f.Fatal(err)
	}
	for _, t := range texts {
		f.Add(t, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, raw bool) {
		if !raw { // one text, in its frame
			head := journal.Begin(journalOf)
			b = journal.Append(nil, &head, b)
		}
		texts, n, err := parse(b)
		if err != nil {
			return
		}
		if again, m, err := parse(b[:n]); err != nil || m != n || len(again) != len(texts) {
			t.Fatal("what is whole is not read again")
		}
		// Without the writer, so that the same input takes the same way.
		book := &Book{accounts: map[string]*account{}, cfg: Config{Clock: func() Reading { return Reading{Wall: 1, Uptime: 1, Boot: "z"} }}}
		closed, err := book.replay(texts)
		if err != nil {
			return
		}
		book.died(closed)
		if book.broken != nil {
			t.Fatal(book.broken)
		}
		for name := range book.accounts {
			for _, s := range book.View(name, e).Sums {
				if s.Counted.Coefficient < 0 || s.Delivered.Coefficient < 0 {
					t.Fatalf("%+v", s)
				}
			}
		}
		for _, r := range []*Request{ask(t, device.DeliverBolus, "1 U", ""), ask(t, device.SetTemporaryBasal, "1 U/h", "30 min"), ask(t, device.Suspend, "", "")} {
			book.Judge(ward, e, r)
		}
		texts, err = book.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		again := &Book{accounts: map[string]*account{}, cfg: book.cfg}
		if _, err := again.replay(texts); err != nil {
			t.Fatal(err)
		}
	})
}
