// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/wire"
)

func ExampleCursor_Expect() {
	// SEQUENCE { INTEGER 5, BOOLEAN TRUE }
	c := wire.NewCursor("example", []byte{0x30, 6, 0x02, 1, 5, 0x01, 1, 0xff})
	seq := c.Expect("Pair", wire.TagSequence)
	n := seq.Integer("first", wire.TagInteger)
	set := seq.Expect("second", wire.TagBoolean)
	c.Join(&seq)
	fmt.Println(n, set.Uint8("second") != 0, c.Err())
	// Output: 5 true <nil>
}

func TestHeader(t *testing.T) {
	tests := []struct {
		in  string
		tag wire.Tag
		n   int
		err error
	}{
		{"\x30\x00", 0x30, 0, nil},
		{"\x04\x7f", 0x04, 127, nil},                        // the longest short form
		{"\x04\x81\x80", 0x04, 128, nil},                    // X.690 section 8.1.3.5
		{"\x04\x81\xc9", 0x04, 201, nil},                    // the section's own example: 201 octets
		{"\x04\x84\x00\x00\x00\x03", 0x04, 3, nil},          // padded, as Microsoft's LDAP writes it
		{"\x04\x84\x7f\xff\xff\xff", 0x04, 1<<31 - 1, nil},  // the largest
		{"\x04\x84\x80\x00\x00\x00", 0, 0, wire.ErrTooLong}, // one more
		{"\x04\x85\x00\x00\x00\x00\x01", 0, 0, wire.ErrTooLong},
		{"\x04\x80", 0, 0, wire.ErrInvalid},        // indefinite
		{"\x04\xff", 0, 0, wire.ErrReserved},       // section 8.1.3.5 c
		{"\x7f\x65\x82\x01\x94", 0x7f65, 404, nil}, // MCS Connect-Initial, MS-RDPBCGR section 4.1.3
		{"\x7f\x81\x01\x00", 0x7f8101, 0, nil},
		{"\x7f\x81\x81\x01\x00", 0, 0, wire.ErrTooLong},
		{"", 0, 0, wire.ErrTruncated},
		{"\x30", 0, 0, wire.ErrTruncated},
		{"\x1f", 0, 0, wire.ErrTruncated},
		{"\x30\x82\x01", 0, 0, wire.ErrTruncated},
	}
	for _, tt := range tests {
		c := wire.NewCursor("ber", []byte(tt.in))
		tag, n := c.Header("x")
		if tag != tt.tag || n != tt.n || !errors.Is(c.Err(), tt.err) {
			t.Errorf("Header(%x) = %#x, %d, %v; want %#x, %d, %v", tt.in, tag, n, c.Err(), tt.tag, tt.n, tt.err)
		}
		if p := wire.NewCursor("ber", []byte(tt.in)); tt.err == nil && p.PeekTag() != tt.tag {
			t.Errorf("PeekTag(%x) = %#x, want %#x", tt.in, p.PeekTag(), tt.tag)
		}
	}
}

func TestInteger(t *testing.T) {
	tests := []struct {
		in   string
		want int64
		err  error
	}{
		{"\x02\x01\x00", 0, nil},
		{"\x02\x01\x7f", 127, nil},
		{"\x02\x02\x00\x80", 128, nil},
		{"\x02\x01\x80", -128, nil},
		{"\x02\x02\xff\x7f", -129, nil},
		{"\x02\x08\x80\x00\x00\x00\x00\x00\x00\x00", -1 << 63, nil},
		{"\x02\x09\x00\x80\x00\x00\x00\x00\x00\x00\x00", 0, wire.ErrTooLong},
		{"\x02\x00", 0, wire.ErrInvalid},
		{"\x02\x02\x00", 0, wire.ErrTruncated},
		{"\x04\x01\x00", 0, wire.ErrInvalid},
		{"", 0, wire.ErrTruncated},
	}
	for _, tt := range tests {
		c := wire.NewCursor("ber", []byte(tt.in))
		if got := c.Integer("x", wire.TagInteger); got != tt.want || !errors.Is(c.Err(), tt.err) {
			t.Errorf("Integer(%x) = %d, %v; want %d, %v", tt.in, got, c.Err(), tt.want, tt.err)
		}
	}
}

func TestNested(t *testing.T) {
	// An element that says to be longer than the one around it fails inside it.
	c := wire.NewCursor("ber", []byte{0x30, 4, 0x02, 3, 1, 2, 3, 4})
	seq := c.Expect("outer", wire.TagSequence)
	seq.Integer("inner", wire.TagInteger)
	c.Join(&seq)
	var se *wire.SyntaxError
	if !errors.As(c.Err(), &se) || se.Field != "inner" || se.Off != 4 || se.Err != wire.ErrTruncated {
		t.Fatalf("err = %v", c.Err())
	}
	c = wire.NewCursor("ber", []byte{0xa1, 1, 7})
	if _, ok := c.Optional("zero", 0xa0); ok || c.Off() != 0 {
		t.Error("Optional read an element of another tag")
	}
	if got, ok := c.Optional("one", 0xa1); !ok || got.Uint8("one") != 7 || c.Len() != 0 {
		t.Error("Optional did not read the element")
	}
	if _, ok := c.Optional("end", 0xa1); ok || !c.Ok() {
		t.Error("Optional at the end is not a failure")
	}
}

// maxDepth bounds the walk of the fuzz test, which has no grammar.
const maxDepth = 32

func FuzzElement(f *testing.F) {
	for _, s := range []string{"\x30\x06\x02\x01\x05\x01\x01\xff", "\x7f\x65\x82\x01\x94", "\x30\x80\x00\x00", strings.Repeat("\x30\x02", 40)} {
		f.Add([]byte(s))
	}
	var walk func(t *testing.T, c wire.Cursor, depth int)
	walk = func(t *testing.T, c wire.Cursor, depth int) {
		for c.Len() > 0 {
			before, peek := c.Off(), c.PeekTag()
			tag, in := c.Element("x")
			if !c.Ok() {
				return
			}
			if tag != peek {
				t.Fatalf("PeekTag %#x, Element %#x", peek, tag)
			}
			if c.Off() <= before || in.Off()+in.Len() != c.Off() {
				t.Fatal("no progress, or contents outside the element")
			}
			if depth < maxDepth {
				walk(t, in, depth+1)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { walk(t, wire.NewCursor("ber", b), 0) })
}
