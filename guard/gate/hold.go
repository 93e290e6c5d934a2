// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
)

// Why a held command is not released. An error of [Gate.Confirm] is one of
// these, or says why the envelope refuses it now.
var (
	ErrRole = errors.New("only a prescriber, a pharmacist or a nurse decides on a therapy")
	ErrGone = errors.New("nothing of that number waits: it was decided on, or its time is over")
	ErrSelf = errors.New("who asked for it cannot be the second person")
)

// A Held is a command that waits for a person.
type Held struct {
	ID      string
	Front   string
	Device  string
	Actor   string // who asked, as proven
	Command device.Command
	Reason  string // why it waits
	Asked   time.Time
	Expires time.Time
}

// A waiting command.
type waiting struct {
	Held
	ask   *Ask
	until time.Duration // elapsed; Expires is for people, and their clock may be set
}

// hold lets a command wait.
func (g *Gate) hold(a *Ask, out *Answer, d time.Duration) *Answer {
	now := g.cfg.Now()
	w := &waiting{ask: a, Held: Held{
		Front: a.Front, Device: a.Device, Actor: a.Actor, Command: a.Request.Command, Reason: out.Reason,
		Asked: now, Expires: now.Add(d),
	}}
	g.mu.Lock()
	of := 0
	for _, h := range g.held {
		if h.Device == a.Device {
			of++
		}
	}
	full := len(g.held) >= maxHeld || of >= maxHeldDevice
	can := a.Release != nil && a.Still != nil && d > 0
	if !full && can {
		g.next++
		w.until = g.elapsed() + d
		w.ID = strconv.FormatUint(g.next, 10)
		g.held[w.ID] = w
	}
	g.mu.Unlock()
	if w.ID == "" {
		out.Verdict = device.Deny
		switch {
		case !can:
			out.Reason += "; and it cannot wait for that here"
		default:
			out.Reason += "; and too many commands wait already"
		}
		return g.refuse(a, out)
	}
	out.Hold, out.Expires, out.Pass = w.ID, w.Expires, false
	g.say(a, out, false)
	return out
}

// Held returns what waits for a person, the oldest first.
func (g *Gate) Held() []Held {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Held, 0, len(g.held))
	for _, w := range g.held {
		out = append(out, w.Held)
	}
	slices.SortFunc(out, func(a, b Held) int {
		if c := a.Asked.Compare(b.Asked); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// take takes a waiting command off the list, which is how it is decided on once.
func (g *Gate) take(id string) (*waiting, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.held[id]
	if w == nil {
		return nil, ErrGone
	}
	delete(g.held, id)
	return w, nil
}

// over reports whether the time of a waiting command is over. The caller holds the lock.
func (g *Gate) over(w *waiting) bool { return g.elapsed() >= w.until }

// barred says why a person may not release a command now, whatever its envelope says,
// as an error: by the configuration that holds, and by the time.
func (g *Gate) barred(p Person, w *waiting) error {
	if err := g.clinical(p); err != nil {
		return err
	}
	g.mu.Lock()
	_, known := g.devices[w.Device]
	over := g.over(w)
	g.mu.Unlock()
	switch {
	case over:
		return errOver
	case !known:
		return errNoDevice
	}
	if why := w.ask.Still(); why != "" {
		return errors.New(why)
	}
	return nil
}

var (
	errOver     = fmt.Errorf("%w: it was not confirmed in time", ErrGone)
	errNoDevice = fmt.Errorf("%w: the device is no longer guarded here", ErrGone)
)

// Confirm releases a held command in the name of a person who is not the one
// who asked. It is judged again, against the configuration and all else that holds now; it
// is never sent when its time is over. It returns when the front has forwarded it.
func (g *Gate) Confirm(ctx context.Context, p Person, id string) error {
	if err := g.clinical(p); err != nil {
		return err
	}
	g.mu.Lock()
	self := g.held[id] != nil && g.held[id].Actor == p.ID
	g.mu.Unlock()
	if self {
		return ErrSelf
	}
	w, err := g.take(id)
	if err != nil {
		return err
	}
	if err := g.barred(p, w); err != nil {
		return g.bar(p, w, err)
	}
	a := *w.ask // the same request, confirmed, and what is known now
	a.Request.State, a.Request.Command.Now = "", device.Quantity{}
	if a.Renew != nil {
		a.Renew(&a.Request)
	}
	a.Request.Confirmed = &envelope.Confirmation{Person: p.ID, Role: p.Role, Time: g.cfg.Now()}
	dev, _ := g.device(&a)
	d, dose, err := g.cfg.Book.Reserve(a.Device, dev.Envelope, &a.Request)
	out := &Answer{Verdict: d.Verdict, Enforced: d.Enforced, Reason: d.Reason, by: lineOf(dev.Envelope, &d), dose: dose, Pass: true}
	if err == nil && d.Verdict == device.Hold && d.Enforced { // it is not for this person to confirm: it goes on waiting
		g.mu.Lock()
		g.held[w.ID] = w
		g.mu.Unlock()
		return errors.New(d.Reason)
	}
	if err == nil && d.Verdict == device.Allow {
		out.Reason = "confirmed by " + p.ID + " (" + p.Role.String() + "); " + d.Reason
		err = g.cfg.Record(g.verdict(&a, out))
	} else if err == nil {
		err = errors.New(d.Reason)
	}
	if err == nil { // the disk took its time
		err = g.barred(p, w)
	}
	if now, _ := g.device(&a); err == nil && (now.Therapy != dev.Therapy || now.Envelope.Digest() != dev.Envelope.Digest()) {
		err = errors.New("the envelope was changed while it was released")
	}
	if err != nil {
		out.Abandon()
		return g.bar(p, w, err)
	}
	g.remember(&a, out)
	release, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	w.ask.Release(release, out)
	return nil
}

// bar ends a command that a person confirmed and that may not be released.
func (g *Gate) bar(p Person, w *waiting, why error) error {
	reason := "confirmed by " + p.ID + ", and refused when it was judged again: " + why.Error()
	if errors.Is(why, errOver) {
		reason = "its time was over before it was confirmed"
	}
	g.gone(w, reason)
	return why
}

// Refuse ends a held command in the name of a person.
func (g *Gate) Refuse(p Person, id, why string) error {
	if err := g.clinical(p); err != nil {
		return err
	}
	w, err := g.take(id)
	if err != nil {
		return err
	}
	if why == "" {
		why = "no reason given"
	}
	g.gone(w, "refused by "+p.ID+" ("+p.Role.String()+"): "+why)
	return nil
}

// gone ends a command that was held and is not released.
func (g *Gate) gone(w *waiting, reason string) {
	g.say(w.ask, &Answer{Verdict: device.Deny, Enforced: true, Reason: reason}, false)
	if w.ask.Gone != nil {
		w.ask.Gone(reason)
	}
}

// Sweep ends what has waited too long, and records what was counted. The guard
// calls it once a second or so; nothing is delivered late if it does not.
func (g *Gate) Sweep(now time.Time) {
	g.mu.Lock()
	var over []*waiting
	for id, w := range g.held {
		if g.over(w) {
			over = append(over, w)
			delete(g.held, id)
		}
	}
	g.mu.Unlock()
	for _, w := range over {
		g.gone(w, "nobody confirmed it in time")
	}
	g.flush(now, false)
}
