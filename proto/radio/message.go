// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// ErrChecksum says that a checksum is not that of the bytes: noise on the
// air far more often than an attack.
var ErrChecksum = errors.New("checksum does not match")

// A Message is what one frame says. It is reused: [Dialect.Parse] sets every
// field. Slices alias the frame.
type Message struct {
	Dialect   *Dialect
	Opcode    *Opcode // nil when Number is not in the table
	Number    uint32  // the opcode
	Kind      Kind
	Direction Direction

	// Command is what is asked for, or what was done. An answer has the verb of
	// the command that it answers, if that is known. Channel says what was seen: a ciphertext, a
	// tag, a counter or nonce under a tag; that a tag is true nobody here can
	// know. Time, Device, Actor and Role are for the caller to fill in.
	Command device.Command

	Answers *Opcode // of an answer: what it answers; nil: whatever was asked last
	Outcome Outcome // of an answer

	Device Address // patient data when the dialect's device is worn
	Peer   Address // of the programmer, remote control or sensor

	HasCounter  bool
	Counter     uint64 // all counters of the message, one behind the other
	counterBits int
	wraps       bool
	Nonce       []byte // nil: none

	// Tag is the authentication tag; nil where there is none, or only zeros or
	// ones. A tag that is the same over different content authenticates nothing.
	Tag []byte

	Patient PatientData // in clear

	// Of an identity, as the device writes it. Serial is only whether one was sent.
	Manufacturer, Model, Version []byte
	Serial                       bool

	Sync  bool // the frame began with the dialect's sync bytes
	Off   int  // bytes from the start of the frame to its first field
	Proof int  // bits that had to be as they are for the frame to be of this dialect

	data   []byte // behind the opcode, where it is not in the table
	n      int
	values [2 * maxFields]value
}

// A value is what stands in a field: a number, sign-extended, or bytes.
type value struct {
	n uint64
	b []byte
}

// An Address is whose message it is. Its value is for telling devices apart.
type Address struct {
	Present   bool
	Broadcast bool // to whoever hears it
	Worn      bool // of what is worn on a body: patient data, unless Temporary
	Temporary bool // of one session, and nobody's in the next
	Value     uint64
}

// Parse reads one frame. The preamble and the sync bytes may have been left
// out by the receiver. It allocates nothing but the error, which is
// a *[wire.SyntaxError] whose field is the dialect's and whose offset counts
// from the start of the frame. With [ErrChecksum], [wire.ErrTruncated] or
// [wire.ErrTrailing] the frame was most likely damaged on the air. An opcode that
// is not in the table is no error.
func (d *Dialect) Parse(frame []byte, m *Message) error {
	m.reset(d)
	if len(frame) > MaxFrame {
		return fault("frame", MaxFrame, wire.ErrTooLong)
	}
	b := m.begin(frame)
	if err := m.read(&d.frame, b, m.Off, 0); err != nil {
		return err
	}
	m.Proof += d.proof
	var rest []byte
	if d.frame.rest >= 0 {
		rest = m.values[d.frame.rest].b
	}
	i, ok := d.byValue[m.Number]
	if !ok {
		m.data = rest
		return nil
	}
	m.Opcode = &d.Opcodes[i]
	m.Kind, m.Direction = m.Opcode.Kind, m.Opcode.Direction
	m.Proof += d.knownBits()
	off := m.Off
	if d.frame.rest >= 0 {
		off += d.frame.start(d.frame.rest, len(b)) / 8
	}
	if err := m.read(&m.Opcode.data, rest, off, len(d.frame.fields)); err != nil {
		return err
	}
	m.interpret()
	return nil
}

// reset makes m an empty message of d. What stands in values beyond n is
// never looked at.
func (m *Message) reset(d *Dialect) {
	m.Dialect, m.Opcode, m.Number, m.Kind, m.Direction = d, nil, 0, Unknown, UnknownDirection
	m.Command = device.Command{}
	m.Answers, m.Outcome = nil, UnknownOutcome
	m.Device, m.Peer = Address{}, Address{}
	m.HasCounter, m.Counter, m.counterBits, m.wraps, m.Nonce, m.Tag = false, 0, 0, false, nil, nil
	m.Patient = 0
	m.Manufacturer, m.Model, m.Version, m.Serial = nil, nil, nil, false
	m.Sync, m.Off, m.Proof, m.data, m.n = false, 0, 0, nil, 0
}

// begin passes over preamble and sync.
func (m *Message) begin(frame []byte) []byte {
	d := m.Dialect
	b := frame
	for n := 0; len(d.preamble) > 0 && n < maxPreamble && bytes.HasPrefix(b, d.preamble); n += len(d.preamble) {
		b = b[len(d.preamble):]
	}
	switch {
	case len(d.sync) == 0:
	case bytes.HasPrefix(b, d.sync):
		b = b[len(d.sync):]
		m.Sync = true
		m.Proof = 8 * len(d.sync)
	default: // the first field may look like the preamble
		b = frame
	}
	m.Off = len(frame) - len(b)
	return b
}

func fault(field string, off int, err error) error {
	return &wire.SyntaxError{Proto: name, Field: field, Off: off, Err: err}
}

// read reads the fields of l from the whole of b, which begins off bytes into
// the frame, to m.values from base on.
func (m *Message) read(l *layout, b []byte, off, base int) error {
	if len(b) < l.bytes {
		return fault(l.reached(len(b)), off+len(b), wire.ErrTruncated)
	}
	if len(b) > l.bytes && l.rest < 0 {
		return fault("frame", off+l.bytes, wire.ErrTrailing)
	}
	// Where a length or a checksum is wrong, other faults only follow from it.
	for _, i := range l.checks {
		f := &l.fields[i]
		from, to := l.start(i, len(b)), l.end(i, len(b))
		v := &m.values[base+i]
		*v = value{}
		if fieldKinds[f.kind].octets {
			v.b = b[from/8 : to/8 : to/8]
		} else if f.fixed == nil {
			v.n = f.get(b, from)
		}
		var err error
		switch f.kind {
		case constant:
			if v.n != f.value || f.fixed != nil && !bytes.Equal(b[from/8:to/8], f.fixed) {
				err = wire.ErrInvalid
			}
		case length:
			size := int64((l.end(f.last, len(b))-l.start(f.first, len(b)))/8) + f.add
			switch {
			case int64(v.n) > size:
				err = wire.ErrTruncated
			case int64(v.n) < size:
				err = wire.ErrTrailing
			}
		case checksum:
			if uint32(v.n) != f.sum.of(b[l.start(f.first, len(b))/8:l.end(f.last, len(b))/8]) {
				err = ErrChecksum
			}
		case bcd:
			var ok bool
			if v.n, ok = fromBCD(v.n); !ok {
				err = wire.ErrInvalid
			}
		case signed:
			v.n = uint64(int64(v.n<<(64-f.bits)) >> (64 - f.bits))
		}
		if err != nil {
			return fault(f.name, off+from/8, err)
		}
	}
	m.n = base + len(l.fields)
	for i := range l.fields {
		m.note(&l.fields[i], &m.values[base+i])
	}
	return nil
}

// reached returns the name of the field that n bytes end in or before.
func (l *layout) reached(n int) string {
	for i := range l.fields {
		if i == l.rest || l.end(i, l.bytes) > n*8 {
			return l.fields[i].name
		}
	}
	return "frame"
}

// note takes from a field what it says of the message as a whole.
func (m *Message) note(f *field, v *value) {
	switch f.kind {
	case opcode:
		m.Number = m.Number<<f.bits | uint32(v.n)
	case address:
		a := Address{Present: true, Broadcast: f.anycast && v.n == f.broadcast, Temporary: f.temporary, Value: v.n}
		if f.peer {
			a.Worn = f.worn
			m.Peer = a
		} else {
			a.Worn = m.Dialect.Worn
			m.Device = a
		}
		if a.Worn && !a.Broadcast && !a.Temporary {
			m.Patient |= DeviceIdentity
		}
	case counter:
		m.Counter = m.Counter<<f.bits | v.n
		m.counterBits += f.bits
		m.HasCounter, m.wraps = true, m.wraps || f.wraps
	case nonce:
		m.Nonce = v.b
	case tag:
		if !blank(v.b) {
			m.Tag = v.b
		}
	case ciphertext:
		if len(v.b) > 0 {
			m.Command.Channel |= device.Encrypted
		}
	}
	m.Patient |= f.patient
}

// blank reports whether b has only zeros or only ones.
func blank(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return b[0] == 0 || b[0] == 0xff
}

// interpret says what the opcode and the fields mean.
func (m *Message) interpret() {
	o, c := m.Opcode, &m.Command
	c.Therapy = o.Therapy
	c.Verb = o.Verb
	if m.Tag != nil {
		c.Channel |= device.Authenticated
		if m.HasCounter || m.Nonce != nil {
			c.Channel |= device.Fresh
		}
	}
	clear := c.Channel&device.Encrypted == 0
	switch o.Kind {
	case Command, Delivered:
		if o.verb >= 0 {
			c.Verb = device.NoVerb
			if e := m.enumerated(o.verb); e != nil {
				c.Verb = e.verb
			}
		}
		c.Value, c.Now, c.Limit = m.amount(o.value), m.amount(o.now), m.amount(o.limit)
		c.Stage = device.Proposed
		if o.Kind == Delivered {
			c.Stage = device.Delivered
		}
		switch {
		case !clear, device.EffectOf(c) == device.Reads, c.Verb == device.Wake, c.Verb == device.Pair:
		case c.Verb == device.ReportGlucose:
			m.Patient |= Result
		default:
			m.Patient |= Order
		}
	case Wake, Pair:
		c.Stage = device.Proposed
		if o.Direction == FromDevice {
			c.Stage = device.Accepted
		}
	case Answer:
		m.Outcome = o.outcome
		if o.result >= 0 {
			m.Outcome = Failed
			for _, raw := range o.succeeded {
				if m.values[o.result].n == raw {
					m.Outcome = Succeeded
				}
			}
		}
		if o.answers >= 0 {
			m.Answers = &m.Dialect.Opcodes[o.answers]
			c.Verb, c.Therapy = m.Answers.Verb, m.Answers.Therapy
		}
		if m.Outcome == Succeeded {
			c.Stage = device.Accepted
		}
	case Report:
		if clear {
			m.Patient |= Result
		}
	case Identity:
		for i, text := range [...]*[]byte{&m.Manufacturer, &m.Model, &m.Version} {
			if at := o.identity[i]; at >= 0 {
				*text = bytes.TrimRight(m.values[at].b, "\x00 ")
			}
		}
		if m.Serial = o.identity[3] >= 0; m.Serial && m.Dialect.Worn {
			m.Patient |= DeviceIdentity
		}
	}
}

// Int returns the number in a field, before any scale; ok is false when the
// message has no such field. It may be about a patient.
func (m *Message) Int(name string) (v int64, ok bool) {
	i := m.index(name)
	if i < 0 || fieldKinds[m.field(i).kind].octets {
		return 0, false
	}
	return int64(m.values[i].n), true
}

// Bytes returns the bytes of a field, or nil. They may be about a patient.
func (m *Message) Bytes(name string) []byte {
	if i := m.index(name); i >= 0 {
		return m.values[i].b
	}
	return nil
}

// index returns the place of a field, or -1.
func (m *Message) index(name string) int {
	if m.n == 0 {
		return -1
	}
	base := len(m.Dialect.frame.fields)
	if m.n > base {
		if i := m.Opcode.data.index(name); i >= 0 {
			return base + i
		}
	}
	return m.Dialect.frame.index(name)
}

// enumerated returns the value that a field has, or nil for one that the
// dialect does not list.
func (m *Message) enumerated(i int) *enumerated {
	f := m.field(i)
	for j := range f.values {
		if f.values[j].raw == m.values[i].n {
			return &f.values[j]
		}
	}
	return nil
}

// field returns the i-th field of the message.
func (m *Message) field(i int) *field { return m.Dialect.fieldOf(m.Opcode, i) }

var one, _ = device.UnitOfUCUM("1")

// amount returns the quantity that a reference names.
func (m *Message) amount(r reference) device.Quantity {
	if r.field < 0 {
		return r.literal
	}
	f, raw := m.field(r.field), m.values[r.field].n
	switch {
	case f.kind == enumeration:
		e := m.enumerated(r.field)
		switch {
		case e == nil:
			return device.Quantity{}
		case e.quantity.IsNone():
			return device.Quantity{Coefficient: int64(e.raw), Unit: one}
		}
		return e.quantity
	case f.hasNone && f.isNone(raw), f.kind != signed && raw > math.MaxInt64:
		return device.Quantity{}
	}
	return device.Quantity{Coefficient: int64(raw)*f.scale + f.offset, Exponent: f.exponent, Unit: f.unit}
}

// isNone reports whether a number is the one that stands for none, which the
// file writes as the bits of the field.
func (f *field) isNone(n uint64) bool {
	if f.kind == bcd {
		n = toBCD(n)
	}
	return n&(1<<f.bits-1) == f.none
}

// Newer reports whether the counter of m is further than last, as far as its
// width lets one say: of a counter that wraps, half of its values are further.
func (m *Message) Newer(last uint64) bool {
	if !m.wraps || m.counterBits == 0 {
		return m.Counter > last
	}
	ahead := (m.Counter - last) << (64 - m.counterBits)
	return ahead != 0 && ahead>>63 == 0
}

// AppendFresh appends what has to differ from message to message: counters,
// nonce and tag. Without any it appends nothing. Whoever keeps it hashes it.
func (m *Message) AppendFresh(dst []byte) []byte {
	if m.HasCounter {
		dst = binary.BigEndian.AppendUint64(dst, m.Counter)
	}
	return append(append(dst, m.Nonce...), m.Tag...)
}

// AppendContent appends what a message says, without what only makes it fresh
// or whole: two messages with the same content ask for the same. It may be
// about a patient: whoever keeps it hashes it.
func (m *Message) AppendContent(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	for i := range m.n {
		if i == m.Dialect.frame.rest {
			dst = append(dst, m.data...)
			continue
		}
		switch info := &fieldKinds[m.field(i).kind]; {
		case !info.content:
		case info.octets:
			dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.values[i].b)))
			dst = append(dst, m.values[i].b...)
		default:
			dst = binary.BigEndian.AppendUint64(dst, m.values[i].n)
		}
	}
	return dst
}

// get returns the bits of f, the first of which is bit from of b.
func (f *field) get(b []byte, from int) (v uint64) {
	for n := 0; n < f.bits; {
		at := (from + n) % 8
		k := min(8-at, f.bits-n)
		c := uint64(b[(from+n)/8])
		if f.little {
			v |= c >> at & (1<<k - 1) << n
		} else {
			c >>= 8 - at - k
			v = v<<k | c&(1<<k-1)
		}
		n += k
	}
	return v
}

// put sets the bits of f.
func (f *field) put(b []byte, from int, v uint64) {
	for n := 0; n < f.bits; {
		at := (from + n) % 8
		k := min(8-at, f.bits-n)
		mask := byte(1<<k - 1)
		shift, c := at, byte(v>>n)
		if !f.little {
			shift, c = 8-at-k, byte(v>>(f.bits-n-k))
		}
		p := &b[(from+n)/8]
		*p = *p&^(mask<<shift) | c&mask<<shift
		n += k
	}
}

// fromBCD returns the number whose decimal digits are the nibbles of v.
func fromBCD(v uint64) (n uint64, ok bool) {
	for i := 60; i >= 0; i -= 4 {
		digit := v >> i & 15
		if digit > 9 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, true
}

// toBCD is the inverse of fromBCD.
func toBCD(n uint64) (v uint64) {
	for i := 0; n > 0; i += 4 {
		v |= n % 10 << i
		n /= 10
	}
	return v
}
