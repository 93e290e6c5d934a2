// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/ble"
)

// numbers says how a device can show and take numbers, by IO capability.
var numbers = [...]string{
	ble.DisplayOnly:     "can show a number but take none",
	ble.DisplayYesNo:    "can show a number and take a yes or no",
	ble.KeyboardOnly:    "can take a number but show none",
	ble.NoInputNoOutput: "can neither show nor take a number",
	ble.KeyboardDisplay: "can show and take a number",
}

// fullKey is the size of a key that nobody asked to be shorter, in octets.
const fullKey = 16

// askedFor says what each side of a pairing asked for, and what it can do for
// it. What was not heard is left out.
func askedFor(p *ble.Pairing) string {
	var sides []string
	for _, side := range [...]struct {
		who string
		ble.PairingFeatures
	}{{"the phone or programmer", p.Request}, {"the device", p.Response}} {
		if side.PairingFeatures != (ble.PairingFeatures{}) {
			sides = append(sides, side.who+" "+wants(&side.PairingFeatures))
		}
	}
	if p.Asked && len(sides) > 0 {
		sides[0] = "the device asked to pair; " + sides[0]
	}
	return strings.Join(sides, "; ")
}

// wants is what one side says of itself in a pairing.
func wants(f *ble.PairingFeatures) string {
	var asked []string
	for _, x := range [...]struct {
		bit  uint8
		what string
	}{{ble.AuthBonding, "a bond"}, {ble.AuthMITM, "protection against a man in the middle"}, {ble.AuthSecureConnections, "LE Secure Connections"}} {
		if f.AuthReq&x.bit != 0 {
			asked = append(asked, x.what)
		}
	}
	if f.MaxKeySize != fullKey {
		asked = append(asked, "a key of at most "+strconv.Itoa(int(f.MaxKeySize))+" octets")
	}
	out := "asked for nothing more than a key"
	if n := len(asked) - 1; n > 0 {
		out = "asked for " + strings.Join(asked[:n], ", ") + " and " + asked[n]
	} else if n == 0 {
		out = "asked for " + asked[0]
	}
	if int(f.IOCapability) < len(numbers) {
		out += ", " + numbers[f.IOCapability]
	}
	if f.OOB {
		out += ", has a secret that came another way"
	}
	return out
}
