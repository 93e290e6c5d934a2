// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"io"
	"testing"
)

// TestStream: frames are there as soon as they are written, a pause is no end, and all of
// them come once and in order.
func TestStream(t *testing.T) {
	r, w := io.Pipe()
	s := NewStream(r)
	var b Batch
	if err := s.ReadBatch(&b); err != nil || len(b.Frames) != 0 {
		t.Fatalf("before the first byte: %d frames, %v", len(b.Frames), err)
	}
	next := func(want int64) {
		t.Helper()
		for {
			if err := s.ReadBatch(&b); err != nil {
				t.Fatal(err)
			}
			if len(b.Frames) > 0 {
				break
			}
		}
		if f := b.Frames[0]; len(b.Frames) != 1 || f.Time != want || string(f.Data) != string(rune('a'+want)) {
			t.Fatalf("%d frames, the first of %d: %q", len(b.Frames), f.Time, f.Data)
		}
	}
	wrote := make(chan error, 1)
	step := make(chan struct{})
	go func() {
		c, err := NewWriter(w, LinkEthernet)
		for i := int64(0); i < 5 && err == nil; i++ {
			<-step
			err = c.WriteFrame(&Frame{Data: []byte{byte('a' + i)}, Time: i, Link: LinkEthernet})
		}
		w.Close()
		wrote <- err
	}()
	for i := range int64(5) {
		step <- struct{}{}
		next(i)
		if i == 2 {
			if err := s.ReadBatch(&b); err != nil || len(b.Frames) != 0 {
				t.Fatalf("in a pause: %d frames, %v", len(b.Frames), err)
			}
		}
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		err = s.ReadBatch(&b)
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if n, _ := s.Stats(); n.Packets != 5 {
		t.Errorf("%d packets", n.Packets)
	}
}

// TestStreamOfNothing: what is no capture says so.
func TestStreamOfNothing(t *testing.T) {
	r, w := io.Pipe()
	s := NewStream(r)
	go func() { io.WriteString(w, "not a capture at all\n"); w.Close() }()
	var err error
	for err == nil {
		err = s.ReadBatch(new(Batch))
	}
	if !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// TestStreamClosed: nobody waits for ever at a stream that is not read any more.
func TestStreamClosed(t *testing.T) {
	r, w := io.Pipe()
	s := NewStream(r)
	c, err := NewWriter(w, LinkEthernet)
	if err == nil {
		err = c.WriteFrame(&Frame{Data: []byte{1}, Link: LinkEthernet}) // taken, and given to nobody
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for range s.full { // until its goroutine has ended
	}
	if err := s.ReadBatch(new(Batch)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
