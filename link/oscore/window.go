// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import "fmt"

const (
	// DefaultWindow is how many sequence numbers, counted from the highest one
	// down, may still come (RFC 8613 section 3.2.2).
	DefaultWindow = 32

	// MaxWindow is the widest window.
	MaxWindow = 1024
)

// A window tells which numbers were received: of the last size below top each
// has a bit, and all before them count as received.
type window struct {
	size uint64
	top  uint64   // one above the highest received
	bits []uint64 // of number n: bit n modulo their count
}

func (w *window) init(size int) error {
	if size < 1 || size > MaxWindow {
		return fmt.Errorf("oscore: a replay window of %d; it has 1 to %d", size, MaxWindow)
	}
	w.size = uint64(size)
	w.bits = make([]uint64, (size+63)/64)
	return nil
}

func (w *window) bit(n uint64) (*uint64, uint64) {
	n %= uint64(len(w.bits)) * 64
	return &w.bits[n/64], 1 << (n % 64)
}

// fresh reports whether n may still be received.
func (w *window) fresh(n uint64) bool {
	if n >= w.top {
		return true
	}
	at, bit := w.bit(n)
	return w.top-n <= w.size && *at&bit == 0
}

// receive marks n, which is fresh, as received.
func (w *window) receive(n uint64) {
	if n >= w.top {
		if n-w.top >= uint64(len(w.bits))*64 {
			clear(w.bits)
		} else {
			for i := w.top; i < n; i++ {
				at, bit := w.bit(i)
				*at &^= bit
			}
		}
		w.top = n + 1
	}
	at, bit := w.bit(n)
	*at |= bit
}

// start forgets what was received: everything up to n counts as it.
func (w *window) start(n uint64) {
	w.top = n + 1
	for i := range w.bits {
		w.bits[i] = ^uint64(0)
	}
}
