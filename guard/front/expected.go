// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"sync"
	"time"
)

// Expected are connections that follow from something that a front let pass,
// and that come through another front of the same device, or through the same one:
// an archive that was asked to move images connects to where they go. The zero
// Expected expects nothing. It may be used by several goroutines.
type Expected struct {
	mu   sync.Mutex
	rows map[Expectation]*due
}

// An Expectation is one such connection: of a protected device, by whom to
// whom in the protocol's names, and for which of its operations.
type Expectation struct {
	Device, From, To, Operation string
}

type due struct {
	running int // what it follows from is not over
	until   time.Time
}

// maxExpected bounds the rows. Of more, what ends first is forgotten.
const maxExpected = 4096

// Expect says that e is to come. It does until what it returns is called, which
// is done once, and so long afterwards.
func (x *Expected) Expect(e Expectation, now func() time.Time, afterwards time.Duration) (over func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rows == nil {
		x.rows = map[Expectation]*due{}
	}
	d := x.rows[e]
	if d == nil {
		if len(x.rows) >= maxExpected {
			x.forget(now())
		}
		d = &due{}
		x.rows[e] = d
	}
	d.running++
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		d.running--
		if until := now().Add(afterwards); until.After(d.until) {
			d.until = until
		}
	}
}

// Has reports whether e is expected now.
func (x *Expected) Has(e Expectation, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	d := x.rows[e]
	return d != nil && (d.running > 0 || now.Before(d.until))
}

// forget makes room: what is over goes, or else the row that ends first.
func (x *Expected) forget(now time.Time) {
	var first Expectation
	var ends *due
	for e, d := range x.rows {
		if d.running == 0 && !now.Before(d.until) {
			delete(x.rows, e)
		} else if ends == nil || d.running < ends.running || d.running == ends.running && d.until.Before(ends.until) {
			first, ends = e, d
		}
	}
	if len(x.rows) >= maxExpected {
		delete(x.rows, first)
	}
}
