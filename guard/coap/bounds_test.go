// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/oscore"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/radio"
)

// TestCompact: a journal that is long is written anew, and says the same: the window that
// is open, what was given, and that a stop is not the first.
func TestCompact(t *testing.T) {
	w := newWorld(t, classic)
	rescuer, err := w.through(w.address, w.holders["ambulance"])
	if err != nil {
		t.Fatal(err)
	}
	token := w.token("ambulance")
	rescuer.post(token, protocol.Created)
	rescuer.order(protocol.Changed, device.Suspend, "", "30 min")
	w.front.mu.Lock()
	boot := w.front.boot
	for !w.front.journal.Full() {
		if err := w.front.journal.Write(slices.Repeat([][]byte{bigRecord(w.front)}, 32)...); err != nil {
			t.Fatal(err)
		}
	}
	w.front.mu.Unlock()
	w.front.sweep()
	w.front.mu.Lock()
	if w.front.journal.Full() || w.front.journal.Broken() {
		t.Error("it was not written anew")
	}
	w.front.mu.Unlock()
	w.stop()
	w.start()
	if w.front.boot != boot+1 {
		t.Errorf("start %d behind %d", w.front.boot, boot)
	}
	w.emergencies(1)
	second, err := w.through(w.address, w.holders["second"])
	if err != nil {
		t.Fatal(err)
	}
	second.post(token, protocol.Unauthorized)
	if !w.front.again(&device.Command{Verb: device.Suspend}) || w.front.again(&device.Command{Verb: device.StimulationOff}) {
		t.Error("it is not known what was stopped")
	}
	w.later(stopsAgain)
	if w.front.again(&device.Command{Verb: device.Suspend}) {
		t.Error("four hours later it is a rescue again")
	}
}

// bigRecord is a record of a meter that has much in it.
func bigRecord(f *Front) []byte {
	m := new(cwt.Meter)
	one, _ := device.ParseQuantity("1 [iU]")
	for range 100 {
		_ = m.Add(&device.Command{Verb: device.DeliverBolus, Value: one}, f.instant())
	}
	return appendRecord(recordMeter, m.Append(nil))
}

// A sink is a connection that takes everything.
type sink struct{ n int }

func (s *sink) Read([]byte) (int, error)    { return 0, io.EOF }
func (s *sink) Write(b []byte) (int, error) { s.n++; return len(b), nil }
func (s *sink) Close() error                { return nil }

// TestBounds holds what is kept to what is said, at the edge.
func TestBounds(t *testing.T) {
	k := &link{carrier: udp, conn: new(sink)}
	for i := range maxWaiting + 1 {
		_, err := k.send(nil, func(*heard) bool { return true }, false, func() {})
		if got, want := errors.Is(err, errBusy), i == maxWaiting; got != want {
			t.Errorf("%d questions: %v", i+1, err)
		}
	}
	for i := range 2 * maxRescues {
		if _, err := k.send(nil, func(*heard) bool { return true }, true, func() {}); err != nil {
			t.Fatalf("%d rescues: %v", i+1, err)
		}
	}
	if n := len(k.waiting); n != maxRescues {
		t.Errorf("%d questions are kept", n)
	}
	k.waiting = k.waiting[:maxWaiting]
	k.waiting[0].until = time.Now().Add(-time.Second) // nobody answers that any more
	if _, err := k.send(nil, func(*heard) bool { return true }, false, func() {}); err != nil {
		t.Error(err)
	}
	w := newWorld(t, classic)
	f := w.front
	for i := range maxAlarms + 3 {
		f.keep(nil, &heard{kind: radio.Alarm, alarm: fmt.Sprint(i)}, true, time.Now())
	}
	if n := len(f.said.alarms); n != maxAlarms || f.said.alarms[n-1] != fmt.Sprint(maxAlarms+2) {
		t.Errorf("%q", f.said.alarms)
	}
	for range 2 * maxFrames {
		f.keep(nil, &heard{}, true, time.Now())
		if n := len(f.said.frames); n > maxFrames {
			t.Fatalf("%d frames", n)
		}
	}
	if f.said.next != maxAlarms+3+2*maxFrames {
		t.Errorf("the next is %d", f.said.next)
	}
	for range 2 * maxEntries {
		f.note(entry{event: "token"})
	}
	if n := len(f.log); n > maxEntries || f.number != 2*maxEntries {
		t.Errorf("%d entries, the next is %d", n, f.number)
	}
	for range 1024 {
		f.note(entry{event: "request", verdict: "refused", why: "a flood"})
	}
	if f.number != 2*maxEntries+11 { // 1, 2, 4 ... 1024
		t.Errorf("the next is %d", f.number)
	}
	for i := range maxPeers + 1 {
		if got := f.wakes(fmt.Sprint("key-", i), device.Clinician); got != (i < maxPeers) {
			t.Fatalf("peer %d: %v", i, got)
		}
	}
	w.later(time.Minute + time.Second)
	if !f.wakes("another", device.Clinician) {
		t.Error("no room for another peer when those before are quiet")
	}
	// That of all together is for those who are no clinicians.
	for i := range 60 {
		f.wakes(fmt.Sprint("patient-", i), device.Patient)
	}
	if f.wakes("one more", device.Patient) || !f.wakes("nurse", device.Clinician) || !f.wakes("ambulance", device.Emergency) {
		t.Error("the budget of all together is not as it is said")
	}
}

// TestSweepBeside makes sessions while those are forgotten that the channel no longer has. A new one stays.
func TestSweepBeside(t *testing.T) {
	w := newWorld(t, classic)
	f := w.front
	for n := range byte(100) {
		f.mu.Lock()
		done := make(chan struct{})
		go func() { defer close(done); f.sweep() }()
		for range 100 {
			runtime.Gosched() // it comes as far as it can
		}
		s, err := f.endpoint.Add(oscore.Params{MasterSecret: make([]byte, 16), SenderID: []byte{1}, RecipientID: []byte{2, n}})
		if err != nil {
			t.Fatal(err)
		}
		f.sessions[s] = new(session)
		f.mu.Unlock()
		<-done
		f.mu.Lock()
		_, there := f.sessions[s]
		f.mu.Unlock()
		if !there {
			t.Fatalf("session %d was forgotten, and the channel has it", n)
		}
	}
}
