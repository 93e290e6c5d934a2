// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/hl7"
)

// pass is the life of a connection that the device opened: what it says goes
// out as it comes, whatever it is, without a limit of time; what comes back has
// to be an answer. Ret is the way back of a server, or nil.
func (f *Front) pass(ctx context.Context, c *front.Conn, s *front.Settings, ret *Return) {
	out, err := s.Dial(ctx)
	if err != nil {
		f.env.Log.Warn("cannot reach the others", "front", s.Name, "err", err)
		return
	}
	defer out.Close()
	over := context.AfterFunc(ctx, func() { out.Close() })
	defer over()
	p := &passing{f: f, c: c, out: out, settings: s, drain: front.Draining(ctx)}
	p.believed = c.Own() || ret == nil && len(s.From) == 0 // without a list everybody may be the device
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.in()
		c.Conn.Close() // whoever answers has gone, or may not go on
	}()
	p.outward()
	<-done
}

// A passing is a connection of the device and the one that it goes on to.
type passing struct {
	f        *Front
	c        *front.Conn // to the device
	out      net.Conn
	settings *front.Settings
	believed bool
	drain    <-chan struct{}
	owed     atomic.Int64 // messages of the device without an answer
}

const (
	quiet   = 100 * time.Millisecond // how often a connection of the device is looked at when the front stops
	patient = 2 * time.Second        // how long it then waits for answers that are owed
)

// outward carries what the device says.
func (p *passing) outward() {
	t := tap{heard: func(msg []byte) bool {
		p.owed.Add(1)
		return p.f.heard(msg, p.believed)
	}, odd: func(why string) {
		p.f.env.Unjudged(p.settings, p.c.Peer, "message", why+"; it passes as it is")
	}}
	stopping := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-p.drain:
			p.c.Conn.SetReadDeadline(time.Now())
		case <-stopping:
		}
	}()
	defer func() { close(stopping); <-stopped }()
	if !p.believed { // none of the device's own addresses: it keeps nobody's place
		p.await(p.settings.Limits.First)
	}
	var stops time.Time
	for {
		err := carry(p.c.Conn, func(b []byte) error {
			if !p.believed {
				p.await(p.settings.Limits.Idle)
			}
			_, err := p.out.Write(b)
			p.f.env.Metrics.Bytes(p.settings.Name, false, len(b))
			t.pass(b)
			return err
		})
		var late net.Error
		if errors.As(err, &late) && late.Timeout() { // the front stops
			if !p.believed && !drains(p.drain) {
				p.out.Close()
				return
			}
			if stops.IsZero() {
				stops = time.Now()
			}
			over := time.Since(stops) // in the first moment it may have been woken before it looked
			if !t.open() && (over >= quiet && p.owed.Load() <= 0 || over > patient) {
				p.out.Close()
				return
			}
			p.c.Conn.SetReadDeadline(time.Now().Add(quiet))
			continue
		}
		if errors.Is(err, io.EOF) { // it says no more, and may still wait for an answer
			if half, ok := p.out.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				p.out.SetReadDeadline(time.Now().Add(p.settings.Limits.Unfinished))
				return
			}
		}
		p.out.Close()
		return
	}
}

// await bounds the wait for what the device says next, unless the front stops.
func (p *passing) await(d time.Duration) {
	p.c.Conn.SetReadDeadline(time.Now().Add(d))
	if drains(p.drain) {
		p.c.Conn.SetReadDeadline(time.Now().Add(quiet))
	}
}

// drains reports whether the front stops.
func drains(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// carry reads until there is an error.
func carry(c net.Conn, to func(b []byte) error) error {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	b := (*pooled)[:bufferBytes]
	for {
		n, err := c.Read(b)
		if n > 0 {
			if err := to(b[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// in carries what comes back, if it is an answer.
func (p *passing) in() {
	src := &backSource{Conn: p.out, unfinished: p.settings.Limits.Unfinished}
	policy := p.f.policy.Load()
	r := blockReader{from: src, raw: p.out, most: hl7.MaxMessage}
	defer r.free()
	for {
		raw, msg, quirks, err := r.next()
		switch {
		case errors.Is(err, errCut), errors.Is(err, errTooLong), errors.Is(err, errFraming), errors.Is(err, errTooQuiet):
			p.f.env.Refused(p.settings, p.c.Peer, "framing", "", err.Error())
			return
		case err != nil:
			return
		}
		if why := unanswerable(policy, msg, quirks); why != "" && p.f.env.Refused(p.settings, p.c.Peer, "message", "", why) {
			return
		}
		p.owed.Add(-1)
		if _, err := p.c.Write(raw); err != nil {
			return
		}
		p.f.env.Metrics.Bytes(p.settings.Name, true, len(raw))
	}
}

// unanswerable says why a message to the device is no answer to what it said, or "".
func unanswerable(p *Policy, msg []byte, quirks hl7.Quirks) string {
	m, err := hl7.Parse(msg)
	if err != nil {
		return "what came back is no message"
	}
	h := m.Header()
	switch {
	case (quirks|m.Quirks)&^(hl7.MissingCR|hl7.MissingLastCR|hl7.LineFeedEnds|hl7.EmptyLine) != 0:
		return "what came back is ambiguous"
	case mayOrder(&m, &h, msg):
		return "an order came back where an answer was to come"
	case m.Kind() == hl7.Acknowledgement, allows(p.Answers, &h):
		return ""
	}
	return "what came back is no acknowledgement"
}

// A backSource has no deadline between messages.
type backSource struct {
	net.Conn
	unfinished time.Duration
}

func (a *backSource) Begin() { a.SetReadDeadline(time.Now().Add(a.unfinished)) }
func (a *backSource) End()   { a.SetReadDeadline(time.Time{}) }
