// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"errors"
	"fmt"
	"slices"

	"github.com/myelin-health/myelin/device"
)

// ErrNoOpcode says that a dialect has no frame that asks for a command.
var ErrNoOpcode = errors.New("the device's dialect has no such command")

// Compose returns the message that asks for a command: of the first opcode to the
// device with its verb, and its therapy if it has one, whose fields can say all that
// the command says and have no others that would be made up. So a duration that the
// device has no field for is an error, and a part of the scale is, too. Reads may have
// fields that are zero. Addresses, counters and what else makes a frame the sender's own
// are for the caller to set.
func (d *Dialect) Compose(c *device.Command) (*Message, error) {
	err := ErrNoOpcode
	for i := range d.Opcodes {
		o := &d.Opcodes[i]
		asks := o.Kind == Command || o.Kind == Wake && c.Verb == device.Wake
		if !asks || o.Direction != ToDevice || c.Therapy != device.NoTherapy && o.Therapy != device.NoTherapy && o.Therapy != c.Therapy {
			continue
		}
		if o.Verb != c.Verb && o.verb < 0 && o.Kind == Command {
			continue
		}
		m, ferr := d.Message(o.Name)
		if ferr != nil {
			return nil, ferr
		}
		said, ferr := m.say(c)
		if ferr == nil {
			return m, nil
		}
		if said {
			err = ferr
		}
	}
	return nil, fmt.Errorf("radio: %v: %w", c.Verb, err)
}

// say sets the fields that say what a command says, and reports whether the opcode has
// its verb.
func (m *Message) say(c *device.Command) (verb bool, err error) {
	o := m.Opcode
	set := make([]bool, m.n)
	if o.verb >= 0 {
		f := m.field(o.verb)
		for i := range f.values {
			if f.values[i].verb == c.Verb {
				m.values[o.verb].n, set[o.verb], verb = f.values[i].raw, true, true
				break
			}
		}
		if !verb {
			return false, ErrNoOpcode
		}
	}
	for _, part := range []struct {
		r       reference
		q       device.Quantity
		what    string
		matters bool
	}{{o.value, c.Value, "value", true}, {o.limit, c.Limit, "time or limit", true}, {o.now, c.Now, "value now", false}} {
		if part.r.field >= 0 {
			set[part.r.field] = true
			if err := m.quantity(part.r.field, part.q); err != nil {
				return true, fmt.Errorf("its %s: %w", part.what, err)
			}
			continue
		}
		order, ok := part.q.Cmp(part.r.literal)
		if same := ok && order == 0 || part.q == part.r.literal; !same && part.matters {
			return true, fmt.Errorf("its %s: %w", part.what, ErrNoOpcode)
		}
	}
	if device.EffectOf(c) == device.Reads {
		return true, nil
	}
	for i := len(m.Dialect.frame.fields); i < m.n; i++ {
		if f := m.field(i); fieldKinds[f.kind].content && f.kind != address && !set[i] {
			return true, fmt.Errorf("it wants a %s: %w", f.name, ErrNoOpcode)
		}
	}
	return true, nil
}

// quantity sets field i to a quantity, or to what stands for none.
func (m *Message) quantity(i int, q device.Quantity) error {
	f := m.field(i)
	switch {
	case f.kind == enumeration:
		for _, e := range f.values {
			v := e.quantity
			if v.IsNone() {
				v = device.Quantity{Coefficient: int64(e.raw), Unit: one}
			}
			if order, ok := v.Cmp(q); ok && order == 0 {
				m.values[i].n = e.raw
				return nil
			}
		}
		return device.ErrInexact
	case q.IsNone() && f.hasNone:
		n := f.none
		if f.kind == bcd {
			var ok bool
			if n, ok = fromBCD(n); !ok {
				return ErrNoOpcode
			}
		}
		m.values[i].n = n
		return nil
	case q.IsNone():
		return ErrNoOpcode
	}
	if err := m.SetQuantity(f.name, q); err != nil {
		return err
	}
	if f.hasNone && f.isNone(m.values[i].n) { // it would mean "none": until told otherwise
		return device.ErrInexact
	}
	return nil
}

// Quantity returns what a field measures; none when the message has no such field, or
// it is not told. It may be about a patient.
func (m *Message) Quantity(name string) device.Quantity {
	i := m.index(name)
	if i < 0 || fieldKinds[m.field(i).kind].octets {
		return device.Quantity{}
	}
	return m.amount(reference{field: i})
}

// Word returns the name of the value that an enumeration has, or "". It may be about a
// patient.
func (m *Message) Word(name string) string {
	if i := m.index(name); i >= 0 {
		if e := m.enumerated(i); e != nil {
			return e.name
		}
	}
	return ""
}

// Fields returns the names of the fields of the data, in order.
func (o *Opcode) Fields() []string {
	names := make([]string, len(o.data.fields))
	for i := range o.data.fields {
		names[i] = o.data.fields[i].name
	}
	return names
}

// SetAddress sets the address of the device that a message is for, where the dialect has
// one, and of who sends it.
func (m *Message) SetAddress(to, from uint64) {
	for i := range m.n {
		if f := m.field(i); f.kind == address {
			m.values[i].n = to & (1<<f.bits - 1)
			if f.peer {
				m.values[i].n = from & (1<<f.bits - 1)
			}
		}
	}
}

// SetCounter sets what counts messages, where the dialect has that in one field.
func (m *Message) SetCounter(n uint64) {
	for i := range m.n {
		if f := m.field(i); f.kind == counter {
			m.values[i].n = n & (1<<f.bits - 1)
		}
	}
}

// Verbs returns the verbs that a message with the opcode may have.
func (o *Opcode) Verbs() (verbs []device.Verb) {
	if o.Kind == Wake {
		return []device.Verb{device.Wake}
	}
	if o.verb < 0 {
		return []device.Verb{o.Verb}
	}
	for _, f := range o.data.fields {
		for _, v := range f.values {
			if v.verb != device.NoVerb {
				verbs = append(verbs, v.verb)
			}
		}
	}
	return verbs
}

// HasAddress reports whether frames of the dialect say which device they are for.
func (d *Dialect) HasAddress() bool {
	for i := range d.frame.fields {
		if f := &d.frame.fields[i]; f.kind == address && !f.peer {
			return true
		}
	}
	return false
}

// opcodeOf returns the first opcode that asks the device for a verb of a therapy, or nil.
func (d *Dialect) opcodeOf(v device.Verb, t device.Therapy) *Opcode {
	for i := range d.Opcodes {
		if o := &d.Opcodes[i]; o.Direction == ToDevice && (o.Therapy == t || o.Therapy == device.NoTherapy) && slices.Contains(o.Verbs(), v) {
			return o
		}
	}
	return nil
}

// Has reports whether there is a message that asks the device for a verb of a therapy.
func (d *Dialect) Has(v device.Verb, t device.Therapy) bool { return d.opcodeOf(v, t) != nil }

// ValueField returns the name of the field that has the value of a verb, or "". A report
// that has a field of that name, in such a unit, says what holds now.
func (d *Dialect) ValueField(v device.Verb, t device.Therapy) string {
	if o := d.opcodeOf(v, t); o != nil && o.value.field >= 0 {
		return d.fieldOf(o, o.value.field).name
	}
	return ""
}
