// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
)

// A Config is what a roll-out is of. None of it changes while the roll-out lasts.
type Config struct {
	ID      string // "flow-500-2.2.0"
	Site    string // the hospital, of which the events say that it did something
	Plan    *Plan
	Release *patch.Release
	Units   []Unit
	Never   *Never // shared by all roll-outs; nil: one of its own
}

// A Rollout is a release on its way through a fleet. It is not for several goroutines.
type Rollout struct {
	cfg     Config
	demands patch.Demands // the maker's, raised
	digest  string        // of plan, release and units

	members []member
	index   map[string]int32 // by device
	rings   []stage
	open    int // rings that have begun
	wide    []relaxed

	started, paused, halted bool
	startedAt               int64
	by, why                 string // of what it is stopped by
	final                   bool

	out      map[string]int // by ward: devices that were told to install, of which nothing is known since
	told     map[int32]struct{}
	earliest int64 // no device turns silent before

	// Of what halts, since a person last let it go on:
	fallBack, settings walk
	lostSettings       []int32
	silent             []int32
	// And from the beginning:
	lostFunction []int32
}

// A stage is a ring on its way.
type stage struct {
	size, installed, failed int
	began                   int64 // nanoseconds since 1970; 0: not begun
	enough                  int64 // when so many were finished as it wants
}

// A member is a device that takes part.
type member struct {
	unit    Unit
	ring    uint8
	outcome patch.Outcome
	refused uint8

	number  uint64 // of the last offer
	issued  int64
	expires int64
	install bool   // the last offer says so
	lapses  int64  // until when the last offer to install held
	told    bool   // it was told to install, and may have, for all that is known
	silent  bool   // and should have said how it went
	ward    string // where it counts while it is told
	void    uint64 // offers up to this number are void
	heard   uint64 // number of the offer whose result is on record

	waits patch.Gates // as was last written down
	why   string

	consent   [2]bool // of consents
	withdrawn [2]bool
	attended  patch.Supervision
	spare     bool
	until     int64 // of attended and spare
	over      []relaxed

	claim          *claim // of the person who installed it
	shown, resumed bool   // by a sensor
	shownAt        int64

	said           string // of the end
	endedAt        int64
	owner, control string
	review         int64
}

// consents are whose.
var consents = [2]string{"clinician", "patient"}

// A relaxed is a gate that need not hold for a while.
type relaxed struct {
	gate  patch.Gate
	until int64
}

type claim struct {
	offer                   uint64
	resumed, selfTest, kept bool
	took                    time.Duration
	by                      string
}

// Errors of what people ask for.
var (
	ErrNoDevice = errors.New("no such device takes part in this roll-out")
	ErrNotNow   = errors.New("this roll-out is not in a state for that")
	ErrWho      = errors.New("this is not for that person to do")
	ErrReason   = errors.New("a reason is needed")
	ErrFinal    = errors.New("this release is never offered again: publish a new version")
	ErrGate     = errors.New("nobody can relax this gate")
)

// maxRefused is how often a device may refuse before it is not offered any more.
const maxRefused = 3

// New is a roll-out of which nothing has happened yet. An error says what of the plan
// does not fit the release or the devices.
func New(cfg Config) (*Rollout, error) {
	p, rel := cfg.Plan, cfg.Release
	switch {
	case p.Release != (patch.Digest{}) && p.Release != rel.Envelope:
		return nil, errors.New("the plan is for another release")
	case time.Duration(p.Bounds.Silence) < rel.Demands.Longest:
		return nil, fmt.Errorf("the plan calls a device silent after %v: an update may take %v", p.Bounds.Silence, rel.Demands.Longest)
	}
	if cfg.Never == nil {
		cfg.Never = &Never{}
	}
	r := &Rollout{
		cfg: cfg, members: make([]member, len(cfg.Units)), index: make(map[string]int32, len(cfg.Units)), rings: make([]stage, len(p.Rings)),
		out: map[string]int{}, told: map[int32]struct{}{},
		fallBack: newWalk(p.Bounds.FallBack, &p.Bounds), settings: newWalk(p.Bounds.LostSettings, &p.Bounds),
	}
	r.demands = rel.Demands.Raised(patch.Demands{
		Battery: p.Raise.Battery, Longevity: p.Raise.Longevity, Near: p.Raise.Near, Spare: p.Raise.Spare, Supervision: p.Raise.Supervision,
	})
	for i, u := range cfg.Units {
		if _, ok := r.index[u.Device]; ok || u.Device == "" {
			return nil, fmt.Errorf("device %q is in the list twice, or has no id", u.Device)
		}
		ring := slices.IndexFunc(p.Rings, func(g Ring) bool { return g.takes(&u) })
		if ring < 0 {
			return nil, fmt.Errorf("device %s is in no ring: end with one that takes what is left", u.Device)
		}
		r.index[u.Device] = int32(i)
		r.members[i] = member{unit: u, ring: uint8(ring), waits: patch.RingGate.Gates()}
		r.rings[ring].size++
	}
	for i, g := range p.Rings {
		if n := r.rings[i].size; n < max(g.Least, g.Finished) {
			return nil, fmt.Errorf("ring %s has %d devices: the plan wants %d", g.Name, n, max(g.Least, g.Finished))
		}
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode([]any{p, rel, cfg.Units}); err != nil {
		return nil, err
	}
	r.digest = hex.EncodeToString(h.Sum(nil))
	return r, nil
}

// takes reports whether a ring takes a device that none before it took.
func (g *Ring) takes(u *Unit) bool {
	if len(g.Dependency) > 0 && !slices.Contains(g.Dependency, u.Dependency) {
		return false
	}
	switch {
	case slices.Contains(g.Devices, u.Device) || slices.Contains(g.Wards, u.Ward):
		return true
	case g.Share > 0:
		h := fnv.New32a()
		io.WriteString(h, g.Name+"\x00"+u.Device)
		return h.Sum32()%100 < uint32(g.Share)
	}
	return len(g.Devices) == 0 && len(g.Wards) == 0
}

// ID is the roll-out's.
func (r *Rollout) ID() string { return r.cfg.ID }

// Release is the one on its way, Plan how it goes. They are not to be changed.
func (r *Rollout) Release() *patch.Release { return r.cfg.Release }

// Plan: see Release.
func (r *Rollout) Plan() *Plan { return r.cfg.Plan }

// Demands are the maker's, raised by the plan: those of an offer.
func (r *Rollout) Demands() *patch.Demands { return &r.demands }

// Know takes in what the hospital knows of a device by now: in which ward it is, and
// how much its patient depends on it. Its ring stays. It is no event: the next
// evaluation is by it, and it is to be said again after [New].
func (r *Rollout) Know(u Unit) {
	if i, ok := r.index[u.Device]; ok {
		r.members[i].unit = u
	}
}

// Apply takes an event in. Those of other roll-outs and of other kinds change nothing;
// an error is one that this roll-out cannot have written.
func (r *Rollout) Apply(e *event.Event) error {
	switch e.Kind {
	case event.RolloutStarted, event.RolloutHalted, event.RolloutResumed:
		r.cfg.Never.Apply(e)
	}
	if e.Text(event.Rollout) != r.cfg.ID {
		return nil
	}
	switch e.Kind {
	case event.RolloutStarted:
		if e.Text(event.Plan) != r.digest {
			return fmt.Errorf("roll-out %s was started with another plan, release, or list of devices", r.cfg.ID)
		}
		r.started, r.startedAt = true, e.Time
		return nil
	case event.RingOpened:
		if i := slices.IndexFunc(r.cfg.Plan.Rings, func(g Ring) bool { return g.Name == e.Text(event.Ring) }); i >= 0 && i == r.open {
			r.rings[i].began = e.Time
			r.open = i + 1
		}
		return nil
	case event.RolloutPaused:
		r.paused = true
		if !r.halted {
			r.by, r.why = e.Text(event.Actor), e.Text(event.Reason)
		}
		return nil
	case event.RolloutHalted:
		r.halted, r.final = true, r.final || e.Int(event.Final) != 0
		r.by, r.why = e.Text(event.Actor), e.Text(event.Reason)
		if dev := e.Text(event.Target); dev != "" {
			r.why = dev + ": " + r.why
		}
		return nil
	case event.RolloutResumed:
		if !r.final && len(r.lostFunction) == 0 {
			r.paused, r.halted, r.by, r.why = false, false, "", ""
			r.fallBack.at, r.settings.at = 0, 0
			r.lostSettings, r.silent = nil, nil
		}
		return nil
	case event.UpdateOverridden:
		o := relaxed{until: time.Unix(e.Int(event.NotAfter), 0).UnixNano()}
		if o.gate.UnmarshalText([]byte(e.Text(event.Gate))) != nil || !Relaxable(o.gate) {
			return ErrGate
		}
		switch i, ok := r.index[e.Device.Value]; {
		case ok:
			r.members[i].over = append(r.members[i].over, o)
		case e.Device.Value == r.cfg.Site:
			r.wide = append(r.wide, o)
		default:
			return ErrNoDevice
		}
		return nil
	}
	i, ok := r.index[e.Device.Value]
	if !ok {
		return ErrNoDevice
	}
	return r.apply(i, &r.members[i], e)
}

// apply takes in an event about a device.
func (r *Rollout) apply(i int32, m *member, e *event.Event) error {
	switch e.Kind {
	case event.UpdateOffered:
		m.number, m.issued = max(m.number, uint64(e.Int(event.Offer))), e.Time
		m.expires, m.install = time.Unix(e.Int(event.NotAfter), 0).UnixNano(), e.Int(event.Install) != 0
		m.waits, m.why = 0, ""
		if m.install && !m.told {
			m.told, m.silent, m.ward = true, false, e.Text(event.Place)
			m.claim, m.shown, m.resumed = nil, false, false
			r.out[m.ward]++
			r.told[i] = struct{}{}
		}
		if m.install {
			m.lapses = m.expires
			r.soonest(m.lapses + int64(r.cfg.Plan.Bounds.Silence))
		}
	case event.UpdateWaited:
		if err := m.waits.UnmarshalText([]byte(e.Text(event.Gates))); err != nil {
			return err
		}
		m.why = e.Text(event.Reason)
		if m.told && e.Time > m.lapses { // the offer lapsed: it runs what it ran
			r.back(i, m)
		}
	case event.ConsentGiven, event.ConsentWithdrawn:
		whose := slices.Index(consents[:], e.Text(event.Consent))
		if whose < 0 {
			return errors.New("consent is the clinician's or the patient's")
		}
		given := e.Kind == event.ConsentGiven
		m.consent[whose] = given && e.Text(event.Terms) == r.cfg.Plan.Consent.Terms
		if m.withdrawn[whose] = !given; !given {
			m.void = m.number
		}
	case event.UpdateAttended:
		if err := m.attended.UnmarshalText([]byte(e.Text(event.Attended))); err != nil {
			return err
		}
		m.spare, m.until = e.Int(event.Spare) != 0, time.Unix(e.Int(event.NotAfter), 0).UnixNano()
	case event.UpdateReported:
		m.claim = &claim{
			offer: uint64(e.Int(event.Offer)), resumed: e.Int(event.Resumed) != 0, selfTest: e.Int(event.SelfTest) != 0,
			kept: e.Int(event.SettingsKept) != 0, took: time.Duration(e.Int(event.Took)) * time.Millisecond, by: e.Text(event.Actor),
		}
	case event.UpdateShown:
		if !m.shown {
			m.shownAt = e.Time
			r.soonest(e.Time + int64(r.demands.Resume))
		}
		m.shown, m.resumed = true, m.resumed || e.Int(event.Resumed) != 0
	case event.UpdateSilent:
		if m.told && !m.silent {
			m.silent = true
			r.silent = append(r.silent, i)
			r.fallBack.step(true)
		}
	case event.UpdateRuledOut:
		m.owner, m.control, m.said, m.endedAt = e.Text(event.Owner), e.Text(event.Control), e.Text(event.Reason), e.Time
		m.review = e.Int(event.NotAfter)
		if m.outcome == patch.NoOutcome || m.outcome == patch.Refused || m.outcome == patch.FellBack {
			m.outcome = patch.Unable
		}
		m.void = m.number
	case event.UpdateEnded:
		var o patch.Outcome
		if err := o.UnmarshalText([]byte(e.Text(event.Ended))); err != nil {
			return err
		}
		r.end(i, m, o, e)
	}
	return nil
}

// end takes in how an update ended. What was said last counts, but for what is worse:
// that is never taken back.
func (r *Rollout) end(i int32, m *member, o patch.Outcome, e *event.Event) {
	offer, before := uint64(e.Int(event.Offer)), m.outcome
	m.heard = max(m.heard, offer)
	m.said, m.endedAt = e.Text(event.Reason), e.Time
	wasSilent := m.silent
	r.back(i, m)
	g := &r.rings[m.ring]
	switch o {
	case patch.Refused:
		m.refused++
		if m.refused < maxRefused || before != patch.NoOutcome {
			return
		}
	case patch.Withdrawn, patch.NoOutcome, patch.Unable:
		return
	case patch.LostFunction:
		if before == o {
			return
		}
		r.lostFunction = append(r.lostFunction, i)
	case patch.LostSettings:
		if before == o || before == patch.LostFunction {
			return
		}
		r.lostSettings = append(r.lostSettings, i)
		r.settings.step(true)
	default:
		if before != patch.NoOutcome && before != patch.Unable {
			return
		}
	}
	m.outcome = o
	if before == patch.Installed {
		g.installed--
		g.failed++
		return
	}
	switch {
	case o == patch.Refused || o == patch.Installed && offer == 0: // nothing was tried
		return
	case o == patch.Installed:
		if g.installed++; g.installed == r.cfg.Plan.Rings[m.ring].Finished {
			g.enough = e.Time
		}
	default:
		g.failed++
	}
	if !wasSilent { // else it counted already
		r.fallBack.step(o == patch.FellBack)
	}
	if o != patch.LostSettings {
		r.settings.step(false)
	}
}

// soonest notes that a device may be overdue from then on.
func (r *Rollout) soonest(at int64) {
	if r.earliest == 0 || at < r.earliest {
		r.earliest = at
	}
}

// back notes that it is known again what a device runs.
func (r *Rollout) back(i int32, m *member) {
	if m.told {
		m.told, m.silent = false, false
		r.out[m.ward]--
		delete(r.told, i)
	}
}

// cause returns why a roll-out is to be halted, of itself; "" when it is not. Device is
// which gave cause, or "".
func (r *Rollout) cause() (why, dev string, final bool) {
	name := func(list []int32) string { return r.members[list[0]].unit.Device }
	b := &r.cfg.Plan.Bounds
	switch {
	case len(r.lostFunction) > 0:
		return "loss of function", name(r.lostFunction), true
	case r.settings.exceeded():
		return fmt.Sprintf("settings are lost more often than in %g %% of updates", b.LostSettings.Most), "", true
	case len(r.lostSettings) > 0:
		return "settings were lost", name(r.lostSettings), false
	case r.fallBack.exceeded():
		return fmt.Sprintf("devices fall back more often than in %g %% of updates", b.FallBack.Most), "", false
	case len(r.silent) >= b.Silent:
		return "no word since the update", name(r.silent), false
	}
	return "", "", false
}

// Halted reports whether nothing is offered any more, by events or by what follows from
// them; and why, by whom ("" is by itself), and whether for good.
func (r *Rollout) Halted() (halted bool, why, by string, final bool) {
	if r.halted {
		return true, r.why, r.by, r.final || len(r.lostFunction) > 0
	}
	if why, dev, final := r.cause(); why != "" {
		if dev != "" {
			why = dev + ": " + why
		}
		return true, why, "", final
	}
	if h := r.cfg.Never.Refuses(r.cfg.Release); h != nil {
		return true, "its release was halted in the roll-out " + h.Rollout + ": " + h.Why, h.By, h.Final
	}
	return false, "", "", false
}

// stopped reports whether nothing is offered: it has not begun, pauses, or is halted.
func (r *Rollout) stopped() bool {
	if !r.started || r.paused || r.halted || r.cfg.Never.Refuses(r.cfg.Release) != nil {
		return true
	}
	why, _, _ := r.cause()
	return why != ""
}

// note is an event of the roll-out; about no device when dev is "".
func (r *Rollout) note(kind event.Kind, dev string, now time.Time, attrs ...event.Attr) event.Event {
	if dev == "" {
		dev = r.cfg.Site
	}
	e := event.Event{Kind: kind, Time: now.UnixNano(), Device: device.Address{Kind: device.Host, Value: dev}}
	e.Add(event.Text(event.Rollout, r.cfg.ID))
	e.Add(attrs...)
	return e
}

// Commit writes events down and takes them in, one after the other. What record does
// not take, nor what follows it, has not happened.
func (r *Rollout) Commit(events []event.Event, record func(*event.Event) error) error {
	for i := range events {
		if err := record(&events[i]); err != nil {
			return err
		}
		if err := r.Apply(&events[i]); err != nil {
			return err
		}
	}
	return nil
}
