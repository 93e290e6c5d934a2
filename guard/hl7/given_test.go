// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
)

// A listener is a front of which the reports are read without a network.
type listener struct {
	t   *testing.T
	f   *Front
	now time.Time
}

func newListener(t *testing.T) *listener {
	b := newBench(t, nil)
	b.stop()
	l := &listener{t: t, now: time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)}
	l.f = b.front
	l.f.env.Now = func() time.Time { return l.now }
	l.f.reports = make(chan reported, maxReports)
	return l
}

const (
	inMillilitres = "263762^MDC_DIM_MILLI_L^MDC^mL^mL^UCUM"
	perHour       = "265266^MDC_DIM_MILLI_L_PER_HR^MDC^mL/h^mL/h^UCUM"
)

// report is a PCD-10 about pump-3: of an order, with observations.
func report(control, placer string, obx ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "MSH|^~\\&|FlowLink^ACDE48FFFE000310^EUI-64|StAda|CastorEHR|StAda|20260303070914+0100||ORU^R42^ORU_R01|%s|P|2.6|||AL|NE|||||IHE_PCD_010^IHE PCD^1.3.6.1.4.1.19376.1.6.1.10.1^ISO\r", control)
	fmt.Fprintf(&b, "OBR|1|%s^CastorEHR|INF-1^FlowLink|3628^Noradrenaline^RXNORM|||20260303070914\r", placer)
	b.WriteString("OBX|1||69985^MDC_DEV_PUMP_INFUS_MDS^MDC|1.0.0.0|||||||X|||||||ACDE48FFFE000303^^ACDE48FFFE000303^EUI-64\r")
	for i, o := range obx {
		fmt.Fprintf(&b, "OBX|%d|%s||||||R\r", i+2, o)
	}
	return b.String()
}

func flows(n string) string { return "NM|157784^MDC_FLOW_FLUID_PUMP^MDC|1.1.2.6|" + n + "|" + perHour }

func delivered(n string) string {
	return "NM|157993^MDC_VOL_FLUID_DELIV_TOTAL^MDC|1.1.2.9|" + n + "|" + inMillilitres
}

func segment(n string) string {
	return "NM|157992^MDC_VOL_FLUID_DELIV_SEGMENT^MDC|1.1.2.10|" + n + "|" + inMillilitres
}

func happened(event string) string {
	return "CWE|68487^MDC_ATTR_EVT_COND^MDC|1.1.1.4|0^" + event + "^MDC|"
}

func (l *listener) hears(after time.Duration, msg string) (told []envelope.Report) {
	l.t.Helper()
	l.now = l.now.Add(after)
	l.f.heardReport(l.t, msg)
	for {
		select {
		case r := <-l.f.reports:
			told = append(told, r.report)
		default:
			return told
		}
	}
}

// heardReport is heard, without metrics.
func (f *Front) heardReport(t *testing.T, msg string) {
	t.Helper()
	m, err := hl7.Parse([]byte(msg))
	if err != nil {
		t.Fatal(err)
	}
	h := m.Header()
	f.reportOf(f.policy.Load(), &m, &h, []byte(msg))
}

// TestTotals: a total goes to the book as it is, with the concentration that is known, and a report
// that comes again does not.
func TestTotals(t *testing.T) {
	l := newListener(t)
	strength, err := device.ParseQuantity("0.08 mg/mL")
	if err != nil {
		t.Fatal(err)
	}
	l.f.ordered("pump-3").concentration = strength
	for _, test := range []struct{ control, flow, total, want string }{
		{"1", "60", "100", "100 mL"},
		{"2", "60", "101.5", "101.5 mL"},
		{"2", "60", "101.5", "-"},
		{"3", "60", "", ""},
		{"1", "60", "100", "-"},
		{"4", "60", "0", "0 mL"}, // cleared
	} {
		obx := []string{flows(test.flow)}
		if test.total != "" {
			obx = append(obx, delivered(test.total))
		}
		told := l.hears(time.Minute, report(test.control, "RX-1", obx...))
		if test.want == "-" || len(told) != 1 {
			if len(told) > 0 || test.want != "-" {
				t.Errorf("report %s of %s: %+v", test.control, test.total, told)
			}
			continue
		}
		if r := told[0]; r.Total.String() != test.want || !r.Amount.IsNone() || r.Reservation != 0 || r.Concentration != strength {
			t.Errorf("report %s: %+v, want a total of %q", test.control, r, test.want)
		}
	}
}

// TestOwnBolus: what a report says of an order that came through the guard is told of
// its reservation, and ends it.
func TestOwnBolus(t *testing.T) {
	l := newListener(t)
	o := l.f.ordered("pump-3")
	o.own = []ownBolus{{placer: "RX-9", namespace: "CastorEHR", reservation: 7}}
	r := l.hears(time.Minute, report("2", "RX-9", happened("MDC_EVT_PUMP_DELIV_START"), flows("60"), delivered("103")))[0]
	if r.Total.String() != "103 mL" || !r.Amount.IsNone() || r.Reservation != 7 || r.Final {
		t.Errorf("begun: %+v", r)
	}
	r = l.hears(time.Minute, report("3", "RX-1", flows("60"), delivered("105")))[0]
	if r.Total.String() != "105 mL" || r.Reservation != 0 {
		t.Errorf("of another order: %+v", r)
	}
	r = l.hears(time.Minute, report("4", "RX-9", happened("MDC_EVT_PUMP_DELIV_COMP"), flows("60"), delivered("109"), segment("5")))[0]
	if r.Total.String() != "109 mL" || !r.Amount.IsNone() || r.Reservation != 7 || !r.Final {
		t.Errorf("over: %+v", r)
	}

	// Of a pump without totals, the volume of the bolus itself.
	l.f.orders["pump-3"] = &ordered{own: []ownBolus{{placer: "RX-9", reservation: 7}}}
	r = l.hears(0, report("5", "RX-9", happened("MDC_EVT_PUMP_DELIV_STOP"), segment("3.5")))[0]
	if r.Amount.String() != "3.5 mL" || r.Reservation != 7 || !r.Final || !r.Rate.IsNone() {
		t.Errorf("cut short: %+v", r)
	}
	if r := l.hears(0, report("6", "RX-9", happened("MDC_EVT_PUMP_DELIV_STOP"), flows("60")))[0]; r.Reservation != 0 || r.Final {
		t.Errorf("it ended, and nobody says with how much: %+v", r)
	}
	loading := "CWE|184518^MDC_PUMP_PROGRAM_DELIVERY_MODE^MDC|1.1.1.2|^pump-program-delivery-mode-loading-dose|"
	if r := l.hears(0, report("7", "RX-1", loading, happened("MDC_EVT_PUMP_DELIV_COMP"), segment("2")))[0]; r.Amount.String() != "2 mL" || r.Reservation != 0 {
		t.Errorf("a loading dose at the keypad: %+v", r)
	}
	if r := l.hears(0, report("8", "RX-1", happened("MDC_EVT_PUMP_DELIV_COMP"), segment("2"), flows("60")))[0]; !r.Amount.IsNone() {
		t.Errorf("what the rate gave is an amount: %+v", r)
	}
}

// TestOrderedBolus: a bolus that is ordered through the guard and stopped at the pump counts as
// what was given of it, and not once more, whether the pump says its volume or its total.
func TestOrderedBolus(t *testing.T) {
	for _, total := range []bool{false, true} {
		t.Run(fmt.Sprintf("total %v", total), func(t *testing.T) { orderedBolus(t, total) })
	}
}

func orderedBolus(t *testing.T, total bool) {
	b := newBench(t, nil)
	b.enveloped()
	b.stop()
	text := strings.Replace(noradrenalineEnvelope, "verbs:\n", "verbs:\n  deliver-bolus: {max: 10 ug/kg, takes: 10m}\n", 1)
	e, err := envelope.Load("noradrenaline.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b.devices["pump-3"] = gate.Device{Therapy: device.DrugInfusion, Envelope: e}
	b.start()
	gw := b.wayBack()
	weight := "NM|68063^MDC_ATTR_PT_WEIGHT^MDC|1.1.2.8|70|263875^MDC_DIM_KILO_G^MDC^kg^kg^UCUM"
	strength := "NM|157760^MDC_CONC_DRUG^MDC|1.1.2.7|0.08|264306^MDC_DIM_MILLI_G_PER_ML^MDC^mg/mL^mg/mL^UCUM"
	says := func(control, placer, volume string, obx ...string) {
		t.Helper()
		if total {
			obx = append(obx, delivered(volume))
		} else if placer != "RX-1" {
			obx = append(obx, segment(volume))
		}
		gw.send(report(control, placer, append(obx, weight, strength)...))
		gw.answer()
		<-b.counted
	}
	counted := func() string { return b.book.View("pump-3", e).Sums[0].Counted.String() }
	says("1", "RX-1", "0", flows("0"))
	c := b.dial("ehr.stada.example")
	o := noradrenaline("RGV-1", "2")
	o.orc, o.unit = "CH", inMillilitres
	c.send(strings.Replace(o.String(), "\rRXR", "\rTQ1|||||||||||||10^min&&UCUM\rRXR", 1))
	if a := c.answer(); a.code != "CA" {
		t.Fatalf("told %v", a)
	}
	if got := counted(); got != "2.285715 ug/kg" { // 2 mL of 0.08 mg/mL for 70 kg
		t.Errorf("ordered: %s", got)
	}
	says("2", "RX-77120", "1.5", happened("MDC_EVT_PUMP_DELIV_STOP"))
	if v := b.book.View("pump-3", e); counted() != "1.714286 ug/kg" || v.Sums[0].Delivered.String() != "1.714285 ug/kg" || v.NotCounted != "" {
		t.Errorf("stopped: %s counted, %s delivered, not counted: %q", counted(), v.Sums[0].Delivered, v.NotCounted)
	}
	says("3", "RX-77120", "1.5", happened("MDC_EVT_PUMP_DELIV_STOP"))
	if got := counted(); got != "1.714286 ug/kg" {
		t.Errorf("said again: %s", got)
	}
}

// TestStates: of two states both are told, whatever their order.
func TestStates(t *testing.T) {
	l := newListener(t)
	const infusing, alarm = "CWE|184508^MDC_PUMP_STAT^MDC|1.1.1.5|^pump-status-infusing|", "CWE|184508^MDC_PUMP_STAT^MDC|1.2.1.5|^pump-status-alarm|"
	for i, obx := range [][]string{{infusing, alarm}, {alarm, infusing}} {
		state := l.hears(0, report(fmt.Sprint(i), "RX-1", append(obx, flows("60"))...))[0].State
		if !strings.Contains(state, "infusing") || !strings.Contains(state, "alarm") {
			t.Errorf("state %q", state)
		}
	}
}

// TestFullReports: a report for which there is no room is in the next one's total.
func TestFullReports(t *testing.T) {
	l := newListener(t)
	l.f.reports = make(chan reported, 1)
	l.f.heardReport(t, report("1", "RX-1", flows("0"), delivered("1")))
	l.f.heardReport(t, report("2", "RX-1", flows("0"), delivered("4")))
	<-l.f.reports
	if r := l.hears(0, report("3", "RX-1", flows("0"), delivered("5"))); len(r) != 1 || r[0].Total.String() != "5 mL" {
		t.Errorf("%+v", r)
	}
}
