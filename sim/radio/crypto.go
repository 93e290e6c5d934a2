// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"github.com/myelin-health/myelin/ble"
)

// The cryptography of the security manager (Vol 3 Part H section 2.2) and of
// the link layer (Vol 6 Part E). As in the specification's own samples, numbers
// are written with the most significant byte first; what goes over the air is
// reversed.

// A key is 128 bits.
type key [16]byte

func (k key) block() cipher.Block {
	b, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // sixteen bytes are a key
	}
	return b
}

// e is the security function e (section 2.2.1).
func (k key) e(plain key) (out key) {
	k.block().Encrypt(out[:], plain[:])
	return out
}

func (k key) xor(o key) key {
	for i := range k {
		k[i] ^= o[i]
	}
	return k
}

// air returns k as it is sent.
func (k key) air() []byte { return reversed(k[:]) }

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c
	}
	return out
}

// short is k reduced to size octets: what is left out is zero (section 2.3.4).
func (k key) short(size uint8) key {
	for i := range 16 - int(size) {
		k[i] = 0
	}
	return k
}

// ah is the random address hash (section 2.2.2).
func (k key) ah(prand [3]byte) [3]byte {
	var r key
	copy(r[13:], prand[:])
	out := k.e(r)
	return [3]byte(out[13:])
}

// c1 is the confirm value of legacy pairing (section 2.2.3): r is the random
// number, request and response are the PDUs as they were sent.
func c1(tk, r key, request, response []byte, initiator, responder ble.Address) key {
	var p1, p2 key
	copy(p1[:], reversed(response))
	copy(p1[7:], reversed(request))
	p1[14], p1[15] = addressType(responder), addressType(initiator)
	copy(p2[4:], initiator.Bytes[:])
	copy(p2[10:], responder.Bytes[:])
	return tk.e(tk.e(r.xor(p1)).xor(p2))
}

// s1 is the short-term key of legacy pairing (section 2.2.4).
func s1(tk, responder, initiator key) key {
	var r key
	copy(r[:], responder[8:])
	copy(r[8:], initiator[8:])
	return tk.e(r)
}

// cmac is AES-CMAC (RFC 4493).
func (k key) cmac(m []byte) key {
	double := func(k key) (out key) {
		for i := range k {
			out[i] = k[i] << 1
			if i < 15 {
				out[i] |= k[i+1] >> 7
			}
		}
		if k[0]&0x80 != 0 {
			out[15] ^= 0x87
		}
		return out
	}
	sub := double(k.e(key{}))
	n := max((len(m)+15)/16, 1)
	var last key
	if rest := copy(last[:], m[16*(n-1):]); rest < 16 {
		last[rest] = 0x80
		sub = double(sub)
	}
	var x key
	for i := range n - 1 {
		x = k.e(x.xor(key(m[16*i:])))
	}
	return k.e(x.xor(last.xor(sub)))
}

// f4 is the confirm value of Secure Connections (section 2.2.6).
func f4(u, v [32]byte, x key, z byte) key {
	return x.cmac(append(append(u[:], v[:]...), z))
}

// f5 makes the keys of Secure Connections (section 2.2.7).
func f5(w [32]byte, n1, n2 key, a1, a2 ble.Address) (mac, ltk key) {
	salt := key{0x6c, 0x88, 0x83, 0x91, 0xaa, 0xf5, 0xa5, 0x38, 0x60, 0x37, 0x0b, 0xdb, 0x5a, 0x60, 0x83, 0xbe}
	t := salt.cmac(w[:])
	m := append([]byte{0, 'b', 't', 'l', 'e'}, n1[:]...)
	m = append(m, n2[:]...)
	m = appendAddress(appendAddress(m, a1), a2)
	m = append(m, 1, 0) // Length: 256 bits
	mac = t.cmac(m)
	m[0] = 1
	return mac, t.cmac(m)
}

// f6 is the check value of Secure Connections (section 2.2.8). features are
// those of the sender's request or response.
func f6(mac, n1, n2, r key, features ble.PairingFeatures, a1, a2 ble.Address) key {
	m := append(append(n1[:], n2[:]...), r[:]...)
	m = append(m, features.AuthReq, boolBit(features.OOB), byte(features.IOCapability))
	return mac.cmac(appendAddress(appendAddress(m, a1), a2))
}

func addressType(a ble.Address) byte { return boolBit(a.Kind > ble.Public) }

func appendAddress(dst []byte, a ble.Address) []byte {
	return append(append(dst, addressType(a)), a.Bytes[:]...)
}

// seal is AES-CCM with nonces of 13 bytes and a tag of n (RFC 3610): the
// ciphertext and the tag of plain, with more, at most 14 bytes, that is
// authenticated in clear.
func (k key) seal(dst []byte, nonce [13]byte, n int, more, plain []byte) []byte {
	block := k.block()
	stream := func(i int) (out key) {
		a := key{0: 1, 14: byte(i >> 8), 15: byte(i)}
		copy(a[1:], nonce[:])
		block.Encrypt(out[:], a[:])
		return out
	}
	x := key{0: byte((n-2)/2<<3 | 1), 14: byte(len(plain) >> 8), 15: byte(len(plain))}
	if len(more) > 0 {
		x[0] |= 0x40
	}
	copy(x[1:], nonce[:])
	block.Encrypt(x[:], x[:])
	add := func(b key) {
		x = x.xor(b)
		block.Encrypt(x[:], x[:])
	}
	if len(more) > 0 {
		b := key{1: byte(len(more))}
		copy(b[2:], more)
		add(b)
	}
	for i := 0; i < len(plain); i += 16 {
		var b key
		m := copy(b[:], plain[i:])
		add(b)
		s := stream(i/16 + 1)
		for j := range m {
			dst = append(dst, b[j]^s[j])
		}
	}
	tag := x.xor(stream(0))
	return append(dst, tag[:n]...)
}

// A session encrypts what one side of a link sends (Vol 6 Part E section 2).
type session struct {
	key     key
	iv      [8]byte
	counter [3]uint64 // of each side
}

// newSession makes the session of a long-term key and both sides' parts (Vol 6
// Part B section 5.1.3.1).
func newSession(ltk key, skdC, skdP uint64, ivC, ivP uint32) *session {
	var skd key
	binary.BigEndian.PutUint64(skd[:], skdP)
	binary.BigEndian.PutUint64(skd[8:], skdC)
	s := &session{key: ltk.e(skd)}
	binary.LittleEndian.PutUint32(s.iv[:], ivC)
	binary.LittleEndian.PutUint32(s.iv[4:], ivP)
	return s
}

// seal encrypts the payload of a PDU whose header begins with first, and counts it.
func (s *session) seal(from ble.Side, first byte, payload []byte) []byte {
	const micSize = 4
	var nonce [13]byte
	n := s.counter[from]
	s.counter[from]++
	for i := range 5 {
		nonce[i] = byte(n >> (8 * i))
	}
	if from == ble.Central {
		nonce[4] |= 0x80
	}
	copy(nonce[5:], s.iv[:])
	// NESN, SN and MD change when a PDU is sent again, and are masked.
	return s.key.seal(nil, nonce, micSize, []byte{first & 0xe3}, payload)
}
