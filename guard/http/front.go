// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package http is the guard's front for HTTP/1.1 with FHIR R4 in it: who may
// read or change which records, by the client certificate, FHIR's interaction
// and the type of resource; and orders to a device that gives a therapy as
// commands that the gate decides on.
//
// A request is received whole, within bounds, and is written anew for the other
// side out of what was understood, so that nothing can be hidden in it (RFC 9112
// without what it allows for old times' sake). Each connection outside has one
// of its own inside, and nothing is ever sent twice.
//
// Towards people everything passes. What a device answers (protects: server) is
// passed on byte for byte. What a device reports (protects: client) is forwarded
// even when it is on no list or cannot be read; of the answer the device is then
// told the status alone, so that nothing is handed out by such a message.
//
// Left out: HTTP/1.0 and HTTP/2, upgrades, packed request bodies, orders written
// in XML. docs/guard-http.md describes the configuration.
//
// This API follows the server and may change.
package http

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/proto/fhir"
)

// A Front is an HTTP front.
type Front struct {
	env    *front.Env
	policy atomic.Pointer[Policy]
	ask    func(context.Context, *gate.Ask) *gate.Answer
	own    bounds // of the device itself
	others bounds

	mu       sync.Mutex
	rates    map[asker]*rate.Limiter
	held     map[front.OrderKey]held // what waits for a person, by what was sent
	memory   *front.Memory           // of what a person confirmed; of a front that protects a server
	clock    func() envelope.Reading
	stopping <-chan struct{} // closed when nothing new begins
	released sync.WaitGroup  // deliveries of what a person confirmed
	stopped  bool
}

// bounds are what those who share them take from each other.
type bounds struct {
	judges chan struct{} // one for each body that is being understood
	budget budget
}

// An asker is who has a rate: a client, and whether it is at the device's own address.
type asker struct {
	id  string
	own bool
}

// A held request waits for a person.
type held struct {
	id      string // "" while it is decided
	expires time.Time
	done    *front.Order // what came of it, once a person has confirmed it
}

// maxJudges is how many bodies are understood at once: each takes up to 16 MB beside its bytes.
const maxJudges = 4

// New makes a front.
func New(env *front.Env, p *Policy) *Front {
	f := &Front{
		env: env, ask: env.Gate.Ask, own: bounds{judges: make(chan struct{}, maxJudges)}, others: bounds{judges: make(chan struct{}, maxJudges)},
		rates: map[asker]*rate.Limiter{}, held: map[front.OrderKey]held{},
	}
	f.policy.Store(p)
	return f
}

// Run serves until ctx ends.
func (f *Front) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", f.policy.Load().Listen.Address)
	if err != nil {
		return err
	}
	return f.Serve(ctx, ln)
}

// Serve is Run on a listener that is open already. It owns ln.
func (f *Front) Serve(ctx context.Context, ln net.Listener) error {
	f.stopping = ctx.Done()
	l := front.Listener{
		Env: f.env, Settings: func() *front.Settings { return &f.policy.Load().Settings }, Handle: f.handle,
	}
	if p := f.policy.Load(); p.Server {
		f.memory = front.OpenMemory(front.MemoryConfig{
			Path: filepath.Join(f.env.State, p.Name+".orders"), Clock: f.clock,
			Tell: func(err error) {
				f.env.Troubled(&p.Settings, front.Why("no order can wait for a person: what was given before is not known", err))
			},
		})
	}
	err := l.Serve(ctx, ln)
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.released.Wait()
	if f.memory != nil {
		err = errors.Join(err, f.memory.Close())
	}
	return err
}

// Update takes over a policy: requests that begin from now on follow it.
func (f *Front) Update(p front.Policy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.rates)
	f.policy.Store(p.(*Policy))
}

// limited reports whether a client has asked too often.
func (s *session) limited() bool {
	f, id, who := s.f, asker{s.client, s.c.Own()}, s.who
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.rates[id]
	if l == nil {
		if len(f.rates) >= maxClients { // only where the lists observe are there others than those listed
			clear(f.rates)
		}
		l = rate.NewLimiter(rate.Limit(who.Requests), who.Requests)
		f.rates[id] = l
	}
	return !l.AllowN(f.env.Now(), 1)
}

// A budget is the memory of all messages that are under way.
type budget struct {
	mu   sync.Mutex
	used int
}

func (b *budget) take(n, most int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > most {
		return false
	}
	b.used += n
	return true
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// A session is one connection.
type session struct {
	f      *Front
	ctx    context.Context
	c      *front.Conn
	bounds *bounds
	src    source
	inside *inside

	// Of the request in hand:
	p        *Policy
	client   string
	who      *Client
	stranger bool // its certificate is of no client that is listed
	reserved int  // bytes of the budget
}

func (f *Front) handle(ctx context.Context, c *front.Conn) {
	defer c.Close()
	s := &session{f: f, ctx: ctx, c: c, bounds: &f.others, src: source{br: bufio.NewReaderSize(c, 4096), text: true}}
	if c.Own() {
		s.bounds = &f.own
	}
	defer s.leave()
	for {
		if _, err := s.src.br.Peek(1); err != nil {
			return // it has ended, was silent too long, or the front stops
		}
		c.Begin()
		again := s.exchange()
		c.End()
		s.bounds.budget.give(s.reserved)
		s.reserved, s.src.raw, s.src.keep, s.src.tee = 0, nil, false, nil
		if !again {
			s.leave()
			s.linger()
			return
		}
		if !s.p.Server {
			continue // what has come of a device already is taken, also by a front that stops
		}
		select {
		case <-front.Draining(ctx):
			return
		default:
		}
	}
}

// take takes memory for so many bytes of the message in hand.
func (s *session) take(n int) bool {
	if !s.bounds.budget.take(n, s.p.Buffer) {
		return false
	}
	s.reserved += n
	return true
}

// exchange is one request and its answer. It reports whether another may follow.
func (s *session) exchange() bool {
	s.p = s.f.policy.Load()
	s.client, s.who = s.p.client(s.c)
	if s.stranger = s.who == nil; s.stranger {
		const why = "the certificate is of no client that is listed here"
		if !s.p.Server { // it may be the device, with another certificate: what it writes goes on
			s.always(nil, why)
		} else if s.refused(nil, why) {
			return s.lastly(&refusal{403, "forbidden", "your certificate is of no client that is listed here"})
		}
		s.client, s.who = s.c.Actor(), &Client{Requests: defaultRequests}
	}
	s.src.keep = !s.p.Server
	r, err := readRequest(&s.src)
	if err != nil {
		return s.unread(err)
	}
	s.src.raw = nil // it is understood
	if s.p.Server {
		return s.serve(r)
	}
	return s.report(r)
}

// unread ends a connection on which a request could not be read.
func (s *session) unread(err error) bool {
	var no *refusal
	if !errors.As(err, &no) {
		s.always(nil, "a request was cut, or came too slowly")
		ended := errors.Is(err, io.ErrUnexpectedEOF) && !front.Cut(s.c) || errors.Is(err, os.ErrDeadlineExceeded)
		return !s.p.Server && ended && s.pass() // a device that says no more may have said all
	}
	s.always(nil, no.why)
	if !s.p.Server {
		return s.pass()
	}
	return s.lastly(no)
}

// refused records what no list allows, and reports whether it is to be refused.
func (s *session) refused(in *interaction, reason string) bool {
	operation, target := "request", ""
	if in != nil {
		operation, target = in.operation(), in.target()
	}
	return s.f.env.Refused(&s.p.Settings, s.c.Peer, operation, target, reason)
}

// learn counts a use, for a list to be proposed from. What a list cannot have is
// left out, and of what may be anything, a path or the name of an operation that nobody
// knows, only that it came is told.
func (s *session) learn(in *interaction) {
	known := slices.Contains(interactions[1:], in.word) && (in.word != "batch" || in.sure) || in.word != "" && in.word[0] == '$' &&
		(fhir.ParseInteraction([]byte("GET"), []byte("/Patient/"+in.word)).Operation == in.word || slices.ContainsFunc(s.p.Allow, func(r Rule) bool {
			return slices.Contains(r.Interactions, in.word)
		}))
	include := ""
	if in.include {
		include = "include"
	}
	switch {
	case known && in.target() == in.typ:
		s.f.env.Learned.Saw(s.p.Name, s.c.Known(), in.word, in.typ, include)
	case in.word == pathWord:
		s.f.env.Learned.Saw(s.p.Name, s.c.Known(), "path")
	}
}

// always records what is refused even where the lists only observe, because it
// could not be forwarded with one meaning.
func (s *session) always(in *interaction, reason string) {
	operation := "request"
	if in != nil {
		operation = in.operation()
	}
	if !s.p.Server { // what a device reports passes
		s.f.env.Unjudged(&s.p.Settings, s.c.Peer, operation, reason)
		return
	}
	p := s.p.Settings
	p.Mode = front.Enforce
	s.f.env.Refused(&p, s.c.Peer, operation, "", reason)
}

// serve is a request to the device.
func (s *session) serve(r *request) bool {
	again := !r.closes
	if !slices.Contains(s.p.Hosts, strings.ToLower(r.get("Host"))) {
		no := &refusal{421, "not-found", "this is not the host that the request names"}
		s.always(nil, no.why)
		return s.lastly(no)
	}
	if s.limited() && s.refused(nil, "too many requests a second of this client") {
		return s.lastly(&refusal{429, "throttled", "too many requests a second; wait, and ask again"})
	}
	in, why := parseInteraction(s.p.Base, r.method, r.path, r.query)
	s.learn(&in)
	if why != "" {
		if s.refused(&in, why) {
			return s.lastly(&refusal{400, "not-supported", why})
		}
	} else if in.word != "batch" && !s.p.allows(s.client, &in) && s.refused(&in, "no rule allows it to this client") {
		return s.lastly(forbidden(&in))
	}
	if r.expects {
		if _, err := s.c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return false
		}
	}
	body, err := s.spool(r.body(&s.src))
	if err != nil {
		var no *refusal
		if !errors.As(err, &no) {
			s.always(&in, "a request was cut, or came too slowly")
			return false
		}
		s.always(&in, no.why)
		return s.lastly(no)
	}
	s.c.End() // it is whole

	orders, no := s.judge(r, &in, body)
	if no != nil {
		return s.answer(no, again)
	}
	answers, no := s.askAll(r, orders, body)
	if no != nil {
		return s.answer(no, again)
	}
	return s.forward(r, &in, body, answers) && again
}

func forbidden(in *interaction) *refusal {
	what := in.operation()
	if t := in.target(); t != "" {
		what += " " + t
	}
	return &refusal{403, "forbidden", "the guard in front of this device does not allow you: " + what}
}

// judge reads a body, and holds what it asks for against the lists. It returns
// the orders in it.
func (s *session) judge(r *request, in *interaction, body []byte) ([]order, *refusal) {
	s.bounds.judges <- struct{}{}
	defer func() { <-s.bounds.judges }()
	var c content
	undecidable := isOrder(in.typ) && in.undecidable()
	switch {
	case in.word == "search" && r.method == "POST":
		include, why := parameters(string(body))
		if media, _, _ := strings.Cut(r.get("Content-Type"), ";"); len(body) > 0 && !strings.EqualFold(strings.TrimSpace(media), "application/x-www-form-urlencoded") {
			why = "a search has its parameters in a form"
		}
		if why != "" && s.refused(in, why) {
			return nil, &refusal{422, "not-supported", why}
		}
		if include && !in.include {
			in.include = true
			if !s.p.allows(s.client, in) && s.refused(in, "no rule allows this client to draw in other resources") {
				return nil, forbidden(in)
			}
		}
	case r.length == 0 || len(body) == 0:
		if in.word == "create" || in.word == "update" || in.word == "batch" {
			if s.refused(in, "there is no body") {
				return nil, &refusal{422, "required", "there is no body"}
			}
		}
	default:
		got, why := readContent(r.get("Content-Type"), body, s.p.Base)
		if why == "" && !(in.typ == "Binary" && got.typ == "") {
			why = in.fits(got.typ, got.id)
		}
		if why == "" && in.word == "batch" && got.bundle != "batch" && got.bundle != "transaction" {
			why = "what is posted to the base is no batch and no transaction"
		}
		if why != "" {
			if s.refused(in, why) {
				return nil, &refusal{422, "not-supported", why}
			}
			c.orders = append(c.orders, order{undecided: why})
			break
		}
		c = *got
	}
	if in.word == "batch" && c.bundle != "" {
		in.word, in.sure = c.bundle, true
		s.learn(in)
		if !s.p.allows(s.client, in) && s.refused(in, "no rule allows it to this client") {
			return nil, forbidden(in)
		}
		for i := range c.entries {
			e := &c.entries[i].interaction
			s.learn(e)
			if !s.p.allows(s.client, e) && s.refused(e, "no rule allows an entry of a "+c.bundle+" to this client") {
				return nil, forbidden(e)
			}
		}
	}
	if undecidable {
		c.orders = append(c.orders, order{undecided: undecidedEntry(in.word)})
	}
	return c.orders, nil
}

// spool receives a body whole.
func (s *session) spool(body io.Reader) ([]byte, error) {
	var b []byte
	for {
		if len(b) == cap(b) {
			step := max(4096, min(len(b), s.p.Body-len(b)))
			if !s.take(step) {
				return b, &refusal{503, "throttled", "too many large messages at once; try again later"}
			}
			b = append(make([]byte, 0, cap(b)+step), b...)
		}
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > s.p.Body:
			return b, &refusal{413, "too-long", fmt.Sprintf("the body has more than %d bytes", s.p.Body)}
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// askAll asks the gate for each order of a request. All have to pass.
func (s *session) askAll(r *request, orders []order, body []byte) ([]*gate.Answer, *refusal) {
	if len(orders) == 0 {
		return nil, nil
	}
	var key front.OrderKey
	if s.p.Server {
		key = front.KeyOf([]byte(s.client), []byte(r.method), []byte(r.path), []byte(r.query), body)
		if h, waits := s.f.claim(key); waits {
			return nil, s.waits(h)
		}
	}
	var answers []*gate.Answer
	for i := range orders {
		a := s.command(&orders[i])
		reserved := 0
		if len(orders) == 1 && s.p.Server && s.f.memory.Err() == nil {
			reserved = s.reserved
			a.Release = s.release(r, body, key, reserved)
			a.Still = s.still(r, body)
			a.Renew = s.renew()
			a.Gone = func(string) { s.f.unclaim(key, reserved) }
		}
		answer := s.f.ask(s.ctx, a)
		if answer.Pass {
			answers = append(answers, answer)
			continue
		}
		for _, b := range answers {
			b.Abandon()
		}
		if answer.Hold != "" {
			s.reserved -= reserved // it is the held request's now
			h := held{id: answer.Hold, expires: answer.Expires}
			s.f.wait(key, h)
			return nil, s.waits(h)
		}
		s.f.unclaim(key, 0)
		return nil, &refusal{403, "business-rule", "the guard refused the order: " + answer.Why() + "; nothing of this request was done"}
	}
	s.f.unclaim(key, 0)
	return answers, nil
}

// command is an order as the gate is asked for it.
func (s *session) command(o *order) *gate.Ask {
	return &gate.Ask{
		Front: s.p.Name, Device: s.p.Device, Actor: s.client, Peer: s.c.Peer,
		Request: envelope.Request{
			Command: device.Command{
				Verb: o.verb, Value: o.value, Limit: o.limit, Drug: o.drug, Actor: s.client, Role: s.who.Role,
				Channel: s.c.Protection(), Stage: device.Proposed, Time: s.f.env.Now().UnixNano(),
			},
			Undecided: o.undecided,
		},
	}
}

// waits is the answer to who sent what waits for a person. It is neither 202,
// which clients take for done (RFC 9110 section 15.3.3; R4 knows it for
// asynchronous requests alone), nor is the sender kept waiting.
func (s *session) waits(h held) *refusal {
	if h.done != nil {
		came := cmp.Or(h.done.Reason, map[front.Fate]string{
			front.Accepted: "and the device took it", front.Rejected: "and the device did not take it",
		}[h.done.Fate], inDoubt)
		return &refusal{409, "duplicate", "this order was confirmed and sent once, " + came + "; it is not sent again"}
	}
	if h.id == "" {
		return &refusal{409, "duplicate", "the same order is being decided on right now"}
	}
	where := "at the guard's page"
	if page := s.f.env.Gate.Page(); page != "" {
		where = "at " + page
	}
	until := ""
	if !h.expires.IsZero() {
		until = " before " + h.expires.UTC().Format(time.RFC3339)
	}
	return &refusal{409, "business-rule", "not done yet: a second person has to confirm it " + where + until +
		"; then it is given once, and otherwise never; do not send it again"}
}

const inDoubt = "and it is in doubt what came of it: look at the device"

// claim takes a request for being decided, or returns the same one that waits, or
// was confirmed and sent: its sender was told to wait, and does not know that it was given. (The
// same order later is another one.)
func (f *Front) claim(key front.OrderKey) (h held, waits bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, waits = f.held[key]; waits {
		return h, true
	}
	if n := f.memory.Look(key, front.Order{}); n.Known != nil {
		return held{done: n.Known}, true
	}
	f.held[key] = held{}
	return held{}, false
}

func (f *Front) wait(key front.OrderKey, h held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.held[key]; there { // else it was decided on already
		f.held[key] = h
	}
}

// confirmed has it remembered, before the request is sent, that it was: from then on for
// as long as it might have waited, after a restart too.
func (f *Front) confirmed(key front.OrderKey) error {
	f.mu.Lock()
	h := f.held[key]
	f.mu.Unlock()
	keep := leastKept // it may be confirmed before its sender was told to wait
	if left := h.expires.Sub(f.env.Now()); !h.expires.IsZero() && left > keep {
		keep = left
	}
	n := f.memory.Begin(key, front.Order{Source: key.Half(), Keep: keep})
	if n.Known != nil || n.Late {
		return errors.New("it may have been sent before")
	}
	return f.memory.Durable(n)
}

// leastKept is how long a request that was sent is known again at the least, as long as a
// held command waits when its envelope does not say.
const leastKept = 5 * time.Minute

func (f *Front) unclaim(key front.OrderKey, reserved int) {
	f.mu.Lock()
	delete(f.held, key)
	f.mu.Unlock()
	f.others.budget.give(reserved)
}

// still returns what says why a held request may not be sent any more.
func (s *session) still(r *request, body []byte) func() string {
	f, c, client, protects := s.f, s.c, s.client, s.p.Device
	return func() string {
		select {
		case <-f.stopping:
			return "the front that it came by is gone"
		default:
		}
		p := f.policy.Load()
		id, who := p.client(c)
		switch {
		case f.memory.Err() != nil:
			return "what was given before is not known"
		case p.Device != protects:
			return "the front stands before another device now"
		case who == nil || id != client:
			return "the certificate is of no client that is listed here"
		case p.Mode != front.Enforce:
			return ""
		}
		in, _ := parseInteraction(p.Base, r.method, r.path, r.query)
		all := []interaction{in}
		if in.word == "batch" {
			f.others.judges <- struct{}{}
			c, why := readContent(r.get("Content-Type"), body, p.Base)
			<-f.others.judges
			if why != "" {
				return why
			}
			all[0].word, all[0].sure = c.bundle, true
			for i := range c.entries {
				all = append(all, c.entries[i].interaction)
			}
		}
		for i := range all {
			if !p.allows(client, &all[i]) {
				return "no rule allows it to this client"
			}
		}
		return ""
	}
}

// renew returns what has a held request judged by the role that its client has now.
func (s *session) renew() func(*envelope.Request) {
	f, c := s.f, s.c
	return func(r *envelope.Request) {
		if _, who := f.policy.Load().client(c); who != nil {
			r.Command.Role = who.Role
		}
	}
}

// release returns what forwards a held request when a person has confirmed it.
// Its sender was answered already; what the device answers only settles the dose.
func (s *session) release(r *request, body []byte, key front.OrderKey, reserved int) func(context.Context, *gate.Answer) {
	f := s.f
	return func(ctx context.Context, a *gate.Answer) {
		p := f.policy.Load()
		defer f.unclaim(key, reserved)
		f.mu.Lock()
		stopped := f.stopped
		if !stopped {
			f.released.Add(1)
		}
		f.mu.Unlock()
		if stopped {
			a.Abandon()
			return
		}
		defer f.released.Done()
		in, err := dial(ctx, f.env, p)
		if err == nil {
			defer in.close()
			err = f.confirmed(key)
		}
		if err != nil {
			a.Abandon()
			f.env.Log.Error("a confirmed order could not be sent", "front", p.Name, "err", err)
			return
		}
		defer in.closeAfter(ctx)()
		a.Sent()
		status := 0
		if err := in.send(r.head(p.insideHost(), int64(len(body))), body); err == nil {
			status, _ = in.status()
		}
		o, done := outcome(status, false), ""
		if status != 0 {
			done = fmt.Sprintf("and the device answered %d", status)
		}
		f.memory.End(key, map[gate.Outcome]front.Fate{gate.Accepted: front.Accepted, gate.Rejected: front.Rejected, gate.Unknown: front.Doubted}[o], done)
		a.Outcome(o)
	}
}

// outcome is what a status says of an order.
func outcome(status int, batch bool) gate.Outcome {
	switch {
	case status >= 200 && status < 300 && !batch: // of a batch each entry has its own
		return gate.Accepted
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout:
		return gate.Rejected
	}
	return gate.Unknown
}

// answer tells the sender why not, and reports whether the connection goes on.
func (s *session) answer(no *refusal, again bool) bool {
	text, err := json.Marshal(map[string]any{
		"resourceType": "OperationOutcome",
		"issue":        []any{map[string]any{"severity": "error", "code": no.code, "details": map[string]string{"text": no.why}}},
	})
	if err != nil {
		return false
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\nCache-Control: no-store\r\n",
		no.status, http.StatusText(no.status), len(text))
	if !again {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	b.Write(text)
	_, err = s.c.Write(b.Bytes())
	return err == nil && again
}

// lastly tells why not and ends the connection, whose next bytes may be anything.
func (s *session) lastly(no *refusal) bool {
	s.answer(no, false)
	return false
}

// linger ends a connection after its last answer. What the other side still
// sends is read for a while: an answer is lost with the reset that unread bytes
// would cause.
func (s *session) linger() {
	s.c.End()
	s.c.Begin()
	if s.c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, s.src.br, maxLinger)
	}
}

const maxLinger = 256 << 10 // bytes
