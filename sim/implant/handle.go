// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/proto/coap"
)

// Content formats (RFC 7252 section 12.3).
const (
	formatLinks = 40
	formatCBOR  = 60
)

const (
	pageBytes    = 800 // of entries in one answer of /log, so that it fits one datagram
	coreResource = `</therapy>;ct=60,</telemetry>;ct=60;obs,</limits>;ct=60,</log>;ct=60,</update>,</authz-info>,</.well-known/edhoc>;rt="core.edhoc"`
)

// proven is what OSCORE gives every message; that it is fresh takes an Echo option.
const proven = device.Encrypted | device.Authenticated

// Why a request is refused, whatever it asks the therapy for.
var (
	errToken   = errors.New("no token: post one to /authz-info")
	errUpdater = errors.New("only an updater installs")
	errUpdate  = errors.New("this device takes updates by no radio yet")
	errForm    = errors.New("not a request that this device reads")
)

// Handle answers a request. The session is the one whose keys it was protected with, nil
// when it was not protected at all. It is not the place where a repeated datagram is
// told from a new one: OSCORE does that for what is protected, and nothing else changes
// anything.
func (i *Implant) Handle(s *Session, m *coap.Message) coap.Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.handle(s, m)
}

func (i *Implant) handle(s *Session, m *coap.Message) coap.Message {
	i.woke++
	_ = i.tick() // what cannot be recorded now is told by what follows
	path := string(m.Options.AppendPath(nil))
	if n, bad := m.Options.Refused(); bad && n != coap.EDHOC {
		return answer(m, coap.BadOption, nil)
	}
	r, ok := resources[path]
	switch {
	case !ok:
		return answer(m, coap.NotFound, nil)
	case s == nil && !r.open:
		_ = i.refuse(&entry{event: "request", why: "not protected: " + path})
		return answer(m, coap.Unauthorized, nil)
	}
	h := r.methods[m.Code]
	if h == nil {
		return answer(m, coap.MethodNotAllowed, nil)
	}
	return h(i, s, m)
}

// A resource is what is at a path.
type resource struct {
	open    bool // without protection
	methods methods
}

type methods map[coap.Code]func(*Implant, *Session, *coap.Message) coap.Message

// resources is the whole device; /.well-known/edhoc is for what [Implant.Receive] takes.
var resources = map[string]resource{
	"/.well-known/core": {true, methods{coap.GET: (*Implant).core}},
	"/therapy":          {false, methods{coap.GET: (*Implant).getTherapy, coap.POST: (*Implant).postTherapy}},
	"/telemetry":        {false, methods{coap.GET: (*Implant).getTelemetry}},
	"/limits":           {false, methods{coap.GET: (*Implant).getLimits}},
	"/log":              {false, methods{coap.GET: (*Implant).getLog}},
	"/update":           {false, methods{coap.POST: (*Implant).postUpdate}},
	"/authz-info":       {false, methods{coap.POST: (*Implant).postToken, coap.DELETE: (*Implant).deleteToken}},
}

// answer is the answer to a message: with what it is about, or empty.
func answer(m *coap.Message, code coap.Code, payload []byte, options ...coap.Option) coap.Message {
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

func content(m *coap.Message, code coap.Code, d document) coap.Message {
	return answer(m, code, d.append(nil), coap.Option{Number: coap.ContentFormat, Value: coap.AppendUint(nil, formatCBOR)})
}

// refusal tells a peer who is proven why not.
func refusal(m *coap.Message, code coap.Code, why error) coap.Message {
	return content(m, code, document{{fieldWhy, why.Error()}})
}

func (i *Implant) core(_ *Session, m *coap.Message) coap.Message {
	return answer(m, coap.Content, []byte(coreResource), coap.Option{Number: coap.ContentFormat, Value: []byte{formatLinks}})
}

// may asks whether a session may read.
func (i *Implant) may(s *Session, m *coap.Message, v device.Verb) (coap.Message, bool) {
	c := i.command(&Request{Verb: v})
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
func (i *Implant) stamp() document {
	uptime, unix := i.cfg.Clock()
	d := document{{fieldBoot, i.boot}, {fieldUptime, quantity(int64(uptime/time.Millisecond), -3, unitSecond)}}
	if unix > 0 {
		d = append(d, field{fieldTime, unix})
	}
	return d
}

func (i *Implant) getTherapy(s *Session, m *coap.Message) coap.Message {
	if a, ok := i.may(s, m, device.ReadSettings); !ok {
		return a
	}
	return content(m, coap.Content, append(i.stamp(), i.model.therapy()...))
}

func (i *Implant) getTelemetry(s *Session, m *coap.Message) coap.Message {
	if a, ok := i.may(s, m, device.ReadTelemetry); !ok {
		return a
	}
	a := content(m, coap.Content, i.telemetry())
	s.register(i, m, &a)
	return a
}

func (i *Implant) telemetry() document {
	return append(append(i.stamp(), i.model.telemetry()...), field{fieldFailed, i.refusals})
}

func (i *Implant) getLimits(s *Session, m *coap.Message) coap.Message {
	if a, ok := i.may(s, m, device.ReadSettings); !ok {
		return a
	}
	var list []document
	for _, b := range i.model.bounds() {
		d := document{
			{fieldVerb, uint64(cwt.VerbNumber(b.verb))},
			{fieldLowest, b.quantity(b.lowest)},
			{fieldHighest, b.quantity(b.highest)},
			{fieldStep, b.quantity(b.step)},
		}
		if b.note != "" {
			d = append(d, field{fieldWhy, b.note})
		}
		list = append(list, d)
	}
	return content(m, coap.Content, document{{fieldLimits, list}})
}

// getLog answers with entries from the number in the query on ("from=17"), the oldest
// that is kept without one, and where to go on.
func (i *Implant) getLog(s *Session, m *coap.Message) coap.Message {
	if a, ok := i.may(s, m, device.ReadSettings); !ok {
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
	b = cbor.AppendArray(cbor.AppendUint(b, uint64(fieldEntries)), n)
	for _, e := range page[:n] {
		b = append(b, e...)
	}
	b = cbor.AppendUint(cbor.AppendUint(b, uint64(fieldNext)), from+uint64(n))
	b = cbor.AppendBytes(cbor.AppendUint(b, uint64(fieldHead)), i.journal.head[:])
	return answer(m, coap.Content, b, coap.Option{Number: coap.ContentFormat, Value: []byte{formatCBOR}})
}

func (i *Implant) postUpdate(s *Session, m *coap.Message) coap.Message {
	e := &entry{event: "update", actor: s.Actor, verb: device.Install}
	err, code := errToken, coap.Unauthorized
	if s.held != nil {
		e.role = s.held.Token.Grant.Role
		err, code = errUpdater, coap.Forbidden
		if e.role == device.Updater {
			err, code = errUpdate, coap.NotImplemented
		}
	}
	e.why = err.Error()
	_ = i.refuse(e)
	return refusal(m, code, err)
}

// postToken takes a token. Why one is refused stands in the log only.
func (i *Implant) postToken(s *Session, m *coap.Message) coap.Message {
	now := i.instant()
	held, err := i.door.Admit(&cwt.Attempt{Token: m.Payload, Peer: &s.key, Presence: i.presence(now), Now: now})
	if err != nil {
		_ = i.refuse(&entry{event: "token", actor: s.Actor, why: err.Error()})
		return answer(m, coap.Unauthorized, nil)
	}
	e := &entry{event: "token", actor: s.Actor, role: held.Token.Grant.Role, verdict: accepted}
	if t := held.Token; t.Emergency != nil {
		e.event = "break-glass"
		e.why = "open for " + held.Left(now).Round(time.Second).String() + ", approved by " + strconv.Itoa(t.Approved)
		if t.Grant.Narrow {
			e.why += ", narrowed"
		}
	}
	s.held = held
	_ = i.note(e) // what a break-glass token opened, the door has recorded already
	return answer(m, coap.Created, nil)
}

// deleteToken gives a token back; the payload is the number of a [cwt.Reason], which a
// break-glass session does not end without.
func (i *Implant) deleteToken(s *Session, m *coap.Message) coap.Message {
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
func (i *Implant) postTherapy(s *Session, m *coap.Message) coap.Message {
	q, err := ParseRequest(m.Payload)
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
	c.Actor, c.Role, c.Channel = s.Actor, s.held.Token.Grant.Role, proven
	e.role = c.Role
	now := i.instant()
	if o, ok := m.Options.Get(coap.Echo); !ok || !i.echo.Fresh(o.Value, s.ctx, now.Uptime, i.cfg.Fresh) {
		if ok {
			e.why = "not made now: held back, or from before a restart"
			_ = i.refuse(e)
		}
		return answer(m, coap.Unauthorized, nil, coap.Option{Number: coap.Echo, Value: i.echo.Append(nil, s.ctx, now.Uptime)})
	}
	c.Channel |= device.Fresh
	if err := i.model.complete(&c); err != nil {
		return no(coap.NotImplemented, err)
	}
	judged := i.model.judged(c)
	if err := i.model.check(&c, q.Confirm); err != nil {
		return no(coap.UnprocessableEntity, err)
	}
	rescue := judged.IsRescue()
	if i.journal.broken && !rescue {
		return no(coap.ServiceUnavailable, errBroken)
	}
	if err := s.held.Permits(&judged, now); err != nil {
		return no(coap.Forbidden, err)
	}
	effect := device.EffectOf(&judged)
	undo := i.snapshot()
	i.model.apply(&c)
	c.Stage = device.Accepted
	e.verdict, e.why = accepted, effect.String()
	if err := i.note(append([]*entry{e}, i.happened()...)...); err != nil && i.journal.broken {
		if !rescue {
			undo()
			return refusal(m, coap.ServiceUnavailable, errBroken)
		}
		e.verdict = doubtful // a rescue waits for nothing; the record follows if it can
	}
	return content(m, coap.Changed, document{
		{fieldVerb, uint64(cwt.VerbNumber(q.Verb))},
		{fieldStage, c.Stage.String()},
		{fieldEffect, effect.String()},
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
