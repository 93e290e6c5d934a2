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

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/update"
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

// TestBody: a pump that infuses says so, one that is being updated takes no order, and one that
// was stopped gives nothing until the next.
func TestBody(t *testing.T) {
	clock := NewClock(morning)
	g, err := NewFlowLink(Config{Now: clock.Now, Confirms: true})
	if err != nil {
		t.Fatal(err)
	}
	if g.Body("pump-5") != nil {
		t.Error("there is a pump-5")
	}
	three, _ := ward.Pumps()
	order := func() {
		o := ward.Order{ID: "RGV-1", Pump: three, Rate: "0.25", Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}
		g.Handle(t.Context(), o.Message(clock.Now()))
	}
	body := g.Body("pump-3")
	doing := func() patch.Activity {
		var s patch.State
		body.Condition(&s)
		if s.Known != patch.All {
			t.Error("it does not know all")
		}
		return s.Doing
	}
	if d := doing(); d != patch.Delivering|patch.Dependent {
		t.Errorf("while it infuses: %v", d)
	}
	body.Hold(true)
	order()
	if s := g.State().(FlowLinkState); s.Pump3.Confirmed != 0 || s.Refused != 1 || s.Pump3.Flow == 0 {
		t.Errorf("while it is held: %+v", s)
	}
	body.Hold(false)
	if err := g.Stop(t.Context(), "pump-3"); err != nil {
		t.Fatal(err)
	}
	infused := g.State().(FlowLinkState).Pump3.Infused
	clock.Advance(time.Hour)
	if s := g.State().(FlowLinkState); doing() != 0 || s.Pump3.Infused != infused || s.Pump4.Infused == 0 {
		t.Errorf("after it was stopped: %v, %+v", doing(), s)
	}
	body.Start("2.2.0", true)
	order()
	clock.Advance(10 * time.Second)
	if d, giving := body.Given(); doing() == 0 || !giving || d != 10*time.Second {
		t.Errorf("after the next order: %v, %v, %v", doing(), giving, d)
	}
	if body.Start("2.2.1", false); !giving(body) {
		t.Error("firmware that gives nothing is taken for a pump that stands still")
	}
	if err := g.Stop(t.Context(), "pump-5"); err == nil {
		t.Error("pump-5 is stopped")
	}
}

func giving(b update.Body) bool {
	d, is := b.Given()
	return is && d == 0
}
