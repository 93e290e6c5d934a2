// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/journal"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/proto/coap"
)

// Content formats (RFC 7252 section 12.3).
const (
	formatLinks = 40
	formatCBOR  = 60
)

var contentFormat = coap.Option{Number: coap.ContentFormat, Value: []byte{formatCBOR}}

const (
	pageBytes    = 800 // of entries in one answer of /log, so that it fits one datagram
	coreResource = `</therapy>;ct=60,</telemetry>;ct=60;obs,</limits>;ct=60,</log>;ct=60,</update>,</authz-info>,</.well-known/edhoc>;rt="core.edhoc"`
)

// Why a request is refused, whatever it asks the therapy for.
var (
	errToken   = errors.New("no token: post one to /authz-info")
	errUpdater = errors.New("only an updater installs")
	errUpdate  = errors.New("this device takes no updates by radio")
	errHeld    = errors.New("not now: an update is being installed")
	errOld     = errors.New("not known to be made now: held back, perhaps")
	errForm    = errors.New("not a request that this device reads")
)

// proven is what a channel has to give before anything is done.
const proven = device.Encrypted | device.Authenticated

// Fresh is how long ago the sender of a request has to have shown that it is there (RFC
// 9175), or 0 where that does not matter: a channel asks this, and gives no command to
// [Implant.Handle] as fresh whose sender did not.
func Fresh(m *coap.Message) time.Duration {
	if m.Code == coap.POST && string(m.Options.AppendPath(nil)) == "/therapy" {
		return fresh
	}
	return 0
}

// Handle answers a request: of a session, with what its channel protects it with, or of
// nobody, when s is nil. Channel is never what a message says of itself.
func (i *Implant) Handle(s *Session, channel device.Protection, m *coap.Message) coap.Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	if channel&proven != proven {
		s = nil
	}
	i.woke++
	_ = i.tick() // what cannot be recorded now is told by what follows
	q := &request{m, s, channel}
	path := string(m.Options.AppendPath(nil))
	r, ok := resources[path]
	if _, bad := m.Options.Refused(); bad {
		return answer(q, coap.BadOption, nil)
	}
	switch {
	case !ok:
		return answer(q, coap.NotFound, nil)
	case s == nil && !r.open:
		_ = i.refuse(&entry{event: "request", why: "not protected: " + path})
		return answer(q, coap.Unauthorized, nil)
	}
	h := r.methods[m.Code]
	if h == nil {
		return answer(q, coap.MethodNotAllowed, nil)
	}
	return h(i, q)
}

// A request is a message with who sent it.
type request struct {
	*coap.Message
	from    *Session // nil: nobody knows
	channel device.Protection
}

// A resource is what is at a path.
type resource struct {
	open    bool // without protection
	methods methods
}

type methods map[coap.Code]func(*Implant, *request) coap.Message

// resources is the whole device, but for /.well-known/edhoc, which is the channel's.
var resources = map[string]resource{
	"/.well-known/core": {true, methods{coap.GET: (*Implant).core}},
	"/therapy":          {false, methods{coap.GET: (*Implant).getTherapy, coap.POST: (*Implant).postTherapy}},
	"/telemetry":        {false, methods{coap.GET: (*Implant).getTelemetry}},
	"/limits":           {false, methods{coap.GET: (*Implant).getLimits}},
	"/log":              {false, methods{coap.GET: (*Implant).getLog}},
	"/update":           {false, methods{coap.GET: (*Implant).update, coap.POST: (*Implant).update}},
	"/authz-info":       {false, methods{coap.POST: (*Implant).postToken, coap.DELETE: (*Implant).deleteToken}},
}

// answer is the answer to a message: with what it is about, or empty.
func answer(m *request, code coap.Code, payload []byte, options ...coap.Option) coap.Message {
	a := coap.Message{Type: coap.NonConfirmable, Code: code, ID: m.ID, Token: m.Token}
	if m.Type == coap.Confirmable {
		a.Type = coap.Acknowledgement
	}
	last := coap.OptionNumber(0)
	for _, o := range options {
		a.Options = coap.AppendOption(a.Options, last, o)
		last = o.Number
	}
	if len(payload) > 0 {
		a.Payload = payload
	}
	return a
}

func content(m *request, code coap.Code, d therapy.Document) coap.Message {
	return answer(m, code, d.Append(nil), contentFormat)
}

// refusal tells a peer who is proven why not.
func refusal(m *request, code coap.Code, why error) coap.Message {
	return content(m, code, therapy.Document{therapy.Why.Is(why.Error())})
}

func (i *Implant) core(m *request) coap.Message {
	return answer(m, coap.Content, []byte(coreResource), coap.Option{Number: coap.ContentFormat, Value: []byte{formatLinks}})
}

// may asks whether a session may read.
func (i *Implant) may(m *request, v device.Verb) (coap.Message, bool) {
	s := m.from
	c := i.command(&therapy.Request{Verb: v})
	err := errToken
	code := coap.Unauthorized
	if s.held != nil {
		c.Therapy = device.Monitoring
		c.Actor, c.Role, c.Channel = s.Actor, s.held.Token.Grant.Role, proven
		err, code = s.held.Permits(&c, i.instant()), coap.Forbidden
	}
	if err == nil {
		return coap.Message{}, true
	}
	_ = i.refuse(&entry{event: "read", actor: s.Actor, role: c.Role, verb: v, why: err.Error()})
	return refusal(m, code, err), false
}

// stamp is what every answer about the device has.
func (i *Implant) stamp() therapy.Document {
	uptime, unix := i.cfg.Clock()
	d := therapy.Document{therapy.Boot.Is(i.boot), therapy.Uptime.Is(quantity(int64(uptime/time.Millisecond), -3, unitSecond))}
	if unix > 0 {
		d = append(d, therapy.Time.Is(unix))
	}
	return d
}

func (i *Implant) getTherapy(m *request) coap.Message {
	if a, ok := i.may(m, device.ReadSettings); !ok {
		return a
	}
	return content(m, coap.Content, append(i.stamp(), i.model.therapy()...))
}

func (i *Implant) getTelemetry(m *request) coap.Message {
	if a, ok := i.may(m, device.ReadTelemetry); !ok {
		return a
	}
	a := content(m, coap.Content, i.telemetry())
	if o, ok := m.Options.Get(coap.Observe); ok && len(o.Value) == 0 {
		a.Options = coap.AppendOption(coap.AppendOption(nil, 0, o), coap.Observe, contentFormat)
	}
	return a
}

func (i *Implant) telemetry() therapy.Document {
	return append(append(i.stamp(), i.model.telemetry()...), therapy.Failed.Is(i.refusals))
}

func (i *Implant) getLimits(m *request) coap.Message {
	if a, ok := i.may(m, device.ReadSettings); !ok {
		return a
	}
	var list []therapy.Document
	for _, b := range i.model.bounds() {
		d := therapy.Document{
			therapy.Verb.Is(uint64(cwt.VerbNumber(b.verb))),
			therapy.Lowest.Is(b.quantity(b.lowest)),
			therapy.Highest.Is(b.quantity(b.highest)),
			therapy.Step.Is(b.quantity(b.step)),
		}
		if b.note != "" {
			d = append(d, therapy.Why.Is(b.note))
		}
		list = append(list, d)
	}
	return content(m, coap.Content, therapy.Document{therapy.Limits.Is(list)})
}

// getLog answers with entries from the number in the query on ("from=17"), the oldest
// that is kept without one, and where to go on.
func (i *Implant) getLog(m *request) coap.Message {
	if a, ok := i.may(m, device.ReadSettings); !ok {
		return a
	}
	from := uint64(0)
	if o, ok := m.Options.Get(coap.URIQuery); ok {
		number, ok := strings.CutPrefix(string(o.Value), "from=")
		n, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil {
			return refusal(m, coap.BadRequest, errForm)
		}
		from = n
	}
	first := i.next - uint64(len(i.log))
	from = min(max(from, first), i.next)
	page := i.log[from-first:]
	n, bytes := 0, 0
	for n < len(page) && (n == 0 || bytes+len(page[n]) <= pageBytes) {
		bytes += len(page[n])
		n++
	}
	b := cbor.AppendMap(nil, 3)
	b = cbor.AppendArray(cbor.AppendUint(b, uint64(therapy.Entries)), n)
	for _, e := range page[:n] {
		b = append(b, e...)
	}
	b = cbor.AppendUint(cbor.AppendUint(b, uint64(therapy.Next)), from+uint64(n))
	head := i.journal.Head()
	b = cbor.AppendBytes(cbor.AppendUint(b, uint64(therapy.Head)), head[:])
	return answer(m, coap.Content, b, contentFormat)
}

// update says what the device wants of an update, and takes it ([updates.Push]).
func (i *Implant) update(m *request) coap.Message {
	s := m.from
	e := &entry{event: "update", actor: s.Actor, verb: device.Install}
	err, code := errToken, coap.Unauthorized
	if s.held != nil {
		e.role = s.held.Token.Grant.Role
		err, code = errUpdater, coap.Forbidden
		if e.role == device.Updater {
			if i.updates != nil {
				a := i.updates.Handle(m.Message)
				return answer(m, a.Code, a.Payload)
			}
			err, code = errUpdate, coap.NotImplemented
		}
	}
	e.why = err.Error()
	_ = i.refuse(e)
	return refusal(m, code, err)
}

// postToken takes a token. Why one is refused stands in the log only.
func (i *Implant) postToken(m *request) coap.Message {
	if i.admit(m.from, m.Payload) != nil {
		return answer(m, coap.Unauthorized, nil)
	}
	return answer(m, coap.Created, nil)
}

// Admit takes a token of a session that came otherwise than to /authz-info: with the
// handshake, or kept over a restart.
func (i *Implant) Admit(s *Session, token []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.move()
	return i.admit(s, token)
}

func (i *Implant) admit(s *Session, token []byte) error {
	now := i.instant()
	held, err := i.door.Admit(&cwt.Attempt{Token: bytes.Clone(token), Peer: &s.key, Presence: i.presence(now), Now: now})
	if err != nil {
		_ = i.refuse(&entry{event: "token", actor: s.Actor, why: err.Error()})
		return err
	}
	e := &entry{event: "token", actor: s.Actor, role: held.Token.Grant.Role, verdict: accepted}
	if t := held.Token; t.Emergency != nil {
		e.event = "break-glass"
		e.why = "open for " + held.Left(now).Round(time.Second).String() + ", approved by " + strconv.Itoa(t.Approved)
		if t.Grant.Narrow {
			e.why += ", narrowed"
		}
	}
	i.release(s)
	s.held = held
	_ = i.note(e) // what a break-glass token opened, the door has recorded already
	return nil
}

// deleteToken gives a token back; the payload is the number of a [cwt.Reason], which a
// break-glass session does not end without.
func (i *Implant) deleteToken(m *request) coap.Message {
	s := m.from
	if s.held == nil {
		return answer(m, coap.NotFound, nil)
	}
	why := cwt.Reason(0)
	if len(m.Payload) > 0 {
		r, err := cbor.Parse(m.Payload)
		n := r.Uint()
		if err != nil || r.Done() != nil || n > math.MaxUint8 {
			return refusal(m, coap.BadRequest, errForm)
		}
		why = cwt.Reason(n)
	}
	if err := s.held.Close(why, i.instant()); err != nil {
		return refusal(m, coap.BadRequest, err)
	}
	e := &entry{event: "token", actor: s.Actor, role: s.held.Token.Grant.Role, verdict: "ended", why: why.String()}
	if s.held.Token.Emergency != nil {
		e.event = "break-glass"
	}
	s.held = nil
	i.model.detached()
	_ = i.note(e)
	return answer(m, coap.Deleted, nil)
}

// postTherapy does a command, or says why not. In this order: who asks, is it there now,
// does the device have that, is it within the hard limits, does the token let it. What is
// accepted is durable before anything moves, and before anybody hears of it.
func (i *Implant) postTherapy(m *request) coap.Message {
	s := m.from
	q, err := therapy.ParseRequest(m.Payload)
	if err != nil {
		_ = i.refuse(&entry{event: "command", actor: s.Actor, why: errForm.Error()})
		return refusal(m, coap.BadRequest, errForm)
	}
	e := &entry{event: "command", actor: s.Actor, verb: q.Verb, value: q.Value, limit: q.Limit}
	no := func(code coap.Code, err error) coap.Message {
		e.why = err.Error()
		_ = i.refuse(e)
		return refusal(m, code, err)
	}
	if s.held == nil {
		return no(coap.Unauthorized, errToken)
	}
	c := i.command(q)
	c.Actor, c.Role, c.Channel = s.Actor, s.held.Token.Grant.Role, m.channel
	e.role = c.Role
	now := i.instant()
	if c.Channel&device.Fresh == 0 {
		return no(coap.Unauthorized, errOld)
	}
	if err := i.model.complete(&c); err != nil {
		return no(coap.NotImplemented, err)
	}
	if err := i.model.check(&c, q.Confirm); err != nil {
		return no(coap.UnprocessableEntity, err)
	}
	rescue := c.IsRescue() && !i.model.repeated(&c)
	if i.journal.Broken() && !rescue {
		return no(coap.ServiceUnavailable, journal.ErrBroken)
	}
	if i.held && !rescue {
		return no(coap.ServiceUnavailable, errHeld)
	}
	permits, effect := s.held.Permits, device.EffectOf(&c).String()
	if !rescue {
		permits = s.held.PermitsChange
		if c.IsRescue() {
			effect = "rescues again: a change"
		}
	}
	if err := permits(&c, now); err != nil {
		return no(coap.Forbidden, err)
	}
	undo := i.snapshot()
	i.model.apply(&c)
	c.Stage = device.Accepted
	e.verdict, e.why = accepted, effect
	if err := i.note(append([]*entry{e}, i.happened()...)...); err != nil && i.journal.Broken() {
		if !rescue {
			undo()
			return refusal(m, coap.ServiceUnavailable, journal.ErrBroken)
		}
		e.verdict = doubtful // a rescue waits for nothing; the record follows if it can
	}
	return content(m, coap.Changed, therapy.Document{
		therapy.Verb.Is(uint64(cwt.VerbNumber(q.Verb))),
		therapy.Stage.Is(c.Stage.String()),
		therapy.Effect.Is(effect),
	})
}

// snapshot returns what undoes all that is applied after it.
func (i *Implant) snapshot() func() {
	vars := i.model.vars()
	old := make([]int64, len(vars))
	for n, v := range vars {
		old[n] = *v
	}
	return func() {
		for n, v := range vars {
			*v = old[n]
		}
	}
}
