// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"encoding/binary"
	"time"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/sim/update"
)

// firmware is a pump as far as an update has to do with it.
type firmware struct {
	limit int64     // of the flow, as it is programmed; 0: as the factory did
	held  bool      // an update begins: no order is taken
	mute  bool      // the version that runs gives nothing
	since time.Time // it was started
}

// Body is a pump, "pump-3" or "pump-4", as an updater of sim/update sees it; nil: there is no
// such pump. While its motor runs therapy is being given, on which somebody depends.
func (g *FlowLink) Body(pump string) update.Body {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.pump(pump); p != nil {
		return bedsideBody{g, p}
	}
	return nil
}

type bedsideBody struct {
	g *FlowLink
	p *bedside
}

// with calls f with what it may change.
func (b bedsideBody) with(f func(p *bedside)) {
	b.g.mu.Lock()
	defer b.g.mu.Unlock()
	b.g.advance()
	f(b.p)
}

// Condition implements [update.Body].
func (b bedsideBody) Condition(s *patch.State) {
	b.with(func(p *bedside) {
		s.Known, s.Battery, s.Mains, s.Link, s.Longevity = patch.All, 90, true, 100, -1
		if p.s.Flow > 0 {
			s.Doing |= patch.Delivering | patch.Dependent
		}
		if p.s.Proposed != 0 {
			s.Doing |= patch.Programming
		}
	})
}

// Settings implements [update.Body].
func (b bedsideBody) Settings() (out []byte) {
	b.with(func(p *bedside) { out = binary.BigEndian.AppendUint64(nil, uint64(p.limit)) })
	return out
}

// Program implements [update.Body].
func (b bedsideBody) Program(settings []byte) {
	b.with(func(p *bedside) {
		if p.limit = 0; len(settings) == 8 {
			p.limit = int64(binary.BigEndian.Uint64(settings))
		}
	})
}

// Hold implements [update.Body].
func (b bedsideBody) Hold(on bool) { b.with(func(p *bedside) { p.held = on }) }

// Start implements [update.Body].
func (b bedsideBody) Start(version string, gives bool) {
	b.with(func(p *bedside) {
		p.mute, p.since = !gives, b.g.at
		b.g.note("%s: started with %s", b.g.name(p), version)
	})
}

// Given implements [update.Body]. As with [update.Infusion], one that would not give is told
// apart by its motor's own test.
func (b bedsideBody) Given() (d time.Duration, giving bool) {
	b.with(func(p *bedside) {
		if giving = p.s.Flow > 0 || p.mute; !p.mute {
			d = b.g.at.Sub(p.since)
		}
	})
	return d, giving
}
