// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// chacha is randomness that a test repeats.
func chacha(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// newKey makes a key pair, the same one for the same seed.
func newKey(t testing.TB, c cose.Curve, seed byte) cose.Key {
	t.Helper()
	k, err := cose.GenerateKey(c, chacha(seed))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newAuthenticator dresses a key as a claims set that goes by kid.
func newAuthenticator(t testing.TB, k cose.Key, signs bool, subject string, kid []byte) *Authenticator {
	t.Helper()
	c, err := NewCCS(k, subject, kid)
	if err != nil {
		t.Fatal(err)
	}
	return authenticate(t, k, signs, c)
}

func authenticate(t testing.TB, k cose.Key, signs bool, c *Credential) *Authenticator {
	t.Helper()
	var a *Authenticator
	var err error
	if signs {
		var s cose.Signer
		if s, err = cose.NewSigner(k); err == nil {
			a, err = NewSignature(s, c)
		}
	} else {
		var d *ecdh.PrivateKey
		if d, err = k.PrivateECDH(); err == nil {
			a, err = NewStaticDH(d, c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// side makes one party's keys: to sign with and for Diffie-Hellman, on every curve.
func side(t testing.TB, name string, seed byte) []*Authenticator {
	t.Helper()
	var own []*Authenticator
	for i, c := range []cose.Curve{cose.X25519, cose.P256, cose.P384} {
		own = append(own, newAuthenticator(t, newKey(t, c, seed+byte(i)), false, name, []byte{seed + byte(i)}))
	}
	for i, c := range []cose.Curve{cose.CurveEd25519, cose.P256, cose.P384} {
		own = append(own, newAuthenticator(t, newKey(t, c, seed+8+byte(i)), true, name, []byte{seed + 8 + byte(i)}))
	}
	return append(own, side448(t, name, seed+16)...)
}

// side448 makes the keys of suite 25.
func side448(t testing.TB, name string, seed byte) []*Authenticator {
	t.Helper()
	secret := make([]byte, 57)
	chacha(seed).Read(secret)
	ccs := func(c cose.Curve, x []byte, kid byte) *Credential {
		cred, err := NewCCS(cose.Key{Type: cose.OKP, Curve: c, X: x}, name, []byte{kid})
		if err != nil {
			t.Fatal(err)
		}
		return cred
	}
	_, x, err := newX448(secret[:56])
	if err != nil {
		t.Fatal(err)
	}
	dh, err := NewStaticX448(secret[:56], ccs(cose.X448, x, 0x40+seed))
	if err != nil {
		t.Fatal(err)
	}
	s, x, err := NewEd448Signer(secret)
	if err != nil {
		t.Fatal(err)
	}
	sign, err := NewSignature(s, ccs(cose.CurveEd448, x, 0x60+seed))
	if err != nil {
		t.Fatal(err)
	}
	return []*Authenticator{dh, sign}
}

func credentials(own []*Authenticator) []*Credential {
	var c []*Credential
	for _, a := range own {
		c = append(c, a.cred)
	}
	return c
}

// pair makes the two configurations of a handshake with one method and suite.
func pair(t testing.TB, m Method, s Suite, message4 bool) (i, r *Config) {
	t.Helper()
	ownI, ownR := side(t, "pump", 0x21), side(t, "programmer", 0x01)
	i = &Config{Methods: []Method{m}, Suites: []Suite{s}, Own: ownI, Peers: Only(credentials(ownR)...), Message4: message4, Random: chacha(1)}
	r = &Config{Methods: []Method{m}, Suites: []Suite{s}, Own: ownR, Peers: Only(credentials(ownI)...), Message4: message4, Random: chacha(2)}
	return i, r
}

// A run is a handshake as it went: its messages, and what came of it.
type run struct {
	i        *Initiator
	r        *Responder
	m        [5][]byte
	si, sr   *Session
	messages int
}

func newRun(t testing.TB, i, r *Config) *run {
	t.Helper()
	h := new(run)
	var err error
	if h.i, err = NewInitiator(i, nil); err != nil {
		t.Fatal(err)
	}
	if h.r, err = NewResponder(r); err != nil {
		t.Fatal(err)
	}
	h.messages = 3
	if i.Message4 {
		h.messages = 4
	}
	return h
}

// step makes message n and takes it.
func (h *run) step(n int) error {
	if err := h.make(n); err != nil {
		return fmt.Errorf("making message_%d: %w", n, err)
	}
	if err := h.take(n, h.m[n]); err != nil {
		return fmt.Errorf("taking message_%d: %w", n, err)
	}
	return nil
}

func (h *run) make(n int, ead ...EAD) (err error) {
	switch n {
	case 1:
		h.m[1], err = h.i.Message1(nil, ead...)
	case 2:
		h.m[2], err = h.r.Message2(nil, ead...)
	case 3:
		h.m[3], err = h.i.Message3(nil, ead...)
	case 4:
		h.m[4], err = h.r.Message4(nil, ead...)
	}
	return err
}

func (h *run) take(n int, b []byte) error {
	switch n {
	case 1:
		return h.r.Message1(b)
	case 2:
		return h.i.Message2(b)
	case 3:
		return h.r.Message3(b)
	}
	return h.i.Message4(b)
}

// complete goes through the handshake and compares what both sides have.
func (h *run) complete(t testing.TB) {
	t.Helper()
	for n := 1; n <= h.messages; n++ {
		if err := h.step(n); err != nil {
			t.Fatal(err)
		}
	}
	h.agree(t)
}

func (h *run) agree(t testing.TB) {
	t.Helper()
	var err error
	if h.si, err = h.i.Session(); err != nil {
		t.Fatal("initiator: ", err)
	}
	if h.sr, err = h.r.Session(); err != nil {
		t.Fatal("responder: ", err)
	}
	a, b := export(t, h.si), export(t, h.sr)
	if !bytes.Equal(a, b) {
		t.Fatalf("the sides export %x and %x", a, b)
	}
}

func export(t testing.TB, s *Session) []byte {
	t.Helper()
	b, err := s.Exporter(0, nil, 16)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryHandshake is every method in every suite, with and without message_4.
func TestEveryHandshake(t *testing.T) {
	for _, s := range Suites() {
		for m := SignSign; m <= DHDH; m++ {
			for _, message4 := range []bool{false, true} {
				t.Run(fmt.Sprintf("suite %d method %d message_4 %t", s, m, message4), func(t *testing.T) {
					i, r := pair(t, m, s, message4)
					h := newRun(t, i, r)
					h.complete(t)
					if h.si.Peer.Subject() != "programmer" || h.sr.Peer.Subject() != "pump" {
						t.Errorf("peers are %q and %q", h.si.Peer.Subject(), h.sr.Peer.Subject())
					}
					if h.si.Confirmed() != message4 || !h.sr.Confirmed() {
						t.Errorf("confirmed: initiator %t, responder %t", h.si.Confirmed(), h.sr.Confirmed())
					}
					for _, p := range []*party{&h.i.party, &h.r.party} {
						if p.state != completed || p.prk != [3][maxHash]byte{} || p.key != [32]byte{} || p.mac != [maxHash]byte{} || p.eph != nil {
							t.Errorf("state %d: keys are left", p.state)
						}
					}
					oi, err := h.si.OSCORE()
					if err != nil {
						t.Fatal(err)
					}
					or, err := h.sr.OSCORE()
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(oi.Secret, or.Secret) || !bytes.Equal(oi.Salt, or.Salt) ||
						!bytes.Equal(oi.SenderID, or.RecipientID) || !bytes.Equal(oi.RecipientID, or.SenderID) {
						t.Errorf("OSCORE: %+v, %+v", oi, or)
					}
					if oi.AEAD == 0 || len(oi.Secret) != oi.AEAD.KeySize() || bytes.Equal(oi.SenderID, oi.RecipientID) {
						t.Errorf("OSCORE: %+v", oi)
					}
				})
			}
		}
	}
}

// TestSizes holds the messages to the sizes that issue 5 states: method 3 with one-byte
// key identifiers is 101 bytes in the suites 0 and 2, and method 0 is 216.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		m    Method
		s    Suite
		want [4]int
	}{
		{DHDH, 0, [4]int{1: 37, 45, 19}},
		{DHDH, 2, [4]int{1: 37, 45, 19}},
		{SignSign, 0, [4]int{1: 37, 102, 77}},
		{SignSign, 2, [4]int{1: 37, 102, 77}},
	} {
		i, r := pair(t, tt.m, tt.s, false)
		h := newRun(t, i, r)
		h.complete(t)
		got := [4]int{1: len(h.m[1]), len(h.m[2]), len(h.m[3])}
		if got != tt.want {
			t.Errorf("method %d %v: messages of %v bytes; want %v", tt.m, tt.s, got[1:], tt.want[1:])
		}
	}
}

// TestEADIsAuthenticated composes what is signed and what the MACs are made of as RFC
// 9528 sections 5.3.2 and 5.4.2 say, EAD included, which RFC 9529 has none of.
func TestEADIsAuthenticated(t *testing.T) {
	ci, cr := pair(t, SignSign, 0, false)
	s := seen{}
	ci.trace = s.trace
	h := newRun(t, ci, cr)
	for n := 1; n <= 3; n++ {
		if err := h.make(n, EAD{Label: 9, Value: []byte{1, 2}}, EAD{Label: 300}); err != nil {
			t.Fatal(err)
		}
		if err := h.take(n, h.m[n]); err != nil {
			t.Fatal(err)
		}
	}
	ead := []byte{9, 0x42, 1, 2, 0x19, 300 >> 8, 300 & 0xff}
	for n, c := range map[int]*Credential{2: h.r.own.cred, 3: h.i.own.cred} {
		th := cbor.AppendBytes(nil, s[fmt.Sprintf("TH_%d", n)][0])
		context := bytes.Join([][]byte{c.ID(), th, c.Bytes(), ead}, nil)
		if n == 2 {
			context = append(appendIdentifier(nil, h.r.cR.bytes()), context...)
		}
		signed := cbor.AppendText([]byte{0x84}, "Signature1")
		signed = cbor.AppendBytes(signed, c.ID())
		signed = cbor.AppendBytes(signed, bytes.Join([][]byte{th, c.Bytes(), ead}, nil))
		signed = cbor.AppendBytes(signed, s[fmt.Sprintf("MAC_%d", n)][0])
		if name := fmt.Sprintf("context_%d", n); !s.has(name, context) {
			t.Errorf("%s is %x; want %x", name, s[name], context)
		}
		if name := fmt.Sprintf("Message to be signed %d", n); !s.has(name, signed) {
			t.Errorf("%s: %x; want %x", name, s[name], signed)
		}
	}
}

// TestNoSessionBeforeMessage4: where message_4 is due, what the Initiator has before is
// not to be had, and is gone when message_4 is wrong.
func TestNoSessionBeforeMessage4(t *testing.T) {
	ci, cr := pair(t, DHDH, 2, true)
	h := until(t, ci, cr, 4)
	if _, err := h.i.Session(); !errors.Is(err, ErrState) {
		t.Error("before message_4: ", err)
	}
	s := h.i.session
	if err := h.i.Message4([]byte{0x40}); err == nil {
		t.Fatal("an empty message_4 is taken")
	}
	if _, err := s.Exporter(0, nil, 16); !errors.Is(err, ErrErased) || s.out != [maxHash]byte{} || s.exporter != [maxHash]byte{} {
		t.Error("the keys of the session are left: ", err)
	}
}
