// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func sealer(t *testing.T, dir string) *Sealer {
	t.Helper()
	s, err := OpenSealer(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealEveryBit(t *testing.T) {
	dir := t.TempDir()
	s := sealer(t, dir)
	secret := []byte("serial 4711")
	sealed := s.Seal("body", "d1", secret)
	if bytes.Contains(sealed, []byte("4711")) || bytes.Equal(sealed, s.Seal("body", "d1", secret)) {
		t.Fatal("it is readable, or always the same")
	}
	if got, err := sealer(t, dir).Open("body", "d1", sealed); err != nil || !bytes.Equal(got, secret) {
		t.Fatal(got, err)
	}
	for i := range len(sealed) * 8 {
		b := bytes.Clone(sealed)
		b[i/8] ^= 1 << (i % 8)
		if got, err := s.Open("body", "d1", b); !errors.Is(err, ErrSealed) || got != nil {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range len(sealed) {
		if _, err := s.Open("body", "d1", sealed[:n]); !errors.Is(err, ErrSealed) {
			t.Fatalf("%d bytes of it: %v", n, err)
		}
	}
	for _, at := range [][2]string{{"body", "d2"}, {"bodyd", "1"}, {"body\" \"d1", ""}, {"", "bodyd1"}} {
		if _, err := s.Open(at[0], at[1], sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("moved to %q: %v", at, err)
		}
	}
	if _, err := sealer(t, t.TempDir()).Open("body", "d1", sealed); !errors.Is(err, ErrSealed) {
		t.Error("another key opens it", err)
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	var all [8]*Sealer
	for i := range all {
		wait.Go(func() { all[i], _ = OpenSealer(dir) })
	}
	wait.Wait()
	sealed := all[0].Seal("a", "b", []byte("x"))
	for i, s := range all {
		if _, err := s.Open("a", "b", sealed); err != nil {
			t.Error("two that begin at the same time have two keys", i)
		}
	}
	file := filepath.Join(dir, keyFile)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Error(left, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSealer(dir); err == nil {
		t.Error("a key that others can read is used")
	}
	for _, n := range []int64{0, sealKey - 1, sealKey + 1} {
		if err := errors.Join(os.Chmod(file, 0o600), os.Truncate(file, n)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSealer(dir); err == nil {
			t.Errorf("a key of %d bytes is used", n)
		}
	}
}

func TestKeyOfTheDatabase(t *testing.T) {
	s := newServer(t)
	one, other := sealer(t, t.TempDir()), sealer(t, t.TempDir())
	ctx := t.Context()
	for range 2 {
		if err := one.Check(ctx, s.store); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Check(ctx, s.store); !errors.Is(err, ErrSealed) {
		t.Error("another key fits", err)
	}
	if b, err := one.Secret(ctx, s.store, "smtp"); b != nil || err != nil {
		t.Error(b, err)
	}
	for _, v := range []string{"first", "second"} {
		if err := one.SetSecret(ctx, s.store, "smtp", []byte(v)); err != nil {
			t.Fatal(err)
		}
		if b, err := one.Secret(ctx, s.store, "smtp"); string(b) != v || err != nil {
			t.Error(string(b), err)
		}
	}
	if _, err := other.Secret(ctx, s.store, "smtp"); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
}
