// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package oscore protects CoAP messages end to end (RFC 8613): request and
// response are encrypted and bound to each other, whatever proxy or radio is
// between. It transforms whole messages as bytes and has no sockets and no clock.
//
// A [Context] is one security context, shared with one peer. A client keeps the
// [Exchange] of each request until its last answer, a server until it answered:
//
//	client: ProtectRequest  -> x ......................... UnprotectResponse(x)
//	server:                   UnprotectRequest -> x, ProtectResponse(x)
//
// Around it stand [Peers], the contexts of a server; [Echo], which tells a command
// that is made now from one that was held back (RFC 9175); [SequenceFile], so that
// no number comes twice; [Transfer], [Assembler] and [AppendBlock] for bodies in
// blocks (RFC 7959); [Renewal] and [Renewer] for new keys of one master secret
// (appendix B.2); [AppendCombined] and [SplitCombined] for the first request
// behind EDHOC (RFC 9668).
//
// It leaves out group OSCORE, messages of HTTP, Q-Block (RFC 9177), and a store for
// answers to commands that are larger than a block. A message over TCP (RFC 8323)
// is given the form of a datagram before, and takes its own after.
//
// This API is stable.
package oscore

import (
	"crypto"
	"crypto/cipher"
	"crypto/hkdf"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/proto/coap"
)

// MaxSequence is the last sender sequence number: a Partial IV has 40 bits
// (RFC 8613 section 7.2.1).
const MaxSequence = 1<<40 - 1

const (
	maxNonce = 13
	maxID    = maxNonce - 6 // RFC 8613 section 3.3: what is left of the nonce
)

// Params are what two peers agreed on; EDHOC or a person gives it to them
// (RFC 8613 section 3.2).
type Params struct {
	MasterSecret []byte
	MasterSalt   []byte
	IDContext    []byte // none when nil, which an empty one is not
	SenderID     []byte // ours
	RecipientID  []byte // the peer's

	AEAD cose.Algorithm // zero is AES-CCM-16-64-128
	Hash cose.Algorithm // of HKDF; zero is SHA-256

	// Window is how many sequence numbers a request may be late; zero is
	// [DefaultWindow].
	Window int

	// Sequence is the first sender sequence number that was never used under
	// these keys. When Reserve is not nil, it is called before a number at or
	// beyond the last limit is used, and returns when limit is durable: whoever
	// starts again starts at that limit (RFC 8613 appendix B.1.1).
	Sequence uint64
	Reserve  func(limit uint64) error

	// Recover is not nil where requests may have been served under these keys
	// whose numbers are forgotten. Each request is then [ErrUnproven], until one
	// has an Echo option that Recover takes: a value that was made after the
	// restart (RFC 8613 appendix B.1.2, [Echo]). It is called with a lock held.
	Recover func(echo []byte) bool
}

// ReserveStep is how many sender sequence numbers are reserved at a time: a
// restart wastes at most so many of 2^40.
const ReserveStep = 256

// A Context is a security context. It may be used by several goroutines.
type Context struct {
	senderID, recipientID []byte
	idContext             []byte
	wrapped               []byte // of a renewal: what requests call idContext until one was answered
	alg                   cose.Algorithm
	commonIV              [maxNonce]byte
	nonceSize             int
	seal, open            cipher.AEAD

	answered       atomic.Bool   // a response of the peer verified
	sealed, failed atomic.Uint64 // how often the keys were used, and tried

	reserve func(uint64) error

	mu       sync.Mutex // guards what follows
	next     uint64     // sender sequence number
	reserved uint64     // numbers below it may be used
	window   window     // of requests that were served
	recover  func([]byte) bool
}

// New derives a security context.
func New(p Params) (*Context, error) {
	if p.AEAD == 0 {
		p.AEAD = cose.AESCCM16_64_128
	}
	if p.Hash == 0 {
		p.Hash = cose.SHA256
	}
	if p.Window == 0 {
		p.Window = DefaultWindow
	}
	c := &Context{
		senderID: slices.Clone(p.SenderID), recipientID: slices.Clone(p.RecipientID), idContext: slices.Clone(p.IDContext),
		alg: p.AEAD, nonceSize: p.AEAD.NonceSize(), reserve: p.Reserve, next: p.Sequence, recover: p.Recover,
	}
	if p.IDContext != nil && c.idContext == nil {
		c.idContext = []byte{}
	}
	if c.nonceSize < 7 || c.nonceSize > maxNonce {
		return nil, fmt.Errorf("oscore: %v is no AEAD that this package has", p.AEAD)
	}
	longest := c.nonceSize - 6
	switch {
	case len(p.MasterSecret) == 0:
		return nil, errors.New("oscore: no master secret")
	case len(p.SenderID) > longest || len(p.RecipientID) > longest:
		return nil, fmt.Errorf("oscore: an id has more than the %d bytes that the nonce of %v leaves", longest, p.AEAD)
	case slices.Equal(p.SenderID, p.RecipientID):
		return nil, errors.New("oscore: sender and recipient have one id, and so would use the same keys and nonces")
	case len(p.IDContext) > 255:
		return nil, errors.New("oscore: the id context has more than 255 bytes")
	case p.Sequence > MaxSequence:
		return nil, ErrExhausted
	}
	if err := c.window.init(p.Window); err != nil {
		return nil, err
	}
	hash := p.Hash.Hash()
	if hash == 0 || !hash.Available() {
		return nil, fmt.Errorf("oscore: %v is no hash that this package has", p.Hash)
	}
	key := func(id []byte) (cipher.AEAD, error) {
		k, err := p.derive(hash, id, "Key", p.AEAD.KeySize())
		if err != nil {
			return nil, err
		}
		defer clear(k)
		return cose.NewAEAD(p.AEAD, k)
	}
	var err error
	if c.seal, err = key(p.SenderID); err != nil {
		return nil, err
	}
	if c.open, err = key(p.RecipientID); err != nil {
		return nil, err
	}
	iv, err := p.derive(hash, nil, "IV", c.nonceSize)
	if err != nil {
		return nil, err
	}
	copy(c.commonIV[:], iv)
	return c, nil
}

// derive is RFC 8613 section 3.2.1.
func (p *Params) derive(hash crypto.Hash, id []byte, what string, n int) ([]byte, error) {
	info := cbor.AppendBytes(cbor.AppendArray(nil, 5), id)
	if p.IDContext == nil {
		info = cbor.AppendNull(info)
	} else {
		info = cbor.AppendBytes(info, p.IDContext)
	}
	info = cbor.AppendInt(info, int64(p.AEAD))
	info = cbor.AppendUint(cbor.AppendText(info, what), uint64(n))
	return hkdf.Key(hash.New, p.MasterSecret, p.MasterSalt, string(info), n)
}

// How often keys should be used, and forgeries refused, before new ones are made
// (draft-ietf-core-oscore-key-limits section 2.1, for messages of 4 KiB).
const (
	usageLimit        = 1 << 20
	forgeryLimit      = 1 << 20
	forgeryLimitShort = 1 << 14 // of a tag of 64 bits
)

// Worn reports that new keys are due: ours sealed as many messages as an AEAD
// should under one key, or so many forgeries came that more are not to be
// allowed. Nothing is refused because of it: that would hand whoever floods a
// device a switch to cut it off. Numbers that were used before a restart count.
func (c *Context) Worn() bool {
	c.mu.Lock()
	next := c.next
	c.mu.Unlock()
	forged := uint64(forgeryLimit)
	if c.alg.TagSize() < 16 {
		forged = forgeryLimitShort
	}
	return max(next, c.sealed.Load()) >= usageLimit || c.failed.Load() >= forged
}

// SenderID is our id, which the peer finds this context by.
func (c *Context) SenderID() []byte { return c.senderID }

// RecipientID is the peer's id: the kid of its requests.
func (c *Context) RecipientID() []byte { return c.recipientID }

// kidContext is what a request calls this context (RFC 8613 section 5.1 and
// appendix B.2, step 3).
func (c *Context) kidContext() []byte {
	if c.wrapped != nil && !c.answered.Load() {
		return c.wrapped
	}
	return c.idContext
}

// called reports whether a peer may call this context so.
func (c *Context) called(kidContext []byte) bool {
	return kidContext == nil ||
		c.idContext != nil && slices.Equal(kidContext, c.idContext) ||
		c.wrapped != nil && slices.Equal(kidContext, c.wrapped)
}

// IDContext is the kid context, or nil.
func (c *Context) IDContext() []byte { return c.idContext }

// nonce is RFC 8613 section 5.2: the id's length, the id and the Partial IV,
// each padded on its left, over the common IV.
func (c *Context) nonce(dst *[maxNonce]byte, id, piv []byte) []byte {
	n := dst[:c.nonceSize]
	copy(n, c.commonIV[:])
	n[0] ^= byte(len(id))
	for i, at := 0, c.nonceSize-coap.MaxPartialIV-len(id); i < len(id); i++ {
		n[at+i] ^= id[i]
	}
	for i, at := 0, c.nonceSize-len(piv); i < len(piv); i++ {
		n[at+i] ^= piv[i]
	}
	return n
}

// aad is the Enc_structure around RFC 8613 section 5.4's external_aad. There is
// no option of class I.
func (c *Context) aad(dst, kid, piv []byte) []byte {
	var external [32]byte
	e := append(external[:0], 0x85, 1, 0x81)
	e = cbor.AppendInt(e, int64(c.alg))
	e = cbor.AppendBytes(cbor.AppendBytes(e, kid), piv)
	e = append(e, 0x40)
	dst = cbor.AppendText(append(dst, 0x83), "Encrypt0")
	return cbor.AppendBytes(append(dst, 0x40), e)
}

// take returns a sender sequence number that nobody had before, as a Partial IV.
func (c *Context) take(dst *[coap.MaxPartialIV]byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next > MaxSequence {
		return nil, ErrExhausted
	}
	if c.reserve != nil && c.next >= c.reserved {
		limit := min(c.next+ReserveStep, MaxSequence+1)
		if err := c.reserve(limit); err != nil {
			return nil, fmt.Errorf("oscore: sequence numbers could not be reserved: %w", err)
		}
		c.reserved = limit
	}
	n := c.next
	c.next++
	return appendPartialIV(dst[:0], n), nil
}

// appendPartialIV appends a number without leading zeros; 0 is one byte
// (RFC 8613 section 5).
func appendPartialIV(dst []byte, n uint64) []byte {
	for shift := 32; shift > 0; shift -= 8 {
		if n>>shift != 0 {
			dst = append(dst, byte(n>>shift))
		}
	}
	return append(dst, byte(n))
}

func number(piv []byte) (n uint64) {
	for _, b := range piv {
		n = n<<8 | uint64(b)
	}
	return n
}
