// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gatt_test

import (
	"fmt"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/gatt"
)

func ExampleTracker() {
	var decoder gatt.Decoder
	tracker := gatt.NewTracker(&ble.Connection{}, new(gatt.Cache), func(a *gatt.Access) {
		var r gatt.Reading
		err := decoder.Decode(a, &r)
		fmt.Println(a.Op, a.Characteristic, a.Confidence, r.Operation, r.Command.Verb, r.Command.Value, err)
	})
	_ = tracker.PDU(ble.Central, []byte("\x08\x01\x00\xff\xff\x03\x28"), 0)                         // which characteristics?
	_ = tracker.PDU(ble.Peripheral, []byte("\x09\x07\x02\x00\x28\x03\x00\x25\x2b"), 0)              // IDD Command Control Point
	_ = tracker.PDU(ble.Central, []byte("\x12\x03\x00\x4b\x11\x00\x33\x28\xf0\x00\x00\x00\x00"), 0) // Set Bolus
	// Output:
	// discover 0x2B25 high    <nil>
	// write 0x2B25 high Set Bolus deliver-bolus 4.0 [iU] <nil>
}

func ExampleService() {
	u, _ := gatt.ParseUUID("181F")
	s, _ := gatt.Service(u)
	fmt.Println(s.Name, s.Level, s.Source)
	// Output: Continuous Glucose Monitoring 3 CGMS 1.0.2 table 3.1
}

func ExampleIDDControl_Append() {
	amount, _ := gatt.SFLOATOf(device.Quantity{Coefficient: 25})
	x := gatt.IDDControl{Op: gatt.IDDSetBolus, Bolus: gatt.Bolus{Type: gatt.BolusFast, Fast: amount}}
	fmt.Printf("%x\n", gatt.AppendE2E(x.Append(nil), 0, 1))
	// Output: 4b110033190000000000016303
}

func ExampleCGMControl_Parse() {
	var x gatt.CGMControl
	err := x.Parse([]byte{0x0d, 0x37, 0x00})
	fmt.Println(x.Op, x.Level.Quantity(device.NoUnit), err)
	// Output: Set Hypo Alert Level 55 <nil>
}
