// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"

	"github.com/myelin-health/myelin/wire"
)

// A ConnectRequest is a CONNECT_IND or AUX_CONNECT_REQ (Vol 6 Part B section 2.3.3.1).
type ConnectRequest struct {
	Initiator  Address
	Advertiser Address
	Access     uint32 // access address of the connection
	CRCInit    uint32 // 24 bits
	WinSize    uint8
	WinOffset  uint16
	Interval   uint16 // in 1.25 ms
	Latency    uint16
	Timeout    uint16 // in 10 ms
	Channels   [5]byte
	Hop        uint8 // and, in the three high bits, SCA
}

const connectRequestSize = 34

// Parse reads the payload of a PDU of the type [ConnectInd] by its header.
func (r *ConnectRequest) Parse(header uint16, b []byte) error {
	c := wire.NewCursor("ll", b)
	*r = ConnectRequest{}
	r.Initiator = addressOf(header&(1<<6) != 0, c.Bytes("InitA", 6))
	r.Advertiser = addressOf(header&(1<<7) != 0, c.Bytes("AdvA", 6))
	r.Access = c.Uint32LE("AA")
	if crc := c.Bytes("CRCInit", 3); crc != nil {
		r.CRCInit = uint24(crc)
	}
	r.WinSize = c.Uint8("WinSize")
	r.WinOffset = c.Uint16LE("WinOffset")
	r.Interval = c.Uint16LE("Interval")
	r.Latency = c.Uint16LE("Latency")
	r.Timeout = c.Uint16LE("Timeout")
	copy(r.Channels[:], c.Bytes("ChM", 5))
	r.Hop = c.Uint8("Hop|SCA")
	if c.Len() > 0 {
		c.Fail("LLData", wire.ErrTrailing)
	}
	return c.Err()
}

// AppendPDU writes r as an advertising PDU, header included, after dst.
func (r *ConnectRequest) AppendPDU(dst []byte) []byte {
	le := binary.LittleEndian
	b := append(dst, ConnectInd|r.Initiator.random()<<6|r.Advertiser.random()<<7, connectRequestSize)
	b = r.Advertiser.append(r.Initiator.append(b))
	b = append(le.AppendUint32(b, r.Access), uint8(r.CRCInit), uint8(r.CRCInit>>8), uint8(r.CRCInit>>16), r.WinSize)
	for _, v := range [...]uint16{r.WinOffset, r.Interval, r.Latency, r.Timeout} {
		b = le.AppendUint16(b, v)
	}
	return append(append(b, r.Channels[:]...), r.Hop)
}

// A ScanRequest is a SCAN_REQ or AUX_SCAN_REQ (Vol 6 Part B section 2.3.2.1).
type ScanRequest struct{ Scanner, Advertiser Address }

// Parse reads the payload of a PDU of the type [ScanReq] by its header.
func (r *ScanRequest) Parse(header uint16, b []byte) error {
	c := wire.NewCursor("ll", b)
	r.Scanner = addressOf(header&(1<<6) != 0, c.Bytes("ScanA", 6))
	r.Advertiser = addressOf(header&(1<<7) != 0, c.Bytes("AdvA", 6))
	if c.Len() > 0 {
		c.Fail("AdvA", wire.ErrTrailing)
	}
	return c.Err()
}

// AppendPDU writes r as an advertising PDU, header included, after dst.
func (r *ScanRequest) AppendPDU(dst []byte) []byte {
	b := append(dst, ScanReq|r.Scanner.random()<<6|r.Advertiser.random()<<7, 12)
	return r.Advertiser.append(r.Scanner.append(b))
}

// The LL control PDUs that the follower needs (Vol 6 Part B section 2.4.2).
const (
	LLConnectionUpdateInd  = 0x00
	LLChannelMapInd        = 0x01
	LLTerminateInd         = 0x02
	LLEncReq               = 0x03
	LLEncRsp               = 0x04
	LLStartEncReq          = 0x05
	LLStartEncRsp          = 0x06
	LLUnknownRsp           = 0x07
	LLFeatureReq           = 0x08
	LLFeatureRsp           = 0x09
	LLPauseEncReq          = 0x0a
	LLPauseEncRsp          = 0x0b
	LLVersionInd           = 0x0c
	LLRejectInd            = 0x0d
	LLPeripheralFeatureReq = 0x0e
	LLConnectionParamReq   = 0x0f
	LLRejectExtInd         = 0x11
	LLLengthReq            = 0x14
	LLLengthRsp            = 0x15
	LLPHYUpdateInd         = 0x18
	LLMinUsedChannelsInd   = 0x19
)

// A Control is one LL control PDU. Which fields are valid depends on the
// opcode; those of other opcodes are zero.
type Control struct {
	Opcode   uint8
	Rand     uint64 // LLEncReq
	EDIV     uint16 // LLEncReq
	SKD      uint64 // LLEncReq, LLEncRsp: the sender's half of the session key diversifier
	IV       uint32 // LLEncReq, LLEncRsp: the sender's half of the initialization vector
	Rejected uint8  // LLRejectExtInd, LLUnknownRsp: the opcode that is refused
	Error    uint8  // LLTerminateInd, LLRejectInd, LLRejectExtInd
	Data     []byte // of other opcodes
}

// llSizes holds the size of each control PDU behind the opcode.
var llSizes = [...]uint8{
	11, 7, 1, 22, 12, 0, 0, 1, // 0x00 LL_CONNECTION_UPDATE_IND
	8, 8, 0, 0, 5, 1, 8, 23, // 0x08 LL_FEATURE_REQ
	23, 2, 0, 0, 8, 8, 2, 2, // 0x10 LL_CONNECTION_PARAM_RSP
	4, 2, 1, 0, 34, 1, 1, 35, // 0x18 LL_PHY_UPDATE_IND
	8, 15, 3, 3, 4, 4, 10, 10, // 0x20 LL_CIS_RSP
	3, 10, 42, // 0x28 LL_CHANNEL_REPORTING_IND
}

// Parse reads a control PDU by its opcode and what is behind it. m.Data aliases b.
func (m *Control) Parse(opcode uint16, b []byte) error {
	c := wire.NewCursor("ll", b)
	*m = Control{Opcode: uint8(opcode)}
	if int(m.Opcode) >= len(llSizes) { // of a later version, or the vendor's: the peer answers LL_UNKNOWN_RSP
		m.Data = b
		return nil
	}
	switch m.Opcode {
	case LLEncReq:
		m.Rand = c.Uint64LE("Rand")
		m.EDIV = c.Uint16LE("EDIV")
		m.SKD = c.Uint64LE("SKD_C")
		m.IV = c.Uint32LE("IV_C")
	case LLEncRsp:
		m.SKD = c.Uint64LE("SKD_P")
		m.IV = c.Uint32LE("IV_P")
	case LLTerminateInd, LLRejectInd:
		m.Error = c.Uint8("ErrorCode")
	case LLRejectExtInd:
		m.Rejected = c.Uint8("RejectOpcode")
		m.Error = c.Uint8("ErrorCode")
	case LLUnknownRsp:
		m.Rejected = c.Uint8("UnknownType")
	default:
		m.Data = c.Bytes("CtrData", int(llSizes[m.Opcode]))
	}
	if c.Len() > 0 {
		c.Fail("CtrData", wire.ErrTrailing)
	}
	return c.Err()
}

// Append writes m, its opcode included, after dst: what stands behind the
// header of a PDU whose LLID is [LLIDControl].
func (m *Control) Append(dst []byte) []byte {
	le := binary.LittleEndian
	b := append(dst, m.Opcode)
	switch m.Opcode {
	case LLEncReq:
		b = le.AppendUint32(le.AppendUint64(le.AppendUint16(le.AppendUint64(b, m.Rand), m.EDIV), m.SKD), m.IV)
	case LLEncRsp:
		b = le.AppendUint32(le.AppendUint64(b, m.SKD), m.IV)
	case LLTerminateInd, LLRejectInd:
		b = append(b, m.Error)
	case LLRejectExtInd:
		b = append(b, m.Rejected, m.Error)
	case LLUnknownRsp:
		b = append(b, m.Rejected)
	default:
		b = append(b, m.Data...)
	}
	return b
}

// controlSender returns who alone may send a control PDU, if the opcode tells.
func controlSender(opcode uint16) Side {
	switch opcode {
	case LLConnectionUpdateInd, LLChannelMapInd, LLEncReq, LLPauseEncReq, LLPHYUpdateInd, LLFeatureReq:
		return Central
	case LLEncRsp, LLStartEncReq, LLPeripheralFeatureReq, LLMinUsedChannelsInd:
		return Peripheral
	}
	return UnknownSide
}

// AppendData writes a data channel PDU after dst: header and payload. flags are
// NESN, SN and MD, in the places that they have in the header.
func AppendData(dst []byte, llid, flags uint8, payload []byte) []byte {
	return append(append(dst, llid|flags&0x1c, uint8(len(payload))), payload...)
}

// AppendAir writes a PDU after dst as the air carries it: access address, PDU, CRC.
func AppendAir(dst []byte, access, crcInit uint32, pdu []byte) []byte {
	dst = append(binary.LittleEndian.AppendUint32(dst, access), pdu...)
	crc := CRC24(crcInit, pdu)
	return append(dst, uint8(crc), uint8(crc>>8), uint8(crc>>16))
}
