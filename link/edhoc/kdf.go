// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"hash"
	"math/bits"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// maxHash is the largest digest and the largest pseudorandom key.
const maxHash = 64

// A kdf has the EDHOC hash algorithm of a suite and what is derived with it:
// transcript hashes, EDHOC_Extract and EDHOC_KDF (RFC 9528 section 4.1). One
// hash is made for a whole handshake. Its scratch space is part of it because
// what is given to a [hash.Hash] counts as escaping to the heap.
type kdf struct {
	h    hash.Hash
	size int         // bytes of a digest
	kmac *sha3.SHAKE // of SHAKE256, which goes with KMAC256; nil of SHA-2, with HMAC

	pad  [136]byte // the block that HMAC or KMAC256 begins with
	t    [maxHash]byte
	head [24]byte

	trace func(name string, parts ...[]byte) // for tests
}

// see shows a value to a test.
func (k *kdf) see(name string, parts ...[]byte) {
	if k.trace != nil {
		k.trace(name, parts...)
	}
}

func newKDF(a cose.Algorithm) kdf {
	switch a {
	case cose.SHA384:
		return kdf{h: sha512.New384(), size: 48}
	case shake256:
		return kdf{h: shakeHash{sha3.NewSHAKE256()}, size: 64, kmac: sha3.NewCSHAKE256([]byte("KMAC"), nil)}
	default:
		return kdf{h: sha256.New(), size: 32}
	}
}

// hash writes the digest of a sequence of CBOR to out: of first as a byte string,
// and of what follows, which is encoded.
func (k *kdf) hash(out, first []byte, rest ...[]byte) {
	head := cbor.AppendBytesHead(k.head[:0], len(first))
	k.h.Reset()
	k.h.Write(head)
	k.h.Write(first)
	for _, b := range rest {
		k.h.Write(b)
	}
	k.see("hash input", append([][]byte{head, first}, rest...)...)
	k.h.Sum(out[:0])
}

// digest writes the digest of b to out.
func (k *kdf) digest(out, b []byte) {
	k.h.Reset()
	k.h.Write(b)
	k.h.Sum(out[:0])
}

// extract is EDHOC_Extract into out, which is as long as a digest.
func (k *kdf) extract(out, salt, ikm []byte) {
	if k.kmac != nil {
		k.kmac256(out, salt, ikm)
		return
	}
	k.begin(salt)
	k.h.Write(ikm)
	k.finish(salt, out)
}

// begin starts HMAC (RFC 2104); no key is longer than a block.
func (k *kdf) begin(key []byte) { k.keyed(key, 0x36) }

func (k *kdf) keyed(key []byte, pad byte) {
	block := k.pad[:k.h.BlockSize()]
	n := copy(block, key)
	clear(block[n:])
	for i := range block {
		block[i] ^= pad
	}
	k.h.Reset()
	k.h.Write(block)
}

// finish writes the HMAC to out, or as much of it as out has room for.
func (k *kdf) finish(key, out []byte) {
	inner := k.h.Sum(k.t[:0])
	k.keyed(key, 0x5c)
	k.h.Write(inner)
	copy(out, k.h.Sum(k.t[:0]))
}

// expand is EDHOC_KDF: it fills out from prk. It is at most 255 digests long.
func (k *kdf) expand(out, prk []byte, label uint64, context []byte) {
	// info = ( label : int, context : bstr, length : uint ), RFC 9528 section 4.1.2
	info := cbor.AppendBytesHead(cbor.AppendUint(k.head[:0], label), len(context))
	n := len(info)
	info = cbor.AppendUint(info, uint64(len(out)))
	counter := len(info)
	info = append(info, 1)

	k.see("info", info[:n], context, info[n:counter])

	if k.kmac != nil {
		k.kmac256(out, prk, info[:n], context, info[n:counter])
		return
	}

	var last []byte // T(i) of RFC 5869 section 2.3
	for len(out) > 0 {
		k.begin(prk)
		k.h.Write(last)
		k.h.Write(info[:n])
		k.h.Write(context)
		k.h.Write(info[n:])
		part := out[:min(len(out), k.size)]
		k.finish(prk, part)
		last, out = part, out[len(part):]
		info[counter]++
	}
}

// kmac256 fills out with KMAC256 of the parts, without a customization string (NIST SP
// 800-185 section 4). No key fills a block with its length.
func (k *kdf) kmac256(out, key []byte, parts ...[]byte) {
	k.kmac.Reset()
	b := append(k.pad[:0], 1, byte(len(k.pad))) // bytepad( encode_string( key ), 136 )
	b = append(appendBits(b, len(key), true), key...)
	clear(k.pad[len(b):])
	k.kmac.Write(k.pad[:])
	for _, p := range parts {
		k.kmac.Write(p)
	}
	k.kmac.Write(appendBits(k.head[:0], len(out), false))
	k.kmac.Read(out)
}

// appendBits appends left_encode or right_encode of how many bits n bytes have (NIST
// SP 800-185 section 2.3.1).
func appendBits(dst []byte, n int, left bool) []byte {
	n *= 8
	size := max(1, (bits.Len(uint(n))+7)/8)
	if left {
		dst = append(dst, byte(size))
	}
	for i := size - 1; i >= 0; i-- {
		dst = append(dst, byte(n>>(8*i)))
	}
	if !left {
		dst = append(dst, byte(size))
	}
	return dst
}

// shakeHash is SHAKE256 with the output of 512 bits that COSE gives it (RFC 9054 section
// 3.3). It is reset after each Sum, which a SHAKE cannot go on from.
type shakeHash struct{ *sha3.SHAKE }

func (s shakeHash) Size() int { return 64 }

func (s shakeHash) Sum(b []byte) []byte {
	var sum [64]byte
	s.Read(sum[:])
	return append(b, sum[:]...)
}

// wipe forgets what the scratch space still holds.
func (k *kdf) wipe() {
	clear(k.pad[:])
	clear(k.t[:])
	if k.h != nil {
		k.h.Reset()
	}
	if k.kmac != nil {
		k.kmac.Reset()
	}
}
