// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
)

// version is the version of the language.
const version = 1

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
	top := l.section(n, "the dialect", "dialect", "name", "device", "radio", "frame", "opcodes")
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
	little := l.word(s.get("order"), "order", []string{"big", "little"}) == 1
	low := l.word(s.get("first_bit"), "first_bit", []string{"high", "low"}) == 1
	d.preamble = l.hex(s.get("preamble"), "preamble", maxSync)
	d.sync = l.hex(s.get("sync"), "sync", maxSync)
	d.Repeats = time.Duration(l.number(s.get("repeats_ms"), "repeats_ms", 0, 3_600_000)) * time.Millisecond
	fields := s.need("fields", "the list of fields, in the order on the air")
	d.frame = l.layout(fields, "frame", little, low, nil)
	if l.err != nil {
		return nil
	}
	l.frame(d, fields)

	rows := l.list(top.need("opcodes", "the list of opcodes"), "opcodes", maxOpcodes)
	if l.err == nil && len(rows) == 0 {
		l.fail(top.get("opcodes"), "opcodes is empty; list at least one")
	}
	names := map[string]int{}
	for _, row := range rows {
		d.Opcodes = append(d.Opcodes, l.opcode(d, row, names, little, low))
		if l.err != nil {
			return nil
		}
	}
	for i, row := range rows { // an answer may stand before the command that it answers
		l.answers(d, &d.Opcodes[i], row, names)
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

// most returns how many bytes the field that takes what is left may have for
// the length f to be able to say so.
func (l *layout) most(f *field) int {
	fixed := 0
	for i := f.first; i <= f.last; i++ {
		fixed += l.fields[i].bits
	}
	return int(min(int64(1)<<f.bits-1-f.add, MaxFrame)) - fixed/8
}

// name reads a word by which a dialect, an opcode or a field is called.
func (l *loader) name(n ast.Node, what string) string {
	s := l.text(n, what)
	if l.err == nil && n != nil && !isName(s) {
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
	s := l.text(n, "therapy")
	t, ok := device.ParseTherapy(s)
	if !ok && l.err == nil {
		var words []string
		for t := device.NoTherapy + 1; t.String() != ""; t++ {
			words = append(words, t.String())
		}
		l.fail(n, "unknown therapy %s; it is one of %s", quoted(s), join(words))
	}
	return t
}

func (l *loader) verb(n ast.Node) device.Verb {
	s := l.text(n, "verb")
	v, ok := device.ParseVerb(s)
	if !ok && l.err == nil {
		var words []string
		for v := device.NoVerb + 1; v.String() != ""; v++ {
			words = append(words, v.String())
		}
		l.fail(n, "unknown verb %s; it is one of %s", quoted(s), join(words))
	}
	return v
}

func (l *loader) unit(n ast.Node) device.Unit {
	s := l.text(n, "unit")
	u, ok := device.UnitOfUCUM(s)
	if !ok && l.err == nil {
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
	if l.err == nil && (err != nil || len(b) == 0 || len(b) > most) {
		l.fail(n, "%s has to be 1 to %d bytes of two hexadecimal digits each, such as \"d3 91\"", what, most)
	}
	return b
}

// quantity reads "2.5 V". A number alone is a switch, or a count.
func (l *loader) quantity(n ast.Node, what string) device.Quantity {
	s := l.text(n, what)
	q, err := device.ParseQuantity(s)
	if err != nil && l.err == nil {
		l.fail(n, "%s cannot be %s: %s; write a number and a UCUM code, such as \"2.5 V\"", what, quoted(s), err)
	}
	if q.Unit == device.NoUnit {
		q.Unit, _ = device.UnitOfUCUM("1")
	}
	return q
}

// kindNames are the words of fieldKinds, those of the frame only where they may stand.
func kindNames(inFrame bool) []string {
	words := make([]string, fieldKindCount)
	for k, info := range fieldKinds {
		if inFrame || !info.inFrame {
			words[k] = info.name
		}
	}
	return words
}

// layout reads a list of fields. taken are the fields of the frame, when these
// are of the data behind an opcode.
func (l *loader) layout(n ast.Node, what string, little, low bool, taken *layout) layout {
	lay := layout{rest: -1}
	nodes := l.list(n, "fields", maxFields)
	sections := make([]*section, len(nodes))
	names := map[string]int{}
	pos := 0 // in bits
	for i, node := range nodes {
		s := l.section(node, "a field", "name", "kind", "at", "bits", "bytes", "order", "hex", "value", "counts", "add", "of", "worn",
			"temporary", "broadcast", "wraps", "algorithm", "polynomial", "seed", "reflect_in", "reflect_out", "xor_out", "over", "scale", "offset",
			"unit", "none", "values", "patient")
		f := l.field(s, what, little, low, taken == nil, pos)
		if l.err != nil {
			return lay
		}
		if _, ok := names[f.name]; ok || taken != nil && taken.index(f.name) >= 0 {
			l.fail(node, "a second field %s; give it another name", quoted(f.name))
			return lay
		}
		names[f.name] = i
		sections[i] = s
		if f.bits == 0 {
			switch {
			case lay.rest >= 0:
				l.fail(node, "two fields, %s and %s, take what is left; give one a number of bytes", quoted(lay.fields[lay.rest].name), quoted(f.name))
			case pos%8 != 0:
				l.fail(node, "field %s does not begin on a byte; put %d reserved bits before it", quoted(f.name), 8-pos%8)
			}
			lay.rest, lay.bytes, pos = i, pos/8, 0
		}
		pos += f.bits
		lay.fields = append(lay.fields, f)
	}
	if l.err == nil && pos%8 != 0 {
		l.fail(nodes[len(nodes)-1], "the fields of the %s do not end on a byte; put %d reserved bits behind the last", what, 8-pos%8)
	}
	lay.bytes += pos / 8
	if lay.rest >= 0 {
		for i := lay.rest + 1; i < len(lay.fields); i++ {
			lay.fields[i].at -= pos
		}
	}
	for _, k := range []fieldKind{length, checksum, noField} {
		for i := range lay.fields {
			if of := lay.fields[i].kind; of == k || k == noField && of != length && of != checksum {
				lay.checks = append(lay.checks, i)
			}
		}
	}
	for i, s := range sections {
		if l.err != nil {
			return lay
		}
		l.at(s, &lay, i)
		if f := &lay.fields[i]; f.kind == length {
			l.span(s, "counts", &lay, i, names)
			f.add = l.number(s.get("add"), "add", -MaxFrame, MaxFrame)
			fixed, _ := lay.width(f.first, f.last)
			if l.err == nil && (int64(fixed)+f.add < 0 || lay.most(f) < 0) {
				l.fail(s.node, "field %s cannot say a length of %d; give it more bits, or another add", quoted(f.name), int64(fixed)+f.add)
			}
		} else if f.kind == checksum {
			l.span(s, "over", &lay, i, names)
		}
	}
	return lay
}

// index returns the place of a field, or -1.
func (l *layout) index(name string) int {
	return slices.IndexFunc(l.fields, func(f field) bool { return f.name == name })
}

// width returns how many bytes the fields from first to last have, and whether
// one of them takes what is left as well.
func (l *layout) width(first, last int) (bytes int, open bool) {
	n := 0
	for i := first; i <= last; i++ {
		n += l.fields[i].bits
	}
	return n / 8, first <= l.rest && l.rest <= last
}

// at holds the place that the file says against the one that follows from the
// fields before.
func (l *loader) at(s *section, lay *layout, i int) {
	n := s.get("at")
	if n == nil {
		return
	}
	f := &lay.fields[i]
	at := l.number(n, "at", -MaxFrame, MaxFrame) * 8
	switch {
	case l.err != nil || int64(f.at) == at:
	case f.at < 0 && at >= 0:
		l.fail(n, "field %s stands behind %s, which takes what is left; count its place from the end, as in at: %d", quoted(f.name), quoted(lay.fields[lay.rest].name), f.at/8)
	case f.at >= 0 && at < 0:
		l.fail(n, "field %s has its place from the front; here that is at: %d", quoted(f.name), f.at/8)
	case at < int64(f.at):
		l.fail(n, "field %s overlaps the one before by %s; correct at, or that field's width", quoted(f.name), bitsText(int64(f.at)-at))
	default:
		l.fail(n, "a gap of %s before field %s; add a field of kind reserved", bitsText(at-int64(f.at)), quoted(f.name))
	}
}

func bitsText(n int64) string {
	unit := "bit"
	if n%8 == 0 {
		n, unit = n/8, "byte"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// span reads which fields a length counts or a checksum is over.
func (l *loader) span(s *section, key string, lay *layout, i int, names map[string]int) {
	f := &lay.fields[i]
	list := l.list(s.need(key, "the first and the last field, as in [opcode, data]"), key, 2)
	var ends [2]int
	for j, n := range list {
		word := l.text(n, key)
		at, ok := names[word]
		if !ok {
			l.fail(n, "%s names no field of this list: %s", key, quoted(word))
			return
		}
		ends[j] = at
	}
	if l.err != nil {
		return
	}
	if len(list) == 1 {
		ends[1] = ends[0]
	}
	f.first, f.last = ends[0], ends[1]
	first, last := &lay.fields[f.first], &lay.fields[f.last]
	switch {
	case f.first > f.last:
		l.fail(s.get(key), "%s stands behind %s; turn them round", quoted(first.name), quoted(last.name))
	case first.at%8 != 0 || (last.at+last.bits)%8 != 0:
		l.fail(s.get(key), "from %s to %s is not whole bytes; begin and end with fields that stand at the edge of one", quoted(first.name), quoted(last.name))
	case f.kind == checksum && f.first <= i && i <= f.last:
		l.fail(s.get(key), "checksum %s is over itself; end before it", quoted(f.name))
	}
	for j := f.first; j <= f.last && f.kind == checksum; j++ {
		if j > i && lay.fields[j].kind == checksum {
			l.fail(s.get(key), "checksum %s is over a later one, %s; only an earlier one is known by then", quoted(f.name), quoted(lay.fields[j].name))
		}
	}
}

// field reads one field, which begins at bit pos.
func (l *loader) field(s *section, what string, little, low, inFrame bool, pos int) field {
	k := fieldKind(l.word(s.need("kind", "one of "+join(kindNames(inFrame))), "kind", kindNames(inFrame)))
	info := &fieldKinds[k]
	if l.err == nil {
		s.only("a field of kind "+info.name, append([]string{"name", "kind", "at"}, info.keys...))
	}
	f := field{kind: k, at: pos}
	if k == data && !s.has("name") {
		f.name = "data"
	} else {
		f.name = l.name(s.need("name", "how the field is called"), "name")
	}
	f.bits = l.width(s, k)
	if l.err != nil {
		return f
	}
	if info.octets && pos%8 != 0 {
		l.fail(s.node, "field %s does not begin on a byte; put %d reserved bits before it", quoted(f.name), 8-pos%8)
	}
	f.little = low
	if pos%8 == 0 && f.bits%8 == 0 {
		f.little = little
		if s.has("order") {
			f.little = l.word(s.get("order"), "order", []string{"big", "little"}) == 1
		}
	} else if s.has("order") {
		l.fail(s.get("order"), "field %s is not whole bytes and has no order; first_bit of the frame decides", quoted(f.name))
	}
	switch k {
	case constant:
		if s.has("hex") {
			f.fixed = l.hex(s.get("hex"), "hex", maxSync)
		} else {
			f.value = l.pattern(s.need("value", "what it always is, or hex for bytes"), "value", f.bits)
		}
	case address:
		f.peer = l.word(s.need("of", "device, or peer for a programmer, remote control or sensor"), "of", []string{"device", "peer"}) == 1
		if s.has("worn") && !f.peer {
			l.fail(s.get("worn"), "whether the device is worn stands under device; here it is for a peer")
		}
		f.worn = l.truth(s.get("worn"), "worn", false)
		f.temporary = l.truth(s.get("temporary"), "temporary", false)
		f.anycast = s.has("broadcast")
		f.broadcast = l.pattern(s.get("broadcast"), "broadcast", f.bits)
	case counter:
		f.wraps = l.truth(s.get("wraps"), "wraps", false)
	case checksum:
		f.sum = l.summing(s, f.bits)
	case unsigned, signed, bcd:
		l.scaled(s, &f)
	case enumeration:
		l.enumeration(s, &f)
	case text:
		s.need("patient", "none, or what it says of the patient: one of "+join(patientWords))
	}
	for _, n := range l.list(s.get("patient"), "patient", len(patientWords)) {
		if i := l.word(n, "patient", patientWords); i > 0 {
			f.patient |= 1 << (i - 1)
		}
	}
	return f
}

// width reads how many bits a field has; 0 is what is left.
func (l *loader) width(s *section, k fieldKind) int {
	info := &fieldKinds[k]
	switch {
	case l.err != nil || k == data:
		return 0
	case s.has("hex"):
		if s.has("bits") || s.has("value") {
			l.fail(s.get("hex"), "hex stands alone; bits and value go together")
		}
		return 8 * len(l.hex(s.get("hex"), "hex", maxSync))
	case s.has("bits") && s.has("bytes"):
		l.fail(s.get("bytes"), "bits and bytes are both the width; keep one")
		return 8
	case s.has("bits"):
		return int(l.number(s.get("bits"), "bits", 1, int64(info.most)))
	}
	n := s.need("bytes", "the width of the field (or bits)")
	if n == nil {
		return 8
	}
	if info.rest && l.text(n, "bytes") == "rest" {
		return 0
	}
	return 8 * int(l.number(n, "bytes", 1, int64(info.most/8)))
}

// only fails at a key that is not among those given.
func (s *section) only(what string, keys []string) {
	m, ok := s.node.(*ast.MappingNode)
	if !ok {
		return
	}
	for _, v := range m.Values {
		if key, _ := scalar(v.Key); !slices.Contains(keys, key) {
			s.l.fail(v.Key, "%s has no key %s; its keys are %s", what, quoted(key), strings.Join(keys, ", "))
		}
	}
}

func (l *loader) summing(s *section, width int) *summing {
	c := &summing{width: width}
	c.algorithm = l.word(s.need("algorithm", "sum, xor or crc"), "algorithm", algorithms)
	c.seed = uint32(l.pattern(s.get("seed"), "seed", width))
	c.xorOut = uint32(l.pattern(s.get("xor_out"), "xor_out", width))
	c.reflectIn = l.truth(s.get("reflect_in"), "reflect_in", false)
	c.reflectOut = l.truth(s.get("reflect_out"), "reflect_out", false)
	switch {
	case l.err != nil:
	case width%8 != 0:
		l.fail(s.node, "a checksum of %d bits; it has 8, 16, 24 or 32", width)
	case c.algorithm == xor && width != 8:
		l.fail(s.node, "an xor of %d bits; it has 8", width)
	case c.algorithm != crc:
		for _, key := range []string{"polynomial", "reflect_in", "reflect_out"} {
			if s.has(key) {
				l.fail(s.get(key), "%s is for crc; leave it out", key)
			}
		}
	default:
		c.compile(uint32(l.pattern(s.need("polynomial", "highest power first and without it, such as 0x1021"), "polynomial", width)))
	}
	return c
}

// scaled reads how a number becomes a quantity.
func (l *loader) scaled(s *section, f *field) {
	f.scale = 1
	if f.kind == bcd && f.bits%4 != 0 {
		l.fail(s.node, "field %s has %d bits; a decimal digit has 4", quoted(f.name), f.bits)
	}
	if s.has("unit") {
		f.unit = l.unit(s.get("unit"))
	}
	if s.has("none") {
		f.hasNone, f.none = true, l.pattern(s.get("none"), "none", f.bits)
	}
	if !s.has("scale") && !s.has("offset") {
		if f.bits > maxScaled && f.unit != device.NoUnit {
			l.fail(s.node, "field %s has %d bits; a quantity has at most %d", quoted(f.name), f.bits, maxScaled)
		}
		return
	}
	scale, offset := l.decimal(s.get("scale"), "scale", 1), l.decimal(s.get("offset"), "offset", 0)
	f.exponent = min(scale.Exponent, offset.Exponent)
	var ok bool
	if f.scale, ok = shift(scale, f.exponent); ok {
		f.offset, ok = shift(offset, f.exponent)
	}
	switch {
	case l.err != nil:
	case f.bits > maxScaled:
		l.fail(s.node, "field %s has %d bits; one with a scale has at most %d", quoted(f.name), f.bits, maxScaled)
	case !ok || f.scale == 0 || max(f.scale, -f.scale, f.offset, -f.offset) > maxScale:
		l.fail(s.node, "scale and offset of %s have too many digits together, or scale is 0; nine digits are enough", quoted(f.name))
	}
}

func (l *loader) decimal(n ast.Node, what string, usual int64) device.Quantity {
	if n == nil {
		return device.Quantity{Coefficient: usual}
	}
	s := l.text(n, what)
	q, err := device.ParseDecimal(s)
	if err != nil && l.err == nil {
		l.fail(n, "%s has to be a decimal number such as 0.025, not %s", what, quoted(s))
	}
	return q
}

// shift returns the coefficient that q has with a lower exponent.
func shift(q device.Quantity, exponent int8) (int64, bool) {
	c := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(q.Exponent)-int64(exponent)), nil)
	c.Mul(c, big.NewInt(q.Coefficient))
	return c.Int64(), c.IsInt64() && c.Int64() != math.MinInt64
}

func (l *loader) enumeration(s *section, f *field) {
	n := s.need("values", "a mapping of each value to its name")
	m, ok := n.(*ast.MappingNode)
	if !ok {
		if l.err == nil {
			l.fail(n, "values has to be a mapping such as {0: off, 1: on}")
		}
		return
	}
	if len(m.Values) > maxValues {
		l.fail(m, "values has %d entries; there is room for %d", len(m.Values), maxValues)
		return
	}
	for _, v := range m.Values {
		e := enumerated{raw: l.pattern(v.Key, "a value", f.bits)}
		if _, ok := v.Value.(*ast.MappingNode); ok {
			s := l.section(v.Value, "a value", "name", "quantity", "verb")
			e.name = l.name(s.need("name", "how the value is called"), "name")
			if s.has("quantity") {
				e.quantity = l.quantity(s.get("quantity"), "quantity")
			}
			if s.has("verb") {
				e.verb = l.verb(s.get("verb"))
			}
		} else {
			e.name = l.name(v.Value, "the name of a value")
		}
		if l.err != nil {
			return
		}
		if slices.ContainsFunc(f.values, func(o enumerated) bool { return o.raw == e.raw || o.name == e.name }) {
			l.fail(v.Key, "the value or its name %s stands there twice; keep one", quoted(e.name))
			return
		}
		f.values = append(f.values, e)
	}
}

// meansKeys are the keys of an opcode by what it means, beside opcode, name,
// direction, means and fields.
var meansKeys = [kindCount][]string{
	Command:   {"verb", "verb_from", "therapy", "value", "now", "limit"},
	Delivered: {"verb", "verb_from", "therapy", "value", "now", "limit"},
	Answer:    {"answers", "succeeded", "result"},
	Identity:  identityKeys,
}

var identityKeys = []string{"manufacturer", "model", "version", "serial"}

// usualDirection is who sends messages of a kind; of the others the file says.
var usualDirection = [kindCount]Direction{
	Command: ToDevice, Wake: ToDevice,
	Delivered: FromDevice, Answer: FromDevice, Report: FromDevice, Status: FromDevice, Alarm: FromDevice, Identity: FromDevice,
}

func (l *loader) opcode(d *Dialect, n ast.Node, names map[string]int, little, low bool) Opcode {
	o := Opcode{verb: -1, answers: -1, result: -1, identity: [4]int{-1, -1, -1, -1}, data: layout{rest: -1}}
	o.value.field, o.now.field, o.limit.field = -1, -1, -1
	keys := []string{"opcode", "name", "direction", "means", "fields"}
	s := l.section(n, "an opcode", append(append(append(keys, meansKeys[Command]...), meansKeys[Answer]...), identityKeys...)...)
	o.Name = l.name(s.need("name", "how the message is called"), "name")
	o.Value = uint32(l.pattern(s.need("opcode", "its number"), "opcode", d.opcodeBits))
	o.Kind = Kind(l.word(s.need("means", "one of "+join(kinds[:])), "means", kinds[:]))
	if l.err != nil {
		return o
	}
	s.only("an opcode that means "+o.Kind.String(), append(keys, meansKeys[o.Kind]...))
	if i, ok := d.byValue[o.Value]; ok {
		l.fail(s.get("opcode"), "opcode %#x is that of %s; each stands there once", o.Value, quoted(d.Opcodes[i].Name))
	}
	if _, ok := names[o.Name]; ok {
		l.fail(s.get("name"), "a second opcode %s; give it another name", quoted(o.Name))
	}
	d.byValue[o.Value], names[o.Name] = len(d.Opcodes), len(d.Opcodes)

	o.Direction = Direction(l.word(s.get("direction"), "direction", directions))
	switch usual := usualDirection[o.Kind]; {
	case usual == UnknownDirection:
		s.need("direction", "to-device or from-device")
	case o.Direction == UnknownDirection:
		o.Direction = usual
	case o.Direction != usual:
		l.fail(s.get("direction"), "what means %s goes %s; leave direction out, or change means", o.Kind, directions[usual])
	}

	o.Therapy = d.Therapies.First()
	for t := range d.therapies() {
		if t.Harm() > o.Therapy.Harm() {
			o.Therapy = t
		}
	}
	if s.has("fields") {
		o.data = l.layout(s.get("fields"), "data", little, low, &d.frame)
	}
	l.fits(d, &o, s)
	if l.err != nil {
		return o
	}
	switch o.Kind {
	case Wake:
		o.Verb = device.Wake
	case Pair:
		o.Verb = device.Pair
	case Command, Delivered:
		l.command(d, &o, s)
	case Identity:
		for i, key := range identityKeys {
			if !s.has(key) {
				continue
			}
			o.identity[i] = l.reference(d, &o, s.get(key), key)
			if f := d.fieldOf(&o, o.identity[i]); l.err == nil && key != "serial" && (f.kind != text || f.patient != 0) {
				l.fail(s.get(key), "%s has to be a field of kind text with patient: none", key)
			}
		}
	}
	return o
}

// fits holds the data of an opcode against the room that the frame has.
func (l *loader) fits(d *Dialect, o *Opcode, s *section) {
	if l.err != nil {
		return
	}
	counters := 0
	for _, lay := range []*layout{&d.frame, &o.data} {
		for i := range lay.fields {
			if lay.fields[i].kind == counter {
				counters += lay.fields[i].bits
			}
		}
	}
	switch {
	case counters > 64:
		l.fail(s.node, "the counters of a message have %d bits together; there is room for 64", counters)
	case len(o.data.fields) > 0 && d.frame.rest < 0:
		l.fail(s.get("fields"), "the frame has no place for fields; add {kind: data} to its fields")
	case o.data.bytes > d.maxData:
		l.fail(s.get("fields"), "the fields have %d bytes; the frame has room for %d", o.data.bytes, d.maxData)
	}
}

// therapies yields those of the device.
func (d *Dialect) therapies() func(func(device.Therapy) bool) {
	return func(yield func(device.Therapy) bool) {
		for t := device.NoTherapy + 1; t.String() != ""; t++ {
			if d.Therapies.Has(t) && !yield(t) {
				return
			}
		}
	}
}

// fieldOf returns the i-th field of a message.
func (d *Dialect) fieldOf(o *Opcode, i int) *field {
	if n := len(d.frame.fields); i >= n {
		return &o.data.fields[i-n]
	}
	return &d.frame.fields[max(i, 0)]
}

// reference returns the place of the field that a node names.
func (l *loader) reference(d *Dialect, o *Opcode, n ast.Node, what string) int {
	s := l.text(n, what)
	if i := o.data.index(s); i >= 0 {
		return len(d.frame.fields) + i
	}
	i := d.frame.index(s)
	if i < 0 && l.err == nil {
		l.fail(n, "%s names no field of this message: %s; add it, or correct the name", what, quoted(s))
	}
	return i
}

// verbValues says what a verb's value has to measure: an interval for a rate
// would turn more into less.
var verbValues = map[device.Verb]struct {
	fits func(device.Unit) bool
	what string
}{
	device.DeliverBolus:         {device.Unit.IsDose, "a dose, such as [iU] or mL"},
	device.Prime:                {device.Unit.IsDose, "a dose, such as [iU] or mL"},
	device.SetBasalRate:         {isRate, "a rate, such as [iU]/h or mL/h"},
	device.SetInfusionRate:      {isRate, "a rate, such as mL/h"},
	device.SetTemporaryBasal:    {isShare, "a rate such as [iU]/h, or %"},
	device.CancelTemporaryBasal: {isShare, "a rate such as [iU]/h, or %"},
	device.SetPacingRate:        {like("/min"), "beats in a time, such as {pulses}/min; an interval is not a rate"},
	device.SetOutput:            {like("V", "A"), "a voltage or current"},
	device.SetAmplitude:         {like("V", "A"), "a voltage or current"},
	device.SetSensitivity:       {like("V"), "a voltage"},
	device.SetDetection:         {like("1"), "a switch, 0 or 1"},
	device.SetTherapies:         {like("1"), "a switch, 0 or 1"},
	device.SetClosedLoop:        {like("1"), "a switch, 0 or 1"},
	device.DeliverShock:         {like("J", "V"), "an energy or voltage"},
	device.ReportGlucose:        {device.Unit.IsConcentration, "a concentration, mg/dL or mmol/L"},
	device.Calibrate:            {device.Unit.IsConcentration, "a concentration, mg/dL or mmol/L"},
}

func isRate(u device.Unit) bool { return u.IsRate() || u.IsDoseRate() }

func isShare(u device.Unit) bool { return isRate(u) || u.String() == "%" }

func like(codes ...string) func(device.Unit) bool {
	return func(u device.Unit) bool {
		return slices.ContainsFunc(codes, func(code string) bool {
			of, _ := device.UnitOfUCUM(code)
			return u != device.NoUnit && u.SameKind(of)
		})
	}
}

// command reads what a message tells the device, or says that it did.
func (l *loader) command(d *Dialect, o *Opcode, s *section) {
	var verbs []device.Verb
	if s.has("verb_from") && !s.has("verb") {
		o.verb = l.reference(d, o, s.get("verb_from"), "verb_from")
		f := d.fieldOf(o, o.verb)
		for _, v := range f.values {
			if v.verb != device.NoVerb {
				verbs = append(verbs, v.verb)
			}
		}
		if len(verbs) == 0 && l.err == nil {
			l.fail(s.get("verb_from"), "%s has to be an enumeration with values such as {name: stop, verb: suspend}", quoted(f.name))
		}
	} else {
		o.Verb = l.verb(s.need("verb", "what is asked for, such as deliver-bolus, or verb_from: the field that says so"))
		verbs = []device.Verb{o.Verb}
		if s.has("verb_from") {
			l.fail(s.get("verb_from"), "verb and verb_from are both the verb; keep one")
		}
	}
	if s.has("therapy") {
		o.Therapy = l.therapy(s.get("therapy"))
		if l.err == nil && !d.Therapies.Has(o.Therapy) {
			l.fail(s.get("therapy"), "the device has no therapy %s; its list stands under device", quoted(o.Therapy.String()))
		}
	} else if d.Therapies != device.TherapiesOf(d.Therapies.First()) {
		s.need("therapy", "which of the device's therapies it is for: "+d.Therapies.String())
	}
	o.value = l.amount(d, o, s, "value", verbs)
	o.now = l.amount(d, o, s, "now", verbs)
	o.limit = l.amount(d, o, s, "limit", nil)
	if l.err != nil || !s.has("now") {
		return
	}
	if v, n := d.unitOf(o, o.value), d.unitOf(o, o.now); !v.SameKind(n) {
		l.fail(s.get("now"), "value is in %s and now in %s, which cannot be compared", quoted(v.String()), quoted(n.String()))
	}
}

// amount reads where a quantity of a command comes from: a field, or a number
// and unit.
func (l *loader) amount(d *Dialect, o *Opcode, s *section, key string, verbs []device.Verb) reference {
	r := reference{field: -1}
	n := s.get(key)
	if n == nil || l.err != nil {
		return r
	}
	if word := l.text(n, key); isName(word) {
		r.field = l.reference(d, o, n, key)
		if k := d.fieldOf(o, r.field).kind; l.err == nil && k != unsigned && k != signed && k != bcd && k != enumeration {
			l.fail(n, "%s is of kind %s and has no quantity", quoted(word), fieldKinds[k].name)
		}
	} else {
		r.literal = l.quantity(n, key)
	}
	if l.err != nil {
		return r
	}
	u := d.unitOf(o, r)
	for _, v := range verbs {
		if want, ok := verbValues[v]; ok && !want.fits(u) {
			l.fail(n, "the %s of %s is in %s; it has to be %s", key, v, quoted(u.String()), want.what)
		}
	}
	return r
}

// unitOf returns the unit of a reference. Values of an enumeration have that of
// the first that has a quantity; without any they are switches.
func (d *Dialect) unitOf(o *Opcode, r reference) device.Unit {
	if r.field < 0 {
		return r.literal.Unit
	}
	f := d.fieldOf(o, r.field)
	if f.kind != enumeration {
		return f.unit
	}
	for _, v := range f.values {
		if !v.quantity.IsNone() {
			return v.quantity.Unit
		}
	}
	u, _ := device.UnitOfUCUM("1")
	return u
}

// answers reads what an answer says of which command.
func (l *loader) answers(d *Dialect, o *Opcode, n ast.Node, names map[string]int) {
	if o.Kind != Answer || l.err != nil {
		return
	}
	s := l.section(n, "an opcode", append([]string{"opcode", "name", "direction", "means", "fields"}, meansKeys[Answer]...)...)
	if s.has("answers") {
		word := l.text(s.get("answers"), "answers")
		i, ok := names[word]
		if l.err == nil && (!ok || d.Opcodes[i].Direction != ToDevice) {
			l.fail(s.get("answers"), "answers names no message to the device: %s", quoted(word))
		}
		o.answers = i
	}
	if !s.has("result") {
		o.outcome = Failed
		if l.truth(s.get("succeeded"), "succeeded", true) {
			o.outcome = Succeeded
		}
		return
	}
	o.result = l.reference(d, o, s.get("result"), "result")
	if l.err != nil {
		return
	}
	f := d.fieldOf(o, o.result)
	for _, n := range l.list(s.need("succeeded", "the values of result that say so, as in [done]"), "succeeded", maxValues) {
		word := l.text(n, "succeeded")
		i := slices.IndexFunc(f.values, func(e enumerated) bool { return e.name == word })
		if i < 0 {
			if l.err == nil {
				l.fail(n, "%s is no value of %s", quoted(word), quoted(f.name))
			}
			return
		}
		o.succeeded = append(o.succeeded, f.values[i].raw)
	}
}
