// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

// A Code says what a message asks or answers: three bits of class and five of
// detail, written "2.05" (RFC 7252 section 3).
type Code uint8

// Codes of RFC 7252 section 12.1, RFC 8132, RFC 7959, RFC 8516, RFC 8768,
// RFC 9177 and RFC 8323 section 5.
const (
	Empty  Code = 0
	GET    Code = 1
	POST   Code = 2
	PUT    Code = 3
	DELETE Code = 4
	FETCH  Code = 5
	PATCH  Code = 6
	IPATCH Code = 7

	Created  Code = 2<<5 | 1
	Deleted  Code = 2<<5 | 2
	Valid    Code = 2<<5 | 3
	Changed  Code = 2<<5 | 4
	Content  Code = 2<<5 | 5
	Continue Code = 2<<5 | 31

	BadRequest               Code = 4 << 5
	Unauthorized             Code = 4<<5 | 1
	BadOption                Code = 4<<5 | 2
	Forbidden                Code = 4<<5 | 3
	NotFound                 Code = 4<<5 | 4
	MethodNotAllowed         Code = 4<<5 | 5
	NotAcceptable            Code = 4<<5 | 6
	RequestEntityIncomplete  Code = 4<<5 | 8
	Conflict                 Code = 4<<5 | 9
	PreconditionFailed       Code = 4<<5 | 12
	RequestEntityTooLarge    Code = 4<<5 | 13
	UnsupportedContentFormat Code = 4<<5 | 15
	UnprocessableEntity      Code = 4<<5 | 22
	TooManyRequests          Code = 4<<5 | 29
	InternalServerError      Code = 5 << 5
	NotImplemented           Code = 5<<5 | 1
	BadGateway               Code = 5<<5 | 2
	ServiceUnavailable       Code = 5<<5 | 3
	GatewayTimeout           Code = 5<<5 | 4
	ProxyingNotSupported     Code = 5<<5 | 5
	HopLimitReached          Code = 5<<5 | 8

	CSM     Code = 7<<5 | 1 // Capabilities and Settings, the first message on a TCP connection
	Ping    Code = 7<<5 | 2
	Pong    Code = 7<<5 | 3
	Release Code = 7<<5 | 4
	Abort   Code = 7<<5 | 5
)

// registered has, for each class, a bit for each detail that has a meaning.
var registered = [8]uint32{
	0: 1<<8 - 1,
	2: 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<31,
	4: 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<8 | 1<<9 | 1<<12 | 1<<13 | 1<<15 | 1<<22 | 1<<29,
	5: 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8,
	7: 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5,
}

// Class returns the three upper bits: 0 a request, 2 success, 4 and 5 errors, 7 signalling.
func (c Code) Class() uint8 { return uint8(c) >> 5 }

// Detail returns the five lower bits.
func (c Code) Detail() uint8 { return uint8(c) & 0x1f }

// Request reports whether c is a method.
func (c Code) Request() bool { return c != Empty && c.Class() == 0 }

// Registered reports whether c has a meaning in one of the documents that this
// package follows.
func (c Code) Registered() bool { return registered[c.Class()]>>c.Detail()&1 == 1 }

// String returns c as the documents write it: "0.01", "2.05".
func (c Code) String() string {
	d := c.Detail()
	return string([]byte{'0' + c.Class(), '.', '0' + d/10, '0' + d%10})
}

// fits reports whether a datagram of type t may carry c: RFC 7252 section 4.2
// sets classes 1, 6 and 7 aside, and table 1 of section 4.3 gives the rest.
func (c Code) fits(t Type) bool {
	switch c.Class() {
	case 0:
		if c == Empty {
			return t != NonConfirmable
		}
		return t == Confirmable || t == NonConfirmable
	case 1, 6, 7:
		return false
	default:
		return t != Reset
	}
}
