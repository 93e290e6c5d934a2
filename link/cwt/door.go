// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// Why a door stays shut. An [Error] wraps one of these, or what a [Verifier] says.
var (
	ErrUsed     = errors.New("used before: it opens one device for one window")
	ErrClosed   = errors.New("the session is over")
	ErrPresence = errors.New("one person alone has to show presence, now")
	ErrBudget   = errors.New("too many attempts; later")
	ErrReason   = errors.New("a break-glass session is not closed without a reason")
)

// Bounds of what a door remembers, and its defaults.
const (
	maxWindows   = 128  // break-glass tokens; those that have expired are forgotten
	maxBudgets   = 16   // authorities
	maxSequences = 16   // of tokens with exi: authorities times audiences
	maxLive      = 16   // tokens with exi, of one sequence, whose time runs
	maxSessions  = 16   // of clinicians
	maxMarks     = 1024 // reconnections and commands of one window that are recorded
	maxRestarts  = 3    // of a device that does not know the time, within one window

	defaultAttempts = 8
	defaultSpacing  = time.Minute
	defaultWindow   = time.Hour
	presenceWithin  = time.Minute
	attendedWithin  = 5 * time.Minute // of the last that a clinician asked for
	budgetPeriod    = 24 * time.Hour
	notePeriod      = time.Hour // from one record of a flood to the next
)

// A PresenceKind is how somebody showed to be at the patient.
type PresenceKind uint8

// The kinds of presence. Radio signal strength is none.
const (
	Wand      PresenceKind = 1 + iota // a coil within centimetres is coupled
	Tap                               // near-field communication
	Heartbeat                         // a reading of the heart that matches the device's own
	Magnet
	Button // on a body-worn device
)

var presenceKinds = [...]string{"", "wand", "tap", "heartbeat", "magnet", "button"}

func (k PresenceKind) String() string {
	if int(k) < len(presenceKinds) {
		return presenceKinds[k]
	}
	return ""
}

// A Presence is evidence that somebody is at the patient. The device's own hardware
// has to have measured it: what a peer says of itself is none. Software cannot
// measure distance; which kind it was, and how old, is recorded.
type Presence struct {
	Kind PresenceKind
	At   Instant
}

// fresh reports whether presence was shown just now, in this start of the device.
func (p *Presence) fresh(now Instant) bool {
	return p != nil && p.Kind != 0 && p.Kind.String() != "" && p.At.Boot == now.Boot &&
		p.At.Uptime <= now.Uptime && now.atMost(p.At) <= presenceWithin
}

// A Door is what a device, or a gateway in front of some, adds to a [Verifier]: it
// remembers. Set its fields, give it with [Door.Restore] what it recorded before, and
// only then ask it anything. It is not safe for use by several goroutines.
//
// A break-glass token goes this way, each arrow after its record is durable:
//
//	           Admit: its serial was never seen, all holds
//	unseen ──────────────────────────────────────────────▶ open ──┐ Admit by the same key,
//	                                                       │  ▲   │ at the same device
//	                                                       │  └───┘
//	                  Close with a reason, or time is over │
//	closed ◀───────────────────────────────────────────────┘
//
// Nothing leads back: not a restart, not another device, not another key.
type Door struct {
	Verifier // its Floor and Revoked are the door's to change

	// Devices are those behind the door. A device has itself; all of them have to be
	// among Audiences, which has their classes too.
	Devices []string

	// Durable is given each record, and returns nil when it will survive whatever
	// comes. Nil is a store that is full: then no break-glass token opens anything. So it
	// may turn a Refused record away to keep room for one that opens; the next record of
	// a refusal counts those that have none.
	Durable func(record []byte) error

	// Meter counts what is given, for limits on sums. Nil permits nothing that has
	// such a limit. The caller keeps its state.
	Meter *Meter

	Window   time.Duration // the longest one; 0 is an hour
	Attempts int           // with break-glass tokens of one authority, in a day; 0 is 8
	Spacing  time.Duration // of attempts once all but one are spent; 0 is a minute

	boot      uint64
	number    uint64
	head      [32]byte
	windows   []window
	budgets   []budget
	sequences []reception
	listed    []listed
	skipped   uint64     // refusals that have no record of their own yet
	sessions  []*Session // of clinicians
	clock     Instant    // when a statement of the time came
	challenge []byte
	asked     Instant
}

// A window is a break-glass token that was used.
type window struct {
	issuer   string
	serial   []byte
	device   string
	holder   [32]byte
	digest   [32]byte // SHA-256 of the claims
	expires  int64    // of the token
	length   time.Duration
	used     time.Duration // of length, up to since
	since    Instant
	open     bool
	marks    uint64
	restarts uint64 // without the time
}

func (w *window) left(now Instant) time.Duration {
	if !w.open || w.restarts > maxRestarts {
		return 0
	}
	return w.length - w.used - now.atMost(w.since)
}

// mark counts the time that has passed, so that a restart does not undo it.
func (w *window) mark(now Instant) {
	w.used += now.atMost(w.since)
	w.since = now
}

// A budget counts the attempts with break-glass tokens of one authority within a day.
// The authority "" stands for all refusals that cost no authority anything.
//
// All failures together may spend all attempts but one. From then on one attempt in
// each Spacing is looked at, and opens if it is genuine: who floods the door can make
// a rescuer wait, and not use up the last attempt. Failures are counted before they
// are proven to be the authority's own, for the proof is what costs the battery.
type budget struct {
	issuer         string
	since          Instant
	failed, opened uint64
	look           Instant // the last attempt that was looked at
	noted          Instant // the last refusal that was recorded
}

// A reception is what is known of one authority's tokens with exi for one audience.
type reception struct {
	issuer, audience string
	seen             uint64 // the highest sequence number
	expired          uint64 // the highest one whose time is over
	live             []live
}

type live struct {
	sequence uint64
	received Instant
	lasts    time.Duration
}

// Listed is the number of the newest list of one authority.
type listed struct {
	issuer string
	number uint64
}

// An Attempt is a token that a peer presents.
type Attempt struct {
	Token    []byte
	Peer     *cose.Key // the peer's, proven by the handshake
	Device   string    // the one that the peer talks to; "" is the first
	Presence *Presence // what the device measured, or nil
	Now      Instant   // its time from a signed source alone: see [Door.Now]
}

// A Session is what an admitted holder may do. It ends with its token, with its
// window, with a restart, and with [Session.Close]; the secure channel's end only
// interrupts it.
type Session struct {
	Token  *Token
	Device string

	door   *Door
	boot   uint64
	used   Instant // when it was asked for anything last
	closed bool
}

// Admit lets a holder in, or says why not, and records either. A refusal is an
// [Error]; tell the peer no more than that it is refused. It keeps a copy of the token.
func (d *Door) Admit(attempt *Attempt) (*Session, error) {
	a := new(*attempt)
	d.begin(a.Now)
	if a.Device == "" && len(d.Devices) > 0 {
		a.Device = d.Devices[0]
	}
	if len(a.Token) <= MaxToken {
		a.Token = bytes.Clone(a.Token) // a session lasts longer than a receive buffer
	}
	m, c, err := parseSigned(a.Token, MaxToken)
	if err == nil && !slices.Contains(d.Devices, a.Device) {
		err = bad("aud", ErrAudience)
	}
	if err != nil {
		return nil, d.refuse(a, nil, d.budget("", a.Now), err)
	}
	if c.Emergency != nil {
		return d.redeem(a, m, c)
	}
	t, err := d.verify(m, c, a.Peer, a.Now)
	if err == nil {
		err = d.here(c, a.Device)
	}
	if err == nil && c.ExpiresIn > 0 {
		err = d.receive(t, a)
	}
	if err != nil {
		return nil, d.refuse(a, c, d.budget("", a.Now), err)
	}
	t.Grant.Narrow = t.Grant.Narrow || d.lost()
	s := d.session(t, a)
	if t.Grant.Role == device.Clinician && !t.Grant.Narrow {
		if len(d.sessions) == maxSessions {
			d.sessions = slices.Delete(d.sessions, 0, 1)
		}
		d.sessions = append(d.sessions, s)
	}
	return s, nil
}

func (d *Door) session(t *Token, a *Attempt) *Session {
	return &Session{Token: t, Device: a.Device, door: d, boot: a.Now.Boot, used: a.Now}
}

// here checks that a token for one of several devices is for this one.
func (d *Door) here(c *Claims, device string) error {
	if slices.Contains(d.Devices, c.Audience) && c.Audience != device {
		return bad("aud", ErrAudience)
	}
	return nil
}

// begin brings what is counted up to now.
func (d *Door) begin(now Instant) {
	if now.Boot != d.boot {
		d.boot, d.sessions, d.challenge = now.Boot, nil, nil
		for i := range d.sequences {
			// How long ago they came cannot be told any more.
			s := &d.sequences[i]
			s.expired, s.live = s.seen, nil
		}
		for i := range d.windows {
			if w := &d.windows[i]; w.open && !(w.since.Known() && now.Known()) {
				w.since = now
				w.restarts++
			}
		}
		for i := range d.budgets {
			b := &d.budgets[i]
			if !(b.since.Known() && now.Known()) {
				b.since = now // what was spent stays spent for another day
			}
			b.look, b.noted = Instant{}, Instant{}
		}
	}
	d.Floor = max(d.Floor, now.Unix)
	for i := range d.windows {
		if w := &d.windows[i]; w.open && w.left(now) <= 0 {
			w.mark(now)
			w.open = false
			// It is over whether that can be recorded or not.
			_ = d.record(&Record{Kind: Closed, At: now, Issuer: w.issuer, Serial: w.serial, Holder: w.holder, Device: w.device, Why: "time is over, and no reason was filed"}, w.row())
		}
	}
}

// record makes an entry durable, with the rows of the state that it changes.
func (d *Door) record(e *Record, rows ...[]byte) error {
	if d.Durable == nil {
		return bad("record", ErrRecord)
	}
	// The floor comes first: by it there is room for what follows.
	e.Previous, e.Number, e.rows = d.head, d.number+1, append([][]byte{floorRow(d.Floor)}, rows...)
	b := e.append(nil)
	if err := d.Durable(b); err != nil {
		return bad("record", fmt.Errorf("%w: %w", ErrRecord, err))
	}
	d.number, d.head = e.Number, sha256.Sum256(b)
	return nil
}

// refuse counts and records a refusal. Of a flood of them not each has a record: the
// next that has one says how many it stands for.
func (d *Door) refuse(a *Attempt, c *Claims, b *budget, why error) error {
	spent := b.failed >= d.attempts()-1
	flood := spent && a.Now.Boot == b.look.Boot && a.Now.atLeast(b.look) < d.spacing()
	b.failed++
	d.skipped++
	if flood {
		return why
	}
	b.look = a.Now
	if spent && a.Now.Boot == b.noted.Boot && a.Now.atLeast(b.noted) < notePeriod {
		return why // a flood must not fill the store: then nobody could be let in
	}
	b.noted = a.Now
	e := &Record{Kind: Refused, At: a.Now, Device: a.Device, Why: why.Error(), Count: d.skipped}
	if c != nil {
		e.Serial = c.Serial
		// Nothing is proven: a name that no anchor has would be anybody's words in the log.
		if slices.ContainsFunc(d.Anchors, func(x Anchor) bool { return x.Name == c.Issuer }) {
			e.Issuer = c.Issuer
		}
	}
	if a.Peer != nil {
		e.Holder = a.Peer.Thumbprint()
	}
	if d.record(e, b.row()) == nil {
		d.skipped = 0
	}
	return why
}

func (d *Door) attempts() uint64 {
	if d.Attempts <= 0 {
		return defaultAttempts
	}
	return uint64(d.Attempts)
}

func (d *Door) spacing() time.Duration {
	if d.Spacing <= 0 {
		return defaultSpacing
	}
	return d.Spacing
}

// budget returns the budget of one of the anchors, or "".
func (d *Door) budget(issuer string, now Instant) *budget {
	i := slices.IndexFunc(d.budgets, func(b budget) bool { return b.issuer == issuer })
	if i < 0 {
		if len(d.budgets) == maxBudgets { // of authorities that are no anchors any more
			d.budgets = slices.Delete(d.budgets, 0, 1)
		}
		d.budgets = append(d.budgets, budget{issuer: issuer, since: now})
		i = len(d.budgets) - 1
	}
	b := &d.budgets[i]
	if now.atLeast(b.since) >= budgetPeriod {
		*b = budget{issuer: issuer, since: now}
	}
	return b
}

// redeem admits with a break-glass token.
func (d *Door) redeem(a *Attempt, m *cose.Sign1, c *Claims) (*Session, error) {
	issuer := d.anchor(kidOf(m), Issues|Emergencies)
	if issuer == nil {
		return nil, d.refuse(a, c, d.budget("", a.Now), bad("iss", ErrIssuer))
	}
	var w *window
	digest := sha256.Sum256(m.Payload)
	for i := range d.windows {
		if x := &d.windows[i]; x.issuer == issuer.Name && bytes.Equal(x.serial, c.Serial) {
			w = x
		}
	}
	b := d.budget(issuer.Name, a.Now)
	// Who comes back is known by his key, and does not wait behind a flood.
	back := w != nil && w.open && w.digest == digest && a.Peer != nil && w.holder == a.Peer.Thumbprint()
	if !back && (b.opened >= d.attempts() ||
		b.failed >= d.attempts()-1 && a.Now.Boot == b.look.Boot && a.Now.atLeast(b.look) < d.spacing()) {
		return nil, d.refuse(a, c, b, bad("window", ErrBudget))
	}
	t, err := d.verify(m, c, a.Peer, a.Now)
	if err == nil {
		err = d.here(c, a.Device)
	}
	switch {
	case err != nil:
	case w != nil && (w.device != a.Device || w.digest != digest || w.holder != t.Holder || !w.open || w.marks >= maxMarks):
		err = bad("cti", ErrUsed)
	case w != nil:
		return d.reconnect(a, t, w)
	case t.Alone && !a.Presence.fresh(a.Now):
		err = bad("presence", ErrPresence)
	case !d.room():
		err = bad("window", cbor.ErrTooMany)
	}
	if err != nil {
		return nil, d.refuse(a, c, b, err)
	}
	return d.open(a, t, b, digest)
}

// room makes room for one more window, of tokens that have expired for sure.
func (d *Door) room() bool {
	if len(d.windows) >= maxWindows {
		d.windows = slices.DeleteFunc(d.windows, func(w window) bool { return !w.open && w.expires <= d.Floor })
	}
	return len(d.windows) < maxWindows
}

func (d *Door) open(a *Attempt, t *Token, b *budget, digest [32]byte) (*Session, error) {
	t.Grant.Narrow = t.Grant.Narrow || d.lost()
	longest := d.Window
	if longest <= 0 {
		longest = defaultWindow
	}
	w := window{
		issuer: t.Issuer, serial: bytes.Clone(t.Serial), device: a.Device, holder: t.Holder, digest: digest, expires: t.Expires,
		length: min(longest, time.Duration(t.Emergency.Window)*time.Second), since: a.Now, open: true,
	}
	spent := *b
	spent.opened++
	e := w.entry(Opened, a.Now, d.circumstances(a, t))
	if err := d.record(e, w.row(), spent.row()); err != nil {
		d.skipped++
		return nil, err // nothing is opened that would be forgotten
	}
	*b = spent
	d.windows = append(d.windows, w)
	return d.session(t, a), nil
}

func (d *Door) reconnect(a *Attempt, t *Token, w *window) (*Session, error) {
	t.Grant.Narrow = t.Grant.Narrow || d.lost()
	x := *w
	x.mark(a.Now)
	x.marks++
	if err := d.record(x.entry(Reconnected, a.Now, d.circumstances(a, t)), x.row()); err != nil {
		return nil, err
	}
	*w = x
	return d.session(t, a), nil
}

func (w *window) entry(k RecordKind, now Instant, why string) *Record {
	return &Record{Kind: k, At: now, Issuer: w.issuer, Serial: w.serial, Holder: w.holder, Device: w.device, Why: why}
}

// circumstances tells what a break-glass session began with.
func (d *Door) circumstances(a *Attempt, t *Token) string {
	why := []string{fmt.Sprintf("%d approved", t.Approved)}
	if t.Alone {
		why = append(why, "one person alone")
	}
	if p := a.Presence; p.fresh(a.Now) {
		why = append(why, fmt.Sprintf("presence by %v %v ago", p.Kind, a.Now.atMost(p.At).Round(time.Second)))
	}
	if t.TimeUnknown {
		why = append(why, "time unknown")
	}
	if d.lost() {
		why = append(why, "a list of revocations is lost")
	}
	if d.attended(a.Now) {
		why = append(why, "a clinician is connected")
	}
	if t.Grant.Narrow || d.attended(a.Now) {
		why = append(why, "narrowed")
	}
	return strings.Join(why, ", ")
}

// attended reports whether a clinician's session is open and in use: then a break-glass
// session has the narrowest scope, so that two people do not change one therapy. One who
// goes away says nothing, and must not narrow a rescue for the rest of a token's hours.
func (d *Door) attended(now Instant) bool {
	return slices.ContainsFunc(d.sessions, func(s *Session) bool {
		return !s.closed && now.atMost(s.used) <= attendedWithin && d.Check(s.Token, now) == nil
	})
}

// receive counts the time of a token with exi from its first reception, and refuses
// what is older than one that has expired (RFC 9200 section 5.10.3).
func (d *Door) receive(t *Token, a *Attempt) error {
	i := slices.IndexFunc(d.sequences, func(s reception) bool { return s.issuer == t.Issuer && s.audience == t.Audience })
	if i < 0 {
		if len(d.sequences) == maxSequences {
			return bad("exi", cbor.ErrTooMany)
		}
		d.sequences = append(d.sequences, reception{issuer: t.Issuer, audience: t.Audience})
		i = len(d.sequences) - 1
	}
	s := &d.sequences[i]
	s.live = slices.DeleteFunc(s.live, func(l live) bool {
		over := a.Now.atMost(l.received) >= l.lasts
		if over {
			s.expired = max(s.expired, l.sequence)
		}
		return over
	})
	if t.Sequence <= s.expired {
		return bad("exi", ErrStale)
	}
	for _, l := range s.live {
		if l.sequence == t.Sequence {
			t.Received = l.received
			return d.Check(t, a.Now)
		}
	}
	if len(s.live) == maxLive {
		return bad("exi", cbor.ErrTooMany)
	}
	n := *s
	n.seen = max(n.seen, t.Sequence)
	e := &Record{Kind: Admitted, At: a.Now, Issuer: t.Issuer, Serial: t.Serial, Holder: t.Holder, Device: a.Device}
	if err := d.record(e, n.row()); err != nil {
		return err // after a restart it would count from another beginning
	}
	n.live = append(n.live, live{t.Sequence, a.Now, time.Duration(t.ExpiresIn) * time.Second})
	*s = n
	return nil
}

// Permits returns nil when the holder may have a command done now. The caller sets
// the command's Role to the token's, its Channel to what protects the session, and
// does not do it otherwise. What it asks for counts as given (see [Meter]) from then
// on. In a break-glass session each command that is not a read is recorded before it
// may be done; a rescue does not wait for a store that is full.
func (s *Session) Permits(c *device.Command, now Instant) error {
	return s.decide(c, now, c.IsRescue())
}

// PermitsChange is Permits of a command that is judged as a change, as
// [Grant.PermitsChange] says.
func (s *Session) PermitsChange(c *device.Command, now Instant) error {
	return s.decide(c, now, false)
}

func (s *Session) decide(c *device.Command, now Instant, rescue bool) error {
	d := s.door
	d.begin(now)
	if s.closed || s.boot != now.Boot {
		return bad("window", ErrClosed)
	}
	if err := d.Check(s.Token, now); err != nil {
		return err
	}
	s.used = now
	g := s.Token.Grant
	var w *window
	if s.Token.Emergency != nil {
		if w = s.window(); w == nil {
			return bad("window", ErrClosed)
		}
		g.Narrow = g.Narrow || d.attended(now)
	}
	err := g.decide(c, d.Meter, now, rescue)
	if w != nil && device.EffectOf(c) != device.Reads {
		why := c.Verb.String() + ": permitted"
		if err != nil {
			why = c.Verb.String() + ": " + err.Error()
		}
		x := *w
		x.mark(now)
		x.marks++
		rerr := bad("record", ErrBudget)
		if x.marks <= maxMarks {
			rerr = d.record(x.entry(Commanded, now, why), x.row())
		}
		if rerr == nil {
			*w = x
		} else if err == nil && !rescue {
			err = rerr
		}
	}
	if err == nil && d.Meter != nil {
		d.Meter.Forget(now)
		if merr := d.Meter.Add(c, now); merr != nil && !rescue {
			err = merr
		}
	}
	return err
}

// window is the open window of a break-glass session, or nil.
func (s *Session) window() *window {
	for i := range s.door.windows {
		if w := &s.door.windows[i]; w.open && w.issuer == s.Token.Issuer && bytes.Equal(w.serial, s.Token.Serial) {
			return w
		}
	}
	return nil
}

// Left is how long the session may still last, as far as can be told, and zero when it
// is over.
func (s *Session) Left(now Instant) time.Duration {
	d := s.door
	d.begin(now)
	if s.closed || s.boot != now.Boot || d.Check(s.Token, now) != nil {
		return 0
	}
	left := time.Duration(1<<63 - 1)
	if s.Token.Emergency != nil {
		w := s.window()
		if w == nil {
			return 0
		}
		left = w.left(now)
	}
	if t := s.Token; t.ExpiresIn != 0 {
		left = min(left, time.Duration(t.ExpiresIn)*time.Second-now.atMost(t.Received))
	}
	if t := s.Token; t.Expires != 0 && now.Known() {
		left = min(left, time.Duration(min(t.Expires-now.Unix, 1<<32))*time.Second)
	}
	return max(0, left)
}

// An Opening is a window that a break-glass token opened and that is not over.
type Opening struct {
	Issuer string
	Serial []byte
	Device string
	Holder [32]byte // thumbprint of the holder's key
	Left   time.Duration
}

// Openings returns the windows that are open, whether their holder is connected or not.
func (d *Door) Openings(now Instant) (open []Opening) {
	d.begin(now)
	for i := range d.windows {
		if w := &d.windows[i]; w.open {
			open = append(open, Opening{w.issuer, bytes.Clone(w.serial), w.device, w.holder, w.left(now)})
		}
	}
	return open
}

// A Reason is why a break-glass session was closed.
type Reason uint8

// The reasons.
const (
	Treated Reason = 1 + iota
	HandedOver
	NotNeeded
	Mistaken
	Drill
)

var reasons = [...]string{"", "treated", "handed over", "not needed", "mistaken", "drill"}

func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return ""
}

// Close ends the session. Of a break-glass session it closes the window for good, and
// is [ErrReason] without a reason.
func (s *Session) Close(why Reason, now Instant) error {
	d := s.door
	d.begin(now)
	if s.Token.Emergency != nil {
		if why.String() == "" {
			return bad("window", ErrReason)
		}
		if w := s.window(); w != nil {
			w.mark(now)
			w.open = false
			if err := d.record(w.entry(Closed, now, why.String()), w.row()); err != nil {
				s.closed = true
				return err
			}
		}
	}
	s.closed = true
	d.sessions = slices.DeleteFunc(d.sessions, func(x *Session) bool { return x == s })
	return nil
}
