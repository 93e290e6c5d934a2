// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/proto/coap"
)

// TestPeers finds each peer, those with one kid too, and no other.
func TestPeers(t *testing.T) {
	peers := Peers{Max: 12}
	var clients, servers []*Context
	add := func(secret string, kid byte, idContext []byte) error {
		c, s := pair(t, func(c, s *Params) {
			c.MasterSecret, s.MasterSecret = []byte(secret), []byte(secret)
			c.SenderID, s.RecipientID = []byte{kid}, []byte{kid}
			c.RecipientID, s.SenderID = []byte("srv"), []byte("srv")
			c.IDContext, s.IDContext = idContext, idContext
		})
		err := peers.Add(s)
		if err == nil {
			clients, servers = append(clients, c), append(servers, s)
		}
		return err
	}
	for _, tt := range []struct {
		secret    string
		kid       byte
		idContext []byte
	}{
		{"a", 1, nil},
		{"b", 1, nil},
		{"c", 1, nil}, // the same kid
		{"d", 1, []byte("ward")},
		{"e", 1, []byte("hall")},
		{"f", 1, []byte{}},
		{"g", 2, nil},
		{"h", 2, []byte("ward")},
	} {
		if err := add(tt.secret, tt.kid, tt.idContext); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range clients {
		q, _ := protectRequest(t, c, bolus(t))
		var x Exchange
		got, found, err := peers.UnprotectRequest([]byte("kept"), q, &x)
		if err != nil || found != servers[i] || string(got[:4]) != "kept" {
			t.Errorf("peer %d: %v, %v", i, found == servers[i], err)
		}
		if _, _, err := peers.UnprotectRequest(nil, q, &x); err == nil {
			t.Errorf("peer %d: replayed", i)
		}
		// The kid context may be left out, since both know it (RFC 8613 section 5.1).
		id := c.idContext
		c.idContext = nil
		q, _ = protectRequest(t, c, bolus(t))
		if _, found, err := peers.UnprotectRequest(nil, q, &x); err != nil || found != servers[i] {
			t.Errorf("peer %d without its kid context: %v", i, err)
		}
		c.idContext = id
	}
	// Another unknown kid, another kid context, somebody without the keys.
	stranger, _ := pair(t, nil)
	q, _ := protectRequest(t, stranger, bolus(t))
	for name, tt := range map[string]struct {
		change func()
		err    error
	}{
		"a stranger with the kid of others": {func() {}, ErrDecrypt},
		"a kid that nobody has":             {func() { stranger.senderID = []byte{9} }, ErrContext},
		"a kid that is too long":            {func() { stranger.senderID = []byte("12345678") }, ErrContext},
		"a kid context that nobody has":     {func() { stranger.idContext = []byte("attic") }, ErrContext},
	} {
		id, kc := stranger.senderID, stranger.idContext
		tt.change()
		value, _ := (&coap.OSCORE{PartialIV: []byte{99}, KID: stranger.senderID, KIDContext: stranger.idContext}).Append(nil)
		stranger.senderID, stranger.idContext = id, kc
		var m coap.Message
		_ = m.Parse(q)
		var x Exchange
		if got, found, err := peers.UnprotectRequest(nil, message(t, coap.POST, string(m.Payload), option(coap.OSCOREOption, string(value))), &x); !errors.Is(err, tt.err) || found != nil || len(got) > 0 {
			t.Errorf("%s: %v; want %v", name, err, tt.err)
		}
	}
	var x Exchange
	if _, _, err := peers.UnprotectRequest(nil, []byte("no CoAP"), &x); !errors.Is(err, ErrOption) {
		t.Error(err)
	}

	// Bounds: of those with one kid, and of all.
	var err error
	for i := range maxClash + 1 {
		if err = add(fmt.Sprint("more", i), 3, nil); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) || peers.Len() != 12 {
		t.Errorf("%d peers: %v", peers.Len(), err)
	}
	if !peers.Taken([]byte{3}) || peers.Taken([]byte{4}) {
		t.Error("taken")
	}
	for _, s := range servers {
		peers.Remove(s)
		peers.Remove(s)
	}
	if peers.Len() != 0 || len(peers.byID) != 0 {
		t.Errorf("%d peers are left, under %d keys", peers.Len(), len(peers.byID))
	}
	peers.Max = 0
	for i := range maxClash + 1 {
		if err := add(fmt.Sprint("clash", i), 5, nil); (err != nil) != (i == maxClash) {
			t.Errorf("peer %d with one kid: %v", i, err)
		}
	}
	_ = peers.Add(servers[len(servers)-1]) // once more
	if peers.Len() != maxClash {
		t.Errorf("%d peers", peers.Len())
	}
}

// TestManyPeers holds ten thousand in less than 40 MB, under each AEAD.
func TestManyPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("derives thirty thousand contexts")
	}
	for _, alg := range []cose.Algorithm{cose.AESCCM16_64_128, cose.A128GCM, cose.ChaCha20Poly1305} {
		const many = 10000
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()
		var peers Peers
		for i := range many {
			kid := binary.BigEndian.AppendUint32(nil, uint32(i))
			c, err := New(Params{MasterSecret: secret, MasterSalt: kid, SenderID: []byte{1}, RecipientID: kid, AEAD: alg})
			if err != nil {
				t.Fatal(err)
			}
			if err := peers.Add(c); err != nil {
				t.Fatal(err)
			}
		}
		used := heap() - before
		t.Logf("%v: %d peers, %d bytes each", alg, peers.Len(), used/many)
		if used > 40e6 {
			t.Errorf("%v: %d bytes", alg, used)
		}
		if err := peers.Add(new(Context)); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		runtime.KeepAlive(&peers)
	}
}
