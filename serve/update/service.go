// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// What people do and see, by pages and by the API alike. Each method that changes
// something is durable when it returns without an error; it is in the ledger twice: as
// a deed of the person (before, and with what came of it), and as the roll-out's event.
// Who may call which is the routes' to see to (see access.Permissions), but for what the
// plan of a roll-out adds; who sees only some products finds nothing of the others. An
// error is an [access.Error] in words for who asked, or the store's.

// List is every roll-out that who may see, the newest first.
func (s *Service) List(who *access.Principal) []rollout.Progress {
	s.fold.Lock()
	defer s.fold.Unlock()
	list := []rollout.Progress{}
	for _, r := range slices.Backward(s.rollouts) {
		if who.Sees(r.Release().Product()) {
			list = append(list, r.Progress())
		}
	}
	return list
}

// View calls f with a roll-out, which nobody changes meanwhile: f reads it, keeps nothing
// of it, and is quick. [store.ErrNotFound].
func (s *Service) View(who *access.Principal, id string, f func(r *rollout.Rollout, now time.Time) error) error {
	s.fold.Lock()
	defer s.fold.Unlock()
	if err := s.mend(context.Background()); err != nil {
		return err
	}
	r, err := s.find(who, id)
	if err != nil {
		return err
	}
	return f(r.Rollout, s.cfg.Now())
}

// find returns a roll-out that who may see. fold is held.
func (s *Service) find(who *access.Principal, id string) (*running, error) {
	for _, r := range s.rollouts {
		if r.ID() == id && who.Sees(r.Release().Product()) {
			return r, nil
		}
	}
	return nil, store.ErrNotFound
}

// Waits is what a device waits for in a roll-out, by what it said last, in words; empty:
// for nothing. Of a device that is not in it, [store.ErrNotFound].
func (s *Service) Waits(ctx context.Context, who *access.Principal, id, device string) ([]patch.Wait, error) {
	h, err := s.Heard(ctx, device)
	if err != nil {
		return nil, err
	}
	s.fold.Lock()
	defer s.fold.Unlock()
	if err := s.mend(ctx); err != nil {
		return nil, err
	}
	r, err := s.find(who, id)
	if err != nil {
		return nil, err
	}
	if _, ok := r.Member(device); !ok {
		return nil, store.ErrNotFound
	}
	s.others(r, device, &h)
	return r.Waits(device, h, s.cfg.Now()), nil
}

// Heard is what a device said last of itself, and of when that is; nothing when it said
// nothing yet.
func (s *Service) Heard(ctx context.Context, device string) (rollout.Heard, error) {
	m, _, err := s.cfg.Store.UpdateMemberOf(ctx, device)
	if err != nil || m == nil {
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return rollout.Heard{}, err
	}
	signed, err := cose.ParseSign1(m.State)
	if err != nil {
		return rollout.Heard{}, err
	}
	st := &patch.State{}
	if err := patch.Parse(signed.Payload, st); err != nil {
		return rollout.Heard{}, err
	}
	return s.heard(st, time.Unix(0, m.Seen)), nil
}

// heard says of when a State is that came at a time: at the earliest when the challenge
// was given that it echoes; without one it may be of any time.
func (s *Service) heard(st *patch.State, came time.Time) rollout.Heard {
	h := rollout.Heard{State: st}
	if age, ok := s.age(came, st.Device, st.Echo); ok {
		h.At = came.Add(-age)
	}
	return h
}

// Events are those of a roll-out, of one device unless that is "", the newest first:
// those before a number, unless that is 0.
func (s *Service) Events(ctx context.Context, who *access.Principal, id, device string, before int64, limit int) ([]store.RolloutEvent, error) {
	if err := s.View(who, id, func(*rollout.Rollout, time.Time) error { return nil }); err != nil {
		return nil, err
	}
	return s.cfg.Store.RolloutEvents(ctx, store.RolloutQuery{Rollout: id, Device: device, After: before, Limit: limit, Newest: true})
}

// Never is what no roll-out offers any more.
func (s *Service) Never(who *access.Principal) []rollout.Halted {
	s.fold.Lock()
	defer s.fold.Unlock()
	list := []rollout.Halted{}
	for _, h := range s.never.List() {
		if who.Sees(h.Product) {
			list = append(list, h)
		}
	}
	return list
}

// A Release is one that somebody took in, and where its envelope is.
type Release struct {
	patch.Release
	Path  string    `json:"path"` // below /update/v1/
	By    string    `json:"by"`
	Added time.Time `json:"added"`
}

// Releases lists those that who may see, the newest first.
func (s *Service) Releases(ctx context.Context, who *access.Principal) ([]Release, error) {
	rows, err := s.cfg.Store.Releases(ctx, who.Products())
	if err != nil {
		return nil, err
	}
	list := []Release{}
	for i := range rows {
		r := Release{Path: rows[i].Path, By: rows[i].By, Added: time.Unix(0, rows[i].At).UTC()}
		if err := json.Unmarshal(rows[i].Doc, &r.Release); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// AddRelease takes in a release whose envelope is at a path of DATA/updates: its digest
// and its length have to be those that the release says.
func (s *Service) AddRelease(ctx context.Context, who *access.Principal, r *patch.Release, at string) error {
	switch {
	case r.Manufacturer == "" || r.Model == "" || r.Version == "" || r.Sequence == 0:
		return wrong("A release has a manufacturer, a model, a version and a sequence number.")
	case r.Envelope == patch.Digest{}:
		return wrong("A release names the digest of its envelope.")
	}
	if err := s.same(at, r); err != nil {
		return err
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.cfg.Act(who.Person.Login, "add release", r.Product()+" "+r.Version, "", func() (int, error) {
		err := s.cfg.Store.AddRelease(ctx, &store.UpdateRelease{Envelope: r.Envelope.String(), Product: r.Product(), Version: r.Version, Sequence: r.Sequence, Path: at, By: who.Person.Login, Doc: doc})
		if errors.Is(err, store.ErrConflict) {
			err = fail(http.StatusConflict, "This release is here already.")
		}
		return 1, err
	})
}

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,79}$`)

// Create makes a roll-out of a release by a plan (YAML or JSON, see rollout.ParsePlan):
// of all devices of the release's product that are known now. Nothing is offered before
// [Service.Start].
func (s *Service) Create(ctx context.Context, who *access.Principal, id string, envelope patch.Digest, plan []byte, reason string) error {
	if !idForm.MatchString(id) {
		return wrong("The name of a roll-out has small letters, digits, dots and dashes, at most 80 of them.")
	}
	if _, err := rollout.ParsePlan("plan", plan); err != nil {
		return wrong(err.Error())
	}
	kept, err := s.cfg.Store.ReleaseOf(ctx, envelope.String())
	if errors.Is(err, store.ErrNotFound) || err == nil && !who.Sees(kept.Product) {
		return wrong("This release is not here. Take it in first.")
	}
	if err != nil {
		return err
	}
	units, err := s.unitsOf(ctx, kept.Product)
	if err != nil {
		return err
	}
	if len(units) == 0 {
		return wrong("There is no device of this product.")
	}
	row := &store.Rollout{ID: id, Envelope: kept.Envelope, By: who.Person.Login}
	if row.Doc, err = json.Marshal(planned{string(plan), units}); err != nil {
		return err
	}
	return s.cfg.Act(who.Person.Login, "create roll-out", id, reason, func() (int, error) {
		s.fold.Lock()
		defer s.fold.Unlock()
		if err := s.mend(ctx); err != nil {
			return 0, err
		}
		r, err := s.make(ctx, row, s.never)
		if err != nil {
			return 0, wrong(err.Error())
		}
		if err := s.cfg.Store.AddRollout(ctx, row); errors.Is(err, store.ErrConflict) {
			return 0, fail(http.StatusConflict, "There is a roll-out of this name.")
		} else if err != nil {
			return 0, err
		}
		s.rollouts = append(s.rollouts, r)
		return len(units), nil
	})
}

// unitsOf are the devices of a product, and what the hospital knows of them.
func (s *Service) unitsOf(ctx context.Context, product string) ([]rollout.Unit, error) {
	depends, err := s.cfg.Store.Dependencies(ctx)
	if err != nil {
		return nil, err
	}
	var units []rollout.Unit
	q := store.DeviceQuery{Products: []string{product}, Sort: "name", Page: store.Page{Limit: 1000}}
	for {
		l, err := s.cfg.Store.Devices(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range l.Rows {
			d := &l.Rows[i]
			units = append(units, rollout.Unit{Device: d.ID, Ward: d.Ward, Class: d.Class, Dependency: depends[d.ID].Word})
		}
		if q.After = l.Next; q.After == "" {
			return units, nil
		}
	}
}

// Start sends a roll-out on its way.
func (s *Service) Start(ctx context.Context, who *access.Principal, id, reason string) error {
	return s.act(ctx, who, "start roll-out", id, id, reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Start(by, reason, now)
	})
}

// Pause lets nothing more begin, until [Service.Resume].
func (s *Service) Pause(ctx context.Context, who *access.Principal, id, reason string) error {
	return s.act(ctx, who, "pause roll-out", id, id, reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Pause(by, reason, now)
	})
}

// Halt voids every offer of a roll-out; final: for good, and the release with it.
func (s *Service) Halt(ctx context.Context, who *access.Principal, id, reason string, final bool) error {
	return s.act(ctx, who, "halt roll-out", id, id, reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Halt(by, reason, final, now)
	})
}

// Resume lets a roll-out go on that pauses, or was halted and not for good.
func (s *Service) Resume(ctx context.Context, who *access.Principal, id, reason string) error {
	return s.act(ctx, who, "resume roll-out", id, id, reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Resume(by, reason, now)
	})
}

// Consent records that a device's patient, or her clinician, consents to the text of that
// version (the plan's terms).
func (s *Service) Consent(ctx context.Context, who *access.Principal, id, device string, whose rollout.Whose, terms, reason string) error {
	return s.act(ctx, who, "consent to update", id, id+" "+device, reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Consent(device, whose, by, terms, reason, now)
	})
}

// Withdraw takes consent back: what was offered to the device is void.
func (s *Service) Withdraw(ctx context.Context, who *access.Principal, id, device string, whose rollout.Whose, reason string) error {
	return s.act(ctx, who, "withdraw consent to update", id, id+" "+device, reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Withdraw(device, whose, by, reason, now)
	})
}

// Attend records that somebody is beside a device for so long, and whether there is a spare.
func (s *Service) Attend(ctx context.Context, who *access.Principal, id, device string, as patch.Supervision, spare bool, last time.Duration) error {
	if last <= 0 || last > maxAttend {
		return wrong("Somebody is beside a device for at most " + maxAttend.String() + ".")
	}
	return s.act(ctx, who, "attend update", id, id+" "+device, as.String(), func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Attend(device, as, spare, by, now.Add(last), now)
	})
}

const (
	maxAttend = 24 * time.Hour
	askLife   = time.Hour // between the first and the second who relax a gate
	maxAsked  = 1000
)

// An asked is a gate that one person wants to relax, and a second has to.
type asked struct {
	by     rollout.Somebody
	reason string
	last   time.Duration
	at     time.Time
}

// Override relaxes a gate for a device, or for all of a roll-out with device "", for so
// long: once two people of those that the plan names have asked for it, within an hour,
// one after the other. done false: a second has to.
func (s *Service) Override(ctx context.Context, who *access.Principal, id, device string, gate patch.Gate, last time.Duration, reason string) (done bool, err error) {
	key := strings.Join([]string{id, device, gate.String()}, "\x00")
	err = s.act(ctx, who, "relax gate: "+gate.String(), id, strings.TrimSpace(id+" "+device), reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		first, ok := s.asked[key]
		if ok && now.Sub(first.at) > askLife {
			ok = false
		}
		if !ok || first.by.Name == by.Name {
			// Would it do, with somebody else of the same role?
			other := by
			other.Name += "\x00"
			if _, err := r.Override(device, gate, by, other, reason, now.Add(last), now); err != nil {
				return nil, err
			}
			if len(s.asked) >= maxAsked {
				s.asked = map[string]asked{}
			}
			s.asked[key] = asked{by, reason, last, now}
			done = false
			return nil, nil
		}
		events, err := r.Override(device, gate, first.by, by, first.reason, now.Add(min(first.last, last)), now)
		if done = err == nil; done {
			delete(s.asked, key)
		}
		return events, err
	})
	return done && err == nil, err
}

// Asked is what waits for a second person who relaxes a gate: who asked, by gate, for a
// device, or for all of a roll-out with device "".
func (s *Service) Asked(who *access.Principal, id, device string) (map[patch.Gate]rollout.Somebody, error) {
	s.fold.Lock()
	defer s.fold.Unlock()
	if _, err := s.find(who, id); err != nil {
		return nil, err
	}
	out := map[patch.Gate]rollout.Somebody{}
	for key, a := range s.asked {
		p := strings.Split(key, "\x00")
		var g patch.Gate
		if p[0] == id && p[1] == device && g.UnmarshalText([]byte(p[2])) == nil && s.cfg.Now().Sub(a.at) <= askLife {
			out[g] = a.by
		}
	}
	return out, nil
}

// RuleOut records that a device cannot be updated: who owns that, which control holds
// instead, and when that is looked at again (zero: never).
func (s *Service) RuleOut(ctx context.Context, who *access.Principal, id, device, owner, control, reason string, review time.Time) error {
	return s.act(ctx, who, "rule device out of roll-out", id, id+" "+device, reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.RuleOut(device, owner, control, by, reason, review, now)
	})
}

// Report records how the person who installed an update says that it went, or that it
// did harm. What is good counts once a sensor or a receipt has shown it.
func (s *Service) Report(ctx context.Context, who *access.Principal, id, device string, res patch.Result) error {
	return s.act(ctx, who, "report update: "+res.Outcome.String(), id, id+" "+device, res.Reason, func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error) {
		return r.Report(device, res, by, now)
	})
}

// Judge records how much the patient who has a device now depends on it, in a word that
// plans have; "" takes it back.
func (s *Service) Judge(ctx context.Context, who *access.Principal, device, word, reason string) error {
	if len(word) > 80 {
		return wrong("A word has at most 80 letters.")
	}
	d, err := s.cfg.Store.Device(ctx, device)
	if err != nil {
		return err
	}
	if !who.Sees(strings.TrimSpace(d.Manufacturer + " " + d.Model)) {
		return store.ErrNotFound
	}
	return s.cfg.Act(who.Person.Login, "judge dependency", device, reason, func() (int, error) {
		if err := s.cfg.Store.SetDependency(ctx, &store.Dependency{Device: d.ID, Word: word, By: who.Person.Login}); err != nil {
			return 0, err
		}
		s.fold.Lock()
		defer s.fold.Unlock()
		return 1, s.know(ctx)
	})
}

// An Order is a device that a person is to update.
type Order struct {
	Rollout string    `json:"rollout"`
	Device  string    `json:"device"`
	Ward    string    `json:"ward"`
	Product string    `json:"product"`
	Version string    `json:"version"`
	Install bool      `json:"install"` // now; else it may be got ready
	Expires time.Time `json:"expires"`
}

// Orders are the open work orders that who may see, the first to expire first.
func (s *Service) Orders(who *access.Principal) []Order {
	s.fold.Lock()
	defer s.fold.Unlock()
	list := []Order{}
	for _, r := range s.rollouts {
		rel := r.Release()
		if r.Plan().Executor != rollout.Person || !who.Sees(rel.Product()) {
			continue
		}
		for m := range r.Members() {
			if !m.Void && (m.Status == rollout.Out || m.Status == rollout.Staging || m.Status == rollout.Waiting && m.Offer > 0) {
				list = append(list, Order{r.ID(), m.Device, m.Ward, rel.Product(), rel.Version, m.Status == rollout.Out && m.Shut == 0 && s.cfg.Now().Before(m.Expires), m.Expires})
			}
		}
	}
	slices.SortFunc(list, func(a, b Order) int {
		return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Rollout, b.Rollout), cmp.Compare(a.Device, b.Device))
	})
	return list
}

// A Key is what a device, or a gateway that speaks for it, signs with.
type Key struct {
	Device string `json:"device"`
	Key    []byte `json:"key"` // a COSE_Key, public; in JSON, base64
}

// MaxKeys is how many are registered at once.
const MaxKeys = 10_000

// Register lets keys speak for devices, all or none. It returns how many are new.
func (s *Service) Register(ctx context.Context, who *access.Principal, list []Key) (added int, err error) {
	if len(list) == 0 || len(list) > MaxKeys {
		return 0, wrong(fmt.Sprintf("Between 1 and %d keys are registered at once.", MaxKeys))
	}
	rows := make([]store.UpdateKey, len(list))
	for i := range list {
		k, err := cose.ParseKey(list[i].Key)
		switch {
		case list[i].Device == "" || len(list[i].Device) > 256:
			return 0, wrong(fmt.Sprintf("Key %d is for no device.", i+1))
		case err != nil:
			return 0, wrong(fmt.Sprintf("Key %d, of %s, is no COSE_Key.", i+1, list[i].Device))
		case k.D != nil || k.Type == cose.Symmetric:
			return 0, wrong(fmt.Sprintf("Key %d, of %s, is secret: register the public one, and take this one out of use.", i+1, list[i].Device))
		case k.Curve != cose.P256 && k.Curve != cose.CurveEd25519:
			return 0, wrong(fmt.Sprintf("Key %d, of %s, is on %v: take P-256 or Ed25519.", i+1, list[i].Device, k.Curve))
		}
		rows[i] = store.UpdateKey{Device: list[i].Device, KID: patch.KeyID(&k), Key: k.AppendPublic(nil), By: who.Person.Login}
	}
	target := list[0].Device
	if len(list) > 1 {
		target = fmt.Sprintf("%d devices", len(list))
	}
	err = s.cfg.Act(who.Person.Login, "register update keys", target, "", func() (int, error) {
		added, err = s.cfg.Store.AddUpdateKeys(ctx, rows)
		if errors.Is(err, store.ErrConflict) {
			err = fail(http.StatusConflict, "One of these keys was revoked. Make a new one.")
		}
		s.forget()
		return added, err
	})
	return added, err
}

// Revoke ends what a key speaks for, for good. [store.ErrNotFound].
func (s *Service) Revoke(ctx context.Context, who *access.Principal, kid []byte, reason string) error {
	return s.cfg.Act(who.Person.Login, "revoke update key", fmt.Sprintf("%x", kid), reason, func() (int, error) {
		defer s.forget()
		return 1, s.cfg.Store.RevokeUpdateKey(ctx, kid)
	})
}

// Keys lists keys by device, of one device unless it is "".
func (s *Service) Keys(ctx context.Context, device string, p store.Page) (*store.List[store.UpdateKey], error) {
	return s.cfg.Store.UpdateKeys(ctx, device, p)
}

func wrong(text string) error { return fail(http.StatusUnprocessableEntity, text) }

// act has a person do something to a roll-out: in whichever role of hers may.
func (s *Service) act(ctx context.Context, who *access.Principal, did, id, to, reason string, f func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error)) error {
	if err := s.View(who, id, func(*rollout.Rollout, time.Time) error { return nil }); err != nil {
		return err
	}
	return s.cfg.Act(who.Person.Login, did, to, reason, func() (n int, err error) {
		for range actTries {
			var b *batch
			if b, n, err = s.decided(ctx, who, id, f); err == nil && b != nil {
				err = b.wait(ctx)
			}
			if !errors.Is(err, store.ErrConflict) && !errors.Is(err, errBusy) {
				break // else another server decided something meanwhile
			}
		}
		return n, err
	})
}

const actTries = 5

func (s *Service) decided(ctx context.Context, who *access.Principal, id string, f func(r *running, by rollout.Somebody, now time.Time) ([]event.Event, error)) (*batch, int, error) {
	s.fold.Lock()
	defer s.fold.Unlock()
	if err := s.mend(ctx); err != nil {
		return nil, 0, err
	}
	r, err := s.find(who, id)
	if err != nil {
		return nil, 0, err
	}
	now := s.cfg.Now()
	var events []event.Event
	for _, role := range rolesOf(who) {
		if events, err = f(r, rollout.Somebody{Name: who.Person.Login, Role: role}, now); !errors.Is(err, rollout.ErrWho) {
			break
		}
	}
	if err != nil {
		return nil, 0, told(err)
	}
	steps, err := s.apply(r, events, now)
	if err != nil || len(steps) == 0 {
		return nil, 0, err
	}
	b, err := s.keep.add(nil, steps, true)
	if err != nil {
		s.damaged = true
	}
	return b, len(steps), err
}

// rolesOf are the words for what somebody is here for: those of package access, and what
// a clinician is.
func rolesOf(who *access.Principal) []string {
	var list []string
	for i, name := range access.Names() {
		if who.Roles&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	if who.Person.Clinical != "" {
		list = append(list, who.Person.Clinical)
	}
	return append(list, "")
}

// told puts what the engine refuses in words for who asked.
func told(err error) error {
	for e, status := range map[error]int{
		rollout.ErrNotNow: http.StatusConflict, rollout.ErrWho: http.StatusForbidden, rollout.ErrReason: http.StatusUnprocessableEntity,
		rollout.ErrGate: http.StatusUnprocessableEntity, rollout.ErrFinal: http.StatusConflict,
	} {
		if errors.Is(err, e) {
			text := err.Error()
			return fail(status, strings.ToUpper(text[:1])+text[1:]+".")
		}
	}
	if errors.Is(err, rollout.ErrNoDevice) {
		return store.ErrNotFound
	}
	return err
}
