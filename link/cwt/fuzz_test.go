// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"testing"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

// FuzzToken: nothing that is not signed by the clinic is admitted, and what can be
// read can be written and read again.
func FuzzToken(f *testing.F) {
	c := newClinic(f)
	peer := c.patient.Public()
	token := c.issue(f, "p-1", nil)
	breakGlass := c.breakGlass(f, []cose.Key{c.anna, c.bert}, nil)
	list, err := c.List(noon)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{token, breakGlass, list, vector.Bytes(f, rfcSigned), vector.Bytes(f, rfcClaims), vector.Bytes(f, rfcFloat)} {
		f.Add(b)
		if m, _, err := parseSigned(b, MaxToken); err == nil {
			f.Add(m.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		if got, err := c.v.Verify(b, &peer, atNoon); err == nil {
			want, _, _ := Show(token)
			if !bytes.Equal(got.Serial, want.Serial) {
				t.Errorf("a token that was not issued: %x", b)
			}
		}
		d := &Door{Verifier: c.v, Devices: []string{pump}}
		_, _ = d.Admit(&Attempt{Token: b, Peer: &peer, Now: atNoon})
		_ = d.Update(b, atNoon)
		_ = d.SetTime(b, atNoon)
		claims, err := ParseClaims(b)
		if err != nil {
			return
		}
		again, err := claims.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		second, err := ParseClaims(again)
		if err != nil {
			t.Fatal(err)
		}
		third, err := second.Append(nil)
		if err != nil || !bytes.Equal(again, third) {
			t.Errorf("%x, then %x: %v", again, third, err)
		}
		if request, err := requestOf(b); err != nil {
			t.Error(err)
		} else if c, err := ParseClaims(request); err != nil || c.Approvals != nil {
			t.Errorf("%+v, %v", c, err)
		}
		if !bytes.Equal(b, before) {
			t.Error("the input was written to")
		}
	})
}

// FuzzGrant: a scope has one encoding.
func FuzzGrant(f *testing.F) {
	f.Add(vector.Bytes(f, `82 01 a2 01 a3 01 83 03 00 64 5b69555d 04 83 01 01 64 5b69555d 05 19 3840 18 2b a0`))
	f.Add([]byte{0x82, 5, 0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGrant(b)
		if err != nil {
			return
		}
		if again, err := g.Append(nil); err != nil || !bytes.Equal(b, again) {
			t.Errorf("%x, then %x: %v", b, again, err)
		}
	})
}

// FuzzRecord: what a door is given as its past does not break it.
func FuzzRecord(f *testing.F) {
	c := newClinic(f)
	s := new(store)
	d := c.door(f, s)
	_, _ = d.Admit(&Attempt{Token: c.breakGlass(f, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon})
	_ = d.Checkpoint(atNoon)
	for _, b := range s.records {
		f.Add(b)
	}
	token := c.breakGlass(f, []cose.Key{c.anna, c.bert}, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseRecord(b)
		if err != nil {
			return
		}
		if again := e.append(nil); !bytes.Equal(b, again) {
			t.Errorf("%x, then %x", b, again)
		}
		d := &Door{Verifier: c.v, Devices: []string{pump}, Durable: new(store).durable}
		if d.Restore([][]byte{b}) != nil {
			return
		}
		if s, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon.after(0)}); err == nil {
			_ = s.Left(atNoon)
		}
		_ = d.Checkpoint(atNoon)
		_, _ = ParseMeter(b)
	})
}
