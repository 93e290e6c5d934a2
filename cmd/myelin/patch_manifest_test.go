// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch/suit"
)

// A shelf is a device that keeps images in memory. What it has no answer to, no
// release of these tests asks.
type shelf struct {
	suit.Platform
	images, web map[string][]byte
	version     suit.Version
	now         time.Time
	started     []string
}

func (s *shelf) SequenceNumber(suit.ComponentID) (uint64, error) { return 219, nil }
func (s *shelf) Version(suit.ComponentID) (suit.Version, error)  { return s.version, nil }
func (s *shelf) Battery() (uint64, error)                        { return 900, nil }
func (s *shelf) Authorized(priority int64) (bool, error)         { return priority <= 0, nil }
func (s *shelf) Ready(w suit.WaitEvent) (bool, error)            { return w.Value == 1, nil }
func (s *shelf) Now() time.Time                                  { return s.now }
func (s *shelf) Invoke(c suit.ComponentID, arguments []byte) error {
	s.started = append(s.started, c.String()+" "+string(arguments))
	return nil
}

func (s *shelf) Create(c suit.ComponentID, _ suit.Image) (suit.Writer, error) {
	return &box{shelf: s, component: c.String()}, nil
}

func (s *shelf) Open(c suit.ComponentID) (io.ReadCloser, error) { return open(s.images, c.String(), 0) }

func (s *shelf) Fetch(uri string, _ []byte, off int64) (io.ReadCloser, error) {
	return open(s.web, uri, off)
}

func (s *shelf) Identified(_ suit.ComponentID, c suit.Code, id []byte) (bool, error) {
	vendor := suit.VendorUUID("norra.example")
	class := suit.ClassUUID(vendor, "Flow 500")
	want := map[suit.Code][16]byte{suit.ConditionVendorIdentifier: vendor, suit.ConditionClassIdentifier: class}[c]
	return bytes.Equal(id, want[:]), nil
}

func open(m map[string][]byte, name string, off int64) (io.ReadCloser, error) {
	b, ok := m[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b[off:])), nil
}

// A box is an image on its way to the shelf.
type box struct {
	bytes.Buffer
	shelf     *shelf
	component string
}

func (b *box) Resume(io.Writer) (int64, error) { return 0, nil }
func (b *box) Abort(bool) error                { return nil }
func (b *box) Commit() error                   { b.shelf.images[b.component] = b.Bytes(); return nil }

// TestReleaseInstalls makes a release as its engineer does, and has a device install
// and start it: in clear, inside the envelope, and encrypted.
func TestReleaseInstalls(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	myelin := func(args ...string) {
		t.Helper()
		var out, errs strings.Builder
		if code := run(t.Context(), args, strings.NewReader(""), &out, &errs); code != exitDone {
			t.Fatalf("%q: exit %d, %s", args, code, &errs)
		}
	}
	for name, text := range map[string]string{
		"flow500.bin": "the firmware", "settings.bin": "settings", "key.bin": "a second image",
		"release.yaml": `manifest: 1
sequence: 220
version: 2.2.0
vendor: norra.example
class: Flow 500
over: ">= 2.1"
battery: 900
priority: -1
expires: 2027-06-30
power: 1
time-of-day: "02:00"
components:
  - {id: app, file: flow500.bin, uri: "https://norra.example/flow500.bin", stage: staging, arguments: --now}
  - {id: settings, file: settings.bin}
  - {id: secret, file: key.bin, uri: "https://norra.example/key", stage: waiting, encrypt-for: pump.key.pub}
`,
	} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	myelin("link", "keygen", "--out", file("maker.key"))
	myelin("link", "keygen", "--out", file("pump.key"))
	myelin("patch", "manifest", "make", file("release.yaml"), "--key", file("maker.key"), "--out", file("r.suit"))
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	e, err := suit.Decode(read("r.suit"))
	if err != nil {
		t.Fatal(err)
	}
	maker, err := publicKey(file("maker.key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	pump, err := privateKey(file("pump.key"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Verify(maker)
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{
		images: map[string][]byte{}, version: suit.Version{2, 1, 4}, now: time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC),
		web: map[string][]byte{"https://norra.example/flow500.bin": read("flow500.bin"), "https://norra.example/key": read("key.bin.enc")},
	}
	p := suit.Processor{Platform: s, Decrypt: []cose.Key{pump}}
	if err := p.Run(m, suit.Update); !errors.Is(err, suit.ErrWait) || s.images["app"] != nil || s.images["staging"] == nil {
		t.Fatalf("before two: %v", err)
	}
	s.now = s.now.Add(time.Hour)
	for _, procedure := range []suit.Procedure{suit.Update, suit.Invoke} {
		if err := p.Run(m, procedure); err != nil {
			t.Fatal(err)
		}
	}
	for component, want := range map[string]string{"app": "the firmware", "settings": "settings", "secret": "a second image"} {
		if got := string(s.images[component]); got != want {
			t.Errorf("%s: %q", component, got)
		}
	}
	if len(s.started) != 1 || s.started[0] != "app --now" {
		t.Errorf("started %q", s.started)
	}
	s.version = suit.Version{2, 0, 9}
	delete(s.images, "app")
	if err := p.Run(m, suit.Update); !errors.Is(err, suit.ErrCondition) || s.images["app"] != nil {
		t.Errorf("over 2.0.9: %v", err)
	}
}
