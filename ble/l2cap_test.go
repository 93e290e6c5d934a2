// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/wire"
)

// The layouts are those of Vol 3 Part A section 4.
var signals = []struct {
	name, hex string
	want      Signal
}{
	{"reject", "01 07 0400 0200 4000", Signal{Code: CommandReject, Identifier: 7, Result: 2, Data: []byte{0x40, 0}}},
	{"disconnect", "06 02 0400 4100 4000", Signal{Code: DisconnectionRequest, Identifier: 2, CIDs: [5]uint16{0x41, 0x40}, NumCIDs: 2}},
	{"disconnected", "07 02 0400 4100 4000", Signal{Code: DisconnectionResponse, Identifier: 2, CIDs: [5]uint16{0x41, 0x40}, NumCIDs: 2}},
	{"parameters", "12 01 0800 0600 0c00 0000 f401", Signal{Code: ConnectionParameterUpdateRequest, Identifier: 1, Data: []byte{6, 0, 12, 0, 0, 0, 0xf4, 1}}},
	{"parameters refused", "13 01 0200 0100", Signal{Code: ConnectionParameterUpdateResponse, Identifier: 1, Result: 1}},
	{"connect", "14 03 0a00 8000 4000 f700 5000 0a00", Signal{Code: LECreditBasedConnectionRequest, Identifier: 3, SPSM: 0x80, CIDs: [5]uint16{0x40}, NumCIDs: 1, MTU: 247, MPS: 80, Credits: 10}},
	{"connected", "15 03 0a00 4100 f700 5000 0a00 0000", Signal{Code: LECreditBasedConnectionResponse, Identifier: 3, CIDs: [5]uint16{0x41}, NumCIDs: 1, MTU: 247, MPS: 80, Credits: 10}},
	{"credit", "16 04 0400 4100 0500", Signal{Code: FlowControlCredit, Identifier: 4, CIDs: [5]uint16{0x41}, NumCIDs: 1, Credits: 5}},
	{"enhanced connect", "17 05 0c00 2700 f700 5000 0a00 4000 4100", Signal{Code: CreditBasedConnectionRequest, Identifier: 5, SPSM: SPSMEATT, MTU: 247, MPS: 80, Credits: 10, CIDs: [5]uint16{0x40, 0x41}, NumCIDs: 2}},
	{"enhanced connected", "18 05 0c00 f700 5000 0a00 0000 5000 0000", Signal{Code: CreditBasedConnectionResponse, Identifier: 5, MTU: 247, MPS: 80, Credits: 10, CIDs: [5]uint16{0x50, 0}, NumCIDs: 2}},
	{"reconfigure", "19 06 0600 ff00 6000 4000", Signal{Code: CreditBasedReconfigureRequest, Identifier: 6, MTU: 255, MPS: 96, CIDs: [5]uint16{0x40}, NumCIDs: 1}},
	{"reconfigured", "1a 06 0200 0000", Signal{Code: CreditBasedReconfigureResponse, Identifier: 6}},
}

func TestSignal(t *testing.T) {
	for _, tt := range signals {
		b := unhex(t, tt.hex)
		checkForm(t, tt.name, b, tt.want, func(s *Signal) error { return s.Parse(b) }, func(s *Signal) []byte { again, _ := s.Append(nil); return again })
	}
}

func TestSignalRefuses(t *testing.T) {
	checkRefusals(t, []refusal{
		{"nothing", "", "Code", 0, wire.ErrTruncated},
		{"identifier 0", "12 00 0800 0600 0c00 0000 f401", "Identifier", 1, wire.ErrInvalid},
		{"code 2, which is of BR/EDR", "02 01 0400 0100 4000", "Code", 0, wire.ErrReserved},
		{"longer than the PDU", "13 01 0300 0100", "Data", 4, wire.ErrTruncated},
		{"shorter than the PDU", "13 01 0200 0100 00", "Data Length", 2, wire.ErrTrailing},
		{"parameters too long", "12 01 0900 0600 0c00 0000 f401 00", "Data", 12, wire.ErrTrailing},
		{"six channels", "17 05 1400 2700 f700 5000 0a00 4000 4100 4200 4300 4400 4500", "CID", 12, wire.ErrTooLong},
		{"half a channel", "19 06 0500 ff00 6000 40", "CID", 8, wire.ErrTruncated},
	}, func(b []byte) error { return new(Signal).Parse(b) })
	for _, s := range []Signal{{}, {Code: FlowControlCredit, Identifier: 1}, {Code: DisconnectionRequest, NumCIDs: 2}} {
		if b, err := s.Append([]byte("kept")); err == nil || string(b) != "kept" {
			t.Errorf("%v: %x, %v", s, b, err)
		}
	}
}

func FuzzL2CAP(f *testing.F) {
	for _, tt := range signals {
		f.Add(unhex(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Signal
		err := s.Parse(b)
		if err2 := again.Parse(b); (err == nil) != (err2 == nil) || !cmp.Equal(s, again) {
			t.Fatal("twice the same input, two results")
		}
		if err == nil {
			if out, err := s.Append(nil); err != nil || !bytes.Equal(out, b) {
				t.Fatalf("%x came back as %x, %v", b, out, err)
			}
		}
	})
}
