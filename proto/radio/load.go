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
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// version is the version of the language.
const version = 1

// format is that of the files.
var format = strictyaml.Format{Name: "dialect", Marker: "dialect: 1"}

// A LoadError says what is wrong in a dialect's file, where, and what to do. It
// repeats no word of a file that does not say "dialect: 1": that is no dialect, and
// may be a log of frames or a list of patients.
type LoadError = strictyaml.Error

// A loader reads a dialect's file.
type loader struct {
	*strictyaml.Reader
	little, low bool // of the frame: the first byte of a number, the first bit of a byte counts least
}

// sections are those of a dialect.
var sections = []string{"dialect", "name", "device", "radio", "frame", "opcodes"}

// Load reads a dialect from the text of its file. The error is a *[LoadError]
// that names file as it is given.
func Load(file string, src []byte) (*Dialect, error) {
	l := &loader{Reader: strictyaml.New(file, format)}
	d := l.dialect(l.Document(src))
	if l.Err() != nil {
		return nil, l.Err()
	}
	return d, nil
}

func (l *loader) dialect(n ast.Node) *Dialect {
	top := l.Section(n, "the dialect", sections...)
	l.Number(top.Need("dialect", "the version of the language, 1"), "dialect", version, version)
	d := &Dialect{Name: l.name(top.Need("name", "how the dialect is called on the command line"), "name"), byValue: map[uint32]int{}}

	s := l.Section(top.Need("device", "what the device is and does"), "device", "manufacturer", "model", "class", "therapy", "worn")
	d.Manufacturer = l.label(s.Get("manufacturer"), "manufacturer")
	d.Model = l.label(s.Get("model"), "model")
	var first device.Therapy
	for i, t := range l.List(s.Need("therapy", "what it does to a body, such as insulin infusion"), "therapy", 4) {
		therapy := l.therapy(t)
		if i == 0 {
			first = therapy
		}
		d.Therapies |= device.TherapiesOf(therapy)
		d.Worn = d.Worn || therapy.Info().Worn
	}
	if d.Class = l.label(s.Get("class"), "class"); d.Class == "" {
		d.Class = first.Info().Class
	}
	d.Worn = l.Truth(s.Get("worn"), "worn", d.Worn)

	s = l.Section(top.Get("radio"), "radio", "band", "carrier_hz", "bits_per_second")
	d.Radio.Band = l.label(s.Get("band"), "band")
	d.Radio.CarrierHz = l.Number(s.Get("carrier_hz"), "carrier_hz", 1, 1e12)
	d.Radio.BitsPerSecond = l.Number(s.Get("bits_per_second"), "bits_per_second", 1, 1e10)

	s = l.Section(top.Need("frame", "the fields of a frame"), "frame", "order", "first_bit", "preamble", "sync", "repeats_ms", "fields")
	l.little = l.Word(s.Get("order"), "order", []string{"big", "little"}) == 1
	l.low = l.Word(s.Get("first_bit"), "first_bit", []string{"high", "low"}) == 1
	d.preamble = l.hex(s.Get("preamble"), "preamble", maxSync)
	d.sync = l.hex(s.Get("sync"), "sync", maxSync)
	d.Repeats = time.Duration(l.Number(s.Get("repeats_ms"), "repeats_ms", 0, 3_600_000)) * time.Millisecond
	fields := s.Need("fields", "the list of fields, in the order on the air")
	d.frame = l.layout(fields, "frame", nil)
	if l.Err() != nil {
		return nil
	}
	l.frame(d, fields)

	rows := l.List(top.Need("opcodes", "the list of opcodes"), "opcodes", maxOpcodes)
	if len(rows) == 0 {
		l.Fail(top.Get("opcodes"), "opcodes is empty; list at least one")
	}
	names := map[string]int{}
	sections := make([]*strictyaml.Section, len(rows))
	for i, row := range rows {
		sections[i] = l.Section(row, "an opcode", opcodeKeys...)
		d.Opcodes = append(d.Opcodes, l.opcode(d, sections[i], names))
		if l.Err() != nil {
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
		l.Fail(fields, "no field is of kind opcode; mark the one that tells messages apart, or a constant one")
	case d.opcodeBits > 32:
		l.Fail(fields, "the opcode fields have %d bits together; there is room for 32", d.opcodeBits)
	case room < 0:
		l.Fail(fields, "the fields have %d bytes; a frame has at most %d, and its length field has to be able to say so", d.frame.bytes, MaxFrame)
	case d.frame.rest >= 0:
		d.maxData = room
	}
}

// name reads a word by which a dialect, an opcode or a field is called.
func (l *loader) name(n ast.Node, what string) string {
	s := l.Text(n, what)
	if !isName(s) {
		l.Fail(n, "%s %s has to be 1 to %d lower-case letters, digits and hyphens, a letter first", what, strictyaml.Quoted(s), maxName)
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
	s := l.Text(n, what)
	if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		l.Fail(n, "%s has to be at most %d bytes of text on one line", what, maxText)
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
	s := l.Text(n, what)
	t, ok := parse(s)
	if !ok {
		var words []string
		for t := T(1); t.String() != ""; t++ {
			words = append(words, t.String())
		}
		l.Fail(n, "unknown %s %s; it is one of %s", what, strictyaml.Quoted(s), strictyaml.Words(words))
	}
	return t
}

func (l *loader) unit(n ast.Node) device.Unit {
	s := l.Text(n, "unit")
	u, ok := device.UnitOfUCUM(s)
	if !ok {
		hint := "write its UCUM code, such as mL/h, V or ms"
		if meant, ok := device.UnitOf(s); ok {
			hint = "its UCUM code is " + meant.String()
		}
		l.Fail(n, "unknown unit %s; %s", strictyaml.Quoted(s), hint)
	}
	return u
}

// hex reads bytes, which may have spaces between them.
func (l *loader) hex(n ast.Node, what string, most int) []byte {
	if n == nil || l.Err() != nil {
		return nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(l.Text(n, what), " ", ""))
	if err != nil || len(b) == 0 || len(b) > most {
		l.Fail(n, "%s has to be 1 to %d bytes of two hexadecimal digits each, such as \"d3 91\"", what, most)
	}
	return b
}

// quantity reads "2.5 V". A number alone is a switch, or a count.
func (l *loader) quantity(n ast.Node, what string) device.Quantity {
	s := l.Text(n, what)
	q, err := device.ParseQuantity(s)
	if err != nil {
		l.Fail(n, "%s cannot be %s: %s; write a number and a UCUM code, such as \"2.5 V\"", what, strictyaml.Quoted(s), err)
	}
	if q.Unit == device.NoUnit {
		q.Unit = one
	}
	return q
}
