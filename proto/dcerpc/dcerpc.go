// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package dcerpc reads DCE/RPC, connection-oriented (over TCP and SMB pipes)
// and connectionless (over UDP), as far as an observer needs: which interface
// is bound or called, and which operation.
//
// It follows C706 chapter 12 and MS-RPCE section 2.2; the numbers of
// interfaces and operations are those of MS-SCMR, MS-TSCH, MS-WMI and
// MS-DCOM. It leaves out the parameters of calls (often encrypted), but for
// the return value of a response, and the reassembly of fragments: bind and
// the operation of a request stand in the first.
//
// This API is stable.
package dcerpc

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A PacketType is the PTYPE of a PDU (C706 section 12.6.3, 12.5.2.1).
type PacketType uint8

// The types told apart here.
const (
	Request          PacketType = 0
	Response         PacketType = 2
	Fault            PacketType = 3
	Bind             PacketType = 11
	BindAck          PacketType = 12
	AlterContext     PacketType = 14
	AlterContextResp PacketType = 15
)

const (
	firstFrag = 0x01 // PFC_FIRST_FRAG
	lastFrag  = 0x02 // PFC_LAST_FRAG
	hasObject = 0x80 // PFC_OBJECT_UUID: an object follows the header of a request

	headerLen         = 16 // of every connection-oriented PDU
	datagramHeaderLen = 80
)

// A UUID is an interface's identifier in the order in which it is printed.
type UUID [16]byte

// maxContexts bounds the presentation contexts of a bind: Windows sends up to
// three for one interface.
const maxContexts = 8

// A Context is one presentation context of a bind.
type Context struct {
	ID        uint16
	Interface UUID
}

// A PDU is one connection-oriented protocol data unit, or the beginning of one.
type PDU struct {
	Type     PacketType
	First    bool // the first fragment
	Last     bool // the last fragment
	Length   int  // of the whole PDU, frag_length
	CallID   uint32
	Contexts [maxContexts]Context
	NContext int    // how many of Contexts; bind and alter context
	Context  uint16 // p_cont_id; request and response
	Opnum    uint16 // request
	Status   uint32 // fault
	Stub     []byte // request and response: as far as it is there, verifier included
	AuthLen  int    // of the verifier at the end; the stub may be encrypted if it is not 0
}

// Parse reads the PDU at the front of b, whose end may be missing behind the
// part that is read here. p.Length says how long it is.
func (p *PDU) Parse(b []byte) error {
	*p = PDU{}
	c := wire.NewCursor("dcerpc", b)
	if v, minor := c.Uint8("rpc_vers"), c.Uint8("rpc_vers_minor"); v != 5 || minor > 1 {
		c.FailAt("rpc_vers", 0, wire.ErrInvalid)
	}
	p.Type = PacketType(c.Uint8("PTYPE"))
	flags := c.Uint8("pfc_flags")
	var order binary.ByteOrder = binary.BigEndian
	if c.Uint8("packed_drep")&0x10 != 0 { // C706 section 14.1
		order = binary.LittleEndian
	}
	c.Skip("packed_drep", 3)
	h := c.Bytes("frag_length, auth_length, call_id", 8)
	if !c.Ok() {
		return c.Err()
	}
	p.First, p.Last = flags&firstFrag != 0, flags&lastFrag != 0
	p.Length, p.AuthLen, p.CallID = int(order.Uint16(h)), int(order.Uint16(h[2:])), order.Uint32(h[4:])
	if p.Length < headerLen {
		c.FailAt("frag_length", 8, wire.ErrInvalid)
	}
	if p.Length >= headerLen && p.Length < len(b) {
		c = wire.NewCursor("dcerpc", b[:p.Length:p.Length])
		c.Skip("common header", headerLen)
	}
	switch p.Type {
	case Bind, AlterContext: // C706 section 12.6.4.3
		c.Skip("max_xmit_frag, max_recv_frag, assoc_group_id", 8)
		n := int(c.Uint8("n_context_elem"))
		c.Skip("reserved", 3)
		for i := 0; i < min(n, maxContexts) && c.Ok(); i++ {
			p.Contexts[i].ID = u16(&c, "p_cont_id", order)
			syntaxes := int(c.Uint8("n_transfer_syn"))
			c.Skip("reserved", 1)
			p.Contexts[i].Interface = readUUID(&c, "abstract_syntax", order)
			c.Skip("if_version", 4)
			c.Skip("transfer_syntaxes", 20*syntaxes)
			if c.Ok() {
				p.NContext = i + 1
			}
		}
	case Request: // C706 section 12.6.4.9
		c.Skip("alloc_hint", 4)
		p.Context, p.Opnum = u16(&c, "p_cont_id", order), u16(&c, "opnum", order)
		if flags&hasObject != 0 {
			c.Skip("object", 16)
		}
		p.Stub = c.Rest()
	case Response: // C706 section 12.6.4.10
		c.Skip("alloc_hint", 4)
		p.Context = u16(&c, "p_cont_id", order)
		c.Skip("cancel_count, reserved", 2)
		p.Stub = c.Rest()
	case Fault: // C706 section 12.6.4.7
		c.Skip("alloc_hint, p_cont_id, cancel_count, reserved", 8)
		if s := c.Bytes("status", 4); s != nil {
			p.Status = order.Uint32(s)
		}
	}
	return c.Err()
}

// ReturnValue is the last 32 bits of a whole response in clear, which is where
// NDR puts what a function returns; false when they are not there.
func (p *PDU) ReturnValue() (uint32, bool) {
	if p.Type != Response || !p.Last || p.AuthLen != 0 || len(p.Stub) < 4 || len(p.Stub) != p.Length-headerLen-8 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(p.Stub[len(p.Stub)-4:]), true
}

// A Datagram is the header of one connectionless PDU (C706 section 12.5.2).
type Datagram struct {
	Type      PacketType
	Interface UUID
	Opnum     uint16
}

// ParseDatagram reads the header of a connectionless PDU.
func ParseDatagram(b []byte) (d Datagram, err error) {
	if len(b) < datagramHeaderLen {
		return d, &wire.SyntaxError{Proto: "dcerpc", Field: "header", Off: len(b), Err: wire.ErrTruncated}
	}
	c := wire.NewCursor("dcerpc", b)
	if c.Uint8("rpc_vers") != 4 {
		c.FailAt("rpc_vers", 0, wire.ErrInvalid)
	}
	d.Type = PacketType(c.Uint8("ptype") & 0x1f)
	if d.Type > 10 {
		c.FailAt("ptype", 1, wire.ErrInvalid)
	}
	c.Skip("flags1, flags2", 2)
	var order binary.ByteOrder = binary.BigEndian
	if c.Uint8("drep")&0x10 != 0 {
		order = binary.LittleEndian
	}
	c.Skip("drep, serial_hi, object", 2+1+16)
	d.Interface = readUUID(&c, "if_id", order)
	c.Skip("act_id, server_boot, if_vers, seqnum", 16+4+4+4)
	d.Opnum = u16(&c, "opnum", order)
	return d, c.Err()
}

func u16(c *wire.Cursor, field string, order binary.ByteOrder) uint16 {
	if b := c.Bytes(field, 2); b != nil {
		return order.Uint16(b)
	}
	return 0
}

// readUUID reads a UUID, of which the first three fields are numbers in the
// sender's order (C706 appendix A).
func readUUID(c *wire.Cursor, field string, order binary.ByteOrder) (u UUID) {
	b := c.Bytes(field, 16)
	if b == nil {
		return u
	}
	copy(u[:], b)
	binary.BigEndian.PutUint32(u[0:], order.Uint32(b[0:]))
	binary.BigEndian.PutUint16(u[4:], order.Uint16(b[4:]))
	binary.BigEndian.PutUint16(u[6:], order.Uint16(b[6:]))
	return u
}

// Recognise says how well b, the first bytes of one side of a TCP stream, fit a
// bind, an alter context or their answers; mid-stream also a request.
func Recognise(b []byte) wire.Match {
	for i, o := range b[:min(len(b), 4)] {
		switch {
		case i == 0 && o != 5, i == 1 && o > 1, i == 2 && o > 19, i == 3 && o&^0xcf != 0:
			return wire.NoMatch
		}
	}
	if len(b) < headerLen {
		return wire.NeedMore
	}
	// C706 section 14.1: little or big endian, ASCII, IEEE; then two bytes of zero.
	if b[4]&^0x10 != 0 || b[5] != 0 || b[6] != 0 || b[7] != 0 {
		return wire.NoMatch
	}
	var n uint16
	if b[4] == 0 {
		n = binary.BigEndian.Uint16(b[8:])
	} else {
		n = binary.LittleEndian.Uint16(b[8:])
	}
	if n < headerLen+4 {
		return wire.NoMatch
	}
	return wire.SureMatch
}

// RecogniseDatagram says how well a UDP datagram fits a connectionless PDU.
func RecogniseDatagram(b []byte) wire.Match {
	if len(b) < datagramHeaderLen || b[0] != 4 || b[1]&0x1f > 10 || b[4]&^0x10 != 0 || b[5] != 0 || b[6] != 0 {
		return wire.NoMatch
	}
	// if_id and act_id are version 1 or 4 UUIDs: the variant's bits (C706 appendix A).
	if b[32]&0xc0 != 0x80 && b[32]&0xe0 != 0xc0 {
		return wire.NoMatch
	}
	n := binary.BigEndian.Uint16(b[74:])
	if b[4] != 0 {
		n = binary.LittleEndian.Uint16(b[74:])
	}
	if int(n) != len(b)-datagramHeaderLen {
		return wire.NoMatch
	}
	return wire.SureMatch
}
