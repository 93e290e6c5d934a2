// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/wire"
)

// A recorder writes down what a stream tells it.
type recorder struct{ lines []string }

func (r *recorder) add(format string, a ...any) { r.lines = append(r.lines, fmt.Sprintf(format, a...)) }

func (r *recorder) Associate(_ int, a *Association) {
	r.add("%s %s -> %s, %d contexts", a.Type, a.CallingAETitle, a.CalledAETitle, len(a.Contexts))
}

func (r *recorder) Control(_ int, p Control) {
	r.add("%s %d %d %d", p.Type, p.Result, p.Source, p.Reason)
}

func (r *recorder) Command(_ int, c *Command) {
	kind := "RQ"
	if c.Field.Response() {
		kind = "RSP"
	}
	r.add("%s-%s in %d, %s", c.Field.Operation(), kind, c.ContextID, c.SOPClass.String())
}

func (r *recorder) Element(_ int, c *Command, e *Element) {
	if e.Depth == 0 && e.Tag != 0x00200010 {
		r.add("%d %08x %s", c.ContextID, e.Tag, e.Text())
	}
}

func (r *recorder) EndOfData(_ int, c *Command, n uint64) {
	r.add("end of %s, %d bytes", c.SOPInstance.String(), n)
}

func (r *recorder) Malformed(err error) {
	var s *wire.SyntaxError
	if !errors.As(err, &s) {
		r.add("malformed without a place")
		return
	}
	r.add("malformed %s: %v", s.Field, s.Err)
}

// replay feeds b as a reassembler would: what is not consumed comes again,
// what is to be skipped does not come. size is as for dump.
func replay(s *Stream, r *recorder, b []byte, size int) {
	var kept []byte
	skip := 0
	for len(b) > 0 {
		n := len(b)
		if size > 0 {
			n = min(n, size)
		} else if size < 0 {
			n = 1 + rand.IntN(min(n, 3000))
		}
		p := b[:n]
		b = b[n:]
		k := min(skip, len(p))
		skip -= k
		if p = p[k:]; len(p) == 0 {
			continue
		}
		kept = append(kept, p...)
		if done := s.Feed(bytes.Clone(kept), r); done >= len(kept) {
			skip, kept = done-len(kept), nil
		} else {
			kept = kept[done:]
		}
	}
}

// fragments cuts a message part into P-DATA-TF PDUs of at most size bytes each.
func fragments(id, mch byte, p []byte, size int) (out []byte) {
	for len(p) > size {
		out = append(out, pdu(PDataTF, pdv(id, mch, p[:size]))...)
		p = p[size:]
	}
	return append(out, pdu(PDataTF, pdv(id, mch|isLast, p))...)
}

func session(s Syntax, size int) []byte {
	transfer := map[Syntax]string{ImplicitVRLittleEndian: implicitLE, ExplicitVRLittleEndian: explicitLE, ExplicitVRBigEndian: explicitBE, DeflatedExplicitVRLittleEndian: deflatedLE}[s]
	b := associate(AssociateRQ, "ADAPACS", "CT1", proposed(1, ctStorage, transfer))
	for i := range 3 {
		b = append(b, fragments(1, isCommand, storeRQ(i+1, ctStorage, fmt.Sprintf("1.2.3.%d", i)), size)...)
		b = append(b, fragments(1, 0, object(s, 5000), size)...)
	}
	return append(b, pdu(ReleaseRQ, u32(0))...)
}

func TestStream(t *testing.T) {
	for _, syntax := range syntaxes {
		want := []string{"A-ASSOCIATE-RQ CT1 -> ADAPACS, 1 contexts"}
		n := len(object(syntax, 5000))
		for i := range 3 {
			want = append(want, "C-STORE-RQ in 1, "+ctStorage,
				"1 00080016 "+ctStorage, "1 00080018 1.2.3.4", "1 00080060 CT", "1 00080070 Lumen Imaging", "1 00080090 Holm^Mira", "1 00081010 CT1",
				"1 00081090 Helia 64", "1 00100010 Lindqvist^Anna", "1 00100020 ADA-0001", "1 00101002 ", "1 00181000 LH-0042", "1 0018100a ", "1 00181020 11.0",
				"1 00880200 ", "1 7fe00010 ", fmt.Sprintf("end of 1.2.3.%d, %d bytes", i, n))
		}
		want = append(want, "A-RELEASE-RQ 0 0 0")
		for _, fragment := range []int{1 << 20, 1000, 64, 5, 1} {
			b := session(syntax, fragment)
			for _, size := range []int{0, 1, 2, 7, 1460, -1, -1} {
				var r recorder
				replay(new(Stream), &r, b, size)
				if d := cmp.Diff(want, r.lines); d != "" {
					t.Fatalf("syntax %d, fragments of %d, pieces of %d: %s", syntax, fragment, size, d)
				}
			}
		}
	}
}

// Both fragments in one PDU (PS3.8 annex E.1), fragments of two contexts by
// turns, and an empty last fragment.
func TestStreamFragments(t *testing.T) {
	rq := storeRQ(1, ctStorage, "1.2.3")
	small := encode(ImplicitVRLittleEndian, text(Modality, "CS", "CT"))
	for _, tt := range []struct {
		name string
		in   []byte
		want []string
	}{
		{
			"in one PDU", pdu(PDataTF, pdv(1, isCommand|isLast, rq), pdv(1, isLast, small)),
			[]string{"C-STORE-RQ in 1, " + ctStorage, "1 00080060 CT", "end of 1.2.3, 10 bytes"},
		},
		{
			"by turns", pdu(PDataTF, pdv(1, isCommand, rq[:20]), pdv(3, isCommand|isLast, rq), pdv(1, isCommand|isLast, rq[20:]), pdv(3, 0, small[:5]), pdv(1, isLast, small), pdv(3, isLast, small[5:])),
			[]string{"C-STORE-RQ in 3, " + ctStorage, "C-STORE-RQ in 1, " + ctStorage, "1 00080060 CT", "end of 1.2.3, 10 bytes", "3 00080060 CT", "end of 1.2.3, 10 bytes"},
		},
		{
			"empty last fragment", pdu(PDataTF, pdv(1, isCommand, rq), pdv(1, isCommand|isLast, nil), pdv(1, 0, small), pdv(1, isLast, nil)),
			[]string{"C-STORE-RQ in 1, " + ctStorage, "1 00080060 CT", "end of 1.2.3, 10 bytes"},
		},
		{"inside a connection: data first", pdu(PDataTF, pdv(1, isLast, small)), nil},
	} {
		for _, size := range []int{0, 1, -1} {
			var r recorder
			replay(new(Stream), &r, tt.in, size)
			if d := cmp.Diff(tt.want, r.lines); d != "" {
				t.Errorf("%s, pieces of %d: %s", tt.name, size, d)
			}
		}
	}
}

func TestStreamErrors(t *testing.T) {
	start := associate(AssociateRQ, "A", "B", proposed(1, ctStorage, implicitLE))
	rq := storeRQ(1, ctStorage, "1.2.3")
	small := encode(ImplicitVRLittleEndian, text(Modality, "CS", "CT"))
	store := pdu(PDataTF, pdv(1, isCommand|isLast, rq), pdv(1, isLast, small))
	stored := []string{"C-STORE-RQ in 1, " + ctStorage, "1 00080060 CT", "end of 1.2.3, 10 bytes"}
	for _, tt := range []struct {
		name string
		in   []byte
		want string // and then what was stored
	}{
		{"PDU of unknown type", pdu(9, u32(0)), "malformed PDU-type: invalid value"},
		{"release of eight bytes", pdu(ReleaseRQ, u32(0), u32(0)), "malformed PDU-length: invalid value"},
		{"association of 16 MiB", []byte{1, 0, 1, 0, 0, 0}, "malformed PDU-length: invalid value"},
		{"cut association", pdu(AssociateRQ, u16(1), u16(0)), "malformed Called-AE-title: truncated"},
		{"fragment longer than its PDU", pdu(PDataTF, u32(99), []byte{1, 3, 0, 0}), "malformed Item-length: invalid value"},
		{"fragment shorter than its header", pdu(PDataTF, u32(1), []byte{1, 3, 0, 0}), "malformed Item-length: invalid value"},
		{"PDU shorter than a fragment's header", pdu(PDataTF, []byte{0, 0, 0}), "malformed Item-length: invalid value"},
		{"even context", pdu(PDataTF, pdv(2, 3, rq)), "malformed Presentation-context-ID: invalid value"},
		{"command without field", pdu(PDataTF, pdv(1, 3, commandSet(text(0x00000110, "US", number(1))))), "malformed Command Field: truncated"},
		{"empty command", pdu(PDataTF, pdv(1, 3, nil)), "malformed Command Field: truncated"},
		{"cut command", pdu(PDataTF, pdv(1, 3, rq[:50])), "malformed Data Set: truncated"},
		{"command of 64 KiB and more", fragments(1, isCommand, commandSet(text(0x00001005, "AT", strings.Repeat("x", maxCommand))), 16<<10), "malformed Command Set: longer than allowed"},
		{"data in the command", pdu(PDataTF, pdv(1, isCommand, rq[:50]), pdv(1, isLast, small)), "malformed Message Control Header: invalid value"},
	} {
		for _, size := range []int{0, 1, -1} {
			var r recorder
			s := new(Stream)
			replay(s, &r, start, 0)
			replay(s, &r, append(bytes.Clone(tt.in), store...), size)
			want := append([]string{r.lines[0], tt.want}, stored...)
			if d := cmp.Diff(want, r.lines); d != "" {
				t.Errorf("%s, pieces of %d: %s", tt.name, size, d)
			}
		}
	}
	// A command on four contexts whose data never comes, and a fifth.
	var r recorder
	s := new(Stream)
	for id := byte(1); id <= 9; id += 2 {
		replay(s, &r, pdu(PDataTF, pdv(id, isCommand|isLast, rq)), 0)
	}
	if got := r.lines[len(r.lines)-2]; got != "malformed Presentation-context-ID: longer than allowed" {
		t.Errorf("a fifth message begun: %q", r.lines)
	}
	// A data set that is broken is counted to its end.
	r = recorder{}
	replay(new(Stream), &r, append(pdu(PDataTF, pdv(1, isCommand|isLast, rq)), fragments(1, 0, append([]byte("\xfe\xff\x00\xe0\x00\x00\x00\x00"), make([]byte, 992)...), 64)...), 0)
	if d := cmp.Diff([]string{stored[0], "malformed Item: invalid value", "end of 1.2.3, 1000 bytes"}, r.lines); d != "" {
		t.Error(d)
	}
}

// Wherever bytes are missing, what comes behind is understood again, and
// nothing is called malformed that is not.
func TestStreamGap(t *testing.T) {
	b := session(ExplicitVRLittleEndian, 1000)
	last := "end of 1.2.3.2, " + fmt.Sprint(len(object(ExplicitVRLittleEndian, 5000))) + " bytes"
	lastStart := bytes.LastIndex(b, storeRQ(3, ctStorage, "1.2.3.2")[:30]) - 12
	for _, missing := range []int{1, 5, 12, 500, 1000, 3000, 7000} {
		for at := 0; at+missing < lastStart; at += 97 {
			var r recorder
			s := new(Stream)
			s.Contexts = &Contexts{}
			s.Contexts.syntax[0] = ExplicitVRLittleEndian
			skip := max(0, s.Feed(b[:at], &r)-at)
			if skip < missing { // of what is not wanted nobody tells that it is missing
				s.Gap(missing - skip)
			}
			replay(s, &r, b[at+max(skip, missing):], 0)
			for _, line := range r.lines {
				if strings.HasPrefix(line, "malformed") {
					t.Fatalf("%d bytes missing at %d: %s", missing, at, line)
				}
			}
			if got := r.lines[len(r.lines)-2]; got != last {
				t.Fatalf("%d bytes missing at %d: %q before the end", missing, at, got)
			}
		}
	}
	var r recorder
	s := new(Stream)
	replay(s, &r, b[:2000], 0)
	s.Gap(0) // so many that nobody knows
	replay(s, &r, b[lastStart-777:], 100)
	if got := r.lines[len(r.lines)-2]; got != last {
		t.Errorf("after a jump: %q", r.lines)
	}
}

// A stream may begin in the middle, at a segment and not at a PDU.
func TestStreamMidstream(t *testing.T) {
	b := session(ImplicitVRLittleEndian, 1000)
	for at := 1; at < 3000; at += 61 {
		for _, size := range []int{0, 1460, -1} {
			var r recorder
			replay(new(Stream), &r, b[at:], size)
			if len(r.lines) < 3 || !strings.HasPrefix(r.lines[len(r.lines)-2], "end of 1.2.3.2") {
				t.Fatalf("from byte %d, pieces of %d: %q", at, size, r.lines)
			}
			for _, line := range r.lines {
				if strings.HasPrefix(line, "malformed") {
					t.Fatalf("from byte %d: %s", at, line)
				}
			}
		}
	}
}

// silent is a visitor that keeps nothing but a count.
type silent struct{ elements, messages, malformed int }

func (*silent) Associate(int, *Association)       {}
func (*silent) Control(int, Control)              {}
func (v *silent) Command(int, *Command)           {}
func (v *silent) Element(int, *Command, *Element) { v.elements++ }
func (v *silent) EndOfData(int, *Command, uint64) { v.messages++ }
func (v *silent) Malformed(error)                 { v.malformed++ }

// An object of 2 GiB, in PDUs of 128 KiB that are made as they are read, and in
// one fragment, costs no more memory than a small one.
func TestStreamOfTwoGigabytes(t *testing.T) {
	const total = 2 << 30
	head := object(ExplicitVRLittleEndian, 0)
	head = append(head[:len(head)-16-4], 0xff, 0xff, 0xff, 0x7f) // the length of its pixel data, without what follows
	command := pdu(PDataTF, pdv(1, isCommand|isLast, storeRQ(1, ctStorage, "1.2.3")))
	fragment := pdu(PDataTF, pdv(1, 0, make([]byte, 128<<10)))
	var s Stream
	var v silent
	feed := func(b []byte) {
		if n := s.Feed(b, &v); n != len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
	}
	feed(command)
	feed(pdu(PDataTF, pdv(1, 0, head)))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := 0; n < total; n += 128 << 10 {
		feed(fragment)
	}
	feed(pdu(PDataTF, pdv(1, isLast, nil)))
	runtime.ReadMemStats(&after)
	if v.messages != 1 || v.malformed != 0 || v.elements < 15 {
		t.Errorf("%+v", v)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 4096 {
		t.Errorf("allocated %d bytes", got)
	}

	// In one fragment nothing of it need be handed in but its last byte.
	feed(command)
	b := append(pdu(PDataTF, u32(total+2+len(head)), []byte{1, isLast}), head...)
	copy(b[2:6], u32(total+6+len(head)))
	if n := s.Feed(b, &v); n != len(b)+total-1 || v.messages != 1 {
		t.Fatalf("to go on at %d, %+v", n, v)
	}
	if feed([]byte{0}); v.messages != 2 || v.malformed != 0 {
		t.Errorf("%+v", v)
	}
}

func TestStreamAllocatesNothing(t *testing.T) {
	b := append(fragments(1, isCommand, storeRQ(1, ctStorage, "1.2.3"), 100), fragments(1, 0, object(ExplicitVRLittleEndian, 5000), 100)...)
	var s Stream
	var v silent
	s.Feed(b, &v)
	if n := testing.AllocsPerRun(100, func() { s.Feed(b, &v) }); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func TestParseCommand(t *testing.T) {
	// PS3.7 table 9.3-9: C-MOVE-RSP.
	b := commandSet(
		text(0x00000002, "UI", even(studyMove)),
		text(0x00000100, "US", number(0x8021)), text(0x00000120, "US", number(7)), text(0x00000800, "US", number(0x0101)),
		text(0x00000900, "US", number(0xff00)), text(0x00001020, "US", number(1)), text(0x00001021, "US", number(2)),
		text(0x00001022, "US", number(3)), text(0x00001023, "US", number(4)))
	c, err := ParseCommand(b)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Field.Response() || c.Field.Request() != CMoveRQ || c.Field.Operation() != "C-MOVE" || c.MessageIDBeingRespondedTo != 7 || c.DataSet ||
		!c.Pending() || c.Succeeded() || c.Remaining != 1 || c.Completed != 2 || c.Failed != 3 || c.Warning != 4 || c.SOPClass.String() != studyMove {
		t.Errorf("%+v", c)
	}
	// PS3.7 table 9.3-1: C-STORE-RQ, as sub-operation of a C-MOVE.
	b = commandSet(
		text(0x00000002, "UI", even(ctStorage)), text(0x00000100, "US", number(1)), text(0x00000110, "US", number(9)), text(0x00000700, "US", number(2)),
		text(0x00000800, "US", number(0)), text(0x00001000, "UI", even("1.2.3")), text(0x00001030, "AE", "XFER1 "), text(0x00001031, "US", number(5)))
	if c, err = ParseCommand(b); err != nil || c.MoveOriginator.String() != "XFER1" || c.MoveOriginatorMessageID != 5 || !c.DataSet || c.Priority != 2 || c.MessageID != 9 {
		t.Errorf("%+v, %v", c, err)
	}
	// What ends between two elements behind the Command Field is complete.
	passed := 0
	for n := range b {
		if _, err := ParseCommand(b[:n]); err == nil {
			passed++
		} else if !errors.Is(err, wire.ErrTruncated) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	if passed != 6 {
		t.Errorf("%d of its beginnings pass", passed)
	}
	for status, want := range map[uint16]bool{0: true, 1: true, 0xb000: true, 0xbfff: true, 0x0107: true, 0x0116: true, 0xff00: false, 0xa700: false, 0xfe00: false, 0xc001: false, 0x0122: false} {
		if c := (Command{Status: status}); c.Succeeded() != want {
			t.Errorf("status %04x: %t", status, !want)
		}
	}
	for _, f := range []CommandField{CStoreRQ, CGetRQ, CFindRQ, CMoveRQ, CEchoRQ, NEventReportRQ, NGetRQ, NSetRQ, NActionRQ, NCreateRQ, NDeleteRQ, CCancelRQ} {
		if f.Operation() == "" || (f|response).Operation() != f.Operation() {
			t.Errorf("%04x has no name", uint16(f))
		}
	}
	long := Command{}
	long.SOPClass.set([]byte(strings.Repeat("1", 300)))
	if len(long.SOPClass.Bytes()) != 64 {
		t.Error("a UID longer than 64 bytes is not cut")
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add(storeRQ(1, ctStorage, "1.2.3"))
	f.Add([]byte{0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseCommand(b)
		again, err2 := ParseCommand(b)
		if a != again || (err == nil) != (err2 == nil) {
			t.Fatal("not the same again")
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, s := range syntaxes {
		f.Add(session(s, 1000), uint16(0))
		f.Add(session(s, 50)[100:], uint16(700))
	}
	f.Fuzz(func(t *testing.T, b []byte, gap uint16) {
		var whole, pieces recorder
		replay(new(Stream), &whole, b, 0)
		replay(new(Stream), &pieces, b, 7)
		if !slices.Equal(whole.lines, pieces.lines) {
			t.Fatal(cmp.Diff(whole.lines, pieces.lines))
		}
		s := new(Stream)
		var r recorder
		replay(s, &r, b[:len(b)/2], 0)
		s.Gap(int(gap))
		replay(s, &r, b[len(b)/2:], 0)
	})
}

// The path of pixel data: PDUs of 16 KiB, which dcmtk sends by default.
func BenchmarkPData(b *testing.B) {
	head := object(ExplicitVRLittleEndian, 0)
	head = head[:len(head)-16]
	p := append(pdu(PDataTF, pdv(1, isCommand|isLast, storeRQ(1, ctStorage, "1.2.3"))), pdu(PDataTF, pdv(1, 0, head))...)
	for range 64 {
		p = append(p, pdu(PDataTF, pdv(1, 0, make([]byte, 16372)))...)
	}
	p = append(p, pdu(PDataTF, pdv(1, isLast, nil))...)
	segments := func(b *testing.B, size int) {
		b.SetBytes(int64(len(p)))
		var v silent
		for b.Loop() {
			var s Stream
			skip := 0
			for off := 0; off < len(p); off += size {
				seg := p[off:min(off+size, len(p))]
				k := min(skip, len(seg))
				skip -= k
				if seg = seg[k:]; len(seg) > 0 {
					skip = max(0, s.Feed(seg, &v)-len(seg))
				}
			}
		}
	}
	b.Run("whole", func(b *testing.B) { segments(b, len(p)) })
	b.Run("segments of 1460", func(b *testing.B) { segments(b, 1460) })
}

// The path of data elements: a data set without pixel data.
func BenchmarkDataSet(b *testing.B) {
	for _, s := range syntaxes[:3] {
		b.Run([]string{"", "implicit", "explicit", "big endian"}[s], func(b *testing.B) {
			p := object(s, 0)
			b.SetBytes(int64(len(p)))
			var d DataSet
			for b.Loop() {
				d.Reset(s)
				d.Feed(p, func(*Element) {})
			}
		})
	}
}
