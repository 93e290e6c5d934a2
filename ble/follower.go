// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"
	"hash/maphash"
)

// The bounds of a [Follower]. What is given up because of them is counted.
const (
	maxConnections = 2048     // of each kind: HCI, and on the air
	maxControllers = 256      // controllers that an HCI log is about; 1.1 KB each
	maxRequests    = 1024     // connect requests whose connection was not heard yet; and connections without one that were heard too little of
	maxAdvertisers = 16384    // advertisers that are remembered; 140 bytes each
	recentContents = 64       // contents that were told last, of all of them
	maxContents    = 4        // contents remembered of one: the data, the scan response, and what they were before
	maxChains      = 256      // extended advertising that is being put together
	maxChainData   = 1650     // Vol 4 Part E section 7.8.57: octets of advertising data
	maxResolvers   = 256      // identity resolving keys
	maxResolved    = 4096     // resolvable addresses that are remembered
	maxBuffered    = 16 << 20 // bytes of PDUs that are being put together
	keptBuffer     = 4 << 10  // of a buffer that is kept for the next PDU
	maxSpare       = 16       // connections that ended and whose memory the next ones use

	// silence ends a connection on the air: the longest supervision timeout is
	// 32 seconds (Vol 6 Part B section 4.5.2), and a sniffer may lose some.
	silence = int64(60e9)
)

// A Handler is told what a [Follower] sees. All calls come from the goroutine
// that calls [Follower.Packet]; what is pointed to is valid until the call
// returns, but for the Connection, which is until Disconnected returns.
type Handler interface {
	// Advertised tells of an advertiser, once for each content that it sends.
	Advertised(a *Advertisement)
	// Connected tells of a connection, at its beginning or where the capture
	// meets it.
	Connected(c *Connection)
	// Pairing tells that a pairing got further.
	Pairing(c *Connection, p *Pairing)
	// Secured tells that c.Security changed.
	Secured(c *Connection)
	// ATT hands over one PDU of the attribute protocol; c.Bearer tells which
	// channel it came through.
	ATT(c *Connection, from Side, pdu []byte)
	// SDU hands over what one side sent through a credit-based channel that is not
	// enhanced ATT's: whole, and what it means is for the channel's spsm to say.
	// c.Bearer tells which channel.
	SDU(c *Connection, from Side, spsm uint16, sdu []byte)
	// Odd tells of the shape of a known attack, or of what breaks the protocol.
	Odd(c *Connection, o Oddity)
	// Malformed tells of a PDU that does not follow its format; err is a
	// *wire.SyntaxError.
	Malformed(c *Connection, from Side, err error)
	// Disconnected is called once for each connection.
	Disconnected(c *Connection)
}

// Stats counts what a [Follower] did, and everything that it gave up.
type Stats struct {
	Packets     uint64
	Connections uint64
	Evicted     uint64 // connections, bonds and other rows that made room for newer ones; advertisers are not counted
	Lost        uint64 // fragments of PDUs that were never whole
	Cut         uint64 // advertising, events and commands of which a part is missing, or that do not follow their format
	Unreadable  uint64 // PDUs that are encrypted
	BadCRC      uint64 // packets that the air changed
	Repeated    uint64 // packets that were sent, or heard, again
}

// A Follower follows connections from connect to disconnect, over any number of
// inputs. It is used from one goroutine at a time. All that it keeps is bounded.
type Follower struct {
	h     Handler
	stats Stats
	seed  maphash.Seed
	ids   uint64
	now   int64

	hci          cache[linkKey, *Connection]
	air          cache[linkKey, *Connection]
	controllers  cache[linkKey, *controller]
	strangers    cache[linkKey, uint8] // access addresses of no known connection, and how often they were heard
	requests     cache[linkKey, ConnectRequest]
	advertisers  cache[Address, advertiser]
	told         [recentContents]told
	chains       cache[chainKey, *chain]
	resolved     cache[Address, Address]
	resolvers    []*resolver
	nextResolver int
	bonds        bonds
	keys         cache[uint64, origin] // long-term keys
	pairings     uint64
	spare        []*Connection
	buffered     int // bytes, the capacity of all assemblies

	// What is parsed, here so that it is not on the heap for each PDU.
	event   Event
	command Command
	adv     Advertisement
	control Control
	att     ATT
	smp     SMP
	signal  Signal
}

// A controller is what an HCI log says of one.
type controller struct {
	public, random, advertising Address  // its own
	own, ownAdvertising         uint8    // Own_Address_Type, of connecting and of advertising
	undirected                  bool     // the log marks no direction
	shows                       keyPlace // where the log was seen to have keys
	classic                     [64]uint64
	encrypted                   [64]uint64
}

func bit(set *[64]uint64, handle uint16) bool { return set[handle>>6&63]>>(handle&63)&1 != 0 }

func setBit(set *[64]uint64, handle uint16, to bool) {
	set[handle>>6&63] &^= 1 << (handle & 63)
	if to {
		set[handle>>6&63] |= 1 << (handle & 63)
	}
}

// NewFollower returns a follower that has seen nothing.
func NewFollower(h Handler) *Follower {
	return &Follower{
		h:           h,
		seed:        maphash.MakeSeed(),
		hci:         newCache[linkKey, *Connection](maxConnections),
		air:         newCache[linkKey, *Connection](maxConnections),
		controllers: newCache[linkKey, *controller](maxControllers),
		strangers:   newCache[linkKey, uint8](maxRequests),
		requests:    newCache[linkKey, ConnectRequest](maxRequests),
		advertisers: newCache[Address, advertiser](maxAdvertisers),
		chains:      newCache[chainKey, *chain](maxChains),
		keys:        newCache[uint64, origin](maxBonds),
		resolved:    newCache[Address, Address](maxResolved),
	}
}

// Stats returns the counts so far.
func (f *Follower) Stats() Stats { return f.stats }

// Packet takes the next packet. stream tells inputs, and the interfaces of one,
// apart; time is the packet's, in nanoseconds. The packet is not kept.
func (f *Follower) Packet(stream uint64, p *Packet, time int64) {
	f.stats.Packets++
	f.now = time
	switch p.Kind {
	case HCIACL:
		f.acl(stream, p)
	case HCIEvent:
		f.hciEvent(stream, p)
	case HCICommand:
		f.hciCommand(stream, p)
	case LLAdvertising:
		f.advertisingPDU(stream, p)
	case LLData, LLControl:
		f.dataPDU(stream, p)
	}
}

// End says that an input is over: its connections end, its bonds stay.
func (f *Follower) End(stream uint64) {
	f.endAll(func(k linkKey) bool { return k.stream == stream })
	f.controllers.each(func(k linkKey, _ **controller) bool {
		if k.stream == stream {
			f.controllers.remove(k)
		}
		return true
	})
}

// Flush ends all connections.
func (f *Follower) Flush() { f.endAll(func(linkKey) bool { return true }) }

func (f *Follower) endAll(which func(linkKey) bool) {
	for _, table := range []*cache[linkKey, *Connection]{&f.hci, &f.air} {
		table.each(func(k linkKey, c **Connection) bool {
			if which(k) {
				f.end(*c)
			}
			return true
		})
	}
}

// open begins to follow a connection.
func (f *Follower) open(key linkKey, sniffed bool) *Connection {
	f.ids++
	f.stats.Connections++
	var c *Connection
	if n := len(f.spare); n > 0 {
		c, f.spare = f.spare[n-1], f.spare[:n-1]
	} else {
		c = new(Connection)
	}
	*c = Connection{ID: f.ids, Sniffed: sniffed, MTU: DefaultMTU, Begin: f.now, Last: f.now}
	c.key = key
	c.channel = NoChannel
	table := &f.hci
	if sniffed {
		table = &f.air
	}
	*table.put(key, func(c *Connection) {
		if !c.over {
			f.stats.Evicted++
		}
		f.end(c)
	}) = c
	return c
}

// end forgets a connection.
func (f *Follower) end(c *Connection) {
	if c.Sniffed {
		f.air.remove(c.key)
	} else {
		f.hci.remove(c.key)
	}
	f.over(c)
	if len(f.spare) < maxSpare {
		f.spare = append(f.spare, c)
	}
}

// over tells that a connection is disconnected.
func (f *Follower) over(c *Connection) {
	if c.over {
		return
	}
	c.over = true
	f.release(c)
	f.h.Disconnected(c)
}

// controller returns what is known of the controller that a packet is of.
func (f *Follower) controller(stream uint64, p *Packet) *controller {
	k := hciKey(stream, p, 0)
	if t := f.controllers.get(k); t != nil {
		return *t
	}
	t := &controller{}
	*f.controllers.put(k, func(*controller) { f.stats.Evicted++ }) = t
	return t
}

func (f *Follower) connection(stream uint64, p *Packet, handle uint16) *Connection {
	if c := f.hci.get(hciKey(stream, p, handle)); c != nil {
		(*c).Last = f.now
		return *c
	}
	return nil
}

func (f *Follower) hciEvent(stream uint64, p *Packet) {
	switch p.Code {
	case EventConnectionComplete, EventDisconnectionComplete, EventEncryptionChange, EventEncryptionChange2, EventEncryptionKeyRefresh, EventLEMeta:
	case EventCommandComplete:
		if len(p.Payload) < 3 || !returns(binary.LittleEndian.Uint16(p.Payload[1:])) {
			return
		}
	default:
		return
	}
	e := &f.event
	if p.Fault.Err != nil {
		return // which says so
	}
	if e.Parse(p.Code, p.Payload) != nil {
		f.stats.Cut++
		return
	}
	t := f.controller(stream, p)
	t.undirected = p.Undirected
	switch e.Code {
	case EventLEAdvertisingReport, EventLEDirectAdvertisingReport, EventLEExtendedAdvertising:
		r := NewReports(e)
		for r.Next(&f.adv) {
			f.report(stream, p)
		}
		if r.Err() != nil {
			f.stats.Cut++ // once, as nobody knows how many reports it was to be
		}
		return
	case EventCommandComplete:
		if e.Status != 0 {
			return
		}
		switch {
		case e.Opcode == CommandReadBDADDR && len(e.Data) >= 6:
			t.public = addressOf(false, e.Data)
		case e.Opcode == CommandReset:
			f.endAll(func(k linkKey) bool { return k.stream == stream && k.link>>16 == uint64(p.Index) })
			*t = controller{public: t.public, undirected: t.undirected, shows: t.shows}
		}
		return
	case EventLEConnectionComplete, EventLEEnhancedConnection, EventLEEnhancedConnection2:
		if e.Status == 0 {
			f.connected(stream, p, t)
		}
		return
	case EventConnectionComplete, EventDisconnectionComplete, EventEncryptionChange, EventEncryptionChange2, EventEncryptionKeyRefresh, EventLELongTermKeyRequest:
	default:
		return
	}
	c := f.connection(stream, p, e.Handle)
	switch e.Code {
	case EventConnectionComplete:
		if e.Status == 0 {
			if c != nil {
				f.end(c)
			}
			setBit(&t.classic, e.Handle, true)
		}
	case EventDisconnectionComplete:
		if e.Status == 0 {
			setBit(&t.classic, e.Handle, false)
			setBit(&t.encrypted, e.Handle, false)
			if c != nil {
				f.end(c)
			}
		}
	case EventEncryptionChange, EventEncryptionChange2:
		if e.Status != 0 {
			break
		}
		setBit(&t.encrypted, e.Handle, e.Enabled != 0)
		if c != nil {
			f.encrypted(c, e.Enabled != 0, e.KeySize)
		}
	case EventEncryptionKeyRefresh:
		if e.Status != 0 {
			break
		}
		setBit(&t.encrypted, e.Handle, true)
		if c != nil {
			f.encrypted(c, true, 0)
		}
	case EventLELongTermKeyRequest:
		if c != nil {
			c.handle = keyHandle{e.Rand, e.EDIV}
		}
	}
}

// returns reports whether the completion of a command tells something.
func returns(opcode uint16) bool { return opcode == CommandReadBDADDR || opcode == CommandReset }

// connected takes the event of a connection.
func (f *Follower) connected(stream uint64, p *Packet, t *controller) {
	e := &f.event
	if c := f.connection(stream, p, e.Handle); c != nil {
		f.end(c) // its end was not captured
	}
	setBit(&t.classic, e.Handle, false)
	setBit(&t.encrypted, e.Handle, false)
	c := f.open(hciKey(stream, p, e.Handle), false)
	c.local = e.Local
	remote := e.Local.Other()
	link, identity := [3]Address{}, [3]Address{}
	link[remote], identity[remote] = e.Peer, e.Peer
	if e.PeerRPA.Kind != NoAddress {
		link[remote] = e.PeerRPA
	}
	own, random := t.own, t.random
	if e.Local == Peripheral {
		own = t.ownAdvertising
		if t.advertising.Kind != NoAddress {
			random = t.advertising
		}
	}
	identity[e.Local] = t.public
	if own&1 != 0 {
		identity[e.Local] = random
	}
	link[e.Local] = identity[e.Local]
	if e.LocalRPA.Kind != NoAddress {
		link[e.Local] = e.LocalRPA
	}
	c.Central, c.Peripheral = link[Central], link[Peripheral]
	c.party = identity
	if !e.Identity {
		c.party[remote] = f.identify(e.Peer)
	}
	f.h.Connected(c)
}

func (f *Follower) hciCommand(stream uint64, p *Packet) {
	switch p.Code {
	case CommandLESetRandomAddress, CommandLESetAdvertising, CommandLESetAdvertisingRandom, CommandLESetExtAdvertising,
		CommandLECreateConnection, CommandLEExtCreateConnection, CommandLEExtCreateConnection2,
		CommandLEEnableEncryption, CommandLELongTermKeyReply, CommandLEAddResolving:
	default:
		return
	}
	m := &f.command
	if m.Parse(p.Code, p.Payload) != nil {
		if p.Fault.Err == nil {
			f.stats.Cut++
		}
		return
	}
	t := f.controller(stream, p)
	switch p.Code {
	case CommandLEAddResolving: // a bond from before the log
		if !allZero(m.Key) {
			f.resolver((*[16]byte)(m.Key), m.Address)
		}
	case CommandLESetRandomAddress:
		t.random = m.Address
	case CommandLESetAdvertisingRandom:
		t.advertising = m.Address
	case CommandLESetAdvertising, CommandLESetExtAdvertising:
		t.ownAdvertising = m.Own
	case CommandLECreateConnection, CommandLEExtCreateConnection, CommandLEExtCreateConnection2:
		t.own = m.Own
	case CommandLEEnableEncryption, CommandLELongTermKeyReply:
		zero := allZero(m.Key)
		if !zero {
			f.shown(hciKey(stream, p, 0), t, commandKeys)
		}
		c := f.connection(stream, p, m.Handle)
		if c == nil {
			break
		}
		if p.Code == CommandLEEnableEncryption {
			c.handle = keyHandle{m.Rand, m.EDIV}
		}
		if c.keyID, c.zero = 0, zero; !zero {
			c.keyID = f.keyID(m.Key)
		}
	}
}

// acl takes a fragment of L2CAP from an HCI log.
func (f *Follower) acl(stream uint64, p *Packet) {
	c := f.connection(stream, p, p.Handle)
	if c == nil {
		c = f.midstream(stream, p)
		if c == nil {
			return
		}
	}
	from := c.local
	if p.Received {
		from = from.Other()
	}
	if p.Undirected && f.controller(stream, p).undirected {
		from = f.senderByContent(c, p)
	}
	if p.Fault.Err != nil { // cut by the log
		f.stats.Lost++
		c.Gaps++
		f.lose(&c.half[from].pdu)
		c.half[from.Other()].requests = 0 // it may have been the answer
		return
	}
	f.fragment(c, from, p.Start, p.Payload)
}

// midstream meets a connection that began before the log, if p is of one. BR/EDR
// has other fixed channels.
func (f *Follower) midstream(stream uint64, p *Packet) *Connection {
	if !p.Start || len(p.Payload) < l2capHeader {
		return nil
	}
	t := f.controller(stream, p)
	cid := binary.LittleEndian.Uint16(p.Payload[2:])
	if cid < CIDATT || cid > CIDSMP || bit(&t.classic, p.Handle) {
		return nil
	}
	c := f.open(hciKey(stream, p, p.Handle), false)
	c.Midstream = true
	if bit(&t.encrypted, p.Handle) {
		c.Security = Security{Encrypted: true, Stored: true}
	}
	c.local = sender(p.Payload)
	if p.Received {
		c.local = c.local.Other()
	}
	if c.local == UnknownSide {
		c.local = Central // a phone, mostly
	}
	f.h.Connected(c)
	return c
}

// senderByContent guesses who sent a fragment where the log does not say it.
func (f *Follower) senderByContent(c *Connection, p *Packet) Side {
	if p.Start {
		if s := sender(p.Payload); s != UnknownSide {
			return s
		}
		return c.local
	}
	for _, s := range []Side{Central, Peripheral} {
		if a := &c.half[s].pdu; len(a.b) > 0 && len(a.b)+len(p.Payload) <= a.need {
			return s
		}
	}
	return c.local
}

// sender returns who sends a PDU that begins so: certainly by the protocols
// that only know central and peripheral, likely by ATT, whose client is mostly
// the central.
func sender(pdu []byte) Side {
	if len(pdu) <= l2capHeader {
		return UnknownSide
	}
	switch cid, code := binary.LittleEndian.Uint16(pdu[2:]), pdu[l2capHeader]; cid {
	case CIDATT:
		if ATTOpcode(code).FromClient() {
			return Central
		}
		return Peripheral
	case CIDSignaling:
		switch SignalCode(code) {
		case ConnectionParameterUpdateRequest:
			return Peripheral
		case ConnectionParameterUpdateResponse:
			return Central
		}
	case CIDSMP:
		switch SMPCode(code) {
		case PairingRequest:
			return Central
		case PairingResponse, SecurityRequest:
			return Peripheral
		}
	}
	return UnknownSide
}

func (f *Follower) digest(b []byte) uint64 { return max(maphash.Bytes(f.seed, b), 1) }

// keyID returns a number that tells keys apart.
func (f *Follower) keyID(key []byte) uint64 { return f.digest(key) }

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
