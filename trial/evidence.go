// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/ledger"
	wire "github.com/myelin-health/myelin/proto/coap"
)

// Evidence is what all sides saw of a guard that was killed again and again: those who
// asked, who confirmed, the devices, the ledger and the book of doses. [Evidence.Problems] holds them
// against each other.
type Evidence struct {
	Orders  map[string]*Order // by MSH-10
	Boluses []*Bolus          // one after the other
	Rescues []wire.Code       // answers to who cancels
	Waited  []*Waiting        // orders that a second person confirmed
	Pieces  map[string]*Piece // by name

	Blocks     []block  // what FlowLink was told, whole
	Leftovers  [][]byte // what it was told and was not whole
	Taken      []taken  // boluses that the pump took
	Handled    int      // messages that FlowLink itself counted
	Given      int      // boluses that the pump itself counted
	Cancelled  int      // how often it was told to cancel
	Arrivals   []Arrival
	Version    int // of the envelope that was written last
	Starts     []time.Duration
	Lives      int // guards that served
	Audits     []Audit
	Seen       []ledger.Checkpoint // while it ran, the oldest first
	Entries    []event.Event       // of the ledger, at the end
	Unreadable int                 // entries that are no events
	Ledger     []string            // what Verify found
	Shrunk     []string            // checkpoints from which the last one did not grow
}

// An Order is one that the hospital information system sent, or began to send.
type Order struct {
	ID, Value string
	Sum       [32]byte // of the whole block
	Block     []byte
	Whole     bool   // its last byte was written, perhaps to a guard that was gone
	Refused   bool   // its sender was told that the guard refused it
	Why       string // it was
	Accepted  bool   // its sender was told that the device's system took it
	Waits     bool   // it has to wait for a second person
}

// A Bolus is one that the clinician asked for.
type Bolus struct {
	Value    string
	From, To time.Time // asked, and answered or given up
	Refused  bool
	Accepted bool
}

// An Audit is what the book says of a device, and what the device says itself. Amounts are
// millionths of the unit of the sums.
type Audit struct {
	Kill               int
	Device             string
	Delivered, Counted int64
	Planned, Highest   int64
	Runs, Rate         int64 // what runs truly before the book was read, and at most by the book, an hour
	Least, Most        int64 // truly given since the trial began, before and after the book was read
	Told               int64 // truly accepted by the device, of what is given once; -1: not of this kind
	Unknown            int64 // of doubts, for Told
	Doubts             []uint64
}

// Bounds of what is held to be good.
const (
	startWithin = 10 * time.Second // a killed guard serves again, on two busy cores
	wireWithin  = 2 * time.Second  // what was confirmed in time is dialled for and written, on the same
	longTrial   = 50               // guards, after which nothing has happened by chance alone
)

// Problems are what does not fit together; nothing when all does.
func (e *Evidence) Problems() (all []string) {
	bad := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	e.ledger(bad)
	e.doses(bad)
	e.frames(bad)
	e.held(bad)
	e.rescues(bad)
	e.pieces(bad)
	e.versions(bad)
	e.used(bad)
	e.starts(bad)
	return all
}

// ledger: what was acknowledged is there, and nothing that was shown is gone.
func (e *Evidence) ledger(bad func(string, ...any)) {
	denied := map[string]bool{}
	undecided := map[string]bool{} // why an order was refused whose amount nobody reads
	for i := range e.Entries {
		if v := &e.Entries[i]; v.Kind == event.VerdictGiven && device.Verdict(v.Int(event.Verdict)) == device.Deny {
			denied[v.Text(event.Front)+" "+v.Text(event.Value)] = true
			if v.Text(event.Front) == infusionFront && v.Text(event.Value) == "" {
				undecided["refused: "+v.Text(event.Reason)] = true
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.Orders)) {
		if o := e.Orders[id]; o.Refused && !denied[infusionFront+" "+o.Value] && !(!o.Whole && undecided[o.Why]) {
			bad("ledger: order %s of %s: its sender was told that it is refused, and the ledger does not have that (%s)", o.ID, o.Value, o.Why)
		}
	}
	for _, b := range e.Boluses {
		if b.Refused && !denied[insulinFront+" "+b.Value] {
			bad("ledger: a bolus of %s at %s: the clinician was told that it is refused, and the ledger does not have that", b.Value, b.From.Format(time.TimeOnly))
		}
	}
	for _, what := range e.Ledger {
		bad("ledger: %s", what)
	}
	for _, what := range e.Shrunk {
		bad("ledger: %s", what)
	}
	if e.Unreadable > 0 {
		bad("ledger: %d entries are no events", e.Unreadable)
	}
}

// doses: delivered <= counted <= delivered + unknown, counted <= limit, and nothing twice.
func (e *Evidence) doses(bad func(string, ...any)) {
	for _, a := range e.Audits {
		at := fmt.Sprintf("doses: %s after kill %d", a.Device, a.Kill)
		if a.Counted < a.Least {
			bad("%s: %d are given and %d counted", at, a.Least, a.Counted)
		}
		if a.Rate < a.Runs {
			bad("%s: %d an hour run, and %d are counted", at, a.Runs, a.Rate)
		}
		if a.Delivered > a.Most {
			bad("%s: %d count as delivered for sure, and %d are given", at, a.Delivered, a.Most)
		}
		if a.Delivered > a.Counted || a.Counted > a.Planned {
			bad("%s: delivered %d, counted %d, planned %d", at, a.Delivered, a.Counted, a.Planned)
		}
		if a.Planned > a.Highest {
			bad("%s: %d are planned, and the limit is %d", at, a.Planned, a.Highest)
		}
		if a.Told < 0 {
			continue
		}
		if a.Planned < a.Told {
			bad("%s: the device accepted %d and %d are counted", at, a.Told, a.Planned)
		}
		if a.Planned > a.Told+a.Unknown {
			bad("%s: %d are counted, of which the device accepted %d and %d are unknown", at, a.Planned, a.Told, a.Unknown)
		}
	}
	if len(e.Taken) != e.Given {
		bad("doses: the pump counts %d boluses and noted %d", e.Given, len(e.Taken))
	}
	// One is asked for after the other, so that each that the pump took is of one.
	next := 0
	for i, b := range e.Boluses {
		n := 0
		for ; next < len(e.Taken) && (i+1 == len(e.Boluses) || e.Taken[next].At.Before(e.Boluses[i+1].From)); next++ {
			if e.Taken[next].At.Before(b.From) || e.Taken[next].Units != b.Value {
				bad("doses: the pump took %s at %s, which nobody asked for then", e.Taken[next].Units, e.Taken[next].At.Format(time.TimeOnly))
				continue
			}
			n++
		}
		switch {
		case n > 1:
			bad("doses: a bolus of %s at %s reached the pump %d times", b.Value, b.From.Format(time.TimeOnly), n)
		case n > 0 && b.Refused:
			bad("doses: a bolus of %s at %s is refused, and the pump took it", b.Value, b.From.Format(time.TimeOnly))
		case n == 0 && b.Accepted:
			bad("doses: a bolus of %s at %s is said to be accepted, and the pump did not take it", b.Value, b.From.Format(time.TimeOnly))
		}
	}
}

// frames: the device is told what was sent whole, byte for byte and once, and nothing else.
func (e *Evidence) frames(bad func(string, ...any)) {
	whole := map[[32]byte]*Order{}
	for _, o := range e.Orders {
		if o.Whole {
			whole[o.Sum] = o
		}
	}
	came := map[string]int{}
	for _, b := range e.Blocks {
		o := whole[b.Sum]
		switch {
		case o == nil && e.Orders[b.ID] != nil:
			bad("frames: FlowLink was told order %s, which was not sent like that, or not to its end", b.ID)
		case o == nil:
			bad("frames: FlowLink was told a message that nobody sent")
		case o.Refused:
			bad("frames: FlowLink was told order %s, which the guard says it refused", o.ID)
		}
		if came[b.ID]++; came[b.ID] == 2 {
			bad("frames: order %s reached FlowLink twice", b.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.Orders)) {
		if o := e.Orders[id]; o.Accepted && came[id] == 0 {
			bad("frames: order %s is said to be accepted, and FlowLink was not told", id)
		}
	}
	for _, l := range e.Leftovers {
		ok := false
		for _, o := range whole {
			ok = ok || bytes.HasPrefix(o.Block, l)
		}
		if !ok {
			bad("frames: FlowLink was told %d bytes that begin no message that was sent whole", len(l))
		}
	}
	if e.Handled != len(e.Blocks) {
		bad("frames: FlowLink handled %d messages, and %d whole ones came to it", e.Handled, len(e.Blocks))
	}
}

// held: what waits for a person goes out after its confirmation is in the ledger, before its time is
// over, and not without. (Nothing goes out twice: frames.)
func (e *Evidence) held(bad func(string, ...any)) {
	confirmed := map[string]time.Time{} // when, by the ledger; a value is of one order
	for i := range e.Entries {
		if v := &e.Entries[i]; v.Kind == event.VerdictGiven && strings.HasPrefix(v.Text(event.Reason), "confirmed by "+nurse+" ") && device.Verdict(v.Int(event.Verdict)) == device.Allow {
			confirmed[v.Text(event.Value)] = time.Unix(0, v.Time)
		}
	}
	expires := map[string]time.Time{}
	for _, w := range e.Waited {
		if at, ok := confirmed[w.Value]; ok && !at.Before(w.Asked) { // else it waited again, under another guard
			expires[w.Value] = w.Expires
		}
	}
	for _, value := range slices.Sorted(maps.Keys(confirmed)) {
		if at, until := confirmed[value], expires[value]; until.IsZero() {
			bad("held: the ledger has that %s was confirmed, and nobody did", value)
		} else if !at.Before(until) {
			bad("held: %s was confirmed %v after its time", value, at.Sub(until))
		}
	}
	for _, b := range e.Blocks {
		o := e.Orders[b.ID]
		if o == nil || !o.Waits {
			continue
		}
		at, ok := confirmed[o.Value]
		switch late := b.At.Sub(expires[o.Value]); {
		case !ok:
			bad("held: order %s of %s reached FlowLink, and the ledger has no confirmation", o.ID, o.Value)
		case b.At.Before(at):
			bad("held: order %s reached FlowLink %v before it was confirmed", o.ID, at.Sub(b.At))
		case late > wireWithin:
			bad("held: order %s reached FlowLink %v after its time", o.ID, late)
		}
	}
}

// used: in a long trial each thing happened that the others look at.
func (e *Evidence) used(bad func(string, ...any)) {
	for what, n := range map[string]int{"no order was confirmed": len(e.Waited), "the archive has nothing": len(e.Arrivals), "nobody rescued": len(e.Rescues)} {
		if e.Lives >= longTrial && n == 0 {
			bad("it was not used: %s", what)
		}
	}
}

// rescues: none is refused, whatever goes on. That the pump did not answer is not a refusal.
func (e *Evidence) rescues(bad func(string, ...any)) {
	done := 0
	for _, code := range e.Rescues {
		switch code {
		case wire.Changed:
			done++
		case wire.GatewayTimeout:
		default:
			bad("rescues: one is answered with %v", code)
		}
	}
	if done > e.Cancelled {
		bad("rescues: %d are said to be done, and the pump was told %d times", done, e.Cancelled)
	}
}

// pieces: the archive has what was sent whole, byte for byte and once, and nothing that was cut
// ends there as if it were whole.
func (e *Evidence) pieces(bad func(string, ...any)) {
	came := map[string]int{}
	for _, a := range e.Arrivals {
		k := e.Pieces[a.ID]
		if k == nil {
			bad("pieces: %s came, which nobody sent", a.ID)
			continue
		}
		if a.Size > k.Size || a.Sum != sum(content(k.ID, k.Size)[:a.Size]) {
			bad("pieces: what came of %s is not how it begins", a.ID)
		}
		switch {
		case a.Whole && (!k.Whole || a.Size != k.Size):
			bad("pieces: %s came as if it were whole, with %d bytes of %d", a.ID, a.Size, k.Size)
		case !a.Whole && a.Released:
			bad("pieces: %s was cut, and its association ended in order", a.ID)
		case !k.Streams && !k.Whole:
			bad("pieces: %d bytes of %s came, which was not sent to its end", a.Size, a.ID)
		}
		if a.Whole {
			if came[a.ID]++; came[a.ID] == 2 {
				bad("pieces: %s came twice", a.ID)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.Pieces)) {
		if e.Pieces[id].Accepted && came[id] == 0 {
			bad("pieces: %s is said to be stored, and did not come", id)
		}
	}
}

// versions: an envelope is in the ledger before a verdict by it is, and only one that was written.
func (e *Evidence) versions(bad func(string, ...any)) {
	announced := map[int]bool{}
	for i := range e.Entries {
		v := &e.Entries[i]
		if v.Device.Value != infusionPump {
			continue
		}
		version := 0
		switch v.Kind {
		case event.ConfigurationChanged:
			if _, err := fmt.Sscan(v.Text(event.Version), &version); err != nil || version > e.Version {
				bad("versions: version %q of the envelope holds, and nobody wrote it", v.Text(event.Version))
			}
			announced[version] = true
		case event.VerdictGiven:
			_, by, _ := strings.Cut(v.Text(event.Reason), "(trial v")
			if _, err := fmt.Sscanf(by, "%d,", &version); err == nil && !announced[version] {
				bad("versions: a verdict by version %d, which the ledger does not have by then", version)
			}
		}
	}
}

// starts: each guard serves again within seconds, says so, and says the doubts.
func (e *Evidence) starts(bad func(string, ...any)) {
	for i, d := range e.Starts {
		if d > startWithin {
			bad("starts: guard %d served after %v", i, d.Round(time.Millisecond))
		}
	}
	began := 0
	said := map[string]bool{}
	for i := range e.Entries {
		switch v := &e.Entries[i]; {
		case v.Kind == event.ConfigurationChanged && v.Text(event.Reason) == "the guard starts":
			began++
		case v.Kind == event.DoseDoubted:
			said[v.Device.Value+" "+v.Text(event.Target)] = true
		}
	}
	if began < e.Lives {
		bad("starts: %d guards served, and the ledger has the start of %d", e.Lives, began)
	}
	for _, a := range e.Audits {
		for _, id := range a.Doubts {
			if !said[fmt.Sprint(a.Device, " ", id)] {
				bad("starts: dose %d of %s is in doubt after kill %d, and nobody was told", id, a.Device, a.Kill)
			}
		}
	}
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }
