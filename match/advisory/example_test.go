// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"fmt"
	"strings"

	"github.com/myelin-health/myelin/match/advisory"
)

func ExampleRead() {
	docs, err := advisory.Read(strings.NewReader(`{
		"id": "OSV-2026-1", "modified": "2026-01-02T03:04:05Z", "aliases": ["CVE-2026-1111"],
		"affected": [{"package": {"ecosystem": "PyPI", "name": "pump"},
			"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "2.0"}, {"fixed": "2.1.5"}]}]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	v := docs[0].Vulnerabilities[0]
	p := v.Statements[0].Product
	fmt.Println(v.ID, p.Package, p.Range.Vers(), p.Range.Contains("2.1.4"), p.Range.Contains("2.1.5"))

	_, err = advisory.Read(strings.NewReader(`{"id": "OSV-2026-2", "affected": []}`))
	fmt.Println(err)
	// Output:
	// CVE-2026-1111 pump vers:pypi/>=2.0|<2.1.5 true false
	// advisory: modified: missing
}

func ExampleReadEPSS() {
	e, err := advisory.ReadEPSS(strings.NewReader("#model_version:v2025.03.14,score_date:2026-01-02T12:55:00Z\n" +
		"cve,epss,percentile\nCVE-2026-1111,5e-05,0.00123\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	p, _, ok := e.Score("CVE-2026-1111")
	_, _, unknown := e.Score("CVE-2026-2222")
	fmt.Println(e.Model, p, ok, unknown)
	// Output: v2025.03.14 5e-05 true false
}
