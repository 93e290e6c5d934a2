// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package proto lists the protocols that Myelin reads, one package each, and
// recognises them by what they say. The table knows the packages; they know
// neither the table nor each other.
//
// This API is stable.
package proto

import (
	"slices"

	"github.com/myelin-health/myelin/wire"
)

// An ID is a protocol of the [Table].
type ID uint8

// The protocols.
const (
	None ID = iota
	DICOM
	HL7
	HTTP
	FHIR
	SDC
	TLS
	DNS
	DHCP
	NTP
	SNMP
	SSDP
	SMB
	DCERPC
	NetBIOS
	RDP
	VNC
	SSH
	Telnet
	FTP
	MQTT
	CoAP
	Modbus
	BACnet
	LDAP
	Kerberos
	Syslog
	GATT
	Radio
	Count
)

// A Protocol is a row of the [Table].
type Protocol struct {
	Name     string                  // of the package
	Stream   func([]byte) wire.Match // recognises the first bytes of one side over TCP, or nil
	Datagram func([]byte) wire.Match // recognises a datagram over UDP, or nil
	Ports    []uint16                // where a weak match is believed
}

func (id ID) String() string { return Table[id].Name }

// Stream recognises what one side of a TCP conversation says, from the first
// bytes it sent, or from where the capture begins.
func Stream(b []byte, client, server uint16) (ID, wire.Match) {
	return recognise(b, client, server, func(p *Protocol) func([]byte) wire.Match { return p.Stream })
}

// Datagram recognises one UDP datagram.
func Datagram(b []byte, client, server uint16) (ID, wire.Match) {
	return recognise(b, client, server, func(p *Protocol) func([]byte) wire.Match { return p.Datagram })
}

// recognise asks every row. A sure match wins; then a weak one on its
// registered port; then one that needs more bytes.
func recognise(b []byte, client, server uint16, form func(*Protocol) func([]byte) wire.Match) (ID, wire.Match) {
	weak, more := None, None
	for i := range Table {
		p := &Table[i]
		f := form(p)
		if f == nil {
			continue
		}
		switch f(b) {
		case wire.SureMatch:
			return ID(i), wire.SureMatch
		case wire.WeakMatch:
			if weak == None && (slices.Contains(p.Ports, server) || slices.Contains(p.Ports, client)) {
				weak = ID(i)
			}
		case wire.NeedMore:
			if more == None {
				more = ID(i)
			}
		}
	}
	switch {
	case weak != None:
		return weak, wire.WeakMatch
	case more != None:
		return more, wire.NeedMore
	}
	return None, wire.NoMatch
}

// ByName returns the protocol whose package has this name, or None.
func ByName(name string) ID {
	for i := range Table {
		if Table[i].Name == name && name != "" {
			return ID(i)
		}
	}
	return None
}
