// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package capture turns recorded or live traffic into frames: bytes, a time
// and a link type.
//
// Files are read by what is in them, never by their name: pcap
// (draft-ietf-opsawg-pcap) in both byte orders, with micro- or nanoseconds, and
// in Kuznetzov's modified form; pcapng (draft-ietf-opsawg-pcapng) with several
// sections and interfaces; btsnoop (RFC 1761 with the Bluetooth datalinks);
// frame logs of radio receivers, which are JSON lines; and gzip or zstd of any of
// them, at most twice over. [Reader] needs no seeking,
// so standard input will do. On Linux [OpenLive] reads an interface through a
// ring shared with the kernel, without libpcap.
//
// Left out: pcapng's decryption secrets, name resolution and statistics blocks are
// skipped, as is every block that is not a packet; the formats of single vendors
// are not read. What a frame says is the business of package wire, and of
// package ble for the Bluetooth link types.
//
// This API follows the server and may change.
package capture
