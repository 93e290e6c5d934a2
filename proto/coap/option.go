// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"encoding/binary"
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// An OptionNumber names an option. Its lowest bits say what somebody who does
// not know the option must do (RFC 7252 section 5.4.6).
type OptionNumber uint16

// The options that this package knows.
const (
	IfMatch       OptionNumber = 1
	URIHost       OptionNumber = 3
	ETag          OptionNumber = 4
	IfNoneMatch   OptionNumber = 5
	Observe       OptionNumber = 6 // RFC 7641
	URIPort       OptionNumber = 7
	LocationPath  OptionNumber = 8
	OSCOREOption  OptionNumber = 9 // RFC 8613
	URIPath       OptionNumber = 11
	ContentFormat OptionNumber = 12
	MaxAge        OptionNumber = 14
	URIQuery      OptionNumber = 15
	HopLimit      OptionNumber = 16 // RFC 8768
	Accept        OptionNumber = 17
	QBlock1       OptionNumber = 19 // RFC 9177
	LocationQuery OptionNumber = 20
	EDHOC         OptionNumber = 21 // RFC 9668
	Block2        OptionNumber = 23 // RFC 7959
	Block1        OptionNumber = 27
	Size2         OptionNumber = 28
	QBlock2       OptionNumber = 31
	ProxyURI      OptionNumber = 35
	ProxyScheme   OptionNumber = 39
	Size1         OptionNumber = 60
	Echo          OptionNumber = 252 // RFC 9175
	NoResponse    OptionNumber = 258 // RFC 7967
	RequestTag    OptionNumber = 292 // RFC 9175
)

// Options of signalling messages have numbers of their own (RFC 8323 section 5.3).
const (
	MaxMessageSize    OptionNumber = 2
	BlockWiseTransfer OptionNumber = 4
)

// A format is how the value of an option is to be read (RFC 7252 section 3.2).
type format uint8

const (
	undefined format = iota
	empty
	opaque
	number
	text
)

type definition struct {
	format     format
	min, max   int // bytes
	repeatable bool
}

// definitions is the table of options: RFC 7252 table 4, and the documents
// beside the numbers above.
var definitions = [...]definition{
	IfMatch:       {opaque, 0, 8, true},
	URIHost:       {text, 1, 255, false},
	ETag:          {opaque, 1, 8, true},
	IfNoneMatch:   {empty, 0, 0, false},
	Observe:       {number, 0, 3, false},
	URIPort:       {number, 0, 2, false},
	LocationPath:  {text, 0, 255, true},
	OSCOREOption:  {opaque, 0, 255, false},
	URIPath:       {text, 0, 255, true},
	ContentFormat: {number, 0, 2, false},
	MaxAge:        {number, 0, 4, false},
	URIQuery:      {text, 0, 255, true},
	HopLimit:      {number, 1, 1, false},
	Accept:        {number, 0, 2, false},
	QBlock1:       {number, 0, 3, false},
	LocationQuery: {text, 0, 255, true},
	EDHOC:         {empty, 0, 0, false},
	Block2:        {number, 0, 3, false},
	Block1:        {number, 0, 3, false},
	Size2:         {number, 0, 4, false},
	QBlock2:       {number, 0, 3, true},
	ProxyURI:      {text, 1, 1034, false},
	ProxyScheme:   {text, 1, 255, false},
	Size1:         {number, 0, 4, false},
	Echo:          {opaque, 1, 40, false},
	NoResponse:    {number, 0, 1, false},
	RequestTag:    {opaque, 0, 8, true},
}

func (n OptionNumber) definition() definition {
	if int(n) < len(definitions) {
		return definitions[n]
	}
	return definition{}
}

// Critical reports whether somebody who does not know the option must refuse
// the message (RFC 7252 section 5.4.1).
func (n OptionNumber) Critical() bool { return n&1 != 0 }

// UnsafeToForward reports whether a proxy that does not know the option must
// not forward it (RFC 7252 section 5.4.2).
func (n OptionNumber) UnsafeToForward() bool { return n&2 != 0 }

// NoCacheKey reports whether the option does not tell one cached answer from
// another. Valid iff the option is safe to forward (RFC 7252 section 5.4.6).
func (n OptionNumber) NoCacheKey() bool { return n&0x1e == 0x1c }

// Repeatable reports whether the option may stand several times in a message;
// false for an option that this package does not know.
func (n OptionNumber) Repeatable() bool { return n.definition().repeatable }

// An Option is one option of a message.
type Option struct {
	Number OptionNumber
	Value  []byte
}

// Known reports whether this package knows the option and its value has a
// length that the definition allows; any other is to be treated like an
// unknown option (RFC 7252 section 5.4.3).
func (o Option) Known() bool {
	d := o.Number.definition()
	return d.format != undefined && d.min <= len(o.Value) && len(o.Value) <= d.max
}

// Uint returns the value as a number, of which leading zeros are allowed
// (RFC 7252 section 3.2). It is false when it is longer than four bytes.
func (o Option) Uint() (uint32, bool) {
	if len(o.Value) > 4 {
		return 0, false
	}
	v := uint32(0)
	for _, x := range o.Value {
		v = v<<8 | uint32(x)
	}
	return v, true
}

// AppendUint appends v as an option's value: the fewest bytes, none for 0
// (RFC 7252 section 3.2).
func AppendUint(dst []byte, v uint32) []byte {
	for shift := 24; shift >= 0; shift -= 8 {
		if v>>shift != 0 {
			dst = append(dst, byte(v>>shift))
		}
	}
	return dst
}

// Options are the encoded options of a message, in ascending order.
type Options []byte

// All yields the options in their order. It ends where the encoding does not
// hold, which in the options of a parsed message is nowhere.
func (os Options) All() iter.Seq[Option] {
	return func(yield func(Option) bool) {
		number := 0
		for n := 0; n < len(os) && os[n] != payloadMarker; {
			o, size, _, err := parseOption(os[n:], number)
			if err != nil || !yield(o) {
				return
			}
			number, n = int(o.Number), n+size
		}
	}
}

// Get returns the first option with number n.
func (os Options) Get(n OptionNumber) (Option, bool) {
	for o := range os.All() {
		if o.Number >= n {
			return o, o.Number == n
		}
	}
	return Option{}, false
}

// Refused returns the first option for which a recipient that knows what this
// package knows must refuse the message: a critical one that is unknown, has a
// forbidden length, or is repeated where it may not be (RFC 7252 sections
// 5.4.1, 5.4.3 and 5.4.5).
func (os Options) Refused() (OptionNumber, bool) {
	last := -1
	for o := range os.All() {
		again := int(o.Number) == last && !o.Number.Repeatable()
		if o.Number.Critical() && (again || !o.Known()) {
			return o.Number, true
		}
		last = int(o.Number)
	}
	return 0, false
}

// AppendPath appends the path that the Uri-Path options make, as in
// "/sensors/glucose". Bytes that would read as a separator stay as they are.
func (os Options) AppendPath(dst []byte) []byte {
	for o := range os.All() {
		if o.Number == URIPath {
			dst = append(append(dst, '/'), o.Value...)
		}
	}
	return dst
}

// AppendOption appends o to options whose last has the number after, 0 when
// there is none. Numbers must not descend, and a value has at most 65804 bytes:
// what breaks this is written in a form that [Message.Append] refuses.
func AppendOption(dst Options, after OptionNumber, o Option) Options {
	at := len(dst)
	dst = append(dst, 0)
	// Where numbers descend the difference wraps, and makes a number above 65535.
	dst, delta := appendExtended(dst, int(o.Number-after))
	dst, length := appendExtended(dst, len(o.Value))
	dst[at] = delta<<4 | length
	if length == 15 {
		return dst
	}
	return append(dst, o.Value...)
}

// appendExtended appends the extended form of v and returns its nibble: 15,
// which is reserved, when there is none.
func appendExtended(dst Options, v int) (Options, uint8) {
	switch {
	case v < 13:
		return dst, uint8(v)
	case v < 269:
		return append(dst, uint8(v-13)), 13
	case v < 65805:
		return binary.BigEndian.AppendUint16(dst, uint16(v-269)), 14
	}
	return dst, 15
}

// parseOption reads the option at the front of b, which follows the option
// with the given number, and returns how many bytes it took, or the field, its
// offset and what is wrong with it. RFC 7252 section 3.1.
func parseOption(b []byte, number int) (o Option, n int, field string, err error) {
	delta, length := int(b[0]>>4), int(b[0]&0x0f)
	n = 1
	if delta, n, err = extended(b, n, delta); err != nil {
		return o, n, "Option Delta", err
	}
	if length, n, err = extended(b, n, length); err != nil {
		return o, n, "Option Length", err
	}
	if number += delta; number > 0xffff {
		return o, 0, "Option Number", wire.ErrInvalid
	}
	if length > len(b)-n {
		return o, n, "Option Value", wire.ErrTruncated
	}
	return Option{Number: OptionNumber(number), Value: b[n : n+length : n+length]}, n + length, "", nil
}

// extended reads what follows a nibble at b[n:]. There is one form for each
// number, because each starts where the shorter one ends.
func extended(b []byte, n, nibble int) (int, int, error) {
	switch {
	case nibble < 13:
		return nibble, n, nil
	case nibble == 15:
		return 0, 0, wire.ErrReserved // only the payload marker has it
	case nibble == 13 && n < len(b):
		return 13 + int(b[n]), n + 1, nil
	case nibble == 14 && n+1 < len(b):
		return 269 + int(binary.BigEndian.Uint16(b[n:])), n + 2, nil
	}
	return 0, n, wire.ErrTruncated
}
