// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/link/cose"
)

// TestDigests holds each algorithm to what FIPS 180-4 and FIPS 202 give of nothing,
// and runs an image-match by it.
func TestDigests(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	for a, empty := range map[cose.Algorithm]string{
		cose.SHA256: "SHA-256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		cose.SHA384: "SHA-384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
		cose.SHA512: "SHA-512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
		SHAKE128:    "SHAKE128:7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
		SHAKE256:    "SHAKE256:46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762fd75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be",
	} {
		if d, n, err := SumReader(a, strings.NewReader("")); d.String() != empty || n != 0 || err != nil {
			t.Errorf("%v of %d bytes, want %s, %v", d, n, empty, err)
		}
		h := newHash(a)
		io.WriteString(h, "a")
		one := fmt.Sprintf("%x", h.Sum(nil))
		io.WriteString(h, "b") // a sum does not end the writing
		whole, _, _ := SumReader(a, strings.NewReader("ab"))
		if fmt.Sprintf("%x", h.Sum(nil)) != fmt.Sprintf("%x", whole.Bytes) || one == fmt.Sprintf("%x", whole.Bytes) {
			t.Errorf("%v: written in two goes it is another", a)
		}
		image, _, _ := SumReader(a, strings.NewReader("image"))
		for _, content := range []string{"image", "imagf"} {
			d := newDevice()
			m := install(Override(Content([]byte(content))), Do(DirectiveWrite, 0), Override(ImageDigest(image)), Do(ConditionImageMatch, 0))
			err := (&Processor{Platform: d, AnyDevice: true}).Run(verified(t, newEnvelope(t, m, k), k), Update)
			if (err == nil) != (content == "image") {
				t.Errorf("%v of %s: %v", a, content, err)
			}
		}
	}
	if _, _, err := SumReader(cose.SHA256_64, strings.NewReader("")); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

// TestManifestDigest has an envelope whose digest is by another algorithm than ours.
func TestManifestDigest(t *testing.T) {
	k := newKey(t, cose.P256, cose.ESP256)
	e, err := NewEnvelope(install(write("x")...))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []cose.Algorithm{cose.SHA384, cose.SHA512, SHAKE128, SHAKE256} {
		e.Digest, e.Blocks = Digest{Alg: a}.wrapped(e.manifest), nil
		sign(t, e, k)
		b := e.Append(nil)
		if !accepted(b, k) {
			t.Errorf("%v: refused", a)
		}
		b[len(b)-1] ^= 1
		if accepted(b, k) {
			t.Errorf("%v: accepted with its last byte changed", a)
		}
	}
}
