// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// A scene is a story while it is played: its clock, its chance, and what a
// receiver writes down. The same story with the same start is the same to the byte.
type scene struct {
	form   Form
	now    int64 // nanoseconds since 1970-01-01 UTC
	rng    *rand.Rand
	log    recorder // of Bluetooth
	frames []frame
	err    error // the first thing that our own encoders refused
}

// A recorder writes down what is said on Bluetooth, in its own way, and moves
// the scene's clock on by the time that it takes.
type recorder interface {
	// connect is a central finding a peripheral that advertises.
	connect(l *link)
	// send is one L2CAP PDU.
	send(l *link, from ble.Side, cid uint16, payload []byte)
	encrypt(l *link, b *bond)
	disconnect(l *link)
	// wait is a time in which nothing is said; l may be nil.
	wait(l *link, d time.Duration)
}

type key = toolbox.Key

func newScene(form Form, start time.Time, seed uint64) *scene {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	binary.LittleEndian.PutUint64(s[8:], uint64(start.UnixNano()))
	return &scene{form: form, now: start.UnixNano(), rng: rand.New(rand.NewChaCha8(s))}
}

func (s *scene) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return b
}

func (s *scene) key() key { return key(s.random(16)) }

// after moves the clock on by d, and up to a tenth of it more.
func (s *scene) after(d time.Duration) { s.now += int64(d) + s.rng.Int64N(int64(d)/10+1) }

// note keeps an error of an encoder: a fault in the story.
func (s *scene) note(err error) {
	if s.err == nil {
		s.err = err
	}
}

// A party is a device, phone or programmer on Bluetooth.
type party struct {
	identity ble.Address
	irk      key  // zero: it has no private addresses
	private  bool // it uses them
	name     string
	says     ble.PairingFeatures // of itself when it pairs
	bonds    map[*party]*bond
	server   *server   // of a peripheral
	service  gatt.UUID // that it advertises

	resolvable ble.Address // the private address of the moment
}

// A bond is what a pairing leaves behind.
type bond struct {
	ltk  key
	rand uint64
	ediv uint16
	security
	before   bool            // it was made before the recording began
	notified map[uint16]bool // what the central has asked to be told
}

// A security is what protects a link.
type security struct {
	encrypted bool
	method    ble.Method
	sc        bool
	size      uint8 // octets of the key
}

func (s *security) level() int {
	return ble.Security{Encrypted: s.encrypted, Method: s.method, SecureConnections: s.sc, KeySize: s.size}.Level()
}

// address is what a party uses on the air now.
func (p *party) address(s *scene) ble.Address {
	if !p.private {
		return p.identity
	}
	if p.resolvable.Kind == ble.NoAddress {
		p.renew(s)
	}
	return p.resolvable
}

// renew makes a new resolvable private address (Vol 6 Part B section 1.3.2.2).
func (p *party) renew(s *scene) {
	prand := [3]byte(s.random(3))
	prand[0] = prand[0]&0x3f | 0x40
	hash := p.irk.Ah(prand)
	p.resolvable = ble.Address{Kind: ble.Resolvable}
	copy(p.resolvable.Bytes[:], prand[:])
	copy(p.resolvable.Bytes[3:], hash[:])
}

// bonded makes two parties know each other from before.
func (s *scene) bonded(central, peripheral *party) *bond {
	how := security{encrypted: true, method: ble.JustWorks, size: 16}
	if s.form == Protected {
		how.method, how.sc = ble.PasskeyEntry, true
	}
	b := &bond{ltk: s.key().Short(how.size), security: how, before: true, notified: map[uint16]bool{}}
	if !how.sc {
		b.rand, b.ediv = s.rng.Uint64(), uint16(s.rng.Uint32())
	}
	central.keep(peripheral, b)
	peripheral.keep(central, b)
	return b
}

func (p *party) keep(o *party, b *bond) {
	if p.bonds == nil {
		p.bonds = map[*party]*bond{}
	}
	p.bonds[o] = b
}

// A link is a connection between two parties.
type link struct {
	s       *scene
	party   [3]*party      // by ble.Side
	address [3]ble.Address // on the air
	handle  uint16
	mtu     int
	security
	air airLink

	notified map[uint16]bool // value handles whose notifications are on
	counters map[uint16]uint8
	due      []func() // what the peripheral says after its answer
}

// connect lets a central find and connect to a peripheral.
func (s *scene) connect(central, peripheral *party) *link {
	l := &link{s: s, party: [3]*party{ble.Central: central, ble.Peripheral: peripheral}, handle: 0x40 + uint16(s.rng.UintN(4)), mtu: ble.DefaultMTU}
	for _, side := range [...]ble.Side{ble.Central, ble.Peripheral} {
		l.address[side] = l.party[side].address(s)
	}
	l.notified, l.counters = map[uint16]bool{}, map[uint16]uint8{}
	s.log.connect(l)
	return l
}

// smp sends a PDU of the security manager, and returns it as it is sent.
func (l *link) smp(from ble.Side, p ble.SMP) []byte {
	b, err := p.Append(nil)
	l.s.note(err)
	l.s.log.send(l, from, ble.CIDSMP, b)
	return b
}

// encrypt starts encryption with the key of a bond.
func (l *link) encrypt(b *bond) {
	l.s.log.encrypt(l, b)
	l.security = b.security
	l.encrypted = true
	if b.notified != nil {
		l.notified = b.notified
	}
}

// reconnect connects two that are bonded, and encrypts.
func (s *scene) reconnect(central, peripheral *party) *link {
	l := s.connect(central, peripheral)
	l.encrypt(central.bonds[peripheral])
	l.exchange()
	return l
}

func (l *link) disconnect() { l.s.log.disconnect(l) }

// wait lets a time pass on the link.
func (l *link) wait(d time.Duration) { l.s.log.wait(l, d) }
