// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package syslog

import "github.com/myelin-health/myelin/wire"

// Bounds of recognition in bytes.
const (
	enough = 24 // that a priority and a timestamp fit into
	look   = 64 // that are looked through for what is not text
)

// RecogniseDatagram says how well b, a whole datagram, fits syslog. A priority
// and a timestamp are sure; a priority and text are weak.
func RecogniseDatagram(b []byte) wire.Match { return recognise(b, true) }

// Recognise says how well b, the first bytes that one side sent, fits syslog
// over TCP: a message, or its length and the message.
func Recognise(b []byte) wire.Match {
	n := 0
	for n < len(b) && n <= maxCount && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	switch {
	case n == 0:
	case n > maxCount || b[0] == '0' || n < len(b) && b[n] != ' ':
		return wire.NoMatch
	case n+1 >= len(b):
		return wire.NeedMore
	default:
		m := recognise(b[n+1:], false)
		if m == wire.WeakMatch {
			m = wire.SureMatch // a count besides
		}
		return m
	}
	return recognise(b, false)
}

func recognise(b []byte, whole bool) wire.Match {
	c := wire.NewCursor(name, b)
	priority(&c)
	if !c.Ok() {
		if !whole && len(b) < len("<191>") && prefix(b) {
			return wire.NeedMore
		}
		return wire.NoMatch
	}
	rest := c.Rest()
	for _, x := range rest[:min(len(rest), look)] {
		if x < ' ' && x != '\n' && x != '\t' && x != '\r' && x != 0 || x == 0x7f {
			return wire.NoMatch
		}
	}
	switch {
	case timestamp(rest) > 0:
		return wire.SureMatch
	case len(rest) > 3 && rest[0] == '1' && rest[1] == ' ' && (rest[2] == '-' && rest[3] == ' ' || '1' <= rest[2] && rest[2] <= '2' && digit(rest[3])):
		return wire.SureMatch
	case !whole && len(b) < enough:
		return wire.NeedMore
	}
	return wire.WeakMatch
}

func digit(x byte) bool { return '0' <= x && x <= '9' }

// prefix reports whether b may be the front of a priority.
func prefix(b []byte) bool {
	for i, x := range b {
		if i == 0 && x != '<' || i > 0 && !digit(x) {
			return false
		}
	}
	return len(b) > 0
}
