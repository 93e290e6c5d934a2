// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/agent"
	"github.com/myelin-health/myelin/patch/delta"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
)

// oldest is the version of a release before the one with the weakness, of every program.
const oldest = "0.1.0"

// releases are what a row's maker released, by the names of its bill of materials.
func (row *Row) releases() (r legacy.Releases, err error) {
	p := row.SBOM
	if p == (Parts{}) || len(row.Attack) == 0 {
		return r, errNoWay
	}
	model := row.Attack[0].Device
	if slices.ContainsFunc(row.Attack, func(a *legacy.Attack) bool { return a.Device != model }) {
		return r, errors.New("its attacks are against several devices, and a release is of one")
	}
	return legacy.ReleasesOf(model, p.Component, oldest, p.Version, p.Fixed), nil
}

// mend brings the release in which the row's weakness is mended to a device that has it, the way that Myelin does, and
// holds it to that: the row's attack succeeds before and not after, each attack on updates that succeeds on an unprotected
// updater is refused, with the device as it was, and there is no way back.
func mend(ctx context.Context, w *world, row *Row) (report.DrillCell, error) {
	r, err := row.releases()
	if err == nil {
		err = row.unprotected(ctx, r)
	}
	how := ""
	if err == nil {
		how, err = w.mended(ctx, row, r)
	}
	if err != nil {
		return cell(report.DrillFailed, "%v", err), ctx.Err()
	}
	return cell(report.DrillStopped, "%s", how), nil
}

// env is what an attack on the device has.
func env(p legacy.Program) *legacy.Env {
	e := &legacy.Env{Clock: legacy.NewClock(story)}
	if p.Mended {
		e.Patience = patience
	}
	return e
}

// hurts runs attacks on what a unit runs, and says what the first did that did something, or "".
func hurts(ctx context.Context, u *legacy.Unit, attacks ...*legacy.Attack) (string, error) {
	for _, a := range attacks {
		d := u.Device()
		if d == nil {
			return "", errNothing
		}
		p, _ := u.Program()
		o, err := a.TryOn(ctx, d, nil, env(p))
		if err != nil || o.Hurt {
			return o.How, err
		}
	}
	return "", nil
}

var errNothing = errors.New("nothing runs")

// unprotected runs each attack on updates against the unprotected updater, and after it the row's own. An error is that one did
// not succeed, or that the updater does not bring what is mended to who is not attacked either.
func (row *Row) unprotected(ctx context.Context, r legacy.Releases) error {
	s, unit, err := r.Honest(ctx, env(r.Weak))
	if err == nil && s.Mended {
		var how string
		if how, err = hurts(ctx, unit, row.Attack...); how != "" {
			err = fmt.Errorf("%s has the weakness still: %s", s.Runs, how)
		}
	}
	if err != nil || !s.Mended {
		return fmt.Errorf("the unprotected updater brings nothing that helps: %w", errors.Join(err, errors.New(s.Runs)))
	}
	for i := range legacy.UpdateAttacks {
		a := &legacy.UpdateAttacks[i]
		o, err := a.Try(ctx, r, env(r.Weak))
		if err != nil {
			return err
		}
		if !o.Hurt {
			return fmt.Errorf("%s does not succeed on the unprotected updater", a.Name)
		}
		if o.Unit.Device() == nil {
			continue // nothing runs that could be attacked
		}
		if how, err := hurts(ctx, o.Unit, row.Attack[0]); err != nil || how == "" {
			return errors.Join(fmt.Errorf("after %s on the unprotected updater the row's attack does not succeed", a.Name), err)
		}
	}
	return nil
}

// mended is the row by Myelin's way. It says what was held.
func (w *world) mended(ctx context.Context, row *Row, r legacy.Releases) (how string, err error) {
	for _, a := range row.Attack { // each on one that was just started: some leave it deaf
		u, err := legacy.NewUnit(a.Device, legacy.Config{Now: legacy.NewClock(story).Now}, r.Weak.Image())
		if err != nil {
			return "", err
		}
		if how, err := hurts(ctx, u, a); err != nil || how == "" {
			return "", errors.Join(fmt.Errorf("%s does nothing to %s %s", a.Name, r.Weak.Name, r.Weak.Version), err)
		}
	}
	s, err := newStock(ctx, r, filepath.Join(w.dir, row.ID+"-updates"))
	defer func() { err = errors.Join(err, s.close()) }()
	if err != nil {
		return "", err
	}
	by, kept := "CoAP and OSCORE, signed by its maker and offered by the hospital", ""
	if s.repositories != nil {
		by = "HTTPS, signed by its maker, in his and the hospital's TUF repository, and offered by the hospital"
	}
	err = s.bed(ctx, s.repositories != nil, func(b *bed) error {
		if err := b.installs(ctx); err != nil {
			return err
		}
		if b.patient.unit.Programmed() != nil {
			kept = " with settings and therapy as they were"
		}
		if how, err := hurts(ctx, b.patient.unit, row.Attack...); err != nil || how != "" {
			return errors.Join(fmt.Errorf("%s %s is installed, and the attack succeeds: %s", r.Mended.Name, r.Mended.Version, how), err)
		}
		if err := b.refusesOld(ctx); err != nil {
			return fmt.Errorf("once %s was confirmed: %w", r.Mended.Version, err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	modelled := ""
	if row.Attack[0].Realism == legacy.Modelled {
		modelled = " (modelled)"
	}
	var refused []string
	for i := range legacy.UpdateAttacks {
		name := legacy.UpdateAttacks[i].Name
		if updateAttacks[name] == nil {
			return "", fmt.Errorf("%s succeeds on an unprotected updater, and was not tried", name)
		}
		how, err := s.attacked(ctx, false, updateAttacks[name])
		if err == nil && s.repositories != nil && metadataAttacks[name] != nil {
			var more string
			more, err = s.attacked(ctx, true, metadataAttacks[name])
			how += "; " + more
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		refused = append(refused, name+" ("+how+")")
	}
	return fmt.Sprintf("%s %s came by %s; it replaced %s%s, the attack%s does nothing any more, and %s is refused from then on. Each attack on the "+
		"update itself succeeded on an unprotected updater and was refused here, with the device as it was, and the good release installed after it: %s",
		r.Mended.Name, r.Mended.Version, by, r.Weak.Version, kept, modelled, r.Weak.Version, strings.Join(refused, ", ")), nil
}

// attacked makes a device, attacks its update, and has it take the good release after that.
func (s *stock) attacked(ctx context.Context, verifies bool, attack func(context.Context, *bed) (string, error)) (how string, err error) {
	err = s.bed(ctx, verifies, func(b *bed) (err error) {
		if how, err = attack(ctx, b); err != nil {
			return err
		}
		if err = b.installs(ctx); err != nil {
			err = fmt.Errorf("after it: %w", err)
		}
		return err
	})
	return how, err
}

// A stock is what a row's makers and hospital have: keys, releases, repositories.
type stock struct {
	*supply
	older, weak, mended, other *release
	altered                    *release // by a thief, of what is mended

	repositories *repositories // nil: the device has no room for TUF
}

// newStock releases what a row's maker does, and publishes it where the device verifies TUF repositories. It is to be closed,
// after an error too.
func newStock(ctx context.Context, r legacy.Releases, dir string) (s *stock, err error) {
	s = new(stock)
	if s.supply, err = newSupply(); err != nil {
		return s, err
	}
	for _, x := range []struct {
		to       **release
		by       *signatory
		p        legacy.Program
		image    []byte
		sequence uint64
	}{
		{&s.older, &s.maker, r.Older, r.Older.Image(), 10},
		{&s.weak, &s.maker, r.Weak, r.Weak.Image(), 20},
		{&s.mended, &s.maker, r.Mended, r.Mended.Image(), 30},
		{&s.other, &s.maker, r.Other, r.Other.Image(), 40},
		{&s.altered, &s.thief, r.Mended, r.Mended.Altered(), 30},
	} {
		if *x.to, err = x.by.release(x.p, x.image, x.sequence); err != nil {
			return s, err
		}
	}
	if hasOS[r.Weak.Model] {
		s.repositories, err = newRepositories(ctx, dir, s)
	}
	return s, err
}

func (s *stock) close() error {
	if s.repositories == nil {
		return nil
	}
	return s.repositories.close()
}

// A bed is where a device is updated: it, the hospital's server, and whoever stands on the way to that.
//
// Who takes the steps of the device holds mu, but for while the device asks the server.
type bed struct {
	mu sync.Mutex
	*hospital
	patient *patient
	clock   *legacy.Clock
	voucher *voucher // nil: the device does not look at TUF repositories

	// answer, where somebody stands on the way, answers in the server's place.
	answer func(ctx context.Context, state []byte) ([]byte, error)
}

// bed makes a device that runs the release with the weakness, and knows nothing of the one in which it is mended.
func (s *stock) bed(ctx context.Context, verifies bool, do func(*bed) error) error {
	b := &bed{clock: legacy.NewClock(story)}
	b.hospital = &hospital{stock: s, now: b.clock.Now, files: map[string][]byte{}}
	way := b.overCoAP
	if hasOS[s.weak.Model] {
		way = b.overHTTPS
	}
	server, stop, err := way(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if verifies {
		if b.voucher, err = newVoucher(s, b.clock.Now); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock() // before the server ends, which may be answering
	if b.patient, err = newPatient(b, asking{server, &b.mu}); err != nil {
		return err
	}
	return do(b)
}

// Poll implements [agent.Server].
func (b *bed) Poll(ctx context.Context, state []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answer != nil {
		return b.answer(ctx, state)
	}
	return b.hospital.Poll(ctx, state)
}

// How long things take, at the most.
const (
	soon = 6 * time.Minute // an update, when nobody waits for anything
	day  = 24 * time.Hour
)

// installs has the good release installed, and holds the device to it.
func (b *bed) installs(ctx context.Context) error {
	before, err := b.patient.stands()
	if err != nil {
		return err
	}
	settings := b.patient.settings()
	b.answer = nil
	if b.voucher != nil {
		b.voucher.mirrors = b.repositories.now
	}
	n := b.assign(b.mended, b.weak.Version).Number
	said, err := b.patient.live(ctx, soon)
	if err != nil {
		return err
	}
	program, genuine := b.patient.unit.Program()
	switch r := b.receipt(n); {
	case r == nil || r.Outcome != patch.Installed || program != b.mended.Program || !genuine:
		return errors.Join(fmt.Errorf("%s is not installed: %s", b.mended.Version, outcome(r)), said)
	case b.patient.settings() != settings || r.Before != r.After || !r.Resumed || b.patient.starts != before.starts+1:
		return errors.New("settings or therapy are not what they were")
	}
	return nil
}

// receipt is what the device said came of an offer, signed; nil is nothing.
func (b *bed) receipt(offer uint64) *patch.Result {
	for _, r := range b.results {
		if r.Offer == offer {
			return r
		}
	}
	return nil
}

func outcome(r *patch.Result) string {
	if r == nil {
		return "nothing came of it"
	}
	return r.Outcome.String() + ", " + r.Reason
}

// refuses has the device live for a while with something that it must not believe, and holds it to how it stood. What is wrong
// has to be one of these errors, or, where there is an offer, the device has to say that it refused it.
func (b *bed) refuses(ctx context.Context, span time.Duration, offer uint64, errs ...error) error {
	before, err := b.patient.stands()
	if err != nil {
		return err
	}
	said, err := b.patient.live(ctx, span)
	if err != nil {
		return err
	}
	if err := b.patient.as(before); err != nil {
		return err
	}
	if b.patient.starts != before.starts {
		return errors.New("the device was started again")
	}
	if len(errs) > 0 && !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(said, e) }) {
		return errors.Join(errors.New("the device does not say why it should refuse it"), said)
	}
	if r := b.receipt(offer); offer > 0 && (r == nil || r.Outcome != patch.Refused) {
		return fmt.Errorf("the device does not say that it refused it: %s", outcome(r))
	}
	return nil
}

// refusesOld offers the release with the weakness to a device in which it is mended.
func (b *bed) refusesOld(ctx context.Context) error {
	old := *b.offered // that was taken
	if err := b.refuses(ctx, soon, b.assign(b.weak, b.mended.Version).Number); err != nil {
		return err
	}
	b.offered = &old
	return b.refuses(ctx, soon, 0, agent.ErrReplay)
}

// updateAttacks are the attacks of [legacy.UpdateAttacks] on Myelin's way, by their names. Each says what was tried; an error is
// that the device gave in.
var updateAttacks = map[string]func(ctx context.Context, b *bed) (string, error){
	"altered":     altered,
	"downgraded":  downgraded,
	"wrong-model": wrongModel,
	"swapped":     swapped,
	"frozen":      frozen,
	"mixed":       mixed,
}

// altered serves a changed image and a delta to it, then a changed envelope for it too, and then has the hospital itself offer that.
func altered(ctx context.Context, b *bed) (string, error) {
	change, err := delta.Diff(b.weak.image, b.altered.image, delta.Options{})
	if err != nil {
		return "", err
	}
	o := b.assign(b.mended, b.weak.Version)
	b.files[b.mended.folder()+"/image"], b.files[b.mended.folder()+"/"+b.weak.Version+".delta"] = b.altered.image, change
	if err := b.refuses(ctx, soon, o.Number, suit.ErrCondition, agent.ErrBytes); err != nil {
		return "", fmt.Errorf("a changed image: %w", err)
	}
	o = b.assign(b.mended, b.weak.Version)
	b.keep(b.altered) // and the delta
	if err := b.refuses(ctx, soon, o.Number, agent.ErrBytes); err != nil {
		return "", fmt.Errorf("a changed envelope: %w", err)
	}
	o = b.assign(b.altered, b.weak.Version)
	if err := b.refuses(ctx, soon, o.Number, suit.ErrVerification); err != nil {
		return "", fmt.Errorf("an envelope that somebody else signed: %w", err)
	}
	return "the image, a delta, the envelope, and another signer's that the hospital itself offers", nil
}

// downgraded offers an older release, and then the same under a newer one's name.
func downgraded(ctx context.Context, b *bed) (string, error) {
	o := b.assign(b.older, b.weak.Version)
	if err := b.refuses(ctx, soon, o.Number); err != nil {
		return "", err
	}
	o = b.assign(b.older, b.weak.Version)
	o.Version, o.Sequence = b.mended.Version, b.mended.sequence
	if err := b.refuses(ctx, soon, o.Number); err != nil {
		return "", fmt.Errorf("called newer: %w", err)
	}
	return "an older release, by its name and by a newer one's", nil
}

// wrongModel offers the maker's release for another device.
func wrongModel(ctx context.Context, b *bed) (string, error) {
	o := b.assign(b.other, b.weak.Version)
	return "the maker's release for " + b.other.Model, b.refuses(ctx, soon, o.Number, suit.ErrCondition)
}

// swapped changes what is staged: before the switch, and between the switch and the start.
func swapped(ctx context.Context, b *bed) (string, error) {
	before, err := b.patient.stands()
	if err != nil {
		return "", err
	}
	o := b.assign(b.mended, b.weak.Version)
	if err := b.staged(ctx); err != nil {
		return "", err
	}
	b.spoil()
	if err := b.refuses(ctx, soon, o.Number); err != nil {
		return "", fmt.Errorf("before the switch: %w", err)
	}
	o = b.assign(b.mended, b.weak.Version)
	b.patient.meanwhile = b.spoil
	if _, err := b.patient.live(ctx, soon); err != nil {
		return "", err
	}
	b.patient.meanwhile = nil
	if err := b.patient.as(before); err != nil {
		return "", fmt.Errorf("between the switch and the start: %w", err)
	}
	if r := b.receipt(o.Number); r == nil || r.Outcome != patch.FellBack {
		return "", fmt.Errorf("between the switch and the start: the device does not say that it fell back: %s", outcome(r))
	}
	return "in the slot, before the switch and between switch and start", nil
}

// staged waits until the release is staged.
func (b *bed) staged(ctx context.Context) error {
	for until := b.clock.Now().Add(soon); b.clock.Now().Before(until); b.clock.Advance(time.Second) {
		if s := b.patient.agent.State(); s.Staged == b.offered.Envelope {
			return nil
		}
		if _, err := b.patient.agent.Step(ctx); err != nil {
			return err
		}
	}
	return errors.New("it is not staged")
}

// spoil writes the altered image into the slot that is staged.
func (b *bed) spoil() {
	staged := 1
	if b.patient.agent.State().Slot == "B" {
		staged = 0
	}
	copy(b.patient.slots[staged].Bytes, b.altered.image)
}

// frozen keeps the device from hearing of what is new: by answers of yesterday, by answers that nobody signed, and by an
// offer that is over.
func frozen(ctx context.Context, b *bed) (string, error) {
	var yesterday []byte
	b.answer = func(ctx context.Context, state []byte) (a []byte, err error) {
		if yesterday == nil {
			yesterday, err = b.hospital.Poll(ctx, state)
		}
		return yesterday, err
	}
	if _, err := b.patient.live(ctx, time.Minute); err != nil {
		return "", err
	}
	b.assign(b.mended, b.weak.Version) // which nobody tells it
	if err := b.patient.start(); err != nil {
		return "", err
	}
	if err := b.refuses(ctx, day, 0, agent.ErrAnswer); err != nil {
		return "", fmt.Errorf("yesterday's answer: %w", err)
	}
	b.answer, b.offered = nil, nil
	if _, err := b.patient.live(ctx, soon); err != nil { // it knows the time now
		return "", err
	}
	then := b.clock.Now()
	b.answer = func(_ context.Context, state []byte) ([]byte, error) {
		var s patch.State
		if err := patch.Open(state, &s, b.device.signs); err != nil {
			return nil, err
		}
		a := &patch.Answer{Device: unitID, Next: time.Hour}
		if s.Nonce == nil {
			return patch.Append(nil, a), nil // as a server's is that is known by its channel
		}
		a.Nonce, a.Time = s.Nonce, then
		return patch.Sign(a, b.thief, b.thief.kid)
	}
	if err := b.refuses(ctx, day, 0, patch.ErrSigner); err != nil {
		return "", fmt.Errorf("somebody else's answers: %w", err)
	}
	b.answer = nil
	b.assign(b.mended, b.weak.Version).Expires = b.clock.Now().Add(-time.Hour)
	if err := b.refuses(ctx, soon, 0, agent.ErrExpired); err != nil {
		return "", fmt.Errorf("an offer that is over: %w", err)
	}
	return "an old answer, somebody else's answers, an offer that is over", nil
}

// mixed serves parts of two releases as one.
func mixed(ctx context.Context, b *bed) (string, error) {
	b.assign(b.mended, b.weak.Version)
	b.files[b.mended.folder()+"/envelope"] = b.weak.envelope
	if err := b.refuses(ctx, soon, 0, agent.ErrBytes, io.EOF); err != nil { // where it is shorter it is asked for again, for ever
		return "", fmt.Errorf("the old envelope under the new offer: %w", err)
	}
	o := b.assign(b.mended, b.weak.Version)
	b.files[b.mended.folder()+"/image"] = b.weak.image
	if err := b.refuses(ctx, soon, o.Number, suit.ErrCondition, agent.ErrBytes); err != nil {
		return "", fmt.Errorf("the old image under the new envelope: %w", err)
	}
	o = b.assign(b.weak, b.weak.Version)
	o.Version, o.Sequence = b.mended.Version, b.mended.sequence
	if err := b.refuses(ctx, soon, o.Number); err != nil {
		return "", fmt.Errorf("the old release under the new one's name: %w", err)
	}
	return "the old envelope, the old image, the old release by the new one's name", nil
}
