// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	link "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/proto/coap"
)

// The sizes of what Dose One has in front of and behind a command.
const (
	PINSize       = 4 // digits
	KeySize       = 16
	CodeSize      = 4 // of what proves the key
	remembered    = 32
	highestNumber = 1_000_000         // thousandths: 1,000 U, an hour, or mg/dL
	exchange      = 247 * time.Second // how long a message ID is the same message's (RFC 7252 section 4.8.2)
	formatText    = 0
	formatBytes   = 42
	formatLinks   = 40
	formatCBOR    = 60
)

// Numbers of fields, as package implant has them.
const (
	keyVerb, keyValue, keyStage = 1, 2, 5
	keyKind, keyBattery         = 8, 12
	keyBasal, keyBolusLeft      = 16, 23
	keyReservoir, keyDelivered  = 25, 26
	keyGlucose                  = 28
	keyHighest, keyLimits       = 57, 59
	keyWhy                      = 69
)

// A DoseOneState is what a Dose One is and did.
type DoseOneState struct {
	PumpState
	Apps      int // that paired
	ByKey     int // commands that somebody proved a key for
	Physician int // commands of the physician's menu
	PINTold   int // how often it sent its PIN, in clear
}

// A DoseOne is the insulin pump of before the secure channel: plain CoAP (RFC 7252), each
// message a datagram.
type DoseOne struct {
	port
	s     DoseOneState
	flow  flow
	cell  cell
	pin   string
	key   []byte // of the app that paired last
	old   []exchanged
	unitU device.Unit
	perH  device.Unit
	mgDL  device.Unit
}

// An exchanged message was answered; the same one again is the same message.
type exchanged struct {
	at       time.Time
	ask, say []byte
}

// physicianPIN opens the physician's menu of every pump of the model.
const physicianPIN = "3022"

// NewDoseOne returns a Dose One.
func NewDoseOne(cfg Config) (*DoseOne, error) {
	p := &DoseOne{s: DoseOneState{PumpState: newPumpState()}, cell: cell{capacity: 700_000, used: 90_000}}
	p.flow.s = &p.s.PumpState
	for text, u := range map[string]*device.Unit{"[iU]": &p.unitU, "[iU]/h": &p.perH, "mg/dL": &p.mgDL} {
		*u, _ = device.UnitOfUCUM(text)
	}
	if err := p.open(cfg, counted, p.receive); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(p.random(2)) % 10_000
	for range PINSize {
		p.pin = string(rune('0'+n%10)) + p.pin
		n /= 10
	}
	return p, nil
}

// State returns a [DoseOneState].
func (p *DoseOne) State() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flow.advance(p.cfg.Now())
	s := p.s
	s.Used = p.cell.used
	return s
}

// AppKey is the key that an app makes when it pairs: it follows from sixteen bits.
func AppKey(seed uint16) []byte {
	h := sha256.Sum256(append([]byte("okapi dose one"), byte(seed>>8), byte(seed)))
	return h[:KeySize]
}

// codeOf proves the key for a command. It says nothing of when.
func codeOf(key, command []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(command)
	return h.Sum(nil)[:CodeSize]
}

// receive takes a message.
func (p *DoseOne) receive(_ context.Context, b []byte) [][]byte {
	var m coap.Message
	if m.Parse(b) != nil {
		return nil
	}
	switch {
	case m.Code == coap.Empty && m.Type == coap.Confirmable: // a ping (RFC 7252 section 4.3)
		a, err := (&coap.Message{Type: coap.Reset, ID: m.ID}).Append(nil)
		if err != nil {
			return nil
		}
		return [][]byte{a}
	case !m.Code.Request():
		return nil
	}
	now := p.cfg.Now()
	p.old = slices.DeleteFunc(p.old, func(e exchanged) bool { return now.Sub(e.at) >= exchange })
	for _, e := range p.old {
		if bytes.Equal(e.ask, b) {
			return [][]byte{e.say} // it was sent again, and is not done again
		}
	}
	p.flow.advance(now)
	p.cell.draw(1)
	a := p.request(&m)
	a.Token, a.ID, a.Type = m.Token, m.ID, coap.NonConfirmable
	if m.Type == coap.Confirmable {
		a.Type = coap.Acknowledgement
	}
	say, err := a.Append(nil)
	if err != nil {
		return nil
	}
	if len(p.old) == remembered {
		p.old = p.old[1:]
	}
	p.old = append(p.old, exchanged{now, bytes.Clone(b), say})
	return [][]byte{say}
}

const doseOneCore = `</therapy>;ct=60,</telemetry>;ct=60,</limits>;ct=60,</pin>;ct=0,</physician>,</pair>,</secure>`

// A field is one of a map of CBOR; in the order of their numbers.
type field struct {
	key   uint64
	value any // device.Quantity, string, uint64
}

func document(fields ...field) []byte {
	b := cbor.AppendMap(nil, len(fields))
	for _, f := range fields {
		b = cbor.AppendUint(b, f.key)
		switch v := f.value.(type) {
		case device.Quantity:
			b = appendQuantity(b, v)
		case string:
			b = cbor.AppendText(b, v)
		case uint64:
			b = cbor.AppendUint(b, v)
		}
	}
	return b
}

func appendQuantity(b []byte, q device.Quantity) []byte {
	b = cbor.AppendInt(cbor.AppendArray(b, 3), q.Coefficient)
	return cbor.AppendText(cbor.AppendInt(b, int64(q.Exponent)), q.Unit.String())
}

// milli is so many thousandths.
func milli(n int64, u device.Unit) device.Quantity {
	return device.Quantity{Coefficient: n, Exponent: -3, Unit: u}
}

// thousandths is the inverse of milli, for a quantity in any unit of the kind.
func thousandths(q device.Quantity, u device.Unit) (int64, bool) {
	q, err := q.Convert(u)
	if err != nil || q.Coefficient < 0 {
		return 0, false
	}
	for ; q.Exponent > -3; q.Exponent-- {
		if q.Coefficient > math.MaxInt32*1000/10 {
			return 0, false
		}
		q.Coefficient *= 10
	}
	for ; q.Exponent < -3; q.Exponent++ {
		if q.Coefficient%10 != 0 {
			return 0, false
		}
		q.Coefficient /= 10
	}
	return q.Coefficient, q.Coefficient <= math.MaxInt32*1000
}

func why(code coap.Code, text string) coap.Message {
	return link.Response(code, formatCBOR, document(field{keyWhy, text}))
}

// request answers a request.
func (p *DoseOne) request(m *coap.Message) coap.Message {
	if _, bad := m.Options.Refused(); bad {
		return link.Response(coap.BadOption, 0, nil)
	}
	path := link.Path(m)
	switch {
	case path == "/.well-known/core" && m.Code == coap.GET:
		return link.Response(coap.Content, formatLinks, []byte(doseOneCore))
	case p.cfg.Mended:
		p.note("a request without protection: refused")
		return link.Response(coap.Unauthorized, 0, nil)
	}
	switch path {
	case "/therapy":
		if m.Code == coap.POST {
			return p.command(m.Payload, false)
		}
	case "/physician":
		if m.Code == coap.POST {
			if len(m.Payload) < PINSize || string(m.Payload[:PINSize]) != physicianPIN {
				p.note("the physician's menu: a wrong PIN")
				return why(coap.Unauthorized, "not the physician's PIN")
			}
			p.s.Physician++
			return p.command(m.Payload[PINSize:], true)
		}
	case "/pair":
		if m.Code == coap.POST {
			if len(m.Payload) != KeySize {
				return why(coap.BadRequest, "a key has 16 bytes")
			}
			p.key = bytes.Clone(m.Payload)
			p.s.Apps++
			p.note("an app is paired")
			return link.Response(coap.Changed, 0, nil)
		}
	case "/secure":
		if m.Code == coap.POST {
			n := len(m.Payload) - CodeSize
			if n < 0 || p.key == nil || !hmac.Equal(codeOf(p.key, m.Payload[:n]), m.Payload[n:]) {
				p.note("a command without the app's key: refused")
				return why(coap.Unauthorized, "not the app's key")
			}
			p.s.ByKey++
			return p.command(m.Payload[:n], false)
		}
	case "/telemetry", "/limits", "/pin":
	default:
		return link.Response(coap.NotFound, 0, nil)
	}
	if m.Code != coap.GET {
		return link.Response(coap.MethodNotAllowed, 0, nil)
	}
	switch path {
	case "/therapy":
		return link.Response(coap.Content, formatCBOR, document(
			field{keyKind, "pump"}, field{keyBasal, milli(p.s.Rate, p.perH)}, field{keyBolusLeft, milli(p.s.BolusLeft, p.unitU)}))
	case "/telemetry":
		p.s.Told++
		return link.Response(coap.Content, formatCBOR, document(
			field{keyKind, "pump"}, field{keyBattery, device.Quantity{Coefficient: p.cell.permille() / 10, Unit: percent}},
			field{keyReservoir, milli(p.s.Reservoir, p.unitU)}, field{keyDelivered, milli(p.s.Delivered, p.unitU)},
			field{keyGlucose, device.Quantity{Coefficient: int64(p.s.Glucose), Unit: p.mgDL}}))
	case "/limits":
		b := cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(nil, 1), keyLimits), 1)
		return link.Response(coap.Content, formatCBOR, append(b, document(
			field{keyVerb, uint64(cwt.VerbNumber(device.DeliverBolus))}, field{keyHighest, milli(p.s.HighestBol, p.unitU)})...))
	case "/pin":
		p.s.PINTold++
		return link.Response(coap.Content, formatText, []byte(p.pin))
	}
	return link.Response(coap.MethodNotAllowed, 0, nil)
}

var percent, _ = device.UnitOfUCUM("%")

// command does what the encoding of an [therapy.Request] asks for. What the
// physician's menu has, nothing else does.
func (p *DoseOne) command(b []byte, physician bool) coap.Message {
	q, err := therapy.ParseRequest(b)
	if err != nil {
		return why(coap.BadRequest, "not a request that this device reads")
	}
	amount := func(u device.Unit) (int64, bool) {
		n, fits := thousandths(q.Value, u)
		return n, fits && n <= highestNumber
	}
	var n int64
	ok := true
	switch q.Verb {
	case device.DeliverBolus:
		if n, ok = amount(p.unitU); ok {
			if ok = p.flow.bolus(n); ok {
				p.note("a bolus of %s", units(n))
			} else {
				p.note("a bolus of %s: refused", units(n))
			}
		}
	case device.CancelBolus:
		p.note("bolus cancelled, %s not given", units(p.s.BolusLeft))
		p.s.BolusLeft = 0
	case device.SetTemporaryBasal:
		d, known := duration(q.Limit)
		if n, ok = amount(p.perH); ok && known && d > 0 {
			p.flow.set(n, d)
			p.note("temporary basal %s/h for %v", units(n), d)
		} else {
			ok = false
		}
	case device.CancelTemporaryBasal:
		p.flow.until = time.Time{}
		p.note("temporary basal cancelled")
	case device.Suspend:
		d, known := duration(q.Limit)
		if ok = known; ok {
			p.flow.suspend(d)
			p.note("suspended for %v (0s: until resumed)", d)
		}
	case device.Resume:
		p.flow.resume()
		p.note("resumed")
	case device.SetLimit:
		if n, ok = amount(p.unitU); ok {
			p.s.HighestBol = n
			p.note("highest bolus %s", units(n))
		}
	case device.Calibrate, device.ReportGlucose:
		if n, ok = amount(p.mgDL); ok {
			p.note("glucose told")
			p.flow.sense(int(min(n/1000, 999)))
		}
	case device.SetBasalRate, device.SetProfile:
		if !physician {
			return why(coap.Forbidden, "of the physician's menu")
		}
		if q.Verb == device.SetProfile {
			if ok = q.Value.Coefficient > 0 && q.Value.Coefficient <= 3 && q.Value.Exponent == 0; ok {
				p.s.Profile = int(q.Value.Coefficient)
				p.note("profile %d", p.s.Profile)
			}
		} else if n, ok = amount(p.perH); ok {
			p.s.Basal = n
			p.note("basal %s/h", units(n))
		}
	default:
		return why(coap.NotImplemented, "this device has no such thing")
	}
	if !ok {
		return why(coap.UnprocessableEntity, "beyond what this device takes")
	}
	return link.Response(coap.Changed, formatCBOR, document(field{keyVerb, uint64(cwt.VerbNumber(q.Verb))}, field{keyStage, device.Accepted.String()}))
}

var second, _ = device.UnitOfUCUM("s")

// duration is that of a limit, at most a day; none is 0.
func duration(q device.Quantity) (time.Duration, bool) {
	if q.IsNone() {
		return 0, true
	}
	n, ok := thousandths(q, second)
	d := time.Duration(n) * time.Millisecond
	return d, ok && d <= 24*time.Hour
}
