// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"errors"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
)

// Why a command is not permitted. An [Error] with the claim "scope" wraps one of
// these.
var (
	ErrUnproven   = errors.New("the sender is not proven, or the message may be old")
	ErrRole       = errors.New("not in the role of the token")
	ErrVerb       = errors.New("not among the verbs that were granted")
	ErrLimit      = errors.New("beyond a limit that was granted")
	ErrUndecided  = errors.New("a limit holds, and the command cannot be compared with it")
	ErrStop       = errors.New("this therapy is not stopped from afar")
	ErrUnattended = errors.New("only in an attended session")
	ErrNarrow     = errors.New("narrowed to reads, rescues and the emergency preset")
)

// Permits returns nil when the holder of the grant may have a command done now, and
// otherwise an [Error] that wraps why not. The meter has what was given before, and
// is needed for limits on sums; the caller adds the command to it before it is done.
//
// A rescue (device.Command.IsRescue) passes whatever the grant says, from any role.
// That it is not repeated is for the caller to count, who knows the therapy's state:
// see [Grant.PermitsChange]. The command's Time is not looked at.
func (g *Grant) Permits(c *device.Command, m *Meter, now Instant) error {
	return g.decide(c, m, now, c.IsRescue())
}

// PermitsChange is Permits of a command that is judged as a change, though the
// therapy's table has it among the rescues: a suspend behind a suspend, stimulation
// that is switched off again and again.
func (g *Grant) PermitsChange(c *device.Command, m *Meter, now Instant) error {
	return g.decide(c, m, now, false)
}

func (g *Grant) decide(c *device.Command, m *Meter, now Instant, rescue bool) error {
	if err := g.permits(c, m, now, rescue); err != nil {
		return bad("scope", err)
	}
	return nil
}

func (g *Grant) permits(c *device.Command, m *Meter, now Instant, rescue bool) error {
	if c.Role != g.Role || RoleNumber(g.Role) == 0 {
		return ErrRole
	}
	if rescue {
		return nil
	}
	effect := device.EffectOf(c)
	want := device.Authenticated | device.Fresh
	if effect == device.Reads {
		want = device.Authenticated
	}
	switch {
	case c.Channel&want != want:
		return ErrUnproven
	case c.IsRefused():
		return ErrStop
	case g.Narrow && !narrowest.has(c.Verb):
		return ErrNarrow
	case !roleVerbs[g.Role].has(c.Verb):
		return ErrRole
	}
	i := slices.IndexFunc(g.Verbs, func(v VerbGrant) bool { return v.Verb == c.Verb })
	if i < 0 {
		return ErrVerb
	}
	if !c.Attended && unattended(c, effect) {
		return ErrUnattended
	}
	v := &g.Verbs[i]
	if g.Role != device.Clinician && bounded.has(c.Verb) && v.Highest.IsNone() {
		return ErrScope // a grant that did not come from ParseGrant
	}
	if err := v.holds(c); err != nil {
		return err
	}
	if v.Sum.IsNone() {
		return nil
	}
	if m == nil {
		return ErrUndecided
	}
	asked, err := amount(c, v.Sum.Unit, v.Window)
	if err != nil {
		return err
	}
	given, err := m.given(c.Verb, v.Sum.Unit, v.Window, now)
	if err != nil {
		return err
	}
	total, err := given.Add(asked)
	if err != nil {
		return ErrUndecided
	}
	return atMost(total, v.Sum)
}

// unattended reports whether a command is one that a patient is not to be left alone
// with: a defibrillator that is off, or a shock.
func unattended(c *device.Command, e device.Effect) bool {
	switch c.Verb {
	case device.DeliverShock, device.Induce:
		return true
	case device.SetDetection, device.SetTherapies, device.Suspend:
		return c.Therapy == device.Defibrillation && e != device.Restores
	}
	return false
}

// holds checks what bounds one command.
func (l *Limits) holds(c *device.Command) error {
	if !l.Highest.IsNone() {
		if err := atMost(c.Value, l.Highest); err != nil {
			return err
		}
		// -5 mA is less than 3 mA, and the stronger stimulus.
		if l.Lowest.IsNone() && c.Value.Coefficient < 0 {
			return ErrLimit
		}
	}
	if !l.Lowest.IsNone() {
		if err := atMost(l.Lowest, c.Value); err != nil {
			return err
		}
	}
	if !l.Longest.IsNone() {
		if c.Limit.Coefficient <= 0 { // open-ended
			return ErrLimit
		}
		return atMost(c.Limit, l.Longest)
	}
	return nil
}

func atMost(q, limit device.Quantity) error {
	order, ok := q.Cmp(limit)
	switch {
	case !ok, q.Unit == device.NoUnit:
		return ErrUndecided
	case order > 0:
		return ErrLimit
	}
	return nil
}

var second = unitOf("s")

func unitOf(ucum string) device.Unit {
	u, _ := device.UnitOfUCUM(ucum)
	return u
}

// amount is the most that a command gives within a window, in a unit: its value or,
// if that is a rate, the rate for as long as the command says and the window is.
func amount(c *device.Command, unit device.Unit, window time.Duration) (device.Quantity, error) {
	if c.Value.Coefficient < 0 {
		return device.Quantity{}, ErrUndecided
	}
	if q, err := c.Value.Convert(unit); err == nil && q.Unit != device.NoUnit {
		return q, nil
	}
	seconds := int64(window / time.Second)
	if c.Limit.Unit.IsTime() && c.Limit.Coefficient > 0 {
		if order, _ := c.Limit.Cmp(device.Quantity{Coefficient: seconds, Unit: second}); order < 0 {
			s, err := c.Limit.Convert(second)
			if err != nil {
				return device.Quantity{}, ErrUndecided
			}
			seconds = ceil(s)
		}
	}
	// 10 min have no end as a decimal of hours. 864 s are 0.24 h, 14.4 min and 0.01 d: if
	// need be the time is rounded up to as many of them.
	for _, step := range []int64{1, 36, 864} {
		t := device.Quantity{Coefficient: (seconds + step - 1) / step * step, Unit: second}
		q, err := c.Value.Mul(t, unit)
		if err == nil {
			return q, nil
		}
		if !errors.Is(err, device.ErrInexact) {
			break
		}
	}
	return device.Quantity{}, ErrUndecided
}

// ceil is a positive quantity as a whole number, not less than it; it is at most
// MaxWindow in seconds.
func ceil(q device.Quantity) int64 {
	n := q.Coefficient
	for e := q.Exponent; e > 0; e-- {
		n *= 10
	}
	for e := q.Exponent; e < 0; e++ {
		n = (n + 9) / 10
	}
	return n
}

// maxGiven is how many commands a meter tells apart. More are counted together, as
// if all had been given when the last of them was.
const maxGiven = 128

// A Meter knows what was given, by anybody, so that a sum is not exceeded by two
// tokens that each keep to it. The zero value knows of nothing. A command whose fate
// is in doubt counts as given, and an open-ended rate counts for the whole window:
// sums are for doses and for rates with an end.
type Meter struct{ doses []dose }

type dose struct {
	verb device.Verb
	at   Instant

	// The command's own: what it gives depends on the window that is asked about.
	value, limit device.Quantity
}

// Add counts a command as given. Call it before the command is done, and make the
// meter durable (see [Meter.Append]) in between.
func (m *Meter) Add(c *device.Command, now Instant) error {
	if c.Value.IsNone() || c.Value.Coefficient <= 0 {
		return nil
	}
	d := dose{c.Verb, now, c.Value, c.Limit}
	if !d.limit.Unit.IsTime() { // it bounds less than the value does
		d.limit = device.Quantity{}
	}
	if len(m.doses) < maxGiven {
		m.doses = append(m.doses, d)
		return nil
	}
	// The oldest two that can be told together, as the later and the longer.
	for i := range m.doses {
		for j := i + 1; j < len(m.doses); j++ {
			a, b := &m.doses[i], &m.doses[j]
			if a.verb != b.verb || a.limit.IsNone() != b.limit.IsNone() {
				continue
			}
			sum, err := b.value.Add(a.value)
			if err != nil {
				continue
			}
			if order, _ := a.limit.Cmp(b.limit); order > 0 {
				b.limit = a.limit
			}
			b.value = sum
			m.doses = append(slices.Delete(m.doses, i, i+1), d)
			return nil
		}
	}
	return bad("scope", ErrUndecided)
}

// Forget drops what is older than the longest window of any grant.
func (m *Meter) Forget(now Instant) {
	m.doses = slices.DeleteFunc(m.doses, func(d dose) bool { return d.before(MaxWindow, now) })
}

// given is the most that was given by commands with a verb within a window.
func (m *Meter) given(v device.Verb, unit device.Unit, window time.Duration, now Instant) (device.Quantity, error) {
	total := device.Quantity{Unit: unit}
	for i := range m.doses {
		d := &m.doses[i]
		if d.verb != v || d.before(window, now) {
			continue
		}
		q, err := amount(&device.Command{Value: d.value, Limit: d.limit}, unit, window)
		if err != nil {
			return device.Quantity{}, err
		}
		if total, err = total.Add(q); err != nil {
			return device.Quantity{}, ErrUndecided
		}
	}
	return total, nil
}

// before reports whether all of a dose was given before a window that ends now. What
// began before the window may reach into it.
func (d *dose) before(window time.Duration, now Instant) bool {
	after := now.atLeast(d.at) - window
	if after < 0 {
		return false
	}
	if !d.limit.Unit.IsTime() {
		return true
	}
	order, ok := d.limit.Cmp(device.Quantity{Coefficient: int64(after / time.Second), Unit: second})
	return ok && order <= 0
}

// Append appends the meter's state, for [ParseMeter].
func (m *Meter) Append(dst []byte) []byte {
	dst = cbor.AppendArray(dst, len(m.doses))
	for i := range m.doses {
		d := &m.doses[i]
		dst = cbor.AppendUint(cbor.AppendArray(dst, 4), uint64(VerbNumber(d.verb)))
		dst = d.at.append(dst)
		dst = appendQuantity(dst, d.value)
		if d.limit.IsNone() {
			dst = cbor.AppendNull(dst)
		} else {
			dst = appendQuantity(dst, d.limit)
		}
	}
	return dst
}

// ParseMeter reads what [Meter.Append] wrote.
func ParseMeter(b []byte) (*Meter, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, err
	}
	m := new(Meter)
	n := r.Array()
	if n > maxGiven {
		r.Fail(cbor.ErrTooMany)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		if r.Array() != 4 {
			r.Fail(ErrForm)
		}
		verb := r.Uint()
		if verb == 0 || verb >= uint64(len(verbNumbers)) {
			r.Fail(cbor.ErrRange)
			break
		}
		d := dose{verb: verbNumbers[verb], at: readInstant(&r), value: readQuantity(&r)}
		if !r.Null() {
			d.limit = readQuantity(&r)
		}
		m.doses = append(m.doses, d)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return m, nil
}
