// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"
	"time"
)

var (
	// ErrHalfOpen is returned when too many handshakes have begun and not ended.
	ErrHalfOpen = errors.New("edhoc: too many handshakes are half open")

	// ErrPeerBudget is returned when one peer has used up its attempts.
	ErrPeerBudget = errors.New("edhoc: peer has used up its attempts")

	// ErrBudget is returned when the device has used up its attempts: what its
	// battery allows.
	ErrBudget = errors.New("edhoc: device has used up its attempts")
)

// An Allowance is a number of attempts, of which one comes back after each period.
type Allowance struct {
	Attempts int
	Per      time.Duration
}

// Limits are the limits of a [Budget]. A field that is zero has its default.
type Limits struct {
	HalfOpen int           // handshakes at the same time; 32
	Timeout  time.Duration // after which one that did not end counts as ended; 30 s
	Peers    int           // for how many peers attempts are counted; 256

	Peer   Allowance // of one peer; 5, one more each 12 s
	Device Allowance // of all together; 60, one more each 10 s

	// Emergency is after how long another attempt that says that it is an
	// emergency is let through, when attempts or places are used up; 60 s.
	Emergency time.Duration
}

// A Budget limits what handshakes cost a Responder: how many are half open, how many
// one peer may begin, and how many all may, because each wakes the radio and takes
// scalar multiplications out of a battery that no one can change. The zero value
// has the default limits.
//
// One attempt is reserved for an emergency: when everything else is used up, one
// that says it is one goes through for each period. Nothing proves that before
// message_3, so an attacker can claim it too, and costs one attempt for each
// period; [Budget.Verified] gives the attempt back to whoever was what it said,
// so that a true rescuer waits one period at worst.
//
// Now is the time since some start, and does not have to be the wall clock's; when
// it goes backwards nothing comes back until it has caught up. A Budget is not for
// use by several goroutines at once.
type Budget struct {
	Limits Limits

	open      map[uint64]halfOpen
	next      uint64 // the last ticket given
	oldest    uint64 // none before it is open
	peers     map[string]*spending
	device    spending
	emergency time.Duration // when the reserved attempt was used
	used      bool
}

type halfOpen struct {
	peer      string
	since     time.Duration
	emergency bool
}

// spending is a bucket that fills with time.
type spending struct {
	spent int
	since time.Duration // of the last attempt that came back
}

// refill gives back what came back until now.
func (s *spending) refill(a Allowance, now time.Duration) {
	if s.spent == 0 {
		s.since = max(s.since, now)
		return
	}
	if now <= s.since {
		return
	}
	n := min(int64((now-s.since)/a.Per), int64(s.spent))
	s.spent -= int(n)
	s.since += time.Duration(n) * a.Per
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func (b *Budget) limits() Limits {
	l := b.Limits
	l.HalfOpen = orDefault(l.HalfOpen, 32)
	l.Timeout = orDefault(l.Timeout, 30*time.Second)
	l.Peers = orDefault(l.Peers, 256)
	l.Peer = Allowance{orDefault(l.Peer.Attempts, 5), orDefault(l.Peer.Per, 12*time.Second)}
	l.Device = Allowance{orDefault(l.Device.Attempts, 60), orDefault(l.Device.Per, 10*time.Second)}
	l.Emergency = orDefault(l.Emergency, time.Minute)
	return l
}

// Begin asks for an attempt of a peer, named by its address or whatever it cannot
// choose freely. The ticket is for [Budget.End]. An error says what was used up,
// and nothing was spent.
func (b *Budget) Begin(peer string, emergency bool, now time.Duration) (ticket uint64, err error) {
	l := b.limits()
	b.expire(l, now)
	b.device.refill(l.Device, now)
	p := b.peer(peer, l, now)
	switch {
	case len(b.open) >= l.HalfOpen:
		err = ErrHalfOpen
	case b.device.spent >= l.Device.Attempts:
		err = ErrBudget
	case p == nil || p.spent >= l.Peer.Attempts:
		err = ErrPeerBudget
	}
	reserved := err != nil
	if reserved {
		if !emergency || b.used && now-b.emergency < l.Emergency {
			return 0, err
		}
		b.used, b.emergency = true, now
	} else {
		b.device.spent++
		p.spent++
	}
	if b.open == nil {
		b.open = make(map[uint64]halfOpen)
	}
	b.next++
	b.open[b.next] = halfOpen{peer, now, reserved}
	return b.next, nil
}

// End says that a handshake has ended, however.
func (b *Budget) End(ticket uint64) { delete(b.open, ticket) }

// Verified ends a handshake whose peer proved who it is: its attempt comes back, and
// an emergency attempt may be had again.
func (b *Budget) Verified(ticket uint64) {
	o, ok := b.open[ticket]
	if !ok {
		return
	}
	delete(b.open, ticket)
	if o.emergency {
		b.used = false
		return
	}
	if p := b.peers[o.peer]; p != nil && p.spent > 0 {
		p.spent--
	}
	// The battery has paid for it: the device's attempt does not come back.
}

// HalfOpen is how many handshakes have begun and not ended.
func (b *Budget) HalfOpen() int { return len(b.open) }

// expire forgets what has timed out. Tickets are looked at in the order that they
// were given in, each once.
func (b *Budget) expire(l Limits, now time.Duration) {
	for ; b.oldest <= b.next; b.oldest++ {
		if o, ok := b.open[b.oldest]; ok {
			if now-o.since < l.Timeout {
				return
			}
			delete(b.open, b.oldest)
		}
	}
}

// peer returns what a peer has spent. When there is no room for another, those are
// forgotten that have nothing spent; when there are none it is nil: addresses that
// an attacker makes up do not push out those that count.
func (b *Budget) peer(name string, l Limits, now time.Duration) *spending {
	p := b.peers[name]
	if p == nil {
		if len(b.peers) >= l.Peers {
			for other, q := range b.peers {
				if q.refill(l.Peer, now); q.spent == 0 {
					delete(b.peers, other)
				}
			}
			if len(b.peers) >= l.Peers {
				return nil
			}
		}
		if b.peers == nil {
			b.peers = make(map[string]*spending)
		}
		p = &spending{since: now}
		b.peers[name] = p
	}
	p.refill(l.Peer, now)
	return p
}
