// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package toolbox is the cryptographic toolbox of the security manager (Bluetooth Core
// Specification 5.4, Vol 3 Part H section 2.2) and the encryption of the link layer (Vol 6
// Part E), for devices and attackers that are simulated. As in the specification's own
// samples, numbers are written with the most significant byte first; what goes over the air
// is reversed. Nothing here is safe against who measures time.
//
// This API follows the server and may change.
package toolbox

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"github.com/myelin-health/myelin/ble"
)

// A Key is 128 bits.
type Key [16]byte

func (k Key) block() cipher.Block {
	b, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // sixteen bytes are a key
	}
	return b
}

// e is the security function e (section 2.2.1).
func (k Key) e(plain Key) (out Key) {
	k.block().Encrypt(out[:], plain[:])
	return out
}

func (k Key) xor(o Key) Key {
	for i := range k {
		k[i] ^= o[i]
	}
	return k
}

// Air returns k as it is sent.
func (k Key) Air() []byte { return Reversed(k[:]) }

// Reversed returns b with its last byte first.
func Reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c
	}
	return out
}

// Short is k reduced to size octets: what is left out is zero (section 2.3.4).
func (k Key) Short(size uint8) Key {
	for i := range 16 - int(size) {
		k[i] = 0
	}
	return k
}

// Ah is the random address hash (section 2.2.2).
func (k Key) Ah(prand [3]byte) [3]byte {
	var r Key
	copy(r[13:], prand[:])
	out := k.e(r)
	return [3]byte(out[13:])
}

// C1 is the confirm value of legacy pairing (section 2.2.3): r is the random
// number, request and response are the PDUs as they were sent.
func C1(tk, r Key, request, response []byte, initiator, responder ble.Address) Key {
	var p1, p2 Key
	copy(p1[:], Reversed(response))
	copy(p1[7:], Reversed(request))
	p1[14], p1[15] = AddressType(responder), AddressType(initiator)
	copy(p2[4:], initiator.Bytes[:])
	copy(p2[10:], responder.Bytes[:])
	return tk.e(tk.e(r.xor(p1)).xor(p2))
}

// S1 is the short-term key of legacy pairing (section 2.2.4).
func S1(tk, responder, initiator Key) Key {
	var r Key
	copy(r[:], responder[8:])
	copy(r[8:], initiator[8:])
	return tk.e(r)
}

// cmac is AES-CMAC (RFC 4493).
func (k Key) cmac(m []byte) Key {
	double := func(k Key) (out Key) {
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
	sub := double(k.e(Key{}))
	n := max((len(m)+15)/16, 1)
	var last Key
	if rest := copy(last[:], m[16*(n-1):]); rest < 16 {
		last[rest] = 0x80
		sub = double(sub)
	}
	var x Key
	for i := range n - 1 {
		x = k.e(x.xor(Key(m[16*i:])))
	}
	return k.e(x.xor(last.xor(sub)))
}

// F4 is the confirm value of Secure Connections (section 2.2.6).
func F4(u, v [32]byte, x Key, z byte) Key {
	return x.cmac(append(append(u[:], v[:]...), z))
}

// F5 makes the keys of Secure Connections (section 2.2.7).
func F5(w [32]byte, n1, n2 Key, a1, a2 ble.Address) (mac, ltk Key) {
	salt := Key{0x6c, 0x88, 0x83, 0x91, 0xaa, 0xf5, 0xa5, 0x38, 0x60, 0x37, 0x0b, 0xdb, 0x5a, 0x60, 0x83, 0xbe}
	t := salt.cmac(w[:])
	m := append([]byte{0, 'b', 't', 'l', 'e'}, n1[:]...)
	m = append(m, n2[:]...)
	m = appendAddress(appendAddress(m, a1), a2)
	m = append(m, 1, 0) // Length: 256 bits
	mac = t.cmac(m)
	m[0] = 1
	return mac, t.cmac(m)
}

// F6 is the check value of Secure Connections (section 2.2.8). features are
// those of the sender's request or response.
func F6(mac, n1, n2, r Key, features ble.PairingFeatures, a1, a2 ble.Address) Key {
	m := append(append(n1[:], n2[:]...), r[:]...)
	m = append(m, features.AuthReq, bit(features.OOB), byte(features.IOCapability))
	return mac.cmac(appendAddress(appendAddress(m, a1), a2))
}

// AddressType is what stands for the kind of an address: 0 public, 1 random.
func AddressType(a ble.Address) byte { return bit(a.Kind > ble.Public) }

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendAddress(dst []byte, a ble.Address) []byte {
	return append(append(dst, AddressType(a)), a.Bytes[:]...)
}

// Seal is AES-CCM with nonces of 13 bytes and a tag of n (RFC 3610): the
// ciphertext and the tag of plain, with more, at most 14 bytes, that is
// authenticated in clear.
func (k Key) Seal(dst []byte, nonce [13]byte, n int, more, plain []byte) []byte {
	block := k.block()
	stream := func(i int) (out Key) {
		a := Key{0: 1, 14: byte(i >> 8), 15: byte(i)}
		copy(a[1:], nonce[:])
		block.Encrypt(out[:], a[:])
		return out
	}
	x := Key{0: byte((n-2)/2<<3 | 1), 14: byte(len(plain) >> 8), 15: byte(len(plain))}
	if len(more) > 0 {
		x[0] |= 0x40
	}
	copy(x[1:], nonce[:])
	block.Encrypt(x[:], x[:])
	add := func(b Key) {
		x = x.xor(b)
		block.Encrypt(x[:], x[:])
	}
	if len(more) > 0 {
		b := Key{1: byte(len(more))}
		copy(b[2:], more)
		add(b)
	}
	for i := 0; i < len(plain); i += 16 {
		var b Key
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

// A Session encrypts what the sides of a link send (Vol 6 Part E section 2). It counts what each
// side sent: a party to the link has one for both directions.
type Session struct {
	key     Key
	iv      [8]byte
	counter [3]uint64 // of each side
}

// NewSession makes the session of a long-term key and both sides' parts (Vol 6
// Part B section 5.1.3.1).
func NewSession(ltk Key, skdC, skdP uint64, ivC, ivP uint32) *Session {
	var skd Key
	binary.BigEndian.PutUint64(skd[:], skdP)
	binary.BigEndian.PutUint64(skd[8:], skdC)
	s := &Session{key: ltk.e(skd)}
	binary.LittleEndian.PutUint32(s.iv[:], ivC)
	binary.LittleEndian.PutUint32(s.iv[4:], ivP)
	return s
}

const micSize = 4 // bytes

// Seal encrypts the payload of a PDU whose header begins with first, and counts it.
func (s *Session) Seal(from ble.Side, first byte, payload []byte) []byte {
	b := s.key.Seal(nil, s.nonce(from), micSize, masked(first), payload)
	s.counter[from]++
	return b
}

// Open decrypts the payload of a PDU whose header begins with first, and counts it when its MIC is right.
func (s *Session) Open(from ble.Side, first byte, sealed []byte) (payload []byte, ok bool) {
	n := len(sealed) - micSize
	if n < 0 {
		return nil, false
	}
	nonce := s.nonce(from)
	payload = s.key.Seal(nil, nonce, micSize, nil, sealed[:n])[:n] // the stream is the same in both directions
	if !bytes.Equal(s.key.Seal(nil, nonce, micSize, masked(first), payload), sealed) {
		return nil, false
	}
	s.counter[from]++
	return payload, true
}

// masked is the first byte of a header without NESN, SN and MD, which change when a PDU is sent again.
func masked(first byte) []byte { return []byte{first & 0xe3} }

func (s *Session) nonce(from ble.Side) (nonce [13]byte) {
	n := s.counter[from]
	for i := range 5 {
		nonce[i] = byte(n >> (8 * i))
	}
	if from == ble.Central {
		nonce[4] |= 0x80
	}
	copy(nonce[5:], s.iv[:])
	return nonce
}
