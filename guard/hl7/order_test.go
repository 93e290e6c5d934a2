// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/hl7"
)

// testPolicy has the pumps of the ward.
func testPolicy() *Policy {
	return (&Policy{Pumps: map[string][]string{"pump-3": {"ACDE48FFFE000303"}, "pump-4": {"AC-DE-48-FF-FE-00-03-04"}}}).index()
}

// readText reads an order, and the pumps it asks with why nothing can be decided.
func readText(t *testing.T, text string, quirks hl7.Quirks) (asks []asking, pumps []string, doubt, why string) {
	t.Helper()
	m, err := hl7.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	h := m.Header()
	if !mayOrder(&m, &h, []byte(text)) {
		t.Fatal("not seen as an order")
	}
	asks, why = testPolicy().read(&m, &h, quirks)
	for _, a := range asks {
		if !slices.Contains(pumps, a.device) {
			pumps = append(pumps, a.device)
		}
		if doubt == "" {
			doubt = a.request.Undecided
		}
		if a.request.Undecided == "" && doubt != "" {
			t.Error("a part is decided, and another is not")
		}
	}
	return asks, pumps, doubt, why
}

// TestRead: which pump is asked, and what cannot be decided.
func TestRead(t *testing.T) {
	whole := noradrenaline("RGV-1", "0.2").String()
	const (
		one  = "pump-3"
		both = "pump-3 pump-4" // nobody knows for which one it is taken
	)
	pumpOBX := whole[strings.Index(whole, "OBX|1"):strings.Index(whole, "OBX|2")]
	weightOBX := whole[strings.Index(whole, "OBX|2"):]
	step := whole[strings.Index(whole, "RXG|"):strings.Index(whole, "OBX|1")]
	for _, test := range []struct {
		name     string
		old, new string
		quirks   hl7.Quirks
		pumps    string
		doubt    string // of which this is a part; "": it can be decided
	}{
		{"as it is", "", "", 0, one, ""},
		{"the text of the unit is left out", "^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM", "^^MDC", 0, one, ""},
		{"in UCUM alone", "265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM", "ug/kg/min^^UCUM", 0, one, ""},
		{"no unit", "|0.2|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM|", "|0.2||", 0, one, "RXG-15"},
		{"an unknown unit", "265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM", "gallon^^UCUM", 0, both, "RXG-16"},
		{"an unknown code beside a known one", "^ug/kg/min^ug/kg/min^UCUM", "^gallon^gallon^UCUM", 0, both, "RXG-16"},
		{"an unknown code of MDC", "265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN", "299999^MDC_DIM_MICRO_G_PER_KG_PER_MIN", 0, both, "RXG-16"},
		{"two units that differ", "^ug/kg/min^ug/kg/min^UCUM", "^mg/kg/min^mg/kg/min^UCUM", 0, one, "RXG-15"},
		{"a third coding", "^ug/kg/min^ug/kg/min^UCUM", "^ug/kg/min^ug/kg/min^UCUM^mg/kg/min", 0, both, "RXG-16"},
		{"no amount", "|0.2|", "||", 0, one, "RXG-15"},
		{"not a number", "|0.2|", "|NaN|", 0, one, "RXG-15"},
		{"infinite", "|0.2|", "|INF|", 0, one, "RXG-15"},
		{"with a comma", "|0.2|", "|0,2|", 0, one, "RXG-15"},
		{"below zero", "|0.2|", "|-0.2|", 0, one, "below zero"},
		{"two amounts", "|0.2|", "|0.2~4|", 0, both, "RXG-15 is there twice"},
		{"two components", "|0.2|", "|0.2^4|", 0, one, "RXG-15"},
		{"an escaped amount", "|0.2|", "|\\X30\\.2|", 0, both, "RXG-15 is escaped"},
		{"two units in a row", "^UCUM|4|", "^UCUM~mg/kg/min^^UCUM|4|", 0, both, "RXG-16 is there twice"},
		{"without weight", weightOBX, "", 0, one, "weight or concentration"},
		{"without concentration", step[strings.Index(step, "|4|"):strings.Index(step, "\rRXR")], "", 0, one, "weight or concentration"},
		{"weight zero", "||70|", "||0|", 0, one, "weight or concentration"},
		{"weight twice", weightOBX, weightOBX + weightOBX, 0, both, "twice"},
		{"weight without a unit", "|70|263875^MDC_DIM_KILO_G^MDC^kg^kg^UCUM|", "|70||", 0, one, "OBX-5"},
		{"weight in a volume", "263875^MDC_DIM_KILO_G^MDC^kg^kg^UCUM", "263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM", 0, one, "OBX-5"},
		{"another pump", "ACDE48FFFE000303^^ACDE48FFFE000303^", "ACDE48FFFE000304^^ACDE48FFFE000304^", 0, "pump-4", ""},
		{"with hyphens", "ACDE48FFFE000303^^ACDE48FFFE000303^", "AC-DE-48-FF-FE-00-03-03^^^", 0, one, ""},
		{"the deprecated form", "ACDE48FFFE000303^^ACDE48FFFE000303^", "^^ACDE48FFFE000303^", 0, one, ""},
		{"its two forms differ", "ACDE48FFFE000303^^ACDE48FFFE000303^", "ACDE48FFFE000303^^ACDE48FFFE000304^", 0, both, "two pumps"},
		{"its pump is written twice", "^EUI-64\rOBX|2", "^EUI-64~ACDE48FFFE000304^^ACDE48FFFE000304^EUI-64\rOBX|2", 0, both, "OBX-18 is there twice"},
		{"its pump is said twice", pumpOBX, pumpOBX + pumpOBX, 0, both, "twice"},
		{"two pumps in two steps", weightOBX, strings.ReplaceAll(weightOBX+step+pumpOBX, "0303", "0304"), 0, both, "two pumps"}, // the first is 0303
		{"two weights in two steps", weightOBX, weightOBX + step + pumpOBX + strings.Replace(weightOBX, "|70|", "|700|", 1), 0, both, "two weights"},
		{"an unknown control code", "ORC|XO", "ORC|DC", 0, one, "ORC-1"},
		{"no control code", "ORC|XO", "ORC|", 0, one, "ORC-1"},
		{"a titration with a volume", "RXG|1|||3628^Noradrenaline^RXNORM||", "RXG|1|||3628^Noradrenaline^RXNORM|500|", 0, one, "RXG-5"},
		{"of another trigger", "RGV^O15^RGV_O15", "RGV^O99", 0, both, "PCD-03"},
		{"of pharmacy", "RGV^O15^RGV_O15", "RDE^O11^RDE_O11", 0, both, "PCD-03"},
		{"in small letters", "RGV^O15^RGV_O15", "rgv^O15", 0, both, "PCD-03"},
		{"for training", "|P|2.6|", "|T|2.6|", 0, both, "MSH-11"},
		{"to be continued", "\rPID", "\rDSC|99\rPID", 0, both, "goes on"},
		{"continued", "|2.6|||AL|", "|2.6||99|AL|", 0, both, "goes on"},
		{"a segment of its own kind", "\rRXR", "\rZRX|4\rRXR", 0, both, "a segment that the profile does not have"},
		{"a component of the drug", "\rRXR", "\rRXC|B|1^Potassium\rRXR", 0, both, "a segment that the profile does not have"},
		{"two patients", "\rPV1", "\rPID|||ADA-2\rPV1", 0, both, "two segments PID"},
		{"two routes", "\rRXR", "\rRXR|^IT^HL70162\rRXR", 0, both, "two segments RXR"},
		{"lines end with LF", "\r", "\n", 0, both, "ambiguous"},
		{"an empty line", "\rPV1", "\r\rPV1", 0, both, "ambiguous"},
		{"a stray line", "\rPV1", "\r and more\rPV1", 0, both, "ambiguous"},
		{"in UTF-16", "|||||IHE_PCD_003", "||UNICODE UTF-16|||IHE_PCD_003", 0, both, "ambiguous"},
		{"other delimiters", "MSH|^~\\&|", "MSH|^~\\%|", 0, both, "delimiters"},
		{"more in the block", "\rPV1", "\rMSH|^~\\&|X\rPV1", 0, both, "two segments MSH"},
		{"bytes before the block", "", "", hl7.BytesBetweenBlocks, both, "framing"},
		{"no CR behind the block", "", "", hl7.MissingCR, both, "framing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := whole
			if test.old != "" {
				if !strings.Contains(whole, test.old) {
					t.Fatal("the test changes nothing")
				}
				n := 1
				if test.old == "\r" {
					n = -1
				}
				text = strings.Replace(whole, test.old, test.new, n)
			}
			asks, pumps, doubt, why := readText(t, text, test.quirks)
			if got := strings.Join(pumps, " "); got != test.pumps || why != "" {
				t.Errorf("asks %q (%s), want %q", got, why, test.pumps)
			}
			if !strings.Contains(doubt, test.doubt) || test.doubt == "" && doubt != "" {
				t.Errorf("doubt %q, want %q", doubt, test.doubt)
			}
			if strings.Contains(doubt, "Petrov") || strings.Contains(doubt, "ADA-1") {
				t.Errorf("a patient in %q", doubt)
			}
			if test.doubt == "" && len(asks) != 1 {
				t.Errorf("%d commands", len(asks))
			}
		})
	}
	text := strings.ReplaceAll(whole, "000303", "000999")
	if asks, _, _, why := readText(t, text, 0); len(asks) != 0 || why == "" {
		t.Errorf("a pump of elsewhere: %d asked, %q", len(asks), why)
	}
}

// TestCommands: what ORC-1 and the unit of RXG-16 make of an order.
func TestCommands(t *testing.T) {
	whole := noradrenaline("RGV-1", "0.2").String()
	const unit = "265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM"
	for _, test := range []struct {
		control, rate, unit string
		verb                device.Verb
		value               string
	}{
		{"XO", "0.2", unit, device.SetInfusionRate, "0.2 ug/kg/min"},
		{"RE", "10.5", "265266^MDC_DIM_MILLI_L_PER_HR^MDC^mL/h^mL/h^UCUM", device.SetInfusionRate, "10.5 mL/h"},
		{"CH", "2", "263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM", device.DeliverBolus, "2 mL"},
		{"CH", "50", "ug^^UCUM", device.DeliverBolus, "50 ug"},
		{"RE", "4", "[iU]^^UCUM", device.DeliverBolus, "4 [iU]"},
	} {
		text := strings.Replace(whole, "ORC|XO", "ORC|"+test.control, 1)
		text = strings.Replace(text, "|0.2|"+unit+"|", "|"+test.rate+"|"+test.unit+"|", 1)
		text = strings.Replace(text, "\rRXR", "\rTQ1|||||||||||||10^min&&UCUM\rRXR", 1)
		if test.unit == "[iU]^^UCUM" {
			text = strings.Replace(text, "|4|263890^MDC_DIM_MILLI_G^MDC^mg^mg^UCUM|", "|50|[iU]^^UCUM|", 1)
		}
		asks, _, doubt, why := readText(t, text, 0)
		if len(asks) != 1 || doubt != "" || why != "" {
			t.Errorf("%v: %d asked, %q, %q", test, len(asks), doubt, why)
			continue
		}
		if c := asks[0].request.Command; c.Verb != test.verb || c.Value.String() != test.value || c.Stage != device.Proposed || c.Therapy != device.DrugInfusion {
			t.Errorf("%v: %+v", test, c)
		}
	}
}

// TestOthers: what no receiver takes for an order.
func TestOthers(t *testing.T) {
	for text, order := range map[string]bool{
		"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.6\rPID|||ORC RXG RGV MSH\r":      false,
		"MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.6\rORC|RE\rOBR|1\r":              false,
		"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.6\rRXG|1\r":                      true,
		"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.6\rNTE|||a\nRXG|1\r":             true,
		"MSH|^~\\&|A|B|C|D|2026||ADT^A01~RGV^O15|1|P|2.6\rPID|1\r":              true,
		"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.6\rPID|1\rMSH|^~\\&|A|||||ADT\r": true,
		"BHS|^~\\&|A\rMSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.6\r":                true,
		"MSH|^~\\&|A|B|C|D|2026||ORM^O01|1|P|2.6\rPID|1\r":                      true,
	} {
		m, err := hl7.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		h := m.Header()
		if got := mayOrder(&m, &h, []byte(text)); got != order {
			t.Errorf("%q: %v", text, got)
		}
	}
}
