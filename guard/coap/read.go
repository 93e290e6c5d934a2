// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

const (
	turnWithin  = 4 * time.Second // for the answers of the commands before
	cacheWithin = 2 * time.Second // of what the device told: it is not woken to say it again
	pageBytes   = 800             // of entries or frames in one answer, so that it fits one datagram
)

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

func (f *Front) getTherapy(q *request) protocol.Message {
	if a, ok := f.reads(q, device.ReadSettings); !ok {
		return a
	}
	if f.policy().dialect == nil {
		return f.relay(q, device.ReadSettings)
	}
	f.read(q, device.ReadSettings)
	return content(protocol.Content, f.stamp())
}

// relay asks a device that speaks CoAP, and passes its answer on.
func (f *Front) relay(q *request, v device.Verb) protocol.Message {
	e := q.from.may.Load()
	if e == nil || !f.wakes(q.from.actor, e.grant.Role) {
		f.refused(q.from, "wake", errWakes)
		return refusal(protocol.TooManyRequests, errWakes)
	}
	if !f.take() {
		return refusal(protocol.GatewayTimeout, errBusy)
	}
	defer f.give()
	b, fits, err := (*f.speaks.Load()).say(&device.Command{Verb: v})
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
	if f.policy().dialect == nil {
		if b := f.state(); b != nil {
			return observed(coap.Response(protocol.Content, formatCBOR, b))
		}
		return f.relay(q, device.ReadTelemetry) // and nobody observes what does not tell by itself
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
	return coap.WithOption(m, protocol.Observe, nil)
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
