// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// The fixed channels of an LE link (Vol 3 Part A section 2.1).
const (
	CIDATT       = 4
	CIDSignaling = 5
	CIDSMP       = 6
)

// What a credit-based channel is for, by its SPSM (the assigned numbers). From
// 0x0080 a device chooses them (Vol 3 Part A table 4.16).
const (
	SPSMIPSP = 0x0023 // Internet Protocol Support: IPv6
	SPSMOTS  = 0x0025 // Object Transfer Service
	SPSMEATT = 0x0027 // the enhanced attribute protocol
)

// The dynamic channel identifiers of an LE link (Vol 3 Part A table 2.3).
const (
	firstDynamicCID = 0x0040
	lastDynamicCID  = 0x007f
)

// l2capHeader is the size of a basic header: length and channel (Vol 3 Part A
// section 3.1).
const l2capHeader = 4

// AppendL2CAP writes payload, of at most 65535 bytes, after dst as one PDU of a channel.
func AppendL2CAP(dst []byte, cid uint16, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(payload)))
	return append(binary.LittleEndian.AppendUint16(dst, cid), payload...)
}

// A SignalCode says what a signaling packet is (Vol 3 Part A section 4, table 4.2).
type SignalCode uint8

// The signaling packets of an LE link.
const (
	CommandReject                     SignalCode = 0x01
	DisconnectionRequest              SignalCode = 0x06
	DisconnectionResponse             SignalCode = 0x07
	ConnectionParameterUpdateRequest  SignalCode = 0x12
	ConnectionParameterUpdateResponse SignalCode = 0x13
	LECreditBasedConnectionRequest    SignalCode = 0x14
	LECreditBasedConnectionResponse   SignalCode = 0x15
	FlowControlCredit                 SignalCode = 0x16
	CreditBasedConnectionRequest      SignalCode = 0x17
	CreditBasedConnectionResponse     SignalCode = 0x18
	CreditBasedReconfigureRequest     SignalCode = 0x19
	CreditBasedReconfigureResponse    SignalCode = 0x1a
)

// maxSignalCIDs is how many channels one packet may open (Vol 3 Part A section 4.25).
const maxSignalCIDs = 5

// A Signal is one packet of the LE signaling channel. Which fields are valid
// depends on the code; those of other codes are zero.
type Signal struct {
	Code       SignalCode
	Identifier uint8
	SPSM       uint16
	MTU, MPS   uint16
	Credits    uint16
	Result     uint16                // also Reason
	CIDs       [maxSignalCIDs]uint16 // of the sender, as it opens channels; of DisconnectionRequest first the receiver's, then the sender's
	NumCIDs    uint8
	Data       []byte // of CommandReject behind the reason; of ConnectionParameterUpdateRequest all
}

// Parse reads one packet, which on LE is all that a PDU holds. s.Data aliases
// b. On an error s holds what was read before it.
func (s *Signal) Parse(b []byte) error {
	c := wire.NewCursor("l2cap", b)
	*s = Signal{Code: SignalCode(c.Uint8("Code")), Identifier: c.Uint8("Identifier")}
	n := int(c.Uint16LE("Data Length"))
	if c.Ok() && n < c.Len() {
		c.FailAt("Data Length", 2, wire.ErrTrailing)
	}
	d := c.Sub("Data", n)
	if d.Ok() && s.Identifier == 0 {
		d.FailAt("Identifier", 1, wire.ErrInvalid)
	}
	switch s.Code {
	case CommandReject:
		s.Result = d.Uint16LE("Reason")
		s.Data = d.Rest()
	case DisconnectionRequest, DisconnectionResponse:
		s.cids(&d, 2)
	case ConnectionParameterUpdateRequest:
		s.Data = d.Bytes("Parameters", 8)
	case ConnectionParameterUpdateResponse, CreditBasedReconfigureResponse:
		s.Result = d.Uint16LE("Result")
	case LECreditBasedConnectionRequest:
		s.SPSM = d.Uint16LE("SPSM")
		s.cids(&d, 1)
		s.room(&d)
	case LECreditBasedConnectionResponse:
		s.cids(&d, 1)
		s.room(&d)
		s.Result = d.Uint16LE("Result")
	case FlowControlCredit:
		s.cids(&d, 1)
		s.Credits = d.Uint16LE("Credits")
	case CreditBasedConnectionRequest:
		s.SPSM = d.Uint16LE("SPSM")
		s.room(&d)
		s.cids(&d, (d.Len()+1)/2)
	case CreditBasedConnectionResponse:
		s.room(&d)
		s.Result = d.Uint16LE("Result")
		s.cids(&d, (d.Len()+1)/2)
	case CreditBasedReconfigureRequest:
		s.MTU = d.Uint16LE("MTU")
		s.MPS = d.Uint16LE("MPS")
		s.cids(&d, (d.Len()+1)/2)
	default:
		d.FailAt("Code", 0, wire.ErrReserved)
	}
	if d.Len() > 0 {
		d.Fail("Data", wire.ErrTrailing)
	}
	c.Join(&d)
	return c.Err()
}

// room reads what a side can take.
func (s *Signal) room(c *wire.Cursor) {
	s.MTU = c.Uint16LE("MTU")
	s.MPS = c.Uint16LE("MPS")
	s.Credits = c.Uint16LE("Initial Credits")
}

func (s *Signal) cids(c *wire.Cursor, n int) {
	if n > maxSignalCIDs {
		c.Fail("CID", wire.ErrTooLong)
	}
	for i := 0; i < n && c.Ok(); i++ {
		s.CIDs[i] = c.Uint16LE("CID")
		s.NumCIDs++
	}
}

// Append writes s after dst. What [Signal.Parse] would refuse is an error, and
// then dst is returned as it came.
func (s *Signal) Append(dst []byte) ([]byte, error) {
	le := binary.LittleEndian
	start := len(dst)
	b := append(dst, uint8(s.Code), s.Identifier, 0, 0)
	room := func() { b = le.AppendUint16(le.AppendUint16(le.AppendUint16(b, s.MTU), s.MPS), s.Credits) }
	cids := func() {
		for _, cid := range s.CIDs[:min(s.NumCIDs, maxSignalCIDs)] {
			b = le.AppendUint16(b, cid)
		}
	}
	switch s.Code {
	case CommandReject:
		b = le.AppendUint16(b, s.Result)
	case DisconnectionRequest, DisconnectionResponse:
		cids()
	case ConnectionParameterUpdateResponse, CreditBasedReconfigureResponse:
		b = le.AppendUint16(b, s.Result)
	case LECreditBasedConnectionRequest:
		b = le.AppendUint16(b, s.SPSM)
		cids()
		room()
	case LECreditBasedConnectionResponse:
		cids()
		room()
		b = le.AppendUint16(b, s.Result)
	case FlowControlCredit:
		cids()
		b = le.AppendUint16(b, s.Credits)
	case CreditBasedConnectionRequest:
		b = le.AppendUint16(b, s.SPSM)
		room()
		cids()
	case CreditBasedConnectionResponse:
		room()
		b = le.AppendUint16(b, s.Result)
		cids()
	case CreditBasedReconfigureRequest:
		b = le.AppendUint16(le.AppendUint16(b, s.MTU), s.MPS)
		cids()
	}
	b = append(b, s.Data...)
	le.PutUint16(b[start+2:], uint16(len(b)-start-4))
	var check Signal
	if err := check.Parse(b[start:]); err != nil {
		return dst, err
	}
	return b, nil
}
