// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package telnet splits a Telnet stream into commands and text (RFC 854, RFC
// 855), and tells prompts and answers of a login apart in the text of a server.
//
// It leaves out the meaning of options: none of those in use encrypts. What a
// server prints at a login is in no standard; [Classify] knows the words of
// common systems and no more.
//
// This API is stable.
package telnet

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// The commands told apart here (RFC 854, "TELNET COMMAND STRUCTURE").
const (
	SE   = 240
	SB   = 250
	WILL = 251
	WONT = 252
	DO   = 253
	DONT = 254
	IAC  = 255
)

// maxSub bounds a subnegotiation. The longest in use, environments (RFC 1572),
// have some hundred bytes.
const maxSub = 1024

// A Token is a run of text, or one command.
type Token struct {
	Text    []byte // aliases the input; nil of a command
	Command uint8
	Option  uint8 // of WILL, WONT, DO, DONT and SB
}

// Parse reads one token from the front of b and returns how many bytes it took.
// Text ends where a command begins or b ends. A doubled IAC is text.
func Parse(b []byte) (t Token, n int, err error) {
	if i := bytes.IndexByte(b, IAC); i > 0 {
		return Token{Text: b[:i:i]}, i, nil
	} else if i < 0 && len(b) > 0 {
		return Token{Text: b[:len(b):len(b)]}, len(b), nil
	}
	c := wire.NewCursor("telnet", b)
	c.Skip("IAC", 1)
	t.Command = c.Uint8("command")
	switch t.Command {
	case IAC:
		return Token{Text: b[1:2:2]}, 2, nil
	case WILL, WONT, DO, DONT:
		t.Option = c.Uint8("option")
	case SB:
		t.Option = c.Uint8("option")
		for c.Ok() { // ends: every turn reads at least one byte, and at most maxSub of them
			if c.Off() > maxSub {
				c.Fail("subnegotiation", wire.ErrTooLong)
				break
			}
			if c.Uint8("subnegotiation") == IAC && c.Uint8("subnegotiation") == SE {
				break
			}
		}
	}
	return t, c.Off(), c.Err()
}

// A Line is what a piece of the server's text means at a login.
type Line uint8

// The meanings.
const (
	Other    Line = iota
	Login         // asks for a name
	Password      // asks for a password
	Refused       // says that the login failed
	Welcome       // says that the login succeeded, or shows a shell's prompt
)

// Classify says what the server's last line means. It is the text since the
// last line break, without control characters.
func Classify(line []byte) Line {
	var lower [maxLine]byte
	trimmed := bytes.TrimRight(lower[:fold(lower[:], line)], " \t")
	switch {
	case hasAny(trimmed, "incorrect", "login failed", "failed", "denied", "invalid", "bad password", "wrong password", "failure"):
		return Refused
	case endsIn(trimmed, "last login", "welcome", "logged in", "login successful"), hasAny(trimmed, "last login:", "welcome to", "logged in", "login successful"):
		return Welcome
	case endsIn(trimmed, "password:", "passwd:", "passcode:", "password :", "password?"):
		return Password
	case endsIn(trimmed, "login:", "username:", "user name:", "user:", "login as:", "login :", "userid:"):
		return Login
	case len(trimmed) > 0 && bytes.IndexByte([]byte("$#>%"), trimmed[len(trimmed)-1]) >= 0:
		return Welcome
	}
	return Other
}

// maxLine bounds the text that is looked at: a prompt stands at its end.
const maxLine = 160

// fold copies the end of line, as far as there is room, with its letters in
// lower case: once, so that looking for words costs no more than comparing.
func fold(lower, line []byte) int {
	n := copy(lower, line[max(0, len(line)-len(lower)):])
	for i, c := range lower[:n] {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return n
}

func endsIn(lower []byte, words ...string) bool {
	for _, w := range words {
		if len(lower) >= len(w) && string(lower[len(lower)-len(w):]) == w {
			return true
		}
	}
	return false
}

func hasAny(lower []byte, words ...string) bool {
	for _, w := range words {
		if bytes.Contains(lower, []byte(w)) {
			return true
		}
	}
	return false
}

// maxOption is the last option that IANA has assigned in sequence (RFC 855's registry).
const maxOption = 49

// Recognise says how well b, the first bytes of one side, fit negotiation of
// options, or a prompt.
func Recognise(b []byte) wire.Match {
	if len(b) > 0 && b[0] != IAC {
		var lower [maxLine]byte
		if hasAny(lower[:fold(lower[:], b[:min(len(b), maxLine)])], "login:", "username:", "password:") {
			return wire.WeakMatch
		}
		return wire.NoMatch
	}
	n := 0
	for n < 2 && len(b) >= 3 && b[0] == IAC {
		if b[1] < WILL || b[1] > DONT || b[2] > maxOption {
			return wire.NoMatch
		}
		n, b = n+1, b[3:]
	}
	switch {
	case n == 2:
		return wire.SureMatch
	case n == 1:
		return wire.WeakMatch
	case len(b) >= 2 && (b[1] < WILL || b[1] > DONT):
		return wire.NoMatch
	}
	return wire.NeedMore
}
