// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/hex"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
)

// version is the version of the language.
const version = 1

// sections are those of a dialect.
var sections = []string{"dialect", "name", "device", "radio", "frame", "opcodes"}

// Load reads a dialect from the text of its file. The error is a *[LoadError]
// that names file as it is given.
func Load(file string, src []byte) (*Dialect, error) {
	l := &loader{file: file}
	d := l.dialect(l.document(src))
	if l.err != nil {
		return nil, l.err
	}
	return d, nil
}

func (l *loader) dialect(n ast.Node) *Dialect {
	top := l.section(n, "the dialect", sections...)
	l.number(top.need("dialect", "the version of the language, 1"), "dialect", version, version)
	d := &Dialect{Name: l.name(top.need("name", "how the dialect is called on the command line"), "name"), byValue: map[uint32]int{}}

	s := l.section(top.need("device", "what the device is and does"), "device", "manufacturer", "model", "class", "therapy", "worn")
	d.Manufacturer = l.label(s.get("manufacturer"), "manufacturer")
	d.Model = l.label(s.get("model"), "model")
	var first device.Therapy
	for i, t := range l.list(s.need("therapy", "what it does to a body, such as insulin infusion"), "therapy", 4) {
		therapy := l.therapy(t)
		if i == 0 {
			first = therapy
		}
		d.Therapies |= device.TherapiesOf(therapy)
		d.Worn = d.Worn || therapy.Info().Worn
	}
	if d.Class = l.label(s.get("class"), "class"); d.Class == "" {
		d.Class = first.Info().Class
	}
	d.Worn = l.truth(s.get("worn"), "worn", d.Worn)

	s = l.section(top.get("radio"), "radio", "band", "carrier_hz", "bits_per_second")
	d.Radio.Band = l.label(s.get("band"), "band")
	d.Radio.CarrierHz = l.number(s.get("carrier_hz"), "carrier_hz", 1, 1e12)
	d.Radio.BitsPerSecond = l.number(s.get("bits_per_second"), "bits_per_second", 1, 1e10)

	s = l.section(top.need("frame", "the fields of a frame"), "frame", "order", "first_bit", "preamble", "sync", "repeats_ms", "fields")
	l.little = l.word(s.get("order"), "order", []string{"big", "little"}) == 1
	l.low = l.word(s.get("first_bit"), "first_bit", []string{"high", "low"}) == 1
	d.preamble = l.hex(s.get("preamble"), "preamble", maxSync)
	d.sync = l.hex(s.get("sync"), "sync", maxSync)
	d.Repeats = time.Duration(l.number(s.get("repeats_ms"), "repeats_ms", 0, 3_600_000)) * time.Millisecond
	fields := s.need("fields", "the list of fields, in the order on the air")
	d.frame = l.layout(fields, "frame", nil)
	if l.err != nil {
		return nil
	}
	l.frame(d, fields)

	rows := l.list(top.need("opcodes", "the list of opcodes"), "opcodes", maxOpcodes)
	if len(rows) == 0 {
		l.fail(top.get("opcodes"), "opcodes is empty; list at least one")
	}
	names := map[string]int{}
	sections := make([]*section, len(rows))
	for i, row := range rows {
		sections[i] = l.section(row, "an opcode", opcodeKeys...)
		d.Opcodes = append(d.Opcodes, l.opcode(d, sections[i], names))
		if l.err != nil {
			return nil
		}
	}
	for i, s := range sections { // an answer may stand before the command that it answers
		l.answers(d, &d.Opcodes[i], s, names)
	}
	return d
}

// frame checks what the frame has to have, and counts what is checked in it.
func (l *loader) frame(d *Dialect, fields ast.Node) {
	room := MaxFrame - d.frame.bytes
	for i := range d.frame.fields {
		f := &d.frame.fields[i]
		switch f.kind {
		case opcode:
			d.opcodeBits += f.bits
		case constant, checksum:
			d.proof += f.bits
		case length:
			d.proof += f.bits
			if most := d.frame.most(f); f.first <= d.frame.rest && d.frame.rest <= f.last {
				room = min(room, most)
			}
		}
	}
	switch {
	case d.opcodeBits == 0:
		l.fail(fields, "no field is of kind opcode; mark the one that tells messages apart, or a constant one")
	case d.opcodeBits > 32:
		l.fail(fields, "the opcode fields have %d bits together; there is room for 32", d.opcodeBits)
	case room < 0:
		l.fail(fields, "the fields have %d bytes; a frame has at most %d, and its length field has to be able to say so", d.frame.bytes, MaxFrame)
	case d.frame.rest >= 0:
		d.maxData = room
	}
}

// name reads a word by which a dialect, an opcode or a field is called.
func (l *loader) name(n ast.Node, what string) string {
	s := l.text(n, what)
	if !isName(s) {
		l.fail(n, "%s %s has to be 1 to %d lower-case letters, digits and hyphens, a letter first", what, quoted(s), maxName)
	}
	return s
}

func isName(s string) bool {
	for _, c := range s {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxName && s[0] >= 'a'
}

// label reads text for people.
func (l *loader) label(n ast.Node, what string) string {
	s := l.text(n, what)
	if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		l.fail(n, "%s has to be at most %d bytes of text on one line", what, maxText)
	}
	return s
}

func (l *loader) therapy(n ast.Node) device.Therapy {
	return known(l, n, "therapy", device.ParseTherapy)
}

func (l *loader) verb(n ast.Node) device.Verb { return known(l, n, "verb", device.ParseVerb) }

// A term is a word of package device; the zero one is none.
type term interface {
	device.Therapy | device.Verb
	String() string
}

func known[T term](l *loader, n ast.Node, what string, parse func(string) (T, bool)) T {
	s := l.text(n, what)
	t, ok := parse(s)
	if !ok {
		var words []string
		for t := T(1); t.String() != ""; t++ {
			words = append(words, t.String())
		}
		l.fail(n, "unknown %s %s; it is one of %s", what, quoted(s), join(words))
	}
	return t
}

func (l *loader) unit(n ast.Node) device.Unit {
	s := l.text(n, "unit")
	u, ok := device.UnitOfUCUM(s)
	if !ok {
		hint := "write its UCUM code, such as mL/h, V or ms"
		if meant, ok := device.UnitOf(s); ok {
			hint = "its UCUM code is " + meant.String()
		}
		l.fail(n, "unknown unit %s; %s", quoted(s), hint)
	}
	return u
}

// hex reads bytes, which may have spaces between them.
func (l *loader) hex(n ast.Node, what string, most int) []byte {
	if n == nil || l.err != nil {
		return nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(l.text(n, what), " ", ""))
	if err != nil || len(b) == 0 || len(b) > most {
		l.fail(n, "%s has to be 1 to %d bytes of two hexadecimal digits each, such as \"d3 91\"", what, most)
	}
	return b
}

// quantity reads "2.5 V". A number alone is a switch, or a count.
func (l *loader) quantity(n ast.Node, what string) device.Quantity {
	s := l.text(n, what)
	q, err := device.ParseQuantity(s)
	if err != nil {
		l.fail(n, "%s cannot be %s: %s; write a number and a UCUM code, such as \"2.5 V\"", what, quoted(s), err)
	}
	if q.Unit == device.NoUnit {
		q.Unit = one
	}
	return q
}
