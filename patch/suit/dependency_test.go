// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

// radio is the manifest of a radio's maker: it installs component radio.
func radio(content string) *Manifest {
	return &Manifest{
		SequenceNumber: 3,
		Components:     []ComponentID{NewComponentID("radio")},
		Shared:         []Command{Override(ImageDigest(Sum([]byte(content))), ImageSize(uint64(len(content))))},
		Sections: []SectionCommands{
			{Section: SectionValidate, Commands: []Command{Do(ConditionImageMatch, 0)}},
			{Section: SectionInstall, Commands: []Command{
				{Code: DirectiveSetParameters, Parameters: NewParameters(URI("http://radio.example/fw"))}, Do(DirectiveFetch, 0),
			}},
			{Section: SectionUninstall, Commands: []Command{Do(DirectiveUnlink, 0)}},
		},
	}
}

// monitor is a manifest that depends on another: it installs component app, and has
// the dependency's envelope beside it.
func monitor(dependency *Envelope) *Manifest {
	check := []Command{
		SetComponentIndex(1), Override(ImageDigest(dependency.Digest)),
		Do(ConditionDependencyIntegrity, 0), Do(DirectiveProcessDependency, 0),
	}
	return &Manifest{
		SequenceNumber: 9,
		Components:     []ComponentID{NewComponentID("app")},
		Dependencies:   []Dependency{{Index: 1, Prefix: NewComponentID("radio.suit")}},
		Sections: []SectionCommands{
			{Section: SectionValidate, Commands: check},
			{Section: SectionDependencyResolution, Commands: []Command{
				SetComponentIndex(1), Override(ImageDigest(dependency.Digest), URI("#radio")), Do(DirectiveFetch, 0), Do(ConditionImageMatch, 0),
			}},
			{Section: SectionInstall, Commands: append(slices.Clone(check), SetComponentIndex(0), Override(Content([]byte("app"))), Do(DirectiveWrite, 0))},
			{Section: SectionUninstall, Commands: []Command{
				SetComponentIndex(1), Do(DirectiveUnlink, 0), SetComponentIndex(0), Do(DirectiveUnlink, 0),
			}},
		},
	}
}

// replace changes the commands of a section.
func (m *Manifest) replace(s Section, f func([]Command) []Command) {
	for i := range m.Sections {
		if m.Sections[i].Section == s {
			m.Sections[i].Commands = f(slices.Clone(m.Sections[i].Commands))
		}
	}
}

func without(code Code) func([]Command) []Command {
	return func(s []Command) []Command {
		return slices.DeleteFunc(s, func(c Command) bool { return c.Code == code })
	}
}

// TestDependencies updates and uninstalls with a dependency, and refuses one that is
// not what it should be.
func TestDependencies(t *testing.T) {
	maker, other := newKey(t, cose.P256, cose.ESP256), newKey(t, cose.CurveEd25519, cose.EdDSA)
	device := func() *fakeDevice {
		d := newDevice()
		d.files["http://radio.example/fw"] = []byte("radio firmware")
		return d
	}
	dependency := newEnvelope(t, radio("radio firmware"), other)
	run := func(d *fakeDevice, m *Manifest, dependency []byte, procedure Procedure, keys ...cose.Key) error {
		t.Helper()
		m = verified(t, newEnvelope(t, m, maker, Payload{"#radio", dependency}), maker)
		return (&Processor{Platform: d, Keys: keys, AnyDevice: true}).Run(m, procedure)
	}

	d := device()
	if err := run(d, monitor(dependency), dependency.Append(nil), Update, maker, other); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{
		id("app"): []byte("app"), id("radio"): []byte("radio firmware"), id("radio.suit"): dependency.Append(nil),
	}
	if diff := cmp.Diff(want, d.components); diff != "" {
		t.Error(diff)
	}
	d.links[id("radio.suit")] = []Digest{Sum(nil)} // another manifest needs the radio too
	if err := run(d, monitor(dependency), dependency.Append(nil), Uninstall, maker, other); err != nil {
		t.Fatal(err)
	}
	if !d.unlinked[id("app")] || !d.unlinked[id("radio.suit")] || d.unlinked[id("radio")] {
		t.Errorf("unlinked %v, and another needs the radio", d.unlinked)
	}
	own, err := NewEnvelope(monitor(dependency), Payload{"#radio", dependency.Append(nil)})
	if err != nil {
		t.Fatal(err)
	}
	d.links[id("radio.suit")] = []Digest{own.Digest} // nobody but this manifest
	d.components[id("radio.suit")] = dependency.Append(nil)
	if err := run(d, monitor(dependency), dependency.Append(nil), Uninstall, maker, other); err != nil || len(d.components) != 0 {
		t.Errorf("%v, and %d components are left", err, len(d.components))
	}

	wrong := newEnvelope(t, radio("something else"), other)
	severed, err := Decode(dependency.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	severed.Blocks = nil
	for _, x := range []struct {
		name       string
		change     func(*Manifest)
		dependency *Envelope
		keys       []cose.Key
		err        error
	}{
		{"another manifest", nil, wrong, []cose.Key{other}, ErrCondition},
		{"another manifest, unmatched", func(m *Manifest) {
			m.replace(SectionDependencyResolution, func(s []Command) []Command { s[1] = Override(URI("#radio")); return s[:3] })
		}, wrong, []cose.Key{other}, ErrDigest},
		{"no key for it", nil, dependency, []cose.Key{maker}, ErrVerification},
		{"unsigned", nil, severed, []cose.Key{maker, other}, ErrVerification},
		{"integrity not checked", func(m *Manifest) {
			m.replace(SectionInstall, without(ConditionDependencyIntegrity))
		}, dependency, []cose.Key{other}, ErrStructure},
		{"integrity checked before it came", func(m *Manifest) {
			m.replace(SectionInstall, func(s []Command) []Command {
				fetch := []Command{Override(ImageDigest(wrong.Digest), Content(wrong.Append(nil))), Do(DirectiveWrite, 0)}
				return slices.Insert(s, 3, fetch...)
			})
		}, dependency, []cose.Key{other}, ErrStructure},
		{"integrity without a digest", func(m *Manifest) {
			m.replace(SectionInstall, without(DirectiveOverrideParameters))
		}, dependency, []cose.Key{other}, ErrStructure},
		{"install not processed", func(m *Manifest) {
			m.replace(SectionInstall, without(DirectiveProcessDependency))
		}, dependency, []cose.Key{other}, ErrStructure},
		{"validate not there", func(m *Manifest) { m.Sections = m.Sections[1:] }, dependency, []cose.Key{other}, ErrStructure},
		{"older than the device's", func(m *Manifest) { m.SequenceNumber = 1 << 40 }, dependency, []cose.Key{other}, ErrSequenceNumber},
	} {
		d := device()
		m := monitor(dependency)
		if x.change != nil {
			x.change(m)
		}
		if m.SequenceNumber > 9 {
			d.sequence = 4 // the dependency is number 3
		}
		if err := run(d, m, x.dependency.Append(nil), Update, x.keys...); !errors.Is(err, x.err) {
			t.Errorf("%s: %v, want %v", x.name, err, x.err)
		}
	}
}

// TestSetParameters lets a dependent say where a dependency's image is, and not what
// it is.
func TestSetParameters(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	dependency := newEnvelope(t, radio("radio firmware"), k)
	m := monitor(dependency)
	m.Components = append(m.Components, NewComponentID("radio"))
	m.Dependencies[0].Index = 2
	for i := range m.Sections {
		for j, c := range m.Sections[i].Commands {
			if c.Code == DirectiveSetComponentIndex && c.Index.List[0] == 1 {
				m.Sections[i].Commands[j] = SetComponentIndex(2)
			}
		}
	}
	m.replace(SectionInstall, func(s []Command) []Command {
		return slices.Insert(s, 0, SetComponentIndex(1), Override(URI("http://mirror.example/fw"), ImageDigest(Sum(nil))))
	})
	d := newDevice()
	d.files["http://mirror.example/fw"] = []byte("radio firmware")
	p := &Processor{Platform: d, Keys: []cose.Key{k}, AnyDevice: true}
	if err := p.Run(verified(t, newEnvelope(t, m, k, Payload{"#radio", dependency.Append(nil)}), k), Update); err != nil {
		t.Fatal(err)
	}
	if string(d.components[id("radio")]) != "radio firmware" {
		t.Errorf("%q", d.components[id("radio")])
	}
}

// TestPrefix puts the components of a dependency below a prefix (trust-domains 5.2.2).
func TestPrefix(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	dependency := newEnvelope(t, radio("radio firmware"), k)
	m := monitor(dependency)
	m.Components = append(m.Components, NewComponentID("radio.suit"))
	m.Dependencies[0] = Dependency{Index: 1, Prefix: NewComponentID("left", "side")}
	d := newDevice()
	d.files["http://radio.example/fw"] = []byte("radio firmware")
	p := &Processor{Platform: d, Keys: []cose.Key{k}, AnyDevice: true}
	if err := p.Run(verified(t, newEnvelope(t, m, k, Payload{"#radio", dependency.Append(nil)}), k), Update); err != nil {
		t.Fatal(err)
	}
	if d.components[NewComponentID("left", "side", "radio").key()] == nil || d.components[id("radio.suit")] == nil {
		t.Errorf("%q", d.components)
	}
}

// TestChain goes down a chain of dependencies, as far as that goes.
func TestChain(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	for n := 1; n <= maxDependencies+1; n++ {
		e := newEnvelope(t, install(write("x")...), k)
		for range n {
			m := &Manifest{
				Components:   []ComponentID{NewComponentID("a")},
				Dependencies: []Dependency{{Index: 1, Prefix: NewComponentID("next.suit")}},
				Sections: []SectionCommands{{Section: SectionInstall, Commands: []Command{
					SetComponentIndex(1), Override(ImageDigest(e.Digest), URI("#next")), Do(DirectiveFetch, 0),
					Do(ConditionDependencyIntegrity, 0), Do(DirectiveProcessDependency, 0),
				}}},
			}
			e = newEnvelope(t, m, k, Payload{"#next", e.Append(nil)})
		}
		d := newDevice()
		err := (&Processor{Platform: d, Keys: []cose.Key{k}, AnyDevice: true}).Run(verified(t, e, k), Update)
		if want := n <= maxDependencies; want != (err == nil) || !want && !errors.Is(err, ErrLimit) || want && d.components[id("a")] == nil {
			t.Errorf("%d in a row: %v", n, err)
		}
	}
}

// TestEncryptedDependency is the example of firmware-encryption section 10.4, with the
// kid in its canonical place, and with the validate that trust-domains 5.1 asks of
// whoever depends on a manifest that has one: a distributor, who knows the device's
// key, sets what the maker's manifest decrypts with and checks.
func TestEncryptedDependency(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	name := NewComponentID("decrypted-firmware")
	dependency := newEnvelope(t, &Manifest{
		SequenceNumber: 1, ID: NewComponentID("dependency-manifest.suit"), Components: []ComponentID{name},
		Shared: []Command{SetComponentIndex(0), Override(ImageDigest(Sum(exampleImage)), ImageSize(30))},
		Sections: []SectionCommands{
			{Section: SectionValidate, Commands: []Command{Do(ConditionImageMatch, 15)}},
			{Section: SectionInstall, Commands: []Command{SetComponentIndex(0), Do(DirectiveWrite, 15), Do(ConditionImageMatch, 15)}},
		},
	}, k)
	if want := vector.Bytes(t, "4B15C90FBD776A820E7E733DF040D90B356B5C75982ECAECE8673818179BDF16"); !bytes.Equal(dependency.Digest.Bytes, want) {
		t.Errorf("the dependency is %x, and in the draft %x", dependency.Digest.Bytes, want)
	}
	info, content, err := Encrypt(cose.A128GCM, exampleImage, exampleReceiver(t))
	if err != nil {
		t.Fatal(err)
	}
	process := []Command{
		SetComponentIndex(1), Override(ImageDigest(dependency.Digest), URI("#dependency-manifest")),
		Do(DirectiveFetch, 15), Do(ConditionDependencyIntegrity, 15), Do(DirectiveProcessDependency, 15),
	}
	m := &Manifest{
		SequenceNumber: 1, ID: NewComponentID("dependent-manifest.suit"), Components: []ComponentID{name},
		Dependencies: []Dependency{{Index: 1, Prefix: NewComponentID("dependency-manifest.suit")}},
		Sections: []SectionCommands{
			{Section: SectionValidate, Commands: process},
			{Section: SectionInstall, Commands: append([]Command{SetComponentIndex(0), Override(Content(content), info)}, process...)},
		},
	}
	d := newDevice()
	p := &Processor{Platform: d, Keys: []cose.Key{k}, Decrypt: []cose.Key{exampleReceiver(t)}, AnyDevice: true}
	if err := p.Run(verified(t, newEnvelope(t, m, k, Payload{"#dependency-manifest", dependency.Append(nil)}), k), Update); err != nil {
		t.Fatal(err)
	}
	if got := d.components[name.key()]; !bytes.Equal(got, exampleImage) {
		t.Errorf("%q", got)
	}
}

// TestMACExample is that of firmware-encryption section 10.1: the MAC, the encrypted
// content and the key wrap are the draft's.
func TestMACExample(t *testing.T) {
	e, err := Decode(vector.Bytes(t, `D86BA2025853825824822F5820037A5C325CE14078A0AADF007428EAC6
		59361AD9402A732410BDA542FAE94E2C582AD18443A10105A0F658208D92
		599011C451A4C5FB69709FA6CA6C0F846D692BDBB3F624EC91F82F9F620A
		035898A4010102010357A102818152706C61696E746578742D6669726D77
		6172651458778414A212582E758C4B7BBAE2C4C1D462423E0F0DC3164FFA
		7B85BB94D4BD6D7ED26AB32FEB063385D4D3465927EC82CB5E198A591358
		3ED8608443A10101A1054CF14AAB9D81D51F7AD943FE87F6818340A20122
		04456B69642D31581875603FFC9518D794713C8CA8A115A7FB32565A6D59
		534D62120F`))
	if err != nil {
		t.Fatal(err)
	}
	k := cose.Key{Type: cose.Symmetric, K: bytes.Repeat([]byte("a"), 32)}
	d := newDevice()
	p := &Processor{Platform: d, Decrypt: []cose.Key{exampleKEK}, AnyDevice: true}
	if err := p.Run(verified(t, e, k), Update); err != nil {
		t.Fatal(err)
	}
	if got := d.components[id("plaintext-firmware")]; !bytes.Equal(got, exampleImage) {
		t.Errorf("%q", got)
	}
}
