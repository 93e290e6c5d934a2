// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package seal is the form of what goes over the short wire between a guard and a device
// that listens to nobody else. In front of each message of a dialect stand a tag and a counter:
//
//	 0                16        24
//	+----------------+---------+--------- - -
//	|      tag       | counter | message
//	+----------------+---------+--------- - -
//
// Counter has eight bytes, the highest first. Tag is the first sixteen bytes of HMAC-SHA-256, under a
// secret of sixteen bytes that the two have, of one byte that is 1 on the way to the device and 2 on the way
// from it, the counter and the message. It does not encrypt.
//
// On the way to the device the counter is higher in each message than in all before it, over
// restarts of both. On the way from it, it is that of what the device opened last, so that an answer
// of before is none now. Who holds an end keeps the counters: this package has no state.
//
// This API is stable.
package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// The sizes of a seal, in bytes.
const (
	SecretSize = 16
	TagSize    = 16
	Size       = TagSize + 8 // in front of a message
)

// A Secret is what the two ends have.
type Secret [SecretSize]byte

// A Direction is where a message goes.
type Direction byte

// The directions, as they stand under the tag.
const (
	ToDevice Direction = 1 + iota
	FromDevice
)

func (s *Secret) tag(d Direction, b []byte) []byte {
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte{byte(d)})
	h.Write(b)
	return h.Sum(nil)[:TagSize]
}

// Append appends a message, sealed under a counter, to dst.
func (s *Secret) Append(dst []byte, d Direction, counter uint64, message []byte) []byte {
	b := append(binary.BigEndian.AppendUint64(nil, counter), message...)
	return append(append(dst, s.tag(d, b)...), b...)
}

// Open returns the message in b, a sub-slice of it, and its counter, where it was sealed with the secret
// for this direction. Whether the counter is one that may come is for the caller to know.
func (s *Secret) Open(d Direction, b []byte) (message []byte, counter uint64, ok bool) {
	if len(b) < Size || !hmac.Equal(b[:TagSize], s.tag(d, b[TagSize:])) {
		return nil, 0, false
	}
	return b[Size:], binary.BigEndian.Uint64(b[TagSize:]), true
}
