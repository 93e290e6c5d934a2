// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ftp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/proto/ftp"
	"github.com/myelin-health/myelin/wire"
)

func ExampleParseCommand() {
	c, n, err := ftp.ParseCommand([]byte("retr results.txt\r\n"))
	fmt.Printf("%v %s %d %v\n", c.Is("RETR"), c.Argument, n, err)
	// Output: true results.txt 18 <nil>
}

func ExampleParseReply() {
	r, _, err := ftp.ParseReply([]byte("230 Login successful.\r\n"))
	fmt.Printf("%d %v %s %v\n", r.Code, r.Last, r.Text, err)
	// Output: 230 true Login successful. <nil>
}

func TestCommand(t *testing.T) {
	for in, want := range map[string]error{
		"PASV\r\n": nil, "CWD /\n": nil, "PWD\r\n": nil, "\xff\xf4\xff\xf2ABOR\r\n": nil, // RFC 959 section 4.1.3
		"PASV": wire.ErrTruncated, "": wire.ErrTruncated,
		"\r\n": wire.ErrInvalid, "AB\r\n": wire.ErrInvalid, "LONGER x\r\n": wire.ErrInvalid,
		strings.Repeat("A", 4096) + "\r\n": wire.ErrTooLong,
	} {
		if _, _, err := ftp.ParseCommand([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", in, err)
		}
	}
}

func TestReply(t *testing.T) {
	// The reply of several lines of RFC 959 section 4.2.
	in := "123-First line\r\nSecond line\r\n  234 A line beginning with numbers\r\n123 The last line\r\n"
	want := []ftp.Reply{{Code: 123}, {}, {}, {Code: 123, Last: true}}
	for i := 0; len(in) > 0; i++ {
		r, n, err := ftp.ParseReply([]byte(in))
		if err != nil || r.Code != want[i].Code || r.Last != want[i].Last {
			t.Errorf("line %d: %+v, %v", i, r, err)
		}
		in = in[n:]
	}
	for in, code := range map[string]int{"331\r\n": 331, "031 x\r\n": 0, "731 x\r\n": 0, "33 x\r\n": 0, "3a1 x\r\n": 0, "\r\n": 0, "2301x\r\n": 0} {
		if r, _, err := ftp.ParseReply([]byte(in)); err != nil || r.Code != code {
			t.Errorf("%q: %+v, %v", in, r, err)
		}
	}
	if _, _, err := ftp.ParseReply([]byte("220 no end")); !errors.Is(err, wire.ErrTruncated) {
		t.Error(err)
	}
}

func TestSystem(t *testing.T) {
	for in, want := range map[string]string{
		"lab FTP server (VxWorks 5.4.2) ready.":                  "VxWorks 5.4.2",
		"FTP server (Version 6.4/OpenBSD/Linux-ftpd-0.17) ready": "Linux",
		"UNIX Type: L8":         "Unix",
		"Windows_NT":            "Windows",
		"Microsoft FTP Service": "Windows",
		"(vsFTPd 3.0.3)":        "",
		"":                      "",
	} {
		os, version := ftp.System([]byte(in))
		if got := strings.TrimSpace(os + " " + string(version)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestRecognise(t *testing.T) {
	for in, want := range map[string]wire.Match{
		"": wire.NeedMore, "22": wire.NeedMore, "USE": wire.NeedMore,
		"220 lab-1 FTP server ready\r\n": wire.SureMatch, "220-(vsFTPd 3.0.3)\r\n": wire.SureMatch,
		"220 ready\r\n": wire.WeakMatch, "USER lea\r\n": wire.WeakMatch, "AUTH TLS\r\n": wire.WeakMatch,
		"220 mail.example ESMTP\r\n": wire.NoMatch, "220x": wire.NoMatch, "\x00\x00": wire.NoMatch, "GET / HTTP/1.1": wire.NoMatch,
	} {
		if m := ftp.Recognise([]byte(in)); m != want {
			t.Errorf("%q: %v, want %v", in, m, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("USER lea\r\n"))
	f.Add([]byte("220-a\r\n220 b (VxWorks 5.4.2)\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ftp.Recognise(b)
		if c, n, err := ftp.ParseCommand(b); err == nil && (n <= 0 || n > len(b) || len(c.Verb)+len(c.Argument) > n) {
			t.Fatal("a slice leaves the input")
		}
		if r, n, err := ftp.ParseReply(b); err == nil {
			if n <= 0 || n > len(b) || len(r.Text) > n || r.Code != 0 && (r.Code < 100 || r.Code > 699) {
				t.Fatal("a slice leaves the input, or a code that is none")
			}
			ftp.System(r.Text)
		}
	})
}
