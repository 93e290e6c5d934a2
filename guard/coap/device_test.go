// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	protocol "github.com/myelin-health/myelin/proto/coap"
	dialect "github.com/myelin-health/myelin/proto/radio"
	wire "github.com/myelin-health/myelin/proto/radio/seal"
	"github.com/myelin-health/myelin/sim/radio"
)

// A puppet is a pump whose answers a test decides on. It has no secret.
type puppet struct {
	net.PacketConn
	t  testing.TB
	mu sync.Mutex // guards what follows
	at net.Addr   // of the guard

	asked chan string // words for what was asked
}

func (p *puppet) run(silent bool) {
	d := radio.Sample("okapi-classic")
	b := make([]byte, 1<<16)
	for {
		n, from, err := p.ReadFrom(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.at = from
		p.mu.Unlock()
		var m dialect.Message
		if d.Parse(b[:n], &m) == nil && m.Opcode != nil {
			p.asked <- m.Opcode.Name
			if !silent {
				p.say("done")
			}
		}
	}
}

// say sends a frame to the guard.
func (p *puppet) say(opcode string, fields ...any) {
	p.t.Helper()
	b, err := radio.Compose(radio.Sample("okapi-classic"), opcode, append([]any{"serial", int64(0x3b1f06)}, fields...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(b)
}

func (p *puppet) raw(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.WriteTo(b, p.at)
}

// asks returns what it was asked next.
func (p *puppet) asks() string {
	p.t.Helper()
	select {
	case s := <-p.asked:
		return s
	case <-time.After(10 * time.Second):
		p.t.Fatal("the device was not asked")
	}
	return ""
}

// withPuppet makes a world whose device is one.
func withPuppet(t testing.TB, silent bool) (*world, *puppet) {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &puppet{PacketConn: s, t: t, asked: make(chan string, 64)}
	done := make(chan struct{})
	go func() { defer close(done); p.run(silent) }()
	t.Cleanup(func() { s.Close(); <-done })
	plan := classic
	plan.secret = false
	plan.inside = "{carrier: udp, dialect: okapi-classic, address: 0x3b1f06, rate: basal, topology: bypassable, answer-within: 2s}"
	return newWorldWith(t, plan, func(w *world) { w.forward(s.LocalAddr().String()) }), p
}

// TestSilence: a command that is not answered is unknown, counts as given, and is not
// sent again, not after a restart either.
func TestSilence(t *testing.T) {
	t.Parallel()
	w, p := withPuppet(t, true)
	nurse := w.connect("nurse")
	text := nurse.order(protocol.GatewayTimeout, device.DeliverBolus, "6 [iU]", "")
	if !strings.Contains(text, "nothing is sent again") {
		t.Error(text)
	}
	if p.asks() != "bolus" {
		t.Error("not asked for a bolus")
	}
	if d := w.book.Doubts(); len(d) != 1 || d[0].Verb != device.DeliverBolus {
		t.Errorf("%+v", d)
	}
	w.wants(event.DoseDoubted, "")
	w.stop()
	w.start()
	if d := w.book.Doubts(); len(d) != 1 {
		t.Errorf("after a restart: %+v", d)
	}
	// It counts: 12 U in four hours.
	nurse = w.connect("nurse")
	nurse.order(protocol.Forbidden, device.DeliverBolus, "6.5 [iU]", "")
	if len(p.asked) != 0 {
		t.Errorf("the device was asked for %s", <-p.asked)
	}
}

// TestLateAnswer: an answer that comes too late is not taken for that of another command.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	w, p := withPuppet(t, true)
	nurse := w.connect("nurse")
	nurse.order(protocol.GatewayTimeout, device.DeliverBolus, "1 [iU]", "")
	p.asks()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.asks()
		p.say("done") // to the first
	}()
	nurse.order(protocol.GatewayTimeout, device.DeliverBolus, "2 [iU]", "")
	<-done
	if d := w.book.Doubts(); len(d) != 2 {
		t.Errorf("%+v", d)
	}
}

// TestRescueWaitsForNothing: a rescue goes out while another command waits for its answer, and while nothing can be recorded.
func TestRescueWaitsForNothing(t *testing.T) {
	w, p := withPuppet(t, true)
	nurse := w.connect("nurse")
	wg := sync.WaitGroup{}
	wg.Go(func() { nurse.order(protocol.Conflict, device.DeliverBolus, "6 [iU]", "") })
	if s := p.asks(); s != "bolus" {
		t.Fatal(s)
	}
	// Of one connection a client sends one request at a time (RFC 7252 section 4.7).
	other := *nurse
	var err error
	if other.c, err = nurse.e.Dial(t.Context(), w.address); err != nil {
		t.Fatal(err)
	}
	w.front.mu.Lock() // as if somebody waited for the disk
	w.block(true)
	began := time.Now()
	wg.Go(func() { other.order(protocol.Changed, device.CancelBolus, "", "") })
	select {
	case s := <-p.asked:
		if s != "cancel-bolus" {
			t.Error(s)
		}
	case <-time.After(5 * time.Second):
		t.Error("no rescue")
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("it waited %v", d)
	}
	p.say("refused") // to the bolus
	p.say("done")    // to the rescue
	w.block(false)
	w.front.mu.Unlock()
	wg.Wait()
}

// TestFromTheDevice: what it says reaches people whether it can be read or not, and an
// alarm those who observe.
func TestFromTheDevice(t *testing.T) {
	w, p := withPuppet(t, false)
	nurse := w.connect("nurse")
	nurse.order(protocol.Changed, device.DeliverBolus, "1 [iU]", "")
	p.asks()
	o, err := nurse.c.Observe(t.Context(), nurse.s, "/telemetry")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := o.Next(ctx); err != nil {
		t.Fatal(err)
	}
	garbage := []byte("\x00\xffno frame of anybody's")
	p.raw(garbage)
	p.say("alarm", "cause", 1)
	// Somebody waits for a disk: no alarm does.
	w.front.mu.Lock()
	w.block(true)
	for {
		m, err := o.Next(ctx)
		if err != nil || bytes.Contains(m.Payload, []byte("occlusion")) {
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
	w.block(false)
	w.front.mu.Unlock()
	p.say("bolus-given", "amount", 40)
	p.say("status", "reservoir", 1500, "basal", 34, "glucose", 61)
	w.until(func() bool { return strings.Contains(nurse.get("/telemetry"), "glucose: 61 mg/dL") }, func() string { return nurse.get("/telemetry") })
	raw := nurse.get("/raw")
	for _, words := range []string{"frame 00ff6e6f206672616d65", "alarm alarm", "delivered bolus-given", "report status"} {
		if !strings.Contains(raw, words) {
			t.Errorf("no %q in %s", words, raw)
		}
	}
	if v := w.book.View("device-7", w.envelope()); v.Reported.IsZero() {
		t.Errorf("%+v", v)
	}
	// As much as is kept, and by pages.
	for range maxFrames {
		p.raw(bytes.Repeat(garbage, 4))
	}
	var payload []byte
	w.until(func() bool {
		p.raw(bytes.Repeat([]byte{0xaa}, 4000))
		m, err := nurse.c.Get(ctx, nurse.s, "/raw")
		if err != nil {
			return false // it changed between two blocks
		}
		payload = m.Payload
		return bytes.Contains(payload, bytes.Repeat([]byte{0xaa}, maxFrame))
	}, func() string { return "the last one is not there" })
	if bytes.Contains(payload, bytes.Repeat([]byte{0xaa}, maxFrame+1)) {
		t.Error("more of a frame is kept than is said")
	}
	w.front.quick.Lock()
	if n := len(w.front.said.frames); n > maxFrames {
		t.Errorf("%d frames are kept", n)
	}
	w.front.quick.Unlock()
	if err := o.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestUnsealed: what is not sealed with the device's secret reaches people, as that, and
// is believed in nothing.
func TestUnsealed(t *testing.T) {
	w := newWorld(t, classic)
	nurse := w.connect("nurse")
	nurse.order(protocol.Changed, device.DeliverBolus, "1 [iU]", "")
	before := w.book.View("device-7", w.envelope()).Reported
	given, err := radio.Compose(radio.Sample("okapi-classic"), "status", "serial", int64(0x3b1f06), "basal", 400)
	if err != nil {
		t.Fatal(err)
	}
	w.front.hear(given, 0, false)
	if !strings.Contains(nurse.get("/raw"), "sealed false") {
		t.Error(nurse.get("/raw"))
	}
	if v := w.book.View("device-7", w.envelope()); v.Reported != before {
		t.Errorf("%+v", v)
	}
	// Received before: the same.
	s := newSeal(w.secret, 1)
	first := sealOfDevice(s, 1, []byte("one"))
	if _, _, ok := s.open(first); !ok {
		t.Fatal("not opened")
	}
	if b, _, ok := s.open(first); ok || string(b) != "one" {
		t.Errorf("%q %v", b, ok)
	}
	for i := range first {
		b := bytes.Clone(first)
		b[i] ^= 4
		if _, _, ok := newSeal(w.secret, 1).open(b); ok {
			t.Fatalf("byte %d changed, and it is sealed", i)
		}
	}
}

func sealOfDevice(s *seal, n uint64, message []byte) []byte {
	return s.secret.Append(nil, wire.FromDevice, n, message)
}

// TestPipe: messages on a byte pipe are whole, or nothing; one that could not be written to
// the end is never completed.
func TestPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "radio")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan []byte, 16)
	k := &link{carrier: unix, address: path, within: 50 * time.Millisecond, hear: func(b []byte, _ uint64, _ bool) { heard <- b }}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { k.run(ctx) })
	defer wg.Wait()
	defer cancel()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	most := bytes.Repeat([]byte{7}, maxMessage-2)
	for _, b := range [][]byte{nil, most, []byte("two")} {
		m := append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
		for _, part := range [][]byte{m[:1], m[1:]} {
			if _, err := c.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-heard; !bytes.Equal(got, b) {
			t.Fatalf("%d bytes, not %d", len(got), len(b))
		}
	}
	// Nobody reads: a message is cut, and the pipe is over.
	big := make([]byte, maxMessage-2)
	for range 4096 {
		k.mu.Lock()
		over := k.conn == nil
		k.mu.Unlock()
		if over {
			break
		}
		if _, err := k.send(big, nil, false, func() {}); err != nil {
			break
		}
	}
	all, _ := io.ReadAll(c)
	if len(all)%maxMessage == 0 {
		t.Log("it ended between two messages")
	}
	c.Close()
	// The next is a new pipe; a message that is too long ends it, and is told.
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{0xff, 0xff, 'a', 'b'}); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; string(got) != "ab" {
		t.Errorf("%q", got)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes", n)
	}
}

// TestSpeaksCoAP: a device that speaks CoAP in clear.
func TestSpeaksCoAP(t *testing.T) {
	w := newWorld(t, plant{
		model: "dose-one", inside: "{carrier: udp, therapy: insulin infusion, secret: secret, topology: sole-path, answer-within: 500ms}",
		secret: true, carrier: "udp", therapy: "insulin infusion", verbs: classic.verbs,
	})
	nurse := w.connect("nurse")
	nurse.order(protocol.Changed, device.DeliverBolus, "2 [iU]", "")
	nurse.order(protocol.Forbidden, device.DeliverBolus, "9 [iU]", "")
	nurse.order(protocol.Changed, device.Suspend, "", "30 min")
	nurse.order(protocol.Conflict, device.DeliverBolus, "1 [iU]", "") // the device itself
	if s := nurse.get("/therapy"); !strings.Contains(s, "basal-rate") {
		t.Error(s)
	}
	if s := nurse.get("/telemetry"); !strings.Contains(s, "reservoir") {
		t.Error(s)
	}
}

// TestImplant: an implant at the end of a TCP bridge.
func TestImplant(t *testing.T) {
	w := newWorld(t, mics)
	nurse := w.connect("nurse")
	nurse.order(protocol.Changed, device.EmergencyPreset, "", "")
	nurse.order(protocol.Forbidden, device.SetTherapies, "0", "") // nobody is proven to be at the patient
	nurse.order(protocol.Forbidden, device.SetOutput, "6 V", "")
	nurse.order(protocol.Conflict, device.SetOutput, "3 V", "")        // it wants a session first
	nurse.order(protocol.NotImplemented, device.SetPacingMode, "", "") // which one?
	if s := nurse.get("/therapy"); !strings.Contains(s, "mode: vvi") {
		t.Error(s)
	}
}

// TestDrain: a front that is stopped lets a command that is in flight end, and takes no
// other.
func TestDrain(t *testing.T) {
	w, p := withPuppet(t, true)
	nurse := w.connect("nurse")
	var wg sync.WaitGroup
	wg.Go(func() { nurse.order(protocol.Changed, device.DeliverBolus, "1 [iU]", "") })
	p.asks()
	wg.Go(w.stop)
	w.until(func() bool {
		w.front.quick.Lock()
		defer w.front.quick.Unlock()
		return w.front.draining
	}, func() string { return "it does not drain" })
	other, err := nurse.e.Dial(t.Context(), w.address)
	if err != nil {
		t.Fatal(err)
	}
	m, err := other.Get(t.Context(), nurse.s, "/log")
	if err != nil || m.Code != protocol.ServiceUnavailable {
		t.Error(m.Code, err)
	}
	p.say("done")
	wg.Wait()
}

// TestAway: what cannot be sent was not given, and is not sent later.
func TestAway(t *testing.T) {
	w := newWorld(t, mics)
	nurse := w.connect("nurse")
	w.front.link.mu.Lock()
	c := w.front.link.conn
	w.front.link.conn = nil
	w.front.link.mu.Unlock()
	before := len(w.device.Journal())
	nurse.order(protocol.GatewayTimeout, device.SetOutput, "3 V", "")
	nurse.order(protocol.GatewayTimeout, device.EmergencyPreset, "", "")
	w.front.link.mu.Lock()
	w.front.link.conn = c
	w.front.link.mu.Unlock()
	if d := w.book.Doubts(); len(d) != 0 {
		t.Errorf("%+v", d)
	}
	nurse.order(protocol.Changed, device.EmergencyPreset, "", "")
	if j := w.device.Journal(); len(j) != before+1 {
		t.Errorf("%v", j[before:])
	}
}

// TestGiven: what the device says it gave is told apart from what was given at it, and
// counted once.
func TestGiven(t *testing.T) {
	w, p := withPuppet(t, false)
	nurse := w.connect("nurse")
	sums := func() string { return fmt.Sprintf("%+v", w.book.View("device-7", w.envelope()).Sums) }
	is := func(want string) func() bool {
		q := quantity(t, want)
		return func() bool {
			all := w.book.View("device-7", w.envelope()).Sums
			if len(all) == 0 {
				return false
			}
			most, ok := all[0].Counted.Cmp(q)
			return ok && most == 0
		}
	}
	nurse.order(protocol.Changed, device.DeliverBolus, "2 [iU]", "")
	p.say("bolus-given", "amount", 80)
	w.until(is("2 [iU]"), sums)
	p.say("bolus-given", "amount", 80) // said again, until it is heard
	p.say("bolus-given", "amount", 40) // at the pump
	w.until(is("3 [iU]"), sums)
	nurse.order(protocol.Changed, device.DeliverBolus, "4 [iU]", "")
	nurse.order(protocol.Changed, device.CancelBolus, "", "")
	p.say("bolus-given", "amount", 20)
	w.until(is("3.5 [iU]"), sums)
}

// TestRejectedStop: a suspend that the device refused leaves the next one a rescue; one
// that it may have done does not.
func TestRejectedStop(t *testing.T) {
	t.Parallel()
	w, p := withPuppet(t, true)
	technician := w.connect("technician")
	for _, test := range []struct {
		answer string
		code   protocol.Code
	}{{"refused", protocol.Conflict}, {"", protocol.GatewayTimeout}} {
		var wg sync.WaitGroup
		wg.Go(func() { technician.order(test.code, device.Suspend, "", "30 min") })
		if s := p.asks(); s != "delivery" {
			t.Error(s)
		}
		if test.answer != "" {
			p.say(test.answer)
		}
		wg.Wait()
	}
	technician.order(protocol.Forbidden, device.Suspend, "", "30 min")
}
