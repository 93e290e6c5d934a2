// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// An hciLog is what the host of one side logs of its controller, in packets of
// the UART transport (Vol 4 Part A section 2). What is encrypted on the air it
// has in clear.
type hciLog struct {
	s    *scene
	side ble.Side // whose host it is: of the central, or of the peripheral
	on   bool     // the controller was set up
	list []*party // whose private addresses the controller resolves
}

// The packet indicators.
const (
	h4Command = 1
	h4ACL     = 2
	h4Event   = 4
)

// The events and commands that are not in package ble, which does not need them.
const (
	eventCommandStatus     = 0x0f
	eventCompletedPackets  = 0x13
	commandDisconnect      = 0x0406
	commandResolve         = 0x202d // LE Set Address Resolution Enable
	commandScanOn          = 0x200c
	commandAdvertisingOn   = 0x200a
	commandAdvertisingData = 0x2008
)

func (h *hciLog) record(received bool, packet []byte) {
	h.s.frames = append(h.s.frames, frame{time: h.s.now, hci: packet, received: received})
	h.s.after(200 * time.Microsecond)
}

func (h *hciLog) event(e ble.Event) { h.record(true, e.Append([]byte{h4Event})) }

// command sends a command, which is completed at once, with what it returns
// behind the status, or is begun.
func (h *hciLog) command(c ble.Command, returns ...byte) {
	h.record(false, c.Append([]byte{h4Command}))
	h.event(ble.Event{Code: ble.EventCommandComplete, Opcode: c.Opcode, Data: returns})
}

func (h *hciLog) begin(c ble.Command) {
	h.record(false, c.Append([]byte{h4Command}))
	h.event(ble.Event{Code: eventCommandStatus, Data: binary.LittleEndian.AppendUint16([]byte{0, 1}, c.Opcode)})
}

// setUp is the controller being reset and given its own address.
func (h *hciLog) setUp(own *party) {
	if h.on {
		return
	}
	h.on = true
	public := ble.Address{Kind: ble.Public, Bytes: [6]byte{0, 0, 0x5e, 0, 0x53, 0xff}}
	if own.identity.Kind == ble.Public {
		public = own.identity
	}
	h.command(ble.Command{Opcode: ble.CommandReset})
	h.command(ble.Command{Opcode: ble.CommandReadBDADDR}, toolbox.Reversed(public.Bytes[:])...)
	if a := own.address(h.s); a.Kind != ble.Public {
		h.command(ble.Command{Opcode: ble.CommandLESetRandomAddress, Address: a})
	}
}

// resolve gives the controller the identities of two that are bonded, when one
// has private addresses, so that it makes and resolves them. It reports whether it does.
func (h *hciLog) resolve(own, peer *party) bool {
	if own.bonds[peer] == nil || !own.private && !peer.private {
		return false
	}
	if !slices.Contains(h.list, peer) {
		h.list = append(h.list, peer)
		h.command(ble.Command{Opcode: ble.CommandLEAddResolving, Address: peer.identity, Key: peer.irk.Air(), Data: own.irk.Air()})
		h.command(ble.Command{Opcode: commandResolve, Data: []byte{1}})
	}
	return true
}

// advertise is the peripheral's host switching advertising on, and what a
// central's hears of it. own is its type of address.
func (h *hciLog) advertise(d *party, own uint8) {
	ad := d.advertisement(h.s)
	if h.side == ble.Central {
		h.record(true, ad.AppendReport([]byte{h4Event}))
		h.s.after(30 * time.Millisecond)
		return
	}
	h.command(ble.Command{Opcode: ble.CommandLESetAdvertising, Own: own})
	data := make([]byte, 32)
	data[0] = byte(copy(data[1:], ad.Data))
	h.command(ble.Command{Opcode: commandAdvertisingData, Data: data})
	h.command(ble.Command{Opcode: commandAdvertisingOn, Data: []byte{1}})
	h.s.after(700 * time.Millisecond)
}

func (h *hciLog) connect(l *link) {
	own, peer := l.party[h.side], l.party[h.side.Other()]
	h.setUp(own)
	e := ble.Event{Code: ble.EventLEConnectionComplete, Handle: l.handle, Local: h.side, Peer: l.address[h.side.Other()], Interval: connectionInterval, Timeout: 500}
	kind := toolbox.AddressType(l.address[h.side])
	if h.resolve(own, peer) {
		e.Code = ble.EventLEEnhancedConnection
		if own.private {
			const resolvable = 2 // made by the controller, else the identity
			kind = resolvable | toolbox.AddressType(own.identity)
			e.LocalRPA = l.address[h.side]
		}
		if peer.private {
			e.Identity, e.Peer, e.PeerRPA = true, peer.identity, e.Peer
		}
	}
	if h.side == ble.Central {
		h.command(ble.Command{Opcode: ble.CommandLESetScan, Own: kind})
		h.command(ble.Command{Opcode: commandScanOn, Data: []byte{1, 1}})
		h.s.after(300 * time.Millisecond)
		h.advertise(l.party[ble.Peripheral], 0)
		h.command(ble.Command{Opcode: commandScanOn, Data: []byte{0, 0}})
		h.begin(ble.Command{Opcode: ble.CommandLECreateConnection, Address: l.address[ble.Peripheral], Own: kind})
		h.s.after(90 * time.Millisecond)
	} else {
		h.advertise(l.party[ble.Peripheral], kind)
	}
	h.event(e)
}

// aclSize is the most that this controller takes of a PDU at once.
const aclSize = 251

func (h *hciLog) send(l *link, from ble.Side, cid uint16, payload []byte) {
	received := from != h.side
	pdu := ble.AppendL2CAP(nil, cid, payload)
	for start := true; len(pdu) > 0; start = false {
		n := min(len(pdu), aclSize)
		h.record(received, ble.AppendACL([]byte{h4ACL}, l.handle, start, received, pdu[:n]))
		pdu = pdu[n:]
		h.s.after(connectionInterval * 1250 * time.Microsecond)
		if !received {
			h.event(ble.Event{Code: eventCompletedPackets, Data: binary.LittleEndian.AppendUint16([]byte{1, byte(l.handle), 0}, 1)})
		}
	}
}

func (h *hciLog) encrypt(l *link, b *bond) {
	again := l.encrypted
	if h.side == ble.Central {
		h.begin(ble.Command{Opcode: ble.CommandLEEnableEncryption, Handle: l.handle, Rand: b.rand, EDIV: b.ediv, Key: b.ltk.Air()})
	} else {
		h.event(ble.Event{Code: ble.EventLELongTermKeyRequest, Handle: l.handle, Rand: b.rand, EDIV: b.ediv})
		h.command(ble.Command{Opcode: ble.CommandLELongTermKeyReply, Handle: l.handle, Key: b.ltk.Air()}, byte(l.handle), 0)
	}
	h.s.after(4 * connectionInterval * 1250 * time.Microsecond)
	if again {
		h.event(ble.Event{Code: ble.EventEncryptionKeyRefresh, Handle: l.handle})
		return
	}
	h.event(ble.Event{Code: ble.EventEncryptionChange, Handle: l.handle, Enabled: 1})
}

func (h *hciLog) disconnect(l *link) {
	const byUser, byHost = 0x13, 0x16
	reason := uint8(byUser)
	if h.side == ble.Central {
		h.begin(ble.Command{Opcode: commandDisconnect, Data: []byte{byte(l.handle), byte(l.handle >> 8), byUser}})
		reason = byHost
	}
	h.s.after(60 * time.Millisecond)
	h.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: l.handle, Reason: reason})
}

func (h *hciLog) wait(_ *link, d time.Duration) { h.s.after(d) }
