// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/dicom"
)

// The bounds of what is remembered of one association.
const (
	// maxDICOMRequests is how many requests may wait for their last answer. An
	// association has one at a time unless it agreed on more.
	maxDICOMRequests = 8
	// maxDICOMSubjects is how many patients are remembered, so that a study of
	// a thousand images says once whose it is. Behind it the oldest is forgotten.
	maxDICOMSubjects = 32
)

// dicomFields are the kinds of patient data in data elements (PS3.6), by tag.
var dicomFields = map[dicom.Tag]int64{
	0x00080050: event.FieldVisit,        // Accession Number
	0x00080090: event.FieldStaffName,    // Referring Physician's Name
	0x00081048: event.FieldStaffName,    // Physician(s) of Record
	0x00081050: event.FieldStaffName,    // Performing Physician's Name
	0x00081060: event.FieldStaffName,    // Name of Physician(s) Reading Study
	0x00081070: event.FieldStaffName,    // Operators' Name
	0x00081080: event.FieldResult,       // Admitting Diagnoses Description
	0x00100010: event.FieldName,         // Patient's Name
	0x00100020: event.FieldRecordNumber, // Patient ID
	0x00100030: event.FieldBirthDate,    // Patient's Birth Date
	0x00100040: event.FieldSex,          // Patient's Sex
	0x00101000: event.FieldRecordNumber, // Other Patient IDs (retired)
	0x00101001: event.FieldName,         // Other Patient Names
	0x00101002: event.FieldRecordNumber, // Other Patient IDs Sequence
	0x00101005: event.FieldName,         // Patient's Birth Name
	0x00101040: event.FieldAddress,      // Patient's Address
	0x00101060: event.FieldName,         // Patient's Mother's Birth Name
	0x00102154: event.FieldTelephone,    // Patient's Telephone Numbers
	0x001021B0: event.FieldResult,       // Additional Patient History
	0x00321032: event.FieldStaffName,    // Requesting Physician
	0x00321060: event.FieldOrder,        // Requested Procedure Description
	0x00380010: event.FieldVisit,        // Admission ID
	0x00400006: event.FieldStaffName,    // Scheduled Performing Physician's Name
	0x00400007: event.FieldOrder,        // Scheduled Procedure Step Description
	0x00401001: event.FieldOrder,        // Requested Procedure ID
	0x0040A730: event.FieldResult,       // Content Sequence
	0x00420011: event.FieldResult,       // Encapsulated Document
	0x54000100: event.FieldResult,       // Waveform Sequence
	0x7FE00008: event.FieldImage,        // Float Pixel Data
	0x7FE00009: event.FieldImage,        // Double Float Pixel Data
	0x7FE00010: event.FieldImage,        // Pixel Data
}

// A dicomObserver follows one association, which is one TCP connection (PS3.8
// section 9.1). It and its streams take about five kilobytes, whatever the
// association moves.
type dicomObserver struct {
	x         *exchange // during a call
	contexts  dicom.Contexts
	sides     [2]dicomSide
	requestor flow.Side // who asked for the association
	login     bool      // with a password, and not answered
	requests  [maxDICOMRequests]dicomRequest
	subjects  [maxDICOMSubjects]dicomSubject
	oldest    int // of subjects
}

// A dicomSide is what one side said of itself.
type dicomSide struct {
	stream   dicom.Stream
	title    string      // AE title
	named    bool        // the title was said already
	root     string      // ImplementationClassUID
	object   dicomObject // the data set that is being read
	maker    dicomObject // what the objects that it stored have in common
	at       flow.Place  // of the first of them
	several  bool        // makers, models or serials in what it stored
	relays   bool        // it passes on what others made
	receives bool        // what others made, or asks for it
	passes   bool        // said already
	archive  bool        // said already
	reported uint8       // reports said already: bits
}

// A dicomObject is what is taken from one data set.
type dicomObject struct {
	context                              uint8
	fields                               int64
	subject                              int64
	manufacturer, model, serial, version string
	modality, station, udi, instance     string
}

// A dicomRequest waits for its last answer.
type dicomRequest struct {
	field       dicom.CommandField // 0 is a free place
	id          uint16
	by          flow.Side
	destination string
	count       uint16 // objects or matches so far
	bytes       uint64 // of matches
}

type dicomSubject struct {
	subject int64
	by      flow.Side
	fields  int64 // 0 is a free place
}

func (o *dicomObserver) held() int { return o.sides[0].stream.Size() + o.sides[1].stream.Size() }

func newDICOMObserver() observer {
	o := new(dicomObserver)
	for i := range o.sides {
		o.sides[i].stream.Contexts = &o.contexts
	}
	return o
}

func (o *dicomObserver) data(x *exchange, b []byte) int {
	o.x = x
	return o.sides[x.From].stream.Feed(b, o)
}

func (o *dicomObserver) gap(x *exchange, n int) bool {
	o.sides[x.From].stream.Gap(n)
	return true
}

func (o *dicomObserver) close(x *exchange) {
	o.x = x
	o.finish(0)
}

// dicomObserver is the dicom.Visitor of both its streams.

func (o *dicomObserver) Associate(off int, a *dicom.Association) {
	me, peer := o.pair()
	me.root = o.x.text(a.ImplementationClassUID)
	if a.Type == dicom.AssociateAC {
		if me.title == "" && peer.title == "" { // its request was not seen; it echoes both titles
			o.requestor = o.x.From.Other()
			me.title, peer.title = o.x.text(a.CalledAETitle), o.x.text(a.CallingAETitle)
			o.name(off, o.requestor)
		}
		o.loggedIn(off, event.Succeeded)
		o.name(off, o.x.From)
		return
	}
	o.requestor = o.x.From
	me.title, peer.title = o.x.text(a.CallingAETitle), o.x.text(a.CalledAETitle)
	o.name(off, o.x.From)
	o.login = a.Password
}

// name says a side's AE title, once. The called title is the requestor's guess
// until the acceptor took it.
func (o *dicomObserver) name(off int, side flow.Side) {
	s := &o.sides[side]
	if s.named || s.title == "" {
		return
	}
	s.named = true
	o.x.note(event.NameSeen, off, side, event.Int(event.AddressKind, device.AET),
		event.Text(event.Name, s.title), event.Text(event.Protocol, "dicom"))
}

func (o *dicomObserver) loggedIn(off int, outcome event.Result) {
	if !o.login {
		return
	}
	o.login = false
	o.x.note(event.LoginSeen, off, o.requestor, event.Text(event.Protocol, "dicom"),
		event.Text(event.Scheme, "user-identity"), event.Int(event.Outcome, outcome),
		event.Int(event.Protection, o.x.protected()))
}

func (o *dicomObserver) Control(off int, p dicom.Control) {
	if p.Type == dicom.AssociateRJ {
		o.loggedIn(off, event.Failed)
		o.sides[o.x.From].title = ""
	}
	if p.Type != dicom.ReleaseRP {
		o.finish(off)
	}
}

func (o *dicomObserver) pair() (me, peer *dicomSide) {
	return &o.sides[o.x.From], &o.sides[o.x.From.Other()]
}

func (o *dicomObserver) Command(off int, c *dicom.Command) {
	me, peer := o.pair()
	if o.x.From == o.requestor {
		o.name(off, o.requestor.Other()) // it talks, so it was accepted
	}
	me.object = dicomObject{context: c.ContextID}
	switch c.Field.Request() {
	case dicom.CStoreRQ:
		if !c.Field.Response() {
			// What the acceptor sends back, or sends for somebody else's C-MOVE,
			// comes out of its store.
			me.relays = me.relays || len(c.MoveOriginator.Bytes()) > 0 || o.x.From != o.requestor
		} else if c.Succeeded() {
			if me.receives = true; !peer.relays {
				o.archive(off, "archive")
			}
		}
	case dicom.CFindRQ, dicom.CMoveRQ, dicom.CGetRQ:
		if c.Field.Response() {
			o.answer(off, c)
			return
		}
		me.receives = me.receives || c.Field != dicom.CFindRQ
		r := o.request(o.x.From, 0, 0)
		if r == nil { // more than anybody asks for at a time
			r = &o.requests[0]
		}
		*r = dicomRequest{field: c.Field, id: c.MessageID, by: o.x.From, destination: o.x.text(c.MoveDestination.Bytes())}
	case dicom.NCreateRQ, dicom.NSetRQ:
		if !c.Field.Response() && dicom.ServiceOf(c.SOPClass.Bytes()) == dicom.ProcedureStep {
			o.report(off, c)
		}
	}
}

// request finds a request of one side by its message ID, or a free place.
func (o *dicomObserver) request(by flow.Side, field dicom.CommandField, id uint16) *dicomRequest {
	for i := range o.requests {
		if r := &o.requests[i]; r.field == field && (field == 0 || r.id == id && r.by == by) {
			return r
		}
	}
	return nil
}

// answer follows the responses to C-FIND, C-MOVE and C-GET. The last one says
// how many records there were.
func (o *dicomObserver) answer(off int, c *dicom.Command) {
	me, _ := o.pair()
	me.relays = true
	if c.Pending() || c.Succeeded() {
		class := "archive"
		if dicom.ServiceOf(c.SOPClass.Bytes()) == dicom.Worklist {
			class = "information system" // the worklist is made of orders
		}
		o.archive(off, class)
	}
	r := o.request(o.x.From.Other(), c.Field.Request(), c.MessageIDBeingRespondedTo)
	if r == nil {
		return
	}
	if r.field == dicom.CFindRQ && c.Pending() {
		r.count++
	} else if r.field != dicom.CFindRQ {
		r.count = max(r.count, c.Completed) // PS3.7 section 9.1.4: the last answer may leave it out
	}
	if !c.Pending() {
		o.moved(off, r)
	}
}

// moved says how many records a request gave, and forgets it.
func (o *dicomObserver) moved(off int, r *dicomRequest) {
	if r.count > 0 {
		o.x.note(event.RecordsMoved, off, r.by.Other(), event.Text(event.Protocol, "dicom"),
			event.Text(event.Operation, r.field.Operation()), event.Int(event.Count, r.count),
			event.Int(event.DataBytes, r.bytes), event.Text(event.Destination, r.destination))
	}
	*r = dicomRequest{}
}

// archive says once that the sender keeps records for others.
func (o *dicomObserver) archive(off int, class string) {
	me, _ := o.pair()
	if me.archive {
		return
	}
	me.archive = true
	o.x.note(event.IdentitySeen, off, o.x.From, event.Text(event.Class, class), event.Int(event.Therapy, device.Records))
}

// report says once for each operation that the sender reported results.
func (o *dicomObserver) report(off int, c *dicom.Command) {
	me, _ := o.pair()
	bit := uint8(1)
	switch c.Field {
	case dicom.NCreateRQ:
		bit = 2
	case dicom.NSetRQ:
		bit = 4
	}
	if me.reported&bit != 0 {
		return
	}
	me.reported |= bit
	o.x.note(event.ReportSeen, off, o.x.From, event.Text(event.Protocol, "dicom"), event.Text(event.Operation, c.Field.Operation()))
}

func (o *dicomObserver) Element(off int, c *dicom.Command, e *dicom.Element) {
	me, _ := o.pair()
	m := &me.object
	if m.context != c.ContextID { // messages of two contexts by turns
		*m = dicomObject{context: c.ContextID}
	}
	value := e.Text()
	if bit := dicomFields[e.Tag]; bit != 0 && e.Length > 0 && (e.Value == nil || len(bytes.Trim(value, "*?")) > 0) {
		m.fields |= bit // a key without value, or with wildcards only, asks for the field and does not have it
	}
	if e.Tag == dicom.UniqueDeviceIdentifier && e.Within == dicom.UDISequence {
		if udi, err := device.ParseUDI(string(value)); err == nil {
			m.udi = o.x.text([]byte(udi.DI)) // the unit's part is in the serial number
		}
	}
	if e.Depth > 0 { // the makers and patients in sequences are others
		return
	}
	switch e.Tag {
	case dicom.PatientID:
		m.subject = o.patient(value)
	case dicom.Manufacturer:
		m.manufacturer = o.x.text(value)
	case dicom.ManufacturerModelName:
		m.model = o.x.text(value)
	case dicom.DeviceSerialNumber:
		m.serial = o.x.text(value)
	case dicom.SoftwareVersions:
		m.version = o.x.text(value)
	case dicom.Modality:
		m.modality = o.x.text(value)
	case dicom.StationName:
		m.station = o.x.text(value)
	case dicom.SOPInstanceUID:
		m.instance = o.x.text(value)
	}
}

// patient returns the pseudonym of a patient's identifier, which is the same
// however it is written.
func (o *dicomObserver) patient(id []byte) int64 {
	var upper [dicom.MaxValue]byte
	if id = bytes.Trim(id, " \x00"); len(id) == 0 || len(id) > len(upper) || bytes.ContainsAny(id, "*?") {
		return 0
	}
	for i, c := range id {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	return o.x.subject(upper[:len(id)])
}

func (o *dicomObserver) EndOfData(off int, c *dicom.Command, n uint64) {
	me, _ := o.pair()
	m := me.object
	me.object = dicomObject{}
	if m.context != c.ContextID {
		m = dicomObject{}
	}
	o.patientData(off, c, m)
	switch c.Field {
	case dicom.CStoreRQ:
		o.x.note(event.RecordsMoved, off, o.x.From, event.Text(event.Protocol, "dicom"),
			event.Text(event.Operation, "C-STORE"), event.Int(event.Subject, m.subject),
			event.Int(event.Count, 1), event.Int(event.DataBytes, n))
		o.stored(off, m)
		if dicom.ServiceOf(c.SOPClass.Bytes()) == dicom.ResultStorage && !me.relays {
			o.report(off, c)
		}
	case dicom.CFindRQ, dicom.CMoveRQ, dicom.CGetRQ:
		r := o.request(o.x.From, c.Field, c.MessageID)
		if r == nil {
			return
		}
		o.x.note(event.RecordsRequested, off, o.x.From, event.Text(event.Protocol, "dicom"),
			event.Text(event.Operation, c.Field.Operation()), event.Text(event.Destination, r.destination),
			event.Int(event.Subject, m.subject))
	default:
		if r := o.request(o.x.From.Other(), c.Field.Request(), c.MessageIDBeingRespondedTo); r != nil && c.Field.Response() {
			r.bytes += n
		}
	}
}

func (o *dicomObserver) Malformed(err error) { o.x.malformed(0, err) }

// patientData says once for each patient which kinds of field the sender sent.
func (o *dicomObserver) patientData(off int, c *dicom.Command, m dicomObject) {
	if m.fields == 0 {
		return
	}
	had := &o.subjects[o.oldest]
	found := false
	for i := range o.subjects {
		if s := &o.subjects[i]; s.fields != 0 && s.subject == m.subject && s.by == o.x.From {
			had, found = s, true
			break
		}
	}
	switch {
	case !found:
		*had = dicomSubject{subject: m.subject, by: o.x.From}
		o.oldest = (o.oldest + 1) % maxDICOMSubjects
	case m.fields&^had.fields == 0:
		return
	}
	had.fields |= m.fields
	o.x.note(event.PatientDataSeen, off, o.x.From, event.Text(event.Protocol, "dicom"),
		event.Int(event.Fields, m.fields), event.Int(event.Subject, m.subject),
		event.Int(event.Protection, o.x.protected()), event.Text(event.Operation, c.Field.Operation()))
}

// stored compares the makers of what a side stores.
func (o *dicomObserver) stored(off int, m dicomObject) {
	me, _ := o.pair()
	first := &me.maker
	if first.manufacturer == "" && first.model == "" {
		if m.manufacturer != "" || m.model != "" {
			*first = m
			me.at = o.x.sh.table.Place(off)
		}
		return
	}
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	if differ(first.manufacturer, m.manufacturer) || differ(first.model, m.model) || differ(first.serial, m.serial) || differ(first.station, m.station) {
		me.several = true
	}
	if first.serial == "" {
		first.serial = m.serial
	}
	if kind, _ := device.KindOfModality(first.modality); kind == "" {
		first.modality = m.modality
	}
}

// finish says what is known only when the association is over. It may be
// called again.
func (o *dicomObserver) finish(off int) {
	o.loggedIn(off, event.Unknown)
	for i := range o.requests {
		if o.requests[i].field != 0 {
			o.moved(off, &o.requests[i])
		}
	}
	for side := range o.sides {
		o.maker(off, flow.Side(side))
	}
}

// maker says who made the side that stored objects, where that can be told.
//
// The manufacturer in a data set is that of the device that made the object,
// which is the sender only if the sender made it. An archive, a router or a
// workstation sends objects of others. So nothing is said of a side that
// answers queries, serves a C-MOVE (its C-STORE names the originator) or a
// C-GET, or stores objects of several makers or serial numbers; and something
// only where the sender's own name fits the data set: its AE title the station
// name, or the root of its implementation's UID that of the object's.
//
// Where only the name does not fit, all that an address stores may still come
// from one maker: who passes on is said as well, for the inventory to compare.
func (o *dicomObserver) maker(off int, side flow.Side) {
	s := &o.sides[side]
	m := s.maker
	s.maker = dicomObject{}
	if s.relays || s.several || s.receives {
		if !s.passes && !s.archive { // an archive is known as one
			s.passes = true
			o.x.note(event.MakerSeen, off, side)
		}
		return
	}
	if m.manufacturer == "" && m.model == "" || s.archive {
		return
	}
	class, therapy := device.KindOfModality(m.modality)
	if !sameStation(s.title, m.station) && !sameRoot(s.root, m.instance) {
		if m.manufacturer != "" && m.model != "" && class != "" {
			e := o.x.sh.emit(event.MakerSeen, s.at)
			e.Device, e.Peer = o.x.addr(side), o.x.addr(side.Other())
			e.Add(event.Text(event.Manufacturer, m.manufacturer), event.Text(event.Model, m.model), event.Text(event.Class, class), event.Int(event.Therapy, therapy))
		}
		return
	}
	e := o.x.sh.emit(event.IdentitySeen, s.at)
	e.Device, e.Peer = o.x.addr(side), o.x.addr(side.Other())
	for _, a := range []event.Attr{
		event.Text(event.Manufacturer, m.manufacturer), event.Text(event.Model, m.model), event.Text(event.Serial, m.serial),
		event.Text(event.Version, m.version), event.Text(event.Class, class), event.Int(event.Therapy, therapy), event.Text(event.UDI, m.udi),
	} {
		if a.Text != "" || a.Int != 0 {
			e.Add(a)
		}
	}
}

// sameStation reports whether an AE title and a station name are the same
// name, as "CT1" and "CT-1", or one with more around it, as "CT66123" and
// "AE_CT66123".
func sameStation(title, station string) bool {
	a, b := plainName(title), plainName(station)
	if len(a) > len(b) {
		a, b = b, a
	}
	return len(a) >= 3 && strings.Contains(b, a)
}

// plainName returns the letters and digits of a name in upper case.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - ('a' - 'A')
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return -1
	}, s)
}

// sameRoot reports whether two UIDs were made by the same organisation: they
// are the same up to their first component of four digits or more, which is
// where registration authorities begin to number organisations
// (1.2.840.113619, 1.3.12.2.1107, 1.3.6.1.4.1.25403).
func sameRoot(a, b string) bool {
	digits := 0
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] != b[i]:
			return false
		case a[i] != '.':
			digits++
			continue
		case digits >= 4:
			return !strings.HasPrefix(a, "1.2.840.10008.") // DICOM's own says nothing
		}
		digits = 0
	}
	return false
}
