// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/proto/coap"
)

// Lengths of the nonces of RFC 8613 appendix B.2 in bytes. The longest still
// leaves room for two of them and their head in a kid context.
const (
	minRenewalNonce = 8
	maxRenewalNonce = 100
)

// ErrRenewal is of a step that does not belong where the renewal is.
var ErrRenewal = errors.New("oscore: not the next step of a renewal")

// A Renewal makes new keys of the same master secret when a client lost its part
// of a context, when the keys are worn, or when the server says that it lost its
// own (RFC 8613 appendix B.2). It is the client's side:
//
//	asking --request #1--> asking --response #1--> renewed
//	  ^___ whatever does not verify ___|
//
// The request that is made under the new context is request #2. When its answer
// verified the context takes the place of the old one, not before. Both ends have
// to have good randomness. It is for one goroutine at a time.
type Renewal struct {
	params Params
	first  *Context
	id1    []byte
	done   bool
}

// NewRenewal begins a renewal. r1 are 8 bytes or more that are random and new.
// p is as for [New], but for IDContext, which the renewal makes.
func NewRenewal(p Params, r1 []byte) (*Renewal, error) {
	if len(r1) < minRenewalNonce || len(r1) > maxRenewalNonce {
		return nil, ErrRenewal
	}
	first, err := derived(p, r1, true)
	if err != nil {
		return nil, err
	}
	return &Renewal{params: p, first: first, id1: slices.Clone(r1)}, nil
}

// ContinueRenewal is a renewal that the server began, when it answered a request
// under c with a kid context. c has to have an ID context.
func ContinueRenewal(p Params, c *Context) (*Renewal, error) {
	if c.idContext == nil {
		return nil, ErrRenewal
	}
	return &Renewal{params: p, first: c, id1: c.idContext}, nil
}

// ProtectRequest is [Context.ProtectRequest] of request #1, which may be sent more
// than once, each time with an exchange of its own.
func (r *Renewal) ProtectRequest(dst, msg []byte, x *Exchange) ([]byte, error) {
	if r.done {
		return dst, ErrRenewal
	}
	return r.first.ProtectRequest(dst, msg, x)
}

// UnprotectResponse takes response #1, to the request of x, and returns the new
// context. r3 are 8 bytes or more that are random and new. An error changes
// nothing: the renewal waits on, or asks again.
func (r *Renewal) UnprotectResponse(msg []byte, x *Exchange, r3 []byte) (*Context, error) {
	value, ok := Identify(msg)
	switch {
	case r.done || len(r3) < minRenewalNonce || len(r3) > maxRenewalNonce:
		return nil, ErrRenewal
	case !ok:
		return nil, ErrOption
	}
	r2, wrapped := unwrap(value.KIDContext)
	if !wrapped || len(r2) < minRenewalNonce || len(r2) > maxRenewalNonce {
		return nil, ErrContext
	}
	second, err := derived(r.params, slices.Concat(r2, r.id1), true)
	if err != nil {
		return nil, err
	}
	second.wrapped = value.KIDContext
	if value.PartialIV == nil {
		// Section 8.4 step 4 takes the nonce of the request, and that was made with
		// the common IV of the first context.
		second.commonIV = r.first.commonIV
	}
	plain, err := second.UnprotectResponse(nil, msg, x)
	if err != nil {
		return nil, err
	}
	var m coap.Message
	if err := m.Parse(plain); err != nil || m.Code != coap.Unauthorized {
		return nil, ErrInner
	}
	third, err := derived(r.params, slices.Concat(r2, r3), false)
	if err != nil {
		return nil, err
	}
	r.done = true
	return third, nil
}

// A Renewer is the server's side, for one client whose context it does not have,
// or not whole:
//
//	open --request #1, answered--> open --request #2, served--> closed
//	  \____________________ until the end of its time ____________^
//
// It keeps nothing of a request #1, however many come (appendix B.2.1): what it
// gives the client, R2, carries a MAC under a key that is erased when a request #2
// was served, so that none is served twice. It may be used by several goroutines.
type Renewer struct {
	params Params
	until  time.Duration

	mu  sync.Mutex // guards key
	key []byte     // K_HMAC, nil when closed
}

// NewRenewer opens a renewal until a time of the caller's clock. p is as for
// [New], but for IDContext; key is random and new.
func NewRenewer(p Params, key [32]byte, until time.Duration) *Renewer {
	return &Renewer{params: p, key: slices.Clone(key[:]), until: until}
}

// Receive takes a request that no context is there for. For request #1 it returns
// [ErrUnproven], and dst with the answer to send, response #1; random is 8 bytes
// that are new. For request #2 it returns the request, and the context that takes
// the place of the client's other ones; x is begun as by
// [Context.UnprotectRequest]. Any other is refused, which changes nothing.
//
// A request costs up to two derivations of keys: how many are made of strangers in
// what time is the caller's to bound, with an unprotected 5.03 beyond it.
func (r *Renewer) Receive(dst, msg []byte, x *Exchange, random [8]byte, now time.Duration) ([]byte, *Context, error) {
	value, ok := Identify(msg)
	switch {
	case !ok || value.PartialIV == nil || value.KID == nil:
		return dst, nil, ErrOption
	case !slices.Equal(value.KID, r.params.RecipientID) || value.KIDContext == nil:
		return dst, nil, ErrContext
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now > r.until {
		clear(r.key)
		r.key = nil
	}
	if r.key == nil {
		return dst, nil, ErrContext
	}
	// In a context that no renewal made the kid context is not wrapped.
	id, wrapped := unwrap(value.KIDContext)
	if !wrapped {
		id = value.KIDContext
	}
	if wrapped && len(id) >= 16+minRenewalNonce && hmac.Equal(id[8:16], r.mac(id[:8])) {
		third, err := derived(r.params, id, false)
		if err != nil {
			return dst, nil, ErrContext
		}
		got, err := third.UnprotectRequest(dst, msg, x)
		if err != nil {
			return dst, nil, err
		}
		clear(r.key)
		r.key = nil
		return got, third, nil
	}
	first, err := derived(r.params, id, wrapped)
	if err != nil {
		return dst, nil, ErrContext
	}
	plain, err := first.UnprotectRequest(nil, msg, x)
	if err != nil {
		return dst, nil, err
	}
	r2 := append(random[:], r.mac(random[:])...)
	second, err := derived(r.params, slices.Concat(r2, id), true)
	if err != nil {
		return dst, nil, ErrContext
	}
	var m coap.Message
	if err := m.Parse(plain); err != nil {
		return dst, nil, ErrInner
	}
	m = answerTo(&m, coap.Unauthorized)
	// A Partial IV of its own leaves no doubt with which common IV the nonce is made.
	piv, err := second.take(&x.ivRoom)
	if err != nil {
		return dst, nil, err
	}
	option := coap.OSCORE{PartialIV: piv, KIDContext: cbor.AppendBytes(nil, r2)}
	dst, err = second.protect(dst, &m, coap.Changed, &option, second.nonce(&x.nonceRoom, second.senderID, piv), x)
	if err != nil {
		return dst, nil, err
	}
	return dst, nil, ErrUnproven
}

func (r *Renewer) mac(s2 []byte) []byte {
	h := hmac.New(sha256.New, r.key)
	h.Write(s2)
	return h.Sum(nil)[:8]
}

// derived is a context of p with an ID context, which its requests wrap in a byte
// string until one of them was answered. One that lasts no longer than the renewal has numbers of its own.
func derived(p Params, id []byte, passing bool) (*Context, error) {
	p.IDContext, p.Recover = id, nil
	if passing {
		p.Sequence, p.Reserve = 0, nil
	}
	c, err := New(p)
	if err != nil {
		return nil, err
	}
	c.wrapped = cbor.AppendBytes(nil, id)
	return c, nil
}

func unwrap(kidContext []byte) ([]byte, bool) {
	r, err := cbor.Parse(kidContext)
	if err != nil || r.Next() != cbor.Bytes {
		return nil, false
	}
	return r.Bytes(), true
}
