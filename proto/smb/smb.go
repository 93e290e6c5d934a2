// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package smb reads SMB, versions 1 to 3, as far as an observer needs: which
// dialect was agreed on, who each side says to be, which shares, pipes and
// files are opened, what is said over pipes, and the shapes of the attacks on
// published weaknesses of SMB servers ([Shape]).
//
// It follows [MS-CIFS] and [MS-SMB] (version 1), [MS-SMB2] (versions 2 and 3),
// [MS-NLMP] (the NTLM messages inside session set-up) and RFC 1002 section 4.3
// (framing). It leaves out file contents, directory listings, signatures,
// decryption and decompression; of SPNEGO (RFC 4178) it finds the NTLM message
// or the Kerberos mechanism without reading the rest.
//
// A message is parsed from its first bytes: [Frame.Head] says how many tell
// all that this package reads, so that the bulk of a file need not be kept.
//
// This API is stable.
package smb

import (
	"unicode/utf16"
	"unicode/utf8"

	"github.com/myelin-health/myelin/wire"
)

// A FrameType is the type of a packet of the NetBIOS session service.
type FrameType uint8

// The types of RFC 1002 section 4.3.1. Direct TCP (MS-SMB2 section 2.1) uses
// the first only.
const (
	SessionMessage   FrameType = 0x00
	SessionRequest   FrameType = 0x81
	PositiveResponse FrameType = 0x82
	NegativeResponse FrameType = 0x83
	RetargetResponse FrameType = 0x84
	KeepAlive        FrameType = 0x85
)

// FrameHeader is the length of a frame's header.
const FrameHeader = 4

// MaxHead is how much of a message this package reads. The largest message
// read in full is a session set-up with a Kerberos ticket, of which the
// beginning is enough; names of shares and files are at most 2 x 260 bytes.
const MaxHead = 4096

// bulkHead is how much of a WRITE request or READ response is read: headers
// of 64 + 48 bytes, and the beginning of what is written to a pipe.
const bulkHead = 512

// A Frame is the header in front of every message on TCP.
type Frame struct {
	Type   FrameType
	Length int // of the message that follows
}

// ParseFrame reads a frame's header, not the message. On port 139 the length
// has 17 bits, on port 445 it has 24; the larger is read.
func ParseFrame(b []byte) (Frame, error) {
	c := wire.NewCursor("smb", b)
	f := Frame{Type: FrameType(c.Uint8("TYPE")), Length: int(c.Uint24("LENGTH"))}
	if f.Type != SessionMessage && (f.Type < SessionRequest || f.Type > KeepAlive) {
		c.FailAt("TYPE", 0, wire.ErrInvalid)
	}
	return f, c.Err()
}

// Head is how many bytes of the message tell all that this package reads.
// b is the beginning of the message: with fewer than 16 bytes of it the answer
// is for a message of unknown command.
func (f Frame) Head(b []byte) int {
	n := MaxHead
	if len(b) >= 16 && IsSMB(b) {
		switch {
		case b[0] == protocol2 && (b[12] == uint8(Write) || b[12] == uint8(Read)),
			b[0] == protocol1 && (b[4] == ComWriteAndX || b[4] == ComReadAndX || b[4] == ComTransaction2Secondary || b[4] == ComNTTransactSecondary):
			n = bulkHead
		case b[0] == protocolEncrypted || b[0] == protocolCompressed:
			n = transformHeader
		}
	}
	return min(n, f.Length)
}

// The first octet of ProtocolId; "SMB" follows.
const (
	protocol1          = 0xff // MS-CIFS section 2.2.3.1
	protocol2          = 0xfe // MS-SMB2 section 2.2.1
	protocolEncrypted  = 0xfd // MS-SMB2 section 2.2.41
	protocolCompressed = 0xfc // MS-SMB2 section 2.2.42
)

// transformHeader is the length of the longer of the two transform headers.
const transformHeader = 52

// IsSMB reports whether a message starts as one of any version does.
func IsSMB(b []byte) bool {
	return len(b) >= 4 && b[0] >= protocolCompressed && b[1] == 'S' && b[2] == 'M' && b[3] == 'B'
}

// Is1 reports whether the message is of version 1.
func Is1(b []byte) bool { return IsSMB(b) && b[0] == protocol1 }

// Is2 reports whether the message is of version 2 or 3, in clear.
func Is2(b []byte) bool { return IsSMB(b) && b[0] == protocol2 }

// IsEncrypted reports whether the message is an SMB2 TRANSFORM_HEADER.
func IsEncrypted(b []byte) bool { return IsSMB(b) && b[0] == protocolEncrypted }

// Recognise says how well b, the first bytes of one side or of a TCP segment,
// fit a frame with a message of any version, or a session request.
func Recognise(b []byte) wire.Match {
	if len(b) == 0 {
		return wire.NeedMore
	}
	switch FrameType(b[0]) {
	case SessionMessage:
		if len(b) < FrameHeader+4 {
			return wire.NeedMore
		}
		if IsSMB(b[FrameHeader:]) {
			return wire.SureMatch
		}
	case SessionRequest:
		// Two names of 34 bytes each (RFC 1002 section 4.3.2), the first of
		// which has 32 letters A to P.
		if len(b) < 6 {
			return wire.NeedMore
		}
		if b[1] == 0 && b[2] == 0 && b[3] == 68 && b[4] == 32 && b[5] >= 'A' && b[5] <= 'P' {
			return wire.SureMatch
		}
	case PositiveResponse, KeepAlive:
		if len(b) < FrameHeader {
			return wire.NeedMore
		}
		if b[1] == 0 && b[2] == 0 && b[3] == 0 {
			return wire.WeakMatch
		}
	case NegativeResponse:
		if len(b) < FrameHeader {
			return wire.NeedMore
		}
		if b[1] == 0 && b[2] == 0 && b[3] == 1 {
			return wire.WeakMatch
		}
	}
	return wire.NoMatch
}

// A String is text as it stands in a message, which it aliases: UTF-16LE, or
// in version 1 perhaps octets of the sender's code page.
type String struct {
	Bytes   []byte
	Unicode bool
}

// Len is the length in characters.
func (s String) Len() int {
	if s.Unicode {
		return len(s.Bytes) / 2
	}
	return len(s.Bytes)
}

// Cut returns the first n characters at most.
func (s String) Cut(n int) String {
	if s.Unicode {
		n *= 2
	}
	n = min(n, len(s.Bytes))
	s.Bytes = s.Bytes[:n:n]
	return s
}

// at returns the i-th character, without the upper half of what is not ASCII.
func (s String) at(i int) byte {
	if !s.Unicode {
		return s.Bytes[i]
	}
	if s.Bytes[2*i+1] != 0 {
		return 0xff
	}
	return s.Bytes[2*i]
}

// HasSuffix reports whether s ends in the ASCII text, in either case.
func (s String) HasSuffix(text string) bool {
	n := s.Len() - len(text)
	for i := range len(text) {
		if n < 0 || lower(s.at(n+i)) != lower(text[i]) {
			return false
		}
	}
	return true
}

// HasPrefix reports whether s begins with the ASCII text, in either case.
func (s String) HasPrefix(text string) bool {
	for i := range len(text) {
		if i >= s.Len() || lower(s.at(i)) != lower(text[i]) {
			return false
		}
	}
	return true
}

// Is reports whether s is the ASCII text, in either case.
func (s String) Is(text string) bool { return s.Len() == len(text) && s.HasSuffix(text) }

// Base is what follows the last backslash.
func (s String) Base() String {
	for i := s.Len() - 1; i >= 0; i-- {
		if s.at(i) == '\\' {
			if s.Unicode {
				i = 2*i + 1
			}
			s.Bytes = s.Bytes[i+1 : len(s.Bytes) : len(s.Bytes)]
			break
		}
	}
	return s
}

// AppendUTF8 appends the text to dst. Octets of a code page beyond ASCII
// become U+FFFD.
func (s String) AppendUTF8(dst []byte) []byte {
	if !s.Unicode {
		for _, o := range s.Bytes {
			if o >= utf8.RuneSelf {
				dst = utf8.AppendRune(dst, utf8.RuneError)
				continue
			}
			dst = append(dst, o)
		}
		return dst
	}
	for b := s.Bytes; len(b) >= 2; b = b[2:] {
		r := rune(b[0]) | rune(b[1])<<8
		if utf16.IsSurrogate(r) && len(b) >= 4 {
			if p := utf16.DecodeRune(r, rune(b[2])|rune(b[3])<<8); p != utf8.RuneError {
				r, b = p, b[2:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// A ShareClass is what a share lets its user do, as far as its name says.
type ShareClass uint8

// The classes of share.
const (
	OtherShare ShareClass = iota
	AdminShare            // ADMIN$, or the root of a drive (C$): an administrator's
	PipeShare             // IPC$: named pipes
)

// ClassifyShare returns the class of a share, given its path: \\server\share.
func ClassifyShare(path String) ShareClass {
	name := path.Base()
	switch {
	case name.Is("IPC$"):
		return PipeShare
	case name.Is("ADMIN$"):
		return AdminShare
	case name.Len() == 2 && name.HasSuffix("$"):
		return AdminShare
	}
	return OtherShare
}

// Executable reports whether a file of this name is run when it is opened.
func Executable(name String) bool {
	for _, ext := range [...]string{".exe", ".bat", ".cmd", ".ps1", ".vbs", ".scr", ".dll", ".sys", ".msi", ".com"} {
		if name.HasSuffix(ext) {
			return true
		}
	}
	return false
}
