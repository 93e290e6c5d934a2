// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/proto/gatt"
	"github.com/myelin-health/myelin/proto/radio"
)

// A phoneLog is what a phone's log has of a connection with a device: HCI, as
// btsnoop carries it.
type phoneLog struct {
	*scene
	t      testing.TB
	input  int32
	device ble.Address
	mirror bool // it is the device's log
}

var pumpRadio = ble.Address{Bytes: [6]byte{0xc0, 0, 0x5e, 0, 0x53, 1}, Kind: ble.StaticRandom}

func newPhoneLog(t testing.TB) *phoneLog {
	p := &phoneLog{scene: newScene(), t: t, device: pumpRadio}
	p.event(ble.Event{Code: ble.EventCommandComplete, Opcode: ble.CommandReadBDADDR, Data: []byte{2, 0x53, 0, 0x5e, 0, 0}})
	return p
}

// private is the n-th of very many resolvable addresses.
func private(n int) ble.Address {
	a := ble.Address{Kind: ble.Resolvable}
	binary.BigEndian.PutUint32(a.Bytes[2:], uint32(n))
	a.Bytes[0] = 0x40
	return a
}

func (p *phoneLog) heard(flags uint32, b []byte) {
	p.now += 1e6
	p.frames = append(p.frames, Frame{Frame: capture.Frame{Data: b, Time: p.now, OrigLen: len(b), Link: capture.LinkBluetoothHCIH4, Flags: flags, Packet: uint64(len(p.frames) + 1)}, Input: p.input})
}

func (p *phoneLog) event(e ble.Event)     { p.heard(3, e.Append([]byte{ble.H4Event})) }
func (p *phoneLog) command(m ble.Command) { p.heard(2, m.Append([]byte{ble.H4Command})) }

const handle = 0x40

func (p *phoneLog) connect() {
	p.event(ble.Event{Code: ble.EventLEConnectionComplete, Handle: handle, Local: ble.Central, Peer: p.device, Interval: 24, Timeout: 500})
}

func (p *phoneLog) disconnect() {
	p.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: handle, Reason: 0x13})
}

// send sends a PDU of the attribute protocol or, over another channel, of the
// security manager: from the phone, or to it.
func (p *phoneLog) send(toPhone bool, channel uint16, pdu []byte) {
	toPhone = toPhone != p.mirror
	flags := uint32(0)
	if toPhone {
		flags = 1
	}
	p.heard(flags, ble.AppendACL([]byte{ble.H4ACL}, handle, true, toPhone, ble.AppendL2CAP(nil, channel, pdu)))
}

func (p *phoneLog) asks(pdu ...byte)    { p.send(false, ble.CIDATT, pdu) }
func (p *phoneLog) answers(pdu ...byte) { p.send(true, ble.CIDATT, pdu) }

// The handles of the device's attributes.
const (
	pumpControl = 0x23 // IDD Command Control Point, its CCCD behind it
	pumpStatus  = 0x26
	pumpFeature = 0x29
	heartRate   = 0x33
	bodySensor  = 0x36
	vendorValue = 0x43
)

// discovers finds a service and its characteristics, as after each first
// connection.
func (p *phoneLog) discovers(first, last uint16, service gatt.UUID, characteristics map[uint16]gatt.UUID) {
	le := binary.LittleEndian
	u := service.AppendLE(nil)
	p.asks(0x10, byte(first), 0, 0xff, 0xff, 0, 0x28)
	p.answers(append(le.AppendUint16(le.AppendUint16([]byte{0x11, uint8(4 + len(u))}, first), last), u...)...)
	for _, h := range slices.Sorted(func(yield func(uint16) bool) {
		for h := range characteristics {
			if !yield(h) {
				return
			}
		}
	}) {
		u := characteristics[h].AppendLE(nil)
		p.asks(0x08, byte(h-1), 0, byte(last), 0, 3, 0x28)
		p.answers(append(le.AppendUint16(append(le.AppendUint16([]byte{0x09, uint8(5 + len(u))}, h-1), 0x3a), h), u...)...)
		p.asks(0x04, byte(h+1), 0, byte(h+1), 0)
		p.answers(0x05, 1, byte(h+1), 0, 2, 0x29)
	}
}

func (p *phoneLog) discoversPump() {
	p.discovers(0x20, 0x2f, gatt.UUID16(0x183a), map[uint16]gatt.UUID{pumpControl: gatt.UUID16(0x2b25), pumpStatus: gatt.UUID16(0x2b21), pumpFeature: gatt.UUID16(0x2b23)})
}

func (p *phoneLog) discoversHeart() {
	p.discovers(0x30, 0x3f, gatt.UUID16(0x180d), map[uint16]gatt.UUID{heartRate: gatt.UUID16(0x2a37), bodySensor: gatt.UUID16(0x2a38)})
}

// writes writes a value; with refusal 0 it is accepted.
func (p *phoneLog) writes(h byte, refusal byte, value ...byte) {
	p.asks(append([]byte{0x12, h, 0}, value...)...)
	if refusal == 0 {
		p.answers(0x13)
	} else {
		p.answers(0x01, 0x12, h, 0, refusal)
	}
}

func (p *phoneLog) reads(h byte, value ...byte) {
	p.asks(0x0a, h, 0)
	p.answers(append([]byte{0x0b}, value...)...)
}

func (p *phoneLog) notifies(h byte, value ...byte) {
	p.answers(append([]byte{0x1b, h, 0}, value...)...)
}

func (p *phoneLog) indicates(h byte, value ...byte) {
	p.answers(append([]byte{0x1d, h, 0}, value...)...)
	p.asks(0x1e)
}

func bolus(units gatt.SFLOAT) []byte {
	x := gatt.IDDControl{Op: gatt.IDDSetBolus, Bolus: gatt.Bolus{Type: gatt.BolusFast, Fast: units}}
	return x.Append(nil)
}

var pumpRuns = (&gatt.IDDStatus{TherapyState: 0x55, OperationalState: 0x55, Reservoir: 150}).Append(nil)

// pairs pairs and encrypts: by Just Works, or with a passkey.
func (p *phoneLog) pairs(passkey bool) {
	io := ble.NoInputNoOutput
	if passkey {
		io = ble.KeyboardOnly
	}
	smp := func(toPhone bool, s ble.SMP) {
		b, err := s.Append(nil)
		if err != nil {
			p.t.Fatal(err)
		}
		p.send(toPhone, ble.CIDSMP, b)
	}
	f := ble.PairingFeatures{AuthReq: ble.AuthBonding | ble.AuthMITM, MaxKeySize: 16}
	f.IOCapability = ble.DisplayOnly
	smp(false, ble.SMP{Code: ble.PairingRequest, PairingFeatures: f})
	f.IOCapability = io
	smp(true, ble.SMP{Code: ble.PairingResponse, PairingFeatures: f})
	for i, code := range []ble.SMPCode{ble.PairingConfirm, ble.PairingConfirm, ble.PairingRandom, ble.PairingRandom} {
		smp(i%2 == 1, ble.SMP{Code: code, Value: slices.Repeat([]byte{byte(i)}, 16)})
	}
	p.encrypts()
}

func (p *phoneLog) encrypts() {
	p.event(ble.Event{Code: ble.EventEncryptionChange, Handle: handle, Enabled: 1})
}

// opens opens a credit-based channel: the phone's end is 0x40, the device's 0x41.
func (p *phoneLog) opens(spsm uint16) {
	for i, s := range []ble.Signal{
		{Code: ble.LECreditBasedConnectionRequest, Identifier: 1, SPSM: spsm, MTU: 64, MPS: 64, Credits: 9, CIDs: [5]uint16{0x40}, NumCIDs: 1},
		{Code: ble.LECreditBasedConnectionResponse, Identifier: 1, MTU: 64, MPS: 64, Credits: 9, CIDs: [5]uint16{0x41}, NumCIDs: 1},
	} {
		b, err := s.Append(nil)
		if err != nil {
			p.t.Fatal(err)
		}
		p.send(i == 1, ble.CIDSignaling, b)
	}
}

// bonded starts encryption with a stored key.
func (p *phoneLog) bonded(key byte) {
	p.command(ble.Command{Opcode: ble.CommandLEEnableEncryption, Handle: handle, Rand: 7, EDIV: 7, Key: slices.Repeat([]byte{key}, 16)})
	p.encrypts()
}

func kinds(fs []finding.Finding) string {
	var all []string
	for _, f := range fs {
		all = append(all, fmt.Sprintf("%v %v x%d", f.Kind, f.Confidence, f.Count))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

const (
	insufficientAuthentication = 0x05
	procedureInProgress        = 0x80
)

// What a link protects, told from what goes over it in that moment.
func TestAir(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(p *phoneLog)
		want string
	}{
		{"discovery before the pairing is in clear everywhere", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.pairs(true)
			p.reads(pumpStatus, pumpRuns...)
		}, "ble-pairing-legacy high x1"},
		{"a pump that defends itself until it is paired", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.writes(pumpControl+1, insufficientAuthentication, 2, 0)
			p.writes(pumpControl, insufficientAuthentication, bolus(4)...)
			p.asks(0x0a, pumpStatus, 0)
			p.answers(0x01, 0x0a, pumpStatus, 0, insufficientAuthentication)
			p.pairs(true)
			p.writes(pumpControl+1, 0, 2, 0)
			p.writes(pumpControl, 0, bolus(4)...)
		}, "ble-pairing-legacy high x1\ndevice-defends-itself high x3"},
		{"a command in clear", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.writes(pumpControl, 0, bolus(4)...)
		}, "ble-below-profile-level high x1\nble-medical-service-unencrypted high x1\nphi-in-clear high x1\ntherapy-command-unauthenticated high x1"},
		{"a command in clear that the device read before it said no", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.writes(pumpControl, procedureInProgress, bolus(4)...)
		}, "ble-below-profile-level high x1\nble-medical-service-unencrypted high x1\nphi-in-clear high x1\ntherapy-command-unauthenticated high x1"},
		{"a command in clear, and the device is gone", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.asks(append([]byte{0x12, pumpControl, 0}, bolus(4)...)...)
			p.disconnect()
		}, "ble-below-profile-level high x1\nble-medical-service-unencrypted high x1\nphi-in-clear high x1\ntherapy-command-unauthenticated high x1"},
		{"a command over a link by Just Works", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.pairs(false)
			p.writes(pumpControl, 0, bolus(4)...)
		}, "ble-below-profile-level high x1\nble-pairing-just-works high x1\nble-pairing-legacy high x1\ntherapy-command-unauthenticated high x1"},
		{"a command over a link whose encryption started without a key", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			b, _ := (&ble.SMP{Code: ble.PairingRequest, PairingFeatures: ble.PairingFeatures{MaxKeySize: 16}}).Append(nil)
			p.send(false, ble.CIDSMP, b)
			p.encrypts()
			p.writes(pumpControl, 0, bolus(4)...)
		}, "ble-below-profile-level high x1\nble-encryption-skipped medium x1\ntherapy-command-unauthenticated high x1"},
		{"a command over a link whose key the log blanks out", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.bonded(0)
			p.writes(pumpControl, 0, bolus(4)...)
		}, ""},
		{"a command over a link with a key of zeros, in a log that shows keys", func(p *phoneLog) {
			p.command(ble.Command{Opcode: ble.CommandLEEnableEncryption, Handle: handle + 1, Key: slices.Repeat([]byte{7}, 16)})
			p.connect()
			p.discoversPump()
			p.bonded(0)
			p.writes(pumpControl, 0, bolus(4)...)
		}, "ble-below-profile-level high x1\nble-encryption-skipped high x1\nble-key-static-or-zero high x1\nble-medical-service-unencrypted high x1\nphi-in-clear high x1\ntherapy-command-unauthenticated high x1"},
		{"a pairing with the public key of debug mode", func(p *phoneLog) {
			p.connect()
			key, err := hex.DecodeString("e69d350e480103ccdbfdf4ac1191f4efb9a5f9e9a7832c5e2cbe97f2d203b020" +
				"8bd28915d08e1c742430ed8fc24563765c15525abf9a32636deb2a65499c80dc")
			if err != nil {
				t.Fatal(err)
			}
			b, _ := (&ble.SMP{Code: ble.PairingRequest, PairingFeatures: ble.PairingFeatures{AuthReq: ble.AuthSecureConnections, MaxKeySize: 16}}).Append(nil)
			p.send(false, ble.CIDSMP, b)
			p.send(true, ble.CIDSMP, append([]byte{byte(ble.PairingPublicKey)}, key...))
			p.discoversHeart()
			p.reads(bodySensor, 1)
		}, "ble-key-static-or-zero high x1"},
		{"a bonded reconnection", func(p *phoneLog) {
			p.connect()
			p.bonded(9)
			p.discoversPump()
			p.writes(pumpControl, 0, bolus(4)...)
			p.indicates(pumpControl, (&gatt.IDDControl{Op: gatt.IDDSetBolusResponse, ID: 1}).Append(nil)...)
		}, ""},
		{"a long value that was read before the pairing and complete behind it", func(p *phoneLog) {
			p.connect()
			p.discovers(0x20, 0x2f, gatt.UUID16(0x183a), map[uint16]gatt.UUID{pumpStatus: gatt.UUID16(0x2b21)})
			p.reads(pumpStatus, append(slices.Clone(pumpRuns), make([]byte, 22-len(pumpRuns))...)...) // fills the PDU
			p.pairs(true)
			p.reads(pumpStatus, pumpRuns...)
		}, "ble-below-profile-level high x1\nble-medical-service-unencrypted high x1\nble-pairing-legacy high x1\nmalformed-message medium x1\nphi-in-clear high x1"},
		{"features and subscriptions are no values of a body", func(p *phoneLog) {
			p.connect()
			p.discoversHeart()
			p.reads(bodySensor, 1)
			p.writes(heartRate+1, 0, 1, 0)
			p.reads(heartRate+1, 1, 0)
		}, ""},
		{"but the profile asks to protect these, too", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.writes(pumpControl+1, 0, 2, 0)
		}, "ble-below-profile-level high x1"},
		{"a pulse in clear", func(p *phoneLog) {
			p.connect()
			p.discoversHeart()
			p.notifies(heartRate, 0, 72)
			p.notifies(heartRate, 0, 73)
		}, "ble-medical-service-unencrypted high x1\nphi-in-clear high x1"},
		{"a vendor's bytes in clear beside a medical service", func(p *phoneLog) {
			p.connect()
			p.discoversHeart()
			vendor := gatt.UUID{0: 0xaa, 15: 1}
			p.discovers(0x40, 0x4f, vendor, map[uint16]gatt.UUID{vendorValue: vendor})
			p.writes(vendorValue, 0, 1, 2, 3, 4)
			p.notifies(vendorValue, 1, 2, 3, 4)
		}, "ble-medical-service-unencrypted low x2"},
		{"a channel of the application's own in clear beside a medical service", func(p *phoneLog) {
			p.connect()
			p.discoversHeart()
			p.opens(0x80)
			p.send(false, 0x41, []byte{3, 0, 1, 2, 3})
			p.send(true, 0x40, []byte{6, 0, 1, 2, 3}) // in two frames
			p.send(true, 0x40, []byte{4, 5, 6})
			p.send(true, 0x40, []byte{1, 0, 1})
		}, "ble-medical-service-unencrypted low x2"},
		{"the same, encrypted", func(p *phoneLog) {
			p.connect()
			p.discoversHeart()
			p.pairs(true)
			p.opens(0x80)
			p.send(false, 0x41, []byte{3, 0, 1, 2, 3})
		}, "ble-pairing-legacy high x1"},
		{"and of a device that is not medical", func(p *phoneLog) {
			p.connect()
			p.opens(ble.SPSMOTS)
			p.send(false, 0x41, []byte{3, 0, 1, 2, 3})
		}, ""},
		{"a second pairing that is weaker", func(p *phoneLog) {
			p.connect()
			p.discoversPump()
			p.pairs(true)
			p.pairs(false)
		}, "ble-pairing-just-works high x1\nble-pairing-legacy high x2"},
		{"what only looks like glucose", func(p *phoneLog) {
			p.connect()
			p.discoversHeart()
			for i := range uint16(9) {
				p.notifies(0x53, (&gatt.CGMMeasurement{Glucose: 110, TimeOffset: i}).Append(nil)...)
			}
		}, ""},
		{"a log that begins in the middle of a connection", func(p *phoneLog) {
			p.discoversPump()
			p.writes(pumpControl, 0, bolus(4)...)
		}, ""},
	} {
		p := newPhoneLog(t)
		tt.play(p)
		var got []finding.Finding
		for _, f := range watchScene(t, p.scene, 1, nil).Result().Findings {
			if f.Kind != finding.BLETrackableAddress {
				got = append(got, f)
			}
		}
		if g := kinds(got); g != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, strings.ReplaceAll(g, "\n", "\n     "), strings.ReplaceAll(tt.want, "\n", "\n     "))
		}
	}
}

// advertises lets somebody advertise a service.
func (p *phoneLog) advertises(a ble.Address, service uint16, name string) {
	data := ble.AppendAD(nil, ble.ADAllServices16, []byte{byte(service), byte(service >> 8)})
	ad := ble.Advertisement{Advertiser: a, Connectable: true, Scannable: true, Data: ble.AppendAD(data, ble.ADName, []byte(name))}
	p.heard(3, ad.AppendReport([]byte{ble.H4Event}))
}

// Advertisers, private addresses and connections without end take no memory
// without end, and hide no pump.
func TestAirFlood(t *testing.T) {
	const many = 2 * maxParties
	p := newPhoneLog(t)
	p.connect()
	p.discoversPump()
	p.writes(pumpControl, 0, bolus(4)...)
	p.disconnect()
	for n := range many {
		p.advertises(private(n), 0x180f, "box 4711")
		if n%8 == 0 { // and some that are medical, by what they say
			p.advertises(private(many+n), 0x180d, "Anna's 123456")
		}
		if n%2 == 0 { // to nobody
			p.device = private(3*many + n)
			p.connect()
			p.disconnect()
		}
		if n%16 == 0 {
			p.device = private(2*many + n)
			p.connect()
			p.asks(0x0a, 3, 0)
			if n%32 == 0 {
				p.disconnect()
			}
		}
	}
	p.device = pumpRadio
	p.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: handle})
	p.connect()
	p.writes(pumpControl, 0, bolus(5)...)
	w := watchScene(t, p.scene, 1, nil)
	a := w.shards[airShard].air
	if n := len(a.parties.rows); n > maxParties || len(a.hosts.rows) != 1 {
		t.Errorf("%d parties, %d hosts", n, len(a.hosts.rows))
	}
	r := w.Result()
	for _, f := range r.Findings {
		if f.Kind == finding.TherapyCommandUnauthenticated && f.Count != 2 {
			t.Errorf("the pump's two commands are of different pumps: %d, %s", f.Count, f.Title)
		}
	}
	if s := kinds(r.Findings); !strings.Contains(s, "therapy-command-unauthenticated high x2") || strings.Contains(s, "unexpected") {
		t.Error("the pump, or its phone, was forgotten in the flood")
	}
	if r.Stats.Unsaid != 0 {
		t.Errorf("%d events were lost", r.Stats.Unsaid)
	}
}

// A log of controllers without end makes no other sender of the phone that the
// pump knows, whose controller says no address.
func TestControllersFlood(t *testing.T) {
	p := &phoneLog{scene: newScene(), t: t, device: pumpRadio}
	commands := func() {
		p.input, p.device = 0, pumpRadio
		p.connect()
		p.discoversPump()
		p.pairs(true)
		p.writes(pumpControl, 0, bolus(4)...)
		p.disconnect()
	}
	commands()
	commands()
	for n := range 2 * maxHosts {
		p.input, p.device = int32(n+1), private(n)
		p.connect()
		p.disconnect()
	}
	commands()
	w := watchScene(t, p.scene, 1, nil)
	if n := len(w.shards[airShard].air.hosts.rows); n > maxHosts {
		t.Errorf("%d hosts", n)
	}
	if s := kinds(w.Result().Findings); strings.Contains(s, "unexpected") || !strings.Contains(s, "ble-pairing-legacy high x3") {
		t.Errorf("the phone was forgotten in the flood:\n%s", s)
	}
}

// TestOneDevice is about the private addresses of one device, and of one phone.
func TestOneDevice(t *testing.T) {
	commands := func(p *phoneLog, n int, before func(n int)) string {
		for i := range n {
			p.device = private(i)
			p.command(ble.Command{Opcode: ble.CommandLESetRandomAddress, Address: private(100 + i)})
			p.command(ble.Command{Opcode: ble.CommandLECreateConnection, Own: 1})
			p.connect()
			before(i)
			p.discoversPump()
			p.writes(pumpControl, 0, bolus(4)...)
			p.disconnect()
		}
		var medical int
		r := watchScene(t, p.scene, 1, nil).Result()
		for _, d := range r.Devices {
			if d.Medical {
				medical++
			}
		}
		return fmt.Sprintf("%d devices of which %d are medical: %s", len(r.Devices), medical, kinds(r.Findings))
	}
	p := newPhoneLog(t)
	if got, want := commands(p, 5, func(int) { p.bonded(9) }), "2 devices of which 1 are medical: "; got != want {
		t.Errorf("by the key of its bond: %s", got)
	}
	// Nobody can know these: that they are five devices is wrong, and stated as
	// the limit.
	p = newPhoneLog(t)
	if got, want := commands(p, 5, func(int) { p.encrypts() }), "6 devices of which 5 are medical: "; got != want {
		t.Errorf("without any key: %s", got)
	}
}

// What a connection's tracker has no room for is counted, once.
func TestTrackerLoses(t *testing.T) {
	p := newPhoneLog(t)
	p.connect()
	for range 2 {
		for range 80 { // of the parts of one value 64 are kept
			p.asks(0x16, pumpControl, 0, 0, 0, 1)
		}
		p.disconnect()
		p.connect() // in the memory of the one before
	}
	if n := watchScene(t, p.scene, 1, nil).Result().Stats.Dropped; n != 2*16 {
		t.Errorf("%d are counted", n)
	}
}

// A phone that changes its private address is no other sender than before; one
// that pairs anew, or goes by an address that stays, is.
func TestWhoOrders(t *testing.T) {
	phone := func(n int) ble.Address { return private(n) }
	lasting := func(n int) ble.Address {
		return ble.Address{Bytes: [6]byte{0xc0, 0, 0x5e, 0, 0x53, byte(n)}, Kind: ble.StaticRandom}
	}
	for _, tt := range []struct {
		name    string
		phone   func(int) ble.Address
		pairs   bool
		strange bool
	}{
		{"private addresses", phone, false, false},
		{"private addresses, each paired", phone, true, true},
		{"addresses that stay", lasting, false, true},
	} {
		p := newPhoneLog(t)
		for i := range 3 {
			// The log is the pump's: others connect to it.
			p.device = tt.phone(i)
			p.event(ble.Event{Code: ble.EventLEConnectionComplete, Handle: handle, Local: ble.Peripheral, Peer: p.device, Interval: 24, Timeout: 500})
			p.mirror = true
			if tt.pairs {
				p.pairs(true)
			} else {
				p.encrypts()
			}
			p.discoversPump()
			p.writes(pumpControl, 0, bolus(4)...)
			p.disconnect()
		}
		got := strings.Contains(kinds(watchScene(t, p.scene, 1, nil).Result().Findings), "therapy-command-unexpected-sender")
		if got != tt.strange {
			t.Errorf("%s: another sender: %v", tt.name, got)
		}
	}
}

// Frames go through the house without allocating, while nothing new is said.
func TestAirAllocatesNothing(t *testing.T) {
	p := newPhoneLog(t)
	p.connect()
	p.discoversPump()
	p.discoversHeart()
	p.discovers(0x50, 0x5f, gatt.UUID16(0x181f), map[uint16]gatt.UUID{0x53: gatt.UUID16(0x2aa7)})
	p.pairs(true)
	steady := func() {
		for i := range uint16(8) {
			p.notifies(heartRate, 0, 72)
			p.notifies(0x53, (&gatt.CGMMeasurement{Glucose: 110, TimeOffset: i}).Append(nil)...)
			p.reads(pumpStatus, pumpRuns...)
			p.writes(pumpControl+1, 0, 2, 0)
			p.advertises(private(int(i)), 0x180f, "x")
			p.event(ble.Event{Code: 0x13, Data: []byte{1, handle, 0, 1, 0}})
		}
	}
	steady()
	before := len(p.frames)
	steady()
	var events []stamped
	var ends []ended
	sh := New(Config{Key: []byte("k")}).shards[airShard]
	sh.out, sh.ends = &events, &ends
	play := func(frames []Frame) {
		for i := range frames {
			sh.heard(&frames[i], flow.Place{Time: frames[i].Time, Packet: frames[i].Packet})
		}
	}
	play(p.frames)
	said := len(events)
	frames := p.frames[before:]
	if n := testing.AllocsPerRun(50, func() { play(frames) }); n != 0 {
		t.Errorf("%v allocations in %d frames", n, len(frames))
	}
	if len(events) != said {
		t.Errorf("this is no steady path: %d events, then %d", said, len(events))
	}
}

// airLinks are the link types that a byte of FuzzAir chooses from.
var airLinks = [...]capture.LinkType{
	capture.LinkBluetoothHCIH4, capture.LinkBluetoothHCIH4PHDR, capture.LinkBluetoothMonitor, capture.LinkBluetoothLELL,
	capture.LinkBluetoothLELLPHDR, capture.LinkNordicBLE, capture.LinkPPI, capture.LinkFrameLog,
}

// FuzzAir takes frames of any link type of a radio: what is said of them is the
// same twice, and nobody is called by an address that was on the air.
func FuzzAir(f *testing.F) {
	// A frame is link type, flags and length, a byte each, and the frame.
	seed := func(link byte, frames []Frame) (b []byte) {
		for i := range frames {
			if n := len(frames[i].Data); n < 256 {
				b = append(append(b, link, byte(frames[i].Flags), byte(n)), frames[i].Data...)
			}
		}
		return b
	}
	p := newPhoneLog(f)
	p.advertises(p.device, 0x183a, "Anna's pump 4711")
	p.connect()
	p.discoversPump()
	p.pairs(false)
	p.writes(pumpControl, 0, bolus(4)...)
	p.writes(pumpControl, insufficientAuthentication, bolus(25)...)
	p.reads(pumpStatus, pumpRuns...)
	p.disconnect()
	f.Add(seed(0, p.frames))
	frame := func(digits string) Frame {
		b, err := hex.DecodeString(digits)
		if err != nil {
			f.Fatal(err)
		}
		return Frame{Frame: capture.Frame{Data: b}}
	}
	f.Add(seed(7, []Frame{frame("aa2dd4480ad4902b5e0b0bbff60101ab98"), frame("aa2dd4480cd4902b5e0b0bbff60281ae60f9e8"), frame("ff0fc39c3b1f065dd3")}))
	samples, known := radio.Samples(), new(radio.Set)
	for _, d := range samples {
		if err := known.Add(d); err != nil {
			f.Fatal(err)
		}
	}
	pseudonym := regexp.MustCompile(`^((ble|radio)-[0-9a-z]+)?$`)
	f.Fuzz(func(t *testing.T, b []byte) {
		play := func() string {
			var events []stamped
			var ends []ended
			sh := newShard([]byte("k"))
			sh.out, sh.ends, sh.verbose, sh.keyed, sh.dialects = &events, &ends, true, true, func() *radio.Set { return known }
			place := flow.Place{Time: 1772517600e9}
			for in := b; len(in) > 3; {
				n := min(int(in[2]), len(in)-3)
				x := Frame{Frame: capture.Frame{Link: airLinks[int(in[0])%len(airLinks)], Flags: uint32(in[1]), Data: in[3 : 3+n : 3+n], OrigLen: n}}
				if i := int(in[1]) % (len(samples) + 1); i > 0 && x.Link == capture.LinkFrameLog {
					x.Dialect = samples[i-1].Name
				}
				in = in[3+n:]
				place.Packet++
				place.Time += 1e6
				x.Time, x.Packet = place.Time, place.Packet
				sh.left = packetEvents
				sh.heard(&x, place)
			}
			if sh.air != nil {
				sh.left = maxEvents
				sh.air.follower.Flush()
				sh.air.transmitters.sorted(sh.air.talked)
			}
			var said strings.Builder
			st := newStage(Config{Record: func(e *event.Event) error {
				for _, a := range [...]device.Address{e.Device, e.Peer} {
					if !pseudonym.MatchString(a.Value) {
						t.Fatalf("%v is called %q", e.Kind, a.Value)
					}
				}
				said.WriteString(says(e) + "\n")
				return nil
			}})
			for i := range events {
				if err := st.on(&events[i].e); err != nil {
					t.Fatal(err)
				}
			}
			return said.String() + kinds(st.result().Findings)
		}
		if one, two := play(), play(); one != two {
			t.Fatalf("the same frames said two things:\n%s\n%s", one, two)
		}
	})
}
