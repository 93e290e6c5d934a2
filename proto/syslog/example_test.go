// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package syslog_test

import (
	"fmt"

	"github.com/myelin-health/myelin/proto/syslog"
	"github.com/myelin-health/myelin/wire"
)

func ExampleMessage_Parse() {
	var m syslog.Message
	err := m.Parse([]byte("<30>1 2026-03-03T07:09:00+01:00 gw-icu flowlink - - - link up"))
	fmt.Printf("%d.%d %s %d bytes %v\n", m.Facility, m.Severity, m.Hostname, len(m.Content), err)
	// Output: 3.6 gw-icu 7 bytes <nil>
}

func ExampleParseFrame() {
	message, n, err := syslog.ParseFrame([]byte("9 <30>start11 <30>stopped"))
	fmt.Printf("%s %d %v\n", message, n, err)
	// Output: <30>start 11 <nil>
}

func ExampleRecognise() {
	fmt.Println(syslog.Recognise([]byte("61 <30>1 2026-03-03T07:09:00+01:00 gw-icu")) == wire.SureMatch)
	// Output: true
}
