// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocs holds the page to the example that the tests use, and to the words
// that the file may hold.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "vex.md"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join("testdata", "norra.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```yaml\n"+string(example)+"```\n") {
		t.Error("docs/vex.md does not show testdata/norra.yaml")
	}
	for _, words := range [][]string{justifications, remedies, categories} {
		for _, w := range words {
			if !strings.Contains(string(page), w) {
				t.Errorf("docs/vex.md does not tell of %s", w)
			}
		}
	}
}
