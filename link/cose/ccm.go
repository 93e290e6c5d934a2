// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"unsafe"
)

// ErrVerification is returned when a tag, a MAC, a signature or a thumbprint is
// not what was expected. It does not say why: a peer must not learn it.
var ErrVerification = errors.New("cose: verification failed")

// A ccm is counter with CBC-MAC (RFC 3610) over AES. Its fields do not change,
// so that any number of goroutines may use it.
type ccm struct {
	block cipher.Block
	nonce int // bytes, 7 to 13; the length and the counter have the other 15-nonce
	tag   int // bytes, even, 4 to 16
}

func newCCM(key []byte, nonce, tag int) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &ccm{block, nonce, tag}, nil
}

func (c *ccm) NonceSize() int { return c.nonce }
func (c *ccm) Overhead() int  { return c.tag }

// maxPlaintext is how many bytes the length field of a message can tell (RFC 3610
// section 2.1), or the platform's memory can hold.
func maxPlaintext(nonce, tag int) int {
	if l := 15 - nonce; l < 8 && 1<<(8*l)-1 < math.MaxInt-tag {
		return 1<<(8*l) - 1
	}
	return math.MaxInt - tag
}

// batch is how many bytes of key stream are made at once. The counters of a
// batch are written while the one before is used: a processor that reads 16 bytes
// it has just written as 8 and 8 waits until they are in its cache. Written one by
// one before each use, sealing takes a quarter longer.
const batch = 4 * aes.BlockSize

// A ccmState is what one message needs beside the key. What is given to
// [cipher.Block] counts as escaping to the heap, so states are kept in a pool;
// ccm.go alone takes from it and gives back.
type ccmState struct {
	mac [aes.BlockSize]byte // T, the CBC-MAC so far
	s0  [aes.BlockSize]byte // S_0, which hides the tag
	ctr [batch]byte         // A_i, the counters of the next batch
	s   [batch]byte         // S_i, the key stream
}

var ccmStates = sync.Pool{New: func() any { return new(ccmState) }}

// put wipes the state, which holds key stream, and gives it back.
func (s *ccmState) put() {
	*s = ccmState{}
	ccmStates.Put(s)
}

// start takes a state and brings it to the first block of a message of n bytes.
func (c *ccm) start(nonce, ad []byte, n int) *ccmState {
	s := ccmStates.Get().(*ccmState)

	// A_0, of which S_0 is made at the end, and A_1 onwards: flags, nonce, counter
	// (RFC 3610 section 2.3).
	s.s0[0] = byte(15 - c.nonce - 1)
	copy(s.s0[1:], nonce)
	for i := 0; i < batch; i += aes.BlockSize {
		copy(s.ctr[i:], s.s0[:])
		s.ctr[i+15] = byte(i/aes.BlockSize + 1)
	}

	// B_0: flags, nonce, length (RFC 3610 section 2.2).
	binary.BigEndian.PutUint64(s.mac[8:], uint64(n))
	s.mac[0] = byte((c.tag-2)/2<<3 + 15 - c.nonce - 1)
	if len(ad) > 0 {
		s.mac[0] |= 1 << 6
	}
	copy(s.mac[1:], nonce) // over bytes of the length that are zero
	c.block.Encrypt(s.mac[:], s.mac[:])

	if len(ad) > 0 { // RFC 3610 section 2.2: how long, then the data, then zeros
		head := s.s[:0] // nothing is in it yet
		switch n := uint64(len(ad)); {
		case n < 1<<16-1<<8:
			head = binary.BigEndian.AppendUint16(head, uint16(n))
		case n < 1<<32:
			head = binary.BigEndian.AppendUint32(append(head, 0xff, 0xfe), uint32(n))
		default:
			head = binary.BigEndian.AppendUint64(append(head, 0xff, 0xff), n)
		}
		n := min(len(ad), aes.BlockSize-len(head))
		c.absorb(s, append(head, ad[:n]...))
		c.absorb(s, ad[n:])
	}
	return s
}

// absorb takes b, with zeros up to the block, into the CBC-MAC.
func (c *ccm) absorb(s *ccmState, b []byte) {
	for len(b) > 0 {
		n := subtle.XORBytes(s.mac[:], s.mac[:], b)
		c.block.Encrypt(s.mac[:], s.mac[:])
		b = b[n:]
	}
}

// stream makes the next n bytes of key stream, a batch at most.
func (c *ccm) stream(s *ccmState, n int) []byte {
	for i := 0; i < n; i += aes.BlockSize {
		c.block.Encrypt(s.s[i:], s.ctr[i:])
		// The counter has two bytes or more and, as the length of the message was
		// checked, does not run over into the nonce.
		a := s.ctr[i+8 : i+16]
		binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(a)+batch/aes.BlockSize)
	}
	return s.s[:n]
}

// finish makes the tag, and returns it in s.mac.
func (c *ccm) finish(s *ccmState) []byte {
	c.block.Encrypt(s.s0[:], s.s0[:])
	subtle.XORBytes(s.mac[:], s.mac[:], s.s0[:])
	return s.mac[:c.tag]
}

// Seal implements [cipher.AEAD]. It allocates nothing when dst has room.
func (c *ccm) Seal(dst, nonce, plaintext, ad []byte) []byte {
	if len(nonce) != c.nonce {
		panic("cose: nonce of the wrong length given to CCM")
	}
	if len(plaintext) > maxPlaintext(c.nonce, c.tag) {
		panic("cose: message too large for CCM")
	}
	dst, out := grow(dst, len(plaintext)+c.tag)
	if inexactOverlap(out, plaintext) || anyOverlap(out, ad) {
		panic("cose: invalid buffer overlap")
	}
	s := c.start(nonce, ad, len(plaintext))

	for len(plaintext) > 0 {
		n := min(len(plaintext), batch)
		stream := c.stream(s, n)
		c.absorb(s, plaintext[:n])
		subtle.XORBytes(out, plaintext[:n], stream)
		plaintext, out = plaintext[n:], out[n:]
	}
	copy(out, c.finish(s))
	s.put()
	return dst
}

// Open implements [cipher.AEAD]. It allocates nothing when dst has room. On
// failure, which is [ErrVerification], the room it would have written the
// plaintext to is zeroed: where that is the ciphertext's own, it is gone.
func (c *ccm) Open(dst, nonce, ciphertext, ad []byte) ([]byte, error) {
	if len(nonce) != c.nonce {
		panic("cose: nonce of the wrong length given to CCM")
	}
	n := len(ciphertext) - c.tag
	if n < 0 || n > maxPlaintext(c.nonce, c.tag) {
		return nil, ErrVerification
	}
	dst, plaintext := grow(dst, n)
	if inexactOverlap(plaintext, ciphertext) || anyOverlap(plaintext, ad) {
		panic("cose: invalid buffer overlap")
	}
	s := c.start(nonce, ad, n)

	in, tag := ciphertext[:n], ciphertext[n:]
	for out := plaintext; len(in) > 0; {
		n := min(len(in), batch)
		subtle.XORBytes(out, in[:n], c.stream(s, n))
		c.absorb(s, out[:n])
		in, out = in[n:], out[n:]
	}
	ok := subtle.ConstantTimeCompare(c.finish(s), tag)
	s.put()
	if ok != 1 {
		clear(plaintext)
		return nil, ErrVerification
	}
	return dst, nil
}

// grow extends dst by n bytes and returns it and those. It allocates when dst
// has no room for them.
func grow(dst []byte, n int) (all, tail []byte) {
	if room := len(dst) + n; room >= n && cap(dst) >= room {
		all = dst[:room]
	} else {
		all = make([]byte, room)
		copy(all, dst)
	}
	return all, all[len(dst):]
}

// anyOverlap reports whether a and b share memory.
func anyOverlap(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 &&
		uintptr(unsafe.Pointer(&a[0])) <= uintptr(unsafe.Pointer(&b[len(b)-1])) &&
		uintptr(unsafe.Pointer(&b[0])) <= uintptr(unsafe.Pointer(&a[len(a)-1]))
}

// inexactOverlap is anyOverlap of which neither begins where the other does.
func inexactOverlap(a, b []byte) bool {
	return anyOverlap(a, b) && &a[0] != &b[0]
}
