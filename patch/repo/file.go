// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// write puts a file in its place, whole and durable.
func write(file string, b []byte) error {
	return writeFrom(file, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// writeFrom puts a file in its place once all of it was written without an error.
func writeFrom(file string, fill func(io.Writer) error) error {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	// A loss of power must not bring an older version back.
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
