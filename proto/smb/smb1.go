// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package smb

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// The commands of version 1 read here (MS-CIFS section 2.2.2.1).
const (
	ComTransaction           = 0x25
	ComTransactionSecondary  = 0x26
	ComReadAndX              = 0x2e
	ComWriteAndX             = 0x2f
	ComTransaction2          = 0x32
	ComTransaction2Secondary = 0x33
	ComNegotiate             = 0x72
	ComSessionSetupAndX      = 0x73
	ComTreeConnectAndX       = 0x75
	ComNTTransact            = 0xa0
	ComNTTransactSecondary   = 0xa1
	ComNTCreateAndX          = 0xa2
	comNone                  = 0xff // ends an AndX chain
)

// The subcommands told apart here (MS-CIFS sections 2.2.2.2).
const (
	TransPeekNmpipe     = 0x0023
	TransTransactNmpipe = 0x0026
	Trans2SessionSetup  = 0x000e // reserved, never implemented
)

const (
	header1               = 32     // MS-CIFS section 2.2.3.1
	flagReply             = 0x80   // SMB_FLAGS_REPLY
	flags2Unicode         = 0x8000 // SMB_FLAGS2_UNICODE
	flags2ExtendedSec     = 0x0800 // SMB_FLAGS2_EXTENDED_SECURITY (MS-SMB section 2.2.3.1)
	capExtendedSecurity   = 0x80000000
	securityModeEncrypted = 0x02 // NEGOTIATE_ENCRYPT_PASSWORDS
)

// maxAndX bounds an AndX chain: three commands is the longest in use.
const maxAndX = 4

// A Message1 is one message of version 1, and one command of its AndX chain at
// a time. Its slices, and those that its methods return, alias the input.
type Message1 struct {
	Command  uint8
	Status   uint32 // valid iff Response
	Response bool
	Unicode  bool
	TID      uint16
	UID      uint16
	MID      uint16
	PID      uint16
	Words    []byte // SMB_Parameters.Words
	Bytes    []byte // SMB_Data.Bytes, as far as they are there
	flags2   uint16
	b        []byte
	at       int // offset of Bytes
	block    int // offset of WordCount
	chained  int
}

// Parse reads the header and the first command of a message, which may be cut
// ([Frame.Head]).
func (m *Message1) Parse(b []byte) error {
	if len(b) < header1+3 {
		return fail("SMB_Header", len(b), wire.ErrTruncated)
	}
	if !Is1(b) {
		return fail("Protocol", 0, wire.ErrInvalid)
	}
	flags2 := le16(b, 10)
	*m = Message1{
		Command: b[4], Status: le32(b, 5), Response: b[9]&flagReply != 0,
		Unicode: flags2&flags2Unicode != 0, flags2: flags2,
		TID: le16(b, 24), PID: le16(b, 26), UID: le16(b, 28), MID: le16(b, 30),
		b: b,
	}
	return m.command(header1)
}

// command reads SMB_Parameters and SMB_Data at off.
func (m *Message1) command(off int) error {
	if off >= len(m.b) {
		return fail("WordCount", off, wire.ErrTruncated)
	}
	n := 2 * int(m.b[off])
	words := off + 1
	m.at, m.block = words+n+2, off
	if m.at > len(m.b) {
		return fail("Words", words, wire.ErrTruncated)
	}
	m.Words = m.b[words : words+n : words+n]
	end := min(m.at+int(le16(m.b, words+n)), len(m.b))
	m.Bytes = m.b[m.at:end:end]
	return nil
}

// Next goes on to the next command of an AndX chain, and returns false when
// there is none or it cannot be read.
func (m *Message1) Next() bool {
	switch m.Command {
	case ComSessionSetupAndX, ComTreeConnectAndX, ComNTCreateAndX, ComReadAndX, ComWriteAndX:
	default:
		return false
	}
	if len(m.Words) < 4 || m.Words[0] == comNone || m.chained == maxAndX {
		return false
	}
	off := int(le16(m.Words, 2))
	if off <= m.block { // MS-CIFS section 2.2.3.4: chains go forward; one that does not would never end
		return false
	}
	m.Command = m.Words[0]
	m.chained++
	return m.command(off) == nil
}

// word returns the 16-bit number at byte i of Words, or 0 when there is none.
func (m *Message1) word(i int) int {
	if i+2 > len(m.Words) {
		return 0
	}
	return int(le16(m.Words, i))
}

func (m *Message1) dword(i int) uint32 {
	if i+4 > len(m.Words) {
		return 0
	}
	return le32(m.Words, i)
}

// prefix returns up to n bytes at an offset from the header.
func (m *Message1) prefix(off, n int) []byte {
	if off < header1 || off > len(m.b) {
		return nil
	}
	end := min(off+n, len(m.b))
	return m.b[off:end:end]
}

// text reads a null-terminated string at offset i of Bytes and returns the
// offset behind it. Unicode is aligned to two bytes from the header (MS-CIFS
// section 2.2.1.1.4). The last one's terminator may be missing.
func (m *Message1) text(i int) (String, int) {
	if !m.Unicode {
		if i > len(m.Bytes) {
			return String{}, i
		}
		b := m.Bytes[i:]
		if n := bytes.IndexByte(b, 0); n >= 0 {
			return String{b[:n:n], false}, i + n + 1
		}
		return String{b[:len(b):len(b)], false}, len(m.Bytes)
	}
	i += (m.at + i) & 1
	if i > len(m.Bytes) {
		return String{Unicode: true}, i
	}
	b := m.Bytes[i:]
	for n := 0; n+1 < len(b); n += 2 {
		if b[n] == 0 && b[n+1] == 0 {
			return String{b[:n:n], true}, i + n + 2
		}
	}
	n := len(b) &^ 1
	return String{b[:n:n], true}, len(m.Bytes)
}

// Dialect returns the i-th dialect that a NEGOTIATE request offers (MS-CIFS
// section 2.2.4.52.1), or nil.
func (m *Message1) Dialect(i int) []byte {
	b := m.Bytes
	for ; len(b) > 1 && b[0] == 0x02; i-- {
		n := bytes.IndexByte(b, 0)
		if n < 0 {
			return nil
		}
		if i == 0 {
			return b[1:n:n]
		}
		b = b[n+1:]
	}
	return nil
}

// A Negotiated is a NEGOTIATE response of version 1 (MS-CIFS section 2.2.4.52.2).
type Negotiated struct {
	Index         int  // of the dialect chosen; 0xffff is none
	PlainPassword bool // passwords are sent in clear
	Signing       uint8
}

// Negotiated reads a NEGOTIATE response.
func (m *Message1) Negotiated() Negotiated {
	n := Negotiated{Index: m.word(0)}
	if len(m.Words) >= 34 { // NT LM 0.12
		n.PlainPassword = m.Words[2]&securityModeEncrypted == 0
		n.Signing = m.Words[2] >> 2 & 3
	}
	return n
}

// A Session is what a SESSION_SETUP_ANDX request or response says (MS-CIFS
// section 2.2.4.53, MS-SMB section 2.2.4.6).
type Session struct {
	NativeOS     String
	NativeLanMan String
	Token        []byte // extended security: SPNEGO or NTLM
	Anonymous    bool   // request: no name and no password
	PasswordLen  int    // request: of the longer response; 24 is version 1 of NTLM
	Misread      bool   // request: see [SessionMisread]
}

// Session reads a SESSION_SETUP_ANDX request or response.
func (m *Message1) Session() (s Session) {
	i := 0
	switch {
	case m.Response && len(m.Words) == 8:
		i = m.word(6)
		s.Token = m.prefix(m.at, min(i, len(m.Bytes)))
	case m.Response:
	case len(m.Words) == 24: // extended security
		i = m.word(14)
		s.Token = m.prefix(m.at, min(i, len(m.Bytes)))
		s.Misread = m.dword(20)&capExtendedSecurity != 0 && m.flags2&flags2ExtendedSec == 0
	case len(m.Words) == 26:
		oem, uni := m.word(14), m.word(16)
		i = oem + uni
		s.PasswordLen = max(oem, uni)
		var account String
		account, i = m.text(i)
		s.Anonymous = account.Len() == 0 && s.PasswordLen <= 1
		_, i = m.text(i) // PrimaryDomain
	default:
		return s
	}
	s.NativeOS, i = m.text(i)
	s.NativeLanMan, _ = m.text(i)
	return s
}

// TreeConnect returns the path of a TREE_CONNECT_ANDX request (MS-CIFS section 2.2.4.55).
func (m *Message1) TreeConnect() String {
	path, _ := m.text(m.word(6))
	return path
}

// Create returns the name in an NT_CREATE_ANDX request (MS-CIFS section 2.2.4.64).
func (m *Message1) Create() String {
	name, _ := m.text(0)
	return name
}

// Created returns the FID of an NT_CREATE_ANDX response.
func (m *Message1) Created() uint16 { return uint16(m.word(5)) }

// Write returns the FID and the beginning of the data of a WRITE_ANDX request
// (MS-CIFS section 2.2.4.43).
func (m *Message1) Write() (fid uint16, data []byte) {
	return uint16(m.word(4)), m.prefix(m.word(22), m.word(20))
}

// ReadFile returns the FID of a READ_ANDX request (MS-CIFS section 2.2.4.42.1).
func (m *Message1) ReadFile() uint16 { return uint16(m.word(4)) }

// ReadData returns the beginning of the data of a READ_ANDX response (MS-CIFS section 2.2.4.42.2).
func (m *Message1) ReadData() []byte { return m.prefix(m.word(12), m.word(10)) }

// A Transaction is a request of the transaction family, or its secondary
// (MS-CIFS sections 2.2.4.33, 2.2.4.46, 2.2.4.62 and their secondaries).
type Transaction struct {
	TotalDataCount   int
	DataCount        int
	DataDisplacement int    // secondary
	Function         int    // first setup word, or the NT_TRANSACT function; -1 is none
	FID              uint16 // second setup word
	Data             []byte // the beginning of what this message carries
}

// Transaction reads a request of the transaction family.
func (m *Message1) Transaction() Transaction {
	t := Transaction{Function: -1}
	off := 0
	switch m.Command {
	case ComTransaction, ComTransaction2:
		t.TotalDataCount, t.DataCount, off = m.word(2), m.word(22), m.word(24)
		if len(m.Words) >= 30 && m.Words[26] > 0 {
			t.Function, t.FID = m.word(28), uint16(m.word(30))
		}
	case ComTransactionSecondary, ComTransaction2Secondary:
		t.TotalDataCount, t.DataCount, off, t.DataDisplacement = m.word(2), m.word(10), m.word(12), m.word(14)
	case ComNTTransact:
		t.TotalDataCount, t.DataCount, off = length(m.dword(7)), length(m.dword(27)), length(m.dword(31))
		t.Function = m.word(36)
	case ComNTTransactSecondary:
		t.TotalDataCount, t.DataCount = length(m.dword(7)), length(m.dword(23))
		off, t.DataDisplacement = length(m.dword(27)), length(m.dword(31))
	}
	t.Data = m.prefix(off, t.DataCount)
	return t
}

// TransactionData returns the beginning of the data of a TRANSACTION response
// (MS-CIFS section 2.2.4.33.2).
func (m *Message1) TransactionData() []byte { return m.prefix(m.word(14), m.word(12)) }

// length is a 32-bit length as an int that can be added to another one.
func length(v uint32) int { return int(v & 0x3fffffff) }
