// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// connectionInterval of every link here, in 1.25 ms: 30 ms.
const connectionInterval = 24

const interval = connectionInterval * 1250 * int64(time.Microsecond)

// An airLog is what a sniffer hears of the link layer.
type airLog struct{ s *scene }

// An onAir is one packet as it is on the air, and, of what is encrypted, as it was before.
type onAir struct {
	from    ble.Side // UnknownSide: an advertising PDU
	channel uint8    // index
	rssi    int8
	access  uint32
	crcInit uint32
	pdu     []byte // header and payload
	plain   []byte // nil: not encrypted
	known   bool   // a sniffer that heard all of the recording can have the key
}

// An airLink is the link layer's part of a link.
type airLink struct {
	access, crcInit uint32
	hop             uint8
	anchor          int64 // of the last connection event
	event           int64 // its number
	channel         uint8
	size            int // most octets of a payload, without the MIC
	sn, nesn        [3]uint8
	session         *toolbox.Session
	known           bool // its key is of a pairing in the recording
	rssi            [3]int8
}

// The primary advertising channels.
var advertisingChannels = [...]uint8{37, 38, 39}

const advertisingCRC = 0x555555 // Vol 6 Part B section 3.1.1

func (a *airLog) hear(p onAir) {
	a.s.frames = append(a.s.frames, frame{time: a.s.now, air: &p})
}

// airTime is how long n bytes of a PDU take: at 1 Mbit/s, with preamble, access address and CRC.
func airTime(n int) int64 { return int64(n+8) * 8 * int64(time.Microsecond) }

// interFrame is the time between two packets of a connection event (Vol 6 Part
// B section 4.1.1).
const interFrame = 150 * int64(time.Microsecond)

func (a *airLog) advertising(channel uint8, rssi int8, pdu []byte) {
	a.hear(onAir{channel: channel, rssi: rssi, access: ble.AdvertisingAccess, crcInit: advertisingCRC, pdu: pdu})
	a.s.now += airTime(len(pdu)) + interFrame
}

// advertise is one advertising event: the same on three channels.
func (a *airLog) advertise(d *party) {
	ad := d.advertisement(a.s)
	for _, channel := range advertisingChannels {
		a.advertising(channel, int8(-55-a.s.rng.IntN(12)), ad.AppendPDU(nil))
		a.s.now += 400 * int64(time.Microsecond)
	}
	a.s.after(100 * time.Millisecond)
}

func (a *airLog) connect(l *link) {
	s := a.s
	for range 2 {
		a.advertise(l.party[ble.Peripheral])
	}
	x := &l.air
	*x = airLink{crcInit: s.rng.Uint32N(1 << 24), hop: uint8(5 + s.rng.UintN(12)), size: 27}
	for x.access = s.rng.Uint32(); !ble.ValidAccess(x.access); x.access = s.rng.Uint32() {
	}
	x.rssi[ble.Central], x.rssi[ble.Peripheral] = int8(-48-s.rng.IntN(20)), int8(-52-s.rng.IntN(20))
	ad := l.party[ble.Peripheral].advertisement(s)
	a.advertising(37, x.rssi[ble.Peripheral], ad.AppendPDU(nil))
	r := ble.ConnectRequest{
		Initiator: l.address[ble.Central], Advertiser: l.address[ble.Peripheral], Access: x.access, CRCInit: x.crcInit,
		WinSize: 2, WinOffset: 3, Interval: connectionInterval, Timeout: 500,
		Channels: [5]byte{0xff, 0xff, 0xff, 0xff, 0x1f}, Hop: x.hop,
	}
	a.advertising(37, x.rssi[ble.Central], r.AppendPDU(nil))
	// Vol 6 Part B section 4.5.3: the window, and then where in it.
	x.anchor = s.now + 5*1250*int64(time.Microsecond) - interval
	x.event = -1
	s.now = x.anchor

	version := []byte{12, 0xff, 0xff, 0, 0}       // 5.3, of no company
	features := []byte{0x21, 0, 0, 0, 0, 0, 0, 0} // encryption, data packet length extension
	lengths := []byte{251, 0, 0x48, 0x08, 251, 0, 0x48, 0x08}
	a.control(l, ble.Central, ble.Control{Opcode: ble.LLFeatureReq, Data: features})
	a.control(l, ble.Peripheral, ble.Control{Opcode: ble.LLFeatureRsp, Data: features})
	a.control(l, ble.Central, ble.Control{Opcode: ble.LLVersionInd, Data: version})
	a.control(l, ble.Peripheral, ble.Control{Opcode: ble.LLVersionInd, Data: version})
	a.control(l, ble.Central, ble.Control{Opcode: ble.LLLengthReq, Data: lengths})
	a.control(l, ble.Peripheral, ble.Control{Opcode: ble.LLLengthRsp, Data: lengths})
	x.size = 251 - 4 // and a MIC
}

func (a *airLog) control(l *link, from ble.Side, c ble.Control) {
	a.pdu(l, from, ble.LLIDControl, c.Append(nil))
}

// pdu sends one PDU in the next connection event, with an empty one of the
// other side before or after it.
func (a *airLog) pdu(l *link, from ble.Side, llid uint8, payload []byte) {
	a.nextEvent(l)
	if from == ble.Peripheral {
		a.packet(l, ble.Central, ble.LLIDContinuation, nil)
	}
	a.packet(l, from, llid, payload)
	if from == ble.Central {
		a.packet(l, ble.Peripheral, ble.LLIDContinuation, nil)
	}
}

// nextEvent moves the clock to the next connection event, and hops (Vol 6 Part
// B section 4.5.8.2: with all channels in use).
func (a *airLog) nextEvent(l *link) {
	x := &l.air
	n := max((a.s.now-x.anchor+interval-1)/interval, 1)
	x.anchor += n * interval
	x.event += n
	x.channel = uint8(int64(x.hop) * (x.event + 1) % 37)
	a.s.now = x.anchor
}

// packet sends one packet now.
func (a *airLog) packet(l *link, from ble.Side, llid uint8, payload []byte) {
	x, to := &l.air, from.Other()
	first := llid | x.nesn[from]<<2 | x.sn[from]<<3
	p := onAir{from: from, channel: x.channel, rssi: x.rssi[from], access: x.access, crcInit: x.crcInit}
	p.pdu = ble.AppendData(nil, llid, first, payload)
	if x.session != nil && len(payload) > 0 {
		p.plain, p.known = p.pdu, x.known
		p.pdu = ble.AppendData(nil, llid, first, x.session.Seal(from, first, payload))
	}
	a.hear(p)
	// Vol 6 Part B section 4.5.9: it arrives, and acknowledges what came before.
	x.nesn[to] ^= 1
	x.sn[to] ^= boolBit(x.nesn[from] != x.sn[to])
	a.s.now += airTime(len(p.pdu)) + interFrame
}

func boolBit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func (a *airLog) send(l *link, from ble.Side, cid uint16, payload []byte) {
	b := ble.AppendL2CAP(nil, cid, payload)
	for llid := uint8(ble.LLIDStart); len(b) > 0; llid = ble.LLIDContinuation {
		n := min(len(b), l.air.size)
		a.pdu(l, from, llid, b[:n])
		b = b[n:]
	}
}

// encrypt is the encryption start procedure (Vol 6 Part B section 5.1.3.1),
// after a pause where the link was encrypted (section 5.1.3.2).
func (a *airLog) encrypt(l *link, b *bond) {
	x, s := &l.air, a.s
	if x.session != nil {
		a.control(l, ble.Central, ble.Control{Opcode: ble.LLPauseEncReq})
		a.control(l, ble.Peripheral, ble.Control{Opcode: ble.LLPauseEncRsp})
		x.session = nil
		a.control(l, ble.Central, ble.Control{Opcode: ble.LLPauseEncRsp})
	}
	c := ble.Control{Opcode: ble.LLEncReq, Rand: b.rand, EDIV: b.ediv, SKD: s.rng.Uint64(), IV: s.rng.Uint32()}
	p := ble.Control{Opcode: ble.LLEncRsp, SKD: s.rng.Uint64(), IV: s.rng.Uint32()}
	a.control(l, ble.Central, c)
	a.control(l, ble.Peripheral, p)
	a.control(l, ble.Peripheral, ble.Control{Opcode: ble.LLStartEncReq})
	x.known = !b.before
	x.session = toolbox.NewSession(b.ltk, c.SKD, p.SKD, c.IV, p.IV)
	a.control(l, ble.Central, ble.Control{Opcode: ble.LLStartEncRsp})
	a.control(l, ble.Peripheral, ble.Control{Opcode: ble.LLStartEncRsp})
}

func (a *airLog) disconnect(l *link) {
	const byUser = 0x13
	a.control(l, ble.Central, ble.Control{Opcode: ble.LLTerminateInd, Error: byUser})
}

// wait lets a time pass in which the sniffer leaves empty packets out, but
// for one pair now and then.
func (a *airLog) wait(l *link, d time.Duration) {
	const now = 15 * time.Second
	for l != nil && d > now {
		a.s.after(now)
		d -= now
		a.nextEvent(l)
		a.packet(l, ble.Central, ble.LLIDContinuation, nil)
		a.packet(l, ble.Peripheral, ble.LLIDContinuation, nil)
	}
	a.s.after(d)
}
