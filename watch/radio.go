// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/inventory"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/wire"
)

// maxTransmitters bounds who is remembered on proprietary radios: whoever was
// heard least is forgotten, so that a flood of addresses hides no device.
const maxTransmitters = 4096

// A transmitter is a device, or who talks to it, on a proprietary radio.
type transmitter struct {
	addr     device.Address
	subject  int64 // who wears it
	named    bool  // IdentitySeen was told
	exposed  int64
	frames   uint64
	bytes    uint64
	sealed   uint64 // frames that are encrypted
	peer     device.Address
	tag      int64 // of the last authenticated frame
	tagged   int64 // what that said
	constant bool  // told
	fresh    int64 // of the last command that has to be new
	ordered  int64 // when that was heard first
	name     string
	again    bool // heard more than once
}

type transmitterKey struct {
	dialect string
	address uint64
	present bool
	peer    bool // it is not the device
}

// transmitter returns who has an address under a dialect.
func (a *air) transmitter(k transmitterKey) *transmitter {
	row := a.transmitters.use(k, a.at.Time, &a.dropped)
	c := a.crowdOf(crowdKey{dialect: k.dialect, peer: k.peer}, device.Radio)
	switch t := *row; {
	case t == nil:
		a.named++
		t = &transmitter{name: "radio-" + strconv.Itoa(a.named)}
		if t.addr = c.addr; c.join() {
			t.subject = a.sh.pseudonym("subject", []byte(k.dialect), []byte(c.addr.Value))
		} else {
			a.own(t, k)
		}
		*row = t
	case !t.again:
		t.again = true
		if c.leave(t.addr) {
			t.named, t.exposed = false, 0
			a.own(t, k)
		}
	}
	return *row
}

// own gives a transmitter a pseudonym of its own.
func (a *air) own(t *transmitter, k transmitterKey) {
	t.addr = device.Address{Kind: device.Radio, Value: t.name}
	id := []byte(t.name)
	if k.present {
		id = binary.BigEndian.AppendUint64(nil, k.address)
	}
	t.subject = a.sh.pseudonym("subject", []byte(k.dialect), id)
}

// radioFrame takes one frame of a proprietary radio.
func (a *air) radioFrame(f *Frame, at flow.Place) {
	m := &a.message
	a.at = at
	if d := a.dialectSet().Named(f.Dialect); d != nil {
		if err := d.Parse(f.Data, m); err != nil { // noise, mostly, or the dialect is wrong
			field := "frame"
			if s := (*wire.SyntaxError)(nil); errors.As(err, &s) {
				field = s.Field
			}
			a.faults[Fault{"radio", field}]++
			return
		}
	} else if a.dialects.Identify(f.Data, m) == device.NoConfidence {
		a.unread++
		return
	}
	if a.heardBefore(f) {
		return
	}
	a.at.Offset = int32(m.Off)
	a.said(m, f.Data)
}

// dialectSet are the dialects, which are read when they are needed first.
func (a *air) dialectSet() *radio.Set {
	if a.dialects == nil {
		a.dialects = a.sh.dialects()
	}
	return a.dialects
}

// product takes what a medical device on Bluetooth says of who made it. Where a
// dialect is of this product, too, that knows for what the product is: a
// defibrillator whose only open service is its pulse is no pulse sensor. It is
// still not known to be any unit that was heard on the other radio.
func (a *air) product(p *party, made inventory.Claim) {
	said := &p.product
	if said.Class != "" {
		return
	}
	said.Manufacturer, said.Model = cmp.Or(made.Manufacturer, said.Manufacturer), cmp.Or(made.Model, said.Model)
	if said.Manufacturer == "" || said.Model == "" {
		return
	}
	if a.dialects == nil && a.sh.makes != nil && !a.sh.makes(said.Manufacturer, said.Model) {
		return
	}
	if d := a.dialectSet().Of(said.Manufacturer, said.Model); d != nil {
		said.Class = d.Class
		p.therapies |= d.Therapies
		a.noteDialect(p.addr, d)
	}
}

// noteDialect tells what a dialect knows of the device that it is of.
func (a *air) noteDialect(about device.Address, d *radio.Dialect) {
	for t := range d.Therapies.All() {
		a.note(event.IdentitySeen, about, device.Address{}, event.Text(event.Manufacturer, d.Manufacturer), event.Text(event.Model, d.Model),
			event.Text(event.Class, d.Class), event.Int(event.Therapy, t))
	}
}

// maxHearing bounds the receivers that are told apart of one frame: of more
// each is taken for the one who sends again.
const maxHearing = 4

// A hearing is who heard the same bytes lately, and how often each.
type hearing struct {
	last  int64
	by    [maxHearing]receiver
	times [maxHearing]uint32
}

// A receiver is an input, of pcapng one of its interfaces, of a frame log one of
// the receivers that it names: each has a clock.
type receiver struct {
	input int32
	n     int32 // from 1
}

func receiverOf(f *Frame) receiver {
	if f.Link == capture.LinkFrameLog { // whose interfaces are dialects
		return receiver{f.Input, 1 + int32(f.Receiver())}
	}
	return receiver{f.Input, 1 + int32(f.Interface)}
}

// heardBefore reports whether a frame is what another receiver heard already, by
// the same bytes and about the same time. Whoever has heard them as often as
// anybody, and hears them again, hears another transmission.
func (a *air) heardBefore(f *Frame) bool {
	h := a.heard.use(a.sh.pseudonym("hash", f.Data), f.Time, &a.dropped)
	if d := f.Time - h.last; d > clockSkew || d < -clockSkew {
		*h = hearing{}
	}
	h.last = f.Time
	who := receiverOf(f)
	i, most := -1, uint32(0)
	for j := range h.by {
		if h.by[j] == who || h.by[j] == (receiver{}) && i < 0 {
			h.by[j], i = who, j
		}
		most = max(most, h.times[j])
	}
	if i < 0 {
		return false
	}
	h.times[i]++
	return h.times[i] <= most
}

func (a *air) said(m *radio.Message, frame []byte) {
	d := m.Dialect
	who := a.transmitter(transmitterKey{d.Name, m.Device.Value, m.Device.Present && !m.Device.Broadcast, false})
	other := device.Address{}
	if m.Peer.Present && !m.Peer.Broadcast {
		other = a.transmitter(transmitterKey{d.Name, m.Peer.Value, true, true}).addr
		if c := a.crowds[crowdKey{dialect: d.Name}]; who.addr == c.addr {
			other = a.crowdOf(crowdKey{dialect: d.Name, peer: true}, device.Radio).addr
		}
		who.peer = other
	}
	who.frames++
	who.bytes += uint64(len(frame))
	if m.Command.Channel&device.Encrypted != 0 {
		who.sealed++
	}
	if !who.named {
		who.named = true
		a.noteDialect(who.addr, d)
	}
	name := "unknown opcode" // which: where the table does not fit, that may be anything
	if m.Opcode != nil {
		name = m.Opcode.Name
	} else {
		a.faults[Fault{"opcode", d.Name}]++
	}
	a.tagOf(m, who, other)
	if who.constant {
		m.Command.Channel &^= device.Authenticated | device.Fresh
	}
	switch m.Kind {
	case radio.Command, radio.Wake, radio.Pair:
		if m.Direction != radio.FromDevice {
			a.ordered(m, who, other, name)
		}
	case radio.Answer:
		outcome := [...]event.Result{radio.UnknownOutcome: event.Unknown, radio.Succeeded: event.Succeeded, radio.Failed: event.Failed}[m.Outcome]
		a.note(event.CommandAnswered, who.addr, other, event.Int(event.Verb, m.Command.Verb), event.Int(event.Stage, m.Command.Stage),
			event.Int(event.Outcome, outcome), event.Text(event.Target, name))
	case radio.Identity:
		// What it leaves out is the dialect's, which is of one make and model.
		made, model := cmp.Or(a.sh.text(m.Manufacturer), d.Manufacturer), cmp.Or(a.sh.text(m.Model), d.Model)
		a.note(event.IdentitySeen, who.addr, other, event.Text(event.Manufacturer, made), event.Text(event.Model, model),
			event.Text(event.Version, a.sh.text(m.Version)))
	}
	if fields := radioFields.of(m.Patient); fields&^who.exposed != 0 && m.Command.Channel&device.Encrypted == 0 {
		who.exposed |= fields
		from, to := who.addr, other
		if m.Direction == radio.ToDevice && other.Value != "" {
			from, to = other, who.addr
		}
		a.note(event.PatientDataSeen, from, to, event.Text(event.Protocol, "radio"), event.Int(event.Fields, fields),
			event.Int(event.Subject, who.subject), event.Int(event.Protection, 0), event.Text(event.Operation, d.Name+": "+name))
	}
}

// ordered tells of a command.
func (a *air) ordered(m *radio.Message, who *transmitter, other device.Address, name string) {
	c := m.Command
	switch m.Kind {
	case radio.Wake:
		if c.Verb = device.Wake; !who.again && who.addr.Value != who.name {
			return // one each of many is no flood of any
		}
	case radio.Pair:
		c.Verb = device.Pair
	}
	var fresh int64
	a.scratch = append(a.scratch[:0], who.name...)
	n := len(a.scratch)
	a.scratch = m.AppendFresh(a.scratch)
	// A short counter comes again by itself.
	stamped := len(a.scratch) > n && (m.Nonce != nil || m.Tag != nil || m.Counter > 0xff)
	a.scratch = m.AppendContent(a.scratch)
	if stamped {
		if fresh = a.sh.pseudonym("hash", a.scratch); fresh != who.fresh {
			who.fresh, who.ordered = fresh, a.at.Time
		} else if max(a.at.Time-who.ordered, who.ordered-a.at.Time) <= int64(m.Dialect.Repeats) {
			fresh = 0 // its sender had no answer yet
		}
	}
	a.scratch = m.AppendContent(append(a.scratch[:0], who.name...))
	a.note(event.OrderSeen, who.addr, other, event.Text(event.Protocol, "radio"), event.Text(event.Now, c.Now.String()))
	a.note(event.CommandSeen, who.addr, other, event.Int(event.Verb, c.Verb), event.Int(event.Therapy, c.Therapy),
		event.Int(event.Effect, device.EffectOf(&c)), event.Text(event.Value, c.Value.String()), event.Text(event.Target, m.Dialect.Name+": "+name),
		event.Int(event.Protection, c.Channel), event.Int(event.Fresh, fresh), event.Int(event.Repeat, a.sh.pseudonym("hash", a.scratch)))
}

// tagOf looks whether a tag proves anything: one that is the same over
// different content is a password that everybody has heard.
func (a *air) tagOf(m *radio.Message, who *transmitter, other device.Address) {
	if m.Tag == nil {
		return
	}
	tag := a.sh.pseudonym("hash", m.Tag)
	a.scratch = m.AppendContent(a.scratch[:0])
	if m.HasCounter {
		a.scratch = binary.BigEndian.AppendUint64(a.scratch, m.Counter)
	}
	said := a.sh.pseudonym("hash", a.scratch)
	if who.tag == tag && who.tagged != said && !who.constant {
		who.constant = true
		a.note(event.WeakKeySeen, who.addr, other, event.Text(event.Protocol, "radio"), event.Text(event.Reason, "the same authentication tag over different content"))
	}
	who.tag, who.tagged = tag, said
}

// talked tells who talked to somebody on proprietary radios.
func (a *air) talked(_ transmitterKey, p **transmitter) {
	t := *p
	if t.frames == 0 || t.peer.Value == "" {
		return
	}
	level := 1
	if t.sealed > 0 {
		level = 0
	}
	a.sh.left = max(a.sh.left, 1)
	a.note(event.LinkSeen, t.addr, t.peer, event.Text(event.Protocol, "radio"), event.Int(event.Level, level),
		event.Int(event.Packets, t.frames), event.Int(event.DataBytes, t.bytes))
}

// radioFields are the dialects' kinds of patient data.
var radioFields = fieldTable[radio.PatientData]{
	{radio.PatientName, event.FieldName},
	{radio.BirthDate, event.FieldBirthDate},
	{radio.Sex, event.FieldSex},
	{radio.RecordNumber, event.FieldRecordNumber},
	{radio.PostalAddress, event.FieldAddress},
	{radio.Telephone, event.FieldTelephone},
	{radio.Visit, event.FieldVisit},
	{radio.NationalID, event.FieldNationalID},
	{radio.Result, event.FieldResult},
	{radio.Order, event.FieldOrder},
	{radio.StaffName, event.FieldStaffName},
	{radio.DeviceIdentity, event.FieldSerial},
}
