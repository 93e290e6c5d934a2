// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/wire"
)

// The bounds of what is remembered of one conversation. Without messages that
// lack MLLP or continue in another, whose bytes are kept, about 16 KiB.
const (
	maxHL7Bare     = 64 << 10  // bytes of messages without MLLP, each side
	maxHL7Fragment = 256 << 10 // bytes of a message that goes on in another, each side
	maxHL7Facts    = 512       // kinds of patient data by subject; full, it is emptied
	maxHL7Devices  = 64        // behind this conversation; the oldest is replaced
	maxHL7Pending  = 16        // orders without answer; the oldest is replaced
)

// A hl7Observer follows one conversation of HL7 v2 over MLLP. Its method
// message also takes messages that come by another way, such as HTTP.
type hl7Observer struct {
	sides   [2]hl7Side
	version string // noted
	facts   map[hl7Fact]struct{}
	devices []hl7Device
	oldest  int // of devices
	pending []hl7Pending
	next    int         // of pending, to be replaced
	harm    device.Harm // noted, of a drug for a pump that was not named
}

// A hl7Side is one direction.
type hl7Side struct {
	framer   hl7.Framer
	bare     []byte // of messages without MLLP: only what follows says where they end
	fragment []byte // the message that goes on in the next one
	class    string // noted
	name     string // noted: EUI-64 of the sending application
	software string // noted
}

// A hl7Fact is what was said of a subject once.
type hl7Fact struct {
	subject int64
	fields  int64
	from    flow.Side
	kind    hl7.Kind
}

// A hl7Device is a device that reports come from or orders go to.
type hl7Device struct {
	id                           string // as the sender names it
	manufacturer, model, version string // noted
	therapy                      device.Therapy
	flow, doseRate               device.Quantity // as reported last, or ordered and accepted
	seen                         bool            // an identity was noted
	harm                         device.Harm     // noted, of a drug
}

// A hl7Pending is an order whose answer is awaited.
type hl7Pending struct {
	id     int64 // hash of its MSH-10; 0 when it is answered
	to     flow.Side
	fresh  int64
	repeat int64
	verb   device.Verb
	target string
	value  device.Quantity
}

func newHL7Observer() observer { return new(hl7Observer) }

func (o *hl7Observer) data(x *exchange, b []byte) int {
	o.flush(x, x.From.Other()) // who is answered has ended its message
	s := &o.sides[x.From]
	if s.bare != nil {
		o.bare(x, b)
		return len(b)
	}
	n := 0
	for n < len(b) {
		msg, size, err := s.framer.Next(b[n:])
		off := n
		n += size
		if errors.Is(err, wire.ErrTruncated) {
			if rest := b[n:]; len(rest) >= 4 && rest[0] == 'M' {
				s.framer = hl7.Framer{}
				s.bare = make([]byte, 0, min(2*len(rest), maxHL7Bare))
				o.bare(x, rest)
				return len(b)
			}
			break
		}
		o.block(x, off, msg, err)
	}
	return n
}

// bare takes bytes of messages that have no MLLP around them. They are kept
// here, because such a message ends when the other side answers it.
func (o *hl7Observer) bare(x *exchange, b []byte) {
	s := &o.sides[x.From]
	if len(s.bare)+len(b) > maxHL7Bare {
		o.block(x, 0, append(s.bare, b[:maxHL7Bare-len(s.bare)]...), wire.ErrTooLong)
		s.bare = s.bare[:0]
		s.framer.Resync()
	}
	s.bare = append(s.bare, b[max(0, len(b)-maxHL7Bare):]...)
	n := 0
	for n < len(s.bare) {
		msg, size, err := s.framer.Next(s.bare[n:])
		n += size
		if errors.Is(err, wire.ErrTruncated) {
			break
		}
		o.block(x, 0, msg, err)
	}
	s.bare = s.bare[:copy(s.bare, s.bare[n:])]
}

// flush takes what is kept of a side that will not go on with it.
func (o *hl7Observer) flush(x *exchange, side flow.Side) {
	s := &o.sides[side]
	if len(s.bare) == 0 {
		return
	}
	from := x.From
	x.From = side
	for n := 0; n < len(s.bare); {
		msg, size, err := s.framer.Last(s.bare[n:])
		if n += size; errors.Is(err, wire.ErrTruncated) {
			break
		}
		o.block(x, 0, msg, err)
	}
	s.bare = s.bare[:0]
	s.framer = hl7.Framer{}
	x.From = from
}

func (o *hl7Observer) gap(x *exchange, n int) bool {
	s := &o.sides[x.From]
	s.framer.Resync()
	s.bare, s.fragment = s.bare[:0:0], nil
	return true
}

func (o *hl7Observer) close(x *exchange) {
	for _, side := range [...]flow.Side{flow.Client, flow.Server} {
		o.flush(x, side)
		if b := o.sides[side].fragment; b != nil {
			x.From = side
			if m, err := hl7.Parse(b); err == nil {
				o.whole(x, 0, &m)
			}
		}
	}
}

func (o *hl7Observer) held() int {
	n := heldBy(o.facts) + cap(o.devices)*(sizeOf[hl7Device]()+maxText) + cap(o.pending)*(sizeOf[hl7Pending]()+maxText)
	for i := range o.sides {
		n += cap(o.sides[i].bare) + cap(o.sides[i].fragment)
	}
	return n
}

// block takes the content of one MLLP block, or what is wrong with it.
func (o *hl7Observer) block(x *exchange, off int, b []byte, err error) {
	switch {
	case errors.Is(err, wire.ErrTooLong):
		x.note(event.BoundReached, off, x.From, event.Text(event.Protocol, "hl7"), event.Text(event.Bound, "message"),
			event.Int(event.Length, len(b)))
		if !isHL7(b) {
			return // the rest of one whose beginning was read
		}
		b = b[:bytes.LastIndexByte(b, '\r')+1] // whose it is stands in front of the report that makes it long
	case err != nil:
		x.malformed(off, err)
		return
	}
	if len(b) == 1 && (b[0] == 0x06 || b[0] == 0x15) {
		return // a commit block of MLLP release 2
	}
	for msg := range hl7.Messages(b) {
		o.message(x, off, msg)
	}
}

// message takes one message. off is where it begins in the bytes in hand, or 0.
func (o *hl7Observer) message(x *exchange, off int, b []byte) {
	m, err := hl7.Parse(b)
	if err != nil {
		x.malformed(off, err)
		return
	}
	s := &o.sides[x.From]
	if s.fragment != nil {
		first, ferr := hl7.Parse(s.fragment)
		joined, err := hl7.Join(make([]byte, 0, len(s.fragment)+len(b)), &first, &m)
		s.fragment = nil
		switch {
		case err == nil:
			if m, err = hl7.Parse(joined); err != nil {
				x.malformed(off, err)
				return
			}
		case ferr == nil:
			o.whole(x, 0, &first) // it was not continued: what there is, is all
		}
	}
	// v2.7 section 2.10.2; a response that goes on is asked for more instead.
	_, answers := m.Answer()
	if !answers && !m.Continued().IsEmpty() && len(m.Bytes()) <= maxHL7Fragment {
		s.fragment = bytes.Clone(m.Bytes())
		return
	}
	o.whole(x, off, &m)
}

// whole says what there is to say of one whole message.
func (o *hl7Observer) whole(x *exchange, off int, m *hl7.Message) {
	h, kind := m.Header(), m.Kind()
	if v := x.value(h.Version); v != o.version && strings.Trim(v, "0123456789.") == "" && v != "" { // table 0104
		o.version = v
		x.note(event.ProtocolSeen, off, flow.Client, event.Text(event.Protocol, "hl7"), event.Text(event.Version, v))
	}
	o.sender(x, off, m, &h, kind)
	o.patient(x, off, m, kind)
	switch kind {
	case hl7.PCD03:
		o.order(x, off, m, &h)
	case hl7.PCD01, hl7.PCD04, hl7.PCD10:
		o.report(x, off, m, &h, kind)
	case hl7.PCD09, hl7.Observations:
		x.note(event.ReportSeen, off, x.From, event.Text(event.Protocol, "hl7"), event.Text(event.Operation, kind.String()),
			event.Int(event.Count, count(m, "OBX")))
	case hl7.Query:
		x.note(event.RecordsRequested, off, x.From, event.Text(event.Protocol, "hl7"),
			event.Text(event.Operation, x.value(h.Code)), event.Int(event.Subject, x.patientID(queried(m))))
	case hl7.Response:
		if n := count(m, "PID"); n > 0 {
			x.note(event.RecordsMoved, off, x.From, event.Text(event.Protocol, "hl7"), event.Text(event.Operation, x.value(h.Code)),
				event.Int(event.Subject, x.patientID(hl7.Subject(m))), event.Int(event.Count, n), event.Int(event.DataBytes, len(m.Bytes())))
		}
	}
	if a, ok := m.Answer(); ok {
		o.answer(x, off, &h, a)
	}
}

// value returns a value's text for an attribute.
func (x *exchange) value(v hl7.Value) string {
	if v.IsEmpty() {
		return ""
	}
	var buf [4 * maxText]byte
	raw := v.AppendText(buf[:0])
	return x.text(raw)
}

// patientID returns the pseudonym of a patient identifier.
func (x *exchange) patientID(v hl7.Value) int64 {
	if v.IsEmpty() {
		return 0
	}
	var buf [4 * maxText]byte
	return x.subject(bytes.ToUpper(bytes.TrimSpace(v.AppendText(buf[:0]))))
}

func count(m *hl7.Message, id string) (n int) {
	for s := range m.Segments() {
		if string(s.ID()) == id {
			n++
		}
	}
	return n
}

// queried returns the identifier of the patient asked about: QPD-3 of a QBP
// (v2.7 section 5.5.4), QRD-8 of an original query.
func queried(m *hl7.Message) hl7.Value {
	if v := m.Segment("QPD").Field(3).Component(1); !v.IsEmpty() {
		return v
	}
	return m.Segment("QRD").Field(8).Component(1)
}

// sender notes what the header and the kind of message say of the sender.
func (o *hl7Observer) sender(x *exchange, off int, m *hl7.Message, h *hl7.Header, kind hl7.Kind) {
	if kind == hl7.PCD03 {
		return // whoever wants to harm sends an infusion order, in another's name
	}
	s := &o.sides[x.From]
	if name := h.SendingApplication.EUI64(); name != "" && name != s.name {
		s.name = name
		x.note(event.NameSeen, off, x.From, event.Int(event.AddressKind, device.EUI64), event.Text(event.Name, x.text([]byte(name))),
			event.Text(event.Protocol, "hl7"))
	}
	sft := m.Software()
	if product := x.value(sft.Product); product != "" && product != s.software {
		s.software = product
		x.note(event.IdentitySeen, off, x.From, event.Text(event.Manufacturer, x.value(sft.Vendor)),
			event.Text(event.Model, product), event.Text(event.Version, x.value(sft.Version)))
	}
	class, therapy := "", device.NoTherapy
	switch {
	case kind == hl7.Admission || kind == hl7.Order:
		class, therapy = "hospital information system", device.Records
	case kind == hl7.Observations && fromAnalyser(m, h):
		class, therapy = device.Laboratory.Info().Class, device.Laboratory
	}
	if class != "" && class != s.class {
		s.class = class
		x.note(event.IdentitySeen, off, x.From, event.Text(event.Class, class), event.Int(event.Therapy, therapy))
	}
}

// fromAnalyser reports whether results come from the analyser itself and not
// from the laboratory's information system, which sends the same messages: the
// message names one instrument, and says that it is of a laboratory.
func fromAnalyser(m *hl7.Message, h *hl7.Header) bool {
	laboratory := h.Code.Is("OUL") || h.Trigger.Is("R30") || h.Trigger.Is("R31") || h.Trigger.Is("R32") // v2.7 sections 7.3.5 to 7.3.9: instruments, point of care
	var instrument hl7.Value
	for s := range m.Segments() {
		switch string(s.ID()) {
		case "OBR":
			switch string(s.Field(24).Raw()) { // table 0074
			case "BG", "CH", "HM", "MB", "IMM", "TX", "LAB", "SR", "VR", "SP":
				laboratory = true
			}
		case "OBX":
			v := s.Field(18)
			switch {
			case v.IsEmpty():
			case instrument.IsEmpty():
				instrument = v
			case !bytes.Equal(instrument.Raw(), v.Raw()):
				return false
			}
		}
	}
	return laboratory && !instrument.IsEmpty()
}

// hl7Fields are HL7's kinds of patient data.
var hl7Fields = fieldTable[hl7.Fields]{
	{hl7.Name, event.FieldName},
	{hl7.BirthDate, event.FieldBirthDate},
	{hl7.Sex, event.FieldSex},
	{hl7.RecordNumber, event.FieldRecordNumber},
	{hl7.Address, event.FieldAddress},
	{hl7.Telephone, event.FieldTelephone},
	{hl7.Visit, event.FieldVisit},
	{hl7.NationalID, event.FieldNationalID},
	{hl7.Result, event.FieldResult},
	{hl7.Ordered, event.FieldOrder},
	{hl7.Image, event.FieldImage},
	{hl7.StaffName, event.FieldStaffName},
}

// patient notes which kinds of patient data were sent, once for each subject.
func (o *hl7Observer) patient(x *exchange, off int, m *hl7.Message, kind hl7.Kind) {
	fields := hl7Fields.of(hl7.PatientFields(m))
	if fields == 0 {
		return
	}
	fact := hl7Fact{x.patientID(hl7.Subject(m)), fields, x.From, kind}
	if _, ok := o.facts[fact]; ok {
		return
	}
	if o.facts == nil {
		o.facts = make(map[hl7Fact]struct{})
	} else if len(o.facts) >= maxHL7Facts {
		o.facts = make(map[hl7Fact]struct{})
	}
	o.facts[fact] = struct{}{}
	x.note(event.PatientDataSeen, off, x.From, event.Text(event.Protocol, "hl7"), event.Int(event.Fields, fact.fields),
		event.Int(event.Subject, fact.subject), event.Int(event.Protection, x.protected()), event.Text(event.Operation, kind.String()))
}

// known returns what is remembered of a device, remembering it from now on.
func (o *hl7Observer) known(id string) *hl7Device {
	for i := range o.devices {
		if o.devices[i].id == id {
			return &o.devices[i]
		}
	}
	if len(o.devices) < maxHL7Devices {
		o.devices = append(o.devices, hl7Device{id: id})
		return &o.devices[len(o.devices)-1]
	}
	d := &o.devices[o.oldest]
	o.oldest = (o.oldest + 1) % maxHL7Devices
	*d = hl7Device{id: id}
	return d
}

// report notes a report of a device, and the devices behind the sender.
func (o *hl7Observer) report(x *exchange, off int, m *hl7.Message, h *hl7.Header, kind hl7.Kind) {
	var buf [8]hl7.Device
	devices := hl7.Devices(m, buf[:0])
	var deliveries [8]hl7.Delivery
	running := hl7.Deliveries(m, devices, deliveries[:0])
	about, target, therapy := x.addr(x.From), "", device.NoTherapy
	for i := range devices {
		d := &devices[i]
		if d.ID.IsEmpty() {
			continue
		}
		class, t := kindOf(d, devices)
		if d.Type>>16 == personalBlock || t.Info().Worn {
			continue // its id is the patient's
		}
		id := x.text([]byte(d.ID.Name()))
		addr, shown, unique := x.addr(x.From), id, d.ID.Unique()
		if t == device.NoTherapy { // of what is not known it may be a patient's
			shown, unique = "", d.ID.EUI64()
		}
		if unique := x.text([]byte(unique)); unique != "" && unique != h.SendingApplication.EUI64() {
			addr = device.Address{Kind: device.EUI64, Value: unique}
		}
		if target == "" {
			about, target, therapy = addr, shown, t
		}
		o.identity(x, off+d.Off, addr, d, id, class, t)
		for _, v := range running {
			if v.Device == i && v.Rated() && t != device.NoTherapy {
				o.gives(x, off+d.Off, addr, id, t, v)
			}
		}
	}
	if about.Kind == device.IP && len(devices) > 1 {
		therapy = device.NoTherapy // of one of several devices
	}
	x.noteAddr(event.ReportSeen, off, about, x.addr(x.From.Other()), event.Text(event.Protocol, "hl7"),
		event.Text(event.Operation, kind.String()), event.Int(event.Therapy, therapy), event.Text(event.Target, target),
		event.Int(event.Count, count(m, "OBX")))
}

// identity notes what a report says of a device, when that is new.
func (o *hl7Observer) identity(x *exchange, off int, addr device.Address, d *hl7.Device, id, class string, t device.Therapy) {
	had := o.known(id)
	manufacturer, model, version := x.value(d.Manufacturer), x.value(d.Model), x.value(d.Version)
	if addr.Kind == device.IP && class == "" && model == "" {
		return // nothing that the address does not say
	}
	news := !had.seen || t != device.NoTherapy && t != had.therapy
	news = differs(&had.manufacturer, manufacturer) || news
	news = differs(&had.model, model) || news
	news = differs(&had.version, version) || news
	if !news {
		return
	}
	had.seen, had.therapy = true, t
	serial, udi := "", ""
	if t != device.NoTherapy { // of what is not known it may be a patient's
		serial = x.value(d.Serial)
	}
	if u, err := device.ParseUDI(d.UDI.Text()); err == nil && len(d.UDI.Raw()) <= 4*maxText {
		udi = x.text([]byte(u.DI))
	}
	x.noteAddr(event.IdentitySeen, off, addr, x.addr(x.From), event.Text(event.Manufacturer, manufacturer),
		event.Text(event.Model, model), event.Text(event.Serial, serial), event.Text(event.Version, version),
		event.Text(event.Class, class), event.Int(event.Therapy, t), event.Text(event.UDI, udi))
}

// gives notes how much a pump gives now, when that is new.
func (o *hl7Observer) gives(x *exchange, off int, addr device.Address, id string, t device.Therapy, v hl7.Delivery) {
	d := o.known(id)
	for _, q := range [...]struct {
		had *device.Quantity
		now device.Quantity
	}{{&d.flow, v.Flow}, {&d.doseRate, v.DoseRate}} {
		if *q.had != q.now && !q.now.IsNone() {
			x.noteAddr(event.TherapySeen, off, addr, x.addr(x.From), event.Int(event.Therapy, t),
				event.Text(event.Now, x.text([]byte(q.now.String()))), event.Text(event.Target, id))
		}
		*q.had = q.now
	}
}

// personalBlock is the code block of the personal health devices (ISO/IEEE
// 11073-20601), whose types are MDC_DEV_SPEC_PROFILE. They are worn or are in
// the home of one person.
const personalBlock = 8

// differs reports whether text says something else than had, and keeps it.
func differs(had *string, text string) bool {
	if text == "" || text == *had {
		return false
	}
	*had = text
	return true
}

// kindOf returns what a device is, by its own type or by that of the device
// that it is a part of.
func kindOf(d *hl7.Device, devices []hl7.Device) (class string, t device.Therapy) {
	for i := range devices {
		e := &devices[len(devices)-1-i] // parts come after the whole
		if e != d && (e.Group != d.Group || e.Place == d.Place || !d.Place.Within(e.Place)) {
			continue
		}
		if class, t = device.KindOfMDC(string(e.RefID.Raw())); class == "" {
			class, t = device.KindOfMDC(strconv.FormatUint(uint64(e.Type), 10))
		}
		if class != "" {
			break
		}
	}
	return class, t
}

// order notes an infusion order. The device is the one that takes it, a pump's
// gateway as a rule, so that what is wrong with this link is one finding; the
// target is the pump.
func (o *hl7Observer) order(x *exchange, off int, m *hl7.Message, h *hl7.Header) {
	var buf [4]hl7.InfusionOrder
	orders, err := hl7.Orders(m, buf[:0])
	if err != nil {
		x.malformed(off, err)
	}
	fresh := x.fresh(h.SendingApplication, h.ControlID)
	// What is ordered, without MSH, which has another time and id each time.
	content := m.Bytes()
	content = content[bytes.IndexByte(content, '\r')+1:]
	repeat := x.hash(content)
	if o.resent(fresh, repeat, x.hash(h.ControlID.Raw())) {
		return
	}
	var commands []device.Command
	for i := range orders {
		order := &orders[i]
		target := x.text([]byte(order.Pump.Name()))
		var now *hl7Device
		if target != "" {
			now = o.known(target)
			if unique := x.text([]byte(order.Pump.Unique())); unique != "" && !now.seen {
				now.seen = true
				t := order.Therapy()
				x.noteAddr(event.IdentitySeen, off+order.Off, device.Address{Kind: device.EUI64, Value: unique}, x.addr(x.From.Other()),
					event.Text(event.Class, device.DrugInfusion.Info().Class), event.Int(event.Therapy, t))
			}
		}
		x.note(event.OrderSeen, off+order.Off, x.From.Other(), event.Text(event.Protocol, "hl7"),
			event.Text(event.Drug, device.CriticalDrug(x.text([]byte(order.Drug())))), event.Text(event.Place, bed(x, m)),
			event.Text(event.Actor, impersonal(m, x.value(h.SendingApplication.Namespace))),
			event.Text(event.Name, h.SendingApplication.EUI64()), event.Text(event.Target, order.Pump.EUI64()))
		commands = order.AppendCommands(commands[:0])
		harm := device.NoHarm
		for j := range commands {
			c := &commands[j]
			harm = max(harm, device.HarmOf(c))
			if now != nil && c.Verb == device.SetInfusionRate {
				if c.Now = now.doseRate; c.Value.Unit.IsRate() {
					c.Now = now.flow
				}
			}
			x.note(event.CommandSeen, off+order.Off, x.From.Other(), event.Int(event.Verb, c.Verb), event.Int(event.Therapy, c.Therapy),
				event.Int(event.Effect, device.EffectOf(c)), event.Text(event.Value, x.text([]byte(c.Value.String()))),
				event.Text(event.Target, target), event.Int(event.Protection, x.protected()), event.Int(event.Fresh, fresh),
				event.Int(event.Repeat, repeat+int64(i)<<8+int64(j)))
		}
		noted := &o.harm
		if now != nil {
			noted = &now.harm
		}
		if harm > *noted && harm > order.Therapy().Harm() { // the drug says more than the pump
			*noted = harm
			about := x.addr(x.From.Other())
			if unique := order.Pump.Unique(); unique != "" {
				about = device.Address{Kind: device.EUI64, Value: x.text([]byte(unique))}
			}
			x.noteAddr(event.TherapySeen, off+order.Off, about, x.addr(x.From.Other()),
				event.Int(event.Therapy, order.Therapy()), event.Int(event.Harm, harm), event.Text(event.Target, target))
		}
		if len(commands) > 0 && i == 0 {
			o.await(hl7Pending{x.hash(h.ControlID.Raw()), x.From.Other(), fresh, repeat, commands[0].Verb, target, commands[0].Value})
		}
	}
}

// bed returns where a patient is, by PV1-3 (v2.7 section 2.A.53): the ward and
// the bed, which are places of the hospital. An address, as in care at home,
// has other words or more of them, and is none.
func bed(x *exchange, m *hl7.Message) string {
	at := m.Segment("PV1").Field(3)
	ward, bed := at.Component(1), at.Component(3)
	for _, v := range [...]hl7.Value{ward, bed} {
		if len(v.Raw()) > maxPlace || bytes.ContainsFunc(v.Raw(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' }) {
			return ""
		}
	}
	place := x.value(ward)
	if !bed.IsEmpty() {
		place = strings.TrimSpace(place + " bed " + x.value(bed))
	}
	return impersonal(m, place)
}

// maxPlace is the longest code of a ward or a bed.
const maxPlace = 12

// impersonal returns a text that names a thing, or "" when one of its words is
// one of the patient's, of a relative's or of staff's: somebody wrote a name
// where none belongs.
func impersonal(m *hl7.Message, text string) string {
	notLetter := func(r rune) bool { return !unicode.IsLetter(r) }
	for s := range m.Segments() {
		for _, p := range personal {
			if p.segment != string(s.ID()) {
				continue
			}
			b := s.Bytes()
			if p.field > 0 {
				b = s.Field(p.field).Raw()
			}
			for name := range bytes.FieldsFuncSeq(b, notLetter) {
				for word := range strings.FieldsFuncSeq(text, notLetter) {
					if len(word) > 1 && bytes.EqualFold(name, []byte(word)) {
						return ""
					}
				}
			}
		}
	}
	return text
}

// personal are the fields that name people; 0 is all of a segment.
var personal = [...]struct {
	segment string
	field   int
}{
	{"PID", 0},
	{"PD1", 0},
	{"NK1", 0},
	{"PV1", 7},
	{"PV1", 8},
	{"PV1", 9},
	{"PV1", 17},
	{"PV1", 52},
	{"ORC", 10},
	{"ORC", 11},
	{"ORC", 12},
	{"ORC", 19},
}

// fresh returns the hash of what is used once: a message's sender and id.
func (x *exchange) fresh(sender hl7.Designator, id hl7.Value) int64 {
	return x.hash(sender.Namespace.Raw(), sender.UniversalID.Raw(), id.Raw())
}

// resent reports whether an order with this id and content was sent before in
// this conversation: MLLP sends again when an acknowledgement is lost, and the
// receiver suppresses the second. Its answer is awaited again.
func (o *hl7Observer) resent(fresh, repeat, id int64) bool {
	for i := range o.pending {
		if p := &o.pending[i]; p.fresh == fresh && p.repeat == repeat {
			p.id = id
			return true
		}
	}
	return false
}

func (o *hl7Observer) await(p hl7Pending) {
	if len(o.pending) < maxHL7Pending {
		o.pending = append(o.pending, p)
		return
	}
	o.pending[o.next] = p
	o.next = (o.next + 1) % maxHL7Pending
}

// answer notes the answer to an infusion order: the acknowledgement on the
// same connection, or the application's, which has a connection of its own
// (PCD TF-2 section 3.3.4.4.1) and is known by the ids that it repeats.
func (o *hl7Observer) answer(x *exchange, off int, h *hl7.Header, a hl7.Answer) {
	accepted, refused := a.Accepted()
	outcome, stage := event.Unknown, device.Proposed
	switch {
	case accepted:
		outcome = event.Succeeded
		if a.Code.Is("AA") { // CA says no more than that the message was stored
			stage = device.Accepted
		}
	case refused:
		outcome = event.Failed
	}
	id := x.hash(a.ControlID.Raw())
	for i := range o.pending {
		p := &o.pending[i]
		if p.id != id || p.to != x.From {
			continue
		}
		x.note(event.CommandAnswered, off, x.From, event.Int(event.Verb, p.verb), event.Int(event.Stage, stage),
			event.Int(event.Outcome, outcome), event.Text(event.Target, p.target), event.Int(event.Fresh, p.fresh))
		if stage == device.Accepted && p.verb == device.SetInfusionRate && p.target != "" {
			if d := o.known(p.target); p.value.Unit.IsRate() {
				d.flow = p.value
			} else {
				d.doseRate = p.value
			}
		}
		p.id = 0
		return
	}
	if h.Code.Is("RRG") {
		x.note(event.CommandAnswered, off, x.From, event.Int(event.Stage, stage), event.Int(event.Outcome, outcome),
			event.Int(event.Fresh, x.fresh(h.ReceivingApplication, a.ControlID)))
	}
}
