// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"slices"
	"sync/atomic"

	wire "github.com/myelin-health/myelin/proto/radio/seal"
)

// secretBytes is the size of what a device of a sole path is told by.
const secretBytes = wire.SecretSize

const maxSeen = 256 // messages of the device under one counter; what is beyond is not believed

// A seal is the guard's end of a link on which a device listens to nobody but to who
// has its secret, which is the guard alone. The guard's counter is higher in each
// message; what the device says has that of what it opened last. One goroutine at a time seals, and one opens.
type seal struct {
	secret  wire.Secret
	sent    atomic.Uint64
	highest uint64
	seen    [][wire.TagSize]byte // tags of what was opened under the highest counter
}

// newSeal makes a seal whose first counter is the one after last.
func newSeal(secret []byte, last uint64) *seal {
	s := &seal{secret: wire.Secret(secret)}
	s.sent.Store(last)
	return s
}

// append seals a message under the next counter.
func (s *seal) append(dst, message []byte) []byte {
	return s.secret.Append(dst, wire.ToDevice, s.sent.Add(1), message)
}

// open returns the message in b, the counter that it has, and whether the device sealed
// it, not before what was heard of it last, and not twice.
func (s *seal) open(b []byte) (message []byte, counter uint64, ok bool) {
	message, n, ok := s.secret.Open(wire.FromDevice, b)
	if !ok {
		return b, 0, false
	}
	if n < s.highest || n > s.sent.Load() { // an answer has the counter of what it answers, and a report that of the last
		return message, n, false
	}
	if n > s.highest {
		s.highest, s.seen = n, s.seen[:0]
	}
	tag := [wire.TagSize]byte(b)
	if ok = len(s.seen) < maxSeen && !slices.Contains(s.seen, tag); ok {
		s.seen = append(s.seen, tag)
	}
	return message, n, ok
}
