// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
)

const (
	defaultFresh    = 10 * time.Second
	defaultSessions = 16
	checkpointEvery = 15 * minute // of life: how much basal can be in doubt after a restart
	attemptsCounted = 256         // kinds of refusal that are counted apart
	maxEntries      = 512         // of the log that are kept
)

// A Config is what a simulated implant is.
type Config struct {
	Kind    Kind
	ID      string // its own name, by which tokens are for it; a pseudonym, never a serial
	Journal string // path of the file that survives whatever comes

	// Clock says how long the device has been on, and what time it is: seconds since
	// 1970, 0 when it does not know.
	Clock func() (uptime time.Duration, unix int64)

	// Anchors are the keys that it trusts, and Enrolled the holders' keys that tokens may
	// name by kid. Quorum is how many have to approve a break-glass token; 0 is 2.
	Anchors  []cwt.Anchor
	Enrolled []cose.Key
	Quorum   int

	// EDHOC is what it brings to a handshake; its ConnectionID is not used. Nil: none can
	// be had, and sessions come from [Implant.Open] alone.
	EDHOC *edhoc.Config

	Random   io.Reader     // nil is the system's
	Fresh    time.Duration // how old a command may be; 0 is 10 s
	Sessions int           // at the same time; the one that was idle longest ends; 0 is 16
}

// An Implant is one device. Several goroutines may use it. Its methods move the therapy
// on to what the clock says; between calls nothing happens that a call would not find to
// have happened.
type Implant struct {
	cfg Config

	mu       sync.Mutex // guards what follows
	model    model
	journal  *journal
	door     cwt.Door
	echo     *oscore.Echo
	peers    oscore.Peers
	sessions []*Session // the one that was idle longest first
	lists    [][]byte   // of revocations
	boot     uint64
	born     int64 // of this start, in the device's life
	written  int64 // life when the state was last recorded
	woke     int64 // since the therapy was moved
	present  cwt.PresenceKind
	shown    uint64 // of the last telemetry that was pushed
	log      [][]byte
	next     uint64 // number of the next entry
	refused  map[string]uint64
	refusals uint64
	budget   edhoc.Budget
	halfOpen map[string]*handshake
}

// A Session is one peer who proved who it is.
type Session struct {
	// Actor names the key that was proven: "key-" and the front of its thumbprint.
	Actor string

	id      string
	key     cose.Key
	ctx     *oscore.Context
	held    *cwt.Session // what its token lets it do
	record  []byte
	limit   uint64 // of sender sequence numbers
	from    string
	observe *observation
}

// Open makes a device, or starts one again from its journal.
func Open(cfg Config) (*Implant, error) {
	if cfg.Clock == nil || cfg.ID == "" {
		return nil, errors.New("implant: a device has a clock and a name")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Fresh == 0 {
		cfg.Fresh = defaultFresh
	}
	if cfg.Sessions == 0 {
		cfg.Sessions = defaultSessions
	}
	uptime, unix := cfg.Clock()
	m, err := newModel(cfg.Kind, unix%(day/second)*second)
	if err != nil {
		return nil, err
	}
	i := &Implant{cfg: cfg, model: m, refused: map[string]uint64{}, halfOpen: map[string]*handshake{}}
	var secret [32]byte
	if _, err := io.ReadFull(cfg.Random, secret[:]); err != nil {
		return nil, err
	}
	i.echo = oscore.NewEcho(secret)
	j, records, err := openJournal(cfg.Journal)
	if err != nil {
		return nil, err
	}
	i.journal = j
	if err := i.start(records, uptime, unix); err != nil {
		j.close()
		return nil, err
	}
	return i, nil
}

// start takes over what the journal has, and records that the device began.
func (i *Implant) start(records [][]byte, uptime time.Duration, unix int64) error {
	i.door = cwt.Door{
		Verifier: cwt.Verifier{
			Anchors: i.cfg.Anchors, Audiences: []string{i.cfg.ID, i.cfg.Kind.Class()}, Enrolled: i.cfg.Enrolled, Quorum: i.cfg.Quorum,
		},
		Devices: []string{i.cfg.ID}, Meter: new(cwt.Meter),
	}
	old, err := i.replay(records)
	if err != nil {
		return err
	}
	i.door.Durable = func(b []byte) error { return i.journal.write(appendDoor(b)) }
	i.boot = old.boot + 1
	life := old.life
	if unix > old.unix && old.unix > 0 {
		life += (unix - old.unix) * second
	}
	i.born = life - int64(uptime/time.Millisecond)
	if len(records) > 0 {
		i.model.restart(life)
		i.keep(i.entries(append([]*entry{{event: "restart", why: "what may have been given counts as given"}}, i.happened()...)...))
	} else {
		i.keep(i.entries(&entry{event: "start", why: i.cfg.Kind.String()}))
	}
	for _, l := range i.lists {
		if err := i.door.Update(l, i.instant()); err != nil {
			return fmt.Errorf("implant: a list of revocations: %w", err)
		}
	}
	return i.compact()
}

// Close ends it as a loss of power would, but in order.
func (i *Implant) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	return errors.Join(i.save(), i.journal.close())
}

// life is what the clock says in the device's own count, and never goes back.
func (i *Implant) life() int64 {
	uptime, _ := i.cfg.Clock()
	return i.born + int64(uptime/time.Millisecond)
}

// instant is now, as tokens see it.
func (i *Implant) instant() cwt.Instant {
	uptime, unix := i.cfg.Clock()
	if unix == 0 {
		return i.door.Now(i.boot, uptime)
	}
	return cwt.Instant{Unix: unix, Boot: i.boot, Uptime: uptime}
}

func (i *Implant) uptime() time.Duration {
	uptime, _ := i.cfg.Clock()
	return uptime
}

// move brings the therapy up to now.
func (i *Implant) move() {
	i.model.advance(i.life(), i.woke)
	i.woke = 0
}

// Tick moves the therapy on, and records what happened since. Whoever runs a device calls
// it every second or so; the therapy does not depend on how often.
func (i *Implant) Tick() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tick()
}

func (i *Implant) tick() error {
	i.move()
	if list := i.happened(); len(list) > 0 {
		return i.note(list...)
	}
	if i.life()-i.written >= checkpointEvery {
		return i.save()
	}
	return nil
}

// happened is what the therapy did by itself.
func (i *Implant) happened() (list []*entry) {
	for _, e := range i.model.events() {
		list = append(list, &entry{event: "therapy", why: e})
	}
	return list
}

// Couple says that the device's own hardware measures somebody at the patient, by a coil
// or another [cwt.PresenceKind]; 0, that it no longer does. Only then is a session
// attended.
func (i *Implant) Couple(kind cwt.PresenceKind) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	i.present = kind
	if kind == 0 {
		i.model.detached()
	}
	return i.tick()
}

// Open adds a session with a peer whose key is proven, by what EDHOC or a person gave
// both. It is durable when Open returns: a restart keeps it, and asks the peer for a sign
// of life before anything is done.
func (i *Implant) Open(key *cose.Key, p oscore.Params) (*Session, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.open(key, p)
}

func (i *Implant) open(key *cose.Key, p oscore.Params) (*Session, error) {
	s := &Session{key: key.Public(), id: hex.EncodeToString(p.RecipientID)}
	s.Actor = actorOf(&s.key)
	s.record = appendSession(s, &p)
	if err := i.begin(s, p); err != nil {
		return nil, err
	}
	for _, old := range slices.Clone(i.sessions) {
		if old.id == s.id && old != s {
			i.end(old, "another took its place")
		}
	}
	for len(i.sessions) > i.cfg.Sessions {
		i.end(i.sessions[0], "too many sessions")
	}
	if err := i.journal.write(s.record); err != nil {
		i.drop(s)
		return nil, err
	}
	return s, i.note(&entry{event: "session", actor: s.Actor, verdict: accepted})
}

// begin makes the context of a session.
func (i *Implant) begin(s *Session, p oscore.Params) error {
	p.Reserve = func(limit uint64) error {
		if err := i.journal.write(appendSequence(s.id, limit)); err != nil {
			return err
		}
		s.limit = limit
		return nil
	}
	ctx, err := oscore.New(p)
	if err != nil {
		return err
	}
	s.ctx = ctx
	if err := i.peers.Add(ctx); err != nil {
		return err
	}
	i.sessions = append(i.sessions, s)
	return nil
}

// End ends a session.
func (i *Implant) End(s *Session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	i.end(s, "ended")
}

func (i *Implant) end(s *Session, why string) {
	if !i.drop(s) {
		return
	}
	if s.held != nil {
		i.model.detached()
	}
	// A session that comes back after a restart does no harm: its peer has to prove to be
	// there.
	_ = i.journal.write(appendEnded(s.id))
	_ = i.note(&entry{event: "session", actor: s.Actor, verdict: "ended", why: why})
}

func (i *Implant) drop(s *Session) bool {
	n := slices.Index(i.sessions, s)
	if n < 0 {
		return false
	}
	i.sessions = slices.Delete(i.sessions, n, n+1)
	i.peers.Remove(s.ctx)
	return true
}

// Revoke takes a signed list of revocations, as a home monitor brings it.
func (i *Implant) Revoke(list []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	if err := i.door.Update(list, i.instant()); err != nil {
		_ = i.refuse(&entry{event: "revocations", why: err.Error()})
		return err
	}
	i.lists = slices.Clone(i.door.Revoked.Documents())
	if err := i.journal.write(appendRevocations(list)); err != nil {
		return err
	}
	return i.note(&entry{event: "revocations", verdict: accepted})
}

func (i *Implant) presence(now cwt.Instant) *cwt.Presence {
	if i.present == 0 {
		return nil
	}
	return &cwt.Presence{Kind: i.present, At: now}
}

// actorOf names a key in the log: never a person.
func actorOf(k *cose.Key) string {
	t := k.Thumbprint()
	return "key-" + hex.EncodeToString(t[:8])
}

// Log returns the entries of the device's log that are kept, each as a line.
func (i *Implant) Log() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var lines []string
	for _, b := range i.log {
		lines = append(lines, textOfEntry(b))
	}
	return lines
}

// State returns what GET /therapy and GET /telemetry say, as lines.
func (i *Implant) State() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	s, _ := Text(slices.Concat(i.model.therapy(), i.model.telemetry()).append(nil))
	return s
}

// command is what a peer asks for, with what the device knows.
func (i *Implant) command(q *Request) device.Command {
	_, unix := i.cfg.Clock()
	return device.Command{
		Verb: q.Verb, Value: q.Value, Limit: q.Limit, Device: i.cfg.ID, Stage: device.Proposed,
		Time: unix * int64(time.Second), Attended: i.present != 0,
	}
}
