// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"math"

	"github.com/myelin-health/myelin/wire"
)

// A Framing says what ends a message.
type Framing uint8

// The framings.
const (
	NoBody     Framing = iota // the head is the message
	Sized                     // Content-Length bytes
	Chunked                   // chunks, then trailers (RFC 9112 section 7.1)
	UntilClose                // everything until the connection closes
	Tunnel                    // no message follows: after CONNECT or an upgrade
)

// A Request is what must be remembered of a request to read its response.
type Request uint8

// The requests whose responses are framed in a way of their own.
const (
	OtherMethod Request = iota
	HEAD
	CONNECT
)

// RequestOf returns what must be remembered of a request.
func RequestOf(h *Head) Request {
	switch string(h.Method) {
	case "HEAD":
		return HEAD
	case "CONNECT":
		return CONNECT
	}
	return OtherMethod
}

// Framing returns what ends the message whose head is h, and its length when
// Sized. to is the request that a response answers. The oddities it meets are
// added to h.Quirks. A request whose end cannot be known is an error; the
// receiver answers 400 and closes (RFC 9112 section 6.3).
func (h *Head) Framing(to Request) (Framing, int64, error) {
	length, codings := int64(-1), 0
	last := false
	for i := range h.n { // fields may be repeated: look at each
		f := h.fields[i]
		name, value := h.b[f.name:f.colon], h.b[f.from:f.to]
		switch len(name) {
		case len("Content-Length"):
			if equalFold(name, "Content-Length") {
				h.length(value, &length)
			}
		case len("Transfer-Encoding"):
			if equalFold(name, "Transfer-Encoding") {
				h.coding(value, &codings, &last)
			}
		}
	}
	if codings > 0 {
		if length >= 0 || h.Quirks&(LengthInvalid|LengthConflict) != 0 {
			h.Quirks |= LengthAndCoding
		}
		if h.Minor == 0 {
			h.Quirks |= CodingInOldVersion
		}
		if !last {
			h.Quirks |= CodingNotFinal
		}
	}

	// RFC 9112 section 6.3: the rules in their order.
	switch {
	case !h.Request && h.Status == 101: // RFC 9110 section 15.2.2
		return Tunnel, 0, nil
	case !h.Request && (to == HEAD || h.Status < 200 || h.Status == 204 || h.Status == 304): // rule 1
		return NoBody, 0, nil
	case !h.Request && to == CONNECT && h.Status < 300: // rule 2
		return Tunnel, 0, nil
	case codings > 0 && last: // rules 3 and 4
		return Chunked, 0, nil
	case codings > 0 && !h.Request: // rule 4
		return UntilClose, 0, nil
	case codings > 0:
		return NoBody, 0, h.syntaxError("Transfer-Encoding")
	case h.Quirks&(LengthInvalid|LengthConflict) != 0: // rule 5
		return NoBody, 0, h.syntaxError("Content-Length")
	case length > 0: // rule 6
		return Sized, length, nil
	case length == 0 || h.Request: // rule 7
		return NoBody, 0, nil
	}
	return UntilClose, 0, nil // rule 8
}

func (h *Head) syntaxError(name string) error {
	for i := range h.n {
		if f := h.fields[i]; equalFold(h.b[f.name:f.colon], name) {
			return &wire.SyntaxError{Proto: "http", Field: name, Off: int(f.from), Err: wire.ErrInvalid}
		}
	}
	return nil
}

// length reads a Content-Length (RFC 9110 section 8.6), which some senders
// repeat as a list of the same number.
func (h *Head) length(value []byte, length *int64) {
	for more := true; more; { // each turn passes a comma
		var one []byte
		one, value, more = bytes.Cut(value, []byte(","))
		n, ok := decimal(trimSpace(one))
		switch {
		case !ok:
			h.Quirks |= LengthInvalid
		case *length >= 0 && *length != n:
			h.Quirks |= LengthConflict
		case *length >= 0:
			h.Quirks |= LengthRepeated
		default:
			*length = n
		}
	}
}

// decimal reads digits and nothing else: a sign or white space inside is how
// two readers come to different lengths.
func decimal(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if !isDigit(c) || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// coding reads a Transfer-Encoding (RFC 9112 section 6.1). last says whether
// chunked is the last coding.
func (h *Head) coding(value []byte, codings *int, last *bool) {
	for more := true; more; { // each turn passes a comma
		var one []byte
		one, value, more = bytes.Cut(value, []byte(","))
		one = mediaType(one)            // without parameters
		if equalFold(one, "identity") { // once meant none (RFC 2616 section 3.6), and receivers still take it so
			h.Quirks |= CodingUnknown
		}
		if len(one) == 0 || equalFold(one, "identity") {
			continue
		}
		*codings++
		if *last { // something after chunked, or chunked twice
			h.Quirks |= CodingNotFinal
		}
		*last = equalFold(one, "chunked")
		if !*last && !equalFold(one, "gzip") && !equalFold(one, "x-gzip") && !equalFold(one, "deflate") && !equalFold(one, "compress") && !equalFold(one, "x-compress") {
			h.Quirks |= CodingUnknown
		}
	}
}

// Bounds of a chunked body. Each chunk costs its reader a line, so the line is
// short; trailers are held to the bound of a head.
const maxChunkLine = 4 << 10

// A Body follows one message body through the pieces in which it arrives. It
// holds a count and a state, never bytes. The zero Body has ended.
type Body struct {
	state    bodyState
	left     int64 // data bytes until the state changes; valid in inSized, inChunk
	trailers int   // bytes of trailers so far
	Quirks   Quirks
}

// ended -> (none)
// inSized -> ended
// inChunkLine -> inChunk -> inChunkEnd -> inChunkLine
// inChunkLine -> inTrailers -> ended
// inRest -> (none)
type bodyState uint8

const (
	ended bodyState = iota
	inSized
	inChunkLine
	inChunk
	inChunkEnd
	inTrailers
	inRest
)

// NewBody returns the reader of a body.
func NewBody(f Framing, length int64) Body {
	switch f {
	case Sized:
		return Body{state: inSized, left: length}
	case Chunked:
		return Body{state: inChunkLine}
	case UntilClose, Tunnel:
		return Body{state: inRest}
	}
	return Body{}
}

// Done reports whether the body has ended.
func (d *Body) Done() bool { return d.state == ended }

// UntilClose reports whether only the end of the connection ends the body.
func (d *Body) UntilClose() bool { return d.state == inRest }

// Next reads on in b and returns the next piece of content, which aliases b,
// and how many bytes of b were taken. Both are nothing when b ends inside a
// chunk's line: hand in the same bytes with more behind them. Call it until
// then, until [Body.Done], or until b is used up.
func (d *Body) Next(b []byte) (data []byte, n int, err error) {
	c := wire.NewCursor("http", b)
	for c.Ok() { // each turn reads a line or ends with data; an end needs b to go on
		switch d.state {
		case ended:
			return nil, c.Off(), nil
		case inSized, inChunk:
			k := int(min(d.left, int64(c.Len())))
			data = c.Bytes("content", k)
			d.Advance(int64(k))
			return data, c.Off(), nil
		case inRest:
			data = c.Rest()
			return data, c.Off(), nil
		}
		at := c.Off()
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			if len(b)-at > maxChunkLine {
				c.FailAt("chunk", at, wire.ErrTooLong)
			}
			break
		}
		line := c.Bytes("chunk", i+1)[:i]
		if i > 0 && line[i-1] == '\r' {
			line = line[:i-1]
		} else {
			d.Quirks |= BareLF
		}
		switch d.state {
		case inChunkLine: // RFC 9112 section 7.1: chunk-size [ chunk-ext ] CRLF
			size, ok := chunkSize(line)
			switch {
			case !ok:
				c.FailAt("chunk-size", at, wire.ErrInvalid)
			case size == 0:
				d.state = inTrailers
			default:
				d.state, d.left = inChunk, size
			}
		case inChunkEnd:
			if len(line) != 0 {
				c.FailAt("chunk-data", at, wire.ErrTrailing)
			}
			d.state = inChunkLine
		case inTrailers: // section 7.1.2; their fields carry nothing we want
			d.trailers += i + 1
			switch {
			case len(line) == 0:
				d.state = ended
			case d.trailers > MaxHeadBytes:
				c.FailAt("trailer-section", at, wire.ErrTooLong)
			}
		}
	}
	return nil, c.Off(), c.Err()
}

// chunkSize reads chunk-size and passes over the extensions (section 7.1.1).
func chunkSize(line []byte) (int64, bool) {
	n, i := int64(0), 0
	for ; i < len(line); i++ {
		v := hexValue(line[i])
		if v < 0 {
			break
		}
		if n > math.MaxInt64>>4 {
			return 0, false
		}
		n = n<<4 | int64(v)
	}
	rest := bytes.TrimLeft(line[i:], " \t") // "bad" white space before an extension
	return n, i > 0 && (len(rest) == 0 || rest[0] == ';')
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case lower(c) >= 'a' && lower(c) <= 'f':
		return int(lower(c)-'a') + 10
	}
	return -1
}

// Ahead is how many bytes of content are known to follow without anything
// between them. Whoever does not want them passes over them with
// [Body.Advance], unseen.
func (d *Body) Ahead() int64 {
	switch d.state {
	case inSized, inChunk:
		return d.left
	case inRest:
		return math.MaxInt64
	}
	return 0
}

// Advance says that n bytes of content, at most [Body.Ahead], went by.
func (d *Body) Advance(n int64) {
	switch d.state {
	case inSized:
		if d.left -= n; d.left == 0 {
			d.state = ended
		}
	case inChunk:
		if d.left -= n; d.left == 0 {
			d.state = inChunkEnd
		}
	}
}
