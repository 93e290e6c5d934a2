// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// An ATTOpcode says what a PDU of the attribute protocol is (Vol 3 Part F
// section 3.4.8).
type ATTOpcode uint8

// The opcodes of the attribute protocol. Those that a client sends are even.
const (
	ErrorResponse                   ATTOpcode = 0x01
	ExchangeMTURequest              ATTOpcode = 0x02
	ExchangeMTUResponse             ATTOpcode = 0x03
	FindInformationRequest          ATTOpcode = 0x04
	FindInformationResponse         ATTOpcode = 0x05
	FindByTypeValueRequest          ATTOpcode = 0x06
	FindByTypeValueResponse         ATTOpcode = 0x07
	ReadByTypeRequest               ATTOpcode = 0x08
	ReadByTypeResponse              ATTOpcode = 0x09
	ReadRequest                     ATTOpcode = 0x0a
	ReadResponse                    ATTOpcode = 0x0b
	ReadBlobRequest                 ATTOpcode = 0x0c
	ReadBlobResponse                ATTOpcode = 0x0d
	ReadMultipleRequest             ATTOpcode = 0x0e
	ReadMultipleResponse            ATTOpcode = 0x0f
	ReadByGroupTypeRequest          ATTOpcode = 0x10
	ReadByGroupTypeResponse         ATTOpcode = 0x11
	WriteRequest                    ATTOpcode = 0x12
	WriteResponse                   ATTOpcode = 0x13
	PrepareWriteRequest             ATTOpcode = 0x16
	PrepareWriteResponse            ATTOpcode = 0x17
	ExecuteWriteRequest             ATTOpcode = 0x18
	ExecuteWriteResponse            ATTOpcode = 0x19
	HandleValueNotification         ATTOpcode = 0x1b
	HandleValueIndication           ATTOpcode = 0x1d
	HandleValueConfirmation         ATTOpcode = 0x1e
	ReadMultipleVariableRequest     ATTOpcode = 0x20
	ReadMultipleVariableResponse    ATTOpcode = 0x21
	MultipleHandleValueNotification ATTOpcode = 0x23
	WriteCommand                    ATTOpcode = 0x52
	SignedWriteCommand              ATTOpcode = 0xd2
)

// FromClient reports whether the client sends it.
func (o ATTOpcode) FromClient() bool { return o&1 == 0 }

// Request reports whether an answer has to come before the same side may ask
// again (Vol 3 Part F section 3.3.2).
func (o ATTOpcode) Request() bool {
	return o&0x41 == 0 && o != HandleValueConfirmation
}

// Response reports whether it answers a request.
func (o ATTOpcode) Response() bool {
	return o&0x41 == 1 && o != HandleValueNotification && o != HandleValueIndication && o != MultipleHandleValueNotification
}

// Error codes of [ErrorResponse] that show a server defending itself (Vol 3
// Part F section 3.4.1.1).
const (
	InsufficientAuthentication = 0x05
	InsufficientAuthorization  = 0x08
	InsufficientKeySize        = 0x0c
	InsufficientEncryption     = 0x0f
)

// DefaultMTU is the ATT_MTU before it is exchanged, in octets (Vol 3 Part G
// section 5.2.1).
const DefaultMTU = 23

const signatureSize = 12 // Vol 3 Part F section 3.3.1

// An ATT is one PDU of the attribute protocol. Which fields are valid depends
// on the opcode; those of other opcodes are zero.
type ATT struct {
	Opcode    ATTOpcode
	Handle    uint16    // of the attribute; of a range the first
	End       uint16    // of a range the last
	Offset    uint16    // of reading and writing in parts
	MTU       uint16    // of exchanging it
	Request   ATTOpcode // that an ErrorResponse is about
	Error     uint8
	Size      uint8  // of each element of a list; of FindInformationResponse the Format: 1 or 2
	Flags     uint8  // of ExecuteWriteRequest: 0 cancels, 1 writes
	Type      []byte // UUID, little-endian, of 2 or 16 bytes
	Value     []byte // of the attribute; or the list, for Attributes
	Signature []byte // of SignedWriteCommand: 12 bytes
}

// Parse reads one PDU. The slices of a alias b. On an error a holds what was
// read before it.
func (a *ATT) Parse(b []byte) error {
	c := wire.NewCursor("att", b)
	*a = ATT{Opcode: ATTOpcode(c.Uint8("Attribute Opcode"))}
	switch a.Opcode {
	case ErrorResponse:
		a.Request = ATTOpcode(c.Uint8("Request Opcode In Error"))
		a.Handle = c.Uint16LE("Attribute Handle In Error")
		a.Error = c.Uint8("Error Code")
	case ExchangeMTURequest, ExchangeMTUResponse:
		a.MTU = c.Uint16LE("MTU")
	case FindInformationRequest:
		a.scope(&c)
	case FindInformationResponse:
		a.Size = c.Uint8("Format")
		if c.Ok() && a.Size != 1 && a.Size != 2 {
			c.FailAt("Format", 1, wire.ErrReserved)
		}
		a.list(&c, "Information Data", 2+uuidSize(a.Size))
	case FindByTypeValueRequest:
		a.scope(&c)
		a.Type = c.Bytes("Attribute Type", 2)
		a.Value = c.Rest()
	case FindByTypeValueResponse:
		a.list(&c, "Handles Information List", 4)
	case ReadByTypeRequest, ReadByGroupTypeRequest:
		a.scope(&c)
		a.Type = c.Rest()
		if c.Ok() && len(a.Type) != 2 && len(a.Type) != 16 {
			c.FailAt("Attribute Type", 5, wire.ErrInvalid)
		}
	case ReadByTypeResponse:
		a.sized(&c, "Attribute Data List", 2)
	case ReadByGroupTypeResponse:
		a.sized(&c, "Attribute Data List", 4)
	case ReadRequest:
		a.Handle = c.Uint16LE("Attribute Handle")
	case ReadBlobRequest:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Offset = c.Uint16LE("Value Offset")
	case ReadMultipleRequest, ReadMultipleVariableRequest:
		a.list(&c, "Set Of Handles", 2)
	case ReadResponse, ReadBlobResponse, ReadMultipleResponse:
		a.Value = c.Rest()
	case ReadMultipleVariableResponse:
		a.Value = c.Rest()
	case WriteRequest, WriteCommand, HandleValueNotification, HandleValueIndication:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Value = c.Rest()
	case SignedWriteCommand:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Value = c.Bytes("Attribute Value", max(c.Len()-signatureSize, 0))
		a.Signature = c.Bytes("Authentication Signature", signatureSize)
	case PrepareWriteRequest, PrepareWriteResponse:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Offset = c.Uint16LE("Value Offset")
		a.Value = c.Rest()
	case ExecuteWriteRequest:
		a.Flags = c.Uint8("Flags")
		if a.Flags > 1 {
			c.FailAt("Flags", 1, wire.ErrReserved)
		}
	case MultipleHandleValueNotification:
		a.Value = c.Rest()
		tuples := wire.NewCursor("att", a.Value)
		for tuples.Len() > 0 {
			tuples.Skip("Attribute Handle", 2)
			tuples.Skip("Attribute Value", int(tuples.Uint16LE("Length")))
		}
		if len(a.Value) == 0 || !tuples.Ok() {
			c.FailAt("Handle Length Value Tuple List", 1, wire.ErrTruncated)
		}
	case WriteResponse, ExecuteWriteResponse, HandleValueConfirmation:
	default:
		c.FailAt("Attribute Opcode", 0, wire.ErrReserved)
		return c.Err()
	}
	if c.Len() > 0 {
		c.Fail("Parameters", wire.ErrTrailing)
	}
	return c.Err()
}

func uuidSize(format uint8) int {
	if format == 2 {
		return 16
	}
	return 2
}

// scope reads a range of handles.
func (a *ATT) scope(c *wire.Cursor) {
	a.Handle = c.Uint16LE("Starting Handle")
	a.End = c.Uint16LE("Ending Handle")
}

// sized reads a list that tells the size of its elements.
func (a *ATT) sized(c *wire.Cursor, field string, least uint8) {
	a.Size = c.Uint8("Length")
	if c.Ok() && a.Size < least {
		c.FailAt("Length", 1, wire.ErrInvalid)
	}
	a.list(c, field, int(a.Size))
}

// list reads elements of n bytes each, at least one.
func (a *ATT) list(c *wire.Cursor, field string, n int) {
	at := c.Off()
	if a.Value = c.Rest(); c.Ok() && (len(a.Value) == 0 || len(a.Value)%n != 0) {
		c.FailAt(field, at, wire.ErrInvalid)
	}
}

// Append writes a after dst. What [ATT.Parse] would refuse is an error, and
// then dst is returned as it came.
func (a *ATT) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	b := append(dst, uint8(a.Opcode))
	le := binary.LittleEndian
	switch a.Opcode {
	case ErrorResponse:
		b = append(le.AppendUint16(append(b, uint8(a.Request)), a.Handle), a.Error)
	case ExchangeMTURequest, ExchangeMTUResponse:
		b = le.AppendUint16(b, a.MTU)
	case FindInformationRequest, FindByTypeValueRequest, ReadByTypeRequest, ReadByGroupTypeRequest:
		b = append(append(le.AppendUint16(le.AppendUint16(b, a.Handle), a.End), a.Type...), a.Value...)
	case FindInformationResponse, ReadByTypeResponse, ReadByGroupTypeResponse:
		b = append(append(b, a.Size), a.Value...)
	case ReadRequest, WriteRequest, WriteCommand, SignedWriteCommand, HandleValueNotification, HandleValueIndication:
		b = append(append(le.AppendUint16(b, a.Handle), a.Value...), a.Signature...)
	case ReadBlobRequest, PrepareWriteRequest, PrepareWriteResponse:
		b = append(le.AppendUint16(le.AppendUint16(b, a.Handle), a.Offset), a.Value...)
	case ExecuteWriteRequest:
		b = append(b, a.Flags)
	default:
		b = append(b, a.Value...)
	}
	var check ATT
	if err := check.Parse(b[start:]); err != nil {
		return dst, err
	}
	return b, nil
}

// An Attribute is what an ATT PDU says of one of several attributes. What it
// does not say is zero.
type Attribute struct {
	Handle uint16
	End    uint16 // of a group: its last handle
	Value  []byte // of FindInformationResponse: the type's UUID
	Cut    bool   // the value is longer: the PDU had no room for the rest of it
}

// Attributes yields the elements of a list. The last value of a
// ReadMultipleVariableResponse may be cut by the MTU.
func (a *ATT) Attributes() iter.Seq[Attribute] {
	return func(yield func(Attribute) bool) {
		c := wire.NewCursor("att", a.Value)
		for c.Len() > 0 {
			var e Attribute
			switch a.Opcode {
			case FindInformationResponse:
				e.Handle = c.Uint16LE("Handle")
				e.Value = c.Bytes("UUID", uuidSize(a.Size))
			case FindByTypeValueResponse:
				e.Handle = c.Uint16LE("Found Attribute Handle")
				e.End = c.Uint16LE("Group End Handle")
			case ReadByTypeResponse:
				e.Handle = c.Uint16LE("Attribute Handle")
				e.Value = c.Bytes("Attribute Value", int(a.Size)-2)
			case ReadByGroupTypeResponse:
				e.Handle = c.Uint16LE("Attribute Handle")
				e.End = c.Uint16LE("End Group Handle")
				e.Value = c.Bytes("Attribute Value", int(a.Size)-4)
			case ReadMultipleRequest, ReadMultipleVariableRequest:
				e.Handle = c.Uint16LE("Handle")
			case ReadMultipleVariableResponse:
				n := int(c.Uint16LE("Value Length"))
				e.Cut = n > c.Len()
				e.Value = c.Bytes("Attribute Value", min(n, c.Len()))
			case MultipleHandleValueNotification:
				e.Handle = c.Uint16LE("Attribute Handle")
				e.Value = c.Bytes("Attribute Value", int(c.Uint16LE("Value Length")))
			default:
				return
			}
			if !c.Ok() || !yield(e) {
				return
			}
		}
	}
}
