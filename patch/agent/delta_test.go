// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/delta"
)

// similar makes the new image one that a delta is short for.
func similar(w *world) {
	b := append(bytes.Clone(w.old), w.old[3000:5000]...)
	copy(b, "2.2.0 \n")
	w.release1 = w.release(recipe{version: "2.2.0", sequence: 8, image: b, maker: w.maker, class: class})
	w.withDelta()
}

// A delta is fetched instead of the image, over cuts of connection and power too.
func TestDelta(t *testing.T) {
	for _, cuts := range []bool{false, true} {
		w := newWorld(t)
		similar(w)
		n := 0
		w.read = func(path string, p []byte, off int64) (int, error) {
			if strings.HasSuffix(path, ".delta") && cuts {
				if n++; n%15 == 0 {
					w.agent = nil
					return 0, ErrPower
				}
				p = p[:min(len(p), 9)]
			}
			return w.file(path, p, off)
		}
		for range 1000 {
			if _, err := w.run(w.heardOf(1)); err == nil {
				break
			}
		}
		if len(w.results) != 1 || w.results[0].Outcome != patch.Installed || !bytes.Equal(w.image(), w.release1.files["firmware.bin"]) {
			t.Fatalf("cuts %v: it ends with %+v", cuts, w.results)
		}
		if w.by["firmware.bin"] != 0 {
			t.Errorf("cuts %v: %d bytes of the image are fetched", cuts, w.by["firmware.bin"])
		}
	}
}

// A delta that does not fit, or was altered, costs its own bytes: the image is fetched.
func TestDeltaRefused(t *testing.T) {
	other := img("2.1.3", "other", 9000)
	for name, spoil := range map[string]func(w *world, d []byte) []byte{
		"from another version": func(w *world, _ []byte) []byte {
			b, _ := delta.Diff(other, w.release1.files["firmware.bin"], delta.Options{Page: 1024})
			return b
		},
		"to another version": func(w *world, _ []byte) []byte {
			b, _ := delta.Diff(w.old, other, delta.Options{Page: 1024})
			return b
		},
		"to another version of the same size": func(w *world, _ []byte) []byte {
			b, _ := delta.Diff(w.old, flip(w.release1.files["firmware.bin"], 100), delta.Options{Page: 1024})
			return b
		},
		"in place": func(w *world, _ []byte) []byte {
			b, _ := delta.Diff(w.old, w.release1.files["firmware.bin"], delta.Options{Page: 1024, InPlace: true})
			return b
		},
		"altered":          func(_ *world, d []byte) []byte { return flip(d, len(d)/2) },
		"cut off":          func(_ *world, d []byte) []byte { return d[:len(d)/2] },
		"empty":            func(*world, []byte) []byte { return []byte{} },
		"something else":   func(*world, []byte) []byte { return bytes.Repeat([]byte("MyD1"), 1000) },
		"with a long tail": func(_ *world, d []byte) []byte { return append(bytes.Clone(d), make([]byte, 5000)...) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			similar(w)
			w.release1.files["2.1.4.delta"] = spoil(w, w.release1.files["2.1.4.delta"])
			if errs, err := w.run(w.heardOf(1)); err != nil || errs != nil {
				t.Fatal(err, errs)
			}
			if w.results[0].Outcome != patch.Installed || !bytes.Equal(w.image(), w.release1.files["firmware.bin"]) {
				t.Errorf("it ends with %+v", w.results)
			}
			if name != "with a long tail" && w.by["firmware.bin"] != int64(len(w.release1.files["firmware.bin"])) {
				t.Errorf("%d bytes of the image are fetched", w.by["firmware.bin"])
			}
		})
	}
}
