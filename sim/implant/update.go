// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"encoding/binary"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/patch"
	updates "github.com/myelin-health/myelin/patch/agent/coap"
	"github.com/myelin-health/myelin/sim/update"
)

// Updates lets an updater push updates: what d wants is at /update.
func (i *Implant) Updates(d *updates.Device) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.updates = d
}

// Body is the device as an updater of sim/update sees it.
func (i *Implant) Body() update.Body { return (*updated)(i) }

// updated is an Implant with firmware.
type updated Implant

// Condition implements [update.Body].
func (u *updated) Condition(s *patch.State) {
	i := (*Implant)(u)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	s.Doing, s.Known = i.model.activity(), patch.All
	s.Battery, s.Longevity = int(i.model.base().percent().Coefficient), i.model.longevity()
	s.Link, s.Near = 90, i.present == cwt.Wand
}

func values(vars []*int64) []int64 {
	list := make([]int64, len(vars))
	for n, v := range vars {
		list[n] = *v
	}
	return list
}

// Settings implements [update.Body].
func (u *updated) Settings() []byte {
	i := (*Implant)(u)
	i.mu.Lock()
	defer i.mu.Unlock()
	var b []byte
	for _, v := range i.model.settings() {
		b = binary.BigEndian.AppendUint64(b, uint64(*v))
	}
	return b
}

// Program implements [update.Body].
func (u *updated) Program(b []byte) {
	i := (*Implant)(u)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	vars := i.model.settings()
	for n, v := range vars {
		*v = i.factory[n]
		if len(b) == 8*len(vars) {
			*v = int64(binary.BigEndian.Uint64(b[8*n:]))
		}
	}
	_ = i.note(&entry{event: "update", why: "settings programmed"})
}

// Hold implements [update.Body].
func (u *updated) Hold(on bool) {
	i := (*Implant)(u)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	i.held = on
}

// Start implements [update.Body].
func (u *updated) Start(version string, gives bool) {
	i := (*Implant)(u)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	b := i.model.base()
	b.gave, b.stopped = 0, !gives
	_ = i.note(append([]*entry{{event: "update", verb: device.Install, verdict: accepted, why: "started with version " + version}}, i.happened()...)...)
}

// Given implements [update.Body].
func (u *updated) Given() (time.Duration, bool) {
	i := (*Implant)(u)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	return time.Duration(i.model.base().gave) * time.Millisecond, i.model.giving()
}
