// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/suit"
)

// Whatever a server says, or somebody between it and the device, the device goes on
// with what it runs, and says so where the offer itself was the hospital's.
func TestHostile(t *testing.T) {
	stranger := newParty(t)
	good := func(w *world) recipe {
		return recipe{version: "2.2.0", sequence: 8, image: w.release1.files["firmware.bin"], maker: w.maker, class: class}
	}
	offer := func(f func(w *world, o *patch.Offer)) func(*world) {
		return func(w *world) {
			w.answer = func(_ *patch.State, _ *patch.Answer, o *patch.Offer) { f(w, o) }
		}
	}
	answer := func(f func(w *world, s *patch.State, a *patch.Answer)) func(*world) {
		return func(w *world) {
			w.answer = func(s *patch.State, a *patch.Answer, o *patch.Offer) { f(w, s, a) }
		}
	}
	for _, c := range []struct {
		name    string
		spoil   func(*world)
		err     error         // of a step
		outcome patch.Outcome // that the server is told; none is for what nobody who counts has offered
	}{
		{"an image altered on the way", func(w *world) { w.release1.files["firmware.bin"] = flip(w.release1.files["firmware.bin"], 5000) }, suit.ErrCondition, patch.Refused},
		{"an image altered at its last byte", func(w *world) {
			b := w.release1.files["firmware.bin"]
			w.release1.files["firmware.bin"] = flip(b, len(b)-1)
		}, suit.ErrCondition, patch.Refused},
		{"an envelope altered on the way", func(w *world) { w.release1.envelope = flip(w.release1.envelope, 200) }, ErrBytes, patch.Refused},
		{"an envelope of somebody else", func(w *world) {
			r := good(w)
			r.maker = stranger
			w.release1 = w.release(r)
		}, suit.ErrVerification, patch.Refused},
		{"an envelope for another model", func(w *world) {
			r := good(w)
			r.class = [16]byte{9}
			w.release1 = w.release(r)
		}, suit.ErrCondition, patch.Refused},
		{"an envelope for nobody in particular", func(w *world) {
			r := good(w)
			r.change = func(m *suit.Manifest) { m.Shared = m.Shared[:1] }
			w.release1 = w.release(r)
		}, suit.ErrCondition, patch.Refused},
		{"an older release", func(w *world) {
			r := good(w)
			r.version, r.sequence = "2.1.0", 6
			w.release1 = w.release(r)
		}, nil, patch.Refused},
		{"the release that runs, once more", func(w *world) {
			r := good(w)
			r.sequence = 7
			w.release1 = w.release(r)
		}, nil, patch.Refused},
		{"an older release under a newer number", func(w *world) {
			r := good(w)
			r.sequence = 6
			w.release1 = w.release(r)
			w.release1.Sequence = 8
		}, errManifest, patch.Refused},
		{"another version than was offered", func(w *world) { w.release1.Version = "2.3.0" }, errManifest, patch.Refused},
		{"a release for another hardware", func(w *world) { w.release1.Demands.Hardware = []string{"D"} }, nil, patch.Refused},
		{"a release over another version", func(w *world) { w.release1.Demands.From = []string{"2.1.3"} }, nil, patch.Refused},
		{"a manifest that writes another component", func(w *world) {
			r := good(w)
			r.change = func(m *suit.Manifest) { m.Components = []suit.ComponentID{{[]byte("bootloader")}} }
			w.release1 = w.release(r)
		}, nil, patch.Refused},
		{"a manifest that writes nothing", func(w *world) {
			r := good(w)
			r.change = func(m *suit.Manifest) { m.Sections = nil }
			w.release1 = w.release(r)
		}, errNothing, patch.Refused},
		{"an image without a size", func(w *world) {
			r := good(w)
			r.change = func(m *suit.Manifest) {
				m.Shared[0] = suit.Override(suit.VendorIdentifier(vendor), suit.ClassIdentifier(class), suit.ImageDigest(suit.Sum(r.image)))
			}
			w.release1 = w.release(r)
		}, errors.ErrUnsupported, patch.Refused},
		{"an image larger than the slot", func(w *world) {
			r := good(w)
			r.image = make([]byte, 16<<10+1)
			w.release1 = w.release(r)
		}, suit.ErrLimit, patch.Refused},
		{"a payload outside of its folder", func(w *world) {
			r := good(w)
			r.change = func(m *suit.Manifest) {
				m.Sections[0].Commands[0] = suit.Override(suit.URI("../../secret"))
			}
			w.release1 = w.release(r)
		}, errPath, patch.Refused},
		{"a payload of another server", func(w *world) {
			r := good(w)
			r.change = func(m *suit.Manifest) {
				m.Sections[0].Commands[0] = suit.Override(suit.URI("https://elsewhere.example/.."))
			}
			w.release1 = w.release(r)
		}, errPath, patch.Refused},
		{"an envelope of a gigabyte", offer(func(_ *world, o *patch.Offer) { o.Size = 1 << 30 }), nil, patch.Refused},
		{"an endless file", func(w *world) {
			w.read = func(path string, p []byte, off int64) (int, error) {
				if strings.HasSuffix(path, ".suit") {
					return w.file(path, p, off)
				}
				w.fetched += int64(len(p))
				return len(p), nil
			}
		}, suit.ErrCondition, patch.Refused},
		{"a file that gives nothing, for ever", func(w *world) {
			w.read = func(path string, p []byte, off int64) (int, error) {
				if strings.HasSuffix(path, ".suit") {
					return w.file(path, p, off)
				}
				return 0, nil
			}
		}, io.ErrUnexpectedEOF, patch.NoOutcome},
		{"a connection that is always cut", func(w *world) {
			w.read = func(string, []byte, int64) (int, error) { return 0, io.ErrClosedPipe }
		}, io.ErrClosedPipe, patch.NoOutcome},
		{"a file that is not there", func(w *world) { delete(w.release1.files, "firmware.bin") }, nil, patch.NoOutcome},
		{"an offer of nobody", func(w *world) { w.nurse = stranger }, patch.ErrSigner, patch.NoOutcome},
		{"an offer by the maker", func(w *world) { w.nurse = w.maker }, patch.ErrSigner, patch.NoOutcome},
		{"an offer by the key of answers", func(w *world) { w.nurse = w.clerk }, patch.ErrSigner, patch.NoOutcome},
		{"an offer for another device", offer(func(_ *world, o *patch.Offer) { o.Device = "dev-2" }), ErrDevice, patch.NoOutcome},
		{"an offer that is over", offer(func(w *world, o *patch.Offer) { o.Expires = w.date.Add(w.clock) }), ErrExpired, patch.NoOutcome},
		{"an offer that is over by the time it is installed", offer(func(w *world, o *patch.Offer) {
			if o.Install {
				o.Expires = w.date.Add(w.clock - time.Second)
			}
		}), ErrExpired, patch.NoOutcome},
		{"an offer of before a halt", func(w *world) { w.void = 1 }, ErrReplay, patch.NoOutcome},
		{"an answer for another device", answer(func(_ *world, _ *patch.State, a *patch.Answer) { a.Device = "dev-2" }), ErrAnswer, patch.NoOutcome},
		{"an answer to another state", answer(func(_ *world, _ *patch.State, a *patch.Answer) { a.Nonce = bytes.Repeat([]byte{1}, nonceBytes) }), ErrAnswer, patch.NoOutcome},
		{"an answer by nobody", func(w *world) { w.clerk = stranger }, patch.ErrSigner, patch.NoOutcome},
		{"an answer that is not signed", func(w *world) {
			w.poll = func([]byte) ([]byte, error) {
				return patch.Append(nil, &patch.Answer{Device: "dev-1", Time: w.date, Next: time.Minute}), nil
			}
		}, nil, patch.NoOutcome},
		{"an answer that is unsigned, of who only carries it, and says that all is void", func(w *world) {
			w.answer = func(s *patch.State, a *patch.Answer, o *patch.Offer) {
				if o.Number = 0; s.Nonce == nil { // or else it would be the server's word
					a.Void = 1 << 60
				}
				if w.clock > time.Hour {
					if w.agent.boot.void != 0 {
						t.Error("it is believed")
					}
				}
			}
		}, nil, patch.NoOutcome},
		{"an offer that is over while the device looks at it", func(w *world) {
			w.onQuiesce = func() { w.clock += time.Hour }
		}, ErrExpired, patch.NoOutcome},
		{"an answer of a megabyte", func(w *world) {
			w.poll = func([]byte) ([]byte, error) { return make([]byte, 1<<20), nil }
		}, patch.ErrMessage, patch.NoOutcome},
		{"a slot that is changed after it was verified", func(w *world) {
			w.answer = func(s *patch.State, _ *patch.Answer, _ *patch.Offer) {
				if s.Staged != (patch.Digest{}) {
					w.memory[2].Bytes[7000] ^= 1
				}
			}
		}, errDigest, patch.Refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.spoil(w)
			done := func() bool { return w.clock > 3*time.Hour }
			if c.outcome != patch.NoOutcome {
				done = func() bool { return len(w.results) > 0 }
			}
			errs, err := w.run(done)
			if err != nil {
				t.Fatal(err)
			}
			if c.err != nil && !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, c.err) }) {
				t.Errorf("want %v, have %v", c.err, errs)
			}
			switch {
			case c.outcome == patch.NoOutcome && len(w.results) > 0:
				t.Errorf("it says %+v of what nobody offered", w.results[0])
			case c.outcome != patch.NoOutcome && (w.results[0].Outcome != c.outcome || w.results[0].Version != "2.1.4"):
				t.Errorf("it says %+v", w.results[0])
			}
			if s := w.agent.State(); s.Version != "2.1.4" || s.Sequence != 7 || s.Slot != "A" {
				t.Errorf("it is %+v", s)
			}
			if w.fetched > 4<<20 {
				t.Errorf("%d bytes were fetched", w.fetched)
			}
			if err := w.boot(); err != nil || !bytes.Equal(w.image(), w.old) {
				t.Errorf("it starts something else: %v", err)
			}
		})
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[min(i, len(b)-1)] ^= 1
	return b
}

// What was changed between the switch and the start is not started.
func TestSwappedBeforeStart(t *testing.T) {
	w := newWorld(t)
	w.memory[0].Cut = func(n int) (int, bool) {
		if w.agent != nil && w.agent.boot.phase == staged {
			defer func() { w.memory[2].Bytes[3] ^= 1 }()
			w.memory[0].Cut = nil
		}
		return n, false
	}
	if _, err := w.run(func() bool { return len(w.results) > 0 }); err != nil {
		t.Fatal(err)
	}
	if r := w.results[0]; r.Outcome != patch.FellBack || !strings.Contains(r.Reason, "changed") || r.Version != "2.1.4" || !r.Resumed {
		t.Errorf("it ends with %+v", r)
	}
	if s := w.agent.State(); s.Sequence != 7 || !bytes.Equal(w.image(), w.old) {
		t.Errorf("it is %+v", s)
	}
}

// An offer that ended is not taken a second time, nor one before it, though both are
// signed and not over.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	w.release1 = w.release(recipe{version: "2.2.0", sequence: 8, image: img("2.2.0", "self-test", 11000), maker: w.maker, class: class})
	w.answer = func(_ *patch.State, _ *patch.Answer, o *patch.Offer) { o.Number = 5 }
	if _, err := w.run(w.heardOf(1)); err != nil {
		t.Fatal(err)
	}
	if w.results[0].Outcome != patch.FellBack {
		t.Fatalf("it ends with %+v", w.results[0])
	}
	for _, n := range []uint64{5, 4} {
		w.answer = func(_ *patch.State, _ *patch.Answer, o *patch.Offer) { o.Number = n }
		end := w.clock + time.Hour
		errs, err := w.run(func() bool { return w.clock > end })
		if err != nil || len(w.results) != 1 || !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, ErrReplay) }) {
			t.Errorf("offer %d again: %v, %v, %d results", n, err, errs, len(w.results))
		}
	}
}

// Time is what was signed, for this device's question, and goes only on.
func TestTime(t *testing.T) {
	w := newWorld(t)
	w.answer = func(_ *patch.State, _ *patch.Answer, o *patch.Offer) { o.Number = 0 }
	end := time.Hour
	if _, err := w.run(func() bool { return w.clock > end }); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, s := range w.states {
		if s.Nonce != nil {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("the time is asked for %d times in an hour", asked)
	}
	if now, ok := w.agent.now(); !ok || now.Before(w.date.Add(w.clock)) {
		t.Errorf("it is %v, and not %v", now, w.date.Add(w.clock))
	}
	w.answer, w.never = nil, true // something is staged, and so the time is kept
	end = w.clock + time.Hour
	if _, err := w.run(func() bool { return w.clock > end }); err != nil {
		t.Fatal(err)
	}
	// After a restart it is not known; what it was before is the least that it is.
	if err := w.boot(); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.agent.now(); ok {
		t.Error("it knows the time from before the restart")
	}
	w.date = w.date.Add(-99 * time.Hour)
	end = w.clock + time.Hour
	errs, err := w.run(func() bool { return w.clock > end })
	if err != nil || !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, ErrTime) }) {
		t.Errorf("%v, %v", err, errs)
	}
	if _, ok := w.agent.now(); ok {
		t.Error("it believes a time of before")
	}
}

// However long a server lets it wait, it polls once a day, and not more than once a second.
func TestNext(t *testing.T) {
	for next, want := range map[time.Duration]time.Duration{10000 * time.Hour: longestPoll, time.Millisecond: leastPoll, 0: usualPoll, time.Hour: time.Hour} {
		w := newWorld(t)
		w.answer = func(_ *patch.State, a *patch.Answer, o *patch.Offer) { a.Next, o.Number = next, 0 }
		if err := w.boot(); err != nil {
			t.Fatal(err)
		}
		if wait, err := w.agent.Step(t.Context()); err != nil || wait != want {
			t.Errorf("after %v it waits for %v: %v", next, wait, err)
		}
	}
}

// Counts rise over restarts, and cost a write for many.
func TestCount(t *testing.T) {
	w := newWorld(t)
	p := &power{left: -1}
	w.cutBy(p)
	w.never = true
	for range 5 {
		end := w.clock + time.Hour
		if _, err := w.run(func() bool { return w.clock > end }); err != nil { // which looks at the counts
			t.Fatal(err)
		}
		if w.agent = nil; p.ops > 60 {
			t.Fatalf("%d operations on flash", p.ops)
		}
	}
}
