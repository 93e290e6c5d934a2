// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/proto/coap"
)

// Bounds of block-wise transfer, where none is set.
const (
	// DefaultMaxBody is MAX_UNFRAGMENTED_SIZE (RFC 8613 section 4.1.3.4.2): how
	// many bytes the blocks of a message may have together.
	DefaultMaxBody = 64 << 10

	// DefaultMaxBodies is how many bodies are put together at a time.
	DefaultMaxBodies = 8

	// DefaultLifetime is how long a body is waited for since its last block:
	// EXCHANGE_LIFETIME of RFC 7252 section 4.8.2.
	DefaultLifetime = 247 * time.Second
)

// ErrBlock is of a block that does not belong where it came.
var ErrBlock = errors.New("oscore: a block that does not follow the one before")

// An Assembler puts together the bodies that come in blocks (Block1 of RFC 7959):
// what a proxy cut, before a request is unprotected, or what the client cut,
// after it. What belongs to one body is what comes from one peer with the same
// code and the same options, Request-Tag among them (RFC 9175 section 3.3): blocks
// of two bodies are never mixed.
//
// All that it holds is MaxBodies times MaxBody bytes, or while they grow twice that:
// when a body more is begun, the one that waited longest is dropped. The blocks of
// a client that proved who it is, and those of anybody, go to two Assemblers, so
// that nobody disturbs the first. It may be used by several goroutines; its zero
// value is ready.
type Assembler struct {
	MaxBody   int           // bytes; zero is DefaultMaxBody
	MaxBodies int           // zero is DefaultMaxBodies
	Lifetime  time.Duration // zero is DefaultLifetime

	mu     sync.Mutex // guards what follows
	bodies map[[sha256.Size]byte]*body
}

type body struct {
	bytes []byte
	last  time.Duration
}

// Add takes the request msg of a peer, which the caller names as it likes, at a
// time of the caller's own clock. It returns the whole message without its block
// options when msg is not in blocks or is the last, nothing when more are to come;
// then, and with an error, answer is what to send: 2.31 Continue, 4.00, 4.08 or
// 4.13. Neither aliases msg, but for a message that was not in blocks.
func (a *Assembler) Add(peer string, msg []byte, now time.Duration) (whole, answer []byte, err error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || !m.Code.Request() {
		return nil, nil, ErrMessage
	}
	o, ok := m.Options.Get(coap.Block1)
	if !ok {
		return msg, nil, nil
	}
	block, err := coap.ParseBlock(o.Value)
	if err != nil || block.SZX > 6 || len(m.Payload) > block.Size() || block.More && len(m.Payload) != block.Size() {
		return a.refuse(&m, o, coap.BadRequest, ErrBlock) // RFC 7959 section 2.2 and 2.3
	}
	maxBody, maxBodies, lifetime := a.MaxBody, a.MaxBodies, a.Lifetime
	if maxBody == 0 {
		maxBody = DefaultMaxBody
	}
	if maxBodies == 0 {
		maxBodies = DefaultMaxBodies
	}
	if lifetime == 0 {
		lifetime = DefaultLifetime
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	for k, b := range a.bodies { // maxBodies at most
		if now-b.last > lifetime {
			delete(a.bodies, k)
		}
	}
	key := bodyKey(peer, &m)
	at := int(block.Num) * block.Size()
	b := a.bodies[key]
	if at == 0 {
		b = &body{} // a body that is begun again is another (RFC 7959 section 2.5)
	}
	if b == nil || at != len(b.bytes) {
		return a.refuse(&m, o, coap.RequestEntityIncomplete, ErrBlock)
	}
	if size, ok := m.Options.Get(coap.Size1); ok {
		if n, _ := size.Uint(); int64(n) > int64(maxBody) {
			delete(a.bodies, key)
			return a.refuse(&m, o, coap.RequestEntityTooLarge, ErrTooLarge)
		}
	}
	if len(b.bytes)+len(m.Payload) > maxBody {
		delete(a.bodies, key)
		return a.refuse(&m, o, coap.RequestEntityTooLarge, ErrTooLarge)
	}
	b.bytes, b.last = append(b.bytes, m.Payload...), now
	if block.More {
		if a.bodies == nil {
			a.bodies = map[[sha256.Size]byte]*body{}
		}
		if _, ok := a.bodies[key]; !ok && len(a.bodies) >= maxBodies {
			delete(a.bodies, a.oldest())
		}
		a.bodies[key] = b
		_, answer, _ = a.refuse(&m, o, coap.Continue, nil)
		return nil, answer, nil
	}
	delete(a.bodies, key)
	m.Options = withOptions(m.Options, func(n coap.OptionNumber) bool { return n == coap.Block1 || n == coap.Size1 })
	m.Payload = b.bytes
	whole, err = m.Append(nil)
	return whole, nil, err
}

// oldest is the body that waited longest.
func (a *Assembler) oldest() (oldest [sha256.Size]byte) {
	first := true
	for k, b := range a.bodies {
		if first || b.last < a.bodies[oldest].last {
			oldest, first = k, false
		}
	}
	return oldest
}

// refuse makes the answer to a block: with the block's option, and where it is
// too large with what would not be (RFC 7959 section 2.9.3).
func (a *Assembler) refuse(m *coap.Message, block coap.Option, code coap.Code, err error) ([]byte, []byte, error) {
	answer := answerTo(m, code)
	answer.Options = coap.AppendOption(nil, 0, coap.Option{Number: coap.Block1, Value: block.Value[:min(len(block.Value), 3)]})
	if code == coap.RequestEntityTooLarge {
		limit := a.MaxBody
		if limit == 0 {
			limit = DefaultMaxBody
		}
		answer.Options = coap.AppendOption(answer.Options, coap.Block1, coap.Option{Number: coap.Size1, Value: coap.AppendUint(nil, uint32(limit))})
	}
	b, aerr := answer.Append(nil)
	if aerr != nil {
		return nil, nil, ErrMessage
	}
	return nil, b, err
}

// bodyKey tells bodies apart: the peer, the code and each option that tells one
// request from another (RFC 7959 section 2.5, RFC 7252 section 5.4.6).
func bodyKey(peer string, m *coap.Message) (key [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte{byte(m.Code), byte(len(peer)), byte(len(peer) >> 8)})
	h.Write([]byte(peer))
	h.Write(withOptions(m.Options, func(n coap.OptionNumber) bool {
		return n == coap.Block1 || n == coap.Block2 || n.NoCacheKey()
	}))
	h.Sum(key[:0])
	return key
}

// AppendBlock appends what a server sends of response, which is whole, in answer
// to request: the block that it asks for, of at most the size of szx, and the
// Block1 option of a last block. It keeps nothing, so that the server makes the
// response again for each block; an ETag over the payload, where it had none, lets
// the client see when it changed in between. Only what a GET asks for can be made
// again: the answer to another method has to fit in one block, or is
// [ErrTooLarge]. [ErrBlock] is returned for a block behind the end.
func AppendBlock(dst, request, response []byte, szx uint8) ([]byte, error) {
	var q, r coap.Message
	if q.Parse(request) != nil || r.Parse(response) != nil || !q.Code.Request() {
		return dst, ErrMessage
	}
	var add []coap.Option
	block := coap.Block{SZX: min(szx, 6)}
	for o := range q.Options.All() {
		switch o.Number {
		case coap.Block1:
			add = append(add, o)
		case coap.Block2:
			asked, err := coap.ParseBlock(o.Value)
			if err != nil || asked.SZX > 6 {
				return dst, ErrBlock
			}
			// A smaller size than was asked for begins elsewhere in the body.
			block.SZX = min(block.SZX, asked.SZX)
			block.Num = asked.Num << (asked.SZX - block.SZX)
		}
	}
	at := int(block.Num) * block.Size()
	block.More = len(r.Payload)-at > block.Size()
	if at > 0 && at >= len(r.Payload) || block.Num > coap.MaxBlockNum {
		return dst, ErrBlock
	}
	if at > 0 || block.More {
		if q.Code != coap.GET {
			return dst, ErrTooLarge
		}
		if _, ok := r.Options.Get(coap.ETag); !ok {
			sum := sha256.Sum256(r.Payload)
			add = append(add, coap.Option{Number: coap.ETag, Value: sum[:8]})
		}
		add = append(add, coap.Option{Number: coap.Block2, Value: block.Append(nil)})
		if at == 0 {
			add = append(add, coap.Option{Number: coap.Size2, Value: coap.AppendUint(nil, uint32(len(r.Payload)))})
		}
		r.Payload = r.Payload[at:min(at+block.Size(), len(r.Payload))]
	}
	slices.SortFunc(add, func(a, b coap.Option) int { return int(a.Number) - int(b.Number) })
	r.Options = withOptions(r.Options, func(n coap.OptionNumber) bool {
		return n == coap.Block1 || n == coap.Block2 || n == coap.Size2
	}, add...)
	return r.Append(dst)
}

// A Transfer is a client's request whose body, or whose answer's, goes in blocks:
//
//	       2.31              last answered, with more to come
//	sending --> sending ... ---------------------------------> receiving --> receiving ... --> done
//	   \_________________ any other answer ________________________________________________/
//
// Each [Transfer.Next] is protected and sent, and its answer, unprotected, given to
// [Transfer.Receive], until that is done. It is for one goroutine at a time.
type Transfer struct {
	request coap.Message
	tag     []byte
	szx     uint8
	limit   int
	sent    int // bytes of the request's body that were answered
	out     int // bytes that the last Next had
	all     bool
	count   uint16

	receiving bool
	done      bool
	answer    coap.Message
	etag      []byte
	got       []byte
}

// NewTransfer begins a transfer of msg, whose payload is cut into blocks of the
// size of szx, 0 to 6, when it is larger. Each block has tag as its Request-Tag:
// at most eight bytes that the client uses for no other body with the same server
// (RFC 9175 section 3.4). The answer has at most limit bytes.
func NewTransfer(msg []byte, szx uint8, tag []byte, limit int) (*Transfer, error) {
	t := &Transfer{tag: slices.Clone(tag), szx: szx, limit: limit}
	if err := t.request.Parse(slices.Clone(msg)); err != nil || !t.request.Code.Request() || szx > 6 || len(tag) > 8 {
		return nil, ErrMessage
	}
	if len(t.request.Payload)>>(4+szx) > coap.MaxBlockNum {
		return nil, ErrTooLarge
	}
	return t, nil
}

// Next appends the next request. Its Message ID is one more than that of the one
// before. It is [ErrBlock] when the transfer is done.
func (t *Transfer) Next(dst []byte) ([]byte, error) {
	if t.done {
		return dst, ErrBlock
	}
	m := t.request
	m.ID += t.count
	block := coap.Block{SZX: t.szx}
	var add []coap.Option
	drop := func(n coap.OptionNumber) bool {
		return n == coap.Block1 || n == coap.Size1 || t.receiving && (n == coap.Block2 || n == coap.Observe)
	}
	switch {
	case t.receiving: // RFC 7959 sections 2.4 and 2.6: the same options, no payload, no Observe
		block.Num = uint32(len(t.got) / block.Size())
		add = append(add, coap.Option{Number: coap.Block2, Value: block.Append(nil)})
		if t.sent > 0 && t.tag != nil { // RFC 9175 section 3.4: of the same operation
			add = append(add, coap.Option{Number: coap.RequestTag, Value: t.tag})
		}
		m.Payload = nil
	case t.sent > 0 || len(m.Payload) > block.Size():
		block.Num = uint32(t.sent / block.Size())
		block.More = len(m.Payload)-t.sent > block.Size()
		add = append(add, coap.Option{Number: coap.Block1, Value: block.Append(nil)})
		if t.sent == 0 {
			add = append(add, coap.Option{Number: coap.Size1, Value: coap.AppendUint(nil, uint32(len(m.Payload)))})
		}
		if t.tag != nil {
			add = append(add, coap.Option{Number: coap.RequestTag, Value: t.tag})
		}
		m.Payload = m.Payload[t.sent:min(t.sent+block.Size(), len(m.Payload))]
	}
	m.Options = withOptions(m.Options, drop, add...)
	b, err := m.Append(dst)
	if err != nil {
		return dst, ErrMessage
	}
	t.out, t.all = len(m.Payload), !block.More
	t.count++
	return b, nil
}

// Receive takes the answer to the last Next. When it is the last, whole is the
// message with all of the body and without block options. With an error the
// transfer is over: [ErrBlock] when a block does not follow, or the resource
// changed while it was read; [ErrTooLarge] when the answer goes beyond the limit.
func (t *Transfer) Receive(msg []byte) (whole []byte, done bool, err error) {
	whole, err = t.receive(msg)
	if err != nil || whole != nil {
		t.done = true
	}
	return whole, t.done, err
}

func (t *Transfer) receive(msg []byte) ([]byte, error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || m.Code.Class() < 2 || t.done || t.count == 0 {
		return nil, ErrMessage
	}
	if !t.receiving && !t.all {
		return t.acknowledged(&m, msg)
	}
	o, cut := m.Options.Get(coap.Block2)
	if !t.receiving {
		if m.Code == coap.Continue {
			return nil, ErrBlock
		}
		if !cut {
			return slices.Clone(msg), nil
		}
		e, _ := m.Options.Get(coap.ETag)
		if e.Number == coap.ETag {
			t.etag = slices.Clone(e.Value)
		}
		answer := m
		answer.Token, answer.Payload = slices.Clone(m.Token), nil
		answer.Options = withOptions(m.Options, func(n coap.OptionNumber) bool {
			return n == coap.Block1 || n == coap.Block2 || n == coap.Size2
		})
		t.answer, t.receiving = answer, true
	}
	block, err := coap.ParseBlock(o.Value)
	e, _ := m.Options.Get(coap.ETag)
	if e.Number != coap.ETag {
		e.Value = nil
	}
	switch {
	case !cut || err != nil || m.Code != t.answer.Code || block.SZX > 6 || !slices.Equal(e.Value, t.etag),
		int(block.Num)*block.Size() != len(t.got), len(m.Payload) > block.Size(), block.More && len(m.Payload) != block.Size():
		return nil, ErrBlock
	case len(t.got)+len(m.Payload) > t.limit:
		return nil, ErrTooLarge
	}
	t.got = append(t.got, m.Payload...)
	t.szx = min(t.szx, block.SZX)
	if len(t.got) == len(m.Payload) {
		t.szx = block.SZX // the server's choice, of the first (RFC 7959 section 2.4)
	}
	if block.More {
		return nil, nil
	}
	t.answer.Payload = t.got
	return t.answer.Append(nil)
}

// acknowledged takes the answer to a block that is not the last.
func (t *Transfer) acknowledged(m *coap.Message, msg []byte) ([]byte, error) {
	if m.Code.Class() != 2 {
		return slices.Clone(msg), nil // it says why the body is not taken
	}
	o, ok := m.Options.Get(coap.Block1)
	block, err := coap.ParseBlock(o.Value)
	if m.Code != coap.Continue || !ok || err != nil || block.SZX > t.szx || int(block.Num)*(16<<t.szx) != t.sent {
		return nil, ErrBlock
	}
	t.sent += t.out
	t.szx = block.SZX // RFC 7959 section 2.3: the server may want smaller ones
	return nil, nil
}
