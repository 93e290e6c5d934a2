// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSuffixes compares with sorting.
func TestSuffixes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	texts := [][]byte{nil, []byte("a"), []byte("ba"), []byte("mississippi"), bytes.Repeat([]byte("a"), 100), bytes.Repeat([]byte("abcab"), 60)}
	for range 300 {
		b := make([]byte, r.IntN(300))
		letters := 1 + r.IntN(4)
		for i := range b {
			b[i] = byte(r.IntN(letters) * 60)
		}
		texts = append(texts, b)
	}
	for _, b := range texts {
		want := make([]int32, len(b))
		for i := range want {
			want[i] = int32(i)
		}
		slices.SortFunc(want, func(x, y int32) int { return bytes.Compare(b[x:], b[y:]) })
		if got := suffixes(b); !slices.Equal(got, want) {
			t.Fatalf("%q: %v, want %v", b, got, want)
		}
	}
}
