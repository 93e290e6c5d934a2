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
