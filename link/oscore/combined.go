// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"encoding/binary"
	"errors"

	"github.com/myelin-health/myelin/proto/coap"
)

// ErrCombined is of a request with the EDHOC option that is not as RFC 9668
// section 3 says: [AppendError] answers it with 4.00.
var ErrCombined = errors.New("oscore: the EDHOC option, and no message_3 with a protected request behind it")

// ErrTooLarge is returned for what goes beyond a bound that was set.
var ErrTooLarge = errors.New("oscore: larger than the bound that was set for it")

// AppendCombined appends the EDHOC and OSCORE request (RFC 9668 section 3.2.1):
// request, which was protected with the keys that EDHOC gave, with message_3 in
// front of its ciphertext. The kid of request is C_R. Of a body in blocks only
// the first goes this way.
//
// [ErrTooLarge] is returned when the payload has more than limit bytes, which is
// MAX_UNFRAGMENTED_SIZE: message_3 then has to be sent alone (section 3.2.2).
func AppendCombined(dst, request, message3 []byte, limit int) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(request); err != nil || !m.Code.Request() {
		return dst, ErrMessage
	}
	value, ok := identify(&m)
	if _, again := m.Options.Get(coap.EDHOC); !ok || value.KID == nil || again {
		return dst, ErrMessage
	}
	if n, ok := byteString(message3); !ok || n != len(message3) {
		return dst, ErrMessage
	}
	if len(message3)+len(m.Payload) > limit {
		return dst, ErrTooLarge
	}
	m.Options = withOptions(m.Options, nil, coap.Option{Number: coap.EDHOC})
	m.Payload = append(append(make([]byte, 0, len(message3)+len(m.Payload)), message3...), m.Payload...)
	return m.Append(dst)
}

// Combined reports whether a request has the EDHOC option, and so is one for
// [SplitCombined] before it can be unprotected.
func Combined(msg []byte) bool {
	var m coap.Message
	if m.Parse(msg) != nil || !m.Code.Request() {
		return false
	}
	_, ok := m.Options.Get(coap.EDHOC)
	return ok
}

// SplitCombined takes an EDHOC and OSCORE request apart (RFC 9668 section 3.3.1,
// steps 1 to 3, 6 and 7): it appends the protected request to dst, and returns
// EDHOC's message_3 and the connection identifier C_R, which alias msg. A request
// that a proxy cut is put together before ([Assembler]).
//
// What follows is the caller's: message_3 is processed in the session of C_R,
// when that is not to send message_4, and the request unprotected with the keys
// that come of it.
func SplitCombined(dst, msg []byte) (request, message3, cR []byte, err error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || !m.Code.Request() {
		return dst, nil, nil, ErrMessage
	}
	count := 0
	for o := range m.Options.All() {
		switch o.Number {
		case coap.EDHOC: // a value is ignored (section 3.1)
			count++
		case coap.Block1:
			if b, err := coap.ParseBlock(o.Value); err != nil || b.More || b.Num > 0 {
				return dst, nil, nil, ErrCombined
			}
		}
	}
	value, ok := identify(&m)
	n, first := byteString(m.Payload)
	if count != 1 || !ok || value.KID == nil || !first || n == len(m.Payload) {
		return dst, nil, nil, ErrCombined
	}
	message3 = m.Payload[:n:n]
	m.Options = withOptions(m.Options, func(n coap.OptionNumber) bool { return n == coap.EDHOC })
	m.Payload = m.Payload[n:]
	if request, err = m.Append(dst); err != nil {
		return dst, nil, nil, ErrMessage
	}
	return request, message3, value.KID, nil
}

// byteString returns how long the CBOR byte string is that b begins with: of
// deterministic encoding, and no longer than b.
func byteString(b []byte) (int, bool) {
	if len(b) == 0 || b[0]>>5 != 2 {
		return 0, false
	}
	n, head := int(b[0]&0x1f), 1
	switch {
	case n < 24:
	case n == 24 && len(b) > 1:
		n, head = int(b[1]), 2
	case n == 25 && len(b) > 2:
		n, head = int(binary.BigEndian.Uint16(b[1:])), 3
	default:
		return 0, false
	}
	if head == 2 && n < 24 || head == 3 && n < 256 || n > len(b)-head {
		return 0, false
	}
	return head + n, true
}

// withOptions are the options that drop does not name, and those to add, each
// behind those of its number.
func withOptions(all coap.Options, drop func(coap.OptionNumber) bool, add ...coap.Option) coap.Options {
	out := make(coap.Options, 0, len(all)+16*len(add))
	last := coap.OptionNumber(0)
	put := func(o coap.Option) {
		out = coap.AppendOption(out, last, o)
		last = o.Number
	}
	for o := range all.All() {
		for len(add) > 0 && add[0].Number < o.Number {
			put(add[0])
			add = add[1:]
		}
		if drop == nil || !drop(o.Number) {
			put(o)
		}
	}
	for _, o := range add {
		put(o)
	}
	return out
}
