// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import "testing"

// TestAlgorithms goes over the whole registry: what is known has a name of its own
// and sizes that fit each other, what is not has its number.
func TestAlgorithms(t *testing.T) {
	names := map[string]Algorithm{}
	known := 0
	for a := Algorithm(-300); a < 300; a++ {
		s := a.String()
		if b, twice := names[s]; twice {
			t.Errorf("%d and %d are both %q", a, b, s)
		}
		names[s] = a
		if a.info().mode == none {
			if a.KeySize()+a.NonceSize()+a.TagSize() != 0 || a.Hash() != 0 || a.AEAD() {
				t.Errorf("%d is not known and has sizes", a)
			}
			continue
		}
		known++
		if a.AEAD() != (a.NonceSize() > 0) || a.TagSize() == 0 || a.Hash() != 0 && a.newHash().Size() != a.Hash().Size() {
			t.Errorf("%v: nonce of %d, tag of %d bytes", a, a.NonceSize(), a.TagSize())
		}
		if h := a.Hash(); h != 0 && a.info().mode != signature && a.TagSize() > h.Size() {
			t.Errorf("%v: a tag of %d bytes of a hash of %d", a, a.TagSize(), h.Size())
		}
		if a.info().mode == signature && (a.curve().size() != a.KeySize() || a.TagSize() != 2*a.KeySize()) {
			t.Errorf("%v: a signature of %d bytes on %v", a, a.TagSize(), a.curve())
		}
	}
	if known != 12+4+8+4 {
		t.Errorf("%d algorithms", known)
	}
	curves := map[string]bool{}
	for c := P256; c <= CurveEd448; c++ {
		curves[c.String()] = true
	}
	if len(curves) != 7 || Curve(99).String() != "curve 99" {
		t.Errorf("curves: %v", curves)
	}
}
