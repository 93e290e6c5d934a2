// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
)

// head is the top of an envelope that enforces.
const head = `envelope: 1
name: test
version: 3
author: {id: MH, role: prescriber}
approver: {id: JR, role: nurse}
risk: {record: RM-2026-014, manufacturer: "letter of 2 February 2026: no objection"}
enforce: true
`

const noradrenaline = head + `therapy: drug infusion
drug: noradrenaline
sums:
  unit: ug/kg
  windows:
    - {window: 1h, highest: 48 ug/kg, lowest: 1.2 ug/kg}
interruption: 2m
verbs:
  set-infusion-rate: {min: 0.02 ug/kg/min, max: 1.0 ug/kg/min, step: 0.5 ug/kg/min, takes: 1m}
  stop-infusion: {confirm: second-person, hold: 5m}
  deliver-bolus: {max: 2 ug/kg, interval: 10m, takes: 5m}
  cancel-bolus: {}
  suspend: {longest: 1 min}
  resume: {}
`

const insulin = head + `therapy: insulin infusion
sums:
  unit: U
  windows:
    - {window: 4h, highest: 12 U, lowest: 0.8 U}
    - {window: 24h, highest: 60 U}
    - {verb: deliver-bolus, window: 4h, highest: 10 U}
interruption: 3h
verbs:
  deliver-bolus: {max: 8 U, roles: [clinician, patient], confirm: second-person, above: 6 U, takes: 10m}
  set-basal-rate: {max: 2 U/h}
  set-temporary-basal: {max: 3 U/h, longest: 12 h, roles: [clinician, patient]}
  cancel-temporary-basal: {}
  set-profile: {counts: [0.6 U/h, 1.2 U/h]}
  suspend: {longest: 2 h, roles: [clinician, patient]}
  resume: {roles: [clinician, patient]}
emergency: {verbs: [read-settings, read-telemetry, suspend, cancel-bolus]}
`

func load(t testing.TB, src string) *Envelope {
	t.Helper()
	e, err := Load("envelope.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func quantity(t testing.TB, s string) device.Quantity {
	t.Helper()
	if s == "" {
		return device.Quantity{}
	}
	q, err := device.ParseQuantity(s)
	if err != nil {
		t.Fatal(s, err)
	}
	return q
}

// A world has a book, and the clocks of a machine.
type world struct {
	testing.TB
	*Book
	cfg     Config
	now     Reading
	notices []Notice
}

const ward = "pump-3"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, now: Reading{Wall: 1772521200e9, Uptime: int64(time.Hour), Boot: "a"}}
	w.cfg = Config{
		Path:  filepath.Join(t.TempDir(), "doses"),
		Clock: func() Reading { return w.now },
		Tell:  func(n Notice) { w.notices = append(w.notices, n) },
	}
	w.start()
	t.Cleanup(func() { w.Book.Close() })
	return w
}

// newWorldQuick is one whose journal does not wait for the disk.
func newWorldQuick(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, now: Reading{Wall: 1772521200e9, Uptime: int64(time.Hour), Boot: "a"}}
	w.cfg = Config{Path: filepath.Join(t.TempDir(), "doses"), Clock: func() Reading { return w.now }, quick: true}
	w.start()
	return w
}

func (w *world) start() {
	w.Helper()
	b, err := OpenBook(w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Book = b
}

func (w *world) wait(d time.Duration) {
	w.now.Wall += int64(d)
	w.now.Uptime += int64(d)
}

// flush makes durable what is queued.
func (w *world) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.Book.wait(w.queued); err != nil {
		w.Fatal(err)
	}
}

// kill is kill -9 after what is queued was written, and a new start.
func (w *world) kill() {
	w.Helper()
	w.flush()
	w.stopHard()
	w.start()
}

// stopHard is the end of a process that is not told.
func (w *world) stopHard() {
	w.mu.Lock()
	w.queue, w.closed = nil, true
	w.broken = ErrBroken // the writer writes no end
	close(w.wake)
	w.mu.Unlock()
	w.writer.Wait()
	w.journal.Close()
	w.lock.Close()
}

// stopDisk makes the writer wait for ever, as long as the test runs: what passes then
// has waited for no disk.
func (w *world) stopDisk() {
	block := make(chan struct{})
	w.mu.Lock()
	w.journal.Disk = func(*os.File) error {
		<-block
		return nil
	}
	w.mu.Unlock()
	w.Cleanup(func() { close(block) })
}

// ask is a request of a clinician who is proven.
func ask(t testing.TB, verb device.Verb, value, limit string) *Request {
	t.Helper()
	return &Request{Command: device.Command{
		Verb: verb, Value: quantity(t, value), Limit: quantity(t, limit), Role: device.Clinician, Actor: "ehr",
		Channel: device.Encrypted | device.Authenticated | device.Fresh,
	}}
}

// give asks for a command that the device then takes.
func (w *world) give(e *Envelope, verb device.Verb, value, limit string) Decision {
	w.Helper()
	return w.order(e, ask(w, verb, value, limit))
}

func (w *world) order(e *Envelope, r *Request) Decision {
	w.Helper()
	d, res, err := w.Reserve(ward, e, r)
	if err != nil {
		w.Fatal(err)
	}
	res.Sent()
	res.Accepted()
	return d
}

func (w *world) sum(e *Envelope, i int) string {
	v := w.View(ward, e).Sums[i]
	short := func(q device.Quantity) string {
		return strings.TrimRight(strings.TrimRight(strings.TrimSuffix(q.String(), " "+q.Unit.String()), "0"), ".")
	}
	return fmt.Sprintf("%s..%s, planned %s", short(v.Delivered), short(v.Counted), short(v.Planned))
}

func (w *world) has(e *Envelope, i int, want string) {
	w.Helper()
	if got := w.sum(e, i); got != want {
		w.Fatalf("sum %d is %s; want %s", i, got, want)
	}
}

func (w *world) verdict(got Decision, want device.Verdict, limit string) {
	w.Helper()
	if got.Verdict != want || got.Limit != limit {
		w.Fatalf("%v by %q (%s); want %v by %q", got.Verdict, got.Limit, got.Reason, want, limit)
	}
}

// TestNoradrenaline is the morning at bed 3, with the example of docs/envelope.md.
func TestNoradrenaline(t *testing.T) {
	w := newWorld(t)
	e := load(t, noradrenaline)
	if err := w.Report(ward, e, &Report{Rate: quantity(t, "0.2 ug/kg/min")}); err != nil {
		t.Fatal(err)
	}
	w.has(e, 0, "0..0, planned 12")
	w.wait(30 * time.Minute)
	w.has(e, 0, "6..6, planned 12")

	rate := func(value string) *Request {
		r := ask(t, device.SetInfusionRate, value, "")
		r.Command.Now = quantity(t, "0.2 ug/kg/min")
		return r
	}
	w.verdict(w.Judge(ward, e, rate("4 ug/kg/min")), device.Deny, "set-infusion-rate max 1.0 ug/kg/min")
	line := 1 + strings.Count(noradrenaline[:strings.Index(noradrenaline, "max: 1.0")], "\n")
	if d := w.Judge(ward, e, rate("4 ug/kg/min")); d.Line != line || !d.Enforced || d.Effect != device.Increases {
		t.Fatal(d)
	}
	w.verdict(w.Judge(ward, e, rate("1.0 ug/kg/min")), device.Deny, "set-infusion-rate step 0.5 ug/kg/min")
	w.verdict(w.Judge(ward, e, rate("0.7 ug/kg/min")), device.Allow, "set-infusion-rate")
	w.verdict(w.Judge(ward, e, rate("0.01 ug/kg/min")), device.Deny, "set-infusion-rate min 0.02 ug/kg/min")
	r := rate("24 mL/h") // 80 kg, 0.08 mg/mL: 0.4 ug/kg/min
	w.verdict(w.Judge(ward, e, r), device.Deny, "set-infusion-rate")
	r.Weight, r.Concentration = quantity(t, "80 kg"), quantity(t, "0.08 mg/mL")
	w.verdict(w.order(e, r), device.Allow, "set-infusion-rate")
	w.has(e, 0, "6..6, planned 24")
	w.wait(30 * time.Minute)
	w.has(e, 0, "18..18, planned 24")
	w.kill()
	w.has(e, 0, "18..18, planned 24")
	r = rate("1 ug/kg/min")
	r.Command.Now = quantity(t, "0.9 ug/kg/min")
	w.verdict(w.Judge(ward, e, r), device.Deny, "everything highest 48 ug/kg in 1h")
	r.Command.Value = quantity(t, "0.8 ug/kg/min")
	w.verdict(w.Judge(ward, e, r), device.Allow, "set-infusion-rate")
	w.verdict(w.Judge(ward, e, ask(t, device.StopInfusion, "", "")), device.Deny, "interruption 2m")
}

func TestInsulin(t *testing.T) {
	w := newWorld(t)
	e := load(t, insulin)
	w.verdict(w.give(e, device.SetBasalRate, "1 U/h", ""), device.Allow, "set-basal-rate")
	w.wait(4 * time.Hour)
	w.has(e, 0, "4..4, planned 4")
	w.verdict(w.give(e, device.DeliverBolus, "4 U", ""), device.Allow, "deliver-bolus")
	w.has(e, 0, "4..8, planned 8")
	w.wait(10 * time.Minute) // by then it is given
	w.has(e, 0, "8..8, planned 8")
	w.verdict(w.give(e, device.DeliverBolus, "4.1 U", ""), device.Deny, "everything highest 12 U in 4h")
	w.verdict(w.give(e, device.DeliverBolus, "4 U", ""), device.Allow, "deliver-bolus")
	w.verdict(w.give(e, device.SetTemporaryBasal, "1.1 U/h", "30 min"), device.Deny, "everything highest 12 U in 4h")
	w.verdict(w.give(e, device.SetTemporaryBasal, "0.1 U/h", "12 h"), device.Deny, "everything lowest 0.8 U in 4h")
	w.verdict(w.give(e, device.SetTemporaryBasal, "0.5 U/h", "2 h"), device.Allow, "set-temporary-basal")
	w.wait(2 * time.Hour)
	w.verdict(w.give(e, device.SetTemporaryBasal, "0.5 U/h", ""), device.Deny, "set-temporary-basal longest 12 h")

	suspend := ask(t, device.Suspend, "", "30 min")
	if d := w.order(e, suspend); !d.Rescue || d.Verdict != device.Allow {
		t.Fatal(d)
	}
	if d := w.Judge(ward, e, suspend); d.Rescue {
		t.Fatal("a repeated suspend is a rescue")
	}
	w.wait(3 * time.Hour)
	w.kill()
	if d := w.Judge(ward, e, suspend); d.Rescue {
		t.Fatal("a repeated suspend is a rescue")
	}
	w.wait(2 * time.Hour)
	if d := w.Judge(ward, e, suspend); !d.Rescue {
		t.Fatal("five hours later it is none")
	}
}

// TestProposed: an order that a person at the pump begins, or does not, runs perhaps, and what
// ran before it perhaps, until a report that cannot be of before that.
func TestProposed(t *testing.T) {
	w := newWorld(t)
	defer func() { w.Book.Close() }()
	e := load(t, insulin)
	report := func(rate string) {
		t.Helper()
		if err := w.Report(ward, e, &Report{Rate: quantity(t, rate)}); err != nil {
			t.Fatal(err)
		}
	}
	rates := func(least, most string) {
		t.Helper()
		v := w.View(ward, e)
		for i, want := range []string{least, most} {
			if c, ok := v.Rate[i].Cmp(quantity(t, want)); !ok || c != 0 {
				t.Fatalf("from %v to %v runs; want %s to %s", v.Rate[0], v.Rate[1], least, most)
			}
		}
	}
	propose := func(rate string) {
		t.Helper()
		d, res, err := w.Reserve(ward, e, ask(t, device.SetBasalRate, rate, ""))
		if err != nil || d.Verdict != device.Allow {
			t.Fatal(d, err)
		}
		res.Sent()
		res.Proposed()
	}
	report("1 U/h")
	w.wait(10 * time.Minute)
	propose("0.5 U/h")
	rates("0.5 U/h", "1 U/h")
	if n := len(w.Doubts()); n != 0 {
		t.Errorf("%d doubts: what a person decides is none", n)
	}
	w.wait(30 * time.Second)
	report("1 U/h") // sent before she began it, perhaps
	rates("0.5 U/h", "1 U/h")
	w.flush()
	w.kill()
	v := w.View(ward, e) // after a kill nothing is sure
	if c, _ := v.Rate[1].Cmp(quantity(t, "1 U/h")); c != 0 {
		t.Fatal(v.Rate)
	}
	w.wait(3 * time.Minute)
	report("1 U/h") // she did not
	rates("1 U/h", "1 U/h")
	propose("0.5 U/h")
	w.wait(3 * time.Minute)
	report("0.5 U/h") // she did
	rates("0.5 U/h", "0.5 U/h")
}
