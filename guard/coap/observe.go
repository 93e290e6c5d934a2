// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"crypto/rand"
	"time"

	protocol "github.com/myelin-health/myelin/proto/coap"
)

const (
	registerEvery   = 2 * time.Second  // while it is not answered; and twice as long after each, up to
	registerSlowest = 5 * time.Minute  // which is how late a device that was off is found
	registerGrace   = 15 * time.Second // after Max-Age, until the device is asked again (RFC 7641 section 3.3.1)
	cannotObserve   = time.Hour        // until a device that answered, and does not observe, is asked again
	reorderedWithin = 128 * time.Second
	lapsesAfter     = 2 * registerGrace // Max-Age: what the device said is no state any more
)

// An observation is that of /telemetry of a device that speaks CoAP (RFC 7641). It is begun
// again when nothing came for as long as the device said that its state is good: a device that was
// off does not know it any more. Nobody is told that he observes what does not tell by itself.
//
// It is guarded by the front's quick mutex, but for the token.
type observation struct {
	token  string
	due    time.Time     // to be begun again
	wait   time.Duration // after this one
	number uint32
	at     time.Time // of number
	until  time.Time // the state is good; zero: the device tells nothing by itself
}

// notified is of a message what RFC 7641 has in it.
type notified struct {
	on     bool // it is a notification
	number uint32
	age    time.Duration
}

func newObservation() observation {
	token := make([]byte, protocol.MaxToken)
	rand.Read(token) // nobody who does not hear the device knows it
	return observation{token: string(token), wait: registerEvery}
}

// stateOf reads it.
func stateOf(m *protocol.Message) notified {
	n := notified{age: defaultMaxAge}
	if o, ok := m.Options.Get(protocol.Observe); ok && m.Code.Class() == 2 {
		v, fits := o.Uint()
		n.on, n.number = fits && v < 1<<24, v
	}
	if o, ok := m.Options.Get(protocol.MaxAge); ok {
		if v, fits := o.Uint(); fits {
			n.age = min(time.Duration(v)*time.Second, time.Hour)
		}
	}
	return n
}

// take takes what the device said under the token, and reports whether it is a newer state
// than the one before (RFC 7641 section 3.4).
func (o *observation) take(n *notified, now time.Time) bool {
	o.wait = registerEvery
	if !n.on {
		o.due, o.until = now.Add(cannotObserve), time.Time{}
		return false
	}
	o.due = now.Add(n.age + registerGrace)
	ahead := (n.number - o.number) & (1<<24 - 1)
	if !o.at.IsZero() && (ahead == 0 || ahead >= 1<<23) && !now.After(o.at.Add(reorderedWithin)) {
		return false
	}
	o.number, o.at, o.until = n.number, now, now.Add(n.age+lapsesAfter)
	return true
}

// register begins the observation, or begins it again.
func (f *Front) register() {
	s, ok := (*f.speaks.Load()).(*speakCoAP)
	if !ok {
		return
	}
	now := f.env.Now()
	f.quick.Lock()
	f.observation.due = now.Add(f.observation.wait)
	f.observation.wait = min(2*f.observation.wait, registerSlowest)
	f.quick.Unlock()
	_, _ = f.link.send(s.observe(), nil, false, func() {}) // what is lost is sent again
}

// observe begins the observation again when it is time, and tells those who observe when
// the device tells nothing any more.
func (f *Front) observe() {
	now := f.env.Now()
	f.quick.Lock()
	o := &f.observation
	due := now.After(o.due)
	lapsed := !o.until.IsZero() && now.After(o.until)
	if lapsed {
		o.until = time.Time{}
	}
	f.quick.Unlock()
	if due {
		f.register()
	}
	if lapsed {
		f.endpoint.Notify("/telemetry")
	}
}

// state is what the device said last of itself, while that is good.
func (f *Front) state() []byte {
	f.quick.Lock()
	defer f.quick.Unlock()
	if f.observation.until.IsZero() || f.env.Now().After(f.observation.until) {
		return nil
	}
	return f.said.body
}

// lapse ends the observations of those who may not read any more: their token is over,
// given back, or revoked. The caller holds the mutex.
func (f *Front) lapse() {
	over := false
	for _, s := range f.sessions {
		may := s.may.Load()
		reads := may != nil && may.until > f.uptime()
		over = over || s.reads && !reads
		s.reads = reads
	}
	if over {
		f.endpoint.Notify("/telemetry")
		f.endpoint.Notify("/raw")
	}
}
