// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"encoding/binary"
	"hash/maphash"
)

// An advertiser is what was told of one: numbers that tell contents apart.
type advertiser struct {
	contents [maxContents]uint64
	next     uint8
}

// told is something that was told of an advertiser.
type told struct {
	advertiser Address
	content    uint64
}

// A chainKey tells apart what extended advertising sends in parts.
type chainKey struct {
	link    linkKey
	address Address // HCI: of the advertiser
	adi     uint16  // of the air; of HCI the SID
}

// A chain is extended advertising data of which more comes.
type chain struct {
	adv  Advertisement
	data []byte
}

// advertise tells of f.adv, if it is new.
func (f *Follower) advertise() {
	a := &f.adv
	content := maphash.Bytes(f.seed, a.Data)
	for i, v := range [...]bool{a.Connectable, a.Scannable, a.ScanResponse, a.Extended, a.Incomplete, a.Target.Kind != NoAddress, a.Resolved} {
		if v {
			content += 0x9e3779b97f4a7c15 << i
		}
	}
	// Most reports are the same as one just before: that takes no look into a map.
	last := &f.told[content%recentContents]
	if last.content == content && last.advertiser == a.Advertiser {
		return
	}
	*last = told{a.Advertiser, content}
	known := f.advertisers.get(a.Advertiser)
	if known == nil {
		known = f.advertisers.put(a.Advertiser, func(advertiser) {})
	}
	for _, c := range known.contents {
		if c == content {
			return
		}
	}
	known.contents[known.next%maxContents] = content
	known.next++
	a.Identity = f.identify(a.Advertiser)
	f.h.Advertised(a)
}

// report takes one report of an HCI event, in f.adv.
func (f *Follower) report(stream uint64, p *Packet) {
	a := &f.adv
	if a.Incomplete {
		f.stats.Cut++
	}
	if !a.Extended {
		f.advertise()
		return
	}
	k := chainKey{hciKey(stream, p, 0), a.Advertiser, a.ADI}
	c := f.chains.get(k)
	if c == nil {
		if !a.More {
			f.advertise()
			return
		}
		*f.chains.put(k, func(*chain) { f.stats.Evicted++ }) = &chain{*a, append([]byte(nil), a.Data...)}
		return
	}
	f.link(k, *c)
}

// link puts the data in f.adv behind that of a chain, and tells of it when it
// is whole.
func (f *Follower) link(k chainKey, c *chain) {
	a := &f.adv
	more, incomplete := a.More, a.Incomplete
	c.data = append(c.data, a.Data...)
	if len(c.data) > maxChainData {
		more, incomplete = false, true
		f.stats.Cut++
		c.data = c.data[:maxChainData]
	}
	if more {
		return
	}
	f.chains.remove(k)
	*a = c.adv
	a.Data, a.More, a.Incomplete = c.data, false, incomplete
	f.advertise()
}

// advertisingPDU takes a PDU of an advertising channel.
func (f *Follower) advertisingPDU(stream uint64, p *Packet) {
	if p.CRC == BadCRC {
		f.stats.BadCRC++
		return
	}
	switch p.Code {
	case ConnectInd:
		var r ConnectRequest
		if r.Parse(p.Header, p.Payload) != nil {
			f.stats.Cut++
			return
		}
		if p.Access != AdvertisingAccess || !ValidAccess(r.Access) {
			return
		}
		k := airKey(stream, r.Access)
		if c := f.air.get(k); c != nil {
			f.end(*c)
		}
		if old := f.requests.get(k); old != nil {
			*old = r
			return
		}
		*f.requests.put(k, func(ConnectRequest) { f.stats.Evicted++ }) = r
	case ScanReq, AuxConnectRsp:
	default:
		a := &f.adv
		if a.Parse(p.Header, p.Payload) != nil {
			f.stats.Cut++
			return
		}
		if p.Access != AdvertisingAccess {
			return
		}
		a.RSSI = p.RSSI
		if !a.Extended {
			f.advertise()
			return
		}
		f.extendedPDU(stream, p)
	}
}

// extendedPDU follows the chain of PDUs that extended advertising is: on a
// primary channel where to listen, then the data in one PDU or several, which
// the ADI holds together.
func (f *Follower) extendedPDU(stream uint64, p *Packet) {
	a := &f.adv
	if !a.HasADI {
		if !a.More {
			f.advertise()
		}
		return
	}
	k := chainKey{link: airKey(stream, p.Access), adi: a.ADI}
	known := f.chains.get(k)
	primary := p.Channel != NoChannel && p.Channel >= 37 || p.Channel == NoChannel && len(a.Data) == 0
	switch {
	case primary && known == nil:
		if a.Advertiser.Kind != NoAddress { // the auxiliary PDU may leave it out
			*f.chains.put(k, func(*chain) { f.stats.Evicted++ }) = &chain{adv: *a}
		}
	case primary:
	case a.Advertiser.Kind != NoAddress || known == nil || len((*known).data) == 0: // the first with data
		if a.Advertiser.Kind == NoAddress && known != nil {
			a.Advertiser, a.Identity = (*known).adv.Advertiser, (*known).adv.Identity
		}
		if !a.More {
			f.chains.remove(k)
			f.advertise()
			break
		}
		if known == nil {
			known = f.chains.put(k, func(*chain) { f.stats.Evicted++ })
		}
		*known = &chain{*a, append([]byte(nil), a.Data...)}
	default:
		f.link(k, *known)
	}
}

func airKey(stream uint64, access uint32) linkKey { return linkKey{stream, 1<<63 | uint64(access)} }

// dataPDU takes a PDU of a data channel.
func (f *Follower) dataPDU(stream uint64, p *Packet) {
	if old := f.air.oldest(); old != nil && f.now-(*old).Last > silence {
		f.end(*old)
	}
	if p.CRC == BadCRC {
		f.stats.BadCRC++
		return
	}
	c := f.heard(stream, p)
	if c == nil || c.over {
		return
	}
	if p.CRC == UnknownCRC && c.hasInit {
		// A tool that does not check may also have changed what it wrote:
		// wrong is bad only where some were right.
		switch p.check(c.crcInit) {
		case GoodCRC:
			c.crcProven = true
		case BadCRC:
			if c.crcProven {
				f.stats.BadCRC++
				return
			}
		}
	}
	from := c.sender(p, f.now)
	c.Last, c.last, c.channel = f.now, from, p.Channel
	if c.repeated(p, from, f.hash(p)) {
		f.stats.Repeated++
		return
	}
	n := len(p.Payload)
	if p.Kind == LLControl {
		n++
	}
	switch llid := p.LLID(); {
	case llid == LLIDReserved, llid == LLIDStart && n == 0:
		f.h.Odd(c, InvalidLLID)
		return
	case n == 0:
		return
	}
	if c.ciphertext(p, from) {
		f.unreadable(c, p, from)
		return
	}
	c.opaque = 0
	if p.Decrypted && c.encryption < encryptionStarting { // where it started was not heard
		c.encryption, c.readable = encryptionOn, true
		f.encrypted(c, true, 0)
	}
	if p.Kind == LLControl {
		f.controlPDU(c, from, p)
		return
	}
	if c.encryption == encryptionOn || c.encryption == encryptionStarting {
		c.readable = true
	}
	f.duringEncryption(c, from)
	f.fragment(c, from, p.Start, p.Payload)
}

// hash returns a number that tells packets apart but for what changes when one
// is sent again.
func (f *Follower) hash(p *Packet) uint64 {
	return maphash.Bytes(f.seed, p.Payload) + uint64(p.Header&0xff03)<<32 + uint64(p.Code)
}

// heard returns the connection of a packet. It begins with a connect request
// and, where that was not heard, with something that is no noise.
func (f *Follower) heard(stream uint64, p *Packet) *Connection {
	k := airKey(stream, p.Access)
	if c := f.air.get(k); c != nil {
		return *c
	}
	if r := f.requests.get(k); r != nil {
		c := f.open(k, true)
		c.Central, c.Peripheral = r.Initiator, r.Advertiser
		c.party = [3]Address{Central: f.identify(r.Initiator), Peripheral: f.identify(r.Advertiser)}
		c.crcInit, c.hasInit = r.CRCInit, true
		f.requests.remove(k)
		f.h.Connected(c)
		return c
	}
	if !ValidAccess(p.Access) || p.CRC != GoodCRC && (p.Kind != LLData || !plausible(p, nil)) {
		return nil
	}
	// A sniffer hears wrong, and attacks write what they want: once is not
	// enough, but of what makes sense twice is.
	const enough = 3
	n := f.strangers.get(k)
	if n == nil {
		n = f.strangers.put(k, func(uint8) {})
	}
	if *n++; p.Kind == LLData && plausible(p, nil) {
		*n++
	}
	if *n < enough || len(p.Payload) == 0 {
		return nil
	}
	f.strangers.remove(k)
	c := f.open(k, true)
	c.Midstream = true
	f.h.Connected(c)
	return c
}

// sender returns who sent a packet. Where the sniffer does not say: what only
// one side may send; else who follows whom. A connection event begins with the
// central, on the event's own channel, and both take turns 150 microseconds
// apart (Vol 6 Part B sections 4.1 and 4.5.1); the next event is at least
// 7.5 milliseconds after the last began.
func (c *Connection) sender(p *Packet, now int64) Side {
	const turn = 2e6 // some sniffers' clocks are coarse
	switch {
	case p.From != UnknownSide:
		return p.From
	case p.Kind == LLControl && sized(p):
		if s := controlSender(p.Code); s != UnknownSide {
			return s
		}
	case p.Start && len(p.Payload) > 2 && p.Payload[2] != CIDATT && plausible(p, nil):
		if s := sender(p.Payload); s != UnknownSide {
			return s
		}
	}
	if c.last == UnknownSide || p.Channel != c.channel || now-c.Last > turn+int64(len(p.Payload))*8e3 {
		return Central
	}
	return c.last.Other()
}

// repeated keeps account of the sequence numbers of a side (Vol 6 Part B section
// 4.5.9). It reports whether a packet was heard before, and counts in c.Gaps
// what was not heard at all.
func (c *Connection) repeated(p *Packet, from Side, hash uint64) bool {
	h, o := &c.half[from], &c.half[from.Other()]
	sn, nesn := uint8(p.Header>>3&1), uint8(p.Header>>2&1)
	again := h.heard && sn == h.sn && hash == h.hash
	if h.heard && o.toggles && nesn != h.nesn && nesn == o.sn {
		c.Gaps++ // the other side's packet that this acknowledges
	}
	switch {
	case !h.heard:
	case sn != h.sn:
		h.toggles, h.stuck = true, 0
	case !again:
		// Another packet with the same number: one in between was not heard,
		// or the numbers mean nothing, as in the log of a tool that sends.
		if h.toggles {
			c.Gaps++
		}
		if h.stuck++; h.stuck > maxStuck {
			h.toggles, h.stuck = false, maxStuck
		}
	}
	h.heard, h.sn, h.nesn, h.hash = true, sn, nesn, hash
	return again && (h.toggles || h.stuck == 0)
}

// maxStuck is how many packets in a row may have the same sequence number
// before it is one that means nothing.
const maxStuck = 8

// sized reports whether a control PDU has the size that its opcode asks for.
func sized(p *Packet) bool {
	return int(p.Code) < len(llSizes) && len(p.Payload) == int(llSizes[p.Code])
}

// plausible reports whether a PDU is what an LE link carries, and not
// ciphertext or noise, by its sizes and channel. A continuation never is.
func plausible(p *Packet, c *Connection) bool {
	if p.Kind == LLControl {
		return sized(p)
	}
	if !p.Start || len(p.Payload) < l2capHeader {
		return false
	}
	n, cid := int(binary.LittleEndian.Uint16(p.Payload)), binary.LittleEndian.Uint16(p.Payload[2:])
	if n < len(p.Payload)-l2capHeader {
		return false
	}
	switch {
	case CIDATT <= cid && cid <= CIDSMP:
		const most = 1024 // octets, of which most PDUs are far from
		return n <= most && (n > 0 || cid != CIDATT)
	case cid < firstDynamicCID || cid > lastDynamicCID:
		return false
	}
	return n == len(p.Payload)-l2capHeader || c != nil && c.channelOf(cid) != nil
}

// ciphertext reports whether a PDU is encrypted, as far as can be told. Before
// encryption nothing is; behind it only what somebody decrypted makes sense.
func (c *Connection) ciphertext(p *Packet, from Side) bool {
	switch {
	case p.Ciphertext:
		return true
	case p.Decrypted:
		return false
	case c.encryption == encryptionStarting && p.Kind == LLControl && p.Code == LLStartEncReq && len(p.Payload) == 0:
		return false // again
	case c.encryption >= encryptionStarting && c.encryption != encryptionPaused, c.opaque > 0:
	case c.encryption == encryptionAnswered, c.Midstream:
	default:
		return false
	}
	if p.Kind == LLData && !p.Start {
		return c.encryption != encryptionOff && c.half[from].pdu.need == 0 && !c.readable
	}
	return !plausible(p, c)
}

// unreadable takes a PDU that is ciphertext.
func (f *Follower) unreadable(c *Connection, p *Packet, from Side) {
	f.stats.Unreadable++
	f.lose(&c.half[from].pdu)
	switch {
	case c.encryption == encryptionStarting:
		if p.Kind == LLControl && c.provesZeroKey(p, from) {
			f.zeroKey(c)
		}
		if from == Peripheral || p.Kind == LLData {
			c.encryption = encryptionOn
		}
	case c.encryption == encryptionAnswered, p.Ciphertext && c.encryption < encryptionStarting:
		c.encryption = encryptionOn // where it started was not heard
		f.encrypted(c, true, 0)
	case c.encryption == encryptionOff:
		const sure = 3
		if c.opaque++; c.opaque == sure {
			c.encryption = encryptionOn
			f.encrypted(c, true, 0)
		}
	}
}

// provesZeroKey reports whether the answer to LL_START_ENC_REQ is encrypted with
// a key that is all zero.
func (c *Connection) provesZeroKey(p *Packet, from Side) bool {
	var b [1 + 4]byte
	if len(p.Payload) != len(b)-1 {
		return false
	}
	b[0] = uint8(p.Code)
	copy(b[1:], p.Payload)
	direction := fromPeripheral
	if from == Central {
		direction = fromCentral
	}
	var zero [16]byte
	return c.session.opens(zero[:], direction, uint8(p.Header), b[:])
}

// duringEncryption looks at data while encryption is being started: the central
// sends none after it asked, the peripheral none after it answered, until both
// have started (Vol 6 Part B section 5.1.3.1).
func (f *Follower) duringEncryption(c *Connection, from Side) {
	switch c.encryption {
	case encryptionRequested:
		if from == Central {
			f.h.Odd(c, DataDuringEncryption)
		}
	case encryptionAnswered:
		f.h.Odd(c, DataDuringEncryption)
	case encryptionStarting:
		c.encryption = encryptionOn // where it ended was not heard
	}
}

// controlPDU takes a control PDU that can be read.
func (f *Follower) controlPDU(c *Connection, from Side, p *Packet) {
	m := &f.control
	if err := m.Parse(p.Code, p.Payload); err != nil {
		f.h.Malformed(c, from, err)
		return
	}
	switch m.Opcode {
	case LLEncReq:
		c.encryption = encryptionRequested
		c.session = session{skd: [2]uint64{m.SKD}, iv: [2]uint32{m.IV}, have: [2]bool{true}}
		c.handle = keyHandle{m.Rand, m.EDIV}
	case LLEncRsp:
		if c.encryption == encryptionRequested || c.encryption == encryptionOff {
			c.encryption = encryptionAnswered
		}
		c.session.skd[1], c.session.iv[1], c.session.have[1] = m.SKD, m.IV, true
	case LLStartEncReq:
		if c.encryption != encryptionStarting {
			c.encryption = encryptionStarting
			f.encrypted(c, true, 0)
		}
	case LLStartEncRsp:
		c.readable = true
		if c.encryption < encryptionStarting {
			f.encrypted(c, true, 0)
			c.encryption = encryptionStarting
		}
		if from == Peripheral {
			c.encryption = encryptionOn
		}
	case LLPauseEncReq:
		c.encryption = encryptionPaused
	case LLRejectInd, LLRejectExtInd:
		if m.Opcode == LLRejectExtInd && m.Rejected != LLEncReq {
			break
		}
		switch c.encryption {
		case encryptionStarting:
			f.encrypted(c, false, 0)
			fallthrough
		case encryptionRequested, encryptionAnswered:
			c.encryption = encryptionOff
		}
	case LLTerminateInd:
		f.over(c)
	}
}
