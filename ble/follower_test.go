// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/wire"
)

// A recorder writes down what a follower says, in one line each.
type recorder struct {
	lines []string
	open  map[uint64]bool
	t     testing.TB
}

var sideNames = [...]string{"?", "central", "peripheral"}

func name2(a Address) string {
	for name, b := range map[string]Address{"public": public, "static": static, "resolvable": resolvable, "passing": passing, "none": {}, "rpa": rpa} {
		if a == b {
			return name
		}
	}
	return fmt.Sprintf("%d:%x", a.Kind, a.Bytes)
}

func (r *recorder) say(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) Advertised(a *Advertisement) {
	r.say("advertised %s identity %s target %s connectable %v scannable %v response %v extended %v sid %d incomplete %v %x",
		name2(a.Advertiser), name2(a.Identity), name2(a.Target), a.Connectable, a.Scannable, a.ScanResponse, a.Extended, a.SID(), a.Incomplete, a.Data)
}

func (r *recorder) Connected(c *Connection) {
	if r.open[c.ID] {
		r.t.Errorf("connection %d begins twice", c.ID)
	}
	r.open[c.ID] = true
	r.say("%d connected %s to %s, who are %s and %s%s", c.ID, name2(c.Central), name2(c.Peripheral), name2(c.Identity(Central)), name2(c.Identity(Peripheral)), flag(c.Midstream, " midstream"))
}

func flag(on bool, s string) string {
	if on {
		return s
	}
	return ""
}

func (r *recorder) Pairing(c *Connection, p *Pairing) {
	states := [...]string{"none", "asked", "requested", "answered", "confirming", "agreed", "encrypted", "done", "failed"}
	r.say("%d pairing %s %s sc %v size %d%s%s", c.ID, states[p.State], p.Method, p.SecureConnections, p.KeySize, flag(p.KeysReadable, " readable"), flag(p.State == Failed, fmt.Sprintf(" by %s: %d", sideNames[p.FailedBy], p.Reason)))
}

func (r *recorder) Secured(c *Connection) {
	s := c.Security
	r.say("%d secured level %d: encrypted %v %s sc %v size %d%s%s%s", c.ID, s.Level(), s.Encrypted, s.Method, s.SecureConnections, s.KeySize,
		flag(s.Stored, " stored"), flag(s.Bonded, " bonded"), flag(s.ZeroKey, " zero"))
}

func (r *recorder) ATT(c *Connection, from Side, pdu []byte) {
	if !r.open[c.ID] {
		r.t.Errorf("connection %d is not open", c.ID)
	}
	r.say("%d att of %s by %d: %x", c.ID, sideNames[from], c.Bearer, pdu)
}

func (r *recorder) SDU(c *Connection, from Side, spsm uint16, sdu []byte) {
	r.say("%d sdu of %s by %d for %#x: %x", c.ID, sideNames[from], c.Bearer, spsm, sdu)
}

func (r *recorder) Odd(c *Connection, o Oddity) { r.say("%d odd: %s", c.ID, o) }

func (r *recorder) Malformed(c *Connection, from Side, err error) {
	r.say("%d malformed of %s: %v", c.ID, sideNames[from], err)
}

func (r *recorder) Disconnected(c *Connection) {
	if !r.open[c.ID] {
		r.t.Errorf("connection %d ends twice", c.ID)
	}
	delete(r.open, c.ID)
	r.say("%d disconnected", c.ID)
}

// A world makes frames, and lets a follower follow them.
type world struct {
	recorder
	f      *Follower
	p      Packet
	stream uint64
	now    int64
	sn     [3]uint8 // of the air, by Side
	heard  []byte   // frames, as FuzzFollower takes them

	undirected bool // frames say no direction
}

func newWorld(t testing.TB) *world {
	w := &world{now: 1e18, stream: 1}
	w.t, w.open = t, map[uint64]bool{}
	w.f = NewFollower(w)
	return w
}

// fuzzLinks are the link types of FuzzFollower, by number.
var fuzzLinks = []wire.LinkType{h4, phdr, h1, bcsp, h5, snoopMon, ll, radio, nordic, wire.LinkPPI}

func (w *world) frame(link wire.LinkType, flags uint32, b []byte) {
	if len(b) < 256 {
		w.heard = append(append(w.heard, uint8(slices.Index(fuzzLinks, link)), uint8(flags), uint8(w.stream), 1, uint8(len(b))), b...)
	}
	w.p.Decode(link, flags, b)
	if w.p.Fault.Err != nil {
		w.say("fault %v", w.p.Fault.Syntax())
	}
	w.f.Packet(w.stream, &w.p, w.now)
	w.now += 1e6
}

// expect compares what was said since with lines.
func (w *world) expect(lines ...string) {
	w.t.Helper()
	if diff := cmp.Diff(lines, w.lines); diff != "" {
		w.t.Errorf("want (-), got (+):\n%s", diff)
	}
	w.lines = nil
}

// skip forgets what was said.
func (w *world) skip() { w.lines = nil }

func (w *world) event(e Event) { w.frame(h4, 3, e.Append([]byte{H4Event})) }

func (w *world) command(m Command) { w.frame(h4, 2, m.Append([]byte{H4Command})) }

// pdu sends an L2CAP PDU in fragments of at most n bytes, as the log of the
// central's host has it.
func (w *world) pdu(from Side, n int, cid uint16, payload []byte) {
	b := AppendL2CAP(nil, cid, payload)
	for start := true; start || len(b) > 0; start = false {
		part := b[:min(n, len(b))]
		b = b[len(part):]
		received := from == Peripheral
		flags := uint32(0)
		if received && !w.undirected {
			flags = 1
		}
		w.frame(h4, flags, AppendACL([]byte{H4ACL}, 0x40, start, received, part))
	}
}

func (w *world) att(from Side, hex string) { w.pdu(from, 512, CIDATT, unhex(w.t, hex)) }

func (w *world) smp(from Side, s SMP) {
	b, err := s.Append(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.pdu(from, 512, CIDSMP, b)
}

func (w *world) connect(peer Address) {
	w.event(Event{Code: EventLEConnectionComplete, Handle: 0x40, Local: Central, Peer: peer, Interval: 24, Timeout: 500})
}

func (w *world) disconnect() {
	w.event(Event{Code: EventDisconnectionComplete, Handle: 0x40, Reason: 0x13})
}

func value(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }

// pair exchanges what a pairing does up to encryption. send is smp or airSMP.
func pair(send func(from Side, s SMP), request, response PairingFeatures, nonce byte) {
	send(Central, SMP{Code: PairingRequest, PairingFeatures: request})
	send(Peripheral, SMP{Code: PairingResponse, PairingFeatures: response})
	if _, sc := MethodOf(request, response); sc {
		send(Central, SMP{Code: PairingPublicKey, Value: publicKey(1)})
		send(Peripheral, SMP{Code: PairingPublicKey, Value: publicKey(2)})
		send(Peripheral, SMP{Code: PairingConfirm, Value: value(nonce)})
	} else {
		send(Central, SMP{Code: PairingConfirm, Value: value(nonce + 1)})
		send(Peripheral, SMP{Code: PairingConfirm, Value: value(nonce)})
	}
	send(Central, SMP{Code: PairingRandom, Value: value(nonce + 2)})
	send(Peripheral, SMP{Code: PairingRandom, Value: value(nonce + 3)})
	if _, sc := MethodOf(request, response); sc {
		send(Central, SMP{Code: PairingDHKeyCheck, Value: value(nonce + 4)})
		send(Peripheral, SMP{Code: PairingDHKeyCheck, Value: value(nonce + 5)})
	}
}

func features(io IOCapability, auth, keys uint8) PairingFeatures {
	return PairingFeatures{IOCapability: io, AuthReq: auth, MaxKeySize: 16, InitiatorKeys: keys, ResponderKeys: keys}
}

const (
	legacyBond = AuthBonding | AuthMITM
	secureBond = AuthBonding | AuthMITM | AuthSecureConnections
)

var encrypted = Event{Code: EventEncryptionChange, Handle: 0x40, Enabled: 1}

// irk is the key of the specification's sample, and rpa the address that it
// makes there (Vol 3 Part H appendix D.7).
var (
	irk = []byte{0x9b, 0x7d, 0x39, 0x0a, 0xa6, 0x10, 0x10, 0x34, 0x05, 0xad, 0xc8, 0x57, 0xa3, 0x34, 0x02, 0xec}
	rpa = Address{[6]byte{0x70, 0x81, 0x94, 0x0d, 0xfb, 0xaa}, Resolvable}
)

// A legacy pairing without anybody's help, what it leaves behind, and what a
// reconnection of the bonded devices in another log is worth.
func TestLegacyPairing(t *testing.T) {
	w := newWorld(t)
	w.event(Event{Code: EventCommandComplete, Opcode: CommandReadBDADDR, Data: public.append(nil)})
	w.command(Command{Opcode: CommandLECreateConnection, Address: static})
	w.connect(static)
	w.att(Central, "02 0f02")
	w.att(Peripheral, "03 f700")
	w.expect(
		"1 connected public to static, who are public and static",
		"1 att of central by 4: 020f02",
		"1 att of peripheral by 4: 03f700",
	)
	pair(w.smp, features(KeyboardDisplay, secureBond, 7), features(NoInputNoOutput, AuthBonding, 3), 1)
	w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(9)}) // the short-term key
	w.event(encrypted)
	w.expect(
		"1 pairing requested  sc false size 0",
		"1 pairing answered Just Works sc false size 16",
		"1 pairing confirming Just Works sc false size 16",
		"1 pairing agreed Just Works sc false size 16",
		"1 secured level 2: encrypted true Just Works sc false size 16 bonded",
		"1 pairing encrypted Just Works sc false size 16",
	)
	w.att(Peripheral, "1b 0900 0055")
	w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: value(0x77)})
	w.smp(Peripheral, SMP{Code: CentralIdentification, EDIV: 0x1234, Rand: 5})
	w.smp(Peripheral, SMP{Code: IdentityInformation, Value: irk})
	w.smp(Peripheral, SMP{Code: IdentityAddressInformation, Address: static})
	w.smp(Central, SMP{Code: EncryptionInformation, Value: value(0x78)})
	w.smp(Central, SMP{Code: CentralIdentification, EDIV: 0x1235, Rand: 6})
	w.smp(Central, SMP{Code: IdentityInformation, Value: value(0)})
	w.expect("1 att of peripheral by 4: 1b09000055")
	w.smp(Central, SMP{Code: IdentityAddressInformation, Address: public})
	w.expect("1 pairing done Just Works sc false size 16")
	w.disconnect()
	w.expect("1 disconnected")

	// In another log neither central nor level are known; the key tells.
	w.f.End(w.stream)
	w.stream = 2
	w.connect(rpa)
	w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Rand: 5, EDIV: 0x1234, Key: value(0x77)})
	w.event(encrypted)
	w.expect(
		"2 connected none to rpa, who are none and static",
		"2 secured level 2: encrypted true Just Works sc false size 16 bonded",
	)
	// Another key of the same devices is from a pairing that was not seen.
	w.connect(rpa)
	w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Rand: 7, EDIV: 7, Key: value(0x79)})
	w.event(encrypted)
	w.expect(
		"2 disconnected",
		"3 connected none to rpa, who are none and static",
		"3 secured level 0: encrypted true  sc false size 0 stored bonded",
	)
	// And without a key to be seen it is the devices that tell.
	w.connect(static)
	w.event(encrypted)
	w.f.Flush()
	w.expect(
		"3 disconnected",
		"4 connected none to static, who are none and static",
		"4 secured level 2: encrypted true Just Works sc false size 16 bonded",
		"4 disconnected",
	)
}

// Two devices that can show and confirm numbers, seen from the peripheral.
func TestSecureConnections(t *testing.T) {
	w := newWorld(t)
	w.command(Command{Opcode: CommandLESetRandomAddress, Address: static})
	w.command(Command{Opcode: CommandLESetAdvertising, Own: 1})
	w.event(Event{Code: EventLEEnhancedConnection2, Handle: 0x40, Local: Peripheral, Peer: public, Identity: true, PeerRPA: resolvable})
	w.expect("1 connected resolvable to static, who are public and static")
	send := func(from Side, s SMP) { // the log is the peripheral's now: what it receives is the central's
		b, err := s.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		flags := uint32(0)
		if from == Central {
			flags = 1
		}
		w.frame(h4, flags, AppendACL([]byte{H4ACL}, 0x40, true, flags == 1, AppendL2CAP(nil, CIDSMP, b)))
	}
	send(Peripheral, SMP{Code: SecurityRequest, PairingFeatures: PairingFeatures{AuthReq: secureBond}})
	pair(send, features(DisplayYesNo, secureBond, 2), features(DisplayYesNo, secureBond, 2), 1)
	w.event(Event{Code: EventLELongTermKeyRequest, Handle: 0x40})
	w.command(Command{Opcode: CommandLELongTermKeyReply, Handle: 0x40, Key: value(0x55)})
	w.event(Event{Code: EventEncryptionChange2, Handle: 0x40, Enabled: 1, KeySize: 16})
	w.expect(
		"1 pairing asked  sc false size 0",
		"1 pairing requested  sc false size 0",
		"1 pairing answered Numeric Comparison sc true size 16",
		"1 pairing confirming Numeric Comparison sc true size 16",
		"1 pairing agreed Numeric Comparison sc true size 16",
		"1 secured level 4: encrypted true Numeric Comparison sc true size 16 bonded",
		"1 pairing encrypted Numeric Comparison sc true size 16",
	)
	// A refresh of the key changes nothing; the end of encryption does.
	w.event(Event{Code: EventEncryptionKeyRefresh, Handle: 0x40})
	w.expect()
	w.event(Event{Code: EventEncryptionChange, Handle: 0x40})
	w.expect("1 secured level 1: encrypted false  sc false size 0")
	w.disconnect()
	w.skip()

	// The other side's log, with the same key.
	w.stream = 2
	w.connect(static)
	w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0x55)})
	w.event(encrypted)
	w.expect(
		"2 connected none to static, who are none and static",
		"2 secured level 4: encrypted true Numeric Comparison sc true size 16 bonded",
	)
}

// What a pairing that fails says, and what is not a pairing.
func TestPairingFails(t *testing.T) {
	w := newWorld(t)
	w.connect(static)
	w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: features(DisplayOnly, 1, 0)}) // to nothing
	w.smp(Central, SMP{Code: PairingConfirm, Value: value(1)})
	w.smp(Central, SMP{Code: PairingFailed, Reason: 5})
	w.smp(Central, SMP{Code: EncryptionInformation, Value: value(1)})
	w.expect("1 connected none to static, who are none and static")
	w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: features(KeyboardOnly, legacyBond, 0)})
	w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: features(DisplayOnly, legacyBond, 0)})
	w.smp(Peripheral, SMP{Code: PairingFailed, Reason: 4})
	w.event(Event{Code: EventEncryptionChange, Handle: 0x40, Status: 6})
	w.expect(
		"1 pairing requested  sc false size 0",
		"1 pairing answered Passkey Entry sc false size 16",
		"1 pairing failed Passkey Entry sc false size 16 by peripheral: 4",
	)
	w.pdu(Central, 100, CIDSMP, unhex(t, "01 09 00 01 10 00 00"))
	w.expect("1 malformed of central: smp: IO Capability at byte 1: reserved value")
}

// The attacks on pairing that a log shows.
func TestPairingOddities(t *testing.T) {
	bonding := features(DisplayYesNo, secureBond, 1)
	legacy := features(NoInputNoOutput, AuthBonding, 1)
	for _, tt := range []struct {
		name string
		do   func(w *world)
		want []Oddity
	}{
		{"a good one", func(w *world) { pair(w.smp, bonding, bonding, 1); w.event(encrypted) }, nil},
		{"key sizes", func(w *world) {
			a, b := legacy, legacy
			a.MaxKeySize, b.MaxKeySize = 253, 6
			pair(w.smp, a, b, 1)
		}, []Oddity{KeySizeOutOfRange, KeySizeOutOfRange}},
		{"encryption after the features", func(w *world) {
			w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: legacy})
			w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: legacy})
			w.event(encrypted)
		}, []Oddity{EncryptionWithoutKey}},
		{"encryption after the features, with the key of an earlier bond", func(w *world) {
			w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: legacy})
			w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: legacy})
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, EDIV: 5, Rand: 6, Key: value(7)})
			w.event(encrypted)
		}, nil},
		{"encryption without the checks", func(w *world) {
			w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: bonding})
			w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: bonding})
			w.smp(Central, SMP{Code: PairingPublicKey, Value: publicKey(1)})
			w.smp(Peripheral, SMP{Code: PairingPublicKey, Value: publicKey(2)})
			w.smp(Central, SMP{Code: PairingRandom, Value: value(1)})
			w.smp(Peripheral, SMP{Code: PairingRandom, Value: value(2)})
			w.event(encrypted)
		}, []Oddity{EncryptionBeforeCheck}},
		{"public key sent back", func(w *world) {
			w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: bonding})
			w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: bonding})
			w.smp(Central, SMP{Code: PairingPublicKey, Value: publicKey(1)})
			w.smp(Peripheral, SMP{Code: PairingPublicKey, Value: publicKey(1)})
		}, []Oddity{ReflectedPublicKey}},
		{"public key off the curve", func(w *world) {
			w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: bonding})
			w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: bonding})
			b := publicKey(1)
			clear(b[32:])
			w.smp(Central, SMP{Code: PairingPublicKey, Value: b})
		}, []Oddity{InvalidPublicKey}},
		{"debug key of one side", func(w *world) {
			w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: bonding})
			w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: bonding})
			w.smp(Central, SMP{Code: PairingPublicKey, Value: publicKey(1)})
			w.smp(Peripheral, SMP{Code: PairingPublicKey, Value: publicKey(unhexed(debugPrivate)...)})
		}, []Oddity{DebugKey}},
		{"zero key in use, in a log that shows another", func(w *world) {
			w.command(Command{Opcode: CommandLELongTermKeyReply, Handle: 0x41, Key: value(7)})
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
			w.event(encrypted)
		}, []Oddity{ZeroKey}},
		{"zero key in use, in a log that shows another later", func(w *world) {
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
			w.event(encrypted)
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x41, Key: value(7)})
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x41, Key: value(8)})
		}, []Oddity{ZeroKey}},
		{"zero key distributed, in a log that shows another", func(w *world) {
			pair(w.smp, legacy, legacy, 1)
			w.event(encrypted)
			w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: value(0)})
			w.smp(Peripheral, SMP{Code: IdentityInformation, Value: value(3)})
		}, []Oddity{ZeroKey}},
		{"keys blanked out: a key of zeros is not seen", func(w *world) {
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
			w.event(encrypted)
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
			w.event(encrypted)
		}, nil},
		{"keys blanked out: nor distributed", func(w *world) {
			pair(w.smp, legacy, legacy, 1)
			w.event(encrypted)
			for _, side := range []Side{Peripheral, Central} {
				w.smp(side, SMP{Code: EncryptionInformation, Value: value(0)})
				w.smp(side, SMP{Code: CentralIdentification, EDIV: 5, Rand: 6})
				w.smp(side, SMP{Code: IdentityInformation, Value: value(0)})
			}
		}, nil},
		{"keys blanked out: two devices have not the same", func(w *world) {
			for _, peer := range []Address{static, public} {
				w.connect(peer)
				pair(w.smp, bonding, bonding, peer.Bytes[0])
				w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
				w.event(encrypted)
				w.disconnect()
			}
		}, nil},
		{"keys blanked out of commands, not of what is distributed", func(w *world) {
			pair(w.smp, legacy, legacy, 1)
			w.event(encrypted)
			w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: value(7)})
			w.disconnect()
			w.connect(static)
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
			w.event(encrypted)
		}, nil},
		{"the log of another controller shows a key", func(w *world) {
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
			w.event(encrypted)
			w.stream++
			w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(7)})
		}, nil},
		{"packets that the log cut", func(w *world) {
			w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: legacy})
			w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: legacy})
			b := AppendACL([]byte{H4ACL}, 0x40, true, false, AppendL2CAP(nil, CIDSMP, append([]byte{3}, value(1)...)))
			w.frame(h4, 0, b[:14])
			w.event(encrypted)
		}, nil},
		{"the key of another device", func(w *world) {
			pair(w.smp, legacy, legacy, 1)
			w.event(encrypted)
			w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: value(7)})
			w.disconnect()
			w.connect(public)
			pair(w.smp, legacy, legacy, 11)
			w.event(encrypted)
			w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: value(7)})
		}, []Oddity{StaticKey}},
		{"the same pairing in two logs", func(w *world) {
			for range 2 {
				w.connect(static)
				pair(w.smp, legacy, legacy, 1)
				w.event(encrypted)
				w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: value(7)})
				w.stream++
			}
		}, nil},
		{"a second request", func(w *world) {
			w.att(Central, "0a 0300")
			w.att(Central, "0a 0500")
			w.att(Central, "0a 0700") // one violation, not two
			w.att(Peripheral, "0b 55")
			w.att(Central, "52 0300 01") // a command needs no answer
			w.att(Central, "0a 0300")
		}, []Oddity{RequestsOutstanding}},
		{"both sides ask", func(w *world) {
			w.att(Central, "0a 0300")
			w.att(Peripheral, "0a 0300")
			w.att(Peripheral, "0b 55")
			w.att(Central, "0b 55")
			w.att(Peripheral, "0a 0300")
			w.att(Central, "0a 0300")
		}, nil},
		{"fragment longer than its PDU", func(w *world) {
			w.frame(h4, 0, AppendACL([]byte{H4ACL}, 0x40, true, false, unhex(w.t, "0100 0400 1e 00")))
		}, []Oddity{TruncatedL2CAP}},
	} {
		w := newWorld(t)
		w.connect(static)
		tt.do(w)
		var got []Oddity
		for _, line := range w.lines {
			if _, text, ok := strings.Cut(line, " odd: "); ok {
				got = append(got, Oddity(slices.Index(oddities[:], text)))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A key that a log blanks out tells nobody apart: who connects from an address
// that says nothing is not the one that another such key was of.
func TestBlankKeys(t *testing.T) {
	w := newWorld(t)
	for _, peer := range []Address{static, passing} {
		w.connect(peer)
		if peer == static {
			pair(w.smp, features(DisplayYesNo, secureBond, 0), features(DisplayYesNo, secureBond, 0), 1)
		}
		w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(0)})
		w.skip()
		w.event(encrypted)
	}
	w.expect("2 secured level 0: encrypted true  sc false size 0 stored bonded")
	// What is remembered of a key that is zero is remembered when that is known.
	w.disconnect()
	w.connect(public)
	pair(w.smp, features(NoInputNoOutput, AuthBonding, 1), features(NoInputNoOutput, AuthBonding, 1), 1)
	w.event(encrypted)
	w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: value(0)})
	w.smp(Peripheral, SMP{Code: CentralIdentification, EDIV: 5, Rand: 6})
	w.smp(Central, SMP{Code: EncryptionInformation, Value: value(9)})
	w.disconnect()
	w.connect(public)
	w.skip()
	w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, EDIV: 5, Rand: 6, Key: value(0)})
	w.event(encrypted)
	w.expect("4 secured level 2: encrypted true Just Works sc false size 16 bonded zero")
}

// publicKey returns the public key of a private key, as SMP sends it.
func publicKey(private ...byte) []byte {
	key, err := ecdh.P256().NewPrivateKey(append(make([]byte, 32-len(private)), private...))
	if err != nil {
		panic(err)
	}
	b := key.PublicKey().Bytes()[1:]
	slices.Reverse(b[:32])
	slices.Reverse(b[32:])
	return b
}

// debugPrivate is the private key of Vol 3 Part H section 2.3.5.6.1.
const debugPrivate = "3f49f6d4a3c55f3874c9b3e3d2103f504aff607beb40b7995899b8a6cd3c1abd"

func unhexed(s string) []byte {
	var b []byte
	fmt.Sscanf(s, "%x", &b)
	return b
}

// Numbers were compared, and whoever listened can work out the key: level 2, in
// this connection and when the bond is used again.
func TestDebugKey(t *testing.T) {
	w := newWorld(t)
	w.connect(static)
	bonding := features(DisplayYesNo, secureBond, 1)
	pair(func(from Side, s SMP) {
		if s.Code == PairingPublicKey && from == Central {
			s.Value = publicKey(unhexed(debugPrivate)...)
		}
		w.smp(from, s)
	}, bonding, bonding, 1)
	w.event(encrypted)
	for range 2 {
		if s := w.f.connection(w.stream, &w.p, 0x40).Security; s.Level() != 2 || !s.DebugKey || s.Method != NumericComparison {
			t.Errorf("level %d: %+v", s.Level(), s)
		}
		w.disconnect()
		w.connect(static)
		w.event(encrypted)
	}
}

// Fragments of all sizes, and what becomes of those that miss their neighbours.
func TestFragments(t *testing.T) {
	long := append([]byte{0x1b, 9, 0}, bytes.Repeat([]byte{0x5a}, 60)...)
	want := fmt.Sprintf("1 att of peripheral by 4: %x", long)
	for n := 1; n <= 70; n++ {
		w := newWorld(t)
		w.connect(static)
		w.skip()
		w.pdu(Peripheral, n, CIDATT, long)
		w.expect(want)
		if s := w.f.Stats(); s.Lost != 0 {
			t.Errorf("fragments of %d: %d lost", n, s.Lost)
		}
	}
	w := newWorld(t)
	w.connect(static)
	w.skip()
	part := func(start bool, b []byte) { w.frame(h4, 1, AppendACL([]byte{H4ACL}, 0x40, start, true, b)) }
	pdu := AppendL2CAP(nil, CIDATT, long)
	part(false, pdu[20:]) // the first fragment is not there
	part(true, pdu[:20])
	part(true, pdu[:30]) // nor the rest of this one
	part(false, pdu[30:])
	part(true, pdu[:20])
	part(false, append(pdu[20:len(pdu):len(pdu)], 1, 2, 3)) // too much
	part(false, pdu[30:])
	w.expect(want, "1 malformed of peripheral: l2cap: PDU Length at byte 0: trailing bytes")
	if s := w.f.Stats(); s.Lost != 4 {
		t.Errorf("%d lost, want 4: two without their first, one without its rest, one that was too long", s.Lost)
	}
	// A log that cuts what it keeps.
	w.frame(h4, 1, AppendACL([]byte{H4ACL}, 0x40, true, true, pdu)[:20])
	w.expect("fault hci: Parameters at byte 20: truncated")
}

// Enhanced ATT: channels open in twos, SDUs come in parts, bearers do not
// share their requests.
func TestEnhancedATT(t *testing.T) {
	w := newWorld(t)
	w.connect(static)
	w.skip()
	signal := func(from Side, s Signal) {
		b, err := s.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		w.pdu(from, 512, CIDSignaling, b)
	}
	signal(Central, Signal{Code: CreditBasedConnectionRequest, Identifier: 1, SPSM: SPSMEATT, MTU: 247, MPS: 64, Credits: 9, CIDs: [5]uint16{0x40, 0x41, 0x42}, NumCIDs: 3})
	signal(Peripheral, Signal{Code: CreditBasedConnectionResponse, Identifier: 2, CIDs: [5]uint16{0x48}, NumCIDs: 1}) // to another request
	signal(Peripheral, Signal{Code: CreditBasedConnectionResponse, Identifier: 1, MTU: 247, MPS: 64, Credits: 9, Result: 4, CIDs: [5]uint16{0x50, 0x51, 0}, NumCIDs: 3})
	frame := func(from Side, cid uint16, hex string) { w.pdu(from, 512, cid, unhex(t, hex)) }
	frame(Central, 0x50, "0300 0a0300")     // to the peripheral's end
	frame(Central, 0x51, "0300 0a0500")     // of another bearer: allowed
	frame(Peripheral, 0x41, "0500 0b11")    // a value in three parts
	frame(Peripheral, 0x41, "2233")         //
	frame(Peripheral, 0x41, "44")           //
	frame(Peripheral, 0x40, "0200 0b66")    //
	frame(Peripheral, 0x50, "0200 0b77")    // that is the peripheral's own end
	frame(Central, 0x52, "0300 0a0300")     // refused
	frame(Central, 0x50, "0300 0a0300")     // asked again,
	frame(Central, 0x50, "0300 0a0300")     // and before the answer
	frame(Peripheral, 0x40, "01")           // half a length
	frame(Peripheral, 0x40, "0200 0b66 77") // too long
	signal(Central, Signal{Code: DisconnectionRequest, Identifier: 3, CIDs: [5]uint16{0x50, 0x40}, NumCIDs: 2})
	signal(Peripheral, Signal{Code: DisconnectionResponse, Identifier: 3, CIDs: [5]uint16{0x50, 0x40}, NumCIDs: 2})
	frame(Central, 0x50, "0300 0a0300")
	w.expect(
		"1 att of central by 64: 0a0300",
		"1 att of central by 65: 0a0500",
		"1 att of peripheral by 65: 0b11223344",
		"1 att of peripheral by 64: 0b66",
		"1 att of central by 64: 0a0300",
		"1 odd: ATT request before the one before was answered",
		"1 att of central by 64: 0a0300",
		"1 malformed of peripheral: l2cap: L2CAP SDU Length at byte 4: truncated",
		"1 malformed of peripheral: l2cap: L2CAP SDU Length at byte 4: trailing bytes",
	)
	frame(Peripheral, CIDSignaling, "12 01 0000")
	w.expect("1 malformed of peripheral: l2cap: Parameters at byte 4: truncated")
}

// Credit-based channels of applications: who asks, what is refused, SDUs in
// parts, what is longer than its receiver takes, the end.
func TestCreditBased(t *testing.T) {
	w := newWorld(t)
	w.connect(static)
	w.skip()
	signal := func(from Side, s Signal) {
		b, err := s.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		w.pdu(from, 27, CIDSignaling, b)
	}
	frame := func(from Side, cid uint16, hex string) { w.pdu(from, 27, cid, unhex(t, hex)) }
	open := func(from Side, id uint8, spsm, asked, answered, result uint16) {
		signal(from, Signal{Code: LECreditBasedConnectionRequest, Identifier: id, SPSM: spsm, MTU: 64, MPS: 23, Credits: 1, CIDs: [5]uint16{asked}, NumCIDs: 1})
		signal(from.Other(), Signal{Code: LECreditBasedConnectionResponse, Identifier: id, MTU: 30, MPS: 23, Credits: 1, Result: result, CIDs: [5]uint16{answered}, NumCIDs: 1})
	}
	lost := func(n uint64) {
		t.Helper()
		if got := w.f.Stats().Lost; got != n {
			t.Errorf("%d lost, want %d", got, n)
		}
	}
	frame(Central, 0x41, "0100 aa")
	lost(1) // of a channel that was opened before
	open(Central, 1, SPSMOTS, 0x40, 0x41, 0)
	open(Peripheral, 1, 0x80, 0x60, 0x40, 0) // the central has one end 0x40: the channel before is over
	open(Central, 2, SPSMOTS, 0x42, 0x41, 0)
	open(Central, 3, 0x81, 0x43, 0x44, 2) // no such SPSM; the end in the answer means nothing
	frame(Central, 0x44, "0100 aa")
	lost(2)
	w.expect()

	frame(Central, 0x41, "0300 0a0b0c")
	frame(Central, 0x41, "0600 0102") // in three frames, another channel's between
	frame(Peripheral, 0x40, "0200 7071")
	frame(Central, 0x41, "0304")
	frame(Central, 0x41, "0506")
	frame(Peripheral, 0x42, "0000") // empty
	w.expect(
		"1 sdu of central by 66 for 0x25: 0a0b0c",
		"1 sdu of peripheral by 64 for 0x80: 7071",
		"1 sdu of central by 66 for 0x25: 010203040506",
		"1 sdu of peripheral by 66 for 0x25: ",
	)
	frame(Central, 0x41, "1f00 01") // the peripheral takes 30 bytes
	frame(Central, 0x41, "1e00 01") // these it would
	frame(Central, 0x41, strings.Repeat("02", 40))
	frame(Central, 0x41, "0100 07")
	w.expect(
		"1 malformed of central: l2cap: L2CAP SDU Length at byte 4: longer than allowed",
		"1 malformed of central: l2cap: L2CAP SDU Length at byte 4: trailing bytes",
		"1 sdu of central by 66 for 0x25: 07",
	)
	lost(3)
	signal(Peripheral, Signal{Code: CreditBasedReconfigureRequest, Identifier: 4, MTU: 40, MPS: 23, CIDs: [5]uint16{0x41}, NumCIDs: 1})
	frame(Central, 0x41, "1f00 01")
	w.expect()
	signal(Central, Signal{Code: DisconnectionRequest, Identifier: 5, CIDs: [5]uint16{0x41, 0x42}, NumCIDs: 2})
	signal(Peripheral, Signal{Code: DisconnectionResponse, Identifier: 5, CIDs: [5]uint16{0x41, 0x42}, NumCIDs: 2})
	lost(4) // what was begun
	frame(Central, 0x41, "0100 07")
	lost(5)
	w.f.Flush()
	w.expect("1 disconnected")
	if w.f.buffered != 0 {
		t.Errorf("%d bytes are kept", w.f.buffered)
	}
}

func TestMTU(t *testing.T) {
	w := newWorld(t)
	w.connect(static)
	c := *w.f.hci.get(linkKey{1, 0x40})
	for _, tt := range []struct {
		request, response string
		want              uint16
	}{
		{"02 0f02", "03 f700", 247},
		{"02 f700", "03 0f02", 247},
		{"02 0000", "03 0f02", 23}, // not less than the default
	} {
		c.half = [3]half{}
		w.att(Peripheral, tt.response) // to nothing
		w.att(Central, tt.request)
		w.att(Peripheral, tt.response)
		if c.MTU != tt.want {
			t.Errorf("%s, %s: %d, want %d", tt.request, tt.response, c.MTU, tt.want)
		}
	}
}

// A log that begins in the middle, a log of BR/EDR, a log without directions.
func TestMidstream(t *testing.T) {
	w := newWorld(t)
	w.pdu(Peripheral, 512, 0x41, unhex(t, "0300 0a0300")) // nobody knows what this is
	w.expect()
	w.event(encrypted)
	w.smp(Peripheral, SMP{Code: SecurityRequest}) // so the other side is the central
	w.att(Peripheral, "1b 0900 55")
	w.expect(
		"1 connected none to none, who are none and none midstream",
		"1 pairing asked  sc false size 0",
		"1 att of peripheral by 4: 1b090055",
	)
	if c := *w.f.hci.get(linkKey{1, 0x40}); !c.Security.Encrypted || !c.Security.Stored {
		t.Errorf("%+v", c.Security)
	}
	w.event(Event{Code: EventConnectionComplete, Handle: 0x40, Data: make([]byte, 8)})
	w.att(Peripheral, "1b 0900 55")
	w.expect("1 disconnected")

	w = newWorld(t)
	w.undirected = true
	w.frame(h4, 0, (&Event{Code: EventLEConnectionComplete, Handle: 0x40, Local: Central, Peer: static}).Append([]byte{H4Event}))
	w.smp(Central, SMP{Code: PairingRequest, PairingFeatures: features(DisplayOnly, 1, 0)})
	w.smp(Peripheral, SMP{Code: PairingResponse, PairingFeatures: features(DisplayOnly, 1, 0)})
	w.att(Central, "0a 0300")
	w.pdu(Peripheral, 10, CIDATT, append([]byte{0x0b}, make([]byte, 30)...))
	w.expect(
		"1 connected none to static, who are none and static",
		"1 pairing requested  sc false size 0",
		"1 pairing answered Just Works sc false size 16",
		"1 att of central by 4: 0a0300",
		"1 att of peripheral by 4: 0b"+strings.Repeat("00", 30),
	)
}

// The end of an input, a reset of the controller, connections that others'
// events must not touch.
func TestEnds(t *testing.T) {
	w := newWorld(t)
	w.connect(static)
	w.stream = 2
	w.connect(public)
	w.f.End(1)
	w.event(Event{Code: EventCommandComplete, Opcode: CommandReset, Status: 12}) // failed
	w.event(Event{Code: EventDisconnectionComplete, Handle: 0x41})
	w.event(Event{Code: EventDisconnectionComplete, Handle: 0x40, Status: 2})
	w.expect(
		"1 connected none to static, who are none and static",
		"2 connected none to public, who are none and public",
		"1 disconnected",
	)
	w.event(Event{Code: EventCommandComplete, Opcode: CommandReset})
	w.expect("2 disconnected")
	w.connect(static)
	w.connect(public) // the same handle again
	w.f.Flush()
	w.f.Flush()
	w.expect(
		"3 connected none to static, who are none and static",
		"3 disconnected",
		"4 connected none to public, who are none and public",
		"4 disconnected",
	)
	// Two controllers of one log.
	for index := range uint32(2) {
		b := (&Event{Code: EventLEConnectionComplete, Handle: 0x40, Local: Central, Peer: static}).Append(nil)
		w.frame(snoopMon, index<<16|3, b)
	}
	w.expect("5 connected none to static, who are none and static", "6 connected none to static, who are none and static")
}

// air sends a data channel PDU, as a sniffer with directions hears it.
func (w *world) air(from Side, llid uint8, payload []byte) {
	b := AppendData(nil, llid, w.sn[from]<<3|w.sn[from.Other()]<<2, payload)
	w.frame(radio, 0, AppendAir(AppendRadio(nil, 5, -50, from, false), connect.Access, connect.CRCInit, b))
	w.sn[from] ^= 1
}

func (w *world) control(from Side, m Control) { w.air(from, LLIDControl, m.Append(nil)) }

func (w *world) airATT(from Side, hex string) {
	w.air(from, LLIDStart, AppendL2CAP(nil, CIDATT, unhex(w.t, hex)))
}

func (w *world) airSMP(from Side, s SMP) {
	b, err := s.Append(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	b = AppendL2CAP(nil, CIDSMP, b)
	for llid := uint8(LLIDStart); len(b) > 0; llid = LLIDContinuation {
		w.air(from, llid, b[:min(27, len(b))])
		b = b[min(27, len(b)):]
	}
}

func (w *world) advertise(pdu []byte) {
	w.frame(radio, 0, AppendAir(AppendRadio(nil, 37, -50, UnknownSide, false), AdvertisingAccess, advertisingCRC, pdu))
}

func (w *world) airConnect() {
	w.advertise(connect.AppendPDU(nil))
	w.sn = [3]uint8{}
	w.air(Central, LLIDContinuation, nil)
	w.air(Peripheral, LLIDContinuation, nil)
}

var (
	encReq = Control{Opcode: LLEncReq, SKD: 0xacbdcedfe0f10213, IV: 0xbadcab24}
	encRsp = Control{Opcode: LLEncRsp, SKD: 0x0213243546576879, IV: 0xdeafbabe}
)

// A pairing on the air, and what is heard of the link that it encrypts: by a
// sniffer without the key, and by one that has it.
func TestAirEncryption(t *testing.T) {
	start := func(w *world) {
		w.airConnect()
		w.airATT(Central, "0a 0300")
		w.airATT(Peripheral, "0b 55")
		pair(w.airSMP, features(NoInputNoOutput, AuthBonding|AuthSecureConnections, 2), features(NoInputNoOutput, AuthBonding|AuthSecureConnections, 2), 1)
		w.control(Central, encReq)
		w.control(Peripheral, encRsp)
		w.control(Peripheral, Control{Opcode: LLStartEncReq})
		w.expect(
			"1 connected resolvable to static, who are resolvable and static",
			"1 att of central by 4: 0a0300",
			"1 att of peripheral by 4: 0b55",
			"1 pairing requested  sc false size 0",
			"1 pairing answered Just Works sc true size 16",
			"1 pairing confirming Just Works sc true size 16",
			"1 pairing agreed Just Works sc true size 16",
			"1 secured level 2: encrypted true Just Works sc true size 16 bonded", // and not level 4
			"1 pairing encrypted Just Works sc true size 16",
		)
	}
	w := newWorld(t)
	start(w)
	rnd := rand.New(rand.NewPCG(3, 4))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	w.air(Central, LLIDControl, unhex(t, "9fcda7f448")) // the specification's, of another key than zero
	w.air(Peripheral, LLIDControl, unhex(t, "a34c13a415"))
	for range 300 {
		w.air(Central, LLIDStart, noise(7+4))
		w.air(Peripheral, LLIDStart, noise(27+4))
		w.air(Peripheral, LLIDContinuation, noise(12+4))
		w.air(Central, LLIDControl, noise(9+4))
	}
	w.expect()
	if s := w.f.Stats(); s.Unreadable < 1190 || s.Lost != 0 { // a few have the sizes of a control PDU, by chance
		t.Errorf("%+v", s)
	}

	w = newWorld(t)
	start(w)
	w.control(Central, Control{Opcode: LLStartEncRsp})
	w.control(Peripheral, Control{Opcode: LLStartEncRsp})
	w.airSMP(Peripheral, SMP{Code: IdentityInformation, Value: irk})
	w.airSMP(Peripheral, SMP{Code: IdentityAddressInformation, Address: static})
	w.airATT(Central, "0a 0300")
	w.air(Peripheral, LLIDStart, AppendL2CAP(nil, CIDATT, append([]byte{0x0b}, make([]byte, 40)...))[:27])
	w.air(Peripheral, LLIDContinuation, make([]byte, 18))
	w.control(Central, Control{Opcode: LLTerminateInd, Error: 0x13})
	w.airATT(Central, "0a 0300") // of nobody
	w.expect(
		"1 pairing encrypted Just Works sc true size 16 readable",
		"1 att of central by 4: 0a0300",
		"1 att of peripheral by 4: 0b"+strings.Repeat("00", 40),
		"1 disconnected",
	)
	// The same two, in another capture. SC has nothing to name the key by: it is the devices that do.
	w.stream = 2
	w.advertise((&ConnectRequest{Initiator: passing, Advertiser: static, Access: connect.Access, CRCInit: connect.CRCInit}).AppendPDU(nil))
	w.control(Central, encReq)
	w.control(Peripheral, encRsp)
	w.control(Peripheral, Control{Opcode: LLStartEncReq})
	w.expect(
		"2 connected passing to static, who are passing and static",
		"2 secured level 2: encrypted true Just Works sc true size 16 bonded",
	)
}

// A sniffer that did not hear how a pairing began does not take its key for
// one from before.
func TestAirPairingHeardInParts(t *testing.T) {
	w := newWorld(t)
	w.airConnect()
	w.airSMP(Peripheral, SMP{Code: PairingPublicKey, Value: publicKey(2)})
	w.airSMP(Central, SMP{Code: PairingDHKeyCheck, Value: value(1)})
	w.airSMP(Peripheral, SMP{Code: PairingDHKeyCheck, Value: value(2)})
	w.control(Central, encReq)
	w.control(Peripheral, encRsp)
	w.control(Peripheral, Control{Opcode: LLStartEncReq})
	w.expect(
		"1 connected resolvable to static, who are resolvable and static",
		"1 pairing confirming  sc false size 0",
		"1 pairing agreed  sc true size 0",
		"1 secured level 0: encrypted true  sc true size 0",
		"1 pairing encrypted  sc true size 0",
		"1 pairing done  sc true size 0",
	)
}

// seal is the encryption of Vol 6 Part E section 2 for one block, packet
// counter 0: the twin of session.opens, written from the specification's
// formulas with a chained cipher.
func seal(ltk []byte, s *session, direction int, header uint8, payload []byte) []byte {
	reversed := func(b []byte) []byte { b = bytes.Clone(b); slices.Reverse(b); return b }
	skd := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, s.skd[0]), s.skd[1])
	key := make([]byte, 16)
	block, _ := aes.NewCipher(reversed(ltk))
	block.Encrypt(key, reversed(skd))
	block, _ = aes.NewCipher(key)
	nonce := append(make([]byte, 4), byte(direction)<<7)
	nonce = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nonce, s.iv[0]), s.iv[1])
	mac := make([]byte, 16)
	absorb := func(b []byte) {
		b = append(bytes.Clone(b), make([]byte, (16-len(b)%16)%16)...)
		for ; len(b) > 0; b = b[16:] {
			for i := range mac {
				mac[i] ^= b[i]
			}
			block.Encrypt(mac, mac)
		}
	}
	absorb(append(append([]byte{0x49}, nonce...), 0, byte(len(payload))))
	absorb([]byte{0, 1, header & 0xe3})
	absorb(payload)
	pad := func(i byte) []byte {
		out := make([]byte, 16)
		block.Encrypt(out, append(append([]byte{1}, nonce...), 0, i))
		return out
	}
	out := bytes.Clone(payload)
	for i := range out {
		out[i] ^= pad(1)[i]
	}
	for i := range 4 {
		out = append(out, mac[i]^pad(0)[i])
	}
	return out
}

// A link encrypted with a key that is all zero is known by its ciphertext.
func TestAirZeroKey(t *testing.T) {
	s := session{skd: [2]uint64{encReq.SKD, encRsp.SKD}, iv: [2]uint32{encReq.IV, encRsp.IV}}
	for _, from := range []Side{Central, Peripheral} {
		w := newWorld(t)
		w.airConnect()
		w.control(Central, encReq)
		w.control(Peripheral, encRsp)
		w.control(Peripheral, Control{Opcode: LLStartEncReq})
		w.expect("1 connected resolvable to static, who are resolvable and static", "1 secured level 0: encrypted true  sc false size 0 stored bonded")
		direction := fromPeripheral
		if from == Central {
			direction = fromCentral
		}
		w.air(from, LLIDControl, seal(value(1), &s, direction, LLIDControl, []byte{LLStartEncRsp}))
		w.expect()
		if from == Peripheral {
			continue // whose answer ends the start
		}
		w.air(from, LLIDControl, seal(value(0), &s, direction, LLIDControl, []byte{LLStartEncRsp}))
		w.expect("1 odd: all-zero long-term key", "1 secured level 0: encrypted true  sc false size 0 stored bonded zero")
	}
}

// What breaks the link layer's rules, and what only looks like it.
func TestAirOddities(t *testing.T) {
	legacy := features(NoInputNoOutput, AuthBonding, 0)
	startEncryption := func(w *world) {
		w.control(Central, encReq)
		w.control(Peripheral, encRsp)
		w.control(Peripheral, Control{Opcode: LLStartEncReq})
	}
	for _, tt := range []struct {
		name string
		do   func(w *world)
		want []Oddity
	}{
		{"data of the central after its request", func(w *world) {
			w.control(Central, encReq)
			w.airATT(Central, "0a 0300")
		}, []Oddity{DataDuringEncryption}},
		{"data of the peripheral before its answer", func(w *world) {
			w.control(Central, encReq)
			w.airATT(Peripheral, "1b 0300 55")
		}, nil},
		{"data of the peripheral after its answer", func(w *world) {
			w.control(Central, encReq)
			w.control(Peripheral, encRsp)
			w.airATT(Peripheral, "1b 0300 55")
		}, []Oddity{DataDuringEncryption}},
		{"data after a refusal", func(w *world) {
			w.control(Central, encReq)
			w.control(Peripheral, Control{Opcode: LLRejectExtInd, Rejected: LLEncReq, Error: 6})
			w.airATT(Central, "0a 0300")
		}, nil},
		{"encryption in the middle of pairing", func(w *world) {
			w.airSMP(Central, SMP{Code: PairingRequest, PairingFeatures: legacy})
			w.airSMP(Peripheral, SMP{Code: PairingResponse, PairingFeatures: legacy})
			startEncryption(w)
		}, []Oddity{EncryptionWithoutKey}},
		{"the same, and the sniffer lost packets", func(w *world) {
			w.airSMP(Central, SMP{Code: PairingRequest, PairingFeatures: legacy})
			w.air(Peripheral, LLIDContinuation, nil)
			w.airSMP(Peripheral, SMP{Code: PairingResponse, PairingFeatures: legacy})
			w.sn[Central] ^= 1 // sent, and not heard
			startEncryption(w)
		}, nil},
		{"reserved LLID", func(w *world) { w.air(Central, LLIDReserved, []byte{1}) }, []Oddity{InvalidLLID}},
		{"first fragment of nothing", func(w *world) { w.air(Central, LLIDStart, nil) }, []Oddity{InvalidLLID}},
		{"first fragment of one byte", func(w *world) { w.air(Central, LLIDStart, []byte{3}) }, []Oddity{TruncatedL2CAP}},
		{"first fragment too short to be one", func(w *world) { w.air(Central, LLIDStart, unhex(w.t, "0700 0400 1000")) }, []Oddity{TruncatedL2CAP}},
		{"first fragment as long as it may be", func(w *world) { w.air(Central, LLIDStart, AppendL2CAP(nil, CIDATT, make([]byte, 40))[:27]) }, nil},
		{"two requests, of which the answer may have been missed", func(w *world) {
			w.airATT(Central, "0a 0300")
			w.airATT(Central, "0a 0500")
		}, nil},
		{"three requests", func(w *world) {
			for i := range byte(3) {
				w.airATT(Central, fmt.Sprintf("0a 03%02x", i))
			}
		}, []Oddity{RequestsOutstanding}},
	} {
		w := newWorld(t)
		w.airConnect()
		w.air(Central, LLIDContinuation, nil)
		w.air(Peripheral, LLIDContinuation, nil)
		tt.do(w)
		var got []Oddity
		for _, line := range w.lines {
			if _, text, ok := strings.Cut(line, " odd: "); ok {
				got = append(got, Oddity(slices.Index(oddities[:], text)))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The start of encryption that a sniffer heard parts of, or that was refused.
func TestAirEncryptionHeardInParts(t *testing.T) {
	noise := func(w *world) {
		w.air(Central, LLIDStart, unhex(t, "c3a1 5d77 1122334455667788"))
		w.air(Peripheral, LLIDStart, unhex(t, "7be0 99f1 1122334455667788"))
		w.air(Central, LLIDStart, unhex(t, "0418 c2d3 1122334455667788"))
	}
	w := newWorld(t)
	w.airConnect()
	w.skip()
	w.control(Central, encReq)
	w.control(Peripheral, encRsp)
	w.control(Peripheral, Control{Opcode: LLStartEncReq})
	w.control(Peripheral, Control{Opcode: LLRejectInd, Error: 6})
	w.airATT(Central, "0a 0300")
	w.expect(
		"1 secured level 0: encrypted true  sc false size 0 stored bonded",
		"1 secured level 1: encrypted false  sc false size 0",
		"1 att of central by 4: 0a0300",
	)
	w.control(Peripheral, encRsp) // LL_ENC_REQ and LL_START_ENC_REQ were not heard
	noise(w)
	w.expect("1 secured level 0: encrypted true  sc false size 0 stored bonded")
	w.control(Central, Control{Opcode: LLPauseEncReq})
	w.control(Central, encReq)
	w.control(Peripheral, encRsp)
	w.control(Peripheral, Control{Opcode: LLStartEncReq})
	w.control(Central, Control{Opcode: LLStartEncRsp})
	w.control(Peripheral, Control{Opcode: LLStartEncRsp})
	w.airATT(Central, "0a 0300")
	w.expect("1 att of central by 4: 0a0300")

	// Nothing at all was heard of it, or of the connection's beginning.
	w = newWorld(t)
	w.airATT(Central, "0a 0300") // once is not enough to be a connection
	w.expect()
	w.airATT(Peripheral, "0b 55")
	noise(w)
	w.expect(
		"1 connected none to none, who are none and none midstream",
		"1 att of peripheral by 4: 0b55",
		"1 secured level 0: encrypted true  sc false size 0 stored bonded",
	)
	if s := w.f.Stats(); s.Unreadable != 3 {
		t.Errorf("%+v", s)
	}
}

// Packets that are sent again, packets that were not heard, numbers that mean
// nothing.
func TestAirSequence(t *testing.T) {
	w := newWorld(t)
	w.airConnect()
	c := *w.f.air.get(airKey(1, connect.Access))
	w.skip()
	again := func(from Side) { w.sn[from] ^= 1 }
	w.airATT(Central, "0a 0300")
	again(Central)
	w.airATT(Central, "0a 0300")
	w.air(Peripheral, LLIDContinuation, nil)
	w.airATT(Central, "0a 0300") // the same, with the next number
	w.expect("1 att of central by 4: 0a0300", "1 att of central by 4: 0a0300")
	if w.f.Stats().Repeated != 1 || c.Gaps != 0 {
		t.Errorf("%+v, %d gaps", w.f.Stats(), c.Gaps)
	}
	w.air(Peripheral, LLIDContinuation, nil)
	w.sn[Central] ^= 1 // one that was not heard, after which the peripheral expects another
	w.air(Peripheral, LLIDContinuation, nil)
	if c.Gaps != 1 {
		t.Errorf("%d gaps: an acknowledgement of what was not heard", c.Gaps)
	}
	w.airATT(Central, "0a 0500")
	if c.Gaps != 2 {
		t.Errorf("%d gaps: another packet with the number of the one before", c.Gaps)
	}
	// The log of a tool that does not number what it sends.
	w.skip()
	for i := range byte(40) {
		w.sn[Central] = 0
		w.airATT(Central, fmt.Sprintf("52 03 %02x", i/2)) // each twice
	}
	if n := len(w.lines); n < 30 {
		t.Errorf("%d PDUs of 40 are new", n)
	}
}

// A sniffer that says neither direction nor whether the CRC was right: who
// sends follows from time and channel, noise from the CRC.
func TestAirUndirected(t *testing.T) {
	w := newWorld(t)
	w.frame(ll, 0, AppendAir(nil, AdvertisingAccess, advertisingCRC, connect.AppendPDU(nil)))
	sn := uint8(0)
	send := func(gap int64, llid uint8, payload []byte, crcInit uint32) {
		w.now += gap - 1e6
		w.frame(ll, 0, AppendAir(nil, connect.Access, crcInit, AppendData(nil, llid, sn<<3, payload)))
	}
	att := func(hex string) []byte { return AppendL2CAP(nil, CIDATT, unhex(t, hex)) }
	good := connect.CRCInit
	send(0, LLIDContinuation, nil, good)                    // the central opens the event
	send(230e3, LLIDContinuation, nil, good)                // the peripheral
	send(30e6, LLIDStart, att("0a 0300"), good)             // the next event
	send(330e3, LLIDStart, att("1b 0900 55"), good)         //
	send(30e6, LLIDStart, att("0a 0500"), good^1)           // the air changed it
	send(30e6, LLIDStart, att("1b 0700 66"), good)          // the central is a server, too
	send(330e3, LLIDContinuation, nil, good)                //
	send(30e6, LLIDStart, unhex(t, "0200 0600 0b01"), good) // a security request is of the peripheral, whatever was missed
	send(1e6, LLIDControl, []byte{LLFeatureReq, 0, 0, 0, 0, 0, 0, 0, 0}, good)
	send(300e3, LLIDStart, att("0b 77"), good)
	w.expect(
		"1 connected resolvable to static, who are resolvable and static",
		"1 att of central by 4: 0a0300",
		"1 att of peripheral by 4: 1b090055",
		"1 att of central by 4: 1b070066",
		"1 pairing asked  sc false size 0",
		"1 att of peripheral by 4: 0b77",
	)
	if w.f.Stats().BadCRC != 1 {
		t.Errorf("%+v", w.f.Stats())
	}
	// A tool that changed PDUs and not their CRCs: none is right, all are read.
	w = newWorld(t)
	w.frame(ll, 0, AppendAir(nil, AdvertisingAccess, advertisingCRC, connect.AppendPDU(nil)))
	for i := range 3 {
		send(30e6, LLIDStart, att(fmt.Sprintf("0a %04x", i)), good^1)
	}
	if len(w.lines) != 5 {
		t.Errorf("%q", w.lines)
	}
}

// Connections on the air end when nothing is heard of them any more.
func TestAirSilence(t *testing.T) {
	w := newWorld(t)
	w.airConnect()
	w.skip()
	w.now += silence / 2
	w.airATT(Central, "0a 0300")
	w.expect("1 att of central by 4: 0a0300")
	w.now += silence + 1e9
	w.advertise((&ConnectRequest{Initiator: public, Advertiser: static, Access: 0x9a328370}).AppendPDU(nil))
	w.frame(radio, 0, AppendAir(AppendRadio(nil, 5, -50, Central, false), 0x9a328370, 0, AppendData(nil, 1, 0, nil)))
	w.expect("1 disconnected", "2 connected public to static, who are public and static")
	// A new request with the same access address is another connection.
	w.advertise((&ConnectRequest{Initiator: public, Advertiser: static, Access: 0x9a328370}).AppendPDU(nil))
	w.expect("2 disconnected")
}

// An advertiser is told once for each content; what comes in parts is put
// together.
func TestAdvertised(t *testing.T) {
	line := func(a Advertisement) string {
		r := recorder{}
		if a.Identity == (Address{}) {
			a.Identity = a.Advertiser
		}
		r.Advertised(&a)
		return r.lines[0]
	}
	plain := Advertisement{Advertiser: static, Connectable: true, Scannable: true, Data: flags}
	response := Advertisement{Advertiser: static, ScanResponse: true, Data: []byte{3, ADName, 'x', 'y'}}
	w := newWorld(t)
	for range 3 {
		w.advertise(plain.AppendPDU(nil))
		w.advertise(response.AppendPDU(nil))
		w.frame(h4, 3, plain.AppendReport([]byte{H4Event}))
	}
	w.expect(line(plain), line(response))
	other := plain
	other.Data = []byte{2, ADFlags, 5}
	w.advertise(other.AppendPDU(nil))
	w.expect(line(other))
	bad := AppendAir(AppendRadio(nil, 37, -50, UnknownSide, false), AdvertisingAccess, advertisingCRC^1, other.AppendPDU(nil))
	bad[8], bad[9] = 0, 0 // the sniffer does not say
	w.frame(radio, 0, bad)
	if w.expect(); w.f.Stats().BadCRC != 1 {
		t.Errorf("%+v", w.f.Stats())
	}

	// Extended advertising in an HCI log: three reports of one.
	part := Advertisement{Extended: true, Advertiser: resolvable, Connectable: true, HasADI: true, ADI: 0x3000, More: true, Data: bytes.Repeat([]byte{0x11}, 200)}
	whole := part
	whole.More = false
	whole.Data = bytes.Repeat([]byte{0x11}, 600)
	report := func(a Advertisement) { w.frame(h4, 3, a.AppendReport([]byte{H4Event})) }
	report(part)
	report(Advertisement{Extended: true, Advertiser: passing, HasADI: true, ADI: 0x3000, Data: flags}) // somebody else between
	report(part)
	last := part
	last.More = false
	report(last)
	w.expect(line(Advertisement{Extended: true, Advertiser: passing, HasADI: true, ADI: 0x3000, Data: flags}), line(whole))
	report(part)
	last.Incomplete = true
	report(last)
	cut := whole
	cut.Data, cut.Incomplete = whole.Data[:400], true
	w.expect(line(cut))
	for range 20 { // no end
		report(part)
	}
	cut.Data = bytes.Repeat([]byte{0x11}, maxChainData)
	w.expect(line(cut))
	if n := w.f.Stats().Cut; n != 3 { // truncated by the controller, and twice too long
		t.Errorf("%d are counted as cut", n)
	}
	// What the controller could not hear to its end, a report that is longer than
	// its event, an event too short for what it is, a PDU with half an address.
	for _, h := range []string{
		"043e1a0d01 4000 01 0000005300c0 0100 ff 7f c8 0000 00 000000000000 00",
		"043e150201 00 01 0100005300c0 10 0201060302 0d18 020a00 00",
		"043e0401004000",
		"04080100",
	} {
		before := w.f.Stats().Cut
		if w.frame(h4, 3, unhex(t, h)); w.f.Stats().Cut != before+1 {
			t.Errorf("%s: %d are counted as cut, and %d were", h, w.f.Stats().Cut, before)
		}
	}
	before := w.f.Stats().Cut
	if w.advertise([]byte{0x40, 3, 1, 2, 3}); w.f.Stats().Cut != before+1 {
		t.Error("half an address is not counted")
	}
	w.skip()

	// The same on the air: where to listen, the data, and more of it.
	w = newWorld(t)
	air := func(channel uint8, a Advertisement) {
		w.frame(radio, 0, AppendAir(AppendRadio(nil, channel, -50, UnknownSide, false), AdvertisingAccess, advertisingCRC, a.AppendPDU(nil)))
	}
	pointer := Advertisement{Extended: true, HasADI: true, ADI: 0x3001, More: true}
	air(37, pointer)
	air(38, pointer)
	air(5, Advertisement{Extended: true, Advertiser: static, Connectable: true, HasADI: true, ADI: 0x3001, More: true, Data: whole.Data[:200]})
	air(6, Advertisement{Extended: true, HasADI: true, ADI: 0x3001, More: true, Data: whole.Data[:200]})
	air(7, Advertisement{Extended: true, HasADI: true, ADI: 0x3001, Data: whole.Data[:200]})
	w.expect(line(Advertisement{Extended: true, Advertiser: static, Connectable: true, HasADI: true, ADI: 0x3001, Data: whole.Data}))
	// The address may stand in the first PDU only.
	air(37, Advertisement{Extended: true, Advertiser: public, HasADI: true, ADI: 0x4001, More: true})
	air(9, Advertisement{Extended: true, HasADI: true, ADI: 0x4001, Data: flags})
	w.expect(line(Advertisement{Extended: true, Advertiser: public, HasADI: true, ADI: 0x4001, Data: flags}))
}

// Whatever comes, no more is kept than is said.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	quiet := NewFollower(silent{})
	packet := func(link wire.LinkType, flags uint32, b []byte) {
		w.p.Decode(link, flags, b)
		quiet.Packet(w.stream, &w.p, w.now)
	}
	// Connections of an HCI log, each with half of a long PDU in both directions.
	most := 0
	half := append([]byte{0xff, 0xff, 4, 0}, make([]byte, 30000)...)
	for i := range maxConnections + 100 {
		w.stream = uint64(i / 1000)
		handle := uint16(i % 1000)
		packet(h4, 3, (&Event{Code: EventLEConnectionComplete, Handle: handle, Local: Central, Peer: static}).Append([]byte{H4Event}))
		packet(h4, 0, AppendACL([]byte{H4ACL}, handle, true, false, half))
		packet(h4, 1, AppendACL([]byte{H4ACL}, handle, true, true, half))
		most = max(most, quiet.buffered)
	}
	if most > maxBuffered || most < maxBuffered/2 || len(quiet.hci.rows) != maxConnections || quiet.Stats().Evicted != 100 {
		t.Errorf("%d bytes, %d connections, %+v", most, len(quiet.hci.rows), quiet.Stats())
	}
	// Requests, strangers, advertisers, chains, controllers, channels.
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 3 * maxAdvertisers {
		a := Address{[6]byte{0x40, byte(i >> 16), byte(i >> 8), byte(i)}, Resolvable}
		r := ConnectRequest{Initiator: a, Advertiser: static, Access: rnd.Uint32()}
		adv := Advertisement{Extended: true, Advertiser: a, HasADI: true, ADI: uint16(i), More: true, Data: flags}
		for _, pdu := range [][]byte{r.AppendPDU(nil), adv.AppendPDU(nil), (&Advertisement{Advertiser: a}).AppendPDU(nil)} {
			packet(radio, 0, AppendAir(AppendRadio(nil, uint8(i%40), 0, UnknownSide, false), AdvertisingAccess, advertisingCRC, pdu))
		}
		packet(radio, 0, AppendAir(AppendRadio(nil, 5, 0, Central, false), r.Access, 0, AppendData(nil, 1, 0, []byte{1})))
		packet(snoopMon, uint32(i)<<16|3, adv.AppendReport(nil))
	}
	for name, rows := range map[string][2]int{
		"requests": {len(quiet.requests.rows), maxRequests}, "strangers": {len(quiet.strangers.rows), maxRequests}, "advertisers": {len(quiet.advertisers.rows), maxAdvertisers},
		"chains": {len(quiet.chains.rows), maxChains}, "controllers": {len(quiet.controllers.rows), maxControllers}, "air": {len(quiet.air.rows), maxConnections},
	} {
		if rows[0] > rows[1] {
			t.Errorf("%d %s", rows[0], name)
		}
	}
	// Bonds and keys.
	quiet = NewFollower(silent{})
	w = newWorld(t)
	w.f = quiet
	for i := range maxBonds + 50 {
		w.connect(Address{[6]byte{0xc0, 0, 0, 0, byte(i >> 8), byte(i)}, StaticRandom})
		pair(w.smp, features(NoInputNoOutput, AuthBonding, 3), features(NoInputNoOutput, AuthBonding, 3), byte(i))
		w.event(encrypted)
		w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: append(value(1)[:14], byte(i>>8), byte(i))})
		w.smp(Peripheral, SMP{Code: IdentityInformation, Value: append(value(1)[:14], byte(i>>8), byte(i))})
		w.smp(Peripheral, SMP{Code: IdentityAddressInformation, Address: Address{[6]byte{0xc0, 0, 0, 0, byte(i >> 8), byte(i)}, StaticRandom}})
		w.connect(Address{[6]byte{0x40, 0, 0, 0, byte(i >> 8), byte(i)}, Resolvable})
	}
	if len(quiet.bonds.list) != maxBonds || len(quiet.resolvers) != maxResolvers || len(quiet.keys.rows) != maxBonds || len(quiet.resolved.rows) > maxResolved {
		t.Errorf("%d bonds, %d resolvers, %d keys, %d resolved", len(quiet.bonds.list), len(quiet.resolvers), len(quiet.keys.rows), len(quiet.resolved.rows))
	}
	quiet.Flush()
	if quiet.buffered != 0 {
		t.Errorf("%d bytes are left", quiet.buffered)
	}
}

// TestBoundsAtTheirEdge fills each table of docs/ARCHITECTURE.md to its last
// place, from which nothing is given up, and puts one more into it.
func TestBoundsAtTheirEdge(t *testing.T) {
	public := func(i int) Address {
		return Address{[6]byte{0, 0, 1, byte(i >> 16), byte(i >> 8), byte(i)}, Public}
	}
	private := func(i int) Address {
		return Address{[6]byte{0x40, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, Resolvable}
	}
	var accesses []uint32
	for a := uint32(0x50000000); len(accesses) <= maxConnections; a++ {
		if ValidAccess(a) {
			accesses = append(accesses, a)
		}
	}
	key := func(i int) []byte { return append(value(1)[:14], byte(i>>8), byte(i)) }
	bonded := func(w *world, i int) {
		w.connect(public(i))
		pair(w.smp, features(NoInputNoOutput, AuthBonding, 3), features(NoInputNoOutput, AuthBonding, 3), byte(i))
		w.event(encrypted)
		w.smp(Peripheral, SMP{Code: EncryptionInformation, Value: key(i)})
	}
	for _, tt := range []struct {
		name  string
		most  int
		add   func(w *world, i int)
		n     func(f *Follower) int
		given uint64 // up by one more, and counted
	}{
		{"connections of hosts", maxConnections, func(w *world, i int) {
			w.event(Event{Code: EventLEConnectionComplete, Handle: uint16(i), Local: Central, Peer: static})
		}, func(f *Follower) int { return len(f.hci.rows) }, 1},
		{"connections of the air", maxConnections, func(w *world, i int) {
			r := ConnectRequest{Initiator: private(i), Advertiser: static, Access: accesses[i]}
			w.advertise(r.AppendPDU(nil))
			w.frame(radio, 0, AppendAir(AppendRadio(nil, 5, 0, Central, false), accesses[i], 0, AppendData(nil, 1, 0, []byte{1})))
		}, func(f *Follower) int { return len(f.air.rows) }, 1},
		{"controllers", maxControllers, func(w *world, i int) {
			w.frame(snoopMon, uint32(i)<<16|3, (&Event{Code: EventLEConnectionComplete, Handle: 1, Local: Central, Peer: static}).Append(nil))
		}, func(f *Follower) int { return len(f.controllers.rows) }, 1},
		{"connect requests", maxRequests, func(w *world, i int) {
			r := ConnectRequest{Initiator: private(i), Advertiser: static, Access: accesses[i]}
			w.advertise(r.AppendPDU(nil))
		}, func(f *Follower) int { return len(f.requests.rows) }, 1},
		{"strangers", maxRequests, func(w *world, i int) {
			w.frame(radio, 0, AppendAir(AppendRadio(nil, 5, 0, Central, false), accesses[i], 0, AppendData(nil, LLIDStart, 0, AppendL2CAP(nil, CIDATT, []byte{0x0a, 1, 0}))))
		}, func(f *Follower) int { return len(f.strangers.rows) }, 0},
		{"advertisers", maxAdvertisers, func(w *world, i int) {
			w.advertise((&Advertisement{Advertiser: private(i)}).AppendPDU(nil))
		}, func(f *Follower) int { return len(f.advertisers.rows) }, 0},
		{"chains", maxChains, func(w *world, i int) {
			a := Advertisement{Extended: true, Advertiser: private(i), HasADI: true, ADI: 0x3000, More: true, Data: flags}
			w.frame(h4, 3, a.AppendReport([]byte{H4Event}))
		}, func(f *Follower) int { return len(f.chains.rows) }, 1},
		{"identity resolving keys", maxResolvers, func(w *world, i int) {
			w.command(Command{Opcode: CommandLEAddResolving, Address: public(i), Key: key(i), Data: value(0)})
		}, func(f *Follower) int { return len(f.resolvers) }, 1},
		{"resolved addresses", maxResolved, func(w *world, i int) {
			if i == 0 {
				w.command(Command{Opcode: CommandLEAddResolving, Address: public(i), Key: key(i), Data: value(0)})
			}
			w.connect(private(i))
		}, func(f *Follower) int { return len(f.resolved.rows) }, 0},
		{"bonds", maxBonds, bonded, func(f *Follower) int { return len(f.bonds.list) }, 2}, // and its key
		{"long-term keys", maxBonds, bonded, func(f *Follower) int { return len(f.keys.rows) }, 2},
		{"spare connections", maxSpare, func(w *world, i int) {
			if i == 0 {
				for h := range uint16(2 * maxSpare) {
					w.event(Event{Code: EventLEConnectionComplete, Handle: h, Local: Central, Peer: static})
				}
			}
			w.event(Event{Code: EventDisconnectionComplete, Handle: uint16(i)})
		}, func(f *Follower) int { return len(f.spare) }, 0},
	} {
		w := newWorld(t)
		w.f = NewFollower(silent{})
		for i := range tt.most {
			tt.add(w, i)
			w.heard = w.heard[:0]
		}
		if n, s := tt.n(w.f), w.f.Stats(); n != tt.most || s.Evicted != 0 {
			t.Errorf("%s: %d of %d, %d given up", tt.name, n, tt.most, s.Evicted)
		}
		tt.add(w, tt.most)
		if n, s := tt.n(w.f), w.f.Stats(); n != tt.most || s.Evicted != tt.given {
			t.Errorf("%s: one more makes %d, and %d are given up", tt.name, n, s.Evicted)
		}
	}
}

// The bounds that are not of a table: octets of advertising data, contents of an
// advertiser, requests for channels, channels, bytes being put together.
func TestSmallBounds(t *testing.T) {
	w := newWorld(t)
	part := Advertisement{Extended: true, Advertiser: resolvable, HasADI: true, ADI: 0x3000, More: true, Data: make([]byte, maxChainData/10)}
	for more := range 2 {
		for i := range 10 {
			p := part
			if i == 9 {
				p.More = false
				p.Data = append(slices.Clone(p.Data), make([]byte, more)...)
			}
			w.frame(h4, 3, p.AppendReport([]byte{H4Event}))
		}
		if len(w.lines) != 1+more || strings.Contains(w.lines[more], "incomplete true") != (more == 1) || w.f.Stats().Cut != uint64(more) {
			t.Errorf("%d octets: %d advertised, %d cut", maxChainData+more, len(w.lines), w.f.Stats().Cut)
		}
	}
	// Contents in turns: of as many as are remembered each is told once.
	for _, tt := range []struct{ contents, told int }{{maxContents, maxContents}, {maxContents + 1, 3 * (maxContents + 1)}} {
		w = newWorld(t)
		for i := range 3 * tt.contents {
			w.advertise((&Advertisement{Advertiser: static, Data: []byte{2, ADFlags, byte(i % tt.contents)}}).AppendPDU(nil))
			w.f.told = [recentContents]told{} // as many others would make it
		}
		if len(w.lines) != tt.told {
			t.Errorf("%d contents are told %d times, want %d", tt.contents, len(w.lines), tt.told)
		}
	}

	signal := func(from Side, s Signal) {
		b, err := s.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		w.pdu(from, 512, CIDSignaling, b)
	}
	w = newWorld(t)
	w.connect(static)
	c := w.f.connection(w.stream, &w.p, 0x40)
	// One request more than are remembered: the first is forgotten.
	for i := range uint16(maxOpenings + 1) {
		signal(Central, Signal{Code: LECreditBasedConnectionRequest, Identifier: uint8(i + 1), SPSM: 0x80, MTU: 64, MPS: 64, CIDs: [5]uint16{firstDynamicCID + i}, NumCIDs: 1})
	}
	for i := range uint16(maxOpenings + 1) {
		signal(Peripheral, Signal{Code: LECreditBasedConnectionResponse, Identifier: uint8(i + 1), MTU: 64, MPS: 64, CIDs: [5]uint16{firstDynamicCID + i}, NumCIDs: 1})
		if len(c.channels) != int(i) {
			t.Errorf("%d channels after %d answers", len(c.channels), i+1)
		}
	}
	for i := range uint16(200) { // ends are used again
		cid := firstDynamicCID + i%70
		signal(Central, Signal{Code: LECreditBasedConnectionRequest, Identifier: 1, SPSM: 0x80, MTU: 64, MPS: 64, CIDs: [5]uint16{cid}, NumCIDs: 1})
		signal(Peripheral, Signal{Code: LECreditBasedConnectionResponse, Identifier: 1, MTU: 64, MPS: 64, CIDs: [5]uint16{cid}, NumCIDs: 1})
	}
	if len(c.channels) != lastDynamicCID-firstDynamicCID+1 {
		t.Errorf("%d channels", len(c.channels))
	}
}

// silent is a handler that does nothing.
type silent struct{}

func (silent) Advertised(*Advertisement)             {}
func (silent) Connected(*Connection)                 {}
func (silent) Pairing(*Connection, *Pairing)         {}
func (silent) Secured(*Connection)                   {}
func (silent) ATT(*Connection, Side, []byte)         {}
func (silent) SDU(*Connection, Side, uint16, []byte) {}
func (silent) Odd(*Connection, Oddity)               {}
func (silent) Malformed(*Connection, Side, error)    {}
func (silent) Disconnected(*Connection)              {}

// A cache against a slow twin.
func TestCache(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	c := newCache[int, int](5)
	var twin []int // keys, the oldest first; the value is twice the key
	for range 5000 {
		k := rnd.IntN(12)
		i := slices.Index(twin, k)
		switch got := c.get(k); {
		case (got != nil) != (i >= 0) || got != nil && *got != 2*k:
			t.Fatalf("get(%d) = %v of %v", k, got, twin)
		case got != nil && rnd.IntN(3) == 0:
			c.remove(k)
			twin = slices.Delete(twin, i, i+1)
		case got != nil:
			twin = append(slices.Delete(twin, i, i+1), k)
		default:
			dropped := -1
			*c.put(k, func(v int) { dropped = v / 2 }) = 2 * k
			if len(twin) == 5 {
				if dropped != twin[0] {
					t.Fatalf("%d went, of %v", dropped, twin)
				}
				twin = twin[1:]
			} else if dropped != -1 {
				t.Fatalf("%d went, and there was room", dropped)
			}
			twin = append(twin, k)
		}
		var keys []int
		c.each(func(k int, _ *int) bool { keys = append(keys, k); return true })
		if !slices.Equal(keys, twin) {
			t.Fatalf("%v, want %v", keys, twin)
		}
		if old := c.oldest(); (old == nil) != (len(twin) == 0) || old != nil && *old != 2*twin[0] {
			t.Fatalf("oldest %v of %v", old, twin)
		}
	}
}

// FuzzFollower lets any sequence of frames be followed: twice, with the same
// result, within the bounds, with an end for each beginning.
func FuzzFollower(f *testing.F) {
	for _, test := range []func(*testing.T, *world){
		func(t *testing.T, w *world) {
			w.connect(static)
			pair(w.smp, features(DisplayYesNo, secureBond, 3), features(DisplayYesNo, secureBond, 3), 1)
			w.event(encrypted)
			w.att(Central, "0a 0300")
		},
		func(t *testing.T, w *world) {
			w.airConnect()
			pair(w.airSMP, features(NoInputNoOutput, AuthBonding, 3), features(NoInputNoOutput, AuthBonding, 3), 1)
			w.control(Central, encReq)
			w.control(Peripheral, encRsp)
			w.control(Peripheral, Control{Opcode: LLStartEncReq})
			w.control(Central, Control{Opcode: LLStartEncRsp})
			w.airSMP(Peripheral, SMP{Code: EncryptionInformation, Value: value(1)})
			w.airATT(Central, "0a 0300")
		},
		func(t *testing.T, w *world) {
			w.connect(static)
			w.pdu(Central, 10, CIDSignaling, unhex(w.t, "17 05 0c00 2700 f700 5000 0a00 4000 4100"))
			w.pdu(Peripheral, 512, CIDSignaling, unhex(w.t, "18 05 0c00 f700 5000 0a00 0000 5000 5100"))
			w.pdu(Central, 512, 0x50, unhex(w.t, "0300 0a03"))
			w.pdu(Central, 512, 0x50, unhex(w.t, "00"))
		},
	} {
		w := newWorld(f)
		test(nil, w)
		f.Add(w.heard)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var lines [2][]string
		for run := range lines {
			w := newWorld(t)
			for in := b; len(in) >= 5; {
				link, flags, dt := fuzzLinks[int(in[0])%len(fuzzLinks)], uint32(in[1]), int64(in[3])
				w.stream = uint64(in[2] % 4)
				frame := in[5:min(5+int(in[4]), len(in))]
				in = in[5+len(frame):]
				if link == snoopMon {
					flags = flags&0x1f | flags&0xe0<<11
				}
				w.p.Decode(link, flags, frame)
				w.f.Packet(w.stream, &w.p, w.now)
				w.now += dt * dt * dt * 1e4 // to 166 s
				if dt == 255 {
					w.f.End(w.stream)
				}
			}
			if w.f.buffered < 0 || w.f.buffered > maxBuffered {
				t.Fatalf("%d bytes are kept", w.f.buffered)
			}
			w.f.Flush()
			if len(w.open) != 0 || w.f.buffered != 0 || len(w.f.hci.rows)+len(w.f.air.rows) != 0 {
				t.Fatalf("left: %v, %d bytes, %d and %d connections", w.open, w.f.buffered, len(w.f.hci.rows), len(w.f.air.rows))
			}
			lines[run] = w.lines
		}
		if !slices.Equal(lines[0], lines[1]) {
			t.Fatalf("twice the same input, two results:\n%s", cmp.Diff(lines[0], lines[1]))
		}
	})
}

// A host asks one thing at a time. Its log may have cut the answer, or the answer
// may be wrong: neither makes the next request an attack.
func TestAnswersThatCannotBeRead(t *testing.T) {
	for name, answer := range map[string]func(w *world){
		"cut by the log": func(w *world) {
			b := AppendACL([]byte{H4ACL}, 0x40, true, true, AppendL2CAP(nil, CIDATT, make([]byte, 20)))
			w.frame(h4, 1, b[:len(b)-9])
		},
		"of no format": func(w *world) { w.att(Peripheral, "01 0a") },
	} {
		w := newWorld(t)
		w.connect(static)
		w.att(Central, "0a 0300")
		answer(w)
		w.att(Central, "0a 0400")
		for _, line := range w.lines {
			if strings.Contains(line, "odd") {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}

// A connection that was met behind the start of its encryption, by a sniffer
// that has the key.
func TestDecryptedMidstream(t *testing.T) {
	w := newWorld(t)
	for sn := range uint8(3) {
		b := AppendData(nil, LLIDStart, (sn&1)<<3, AppendL2CAP(nil, CIDATT, []byte{0x1b, 9, 0, sn}))
		w.frame(radio, 0, AppendAir(AppendRadio(nil, 5, -50, Peripheral, true), connect.Access, connect.CRCInit, b))
	}
	if got := strings.Join(w.lines, "\n"); !strings.Contains(got, "midstream\n1 secured level 0: encrypted true  sc false size 0 stored") {
		t.Error(got)
	}
}

// The key of a bond whose pairing was not seen tells that it is the same device,
// under whatever address.
func TestKnownByItsKey(t *testing.T) {
	w := newWorld(t)
	reconnect := func(address Address, key byte) {
		w.connect(address)
		w.command(Command{Opcode: CommandLEEnableEncryption, Handle: 0x40, Key: value(key)})
		w.event(encrypted)
		w.disconnect()
	}
	var who []Address
	w.f = NewFollower(&identities{who: &who})
	reconnect(resolvable, 1)
	reconnect(rpa, 1)
	reconnect(rpa, 2)
	if !slices.Equal(who, []Address{resolvable, resolvable, rpa}) {
		t.Error(who)
	}
}

// A phone tells its controller the keys of its bonds when it is switched on.
func TestResolvingList(t *testing.T) {
	w := newWorld(t)
	key := slices.Clone(irk)
	w.connect(rpa)
	w.command(Command{Opcode: CommandLEAddResolving, Address: static, Key: key, Data: value(0)})
	w.connect(rpa)
	w.expect(
		"1 connected none to rpa, who are none and rpa",
		"1 disconnected",
		"2 connected none to rpa, who are none and static",
	)
}

// identities keeps who the peripherals were at last.
type identities struct {
	silent
	who *[]Address
}

func (i *identities) Disconnected(c *Connection) { *i.who = append(*i.who, c.Identity(Peripheral)) }

// Connections that come and go leave nothing to collect.
func TestConnectionsAllocateNothing(t *testing.T) {
	f := NewFollower(silent{})
	var p Packet
	frames := [][]byte{
		(&Event{Code: EventLEConnectionComplete, Handle: 0x40, Local: Central, Peer: static, Interval: 24, Timeout: 500}).Append([]byte{H4Event}),
		AppendACL([]byte{H4ACL}, 0x40, true, true, AppendL2CAP(nil, CIDATT, []byte{0x1b, 3, 0, 1})),
		(&Event{Code: EventDisconnectionComplete, Handle: 0x40, Reason: 0x13}).Append([]byte{H4Event}),
	}
	play := func() {
		for _, b := range frames {
			p.Decode(h4, 3, b)
			f.Packet(1, &p, 1)
		}
	}
	play()
	if n := testing.AllocsPerRun(50, play); n > 1 { // the row in the table
		t.Errorf("%v allocations", n)
	}
	if len(f.spare) != 1 {
		t.Errorf("%d connections are kept", len(f.spare))
	}
}
