// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/coap"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// counting is what a server says that counts, and says when it changed.
type counting struct {
	w     *ward
	mu    sync.Mutex
	n     int
	age   uint32
	asked int
}

func (c *counting) answer(m *protocol.Message) protocol.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	a := protocol.Message{Code: protocol.Content, Payload: fmt.Append(nil, c.n)}
	a.Options = protocol.AppendOption(nil, 0, protocol.Option{Number: protocol.Observe})
	a.Options = protocol.AppendOption(a.Options, protocol.Observe, protocol.Option{Number: protocol.ContentFormat})
	if c.age > 0 {
		a.Options = protocol.AppendOption(a.Options, protocol.ContentFormat, protocol.Option{Number: protocol.MaxAge, Value: protocol.AppendUint(nil, c.age)})
	}
	return a
}

func (c *counting) change() {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	c.w.peer.Notify("/settings")
}

func observe(value uint32, path string) protocol.Message {
	return coap.WithOption(get(path), protocol.Observe, protocol.AppendUint(nil, value))
}

// state takes a notification, and acknowledges it.
func (d *caller) state(want string) (number uint32, ok bool) {
	d.t.Helper()
	a := d.wants(protocol.Content)
	if string(a.Payload) != want {
		d.t.Fatalf("%q, not %q", a.Payload, want)
	}
	if a.Type == protocol.Confirmable {
		d.say(protocol.Message{Type: protocol.Acknowledgement, ID: a.ID})
	}
	o, ok := a.Options.Get(protocol.Observe)
	number, _ = o.Uint()
	return number, ok
}

// TestWatch: the device observes its server through the guard: each newest state, in
// order, until it is told the last, asks, or says that it wants no more.
func TestWatch(t *testing.T) {
	w := newWard(t)
	c := &counting{w: w}
	w.handler = c.answer
	w.arrive(w.serverKey)
	d := w.device()
	d.ask(observe(0, "/settings"))
	before, ok := d.state("0")
	if !ok {
		t.Fatal("not observed")
	}
	for i := 1; i < 10; i++ {
		c.change()
		n, ok := d.state(fmt.Sprint(i))
		if !ok || n <= before {
			t.Fatalf("notification %d behind %d", n, before)
		}
		before = n
	}
	// It asks for no more, with the same token.
	stop := observe(1, "/settings")
	stop.ID, stop.Token = 999, []byte{0, 1}
	d.say(stop)
	if _, ok := d.state("9"); ok {
		t.Error("observed, and it wanted no more")
	}
	c.change()
	if a, ok := d.hears(200 * time.Millisecond); ok {
		t.Errorf("%v %q", a.Code, a.Payload)
	}
	// It rejects one.
	d.ask(observe(0, "/settings"))
	d.state("10")
	c.change()
	a := d.wants(protocol.Content)
	d.say(protocol.Message{Type: protocol.Reset, ID: a.ID})
	w.until(func() bool { w.client.mu.Lock(); defer w.client.mu.Unlock(); return len(w.client.watches) == 0 }, func() string { return "it goes on" })
	// It does not acknowledge one: that is said again, and then no other.
	d.ask(observe(0, "/settings"))
	d.state("11")
	c.change()
	for range tellTries {
		d.wants(protocol.Content)
	}
	w.until(func() bool { w.client.mu.Lock(); defer w.client.mu.Unlock(); return len(w.client.watches) == 0 }, func() string { return "it goes on" })
	// What is not declared to be observed is answered once.
	d.ask(observe(0, "/orders"))
	d.wants(protocol.BadGateway)
	// The server ends it.
	d.ask(observe(0, "/settings"))
	d.state("12")
	w.mu.Lock()
	w.handler = func(*protocol.Message) protocol.Message { return protocol.Message{Code: protocol.NotFound} }
	w.mu.Unlock()
	c.change()
	d.wants(protocol.NotFound)
}

// TestWatchBounds: of more observations than there is place for the state comes, and no more.
func TestWatchBounds(t *testing.T) {
	w := newWard(t)
	c := &counting{w: w}
	w.handler = c.answer
	w.arrive(w.serverKey)
	d := w.device()
	for i := range maxWatches + 3 {
		d.ask(observe(0, "/settings"))
		if _, ok := d.state("0"); ok != (i < maxWatches) {
			t.Errorf("observation %d: %v", i+1, ok)
		}
	}
	// In the place of one with the same token.
	again := observe(0, "/settings")
	again.ID, again.Token = 999, []byte{0, 1}
	d.say(again)
	if _, ok := d.state("0"); !ok {
		t.Error("an observation cannot be begun again")
	}
	w.client.mu.Lock()
	defer w.client.mu.Unlock()
	if len(w.client.watches) != maxWatches {
		t.Errorf("%d observations", len(w.client.watches))
	}
}

// TestWatchAgain: of registrations that take each other's place while the server is away
// nothing is left.
func TestWatchAgain(t *testing.T) {
	w := newWard(t)
	d := w.device()
	for i := range 2000 {
		m := observe(0, "/settings")
		m.ID, m.Token = uint16(i), []byte{7}
		d.say(m)
	}
	remembered := func() int {
		w.client.mu.Lock()
		defer w.client.mu.Unlock()
		return len(w.client.asked) - w.client.answered.Len()
	}
	w.until(func() bool { return remembered() == 0 }, func() string { return fmt.Sprintf("%d are not forgotten", remembered()) })
}

// TestWatchServerAway: a server that was started again is asked again when what it said is
// too old, and the device notices nothing but the time.
func TestWatchServerAway(t *testing.T) {
	w := newWard(t)
	c := &counting{w: w, age: 1}
	w.handler = c.answer
	w.arrive(w.serverKey)
	d := w.device()
	d.ask(observe(0, "/settings"))
	d.state("0")
	w.gone()
	w.arrive(w.serverKey)
	c.change() // nobody observes: nobody is told
	if _, ok := d.state("1"); !ok {
		t.Error("it ended")
	}
	c.change()
	d.state("2")
	// While it is away a device is not told that it can observe.
	w.gone()
	other := w.device()
	w.client.out.session.Store(nil)
	start := time.Now()
	other.ask(observe(0, "/settings"))
	if a, ok := other.hears(2 * readWithin * w.ack); !ok || a.Code != protocol.GatewayTimeout {
		t.Errorf("%v after %v", a.Code, time.Since(start))
	}
}
