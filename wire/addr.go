// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"net/netip"
)

// An Addr is an IP address in 16 bytes, IPv4 as IPv4-mapped IPv6 (RFC 4291
// section 2.5.5.2). Unlike [netip.Addr] it holds no pointer, so that tables
// of a hundred thousand conversations cost the garbage collector nothing.
type Addr [16]byte

// Netip returns a as a [netip.Addr], IPv4 as IPv4.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

func (a Addr) String() string { return a.Netip().String() }

// AddrFrom returns ip as an Addr.
func AddrFrom(ip netip.Addr) Addr { return ip.As16() }

// Compare orders addresses by their 16 bytes.
func (a Addr) Compare(b Addr) int { return bytes.Compare(a[:], b[:]) }
