// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
)

const (
	// A device may be behind what it is believed to give by as much of its rate, before
	// it is believed to give less.
	meterLead = int64(30 * time.Second)

	// A reading below the last one comes late if the counter stood there within this
	// time, or twice that; else it was cleared.
	meterLate = int64(time.Minute)

	// What a device gives too much, and less than meterLead, is told apart by this time.
	meterTogether = int64(10 * time.Minute)
)

// A meter is a device's own counter of all that it gave.
type meter struct {
	At     moment `json:"at"` // of the last reading
	Unit   string `json:"u"`  // UCUM
	Total  int64  `json:"n"`  // millionths of it
	Behind int64  `json:"b"`  // what runs counted more until then than it had, by so much of the sums' unit

	Floor  int64  `json:"f"` // what it showed one or two times meterLate ago
	Next   int64  `json:"x"` // what Floor will be
	Turned moment `json:"t"` // when it was that last
}

// Seen is what a meter has shown of a dose that the device names.
type seen struct {
	Lo int64 `json:"l,omitempty"`
	Hi int64 `json:"h,omitempty"`
}

// read takes a reading and returns what was given since the last. It is false for one
// that says nothing: it came late, after a newer one.
func (m *meter) read(now moment, total int64) (gave int64, ok bool) {
	if now.Least-m.Turned.Least >= meterLate {
		m.Floor, m.Next, m.Turned = m.Next, m.Total, now
	}
	if now.Least-m.At.Least >= meterLate {
		m.Floor = m.Total
	}
	switch gave = total - m.Total; {
	case gave >= 0:
	case total >= m.Floor:
		return 0, false
	default: // it was cleared: what it shows was given since
		gave, m.Floor, m.Next = total, total, total
	}
	m.At, m.Total = now, total
	return gave, true
}

// metered takes what a meter has gained since it was read last, from lo to hi.
//
// What runs is counted by its rate. The meter has that, and what nobody told of; and in
// every window that reaches back into the time between the readings not less may count
// than it shows:
//
//	gained ─▶ ┐
//	          │ not told of: a dose, until now
//	 most  ─▶ ┤
//	          │ perhaps by the rate, perhaps not told of: counts until now
//	 least ─▶ ┤
//	          │ by the rate
//
// so that the whole comes to the higher of what was counted and what is shown. A reading may
// be late: what was counted too much is what the next may have more. What is beyond the
// least is of a dose that was ordered if the device names that. If not it counts beside it:
// the dose may still be to come.
func (a *account) metered(r *record) {
	now, from, m := r.At, *r.From, *r.Meter
	a.change(now, func() {
		first, ran := a.between(from)
		rest := max(0, r.Hi-m.Behind-ran.least)
		counted := ran.most
		if d := a.named(now, r.ID, rest); d != nil {
			d.show(now, max(0, min(r.Lo-m.Behind-ran.longest, rest)), rest, r.Final)
			counted += rest
			rest = 0
		}
		m.Behind = max(0, min(counted-(r.Hi-m.Behind), ran.lead))
		a.Meter = m
		if rest > 0 {
			a.notTold(now, from, rest, ran.lead)
			a.tellOnce(first, areaOfAmount(rest))
		}
	})
}

// named is the dose of a reservation, or nil. Of one of which something was given the device
// took the command.
func (a *account) named(now moment, id uint64, given int64) *dose {
	if e := a.entry(id); e != nil && e.Shape.Kind == doses && given > 0 {
		a.remove(e)
		a.Doses = append(a.Doses, e.dose(now))
	}
	if i := slices.IndexFunc(a.Doses, func(d dose) bool { return d.ID == id && id != 0 }); i >= 0 {
		return &a.Doses[i]
	}
	return nil
}

// show says that more of a dose was given until now, and perhaps that it is over.
func (d *dose) show(now moment, lo, hi int64, final bool) {
	if hi > 0 {
		d.Seen = seen{min(d.Seen.Lo+lo, maxAmount), min(d.Seen.Hi+hi, maxAmount)}
		d.Lo, d.Hi = max(d.Lo, d.Seen.Lo), max(d.Hi, d.Seen.Hi)
		d.To = moment{max(d.To.Least, now.Least), max(d.To.Most, now.Most)}
	}
	if final && d.Seen.Hi > 0 {
		d.Lo, d.Hi = d.Seen.Lo, d.Seen.Hi
		d.To = moment{min(d.To.Least, now.Least), min(d.To.Most, now.Most)}
	}
}

// notTold adds a dose that nobody told of. A pump that runs a little faster than it says makes
// one at each reading: such are told together.
func (a *account) notTold(now, from moment, hi, little int64) {
	if n := len(a.Doses); n > 0 {
		d := &a.Doses[n-1]
		age, _ := now.since(d.From)
		if d.ID == 0 && d.Verb == device.DeliverBolus && d.To == from && d.Hi+hi <= little && age <= meterTogether {
			d.To = now
			d.Hi += hi
			return
		}
	}
	a.Doses = append(a.Doses, dose{Verb: device.DeliverBolus, From: from, To: now, Hi: hi})
}

// A ran is what ran in a time, by its rates.
type ran struct {
	least, most int64 // if the time was as short as it may
	longest     int64 // most, if it was as long as it may
	lead        int64 // what the highest rate gives in meterLead
}

// between is what ran since a moment. The section under way has been closed; the first
// that is in it is at index first.
func (a *account) between(from moment) (first int, r ran) {
	a.split(from)
	first = len(a.Past)
	var least, most, longest area
	for ; first > 0; first-- {
		s := &a.Past[first-1]
		if s.Begin.Least < from.Least || s.Begin.Most < from.Most {
			break
		}
		short, long := a.end(first - 1).since(s.Begin)
		least, most, longest = least.plus(areaOf(s.Lo, short)), most.plus(areaOf(s.Hi, short)), longest.plus(areaOf(s.Hi, long))
		lead, _ := areaOf(s.Hi, meterLead).amount()
		r.lead = max(r.lead, lead)
	}
	r.least, _ = least.amount()
	r.most, _ = most.amount()
	_, r.longest = longest.amount()
	for _, n := range [...]*int64{&r.least, &r.most, &r.longest} {
		*n = min(*n, forever) // so that nothing runs over
	}
	return first, r
}

// tellOnce says of what perhaps ran that a dose has it: the newest first, since a window
// that reaches back less far may have all of that.
func (a *account) tellOnce(first int, mass area) {
	for i := len(a.Past) - 1; i >= first; i-- {
		s, end := &a.Past[i], a.end(i)
		short, long := end.since(s.Begin)
		if long-short > steered+short/steeredBy {
			continue // nobody knows for how long it ran: that counts
		}
		part := areaOf(s.Hi-s.Lo, short)
		if mass.less(part) {
			if last, _ := mass.per(s.Hi - s.Lo); last > 0 {
				a.split(moment{end.Least - last, end.Most - last})
				a.Past[i+1].Hi = a.Past[i+1].Lo
			}
			return
		}
		mass = mass.minus(part)
		s.Hi = s.Lo
	}
}

// sane reports whether a meter is one that can be.
func (m *meter) sane() bool {
	for _, n := range [...]int64{m.Total, m.Behind, m.Floor, m.Next} {
		if n < 0 || n > maxAmount {
			return false
		}
	}
	for _, at := range [...]moment{m.At, m.Turned} {
		if at.Least < -forever || at.Least > forever || at.Most < -forever || at.Most > forever {
			return false
		}
	}
	return true
}

// meter takes a reading of a device's own counter. One that shows nothing new is not
// written down each time, unless it was cleared, or it is not certain what ran: the time in
// which that might have been somebody else's is kept short.
func (b *Book) meter(a *account, e *Envelope, v *record, r *Report, again bool) {
	m := a.Meter
	unit, ok := device.UnitOfUCUM(m.Unit)
	if _, _, err := (device.Basis{}).Fixed(r.Total, unit, -6); !ok || err != nil { // the first, or in another unit
		m = meter{}
		unit = r.Total.Unit
	}
	total, _, why := fixed(r.Total, unit, device.Basis{})
	if why != "" {
		a.unread = why
		return
	}
	v.Op, v.Meter, v.Lo, v.Hi = opMeter, &m, 0, 0
	if v.Rate != nil { // when the device said last what runs is known by that
		v.Rate, v.Wall = nil, 0
	}
	if m.Unit == "" {
		m = meter{At: v.At, Unit: unit.String(), Total: total, Floor: total, Next: total, Turned: v.At}
		b.do(v)
		return
	}
	from := m.At
	gained, ok := m.read(v.At, total)
	if !ok {
		a.Meter = m
		return
	}
	v.From = &from
	if v.Lo, v.Hi, why = e.amount(device.Quantity{Coefficient: gained, Exponent: -6, Unit: unit}, device.Basis{Weight: r.Weight, Concentration: r.Concentration}); why != "" {
		a.unread = why // as long as that is so the time grows in which all of it was given
		return
	}
	a.unread = ""
	a.advance(v.At)
	a.close(v.At)
	if _, ran := a.between(from); again && v.ID == 0 && total >= a.Meter.Total && ran.least == ran.most && v.Hi-m.Behind <= ran.least {
		a.metered(v)
		return
	}
	b.do(v)
}
