// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A Visitor is told what a [Stream] finds, in the order of the bytes. off is
// the place in the slice handed to [Stream.Feed]. What it is given is valid
// until it returns.
type Visitor interface {
	// Associate is called for an A-ASSOCIATE-RQ or A-ASSOCIATE-AC.
	Associate(off int, a *Association)
	// Control is called for a PDU without data.
	Control(off int, p Control)
	// Command is called when a command set is complete.
	Command(off int, c *Command)
	// Element is called for the elements of the data set that belongs to c, in
	// the sense of [DataSet.Feed].
	Element(off int, c *Command, e *Element)
	// EndOfData is called when the last byte of c's data set, of so many, was seen.
	EndOfData(off int, c *Command, n uint64)
	// Malformed is called with a *[wire.SyntaxError] whose offset is in the
	// slice. The stream goes on where that is possible.
	Malformed(err error)
}

// Contexts holds what an association agreed on. Its two Streams share one, so
// that each knows in which transfer syntax the other side said it would
// listen. It is 128 bytes.
type Contexts struct {
	syntax [128]Syntax // by (Presentation-context-ID - 1) / 2
}

// Syntax returns the encoding of data sets in a presentation context.
func (c *Contexts) Syntax(id uint8) Syntax { return c.syntax[id>>1] }

// learn takes what a proposes or accepts. Of an A-ASSOCIATE-RQ alone an
// encoding is known only where there is no choice.
func (c *Contexts) learn(a *Association) {
	if a.Type == AssociateRQ {
		*c = Contexts{}
	}
	for i := range a.Contexts {
		pc := &a.Contexts[i]
		if len(pc.TransferSyntaxes) == 1 && pc.Result == 0 {
			c.syntax[pc.ID>>1] = SyntaxOf(pc.TransferSyntaxes[0])
		}
	}
}

const (
	// pdvHeader is Item-length, Presentation-context-ID and message control
	// header (PS3.8 section 9.3.5.1 and annex E.2).
	pdvHeader = 6
	// maxOpen is how many messages of different presentation contexts one side
	// may have begun at a time. Implementations send one after the other.
	maxOpen = 4
	// maxCommand bounds a command set. The longest of the standard's, with its
	// UIDs and attribute lists, is a few kilobytes.
	maxCommand = 64 << 10
)

// A message is a DIMSE message of which not all fragments have been seen.
type message struct {
	state   messageState
	command Command
	length  uint64 // of the command set, then of the data set, so far
	set     DataSet
}

type messageState uint8

const (
	noMessage   messageState = iota
	inCommand                // fragments of the command set are coming
	lostCommand              // ... of which nothing can be said any more
	beforeData               // the command set is complete, its data set is to come
	inData                   // fragments of the data set are coming
	lostData                 // fragments of a data set whose command set was not seen
)

// A Stream reads what one side of an association sends. The zero Stream is
// ready at the beginning of a connection and inside of one; set Contexts, or
// it takes one of its own.
type Stream struct {
	Contexts *Contexts

	synced bool   // the last PDU ended where the next is expected
	lost   bool   // where the next PDU begins is not known: look for one
	cut    bool   // the last call of Feed left bytes
	pdu    uint32 // bytes of the P-DATA-TF PDU after the current fragment
	pdv    uint32 // bytes of the current fragment still to come
	mch    uint8  // its message control header
	inPDV  bool
	cur    *message
	open   [maxOpen]*message
}

// Size returns how many bytes of memory the messages take that s follows.
func (s *Stream) Size() int {
	n := 0
	for _, m := range s.open {
		if m != nil {
			n += messageSize + cap(m.set.deflated)
		}
	}
	return n
}

// messageSize is the memory that a message takes.
const messageSize = 1 << 10

// The message control header (PS3.8 annex E.2).
const (
	isCommand = 1 << iota
	isLast
)

// Feed reads b, the bytes that no earlier call is done with, oldest first. It
// returns how many it is done with. Fewer than len(b): the rest must be handed
// in again, with what follows. More than len(b): the bytes to come up to there
// need not be handed in at all.
func (s *Stream) Feed(b []byte, v Visitor) int {
	if s.Contexts == nil {
		s.Contexts = new(Contexts)
	}
	n := s.feed(b, v)
	s.cut = n < len(b)
	return n
}

func (s *Stream) feed(b []byte, v Visitor) int {
	off := 0
	for {
		switch {
		case s.inPDV:
			n := min(len(b)-off, int(s.pdv))
			s.fragment(off, b[off:off+n], v)
			s.pdv -= uint32(n)
			off += n
			if s.pdv > 0 {
				return off + s.idle()
			}
			s.endOfFragment(off, v)
		case s.lost:
			n, found := resync(b[off:])
			off += n
			if !found {
				return off
			}
			s.lost = false
		case s.pdu > 0:
			if len(b)-off < pdvHeader {
				return off
			}
			off += s.pdvHeader(off, b[off:], v)
		default:
			n := s.pduHeader(off, b[off:], v)
			if n == 0 && !s.lost {
				return off
			}
			off += n
		}
		if off > len(b) {
			return off
		}
	}
}

// malformed tells v and returns. A syntax error's offset counts from off.
func malformed(v Visitor, off int, err error) {
	if e, ok := err.(*wire.SyntaxError); ok {
		e.Off += off
	}
	v.Malformed(err)
}

func syntaxError(field string, off int, err error) error {
	return &wire.SyntaxError{Proto: "dicom", Field: field, Off: off, Err: err}
}

// pduHeader reads a PDU's header, and all of it unless it is a P-DATA-TF. It
// returns 0 when bytes are missing, or when it got lost.
func (s *Stream) pduHeader(off int, b []byte, v Visitor) int {
	if len(b) < pduHeader {
		return 0
	}
	n := binary.BigEndian.Uint32(b[2:])
	total := pduHeader + int(n)
	switch typ := PDUType(b[0]); {
	case typ == PDataTF && (s.synced || plausible(b) || len(b) < pduHeader+pdvHeader):
		if !s.synced && len(b) < pduHeader+pdvHeader {
			return 0
		}
		s.synced = true
		s.pdu = n
		return pduHeader
	case (typ == AssociateRQ || typ == AssociateAC) && n <= maxAssociate && (s.synced || Recognise(b) != wire.NoMatch):
		if len(b) < total {
			return 0
		}
		s.synced = true
		var a Association // aliases b, and so is not kept
		if _, err := a.Parse(b); err != nil {
			malformed(v, off, err)
			return total
		}
		s.Contexts.learn(&a)
		v.Associate(off, &a)
		return total
	case (typ == AssociateRJ || typ >= ReleaseRQ && typ <= Abort) && n == controlLength-pduHeader:
		if len(b) < total {
			return 0
		}
		s.synced = true
		p, _, _ := ParseControl(b)
		v.Control(off, p)
		return total
	case s.synced && typ >= AssociateRQ && typ <= Abort:
		malformed(v, off, syntaxError("PDU-length", 2, wire.ErrInvalid))
	case s.synced:
		malformed(v, off, syntaxError("PDU-type", 0, wire.ErrInvalid))
	}
	s.lose()
	return 0
}

// lose forgets everything but the presentation contexts: where the next PDU
// begins is not known.
func (s *Stream) lose() {
	s.lost, s.synced, s.inPDV, s.pdu, s.pdv, s.cur = true, false, false, 0, 0, nil
	for _, m := range s.open {
		if m != nil {
			m.state = noMessage
		}
	}
}

// pdvHeader reads the header of a presentation data value item.
func (s *Stream) pdvHeader(off int, b []byte, v Visitor) int {
	n := binary.BigEndian.Uint32(b)
	id, mch := b[4], b[5]
	switch {
	case s.pdu < pdvHeader || n < 2 || n > s.pdu-4:
		malformed(v, off, syntaxError("Item-length", 0, wire.ErrInvalid))
	case id&1 == 0: // PS3.8 section 9.3.2.2
		malformed(v, off, syntaxError("Presentation-context-ID", 4, wire.ErrInvalid))
	default:
		s.pdu -= 4 + n
		s.pdv, s.mch, s.inPDV = n-2, mch, true // PS3.8 annex E.2: other bits are not tested
		s.begin(off, id, v)
		return pdvHeader
	}
	n, s.pdu = s.pdu, 0 // the next PDU may be sound
	return int(n)
}

// begin finds the message that a fragment belongs to, or makes one.
func (s *Stream) begin(off int, id uint8, v Visitor) {
	s.cur = nil
	var free *message
	for i, m := range s.open {
		switch {
		case m == nil:
			if free == nil {
				m = new(message)
				s.open[i], free = m, m
			}
		case m.state == noMessage:
			if free == nil {
				free = m
			}
		case m.command.ContextID == id:
			s.cur = m
		}
	}
	m := s.cur
	if m == nil {
		if m = free; m == nil {
			malformed(v, off, syntaxError("Presentation-context-ID", 4, wire.ErrTooLong))
			m = s.open[0]
		}
		s.cur = m
		m.state = noMessage
	}
	command := s.mch&isCommand != 0
	switch {
	case command && m.state != inCommand && m.state != lostCommand:
		if m.state == beforeData || m.state == inData {
			malformed(v, off, syntaxError("Message Control Header", 5, wire.ErrInvalid))
		}
		m.state, m.length, m.command = inCommand, 0, Command{ContextID: id}
		m.set.Reset(ImplicitVRLittleEndian) // PS3.7 section 6.3.1
	case !command && m.state == beforeData:
		m.state, m.length = inData, 0
		m.set.Reset(s.Contexts.Syntax(id))
	case !command && (m.state == noMessage || m.state == inCommand || m.state == lostCommand):
		if m.state == inCommand {
			malformed(v, off, syntaxError("Message Control Header", 5, wire.ErrInvalid))
		}
		m.state, m.length, m.command = lostData, 0, Command{ContextID: id}
	}
}

// fragment reads the next bytes of the current fragment.
func (s *Stream) fragment(off int, p []byte, v Visitor) {
	m := s.cur
	if m == nil {
		return
	}
	m.length += uint64(len(p))
	switch {
	case m.state == inCommand && m.length > maxCommand:
		malformed(v, off, syntaxError("Command Set", 0, wire.ErrTooLong))
		m.state = lostCommand
	case m.state == inCommand:
		if err := m.set.Feed(p, m.command.set); err != nil {
			malformed(v, off, err)
			m.state = lostCommand
		}
	case m.state == inData && m.set.Idle() < uint64(len(p)):
		if err := m.set.Feed(p, func(e *Element) { v.Element(off+e.Off, &m.command, e) }); err != nil {
			malformed(v, off, err)
		}
	case m.state == inData:
		m.set.Pass(uint64(len(p)))
	}
}

// idle passes over what of the current fragment nobody looks at, and returns
// how much that is. The last byte of a message is waited for, so that its end
// is told when it has come.
func (s *Stream) idle() int {
	n := uint64(s.pdv)
	if s.mch&isLast != 0 {
		n--
	}
	if m := s.cur; m != nil {
		switch m.state {
		case inCommand:
			return 0
		case inData:
			n = min(n, m.set.Idle())
			m.set.Pass(n)
		}
		m.length += n
	}
	s.pdv -= uint32(n)
	s.inPDV = s.pdv > 0
	if !s.inPDV {
		s.cur = nil
	}
	return int(n)
}

// endOfFragment is called after the last byte of a fragment. off is just
// behind it, or behind the fragment's header when it is empty.
func (s *Stream) endOfFragment(off int, v Visitor) {
	m := s.cur
	s.inPDV, s.cur = false, nil
	if m == nil || s.mch&isLast == 0 {
		return
	}
	off = max(0, off-1)
	switch m.state {
	case inCommand:
		m.state = noMessage
		if err := m.set.Close(m.command.set); err != nil {
			malformed(v, off, err)
			return
		}
		if !m.command.complete {
			malformed(v, off, syntaxError("Command Field", 0, wire.ErrTruncated))
			return
		}
		if m.command.DataSet {
			m.state = beforeData
		}
		v.Command(off, &m.command)
	case inData:
		m.state = noMessage
		if err := m.set.Close(func(e *Element) { v.Element(off, &m.command, e) }); err != nil {
			malformed(v, off, err)
		}
		v.EndOfData(off, &m.command, m.length)
	case lostCommand, lostData:
		m.state = noMessage
	}
}

// Gap says that the next n bytes will never come; 0 is an unknown number.
// What was begun in them is given up; a data set in which they are is counted
// to its end, when that is beyond them.
func (s *Stream) Gap(n int) {
	for _, m := range s.open {
		if m != nil && m.state == inCommand {
			m.state = lostCommand
		}
	}
	left := uint64(s.pdv) + uint64(s.pdu) // of the P-DATA-TF PDU
	switch {
	case n <= 0 || s.cut || uint64(n) > left:
		s.lose()
	case s.inPDV && uint64(n) <= uint64(s.pdv):
		s.synced = false
		s.pdv -= uint32(n) // to 0: the next Feed ends the fragment
		if m := s.cur; m != nil {
			m.length += uint64(n)
			m.set.abandon()
		}
	default: // what is left of the PDU are fragments whose headers are gone
		s.lose()
		s.lost, s.inPDV, s.mch, s.pdv = false, true, 0, uint32(left-uint64(n))
	}
}

// abandon passes over the rest of the data set.
func (d *DataSet) abandon() { d.skip = endless }

// resync looks for a P-DATA-TF PDU, or another that is known by its length,
// and returns how much is before it. Without one it leaves the bytes in which
// one may begin.
func resync(b []byte) (n int, found bool) {
	for n < len(b) {
		if len(b)-n < pduHeader+pdvHeader {
			return n, false
		}
		if plausible(b[n:]) {
			return n, true
		}
		i := bytes.IndexByte(b[n+1:], byte(PDataTF))
		if i < 0 {
			return len(b), false
		}
		n += 1 + i
	}
	return n, false
}

// plausible reports whether b begins like a P-DATA-TF PDU with one fragment,
// which is how nearly all are sent, or one with a command set in front: both
// lengths, the zero between them, an odd context and a control header must fit.
func plausible(b []byte) bool {
	if len(b) < pduHeader+pdvHeader || b[0] != byte(PDataTF) || b[1] != 0 {
		return false
	}
	pdu, pdv := binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])
	return pdv >= 2 && (uint64(pdv)+4 == uint64(pdu) || uint64(pdv)+4 < uint64(pdu) && b[11]&isCommand != 0) &&
		b[10]&1 == 1 && b[11] <= isCommand|isLast
}
