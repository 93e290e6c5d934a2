// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio_test

import (
	"fmt"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/radio"
)

func ExampleLoad() {
	_, err := radio.Load("my-pump.yaml", []byte("dialect: 1\nname: my-pump\ndevice: {therapy: insulin}\n"))
	fmt.Println(err)
	// Output: my-pump.yaml:3:19: unknown therapy "insulin"; it is one of pacing, defibrillation, insulin infusion, drug infusion, intrathecal infusion, neurostimulation, ventilation, circulatory support, anaesthesia, dialysis, radiotherapy, imaging, laboratory, monitoring, records, hearing
}

func ExampleSet_Identify() {
	var set radio.Set
	for _, d := range radio.Samples() {
		if err := set.Add(d); err != nil {
			fmt.Println(err)
			return
		}
	}
	frame := []byte("\xaa\x2d\xd4\x48\x0b\x78\x56\x34\x12\x02\x01\x5a\xa5\x07\x30\x00\xf7\x6c")
	var m radio.Message
	confidence := set.Identify(frame, &m)
	fmt.Println(m.Dialect.Name, confidence, m.Opcode.Name)
	fmt.Println(m.Command.Verb, m.Command.Value, device.EffectOf(&m.Command), m.Command.Therapy.Harm())
	// Output:
	// halden-mics high therapies
	// set-therapies 0 1 interrupts catastrophic
}

func ExampleDialect_Append() {
	for _, d := range radio.Samples() {
		if d.Name != "okapi-classic" {
			continue
		}
		m, err := d.Message("bolus")
		if err != nil {
			fmt.Println(err)
			return
		}
		q, err := device.ParseQuantity("4 U")
		if err == nil {
			err = m.Set("serial", 0x123456)
		}
		if err == nil {
			err = m.SetQuantity("amount", q)
		}
		fmt.Printf("%x %v\n", d.Append(nil, m), err)
	}
	// Output: ff0fc39c1234564200a079 <nil>
}
