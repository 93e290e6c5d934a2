// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const of = "a test"

// TestReplace: what replaced a journal is what is read again, and nothing is written
// behind an error.
func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, records, err := Open(path, of)
	if err != nil || len(records) != 0 {
		t.Fatal(records, err)
	}
	if err := errors.Join(j.Write([]byte("one"), []byte("two")), j.Replace([][]byte{[]byte("three")}), j.Write([]byte("four"))); err != nil {
		t.Fatal(err)
	}
	j.Close()
	j, records, err = Open(path, of)
	if err != nil || len(records) != 2 || string(records[0]) != "three" || string(records[1]) != "four" {
		t.Fatalf("%q, %v", records, err)
	}
	if _, _, err := Open(path, "another"); !errors.Is(err, ErrDamaged) {
		t.Errorf("a journal of something else is read: %v", err)
	}
	file := j.file
	j.file, _ = os.Open(path) // which cannot be written
	if j.Write([]byte("five")) == nil || !errors.Is(j.Write([]byte("six")), ErrBroken) || !j.Broken() {
		t.Error("it is written after an error")
	}
	j.Close()
	file.Close()
}

func FuzzJournal(f *testing.F) {
	head := Begin(of)
	b := Append(nil, &head, []byte("one"))
	b = Append(b, &head, []byte("two"))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		records, _, n, err := Parse(b, of)
		if err != nil {
			return
		}
		head := Begin(of)
		var again []byte
		for _, r := range records {
			again = Append(again, &head, r)
		}
		if string(again) != string(b[:n]) {
			t.Fatalf("%x, then %x", b[:n], again)
		}
	})
}
