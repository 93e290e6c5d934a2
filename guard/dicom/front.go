// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package dicom is the guard's DICOM front. It stands in the association of two
// application entities, of which one is the device that it protects: it decides
// which may associate and for what (A-ASSOCIATE, PS3.8 section 9.3), reads every
// command set (PS3.7 section 6.3) before its first byte goes on, lets data sets
// stream through, and answers in the device's place what no list allows.
//
// What goes to the device is held to the lists and bounds, and has to be DICOM. What
// the device sends, its images and results above all, goes on byte for byte
// even when it cannot be read; of a device that calls others only that it asks for
// records of them ([Policy]) and whom it calls is held to lists.
//
// A C-MOVE makes the archive open an association to where the images go, and
// storage commitment makes it open one to whom it answers. The front that let
// the request through says so in [front.Env]; a front of the same device lets the
// association through, for that one purpose.
//
// This API follows the server and may change.
package dicom

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/myelin-health/myelin/guard/front"
)

// A Front is a DICOM front.
type Front struct {
	env    *front.Env
	dial   func(context.Context, *front.Settings) (net.Conn, error)
	policy atomic.Pointer[Policy]

	mu   sync.Mutex
	open map[string]int // associations by calling AE title; "" has their sum. The device's own are in none
}

// New makes a front.
func New(env *front.Env, p *Policy) *Front {
	f := &Front{env: env, open: map[string]int{}, dial: func(ctx context.Context, s *front.Settings) (net.Conn, error) { return s.Dial(ctx) }}
	if env.Expected == nil {
		env.Expected = new(front.Expected)
	}
	f.policy.Store(p)
	return f
}

// settings are those that hold now.
func (f *Front) settings() *front.Settings { return &f.policy.Load().Settings }

// Run serves until ctx ends.
func (f *Front) Run(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", f.settings().Listen.Address)
	if err != nil {
		return err
	}
	return f.serve(ctx, ln)
}

func (f *Front) serve(ctx context.Context, ln net.Listener) error {
	l := front.Listener{Env: f.env, Settings: f.settings, Handle: f.handle}
	return l.Serve(ctx, ln)
}

// Update takes over another policy: associations that begin from now on follow it.
func (f *Front) Update(p front.Policy) { f.policy.Store(p.(*Policy)) }

// enter counts an association in, or says why it may not. Of the device's own
// there are as many as it has connections.
func (f *Front) enter(p *Policy, calling string, own bool) (why string) {
	if own {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.open[""] >= p.associations:
		return "too many associations"
	case f.open[calling] >= p.perAE:
		return "too many associations of this AE title"
	}
	f.open[""]++
	f.open[calling]++
	return ""
}

func (f *Front) leave(calling string, own bool) {
	if own {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[""]--
	if f.open[calling]--; f.open[calling] == 0 {
		delete(f.open, calling)
	}
}
