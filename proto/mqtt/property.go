// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// A PropertyID names a property of version 5 (section 2.2.2.2).
type PropertyID uint8

// Properties that matter to somebody who watches.
const (
	SessionExpiryInterval PropertyID = 0x11
	AssignedClientID      PropertyID = 0x12
	AuthenticationMethod  PropertyID = 0x15
	AuthenticationData    PropertyID = 0x16
	ContentType           PropertyID = 0x03
	TopicAlias            PropertyID = 0x23
	UserProperty          PropertyID = 0x26
)

// A Property is one property. Which of its fields is valid follows from its
// type: a number, or bytes; a User Property has two strings.
type Property struct {
	ID    PropertyID
	Int   uint32
	Name  []byte // of a User Property
	Value []byte
}

// Properties are the encoded properties of a packet.
type Properties []byte

// The types of property (section 1.5).
type propertyType uint8

const (
	undefined propertyType = iota
	byteInteger
	twoByteInteger
	fourByteInteger
	variableByteInteger
	binaryData
	utf8String
	utf8StringPair
)

// Where a property may stand: a bit for each packet type. Properties of the
// Will have the bit of the type that does not exist.
const (
	inWill     = 1 << reserved
	inPublish  = 1 << PUBLISH
	inConnect  = 1 << CONNECT
	inConnAck  = 1 << CONNACK
	inAuth     = 1 << AUTH
	inEnd      = 1 << DISCONNECT
	inResponse = inConnAck | 1<<PUBACK | 1<<PUBREC | 1<<PUBREL | 1<<PUBCOMP | 1<<SUBACK | 1<<UNSUBACK | inEnd | inAuth
	inAll      = inResponse | inConnect | inPublish | inWill | 1<<SUBSCRIBE | 1<<UNSUBSCRIBE
)

// propertyCount is one above the largest identifier, so that the properties
// seen fit into the bits of a word.
const propertyCount = 0x2b

// propertyTable is table 2-4.
var propertyTable = [propertyCount]struct {
	typ propertyType
	in  uint16
}{
	0x01: {byteInteger, inPublish | inWill},                // Payload Format Indicator
	0x02: {fourByteInteger, inPublish | inWill},            // Message Expiry Interval
	0x03: {utf8String, inPublish | inWill},                 // Content Type
	0x08: {utf8String, inPublish | inWill},                 // Response Topic
	0x09: {binaryData, inPublish | inWill},                 // Correlation Data
	0x0b: {variableByteInteger, inPublish | 1<<SUBSCRIBE},  // Subscription Identifier
	0x11: {fourByteInteger, inConnect | inConnAck | inEnd}, // Session Expiry Interval
	0x12: {utf8String, inConnAck},                          // Assigned Client Identifier
	0x13: {twoByteInteger, inConnAck},                      // Server Keep Alive
	0x15: {utf8String, inConnect | inConnAck | inAuth},     // Authentication Method
	0x16: {binaryData, inConnect | inConnAck | inAuth},     // Authentication Data
	0x17: {byteInteger, inConnect},                         // Request Problem Information
	0x18: {fourByteInteger, inWill},                        // Will Delay Interval
	0x19: {byteInteger, inConnect},                         // Request Response Information
	0x1a: {utf8String, inConnAck},                          // Response Information
	0x1c: {utf8String, inConnAck | inEnd},                  // Server Reference
	0x1f: {utf8String, inResponse},                         // Reason String
	0x21: {twoByteInteger, inConnect | inConnAck},          // Receive Maximum
	0x22: {twoByteInteger, inConnect | inConnAck},          // Topic Alias Maximum
	0x23: {twoByteInteger, inPublish},                      // Topic Alias
	0x24: {byteInteger, inConnAck},                         // Maximum QoS
	0x25: {byteInteger, inConnAck},                         // Retain Available
	0x26: {utf8StringPair, inAll},                          // User Property
	0x27: {fourByteInteger, inConnect | inConnAck},         // Maximum Packet Size
	0x28: {byteInteger, inConnAck},                         // Wildcard Subscription Available
	0x29: {byteInteger, inConnAck},                         // Subscription Identifiers Available
	0x2a: {byteInteger, inConnAck},                         // Shared Subscription Available
}

// repeatable are the properties that may stand several times (sections 3.1.2.11.8 and 3.3.2.3.8).
const repeatable = 1<<UserProperty | 1<<0x0b

// properties reads Property Length and the properties of a packet of type in,
// and checks each against the table.
func properties(c *wire.Cursor, in Type) Properties {
	n := varint(c, "Property Length")
	all := c.Sub("Properties", int(n))
	encoded := all.Peek(all.Len())
	seen := uint64(0)
	for all.Len() > 0 { // a property has at least its identifier
		at := all.Off()
		p := property(&all)
		bit := uint64(1) << p.ID // 0 once all has failed, and no harm
		switch {
		case !all.Ok():
		case propertyTable[p.ID].in>>in&1 == 0:
			all.FailAt("Property Identifier", at, wire.ErrInvalid)
		case seen&bit&^repeatable != 0:
			all.FailAt("Property Identifier", at, wire.ErrInvalid) // section 2.2.2.2: included more than once
		}
		seen |= bit
	}
	if c.Join(&all); !c.Ok() {
		return nil
	}
	return encoded
}

func property(c *wire.Cursor) (p Property) {
	at := c.Off()
	id := varint(c, "Property Identifier")
	if id >= propertyCount || propertyTable[id].typ == undefined {
		c.FailAt("Property Identifier", at, wire.ErrReserved)
		return p
	}
	p.ID = PropertyID(id)
	switch propertyTable[id].typ {
	case byteInteger:
		p.Int = uint32(c.Uint8("Byte"))
	case twoByteInteger:
		p.Int = uint32(c.Uint16("Two Byte Integer"))
	case fourByteInteger:
		p.Int = c.Uint32("Four Byte Integer")
	case variableByteInteger:
		p.Int = varint(c, "Variable Byte Integer")
	case binaryData:
		p.Value = binary(c, "Binary Data")
	case utf8String:
		p.Value = text(c, "UTF-8 Encoded String")
	case utf8StringPair:
		p.Name = text(c, "UTF-8 String Pair")
		p.Value = text(c, "UTF-8 String Pair")
	}
	return p
}

// All yields the properties in their order. It ends where the encoding does
// not hold, which in the properties of a parsed packet is nowhere.
func (ps Properties) All() iter.Seq[Property] {
	return func(yield func(Property) bool) {
		c := wire.NewCursor(name, ps)
		for c.Len() > 0 {
			p := property(&c)
			if !c.Ok() || !yield(p) {
				return
			}
		}
	}
}
