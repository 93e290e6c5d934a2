// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// ja4Stack is how many cipher suites or extensions are sorted without an
// allocation. Browsers send under 40.
const ja4Stack = 128

// AppendJA4 appends the JA4 fingerprint of h to dst (FoxIO, "JA4: TLS Client
// Fingerprinting"): what tells one client's software from another's, 36
// characters. What came over UDP in DTLS is a datagram.
func (h *ClientHello) AppendJA4(dst []byte, datagram bool) []byte {
	var stack [2][ja4Stack]uint16
	var text [ja4Stack * 5]byte
	suites, exts := stack[0][:0], stack[1][:0]
	for s := range h.CipherSuites.All() {
		if !IsGREASE(s) {
			suites = append(suites, s)
		}
	}
	count := 0
	for t := range h.Extensions.Types() {
		if IsGREASE(t) {
			continue
		}
		count++
		// The name called and the protocol are in the first part already.
		if t != extServerName && t != extALPN {
			exts = append(exts, t)
		}
	}
	slices.Sort(suites)
	slices.Sort(exts)

	dst = append(dst, "td"[btoi(datagram)])
	dst = append(dst, ja4Version(h.MaxVersion())...)
	dst = append(dst, "id"[btoi(h.HasServerName)])
	dst = appendTwo(dst, len(suites))
	dst = appendTwo(dst, count)
	dst = appendALPN(dst, h.ALPN.First())

	dst = append(dst, '_')
	dst = appendHash(dst, appendHex(text[:0], suites))
	dst = append(dst, '_')
	b := appendHex(text[:0], exts)
	// The signature algorithms keep their order: it is the client's own.
	for s, sep := range h.signatures() {
		b = append(b, sep)
		b = hex.AppendEncode(b, []byte{byte(s >> 8), byte(s)})
	}
	if len(exts) == 0 {
		b = b[:0]
	}
	return appendHash(dst, b)
}

// signatures yields the signature algorithms, each with what separates it from
// what stands before.
func (h *ClientHello) signatures() func(yield func(uint16, byte) bool) {
	return func(yield func(uint16, byte) bool) {
		sep := byte('_')
		for s := range h.SignatureAlgorithms.All() {
			if IsGREASE(s) {
				continue
			}
			if !yield(s, sep) {
				return
			}
			sep = ','
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func ja4Version(v Version) string {
	for i := range versions {
		if versions[i].version == v {
			return versions[i].ja4
		}
	}
	return "00"
}

// appendTwo appends n in two digits, 99 when it is more.
func appendTwo(dst []byte, n int) []byte {
	n = min(n, 99)
	return append(dst, '0'+byte(n/10), '0'+byte(n%10))
}

// appendALPN appends the first and last character of a protocol's name; where
// one of them is no letter or digit, of its hexadecimal form.
func appendALPN(dst, name []byte) []byte {
	if len(name) == 0 {
		return append(dst, "00"...)
	}
	first, last := name[0], name[len(name)-1]
	if alphanumeric(first) && alphanumeric(last) {
		return append(dst, first, last)
	}
	const digits = "0123456789abcdef"
	return append(dst, digits[first>>4], digits[last&15])
}

func alphanumeric(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}

// appendHex appends numbers as four digits each, with commas.
func appendHex(dst []byte, numbers []uint16) []byte {
	for i, n := range numbers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = hex.AppendEncode(dst, []byte{byte(n >> 8), byte(n)})
	}
	return dst
}

// appendHash appends the first twelve digits of the SHA-256 of b, or as many
// zeros when b is empty.
func appendHash(dst, b []byte) []byte {
	if len(b) == 0 {
		return append(dst, "000000000000"...)
	}
	sum := sha256.Sum256(b)
	return hex.AppendEncode(dst, sum[:6])
}
