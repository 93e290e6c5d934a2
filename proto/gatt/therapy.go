// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/wire"
)

// iddCounters is how many E2E counters run: each of the nine characteristics, in
// both directions.
const iddCounters = 2 * (chrIDDHistory - chrIDDStatusChanged + 1)

// iddState is what a decoder knows of a pump.
type iddState struct {
	e2e      protection
	counters [iddCounters]uint8
	basal    SFLOAT // IU/h, as the profile has it now
	hasBasal bool
	tbr      TBR
	tbrEnd   int64 // nanoseconds since 1970
	max      SFLOAT
	hasMax   bool
	asked    IDDControl // and not answered
}

// decodeIDD reads a characteristic of the Insulin Delivery service.
func (d *Decoder) decodeIDD(n uint16, a *Access, r *Reading) error {
	s := &d.idd
	switch n {
	case chrIDDFeatures:
		r.Kind = Setting
		var f IDDFeatures
		err := f.Parse(a.Value)
		if err == nil {
			s.e2e = unprotected
			if f.Features&FeatureE2E != 0 {
				s.e2e, r.Integrity = protected, Good
			}
		}
		return err
	case chrIDDHistory:
		return s.history(a, r)
	}
	payload, counter, ok := SplitE2E(a.Value)
	if ok && s.e2e != unprotected {
		r.Integrity, r.Fresh = Good, counter
		last := &s.counters[int(n-chrIDDStatusChanged)*2+int(bit(a.fromServer(), 0))]
		r.Repeated = *last == counter && counter != 0
		*last = counter
		return d.iddValue(n, payload, a, r)
	}
	return r.unproven(a.Value, e2eBytes, s.e2e, func(b []byte) error { return d.iddValue(n, b, a, r) })
}

func (d *Decoder) iddValue(n uint16, b []byte, a *Access, r *Reading) error {
	switch n {
	case chrIDDStatusChanged:
		r.Kind = Status
		var v IDDStatusChanged
		return v.Parse(b)
	case chrIDDStatus:
		r.Kind, r.Fields = Status, FieldResult
		var v IDDStatus
		return v.Parse(b)
	case chrIDDAnnunciation:
		r.Kind, r.Fields = Annunciation, FieldResult
		var v IDDAnnunciation
		err := v.Parse(b)
		if said := annunciations[v.Type]; said != "" {
			r.Operation = said
		}
		return err
	case chrIDDRecordAccess:
		return iddRecordAccess(b, a, r)
	}
	var x IDDControl
	err := x.Parse(b)
	if said := x.Op.String(); said != "" {
		r.Operation = said
	}
	if err == nil && x.Op.FromServer() != a.fromServer() {
		err = otherSide()
	}
	if a.fromServer() {
		d.idd.answer(&x, err, a.Time, r)
		return err
	}
	d.idd.command(&x, err == nil, a.Time, r)
	d.idd.asked = IDDControl{}
	if err == nil && r.Integrity != Bad {
		d.idd.asked = x
		d.idd.asked.Numbers = nil // not ours
	}
	return err
}

// history reads a record of what was done and measured.
func (s *iddState) history(a *Access, r *Reading) error {
	r.measurement()
	payload, ok := SplitCRC(a.Value)
	switch {
	case ok && s.e2e != unprotected:
		r.Integrity = Good
	case s.e2e == protected:
		r.Integrity = Bad
		return &wire.SyntaxError{Proto: name, Field: "E2E-CRC", Off: max(len(a.Value)-crcBytes, 0), Err: wire.ErrInvalid}
	default:
		payload = a.Value
	}
	var h IDDHistory
	err := h.Parse(payload)
	if said := historyEvents[h.Type]; said != "" {
		r.Operation = said
	}
	return err
}

// iddRecordNames are the opcodes of the IDD Record Access Control Point (table
// 3.25).
var iddRecordNames = map[uint8]string{
	0x0f: "Response Code", 0x33: "Report Stored Records", 0x3c: "Delete Stored Records", 0x55: "Abort Operation",
	0x5a: "Report Number of Stored Records", 0x66: "Number of Stored Records Response",
}

// The words of the IDD Record Access Control Point (tables 3.24, 3.26, 3.27).
const (
	iddOperators     = "\x0f\x33\x3c\x55\x5a\x66\x69" // null, all, up to, from, range, first, last
	iddFilters       = "\x0f\x33\x3c"                 // sequence number: of all events, of reference times, of others
	iddRecordSuccess = 0xf0
)

// iddRecordAccess reads the IDD Record Access Control Point (section 3.9).
func iddRecordAccess(b []byte, a *Access, r *Reading) error {
	c := wire.NewCursor(name, b)
	op := word8(&c, "Op Code")
	operator := enum(&c, "Operator", iddOperators)
	said := iddRecordNames[op]
	if said != "" {
		r.Operation = said
	} else {
		c.FailAt("Op Code", 0, wire.ErrReserved)
	}
	if a.fromServer() {
		r.response(device.NoVerb, false)
	} else {
		r.command(iddRecordVerb(op))
	}
	null := op == 0x0f || op == 0x66 || op == 0x55
	switch {
	case (op == 0x0f || op == 0x66) != a.fromServer():
		c.FailAt("Op Code", 0, wire.ErrInvalid) // the other side's
	case null != (operator == 0x0f):
		c.FailAt("Operator", 1, wire.ErrInvalid)
	case op == 0x0f:
		request := c.Uint8("Request Op Code")
		r.Code = c.Uint8("Response Code Value")
		r.response(iddRecordVerb(request), c.Ok() && r.Code == iddRecordSuccess)
	case op == 0x66:
		c.Skip("Number of Records", 4)
		r.response(device.ReadTelemetry, c.Ok())
	case operator == 0x3c, operator == 0x55, operator == 0x5a:
		enum(&c, "Filter Type", iddFilters)
		c.Skip("Minimum or Maximum", 4)
		if operator == 0x5a {
			c.Skip("Maximum", 4)
		}
	}
	return finish(&c)
}

func iddRecordVerb(op uint8) device.Verb {
	switch op {
	case 0x3c:
		return device.DeleteRecords
	case 0x33, 0x55, 0x5a:
		return device.ReadTelemetry
	}
	return device.NoVerb
}

// iddVerb returns what an opcode asks for. The operand of Set Therapy Control
// State says more.
func iddVerb(op IDDOp) device.Verb {
	switch op {
	case IDDSetTherapyControlState:
		return device.Suspend
	case IDDSetFlightMode:
		return device.DisableRadio
	case IDDSnoozeAnnunciation, IDDConfirmAnnunciation:
		return device.AcknowledgeAlarm
	case IDDWriteBasal, IDDSetTBRTemplate, IDDSetBolusTemplate, IDDResetTemplateStatus, IDDActivateTemplates, IDDWriteISF, IDDWriteICHO,
		IDDWriteTarget: // ISF, I:CHO and target are what boluses are calculated from
		return device.SetProfile
	case IDDSetTBR:
		return device.SetTemporaryBasal
	case IDDCancelTBR:
		return device.CancelTemporaryBasal
	case IDDSetBolus:
		return device.DeliverBolus
	case IDDCancelBolus:
		return device.CancelBolus
	case IDDStartPriming:
		return device.Prime
	case IDDStopPriming:
		return device.StopPriming
	case IDDSetReservoirFill: // what the pump thinks is left
		return device.Calibrate
	case IDDResetReservoirTime: // the reminder that insulin gets old
		return device.AcknowledgeAlarm
	case IDDSetMaxBolus:
		return device.SetLimit
	case IDDReadBasal, IDDGetTBRTemplate, IDDGetAvailableBoluses, IDDGetBolusTemplate, IDDGetTemplateStatus, IDDGetActivatedTemplates, IDDReadISF,
		IDDReadICHO, IDDReadTarget, IDDGetMaxBolus:
		return device.ReadSettings
	case IDDGetActiveBolusIDs, IDDGetActiveBolus, IDDGetActiveBasal, IDDGetTotalDaily, IDDGetCounter, IDDGetDeliveredInsulin, IDDGetInsulinOnBoard:
		return device.ReadTelemetry
	}
	return device.NoVerb
}

// minutes is a duration, or none for 0.
func minutes(n uint16) device.Quantity {
	if n == 0 {
		return device.Quantity{}
	}
	return device.Quantity{Coefficient: int64(n), Unit: unitMinute}
}

// profileRate is the basal rate that relative ones are factors of.
var profileRate = device.Quantity{Coefficient: 100, Unit: unitPercent}

// rate is what a temporary basal rate gives.
func (t *TBR) rate() device.Quantity {
	switch t.Type {
	case TBRAbsolute:
		return t.Value.Quantity(unitIUPerH)
	case TBRRelative:
		return t.Value.Quantity(unitOne)
	}
	return device.Quantity{}
}

// without is the rate that holds without a temporary one, in terms of t.
func (s *iddState) without(t *TBR) device.Quantity {
	switch {
	case t.Type == TBRRelative:
		return profileRate
	case t.Type == TBRAbsolute && s.hasBasal:
		return s.basal.Quantity(unitIUPerH)
	}
	return device.Quantity{}
}

// command says what a client asks the pump for. With ok false the operand was
// not read, or not to its end.
func (s *iddState) command(x *IDDControl, ok bool, now int64, r *Reading) {
	if x.Op == IDDResetStatus { // what was read is marked as read
		r.Kind = Setting
		return
	}
	r.command(iddVerb(x.Op))
	c := &r.Command
	if c.Verb != device.ReadSettings && c.Verb != device.ReadTelemetry && c.Verb != device.NoVerb {
		r.Fields = FieldOrder
	}
	if now > s.tbrEnd {
		s.tbr = TBR{}
	}
	if x.Op == IDDCancelTBR && s.tbr.Type != 0 {
		c.Value, c.Now = s.without(&s.tbr), s.tbr.rate()
		if c.Value.IsNone() {
			c.Now = device.Quantity{}
		}
	}
	if !ok {
		return
	}
	switch x.Op {
	case IDDSetTherapyControlState:
		if x.State == TherapyRun {
			c.Verb = device.Resume
		}
	case IDDWriteBasal:
		for i, b := range x.Blocks[:x.N] {
			q := b.Value.Quantity(unitIUPerH)
			if more, _ := q.Cmp(c.Value); i == 0 || more > 0 {
				c.Value = q // the highest rate of the day's part
			}
		}
	case IDDSetTBR:
		c.Value, c.Now, c.Limit = x.TBR.rate(), s.without(&x.TBR), minutes(x.TBR.Duration)
		if s.tbr.Type == x.TBR.Type {
			c.Now = s.tbr.rate()
		}
	case IDDSetTBRTemplate:
		c.Value, c.Limit = x.TBR.rate(), minutes(x.TBR.Duration)
	case IDDSetBolus, IDDSetBolusTemplate:
		c.Value, c.Limit = sum(x.Bolus.Fast, x.Bolus.Extended, 1, unitIU), minutes(x.Bolus.Duration)
	case IDDStartPriming, IDDSetReservoirFill:
		c.Value = x.Amount.Quantity(unitIU)
	case IDDSetMaxBolus:
		c.Value = x.Amount.Quantity(unitIU)
		if s.hasMax {
			c.Now = s.max.Quantity(unitIU)
		}
	}
}

// answer reads what the pump says, and remembers what holds from now on.
func (s *iddState) answer(x *IDDControl, err error, now int64, r *Reading) {
	info := iddOps[x.Op]
	r.response(device.NoVerb, false)
	request := info.answers
	succeeded := err == nil && request != 0
	if info.form == formResponse {
		request, r.Code = x.Request, x.Code
		succeeded = err == nil && x.Code == IDDSuccess
	}
	r.response(s.verbOf(request), succeeded)
	if succeeded && r.Integrity != Bad {
		if s.asked.Op == request {
			s.settle(now)
		}
		s.learn(x, now)
	}
	if succeeded && info.answers != 0 {
		r.Fields = FieldResult
	}
	s.asked = IDDControl{}
}

// verbOf is the verb of a request that was answered, by its operand if it was
// seen.
func (s *iddState) verbOf(op IDDOp) device.Verb {
	if op == IDDSetTherapyControlState && s.asked.Op == op && s.asked.State == TherapyRun {
		return device.Resume
	}
	return iddVerb(op)
}

// settle takes over what was asked and granted.
func (s *iddState) settle(now int64) {
	switch x := &s.asked; x.Op {
	case IDDSetTBR:
		s.temporary(&x.TBR, x.TBR.Duration, now)
	case IDDCancelTBR:
		s.tbr = TBR{}
	case IDDSetMaxBolus:
		s.max, s.hasMax = x.Amount, true
	}
}

func (s *iddState) temporary(t *TBR, minutes uint16, now int64) {
	s.tbr, s.tbrEnd = *t, now+int64(minutes)*60e9
}

// learn takes over what the pump says of itself.
func (s *iddState) learn(x *IDDControl, now int64) {
	switch x.Op {
	case IDDGetActiveBasalResponse:
		s.basal, s.hasBasal, s.tbr = x.Amount, true, TBR{}
		if x.HasTBR {
			s.temporary(&x.TBR, x.TBR.Remaining, now)
		}
	case IDDGetMaxBolusResponse:
		s.max, s.hasMax = x.Amount, true
	}
}
