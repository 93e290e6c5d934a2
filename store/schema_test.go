// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// TestUpgrade opens data with a newer version of the program, which keeps a copy, and
// then with the older one, which refuses.
func TestUpgrade(t *testing.T) {
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "myelin.db")
	write := func(file, login string) {
		t.Helper()
		s, err := sqlite.Open(ctx, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SavePerson(ctx, &store.Person{Login: login}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	people := func(file string) (out []string) {
		t.Helper()
		s, err := sqlite.Open(ctx, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		list, err := s.People(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			out = append(out, p.Login)
		}
		return out
	}
	write(file, "te")
	old, names := store.Schema()
	newer := fstest.MapFS{"schema/next.sql": {Data: []byte("ALTER TABLE person ADD COLUMN more NUMBER NOT NULL DEFAULT 0; -- a note\nCREATE TABLE more (id COUNTER)TABLE;\n")}}
	for _, n := range names {
		b, err := fs.ReadFile(old, "schema/"+n)
		if err != nil {
			t.Fatal(err)
		}
		newer["schema/"+n] = &fstest.MapFile{Data: b}
	}
	restore := store.SetSchema(newer, append(slices.Clone(names), "next.sql"))
	defer func() { restore() }()
	write(file, "ls")
	copies, err := filepath.Glob(file + ".before-*")
	if err != nil || len(copies) != 1 {
		t.Fatal(copies, err)
	}
	write(file, "le") // there is nothing to do: no other copy
	if copies, _ := filepath.Glob(file + ".before-*"); len(copies) != 1 {
		t.Fatal(copies)
	}
	restore()
	if got := people(copies[0]); !slices.Equal(got, []string{"te"}) {
		t.Errorf("the copy has %v", got)
	}
	if _, err := sqlite.Open(ctx, file, time.Now); !errors.Is(err, store.ErrNewer) {
		t.Errorf("an older program opens it: %v", err)
	}
	// one that fails changes nothing
	newer["schema/next.sql"].Data = []byte("CREATE TABLE half (id COUNTER)TABLE;\nALTER TABLE nothing ADD COLUMN more NUMBER;\n")
	other := filepath.Join(t.TempDir(), "myelin.db")
	write(other, "te")
	restore = store.SetSchema(newer, append(slices.Clone(names), "next.sql"))
	for range 2 {
		if _, err := sqlite.Open(ctx, other, nil); err == nil {
			t.Fatal("it opened")
		}
	}
	restore()
	if got := people(other); !slices.Equal(got, []string{"te"}) {
		t.Errorf("after an upgrade that failed there are %v", got)
	}
}
