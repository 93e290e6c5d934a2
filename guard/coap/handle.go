// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/radio"
)

// Content formats (RFC 7252 section 12.3).
const (
	formatLinks = 40
	formatCBOR  = 60
)

const (
	commandFresh = 10 * time.Second // how old a command may be
	stopsAgain   = 4 * time.Hour    // within which another suspend, or stimulation-off, is a change
	turnWithin   = 4 * time.Second  // for the answers of the commands before
	cacheWithin  = 2 * time.Second  // of what the device told: it is not woken to say it again
	pageBytes    = 800              // of entries or frames in one answer, so that it fits one datagram
)

const coreResource = `</therapy>;ct=60,</telemetry>;ct=60;obs,</raw>;ct=60;obs,</limits>;ct=60,</log>;ct=60,</authz-info>,</.well-known/edhoc>;rt="core.edhoc"`

// proven is what the channel gives to what is handled at all.
const proven = device.Encrypted | device.Authenticated

// Why something is refused, whoever asks.
var (
	errToken   = errors.New("no token: post one to /authz-info")
	errForm    = errors.New("not a request that is read here")
	errWakes   = errors.New("too many wake-ups: the device's battery is in a body; wait a minute")
	errStopped = errors.New("the guard is being stopped")
	errRecord  = errors.New("the guard cannot write down who asks; ask at the device itself")
	errSilent  = errors.New("the device did not answer: it may have done it, that counts as done, and nothing is sent again; look at the device")
	errRefused = errors.New("the device refused it")
)

// fresh is how long ago the sender of a request has to have shown that it is there.
func fresh(m *protocol.Message) time.Duration {
	if m.Code == protocol.POST && coap.Path(m) == "/therapy" {
		return commandFresh
	}
	return 0
}

// A resource is what is at a path.
type resource struct {
	open    bool
	methods map[protocol.Code]func(*Front, *request) protocol.Message
}

var resources map[string]resource

func init() {
	type methods = map[protocol.Code]func(*Front, *request) protocol.Message
	resources = map[string]resource{
		"/.well-known/core": {true, methods{protocol.GET: (*Front).core}},
		"/authz-info":       {false, methods{protocol.POST: (*Front).postToken, protocol.DELETE: (*Front).deleteToken}},
		"/therapy":          {false, methods{protocol.GET: (*Front).getTherapy, protocol.POST: (*Front).postTherapy}},
		"/telemetry":        {false, methods{protocol.GET: (*Front).getTelemetry}},
		"/raw":              {false, methods{protocol.GET: (*Front).getRaw}},
		"/limits":           {false, methods{protocol.GET: (*Front).getLimits}},
		"/log":              {false, methods{protocol.GET: (*Front).getLog}},
	}
}

// A request is a message with the session that it came in.
type request struct {
	*protocol.Message
	session *coap.Session
	from    *session
}

// accept begins a session for each of the channel's.
func (f *Front) accept(s *coap.Session, _ []edhoc.EAD) error {
	key := s.Peer.Key()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions[s] = &session{actor: actorOf(key.Thumbprint()), key: key.Public()}
	if token := s.Token(); token != nil && s.Restored {
		f.kept[s] = token
	}
	return nil
}

// handle answers a request from outside.
func (f *Front) handle(s *coap.Session, m *protocol.Message) protocol.Message {
	if !f.begin() {
		return refusal(protocol.ServiceUnavailable, errStopped)
	}
	defer f.busy.Done()
	r, ok := resources[coap.Path(m)]
	q := &request{m, s, nil}
	switch {
	case s.Protection != coap.OSCORE && !r.open:
		return protocol.Message{Code: protocol.Unauthorized} // not reached: the endpoint refuses it
	case !ok:
		return protocol.Message{Code: protocol.NotFound}
	}
	h := r.methods[m.Code]
	if h == nil {
		return protocol.Message{Code: protocol.MethodNotAllowed}
	}
	if s.Protection == coap.OSCORE {
		if q.from = f.sessionOf(s); q.from == nil {
			return protocol.Message{Code: protocol.Unauthorized}
		}
	}
	return h(f, q)
}

// begin reports whether something new may begin, which the drain then waits for.
func (f *Front) begin() bool {
	f.quick.Lock()
	defer f.quick.Unlock()
	if f.draining {
		return false
	}
	f.busy.Add(1)
	return true
}

// sessionOf returns the front's session; a token from before a restart is looked at
// again when its holder comes.
func (f *Front) sessionOf(s *coap.Session) *session {
	f.quick.Lock()
	own := f.quickly[s]
	f.quick.Unlock()
	if own != nil {
		return own
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if own = f.sessions[s]; own == nil {
		return nil
	}
	if token := f.kept[s]; token != nil {
		delete(f.kept, s)
		_ = f.admit(own, token)
		f.tell()
	}
	f.quick.Lock()
	f.quickly[s] = own
	f.quick.Unlock()
	return own
}

func content(code protocol.Code, d therapy.Document) protocol.Message {
	return coap.Response(code, formatCBOR, d.Append(nil))
}

// refusal tells a peer who is proven why not.
func refusal(code protocol.Code, why error) protocol.Message {
	return content(code, therapy.Document{therapy.Why.Is(why.Error())})
}

// refused records that something was refused, and how.
func (f *Front) refused(from *session, operation string, why error) {
	p := f.policy()
	peer := device.Address{}
	if from != nil {
		peer = device.Address{Kind: device.Host, Value: from.actor}
	}
	f.env.Refused(&p.Settings, peer, operation, "", why.Error())
	e := entry{event: operation, verdict: "refused", why: why.Error()}
	if from != nil {
		e.actor = from.actor
	}
	f.note(e)
}

func (f *Front) core(*request) protocol.Message {
	return coap.Response(protocol.Content, formatLinks, []byte(coreResource))
}

// postToken takes a token. Why one is refused stands in the log, and is not told.
func (f *Front) postToken(q *request) protocol.Message {
	f.mu.Lock()
	err := f.admit(q.from, q.Payload)
	f.tell()
	f.mu.Unlock()
	if err != nil {
		f.refused(q.from, "token", err)
		return protocol.Message{Code: protocol.Unauthorized}
	}
	_ = q.session.SetToken(q.Payload) // what is not kept is posted again
	return protocol.Message{Code: protocol.Created}
}

// admit lets the holder of a token in.
func (f *Front) admit(s *session, token []byte) error {
	now := f.instant()
	c, cerr := cwt.ParseToken(token)
	held, err := f.door.Admit(&cwt.Attempt{Token: token, Peer: &s.key, Device: f.policy().Device, Now: now})
	if err != nil {
		if cerr == nil && c.Emergency != nil {
			f.emergency(s.key.Thumbprint(), c.Serial, 0, event.Failed, "refused: "+err.Error())
		}
		return err
	}
	f.release(s)
	s.held = held
	f.entitle(s)
	f.note(entry{event: "token", actor: s.actor, role: held.Token.Grant.Role, verdict: "accepted"})
	return nil
}

// release lets go of a session's token. The window of a break-glass token stays open.
func (f *Front) release(s *session) {
	if s.held != nil && s.held.Token.Emergency == nil {
		_ = s.held.Close(0, f.instant()) // it has nothing to record
	}
	s.held = nil
	f.entitle(s)
}

// entitle brings what a rescue looks at up to what holds.
func (f *Front) entitle(s *session) {
	if s.held == nil {
		s.may.Store(nil)
		return
	}
	left := s.held.Left(f.instant())
	until := time.Duration(math.MaxInt64)
	if left < until-f.uptime() {
		until = f.uptime() + left
	}
	s.may.Store(&entitled{s.held.Token.Grant, s.held.Token.Emergency != nil, until})
}

// deleteToken gives a token back; the payload is the number of a [cwt.Reason], which a
// break-glass session does not end without.
func (f *Front) deleteToken(q *request) protocol.Message {
	why := cwt.Reason(0)
	if len(q.Payload) > 0 {
		r, err := cbor.Parse(q.Payload)
		n := r.Uint()
		if err != nil || r.Done() != nil || n > math.MaxUint8 {
			return refusal(protocol.BadRequest, errForm)
		}
		why = cwt.Reason(n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := q.from
	if s.held == nil {
		return protocol.Message{Code: protocol.NotFound}
	}
	err := s.held.Close(why, f.instant())
	if err != nil && errors.Is(err, cwt.ErrReason) {
		return refusal(protocol.BadRequest, err)
	}
	s.held = nil
	for _, o := range f.sessions { // others of the same window
		f.entitle(o)
	}
	f.tell()
	f.note(entry{event: "token", actor: s.actor, verdict: "ended", why: why.String()})
	_ = q.session.SetToken(nil)
	return protocol.Message{Code: protocol.Deleted}
}

// reads asks whether a session may read. An alarm passes here on its way to people: that
// waits for no lock that is held over a disk.
func (f *Front) reads(q *request, v device.Verb) (protocol.Message, bool) {
	p := f.policy()
	c := device.Command{Verb: v, Therapy: p.therapies.First(), Device: p.Device, Actor: q.from.actor, Channel: proven}
	err, code := errToken, protocol.Unauthorized
	if may := q.from.may.Load(); may != nil {
		c.Role = may.grant.Role
		err, code = may.grant.Permits(&c, nil, cwt.Instant{}), protocol.Forbidden
		if err == nil && may.until <= f.uptime() {
			err = cwt.ErrClosed
		}
	}
	if err != nil {
		f.refused(q.from, "read", err)
		return refusal(code, err), false
	}
	if f.mu.TryLock() { // the door is told that somebody is there
		if q.from.held != nil {
			_ = q.from.held.Permits(&c, f.instant())
		}
		f.mu.Unlock()
	}
	f.env.Learned.Saw(p.Name, "read", c.Role.String(), v.String())
	return protocol.Message{}, true
}

// read asks the device, unless it told just now, or there are no wake-ups left: then
// what it said last has to do.
func (f *Front) read(q *request, v device.Verb) {
	f.quick.Lock()
	at, ok := f.said.told[v]
	f.quick.Unlock()
	if ok && f.env.Now().Sub(at) < cacheWithin {
		return
	}
	role := device.NoRole
	if e := q.from.may.Load(); e != nil {
		role = e.grant.Role
	}
	if !f.wakes(q.from.actor, role) {
		f.refused(q.from, "wake", errWakes)
		return
	}
	c := device.Command{Verb: v}
	b, fits, err := (*f.speaks.Load()).say(&c)
	if err != nil {
		return // it has nothing to ask for
	}
	if !f.take() {
		return
	}
	defer f.give()
	if ask, err := f.send(b, fits, false, func() {}); err == nil && f.wait(ask) != nil {
		f.quick.Lock()
		defer f.quick.Unlock()
		f.said.told[v] = f.env.Now()
	}
}

// take waits for the commands before to be answered, and not for long.
func (f *Front) take() bool {
	t := time.NewTimer(turnWithin)
	defer t.Stop()
	select {
	case f.turn <- struct{}{}:
		return true
	case <-t.C:
	case <-f.inside.Done():
	}
	return false
}

func (f *Front) give() { <-f.turn }

// send sends one whole message to the device.
func (f *Front) send(b []byte, fits func(*heard) bool, rescue bool, sending func()) (*question, error) {
	p := f.policy()
	ask, err := f.link.send(b, fits, rescue, sending)
	if err == nil {
		f.env.Metrics.Bytes(p.Name, true, len(b))
	}
	return ask, err
}

// wait waits for the answer of the device, and returns nil when there was none in time.
func (f *Front) wait(ask *question) *heard {
	t := time.NewTimer(f.policy().answer)
	defer t.Stop()
	select {
	case h := <-ask.answer:
		return h
	case <-t.C:
	case <-f.inside.Done():
	}
	return nil
}

// stamp is what answers about the device begin with.
func (f *Front) stamp() therapy.Document {
	d := therapy.Document{therapy.Uptime.Is(seconds(f.uptime()))}
	f.quick.Lock()
	defer f.quick.Unlock()
	if !f.said.last.IsZero() {
		d = append(d, therapy.Time.Is(f.said.last.Unix()))
	}
	return append(d, f.said.fields...)
}

var second, _ = device.UnitOfUCUM("s")

func seconds(d time.Duration) device.Quantity {
	return device.Quantity{Coefficient: int64(d / time.Millisecond), Exponent: -3, Unit: second}
}

// body is what a device that speaks CoAP said of itself, if it does.
func (f *Front) body() []byte {
	f.quick.Lock()
	defer f.quick.Unlock()
	return f.said.body
}

func (f *Front) getTherapy(q *request) protocol.Message {
	if a, ok := f.reads(q, device.ReadSettings); !ok {
		return a
	}
	if f.policy().dialect == nil {
		return f.relay(q)
	}
	f.read(q, device.ReadSettings)
	return content(protocol.Content, f.stamp())
}

// relay asks a device that speaks CoAP for its settings, and passes its answer on.
func (f *Front) relay(q *request) protocol.Message {
	e := q.from.may.Load()
	if e == nil || !f.wakes(q.from.actor, e.grant.Role) {
		f.refused(q.from, "wake", errWakes)
		return refusal(protocol.TooManyRequests, errWakes)
	}
	if !f.take() {
		return refusal(protocol.GatewayTimeout, errBusy)
	}
	defer f.give()
	b, fits, err := (*f.speaks.Load()).say(&device.Command{Verb: device.ReadSettings})
	if err != nil {
		return refusal(protocol.NotImplemented, err)
	}
	ask, err := f.send(b, fits, false, func() {})
	if err != nil {
		return refusal(protocol.GatewayTimeout, err)
	}
	h := f.wait(ask)
	if h == nil || h.outcome != gate.Accepted {
		return protocol.Message{Code: protocol.GatewayTimeout}
	}
	return coap.Response(protocol.Content, formatCBOR, h.body)
}

func (f *Front) getTelemetry(q *request) protocol.Message {
	if a, ok := f.reads(q, device.ReadTelemetry); !ok {
		return a
	}
	if b := f.body(); b != nil {
		return observed(coap.Response(protocol.Content, formatCBOR, b))
	}
	d := f.stamp()
	f.quick.Lock()
	if alarms := slices.Clone(f.said.alarms); alarms != nil {
		d = append(slices.DeleteFunc(d, func(x therapy.Field) bool { return x.Key == therapy.Alarms }), therapy.Alarms.Is(alarms))
	}
	next := f.said.next
	f.quick.Unlock()
	return observed(content(protocol.Content, append(d, therapy.Next.Is(next))))
}

// observed says that a resource can be observed, if somebody asked for that.
func observed(m protocol.Message) protocol.Message {
	var out protocol.Options
	last := protocol.OptionNumber(0)
	add := func(o protocol.Option) { out = protocol.AppendOption(out, last, o); last = o.Number }
	add(protocol.Option{Number: protocol.Observe})
	for o := range m.Options.All() {
		add(o)
	}
	m.Options = out
	return m
}

// from is the number in a query "from=17", and otherwise that of the first that fits
// together with the newest.
func from(q *request, first, next uint64) (uint64, bool, error) {
	o, ok := q.Options.Get(protocol.URIQuery)
	if !ok {
		return first, false, nil
	}
	number, ok := strings.CutPrefix(string(o.Value), "from=")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return 0, false, errForm
	}
	return min(max(n, first), next), true, nil
}

// getRaw answers with what the device said, byte for byte: from a number on, or the
// newest. It can be observed: nothing that the device tells people is lost because the
// guard cannot read it.
func (f *Front) getRaw(q *request) protocol.Message {
	if a, ok := f.reads(q, device.ReadTelemetry); !ok {
		return a
	}
	f.quick.Lock()
	frames, next := slices.Clone(f.said.frames), f.said.next
	f.quick.Unlock()
	var all [][]byte
	for _, x := range frames {
		d := therapy.Document{therapy.Number.Is(x.number), therapy.Time.Is(x.time.Unix()), therapy.Frame.Is(x.bytes), therapy.Sealed.Is(x.sealed)}
		if x.what != "" {
			d = append(d, therapy.Event.Is(x.what))
		}
		all = append(all, d.Append(nil))
	}
	return page(q, all, next, true)
}

// page answers with entries up to what fits.
func page(q *request, all [][]byte, next uint64, newest bool) protocol.Message {
	first := next - uint64(len(all))
	at, asked, err := from(q, first, next)
	if err != nil {
		return refusal(protocol.BadRequest, err)
	}
	if newest && !asked { // as many of the newest as fit
		at = next
		for size := 0; at > first && (size == 0 || size+len(all[at-1-first]) <= pageBytes); at-- {
			size += len(all[at-1-first])
		}
	}
	rest := all[at-first:]
	n, size := 0, 0
	for n < len(rest) && (n == 0 || size+len(rest[n]) <= pageBytes) {
		size += len(rest[n])
		n++
	}
	b := cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(nil, 2), uint64(therapy.Entries)), n)
	for _, e := range rest[:n] {
		b = append(b, e...)
	}
	b = cbor.AppendUint(cbor.AppendUint(b, uint64(therapy.Next)), at+uint64(n))
	m := coap.Response(protocol.Content, formatCBOR, b)
	if newest {
		m = observed(m)
	}
	return m
}

// getLimits answers with what the session's token gives of what the device has.
func (f *Front) getLimits(q *request) protocol.Message {
	if a, ok := f.reads(q, device.ReadSettings); !ok {
		return a
	}
	speaks := *f.speaks.Load()
	list := []therapy.Document{}
	if e := q.from.may.Load(); e != nil {
		for _, g := range e.grant.Verbs {
			if !speaks.can(g.Verb) {
				continue
			}
			d := therapy.Document{therapy.Verb.Is(uint64(cwt.VerbNumber(g.Verb)))}
			for _, x := range []therapy.Field{therapy.Lowest.Is(g.Lowest), therapy.Highest.Is(g.Highest)} {
				if x.Value != (device.Quantity{}) {
					d = append(d, x)
				}
			}
			list = append(list, d)
		}
	}
	return content(protocol.Content, therapy.Document{therapy.Limits.Is(list)})
}

func (f *Front) getLog(q *request) protocol.Message {
	if a, ok := f.reads(q, device.ReadSettings); !ok {
		return a
	}
	f.quick.Lock()
	all, next := slices.Clone(f.log), f.number
	f.quick.Unlock()
	return page(q, all, next, false)
}

// An entry is one line of the front's own log, for who asks for it over the link. The
// events are what counts as a record.
type entry struct {
	event, actor string
	role         device.Role
	verb         device.Verb
	value        device.Quantity
	verdict, why string
}

func (f *Front) note(e entry) {
	f.quick.Lock()
	defer f.quick.Unlock()
	if e.verdict == "refused" { // those that are alike are noted each time their number has doubled
		key := e.event + "\x00" + e.actor + "\x00" + e.why
		if len(f.alike) >= maxPeers {
			clear(f.alike)
		}
		f.alike[key]++
		if bits.OnesCount64(f.alike[key]) != 1 {
			return
		}
	}
	d := therapy.Document{therapy.Number.Is(f.number), therapy.Time.Is(f.env.Now().Unix()), therapy.Event.Is(e.event)}
	if e.verb != device.NoVerb {
		d = append(d, therapy.Verb.Is(uint64(cwt.VerbNumber(e.verb))))
	}
	some := therapy.Document{
		therapy.Value.Is(e.value), therapy.Actor.Is(e.actor), therapy.Role.Is(e.role.String()), therapy.Verdict.Is(e.verdict), therapy.Why.Is(e.why),
	}
	for _, x := range some {
		if x.Value != "" && x.Value != (device.Quantity{}) {
			d = append(d, x)
		}
	}
	f.log = append(f.log, d.Append(nil))
	if len(f.log) > maxEntries {
		f.log = slices.Clone(f.log[maxEntries/4:])
	}
	f.number++
}

// postTherapy has a command done, or says why not.
func (f *Front) postTherapy(q *request) protocol.Message {
	r, err := therapy.ParseRequest(q.Payload)
	if err != nil {
		f.refused(q.from, "command", errForm)
		return refusal(protocol.BadRequest, errForm)
	}
	may := q.from.may.Load()
	if may == nil {
		f.refused(q.from, "command", errToken)
		return refusal(protocol.Unauthorized, errToken)
	}
	x := &exchange{front: f, request: q, entitled: may}
	x.command = device.Command{
		Verb: r.Verb, Value: r.Value, Limit: r.Limit, Device: f.policy().Device, Actor: q.from.actor, Role: may.grant.Role,
		Channel: proven | device.Fresh, Stage: device.Proposed, Time: f.env.Now().UnixNano(),
	}
	f.complete(&x.command)
	if x.message, x.fits, err = (*f.speaks.Load()).say(&x.command); err != nil {
		f.refused(q.from, "command", fmt.Errorf("%v: %w", r.Verb, err))
		return refusal(codeOf(err), err)
	}
	return x.ask()
}

func codeOf(err error) protocol.Code {
	if errors.Is(err, radio.ErrNoOpcode) {
		return protocol.NotImplemented
	}
	return protocol.UnprocessableEntity
}

// complete fills in which therapy a command is of, and what holds now where the device
// told it just now.
func (f *Front) complete(c *device.Command) {
	p := f.policy()
	for t := range p.therapies.All() {
		c.Therapy = t
		if p.dialect == nil || p.dialect.Has(c.Verb, t) {
			break
		}
	}
	if p.dialect == nil {
		return
	}
	name := p.dialect.ValueField(c.Verb, c.Therapy)
	f.quick.Lock()
	defer f.quick.Unlock()
	if v, ok := f.said.values[name]; ok && name != "" && f.env.Now().Sub(f.said.at) < freshWithin {
		if _, ok := v.Cmp(c.Value); ok {
			c.Now = v
		}
	}
}

// An exchange is a command on its way.
type exchange struct {
	front    *Front
	request  *request
	entitled *entitled
	command  device.Command
	message  []byte
	fits     func(*heard) bool
	reason   string // of the gate
}

// stops reports whether a verb is a rescue that is none again.
func stops(v device.Verb) bool { return v == device.Suspend || v == device.StimulationOff }

// again reports whether a command stops what was stopped not long ago: then it is no
// rescue but a change.
func (f *Front) again(c *device.Command) bool {
	if !stops(c.Verb) {
		return false
	}
	f.quick.Lock()
	defer f.quick.Unlock()
	at, ok := f.stops[c.Verb]
	return ok && f.env.Now().Sub(at) < stopsAgain
}

// ask has the command decided on. Nothing that may wait stands before a rescue.
func (x *exchange) ask() protocol.Message {
	f, c := x.front, &x.command
	again := f.again(c)
	if c.IsRescue() && !again && x.entitled.until > f.uptime() && x.entitled.grant.Permits(c, nil, cwt.Instant{}) == nil {
		answer := x.decide(true)
		f.busy.Go(x.remember)
		if !answer.Pass {
			return x.no(protocol.Forbidden, errors.New(answer.Reason))
		}
		return x.deliver(answer, true)
	}
	if !f.wakes(c.Actor, c.Role) {
		f.refused(x.request.from, "wake", errWakes)
		return refusal(protocol.TooManyRequests, errWakes)
	}
	if code, err := x.permitted(); err != nil {
		f.refused(x.request.from, "command", fmt.Errorf("%v: %w", c.Verb, err))
		return refusal(code, err)
	}
	answer := x.decide(false)
	switch {
	case answer.Pass:
		return x.deliver(answer, false)
	case answer.Hold != "":
		return x.no(protocol.Forbidden, fmt.Errorf("%s; it waits until %s for a person to confirm it at the guard's page", answer.Reason, answer.Expires.UTC().Format(time.TimeOnly)))
	}
	return x.no(protocol.Forbidden, errors.New(answer.Reason))
}

// no answers with why not. The gate has recorded it.
func (x *exchange) no(code protocol.Code, why error) protocol.Message {
	c := &x.command
	x.front.note(entry{event: "command", actor: c.Actor, role: c.Role, verb: c.Verb, value: c.Value, verdict: "refused", why: why.Error()})
	return refusal(code, why)
}

// permitted asks the token, and what it remembers is durable when it returns.
func (x *exchange) permitted() (protocol.Code, error) {
	f, c := x.front, &x.command
	f.mu.Lock()
	defer f.mu.Unlock()
	held := x.request.from.held
	if held == nil {
		return protocol.Unauthorized, errToken
	}
	if f.journal.Broken() {
		return protocol.ServiceUnavailable, errRecord
	}
	permits := held.Permits
	if c.IsRescue() {
		permits = held.PermitsChange
	}
	err := permits(c, f.instant())
	f.tell()
	if err != nil {
		return protocol.Forbidden, err
	}
	if device.EffectOf(c) != device.Reads && !c.Value.IsNone() {
		if err := f.write(appendRecord(recordMeter, f.door.Meter.Append(nil))); err != nil {
			return protocol.ServiceUnavailable, errRecord
		}
	}
	return 0, nil
}

// remember has a rescue that passed looked at by the door, which records it in a
// break-glass session; nothing waits for that.
func (x *exchange) remember() {
	f := x.front
	f.mu.Lock()
	defer f.mu.Unlock()
	if held := x.request.from.held; held != nil {
		f.rescuing = true
		_ = held.Permits(&x.command, f.instant()) // it has passed
		f.rescuing = false
		if len(f.behind) > 0 {
			_ = f.write() // or with the next record
		}
		f.tell()
	}
}

// decide asks the gate.
func (x *exchange) decide(rescue bool) *gate.Answer {
	f, c := x.front, x.command
	p := f.policy()
	a := &gate.Ask{
		Front: p.Name, Device: p.Device, Actor: c.Actor,
		Request: envelope.Request{Command: c, Emergency: x.entitled.emergency},
	}
	if !rescue {
		a.Release = func(_ context.Context, answer *gate.Answer) { x.release(answer) }
		a.Renew = func(r *envelope.Request) { f.complete(&r.Command) }
	}
	answer := f.env.Gate.Ask(f.inside, a)
	x.reason = answer.Reason
	f.env.Learned.Saw(p.Name, "command", c.Role.String(), c.Verb.String())
	return answer
}

// release delivers a command that was held, if its sender may still ask for it.
func (x *exchange) release(answer *gate.Answer) {
	f := x.front
	if !f.begin() {
		answer.Abandon()
		return
	}
	defer f.busy.Done()
	f.mu.Lock()
	held := x.request.from.held
	ok := held != nil && held.Left(f.instant()) > 0
	f.mu.Unlock()
	if !ok {
		answer.Abandon()
		f.refused(x.request.from, "command", fmt.Errorf("%v: the session of who asked is over", x.command.Verb))
		return
	}
	x.deliver(answer, false)
}

// deliver sends the command to the device, and settles what came of it. It waits for the
// answers of those before, unless it is a rescue.
func (x *exchange) deliver(answer *gate.Answer, rescue bool) protocol.Message {
	f, c := x.front, &x.command
	if !rescue {
		if !f.take() {
			answer.Abandon()
			return x.failed(errBusy)
		}
		defer f.give()
	}
	var before time.Time
	ask, err := f.send(x.message, x.fits, rescue, func() {
		answer.Sent()
		before = f.moved(c, answer.Reservation())
	})
	if err != nil {
		answer.Abandon()
		return x.failed(err)
	}
	h := f.wait(ask)
	if stops(c.Verb) && (h == nil || h.outcome != gate.Rejected) {
		f.busy.Go(func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			_ = f.write(stopRecord(c.Verb, f.env.Now())) // the gate's book knows it, too
		})
	}
	e := entry{event: "command", actor: c.Actor, role: c.Role, verb: c.Verb, value: c.Value, verdict: "accepted", why: x.reason}
	switch {
	case h == nil || h.outcome == gate.Unknown && h.kind == radio.Answer:
		answer.Outcome(gate.Unknown)
		e.verdict, e.why = "unknown", errSilent.Error()
		f.note(e)
		return refusal(protocol.GatewayTimeout, errSilent)
	case h.outcome == gate.Rejected:
		answer.Outcome(gate.Rejected)
		f.rejected(c.Verb, before, answer.Reservation())
		e.verdict, e.why = "refused", errRefused.Error()
		f.note(e)
		return refusal(protocol.Conflict, errRefused)
	}
	answer.Outcome(gate.Accepted)
	f.note(e)
	if c.Verb == device.CancelBolus {
		f.cancelled()
	}
	return content(protocol.Changed, therapy.Document{
		therapy.Verb.Is(uint64(cwt.VerbNumber(c.Verb))), therapy.Stage.Is(device.Accepted.String()), therapy.Effect.Is(device.EffectOf(c).String()),
	})
}

// failed is the answer when nothing was sent.
func (x *exchange) failed(err error) protocol.Message {
	c := &x.command
	x.front.note(entry{event: "command", actor: c.Actor, role: c.Role, verb: c.Verb, value: c.Value, verdict: "not sent", why: err.Error()})
	return refusal(protocol.GatewayTimeout, fmt.Errorf("%w; nothing was sent", err))
}

// moved says that a command is about to go out: what the device told before may not hold
// any more. It returns when a stop was sent before this one.
func (f *Front) moved(c *device.Command, reservation uint64) (before time.Time) {
	f.quick.Lock()
	defer f.quick.Unlock()
	if c.Verb == device.DeliverBolus && reservation != 0 {
		if len(f.boluses) == maxBoluses {
			f.boluses = slices.Delete(f.boluses, 0, 1)
		}
		f.boluses = append(f.boluses, bolus{reservation, c.Value, false})
	}
	if device.EffectOf(c) != device.Reads {
		f.said.at = time.Time{}
		clear(f.said.told)
	}
	if stops(c.Verb) {
		before = f.stops[c.Verb]
		f.stops[c.Verb] = f.env.Now()
	}
	return before
}

// A watched socket records what the endpoint refuses of strangers, before it is
// answered: requests in clear, handshakes that fail, messages that are forged or were
// received before.
type watched struct {
	net.PacketConn
	front *Front
}

func (w *watched) WriteTo(b []byte, addr net.Addr) (int, error) {
	var m protocol.Message
	if m.Parse(b) == nil && (m.Code.Class() == 4 || m.Code.Class() == 5) {
		if _, ok := m.Options.Get(protocol.OSCOREOption); !ok {
			w.front.stranger(&m, addr)
		}
	}
	return w.PacketConn.WriteTo(b, addr)
}

// ReadFrom notes what is no message of CoAP, or an answer to what nobody asked: somebody speaks the
// radio's own language to the guard, or wakes it.
func (w *watched) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := w.PacketConn.ReadFrom(b)
	if err == nil {
		var m protocol.Message
		if m.Parse(b[:n]) != nil || m.Code.Class() > 0 {
			w.front.refusedTo(addr, "datagram", "it is no CoAP: a frame of a radio, or a wake-up")
		}
	}
	return n, addr, err
}

func (f *Front) stranger(m *protocol.Message, addr net.Addr) {
	operation, why := "request", "in clear, or forged, or received before"
	if o, ok := m.Options.Get(protocol.ContentFormat); ok {
		if n, _ := o.Uint(); n == edhoc.ContentFormat {
			operation, why = "handshake", "it did not prove a key that is known here"
		}
	}
	if _, ok := m.Options.Get(protocol.MaxAge); ok { // link/oscore says that nobody may keep this
		operation, why = "message", "not by a session of the front, forged, or received before"
	}
	f.refusedTo(addr, operation, why)
}

// refusedTo records what was refused to somebody who proved nothing.
func (f *Front) refusedTo(addr net.Addr, operation, why string) {
	host, _, _ := net.SplitHostPort(addr.String())
	p := f.policy()
	f.env.Refused(&p.Settings, device.Address{Kind: device.IP, Value: host}, operation, "", why)
	f.note(entry{event: operation, verdict: "refused", why: why})
}
