// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
)

// A Said is a verdict, for the page.
type Said struct {
	Time     time.Time
	Front    string
	Device   string
	Actor    string
	Command  device.Command
	Effect   device.Effect
	Verdict  device.Verdict
	Enforced bool
	Reason   string
}

// Recent returns the last verdicts, the newest first.
func (g *Gate) Recent() []Said {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := slices.Clone(g.recent)
	slices.Reverse(out)
	return out
}

// verdict is the event of an answer.
func (g *Gate) verdict(a *Ask, out *Answer) *event.Event {
	c := &a.Request.Command
	e := &event.Event{Kind: event.VerdictGiven, Time: g.cfg.Now().UnixNano(), Device: device.Address{Kind: device.Host, Value: a.Device}, Peer: a.Peer}
	e.Add(event.Text(event.Front, a.Front), event.Int(event.Verb, c.Verb), event.Int(event.Effect, device.EffectOf(c)), event.Text(event.Value, c.Value.String()),
		event.Text(event.Actor, a.Actor), event.Int(event.Verdict, out.Verdict), event.Text(event.Reason, out.Why()), event.Bool(event.Enforced, out.Enforced))
	return e
}

// remember keeps a verdict for the page.
func (g *Gate) remember(a *Ask, out *Answer) {
	if g.cfg.Count != nil {
		g.cfg.Count(a.Front, a.Request.Command.Verb, out.Verdict)
	}
	s := Said{
		g.cfg.Now(), a.Front, a.Device, a.Actor, a.Request.Command, device.EffectOf(&a.Request.Command), out.Verdict,
		out.Enforced, out.Reason,
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.recent) == maxRecent {
		g.recent = append(g.recent[:0], g.recent[1:]...)
	}
	g.recent = append(g.recent, s)
}

// say records a verdict that is not routine: durably, or behind what waits for nothing.
func (g *Gate) say(a *Ask, out *Answer, behind bool) {
	g.remember(a, out)
	e := g.verdict(a, out)
	if behind {
		if !g.follow(g.behind, e) {
			g.cfg.Log.Error("the ledger does not follow; a rescue is only counted in it", "front", a.Front, "device", a.Device)
		}
		return
	}
	if g.crowded(e) {
		return
	}
	g.record(e)
}

// follow has an event recorded without being waited for. It reports false when the
// disk is so far behind that the event is only counted.
func (g *Gate) follow(queue chan<- *event.Event, e *event.Event) bool {
	select {
	case queue <- e:
		return true
	default:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.counter(summaryOf(e)).more++
		return false
	}
}

// record makes an event durable, or says loudly that it is not.
func (g *Gate) record(e *event.Event) {
	if err := g.cfg.Record(e); err != nil {
		g.cfg.Log.Error("not recorded", "kind", e.Kind.String(), "device", e.Device.Value, "err", err)
	}
}

// A summary is what events have in common that are counted instead of recorded
// one by one. What the other side chooses freely (values, destinations) is not in
// it, or a flood would be told apart for ever.
type summary struct {
	kind         event.Kind
	front        string
	device, peer device.Address
	verb         device.Verb
	verdict      device.Verdict
	operation    string
	enforced     int64
}

// A count is of one summary, in one minute.
type count struct {
	began time.Time
	at    time.Duration // the same, elapsed
	said  int           // recorded one by one
	more  int64         // counted, and not recorded yet
	next  int64         // as soon as more comes to this, it is
}

const (
	every      = time.Minute
	oneByOne   = 32   // of events that are alike are recorded one by one in a minute; the rest is counted
	maxCounted = 4096 // summaries at once; what is beyond is counted together
)

// summaryOf is what an event has in common with others that are alike.
func summaryOf(e *event.Event) summary {
	return summary{
		kind: e.Kind, front: e.Text(event.Front), device: e.Device, peer: e.Peer, verb: device.Verb(e.Int(event.Verb)),
		verdict: device.Verdict(e.Int(event.Verdict)), operation: e.Text(event.Operation), enforced: e.Int(event.Enforced),
	}
}

// counter returns the count of a summary. The caller holds the lock.
func (g *Gate) counter(s summary) *count {
	c := g.counted[s]
	if c == nil {
		if len(g.counted) >= maxCounted {
			s = summary{kind: s.kind, front: s.front, verdict: s.verdict, enforced: s.enforced}
			if c = g.counted[s]; c != nil {
				return c
			}
		}
		c = &count{began: g.cfg.Now(), at: g.elapsed(), next: oneByOne}
		g.counted[s] = c
	}
	return c
}

// routine counts a verdict that is as usual.
func (g *Gate) routine(a *Ask, out *Answer) {
	g.remember(a, out)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counter(summary{
		kind: event.VerdictsCounted, front: a.Front, device: device.Address{Kind: device.Host, Value: a.Device},
		verb: a.Request.Command.Verb, verdict: out.Verdict, enforced: 1,
	}).more++
}

// crowded reports whether so many events like this one were recorded in this
// minute that it is only counted: nobody fills a disk with refusals. What was counted is
// recorded each time that it has doubled, and when the minute is over: who kills the
// guard takes away no more than half of it.
func (g *Gate) crowded(e *event.Event) bool {
	g.mu.Lock()
	s := summaryOf(e)
	c := g.counter(s)
	if c.said < oneByOne {
		c.said++
		g.mu.Unlock()
		return false
	}
	c.more++
	var sum *event.Event
	if c.more >= c.next {
		sum = s.event(g.cfg.Now(), c)
		c.next, c.more = 2*c.next, 0
	}
	g.mu.Unlock()
	if sum != nil {
		g.record(sum)
	}
	return true
}

// Refused records what no list of a front allows, the first of a kind at once,
// more of the same kind counted, once a minute. It returns when the first is durable,
// or failed to be.
func (g *Gate) Refused(e *event.Event) {
	if !g.crowded(e) {
		g.record(e)
	}
}

// Noted is [Gate.Refused] for what does not wait for the disk: what passes all the
// same, and what is refused to whom nothing is told. It returns at once, and has e.
func (g *Gate) Noted(e *event.Event) {
	if !g.crowded(e) {
		g.follow(g.noted, e)
	}
}

// flush records what was counted for a minute, or all of it.
func (g *Gate) flush(now time.Time, all bool) {
	g.mu.Lock()
	elapsed := g.elapsed()
	var events []*event.Event
	for s, c := range g.counted {
		if !all && elapsed-c.at < every {
			continue
		}
		delete(g.counted, s)
		if c.more > 0 {
			events = append(events, s.event(now, c))
		}
	}
	g.mu.Unlock()
	slices.SortFunc(events, func(a, b *event.Event) int { return int(a.Int(event.Began) - b.Int(event.Began)) })
	for _, e := range events {
		g.record(e)
	}
}

// event is the summary as it is recorded.
func (s *summary) event(now time.Time, c *count) *event.Event {
	e := &event.Event{Kind: s.kind, Time: now.UnixNano(), Device: s.device, Peer: s.peer}
	switch s.kind {
	case event.AccessRefused:
		e.Add(event.Text(event.Front, s.front), event.Text(event.Operation, s.operation), event.Text(event.Destination, ""),
			event.Text(event.Reason, "as before"), event.Int(event.Count, c.more), event.Int(event.Enforced, s.enforced))
	default:
		e.Kind = event.VerdictsCounted
		e.Add(event.Text(event.Front, s.front), event.Int(event.Verb, s.verb), event.Int(event.Verdict, s.verdict),
			event.Int(event.Count, c.more), event.Int(event.Began, c.began.UnixNano()))
	}
	return e
}
