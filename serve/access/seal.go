// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/myelin-health/myelin/store"
)

// A Sealer keeps secrets that are in the database from who has the database alone:
// AES-256-GCM with a key in a file beside it. What is sealed is one byte 1, a random
// nonce of 12 bytes, the ciphertext and its tag; the associated data name the table
// and the row, so that a secret cannot be moved to another place. It may be used from
// several goroutines. Servers that share a database share the key.
type Sealer struct{ gcm cipher.AEAD }

const (
	sealVersion = 1
	sealKey     = 32 // bytes
	keyFile     = "secret.key"
)

// ErrSealed is what cannot be opened: it was changed or moved, or another key sealed it.
var ErrSealed = errors.New("a secret in the database cannot be opened: " + keyFile + " is not the one that it was sealed with (a backup has that), or it was changed")

// OpenSealer reads the key in the folder dir, and makes it when there is none.
func OpenSealer(dir string) (*Sealer, error) {
	file := filepath.Join(dir, keyFile)
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(file); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		key, err = readKey(file) // or that of a server that was faster
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	return &Sealer{gcm}, err
}

func readKey(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s: others may read or write it: chmod 600, and ask who did", file)
	case info.Size() != sealKey:
		return nil, fmt.Errorf("%s: it has %d bytes, not %d", file, info.Size(), sealKey)
	}
	key := make([]byte, sealKey)
	_, err = f.ReadAt(key, 0)
	return key, err
}

// makeKey makes the file whole or not at all.
func makeKey(file string) error {
	f, err := os.CreateTemp(filepath.Dir(file), keyFile+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, sealKey)
	rand.Read(key)
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// place is the associated data of a row of a table.
func place(table, row string) []byte {
	return []byte("myelin " + strconv.Quote(table) + " " + strconv.Quote(row))
}

// Seal seals a secret for a row of a table.
func (s *Sealer) Seal(table, row string, secret []byte) []byte {
	return s.gcm.Seal([]byte{sealVersion}, nil, secret, place(table, row))
}

// Open opens what was sealed for a row of a table. [ErrSealed].
func (s *Sealer) Open(table, row string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	secret, err := s.gcm.Open(nil, nil, sealed[1:], place(table, row))
	if err != nil {
		return nil, ErrSealed
	}
	return secret, nil
}

// Check reports whether the key is the one that this database is sealed with. The
// first key is.
func (s *Sealer) Check(ctx context.Context, db *store.Store) error {
	const row, text = "key", "this key"
	for range 2 {
		sealed, err := db.Setting(ctx, row)
		if err != nil {
			return err
		}
		if sealed != nil {
			got, err := s.Open("setting", row, sealed)
			if err == nil && !bytes.Equal(got, []byte(text)) {
				err = ErrSealed
			}
			return err
		}
		if err := db.SetSetting(ctx, row, nil, s.Seal("setting", row, []byte(text))); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// Secret returns a setting that is kept sealed, or nil.
func (s *Sealer) Secret(ctx context.Context, db *store.Store, name string) ([]byte, error) {
	sealed, err := db.Setting(ctx, "secret "+name)
	if err != nil || sealed == nil {
		return nil, err
	}
	return s.Open("setting", "secret "+name, sealed)
}

// SetSecret seals and keeps a setting, whatever it was before.
func (s *Sealer) SetSecret(ctx context.Context, db *store.Store, name string, secret []byte) error {
	name = "secret " + name
	old, err := db.Setting(ctx, name)
	if err != nil {
		return err
	}
	return db.SetSetting(ctx, name, old, s.Seal("setting", name, secret))
}
