// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/wire"
)

func ExampleParse() {
	m, err := hl7.Parse([]byte("MSH|^~\\&|EHR|ADA|||20260303070000+0100||ADT^A01^ADT_A01|17|P|2.6\r" +
		"PID|||4711^^^ADA^MR~19^^^ADA^PI||Sato \\T\\ Sons^Emil\r"))
	if err != nil {
		fmt.Println(err)
		return
	}
	pid := m.Segment("PID")
	fmt.Println(m.Kind(), m.Header().Version.Text())
	for id := range pid.Field(3).Repetitions() {
		fmt.Println(id.Component(1).Text(), id.Component(5).Text())
	}
	fmt.Println(pid.Field(5).Component(1).Text())
	// Output:
	// ADT 2.6
	// 4711 MR
	// 19 PI
	// Sato & Sons
}

func ExampleMessages() {
	block := []byte("BHS|^~\\&|LAB\r" +
		"MSH|^~\\&|||||||ORU^R01|1|P|2.6\rOBX|1\r" +
		"MSH|^~\\&|||||||ORU^R01|2|P|2.6\r" +
		"BTS|2\r")
	for b := range hl7.Messages(block) {
		m, err := hl7.Parse(b)
		fmt.Println(m.Header().ControlID.Text(), err)
	}
	batch, _ := hl7.ParseBatch(block)
	fmt.Println(batch.Messages, "of", batch.Declared)
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 2 of 2
}

func ExampleBuilder() {
	var b hl7.Builder
	b.Segment("MSH").Text("CastorEHR").Text("StAda").Empty(2).Text("20260303070000+0100").Empty(1).
		Components("ADT", "A01", "ADT_A01").Text("17").Text("P").Text("2.6")
	b.Segment("PID").Empty(2).Components("SA-1005", "", "", "StAda", "MR").Repeat("19", "", "", "StAda", "PI").
		Empty(1).Components("Sato & Sons", "Emil")
	fmt.Println(strings.ReplaceAll(string(b.Bytes()), "\r", "\n"))
	// Output:
	// MSH|^~\&|CastorEHR|StAda|||20260303070000+0100||ADT^A01^ADT_A01|17|P|2.6
	// PID|||SA-1005^^^StAda^MR~19^^^StAda^PI||Sato \T\ Sons^Emil
}

func ExampleJoin() {
	first, _ := hl7.Parse([]byte("MSH|^~\\&|||||||ORU^R01|1\rNTE|1||cut in\rADD\rDSC|7|F\r"))
	next, _ := hl7.Parse([]byte("MSH|^~\\&|||||||ORU^R01|2||||7\rADD| two\r"))
	b, err := hl7.Join(nil, &first, &next)
	m, _ := hl7.Parse(b)
	fmt.Println(m.Segment("NTE").Field(3).Text(), err)
	// Output: cut in two <nil>
}

// head is the shortest header that says something.
const head = "MSH|^~\\&|||||||ADT^A01\r"

func parse(tb testing.TB, s string) hl7.Message {
	tb.Helper()
	m, err := hl7.Parse([]byte(s))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, in, field string
		off             int
		err             error
	}{
		{"nothing", "", "MSH", 0, wire.ErrTruncated},
		{"short", "MS", "MSH", 0, wire.ErrTruncated},
		{"no header", "PID|1", "MSH", 0, wire.ErrInvalid},
		{"a commit block", "\x06", "MSH", 1, wire.ErrTruncated},
		{"only blanks", strings.Repeat(" ", 40), "MSH", 16, wire.ErrInvalid},
		{"no MSH-1", "MSH", "MSH-1 Field Separator", 3, wire.ErrTruncated},
		{"letter as MSH-1", "MSHA^~\\&A", "MSH-1 Field Separator", 3, wire.ErrInvalid},
		{"CR as MSH-1", "MSH\r^~\\&\r", "MSH-1 Field Separator", 3, wire.ErrInvalid},
		{"no MSH-2", "MSH|", "MSH-2 Encoding Characters", 4, wire.ErrTruncated},
		{"empty MSH-2", "MSH||x", "MSH-2 Encoding Characters", 4, wire.ErrInvalid},
		{"CR as MSH-2", "MSH|\rPID|", "MSH-2 Encoding Characters", 4, wire.ErrInvalid},
		{"letter in MSH-2", "MSH|^~a&|", "MSH-2 Encoding Characters", 6, wire.ErrInvalid},
		{"blank in MSH-2", "MSH|^ \\&|", "MSH-2 Encoding Characters", 5, wire.ErrInvalid},
		{"high byte in MSH-2", "MSH|^\xc3\\&|", "MSH-2 Encoding Characters", 5, wire.ErrInvalid},
		{"twice the same", "MSH|^^\\&|", "MSH-2 Encoding Characters", 5, wire.ErrInvalid},
		{"twice the same, later", "MSH|^~\\^|", "MSH-2 Encoding Characters", 7, wire.ErrInvalid},
		{"six", "MSH|^~\\&#%|", "MSH-2 Encoding Characters", 9, wire.ErrTooLong},
		{"no MSH-9", "MSH|^~\\&|||||||", "MSH-9 Message Type", 15, wire.ErrInvalid},
		{"null MSH-9", "MSH|^~\\&|||||||\"\"", "MSH-9 Message Type", 17, wire.ErrInvalid},
		{"after blank lines", "\r\nMSH|^^\\&|", "MSH-2 Encoding Characters", 7, wire.ErrInvalid},
		{"too long", head + strings.Repeat("x", hl7.MaxMessage), "MSH", hl7.MaxMessage, wire.ErrTooLong},
	}
	for _, tt := range tests {
		_, err := hl7.Parse([]byte(tt.in))
		var se *wire.SyntaxError
		if !errors.As(err, &se) || se.Proto != "hl7" || se.Field != tt.field || se.Off != tt.off || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %s at %d: %v", tt.name, err, tt.field, tt.off, tt.err)
		}
	}
	if _, err := hl7.Parse([]byte(head + strings.Repeat("x", hl7.MaxMessage-len(head)))); err != nil {
		t.Error("a message of the largest size:", err)
	}
}

func TestDelimiters(t *testing.T) {
	for in, want := range map[string]hl7.Delimiters{
		"|^~\\&":  {'|', '^', '~', '\\', '&', 0},
		"|^~\\&#": {'|', '^', '~', '\\', '&', '#'}, // v2.7 section 2.14.9.2
		"$%*/@":   {'$', '%', '*', '/', '@', 0},
		"|^~":     {'|', '^', '~', 0, 0, 0},
		"|^":      {'|', '^', 0, 0, 0, 0},
	} {
		sep := in[:1]
		m := parse(t, "MSH"+in+strings.Repeat(sep, 7)+"ACK\r")
		if m.Delimiters != want {
			t.Errorf("%s: %+v", in, m.Delimiters)
		}
		if s := m.Segment("MSH"); !s.Field(1).Is(sep) || !s.Field(2).Is(in[1:]) || !s.Field(9).Is("ACK") {
			t.Errorf("%s: MSH-1 %q, MSH-2 %q, MSH-9 %q", in, s.Field(1).Raw(), s.Field(2).Raw(), s.Field(9).Raw())
		}
	}
}

func TestAccess(t *testing.T) {
	m := parse(t, head+"PID|1|\"\"|a^b&c&d~e^f~||x^~|last\r")
	pid := m.Segment("PID")
	for name, got := range map[string][2]string{
		"PID-1":          {string(pid.Field(1).Raw()), "1"},
		"PID-3":          {string(pid.Field(3).Raw()), "a^b&c&d~e^f~"},
		"PID-3[0]":       {string(pid.Field(3).Repetition(0).Raw()), "a^b&c&d"},
		"PID-3[1].2":     {string(pid.Field(3).Repetition(1).Component(2).Raw()), "f"},
		"PID-3[2]":       {string(pid.Field(3).Repetition(2).Raw()), ""},
		"PID-3[3]":       {string(pid.Field(3).Repetition(3).Raw()), ""},
		"PID-3.1":        {string(pid.Field(3).Component(1).Raw()), "a"},
		"PID-3.2":        {string(pid.Field(3).Component(2).Raw()), "b&c&d"}, // not "b&c&d~e"
		"PID-3.2.3":      {string(pid.Field(3).Component(2).Subcomponent(3).Raw()), "d"},
		"PID-3.3":        {string(pid.Field(3).Component(3).Raw()), ""},
		"PID-3.1.1":      {string(pid.Field(3).Subcomponent(1).Raw()), "a"},
		"PID-6":          {string(pid.Field(6).Raw()), "last"},
		"PID-7":          {string(pid.Field(7).Raw()), ""},
		"PID-0":          {string(pid.Field(0).Raw()), ""},
		"PID--1":         {string(pid.Field(-1).Raw()), ""},
		"PID-3[-1]":      {string(pid.Field(3).Repetition(-1).Raw()), ""},
		"PID-3.0":        {string(pid.Field(3).Component(0).Raw()), ""},
		"PID-3.1.0":      {string(pid.Field(3).Subcomponent(0).Raw()), ""},
		"PV1-1":          {string(m.Segment("PV1").Field(1).Raw()), ""},
		"a Value's part": {string(hl7.Value{}.Component(1).Subcomponent(1).Repetition(0).Raw()), ""},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %q, want %q", name, got[0], got[1])
		}
	}
	if v := pid.Field(2); !v.IsNull() || !v.IsEmpty() {
		t.Error("the null value is not empty")
	}
	n := 0
	for range pid.Field(3).Repetitions() {
		n++
	}
	for range pid.Field(4).Repetitions() {
		n += 100
	}
	if n != 3 {
		t.Errorf("%d repetitions", n)
	}
	if id := m.Segment("PV1").ID(); len(id) != 0 {
		t.Errorf("a segment that is not there has the id %q", id)
	}
	if off := pid.Off(); off != len(head) {
		t.Errorf("PID is at %d", off)
	}
	raw := pid.Field(1).Raw()
	if cap(raw) != len(raw) {
		t.Error("a value can be appended to in place")
	}
}

func TestSegmentEnds(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
		quirks   hl7.Quirks
	}{
		{"CR", head + "PID|1\rPV1|2\r", []string{"MSH", "PID|1", "PV1|2"}, 0},
		{"no last CR", head + "PID|1", []string{"MSH", "PID|1"}, hl7.MissingLastCR},
		{"LF", strings.ReplaceAll(head+"PID|1\rPV1|2\r", "\r", "\n"), []string{"MSH", "PID|1", "PV1|2"}, hl7.LineFeedEnds},
		{"CR LF", strings.ReplaceAll(head+"PID|1\rPV1|2\r", "\r", "\r\n"), []string{"MSH", "PID|1", "PV1|2"}, hl7.LineFeedEnds},
		{"LF in text", head + "NTE|1||one\ntwo|x\rPV1|2\r", []string{"MSH", "NTE|1||one\ntwo|x", "PV1|2"}, 0},
		{"LF before a segment", head + "NTE|1||one\nPV1|2\r", []string{"MSH", "NTE|1||one", "PV1|2"}, hl7.LineFeedEnds},
		{"LF at the end", head + "NTE|1\n", []string{"MSH", "NTE|1"}, hl7.LineFeedEnds},
		{"CR in text", head + "NTE|1||one\rtwo|x\rPV1|2\r", []string{"MSH", "NTE|1||one", "PV1|2"}, hl7.StrayLine},
		{"empty lines", head + "\r\rPID|1\r\r", []string{"MSH", "PID|1"}, hl7.EmptyLine},
		{"segment without fields", head + "ADD\r", []string{"MSH", "ADD"}, 0},
		{"own segment", head + "ZPV|1\r", []string{"MSH", "ZPV|1"}, 0},
		{"other separator", head + "PID$1\r", []string{"MSH"}, hl7.StrayLine},
		{"lower case", head + "pid|1\r", []string{"MSH"}, hl7.StrayLine},
		{"byte order mark", "\ufeff" + head, []string{"MSH"}, hl7.BytesBeforeMSH},
		{"UTF-16", "MSH|^~\\&|||||||ACK|||||||||UNICODE UTF-16\r", []string{"MSH"}, hl7.UTF16},
		{"UTF-8", "MSH|^~\\&|||||||ACK|||||||||UNICODE UTF-8\r", []string{"MSH"}, 0},
	}
	for _, tt := range tests {
		m := parse(t, tt.in)
		var got []string
		for s := range m.Segments() {
			if string(s.ID()) == "MSH" {
				got = append(got, "MSH")
			} else {
				got = append(got, string(s.Bytes()))
			}
			if !strings.HasPrefix(tt.in[s.Off():], string(s.Bytes())) {
				t.Errorf("%s: segment not at its offset %d", tt.name, s.Off())
			}
		}
		if !slices.Equal(got, tt.want) || m.Quirks != tt.quirks {
			t.Errorf("%s: %q, quirks %b, want %b", tt.name, got, m.Quirks, tt.quirks)
		}
	}
}

func TestEscapes(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{"", ""},
		{`a\F\b\S\c\T\d\R\e\E\f`, `a|b^c&d~e\f`}, // v2.7 section 2.7.1
		{`\P\`, `#`},                             // since v2.7
		{`\H\bold\N\`, "bold"},                   // section 2.7.2
		{`\X0D0A\`, "\r\n"},                      // section 2.7.5
		{`\X48656c6C6F\`, "Hello"},
		{`\XF\`, `\XF\`}, // odd
		{`\XZZ\`, `\XZZ\`},
		{`\X\`, `\X\`},
		{`\C2842\a\M0142\b\M014243\`, "ab"}, // section 2.7.4
		{`\C28\`, `\C28\`},
		{`one\.br\two`, "one\ntwo"}, // section 2.7.7
		{`\.sp\\.sp3\|`, "\n\n\n\n|"},
		{`\.sk3\x`, "   x"},
		{`\.in+2\\.ti-2\\.fi\\.nf\x`, "x"},
		{`\.ce\x`, "\nx"},
		{`\.sp999999999999999999999\`, strings.Repeat("\n", 16)},
		{`\.xx\`, `\.xx\`},
		{`\.spx\`, `\.spx\`},
		{`\Zxx\`, `\Zxx\`}, // section 2.7.6: local
		{`\\`, `\\`},
		{`\`, `\`},
		{`a\F`, `a\F`},
		{`5\10 of\F\7`, `5\10 of|7`}, // an escape character that opens nothing
		{`\E\F\E\`, `\F\`},           // not decoded twice
	}
	for _, tt := range tests {
		m := parse(t, "MSH|^~\\&#|||||||ACK\rNTE|"+tt.in+"\r")
		v := m.Segment("NTE").Field(1)
		if strings.Contains(tt.in, "|") { // the row holds a field separator on purpose
			v = dollar(t, tt.in)
		}
		if got := v.Text(); got != tt.want {
			t.Errorf("%q decodes to %q, want %q", tt.in, got, tt.want)
		}
		if got := string(v.AppendText([]byte("x"))); got != "x"+tt.want {
			t.Errorf("%q appends %q", tt.in, got)
		}
	}
	// Without an escape character there are no sequences.
	m := parse(t, "MSH|^~|||||||ACK\rNTE|a\\F\\b\r")
	if got := m.Segment("NTE").Field(1).Text(); got != `a\F\b` {
		t.Errorf("%q", got)
	}
}

// dollar returns text as a field of a message that $ divides.
func dollar(tb testing.TB, text string) hl7.Value {
	tb.Helper()
	m := parse(tb, "MSH$^~\\&#$$$$$$$ACK\rNTE$"+text+"\r")
	return m.Segment("NTE").Field(1)
}

func TestBatch(t *testing.T) {
	one := "MSH|^~\\&|||||||ORU^R01|1\rOBX|1\r"
	two := "MSH|^~\\&|||||||ORU^R01|2\r"
	tests := []struct {
		name, in           string
		want               []string
		messages, declared int
		quirks             hl7.Quirks
	}{
		{"file", "FHS|^~\\&\rBHS|^~\\&\r" + one + two + "BTS|2\rFTS|1\r", []string{one, two}, 2, 2, 0},
		{"two batches", "FHS|^~\\&\rBHS|^~\\&\r" + one + "BTS|1\rBHS|^~\\&\r" + two + "BTS|1\rFTS|2\r", []string{one, two}, 2, 2, 0},
		{"no trailer", "BHS|^~\\&\r" + one + two, []string{one, two}, 2, -1, 0},
		{"wrong count", "BHS|^~\\&\r" + one + "BTS|2\r", []string{one}, 1, 2, hl7.BatchCount},
		{"wrong count of batches", "FHS|^~\\&\rBHS|^~\\&\r" + one + "BTS|1\rFTS|3\r", []string{one}, 1, 1, hl7.BatchCount},
		{"count is no number", "BHS|^~\\&\r" + one + "BTS|many\r", []string{one}, 1, -1, 0},
		{"empty", "BHS|^~\\&\rBTS|0\r", nil, 0, 0, 0},
	}
	for _, tt := range tests {
		var got []string
		for b := range hl7.Messages([]byte(tt.in)) {
			got = append(got, string(b))
		}
		batch, err := hl7.ParseBatch([]byte(tt.in))
		if err != nil || !slices.Equal(got, tt.want) || batch.Messages != tt.messages || batch.Declared != tt.declared || batch.Quirks != tt.quirks {
			t.Errorf("%s: %q, %d of %d, quirks %b, %v", tt.name, got, batch.Messages, batch.Declared, batch.Quirks, err)
		}
	}
	for in, want := range map[string][]string{
		one:               {one},
		one + two:         {one, two}, // two messages in one block
		"junk":            {"junk"},
		"":                {""},
		one + "NTE|MSH\r": {one + "NTE|MSH\r"},
	} {
		var got []string
		for b := range hl7.Messages([]byte(in)) {
			got = append(got, string(b))
		}
		if !slices.Equal(got, want) {
			t.Errorf("Messages(%q) = %q", in, got)
		}
		if _, err := hl7.ParseBatch([]byte(in)); err == nil {
			t.Errorf("ParseBatch(%q) found a batch", in)
		}
	}
}

// The example of v2.7 section 2.10.2: a message whose OBX is cut in two.
func TestJoin(t *testing.T) {
	first := "MSH|^~\\&|||||||ORU^R01|1||2.7||\rOBR|1\rOBX|1|FT|^Diagn\rADD\rDSC|7|F\r"
	next := "MSH|^~\\&|||||||ORU^R01|2||2.7||7\rADD|osis||Cold\rOBX|2\r"
	want := "MSH|^~\\&|||||||ORU^R01|1||2.7||\rOBR|1\rOBX|1|FT|^Diagnosis||Cold\rOBX|2\r"
	a, b := parse(t, first), parse(t, next)
	if !a.Continued().Is("7") || !b.Continued().IsEmpty() {
		t.Fatal("Continued")
	}
	got, err := hl7.Join(nil, &a, &b)
	if err != nil || string(got) != want {
		t.Fatalf("%v: %q", err, got)
	}
	// Between segments, and with more to come.
	a, b = parse(t, "MSH|^~\\&|||||||ORU|1\rOBX|1\rDSC|7\r"), parse(t, "MSH|^~\\&|||||||ORU|2||||7\rOBX|2\rDSC|8\r")
	if got, err = hl7.Join([]byte("x"), &a, &b); err != nil || string(got) != "xMSH|^~\\&|||||||ORU|1\rOBX|1\rOBX|2\rDSC|8\r" {
		t.Fatalf("%v: %q", err, got)
	}
	for name, pair := range map[string][2]string{
		"no pointer":       {head, next},
		"another pointer":  {first, "MSH|^~\\&|||||||ORU|2||||8\r"},
		"no MSH-14":        {first, head},
		"a response":       {"MSH|^~\\&|||||||RSP|1\rDSC|7|I\r", next},
		"other delimiters": {first, "MSH|^~\\@|||||||ORU|2||||7\r"},
		"too long":         {first, next + strings.Repeat("x", hl7.MaxMessage-100)},
	} {
		a, b := parse(t, pair[0]), parse(t, pair[1])
		if got, err := hl7.Join(nil, &a, &b); err == nil || len(got) != 0 {
			t.Errorf("%s: joined", name)
		}
	}
}

func TestParseAllocates(t *testing.T) {
	b := []byte(pcd01)
	if n := testing.AllocsPerRun(100, func() {
		m, err := hl7.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		fields := 0
		for s := range m.Segments() {
			for r := range s.Field(3).Repetitions() {
				fields += len(r.Component(1).Raw())
			}
		}
		h := m.Header()
		if fields == 0 || m.Kind() != hl7.PCD01 || h.Version.IsEmpty() || hl7.PatientFields(&m) == 0 || hl7.Subject(&m).IsEmpty() {
			t.Fatal("not read")
		}
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

// Any text in any field of a message with any delimiters comes back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := rapid.Permutation([]byte("|^~\\&#$%*/@!;:,<>=+-_()[]{}'`?\"")).Draw(t, "delimiters")
		d := hl7.Delimiters{pool[0], pool[1], pool[2], pool[3], pool[4], 0}
		if rapid.Bool().Draw(t, "truncation") {
			d.Truncation = pool[5]
		}
		text := rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOfN(rapid.SampledFrom([]byte("aZ0 |^~\\&#$%*/@!;:,.\r\n\x00\x0b\x1c\xc3\xa9\"")), 0, 8).Draw(t, "text"))
		})
		b := hl7.Builder{Delimiters: d}
		b.Segment("MSH").Empty(6).Text("ADT")
		fields := rapid.SliceOfN(rapid.SliceOfN(rapid.SliceOfN(text, 1, 4), 1, 3), 1, 6).Draw(t, "fields")
		b.Segment("ZZZ")
		for _, repetitions := range fields {
			b.Components(repetitions[0]...)
			for _, components := range repetitions[1:] {
				b.Repeat(components...)
			}
		}
		b.Segment("ZZY").Text("x").Subcomponents(fields[0][0]...)
		m, err := hl7.Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if m.Delimiters != d || m.Quirks != 0 {
			t.Fatalf("%+v, quirks %b", m.Delimiters, m.Quirks)
		}
		s := m.Segment("ZZZ")
		for i, repetitions := range fields {
			for j, components := range repetitions {
				for k, want := range components {
					if got := s.Field(i + 1).Repetition(j).Component(k + 1).Text(); got != want {
						t.Fatalf("field %d[%d].%d is %q, want %q, in %q", i+1, j, k+1, got, want, b.Bytes())
					}
				}
			}
		}
		for k, want := range fields[0][0] {
			if got := m.Segment("ZZY").Field(1).Component(2).Subcomponent(k + 1).Text(); got != want {
				t.Fatalf("subcomponent %d is %q, want %q", k+1, got, want)
			}
		}
	})
}

func TestBuilderWithoutEscape(t *testing.T) {
	b := hl7.Builder{Delimiters: hl7.Delimiters{Field: '|', Component: '^', Repetition: '~'}}
	b.Segment("MSH").Empty(6).Text("ADT").Segment("NTE").Text("a|b\rPID|c")
	if got, want := string(b.Bytes()), "MSH|^~|||||||ADT\rNTE|a b PID c\r"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{msh, pcd01, pcd03, pcd04, rrg, head + "PID|a\\F\\|b^c&d~e\n\rADD\rDSC|1\r", "BHS|^~\\&\r" + msh + "BTS|1\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for part := range hl7.Messages(b) {
			m, err := hl7.Parse(part)
			again, err2 := hl7.Parse(part)
			if (err == nil) != (err2 == nil) || m.Quirks != again.Quirks || m.Delimiters != again.Delimiters {
				t.Fatal("not the same twice")
			}
			var se *wire.SyntaxError
			if err != nil && (!errors.As(err, &se) || se.Off < 0 || se.Off > len(part)) {
				t.Fatalf("%v", err)
			}
			last := -1
			for s := range m.Segments() {
				if s.Off() <= last || s.Off()+len(s.Bytes()) > len(part) || !bytes.HasPrefix(part[s.Off():], s.Bytes()) {
					t.Fatal("a segment outside its message")
				}
				last = s.Off()
				for i := range 30 {
					v := s.Field(i)
					for r := range v.Repetitions() {
						r.Component(2).Subcomponent(2).AppendText(nil)
					}
				}
			}
			m.Header()
			m.Answer()
			for range m.Failures() {
			}
			k := m.Kind()
			if k.String() == "" && k != hl7.OtherKind {
				t.Fatal("a kind without a name")
			}
			hl7.PatientFields(&m)
			hl7.Subject(&m)
			devices := hl7.Devices(&m, nil)
			if len(devices) > hl7.MaxDevices {
				t.Fatal("more devices than the bound")
			}
			for _, d := range devices {
				d.ID.Unique()
				d.ID.Name()
			}
			for _, d := range hl7.Deliveries(&m, devices, nil) {
				_ = devices[d.Device]
			}
			orders, err := hl7.Orders(&m, nil)
			if err != nil && !errors.As(err, &se) {
				t.Fatalf("%v", err)
			}
			for i := range orders {
				orders[i].FlowRate()
			}
			commands, _ := commandsOf(&m)
			if again, _ := commandsOf(&m); !cmp.Equal(commands, again) {
				t.Fatal("not the same commands twice")
			}
			if joined, err := hl7.Join(nil, &m, &again); err == nil {
				hl7.Parse(joined)
			}
		}
		hl7.ParseBatch(b)
		hl7.RecogniseMessage(b)
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte(pcd01)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := hl7.Parse(in)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for s := range m.Segments() {
			n += len(s.Field(3).Raw()) + len(s.Field(5).Raw())
		}
		if n == 0 {
			b.Fatal("nothing")
		}
	}
}
