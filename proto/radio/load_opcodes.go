// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// commonKeys are the keys of every opcode.
var commonKeys = []string{"opcode", "name", "direction", "means", "fields"}

// meansKeys are its other keys, by what it means.
var meansKeys = [kindCount][]string{
	Command:   {"verb", "verb_from", "therapy", "value", "now", "limit"},
	Delivered: {"verb", "verb_from", "therapy", "value", "now", "limit"},
	Answer:    {"answers", "succeeded", "result"},
	Identity:  identityKeys,
}

// opcodeKeys are all of them, each once.
var opcodeKeys = slices.Concat(commonKeys, meansKeys[Command], meansKeys[Answer], identityKeys)

var identityKeys = []string{"manufacturer", "model", "version", "serial"}

// usualDirection is who sends messages of a kind; of the others the file says.
var usualDirection = [kindCount]Direction{
	Command: ToDevice, Wake: ToDevice,
	Delivered: FromDevice, Answer: FromDevice, Report: FromDevice, Status: FromDevice, Alarm: FromDevice, Identity: FromDevice,
}

func (l *loader) opcode(d *Dialect, s *strictyaml.Section, names map[string]int) Opcode {
	o := Opcode{verb: -1, answers: -1, result: -1, identity: [4]int{-1, -1, -1, -1}, data: layout{rest: -1}}
	o.value.field, o.now.field, o.limit.field = -1, -1, -1
	o.Name = l.name(s.Need("name", "how the message is called"), "name")
	o.Value = uint32(l.Pattern(s.Need("opcode", "its number"), "opcode", d.opcodeBits))
	o.Kind = Kind(l.Word(s.Need("means", "one of "+strictyaml.Words(kinds[:])), "means", kinds[:]))
	if l.Err() != nil {
		return o
	}
	s.Only("an opcode that means "+o.Kind.String(), slices.Concat(commonKeys, meansKeys[o.Kind]))
	if i, ok := d.byValue[o.Value]; ok {
		l.Fail(s.Get("opcode"), "opcode %#x is that of %s; each stands there once", o.Value, strictyaml.Quoted(d.Opcodes[i].Name))
	}
	if _, ok := names[o.Name]; ok {
		l.Fail(s.Get("name"), "a second opcode %s; give it another name", strictyaml.Quoted(o.Name))
	}
	d.byValue[o.Value], names[o.Name] = len(d.Opcodes), len(d.Opcodes)

	o.Direction = Direction(l.Word(s.Get("direction"), "direction", directions))
	switch usual := usualDirection[o.Kind]; {
	case usual == UnknownDirection:
		s.Need("direction", "to-device or from-device")
	case o.Direction == UnknownDirection:
		o.Direction = usual
	case o.Direction != usual:
		l.Fail(s.Get("direction"), "what means %s goes %s; leave direction out, or change means", o.Kind, directions[usual])
	}

	o.Therapy = d.Therapies.First()
	for t := range d.Therapies.All() {
		if t.Harm() > o.Therapy.Harm() {
			o.Therapy = t
		}
	}
	if s.Has("fields") {
		o.data = l.layout(s.Get("fields"), "data", &d.frame)
	}
	l.fits(d, &o, s)
	if l.Err() != nil {
		return o
	}
	switch o.Kind {
	case Wake:
		o.Verb = device.Wake
	case Pair:
		o.Verb = device.Pair
	case Command, Delivered:
		l.command(d, &o, s)
	case Identity:
		for i, key := range identityKeys {
			if !s.Has(key) {
				continue
			}
			o.identity[i] = l.reference(d, &o, s.Get(key), key)
			if f := d.fieldOf(&o, o.identity[i]); key != "serial" && (f.kind != text || f.patient != 0) {
				l.Fail(s.Get(key), "%s has to be a field of kind text with patient: none", key)
			}
		}
	}
	return o
}

// fits holds the data of an opcode against the room that the frame has.
func (l *loader) fits(d *Dialect, o *Opcode, s *strictyaml.Section) {
	if l.Err() != nil {
		return
	}
	counters := 0
	for _, lay := range []*layout{&d.frame, &o.data} {
		for i := range lay.fields {
			if lay.fields[i].kind == counter {
				counters += lay.fields[i].bits
			}
		}
	}
	switch {
	case counters > 64:
		l.Fail(s.Node, "the counters of a message have %d bits together; there is room for 64", counters)
	case len(o.data.fields) > 0 && d.frame.rest < 0:
		l.Fail(s.Get("fields"), "the frame has no place for fields; add {kind: data} to its fields")
	case o.data.bytes > d.maxData:
		l.Fail(s.Get("fields"), "the fields have %d bytes; the frame has room for %d", o.data.bytes, d.maxData)
	}
}

// fieldOf returns the i-th field of a message.
func (d *Dialect) fieldOf(o *Opcode, i int) *field {
	if n := len(d.frame.fields); i >= n {
		return &o.data.fields[i-n]
	}
	return &d.frame.fields[max(i, 0)]
}

// reference returns the place of the field that a node names.
func (l *loader) reference(d *Dialect, o *Opcode, n ast.Node, what string) int {
	s := l.Text(n, what)
	if i := o.data.index(s); i >= 0 {
		return len(d.frame.fields) + i
	}
	i := d.frame.index(s)
	if i < 0 {
		l.Fail(n, "%s names no field of this message: %s; add it, or correct the name", what, strictyaml.Quoted(s))
	}
	return i
}

// verbValues says what a verb's value has to measure: an interval for a rate
// would turn more into less.
var verbValues = map[device.Verb]struct {
	fits func(device.Unit) bool
	what string
}{
	device.DeliverBolus:         {device.Unit.IsDose, "a dose, such as [iU] or mL"},
	device.Prime:                {device.Unit.IsDose, "a dose, such as [iU] or mL"},
	device.SetBasalRate:         {isRate, "a rate, such as [iU]/h or mL/h"},
	device.SetInfusionRate:      {isRate, "a rate, such as mL/h"},
	device.SetTemporaryBasal:    {isShare, "a rate such as [iU]/h, or %"},
	device.CancelTemporaryBasal: {isShare, "a rate such as [iU]/h, or %"},
	device.SetPacingRate:        {like("/min"), "beats in a time, such as {pulses}/min; an interval is not a rate"},
	device.SetOutput:            {like("V", "A"), "a voltage or current"},
	device.SetAmplitude:         {like("V", "A"), "a voltage or current"},
	device.SetSensitivity:       {like("V"), "a voltage"},
	device.SetDetection:         {like("1"), "a switch, 0 or 1"},
	device.SetTherapies:         {like("1"), "a switch, 0 or 1"},
	device.SetClosedLoop:        {like("1"), "a switch, 0 or 1"},
	device.DeliverShock:         {like("J", "V"), "an energy or voltage"},
	device.ReportGlucose:        {device.Unit.IsConcentration, "a concentration, mg/dL or mmol/L"},
	device.Calibrate:            {device.Unit.IsConcentration, "a concentration, mg/dL or mmol/L"},
}

func isRate(u device.Unit) bool { return u.IsRate() || u.IsDoseRate() }

func isShare(u device.Unit) bool { return isRate(u) || u.String() == "%" }

func like(codes ...string) func(device.Unit) bool {
	return func(u device.Unit) bool {
		return slices.ContainsFunc(codes, func(code string) bool {
			of, _ := device.UnitOfUCUM(code)
			return u != device.NoUnit && u.SameKind(of)
		})
	}
}

// command reads what a message tells the device, or says that it did.
func (l *loader) command(d *Dialect, o *Opcode, s *strictyaml.Section) {
	var verbs []device.Verb
	if s.Has("verb_from") && !s.Has("verb") {
		o.verb = l.reference(d, o, s.Get("verb_from"), "verb_from")
		f := d.fieldOf(o, o.verb)
		for _, v := range f.values {
			if v.verb != device.NoVerb {
				verbs = append(verbs, v.verb)
			}
		}
		if len(verbs) == 0 {
			l.Fail(s.Get("verb_from"), "%s has to be an enumeration with values such as {name: stop, verb: suspend}", strictyaml.Quoted(f.name))
		}
	} else {
		o.Verb = l.verb(s.Need("verb", "what is asked for, such as deliver-bolus, or verb_from: the field that says so"))
		verbs = []device.Verb{o.Verb}
		if s.Has("verb_from") {
			l.Fail(s.Get("verb_from"), "verb and verb_from are both the verb; keep one")
		}
	}
	if s.Has("therapy") {
		o.Therapy = l.therapy(s.Get("therapy"))
		if !d.Therapies.Has(o.Therapy) {
			l.Fail(s.Get("therapy"), "the device has no therapy %s; its list stands under device", strictyaml.Quoted(o.Therapy.String()))
		}
	} else if d.Therapies != device.TherapiesOf(d.Therapies.First()) {
		s.Need("therapy", "which of the device's therapies it is for: "+d.Therapies.String())
	}
	o.value = l.amount(d, o, s, "value", verbs)
	o.now = l.amount(d, o, s, "now", verbs)
	o.limit = l.amount(d, o, s, "limit", nil)
	if l.Err() != nil || !s.Has("now") {
		return
	}
	if v, n := d.unitOf(o, o.value), d.unitOf(o, o.now); !v.SameKind(n) {
		l.Fail(s.Get("now"), "value is in %s and now in %s, which cannot be compared", strictyaml.Quoted(v.String()), strictyaml.Quoted(n.String()))
	}
}

// amount reads where a quantity of a command comes from: a field, or a number
// and unit.
func (l *loader) amount(d *Dialect, o *Opcode, s *strictyaml.Section, key string, verbs []device.Verb) reference {
	r := reference{field: -1}
	n := s.Get(key)
	if n == nil || l.Err() != nil {
		return r
	}
	if word := l.Text(n, key); isName(word) {
		r.field = l.reference(d, o, n, key)
		if k := d.fieldOf(o, r.field).kind; k != unsigned && k != signed && k != bcd && k != enumeration {
			l.Fail(n, "%s is of kind %s and has no quantity", strictyaml.Quoted(word), fieldKinds[k].name)
		}
	} else {
		r.literal = l.quantity(n, key)
	}
	if l.Err() != nil {
		return r
	}
	u := d.unitOf(o, r)
	for _, v := range verbs {
		if want, ok := verbValues[v]; ok && !want.fits(u) {
			l.Fail(n, "the %s of %s is in %s; it has to be %s", key, v, strictyaml.Quoted(u.String()), want.what)
		}
	}
	return r
}

// unitOf returns the unit of a reference. Values of an enumeration have that of
// the first that has a quantity; without any they are switches.
func (d *Dialect) unitOf(o *Opcode, r reference) device.Unit {
	if r.field < 0 {
		return r.literal.Unit
	}
	f := d.fieldOf(o, r.field)
	if f.kind != enumeration {
		return f.unit
	}
	for _, v := range f.values {
		if !v.quantity.IsNone() {
			return v.quantity.Unit
		}
	}
	return one
}

// answers reads what an answer says of which command.
func (l *loader) answers(d *Dialect, o *Opcode, s *strictyaml.Section, names map[string]int) {
	if o.Kind != Answer || l.Err() != nil {
		return
	}
	if s.Has("answers") {
		word := l.Text(s.Get("answers"), "answers")
		i, ok := names[word]
		if !ok || d.Opcodes[i].Direction != ToDevice {
			l.Fail(s.Get("answers"), "answers names no message to the device: %s", strictyaml.Quoted(word))
		}
		o.answers = i
	}
	if !s.Has("result") {
		o.outcome = Failed
		if l.Truth(s.Get("succeeded"), "succeeded", true) {
			o.outcome = Succeeded
		}
		return
	}
	o.result = l.reference(d, o, s.Get("result"), "result")
	if l.Err() != nil {
		return
	}
	f := d.fieldOf(o, o.result)
	for _, n := range l.List(s.Need("succeeded", "the values of result that say so, as in [done]"), "succeeded", maxValues) {
		word := l.Text(n, "succeeded")
		i := slices.IndexFunc(f.values, func(e enumerated) bool { return e.name == word })
		if i < 0 {
			l.Fail(n, "%s is no value of %s", strictyaml.Quoted(word), strictyaml.Quoted(f.name))
			return
		}
		o.succeeded = append(o.succeeded, f.values[i].raw)
	}
}
