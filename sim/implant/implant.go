// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/journal"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
	updates "github.com/myelin-health/myelin/patch/agent/coap"
)

const (
	fresh           = 10 * time.Second // how old a command may be
	checkpointEvery = 15 * minute      // of life: how much basal can be in doubt after a restart
	attemptsCounted = 256              // kinds of refusal of one event that are counted apart
	maxEntries      = 512              // of the log that are kept
)

// A Request is what a POST to /therapy asks for.
type Request = therapy.Request

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
}

// An Implant is one device. Several goroutines may use it. Its methods move the therapy
// on to what the clock says; between calls nothing happens that a call would not find to
// have happened.
type Implant struct {
	cfg Config

	mu       sync.Mutex // guards what follows
	model    model
	journal  *journal.Journal
	door     cwt.Door
	lists    [][]byte // of revocations
	boot     uint64
	born     int64 // of this start, in the device's life
	written  int64 // life when the state was last recorded
	woke     int64 // since the therapy was moved
	present  cwt.PresenceKind
	log      [][]byte
	next     uint64                       // number of the next entry
	refused  map[string]map[string]uint64 // by event and what is alike
	refusals uint64
	held     bool            // an update begins: no therapy does
	updates  *updates.Device // who is pushed updates; nil takes none
	factory  []int64         // settings
}

// A Session is one peer who proved who it is. Its keys are the channel's business.
type Session struct {
	// Actor names the key that was proven: "key-" and the front of its thumbprint.
	Actor string

	key  cose.Key
	held *cwt.Session // what its token lets it do
}

// Open makes a device, or starts one again from its journal.
func Open(cfg Config) (*Implant, error) {
	if cfg.Clock == nil || cfg.ID == "" {
		return nil, errors.New("implant: a device has a clock and a name")
	}
	uptime, unix := cfg.Clock()
	m, err := newModel(cfg.Kind, unix%(day/second)*second)
	if err != nil {
		return nil, err
	}
	i := &Implant{cfg: cfg, model: m, refused: map[string]map[string]uint64{}, factory: values(m.settings())}
	j, records, err := journal.Open(cfg.Journal, journalOf)
	if err != nil {
		return nil, err
	}
	i.journal = j
	if err := i.start(records, uptime, unix); err != nil {
		j.Close()
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
	i.door.Durable = func(b []byte) error { return i.journal.Write(appendDoor(b)) }
	i.boot = old.boot + 1
	life := old.life
	switch {
	case len(records) == 0:
	case unix == 0 || old.unix == 0:
		life += checkpointEvery // as much as may have passed and not been recorded
	case unix > old.unix:
		life += (unix - old.unix) * second
	}
	i.born = life - int64(uptime/time.Millisecond)
	if len(records) > 0 {
		i.model.restart(life)
		err = i.note(append([]*entry{{event: "restart", why: "what may have been given counts as given"}}, i.happened()...)...)
	} else {
		err = i.note(&entry{event: "start", why: i.cfg.Kind.String()})
	}
	if err != nil {
		return err
	}
	for _, l := range i.lists {
		if err := i.door.Update(l, i.instant()); err != nil {
			return fmt.Errorf("implant: a list of revocations: %w", err)
		}
	}
	return nil
}

// Close ends it as a loss of power would, but in order.
func (i *Implant) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	return errors.Join(i.save(), i.journal.Close())
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

// Session begins a session with a peer whose key is proven.
func (i *Implant) Session(key *cose.Key) *Session {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := &Session{key: key.Public(), Actor: actorOf(key)}
	_ = i.note(&entry{event: "session", actor: s.Actor, verdict: accepted})
	return s
}

// End ends a session, and what holds only as long as somebody attends.
func (i *Implant) End(s *Session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	if i.release(s) {
		i.model.detached()
	}
	_ = i.note(append([]*entry{{event: "session", actor: s.Actor, verdict: "ended"}}, i.happened()...)...)
}

// release lets go of a session's token, if it has one: a clinician who left does not narrow
// what a rescuer may do. The window of a break-glass token stays open.
func (i *Implant) release(s *Session) bool {
	if s.held == nil {
		return false
	}
	if s.held.Token.Emergency == nil {
		_ = s.held.Close(0, i.instant()) // an error is of a window that was not recorded as closed
	}
	s.held = nil
	return true
}

// Failed counts what the channel refused, and wakes the radio for: a handshake that
// failed, a message that was forged or received before. Why is a few words of ours.
func (i *Implant) Failed(event, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.woke++
	_ = i.tick()
	_ = i.refuse(&entry{event: event, why: why})
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
	if err := i.journal.Write(appendRevocations(list)); err != nil {
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
		lines = append(lines, therapy.Line(b))
	}
	return lines
}

// State returns what GET /therapy and GET /telemetry say, as lines.
func (i *Implant) State() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	s, _ := therapy.Text(slices.Concat(i.model.therapy(), i.model.telemetry()).Append(nil))
	return s
}

// command is what a peer asks for, with what the device knows.
func (i *Implant) command(q *therapy.Request) device.Command {
	_, unix := i.cfg.Clock()
	return device.Command{
		Verb: q.Verb, Value: q.Value, Limit: q.Limit, Device: i.cfg.ID, Stage: device.Proposed,
		Time: unix * int64(time.Second), Attended: i.present != 0,
	}
}

// Measured numbers the measurements, one in five minutes of the device's life.
func (i *Implant) Measured() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.life() / bucket
}
