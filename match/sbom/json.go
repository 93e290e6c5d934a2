// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds. An SBOM of 100,000 components has about 60 MB of text, 200 MB when
// every one carries a dozen addresses; an embedded licence text or certificate a
// few hundred kilobytes. A component takes 300 bytes however little is said of
// it, a name 100 and a dependency 16: a hostile document within these bounds
// costs a few hundred megabytes.
const (
	maxDocument   = 512 << 20 // bytes
	maxToken      = 16 << 20  // bytes of one string, tag or line
	maxDepth      = 128       // objects, arrays, elements in each other
	maxComponents = 300_000   // in a document
	maxNames      = 2_000_000 // bom-refs and identifiers in a document
	maxEdges      = 8_000_000 // statements of dependency in a document
	maxAuthors    = 1000
	firstWindow   = 32 << 10 // bytes read at once
)

var (
	errTruncated = errors.New("the document ends here")
	errSize      = errors.New("longer than what is read")
	errDepth     = errors.New("nested too deeply")
	errSyntax    = errors.New("not well-formed")
	errUTF8      = errors.New("not UTF-8")
	errDuplicate = errors.New("said twice")
)

// A window is the part of the document that is looked at: buf[pos:end]. Slices
// of it are valid until the next call of more.
type window struct {
	r    io.Reader
	buf  []byte
	pos  int
	end  int
	base int64 // of buf[0] in the document
	err  error // why there is no more
}

// offset is where the window stands in the document.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// more reads on, keeping buf[pos:end], which then begins at 0. It reports
// whether there is at least one more byte; if not, err says why.
func (w *window) more() bool {
	if w.err != nil {
		return false
	}
	if w.pos > 0 {
		copy(w.buf, w.buf[w.pos:w.end])
		w.base += int64(w.pos)
		w.end -= w.pos
		w.pos = 0
	}
	if w.end == len(w.buf) {
		if len(w.buf) >= maxToken {
			w.err = errSize
			return false
		}
		w.buf = append(w.buf, make([]byte, max(firstWindow, len(w.buf)))...)
	}
	for range 100 { // empty reads; io.Reader discourages them
		n, err := w.r.Read(w.buf[w.end:])
		if n < 0 || n > len(w.buf)-w.end {
			w.err = errors.New("a reader that counts wrongly")
			return false
		}
		w.end += n
		if w.base+int64(w.end) > maxDocument {
			w.err = errSize
			return false
		}
		if err != nil {
			w.err = err // after these bytes
		}
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	w.err = io.ErrNoProgress
	return false
}

// why is the error of a document that ends too early.
func (w *window) why() error {
	if w.err == nil || errors.Is(w.err, io.EOF) {
		return errTruncated
	}
	return w.err
}

// space skips white space and returns the byte after it, which it leaves, or 0
// at the end.
func (w *window) space() byte {
	for {
		for w.pos < w.end {
			switch c := w.buf[w.pos]; c {
			case ' ', '\n', '\r', '\t':
				w.pos++
			default:
				return c
			}
		}
		if !w.more() {
			return 0
		}
	}
}

// A jsonScanner reads RFC 8259 texts from a window.
type jsonScanner struct {
	window
	esc []byte // the last string that had escapes
}

// special finds the first quotation mark, backslash or control character in b,
// or len(b). high is set when a byte before it is not ASCII.
func special(b []byte) (n int, high bool) {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	var seen uint64
	for len(b)-n >= 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		q, s := x^(ones*'"'), x^(ones*'\\')
		// The usual tests for a zero byte and for one below 0x20, in eight at once;
		// the lowest bit set is right even though higher ones may not be.
		hit := ((q-ones)&^q | (s-ones)&^s | (x-ones*0x20)&^x) & highs
		if hit != 0 {
			k := bits.TrailingZeros64(hit) &^ 7
			seen |= x & (1<<k - 1)
			return n + k/8, seen&highs != 0
		}
		seen |= x
		n += 8
	}
	high = seen&highs != 0
	for ; n < len(b); n++ {
		switch c := b[n]; {
		case c == '"' || c == '\\' || c < 0x20:
			return n, high
		case c >= 0x80:
			high = true
		}
	}
	return n, high
}

// text reads a string; the window stands at its quotation mark. The slice is
// valid until the next call.
func (j *jsonScanner) text() ([]byte, error) {
	n, high := 1, false
	for {
		k, h := special(j.buf[j.pos+n : j.end])
		n, high = n+k, high || h
		if j.pos+n < j.end {
			break
		}
		if !j.more() {
			return nil, j.why()
		}
	}
	switch j.buf[j.pos+n] {
	case '"':
		s := j.buf[j.pos+1 : j.pos+n]
		j.pos += n + 1
		if high && !utf8.Valid(s) {
			return nil, errUTF8
		}
		return s, nil
	case '\\':
		return j.escaped(n)
	}
	return nil, errSyntax // a control character
}

// escaped goes on with a string whose first n bytes, the quotation mark
// included, are plain.
func (j *jsonScanner) escaped(n int) ([]byte, error) {
	j.esc = append(j.esc[:0], j.buf[j.pos+1:j.pos+n]...)
	j.pos += n
	for {
		if len(j.esc) > maxToken {
			return nil, errSize
		}
		k, _ := special(j.buf[j.pos:j.end])
		j.esc = append(j.esc, j.buf[j.pos:j.pos+k]...)
		j.pos += k
		if j.pos == j.end {
			if !j.more() {
				return nil, j.why()
			}
			continue
		}
		switch j.buf[j.pos] {
		case '"':
			j.pos++
			if !utf8.Valid(j.esc) {
				return nil, errUTF8
			}
			return j.esc, nil
		case '\\':
			if !j.have(2) {
				return nil, j.why()
			}
			c := j.buf[j.pos+1]
			if c == 'u' {
				r, ok := j.hex4()
				if !ok {
					return nil, errSyntax
				}
				if utf16.IsSurrogate(r) {
					if !j.have(2) || j.buf[j.pos] != '\\' || j.buf[j.pos+1] != 'u' {
						return nil, errUTF8
					}
					low, ok := j.hex4()
					if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
						return nil, errUTF8
					}
				}
				j.esc = utf8.AppendRune(j.esc, r)
				continue
			}
			i := bytes.IndexByte([]byte(`"\/bfnrt`), c)
			if i < 0 {
				return nil, errSyntax
			}
			j.esc = append(j.esc, "\"\\/\b\f\n\r\t"[i])
			j.pos += 2
		default:
			return nil, errSyntax
		}
	}
}

// have makes sure of n bytes in the window.
func (w *window) have(n int) bool {
	for w.end-w.pos < n {
		if !w.more() {
			return false
		}
	}
	return true
}

// hex4 reads the escape \uXXXX, at whose backslash the window stands.
func (j *jsonScanner) hex4() (rune, bool) {
	if !j.have(6) {
		return 0, false
	}
	var r rune
	for _, c := range j.buf[j.pos+2 : j.pos+6] {
		d, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	j.pos += 6
	return r, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// word reads a number, true, false or null, and returns it as written.
func (j *jsonScanner) word() ([]byte, error) {
	n := 0
	for {
		for j.pos+n < j.end {
			c := j.buf[j.pos+n]
			if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E' {
				n++
				continue
			}
			v := j.buf[j.pos : j.pos+n]
			j.pos += n
			if !isWord(v) {
				return nil, errSyntax
			}
			return v, nil
		}
		if n > 64 || !j.more() {
			if n == 0 {
				return nil, j.why()
			}
			return nil, errSyntax
		}
	}
}

// isWord reports whether v is a number or a literal of RFC 8259 §3 and §6.
func isWord(v []byte) bool {
	switch string(v) {
	case "true", "false", "null":
		return true
	}
	digits := func() (n int) {
		for len(v) > 0 && '0' <= v[0] && v[0] <= '9' {
			v, n = v[1:], n+1
		}
		return n
	}
	if len(v) > 0 && v[0] == '-' {
		v = v[1:]
	}
	zero := len(v) > 0 && v[0] == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		return false
	}
	if len(v) > 0 && v[0] == '.' {
		if v = v[1:]; digits() == 0 {
			return false
		}
	}
	if len(v) > 0 && v[0]|0x20 == 'e' {
		v = v[1:]
		if len(v) > 0 && (v[0] == '+' || v[0] == '-') {
			v = v[1:]
		}
		if digits() == 0 {
			return false
		}
	}
	return len(v) == 0
}

// key reads the name of a member.
func (j *jsonScanner) key() ([]byte, error) {
	switch j.space() {
	case '"':
		return j.text()
	case 0:
		return nil, j.why()
	}
	return nil, errSyntax
}

// take skips white space and the byte c.
func (j *jsonScanner) take(c byte) error {
	switch j.space() {
	case c:
		j.pos++
		return nil
	case 0:
		return j.why()
	}
	return errSyntax
}

// next goes from one member or element to the next: it is called before each
// and answers false at the closing byte, which it takes.
func (j *jsonScanner) next(first bool, closing byte) (bool, error) {
	c := j.space()
	switch {
	case j.pos == j.end:
		return false, j.why()
	case c == closing:
		j.pos++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		j.pos++
		if j.space() == closing {
			return false, errSyntax
		}
		return true, nil
	}
	return false, errSyntax
}

// skip reads one value, at whose first byte the window stands, and drops it.
func (j *jsonScanner) skip(depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch c := j.space(); c {
	case '"':
		_, err := j.text()
		return err
	case '{', '[':
		j.pos++
		for first := true; ; first = false {
			ok, err := j.next(first, c+2) // ASCII: '{' + 2 = '}', '[' + 2 = ']'
			if !ok {
				return err
			}
			if c == '{' {
				if _, err := j.key(); err != nil {
					return err
				}
				if err := j.take(':'); err != nil {
					return err
				}
			}
			if err := j.skip(depth + 1); err != nil {
				return err
			}
		}
	}
	_, err := j.word()
	return err
}
