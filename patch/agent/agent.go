// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/suit"
)

// A Device is what an agent updates: a body's therapy, as far as an update has to do
// with it. Its methods are called by one goroutine, and answer at once.
type Device interface {
	// State fills in what the device knows of itself now: Doing and Known, Battery,
	// Mains, Longevity, Link, Near, Settings, Saved. What it leaves is not known.
	State(s *patch.State)

	// Save saves the settings where no update reaches them, and returns their digest.
	Save() (patch.Digest, error)

	// Quiesce lets no therapy begin and no setting be changed from now on; what is
	// being given goes on, and what a rescue stops is stopped. A restart undoes it, and
	// it is called again while a version is on trial. Release undoes it, too.
	Quiesce() error
	Release()

	// Restart starts the device again, by way of [Boot]. On a real device it does not
	// return; the agent is of no use after it.
	Restart()

	// Watch restarts the device after so long, unless it is called again before: 0 is
	// never. What hangs, does not call. With an error nothing is tried.
	Watch(d time.Duration) error

	// SelfTest is nil when the device has tested itself, after a restart, and found
	// nothing; ErrBusy while it is at it.
	SelfTest() error

	// Resumed reports whether therapy has been seen, by its sensors, to be given as it
	// was before the update.
	Resumed() bool
}

// A Server is where an agent asks. Nothing that it says is believed for its own sake.
type Server interface {
	// Poll takes a State, signed, to the server and brings an Answer, of at most
	// patch.MaxMessage bytes. It is to prove that it talks to the server where it can: an
	// answer without a time is not signed.
	Poll(ctx context.Context, state []byte) ([]byte, error)

	// ReadAt reads from byte off on of a file below the server's /update/v1/, as
	// [io.ReaderAt] does, but may read less than p has room for. [io.EOF] is the end.
	ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error)
}

// A Config is what an agent is made of.
type Config struct {
	ID       string   // the device's, as the server knows it; never a serial number
	Hardware string   // revision
	Vendor   [16]byte // UUIDs by which a manifest says whom it is for
	Class    [16]byte

	// Component is what manifests call the firmware.
	Component suit.ComponentID

	Layout Layout
	Device Device
	Server Server

	Signer  cose.Signer // of the device, or the gateway that speaks for it
	KeyID   []byte      // [patch.KeyID] of it
	Makers  []cose.Key  // whose envelopes are installed
	Offers  []cose.Key  // of the hospital: whose offers count
	Answers []cose.Key  // of the server: whose time counts

	// Vouch, where it is not nil, is asked of an offer before its release is fetched, and
	// again before it is installed: whether the maker and the hospital publish it, as
	// who can verify their repositories knows. It may raise what the offer demands. With
	// an error the offer is left alone, and looked at again when it comes again.
	Vouch func(ctx context.Context, o *patch.Offer) error

	// Receipt, where it is not nil, is given each State with a Result, signed, before it is
	// said: for who carries it by hand.
	Receipt func(signed []byte) error

	// Clock never goes back while the device runs, and goes on through a restart where
	// the hardware can do that. It says nothing of the date.
	Clock func() time.Duration

	// Progress is after how many bytes of an image the record says how far it is: so
	// much is fetched again after a loss of power. 64 kB, in whole blocks.
	Progress int

	// PollEvery is after how many fetched bytes the server is asked whether all still
	// holds; what is there is hashed anew each time. 1 MB.
	PollEvery int64
}

// Bounds.
const (
	defaultProgress = 64 << 10
	defaultResume   = time.Minute // of a release that does not say
	maxEnvelope     = 64 << 10    // bytes, payloads apart
	defaultPoll     = 1 << 20
	countReserve    = 256              // counts that one write is for
	signedFor       = 12 * time.Hour   // after which the time is asked for again
	leastPoll       = time.Second      // between polls, whatever a server says
	longestPoll     = 24 * time.Hour   //
	usualPoll       = 15 * time.Minute // when a server does not say
	settleEvery     = time.Second
	maxFailures     = 3 // of one offer's bytes, before it is refused
	nonceBytes      = 16
)

// Why an agent does not do what it is offered, beside what patch, patch/suit and
// link/cose say.
var (
	ErrRestart = errors.New("agent: the device is to be started again")
	ErrBusy    = errors.New("agent: the self-test is under way")
	ErrAnswer  = errors.New("agent: not an answer to what was asked")
	ErrReplay  = errors.New("agent: an offer that has had its day")
	ErrDevice  = errors.New("agent: an offer for another device")
	ErrExpired = errors.New("agent: an offer that is over")
	ErrNoTime  = errors.New("agent: the time is not known, so neither is whether the offer is over")
	ErrTime    = errors.New("agent: a time before one that was signed earlier")
	ErrBytes   = errors.New("agent: other bytes than those that were offered")
)

// An Agent keeps one device up to date. It is for one goroutine.
type Agent struct {
	cfg   Config
	boot  *boot
	start Start
	began time.Duration // clock
	watch error         // why nothing watches what is on trial

	offset    time.Duration // of the clock, where that began anew
	next      uint64        // count
	challenge []byte
	said      uint64 // count of the first State of this run with the result
	time      signedTime
	latest    uint64 // number of an offer of this run
	waits     []patch.Wait
	failures  int // of one offer's bytes
	missed    int // polls in a row
	patching  *patching
	noDelta   patch.Digest // of an image that is fetched whole
	of        patch.Digest
	envelope  []byte // as much as there is of it
}

// slotNames are what a State calls the slots.
var slotNames = [2]string{"A", "B"}

// A signedTime is a time that was signed, and when it was asked for: it is that late
// at least.
type signedTime struct {
	at    time.Time
	asked time.Duration
}

// New makes the agent of a device that was started as Boot said.
func New(cfg Config, start Start) (*Agent, error) {
	b, err := openBoot(&cfg.Layout)
	if err != nil {
		return nil, err
	}
	if cfg.Progress == 0 {
		cfg.Progress = defaultProgress
	}
	if cfg.PollEvery == 0 {
		cfg.PollEvery = defaultPoll
	}
	block := cfg.Layout.Slots[0].Block()
	cfg.Progress = max(1, cfg.Progress/block) * block
	a := &Agent{cfg: cfg, boot: b, start: start, next: b.count}
	if c := cfg.Clock(); c < b.at {
		a.offset = b.at - c
	}
	a.began = a.clock()
	if !start.Trial && b.phase == trial { // which the loader could not write down
		b.phase, b.update.reason = fallen, unrecorded
	}
	if !start.Trial && start.Slot != int(b.runs) {
		c := b.record
		c.slots[c.runs] = image{}
		c.runs = uint8(start.Slot)
		c.phase = fallen
		saved := a.State().Saved
		c.update = update{before: saved, switched: a.began, resume: defaultResume, reason: "the slot that ran before is damaged"}
		if err := a.put(c); err != nil {
			return nil, err
		}
	}
	if b.phase == trial || b.phase == fallen {
		a.watch = cfg.Device.Watch(b.watch())
		_ = cfg.Device.Quiesce() // settings that change all the same are found out
	}
	return a, nil
}

// clock goes on over restarts.
func (a *Agent) clock() time.Duration { return a.offset + a.cfg.Clock() }

// put makes a record the one that holds.
func (a *Agent) put(c record) error {
	c.at = a.clock()
	if !a.time.at.IsZero() { // as it was signed: the clock since then may be fast
		c.time = max(c.time, a.time.at.UnixMilli())
	}
	return a.boot.put(c)
}

// now is the time, at the latest, and whether it is known.
func (a *Agent) now() (time.Time, bool) {
	if a.time.at.IsZero() {
		return time.Time{}, false
	}
	return a.time.at.Add(a.clock() - a.time.asked), true
}

// Waits are the gates that the device itself waits for, with an offer to install.
func (a *Agent) Waits() []patch.Wait { return a.waits }

// Now is the time at the latest, as it was signed; zero when it is not known.
func (a *Agent) Now() time.Time {
	t, _ := a.now()
	return t
}

// State is how the device is, but for what it says once to a server.
func (a *Agent) State() patch.State {
	b := a.boot
	s := patch.State{
		Device: a.cfg.ID, Hardware: a.cfg.Hardware, Version: b.slots[b.runs].version, Sequence: b.sequence,
		Battery: -1, Longevity: -1, Link: -1, Free: a.cfg.Layout.Slots[b.other()].Size(),
		Slot: slotNames[a.start.Slot], Trial: b.phase == trial, Result: b.result,
	}
	switch b.phase {
	case trial:
		s.Version = b.update.target.version
	case staged:
		s.Staged, s.Bytes = b.update.envelope, b.update.target.size
	case fetching:
		s.Bytes = b.update.fetched
	}
	a.cfg.Device.State(&s)
	return s
}

// Step does what there is to be done, and polls once or twice. It returns how long
// to wait before it is called again, or [ErrRestart] when the device is to start as
// [Boot] says. Another error is of this step; the next is to be taken after the wait
// all the same.
func (a *Agent) Step(ctx context.Context) (time.Duration, error) {
	switch a.boot.phase {
	case trial, fallen:
		return a.settle()
	}
	return a.poll(ctx)
}

// count is the next State's.
func (a *Agent) count() (uint64, error) {
	if a.next >= a.boot.count {
		c := a.boot.record
		c.count = a.next + countReserve
		if err := a.put(c); err != nil {
			return 0, err
		}
	}
	a.next++
	return a.next, nil
}

// poll says how the device is, and does what the answer lets it do.
func (a *Agent) poll(ctx context.Context) (time.Duration, error) {
	ans, err := a.ask(ctx)
	if err != nil {
		// Of many devices that miss their server not all come back at once.
		wait := min(leastPoll<<min(a.missed, 20), usualPoll)
		a.missed++
		return wait + mathrand.N(wait/2), err
	}
	a.missed = 0
	wait := usualPoll
	if ans.Next > 0 {
		wait = min(max(ans.Next, leastPoll), longestPoll)
	}
	if err := a.hear(ans); err != nil {
		return wait, err
	}
	if ans.Offer == nil || a.boot.result != nil { // what ended is told first
		return wait, nil
	}
	o, err := a.accept(ans.Offer)
	if err == nil && a.cfg.Vouch != nil && (a.boot.phase != staged || o.Install) {
		err = a.cfg.Vouch(ctx, o)
	}
	switch {
	case err != nil:
	case a.boot.phase != staged:
		if err = a.stage(ctx, o); err == nil {
			wait = leastPoll // there is more to fetch, or the server may say to install
		}
	case o.Install:
		err = a.install(o)
	}
	return wait, err
}

// ask sends a State and returns the Answer.
func (a *Agent) ask(ctx context.Context) (*patch.Answer, error) {
	n, err := a.count()
	if err != nil {
		return nil, err
	}
	s := a.State()
	s.Count, s.Echo = n, a.challenge
	asked := a.clock()
	// Where something is at stake the answer is to be signed: who only carries it must not
	// make the device forget how an update ended, or what it was offered.
	if p := a.boot.phase; a.time.at.IsZero() || asked-a.time.asked > signedFor || s.Result != nil || p == fetching || p == staged {
		s.Nonce = make([]byte, nonceBytes)
		rand.Read(s.Nonce)
	}
	b, err := patch.Sign(&s, a.cfg.Signer, a.cfg.KeyID)
	if err != nil {
		return nil, err
	}
	if s.Result != nil && a.cfg.Receipt != nil {
		if err := a.cfg.Receipt(b); err != nil {
			return nil, err
		}
	}
	if b, err = a.cfg.Server.Poll(ctx, b); err != nil {
		return nil, err
	}
	var ans patch.Answer
	if s.Nonce == nil {
		err = patch.Parse(b, &ans)
	} else {
		err = patch.Open(b, &ans, keyOf(a.cfg.Answers))
	}
	switch {
	case err != nil:
		return nil, err
	case ans.Device != a.cfg.ID || string(ans.Nonce) != string(s.Nonce):
		return nil, ErrAnswer
	}
	if s.Nonce != nil {
		if ans.Time.UnixMilli() < a.boot.time || ans.Time.Before(a.time.at) {
			return nil, ErrTime
		}
		a.time = signedTime{ans.Time, asked}
	}
	if s.Result != nil && a.said == 0 {
		a.said = n
	}
	if s.Nonce == nil {
		ans.Heard, ans.Void = 0, 0
	}
	return &ans, nil
}

// keyOf finds one of some keys by its id.
func keyOf(keys []cose.Key) func([]byte) *cose.Key {
	return func(kid []byte) *cose.Key {
		for i := range keys {
			if string(patch.KeyID(&keys[i])) == string(kid) {
				return &keys[i]
			}
		}
		return nil
	}
}

// hear takes from an answer what concerns updates that were.
func (a *Agent) hear(ans *patch.Answer) error {
	a.challenge = ans.Challenge
	c := a.boot.record
	if c.result != nil && a.said != 0 && ans.Heard >= a.said {
		c.result, a.said = nil, 0
	}
	if ans.Void > c.void {
		c.void = ans.Void
		if (c.phase == fetching || c.phase == staged) && max(c.update.offer, a.latest) <= c.void {
			a.end(&c, patch.Withdrawn, "the offer is void")
		}
	}
	if c.result == a.boot.result && c.void == a.boot.void {
		return nil
	}
	return a.put(c)
}

// end ends an update before the switch.
func (a *Agent) end(c *record, how patch.Outcome, why string) {
	c.result = &patch.Result{
		Envelope: c.update.envelope, Offer: c.update.offer, Version: c.slots[c.runs].version, Outcome: how, Reason: why,
	}
	c.done = max(c.done, c.update.offer)
	c.phase, c.update = idle, update{}
	a.said, a.failures, a.envelope, a.waits = 0, 0, nil, nil
}

// refuse ends an update that an offer was for: it says so, and does not try again
// under this offer.
func (a *Agent) refuse(o *patch.Offer, why error) error {
	c := a.boot.record
	c.seen = max(c.seen, o.Number)
	c.update.offer, c.update.envelope = o.Number, o.Envelope
	a.end(&c, patch.Refused, reason(why))
	return errors.Join(why, a.put(c))
}

// reason is an error as a Result has room for it.
func reason(err error) string {
	const most = 200
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// accept reads an offer that counts.
func (a *Agent) accept(b []byte) (*patch.Offer, error) {
	var o patch.Offer
	if err := patch.Open(b, &o, keyOf(a.cfg.Offers)); err != nil {
		return nil, err
	}
	c := &a.boot.record
	now, known := a.now()
	switch {
	case o.Device != a.cfg.ID:
		return nil, ErrDevice
	case o.Number <= c.void || o.Number <= c.done || o.Number < max(c.seen, a.latest):
		return nil, ErrReplay
	case !known:
		return nil, ErrNoTime
	case !now.Before(o.Expires):
		return nil, ErrExpired
	}
	s := a.State()
	for _, w := range o.Demands.Unmet(&s, o.Version, o.Sequence) {
		if w.Gate == patch.VersionGate || w.Gate == patch.HardwareGate {
			return nil, a.refuse(&o, errors.New(w.Why))
		}
	}
	a.latest = o.Number
	if c.phase != idle && c.update.envelope != o.Envelope {
		n := *c // another release: what there is of the one before is of no use
		n.phase, n.update, n.seen = idle, update{}, o.Number
		a.failures, a.envelope = 0, nil
		return &o, a.put(n)
	}
	return &o, nil
}

// install switches to what is staged, if everything is as it has to be, now.
func (a *Agent) install(o *patch.Offer) error {
	u := &a.boot.update
	if err := a.save(); err != nil {
		return err
	}
	may := func() (patch.State, error) {
		s := a.State()
		if a.waits = o.Demands.Unmet(&s, u.target.version, u.target.sequence); len(a.waits) > 0 {
			return s, errWaits
		}
		if now, ok := a.now(); !ok || !now.Before(o.Expires) { // looking at all this took time
			return s, ErrExpired
		}
		return s, nil
	}
	if _, err := may(); err != nil {
		return notWaits(err)
	}
	if err := a.boot.holds(a.boot.other(), &u.target); err != nil {
		if errors.Is(err, ErrPower) {
			return err
		}
		return a.refuse(o, fmt.Errorf("after it was staged: %w", err))
	}
	// What runs was hashed when it was started, which may be years ago.
	if err := a.boot.holds(a.boot.runs, &a.boot.slots[a.boot.runs]); err != nil {
		if errors.Is(err, ErrPower) {
			return err
		}
		return a.refuse(o, fmt.Errorf("there is no way back: what runs: %w", err))
	}
	if err := a.cfg.Device.Quiesce(); err != nil {
		a.cfg.Device.Release() // it may have been late, or done in part
		return err
	}
	s, err := may() // what began meanwhile, was let begin
	if err != nil {
		a.cfg.Device.Release()
		return notWaits(err)
	}
	c := a.boot.record
	c.phase, c.tries = trial, 1
	c.update.offer, c.seen = o.Number, o.Number
	c.update.before, c.update.switched, c.update.resume = s.Settings, a.clock(), o.Demands.Resume
	if c.update.resume <= 0 {
		c.update.resume = defaultResume
	}
	if err = a.cfg.Device.Watch(c.watch()); err == nil {
		if err = a.put(c); err == nil {
			a.cfg.Device.Restart()
			return ErrRestart
		}
		err = errors.Join(err, a.put(a.boot.record)) // no later start is to find the trial in it
	}
	_ = a.cfg.Device.Watch(0)
	a.cfg.Device.Release()
	return err
}

// errWaits is of an install that waits for a gate, which is nothing wrong.
var errWaits = errors.New("agent: it waits")

func notWaits(err error) error {
	if err == errWaits {
		return nil
	}
	return err
}

// save saves the settings, unless they are.
func (a *Agent) save() error {
	if s := a.State(); s.Settings == s.Saved {
		return nil
	}
	_, err := a.cfg.Device.Save()
	return err
}

// settle looks whether the device works again: a version on trial, which is confirmed
// or falls back, or the old one after that.
func (a *Agent) settle() (time.Duration, error) {
	c := a.boot.record
	s := a.State()
	test := a.cfg.Device.SelfTest()
	if a.watch != nil && c.phase == trial {
		test = a.watch
	}
	resumed := a.cfg.Device.Resumed()
	r := &patch.Result{
		Envelope: c.update.envelope, Offer: c.update.offer, Version: s.Version, Outcome: patch.Installed,
		Resumed: resumed, SelfTest: test == nil, Before: c.update.before, After: s.Settings,
		Took: max(0, a.clock()-c.update.switched), Reason: c.update.reason,
	}
	over := a.clock()-a.began >= a.boot.watch()*3/4 // before the watchdog: what it ends, says nothing
	if c.phase == fallen {
		r.Outcome = patch.FellBack
	}
	demands := patch.Demands{Resume: c.update.resume}
	good := r.Judge(&demands) == r.Outcome
	switch {
	case c.phase == trial && good:
		c.runs = a.boot.other()
		c.slots[c.runs] = c.update.target
		c.sequence = max(c.sequence, c.update.target.sequence) // only now
	case c.phase == trial && (over || test != nil && !errors.Is(test, ErrBusy) || resumed && test == nil):
		c.phase = fallen
		switch {
		case test != nil && !errors.Is(test, ErrBusy):
			c.update.reason = reason(fmt.Errorf("its self-test failed: %w", test))
		case r.Before != r.After:
			c.update.reason = "its settings are not what they were"
		case !resumed:
			c.update.reason = "therapy was not seen resumed in time"
		default:
			c.update.reason = "it took too long"
		}
		if err := a.put(c); err != nil {
			return settleEvery, err
		}
		_ = a.cfg.Device.Watch(a.boot.watch())
		a.cfg.Device.Restart()
		return 0, ErrRestart
	case c.phase == fallen && (good || over || resumed && test == nil):
		r.Outcome = r.Judge(&demands)
	default:
		return settleEvery, nil
	}
	c.result = r
	c.done = max(c.done, c.update.offer)
	back := c.phase == fallen
	c.phase, c.update = idle, update{}
	a.said = 0
	err := a.put(c)
	if err == nil || back { // therapy by the old version does not wait for a record that cannot be written
		_ = a.cfg.Device.Watch(0) // or it bites, and the device starts what is confirmed
		a.cfg.Device.Release()
	}
	if err != nil {
		return settleEvery, err
	}
	a.envelope = nil
	return leastPoll, nil
}
