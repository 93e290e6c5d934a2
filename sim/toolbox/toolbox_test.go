// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package toolbox

import (
	"bytes"
	"crypto/ecdh"
	"testing"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/internal/vector"
)

var unhex = vector.Bytes

func equal(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if !bytes.Equal(got, unhex(t, want)) {
		t.Errorf("%s is %x, want %s", what, got, want)
	}
}

// TestSecurityManager holds the functions to the numbers of the Core
// Specification 5.4, Vol 3 Part H sections 2.2.3 and 2.2.4 (legacy) and
// appendix D (Secure Connections).
func TestSecurityManager(t *testing.T) {
	k := func(s string) Key { return Key(unhex(t, s)) }
	n := func(s string) [32]byte { return [32]byte(unhex(t, s)) }
	address := func(kind ble.AddressKind, s string) ble.Address {
		return ble.Address{Bytes: [6]byte(unhex(t, s)), Kind: kind}
	}

	r := k("5783D52156AD6F0E6388274EC6702EE0")
	initiator, responder := address(ble.StaticRandom, "A1A2A3A4A5A6"), address(ble.Public, "B1B2B3B4B5B6")
	got := C1(Key{}, r, Reversed(unhex(t, "07071000000101")), Reversed(unhex(t, "05000800000302")), initiator, responder)
	equal(t, "c1", got[:], "1e1e3fef878988ead2a74dc5bef13b86")
	got = S1(Key{}, k("000F0E0D0C0B0A091122334455667788"), k("010203040506070899AABBCCDDEEFF00"))
	equal(t, "s1", got[:], "9a1fe1f0e8b0f49b5b4216ae796da062")

	// D.1
	m := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for size, want := range map[int]string{
		0: "bb1d6929e95937287fa37d129b756746", 16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827", 64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		got := k("2b7e151628aed2a6abf7158809cf4f3c").cmac(m[:size])
		equal(t, "AES-CMAC", got[:], want)
	}

	u, v := n("20b003d2f297be2c5e2c83a7e9f9a5b9eff49111acf4fddbcc0301480e359de6"), n("55188b3d32f6bb9a900afcfbeed4e72a59cb9ac2f19d7cfb6b4fdd49f47fc5fd")
	n1, n2 := k("d5cb8454d177733effffb2ec712baeab"), k("a6e8e7cc25a75f6e216583f7ff3dc4cf")
	dhKey := n("ec0234a357c8ad05341010a60a397d9b99796b13b4f866f1868d34f373bfa698")
	a1, a2 := address(ble.Public, "56123737bfce"), address(ble.Public, "a713702dcfc1")
	got = F4(u, v, n1, 0)
	equal(t, "f4", got[:], "f2c916f107a9bd1cf1eda1bea974872d")
	mac, ltk := F5(dhKey, n1, n2, a1, a2)
	equal(t, "f5, LTK", ltk[:], "6986791169d7cd23980522b594750a38")
	equal(t, "f5, MacKey", mac[:], "2965f176a1084a02fd3f6a20ce636e20")
	got = F6(mac, n1, n2, k("12a3343bb453bb5408da42d20c2d0fc8"), ble.PairingFeatures{AuthReq: 1, OOB: true, IOCapability: 2}, a1, a2)
	equal(t, "f6", got[:], "e3c473989cd0e8c5d26c0b09da958f61")
	hash := k("ec0234a357c8ad05341010a60a397d9b").Ah([3]byte{0x70, 0x81, 0x94})
	equal(t, "ah", hash[:], "0dfbaa")
}

// TestAgreement holds the agreement on a key to Vol 2 Part G section 7.1.2.1.
func TestAgreement(t *testing.T) {
	private, err := ecdh.P256().NewPrivateKey(unhex(t, "3f49f6d4a3c55f3874c9b3e3d2103f504aff607beb40b7995899b8a6cd3c1abd"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "public key", private.PublicKey().Bytes()[1:], "20b003d2f297be2c5e2c83a7e9f9a5b9eff49111acf4fddbcc0301480e359de6"+
		"dc809c49652aeb6d63329abf5a52155c766345c28fed3024741c8ed01589d28b")
	other, err := ecdh.P256().NewPrivateKey(unhex(t, "55188b3d32f6bb9a900afcfbeed4e72a59cb9ac2f19d7cfb6b4fdd49f47fc5fd"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := private.ECDH(other.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "DHKey", secret, "ec0234a357c8ad05341010a60a397d9b99796b13b4f866f1868d34f373bfa698")
}

// TestLinkEncryption holds the encryption of the link to the sample data of
// Vol 6 Part C section 1.
func TestLinkEncryption(t *testing.T) {
	s := NewSession(Key(unhex(t, "4C68384139F574D836BCF34E9DFB01BF")), 0xACBDCEDFE0F10213, 0x0213243546576879, 0xBADCAB24, 0xDEAFBABE)
	equal(t, "session key", s.key[:], "99AD1B5226A37E3E058E3B8E27C2C666")
	equal(t, "LL_START_ENC_RSP of the central", s.Seal(ble.Central, 0x0f, []byte{6}), "9F CDA7F448")
	equal(t, "LL_START_ENC_RSP of the peripheral", s.Seal(ble.Peripheral, 0x07, []byte{6}), "A3 4C13A415")
	equal(t, "data of the central", s.Seal(ble.Central, 0x0e, unhex(t, "1700636465666768696A6B6C6D6E6F707131323334353637383930")),
		"7A70D66415226DF26B17839A060405596BD6564F796B5B9CE6FF32F75A6D33")
	equal(t, "data of the peripheral", s.Seal(ble.Peripheral, 0x06, unhex(t, "17003736353433323130 4142434445464748494A4B4C4D4E4F5051")),
		"F38881E7BD94C9C369B9A66846DD4786AA8C39CE540D0DAE3ADCDF89B960 88")
}

// TestSeal holds CCM with a longer tag to packet vector 1 of RFC 3610.
func TestSeal(t *testing.T) {
	k := Key(unhex(t, "C0C1C2C3C4C5C6C7C8C9CACBCCCDCECF"))
	got := k.Seal(nil, [13]byte(unhex(t, "00000003020100A0A1A2A3A4A5")), 8, unhex(t, "0001020304050607"), unhex(t, "08090A0B0C0D0E0F101112131415161718191A1B1C1D1E"))
	equal(t, "packet vector 1", got, "588C979A61C663D2F066D0C2C0F989806D5F6B61DAC38417E8D12CFDF926E0")
}

// TestOpen opens the same sample data, in order, and nothing else: no bit of it changed, not the other side's, not
// twice.
func TestOpen(t *testing.T) {
	s := NewSession(Key(unhex(t, "4C68384139F574D836BCF34E9DFB01BF")), 0xACBDCEDFE0F10213, 0x0213243546576879, 0xBADCAB24, 0xDEAFBABE)
	for _, test := range []struct {
		from   ble.Side
		first  byte
		sealed string
		want   string
	}{
		{ble.Central, 0x0f, "9FCDA7F448", "06"},
		{ble.Peripheral, 0x07, "A34C13A415", "06"},
		{ble.Central, 0x0e, "7A70D66415226DF26B17839A060405596BD6564F796B5B9CE6FF32F75A6D33", "1700636465666768696A6B6C6D6E6F707131323334353637383930"},
	} {
		sealed := unhex(t, test.sealed)
		for bit := range 8 * len(sealed) {
			flipped := bytes.Clone(sealed)
			flipped[bit/8] ^= 1 << (bit % 8)
			if _, ok := s.Open(test.from, test.first, flipped); ok {
				t.Fatalf("bit %d changed, and opened", bit)
			}
		}
		for n := range sealed {
			if _, ok := s.Open(test.from, test.first, sealed[:n]); ok {
				t.Fatalf("%d bytes opened", n)
			}
		}
		if _, ok := s.Open(test.from.Other(), test.first, sealed); ok {
			t.Error("opened as the other side's")
		}
		if _, ok := s.Open(test.from, test.first^1, sealed); ok {
			t.Error("opened with another LLID")
		}
		plain, ok := s.Open(test.from, test.first^0x0c, sealed) // sent again: other sequence numbers
		if !ok {
			t.Fatalf("%s does not open", test.sealed)
		}
		equal(t, "payload", plain, test.want)
		if _, ok := s.Open(test.from, test.first, sealed); ok {
			t.Error("opened twice")
		}
	}
}
