// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/rand"
	"testing"

	gocose "github.com/veraison/go-cose"
	"pgregory.net/rapid"
)

// TestAgainstGoCOSE: another implementation verifies what we sign and reads our
// keys, and we what it signs and its keys.
func TestAgainstGoCOSE(t *testing.T) {
	for _, a := range []Algorithm{ES256, ES384, ES512, EdDSA} {
		t.Run(a.String(), func(t *testing.T) {
			k, signer := generate(t, a)
			public := k.Public()

			var theirs gocose.Key
			if err := theirs.UnmarshalCBOR(k.AppendSecret(nil)); err != nil {
				t.Fatal(err)
			}
			theirSigner, err := theirs.Signer()
			if err != nil {
				t.Fatal(err)
			}
			theirVerifier, err := theirs.Verifier()
			if err != nil {
				t.Fatal(err)
			}
			b, err := theirs.MarshalCBOR()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseKey(b); err != nil || !back.Equal(&k) || back.Alg != a || !bytes.Equal(back.D, k.D) {
				t.Fatalf("their key: %v, %v", back, err)
			}

			rapid.Check(t, func(t *rapid.T) {
				payload := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "payload")
				external := rapid.SliceOf(rapid.Byte()).Draw(t, "external")
				kid := rapid.SliceOf(rapid.Byte()).Draw(t, "kid")
				untagged := rapid.Bool().Draw(t, "untagged")
				detached := rapid.Bool().Draw(t, "detached")
				format := rapid.Uint16().Draw(t, "format")

				// Ours to them.
				m := Sign1{Payload: payload, Untagged: untagged, Detached: detached}
				m.Protected = Headers{ContentType: "application/cbor", X5T: &X5T{SHA256_64, make([]byte, 8)}}
				m.Unprotected = Headers{KID: kid, X5Chain: [][]byte{{0x30, 0}, {0x30, 1}}}
				if err := m.Sign(signer, external); err != nil {
					t.Fatal(err)
				}
				b, err := m.Append(nil)
				if err != nil {
					t.Fatal(err)
				}
				msg := gocose.NewSign1Message()
				if untagged {
					err = (*gocose.UntaggedSign1Message)(msg).UnmarshalCBOR(b)
				} else {
					err = msg.UnmarshalCBOR(b)
				}
				if err != nil {
					t.Fatalf("%x: %v", b, err)
				}
				if (msg.Payload == nil) != detached {
					t.Fatalf("payload %x", msg.Payload)
				}
				msg.Payload = payload
				if err := msg.Verify(external, theirVerifier); err != nil {
					t.Fatalf("they do not verify %x: %v", b, err)
				}
				if got := msg.Headers.Unprotected[gocose.HeaderLabelKeyID]; !bytes.Equal(got.([]byte), kid) {
					t.Fatalf("kid %x", got)
				}

				// Theirs to us.
				msg = gocose.NewSign1Message()
				msg.Headers.Protected.SetAlgorithm(gocose.Algorithm(a))
				msg.Headers.Protected[gocose.HeaderLabelContentType] = format
				msg.Headers.Unprotected[gocose.HeaderLabelKeyID] = kid
				msg.Payload = payload
				if err := msg.Sign(rand.Reader, external, theirSigner); err != nil {
					t.Fatal(err)
				}
				if detached {
					msg.Payload = nil
				}
				if untagged {
					b, err = (*gocose.UntaggedSign1Message)(msg).MarshalCBOR()
				} else {
					b, err = msg.MarshalCBOR()
				}
				if err != nil {
					t.Fatal(err)
				}
				ours, err := ParseSign1(b)
				if err != nil {
					t.Fatalf("%x: %v", b, err)
				}
				if detached {
					ours.Payload = payload
				}
				if err := ours.Verify(&public, external); err != nil {
					t.Fatalf("we do not verify %x: %v", b, err)
				}
				if !bytes.Equal(ours.Unprotected.KID, kid) || !bytes.Equal(ours.Payload, payload) || ours.Untagged != untagged {
					t.Fatalf("%+v", ours)
				}
			})
		})
	}
}
