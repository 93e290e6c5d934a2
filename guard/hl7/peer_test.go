// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
)

// noradrenalineLimit stands for the envelope of pump-3: at most 1.0 ug/kg/min, of proven senders.
func noradrenalineLimit(a *gate.Ask) *gate.Answer {
	limit, _ := device.ParseQuantity("1.0 ug/kg/min")
	c := a.Request.Command
	switch order, ok := c.Value.Cmp(limit); {
	case a.Actor == "" || c.Channel&device.Authenticated == 0:
		return &gate.Answer{Verdict: device.Deny, Enforced: true, Reason: "the sender is not proven"}
	case !ok || order > 0 || a.Request.Undecided != "":
		return &gate.Answer{Verdict: device.Deny, Enforced: true, Reason: "set-infusion-rate max 1.0 ug/kg/min"}
	}
	return nil
}

// storyBench has FlowLink, the gateway of intensive care, behind the front, and
// Castor, the hospital information system, on the way back.
func storyBench(t *testing.T) (b *bench, castor *legacy.Castor, gw *legacy.FlowLink, answered <-chan legacy.Entry) {
	t.Helper()
	way := freeAddress(t)
	heard := make(chan legacy.Entry, 64)
	castor, err := legacy.NewCastor(legacy.Config{Noted: func(e legacy.Entry) { heard <- e }})
	if err != nil {
		t.Fatal(err)
	}
	if gw, err = legacy.NewFlowLink(legacy.Config{Upstream: way}); err != nil {
		t.Fatal(err)
	}
	serve := func(d legacy.Device) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = legacy.ServeListener(ctx, ln, d) })
		t.Cleanup(func() { stop(); wg.Wait() })
		return ln.Addr().String()
	}
	castorAddr, gwAddr := serve(castor), serve(gw)
	b = newBench(t, func(p *Policy) {
		p.Forward = front.Side{Address: gwAddr}
		r := p.Returns["ehr"]
		r.Listen, r.Forward = front.Side{Address: way}, front.Side{Address: castorAddr, Clear: "a test"}
		p.Returns["ehr"] = r
	})
	b.enveloped()
	return b, castor, gw, heard
}

// TestStory is step 3 of the ward's story: from the scanner an order in the name of
// the hospital information system, twenty times the noradrenaline. It is refused with
// AE; the order of 0.2 passes that has the hospital information system's certificate, and
// one of 4 from it does not.
func TestStory(t *testing.T) {
	b, castor, gw, answered := storyBench(t)
	three, _ := ward.Pumps()
	order := func(from, id, rate string) answer {
		t.Helper()
		c := b.dial(from)
		o := ward.Order{ID: id, Pump: three, Rate: rate, Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}
		c.send(string(o.Message(time.Now())))
		return c.answer()
	}
	if a := order("ct-1.stada.example", "RGV-90213", "4"); a.kind != "RRG^O16" || a.code != "AE" {
		t.Errorf("from the scanner: %v", a)
	}
	if s := gw.State().(legacy.FlowLinkState); s.Orders != 0 || s.Pump3.Proposed != 0 {
		t.Errorf("it came to the pump: %+v", s)
	}
	if a := order("ehr.stada.example", "RGV-90211", "0.2"); a.code != "CA" {
		t.Errorf("from the hospital information system: %v", a)
	}
	<-answered
	if a := order("ehr.stada.example", "RGV-90212", "4"); a.code != "CA" {
		t.Errorf("too much: %v", a)
	}
	<-answered
	if err := gw.Confirm(t.Context(), "pump-3"); err != nil { // and reported: PCD-10, PCD-01
		t.Fatal(err)
	}
	s := gw.State().(legacy.FlowLinkState)
	h := castor.State().(legacy.CastorState)
	if s.Orders != 1 || s.Pump3.Flow != 10_500 || h.Reports != 1 || h.Events != 1 || !slices.Equal(h.Answers, []string{"AA RGV-90211", "AE RGV-90212"}) {
		t.Errorf("the gateway %+v\nthe hospital information system %+v", s, h)
	}
	b.stop()
	var said []string
	for _, e := range b.events {
		said = append(said, e.Kind.String()+" "+e.Text(event.Actor)+": "+e.Text(event.Reason))
	}
	if want := []string{"verdict-given : who asks is not proven", "verdict-given ehr: it asks for more than the most of 1.0 ug/kg/min (noradrenaline, intensive care v3, line 15, set-infusion-rate max 1.0 ug/kg/min)", "verdicts-counted : "}; !slices.Equal(said, want) {
		t.Errorf("recorded %q", said)
	}
	if len(b.told) != 2 || b.told[1].device != "pump-3" || b.told[1].report.Rate.String() != "0.2 ug/kg/min" {
		t.Errorf("what is given counts as %+v", b.told)
	}
}

// TestKeypad: a bolus that a nurse gives at the keypad counts, as the gateway reports it. An
// order that passes without it does not pass with it.
func TestKeypad(t *testing.T) {
	for _, bolus := range []int64{0, 25_000} { // 25 mL of 0.08 mg/mL are 28.6 ug/kg, of at most 48 in an hour
		b, castor, gw, answered := storyBench(t)
		e := b.devices["pump-3"].Envelope
		if v := b.book.View("pump-3", e); v.NotCounted == "" {
			t.Error("the page calls all counted, before the pump said anything")
		}
		gw.Report(t.Context())
		<-b.counted
		<-b.counted
		if v := b.book.View("pump-3", e); v.NotCounted != "" {
			t.Errorf("not counted of pump-3: %s", v.NotCounted)
		}
		reports := 2
		if bolus > 0 {
			for _, pump := range []string{"pump-3", "pump-4"} {
				if err := gw.Bolus(t.Context(), pump, bolus); err != nil {
					t.Fatal(err)
				}
				<-b.counted
			}
			gw.Report(t.Context()) // the same totals: nothing more
			<-b.counted
			<-b.counted
			reports += 2
		}
		v := b.book.View("pump-3", e)
		low, high := 0.0, 0.2
		if bolus > 0 {
			low, high = 28.57, 28.8
		}
		if got := float64(v.Sums[0].Counted.Coefficient) / 1e6; got < low || got > high {
			t.Errorf("%s counted with a bolus of %d uL", v.Sums[0].Counted, bolus)
		}
		if v := b.book.View("pump-4", e); v.NotCounted == "" {
			t.Error("heparin counts as noradrenaline")
		}

		c := b.dial("ehr.stada.example")
		three, _ := ward.Pumps()
		o := ward.Order{ID: "RGV-1", Pump: three, Rate: "0.4", Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}
		c.send(string(o.Message(time.Now())))
		if a := c.answer(); a.code != "CA" {
			t.Errorf("told %v", a)
		}
		<-answered
		s, h := gw.State().(legacy.FlowLinkState), castor.State().(legacy.CastorState)
		want := []string{"AA RGV-1"}
		if bolus > 0 {
			want = []string{"AE RGV-1"}
		}
		if (s.Orders == 1) != (bolus == 0) || !slices.Equal(h.Answers, want) {
			t.Errorf("after a bolus of %d uL: %d orders, answers %q", bolus, s.Orders, h.Answers)
		}
		if h.Reports != reports || h.Events != int(min(bolus, 2)) {
			t.Errorf("castor was told %d reports and %d events", h.Reports, h.Events)
		}
		b.stop()
		if last := b.events[len(b.events)-1]; bolus > 0 && !strings.Contains(last.Text(event.Reason), "highest 48 ug/kg") {
			t.Errorf("recorded %q", last.Text(event.Reason))
		}
	}
}

// TestPython has the client and server of python3-hl7 for the hospital information system.
func TestPython(t *testing.T) {
	python := testpeer.Tool(t, "/usr/bin/python3", "python3-hl7")
	if exec.Command(python, "-c", "import hl7.mllp").Run() != nil {
		t.Skip("python3-hl7 is not installed")
	}
	b := newBench(t, func(p *Policy) {
		r := p.Returns["ehr"]
		r.Forward.Address = freeAddress(t)
		p.Returns["ehr"] = r
	})
	b.ask = noradrenalineLimit
	cert, key, authority := b.ca.Files(t, "ehr.stada.example")
	_, port, _ := net.SplitHostPort(b.policy.Returns["ehr"].Forward.Address)
	cmd := exec.Command(python, "testdata/ehr.py", b.addr, "guard.stada.example", cert, key, authority, port)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	over := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer over.Stop()
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		t.Helper()
		for lines.Scan() {
			if got := lines.Text(); got == want {
				return
			} else if !strings.HasPrefix(got, "back") { // which may come at any time
				t.Fatalf("it said %q, want %q", got, want)
			}
		}
		t.Fatalf("it said no more, want %q: %s", want, said.String())
	}
	expect("ready")
	original := noradrenaline("RGV-3", "4")
	original.accept, original.application = "", ""
	for i, test := range []struct{ text, want string }{
		{noradrenaline("RGV-1", "0.2").String(), "same ACK^O15^ACK CA RGV-1"},
		{original.String(), "same RRG^O16^RRG_O16 AE RGV-3"},
		{noradrenaline("RGV-1", "0.2").String(), "same ACK^O15^ACK CA RGV-1"}, // again
		{admission("ADT-4", 0), "same ACK^A01^ACK CA ADT-4"},
	} {
		if _, err := in.Write([]byte(strings.ReplaceAll(test.text, "\r", `\r`) + "\n")); err != nil {
			t.Fatal(strconv.Itoa(i), err)
		}
		expect(test.want)
	}
	in.Write([]byte(strings.ReplaceAll(noradrenaline("RGV-2", "4").String(), "\r", `\r`) + "\n"))
	var last []string
	for len(last) < 2 && lines.Scan() {
		last = append(last, lines.Text())
	}
	slices.Sort(last)
	if want := []string{"back RRG^O16^RRG_O16 AE RGV-2", "same ACK^O15^ACK CA RGV-2"}; !slices.Equal(last, want) {
		t.Errorf("it said %q, want %q: %s", last, want, said.String())
	}
	if n := len(b.gateway.received()); n != 2 {
		t.Errorf("%d sent", n)
	}
}
