// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestSequenceFile starts again at what was reserved, and guesses nothing.
func TestSequenceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sequence")
	if _, err := OpenSequence(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	s, err := CreateSequence(path)
	if err != nil || s.Next() != 0 {
		t.Fatal(err)
	}
	if _, err := CreateSequence(path); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	for range 3 {
		c, _ := pair(t, func(c, _ *Params) { c.Sequence, c.Reserve = s.Next(), s.Reserve })
		before := s.Next()
		protectRequest(t, c, bolus(t))
		if s, err = OpenSequence(path); err != nil || s.Next() != before+ReserveStep {
			t.Fatal(s.Next(), err)
		}
	}
	if err := s.Reserve(s.Next() - 1); err == nil {
		t.Error("numbers were given back")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	// What was left by a loss of power while it was written.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reserve(s.Next() + 1); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSequence(path); err == nil {
			t.Fatalf("byte %d changed", i)
		}
		b[i] ^= 1
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSequence(path); err == nil {
		t.Error("an empty file")
	}
	// Where it cannot be written nothing is sent.
	gone, err := CreateSequence(filepath.Join(t.TempDir(), "no", "folder"))
	if err == nil {
		t.Error(gone)
	}
}

// TestKilled kills a process that uses numbers as fast as it can, again and
// again: none comes twice.
func TestKilled(t *testing.T) {
	if path := os.Getenv("OSCORE_SEQUENCE"); path != "" {
		s, err := OpenSequence(path)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := pair(t, func(c, _ *Params) { c.Sequence, c.Reserve = s.Next(), s.Reserve })
		for {
			q, _ := protectRequest(t, c, bolus(t))
			v, _ := Identify(q)
			if _, err := os.Stdout.WriteString(strconv.FormatUint(number(v.PartialIV), 10) + "\n"); err != nil {
				return
			}
		}
	}
	path := filepath.Join(t.TempDir(), "sequence")
	if _, err := CreateSequence(path); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for life := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "OSCORE_SEQUENCE="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if used[lines.Text()] {
				t.Fatalf("number %s came twice", lines.Text())
			}
			used[lines.Text()] = true
			if n == 400+life*137 { // what it had written until it died comes behind that
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
	}
	if len(used) < 400*4 {
		t.Errorf("%d numbers", len(used))
	}
}
