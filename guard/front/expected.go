// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/internal/journal"
)

// Expected are connections that follow from something that a front let pass,
// and that come through another front of the same device, or through the same one:
// an archive that was asked to move images connects to where they go, and tells a
// scanner, perhaps hours later, that its images are safe. The zero Expected expects
// nothing, and forgets with the process; one that was opened outlives it. Times run by
// the least that has passed ([envelope.Lapse]), so that no clock that is set has an answer
// refused that somebody waits for. It may be used by several goroutines.
type Expected struct {
	mu      sync.Mutex
	rows    map[Expectation]*due
	lapse   envelope.Lapse
	clock   func() envelope.Reading // nil: the machine's
	journal *journal.Journal        // nil: none
	failed  error                   // of the file
}

// An Expectation is one such connection: of a protected device, by whom to
// whom in the protocol's names, and for which of its operations.
type Expectation struct {
	Device, From, To, Operation string
}

type due struct {
	running    int // what it follows from is not over
	until      time.Duration
	afterwards time.Duration
}

// maxExpected bounds the rows. Of more, what ends first is forgotten.
const maxExpected = 4096

// Open reads what was expected before the process, and keeps it there from now on. What
// was running is over. On an error, of a file that is damaged too, it goes on as
// without a file, which is left as it is.
func (x *Expected) Open(path string) (err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer func() { x.failed = err }()
	j, records, err := journal.Open(path, "myelin guard expected 1")
	if err != nil {
		return err
	}
	read := Expected{rows: map[Expectation]*due{}, clock: x.clock}
	for n, r := range records {
		if !read.read(r) {
			j.Close()
			return fmt.Errorf("%w: record %d is of no connection", journal.ErrDamaged, n)
		}
	}
	now := read.now()
	for e, d := range read.rows {
		if d.running > 0 {
			d.running, d.until = 0, max(d.until, now+d.afterwards)
		}
		if now >= d.until {
			delete(read.rows, e)
		}
	}
	x.rows, x.lapse, x.journal = read.rows, read.lapse, j
	return x.rewrite()
}

// Err is why not all that was expected is known, or will be after the process, or nil.
func (x *Expected) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failed
}

// Close closes the file.
func (x *Expected) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.journal == nil {
		return nil
	}
	j := x.journal
	x.journal = nil
	return errors.Join(j.Write(clockRecord(&x.lapse)), j.Close())
}

const recordExpected = 'e'

// appendExpected is the record of a row:
//
//	e | running, 1 | until, 8 | afterwards, 8 | device, from, to, operation: length, 1, and as many bytes
func appendExpected(e *Expectation, d *due) []byte {
	b := []byte{recordExpected, byte(min(d.running, 1))}
	b = binary.BigEndian.AppendUint64(b, uint64(d.until))
	b = binary.BigEndian.AppendUint64(b, uint64(d.afterwards))
	for _, s := range [...]string{e.Device, e.From, e.To, e.Operation} {
		s = s[:min(len(s), 255)] // names of AE titles have sixteen characters
		b = append(append(b, byte(len(s))), s...)
	}
	return b
}

func (x *Expected) read(r []byte) bool {
	if lapse, ok := readClock(r); ok {
		x.lapse = lapse
		return true
	}
	if len(r) < 18 || r[0] != recordExpected {
		return false
	}
	d := &due{running: int(r[1] & 1), until: time.Duration(binary.BigEndian.Uint64(r[2:])), afterwards: time.Duration(binary.BigEndian.Uint64(r[10:]))}
	var e Expectation
	r = r[18:]
	for _, s := range [...]*string{&e.Device, &e.From, &e.To, &e.Operation} {
		if len(r) == 0 || len(r) <= int(r[0]) {
			return false
		}
		n := 1 + int(r[0])
		*s, r = string(r[1:n]), r[n:]
	}
	if len(x.rows) < maxExpected || x.rows[e] != nil {
		x.rows[e] = d
	}
	return len(r) == 0
}

func (x *Expected) rewrite() error {
	records := [][]byte{clockRecord(&x.lapse)}
	for e, d := range x.rows {
		records = append(records, appendExpected(&e, d))
	}
	return x.journal.Replace(records)
}

// write writes a row down, and returns when that is durable if it has to be. What cannot be
// written is expected all the same, until the process ends.
func (x *Expected) write(e *Expectation, d *due, durably bool) {
	if x.journal == nil || x.journal.Broken() {
		return
	}
	if x.journal.Full() && x.rewrite() == nil {
		return
	}
	write := x.journal.Append
	if durably {
		write = x.journal.Write
	}
	if err := write(clockRecord(&x.lapse), appendExpected(e, d)); err != nil {
		x.failed = err
	}
}

// now is the least time that has passed.
func (x *Expected) now() time.Duration {
	clock := x.clock
	if clock == nil {
		clock = envelope.ReadClock
	}
	x.lapse.Pass(clock())
	return x.lapse.Least
}

// Expect says that e is to come. It does until what it returns is called, which
// is done once, and so long afterwards; after a restart, so long from then on. It returns
// when that is durable.
func (x *Expected) Expect(e Expectation, afterwards time.Duration) (over func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rows == nil {
		x.rows = map[Expectation]*due{}
	}
	now := x.now()
	d := x.rows[e]
	if d == nil {
		if len(x.rows) >= maxExpected {
			x.forget(now)
		}
		d = &due{}
		x.rows[e] = d
	}
	d.running++
	d.afterwards = max(d.afterwards, afterwards)
	x.write(&e, d, true)
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		d.running--
		d.until = max(d.until, x.now()+afterwards)
		if x.rows[e] == d {
			x.write(&e, d, false)
		}
	}
}

// Has reports whether e is expected now.
func (x *Expected) Has(e Expectation) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	d := x.rows[e]
	return d != nil && (d.running > 0 || x.now() < d.until)
}

// forget makes room: what is over goes, or else the row that ends first.
func (x *Expected) forget(now time.Duration) {
	var first Expectation
	var ends *due
	for e, d := range x.rows {
		if d.running == 0 && now >= d.until {
			delete(x.rows, e)
		} else if ends == nil || d.running < ends.running || d.running == ends.running && d.until < ends.until {
			first, ends = e, d
		}
	}
	if len(x.rows) >= maxExpected {
		delete(x.rows, first)
	}
}
