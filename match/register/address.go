// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/myelin-health/myelin/device"
)

const maxAddresses = 32 // of one device

var (
	errMAC       = errors.New("no hardware address of one device")
	errIP        = errors.New("no IP address of one device")
	errEUI64     = errors.New("no EUI-64: 16 hexadecimal digits")
	errAET       = errors.New("no application entity title: at most 16 characters, no backslash")
	errHost      = errors.New("no host name")
	errAddress   = errors.New("neither an IP nor a hardware address")
	errAddresses = errors.New("more addresses than one device has")
)

// addresses takes the addresses of a cell, apart by commas, semicolons, bars or
// spaces; an AE title may hold spaces. Those before a wrong one are kept.
func addresses(kind device.AddressKind) func(*Entry, string) error {
	return func(e *Entry, s string) error {
		apart := func(r rune) bool { return strings.ContainsRune(",;|\r\n\t ", r) }
		if kind == device.AET {
			apart = func(r rune) bool { return strings.ContainsRune(",;|\r\n\t", r) }
		}
		for part := range strings.FieldsFuncSeq(s, apart) {
			a, err := addressOf(kind, strings.TrimSpace(part))
			if err != nil {
				return err
			}
			if len(e.Addresses) >= maxAddresses {
				return errAddresses
			}
			e.Addresses = append(e.Addresses, a)
		}
		return nil
	}
}

// addressOf writes an address as the inventory does. NoAddress is an IP or a
// hardware address, whichever it is.
func addressOf(kind device.AddressKind, s string) (device.Address, error) {
	a := device.Address{Kind: kind}
	switch kind {
	case device.MAC:
		mac, ok := hardware(s)
		if !ok || mac[0]&1 != 0 || strings.Trim(mac.String(), "0:") == "" {
			return a, errMAC
		}
		if len(mac) == 8 {
			return eui64(mac), nil
		}
		a.Value = mac.String()
	case device.EUI64:
		b, ok := hardware(s)
		if !ok || len(b) != 8 {
			return a, errEUI64
		}
		return eui64(b), nil
	case device.IP:
		ip, err := netip.ParseAddr(s)
		if p, notPrefix := netip.ParsePrefix(s); err != nil && notPrefix == nil && p != p.Masked() {
			ip, err = p.Addr(), nil // with its network's mask
		}
		ip = ip.Unmap()
		if err != nil || ip.Zone() != "" || ip.IsMulticast() || ip.IsUnspecified() || ip.IsLoopback() || ip == broadcast {
			return a, errIP
		}
		a.Value = ip.String()
	case device.AET: // DICOM PS3.5 section 6.2, value representation AE
		if s == "" || len(s) > 16 || strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }) >= 0 {
			return a, errAET
		}
		a.Value = s
	case device.Host:
		if s = strings.TrimSuffix(s, "."); s == "" || len(s) > 253 || strings.IndexFunc(s, notInHost) >= 0 {
			return a, errHost
		}
		a.Value = s
	default:
		for _, k := range []device.AddressKind{device.IP, device.MAC, device.EUI64} {
			if found, err := addressOf(k, s); err == nil {
				return found, nil
			}
		}
		return a, errAddress
	}
	a.Value = strings.Clone(a.Value)
	return a, nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// notInHost: letters, digits, hyphen and dot (RFC 1123 section 2.1), and the
// underscore that Windows lets stand.
func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
}

// hardware reads 6 or 8 bytes in hexadecimal, with colons, hyphens or dots
// between, or nothing.
func hardware(s string) (net.HardwareAddr, bool) {
	b, err := net.ParseMAC(s)
	if err != nil {
		b, err = hex.DecodeString(strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X"))
	}
	return b, err == nil && (len(b) == 6 || len(b) == 8)
}

func eui64(b []byte) device.Address {
	return device.Address{Kind: device.EUI64, Value: strings.ToUpper(hex.EncodeToString(b))}
}
