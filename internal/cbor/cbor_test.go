// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cbor

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRefused has a row for each rule of the profile.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		off       int
		err       error
	}{
		{"nothing", "", 0, ErrTruncated},
		{"argument cut off", "19 01", 0, ErrTruncated},
		{"23 in two bytes", "18 17", 0, ErrShortest},
		{"255 in three bytes", "19 00ff", 0, ErrShortest},
		{"65535 in five bytes", "1a 0000ffff", 0, ErrShortest},
		{"1 in nine bytes", "1b 0000000000000001", 0, ErrShortest},
		{"long form of a negative", "38 00", 0, ErrShortest},
		{"long form of a byte string's length", "58 01 41", 0, ErrShortest},
		{"long form of a map's length", "b8 01 01 01", 0, ErrShortest},
		{"indefinite bytes", "5f 41 00 ff", 0, ErrIndefinite},
		{"indefinite text", "7f 61 61 ff", 0, ErrIndefinite},
		{"indefinite array", "9f ff", 0, ErrIndefinite},
		{"indefinite map", "bf ff", 0, ErrIndefinite},
		{"break alone", "ff", 0, ErrIndefinite},
		{"reserved argument", "1c", 0, ErrReserved},
		{"simple value in two bytes that has one", "f8 14", 0, ErrReserved},
		{"string longer than what is there", "42 00", 0, ErrTruncated},
		{"string of 2^64-1 bytes", "5b ffffffffffffffff 00", 0, ErrTruncated},
		{"array of 2^64-1 items", "9b ffffffffffffffff 00", 0, ErrTruncated},
		{"map of 2^63 pairs", "bb 8000000000000000 00 00", 0, ErrTruncated},
		{"array with an item missing", "82 01", 0, ErrTruncated},
		{"tag of nothing", "c1", 1, ErrTruncated},
		{"keys not in order", "a2 02 00 01 00", 3, ErrOrder},
		{"negative key before a positive one", "a2 20 00 01 00", 3, ErrOrder},
		{"key twice", "a2 01 00 01 00", 3, ErrDuplicate},
		{"key twice, deep inside", "81 a2 61 61 00 61 61 00", 5, ErrDuplicate},
		{"text that is not UTF-8", "61 ff", 0, ErrUTF8},
		{"trailing byte", "00 00", 1, ErrTrailing},
		{"single where half would do", "fa 3f800000", 0, ErrShortest},
		{"double where single would do", "fb 3ff0000000000000", 0, ErrShortest},
		{"another NaN", "f9 7e01", 0, ErrShortest},
		{"NaN of 32 bits", "fa 7fc00000", 0, ErrShortest},
		{"infinity of 64 bits", "fb 7ff0000000000000", 0, ErrShortest},
	} {
		_, err := Parse(unhex(t, tt.hex))
		var s *SyntaxError
		if !errors.As(err, &s) || s.Off != tt.off || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v at byte %d", tt.name, err, tt.err, tt.off)
		}
	}
}

// TestLimits stands at the edges of both bounds.
func TestLimits(t *testing.T) {
	deep := func(n int) []byte { return append(bytes.Repeat([]byte{0x81}, n), 0x00) }
	if _, err := Parse(deep(MaxDepth)); err != nil {
		t.Errorf("%d deep: %v", MaxDepth, err)
	}
	if _, err := Parse(deep(MaxDepth + 1)); !errors.Is(err, ErrTooDeep) {
		t.Errorf("%d deep: %v", MaxDepth+1, err)
	}
	if _, err := Parse(deep(200)); !errors.Is(err, ErrTooDeep) {
		t.Errorf("200 deep: %v", err)
	}
	wide := func(n int) []byte { return append(AppendArray(nil, n), make([]byte, n)...) }
	if _, err := Parse(wide(MaxItems - 1)); err != nil {
		t.Errorf("%d items: %v", MaxItems, err)
	}
	if _, err := Parse(wide(MaxItems)); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d items: %v", MaxItems+1, err)
	}
	if _, err := ParseSequence(make([]byte, MaxItems+1)); !errors.Is(err, ErrTooMany) {
		t.Errorf("a sequence of %d items: %v", MaxItems+1, err)
	}
}

func TestReader(t *testing.T) {
	b := AppendArray(nil, 10)
	b = AppendUint(b, math.MaxUint64)
	b = AppendInt(b, math.MinInt64)
	b = AppendBytes(b, []byte{1, 2})
	b = AppendText(b, "ü")
	b = AppendMap(b, 2)
	b = AppendInt(AppendInt(b, 1), -1)
	b = AppendText(AppendInt(b, -1), "x")
	b = AppendBool(AppendTag(b, 61), true)
	b = AppendNull(b)
	b = AppendBool(b, false)
	b = AppendFloat(b, 1.5)
	b = AppendArray(b, 0)
	r, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Array(); n != 10 {
		t.Error("array of", n)
	}
	if v := r.Uint(); v != math.MaxUint64 {
		t.Error(v)
	}
	if v := r.Int(); v != math.MinInt64 {
		t.Error(v)
	}
	if v := r.Bytes(); !bytes.Equal(v, []byte{1, 2}) || cap(v) != 2 {
		t.Error(v, cap(v))
	}
	if v := r.Text(); v != "ü" {
		t.Error(v)
	}
	if raw := r.Raw(); !bytes.Equal(raw, []byte{0xa2, 1, 0x20, 0x20, 0x61, 'x'}) || cap(raw) != 6 {
		t.Errorf("%x", raw)
	}
	if k := r.Next(); k != Tag {
		t.Error(k)
	}
	if v := r.Tag(); v != 61 || !r.Bool() {
		t.Error(v)
	}
	if !r.Null() || r.Null() {
		t.Error("null is read once")
	}
	if r.Bool() {
		t.Error("false is true")
	}
	if v := r.Float(); v != 1.5 {
		t.Error(v)
	}
	if raw := r.Raw(); !bytes.Equal(raw, []byte{0x80}) {
		t.Errorf("%x", raw)
	}
	if err := r.Done(); err != nil || r.Next() != None {
		t.Error(err)
	}
}

// TestReaderKinds asks for each kind where another stands: the first failure
// sticks and says where it was.
func TestReaderKinds(t *testing.T) {
	for name, read := range map[string]func(*Reader){
		"Uint":  func(r *Reader) { r.Uint() },
		"Int":   func(r *Reader) { r.Int() },
		"Bytes": func(r *Reader) { r.Bytes() },
		"Text":  func(r *Reader) { r.Text() },
		"Array": func(r *Reader) { r.Array() },
		"Map":   func(r *Reader) { r.Map() },
		"Tag":   func(r *Reader) { r.Tag() },
		"Bool":  func(r *Reader) { r.Bool() },
		"Float": func(r *Reader) { r.Float() },
	} {
		r, err := ParseSequence([]byte{0x00, 0xf6, 0x01})
		if err != nil {
			t.Fatal(err)
		}
		r.Uint()
		read(&r)
		if r.Uint() != 0 || r.Raw() != nil || r.Next() != None {
			t.Errorf("%s: read on after a failure", name)
		}
		var s *SyntaxError
		if !errors.As(r.Err(), &s) || s.Off != 1 || s.Err != ErrKind {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
	r, _ := Parse(unhex(t, "1b8000000000000000"))
	if r.Int(); !errors.Is(r.Err(), ErrRange) {
		t.Error("2^63:", r.Err())
	}
	r, _ = Parse(unhex(t, "3b8000000000000000"))
	if r.Int(); !errors.Is(r.Err(), ErrRange) {
		t.Error("-2^63-1:", r.Err())
	}
	r, _ = ParseSequence(nil)
	if r.Raw(); !errors.Is(r.Err(), ErrTruncated) {
		t.Error("nothing left:", r.Err())
	}
}

// TestAppendixA reads the examples of RFC 8949 appendix A: those that are
// deterministic are accepted and come out of the appenders again, the others
// are refused.
func TestAppendixA(t *testing.T) {
	b, err := os.ReadFile("../../../shared/vectors/cbor_appendix_a.json")
	if err != nil {
		t.Skip("no vectors beside the project:", err)
	}
	var list []struct {
		Hex       string
		Roundtrip bool
		Decoded   any
	}
	if err := json.Unmarshal(b, &list); err != nil || len(list) < 80 {
		t.Fatal(len(list), err)
	}
	indefinite := 0
	for _, v := range list {
		raw := unhex(t, v.Hex)
		r, err := Parse(raw)
		if !v.Roundtrip { // longer floats and indefinite lengths
			if indefinite++; err == nil {
				t.Errorf("%s: accepted, and there is a shorter form", v.Hex)
			}
			continue
		}
		if v.Hex == "f818" && errors.Is(err, ErrReserved) {
			continue // RFC 7049's table; RFC 8949 section 3.3 takes simple(24) away
		}
		if err != nil {
			t.Errorf("%s: %v", v.Hex, err)
			continue
		}
		if again := rewrite(nil, &r); !bytes.Equal(again, raw) || r.Done() != nil {
			t.Errorf("%s: %x, %v", v.Hex, again, r.Err())
		}
	}
	if indefinite < 10 {
		t.Errorf("%d examples were refused", indefinite)
	}
}

// rewrite reads an item and appends it again, value by value.
func rewrite(dst []byte, r *Reader) []byte {
	switch r.Next() {
	case Uint:
		return AppendUint(dst, r.Uint())
	case NegInt:
		if n := *r; n.Int() != 0 && n.Err() == nil {
			return AppendInt(dst, r.Int())
		}
		return append(dst, r.Raw()...) // below what int64 holds
	case Bytes:
		return AppendBytes(dst, r.Bytes())
	case Text:
		return AppendText(dst, r.Text())
	case Array:
		n := r.Array()
		dst = AppendArray(dst, n)
		for range n {
			dst = rewrite(dst, r)
		}
	case Map:
		n := r.Map()
		dst = AppendMap(dst, n)
		for range 2 * n {
			dst = rewrite(dst, r)
		}
	case Tag:
		return rewrite(AppendTag(dst, r.Tag()), r)
	case Float:
		return AppendFloat(dst, r.Float())
	case Simple:
		if r.Null() {
			return AppendNull(dst)
		}
		if n := *r; n.Bool() || n.Err() == nil {
			return AppendBool(dst, r.Bool())
		}
		return append(dst, r.Raw()...)
	}
	return dst
}

// TestFloats writes every half, and singles and doubles around them.
func TestFloats(t *testing.T) {
	for h := range 1 << 16 {
		f := fromHalf(uint16(h))
		b := AppendFloat(nil, f)
		if f == f && (len(b) != 3 || b[1] != byte(h>>8) || b[2] != byte(h)) {
			t.Fatalf("%04x is %v, and that is %x", h, f, b)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.OneOf(rapid.Float64(), rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.Float32().Draw(t, "single")) })).Draw(t, "f")
		r, err := Parse(AppendFloat(nil, f))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Float(); got != f && f == f {
			t.Fatal(got, f)
		}
	})
}

func TestParseAllocates(t *testing.T) {
	b := unhex(t, "a4 01 02 02 42 2b2b 20 01 21 58 20 "+strings.Repeat("00", 32))
	if n := testing.AllocsPerRun(100, func() {
		r, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for range r.Map() {
			r.Int()
			r.Raw()
		}
		if r.Done() != nil {
			t.Fatal(r.Err())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0xa2, 1, 0x20, 0x20, 0x61, 'x'})
	f.Add([]byte{0xf9, 0x3e, 0x00})
	f.Add([]byte{0xd8, 0x3d, 0xd2, 0x84, 0x43, 0xa1, 1, 0x26, 0xa0, 0x40, 0x40})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			var s *SyntaxError
			if !errors.As(err, &s) || s.Off < 0 || s.Off > len(b) {
				t.Fatal(err)
			}
			return
		}
		raw := r
		if got := raw.Raw(); !bytes.Equal(got, b) || raw.Done() != nil {
			t.Fatalf("raw: %x of %x", got, b)
		}
		if again := rewrite(nil, &r); !bytes.Equal(again, b) || r.Done() != nil {
			t.Fatalf("%x became %x: %v", b, again, r.Err())
		}
	})
}
