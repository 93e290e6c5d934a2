// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"fmt"
	"math/big"
	"math/bits"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// Message returns a message of the dialect with the opcode of that name and
// all fields zero, for [Message.Set] and [Dialect.Append].
func (d *Dialect) Message(named string) (*Message, error) {
	for i := range d.Opcodes {
		if o := &d.Opcodes[i]; o.Name == named {
			m := &Message{}
			m.reset(d)
			m.Opcode, m.Number, m.Kind, m.Direction, m.Sync = o, o.Value, o.Kind, o.Direction, true
			m.n = len(d.frame.fields) + len(o.data.fields)
			shift := d.opcodeBits
			for i := range m.n {
				switch f := m.field(i); {
				case f.kind == opcode:
					shift -= f.bits
					m.values[i].n = uint64(o.Value>>shift) & (1<<f.bits - 1)
				case fieldKinds[f.kind].octets:
					m.values[i].b = make([]byte, f.bits/8)
				}
			}
			return m, nil
		}
	}
	return nil, fmt.Errorf("radio: dialect %s has no opcode %q", d.Name, named)
}

// find returns the place of a field that a caller may set.
func (m *Message) find(name string) (int, error) {
	if m.Opcode == nil {
		return 0, fmt.Errorf("radio: a message without opcode: %w", wire.ErrInvalid)
	}
	i := m.index(name)
	if i < 0 {
		return 0, fmt.Errorf("radio: %s of dialect %s has no field %q", m.Opcode.Name, m.Dialect.Name, name)
	}
	switch m.field(i).kind {
	case constant, opcode, data, length, checksum:
		return 0, fmt.Errorf("radio: field %q follows from the others: %w", name, wire.ErrInvalid)
	}
	return i, nil
}

// Set sets a field that is a number to v, before any scale.
func (m *Message) Set(name string, v int64) error {
	i, err := m.find(name)
	if err != nil {
		return err
	}
	f := m.field(i)
	fits := !fieldKinds[f.kind].octets
	switch {
	case f.kind == signed:
		fits = v<<(64-f.bits)>>(64-f.bits) == v
	case f.kind == bcd:
		fits = v >= 0 && v < 1e16 && bits.Len64(toBCD(uint64(v))) <= f.bits
	case v < 0:
		fits = fits && f.bits == 64
	default:
		fits = fits && bits.Len64(uint64(v)) <= f.bits
	}
	if !fits {
		return fmt.Errorf("radio: field %q cannot be that number: %w", name, wire.ErrInvalid)
	}
	m.values[i].n = uint64(v)
	return nil
}

// SetBytes sets a field that is bytes to a copy of b. What is shorter than
// the field is filled up with zeros.
func (m *Message) SetBytes(name string, b []byte) error {
	i, err := m.find(name)
	if err != nil {
		return err
	}
	f := m.field(i)
	most := f.bits / 8
	if most == 0 {
		most = m.room(i)
	}
	if !fieldKinds[f.kind].octets || len(b) > most {
		return fmt.Errorf("radio: field %q cannot be %d bytes: %w", name, len(b), wire.ErrInvalid)
	}
	v := make([]byte, max(len(b), f.bits/8))
	copy(v, b)
	m.values[i].b = v
	return nil
}

// room returns how many bytes field i, which takes what is left, may have.
func (m *Message) room(i int) int {
	lay := &m.Opcode.data
	most := m.Dialect.maxData - lay.bytes
	for j := range lay.fields {
		if f := &lay.fields[j]; f.kind == length && f.first <= lay.rest && lay.rest <= f.last {
			most = min(most, lay.most(f))
		}
	}
	return most
}

// SetQuantity sets a field with a unit to q, which has to be a step of its scale.
func (m *Message) SetQuantity(name string, q device.Quantity) error {
	i, err := m.find(name)
	if err != nil {
		return err
	}
	f := m.field(i)
	if f.kind != unsigned && f.kind != signed && f.kind != bcd {
		return fmt.Errorf("radio: field %q has no quantity: %w", name, wire.ErrInvalid)
	}
	if q, err = q.Convert(f.unit); err != nil {
		return fmt.Errorf("radio: field %q: %w", name, err)
	}
	// raw = (q / 10^exponent - offset) / scale
	raw := new(big.Rat).SetInt64(q.Coefficient)
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(abs(int64(q.Exponent)-int64(f.exponent))), nil)
	if q.Exponent >= f.exponent {
		raw.Mul(raw, new(big.Rat).SetInt(ten))
	} else {
		raw.Quo(raw, new(big.Rat).SetInt(ten))
	}
	raw.Sub(raw, new(big.Rat).SetInt64(f.offset))
	raw.Quo(raw, new(big.Rat).SetInt64(f.scale))
	if !raw.IsInt() || !raw.Num().IsInt64() {
		return fmt.Errorf("radio: field %q: %s is no step of its scale: %w", name, q, device.ErrInexact)
	}
	return m.Set(name, raw.Num().Int64())
}

func abs(n int64) int64 { return max(n, -n) }

// Append appends the frame of m, a message of d that was parsed without error
// or made by [Dialect.Message]; of any other it appends nothing. Lengths and
// checksums are computed; preamble and sync are written when m.Sync is set. What m
// says beside its fields does not matter.
func (d *Dialect) Append(dst []byte, m *Message) []byte {
	base := len(d.frame.fields)
	n, fields := len(m.data), base
	if o := m.Opcode; o != nil {
		n, fields = o.data.bytes, base+len(o.data.fields)
		if o.data.rest >= 0 {
			n += len(m.values[base+o.data.rest].b)
		}
	}
	if m.Dialect != d || m.n != fields {
		return dst
	}
	if m.Sync {
		dst = append(append(dst, d.preamble...), d.sync...)
	}
	start := len(dst)
	dst = append(dst, make([]byte, d.frame.bytes+n)...)
	b := dst[start:]
	if i := d.frame.rest; i >= 0 {
		behind := b[d.frame.start(i, len(b))/8 : d.frame.end(i, len(b))/8]
		if m.Opcode != nil {
			m.write(&m.Opcode.data, behind, base)
		} else {
			copy(behind, m.data)
		}
	}
	m.write(&d.frame, b, 0)
	return dst
}

// write is the inverse of read.
func (m *Message) write(l *layout, b []byte, base int) {
	for i := range l.fields {
		f, v := &l.fields[i], &m.values[base+i]
		from, to := l.start(i, len(b)), l.end(i, len(b))
		switch {
		case f.kind == data: // is there
		case f.fixed != nil:
			copy(b[from/8:to/8], f.fixed)
		case fieldKinds[f.kind].octets:
			copy(b[from/8:to/8], v.b)
		case f.kind == constant:
			f.put(b, from, f.value)
		case f.kind == length:
			f.put(b, from, uint64(int64((l.end(f.last, len(b))-l.start(f.first, len(b)))/8)+f.add))
		case f.kind == bcd:
			f.put(b, from, toBCD(v.n))
		default:
			f.put(b, from, v.n)
		}
	}
	for i := range l.fields {
		if f := &l.fields[i]; f.kind == checksum {
			f.put(b, l.start(i, len(b)), uint64(f.sum.of(b[l.start(f.first, len(b))/8:l.end(f.last, len(b))/8])))
		}
	}
}
