// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/myelin-health/myelin/proto/coap"
)

// echoSize is eight bytes of time and eight of a MAC over it: a guess is worth
// 2^-64, and only until the time is over (RFC 9175 section 2.2.1 and appendix A).
const echoSize = 16

// An Echo makes and checks values of the Echo option (RFC 9175): whoever sends
// one back is there now. It keeps nothing of what it made, so that no flood of
// requests fills it. It may be used by several goroutines.
type Echo struct{ key [sha256.Size]byte }

// NewEcho returns an Echo with a secret of its own; random is 32 bytes that
// nobody has seen. A new one after each restart makes old values worthless.
func NewEcho(random [32]byte) *Echo { return &Echo{random} }

// Append appends a value for the peer of c at a time, which is the server's own
// and need not be that of a calendar.
func (e *Echo) Append(dst []byte, c *Context, now time.Duration) []byte {
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(now))
	return append(append(dst, t[:]...), e.mac(c, t[:])[:8]...)
}

// Fresh reports whether value was made for the peer of c not longer ago than
// within.
func (e *Echo) Fresh(value []byte, c *Context, now, within time.Duration) bool {
	if len(value) != echoSize || !hmac.Equal(value[8:], e.mac(c, value[:8])[:8]) {
		return false
	}
	age := now - time.Duration(binary.BigEndian.Uint64(value))
	return age >= 0 && age <= within
}

func (e *Echo) mac(c *Context, t []byte) []byte {
	h := hmac.New(sha256.New, e.key[:])
	h.Write(t)
	h.Write([]byte{byte(len(c.recipientID))})
	h.Write(c.recipientID)
	h.Write(c.commonIV[:]) // of these keys, not of others with the same id
	return h.Sum(nil)
}

// AppendChallenge appends the protected answer 4.01 with an Echo value to a
// request of which it has to be known that its sender is there now: it came
// with [ErrUnproven], or asks for a change of therapy. request is the message as
// it came, x its exchange.
func (c *Context) AppendChallenge(dst, request, value []byte, x *Exchange) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(request); err != nil || !m.Code.Request() {
		return dst, ErrMessage
	}
	answer := answerTo(&m, coap.Unauthorized)
	answer.Options = coap.AppendOption(nil, 0, coap.Option{Number: coap.Echo, Value: value})
	b, err := answer.Append(nil)
	if err != nil {
		return dst, err
	}
	return c.ProtectResponse(dst, b, x)
}

// Require decides whether a request was made now. It is what a server asks
// before it carries out a command that must not come late: the replay window
// refuses what came before, but whoever holds back a genuine command may deliver
// it when it does harm (RFC 8613 section 7.3).
//
// request is what [Context.UnprotectRequest] gave, or the message as it came when
// that was [ErrUnproven]; x is its exchange. When the request has an Echo value
// that was made for the peer of c within the time before now, it is nil. Else it
// is [ErrUnproven], and dst comes back with the protected answer 4.01 to send
// instead of carrying the request out; the client repeats it with that value
// ([AppendWithEcho]), if it still wants it. A client forgets exchanges that it
// gave up, and so repeats nothing that nobody waits for.
//
// One call costs at most two hashes and one encryption, and keeps nothing.
func (e *Echo) Require(dst, request []byte, c *Context, x *Exchange, now, within time.Duration) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(request); err != nil || !m.Code.Request() {
		return dst, ErrMessage
	}
	// What was not decrypted proves nothing, whatever options it has.
	if _, protected := m.Options.Get(coap.OSCOREOption); !protected && x.proven {
		if o, ok := m.Options.Get(coap.Echo); ok && e.Fresh(o.Value, c, now, within) {
			return dst, nil
		}
	}
	var room [echoSize]byte
	dst, err := c.AppendChallenge(dst, request, e.Append(room[:0], c, now), x)
	if err != nil {
		return dst, err
	}
	return dst, ErrUnproven
}

// EchoOf returns the Echo value of a message, or nil. It aliases the message.
func EchoOf(msg []byte) []byte {
	var m coap.Message
	if m.Parse(msg) != nil {
		return nil
	}
	o, _ := m.Options.Get(coap.Echo)
	if o.Number != coap.Echo {
		return nil
	}
	return o.Value
}

// AppendWithEcho appends msg, a request, with value in its Echo option: what a
// client sends again after a challenge.
func AppendWithEcho(dst, msg, value []byte) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || !m.Code.Request() {
		return dst, ErrMessage
	}
	m.Options = withOptions(m.Options, func(n coap.OptionNumber) bool { return n == coap.Echo }, coap.Option{Number: coap.Echo, Value: value})
	return m.Append(dst)
}
