// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/myelin-health/myelin/wire"
)

// A UUID names a service, characteristic or descriptor. Its bytes are as it is
// written, the most significant first. It is comparable; the zero UUID is none.
type UUID [16]byte

// base is what a UUID of 16 or 32 bits is short for (Vol 3 Part B section 2.5.1).
var base = UUID{0, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0x80, 0x5f, 0x9b, 0x34, 0xfb}

// UUID16 returns the UUID that an assigned number of 16 bits is short for.
func UUID16(n uint16) UUID {
	u := base
	binary.BigEndian.PutUint16(u[2:], n)
	return u
}

// Short returns the assigned number of 16 bits that is short for u.
func (u UUID) Short() (n uint16, ok bool) {
	n = binary.BigEndian.Uint16(u[2:])
	return n, u == UUID16(n)
}

// uuidLE reads a UUID as it is sent: 2 or 16 bytes, the least significant
// first. Any other length gives the zero UUID.
func uuidLE(b []byte) UUID {
	var u UUID
	switch len(b) {
	case 2:
		return UUID16(binary.LittleEndian.Uint16(b))
	case 16:
		for i, x := range b {
			u[15-i] = x
		}
	}
	return u
}

// AppendLE appends u as it is sent: in 2 bytes where it has a short form, else
// in 16.
func (u UUID) AppendLE(dst []byte) []byte {
	if n, ok := u.Short(); ok {
		return binary.LittleEndian.AppendUint16(dst, n)
	}
	for i := range u {
		dst = append(dst, u[15-i])
	}
	return dst
}

// String returns "0x181F" for an assigned number of 16 bits, else the usual
// form with hyphens. None is "".
func (u UUID) String() string {
	if n, ok := u.Short(); ok {
		return fmt.Sprintf("0x%04X", n)
	}
	if u == (UUID{}) {
		return ""
	}
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// ParseUUID reads a UUID as people write it: "181F", "0x181F", or with hyphens.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	digits := make([]byte, 0, 32)
	for i := range len(s) {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		switch {
		case len(s) == 36 && hyphen && s[i] == '-':
		case len(s) == 6 && (i == 0 && s[0] == '0' || i == 1 && s[1] == 'x'):
		case len(digits) == 32:
			return u, &wire.SyntaxError{Proto: name, Field: "UUID", Off: i, Err: wire.ErrTooLong}
		default:
			digits = append(digits, s[i])
		}
	}
	b, err := hex.AppendDecode(nil, digits)
	switch {
	case err != nil:
	case len(b) == 2 && len(s) <= 6:
		return UUID16(binary.BigEndian.Uint16(b)), nil
	case len(b) == 16 && len(s) == 36:
		return UUID(b), nil
	}
	return u, &wire.SyntaxError{Proto: name, Field: "UUID", Err: wire.ErrInvalid}
}

// known reads a UUID of our own tables.
func known(s string) UUID {
	u, err := ParseUUID(s)
	if err != nil {
		panic(err)
	}
	return u
}
