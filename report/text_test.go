// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with, or under -update writes, a file of testdata.
func golden(t *testing.T, name string, say func(io.Writer, *Assessment) error, a *Assessment) {
	t.Helper()
	var b bytes.Buffer
	if err := say(&b, a); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s changed (run with -update, and look at it): -want +got\n%s", name, diff)
	}
}

func TestGolden(t *testing.T) {
	a := sampleWard()
	for name, say := range map[string]func(io.Writer, *Assessment) error{
		"ward.txt": Text, "ward.csv": CSV, "ward.sarif": SARIF, "ward.html": HTML,
	} {
		golden(t, name, say, a)
	}
}
