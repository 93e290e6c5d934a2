// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package bacnet reads BACnet/IP as ANSI/ASHRAE Standard 135-2020 has it: the
// BACnet Virtual Link Control of a datagram (annex J), the network layer
// (clause 6), the header of an APDU (clause 20.1), and of the services what
// tells one device from another: I-Am (clause 16.10) and the answers to
// ReadProperty and ReadPropertyMultiple (clauses 15.5 and 15.7).
//
// It leaves out BACnet/IPv6, BACnet/SC, MS/TP and reassembly of segments.
//
// This API is stable.
package bacnet

import "github.com/myelin-health/myelin/wire"

const name = "bacnet"

// bvll is the first octet of every BACnet/IP datagram (clause J.2).
const bvll = 0x81

// A Function is a BVLC function (clause J.2).
type Function uint8

// The functions.
const (
	Result                    Function = 0x00
	WriteBroadcastTable       Function = 0x01
	ReadBroadcastTable        Function = 0x02
	ReadBroadcastTableAck     Function = 0x03
	ForwardedNPDU             Function = 0x04
	RegisterForeignDevice     Function = 0x05
	ReadForeignDeviceTable    Function = 0x06
	ReadForeignDeviceTableAck Function = 0x07
	DeleteForeignDevice       Function = 0x08
	DistributeBroadcast       Function = 0x09
	OriginalUnicastNPDU       Function = 0x0a
	OriginalBroadcastNPDU     Function = 0x0b
	SecureBVLL                Function = 0x0c
	functionCount
)

// carries reports whether an NPDU follows the BVLC header.
func (f Function) carries() bool {
	return f == ForwardedNPDU || DistributeBroadcast <= f && f <= OriginalBroadcastNPDU
}

// A Packet is one datagram.
type Packet struct {
	Function Function
	Origin   []byte // six octets, of a ForwardedNPDU: who sent it first (clause J.2.5)

	// Of the network layer (clause 6.2); valid iff HasNPDU.
	HasNPDU        bool
	ExpectingReply bool
	DNET           uint16 // destination network, 0 when there is none
	DADR           []byte
	SNET           uint16 // network of the source behind a router, 0 when there is none
	SADR           []byte
	NetworkMessage bool  // of the network layer itself; then MessageType is valid and APDU is its data
	MessageType    uint8 // clause 6.2.4
	APDU           []byte
}

// Bits of the NPCI control octet (clause 6.2.2).
const (
	controlMessage     = 1 << 7
	controlDestination = 1 << 5
	controlSource      = 1 << 3
	controlReply       = 1 << 2
	controlReserved    = 1<<6 | 1<<4
)

// proprietary is the first message type behind which a vendor id follows (clause 6.2.4).
const proprietary = 0x80

// Parse reads b, a whole datagram. The slices of p alias it. On an error p
// holds what was read before it.
func (p *Packet) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	p.parse(&c)
	return c.Err()
}

func (p *Packet) parse(c *wire.Cursor) {
	*p = Packet{}
	if c.Uint8("BVLC Type") != bvll && c.Ok() {
		c.FailAt("BVLC Type", 0, wire.ErrInvalid)
	}
	p.Function = Function(c.Uint8("BVLC Function"))
	if p.Function >= functionCount {
		c.FailAt("BVLC Function", 1, wire.ErrReserved)
	}
	n := int(c.Uint16("BVLC Length")) // clause J.2: of the whole datagram
	switch {
	case !c.Ok():
	case n < c.Off() || n-c.Off() < c.Len():
		c.FailAt("BVLC Length", 2, wire.ErrTrailing)
	case n-c.Off() > c.Len():
		c.FailAt("BVLC Length", 2, wire.ErrTruncated)
	}
	if p.Function == ForwardedNPDU {
		p.Origin = c.Bytes("B/IP Address of Originating Device", 6)
	}
	if p.Function.carries() && c.Ok() {
		p.npdu(c)
	}
}

func (p *Packet) npdu(c *wire.Cursor) {
	at := c.Off()
	if c.Uint8("Version") != 1 && c.Ok() {
		c.FailAt("Version", at, wire.ErrReserved) // clause 6.2.1
	}
	control := c.Uint8("Control")
	if control&controlReserved != 0 {
		c.FailAt("Control", at+1, wire.ErrReserved)
	}
	p.ExpectingReply = control&controlReply != 0
	p.NetworkMessage = control&controlMessage != 0
	if control&controlDestination != 0 {
		p.DNET = c.Uint16("DNET")
		p.DADR = c.Bytes("DADR", int(c.Uint8("DLEN"))) // DLEN 0 is a broadcast
	}
	if control&controlSource != 0 {
		at := c.Off()
		p.SNET = c.Uint16("SNET")
		p.SADR = c.Bytes("SADR", int(c.Uint8("SLEN")))
		if c.Ok() && (p.SNET == 0 || p.SNET == 0xffff || len(p.SADR) == 0) {
			c.FailAt("SNET", at, wire.ErrInvalid) // clause 6.2.2: nobody's source is a broadcast
		}
	}
	if control&controlDestination != 0 {
		c.Uint8("Hop Count")
	}
	if p.NetworkMessage {
		p.MessageType = c.Uint8("Message Type")
		if p.MessageType >= proprietary {
			c.Uint16("Vendor ID")
		}
	}
	p.APDU = c.Rest()
	p.HasNPDU = c.Ok()
}

// A Type is the type of an APDU (clause 20.1.1).
type Type uint8

// The types.
const (
	ConfirmedRequest Type = iota
	UnconfirmedRequest
	SimpleACK
	ComplexACK
	SegmentACK
	Error
	Reject
	Abort
	typeCount
)

// A Service is a service choice; confirmed and unconfirmed services are
// numbered apart (clause 21).
type Service uint8

// Services that matter here.
const (
	IAm   Service = 0 // unconfirmed
	WhoIs Service = 8 // unconfirmed

	ReadProperty         Service = 12 // confirmed
	ReadPropertyMultiple Service = 14 // confirmed
	WriteProperty        Service = 15 // confirmed
)

// An APDU is one request or answer.
type APDU struct {
	Type      Type
	Segmented bool  // Data is a part of what was sent
	InvokeID  uint8 // not of an UnconfirmedRequest
	Service   Service
	Reason    uint8  // of a Reject or Abort
	Data      []byte // the service's parameters
}

// segmented is the SEG bit of a confirmed request or a complex answer.
const segmented = 1 << 3

// Parse reads the APDU of a [Packet] (clause 20.1). a.Data aliases b.
func (a *APDU) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	*a = APDU{}
	h := c.Uint8("PDU Type")
	a.Type = Type(h >> 4)
	if a.Type >= typeCount {
		c.FailAt("PDU Type", 0, wire.ErrReserved)
	}
	if a.Type == ConfirmedRequest {
		c.Uint8("Max Segments and Max APDU Length Accepted")
	}
	if a.Type != UnconfirmedRequest {
		a.InvokeID = c.Uint8("Invoke ID")
	}
	switch a.Type {
	case ConfirmedRequest, ComplexACK:
		if a.Segmented = h&segmented != 0; a.Segmented {
			c.Skip("Sequence Number and Window Size", 2)
		}
		a.Service = Service(c.Uint8("Service Choice"))
	case UnconfirmedRequest, SimpleACK, Error:
		a.Service = Service(c.Uint8("Service Choice"))
	case SegmentACK:
		c.Skip("Sequence Number and Window Size", 2)
	case Reject, Abort:
		a.Reason = c.Uint8("Reason")
	}
	a.Data = c.Rest()
	return c.Err()
}

// RecogniseDatagram says how well b, a whole datagram, fits BACnet/IP.
func RecogniseDatagram(b []byte) wire.Match {
	if len(b) < 4 || b[0] != bvll {
		return wire.NoMatch
	}
	var p Packet
	c := wire.NewCursor(name, b)
	switch p.parse(&c); {
	case !c.Ok():
		return wire.NoMatch
	case p.HasNPDU:
		return wire.SureMatch // five octets that agree, and headers that end inside
	}
	return wire.WeakMatch
}
