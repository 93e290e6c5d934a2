// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"slices"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/proto/gatt"
)

// A phone writes the log of its Bluetooth controller, as Android does: btsnoop of
// HCI. It has a pump, a glucose sensor and a pulse strap, and goes through a town.
type phone struct {
	w       *capture.Writer
	now     int64 // nanoseconds since 1970
	size    int64 // bytes written
	records uint64
	err     error
	pdu     []byte
	frame   []byte
	passers uint32 // advertisers that passed by
	minutes uint16 // of the sensor's session
}

// firstDay is the sample ward's.
const firstDay = int64(1772517600e9)

// generateRadio writes a log of about size bytes.
func generateRadio(file string, size int64) (records uint64, err error) {
	out, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buffered := bufio.NewWriterSize(out, 1<<20)
	defer func() { err = errors.Join(err, buffered.Flush()) }() // before Close: deferred later
	p := &phone{now: firstDay}
	if p.w, err = capture.NewBTSnoopWriter(buffered); err != nil {
		return 0, err
	}
	p.event(ble.Event{Code: ble.EventCommandComplete, Opcode: ble.CommandReadBDADDR, Data: []byte{1, 0x53, 0, 0x5e, 0, 0}})
	for day := 0; p.size < size && p.err == nil; day++ {
		for i := range worn {
			p.connect(i, day == 0)
			for range 400 {
				if p.size >= size {
					break
				}
				p.minute(i)
			}
			p.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: handleOf(i), Reason: 0x13})
		}
	}
	return p.records, p.err
}

// log writes one record. flags: bit 0 received, bit 1 command or event.
func (p *phone) log(flags uint32, b []byte) {
	const header = 24 // of a record
	p.now += 900_000
	p.size += header + int64(len(b))
	p.err = errors.Join(p.err, p.w.WriteFrame(&capture.Frame{Time: p.now, Data: b, Flags: flags, Link: capture.LinkBluetoothHCIH4}))
	p.records++
}

func (p *phone) event(e ble.Event) { p.log(3, e.Append([]byte{ble.H4Event})) }

// A wearable is one of the phone's devices.
type wearable struct {
	address         ble.Address
	service         gatt.UUID
	characteristics []gatt.UUID // from the handle valueHandle on, three apart
}

const (
	serviceHandle = 0x20
	valueHandle   = 0x22
)

var worn = [...]wearable{
	{ble.Address{Bytes: [6]byte{0xc0, 0, 0x5e, 0, 0x53, 1}, Kind: ble.StaticRandom}, gatt.UUID16(0x183a), []gatt.UUID{gatt.UUID16(0x2b21), gatt.UUID16(0x2b25)}},
	{ble.Address{Bytes: [6]byte{0xc0, 0, 0x5e, 0, 0x53, 2}, Kind: ble.StaticRandom}, gatt.UUID16(0x181f), []gatt.UUID{gatt.UUID16(0x2aa7)}},
	{ble.Address{Bytes: [6]byte{0xc0, 0, 0x5e, 0, 0x53, 3}, Kind: ble.StaticRandom}, gatt.UUID16(0x180d), []gatt.UUID{gatt.UUID16(0x2a37)}},
}

func handleOf(i int) uint16 { return uint16(0x40 + i) }

// send sends a PDU to a device, or from it, and the controller counts it.
func (p *phone) send(i int, received bool, channel uint16, pdu ...byte) {
	flags := uint32(0)
	if received {
		flags = 1
	}
	p.pdu = ble.AppendL2CAP(p.pdu[:0], channel, pdu)
	p.frame = ble.AppendACL(append(p.frame[:0], ble.H4ACL), handleOf(i), true, received, p.pdu)
	p.log(flags, p.frame)
	if !received {
		p.log(3, []byte{ble.H4Event, 0x13, 5, 1, byte(handleOf(i)), 0, 1, 0})
	}
}

func (p *phone) asks(i int, pdu ...byte)    { p.send(i, false, ble.CIDATT, pdu...) }
func (p *phone) answers(i int, pdu ...byte) { p.send(i, true, ble.CIDATT, pdu...) }

// connect connects a device: the first time with pairing and discovery, then
// with the key of the bond.
func (p *phone) connect(i int, first bool) {
	d := &worn[i]
	p.event(ble.Event{Code: ble.EventLEConnectionComplete, Handle: handleOf(i), Local: ble.Central, Peer: d.address, Interval: 24, Timeout: 500})
	key := ble.Command{Opcode: ble.CommandLEEnableEncryption, Handle: handleOf(i), Rand: uint64(i + 1), EDIV: 7, Key: slices.Repeat([]byte{byte(i + 1)}, 16)}
	if first {
		p.pair(i)
		key.Rand, key.EDIV = 0, 0
	}
	p.log(2, key.Append([]byte{ble.H4Command}))
	p.event(ble.Event{Code: ble.EventEncryptionChange, Handle: handleOf(i), Enabled: 1})
	if !first {
		return
	}
	le := binary.LittleEndian
	last := byte(valueHandle + 3*len(d.characteristics))
	p.asks(i, 0x10, 1, 0, 0xff, 0xff, 0, 0x28)
	p.answers(i, d.service.AppendLE([]byte{0x11, 6, serviceHandle, 0, last, 0})...)
	for n, u := range d.characteristics {
		h := uint16(valueHandle + 3*n)
		p.asks(i, 0x08, byte(h-1), 0, last, 0, 3, 0x28)
		p.answers(i, u.AppendLE(le.AppendUint16(append(le.AppendUint16([]byte{0x09, 7}, h-1), 0x3a), h))...)
		p.asks(i, 0x04, byte(h+1), 0, byte(h+1), 0)
		p.answers(i, 0x05, 1, byte(h+1), 0, 2, 0x29)
		p.asks(i, 0x12, byte(h+1), 0, 3, 0)
		p.answers(i, 0x13)
	}
}

// pair pairs by legacy passkey entry.
func (p *phone) pair(i int) {
	smp := func(received bool, s ble.SMP) {
		b, err := s.Append(nil)
		p.err = errors.Join(p.err, err)
		p.send(i, received, ble.CIDSMP, b...)
	}
	f := ble.PairingFeatures{IOCapability: ble.DisplayOnly, AuthReq: ble.AuthBonding | ble.AuthMITM, MaxKeySize: 16}
	smp(false, ble.SMP{Code: ble.PairingRequest, PairingFeatures: f})
	f.IOCapability = ble.KeyboardOnly
	smp(true, ble.SMP{Code: ble.PairingResponse, PairingFeatures: f})
	for n, code := range []ble.SMPCode{ble.PairingConfirm, ble.PairingConfirm, ble.PairingRandom, ble.PairingRandom} {
		smp(n%2 == 1, ble.SMP{Code: code, Value: slices.Repeat([]byte{byte(n + 4*i)}, 16)})
	}
}

// minute is what happens while a device is connected: what it sends, what is
// read and ordered, and who advertises meanwhile.
func (p *phone) minute(i int) {
	switch i {
	case 0:
		status := gatt.IDDStatus{TherapyState: 0x55, OperationalState: 0x55, Reservoir: 150}
		for range 3 {
			p.asks(i, 0x0a, valueHandle, 0)
			p.answers(i, status.Append([]byte{0x0b})...)
		}
		if p.minutes%30 == 0 { // a bolus is no daily event, so that the log has more of them than a day
			x := gatt.IDDControl{Op: gatt.IDDSetBolus, Bolus: gatt.Bolus{Type: gatt.BolusFast, Fast: 4}}
			p.asks(i, x.Append([]byte{0x12, valueHandle + 3, 0})...)
			p.answers(i, 0x13)
			x = gatt.IDDControl{Op: gatt.IDDSetBolusResponse, ID: p.minutes}
			p.answers(i, x.Append([]byte{0x1d, valueHandle + 3, 0})...)
			p.asks(i, 0x1e)
		}
	case 1:
		m := gatt.CGMMeasurement{Glucose: gatt.SFLOAT(100 + p.minutes%60), TimeOffset: p.minutes}
		p.answers(i, m.Append([]byte{0x1b, valueHandle, 0})...)
	default:
		for n := range 10 {
			m := gatt.HeartRate{Rate: uint16(70 + n)}
			p.answers(i, m.Append([]byte{0x1b, valueHandle, 0})...)
		}
	}
	p.minutes++
	for n := range 8 {
		ad := ble.Advertisement{Advertiser: ble.Address{Bytes: [6]byte{0x40, 1, 2, 3, 4, byte(n)}, Kind: ble.Resolvable}, Connectable: true, Scannable: true, RSSI: -60}
		if n == 0 { // somebody new comes by
			p.passers++
			binary.BigEndian.PutUint32(ad.Advertiser.Bytes[2:], p.passers)
		}
		ad.Data = ble.AppendAD(ble.AppendAD(nil, ble.ADFlags, []byte{6}), ble.ADManufacturerData, []byte{0x4c, 0, 0x10, 5, 0x1d, 0x1c, byte(n), 0x2f, 0xd7})
		p.log(3, ad.AppendReport([]byte{ble.H4Event}))
	}
}
