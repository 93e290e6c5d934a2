// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/proto/radio"
)

// stopsAgain is within which another suspend, or stimulation-off, is a change.
const stopsAgain = 4 * time.Hour

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
		a.Still = x.still
	}
	answer := f.env.Gate.Ask(f.inside, a)
	x.reason = answer.Reason
	f.env.Learned.Saw(p.Name, "command", c.Role.String(), c.Verb.String())
	return answer
}

// still says why a command that was held may not be asked for any more.
func (x *exchange) still() string {
	f := x.front
	if !f.begin() {
		return "the front that it came by is gone"
	}
	defer f.busy.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch held := x.request.from.held; {
	case held == nil || held.Left(f.instant()) <= 0 || f.door.Check(held.Token, f.instant()) != nil:
		return "the session of who asked is over"
	case held.Token.Grant.Role != x.command.Role:
		return "who asked has another role now"
	}
	return ""
}

// release delivers a command that was held.
func (x *exchange) release(answer *gate.Answer) {
	f := x.front
	if !f.begin() {
		answer.Abandon()
		return
	}
	defer f.busy.Done()
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
