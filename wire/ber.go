// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire

// The Basic Encoding Rules of ITU-T X.690, as far as LDAP, Kerberos, SNMP and
// MCS use them: every element is identifier, length, contents (section 8.1).
// Only the definite form of length is read: LDAP (RFC 4511 section 5.1), SNMP
// (RFC 3417 section 8) and DER (X.690 section 10.1) allow no other, and without
// it the end of an element would have to be searched for at every depth.
//
// How deep elements may nest is the caller's to bound; a caller that names
// each level it enters, as the grammars of these protocols do, has bounded it.

// A Tag is the identifier octets of an element as one big-endian number: 0x30
// is SEQUENCE, 0xa0 is a constructed [0], 0x7f65 is [APPLICATION 101].
type Tag uint32

// The universal tags that protocols here use (X.690 section 8, X.680 table 1).
const (
	TagBoolean         Tag = 0x01
	TagInteger         Tag = 0x02
	TagBitString       Tag = 0x03
	TagOctetString     Tag = 0x04
	TagNull            Tag = 0x05
	TagOID             Tag = 0x06
	TagEnumerated      Tag = 0x0a
	TagGeneralString   Tag = 0x1b
	TagSequence        Tag = 0x30
	TagSet             Tag = 0x31
	TagGeneralizedTime Tag = 0x18
)

// maxTagOctets bounds a tag's identifier octets: one that leads and two of
// seven bits each, so numbers to 16,383. The largest in use here is 120.
const maxTagOctets = 3

// maxLengthOctets bounds the octets of a long-form length. Four say up to
// 4 GiB; of these only what fits an int of 32 bits is accepted.
const maxLengthOctets = 4

// Header reads an element's identifier and length octets and returns its tag
// and how many bytes of contents follow. These need not be there yet, so that
// the reader of a stream can ask how much to wait for, or to skip.
func (c *Cursor) Header(field string) (Tag, int) {
	start := c.off
	tag := Tag(c.Uint8(field))
	if tag&0x1f == 0x1f { // section 8.1.2.4: the number follows in octets of seven bits
		for i := 1; ; i++ {
			if i == maxTagOctets {
				c.FailAt(field, start, ErrTooLong)
				return 0, 0
			}
			o := c.Uint8(field)
			tag = tag<<8 | Tag(o)
			if o&0x80 == 0 {
				break
			}
		}
	}
	n := uint32(c.Uint8(field))
	if n >= 0x80 { // section 8.1.3.5: long form, n&0x7f octets of length follow
		k := int(n & 0x7f)
		switch {
		case k == 0: // section 8.1.3.6: indefinite form
			c.FailAt(field, start, ErrInvalid)
		case k == 0x7f:
			c.FailAt(field, start, ErrReserved) // section 8.1.3.5 c
		case k > maxLengthOctets:
			c.FailAt(field, start, ErrTooLong)
		}
		n = 0
		for _, o := range c.Bytes(field, k) {
			n = n<<8 | uint32(o)
		}
		if n > 1<<31-1 {
			c.FailAt(field, start, ErrTooLong)
		}
	}
	if !c.Ok() {
		return 0, 0
	}
	return tag, int(n)
}

// Element reads one element and returns its tag and a cursor over its contents,
// whose offsets count from c's start.
func (c *Cursor) Element(field string) (Tag, Cursor) {
	tag, n := c.Header(field)
	return tag, c.Sub(field, n)
}

// Expect reads one element that has to have this tag, and returns a cursor over
// its contents.
func (c *Cursor) Expect(field string, want Tag) Cursor {
	start := c.off
	tag, contents := c.Element(field)
	if tag != want {
		c.FailAt(field, start, ErrInvalid)
		return *c
	}
	return contents
}

// Optional is [Cursor.Expect] for an element that may be absent: when the next
// tag is another one, or nothing is left, it reads nothing and returns false.
func (c *Cursor) Optional(field string, tag Tag) (Cursor, bool) {
	if c.PeekTag() != tag {
		return Cursor{}, false
	}
	return c.Expect(field, tag), true
}

// PeekTag returns the tag of the next element without reading it, or 0 when
// there is none.
func (c *Cursor) PeekTag() Tag {
	p := *c
	if p.Len() == 0 {
		return 0
	}
	tag := Tag(p.Uint8(""))
	for i := 1; tag&0x1f == 0x1f && i == 1 || i > 1 && tag&0x80 != 0; i++ {
		if i == maxTagOctets || p.Len() == 0 {
			return 0
		}
		tag = tag<<8 | Tag(p.Uint8(""))
	}
	return tag
}

// Integer reads an INTEGER or ENUMERATED element, or one implicitly tagged as
// such, of up to eight octets (section 8.3).
func (c *Cursor) Integer(field string, tag Tag) int64 {
	start := c.off
	contents := c.Expect(field, tag)
	b := contents.Rest()
	if !c.Ok() {
		return 0
	}
	v, err := SignedInteger(b)
	if err != nil {
		c.FailAt(field, start, err)
	}
	return v
}

// SignedInteger returns the number whose contents octets are b: two's complement,
// most significant first (section 8.3.3). It is [ErrInvalid] when b is empty
// and [ErrTooLong] beyond eight octets.
func SignedInteger(b []byte) (int64, error) {
	if len(b) == 0 {
		return 0, ErrInvalid // section 8.3.1
	}
	if len(b) > 8 {
		return 0, ErrTooLong
	}
	v := int64(int8(b[0]))
	for _, o := range b[1:] {
		v = v<<8 | int64(o)
	}
	return v, nil
}

// Join makes the failure of sub, a cursor over a part of what c reads, c's own,
// unless c has failed already.
func (c *Cursor) Join(sub *Cursor) {
	if c.err == nil && sub.err != nil {
		c.field, c.at, c.err = sub.field, sub.at, sub.err
	}
}
