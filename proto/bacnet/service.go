// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package bacnet

import "github.com/myelin-health/myelin/wire"

// A tag precedes each parameter (clause 20.2.1).
type tag struct {
	number  uint8
	context bool // context-specific; otherwise number is an application type
	kind    tagKind
	length  int // bytes of value; valid iff kind is primitive
}

type tagKind uint8

const (
	primitive tagKind = iota
	opening
	closing
)

// Application types (clause 20.2.1.4) that are read here.
const (
	typeBoolean         = 1
	typeUnsigned        = 2
	typeCharacterString = 7
	typeEnumerated      = 9
	typeObjectID        = 12
)

func readTag(c *wire.Cursor) (t tag) {
	at := c.Off()
	h := c.Uint8("Tag")
	t.number, t.context = h>>4, h&8 != 0
	if t.number == 15 {
		t.number = c.Uint8("Extended Tag Number")
		if t.number == 255 {
			c.FailAt("Extended Tag Number", at+1, wire.ErrReserved) // clause 20.2.1.2
		}
	}
	switch lvt := int(h & 7); {
	case lvt < 5 && !t.context && t.number == typeBoolean: // clause 20.2.3: the value is in the tag
	case lvt < 5:
		t.length = lvt
	case lvt == 5:
		t.length = int(c.Uint8("Extended Length"))
		switch t.length { // clause 20.2.1.3.1
		case 254:
			t.length = int(c.Uint16("Extended Length"))
		case 255:
			t.length = int(c.Uint32("Extended Length"))
		}
	case !t.context:
		c.FailAt("Tag", at, wire.ErrReserved)
	case lvt == 6:
		t.kind = opening
	default:
		t.kind = closing
	}
	return t
}

// expect reads a primitive value with the given tag.
func expect(c *wire.Cursor, field string, number uint8, context bool) []byte {
	at := c.Off()
	t := readTag(c)
	if t.number != number || t.context != context || t.kind != primitive {
		c.FailAt(field, at, wire.ErrInvalid)
	}
	return c.Bytes(field, t.length)
}

// unsigned reads the value of an unsigned number of one to four bytes (clause 20.2.4).
func unsigned(c *wire.Cursor, field string, b []byte) (v uint32) {
	if c.Ok() && (len(b) == 0 || len(b) > 4) {
		c.Fail(field, wire.ErrInvalid)
	}
	for _, x := range b {
		v = v<<8 | uint32(x)
	}
	return v
}

// mark reads an opening or closing tag.
func mark(c *wire.Cursor, field string, number uint8, kind tagKind) {
	at := c.Off()
	if t := readTag(c); t.number != number || t.kind != kind || !t.context {
		c.FailAt(field, at, wire.ErrInvalid)
	}
}

// next reports what the next tag is, without reading it.
func next(c *wire.Cursor, number uint8, kind tagKind) bool {
	p := *c
	if p.Len() == 0 {
		return false
	}
	t := readTag(&p)
	return p.Ok() && t.context && t.number == number && t.kind == kind
}

// An ObjectID names an object of a device: ten bits of type, 22 of instance
// (clause 20.2.14).
type ObjectID uint32

// DeviceObject is the type of the object that describes the device itself.
const DeviceObject = 8

// Type returns the object's type.
func (o ObjectID) Type() uint16 { return uint16(o >> 22) }

// Instance returns the object's number among those of its type.
func (o ObjectID) Instance() uint32 { return uint32(o) & (1<<22 - 1) }

func objectID(c *wire.Cursor, field string, b []byte) ObjectID {
	if c.Ok() && len(b) != 4 {
		c.Fail(field, wire.ErrInvalid)
	}
	return ObjectID(unsigned(c, field, b))
}

// An Announcement is what an I-Am says (clause 16.10.1).
type Announcement struct {
	Device        ObjectID
	MaxAPDULength uint32
	Segmentation  uint32
	VendorID      uint32
}

// Parse reads the data of an I-Am, an [UnconfirmedRequest] of service [IAm].
func (m *Announcement) Parse(data []byte) error {
	c := wire.NewCursor(name, data)
	*m = Announcement{}
	m.Device = objectID(&c, "I-Am Device Identifier", expect(&c, "I-Am Device Identifier", typeObjectID, false))
	m.MaxAPDULength = unsigned(&c, "Max APDU Length Accepted", expect(&c, "Max APDU Length Accepted", typeUnsigned, false))
	m.Segmentation = unsigned(&c, "Segmentation Supported", expect(&c, "Segmentation Supported", typeEnumerated, false))
	m.VendorID = unsigned(&c, "Vendor ID", expect(&c, "Vendor ID", typeUnsigned, false))
	if c.Len() > 0 {
		c.Fail("Vendor ID", wire.ErrTrailing)
	}
	return c.Err()
}

// Properties of a device object that say what it is (clause 12.11; numbers of clause 21).
const (
	ApplicationSoftwareVersion = 12
	FirmwareRevision           = 44
	ModelName                  = 70
	ObjectName                 = 77
	VendorIdentifier           = 120
	VendorName                 = 121
)

// A Property is one property of an answer. Of its value only a single unsigned
// number or character string is read.
type Property struct {
	Object   ObjectID
	ID       uint32
	Unsigned uint32
	Text     []byte // UTF-8 as clause 20.2.9 has it; nil for anything else
}

// Bounds of an answer: each property takes at least four bytes of at most
// 65,507 of a datagram, and the deepest type of the standard nests six times.
const (
	maxProperties = 1 << 14
	maxDepth      = 8
)

// ReadProperties calls f with each property that a, a [ComplexACK] of
// [ReadProperty] or [ReadPropertyMultiple] which is not segmented, answers.
func ReadProperties(a *APDU, f func(Property)) error {
	c := wire.NewCursor(name, a.Data)
	if a.Service == ReadProperty {
		p := Property{Object: objectID(&c, "Object Identifier", expect(&c, "Object Identifier", 0, true))}
		readProperty(&c, 1, &p)
		if c.Ok() {
			f(p)
		}
		if c.Len() > 0 {
			c.Fail("Property Value", wire.ErrTrailing)
		}
		return c.Err()
	}
	n := 0
	for c.Len() > 0 {
		object := objectID(&c, "Object Identifier", expect(&c, "Object Identifier", 0, true))
		mark(&c, "List of Results", 1, opening)
		for c.Ok() && !next(&c, 1, closing) {
			if n++; n > maxProperties {
				c.Fail("List of Results", wire.ErrTooLong)
			}
			p := Property{Object: object}
			if readProperty(&c, 2, &p); c.Ok() {
				f(p)
			}
		}
		mark(&c, "List of Results", 1, closing)
	}
	return c.Err()
}

// readProperty reads identifier, array index and value, whose context tags are
// first, first+1 and first+2; of ReadPropertyMultiple an error, first+3, may
// stand in the value's place.
func readProperty(c *wire.Cursor, first uint8, p *Property) {
	p.ID = unsigned(c, "Property Identifier", expect(c, "Property Identifier", first, true))
	if next(c, first+1, primitive) {
		expect(c, "Property Array Index", first+1, true)
	}
	value := first + 2
	if next(c, value+1, opening) {
		value++
	}
	mark(c, "Property Value", value, opening)
	for depth, n := 1, 0; c.Ok(); n++ { // each turn reads at least one byte
		at := c.Off()
		t := readTag(c)
		switch t.kind {
		case opening:
			if depth++; depth > maxDepth {
				c.FailAt("Property Value", at, wire.ErrTooDeep)
			}
		case closing:
			if depth--; depth == 0 {
				if t.number != value {
					c.FailAt("Property Value", at, wire.ErrInvalid)
				}
				return
			}
		default:
			b := c.Bytes("Property Value", t.length)
			if n == 0 && value == first+2 && !t.context {
				p.set(t.number, b)
			}
		}
	}
}

// set takes a value that is a number or a text.
func (p *Property) set(number uint8, b []byte) {
	switch {
	case number == typeUnsigned && len(b) <= 4:
		for _, x := range b {
			p.Unsigned = p.Unsigned<<8 | uint32(x)
		}
	case number == typeCharacterString && len(b) > 0 && b[0] == 0: // clause 20.2.9: 0 is UTF-8
		p.Text = b[1:len(b):len(b)]
	}
}
