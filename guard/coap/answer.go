// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// formatBytes is the content format of bytes that say nothing of themselves.
const formatBytes = 42

// bounded is of an answer of the server what the device may have by what is declared,
// or why it may not have it.
func bounded(d *declared, a *protocol.Message) (out protocol.Message, why string) {
	class := a.Code.Class()
	if !a.Code.Registered() || class != 2 && class != 4 && class != 5 || a.Code == protocol.Continue {
		return out, "it is no answer"
	}
	out.Code = a.Code
	if d == nil {
		if class == 2 && len(a.Payload) > 0 {
			return out, "nothing is declared at the path, and it has a payload"
		}
		return out, ""
	}
	last := protocol.OptionNumber(0)
	for o := range a.Options.All() {
		switch o.Number {
		case protocol.ETag, protocol.MaxAge, protocol.LocationPath, protocol.LocationQuery, protocol.ContentFormat:
			out.Options = protocol.AppendOption(out.Options, last, o)
			last = o.Number
		case protocol.Observe, protocol.Block1, protocol.Block2, protocol.Size2: // of each side by itself
		default:
			if o.Number.Critical() {
				return out, "it has an option that has to be understood, and is not"
			}
		}
	}
	if len(a.Payload) == 0 {
		return out, ""
	}
	o, ok := a.Options.Get(protocol.ContentFormat)
	switch n, fits := o.Uint(); {
	case ok && fits && slices.Contains(d.formats, n):
		out.Payload = a.Payload
	case !ok && class != 2: // words for people (RFC 7252 section 5.5.2), of whom there are none at the device
	case !ok:
		return out, "it does not say its content format"
	default:
		return out, "its content format is not declared"
	}
	return out, ""
}

// withheld is what the device is told of an answer that it may not have: that its
// report arrived, which it did, or that what it wanted to know cannot be had here.
func withheld(x *asked, code protocol.Code) protocol.Message {
	if !x.reads() && code.Registered() && code.Class() >= 2 && code != protocol.Continue {
		return protocol.Message{Code: code}
	}
	return protocol.Message{Code: protocol.BadGateway}
}

// refused records what of the server does not reach the device, before the device is
// answered; a disk that hangs holds that up for ACK_TIMEOUT, and the record follows.
func (c *Client) refused(operation, why string) {
	p := c.policy()
	done := make(chan struct{})
	c.later(func() {
		defer close(done)
		c.env.Refused(&p.Settings, device.Address{Kind: device.Host, Value: actorOf(p.calls.server)}, operation, "", why)
	})
	t := time.NewTimer(c.ack)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-c.inside.Done():
	}
}

// answer passes an answer of the server on, which was asked at a time.
func (c *Client) answer(x *asked, a *protocol.Message, made time.Time) {
	out, why := bounded(x.resource, a)
	if why == "" && x.resource != nil && x.resource.commands && len(out.Payload) > 0 {
		c.command(x, &out, made)
		return
	}
	if why != "" {
		c.refused("answer", why)
		out = withheld(x, a.Code)
	}
	c.reply(x, out, false, func() {})
}

// whole reports whether the device takes an answer in one message.
func (x *asked) whole() bool {
	o, ok := x.message.Options.Get(protocol.Block2)
	if !ok {
		return true
	}
	b, err := protocol.ParseBlock(o.Value)
	return err == nil && b.Num == 0 && b.Size() >= maxCommand
}

// maxCommand is more bytes than a command has, and fits one block.
const maxCommand = 256

// command has the gate decide on what the server tells the device to do. The device is
// told what was judged, and nothing else. Nobody learns from a device that calls whether it did
// it: until it or a person says, both what ran and what was asked for may run.
func (c *Client) command(x *asked, out *protocol.Message, made time.Time) {
	p := c.policy()
	r, err := therapy.ParseRequest(out.Payload)
	why := ""
	switch {
	case out.Code.Class() != 2:
		why = "a command in an answer that says that something failed"
	case err != nil:
		why = "it is no command that is read here"
	case r.Confirm:
		why = "a server is not at the bedside, and confirms nothing there"
	case !x.whole():
		why = "a command, and the device asks for a part of it"
	case time.Since(x.at) > deviceWaits:
		why = "a command, and the device does not wait for it any more"
	}
	no := func(why string) {
		c.refused("command", why)
		c.reply(x, withheld(x, out.Code), false, func() {})
	}
	if why != "" {
		no(why)
		return
	}
	k := device.Command{
		Verb: r.Verb, Value: r.Value, Limit: r.Limit, Therapy: p.therapies.First(), Device: p.Device, Actor: actorOf(p.calls.server), Role: p.calls.role,
		Channel: proven, Stage: device.Proposed, Time: c.env.Now().UnixNano(),
	}
	if time.Since(made) < commandFresh { // an answer belongs to what was asked (RFC 8613 section 7.4)
		k.Channel |= device.Fresh
	}
	if !k.IsRescue() { // what waits for the disk keeps out no rescue
		select {
		case c.judged <- struct{}{}:
			defer func() { <-c.judged }()
		default:
			no("too many commands are judged")
			return
		}
	}
	answer := c.env.Gate.Ask(c.inside, &gate.Ask{Front: p.Name, Device: p.Device, Actor: k.Actor, Request: envelope.Request{Command: k}})
	c.env.Learned.Saw(p.Name, "command", k.Role.String(), k.Verb.String())
	if !answer.Pass {
		c.reply(x, withheld(x, out.Code), false, func() {})
		return
	}
	if time.Since(made) > commandFresh && !k.IsRescue() { // the disk was slow
		answer.Abandon()
		no("a command that is too old when it was judged")
		return
	}
	// Not what came, which could say more to the device than it does here.
	told := therapy.Request{Verb: r.Verb, Value: r.Value, Limit: r.Limit}
	out.Payload = told.Append(nil)
	if c.reply(x, *out, true, answer.Sent) {
		answer.Outcome(gate.Proposed)
	} else {
		answer.Abandon()
	}
}
