// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
)

// workingGroup is what we read of the files of the COSE working group.
type workingGroup struct {
	Input struct {
		Plaintext    string
		PlaintextHex string `json:"plaintext_hex"`

		Sign0, Mac0, Encrypted *struct {
			Key jwk
			Unprotected,
			Protected,
			Unsent map[string]any
			External   string
			Recipients []struct{ Key jwk }
		}
		Sign *struct {
			Signers []struct {
				Key       jwk
				Protected map[string]any
			}
		}
	}
	Intermediates struct {
		ToBeSign string `json:"ToBeSign_hex"`
		ToMac    string `json:"ToMac_hex"`
		AAD      string `json:"AAD_hex"`
		Signers  []struct {
			ToBeSign string `json:"ToBeSign_hex"`
		}
	}
	Output struct{ CBOR string }
}

// A jwk is how the files write keys.
type jwk map[string]string

func (j jwk) bytes(t *testing.T, name string) []byte {
	t.Helper()
	if s, ok := j[name+"_hex"]; ok {
		return vector.Bytes(t, s)
	}
	s, ok := j[name]
	if !ok {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// key makes a COSE_Key of it, and sends that through ParseKey.
func (j jwk) key(t *testing.T) (Key, error) {
	t.Helper()
	k := Key{ID: []byte(j["kid"])}
	switch j["kty"] {
	case "EC", "EC2":
		k.Type = EC2
	case "OKP":
		k.Type = OKP
	case "oct":
		k.Type = Symmetric
	}
	k.Curve = map[string]Curve{
		"P-256": P256, "P-384": P384, "P-521": P521,
		"X25519": X25519, "Ed25519": CurveEd25519, "Ed448": CurveEd448,
	}[j["crv"]]
	k.X, k.Y, k.D, k.K = j.bytes(t, "x"), j.bytes(t, "y"), j.bytes(t, "d"), j.bytes(t, "k")
	return ParseKey(k.AppendSecret(nil))
}

var workingGroupAlgorithms = map[string]Algorithm{
	"ES256": ES256, "ES384": ES384, "ES512": ES512, "EdDSA": EdDSA,
	"HS256": HMAC256, "HS256/64": HMAC256_64,
	"A128GCM": A128GCM, "AES-CCM-16-128/64": AESCCM16_64_128,
}

// exampleFiles calls f with each file of the working group that is here.
func exampleFiles(t *testing.T, f func(t *testing.T, v *workingGroup, name string)) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "vectors", "cose")
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.json"))
	if len(files) == 0 {
		t.Skip("the published vectors are not beside the repository (cose)")
	}
	for _, file := range files {
		name, err := filepath.Rel(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.ToSlash(name), ".json"), func(t *testing.T) {
			var v workingGroup
			readVectors(t, &v, "cose", name)
			f(t, &v, filepath.ToSlash(name))
		})
	}
}

// notOurs are the examples that must be refused.
var notOurs = map[string]error{
	"RFC8152/Appendix_C_6_1.json":      ErrAlgorithm, // AES-CBC-MAC
	"countersign1/signed-01.json":      cbor.ErrOrder,
	"countersign1/signed1-01.json":     cbor.ErrOrder,
	"ecdsa-examples/ecdsa-sig-04.json": ErrKey,       // ES512 with P-256
	"eddsa-examples/eddsa-sig-02.json": ErrKey,       // Ed448
	"x509-examples/signed-01.json":     cbor.ErrKind, // kid is a text
	"x509-examples/signed-02.json":     cbor.ErrKind,
}

// TestExamples runs the single-party examples: verified, made again where that
// gives the same bytes, and with a change of each of their bytes refused, which is
// more than the working group's files of failures have.
func TestExamples(t *testing.T) {
	ran, refused := 0, 0
	skipped := map[string]int{}
	exampleFiles(t, func(t *testing.T, v *workingGroup, name string) {
		in := v.Input.Sign0
		if in == nil {
			in = v.Input.Mac0
		}
		if in == nil {
			in = v.Input.Encrypted
		}
		if in == nil {
			skipped["several recipients or signers"]++
			t.Skip("not of a single party")
		}
		if len(in.Recipients) > 0 {
			in.Key = in.Recipients[0].Key
		}
		k, err := in.Key.key(t)
		want := notOurs[name]
		if err != nil {
			if !errors.Is(err, want) || want == nil {
				t.Fatalf("key: %v", err)
			}
			refused++
			return
		}
		if k.Type == Symmetric && in.Unsent != nil {
			// Appendix C.4.2: the nonce before the Partial IV was added.
			s, _ := in.Unsent["IV_hex"].(string)
			if k.BaseIV = vector.Bytes(t, s); len(k.BaseIV) > 2 {
				k.BaseIV = append(k.BaseIV[:len(k.BaseIV)-2], 0, 0)
			}
		}
		external := vector.Bytes(t, in.External)
		plaintext := []byte(v.Input.Plaintext)
		if v.Input.PlaintextHex != "" {
			plaintext = vector.Bytes(t, v.Input.PlaintextHex)
		}
		message := vector.Bytes(t, v.Output.CBOR)

		open := opener(v)
		if _, ok := in.Protected["alg"]; !ok {
			// Its algorithm is in the unprotected bucket, where it is not believed
			// unless the key says so as well.
			if _, err := open(message, &k, external); !errors.Is(err, ErrAlgorithm) {
				t.Errorf("by an algorithm that anybody could have written: %v", err)
			}
			s, _ := in.Unprotected["alg"].(string)
			if k.Alg = workingGroupAlgorithms[s]; k.Alg == 0 {
				t.Fatalf("algorithm %q", s)
			}
		}
		got, err := open(message, &k, external)
		if want != nil {
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			refused++
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, plaintext) {
			t.Fatalf("payload %x, want %x", got, plaintext)
		}
		ran++

		for _, bit := range []byte{1, 0x80} {
			for i := range message {
				b := bytes.Clone(message)
				b[i] ^= bit
				switch got, err := open(b, &k, external); {
				case err != nil:
				case unauthenticated(message, i) && bytes.Equal(got, plaintext):
				default:
					t.Errorf("byte %d changed by %#x, accepted: %x", i, bit, got)
				}
			}
		}
		for i := range message {
			if _, err := open(message[:i], &k, external); err == nil {
				t.Errorf("the first %d bytes were accepted", i)
			}
		}
		if _, err := open(append(bytes.Clone(message), 0), &k, external); err == nil {
			t.Error("a byte behind was accepted")
		}
		if _, err := open(message, &k, append(external, 0)); !errors.Is(err, ErrVerification) {
			t.Errorf("other external data: %v", err)
		}
		other := k
		other.D = nil
		if other.K = bytes.Clone(k.K); k.K != nil {
			other.K[0] ^= 1
		} else if key, err := GenerateKey(k.Curve, bytes.NewReader(bytes.Repeat([]byte{9}, 99))); err == nil {
			other.X, other.Y = key.X, key.Y
		}
		if _, err := open(message, &other, external); !errors.Is(err, ErrVerification) {
			t.Errorf("another key: %v", err)
		}
	})
	if ran+refused > 0 {
		t.Logf("%d ran, %d refused as they must be, skipped: %v", ran, refused, skipped)
	}
}

// unauthenticated reports whether byte i of a message lies in the unprotected
// bucket, or is the tag of the message, which nothing protects.
func unauthenticated(message []byte, i int) bool {
	r, err := cbor.Parse(message)
	if err != nil {
		return false
	}
	if r.Next() == cbor.Tag {
		r.Tag()
	}
	r.Array()
	r.Raw()
	at := r.Off()
	r.Raw()
	return i >= at && i < r.Off()
}

// opener is what parses and verifies the sort of message that v is, and writes it
// again: that must give the same bytes.
func opener(v *workingGroup) func(message []byte, k *Key, external []byte) ([]byte, error) {
	again := func(message, got []byte, err error) error {
		if err == nil && !bytes.Equal(got, message) {
			err = errors.New("written again it has other bytes: " + hex.EncodeToString(got))
		}
		return err
	}
	switch {
	case v.Input.Sign0 != nil:
		return func(message []byte, k *Key, external []byte) ([]byte, error) {
			m, err := ParseSign1(message)
			if err != nil {
				return nil, err
			}
			if err := m.Verify(k, external); err != nil {
				return nil, err
			}
			got, err := m.Append(nil)
			return m.Payload, again(message, got, err)
		}
	case v.Input.Mac0 != nil:
		return func(message []byte, k *Key, external []byte) ([]byte, error) {
			m, err := ParseMac0(message)
			if err != nil {
				return nil, err
			}
			if err := m.Verify(k, external); err != nil {
				return nil, err
			}
			if m.Protected.Alg != 0 { // ours always protects it
				mine := Mac0{Protected: m.Protected, Unprotected: m.Unprotected, Payload: m.Payload, Untagged: m.Untagged}
				if err := mine.Authenticate(k, external); err != nil {
					return nil, err
				}
				got, err := mine.Append(nil)
				if err := again(message, got, err); err != nil {
					return nil, err
				}
			}
			got, err := m.Append(nil)
			return m.Payload, again(message, got, err)
		}
	}
	return func(message []byte, k *Key, external []byte) ([]byte, error) {
		m, err := ParseEncrypt0(message)
		if err != nil {
			return nil, err
		}
		plaintext, err := m.Decrypt(nil, k, external)
		if err != nil {
			return nil, err
		}
		if m.Protected.Alg != 0 {
			mine := Encrypt0{Protected: m.Protected, Unprotected: m.Unprotected, Untagged: m.Untagged}
			if err := mine.Encrypt(k, plaintext, external); err != nil {
				return nil, err
			}
			got, err := mine.Append(nil)
			if err := again(message, got, err); err != nil {
				return nil, err
			}
		}
		got, err := m.Append(nil)
		return plaintext, again(message, got, err)
	}
}

// TestExampleStructures holds what is signed, authenticated or bound to the
// examples' own intermediate values.
func TestExampleStructures(t *testing.T) {
	exampleFiles(t, func(t *testing.T, v *workingGroup, name string) {
		if errors.Is(notOurs[name], cbor.ErrOrder) {
			t.Skip("not in the profile of CBOR")
		}
		message := vector.Bytes(t, v.Output.CBOR)
		var got []byte
		var want string
		switch {
		case v.Input.Sign0 != nil:
			m, err := ParseSign1(message)
			if err != nil {
				t.Fatal(err)
			}
			got = AppendSigStructure(nil, m.raw, vector.Bytes(t, v.Input.Sign0.External), m.Payload)
			want = v.Intermediates.ToBeSign
		case v.Input.Mac0 != nil:
			m, err := ParseMac0(message)
			if err != nil {
				t.Fatal(err)
			}
			got = AppendMACStructure(nil, m.raw, vector.Bytes(t, v.Input.Mac0.External), m.Payload)
			want = v.Intermediates.ToMac
		case v.Input.Encrypted != nil:
			m, err := ParseEncrypt0(message)
			if err != nil {
				t.Fatal(err)
			}
			got = AppendEncStructure(nil, m.raw, vector.Bytes(t, v.Input.Encrypted.External))
			want = v.Intermediates.AAD
		default:
			t.Skip("not of a single party")
		}
		if !bytes.Equal(got, vector.Bytes(t, want)) {
			t.Errorf("%x, want %s", got, want)
		}
	})
}

// TestExampleSigners verifies the single signatures of COSE_Sign, which as a
// message is not ours: keys, algorithms and certificates in headers are.
func TestExampleSigners(t *testing.T) {
	verified, certificates := 0, 0
	exampleFiles(t, func(t *testing.T, v *workingGroup, name string) {
		if v.Input.Sign == nil {
			t.Skip("not a COSE_Sign")
		}
		want := notOurs[name]
		r, err := cbor.Parse(vector.Bytes(t, v.Output.CBOR))
		if err != nil {
			if want == nil || !errors.Is(err, want) {
				t.Fatal(err)
			}
			return
		}
		if r.Tag() != 98 || r.Array() != 4 {
			t.Fatal("not a COSE_Sign")
		}
		r.Raw()
		r.Raw()
		r.Raw()
		n := r.Array()
		for i := range n {
			if r.Array() != 3 {
				t.Fatal("not a COSE_Signature")
			}
			protected, unprotected, sig := r.Bytes(), r.Raw(), r.Bytes()
			p, u, err := buckets(protected, unprotected, nil)
			if err != nil {
				if want == nil || !errors.Is(err, want) {
					t.Fatal(err)
				}
				return
			}
			signer := v.Input.Sign.Signers[i]
			if signer.Key["kty"] == "RSA" || signer.Key["crv"] == "Ed448" || name == "ecdsa-examples/ecdsa-04.json" {
				continue // the last is ES512 with P-256
			}
			k, err := signer.Key.key(t)
			if err != nil {
				t.Fatal(err)
			}
			k = k.Public()
			message := vector.Bytes(t, v.Intermediates.Signers[i].ToBeSign)
			if err := k.Verify(p.Alg, message, sig); err != nil {
				t.Errorf("signer %d: %v", i, err)
			}
			verified++
			if u.X5Chain != nil || u.X5T != nil {
				certificates++
				again, err := u.Append(nil)
				if err != nil || !bytes.Equal(again, unprotected) {
					t.Errorf("written again: %x, %v", again, err)
				}
			}
		}
	})
	if _, err := os.Stat(filepath.Join("..", "..", "..", "shared", "vectors", "cose")); err == nil {
		t.Logf("%d signatures, %d with certificates", verified, certificates)
		if verified == 0 || certificates == 0 {
			t.Error("no example ran")
		}
	}
}
