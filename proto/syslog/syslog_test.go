// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package syslog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/wire"
)

var messages = []struct {
	where, in, want string
	match           wire.Match
}{
	{
		"RFC 5424 section 6.5 example 1", "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8",
		`2 4.2 2003-10-11T22:14:15.003Z|mymachine.example.com|su||ID47||45`, wire.SureMatch,
	},
	{
		"RFC 5424 section 6.5 example 2", "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
		`2 20.5 2003-08-24T05:14:15.000003-07:00|192.0.2.1|myproc|8710|||33`, wire.SureMatch,
	},
	{
		"RFC 5424 section 6.5 example 3", `<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] An application event log entry...`,
		`2 20.5 2003-10-11T22:14:15.003Z|mymachine.example.com|evntslog||ID47|[exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"]|33`, wire.SureMatch,
	},
	{
		"RFC 5424 section 6.5 example 4", `<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3"][examplePriority@32473 class="high"]`,
		`2 20.5 2003-10-11T22:14:15.003Z|mymachine.example.com|evntslog||ID47|[exampleSDID@32473 iut="3"][examplePriority@32473 class="high"]|0`, wire.SureMatch,
	},
	{"RFC 3164 section 5.4 example 1", "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8", `1 4.2 Oct 11 22:14:15 |mymachine|||||46`, wire.SureMatch},
	{"RFC 3164 section 5.4 example 2", "Use the BFG!", "", wire.NoMatch},
	{"RFC 3164 section 5.4 example 3", "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time to make the do-nuts.", `1 20.5 Aug 24 05:34:00 ||||||64`, wire.SureMatch},
	{"RFC 3164 section 5.4 example 4", "<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!", `0 0.0 |||||| 88`, wire.WeakMatch},
	{"everything left out", "<191>1 - - - - - -", `2 23.7 ||||||0`, wire.SureMatch},
	{"escapes", `<0>1 - - - - - [a b="\]\"\\"] x`, `2 0.0 |||||[a b="\]\"\\"]|1`, wire.SureMatch},
	{"element without parameters", `<0>1 - - - - - [a]`, `2 0.0 |||||[a]|0`, wire.SureMatch},
	{"day with a zero", "<26>Jan 01 00:01:47 gw-icu nbd: 01", `1 3.2 Jan 01 00:01:47 |gw-icu|||||7`, wire.SureMatch},
	{"no host", "<30>Mar  3 07:09:00 snmpd[6956]: up", `1 3.6 Mar  3 07:09:00 ||||||15`, wire.SureMatch},
	{"tag for a host", "<30>Mar  3 07:09:00 snmpd: up", `1 3.6 Mar  3 07:09:00 ||||||9`, wire.SureMatch},
	{"one word", "<30>Mar  3 07:09:00 up", `1 3.6 Mar  3 07:09:00 ||||||2`, wire.SureMatch},
	{"number for a timestamp", "<189>72: link up and running again", `0 23.5 ||||||29`, wire.WeakMatch},
	{"version 2", "<189>2 2003-10-11T22:14:15Z a b c d -", `0 23.5 ||||||32`, wire.WeakMatch},
	{"nothing behind", "<0>", `0 0.0 ||||||0`, wire.WeakMatch},
}

func show(m *Message) string {
	return fmt.Sprintf("%d %d.%d %s|%s|%s|%s|%s|%s|%d", m.Format, m.Facility, m.Severity, m.Timestamp, m.Hostname, m.AppName, m.ProcID, m.MsgID, m.StructuredData, len(m.Content))
}

func TestParse(t *testing.T) {
	for _, tt := range messages {
		var m Message
		err := m.Parse([]byte(tt.in))
		if got := RecogniseDatagram([]byte(tt.in)); got != tt.match {
			t.Errorf("%s: match %v", tt.where, got)
		}
		if tt.match == wire.NoMatch {
			if err == nil {
				t.Errorf("%s: parsed", tt.where)
			}
			continue
		}
		if err != nil || show(&m) != strings.ReplaceAll(tt.want, "| ", "|") {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.where, err, show(&m), tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("a", 256)
	for _, tt := range []struct {
		name, in, field string
		off             int
		err             error
	}{
		{"nothing", "", "PRI", 0, wire.ErrTruncated},
		{"no priority", "<>1 -", "PRI", 1, wire.ErrInvalid},
		{"zeros", "<007>1 -", "PRI", 1, wire.ErrInvalid},
		{"00", "<00>1 -", "PRI", 1, wire.ErrInvalid},
		{"192", "<192>1 -", "PRI", 1, wire.ErrInvalid},
		{"1000", "<1000>1 -", "PRI", 1, wire.ErrInvalid},
		{"open", "<34", "PRI", 3, wire.ErrTruncated},
		{"letters", "<a>", "PRI", 1, wire.ErrInvalid},
		{"timestamp of another kind", "<0>1 Oct a b c d -", "TIMESTAMP", 5, wire.ErrInvalid},
		{"ends in the header", "<0>1 - a b", "APP-NAME", 10, wire.ErrTruncated},
		{"two spaces", "<0>1 -  a b c -", "HOSTNAME", 7, wire.ErrInvalid},
		{"host too long", "<0>1 - " + long + " b c d -", "HOSTNAME", 7, wire.ErrTooLong},
		{"control character", "<0>1 - a\tb b c d -", "HOSTNAME", 8, wire.ErrInvalid},
		{"no structured data", "<0>1 - a b c d ", "STRUCTURED-DATA", 15, wire.ErrTruncated},
		{"text for structured data", "<0>1 - a b c d text", "STRUCTURED-DATA", 15, wire.ErrInvalid},
		{"text behind nothing", "<0>1 - a b c d -text", "STRUCTURED-DATA", 16, wire.ErrInvalid},
		{"element without name", "<0>1 - a b c d []", "SD-ID", 17, wire.ErrInvalid},
		{"long name", "<0>1 - a b c d [" + long[:33] + "]", "SD-ID", 49, wire.ErrTooLong},
		{"open element", "<0>1 - a b c d [a", "SD-ID", 17, wire.ErrTruncated},
		{"parameter without value", "<0>1 - a b c d [a b]", "PARAM-NAME", 20, wire.ErrInvalid},
		{"value not quoted", "<0>1 - a b c d [a b=c]", "PARAM-VALUE", 20, wire.ErrInvalid},
		{"open value", `<0>1 - a b c d [a b="c\"]`, "PARAM-VALUE", 25, wire.ErrTruncated},
		{"element and text", "<0>1 - a b c d [a]text", "STRUCTURED-DATA", 18, wire.ErrInvalid},
	} {
		var m Message
		err := m.Parse([]byte(tt.in))
		var syntax *wire.SyntaxError
		if !errors.As(err, &syntax) || syntax.Field != tt.field || syntax.Off != tt.off || syntax.Err != tt.err {
			t.Errorf("%s: %v, want %s at %d: %v", tt.name, err, tt.field, tt.off, tt.err)
		}
	}
	var m Message
	if err := m.Parse([]byte("<0>1 - " + long[:255] + " b c d -")); err != nil {
		t.Errorf("longest host: %v", err)
	}
}

func TestParseFrame(t *testing.T) {
	for _, tt := range []struct {
		in, message string
		n           int
	}{
		{"5 <0>ab9 ", "<0>ab", 7},
		{"<0>ab\n<0>", "<0>ab", 6},
		{"<0>ab\r\n", "<0>ab", 7},
		{"<0>ab\x00", "<0>ab", 6},
		{"\n", "", 1},
		{"65536 " + strings.Repeat("a", 65536), strings.Repeat("a", 65536), 65542},
		{strings.Repeat("a", 65536) + "\n", strings.Repeat("a", 65536), 65537},
	} {
		message, n, err := ParseFrame([]byte(tt.in))
		if string(message) != tt.message || n != tt.n || err != nil {
			t.Errorf("%.9q: %d bytes, %d, %v", tt.in, len(message), n, err)
		}
	}
	for _, tt := range []struct {
		in  string
		err error
	}{
		{"", wire.ErrTruncated},
		{"5", wire.ErrTruncated},
		{"5 <0>a", wire.ErrTruncated},
		{"<0>a", wire.ErrTruncated},
		{"65537 ", wire.ErrTooLong},
		{"999999 ", wire.ErrTooLong},
		{"1234567", wire.ErrTooLong},
		{"12a", wire.ErrInvalid},
		{strings.Repeat("a", 65537), wire.ErrTooLong},
	} {
		if _, n, err := ParseFrame([]byte(tt.in)); n != 0 || !errors.Is(err, tt.err) {
			t.Errorf("%.9q: %d, %v", tt.in, n, err)
		}
	}
}

func TestRecognise(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want wire.Match
	}{
		{messages[0].in, wire.SureMatch},
		{"116 " + messages[0].in, wire.SureMatch},
		{"16 <0>1990 Oct and so on and on", wire.SureMatch},
		{"<", wire.NeedMore},
		{"<34", wire.NeedMore},
		{"<34>1", wire.NeedMore},
		{"<34>1 2", wire.NeedMore},
		{"<34>1 20", wire.SureMatch},
		{"1", wire.NeedMore},
		{"116", wire.NeedMore},
		{"116 ", wire.NeedMore},
		{"116 <", wire.NeedMore},
		{"<h", wire.NoMatch},
		{"<html>", wire.NoMatch},
		{"<?xml version", wire.NoMatch},
		{"220 ready", wire.NoMatch},
		{"012 <34>1 2003", wire.NoMatch},
		{"1234567", wire.NoMatch},
		{"12345678 <0>", wire.NoMatch},
		{"<34>\x01\x02\x03\x04", wire.NoMatch},
		{"GET / HTTP/1.1", wire.NoMatch},
		{"SSH-2.0-", wire.NoMatch},
		{"MSH|^~\\&|", wire.NoMatch},
		{"", wire.NoMatch},
		{"<165>words and words and words", wire.WeakMatch},
	} {
		if got := Recognise([]byte(tt.in)); got != tt.want {
			t.Errorf("%.20q: %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	b := []byte(messages[2].in)
	framed := append([]byte("180 "), b...)
	var m Message
	if n := testing.AllocsPerRun(100, func() {
		_ = m.Parse(b)
		RecogniseDatagram(b)
		Recognise(framed)
		Recognise(b[1:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range messages {
		f.Add([]byte(tt.in))
	}
	f.Add([]byte("5 <0>ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		Recognise(b)
		RecogniseDatagram(b)
		var m, again Message
		err, err2 := m.Parse(b), again.Parse(b)
		if (err == nil) != (err2 == nil) || show(&m) != show(&again) {
			t.Fatal("twice the same input, two results")
		}
		total := 0
		for _, s := range [][]byte{m.Timestamp, m.Hostname, m.AppName, m.ProcID, m.MsgID, m.StructuredData, m.Content} {
			if total += len(s); !bytes.Contains(b, s) || cap(s) > len(b) {
				t.Fatal("slice outside the input")
			}
		}
		if total > len(b) {
			t.Fatal("slices longer than the input")
		}
		if message, n, err := ParseFrame(b); err == nil && (n <= len(message) || n > len(b)) {
			t.Fatalf("message of %d bytes in %d", len(message), n)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte(messages[2].in)
	b.SetBytes(int64(len(in)))
	var m Message
	for b.Loop() {
		if err := m.Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
