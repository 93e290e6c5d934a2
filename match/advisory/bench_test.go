// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"testing"
)

// BenchmarkReadOSV reads 2,102 records of Go and PyPI.
func BenchmarkReadOSV(b *testing.B) {
	corpusFiles(b)
	files := [][]byte{corpusFile(b, "osv/go-vulndb.jsonl"), corpusFile(b, "osv/pypa.jsonl")}
	b.SetBytes(int64(len(files[0]) + len(files[1])))
	for b.Loop() {
		for _, f := range files {
			if _, err := Read(bytes.NewReader(f)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkReadCSAF reads CISA's medical advisories.
func BenchmarkReadCSAF(b *testing.B) {
	paths, kinds := corpusFiles(b)
	var files [][]byte
	n := 0
	for _, p := range paths {
		if kinds[p] == "csaf2-advisory-medical" {
			files = append(files, corpusFile(b, p))
			n += len(files[len(files)-1])
		}
	}
	b.SetBytes(int64(n))
	for b.Loop() {
		for _, f := range files {
			if _, err := Read(bytes.NewReader(f)); err != nil {
				b.Fatal(err)
			}
		}
	}
}
