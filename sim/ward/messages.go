// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"time"

	"github.com/myelin-health/myelin/proto/hl7"
)

// The messages of the story for those who say them live: without MLLP's frame around them.
// They are about patients of the story.

// A Pump is an infusion pump behind the gateway of intensive care.
type Pump struct{ p pump }

// Pumps returns pump-3, which gives noradrenaline, and pump-4, which gives heparin.
func Pumps() (three, four Pump) { return Pump{pump3}, Pump{pump4} }

// ID is the pump's EUI-64, by which orders name it.
func (p Pump) ID() string { return p.p.eui }

// Giving returns the pump with another flow in mL/h, and another dose rate in ug/kg/min
// where it gives what is dosed by weight.
func (p Pump) Giving(flow, dose string) Pump {
	p.p.flow = flow
	if p.p.dose != "" {
		p.p.dose = dose
	}
	return p
}

// Delivered returns the pump with what it has given since its counters were cleared, in mL. It
// then says so, and of what concentration, in its reports.
func (p Pump) Delivered(total string) Pump {
	p.p.total = total
	return p
}

// Units of orders, as an order writes them.
const (
	MLPerHour    = mdcMLPerHour
	MicrogPerKgM = mdcMcgPerKgMin
)

// An Order is what the hospital information system orders for a pump: PCD-03, a titration
// of what runs.
type Order struct {
	ID         string // MSH-10
	Pump       Pump
	Rate, Unit string

	// Accept and Application are MSH-15 and MSH-16: AL, NE, ER or SU. Both empty ask for
	// the original mode.
	Accept, Application string
}

// Message returns the message.
func (o *Order) Message(at time.Time) []byte {
	t := at.Sub(morning)
	return beginAsking(t, appEHR, appGW, "RGV^O15^RGV_O15", o.ID, o.Accept, o.Application, pcd03Profile).titration(t, &o.Pump.p, o.Rate, o.Unit).Bytes()
}

// Report returns PCD-01: what a pump is and does.
func Report(at time.Time, id string, p Pump) []byte { return report(at.Sub(morning), id, &p.p).Bytes() }

// InfusionEvent returns PCD-10 about an event of a pump, such as MDC_EVT_PUMP_DELIV_START.
func InfusionEvent(at time.Time, id string, p Pump, event string) []byte {
	t := at.Sub(morning)
	return begin(t, appGW, appEHR, "ORU^R42^ORU_R01", id, "NE", pcd10Profile).observations(t, &p.p, event).Bytes()
}

// Answer returns the answer to a message, from whom it was for to whom it is from: kind is MSH-9 ("ACK^O15^ACK",
// "RRG^O16^RRG_O16"), code is MSA-1. Why is ERR-8, or empty. An answer that is sent on a
// connection of its own asks for an acknowledgement, one on the same connection does not.
func Answer(at time.Time, id, kind, code string, of *hl7.Message, own bool, why string) []byte {
	h := of.Header()
	name := func(d hl7.Designator) []string {
		return []string{d.Namespace.Text(), d.UniversalID.Text(), d.UniversalIDType.Text()}
	}
	accept := "NE"
	if own {
		accept = "AL"
	}
	m := beginAsking(at.Sub(morning), name(h.ReceivingApplication), name(h.SendingApplication), kind, id, accept, "NE", "")
	m.Segment("MSA").Text(code).Text(h.ControlID.Text())
	if why != "" {
		m.Segment("ERR").Empty(2).Components("207", "Application internal error", "HL70357").Text("E").Empty(3).Text(why)
	}
	return m.Bytes()
}
