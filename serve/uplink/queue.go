// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/store"
)

// ErrFull is of a queue that has no room, and nothing in it that may be given up.
var ErrFull = errors.New("what waits for the server fills its folder, and none of it may be given up")

// A queue is batches that wait on a disk, in the order of their numbers. Each is a file
//
//	FROM-LAST.batch    CRC-32 of the rest, 8 hexadecimal digits, newline | the batch in JSON
//
// with the numbers of the batches that are in it: two are put together by writing a file
// with the numbers of both, and then removing theirs. A file that is in another is
// removed when the queue is opened.
//
// The file "sent" has a number beyond which no batch was ever sent. Up to it a batch
// may be known to the server, and stays as it is.
type queue struct {
	dir  string
	most int64 // bytes

	mu      sync.Mutex
	entries []entry
	size    int64
	next    uint64 // number
	mark    uint64 // in the file "sent"
	merged  uint64 // observations that were put together, or given up
	lost    uint64 // of those the ones that were given up
	damaged int    // files that were
}

type entry struct {
	from, last uint64
	size       int64
}

const (
	markAhead  = 16      // numbers that "sent" is ahead, so that it is written seldom
	roomShare  = 16      // the part of the queue that is made free at once
	maxRefused = 100     // files that are kept of what the server does not take
	maxFolds   = 64      // batches that are put into one at once
	maxFolded  = 3 << 20 // bytes of a batch that others were put into
	headBytes  = 8 + 1   // of a file
	hourNanos  = int64(time.Hour)
)

func (e entry) name() string { return fmt.Sprintf("%020d-%020d.batch", e.from, e.last) }

// openQueue opens the queue in a folder.
func openQueue(dir string, most int64) (*queue, error) {
	q := &queue{dir: dir, most: most}
	if err := os.MkdirAll(filepath.Join(dir, "refused"), 0o700); err != nil {
		return nil, err
	}
	if b, err := os.ReadFile(q.path("sent")); err == nil {
		if _, err := fmt.Sscan(string(b), &q.mark); err != nil {
			return nil, fmt.Errorf("%s: damaged", q.path("sent"))
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		var e entry
		if n, err := fmt.Sscanf(f.Name(), "%020d-%020d.batch", &e.from, &e.last); n != 2 || err != nil || e.name() != f.Name() {
			if strings.HasSuffix(f.Name(), ".new") { // a write that was cut off
				os.Remove(q.path(f.Name()))
			}
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		e.size = info.Size()
		q.entries = append(q.entries, e)
	}
	// The widest of those that end at the same number comes last.
	slices.SortFunc(q.entries, func(a, b entry) int {
		if a.last != b.last {
			return compare(a.last, b.last)
		}
		return compare(b.from, a.from)
	})
	kept := q.entries[:0]
	for _, e := range q.entries {
		for len(kept) > 0 && kept[len(kept)-1].from >= e.from {
			if err := os.Remove(q.path(kept[len(kept)-1].name())); err != nil {
				return nil, err
			}
			kept = kept[:len(kept)-1]
		}
		kept = append(kept, e)
	}
	q.entries = kept
	q.next = q.mark + 1
	for _, e := range q.entries {
		q.size += e.size
		q.next = max(q.next, e.last+1)
	}
	return q, nil
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (q *queue) path(name string) string { return filepath.Join(q.dir, name) }

// add keeps a batch, and is durable on return.
func (q *queue) add(b *store.Batch) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	one := *b
	one.Sequence = q.next
	body, err := one.Encode()
	if err != nil {
		return err
	}
	if len(body) > store.MaxBatchBytes {
		return errLarge
	}
	if size := int64(len(body) + headBytes); q.size+size > q.most {
		if err := q.makeRoom(size); err != nil {
			return err
		}
	}
	e, err := q.write(entry{from: q.next, last: q.next}, body)
	if err != nil {
		return err
	}
	q.entries = append(q.entries, e)
	q.size += e.size
	q.next++
	return nil
}

func (q *queue) write(e entry, body []byte) (entry, error) {
	e.size = int64(len(body) + headBytes)
	return e, writeFile(q.path(e.name()), fmt.Appendf(nil, "%08x\n", crc32.ChecksumIEEE(body)), body)
}

// file reads the file of a batch.
func (q *queue) file(e entry) ([]byte, error) {
	b, err := os.ReadFile(q.path(e.name()))
	if err != nil {
		return nil, err
	}
	if len(b) < headBytes || !bytes.Equal(b[:headBytes], fmt.Appendf(nil, "%08x\n", crc32.ChecksumIEEE(b[headBytes:]))) {
		return nil, errDamaged
	}
	return b[headBytes:], nil
}

// read reads a batch that waits, with its number.
func (q *queue) read(e entry) (*store.Batch, error) {
	body, err := q.file(e)
	if err != nil {
		return nil, err
	}
	b, err := store.DecodeBatch(body)
	if err != nil {
		return nil, errors.Join(errDamaged, err)
	}
	b.Sequence = e.last
	return b, nil
}

var (
	errDamaged = errors.New("a batch that waits is damaged")
	errLarge   = errors.New("a batch is too large to be sent")
)

// head returns the first batch that waits as it is sent, and its number: that it may have
// been sent is durable. nil: nothing waits.
func (q *queue) head() (body []byte, number uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.entries) > 0 {
		e := q.entries[0]
		body, err := q.body(e)
		if errors.Is(err, errDamaged) {
			q.damaged++
			if err := q.away(); err != nil {
				return nil, 0, err
			}
			continue
		}
		if err == nil && e.last > q.mark {
			err = q.sent(e.last + markAhead)
		}
		return body, e.last, err
	}
	return nil, 0, nil
}

// body is a batch with its number. Most files are so; others were given one later.
func (q *queue) body(e entry) ([]byte, error) {
	body, err := q.file(e)
	if err != nil || bytes.HasPrefix(body, fmt.Appendf(nil, `{"Sensor":"","Sequence":%d,`, e.last)) {
		return body, err
	}
	b, err := q.read(e)
	if err != nil {
		return nil, err
	}
	return b.Encode()
}

// sent makes durable that numbers up to one may have been sent.
func (q *queue) sent(number uint64) error {
	if err := writeFile(q.path("sent"), fmt.Appendf(nil, "%d\n", number)); err != nil {
		return err
	}
	q.mark = number
	return nil
}

// done forgets the first batch, which the server has.
func (q *queue) done() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.remove(0)
}

func (q *queue) remove(i int) error {
	e := q.entries[i]
	if err := os.Remove(q.path(e.name())); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	q.entries = slices.Delete(q.entries, i, i+1)
	q.size -= e.size
	return nil
}

// refuse puts the first batch, which the server does not take, where somebody can look at it.
func (q *queue) refuse() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.away()
}

func (q *queue) away() error {
	e := q.entries[0]
	old, err := os.ReadDir(q.path("refused"))
	if err != nil {
		return err
	}
	for i := range len(old) - maxRefused + 1 {
		os.Remove(q.path(filepath.Join("refused", old[i].Name())))
	}
	if err := os.Rename(q.path(e.name()), q.path(filepath.Join("refused", e.name()))); err != nil {
		return err
	}
	q.entries = q.entries[1:]
	q.size -= e.size
	return nil
}

// raise gives what was never sent numbers behind one that the server has: the folder was
// put back to an older state, and the server would take new batches for repeats.
func (q *queue) raise(number uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if number <= q.mark {
		return nil
	}
	first := slices.IndexFunc(q.entries, func(e entry) bool { return e.last > q.mark })
	next := max(number+1, q.next)
	if first >= 0 {
		for i := first; i < len(q.entries); i++ {
			e := entry{next, next, q.entries[i].size}
			if err := os.Rename(q.path(q.entries[i].name()), q.path(e.name())); err != nil {
				return err
			}
			q.entries[i] = e
			next++
		}
	}
	q.next = next
	return q.sent(number)
}

// status returns how many batches wait, and what became of others.
func (q *queue) status() (waiting int, merged, lost uint64, damaged int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries), q.merged, q.lost, q.damaged
}

// makeRoom makes room for a batch of a size: it puts together what was never sent, the
// oldest first, and then gives up the oldest observations.
func (q *queue) makeRoom(size int64) error {
	enough := func() bool { return q.size+size <= q.most-q.most/roomShare }
	first := 0
	for first < len(q.entries) && q.entries[first].last <= q.mark {
		first++
	}
	for i := first; i+1 < len(q.entries) && !enough(); i++ {
		into, err := q.read(q.entries[i])
		if err != nil {
			continue
		}
		j, n := i+1, len(into.Observations)
		for ; j < min(len(q.entries), i+maxFolds); j++ {
			b, err := q.read(q.entries[j])
			if err != nil {
				break
			}
			both := fold(into, b)
			if both == nil {
				break
			}
			into = both
			n += len(b.Observations)
		}
		if j == i+1 {
			continue
		}
		if err := q.replace(i, j, into); err != nil {
			return err
		}
		q.merged += uint64(n - len(into.Observations))
	}
	for i := first; i < len(q.entries) && !enough(); i++ {
		b, err := q.read(q.entries[i])
		if err != nil {
			continue
		}
		if n := uint64(len(b.Observations)); n > 0 {
			b.Observations = nil
			q.lost += n
			q.merged += n
			if err := q.replace(i, i+1, b); err != nil {
				return err
			}
		}
	}
	if q.size+size > q.most {
		return ErrFull
	}
	return nil
}

// replace puts one batch in the place of some that are beside each other.
func (q *queue) replace(i, j int, b *store.Batch) error {
	old := slices.Clone(q.entries[i:j])
	n := 0
	for _, e := range old {
		n += int(e.size)
	}
	body, err := b.Encode()
	if err != nil {
		return err
	}
	e, err := q.write(entry{from: old[0].from, last: old[len(old)-1].last}, body)
	if err != nil {
		return err
	}
	for _, o := range old {
		if o.name() != e.name() {
			if err := os.Remove(q.path(o.name())); err != nil {
				return err
			}
		}
	}
	q.entries = slices.Replace(q.entries, i, j, e)
	q.size += e.size - int64(n)
	return nil
}
