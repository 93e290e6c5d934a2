// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync/atomic"
)

// Sizes of what a secret puts in front of a message.
const (
	secretBytes = 16
	tagBytes    = 16
	sealBytes   = tagBytes + 8
	maxSeen     = 256 // messages of the device under one counter; what is beyond is not believed
)

// A seal is the guard's end of a link on which a device listens to nobody but to who
// has its secret, which is the guard alone. Each message is
//
//	 0                16        24
//	+----------------+---------+--------- - -
//	|      tag       | counter | message
//	+----------------+---------+--------- - -
//
// where the tag is the front of HMAC-SHA-256, under the secret, of one byte (1 to the
// device, 2 from it), the counter of eight bytes, and the message. The guard's counter is higher in each
// message; what the device says has that of what it opened last. One goroutine at a time seals, and one opens.
type seal struct {
	secret  [secretBytes]byte
	sent    atomic.Uint64
	highest uint64
	seen    [][tagBytes]byte // tags of what was opened under the highest counter
}

// newSeal makes a seal whose first counter is the one after last.
func newSeal(secret []byte, last uint64) *seal {
	s := &seal{secret: [secretBytes]byte(secret)}
	s.sent.Store(last)
	return s
}

const (
	toDevice   = 1
	fromDevice = 2
)

func (s *seal) tag(direction byte, b []byte) []byte {
	h := hmac.New(sha256.New, s.secret[:])
	h.Write([]byte{direction})
	h.Write(b)
	return h.Sum(nil)[:tagBytes]
}

// append seals a message under the next counter.
func (s *seal) append(dst, message []byte) []byte {
	b := append(binary.BigEndian.AppendUint64(nil, s.sent.Add(1)), message...)
	return append(append(dst, s.tag(toDevice, b)...), b...)
}

// open returns the message in b, the counter that it has, and whether the device sealed
// it, not before what was heard of it last, and not twice.
func (s *seal) open(b []byte) (message []byte, counter uint64, ok bool) {
	if len(b) < sealBytes || !hmac.Equal(b[:tagBytes], s.tag(fromDevice, b[tagBytes:])) {
		return b, 0, false
	}
	n := binary.BigEndian.Uint64(b[tagBytes:])
	if n < s.highest || n > s.sent.Load() { // an answer has the counter of what it answers, and a report that of the last
		return b[sealBytes:], n, false
	}
	if n > s.highest {
		s.highest, s.seen = n, s.seen[:0]
	}
	tag := [tagBytes]byte(b)
	if ok = len(s.seen) < maxSeen && !slices.Contains(s.seen, tag); ok {
		s.seen = append(s.seen, tag)
	}
	return b[sealBytes:], n, ok
}
