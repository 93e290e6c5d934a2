// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/hl7"
)

// A session is one connection of a sender.
type session struct {
	f    *Front
	c    *front.Conn
	in   *inside       // to the device; nil until something may pass
	turn chan struct{} // a token for whoever writes to the sender: one block at a time
}

// An inside is a connection to the device.
type inside struct {
	net.Conn
	gone chan struct{} // closed when the device says no more
}

// dead reports whether the device has closed it.
func (in *inside) dead() bool {
	select {
	case <-in.gone:
		return true
	default:
		return false
	}
}

// A received message, whole, with the place it came in at.
type received struct {
	p        *Policy
	raw, msg []byte
	quirks   hl7.Quirks
	m        hl7.Message
	h        hl7.Header
	sender   *Sender // that it names; nil: none of the list
	proven   bool
	by       time.Time // when its sender is told something
}

// actor is who sent it as proven, or "".
func (r *received) actor() string {
	if r.proven {
		return r.sender.Name
	}
	return ""
}

// from is the sender for answers: nil when it is not proven.
func (r *received) from() *Sender {
	if r.proven {
		return r.sender
	}
	return nil
}

// serve is the life of a sender's connection.
func (f *Front) serve(ctx context.Context, c *front.Conn) {
	s := &session{f: f, c: c, turn: make(chan struct{}, 1)}
	r := blockReader{from: c, raw: c.Conn, most: f.policy.Load().MessageBytes}
	defer r.free()
	defer s.hangUp()
	for {
		raw, msg, quirks, err := r.next()
		p := f.policy.Load()
		r.most = p.MessageBytes
		switch {
		case errors.Is(err, errTooLong):
			f.env.Refused(&p.Settings, c.Peer, "size", "", err.Error())
			if m, bad := hl7.Parse(msg[:min(len(msg), hl7.MaxMessage)]); bad == nil {
				h := m.Header()
				s.answer(p, &m, &h, nil, err.Error())
			}
			return
		case errors.Is(err, errCut), errors.Is(err, errFraming), errors.Is(err, errTooQuiet):
			f.env.Refused(&p.Settings, c.Peer, "framing", "", err.Error())
			return
		case err != nil:
			return
		}
		if !s.take(ctx, &received{p: p, raw: raw, msg: msg, quirks: quirks, by: f.env.Now().Add(p.AnswerWithin)}) {
			return
		}
	}
}

func (s *session) hangUp() {
	if s.in != nil {
		s.in.Close()
		<-s.in.gone
	}
}

// take deals with one message, and reports whether there can be another.
func (s *session) take(ctx context.Context, r *received) bool {
	var err error
	if r.m, err = hl7.Parse(r.msg); err != nil {
		return s.unreadable(ctx, r)
	}
	r.h = r.m.Header()
	r.sender = r.p.sender(&r.h)
	r.proven = r.sender != nil && r.sender.proves(s.c)
	kind := r.m.Kind()
	s.f.env.Metrics.Message(r.p.Name, true, kind.String())
	s.f.learn(r, s.c)

	order := mayOrder(&r.m, &r.h, r.msg)
	operation, why := r.listed()
	if why != "" && s.f.env.Refused(&r.p.Settings, s.c.Peer, operation, "", why) {
		s.answer(r.p, &r.m, &r.h, r.from(), why)
		return true
	}
	if order {
		return s.order(ctx, r)
	}
	why = ""
	switch {
	case !r.proven:
		operation, why = "sender", unproven
	case r.quirks != 0 || r.m.Quirks&^(hl7.LineFeedEnds|hl7.MissingLastCR|hl7.EmptyLine) != 0:
		operation, why = "framing", "the message is ambiguous"
	}
	if why != "" && s.f.env.Refused(&r.p.Settings, s.c.Peer, operation, "", why) {
		s.answer(r.p, &r.m, &r.h, r.from(), why)
		return true
	}
	return s.forward(ctx, r, nil, nil)
}

const unproven = "the sender is only claimed: its certificate is not that of the application"

// listed says which list a message is not in, or "", "".
func (r *received) listed() (operation, why string) {
	switch {
	case r.sender == nil:
		return "sender", "the sending application is on no list"
	case !allows(r.sender.Messages, &r.h):
		return "message", "the type of message is not one that this sender may send"
	case !r.p.receives(&r.h):
		return "receiver", "the receiving application is on no list"
	}
	return "", ""
}

// unreadable deals with what is no message. A receiver may still read one in it.
func (s *session) unreadable(ctx context.Context, r *received) bool {
	const why = "it is no message of HL7 version 2"
	if s.f.env.Refused(&r.p.Settings, s.c.Peer, "message", "", why) {
		return false // there is nothing to answer to
	}
	answers, refusal := s.put(ctx, r, r.p.all(why), nil, nil)
	if refusal != nil {
		return false
	}
	return s.forward(ctx, r, answers, nil)
}

// learn tells what was used, for lists to be proposed from.
func (f *Front) learn(r *received, c *front.Conn) {
	const most = 64
	text := func(v hl7.Value) string {
		t := v.Text()
		if len(t) > most {
			return ""
		}
		for _, b := range []byte(t) {
			if b < ' ' || b > '~' {
				return ""
			}
		}
		return t
	}
	f.env.Learned.Saw(r.p.Name, text(r.h.SendingApplication.Namespace), text(r.h.SendingFacility.Namespace),
		text(r.h.ReceivingApplication.Namespace), text(r.h.ReceivingFacility.Namespace),
		strings.TrimSuffix(text(r.h.Code)+"^"+text(r.h.Trigger), "^"), c.Known())
}

// order deals with what may be an order.
func (s *session) order(ctx context.Context, r *received) bool {
	f, p := s.f, r.p
	actor := r.actor()
	if !f.limiter(p, actor).AllowN(f.env.Now(), 1) {
		const why = "too many orders at once"
		if f.env.Refused(&p.Settings, s.c.Peer, "rate", "", why) {
			s.answer(p, &r.m, &r.h, r.from(), why)
			return true
		}
	}
	asks, why := p.read(&r.m, &r.h, r.quirks)
	if why == "" && len(asks) == 0 {
		why = "there is no pump for it at this front"
	}
	if why != "" {
		if f.env.Refused(&p.Settings, s.c.Peer, "device", "", why) {
			s.answer(p, &r.m, &r.h, r.from(), why)
			return true
		}
		asks = p.all(why)
	}

	if f.memory.Err() != nil { // whether it came before cannot be said
		const why = "the guard does not know what came before; ask at the device itself"
		settings := p.Settings
		settings.Mode = front.Enforce
		f.env.Refused(&settings, s.c.Peer, "memory", "", why)
		s.answer(p, &r.m, &r.h, r.from(), why)
		return true
	}

	// What came before: an order is told by its number, and its sender by its name.
	orc := r.m.Segment("ORC")
	key := digest(r.h.SendingApplication.Namespace.Raw(), r.h.SendingApplication.UniversalID.Raw(), r.h.ControlID.Raw(), orc.Field(2).Raw())
	o := front.Order{Source: digest([]byte(actor)).Half(), Digest: digest(afterHeader(r.msg)).Half(), Time: timeOf(r.h.Time), Keep: rememberFor}
	var n front.Note
	if r.proven {
		n = f.memory.Begin(key, o)
	} else {
		n = f.memory.Look(key, o)
	}
	known := n.Known
	switch {
	case known == nil && n.Late:
		for i := range asks {
			asks[i].request.Undecided = "its own time (MSH-7) is not after that of orders which are not remembered any more: it may be one of them"
		}
	case known == nil:
	case !n.Same: // section 8 of the rules of therapy safety
		for i := range asks {
			asks[i].request.Replayed = true
		}
	case n.Equal:
		if known.Fate == front.Begun {
			known = f.memory.Wait(&n, r.by.Sub(f.env.Now()))
		}
		s.again(p, &r.m, &r.h, r.from(), known)
		return true
	default:
		for i := range asks {
			asks[i].request.Undecided = "its number was that of another order before"
		}
	}
	if o.Time == 0 {
		for i := range asks {
			asks[i].request.Undecided = cmp.Or(asks[i].request.Undecided, "it has no time of its own (MSH-7), by which one that comes again late could be told")
		}
	}
	mine := r.proven && known == nil // it is in the memory

	var written chan error
	if mine { // the disk is waited for once: the dose is written down in the meantime
		written = make(chan error, 1)
		go func() { written <- f.memory.Durable(n) }()
	}
	var kept *kept
	if len(asks) == 1 { // of several, the others would wait with it
		kept = f.keep(r, &asks[0], s.c, key, mine)
	}
	gone := func(why string) {
		if mine {
			f.memory.Gone(key, "refused: "+why)
		}
	}
	answers, refusal := s.put(ctx, r, asks, kept, gone)
	if mine {
		if err := <-written; err != nil && refusal == nil {
			f.env.Log.Error("an order could not be written down", "front", p.Name, "err", err)
			for _, a := range answers {
				a.Abandon()
			}
			refusal = &gate.Answer{Verdict: device.Deny, Reason: "the guard cannot write it down; ask at the device itself"}
		}
	}
	if refusal == nil && !r.proven && f.env.Refused(&p.Settings, s.c.Peer, "sender", "", unproven) {
		for _, a := range answers {
			a.Abandon()
		}
		refusal = &gate.Answer{Verdict: device.Deny, Reason: unproven}
	}
	if refusal != nil {
		reason, came := "refused: "+refusal.Reason, front.Refused
		if refusal.Hold != "" {
			reason, came = "not given yet: confirm at "+f.env.Gate.Page()+" (number "+refusal.Hold+"): "+refusal.Reason, front.Held
		}
		if mine {
			f.memory.Judged(key, came, reason)
		}
		s.answer(p, &r.m, &r.h, r.from(), reason)
		return true
	}
	var remember *orderKey
	if mine {
		remember = &key
	}
	return s.forward(ctx, r, answers, remember)
}

// afterHeader is a message without its first segment: a sender that sends again
// may write another time there.
func afterHeader(msg []byte) []byte {
	if i := bytes.IndexByte(msg, '\r'); i >= 0 {
		return msg[i:]
	}
	return nil
}

// put puts what an order asks before the gate: all of it passes, or nothing does,
// and then the refusal says why. It can wait for a person when it is kept.
func (s *session) put(ctx context.Context, r *received, asks []asking, kept *kept, gone func(string)) (answers []*gate.Answer, refusal *gate.Answer) {
	protection, role := s.c.Protection(), device.NoRole
	if r.proven {
		role = r.sender.Role
	} else {
		protection &^= device.Authenticated | device.Fresh
	}
	for i := range asks {
		a := &gate.Ask{
			Front: r.p.Name, Device: asks[i].device, Actor: r.actor(), Peer: s.c.Peer,
			Request: asks[i].request, Gone: gone,
		}
		if kept != nil {
			a.Release, a.Still, a.Renew = kept.release, kept.still, kept.renew
		}
		s.f.reported(asks[i].device, &a.Request)
		c := &a.Request.Command
		c.Actor, c.Role, c.Channel, c.Time = r.actor(), role, protection, s.f.env.Now().UnixNano()
		answer := s.f.ask(ctx, a)
		if !answer.Pass {
			for _, before := range answers {
				before.Abandon()
			}
			return nil, answer
		}
		answers = append(answers, answer)
	}
	for i, answer := range answers {
		s.f.passed(&r.m, &asks[i], answer)
	}
	return answers, nil
}

// reported fills in what a pump reported last beside what is asked of it.
func (f *Front) reported(pump string, r *envelope.Request) {
	known := f.last(pump)
	c := &r.Command
	if c.Now = known.flow; c.Value.Unit.IsDoseRate() {
		c.Now = known.dose
	}
	if c.Verb != device.SetInfusionRate {
		c.Now = device.Quantity{}
	}
	if w := r.Weight; r.Undecided == "" && !w.IsNone() && !known.weightOf.IsNone() {
		if order, ok := w.Cmp(known.weightOf); !ok || order != 0 { // ten times the weight is ten times the flow
			r.Undecided = "its weight of the patient is not the one that the pump reports"
		}
	}
}

// forward sends a message to the device, byte for byte, and waits until the
// device has answered, or the sender has to be told something.
func (s *session) forward(ctx context.Context, r *received, answers []*gate.Answer, key *orderKey) bool {
	f := s.f
	if err := s.reach(ctx, r.p); err != nil {
		f.env.Log.Warn("cannot reach the device", "front", r.p.Name, "err", err)
		for _, a := range answers {
			a.Abandon()
		}
		const why = "the device cannot be reached; this was not given"
		if key != nil {
			f.memory.End(*key, front.Dropped, why)
		}
		s.unreached(r, why)
		return true
	}
	w := f.expect(r.actor(), &r.m, &r.h, answers, key)
	for _, a := range answers {
		a.Sent()
	}
	s.in.SetWriteDeadline(time.Now().Add(r.p.Limits.Unfinished))
	_, err := s.in.Write(r.raw)
	f.env.Metrics.Bytes(r.p.Name, true, len(r.raw))
	if err == nil && !f.wanted(w) {
		return true
	}
	if err == nil {
		wait := time.NewTimer(r.by.Sub(f.env.Now()))
		defer wait.Stop()
		select {
		case <-w.told:
			return true
		case <-wait.C:
		case <-s.in.gone:
			select { // it answered, and closed
			case <-w.told:
				return true
			default:
			}
		case <-ctx.Done():
		}
	}
	if len(answers) == 0 && key == nil {
		return !s.in.dead() && err == nil // nothing was ordered: its sender asks again
	}
	if key != nil {
		f.memory.End(*key, front.Doubted, inDoubt)
	}
	s.answer(r.p, &r.m, &r.h, r.from(), inDoubt)
	return err == nil
}

// unreached answers a message that did not go to the device and may be sent again.
func (s *session) unreached(r *received, why string) {
	switch w := &s.f.answers; {
	case !r.h.Enhanced():
		s.say(w.application(&r.m, &r.h, "AE", why, ""))
	case wants(r.h.AcceptAck, false):
		s.say(w.accept(&r.m, &r.h, "CE", why))
	default:
		s.answer(r.p, &r.m, &r.h, r.from(), why)
	}
}

// reach connects to the device, unless the connection there was still stands.
func (s *session) reach(ctx context.Context, p *Policy) error {
	if s.in != nil && !s.in.dead() {
		return nil
	}
	s.hangUp()
	s.in = nil
	c, err := p.Dial(ctx)
	if err != nil {
		return err
	}
	in := &inside{Conn: c, gone: make(chan struct{})}
	s.in = in
	go s.back(in)
	return nil
}

// back carries to the sender what the device says, as it comes.
func (s *session) back(in *inside) {
	defer close(in.gone)
	t := s.f.tap()
	mine := false
	defer func() {
		if mine {
			<-s.turn
		}
	}()
	name := s.c.Settings.Name
	carry(in.Conn, func(b []byte) error {
		if !mine {
			mine = s.claim()
		}
		t.pass(b) // first, so that a sender that sends again is told the same
		_, err := s.c.Write(b)
		s.f.env.Metrics.Bytes(name, false, len(b))
		if mine && !t.open() && b[len(b)-1] != 0x1c {
			<-s.turn
			mine = false
		}
		return err
	})
}

// patience is how long one who writes to a sender waits for another.
const patience = time.Second

// claim takes the turn to write to the sender. It reports false when another
// does not end its block; then nobody waits any longer.
func (s *session) claim() bool {
	select {
	case s.turn <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case s.turn <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

// say sends a block of the guard's own to the sender.
func (s *session) say(block []byte) {
	if s.claim() {
		defer func() { <-s.turn }()
	}
	if _, err := s.c.Write(block); err != nil && !errors.Is(err, io.EOF) {
		s.f.env.Log.Debug("an answer could not be written", "front", s.c.Settings.Name)
	}
}

// A kept order waits for a person, longer than the connection it came by.
type kept struct {
	*received             // of a copy of its bytes
	f         *Front      // that it came by
	c         *front.Conn // that is closed perhaps; for its certificate
	asked     asking
	key       orderKey
	mine      bool // it is in the memory
}

// keep keeps an order; nil when it cannot be read once more.
func (f *Front) keep(r *received, a *asking, c *front.Conn, key orderKey, mine bool) *kept {
	again := &received{p: r.p, raw: bytes.Clone(r.raw), quirks: r.quirks, sender: r.sender, proven: r.proven}
	if len(again.raw) < len(r.msg)+3 {
		return nil
	}
	again.msg = again.raw[1 : len(again.raw)-2]
	var err error
	if again.m, err = hl7.Parse(again.msg); err != nil || !bytes.Equal(again.msg, r.msg) {
		return nil
	}
	again.h = again.m.Header()
	return &kept{again, f, c, *a, key, mine}
}

// still says why the order may not go out any more, by the policy of now: what it asks
// for, and of which pump, has to be read in it as when it came.
func (k *kept) still() string {
	select {
	case <-k.f.stopping:
		return "the front that it came by is gone"
	default:
	}
	now := &received{p: k.f.policy.Load(), raw: k.raw, msg: k.msg, quirks: k.quirks, m: k.m, h: k.h}
	now.sender = now.p.sender(&now.h)
	if _, why := now.listed(); why != "" && (now.sender == nil || now.p.Mode == front.Enforce) {
		return why
	}
	asks, _ := now.p.read(&now.m, &now.h, now.quirks)
	switch {
	case now.sender.Name != k.sender.Name || !now.sender.proves(k.c):
		return unproven
	case len(asks) != 1 || asks[0] != k.asked:
		return "what it asks for, or of which pump, is not the same any more"
	}
	return ""
}

// renew fills in the sender's role and what the pump says, as they are now.
func (k *kept) renew(r *envelope.Request) {
	r.Command.Role = device.NoRole
	if sender := k.f.policy.Load().sender(&k.h); sender != nil {
		r.Command.Role = sender.Role
	}
	r.Undecided = k.asked.request.Undecided
	k.f.reported(k.asked.device, r)
}

// release forwards an order that waited for a person. Its answer does not go
// to the connection it came by, which has had one: what the device answers as an
// application goes to the sender's side.
func (k *kept) release(ctx context.Context, a *gate.Answer) {
	f, p, key := k.f, k.f.policy.Load(), k.key
	quit := func(why string, err error) {
		a.Abandon()
		if k.mine {
			f.memory.End(key, front.Dropped, why)
		}
		f.env.Log.Error("a confirmed order did not go out", "front", p.Name, "why", why, "err", err)
		f.env.Refused(&p.Settings, f.protected(), "release", "", why)
	}
	if k.mine {
		if err := f.memory.Again(key); err != nil {
			quit("a confirmed order could not be written down", err)
			return
		}
	}
	c, err := p.Dial(ctx)
	if err != nil {
		quit("a confirmed order could not be sent: the device cannot be reached", err)
		return
	}
	var remember *orderKey
	if k.mine {
		remember = &key
	}
	f.passed(&k.m, &k.asked, a)
	w := f.expect(k.actor(), &k.m, &k.h, []*gate.Answer{a}, remember)
	a.Sent()
	c.SetDeadline(time.Now().Add(p.Limits.Unfinished))
	_, err = c.Write(k.raw)
	if err != nil || !f.wanted(w) {
		c.Close()
		return
	}
	f.work.Go(func() {
		defer c.Close()
		stop := context.AfterFunc(f.ending, func() { c.Close() })
		defer stop()
		t := f.tap()
		t.heard = func(msg []byte) bool {
			read := f.heard(msg, true)
			answer, err := hl7.Parse(msg)
			if err != nil || !k.proven {
				return read
			}
			said, ok := answer.Answer()
			if ret, way := p.Returns[k.sender.Returns]; ok && way && len(said.Code.Raw()) > 0 && said.Code.Raw()[0] == 'A' {
				done := make(chan struct{})
				close(done)
				f.deliver(&ret, hl7.AppendBlock(nil, msg), done)
			}
			return read
		}
		carry(c, func(b []byte) error { t.pass(b); return nil })
	})
	select {
	case <-w.told:
	case <-ctx.Done():
	case <-time.After(p.AnswerWithin):
	}
}

// A pendingKey is what an answer is told by: for which application, to which
// message.
type pendingKey struct{ application, control string }

// A pending message waits for what the device's system says to it.
type pending struct {
	key         pendingKey
	queue       *list.List    // of what is like it and of its sender
	place       *list.Element // in it
	sender      string        // as proven, or ""
	answers     []*gate.Answer
	order       *orderKey
	accept, app bool          // what is to come; app: unless it is no error
	told        chan struct{} // closed with the first answer
	taken       bool          // the accept acknowledgement was good
	shared      bool          // another message had its number: nobody knows what an answer is to
	timer       *time.Timer
}

const (
	maxPending = 4096             // messages of one sender without an answer, orders and others apart; of more, the oldest is in doubt
	maxNumbers = 1 << 14          // numbers of messages that went to the device
	answerBy   = 10 * time.Minute // for the application's answer, after which it is in doubt what came of an order
)

// expect waits for the answers to a message that is about to go to the device. A
// device that never sends the answers it owes costs nobody the next order: the sender's
// oldest message makes room, and what came of it is in doubt.
func (f *Front) expect(sender string, m *hl7.Message, h *hl7.Header, answers []*gate.Answer, order *orderKey) *pending {
	w := &pending{
		sender:  sender,
		key:     pendingKey{string(h.SendingApplication.Namespace.Raw()), string(h.ControlID.Raw())},
		answers: answers, order: order, told: make(chan struct{}),
		accept: !h.Enhanced() || wants(h.AcceptAck, true), app: h.Enhanced() && wants(h.ApplicationAck, true),
	}
	if h.ControlID.IsEmpty() {
		w.accept, w.app = false, false
	}
	f.mu.Lock()
	var gone []*pending
	old := f.pending[w.key]
	if old != nil {
		f.remove(old)
		gone = append(gone, old)
	}
	if len(answers) > 0 {
		sender += "\x00orders" // what a sender of admissions makes is not in their way
	}
	queue := f.queues[sender]
	if queue == nil {
		queue = list.New()
		f.queues[sender] = queue
	}
	if queue.Len() >= maxPending {
		oldest := queue.Front().Value.(*pending)
		f.remove(oldest)
		gone = append(gone, oldest)
	}
	f.pending[w.key] = w
	w.queue, w.place = queue, queue.PushBack(w)
	w.shared = f.numbers.seen(digest([]byte(w.key.application), []byte(w.key.control)), f.env.Now()) || old != nil
	w.timer = time.AfterFunc(answerBy, func() { f.expire(w) })
	f.mu.Unlock()
	for _, old := range gone {
		old.finish(f, gate.Unknown)
	}
	return w
}

// numbers are those of the last messages that went to the device, with the time.
type numbers struct {
	at   map[orderKey]time.Time
	ring []orderKey
	next int // of ring
}

// seen adds a number, and reports whether an answer to another message of that number
// may still come.
func (n *numbers) seen(k orderKey, now time.Time) bool {
	before, ok := n.at[k]
	switch {
	case ok:
	case n.at == nil:
		n.at = map[orderKey]time.Time{}
		fallthrough
	case len(n.ring) < maxNumbers:
		n.ring = append(n.ring, k)
	default:
		delete(n.at, n.ring[n.next])
		n.ring[n.next] = k
		n.next = (n.next + 1) % maxNumbers
	}
	n.at[k] = now
	return ok && now.Sub(before) < answerBy
}

// wanted reports whether an answer on the same connection is to come. When none
// ever will, nobody knows what came of it.
func (f *Front) wanted(w *pending) bool {
	if !w.accept && !w.app {
		f.expire(w)
	}
	return w.accept
}

// expire ends the wait for an answer.
func (f *Front) expire(w *pending) {
	if f.drop(w) {
		w.finish(f, gate.Unknown)
	}
}

// drop takes a message off the list, once.
func (f *Front) drop(w *pending) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending[w.key] != w {
		return false
	}
	f.remove(w)
	return true
}

// remove takes a message off its lists. The caller holds the lock. A queue stays
// when it is empty: there is one for each sender of the policy.
func (f *Front) remove(w *pending) {
	delete(f.pending, w.key)
	w.queue.Remove(w.place)
	w.timer.Stop()
}

// forget ends all waits, as the front does.
func (f *Front) forget() {
	f.mu.Lock()
	var all []*pending
	for _, w := range f.pending {
		all = append(all, w)
	}
	f.mu.Unlock()
	for _, w := range all {
		f.expire(w)
	}
}

func (w *pending) finish(f *Front, o gate.Outcome) {
	for _, a := range w.answers {
		a.Outcome(o)
	}
	if w.order != nil && !(o == gate.Unknown && w.taken) {
		f.memory.End(*w.order, map[gate.Outcome]front.Fate{gate.Proposed: front.Accepted, gate.Rejected: front.Rejected, gate.Unknown: front.Doubted}[o], "")
	}
}

// answered takes what the device's system says to a message.
func (f *Front) answered(k pendingKey, code string) {
	f.mu.Lock()
	w := f.pending[k]
	f.mu.Unlock()
	if w == nil {
		return
	}
	outcome := gate.Proposed // PCD-03 asks a person at the pump, whatever the answer
	switch code {
	case "CA":
		if w.app {
			f.mu.Lock()
			first := !w.taken
			w.taken = true
			f.mu.Unlock()
			if first {
				if w.order != nil {
					f.memory.End(*w.order, front.Accepted, "")
				}
				close(w.told)
			}
			return
		}
	case "AA":
	case "CE", "CR", "AE", "AR":
		outcome = gate.Rejected
	default:
		return
	}
	if w.shared {
		outcome = gate.Unknown
	}
	if f.drop(w) {
		w.finish(f, outcome)
		f.mu.Lock()
		first := !w.taken
		w.taken = true
		f.mu.Unlock()
		if first {
			close(w.told)
		}
	}
}
