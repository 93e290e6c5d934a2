// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import "bytes"

// maxBlanks bounds what one formatting command may append: .sp and .sk take a
// number (v2.7 section 2.7.7), and text is read, not printed, here.
const maxBlanks = 16

// AppendText appends the value as text: escape sequences decoded (v2.7 section
// 2.7), in the message's own character set. Of formatting commands only the
// blanks and line ends remain; highlighting and switches of character set
// vanish. A sequence that is not of the standard, or not closed, is text. The
// delimiters inside v are text too: ask for the part that is wanted.
func (v Value) AppendText(dst []byte) []byte {
	b, esc := v.b, v.d.Escape
	for esc != 0 {
		i := bytes.IndexByte(b, esc)
		if i < 0 {
			break
		}
		dst = append(dst, b[:i]...)
		b = b[i:]
		j := bytes.IndexByte(b[1:], esc)
		if j < 0 {
			break
		}
		var ok bool
		if dst, ok = v.d.appendEscape(dst, b[1:1+j]); ok {
			b = b[j+2:]
		} else {
			dst, b = append(dst, esc), b[1:] // what follows may begin with the second
		}
	}
	return append(dst, b...)
}

// Text is [Value.AppendText] as a string.
func (v Value) Text() string {
	var buf [64]byte
	return string(v.AppendText(buf[:0]))
}

// appendEscape appends what the sequence between two escape characters means.
func (d Delimiters) appendEscape(dst, seq []byte) ([]byte, bool) {
	if len(seq) == 1 {
		switch seq[0] {
		case 'F':
			return append(dst, d.Field), true
		case 'S':
			return append(dst, d.Component), true
		case 'T':
			return append(dst, d.Subcomponent), true
		case 'R':
			return append(dst, d.Repetition), true
		case 'E':
			return append(dst, d.Escape), true
		case 'P': // since v2.7
			return append(dst, d.Truncation), d.Truncation != 0
		case 'H', 'N': // section 2.7.2, highlighting
			return dst, true
		}
		return dst, false
	}
	if len(seq) == 0 {
		return dst, false
	}
	switch seq[0] {
	case 'X': // section 2.7.5
		return appendHex(dst, seq[1:])
	case 'C', 'M': // section 2.7.4: two bytes, or three, that switch the character set
		_, ok := appendHex(dst, seq[1:])
		return dst, ok && (len(seq) == 5 || len(seq) == 7 && seq[0] == 'M')
	case '.': // section 2.7.7
		return appendFormat(dst, seq[1:])
	}
	return dst, false
}

// appendHex appends the bytes that hex spells, or, when it does not, nothing.
func appendHex(dst, hex []byte) ([]byte, bool) {
	if len(hex) == 0 || len(hex)%2 != 0 {
		return dst, false
	}
	n := len(dst)
	for i := 0; i < len(hex); i += 2 {
		hi, ok1 := hexDigit(hex[i])
		lo, ok2 := hexDigit(hex[i+1])
		if !ok1 || !ok2 {
			return dst[:n], false
		}
		dst = append(dst, hi<<4|lo)
	}
	return dst, true
}

func hexDigit(c byte) (byte, bool) {
	switch c = lower(c); {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// appendFormat appends what remains of a formatting command.
func appendFormat(dst, cmd []byte) ([]byte, bool) {
	if len(cmd) < 2 {
		return dst, false
	}
	n, number := 0, cmd[2:]
	if len(number) > 0 && (number[0] == '+' || number[0] == '-') {
		number = number[1:]
	}
	for _, c := range number {
		if c < '0' || c > '9' {
			return dst, false
		}
		n = min(n*10+int(c-'0'), maxBlanks)
	}
	switch string(cmd[:2]) {
	case "br", "ce": // new line; new line, centred
		return append(dst, '\n'), true
	case "sp": // n lines, 1 when it is not said
		for range max(n, 1) {
			dst = append(dst, '\n')
		}
		return dst, true
	case "sk": // n spaces
		for range max(n, 1) {
			dst = append(dst, ' ')
		}
		return dst, true
	case "fi", "nf", "in", "ti": // filling and indenting
		return dst, true
	}
	return dst, false
}

// AppendEscaped appends text so that [Value.AppendText] gives it back: the
// delimiters as escape sequences, control characters as \Xdd\. Without an
// escape character these become blanks: nothing in text may end its field.
func (d Delimiters) AppendEscaped(dst, text []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range text {
		var code byte
		switch c {
		case d.Field:
			code = 'F'
		case d.Component:
			code = 'S'
		case d.Repetition:
			code = 'R'
		case d.Escape:
			code = 'E'
		case d.Subcomponent:
			code = 'T'
		case d.Truncation:
			code = 'P'
		}
		switch {
		case code == 0 && c >= ' ':
			dst = append(dst, c)
		case d.Escape == 0:
			dst = append(dst, ' ')
		case c < ' ': // zero is the delimiter that is not there
			dst = append(dst, d.Escape, 'X', digits[c>>4], digits[c&15], d.Escape)
		default:
			dst = append(dst, d.Escape, code, d.Escape)
		}
	}
	return dst
}
