// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/myelin-health/myelin/patch/delta"
)

func Example() {
	old := bytes.Repeat([]byte("the bolus is at most 8.0 U; "), 100)
	next := bytes.Replace(old, []byte("8.0"), []byte("7.5"), 1)
	b, err := delta.Diff(old, next, delta.Options{})
	if err != nil {
		panic(err)
	}

	dir, err := os.MkdirTemp("", "slots")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	slot, err := os.Create(filepath.Join(dir, "b"))
	if err != nil {
		panic(err)
	}
	defer slot.Close()

	d := delta.NewDecoder()
	d.Reset(bytes.NewReader(old), slot)
	for piece := range slices.Chunk(b, 64) { // as they come over the radio
		if _, err := d.Write(piece); err != nil {
			panic(err)
		}
	}
	fmt.Println(d.Done(), d.Header.New, len(b) < 100)
	// Output: true 2800 true
}
