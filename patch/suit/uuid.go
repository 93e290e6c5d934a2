// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"crypto/sha1"
	"fmt"
)

// namespaceDNS is the namespace of domain names (RFC 9562 section 6.6).
var namespaceDNS = [16]byte{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}

// VendorUUID is the vendor identifier of whoever has a domain (section 8.4.8.2).
func VendorUUID(domain string) [16]byte { return uuid5(namespaceDNS, domain) }

// ClassUUID is the class identifier of a vendor's model: its number, its hardware
// revision, whatever tells it from others that another image is for.
func ClassUUID(vendor [16]byte, model string) [16]byte { return uuid5(vendor, model) }

// uuid5 is a UUID of version 5 (RFC 9562 section 5.5). What it hashes is no secret,
// and SHA-1 is what the number stands for.
func uuid5(namespace [16]byte, name string) (u [16]byte) {
	h := sha1.Sum(append(namespace[:], name...))
	copy(u[:], h[:])
	u[6], u[8] = u[6]&0x0f|0x50, u[8]&0x3f|0x80
	return u
}

// uuidText writes a UUID as people do, and what is none in hexadecimal.
func uuidText(b []byte) string {
	if len(b) != 16 {
		return fmt.Sprintf("%x", b)
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
