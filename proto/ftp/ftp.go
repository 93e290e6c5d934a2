// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ftp reads the control connection of FTP (RFC 959, and RFC 2228 and
// RFC 4217 for AUTH TLS): commands and replies, and what a server says to be.
//
// It leaves out the data connections: PORT, PASV, EPRT and EPSV name them, and
// are commands like others here.
//
// This API is stable.
package ftp

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// maxLine bounds a line. RFC 959 sets none; servers take 512 to 4,096 bytes.
const maxLine = 4096

// line reads one line and returns it without its end, and its length with it.
func line(b []byte) ([]byte, int, error) {
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	if end < 0 {
		err := wire.ErrTruncated
		if len(b) >= maxLine {
			err = wire.ErrTooLong
		}
		return nil, 0, &wire.SyntaxError{Proto: "ftp", Field: "line", Off: len(b), Err: err}
	}
	n := end + 1
	if end > 0 && b[end-1] == '\r' {
		end--
	}
	return b[:end:end], n, nil
}

// A Command is one line of the client (RFC 959 section 5.3). Its slices alias the input.
type Command struct {
	Verb     []byte // as sent; compare with [Command.Is]
	Argument []byte
}

// ParseCommand reads one line of the client and returns how many bytes it took.
func ParseCommand(b []byte) (c Command, n int, err error) {
	l, n, err := line(b)
	if err != nil {
		return c, 0, err
	}
	for len(l) > 0 && l[0] >= 0x80 { // RFC 959 section 4.1.3: ABOR comes behind Telnet commands
		l = l[1:]
	}
	c.Verb, c.Argument, _ = bytes.Cut(l, []byte(" "))
	if len(c.Verb) < 3 || len(c.Verb) > 4 { // RFC 959 section 5.3: four letters or fewer
		return c, n, &wire.SyntaxError{Proto: "ftp", Field: "command", Off: 0, Err: wire.ErrInvalid}
	}
	return c, n, nil
}

// Is reports whether the command is verb, in either case.
func (c *Command) Is(verb string) bool { return bytes.EqualFold(c.Verb, []byte(verb)) }

// A Reply is one line of a reply (RFC 959 section 4.2). Text aliases the input.
type Reply struct {
	Code int  // 0: an inner line of a reply of several lines
	Last bool // the last or only line
	Text []byte
}

// ParseReply reads one line of the server and returns how many bytes it took.
func ParseReply(b []byte) (r Reply, n int, err error) {
	l, n, err := line(b)
	if err != nil {
		return r, 0, err
	}
	r.Text = l
	if len(l) >= 4 && digits(l[:3]) && (l[3] == ' ' || l[3] == '-') {
		r.Code, r.Last, r.Text = code(l), l[3] == ' ', l[4:]
	} else if len(l) == 3 && digits(l) {
		r.Code, r.Last, r.Text = code(l), true, l[3:]
	}
	return r, n, nil
}

func code(b []byte) int { return int(b[0]-'0')*100 + int(b[1]-'0')*10 + int(b[2]-'0') }

func digits(b []byte) bool {
	for _, d := range b {
		if d < '0' || d > '9' {
			return false
		}
	}
	return b[0] >= '1' && b[0] <= '6'
}

// systems are words of greetings (220) and of answers to SYST (215), with the
// operating system that they tell of. A word that ends in a space is followed by a version.
var systems = []struct{ Word, OS string }{
	{"VxWorks ", "VxWorks"},
	{"VxWorks", "VxWorks"},
	{"Nucleus FTP", "Nucleus RTOS"},
	{"QNX", "QNX"},
	{"NET+OS", "NET+OS"},
	{"Windows_CE", "Windows CE"},
	{"Windows CE", "Windows CE"},
	{"Windows_NT", "Windows"},
	{"Microsoft FTP Service", "Windows"},
	{"Linux", "Linux"}, // before OpenBSD: "OpenBSD/Linux-ftpd" is OpenBSD's server on Linux
	{"OpenBSD", "OpenBSD"},
	{"FreeBSD", "FreeBSD"},
	{"UNIX", "Unix"},
}

// System names the operating system that a greeting or an answer to SYST tells
// of, and its version when that follows; os is "" when none is known. version
// aliases text.
func System(text []byte) (os string, version []byte) {
	for _, s := range systems {
		i := bytes.Index(text, []byte(s.Word))
		if i < 0 {
			continue
		}
		rest := text[i+len(s.Word):]
		n := 0
		for n < len(rest) && s.Word[len(s.Word)-1] == ' ' && (rest[n] == '.' || rest[n] >= '0' && rest[n] <= '9') {
			n++
		}
		return s.OS, rest[:n:n]
	}
	return "", nil
}

// Recognise says how well b, the first bytes of one side, fit a greeting or the
// first command.
func Recognise(b []byte) wire.Match {
	if len(b) < 4 {
		for i, d := range b {
			if i == 0 && d != '2' && d != 'U' && d != 'A' || i > 0 && (d < '0' || d > 'Z') {
				return wire.NoMatch
			}
		}
		return wire.NeedMore
	}
	b = b[:min(len(b), 256)]
	switch {
	case (b[3] == ' ' || b[3] == '-') && string(b[:3]) == "220":
		switch {
		case contains(b, "smtp"), contains(b, "mail"):
			return wire.NoMatch // RFC 5321 section 4.2 greets with 220 too
		case contains(b, "ftp"):
			return wire.SureMatch
		}
		return wire.WeakMatch
	case bytes.HasPrefix(b, []byte("USER ")):
		return wire.WeakMatch // POP3 (RFC 1939) begins so too
	case bytes.HasPrefix(b, []byte("AUTH TLS\r")):
		return wire.WeakMatch
	}
	return wire.NoMatch
}

// contains looks for a word in lower case, whatever the case in b.
func contains(b []byte, word string) bool {
	for i := 0; i+len(word) <= len(b); i++ {
		n := 0
		for n < len(word) && b[i+n]|0x20 == word[n] {
			n++
		}
		if n == len(word) {
			return true
		}
	}
	return false
}
