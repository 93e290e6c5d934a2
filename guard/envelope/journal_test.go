// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/journal"
)

// TestJournalCut cuts the journal at every length: what was durable by then counts,
// and what was in flight is in doubt.
func TestJournalCut(t *testing.T) {
	w := newWorld(t)
	e := load(t, insulin)
	type mark struct {
		bytes   int64
		counted int64 // thousandths
	}
	marks := []mark{}
	at := func(counted int64) {
		w.flush()
		info, err := os.Stat(w.cfg.Path)
		if err != nil {
			t.Fatal(err)
		}
		marks = append(marks, mark{info.Size(), counted})
	}
	w.Report(ward, e, &Report{Rate: quantity(t, "0 U/h")})
	at(0)
	w.give(e, device.DeliverBolus, "2 U", "")
	at(2000)
	w.wait(time.Minute)
	w.give(e, device.DeliverBolus, "1.5 U", "")
	at(3500)
	d, res, err := w.Reserve(ward, e, ask(t, device.DeliverBolus, "0.25 U", ""))
	if d.Verdict != device.Allow || err != nil {
		t.Fatal(d, err)
	}
	at(3750)
	res.Sent()
	w.give(e, device.DeliverBolus, "1 U", "")
	at(4750)
	w.Book.Close()
	whole, err := os.ReadFile(w.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := w.cfg
	cfg.quick = true
	for n := range len(whole) + 1 {
		if testing.Short() && n%7 != 0 && n < len(whole) { // each byte otherwise
			continue
		}
		cfg.Path = filepath.Join(t.TempDir(), "doses")
		if err := os.WriteFile(cfg.Path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := OpenBook(cfg)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		had := int64(0)
		for _, m := range marks {
			if m.bytes <= int64(n) {
				had = m.counted
			}
		}
		counted := int64(0)
		if v := b.View(ward, e); len(v.Sums) > 0 {
			counted = v.Sums[0].Counted.Coefficient / 1000
		}
		if counted < had || counted > 4750 {
			t.Fatalf("%d bytes: %d counted of %d", n, counted, had)
		}
		for _, d := range b.Doubts() {
			if n == len(whole) && d.Value.String() != "0.25 [iU]" {
				t.Fatalf("in doubt: %+v", d)
			}
		}
		b.Close()
		// What was dropped does not come back.
		again, err := OpenBook(cfg)
		if err != nil {
			t.Fatalf("%d bytes, again: %v", n, err)
		}
		if v := again.View(ward, e); len(v.Sums) > 0 && v.Sums[0].Counted.Coefficient/1000 != counted {
			t.Fatalf("%d bytes: %d, and then %v", n, counted, v.Sums[0].Counted)
		}
		again.Close()
	}
}

// TestJournalChanged flips each byte: that is told from a loss of power, but in the
// last frame.
func TestJournalChanged(t *testing.T) {
	w := newWorld(t)
	e := load(t, insulin)
	for range 3 {
		w.give(e, device.DeliverBolus, "1 U", "")
		w.flush()
	}
	w.Book.Close()
	whole, err := os.ReadFile(w.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	texts, n, err := parse(whole)
	if err != nil || n != len(whole) {
		t.Fatal(n, err)
	}
	body := len(whole) - len(texts[len(texts)-1]) - journal.ChainBytes
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		got, _, err := parse(b)
		if inBody := at >= body; err == nil != inBody || err != nil && !errors.Is(err, journal.ErrDamaged) {
			t.Fatalf("byte %d of %d: %d texts, %v", at, len(b), len(got), err)
		} else if inBody && len(got) != len(texts)-1 {
			t.Fatalf("byte %d: %d texts", at, len(got))
		}
	}
	whole[20] ^= 1
	os.WriteFile(w.cfg.Path, whole, 0o600)
	if _, err := OpenBook(w.cfg); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

// TestDamagedAnyway: a book whose journal is damaged lets rescues pass and nothing else, says
// why, and leaves the file for a person; what is told in an envelope that observes passes as ever.
func TestDamagedAnyway(t *testing.T) {
	w := newWorld(t)
	e := load(t, insulin)
	for range 3 {
		w.give(e, device.DeliverBolus, "1 U", "")
		w.flush()
	}
	w.Book.Close()
	whole, err := os.ReadFile(w.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(w.cfg.Path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	cfg := w.cfg
	cfg.Anyway, cfg.Tell = true, func(n Notice) { told = append(told, n.Text) }
	b, err := OpenBook(cfg)
	if err != nil || !errors.Is(b.Err(), ErrDamaged) || len(told) != 1 || !strings.Contains(told[0], "nothing but rescues") {
		t.Fatal(err, b.Err(), told)
	}
	for range 100 {
		d, res, err := b.Reserve(ward, e, ask(t, device.DeliverBolus, "0.1 U", ""))
		if d.Verdict != device.Deny || !d.Enforced || res != nil || !errors.Is(err, ErrDamaged) {
			t.Fatal(d, res, err)
		}
		if d, res, _ := b.Reserve(ward, e, ask(t, device.CancelBolus, "", "")); d.Verdict != device.Allow || !d.Rescue {
			t.Fatal(d, res)
		}
		_ = b.Report(ward, e, &Report{Rate: quantity(t, "1 U/h")})
	}
	if len(b.queue) != 0 {
		t.Errorf("%d records wait for a file that is never written", len(b.queue))
	}
	if v := b.View(ward, e); !strings.Contains(v.NotCounted, "damaged") || len(v.Sums) != 0 {
		t.Errorf("%+v", v)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if now, _ := os.ReadFile(w.cfg.Path); !bytes.Equal(now, whole) {
		t.Error("it was written")
	}
}

// TestJournalFile: one process, and nobody else reads it.
func TestJournalFile(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{w.cfg.Path, w.cfg.Path + ".lock"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatal(info.Mode(), err)
		}
	}
	if _, err := OpenBook(w.cfg); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	w.Book.Close()
	w.start()
}

// TestCompaction: a journal that was written anew holds the same.
func TestCompaction(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	var largest int64
	shrunk := 0
	for i := range 6000 {
		w.give(e, device.SetBasalRate, fmt.Sprintf("0.%d U/h", 5+i%3), "")
		if i%50 == 0 {
			w.give(e, device.DeliverBolus, "0.05 U", "")
		}
		w.wait(5 * time.Minute)
		if i%20 == 0 {
			w.flush()
			info, _ := os.Stat(w.cfg.Path)
			if info.Size() < largest/2 {
				shrunk++
				largest = 0
				before := w.sum(e, 0) + w.sum(e, 1)
				w.Book.Close()
				w.start()
				if after := w.sum(e, 0) + w.sum(e, 1); before != after {
					t.Fatalf("%s before, %s after", before, after)
				}
			}
			largest = max(largest, info.Size())
		}
	}
	if shrunk == 0 {
		t.Fatal("it was never written anew")
	}
}

// TestBroken: when the journal cannot be written changes are refused, and rescues pass.
func TestBroken(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	w.give(e, device.DeliverBolus, "1 U", "")
	w.flush()
	w.journal.Close()
	d, res, err := w.Reserve(ward, e, ask(t, device.DeliverBolus, "1 U", ""))
	if d.Verdict != device.Deny || res != nil || !errors.Is(err, ErrBroken) {
		t.Fatal(d, res, err)
	}
	d, res, _ = w.Reserve(ward, e, ask(t, device.CancelBolus, "", ""))
	if d.Verdict != device.Allow || !d.Rescue {
		t.Fatal(d)
	}
	res.Sent()
	res.Accepted()
	if err := w.Settle(1, true, "JR"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	for until := time.Now().Add(20 * time.Second); w.Err() != nil; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatal("the disk takes writes again, and nothing is written")
		}
	}
	w.has(e, 0, "0..1, planned 1") // what was refused counts no more; of the first perhaps nothing was given
	w.give(e, device.DeliverBolus, "2 U", "")
	w.Book.Close()
	w.start()
	w.has(e, 0, "0..3, planned 3")
}

// TestKill kills a process that reserves, without warning: every reservation that was
// answered for counts, and none counts more than once.
func TestKill(t *testing.T) {
	const variable = "MYELIN_TEST_BOOK"
	src := head + "therapy: insulin infusion\nsums: {unit: U, windows: [{window: 24h, highest: 1000000 U}]}\nverbs: {deliver-bolus: {}, set-basal-rate: {}}\n"
	if path := os.Getenv(variable); path != "" { // the process
		e := load(t, src)
		b, err := OpenBook(Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			d, res, err := b.Reserve(ward, e, ask(t, device.DeliverBolus, "1 U", ""))
			if d.Verdict != device.Allow || err != nil {
				t.Fatal(d, err)
			}
			fmt.Println("reserved")
			res.Sent()
			if n%7 != 3 {
				res.Accepted()
			} else if len(b.Doubts()) < maxOpen-4 {
				res.Doubted()
			} else {
				res.Rejected()
			}
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := load(t, src)
	path := filepath.Join(t.TempDir(), "doses")
	total := int64(0)
	for round := range 5 {
		cmd := exec.Command(exe, "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), variable+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		answered := int64(0)
		for lines.Scan() {
			if strings.TrimSpace(lines.Text()) == "reserved" {
				if answered++; answered == int64(5+3*round) {
					cmd.Process.Kill()
				}
			}
		}
		cmd.Wait()
		b, err := OpenBook(Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		v := b.View(ward, e)
		counted := v.Sums[0].Counted.Coefficient / 1e6
		// Of seven one may have been rejected, once enough were in doubt; and one more
		// may have been reserved than was answered for.
		if answered < int64(5+3*round) || counted > total+answered+1 || counted < total+answered-answered/7-1 || round < 2 && counted < total+answered {
			t.Fatalf("round %d: %d counted before, %d answered for, %d counted", round, total, answered, counted)
		}
		for _, d := range b.Doubts() { // the same again is not sent: a person says
			if err := b.Settle(d.ID, true, "JR"); err != nil {
				t.Fatal(err)
			}
		}
		total = b.View(ward, e).Sums[0].Counted.Coefficient / 1e6
		if total != counted {
			t.Fatal(total, counted)
		}
		b.Close()
	}
}

// TestSignedTime: over a reboot nothing ages but by a time that is proven.
func TestSignedTime(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after bool
		want          string
	}{
		{"none", false, false, "0.5..5.5, planned 5.5"},
		{"before", true, false, "0.5..5.5, planned 5.5"},
		{"after", false, true, "0.5..5.5, planned 5.5"},
		{"both", true, true, "0.5..0.5, planned 0.5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			e := load(t, insulin)
			real := w.now.Wall
			pass := func(d time.Duration) {
				w.wait(d)
				real += int64(d)
			}
			signed := func() {
				if err := w.SignedTime(time.Unix(0, real-5e9), 10*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			w.Report(ward, e, &Report{Rate: quantity(t, "0 U/h")})
			if test.before {
				signed()
			}
			w.give(e, device.DeliverBolus, "5 U", "")
			pass(30 * time.Minute)
			w.has(e, 0, "5..5, planned 5")
			w.flush()
			w.stopHard()
			pass(4 * time.Hour)
			w.now = Reading{Wall: 0, Uptime: 1e9, Boot: "b"} // its battery is empty
			w.start()
			if v := w.View(ward, e); v.ClockDoubt == "" || len(w.notices) == 0 {
				t.Fatal("nobody is told")
			}
			w.has(e, 0, "0..5, planned 5")
			w.give(e, device.DeliverBolus, "0.5 U", "") // does not become old by what was before it
			if test.after {
				signed()
			}
			w.wait(10 * time.Minute)
			w.has(e, 0, test.want)
			if v := w.View(ward, e); (v.ClockDoubt == "") != (test.before && test.after) {
				t.Fatal(v.ClockDoubt)
			}
			w.kill()
			w.has(e, 0, test.want)
			w.wait(5 * time.Hour) // it ages again
			w.has(e, 0, "0..0, planned 0")
		})
	}
}

// TestClock: a clock that is set makes nothing old, and what ran counts for as long
// as it may have.
func TestClock(t *testing.T) {
	w := newWorld(t)
	e := load(t, insulin)
	w.give(e, device.SetBasalRate, "1 U/h", "")
	w.give(e, device.DeliverBolus, "3 U", "")
	w.wait(time.Hour)
	w.has(e, 0, "4..4, planned 7")
	w.now.Wall += int64(20 * time.Hour) // forward: perhaps the machine slept
	w.has(e, 0, "1..8, planned 11")
	w.now.Wall -= int64(20 * time.Hour)
	w.wait(time.Hour)
	if v := w.View(ward, e); v.ClockDoubt == "" || v.Sums[0].Counted.Coefficient < 8e6 {
		t.Fatal(v)
	}
	w.wait(5 * time.Hour)
	w.has(e, 0, "4..4, planned 4")
}

// TestManyReboots: the scales do not run over.
func TestManyReboots(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	w.give(e, device.SetBasalRate, "1 U/h", "")
	w.give(e, device.SetTemporaryBasal, "2 U/h", "90 min")
	times := 500
	if testing.Short() {
		times = 50
	}
	for i := range times {
		w.Book.Close()
		w.now = Reading{Wall: w.now.Wall, Uptime: 1e9, Boot: fmt.Sprint(i)}
		w.start()
		if v := w.View(ward, e); v.Sums[0].Counted.Coefficient < 1e6 || w.broken != nil {
			t.Fatal(i, v.Sums, w.broken)
		}
		w.wait(time.Hour)
		if i == 3 {
			w.give(e, device.SetBasalRate, "1 U/h", "")
		}
	}
	w.wait(4 * time.Hour)
	w.has(e, 0, "4..4, planned 4")
	if w.clock.Now.Most > forever/4 {
		t.Fatal(w.clock.Now)
	}
}

// TestLostRescue: a rescue waits for no record, and may be forgotten when the guard is
// killed: then nothing is sure that runs, until the device says so.
func TestLostRescue(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	w.give(e, device.SetBasalRate, "1 U/h", "")
	w.give(e, device.DeliverBolus, "1 U", "")
	w.flush()
	w.wait(15 * time.Minute) // and then: suspend 30 min
	w.stopHard()             // before the record of that
	w.wait(15 * time.Minute)
	w.start()
	w.has(e, 0, "0..1.5, planned 5")
	if err := w.Report(ward, e, &Report{Rate: quantity(t, "1 U/h")}); err != nil {
		t.Fatal(err)
	}
	w.wait(30 * time.Minute)
	w.has(e, 0, "0.5..2, planned 5")
}

// TestReportedLater: what the device says now may have run since it said so last, and
// not before.
func TestReportedLater(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	report := func(rate string) {
		t.Helper()
		if err := w.Report(ward, e, &Report{Rate: quantity(t, rate)}); err != nil {
			t.Fatal(err)
		}
	}
	report("1 U/h")
	w.wait(time.Hour)
	report("1 U/h")
	w.wait(time.Hour)
	report("2 U/h")
	w.has(e, 0, "2..3, planned 8")
	w.wait(time.Hour)
	report("0.5 U/h")
	w.has(e, 0, "2.5..5, planned 5.5")
	for range 2 {
		w.kill()
		w.has(e, 0, "2.5..5, planned 5.5")
	}
	// What cannot be counted is said, and no number is made up.
	if err := w.Report(ward, e, &Report{Rate: quantity(t, "0 mL/h")}); err != nil { // nothing is nothing, of whatever concentration
		t.Error(err)
	}
	if err := w.Report(ward, e, &Report{Rate: quantity(t, "1 mL/h")}); !errors.Is(err, ErrNotCounted) || w.View(ward, e).NotCounted == "" {
		t.Fatal(err)
	}
	if err := w.Report(ward, e, &Report{Rate: quantity(t, "1 mL/h"), Concentration: quantity(t, "100 U/mL")}); err != nil {
		t.Fatal(err)
	}
	if v := w.View(ward, e); v.Rate[0].String() != "100.000000 [iU]/h" {
		t.Fatal(v.Rate)
	}
}

// TestReportedDoses: a dose that the device names is exactly what it says, and each
// record of its history counts once.
func TestReportedDoses(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	w.Report(ward, e, &Report{Rate: quantity(t, "0 U/h")})
	_, res, err := w.Reserve(ward, e, ask(t, device.DeliverBolus, "4 U", ""))
	if err != nil {
		t.Fatal(err)
	}
	res.Sent()
	res.Doubted()
	w.has(e, 0, "0..4, planned 4")
	if d := w.Doubts(); len(d) != 1 || d[0].Value.String() != "4 [iU]" || d[0].Verb != device.DeliverBolus || d[0].Actor != "ehr" || d[0].ID != res.ID() {
		t.Fatal(d)
	}
	w.Report(ward, e, &Report{Amount: quantity(t, "1 U"), Reservation: res.ID()})
	w.wait(10 * time.Minute)
	w.has(e, 0, "1..4, planned 4")
	w.Report(ward, e, &Report{Amount: quantity(t, "1.5 U"), Reservation: res.ID(), Final: true})
	w.has(e, 0, "1.5..1.5, planned 1.5")
	for range 2 {
		w.Report(ward, e, &Report{Amount: quantity(t, "2 U"), Record: 7}) // at the keypad
		w.Report(ward, e, &Report{Amount: quantity(t, "9 U"), Record: 6})
		w.has(e, 0, "1.5..3.5, planned 3.5")
		w.kill()
	}
}

// TestSuperseded: a rate in doubt matters until another one was taken that was asked
// for after it.
func TestSuperseded(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	w.give(e, device.SetBasalRate, "0.5 U/h", "")
	_, res, _ := w.Reserve(ward, e, ask(t, device.SetBasalRate, "2 U/h", ""))
	res.Sent()
	res.Doubted()
	w.wait(time.Hour)
	w.has(e, 0, "0.5..2, planned 8")
	w.give(e, device.SetBasalRate, "1 U/h", "")
	w.has(e, 0, "0.5..2, planned 5")
	if err := w.Settle(res.ID(), true, "JR"); err != nil { // too late to matter
		t.Fatal(err)
	}
	w.has(e, 0, "0.5..2, planned 5")
	if err := w.Settle(res.ID(), true, "JR"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
}

// TestTooManyOpen: what waits for an answer has to be told apart; when there is no
// room changes are refused, and rescues pass.
func TestTooManyOpen(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	for range maxOpen {
		_, res, err := w.Reserve(ward, e, ask(t, device.DeliverBolus, "0.1 U", ""))
		if res == nil || err != nil {
			t.Fatal(err)
		}
		res.Sent()
		res.Doubted()
	}
	d, res, _ := w.Reserve(ward, e, ask(t, device.DeliverBolus, "0.1 U", ""))
	if d.Verdict != device.Deny || d.Reason != reasonOpen || res != nil {
		t.Fatal(d)
	}
	if d, _, err := w.Reserve(ward, e, ask(t, device.CancelBolus, "", "")); !d.Rescue || err != nil {
		t.Fatal(d, err)
	}
	w.kill()
	if n := len(w.Doubts()); n != maxOpen {
		t.Fatal(n)
	}
}

// TestIdle: a temporary rate that was perhaps over before its time counts until then,
// and not until somebody looks again.
func TestIdle(t *testing.T) {
	w := newWorldQuick(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	w.give(e, device.SetBasalRate, "0.5 U/h", "")
	w.give(e, device.SetTemporaryBasal, "2 U/h", "1 h")
	w.give(e, device.Resume, "", "") // perhaps it ended the temporary rate
	w.wait(3 * time.Hour)
	w.has(e, 0, "1.5..3, planned 3.5")
	w.Book.Close()
	w.start()
	w.has(e, 0, "1.5..3, planned 3.5")
}
