// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"math"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/inventory"
)

// Manipulated therapy.

// freshness is what is remembered of a message id that must be used once.
type freshness struct {
	from, to device.Address
	answered bool
	at       int64 // when it was heard first
}

// A sender is who gave the first command to a device, and the EUI-64 under
// which it did.
type sender struct {
	device.Address
	name string
}

// ordered is what goes with commands, and where: they come next.
type ordered struct {
	place
	to, from                            device.Address
	protocol, drug, bed, now, actor, id string
	pump                                string // EUI-64
	private                             bool   // sent from a private address: by whom nobody can tell
}

func (s *stage) order(e *event.Event) {
	s.ordered = ordered{
		place{e.Time, e.Sighting},
		e.Device, e.Peer, e.Text(event.Protocol), e.Text(event.Drug), e.Text(event.Place), e.Text(event.Now),
		e.Text(event.Actor), e.Text(event.Name), e.Text(event.Target),
		e.Text(event.Protocol) == "gatt" && e.Int(event.Trackable) == 0,
	}
}

// A pumpKey names a pump: the gateway and what that calls it.
type pumpKey struct {
	gateway device.Address
	id      string
}

// running is how much a pump gives, as it reported last.
type running struct{ flow, doseRate device.Quantity }

// of returns where an amount of that kind is kept.
func (r *running) of(q device.Quantity) *device.Quantity {
	if q.Unit.IsRate() {
		return &r.flow
	}
	return &r.doseRate
}

// told says what a command asks for, as a nurse would: in the title, and in
// full for the note.
func (s *stage) told(e *event.Event, o *ordered) (title, note string) {
	verb := device.Verb(e.Int(event.Verb))
	if verb == device.NoVerb {
		return "", "a command whose meaning the capture does not show"
	}
	value, err := device.ParseQuantity(e.Text(event.Value))
	now, _ := device.ParseQuantity(o.now)
	if r := s.running.get(pumpKey{e.Device, e.Text(event.Target)}); r != nil && now.IsNone() && verb == device.SetInfusionRate {
		now = *r.of(value)
	}
	title = strings.ReplaceAll(verb.String(), "-", " ")
	if o.drug != "" {
		title += ": " + o.drug
	}
	switch alert := alertOf(e.Text(event.Target)); {
	case err != nil || value.IsNone():
	case verb == device.SetAlarm && alert != "":
		title = alert + " " + moved(now, value)
	case verb != device.SetAlarm, switched[value.String()] != "":
		title += " " + change(now, value)
	case value.Coefficient == 0:
		title += " off"
	default: // that is what its value counts, whatever the device calls its level
		title += ", without a sound may pass " + change(now, value)
	}
	if o.bed != "" {
		title += ", " + o.bed
	}
	note = title
	if o.pump != "" {
		note += ", pump " + o.pump
	}
	return title, note
}

// alertOf returns which alert of a glucose sensor an operation sets, or "".
func alertOf(target string) string {
	_, operation, _ := strings.Cut(target, ": Set ")
	alert, is := strings.CutSuffix(operation, " Level")
	if !is {
		return ""
	}
	alert = strings.ToLower(strings.TrimPrefix(alert, "Patient "))
	if change, is := strings.CutPrefix(alert, "rate of "); is { // the levels are mg/dL a minute
		alert = strings.Replace(change, " alert", " per minute alert", 1)
	}
	return alert
}

// moved writes to where the level of an alert was moved, and from where: 0 is
// off.
func moved(now, value device.Quantity) string {
	switch {
	case value.Coefficient == 0 && now.Coefficient == 0:
		return "switched off"
	case value.Coefficient == 0:
		return "switched off, was " + written(now)
	case now.IsNone():
		return "set to " + written(value)
	case now.Coefficient == 0:
		return "set to " + written(value) + ", was off"
	case now == value:
		return "set to " + written(value) + ", as now"
	case now.Unit == value.Unit:
		number, _, _ := strings.Cut(written(now), " ")
		return "moved from " + number + " to " + written(value)
	}
	return "moved from " + written(now) + " to " + written(value)
}

// A phrase is what is told of a command on the radio, and of the same bytes again.
type phrase struct{ title, note, again string }

// A saying is what a phrase is made from.
type saying struct {
	verb               int64
	value, now, target string
}

// phrase returns what is told of a command on the radio, made once: what a pump
// is asked for comes again and again.
func (s *stage) phrase(e *event.Event, o *ordered) phrase {
	k := saying{e.Int(event.Verb), e.Text(event.Value), o.now, e.Text(event.Target)}
	p, ok := s.phrases[k]
	if !ok {
		if len(s.phrases) >= maxTexts {
			clear(s.phrases)
		}
		title, note := s.told(e, o)
		note += " (" + k.target + ")"
		p = phrase{title, note, note + ", the same bytes as once before"}
		s.phrases[k] = p
	}
	return p
}

// change writes a new value behind the old one, and how many times more it is.
func change(now, value device.Quantity) string {
	to := written(value)
	if now.IsNone() {
		return to
	}
	if c, ok := value.Cmp(now); ok && c == 0 {
		return to + " (as now)"
	}
	if now.Unit == value.Unit {
		number, _, _ := strings.Cut(written(now), " ")
		to = number + " → " + to
	} else {
		to = written(now) + " → " + to
	}
	if same, err := value.Convert(now.Unit); err == nil && now.Coefficient > 0 {
		if times := float(same) / float(now); times >= 2 {
			to += fmt.Sprintf(" (%.3g times as much)", times)
		}
	}
	return to
}

// switched are the words for a switch, which is 0 or 1 in the unit 1.
var switched = map[string]string{"0 1": "off", "1 1": "on"}

// written is a quantity for people: of "ug" and "mg" one is soon taken for the
// other, and "IU" for a number, so that nobody writes these.
func written(q device.Quantity) string {
	if word := switched[q.String()]; word != "" {
		return word
	}
	return people.Replace(q.String())
}

var people = strings.NewReplacer(" ug", " mcg", "[iU]", "units")

func float(q device.Quantity) float64 { return float64(q.Coefficient) * math.Pow10(int(q.Exponent)) }

func (s *stage) command(e *event.Event) {
	verb, effect := device.Verb(e.Int(event.Verb)), device.Effect(e.Int(event.Effect))
	t := device.Therapy(e.Int(event.Therapy))
	if t != device.NoTherapy {
		s.register.Said(e.Device, inventory.Claim{Therapy: t}, e.Time)
	}
	s.register.At(e.Peer, e.Time).Sent(e.Time)
	switch {
	case effect == device.Reads, verb == device.ReadSettings, verb == device.ReadTelemetry:
		return
	case verb == device.Wake:
		s.wake(e)
		return
	}
	o := s.ordered
	if o.place != (place{e.Time, e.Sighting}) || o.to != e.Device || o.from != e.Peer {
		o = ordered{}
	}
	var title, note string
	confidence := device.High
	if verb == device.NoVerb {
		confidence = device.Low
	}
	if e.Device.OnAir() {
		p := s.phrase(e, &o)
		title, note = p.title, p.note
		replayed, repeated := s.again(e)
		switch {
		case replayed:
			s.find(finding.TherapyCommandReplayed, e.Device, "", device.High, e, note+", with a counter or tag that was used before").with(e.Peer).also(title)
		case repeated:
			note = p.again
		}
	} else {
		title, note = s.told(e, &o)
	}
	s.weakened(e, &o, title, note)
	if e.Int(event.Protection)&int64(device.Authenticated|device.Unseen) == 0 {
		s.find(finding.TherapyCommandUnauthenticated, e.Device, "", confidence, e, note).by(e.Peer).over(o.protocol)
	}
	first := s.senders.use(e.Device, e.Time, &s.dropped)
	if first.Value == "" {
		*first = sender{e.Peer, o.id}
	}
	if o.private {
		return // with each connection it may have another
	}
	id := device.Address{Kind: device.EUI64, Value: o.id}
	if name := strings.TrimSpace(o.actor + " " + o.id); name != "" && (o.id == "" || !s.register.Has(e.Peer, id)) {
		note += ", in the name of " + name
	}
	strange := func(kind finding.Kind, confidence device.Confidence, why string) {
		s.find(kind, e.Device, e.Peer.Value, confidence, e, note+", "+why).with(e.Peer).over(o.protocol).also(title)
		if verb == device.AcknowledgeAlarm && effect == device.Masks { // by the patient or her nurse it is normal
			s.find(finding.AlarmMasked, e.Device, "", confidence, e, note+", "+why).with(e.Peer).over(o.protocol).also(title)
		}
	}
	switch {
	case s.baseline != nil && !e.Device.OnAir(): // on the radio the names of one capture mean nothing in another
		if !s.baseline.commands(e.Peer.Value, e.Device.Value) {
			strange(finding.TherapyCommandUnexpectedSender, device.High, "from a sender that the baseline does not have")
		}
	case first.Address == e.Peer:
	case s.wasTaken(e.Peer, e.Time):
		strange(finding.TherapyCommandUnexpectedSender, device.Medium, "from a machine that another took control of before")
	case o.id != "" && (first.name == o.id || s.register.Has(first.Address, id)):
		strange(finding.TherapyCommandUnexpectedSender, device.Medium, "from another address under the name of the sender before")
	default:
		strange(finding.TherapyCommandUnexpectedSender, device.Low, "from another sender than before")
	}
	if id := e.Int(event.Fresh); id != 0 && !e.Device.OnAir() {
		had := s.fresh.use(id, e.Time, &s.dropped)
		switch {
		case had.from.Value == "":
			*had = freshness{from: e.Peer, to: e.Device}
		case had.answered && had.from != e.Peer && had.to == e.Device:
			strange(finding.TherapyCommandReplayed, device.High, "with the id of an answered message of another sender")
		}
	}
}

// weakened looks at commands that take away what protects the patient: a limit
// that allows more, an alarm that stays silent longer. Who has proven to be
// entitled to it may, and is worth a word only where more is allowed than was.
func (s *stage) weakened(e *event.Event, o *ordered, title, note string) {
	kind := finding.NoKind
	verb := device.Verb(e.Int(event.Verb))
	switch effect := device.Effect(e.Int(event.Effect)); {
	case effect == device.Steers && (verb == device.ReportGlucose || verb == device.Calibrate):
		if e.Int(event.Protection)&int64(device.Authenticated|device.Unseen) == 0 {
			s.find(finding.ClosedLoopInputUnprotected, e.Device, o.protocol, device.High, e, note).with(e.Peer).over(o.protocol)
		}
		return
	case effect == device.Loosens:
		kind = finding.TherapyLimitLoosened
	case effect == device.Masks && verb == device.SetAlarm:
		kind = finding.AlarmMasked
	default:
		return
	}
	confidence := device.High
	if e.Int(event.Protection)&int64(device.Authenticated|device.Unseen) != 0 {
		if confidence = device.Low; o.now == "" {
			return
		}
	}
	s.find(kind, e.Device, "", confidence, e, note).with(e.Peer).over(o.protocol).also(title)
}

// commandAnswered notes that a message id has been used: before, another sender
// with the same id may be a stand-by that takes over. A resend after a lost
// answer comes from the same sender, and is none of ours.
func (s *stage) commandAnswered(e *event.Event) {
	if had := s.fresh.get(e.Int(event.Fresh)); had != nil && had.to == e.Device {
		had.answered = true
	}
}
