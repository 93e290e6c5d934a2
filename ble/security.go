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

// Trackable reports whether whoever hears the address twice knows that it is
// the same device.
func (a Address) Trackable() bool { return a.Kind == Public || a.Kind == StaticRandom }

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
}

// Level returns the level of LE security mode 1 (Vol 3 Part C section 10.2.1):
// 1 none, 2 unauthenticated, 3 authenticated, 4 authenticated by Secure
// Connections with a key of 128 bits. 0 is encrypted at a level that the
// capture does not show.
func (s Security) Level() int {
	switch {
	case !s.Encrypted:
		return 1
	case s.Method == NoMethod:
		return 0
	case !s.Method.Authenticated():
		return 2
	case s.SecureConnections && s.KeySize == 16:
		return 4
	}
	return 3
}

// A Connection is one connection, as far as it has come.
type Connection struct {
	ID         uint64  // in the order of appearance, from 1
	Central    Address // as far as known
	Peripheral Address
	Midstream  bool // its beginning was not captured
	Sniffed    bool // on the air: what is not decrypted is ciphertext
	Security   Security
	MTU        uint16 // of ATT as exchanged, in octets; 23 before
	Bearer     uint16 // during [Handler.ATT]: which channel; 4 but for enhanced ATT
	Gaps       uint32 // packets that the sniffer did not hear, as far as can be told
	Begin      int64  // nanoseconds since 1970-01-01 UTC
	Last       int64
	User       any // the handler's own

	state
}

// A state is what the follower remembers of a connection.
type state struct{}
