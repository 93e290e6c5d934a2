// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

// A rfcTrace is one of the two of RFC 9529, as ../shared/vectors has them.
type rfcTrace struct {
	Method Method
	Suite  Suite
	Items  []struct{ Section, Name, Kind, Hex string }
}

func rfcTraces(t testing.TB) []rfcTrace {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "rfc9529_traces.json"))
	if err != nil {
		t.Skipf("the vectors beside the repository (../shared/vectors) are not here: %v", err)
	}
	var f struct{ Traces []rfcTrace }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f.Traces
}

// value is the last item with a name, of a section when that is given.
func (f *rfcTrace) value(t testing.TB, section, name string) []byte {
	t.Helper()
	for _, item := range slices.Backward(f.Items) {
		if item.Name == name && (section == "" || item.Section == section) {
			return vector.Bytes(t, item.Hex)
		}
	}
	t.Fatalf("no %s in the trace", name)
	return nil
}

// seen is what both sides computed, by name.
type seen map[string][][]byte

func (s seen) trace(name string, parts ...[]byte) {
	s[name] = append(s[name], bytes.Join(parts, nil))
}

func (s seen) has(name string, value []byte) bool {
	return slices.ContainsFunc(s[name], func(b []byte) bool { return bytes.Equal(b, value) })
}

// A fixedSigner notes what it signs.
type fixedSigner struct {
	key  ed25519.PrivateKey
	seen seen
}

func (s *fixedSigner) Algorithm() cose.Algorithm { return cose.EdDSA }

func (s *fixedSigner) Sign(m []byte) ([]byte, error) {
	s.seen.trace("signed", m)
	return ed25519.Sign(s.key, m), nil
}

// party makes the configuration of one role of a trace.
func (f *rfcTrace) party(t testing.TB, initiator bool, s seen) *Config {
	t.Helper()
	role, secret, id := "R", "Y", "C_R"
	if initiator {
		role, secret, id = "I", "X", "C_I"
	}
	var sk []byte
	for _, item := range f.Items {
		if item.Name == "SK_"+role {
			sk = vector.Bytes(t, item.Hex)
		}
	}
	own, theirs := f.credential(t, role), f.credential(t, map[string]string{"I": "R", "R": "I"}[role])
	var a *Authenticator
	var err error
	if f.Method == SignSign {
		a, err = NewSignature(&fixedSigner{ed25519.NewKeyFromSeed(sk), s}, own)
	} else {
		var k *ecdh.PrivateKey
		if k, err = ecdh.P256().NewPrivateKey(sk); err == nil {
			a, err = NewStaticDH(k, own)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var first []byte // trace 2 begins twice, with two keys
	if initiator && f.Method == DHDH {
		first = f.value(t, "message_1 (first time)", "X")
	}
	c := &Config{
		Methods: []Method{f.Method}, Suites: []Suite{f.Suite}, Own: []*Authenticator{a}, Peers: Only(theirs), Message4: true,
		ConnectionID: func([]byte) ([]byte, error) { return f.raw(t, id), nil },
		trace:        s.trace,
	}
	c.ephemeral = func(s *suite) (*ecdh.PrivateKey, error) {
		b := f.value(t, "", secret)
		if first != nil && s.number == 6 {
			b = first
		}
		return s.ecdh().NewPrivateKey(b)
	}
	return c
}

// raw is an item that is no CBOR.
func (f *rfcTrace) raw(t testing.TB, name string) []byte {
	t.Helper()
	for _, item := range slices.Backward(f.Items) {
		if item.Name == name && strings.EqualFold(item.Kind, "raw value") {
			return vector.Bytes(t, item.Hex)
		}
	}
	t.Fatalf("no %s in the trace", name)
	return nil
}

func (f *rfcTrace) credential(t testing.TB, role string) *Credential {
	t.Helper()
	var c *Credential
	var err error
	if f.Method == SignSign {
		c, err = ParseX509(f.raw(t, "CRED_"+role))
	} else {
		c, err = ParseCCS(f.value(t, "", "CRED_"+role))
	}
	if err != nil {
		t.Fatal(err)
	}
	if id := f.value(t, "", "ID_CRED_"+role); !bytes.Equal(c.ID(), id) {
		t.Fatalf("ID_CRED_%s is %x; want %x", role, c.ID(), id)
	}
	return c
}

// TestRFC9529 goes through both traces in both roles, and looks up every value.
func TestRFC9529(t *testing.T) {
	for _, f := range rfcTraces(t) {
		t.Run(map[Method]string{SignSign: "section 2", DHDH: "section 3"}[f.Method], func(t *testing.T) {
			si, sr := seen{}, seen{}
			ci, cr := f.party(t, true, si), f.party(t, false, sr)
			var learned []Suite
			if f.Method == DHDH {
				learned = f.negotiate(t, ci, cr)
				clear(si)
				clear(sr)
			}
			i, err := NewInitiator(ci, learned)
			if err != nil {
				t.Fatal(err)
			}
			r, err := NewResponder(cr)
			if err != nil {
				t.Fatal(err)
			}
			h := &run{i: i, r: r, messages: 4}
			for n := 1; n <= 4; n++ {
				if err := h.step(n); err != nil {
					t.Fatal(err)
				}
				name := "message_" + string(rune('0'+n))
				if want := f.value(t, "", name); !bytes.Equal(h.m[n], want) {
					t.Fatalf("%s is %x; want %x", name, h.m[n], want)
				}
			}
			h.agree(t)
			if err := errors.Join(f.outcome(t, h.si, true), f.outcome(t, h.sr, false)); err != nil {
				t.Fatal(err)
			}
			for _, s := range []seen{si, sr} {
				f.lookUp(t, s)
			}
		})
	}
}

// negotiate is section 3.1 to 3.3 of RFC 9529: suite 6 is preferred, and refused.
func (f *rfcTrace) negotiate(t *testing.T, ci, cr *Config) []Suite {
	ed := newKey(t, cose.X25519, 1)
	six := newAuthenticator(t, ed, false, "", []byte{9})
	ci.Suites, ci.Own = []Suite{6, 2}, append(ci.Own, six)
	i, err := NewInitiator(ci, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The RFC's first G_X stands in P-256 although suite 6 is on X25519; only its
	// form counts here.
	m1, err := i.Message1(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := f.value(t, "message_1 (first time)", "message_1")
	if len(m1) != len(want) || !bytes.Equal(m1[:4], want[:4]) {
		t.Errorf("message_1 (first time) is %x; want %x", m1, want)
	}
	r, err := NewResponder(cr)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Message1(want)
	answer := AppendError(nil, err)
	if !bytes.Equal(answer, f.value(t, "error", "error")) {
		t.Fatalf("message_1 with suite 6 is answered with %x: %v", answer, err)
	}
	var e *Error
	if err := i.Message2(answer); !errors.As(err, &e) || !e.FromPeer || e.Code != WrongSuite {
		t.Fatal("initiator: ", err)
	}
	return e.Suites
}

// outcome checks the exporter, the OSCORE parameters, and the key update.
func (f *rfcTrace) outcome(t *testing.T, s *Session, initiator bool) error {
	t.Helper()
	o, err := s.OSCORE()
	if err != nil {
		return err
	}
	sender, recipient := f.value(t, "", "Client's OSCORE Sender ID"), f.value(t, "", "Server's OSCORE Sender ID")
	if !initiator {
		sender, recipient = recipient, sender
	}
	check := func(name string, got []byte, want []byte) {
		if !bytes.Equal(got, want) {
			t.Errorf("%s is %x; want %x", name, got, want)
		}
	}
	check("PRK_out", s.out[:s.k.size], f.value(t, "", "PRK_out"))
	check("PRK_exporter", s.exporter[:s.k.size], f.value(t, "", "PRK_exporter"))
	check("Sender ID", o.SenderID, sender)
	check("Recipient ID", o.RecipientID, recipient)
	check("Master Secret", o.Secret, f.value(t, "", "OSCORE Master Secret"))
	check("Master Salt", o.Salt, f.value(t, "", "OSCORE Master Salt"))
	if err := s.KeyUpdate(f.raw(t, "context for KeyUpdate")); err != nil {
		return err
	}
	if o, err = s.OSCORE(); err != nil {
		return err
	}
	check("PRK_out after KeyUpdate", s.out[:s.k.size], f.value(t, "", "PRK_out after KeyUpdate"))
	check("PRK_exporter after KeyUpdate", s.exporter[:s.k.size], f.value(t, "", "PRK_exporter after KeyUpdate"))
	check("Master Secret after KeyUpdate", o.Secret, f.value(t, "", "OSCORE Master Secret after KeyUpdate"))
	check("Master Salt after KeyUpdate", o.Salt, f.value(t, "", "OSCORE Master Salt after KeyUpdate"))
	return nil
}

// lookUp finds each intermediate value of the trace among those of one side.
func (f *rfcTrace) lookUp(t *testing.T, s seen) {
	t.Helper()
	found := 0
	for _, item := range f.Items {
		want := vector.Bytes(t, item.Hex)
		if strings.Contains(item.Section, "first time") || item.Section == "error" || len(want) == 0 {
			continue
		}
		if strings.EqualFold(item.Kind, "CBOR Data Item") || item.Kind == "CBOR byte string" {
			// A value that is there raw as well, dressed as a byte string.
			r, err := cbor.Parse(want)
			if err != nil {
				t.Fatal(err)
			}
			if r.Next() == cbor.Bytes {
				want = r.Bytes()
			}
		}
		name := item.Name
		switch {
		case strings.HasPrefix(name, "info for "):
			name = "info"
		case strings.HasPrefix(name, "Input to calculate"):
			name = "hash input"
		case name == "salt":
			name = "TH_2"
		case strings.HasSuffix(name, "after KeyUpdate") && strings.HasPrefix(name, "PRK"):
			name = strings.TrimSuffix(name, " after KeyUpdate")
		}
		if _, ok := s[name]; !ok {
			continue // what was given, or compared with a message or the outcome
		}
		found++
		if !s.has(name, want) {
			t.Errorf("%s (%s): not computed: %x", item.Name, item.Section, want)
		}
	}
	if found < 50 {
		t.Errorf("only %d values compared: the names do not match any more", found)
	}
}
