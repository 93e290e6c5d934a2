// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"fmt"

	"github.com/myelin-health/myelin/proto/mqtt"
	"github.com/myelin-health/myelin/wire"
)

func ExampleParseHeader() {
	h, n, err := mqtt.ParseHeader([]byte("\x32\x0c\x00\x05icu/3\x00\x01{}"))
	fmt.Println(h.Type == mqtt.PUBLISH, h.QoS(), h.Length, n, err)
	// Output: true 1 12 2 <nil>
}

func ExampleConnect_Parse() {
	var m mqtt.Connect
	err := m.Parse([]byte("\x00\x04MQTT\x04\x02\x00\x3c\x00\x06gw-icu"))
	fmt.Println(m.Version, m.CleanStart, m.KeepAlive, m.HasPassword, err)
	// Output: 3.1.1 true 60 false <nil>
}

func ExamplePublish_Parse() {
	body := []byte("\x00\x05icu/3\x00\x01{}")
	var m mqtt.Publish
	err := m.Parse(mqtt.Header{Type: mqtt.PUBLISH, Flags: 2, Length: len(body)}, body, mqtt.V311)
	fmt.Println(len(m.Topic), m.PacketID, len(m.Payload), err)
	// Output: 5 1 2 <nil>
}

func ExampleSubscribe_Filters() {
	var m mqtt.Subscribe
	if err := m.Parse(mqtt.Header{Type: mqtt.SUBSCRIBE}, []byte("\x00\x01\x00\x05icu/#\x01"), mqtt.V311); err != nil {
		fmt.Println(err)
	}
	for f := range m.Filters() {
		fmt.Printf("%s %d\n", f.Topic, f.Options)
	}
	// Output: icu/# 1
}

func ExampleRecognise() {
	fmt.Println(mqtt.Recognise([]byte("\x10\x11\x00\x04MQTT\x04")) == wire.SureMatch)
	// Output: true
}
