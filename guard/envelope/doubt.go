// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"cmp"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
)

// A Doubt is a command whose fate nobody knows, or, once Settled, knew.
type Doubt struct {
	ID      uint64
	Device  string
	Verb    device.Verb
	Value   device.Quantity
	Limit   device.Quantity
	Actor   string    // who asked, as proven
	Since   time.Time // by the machine's clock, to show
	Why     string
	Settled bool
	Given   bool   // of one that a person settled
	By      string // of a settled one: a person's id, or "device"
}

func (e *entry) doubt(name string) Doubt {
	d := Doubt{ID: e.ID, Device: name, Verb: e.Shape.Verb, Actor: e.Text.Actor, Since: time.Unix(0, e.Text.Wall).UTC(), Why: e.Doubt}
	d.Value, _ = device.ParseQuantity(e.Text.Value) // for a person: one that is not understood is left out
	d.Limit, _ = device.ParseQuantity(e.Text.Limit)
	return d
}

// Doubts are the commands whose fate is unknown, of all devices, oldest first.
func (b *Book) Doubts() []Doubt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.doubts()
}

func (b *Book) doubts() (list []Doubt) {
	for name, a := range b.accounts {
		for _, e := range a.Open {
			if e.Doubt != "" {
				list = append(list, e.doubt(name))
			}
		}
	}
	slices.SortFunc(list, func(d, e Doubt) int { return cmp.Compare(d.ID, e.ID) })
	return list
}

// Settle says what became of a command in doubt, as a person found out. It
// returns when that is durable; [ErrUnknown] when no such command is in doubt.
func (b *Book) Settle(id uint64, given bool, by string) error {
	b.mu.Lock()
	defer b.unlock()
	for name, a := range b.accounts {
		e := a.entry(id)
		if e == nil || e.Doubt == "" {
			continue
		}
		d := e.doubt(name)
		d.Settled, d.Given, d.By = true, given, by
		n := b.do(&record{Op: opSettle, Device: name, At: b.tick(), ID: id, Given: given, Why: by})
		b.notices = append(b.notices, Notice{Device: name, Doubt: &d})
		return b.wait(n)
	}
	return ErrUnknown
}
