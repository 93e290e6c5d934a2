// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPython: another implementation, in another language, that knows what docs/ledger.md
// says, reads what is written here.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: apt-get install python3")
	}
	dir, k := t.TempDir(), newKey(t, "ada.example/ledger", false)
	l := open(t, filepath.Join(dir, "ledger"), k)
	entries := make([][]byte, 1000)
	for i := range entries {
		entries[i] = entryOf(i)
	}
	bulk(t, l, entries)
	if _, err := l.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 3)
	r, err := Read(l.dir, k.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Prove(777)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := p.AppendText(nil)
	proof := filepath.Join(dir, "proof")
	if err := os.WriteFile(proof, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, filepath.Join("testdata", "read.py"), l.dir, proof).CombinedOutput()
	if err != nil || string(out) != "ada.example/ledger has 1000 entries and 3 behind\n" {
		t.Errorf("%s%v", out, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(l.dir, "tile/entries/002")
	b, _ := os.ReadFile(file)
	b[50] ^= 1
	os.WriteFile(file, b, 0o600)
	if err := exec.Command(python, filepath.Join("testdata", "read.py"), l.dir, proof).Run(); err == nil {
		t.Error("it finds nothing")
	}
}
