// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/delta"
	"github.com/myelin-health/myelin/patch/suit"
)

// A party signs.
type party struct {
	signer cose.Signer
	public cose.Key
	kid    []byte
}

func newParty(t testing.TB) party {
	t.Helper()
	k, err := cose.GenerateKey(cose.CurveEd25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	public := k.Public()
	return party{s, public, patch.KeyID(&public)}
}

var (
	vendor   = [16]byte{1}
	class    = [16]byte{2}
	firmware = suit.ComponentID{[]byte("firmware")}
)

// An img is firmware as the device of these tests runs it: its first line says which
// version it is, and what is wrong with it.
func img(version, faults string, size int) []byte {
	b := make([]byte, size)
	r := mathrand.New(mathrand.NewPCG(uint64(len(version)), 7))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	copy(b, version+" "+faults+"\n")
	return b
}

// A release is a version on its way.
type release struct {
	patch.Release
	envelope []byte
	files    map[string][]byte // by URI
}

// withDelta puts a delta from the version that runs beside the image.
func (w *world) withDelta() {
	w.t.Helper()
	key := patch.Digest(sha256.Sum256(w.release1.files["firmware.bin"]))
	b := deltas[key]
	if b == nil {
		var err error
		if b, err = delta.Diff(w.old, w.release1.files["firmware.bin"], delta.Options{Page: 1024}); err != nil {
			w.t.Fatal(err)
		}
		deltas[key] = b
	}
	w.release1.files["2.1.4.delta"] = b
}

// deltas are those that were made, by image.
var deltas = map[patch.Digest][]byte{}

// A recipe is what a release is made of.
type recipe struct {
	version  string
	sequence uint64
	image    []byte
	maker    party
	class    [16]byte
	change   func(*suit.Manifest)
}

func (w *world) release(r recipe) *release {
	w.t.Helper()
	var v suit.Version
	for s := range strings.SplitSeq(r.version, ".") {
		n := int64(0)
		fmt.Sscan(s, &n)
		v = append(v, n)
	}
	m := &suit.Manifest{
		SequenceNumber: r.sequence, Version: v, Components: []suit.ComponentID{firmware},
		Shared: []suit.Command{
			suit.Override(suit.VendorIdentifier(vendor), suit.ClassIdentifier(r.class), suit.ImageDigest(suit.Sum(r.image)), suit.ImageSize(uint64(len(r.image)))),
			suit.Do(suit.ConditionVendorIdentifier, 0), suit.Do(suit.ConditionClassIdentifier, 0),
		},
		Sections: []suit.SectionCommands{
			{Section: suit.SectionPayloadFetch, Commands: []suit.Command{suit.Override(suit.URI("firmware.bin")), suit.Do(suit.DirectiveFetch, 0), suit.Do(suit.ConditionImageMatch, 0)}},
			{Section: suit.SectionValidate, Commands: []suit.Command{suit.Do(suit.ConditionImageMatch, 0)}},
		},
	}
	if r.change != nil {
		r.change(m)
	}
	e, err := suit.NewEnvelope(m)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := e.Sign(r.maker.signer, r.maker.kid); err != nil {
		w.t.Fatal(err)
	}
	b := e.Append(nil)
	return &release{
		Release: patch.Release{
			Version: r.version, Sequence: r.sequence, Envelope: sha256.Sum256(b), Size: int64(len(b)),
			Demands: patch.Demands{
				Hardware: []string{"C"}, From: []string{"2.1.4"}, Backup: time.Minute, Longest: 5 * time.Minute, Resume: 2 * time.Minute, Battery: 40,
			},
		},
		envelope: b, files: map[string][]byte{"firmware.bin": r.image},
	}
}

// A world is a device, its server, and the time that both live in.
type world struct {
	t      testing.TB
	maker  party
	nurse  party // the hospital's key, of offers
	clerk  party // the server's, of answers
	device party
	trusts [3]cose.Key // makers, offers, answers

	clock time.Duration
	date  time.Time // at clock 0

	layout  Layout
	memory  [4]*Memory // record, slot A, slot B, checkpoints of a delta
	agent   *Agent
	start   Start
	running string // the first line of what runs
	old     []byte

	// The device.
	doing     patch.Activity
	battery   int
	settings  string
	saved     patch.Digest
	quiet     bool
	restart   bool
	dog       time.Duration // when it bites; 0: never
	noDog     error         // that Watch returns
	bites     int
	hangs     bool
	began     time.Duration
	onQuiesce func()
	late      error  // that Quiesce returns, though it did
	complaint string // of the self-test

	// The server.
	release1 *release
	number   uint64
	counts   uint64
	heard    uint64
	void     uint64
	results  []patch.Result
	states   []patch.State
	answer   func(s *patch.State, a *patch.Answer, o *patch.Offer) // spoils them
	read     func(path string, p []byte, off int64) (int, error)
	poll     func(state []byte) ([]byte, error)
	fetched  int64
	by       map[string]int64 // of it, by name
	never    bool             // install
	every    int64            // bytes between polls
	server   Server           // that the device asks: the world itself, or a way to it
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, maker: newParty(t), nurse: newParty(t), clerk: newParty(t), device: newParty(t), date: time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC),
		battery: 80, settings: "basal 0.8 U/h", complaint: "pump motor", old: img("2.1.4", "", 9000), number: 1,
	}
	w.server = w
	w.trusts = [3]cose.Key{w.maker.public, w.nurse.public, w.clerk.public}
	w.memory = [4]*Memory{NewMemory(8<<10, 4096, 256), NewMemory(16<<10, 1024, 256), NewMemory(16<<10, 1024, 256), NewMemory(20<<10, 1024, 512)}
	w.layout = Layout{Record: w.memory[0], Slots: [2]Flash{w.memory[1], w.memory[2]}, Delta: w.memory[3]}
	if err := Provision(&w.layout, bytes.NewReader(w.old), "2.1.4", 7); err != nil {
		t.Fatal(err)
	}
	w.release1 = w.release(recipe{version: "2.2.0", sequence: 8, image: img("2.2.0", "", 11000), maker: w.maker, class: class})
	return w
}

func (w *world) digest() patch.Digest { return sha256.Sum256([]byte(w.settings)) }

func (w *world) has(fault string) bool { return strings.Contains(w.running, fault) }

// State implements [Device].
func (w *world) State(s *patch.State) {
	s.Doing, s.Known, s.Battery, s.Link = w.doing, patch.All, w.battery, 90
	s.Settings, s.Saved = w.digest(), w.saved
}

func (w *world) Save() (patch.Digest, error) {
	w.saved = w.digest()
	return w.saved, nil
}

func (w *world) Quiesce() error {
	w.quiet = true
	if w.onQuiesce != nil {
		w.onQuiesce()
	}
	return w.late
}
func (w *world) Release() { w.quiet = false }
func (w *world) Restart() { w.restart = true }
func (w *world) Watch(d time.Duration) error {
	if w.dog = 0; d > 0 && w.noDog == nil {
		w.dog = w.clock + d
	}
	return w.noDog
}

func (w *world) SelfTest() error {
	if w.has("self-test") {
		return errors.New(w.complaint)
	}
	return nil
}

func (w *world) Resumed() bool { return !w.has("no-resume") && w.clock-w.began >= 5*time.Second }

// Poll implements [Server].
func (w *world) Poll(_ context.Context, b []byte) ([]byte, error) {
	if w.poll != nil {
		return w.poll(b)
	}
	return w.serve(b)
}

func (w *world) serve(b []byte) ([]byte, error) {
	var s patch.State
	if err := patch.Open(b, &s, keyOf([]cose.Key{w.device.public})); err != nil {
		return nil, err
	}
	if s.Count <= w.counts {
		w.t.Errorf("a State with count %d after %d", s.Count, w.counts)
	}
	w.counts = s.Count
	w.states = append(w.states, s)
	a := patch.Answer{Device: "dev-1", Nonce: s.Nonce, Challenge: []byte{1}, Next: time.Minute, Void: w.void, Heard: w.heard}
	if s.Nonce != nil {
		a.Time = w.date.Add(w.clock)
	}
	if s.Result != nil {
		w.results = append(w.results, *s.Result)
		a.Heard, w.heard = s.Count, s.Count
		if s.Result.Outcome != patch.Installed {
			w.number++
		}
	}
	r := w.release1
	o := &patch.Offer{
		Device: "dev-1", Number: w.number, Envelope: r.Envelope, Size: r.Size, Path: "flow500/2.2.0/envelope.suit", Version: r.Version, Sequence: r.Sequence,
		Install: s.Staged == r.Envelope && !w.never, Issued: w.date.Add(w.clock), Expires: w.date.Add(w.clock + 5*time.Minute), Demands: r.Demands,
	}
	if s.Version == r.Version {
		o = nil
	}
	if w.answer != nil {
		w.answer(&s, &a, o)
	}
	if o != nil && o.Number > 0 {
		b, err := patch.Sign(o, w.nurse.signer, w.nurse.kid)
		if err != nil {
			w.t.Fatal(err)
		}
		a.Offer = b
	}
	if s.Nonce == nil {
		return patch.Append(nil, &a), nil
	}
	return patch.Sign(&a, w.clerk.signer, w.clerk.kid)
}

// ReadAt implements [Server].
func (w *world) ReadAt(_ context.Context, path string, p []byte, off int64) (int, error) {
	if w.read != nil {
		return w.read(path, p, off)
	}
	return w.file(path, p, off)
}

func (w *world) file(path string, p []byte, off int64) (int, error) {
	name, ok := strings.CutPrefix(path, "flow500/2.2.0/")
	b, found := w.release1.files[name]
	if name == "envelope.suit" {
		b, found = w.release1.envelope, true
	}
	if !ok || !found {
		return 0, fs.ErrNotExist
	}
	n, err := bytes.NewReader(b).ReadAt(p, off)
	w.fetched += int64(n)
	if w.by == nil {
		w.by = map[string]int64{}
	}
	w.by[name] += int64(n)
	return n, err
}

// boot starts the device, as its loader does.
func (w *world) boot() error {
	w.quiet, w.restart, w.dog, w.hangs = false, false, 0, false
	w.began = w.clock
	s, err := Boot(&w.layout)
	if err != nil {
		return err
	}
	w.start = s
	head := make([]byte, 100)
	if err := readFull(w.layout.Slots[s.Slot], head, 0); err != nil {
		return err
	}
	w.running, _, _ = strings.Cut(string(head), "\n")
	if w.has("lost-settings") {
		w.settings = "factory"
	}
	if w.has("restores-settings") {
		w.settings = "basal 0.8 U/h"
	}
	if w.hangs = w.has("hang"); w.hangs {
		w.dog = w.clock + s.Watch
		return nil
	}
	w.agent, err = New(Config{
		ID: "dev-1", Hardware: "C", Vendor: vendor, Class: class, Component: firmware, Layout: w.layout, Device: w, Server: w.server,
		Signer: w.device.signer, KeyID: w.device.kid, Makers: w.trusts[:1], Offers: w.trusts[1:2], Answers: w.trusts[2:],
		Clock: func() time.Duration { return w.clock }, Progress: 2048, PollEvery: w.every,
	}, s)
	return err
}

// run lets the device live until done says so, the power is lost, or a day is over.
// Errors of steps are collected.
func (w *world) run(done func() bool) (errs []error, err error) {
	w.t.Helper()
	for end := w.clock + 24*time.Hour; w.clock < end; {
		if w.agent == nil || w.restart {
			if err := w.boot(); err != nil {
				return errs, err
			}
		}
		if w.hangs {
			w.clock, w.agent = w.dog, nil
			w.bites++
			continue
		}
		wait, err := w.agent.Step(context.Background())
		switch {
		case errors.Is(err, ErrPower):
			w.agent = nil
			return errs, err
		case errors.Is(err, ErrRestart) != w.restart:
			w.t.Fatalf("%v, and the device is told to restart: %v", err, w.restart)
		case w.restart:
			w.clock += 2 * time.Second
			continue
		case err != nil:
			errs = append(errs, err)
		}
		if p := w.agent.boot.phase; err == nil && w.quiet != (p == trial || p == fallen) {
			w.t.Errorf("in phase %d it lets therapy begin: %v", p, !w.quiet)
		}
		if done() {
			return errs, nil
		}
		if w.dog > 0 && w.clock+wait > w.dog {
			w.clock, w.agent = w.dog, nil
			w.bites++
			continue
		}
		w.clock += wait
	}
	return errs, fmt.Errorf("not done in a day: %q", w.running)
}

// switched lets the device live until it is to start what is on trial.
func (w *world) switched() {
	w.t.Helper()
	if err := w.boot(); err != nil {
		w.t.Fatal(err)
	}
	for !w.restart {
		wait, err := w.agent.Step(context.Background())
		if err != nil && !errors.Is(err, ErrRestart) {
			w.t.Fatal(err)
		}
		w.clock += wait
	}
	w.clock += 2 * time.Second
}

// heardOf says that the server has so many results, and the device knows.
func (w *world) heardOf(n int) func() bool {
	return func() bool { return len(w.results) >= n && w.agent.boot.result == nil }
}

// updated says that the new version is confirmed, and the server knows.
func (w *world) updated() bool {
	b := w.agent.boot
	return b.result == nil && b.phase == idle && b.slots[b.runs].version == w.release1.Version
}

// cutBy makes the power of all flash go.
func (w *world) cutBy(p *power) {
	for _, m := range w.memory {
		m.Cut = p.cut
	}
}

// image is what the device runs.
func (w *world) image() []byte {
	b := make([]byte, w.start.Size)
	if err := readFull(w.layout.Slots[w.start.Slot], b, 0); err != nil {
		w.t.Fatal(err)
	}
	return b
}

var _ io.ReaderAt = (*Memory)(nil)
