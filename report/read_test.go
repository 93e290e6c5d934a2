// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// write says an assessment and returns the bytes.
func write(t interface {
	Helper()
	Fatal(...any)
}, say func(io.Writer, *Assessment) error, a *Assessment,
) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := say(&b, a); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// randomAssessment draws any assessment a document can hold.
func randomAssessment(t *rapid.T) *Assessment {
	str := rapid.Map(rapid.String(), Plain) // which is what a document holds
	number := rapid.Uint64()
	text := func(label string) string { return str.Draw(t, label) }
	list := func(label string) []string { return some(rapid.SliceOfN(str, 0, 3).Draw(t, label)) }
	a := &Assessment{Version: text("version"), Stats: Stats{
		Packets: number.Draw(t, "packets"), Bytes: number.Draw(t, "bytes"), Flows: number.Draw(t, "flows"),
		Seconds: rapid.Float64Range(0, 1e6).Draw(t, "seconds"), Lost: map[string]uint64{},
	}}
	for _, key := range rapid.SliceOfNDistinct(str, 0, 3, strings.ToLower).Draw(t, "lost") {
		a.Stats.Lost[key] = number.Draw(t, "n")
	}
	for _, path := range rapid.SliceOfNDistinct(str, 0, 3, rapid.ID[string]).Draw(t, "paths") {
		a.Inputs = append(a.Inputs, Input{path, text("kind"), rapid.Int64().Draw(t, "bytes"), number.Draw(t, "packets"), rapid.Int().Draw(t, "items"), text("note"), text("error"), text("warning")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "devices") {
		d := device.Device{
			ID: text("id"), OS: text("os"), Serial: text("serial"), Medical: rapid.Bool().Draw(t, "medical"), Role: text("role"),
			Confidence: device.Confidence(rapid.IntRange(0, int(device.High)).Draw(t, "confidence")), Protocols: list("protocols"),
			Product: device.Product{
				Manufacturer: text("manufacturer"), Model: text("model"), Version: text("version"), Class: text("class"),
				Therapy: device.Therapy(rapid.IntRange(0, int(device.Hearing)).Draw(t, "therapy")),
				Harm:    device.Harm(rapid.IntRange(0, int(device.Catastrophic)).Draw(t, "harm")),
			},
		}
		for range rapid.IntRange(0, 3).Draw(t, "addresses") {
			d.Addresses = append(d.Addresses, device.Address{Kind: device.AddressKind(rapid.IntRange(0, int(device.Host)).Draw(t, "kind")), Value: text("value")})
		}
		a.Devices = append(a.Devices, d)
	}
	for range rapid.IntRange(0, 3).Draw(t, "findings") {
		kind := finding.Kind(rapid.IntRange(1, len(finding.Kinds)-1).Draw(t, "kind"))
		f := finding.Finding{
			ID: text("id"), Kind: kind, Title: text("title"), Device: text("device"), Product: text("product"), Peer: text("peer"), Peers: list("peers"), Protocol: text("protocol"),
			Therapy: device.Therapy(rapid.IntRange(0, int(device.Hearing)).Draw(t, "therapy of a finding")),
			Harm:    device.Harm(rapid.IntRange(0, int(device.Catastrophic)).Draw(t, "harm")), Privacy: finding.Kinds[kind].Group == finding.PatientData || rapid.Bool().Draw(t, "privacy"),
			Decision: finding.Decision(rapid.IntRange(0, int(finding.Act)).Draw(t, "decision")),
			SSVC:     finding.SSVC{Exploitation: text("exploitation"), Exposure: rapid.SampledFrom([]string{"", "small", "controlled", "open"}).Draw(t, "exposure"), Action: text("action"), HumanImpact: text("human"), From: finding.Sources{Exploitation: finding.Source(text("source"))}},
			State:    text("state"), Certainty: text("certainty"), Count: number.Draw(t, "count"), Subjects: rapid.IntRange(0, 1<<40).Draw(t, "subjects"),
			First: rapid.Int64().Draw(t, "first"), Last: rapid.Int64().Draw(t, "last"), Advisories: list("advisories"), CVE: list("cve"), Advice: text("advice"),
			Component: text("component"), CWE: list("cwe"), Rubric: text("rubric"), EPSS: rapid.Float64Range(0, 1).Draw(t, "epss"), KEV: rapid.Bool().Draw(t, "kev"),
			Why: list("why"), Opinions: list("opinions"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "scores") {
			base := rapid.SampledFrom([]float64{-1, 0, 9.8, 10}).Draw(t, "base")
			f.CVSS = append(f.CVSS, finding.Score{Version: text("version of CVSS"), Vector: text("vector"), Base: base, Source: text("source of a score")})
		}
		for range rapid.IntRange(0, finding.MaxSightings).Draw(t, "sightings") {
			f.Sightings = append(f.Sightings, finding.Sighting{
				Time: rapid.Int64().Draw(t, "time"), Input: rapid.IntRange(0, len(a.Inputs)).Draw(t, "input"),
				Packet: number.Draw(t, "packet"), Offset: rapid.Int().Draw(t, "offset"), Note: text("note"),
			})
		}
		for i := range f.Sightings {
			if f.Sightings[i].Input == len(a.Inputs) {
				f.Sightings[i].Input = -1
			}
		}
		a.Findings = append(a.Findings, f)
	}
	for range rapid.IntRange(0, 3).Draw(t, "sessions") {
		a.Sessions = append(a.Sessions, Session{
			text("protocol"), text("client"), text("server"), rapid.Uint16().Draw(t, "port"), number.Draw(t, "count"), number.Draw(t, "bytes"),
			rapid.Bool().Draw(t, "encrypted"), rapid.Bool().Draw(t, "inferred"),
		})
	}
	return a
}

// hasEmptyPath: an input without a path cannot be told from no input.
func hasEmptyPath(a *Assessment) bool {
	for _, in := range a.Inputs {
		if in.Path == "" {
			return true
		}
	}
	return false
}

func TestReadJSONInverts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := randomAssessment(t)
		if hasEmptyPath(a) {
			t.Skip("an input without a path")
		}
		b := write(t, JSON, a)
		got, err := ReadJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		if again := write(t, JSON, got); !bytes.Equal(b, again) {
			t.Fatal("the second document differs from the first")
		}
		// Whatever a document says can be shown.
		for _, say := range []func(io.Writer, *Assessment) error{Text, CSV, SARIF, HTML} {
			write(t, say, got)
		}
	})
}

// TestReadJSONSame: a page made from a saved document is the page made at once.
func TestReadJSONSame(t *testing.T) {
	a := sampleWard()
	got, err := ReadJSON(bytes.NewReader(write(t, JSON, a)))
	if err != nil {
		t.Fatal(err)
	}
	for name, say := range map[string]func(io.Writer, *Assessment) error{"text": Text, "csv": CSV, "sarif": SARIF, "html": HTML} {
		if !bytes.Equal(write(t, say, a), write(t, say, got)) {
			t.Errorf("%s differs when read from JSON", name)
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	good := string(write(t, JSON, sampleWard()))
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, c := range map[string]struct{ doc, want string }{
		"nothing":                 {"", "EOF"},
		"cut":                     {good[:len(good)/2], "EOF"},
		"two documents":           {good + good, "follows"},
		"an array":                {"[]", "cannot unmarshal"},
		"a newer schema":          {change(`"schema": 1`, `"schema": 2`), "schema 2"},
		"no schema":               {change(`"schema": 1,`, ``), "schema 0"},
		"an unknown key":          {change(`"schema": 1`, `"schema": 1, "extra": 1`), "extra"},
		"a key twice":             {change(`"schema": 1`, `"schema": 1, "schema": 1`), "twice"},
		"a key in other case":     {change(`"schema": 1`, `"schema": 1, "Schema": 1`), "twice"},
		"a key twice, deep":       {change(`"kind":"pcapng"`, `"kind":"pcapng", "kind":"x"`), "twice"},
		"an unknown kind":         {change(`"kind":"lateral-movement"`, `"kind":"sideways"`), "kind"},
		"an unknown decision":     {change(`"decision":"act"`, `"decision":"panic"`), "decision"},
		"an unknown harm":         {change(`"harm":"catastrophic"`, `"harm":"huge"`), "harm"},
		"an unknown therapy":      {change(`"therapy":"drug infusion"`, `"therapy":"leeches"`), "therapy"},
		"an unknown address":      {change(`"kind":"eui64"`, `"kind":"name"`), "addresses"},
		"a time without zone":     {change(`"first":"2026-03-03T06:09:12.250000000Z"`, `"first":"2026-03-03T06:09:12"`), "first"},
		"a time too late":         {change(`"first":"2026-03-03T06:09:12.250000000Z"`, `"first":"9999-03-03T06:09:12Z"`), "range"},
		"a probability too large": {change(`"epss":0.042`, `"epss":42`), "epss"},
		"a score too large":       {change(`"base":9.1`, `"base":91`), "cvss"},
		"a port too large":        {change(`"port":24000`, `"port":65536`), "65536"},
		"a count below zero":      {change(`"count":42`, `"count":-1`), "-1"},
		"nested too deeply":       {change(`"schema": 1`, `"schema": `+strings.Repeat("[", 100_000)), "deeply"},
		"too many sightings": {
			change(`"sightings":[`, `"sightings":[`+strings.Repeat(`{"time":"2026-03-03T06:09:12Z","input":"","packet":1,"offset":0,"note":""},`, finding.MaxSightings)),
			"more than 20",
		},
	} {
		a, err := ReadJSON(strings.NewReader(c.doc))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if a != nil {
			t.Errorf("%s: an assessment came with the error", name)
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	f.Add(write(f, JSON, sampleWard()))
	f.Add([]byte(`{"myelin":"","schema":1,"inputs":[],"devices":[],"findings":[],"sessions":[],"stats":{}}`))
	f.Add([]byte(`{"schema":1,"stats":{"lost":{"a":1,"A":2}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadJSON(bytes.NewReader(b))
		if err != nil {
			return
		}
		once := write(t, JSON, a)
		again, err := ReadJSON(bytes.NewReader(once))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !bytes.Equal(once, write(t, JSON, again)) {
			t.Fatal("the second document differs from the first")
		}
		for _, say := range []func(io.Writer, *Assessment) error{Text, CSV, SARIF, HTML} {
			write(t, say, a)
		}
	})
}
