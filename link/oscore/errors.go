// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"errors"

	"github.com/myelin-health/myelin/proto/coap"
)

// What can be wrong with a message. [AppendError] makes the answer to a request;
// a client drops a response, and waits on.
var (
	ErrOption    = errors.New("oscore: no OSCORE option and ciphertext that can be read")
	ErrContext   = errors.New("oscore: no security context for this message")
	ErrReplay    = errors.New("oscore: this message was received before, or is too late")
	ErrDecrypt   = errors.New("oscore: the ciphertext does not belong to these keys and this request")
	ErrInner     = errors.New("oscore: what was encrypted is no message that the peer may send")
	ErrMessage   = errors.New("oscore: not a CoAP message that can be protected")
	ErrExhausted = errors.New("oscore: the sender sequence numbers are used up; make new keys")

	// ErrUnproven is of a request that decrypts, from a peer of whom it is not
	// known yet that it is there now: [Context.AppendChallenge] makes the answer.
	ErrUnproven = errors.New("oscore: the request may be an old one; its sender has to answer a challenge")
)

// AppendError appends the unprotected answer to a request that err was wrong
// with, and says no more than the code does (RFC 8613 section 8.2).
func AppendError(dst, request []byte, err error) ([]byte, error) {
	var m coap.Message
	if perr := m.Parse(request); perr != nil || !m.Code.Request() {
		return dst, ErrMessage
	}
	code := coap.BadRequest
	switch {
	case errors.Is(err, ErrOption):
		code = coap.BadOption
	case errors.Is(err, ErrContext), errors.Is(err, ErrReplay), errors.Is(err, ErrUnproven):
		code = coap.Unauthorized
	}
	answer := answerTo(&m, code)
	answer.Options = coap.AppendOption(nil, 0, coap.Option{Number: coap.MaxAge}) // nobody may keep it
	return answer.Append(dst)
}

// answerTo is an empty answer to a message, piggybacked where that can be.
func answerTo(m *coap.Message, code coap.Code) coap.Message {
	a := coap.Message{Type: coap.NonConfirmable, Code: code, ID: m.ID, Token: m.Token}
	if m.Type == coap.Confirmable {
		a.Type = coap.Acknowledgement
	}
	return a
}
