// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// pump is a dialect with a field of every kind.
const pump = `dialect: 1
name: test-pump
device:
  manufacturer: Norra Medical
  model: Drip
  therapy: [insulin infusion, monitoring]
radio: {band: 433 MHz, carrier_hz: 433920000, bits_per_second: 9600}
frame:
  preamble: aa
  sync: d3 91
  repeats_ms: 250
  fields:
    - {name: version, kind: constant, bits: 3, value: 5}
    - {name: spare, kind: reserved, bits: 1}
    - {name: sequence, kind: counter, bits: 4, wraps: true}
    - {name: length, kind: length, bytes: 1, counts: [serial, tag], add: 2}
    - {name: serial, kind: address, bytes: 3, of: device, broadcast: 0xffffff, at: 2}
    - {name: remote, kind: address, bytes: 2, of: peer, worn: true, order: little}
    - {name: opcode, kind: opcode, bytes: 1}
    - {kind: data}
    - {name: tag, kind: tag, bytes: 4, at: -6}
    - {name: crc, kind: checksum, bytes: 2, algorithm: crc, polynomial: 0x1021, over: [version, tag]}
opcodes:
  - opcode: 0x10
    name: bolus
    means: command
    verb: deliver-bolus
    therapy: insulin infusion
    value: amount
    limit: 30 min
    fields:
      - {name: amount, kind: unsigned, bytes: 2, scale: 0.05, unit: U, none: 0xffff}
  - opcode: 0x11
    name: offsets
    means: report
    fields:
      - {name: temperature, kind: signed, bits: 12, scale: 0.1, offset: 20, unit: Cel, patient: [result, visit]}
      - {name: half, kind: enumeration, bits: 4, values: {0: zero, 15: {name: top, quantity: 2.5 V}}}
      - {name: born, kind: bcd, bytes: 4, patient: birth-date}
      - {name: notes, kind: text, bytes: rest, patient: name}
      - {name: end, kind: constant, hex: "0d0a"}
  - opcode: 0x12
    name: sealed
    means: command
    verb: suspend
    therapy: insulin infusion
    fields:
      - {name: salt, kind: nonce, bytes: 2}
      - {name: size, kind: length, bytes: 1, counts: body}
      - {name: body, kind: ciphertext, bytes: rest}
  - opcode: 0x13
    name: switch
    means: command
    verb_from: state
    therapy: insulin infusion
    fields:
      - {name: state, kind: enumeration, bytes: 1, values: {0: {name: "off", verb: suspend}, 1: {name: "on", verb: resume}}}
  - {opcode: 0x20, name: given, means: delivered, verb: deliver-bolus, therapy: insulin infusion, value: "2.5 U"}
  - {opcode: 0x30, name: wake, means: wake}
  - {opcode: 0x31, name: pair, direction: to-device, means: pair}
  - {opcode: 0x40, name: done, means: answer, answers: bolus}
  - {opcode: 0x41, name: no, means: answer, succeeded: false}
  - opcode: 0x42
    name: verdict
    means: answer
    answers: given-up
    result: code
    succeeded: [fine, late]
    fields:
      - {name: code, kind: enumeration, bytes: 1, values: {0: fine, 1: late, 2: never}}
  - {opcode: 0x43, name: given-up, means: command, verb: cancel-bolus, therapy: insulin infusion}
  - opcode: 0x50
    name: who
    means: identity
    model: model
    serial: serial
    fields:
      - {name: model, kind: text, bytes: 6, patient: none}
  - {opcode: 0x60, name: beep, means: alarm}
  - {opcode: 0x61, name: battery, means: status}
  - {opcode: 0x62, name: poll, direction: from-device, means: link}
`

func load(t testing.TB, src string) *Dialect {
	t.Helper()
	d, err := Load("test.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLoad(t *testing.T) {
	d := load(t, pump)
	if d.Name != "test-pump" || d.Manufacturer != "Norra Medical" || d.Model != "Drip" || d.Class != "insulin pump" || !d.Worn ||
		d.Therapies != device.TherapiesOf(device.InsulinInfusion, device.Monitoring) || d.Repeats != 250*time.Millisecond ||
		d.Radio != (Radio{"433 MHz", 433920000, 9600}) || len(d.Opcodes) != 15 {
		t.Errorf("%s %s %s, %s, worn %v, %v, %v, %d opcodes", d.Manufacturer, d.Model, d.Class, d.Therapies, d.Worn, d.Repeats, d.Radio, len(d.Opcodes))
	}
	// 256 values of length less 2: 253 bytes from serial to tag, of which 10 are no data.
	if d.maxData != 243 || d.opcodeBits != 8 || d.proof != 3+8+16 {
		t.Errorf("room for %d bytes, %d bits of opcode, %d checked", d.maxData, d.opcodeBits, d.proof)
	}
	for _, o := range d.Opcodes {
		want := ToDevice
		switch o.Kind {
		case Report, Status, Alarm, Answer, Delivered, Identity, Link:
			want = FromDevice
		}
		if o.Direction != want {
			t.Errorf("%s goes %s", o.Name, directions[o.Direction])
		}
	}
	for _, src := range []string{
		"---\n" + pump, // one document may begin so
		strings.ReplaceAll(pump, "\n", "\r\n"),
		"# a comment\n\n" + pump + "\n# another\n",
		strings.Replace(pump, "  therapy: [insulin infusion, monitoring]\n", "  therapy: [insulin infusion, monitoring]\n  worn: false\n  class: drip\n", 1),
	} {
		if e := load(t, src); len(e.Opcodes) != 15 || strings.Contains(src, "worn: false") == e.Worn {
			t.Errorf("worn %v, %d opcodes", e.Worn, len(e.Opcodes))
		}
	}
}

// TestLoadRefuses changes one thing in a dialect that is right. What is said
// has to name the place, which is marked @@ where it is in what was changed,
// and what to do.
func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"dialect: 1\n", "@@", `the dialect lacks the key dialect: the version of the language, 1`},
		{"dialect: 1", "dialect: @@2", `dialect has to be 1: there is no other version of this format`},
		{"dialect: 1", "dialect: @@one", `dialect has to be 1: there is no other version of this format`},
		{"name: test-pump", "name: @@Test Pump", `name "Test Pump" has to be 1 to 32 lower-case letters, digits and hyphens, a letter first`},
		{"name: test-pump", "name: @@" + strings.Repeat("a", 33), `name "aaaaaaaaa`},
		{"name: test-pump", "name:@@", `name has to be text on one line`},
		{"name: test-pump", "name: @@[a, b]", `name has to be text on one line`},
		{"name: test-pump", "@@nmae: test-pump", `the dialect has no key "nmae"; its keys are dialect, name, device, radio, frame, opcodes`},
		{"name: test-pump", "name: test-pump\n@@name: again", `not YAML: mapping key "name" already defined at [2:1]`},
		{"name: test-pump", "name: @@&a test-pump", `"&" is YAML that a dialect does without`},
		{"name: test-pump", "name: @@!!str test-pump", `"!!str" is YAML that a dialect does without`},
		{"name: test-pump", "name: @@|\n  test-pump", `"|" is YAML that a dialect does without`},
		{"name: test-pump", "name: test-pump\n\tmodel: X", `3:1: a tab before the text; YAML is indented with spaces`},
		{"name: test-pump", "name: test-pump\n---\ndialect: 1", `1:1: there are 2 YAML documents`},
		{"name: test-pump", `name: "test`, `81:68: not YAML: `},
		{"model: Drip", "model: @@\"a\\tb\"", `model has to be at most 64 bytes of text on one line`},
		{"model: Drip", "model: @@" + strings.Repeat("a", 65), `model has to be at most 64 bytes of text on one line`},
		{"therapy: [insulin infusion, monitoring]", "therapy: @@healing", `unknown therapy "healing"; it is one of pacing, defibrillation, insulin infusion, `},
		{"therapy: [insulin infusion, monitoring]", "worn: true", `4:3: device lacks the key therapy: what it does to a body, such as insulin infusion`},
		{"therapy: [insulin infusion, monitoring]", "therapy: [insulin infusion, monitoring]\n  worn: @@yes", `worn cannot be "yes"; it is one of false, true`},
		{"carrier_hz: 433920000", "carrier_hz: @@433.92 MHz", `carrier_hz has to be a whole number from 1 to 1000000000000`},
		{"carrier_hz: 433920000", "carrier_hz: @@0433920000", `carrier_hz begins with a zero; write 10 or 0x10`},
		{"repeats_ms: 250", "repeats_ms: @@-1", `repeats_ms has to be a whole number from 0 to 3600000`},
		{"sync: d3 91", "sync: @@d3 9", `sync has to be 1 to 16 bytes of two hexadecimal digits each, such as "d3 91"`},
		{"sync: d3 91", "sync: @@" + strings.Repeat("00", 17), `sync has to be 1 to 16 bytes`},
		{"sync: d3 91", "order: @@middle", `order cannot be "middle"; it is one of big, little`},
		{"kind: constant, bits: 3", "kind: @@const, bits: 3", `kind cannot be "const"; it is one of constant, reserved, opcode, data, length,`},
		{"name: version, kind: constant, bits: 3, value: 5", "name: version, bits: 3, value: 5", `13:7: a field lacks the key kind: one of constant, `},
		{"value: 5}", "value: @@8}", `value has to be a whole number that fits 3 bits, such as 0x1f`},
		{"value: 5}", "value: @@-1}", `value has to be a whole number that fits 3 bits`},
		{", value: 5}", "}", `13:7: a field lacks the key value: what it always is, or hex for bytes`},
		{"bits: 3, value: 5", "hex: @@d3, bits: 3", `hex stands alone; bits and value go together`},
		{"bits: 3, value: 5", "value: 5", `13:7: a field lacks the key bytes: the width of the field (or bits)`},
		{"bits: 3, value: 5", "bits: @@0, value: 5", `bits has to be a whole number from 1 to 64`},
		{"bits: 3, value: 5", "bits: @@65, value: 5", `bits has to be a whole number from 1 to 64`},
		{"kind: reserved, bits: 1", "kind: reserved, bits: 1, bytes: @@1", `bits and bytes are both the width; keep one`},
		{"kind: reserved, bits: 1", "kind: reserved, bits: 1, @@unit: V", `a field of kind reserved has no key "unit"; its keys are name, kind, at, bits, bytes`},
		{"kind: reserved, bits: 1", "kind: reserved, bits: 2", `18:76: field "remote" is not whole bytes and has no order; first_bit of the frame decides`},
		{"kind: counter, bits: 4", "kind: counter, bits: 4, order: @@little", `field "sequence" is not whole bytes and has no order; first_bit of the frame decides`},
		{"name: sequence", "name: spare", `15:7: a second field "spare"; give it another name`},
		{"name: sequence, ", "", `15:7: a field lacks the key name: how the field is called`},
		{"counts: [serial, tag]", "counts: [serial, @@tail]", `counts names no field of this list: "tail"`},
		{"counts: [serial, tag], ", "", `16:7: a field lacks the key counts: the first and the last field, as in [opcode, data]`},
		{"counts: [serial, tag]", "counts: @@[tag, serial]", `"tag" stands behind "serial"; turn them round`},
		{"counts: [serial, tag]", "counts: @@[sequence, tag]", `from "sequence" to "tag" is not whole bytes; begin and end with fields that stand at the edge of one`},
		{"counts: [serial, tag]", "counts: [serial, opcode, @@tag]", `counts has 3 entries; there is room for 2`},
		{"add: 2", "add: -11", `16:7: field "length" cannot say a length of -1; give it more bits, or another add`},
		{"add: 2", "add: 250", `16:7: field "length" cannot say a length of 260; give it more bits, or another add`},
		{"at: 2}", "at: @@1}", `field "serial" overlaps the one before by 1 byte; correct at, or that field's width`},
		{"at: 2}", "at: @@3}", `a gap of 1 byte before field "serial"; add a field of kind reserved`},
		{"at: 2}", "at: @@-2}", `field "serial" has its place from the front; here that is at: 2`},
		{"at: -6}", "at: @@6}", `field "tag" stands behind "data", which takes what is left; count its place from the end, as in at: -6`},
		{"at: -6}", "at: @@-7}", `field "tag" overlaps`},
		{"of: device, ", "", `17:7: a field lacks the key of: device, or peer for a programmer, remote control or sensor`},
		{"of: device, ", "of: device, worn: @@true, ", `whether the device is worn stands under device; here it is for a peer`},
		{"broadcast: 0xffffff", "broadcast: @@0x1ffffff", `broadcast has to be a whole number that fits 24 bits`},
		{"    - {name: opcode, kind: opcode, bytes: 1}\n", "", `13:5: no field is of kind opcode; mark the one that tells messages apart, or a constant one`},
		{"kind: opcode, bytes: 1}", "kind: opcode, bytes: 4}\n    - {name: more, kind: opcode, bits: 8}", `13:5: the opcode fields have 40 bits together; there is room for 32`},
		{"    - {kind: data}\n", "    - {kind: data}\n    - @@{name: more, kind: data}\n", `two fields, "data" and "more", take what is left; give one a number of bytes`},
		{"name: tag, kind: tag, bytes: 4", "name: tag, kind: tag, bytes: @@65", `bytes has to be a whole number from 1 to 64`},
		{"algorithm: crc", "algorithm: @@md5", `algorithm cannot be "md5"; it is one of sum, xor, crc`},
		{"algorithm: crc, polynomial: 0x1021", "algorithm: crc", `22:7: a field lacks the key polynomial: highest power first and without it, such as 0x1021`},
		{"algorithm: crc", "algorithm: sum", `22:73: polynomial is for crc; leave it out`},
		{"algorithm: crc, polynomial: 0x1021", "algorithm: xor", `22:7: an xor of 16 bits; it has 8`},
		{"kind: checksum, bytes: 2", "kind: checksum, bits: 12", `22:7: a checksum of 12 bits; it has 8, 16, 24 or 32`},
		{"polynomial: 0x1021", "polynomial: @@0x11021", `polynomial has to be a whole number that fits 16 bits`},
		{"over: [version, tag]", "over: @@[version, crc]", `checksum "crc" is over itself; end before it`},
		{"over: [version, tag]}", "over: [version, tag]}\n    - @@{name: odd, kind: reserved, bits: 3}", `the fields of the frame do not end on a byte; put 5 reserved bits behind the last`},
		{"opcode: 0x11", "opcode: @@0x10", `opcode 0x10 is that of "bolus"; each stands there once`},
		{"opcode: 0x11", "opcode: @@0x100", `opcode has to be a whole number that fits 8 bits`},
		{"name: offsets", "name: @@bolus", `a second opcode "bolus"; give it another name`},
		{"means: report", "means: @@reports", `means cannot be "reports"; it is one of command, delivered, answer, report,`},
		{"means: report", "means: report\n    @@verb: suspend", `an opcode that means report has no key "verb"; its keys are opcode, name, direction, means, fields`},
		{"means: report", "means: report\n    direction: @@to-device", `what means report goes from-device; leave direction out, or change means`},
		{"direction: to-device, ", "", `60:5: an opcode lacks the key direction: to-device or from-device`},
		{"verb: deliver-bolus\n", "verb: @@give-bolus\n", `unknown verb "give-bolus"; it is one of deliver-bolus, cancel-bolus,`},
		{"    verb: deliver-bolus\n", "", `24:5: an opcode lacks the key verb: what is asked for`},
		{"    therapy: insulin infusion\n    value: amount\n", "    value: amount\n", `24:5: an opcode lacks the key therapy: which of the device's therapies it is for: insulin infusion, monitoring`},
		{"    therapy: insulin infusion\n    value: amount\n", "    therapy: @@pacing\n    value: amount\n", `the device has no therapy "pacing"; its list stands under device`},
		{"value: amount", "value: @@amuont", `value names no field of this message: "amuont"; add it, or correct the name`},
		{"value: amount", "value: @@serial", `"serial" is of kind address and has no quantity`},
		{"value: amount", "value: @@2.5 furlong", `value cannot be "2.5 furlong": unknown unit; write a number and a UCUM code, such as "2.5 V"`},
		{"value: amount", "value: @@2.5 U/h", `the value of deliver-bolus is in "[iU]/h"; it has to be a dose, such as [iU] or mL`},
		{"unit: U,", "unit: @@units,", `unknown unit "units"; its UCUM code is [iU]`},
		{"unit: U,", "unit: @@furlong,", `unknown unit "furlong"; write its UCUM code, such as mL/h, V or ms`},
		{"unit: U,", "unit: V,", `29:12: the value of deliver-bolus is in "V"; it has to be a dose, such as [iU] or mL`},
		{"limit: 30 min", "now: @@30 min", `the now of deliver-bolus is in "min"; it has to be a dose`},
		{"scale: 0.05", "scale: @@5e-2x", `scale has to be a decimal number such as 0.025, not "5e-2x"`},
		{"scale: 0.05", "scale: 0", `32:9: scale and offset of "amount" have too many digits together, or scale is 0; nine digits are enough`},
		{"scale: 0.05", "scale: 0.0123456789012", `32:9: scale and offset of "amount" have too many digits together`},
		{"offset: 20", "offset: 2E120", `37:9: scale and offset of "temperature" have too many digits together`},
		{"bytes: 2, scale: 0.05", "bytes: 5, scale: 0.05", `32:9: field "amount" has 40 bits; one with a scale has at most 32`},
		{"none: 0xffff", "none: @@0x10000", `none has to be a whole number that fits 16 bits`},
		{"patient: [result, visit]", "patient: [result, @@phone]", `patient cannot be "phone"; it is one of none, name,`},
		{", patient: name}", "}", `40:9: a field lacks the key patient: none, or what it says of the patient`},
		{"{0: zero, 15: {name: top, quantity: 2.5 V}}", "{0: zero, @@16: top}", `a value has to be a whole number that fits 4 bits`},
		{"{0: zero, 15: {name: top, quantity: 2.5 V}}", "{0: zero, @@0x0: top}", `the value or its name "top" stands there twice; keep one`},
		{"{0: zero, 15: {name: top, quantity: 2.5 V}}", "{0: zero, @@1: zero}", `the value or its name "zero" stands there twice; keep one`},
		{"{0: zero, 15: {name: top, quantity: 2.5 V}}", "@@[zero, top]", `values has to be a mapping such as {0: off, 1: on}`},
		{"quantity: 2.5 V", "quantity: @@much", `quantity cannot be "much": not a decimal number`},
		{"kind: bcd, bytes: 4", "kind: bcd, bits: 30", `39:9: field "born" has 30 bits; a decimal digit has 4`},
		{"{name: notes, kind: text, bytes: rest", "{name: notes, kind: text, bytes: @@some", `bytes has to be a whole number from 1 to 2048`},
		{"bits: 12, scale: 0.1", "bits: 11, scale: 0.1", `40:9: field "notes" does not begin on a byte; put 1 reserved bits before it`},
		{"kind: text, bytes: rest, patient: name}", "kind: @@data}", `kind cannot be "data"`},
		{"name: temperature", "name: serial", `37:9: a second field "serial"; give it another name`},
		{"{name: salt, kind: nonce, bytes: 2}", "{name: salt, kind: nonce, bytes: @@rest}", `bytes has to be a whole number from 1 to 64`},
		{"{name: salt, kind: nonce, bytes: 2}", "{name: salt, kind: counter, bits: 64}", `42:5: the counters of a message have 68 bits together; there is room for 64`},
		{"{name: salt, kind: nonce, bytes: 2}", "{name: salt, kind: bytes, bytes: 300}", `48:7: the fields have 301 bytes; the frame has room for 243`},
		{"verb_from: state", "verb_from: @@serial", `"serial" has to be an enumeration with values such as {name: stop, verb: suspend}`},
		{"verb_from: state", "verb_from: @@state\n    verb: resume", `verb and verb_from are both the verb; keep one`},
		{"answers: bolus", "answers: @@bolas", `answers names no message to the device: "bolas"`},
		{"answers: bolus", "answers: @@beep", `answers names no message to the device: "beep"`},
		{"succeeded: [fine, late]", "succeeded: [fine, @@never-ever]", `"never-ever" is no value of "code"`},
		{"    succeeded: [fine, late]\n", "", `63:5: an opcode lacks the key succeeded: the values of result that say so, as in [done]`},
		{"model: model\n", "model: @@serial\n", `model has to be a field of kind text with patient: none`},
		{"kind: text, bytes: 6, patient: none", "kind: text, bytes: 6, patient: name", `75:12: model has to be a field of kind text with patient: none`},
		{"serial: serial\n", "serial: @@number\n", `serial names no field of this message: "number"; add it, or correct the name`},
	} {
		src := strings.Replace(pump, tt.old, tt.new, 1)
		if src == pump {
			t.Fatalf("%q is not in the dialect", tt.old)
		}
		want := "test.yaml:" + tt.want
		if before, after, ok := strings.Cut(src, "@@"); ok {
			src = before + after
			line := before[strings.LastIndexByte(before, '\n')+1:]
			want = fmt.Sprintf("test.yaml:%d:%d: %s", strings.Count(before, "\n")+1, len(line)+1, tt.want)
		}
		_, err := Load("test.yaml", []byte(src))
		var e *LoadError
		switch {
		case !errors.As(err, &e):
			t.Errorf("%q: %v", tt.new, err)
		case !strings.HasPrefix(err.Error(), want):
			t.Errorf("%q:\n got %v\nwant %s", tt.new, err, want)
		}
	}
	for _, tt := range []struct{ name, src, want string }{
		{"empty", "", "there is nothing in this file"},
		{"a list", "- a\n", "test.yaml:1:1: the dialect has to be a mapping with the keys dialect, name"},
		{"a word", "pump", "test.yaml:1:1: the dialect has to be a mapping"},
		{"binary", "dialect: \x00", "test.yaml:1:1: this is not text; save the file as UTF-8"},
		{"UTF-16", "\xff\xfed\x00", "test.yaml:1:1: this is not text"},
		{"a block of empty lines", "dialect: 1\na: |\n" + strings.Repeat(" \n", 32000), "test.yaml:67:1: more than 64 empty lines in a row; take them out"},
		{"more empty lines", pump + strings.Repeat("\n", strictyaml.MaxEmpty+1), "more than 64 empty lines"},
		{"a long line", pump + "# " + strings.Repeat("x", 511), "test.yaml:82:512: a line of 513 bytes; break it after at most 512"},
		{"no data", strings.NewReplacer("    - {kind: data}\n", "", ", at: -6", "").Replace(pump), "the frame has no place for fields; add {kind: data} to its fields"},
		{"no opcodes", pump[:strings.Index(pump, "opcodes:")] + "opcodes: []\n", "opcodes is empty; list at least one"},
		{"no fields", strings.Replace(pump, "fields:\n    - {name: version", "fields: []\n  x:\n    - {name: version", 1), `frame has no key "x"`},
		{"text as fields", "dialect: 1\nname: a\ndevice: {therapy: pacing}\nframe: {fields: none}\n", "a field has to be a mapping"},
	} {
		_, err := Load("test.yaml", []byte(tt.src))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// TestLoadBounds goes to both sides of each bound.
func TestLoadBounds(t *testing.T) {
	list := func(n int, row string) (b strings.Builder) {
		for i := range n {
			fmt.Fprintf(&b, row, i, i)
		}
		return b
	}
	dialect := func(fields, opcodes string) string {
		return "dialect: 1\nname: a\ndevice: {therapy: pacing}\nframe:\n  fields:\n    - {name: opcode, kind: opcode, bytes: 2}\n" + fields +
			"    - {kind: data}\nopcodes:\n" + opcodes
	}
	if _, err := Load("test.yaml", []byte(pump+strings.Repeat("\n", strictyaml.MaxEmpty))); err != nil {
		t.Error(err)
	}
	one := "  - {opcode: 0, name: wake, means: wake}\n"
	fields := func(n int) string {
		b := list(n, "    - {name: f%d, kind: unsigned, bytes: 1, none: %d}\n")
		return dialect(b.String(), one)
	}
	opcodes := func(n int) string {
		b := list(n, "  - {opcode: %d, name: o%d, means: wake}\n")
		return dialect("", b.String())
	}
	values := func(n int) string {
		b := list(n, "%d: v%d,\n")
		return dialect("    - {name: e, kind: enumeration, bytes: 2, values: {"+b.String()+"}}\n", one)
	}
	nested := func(n int) string {
		return dialect("", "  - {opcode: 0, name: "+strings.Repeat("[", n)+"wake"+strings.Repeat("]", n)+", means: wake}\n")
	}
	padded := func(n int) string {
		src := dialect("", one)
		return src + strings.Repeat("# padding padding padding\n", n)[:n-len(src)]
	}
	frame := func(n int) string {
		return dialect(fmt.Sprintf("    - {name: f, kind: bytes, bytes: %d}\n", n), one)
	}
	for _, tt := range []struct {
		name    string
		fits    string
		toomuch string
		want    string
	}{
		{"fields", fields(maxFields - 2), fields(maxFields - 1), "test.yaml:46:7: fields has 41 entries; there is room for 40"},
		{"opcodes", opcodes(maxOpcodes), opcodes(maxOpcodes + 1), "opcodes has 513 entries; there is room for 512"},
		{"values", values(maxValues), values(maxValues + 1), "values has 257 entries; there is room for 256"},
		{"file", padded(strictyaml.MaxFileBytes), padded(strictyaml.MaxFileBytes + 1), "test.yaml:1:1: the file has 65537 bytes; a dialect has at most 65536"},
		{"frame", frame(MaxFrame - 2), frame(MaxFrame - 1), "the fields have 2049 bytes; a frame has at most 2048"},
	} {
		load(t, tt.fits)
		if _, err := Load("test.yaml", []byte(tt.toomuch)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := Load("test.yaml", []byte(nested(strictyaml.MaxNesting-1))); err == nil || !strings.Contains(err.Error(), "name has to be text on one line") {
		t.Error(err)
	}
	for _, open := range []string{"[", "{a: ", "[{a: "} {
		if _, err := Load("test.yaml", []byte("name:\n"+strings.Repeat(" "+open+"\n", 9000))); err == nil || !strings.Contains(err.Error(), "brackets in brackets") {
			t.Errorf("%q: %v", open, err)
		}
	}
}

// TestLoadErrorTellsNothing gives files that are no dialects: what is in them
// may be about a patient, and no error repeats it.
func TestLoadErrorTellsNothing(t *testing.T) {
	const secret = "Lindqvist"
	for _, src := range []string{
		`{"time":"2026-03-03T07:17:00Z","dialect":"Lindqvist","hex":"2dd448"}`,
		`{"time":"2026-03-03T07:17:00Z","Lindqvist":"halden-mics","hex":"2dd448"}` + "\n" + `{"time":"2026-03-03T07:17:00Z"}`,
		"name,born\nLindqvist,1954-08-17\n",
		"Lindqvist: 1",
		"name: Lindqvist\nname: Lindqvist",
		"name: &Lindqvist x",
		"name: !Lindqvist x",
		"name: \"Lindqvist",
		"Lindqvist:\n\t- [",
		"- Lindqvist\nLindqvist: [",
		"dialect: 2\nname: Lindqvist",
		"dialect: Lindqvist",
		"dialect: 10\ndevice: {therapy: Lindqvist}",
		"device: {therapy: Lindqvist}\nname: x",
		"dialect: one\nframe: {order: Lindqvist}",
	} {
		_, err := Load("x", []byte(src))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", src, err)
		}
	}
	// Who writes a dialect is told what is wrong.
	_, err := Load("x", []byte("dialect: 1 # the language's version\nname: Lindqvist"))
	if err == nil || !strings.Contains(err.Error(), secret) {
		t.Error(err)
	}
}
