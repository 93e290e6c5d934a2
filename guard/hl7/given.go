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
	maxHeard  = 4096             // reports that are known again when they come again
	maxOwn    = 16               // boluses of a pump that a report may name; of more, the oldest adds up as if it were somebody else's
	meterLead = 30 * time.Second // a pump may be behind what it was believed to give by as much, before it is believed to give less
)

// A given is what a pump reported last.
type given struct {
	at                   time.Time
	flow, dose, weightOf device.Quantity
}

// A meter is what is known of a pump beside its account in the book.
//
// The book counts what runs by its rate. The total that a pump reports has that in
// it, too, so that only what is beyond it is told to the book:
//
//	mL        total now ─▶ ┐
//	                       │ beyond: told to the book as an amount
//	      rate x time ───▶ ┤
//	                       │ counted already, by the higher of the rates reported before and now
//	  total before ─────▶  ┘
//
// All amounts are in millionths of a mL, rates of a mL an hour.
type meter struct {
	at            time.Time // of the last total; zero: there was none
	total         int64
	rate          int64           // that was said last
	behind        int64           // the rate said more than was given, by so much
	concentration device.Quantity // of the last order that passed
	own           []ownBolus      // the newest last
}

// An ownBolus is one that was ordered through this front.
type ownBolus struct {
	placer, namespace string // ORC-2
	reservation       uint64
	given             int64
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

// meter is that of a pump. The caller holds the lock.
func (f *Front) meter(pump string) *meter {
	m := f.meters[pump]
	if m == nil {
		m = new(meter)
		f.meters[pump] = m
	}
	return m
}

// passed notes what an order that goes to a pump has that its reports may refer to.
func (f *Front) passed(m *hl7.Message, a *asking, answer *gate.Answer) {
	orc := m.Segment("ORC").Field(2)
	f.mu.Lock()
	defer f.mu.Unlock()
	pump := f.meter(a.device)
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

// ordered returns the bolus of this front that a report names, or nil.
func (m *meter) ordered(e hl7.EntityID) *ownBolus {
	for i := len(m.own) - 1; i >= 0 && !e.ID.IsEmpty(); i-- {
		b := &m.own[i]
		if e.ID.Is(b.placer) && (b.namespace == "" || e.Namespace.IsEmpty() || e.Namespace.Is(b.namespace)) {
			return b
		}
	}
	return nil
}

// counts takes what a pump reported to have delivered, and makes of it what the book
// is told. The caller holds the lock.
func (f *Front) counts(pump string, d *hl7.Delivery, r *envelope.Report) {
	m := f.meter(pump)
	if r.Concentration.IsNone() {
		r.Concentration = m.concentration
	}
	own := m.ordered(d.Placer)
	amount := m.advance(f.env.Now(), d, r)
	explicit := d.Total.IsNone() && !d.Segment.IsNone() && (own != nil || d.Bolus() && d.Ended())
	if explicit { // it has no total: only a bolus that it names as such
		r.Amount = d.Segment
	} else if amount > 0 {
		r.Amount = millionths(amount)
	}
	if own == nil {
		return
	}
	r.Reservation, r.Final = own.reservation, d.Ended()
	if !explicit {
		own.given += amount
		r.Amount = device.Quantity{}
		if own.given > 0 {
			r.Amount = millionths(own.given)
		}
	}
	if r.Amount.IsNone() { // it may have ended without a word of how much
		r.Reservation, r.Final = 0, false
	}
}

// advance takes a total and returns what of it nobody counts yet.
func (m *meter) advance(now time.Time, d *hl7.Delivery, r *envelope.Report) (beyond int64) {
	basis := device.Basis{Weight: r.Weight, Concentration: r.Concentration}
	rate, said := int64(0), false
	for _, q := range [...]device.Quantity{r.Rate, d.Flow} { // what the book counts first
		if low, _, err := basis.Fixed(q, flowUnit, -6); err == nil && !said && !q.IsNone() && q.Coefficient >= 0 {
			rate, said = low, true
		}
	}
	if !said {
		rate = m.rate
	}
	higher := max(rate, m.rate)
	m.rate = rate
	if d.Total.IsNone() {
		return 0
	}
	_, total, err := basis.Fixed(d.Total, volumeUnit, -6)
	if err != nil {
		return 0
	}
	first, elapsed := m.at.IsZero(), max(0, now.Sub(m.at))
	beyond = total - m.total
	if beyond < 0 { // its counters were cleared
		beyond = total
	}
	m.at, m.total = now, total
	if first { // from when it counts nobody knows
		return 0
	}
	beyond -= volume(higher, elapsed) + m.behind
	m.behind = 0
	if beyond < 0 {
		m.behind = min(-beyond, volume(higher, meterLead))
		beyond = 0
	}
	return beyond
}

// volume is what a rate gives in a time.
func volume(rate int64, d time.Duration) int64 {
	const most = 1 << 33 // 8.6 L/h, and a day: their product fits
	ms := min(d, 24*time.Hour).Milliseconds()
	return min(rate, most) * ms / time.Hour.Milliseconds()
}

var (
	flowUnit   = unitOf("mL/h")
	volumeUnit = unitOf("mL")
)

func unitOf(ucum string) device.Unit {
	u, _ := device.UnitOfUCUM(ucum)
	return u
}

func millionths(n int64) device.Quantity {
	return device.Quantity{Coefficient: n, Exponent: -6, Unit: volumeUnit}
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
	before := *f.meter(id)
	before.own = append([]ownBolus(nil), before.own...)
	f.counts(id, d, &r)
	select {
	case f.reports <- reported{id, r}:
	default: // the next total has it, too
		*f.meter(id) = before
		f.env.Log.Warn("too many reports at once; one is not counted", "front", p.Name, "device", id)
	}
}
