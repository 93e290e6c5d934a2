// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package front is what all fronts of the guard share: how a front is
// configured ([Settings]), what it is given ([Env]), how it listens with its
// bounds ([Listener]), and how it reaches the other side ([Settings.Dial]).
//
// A front stands between a device and the others. It protects a server (the
// device listens: an archive, a pumps' gateway) or a client (the device calls: a
// scanner that sends images). It has two sides: one where it listens and one to
// which it forwards; of these the one to the device is inside, the other outside.
//
//	protects: server     others ──TLS──▶ listen │ guard │ forward ──▶ device
//	protects: client     device ──▶ listen │ guard │ forward ──TLS──▶ others
//
// What a device says to people is never held or refused, and so nobody else may
// take the places that it needs for that: a front that protects a client knows the
// device by its addresses ([Settings.From]), and what it has a bound for it has twice,
// once for the device and once for all others. Those are served as well: a device
// whose address has changed is one of them.
//
// This API follows the server and may change.
package front

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
)

// A Front is one front, of any kind.
type Front interface {
	// Run serves until ctx ends; then it takes nothing new, lets what was begun end
	// within its drain time, and returns.
	Run(ctx context.Context) error

	// Update takes over another configuration without dropping a connection: what
	// is begun from now on follows it. It is of the same kind, name and listening
	// address, and was checked.
	Update(p Policy)
}

// A Policy is a front's part of the configuration, read and checked.
type Policy interface {
	// Common are the settings that all fronts have.
	Common() *Settings
}

// An Env is what a front is given.
type Env struct {
	Gate    *gate.Gate
	Record  func(*event.Event) error // returns when durable
	Metrics *Metrics
	Learned *Learned
	Log     *slog.Logger // for operators: never a byte of a message, never a name of a person
	Now     func() time.Time
	State   string // folder of the front's own files

	serving atomic.Bool            // the front listens
	trouble atomic.Pointer[string] // see Troubled

	Expected *Expected // shared by all fronts: what one front was asked for and comes through another
}

// Serves says whether the front listens. [Listener.Serve] says so itself.
func (e *Env) Serves(yes bool) { e.serving.Store(yes) }

// Serving reports whether the front listens.
func (e *Env) Serving() bool { return e.serving.Load() }

// Troubled says that the front does a part of its work no more until a person has
// looked, or, when what is wrong is the disk, until that takes writes again, which is said
// with "": loudly, in the log, as an event, and for as long as it is so on the page and in
// its health.
func (e *Env) Troubled(s *Settings, why string) {
	e.trouble.Store(&why)
	said := why
	if why == "" {
		said = "it does all its work again"
		e.Log.Info("a front does all its work again", "front", s.Name)
	} else {
		e.Log.Error("a person is needed", "front", s.Name, "why", why)
	}
	e.Gate.Notice(envelope.Notice{Device: s.Device, Text: "front " + s.Name + ": " + said})
}

// Why says what does not work because of an error, for [Env.Troubled]; "" when it is nil.
func Why(what string, err error) string {
	if err == nil {
		return ""
	}
	return what + ": " + err.Error()
}

// Trouble is what [Env.Troubled] said last, or "".
func (e *Env) Trouble() string {
	if why := e.trouble.Load(); why != nil {
		return *why
	}
	return ""
}

// Mode is whether a front's lists are enforced.
type Mode uint8

// The modes.
const (
	Enforce Mode = iota
	Observe      // what would be refused is recorded, and passes
)

// Refused records what no list of a front allows ([gate.Gate.Refused]), and
// reports whether it is to be refused indeed: then it returns when the record is
// durable. What passes does not wait for the disk. Operation is the protocol's
// word, destination where it was to go, or "".
func (e *Env) Refused(s *Settings, peer device.Address, operation, destination, reason string) bool {
	enforced := s.Mode == Enforce
	v := e.refusal(s, peer, operation, destination, reason, enforced)
	if enforced {
		e.Gate.Refused(v)
	} else {
		e.Gate.Noted(v)
	}
	return enforced
}

// Unjudged records that something which the device said passed, although it could
// not be judged. Nothing waits for it.
func (e *Env) Unjudged(s *Settings, peer device.Address, operation, reason string) {
	e.Gate.Noted(e.refusal(s, peer, operation, "", reason, false))
}

func (e *Env) refusal(s *Settings, peer device.Address, operation, destination, reason string, enforced bool) *event.Event {
	v := &event.Event{Kind: event.AccessRefused, Time: e.Now().UnixNano(), Device: s.Protected(), Peer: peer}
	v.Add(event.Text(event.Front, s.Name), event.Text(event.Operation, operation), event.Text(event.Destination, destination),
		event.Text(event.Reason, reason), event.Int(event.Count, 1), event.Bool(event.Enforced, enforced))
	e.Metrics.Refused(s.Name, operation)
	return v
}

// Protected is the device behind the front, as events name it.
func (s *Settings) Protected() device.Address {
	return device.Address{Kind: device.Host, Value: s.Device}
}

func (s *Settings) String() string { return fmt.Sprintf("%s front %s", s.Kind, s.Name) }
