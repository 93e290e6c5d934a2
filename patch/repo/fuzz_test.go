// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/myelin-health/myelin/patch"
)

// hostile is metadata that go-tuf 2.4.2 panics on, or that means two things.
var hostile = map[string]struct{ role, text string }{
	"a target that is null":        {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{"a":null}},"signatures":[]}`},
	"a key that is null":           {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{"a":null},"roles":[{"name":"x","keyids":["a"],"threshold":1,"terminating":false,"paths":["*"]}]}},"signatures":[]}`},
	"a key of another length":      {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{"a":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}},"roles":[{"name":"x","keyids":["a"],"threshold":1,"terminating":false,"paths":["*"]}]}},"signatures":[]}`},
	"more bins than a hash has":    {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{},"succinct_roles":{"keyids":["a"],"threshold":1,"bit_length":33,"name_prefix":"x"}}},"signatures":[]}`},
	"a role called root":           {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{},"roles":[{"name":"root","keyids":["a"],"threshold":1,"terminating":false,"paths":["*"]}]}},"signatures":[]}`},
	"a role twice":                 {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{},"roles":[{"name":"x","keyids":["a"],"threshold":1,"terminating":false,"paths":["*"]},{"name":"x","keyids":["a"],"threshold":1,"terminating":false,"paths":["*"]}]}},"signatures":[]}`},
	"a name twice":                 {Targets, `{"signed":{"_type":"targets","_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{}},"signatures":[]}`},
	"something behind it":          {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{}},"signatures":[]}{}`},
	"a negative length":            {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{"a":{"length":-1,"hashes":{"sha256":"00"}}}},"signatures":[]}`},
	"another specification":        {Targets, `{"signed":{"_type":"targets","spec_version":"2.0","version":1,"expires":"2030-01-01T00:00:00Z","targets":{}},"signatures":[]}`},
	"version 0":                    {Targets, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":0,"expires":"2030-01-01T00:00:00Z","targets":{}},"signatures":[]}`},
	"a timestamp without snapshot": {Timestamp, `{"signed":{"_type":"timestamp","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","meta":{}},"signatures":[]}`},
	"a root without targets":       {Root, `{"signed":{"_type":"root","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","keys":{},"roles":{"root":{"keyids":[],"threshold":1}}},"signatures":[]}`},
	"another type":                 {Root, `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{}},"signatures":[]}`},
	"very deep":                    {Targets, `{"signed":{"_type":"targets","x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}}`},
}

func TestHostileMetadata(t *testing.T) {
	for name, m := range hostile {
		if err := wellFormed(m.role, []byte(m.text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sound := `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","targets":{"a":{"length":1,"hashes":{"sha256":"00"},"custom":{"a":[1]}}}},"signatures":[]}`
	if err := wellFormed(Targets, []byte(sound)); err != nil {
		t.Error(err)
	}
}

// FuzzMetadata shows that go-tuf does not panic on metadata that was looked
// through, whatever it is then asked.
func FuzzMetadata(f *testing.F) {
	for _, m := range hostile {
		for i, role := range topLevel {
			if role == m.role {
				f.Add(uint8(i), []byte(m.text))
			}
		}
	}
	x := newForge(f)
	x.delegate(Targets, "one", false, "a/*")
	x.target("one", "a/b", "content")
	fx := x.fixture()
	f.Add(uint8(0), fx.root)
	f.Add(uint8(1), fx.metadata["timestamp.json"])
	f.Add(uint8(2), fx.metadata["1.snapshot.json"])
	f.Add(uint8(3), fx.metadata["1.targets.json"])
	f.Fuzz(func(t *testing.T, role uint8, b []byte) {
		name := topLevel[int(role)%len(topLevel)]
		if wellFormed(name, b) != nil {
			return
		}
		switch name {
		case Root:
			m, err := metadata.Root().FromBytes(b)
			if err != nil {
				return
			}
			for _, r := range topLevel {
				_ = m.VerifyDelegate(r, m)
			}
			m.Signed.IsExpired(then)
		case Timestamp:
			m, err := metadata.Timestamp().FromBytes(b)
			if err == nil && m.Signed.Meta["snapshot.json"].Version < 1 {
				t.Error("a snapshot without version")
			}
		case Snapshot:
			m, err := metadata.Snapshot().FromBytes(b)
			if err != nil {
				return
			}
			for _, f := range m.Signed.Meta {
				_ = f.VerifyLengthHashes(b)
			}
		case Targets:
			m, err := metadata.Targets().FromBytes(b)
			if err != nil {
				return
			}
			for path, f := range m.Signed.Targets {
				_ = f.VerifyLengthHashes(b)
				if m.Signed.Delegations != nil {
					_ = rolesFor(m.Signed.Delegations, path)
				}
			}
			if m.Signed.Delegations == nil {
				return
			}
			for _, r := range rolesFor(m.Signed.Delegations, "a/b") {
				_ = m.VerifyDelegate(r.Name, m)
			}
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	p := newParty(f)
	r, files := flow500("2.2.0")
	made, err := p.AddRelease(Targets, r, files)
	p.must(err)
	b, err := json.Marshal(made)
	p.must(err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseBundle(b)
		if err != nil {
			return
		}
		if !validPath(Folder(&got.Release)) || got.File(Envelope) == nil {
			t.Fatalf("a release in %q", Folder(&got.Release))
		}
		again(t, got, ParseBundle)
	})
}

func FuzzParseAssignment(f *testing.F) {
	f.Add([]byte(`{"schema":1,"device":"pump-3","releases":[]}`))
	f.Add([]byte(`{"schema":1,"ring":"icu","releases":[{"manufacturer":"Norra Medical","model":"Flow 500","version":"2.2.0","folder":"norra-medical/flow-500/2.2.0",` +
		`"document":"` + strings.Repeat("01", 32) + `","envelope":"` + strings.Repeat("02", 32) + `","size":17}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseAssignment(b)
		if err != nil {
			return
		}
		if !validPath(AssignmentPath(got.Device, got.Ring)) {
			t.Fatalf("an assignment at %q", AssignmentPath(got.Device, got.Ring))
		}
		for _, r := range got.Releases {
			if !validPath(r.Folder) {
				t.Fatalf("a release in %q", r.Folder)
			}
		}
		got.Releases = full(got.Releases)
		again(t, got, ParseAssignment)
	})
}

// again wants a document that is written and read again to be the same.
func again[T any](t *testing.T, v *T, parse func([]byte) (*T, error)) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	w, err := parse(b)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if !reflect.DeepEqual(v, w) {
		t.Fatalf("%+v became %+v", v, w)
	}
}

// described is the release of the sample ward.
const described = `release: 1
manufacturer: Norra Medical
model: Flow 500
version: "2.2.0"
sequence: 22
hardware: [C]
from: [2.1.3, 2.1.4]
urgency: uncontrolled risk
learned: 2026-01-12
notes: Orders are taken only from who is proven.
demands:
  backup: 3m
  keeps: delivering
  longest: 12m
  resume: 1m
  supervision: clinician present
  battery: 40
envelope: build/flow500.suit
images: [build/flow500.bin]
deltas: {2.1.4: build/from-2.1.4.delta}
sbom: bom.cdx.json
vex: vex.json
advisories: {ADA-2026-01: ada-2026-01.json}
`

func TestDescription(t *testing.T) {
	d, err := ParseDescription("release.yaml", []byte(described))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := flow500("2.2.0")
	want.Demands.Keeps, want.Notes = patch.Delivering, "Orders are taken only from who is proven."
	if !reflect.DeepEqual(d.Release, want) {
		t.Errorf("%+v", d.Release)
	}
	if len(d.Files) != 6 || d.Files[0].Path != "build/flow500.suit" || d.Files[0].Name != "flow500.suit" || d.Files[2].From != "2.1.4" || d.Files[2].Name != "2.1.4.delta" || d.Files[5].ID != "ADA-2026-01" || d.Files[5].Line != 23 {
		t.Errorf("%+v", d.Files)
	}
	for from, to := range map[string]string{
		"supervision: clinician present": "supervision: a nurse", "keeps: delivering": "keeps: singing", "urgency: uncontrolled risk": "urgency: soon",
		"learned: 2026-01-12": "learned: in May", "  battery: 40": "  battery: 140", "sbom: bom.cdx.json\n": "", "  longest: 12m\n": "",
		"advisories: {ADA-2026-01: ada-2026-01.json}\n": "", "model: Flow 500": "modle: Flow 500", "vex: vex.json": "vex: a name.json",
	} {
		altered := strings.Replace(described, from, to, 1)
		if _, err := ParseDescription("release.yaml", []byte(altered)); err == nil || altered == described {
			t.Errorf("%q in place of %q was taken", to, from)
		}
	}
}

func FuzzParseDescription(f *testing.F) {
	f.Add([]byte(described))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDescription("x", b)
		if err != nil {
			return
		}
		for _, file := range d.Files {
			if !plain(file.Name) {
				t.Fatalf("a file called %q", file.Name)
			}
		}
	})
}
