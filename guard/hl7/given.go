// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
)

// Bounds of what is known of reports.
const (
	maxHeard = 4096 // reports that are known again when they come again
	maxOwn   = 16   // boluses of a pump that a report may name; of more, the oldest is not known by its name
)

// A given is what a pump reported last.
type given struct {
	at                   time.Time
	flow, dose, weightOf device.Quantity
}

// An ordered is what the orders that passed say of a pump, beside its account in the book.
type ordered struct {
	concentration device.Quantity // of the last one
	own           []ownBolus      // the newest last
}

// An ownBolus is one that was ordered through this front.
type ownBolus struct {
	placer, namespace string // ORC-2
	reservation       uint64
}

// again reports whether this very report was heard before. One without a number is
// never known again.
func (f *Front) again(h *hl7.Header, msg []byte) bool {
	if h.ControlID.IsEmpty() {
		return false
	}
	k := digest(h.SendingApplication.Namespace.Raw(), h.SendingApplication.UniversalID.Raw(), h.ControlID.Raw(), afterHeader(msg))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heardOf[k] {
		return true
	}
	if len(f.heardRing) < maxHeard {
		f.heardRing = append(f.heardRing, k)
	} else {
		delete(f.heardOf, f.heardRing[f.heardNext])
		f.heardRing[f.heardNext] = k
		f.heardNext = (f.heardNext + 1) % maxHeard
	}
	f.heardOf[k] = true
	return false
}

// ordered is that of a pump. The caller holds the lock.
func (f *Front) ordered(pump string) *ordered {
	o := f.orders[pump]
	if o == nil {
		o = new(ordered)
		f.orders[pump] = o
	}
	return o
}

// passed notes what an order that goes to a pump has that its reports may refer to.
func (f *Front) passed(m *hl7.Message, a *asking, answer *gate.Answer) {
	orc := m.Segment("ORC").Field(2)
	f.mu.Lock()
	defer f.mu.Unlock()
	pump := f.ordered(a.device)
	if !a.request.Concentration.IsNone() {
		pump.concentration = a.request.Concentration
	}
	if a.request.Command.Verb != device.DeliverBolus || answer.Reservation() == 0 || orc.Component(1).IsEmpty() {
		return
	}
	if len(pump.own) == maxOwn {
		pump.own = append(pump.own[:0], pump.own[1:]...)
	}
	pump.own = append(pump.own, ownBolus{placer: orc.Component(1).Text(), namespace: orc.Component(2).Text(), reservation: answer.Reservation()})
}

// bolus returns that of this front which a report names, or nil.
func (o *ordered) bolus(e hl7.EntityID) *ownBolus {
	for i := len(o.own) - 1; i >= 0 && !e.ID.IsEmpty(); i-- {
		b := &o.own[i]
		if e.ID.Is(b.placer) && (b.namespace == "" || e.Namespace.IsEmpty() || e.Namespace.Is(b.namespace)) {
			return b
		}
	}
	return nil
}

// counts takes what a pump reported to have delivered, for the book: its total, or, where
// it has none, a bolus that it names as such. The caller holds the lock.
func (f *Front) counts(pump string, d *hl7.Delivery, r *envelope.Report) {
	o := f.ordered(pump)
	if r.Concentration.IsNone() {
		r.Concentration = o.concentration
	}
	own := o.bolus(d.Placer)
	r.Total = d.Total
	if d.Total.IsNone() && (own != nil || d.Bolus() && d.Ended()) {
		r.Amount = d.Segment
	}
	if own != nil && !(r.Total.IsNone() && r.Amount.IsNone()) { // it may have ended without a word of how much
		r.Reservation, r.Final = own.reservation, d.Ended()
	}
}

// states are those that a pump reports, all of them: the worst holds, and which that
// is the envelope says.
func states(d *hl7.Delivery) string {
	var words []string
	for _, v := range d.States() {
		if w := word(bytes.ToLower(v.Raw())); w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, envelope.StateSeparator)
}

// delivered takes what a report says of a pump, in the order in which reports are heard.
func (f *Front) delivered(p *Policy, id string, d *hl7.Delivery) {
	r := envelope.Report{Rate: d.DoseRate, Weight: d.Weight, Concentration: d.Concentration, State: states(d), Time: f.env.Now()}
	if r.Rate.IsNone() {
		r.Rate = d.Flow
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.Rated() {
		f.gives[id] = given{f.env.Now(), d.Flow, d.DoseRate, d.Weight}
	} else if r.Weight.IsNone() {
		r.Weight = f.gives[id].weightOf
	}
	f.counts(id, d, &r)
	select {
	case f.reports <- reported{id, r}:
	default: // the next total has it, too
		f.env.Log.Warn("too many reports at once; one is not counted", "front", p.Name, "device", id)
	}
}
