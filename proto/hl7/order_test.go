// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/wire"
)

// The messages of the sample ward, Tuesday 3 March 2026: pump-3 in ICU bed 3
// gives noradrenaline, 4 mg in 50 mL, to a patient of 70 kg.
const (
	pcd01 = "MSH|^~\\&|FlowLink^ACDE48FFFE000310^EUI-64|StAda|CastorEHR|StAda|20260303070000+0100||ORU^R01^ORU_R01|gw-1|P|2.6|||AL|NE|||||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO\r" +
		"PID|||SA-1004^^^StAda^MR||Petrov^Dana^^^^^L||19620917|F\r" +
		"PV1||I|ICU^3^3\r" +
		"OBR|1|ord-77^CastorEHR|o-1^FlowLink^ACDE48FFFE000310^EUI-64|2222^Noradrenaline|||20260303070000+0100\r" +
		"OBX|1||69985^MDC_DEV_PUMP_INFUS_MDS^MDC|1.0.0.0|||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r" +
		"PRT|1|UC||EQUIP||||||(01)00643169001763(21)N3^^2.16.840.1.113883.3.3719^ISO\r" +
		"OBX|2|ST|531970^MDC_ID_MODEL_MANUFACTURER^MDC|1.0.0.1|Norra Medical||||||R\r" +
		"OBX|3|ST|531969^MDC_ID_MODEL_NUMBER^MDC|1.0.0.2|Flow 500||||||R\r" +
		"OBX|4|ST|531975^MDC_ID_PROD_SPEC_SW^MDC|1.0.0.3|2.1.4||||||R\r" +
		"OBX|5||69986^MDC_DEV_PUMP_INFUS_VMD^MDC|1.1.0.0|||||||X\r" +
		"OBX|6|NM|157784^MDC_FLOW_FLUID_PUMP^MDC|1.1.2.4|10.5|265266^MDC_DIM_MILLI_L_PER_HR^MDC^mL/h^mL/h^UCUM|||||R\r" +
		"OBX|7|NM|157924^MDC_RATE_DOSE^MDC|1.1.2.5|0.2|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM|||||R\r"

	orderMSH = "MSH|^~\\&|CastorEHR^ACDE48FFFE000105^EUI-64|StAda|FlowLink^ACDE48FFFE000310^EUI-64|StAda|20260303070900+0100||RGV^O15^RGV_O15|ehr-9|P|2.6|||AL|AL|||||IHE_PCD_003^IHE PCD^1.3.6.1.4.1.19376.1.6.1.3.1^ISO\r" +
		"PID|||SA-1004^^^StAda^MR||Petrov^Dana^^^^^L\r"
	pump3  = "OBX|1||69986^MDC_DEV_PUMP_INFUS_VMD^MDC||||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r"
	weight = "OBX|2|NM|68063^MDC_ATTR_PT_WEIGHT^MDC||70|263875^MDC_DIM_KILO_G^MDC\r"
	pcd03  = orderMSH + "ORC|XO|ord-78^CastorEHR|||||||||^Reyes^Jon|^Holm^Mira\r" +
		"RXG|1|||2222^Noradrenaline^L|||||||||||4|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC|4|263890^MDC_DIM_MILLI_G^MDC|||||50|263762^MDC_DIM_MILLI_L^MDC\r" +
		"RXR|^IV^HL70162||^SYR^HL70164\r" + pump3 + weight

	// After the example of PCD TF-2 section E.3.2: a line that is blocked.
	pcd04 = "MSH|^~\\&|FlowLink^ACDE48FFFE000310^EUI-64|StAda|AlertManager|StAda|20260303071000+0100||ORU^R40^ORU_R40|gw-2|P|2.6|||AL|NE|||||IHE_PCD_ACM_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.4.1^ISO\r" +
		"PID|||SA-1004^^^StAda^MR\rPV1||I|ICU^3^3\r" +
		"OBR|1|a-1^FlowLink|a-1^FlowLink|196616^MDC_EVT_ALARM^MDC\r" +
		"OBX|1|CWE|196616^MDC_EVT_ALARM^MDC|1.0.0.0.1|196940^MDC_EVT_FLUID_LINE_OCCL^MDC|||ST|||F|||||||P3^^ACDE480000000000^EUI-64\r" +
		"OBX|2|CWE|68480^MDC_ATTR_ALERT_SOURCE^MDC|1.0.0.0.2|69985^MDC_DEV_PUMP_INFUS_MDS^MDC||||||F\r" +
		"OBX|3|ST|68481^MDC_ATTR_EVENT_PHASE^MDC|1.0.0.0.3|start||||||F\r"

	rrg = "MSH|^~\\&|FlowLink^ACDE48FFFE000310^EUI-64|StAda|CastorEHR^ACDE48FFFE000105^EUI-64|StAda|20260303070901+0100||RRG^O16^RRG_O16|gw-3|P|2.6|||AL|NE\r" +
		"MSA|AE|ehr-9\r" +
		"ERR|||207^Application internal error^HL70357|E|9010^Unable to match medication to drug library\r"
)

func ExampleInfusionOrder_AppendCommands() {
	m, err := hl7.Parse([]byte(pcd03))
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := hl7.Orders(&m, nil)
	for i := range orders {
		for _, c := range orders[i].AppendCommands(nil) {
			fmt.Println(c.Stage, c.Verb, c.Value, "of", c.Drug, "at pump", c.Device)
		}
	}
	fmt.Println(err)
	// Output:
	// proposed set-infusion-rate 4 ug/kg/min of Noradrenaline at pump ACDE48FFFE000303
	// <nil>
}

func ExampleInfusionOrder_FlowRate() {
	m, _ := hl7.Parse([]byte(pcd03))
	orders, err := hl7.Orders(&m, nil)
	for i := range orders {
		flow, err := orders[i].FlowRate() // 4 mg in 50 mL, for 70 kg
		fmt.Println(orders[i].Rate, "is", flow, err)
	}
	fmt.Println(err)
	// Output:
	// 4 ug/kg/min is 210 mL/h <nil>
	// <nil>
}

// commandsOf are the commands of all orders of a message.
func commandsOf(m *hl7.Message) (commands []device.Command, err error) {
	orders, err := hl7.Orders(m, nil)
	for i := range orders {
		commands = orders[i].AppendCommands(commands)
	}
	return commands, err
}

func ExamplePatientFields() {
	m, _ := hl7.Parse([]byte(pcd01))
	fmt.Println(hl7.PatientFields(&m)&hl7.Name != 0, hl7.PatientFields(&m)&hl7.Address != 0)
	// Output: true false
}

func ExampleDevices() {
	m, _ := hl7.Parse([]byte(pcd01))
	for _, d := range hl7.Devices(&m, nil) {
		if !d.ID.IsEmpty() {
			fmt.Println(d.ID.EUI64(), d.RefID.Text(), d.Manufacturer.Text(), d.Model.Text(), d.Version.Text())
		}
	}
	// Output: ACDE48FFFE000303 MDC_DEV_PUMP_INFUS_MDS Norra Medical Flow 500 2.1.4
}

// rate is an order for pump-3 with these fields from RXG-15 on.
func rate(control, fields string) string {
	return orderMSH + "ORC|" + control + "|ord-78\rRXG|1|||2222^Noradrenaline|||||||||||" + fields + "\rRXR|^IV^HL70162\r" + pump3
}

// The twentyfold dose of noradrenaline in every form that it may be written in.
func TestRateUnits(t *testing.T) {
	tests := []struct {
		fields string // RXG-15 and RXG-16
		want   string
		err    error
	}{
		{"4|265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC", "4 ug/kg/min", nil},
		{"4|3475^ug/kg/min^UCUM^265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC", "4 ug/kg/min", nil}, // PCD TF-2 section E.2, example 1
		{"4|ug/kg/min^ug/kg/min^UCUM", "4 ug/kg/min", nil},
		{"4.0|ug/kg/min^^UCUM", "4.0 ug/kg/min", nil},
		{"4|^mcg/kg/min", "4 ug/kg/min", nil},
		{"4|mcg/kg/min", "4 ug/kg/min", nil},
		{"0^^^|265619^^MDC", "0 ug/kg/min", device.ErrSyntax},
		{"0|265619^^MDC", "0 ug/kg/min", nil},
		{"4000|265620^MDC_DIM_NANO_G_PER_KG_PER_MIN^MDC", "4000 ng/kg/min", nil},
		{"16.8|265522^MDC_DIM_MILLI_G_PER_HR^MDC", "16.8 mg/h", nil},
		{"280|ug/min^ug/min^UCUM", "280 ug/min", nil},
		{"210|265266^MDC_DIM_MILLI_L_PER_HR^MDC", "210 mL/h", nil},
		{"210|265266^MDC_DIM_MILLI_L_PER_HR^MDC^mL/h^mL/h^UCUM", "210 mL/h", nil},
		{"210|ml/h^ml/h^UCUM", "210 mL/h", nil}, // section 3.3.4.4.5 writes it so
		{"210|mL/hr", "210 mL/h", nil},
		{"210|0^MDC_DIM_MILLI_L_PER_HR^MDC", "210 mL/h", nil},

		{"210|265266^MDC_DIM_MICRO_G_PER_MIN^MDC", "", device.ErrKind}, // code and name differ
		{"210|265266^MDC_DIM_MILLI_L_PER_HR^MDC^L/h^L/h^UCUM", "", device.ErrKind},
		{"4|ug/kg/min^mg/kg/min^UCUM", "", device.ErrKind},
		{"4|furlongs", "", device.ErrUnit},
		{"4|", "", device.ErrUnit},
		{"4|265619", "", device.ErrUnit}, // of no coding system
		{"4|265619^^LN", "", device.ErrUnit},
		{"4|" + strings.Repeat("x", 100), "", device.ErrUnit},
		{"four|mL/h", "", device.ErrSyntax},
		{"1e400|mL/h", "", device.ErrRange},
		{"99999999999999999999|mL/h", "", device.ErrRange},
		{"-4|mL/h", "-4 mL/h", nil},
		{"|mL/h", "", wire.ErrInvalid}, // section 3.3.4.4.5: required but for PCA
		{"\"\"|mL/h", "", wire.ErrInvalid},
	}
	for _, tt := range tests {
		m := parse(t, rate("XO", tt.fields))
		c, err := commandsOf(&m)
		if tt.fields == "0^^^|265619^^MDC" {
			tt.want = ""
		}
		if len(c) != 1 || c[0].Value.String() != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %v, %v, want %q, %v", tt.fields, c, err, tt.want, tt.err)
			continue
		}
		if c[0].Verb != device.SetInfusionRate || c[0].Device != "ACDE48FFFE000303" || c[0].Stage != device.Proposed {
			t.Errorf("%s: %+v", tt.fields, c[0])
		}
	}
}

func unit(tb testing.TB, code string) device.Unit {
	tb.Helper()
	u, ok := device.UnitOfUCUM(code)
	if !ok {
		tb.Fatal(code)
	}
	return u
}

func TestOrders(t *testing.T) {
	rxg := "RXG|1|||2222^Noradrenaline|||||||||||"
	ml, mg, hours, mlh := unit(t, "mL"), unit(t, "mg"), unit(t, "h"), unit(t, "mL/h")
	command := func(verb device.Verb, value, limit device.Quantity) device.Command {
		return device.Command{
			Verb: verb, Therapy: device.DrugInfusion, Value: value, Limit: limit,
			Device: "ACDE48FFFE000303", Stage: device.Proposed, Drug: "Noradrenaline",
		}
	}
	none := device.Quantity{}
	q := func(c int64, e int8, u device.Unit) device.Quantity {
		return device.Quantity{Coefficient: c, Exponent: e, Unit: u}
	}
	tests := []struct {
		name, in string
		want     []device.Command
		field    string // of the error, or ""
	}{
		{
			"new, with volume", "ORC|RE|1\rRXG|1|||^Noradrenaline|50||263762^MDC_DIM_MILLI_L^MDC||||||||10.5|mL/h\r" + pump3,
			[]device.Command{command(device.SetInfusionRate, q(105, -1, mlh), q(50, 0, ml))},
			"",
		},
		{
			"new, with time", "ORC|RE|1\r" + rxg + "10.5|mL/h\rTQ1|1||||||||||||2^264384&MDC_DIM_HR&MDC\r" + pump3,
			[]device.Command{command(device.SetInfusionRate, q(105, -1, mlh), q(2, 0, hours))},
			"",
		},
		{
			"an order that was called NW", "ORC|NW|1\r" + rxg + "10.5|mL/h\r" + pump3,
			[]device.Command{command(device.SetInfusionRate, q(105, -1, mlh), none)},
			"",
		},
		{
			"a dose", "ORC|RE|1\r" + rxg + "2|mg^mg^UCUM\rTQ1|1||||||||||||2^264384&MDC_DIM_HR&MDC~45^264352&MDC_DIM_MIN&MDC\r" + pump3,
			[]device.Command{command(device.DeliverBolus, q(2, 0, mg), q(275, -2, hours))},
			"",
		},
		{
			"a dose, hours and thirds of them", "ORC|RE|1\r" + rxg + "2|mg\rTQ1|1||||||||||||1^h~20^min~30^s\r" + pump3,
			[]device.Command{command(device.DeliverBolus, q(2, 0, mg), q(805, -1, unit(t, "min")))},
			"",
		},
		{
			"a dose in no time", "ORC|RE|1\r" + rxg + "2|mg\r" + pump3,
			[]device.Command{command(device.DeliverBolus, q(2, 0, mg), none)},
			"TQ1-13 Occurrence duration",
		},
		{
			"a dose in no unit of time", "ORC|RE|1\r" + rxg + "2|mg\rTQ1|1||||||||||||2^mL\r" + pump3,
			[]device.Command{command(device.DeliverBolus, q(2, 0, mg), none)},
			"TQ1-13 Occurrence duration",
		},
		{
			"bolus by volume and rate", "ORC|CH|2||||||1\r" + rxg + "5|mL\r" + pump3 + "OBX|2|NM|157784^MDC_FLOW_FLUID_PUMP^MDC||100|mL/h\rOBX|3|ST|0^MDCX_INFUS_ORDER_TYPE^MDC||clinician-dose\r",
			[]device.Command{command(device.DeliverBolus, q(5, 0, ml), none)},
			"",
		},
		{
			"bolus by rate and time", "ORC|CH|2||||||1\r" + rxg + "100|mL/h\rTQ1|1||||||||||||0.5^h\r" + pump3,
			[]device.Command{command(device.DeliverBolus, q(100, 0, mlh), q(5, -1, hours))},
			"",
		},
		{
			"loading dose as first step", "ORC|RE|1\r" + rxg + "50|mL/h\rOBX|1|ST|0^MDCX_INFUS_ORDER_STEP_TYPE^MDC||loading dose\rRXG|2|||^Noradrenaline|||||||||||10|mL/h\r" + pump3,
			[]device.Command{command(device.DeliverBolus, q(50, 0, mlh), none), command(device.SetInfusionRate, q(10, 0, mlh), none)},
			"",
		},
		{
			"steps share the pump", "ORC|RE|1\r" + rxg + "1|mL/h\r" + pump3 + "RXG|2|||^Noradrenaline|||||||||||2|mL/h\r",
			[]device.Command{command(device.SetInfusionRate, q(1, 0, mlh), none), command(device.SetInfusionRate, q(2, 0, mlh), none)},
			"",
		},
		{
			"titration with a volume", "ORC|XO|1\rRXG|1|||^Noradrenaline|50||mL||||||||10|mL/h\r" + pump3,
			[]device.Command{command(device.SetInfusionRate, q(10, 0, mlh), q(50, 0, ml))},
			"RXG-5 Give Amount - Minimum",
		},
		{
			"titration to a dose", "ORC|XO|1\r" + rxg + "2|mg\r" + pump3,
			[]device.Command{command(device.DeliverBolus, q(2, 0, mg), none)},
			"RXG-16 Give Rate Units",
		},
		{
			"a stop, which there is not", "ORC|DC|1\r" + rxg + "0|mL/h\r" + pump3,
			[]device.Command{command(device.NoVerb, q(0, 0, mlh), none)},
			"ORC-1 Order Control",
		},
		{"no ORC", rxg + "1|mL/h\r" + pump3, []device.Command{command(device.NoVerb, q(1, 0, mlh), none)}, "ORC-1 Order Control"},
		{
			"PCA limits", "ORC|RE|1\r" + rxg + "|\r" + pump3 +
				"OBX|2|NM|157986^MDC_VOL_PCA_DOSE_LIMIT^MDC||30|mL\rOBX|3|NM|157989^MDC_TIME_PCA_LOCKOUT^MDC||10|min\rOBX|4|NM|0^MDC_DOSE_LOADING^MDC||2|mg\r",
			[]device.Command{command(device.SetLimit, q(30, 0, ml), none), command(device.SetLimit, q(10, 0, unit(t, "min")), none), command(device.DeliverBolus, q(2, 0, mg), none)},
			"",
		},
		{
			"PCA limit without number", "ORC|RE|1\r" + rxg + "1|mL/h\r" + pump3 + "OBX|2|NM|157986^MDC_VOL_PCA_DOSE_LIMIT^MDC||lots|mL\r",
			[]device.Command{command(device.SetInfusionRate, q(1, 0, mlh), none), command(device.SetLimit, none, none)},
			"OBX-5 Observation Value",
		},
		{
			"weight in litres", "ORC|RE|1\r" + rxg + "1|mL/h\r" + pump3 + "OBX|2|NM|68063^MDC_ATTR_PT_WEIGHT^MDC||70|L\r",
			[]device.Command{command(device.SetInfusionRate, q(1, 0, mlh), none)},
			"OBX-5 Observation Value",
		},
		{"only an ORC", "ORC|RE|1\r", nil, ""},
		{"OBX before RXG", "ORC|RE|1\r" + pump3 + "RXR|^IV\rTQ1|1\r", nil, ""},
	}
	for _, tt := range tests {
		m := parse(t, orderMSH+tt.in)
		got, err := commandsOf(&m)
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: -want +got:\n%s", tt.name, d)
		}
		var se *wire.SyntaxError
		if errors.As(err, &se); err == nil && tt.field != "" || err != nil && se.Field != tt.field {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.field)
		}
	}
}

// The ways in which the pump is named (PCD TF-2 sections 3.3.4.4.9 and B.8).
func TestPumpID(t *testing.T) {
	tests := []struct{ id, name, unique string }{
		{"0123456789ABCDEF^^0123456789ABCDEF^EUI-64", "0123456789ABCDEF", "0123456789ABCDEF"}, // B.8, example 1
		{"^^01-23-45-67-89-ab-cd-ef^EUI64", "0123456789ABCDEF", "0123456789ABCDEF"},
		{"^^0012210000000000^EUI- 64", "0012210000000000", "0012210000000000"}, // as line breaks in section E have it
		{"P6013^^0012210000000000^EUI-64", "P6013", "0012210000000000/P6013"},
		{"123456^ICU_MONITOR^megacorp.com^DNS", "123456", "megacorp.com/123456"}, // B.8, example 2
		{"^^A0001^PUMPVENDOR", "A0001", "PUMPVENDOR/A0001"},                      // deprecated, section E.2
		{"A0001", "A0001", ""},
		{"A0001^GATEWAY_ADA", "A0001", ""},
		{"A0001^^0012210000000000", "A0001", ""},
		{" P\\T\\3 ^^x^ISO", "P&3", "x/P&3"},
		{"0123456789ABCDE^^0123456789ABCDE^EUI-64", "0123456789ABCDE", "0123456789ABCDE/0123456789ABCDE"}, // 15 digits
		{"0123456789ABCDEFF^^x^EUI-64", "0123456789ABCDEFF", "x/0123456789ABCDEFF"},
		{"\"\"", "", ""},
		{strings.Repeat("x", 300), strings.Repeat("x", 199), ""},
	}
	for _, tt := range tests {
		m := parse(t, strings.Replace(rate("XO", "1|mL/h"), "ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64", tt.id, 1))
		orders, err := hl7.Orders(&m, nil)
		if len(orders) != 1 || (err != nil) != (tt.name == "") {
			t.Fatalf("%s: %v", tt.id, err)
		}
		if p := orders[0].Pump; p.Name() != tt.name || p.Unique() != tt.unique {
			t.Errorf("%s: %q, %q; want %q, %q", tt.id, p.Name(), p.Unique(), tt.name, tt.unique)
		}
	}
	m := parse(t, orderMSH+"ORC|RE|1\rRXG|1|||^x|||||||||||1|mL/h\r")
	if _, err := hl7.Orders(&m, nil); err == nil {
		t.Error("an order for no pump")
	}
}

func TestFlowRate(t *testing.T) {
	tests := []struct {
		name, rxg, obx string
		want           string
		err            error
	}{
		{"mL/h needs nothing", "10.5|mL/h", "", "10.5 mL/h", nil},
		{"weight and concentration", "0.2|ug/kg/min|4|mg|||||50|mL", weight, "10.5 mL/h", nil},
		{"twenty times that", "4|ug/kg/min|4|mg|||||50|mL", weight, "210 mL/h", nil},
		{"in other units", "0.2|ug/kg/min|4000|ug|||||0.05|L", strings.Replace(weight, "70|263875^MDC_DIM_KILO_G^MDC", "70000|g^g^UCUM", 1), "10.5 mL/h", nil},
		{"a third", "1|mg/h|1|mg|||||3|mL", "", "3 mL/h", device.ErrInexact}, // a concentration without end
		{"no weight", "0.2|ug/kg/min|4|mg|||||50|mL", "", "", device.ErrMissing},
		{"no concentration", "0.2|ug/kg/min", weight, "", device.ErrMissing},
		{"no diluent", "0.2|ug/kg/min|4|mg", weight, "", device.ErrMissing},
		{"no strength", "0.2|ug/kg/min||mg|||||50|mL", weight, "", device.ErrMissing},
		{"zero diluent", "0.2|ug/kg/min|4|mg|||||0|mL", weight, "", device.ErrMissing},
		{"zero weight", "0.2|ug/kg/min|4|mg|||||50|mL", strings.Replace(weight, "|70|", "|0|", 1), "", device.ErrMissing},
		{"diluent in grams", "0.2|ug/kg/min|4|mg|||||50|g", weight, "", device.ErrMissing},
		{"a dose is no rate", "2|mg|4|mg|||||50|mL", "", "", device.ErrKind},
		{"units of insulin", "3|[iU]/h|50|[iU]|||||50|mL", "", "3 mL/h", nil},
	}
	for _, tt := range tests {
		m := parse(t, rate("RE", tt.rxg)+tt.obx)
		orders, _ := hl7.Orders(&m, nil)
		got, err := orders[0].FlowRate()
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			continue
		}
		want, _ := device.ParseQuantity(tt.want)
		if c, ok := got.Cmp(want); tt.want != "" && (!ok || c < 0 || c > 0 && tt.err == nil) {
			t.Errorf("%s: %v, want %v", tt.name, got, want)
		}
	}
}

func TestTooManyOrders(t *testing.T) {
	one := "RXG|1|||^x|||||||||||1|mL/h\r"
	m := parse(t, orderMSH+"ORC|RE|1\r"+strings.Repeat(one, hl7.MaxOrders)+pump3)
	if orders, err := hl7.Orders(&m, nil); err != nil || len(orders) != hl7.MaxOrders {
		t.Errorf("%d orders, %v", len(orders), err)
	}
	m = parse(t, orderMSH+"ORC|RE|1\r"+pump3+strings.Repeat(one, hl7.MaxOrders+1))
	if orders, err := hl7.Orders(&m, nil); !errors.Is(err, wire.ErrTooLong) || len(orders) != hl7.MaxOrders {
		t.Errorf("%d orders, %v", len(orders), err)
	}
}

func TestTherapy(t *testing.T) {
	for route, want := range map[string]device.Therapy{
		"^IV^HL70162": device.DrugInfusion, "IV": device.DrugInfusion, "^EP^HL70162": device.DrugInfusion,
		"^IT^HL70162": device.IntrathecalInfusion, "IT": device.IntrathecalInfusion,
	} {
		m := parse(t, strings.Replace(rate("RE", "1|mL/h"), "^IV^HL70162", route, 1))
		if c, _ := commandsOf(&m); len(c) != 1 || c[0].Therapy != want {
			t.Errorf("%s: %v", route, c)
		}
	}
}

func TestKind(t *testing.T) {
	oru := func(profile, obx string) string {
		return "MSH|^~\\&|||||||ORU^R01^ORU_R01|1|P|2.6|||||||||" + profile + "\rOBR|1\r" + obx
	}
	for in, want := range map[string]hl7.Kind{
		pcd01: hl7.PCD01, pcd03: hl7.PCD03, pcd04: hl7.PCD04, rrg: hl7.Acknowledgement, head: hl7.Admission,
		oru("", ""):            hl7.Observations,
		oru("IHE_PCD_001", ""): hl7.PCD01,
		oru("x~^^1.3.6.1.4.1.19376.1.6.1.1.1^ISO", ""):               hl7.PCD01,
		oru("^^1.3.6.1.4.1.19376.1.6.1.9.1^ISO", ""):                 hl7.PCD09,
		oru("", "OBX|1||69985^MDC_DEV_PUMP_INFUS_MDS^MDC|1.0.0.0\r"): hl7.PCD01,
		oru("", "OBX|1|NM|wbc^Wbc^L^6690-2^Wbc^LN||7.0\r"):           hl7.Observations,
		oru("", "OBX|1|CWE|720897^MDC_IDC_DEV_TYPE^MDC|1|x\r"):       hl7.PCD09,
		"MSH|^~\\&|||||||ORU^R42^ORU_R01\r":                          hl7.PCD10,
		"MSH|^~\\&|||||||RGV^O15\r":                                  hl7.PCD03,
		"MSH|^~\\&|||||||RGV^O25\r":                                  hl7.Order,
		"MSH|^~\\&|||||||ORM^O01\r":                                  hl7.Order,
		"MSH|^~\\&|||||||OMG^O19\r":                                  hl7.Order,
		"MSH|^~\\&|||||||QBP^Q22\r":                                  hl7.Query,
		"MSH|^~\\&|||||||RSP^K22\r":                                  hl7.Response,
		"MSH|^~\\&|||||||ACK\r":                                      hl7.Acknowledgement,
		"MSH|^~\\&|||||||ZZZ\r":                                      hl7.OtherKind,
	} {
		if m := parse(t, in); m.Kind() != want {
			t.Errorf("%.80q is %v, want %v", in, m.Kind(), want)
		}
	}
}

func TestAnswer(t *testing.T) {
	m := parse(t, rrg)
	a, ok := m.Answer()
	accepted, refused := a.Accepted()
	if !ok || accepted || !refused || !a.ControlID.Is("ehr-9") {
		t.Errorf("%+v", a)
	}
	n := 0
	for f := range m.Failures() {
		n++
		if !f.Severity.Is("E") || !f.Code.Identifier.Is("207") || !f.Reason.Identifier.Is("9010") {
			t.Errorf("%+v", f)
		}
	}
	if h := m.Header(); n != 1 || !h.Enhanced() || h.ReceivingApplication.EUI64() != "ACDE48FFFE000105" {
		t.Errorf("%d failures, %+v", n, h)
	}
	for code, want := range map[string][2]bool{
		"AA": {true, false}, "CA": {true, false}, "AE": {false, true}, "AR": {false, true},
		"CE": {false, true}, "CR": {false, true}, "": {}, "aa": {}, "OK": {},
	} {
		m := parse(t, "MSH|^~\\&|||||||ACK\rMSA|"+code+"|1\r")
		a, _ := m.Answer()
		if accepted, refused := a.Accepted(); (accepted != want[0]) || (refused != want[1]) {
			t.Errorf("%q: %v %v", code, accepted, refused)
		}
	}
	m = parse(t, head)
	if _, ok := m.Answer(); ok {
		t.Error("an admission answers nothing")
	}
}

func TestDevices(t *testing.T) {
	m := parse(t, pcd01)
	devices := hl7.Devices(&m, nil)
	if len(devices) != 2 || devices[0].Type != 69985 || devices[1].Type != 69986 || !devices[1].ID.IsEmpty() {
		t.Fatalf("%+v", devices)
	}
	if u, err := device.ParseUDI(devices[0].UDI.Text()); err != nil || u.DI != "00643169001763" || u.Serial != "N3" {
		t.Errorf("%+v, %v", u, err)
	}
	v := hl7.Deliveries(&m, devices, nil)
	if len(v) != 1 || v[0].Device != 0 || v[0].Flow.String() != "10.5 mL/h" || v[0].DoseRate.String() != "0.2 ug/kg/min" || !v[0].Weight.IsNone() {
		t.Errorf("%+v", v)
	}
	m = parse(t, strings.TrimSuffix(pcd01, "\r")+"\rOBX|90|CWE|184508^MDC_PUMP_STAT^MDC|1.1.1.5|^pump-status-infusing||||||R\r"+
		"OBX|91|NM|68063^MDC_ATTR_PT_WEIGHT^MDC|1.1.2.8|70|263875^MDC_DIM_KILO_G^MDC|||||R\r"+
		"OBX|92|CWE|184508^MDC_PUMP_STAT^MDC|1.9.1.5|^pump-status-off||||||R\r")
	v = hl7.Deliveries(&m, devices, nil)
	if len(v) != 1 || len(v[0].States()) != 2 || !v[0].States()[0].Is("pump-status-infusing") || !v[0].States()[1].Is("pump-status-off") || v[0].Weight.String() != "70 kg" {
		t.Errorf("%+v", v)
	}

	m = parse(t, pcd04)
	devices = hl7.Devices(&m, nil)
	if len(devices) != 1 || devices[0].Type != 69985 || devices[0].ID.Unique() != "ACDE480000000000/P3" {
		t.Errorf("the source of an alert: %+v", devices)
	}

	// The monitor of PCD TF-2 section B.8, OBX-18, example 2; a rack of two pumps,
	// one of which gives two drugs.
	obr := "OBR|1\r"
	m = parse(t, head+obr+"OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X|||||||123456^ICU_MONITOR^megacorp.com^DNS\r"+
		"OBX|2|ST|67880^MDC_ATTR_ID_MODEL^MDC|1.0.0.1|Veltis^M9||||||R\r"+
		obr+"OBX|1||145651^MDC_DEV_PUMP_INFUS_RACK_MDS^MDC|1.0.0.0|||||||X|||||||R1^^ACDE480000000000^EUI-64\r"+
		"OBX|2||69986^MDC_DEV_PUMP_INFUS_VMD^MDC|1.1.0.0|||||||X|||||||P1^^ACDE480000000000^EUI-64\r"+
		"OBX|3|NM|157924^MDC_RATE_DOSE^MDC|1.1.1.1|1|mg/h\r"+
		"OBX|4|NM|157924^MDC_RATE_DOSE^MDC|1.1.2.1|2|mg/h\r"+
		"OBX|5|NM|157784^MDC_FLOW_FLUID_PUMP^MDC|1.1.2.2|5|mL/h\r"+
		"OBX|6|NM|0^MDC_FLOW_FLUID_PUMP_CURRENT^MDC|1.1.0.1|7|mL/h\r"+
		"OBX|7||69986^MDC_DEV_PUMP_INFUS_VMD^MDC|1.2.0.0|||||||X|||||||P2^^ACDE480000000000^EUI-64\r"+
		"OBX|8|NM|157784^MDC_FLOW_FLUID_PUMP^MDC|1.2.1.1|9|mL/h\r")
	devices = hl7.Devices(&m, nil)
	if len(devices) != 4 || !devices[0].Model.Is("M9") || !devices[0].Manufacturer.Is("Veltis") || !devices[0].Serial.Is("123456") {
		t.Fatalf("%+v", devices)
	}
	v = hl7.Deliveries(&m, devices, nil)
	if len(v) != 2 || v[0].Device != 2 || v[0].Flow.String() != "7 mL/h" || !v[0].DoseRate.IsNone() || v[1].Device != 3 || v[1].Flow.String() != "9 mL/h" {
		t.Errorf("%+v", v)
	}

	many := head + obr
	for i := range hl7.MaxDevices + 10 {
		many += fmt.Sprintf("OBX|1||69986^^MDC|1.%d.0.0|||||||X\r", i+1)
	}
	m = parse(t, many)
	if n := len(hl7.Devices(&m, nil)); n != hl7.MaxDevices {
		t.Errorf("%d devices", n)
	}
}

// TestDelivered: what a pump says that it gave, of which order, and how that ended.
func TestDelivered(t *testing.T) {
	const mds = "OBX|1||69985^MDC_DEV_PUMP_INFUS_MDS^MDC|1.0.0.0|||||||X|||||||P1^^ACDE480000000000^EUI-64\r"
	for _, test := range []struct {
		name, obx                     string
		total, segment, concentration string
		bolus, ended                  bool
		states                        int
	}{
		{"nothing", "", "", "", "", false, false, -1},
		{"an event alone", "OBX|2|CWE|68487^MDC_ATTR_EVT_COND^MDC|1.1.1.1|197292^MDC_EVT_PUMP_DELIV_COMP^MDC\r", "", "", "", false, false, -1},
		{"a total", "OBX|2|NM|157993^MDC_VOL_FLUID_DELIV_TOTAL^MDC|1.1.1.1|31.25|mL\r", "31.25 mL", "", "", false, false, 0},
		{"by its name", "OBX|2|NM|0^MDC_VOL_FLUID_DELIV_TOTAL^MDC|1.1.1.1|31.25|mL\r", "31.25 mL", "", "", false, false, 0},
		{"of two channels", "OBX|2|NM|157993^^MDC|1.1.1.1|31.25|mL\rOBX|3|NM|157993^^MDC|1.1.2.1|2|mL\r", "33.25 mL", "", "", false, false, 0},
		{"said twice", "OBX|2|NM|157864^^MDC|1.1.1.1|31.2|mL\rOBX|3|NM|157993^^MDC|1.1.2.1|31.25|mL\rOBX|4|NM|157864^^MDC|1.1.1.1|31.2|mL\r", "31.25 mL", "", "", false, false, 0},
		{"below zero", "OBX|2|NM|157993^^MDC|1.1.1.1|-1|mL\r", "", "", "", false, false, -1},
		{"no unit", "OBX|2|NM|157993^^MDC|1.1.1.1|1|\r", "", "", "", false, false, -1},
		{"two concentrations", "OBX|2|NM|157993^^MDC|1.1.1.1|1|mL\rOBX|3|NM|157760^^MDC|1.1.1.2|1|mg/mL\rOBX|4|NM|157760^^MDC|1.1.2.2|2|mg/mL\rOBX|5|NM|157760^^MDC|1.1.3.2|1|mg/mL\r", "1 mL", "", "", false, false, 0},
		{
			"a bolus ends", "OBX|2|CWE|68487^MDC_ATTR_EVT_COND^MDC|1.1.1.1|197292^MDC_EVT_PUMP_DELIV_COMP^MDC\rOBX|3|NM|157992^^MDC|1.1.1.1|5|mL\r" +
				"OBX|4|CWE|184518^MDC_PUMP_PROGRAM_DELIVERY_MODE^MDC|1.1.1.2|^pump-program-delivery-mode-loading-dose\rOBX|5|NM|157760^^MDC|1.1.1.2|0.08|mg/mL\r",
			"", "5 mL", "0.08 mg/mL", true, true, 0,
		},
		{"five states", strings.Join([]string{"", "a", "b", "a", "c", "d", "e\r"}, "\rOBX|2|CWE|184508^^MDC|1.1.1.5|^")[1:], "", "", "", false, false, 4},
	} {
		m := parse(t, head+"OBR|1|RX-1^Castor|INF-1^FlowLink\r"+mds+test.obx)
		v := hl7.Deliveries(&m, hl7.Devices(&m, nil), nil)
		if test.states < 0 {
			if len(v) != 0 {
				t.Errorf("%s: %+v", test.name, v)
			}
			continue
		}
		if len(v) != 1 {
			t.Errorf("%s: %d deliveries", test.name, len(v))
			continue
		}
		d := &v[0]
		if d.Total.String() != test.total || d.Segment.String() != test.segment || d.Concentration.String() != test.concentration ||
			d.Bolus() != test.bolus || d.Ended() != test.ended || len(d.States()) != test.states || d.Rated() {
			t.Errorf("%s: %+v", test.name, d)
		}
		if !d.Placer.ID.Is("RX-1") || !d.Filler.ID.Is("INF-1") {
			t.Errorf("%s: order %q, %q", test.name, d.Placer.ID.Text(), d.Filler.ID.Text())
		}
		if test.states == 4 && !d.States()[3].IsEmpty() {
			t.Errorf("%s: the last is %q, and not that there are more", test.name, d.States()[3].Text())
		}
	}
}

func TestContainment(t *testing.T) {
	for in, want := range map[string]struct {
		c     hl7.Containment
		depth int
	}{
		"1.0.0.0": {hl7.Containment{1}, 4}, "1.2.3.4.5.6": {hl7.Containment{1, 2, 3, 4, 5, 6}, 6}, "7": {hl7.Containment{7}, 1},
		"": {}, "1.": {}, ".1": {}, "1..2": {}, "a": {}, "1.2.3.4.5.6.7": {}, "1.-1": {}, "9999999999": {},
		"1.3.1.150456.1": {hl7.Containment{1, 3, 1, 150456, 1}, 5},
	} {
		m := parse(t, head+"OBX|1|||"+in+"\r")
		o := hl7.ReadObservation(m.Segment("OBX"))
		if c, depth := o.Containment(); c != want.c || depth != want.depth {
			t.Errorf("%q: %v, %d", in, c, depth)
		}
	}
}

func TestPatientFields(t *testing.T) {
	tests := []struct {
		in   string
		want hl7.Fields
	}{
		{"PID|1||4711^^^ADA^MR||Sato^Emil||19500101|M|||Weg 1||555\r", hl7.RecordNumber | hl7.Name | hl7.BirthDate | hl7.Sex | hl7.Address | hl7.Telephone},
		{"PID|1||19^^^CH^SS~4711^^^ADA^MR\r", hl7.RecordNumber | hl7.NationalID},
		{"PID|1||||^^^^^^U\r", 0}, // a name of which only the type is given
		{"PID|1||||^Emil\r", hl7.Name},
		{"PID|1||\"\"||\"\"||\"\"|\"\"\r", 0},
		{"PID|1||||||||||||||||||756.1\r", hl7.NationalID},
		{"NK1|1|Sato^Aiko\r", hl7.Name},
		{"PV1|1|I|ICU^3^3|||^x||^Holm^Mira\r", hl7.Visit | hl7.StaffName},
		{"GT1|1||Sato^Aiko||Weg 1|555||19510101\r", hl7.Name | hl7.Address | hl7.Telephone | hl7.BirthDate},
		{"IN1|1|A|B|C||||||||||||Sato^Emil||19500101|Weg 1\r", hl7.Name | hl7.BirthDate | hl7.Address},
		{"ORC|NW|1||||||||||^Holm^Mira\r", hl7.Ordered | hl7.StaffName},
		{"OBX|1|NM|x||7|mg\r", hl7.Result},
		{"OBX|1||69985^^MDC|1.0.0.0|||||||X\r", 0},
		{"OBX|1|NM|x||7|mg\rOBX|2|ED|x||Lumen^IM^JPEG^Base64^AAAA\r", hl7.Result | hl7.Image},
		{"OBX|1|ED|x||Lumen^Application^PDF^Base64^AAAA\r", hl7.Result},
		{"DG1|1||I21\r", hl7.Result},
		{"QPD|Q22^Find^HL7|q1|4711^^^ADA^MR\r", hl7.RecordNumber},
		{"MSA|AA|1\r", 0},
		{"ZZZ|Sato^Emil\r", 0},
	}
	for _, tt := range tests {
		m := parse(t, head+tt.in)
		if got := hl7.PatientFields(&m); got != tt.want {
			t.Errorf("%q: %b, want %b", tt.in, got, tt.want)
		}
	}
	for in, want := range map[string]string{
		"PID|1|old|1^^^X^PI~2^^^X^MR|alt\r": "2", "PID|1|old|1^^^X^PI~2^^^X^VN\r": "1",
		"PID|1|old||alt\r": "old", "PID|1|||alt\r": "alt", "PID|1\r": "", "": "",
	} {
		m := parse(t, head+in)
		if got := hl7.Subject(&m).Text(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The messages of PCD TF-2 section E.2, with their spaces repaired: examples 1
// and 2 name the pump in the deprecated way.
func TestFrameworkExamples(t *testing.T) {
	header := "MSH|^~\\&|IOPVENDOR^1234560000000001^EUI-64|IOPVENDOR|IOCVENDOR^6543210000000001^EUI-64|IOCVENDOR|20080101123456-0600||RGV^O15^RGV_O15|1|P|2.5|||AL|ER||ASCII|EN^English^ISO659||IHE_PCD_PIV_001\r"
	pump := "RXR|IV||IVP\rOBX|1||69986^MDC_DEV_PUMP_INFUS_VMD^MDC||||||||X|||||||^^A0001^PUMPVENDOR\r"
	m := parse(t, header+"ORC|RE|12345|||||||||||||||||N0001\r"+
		"RXG|1|||1234^Dopamine|250||263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM||||||||10|3475^ug/kg/min^UCUM^265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC|400|1746^mg^UCUM^263890^MDC_DIM_MILLI_G^MDC|||||250|263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM\r"+
		pump+"OBX|2|NM|68063^MDC_ATTR_PT_WEIGHT^MDC||85.0|kg^kg^UCUM^263875^MDC_DIM_KILO_G^MDC\r")
	orders, err := hl7.Orders(&m, nil)
	if err != nil || len(orders) != 1 {
		t.Fatal(orders, err)
	}
	o := &orders[0]
	conc, cerr := o.Concentration()
	flow, ferr := o.FlowRate()
	if o.Rate.String() != "10 ug/kg/min" || o.Volume.String() != "250 mL" || o.Weight.String() != "85.0 kg" ||
		conc.String() != "1.6 mg/mL" || cerr != nil || flow.String() != "31.875 mL/h" || ferr != nil || o.Pump.Name() != "A0001" {
		t.Errorf("%v %v %v %v %v %v", o.Rate, o.Volume, o.Weight, conc, flow, ferr)
	}
	m = parse(t, header+"ORC|RE|12345\rRXG|1|||5678^Normal Saline|500||263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM||||||||13.3|3122^mL/h^UCUM^265266^MDC_DIM_MILLI_L_PER_HR^MDC\r"+pump)
	c, err := commandsOf(&m)
	if err != nil || len(c) != 1 || c[0].Value.String() != "13.3 mL/h" || c[0].Limit.String() != "500 mL" || c[0].Drug != "Normal Saline" {
		t.Errorf("%+v, %v", c, err)
	}
}

func BenchmarkCommands(b *testing.B) {
	m, err := hl7.Parse([]byte(pcd03))
	if err != nil {
		b.Fatal(err)
	}
	var orders []hl7.InfusionOrder
	var commands []device.Command
	b.SetBytes(int64(len(pcd03)))
	b.ReportAllocs()
	for b.Loop() {
		if orders, err = hl7.Orders(&m, orders[:0]); err != nil || len(orders) != 1 {
			b.Fatal(err)
		}
		if commands = orders[0].AppendCommands(commands[:0]); len(commands) != 1 {
			b.Fatal("no command")
		}
	}
}
