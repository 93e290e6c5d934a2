// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package therapy_test

import (
	"fmt"
	"log"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/therapy"
)

// What a programmer posts to /therapy, and how a person reads it.
func ExampleText() {
	dose, err := device.ParseQuantity("2.5 U")
	if err != nil {
		log.Fatal(err)
	}
	content := (&therapy.Request{Verb: device.DeliverBolus, Value: dose}).Append(nil)
	text, err := therapy.Text(content)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%x\n%s", content, text)
	// Output:
	// a201010283181920645b69555d
	// verb: deliver-bolus
	// value: 2.5 [iU]
}
