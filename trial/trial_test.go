// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	wire "github.com/myelin-health/myelin/proto/coap"
)

// folder has the program once it is built.
var folder string

var built = sync.OnceValues(func() (file string, err error) {
	if folder, err = os.MkdirTemp("", "myelin-trial-"); err != nil {
		return "", err
	}
	file = filepath.Join(folder, "myelin")
	if out, err := exec.Command("go", "build", "-o", file, "github.com/myelin-health/myelin/cmd/myelin").CombinedOutput(); err != nil {
		return file, fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && (os.Args[1] == "node" || os.Args[1] == "sensor") { // a process of the hospital
		main()
	}
	code := m.Run()
	if folder != "" {
		os.RemoveAll(folder)
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the whole program")
	}
	t.Parallel()
	file, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestChaos kills a guard a few times.
func TestChaos(t *testing.T) {
	binary := program(t)
	var out bytes.Buffer
	e, err := chaos(t.Context(), t.TempDir(), chaosConfig{kills: 6, most: 30 * time.Second, seed: 7, binary: binary, out: &out})
	if err != nil {
		t.Fatal(err)
	}
	if problems := e.Problems(); len(problems) > 0 {
		t.Errorf("%s\n%s", &out, strings.Join(problems, "\n"))
	}
	stored, waited := 0, 0
	for _, k := range e.Pieces {
		if k.Accepted {
			stored++
		}
	}
	for _, o := range e.Orders {
		if o.Waits {
			waited++
		}
	}
	if waited == 0 || stored == 0 || len(e.Rescues) == 0 || e.Version == 1 || len(e.Blocks) == 0 || len(e.Taken) == 0 || len(e.Seen) == 0 {
		t.Errorf("nothing happened: %s", &out)
	}
}

// TestForgetting kills a guard whose disk forgets, which has to be found.
func TestForgetting(t *testing.T) {
	binary := program(t)
	var out bytes.Buffer
	e, err := chaos(t.Context(), t.TempDir(), chaosConfig{kills: 5, most: 30 * time.Second, seed: 7, binary: binary, forget: true, out: &out})
	if err != nil {
		t.Logf("the guard itself: %v", err) // it may see that its own files do not fit
		return
	}
	problems := e.Problems()
	if !slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, "ledger: order") }) {
		t.Errorf("a disk that forgets is not found: %s\n%s", &out, strings.Join(problems, "\n"))
	}
}

// sound is what all sides saw of a guard that is as it should be.
func sound() *Evidence {
	at := time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC)
	e := &Evidence{Orders: map[string]*Order{}, Lives: 1, Starts: []time.Duration{time.Second}, Handled: 2, Given: 1}
	for i, o := range []*Order{
		{ID: "T-1", Value: "0.2 ug/kg/min", Whole: true, Accepted: true},
		{ID: "T-2", Value: "4 ug/kg/min", Whole: true, Refused: true},
		{ID: "T-3", Value: "0.3 ug/kg/min"},
		{ID: "T-4", Value: "0.4 ug/kg/min", Whole: true}, // never answered
	} {
		o.Block = fmt.Appendf(nil, "\vblock %d\x1c\r", i+1)
		o.Sum = sum(o.Block)
		e.Orders[o.ID] = o
	}
	e.Orders["T-4"].Waits = true
	e.Blocks = []block{{e.Orders["T-1"].Sum, "T-1", at}, {e.Orders["T-4"].Sum, "T-4", at.Add(2 * time.Second)}}
	e.Waited = []*Waiting{{Value: "0.4 ug/kg/min", Asked: at, Expires: at.Add(3 * time.Second)}}
	e.Rescues, e.Cancelled = []wire.Code{wire.Changed, wire.GatewayTimeout}, 2
	e.Pieces, e.Version = map[string]*Piece{
		"1": {ID: "1", Size: 256, Whole: true, Accepted: true}, "2": {ID: "2", Size: 256, Streams: true}, "3": {ID: "3", Size: 256},
	}, 2
	e.Arrivals = []Arrival{{ID: "1", Size: 256, Sum: sum(content("1", 256)), Whole: true}, {ID: "2", Size: 9, Sum: sum(content("2", 256)[:9])}}
	e.Boluses = []*Bolus{
		{Value: "0.025 [iU]", From: at, To: at.Add(time.Second), Accepted: true},
		{Value: "9 [iU]", From: at.Add(2 * time.Second), To: at.Add(3 * time.Second), Refused: true},
	}
	e.Taken = []taken{{at.Add(time.Second / 2), "0.025 [iU]"}}
	e.Audits = []Audit{{Kill: 1, Device: insulinPump, Delivered: 10, Counted: 40, Planned: 50, Highest: 60, Least: 20, Most: 30, Told: 45, Unknown: 5, Doubts: []uint64{17}}}
	verdict := func(front, value string) {
		v := event.Event{Kind: event.VerdictGiven}
		v.Add(event.Text(event.Front, front), event.Text(event.Value, value), event.Int(event.Verdict, device.Deny))
		e.Entries = append(e.Entries, v)
	}
	verdict(infusionFront, "4 ug/kg/min")
	verdict(insulinFront, "9 [iU]")
	start := event.Event{Kind: event.ConfigurationChanged}
	start.Add(event.Text(event.Reason, "the guard starts"))
	doubt := event.Event{Kind: event.DoseDoubted, Device: device.Address{Kind: device.Host, Value: insulinPump}}
	doubt.Add(event.Text(event.Target, "17"))
	version := event.Event{Kind: event.ConfigurationChanged, Device: device.Address{Kind: device.Host, Value: infusionPump}}
	version.Add(event.Text(event.Version, "2"))
	confirmed := event.Event{Kind: event.VerdictGiven, Device: version.Device, Time: at.Add(time.Second).UnixNano()}
	confirmed.Add(event.Text(event.Value, "0.4 ug/kg/min"), event.Int(event.Verdict, device.Allow), event.Text(event.Reason, "confirmed by jr (nurse); within (trial v2, line 14, set-infusion-rate max 1.0 ug/kg/min)"))
	e.Entries = append(e.Entries, start, doubt, version, confirmed)
	return e
}

// TestChecksFail: each check fails when what it is for is broken, and only then.
func TestChecksFail(t *testing.T) {
	if p := sound().Problems(); len(p) > 0 {
		t.Fatalf("what is sound has problems: %q", p)
	}
	lose := func(n int) func(*Evidence) {
		return func(e *Evidence) { e.Entries = slices.Delete(e.Entries, n, n+1) }
	}
	for _, test := range []struct {
		want   string
		break_ func(*Evidence)
	}{
		{"order T-2 of 4 ug/kg/min: its sender was told", lose(0)}, // acknowledged before it was recorded
		{"a bolus of 9 [iU] at 07:00:02: the clinician was told", lose(1)},
		{"1 guards served, and the ledger has the start of 0", lose(2)},
		{"dose 17 of ipump-ben is in doubt after kill 1, and nobody was told", lose(3)},
		{"ledger: shrunk", func(e *Evidence) { e.Shrunk = []string{"shrunk"} }},
		{"ledger: damage", func(e *Evidence) { e.Ledger = []string{"damage"} }},
		{"1 entries are no events", func(e *Evidence) { e.Unreadable = 1 }},
		{"41 are given and 40 counted", func(e *Evidence) { e.Audits[0].Least = 41 }},
		{"1 an hour run, and 0 are counted", func(e *Evidence) { e.Audits[0].Runs = 1 }},
		{"10 count as delivered for sure, and 9 are given", func(e *Evidence) { e.Audits[0].Most = 9 }},
		{"delivered 41, counted 40", func(e *Evidence) { e.Audits[0].Delivered, e.Audits[0].Most = 41, 41 }},
		{"50 are planned, and the limit is 49", func(e *Evidence) { e.Audits[0].Highest = 49 }},
		{"the device accepted 51 and 50 are counted", func(e *Evidence) { e.Audits[0].Told = 51 }},
		{"50 are counted, of which the device accepted 45 and 4 are unknown", func(e *Evidence) { e.Audits[0].Unknown = 4 }},
		{"reached the pump 2 times", func(e *Evidence) { e.Taken, e.Given = append(e.Taken, e.Taken[0]), 2 }},
		{"which nobody asked for then", func(e *Evidence) { e.Taken[0].Units = "25 [iU]" }},
		{"the pump counts 3 boluses and noted 1", func(e *Evidence) { e.Given = 3 }},
		{"is refused, and the pump took it", func(e *Evidence) {
			e.Boluses[0].Refused, e.Boluses[0].Value, e.Taken[0].Units = true, "9 [iU]", "9 [iU]"
		}},
		{"is said to be accepted, and the pump did not", func(e *Evidence) { e.Taken, e.Given = nil, 0 }},
		{"FlowLink was told order T-3, which was not sent like that, or not to its end", func(e *Evidence) { // completed by the guard
			e.Blocks = append(e.Blocks, block{Sum: e.Orders["T-3"].Sum, ID: "T-3"})
		}},
		{"FlowLink was told order T-1, which was not sent like that", func(e *Evidence) { e.Blocks[0].Sum[0]++ }},
		{"a message that nobody sent", func(e *Evidence) { e.Blocks[0] = block{Sum: [32]byte{1}, ID: "X-1"} }},
		{"FlowLink was told order T-2, which the guard says it refused", func(e *Evidence) {
			e.Blocks = append(e.Blocks, block{Sum: e.Orders["T-2"].Sum, ID: "T-2"})
		}},
		{"order T-1 reached FlowLink twice", func(e *Evidence) { e.Blocks = append(e.Blocks, e.Blocks[0]) }},
		{"order T-1 is said to be accepted, and FlowLink was not told", func(e *Evidence) { e.Blocks = e.Blocks[1:] }},
		{"3 bytes that begin no message that was sent whole", func(e *Evidence) { e.Leftovers = [][]byte{[]byte("\vxy")} }},
		{"8 bytes that begin no message that was sent whole", func(e *Evidence) { e.Leftovers = [][]byte{e.Orders["T-3"].Block[:8]} }},
		{"FlowLink handled 3 messages, and 2 whole ones came", func(e *Evidence) { e.Handled = 3 }},
		{"order T-4 of 0.4 ug/kg/min reached FlowLink, and the ledger has no confirmation", lose(5)},
		{"0.4 ug/kg/min was confirmed, and nobody did", func(e *Evidence) { e.Waited = nil }},
		{"0.4 ug/kg/min was confirmed, and nobody did", func(e *Evidence) { e.Waited[0].Asked = e.Waited[0].Expires }}, // by a guard before
		{"0.4 ug/kg/min was confirmed 500ms after its time", func(e *Evidence) { e.Waited[0].Expires = e.Waited[0].Asked.Add(time.Second / 2) }},
		{"order T-4 reached FlowLink 1s before it was confirmed", func(e *Evidence) { e.Blocks[1].At = e.Waited[0].Asked }},
		{"order T-4 reached FlowLink 1m0s after its time", func(e *Evidence) { e.Blocks[1].At = e.Waited[0].Expires.Add(time.Minute) }},
		{"order T-4 reached FlowLink twice", func(e *Evidence) { e.Blocks = append(e.Blocks, e.Blocks[1]) }},
		{"rescues: one is answered with 4.03", func(e *Evidence) { e.Rescues[0] = wire.Forbidden }},
		{"1 are said to be done, and the pump was told 0 times", func(e *Evidence) { e.Cancelled = 0 }},
		{"2 came as if it were whole, with 9 bytes of 256", func(e *Evidence) { e.Arrivals[1].Whole = true }},
		{"1 came as if it were whole", func(e *Evidence) { e.Pieces["1"].Whole = false }},
		{"2 was cut, and its association ended in order", func(e *Evidence) { e.Arrivals[1].Released = true }},
		{"what came of 2 is not how it begins", func(e *Evidence) { e.Arrivals[1].Sum[0]++ }},
		{"what came of 2 is not how it begins", func(e *Evidence) { e.Arrivals[1].Size = 257 }},
		{"9 bytes of 2 came, which was not sent to its end", func(e *Evidence) { e.Pieces["2"].Streams = false }},
		{"1 came twice", func(e *Evidence) { e.Arrivals = append(e.Arrivals, e.Arrivals[0]) }},
		{"1 is said to be stored, and did not come", func(e *Evidence) { e.Arrivals = e.Arrivals[1:] }},
		{"4 came, which nobody sent", func(e *Evidence) { e.Arrivals[0].ID = "4" }},
		{"a verdict by version 2, which the ledger does not have by then", lose(4)},
		{"version \"2\" of the envelope holds, and nobody wrote it", func(e *Evidence) { e.Version = 1 }},
		{"it was not used: no order was confirmed", func(e *Evidence) { e.Lives, e.Waited = longTrial, nil }},
		{"it was not used: the archive has nothing", func(e *Evidence) { e.Lives, e.Arrivals = longTrial, nil }},
		{"it was not used: nobody rescued", func(e *Evidence) { e.Lives, e.Rescues = longTrial, nil }},
		{"guard 0 served after 11s", func(e *Evidence) { e.Starts[0] = 11 * time.Second }},
	} {
		e := sound()
		test.break_(e)
		if p := e.Problems(); !slices.ContainsFunc(p, func(s string) bool { return strings.Contains(s, test.want) }) {
			t.Errorf("no problem with %q in %q", test.want, p)
		}
	}
	e := sound()
	e.Orders["T-3"].Refused, e.Orders["T-3"].Why = true, "refused: its framing is ambiguous" // all but the last byte
	if p := e.Problems(); len(p) != 1 {
		t.Errorf("an order whose amount nobody reads is refused, and that is not recorded: %q", p)
	}
	v := event.Event{Kind: event.VerdictGiven}
	v.Add(event.Text(event.Front, infusionFront), event.Int(event.Verdict, device.Deny), event.Text(event.Reason, "its framing is ambiguous"))
	e.Entries = append(e.Entries, v)
	e.Leftovers = [][]byte{e.Orders["T-4"].Block[:8]}
	if p := e.Problems(); len(p) > 0 {
		t.Errorf("a message that was sent whole and written in part: %q", p)
	}
}

// TestSoak uses a guard for two seconds.
func TestSoak(t *testing.T) {
	binary := program(t)
	var out bytes.Buffer
	problems, err := soak(t.Context(), t.TempDir(), soakConfig{length: 2 * time.Second, connections: 16, binary: binary, out: &out})
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %q %s", err, problems, &out)
	}
}

// TestFull has the disk of a guard take no more writes, and then take them again.
func TestFull(t *testing.T) {
	binary := program(t)
	var out bytes.Buffer
	d, err := full(t.Context(), t.TempDir(), binary, &out)
	if errors.Is(err, errNoLimit) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if problems := d.Problems(); len(problems) > 0 {
		t.Errorf("%s%s\n%s", &out, strings.Join(problems, "\n"), d.Log)
	}
	t.Log(&out)
}

// TestFullFails: each check of a full disk fails when what it is for is broken, and only then.
func TestFullFails(t *testing.T) {
	sound := func() *Disk {
		return &Disk{Rescues: 2, Asked: 2, Reports: 1, Reasons: []string{"doses cannot be written", "the ledger cannot be written"}, Log: "not recorded"}
	}
	if p := sound().Problems(); len(p) > 0 {
		t.Fatalf("what is sound has problems: %q", p)
	}
	for _, test := range []struct {
		want   string
		break_ func(*Disk)
	}{
		{"1 commands were given", func(d *Disk) { d.Therapy = 1 }},
		{"1 rescues of 2 passed", func(d *Disk) { d.Rescues = 1 }},
		{"0 rescues of 0 passed", func(d *Disk) { d.Rescues, d.Asked = 0, 0 }},
		{"no report of the pumps came", func(d *Disk) { d.Reports = 0 }},
		{"nobody is told that doses", func(d *Disk) { d.Reasons = d.Reasons[1:] }},
		{"nobody is told that the ledger", func(d *Disk) { d.Reasons = d.Reasons[:1] }},
		{"the log does not have it", func(d *Disk) { d.Log = "" }},
		{"it does not recover: no", func(d *Disk) { d.Recovers = errors.New("no") }},
		{"a bolus is not given when", func(d *Disk) { d.Again = []string{"a bolus"} }},
		{"ledger: damage", func(d *Disk) { d.Ledger = []string{"damage"} }},
	} {
		d := sound()
		test.break_(d)
		if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0], test.want) {
			t.Errorf("no problem with %q in %q", test.want, p)
		}
	}
}

// flat is what was seen of a guard that is used for long and is as it should be.
func flat() *use {
	u := &use{connections: 4, busy: 30, answers: map[string]int64{}, problems: map[string]int{}, stored: *sound()}
	for _, kind := range kinds {
		u.answers[kind] = 1
	}
	u.before = sample{goroutines: 20, handles: 9, heap: 5e6}
	u.after = u.before
	for i := range 60 {
		u.samples = append(u.samples, sample{at: time.Duration(i) * 10 * time.Second, heap: 5e6 + float64(i%7)})
	}
	return u
}

// TestUseFails: each check of a long use fails when what it is for is broken, and only then.
func TestUseFails(t *testing.T) {
	if p := flat().Problems(); len(p) > 0 {
		t.Fatalf("what is flat has problems: %q", p)
	}
	for _, test := range []struct {
		want   string
		break_ func(*use)
	}{
		{"2 times: fhir: 502", func(u *use) { u.problems["fhir: 502"] = 2 }},
		{"the live heap grew by 5.8 MB in the second half", func(u *use) {
			for i := range u.samples {
				u.samples[i].heap = float64(i) * 2e5
			}
		}},
		{"20 goroutines before, 24 after", func(u *use) { u.after.goroutines = 24 }},
		{"9 file descriptors before, 13 after", func(u *use) { u.after.handles = 13 }},
		{"0 files for a while before, 1 after", func(u *use) { u.after.files = 1 }},
		{"it was not used: slow", func(u *use) { u.answers["slow"] = 0 }},
		{"it was not used: 23 goroutines", func(u *use) { u.busy = 23 }},
		{"1 came twice", func(u *use) { u.stored.Arrivals = append(u.stored.Arrivals, u.stored.Arrivals[0]) }},
	} {
		u := flat()
		test.break_(u)
		if p := u.Problems(); len(p) != 1 || !strings.Contains(p[0], test.want) {
			t.Errorf("no problem with %q in %q", test.want, p)
		}
	}
}

// TestSlope: memory that grows has a slope.
func TestSlope(t *testing.T) {
	var all []sample
	for i := range 100 {
		all = append(all, sample{at: time.Duration(i) * time.Minute, heap: float64(1000*i + i%7)})
	}
	if got := slope(all, func(s sample) float64 { return s.heap }); got < 59_000 || got > 61_000 {
		t.Errorf("%f an hour, not 60000", got)
	}
}

// TestUsage: what is no trial is told.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"peace"}, {"chaos", "-kills"}, {"soak", "more"}} {
		var errs bytes.Buffer
		if got := execute(context.Background(), args, &errs, &errs); got != 2 || errs.Len() == 0 && len(args) != 2 {
			t.Errorf("%q: %d %s", args, got, &errs)
		}
	}
}

// TestHospital kills what a hospital has in one server, a few times.
func TestHospital(t *testing.T) {
	binary := program(t)
	b, err := hospitalize(t.Context(), t.TempDir(), hospitalConfig{most: 10 * time.Second, seed: 1, binary: binary})
	if err != nil {
		t.Fatal(err)
	}
	if problems := b.Problems(); len(problems) > 0 {
		t.Errorf("%s\n%s", b.summary(), strings.Join(problems, "\n"))
	}
}

// TestForgetfulSensor kills sensors whose disks forget, which has to be found.
func TestForgetfulSensor(t *testing.T) {
	binary := program(t)
	b, err := hospitalize(t.Context(), t.TempDir(), hospitalConfig{most: 10 * time.Second, seed: 2, binary: binary, forget: true})
	if err != nil {
		t.Fatal(err)
	}
	if problems := b.Problems(); !slices.ContainsFunc(problems, func(s string) bool { return strings.Contains(s, "that it kept are lost") }) {
		t.Errorf("%s: %q", b.summary(), problems)
	}
}

// paid are books that agree.
func paid() *Books {
	fine := finding.Finding{Decision: finding.Attend}
	return &Books{
		Senders: []Sender{
			{Number: 1, Name: "sensor 1", Kept: []int{1, 2}, There: map[int]int{1: 1, 2: 1, 3: 1}, Others: 3 * perItem},
			{Number: 3, Name: "guard 3", Guard: true, Kept: []int{1, 2}, There: map[int]int{1: 1, 2: 1}, Order: []int{1, 2}},
		},
		Requests: []*Request{
			{Key: "t-0-0", IDs: []string{"a", "b"}, Status: 200, Triage: 3, Changed: 2},
			{Key: "t-0-1", Undoes: 3, Status: 200, Changed: 1},
			{Key: "t-0-2", IDs: []string{"a"}},
			{Key: "t-0-3", IDs: []string{"a"}, Status: 409},
		},
		Findings: []row{
			{id: "a", device: "d", state: "open", decision: "attend", harm: "serious", kind: "k", doc: fine},
			{id: "b", device: "d", state: "fixed", decision: "attend", harm: "serious", kind: "k", doc: fine},
		},
		Steps: []step{
			{id: 1, finding: "a", what: "seen", after: "track", at: 1},
			{id: 2, finding: "b", what: "seen", after: "attend", at: 1},
			{id: 3, finding: "a", by: "te", what: "state", before: "open", after: "fixed", reason: "t-0-0", at: 2, bulk: 3},
			{id: 4, finding: "a", by: "te", what: "comment", after: "t-0-0", at: 2, bulk: 3},
			{id: 5, finding: "b", by: "te", what: "state", before: "open", after: "fixed", reason: "t-0-0", at: 2, bulk: 3},
			{id: 6, finding: "b", by: "te", what: "comment", after: "t-0-0", at: 2, bulk: 3},
			{id: 7, finding: "a", by: "te", what: "undo", before: "fixed", after: "open", at: 3, undoes: 3},
			{id: 8, finding: "a", what: "decision", before: "track", after: "attend", at: 4},
		},
		Notices: []note{
			{seq: 1, finding: "a", state: "open", grade: "track"},
			{seq: 2, finding: "b", state: "open", grade: "attend"},
			{seq: 3, finding: "a", state: "fixed", grade: "track"},
			{seq: 4, finding: "b", state: "fixed", grade: "attend"},
			{seq: 5, finding: "a", state: "open", grade: "track"},
			{seq: 6, finding: "a", state: "open", grade: "attend"},
		},
		Cube:    map[string]int{(&row{state: "open", decision: "attend", harm: "serious", kind: "k"}).cell(): 1, (&row{state: "fixed", decision: "attend", harm: "serious", kind: "k"}).cell(): 1},
		Devices: []owner{{id: "d", root: "d", attend: 1}, {id: "gone", root: "d", act: 7}},
		Reasons: map[string]int{"t-0-0": 1},
		Told:    []int64{1, 2, 3, 4, 4, 3, 5, 6},
	}
}

// TestBooksFail: each check of a hospital's books fails when what it is for is broken, and only then.
func TestBooksFail(t *testing.T) {
	if p := paid().Problems(); len(p) > 0 {
		t.Fatalf("what agrees has problems: %q", p)
	}
	for _, test := range []struct {
		want   string
		break_ func(*Books)
	}{
		{"sensor 1: 1 of the 2 items that it kept are lost", func(b *Books) { delete(b.Senders[0].There, 1); b.Senders[0].Others -= perItem }},
		{"sensor 1: 1 items are there more than once", func(b *Books) { b.Senders[0].There[3]++ }},
		{"sensor 1: 29 observations of 3 items, not 30", func(b *Books) { b.Senders[0].Others-- }},
		{"sensor 1: 31 observations of 3 items, not 30", func(b *Books) { b.Senders[0].Others++ }},
		{"guard 3: its verdicts are not in their order", func(b *Books) { b.Senders[1].Order = []int{2, 1} }},
		{"guard 3: 1 of the 2 items that it kept are lost", func(b *Books) { delete(b.Senders[1].There, 2) }},
		{"guard 3: 1 batches are left", func(b *Books) { b.Senders[1].Left = 1 }},
		{"says 2 findings, and there are 1", func(b *Books) { b.Cube[b.Findings[0].cell()]++ }},
		{"is missing for 1 findings", func(b *Books) { delete(b.Cube, b.Findings[1].cell()) }},
		{"says 1 findings, and there are 0", func(b *Books) { b.Cube["more"] = 1 }},
		{"device d counts 0, 0, 2, 0 open findings, and has 0, 0, 1, 0", func(b *Books) { b.Devices[0].attend = 2 }},
		{`finding a: step 3 changes state from "mitigated"`, func(b *Books) { b.Steps[2].before = "mitigated" }},
		{"finding a is open, attend, of \"te\", and its history ends with open, attend, \"\"", func(b *Books) { b.Findings[0].assignee = "te" }},
		{"finding a is written as track, and listed as attend", func(b *Books) { b.Findings[0].doc.Decision = finding.Track }},
		{"finding b changed 1 times, and 0 notices tell of it", func(b *Books) {
			b.Notices = slices.Delete(b.Notices, 3, 4)
			b.Notices[1].state = "fixed"
			b.Told = []int64{1, 2, 3, 5, 6}
		}},
		{"finding a is open, attend, and the last that is told is open, track", func(b *Books) { b.Notices[5].grade = "track" }},
		{"t-0-0 is done by half: [1] of 2 findings", func(b *Books) { b.Steps = slices.Delete(b.Steps, 3, 4); b.Steps[2].by = "" }},
		{"t-0-0 changed a without its comment", func(b *Books) { b.Steps = slices.Delete(b.Steps, 3, 4) }},
		{"t-0-0 is done by half: [1 2] of 2 findings", func(b *Books) { b.Steps = append(b.Steps, b.Steps[3]) }},
		{"t-0-0 has two numbers, 9 and 3", func(b *Books) { b.Steps[5].bulk = 9 }},
		{"t-0-4 was answered, and is lost", func(b *Books) {
			b.Requests = append(b.Requests, &Request{Key: "t-0-4", IDs: []string{"a"}, Status: 200})
		}},
		{"t-0-0 was answered, and is in no ledger", func(b *Books) { delete(b.Reasons, "t-0-0") }},
		{"t-0-3 was refused (409), and is done", func(b *Books) {
			b.Steps = append(b.Steps, step{id: 9, finding: "a", by: "te", what: "comment", after: "t-0-3", bulk: 9})
		}},
		{"t-0-1 took back 1 steps, and said 2", func(b *Books) { b.Requests[1].Changed = 2 }},
		{"1 of 6 notices were not told: 6", func(b *Books) { b.Told = b.Told[:7] }},
		{"notice 7 was told, and is none", func(b *Books) { b.Told = append(b.Told, 7) }},
		{"of finding a notice 1 was told behind 3", func(b *Books) { b.Told = []int64{3, 1, 2, 4, 5, 6} }},
		{"ledger: damage", func(b *Books) { b.Ledgers = []string{"damage"} }},
		{"nobody triaged", func(b *Books) { b.Requests[0].Status, b.Requests[1].Status = 0, 0 }},
		{"a sensor kept nothing", func(b *Books) { b.Senders[0].Kept = nil }},
	} {
		b := paid()
		test.break_(b)
		if p := b.Problems(); !slices.ContainsFunc(p, func(s string) bool { return strings.Contains(s, test.want) }) {
			t.Errorf("no problem with %q in %q", test.want, p)
		}
	}
}
