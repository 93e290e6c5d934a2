// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/report"
)

// match hands over a register with one device, a bill of what it is made of and an
// advisory about one of its parts, and wants the device named, with the CVE and
// the version that is safe; and nothing when the part is of that version.
func match(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	p := row.SBOM
	if p == (Parts{}) {
		return cell(report.DrillFailed, "%v", errNoWay), nil
	}
	hit, err := w.matched(ctx, row, p.Version)
	if err != nil {
		return report.DrillCell{}, err
	}
	calm, err := w.matched(ctx, row, p.Fixed)
	switch {
	case err != nil:
		return report.DrillCell{}, err
	case hit == "":
		return cell(report.DrillFailed, "%s %s is in the device, and %s was not found", p.Component, p.Version, p.CVE), nil
	case calm != "":
		return cell(report.DrillFailed, "%s %s has the weakness mended, and is accused of it", p.Component, p.Fixed), nil
	}
	return cell(report.DrillDetected, "%s", hit), nil
}

// matched assesses the papers of a device that has this version of the part.
func (w *world) matched(ctx context.Context, row *Row, version string) (string, error) {
	p := row.SBOM
	dir := filepath.Join(w.dir, row.ID+"-papers-"+version)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	type object = map[string]any
	type list = []any
	purl := "pkg:generic/" + p.Component
	papers := map[string]any{
		"bill.cdx.json": object{
			"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
			"metadata": object{"component": object{
				"type": "device", "bom-ref": "device", "supplier": object{"name": "Drill Works"}, "name": "Unit " + row.ID, "version": "1.0",
			}},
			"components":   list{object{"type": "library", "bom-ref": "part", "name": p.Component, "version": version, "purl": purl + "@" + version}},
			"dependencies": list{object{"ref": "device", "dependsOn": list{"part"}}, object{"ref": "part", "dependsOn": list{}}},
		},
		"advisory.osv.json": object{
			"schema_version": "1.6.0", "id": "DRILL-" + row.ID, "modified": "2026-03-01T00:00:00Z", "aliases": list{p.CVE}, "summary": row.Title,
			"affected": list{object{
				"package": object{"ecosystem": "", "name": p.Component, "purl": purl},
				"ranges":  list{object{"type": "SEMVER", "events": list{object{"introduced": "0"}, object{"fixed": p.Fixed}}}},
			}},
		},
	}
	for name, paper := range papers {
		b, err := json.Marshal(paper)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return "", err
		}
	}
	register := "Asset tag,Manufacturer,Model,Software version,Device type\nunit-1,Drill Works,Unit " + row.ID + ",1.0,drilled device\n"
	if err := os.WriteFile(filepath.Join(dir, "register.csv"), []byte(register), 0o600); err != nil {
		return "", err
	}
	a, err := assess.Run(ctx, []string{dir}, assess.Config{})
	if err != nil {
		return "", err
	}
	for _, in := range a.Inputs {
		if in.Error != "" {
			return "", fmt.Errorf("%s: %s", filepath.Base(in.Path), in.Error)
		}
	}
	for i := range a.Findings {
		f := &a.Findings[i]
		if slices.Contains(f.CVE, p.CVE) && f.Device != "" {
			if version != p.Fixed && !strings.Contains(f.Advice+strings.Join(f.Why, " "), p.Fixed) {
				continue // it has to say what helps
			}
			return fmt.Sprintf("%s in %s %s, fixed in %s", p.CVE, p.Component, version, p.Fixed), nil
		}
	}
	return "", nil
}
