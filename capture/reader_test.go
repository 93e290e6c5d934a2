// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/myelin-health/myelin/capture"
)

// readAll returns copies of the frames of r, and the error that ended them.
func readAll(r io.Reader) ([]capture.Frame, error) {
	c, err := capture.NewReader(r)
	if err != nil {
		return nil, err
	}
	var frames []capture.Frame
	var f capture.Frame
	for {
		if err := c.ReadFrame(&f); err != nil {
			return frames, err
		}
		f.Data = bytes.Clone(f.Data)
		frames = append(frames, f)
	}
}

func equal(a, b capture.Frame) bool {
	data := bytes.Equal(a.Data, b.Data)
	a.Data, b.Data = nil, nil
	return data && reflect.DeepEqual(a, b)
}

// checkDamage checks that err is damage after n packets, within a file of size bytes.
func checkDamage(t *testing.T, err error, n, size int) *capture.DamageError {
	t.Helper()
	var d *capture.DamageError
	if !errors.As(err, &d) {
		t.Fatalf("error %v (%T), want a *DamageError", err, err)
	}
	if d.Packet != uint64(n) || d.Offset < 0 || d.Offset > int64(size) {
		t.Fatalf("%v: after packet %d; want packet %d and an offset up to %d", err, d.Packet, n, size)
	}
	return d
}
