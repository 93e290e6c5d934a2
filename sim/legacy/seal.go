// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"errors"

	wire "github.com/myelin-health/myelin/proto/radio/seal"
)

// SecretSize is that of [Config.Secret], in bytes.
const SecretSize = wire.SecretSize

// A deviceSeal is the device's end of a link that is sealed. It keeps the highest counter that it
// accepted, over restarts too where [Config.Counter] does. It is not safe for concurrent use.
type deviceSeal struct {
	secret  wire.Secret
	counter *uint64
}

func newSeal(secret []byte, counter *uint64) (*deviceSeal, error) {
	if len(secret) != SecretSize {
		return nil, errors.New("legacy: a secret has 16 bytes")
	}
	if counter == nil {
		counter = new(uint64)
	}
	return &deviceSeal{wire.Secret(secret), counter}, nil
}

// append appends a message, sealed under the counter of what was opened last.
func (s *deviceSeal) append(dst, message []byte) []byte {
	return s.secret.Append(dst, wire.FromDevice, *s.counter, message)
}

// open returns the message in b, a sub-slice of it, unless it was not sealed or came before.
func (s *deviceSeal) open(b []byte) ([]byte, bool) {
	message, n, ok := s.secret.Open(wire.ToDevice, b)
	if !ok || n <= *s.counter {
		return nil, false
	}
	*s.counter = n
	return message, true
}
