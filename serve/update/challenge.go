// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"time"

	"github.com/myelin-health/myelin/link/cose"
)

// A challenge is 8 bytes of the server's time in milliseconds, and the first 8 of
// HMAC-SHA-256 over it and the device's id. Who guesses one is right once in 2^64 times,
// and each guess is a poll.
const challengeSize = 16

// challengeKey follows from the hospital's private key: servers that share that one
// know each other's challenges.
func challengeKey(k *cose.Key) []byte {
	h := hmac.New(sha256.New, k.D)
	h.Write([]byte("myelin update challenge 1"))
	return h.Sum(nil)
}

func (s *Service) challenge(at time.Time, device string) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+sha256.Size), uint64(at.UnixMilli()))
	return s.mac(b, device)
}

// mac appends the MAC to 8 bytes of time.
func (s *Service) mac(b []byte, device string) []byte {
	h := s.macs.Get().(hash.Hash)
	defer s.macs.Put(h)
	h.Reset()
	h.Write(b)
	io.WriteString(h, device)
	return h.Sum(b)[:challengeSize]
}

// age is how old a State with an echo is: since when it cannot have been made. False:
// the echo is none of ours for this device, or of the time to come.
func (s *Service) age(now time.Time, device string, echo []byte) (time.Duration, bool) {
	if len(echo) != challengeSize {
		return 0, false
	}
	if !hmac.Equal(s.mac(append(make([]byte, 0, 8+sha256.Size), echo[:8]...), device), echo) {
		return 0, false
	}
	age := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(echo))))
	return age, age >= -time.Millisecond
}
