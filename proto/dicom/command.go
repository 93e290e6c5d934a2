// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A CommandField says which DIMSE message a command set is.
type CommandField uint16

// The messages (PS3.7 annex E.1). A response is its request with bit 15 set.
const (
	CStoreRQ       CommandField = 0x0001
	CGetRQ         CommandField = 0x0010
	CFindRQ        CommandField = 0x0020
	CMoveRQ        CommandField = 0x0021
	CEchoRQ        CommandField = 0x0030
	NEventReportRQ CommandField = 0x0100
	NGetRQ         CommandField = 0x0110
	NSetRQ         CommandField = 0x0120
	NActionRQ      CommandField = 0x0130
	NCreateRQ      CommandField = 0x0140
	NDeleteRQ      CommandField = 0x0150
	CCancelRQ      CommandField = 0x0FFF
	response       CommandField = 0x8000
)

// Response reports whether f is an answer.
func (f CommandField) Response() bool { return f&response != 0 }

// Request returns f, or the request that f answers.
func (f CommandField) Request() CommandField { return f &^ response }

// Operation returns the standard's name of the service, "C-MOVE", for requests
// and responses alike, or "".
func (f CommandField) Operation() string {
	switch f.Request() {
	case CStoreRQ:
		return "C-STORE"
	case CGetRQ:
		return "C-GET"
	case CFindRQ:
		return "C-FIND"
	case CMoveRQ:
		return "C-MOVE"
	case CEchoRQ:
		return "C-ECHO"
	case NEventReportRQ:
		return "N-EVENT-REPORT"
	case NGetRQ:
		return "N-GET"
	case NSetRQ:
		return "N-SET"
	case NActionRQ:
		return "N-ACTION"
	case NCreateRQ:
		return "N-CREATE"
	case NDeleteRQ:
		return "N-DELETE"
	case CCancelRQ:
		return "C-CANCEL"
	}
	return ""
}

// A Short is a text of at most 64 bytes, which is the longest UID (PS3.5
// section 9.1). It is kept by value, so that a [Command] outlives its bytes.
type Short struct {
	n uint8
	b [64]byte
}

// Bytes returns the text without padding. It belongs to s.
func (s *Short) Bytes() []byte { return s.b[:s.n:s.n] }

func (s *Short) String() string { return string(s.b[:s.n]) }

// A Command is a command set (PS3.7 section 6.3 and annex E). Fields that the
// message does not have are zero.
type Command struct {
	Field                     CommandField
	ContextID                 uint8  // the presentation context it came in; 0 from ParseCommand
	MessageID                 uint16 // of a request
	MessageIDBeingRespondedTo uint16 // of a response, and of C-CANCEL-RQ
	SOPClass                  Short  // affected or requested
	SOPInstance               Short  // affected or requested
	Priority                  uint16 // 0 medium, 1 high, 2 low
	DataSet                   bool   // a data set follows
	Status                    uint16 // of a response
	MoveDestination           Short  // AE title
	MoveOriginator            Short  // AE title: whose C-MOVE made this C-STORE
	MoveOriginatorMessageID   uint16
	Remaining                 uint16 // sub-operations
	Completed                 uint16
	Failed                    uint16
	Warning                   uint16
	EventTypeID               uint16
	ActionTypeID              uint16
	complete                  bool // Field was there
}

// Pending reports whether more responses to the same request follow (PS3.7 annex C).
func (c *Command) Pending() bool { return c.Status == 0xFF00 || c.Status == 0xFF01 }

// Succeeded reports a status of success or warning (PS3.7 annex C).
func (c *Command) Succeeded() bool {
	return c.Status == 0 || c.Status == 1 || c.Status>>12 == 0xB || c.Status == 0x0107 || c.Status == 0x0116
}

// noDataSet is the Command Data Set Type of a message without data set.
const noDataSet = 0x0101

// set takes one element of a command set. What has an unexpected length is
// left zero: the length of a number in a command is not ours to guess.
func (c *Command) set(e *Element) {
	var n uint16
	if len(e.Value) == 2 {
		n = binary.LittleEndian.Uint16(e.Value)
	}
	switch e.Tag { // PS3.7 table E.1-1
	case 0x00000002, 0x00000003:
		c.SOPClass.set(e.Value)
	case 0x00000100:
		c.Field, c.complete = CommandField(n), len(e.Value) == 2
	case 0x00000110:
		c.MessageID = n
	case 0x00000120:
		c.MessageIDBeingRespondedTo = n
	case 0x00000600:
		c.MoveDestination.set(e.Value)
	case 0x00000700:
		c.Priority = n
	case 0x00000800:
		c.DataSet = n != noDataSet
	case 0x00000900:
		c.Status = n
	case 0x00001000, 0x00001001:
		c.SOPInstance.set(e.Value)
	case 0x00001002:
		c.EventTypeID = n
	case 0x00001008:
		c.ActionTypeID = n
	case 0x00001020:
		c.Remaining = n
	case 0x00001021:
		c.Completed = n
	case 0x00001022:
		c.Failed = n
	case 0x00001023:
		c.Warning = n
	case 0x00001030:
		c.MoveOriginator.set(e.Value)
	case 0x00001031:
		c.MoveOriginatorMessageID = n
	}
}

// set leaves nothing of what s was, so that equal texts are equal Shorts.
func (s *Short) set(b []byte) { *s = MakeShort(trim(b)) }

// ParseCommand reads a whole command set, which is always implicit VR little
// endian (PS3.7 section 6.3.1).
func ParseCommand(b []byte) (Command, error) {
	var d DataSet
	var c Command
	d.Reset(ImplicitVRLittleEndian)
	err := d.Feed(b, c.set)
	if err == nil {
		err = d.Close(c.set)
	}
	if err == nil && !c.complete {
		err = &wire.SyntaxError{Proto: "dicom", Field: "Command Field", Err: wire.ErrTruncated}
	}
	return c, err
}

// ParseStrictly is [ParseCommand] for one who guards another: it refuses what
// two readers may understand in two ways, and what no reader of the standard
// has to understand. Elements are in order, each once, of the command group
// alone (PS3.7 section 6.3.1); the group length is there and right; numbers have
// their length; a UID has its characters and an AE title its own (PS3.5 section
// 6.2); and an object is either affected or requested.
func ParseStrictly(b []byte) (Command, error) {
	var c Command
	const header = 8
	fail := func(off int, field string, err error) (Command, error) {
		return c, &wire.SyntaxError{Proto: "dicom", Field: field, Off: off, Err: err}
	}
	var seen struct{ length, dataSet, class, instance bool }
	last := int64(-1)
	for off := 0; off < len(b); {
		if len(b)-off < header {
			return fail(off, "Command Element", wire.ErrTruncated)
		}
		u16 := binary.LittleEndian.Uint16
		e := Element{Tag: Tag(u16(b[off:]))<<16 | Tag(u16(b[off+2:])), Length: binary.LittleEndian.Uint32(b[off+4:])}
		rest := b[off+header:]
		if uint64(e.Length) > uint64(len(rest)) {
			return fail(off+4, "Value Length", wire.ErrTruncated)
		}
		e.Value = rest[:e.Length:e.Length]
		ok := e.Tag>>16 == 0 && int64(e.Tag) > last && e.Length&1 == 0
		switch e.Tag {
		case 0x00000000:
			ok = ok && e.Length == 4 && uint64(binary.LittleEndian.Uint32(e.Value)) == uint64(len(rest)-4)
			seen.length = true
		case 0x00000002, 0x00000003:
			ok = ok && !seen.class && PlainUID(e.Value)
			seen.class = true
		case 0x00001000, 0x00001001:
			ok = ok && !seen.instance && PlainUID(e.Value)
			seen.instance = true
		case 0x00000600, 0x00001030:
			ok = ok && len(e.Value) <= 16 && PlainTitle(e.Value)
		case 0x00000100, 0x00000110, 0x00000120, 0x00000700, 0x00000800, 0x00000900, 0x00001002, 0x00001008,
			0x00001020, 0x00001021, 0x00001022, 0x00001023, 0x00001031:
			ok = ok && e.Length == 2
			seen.dataSet = seen.dataSet || e.Tag == 0x00000800
		}
		if !ok {
			return fail(off, "Command Element", wire.ErrInvalid)
		}
		c.set(&e)
		last = int64(e.Tag)
		off += header + int(e.Length)
	}
	if !seen.length || !seen.dataSet || !c.complete {
		return fail(len(b), "Command Field", wire.ErrTruncated)
	}
	return c, nil
}

// PlainUID reports whether b, which may be padded, is a UID that every reader
// takes for the same: digits and dots (PS3.5 section 9.1).
func PlainUID(b []byte) bool {
	b = trim(b)
	for _, c := range b {
		if c != '.' && (c < '0' || c > '9') {
			return false
		}
	}
	return 0 < len(b) && len(b) <= 64
}

// PlainTitle reports whether b, which may be padded, is an AE title that every
// reader takes for the same (PS3.5 section 6.2).
func PlainTitle(b []byte) bool {
	b = trim(b)
	return 0 < len(b) && len(b) <= 16 && title(b)
}
