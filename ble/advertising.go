// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"
	"iter"

	"github.com/myelin-health/myelin/wire"
)

// The types of an advertising physical channel PDU (Vol 6 Part B section 2.3).
const (
	AdvInd        = 0
	AdvDirectInd  = 1
	AdvNonconnInd = 2
	ScanReq       = 3 // also AUX_SCAN_REQ
	ScanRsp       = 4
	AdvScanInd    = 6
	ConnectInd    = 5 // also AUX_CONNECT_REQ
	AdvExtInd     = 7 // also AUX_ADV_IND, AUX_SCAN_RSP, AUX_SYNC_IND and AUX_CHAIN_IND
	AuxConnectRsp = 8
)

// maxLegacyData is the longest data of a legacy advertising PDU, in octets.
const maxLegacyData = 31

// An Advertisement is what an advertiser sends at one time.
type Advertisement struct {
	Advertiser   Address
	Identity     Address // who that is, when Advertiser is resolvable and its key is in the captures; else as Advertiser
	Resolved     bool    // Advertiser is the identity that a controller resolved a private address to
	Target       Address // of directed advertising
	Connectable  bool
	Scannable    bool
	ScanResponse bool // Data answers a scan request
	Extended     bool // by the PDUs of version 5.0
	ADI          uint16
	HasADI       bool // extended: ADI tells which set (SID, 4 bits) and which data of it (DID, 12 bits)
	RSSI         int8 // dBm; 0 when not known
	More         bool // extended: the data goes on, or is to be found, in another PDU or report
	Incomplete   bool // extended: data is missing, and does not come
	Data         []byte
}

// SID returns the number of the advertising set.
func (a *Advertisement) SID() uint8 { return uint8(a.ADI >> 12) }

// An AD is one AD structure (Vol 3 Part C section 11).
type AD struct {
	Type uint8
	Data []byte
}

// The types of AD structure that tell who an advertiser is.
const (
	ADFlags            = 0x01
	ADServices16       = 0x02 // some of them
	ADAllServices16    = 0x03
	ADServices128      = 0x06 // some of them
	ADAllServices128   = 0x07
	ADShortName        = 0x08
	ADName             = 0x09
	ADServiceData16    = 0x16
	ADAppearance       = 0x19
	ADServiceData128   = 0x21
	ADManufacturerData = 0xff
)

// Structures yields the AD structures. What is cut ends it; so does a length of
// zero, which fills up the rest.
func (a *Advertisement) Structures() iter.Seq[AD] {
	return func(yield func(AD) bool) {
		for b := a.Data; len(b) > 1 && b[0] > 0 && int(b[0]) < len(b); {
			n := int(b[0]) + 1
			if !yield(AD{b[1], b[2:n:n]}) {
				return
			}
			b = b[n:]
		}
	}
}

// AppendAD writes one AD structure, of at most 254 bytes of data, after dst.
func AppendAD(dst []byte, typ uint8, data []byte) []byte {
	return append(append(dst, uint8(len(data)+1), typ), data...)
}

// Parse reads the payload of an advertising PDU by its header: of the types
// AdvInd, AdvDirectInd, AdvNonconnInd, ScanRsp, AdvScanInd, AdvExtInd and
// AuxConnectRsp. a.Data aliases b.
func (a *Advertisement) Parse(header uint16, b []byte) error {
	c := wire.NewCursor("ll", b)
	*a = Advertisement{}
	random := func(bit uint16) bool { return header&bit != 0 }
	const txAdd, rxAdd = 1 << 6, 1 << 7
	switch header & 0xf {
	case AdvInd, AdvNonconnInd, ScanRsp, AdvScanInd:
		a.Advertiser = addressOf(random(txAdd), c.Bytes("AdvA", 6))
		a.Connectable = header&0xf == AdvInd
		a.Scannable = header&0xf == AdvInd || header&0xf == AdvScanInd
		a.ScanResponse = header&0xf == ScanRsp
		a.Data = c.Rest()
		if len(a.Data) > maxLegacyData {
			c.FailAt("AdvData", 6, wire.ErrTooLong)
		}
	case AdvDirectInd:
		a.Advertiser = addressOf(random(txAdd), c.Bytes("AdvA", 6))
		a.Target = addressOf(random(rxAdd), c.Bytes("TargetA", 6))
		a.Connectable = true
		if c.Len() > 0 {
			c.Fail("TargetA", wire.ErrTrailing)
		}
	case AdvExtInd, AuxConnectRsp:
		a.Extended = true
		a.extended(&c, random(txAdd), random(rxAdd))
	default:
		c.Fail("PDU Type", wire.ErrReserved)
	}
	a.Identity = a.Advertiser
	return c.Err()
}

// extended reads the common extended advertising payload (Vol 6 Part B section 2.3.4).
func (a *Advertisement) extended(c *wire.Cursor, txAdd, rxAdd bool) {
	b := c.Uint8("Extended Header Length")
	a.Connectable, a.Scannable = b>>6 == 1, b>>6 == 2
	h := c.Sub("Extended Header", int(b&0x3f))
	flags := uint8(0)
	if h.Len() > 0 {
		flags = h.Uint8("Extended Header Flags")
	}
	has := func(bit int) bool { return flags>>bit&1 != 0 }
	if has(0) {
		a.Advertiser = addressOf(txAdd, h.Bytes("AdvA", 6))
	}
	if has(1) {
		a.Target = addressOf(rxAdd, h.Bytes("TargetA", 6))
	}
	if has(2) {
		h.Skip("CTEInfo", 1)
	}
	if has(3) {
		a.ADI, a.HasADI = h.Uint16LE("ADI"), true
	}
	if has(4) {
		h.Skip("AuxPtr", 3)
		a.More = h.Ok()
	}
	if has(5) {
		h.Skip("SyncInfo", 18)
	}
	if has(6) {
		h.Skip("TxPower", 1)
	}
	c.Join(&h) // what is left of it is ACAD
	a.Data = c.Rest()
}

// AppendPDU writes a as an advertising PDU, header included, after dst. Of an
// extended one where the auxiliary PDU is (AuxPtr) is left open.
func (a *Advertisement) AppendPDU(dst []byte) []byte {
	typ := uint8(AdvNonconnInd)
	switch {
	case a.Extended:
		typ = AdvExtInd
	case a.ScanResponse:
		typ = ScanRsp
	case a.Target.Kind != NoAddress:
		typ = AdvDirectInd
	case a.Connectable:
		typ = AdvInd
	case a.Scannable:
		typ = AdvScanInd
	}
	start := len(dst)
	b := append(dst, typ|a.Advertiser.random()<<6|a.Target.random()<<7, 0)
	if !a.Extended {
		b = a.Advertiser.append(b)
		if typ == AdvDirectInd {
			b = a.Target.append(b)
		} else {
			b = append(b, a.Data...)
		}
	} else {
		mode, flags := uint8(0), uint8(0)
		switch {
		case a.Connectable:
			mode = 1 << 6
		case a.Scannable:
			mode = 2 << 6
		}
		header := len(b)
		b = append(b, 0, 0)
		if a.Advertiser.Kind != NoAddress {
			flags |= 1 << 0
			b = a.Advertiser.append(b)
		}
		if a.Target.Kind != NoAddress {
			flags |= 1 << 1
			b = a.Target.append(b)
		}
		if a.HasADI {
			flags |= 1 << 3
			b = binary.LittleEndian.AppendUint16(b, a.ADI)
		}
		if a.More {
			flags |= 1 << 4
			b = append(b, 0, 0, 0)
		}
		b[header], b[header+1] = mode|uint8(len(b)-header-1), flags
		b = append(b, a.Data...)
	}
	b[start+1] = uint8(len(b) - start - 2)
	return b
}

// Reports reads the advertising reports of an event one by one (Vol 4 Part E
// sections 7.7.65.2, 7.7.65.11 and 7.7.65.13), as controllers write them: each
// whole before the next.
type Reports struct {
	c    wire.Cursor
	code uint16
	left int
}

// NewReports returns a reader of the reports of e, whose code is that of
// advertising reports.
func NewReports(e *Event) Reports {
	r := Reports{c: wire.NewCursor("hci", e.Data), code: e.Code}
	r.left = int(r.c.Uint8("Num_Reports"))
	return r
}

// Err returns what was wrong, as a *[wire.SyntaxError], or nil.
func (r *Reports) Err() error { return r.c.Err() }

// Next reads the next report into a, whose Data aliases the event. It returns
// false when there is none.
func (r *Reports) Next(a *Advertisement) bool {
	if r.left == 0 || !r.c.Ok() {
		return false
	}
	r.left--
	*a = Advertisement{}
	c := &r.c
	if r.code == EventLEExtendedAdvertising {
		typ := c.Uint16LE("Event_Type")
		a.Connectable, a.Scannable, a.ScanResponse = typ&1 != 0, typ&2 != 0, typ&8 != 0
		a.Extended = typ&16 == 0
		a.More, a.Incomplete = typ>>5&3 == 1, typ>>5&3 == 2
		kind := c.Uint8("Address_Type")
		if b := c.Bytes("Address", 6); kind != 0xff { // else anonymous
			a.Advertiser, a.Resolved = addressOf(kind&1 != 0, b), kind&2 != 0
		}
		c.Skip("PHY", 2)
		if sid := c.Uint8("Advertising_SID"); sid < 16 {
			a.ADI, a.HasADI = uint16(sid)<<12, true
		}
		c.Skip("TX_Power", 1)
		a.RSSI = rssi(c.Uint8("RSSI"))
		c.Skip("Periodic_Advertising_Interval", 2)
		direct := c.Uint8("Direct_Address_Type")
		if b := c.Bytes("Direct_Address", 6); typ&4 != 0 {
			a.Target = addressOf(direct&1 != 0, b)
		}
		a.Data = c.Bytes("Data", int(c.Uint8("Data_Length")))
	} else {
		typ := c.Uint8("Event_Type")
		kind := c.Uint8("Address_Type")
		a.Advertiser, a.Resolved = addressOf(kind&1 != 0, c.Bytes("Address", 6)), kind&2 != 0
		a.Connectable = typ <= 1
		a.Scannable = typ == 0 || typ == 2
		a.ScanResponse = typ == 4
		if r.code == EventLEDirectAdvertisingReport {
			direct := c.Uint8("Direct_Address_Type")
			a.Target = addressOf(direct&1 != 0, c.Bytes("Direct_Address", 6))
		} else {
			a.Data = c.Bytes("Data", int(c.Uint8("Data_Length")))
		}
		a.RSSI = rssi(c.Uint8("RSSI"))
	}
	a.Identity = a.Advertiser
	return c.Ok()
}

// rssi returns dBm; 127 is not available.
func rssi(b uint8) int8 {
	if b == 127 {
		return 0
	}
	return int8(b)
}

// AppendReport writes a as the one report of an HCI event, header included,
// after dst: extended if a is, else a legacy one.
func (a *Advertisement) AppendReport(dst []byte) []byte {
	start := len(dst)
	b := append(dst, EventLEMeta, 0)
	resolved := uint8(0)
	if a.Resolved {
		resolved = 2
	}
	if a.Extended {
		typ := uint16(0)
		for i, v := range []bool{a.Connectable, a.Scannable, a.Target.Kind != NoAddress, a.ScanResponse, false, a.More, a.Incomplete} {
			if v {
				typ |= 1 << i
			}
		}
		kind, sid := a.Advertiser.random()|resolved, uint8(0xff)
		if a.Advertiser.Kind == NoAddress {
			kind = 0xff
		}
		if a.HasADI {
			sid = a.SID()
		}
		b = append(binary.LittleEndian.AppendUint16(append(b, EventLEExtendedAdvertising>>8, 1), typ), kind)
		b = append(a.Advertiser.append(b), 1, 1, sid, 127, uint8(a.RSSI), 0, 0, a.Target.random())
		b = append(append(a.Target.append(b), uint8(len(a.Data))), a.Data...)
	} else {
		typ := uint8(3)
		switch {
		case a.ScanResponse:
			typ = 4
		case a.Connectable && !a.Scannable:
			typ = 1
		case a.Connectable:
			typ = 0
		case a.Scannable:
			typ = 2
		}
		b = append(b, EventLEAdvertisingReport>>8, 1, typ, a.Advertiser.random()|resolved)
		b = append(append(a.Advertiser.append(b), uint8(len(a.Data))), a.Data...)
		b = append(b, uint8(a.RSSI))
	}
	b[start+1] = uint8(len(b) - start - 2)
	return b
}
