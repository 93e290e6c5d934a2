// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import "github.com/myelin-health/myelin/wire"

// A Block is the value of a Block1 or Block2 option (RFC 7959 section 2.2):
// which block of a body this is.
type Block struct {
	Num  uint32 // at most MaxBlockNum
	More bool   // more blocks follow
	SZX  uint8  // size exponent, 0 to 6; 7 over TCP only (RFC 8323 section 6)
}

// MaxBlockNum is the highest block number: twenty bits.
const MaxBlockNum = 1<<20 - 1

// Size returns the size of the block in bytes: 16 to 1024. The blocks of SZX 7
// are multiples of 1024.
func (b Block) Size() int { return 16 << min(b.SZX, 6) }

// ParseBlock reads the value of a Block1 or Block2 option. SZX 7, which is
// reserved over datagrams, is the caller's to refuse.
func ParseBlock(value []byte) (Block, error) {
	v, _ := Option{Value: value}.Uint()
	if len(value) > 3 {
		return Block{}, &wire.SyntaxError{Proto: name, Field: "Block", Off: 3, Err: wire.ErrTooLong}
	}
	return Block{Num: v >> 4, More: v>>3&1 == 1, SZX: uint8(v & 7)}, nil
}

// Append appends the value of the option. Bits of Num and SZX that have no
// place are dropped.
func (b Block) Append(dst []byte) []byte {
	v := b.Num&MaxBlockNum<<4 | uint32(b.SZX&7)
	if b.More {
		v |= 1 << 3
	}
	return AppendUint(dst, v)
}

// Bounds of the OSCORE option's parts in bytes (RFC 8613 section 6.1).
const (
	MaxPartialIV  = 5
	maxKIDContext = 255
)

// An OSCORE is the value of the OSCORE option: what a recipient needs to find
// the keys and the nonce (RFC 8613 section 6.1).
type OSCORE struct {
	PartialIV  []byte // 0 to MaxPartialIV bytes; none when nil
	KIDContext []byte // none when nil, which an empty one is not
	KID        []byte // none when nil, which an empty one is not
}

// The flag bits of the first byte; the lowest three are the length of the
// Partial IV.
const (
	flagKID        = 1 << 3
	flagKIDContext = 1 << 4
	flagsReserved  = 7 << 5
)

// Parse reads the value of an OSCORE option. The slices of o alias it.
func (o *OSCORE) Parse(value []byte) error {
	*o = OSCORE{}
	if len(value) == 0 {
		return nil
	}
	c := wire.NewCursor(name, value)
	flags := c.Uint8("OSCORE flag bits")
	n := int(flags & 7)
	switch {
	case flags&flagsReserved != 0 || n > MaxPartialIV:
		c.FailAt("OSCORE flag bits", 0, wire.ErrReserved)
	case flags == 0:
		c.FailAt("OSCORE flag bits", 0, wire.ErrInvalid) // RFC 8613 section 6.1: flags all zero are left out
	}
	if n > 0 {
		o.PartialIV = c.Bytes("Partial IV", n)
		if n > 1 && c.Ok() && o.PartialIV[0] == 0 {
			c.FailAt("Partial IV", 1, wire.ErrInvalid) // RFC 8613 section 5: leading zeros are removed, so that one number has one form
		}
	}
	if flags&flagKIDContext != 0 {
		o.KIDContext = c.Bytes("kid context", int(c.Uint8("s")))
	}
	if flags&flagKID != 0 {
		o.KID = c.Rest()
	} else if c.Len() > 0 {
		c.Fail("kid", wire.ErrTrailing)
	}
	return c.Err()
}

// Append appends the value of the option.
func (o *OSCORE) Append(dst []byte) ([]byte, error) {
	if n := len(o.PartialIV); n > MaxPartialIV {
		return dst, &wire.SyntaxError{Proto: name, Field: "Partial IV", Off: 1, Err: wire.ErrTooLong}
	} else if n > 1 && o.PartialIV[0] == 0 {
		return dst, &wire.SyntaxError{Proto: name, Field: "Partial IV", Off: 1, Err: wire.ErrInvalid}
	}
	if len(o.KIDContext) > maxKIDContext {
		return dst, &wire.SyntaxError{Proto: name, Field: "kid context", Off: 1, Err: wire.ErrTooLong}
	}
	flags := uint8(len(o.PartialIV))
	if o.KIDContext != nil {
		flags |= flagKIDContext
	}
	if o.KID != nil {
		flags |= flagKID
	}
	if flags == 0 {
		return dst, nil
	}
	dst = append(append(dst, flags), o.PartialIV...)
	if o.KIDContext != nil {
		dst = append(append(dst, uint8(len(o.KIDContext))), o.KIDContext...)
	}
	return append(dst, o.KID...), nil
}
