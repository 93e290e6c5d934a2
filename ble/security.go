// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

// A Side is a role in a connection.
type Side uint8

// The sides. UnknownSide is where the capture does not show it.
const (
	UnknownSide Side = iota
	Central
	Peripheral
)

// Other returns the other side.
func (s Side) Other() Side {
	switch s {
	case Central:
		return Peripheral
	case Peripheral:
		return Central
	}
	return UnknownSide
}

// An AddressKind says what a device address is (Vol 6 Part B section 1.3).
type AddressKind uint8

// The kinds of address.
const (
	NoAddress     AddressKind = iota
	Public                    // assigned by the IEEE, never changes
	StaticRandom              // does not change before a power cycle
	Resolvable                // private; whoever has the identity resolving key can resolve it
	NonResolvable             // private, for one use
)

// An Address is a device address. It is comparable, and patient data where it
// is a body-worn device's.
type Address struct {
	Bytes [6]byte // as it is written: the most significant byte first
	Kind  AddressKind
}

var addressKinds = [...]string{"no address", "public address", "static random address", "resolvable private address", "non-resolvable private address"}

// String returns the kind of address, and not which one it is.
func (a Address) String() string {
	if int(a.Kind) < len(addressKinds) {
		return addressKinds[a.Kind]
	}
	return ""
}

// Trackable reports whether whoever hears the address twice knows that it is
// the same device.
func (a Address) Trackable() bool { return a.Kind == Public || a.Kind == StaticRandom }

// addressOf returns an address as it is sent: random or not, least significant
// byte first. Of fewer than six bytes it is none.
func addressOf(random bool, b []byte) Address {
	if len(b) < 6 {
		return Address{}
	}
	a := Address{Bytes: [6]byte{b[5], b[4], b[3], b[2], b[1], b[0]}, Kind: Public}
	if random {
		// Vol 6 Part B section 1.3.2: by the two most significant bits. 10 is
		// reserved, and says as little as one that is not resolvable.
		switch b[5] >> 6 {
		case 3:
			a.Kind = StaticRandom
		case 1:
			a.Kind = Resolvable
		default:
			a.Kind = NonResolvable
		}
	}
	return a
}

// append writes the address as it is sent.
func (a Address) append(dst []byte) []byte {
	return append(dst, a.Bytes[5], a.Bytes[4], a.Bytes[3], a.Bytes[2], a.Bytes[1], a.Bytes[0])
}

// random returns 1 for a random address, 0 for a public one.
func (a Address) random() uint8 {
	if a.Kind > Public {
		return 1
	}
	return 0
}

// A Method is how two devices agreed on a key (Vol 3 Part H section 2.3.5.1).
type Method uint8

// The pairing methods.
const (
	NoMethod Method = iota // not seen
	JustWorks
	PasskeyEntry
	NumericComparison
	OutOfBand
)

var methods = [...]string{"", "Just Works", "Passkey Entry", "Numeric Comparison", "Out of Band"}

// String returns the specification's name.
func (m Method) String() string {
	if int(m) < len(methods) {
		return methods[m]
	}
	return ""
}

// Authenticated reports whether the method keeps out somebody in the middle.
func (m Method) Authenticated() bool { return m > JustWorks }

// Security is what protects the PDUs of a connection at one moment. The zero
// Security is none.
type Security struct {
	Encrypted         bool
	Stored            bool   // by a key from before the capture: its method is not known
	Method            Method // of the pairing that the key came from
	SecureConnections bool
	KeySize           uint8 // octets, 7 to 16; 0 is not known
	Bonded            bool
	ZeroKey           bool // the long-term key is all zero
	DebugKey          bool // whoever heard the pairing knows the key: a side used the key pair of debug mode
}

// Level returns the level of LE security mode 1 (Vol 3 Part C section 10.2.1):
// 1 none, 2 unauthenticated, 3 authenticated, 4 authenticated by Secure
// Connections with a key of 128 bits. 0 is encrypted at a level that the
// capture does not show. A key that everybody could work out authenticates
// nobody, whatever the method.
func (s Security) Level() int {
	switch {
	case !s.Encrypted:
		return 1
	case s.Method == NoMethod:
		return 0
	case !s.Method.Authenticated(), s.DebugKey:
		return 2
	case s.SecureConnections && s.KeySize == 16:
		return 4
	}
	return 3
}
