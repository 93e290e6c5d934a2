// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package snmp_test

import (
	"fmt"

	"github.com/myelin-health/myelin/proto/snmp"
	"github.com/myelin-health/myelin/wire"
)

// An answer to "what is your name?", in version 2c.
const answer = "\x30\x2b\x02\x01\x01\x04\x06public\xa2\x1e\x02\x01\x07\x02\x01\x00\x02\x01\x00" +
	"\x30\x13\x30\x11\x06\x08\x2b\x06\x01\x02\x01\x01\x05\x00\x04\x05gw-ic"

func ExampleMessage_Parse() {
	var m snmp.Message
	if err := m.Parse([]byte(answer)); err != nil {
		fmt.Println(err)
		return
	}
	for b := range m.PDU.Bindings() {
		fmt.Println(m.Version, string(b.Name) == snmp.SysName, len(b.Value))
	}
	// Output: 2c true 5
}

func ExampleDescribe() {
	d := snmp.Describe([]byte("Linux gw-icu 4.4.0-31-generic #50 SMP x86_64"))
	fmt.Printf("%s %s\n", d.OS, d.Version)
	// Output: Linux 4.4.0-31-generic
}

func ExampleOID_Enterprise() {
	n, ok := snmp.OID("\x2b\x06\x01\x04\x01\x09\x01\x01").Enterprise()
	fmt.Println(n, ok, snmp.Maker(n))
	// Output: 9 true Cisco
}

func ExampleRecogniseDatagram() {
	fmt.Println(snmp.RecogniseDatagram([]byte(answer)) == wire.SureMatch)
	// Output: true
}
