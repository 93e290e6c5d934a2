// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/store"
)

// A running is a roll-out, and what is not its engine's to know. All of it is with
// [Service.fold].
type running struct {
	*rollout.Rollout
	path  string // of the envelope, below /update/v1/
	units map[string]rollout.Unit
}

// planned is what the store has of a roll-out.
type planned struct {
	Plan  string         `json:"plan"` // as somebody wrote it
	Units []rollout.Unit `json:"units"`
}

// load makes the roll-outs anew, of what the store has.
func (s *Service) load(ctx context.Context) error {
	list, err := s.cfg.Store.Rollouts(ctx)
	if err != nil {
		return err
	}
	never := &rollout.Never{}
	var all []*running
	of := map[string]*running{}
	for i := range list {
		r, err := s.make(ctx, &list[i], never)
		if err != nil {
			return fmt.Errorf("roll-out %s: %w", list[i].ID, err)
		}
		all = append(all, r)
		of[r.ID()] = r
	}
	seq := int64(0)
	for {
		events, err := s.cfg.Store.RolloutEvents(ctx, store.RolloutQuery{After: seq, Limit: 10_000})
		if err != nil {
			return err
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			e := &events[i]
			seq = e.Seq
			if r := of[e.Rollout]; r != nil {
				if err := r.Apply(&e.Event); err != nil {
					return fmt.Errorf("event %d of roll-out %s: %w", e.Seq, e.Rollout, err)
				}
			}
		}
	}
	s.rollouts, s.never, s.seq, s.damaged = all, never, seq, false
	return s.know(ctx)
}

// make makes a roll-out of which nothing has happened yet.
func (s *Service) make(ctx context.Context, row *store.Rollout, never *rollout.Never) (*running, error) {
	kept, err := s.cfg.Store.ReleaseOf(ctx, row.Envelope)
	if err != nil {
		return nil, err
	}
	r := &running{path: kept.Path, units: map[string]rollout.Unit{}}
	var release patch.Release
	var doc planned
	if err := errors.Join(json.Unmarshal(kept.Doc, &release), json.Unmarshal(row.Doc, &doc)); err != nil {
		return nil, err
	}
	plan, err := rollout.ParsePlan("plan", []byte(doc.Plan))
	if err != nil {
		return nil, err
	}
	for _, u := range doc.Units {
		r.units[u.Device] = u
	}
	r.Rollout, err = rollout.New(rollout.Config{ID: row.ID, Site: s.cfg.Site, Plan: plan, Release: &release, Units: doc.Units, Never: never})
	return r, err
}

// apply takes in events, and what follows from them, and returns all as the store keeps
// them. fold is held.
func (s *Service) apply(r *running, events []event.Event, now time.Time) (steps []store.RolloutEvent, err error) {
	for len(events) > 0 {
		for i := range events {
			e := &events[i]
			if err := r.Apply(e); err != nil {
				s.damaged = true // it may have half of it
				return nil, err
			}
			s.seq++
			step := store.RolloutEvent{Seq: s.seq, Rollout: r.ID(), Tell: alarming(e), Event: *e}
			if _, ok := r.units[e.Device.Value]; ok {
				step.Device = e.Device.Value
			}
			if e.Kind == event.UpdateEnded && e.Text(event.Ended) == patch.Installed.String() {
				step.Runs, step.Fixes = e.Text(event.Version), r.Release().Advisories
			}
			steps = append(steps, step)
		}
		events = r.Due(now)
	}
	return steps, nil
}

// alarming are events of which those outside are told.
func alarming(e *event.Event) bool {
	switch e.Kind {
	case event.RolloutHalted, event.UpdateSilent:
		return true
	case event.UpdateEnded:
		var o patch.Outcome
		return o.UnmarshalText([]byte(e.Text(event.Ended))) == nil && (o == patch.LostFunction || o == patch.LostSettings)
	}
	return false
}

// mend makes the roll-outs anew when what they have is not what is kept. fold is held.
func (s *Service) mend(ctx context.Context) error {
	if !s.damaged {
		return nil
	}
	return s.load(ctx)
}

// said is what is said to a device.
type said struct {
	offer *patch.Offer
	void  uint64
	next  time.Duration
	kept  *batch // to be waited for; nil: nothing is
	heard bool   // its Result will be on record then
}

// decide asks the roll-outs what becomes of a State, and hands on what is to be kept:
// in the order in which it was decided.
func (s *Service) decide(ctx context.Context, row *store.UpdateMember, h rollout.Heard, now time.Time) (out said, err error) {
	out.next = s.cfg.Every
	s.fold.Lock()
	defer s.fold.Unlock()
	if err := s.mend(ctx); err != nil {
		return out, errBusy // Run says why, once for all devices
	}
	var steps []store.RolloutEvent
	for _, r := range slices.Backward(s.rollouts) {
		s.others(r, row.Device, &h)
		turn := r.Poll(h, now)
		if turn.Next == 0 {
			continue // it does not take part
		}
		out.next = min(out.next, turn.Next)
		list, err := s.apply(r, turn.Events, now)
		if err != nil {
			return out, err
		}
		steps = append(steps, list...)
		out.void = max(out.void, turn.Void)
		if out.offer == nil && turn.Offer != nil {
			out.offer = turn.Offer
			out.offer.Path = r.path
		}
	}
	if out.offer != nil && out.offer.Number <= out.void {
		out.offer = nil
	}
	if out.offer != nil && s.cfg.Shared { // somebody may have halted it at another server
		news, err := s.cfg.Store.RolloutEvents(ctx, store.RolloutQuery{After: s.seq - int64(len(steps)), Limit: 1})
		if err != nil || len(news) > 0 {
			s.damaged = true
			return out, cmp.Or(err, errBusy)
		}
	}
	out.heard = h.State.Result != nil
	out.kept, err = s.keep.add(row, steps, out.heard || len(steps) > 0)
	if err != nil {
		s.damaged = len(steps) > 0
	}
	return out, err
}

// others says what other roll-outs have to do with a device: whose consent to the release
// was taken back in one (who begins it anew, with another plan, has not asked again), and
// what of its ward they are updating. fold is held.
func (s *Service) others(r *running, device string, h *rollout.Heard) {
	h.Withdrawn, h.Elsewhere, h.Taken = [2]bool{}, 0, false
	m, ok := r.Member(device)
	if !ok {
		return
	}
	for _, other := range s.rollouts {
		if other == r {
			continue
		}
		if other.Release().Envelope == r.Release().Envelope {
			for i, no := range other.Withdrawn(device) {
				h.Withdrawn[i] = h.Withdrawn[i] || no
			}
		}
		if other.Release().Product() == r.Release().Product() {
			n, taken := other.Out(m.Ward, device)
			h.Elsewhere += n
			h.Taken = h.Taken || taken
		}
	}
}

// know takes in what is known of devices by now: of one that was merged into another,
// what is known of that. fold is held.
func (s *Service) know(ctx context.Context) error {
	of := map[string]map[string]rollout.Unit{}
	for _, r := range s.rollouts {
		product := r.Release().Product()
		known, ok := of[product]
		if !ok {
			units, err := s.unitsOf(ctx, product)
			if err != nil {
				return err
			}
			known = make(map[string]rollout.Unit, len(units))
			for _, u := range units {
				known[u.Device] = u
			}
			of[product] = known
		}
		for id, was := range r.units {
			u, ok := known[id]
			if !ok {
				var err error
				if u, err = s.unit(ctx, was); err != nil {
					return err
				}
				known[id] = u
			}
			if was != u {
				r.units[id] = u
				r.Know(u)
			}
		}
	}
	return nil
}

// unit is what is known of a device that is not by itself among those of its product any
// more; what was, when nothing is.
func (s *Service) unit(ctx context.Context, was rollout.Unit) (rollout.Unit, error) {
	d, err := s.cfg.Store.Device(ctx, was.Device)
	if errors.Is(err, store.ErrNotFound) {
		return was, nil
	}
	if err != nil {
		return was, err
	}
	depends, err := s.cfg.Store.Dependencies(ctx)
	return rollout.Unit{Device: was.Device, Ward: d.Ward, Class: d.Class, Dependency: depends[d.ID].Word}, err
}

// How often what the clock and others make happen is looked at.
const (
	dueEvery  = time.Second
	seenEvery = 15 * time.Second
)

// Run lets happen what no device and no person asks for, until ctx is done: rings that
// begin, devices that turn silent, versions that sensors see, what other servers decided.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(dueEvery)
	defer tick.Stop()
	var looked time.Time
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.due(ctx)
		if now := time.Now(); err == nil && now.Sub(looked) > seenEvery {
			looked = now
			err = errors.Join(s.look(ctx), s.found(ctx))
		}
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil && err.Error() != said: // once, and not each second
			said = err.Error()
			s.cfg.Log.Error("roll-outs do not go on", "err", err)
		}
	}
}

// due lets happen what the clock alone makes happen.
func (s *Service) due(ctx context.Context) error {
	s.fold.Lock()
	defer s.fold.Unlock()
	if err := s.mend(ctx); err != nil {
		return err
	}
	now := s.cfg.Now()
	var steps []store.RolloutEvent
	for _, r := range s.rollouts {
		list, err := s.apply(r, r.Due(now), now)
		if err != nil {
			return err
		}
		steps = append(steps, list...)
	}
	return s.happened(steps)
}

// happened hands on what nobody waits for. fold is held.
func (s *Service) happened(steps []store.RolloutEvent) error {
	if len(steps) == 0 {
		return nil
	}
	_, err := s.keep.add(nil, steps, true)
	if err != nil {
		s.damaged = true
	}
	return err
}

// look takes in what others know: in which ward a device is, and which version a sensor
// saw it run; and, where several servers have one store, what the others decided.
func (s *Service) look(ctx context.Context) error {
	s.fold.Lock()
	defer s.fold.Unlock()
	if err := s.mend(ctx); err != nil {
		return err
	}
	if s.cfg.Shared {
		news, err := s.cfg.Store.RolloutEvents(ctx, store.RolloutQuery{After: s.seq, Limit: 1})
		all, err2 := s.cfg.Store.Rollouts(ctx)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if len(news) > 0 || len(all) != len(s.rollouts) {
			if err := s.load(ctx); err != nil {
				return err
			}
		}
		s.forget()
	}
	if err := s.know(ctx); err != nil {
		return err
	}
	now := s.cfg.Now()
	var steps []store.RolloutEvent
	for _, r := range s.rollouts {
		if r.Plan().Executor != rollout.Person {
			continue
		}
		var out []string
		for m := range r.Members() {
			if m.Status == rollout.Out || m.Status == rollout.Silent {
				out = append(out, m.Device)
			}
		}
		for _, device := range out {
			d, err := s.cfg.Store.Device(ctx, device)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			list, err := s.apply(r, r.Show(device, d.Version, false, now), now)
			if err != nil {
				return err
			}
			steps = append(steps, list...)
		}
	}
	return s.happened(steps)
}

// undone is called when what was decided could not be kept: it was not decided. What was
// decided after it and is not kept yet was decided of the wrong roll-outs.
func (s *Service) undone() {
	s.fold.Lock()
	defer s.fold.Unlock()
	s.damaged = true
	s.keep.drop()
}
