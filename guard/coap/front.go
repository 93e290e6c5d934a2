// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package coap is the front for implants and pumps whose own radio proves nothing: EDHOC
// and OSCORE (link/coap) outside, and inside a device that speaks plain CoAP or a dialect
// of proto/radio, which the front alone has the secret of. docs/guard-coap.md says how it
// is set up.
//
// What a message from outside goes through, in this order: OSCORE (who), Echo (now), the
// token of link/cwt (may he), whether the device has such a thing, the budget of wake-ups,
// the gate (is it safe), and only then one whole frame to the device:
//
//	clinician ──EDHOC, OSCORE──▶ Endpoint ─▶ token ─▶ gate ─▶ link ──frame, sealed──▶ device
//	          ◀── /telemetry, /raw ──────────────────────────── link ◀───── whatever it says
//
// What the device says goes to people whether it can be read or not: /raw has the bytes.
//
// A rescue takes a way of its own: no lock, disk or answer that something else waits for
// is in it.
//
// This API follows the server and may change.
package coap

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/journal"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/radio"
)

// Bounds of a front.
const (
	maxObservers = 64
	maxFrames    = 256  // of the device that are kept
	maxFrame     = 2048 // bytes of one that are kept; more are cut off
	maxAlarms    = 16
	maxEntries   = 512 // of the log
	maxPeers     = 1024
	maxBehind    = 256 // records that follow a rescue
	tickEvery    = time.Second
	freshWithin  = 5 * time.Minute // of a value that the device told
)

// A Front is one CoAP front. It is for one [Front.Run].
type Front struct {
	env   *front.Env
	began time.Time
	now   atomic.Pointer[Policy] // that holds

	endpoint *coap.Endpoint
	link     *link
	speaks   atomic.Pointer[speaker]
	turn     chan struct{} // holds one: a command that waits for its answer
	busy     sync.WaitGroup
	inside   context.Context // ends when nothing more may go to the device
	ready    atomic.Bool

	mu       sync.Mutex // guards what follows; it is held over the disk
	door     cwt.Door
	journal  *journal.Journal
	boot     uint64
	sessions map[*coap.Session]*session
	kept     map[*coap.Session][]byte // tokens from before a restart, until their holders come
	records  []*cwt.Record            // of break-glass, to be told before anybody is answered
	behind   [][]byte                 // of the door, to be recorded when a rescue has gone
	rescuing bool

	quick       sync.Mutex                 // guards what follows; it is never held over anything that waits
	quickly     map[*coap.Session]*session // as sessions, where the token was looked at
	stops       map[device.Verb]time.Time
	budgets     map[string]*budget
	all         budget
	said        said
	observation observation
	last        []byte // that was delivered
	lastAt      time.Time
	boluses     []bolus // that were sent, and not reported as given yet
	draining    bool
	log         [][]byte
	number      uint64            // of the next entry
	alike       map[string]uint64 // refusals, by what is alike
}

// said is what the device said.
type said struct {
	frames []frame
	next   uint64
	alarms []string
	fields therapy.Document
	values map[string]device.Quantity
	at     time.Time                 // of the values; zero when something may have changed them
	told   map[device.Verb]time.Time // when it answered a read
	body   []byte                    // of /telemetry of a device that speaks CoAP
	last   time.Time
}

// A frame is what came from the device, as it came.
type frame struct {
	number uint64
	time   time.Time
	bytes  []byte
	what   string // "" when it could not be read
	sealed bool
}

// A session is one peer that proved who it is.
type session struct {
	actor string
	key   cose.Key
	held  *cwt.Session // guarded by the front's mu
	reads bool         // guarded by the front's mu: it could read when it was looked at last

	// may is what a rescue looks at, which waits for no lock.
	may atomic.Pointer[entitled]
}

// entitled is what a session's token gives, without what has to be remembered.
type entitled struct {
	grant     cwt.Grant
	emergency bool
	until     time.Duration // since the front began
}

// An Emergency is a window that a break-glass token opened, for the banner of the page.
type Emergency struct {
	Front  string
	Device string
	Actor  string
	Until  time.Time
}

// New makes a front of a policy that [Read] read: a [*Front] before a device that is a
// server, a [*Client] before one that is a client.
func New(env *front.Env, p *Policy) front.Front {
	if p.calls != nil {
		return newClient(env, p)
	}
	return newFront(env, p)
}

func newFront(env *front.Env, p *Policy) *Front {
	f := &Front{
		env: env, began: env.Now(), turn: make(chan struct{}, 1), sessions: map[*coap.Session]*session{}, kept: map[*coap.Session][]byte{},
		stops: map[device.Verb]time.Time{}, budgets: map[string]*budget{},
		quickly: map[*coap.Session]*session{}, alike: map[string]uint64{},
	}
	f.said.told = map[device.Verb]time.Time{}
	f.observation = newObservation()
	f.adopt(p)
	return f
}

// adopt makes a policy the one that holds.
func (f *Front) adopt(p *Policy) {
	s := p.speaker(f.observation.token)
	f.speaks.Store(&s)
	f.now.Store(p)
}

func (f *Front) policy() *Policy { return f.now.Load() }

// Restarts reports whether a policy needs the front to be started anew: another
// device, direction, key, server, address, carrier or secret.
func (p *Policy) Restarts(was front.Policy) bool {
	old, ok := was.(*Policy)
	if !ok || (p.calls == nil) != (old.calls == nil) || p.calls != nil && p.calls.server != old.calls.server {
		return true
	}
	return p.Device != old.Device || p.public != old.public || p.address != old.address || p.carrier != old.carrier || string(p.secret) != string(old.secret)
}

// Update takes over another policy: whom it trusts, what is revoked, limits and the words
// of the device, from the next request on. Another key, device address, carrier or secret
// needs a restart, and is told and left as it was.
func (f *Front) Update(to front.Policy) {
	p, ok := to.(*Policy)
	if !ok {
		return
	}
	old := f.policy()
	if p.Restarts(old) {
		f.env.Log.Warn("another device, key, secret or address of the device needs a restart of the front; the old one holds", "front", p.Name)
		n := *p
		n.Device, n.key, n.public, n.address, n.carrier, n.secret = old.Device, old.key, old.public, old.address, old.carrier, old.secret
		p = &n
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.adopt(p)
	f.door.Anchors, f.door.Audiences, f.door.Quorum, f.door.Window = p.anchors, p.audiences(), p.quorum, p.window
	f.revoke(p)
	// Who was let in by an authority that does not count any more is not in.
	for _, s := range f.sessions {
		if s.held != nil && !slices.ContainsFunc(p.anchors, func(a cwt.Anchor) bool { return a.Name == s.held.Token.Issuer }) {
			f.release(s)
		}
		f.entitle(s)
	}
	f.tell()
}

// revoke takes the lists of what is revoked. A list that is no good revokes nobody, and
// is told.
func (f *Front) revoke(p *Policy) {
	for _, l := range p.revoked {
		if err := f.door.Update(l, f.instant()); err != nil {
			f.env.Log.Error("a list of what is revoked cannot be used", "front", p.Name, "err", err)
		}
	}
}

// uptime is since the front began.
func (f *Front) uptime() time.Duration { return f.env.Now().Sub(f.began) }

// instant is now, as tokens see it.
func (f *Front) instant() cwt.Instant {
	return cwt.Instant{Unix: f.env.Now().Unix(), Boot: f.boot, Uptime: f.uptime()}
}

// The kinds of record in the journal, the first item of each.
const (
	recordBoot  = 1 + iota // [1, boot, counter]: a start, and up to where the seal may count
	recordDoor             // [2, record of link/cwt]
	recordMeter            // [3, state of a meter of link/cwt]
	recordStop             // [4, number of the verb, nanoseconds since 1970]: a rescue that is none again
)

const journalOf = "myelin guard coap 1"

func appendRecord(kind uint64, b []byte) []byte {
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 2), kind), b)
}

func bootRecord(boot, counter uint64) []byte {
	return cbor.AppendUint(cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 3), recordBoot), boot), counter)
}

func stopRecord(v device.Verb, at time.Time) []byte {
	return cbor.AppendInt(cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 3), recordStop), uint64(cwt.VerbNumber(v))), at.UnixNano())
}

// counterRoom is how far the seal may count within one start.
const counterRoom = 1 << 40

// open takes over what the journal has.
func (f *Front) open(dir string) (counter uint64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	p := f.policy()
	j, records, err := journal.Open(filepath.Join(dir, "journal"), journalOf)
	if err != nil {
		return 0, err
	}
	f.journal = j
	f.door = cwt.Door{
		Verifier: cwt.Verifier{Anchors: p.anchors, Audiences: p.audiences(), Quorum: p.quorum},
		Devices:  []string{p.Device}, Window: p.window, Meter: new(cwt.Meter),
	}
	if counter, err = f.restore(records); err != nil {
		return 0, fmt.Errorf("%s: %w: %w", filepath.Join(dir, "journal"), journal.ErrDamaged, err)
	}
	f.boot++
	// Above what any start before may have used, and what the device may remember of another
	// guard.
	counter = max(counter, uint64(max(0, f.env.Now().UnixNano())))
	if err := j.Write(bootRecord(f.boot, counter+counterRoom)); err != nil {
		return 0, err
	}
	f.door.Durable = f.durable
	f.revoke(p)
	for _, o := range f.door.Openings(f.instant()) {
		f.emergency(o.Holder, o.Serial, o.Left, event.Succeeded, "still open after a restart")
	}
	return counter, nil
}

func (f *Front) restore(records [][]byte) (counter uint64, err error) {
	var door [][]byte
	for _, b := range records {
		r, err := cbor.Parse(b)
		if err != nil {
			return 0, err
		}
		n := r.Array()
		switch kind := r.Uint(); {
		case kind == recordBoot && n == 3:
			f.boot, counter = r.Uint(), r.Uint()
		case kind == recordDoor && n == 2:
			door = append(door, r.Bytes())
		case kind == recordMeter && n == 2:
			m, err := cwt.ParseMeter(r.Bytes())
			if err != nil {
				return 0, err
			}
			f.door.Meter = m
		case kind == recordStop && n == 3:
			number, at := r.Uint(), r.Int()
			for _, v := range []device.Verb{device.Suspend, device.StimulationOff} {
				if uint64(cwt.VerbNumber(v)) == number {
					f.stops[v] = time.Unix(0, at)
				}
			}
		default:
			r.Fail(cbor.ErrRange)
		}
		if err := r.Done(); err != nil {
			return 0, err
		}
	}
	return counter, f.door.Restore(door)
}

// durable is [cwt.Door].Durable. The record of a rescue follows it.
func (f *Front) durable(b []byte) error {
	if e, err := cwt.ParseRecord(b); err == nil && (e.Kind == cwt.Opened || e.Kind == cwt.Reconnected || e.Kind == cwt.Closed) {
		f.records = append(f.records, e)
	}
	if f.rescuing && len(f.behind) < maxBehind {
		f.behind = append(f.behind, appendRecord(recordDoor, b))
		return nil
	}
	return f.write(appendRecord(recordDoor, b))
}

// write makes records durable, behind those of rescues.
func (f *Front) write(records ...[]byte) error {
	err := f.journal.Write(append(f.behind, records...)...)
	if err == nil {
		f.behind = nil
	}
	return err
}

// compact writes the journal anew when it is long.
func (f *Front) compact() {
	if !f.journal.Full() || f.journal.Broken() {
		return
	}
	var records [][]byte
	f.door.Durable = func(b []byte) error {
		records = append(records, appendRecord(recordDoor, b))
		return nil
	}
	err := f.door.Checkpoint(f.instant())
	f.door.Durable = f.durable
	if err == nil {
		if len(records) > 1 { // a window that was over, and was recorded before
			records = records[len(records)-1:]
		}
		counter := uint64(0)
		if f.link.seal != nil {
			counter = f.link.seal.sent.Load()
		}
		records = append(records, bootRecord(f.boot, counter+counterRoom), appendRecord(recordMeter, f.door.Meter.Append(nil)))
		f.quick.Lock()
		for v, at := range f.stops {
			records = append(records, stopRecord(v, at))
		}
		f.quick.Unlock()
		err = f.journal.Replace(records)
	}
	if err != nil {
		f.journal.Break() // what the door says it recorded is not in there
		f.env.Log.Error("the journal could not be written anew; restart the guard", "front", f.policy().Name, "err", err)
	}
	f.behind = nil
}

// tell records what there is to be told of break-glass. The caller holds the lock, and
// answers nobody before. What cannot be recorded is in the door's own journal, and in the
// log of the operators.
func (f *Front) tell() {
	open := f.door.Openings(f.instant())
	for _, e := range f.records {
		var left time.Duration
		for _, o := range open {
			if o.Issuer == e.Issuer && string(o.Serial) == string(e.Serial) {
				left = o.Left
			}
		}
		f.emergency(e.Holder, e.Serial, left, event.Succeeded, e.Kind.String()+": "+e.Why)
	}
	f.records = nil
}

// emergency records something of break-glass that everybody has to hear of.
func (f *Front) emergency(holder [32]byte, serial []byte, left time.Duration, outcome event.Result, why string) {
	p, now := f.policy(), f.env.Now()
	after := int64(0)
	if left > 0 {
		after = now.Add(left).Unix()
	}
	sum := sha256.Sum256(serial)
	v := &event.Event{Kind: event.EmergencyUsed, Time: now.UnixNano(), Device: p.Protected()}
	v.Add(event.Text(event.Front, p.Name), event.Text(event.Actor, actorOf(holder)), event.Text(event.Target, p.Device), event.Text(event.Reason, why),
		event.Int(event.NotAfter, after), event.Int(event.Digest, binary.BigEndian.Uint64(sum[:])), event.Int(event.Outcome, outcome))
	f.env.Log.Warn("break-glass", "front", p.Name, "device", p.Device, "actor", actorOf(holder), "what", why)
	if err := f.env.Record(v); err != nil {
		f.env.Log.Error("an emergency could not be recorded", "front", p.Name, "err", err)
	}
	f.note(entry{event: "break-glass", actor: actorOf(holder), role: device.Emergency, why: why})
}

// Emergencies returns the windows that are open, for the page.
func (f *Front) Emergencies() (all []Emergency) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.journal == nil {
		return nil
	}
	p, now := f.policy(), f.env.Now()
	for _, o := range f.door.Openings(f.instant()) {
		all = append(all, Emergency{p.Name, o.Device, actorOf(o.Holder), now.Add(o.Left)})
	}
	return all
}

// actorOf names a key: never a person.
func actorOf(thumbprint [32]byte) string { return "key-" + hex.EncodeToString(thumbprint[:8]) }

// Run serves until ctx ends.
func (f *Front) Run(ctx context.Context) error {
	p := f.policy()
	dir := filepath.Join(f.env.State, p.Name)
	f.mu.Lock()
	counter, err := f.open(dir)
	f.tell()
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%v: %w", p, err)
	}
	defer f.journal.Close()
	f.link = &link{carrier: p.carrier, address: p.address, within: p.answer, hear: f.hear}
	if p.secret != nil {
		f.link.seal = newSeal(p.secret, counter)
	}
	f.link.connected = f.register
	store, err := coap.OpenStore(filepath.Join(dir, "sessions"))
	if err != nil {
		return fmt.Errorf("%v: %w", p, err)
	}
	defer store.Close()
	f.endpoint, err = coap.New(coap.Config{
		EDHOC: &edhoc.Config{
			Methods: []edhoc.Method{edhoc.DHDH}, Suites: []edhoc.Suite{2, 3}, Own: []*edhoc.Authenticator{p.key},
			Peers: func(id *edhoc.ID, ead []edhoc.EAD) ([]*edhoc.Credential, error) {
				return f.policy().credentials(id, ead)
			},
		},
		Handler: f.handle, Accept: f.accept, Fresh: fresh,
		Open: func(m *protocol.Message) bool { return resources[coap.Path(m)].open },
		// A guard has a socket to mains: a flood of strangers must not lock out who is none.
		Limits:   edhoc.Limits{HalfOpen: 1024, Peers: 4096, Device: edhoc.Allowance{Attempts: 4096, Per: 10 * time.Millisecond}},
		Sessions: p.Limits.Connections, Conns: p.Limits.Connections, Observers: maxObservers, MaxBody: coap.MaxMessage,
		Concurrent: true, Keep: store,
	})
	if err != nil {
		return fmt.Errorf("%v: %w", p, err)
	}
	socket, err := net.ListenPacket("udp", p.Listen.Address)
	if err != nil {
		return errors.Join(fmt.Errorf("%v: %w", p, err), f.endpoint.Close())
	}
	inside, away := context.WithCancel(context.WithoutCancel(ctx))
	outside, closed := context.WithCancel(context.WithoutCancel(ctx))
	f.inside = inside
	var wg sync.WaitGroup
	wg.Go(func() { f.link.run(inside) })
	wg.Go(func() { f.tick(outside) })
	f.ready.Store(true)
	f.env.Serves(true)
	defer f.env.Serves(false)
	served := make(chan error, 1)
	go func() { served <- f.endpoint.Serve(outside, &watched{socket, f}) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		f.quick.Lock()
		f.draining = true
		f.quick.Unlock()
		f.drain(p.Limits.Drain)
		closed()
		err = <-served
	}
	closed()
	err = errors.Join(err, f.endpoint.Close())
	away()
	f.busy.Wait()
	wg.Wait()
	return err
}

// Ready reports whether the front listens, and is connected to the device as far as can
// be told.
func (f *Front) Ready() bool { return f.ready.Load() && f.link.connectedNow() }

// drain waits for what was begun, and not for longer than d.
func (f *Front) drain(d time.Duration) {
	done := make(chan struct{})
	go func() { f.busy.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(d):
	}
}

// tick ends sessions that the channel no longer has, and windows whose time is over.
func (f *Front) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f.sweep()
			f.observe()
		}
	}
}

func (f *Front) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := map[*coap.Session]*session{}
	for s, own := range f.sessions {
		if s.Confirmed() { // before it is, the channel may not have it yet
			gone[s] = own
		}
	}
	for _, s := range f.endpoint.Sessions() {
		delete(gone, s)
	}
	for s, own := range gone {
		f.release(own)
		delete(f.sessions, s)
		delete(f.kept, s)
		f.quick.Lock()
		delete(f.quickly, s)
		f.quick.Unlock()
	}
	if len(f.behind) > 0 {
		_ = f.write() // a journal that is broken says so where it matters
	}
	f.compact()
	f.tell()
	f.lapse()
}

// A bolus that was sent.
type bolus struct {
	reservation uint64
	value       device.Quantity
	cancelled   bool
}

const maxBoluses = 64

// cancelled says that no bolus is under way any more: less than what was asked for may be
// all that there will be.
func (f *Front) cancelled() {
	f.quick.Lock()
	defer f.quick.Unlock()
	for i := range f.boluses {
		f.boluses[i].cancelled = true
	}
}

// rejected says that the device did not do it: a bolus is not given, and a stop that was
// none leaves the next one a rescue.
func (f *Front) rejected(v device.Verb, before time.Time, reservation uint64) {
	f.quick.Lock()
	defer f.quick.Unlock()
	if delete(f.stops, v); !before.IsZero() {
		f.stops[v] = before
	}
	f.boluses = slices.DeleteFunc(f.boluses, func(b bolus) bool { return b.reservation == reservation })
}

// given finds out of which boluses that the front sent an amount is that the device says
// it gave; what is left was somebody's at the device. The oldest comes first.
func (f *Front) given(amount device.Quantity, now time.Time) (all []envelope.Report) {
	f.quick.Lock()
	defer f.quick.Unlock()
	for len(f.boluses) > 0 && amount.Coefficient > 0 {
		b := f.boluses[0]
		order, ok := amount.Cmp(b.value)
		if !ok {
			break
		}
		part, final := b.value, order >= 0 || b.cancelled
		if order < 0 {
			part = amount
		}
		all = append(all, envelope.Report{Amount: part, Time: now, Reservation: b.reservation, Final: final})
		if f.boluses = f.boluses[1:]; !final { // more of it may come
			b.value = less(b.value, part)
			f.boluses = slices.Insert(f.boluses, 0, b)
		}
		amount = less(amount, part)
	}
	if amount.Coefficient > 0 {
		all = append(all, envelope.Report{Amount: amount, Time: now})
	}
	return all
}

// less is a without b, which is not more; without an exact answer it is a.
func less(a, b device.Quantity) device.Quantity {
	b.Coefficient = -b.Coefficient
	if d, err := a.Add(b); err == nil {
		return d
	}
	return a
}

// report takes what the device says that it gives, or does.
func (f *Front) report(b []byte, h *heard, now time.Time) {
	p := f.policy()
	r := envelope.Report{Rate: h.rate, State: h.state, Time: now}
	if h.kind == radio.Delivered {
		f.quick.Lock()
		repeats := p.dialect != nil && string(f.last) == string(b) && now.Sub(f.lastAt) < p.dialect.Repeats
		f.last, f.lastAt = b, now
		f.quick.Unlock()
		if repeats {
			return // a sender says it again until it is heard
		}
		switch h.command.Verb {
		case device.DeliverBolus:
			for _, r := range f.given(h.command.Value, now) {
				f.env.Gate.Report(p.Device, &r)
			}
		case device.SetBasalRate, device.SetTemporaryBasal, device.SetInfusionRate:
			r.Rate = h.command.Value
		}
	}
	if !r.Rate.IsNone() || r.State != "" {
		f.env.Gate.Report(p.Device, &r)
	}
}

// hear takes a message of the device. It reaches people whatever it is.
func (f *Front) hear(b []byte, counter uint64, sealed bool) {
	p, now := f.policy(), f.env.Now()
	f.env.Metrics.Bytes(p.Name, false, len(b))
	h := (*f.speaks.Load()).understand(b)
	f.keep(b, h, sealed, now)
	if p.dialect != nil || h.kind == radio.Report { // else it is no other state, and asking for one would never end
		f.endpoint.Notify("/telemetry")
	}
	f.endpoint.Notify("/raw")
	if sealed { // else anybody may have said it: people are told, and nothing is counted or answered by it
		f.link.answered(h, counter)
		if h.reply != nil {
			_, _ = f.link.send(h.reply, nil, false, func() {})
		}
		f.report(b, h, now)
	}
}

// keep keeps what the device said.
func (f *Front) keep(b []byte, h *heard, sealed bool, now time.Time) {
	f.quick.Lock()
	defer f.quick.Unlock()
	s := &f.said
	what := ""
	if h.kind != radio.Unknown {
		what = h.kind.String() + " " + h.name
	}
	if len(s.frames) == maxFrames {
		s.frames = slices.Delete(s.frames, 0, maxFrames/4)
	}
	s.frames = append(s.frames, frame{s.next, now, b[:min(len(b), maxFrame)], what, sealed})
	s.next++
	s.last = now
	if h.alarm != "" {
		if len(s.alarms) == maxAlarms {
			s.alarms = s.alarms[1:]
		}
		s.alarms = append(slices.DeleteFunc(s.alarms, func(a string) bool { return a == h.alarm }), h.alarm)
	}
	if !sealed {
		return
	}
	for _, x := range h.fields {
		s.fields = append(slices.DeleteFunc(s.fields, func(y therapy.Field) bool { return y.Key == x.Key }), x)
	}
	if len(h.values) > 0 {
		s.values, s.at = h.values, now
	}
	if h.kind == radio.Report && h.token != "" && f.observation.take(&h.observed, now) {
		s.body = h.body
	}
}

// A budget is how many wake-ups there are: so many a minute, and as many at once.
type budget struct {
	left float64
	at   time.Time
}

func (b *budget) spend(perMinute int, now time.Time) bool {
	if b.at.IsZero() {
		b.left, b.at = float64(perMinute), now
	}
	if d := now.Sub(b.at); d > 0 { // a clock that goes back gives nothing
		b.left, b.at = min(float64(perMinute), b.left+d.Minutes()*float64(perMinute)), now
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// wakes spends a wake-up of the device's radio for an actor. Each proven peer has its
// own budget. That of all together stops no clinician and no rescuer, so that others
// cannot use it up for them.
func (f *Front) wakes(actor string, role device.Role) bool {
	p, now := f.policy(), f.env.Now()
	f.quick.Lock()
	defer f.quick.Unlock()
	b := f.budgets[actor]
	if b == nil {
		if len(f.budgets) >= maxPeers {
			for k, o := range f.budgets { // any that has come back to what it was
				if now.Sub(o.at) > time.Minute {
					delete(f.budgets, k)
				}
			}
		}
		if len(f.budgets) >= maxPeers {
			return false
		}
		b = new(budget)
		f.budgets[actor] = b
	}
	if !b.spend(p.wakePeer, now) {
		return false
	}
	return f.all.spend(p.wakeAll, now) || role == device.Clinician || role == device.Emergency
}
