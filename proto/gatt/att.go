// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// An opcode says what a PDU of the attribute protocol is (Vol 3 Part F section
// 3.4.8). Clients send the even ones.
type opcode uint8

const (
	errorResponse                   opcode = 0x01
	exchangeMTURequest              opcode = 0x02
	exchangeMTUResponse             opcode = 0x03
	findInformationRequest          opcode = 0x04
	findInformationResponse         opcode = 0x05
	findByTypeValueRequest          opcode = 0x06
	findByTypeValueResponse         opcode = 0x07
	readByTypeRequest               opcode = 0x08
	readByTypeResponse              opcode = 0x09
	readRequest                     opcode = 0x0a
	readResponse                    opcode = 0x0b
	readBlobRequest                 opcode = 0x0c
	readBlobResponse                opcode = 0x0d
	readMultipleRequest             opcode = 0x0e
	readMultipleResponse            opcode = 0x0f
	readByGroupTypeRequest          opcode = 0x10
	readByGroupTypeResponse         opcode = 0x11
	writeRequest                    opcode = 0x12
	writeResponse                   opcode = 0x13
	prepareWriteRequest             opcode = 0x16
	prepareWriteResponse            opcode = 0x17
	executeWriteRequest             opcode = 0x18
	executeWriteResponse            opcode = 0x19
	handleValueNotification         opcode = 0x1b
	handleValueIndication           opcode = 0x1d
	handleValueConfirmation         opcode = 0x1e
	readMultipleVariableRequest     opcode = 0x20
	readMultipleVariableResponse    opcode = 0x21
	multipleHandleValueNotification opcode = 0x23
	writeCommand                    opcode = 0x52
	signedWriteCommand              opcode = 0xd2
)

// FromClient reports whether the client sends it.
func (o opcode) FromClient() bool { return o&1 == 0 }

// Request reports whether an answer has to come before the client may ask again.
func (o opcode) Request() bool { return o&0x41 == 0 && o != handleValueConfirmation }

// defaultMTU is ATT_MTU before it is exchanged (Vol 3 Part G section 5.2.1).
const defaultMTU = 23

const signatureBytes = 12 // Vol 3 Part F section 3.3.1

// An att is one PDU of the attribute protocol. Fields of other opcodes are zero.
type att struct {
	Opcode  opcode
	Handle  uint16 // of a range the first
	End     uint16 // of a range the last
	Offset  uint16
	MTU     uint16
	Request opcode // that an error is about
	Error   uint8
	Size    uint8 // of each element of a list
	Flags   uint8
	Type    []byte // UUID as it is sent
	Value   []byte // or the list
}

// Parse reads one PDU. The slices of a alias b.
func (a *att) Parse(b []byte) error {
	c := wire.NewCursor("att", b)
	*a = att{Opcode: opcode(c.Uint8("Attribute Opcode"))}
	element := 0 // bytes of each element of a list
	switch a.Opcode {
	case errorResponse:
		a.Request = opcode(c.Uint8("Request Opcode In Error"))
		a.Handle = c.Uint16LE("Attribute Handle In Error")
		a.Error = c.Uint8("Error Code")
	case exchangeMTURequest, exchangeMTUResponse:
		a.MTU = c.Uint16LE("MTU")
	case findInformationRequest, findByTypeValueRequest, readByTypeRequest, readByGroupTypeRequest:
		a.Handle = c.Uint16LE("Starting Handle")
		a.End = c.Uint16LE("Ending Handle")
		switch a.Opcode {
		case findByTypeValueRequest:
			a.Type = c.Bytes("Attribute Type", 2)
			a.Value = c.Rest()
		case readByTypeRequest, readByGroupTypeRequest:
			if a.Type = c.Rest(); c.Ok() && len(a.Type) != 2 && len(a.Type) != 16 {
				c.FailAt("Attribute Type", 5, wire.ErrInvalid)
			}
		}
	case findInformationResponse:
		switch a.Size = c.Uint8("Format"); a.Size {
		case 1:
			element = 2 + 2
		case 2:
			element = 2 + 16
		default:
			c.FailAt("Format", 1, wire.ErrReserved)
		}
	case findByTypeValueResponse:
		element = 4
	case readByTypeResponse, readByGroupTypeResponse:
		a.Size = c.Uint8("Length")
		element = int(a.Size)
		if element < 2 || element < 4 && a.Opcode == readByGroupTypeResponse {
			c.FailAt("Length", 1, wire.ErrInvalid)
		}
	case readMultipleRequest, readMultipleVariableRequest:
		element = 2
	case readRequest:
		a.Handle = c.Uint16LE("Attribute Handle")
	case readBlobRequest:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Offset = c.Uint16LE("Value Offset")
	case writeRequest, writeCommand, handleValueNotification, handleValueIndication:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Value = c.Rest()
	case signedWriteCommand:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Value = c.Bytes("Attribute Value", max(c.Len()-signatureBytes, 0))
		c.Skip("Authentication Signature", signatureBytes)
	case prepareWriteRequest, prepareWriteResponse:
		a.Handle = c.Uint16LE("Attribute Handle")
		a.Offset = c.Uint16LE("Value Offset")
		a.Value = c.Rest()
	case executeWriteRequest:
		a.Flags = c.Uint8("Flags")
	case readResponse, readBlobResponse, readMultipleResponse, readMultipleVariableResponse, multipleHandleValueNotification:
		a.Value = c.Rest()
	case writeResponse, executeWriteResponse, handleValueConfirmation:
	default:
		c.FailAt("Attribute Opcode", 0, wire.ErrReserved)
	}
	if element > 0 {
		at := c.Off()
		if a.Value = c.Rest(); c.Ok() && (len(a.Value) == 0 || len(a.Value)%element != 0) {
			c.FailAt("Attribute Data", at, wire.ErrInvalid)
		}
	}
	if c.Len() > 0 {
		c.Fail("Parameters", wire.ErrTrailing)
	}
	return c.Err()
}

// An element is what a PDU says of one of several attributes.
type element struct {
	Handle uint16
	End    uint16 // of a group
	Value  []byte
}

// Attributes yields the elements of a list. The last may be cut by the MTU.
func (a *att) Attributes() iter.Seq[element] {
	return func(yield func(element) bool) {
		c := wire.NewCursor("att", a.Value)
		for c.Len() > 0 {
			var e element
			if a.Opcode != readMultipleVariableResponse {
				e.Handle = c.Uint16LE("Attribute Handle")
			}
			switch a.Opcode {
			case findInformationResponse:
				e.Value = c.Bytes("UUID", 2+14*(int(a.Size)-1))
			case findByTypeValueResponse:
				e.End = c.Uint16LE("Group End Handle")
			case readByTypeResponse:
				e.Value = c.Bytes("Attribute Value", int(a.Size)-2)
			case readByGroupTypeResponse:
				e.End = c.Uint16LE("End Group Handle")
				e.Value = c.Bytes("Attribute Value", int(a.Size)-4)
			case readMultipleVariableResponse, multipleHandleValueNotification:
				n := int(c.Uint16LE("Value Length"))
				e.Value = c.Bytes("Attribute Value", min(n, c.Len()))
			case readMultipleRequest, readMultipleVariableRequest:
			default:
				return
			}
			if !c.Ok() || !yield(e) {
				return
			}
		}
	}
}
