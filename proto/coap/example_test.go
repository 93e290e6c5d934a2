// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap_test

import (
	"fmt"

	"github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/wire"
)

func ExampleMessage_Parse() {
	var m coap.Message
	if err := m.Parse([]byte("\x41\x01\x7d\x35\x20\xb3icd\x09telemetry")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v %s token %x\n", m.Code, m.Options.AppendPath(nil), m.Token)
	// Output: 0.01 /icd/telemetry token 20
}

func ExampleMessage_Append() {
	m := coap.Message{Type: coap.Confirmable, Code: coap.GET, ID: 0x7d34}
	m.Options = coap.AppendOption(m.Options, 0, coap.Option{Number: coap.URIPath, Value: []byte("icd")})
	b, err := m.Append(nil)
	fmt.Printf("%x %v\n", b, err)
	// Output: 40017d34b3696364 <nil>
}

func ExampleMessage_ParseTCP() {
	stream := []byte("\x01\x43\x7f\x00") // one message, and half of the next
	var m coap.Message
	n, err := m.ParseTCP(stream)
	fmt.Println(n, m.Code, err)
	_, err = m.ParseTCP(stream[n:])
	fmt.Println(err)
	// Output:
	// 3 2.03 <nil>
	// coap: Code at byte 1: truncated
}

func ExampleMessage_AppendTCP() {
	m := coap.Message{Code: coap.CSM}
	b, err := m.AppendTCP(nil)
	fmt.Printf("%x %v\n", b, err)
	// Output: 00e1 <nil>
}

func ExampleOptions_All() {
	var m coap.Message
	_ = m.Parse([]byte("\x40\x01\x7d\x35\xb3icd\x11\x2a"))
	for o := range m.Options.All() {
		v, _ := o.Uint()
		fmt.Println(o.Number, o.Number.Critical(), len(o.Value), v)
	}
	// Output:
	// 11 true 3 6906724
	// 12 false 1 42
}

func ExampleOSCORE_Parse() {
	var o coap.OSCORE
	err := o.Parse([]byte{0x09, 0x05, 0x25})
	fmt.Printf("%x %x %v\n", o.PartialIV, o.KID, err)
	// Output: 05 25 <nil>
}

func ExampleParseBlock() {
	b, err := coap.ParseBlock([]byte{0x1a})
	fmt.Println(b.Num, b.More, b.Size(), err)
	// Output: 1 true 64 <nil>
}

func ExampleRecogniseDatagram() {
	fmt.Println(coap.RecogniseDatagram([]byte("\x40\x01\x7d\x34\xb3icd")) == wire.SureMatch)
	// Output: true
}
