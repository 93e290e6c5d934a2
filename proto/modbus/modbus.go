// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package modbus reads Modbus over TCP: the MBAP header and function codes of
// "MODBUS Messaging on TCP/IP Implementation Guide V1.0b" (sections 3.1 and
// 4.4) and "MODBUS Application Protocol Specification V1.1b3" (section 6), the
// shape of each function's request and response, exceptions, and what a device
// says of itself (section 6.21, Read Device Identification).
//
// It leaves out serial lines and what the values of registers and coils mean,
// which only the maker of a device knows.
//
// This API is stable.
package modbus

import (
	"encoding/binary"
	"iter"

	"github.com/myelin-health/myelin/wire"
)

const name = "modbus"

// A Function is a function code (V1.1b3 section 5.1), without the bit that marks
// an exception.
type Function uint8

// The public function codes.
const (
	ReadCoils                  Function = 1
	ReadDiscreteInputs         Function = 2
	ReadHoldingRegisters       Function = 3
	ReadInputRegisters         Function = 4
	WriteSingleCoil            Function = 5
	WriteSingleRegister        Function = 6
	ReadExceptionStatus        Function = 7
	Diagnostics                Function = 8
	GetCommEventCounter        Function = 11
	GetCommEventLog            Function = 12
	WriteMultipleCoils         Function = 15
	WriteMultipleRegisters     Function = 16
	ReportServerID             Function = 17
	ReadFileRecord             Function = 20
	WriteFileRecord            Function = 21
	MaskWriteRegister          Function = 22
	ReadWriteMultipleRegisters Function = 23
	ReadFIFOQueue              Function = 24
	EncapsulatedInterface      Function = 43
)

// exception is the bit that a server sets in the function code of a refusal
// (V1.1b3 section 4.1).
const exception = 0x80

// Sizes of the MBAP header and the bounds of its Length (guide section 3.1.3:
// unit identifier and a PDU of at most 253 bytes, of which one is the function).
const (
	headerBytes = 7
	minLength   = 2
	maxLength   = 254
)

// An ADU is one request or response.
type ADU struct {
	TransactionID uint16
	UnitID        uint8
	Function      Function
	Exception     bool   // the server refused; Data is the exception code
	Data          []byte // what follows the function code, at most 252 bytes
}

// Parse reads the ADU at the front of b and says how many bytes it took.
// a.Data aliases b. When bytes are missing the error wraps [wire.ErrTruncated].
func Parse(b []byte) (a ADU, n int, err error) {
	c := wire.NewCursor(name, b)
	a.TransactionID = c.Uint16("Transaction Identifier")
	if c.Uint16("Protocol Identifier") != 0 {
		c.FailAt("Protocol Identifier", 2, wire.ErrReserved)
	}
	length := int(c.Uint16("Length"))
	if c.Ok() && length < minLength {
		c.FailAt("Length", 4, wire.ErrInvalid)
	}
	if length > maxLength {
		c.FailAt("Length", 4, wire.ErrTooLong)
	}
	a.UnitID = c.Uint8("Unit Identifier")
	f := c.Uint8("Function code")
	if f&^exception == 0 && c.Ok() {
		c.FailAt("Function code", headerBytes, wire.ErrInvalid) // V1.1b3 section 4.1: 0 is not valid
	}
	a.Function, a.Exception = Function(f&^exception), f&exception != 0
	a.Data = c.Bytes("Data", length-minLength)
	if !c.Ok() {
		return a, 0, c.Err()
	}
	return a, c.Off(), nil
}

// A form is the shape of a function's data: fixed bytes, then as many as a
// count among them says, or any.
type form struct {
	fixed int
	more  more
	at    int // offset of the count
}

type more uint8

const (
	nothing more = iota
	byte1        // as many as the byte at the offset says
	byte2        // as many as the two bytes there say
	anything
)

func (f form) fits(data []byte) bool {
	if len(data) < f.fixed {
		return false
	}
	rest := len(data) - f.fixed
	switch f.more {
	case byte1:
		return rest == int(data[f.at])
	case byte2:
		return rest == int(binary.BigEndian.Uint16(data[f.at:]))
	case anything:
		return true
	}
	return rest == 0
}

type shape struct{ request, response form }

// shapes are those of V1.1b3 sections 6.1 to 6.21. A function that it leaves
// out has no public meaning.
var shapes = [...]shape{
	ReadCoils:                  {form{fixed: 4}, form{1, byte1, 0}},
	ReadDiscreteInputs:         {form{fixed: 4}, form{1, byte1, 0}},
	ReadHoldingRegisters:       {form{fixed: 4}, form{1, byte1, 0}},
	ReadInputRegisters:         {form{fixed: 4}, form{1, byte1, 0}},
	WriteSingleCoil:            {form{fixed: 4}, form{fixed: 4}},
	WriteSingleRegister:        {form{fixed: 4}, form{fixed: 4}},
	ReadExceptionStatus:        {form{}, form{fixed: 1}},
	Diagnostics:                {form{fixed: 2, more: anything}, form{fixed: 2, more: anything}},
	GetCommEventCounter:        {form{}, form{fixed: 4}},
	GetCommEventLog:            {form{}, form{1, byte1, 0}},
	WriteMultipleCoils:         {form{5, byte1, 4}, form{fixed: 4}},
	WriteMultipleRegisters:     {form{5, byte1, 4}, form{fixed: 4}},
	ReportServerID:             {form{}, form{1, byte1, 0}},
	ReadFileRecord:             {form{1, byte1, 0}, form{1, byte1, 0}},
	WriteFileRecord:            {form{1, byte1, 0}, form{1, byte1, 0}},
	MaskWriteRegister:          {form{fixed: 6}, form{fixed: 6}},
	ReadWriteMultipleRegisters: {form{9, byte1, 8}, form{1, byte1, 0}},
	ReadFIFOQueue:              {form{fixed: 2}, form{2, byte2, 0}},
	EncapsulatedInterface:      {form{fixed: 1, more: anything}, form{fixed: 1, more: anything}},
}

// Public reports whether f has a meaning in the specification.
func (f Function) Public() bool { return int(f) < len(shapes) && shapes[f] != shape{} }

// maxExceptionCode is the largest exception code (V1.1b3 section 7).
const maxExceptionCode = 11

// FitsRequest reports whether a's data has the shape of a request. Functions
// that are not public fit.
func (a *ADU) FitsRequest() bool {
	return !a.Exception && (!a.Function.Public() || shapes[a.Function].request.fits(a.Data))
}

// FitsResponse reports whether a's data has the shape of a response, or of an
// exception.
func (a *ADU) FitsResponse() bool {
	if a.Exception {
		return len(a.Data) == 1 && 0 < a.Data[0] && a.Data[0] <= maxExceptionCode
	}
	return !a.Function.Public() || shapes[a.Function].response.fits(a.Data)
}

// Check returns an error when a's data has the shape of neither a request nor
// a response: the header does not say which of them a is.
func (a *ADU) Check() error {
	if a.FitsRequest() || a.FitsResponse() {
		return nil
	}
	return &wire.SyntaxError{Proto: name, Field: "Data", Off: headerBytes + 1, Err: wire.ErrInvalid}
}

// meiDeviceID is the MODBUS Encapsulated Interface of Read Device
// Identification (V1.1b3 section 6.21).
const meiDeviceID = 14

// An ObjectID names what a device says of itself (V1.1b3 section 6.21).
type ObjectID uint8

// The objects that have names.
const (
	VendorName          ObjectID = 0
	ProductCode         ObjectID = 1
	MajorMinorRevision  ObjectID = 2
	VendorURL           ObjectID = 3
	ProductName         ObjectID = 4
	ModelName           ObjectID = 5
	UserApplicationName ObjectID = 6
)

// An Object is one of the things that a device says of itself.
type Object struct {
	ID    ObjectID
	Value []byte
}

// A DeviceID is a response to Read Device Identification.
type DeviceID struct {
	ConformityLevel uint8
	MoreFollows     bool
	NextObjectID    ObjectID
	objects         []byte
}

// IsDeviceID reports whether a is a response that [DeviceID.Parse] reads.
func (a *ADU) IsDeviceID() bool {
	// A request has three bytes, a response at least six.
	return a.Function == EncapsulatedInterface && !a.Exception && len(a.Data) > 3 && a.Data[0] == meiDeviceID
}

// Parse reads the data of a response. Its objects alias it.
func (d *DeviceID) Parse(data []byte) error {
	c := wire.NewCursor(name, data)
	*d = DeviceID{}
	if c.Uint8("MEI Type") != meiDeviceID && c.Ok() {
		c.FailAt("MEI Type", 0, wire.ErrInvalid)
	}
	c.Uint8("Read Device ID code")
	d.ConformityLevel = c.Uint8("Conformity level")
	more := c.Uint8("More Follows")
	if more != 0 && more != 0xff {
		c.FailAt("More Follows", 3, wire.ErrInvalid)
	}
	d.MoreFollows = more != 0
	d.NextObjectID = ObjectID(c.Uint8("Next Object Id"))
	n := c.Uint8("Number Of Objects") // at most 255 turns
	start := c.Off()
	for range n {
		c.Uint8("Object Id")
		c.Skip("Object Value", int(c.Uint8("Object Length")))
	}
	if c.Len() > 0 {
		c.Fail("Number Of Objects", wire.ErrTrailing)
	}
	if c.Ok() {
		d.objects = data[start:]
	}
	return c.Err()
}

// Objects yields what the device says of itself, in its order.
func (d *DeviceID) Objects() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for b := d.objects; len(b) >= 2; {
			end := 2 + int(b[1])
			if end > len(b) || !yield(Object{ObjectID(b[0]), b[2:end:end]}) {
				return
			}
			b = b[end:]
		}
	}
}

// maxRecognised is how many ADUs are looked at to recognise the protocol.
const maxRecognised = 3

// Recognise says how well b, the first bytes that one side sent, fits Modbus
// over TCP. An ADU that ends where its Length says and has the shape of a public
// function's request or response is sure.
func Recognise(b []byte) wire.Match {
	for n := range maxRecognised {
		if len(b) == 0 {
			if n > 0 {
				return wire.SureMatch
			}
			return wire.NeedMore
		}
		if len(b) < headerBytes+1 {
			return short(b, n)
		}
		length := int(binary.BigEndian.Uint16(b[4:]))
		if b[2] != 0 || b[3] != 0 || length < minLength || length > maxLength {
			return wire.NoMatch
		}
		f := b[headerBytes]
		end := headerBytes - 1 + length
		if end > len(b) {
			if n > 0 && Function(f&^exception).Public() {
				return wire.SureMatch
			}
			return short(b[:headerBytes-1], n)
		}
		a := ADU{Function: Function(f &^ exception), Exception: f&exception != 0, Data: b[headerBytes+1 : end]}
		switch {
		case f&^exception == 0 || !a.FitsRequest() && !a.FitsResponse():
			return wire.NoMatch
		case !a.Function.Public():
			return wire.WeakMatch
		}
		b = b[end:]
	}
	return wire.SureMatch
}

// short judges less than an ADU after n whole ones: the Protocol Identifier
// and the upper byte of Length are zero.
func short(b []byte, n int) wire.Match {
	for i := 2; i < len(b) && i < 5; i++ {
		if b[i] != 0 {
			return wire.NoMatch
		}
	}
	switch {
	case n > 0:
		return wire.SureMatch
	case len(b) < 3: // anything begins so
		return wire.NoMatch
	}
	return wire.NeedMore
}
