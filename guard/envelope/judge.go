// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
)

// What decides without a line of the file.
const (
	reasonReplayed  = "it repeats what was sent before"
	reasonUnproven  = "who asks is not proven"
	reasonOld       = "it is not proven to be asked now"
	reasonRescue    = "a rescue passes at once"
	reasonRead      = "it only reads"
	reasonStop      = "this therapy is not stopped from afar"
	reasonNone      = "the device has no envelope"
	reasonTherapy   = "the envelope is of another therapy"
	reasonDrug      = "it is for another drug than the envelope"
	reasonWeight    = "its weight of the patient is not that of the envelope"
	reasonStrength  = "its concentration of the drug is not that of the envelope"
	reasonUnnamed   = "the envelope does not name it, and what is not named is refused"
	reasonEmergency = "a break-glass session may do this"
	reasonNarrow    = "a break-glass session may read, rescue and set the emergency preset, and nothing else"
	reasonUnread    = "what it asks for is not known"
	reasonNow       = "the value now is not known, and the envelope limits the step"
	reasonRuns      = "the device has not said what runs now, and the envelope has a lowest sum"
	reasonState     = "the state of the therapy is not known, and the envelope asks for it"
	reasonAlone     = "only with somebody at the patient who is proven to be there"
	reasonOpen      = "too many commands of this device wait for an answer, or are in doubt and have to be settled"
	reasonUnit      = "doses before were counted in another unit; the envelope has to keep to it"
	reasonSelf      = "who confirms has to be another person than who asks"
	reasonClinical  = "who confirms has to be in a clinical role that the envelope names"
)

// A candidate is a request that is looked at, with what is worked out on the way.
type candidate struct {
	*Request
	command  device.Command // with the therapy of the envelope where the front does not say
	effect   device.Effect
	limits   *Limits
	basis    device.Basis
	shape    shape
	uncount  string // why the shape cannot be counted
	repeated bool   // a rescue again, and so a change
}

// decide judges, given what is known about the device. In this order: is it
// proven, is it a rescue, does the table refuse it, is it an emergency, does the
// envelope name it, its own limits, the sums, and last who has to confirm.
func (e *Envelope) decide(a *account, now moment, q *candidate) Decision {
	d := e.judge(a, now, q)
	d.Effect = q.effect
	d.Enforced = e != nil && e.enforces
	return d
}

func (e *Envelope) prepare(a *account, now moment, q *candidate) {
	q.command = q.Command
	if e != nil && q.command.Therapy == device.NoTherapy {
		q.command.Therapy = e.Therapy
	}
	q.effect = device.EffectOf(&q.command)
	q.basis = device.Basis{Weight: q.Weight, Concentration: q.Concentration}
	if e != nil && !e.Weight.IsNone() {
		q.basis.Weight = e.Weight
	}
	if e != nil && !e.Concentration.IsNone() {
		q.basis.Concentration = e.Concentration
	}
	q.limits = e.limitsOf(q.command.Verb)
	q.shape, q.uncount = e.shapeOf(&q.command, q.limits, q.basis)
	q.repeated = q.effect == device.Rescues && a.repeated(&q.command, now)
}

func (e *Envelope) judge(a *account, now moment, q *candidate) Decision {
	e.prepare(a, now, q)
	c := &q.command
	switch {
	case q.Replayed:
		return deny(reasonReplayed)
	case c.Role == device.NoRole || c.Channel&device.Authenticated == 0:
		return deny(reasonUnproven)
	case c.Channel&device.Fresh == 0 && q.effect != device.Reads:
		return deny(reasonOld)
	case c.IsRescue() && !q.repeated:
		return Decision{Verdict: device.Allow, Rescue: true, Reason: reasonRescue}
	case c.IsRefused():
		return deny(reasonStop)
	case q.Emergency:
		return e.emergencyOf(q)
	case q.effect == device.Reads && q.limits == nil:
		return Decision{Verdict: device.Allow, Reason: reasonRead}
	case e == nil:
		return deny(reasonNone)
	case !e.Therapies.Has(c.Therapy):
		return deny(reasonTherapy)
	case q.Undecided != "":
		return deny(q.Undecided)
	case c.Verb == device.NoVerb:
		return deny(reasonUnread)
	case differs(e.Weight, q.Weight):
		return deny(reasonWeight)
	case differs(e.Concentration, q.Concentration):
		return deny(reasonStrength)
	case e.Drug != "" && c.Drug != "" && !strings.EqualFold(e.Drug, strings.TrimSpace(c.Drug)):
		return deny(reasonDrug)
	case q.limits == nil:
		return deny(reasonUnnamed)
	case alone(c, q.effect):
		return deny(reasonAlone)
	}
	if d := q.own(a, now); d.Verdict == device.Deny {
		return d
	}
	if q.effect != device.Reads {
		if d := e.doses(a, now, q); d.Verdict == device.Deny {
			return d
		}
	}
	if d := q.confirmed(); d.Verdict == device.Hold {
		return d
	}
	return q.limits.rules[keyNamed].of(device.Allow)
}

// differs reports whether an order states another quantity than the envelope.
func differs(of, says device.Quantity) bool {
	if of.IsNone() || says.IsNone() {
		return false
	}
	order, ok := says.Cmp(of)
	return !ok || order != 0
}

func deny(reason string) Decision { return Decision{Verdict: device.Deny, Reason: reason} }

func (r *rule) of(v device.Verdict) Decision {
	return Decision{Verdict: v, Line: r.line, Limit: r.limit, Reason: r.reason}
}

// because is a refusal by a rule for another reason than the usual one.
func (r *rule) because(reason string) Decision {
	d := r.of(device.Deny)
	d.Reason = reason
	return d
}

func (e *Envelope) limitsOf(v device.Verb) *Limits {
	if e == nil {
		return nil
	}
	if i, ok := e.orders[v]; ok {
		return &e.Verbs[i]
	}
	return nil
}

// repeated reports whether a stop that the therapy's table lets pass at once was
// asked for in the last four hours, or is under way.
func (a *account) repeated(c *device.Command, now moment) bool {
	if c.Verb != device.Suspend && c.Verb != device.StimulationOff {
		return false
	}
	i := a.lastOf(c.Verb)
	return i >= 0 && now.Least < later(max(a.Last[i].At.Least, a.Last[i].Until.Least), rescueAgain)
}

// alone reports whether a command is one that a patient is not to be left alone
// with: a defibrillator that is off, or a shock.
func alone(c *device.Command, e device.Effect) bool {
	if c.Attended {
		return false
	}
	switch c.Verb {
	case device.DeliverShock, device.Induce:
		return true
	case device.SetDetection, device.SetTherapies, device.Suspend:
		return c.Therapy == device.Defibrillation && e != device.Restores
	}
	return false
}

// emergencyOf judges in a break-glass session.
func (e *Envelope) emergencyOf(q *candidate) Decision {
	c := &q.command
	narrow := q.effect == device.Reads || q.effect == device.Rescues && !q.repeated || c.Verb == device.EmergencyPreset
	if e == nil || !narrow || !slices.Contains(e.Emergency.Verbs, c.Verb) {
		return deny(reasonNarrow)
	}
	return Decision{Verdict: device.AllowEmergency, Line: e.Emergency.Line, Limit: "emergency verbs", Reason: reasonEmergency}
}

// own holds the command to the limits of its verb.
func (q *candidate) own(a *account, now moment) Decision {
	l, c := q.limits, &q.command
	if !slices.Contains(l.Roles, c.Role) {
		return l.rules[keyRoles].of(device.Deny)
	}
	if len(l.RefusedIn) > 0 {
		if q.State == "" {
			return l.rules[keyRefusedIn].because(reasonState)
		}
		for state := range strings.SplitSeq(q.State, StateSeparator) { // the worst of them holds
			for _, s := range l.RefusedIn {
				if strings.EqualFold(s, state) {
					return l.rules[keyRefusedIn].of(device.Deny)
				}
			}
		}
	}
	if d := q.value(); d.Verdict == device.Deny {
		return d
	}
	if !l.Longest.IsNone() {
		order, ok := c.Limit.Cmp(l.Longest)
		if !ok || order > 0 || c.Limit.Coefficient <= 0 {
			return l.rules[keyLongest].of(device.Deny)
		}
	}
	if l.Interval > 0 {
		if i := a.lastOf(c.Verb); i >= 0 && now.Least-a.Last[i].At.Least < int64(l.Interval) {
			return l.rules[keyInterval].of(device.Deny)
		}
	}
	return Decision{}
}

// value holds what is asked for to the least, the most and the step.
func (q *candidate) value() Decision {
	l, c := q.limits, &q.command
	limited := l.Unit != device.NoUnit
	if c.Value.IsNone() && !limited {
		return Decision{}
	}
	if c.Value.Unit != device.NoUnit || limited {
		if why := plain(c.Value); why != "" {
			return l.rules[keyNamed].because(why)
		}
	}
	if c.Limit.Coefficient < 0 {
		return l.rules[keyNamed].because(strangeTime)
	}
	if limited {
		if _, err := q.basis.Cmp(c.Value, device.Quantity{Unit: l.Unit}); err != nil {
			return l.rules[keyNamed].because(whyNot(err))
		}
	}
	for _, x := range [...]struct {
		key   int
		limit *device.Quantity
		sign  int
	}{{keyMin, &l.Min, -1}, {keyMax, &l.Max, 1}} {
		if x.limit.IsNone() {
			continue
		}
		order, err := q.basis.Cmp(c.Value, *x.limit)
		if err != nil {
			return l.rules[x.key].because(whyNot(err))
		}
		if order == x.sign {
			return l.rules[x.key].of(device.Deny)
		}
	}
	if !l.Step.IsNone() {
		return q.step()
	}
	return Decision{}
}

// step holds the change from the value now, the larger that it may be by rounding.
func (q *candidate) step() Decision {
	l, c := q.limits, &q.command
	r := &l.rules[keyStep]
	if c.Now.Unit == device.NoUnit || plain(c.Now) != "" {
		return r.because(reasonNow)
	}
	lo, hi, why := fixed(c.Value, l.Unit, q.basis)
	if why != "" {
		return r.because(why)
	}
	nowLo, nowHi, why := fixed(c.Now, l.Unit, q.basis)
	if why != "" {
		return r.because(why)
	}
	step, _, why := fixed(l.Step, l.Unit, q.basis)
	if why != "" {
		return r.because(why)
	}
	if max(hi-nowLo, nowHi-lo) > step {
		return r.of(device.Deny)
	}
	return Decision{}
}

// doses holds what the command delivers, or withholds, to sums and interruption.
func (e *Envelope) doses(a *account, now moment, q *candidate) Decision {
	named := &q.limits.rules[keyNamed]
	if e.Unit != device.NoUnit {
		if a.Unit != device.NoUnit && a.Unit != e.Unit {
			return named.because(reasonUnit)
		}
		if q.uncount != "" {
			return named.because(q.uncount)
		}
	}
	if len(a.Open) >= maxOpen {
		return named.because(reasonOpen)
	}
	if d := e.interrupted(a, now, q); d.Verdict == device.Deny {
		return d
	}
	begun := moment{later(now.Least, q.limits.takes(q.shape.Kind)), later(now.Most, q.limits.takes(q.shape.Kind))}
	taken := a.Runs.apply(&q.shape, now, begun)
	mixed := a.Runs.or(&taken)
	for i := range e.Sums {
		s := &e.Sums[i]
		if s.above.line != 0 {
			if d := e.highest(a, now, q, s, &mixed); d.Verdict == device.Deny {
				return d
			}
		}
		if s.below.line != 0 {
			if d := e.lowest(a, now, q, s, &taken); d.Verdict == device.Deny {
				return d
			}
		}
	}
	return Decision{}
}

// highest holds every window that ends now or later to the most. A command that
// adds to no window is not held to what others gave.
func (e *Envelope) highest(a *account, now moment, q *candidate, s *Sum, mixed *program) Decision {
	var extra *dose
	if q.shape.Kind == doses {
		end := later(q.limits.takes(doses), q.shape.Most)
		extra = &dose{Verb: q.shape.Verb, From: now, To: moment{later(now.Least, end), later(now.Most, end)}, Hi: q.shape.Hi}
		if !s.dosesOf(extra.Verb) {
			return Decision{}
		}
	} else if !q.shape.runs() || !s.rates() || mixed.noMore(&a.Runs, now) {
		return Decision{}
	}
	limit := areaOfAmount(s.most)
	if !limit.less(a.glance(now, s, mixed, extra)) {
		return Decision{}
	}
	c := &a.curve
	c.reset(s.Window)
	a.high(c, now, s, mixed, extra)
	_, most := c.slide(0, forever)
	_, sum := most.amount()
	if sum <= s.most {
		return Decision{}
	}
	d := s.above.of(device.Deny)
	d.Sum = device.Quantity{Coefficient: sum, Exponent: -6, Unit: e.Unit}
	d.Unknown = device.Quantity{Coefficient: a.unknown(s), Exponent: -6, Unit: e.Unit}
	return d
}

// lowest holds every window that ends now, or later but reaches back to now, to the
// least, as if the command were done. One that gives no less than perhaps runs
// already withholds nothing.
func (e *Envelope) lowest(a *account, now moment, q *candidate, s *Sum, taken *program) Decision {
	ends := q.shape.ends()
	switch {
	case q.shape.Kind == doses, q.shape.Kind == restores, !q.shape.runs() && !ends, !s.rates() && !ends:
		return Decision{}
	case !ends && a.Known && taken.noLess(&a.Runs, now):
		return Decision{}
	case !a.Known && q.shape.Kind != runs && q.shape.Kind != runsFor:
		return s.below.because(reasonRuns)
	}
	window := int64(s.Window)
	_, known := now.since(a.Since)
	known = min(known, window)
	if !a.lowGlance(now, s, taken, known).less(areaOfAmount(s.least)) {
		return Decision{}
	}
	c := &a.curve
	c.reset(s.Window)
	if s.rates() {
		c.ahead(now, taken, lowest)
	}
	least, _ := c.slide(window, window) // the window that begins now, which nothing else fills
	if !least.less(areaOfAmount(s.least)) {
		c.reset(s.Window)
		a.low(c, now, s, taken, ends)
		least, _ = c.slide(window-known, window)
	}
	sum, _ := least.amount()
	if sum >= s.least {
		return Decision{}
	}
	d := s.below.of(device.Deny)
	d.Sum = device.Quantity{Coefficient: sum, Exponent: -6, Unit: e.Unit}
	return d
}

// interrupted holds a stop, with what is stopped already, to the longest
// interruption.
func (e *Envelope) interrupted(a *account, now moment, q *candidate) Decision {
	if e.Interruption == 0 || !q.shape.Off {
		return Decision{}
	}
	if q.shape.Most >= forever || later(a.off(now), q.shape.Most) > int64(e.Interruption) {
		return e.stays.of(device.Deny)
	}
	return Decision{}
}

// noMore reports whether p gives at most what q does, at any time from now on, and
// noLess whether p gives for sure what q may give.
func (p *program) noMore(q *program, now moment) bool {
	return p.each(q, now, func(r, s rate) bool { return r.Hi <= s.Hi })
}

func (p *program) noLess(q *program, now moment) bool {
	return p.each(q, now, func(r, s rate) bool { return r.Lo >= s.Hi })
}

func (p *program) each(q *program, now moment, holds func(r, s rate) bool) bool {
	if !holds(p.ahead(now, 0), q.ahead(now, 0)) {
		return false
	}
	for _, x := range [...]*program{p, q} {
		for i := range x[:base] {
			for _, at := range [...]int64{x[i].Until.Most - now.Most, x[i].Until.Least - now.Least} {
				if at > 0 && !holds(p.ahead(now, at), q.ahead(now, at)) {
					return false
				}
			}
		}
	}
	return true
}

// unknown is what is counted of doses whose fate is not known.
func (a *account) unknown(s *Sum) (n int64) {
	for _, e := range a.Open {
		if e.Shape.Kind == doses && s.dosesOf(e.Shape.Verb) {
			n += e.Shape.Hi
		}
	}
	return n
}

// confirmed asks for the confirmation that the envelope wants.
func (q *candidate) confirmed() Decision {
	l := q.limits
	if l.Confirm == NoConfirm {
		return Decision{}
	}
	if !l.Above.IsNone() {
		if order, err := q.basis.Cmp(q.command.Value, l.Above); err == nil && order <= 0 {
			return Decision{}
		}
	}
	d := l.rules[keyConfirm].of(device.Hold)
	d.Confirm, d.Hold = l.Confirm, l.Hold
	p := q.Confirmed
	switch {
	case p == nil:
		return d
	case l.Confirm == OnDevice:
		if !p.OnDevice {
			return d
		}
	case p.Person == "" || strings.EqualFold(p.Person, q.command.Actor):
		d.Reason = reasonSelf
		return d
	case p.Role == NoClinicalRole || int(p.Role) >= len(clinicalRoles),
		len(l.Confirmers) > 0 && !slices.Contains(l.Confirmers, p.Role):
		d.Reason = reasonClinical
		return d
	}
	return Decision{}
}
