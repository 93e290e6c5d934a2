// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/watch"
)

// maxOpen bounds how many captures are read side by side. Those whose times
// overlap with more than these are read later than their time.
const maxOpen = 64

// maxWindows bounds the history that all of them together keep to be
// decompressed: eight files as `zstd` writes them, two as `zstd -19` does. What is
// beyond it waits, as with maxOpen.
const maxWindows = 2 * capture.MaxWindow

// maxRefilled bounds the bytes that are read for frames that go out together:
// a few large frames have to be enough.
const maxRefilled = 2 << 20

// maxSpareBatch is the largest batch that is kept for reuse.
const maxSpareBatch = 1 << 20

// An input is one capture, with what is known of it before it is read.
type input struct {
	path    string
	kind    string
	bytes   int64
	first   int64     // time of its first frame
	stream  io.Reader // standard input; nil for files, which are opened when their time comes
	window  int       // bytes of history that reading it takes
	reader  *capture.Reader
	file    *os.File
	index   int32
	now     int64 // latest time seen: within a file the order of the file counts
	batch   *batch
	next    int // index into batch.Frames
	packets uint64
	err     error
	same    string // path of the input with the same bytes, which is read instead
}

// probe finds out what an input is and when it begins.
func (in *input) probe() error {
	if in.stream != nil {
		counted := &counter{r: in.stream, n: &in.bytes}
		r, err := capture.NewReader(counted)
		if err != nil {
			return err
		}
		in.reader, in.kind, in.window = r, r.Kind(), r.Window()
		return nil // its first time is known when it is read: it comes first
	}
	f, err := os.Open(in.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		in.bytes = st.Size()
	}
	r, err := capture.NewReader(f)
	if err != nil {
		return err
	}
	in.kind, in.window = r.Kind(), r.Window()
	var frame capture.Frame
	if r.ReadFrame(&frame) == nil {
		in.first = frame.Time
	}
	return nil
}

// counter counts the bytes that are read.
type counter struct {
	r io.Reader
	n *int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	*c.n += int64(n)
	return n, err
}

// digest returns the SHA-256 of a file.
func (in *input) digest() (sum [sha256.Size]byte) {
	f, err := os.Open(in.path)
	if err != nil {
		return sum
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err == nil {
		h.Sum(sum[:0])
	}
	return sum
}

// order sorts inputs by the time of their first frame, and by SHA-256 where
// that is the same. Of files with the same bytes only the first is read.
func order(inputs []*input) {
	sums := map[*input][sha256.Size]byte{}
	sum := func(in *input) [sha256.Size]byte {
		s, ok := sums[in]
		if !ok {
			s = in.digest()
			sums[in] = s
		}
		return s
	}
	slices.SortFunc(inputs, func(a, b *input) int {
		switch {
		case a.first != b.first:
			return cmp.Compare(a.first, b.first)
		case a.stream != nil && b.stream != nil: // nothing is known of either
			return strings.Compare(a.path, b.path)
		case a.stream != nil:
			return -1
		case b.stream != nil:
			return 1
		}
		x, y := sum(a), sum(b)
		if c := slices.Compare(x[:], y[:]); c != 0 {
			return c
		}
		return strings.Compare(a.path, b.path)
	})
	for i := 1; i < len(inputs); i++ {
		a, b := inputs[i-1], inputs[i]
		if a.first == b.first && a.bytes == b.bytes && a.stream == nil && b.stream == nil && sum(a) == sum(b) {
			b.same = a.path
			if a.same != "" {
				b.same = a.same
			}
		}
	}
}

// A batch is memory with frames, counted by who still needs it.
type batch struct {
	capture.Batch
	users atomic.Int32
}

// A merger yields the frames of several captures in the order of time, input
// and packet, as a [watch.Source].
type merger struct {
	pool
	waiting []*input // by first time
	open    []*input
	windows int   // of the open ones
	read    int64 // bytes of files
}

func (m *merger) Next(dst []watch.Frame) (n int, release func(), err error) {
	var used []*batch
	for refilled := 0; n < len(dst) && refilled < maxRefilled; {
		in, until := m.first()
		if in == nil {
			break
		}
		b := in.batch
		if len(used) == 0 || used[len(used)-1] != b {
			b.users.Add(1)
			used = append(used, b)
		}
		for n < len(dst) && in.next < len(b.Frames) && (until == nil || before(in, until)) {
			f := &b.Frames[in.next]
			dst[n].Frame, dst[n].Input, dst[n].Dialect = *f, in.index, ""
			if watch.Proprietary(f.Link) {
				dst[n].Dialect = in.reader.InterfaceName(f.Interface)
			}
			in.next++
			in.packets++
			n++
			in.advance()
		}
		if in.next == len(b.Frames) {
			refilled += b.Size()
			m.refill(in)
		}
	}
	if n == 0 {
		err = io.EOF
	}
	return n, func() {
		for _, b := range used {
			m.done(b)
		}
	}, err
}

// advance notes the time of the frame that is next.
func (in *input) advance() {
	if in.next < len(in.batch.Frames) {
		in.now = max(in.now, in.batch.Frames[in.next].Time)
	}
}

func before(a, b *input) bool { return a.now < b.now || a.now == b.now && a.index < b.index }

// first returns the input whose next frame comes first, and the one that is
// second. It opens those whose time has come.
func (m *merger) first() (first, second *input) {
	for {
		first, second = nil, nil
		for _, in := range m.open {
			switch {
			case first == nil || before(in, first):
				first, second = in, first
			case second == nil || before(in, second):
				second = in
			}
		}
		if len(m.waiting) == 0 || len(m.open) >= maxOpen {
			return first, second
		}
		w := m.waiting[0]
		if first != nil && m.windows+w.window > maxWindows {
			return first, second
		}
		if first != nil && first.now < w.first {
			// Its turn comes when the time of the open ones has reached its first.
			if second == nil || w.first < second.now {
				w.now = w.first
				second = w
			}
			return first, second
		}
		m.waiting = m.waiting[1:]
		m.begin(w)
	}
}

// begin opens an input and reads its first batch.
func (m *merger) begin(in *input) {
	if in.reader == nil {
		f, err := os.Open(in.path)
		if err != nil {
			in.err = err
			return
		}
		r, err := capture.NewReader(&counter{r: f, n: &m.read})
		if err != nil {
			f.Close()
			in.err = err
			return
		}
		in.file, in.reader, in.window = f, r, r.Window()
	}
	m.open = append(m.open, in)
	m.windows += in.window
	m.refill(in)
}

// refill reads the next batch of an input, or closes it at its end.
func (m *merger) refill(in *input) {
	if in.batch != nil {
		m.done(in.batch)
		in.batch = nil
	}
	b := m.take()
	if err := in.reader.ReadBatch(&b.Batch); err != nil {
		if !errors.Is(err, io.EOF) {
			in.err = err
		}
		m.done(b)
		if in.file != nil {
			in.file.Close()
		}
		in.reader = nil
		m.windows -= in.window
		m.open = slices.DeleteFunc(m.open, func(o *input) bool { return o == in })
		return
	}
	in.batch, in.next = b, 0
	in.advance()
}

// A pool is the batches that nobody needs.
type pool struct {
	mu   sync.Mutex
	free []*batch
}

func (p *pool) take() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := new(batch)
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	}
	b.users.Store(1)
	return b
}

// done gives a batch back when nobody needs it any more.
func (p *pool) done(b *batch) {
	if b.users.Add(-1) > 0 {
		return
	}
	if b.Size() > maxSpareBatch {
		return
	}
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
}
