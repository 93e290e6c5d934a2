// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// A walk is a handshake that is led through any calls with any messages, beside a
// model that says where each call leads.
type walk struct {
	run
	i4, r4 bool   // message_4 is due
	is, rs state  // where the model is
	heard  []byte // the message_1 that the Responder took
}

// call makes one call and compares. The model's state goes to next when it was from,
// and the message is right; to failed when the message is wrong; nowhere else.
func (w *walk) call(t *rapid.T, name string, p *party, model *state, from, next state, right bool, f func() error) {
	before := *model
	err := f()
	switch {
	case before != from:
		if !errors.Is(err, ErrState) {
			t.Fatalf("%s in state %d: %v; want ErrState", name, before, err)
		}
	case right:
		if err != nil {
			t.Fatalf("%s in state %d: %v", name, before, err)
		}
		*model = next
	default:
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%s in state %d with a wrong message: %v", name, before, err)
		}
		*model = failed
	}
	if p.state != *model {
		t.Fatalf("%s: from state %d to %d; want %d", name, before, p.state, *model)
	}
}

// holds checks what is to hold whatever was called.
func (w *walk) holds(t *rapid.T) {
	si, errI := w.i.Session()
	sr, errR := w.r.Session()
	if (errI == nil) != (w.is == completed) || (errR == nil) != (w.rs == completed || w.rs == readM3) {
		t.Fatalf("sessions: initiator in %d: %v; responder in %d: %v", w.is, errI, w.rs, errR)
	}
	if errI == nil && errR == nil && w.i4 == w.r4 && !bytes.Equal(exported(t, si), exported(t, sr)) {
		t.Fatal("both have sessions, of different keys")
	}
	if errI == nil && si.Confirmed() != w.i4 {
		t.Fatalf("initiator's session: confirmed %t", si.Confirmed())
	}
	for _, p := range []*party{&w.i.party, &w.r.party} {
		if p.state != completed && p.state != failed {
			continue
		}
		if p.prk != [3][maxHash]byte{} || p.key != [32]byte{} || p.mac != [maxHash]byte{} || p.eph != nil {
			t.Fatalf("keys are left in state %d", p.state)
		}
		if p.state == failed && p.session != nil {
			t.Fatal("a session is left of what failed")
		}
	}
}

func exported(t *rapid.T, s *Session) []byte {
	b, err := s.Exporter(0, nil, 16)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnyMessageInAnyState(t *testing.T) {
	// Another handshake of the same two, whose messages are right in form.
	type key struct {
		m      Method
		i4, r4 bool
	}
	others := map[key]*run{}
	configs := map[key][2]*Config{}
	for m := SignSign; m <= DHDH; m++ {
		for bits := range 4 {
			k := key{m, bits&1 != 0, bits&2 != 0}
			ci, cr := pair(t, m, 2, true)
			h := newRun(t, ci, cr)
			h.complete(t)
			others[k] = h
			ci, cr = pair(t, m, 2, false)
			ci.Random, cr.Random = nil, nil
			ci.Message4, cr.Message4 = k.i4, k.r4
			configs[k] = [2]*Config{ci, cr}
		}
	}

	rapid.Check(t, func(t *rapid.T) {
		k := key{Method(rapid.IntRange(0, 3).Draw(t, "method")), rapid.Bool().Draw(t, "I has message_4"), rapid.Bool().Draw(t, "R has message_4")}
		other, c := others[k], configs[k]
		i, err := NewInitiator(c[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewResponder(c[1])
		if err != nil {
			t.Fatal(err)
		}
		w := &walk{run: run{i: i, r: r}, i4: k.i4, r4: k.r4}

		message := func() []byte {
			n := rapid.IntRange(1, 4).Draw(t, "n")
			switch rapid.IntRange(0, 9).Draw(t, "message") {
			case 0:
				return rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "bytes")
			case 1:
				return rapid.SampledFrom([][]byte{{1, 0x60}, {2, 2}, {3, 0xf5}, {0, 0x60}}).Draw(t, "error")
			case 2:
				return other.m[n]
			case 3:
				b := bytes.Clone(w.m[n])
				if len(b) > 0 {
					b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
				return b
			}
			return w.m[n]
		}
		// The next message rather than any, most of the time: the end is to be reached.
		due := func(n int) []byte {
			if w.m[n] != nil && rapid.IntRange(0, 5).Draw(t, "due") > 0 {
				return w.m[n]
			}
			return message()
		}
		compose := func(n int) func() error {
			return func() error {
				b := w.m[n]
				err := w.run.make(n)
				if errors.Is(err, ErrState) {
					w.m[n] = b
				}
				return err
			}
		}
		afterM3 := func(message4 bool, due state) state {
			if message4 {
				return due
			}
			return completed
		}
		for range rapid.IntRange(1, 24).Draw(t, "calls") {
			switch rapid.SampledFrom([]int{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9}).Draw(t, "call") {
			case 0:
				w.call(t, "making message_1", &i.party, &w.is, start, waitM2, true, compose(1))
			case 1:
				b := due(1)
				right := len(b) > 0 && (bytes.Equal(b, w.m[1]) || bytes.Equal(b, other.m[1]))
				if len(b) == len(other.m[1]) && !right && w.rs == start {
					continue // message_1 with a bit changed may be a good one
				}
				if w.rs == start {
					w.heard = b
				}
				w.call(t, "taking message_1", &r.party, &w.rs, start, readM1, right, func() error { return r.Message1(b) })
			case 2:
				w.call(t, "making message_2", &r.party, &w.rs, readM1, waitM3, true, compose(2))
			case 3:
				b := due(2)
				right := len(b) > 0 && bytes.Equal(b, w.m[2]) && bytes.Equal(w.heard, w.m[1])
				w.call(t, "taking message_2", &i.party, &w.is, waitM2, readM2, right, func() error { return i.Message2(b) })
			case 4:
				w.call(t, "making message_3", &i.party, &w.is, readM2, afterM3(k.i4, waitM4), true, compose(3))
			case 5:
				b := due(3)
				right := len(b) > 0 && bytes.Equal(b, w.m[3])
				w.call(t, "taking message_3", &r.party, &w.rs, waitM3, afterM3(k.r4, readM3), right, func() error { return r.Message3(b) })
			case 6:
				w.call(t, "making message_4", &r.party, &w.rs, readM3, completed, true, compose(4))
			case 7:
				b := due(4)
				right := len(b) > 0 && bytes.Equal(b, w.m[4])
				w.call(t, "taking message_4", &i.party, &w.is, waitM4, completed, right, func() error { return i.Message4(b) })
			case 8:
				w.call(t, "aborting", &i.party, &w.is, orNone(w.is), failed, false, func() error { return i.Abort("x") })
			case 9:
				w.call(t, "aborting", &r.party, &w.rs, orNone(w.rs), failed, false, func() error { return r.Abort("x") })
			}
			w.holds(t)
		}
	})
}

// orNone is the state itself when it may be aborted, and one that none has otherwise.
func orNone(s state) state {
	if s == completed || s == failed {
		return failed + 1
	}
	return s
}
