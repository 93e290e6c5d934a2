// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// Messages yields the messages of a block, for [Parse]: the block itself, or
// those of a batch, without the segments around them (v2.7 section 2.10.3:
// [FHS] {[BHS] {MSH ...} [BTS]} [FTS]). A block that begins like neither is
// yielded whole, so that Parse can say what is wrong with it.
func Messages(block []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !boundary(block) || block[0] == 'M' && !bytes.Contains(block[1:], []byte("MSH")) {
			yield(block[:len(block):len(block)])
			return
		}
		start := -1 // of the message in hand
		for off := 0; off < len(block); {
			if b := block[off:]; boundary(b) {
				if start >= 0 && start < off && !yield(block[start:off:off]) {
					return
				}
				if start = -1; b[0] == 'M' {
					start = off
				}
			}
			off += nextLine(block[off:])
		}
		if start >= 0 && start < len(block) {
			yield(block[start:len(block):len(block)])
		}
	}
}

// boundary reports whether a segment that begins or ends a message or a batch
// begins at b.
func boundary(b []byte) bool {
	if len(b) < 3 || len(b) > 3 && b[3] != carriageReturn && b[3] != '\n' && !delimiter(b[3]) {
		return false
	}
	switch id := b[:3]; id[0] {
	case 'M':
		return string(id) == "MSH"
	case 'B':
		return string(id) == "BHS" || string(id) == "BTS"
	case 'F':
		return string(id) == "FHS" || string(id) == "FTS"
	}
	return false
}

// nextLine returns how far the next line of b is.
func nextLine(b []byte) int {
	for i, c := range b {
		if c == carriageReturn || c == '\n' {
			return i + 1
		}
	}
	return len(b)
}

// A Batch is what the headers and trailers of a batch say.
type Batch struct {
	File     Segment // FHS, or the zero Segment
	Header   Segment // the first BHS, or the zero Segment
	Messages int     // how many there are
	Declared int     // the sum of BTS-1; -1 when no trailer counts
	Quirks   Quirks
}

// ParseBatch reads the headers and trailers of a batch; its messages are for
// [Messages] to find. It fails when the block begins with no batch header.
func ParseBatch(block []byte) (batch Batch, err error) {
	batch.Declared = -1
	if !header(block[:min(3, len(block))]) || block[0] == 'M' {
		return batch, fail("BHS", 0, wire.ErrInvalid)
	}
	m, err := Parse(block)
	if err != nil {
		return batch, err
	}
	batch.Quirks = m.Quirks
	files := -1 // FTS-1
	batches := 0
	for s := range m.Segments() {
		switch string(s.ID()) {
		case "FHS":
			batch.File = s
		case "BHS":
			if batches++; batches == 1 {
				batch.Header = s
			}
		case "MSH":
			batch.Messages++
		case "BTS":
			if n, ok := s.Field(1).number(); ok { // section 2.14.3.1
				batch.Declared = max(batch.Declared, 0) + n
			}
		case "FTS":
			if n, ok := s.Field(1).number(); ok { // section 2.14.7.1
				files = n
			}
		}
	}
	if batch.Declared >= 0 && batch.Declared != batch.Messages || files >= 0 && files != batches {
		batch.Quirks |= BatchCount
	}
	return batch, nil
}

// number reads v as a whole number below a million.
func (v Value) number() (n int, ok bool) {
	if len(v.b) == 0 || len(v.b) > 6 {
		return 0, false
	}
	for _, c := range v.b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// Continued returns the continuation pointer, DSC-1, of a message that goes on
// in another (v2.7 section 2.10.2), or an empty value. A response that waits
// to be asked for more (DSC-2 is I) is whole.
func (m *Message) Continued() Value {
	dsc := m.Segment("DSC")
	if dsc.Field(2).Is("I") {
		return Value{}
	}
	return dsc.Field(1)
}

// Join appends first and next as one message, when next goes on where first
// ends: the segments of next after MSH follow those of first before DSC, and
// an ADD segment ends the segment that was cut in two (v2.7 section 2.10.2).
// The result has first's MSH; it goes on itself if next does.
func Join(dst []byte, first, next *Message) ([]byte, error) {
	pointer, header := first.Continued(), next.Segment("MSH")
	if pointer.IsEmpty() {
		return dst, fail("DSC-1 Continuation Pointer", len(first.b), wire.ErrInvalid)
	}
	if !bytes.Equal(pointer.b, header.Field(14).b) {
		return dst, fail("MSH-14 Continuation Pointer", header.off, wire.ErrInvalid)
	}
	if first.Delimiters != next.Delimiters {
		return dst, fail("MSH-2 Encoding Characters", header.off, wire.ErrInvalid)
	}
	if len(first.b)+len(next.b) > MaxMessage {
		return dst, fail("MSH", MaxMessage-len(first.b), wire.ErrTooLong)
	}
	start := len(dst)
	for s := range first.Segments() {
		switch string(s.ID()) {
		case "DSC":
		case "ADD": // without fields it says that the segment before it was cut
			if len(s.b) <= 4 {
				continue
			}
			fallthrough
		default:
			dst = append(append(dst, s.b...), carriageReturn)
		}
	}
	i := 0
	for s := range next.Segments() {
		switch id := s.ID(); {
		case i == 0: // MSH
		case i == 1 && string(id) == "ADD" && len(dst) > start:
			dst = dst[:len(dst)-1] // the CR of the segment that was cut
			dst = append(append(dst, s.b[min(4, len(s.b)):]...), carriageReturn)
		default:
			dst = append(append(dst, s.b...), carriageReturn)
		}
		i++
	}
	return dst, nil
}
