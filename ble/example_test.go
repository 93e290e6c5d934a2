// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble_test

import (
	"fmt"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/wire"
)

// A watcher says how well each PDU of ATT is protected.
type watcher struct{}

func (watcher) Advertised(a *ble.Advertisement) { fmt.Println("advertising with a", a.Advertiser) }

func (watcher) Connected(c *ble.Connection)                        { fmt.Println("connected to a", c.Peripheral) }
func (watcher) Pairing(c *ble.Connection, p *ble.Pairing)          {}
func (watcher) Secured(c *ble.Connection)                          { fmt.Println("encrypted, stored key:", c.Security.Stored) }
func (watcher) Odd(c *ble.Connection, o ble.Oddity)                { fmt.Println(o) }
func (watcher) Malformed(c *ble.Connection, _ ble.Side, err error) { fmt.Println(err) }
func (watcher) Disconnected(c *ble.Connection)                     { fmt.Println("disconnected") }

func (watcher) SDU(c *ble.Connection, _ ble.Side, spsm uint16, sdu []byte) {
	fmt.Printf("%d bytes by a channel for %#x\n", len(sdu), spsm)
}

func (watcher) ATT(c *ble.Connection, from ble.Side, pdu []byte) {
	var a ble.ATT
	if err := a.Parse(pdu); err == nil {
		fmt.Printf("handle %d, level %d\n", a.Handle, c.Security.Level())
	}
}

func ExampleFollower() {
	f := ble.NewFollower(watcher{})
	var p ble.Packet
	for _, frame := range []string{ // of a phone's log, HCI H4
		"\x04\x3e\x13\x01\x00\x40\x00\x00\x01\x15\x14\x13\x12\x11\xc4\x24\x00\x00\x00\xf4\x01\x00", // LE Connection Complete
		"\x02\x40\x20\x08\x00\x04\x00\x04\x00\x1b\x09\x00\x55",                                     // Handle Value Notification
		"\x04\x08\x04\x00\x40\x00\x01",                                                             // Encryption Change
		"\x02\x40\x20\x08\x00\x04\x00\x04\x00\x1b\x09\x00\x55",
	} {
		p.Decode(wire.LinkBluetoothHCIH4, 1, []byte(frame))
		f.Packet(0, &p, 0)
	}
	f.Flush()
	// Output:
	// connected to a static random address
	// handle 9, level 1
	// encrypted, stored key: true
	// handle 9, level 0
	// disconnected
}

func ExampleMethodOf() {
	phone := ble.PairingFeatures{IOCapability: ble.KeyboardDisplay, AuthReq: ble.AuthBonding | ble.AuthMITM | ble.AuthSecureConnections, MaxKeySize: 16}
	pump := ble.PairingFeatures{IOCapability: ble.DisplayYesNo, AuthReq: ble.AuthBonding | ble.AuthMITM | ble.AuthSecureConnections, MaxKeySize: 16}
	fmt.Println(ble.MethodOf(phone, pump))
	pump.AuthReq &^= ble.AuthSecureConnections
	fmt.Println(ble.MethodOf(phone, pump))
	pump.IOCapability = ble.NoInputNoOutput
	fmt.Println(ble.MethodOf(phone, pump))
	// Output:
	// Numeric Comparison true
	// Passkey Entry false
	// Just Works false
}

func ExampleATT_Attributes() {
	// Read By Group Type Response: the services Generic Access and Insulin Delivery.
	var a ble.ATT
	err := a.Parse([]byte("\x11\x06\x01\x00\x09\x00\x00\x18\x0a\x00\x20\x00\x3a\x18"))
	for s := range a.Attributes() {
		fmt.Printf("%d to %d: %x\n", s.Handle, s.End, s.Value)
	}
	fmt.Println(err)
	// Output:
	// 1 to 9: 0018
	// 10 to 32: 3a18
	// <nil>
}

func ExampleEvent_Append() {
	// A frame of HCI H4: the packet indicator and the event.
	e := ble.Event{Code: ble.EventEncryptionChange, Handle: 0x40, Enabled: 1}
	fmt.Printf("%x\n", e.Append([]byte{ble.H4Event}))
	// Output: 04080400400001
}
