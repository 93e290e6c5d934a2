// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/sim/toolbox"
)

// chipLinkOf opens a link to a chip over a pipe in this process.
func chipLinkOf(t testing.TB, chip *Chip) *central {
	t.Helper()
	here, there := net.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = chip.ServeConn(ctx, there) }()
	t.Cleanup(func() { stop(); <-done })
	ch, err := (&Env{Target: pipe{here}, Patience: 10 * time.Second, Rand: newChance()}).dial(context.Background(), counted)
	if err != nil {
		t.Fatal(err)
	}
	c := &central{channel: ch}
	if err := c.connect(); err != nil {
		t.Fatal(err)
	}
	if err := c.event(airPDU{llid: ble.LLIDContinuation}); err != nil { // the link is open
		t.Fatal(err)
	}
	return c
}

type pipe struct{ net.Conn }

func (p pipe) Dial(context.Context) (net.Conn, error) { return p.Conn, nil }

// TestChip is a phone that pairs as it should: the chip proves that it has the key, the phone does, and
// then the limit is the phone's to set, of the chip as it was built and of the one that is mended. Without the phone's proof,
// or with a false one, the mended one does not encrypt.
func TestChip(t *testing.T) {
	for _, test := range []struct {
		name          string
		mended        bool
		prove, forged bool
		taken         bool
	}{
		{"as built", false, true, false, true},
		{"mended", true, true, false, true},
		{"mended, no proof", true, false, false, false},
		{"mended, a false proof", true, true, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			chip, err := NewChip(Config{Rand: newChance(), Mended: test.mended})
			if err != nil {
				t.Fatal(err)
			}
			c := chipLinkOf(t, chip)
			if err := c.raise(); err != errRefused {
				t.Fatalf("in clear: %v", err)
			}
			a, b := c.address[ble.Central], c.address[ble.Peripheral]
			must := func(said []ble.SMP, err error) []ble.SMP {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				return said
			}
			features := must(c.pair(wish(16), ble.PairingResponse))[0].PairingFeatures
			own, err := newPrivate(c.env.random)
			if err != nil {
				t.Fatal(err)
			}
			said := must(c.pair(ble.SMP{Code: ble.PairingPublicKey, Value: airPoint(own.PublicKey())}, ble.PairingPublicKey, ble.PairingConfirm))
			theirs, err := readPoint(said[0].Value)
			if err != nil {
				t.Fatal(err)
			}
			confirm := toolbox.Key(toolbox.Reversed(said[1].Value))
			na := toolbox.Key{15: 1}
			nb := toolbox.Key(toolbox.Reversed(must(c.pair(ble.SMP{Code: ble.PairingRandom, Value: na.Air()}, ble.PairingRandom))[0].Value))
			if confirm != toolbox.F4(xOf(theirs), xOf(own.PublicKey()), nb, 0) {
				t.Fatal("the chip does not say what it confirmed")
			}
			shared, err := own.ECDH(theirs)
			if err != nil {
				t.Fatal(err)
			}
			mac, ltk := toolbox.F5([32]byte(shared), na, nb, a, b)
			if test.prove {
				check := toolbox.F6(mac, na, nb, toolbox.Key{}, wish(16).PairingFeatures, a, b)
				if test.forged {
					check[0] ^= 1
					if _, err := c.pair(ble.SMP{Code: ble.PairingDHKeyCheck, Value: check.Air()}, ble.PairingDHKeyCheck); err != errRefused {
						t.Fatalf("a false proof: %v", err)
					}
				} else if proof := must(c.pair(ble.SMP{Code: ble.PairingDHKeyCheck, Value: check.Air()}, ble.PairingDHKeyCheck))[0].Value; toolbox.Key(toolbox.Reversed(proof)) != toolbox.F6(mac, nb, na, toolbox.Key{}, features, b, a) {
					t.Fatal("the chip does not prove that it has the key")
				}
			}
			err = c.encrypt(ltk)
			if err == nil {
				err = c.raise()
			}
			if s := chip.State().(ChipState); (err == nil) != test.taken || (s.Highest == falseHighest) != test.taken || s.Deaf || s.Agreed != test.taken {
				t.Errorf("%v; %+v", err, s)
			}
		})
	}
}

// TestChipAir holds that a packet which is sent again is answered again and not done again, and that one of which a bit
// changed is not answered.
func TestChipAir(t *testing.T) {
	chip, err := NewChip(Config{Rand: newChance()})
	if err != nil {
		t.Fatal(err)
	}
	c := chipLinkOf(t, chip)
	request := wish(16)
	b, err := request.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	packet := c.packet(fragments(ble.CIDSMP, b)[0])
	for i := range 8 * len(packet) {
		packet[i/8] ^= 1 << (i % 8)
		if a := chip.Handle(t.Context(), packet); a != nil {
			t.Fatalf("bit %d changed, and answered with %x", i, a)
		}
		packet[i/8] ^= 1 << (i % 8)
	}
	first, again := chip.Handle(t.Context(), packet), chip.Handle(t.Context(), packet)
	if len(first) != 1 || len(again) != 1 || string(first[0]) != string(again[0]) || len(chip.link.queue) != 1 {
		t.Errorf("%x, %x, %d answers", first, again, len(chip.link.queue))
	}
	if _, _, what := c.take(first[0]); what != airNew {
		t.Errorf("the answer: %d", what)
	}
}

// FuzzChip says what it likes on a link: each byte that is a length, and so many behind it.
func FuzzChip(f *testing.F) {
	for _, p := range [][]byte{{0x01, 3, 0, 8, 253, 0, 0}, {0x01, 3, 0, 9, 16, 0, 0}, {0x0b, 9}, {0x12, 0x12, 0, 1, 1}} {
		for _, cid := range []uint16{ble.CIDSMP, ble.CIDATT} {
			b := ble.AppendL2CAP(nil, cid, p)
			f.Add(append([]byte{ble.LLIDStart, byte(len(b))}, b...), false)
		}
	}
	q := ble.Control{Opcode: ble.LLEncReq}
	f.Add(append([]byte{ble.LLIDControl, 23}, q.Append(nil)...), true)
	f.Fuzz(func(t *testing.T, said []byte, mended bool) {
		chip, err := NewChip(Config{Now: NewClock(morning).Now, Rand: newChance(), Mended: mended})
		if err != nil {
			t.Fatal(err)
		}
		r := ble.ConnectRequest{Initiator: foreignPhone, Advertiser: chipAddress, Access: 0x50655641, CRCInit: 0x123456}
		chip.Handle(t.Context(), ble.AppendAir(nil, ble.AdvertisingAccess, advertisingCRC, r.AppendPDU(nil)))
		if chip.link == nil {
			t.Fatal("no link")
		}
		e := airEnd{side: ble.Central, access: r.Access, crcInit: r.CRCInit}
		for len(said) >= 2 {
			n := min(int(said[1]), len(said)-2)
			for _, b := range chip.Handle(t.Context(), e.packet(airPDU{llid: said[0] & 3, payload: said[2 : 2+n]})) {
				if _, _, what := e.take(b); what != airNew && what != airForged {
					t.Fatalf("the answer: %d", what)
				}
			}
			said = said[2+n:]
			if k := chip.link; k != nil && (len(k.queue) > maxQueue || len(k.assembled) > maxAssembled) {
				t.Fatalf("%d packets, %d bytes", len(k.queue), len(k.assembled))
			}
		}
		if s := chip.State().(ChipState); mended && (s.Deaf || s.Written > 0) {
			t.Fatalf("%+v", s)
		}
	})
}
