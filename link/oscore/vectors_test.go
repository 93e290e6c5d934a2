// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// A hexed is bytes that are written in hexadecimal; absent is nil.
type hexed []byte

func (h *hexed) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	v, err := hex.DecodeString(*s)
	*h = append(hexed{}, v...)
	return err
}

// vectors are those of RFC 8613 appendix C.
type vectors struct {
	Derivation []struct {
		Section         string
		MasterSecret    hexed `json:"master_secret"`
		MasterSalt      hexed `json:"master_salt"`
		IDContext       hexed `json:"id_context"`
		ClientID        hexed `json:"client_id"`
		ServerID        hexed `json:"server_id"`
		CommonIV        hexed `json:"common_iv"`
		ClientNonceZero hexed `json:"client_nonce_piv0"`
		ServerNonceZero hexed `json:"server_nonce_piv0"`
	}
	Messages []struct {
		Section, Context, Kind string
		SenderSeq              uint64 `json:"sender_seq"`
		Unprotected, Protected hexed
		AAD, Nonce             hexed
	}
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	b, err := os.ReadFile("../../../shared/vectors/rfc8613_appendix_c.json")
	if err != nil {
		t.Skip("no vectors beside the project:", err)
	}
	v := new(vectors)
	if err := json.Unmarshal(b, v); err != nil || len(v.Derivation) != 3 || len(v.Messages) != 5 {
		t.Fatal(len(v.Derivation), len(v.Messages), err)
	}
	return v
}

// peers are client and server of a section.
func (v *vectors) peers(t *testing.T, section string, clientNext, serverNext uint64) (client, server *Context) {
	t.Helper()
	for _, d := range v.Derivation {
		if d.Section != section {
			continue
		}
		var err error
		p := Params{MasterSecret: d.MasterSecret, MasterSalt: d.MasterSalt, IDContext: d.IDContext, SenderID: d.ClientID, RecipientID: d.ServerID, Sequence: clientNext}
		if client, err = New(p); err != nil {
			t.Fatal(err)
		}
		p.SenderID, p.RecipientID, p.Sequence = d.ServerID, d.ClientID, serverNext
		if server, err = New(p); err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	t.Fatal("no context", section)
	return nil, nil
}

func TestAppendixC(t *testing.T) {
	v := readVectors(t)
	for _, d := range v.Derivation {
		c, s := v.peers(t, d.Section, 0, 0)
		var n [maxNonce]byte
		if !bytes.Equal(c.commonIV[:], d.CommonIV) || !bytes.Equal(c.nonce(&n, c.senderID, []byte{0}), d.ClientNonceZero) {
			t.Errorf("%s: common IV or the client's nonce", d.Section)
		}
		if !bytes.Equal(s.nonce(&n, s.senderID, []byte{0}), d.ServerNonceZero) {
			t.Errorf("%s: the server's nonce", d.Section)
		}
	}
	for _, m := range v.Messages {
		client, server := v.peers(t, m.Context, 20, m.SenderSeq)
		var x, y Exchange
		if m.Kind == "request" {
			got, err := client.ProtectRequest(nil, m.Unprotected, &x)
			if err != nil || !bytes.Equal(got, m.Protected) {
				t.Errorf("%s: %x, %v; want %x", m.Section, got, err, m.Protected)
			}
			if !bytes.Equal(x.nonceRoom[:], m.Nonce) || !bytes.HasPrefix(x.aadRoom[:], m.AAD) {
				t.Errorf("%s: nonce %x, additional data %x", m.Section, x.nonceRoom, x.aadRoom)
			}
			got, err = server.UnprotectRequest(nil, m.Protected, &y)
			if err != nil || !bytes.Equal(got, m.Unprotected) {
				t.Errorf("%s: read as %x, %v; want %x", m.Section, got, err, m.Unprotected)
			}
			continue
		}
		// The response is to the request of C.4.
		for _, q := range v.Messages {
			if q.Section != "C.4" {
				continue
			}
			if _, err := client.ProtectRequest(nil, q.Unprotected, &x); err != nil {
				t.Fatal(err)
			}
			if _, err := server.UnprotectRequest(nil, q.Protected, &y); err != nil {
				t.Fatal(err)
			}
		}
		y.answered = m.Kind == "response+piv"
		got, err := server.ProtectResponse(nil, m.Unprotected, &y)
		if err != nil || !bytes.Equal(got, m.Protected) {
			t.Errorf("%s: %x, %v; want %x", m.Section, got, err, m.Protected)
		}
		got, err = client.UnprotectResponse(nil, m.Protected, &x)
		if err != nil || !bytes.Equal(got, m.Unprotected) {
			t.Errorf("%s: read as %x, %v; want %x", m.Section, got, err, m.Unprotected)
		}
	}
}
