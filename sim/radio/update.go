// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/proto/gatt"
)

// Nordic's service for firmware updates, as its libraries have it: the program
// has a characteristic that starts the boot loader, and the boot loader two
// that take the image.
var (
	svcUpdate     = gatt.UUID16(0xfe59)
	chrDFUControl = uuid("8EC90001-F315-4F60-9FB8-838830DAEA50")
	chrDFUPacket  = uuid("8EC90002-F315-4F60-9FB8-838830DAEA50")
	chrDFUOpen    = uuid("8EC90003-F315-4F60-9FB8-838830DAEA50") // anybody starts it
	chrDFUBonded  = uuid("8EC90004-F315-4F60-9FB8-838830DAEA50") // who is bonded does, and it keeps the bond
)

// The opcodes of the control point, and what is made in the device: the init
// packet, with the signature, or a piece of the image.
const (
	dfuCreate, dfuChecksum, dfuExecute, dfuSelect = 1, 3, 4, 6
	dfuResponse, dfuSuccess                       = 0x60, 1
	dfuInit, dfuImage                             = 1, 2
	dfuObject                                     = 1024 // octets, at most

	bootloaderStarts, buttonlessResponse = 1, 0x20
	propertyWriteCommand                 = 0x04
)

// updatable adds the service to a pump, and returns the characteristic by which
// its boot loader is started.
func (p *pump) updatable() gatt.UUID {
	start, level := chrDFUOpen, 0
	if p.s.form == Protected {
		start, level = chrDFUBonded, 3
	}
	p.server.service(svcUpdate)
	p.server.characteristic(start, propertyWrite|propertyIndicate, level, nil, func(l *link, b []byte) uint8 {
		l.later(func() { l.indicate(start, []byte{buttonlessResponse, b[0], dfuSuccess}) })
		return 0
	})
	p.server.close()
	return start
}

// bootloader makes the boot loader of a device. In its legacy form it is nobody's, at an
// address that is one higher; in the other it is the device's, with its bonds.
func (s *scene) bootloader(p *party) *party {
	boot := &party{identity: bootAddress, name: "DfuTarg", service: svcUpdate}
	level := 0
	if s.form == Protected {
		boot.identity, boot.irk, boot.private, level = p.identity, p.irk, p.private, 3
	}
	var got, object uint32
	sum := crc32.NewIEEE()
	v := &server{}
	v.service(svcGAP)
	v.characteristic(chrName, propertyRead, 0, []byte(boot.name), nil)
	v.service(svcGATT)
	v.characteristic(chrServiceChanged, propertyIndicate, 0, nil, nil)
	v.service(svcUpdate)
	v.characteristic(chrDFUPacket, propertyWriteCommand, level, nil, func(_ *link, b []byte) uint8 {
		got += uint32(len(b))
		sum.Write(b)
		return 0
	})
	v.characteristic(chrDFUControl, propertyWrite|propertyNotify, level, nil, func(l *link, b []byte) uint8 {
		le := binary.LittleEndian
		r := []byte{dfuResponse, b[0], dfuSuccess}
		switch b[0] {
		case dfuSelect:
			got, object = 0, dfuObject
			sum.Reset()
			r = le.AppendUint32(le.AppendUint32(le.AppendUint32(r, object), got), sum.Sum32())
		case dfuChecksum:
			r = le.AppendUint32(le.AppendUint32(r, got), sum.Sum32())
		}
		l.later(func() { l.notify(chrDFUControl, r) })
		return 0
	})
	boot.server = v.close()
	return boot
}

// send gives the boot loader one object.
func (l *link) send(kind byte, object []byte) {
	control := func(b ...byte) { l.write(chrDFUControl, b) }
	control(dfuSelect, kind)
	control(binary.LittleEndian.AppendUint32([]byte{dfuCreate, kind}, uint32(len(object)))...)
	v := l.party[ble.Peripheral].server
	packet := v.at(v.handleOf(chrDFUPacket))
	for len(object) > 0 {
		n := min(len(object), l.mtu-3)
		l.att(ble.Central, ble.ATT{Opcode: ble.WriteCommand, Handle: packet.handle, Value: object[:n]})
		packet.write(l, object[:n])
		object = object[n:]
	}
	control(dfuChecksum)
	control(dfuExecute)
}

// update is the phone bringing the pump a new program.
func (s *scene) update() {
	phone, p := s.benPhone(), s.pump()
	start := p.updatable()
	var l *link
	if s.form == Protected {
		s.bonded(phone, p.party)
		l = s.reconnect(phone, p.party)
		l.getToKnow()
	} else {
		l = s.clear(phone, p)
	}
	l.subscribe(byIndication, start)
	l.write(start, []byte{bootloaderStarts})
	l.disconnect()

	s.after(2 * time.Second)
	boot := s.bootloader(p.party)
	if s.form == Protected {
		boot.keep(phone, p.bonds[phone])
		phone.keep(boot, p.bonds[phone])
	}
	l = s.again(phone, boot)
	l.discover()
	l.subscribe(byNotification, chrDFUControl)
	l.send(dfuInit, s.random(140))
	for range 3 {
		l.send(dfuImage, s.random(dfuObject))
	}
	l.disconnect()
}
