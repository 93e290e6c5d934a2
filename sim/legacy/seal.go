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

// toDevice stands for the direction under the tag; one more is that from the device.
const toDevice byte = 1

// ErrSeal says that a message was not sealed with the secret, or came before.
var ErrSeal = errors.New("legacy: not sealed, or not for the first time")

// A Seal is one end of a link on which each message is
//
//	 0                16        24
//	+----------------+---------+--------- - -
//	|      tag       | counter | message
//	+----------------+---------+--------- - -
//
// Counter has eight bytes, the highest first. On the way to the device it is higher in each message
// than in all before it; where it begins is up to the guard, which goes on above what it used when it
// is started again: the nanoseconds since 1970 do. On the way from the device it is that of the message
// that is answered, so that an answer of before is none now; a guard sends the next message
// when the answer is there or is not waited for any more. Tag is the first sixteen bytes of HMAC-SHA-256, under the
// secret of sixteen bytes, of one byte that is 1 on the way to the device and 2 on the way from it, the
// counter and the message. The device keeps the highest counter that it accepted, over restarts too
// where [Config.Counter] does.
//
// It is not safe for concurrent use.
type Seal struct {
	secret  [SecretSize]byte
	device  bool    // this end is the device's
	counter *uint64 // the last one sent, or accepted
}

// NewSeal returns the end that a guard has. Its first counter is the one after last.
func NewSeal(secret []byte, last uint64) (*Seal, error) { return newSeal(secret, false, &last) }

func newSeal(secret []byte, device bool, counter *uint64) (*Seal, error) {
	if len(secret) != SecretSize {
		return nil, errors.New("legacy: a secret has 16 bytes")
	}
	if counter == nil {
		counter = new(uint64)
	}
	return &Seal{secret: [SecretSize]byte(secret), device: device, counter: counter}, nil
}

// tag is the tag of counter and message.
func (s *Seal) tag(from bool, b []byte) []byte {
	h := hmac.New(sha256.New, s.secret[:])
	h.Write([]byte{toDevice + bit(from)})
	h.Write(b)
	return h.Sum(nil)[:TagSize]
}

// Append appends a message, sealed: a guard's under the next counter, a device's under that of what it
// opened last.
func (s *Seal) Append(dst, message []byte) []byte {
	if !s.device {
		*s.counter++
	}
	b := append(binary.BigEndian.AppendUint64(nil, *s.counter), message...)
	return append(append(dst, s.tag(s.device, b)...), b...)
}

// Open returns the message in b, a sub-slice of it, or [ErrSeal].
func (s *Seal) Open(b []byte) ([]byte, error) {
	if len(b) < sealSize || !hmac.Equal(b[:TagSize], s.tag(!s.device, b[TagSize:])) {
		return nil, ErrSeal
	}
	switch n := binary.BigEndian.Uint64(b[TagSize:]); {
	case s.device && n > *s.counter:
		*s.counter = n
	case s.device || n != *s.counter:
		return nil, ErrSeal
	}
	return b[sealSize:], nil
}
