// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// most returns how many bytes the field that takes what is left may have for
// the length f to be able to say so.
func (l *layout) most(f *field) int {
	return int(min(int64(1)<<f.bits-1-f.add, MaxFrame)) - l.width(f.first, f.last)
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
func (l *loader) layout(n ast.Node, what string, taken *layout) layout {
	lay := layout{rest: -1}
	nodes := l.List(n, "fields", maxFields)
	sections := make([]*strictyaml.Section, len(nodes))
	names := map[string]int{}
	pos := 0 // in bits
	for i, node := range nodes {
		s := l.Section(node, "a field", "name", "kind", "at", "bits", "bytes", "order", "hex", "value", "counts", "add", "of", "worn",
			"temporary", "broadcast", "wraps", "algorithm", "polynomial", "seed", "reflect_in", "reflect_out", "xor_out", "over", "scale", "offset",
			"unit", "none", "values", "patient")
		f := l.field(s, taken == nil, pos)
		if l.Err() != nil {
			return lay
		}
		if _, ok := names[f.name]; ok || taken != nil && taken.index(f.name) >= 0 {
			l.Fail(node, "a second field %s; give it another name", strictyaml.Quoted(f.name))
			return lay
		}
		names[f.name] = i
		sections[i] = s
		if f.bits == 0 {
			switch {
			case lay.rest >= 0:
				l.Fail(node, "two fields, %s and %s, take what is left; give one a number of bytes", strictyaml.Quoted(lay.fields[lay.rest].name), strictyaml.Quoted(f.name))
			case pos%8 != 0:
				l.Fail(node, "field %s does not begin on a byte; put %d reserved bits before it", strictyaml.Quoted(f.name), 8-pos%8)
			}
			lay.rest, lay.bytes, pos = i, pos/8, 0
		}
		pos += f.bits
		lay.fields = append(lay.fields, f)
	}
	if pos%8 != 0 {
		l.Fail(nodes[len(nodes)-1], "the fields of the %s do not end on a byte; put %d reserved bits behind the last", what, 8-pos%8)
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
		if l.Err() != nil {
			return lay
		}
		l.at(s, &lay, i)
		if f := &lay.fields[i]; f.kind == length {
			l.span(s, "counts", &lay, i, names)
			f.add = l.Number(s.Get("add"), "add", -MaxFrame, MaxFrame)
			if fixed := int64(lay.width(f.first, f.last)); fixed+f.add < 0 || lay.most(f) < 0 {
				l.Fail(s.Node, "field %s cannot say a length of %d; give it more bits, or another add", strictyaml.Quoted(f.name), fixed+f.add)
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

// width returns how many bytes the fields from first to last have that have a
// width.
func (l *layout) width(first, last int) int {
	n := 0
	for i := first; i <= last; i++ {
		n += l.fields[i].bits
	}
	return n / 8
}

// at holds the place that the file says against the one that follows from the
// fields before.
func (l *loader) at(s *strictyaml.Section, lay *layout, i int) {
	n := s.Get("at")
	if n == nil {
		return
	}
	f := &lay.fields[i]
	at := l.Number(n, "at", -MaxFrame, MaxFrame) * 8
	switch {
	case l.Err() != nil || int64(f.at) == at:
	case f.at < 0 && at >= 0:
		l.Fail(n, "field %s stands behind %s, which takes what is left; count its place from the end, as in at: %d", strictyaml.Quoted(f.name), strictyaml.Quoted(lay.fields[lay.rest].name), f.at/8)
	case f.at >= 0 && at < 0:
		l.Fail(n, "field %s has its place from the front; here that is at: %d", strictyaml.Quoted(f.name), f.at/8)
	case at < int64(f.at):
		l.Fail(n, "field %s overlaps the one before by %s; correct at, or that field's width", strictyaml.Quoted(f.name), bitsText(int64(f.at)-at))
	default:
		l.Fail(n, "a gap of %s before field %s; add a field of kind reserved", bitsText(at-int64(f.at)), strictyaml.Quoted(f.name))
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
func (l *loader) span(s *strictyaml.Section, key string, lay *layout, i int, names map[string]int) {
	f := &lay.fields[i]
	list := l.List(s.Need(key, "the first and the last field, as in [opcode, data]"), key, 2)
	var ends [2]int
	for j, n := range list {
		word := l.Text(n, key)
		at, ok := names[word]
		if !ok {
			l.Fail(n, "%s names no field of this list: %s", key, strictyaml.Quoted(word))
			return
		}
		ends[j] = at
	}
	if l.Err() != nil {
		return
	}
	if len(list) == 1 {
		ends[1] = ends[0]
	}
	f.first, f.last = ends[0], ends[1]
	first, last := &lay.fields[f.first], &lay.fields[f.last]
	switch {
	case f.first > f.last:
		l.Fail(s.Get(key), "%s stands behind %s; turn them round", strictyaml.Quoted(first.name), strictyaml.Quoted(last.name))
	case first.at%8 != 0 || (last.at+last.bits)%8 != 0:
		l.Fail(s.Get(key), "from %s to %s is not whole bytes; begin and end with fields that stand at the edge of one", strictyaml.Quoted(first.name), strictyaml.Quoted(last.name))
	case f.kind == checksum && f.first <= i && i <= f.last:
		l.Fail(s.Get(key), "checksum %s is over itself; end before it", strictyaml.Quoted(f.name))
	}
	for j := f.first; j <= f.last && f.kind == checksum; j++ {
		if j > i && lay.fields[j].kind == checksum {
			l.Fail(s.Get(key), "checksum %s is over a later one, %s; only an earlier one is known by then", strictyaml.Quoted(f.name), strictyaml.Quoted(lay.fields[j].name))
		}
	}
}

// field reads one field, which begins at bit pos.
func (l *loader) field(s *strictyaml.Section, inFrame bool, pos int) field {
	k := fieldKind(l.Word(s.Need("kind", "one of "+strictyaml.Words(kindNames(inFrame))), "kind", kindNames(inFrame)))
	info := &fieldKinds[k]
	s.Only("a field of kind "+info.name, append([]string{"name", "kind", "at"}, info.keys...))
	f := field{kind: k, at: pos}
	if k == data && !s.Has("name") {
		f.name = "data"
	} else {
		f.name = l.name(s.Need("name", "how the field is called"), "name")
	}
	f.bits = l.width(s, k)
	if l.Err() != nil {
		return f
	}
	if info.octets && pos%8 != 0 {
		l.Fail(s.Node, "field %s does not begin on a byte; put %d reserved bits before it", strictyaml.Quoted(f.name), 8-pos%8)
	}
	f.little = l.low
	if pos%8 == 0 && f.bits%8 == 0 {
		f.little = l.little
		if s.Has("order") {
			f.little = l.Word(s.Get("order"), "order", []string{"big", "little"}) == 1
		}
	} else if s.Has("order") {
		l.Fail(s.Get("order"), "field %s is not whole bytes and has no order; first_bit of the frame decides", strictyaml.Quoted(f.name))
	}
	switch k {
	case constant:
		if s.Has("hex") {
			f.fixed = l.hex(s.Get("hex"), "hex", maxSync)
		} else {
			f.value = l.Pattern(s.Need("value", "what it always is, or hex for bytes"), "value", f.bits)
		}
	case address:
		f.peer = l.Word(s.Need("of", "device, or peer for a programmer, remote control or sensor"), "of", []string{"device", "peer"}) == 1
		if s.Has("worn") && !f.peer {
			l.Fail(s.Get("worn"), "whether the device is worn stands under device; here it is for a peer")
		}
		f.worn = l.Truth(s.Get("worn"), "worn", false)
		f.temporary = l.Truth(s.Get("temporary"), "temporary", false)
		f.anycast = s.Has("broadcast")
		f.broadcast = l.Pattern(s.Get("broadcast"), "broadcast", f.bits)
	case counter:
		f.wraps = l.Truth(s.Get("wraps"), "wraps", false)
	case checksum:
		f.sum = l.summing(s, f.bits)
	case unsigned, signed, bcd:
		l.scaled(s, &f)
	case enumeration:
		l.enumeration(s, &f)
	case text:
		s.Need("patient", "none, or what it says of the patient: one of "+strictyaml.Words(patientWords))
	}
	for _, n := range l.List(s.Get("patient"), "patient", len(patientWords)) {
		if i := l.Word(n, "patient", patientWords); i > 0 {
			f.patient |= 1 << (i - 1)
		}
	}
	return f
}

// width reads how many bits a field has; 0 is what is left.
func (l *loader) width(s *strictyaml.Section, k fieldKind) int {
	info := &fieldKinds[k]
	switch {
	case l.Err() != nil || k == data:
		return 0
	case s.Has("hex"):
		if s.Has("bits") || s.Has("value") {
			l.Fail(s.Get("hex"), "hex stands alone; bits and value go together")
		}
		return 8 * len(l.hex(s.Get("hex"), "hex", maxSync))
	case s.Has("bits") && s.Has("bytes"):
		l.Fail(s.Get("bytes"), "bits and bytes are both the width; keep one")
		return 8
	case s.Has("bits"):
		return int(l.Number(s.Get("bits"), "bits", 1, int64(info.most)))
	}
	n := s.Need("bytes", "the width of the field (or bits)")
	if n == nil {
		return 8
	}
	if info.rest && l.Text(n, "bytes") == "rest" {
		return 0
	}
	return 8 * int(l.Number(n, "bytes", 1, int64(info.most/8)))
}

func (l *loader) summing(s *strictyaml.Section, width int) *summing {
	c := &summing{width: width}
	c.algorithm = l.Word(s.Need("algorithm", "sum, xor or crc"), "algorithm", algorithms)
	c.seed = uint32(l.Pattern(s.Get("seed"), "seed", width))
	c.xorOut = uint32(l.Pattern(s.Get("xor_out"), "xor_out", width))
	c.reflectIn = l.Truth(s.Get("reflect_in"), "reflect_in", false)
	c.reflectOut = l.Truth(s.Get("reflect_out"), "reflect_out", false)
	switch {
	case l.Err() != nil:
	case width%8 != 0:
		l.Fail(s.Node, "a checksum of %d bits; it has 8, 16, 24 or 32", width)
	case c.algorithm == xor && width != 8:
		l.Fail(s.Node, "an xor of %d bits; it has 8", width)
	case c.algorithm != crc:
		for _, key := range []string{"polynomial", "reflect_in", "reflect_out"} {
			if s.Has(key) {
				l.Fail(s.Get(key), "%s is for crc; leave it out", key)
			}
		}
	default:
		c.compile(uint32(l.Pattern(s.Need("polynomial", "highest power first and without it, such as 0x1021"), "polynomial", width)))
	}
	return c
}

// scaled reads how a number becomes a quantity.
func (l *loader) scaled(s *strictyaml.Section, f *field) {
	f.scale = 1
	if f.kind == bcd && f.bits%4 != 0 {
		l.Fail(s.Node, "field %s has %d bits; a decimal digit has 4", strictyaml.Quoted(f.name), f.bits)
	}
	if s.Has("unit") {
		f.unit = l.unit(s.Get("unit"))
	}
	if s.Has("none") {
		f.hasNone, f.none = true, l.Pattern(s.Get("none"), "none", f.bits)
	}
	if !s.Has("scale") && !s.Has("offset") {
		if f.bits > maxScaled && f.unit != device.NoUnit {
			l.Fail(s.Node, "field %s has %d bits; a quantity has at most %d", strictyaml.Quoted(f.name), f.bits, maxScaled)
		}
		return
	}
	scale, offset := l.decimal(s.Get("scale"), "scale", 1), l.decimal(s.Get("offset"), "offset", 0)
	f.exponent = min(scale.Exponent, offset.Exponent)
	var ok bool
	if f.scale, ok = shift(scale, f.exponent); ok {
		f.offset, ok = shift(offset, f.exponent)
	}
	switch {
	case l.Err() != nil:
	case f.bits > maxScaled:
		l.Fail(s.Node, "field %s has %d bits; one with a scale has at most %d", strictyaml.Quoted(f.name), f.bits, maxScaled)
	case !ok || f.scale == 0 || max(f.scale, -f.scale, f.offset, -f.offset) > maxScale:
		l.Fail(s.Node, "scale and offset of %s have too many digits together, or scale is 0; nine digits are enough", strictyaml.Quoted(f.name))
	}
}

func (l *loader) decimal(n ast.Node, what string, usual int64) device.Quantity {
	if n == nil {
		return device.Quantity{Coefficient: usual}
	}
	s := l.Text(n, what)
	q, err := device.ParseDecimal(s)
	if err != nil {
		l.Fail(n, "%s has to be a decimal number such as 0.025, not %s", what, strictyaml.Quoted(s))
	}
	return q
}

// shift returns the coefficient that q has with a lower exponent.
func shift(q device.Quantity, exponent int8) (int64, bool) {
	c := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(q.Exponent)-int64(exponent)), nil)
	c.Mul(c, big.NewInt(q.Coefficient))
	return c.Int64(), c.IsInt64() && c.Int64() != math.MinInt64
}

func (l *loader) enumeration(s *strictyaml.Section, f *field) {
	n := s.Need("values", "a mapping of each value to its name")
	m, ok := n.(*ast.MappingNode)
	if !ok {
		l.Fail(n, "values has to be a mapping such as {0: off, 1: on}")
		return
	}
	if len(m.Values) > maxValues {
		l.Fail(m, "values has %d entries; there is room for %d", len(m.Values), maxValues)
		return
	}
	for _, v := range m.Values {
		e := enumerated{raw: l.Pattern(v.Key, "a value", f.bits)}
		if _, ok := v.Value.(*ast.MappingNode); ok {
			s := l.Section(v.Value, "a value", "name", "quantity", "verb")
			e.name = l.name(s.Need("name", "how the value is called"), "name")
			if s.Has("quantity") {
				e.quantity = l.quantity(s.Get("quantity"), "quantity")
			}
			if s.Has("verb") {
				e.verb = l.verb(s.Get("verb"))
			}
		} else {
			e.name = l.name(v.Value, "the name of a value")
		}
		if l.Err() != nil {
			return
		}
		if slices.ContainsFunc(f.values, func(o enumerated) bool { return o.raw == e.raw || o.name == e.name }) {
			l.Fail(v.Key, "the value or its name %s stands there twice; keep one", strictyaml.Quoted(e.name))
			return
		}
		f.values = append(f.values, e)
	}
}
