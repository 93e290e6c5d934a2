// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package device has the nouns of smart implants and connected medical devices:
// what a [Product] is and does to a body ([Therapy], [Harm]), which unit a
// [Device] is ([Identity], [UDI]), and what it is told to do ([Command],
// [Quantity]).
//
// The tables of what is safe (rescues, effects, units, product codes) stand
// here as data. They are engineering defaults, to be signed by clinicians
// before they are used on patients.
//
// This API is stable.
package device

import (
	"bytes"
	"net"
	"net/netip"
)

// A Product is what a manufacturer makes.
type Product struct {
	Manufacturer string
	Model        string
	Version      string // software or firmware version, as the maker writes it
	ProductCode  string // FDA product code, three letters, or ""
	Class        string // what a nurse would call it: "infusion pump"
	Therapy      Therapy
	Harm         Harm
}

// A Device is one unit of a product, seen on a wire or registered by a person.
type Device struct {
	ID string // "dev-" and base32 of SHA-256 over its strongest identity
	Product
	Name       string  // what the hospital's register calls it: "pump-3"; "" when it is in none
	Ward       string  // where the register has it
	Via        Address // of the gateway that it is reached through
	Unseen     bool    // it is in the register, and was neither on a wire nor on the air
	OS         string  // family and version, as in "Windows 7"
	Serial     string  // "" for implanted and body-worn devices: there it is patient data
	Medical    bool
	Confidence Confidence
	Addresses  []Address // sorted by kind, then value
	Protocols  []string  // package names under proto/, sorted
	Role       string    // what else is known of its place: "gateway", "archive", "infrastructure", [Outside]
}

// Outside is the Role of a host that is none of the hospital's: all that is
// known of it are addresses on the internet.
const Outside = "outside"

// An AddressKind says in which space an [Address] is unique.
type AddressKind uint8

// The kinds of address, weakest joiners last.
const (
	NoAddress AddressKind = iota
	EUI64
	MAC
	BLE // of somebody on Bluetooth LE: a pseudonym, never the address, which may be a patient's
	IP
	AET   // DICOM application entity title
	Host  // DNS, DHCP, NetBIOS or mDNS name
	Radio // of somebody on another radio: a pseudonym
)

var addressKinds = [...]string{"", "eui64", "mac", "ble", "ip", "aet", "host", "radio"}

func (k AddressKind) String() string { return name(addressKinds[:], int(k)) }

// An Address is one name under which a device can be reached, in its usual
// spelling: "10.20.3.10", "00:00:5e:00:53:01", "CT1". It is comparable.
type Address struct {
	Kind  AddressKind
	Value string
}

func (a Address) String() string { return a.Value }

// Single reports whether the address can be one device's: it is written as its kind is,
// and is not multicast, broadcast or unspecified.
func (a Address) Single() bool {
	switch a.Kind {
	case IP:
		ip, err := netip.ParseAddr(a.Value)
		ip = ip.Unmap()
		return err == nil && !ip.IsMulticast() && !ip.IsUnspecified() && ip != broadcast
	case MAC:
		mac, err := net.ParseMAC(a.Value)
		return err == nil && mac[0]&1 == 0 && !bytes.Equal(mac, make([]byte, len(mac)))
	}
	return a.Value != ""
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// OnAir reports whether it is of somebody on a radio.
func (a Address) OnAir() bool { return a.Kind == BLE || a.Kind == Radio }

// An Identity is every name a device is known by. Empty fields are unknown.
// UDI and Serial of an implanted or body-worn device are patient data and
// must not be put here by a parser.
type Identity struct {
	UDI          UDI
	Manufacturer string
	Model        string
	Serial       string
	Version      string
	OS           string
	Addresses    []Address
}

// Confidence is how sure a detector is of what it saw.
type Confidence uint8

// The levels of confidence.
const (
	NoConfidence Confidence = iota
	Low
	Medium
	High
)

var confidences = [...]string{"", "low", "medium", "high"}

func (c Confidence) String() string { return name(confidences[:], int(c)) }

// name returns the i-th name of a table, or "" outside it.
func name(table []string, i int) string {
	if i < 0 || i >= len(table) {
		return ""
	}
	return table[i]
}

// parse is the inverse of name: it returns the index of s in the table.
func parse(table []string, s string) (int, bool) {
	for i, t := range table {
		if t == s && s != "" {
			return i, true
		}
	}
	return 0, false
}
