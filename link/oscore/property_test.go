// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/proto/coap"
)

// A recorder is an AEAD that knows each nonce it sealed under.
type recorder struct {
	cipher.AEAD
	t    *rapid.T
	key  string
	used map[string]bool
}

func (r *recorder) Seal(dst, nonce, plain, ad []byte) []byte {
	n := r.key + hex.EncodeToString(nonce)
	if r.used[n] {
		r.t.Fatalf("nonce used twice: %s", n)
	}
	r.used[n] = true
	return r.AEAD.Seal(dst, nonce, plain, ad)
}

// An end is a client and server in one, since RFC 8613 lets both ask.
type end struct {
	name    string
	id      byte
	c       *Context
	echo    *Echo
	durable uint64
	lives   byte
	waiting []*asked
	watched []*Exchange // observations it serves
}

type asked struct {
	x   *Exchange
	msg []byte
}

type world struct {
	t         *rapid.T
	tb        testing.TB
	ends      [2]*end
	now       time.Duration
	used      map[string]bool
	air       []sent // all that was ever sent: it may come at any time, again too
	delivered map[string]bool
	count     int
	drawn     int
}

type sent struct {
	to  int
	msg []byte
}

func (w *world) boot(i int) {
	e := w.ends[i]
	e.lives++
	e.echo = NewEcho([32]byte{e.id, e.lives})
	e.waiting, e.watched = nil, nil
	p := Params{MasterSecret: secret, SenderID: []byte{e.id}, RecipientID: []byte{3 - e.id}, Window: 8, Sequence: e.durable}
	p.Reserve = func(limit uint64) error { e.durable = limit; return nil }
	if e.lives > 1 {
		p.Recover = func(v []byte) bool { return e.echo.Fresh(v, e.c, w.now, 3*time.Second) }
	}
	var err error
	if e.c, err = New(p); err != nil {
		w.t.Fatal(err)
	}
	e.c.seal = &recorder{e.c.seal, w.t, e.name, w.used}
}

// ask sends a message that was never sent before.
func (w *world) ask(i int, options ...coap.Option) {
	w.count++
	w.send(i, message(w.tb, coap.POST, fmt.Sprint(w.count), options...))
}

func (w *world) send(i int, msg []byte) {
	e := w.ends[i]
	x := new(Exchange)
	q, err := e.c.ProtectRequest(nil, msg, x)
	if err != nil {
		w.t.Fatal(err)
	}
	e.waiting = append(e.waiting, &asked{x, msg})
	w.air = append(w.air, sent{1 - i, q})
}

// once marks what a peer was given, which must be new.
func (w *world) once(what string, i int, air int) {
	key := fmt.Sprint(what, i, " of message ", air)
	if w.delivered[key] {
		w.t.Fatalf("delivered twice: %s", key)
	}
	w.delivered[key] = true
	w.drawn++
}

// deliver brings a message of the air to where it goes.
func (w *world) deliver(at int) {
	s := w.air[at]
	e := w.ends[s.to]
	var m coap.Message
	if err := m.Parse(s.msg); err != nil {
		w.t.Fatal(err)
	}
	if m.Code.Request() {
		y := new(Exchange)
		plain, err := e.c.UnprotectRequest(nil, s.msg, y)
		var answer []byte
		switch {
		case errors.Is(err, ErrUnproven):
			answer, err = e.echo.Require(nil, s.msg, e.c, y, w.now, 0)
			if !errors.Is(err, ErrUnproven) {
				w.t.Fatal(err)
			}
		case err != nil:
			return
		default:
			w.once("request to ", s.to, at)
			if y.Observe() {
				e.watched = append(e.watched, y)
				return
			}
			if answer, err = e.c.ProtectResponse(nil, message(w.tb, coap.Changed, "done"), y); err != nil {
				w.t.Fatal(err)
			}
			if m.Parse(plain) != nil {
				w.t.Fatal("no message")
			}
		}
		w.air = append(w.air, sent{1 - s.to, answer})
		return
	}
	for _, a := range e.waiting {
		got, err := e.c.UnprotectResponse(nil, s.msg, a.x)
		if err != nil {
			continue
		}
		w.once("answer to ", s.to, at)
		if v := EchoOf(got); v != nil {
			again, err := AppendWithEcho(nil, a.msg, v)
			if err != nil {
				w.t.Fatal(err)
			}
			w.send(s.to, again)
		}
		return
	}
}

// TestAnyOrder has two ends ask each other, and be cut off, while an attacker
// delivers what was sent in any order, never, or again and again: no nonce is used
// twice under a key, and nothing is delivered twice.
func TestAnyOrder(t *testing.T) {
	total := 0
	tb := t
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, tb: tb, used: map[string]bool{}, delivered: map[string]bool{}}
		for i := range w.ends {
			w.ends[i] = &end{name: fmt.Sprint("end ", i, " "), id: byte(i + 1)}
			w.boot(i)
		}
		for range rapid.IntRange(20, 150).Draw(t, "steps") {
			i := rapid.IntRange(0, 1).Draw(t, "end")
			switch rapid.IntRange(0, 19).Draw(t, "what") {
			case 0, 1:
				w.ask(i)
			case 2:
				w.ask(i, observe(0))
			case 3:
				w.boot(i)
			case 4:
				w.now += time.Second
			case 5:
				if n := len(w.ends[i].watched); n > 0 {
					y := w.ends[i].watched[rapid.IntRange(0, n-1).Draw(t, "observation")]
					code, options := coap.Content, []coap.Option{observe(1)}
					if rapid.IntRange(0, 4).Draw(t, "ends") == 0 {
						code, options = coap.NotFound, nil
					}
					b, err := w.ends[i].c.ProtectResponse(nil, message(w.tb, code, "n", options...), y)
					if err == nil {
						w.air = append(w.air, sent{1 - i, b})
					}
				}
			default:
				if n := len(w.air); n > 0 { // mostly one of the last
					back := min(n, rapid.SampledFrom([]int{3, 3, 8, n}).Draw(t, "of the last"))
					w.deliver(n - 1 - rapid.IntRange(0, back-1).Draw(t, "message"))
				}
			}
		}
		total += w.drawn
	})
	if total == 0 {
		t.Error("nothing was delivered at all")
	}
	t.Logf("%d messages were delivered", total)
}
