// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/myelin-health/myelin/link/cose"
)

// seeds are envelopes to begin from.
func seeds(f *testing.F) [][]byte {
	k := newKey(f, cose.CurveEd25519, cose.EdDSA)
	dependency := newEnvelope(f, radio("radio firmware"), k)
	return [][]byte{
		newEnvelope(f, release([]byte("image")), k, Payload{"#app", []byte("image")}).Append(nil),
		newEnvelope(f, monitor(dependency), k, Payload{"#radio", dependency.Append(nil)}).Append(nil),
		dependency.Append(nil),
	}
}

// FuzzDecode decodes, and what is decoded is written as it came; a manifest is
// written out of what was read of it, and read again as the same.
func FuzzDecode(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			var s *SyntaxError
			if !errors.As(err, &s) || s.Off < 0 || s.Off > len(b) {
				t.Fatal(err)
			}
			return
		}
		if again := e.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		m, err := e.UnverifiedManifest()
		if err != nil {
			var s *SyntaxError
			if !errors.As(err, &s) || s.Off < 0 || s.Off > len(b) {
				t.Fatal(err)
			}
			return
		}
		again, err := NewEnvelope(m, e.Payloads...)
		if err != nil {
			t.Fatal(err)
		}
		m2, err := again.UnverifiedManifest()
		if err != nil {
			t.Fatal(err)
		}
		one, _, _ := m.encode()
		two, _, _ := m2.encode()
		if !bytes.Equal(one, two) {
			t.Fatalf("%x became %x", one, two)
		}
	})
}

// FuzzManifest puts a manifest into an envelope that is right otherwise, so that what
// is within gets its share.
func FuzzManifest(f *testing.F) {
	for _, b := range seeds(f) {
		if e, err := Decode(b); err == nil {
			f.Add(e.manifest)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := Envelope{manifest: b, Digest: Digest{Alg: cose.SHA256}.wrapped(b)}
		whole := e.Append(nil)
		again, err := Decode(whole)
		if err != nil {
			if len(b) <= MaxManifest {
				t.Fatal(err)
			}
			return
		}
		m, err := again.UnverifiedManifest()
		if err != nil {
			var s *SyntaxError
			if !errors.As(err, &s) || s.Off < 0 || s.Off > len(whole) {
				t.Fatal(err)
			}
			return
		}
		one, _, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(outlineOf(m)); n > maxCommands*maxParameters*2 {
			t.Fatalf("an outline of %d lines", n)
		}
		m.Images()
		e = Envelope{manifest: one, Digest: Digest{Alg: cose.SHA256}.wrapped(one)}
		m2, err := e.UnverifiedManifest()
		if err != nil {
			t.Fatal(err)
		}
		if two, _, _ := m2.encode(); !bytes.Equal(one, two) {
			t.Fatalf("%x became %x", one, two)
		}
	})
}

// FuzzRun runs whatever sequence of commands, twice, on a device where things may be:
// it ends, does the same both times, and writes nothing that a digest speaks against.
func FuzzRun(f *testing.F) {
	for _, b := range seeds(f) {
		e, err := Decode(b)
		if err != nil {
			continue
		}
		m, err := e.UnverifiedManifest()
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range m.Sections {
			f.Add(appendSequence(nil, s.Commands))
		}
	}
	f.Add(appendSequence(nil, []Command{SetComponentIndex(0), TryEach(write("x"), nil), Do(DirectiveWrite, 0)}))
	k := cose.Key{Type: cose.Symmetric, Alg: cose.HMAC256, K: make([]byte, 32)}
	dependency := newEnvelope(f, radio("radio firmware"), k).Append(nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &Manifest{
			Components:   []ComponentID{NewComponentID("app"), NewComponentID("staging")},
			Dependencies: []Dependency{{Index: 2, Prefix: NewComponentID("radio.suit")}},
			envelope:     &Envelope{}, signers: []cose.Key{k},
		}
		r, err := newReader(b, 0, "install")
		if err != nil {
			return
		}
		s, err := m.sequence(&r, false)
		if err != nil {
			return
		}
		m.Sections = []SectionCommands{{Section: SectionInstall, Commands: s}}
		run := func() (*fakeDevice, int, error) {
			d := ready()
			d.components[id("radio.suit")] = dependency
			d.files["http://example.com/a"], d.files["http://radio.example/fw"] = []byte("image"), []byte("radio firmware")
			n := 0
			p := &Processor{
				Platform: d, Keys: []cose.Key{k}, Decrypt: []cose.Key{exampleKEK}, AnyDevice: true, MaxImage: 1 << 16,
				Record: func(Record) { n++ },
			}
			err := p.Run(m, Update)
			return d, n, err
		}
		d1, n1, err1 := run()
		d2, n2, err2 := run()
		if d1.state() != d2.state() || n1 != n2 || (err1 == nil) != (err2 == nil) || n1 > maxExecuted {
			t.Fatalf("%d commands, %v; and again %d, %v", n1, err1, n2, err2)
		}
		var e *RunError
		if err1 != nil && !errors.As(err1, &e) && !errors.Is(err1, fs.ErrNotExist) {
			t.Fatal(err1)
		}
	})
}

// FuzzEncryptionInfo reads what says how a payload is encrypted.
func FuzzEncryptionInfo(f *testing.F) {
	for _, x := range exampleInfos {
		var b []byte
		for _, part := range bytes.Fields([]byte(x.info)) {
			b = append(b, unhexed(string(part))...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newReader(b, 0, "encryption-info")
		if err != nil {
			return
		}
		e, err := r.encryptionInfo()
		if err != nil {
			var s *SyntaxError
			if !errors.As(err, &s) || s.Off < 0 || s.Off > len(b) {
				t.Fatal(err)
			}
			return
		}
		if len(e.recipients) == 0 || contentKey(e.alg) == 0 {
			t.Fatal("no recipients, or no algorithm")
		}
	})
}
