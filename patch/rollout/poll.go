// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
)

// A Turn is what a roll-out says to a State: material of a [patch.Answer].
type Turn struct {
	Events []event.Event // to be committed before anything of the turn is said
	Shut   patch.Gates   // 0: none, or the device's update has ended
	Offer  *patch.Offer  // to be signed; its Path is the server's to say. nil: none
	Void   uint64        // offers up to this number are void
	Heard  uint64        // Count of the State whose Result the events have
	Next   time.Duration // until the next poll
}

// stageLife is how long an offer to stage holds.
const stageLife = 24 * time.Hour

// soon is how long a device waits that has staged the release, and waits only for what
// may change at any moment.
const soon = time.Minute

// Poll answers what a device says. After the turn's events are committed, [Rollout.Due]
// is to be asked. A device that does not take part is answered with an empty Turn.
func (r *Rollout) Poll(h Heard, now time.Time) Turn {
	s := h.State
	i, ok := r.index[s.Device]
	if !ok {
		return Turn{}
	}
	m := &r.members[i]
	turn := Turn{Next: r.next(time.Duration(r.cfg.Plan.Poll), s)}
	if res := s.Result; res != nil && res.Envelope == r.cfg.Release.Envelope {
		turn.Heard = s.Count
		if res.Offer > m.heard && res.Outcome != patch.NoOutcome {
			turn.Events = append(turn.Events, r.ended(m, s, now))
			turn.Next = soon
			return turn
		}
	}
	t := r.moment(now)
	turn.Void = r.void(m, &t)
	if h.Withdrawn != [2]bool{} {
		turn.Void = m.number
	}
	switch {
	case m.outcome != patch.NoOutcome:
		return turn
	case m.told && (s.Trial || s.Version == r.cfg.Release.Version): // it is at it: its result will come
		turn.Next = soon
		return turn
	case s.Version == r.cfg.Release.Version && s.Sequence >= r.cfg.Release.Sequence:
		if r.started {
			turn.Events = append(turn.Events, r.note(event.UpdateEnded, s.Device, now, event.Text(event.Ended, patch.Installed.String()),
				event.Text(event.Version, s.Version), event.Text(event.Shown, "receipt"), event.Text(event.Reason, "it ran this version already")))
		}
		return turn
	}
	turn.Shut = r.shut(m, h, &t)
	lapsed := m.told && t.now > m.lapses
	told := h.Withdrawn == [2]bool{} && r.offer(m, s, &t, &turn, lapsed)
	was := m.waits
	if len(turn.Events) > 0 { // with an offer nothing is written down any more that it waits for
		was = 0
	}
	if lapsed && !told || turn.Shut != was && !t.stopped && !turn.Shut.Has(patch.RingGate) {
		turn.Events = append(turn.Events, r.waited(m, h, &t, turn.Shut))
	}
	return turn
}

// waited is the event of a device that waits for other gates than before, or whose
// offer lapsed.
func (r *Rollout) waited(m *member, h Heard, t *moment, shut patch.Gates) event.Event {
	why := ""
	for _, w := range r.words(m, h, t, shut) {
		if len(why)+len(w.Why) > maxWhy {
			why += " ..."
			break
		}
		why += "; " + w.Why
	}
	return r.note(event.UpdateWaited, m.unit.Device, time.Unix(0, t.now), event.Text(event.Gates, shut.String()), event.Text(event.Reason, strings.TrimPrefix(why, "; ")))
}

// maxWhy is how many bytes of words an event has at most, or so.
const maxWhy = 400

// stageable are the gates that stand in the way of staging too.
const stageable = 1<<patch.VersionGate | 1<<patch.HardwareGate | 1<<patch.SlotGate | 1<<patch.RingGate | 1<<patch.FreezeGate

// offer makes the turn's offer, if there is one, and reports whether it is to install.
func (r *Rollout) offer(m *member, s *patch.State, t *moment, turn *Turn, lapsed bool) (install bool) {
	p, rel := r.cfg.Plan, r.cfg.Release
	staged := p.Executor == Person && m.number > m.void || s.Staged == rel.Envelope
	install = turn.Shut == 0 && staged
	if !install && (turn.Shut&stageable != 0 || m.withdrawn != [2]bool{} || staged) {
		return false
	}
	if staged {
		turn.Next = r.next(min(soon, time.Duration(p.Poll)), s)
	}
	number, issued, expires := m.number, m.issued, m.expires
	life := stageLife
	if install {
		life = time.Duration(p.Offer)
	}
	if m.number <= max(m.void, m.heard) || m.install != install || lapsed || t.now > m.expires-int64(life)/2 {
		// As an offer's number a time is higher than that of any roll-out before.
		number, issued = max(m.number+1, uint64(t.now/1e6)), t.now
		expires = time.Unix(0, t.now).Add(life).Truncate(time.Second).UnixNano()
		turn.Events = append(turn.Events, r.note(event.UpdateOffered, s.Device, time.Unix(0, t.now),
			event.Text(event.Ring, p.Rings[m.ring].Name), event.Text(event.Version, rel.Version), event.Int(event.Offer, number),
			event.Bool(event.Install, install), event.Int(event.NotAfter, expires/1e9), event.Text(event.Executor, p.Executor.String()), event.Text(event.Place, m.unit.Ward)))
	}
	if p.Executor == Person {
		return install // a work order: there is nobody to send a message to
	}
	turn.Offer = &patch.Offer{
		Device: s.Device, Number: number, Envelope: rel.Envelope, Size: rel.Size, Version: rel.Version, Sequence: rel.Sequence,
		Install: install, Issued: time.Unix(0, issued), Expires: time.Unix(0, expires), Demands: r.demands,
	}
	return install
}

// void is up to which number a device's offers are void.
func (r *Rollout) void(m *member, t *moment) uint64 {
	if halted, _, _, _ := r.Halted(); halted || t.stopped && m.install && m.expires > t.now {
		return m.number
	}
	return m.void
}

// Voids calls f for each device that may still act on an offer that is void: to tell it
// before it asks, where it can be told.
func (r *Rollout) Voids(now time.Time, f func(dev string, upTo uint64)) {
	t := r.moment(now)
	for i := range r.members {
		if m := &r.members[i]; m.expires > t.now {
			if v := r.void(m, &t); v > 0 && v >= m.number {
				f(m.unit.Device, v)
			}
		}
	}
}

// ended is the event of a receipt.
func (r *Rollout) ended(m *member, s *patch.State, now time.Time) event.Event {
	res := s.Result
	o, why := res.Judge(&r.demands), res.Said()
	switch {
	case o == patch.Installed && (res.Version != r.cfg.Release.Version || s.Version != res.Version):
		o, why = patch.FellBack, "it says that it was updated, and runs another version"
	case o == res.Outcome:
	case o == patch.LostSettings:
		why = "its settings are not what they were"
	case !res.Resumed:
		why = "therapy was not seen resumed"
	case !res.SelfTest:
		why = "it did not pass its self-test"
	default:
		why = "therapy was not seen resumed in time"
	}
	return r.note(event.UpdateEnded, s.Device, now, event.Text(event.Ended, o.String()), event.Int(event.Offer, res.Offer), event.Text(event.Version, res.Version),
		event.Int(event.Took, res.Took.Milliseconds()), event.Text(event.Shown, "receipt"), event.Text(event.Reason, cut(why)))
}

// cut keeps a text of somebody else's within bounds.
func cut(s string) string {
	if len(s) > maxWhy {
		s = strings.ToValidUTF8(s[:maxWhy], "")
	}
	return s
}

// next spreads polls: a fifth earlier to a fifth later, by device and count.
func (r *Rollout) next(d time.Duration, s *patch.State) time.Duration {
	h := fnv.New32a()
	io.WriteString(h, s.Device)
	h.Write([]byte{byte(s.Count), byte(s.Count >> 8)})
	return d*4/5 + d*2/5*time.Duration(h.Sum32()%1000)/1000
}

// Due is what follows from what is known by now and nobody has written down: a halt,
// devices that turned silent, a ring whose turn has come. It is asked after each commit,
// and now and then. Its events are to be committed; then it is to be asked again, until
// there are none.
func (r *Rollout) Due(now time.Time) []event.Event {
	if !r.started {
		return nil
	}
	var list []event.Event
	if why, dev, final := r.cause(); why != "" && (!r.halted || final && !r.final) {
		rel := r.cfg.Release
		return append(list, r.note(event.RolloutHalted, "", now, event.Text(event.Version, rel.Version), event.Text(event.Release, rel.Envelope.String()),
			event.Int(event.Sequence, rel.Sequence), event.Text(event.Target, dev), event.Text(event.Reason, why), event.Bool(event.Final, final)))
	}
	list = r.overdue(list, now)
	if p := r.cfg.Plan; r.open < len(p.Rings) && !r.stopped() {
		switch {
		case r.open == 0:
			list = append(list, r.opened(now, "the first"))
		case r.rings[r.open-1].enough > 0 && now.UnixNano() >= r.rings[r.open-1].enough+int64(p.Rings[r.open-1].Soak):
			list = append(list, r.opened(now, r.rings[r.open-1].shows()))
		}
	}
	return list
}

func (r *Rollout) opened(now time.Time, why string) event.Event {
	return r.note(event.RingOpened, "", now, event.Text(event.Ring, r.cfg.Plan.Rings[r.open].Name), event.Int(event.Count, r.rings[r.open].size), event.Text(event.Reason, why))
}

// overdue is the devices that should have said something by now.
func (r *Rollout) overdue(list []event.Event, now time.Time) []event.Event {
	if r.earliest == 0 || now.UnixNano() < r.earliest {
		return list
	}
	r.earliest = 0
	silence := int64(r.cfg.Plan.Bounds.Silence)
	late := make([]int32, 0, len(r.told))
	for i := range r.told {
		m := &r.members[i]
		unseen := m.shown && !m.resumed && m.claim == nil && r.demands.Resume > 0
		switch {
		case unseen && now.UnixNano() > m.shownAt+int64(r.demands.Resume), !m.silent && now.UnixNano() > m.lapses+silence:
			late = append(late, i)
			continue
		case !m.silent:
			r.soonest(m.lapses + silence)
		}
		if unseen {
			r.soonest(m.shownAt + int64(r.demands.Resume))
		}
	}
	if len(late) > 0 {
		r.soonest(now.UnixNano()) // until what follows is committed
	}
	slices.Sort(late)
	for _, i := range late {
		m := &r.members[i]
		if m.shown && !m.resumed && m.claim == nil {
			list = append(list, r.note(event.UpdateEnded, m.unit.Device, now, event.Text(event.Ended, patch.LostFunction.String()), event.Int(event.Offer, m.number),
				event.Text(event.Version, r.cfg.Release.Version), event.Text(event.Shown, "sensor"), event.Text(event.Reason, "therapy was not seen resumed in time")))
			continue
		}
		list = append(list, r.note(event.UpdateSilent, m.unit.Device, now, event.Int(event.Offer, m.number), event.Text(event.Version, r.cfg.Release.Version),
			event.Text(event.Reason, "no word for "+r.cfg.Plan.Bounds.Silence.String()+" after its offer ended")))
	}
	return list
}
