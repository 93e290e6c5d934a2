// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A Code is an ERR_CODE (RFC 9528 section 6).
type Code int32

// The codes. Success never travels.
const (
	Success           Code = 0
	Unspecified       Code = 1
	WrongSuite        Code = 2
	UnknownCredential Code = 3
)

// MaxErrorText is how many bytes of the text of an error message are sent or kept.
const MaxErrorText = 128

// An Error ends a handshake. It was found here, or came as an error message from
// the peer; nothing proves who sent one.
type Error struct {
	Code Code
	// FromPeer is set when an error message was received. None is sent in answer.
	FromPeer bool
	// Suites is SUITES_R of [WrongSuite]: what the Responder supports.
	Suites []Suite
	// Text is what the peer is told, or said, with [Unspecified]. It does not tell
	// an attacker which check failed.
	Text string
	// Err is the reason, for this side only.
	Err error
}

func (e *Error) Error() string {
	who := "edhoc: "
	if e.FromPeer {
		who = "edhoc: peer: "
	}
	switch {
	case e.Err != nil:
		return who + e.Err.Error()
	case e.Code == WrongSuite:
		return who + "wrong selected cipher suite"
	case e.Code == UnknownCredential:
		return who + "unknown credential referenced"
	case e.Code == Unspecified:
		return fmt.Sprintf("%serror: %q", who, e.Text)
	}
	return fmt.Sprintf("%serror %d", who, e.Code)
}

func (e *Error) Unwrap() error { return e.Err }

// Errors that callers branch on, beside *[Error].
var (
	// ErrState is returned for a call that is not the next one. Nothing changed:
	// whoever sends a message twice, or one that was not asked for, ends nothing.
	ErrState = errors.New("edhoc: not now")

	// ErrUnknownCredential is what [Config].Peers returns for a reference to a
	// credential that it does not have. The peer is told that (error 3), so that
	// it may send the credential itself next time.
	ErrUnknownCredential = errors.New("edhoc: unknown credential referenced")

	// ErrVerification is wrapped when a MAC, a signature or a ciphertext is not
	// right.
	ErrVerification = errors.New("edhoc: verification failed")

	// ErrReflected is wrapped when the peer's credential is one's own.
	ErrReflected = errors.New("edhoc: own credential or key came back")

	// ErrConfig is wrapped by the errors for a configuration that cannot work.
	ErrConfig = errors.New("edhoc: configuration")
)

// Texts that go to a peer.
const (
	textSyntax      = "message malformed"
	textMethod      = "method not supported"
	textCredential  = "credential identifier type not supported"
	textEAD         = "critical EAD item not supported"
	textUnspecified = "message refused"
)

// AppendError writes the error message (RFC 9528 section 6) for an error that a
// method of [Initiator] or [Responder] returned. For one that must not be answered
// (the peer's own error message, [ErrState]) it writes nothing.
func AppendError(dst []byte, err error) []byte {
	if err == nil || errors.Is(err, ErrState) {
		return dst
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: Unspecified, Text: textUnspecified}
	}
	if e.FromPeer {
		return dst
	}
	switch e.Code {
	case WrongSuite:
		return appendSuites(cbor.AppendInt(dst, int64(WrongSuite)), e.Suites)
	case UnknownCredential:
		return cbor.AppendBool(cbor.AppendInt(dst, int64(UnknownCredential)), true)
	}
	return cbor.AppendText(cbor.AppendInt(dst, int64(Unspecified)), cutText(e.Text))
}

// cutText bounds a text, and makes it UTF-8.
func cutText(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), MaxErrorText)], "")
}

// ParseError reads an error message. One that is malformed, or has the code 0, is an
// error of its own: the handshake is at its end all the same, and nothing is sent
// in answer.
func ParseError(b []byte) (*Error, error) {
	if len(b) > MaxMessage {
		return nil, errLong
	}
	r, err := cbor.ParseSequence(b)
	if err != nil {
		return nil, err
	}
	code := r.Int()
	if code < -65536 || code > 65535 || code == int64(Success) { // RFC 9528 sections 6.1 and 10.4
		r.Fail(cbor.ErrRange)
	}
	e := &Error{Code: Code(code), FromPeer: true}
	switch e.Code {
	case Unspecified:
		e.Text = cutText(r.Text())
	case WrongSuite:
		e.Suites = readSuites(&r, nil)
	case UnknownCredential:
		if !r.Bool() {
			r.Fail(cbor.ErrKind)
		}
	default:
		r.Raw()
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return e, nil
}

// isError reports whether a message, where one of message_2, 3 and 4 is due, is an
// error message: those are byte strings, it begins with an integer.
func isError(b []byte) bool { return len(b) > 0 && cbor.Kind(b[0]>>5) <= cbor.NegInt }
