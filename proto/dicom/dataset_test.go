// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/wire"
)

var syntaxes = []Syntax{ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}

// dump lists the elements of a data set that comes in pieces of at most size
// bytes; 0 is in one, less is pieces of random size.
func dump(s Syntax, b []byte, size int) (lines []string, err error) {
	var d DataSet
	d.Reset(s)
	visit := func(e *Element) {
		lines = append(lines, fmt.Sprintf("%d %08x %08x %d %s", e.Depth, e.Within, e.Tag, int32(e.Length), e.Text()))
	}
	for len(b) > 0 && err == nil {
		n := len(b)
		if size > 0 {
			n = min(n, size)
		} else if size < 0 {
			n = 1 + rand.IntN(n)
		}
		err = d.Feed(b[:n:n], visit)
		b = b[n:]
	}
	if err == nil {
		err = d.Close(visit)
	}
	return lines, err
}

func TestDataSetInEverySyntaxAndCut(t *testing.T) {
	want := []string{
		"0 00000000 00080016 26 1.2.840.10008.5.1.4.1.1.2",
		"0 00000000 00080018 8 1.2.3.4",
		"0 00000000 00080060 2 CT",
		"0 00000000 00080070 14 Lumen Imaging",
		"0 00000000 00080090 10 Holm^Mira",
		"0 00000000 00081010 4 CT1",
		"0 00000000 00081090 8 Helia 64",
		"0 00000000 00100010 14 Lindqvist^Anna",
		"0 00000000 00100020 8 ADA-0001",
		"0 00000000 00101002 26 ",
		"1 00101002 00100020 10 ADA-0001B",
		"0 00000000 00181000 8 LH-0042",
		"0 00000000 0018100a -1 ",
		"1 0018100a 00181009 18 (01)00844588003288",
		"0 00000000 00181020 4 11.0",
		"0 00000000 00200010 300 ",
		"0 00000000 00880200 -1 ",
		"1 00880200 7fe00010 64 " + strings.Repeat("i", 64),
		"0 00000000 7fe00010 1000 ",
	}
	for _, s := range syntaxes {
		b := object(s, 1000)
		for _, size := range []int{0, 1, 2, 3, 7, 13, 64, 255, -1, -1, -1} {
			got, err := dump(s, b, size)
			if err != nil {
				t.Fatalf("syntax %d, pieces of %d: %v", s, size, err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("syntax %d, pieces of %d: %s", s, size, d)
			}
			if s != DeflatedExplicitVRLittleEndian {
				got, err = dump(UnknownSyntax, b, size)
				if d := cmp.Diff(want, got); d != "" || err != nil {
					t.Fatalf("syntax %d to be found out, pieces of %d: %v %s", s, size, err, d)
				}
			}
		}
	}
}

// PS3.5 section 7.5, tables 7.5-1 to 7.5-3: a sequence of defined length with
// items of defined length, one of undefined length with both kinds of item,
// and an empty one.
func TestSequences(t *testing.T) {
	h := func(s string) []byte {
		var b []byte
		for _, f := range strings.Fields(s) {
			var c byte
			fmt.Sscanf(f, "%02x", &c)
			b = append(b, c)
		}
		return b
	}
	tests := []struct {
		name string
		in   []byte
		want []string
	}{
		{
			"defined", h(`18 00 0a 10 53 51 00 00 24 00 00 00
			fe ff 00 e0 0a 00 00 00  18 00 20 10 4c 4f 02 00 31 30
			fe ff 00 e0 0a 00 00 00  18 00 20 10 4c 4f 02 00 31 31
			20 00 10 00 53 48 02 00 39 39`),
			[]string{"0 00000000 0018100a 36 ", "1 0018100a 00181020 2 10", "1 0018100a 00181020 2 11", "0 00000000 00200010 2 99"},
		},
		{
			"undefined, items of both kinds", h(`18 00 0a 10 53 51 00 00 ff ff ff ff
			fe ff 00 e0 0a 00 00 00  18 00 20 10 4c 4f 02 00 31 30
			fe ff 00 e0 ff ff ff ff  18 00 20 10 4c 4f 02 00 31 31  fe ff 0d e0 00 00 00 00
			fe ff dd e0 00 00 00 00
			20 00 10 00 53 48 02 00 39 39`),
			[]string{"0 00000000 0018100a -1 ", "1 0018100a 00181020 2 10", "1 0018100a 00181020 2 11", "0 00000000 00200010 2 99"},
		},
		{
			"empty", h(`18 00 0a 10 53 51 00 00 00 00 00 00  20 00 10 00 53 48 02 00 39 39`),
			[]string{"0 00000000 0018100a 0 ", "0 00000000 00200010 2 99"},
		},
		// PS3.5 section 6.2.2: UN of undefined length is implicit VR inside.
		{
			"unknown VR", h(`18 00 0a 10 55 4e 00 00 ff ff ff ff
			fe ff 00 e0 ff ff ff ff  18 00 20 10 02 00 00 00 31 31  fe ff 0d e0 00 00 00 00
			fe ff dd e0 00 00 00 00
			20 00 10 00 53 48 02 00 39 39`),
			[]string{"0 00000000 0018100a -1 ", "1 0018100a 00181020 2 11", "0 00000000 00200010 2 99"},
		},
		// PS3.5 section A.4: fragments in an icon are bytes, not elements.
		{
			"encapsulated icon", h(`88 00 00 02 53 51 00 00 ff ff ff ff  fe ff 00 e0 ff ff ff ff
			e0 7f 10 00 4f 42 00 00 ff ff ff ff  fe ff 00 e0 00 00 00 00  fe ff 00 e0 04 00 00 00 01 02 03 04
			fe ff dd e0 00 00 00 00  fe ff 0d e0 00 00 00 00  fe ff dd e0 00 00 00 00
			20 00 10 00 53 48 02 00 39 39`),
			[]string{"0 00000000 00880200 -1 ", "1 00880200 7fe00010 -1 ", "0 00000000 00200010 2 99"},
		},
		{
			"encapsulated pixel data ends it", h(`e0 7f 10 00 4f 42 00 00 ff ff ff ff  fe ff 00 e0 00 00`),
			[]string{"0 00000000 7fe00010 -1 "},
		},
		{"float pixel data ends it", h(`e0 7f 08 00 4f 46 00 00 00 00 10 00 01`), []string{"0 00000000 7fe00008 1048576 "}},
		{"double pixel data ends it", h(`e0 7f 09 00 4f 44 00 00 00 00 10 00 01`), []string{"0 00000000 7fe00009 1048576 "}},
	}
	for _, tt := range tests {
		for size := range 14 {
			got, err := dump(ExplicitVRLittleEndian, tt.in, size)
			if err != nil {
				t.Fatalf("%s, pieces of %d: %v", tt.name, size, err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Fatalf("%s, pieces of %d: %s", tt.name, size, d)
			}
		}
	}
}

// nested is a value in n sequences.
func nested(n int, undefined bool) sample {
	e := text(PatientID, "LO", "ADA-0002")
	for range n {
		e = sample{tag: requestAttributesSeq, vr: "SQ", undefined: undefined, items: [][]sample{{e}}}
	}
	return e
}

func TestDataSetErrors(t *testing.T) {
	explicit := func(e ...sample) []byte { return encode(ExplicitVRLittleEndian, e...) }
	tests := []struct {
		name   string
		syntax Syntax
		in     []byte
		field  string
		off    int
		want   error
	}{
		{"cut in a header", ExplicitVRLittleEndian, explicit(text(PatientID, "LO", "ADA-0001"))[:7], "Data Set", 0, wire.ErrTruncated},
		{"cut in a long header", ExplicitVRLittleEndian, explicit(text(PatientID, "UT", "ADA-0001"))[:11], "Data Set", 0, wire.ErrTruncated},
		{"cut in a value", ExplicitVRLittleEndian, explicit(text(PatientID, "LO", "ADA-0001"))[:15], "Data Set", 0, wire.ErrTruncated},
		{"cut in a skipped value", ExplicitVRLittleEndian, explicit(text(PatientID, "LO", strings.Repeat("x", 300)))[:300], "Data Set", 0, wire.ErrTruncated},
		{"length of 4 GiB", ExplicitVRLittleEndian, explicit(sample{tag: PatientID, vr: "UT", length: Undefined - 1}), "Data Set", 0, wire.ErrTruncated},
		{"undefined length of text", ExplicitVRLittleEndian, explicit(sample{tag: PatientID, vr: "UT", length: Undefined}), "Value Length", 8, wire.ErrInvalid},
		{"no VR", ExplicitVRLittleEndian, encode(ImplicitVRLittleEndian, text(PatientID, "LO", "ADA-0001")), "VR", 4, wire.ErrInvalid},
		{"lower-case VR", ExplicitVRLittleEndian, []byte("\x10\x00\x20\x00lo\x02\x00AB"), "VR", 4, wire.ErrInvalid},
		{"second element has no VR", ExplicitVRLittleEndian, append(explicit(text(PatientID, "LO", "AB")), make([]byte, 8)...), "VR", 14, wire.ErrInvalid},
		{"sequence never closed", ExplicitVRLittleEndian, explicit(nested(1, true))[:30], "Data Set", 0, wire.ErrTruncated},
		{"item longer than its sequence", ExplicitVRLittleEndian, []byte("\x18\x00\x0a\x10SQ\x00\x00\x08\x00\x00\x00\xfe\xff\x00\xe0\x01\x00\x00\x00"), "Item Length", 16, wire.ErrTooLong},
		{"element longer than its item", ExplicitVRLittleEndian, []byte("\x18\x00\x0a\x10SQ\x00\x00\x10\x00\x00\x00\xfe\xff\x00\xe0\x08\x00\x00\x00\x18\x00\x20\x10LO\x02\x00AB"), "Value Length", 24, wire.ErrTooLong},
		{"element where an item must be", ExplicitVRLittleEndian, []byte("\x18\x00\x0a\x10SQ\x00\x00\xff\xff\xff\xff\x18\x00\x20\x10LO\x02\x00AB"), "Item", 12, wire.ErrInvalid},
		{"item at the top", ExplicitVRLittleEndian, []byte("\xfe\xff\x00\xe0\x00\x00\x00\x00"), "Item", 0, wire.ErrInvalid},
		{"item delimiter at the top", ImplicitVRLittleEndian, []byte("\xfe\xff\x0d\xe0\x00\x00\x00\x00"), "Item", 0, wire.ErrInvalid},
		{"sequence delimiter at the top", ImplicitVRLittleEndian, []byte("\xfe\xff\xdd\xe0\x00\x00\x00\x00"), "Item", 0, wire.ErrInvalid},
		{"sequence delimiter in an item", ExplicitVRLittleEndian, []byte("\x18\x00\x0a\x10SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff\xfe\xff\xdd\xe0\x00\x00\x00\x00"), "Item", 20, wire.ErrInvalid},
		{"sequence delimiter in a defined sequence", ExplicitVRLittleEndian, []byte("\x18\x00\x0a\x10SQ\x00\x00\x08\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"), "Item", 12, wire.ErrInvalid},
		{"fragment of undefined length", ExplicitVRLittleEndian, []byte("\x18\x00\x0a\x10OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"), "Item", 12, wire.ErrInvalid},
		{"too deep, undefined", ExplicitVRLittleEndian, explicit(nested(17, true)), "Value Length", 16 * 20, wire.ErrTooDeep},
		{"too deep, defined", ExplicitVRLittleEndian, explicit(nested(17, false)), "Value Length", 16 * 20, wire.ErrTooDeep},
		{"too deep, implicit", ImplicitVRLittleEndian, encode(ImplicitVRLittleEndian, nested(17, true)), "Value Length", 16 * 16, wire.ErrTooDeep},
		{"not deflated", DeflatedExplicitVRLittleEndian, explicit(nested(1, true)), "Deflated Data Set", 0, wire.ErrInvalid},
		{"deflated and cut", DeflatedExplicitVRLittleEndian, object(DeflatedExplicitVRLittleEndian, 1)[:40], "Deflated Data Set", 0, wire.ErrInvalid},
		{"deflate bomb", DeflatedExplicitVRLittleEndian, encode(DeflatedExplicitVRLittleEndian, text(0x00200010, "UT", strings.Repeat("\x00", 16<<20))), "Deflated Data Set", 0, wire.ErrTooLong},
	}
	for _, tt := range tests {
		_, err := dump(tt.syntax, tt.in, 0)
		var s *wire.SyntaxError
		if !errors.As(err, &s) || !errors.Is(err, tt.want) || s.Field != tt.field || s.Off != tt.off {
			t.Errorf("%s: %v, want %s at byte %d: %v", tt.name, err, tt.field, tt.off, tt.want)
		}
		for _, size := range []int{1, 5, -1} {
			if _, err := dump(tt.syntax, tt.in, size); !errors.Is(err, tt.want) {
				t.Errorf("%s, in pieces: %v, want %v", tt.name, err, tt.want)
			}
		}
	}
}

func TestDataSetBounds(t *testing.T) {
	for _, undefined := range []bool{true, false} {
		got, err := dump(ExplicitVRLittleEndian, encode(ExplicitVRLittleEndian, nested(16, undefined)), 0)
		if err != nil || len(got) != 17 || got[16] != "16 00400275 00100020 8 ADA-0002" {
			t.Errorf("sixteen sequences: %d elements, %v", len(got), err)
		}
	}
	for n, want := range map[int]bool{MaxValue - 2: true, MaxValue: true, MaxValue + 2: false} {
		for _, size := range []int{0, 1, 100} {
			shown := false
			var d DataSet
			d.Reset(ExplicitVRLittleEndian)
			b := encode(ExplicitVRLittleEndian, text(PatientID, "UT", strings.Repeat("x", n)))
			for len(b) > 0 {
				k := len(b)
				if size > 0 {
					k = min(k, size)
				}
				if err := d.Feed(b[:k], func(e *Element) { shown = len(e.Value) == n }); err != nil {
					t.Fatal(err)
				}
				b = b[k:]
			}
			if err := d.Close(nil); err != nil || shown != want {
				t.Errorf("value of %d bytes in pieces of %d: shown %t, %v", n, size, shown, err)
			}
		}
	}
	// What comes behind the bound of compressed bytes is not read, without an error.
	random := make([]byte, 2*maxDeflated)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	b := encode(DeflatedExplicitVRLittleEndian, text(Modality, "CS", "CT"), text(0x00091001, "OB", string(random)), text(PatientID, "LO", "ADA-0001"))
	got, err := dump(DeflatedExplicitVRLittleEndian, b, 4096)
	if err != nil || len(got) != 2 {
		t.Errorf("behind the bound: %q, %v", got, err)
	}
}

func FuzzDataSet(f *testing.F) {
	for _, s := range syntaxes {
		f.Add(byte(s), object(s, 10))
		f.Add(byte(s), encode(s, nested(3, true)))
		f.Add(byte(s), encode(s, nested(3, false)))
	}
	f.Fuzz(func(t *testing.T, s byte, b []byte) {
		whole, err := dump(Syntax(s%5), b, 0)
		pieces, err2 := dump(Syntax(s%5), b, 3)
		if (err == nil) != (err2 == nil) || !slices.Equal(whole, pieces) {
			t.Fatalf("whole: %v\npieces: %v\n%s", err, err2, cmp.Diff(whole, pieces))
		}
	})
}

func TestDataSetSubSlices(t *testing.T) {
	b := object(ExplicitVRLittleEndian, 10)
	var d DataSet
	d.Reset(ExplicitVRLittleEndian)
	if err := d.Feed(b, func(e *Element) {
		if len(e.Value) > 0 && (cap(e.Value) != len(e.Value) || !bytes.Contains(b, e.Value)) {
			t.Errorf("value of %08x is not cut", e.Tag)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
