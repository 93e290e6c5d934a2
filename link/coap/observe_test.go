// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-health/myelin/proto/coap"
)

// A resource counts its states, and may be observed or not.
type resource struct {
	mu    sync.Mutex
	n     int
	plain bool
}

func (r *resource) handle(*Session, *coap.Message) coap.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := Response(coap.Content, 0, fmt.Append(nil, r.n))
	if r.plain {
		return m
	}
	return WithOption(m, coap.Observe, nil)
}

func (r *resource) change(e *Endpoint, plain bool) {
	r.mu.Lock()
	r.n++
	r.plain = plain
	r.mu.Unlock()
	e.Notify("/telemetry")
}

func mustNext(t *testing.T, o *Observation, want string) coap.Message {
	t.Helper()
	m, err := o.Next(within(t, time.Minute))
	if err != nil || string(m.Payload) != want {
		t.Fatalf("%q %v, not %q", m.Payload, err, want)
	}
	return m
}

// TestHostileNotifications has somebody on the way repeat, relabel and change what he
// heard: nothing of it is taken, and no observation ends by it (RFC 8613 sections 7.4.1 and 8.4.2).
func TestHostileNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r resource
		ea, eb, ca, _, _, lb, s := shaken(t, func(_, b *Config) { b.Handler = r.handle })
		one, err := ca.Observe(within(t, time.Minute), s, "/telemetry")
		if err != nil {
			t.Fatal(err)
		}
		two, err := ca.Observe(within(t, time.Minute), s, "/telemetry")
		if err != nil {
			t.Fatal(err)
		}
		mustNext(t, one, "0")
		mustNext(t, two, "0")
		var recorded [][]byte // of one, the oldest first
		last := uint32(0)
		for i := 1; i <= 3; i++ {
			lb.changed(nil)
			r.change(eb, false)
			n, _ := mustNext(t, one, fmt.Sprint(i)).Options.Get(coap.Observe)
			mustNext(t, two, fmt.Sprint(i))
			if v, _ := n.Uint(); v <= last {
				t.Errorf("notification %d is number %d, behind %d", i, v, last)
			} else {
				last = v
			}
			for _, b := range lb.all() {
				if m := parsed(t, b); bytes.Equal(m.Token, one.k.request.Token) && m.Code.Class() == 2 {
					recorded = append(recorded, b)
				}
			}
		}
		if len(recorded) != 3 {
			t.Fatalf("%d notifications", len(recorded))
		}
		id := uint16(0x7000)
		hear := func(what string, m coap.Message) {
			t.Helper()
			id++
			m.ID = id // else it is one message that comes twice
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			ca.process(b)
			for i, o := range []*Observation{one, two} {
				var hint *Hint
				if m, err := o.Next(within(t, 10*time.Second)); !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &hint) {
					t.Errorf("%s: observation %d: %v %q %v", what, i+1, m.Code, m.Payload, err)
				}
			}
		}
		for i, b := range recorded {
			hear(fmt.Sprintf("%d, received before", i), *parsed(t, b))
			m := *parsed(t, b)
			m.Token = two.k.request.Token
			hear(fmt.Sprintf("%d, of another observation", i), m)
			m = *parsed(t, b)
			m.Payload = bytes.Clone(m.Payload)
			m.Payload[0] ^= 1
			hear(fmt.Sprintf("%d, one bit changed", i), m)
			m = *parsed(t, b)
			o, _ := m.Options.Get(coap.OSCOREOption)
			iv := bytes.Clone(o.Value)
			iv[1] += 9
			hear(fmt.Sprintf("%d, a Partial IV to come", i), WithOption(m, coap.OSCOREOption, iv))
		}
		lie := WithOption(Response(coap.Content, 0, []byte("4")), coap.Observe, []byte{0xff})
		lie.Type, lie.Token = coap.NonConfirmable, one.k.request.Token
		hear("in clear", lie)
		over := coap.Message{Type: coap.NonConfirmable, Code: coap.NotFound, Token: one.k.request.Token}
		hear("in clear, that there is no such thing", over)
		r.change(eb, false)
		mustNext(t, one, "4")
		mustNext(t, two, "4")
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestLastNotification: an answer that cannot be observed any more is told, and is the last.
func TestLastNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r resource
		ea, eb, ca, _, _, _, s := shaken(t, func(_, b *Config) { b.Handler = r.handle })
		o, err := ca.Observe(within(t, time.Minute), s, "/telemetry")
		if err != nil {
			t.Fatal(err)
		}
		mustNext(t, o, "0")
		r.change(eb, true)
		if _, on := mustNext(t, o, "1").Options.Get(coap.Observe); on {
			t.Error("told as if more came")
		}
		r.change(eb, false)
		if m, err := o.Next(within(t, time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q %v", m.Payload, err)
		}
		eb.mu.Lock()
		if len(eb.observers) != 0 {
			t.Error("it goes on")
		}
		eb.mu.Unlock()
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestRegistrations begins more observations than there is place for, with all the
// tokens there are: what is kept is bounded, and ends with the session.
func TestRegistrations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r resource
		const most = 3
		ea, eb, ca, _, _, _, s := shaken(t, func(_, b *Config) { b.Handler, b.Observers = r.handle, most })
		var all []*Observation
		for range most + 50 {
			o, err := ca.Observe(within(t, time.Minute), s, "/telemetry")
			if err != nil {
				t.Fatal(err)
			}
			mustNext(t, o, "0")
			all = append(all, o)
		}
		r.change(eb, false)
		for i, o := range all[:most+1] {
			m, err := o.Next(within(t, time.Minute))
			if (err == nil) != (i < most) {
				t.Errorf("observation %d: %q %v", i+1, m.Payload, err)
			}
		}
		if err := eb.Remove(eb.Sessions()[0]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		eb.mu.Lock()
		if len(eb.observers) != 0 {
			t.Errorf("%d outlive their session", len(eb.observers))
		}
		eb.mu.Unlock()
		_ = ea.Close()
		_ = eb.Close()
	})
}

// TestObserveRequest: the registration has the options that the caller wants.
func TestObserveRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ea, eb, ca, _, _, _, s := shaken(t, func(_, b *Config) {
			b.Handler = func(_ *Session, m *coap.Message) coap.Message {
				q, _ := m.Options.Get(coap.URIQuery)
				return WithOption(Response(coap.Content, 0, q.Value), coap.Observe, nil)
			}
		})
		m := WithOption(Request(coap.GET, "/telemetry", 0, nil), coap.URIQuery, []byte("unit=mg"))
		o, err := ca.ObserveRequest(within(t, time.Minute), s, m)
		if err != nil {
			t.Fatal(err)
		}
		mustNext(t, o, "unit=mg")
		eb.Notify("/telemetry")
		mustNext(t, o, "unit=mg")
		_ = ea.Close()
		_ = eb.Close()
	})
}
