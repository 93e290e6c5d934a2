// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/wire"
)

// An asking is what one command of an order asks of one device.
type asking struct {
	device  string // id of guard.yaml
	request envelope.Request
}

// mayOrder reports whether a receiver may take a message for an order, however
// sloppy it reads: by its type, by a segment that gives something, or because it
// may hold more than one message.
func mayOrder(m *hl7.Message, h *hl7.Header, msg []byte) bool {
	header := msg
	if i := bytes.IndexAny(msg, "\r\n"); i >= 0 {
		header = msg[:i]
	}
	return Orders(string(upper(h.Code.Raw()))) || m.Kind() == hl7.PCD03 || m.Kind() == hl7.Order ||
		bytes.Contains(upper(header), []byte("RGV")) ||
		line(msg, "RXG") || line(msg, "RXO") || line(msg, "RXE") || line(msg, "MSH") || line(msg, "BHS") || line(msg, "FHS")
}

// line reports whether a line of a message, but for the first, begins with an id.
func line(msg []byte, id string) bool {
	for at := 0; ; {
		i := bytes.Index(msg[at:], []byte(id))
		if i < 0 {
			return false
		}
		if i += at; i > 0 && msg[i-1] < ' ' {
			return true
		}
		at = i + 1
	}
}

func upper(b []byte) []byte { return bytes.ToUpper(b) }

// read turns an order into what it asks of which device. With doubt it is every
// pump of the front that is asked, as it cannot be told for which one the order
// may be taken. Why is a reason that no pump is asked at all: the order names
// one that is not here.
func (p *Policy) read(m *hl7.Message, h *hl7.Header, quirks hl7.Quirks) (asks []asking, why string) {
	if doubt := ambiguous(m, h, quirks); doubt != "" {
		return p.all(doubt), ""
	}
	var room [4]hl7.InfusionOrder
	orders, err := hl7.Orders(m, room[:0])
	if len(orders) == 0 {
		return p.all("it holds no order that can be read"), ""
	}
	pump := ""
	for i := range orders {
		id, doubt := p.pump(orders[i].Pump)
		switch {
		case doubt != "":
			return p.all(doubt), ""
		case id == "":
			return nil, "the pump it names is not one of this front"
		case pump != "" && pump != id:
			return p.all("it names two pumps"), ""
		case i > 0 && orders[i].Weight != orders[0].Weight:
			return p.all("it names two weights"), ""
		}
		pump = id
	}
	doubt := ""
	if err != nil {
		doubt = "it cannot be read: " + field(err)
	}
	var commands []device.Command
	for i := range orders {
		o := &orders[i]
		concentration, cerr := o.Concentration()
		if cerr != nil && !errors.Is(cerr, device.ErrInexact) {
			concentration = device.Quantity{}
		}
		first := len(commands)
		commands = o.AppendCommands(commands)
		for _, c := range commands[first:] {
			a := asking{pump, envelope.Request{Command: c, Weight: o.Weight, Concentration: concentration, Undecided: doubt}}
			if a.request.Undecided == "" {
				a.request.Undecided = undecided(o, &c, concentration)
			}
			asks = append(asks, a)
		}
	}
	return asks, ""
}

// all asks all pumps of the front, with a reason that nothing can be decided.
func (p *Policy) all(doubt string) (asks []asking) {
	for _, id := range slices.Sorted(maps.Keys(p.Pumps)) {
		asks = append(asks, asking{id, envelope.Request{Command: device.Command{Therapy: device.DrugInfusion, Stage: device.Proposed}, Undecided: doubt}})
	}
	return asks
}

// pump is the id of the pump that an entity identifier names. The forms of
// OBX-18 (PCD TF-2 section 3.3.4.4.9) that a reader may take have to name the
// same one.
func (p *Policy) pump(e hl7.EntityID) (id, doubt string) {
	for _, name := range [...]string{e.ID.Text(), e.UniversalID.Text(), e.Name(), e.Unique()} {
		of, ok := p.pumpOf[plain(name)]
		switch {
		case !ok:
		case id != "" && id != of:
			return "", "it names two pumps"
		default:
			id = of
		}
	}
	return id, ""
}

// field names what was wrong, without a byte of the message.
func field(err error) string {
	var s *wire.SyntaxError
	if errors.As(err, &s) {
		return fmt.Sprintf("%s: %v", s.Field, s.Err)
	}
	return "it does not follow the profile"
}

// undecided says what a command lacks to be judged, or "".
func undecided(o *hl7.InfusionOrder, c *device.Command, concentration device.Quantity) string {
	switch {
	case c.Verb == device.NoVerb:
		return "it is not told what it asks for (ORC-1)"
	case c.Value.IsNone():
		return "it has no amount or rate that can be read"
	case c.Value.Unit == device.NoUnit:
		return "its amount has no unit"
	case c.Value.Coefficient < 0, c.Limit.Coefficient < 0, o.Flow.Coefficient < 0:
		return "it has an amount below zero"
	case c.Verb == device.SetInfusionRate && !c.Value.Unit.IsRate() && !c.Value.Unit.IsDoseRate():
		return "its unit is neither of a rate nor of a dose rate"
	}
	// A dose rate is a flow only with weight and concentration (section 7 of the
	// rules of therapy safety); the same holds for a dose, over any time.
	v := c.Value
	if v.Unit.IsDose() {
		hourly, ok := device.UnitOfUCUM(v.Unit.String() + "/h")
		if !ok {
			return ""
		}
		v.Unit = hourly
	}
	if !v.Unit.IsRate() && !v.Unit.IsDoseRate() {
		return ""
	}
	if _, err := device.RateOf(v, o.Weight, concentration); err != nil && !errors.Is(err, device.ErrInexact) {
		if errors.Is(err, device.ErrMissing) {
			return "weight or concentration is missing, without which nobody knows how much flows"
		}
		return "its unit does not go with the concentration"
	}
	return ""
}

// profile are the segments that an order of PCD-03 may have, and what is read
// nowhere: any other may mean something to somebody.
var profile = []string{"MSH", "SFT", "UAC", "PID", "PD1", "PV1", "PV2", "NTE", "AL1", "ORC", "RXG", "TQ1", "RXR", "OBX", "PRT"}

// The fields of an order that are read, by segment. None may repeat or be
// escaped: readers differ in what they make of that. TQ1-13 is a sum of its
// repetitions by the profile.
var read = map[string][]int{
	"MSH": {3, 4, 5, 6, 9, 10, 11, 12, 15, 16, 18},
	"ORC": {1, 2, 8},
	"RXG": {1, 4, 5, 7, 15, 16, 17, 18, 23, 24},
	"RXR": {1},
	"OBX": {2, 3, 5, 6, 11, 18},
}

// ambiguous says why two readers may read an order differently, or "".
func ambiguous(m *hl7.Message, h *hl7.Header, quirks hl7.Quirks) string {
	d := m.Delimiters
	d.Truncation = 0
	switch {
	case quirks != 0:
		return "its framing is ambiguous"
	case m.Quirks != 0:
		return "its segments are ambiguous"
	case d != hl7.DefaultDelimiters:
		return "its delimiters are not those of the profile"
	case m.Kind() != hl7.PCD03:
		return "it is an order, and not one of PCD-03"
	case !m.Continued().IsEmpty() || !h.Continuation.IsEmpty():
		return "it is a part of a message that goes on in another"
	case !h.ProcessingID.IsEmpty() && !h.ProcessingID.Is("P"):
		return "it is not a message of production (MSH-11)"
	}
	count := map[string]int{}
	seen := map[string]bool{} // since the last RXG
	for s := range m.Segments() {
		id := string(s.ID())
		if !slices.Contains(profile, id) {
			return "it has a segment that the profile does not have"
		}
		for _, n := range read[id] {
			v := s.Field(n)
			if bytes.IndexByte(v.Raw(), m.Delimiters.Repetition) >= 0 {
				return fmt.Sprintf("%s-%d is there twice", id, n)
			}
			if bytes.IndexByte(v.Raw(), m.Delimiters.Escape) >= 0 && !(id == "RXG" && n == 4) {
				return fmt.Sprintf("%s-%d is escaped", id, n)
			}
		}
		switch id {
		case "MSH", "PID", "PV1":
			if count[id]++; count[id] > 1 {
				return "it has two segments " + id
			}
		case "RXG":
			clear(seen)
			for _, units := range []int{16, 18, 24} {
				if !certain(s.Field(units)) {
					return fmt.Sprintf("RXG-%d has a unit that is not known", units)
				}
			}
		case "RXR", "TQ1":
			if seen[id] {
				return "an order has two segments " + id
			}
			seen[id] = true
		case "OBX":
			o := hl7.ReadObservation(s)
			code, ref := o.ID.MDC()
			name := fmt.Sprintf("OBX %d %s", code, ref.Raw())
			if seen[name] {
				return "an order states the same observation twice"
			}
			seen[name] = true
			if alternate := o.ID.AltSystem; bytes.EqualFold(alternate.Raw(), o.ID.System.Raw()) && !alternate.IsEmpty() {
				return "an observation has two names"
			}
			if !certain(s.Field(6)) {
				return "OBX-6 has a unit that is not known"
			}
		}
	}
	return ""
}

// certain reports whether every code in a field of units is known, wherever it
// says of which system it is: a reader may take any of them. Whether they are
// of the same unit is for [hl7.Coded.Unit] to say.
func certain(v hl7.Value) bool {
	if v.IsEmpty() {
		return true
	}
	for i := 1; i <= 4; i += 3 {
		id, text, system := string(v.Component(i).Raw()), string(v.Component(i+1).Raw()), string(bytes.ToUpper(v.Component(i+2).Raw()))
		if id == "" && text == "" {
			continue
		}
		ok := true
		switch system {
		case "MDC":
			if id != "" {
				_, ok = mdcUnit(id)
			}
			if ok && text != "" {
				_, ok = device.UnitOfMDC(text)
			}
		case "UCUM":
			_, ok = device.UnitOfUCUM(id)
		default:
			_, ok = device.UnitOf(id)
		}
		if !ok {
			return false
		}
	}
	return v.Component(7).IsEmpty() && v.Component(9).IsEmpty()
}

// mdcUnit reads an MDC code, or in its place a reference id.
func mdcUnit(id string) (device.Unit, bool) {
	code := uint32(0)
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' || i > 8 {
			return device.UnitOf(id)
		}
		code = code*10 + uint32(id[i]-'0')
	}
	return device.UnitOfMDCCode(code)
}
