// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/dicom"
	"github.com/myelin-health/myelin/wire"
)

// errNotDICOM is bytes that no association has at their place.
var errNotDICOM = errors.New("not DICOM")

func isSyntax(err error) bool {
	var e *wire.SyntaxError
	return errors.As(err, &e)
}

// The message control header (PS3.8 annex E.2).
const (
	isCommand = 1 << iota
	isLast
)

// A direction is what one side says to the other. It is one goroutine's.
//
//	between ──command fragment──▶ inCommand ──last, allowed, a data set follows──▶ inData ──last──▶ between
//	   ▲                              │                                              │ ▲
//	   ├──last, allowed, no data set──┤                                              │ │
//	   └──last, refused: answered─────┴──last, refused, a data set follows: swallow──┼─┘
//	raw ◀──what cannot be read, and may pass──────────────────────────────────────────
type direction struct {
	a        *association
	src, dst *side
	toDevice bool               // all of it is held to lists, bounds and form
	requests *map[uint16]func() // that went this way
	answers  *map[uint16]func() // that wait for what goes this way
	buf      []byte
	n        int // bytes of buf that were read and are not dealt with
	off      int // those before it are being dealt with
	kept     int // those from here to off are to go on as they are

	raw     bool // it is not understood any more, and passes as it is
	pdu     int  // bytes of the P-DATA-TF PDU behind the fragment in hand
	single  bool // the PDU has one fragment, and can go on as it is
	header  int  // where in buf the PDU's header is, when the fragment is its first; else -1
	pdv     int  // bytes of the fragment that are to come
	control byte
	context uint8

	state   state
	swallow bool
	begun   bool
	large   bool // it was said of the message that it is too long
	command []byte
	op      string // of the message in hand
	size    int64  // of its data set, as announced
}

type state uint8

const (
	between state = iota
	inCommand
	inData
)

// associate reads a PDU whole that is not P-DATA-TF. It is valid until consume.
func (d *direction) associate() ([]byte, error) {
	defer d.src.conn.End()
	for {
		if b := d.buf[:d.n]; len(b) > 0 {
			if t := dicom.PDUType(b[0]); t < dicom.AssociateRQ || t > dicom.Abort || t == dicom.PDataTF {
				return nil, errNotDICOM
			}
			if len(b) >= headerBytes {
				n := int(binary.BigEndian.Uint32(b[2:]))
				if n > maxAssociate || dicom.PDUType(b[0]) > dicom.AssociateAC && n != 4 {
					return nil, errNotDICOM
				}
				if len(b) >= headerBytes+n {
					return b[:headerBytes+n], nil
				}
			}
			d.src.conn.Begin()
		}
		n, err := d.src.conn.Read(d.buf[d.n:])
		if d.n += n; n == 0 && err != nil {
			return nil, err
		}
	}
}

// consume forgets the first n bytes of what was read.
func (d *direction) consume(n int) { d.n = copy(d.buf, d.buf[n:d.n]) }

// run passes on what the source says until the association is over.
func (d *direction) run() {
	a := d.a
	if d.src.device { // it may take its time
		d.src.conn.Begin()
		d.src.conn.End()
	}
	if d.raw {
		d.passing()
	}
	drained := false
	for d.take() == nil && !a.ended.Load() {
		read := d.src.conn.Read
		if drained {
			d.src.conn.SetReadDeadline(a.env.Now().Add(a.p.Limits.Idle))
			read = d.src.conn.Conn.Read
		}
		before := d.n
		n, err := read(d.buf[d.n:])
		for d.n += n; err == nil && len(d.buf)-d.n >= recordBytes && d.src.conn.Ahead(); d.n += n {
			n, err = read(d.buf[d.n:]) // a record; several are written at once
		}
		if d.n > before || err == nil {
			continue // an error comes again
		}
		var e net.Error
		timeout := errors.As(err, &e) && e.Timeout()
		if errors.Is(err, front.ErrDraining) || drained && timeout {
			drained = true // the answer to what was asked may come still; then [association.settle] ends it
			continue
		}
		if timeout && (!d.begun || d.raw) && a.env.Now().Sub(time.Unix(0, a.last.Load())) < a.p.Limits.Idle {
			continue // the other direction is at work
		}
		if timeout && d.begun && !d.raw && !a.ended.Load() {
			a.refused("P-DATA-TF", "", "a message came too slowly")
		}
		break
	}
	a.abort(notSpecified)
	d.linger()
}

// linger reads and forgets, so that what we said last is not lost in a reset
// connection, until the peer closes or its time is over.
func (d *direction) linger() {
	for {
		if _, err := d.src.conn.Conn.Read(d.buf); err != nil {
			return
		}
	}
}

// forward sends bytes of the direction on.
func (d *direction) forward(b []byte) error {
	sending := d.state == inData && !d.swallow
	if err := d.dst.write(b, d.raw || sending && d.pdv > 0, d.raw || sending); err != nil {
		return err
	}
	if len(b) > 0 {
		d.a.touch()
		d.a.env.Metrics.Bytes(d.a.p.Name, d.toDevice, len(b))
	}
	return nil
}

// take deals with what was read.
func (d *direction) take() error {
	d.kept, d.off = 0, 0
	for more := true; more; {
		var err error
		if more, err = d.step(); err != nil {
			return err
		}
	}
	if err := d.flush(d.off); err != nil {
		return err
	}
	d.consume(d.off)
	return nil
}

// flush sends on what was kept before an offset of buf.
func (d *direction) flush(to int) error {
	b := d.buf[d.kept:to]
	d.kept = to
	if len(b) == 0 {
		return nil
	}
	return d.forward(b)
}

// step deals with a PDU's header, a fragment's, or what there is of a fragment. It
// reports false when more has to come first.
func (d *direction) step() (bool, error) {
	b := d.buf[d.off:d.n]
	switch {
	case d.raw:
		d.off = d.n
		return false, nil
	case len(b) == 0:
		return false, nil
	case d.pdv > 0:
		n := min(len(b), d.pdv)
		d.off += n
		if d.control&isCommand != 0 {
			d.command = append(d.command, b[:n]...)
		}
		if d.control&isCommand != 0 || d.swallow {
			d.kept = d.off
		}
		if d.pdv -= n; d.pdv == 0 {
			return true, d.fragmentEnd()
		}
		return true, nil
	case d.pdu == 0:
		return d.unit(b)
	case len(b) < headerBytes:
		return false, nil
	}
	return true, d.fragment(b)
}

// unit reads the header of a P-DATA-TF PDU, or another PDU whole. It reports
// false when more has to come first.
func (d *direction) unit(b []byte) (bool, error) {
	d.begin()
	if len(b) < headerBytes {
		return false, nil
	}
	n := int(binary.BigEndian.Uint32(b[2:]))
	switch t := dicom.PDUType(b[0]); {
	case t == dicom.PDataTF && n >= headerBytes:
		if len(b) < min(n, headerBytes+1)+headerBytes { // the headers go on together with what follows them
			return false, nil
		}
		if d.toDevice && n > d.a.p.pduBytes && d.a.refused("P-DATA-TF", "", "a PDU is longer than its bound") {
			if err := d.flush(d.off); err != nil {
				return false, err
			}
			return false, d.a.abort(invalidPDU)
		}
		d.pdu, d.header = n, d.off
		d.single = int(binary.BigEndian.Uint32(b[headerBytes:]))+4 == n
		d.off += headerBytes
		return true, nil
	case (t == dicom.ReleaseRQ || t == dicom.ReleaseRP || t == dicom.Abort) && n == 4:
		if len(b) < headerBytes+n {
			return false, nil
		}
		if d.state != between && t != dicom.Abort {
			return true, d.lost(d.off, unexpected, "a message is not whole")
		}
		d.command, d.state, d.swallow = nil, between, false
		if t != dicom.ReleaseRQ {
			d.a.released.Store(true)
		}
	case (t == dicom.AssociateAC || t == dicom.AssociateRJ) && !d.a.known && d == &d.a.back && n <= maxAssociate:
		// The answer to a request of the device that nobody could read.
		if len(b) < headerBytes+n {
			return false, nil
		}
	case t >= dicom.AssociateRQ && t <= dicom.Abort:
		return true, d.lost(d.off, unexpected, "a PDU has no place here")
	default:
		return true, d.lost(d.off, unrecognized, "not DICOM")
	}
	d.end()
	d.off += headerBytes + n
	return true, nil
}

// fragment reads the header of a fragment.
func (d *direction) fragment(b []byte) error {
	n := int(binary.BigEndian.Uint32(b))
	id, control := b[4], b[5]
	command := control&isCommand != 0
	why := ""
	switch {
	case n < 2 || n > d.pdu-4:
		why = "a fragment has a wrong length"
	case id&1 == 0 || d.a.known && d.toDevice && !d.a.contexts[id>>1].accepted:
		why = "a presentation context was not accepted"
	case d.state != inData && !command:
		why = "a data set has no command"
	case d.state == inData && command:
		why = "a command is in a data set"
	case d.state != between && id != d.context:
		why = "two messages are mixed"
	case command && len(d.command)+n-2 > maxCommand:
		why = "a command set is too long"
	}
	cut := d.off
	if d.header >= 0 {
		cut = d.header
	}
	if why != "" {
		return d.lost(cut, invalidPDU, why)
	}
	d.begin()
	if !command {
		d.size += int64(n - 2)
		if d.size > d.a.p.objectBytes && d.toDevice && !d.large {
			d.large = true
			if d.a.refused(d.label(), "", "the object is longer than its bound") {
				d.flush(cut)
				return d.a.abort(notSpecified)
			}
		}
	}
	if command || d.swallow || !d.single {
		if err := d.flush(cut); err != nil {
			return err
		}
		d.kept = d.off + headerBytes
	}
	d.off += headerBytes
	if d.state == between {
		d.state, d.context, d.size, d.large = inCommand, id, 0, false
	}
	d.pdu -= 4 + n
	d.pdv, d.control, d.header = n-2, control, -1
	if !command && !d.swallow && !d.single {
		h := dicom.AppendData(make([]byte, 0, 2*headerBytes), id, false, control&isLast != 0, nil)
		binary.BigEndian.PutUint32(h[2:], uint32(4+n))
		binary.BigEndian.PutUint32(h[6:], uint32(n))
		if err := d.forward(h); err != nil {
			return err
		}
	}
	if d.pdv == 0 {
		return d.fragmentEnd()
	}
	return nil
}

// fragmentEnd is called behind the last byte of a fragment.
func (d *direction) fragmentEnd() error {
	if d.control&isLast == 0 {
		return nil
	}
	if d.control&isCommand != 0 {
		return d.whole()
	}
	// That the message is over lets answers of ours follow.
	d.state = between
	if err := d.flush(d.off); err != nil {
		return err
	}
	d.swallow = false
	d.end()
	return nil
}

// begin and end count a message, or another PDU, as under way.
func (d *direction) begin() {
	if d.begun {
		return
	}
	d.begun = true
	d.a.settle(1)
	if !d.src.device {
		d.src.conn.Begin()
	}
}

func (d *direction) end() {
	if !d.begun {
		return
	}
	d.begun = false
	d.src.conn.End()
	d.a.settle(-1)
}

// lost is called at a PDU that has no place, which begins at an offset of buf; what
// came before it was in order. Towards the device that is the end of the
// association; from it, everything passes as it is from now on.
func (d *direction) lost(at int, reason uint8, why string) error {
	if err := d.flush(at); err != nil {
		return err
	}
	if d.toDevice && d.a.refused("P-DATA-TF", "", why) {
		return d.a.abort(reason)
	}
	if !d.toDevice {
		d.a.unjudged("P-DATA-TF", why)
	}
	return d.pass()
}

// pass sends on what was held of a command set, and goes raw.
func (d *direction) pass() error {
	d.a.env.Log.Warn("not read any more", "front", d.a.p.Name, "from-device", !d.toDevice)
	if d.state == inCommand {
		if err := d.emit(d.command, d.pdv == 0 && d.control&isLast != 0); err != nil {
			return err
		}
	}
	var h []byte
	if d.pdu > 0 && d.header < 0 { // the header of what is left of the PDU has not gone on
		h = binary.BigEndian.AppendUint32([]byte{byte(dicom.PDataTF), 0}, uint32(d.pdu))
	}
	d.command = nil
	d.raw = true
	d.passing()
	return d.forward(h)
}

// passing counts a direction that is not read as under way until the end: where
// its messages end is not known.
func (d *direction) passing() {
	d.begin()
	d.src.conn.End()
}

// emit sends a command set on, in fragments that the side takes.
func (d *direction) emit(command []byte, last bool) error {
	longest := len(command)
	if m := int(d.dst.maximum); m > 2*headerBytes {
		longest = min(longest, m-headerBytes)
	}
	var b []byte
	for {
		n := min(longest, len(command))
		b = dicom.AppendData(b, d.context, true, last && n == len(command), command[:n])
		if command = command[n:]; len(command) == 0 {
			return d.forward(b)
		}
	}
}

// whole decides on a command set of which all is there.
func (d *direction) whole() error {
	set := d.command
	c, err := dicom.ParseCommand(set)
	if d.toDevice {
		strict, strictly := dicom.ParseStrictly(set)
		if strictly == nil && strict.Field.Operation() == "" && strict.Field.Response() {
			strictly = errNotDICOM
		}
		if strictly != nil && d.a.refused("P-DATA-TF", "", "a command set is not DICOM, or has two meanings") {
			return d.a.abort(invalidPDU)
		}
	}
	if err != nil {
		return d.lost(d.off, invalidPDU, "a command set cannot be read")
	}
	d.op = c.Field.Operation()
	d.swallow = false
	if c.Field.Response() {
		if !c.Pending() {
			d.a.answered(d.answers, c.MessageIDBeingRespondedTo)
		}
	} else if refuse := d.request(&c); refuse != nil {
		d.swallow = true
		if err := d.src.inject(refuse); err != nil {
			return err
		}
	}
	d.command = d.command[:0]
	if c.DataSet {
		d.state = inData
	} else {
		d.state = between
	}
	if !d.swallow {
		if err := d.emit(set, true); err != nil {
			return err
		}
	}
	if !c.DataSet {
		d.swallow = false
		d.end()
	}
	if cap(d.command) > 4096 { // an association seldom has another that long
		d.command = nil
	}
	return nil
}

// Statuses (PS3.7 annex C; PS3.4 section C.4.2.1.5).
const (
	processingFailure      = 0x0110
	noSuchSOPClass         = 0x0118
	sopClassNotSupported   = 0x0122
	notAuthorized          = 0x0124
	unrecognizedOperation  = 0x0211
	moveDestinationUnknown = 0xA801
	answer                 = 0x8000 // bit of a command field
)

// forbidden is the status for an operation that no list has. "Not authorized"
// is among the statuses of most; C-FIND and C-ECHO have none that is nearer than
// that the SOP class is not supported (PS3.7 sections 9.1.2.1.5 and 9.1.5.1.4),
// N-EVENT-REPORT none than a processing failure (section 10.1.1.1.8).
func forbidden(f dicom.CommandField) uint16 {
	switch f {
	case dicom.CFindRQ, dicom.CEchoRQ:
		return sopClassNotSupported
	case dicom.NEventReportRQ:
		return processingFailure
	}
	return notAuthorized
}

// classRefused is the status for a SOP class that no list has. The DIMSE-N
// services say it with another number than the DIMSE-C ones (PS3.7 annex C.5).
func classRefused(f dicom.CommandField) uint16 {
	if f >= dicom.NEventReportRQ && f <= dicom.NDeleteRQ {
		return noSuchSOPClass
	}
	return sopClassNotSupported
}

// request decides on a request, and returns the answer when it is refused. One
// that goes on is known from now on, and so is what follows from it.
func (d *direction) request(c *dicom.Command) []byte {
	a := d.a
	destination := c.MoveDestination.String()
	if d.toDevice {
		a.limiter.Wait(a.ctx) // a sender that is too fast waits
	}
	if d.held(c) {
		if status, why := d.judge(c); status != 0 && a.refused(d.label(), destination, why) {
			return refusal(c, d.context, status)
		}
	}
	if c.Field == dicom.CCancelRQ {
		return nil
	}
	if d.held(c) { // what passes without a list needs none
		a.env.Learned.Saw(a.p.Name, a.calling, a.called, d.label(), c.SOPClass.String(), destination, a.contexts[d.context>>1].data, a.proof())
	}
	var over func()
	from := a.called
	if d == &a.back {
		from = a.calling
	}
	switch {
	case c.Field == dicom.CMoveRQ:
		over = a.env.Expected.Expect(front.Expectation{Device: a.p.Device, From: from, To: destination, Operation: "C-STORE"}, moved)
	case c.Field == dicom.NActionRQ && dicom.ServiceOf(c.SOPClass.Bytes()) == dicom.StorageCommit:
		to := a.calling
		if d == &a.back {
			to = a.called
		}
		a.env.Expected.Expect(front.Expectation{Device: a.p.Device, From: from, To: to, Operation: "N-EVENT-REPORT"}, committed)()
	}
	a.asked(d.requests, c.MessageID, over)
	return nil
}

// label is the operation for events and metrics: a word of the standard's, whatever came.
func (d *direction) label() string {
	if d.op == "" {
		return "unknown"
	}
	return d.op
}

// held reports whether a request is held to lists: all towards the device; of a
// device that calls others those that ask for records, and all when the
// association is only let through for one purpose.
func (d *direction) held(c *dicom.Command) bool {
	if d.toDevice || d.a.expected && d == &d.a.forth {
		return true
	}
	switch c.Field {
	case dicom.CFindRQ, dicom.CGetRQ, dicom.CMoveRQ:
		return !d.a.p.Server
	}
	return false
}

// judge returns 0 for a request that the lists allow.
func (d *direction) judge(c *dicom.Command) (status uint16, why string) {
	l := d.a.lists
	class := c.SOPClass.Bytes()
	switch {
	case c.Field == dicom.CCancelRQ:
		return 0, ""
	case d.op == "":
		return unrecognizedOperation, "no operation of the standard"
	case !l.verbs.has(d.op):
		return forbidden(c.Field), "no list has the operation"
	case !l.classes.has(class),
		l.commitments && (c.Field == dicom.NActionRQ || c.Field == dicom.NEventReportRQ) && dicom.ServiceOf(class) != dicom.StorageCommit:
		return classRefused(c.Field), "no list has the SOP class"
	case d.a.known && d.toDevice && !l.syntaxes.has([]byte(d.a.contexts[d.context>>1].data)):
		return classRefused(c.Field), "no list has the transfer syntax"
	case c.Field == dicom.CMoveRQ && !slices.Contains(l.destinations, c.MoveDestination.String()):
		// The nearer one of two: "not authorized" would say that the caller may move
		// nothing at all, and a viewer shows its user what it was given.
		return moveDestinationUnknown, "no list has the destination"
	}
	return 0, ""
}

// refusal is the answer to a request that is refused.
func refusal(c *dicom.Command, context uint8, status uint16) []byte {
	r := dicom.Command{
		Field: c.Field | answer, MessageIDBeingRespondedTo: c.MessageID, SOPClass: c.SOPClass, SOPInstance: c.SOPInstance,
		Status: status, EventTypeID: c.EventTypeID, ActionTypeID: c.ActionTypeID,
	}
	return dicom.AppendData(nil, context, true, true, r.Append(nil))
}

// asked notes a request that went on. Of too many at a time some are not noted:
// what follows from them is only expected for a while.
func (a *association) asked(requests *map[uint16]func(), id uint16, over func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if *requests == nil {
		*requests = map[uint16]func(){}
	}
	before, twice := (*requests)[id]
	if before != nil {
		before()
	}
	if !twice && len(*requests) >= maxRequests {
		if over != nil {
			over()
		}
		return
	}
	(*requests)[id] = over
	if !twice {
		a.busy.Add(1)
	}
}

// answered notes the last answer to a request.
func (a *association) answered(requests *map[uint16]func(), id uint16) {
	a.mu.Lock()
	over, ok := (*requests)[id]
	delete(*requests, id)
	a.mu.Unlock()
	if over != nil {
		over()
	}
	if ok {
		a.busy.Add(-1) // the answer itself is under way
	}
}
