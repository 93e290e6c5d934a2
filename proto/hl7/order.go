// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"errors"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// An InfusionOrder is one RXG segment of PCD-03 (PCD TF-2 section 3.3) with
// what belongs to it: a whole order, or a step of one. What was not sent or
// could not be read is zero.
type InfusionOrder struct {
	Control  Value           // ORC-1: RE new, XO rate change or titration, CH bolus from an existing infusion
	Placer   EntityID        // ORC-2
	Parent   Value           // ORC-8, of a bolus the order of the infusion
	Step     Value           // RXG-1
	Give     Coded           // RXG-4, the drug
	Volume   device.Quantity // RXG-5, RXG-7: the volume to be infused
	Rate     device.Quantity // RXG-15, RXG-16: a rate, a dose rate or a dose, as its unit says
	Strength device.Quantity // RXG-17, RXG-18: the drug in ...
	Diluent  device.Quantity // RXG-23, RXG-24: ... so much fluid
	Duration device.Quantity // TQ1-13
	Route    Coded           // RXR-1
	Pump     EntityID        // OBX-18 where OBX-3 is the pump
	Weight   device.Quantity // OBX, the patient's
	Flow     device.Quantity // OBX MDC_FLOW_FLUID_PUMP, the rate of a bolus
	Type     Value           // OBX order or step type: "clinician-dose", "loading-dose", "continuous"
	Off      int             // of RXG

	limits [maxLimits]Limit
	n      int
}

// A Limit is a setting of a patient-controlled pump that comes with an order
// as an OBX segment (PCD TF-2 section 3.3.4.4.9).
type Limit struct {
	Term  uint32 // MDC code: 157985 is the dose limit
	Value device.Quantity
}

// maxLimits is how many such settings the section lists, without the size of
// the container.
const maxLimits = 8

// Limits returns the settings of a patient-controlled pump.
func (o *InfusionOrder) Limits() []Limit { return o.limits[:o.n:o.n] }

// MaxOrders bounds the orders read from one message. One message is one order
// of a few steps; the profile allows for more.
const MaxOrders = 64

// Orders appends the infusion orders of a PCD-03 message, which is ORC {RXG
// [TQ1] RXR {OBX}} once or more. The error is the first of what does not follow
// the profile, a *[wire.SyntaxError]; the orders are there all the same, without
// the quantities that could not be read.
func Orders(m *Message, out []InfusionOrder) ([]InfusionOrder, error) {
	r := orderReader{out: out, start: len(out), group: len(out)}
	for s := range m.Segments() {
		switch string(s.ID()) {
		case "ORC":
			r.share()
			r.group, r.orc = len(r.out), s
		case "RXG":
			if len(r.out)-r.start == MaxOrders {
				r.fail("RXG", s, wire.ErrTooLong)
				r.share()
				return r.out, r.err
			}
			r.give(s)
		case "TQ1", "RXR", "OBX":
			if len(r.out) == r.group { // before any RXG: not an infusion order's
				continue
			}
			o := &r.out[len(r.out)-1]
			switch s.ID()[0] {
			case 'T':
				r.timing(o, s)
			case 'R':
				o.Route = coded(s.Field(1))
			default:
				r.observation(o, s)
			}
		}
	}
	r.share()
	for i := r.start; i < len(r.out); i++ {
		r.check(&r.out[i])
	}
	return r.out, r.err
}

// An orderReader reads the segments of PCD-03 in order.
type orderReader struct {
	out   []InfusionOrder
	start int // of the message's orders
	group int // of the orders under orc
	orc   Segment
	err   error
}

// fail keeps the first error.
func (r *orderReader) fail(field string, s Segment, err error) {
	if r.err == nil && err != nil {
		r.err = fail(field, s.off, err)
	}
}

// give reads RXG (section 3.3.4.4.5).
func (r *orderReader) give(s Segment) {
	o := InfusionOrder{
		Control: r.orc.Field(1), Placer: entityID(r.orc.Field(2)), Parent: r.orc.Field(8).Component(1),
		Step: s.Field(1), Give: coded(s.Field(4)), Off: s.off,
	}
	o.Volume = r.quantity("RXG-5 Give Amount - Minimum", s, 5, 7)
	o.Rate = r.quantity("RXG-15 Give Rate Amount", s, 15, 16)
	o.Strength = r.quantity("RXG-17 Give Strength", s, 17, 18)
	o.Diluent = r.quantity("RXG-23 Give Drug Strength Volume", s, 23, 24)
	// Section 3.3.4.4.5, RXG-5: empty with XO, as a titration states no volume.
	if o.Control.Is("XO") && (!s.Field(5).IsEmpty() || !s.Field(7).IsEmpty()) {
		r.fail("RXG-5 Give Amount - Minimum", s, wire.ErrInvalid)
	}
	r.out = append(r.out, o)
}

// quantity reads a number and its unit from two fields; both may be empty.
func (r *orderReader) quantity(field string, s Segment, amount, units int) device.Quantity {
	if s.Field(amount).IsEmpty() {
		return device.Quantity{}
	}
	q, err := quantity(s.Field(amount), coded(s.Field(units)))
	r.fail(field, s, err)
	return q
}

// timing reads TQ1 (section 3.3.4.4.6): the duration is the sum of up to three
// repetitions of TQ1-13, hours, minutes and seconds.
func (r *orderReader) timing(o *InfusionOrder, s Segment) {
	const field = "TQ1-13 Occurrence duration"
	for v := range s.Field(13).Repetitions() {
		q, err := quantity(v.Component(1), codedSub(v.Component(2)))
		if err == nil && !q.Unit.IsTime() {
			err = device.ErrKind
		}
		if err == nil && !o.Duration.IsNone() {
			q, err = o.Duration.Add(q)
			if errors.Is(err, device.ErrInexact) { // 20 min in hours
				q, err = inMinutes(o.Duration, v)
			}
		}
		if err != nil {
			r.fail(field, s, err)
			o.Duration = device.Quantity{} // a part of it is no duration
			return
		}
		o.Duration = q
	}
}

// inMinutes adds a duration that is no exact decimal in the unit of the first.
func inMinutes(sum device.Quantity, v Value) (device.Quantity, error) {
	q, err := quantity(v.Component(1), codedSub(v.Component(2)))
	if err != nil {
		return q, err
	}
	return q.Add(sum)
}

// observation reads OBX (section 3.3.4.4.9).
func (r *orderReader) observation(o *InfusionOrder, s Segment) {
	x := ReadObservation(s)
	_, ref := x.ID.MDC()
	switch term := x.term(); term {
	case mdcPumpVMD:
		o.Pump = entityID(x.Equipment)
	case mdcWeight:
		q, err := x.Quantity()
		if err == nil && !q.Unit.IsMass() {
			q, err = device.Quantity{}, device.ErrKind
		}
		r.fail("OBX-5 Observation Value", s, err)
		o.Weight = q
	case mdcFlow:
		q, err := x.Quantity()
		r.fail("OBX-5 Observation Value", s, err)
		o.Flow = q
	case mdcDoseLimit, mdcVolumeLimit, mdcLimitPeriod, mdcDosesPerHour, mdcLockout,
		mdcDosePatient, mdcDoseLoading, mdcDoseClinician:
		q, err := x.Quantity()
		r.fail("OBX-5 Observation Value", s, err)
		if o.n < len(o.limits) {
			o.limits[o.n] = Limit{term, q}
			o.n++
		} else {
			r.fail("OBX-3 Observation Identifier", s, wire.ErrTooLong)
		}
	case 0:
		switch string(ref.b) { // of change proposals 141 and 142, which have no codes
		case "MDCX_INFUS_ORDER_TYPE", "MDCX_INFUSION_ORDER_TYPE", "MDCX_INFUSION_PROGRAM_TYPE",
			"MDCX_INFUS_ORDER_STEP_TYPE", "MDCX_INFUSION_ORDER_STEP_TYPE":
			o.Type = x.Value.Component(1)
		}
	}
}

// share gives the steps of one order the pump and the weight that only some of
// them state.
func (r *orderReader) share() {
	steps := r.out[r.group:]
	var pump EntityID
	var weight device.Quantity
	for i := range steps {
		if pump.IsEmpty() {
			pump = steps[i].Pump
		}
		if weight.IsNone() {
			weight = steps[i].Weight
		}
	}
	for i := range steps {
		if steps[i].Pump.IsEmpty() {
			steps[i].Pump = pump
		}
		if steps[i].Weight.IsNone() {
			steps[i].Weight = weight
		}
	}
}

// check notes what an order lacks by the profile.
func (r *orderReader) check(o *InfusionOrder) {
	at := Segment{off: o.Off}
	switch {
	case o.Pump.IsEmpty(): // section 3.3.4.4.9: must always be present
		r.fail("OBX-18 Equipment Instance Identifier", at, wire.ErrInvalid)
	case intents[string(o.Control.b)] == noIntent: // section B.9, ORC-1
		r.fail("ORC-1 Order Control", at, wire.ErrInvalid)
	case o.Rate.IsNone() && o.n == 0: // section 3.3.4.4.5, RXG-15: may be missing for PCA only
		r.fail("RXG-15 Give Rate Amount", at, wire.ErrInvalid)
	case o.Control.Is("XO") && o.Rate.Unit.IsDose(): // change proposal 140
		r.fail("RXG-16 Give Rate Units", at, wire.ErrInvalid)
	case o.Rate.Unit.IsDose() && o.Duration.IsNone() && o.Flow.IsNone(): // RXG-16: over what time
		r.fail("TQ1-13 Occurrence duration", at, wire.ErrInvalid)
	}
}

// An intent is what an order asks of a pump.
type intent uint8

const (
	noIntent intent = iota
	infuse          // start an infusion, or change its rate
	bolus           // give an amount beside an infusion (change proposals 140 and 141)
)

// intents reads ORC-1 (table 0119). PCD-03 has RE, XO and CH; some engines
// keep the NW of the order that they were sent. It has no stop and no cancel.
var intents = map[string]intent{"RE": infuse, "NW": infuse, "XO": infuse, "CH": bolus}

// Verb returns what the order asks for. An amount to be given is a bolus,
// whatever else the order is: how long it takes is up to the time stated with
// it. It is [device.NoVerb] when ORC-1 is not of the profile.
func (o *InfusionOrder) Verb() device.Verb {
	switch in := intents[string(o.Control.b)]; {
	case in == noIntent:
		return device.NoVerb
	case in == bolus, o.Rate.Unit.IsDose(), o.Type.Is("clinician-dose"), o.Type.Is("loading-dose"), o.Type.Is("loading dose"):
		return device.DeliverBolus
	}
	return device.SetInfusionRate
}

// Therapy returns what is infused into: RXR-1 (table 0162) tells intrathecal
// infusion, for which other rules hold.
func (o *InfusionOrder) Therapy() device.Therapy {
	if o.Route.Identifier.Is("IT") || o.Route.Text.Is("IT") {
		return device.IntrathecalInfusion
	}
	return device.DrugInfusion
}

// Drug returns the generic name of the drug, or its code.
func (o *InfusionOrder) Drug() string {
	if s := text(o.Give.Text, maxID); s != "" {
		return s
	}
	return text(o.Give.Identifier, maxID)
}

// Concentration returns strength by volume, of RXG-17, 18, 23 and 24 (section
// 3.3.4.4.7). It fails with [device.ErrMissing] when one is missing, as with
// plain fluids and mixtures. With [device.ErrInexact] the quotient has no end
// and the result is a little below it: a flow worked out from it is above.
func (o *InfusionOrder) Concentration() (device.Quantity, error) {
	if o.Strength.Coefficient <= 0 || o.Diluent.Coefficient <= 0 {
		return device.Quantity{}, device.ErrMissing
	}
	millilitre, _ := device.UnitOfUCUM("mL")
	volume, err := o.Diluent.Convert(millilitre)
	if err != nil {
		return device.Quantity{}, err
	}
	unit, ok := device.UnitOfUCUM(o.Strength.Unit.String() + "/mL")
	if !ok {
		return device.Quantity{}, device.ErrUnit
	}
	c, e := o.Strength.Coefficient, int(o.Strength.Exponent)
	for c%volume.Coefficient != 0 && c <= maxScaled {
		c, e = c*10, e-1
	}
	if c%volume.Coefficient != 0 {
		err = device.ErrInexact
	}
	e -= int(volume.Exponent)
	if e < -128 || e > 127 {
		return device.Quantity{}, device.ErrRange
	}
	return device.Quantity{Coefficient: c / volume.Coefficient, Exponent: int8(e), Unit: unit}, err
}

// maxScaled is the largest number that can be multiplied by ten.
const maxScaled = (1<<63 - 1) / 10

// FlowRate returns the flow in mL/h that the order asks for. It fails with
// [device.ErrMissing] when weight or concentration are needed and not there:
// then nothing can be said, and the dose rate stands as it is. With
// [device.ErrInexact] it is an upper bound ([device.RateOf]).
func (o *InfusionOrder) FlowRate() (device.Quantity, error) {
	concentration, err := o.Concentration()
	if err != nil && !errors.Is(err, device.ErrInexact) {
		concentration = device.Quantity{}
	}
	q, rerr := device.RateOf(o.Rate, o.Weight, concentration)
	if rerr == nil && !o.Rate.Unit.IsRate() {
		rerr = err
	}
	return q, rerr
}

// AppendCommands appends what an order proposes: one command for it, then one
// for each setting of a patient-controlled pump. A command whose quantity could
// not be read has no Value. Who asks, over which channel and when is for the
// caller to fill in: the message only claims it. PCD-03 proposes: a clinician
// confirms, changes or rejects at the pump (section 3.3.4.4.10).
func (o *InfusionOrder) AppendCommands(out []device.Command) []device.Command {
	c := device.Command{
		Verb: o.Verb(), Therapy: o.Therapy(), Value: o.Rate, Limit: o.Volume,
		Device: o.Pump.Name(), Stage: device.Proposed, Drug: o.Drug(),
	}
	if c.Limit.IsNone() || c.Verb == device.DeliverBolus {
		c.Limit = o.Duration
	}
	if !o.Rate.IsNone() || o.n == 0 {
		out = append(out, c)
	}
	for _, l := range o.Limits() {
		c.Verb, c.Value, c.Limit = device.SetLimit, l.Value, device.Quantity{}
		if l.Term == mdcDoseLoading || l.Term == mdcDoseClinician {
			c.Verb = device.DeliverBolus
		}
		out = append(out, c)
	}
	return out
}

// quantity reads a number with a coded unit.
func quantity(amount Value, units Coded) (device.Quantity, error) {
	q, err := device.ParseDecimal(amount.b)
	if err != nil {
		return device.Quantity{}, err
	}
	if q.Unit, err = units.Unit(); err != nil {
		return device.Quantity{}, err
	}
	return q, nil
}

// Unit returns the unit that a coded element names, as MDC code, as MDC
// reference id or as UCUM, first or alternate. When two of these differ there
// is no telling which one the receiver reads: the error is then
// [device.ErrKind], and [device.ErrUnit] when there is none.
func (c Coded) Unit() (device.Unit, error) {
	found := device.NoUnit
	code, _ := c.MDC()
	if u, ok := device.UnitOfMDCCode(code); ok {
		found = u
	}
	for _, v := range [...]Value{c.Identifier, c.Text, c.AltIdentifier, c.AltText} {
		if v.IsEmpty() || v.b[0] >= '0' && v.b[0] <= '9' || len(v.b) > maxUnit {
			continue
		}
		u, ok := device.UnitOf(string(v.b))
		switch {
		case !ok:
		case found == device.NoUnit:
			found = u
		case found != u:
			return device.NoUnit, device.ErrKind
		}
	}
	if found == device.NoUnit {
		return device.NoUnit, device.ErrUnit
	}
	return found, nil
}

// maxUnit bounds the text of a unit.
const maxUnit = 64
