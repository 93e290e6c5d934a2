// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"fmt"
	"strings"
	"time"

	"github.com/myelin-health/myelin/proto/hl7"
)

// EUI-64 identifiers, of the block AC-DE-48 that is nobody's.
const (
	euiEHR   = "ACDE48FFFE000105"
	euiGW    = "ACDE48FFFE000310"
	euiPump3 = "ACDE48FFFE000303"
	euiPump4 = "ACDE48FFFE000304"
	euiLab   = "ACDE48FFFE000507"
)

const (
	mllpOrders  = 24000 // of the gateway, for infusion orders
	mllpResults = 2575  // of the hospital information system and of the analyser
)

// stamp writes a time of day as HL7 has it (v2.6 section 2A.22).
func stamp(at time.Duration) string { return morning.Add(at).Format("20060102150405-0700") }

// A message is being written.
type message struct {
	hl7.Builder
	id string
}

// application names a sender or receiver (MSH-3, PCD TF-2 section B.1).
func application(name, eui string) []string { return []string{name, eui, "EUI-64"} }

var (
	appEHR = application("CastorEHR", euiEHR)
	appGW  = application("FlowLink", euiGW)
	appLab = application("BG200", euiLab)
)

// begin writes MSH. profile is that of MSH-21, or empty; application is MSH-16.
func begin(at time.Duration, from, to []string, kind, id, application, profile string) *message {
	return beginAsking(at, from, to, kind, id, "AL", application, profile)
}

// beginAsking writes MSH with what MSH-15 asks for, too.
func beginAsking(at time.Duration, from, to []string, kind, id, accept, application, profile string) *message {
	m := &message{id: id}
	m.Segment("MSH").Components(from...).Text("StAda").Components(to...).Text("StAda").Text(stamp(at)).Empty(1).
		Components(strings.Split(kind, "^")...).Text(id).Text("P").Text("2.6").Empty(2).Text(accept).Text(application)
	if profile != "" {
		m.Empty(4).Components(strings.Split(profile, "^")...)
	}
	return m
}

func (m *message) software(vendor, version, product string) *message {
	m.Segment("SFT").Text(vendor).Text(version).Text(product).Text("1")
	return m
}

func (m *message) patient(p *person) *message {
	m.Segment("PID").Empty(2).Components(p.record, "", "", "StAda", "MR").Empty(1).Components(p.family, p.given, "", "", "", "", "L").
		Empty(1).Text(p.birth).Text(p.sex)
	return m
}

// block is the message as MLLP carries it.
func (m *message) block() []byte { return hl7.AppendBlock(nil, m.Bytes()) }

// acknowledge writes the accept acknowledgement (v2.6 section 2.9.2).
func acknowledge(at time.Duration, from, to []string, kind string, of *message) *message {
	a := begin(at, from, to, "ACK^"+kind+"^ACK", "A"+of.id, "NE", "")
	a.Segment("MSA").Text("CA").Text(of.id)
	return a
}

// admission is ADT^A01.
func admission(at time.Duration, id string, p *person, bed string) *message {
	m := begin(at, appEHR, appLab, "ADT^A01^ADT_A01", id, "NE", "").software("Castor", "9.2", "Castor EHR")
	m.Segment("EVN").Empty(1).Text(stamp(at))
	m.patient(p)
	m.Empty(2).Components(p.street, "", "Adaville", "", "00417").Empty(1).Text(p.phone)
	m.Segment("PV1").Text("1").Text("I").Components("ICU", "3", bed).Empty(3).Components("", "Holm", "Mira").
		Empty(11).Components(p.visit, "", "", "StAda", "VN")
	return m
}

// bloodGas is the analyser's ORU^R01.
func bloodGas(at time.Duration, id string, p *person) *message {
	m := begin(at, appLab, appEHR, "ORU^R01^ORU_R01", id, "NE", "").software("Corvus Dx", "1.2", "BG200")
	m.patient(p)
	m.Segment("OBR").Text("1").Empty(1).Components("BG-"+id, "BG200").Components("24336-0", "Gas panel - Arterial blood", "LN").
		Empty(2).Text(stamp(at)).Empty(16).Text("BG").Text("F")
	for i, o := range []struct{ code, name, value, unit string }{
		{"2744-1", "pH of Arterial blood", "7.31", "[pH]"},
		{"2019-8", "Carbon dioxide [Partial pressure] in Arterial blood", "47", "mm[Hg]"},
		{"2703-7", "Oxygen [Partial pressure] in Arterial blood", "71", "mm[Hg]"},
		{"2518-9", "Lactate [Moles/volume] in Arterial blood", "3.4", "mmol/L"},
		{"6298-4", "Potassium [Moles/volume] in Blood", "4.1", "mmol/L"},
	} {
		m.Segment("OBX").Text(fmt.Sprint(i+1)).Text("NM").Components(o.code, o.name, "LN").Empty(1).Text(o.value).
			Components(o.unit, o.unit, "UCUM").Empty(4).Text("F").Empty(6).Components("BG200-1107", "", euiLab, "EUI-64")
	}
	return m
}

// A pump is what the gateway tells of one.
type pump struct {
	eui, serial, version, channel string
	bed                           string
	patient                       *person
	order, drug, drugName         string
	flow, dose                    string // mL/h; dose rate in mcg/kg/min, or empty
	total                         string // mL that it has given; empty: it does not say
}

var (
	pump3 = pump{euiPump3, "F5-203377", "2.1.4", "1", "3", &dana, "RX-77120", "3628", "Noradrenaline", "10.5", "0.2", ""}
	pump4 = pump{euiPump4, "F5-219042", "2.2.0", "1", "4", &emil, "RX-77089", "5224", "Heparin", "11", "", ""}
)

func (p *pump) noradrenaline() bool { return p.dose != "" }

const (
	mdcMLPerHour      = "265266^MDC_DIM_MILLI_L_PER_HR^MDC^mL/h^mL/h^UCUM"
	mdcMcgPerKgMin    = "265619^MDC_DIM_MICRO_G_PER_KG_PER_MIN^MDC^ug/kg/min^ug/kg/min^UCUM"
	mdcMillilitre     = "263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM"
	mdcMilligram      = "263890^MDC_DIM_MILLI_G^MDC^mg^mg^UCUM"
	mdcMilligramPerML = "264306^MDC_DIM_MILLI_G_PER_ML^MDC^mg/mL^mg/mL^UCUM"
	mdcKilogram       = "263875^MDC_DIM_KILO_G^MDC^kg^kg^UCUM"
	pcd01Profile      = "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
	pcd10Profile      = "IHE_PCD_010^IHE PCD^1.3.6.1.4.1.19376.1.6.1.10.1^ISO"
	pcd03Profile      = "IHE_PCD_003^IHE PCD^1.3.6.1.4.1.19376.1.6.1.3.1^ISO"
	weightOfPatient   = "70"
)

// report is PCD-01 (PCD TF-2 section 3.1): what each pump is and does.
func report(at time.Duration, id string, p *pump) *message {
	return begin(at, appGW, appEHR, "ORU^R01^ORU_R01", id, "NE", pcd01Profile).observations(at, p, "")
}

// observations are what a pump is and does, and what has happened to it, if anything.
func (m *message) observations(at time.Duration, p *pump, event string) *message {
	m.software("Norra Medical", "1.8", "FlowLink")
	m.patient(p.patient)
	m.Segment("PV1").Empty(1).Text("I").Components("ICU", "3", p.bed).Empty(15).Components(p.patient.visit, "", "", "StAda", "VN")
	m.Segment("OBR").Text("1").Components(p.order, "CastorEHR").Components("INF-"+m.id, "FlowLink", euiGW, "EUI-64").
		Components(p.drug, p.drugName, "RXNORM").Empty(2).Text(stamp(at))
	n := 0
	obx := func(kind, term, place, value, unit, status string) {
		n++
		m.Segment("OBX").Text(fmt.Sprint(n)).Text(kind).Components(strings.Split(term, "^")...).Text(place).Components(strings.Split(value, "^")...)
		if unit == "" {
			m.Empty(1)
		} else {
			m.Components(strings.Split(unit, "^")...)
		}
		m.Empty(4).Text(status)
	}
	obx("", "69985^MDC_DEV_PUMP_INFUS_MDS^MDC", "1.0.0.0", "", "", "X")
	m.Empty(6).Components(p.eui, "", p.eui, "EUI-64")
	obx("ST", "531970^MDC_ID_MODEL_MANUFACTURER^MDC", "1.0.0.1", "Norra Medical", "", "R")
	obx("ST", "531969^MDC_ID_MODEL_NUMBER^MDC", "1.0.0.2", "Flow 500", "", "R")
	obx("ST", "531972^MDC_ID_PROD_SPEC_SERIAL^MDC", "1.0.0.3", p.serial, "", "R")
	obx("ST", "531975^MDC_ID_PROD_SPEC_SW^MDC", "1.0.0.4", p.version, "", "R")
	obx("", "69986^MDC_DEV_PUMP_INFUS_VMD^MDC", "1.1.0.0", "", "", "X")
	if event != "" {
		obx("CWE", "0^MDCX_ATTR_EVT_COND^MDC", "1.1.1.4", "0^"+event+"^MDC", "", "R")
	}
	obx("CWE", "184508^MDC_PUMP_STAT^MDC", "1.1.1.5", "^pump-status-infusing", "", "R")
	obx("NM", "157784^MDC_FLOW_FLUID_PUMP^MDC", "1.1.2.6", p.flow, mdcMLPerHour, "R")
	if p.dose != "" {
		obx("NM", "157924^MDC_RATE_DOSE^MDC", "1.1.2.7", p.dose, mdcMcgPerKgMin, "R")
		obx("NM", "68063^MDC_ATTR_PT_WEIGHT^MDC", "1.1.2.8", weightOfPatient, mdcKilogram, "R")
	}
	if p.total != "" {
		obx("NM", "157993^MDC_VOL_FLUID_DELIV_TOTAL^MDC", "1.1.2.9", p.total, mdcMillilitre, "R")
	}
	if p.total != "" && p.noradrenaline() {
		obx("NM", "157760^MDC_CONC_DRUG^MDC", "1.1.2.10", "0.08", mdcMilligramPerML, "R")
	}
	return m
}

// order is PCD-03 (PCD TF-2 section 3.3), a titration: RGV^O15 with what the
// running infusion is to give from now on.
func order(at time.Duration, id string, p *pump, rate, unit string) *message {
	return begin(at, appEHR, appGW, "RGV^O15^RGV_O15", id, "AL", pcd03Profile).titration(at, p, rate, unit)
}

func (m *message) titration(at time.Duration, p *pump, rate, unit string) *message {
	m.patient(p.patient)
	m.Segment("PV1").Empty(1).Text("I").Components("ICU", "3", p.bed)
	m.Segment("ORC").Text("XO").Components(p.order, "CastorEHR").Empty(6).Text(stamp(at)).Components("", "Reyes", "Jon").
		Empty(1).Components("", "Holm", "Mira")
	m.Segment("RXG").Text("1").Empty(2).Components(p.drug, p.drugName, "RXNORM").Empty(10).Text(rate).Components(strings.Split(unit, "^")...)
	if p.noradrenaline() { // 4 mg in 50 mL
		m.Text("4").Components(strings.Split(mdcMilligram, "^")...).Empty(4).Text("50").Components(strings.Split(mdcMillilitre, "^")...)
	}
	m.Segment("RXR").Components("", "IV", "HL70162").Empty(1).Components("", "SYR", "HL70164")
	m.Segment("OBX").Text("1").Empty(1).Components("69986", "MDC_DEV_PUMP_INFUS_VMD", "MDC").Empty(7).Text("X").
		Empty(6).Components(p.eui, "", p.eui, "EUI-64")
	if p.noradrenaline() {
		m.Segment("OBX").Text("2").Text("NM").Components("68063", "MDC_ATTR_PT_WEIGHT", "MDC").Empty(1).Text(weightOfPatient).
			Components(strings.Split(mdcKilogram, "^")...).Empty(4).Text("F")
	}
	return m
}

// proposed is the gateway's application answer: the order waits at the pump
// for somebody to confirm it.
func proposed(at time.Duration, id string, of *message) *message {
	m := begin(at, appGW, appEHR, "RRG^O16^RRG_O16", id, "NE", "")
	m.Segment("MSA").Text("AA").Text(of.id)
	return m
}

// deliver has an order accepted by the gateway, and answered to the hospital
// information system on a connection of its own (PCD TF-2 section 3.3.4.4.1),
// whoever sent the order.
func (s *span) deliver(from *host, answer string, orders ...*message) {
	first := clock(answer)
	var lines []line
	for _, m := range orders {
		lines = append(lines, says(m.block()).after(3*time.Second),
			answers(acknowledge(first, appGW, appEHR, "O15", m).block()).after(21*time.Millisecond))
	}
	sent := s.tcp(talk{at: day(first - time.Duration(3*len(orders))*time.Second), client: from, server: gwICU, port: mllpOrders}, lines)
	for i, m := range orders {
		back := proposed(sent, fmt.Sprintf("FLR-%d-%d", int(first.Seconds()), i), m)
		s.tcp(talk{at: day(sent + time.Duration(i+1)*400*time.Millisecond), client: gwICU, server: ehr, port: mllpResults}, []line{
			says(back.block()).after(2 * time.Millisecond),
			answers(acknowledge(sent, appEHR, appGW, "O16", back).block()).after(9 * time.Millisecond),
		})
	}
}

// day is the inverse of clock.
func day(at time.Duration) string { return morning.Add(at).Format("15:04:05.999999999") }

// hl7 is what the systems of the hospital tell each other.
func (s *span) hl7() {
	// The gateway reports both pumps every minute, on one connection all day.
	var reports []line
	pump3, pump4 := pump3, pump4
	last := clock("07:00:02")
	for minute := range 20 {
		if minute == 3 {
			pump4.flow = "12" // as ordered; somebody confirmed it at the pump
		}
		for i, p := range []*pump{&pump3, &pump4} {
			at := time.Duration(minute)*time.Minute + 5*time.Second + time.Duration(i)*2*time.Second
			m := report(at, fmt.Sprintf("FL-%02d%d", minute, i), p)
			ack := acknowledge(at, appEHR, appGW, "R01", m)
			reports = append(reports, says(m.block()).after(at-last), answers(ack.block()).after(11*time.Millisecond))
			last = at
		}
	}
	s.tcp(talk{at: "07:00:02", client: gwICU, server: ehr, port: mllpResults, end: left}, reports)

	at := clock("07:00:48")
	adt := admission(at, "ADT-5101", &emil, "4")
	s.tcp(talk{at: day(at), client: ehr, server: lab1, port: mllpResults}, []line{
		says(adt.block()), answers(acknowledge(at, appLab, appEHR, "A01", adt).block()),
	})

	at = clock("07:01:20")
	gas := bloodGas(at, "BG-88121", &dana)
	s.tcp(talk{at: day(at), client: lab1, server: ehr, port: mllpResults}, []line{
		says(gas.block()), answers(acknowledge(at, appEHR, appLab, "R01", gas).block()),
	})

	// What the doctor ordered: noradrenaline as it runs, heparin a little faster.
	at = clock("07:01:40")
	s.deliver(ehr, day(at),
		order(at, "RGV-90211", &pump3, "0.2", mdcMcgPerKgMin),
		order(at, "RGV-90212", &pump4, "12", mdcMLPerHour))
}

// forgery is step 3: twenty times the noradrenaline, in the name of the
// hospital information system, from the scanner.
func (s *span) forgery() {
	at := clock("07:09:14")
	s.deliver(ct1, day(at), order(at, "RGV-90213", &pump3, "4", mdcMcgPerKgMin))
}
