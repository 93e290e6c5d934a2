// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"os"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
)

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/dialects.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPage holds docs/dialects.md to the code: its dialect loads and reads its
// frame, and no word of the language is missing.
func TestPage(t *testing.T) {
	md := page(t)
	_, src, _ := strings.Cut(md, "```yaml\n")
	src, _, _ = strings.Cut(src, "```")
	d := load(t, src)
	var m Message
	for _, h := range []string{"d391 91 a00001 10 02 0050 f6b4", "d39191a0000110020050f6b4"} {
		want := "bolus command to-device; deliver-bolus insulin infusion proposed [4.00 [iU]] [] []; channel 0 order device-identity"
		if err := d.Parse(unhex(t, h), &m); err != nil || show(&m) != want || m.Counter != 1 || m.Device.Value != 0xa00001 {
			t.Errorf("%s: %v", show(&m), err)
		}
	}
	if !strings.Contains(md, "`d391 91 a00001 10 02 0050` and the CRC `f6b4`") || !strings.Contains(md, `"hex":"d39191a0000110020050f6b4"`) {
		t.Error("the frame of the page is another")
	}

	words := append(append(append([]string{}, kinds[1:]...), directions[1:]...), patientWords...)
	words = append(append(words, algorithms[1:]...), identityKeys...)
	for _, info := range fieldKinds[1:] {
		words = append(append(words, info.name), info.keys...)
	}
	for _, keys := range meansKeys {
		words = append(words, keys...)
	}
	for v := device.NoVerb + 1; v.String() != ""; v++ {
		words = append(words, v.String())
	}
	for th := device.NoTherapy + 1; th.String() != ""; th++ {
		words = append(words, th.String())
	}
	for _, w := range words {
		if !strings.Contains(md, "`"+w+"`") && !strings.Contains(md, "`"+w+": ") {
			t.Errorf("the page does not say %q", w)
		}
	}
	for _, key := range []string{
		"dialect", "name", "manufacturer", "model", "class", "therapy", "worn", "band", "carrier_hz", "bits_per_second", "order", "first_bit",
		"preamble", "sync", "repeats_ms", "fields", "opcodes",
	} {
		if !strings.Contains(src, key+":") {
			t.Errorf("the dialect of the page does not show %q", key)
		}
	}
}

// spinal was written from docs/dialects.md alone, for an implanted drug pump with
// another order of bits, a direction bit, an XOR, and its own reports of what it gave.
const spinal = `dialect: 1
name: spinal-20
device:
  manufacturer: Norra Medical
  model: Spinal 20
  therapy: intrathecal infusion
radio: {band: inductive telemetry, carrier_hz: 175000}
frame:
  first_bit: low
  sync: 5a
  repeats_ms: 1000
  fields:
    - {name: from-pump, kind: opcode, bits: 1}
    - {name: message, kind: opcode, bits: 7}
    - {name: number, kind: counter, bytes: 2, order: little, at: 1}
    - {name: pump, kind: address, bytes: 3, order: little, of: device}
    - {kind: data}
    - {name: check, kind: checksum, bytes: 1, algorithm: xor, over: [from-pump, data], at: -1}
opcodes:
  - opcode: 0x21
    name: rate
    means: command
    verb: set-infusion-rate
    value: rate
    now: rate-now
    fields:
      - {name: rate, kind: unsigned, bytes: 2, scale: 0.001, unit: mL/d}
      - {name: rate-now, kind: unsigned, bytes: 2, scale: 0.001, unit: mL/d, none: 0}
  - opcode: 0x90
    name: bolus-given
    means: delivered
    verb: deliver-bolus
    value: volume
    fields:
      - {name: volume, kind: unsigned, bytes: 1, scale: 0.01, unit: mL}
  - {opcode: 0x22, name: stop, means: command, verb: stop-infusion}
  - opcode: 0x91
    name: pump
    means: identity
    model: type
    serial: pump
    fields:
      - {name: type, kind: text, bytes: 9, patient: none}
  - opcode: 0x92
    name: alarm
    means: alarm
    fields:
      - {name: cause, kind: enumeration, bits: 3, values: {1: empty, 2: stalled}}
      - {name: spare, kind: reserved, bits: 5}
`

func TestPageIsEnough(t *testing.T) {
	d := load(t, spinal)
	var m Message
	for _, tt := range []struct{ hex, want string }{
		{"5a 42 0201 0c0b0a 01f4 00fa 43", "rate command to-device; set-infusion-rate intrathecal infusion proposed [0.500 mL/d] [0.250 mL/d] []; channel 0 order device-identity"},
		{"5a 21 0301 0c0b0a 05 2b", "bolus-given delivered from-device; deliver-bolus intrathecal infusion delivered [0.05 mL] [] []; channel 0 order device-identity"},
		{"44 0401 0c0b0a 4c", "stop command to-device; stop-infusion intrathecal infusion proposed [] [] []; channel 0 order device-identity"},
		{"5a 23 0501 0c0b0a 5370696e616c203230 21", "pump identity from-device; channel 0 device-identity;  Spinal 20 , serial true"},
		{"5a 25 0601 0c0b0a 02 2d", "alarm alarm from-device; channel 0 device-identity"},
	} {
		frame := unhex(t, tt.hex)
		if err := d.Parse(frame, &m); err != nil || show(&m) != tt.want || m.Counter>>8 != 1 || m.Device.Value != 0x0a0b0c {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.hex, err, show(&m), tt.want)
		}
		if got := d.Append(nil, &m); string(got) != string(frame) {
			t.Errorf("%s: %x", tt.hex, got)
		}
	}
	if err := d.Parse(unhex(t, "5a 42 0201 0c0b0a 01f4 00fa 43"), &m); err != nil || device.EffectOf(&m.Command) != device.Increases {
		t.Errorf("%v, %v", device.EffectOf(&m.Command), err)
	}
}
