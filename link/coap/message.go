// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"

	"github.com/myelin-health/myelin/proto/coap"
)

// MaxMessage is how many bytes a CoAP message may have: what fits an Ethernet
// frame (RFC 7252 section 4.6), with room for message_3 and a token.
const MaxMessage = 4096

// register tells go-coap of the critical options that are ours. Its table is a
// global of its package, and without these it answers 4.02 to every confirmable
// request that has one (v3.5.5).
var register = sync.OnceFunc(func() {
	message.CoapOptionDefs[message.OptionID(coap.OSCOREOption)] = message.OptionDef{ValueFormat: message.ValueOpaque, MaxLen: 255}
	message.CoapOptionDefs[message.OptionID(coap.EDHOC)] = message.OptionDef{ValueFormat: message.ValueEmpty}
})

// fromPool is a message of go-coap as this package reads it. It is a copy.
func fromPool(r *pool.Message) (*coap.Message, error) {
	m := &coap.Message{Type: coap.Type(r.Type()), Code: coap.Code(r.Code()), ID: uint16(r.MessageID())}
	m.Token = bytes.Clone(r.Token())
	last := coap.OptionNumber(0)
	for _, o := range r.Options() {
		n := coap.OptionNumber(o.ID)
		m.Options = coap.AppendOption(m.Options, last, coap.Option{Number: n, Value: o.Value})
		last = n
	}
	if r.Body() == nil {
		return m, nil
	}
	size, err := r.BodySize()
	if err != nil || size == 0 {
		return m, err
	}
	if _, err := r.Body().Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	m.Payload = make([]byte, size) // its own ReadBody takes 1,024 bytes for the shortest
	_, err = io.ReadFull(r.Body(), m.Payload)
	return m, err
}

// toPool writes m, but for type and Message ID, to a message of go-coap. The
// payload is not copied.
func toPool(r *pool.Message, m *coap.Message) {
	r.SetCode(codes.Code(m.Code))
	r.SetToken(m.Token)
	var os message.Options
	for o := range m.Options.All() {
		os = append(os, message.Option{ID: message.OptionID(o.Number), Value: o.Value})
	}
	r.ResetOptionsTo(os)
	if len(m.Payload) > 0 {
		r.SetBody(bytes.NewReader(m.Payload))
	}
}

func parse(b []byte) (*coap.Message, error) {
	m := new(coap.Message)
	return m, m.Parse(b)
}

// Request makes a request: a method, a path as in "/sensors/glucose", and a
// payload of a content format, or none when it is empty.
func Request(method coap.Code, path string, format uint32, payload []byte) coap.Message {
	m := coap.Message{Code: method}
	last := coap.OptionNumber(0)
	for _, s := range strings.Split(strings.Trim(path, "/"), "/") {
		if s != "" {
			m.Options = coap.AppendOption(m.Options, last, coap.Option{Number: coap.URIPath, Value: []byte(s)})
			last = coap.URIPath
		}
	}
	return withPayload(m, last, format, payload)
}

// Response makes a response with a payload of a content format, or none when it
// is empty.
func Response(code coap.Code, format uint32, payload []byte) coap.Message {
	return withPayload(coap.Message{Code: code}, 0, format, payload)
}

func withPayload(m coap.Message, last coap.OptionNumber, format uint32, payload []byte) coap.Message {
	if len(payload) > 0 {
		m.Options = coap.AppendOption(m.Options, last, coap.Option{Number: coap.ContentFormat, Value: coap.AppendUint(nil, format)})
		m.Payload = payload
	}
	return m
}

// Path is the path of a request, as in "/sensors/glucose".
func Path(m *coap.Message) string { return string(m.Options.AppendPath(nil)) }

// WithOption is m with an option in its place, instead of any of its number.
func WithOption(m coap.Message, n coap.OptionNumber, value []byte) coap.Message {
	var out coap.Options
	last, done := coap.OptionNumber(0), false
	add := func(o coap.Option) {
		out = coap.AppendOption(out, last, o)
		last = o.Number
	}
	for o := range m.Options.All() {
		if o.Number >= n && !done {
			done = true
			add(coap.Option{Number: n, Value: value})
		}
		if o.Number != n {
			add(o)
		}
	}
	if !done {
		add(coap.Option{Number: n, Value: value})
	}
	m.Options = out
	return m
}

// A Hint is an answer that nothing protects: an error response of whoever could
// not read a request, or of somebody who wants that to be believed. No session
// ends by it.
type Hint struct{ Code coap.Code }

func (h *Hint) Error() string { return "coap: unprotected answer " + h.Code.String() }

// Errors that callers branch on, beside *[Hint] and those of edhoc and oscore.
var (
	ErrClosed  = errors.New("coap: connection closed")
	ErrFull    = errors.New("coap: no place for another session")
	ErrStale   = errors.New("coap: the request is too old to be sent again")
	ErrNoEDHOC = errors.New("coap: this endpoint has no credentials for a handshake")
)
