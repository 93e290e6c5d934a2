// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package smb

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A Command is the command of a message of version 2 or 3 (MS-SMB2 section 2.2.1.2).
type Command uint16

// The commands read here.
const (
	Negotiate    Command = 0x00
	SessionSetup Command = 0x01
	Logoff       Command = 0x02
	TreeConnect  Command = 0x03
	Create       Command = 0x05
	Close        Command = 0x06
	Read         Command = 0x08
	Write        Command = 0x09
	IOCTL        Command = 0x0b
)

// The statuses told apart here (MS-ERREF section 2.3.1).
const (
	StatusSuccess                uint32 = 0
	StatusPending                uint32 = 0x00000103
	StatusMoreProcessingRequired uint32 = 0xc0000016
	StatusInsuffServerResources  uint32 = 0xc0000205
	StatusNotImplemented         uint32 = 0xc0000002
)

// FSCTLPipeTransceive is the IOCTL that writes to a pipe and reads the answer (MS-FSCC section 2.3).
const FSCTLPipeTransceive = 0x0011c017

const (
	header2         = 64         // MS-SMB2 section 2.2.1.2
	flagServerToRed = 0x00000001 // SMB2_FLAGS_SERVER_TO_REDIR: a response
	flagAsync       = 0x00000002 // SMB2_FLAGS_ASYNC_COMMAND: AsyncId where TreeId is
)

// A Message2 is one message of version 2 or 3. Its slices, and those that its
// methods return, alias the input.
type Message2 struct {
	Command     Command
	Status      uint32 // valid iff Response
	Response    bool
	Async       bool
	NextCommand int // offset of the next message of a compound; 0 is the last
	MessageID   uint64
	TreeID      uint32 // valid iff !Async
	SessionID   uint64
	b           []byte // from the header to the next message, as far as it is there
}

// Parse reads the message at the front of b, which may be cut ([Frame.Head]).
func (m *Message2) Parse(b []byte) error {
	if len(b) < header2 {
		return fail("SMB2 Header", len(b), wire.ErrTruncated)
	}
	if !Is2(b) {
		return fail("ProtocolId", 0, wire.ErrInvalid)
	}
	if le16(b, 4) != header2 {
		return fail("StructureSize", 4, wire.ErrInvalid)
	}
	flags := le32(b, 16)
	next := le32(b, 20)
	if next != 0 && (next < header2 || next%8 != 0) { // section 3.2.4.1.4
		return fail("NextCommand", 20, wire.ErrInvalid)
	}
	*m = Message2{
		Command:     Command(le16(b, 12)),
		Status:      le32(b, 8),
		Response:    flags&flagServerToRed != 0,
		Async:       flags&flagAsync != 0,
		NextCommand: int(next & 0x7fffffff),
		MessageID:   binary.LittleEndian.Uint64(b[24:]),
		TreeID:      le32(b, 36),
		SessionID:   binary.LittleEndian.Uint64(b[40:]),
		b:           b,
	}
	if next != 0 && m.NextCommand < len(b) {
		m.b = b[:m.NextCommand:m.NextCommand]
	}
	return nil
}

// body checks that the fixed part of the command's structure is there and says
// to be of the size that the standard gives; an odd size counts one byte of
// the variable part.
func (m *Message2) body(field string, size int) error {
	if len(m.b) < header2+size&^1 {
		return fail(field, len(m.b), wire.ErrTruncated)
	}
	if int(le16(m.b, header2)) != size {
		return fail(field, header2, wire.ErrInvalid)
	}
	return nil
}

// part returns the bytes at an offset from the header.
func (m *Message2) part(field string, off, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if off < header2 || n < 0 {
		return nil, fail(field, off, wire.ErrInvalid)
	}
	if off+n < off || off+n > len(m.b) {
		return nil, fail(field, off, wire.ErrTruncated)
	}
	return m.b[off : off+n : off+n], nil
}

// prefix is part, of which the end may be missing.
func (m *Message2) prefix(off, n int) []byte {
	if off < header2 || n <= 0 || off > len(m.b) {
		return nil
	}
	end := min(n, len(m.b)-off) + off
	return m.b[off:end:end]
}

// A NegotiateContext is a type of MS-SMB2 section 2.2.3.1.
type NegotiateContext uint16

// The contexts told apart here.
const (
	PreauthIntegrity NegotiateContext = 1
	Encryption       NegotiateContext = 2
	Compression      NegotiateContext = 3
)

// maxContexts bounds the negotiate contexts read: the standard has eight types.
const maxContexts = 16

// A Negotiation is what a NEGOTIATE request offers or a response chooses
// (MS-SMB2 sections 2.2.3 and 2.2.4).
type Negotiation struct {
	Dialects      []byte // request: 16-bit little-endian numbers
	Dialect       Dialect
	SecurityMode  uint16 // 1 signing enabled, 2 signing required
	Capabilities  uint32
	Contexts      uint16 // bit per NegotiateContext; valid for dialect 3.1.1
	SecurityToken []byte // response
}

// Has reports whether a negotiate context of the type is there.
func (n *Negotiation) Has(c NegotiateContext) bool { return n.Contexts&(1<<c) != 0 }

// Offers reports whether a request offers the dialect.
func (n *Negotiation) Offers(d Dialect) bool {
	for b := n.Dialects; len(b) >= 2; b = b[2:] {
		if Dialect(le16(b, 0)) == d {
			return true
		}
	}
	return false
}

// Negotiate reads a NEGOTIATE request or response.
func (m *Message2) Negotiate() (n Negotiation, err error) {
	var contexts, offset int
	if m.Response {
		if err = m.body("NEGOTIATE Response", 65); err != nil {
			return n, err
		}
		n.SecurityMode, n.Dialect, n.Capabilities = le16(m.b, 66), Dialect(le16(m.b, 68)), le32(m.b, 88)
		n.SecurityToken, err = m.part("SecurityBuffer", int(le16(m.b, 120)), int(le16(m.b, 122)))
		if n.Dialect == SMB311 {
			contexts, offset = int(le16(m.b, 70)), int(le32(m.b, 124))
		}
	} else {
		if err = m.body("NEGOTIATE Request", 36); err != nil {
			return n, err
		}
		n.SecurityMode, n.Capabilities = le16(m.b, 68), le32(m.b, 72)
		n.Dialects, err = m.part("Dialects", header2+36, 2*int(le16(m.b, 66)))
		if n.Offers(SMB311) {
			contexts, offset = int(le16(m.b, 96)), int(le32(m.b, 92))
		}
	}
	for i := 0; err == nil && i < min(contexts, maxContexts); i++ {
		var h []byte
		if h, err = m.part("NegotiateContext", offset, 8); err != nil {
			break
		}
		if t := le16(h, 0); t < 16 {
			n.Contexts |= 1 << t
		}
		offset += (8 + int(le16(h, 2)) + 7) &^ 7 // section 2.2.3.1: each is 8-byte aligned
	}
	return n, err
}

// SessionSetup returns the security token of a SESSION_SETUP request or
// response (MS-SMB2 sections 2.2.5 and 2.2.6), of which the end may be missing.
func (m *Message2) SessionSetup() (token []byte, err error) {
	if m.Response {
		if err = m.body("SESSION_SETUP Response", 9); err != nil {
			return nil, err
		}
		return m.prefix(int(le16(m.b, 68)), int(le16(m.b, 70))), nil
	}
	if err = m.body("SESSION_SETUP Request", 25); err != nil {
		return nil, err
	}
	return m.prefix(int(le16(m.b, 76)), int(le16(m.b, 78))), nil
}

// SessionFlags returns the flags of a SESSION_SETUP response: 1 guest, 2 anonymous,
// 4 encrypted.
func (m *Message2) SessionFlags() uint16 {
	if m.body("SESSION_SETUP Response", 9) != nil {
		return 0
	}
	return le16(m.b, 66)
}

// TreeConnect returns the path of a TREE_CONNECT request (MS-SMB2 section 2.2.9).
func (m *Message2) TreeConnect() (path String, err error) {
	if err = m.body("TREE_CONNECT Request", 9); err != nil {
		return path, err
	}
	b, err := m.part("PathName", int(le16(m.b, 68)), int(le16(m.b, 70)))
	return String{b, true}, err
}

// A FileID names an open file or pipe (MS-SMB2 section 2.2.14.1).
type FileID [16]byte

// Create returns the name and the disposition of a CREATE request (MS-SMB2 section 2.2.13).
func (m *Message2) Create() (name String, access uint32, err error) {
	if err = m.body("CREATE Request", 57); err != nil {
		return name, 0, err
	}
	b, err := m.part("Name", int(le16(m.b, 108)), int(le16(m.b, 110)))
	return String{b, true}, le32(m.b, 88), err
}

// Created returns what a CREATE response opened (MS-SMB2 section 2.2.14).
func (m *Message2) Created() (FileID, error) {
	if err := m.body("CREATE Response", 89); err != nil {
		return FileID{}, err
	}
	return FileID(m.b[128:144]), nil
}

// Closed returns what a CLOSE request closes (MS-SMB2 section 2.2.15).
func (m *Message2) Closed() (FileID, error) {
	if err := m.body("CLOSE Request", 24); err != nil {
		return FileID{}, err
	}
	return FileID(m.b[72:88]), nil
}

// Write returns the file and the beginning of the data of a WRITE request (MS-SMB2 section 2.2.21).
func (m *Message2) Write() (id FileID, data []byte, err error) {
	if err = m.body("WRITE Request", 49); err != nil {
		return id, nil, err
	}
	return FileID(m.b[80:96]), m.prefix(int(le16(m.b, 66)), int(le32(m.b, 68)&0x7fffffff)), nil
}

// ReadFile returns the file of a READ request (MS-SMB2 section 2.2.19).
func (m *Message2) ReadFile() (FileID, error) {
	if err := m.body("READ Request", 49); err != nil {
		return FileID{}, err
	}
	return FileID(m.b[80:96]), nil
}

// ReadData returns the beginning of the data of a READ response (MS-SMB2 section 2.2.20).
func (m *Message2) ReadData() ([]byte, error) {
	if err := m.body("READ Response", 17); err != nil {
		return nil, err
	}
	return m.prefix(int(m.b[66]), int(le32(m.b, 68)&0x7fffffff)), nil
}

// IOCTL returns the code, the file, and the beginning of the input of an IOCTL
// request or of the output of a response (MS-SMB2 sections 2.2.31 and 2.2.32).
func (m *Message2) IOCTL() (code uint32, id FileID, data []byte, err error) {
	if m.Response {
		if err = m.body("IOCTL Response", 49); err != nil {
			return
		}
		return le32(m.b, 68), FileID(m.b[72:88]), m.prefix(int(le32(m.b, 96)&0x7fffffff), int(le32(m.b, 100)&0x7fffffff)), nil
	}
	if err = m.body("IOCTL Request", 57); err != nil {
		return
	}
	return le32(m.b, 68), FileID(m.b[72:88]), m.prefix(int(le32(m.b, 88)&0x7fffffff), int(le32(m.b, 92)&0x7fffffff)), nil
}

// A Dialect is a dialect of version 2 or 3 (MS-SMB2 section 2.2.3).
type Dialect uint16

// The dialects. The last three were in previews of Windows and in no release;
// MS-SMB2 does not list them.
const (
	SMB202      Dialect = 0x0202
	SMB210      Dialect = 0x0210
	SMB300      Dialect = 0x0300
	SMB302      Dialect = 0x0302
	SMB311      Dialect = 0x0311
	SMB2Any     Dialect = 0x02ff // only in answer to a request of version 1
	preview222  Dialect = 0x0222
	preview224  Dialect = 0x0224
	preview0310 Dialect = 0x0310
)

func (d Dialect) String() string {
	switch d {
	case SMB202:
		return "2.0.2"
	case SMB210:
		return "2.1"
	case SMB300:
		return "3.0"
	case SMB302:
		return "3.0.2"
	case SMB311:
		return "3.1.1"
	}
	return ""
}

func fail(field string, off int, err error) error {
	return &wire.SyntaxError{Proto: "smb", Field: field, Off: off, Err: err}
}

func le16(b []byte, i int) uint16 { return binary.LittleEndian.Uint16(b[i:]) }
func le32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
