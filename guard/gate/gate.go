// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package gate is the life of a command in the guard, whatever protocol it came
// by: it is judged by the device's envelope, its dose is reserved before
// anything goes out, it waits for a person where the envelope says so, its
// verdict is recorded, and what came of it is settled.
//
// A front asks ([Gate.Ask]) and does what the [Answer] says:
//
//	a := g.Ask(ctx, &gate.Ask{Front: "gw-icu", Device: "pump-3", ...})
//	if !a.Pass { tell the sender why not: a.Reason; return }
//	a.Sent()                  // before the first byte goes to the device
//	...                       // the device answers, or does not
//	a.Outcome(gate.Accepted)  // or Rejected, or Unknown
//
// What goes where:
//
//	                    ┌─ rescue ──────────────▶ pass, and recorded behind it
//	           ┌ allow ─┤
//	           │        └─ reserved, durably ───▶ pass, counted (routine)
//	Ask ─judge─┼ hold ──▶ waits ─ Confirm ─judge again, reserve, record─▶ Release
//	           │                └ Refuse, or time is over ─ record ─────▶ Gone
//	           └ deny ──▶ recorded, durably ────▶ refuse
//
// Where the envelope only observes, everything passes, and what would have been
// said is recorded.
//
// Alarms, measurements and acknowledgements from a device to people never come
// here: fronts forward them, whatever happens.
//
// This API follows the server and may change.
package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
)

// A Config is what a gate needs.
type Config struct {
	Devices map[string]Device // by id
	Book    *envelope.Book
	Record  func(*event.Event) error // returns when durable
	Now     func() time.Time
	Clock   func() envelope.Reading // by which times run out; nil: the machine's, with the time of day of Now
	Log     *slog.Logger
	Count   func(front string, verb device.Verb, v device.Verdict) // for metrics; nil is none

	// Page is the address of the guard's own page, for the answers to senders whose
	// command waits for a person: "https://guard.icu:8443/".
	Page string

	People []Person // who may confirm

	// Elsewhere reports whether somebody in a clinical role who is none of People may
	// confirm as well; nil: nobody.
	Elsewhere func(Person) bool
}

// A Device is one that the guard protects.
type Device struct {
	Therapy  device.Therapy
	Envelope *envelope.Envelope // nil: all is observed
}

// A Person may confirm what is held, if the role is a clinical one.
type Person = envelope.Person

// An Ask is a command that somebody asks for.
type Ask struct {
	Front   string
	Device  string         // id of the device that it is for
	Actor   string         // who asks, as proven; "" is unproven
	Peer    device.Address // where from
	Request envelope.Request

	// Release forwards a command that was held, once a person has confirmed it and
	// it was judged again. It is called at most once, never after it expired, and not at
	// all when it was refused. Nil: a command of this front cannot be held, and is
	// refused instead.
	Release func(ctx context.Context, a *Answer)

	// Still says why a held command may not be asked for any more, by the configuration
	// and the sessions that hold when it is judged again, or "": its sender is on no list,
	// its proof counts no longer, the front is gone. It is asked before the dose is
	// reserved, and once more before Release. Nil: the command cannot be held.
	Still func() (why string)

	// Renew fills in what holds now beside what is asked for, the value now above all,
	// when a held command is judged again. Nil: the value now is not known then.
	Renew func(*envelope.Request)

	// Gone is called instead when it is refused, or its time is over. Nil is allowed.
	Gone func(reason string)
}

// An Answer is what was decided on an Ask.
type Answer struct {
	Verdict  device.Verdict
	Pass     bool // what the front has to do now: forward, or refuse
	Enforced bool // false: it passes whatever the verdict
	Reason   string
	Hold     string    // id of what waits for a person, or ""
	Expires  time.Time // of what waits

	by   string                // the line that decided: "noradrenaline at bed 3 v4, line 22, set-infusion-rate max 1.0 ug/kg/min"
	dose *envelope.Reservation // nil: nothing is delivered
}

// An Outcome is what came of a command that was sent.
type Outcome uint8

// The outcomes.
const (
	Unknown  Outcome = iota // no answer, or none that says
	Accepted                // the device took it
	Rejected                // the device did not
	Proposed                // its system took it, and a person at the device decides
)

// Bounds of what a gate keeps.
const (
	maxHeld       = 64  // commands that wait for a person; of one device, maxHeldDevice
	maxHeldDevice = 8   // more are refused: a clinician who is asked eight things at once reads none of them
	maxRecent     = 200 // verdicts for the page
	maxBehind     = 1024
	releaseTime   = 20 * time.Second // for a front to forward what was released
)

// A Gate decides. It may be used by several goroutines. It has to be closed.
type Gate struct {
	cfg Config

	mu      sync.Mutex
	devices map[string]Device
	people  []Person
	lapse   envelope.Lapse  // since the gate was made; see elapsed
	states  map[string]told // therapy state by device
	held    map[string]*waiting
	next    uint64 // of the ids of what is held
	recent  []Said // the newest last
	counted map[summary]*count
	why     map[uint64]string // of doubts that are being settled

	behind chan *event.Event // records that follow what passed: rescues
	noted  chan *event.Event // the rest of them
	done   sync.WaitGroup
}

// A told state is what a device said last of its therapy, and when.
type told struct {
	state string
	at    time.Duration // elapsed
}

// New makes a gate.
func New(cfg Config) *Gate {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = func() envelope.Reading {
			r := envelope.ReadClock()
			r.Wall = cfg.Now().UnixNano()
			return r
		}
	}
	g := &Gate{
		cfg: cfg, devices: cfg.Devices, people: cfg.People, states: map[string]told{}, held: map[string]*waiting{},
		counted: map[summary]*count{}, why: map[uint64]string{}, behind: make(chan *event.Event, maxBehind), noted: make(chan *event.Event, maxBehind),
	}
	for _, events := range []chan *event.Event{g.behind, g.noted} {
		g.done.Go(func() {
			for e := range events {
				g.record(e)
			}
		})
	}
	return g
}

// Close records what was only counted, and ends what follows behind. Nothing
// may be asked any more.
func (g *Gate) Close() {
	g.flush(g.cfg.Now(), true)
	close(g.behind)
	close(g.noted)
	g.done.Wait()
}

// Update takes over other devices, envelopes and people. What is held is judged
// by the new envelope when it is released.
func (g *Gate) Update(devices map[string]Device, people []Person) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.devices, g.people = devices, people
}

// Page is the address at which people confirm what is held.
func (g *Gate) Page() string { return g.cfg.Page }

// Ask decides on a command. When it may pass and delivers something, its dose
// is reserved, durably, before Ask returns; a rescue waits for nothing. Verdicts
// that are not routine are recorded, durably, before Ask returns, but those of
// rescues.
func (g *Gate) Ask(ctx context.Context, a *Ask) *Answer {
	dev, known := g.device(a)
	if !known {
		return g.refuse(a, &Answer{Verdict: device.Deny, Enforced: true, Reason: "no device of this name is guarded here"})
	}
	d, dose, err := g.cfg.Book.Reserve(a.Device, dev.Envelope, &a.Request)
	out := &Answer{Verdict: d.Verdict, Enforced: d.Enforced, Reason: d.Reason, by: lineOf(dev.Envelope, &d), dose: dose}
	if err != nil && !d.Rescue {
		g.cfg.Log.Error("a dose could not be reserved", "front", a.Front, "device", a.Device, "err", err)
		out.Verdict, out.Reason = device.Deny, "the guard cannot write down what would be given; ask at the device itself"
	}
	switch {
	case d.Rescue:
		out.Pass = true
		g.say(a, out, true)
	case out.Verdict == device.Allow:
		out.Pass = true
		g.routine(a, out)
	case out.Verdict == device.AllowEmergency:
		out.Pass = true
		g.say(a, out, false) // loud, and no emergency waits for a disk that fails
	case !out.Enforced:
		out.Pass = true
		g.say(a, out, false)
	case out.Verdict == device.Hold:
		return g.hold(a, out, d.Hold)
	default:
		return g.refuse(a, out)
	}
	return out
}

// lineOf names the line of an envelope that decided, or is "".
func lineOf(e *envelope.Envelope, d *envelope.Decision) string {
	if e == nil || d.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s v%d, line %d, %s", e.Name, e.Version, d.Line, d.Limit)
}

// device returns the device that is asked, and fills in what is known of it.
func (g *Gate) device(a *Ask) (Device, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	dev, ok := g.devices[a.Device]
	if a.Request.Command.Therapy == device.NoTherapy {
		a.Request.Command.Therapy = dev.Therapy
	}
	if a.Request.State == "" {
		a.Request.State = g.state(a.Device)
	}
	return dev, ok
}

// elapsed is the most time that may have passed since the gate was made: a clock that
// is set back lets nothing last longer. The caller holds the lock.
func (g *Gate) elapsed() time.Duration {
	g.lapse.Pass(g.cfg.Clock())
	return g.lapse.Most
}

// state is what a device said of its therapy, unless that is too long ago: then nobody
// knows. The caller holds the lock.
func (g *Gate) state(id string) string {
	holds := envelope.StateHolds
	if e := g.devices[id].Envelope; e != nil {
		holds = e.StateHolds
	}
	s, ok := g.states[id]
	if !ok || g.elapsed()-s.at > holds {
		return ""
	}
	return s.state
}

// refuse records a refusal.
func (g *Gate) refuse(a *Ask, out *Answer) *Answer {
	out.Pass = false
	if out.dose != nil {
		out.dose.Withdrawn()
		out.dose = nil
	}
	g.say(a, out, false)
	return out
}

// Why is the reason with the line of the envelope that decided, for who may see it.
func (a *Answer) Why() string {
	if a.by == "" {
		return a.Reason
	}
	return a.Reason + " (" + a.by + ")"
}

// Sent says that the first byte is about to go to the device: from now on the
// dose may be given.
func (a *Answer) Sent() { a.dose.Sent() }

// Reservation is the id of the dose that was reserved, for [envelope.Report]; 0 is none.
func (a *Answer) Reservation() uint64 { return a.dose.ID() }

// Outcome says what came of it. It is called once, after Sent.
func (a *Answer) Outcome(o Outcome) {
	switch o {
	case Accepted:
		a.dose.Accepted()
	case Rejected:
		a.dose.Rejected()
	case Proposed:
		a.dose.Proposed()
	default:
		a.dose.Doubted()
	}
}

// Abandon says that the command was not sent, and never will be: its
// reservation is given back. It has no effect after Sent.
func (a *Answer) Abandon() { a.dose.Withdrawn() }

// Report takes what a device itself says that it gives. It does not wait for
// anything that a person does.
func (g *Gate) Report(id string, r *envelope.Report) {
	g.mu.Lock()
	dev, ok := g.devices[id]
	if ok && r.State != "" {
		g.states[id] = told{r.State, g.elapsed()}
	}
	g.mu.Unlock()
	if !ok {
		return
	}
	if err := g.cfg.Book.Report(id, dev.Envelope, r); err != nil {
		g.cfg.Log.Error("what a device reported could not be written down", "device", id, "err", err)
	}
}

// State returns the therapy's state as the device reported it last, or "": it did not
// say, or longer ago than its envelope lets that hold.
func (g *Gate) State(id string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state(id)
}

// Settle says what came of a dose that is in doubt, in the name of a person who
// found out, and why.
func (g *Gate) Settle(p Person, id uint64, given bool, why string) error {
	if err := g.clinical(p); err != nil {
		return err
	}
	if why == "" {
		return errors.New("a doubt is settled with a reason: what was looked at, and what it said")
	}
	g.mu.Lock()
	g.why[id] = why // until the book tells that it is settled, which may be after it returns
	g.mu.Unlock()
	err := g.cfg.Book.Settle(id, given, p.ID)
	if err != nil {
		g.mu.Lock()
		delete(g.why, id)
		g.mu.Unlock()
	}
	return err
}

// Notice records what the book tells: a dose in doubt, and how that ended. It is
// for [envelope.Config.Tell].
func (g *Gate) Notice(n envelope.Notice) {
	e := &event.Event{Kind: event.DoseDoubted, Time: g.cfg.Now().UnixNano(), Device: device.Address{Kind: device.Host, Value: n.Device}}
	reason, outcome, by := n.Text, event.Unknown, ""
	if d := n.Doubt; d != nil {
		reason = d.Why
		if d.Settled {
			outcome, by = event.Failed, d.By
			if d.Given {
				outcome = event.Succeeded
			}
			g.mu.Lock()
			if why := g.why[d.ID]; why != "" {
				reason = why
				delete(g.why, d.ID)
			}
			g.mu.Unlock()
		}
		e.Add(event.Int(event.Verb, d.Verb), event.Text(event.Value, d.Value.String()), event.Text(event.Target, strconv.FormatUint(d.ID, 10)))
	}
	e.Add(event.Text(event.Reason, reason), event.Int(event.Outcome, outcome), event.Text(event.Actor, by))
	g.record(e)
}

// clinical reports whether a person may decide, as an error that says why not.
func (g *Gate) clinical(p Person) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range g.people {
		if q == p && q.Role != envelope.NoClinicalRole {
			return nil
		}
	}
	if p.Role != envelope.NoClinicalRole && g.cfg.Elsewhere != nil && g.cfg.Elsewhere(p) {
		return nil
	}
	return ErrRole
}
