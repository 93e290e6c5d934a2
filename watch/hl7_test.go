// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/hl7"
)

// The messages of the sample ward's pump-3 and its gateway.
const (
	hl7Report = "MSH|^~\\&|FlowLink^ACDE48FFFE000310^EUI-64|StAda|CastorEHR|StAda|20260303070000+0100||ORU^R01^ORU_R01|gw-1|P|2.6|||AL|NE|||||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO\r" +
		"SFT|Norra Medical|1.8|FlowLink|b1\r" +
		"PID|||SA-1004^^^StAda^MR||Petrov^Dana^^^^^L||19620917|F\r" +
		"OBR|1|||2222^Noradrenaline\r" +
		"OBX|1||69985^MDC_DEV_PUMP_INFUS_MDS^MDC|1.0.0.0|||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r" +
		"PRT|1|UC||EQUIP||||||(01)00643169001763(21)N3^^2.16.840.1.113883.3.3719^ISO\r" +
		"OBX|2|ST|531970^MDC_ID_MODEL_MANUFACTURER^MDC|1.0.0.1|Norra Medical||||||R\r" +
		"OBX|3|ST|531969^MDC_ID_MODEL_NUMBER^MDC|1.0.0.2|Flow 500||||||R\r" +
		"OBX|4|ST|531975^MDC_ID_PROD_SPEC_SW^MDC|1.0.0.3|2.1.4||||||R\r" +
		"OBX|5|NM|157924^MDC_RATE_DOSE^MDC|1.1.2.5|0.2|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC|||||R\r"
	hl7Order = "MSH|^~\\&|CastorEHR|StAda|FlowLink|StAda|20260303070900+0100||RGV^O15^RGV_O15|ehr-9|P|2.6|||AL|AL\r" +
		"PID|||SA-1004^^^StAda^MR\r" +
		"ORC|XO|ord-78^CastorEHR\r" +
		"RXG|1|||2222^Noradrenaline|||||||||||4|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC\r" +
		"RXR|^IV^HL70162\r" +
		"OBX|1||69986^MDC_DEV_PUMP_INFUS_VMD^MDC||||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r"
	hl7Admission = "MSH|^~\\&|CastorEHR|StAda|||20260303070000||ADT^A01^ADT_A01|adt-1|P|2.5.1\rPID|||SA-1005^^^StAda^MR||Sato^Emil||19500101|M\r"
)

func hl7Ack(code, id string) string {
	return "MSH|^~\\&|FlowLink|StAda|CastorEHR|StAda|20260303||ACK^O15^ACK|a-1|P|2.6\rMSA|" + code + "|" + id + "\r"
}

func mllp(messages ...string) []byte {
	var b []byte
	for _, m := range messages {
		b = hl7.AppendBlock(b, []byte(m))
	}
	return b
}

// hl7Says writes events without their hashes, in which only zero matters.
func hl7Says(events []event.Event) (out []string) {
	for i := range events {
		e := &events[i]
		s := fmt.Sprintf("%v %v<%v", e.Kind, e.Device, e.Peer)
		for _, a := range e.Attrs() {
			switch {
			case a.Key == event.Protocol && a.Text == "hl7":
			case a.Text != "":
				s += " " + a.Text
			case a.Int == 0:
			case a.Key == event.Fresh || a.Key == event.Repeat || a.Key == event.Subject || a.Key == event.DataBytes:
				s += " #"
			case a.Key == event.Verb:
				s += " " + device.Verb(a.Int).String()
			case a.Key == event.Therapy:
				s += " (" + device.Therapy(a.Int).String() + ")"
			case a.Key == event.Effect:
				s += " " + device.Effect(a.Int).String()
			case a.Key == event.Stage:
				s += " " + device.Stage(a.Int).String()
			case a.Key == event.Outcome:
				s += " " + [...]string{"unknown", "succeeded", "failed"}[a.Int]
			default:
				s += fmt.Sprintf(" %d", a.Int)
			}
		}
		out = append(out, s)
	}
	return out
}

const (
	ehr  = "10.20.1.5"  // the client
	gate = "10.20.3.10" // the server
	p3   = "ACDE48FFFE000303"
)

func TestHL7Observer(t *testing.T) {
	const (
		version  = "protocol-seen " + ehr + "<" + gate + " 2.6"
		order    = "command-seen " + gate + "<" + ehr + " set-infusion-rate (drug infusion) increases 4 ug/kg/min " + p3 + " # #"
		told     = "order-seen " + gate + "<" + ehr + " Noradrenaline CastorEHR " + p3
		deadly   = "therapy-seen " + p3 + "<" + gate + " (drug infusion) 5 " + p3
		pump     = "identity-seen " + p3 + "<" + gate + " infusion pump (drug infusion)"
		ordered  = "patient-data-seen " + ehr + "<" + gate + " 520 # PCD-03"
		adt      = "patient-data-seen " + ehr + "<" + gate + " 15 # ADT"
		his      = "identity-seen " + ehr + "<" + gate + " hospital information system (records)"
		answered = "command-answered " + gate + "<" + ehr + " set-infusion-rate "
	)
	tests := []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{
			"an infusion order and its answers",
			[]piece{client(mllp(hl7Order)), server(mllp(hl7Ack("CA", "ehr-9")))},
			[]string{version, ordered, pump, told, order, deadly, answered + "proposed succeeded " + p3 + " #"},
		},
		{
			"refused",
			[]piece{client(mllp(hl7Order)), server(mllp(hl7Ack("AE", "ehr-9")))},
			[]string{version, ordered, pump, told, order, deadly, answered + "proposed failed " + p3 + " #"},
		},
		{
			"an answer to something else",
			[]piece{client(mllp(hl7Order)), server(mllp(hl7Ack("AA", "ehr-8")))},
			[]string{version, ordered, pump, told, order, deadly},
		},
		{
			"an answer from the sender itself",
			[]piece{client(mllp(hl7Order, hl7Ack("AA", "ehr-9")))},
			[]string{version, ordered, pump, told, order, deadly},
		},
		{
			"answered twice",
			[]piece{client(mllp(hl7Order)), server(mllp(hl7Ack("AA", "ehr-9"), hl7Ack("AA", "ehr-9")))},
			[]string{version, ordered, pump, told, order, deadly, answered + "accepted succeeded " + p3 + " #"},
		},
		{
			"sent again, as its acknowledgement was lost",
			[]piece{client(mllp(hl7Order, hl7Order)), server(mllp(hl7Ack("AA", "ehr-9")))},
			[]string{version, ordered, pump, told, order, deadly, answered + "accepted succeeded " + p3 + " #"},
		},
		{
			"another order under the same id",
			[]piece{client(mllp(hl7Order, strings.Replace(hl7Order, "|4|", "|5|", 1)))},
			[]string{version, ordered, pump, told, order, deadly, told, strings.Replace(order, "4 ug", "5 ug", 1)},
		},
		{
			"the application's answer, on its own connection",
			[]piece{client(mllp(strings.Replace(hl7Ack("AE", "ehr-9"), "ACK^O15^ACK", "RRG^O16^RRG_O16", 1)))},
			[]string{version, "command-answered " + ehr + "<" + gate + " proposed failed #"},
		},
		{"a report, then lower and higher orders", []piece{
			client(mllp(hl7Report)),
			server(mllp(strings.Replace(hl7Order, "|4|", "|0.1|", 1), hl7Order)),
		}, []string{
			version,
			"name-seen " + ehr + "<" + gate + " 1 ACDE48FFFE000310",
			"identity-seen " + ehr + "<" + gate + " Norra Medical FlowLink 1.8",
			"patient-data-seen " + ehr + "<" + gate + " 783 # PCD-01",
			"identity-seen " + p3 + "<" + ehr + " Norra Medical Flow 500 2.1.4 infusion pump (drug infusion) 00643169001763",
			"therapy-seen " + p3 + "<" + ehr + " (drug infusion) 0.2 ug/kg/min " + p3,
			"report-seen " + p3 + "<" + gate + " PCD-01 (drug infusion) " + p3 + " 5",
			"patient-data-seen " + gate + "<" + ehr + " 520 # PCD-03",
			"order-seen " + ehr + "<" + gate + " Noradrenaline CastorEHR " + p3,
			"command-seen " + ehr + "<" + gate + " set-infusion-rate (drug infusion) decreases 0.1 ug/kg/min " + p3 + " # #",
			"therapy-seen " + p3 + "<" + ehr + " (drug infusion) 5 " + p3,
			"order-seen " + ehr + "<" + gate + " Noradrenaline CastorEHR " + p3,
			"command-seen " + ehr + "<" + gate + " set-infusion-rate (drug infusion) increases 4 ug/kg/min " + p3 + " # #",
		}},
		{"reports say the same once", []piece{client(mllp(hl7Report, hl7Report))}, []string{
			version,
			"name-seen " + ehr + "<" + gate + " 1 ACDE48FFFE000310",
			"identity-seen " + ehr + "<" + gate + " Norra Medical FlowLink 1.8",
			"patient-data-seen " + ehr + "<" + gate + " 783 # PCD-01",
			"identity-seen " + p3 + "<" + ehr + " Norra Medical Flow 500 2.1.4 infusion pump (drug infusion) 00643169001763",
			"therapy-seen " + p3 + "<" + ehr + " (drug infusion) 0.2 ug/kg/min " + p3,
			"report-seen " + p3 + "<" + gate + " PCD-01 (drug infusion) " + p3 + " 5",
			"report-seen " + p3 + "<" + gate + " PCD-01 (drug infusion) " + p3 + " 5",
		}},
		{
			"admissions",
			[]piece{client(mllp(hl7Admission, hl7Admission, strings.Replace(hl7Admission, "SA-1005", "SA-1004", 1)))},
			[]string{strings.Replace(version, "2.6", "2.5.1", 1), his, adt, adt},
		},
		{
			"a batch",
			[]piece{client(mllp("BHS|^~\\&\r" + hl7Admission + hl7Order + "BTS|2\r"))},
			[]string{strings.Replace(version, "2.6", "2.5.1", 1), his, adt, version, ordered, pump, told, order, deadly},
		},
		{
			"without MLLP",
			[]piece{client([]byte(hl7Order)), server([]byte(hl7Ack("AA", "ehr-9")))},
			[]string{version, ordered, pump, told, order, deadly, answered + "accepted succeeded " + p3 + " #"},
		},
		{
			"without MLLP or answer",
			[]piece{client([]byte(hl7Admission + hl7Order))},
			[]string{strings.Replace(version, "2.6", "2.5.1", 1), his, adt, version, ordered, pump, told, order, deadly},
		},
		{
			"an order cut in two messages",
			[]piece{client(mllp(
				hl7Order[:strings.Index(hl7Order, "|4|")+1]+"\rADD\rDSC|7|F\r",
				"MSH|^~\\&|CastorEHR|StAda|||||RGV^O15|ehr-10|P|2.6||7\rADD|4|265619^^MDC\rRXR|^IV\rOBX|1||69986^^MDC||||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r"))},
			[]string{version, ordered, pump, told, order, deadly},
		},
		{
			"a message that is never continued",
			[]piece{client(mllp(hl7Admission + "DSC|7|F\r"))},
			[]string{strings.Replace(version, "2.6", "2.5.1", 1), his, adt},
		},
		{
			"another message than the next part",
			[]piece{client(mllp(hl7Admission+"DSC|7|F\r", hl7Order))},
			[]string{strings.Replace(version, "2.6", "2.5.1", 1), his, adt, version, ordered, pump, told, order, deadly},
		},
		{"a query and its response", []piece{
			client(mllp("MSH|^~\\&|||||||QBP^Q22^QBP_Q21|q|P|2.6\rQPD|Q22^Find^HL7|1|SA-1005^^^StAda^MR\r")),
			server(mllp("MSH|^~\\&|||||||RSP^K22|r|P|2.6\rMSA|AA|q\rPID|||SA-1005\rPID|||SA-1004\rDSC|9|I\r")),
		}, []string{
			version,
			"patient-data-seen " + ehr + "<" + gate + " 8 query",
			"records-requested " + ehr + "<" + gate + " QBP #",
			"patient-data-seen " + gate + "<" + ehr + " 8 # response",
			"records-moved " + gate + "<" + ehr + " RSP # 2 #",
		}},
		{"a blood gas analyser", []piece{client(mllp("MSH|^~\\&|BG200||||||ORU^R01|l|P|2.6\r" +
			"OBR|1" + strings.Repeat("|", 23) + "BG\rOBX|1|NM|11558-4^pH^LN||7.4||||||F|||||||BG200-7^BG200^corvus.example^DNS\r"))}, []string{
			version,
			"identity-seen " + ehr + "<" + gate + " laboratory analyser (laboratory)",
			"patient-data-seen " + ehr + "<" + gate + " 256 ORU",
			"report-seen " + ehr + "<" + gate + " ORU 1",
		}},
		{"results of a laboratory's information system", []piece{client(mllp("MSH|^~\\&|LIS||||||ORU^R01|l|P|2.6\rOBR|1\rOBX|1|NM|wbc||7\r"))}, []string{
			version,
			"patient-data-seen " + ehr + "<" + gate + " 256 ORU",
			"report-seen " + ehr + "<" + gate + " ORU 1",
		}},
		{"an implant's report names no device", []piece{client(mllp("MSH|^~\\&|HomeLink||||||ORU^R01|l|P|2.6|||||||||^^1.3.6.1.4.1.19376.1.6.1.9.1^ISO\r" +
			"PID|||model:Rhythm S/serial:H77^^^HC^U\rOBX|1|ST|720899^MDC_IDC_DEV_SERIAL^MDC|1|H77\r"))}, []string{
			version,
			"patient-data-seen " + ehr + "<" + gate + " 264 # PCD-09",
			"report-seen " + ehr + "<" + gate + " PCD-09 1",
		}},
		{"a device that is worn names none", []piece{client(mllp("MSH|^~\\&|Phone||||||ORU^R01|l|P|2.6\r" +
			"OBX|1||528403^MDC_DEV_SPEC_PROFILE_INSULIN_PUMP^MDC|1.0.0.0|||||||X|||||||ACDE48FFFE000777^^ACDE48FFFE000777^EUI-64\r"))}, []string{
			version, "report-seen " + ehr + "<" + gate + " PCD-01 1",
		}},
		{"an alert", []piece{client(mllp("MSH|^~\\&|FlowLink||||||ORU^R40^ORU_R40|l|P|2.6\rOBR|1\r" +
			"OBX|1|CWE|196616^MDC_EVT_ALARM^MDC|1.0.0.0.1|196940||||||F|||||||P3^^ACDE480000000000^EUI-64\rOBX|2|CWE|68480^MDC_ATTR_ALERT_SOURCE^MDC|1.0.0.0.2|69985^MDC_DEV_PUMP_INFUS_MDS^MDC||||||F\r"))}, []string{
			version,
			"patient-data-seen " + ehr + "<" + gate + " 256 PCD-04",
			"identity-seen ACDE480000000000/P3<" + ehr + " infusion pump (drug infusion)",
			"report-seen ACDE480000000000/P3<" + gate + " PCD-04 (drug infusion) P3 2",
		}},
		{"an order that is malformed is an order", []piece{client(mllp(strings.Replace(hl7Order, "265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC", "furlongs", 1)))}, []string{
			version, ordered,
			"malformed-seen " + ehr + "<" + gate + " RXG-15 Give Rate Amount unknown unit",
			pump, told,
			"command-seen " + gate + "<" + ehr + " set-infusion-rate (drug infusion) increases " + p3 + " # #",
			deadly,
		}},
		{"what is no message", []piece{client([]byte("\x0bMSH|^^\\&|x\x1c\r\x0b\x06\x1c\r\x0b\x0bMSH|^~\\&|\x1c\r"))}, []string{
			"malformed-seen " + ehr + "<" + gate + " MSH-2 Encoding Characters invalid value",
			"malformed-seen " + ehr + "<" + gate + " End Block invalid value",
			"malformed-seen " + ehr + "<" + gate + " MSH-9 Message Type invalid value",
		}},
		{
			"in the middle",
			[]piece{client([]byte("rest of one\rOBX|1\r\x1c\r" + string(mllp(hl7Admission))))},
			[]string{strings.Replace(version, "2.6", "2.5.1", 1), his, adt},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole := observe(t, newHL7Observer(), tt.pieces...)
			if d := cmp.Diff(tt.want, hl7Says(whole)); d != "" {
				t.Fatalf("-want +got:\n%s", d)
			}
			for _, size := range []int{1, 7, 100} {
				var small []piece
				for _, p := range tt.pieces {
					for b := range slices.Chunk(p.b, size) {
						small = append(small, piece{p.from, b})
					}
				}
				if d := cmp.Diff(hl7Says(whole), hl7Says(observe(t, newHL7Observer(), small...))); d != "" {
					t.Fatalf("in pieces of %d: -whole +pieces:\n%s", size, d)
				}
			}
			for i := range whole {
				for _, a := range whole[i].Attrs() {
					for _, secret := range []string{"Petrov", "Dana", "Sato", "Emil", "SA-100", "1962", "1950", "H77", "(21)", "N3", "000777", "\xa5"} {
						if strings.Contains(a.Text, secret) {
							t.Errorf("%v says %q", whole[i].Kind, a.Text)
						}
					}
				}
			}
		})
	}
}

// What is used once is the sender and the message's id; what is repeated is
// the order without them.
func TestHL7FreshAndRepeat(t *testing.T) {
	other := strings.NewReplacer("ehr-9", "ehr-10", "070900", "070930").Replace(hl7Order)
	rrg := strings.NewReplacer("ACK^O15^ACK", "RRG^O16^RRG_O16").Replace(hl7Ack("AA", "ehr-9"))
	var commands, answers []event.Event
	for _, e := range observe(t, newHL7Observer(), client(mllp(hl7Order, other, strings.Replace(hl7Order, "|4|", "|5|", 1)))) {
		if e.Kind == event.CommandSeen {
			commands = append(commands, e)
		}
	}
	for _, e := range observe(t, newHL7Observer(), client(mllp(rrg))) {
		if e.Kind == event.CommandAnswered {
			answers = append(answers, e)
		}
	}
	if len(commands) != 3 || len(answers) != 1 {
		t.Fatal(len(commands), len(answers))
	}
	a, b, c := &commands[0], &commands[1], &commands[2]
	if a.Int(event.Fresh) == b.Int(event.Fresh) || a.Int(event.Fresh) != c.Int(event.Fresh) {
		t.Error("Fresh is not the hash of sender and id")
	}
	if a.Int(event.Repeat) != b.Int(event.Repeat) || a.Int(event.Repeat) == c.Int(event.Repeat) {
		t.Error("Repeat is not the hash of the order")
	}
	if a.Int(event.Fresh) != answers[0].Int(event.Fresh) {
		t.Error("an answer on its own connection does not name the order")
	}
}

// What is said of an order names things. Where somebody wrote a name of the
// patient, a relative or staff instead, or an address, nothing is said.
func TestHL7OrderNamesNobody(t *testing.T) {
	const bed3 = "PV1||I|ICU^3^3||||^Holm^Mira\r"
	with := func(pairs ...string) string {
		s := strings.Replace(hl7Order, "ORC|", bed3+"ORC|", 1)
		s = strings.Replace(s, "MR\r", "MR||Petrov^Dana\r", 1)
		return strings.NewReplacer(pairs...).Replace(s)
	}
	for name, tt := range map[string]struct {
		message, drug, place, actor string
	}{
		"as it should be":           {with(), "Noradrenaline", "ICU bed 3", "CastorEHR"},
		"the patient for the drug":  {with("^Noradrenaline", "^Noradrenaline for Dana"), "", "ICU bed 3", "CastorEHR"},
		"the doctor for the sender": {with("&|CastorEHR", "&|HOLM workstation"), "Noradrenaline", "ICU bed 3", ""},
		"the patient for the ward":  {with("ICU^3^3", "Petrov^^3"), "Noradrenaline", "", "CastorEHR"},
		"an address for the ward":   {with("ICU^3^3", "12 Elm Street^^"), "Noradrenaline", "", "CastorEHR"},
		"a ward with a long name":   {with("ICU^3^3", "IntensiveCareWest^^3"), "Noradrenaline", "", "CastorEHR"},
		"no place":                  {with(bed3, ""), "Noradrenaline", "", "CastorEHR"},
		"the code, where it is all": {with("2222^Noradrenaline", "2222"), "", "ICU bed 3", "CastorEHR"},
		"what is no critical drug":  {with("^Noradrenaline", "^Vitamin D"), "", "ICU bed 3", "CastorEHR"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			for _, e := range observe(t, newHL7Observer(), client(mllp(tt.message))) {
				if e.Kind != event.OrderSeen {
					continue
				}
				n++
				if got := [3]string{e.Text(event.Drug), e.Text(event.Place), e.Text(event.Actor)}; got != [3]string{tt.drug, tt.place, tt.actor} {
					t.Errorf("drug, place and actor are %q", got)
				}
			}
			if n != 1 {
				t.Errorf("%d orders", n)
			}
		})
	}
}

func TestHL7Gap(t *testing.T) {
	o := newHL7Observer().(*hl7Observer)
	observe(t, o, client(mllp(hl7Admission)[:50]))
	x := &exchange{From: flow.Client}
	if !o.gap(x, 10) {
		t.Fatal("gave up")
	}
	got := hl7Says(observe(t, o, client([]byte("rest\rOBX|1\r\x1c\r"+string(mllp(hl7Admission))))))
	if len(got) != 3 || !strings.HasPrefix(got[2], "patient-data-seen") {
		t.Errorf("%q", got)
	}
}

func TestHL7Bounds(t *testing.T) {
	o := newHL7Observer().(*hl7Observer)
	var pieces []piece
	for i := range 2 * maxHL7Devices {
		pieces = append(pieces, client(mllp(strings.NewReplacer("FFFE000303", fmt.Sprintf("FFFE%06X", i), "ehr-9", fmt.Sprint(i)).Replace(hl7Order))))
	}
	for i := range maxHL7Facts + 10 {
		pieces = append(pieces, client(mllp(strings.Replace(hl7Admission, "SA-1005", fmt.Sprint(i), 1))))
	}
	pieces = append(pieces, server([]byte("MSH|^~\\&|||||||ADT|1\r"+strings.Repeat("NTE|1\r", maxHL7Bare/3))))
	bound := 0
	for _, e := range observe(t, o, pieces...) {
		if e.Kind == event.BoundReached {
			bound++
		}
	}
	if len(o.devices) != maxHL7Devices || len(o.pending) != maxHL7Pending || len(o.facts) > 20 || bound == 0 || cap(o.sides[flow.Server].bare) > 2*maxHL7Bare {
		t.Errorf("%d devices, %d pending, %d facts, %d bounds, %d bytes", len(o.devices), len(o.pending), len(o.facts), bound, cap(o.sides[flow.Server].bare))
	}
}

func TestHL7Captures(t *testing.T) {
	const v23 = "protocol-seen 10.0.0.155<10.0.0.126 2.3"
	tests := map[string][]string{
		"tapirx-HL7-ADT.pcap": {
			v23,
			"identity-seen 10.0.0.155<10.0.0.126 hospital information system (records)",
		},
		"ndpi-hl7.pcap":               {v23},
		"tapirx-HL7-ADT-UDI-OBX.pcap": {v23},
		"tapirx-HL7-ORU.pcap":         {v23, "report-seen 10.0.0.155<10.0.0.126 ORU 14"},
		"real-pythonhl7-mllp-pcd01-adt.pcap": {
			"report-seen 0012210000000000/P7700", "infusion pump (drug infusion)", "hospital information system (records)",
		},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			says := strings.Join(hl7Says(watchCapture(t, name)), "\n")
			for _, w := range want {
				if !strings.Contains(says, w) {
					t.Errorf("%q is not seen in:\n%s", w, says)
				}
			}
			if !strings.Contains(says, "patient-data-seen") || strings.Contains(says, "malformed-seen") {
				t.Errorf("%s", says)
			}
			for _, secret := range []string{"MOUSE", "MINNIE", "Roe", "Jane", "PID-000"} {
				if strings.Contains(says, secret) {
					t.Errorf("%s leaves in:\n%s", secret, says)
				}
			}
		})
	}
}

func BenchmarkHL7Observer(b *testing.B) {
	stream := mllp(hl7Report, hl7Report, hl7Report, hl7Report, hl7Report, hl7Report, hl7Report, hl7Report)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		observe(b, newHL7Observer(), client(stream))
	}
}
