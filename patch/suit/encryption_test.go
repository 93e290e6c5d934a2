// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

// The examples of draft-ietf-suit-firmware-encryption sections 7.1 and 7.2: keys,
// encryption infos and encrypted payloads.
var (
	exampleKEK = cose.Key{Type: cose.Symmetric, ID: []byte("kid-1"), K: []byte("aaaaaaaaaaaaaaaa")}

	exampleImage = []byte("This is a real firmware image.")

	exampleGCM = "758C4B7BBAE2C4C1D462423E0F0DC3164FFA7B85BB94D4BD6D7ED26AB32FEB063385D4D3465927EC82CB5E198A59"
	exampleCTR = "2BB8DB522AE978246CC775C3B0241BD4B0333FFDD2DB70C7EE7A4966E3B7"
)

func exampleReceiver(t testing.TB) cose.Key {
	return cose.Key{
		Type: cose.EC2, Curve: cose.P256, ID: []byte("kid-2"),
		X: vector.Bytes(t, "5886CD61DD875862E5AAA820E7A15274C968A9BC96048DDCACE32F50C3651BA3"),
		Y: vector.Bytes(t, "9EED8125E932CD60C0EAD3650D0A485CF726D378D1B016ED4298B2961E258F1B"),
		D: vector.Bytes(t, "60FE6DD6D85D5740A5349B6F91267EEAC5BA81B8CB53EE249E4B4EB102C476B3"),
	}
}

var exampleInfos = []struct{ name, info, payload string }{
	{"AES-KW, AES-GCM", `D8608443A10101A1054CF14AAB9D81D51F7AD943FE87F6818340A2012204
		456B69642D31581875603FFC9518D794713C8CA8A115A7FB32565A6D59534D62`, exampleGCM},
	{"AES-KW, AES-CTR", `D8608440A20139FFFD0550DAE613B2E0DC55F4322BE38BDBA9DC68F68183
		40A2012204456B69642D315818CE34035CE5C2E2666E46D4C131FC561DD190A6D26CFA1990`, exampleCTR},
	{"ECDH-ES, AES-GCM", `D8608443A10101A1054CF14AAB9D81D51F7AD943FE87F6818344A101381C
		A120A40102200121582073024F415AA51529A66CCEFD88F3F62A734492FF45F6AD37FD2888E73EAF19DA
		2258204005B48A6FD091AA6ABFE3CFBEEDE88B347E521D43405FDBD7D2CFF0EBC21B26
		5818A06B8E6550F308712B1DF044B21B7D11D9B22792F1DE0997`, exampleGCM},
	{"ECDH-ES, AES-CTR", `D8608440A20139FFFD0550DAE613B2E0DC55F4322BE38BDBA9DC68F68183
		44A101381CA120A401022001215820EE0718F6B019C29CC611C18CEDE221
		4066DDCEDC2F0DBEF873CB224C715C1174225820279F2A88E4AB9E2ED30C
		0FCB69515B31B5D36725BFDB9AE02032ED4D5AB52CB85818E28B4502E4F5151884A995405579006E9465C3E94E3E0808`, exampleCTR},
}

// TestEncryptedExamples writes each encrypted payload of the draft, and copies it,
// and finds the image in clear.
func TestEncryptedExamples(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	for _, x := range exampleInfos {
		t.Run(x.name, func(t *testing.T) {
			info := bytesParameter(ParameterEncryptionInfo, vector.Bytes(t, x.info))
			payload := vector.Bytes(t, x.payload)
			write := &Manifest{Components: []ComponentID{NewComponentID("app")}, Sections: []SectionCommands{{
				Section: SectionInstall, Commands: []Command{Override(Content(payload), info), Do(DirectiveWrite, 15)},
			}}}
			copied := &Manifest{Components: []ComponentID{NewComponentID("app"), NewComponentID("staging")}, Sections: []SectionCommands{{
				Section: SectionInstall, Commands: []Command{
					SetComponentIndex(1), Override(ImageDigest(Sum(payload)), URI("coaps://example.com/encrypted-firmware")),
					Do(DirectiveFetch, 15), Do(ConditionImageMatch, 15),
					SetComponentIndex(0), Override(info, SourceComponent(1)), Do(DirectiveCopy, 15),
				},
			}}}
			for _, m := range []*Manifest{write, copied} {
				m := verified(t, newEnvelope(t, m, k), k)
				d := newDevice()
				d.files["coaps://example.com/encrypted-firmware"] = payload
				p := &Processor{Platform: d, AnyDevice: true, Decrypt: []cose.Key{exampleReceiver(t), exampleKEK}}
				if err := p.Run(m, Update); err != nil {
					t.Fatal(err)
				}
				if got := d.components[id("app")]; !bytes.Equal(got, exampleImage) {
					t.Errorf("%q", got)
				}
				p.Decrypt = p.Decrypt[:0]
				d.components = map[string][]byte{}
				if err := p.Run(m, Update); !errors.Is(err, ErrDecryption) || d.components[id("app")] != nil {
					t.Errorf("without the keys: %v", err)
				}
			}

			// Whatever bit of the info or the payload is changed, the image is not what
			// comes out, and from GCM nothing does.
			raw := vector.Bytes(t, x.info)
			for i := range len(raw) + len(payload) {
				for bit := range 8 {
					info, payload := bytes.Clone(raw), bytes.Clone(payload)
					if i < len(raw) {
						info[i] ^= 1 << bit
					} else {
						payload[i-len(raw)] ^= 1 << bit
					}
					got, err := open(t, info, payload, exampleReceiver(t), exampleKEK)
					kid := bytes.Index(raw, []byte("kid-1")) // a hint, which every key is tried without
					hint := kid >= 0 && i >= kid-2 && i < kid+5
					if same := err == nil && bytes.Equal(got, exampleImage); same && !hint || err == nil && !same && x.payload == exampleGCM {
						t.Fatalf("bit %d of byte %d: %q, %v", bit, i, got, err)
					}
				}
			}
		})
	}
}

func open(t *testing.T, info, payload []byte, keys ...cose.Key) ([]byte, error) {
	r, err := newReader(info, 0, "encryption-info")
	if err != nil {
		return nil, err
	}
	e, err := r.encryptionInfo()
	if err == nil {
		err = r.done()
	}
	if err != nil {
		return nil, err
	}
	plain, err := e.decrypt(bytes.NewReader(payload), keys)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

// TestDisorderedExample refuses the info of the draft's section 10.3 that has a kid
// behind the ephemeral key: section 8.1 of the manifest's draft wants maps in
// canonical order, and -1 comes behind 4. In order it is read.
func TestDisorderedExample(t *testing.T) {
	const ephemeral = "20A40102200121582073024F415AA51529A66CCEFD88F3F62A734492FF45F6AD37FD2888E73EAF19DA" +
		"2258204005B48A6FD091AA6ABFE3CFBEEDE88B347E521D43405FDBD7D2CFF0EBC21B26"
	const kid, head, tail = "04456B69642D32", "D8608443A10101A1054CF14AAB9D81D51F7AD943FE87F6818344A101381CA2",
		"5818A06B8E6550F308712B1DF044B21B7D11D9B22792F1DE0997"
	payload := vector.Bytes(t, exampleGCM)
	if _, err := open(t, vector.Bytes(t, head+ephemeral+kid+tail), payload, exampleReceiver(t)); !errors.Is(err, cbor.ErrOrder) {
		t.Error(err)
	}
	if got, err := open(t, vector.Bytes(t, head+kid+ephemeral+tail), payload, exampleReceiver(t)); err != nil || !bytes.Equal(got, exampleImage) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestKeyWrap holds the key wrap to RFC 3394 sections 4.1 to 4.6.
func TestKeyWrap(t *testing.T) {
	const kek, key = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
		"00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F"
	for _, x := range []struct {
		kek, key int
		wrapped  string
	}{
		{16, 16, "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{24, 16, "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"},
		{32, 16, "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"},
		{24, 24, "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2"},
		{32, 24, "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1"},
		{32, 32, "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
	} {
		kek, key, want := vector.Bytes(t, kek)[:x.kek], vector.Bytes(t, key)[:x.key], vector.Bytes(t, x.wrapped)
		if got, err := wrap(kek, key); err != nil || !bytes.Equal(got, want) {
			t.Errorf("wrapped %x, want %x, %v", got, want, err)
		}
		if got, err := unwrap(kek, want); err != nil || !bytes.Equal(got, key) {
			t.Errorf("unwrapped %x, %v", got, err)
		}
		for i := range want {
			want[i] ^= 1
			if _, err := unwrap(kek, want); err == nil {
				t.Errorf("unwrapped with byte %d changed", i)
			}
			want[i] ^= 1
		}
	}
}

// TestEncrypt encrypts for several devices at once, by each algorithm.
func TestEncrypt(t *testing.T) {
	var keys, public []cose.Key
	for n := 16; n <= 32; n += 8 {
		keys = append(keys, cose.Key{Type: cose.Symmetric, ID: []byte{byte(n)}, K: bytes.Repeat([]byte{byte(n)}, n)})
	}
	public = append(public, keys...)
	for _, c := range []cose.Curve{cose.P256, cose.X25519, cose.P384} {
		k, err := cose.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys, public = append(keys, k), append(public, k.Public())
	}
	for _, a := range []cose.Algorithm{cose.A128GCM, cose.A192GCM, cose.A256GCM, cose.ChaCha20Poly1305, cose.AESCCM16_64_128, A128CTR, A192CTR, A256CTR} {
		info, sealed, err := Encrypt(a, exampleImage, public...)
		if err != nil {
			t.Fatal(a, err)
		}
		b, _ := Parameters{info}.Bytes(ParameterEncryptionInfo)
		for i, k := range keys {
			if got, err := open(t, b, sealed, k); err != nil || !bytes.Equal(got, exampleImage) {
				t.Errorf("%v for key %d: %q, %v", a, i, got, err)
			}
		}
		other := newKey(t, cose.P256, 0)
		if _, err := open(t, b, sealed, other, cose.Key{Type: cose.Symmetric, K: make([]byte, 16)}); !errors.Is(err, ErrDecryption) {
			t.Errorf("%v with other keys: %v", a, err)
		}
	}
	for _, a := range []cose.Algorithm{0, cose.ES256, cose.HMAC256} {
		if _, _, err := Encrypt(a, nil, public...); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v: %v", a, err)
		}
	}
}

// TestCounterModeAlone refuses to decrypt what nothing vouches for.
func TestCounterModeAlone(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	info, sealed, err := Encrypt(A128CTR, exampleImage, exampleKEK)
	if err != nil {
		t.Fatal(err)
	}
	for _, digest := range []bool{false, true} {
		fetch := Override(info, URI("#sealed"))
		if digest {
			fetch = Override(info, URI("#sealed"), ImageDigest(Sum(exampleImage)))
		}
		m := &Manifest{Components: []ComponentID{NewComponentID("app")}, Sections: []SectionCommands{{
			Section: SectionInstall, Commands: []Command{fetch, Do(DirectiveFetch, 0)},
		}}}
		d := newDevice()
		p := &Processor{Platform: d, AnyDevice: true, Decrypt: []cose.Key{exampleKEK}}
		err := p.Run(verified(t, newEnvelope(t, m, k, Payload{"#sealed", sealed}), k), Update)
		if got := fmt.Sprint(errors.Is(err, ErrUnsupported), bytes.Equal(d.components[id("app")], exampleImage)); got != fmt.Sprint(!digest, digest) {
			t.Errorf("with a digest %t: %v", digest, err)
		}
	}
}
