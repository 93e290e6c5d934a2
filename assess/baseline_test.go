// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/watch"
)

func readBaseline(t *testing.T, name, content string) (*watch.Baseline, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadBaseline(file)
}

// TestBaselinePage reads the example of docs/baseline.md.
func TestBaselinePage(t *testing.T) {
	page, err := os.ReadFile("../docs/baseline.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(page), "```yaml\n")
	example, _, closed := strings.Cut(example, "```")
	if !ok || !closed {
		t.Fatal("docs/baseline.md has no example")
	}
	got, err := readBaseline(t, "baseline.yaml", example)
	if err != nil {
		t.Fatal(err)
	}
	want := &watch.Baseline{
		Links: map[watch.Link]bool{
			{Client: "10.20.1.5", Server: "10.20.3.10", Protocol: "hl7"}:    true,
			{Client: "10.20.8.11", Server: "10.20.8.20", Protocol: "dicom"}: true,
			{Client: "10.20.8.11", Server: "203.0.113.20"}:                  true,
		},
		Guards: map[string]string{"10.20.3.10": "10.20.3.5"},
		Names:  map[string]bool{"ADAPACS": true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBaselineYAML(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"allow: []\nguards: []\ndestinations: []\n", ""},
		{"allow: [{client: 2001:DB8::0005, server: '::ffff:10.20.3.10', protocol: unknown}]", ""},
		{"allow: [{clent: 10.20.1.5}]", `unknown field "clent"`},
		{"alow: []", `unknown field "alow"`},
		{"allow: 3", "[1:8]"},
		{"allow: [", "["},
		{"allow: [{client: 10.20.1.5}]", "allow, entry 1: client and server have to be IP addresses"},
		{"allow: [{client: ehr, server: 10.20.3.10}]", "allow, entry 1: client and server have to be IP addresses"},
		{"allow: [{client: 10.20.1.5, server: 10.20.3.10/24}]", "allow, entry 1"},
		{"allow: [{client: 10.20.1.5, server: 10.20.3.10}, {client: 10.20.1.5, server: 10.20.3.10, protocol: HL7}]", "allow, entry 2: no such protocol: HL7"},
		{"guards: [{device: 10.20.3.10}]", "guards, entry 1: device and guard have to be IP addresses"},
		{"guards: [{device: gw-icu, guard: 10.20.3.5}]", "guards, entry 1"},
		{"destinations: [ADAPACS, '']", "destinations, entry 2: is empty"},
		{"destinations: {aet: ADAPACS}", "[1:"},
		{"- allow", "[1:1]"},
		{"a: &a [x, x]\nb: *a\n", `unknown field`},
	}
	for _, tt := range tests {
		_, err := readBaseline(t, "b.yaml", tt.in)
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%q: %v, want %q", tt.in, err, tt.want)
		case err != nil && (!strings.Contains(err.Error(), "b.yaml: ") || strings.Contains(err.Error(), "\n")):
			t.Errorf("%q: %q does not name the file in one line", tt.in, err)
		}
	}
	b, err := readBaseline(t, "b.yaml", tests[2].in)
	if want := (watch.Link{Client: "2001:db8::5", Server: "10.20.3.10", Protocol: "unknown"}); err != nil || !b.Links[want] {
		t.Errorf("addresses are not as answers write them: %v", b.Links)
	}
}

func TestBaselineJSON(t *testing.T) {
	var doc bytes.Buffer
	err := report.JSON(&doc, &report.Assessment{
		Devices: []device.Device{{ID: "dev-1", Addresses: []device.Address{
			{Kind: device.IP, Value: "10.20.8.20"}, {Kind: device.AET, Value: "ADAPACS"}, {Kind: device.Host, Value: "pacs"},
		}}},
		Sessions: []report.Session{
			{Protocol: "dicom", Client: "10.20.8.11", Server: "10.20.8.20", Port: 104},
			{Protocol: "unknown", Client: "10.20.8.11", Server: "203.0.113.20", Port: 8443},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := readBaseline(t, "before.json", "\n "+doc.String())
	want := &watch.Baseline{
		Links: map[watch.Link]bool{
			{Client: "10.20.8.11", Server: "10.20.8.20", Protocol: "dicom"}:     true,
			{Client: "10.20.8.11", Server: "203.0.113.20", Protocol: "unknown"}: true,
		},
		Guards: map[string]string{}, Names: map[string]bool{"ADAPACS": true},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for in, want := range map[string]string{
		`{`:                   "unexpected end",
		`{}`:                  "not an assessment",
		`{"bomFormat":"x"}`:   "not an assessment",
		`{"schema":2}`:        "schema 2; this program reads 1",
		`{"schema":"1"}`:      "schema",
		doc.String() + "{}":   "after top-level value",
		`{"schema":1}{"s":1}`: "after top-level value",
	} {
		if _, err := readBaseline(t, "b.json", in); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "b.json: ") {
			t.Errorf("%.40q: %v, want %q", in, err, want)
		}
	}
}

func TestBaselineFile(t *testing.T) {
	if _, err := ReadBaseline(filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for size, fits := range map[int64]bool{maxBaseline + 1: false, maxBaseline: true} {
		if err := os.Truncate(large, size); err != nil {
			t.Fatal(err)
		}
		// A file of zeros is no YAML; what counts is why it is refused.
		if !fits {
			if _, err := ReadBaseline(large); err == nil || !strings.Contains(err.Error(), "at most") {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
}

// TestProductCodesPage reads the example of docs/product-codes.md.
func TestProductCodesPage(t *testing.T) {
	page, err := os.ReadFile("../docs/product-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(page), "```csv\n")
	example, _, closed := strings.Cut(example, "```")
	if !ok || !closed {
		t.Fatal("docs/product-codes.md has no example")
	}
	file := filepath.Join(t.TempDir(), "ours.csv")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ReadCatalogue(file)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := c.Lookup(c.CodeOf("", "Norra Medical", "FlowLink")); !ok || p.Class != "drug library" || p.Harm != device.Catastrophic {
		t.Errorf("%+v", p)
	}
	if err := os.WriteFile(file, []byte(example+"FR,,,,,,,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCatalogue(file); err == nil || !strings.HasPrefix(err.Error(), file+": line 10: ") {
		t.Error(err)
	}
	if err := os.Truncate(file, maxCatalogue+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCatalogue(file); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Error(err)
	}
}
