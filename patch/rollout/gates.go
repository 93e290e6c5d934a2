// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/myelin-health/myelin/patch"
)

// Heard is what a device last said, whose signature was looked at, and of when that is:
// when the challenge was made that it echoes. A nil State is nothing.
type Heard struct {
	State *patch.State
	At    time.Time

	// What other roll-outs have to do with it.
	Withdrawn [2]bool // by Whose: consent that was taken back in another roll-out of the release
	Elsewhere int     // devices of its product in its ward that they are updating
	Taken     bool    // it is one of them
}

// judged are the gates that need a State.
const judged = 1<<patch.TherapyGate | 1<<patch.VersionGate | 1<<patch.HardwareGate | 1<<patch.PowerGate | 1<<patch.LinkGate |
	1<<patch.SlotGate | 1<<patch.SettingsGate | 1<<patch.FreshGate

// A moment is what a time is to a plan, asked once for all devices.
type moment struct {
	now    int64
	until  []int64 // by window, until when it is open; 0: it is not
	frozen []*Freeze

	stopped bool
}

func (r *Rollout) moment(now time.Time) moment {
	p := r.cfg.Plan
	t := moment{now: now.UnixNano(), stopped: r.stopped()}
	local := now.In(p.zone)
	if len(p.Windows) > 0 {
		t.until = make([]int64, len(p.Windows))
		for i := range p.Windows {
			if u := p.Windows[i].until(local); !u.IsZero() {
				t.until[i] = u.UnixNano()
			}
		}
	}
	over := time.Unix(0, r.over(&t)) // what would not be over before a freeze does not begin
	for i := range p.Freezes {
		if f := &p.Freezes[i]; !over.Before(f.from) && local.Before(f.to) {
			t.frozen = append(t.frozen, f)
		}
	}
	return t
}

// Gates are those that are shut for a device; no gate is NoGate.Gates for one that does
// not take part.
func (r *Rollout) Gates(dev string, h Heard, now time.Time) patch.Gates {
	i, ok := r.index[dev]
	if !ok {
		return patch.NoGate.Gates()
	}
	t := r.moment(now)
	return r.shut(&r.members[i], h, &t)
}

// Survey calls f with the gates that are shut for each device. It allocates nothing for
// a device.
func (r *Rollout) Survey(now time.Time, heard func(dev string) Heard, f func(dev string, shut patch.Gates)) {
	t := r.moment(now)
	for i := range r.members {
		m := &r.members[i]
		f(m.unit.Device, r.shut(m, heard(m.unit.Device), &t))
	}
}

// shut answers every gate.
func (r *Rollout) shut(m *member, h Heard, t *moment) patch.Gates {
	p := r.cfg.Plan
	var g patch.Gates
	if h.State == nil || h.State.Device != m.unit.Device {
		g = judged
	} else {
		g = r.demands.Shut(h.State, r.cfg.Release.Version, r.cfg.Release.Sequence)
		if age := t.now - h.At.UnixNano(); age < 0 || age > int64(p.fresh(m.unit.Class)) {
			g |= patch.FreshGate.Gates()
		}
	}
	if most, ok := p.Backup[m.unit.Dependency]; r.demands.Backup > 0 && (!ok || r.demands.Backup > time.Duration(most)) {
		g |= patch.BackupGate.Gates()
	}
	attended := m.until >= r.over(t)
	if r.demands.Supervision > patch.Unattended && (!attended || m.attended < r.demands.Supervision) {
		g |= patch.SupervisionGate.Gates()
	}
	if p.Consent.Clinician && !m.consent[0] {
		g |= patch.ClinicianGate.Gates()
	}
	if p.Consent.Patient && !m.consent[1] {
		g |= patch.PatientGate.Gates()
	}
	if len(p.Windows) > 0 && !r.fits(m, t) {
		g |= patch.WindowGate.Gates()
	}
	if !m.told && r.out[m.unit.Ward]+h.Elsewhere >= p.capacity(m.unit.Ward) {
		g |= patch.CapacityGate.Gates()
	}
	if int(m.ring) >= r.open {
		g |= patch.RingGate.Gates()
	}
	for _, f := range t.frozen {
		if len(f.Wards) == 0 || slices.Contains(f.Wards, m.unit.Ward) {
			g |= patch.FreezeGate.Gates()
		}
	}
	for _, o := range m.over {
		if o.until > t.now {
			g &^= o.gate.Gates()
		}
	}
	for _, o := range r.wide {
		if o.until > t.now {
			g &^= o.gate.Gates()
		}
	}
	if r.demands.Spare && !(attended && m.spare) { // a demand is raised and never lowered
		g |= patch.CapacityGate.Gates()
	}
	if h.Taken && !m.told { // by two at once: nobody relaxes that
		g |= patch.CapacityGate.Gates()
	}
	for i, no := range m.withdrawn { // which nobody relaxes
		if no || h.Withdrawn[i] {
			g |= (patch.ClinicianGate + patch.Gate(i)).Gates()
		}
	}
	if t.stopped || m.outcome != patch.NoOutcome {
		g |= patch.FreezeGate.Gates()
	}
	return g
}

// over is when the worst case has ended, begun as late as an offer lets it.
func (r *Rollout) over(t *moment) int64 {
	return t.now + int64(r.cfg.Plan.Offer) + int64(r.demands.Longest)
}

// fits reports whether a window is open for as long as that.
func (r *Rollout) fits(m *member, t *moment) bool {
	p, end := r.cfg.Plan, r.over(t)
	for i := range p.Windows {
		if w := &p.Windows[i]; t.until[i] >= end && (len(w.Wards) == 0 || slices.Contains(w.Wards, m.unit.Ward)) {
			return true
		}
	}
	return false
}

// Usual is the class in [Plan.Fresh] that stands for those that are not in it.
const Usual = "usual"

func (p *Plan) fresh(class string) Span {
	if s, ok := p.Fresh[class]; ok {
		return s
	}
	return p.Fresh[Usual]
}

func (p *Plan) capacity(ward string) int {
	if n, ok := p.Wards[ward]; ok {
		return n
	}
	return p.Capacity
}

// Waits is what a device waits for, in words; empty: for nothing.
func (r *Rollout) Waits(dev string, h Heard, now time.Time) []patch.Wait {
	i, ok := r.index[dev]
	if !ok {
		return nil
	}
	t := r.moment(now)
	m := &r.members[i]
	return r.words(m, h, &t, r.shut(m, h, &t))
}

// words says why gates are shut.
func (r *Rollout) words(m *member, h Heard, t *moment, shut patch.Gates) []patch.Wait {
	var list []patch.Wait
	no := func(g patch.Gate, format string, args ...any) {
		list = append(list, patch.Wait{Gate: g, Why: fmt.Sprintf(format, args...)})
	}
	p := r.cfg.Plan
	if h.State != nil && h.State.Device == m.unit.Device {
		list = r.demands.Unmet(h.State, r.cfg.Release.Version, r.cfg.Release.Sequence)
	}
	for g := range shut.Each {
		switch g {
		case patch.FreshGate:
			switch {
			case h.State == nil:
				no(g, "it has said nothing of itself yet")
			case h.At.IsZero():
				no(g, "nobody knows how old what it said of itself is")
			default:
				no(g, "what it said of itself is %v old: %v is the most", time.Duration(t.now-h.At.UnixNano()).Round(time.Second), p.fresh(m.unit.Class))
			}
		case patch.BackupGate:
			if most, ok := p.Backup[m.unit.Dependency]; ok {
				no(g, "therapy may be in backup mode for %v: for this patient %v is the most", r.demands.Backup, most)
			} else {
				no(g, "therapy may be in backup mode for %v, and nobody has said how much the patient depends on it", r.demands.Backup)
			}
		case patch.SupervisionGate:
			no(g, "somebody has to be there, for %v more: %v", time.Duration(r.over(t)-t.now).Round(time.Second), r.demands.Supervision)
		case patch.ClinicianGate, patch.PatientGate:
			if whose := g - patch.ClinicianGate; m.withdrawn[whose] || h.Withdrawn[whose] {
				no(g, "the %s's consent was withdrawn", consents[whose])
			} else {
				no(g, "the %s has not consented yet", consents[whose])
			}
		case patch.WindowGate:
			no(g, "no maintenance window of its ward is open for %v more", (r.demands.Longest + time.Duration(p.Offer)).Round(time.Second))
		case patch.CapacityGate:
			if n, out := p.capacity(m.unit.Ward), r.out[m.unit.Ward]+h.Elsewhere; !m.told && h.Taken {
				no(g, "another roll-out is updating it")
			} else if !m.told && out >= n {
				no(g, "%d of its ward are being updated: no more than %d at once", out, n)
			} else {
				no(g, "a spare device has to be at hand, for %v more", time.Duration(r.over(t)-t.now).Round(time.Second))
			}
		case patch.RingGate:
			no(g, "it is not the turn of its ring, %s", p.Rings[m.ring].Name)
		case patch.FreezeGate:
			no(g, "%s", r.held(m, t))
		default:
			if h.State == nil || h.State.Device != m.unit.Device {
				continue // the words of FreshGate are enough
			}
		}
	}
	return list
}

// held says why nothing is installed at all.
func (r *Rollout) held(m *member, t *moment) string {
	halted, why, by, _ := r.Halted()
	switch {
	case m.outcome != patch.NoOutcome:
		return "its update has ended: " + m.outcome.String()
	case halted && by != "":
		return "halted by " + by + ": " + why
	case halted:
		return "halted: " + why
	case !r.started:
		return "the roll-out has not begun"
	case r.paused:
		return "paused by " + r.by + ": " + r.why
	}
	for _, f := range t.frozen {
		if len(f.Wards) == 0 || slices.Contains(f.Wards, m.unit.Ward) {
			return "frozen until " + f.To + ": " + f.Why
		}
	}
	return "frozen"
}
