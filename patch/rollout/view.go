// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/myelin-health/myelin/patch"
)

// A Progress is how far a roll-out is.
type Progress struct {
	ID      string    `json:"id"`
	Product string    `json:"product"`
	Version string    `json:"version"`
	Status  string    `json:"status"` // "not begun", "under way", "paused", "halted", "ended"
	By      string    `json:"by,omitempty"`
	Why     string    `json:"why,omitempty"`
	Final   bool      `json:"final,omitempty"` // halted for good
	Began   time.Time `json:"began,omitzero"`

	Devices  int                   `json:"devices"`
	Ended    int                   `json:"ended"` // in whatever way
	Out      int                   `json:"out"`   // told to install
	Silent   int                   `json:"silent"`
	Outcomes map[patch.Outcome]int `json:"outcomes"`

	Rings []RingProgress `json:"rings"`
	Gates []GateCount    `json:"gates"` // what devices of the rings that have begun wait for, most first
}

// A RingProgress is how far a ring is.
type RingProgress struct {
	Name     string                `json:"name"`
	Began    time.Time             `json:"began,omitzero"`
	Devices  int                   `json:"devices"`
	Finished int                   `json:"finished"`        // updated well
	Wanted   int                   `json:"wanted"`          // before the next ring
	Soaked   time.Time             `json:"soaked,omitzero"` // when the next may begin; zero: not known yet
	Outcomes map[patch.Outcome]int `json:"outcomes"`
	Out      int                   `json:"out"`
	Waiting  int                   `json:"waiting"`
	Shows    string                `json:"shows"` // what it can show, and no more
}

// A GateCount is how many devices wait for a gate.
type GateCount struct {
	Gate  patch.Gate `json:"gate"`
	Count int        `json:"count"`
}

// A Member is a device in a roll-out.
type Member struct {
	Unit
	Ring    string        `json:"ring"`
	Status  Status        `json:"status"`
	Outcome patch.Outcome `json:"outcome,omitempty"`
	Shut    patch.Gates   `json:"waits,omitempty"` // as was last written down
	Why     string        `json:"why,omitempty"`   // in words; of the end, once it ended
	Offer   uint64        `json:"offer,omitempty"`
	Expires time.Time     `json:"expires,omitzero"`
	Void    bool          `json:"void,omitempty"` // the offer: nothing may be begun under it
	Ended   time.Time     `json:"ended,omitzero"`

	Clinician bool `json:"clinician"` // consents
	Patient   bool `json:"patient"`

	Owner   string    `json:"owner,omitempty"` // of one that cannot be updated
	Control string    `json:"control,omitempty"`
	Review  time.Time `json:"review,omitzero"`
}

// A Status is where a device is.
type Status uint8

// The states of a device.
const (
	Waiting  Status = iota // for a gate
	Staging                // it may download, or its work order is out
	Out                    // told to install
	Silent                 // and should have said how it went
	Finished               // see the outcome
)

var statuses = []string{"waiting", "staging", "told to install", "silent", "ended"}

func (s Status) String() string { return statuses[min(int(s), len(statuses)-1)] }

// MarshalText writes the word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// shows says what a ring's results show.
func (g *stage) shows() string {
	n := g.installed + g.failed
	if n == 0 {
		return "no update has ended: it shows nothing yet"
	}
	return fmt.Sprintf("%d of %d updates failed: with 95 %% confidence the rate of failure is below %.3g %%", g.failed, n, 100*Below(n, g.failed))
}

func at(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Progress sums up. It looks at each device.
func (r *Rollout) Progress() Progress {
	p := Progress{
		ID: r.cfg.ID, Product: r.cfg.Release.Product(), Version: r.cfg.Release.Version, Status: "under way", Began: at(r.startedAt),
		Devices: len(r.members), Outcomes: map[patch.Outcome]int{}, Rings: make([]RingProgress, len(r.rings)),
	}
	for i := range r.rings {
		g, ring := &r.rings[i], &r.cfg.Plan.Rings[i]
		p.Rings[i] = RingProgress{
			Name: ring.Name, Began: at(g.began), Devices: g.size, Finished: g.installed, Wanted: ring.Finished, Outcomes: map[patch.Outcome]int{}, Shows: g.shows(),
		}
		if g.enough > 0 {
			p.Rings[i].Soaked = at(g.enough + int64(ring.Soak))
		}
	}
	var waits [32]int
	for i := range r.members {
		m := &r.members[i]
		g := &p.Rings[m.ring]
		switch st := m.status(); st {
		case Finished:
			p.Ended++
			p.Outcomes[m.outcome]++
			g.Outcomes[m.outcome]++
		case Out, Silent:
			p.Out++
			g.Out++
			if st == Silent {
				p.Silent++
			}
		default:
			g.Waiting++
			if int(m.ring) < r.open {
				for s := range r.waiting(m).Each {
					waits[s]++
				}
			}
		}
	}
	for g, n := range waits {
		if n > 0 {
			p.Gates = append(p.Gates, GateCount{patch.Gate(g), n})
		}
	}
	slices.SortStableFunc(p.Gates, func(a, b GateCount) int { return b.Count - a.Count })
	halted, why, by, final := r.Halted()
	switch {
	case halted:
		p.Status, p.Why, p.By, p.Final = "halted", why, by, final
	case !r.started:
		p.Status = "not begun"
	case p.Ended == p.Devices:
		p.Status = "ended"
	case r.paused:
		p.Status, p.Why, p.By = "paused", r.why, r.by
	}
	return p
}

func (m *member) status() Status {
	switch {
	case m.outcome != patch.NoOutcome:
		return Finished
	case m.silent:
		return Silent
	case m.told:
		return Out
	case m.number > m.void && m.waits == 0:
		return Staging
	}
	return Waiting
}

// waiting is what a device waits for, by what was written down. One whose ring has begun
// and that has not been heard of since waits to be heard of.
func (r *Rollout) waiting(m *member) patch.Gates {
	w := m.waits
	switch {
	case int(m.ring) >= r.open:
		w = patch.RingGate.Gates()
	case w.Has(patch.RingGate):
		w = patch.FreshGate.Gates()
	}
	if r.stopped() {
		w = patch.FreezeGate.Gates()
	}
	return w
}

// Member returns a device as it stands.
func (r *Rollout) Member(dev string) (Member, bool) {
	i, ok := r.index[dev]
	if !ok {
		return Member{}, false
	}
	return r.member(&r.members[i]), true
}

// Out is how many devices of a ward are being updated, and whether a device, which may be
// of another ward by now, is one of those.
func (r *Rollout) Out(ward, dev string) (n int, taken bool) {
	i, ok := r.index[dev]
	return r.out[ward], ok && r.members[i].told
}

// Withdrawn is whose consent to the update of a device was taken back, by [Whose].
func (r *Rollout) Withdrawn(dev string) (list [2]bool) {
	if i, ok := r.index[dev]; ok {
		list = r.members[i].withdrawn
	}
	return list
}

// Members yields the devices in the order of the list.
func (r *Rollout) Members() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for i := range r.members {
			if !yield(r.member(&r.members[i])) {
				return
			}
		}
	}
}

func (r *Rollout) member(m *member) Member {
	v := Member{
		Unit: m.unit, Ring: r.cfg.Plan.Rings[m.ring].Name, Status: m.status(), Outcome: m.outcome, Offer: m.number, Expires: at(m.expires),
		Void: m.number > 0 && (m.number <= m.void || r.stopped()), Clinician: m.consent[Clinician], Patient: m.consent[Patient], Owner: m.owner, Control: m.control,
	}
	if m.review > 0 {
		v.Review = time.Unix(m.review, 0).UTC()
	}
	if v.Status == Finished {
		v.Ended, v.Why = at(m.endedAt), m.said
		return v
	}
	v.Shut = r.waiting(m)
	switch {
	case v.Shut == m.waits:
		v.Why = m.why
	case v.Shut == patch.RingGate.Gates():
		v.Why = "it is not the turn of its ring, " + v.Ring
	case v.Shut == patch.FreshGate.Gates():
		v.Why = "it has not been heard of since its ring's turn came"
	default:
		v.Why = r.held(m, &moment{})
	}
	return v
}
