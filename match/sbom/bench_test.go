// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"fmt"
	"testing"
)

// synthetic writes an SBOM of n components, as a Go module scanner does.
func synthetic(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"$schema":"http://cyclonedx.org/schema/bom-1.5.schema.json","bomFormat":"CycloneDX","specVersion":"1.5","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79","version":1,"metadata":{"timestamp":"2026-01-02T03:04:05Z","component":{"bom-ref":"pump","type":"device","name":"pump","version":"2.1.4"}},"components":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"bom-ref":"pkg:golang/example.org/team%d/module%d@v1.%d.%d","type":"library","supplier":{"name":"Team %d"},"name":"example.org/team%d/module%d","version":"v1.%d.%d","hashes":[{"alg":"SHA-256","content":"%064x"}],"licenses":[{"license":{"id":"Apache-2.0"}}],"purl":"pkg:golang/example.org/team%d/module%d@v1.%d.%d","externalReferences":[{"type":"vcs","url":"https://example.org/team%d/module%d"}],"properties":[{"name":"scan:source","value":"go.mod"},{"name":"End of Support","value":"2030-12-31"}]}`,
			i%40, i, i%17, i%9, i%40, i%40, i, i%17, i%9, i, i%40, i, i%17, i%9, i%40, i)
	}
	b.WriteString(`],"dependencies":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		j := (i*7 + 1) % n
		fmt.Fprintf(&b, `{"ref":"pkg:golang/example.org/team%d/module%d@v1.%d.%d","dependsOn":["pkg:golang/example.org/team%d/module%d@v1.%d.%d"]}`, i%40, i, i%17, i%9, j%40, j, j%17, j%9)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func BenchmarkRead(b *testing.B) {
	run := func(name string, data []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Read(bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("650", synthetic(650))
	corpus(b, func(name, format string, data []byte) {
		if len(data) > 300_000 && bytes.Contains([]byte(format), []byte("CycloneDX")) ||
			len(data) > 120_000 && bytes.Contains([]byte(format), []byte("xml")) {
			run(name, data)
		}
	})
}
