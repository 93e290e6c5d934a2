// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
)

// What people do. Each answers with the events to commit, or with why not: one of the
// errors above, to be tested with errors.Is.

// Start sends the release on its way.
func (r *Rollout) Start(by Somebody, reason string, now time.Time) ([]event.Event, error) {
	rel := r.cfg.Release
	switch {
	case r.started:
		return nil, ErrNotNow
	case !r.approves(by):
		return nil, ErrWho
	case r.cfg.Never.Refuses(rel) != nil:
		return nil, ErrFinal
	}
	return r.one(r.note(event.RolloutStarted, "", now, event.Text(event.Manufacturer, rel.Manufacturer), event.Text(event.Model, rel.Model), event.Text(event.Version, rel.Version),
		event.Text(event.Release, rel.Envelope.String()), event.Text(event.Plan, r.digest), event.Text(event.Actor, by.Name), event.Text(event.Reason, reason)))
}

// approves reports whether the plan lets somebody start a roll-out, and let it go on.
func (r *Rollout) approves(by Somebody) bool {
	p := r.cfg.Plan
	return by.Name != "" && (len(p.Approve) == 0 || slices.Contains(p.Approve, by.Role))
}

// Pause lets nothing more begin.
func (r *Rollout) Pause(by Somebody, reason string, now time.Time) ([]event.Event, error) {
	if !r.started || r.paused || r.halted {
		return nil, ErrNotNow
	}
	return r.said(event.RolloutPaused, "", by, reason, now)
}

// Halt voids every offer, and puts the release on the list of those that no roll-out
// offers: for good, or until Resume. Everybody may who is let near it.
func (r *Rollout) Halt(by Somebody, reason string, final bool, now time.Time) ([]event.Event, error) {
	if !r.started || r.final {
		return nil, ErrNotNow
	}
	rel := r.cfg.Release
	return r.said(event.RolloutHalted, "", by, reason, now, event.Text(event.Version, rel.Version), event.Text(event.Release, rel.Envelope.String()),
		event.Int(event.Sequence, rel.Sequence), event.Bool(event.Final, final))
}

// Resume lets a roll-out go on that pauses or was halted, unless for good. The sequential
// tests begin anew, and what was lost or silent until now does not halt it again.
func (r *Rollout) Resume(by Somebody, reason string, now time.Time) ([]event.Event, error) {
	switch halted, _, _, final := r.Halted(); {
	case final:
		return nil, ErrFinal
	case !r.halted && halted || !r.halted && !r.paused:
		return nil, ErrNotNow // the halt is to be written down first (Due), or is another roll-out's
	case !r.approves(by):
		return nil, ErrWho
	}
	return r.said(event.RolloutResumed, "", by, reason, now)
}

// Whose consent it is.
type Whose uint8

// Those who are asked.
const (
	Clinician Whose = iota
	Patient
)

func (w Whose) String() string { return consents[w&1] }

// Consent records that the patient, or her clinician, consents to the update of a device
// as the text of that version says. By is who recorded it, never the patient.
func (r *Rollout) Consent(dev string, whose Whose, by Somebody, terms, reason string, now time.Time) ([]event.Event, error) {
	return r.of(dev, event.ConsentGiven, by, now, event.Text(event.Consent, whose.String()), event.Text(event.Terms, terms), event.Text(event.Reason, cut(reason)))
}

// Withdraw takes consent back: until the switch, the device's offers are void. It never
// fails for want of a reason.
func (r *Rollout) Withdraw(dev string, whose Whose, by Somebody, reason string, now time.Time) ([]event.Event, error) {
	return r.of(dev, event.ConsentWithdrawn, by, now, event.Text(event.Consent, whose.String()), event.Text(event.Terms, r.cfg.Plan.Consent.Terms), event.Text(event.Reason, cut(reason)))
}

// Attend records that somebody is beside a device until then, as the supervision needs
// that the release demands, and whether there is a spare device.
func (r *Rollout) Attend(dev string, s patch.Supervision, spare bool, by Somebody, until, now time.Time) ([]event.Event, error) {
	return r.of(dev, event.UpdateAttended, by, now, event.Text(event.Attended, s.String()), event.Bool(event.Spare, spare), event.Int(event.NotAfter, until.Unix()))
}

// Override relaxes a gate for a device, or for all with dev "", if the plan lets these
// two people, for a while and with a reason.
func (r *Rollout) Override(dev string, g patch.Gate, by, second Somebody, reason string, until, now time.Time) ([]event.Event, error) {
	if !Relaxable(g) {
		return nil, ErrGate
	}
	if _, ok := r.index[dev]; !ok && dev != "" {
		return nil, ErrNoDevice
	}
	if strings.TrimSpace(reason) == "" {
		return nil, ErrReason
	}
	i := slices.IndexFunc(r.cfg.Plan.Relax, func(x Relaxation) bool { return x.Gate == g && r.cfg.Release.Urgency >= x.Urgency })
	if i < 0 {
		return nil, ErrGate
	}
	x := &r.cfg.Plan.Relax[i]
	may := func(p Somebody) bool { return p.Name != "" && slices.Contains(x.By, p.Role) }
	if by.Name == second.Name || !may(by) || !may(second) {
		return nil, ErrWho
	}
	if most := now.Add(time.Duration(x.Most)); until.After(most) {
		until = most
	}
	return r.one(r.note(event.UpdateOverridden, dev, now, event.Text(event.Gate, g.String()), event.Text(event.Actor, by.Name), event.Text(event.Second, second.Name),
		event.Text(event.Reason, cut(reason)), event.Int(event.NotAfter, until.Unix())))
}

// RuleOut records that a device cannot be updated: who owns that, which control holds
// instead (the id of a guard's envelope, "RF switched off", "returned"), and when it is
// to be looked at again, or never.
func (r *Rollout) RuleOut(dev, owner, control string, by Somebody, reason string, review, now time.Time) ([]event.Event, error) {
	if strings.TrimSpace(owner) == "" || strings.TrimSpace(control) == "" || strings.TrimSpace(reason) == "" {
		return nil, ErrReason
	}
	at := int64(0)
	if !review.IsZero() {
		at = review.Unix()
	}
	return r.of(dev, event.UpdateRuledOut, by, now, event.Text(event.Owner, owner), event.Text(event.Control, control), event.Text(event.Reason, cut(reason)), event.Int(event.NotAfter, at))
}

// Report records how the person who installed it says that an update went. What is bad
// is believed at once; what is good counts once a sensor has shown it ([Rollout.Show]),
// or a receipt ([Rollout.Poll]).
func (r *Rollout) Report(dev string, res patch.Result, by Somebody, now time.Time) ([]event.Event, error) {
	i, ok := r.index[dev]
	if !ok {
		return nil, ErrNoDevice
	}
	m := &r.members[i]
	switch res.Outcome {
	case patch.LostFunction, patch.LostSettings: // an adverse event may come late, and be anybody's to tell
	case patch.Installed, patch.FellBack, patch.Refused, patch.Withdrawn: // which is that it was not begun
		if r.cfg.Plan.Executor != Person || !m.told {
			return nil, ErrNotNow
		}
	default:
		return nil, ErrNotNow
	}
	res.Offer = m.number
	o := res.Judge(&r.demands)
	if o != patch.Installed {
		e := r.outcome(m, o, &res, "person", now)
		e.Add(event.Text(event.Actor, by.Name))
		return r.one(e)
	}
	events, err := r.of(dev, event.UpdateReported, by, now, event.Int(event.Offer, m.number), event.Bool(event.Resumed, res.Resumed), event.Bool(event.SelfTest, res.SelfTest),
		event.Bool(event.SettingsKept, res.Before == res.After), event.Int(event.Took, res.Took.Milliseconds()), event.Text(event.Reason, cut(res.Reason)))
	if m.shown && err == nil {
		events = append(events, r.outcome(m, o, &res, "sensor", now))
	}
	return events, err
}

func (r *Rollout) outcome(m *member, o patch.Outcome, res *patch.Result, shown string, now time.Time) event.Event {
	return r.note(event.UpdateEnded, m.unit.Device, now, event.Text(event.Ended, o.String()), event.Int(event.Offer, res.Offer), event.Text(event.Version, res.Version),
		event.Int(event.Took, res.Took.Milliseconds()), event.Text(event.Shown, shown), event.Text(event.Reason, cut(res.Reason)))
}

// Show takes in that a sensor saw a device run a version, and whether it saw therapy
// given again. It matters for devices that a person updates.
func (r *Rollout) Show(dev, version string, resumed bool, now time.Time) []event.Event {
	i, ok := r.index[dev]
	if !ok || version != r.cfg.Release.Version {
		return nil
	}
	m := &r.members[i]
	if r.cfg.Plan.Executor != Person || !m.told || m.shown && (m.resumed || !resumed) {
		return nil
	}
	events := []event.Event{r.note(event.UpdateShown, dev, now, event.Text(event.Version, version), event.Bool(event.Resumed, resumed))}
	if c := m.claim; c != nil {
		events = append(events, r.outcome(m, patch.Installed, &patch.Result{Offer: c.offer, Version: version, Took: c.took}, "sensor", now))
	}
	return events
}

// said is an event that a person gives a reason for.
func (r *Rollout) said(kind event.Kind, dev string, by Somebody, reason string, now time.Time, attrs ...event.Attr) ([]event.Event, error) {
	switch {
	case by.Name == "":
		return nil, ErrWho
	case strings.TrimSpace(reason) == "":
		return nil, ErrReason
	}
	e := r.note(kind, dev, now, attrs...)
	e.Add(event.Text(event.Actor, by.Name), event.Text(event.Reason, cut(reason)))
	return r.one(e)
}

// of is an event about a device, by somebody.
func (r *Rollout) of(dev string, kind event.Kind, by Somebody, now time.Time, attrs ...event.Attr) ([]event.Event, error) {
	if _, ok := r.index[dev]; !ok {
		return nil, ErrNoDevice
	}
	if by.Name == "" {
		return nil, ErrWho
	}
	e := r.note(kind, dev, now, attrs...)
	e.Add(event.Text(event.Actor, by.Name))
	return r.one(e)
}

func (r *Rollout) one(e event.Event) ([]event.Event, error) { return []event.Event{e}, nil }
