// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// Preface is what a client that knows that the server speaks HTTP/2 sends
// first (RFC 9113 section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// methods are those of RFC 9110 section 9.3, RFC 5789, WebDAV (RFC 4918, 3253,
// 3744, 5323) and UPnP eventing. Others are recognised by the rest of their line.
var methods = [...]string{
	"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
	"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT",
	"SEARCH", "ACL", "SUBSCRIBE", "UNSUBSCRIBE", "NOTIFY", "M-SEARCH",
}

// maxLook is how many bytes Recognise looks at.
const maxLook = 256

// Recognise says whether b begins with a request line, a status line or the
// preface of HTTP/2.
func Recognise(b []byte) wire.Match {
	if len(b) > maxLook {
		b = b[:maxLook]
	}
	for n := 0; n < 2 && len(b) > 1 && b[0] == '\r' && b[1] == '\n'; n++ { // RFC 9112 section 2.2
		b = b[2:]
	}
	if len(b) == 0 {
		return wire.NeedMore
	}
	if b[0] == 'H' && b[min(1, len(b)-1)] != 'E' {
		return status(b)
	}
	return request(b)
}

// status matches "HTTP/1.x nnn".
func status(b []byte) wire.Match {
	const pattern = "HTTP/1.d ddd"
	for i := range min(len(b), len(pattern)) {
		if c := pattern[i]; c == 'd' && !isDigit(b[i]) || c != 'd' && b[i] != c {
			return wire.NoMatch
		}
	}
	if len(b) < len(pattern) {
		return wire.NeedMore
	}
	return wire.SureMatch
}

func request(b []byte) wire.Match {
	sp := bytes.IndexByte(b, ' ')
	if sp < 0 {
		// Only the beginning of a method that we know is worth waiting for.
		for _, m := range &methods {
			if len(b) <= len(m) && m[:len(b)] == string(b) {
				return wire.NeedMore
			}
		}
		if len(b) < 4 && Preface[:len(b)] == string(b) {
			return wire.NeedMore
		}
		return wire.NoMatch
	}
	method := b[:sp]
	if len(method) > 20 || !isToken(method) {
		return wire.NoMatch
	}
	known := false
	for _, m := range &methods {
		known = known || string(method) == m
	}
	rest := b[sp+1:]
	if nl := bytes.IndexByte(rest, '\n'); nl >= 0 {
		line := bytes.TrimSuffix(rest[:nl], []byte("\r"))
		i := bytes.LastIndexByte(line, ' ')
		switch {
		case i > 0 && (bytes.HasPrefix(line[i+1:], []byte("HTTP/1.")) || string(line[i+1:]) == "HTTP/2.0" && string(method) == "PRI"):
			return wire.SureMatch
		case known && i < 0 && len(line) > 0 && line[0] == '/': // HTTP/0.9
			return wire.WeakMatch
		}
		return wire.NoMatch
	}
	for _, c := range rest {
		if c < ' ' && c != '\t' && c != '\r' || c == 0x7f {
			return wire.NoMatch
		}
	}
	switch {
	case !known && string(method) != "PRI":
		return wire.NoMatch // whole request lines only
	case len(b) < maxLook:
		return wire.NeedMore
	case rest[0] == '/' || bytes.HasPrefix(rest, []byte("http")):
		return wire.SureMatch
	}
	return wire.NoMatch
}
