// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ssh reads what SSH says before it encrypts: the identification
// strings (RFC 4253 section 4.2) and the algorithms offered (section 7.1).
//
// It leaves out the key exchange itself and everything after; version 1 is
// told by its identification string only.
//
// This API is stable.
package ssh

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// maxIdent is the longest identification string (RFC 4253 section 4.2).
const maxIdent = 255

// maxLines bounds the lines that a server may send before it (section 4.2 sets no bound).
const maxLines = 16

// An Ident is an identification string. Its slices alias the input.
type Ident struct {
	Version  []byte // protoversion: "2.0"; "1.99" is 2.0 that also speaks 1
	Software []byte
	Comment  []byte
}

// ParseIdent reads the lines up to the identification string at the front of
// what one side sent, and returns how many bytes they took.
func ParseIdent(b []byte) (id Ident, n int, err error) {
	c := wire.NewCursor("ssh", b)
	for range maxLines {
		rest := b[n:]
		end := bytes.IndexByte(rest[:min(len(rest), maxIdent+1)], '\n')
		if end < 0 {
			c.Skip("identification", n)
			if len(rest) > maxIdent {
				c.Fail("identification", wire.ErrTooLong)
			} else {
				c.Fail("identification", wire.ErrTruncated)
			}
			return id, 0, c.Err()
		}
		line := bytes.TrimSuffix(rest[:end], []byte("\r"))
		n += end + 1
		rest, ok := bytes.CutPrefix(line, []byte("SSH-"))
		if !ok {
			continue
		}
		version, rest, ok := bytes.Cut(rest, []byte("-"))
		if !ok || len(version) == 0 {
			c.FailAt("protoversion", n-end-1, wire.ErrInvalid)
			return id, 0, c.Err()
		}
		id.Version = version
		id.Software, id.Comment, _ = bytes.Cut(rest, []byte(" "))
		return id, n, nil
	}
	c.FailAt("identification", n, wire.ErrTooLong)
	return id, 0, c.Err()
}

// Legacy reports whether the side speaks version 1, which is broken.
func (id *Ident) Legacy() bool { return len(id.Version) > 0 && id.Version[0] == '1' }

// maxPacket bounds a KEXINIT packet. RFC 4253 section 6.1 lets every packet
// have 35,000 bytes; lists of all known names fit in 4 KiB.
const maxPacket = 8192

const msgKexInit = 20 // RFC 4253 section 12

// The name-lists of a KEXINIT, in its order (RFC 4253 section 7.1).
const (
	Kex = iota
	HostKey
	CipherToServer
	CipherToClient
	MACToServer
	MACToClient
	CompressionToServer
	CompressionToClient
	LanguageToServer
	LanguageToClient
	numLists
)

// A KexInit has the algorithms that one side offers, best first, as
// comma-separated lists that alias the input.
type KexInit struct {
	Lists [numLists][]byte
}

// ParseKexInit reads the packet after the identification string, and returns
// how many bytes it took. ok is false when it is another packet.
func ParseKexInit(b []byte) (k KexInit, n int, ok bool, err error) {
	c := wire.NewCursor("ssh", b)
	size := c.Uint32("packet_length")
	if c.Ok() && (size < 12 || size > maxPacket) {
		c.FailAt("packet_length", 0, wire.ErrTooLong)
	}
	p := c.Sub("packet", int(size&0xffff))
	padding := int(p.Uint8("padding_length"))
	if p.Uint8("message") != msgKexInit && p.Ok() {
		return k, c.Off(), false, nil
	}
	p.Skip("cookie", 16)
	for i := range k.Lists {
		k.Lists[i] = p.Bytes("name-list", int(p.Uint32("name-list")&0x7fffffff))
	}
	p.Skip("first_kex_packet_follows, reserved", 5)
	p.Skip("padding", padding)
	c.Join(&p)
	return k, c.Off(), c.Ok(), c.Err()
}

// Agreed returns what client and server will use of a list: the client's first
// name that the server has too (RFC 4253 section 7.1), or nil.
func Agreed(client, server *KexInit, list int) []byte {
	for rest := client.Lists[list]; len(rest) > 0; {
		var name []byte
		name, rest, _ = bytes.Cut(rest, []byte(","))
		if has(server.Lists[list], name) {
			return name
		}
	}
	return nil
}

func has(list, name []byte) bool {
	for len(list) > 0 {
		var n []byte
		n, list, _ = bytes.Cut(list, []byte(","))
		if bytes.Equal(n, name) {
			return true
		}
	}
	return false
}

// weak lists algorithms that must not or should not be used: RFC 9142 section 4
// (key exchange), RFC 8758 (RC4), RFC 4253 section 6.3 with its ciphers of 64-bit
// blocks, and MACs over MD5 or cut to 96 bits.
var weak = map[string]bool{
	"diffie-hellman-group1-sha1": true, "diffie-hellman-group-exchange-sha1": true,
	"rsa1024-sha1": true, "ssh-dss": true,
	"none": true, "arcfour": true, "arcfour128": true, "arcfour256": true, "des-cbc": true,
	"3des-cbc": true, "blowfish-cbc": true, "cast128-cbc": true, "idea-cbc": true,
	"hmac-md5": true, "hmac-md5-96": true, "hmac-sha1-96": true,
}

// Weak reports whether an algorithm's name stands for one that has been broken or set aside.
func Weak(name []byte) bool { return weak[string(name)] }

// Recognise says how well b, the first bytes of one side, fit an identification
// string. One behind other lines (RFC 4253 section 4.2) is a weak match: any
// text may have such a line.
func Recognise(b []byte) wire.Match {
	const prefix = "SSH-"
	n := min(len(b), len(prefix))
	if string(b[:n]) != prefix[:n] {
		b = b[:min(len(b), maxIdent)]
		if bytes.Contains(b, []byte("\nSSH-2.0-")) || bytes.Contains(b, []byte("\nSSH-1.")) {
			return wire.WeakMatch
		}
		return wire.NoMatch
	}
	if len(b) < len(prefix)+1 {
		return wire.NeedMore
	}
	if b[4] == '1' || b[4] == '2' {
		return wire.SureMatch
	}
	return wire.NoMatch
}
