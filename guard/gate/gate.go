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
// Alarms, measurements and acknowledgements from a device to people never come
// here: fronts forward them, whatever happens.
//
// This API follows the server and may change.
package gate

import (
	"context"
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

	// Page is the address of the guard's own page, for the answers to senders whose
	// command waits for a person: "https://guard.icu:8443/".
	Page string

	People []Person // who may confirm
}

// A Device is one that the guard protects.
type Device struct {
	Therapy  device.Therapy
	Envelope *envelope.Envelope // nil: all is observed
}

// A Person may confirm what is held, in a clinical role.
type Person struct {
	ID   string // initials or a number, never a name
	Role envelope.ClinicalRole
}

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
}

// An Answer is what was decided on an Ask.
type Answer struct {
	Verdict  device.Verdict
	Pass     bool // what the front has to do now: forward, or refuse
	Enforced bool // false: it passes whatever the verdict
	Reason   string
	Hold     string    // id of what waits for a person, or ""
	Expires  time.Time // of what waits
	// unexported: gate, ask, reservation
}

// An Outcome is what came of a command that was sent.
type Outcome uint8

// The outcomes.
const (
	Unknown  Outcome = iota // no answer, or none that says
	Accepted                // the device took it
	Rejected                // the device did not
)

// A Gate decides. It may be used by several goroutines.
type Gate struct{ cfg Config }

// New makes a gate.
func New(cfg Config) *Gate { return &Gate{cfg} }

// Ask decides on a command. When it may pass and delivers something, its dose
// is reserved, durably, before Ask returns; a rescue waits for nothing. Verdicts
// that are not routine are recorded, durably, before Ask returns.
func (g *Gate) Ask(ctx context.Context, a *Ask) *Answer {
	return &Answer{Verdict: device.Deny, Reason: "nothing decides yet"}
}

// Sent says that the first byte is about to go to the device: from now on the
// dose may be given.
func (a *Answer) Sent() {}

// Outcome says what came of it. It is called once, after Sent.
func (a *Answer) Outcome(o Outcome) {}

// Abandon says that the command was not sent, and never will be: its
// reservation is given back. It has no effect after Sent.
func (a *Answer) Abandon() {}

// Report takes what a device itself says that it gives.
func (g *Gate) Report(id string, r envelope.Report) {}

// Refused records what no list of a front allows, the first of a kind at once,
// more of the same kind counted, once a minute. It returns when the first is durable,
// or failed to be.
func (g *Gate) Refused(e *event.Event) {}
