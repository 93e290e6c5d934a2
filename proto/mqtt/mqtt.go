// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package mqtt reads control packets of MQTT 3.1, 3.1.1 and 5.0 (OASIS
// Standards of 29 October 2014 and 7 March 2019; sections are those of 5.0
// unless another version is named): the fixed header of every packet
// ([ParseHeader]), and what CONNECT, CONNACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE and
// the acknowledgements say, properties included.
//
// It leaves out sessions, the rules about which packet may follow which, and
// MQTT over WebSockets. Client identifiers, user names, passwords, topics and
// payloads alias the input: they are for the caller to look at, not to keep.
//
// This API is stable.
package mqtt

import (
	"iter"
	"unicode/utf8"

	"github.com/myelin-health/myelin/wire"
)

const name = "mqtt"

// A Version is a Protocol Version (section 3.1.2.2). Packets after CONNECT do
// not say it; the zero Version means that it is not known.
type Version uint8

// The versions.
const (
	V31  Version = 3
	V311 Version = 4
	V5   Version = 5
)

func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5"
	}
	return ""
}

// A Type is a control packet type (section 2.1.2).
type Type uint8

// The types.
const (
	reserved Type = iota
	CONNECT
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH // version 5
)

// flags are those that the fixed header of a type has to have (section 2.1.3);
// PUBLISH has flags of its own. min and max bound the Remaining Length, max
// where the version is not 5.
var packets = [16]struct {
	flags    uint8
	min, max int
}{
	CONNECT:     {0, 12, MaxRemainingLength}, // protocol name "MQTT", version, flags, keep alive, empty client identifier
	CONNACK:     {0, 2, 2},
	PUBLISH:     {0, 2, MaxRemainingLength},
	PUBACK:      {0, 2, 2},
	PUBREC:      {0, 2, 2},
	PUBREL:      {2, 2, 2},
	PUBCOMP:     {0, 2, 2},
	SUBSCRIBE:   {2, 5, MaxRemainingLength}, // one filter, which may not be empty, but whose bytes may be elsewhere
	SUBACK:      {0, 3, MaxRemainingLength},
	UNSUBSCRIBE: {2, 4, MaxRemainingLength},
	UNSUBACK:    {0, 2, MaxRemainingLength},
	PINGREQ:     {0, 0, 0},
	PINGRESP:    {0, 0, 0},
	DISCONNECT:  {0, 0, 0},
	AUTH:        {0, 0, MaxRemainingLength},
}

// MaxRemainingLength is what four bytes of seven bits hold (section 1.5.5).
const MaxRemainingLength = 1<<28 - 1

// A Header is the fixed header of a control packet.
type Header struct {
	Type   Type
	Flags  uint8 // the low four bits of the first byte
	Length int   // Remaining Length: bytes that follow the header
}

// QoS returns the quality of service of a PUBLISH.
func (h Header) QoS() uint8 { return h.Flags >> 1 & 3 }

// ParseHeader reads the fixed header at the front of b and says how many bytes
// it took, at most five. h.Length bytes follow it, which need not be there yet.
func ParseHeader(b []byte) (h Header, n int, err error) {
	c := wire.NewCursor(name, b)
	h = header(&c)
	if !c.Ok() {
		return h, 0, c.Err()
	}
	return h, c.Off(), nil
}

func header(c *wire.Cursor) Header {
	first := c.Uint8("Control Packet type")
	h := Header{Type: Type(first >> 4), Flags: first & 0x0f}
	p := packets[h.Type]
	switch {
	case !c.Ok():
	case h.Type == reserved:
		c.FailAt("Control Packet type", 0, wire.ErrReserved)
	case h.Type != PUBLISH && h.Flags != p.flags && h.Flags&^dup != p.flags:
		c.FailAt("Flags", 0, wire.ErrReserved) // section 2.1.3: a malformed packet
	case h.Type == PUBLISH && h.QoS() == 3:
		c.FailAt("QoS level", 0, wire.ErrInvalid) // section 3.3.1.2
	}
	h.Length = int(varint(c, "Remaining Length"))
	if c.Ok() && h.Length < p.min {
		c.FailAt("Remaining Length", 1, wire.ErrInvalid)
	}
	return h
}

// dup is the flag of a repeated packet. MQTT 3.1 (section 2.1) lets it stand in
// PUBREL, SUBSCRIBE and UNSUBSCRIBE too; version 5 reserves it there.
const dup = 1 << 3

// varint reads a Variable Byte Integer (section 1.5.5).
func varint(c *wire.Cursor, field string) uint32 {
	start, v := c.Off(), uint32(0)
	for shift := 0; shift < 28; shift += 7 { // at most four bytes
		x := c.Uint8(field)
		v |= uint32(x&0x7f) << shift
		if x&0x80 == 0 {
			if x == 0 && shift > 0 {
				c.FailAt(field, start, wire.ErrInvalid) // section 1.5.5: the fewest bytes
			}
			return v
		}
	}
	c.FailAt(field, start, wire.ErrTooLong)
	return 0
}

// binary reads Binary Data (section 1.5.6).
func binary(c *wire.Cursor, field string) []byte { return c.Bytes(field, int(c.Uint16(field))) }

// text reads a UTF-8 Encoded String (section 1.5.4), which has neither
// surrogates nor U+0000.
func text(c *wire.Cursor, field string) []byte {
	start := c.Off()
	s := binary(c, field)
	if !valid(s) {
		c.FailAt(field, start, wire.ErrInvalid)
	}
	return s
}

func valid(s []byte) bool {
	for _, x := range s {
		if x == 0 {
			return false
		}
	}
	return utf8.Valid(s)
}

// A Connect is the body of a CONNECT packet (section 3.1).
type Connect struct {
	Version    Version
	Bridge     bool // the version's top bit, which brokers that link to each other set
	CleanStart bool // Clean Session before version 5
	KeepAlive  uint16
	Properties Properties // version 5
	ClientID   []byte

	Will           bool
	WillQoS        uint8
	WillRetain     bool
	WillProperties Properties // version 5
	WillTopic      []byte
	WillPayload    []byte

	HasUserName bool
	UserName    []byte
	HasPassword bool
	Password    []byte
}

// bridge is not in the standard: brokers since 2010 mark links to their like with it.
const bridge = 0x80

// Parse reads the bytes after the fixed header. The slices of m alias b. On an
// error m holds what was read before it.
func (m *Connect) Parse(b []byte) error {
	c := wire.NewCursor(name, b)
	*m = Connect{}
	protocol := text(&c, "Protocol Name")
	level := c.Uint8("Protocol Version")
	m.Version, m.Bridge = Version(level&^bridge), level&bridge != 0
	switch string(protocol) {
	case "MQTT":
		if m.Version != V311 && m.Version != V5 && c.Ok() {
			c.FailAt("Protocol Version", len(protocol)+2, wire.ErrReserved)
		}
	case "MQIsdp": // MQTT 3.1 section 3.1
		if m.Version != V31 && c.Ok() {
			c.FailAt("Protocol Version", len(protocol)+2, wire.ErrReserved)
		}
	default:
		c.FailAt("Protocol Name", 0, wire.ErrInvalid)
	}
	at := c.Off()
	flags := c.Uint8("Connect Flags") // section 3.1.2.3
	m.CleanStart = flags&(1<<1) != 0
	m.Will = flags&(1<<2) != 0
	m.WillQoS = flags >> 3 & 3
	m.WillRetain = flags&(1<<5) != 0
	m.HasPassword = flags&(1<<6) != 0
	m.HasUserName = flags&(1<<7) != 0
	switch {
	case flags&1 != 0 && m.Version != V31: // 3.1 says nothing of the bit
		c.FailAt("Connect Flags", at, wire.ErrReserved)
	case m.WillQoS == 3 || !m.Will && (m.WillQoS != 0 || m.WillRetain): // section 3.1.2.6
		c.FailAt("Will QoS", at, wire.ErrInvalid)
	case m.Version == V311 && m.HasPassword && !m.HasUserName: // 3.1.1 section 3.1.2.9
		c.FailAt("Password Flag", at, wire.ErrInvalid)
	}
	m.KeepAlive = c.Uint16("Keep Alive")
	if m.Version == V5 {
		m.Properties = properties(&c, CONNECT)
	}
	m.ClientID = text(&c, "Client Identifier")
	if m.Will {
		if m.Version == V5 {
			m.WillProperties = properties(&c, reserved)
		}
		m.WillTopic = text(&c, "Will Topic")
		m.WillPayload = binary(&c, "Will Payload")
	}
	// MQTT 3.1 section 3.1: a flag may be set and its field be absent.
	if m.HasUserName && (m.Version != V31 || c.Len() > 0) {
		m.UserName = text(&c, "User Name")
	}
	if m.HasPassword && (m.Version != V31 || c.Len() > 0) {
		m.Password = binary(&c, "Password")
	}
	end(&c)
	return c.Err()
}

// end fails when bytes are left.
func end(c *wire.Cursor) {
	if c.Len() > 0 {
		c.Fail("Remaining Length", wire.ErrTrailing)
	}
}

// A ConnAck is the body of a CONNACK packet (section 3.2).
type ConnAck struct {
	SessionPresent bool
	Code           uint8 // Reason Code, before version 5 Return Code; 0 is accepted
	Properties     Properties
}

// Parse reads the bytes after the fixed header.
func (m *ConnAck) Parse(b []byte, v Version) error {
	c := wire.NewCursor(name, b)
	*m = ConnAck{}
	flags := c.Uint8("Connect Acknowledge Flags")
	if flags > 1 && v != V31 {
		c.FailAt("Connect Acknowledge Flags", 0, wire.ErrReserved)
	}
	m.SessionPresent = flags&1 != 0
	m.Code = c.Uint8("Connect Reason Code")
	if v == V5 {
		m.Properties = properties(&c, CONNACK)
	}
	if v != 0 {
		end(&c)
	}
	return c.Err()
}

// A Publish is the body of a PUBLISH packet (section 3.3).
type Publish struct {
	Topic      []byte
	PacketID   uint16 // valid iff the header's QoS is 1 or 2
	Properties Properties
	Payload    []byte
}

// Parse reads the bytes after the fixed header h. b may end anywhere in the
// payload; m.Payload is then what is there, so that a large one need not be kept.
// When b ends before it the error wraps [wire.ErrTruncated].
func (m *Publish) Parse(h Header, b []byte, v Version) error {
	c := wire.NewCursor(name, b)
	m.parse(h, &c, v)
	return c.Err()
}

func (m *Publish) parse(h Header, c *wire.Cursor, v Version) {
	*m = Publish{}
	m.Topic = text(c, "Topic Name")
	if len(m.Topic) == 0 && v != V5 {
		c.FailAt("Topic Name", 0, wire.ErrInvalid) // section 4.7.3; with version 5 an alias may stand for it
	}
	for _, x := range m.Topic {
		if x == '+' || x == '#' {
			c.FailAt("Topic Name", 0, wire.ErrInvalid) // section 3.3.2.1
		}
	}
	if h.QoS() > 0 {
		at := c.Off()
		m.PacketID = c.Uint16("Packet Identifier")
		if m.PacketID == 0 {
			c.FailAt("Packet Identifier", at, wire.ErrInvalid) // section 2.2.1
		}
	}
	if v == V5 {
		m.Properties = properties(c, PUBLISH)
	}
	m.Payload = c.Rest()
}

// A Subscribe is the body of a SUBSCRIBE or UNSUBSCRIBE packet (sections 3.8 and 3.10).
type Subscribe struct {
	PacketID   uint16
	Properties Properties
	filters    []byte
	options    int // bytes after each filter: 1, in UNSUBSCRIBE 0
}

// A Filter is one Topic Filter with its Subscription Options, which in an
// UNSUBSCRIBE are 0.
type Filter struct {
	Topic   []byte
	Options uint8
}

// Parse reads the bytes after the fixed header h.
func (m *Subscribe) Parse(h Header, b []byte, v Version) error {
	c := wire.NewCursor(name, b)
	*m = Subscribe{}
	if h.Type == SUBSCRIBE {
		m.options = 1
	}
	m.PacketID = c.Uint16("Packet Identifier")
	if m.PacketID == 0 {
		c.FailAt("Packet Identifier", 0, wire.ErrInvalid)
	}
	if v == V5 {
		m.Properties = properties(&c, h.Type)
	}
	start := c.Off()
	if c.Ok() && c.Len() == 0 {
		c.Fail("Topic Filter", wire.ErrTruncated) // section 3.8.3: at least one
	}
	for c.Len() > 0 { // a filter has at least two bytes of length
		at := c.Off()
		if len(text(&c, "Topic Filter")) == 0 {
			c.FailAt("Topic Filter", at, wire.ErrInvalid) // section 4.7.3
		}
		for _, o := range c.Bytes("Subscription Options", m.options) {
			if o&3 == 3 || v == V311 && o > 2 || v == V5 && (o>>6 != 0 || o>>4&3 == 3) {
				c.FailAt("Subscription Options", c.Off()-1, wire.ErrReserved) // section 3.8.3.1
			}
		}
	}
	if c.Ok() {
		m.filters = b[start:]
	}
	return c.Err()
}

// Filters yields the topic filters. They alias what was parsed.
func (m *Subscribe) Filters() iter.Seq[Filter] {
	return func(yield func(Filter) bool) {
		c := wire.NewCursor(name, m.filters)
		for c.Len() > 0 {
			f := Filter{Topic: binary(&c, "Topic Filter")}
			for _, o := range c.Bytes("Subscription Options", m.options) {
				f.Options = o
			}
			if !c.Ok() || !yield(f) {
				return
			}
		}
	}
}

// An Ack is the body of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK,
// DISCONNECT or AUTH: packets that say how something went.
type Ack struct {
	PacketID   uint16 // not in DISCONNECT and AUTH
	Properties Properties
	Codes      []byte // Reason Codes; none means success
}

// Parse reads the bytes after the fixed header h.
func (m *Ack) Parse(h Header, b []byte, v Version) error {
	c := wire.NewCursor(name, b)
	*m = Ack{}
	if h.Type != DISCONNECT && h.Type != AUTH {
		m.PacketID = c.Uint16("Packet Identifier")
		if m.PacketID == 0 {
			c.FailAt("Packet Identifier", 0, wire.ErrInvalid)
		}
	}
	switch several := h.Type == SUBACK || h.Type == UNSUBACK; {
	case v == V5 && several:
		m.Properties = properties(&c, h.Type)
		m.Codes = c.Rest()
	case several || v == 0:
		m.Codes = c.Rest()
	case v == V5 && c.Len() > 0: // section 3.4.2.1: both may be left out
		m.Codes = c.Bytes("Reason Code", 1)
		if c.Len() > 0 {
			m.Properties = properties(&c, h.Type)
		}
		end(&c)
	default:
		end(&c)
	}
	return c.Err()
}
