// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package modbus_test

import (
	"fmt"

	"github.com/myelin-health/myelin/proto/modbus"
	"github.com/myelin-health/myelin/wire"
)

func ExampleParse() {
	a, n, err := modbus.Parse([]byte("\x15\x01\x00\x00\x00\x06\xff\x03\x00\x6b\x00\x03"))
	fmt.Println(a.Function == modbus.ReadHoldingRegisters, a.FitsRequest(), n, err)
	// Output: true true 12 <nil>
}

func ExampleDeviceID_Parse() {
	a, _, err := modbus.Parse([]byte("\x00\x01\x00\x00\x00\x14\x01\x2b\x0e\x01\x01\x00\x00\x01\x00\x0aAda Valves"))
	if err != nil || !a.IsDeviceID() {
		fmt.Println(err)
		return
	}
	var d modbus.DeviceID
	if err := d.Parse(a.Data); err != nil {
		fmt.Println(err)
	}
	for o := range d.Objects() {
		fmt.Printf("%d %s\n", o.ID, o.Value)
	}
	// Output: 0 Ada Valves
}

func ExampleRecognise() {
	fmt.Println(modbus.Recognise([]byte("\x15\x01\x00\x00\x00\x06\xff\x03\x00\x6b\x00\x03")) == wire.SureMatch)
	// Output: true
}
