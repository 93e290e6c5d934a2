// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"io"
	"sync/atomic"
	"time"
)

// streamWait is how long a call waits for frames, as long as a [Live] does.
const streamWait = 100 * time.Millisecond

// A Stream is a capture that somebody else is still writing into a pipe. It is read as
// a [Live] is: whoever reads it goes about what depends on time when nothing comes.
type Stream struct {
	full, empty chan *Batch
	closed      chan struct{}
	err         error // of the reader; after full is closed
	packets     atomic.Uint64
}

// NewStream begins to read a capture in a goroutine, which ends with r, or with the next
// that r gives after the stream was closed.
func NewStream(r io.Reader) *Stream {
	s := &Stream{full: make(chan *Batch), empty: make(chan *Batch, 1), closed: make(chan struct{})}
	s.empty <- new(Batch)
	go s.read(r)
	return s
}

func (s *Stream) read(from io.Reader) {
	defer close(s.full)
	r, err := NewReader(from) // waits for the first bytes
	for err == nil {
		var b *Batch
		select {
		case b = <-s.empty:
		case <-s.closed:
			err = io.EOF
			continue
		}
		if err = r.ReadBatch(b); err != nil {
			break
		}
		s.packets.Add(uint64(len(b.Frames)))
		select {
		case s.full <- b:
		case <-s.closed:
			err = io.EOF
		}
	}
	s.err = err
}

// Close lets nothing more be read. It has to be called once, by who calls ReadBatch.
func (s *Stream) Close() error {
	close(s.closed)
	return nil
}

// ReadBatch fills b with frames; there may be none after a tenth of a second. At the
// end the error is the reader's: see [Reader.ReadFrame].
func (s *Stream) ReadBatch(b *Batch) error {
	wait := time.NewTimer(streamWait)
	defer wait.Stop()
	select {
	case f, ok := <-s.full:
		if !ok {
			b.reset(0)
			return s.err
		}
		*b, *f = *f, *b
		s.empty <- f
	case <-wait.C:
		b.reset(0)
	}
	return nil
}

// Stats counts what was read.
func (s *Stream) Stats() (LiveStats, error) { return LiveStats{Packets: s.packets.Load()}, nil }
