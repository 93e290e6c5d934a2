// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

// suffixes sorts the suffixes of b by induced sorting (Nong, Zhang and Chan, 2009), in
// time and memory linear in len(b): four bytes of the result a byte, a bit more beside.
func suffixes(b []byte) []int32 {
	sa := make([]int32, len(b))
	induce(b, sa, 256)
	return sa
}

// induce sorts the suffixes of s, whose letters are below k, into sa. A suffix is less
// than every longer one that it begins.
func induce[L byte | int32](s []L, sa []int32, k int) {
	n := len(s)
	if n < 2 {
		clear(sa)
		return
	}
	// small[i]: suffix i is less than suffix i+1. The last is greater than nothing behind it.
	small := make([]uint64, n/64+1)
	is := func(i int) bool { return small[i>>6]>>(i&63)&1 != 0 }
	for i := n - 2; i >= 0; i-- {
		if s[i] < s[i+1] || s[i] == s[i+1] && is(i+1) {
			small[i>>6] |= 1 << (i & 63)
		}
	}
	leftmost := func(i int) bool { return i > 0 && is(i) && !is(i-1) }

	bucket, count := make([]int32, k), make([]int32, k)
	for _, c := range s {
		count[c]++
	}
	bounds := func(ends bool) {
		sum := int32(0)
		for c, m := range count {
			if bucket[c] = sum; ends {
				bucket[c] += m
			}
			sum += m
		}
	}
	// spread sorts all suffixes once the leftmost small ones stand at the ends of their buckets.
	spread := func() {
		bounds(false)
		put := func(i int) {
			sa[bucket[s[i]]] = int32(i)
			bucket[s[i]]++
		}
		put(n - 1)
		for j := range sa {
			if i := int(sa[j]) - 1; i >= 0 && !is(i) {
				put(i)
			}
		}
		bounds(true)
		for j := n - 1; j >= 0; j-- {
			if i := int(sa[j]) - 1; i >= 0 && is(i) {
				bucket[s[i]]--
				sa[bucket[s[i]]] = int32(i)
			}
		}
	}
	place := func(i int) {
		bucket[s[i]]--
		sa[bucket[s[i]]] = int32(i)
	}

	for i := range sa {
		sa[i] = -1
	}
	bounds(true)
	for i := 1; i < n; i++ {
		if leftmost(i) {
			place(i)
		}
	}
	spread()

	// Name the substrings between leftmost small suffixes in their order.
	m := 0
	for _, i := range sa {
		if leftmost(int(i)) {
			sa[m] = i
			m++
		}
	}
	if m == 0 {
		return // spread has sorted all of them
	}
	names := sa[m:]
	for i := range names {
		names[i] = -1
	}
	same := func(a, b int) bool {
		for d := 0; ; d++ {
			if a+d >= n || b+d >= n || s[a+d] != s[b+d] || is(a+d) != is(b+d) {
				return false
			}
			if d > 0 && (leftmost(a+d) || leftmost(b+d)) {
				return leftmost(a+d) && leftmost(b+d)
			}
		}
	}
	name, before := int32(-1), -1
	for _, i := range sa[:m] {
		if before < 0 || !same(before, int(i)) {
			name++
		}
		before = int(i)
		names[i/2] = name // no two of them are neighbours
	}
	reduced := make([]int32, 0, m)
	for _, v := range names {
		if v >= 0 {
			reduced = append(reduced, v)
		}
	}
	order := sa[:m]
	if int(name)+1 < m {
		induce(reduced, order, int(name)+1)
	} else {
		for i, v := range reduced {
			order[v] = int32(i)
		}
	}
	at := reduced[:0] // where the i-th of them is
	for i := 1; i < n; i++ {
		if leftmost(i) {
			at = append(at, int32(i))
		}
	}
	for i, v := range order {
		order[i] = at[v]
	}
	for i := m; i < n; i++ {
		sa[i] = -1
	}
	bounds(true)
	for j := m - 1; j >= 0; j-- {
		i := sa[j]
		sa[j] = -1
		place(int(i))
	}
	spread()
}
