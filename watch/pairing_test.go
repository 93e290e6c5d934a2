// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"testing"

	"github.com/myelin-health/myelin/ble"
)

func TestAskedFor(t *testing.T) {
	const everything = ble.AuthBonding | ble.AuthMITM | ble.AuthSecureConnections
	for _, tt := range []struct {
		p    ble.Pairing
		want string
	}{
		{ble.Pairing{}, ""},
		{ble.Pairing{Asked: true}, ""},
		{
			ble.Pairing{
				Request:  ble.PairingFeatures{AuthReq: everything, MaxKeySize: 16, IOCapability: ble.KeyboardDisplay},
				Response: ble.PairingFeatures{MaxKeySize: 16, IOCapability: ble.NoInputNoOutput},
			},
			"the phone or programmer asked for a bond, protection against a man in the middle and LE Secure Connections, can show and take a number; " +
				"the device asked for nothing more than a key, can neither show nor take a number",
		},
		{
			ble.Pairing{
				Asked:    true,
				Request:  ble.PairingFeatures{AuthReq: ble.AuthBonding, MaxKeySize: 16, IOCapability: ble.DisplayYesNo},
				Response: ble.PairingFeatures{AuthReq: ble.AuthMITM | ble.AuthSecureConnections, MaxKeySize: 7, IOCapability: ble.KeyboardOnly, OOB: true},
			},
			"the device asked to pair; the phone or programmer asked for a bond, can show a number and take a yes or no; " +
				"the device asked for protection against a man in the middle, LE Secure Connections and a key of at most 7 octets, can take a number but show none, has a secret that came another way",
		},
		{ // its answer was not heard; nobody can have that capability
			ble.Pairing{Request: ble.PairingFeatures{AuthReq: ble.AuthBonding | ble.AuthKeypress, MaxKeySize: 253, IOCapability: 77}},
			"the phone or programmer asked for a bond and a key of at most 253 octets",
		},
	} {
		if got := askedFor(&tt.p); got != tt.want {
			t.Errorf("%+v:\n%s\nwant\n%s", tt.p, got, tt.want)
		}
	}
}
