// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"strconv"
	"testing"
	"time"
)

func TestExpected(t *testing.T) {
	var x Expected
	at := time.Unix(1772517600, 0)
	now := func() time.Time { return at }
	e := Expectation{"pacs", "ADAPACS", "WS1", "C-STORE"}
	if x.Has(e, at) {
		t.Error("expected before anything")
	}
	first, second := x.Expect(e, now, time.Minute), x.Expect(e, now, time.Minute)
	first()
	at = at.Add(time.Hour)
	if !x.Has(e, at) || x.Has(Expectation{"pacs", "ADAPACS", "XFER1", "C-STORE"}, at) {
		t.Error("while the second is running")
	}
	second()
	if !x.Has(e, at.Add(time.Minute-1)) || x.Has(e, at.Add(time.Minute)) {
		t.Error("a minute afterwards, and not longer")
	}
}

// TestExpectedBound: what is over makes room first, then what ends first.
func TestExpectedBound(t *testing.T) {
	var x Expected
	at := time.Unix(1772517600, 0)
	now := func() time.Time { return at }
	row := func(i int) Expectation { return Expectation{Device: "pacs", To: strconv.Itoa(i)} }
	for i := range maxExpected {
		x.Expect(row(i), now, time.Hour-time.Duration(i)*time.Millisecond)()
	}
	x.Expect(row(maxExpected), now, time.Hour)
	if len(x.rows) != maxExpected || x.Has(row(maxExpected-1), at) || !x.Has(row(0), at) || !x.Has(row(maxExpected), at) {
		t.Errorf("%d rows", len(x.rows))
	}
}
