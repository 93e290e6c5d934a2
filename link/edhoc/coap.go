// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"

	"github.com/myelin-health/myelin/internal/cbor"
)

// How CoAP carries EDHOC (RFC 9528 appendix A.2). A client posts to [Path]; what it
// sends is prepended with something to tell by whose it is, what a server answers is
// not:
//
//	forward flow, the client is the Initiator
//	    POST  true, message_1     CIDContentFormat
//	    2.04  message_2           ContentFormat
//	    POST  C_R, message_3      CIDContentFormat
//	    2.04  message_4, if due   ContentFormat
//
//	reverse flow, the client is the Responder
//	    POST  (nothing)
//	    2.04  message_1           ContentFormat
//	    POST  C_I, message_2      CIDContentFormat
//	    2.04  message_3           ContentFormat
//	    POST  C_I, message_4      CIDContentFormat
//
// An error message goes where the next message would, with a response code of
// [ResponseCode] when it is an answer.
const (
	Path = "/.well-known/edhoc"

	ContentFormat    = 64 // application/edhoc+cbor-seq
	CIDContentFormat = 65 // application/cid-edhoc+cbor-seq

	// OptionEDHOC is the CoAP option, critical and empty, of a request that has
	// message_3 in front of its OSCORE ciphertext (RFC 9668 section 3.1).
	OptionEDHOC = 21
)

// Response codes of CoAP (RFC 7252 section 12.1.2): three bits, a dot, five bits.
const (
	codeChanged       = 0x44 // 2.04
	codeBadRequest    = 0x80 // 4.00
	codeInternalError = 0xa0 // 5.00
)

// ResponseCode is the code of the response that goes with err, nil for none: 2.04
// (Changed), 5.00 for what is not the peer's fault, 4.00 for what is (RFC 9528
// appendix A.2.3).
func ResponseCode(err error) uint8 {
	switch {
	case err == nil:
		return codeChanged
	case errors.Is(err, ErrConfig):
		return codeInternalError
	}
	return codeBadRequest
}

const simpleTrue = 0xf5

// AppendStart appends message_1 as a client sends it: prepended with true.
func AppendStart(dst, message1 []byte) []byte {
	return append(cbor.AppendBool(dst, true), message1...)
}

// AppendPrefixed appends a later message as a client sends it: prepended with the
// connection identifier that the server chose.
func AppendPrefixed(dst, id, message []byte) []byte {
	return append(appendIdentifier(dst, id), message...)
}

// SplitPrefixed takes apart what a client sent. Begin is set where message_1
// follows; otherwise id is the server's own connection identifier. Both alias b.
// What follows is not looked at; it may be empty only in the request that begins
// the reverse flow, which has no payload at all and is not for here.
func SplitPrefixed(b []byte) (begin bool, id, message []byte, err error) {
	if len(b) > 1+2+MaxConnectionID+MaxMessage {
		return false, nil, nil, errLong
	}
	if len(b) > 1 && b[0] == simpleTrue {
		return true, nil, b[1:], nil
	}
	r, err := cbor.ParseSequence(b)
	if err != nil {
		return false, nil, nil, err
	}
	id = readIdentifier(&r)
	if r.Err() == nil && len(id) > MaxConnectionID {
		r.Fail(errLong)
	}
	if r.Err() == nil && r.Next() == cbor.None {
		r.Fail(cbor.ErrTruncated)
	}
	return false, id, r.Rest(), r.Err()
}

// AppendCombined appends the payload of an EDHOC and OSCORE request (RFC 9668
// section 3.2): message_3, and the ciphertext of the request behind it. C_R is not
// sent: it is the kid of the OSCORE option.
func AppendCombined(dst, message3, ciphertext []byte) []byte {
	return append(append(dst, message3...), ciphertext...)
}

// SplitCombined takes the payload of a request with [OptionEDHOC] apart. The parts
// alias b. There is something of each, or it is an error, which is to be answered
// with 4.00.
func SplitCombined(b []byte) (message3, ciphertext []byte, err error) {
	// The ciphertext is no CBOR: only the head of the byte string before it can be
	// read. Whether it is written as it has to be Message3 will see.
	n, head, err := bytesHead(b)
	if err != nil {
		return nil, nil, err
	}
	if n > MaxMessage {
		return nil, nil, errLong
	}
	if n += head; n >= len(b) {
		return nil, nil, cbor.ErrTruncated
	}
	return b[:n:n], b[n:], nil
}

// bytesHead reads the head of a byte string of less than 64 kB: how many bytes it
// has, and how many the head.
func bytesHead(b []byte) (n, head int, err error) {
	if len(b) < 3 {
		return 0, 0, cbor.ErrTruncated
	}
	switch first := b[0]; {
	case first < 0x40 || first > 0x5f:
		return 0, 0, cbor.ErrKind
	case first < 0x58:
		return int(first - 0x40), 1, nil
	case first == 0x58:
		return int(b[1]), 2, nil
	case first == 0x59:
		return int(b[1])<<8 | int(b[2]), 3, nil
	}
	return 0, 0, errLong
}
