// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/sim/toolbox"
)

const (
	advertisingCRC = 0x555555 // Vol 6 Part B section 3.1.1
	fragment       = 27       // bytes of a payload before anything else is agreed on (section 4.5.10)
	maxAssembled   = 512      // bytes of L2CAP that are put together
)

// An airPDU is what one packet carries.
type airPDU struct {
	llid    uint8
	payload []byte
	answer  bool // it ends an answer of the attribute protocol
}

// is reports whether it is a control PDU of the link layer, and which one.
func (p airPDU) is(opcode uint8) bool { return p.llid == ble.LLIDControl && p.payload[0] == opcode }

// fragments is a PDU of L2CAP in packets.
func fragments(cid uint16, payload []byte) (out []airPDU) {
	b := ble.AppendL2CAP(nil, cid, payload)
	for llid := uint8(ble.LLIDStart); len(b) > 0; llid = ble.LLIDContinuation {
		n := min(len(b), fragment)
		out = append(out, airPDU{llid: llid, payload: b[:n]})
		b = b[n:]
	}
	return out
}

// An airEnd is one side's end of a connection. In each connection event the central sends a packet and the peripheral
// one, and each acknowledges the one before (Vol 6 Part B section 4.5.9).
type airEnd struct {
	side            ble.Side
	address         [3]ble.Address
	access, crcInit uint32
	sn, nesn        uint8            // of what is sent next
	session         *toolbox.Session // nil: not encrypted
	assembled       []byte
}

// packet is a PDU as it goes over the air, from the access address to the CRC.
func (e *airEnd) packet(p airPDU) []byte {
	first := p.llid | e.nesn<<2 | e.sn<<3
	if e.session != nil && len(p.payload) > 0 {
		p.payload = e.session.Seal(e.side, first, p.payload)
	}
	e.sn ^= 1
	return ble.AppendAir(nil, e.access, e.crcInit, ble.AppendData(nil, p.llid, first, p.payload))
}

// An airResult says what became of a packet that came.
type airResult uint8

const (
	airNew    airResult = iota
	airNoise            // of nobody, or changed on its way
	airAgain            // it came before
	airForged           // it is not encrypted with the key
)

// take reads a packet of the other side.
func (e *airEnd) take(b []byte) (llid uint8, payload []byte, what airResult) {
	access, pdu, ok := readAir(b)
	if !ok || access != e.access || !soundAir(b, e.crcInit) {
		return 0, nil, airNoise
	}
	first, payload := pdu[0], pdu[2:]
	if first>>3&1 != e.nesn || first>>2&1 != e.sn {
		return 0, nil, airAgain
	}
	if e.session != nil && len(payload) > 0 {
		if payload, ok = e.session.Open(e.side.Other(), first, payload); !ok {
			return 0, nil, airForged
		}
	}
	e.nesn ^= 1
	return first & 3, payload, airNew
}

// assemble puts fragments together. It returns 0 while more is to come.
func (e *airEnd) assemble(llid uint8, payload []byte) (cid uint16, b []byte) {
	if llid == ble.LLIDStart {
		e.assembled = nil
	}
	e.assembled = append(e.assembled, payload...)
	const header = 4
	if len(e.assembled) > maxAssembled {
		e.assembled = nil
	}
	if len(e.assembled) < header {
		return 0, nil
	}
	n := int(binary.LittleEndian.Uint16(e.assembled))
	if len(e.assembled) != header+n {
		return 0, nil
	}
	b = e.assembled
	e.assembled = nil
	return binary.LittleEndian.Uint16(b[2:]), b[header:]
}

// readAir takes a packet apart. The PDU has its header.
func readAir(b []byte) (access uint32, pdu []byte, ok bool) {
	const before, header, behind = 4, 2, 3
	if len(b) < before+header+behind {
		return 0, nil, false
	}
	pdu = b[before : len(b)-behind]
	return binary.LittleEndian.Uint32(b), pdu, int(pdu[1]) == len(pdu)-header
}

// soundAir reports whether the CRC of a packet that readAir took apart is right.
func soundAir(b []byte, crcInit uint32) bool {
	access, pdu, _ := readAir(b)
	return bytes.Equal(b, ble.AppendAir(nil, access, crcInit, pdu))
}

// newPrivate makes a key pair of somebody's chance.
func newPrivate(random func(int) ([]byte, error)) (*ecdh.PrivateKey, error) {
	for {
		b, err := random(32)
		if err != nil {
			return nil, err
		}
		if k, err := ecdh.P256().NewPrivateKey(b); err == nil { // some numbers are none
			return k, nil
		}
	}
}

// airPoint is a public key as it is sent.
func airPoint(k *ecdh.PublicKey) []byte {
	point := k.Bytes()
	return append(toolbox.Reversed(point[1:33]), toolbox.Reversed(point[33:])...)
}

// readPoint is the public key of 64 bytes that were sent, if there is one.
func readPoint(b []byte) (*ecdh.PublicKey, error) {
	return ecdh.P256().NewPublicKey(append(append([]byte{4}, toolbox.Reversed(b[:32])...), toolbox.Reversed(b[32:])...))
}

// xOf is the x of a public key.
func xOf(k *ecdh.PublicKey) [32]byte { return [32]byte(k.Bytes()[1:]) }
