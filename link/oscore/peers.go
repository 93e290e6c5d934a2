// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"errors"
	"slices"
	"sync"

	"github.com/myelin-health/myelin/proto/coap"
)

// maxClash is how many contexts with one kid a request is tried with: so many
// times the cost of a decryption is what a forged request costs.
const maxClash = 8

// ErrFull is returned for a peer that there is no place for.
var ErrFull = errors.New("oscore: no place for another peer, or for another with this kid")

// Peers are the security contexts of a server, found by the kid and the kid
// context of a request in a time that does not grow with their number. Peers may
// have the same kid, since they chose it or it is short: then each is tried.
//
// It forgets nobody: at Max, Add fails, and whom to remove is the caller's to
// say. It may be used by several goroutines; its zero value is ready.
type Peers struct {
	Max int // contexts; 0 is 10,000

	mu   sync.RWMutex // guards what follows
	all  map[*Context]struct{}
	byID map[string][]*Context // by kid, and by kid and kid context; the lists do not change
}

// Add adds a peer. [ErrFull] is returned at Max, and for a peer whose kid too
// many have: a server that chooses kids, as with EDHOC it does, asks
// [Peers.Taken] first.
func (p *Peers) Add(c *Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.Max
	if limit == 0 {
		limit = 10000
	}
	if _, ok := p.all[c]; ok {
		return nil
	}
	keys := c.peerKeys()
	if len(p.all) >= limit || len(p.byID[string(keys[0])]) >= maxClash {
		return ErrFull
	}
	if p.all == nil {
		p.all, p.byID = map[*Context]struct{}{}, map[string][]*Context{}
	}
	p.all[c] = struct{}{}
	for _, key := range keys {
		// Beyond maxClash those that have a kid context are found only by it.
		if list := p.byID[string(key)]; len(list) < maxClash {
			p.byID[string(key)] = append(slices.Clip(list), c)
		}
	}
	return nil
}

// Remove removes a peer, if it is there.
func (p *Peers) Remove(c *Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.all[c]; !ok {
		return
	}
	delete(p.all, c)
	for _, key := range c.peerKeys() {
		rest := slices.DeleteFunc(slices.Clone(p.byID[string(key)]), func(o *Context) bool { return o == c })
		if len(rest) == 0 {
			delete(p.byID, string(key))
			continue
		}
		p.byID[string(key)] = rest
	}
}

// Len is how many peers there are.
func (p *Peers) Len() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.all)
}

// Taken reports whether a peer without a kid context has this kid, or one with a
// kid context may be looked for under it.
func (p *Peers) Taken(kid []byte) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.byID[string(kid)]) > 0
}

// peerKeys are what a request may call c: first what no other should, last the kid
// alone.
func (c *Context) peerKeys() [][]byte {
	var keys [][]byte
	for _, kidContext := range [][]byte{c.idContext, c.wrapped} {
		if kidContext != nil {
			keys = append(keys, appendPeerKey(nil, c.recipientID, kidContext))
		}
	}
	return append(keys, c.recipientID)
}

// appendPeerKey appends the kid and, when there is one, the kid context behind the
// kid's length and eight bytes: no kid is so long that it could be mistaken for both.
func appendPeerKey(dst, kid, kidContext []byte) []byte {
	if kidContext == nil {
		return append(dst, kid...)
	}
	dst = append(dst, byte(len(kid)))
	dst = append(append(dst, kid...), make([]byte, maxID-min(len(kid), maxID))...)
	return append(dst, kidContext...)
}

// UnprotectRequest is [Context.UnprotectRequest] of the peer whose request msg
// is, and returns its context. When several have the kid, an error is that of the
// one that the ciphertext belongs to.
func (p *Peers) UnprotectRequest(dst, msg []byte, x *Exchange) ([]byte, *Context, error) {
	var m coap.Message
	if err := m.Parse(msg); err != nil || !m.Code.Request() {
		return dst, nil, ErrOption
	}
	value, ok := identify(&m)
	if !ok || value.PartialIV == nil || value.KID == nil {
		return dst, nil, ErrOption
	}
	if len(value.KID) > maxID {
		return dst, nil, ErrContext
	}
	var room [8 + 255 + maxID]byte
	key := appendPeerKey(room[:0], value.KID, value.KIDContext)
	p.mu.RLock()
	list := p.byID[string(key)]
	p.mu.RUnlock()
	worst := ErrContext
	for _, c := range list {
		got, err := c.unprotectRequest(dst, &m, &value, x)
		if err == nil || errors.Is(err, ErrUnproven) || errors.Is(err, ErrInner) {
			return got, c, err
		}
		if worst == ErrContext || worst == ErrDecrypt {
			worst = err
		}
	}
	return dst, nil, worst
}
