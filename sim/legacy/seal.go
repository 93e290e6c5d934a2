// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// The sizes of what stands in front of a message that is sealed.
const (
	SecretSize = 16
	TagSize    = 16
	sealSize   = TagSize + 8
)

// The directions of messages, as the tag covers them.
const (
	toDevice   byte = 1
	fromDevice byte = 2
)

// ErrSeal says that a message was not sealed with the secret, or came before.
var ErrSeal = errors.New("legacy: not sealed, or not for the first time")

// A Seal is one end of a link on which each message is
//
//	 0                16        24
//	+----------------+---------+--------- - -
//	|      tag       | counter | message
//	+----------------+---------+--------- - -
//
// Counter has eight bytes, the highest first, and is higher in each message than in those
// before it of the same direction; where it begins is up to the sender. Tag is
// the first sixteen bytes of HMAC-SHA-256, under the secret of sixteen bytes, of one byte that is
// 1 on the way to the device and 2 on the way from it, the counter and the message.
// The device remembers the highest counter that it accepted, and begins its own at 1. A
// guard that is started again goes on above what it used: the nanoseconds since 1970 do.
//
// It is not safe for concurrent use.
type Seal struct {
	secret           [SecretSize]byte
	out, in          byte
	counter, highest uint64
}

// NewSeal returns the end that a guard has. Its first counter is above after.
func NewSeal(secret []byte, after uint64) (*Seal, error) {
	return newSeal(secret, toDevice, fromDevice, after)
}

func newSeal(secret []byte, out, in byte, after uint64) (*Seal, error) {
	if len(secret) != SecretSize {
		return nil, errors.New("legacy: a secret has 16 bytes")
	}
	return &Seal{secret: [SecretSize]byte(secret), out: out, in: in, counter: after}, nil
}

// tag is the tag of what stands behind it.
func (s *Seal) tag(direction byte, b []byte) []byte {
	h := hmac.New(sha256.New, s.secret[:])
	h.Write([]byte{direction})
	h.Write(b)
	return h.Sum(nil)[:TagSize]
}

// Append appends a message, sealed under the next counter.
func (s *Seal) Append(dst, message []byte) []byte {
	s.counter++
	b := append(binary.BigEndian.AppendUint64(nil, s.counter), message...)
	return append(append(dst, s.tag(s.out, b)...), b...)
}

// Open returns the message in b, a sub-slice of it, or [ErrSeal].
func (s *Seal) Open(b []byte) ([]byte, error) {
	if len(b) < sealSize || !hmac.Equal(b[:TagSize], s.tag(s.in, b[TagSize:])) {
		return nil, ErrSeal
	}
	n := binary.BigEndian.Uint64(b[TagSize:])
	if n <= s.highest {
		return nil, ErrSeal
	}
	s.highest = n
	return b[sealSize:], nil
}
