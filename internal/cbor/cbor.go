// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package cbor reads and writes one strict profile of CBOR (RFC 8949): the core
// deterministic encoding of its section 4.2.1, and nothing else. There is one
// form for each value, so that what was signed, what was checked and what is
// used cannot differ.
//
// [Parse] looks at a whole item before anything of it is used: shortest
// arguments, definite lengths, map keys in bytewise order and unique, text that
// is UTF-8, no nesting beyond [MaxDepth], no more than [MaxItems] items, no byte
// after the end. What it returns is read with a [Reader], whose only failure left
// is that a value is of another kind than was asked for.
package cbor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

const (
	// MaxDepth is how deep arrays, maps and tags may be nested. A token's claim
	// with a key within a confirmation is four deep.
	MaxDepth = 16

	// MaxItems is how many items one message or document may have.
	MaxItems = 1 << 14
)

// What can be wrong. A [SyntaxError] wraps one of these.
var (
	ErrTruncated  = errors.New("truncated")
	ErrShortest   = errors.New("not in its shortest form")
	ErrIndefinite = errors.New("indefinite length")
	ErrReserved   = errors.New("reserved value")
	ErrOrder      = errors.New("map keys not in order")
	ErrDuplicate  = errors.New("map key twice")
	ErrUTF8       = errors.New("text that is not UTF-8")
	ErrTooDeep    = errors.New("nested too deep")
	ErrTooMany    = errors.New("too many items")
	ErrTrailing   = errors.New("trailing bytes")
	ErrKind       = errors.New("another kind of value than was expected")
	ErrRange      = errors.New("number out of range")
)

// A SyntaxError reports bytes outside of the profile. It holds none of them:
// they may be keys.
type SyntaxError struct {
	Off int // bytes from the start of what was parsed
	Err error
}

func (e *SyntaxError) Error() string {
	return "cbor: byte " + strconv.Itoa(e.Off) + ": " + e.Err.Error()
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// A Kind is what sort of value an item is.
type Kind uint8

// The kinds; those up to Tag are RFC 8949's major types.
const (
	Uint Kind = iota
	NegInt
	Bytes
	Text
	Array
	Map
	Tag
	Simple // false, true, null, undefined and those without a name
	Float
	None // nothing is left
)

// Simple values (RFC 8949 section 3.3).
const (
	simpleFalse = 20
	simpleTrue  = 21
	simpleNull  = 22
)

// head reads the initial byte and argument of the item at the start of b.
func head(b []byte) (k Kind, arg uint64, n int, err error) {
	if len(b) == 0 {
		return None, 0, 0, ErrTruncated
	}
	k, info := Kind(b[0]>>5), b[0]&0x1f
	if info < 24 {
		return k, uint64(info), 1, nil
	}
	if info == 31 {
		return k, 0, 0, ErrIndefinite
	}
	if info > 27 {
		return k, 0, 0, ErrReserved
	}
	size := 1 << (info - 24)
	if len(b) < 1+size {
		return k, 0, 0, ErrTruncated
	}
	least := uint64(24) // the first value that needs so many bytes
	switch size {
	case 1:
		arg = uint64(b[1])
	case 2:
		arg, least = uint64(binary.BigEndian.Uint16(b[1:])), 1<<8
	case 4:
		arg, least = uint64(binary.BigEndian.Uint32(b[1:])), 1<<16
	case 8:
		arg, least = binary.BigEndian.Uint64(b[1:]), 1<<32
	}
	n = 1 + size
	if k != Simple {
		if arg < least {
			err = ErrShortest
		}
		return k, arg, n, err
	}
	if size == 1 {
		if arg < 32 {
			err = ErrReserved // RFC 8949 section 3.3: two bytes for a value that has one
		}
		return k, arg, n, err
	}
	if !shortestFloat(arg, size) {
		err = ErrShortest
	}
	return Float, arg, n, err
}

// shortestFloat reports whether no shorter float has the value whose bits are
// bits. Of NaN there is one: 0xf97e00.
func shortestFloat(bits uint64, size int) bool {
	switch size {
	case 2:
		return bits&0x7c00 != 0x7c00 || bits&0x3ff == 0 || bits == 0x7e00
	case 4:
		f := math.Float32frombits(uint32(bits))
		_, half := toHalf(f)
		return f == f && !half
	}
	f := math.Float64frombits(bits)
	return f == f && float64(float32(f)) != f
}

// toHalf returns the bits of f as a float of 16 bits, and whether it has one.
func toHalf(f float32) (uint16, bool) {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	e, m := int(bits>>23&0xff)-127, bits&0x7fffff
	switch {
	case bits&0x7fffffff == 0:
		return sign, true
	case e == 128:
		return sign | 0x7c00, m == 0
	case e > 15 || e < -24:
		return 0, false
	case e < -14: // subnormal: 1.m is shifted right
		m |= 1 << 23
		shift := uint(-e - 1) // e is -15 to -24: 14 to 23
		return sign | uint16(m>>shift), m&(1<<shift-1) == 0
	}
	return sign | uint16(e+15)<<10 | uint16(m>>13), m&0x1fff == 0
}

func fromHalf(h uint16) float64 {
	e, m := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch e {
	case 0:
		f = math.Ldexp(m, -24)
	case 31:
		if f = math.Inf(1); m != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(m+1024, e-25)
	}
	if h&0x8000 != 0 {
		f = -f
	}
	return f
}

// A scan walks over bytes once, and checks them.
type scan struct {
	b     []byte
	off   int
	items int
}

func (s *scan) item(depth int) error {
	k, arg, n, err := head(s.b[s.off:])
	if err != nil {
		return err
	}
	if s.items++; s.items > MaxItems {
		return ErrTooMany
	}
	switch k {
	case Bytes, Text:
		if arg > uint64(len(s.b)-s.off-n) {
			return ErrTruncated
		}
		if k == Text && !utf8.Valid(s.b[s.off+n:][:arg]) {
			return ErrUTF8
		}
		n += int(arg)
	case Array, Map, Tag:
		if depth == MaxDepth {
			return ErrTooDeep
		}
	}
	start := s.off
	s.off += n
	switch k {
	case Array:
		if arg > uint64(len(s.b)-s.off) { // an element has a byte at least
			s.off = start
			return ErrTruncated
		}
		for range arg {
			if err := s.item(depth + 1); err != nil {
				return err
			}
		}
	case Map:
		if arg > uint64(len(s.b)-s.off)/2 {
			s.off = start
			return ErrTruncated
		}
		var last []byte
		for i := range arg {
			at := s.off
			if err := s.item(depth + 1); err != nil {
				return err
			}
			key := s.b[at:s.off]
			if c := bytes.Compare(last, key); i > 0 && c >= 0 {
				s.off = at
				if c == 0 {
					return ErrDuplicate
				}
				return ErrOrder
			}
			last = key
			if err := s.item(depth + 1); err != nil {
				return err
			}
		}
	case Tag:
		return s.item(depth + 1)
	}
	return nil
}

// Parse checks that b is one item of the profile, and returns a reader of it.
// The reader's slices alias b. An error is a *[SyntaxError]. It allocates
// nothing when there is none.
func Parse(b []byte) (Reader, error) {
	s := scan{b: b}
	err := s.item(0)
	if err == nil && s.off < len(b) {
		err = ErrTrailing
	}
	if err != nil {
		return Reader{}, &SyntaxError{s.off, err}
	}
	return Reader{b: b}, nil
}

// ParseSequence is [Parse] of a CBOR sequence (RFC 8742): items one behind the
// other, none of them too.
func ParseSequence(b []byte) (Reader, error) {
	s := scan{b: b}
	for s.off < len(b) {
		if err := s.item(0); err != nil {
			return Reader{}, &SyntaxError{s.off, err}
		}
	}
	return Reader{b: b}, nil
}

// A Reader reads what was checked, front to back. Its first failure sticks:
// later reads return zero, so that the caller reads top to bottom and asks once,
// at the end, for [Reader.Err] or [Reader.Done].
type Reader struct {
	b   []byte
	off int
	err *SyntaxError
}

// Fail records a failure at the reader's place, unless one is recorded already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = &SyntaxError{r.off, err}
	}
}

// Err returns the first failure as a *[SyntaxError], or nil.
func (r *Reader) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// Done is [Reader.Err], and a failure when something is left.
func (r *Reader) Done() error {
	if r.err == nil && r.off < len(r.b) {
		r.Fail(ErrTrailing)
	}
	return r.Err()
}

// Off is the number of bytes read.
func (r *Reader) Off() int { return r.off }

// Rest returns what was not read yet, and reads it.
func (r *Reader) Rest() []byte {
	b := r.b[r.off:len(r.b):len(r.b)]
	r.off = len(r.b)
	return b
}

// Next is the kind of the next item, None at the end or after a failure.
func (r *Reader) Next() Kind {
	if r.err != nil || r.off == len(r.b) {
		return None
	}
	k, _, _, _ := head(r.b[r.off:])
	return k
}

// take reads a head of one kind.
func (r *Reader) take(want Kind) uint64 {
	if r.err != nil {
		return 0
	}
	k, arg, n, err := head(r.b[r.off:])
	if err != nil || k != want {
		if err == nil {
			err = ErrKind
		}
		r.Fail(err)
		return 0
	}
	r.off += n
	return arg
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() uint64 { return r.take(Uint) }

// Int reads an integer. One that int64 has no room for is [ErrRange].
func (r *Reader) Int() int64 {
	k, at := r.Next(), r.off
	if k != NegInt {
		k = Uint
	}
	n := r.take(k)
	if n > math.MaxInt64 {
		r.off = at
		r.Fail(ErrRange)
		return 0
	}
	if k == NegInt && r.err == nil {
		return -1 - int64(n)
	}
	return int64(n)
}

// Bytes reads a byte string, which aliases the input.
func (r *Reader) Bytes() []byte { return r.text(Bytes) }

// Text reads a text string.
func (r *Reader) Text() string { return string(r.text(Text)) }

func (r *Reader) text(k Kind) []byte {
	n := int(r.take(k))
	if r.err != nil {
		return nil
	}
	b := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// Array reads the head of an array: how many items follow that are its.
func (r *Reader) Array() int { return int(r.take(Array)) }

// Map reads the head of a map: how many pairs of items follow that are its.
func (r *Reader) Map() int { return int(r.take(Map)) }

// Tag reads the number of a tag; the item that it is about follows.
func (r *Reader) Tag() uint64 { return r.take(Tag) }

// Bool reads false or true.
func (r *Reader) Bool() bool {
	at := r.off
	n := r.take(Simple)
	if r.err == nil && n != simpleFalse && n != simpleTrue {
		r.off = at
		r.Fail(ErrKind)
	}
	return n == simpleTrue && r.err == nil
}

// Null reads null when that is next, and reports it.
func (r *Reader) Null() bool {
	if r.Next() != Simple || r.b[r.off] != byte(Simple)<<5|simpleNull {
		return false
	}
	r.off++
	return true
}

// Float reads a floating-point number.
func (r *Reader) Float() float64 {
	at := r.off
	bits := r.take(Float)
	switch r.off - at {
	case 3:
		return fromHalf(uint16(bits))
	case 5:
		return float64(math.Float32frombits(uint32(bits)))
	case 9:
		return math.Float64frombits(bits)
	}
	return 0
}

// Raw reads an item of any kind and returns its encoding, which aliases the
// input; nil when none is left.
func (r *Reader) Raw() []byte {
	at := r.off
	if r.err == nil && r.off == len(r.b) {
		r.Fail(ErrTruncated)
	}
	for left := 1; left > 0 && r.err == nil; left-- { // each turn reads a byte at least
		k, arg, n, _ := head(r.b[r.off:])
		r.off += n
		switch k {
		case Bytes, Text:
			r.off += int(arg)
		case Array:
			left += int(arg)
		case Map:
			left += 2 * int(arg)
		case Tag:
			left++
		}
	}
	if r.err != nil {
		return nil
	}
	return r.b[at:r.off:r.off]
}
