// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/hl7"
)

// wants reports whether a sender wants an acknowledgement of a kind (MSH-15,
// MSH-16; table 0155), given whether it is a good one.
func wants(v hl7.Value, good bool) bool {
	switch {
	case v.IsEmpty(), v.Is("NE"):
		return false
	case v.Is("SU"):
		return good
	case v.Is("ER"):
		return !good
	}
	return true
}

// An answerer writes the answers of a front, in the name of whom the message was for.
type answerer struct {
	now  func() time.Time
	next func() uint64 // numbers its messages
}

// accept is the accept acknowledgement (v2.6 section 2.9.3.1).
func (w *answerer) accept(m *hl7.Message, h *hl7.Header, code, reason string) []byte {
	return w.message(m, h, "ACK", string(h.Trigger.Raw()), "ACK", "NE", code, reason)
}

// application is the application's answer: RRG^O16 to an order of PCD-03, and
// ACK to the rest.
func (w *answerer) application(m *hl7.Message, h *hl7.Header, code, reason, accept string) []byte {
	if h.Code.Is("RGV") {
		return w.message(m, h, "RRG", "O16", "RRG_O16", accept, code, reason)
	}
	return w.message(m, h, "ACK", string(h.Trigger.Raw()), "ACK", accept, code, reason)
}

func (w *answerer) message(m *hl7.Message, h *hl7.Header, kind, trigger, structure, accept, code, reason string) []byte {
	b := hl7.Builder{Delimiters: m.Delimiters}
	msh := m.Segment("MSH")
	raw := func(n int) string { return string(msh.Field(n).Raw()) }
	version := raw(12)
	if version == "" {
		version = "2.6"
	}
	b.Segment("MSH").Raw(raw(5)).Raw(raw(6)).Raw(raw(3)).Raw(raw(4)).Text(w.now().Format("20060102150405-0700")).Empty(1).
		Components(kind, trigger, structure).Text("MYELIN" + strconv.FormatUint(w.next(), 36)).Raw(raw(11)).Raw(version)
	if h.Enhanced() {
		b.Empty(2).Text(accept).Text("NE")
	}
	b.Segment("MSA").Text(code).Raw(string(h.ControlID.Raw()))
	if reason != "" { // ERR-3 of table 0357; ERR-8 is for a person to read
		b.Segment("ERR").Empty(2).Components("207", "Application internal error", "HL70357").Text("E").Empty(3).Text(reason)
	}
	return hl7.AppendBlock(nil, b.Bytes())
}

// Bounds of the answers that go to a sender on a connection of their own.
const (
	maxDelivering = 64
	deliverTries  = 3
	deliverWait   = 2 * time.Second // before the second try; twice that before the third
)

// deliver sends an application's answer to a sender's side, on a connection of
// its own, if there is room for one more; it returns at once. Done says, in the
// meantime, that the accept acknowledgement before it is out.
func (f *Front) deliver(ret *Return, block []byte, done <-chan struct{}) bool {
	select {
	case f.delivering <- struct{}{}:
	default:
		return false
	}
	f.work.Go(func() {
		defer func() { <-f.delivering }()
		<-done
		for try := range deliverTries {
			if try > 0 {
				select {
				case <-time.After(deliverWait << (try - 1)):
				case <-f.ending.Done():
				}
			}
			err := f.send(ret, block)
			if err == nil {
				return
			}
			f.env.Log.Warn("an answer did not reach the sender", "front", ret.Name, "try", try+1, "err", err)
		}
		f.env.Refused(&ret.Settings, f.protected(), "answer", "", "an answer could not be told to its sender")
	})
	return true
}

// send sends one block, and waits until it is acknowledged.
func (f *Front) send(ret *Return, block []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), ret.Limits.Handshake+ret.Limits.Unfinished)
	defer cancel()
	c, err := ret.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	if _, err := c.Write(block); err != nil {
		return err
	}
	r := blockReader{from: plainSource{c}, raw: c, most: f.policy.Load().MessageBytes}
	defer r.free()
	if _, _, _, err := r.next(); err != nil && err != io.EOF { // it took it, and says nothing
		return err
	}
	return nil
}

// A plainSource has one deadline for all.
type plainSource struct{ io.Reader }

func (plainSource) Begin() {}
func (plainSource) End()   {}

// answer gives a sender the answer that a refused message has: on the same
// connection in original mode; in enhanced mode an accept acknowledgement and the
// application's answer AE on a connection of its own, or, when it wants no such
// answer or there is no way to it, CE. Never AR or CR: engines send again then.
//
// Who is not proven gets AE where it came from: the application that it names did
// not ask, and would take the refusal for that of an order of its own.
func (s *session) answer(p *Policy, m *hl7.Message, h *hl7.Header, sender *Sender, reason string) {
	w := &s.f.answers
	switch {
	case !h.Enhanced():
		s.say(w.application(m, h, "AE", reason, ""))
		return
	case !wants(h.ApplicationAck, false):
	case sender == nil:
		s.say(w.application(m, h, "AE", reason, "NE"))
		return
	default:
		out := make(chan struct{})
		ret, ok := p.Returns[sender.Returns]
		if ok && s.f.deliver(&ret, w.application(m, h, "AE", reason, "AL"), out) {
			if wants(h.AcceptAck, true) {
				s.say(w.accept(m, h, "CA", ""))
			}
			close(out)
			return
		}
	}
	if wants(h.AcceptAck, false) {
		s.say(w.accept(m, h, "CE", reason))
	}
}

// again gives the answer that an order had before.
func (s *session) again(p *Policy, m *hl7.Message, h *hl7.Header, sender *Sender, known *front.Order) {
	w := &s.f.answers
	if known.Fate == front.Accepted {
		switch {
		case !h.Enhanced():
			s.say(w.application(m, h, "AA", "", ""))
		case wants(h.AcceptAck, true):
			s.say(w.accept(m, h, "CA", ""))
		}
		return
	}
	reason := known.Reason
	if reason == "" {
		reason = map[front.Fate]string{
			front.Begun: inDoubt, front.Doubted: inDoubt, front.Rejected: "the device's own system refused this order before",
			front.Refused: "the guard refused this order before", front.Held: "this order waits to be confirmed",
		}[known.Fate]
	}
	s.answer(p, m, h, sender, reason)
}

const inDoubt = "in doubt: look at the pump whether it has this order"

var _ source = (*front.Conn)(nil)
