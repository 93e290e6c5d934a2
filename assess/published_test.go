// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/myelin-health/myelin/finding"
)

// TestPublished joins a bill of materials, a record without a score, CISA's
// catalogue and a forecast, each a file of its own: one finding has all of it.
func TestPublished(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"flow.cdx.json": `{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "serialNumber": "urn:uuid:7b0c6d1e-2140-4a6e-9d51-0f5a00002199",
			"metadata": {"component": {"type": "device", "bom-ref": "p", "name": "Flow 500", "version": "2.1.4"}},
			"components": [{"type": "library", "bom-ref": "l", "name": "left", "version": "1.0.0", "purl": "pkg:npm/left@1.0.0"}]}`,
		"record.json": `{"schema_version": "1.6.0", "id": "GHSA-aaaa-bbbb-cccc", "aliases": ["CVE-2026-1234"], "modified": "2026-01-01T00:00:00Z", "summary": "Left is wrong",
			"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
			"affected": [{"package": {"ecosystem": "npm", "name": "left"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.0.1"}]}]}]}`,
		"kev.json": `{"title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": "2026.01.01", "dateReleased": "2026-01-01T00:00:00.0000Z", "count": 1,
			"vulnerabilities": [{"cveID": "CVE-2026-1234", "vendorProject": "Left", "product": "Left", "vulnerabilityName": "Left", "dateAdded": "2026-01-01",
			"shortDescription": "Left.", "requiredAction": "Turn right.", "dueDate": "2026-01-22", "knownRansomwareCampaignUse": "Unknown", "notes": "", "cwes": []}]}`,
		"epss.csv": "#model_version:v2025.03.14,score_date:2026-01-01T00:00:00+0000\ncve,epss,percentile\nCVE-2026-1234,0.25000,0.96000\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := assessWard(t, Config{}, dir)
	if len(a.Findings) != 1 {
		t.Fatalf("%d findings: %+v", len(a.Findings), a.Findings)
	}
	f := &a.Findings[0]
	if f.Kind != finding.KnownExploited || !f.KEV || f.EPSS != 0.25 || f.Certainty != finding.Exact || f.Advice != "Fixed in 1.0.1. CISA's KEV list asks: Turn right." || f.Product != "Flow 500 2.1.4" {
		t.Errorf("%+v", f)
	}
	if len(f.CVSS) != 1 || f.CVSS[0].Base != 9.8 {
		t.Errorf("scores: %+v, want what the vector gives, 9.8", f.CVSS)
	}
	if !slices.ContainsFunc(f.Sightings, func(s finding.Sighting) bool { return filepath.Base(a.Inputs[s.Input].Path) == "kev.json" }) {
		t.Errorf("the list is no evidence: %+v", f.Sightings)
	}
	if len(f.Sightings) != 3 || f.SSVC.From.Exploitation != finding.FromKEV {
		t.Errorf("sightings: %+v, sources: %+v", f.Sightings, f.SSVC.From)
	}
}
