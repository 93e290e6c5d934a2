// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/myelin-health/myelin/link/cose"
)

var (
	vendor = [16]byte(unhexed("fa6b4a53d5ad5fdfbe9de663e4d41ffe"))
	class  = [16]byte(unhexed("1492af1425695e48bf429b2d51f2ab45"))
	policy = RecordOnFailure | SysinfoOnFailure
)

func newKey(t testing.TB, c cose.Curve, a cose.Algorithm) cose.Key {
	t.Helper()
	k, err := cose.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.ID, k.Alg = []byte{byte(a), 7}, a
	return k
}

func sign(t testing.TB, e *Envelope, k cose.Key) {
	t.Helper()
	if k.Type == cose.Symmetric {
		if err := e.Authenticate(&k); err != nil {
			t.Fatal(err)
		}
		return
	}
	s, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Sign(s, k.ID); err != nil {
		t.Fatal(err)
	}
}

// newEnvelope makes, signs, writes and reads.
func newEnvelope(t testing.TB, m *Manifest, k cose.Key, payloads ...Payload) *Envelope {
	t.Helper()
	e, err := NewEnvelope(m, payloads...)
	if err != nil {
		t.Fatal(err)
	}
	sign(t, e, k)
	if e, err = Decode(e.Append(nil)); err != nil {
		t.Fatal(err)
	}
	return e
}

func verified(t testing.TB, e *Envelope, keys ...cose.Key) *Manifest {
	t.Helper()
	m, err := e.Verify(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// release is a manifest with something of everything that a manifest may have.
func release(payload []byte) *Manifest {
	d, size := Sum(payload), uint64(len(payload))
	return &Manifest{
		SequenceNumber: 220,
		ReferenceURI:   "https://maker.example/flow500/2.2.0",
		ID:             NewComponentID("root.suit"),
		Version:        Version{2, 2, 0},
		MUD:            &MUD{URL: "https://maker.example/flow500.json", SKI: Sum([]byte("key"))},
		Components:     []ComponentID{NewComponentID("app"), NewComponentID("staging")},
		Shared: []Command{
			SetComponentIndex(0),
			Override(VendorIdentifier(vendor), ClassIdentifier(class), ImageDigest(d), ImageSize(size)),
			Do(ConditionVendorIdentifier, policy), Do(ConditionClassIdentifier, policy),
			SetComponentIndex(1),
			Override(ImageDigest(d), ImageSize(size)),
		},
		Sections: []SectionCommands{
			{Section: SectionValidate, Commands: []Command{SetComponentIndex(0), Do(ConditionImageMatch, policy)}},
			{Section: SectionInvoke, Commands: []Command{SetComponentIndex(0), Override(InvokeArgs([]byte("--now"))), Do(DirectiveInvoke, policy)}},
			{Section: SectionPayloadFetch, Severable: true, Commands: []Command{
				SetComponentIndex(1), TryEach([]Command{Do(ConditionImageMatch, 0)}, []Command{
					Override(URI("#app")), Do(DirectiveFetch, policy), Do(ConditionImageMatch, policy),
				}),
			}},
			{Section: SectionInstall, Severable: true, Commands: []Command{
				SetComponentIndex(0),
				Override(VersionIs(VersionMatch{GreaterEqual, Version{2, 1}}), MinimumBattery(900), UpdatePriority(-1), UseBefore(2e9),
					WaitInfo(WaitEvent{Event: EventPower, Value: 1},
						WaitEvent{Event: EventOtherDeviceVersion, Device: []byte("gateway"), Versions: []VersionMatch{{Equal, Version{3}}}},
						WaitEvent{Event: EventTimeOfDay, Value: 3600})),
				Do(ConditionVersion, policy), Do(ConditionMinimumBattery, policy), Do(ConditionUpdateAuthorized, policy), Do(ConditionUseBefore, policy),
				Do(DirectiveWait, policy),
				Override(SourceComponent(1)), Do(DirectiveCopy, policy), Do(ConditionImageMatch, policy),
			}},
			{Section: SectionUninstall, Commands: []Command{
				{Code: DirectiveSetComponentIndex, Index: Index{All: true}}, Do(DirectiveUnlink, policy),
			}},
		},
		Text: []Text{
			{Language: "de", Entries: []TextEntry{{TextUpdateDescription, "Bessere Pumpe"}}},
			{Language: "en-US", Entries: []TextEntry{{TextUpdateDescription, "A better pump"}}, Components: []ComponentText{
				{NewComponentID("app"), []TextEntry{{TextModelName, "Flow 500"}, {TextComponentVersion, "2.2.0"}}},
			}},
		},
		SeverableText: true,
		CoSWID:        []byte{0xa1, 0x00, 0x61, 'x'}, SeverableCoSWID: true,
	}
}

// ready is a device that release may be installed on.
func ready() *fakeDevice {
	d := newDevice()
	d.versions[id("app")], d.others["gateway"] = Version{2, 1, 4}, Version{3, 9}
	d.battery, d.priority, d.power, d.now = 1000, 5, 1, timeOf("2026-11-27T02:00:00Z")
	d.components[id("app")] = []byte("version 2.1.4")
	return d
}

// TestBuild makes a manifest with something of everything, and reads it again.
func TestBuild(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	m := release(imageA)
	e := newEnvelope(t, m, k, Payload{"#app", imageA})
	got := verified(t, e, k)
	ignore := cmp.Options{
		cmpopts.IgnoreUnexported(Manifest{}, SectionCommands{}), cmpopts.IgnoreFields(Command{}, "Off"),
		cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(m, got, ignore); diff != "" {
		t.Errorf("made and read:\n%s", diff)
	}
	d := ready()
	p := &Processor{Platform: d}
	for _, procedure := range []Procedure{Update, Invoke} {
		if err := p.Run(got, procedure); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(d.components[id("app")], imageA) || !slices.Equal(d.invoked, []string{"app --now"}) {
		t.Errorf("installed %d bytes, invoked %q", len(d.components[id("app")]), d.invoked)
	}

	// Severed and unpacked it is still signed, and invokes; it updates no more.
	for _, s := range []Section{SectionText, SectionCoSWID, SectionPayloadFetch, SectionInstall} {
		if !e.Sever(s) || e.Sever(s) {
			t.Fatalf("%v: severed twice, or never", s)
		}
	}
	if _, err := e.Verify(k); err == nil {
		t.Fatal("a payload is left that nothing names")
	}
	e.Payloads = nil
	e, err := Decode(e.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	got = verified(t, e, k)
	if err := p.Run(got, Invoke); err != nil {
		t.Error(err)
	}
	var run *RunError
	if err := p.Run(got, Update); !errors.As(err, &run) || run.Section != SectionPayloadFetch {
		t.Errorf("severed: %v", err)
	}
}

// TestSigners signs by each algorithm, changes each bit and has it refused, with
// kid and several signers too.
func TestSigners(t *testing.T) {
	keys := []cose.Key{
		newKey(t, cose.P256, cose.ES256), newKey(t, cose.P256, cose.ESP256),
		newKey(t, cose.CurveEd25519, cose.EdDSA), newKey(t, cose.CurveEd25519, cose.Ed25519),
		newKey(t, cose.P384, cose.ESP384),
		{Type: cose.Symmetric, Alg: cose.HMAC256, ID: []byte("mac"), K: bytes.Repeat([]byte{5}, 32)},
	}
	m := &Manifest{
		SequenceNumber: 1, Components: []ComponentID{NewComponentID("app")},
		Sections: []SectionCommands{
			{Section: SectionValidate, Commands: []Command{Override(ImageDigest(Sum(nil))), Do(ConditionImageMatch, 0)}},
			{Section: SectionInstall, Severable: true, Commands: []Command{Override(Content([]byte("x"))), Do(DirectiveWrite, 0)}},
		},
	}
	for i, k := range keys {
		t.Run(k.Alg.String(), func(t *testing.T) {
			b := newEnvelope(t, m, k).Append(nil)
			for at := range b {
				for bit := range 8 {
					if b[at] ^= 1 << bit; accepted(b, k) {
						t.Errorf("accepted with bit %d of byte %d changed", bit, at)
					}
					b[at] ^= 1 << bit
				}
			}
			for j, other := range keys {
				if accepted(b, other) != (i == j) {
					t.Errorf("accepted by the key for %v: %t", other.Alg, i != j)
				}
			}
			e, err := Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(e.Blocks[0].KeyID(), k.ID) || e.Blocks[0].Algorithm() != k.Alg {
				t.Errorf("kid %x, %v", e.Blocks[0].KeyID(), e.Blocks[0].Algorithm())
			}
		})
	}
	e := newEnvelope(t, m, keys[0])
	sign(t, e, keys[2])
	e, err := Decode(e.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := verified(t, e, keys...)
	if s := got.Signers(); len(s) != 2 || s[0].Alg != cose.ES256 || s[1].Alg != cose.EdDSA {
		t.Errorf("signers %v", s)
	}
	if accepted(e.Append(nil)) {
		t.Error("accepted without a key")
	}
	unsigned, err := NewEnvelope(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unsigned.Verify(keys...); !errors.Is(err, ErrVerification) {
		t.Errorf("unsigned: %v", err)
	}
	u, err := unsigned.UnverifiedManifest()
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Processor{Platform: newDevice(), AnyDevice: true}).Run(u, Update); !errors.Is(err, ErrUnverified) {
		t.Errorf("ran what nobody signed: %v", err)
	}
}

// TestPowerCut takes the power away at each step of the examples and of procedures
// that they have not, starts again, and finds what a run without a cut leaves. At no
// cut a component has a content that is neither the old nor a whole new one.
func TestPowerCut(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	secret := cose.Key{Type: cose.Symmetric, ID: []byte("kek"), K: bytes.Repeat([]byte{3}, 16)}
	info, sealed, err := Encrypt(cose.A128GCM, imageA, secret)
	if err != nil {
		t.Fatal(err)
	}
	two := []ComponentID{NewComponentID("a"), NewComponentID("b")}
	stories := map[string]struct {
		m         *Manifest
		payloads  []Payload
		device    func() *fakeDevice
		procedure Procedure
	}{
		"update": {release(imageA), []Payload{{"#app", imageA}}, ready, Update},
		"fetch of two": {&Manifest{Components: two, Sections: []SectionCommands{{Section: SectionInstall, Commands: []Command{
			SetComponentIndex(0), Override(ImageDigest(Sum(imageA)), ImageSize(uint64(len(imageA))), URI("http://example.com/a")), Do(DirectiveFetch, 0),
			SetComponentIndex(1), Override(ImageDigest(Sum(imageB)), ImageSize(uint64(len(imageB))), URI("http://example.com/b")), Do(DirectiveFetch, 0), Do(ConditionImageMatch, 0),
		}}}}, nil, func() *fakeDevice {
			d := newDevice()
			d.files["http://example.com/a"], d.files["http://example.com/b"] = imageA, imageB
			return d
		}, Update},
		"encrypted": {&Manifest{Components: two, Sections: []SectionCommands{{Section: SectionInstall, Commands: []Command{
			SetComponentIndex(1), Override(URI("#sealed")), Do(DirectiveFetch, 0),
			SetComponentIndex(0), Override(info, SourceComponent(1)), Do(DirectiveCopy, 0),
		}}}}, []Payload{{"#sealed", sealed}}, newDevice, Update},
		"fetch encrypted": {&Manifest{Components: two, Sections: []SectionCommands{{Section: SectionInstall, Commands: []Command{
			SetComponentIndex(0), Override(info, ImageDigest(Sum(imageA)), URI("http://example.com/sealed")), Do(DirectiveFetch, 0),
			SetComponentIndex(1), Override(ImageDigest(Sum(imageA)), SourceComponent(0)), Do(DirectiveCopy, 0),
		}}}}, nil, func() *fakeDevice {
			d := newDevice()
			d.files["http://example.com/sealed"] = sealed
			return d
		}, Update},
		"swap": {&Manifest{Components: two, Sections: []SectionCommands{{Section: SectionInstall, Commands: []Command{
			SetComponentIndex(0), Override(ImageDigest(Sum(imageB)), SourceComponent(1)), Do(DirectiveSwap, 0), Do(ConditionImageMatch, 0),
		}}}}, nil, func() *fakeDevice {
			d := newDevice()
			d.components[id("a")], d.components[id("b")] = imageA, imageB
			return d
		}, Update},
		"uninstall": {release(imageA), []Payload{{"#app", imageA}}, ready, Uninstall},
	}
	for name, s := range stories {
		t.Run(name, func(t *testing.T) {
			m := verified(t, newEnvelope(t, s.m, k, s.payloads...), k)
			run := func(d *fakeDevice) error {
				p := &Processor{Platform: d, Keys: []cose.Key{k}, Decrypt: []cose.Key{secret}, AnyDevice: true}
				return p.Run(m, s.procedure)
			}
			whole := s.device()
			if err := run(whole); err != nil {
				t.Fatal(err)
			}
			for n := range whole.steps {
				d := s.device()
				before := s.device().components
				d.left = n
				if err := run(d); !errors.Is(err, errPower) {
					t.Fatalf("cut at step %d: %v", n, err)
				}
				for c, b := range d.components {
					if old, ok := before[c]; !(ok && bytes.Equal(old, b)) && !bytes.Equal(b, imageA) && !bytes.Equal(b, imageB) && !bytes.Equal(b, sealed) {
						t.Fatalf("cut at step %d: component %x has %d bytes of something", n, c, len(b))
					}
				}
				d.left, d.off, d.fetched = -1, false, 0
				if err := run(d); err != nil {
					t.Fatalf("cut at step %d, and again: %v", n, err)
				}
				if d.state() != whole.state() {
					t.Fatalf("cut at step %d: %s, want %s", n, d.state(), whole.state())
				}
				if len(d.refetches) > 0 && d.fetched >= whole.fetched {
					t.Fatalf("cut at step %d: fetched all again", n)
				}
			}
		})
	}
}

// TestIntegratedMissing wants a payload that was taken out.
func TestIntegratedMissing(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	m := verified(t, newEnvelope(t, release(imageA), k), k)
	if err := (&Processor{Platform: ready()}).Run(m, Update); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestFlipsBeside changes each bit of an envelope with severable members and a payload
// beside the manifest. What is accepted is exactly the payload's own bytes, which only
// the image's digest vouches for: a device that runs it installs nothing.
func TestFlipsBeside(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	image := []byte("an image that stands in the envelope")
	b := newEnvelope(t, release(image), k, Payload{"#app", image}).Append(nil)
	at := bytes.Index(b, image)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			within := i >= at && i < at+len(image)
			if accepted(b, k) != within {
				t.Errorf("bit %d of byte %d changed: accepted %t", bit, i, !within)
			}
			if within {
				e, err := Decode(b)
				if err != nil {
					t.Fatal(err)
				}
				d := ready()
				before := d.state()
				if err := (&Processor{Platform: d}).Run(verified(t, e, k), Update); err == nil || d.state() != before {
					t.Errorf("bit %d of byte %d changed: %v, and the device holds %s", bit, i, err, d.state())
				}
			}
			b[i] ^= 1 << bit
		}
	}
}
