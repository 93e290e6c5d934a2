// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// applicationContextOff is where the first variable item of an A-ASSOCIATE PDU
// stands, which in practice is the application context.
const applicationContextOff = 74

// applicationContext is that item's header and the root of DICOM's UIDs.
const applicationContext = "1.2.840.10008."

// Recognise says how well the first bytes of one side of a TCP connection, or
// of a segment in it, fit DICOM. It looks at 88 bytes at most.
func Recognise(b []byte) wire.Match {
	if len(b) == 0 {
		return wire.NeedMore
	}
	if b[0] < byte(AssociateRQ) || b[0] > byte(Abort) || len(b) > 1 && b[1] != 0 {
		return wire.NoMatch
	}
	if len(b) < pduHeader {
		return wire.NeedMore
	}
	n := binary.BigEndian.Uint32(b[2:])
	switch typ := PDUType(b[0]); typ {
	case AssociateRQ, AssociateAC:
		return recogniseAssociate(b, n)
	case PDataTF:
		return recogniseData(b, n)
	default:
		if n != controlLength-pduHeader {
			return wire.NoMatch
		}
		return wire.WeakMatch
	}
}

func recogniseAssociate(b []byte, n uint32) wire.Match {
	// The application context is not optional (PS3.8 section 9.3.2), so a PDU
	// without room for it is none.
	if n > maxAssociate || n < uint32(applicationContextOff+4+len(applicationContext)-pduHeader) {
		return wire.NoMatch
	}
	if len(b) > 7 && b[7]&1 == 0 { // PS3.8 section 9.3.2
		return wire.NoMatch
	}
	if len(b) < applicationContextOff+4+len(applicationContext) {
		return wire.NeedMore
	}
	if b[applicationContextOff] == 0x10 &&
		string(b[applicationContextOff+4:][:len(applicationContext)]) == applicationContext {
		return wire.SureMatch
	}
	// Items may come in another order: then the titles must look like titles.
	if b[0] == byte(AssociateRQ) && title(b[10:26]) && title(b[26:42]) {
		return wire.WeakMatch
	}
	return wire.NoMatch
}

// title reports whether b may be an AE title: characters of the default
// repertoire without backslash and control characters (PS3.5 section 6.2).
func title(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

func recogniseData(b []byte, n uint32) wire.Match {
	if n < pdvHeader {
		return wire.NoMatch
	}
	if len(b) < pduHeader+pdvHeader {
		return wire.NeedMore
	}
	if !plausible(b) {
		return wire.NoMatch
	}
	first := b[pduHeader+pdvHeader:]
	if b[11]&isCommand == 0 {
		return wire.WeakMatch // a piece of a data set may be anything
	}
	// Command Group Length, the first element of every command set (PS3.7 section 6.3.1).
	const groupLength = "\x00\x00\x00\x00\x04\x00\x00\x00"
	if len(first) < len(groupLength) {
		return wire.NeedMore
	}
	if string(first[:len(groupLength)]) == groupLength {
		return wire.SureMatch
	}
	return wire.NoMatch
}
