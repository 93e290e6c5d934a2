// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/ward"
)

// An InfusionState is what an infusion pump is and did. Flows are in microlitres an hour.
type InfusionState struct {
	Flow      int64
	Dose      string // rate by weight, as it was ordered: "0.2 ug/kg/min"
	Infused   int64  // microlitres
	Proposed  int64  // flow of an order that waits for a clinician; 0: none does
	Waits     string // the order's rate as it was written
	Confirmed int
	Rejected  int
}

// A FlowLinkState is what the gateway and the pumps behind it are and did.
type FlowLinkState struct {
	Pump3, Pump4 InfusionState
	Orders       int // that it took, from anybody
	Refused      int
	Reports      int // PCD-01 and PCD-10 that it sent
}

// A FlowLink is the gateway of intensive care, FlowLink 1.8, with pump-3 and pump-4 behind
// it: HL7 v2.6 over MLLP in clear. It takes orders from whoever connects.
type FlowLink struct {
	mllpPort
	s      FlowLinkState
	pumps  [2]bedside
	at     time.Time
	number int
	mlH    device.Unit
}

// A bedside is a pump at a bed.
type bedside struct {
	is   ward.Pump
	s    *InfusionState
	part int64 // microlitres an hour times milliseconds
	dose string
	next string // dose of the order that waits

	firmware // see Body
}

const highestFlow = 1_200_000 // microlitres an hour

const pumpNames = "pump-3 or pump-4"

// NewFlowLink returns a FlowLink. Upstream of cfg is the hospital information system, where
// reports and answers go.
func NewFlowLink(cfg Config) (*FlowLink, error) {
	g := new(FlowLink)
	three, four := ward.Pumps()
	g.s.Pump3 = InfusionState{Flow: 10_500, Dose: "0.2 ug/kg/min"}
	g.s.Pump4 = InfusionState{Flow: 11_000}
	g.pumps = [2]bedside{{is: three, s: &g.s.Pump3, dose: "0.2"}, {is: four, s: &g.s.Pump4}}
	g.mlH, _ = device.UnitOfUCUM("mL/h")
	if err := g.listen(cfg, g.order); err != nil {
		return nil, err
	}
	g.at = g.cfg.Now()
	return g, nil
}

// State returns a [FlowLinkState].
func (g *FlowLink) State() any {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance()
	return g.s
}

// advance infuses until now.
func (g *FlowLink) advance() {
	now := g.cfg.Now()
	ms := now.Sub(g.at).Milliseconds()
	if ms <= 0 {
		return
	}
	g.at = g.at.Add(time.Duration(ms) * time.Millisecond)
	for i := range g.pumps {
		p := &g.pumps[i]
		p.part += p.s.Flow * ms
		p.s.Infused += p.part / milliunitHour
		p.part %= milliunitHour
	}
}

// id is the next message's MSH-10.
func (g *FlowLink) id(kind string) string {
	g.number++
	return fmt.Sprintf("%s-%d", kind, g.number)
}

// order takes a message. Whoever sends it: MSH-3 is believed, and nobody looks at it.
func (g *FlowLink) order(b []byte) (answer []byte, later [][]byte) {
	g.advance()
	now := g.cfg.Now()
	m, err := hl7.Parse(b)
	if err != nil {
		g.s.Refused++
		return nil, nil
	}
	h := m.Header()
	if _, is := m.Answer(); is {
		return nil, nil
	}
	kind := "ACK^" + h.Trigger.Text() + "^ACK"
	enhanced := h.Enhanced()
	accept := func(code, why string) []byte {
		if enhanced && (h.AcceptAck.Is("NE") || h.AcceptAck.Is("ER") && code == "CA") {
			return nil
		}
		return ward.Answer(now, "A"+h.ControlID.Text(), kind, code, &m, false, why)
	}
	switch {
	case g.cfg.Mended:
		g.s.Refused++
		g.note("a message from somebody who did not prove who it is: refused")
		if !enhanced {
			return accept("AE", "no client certificate"), nil
		}
		return accept("CE", "no client certificate"), nil
	case m.Kind() != hl7.PCD03:
		g.s.Refused++
		if !enhanced {
			return accept("AR", "not an infusion order"), nil
		}
		return accept("CR", "not an infusion order"), nil
	}
	why := g.propose(&m)
	code := "AA"
	if why != "" {
		code = "AE"
		g.s.Refused++
		g.note("an order: refused, %s", why)
	}
	const reply = "RRG^O16^RRG_O16"
	if !enhanced {
		return ward.Answer(now, g.id("FLR"), reply, code, &m, false, why), g.confirmed()
	}
	if a := h.ApplicationAck; a.Is("AL") || a.Is("ER") && code != "AA" || a.Is("SU") && code == "AA" {
		later = append(later, ward.Answer(now, g.id("FLR"), reply, code, &m, true, why))
	}
	return accept("CA", ""), append(later, g.confirmed()...)
}

// propose has the pump show an order to whoever stands there. It returns why not.
func (g *FlowLink) propose(m *hl7.Message) string {
	orders, err := hl7.Orders(m, nil)
	if err != nil || len(orders) != 1 {
		return "not one order that can be read"
	}
	o := &orders[0]
	p := g.pump(o.Pump.Name())
	if p == nil {
		return "no such pump"
	}
	if p.held {
		return "the pump is being updated"
	}
	if o.Verb() != device.SetInfusionRate {
		return "not a rate"
	}
	q, err := o.FlowRate()
	if err != nil && !errors.Is(err, device.ErrInexact) {
		return "no flow follows from it"
	}
	n, ok := ceiling(q, g.mlH)
	if !ok || n == 0 || n > highestFlow {
		return "not a flow that the pump has"
	}
	g.s.Orders++
	p.s.Proposed, p.s.Waits, p.next = n, o.Rate.String(), ""
	if !o.Weight.IsNone() {
		p.next = fmt.Sprint(device.Quantity{Coefficient: o.Rate.Coefficient, Exponent: o.Rate.Exponent})
	}
	g.note("an order of %s waits at %s", p.s.Waits, g.name(p))
	return ""
}

// ceiling is a quantity in thousandths of a unit, rounded up.
func ceiling(q device.Quantity, u device.Unit) (int64, bool) {
	q, err := q.Convert(u)
	if err != nil && !errors.Is(err, device.ErrInexact) || q.Coefficient < 0 {
		return 0, false
	}
	for ; q.Exponent < -3; q.Exponent++ {
		q.Coefficient = q.Coefficient/10 + int64(min(q.Coefficient%10, 1))
	}
	return thousandths(q, u)
}

func (g *FlowLink) pump(id string) *bedside {
	for i := range g.pumps {
		if p := &g.pumps[i]; id == p.is.ID() || id == g.name(p) {
			return p
		}
	}
	return nil
}

func (g *FlowLink) name(p *bedside) string {
	if p == &g.pumps[0] {
		return "pump-3"
	}
	return "pump-4"
}

// confirmed has what waits confirmed at once, where a clinician stands there who confirms all.
func (g *FlowLink) confirmed() (reports [][]byte) {
	for i := range g.pumps {
		if p := &g.pumps[i]; g.cfg.Confirms && p.s.Proposed != 0 {
			reports = append(reports, g.start(p)...)
		}
	}
	return reports
}

// start gives what waits.
func (g *FlowLink) start(p *bedside) [][]byte {
	p.s.Flow, p.s.Dose, p.dose = p.s.Proposed, "", p.next
	if p.next != "" {
		p.s.Dose = p.s.Waits
	}
	p.s.Proposed, p.s.Waits = 0, ""
	p.s.Confirmed++
	g.note("%s: confirmed, now %d.%03d mL/h", g.name(p), p.s.Flow/1000, p.s.Flow%1000)
	return [][]byte{g.event(p, "MDC_EVT_PUMP_DELIV_START"), g.report(p)}
}

func (p *bedside) now() ward.Pump {
	return p.is.Giving(fmt.Sprint(device.Quantity{Coefficient: p.s.Flow, Exponent: -3}), p.dose).
		Delivered(fmt.Sprintf("%d.%03d", p.s.Infused/1000, p.s.Infused%1000)) // a total of zero, too
}

func (g *FlowLink) report(p *bedside) []byte {
	g.s.Reports++
	return ward.Report(g.cfg.Now(), g.id("FL"), p.now())
}

func (g *FlowLink) event(p *bedside, what string) []byte {
	g.s.Reports++
	return ward.InfusionEvent(g.cfg.Now(), g.id("FLE"), p.now(), what)
}

// Confirm is a clinician at a pump, "pump-3" or "pump-4", who starts what waits there. It is reported upstream: PCD-10, then PCD-01.
func (g *FlowLink) Confirm(ctx context.Context, pump string) error {
	return g.decide(ctx, pump, g.start)
}

// Reject is a clinician who does not want what waits.
func (g *FlowLink) Reject(ctx context.Context, pump string) error {
	return g.decide(ctx, pump, func(p *bedside) [][]byte {
		p.s.Proposed, p.s.Waits = 0, ""
		p.s.Rejected++
		g.note("%s: rejected", g.name(p))
		return nil
	})
}

func (g *FlowLink) decide(ctx context.Context, pump string, do func(*bedside) [][]byte) error {
	g.mu.Lock()
	g.advance()
	p := g.pump(pump)
	if p == nil || p.s.Proposed == 0 {
		g.mu.Unlock()
		return fmt.Errorf("legacy: no order waits at %q; want %s", pump, pumpNames)
	}
	reports := do(p)
	g.mu.Unlock()
	g.deliver(ctx, reports)
	return nil
}

// Bolus is a nurse who gives so many microlitres at the keypad of a pump, beside what it
// infuses. It is reported upstream as its end, PCD-10 with the total of the pump.
func (g *FlowLink) Bolus(ctx context.Context, pump string, n int64) error {
	g.mu.Lock()
	g.advance()
	p := g.pump(pump)
	if p == nil || n <= 0 || n > highestFlow {
		g.mu.Unlock()
		return fmt.Errorf("legacy: no bolus of %d microlitres at %q; want %s", n, pump, pumpNames)
	}
	p.s.Infused += n
	g.note("%s: a bolus of %d.%03d mL at the keypad", g.name(p), n/1000, n%1000)
	event := g.event(p, "MDC_EVT_PUMP_DELIV_COMP")
	g.mu.Unlock()
	g.deliver(ctx, [][]byte{event})
	return nil
}

// Stop is a nurse who ends what a pump infuses, at its keypad. It is reported upstream: PCD-10,
// then PCD-01.
func (g *FlowLink) Stop(ctx context.Context, pump string) error {
	g.mu.Lock()
	g.advance()
	p := g.pump(pump)
	if p == nil {
		g.mu.Unlock()
		return fmt.Errorf("legacy: no pump %q; want %s", pump, pumpNames)
	}
	p.s.Flow, p.s.Dose, p.dose = 0, "", ""
	g.note("%s: stopped at the keypad", g.name(p))
	reports := [][]byte{g.event(p, "MDC_EVT_PUMP_DELIV_STOP"), g.report(p)}
	g.mu.Unlock()
	g.deliver(ctx, reports)
	return nil
}

// Report tells upstream what both pumps give: PCD-01.
func (g *FlowLink) Report(ctx context.Context) {
	g.mu.Lock()
	g.advance()
	reports := [][]byte{g.report(&g.pumps[0]), g.report(&g.pumps[1])}
	g.mu.Unlock()
	g.deliver(ctx, reports)
}

// A CastorState is what the hospital information system was told.
type CastorState struct {
	Reports int      // PCD-01
	Events  int      // PCD-10
	Answers []string // to orders, in their order: MSA-1 and MSA-2; the last thousand
	Others  int
}

// A Castor is the side of the hospital information system to which reports and answers come.
type Castor struct {
	mllpPort
	s CastorState
}

// NewCastor returns a Castor.
func NewCastor(cfg Config) (*Castor, error) {
	c := new(Castor)
	return c, c.listen(cfg, c.hear)
}

// State returns a [CastorState].
func (c *Castor) State() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Answers = append([]string(nil), s.Answers...)
	return s
}

func (c *Castor) hear(b []byte) ([]byte, [][]byte) {
	m, err := hl7.Parse(bytes.Clone(b))
	if err != nil {
		c.s.Others++
		return nil, nil
	}
	h := m.Header()
	a, answers := m.Answer()
	switch kind := m.Kind(); {
	case kind == hl7.PCD01:
		c.s.Reports++
	case kind == hl7.PCD10:
		c.s.Events++
	case answers && h.Code.Is("RRG"):
		c.s.Answers = append(c.s.Answers, a.Code.Text()+" "+a.ControlID.Text())
		if len(c.s.Answers) > maxJournal {
			c.s.Answers = c.s.Answers[1:]
		}
		c.note("an order is answered: %s", a.Code.Text())
	default:
		c.s.Others++
	}
	if h.AcceptAck.Is("NE") {
		return nil, nil
	}
	return ward.Answer(c.cfg.Now(), "A"+h.ControlID.Text(), "ACK^"+h.Trigger.Text()+"^ACK", "CA", &m, false, ""), nil
}

// forgedOrder is step 3 of the ward's story: twenty times the noradrenaline, in the name
// of the hospital information system.
var forgedOrder = Attack{
	Row: "step 3", Name: "forged-order", Device: "flowlink", Realism: Wire, About: "an infusion order in another's name: noradrenaline at twenty times the rate",
	Run: func(ctx context.Context, env *Env) (Result, error) {
		c, err := env.dial(ctx, counted)
		if err != nil {
			return Result{}, err
		}
		three, _ := ward.Pumps()
		o := ward.Order{ID: "RGV-90213", Pump: three, Rate: "4", Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}
		ctx, stop := context.WithTimeout(ctx, env.patience())
		defer stop()
		accepted := false
		err = ExchangeHL7(ctx, c.Conn, [][]byte{o.Message(env.now())}, func(_, answer []byte) {
			if m, err := hl7.Parse(answer); err == nil {
				a, _ := m.Answer()
				accepted, _ = a.Accepted()
			}
		})
		switch {
		case ctx.Err() != nil:
			err = errSilent
		case err == nil && !accepted:
			err = errRefused
		}
		return result("an order of 4 ug/kg/min received (whether it is given, the pump or the application answer says)", nil, broken(err))
	},
	hurt: hurt(func(b, a FlowLinkState, _ []byte) (bool, string) {
		highest := max(a.Pump3.Flow, a.Pump3.Proposed)
		return highest >= 20*b.Pump3.Flow, fmt.Sprintf("noradrenaline at %d mL/h instead of 10.5, waiting for a nurse who trusts it or running", highest/1000)
	}),
}
