// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package mqtt

import "github.com/myelin-health/myelin/wire"

// Bounds of recognition.
const (
	recogniseBytes   = 256
	recognisePackets = 8
	surePackets      = 2 // packets of exact form in a row that chance does not make
	sureTopic        = 4 // printable bytes of topic that chance does not make
)

// Recognise says how well b, the first bytes that one side sent or bytes from
// the midst, fits MQTT. A CONNECT is sure; so is a PUBLISH, SUBSCRIBE or
// UNSUBSCRIBE whose topic is readable, or [surePackets] smaller ones in a row.
func Recognise(b []byte) wire.Match {
	b = b[:min(len(b), recogniseBytes)]
	c := wire.NewCursor(name, b)
	for n := range recognisePackets {
		c = wire.NewCursor(name, c.Rest()) // the header is checked from its own start
		if c.Len() == 0 {
			if n >= surePackets {
				return wire.SureMatch
			}
			return wire.NeedMore
		}
		h := header(&c)
		if !c.Ok() {
			if n == 0 && cut(b) {
				return wire.NeedMore
			}
			return weak(n)
		}
		switch h.Type {
		case CONNECT:
			return connect(&c)
		case PUBLISH, SUBSCRIBE, UNSUBSCRIBE:
			if h.Type != PUBLISH {
				c.Skip("Packet Identifier", 2)
			}
			return topic(&c, h)
		case AUTH:
			return weak(n)
		}
		// What is left has a length that is fixed or small in every version.
		if p := packets[h.Type]; h.Length > p.max || h.Length > recogniseBytes || h.Type == CONNACK && !accepted(c.Peek(2)) {
			return weak(n)
		}
		if c.Skip("body", h.Length); !c.Ok() {
			return weak(n)
		}
	}
	return wire.SureMatch
}

func weak(packets int) wire.Match {
	if packets >= surePackets {
		return wire.SureMatch
	}
	return wire.NoMatch
}

// cut reports whether b is a part of the fixed header of a CONNECT. Parts of
// other packets say nothing.
func cut(b []byte) bool {
	return b[0] == byte(CONNECT)<<4 && (len(b) == 1 || len(b) < 5 && b[len(b)-1]&0x80 != 0)
}

// accepted reports whether b are the flags and return code of a CONNACK before version 5.
func accepted(b []byte) bool { return b != nil && b[0] <= 1 && b[1] <= 5 }

func connect(c *wire.Cursor) wire.Match {
	b := c.Rest()
	for _, protocol := range [...]string{"\x00\x04MQTT", "\x00\x06MQIsdp"} {
		n := min(len(b), len(protocol))
		if string(b[:n]) == protocol[:n] {
			if n < len(protocol) {
				return wire.NeedMore
			}
			return wire.SureMatch
		}
	}
	return wire.NoMatch
}

// topic looks at the topic name or the first filter.
func topic(c *wire.Cursor, h Header) wire.Match {
	n := int(c.Uint16("Topic Name"))
	if n+2 > h.Length || n == 0 || !c.Ok() {
		return wire.NoMatch
	}
	s := c.Peek(min(n, c.Len()))
	for _, x := range s {
		if x < 0x20 || x >= 0x7f {
			return wire.NoMatch
		}
	}
	switch {
	case len(s) >= sureTopic:
		return wire.SureMatch
	case len(s) < n:
		return wire.NeedMore
	}
	return wire.WeakMatch
}
