// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/ward"
)

// listen serves a device on loopback until the test ends.
func listen(t *testing.T, d Device) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ServeListener(ctx, l, d) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return l.Addr().String()
}

// TestFlowLink is a day of the gateway with the hospital information system: an order, its answers on
// both connections, a clinician, reports.
func TestFlowLink(t *testing.T) {
	clock := NewClock(morning)
	answered := make(chan Entry, 16)
	castor, err := NewCastor(Config{Now: clock.Now, Noted: func(e Entry) { answered <- e }})
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewFlowLink(Config{Now: clock.Now, Upstream: listen(t, castor)})
	if err != nil {
		t.Fatal(err)
	}
	addr := listen(t, g)
	three, four := ward.Pumps()

	order := func(o ward.Order) (code string) {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		sent := [][]byte{o.Message(clock.Now())}
		if o.Accept == "NE" { // only the next message is answered
			last := ward.Order{ID: "LAST", Pump: three, Rate: "1", Unit: "9^?", Accept: "AL", Application: "NE"}
			_, err = c.Write(hl7.AppendBlock(nil, sent[0]))
			sent = [][]byte{last.Message(clock.Now())}
		}
		if err == nil {
			err = ExchangeHL7(ctx, c, sent, func(_, b []byte) {
				m, err := hl7.Parse(b)
				if err != nil {
					t.Fatal(err)
				}
				a, _ := m.Answer()
				code = m.Header().Code.Text() + " " + a.Code.Text() + " " + a.ControlID.Text()
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	for _, test := range []struct {
		o          ward.Order
		same, back string
	}{
		{ward.Order{ID: "1", Pump: three, Rate: "0.3", Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}, "ACK CA 1", "AA 1"},
		{ward.Order{ID: "2", Pump: four, Rate: "12", Unit: ward.MLPerHour, Accept: "AL", Application: "ER"}, "ACK CA 2", ""},
		{ward.Order{ID: "3", Pump: four, Rate: "x", Unit: ward.MLPerHour, Accept: "AL", Application: "ER"}, "ACK CA 3", "AE 3"},
		{ward.Order{ID: "4", Pump: four, Rate: "x", Unit: ward.MLPerHour}, "RRG AE 4", ""},
		{ward.Order{ID: "5", Pump: four, Rate: "12", Unit: ward.MLPerHour}, "RRG AA 5", ""},
		{ward.Order{ID: "6", Pump: four, Rate: "12", Unit: ward.MLPerHour, Accept: "NE", Application: "AL"}, "ACK CA LAST", "AA 6"},
	} {
		if got := order(test.o); got != test.same {
			t.Errorf("order %s: on the same connection %q, want %q", test.o.ID, got, test.same)
		}
	}
	for range 3 {
		<-answered // on connections of their own
	}
	if err := g.Confirm(t.Context(), "pump-3"); err != nil {
		t.Fatal(err)
	}
	if err := g.Reject(t.Context(), "pump-4"); err != nil {
		t.Fatal(err)
	}
	if err := g.Confirm(t.Context(), "pump-4"); err == nil {
		t.Error("what was rejected is confirmed")
	}
	clock.Advance(time.Hour)
	g.Report(t.Context())
	s := g.State().(FlowLinkState)
	if s.Pump3.Flow != 15_750 || s.Pump3.Dose != "0.3 ug/kg/min" || s.Pump3.Infused != 15_750 || s.Pump4.Flow != 11_000 || s.Pump4.Rejected != 1 {
		t.Errorf("%+v", s)
	}
	if s.Orders != 4 {
		t.Errorf("%d orders were taken, want 4", s.Orders)
	}
	if err := g.Bolus(t.Context(), "pump-3", 5_000); err != nil {
		t.Fatal(err)
	}
	if err := g.Bolus(t.Context(), "pump-3", -5_000); err == nil {
		t.Error("a bolus was taken back")
	}
	if n := g.State().(FlowLinkState).Pump3.Infused; n != 20_750 {
		t.Errorf("%d microlitres with a bolus at the keypad", n)
	}
	c := castor.State().(CastorState)
	if c.Events != 2 || c.Reports != 3 {
		t.Errorf("castor was told %+v", c)
	}
	for _, want := range []string{"AA 1", "AE 3", "AA 6"} {
		if !slices.Contains(c.Answers, want) {
			t.Errorf("castor has no answer %q: %q", want, c.Answers)
		}
	}
	if len(c.Answers) != 3 {
		t.Errorf("castor has answers %q", c.Answers)
	}
}

// TestReports reads what the gateway reports as a guard does.
func TestReports(t *testing.T) {
	three, _ := ward.Pumps()
	for _, b := range [][]byte{
		ward.Report(morning, "FL-1", three.Giving("15.750", "0.3")),
		ward.InfusionEvent(morning, "FLE-1", three.Giving("15.750", "0.3").Delivered("20.750"), "MDC_EVT_PUMP_DELIV_COMP"),
	} {
		m, err := hl7.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if k := m.Kind(); k != hl7.PCD01 && k != hl7.PCD10 {
			t.Errorf("kind %v", k)
		}
		devices := hl7.Devices(&m, nil)
		list := hl7.Deliveries(&m, devices, nil)
		if len(list) != 1 || list[0].Flow.String() != "15.750 mL/h" || list[0].DoseRate.String() != "0.3 ug/kg/min" {
			t.Errorf("%v: deliveries %+v", m.Kind(), list)
		} else if d := &list[0]; m.Kind() == hl7.PCD10 && (d.Total.String() != "20.750 mL" || d.Concentration.String() != "0.08 mg/mL" || !d.Ended()) {
			t.Errorf("what it has given: %+v", d)
		}
	}
}
