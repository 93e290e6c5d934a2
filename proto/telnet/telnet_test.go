// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package telnet_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/proto/telnet"
	"github.com/myelin-health/myelin/wire"
)

func ExampleParse() {
	b := []byte("\xff\xfb\x01login: ") // IAC WILL ECHO, and a prompt
	for len(b) > 0 {
		t, n, err := telnet.Parse(b)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %d %q\n", t.Command, t.Option, t.Text)
		b = b[n:]
	}
	// Output:
	// 251 1 ""
	// 0 0 "login: "
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want telnet.Token
		n    int
		err  error
	}{
		{"abc\xff\xfd\x03", telnet.Token{Text: []byte("abc")}, 3, nil},
		{"\xff\xff", telnet.Token{Text: []byte("\xff")}, 2, nil}, // RFC 854: IAC is doubled to be sent as data
		{"\xff\xf1rest", telnet.Token{Command: 241}, 2, nil},
		{"\xff\xfa\x18\x01\xff\xf0rest", telnet.Token{Command: telnet.SB, Option: 24}, 6, nil}, // RFC 1091
		{"\xff\xfa\x18a\xff\xffb\xff\xf0", telnet.Token{Command: telnet.SB, Option: 24}, 9, nil},
		{"", telnet.Token{}, 0, wire.ErrTruncated},
		{"\xff", telnet.Token{}, 0, wire.ErrTruncated},
		{"\xff\xfd", telnet.Token{}, 0, wire.ErrTruncated},
		{"\xff\xfa\x18\x01\xff", telnet.Token{}, 0, wire.ErrTruncated},
		{"\xff\xfa\x18" + strings.Repeat("a", 2000), telnet.Token{}, 0, wire.ErrTooLong},
	} {
		got, n, err := telnet.Parse([]byte(tt.in))
		if !errors.Is(err, tt.err) || err == nil && (n != tt.n || got.Command != tt.want.Command || got.Option != tt.want.Option || !bytes.Equal(got.Text, tt.want.Text)) {
			t.Errorf("%q: %+v, %d, %v", tt.in, got, n, err)
		}
	}
}

func TestClassify(t *testing.T) {
	for in, want := range map[string]telnet.Line{
		"login: ": telnet.Login, "mon-3 login:": telnet.Login, "Username:": telnet.Login, "USER NAME: ": telnet.Login,
		"Password:": telnet.Password, "password: ": telnet.Password, "Password for lea:": telnet.Other,
		"Login incorrect": telnet.Refused, "% Access denied": telnet.Refused, "Invalid password": telnet.Refused,
		"Last login: Tue Mar  3 07:00:00 on ttyp2": telnet.Welcome, "Welcome to mon-3": telnet.Welcome,
		"$ ": telnet.Welcome, "mon-3#": telnet.Welcome, "-> ": telnet.Welcome,
		"": telnet.Other, "   ": telnet.Other, "OpenBSD/i386 (oof) (ttyp2)": telnet.Other,
	} {
		if got := telnet.Classify([]byte(in)); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
	if got := telnet.Classify([]byte(strings.Repeat("x", 10000) + "Password:")); got != telnet.Password {
		t.Error("a prompt at the end of a long line:", got)
	}
}

func TestRecognise(t *testing.T) {
	for in, want := range map[string]wire.Match{
		"": wire.NeedMore, "\xff": wire.NeedMore, "\xff\xfd": wire.NeedMore,
		"\xff\xfd\x03": wire.WeakMatch, "\xff\xfd\x03\xff\xfb\x18": wire.SureMatch, "\xff\xfd\x03text": wire.WeakMatch,
		"mon-3 login: ": wire.WeakMatch,
		"\xff\xd8\xff":  wire.NoMatch, "\xff\xfb\x90\x00": wire.NoMatch, "\xff\xfd\x03\xff\xfd\x99": wire.NoMatch, "hello": wire.NoMatch,
	} {
		if m := telnet.Recognise([]byte(in)); m != want {
			t.Errorf("%q: %v, want %v", in, m, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\xff\xfa\x18\x01\xff\xf0login: "))
	f.Fuzz(func(t *testing.T, b []byte) {
		telnet.Recognise(b)
		telnet.Classify(b)
		for len(b) > 0 {
			tok, n, err := telnet.Parse(b)
			if err != nil {
				return
			}
			if n <= 0 || n > len(b) || len(tok.Text) > n || cap(tok.Text) != len(tok.Text) {
				t.Fatal("no progress, or a slice leaves the input")
			}
			b = b[n:]
		}
	})
}
