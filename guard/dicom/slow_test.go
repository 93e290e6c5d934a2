// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/dicom"
)

// pipes is a listener whose connections are pipes in memory, for the clock of
// a bubble.
type pipes struct {
	accepted chan net.Conn
	done     chan struct{}
	once     sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipes) Close() error { l.once.Do(func() { close(l.done) }); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A bubble has a front, an archive behind it and a caller before it, with a
// clock of their own.
type bubble struct {
	*guard
	store  *store
	caller *peer
	front  *Front
	stop   func()        // ends the front's context
	over   chan struct{} // the front has returned
	heard  chan *message // by the caller, in order; closed at the end
}

func inBubble(t *testing.T, more string, test func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{guard: newGuard(t), over: make(chan struct{}), heard: make(chan *message, 100)}
		b.store = &store{t: t, port: 1, ended: make(chan struct{}, 10)}
		l := &pipes{accepted: make(chan net.Conn), done: make(chan struct{})}
		b.front = New(b.env, b.store.policy(readers+more))
		var wg sync.WaitGroup
		b.front.dial = func(context.Context, *front.Settings) (net.Conn, error) {
			near, far := net.Pipe()
			wg.Go(func() { b.store.serve(forever{far}); b.store.ended <- struct{}{} })
			return near, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		b.stop = cancel
		go func() {
			if err := b.front.serve(ctx, l); err != nil {
				t.Error(err)
			}
			close(b.over)
		}()
		far, near := net.Pipe()
		l.accepted <- near
		b.caller = &peer{t, far}
		test(t, b)
		cancel()
		far.Close()
		<-b.over
		wg.Wait()
	})
}

// forever has no deadlines.
type forever struct{ net.Conn }

func (forever) SetDeadline(time.Time) error { return nil }

// listens reads what the caller is told.
func (b *bubble) listens() {
	go func() {
		for m := next(b.caller.c); m != nil; m = next(b.caller.c) {
			b.heard <- m
		}
		close(b.heard)
	}()
}

// ends waits until the caller is told nothing more, and returns how long that
// took and what was told, in words.
func (b *bubble) ends() (after time.Duration, told []string) {
	begun := time.Now()
	for m := range b.heard {
		after = time.Since(begun)
		if m.pdu == nil {
			told = append(told, m.command.Field.Operation())
		} else {
			told = append(told, dicom.PDUType(m.pdu[0]).String())
		}
	}
	if len(told) == 0 {
		after = time.Since(begun)
	}
	return after, told
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestSilentCaller says nothing, or half of a request: it is let go when its time
// is over, and not before.
func TestSilentCaller(t *testing.T) {
	inBubble(t, "", func(t *testing.T, b *bubble) {
		b.listens()
		begun := time.Now()
		time.Sleep(10*time.Second - 1)
		synctest.Wait()
		if len(b.refusals()) != 0 {
			t.Error("too early")
		}
		b.ends()
		if d := time.Since(begun); d < 10*time.Second || d > 10*time.Second+artim {
			t.Errorf("after %v", d)
		}
		equal(t, "recorded", b.refusals(), []string{"A-ASSOCIATE: nothing came"})
	})
	inBubble(t, "", func(t *testing.T, b *bubble) {
		b.listens()
		b.caller.write(request("CT1", "ADAPACS", usual...)[:100])
		time.Sleep(15*time.Second - 1)
		synctest.Wait()
		if len(b.refusals()) != 0 {
			t.Error("too early")
		}
		_, told := b.ends()
		equal(t, "told", told, []string{"A-ABORT"})
		equal(t, "recorded", b.refusals(), []string{"A-ASSOCIATE: it was not whole in time"})
	})
}

// TestSlowMessage: a message that stops, or drips more slowly than the least rate,
// ends the association on both sides; one that comes at the rate does not.
func TestSlowMessage(t *testing.T) {
	store := said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 60000), 16000)
	inBubble(t, "", func(t *testing.T, b *bubble) {
		b.caller.associate("CT1", "ADAPACS", usual...)
		b.listens()
		b.caller.write(store[:100]) // a part of the command set
		if after, told := b.ends(); after < 15*time.Second || after > 16*time.Second || !slices.Equal(told, []string{"A-ABORT"}) {
			t.Errorf("%q after %v", told, after)
		}
		<-b.store.ended
		equal(t, "the archive was told", b.store.heard(), []string{"A-ABORT"})
		equal(t, "recorded", b.refusals(), []string{"P-DATA-TF: a message came too slowly"})
	})
	drip := func(rate int) (told, heard []string) {
		inBubble(t, "", func(t *testing.T, b *bubble) {
			b.caller.associate("CT1", "ADAPACS", usual...)
			b.listens()
			for piece := range slices.Chunk(store, rate) {
				if _, err := b.caller.c.Write(piece); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			b.caller.c.Write(releaseRQ)
			_, told = b.ends()
			<-b.store.ended
			heard = b.store.heard()
		})
		return told, heard
	}
	told, heard := drip(1024)
	equal(t, "at the rate, told", told, []string{"C-STORE", "A-RELEASE-RP"})
	equal(t, "at the rate, the archive", heard, []string{"C-STORE 60000", "A-RELEASE-RQ"})
	told, heard = drip(600)
	if slices.Contains(heard, "C-STORE 60000") || slices.Contains(told, "C-STORE") {
		t.Errorf("too slowly, and it went on: %q, %q", told, heard)
	}
}

// TestIdle: an association in which nothing is said in either direction ends.
func TestIdle(t *testing.T) {
	inBubble(t, "\nlimits: {idle: 1m}", func(t *testing.T, b *bubble) {
		b.caller.associate("CT1", "ADAPACS", usual...)
		time.Sleep(50 * time.Second)
		if got := b.caller.ask(7, rq(dicom.CEchoRQ, echo), nil); got != 0x0000 {
			t.Errorf("C-ECHO: %#04x", got)
		}
		b.listens()
		if after, told := b.ends(); after < 59*time.Second || after > 61*time.Second || !slices.Equal(told, []string{"A-ABORT"}) {
			t.Errorf("%q after %v", told, after)
		}
		<-b.store.ended
	})
}

// TestDrain: while the front stops, what was begun is ended first: the data set, and
// the answer that the archive takes its time for. An idle association ends at once.
func TestDrain(t *testing.T) {
	store := said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 60000), 16000)
	inBubble(t, "", func(t *testing.T, b *bubble) {
		b.store.says = func(c net.Conn, m *message) bool { time.Sleep(5 * time.Second); return false }
		b.caller.associate("CT1", "ADAPACS", usual...)
		b.listens()
		b.caller.write(store[:30000])
		synctest.Wait() // it has begun
		b.stop()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.caller.write(store[30000:])
		after, told := b.ends()
		equal(t, "told", told, []string{"C-STORE", "A-ABORT"})
		if after < 5*time.Second || after > 6*time.Second {
			t.Errorf("after %v", after)
		}
		<-b.store.ended
		equal(t, "the archive was told", b.store.heard(), []string{"C-STORE 60000", "A-ABORT"})
	})
	inBubble(t, "", func(t *testing.T, b *bubble) {
		b.caller.associate("CT1", "ADAPACS", usual...)
		b.listens()
		b.stop()
		if after, told := b.ends(); after > 0 || !slices.Equal(told, []string{"A-ABORT"}) {
			t.Errorf("%q after %v", told, after)
		}
		<-b.store.ended
	})
	// And what does not end in the drain time is cut, and never completed.
	inBubble(t, "\nlimits: {drain: 3s, unfinished: 1m}", func(t *testing.T, b *bubble) {
		b.caller.associate("CT1", "ADAPACS", usual...)
		b.listens()
		b.caller.write(store[:30000])
		synctest.Wait() // it has begun
		b.stop()
		begun := time.Now()
		b.ends()
		<-b.over
		if d := time.Since(begun); d < 3*time.Second || d > 3*time.Second+artim {
			t.Errorf("after %v", d)
		}
		<-b.store.ended
		for _, h := range b.store.heard() {
			if h != "A-ABORT" {
				t.Errorf("the archive was told %q", h)
			}
		}
	})
}

// TestUpdate: an association goes on under the policy that it began with, the next
// one follows the new.
func TestUpdate(t *testing.T) {
	g, s := newGuard(t), newStore(t)
	f, port := g.start(s.policy(readers))
	first := dialTo(t, port)
	first.associate("CT1", "ADAPACS", usual...)
	f.Update(s.policy("associations: [{calling: VIEW1, called: ADAPACS, verbs: C-ECHO, sop-classes: verification}]"))
	if got := first.ask(1, rq(dicom.CStoreRQ, ctStorage), []byte{0, 0}); got != 0 {
		t.Errorf("C-STORE: %#04x", got)
	}
	second := dialTo(t, port)
	second.write(request("CT1", "ADAPACS", usual...))
	second.expectControl(dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 3})
	first.c.Close()
	<-s.ended
}

// TestRate: who asks faster than its bound waits, and loses nothing.
func TestRate(t *testing.T) {
	inBubble(t, "\nbounds: {requests: 2}", func(t *testing.T, b *bubble) {
		b.caller.associate("CT1", "ADAPACS", usual...)
		begun := time.Now()
		for i := range 10 { // four at once, and then two a second
			if got := b.caller.ask(7, rq(dicom.CEchoRQ, echo), nil); got != 0 {
				t.Errorf("C-ECHO: %#04x", got)
			}
			if d, want := time.Since(begun), time.Duration(max(0, i-3))*time.Second/2; d != want {
				t.Errorf("the answer to request %d came after %v, want %v", i+1, d, want)
			}
		}
		b.caller.c.Close()
		<-b.store.ended
	})
}
