// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/myelin-health/myelin/wire"
)

func ExampleCursor() {
	// A message of a type, a length and as many bytes, cut.
	c := wire.NewCursor("example", []byte{1, 0, 5, 'o', 'r', 'd'})
	typ := c.Uint8("Type")
	value := c.Bytes("Value", int(c.Uint16("Length")))
	fmt.Println(typ, value == nil, c.Err())
	// Output: 1 true example: Value at byte 3: truncated
}

func TestCursorReads(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	tests := []struct {
		name string
		size int
		want uint64
		read func(c *wire.Cursor) uint64
	}{
		{"Uint8", 1, 0x01, func(c *wire.Cursor) uint64 { return uint64(c.Uint8("x")) }},
		{"Uint16", 2, 0x0102, func(c *wire.Cursor) uint64 { return uint64(c.Uint16("x")) }},
		{"Uint24", 3, 0x010203, func(c *wire.Cursor) uint64 { return uint64(c.Uint24("x")) }},
		{"Uint32", 4, 0x01020304, func(c *wire.Cursor) uint64 { return uint64(c.Uint32("x")) }},
		{"Uint64", 8, 0x0102030405060708, func(c *wire.Cursor) uint64 { return c.Uint64("x") }},
		{"Uint16LE", 2, 0x0201, func(c *wire.Cursor) uint64 { return uint64(c.Uint16LE("x")) }},
		{"Uint32LE", 4, 0x04030201, func(c *wire.Cursor) uint64 { return uint64(c.Uint32LE("x")) }},
		{"Uint64LE", 8, 0x0807060504030201, func(c *wire.Cursor) uint64 { return c.Uint64LE("x") }},
		{"Bytes", 5, 5, func(c *wire.Cursor) uint64 { return uint64(len(c.Bytes("x", 5))) }},
		{"Skip", 5, 0, func(c *wire.Cursor) uint64 { c.Skip("x", 5); return 0 }},
		{"Sub", 5, 5, func(c *wire.Cursor) uint64 { s := c.Sub("x", 5); return uint64(s.Len()) }},
		{"Rest", 8, 8, func(c *wire.Cursor) uint64 { return uint64(len(c.Rest())) }},
	}
	for _, tt := range tests {
		for n := range len(b) + 1 {
			c := wire.NewCursor("test", b[:n])
			got := tt.read(&c)
			switch {
			case n >= tt.size:
				if got != tt.want || c.Err() != nil || !c.Ok() || c.Off() != tt.size || c.Len() != n-tt.size {
					t.Errorf("%s of %d bytes: %#x, %v, at %d, %d left", tt.name, n, got, c.Err(), c.Off(), c.Len())
				}
			case tt.name == "Rest":
				if got != uint64(n) || !c.Ok() || c.Len() != 0 {
					t.Errorf("Rest of %d bytes: %d", n, got)
				}
			default:
				var e *wire.SyntaxError
				if got != 0 || !errors.As(c.Err(), &e) || *e != (wire.SyntaxError{Proto: "test", Field: "x", Off: 0, Err: wire.ErrTruncated}) {
					t.Errorf("%s of %d bytes: %#x, %v", tt.name, n, got, c.Err())
				}
				if c.Off() != 0 || c.Len() != 0 || c.Ok() {
					t.Errorf("%s of %d bytes: at %d, %d left", tt.name, n, c.Off(), c.Len())
				}
			}
		}
	}
}

// The first failure sticks: nothing is read any more, and nothing else fails.
func TestCursorFailureSticks(t *testing.T) {
	c := wire.NewCursor("test", []byte{1, 2, 3, 4})
	c.Uint8("first")
	c.Fail("second", wire.ErrReserved)
	if c.Uint8("a") != 0 || c.Uint16("b") != 0 || c.Uint24("c") != 0 || c.Uint32("d") != 0 || c.Uint64("e") != 0 ||
		c.Uint16LE("f") != 0 || c.Uint32LE("g") != 0 || c.Uint64LE("h") != 0 || c.Bytes("i", 1) != nil || c.Peek(1) != nil || c.Rest() != nil || c.Len() != 0 || c.Off() != 1 {
		t.Error("something is read after a failure")
	}
	c.FailAt("third", 0, wire.ErrInvalid)
	sub := c.Sub("fourth", 1)
	for _, c := range []*wire.Cursor{&c, &sub} {
		if err := c.Err(); err == nil || err.Error() != "test: second at byte 1: reserved value" || !errors.Is(err, wire.ErrReserved) {
			t.Errorf("%v", err)
		}
	}
}

func TestCursorLengths(t *testing.T) {
	for _, n := range []int{-1, -1 << 63, 5, 1<<63 - 1} {
		c := wire.NewCursor("test", []byte{1, 2, 3, 4})
		if c.Peek(n) != nil || !c.Ok() {
			t.Errorf("Peek(%d)", n)
		}
		if c.Bytes("x", n) != nil || !errors.Is(c.Err(), wire.ErrTruncated) {
			t.Errorf("Bytes(%d): %v", n, c.Err())
		}
		d := wire.NewCursor("test", []byte{1, 2, 3, 4})
		if s := d.Sub("x", n); s.Ok() || s.Len() != 0 || d.Ok() {
			t.Errorf("Sub(%d)", n)
		}
	}
	c := wire.NewCursor("test", nil)
	if b := c.Bytes("x", 0); len(b) != 0 || !c.Ok() {
		t.Error("no bytes of none")
	}
	if s := c.Sub("x", 0); !s.Ok() || s.Len() != 0 || !c.Ok() {
		t.Error("a cursor over no bytes of none")
	}
}

// What is returned is the input, and cannot be appended to in place.
func TestCursorAliases(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6}
	c := wire.NewCursor("test", b[:5])
	for _, s := range [][]byte{c.Peek(2), c.Bytes("x", 2), c.Rest()} {
		if &s[0] != &b[0] && &s[0] != &b[2] || cap(s) != len(s) {
			t.Errorf("%v with room for %d", s, cap(s))
		}
	}
	c = wire.NewCursor("test", b[:5])
	c.Uint8("first")
	sub := c.Sub("x", 2)
	if s := sub.Rest(); &s[0] != &b[1] || len(s) != 2 || cap(s) != 2 {
		t.Errorf("%v with room for %d", s, cap(s))
	}
}

// An error in a part names the place in the whole.
func TestCursorSub(t *testing.T) {
	c := wire.NewCursor("test", []byte{1, 2, 3, 4, 5})
	c.Uint8("first")
	sub := c.Sub("part", 3)
	if sub.Off() != 1 || sub.Len() != 3 || c.Off() != 4 || c.Len() != 1 {
		t.Errorf("the part is at %d with %d, the whole at %d with %d", sub.Off(), sub.Len(), c.Off(), c.Len())
	}
	inner := sub.Sub("inner", 2)
	inner.Uint8("a")
	inner.Uint16("b")
	if err := inner.Err(); err == nil || err.Error() != "test: b at byte 2: truncated" {
		t.Errorf("%v", err)
	}
	if sub.Uint8("last") != 4 || c.Uint8("last") != 5 || !c.Ok() {
		t.Error("a failure of a part is one of the whole")
	}
}

func TestSyntaxError(t *testing.T) {
	err := error(&wire.SyntaxError{Proto: "coap", Field: "Token", Off: 4, Err: wire.ErrTruncated})
	if err.Error() != "coap: Token at byte 4: truncated" || !errors.Is(err, wire.ErrTruncated) || errors.Is(err, wire.ErrReserved) {
		t.Error(err)
	}
}

func TestCursorAllocatesNothing(t *testing.T) {
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		c := wire.NewCursor("test", b)
		c.Uint32("a")
		sub := c.Sub("b", 20)
		sub.Uint64LE("c")
		c.Bytes("d", 100) // fails
		if c.Ok() || !sub.Ok() {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCursor plays a program of reads, one byte each, over the input.
func FuzzCursor(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, make([]byte, 64))
	f.Add([]byte{9, 8, 8, 1}, []byte("order"))
	f.Fuzz(func(t *testing.T, program, b []byte) {
		c := wire.NewCursor("fuzz", b)
		for _, op := range program {
			before, left, ok := c.Off(), c.Len(), c.Ok()
			n := int(op >> 4)
			size, got := n, []byte(nil)
			switch op & 15 {
			case 0:
				c.Uint8("x")
				size = 1
			case 1:
				c.Uint16("x")
				size = 2
			case 2:
				c.Uint24("x")
				size = 3
			case 3:
				c.Uint32("x")
				size = 4
			case 4:
				c.Uint64("x")
				size = 8
			case 5:
				c.Uint16LE("x")
				size = 2
			case 6:
				c.Uint32LE("x")
				size = 4
			case 7:
				c.Uint64LE("x")
				size = 8
			case 8:
				sub := c.Sub("x", n)
				got = sub.Rest()
			case 9:
				got = c.Bytes("x", n)
			case 10:
				got = c.Peek(n)
				size = 0
			case 11:
				got = c.Rest()
				size = left
			default:
				c.Skip("x", n)
			}
			switch {
			case !ok && (c.Off() != before || got != nil):
				t.Fatalf("read at %d after a failure", before)
			case ok && size <= left && (c.Off() != before+size || !c.Ok()):
				t.Fatalf("%d bytes at %d of %d: now at %d, %v", size, before, len(b), c.Off(), c.Err())
			case ok && size > left && (c.Off() != before || c.Ok()):
				t.Fatalf("%d bytes at %d of %d: now at %d", size, before, len(b), c.Off())
			}
			if c.Off() > len(b) || len(got) != cap(got) || len(got) > 0 && &got[0] != &b[before] {
				t.Fatalf("%d bytes with room for %d from %d", len(got), cap(got), before)
			}
			var e *wire.SyntaxError
			if err := c.Err(); err != nil && (!errors.As(err, &e) || e.Off > len(b)) {
				t.Fatal(err)
			}
		}
	})
}
