// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom_test

import (
	"fmt"
	"strings"

	"github.com/myelin-health/myelin/match/sbom"
)

const infusor = `{
  "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
  "metadata": {"component": {"bom-ref": "infusor", "type": "device", "name": "Infusor", "version": "2.1.4"}},
  "components": [{"type": "library", "name": "openssl", "version": "1.1.1k", "purl": "pkg:generic/openssl@1.1.1k"}],
  "dependencies": [{"ref": "infusor"}]
}`

func ExampleRead() {
	d, err := sbom.Read(strings.NewReader(infusor))
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, c := range d.Components {
		fmt.Println(c.Type, c.Name, c.Version, i == d.Subject)
	}
	_, err = sbom.Read(strings.NewReader(strings.Replace(infusor, `"library"`, `"book"`, 1)))
	fmt.Println(err)
	// Output:
	// device Infusor 2.1.4 true
	// library openssl 1.1.1k false
	// sbom: components[0].type: not one of the words that are allowed (byte 208)
}

func ExampleDocument_Quality() {
	d, err := sbom.Read(strings.NewReader(infusor))
	if err != nil {
		fmt.Println(err)
		return
	}
	q := d.Quality()
	fmt.Println("complete:", q.Complete(false))
	for _, g := range q.Gaps {
		fmt.Println(d.Components[g.Component].Name, "lacks", g.Missing.Elements())
	}
	// Output:
	// complete: false
	// Infusor lacks [supplier name other unique identifier level of support end-of-support date]
	// openssl lacks [supplier name dependency relationship level of support end-of-support date]
}
