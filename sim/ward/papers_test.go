// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestPapers holds that the papers are the ones that lie in the committed ward.
func TestPapers(t *testing.T) {
	dir := t.TempDir()
	if err := papers(dir); err != nil {
		t.Fatal(err)
	}
	for _, p := range paperFiles {
		got, err := os.ReadFile(filepath.Join(dir, p.name))
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(got) {
			t.Errorf("%s is no JSON", p.name)
		}
		if want, err := os.ReadFile(filepath.Join(committed, p.name)); err != nil || string(want) != string(got) {
			t.Errorf("%s is not what is committed (%v)", p.name, err)
		}
	}
}
