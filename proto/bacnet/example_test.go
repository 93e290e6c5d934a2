// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package bacnet_test

import (
	"fmt"

	"github.com/myelin-health/myelin/proto/bacnet"
	"github.com/myelin-health/myelin/wire"
)

const iAm = "\x81\x0b\x00\x14\x01\x00\x10\x00\xc4\x02\x00\x00\x01\x22\x05\xc4\x91\x03\x21\x05"

func ExamplePacket_Parse() {
	var p bacnet.Packet
	if err := p.Parse([]byte(iAm)); err != nil {
		fmt.Println(err)
	}
	fmt.Println(p.Function == bacnet.OriginalBroadcastNPDU, len(p.APDU))
	// Output: true 14
}

func ExampleAnnouncement_Parse() {
	var p bacnet.Packet
	var a bacnet.APDU
	var m bacnet.Announcement
	if p.Parse([]byte(iAm)) == nil && a.Parse(p.APDU) == nil && a.Type == bacnet.UnconfirmedRequest && a.Service == bacnet.IAm {
		err := m.Parse(a.Data)
		fmt.Println(m.Device.Instance(), bacnet.Vendor(m.VendorID), err)
	}
	// Output: 1 Johnson Controls <nil>
}

func ExampleReadProperties() {
	var a bacnet.APDU
	if err := a.Parse([]byte("\x30\x01\x0c\x0c\x02\x00\x00\x01\x19\x46\x3e\x75\x06\x00AHU-7\x3f")); err != nil {
		fmt.Println(err)
	}
	err := bacnet.ReadProperties(&a, func(p bacnet.Property) {
		fmt.Printf("%v %s\n", p.ID == bacnet.ModelName, p.Text)
	})
	fmt.Println(err)
	// Output:
	// true AHU-7
	// <nil>
}

func ExampleRecogniseDatagram() {
	fmt.Println(bacnet.RecogniseDatagram([]byte(iAm)) == wire.SureMatch)
	// Output: true
}
