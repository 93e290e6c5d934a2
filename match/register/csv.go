// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bytes"
	"slices"
	"strings"
)

// maxQuotedBytes is how much may stand between two quotes. What is longer is a
// quote that somebody forgot to close: only its line is lost.
const maxQuotedBytes = 16 << 10

// A table reads CSV (RFC 4180) with any separator. It goes on after what is
// wrong, says where that was, and is bounded, all of which encoding/csv is not.
type table struct {
	b     []byte
	comma byte
	off   int
	line  int // of off, from 1
	cells []cell
}

// record reads the next record, without a heading yet. Without more it reports
// false. A problem is of the whole record, whose line was passed over.
func (t *table) record() (cells []cell, line int, wrong *Problem, ok bool) {
	for t.off < len(t.b) && (t.b[t.off] == '\n' || t.b[t.off] == '\r') {
		t.next()
	}
	if t.off >= len(t.b) {
		return nil, 0, nil, false
	}
	t.cells, line = t.cells[:0], t.line
	lineStart := t.off
	for {
		c := cell{line: t.line, column: t.off - lineStart + 1}
		if t.off < len(t.b) && t.b[t.off] == '"' {
			value, newStart, err := t.quoted(lineStart)
			if err != nil {
				wrong = &Problem{c.line, c.column, "", err}
				t.skipLine()
				return nil, line, wrong, true
			}
			c.value, lineStart = value, newStart
		} else {
			n := bytes.IndexAny(t.b[t.off:], string(t.comma)+"\r\n")
			if n < 0 {
				n = len(t.b) - t.off
			}
			c.value = string(t.b[t.off : t.off+n])
			t.off += n
		}
		if len(t.cells) >= maxColumns {
			t.skipLine()
			return nil, line, &Problem{c.line, c.column, "", errColumns}, true
		}
		t.cells = append(t.cells, c)
		if t.off >= len(t.b) || t.b[t.off] != t.comma {
			t.next()
			return t.cells, line, nil, true
		}
		t.off++
	}
}

// quoted reads a quoted value, and returns where the line begins in which it ends.
func (t *table) quoted(lineStart int) (value string, start int, err error) {
	var b strings.Builder
	off, line := t.off+1, t.line
	for end := off + maxQuotedBytes; off < len(t.b) && off < end; off++ {
		switch c := t.b[off]; {
		case c != '"':
			b.WriteByte(c)
			if c == '\n' || c == '\r' && (off+1 == len(t.b) || t.b[off+1] != '\n') {
				line, lineStart = line+1, off+1
			}
		case off+1 < len(t.b) && t.b[off+1] == '"':
			b.WriteByte('"')
			off++
		default:
			t.off, t.line = off+1, line
			if t.off < len(t.b) && t.b[t.off] != t.comma && t.b[t.off] != '\n' && t.b[t.off] != '\r' {
				return "", 0, errAfterQuote
			}
			return b.String(), lineStart, nil
		}
	}
	return "", 0, errQuote
}

// next passes over one end of line, if one stands here.
func (t *table) next() {
	if t.off < len(t.b) {
		if t.b[t.off] == '\r' && t.off+1 < len(t.b) && t.b[t.off+1] == '\n' {
			t.off++
		}
		t.off++
		t.line++
	}
}

func (t *table) skipLine() {
	n := bytes.IndexAny(t.b[t.off:], "\r\n")
	if n < 0 {
		n = len(t.b) - t.off
	}
	t.off += n
	t.next()
}

// headings finds the record that names the columns: of the separator and the
// line among the first that have most known headings. Before it a title may
// stand, or the "sep=;" of spreadsheets. It returns the table behind it.
func headings(b []byte) (*table, []cell) {
	var best *table
	var found []cell
	most := 1 // one known word may be any text
	for _, comma := range []byte(";,\t") {
		t := &table{b: b, comma: comma, line: 1}
		for range maxPreamble {
			cells, _, wrong, ok := t.record()
			if !ok {
				break
			}
			if wrong != nil {
				continue
			}
			known, identifies, reserved := 0, false, false
			seen := map[field]bool{}
			for _, c := range cells {
				f := fieldOf(c.value)
				if f != noField && !seen[f] {
					known++
				}
				seen[f] = true
				identifies = identifies || f.identifies()
				switch plain(c.value) {
				case "harm", "decision", "finding": // of Myelin's own tables: product codes, answers
					reserved = true
				}
			}
			if known > most && identifies && !reserved {
				most, found = known, slices.Clone(cells)
				after := *t
				after.cells = nil
				best = &after
			}
		}
	}
	return best, found
}

// maxHeadBytes is how far headings are looked for.
const maxHeadBytes = 64 << 10

func looksLikeHeadings(b []byte) bool {
	t, _ := headings(b[:min(len(b), maxHeadBytes)])
	return t != nil
}

func (l *list) readCSV(b []byte) error {
	head, names := headings(b[:min(len(b), maxHeadBytes)])
	if head == nil {
		return ErrNotList
	}
	for i, n := range names {
		if strings.TrimSpace(n.value) == "" {
			continue
		}
		k := l.heading(n.value)
		if k != nil && !k.field.several() && slices.ContainsFunc(names[:i], func(c cell) bool { return plain(c.value) == plain(n.value) }) {
			l.problem(n.line, n.column, k.field, errHeadings)
		}
	}
	t := &table{b: b, comma: head.comma, off: head.off, line: head.line}
	for {
		cells, line, wrong, ok := t.record()
		if !ok {
			return nil
		}
		if wrong != nil {
			l.problem(wrong.Line, wrong.Column, noField, wrong.Err)
			if l.More > 0 {
				return nil // this is no CSV
			}
			continue
		}
		switch full, words := filled(cells); {
		case full == 0:
		case strings.HasPrefix(strings.TrimSpace(cells[0].value), "#") && (len(cells) < len(names) || full == 1 || full == 2 && len(names) > 3):
			continue // "# Exported on Monday by" somebody
		case full == 1 && words > 2 && len(names) > 3 && fieldOf(names[0].value) == fieldID && strings.TrimSpace(cells[0].value) != "":
			l.problem(line, 0, noField, errNameless) // "Sum: 40 devices"
			continue
		}
		empty, again := true, true
		kept := cells[:0]
		for i, c := range cells {
			full := strings.TrimSpace(c.value) != ""
			empty = empty && !full
			again = again && (!full || i < len(names) && c.value == names[i].value)
			switch {
			case i < len(names):
				c.heading = names[i].value
				if strings.TrimSpace(c.heading) != "" {
					kept = append(kept, c)
				}
			case full:
				l.problem(c.line, c.column, noField, errColumns)
			}
		}
		if !empty && !again && !l.row(line, kept) { // headings stand at the top of each page
			return nil
		}
	}
}

// filled returns how many cells of a record are not empty, and how many words
// the last of these has.
func filled(cells []cell) (full, words int) {
	for _, c := range cells {
		if n := len(strings.Fields(c.value)); n > 0 {
			full, words = full+1, n
		}
	}
	return full, words
}
