// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"encoding/binary"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// The memory of the chip, in bytes. What lies behind the slot of the key is not the key's.
const (
	ramSize  = 512
	keySlot  = 0x20 // 16 bytes
	linkTask = 0x80 // 4 bytes: where the task of the link layer goes on
)

var taskEntry = []byte{0x08, 0x00, 0x4c, 0x41}

// The attributes of the chip's pump.
const (
	nameHandle    = 0x0003 // anybody reads it
	highestHandle = 0x0012 // the highest bolus, in hundredths of a unit, two bytes, the low one first: over an encrypted link
)

// A ChipState is what the Bluetooth chip of an insulin pump is and did.
type ChipState struct {
	Links     int  // that were opened
	Encrypted bool // the link that is open
	Agreed    bool // both sides have proven that they have its key
	Deaf      bool // it answers nobody any more, until it loses power
	Highest   int  // bolus of the pump, in hundredths of a unit
	Written   int  // how often that was written
}

// A Chip is the Bluetooth chip of an insulin pump, and the pump's two attributes. Its link layer, security manager and
// attribute protocol are those of the Core Specification 5.4, as far as the attacks need them. What it does wrong is
// what chips did that were found to be so in 2020: it encrypts with whatever is in the slot of its key, it
// believes how long a key is said to be, and it has one buffer, which is lost when what is
// in it is of no kind, or when a request comes before the last one is answered.
type Chip struct {
	port
	s    ChipState
	ram  [ramSize]byte
	lost bool // its buffer
	link *chipLink
}

// A chipLink is the one connection of a Chip.
type chipLink struct {
	airEnd
	last  []byte // what was sent in the last connection event
	queue []airPDU
	asked int // requests that wait for their answers

	pending           *toolbox.Session // when LL_START_ENC_REQ is out
	request, response ble.PairingFeatures
	private           *ecdh.PrivateKey
	shared            [32]byte // DHKey
	mac, na, nb       toolbox.Key
}

var chipAddress = ble.Address{Bytes: [6]byte{0xc7, 0x31, 0x40, 0x9e, 0x5b, 0x27}, Kind: ble.StaticRandom}

// chipSays are the features of a pump without buttons or display.
var chipSays = ble.PairingFeatures{IOCapability: ble.NoInputNoOutput, AuthReq: ble.AuthBonding | ble.AuthSecureConnections, MaxKeySize: 16}

// NewChip returns a Chip.
func NewChip(cfg Config) (*Chip, error) {
	c := new(Chip)
	if err := c.open(cfg, counted, c.handle); err != nil {
		return nil, err
	}
	c.s.Highest = 1000
	copy(c.ram[keySlot:], c.random(len(toolbox.Key{}))) // of the phone that is bonded
	copy(c.ram[linkTask:], taskEntry)
	return c, nil
}

// State returns a [ChipState].
func (c *Chip) State() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Deaf = c.deaf()
	return s
}

// deaf reports whether the link layer does not run any more.
func (c *Chip) deaf() bool {
	return c.lost || !bytes.Equal(c.ram[linkTask:linkTask+len(taskEntry)], taskEntry)
}

// handle takes one packet of the air, and answers in the same connection event, with what was ready before: what a
// packet asks for is answered in one of the next in which the central is quiet.
func (c *Chip) handle(_ context.Context, b []byte) [][]byte {
	access, pdu, ok := readAir(b)
	switch {
	case !ok || c.deaf():
		return nil
	case access == ble.AdvertisingAccess:
		return c.advertising(pdu, b)
	case c.link == nil:
		return nil
	}
	k := c.link
	llid, payload, what := k.take(b)
	switch what {
	case airNoise:
		return nil
	case airAgain:
		if k.last == nil {
			return nil
		}
		return [][]byte{k.last}
	case airForged: // Vol 6 Part B section 5.1.3.1: the link is lost
		c.close()
		return nil
	}
	k.last = c.next(len(payload) == 0)
	c.data(llid, payload)
	if c.deaf() {
		return nil
	}
	return [][]byte{k.last}
}

// advertising answers who looks for it, and is connected to.
func (c *Chip) advertising(pdu, b []byte) [][]byte {
	if !soundAir(b, advertisingCRC) {
		return nil
	}
	header := binary.LittleEndian.Uint16(pdu)
	switch pdu[0] & 0x0f {
	case ble.ScanReq:
		var q ble.ScanRequest
		if q.Parse(header, pdu[2:]) != nil || q.Advertiser != chipAddress {
			return nil
		}
		a := ble.Advertisement{Advertiser: chipAddress, ScanResponse: true, Data: ble.AppendAD(nil, ble.ADAllServices16, []byte{0x3a, 0x18})}
		return [][]byte{ble.AppendAir(nil, ble.AdvertisingAccess, advertisingCRC, a.AppendPDU(nil))}
	case ble.ConnectInd:
		var q ble.ConnectRequest
		if q.Parse(header, pdu[2:]) != nil || q.Advertiser != chipAddress || !ble.ValidAccess(q.Access) {
			return nil
		}
		c.close()
		c.link = &chipLink{airEnd: airEnd{side: ble.Peripheral, access: q.Access, crcInit: q.CRCInit}}
		c.link.address[ble.Central], c.link.address[ble.Peripheral] = q.Initiator, q.Advertiser
		c.s.Links++
	}
	return nil
}

func (c *Chip) close() { c.link, c.s.Encrypted, c.s.Agreed = nil, false, false }

// next is the packet of a connection event. The chip says something where the central has nothing to say.
func (c *Chip) next(quiet bool) []byte {
	k := c.link
	if !quiet || len(k.queue) == 0 {
		return k.packet(airPDU{llid: ble.LLIDContinuation})
	}
	p := k.queue[0]
	k.queue = k.queue[1:]
	if p.answer {
		k.asked--
	}
	b := k.packet(p)
	if k.pending != nil && p.is(ble.LLStartEncReq) {
		k.session, k.pending = k.pending, nil
	}
	return b
}

// data takes what was new in a packet.
func (c *Chip) data(llid uint8, payload []byte) {
	k := c.link
	switch {
	case llid == ble.LLIDReserved:
		if !c.cfg.Mended {
			c.lost = true
			c.note("a packet of no kind: its buffer is not given back")
		}
	case len(payload) == 0:
	case llid == ble.LLIDControl:
		c.control(payload)
	default:
		switch cid, b := k.assemble(llid, payload); cid {
		case ble.CIDSMP:
			c.pair(b)
		case ble.CIDATT:
			c.attribute(b)
		}
	}
	if len(k.queue) > maxQueue { // who asks for so much does not listen
		c.close()
	}
}

const (
	maxQueue = 64 // packets
	maxAsked = 2  // requests
)

func (c *Chip) sayControl(m ble.Control) {
	c.link.queue = append(c.link.queue, airPDU{llid: ble.LLIDControl, payload: m.Append(nil)})
}

// control takes a PDU of the link layer (Vol 6 Part B section 5.1).
func (c *Chip) control(b []byte) {
	const keyMissing = 0x06 // Vol 1 Part F section 2.6
	k := c.link
	var m ble.Control
	if m.Parse(uint16(b[0]), b[1:]) != nil {
		c.sayControl(ble.Control{Opcode: ble.LLUnknownRsp, Rejected: b[0]})
		return
	}
	switch m.Opcode {
	case ble.LLEncReq:
		if c.cfg.Mended && !c.s.Agreed { // Vol 3 Part H section 2.4.4: there is no key before both have proven it
			c.sayControl(ble.Control{Opcode: ble.LLRejectInd, Error: keyMissing})
			return
		}
		r := c.random(12)
		own := ble.Control{Opcode: ble.LLEncRsp, SKD: binary.LittleEndian.Uint64(r), IV: binary.LittleEndian.Uint32(r[8:])}
		c.sayControl(own)
		c.sayControl(ble.Control{Opcode: ble.LLStartEncReq})
		k.pending = toolbox.NewSession(toolbox.Key(c.ram[keySlot:]), m.SKD, own.SKD, m.IV, own.IV)
	case ble.LLStartEncRsp:
		if k.session != nil { // it came encrypted, or would not have come so far
			c.s.Encrypted = true
			c.sayControl(ble.Control{Opcode: ble.LLStartEncRsp})
		}
	case ble.LLTerminateInd:
		c.close()
	default:
		c.sayControl(ble.Control{Opcode: ble.LLUnknownRsp, Rejected: m.Opcode})
	}
}

// say queues what goes through a channel of L2CAP.
func (c *Chip) say(cid uint16, b []byte, err error) {
	if err != nil {
		panic(err) // what we say is ours
	}
	c.link.queue = append(c.link.queue, fragments(cid, b)...)
}

func (c *Chip) smp(p ble.SMP) {
	b, err := p.Append(nil)
	c.say(ble.CIDSMP, b, err)
}

func (c *Chip) value(code ble.SMPCode, k toolbox.Key) { c.smp(ble.SMP{Code: code, Value: k.Air()}) }

// pair takes a PDU of the security manager: Just Works with Secure Connections (Vol 3 Part H section 2.3.5.6).
func (c *Chip) pair(b []byte) {
	const keySize, dhKeyCheck, unspecified = 0x06, 0x0b, 0x08 // section 3.5.5
	fail := func(reason uint8) { c.smp(ble.SMP{Code: ble.PairingFailed, Reason: reason}) }
	k := c.link
	var p ble.SMP
	if p.Parse(b) != nil {
		fail(unspecified)
		return
	}
	pairing := k.response.MaxKeySize != 0
	switch central, own := k.address[ble.Central], k.address[ble.Peripheral]; {
	case p.Code == ble.PairingRequest:
		n := int(p.MaxKeySize)
		if n < 7 || n > len(toolbox.Key{}) && c.cfg.Mended { // section 2.3.4
			fail(keySize)
			return
		}
		clear(c.ram[keySlot : keySlot+n])
		k.request, k.response = p.PairingFeatures, chipSays
		c.s.Agreed, k.private, k.mac = false, nil, toolbox.Key{}
		c.smp(ble.SMP{Code: ble.PairingResponse, PairingFeatures: k.response})
	case p.Code == ble.PairingPublicKey && pairing:
		theirs, err := readPoint(p.Value)
		if err != nil { // not on the curve
			fail(dhKeyCheck)
			return
		}
		if k.private, err = newPrivate(func(n int) ([]byte, error) { return c.random(n), nil }); err != nil {
			panic(err) // chance has none
		}
		shared, err := k.private.ECDH(theirs)
		if err != nil {
			fail(dhKeyCheck)
			return
		}
		k.shared, k.nb = [32]byte(shared), toolbox.Key(c.random(16))
		c.smp(ble.SMP{Code: ble.PairingPublicKey, Value: airPoint(k.private.PublicKey())})
		c.value(ble.PairingConfirm, toolbox.F4(xOf(k.private.PublicKey()), xOf(theirs), k.nb, 0))
	case p.Code == ble.PairingRandom && k.private != nil:
		k.na = toolbox.Key(toolbox.Reversed(p.Value))
		var ltk toolbox.Key
		k.mac, ltk = toolbox.F5(k.shared, k.na, k.nb, central, own)
		copy(c.ram[keySlot:], ltk[:])
		c.value(ble.PairingRandom, k.nb)
	case p.Code == ble.PairingDHKeyCheck && k.mac != (toolbox.Key{}):
		if toolbox.Key(toolbox.Reversed(p.Value)) != toolbox.F6(k.mac, k.na, k.nb, toolbox.Key{}, k.request, central, own) {
			fail(dhKeyCheck)
			return
		}
		c.s.Agreed = true
		c.value(ble.PairingDHKeyCheck, toolbox.F6(k.mac, k.nb, k.na, toolbox.Key{}, k.response, own, central))
	default:
		fail(unspecified)
	}
}

// attribute takes a request of the attribute protocol (Vol 3 Part F section 3.4).
func (c *Chip) attribute(b []byte) {
	const invalidHandle, notSupported, invalidLength = 0x01, 0x06, 0x0d
	k := c.link
	var q ble.ATT
	if q.Parse(b) != nil || !q.Opcode.Request() {
		return
	}
	if k.asked++; k.asked > maxAsked && !c.cfg.Mended { // section 3.3.2 forbids the client more than one
		c.lost = true
		c.note("a request more than it has room for: its buffer is not given back")
		return
	}
	a := ble.ATT{Opcode: ble.ErrorResponse, Request: q.Opcode, Handle: q.Handle, Error: notSupported}
	switch {
	case q.Opcode != ble.ReadRequest && q.Opcode != ble.WriteRequest:
	case q.Opcode == ble.ReadRequest && q.Handle == nameHandle:
		a = ble.ATT{Opcode: ble.ReadResponse, Value: []byte("Dose One")}
	case q.Handle != highestHandle:
		a.Error = invalidHandle
	case !c.s.Encrypted:
		a.Error = ble.InsufficientEncryption
	case q.Opcode == ble.ReadRequest:
		a = ble.ATT{Opcode: ble.ReadResponse, Value: binary.LittleEndian.AppendUint16(nil, uint16(c.s.Highest))}
	case len(q.Value) != 2:
		a.Error = invalidLength
	default:
		c.s.Highest = int(binary.LittleEndian.Uint16(q.Value))
		c.s.Written++
		c.note("the highest bolus is set")
		a = ble.ATT{Opcode: ble.WriteResponse}
	}
	answer, err := a.Append(nil)
	c.say(ble.CIDATT, answer, err)
	k.queue[len(k.queue)-1].answer = true
}
