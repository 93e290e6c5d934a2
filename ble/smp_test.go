// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/wire"
)

var (
	sixteen = strings.Repeat("0123456789abcdef", 2)
	four    = strings.Repeat(sixteen, 4)
)

// The layouts are those of Vol 3 Part H section 3.5 and 3.6.
var smpPDUs = []struct {
	name, hex string
	want      SMP
}{
	{"request", "01 04 00 2d 10 0b 0d", SMP{Code: PairingRequest, PairingFeatures: PairingFeatures{KeyboardDisplay, false, 0x2d, 16, 11, 13}}},
	{"response", "02 03 01 09 07 00 02", SMP{Code: PairingResponse, PairingFeatures: PairingFeatures{NoInputNoOutput, true, 9, 7, 0, 2}}},
	{"key size that is not allowed", "01 00 00 01 fd 00 00", SMP{Code: PairingRequest, PairingFeatures: PairingFeatures{AuthReq: 1, MaxKeySize: 253}}},
	{"confirm", "03" + sixteen, SMP{Code: PairingConfirm}},
	{"random", "04" + sixteen, SMP{Code: PairingRandom}},
	{"failed", "05 08", SMP{Code: PairingFailed, Reason: 8}},
	{"long-term key", "06" + sixteen, SMP{Code: EncryptionInformation}},
	{"central identification", "07 3412 0807060504030201", SMP{Code: CentralIdentification, EDIV: 0x1234, Rand: 0x0102030405060708}},
	{"identity key", "08" + sixteen, SMP{Code: IdentityInformation}},
	{"public address", "09 00 060504030201", SMP{Code: IdentityAddressInformation, Address: Address{[6]byte{1, 2, 3, 4, 5, 6}, Public}}},
	{"static address", "09 01 0605040302c1", SMP{Code: IdentityAddressInformation, Address: Address{[6]byte{0xc1, 2, 3, 4, 5, 6}, StaticRandom}}},
	{"signature key", "0a" + sixteen, SMP{Code: SigningInformation}},
	{"security request", "0b 0d", SMP{Code: SecurityRequest, PairingFeatures: PairingFeatures{AuthReq: 13}}},
	{"public key", "0c" + four, SMP{Code: PairingPublicKey}},
	{"DHKey check", "0d" + sixteen, SMP{Code: PairingDHKeyCheck}},
	{"keypress", "0e 02", SMP{Code: PairingKeypress, Keypress: 2}},
}

func TestSMP(t *testing.T) {
	for _, tt := range smpPDUs {
		b := unhex(t, tt.hex)
		if n := len(b) - 1; n >= 16 {
			tt.want.Value = b[1:]
		}
		checkForm(t, tt.name, b, tt.want, func(s *SMP) error { return s.Parse(b) }, func(s *SMP) []byte { again, _ := s.Append(nil); return again })
	}
}

func TestSMPRefuses(t *testing.T) {
	checkRefusals(t, []refusal{
		{"nothing", "", "Code", 0, wire.ErrTruncated},
		{"code 0", "00", "Code", 0, wire.ErrReserved},
		{"code 15", "0f 00", "Code", 0, wire.ErrReserved},
		{"request cut", "01 04 00 2d 10 0b", "Responder Key Distribution", 6, wire.ErrTruncated},
		{"request too long", "01 04 00 2d 10 0b 0d 00", "Data", 7, wire.ErrTrailing},
		{"IO capability 5", "01 05 00 2d 10 0b 0d", "IO Capability", 1, wire.ErrReserved},
		{"OOB data flag 2", "02 04 02 2d 10 0b 0d", "OOB data flag", 2, wire.ErrReserved},
		{"confirm cut", "03" + sixteen[2:], "Value", 1, wire.ErrTruncated},
		{"public key too long", "0c" + four + "00", "Data", 65, wire.ErrTrailing},
		{"address type 2", "09 02 060504030201", "AddrType", 1, wire.ErrReserved},
		{"address cut", "09 00 0605040302", "BD_ADDR", 2, wire.ErrTruncated},
	}, func(b []byte) error { return new(SMP).Parse(b) })
	for _, s := range []SMP{{}, {Code: PairingConfirm, Value: make([]byte, 15)}, {Code: PairingRequest, PairingFeatures: PairingFeatures{IOCapability: 5}}} {
		if b, err := s.Append([]byte("kept")); err == nil || string(b) != "kept" {
			t.Errorf("%v: %x, %v", s, b, err)
		}
	}
}

func FuzzSMP(f *testing.F) {
	for _, tt := range smpPDUs {
		f.Add(unhex(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again SMP
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

// What tables 2.6 to 2.8 say (Vol 3 Part H section 2.3.5.1), cell by cell: a
// line for each capability of the responder, the initiator's from left to
// right. J: Just Works, P: Passkey Entry, N: Numeric Comparison.
var ioTables = map[bool]string{
	false: "JJPJP JJPJP PPPJP JJJJJ PPPJP",
	true:  "JJPJP JNPJN PPPJP JJJJJ PNPJN",
}

func TestMethodOf(t *testing.T) {
	letters := map[Method]byte{JustWorks: 'J', PasskeyEntry: 'P', NumericComparison: 'N', OutOfBand: 'O'}
	all := []IOCapability{DisplayOnly, DisplayYesNo, KeyboardOnly, NoInputNoOutput, KeyboardDisplay}
	for sc, table := range ioTables {
		auth := uint8(AuthBonding)
		if sc {
			auth |= AuthSecureConnections
		}
		for i, line := range strings.Fields(table) {
			for j := range line {
				request := PairingFeatures{IOCapability: all[j], AuthReq: auth}
				response := PairingFeatures{IOCapability: all[i], AuthReq: auth}
				check := func(want byte) {
					t.Helper()
					if m, got := MethodOf(request, response); letters[m] != want || got != sc {
						t.Errorf("%+v %+v: %v, Secure Connections %v; want %c, %v", request, response, m, got, want, sc)
					}
				}
				check('J') // nobody asks for protection from somebody in the middle
				request.AuthReq |= AuthMITM
				check(line[j]) // one is enough
				response.AuthReq |= AuthMITM
				check(line[j])
				request.OOB = true
				if sc {
					check('O') // either has the data
				} else {
					check(line[j]) // both must have it
				}
				response.OOB = true
				check('O')
			}
		}
	}
	// Secure Connections is what both can.
	if m, sc := MethodOf(PairingFeatures{IOCapability: DisplayYesNo, AuthReq: AuthMITM | AuthSecureConnections}, PairingFeatures{IOCapability: DisplayYesNo, AuthReq: AuthMITM}); m != JustWorks || sc {
		t.Errorf("one side can Secure Connections: %v, %v", m, sc)
	}
	if m, _ := MethodOf(PairingFeatures{IOCapability: 5, AuthReq: AuthMITM}, PairingFeatures{}); m != NoMethod {
		t.Errorf("reserved capability: %v", m)
	}
}

func TestLevel(t *testing.T) {
	for _, tt := range []struct {
		s    Security
		want int
	}{
		{Security{}, 1},
		{Security{Method: PasskeyEntry, KeySize: 16}, 1}, // paired, not encrypted
		{Security{Encrypted: true, Stored: true}, 0},
		{Security{Encrypted: true, Method: JustWorks, KeySize: 16}, 2},
		{Security{Encrypted: true, Method: JustWorks, SecureConnections: true, KeySize: 16}, 2},
		{Security{Encrypted: true, Method: PasskeyEntry, KeySize: 16}, 3},
		{Security{Encrypted: true, Method: OutOfBand, KeySize: 16}, 3},
		{Security{Encrypted: true, Method: NumericComparison, SecureConnections: true, KeySize: 16}, 4},
		{Security{Encrypted: true, Method: PasskeyEntry, SecureConnections: true, KeySize: 15}, 3},
		{Security{Encrypted: true, Method: PasskeyEntry, SecureConnections: true}, 3}, // a key size that is not known is not 16
	} {
		if got := tt.s.Level(); got != tt.want {
			t.Errorf("%+v: level %d, want %d", tt.s, got, tt.want)
		}
	}
}
