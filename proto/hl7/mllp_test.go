// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/wire"
)

func ExampleFramer() {
	stream := []byte("\x0bMSH|^~\\&|EHR||||||ADT^A01|1|P|2.6\r\x1c\r\x0bMSH|^~")
	var f hl7.Framer
	for {
		msg, n, err := f.Next(stream)
		stream = stream[n:]
		if errors.Is(err, wire.ErrTruncated) {
			fmt.Println("more is needed after", len(stream), "bytes")
			return
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		m, err := hl7.Parse(msg)
		fmt.Println(m.Kind(), err)
	}
	// Output:
	// ADT <nil>
	// more is needed after 7 bytes
}

// frames hands in the stream in pieces that end at the cuts, and returns the
// messages and the errors, in order.
func frames(tb testing.TB, stream string, cuts []int) (out []string, quirks hl7.Quirks) {
	tb.Helper()
	var f hl7.Framer
	var kept []byte
	take := func(next func([]byte) ([]byte, int, error)) bool {
		msg, n, err := next(kept)
		if n < 0 || n > len(kept) {
			tb.Fatalf("took %d of %d bytes", n, len(kept))
		}
		defer func() { kept = kept[n:] }()
		var se *wire.SyntaxError
		switch {
		case err == nil:
			out = append(out, string(msg))
			if n == 0 {
				tb.Fatal("a message of no bytes taken")
			}
			return true
		case !errors.As(err, &se):
			tb.Fatalf("error %v is no SyntaxError", err)
		case errors.Is(err, wire.ErrTruncated):
			return false
		}
		if n == 0 {
			tb.Fatal("an error that takes nothing")
		}
		out = append(out, "! "+se.Field+": "+se.Err.Error())
		return true
	}
	start := 0
	for _, cut := range append(cuts, len(stream)) {
		kept = append(bytes.Clone(kept), stream[start:cut]...)
		start = cut
		for take(f.Next) {
		}
	}
	for take(f.Last) {
	}
	return out, f.Quirks
}

const msh = "MSH|^~\\&|EHR||||||ADT^A01|1|P|2.6\r"

func TestFramer(t *testing.T) {
	const (
		sb, eb, cr = "\x0b", "\x1c", "\r"
		cutOff     = "! End Block: invalid value"
	)
	big := strings.Repeat("x", hl7.MaxMessage)
	tests := []struct {
		name, in string
		want     []string
		quirks   hl7.Quirks
	}{
		{"nothing", "", nil, 0},
		{"one", sb + msh + eb + cr, []string{msh}, 0},
		{"two", sb + msh + eb + cr + sb + "b" + eb + cr, []string{msh, "b"}, 0},
		{"empty", sb + eb + cr, []string{""}, 0},
		{"no CR", sb + msh + eb + sb + "b" + eb + cr, []string{msh, "b"}, hl7.MissingCR},
		{"no CR at the end", sb + msh + eb, []string{msh}, 0}, // it may be on its way
		{"LF instead of CR", sb + msh + eb + "\n" + sb + "b" + eb, []string{msh, "b"}, hl7.MissingCR},
		{"CR LF between", sb + msh + eb + cr + "\n\r\n" + sb + "b" + eb, []string{msh, "b"}, 0},
		{"bytes before", "xyz" + sb + msh + eb + cr, []string{msh}, hl7.BytesBetweenBlocks},
		{"bytes between", sb + msh + eb + cr + "MOM" + sb + "b" + eb, []string{msh, "b"}, hl7.BytesBetweenBlocks},
		{"bytes after", sb + msh + eb + cr + "noise", []string{msh}, hl7.BytesBetweenBlocks},
		{"restarted", sb + "MSH|^~" + sb + msh + eb + cr, []string{cutOff, msh}, 0},
		{"restarted twice", sb + sb + sb + msh + eb + cr, []string{cutOff, cutOff, msh}, 0},
		{"cut off", sb + msh, nil, 0},
		{"bare", msh, []string{msh}, hl7.BareMessage},
		{"bare twice", msh + msh, []string{msh, msh}, hl7.BareMessage},
		{"bare with end", msh + eb + cr + msh, []string{msh, msh}, hl7.BareMessage},
		{"bare then block", msh + sb + "b" + eb, []string{msh, "b"}, hl7.BareMessage},
		{"bare, LF", "MSH|^~\\&|\nPID|\nMSH|^~\\&|\n", []string{"MSH|^~\\&|\nPID|\n", "MSH|^~\\&|\n"}, hl7.BareMessage},
		{"bare, MSH in text", "MSH|^~\\&|\rNTE|MSH|\r", []string{"MSH|^~\\&|\rNTE|MSH|\r"}, hl7.BareMessage},
		{"bare, MSH without separator", "MSH|^~\\&|\rMSHX|\r", []string{"MSH|^~\\&|\rMSHX|\r"}, hl7.BareMessage},
		{"largest", sb + big + eb + cr, []string{big}, 0},
		{"too large", sb + big + "x" + eb + cr + sb + "b" + eb, []string{"! Data: longer than allowed", "b"}, 0},
		{"too large, restarted", sb + big + "xy" + sb + "b" + eb, []string{cutOff, "b"}, 0},
		{"too large, bare", msh + big + eb + cr + sb + "b" + eb, []string{"! MSH: longer than allowed", "b"}, hl7.BareMessage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, quirks := frames(t, tt.in, nil)
			if d := cmp.Diff(tt.want, got); d != "" && len(d) < 5000 || len(got) != len(tt.want) || quirks != tt.quirks {
				t.Fatalf("quirks %b, want %b; -want +got:\n%.2000s", quirks, tt.quirks, d)
			}
			// The same in pieces of one byte, and in random ones. What is too
			// long is noticed earlier in pieces, so that its tail differs.
			if len(tt.in) > hl7.MaxMessage {
				return
			}
			var every []int
			for i := range len(tt.in) {
				every = append(every, i)
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			for _, cuts := range [][]int{every, sample(rnd, len(tt.in)), sample(rnd, len(tt.in))} {
				again, q := frames(t, tt.in, cuts)
				if d := cmp.Diff(got, again); d != "" || q != quirks {
					t.Fatalf("cut at %v: quirks %b: -whole +pieces:\n%s", cuts, q, d)
				}
			}
		})
	}
}

// sample returns a few increasing cuts below n.
func sample(rnd *rand.Rand, n int) (cuts []int) {
	for i := range n {
		if rnd.IntN(7) == 0 {
			cuts = append(cuts, i)
		}
	}
	return cuts
}

// TestFramerInPieces hands in a message of the largest size in small pieces:
// were each piece to be searched from the message's start this would look at
// 10^11 bytes.
func TestFramerInPieces(t *testing.T) {
	in := append(hl7.AppendBlock(nil, bytes.Repeat([]byte("PID|\r"), hl7.MaxMessage/5)), "tail"...)
	var f hl7.Framer
	found := 0
	for n := 1; n <= len(in); n += 8 {
		msg, _, err := f.Next(in[:n])
		if err == nil {
			found = len(msg)
			break
		}
	}
	if found != hl7.MaxMessage/5*5 {
		t.Fatalf("found a message of %d bytes", found)
	}
}

func TestRecognise(t *testing.T) {
	const (
		no, more, weak, sure = wire.NoMatch, wire.NeedMore, wire.WeakMatch, wire.SureMatch
	)
	tests := []struct {
		in   string
		want wire.Match
	}{
		{"\x0bMSH|^~\\&|", sure},
		{"\x0bMSH|^~\\&#|", sure},
		{"\x0bMSH$%~\\&$ADT", sure},
		{"\x0bBHS|^~\\&|", sure},
		{"\x0bFHS|^~\\&|", sure},
		{"MSH|^~\\&|EHR", sure},
		{"\x0bM", more},
		{"\x0b", more},
		{"", more},
		{"MS", more},
		{"\x0bMSH|^~\\", more},
		{"\x0bMSHA^~\\&|", no},
		{"\x0bMSHA", no},
		{"\x0bMSH||~\\&|", no},
		{"\x0bMSH|^~\\&PID", no},
		{"\x0bMSH|^~\\x&|", no},
		{"\x0bMSH|^^\\&|", no},
		{"\x0bXSH|^~\\&|", no},
		{"\x0b\x06\x1c\r", weak},
		{"x^Y\rOBX|2|NM|1\rOBX|3|NM|2\r", sure},
		{"x^Y\rOBX|2|NM|1\r", weak},
		{"Made\rOBXY2|NM|1\r", no},
		{"MAIL FROM:<a@b>\r\n", no},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", no},
		{"POST / HTTP/1.1\r\nHost: x\r\n\r\nMSH|^~\\&|\rEVN|A01\rPID|1\r", no},
		{"BHSX", no},
		{"SSH-2.0-x\r\n", no},
		{"\x16\x03\x01\x02\x00\x01", no},
	}
	for _, tt := range tests {
		if got := hl7.Recognise([]byte(tt.in)); got != tt.want {
			t.Errorf("Recognise(%q) = %d, want %d", tt.in, got, tt.want)
		}
	}
	for in, want := range map[string]wire.Match{
		msh: sure, "\r\n" + msh: sure, "\ufeff" + msh: sure, "{\"a\":1}": no, "<ORU_R01>": no, "MSH|": more,
	} {
		if got := hl7.RecogniseMessage([]byte(in)); got != want {
			t.Errorf("RecogniseMessage(%q) = %d, want %d", in, got, want)
		}
	}
	long := []byte(strings.Repeat("xxxx\r", 100) + "PID|1\rOBX|1\r")
	if hl7.Recognise(long) != no {
		t.Error("looked beyond the first 256 bytes")
	}
	if n := testing.AllocsPerRun(100, func() { hl7.Recognise(long); hl7.Recognise([]byte("\x0bMSH$%~\\&$ADT")) }); n != 0 {
		t.Errorf("Recognise allocates %v times", n)
	}
}

func FuzzMLLP(f *testing.F) {
	for _, s := range []string{"\x0b" + msh + "\x1c\r", msh + msh, "\x0b\x0b\x1c\x1c\r\r", "MSMSHMSH|\rMSH|\rM", "x\x0bMSH\x1cy"} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		whole, q1 := frames(t, string(b), nil)
		pieces, q2 := frames(t, string(b), sample(rand.New(rand.NewPCG(seed, 0)), len(b)))
		if d := cmp.Diff(whole, pieces); d != "" || q1 != q2 {
			t.Fatalf("quirks %b and %b; -whole +pieces:\n%s", q1, q2, d)
		}
		n := 0
		for _, m := range whole {
			if !strings.HasPrefix(m, "! ") {
				n += len(m)
			}
		}
		if n > len(b) {
			t.Fatalf("%d bytes of messages from %d", n, len(b))
		}
		hl7.Recognise(b)
	})
}
