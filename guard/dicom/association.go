// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/dicom"
)

const (
	// bufferBytes is what one direction reads into, and likewise what its TLS reads
	// ahead into. Four of them, and the command sets that are kept, 64 KiB each at most,
	// are what an association takes.
	bufferBytes = 128 << 10
	// recordBytes is the longest content of a TLS record (RFC 8446 section 5.1).
	recordBytes = 1 << 14
	// headerBytes is a PDU's header, and likewise that of a fragment in it.
	headerBytes = 6
	// maxAssociate bounds an A-ASSOCIATE PDU, as in proto/dicom.
	maxAssociate = 64 << 10
	// maxCommand bounds a command set.
	maxCommand = 64 << 10
	// maxPending bounds the answers of ours that wait for the other side's message to end.
	maxPending = 64 << 10
	// maxRequests bounds the requests of one side whose answers are waited for.
	maxRequests = 256
	// artim is how long a peer may take to close after it was told that all is
	// over (PS3.8 section 9.1.5).
	artim = 5 * time.Second
	// moved is how long after a C-MOVE's last answer its association may still come,
	// committed how long a storage commitment may take.
	moved     = time.Minute
	committed = 24 * time.Hour
	// implementation is what we say we are, where nobody else answers.
	implementation = "2.25.189474329165093742650127738419563270914"
)

// Reasons of an A-ABORT by the provider (PS3.8 section 9.3.8), and what an
// A-ASSOCIATE-RJ says (section 9.3.4).
const (
	notSpecified   = 0
	unrecognized   = 1
	unexpected     = 2
	invalidPDU     = 6
	byProvider     = 2 // source
	permanent      = 1 // result of an A-ASSOCIATE-RJ
	transient      = 2
	byUser         = 1
	byPresentation = 3
	unknownCalling = 3 // reasons of an A-ASSOCIATE-RJ by the user
	unknownCalled  = 7
	congestion     = 1 // reasons by the presentation-related provider: temporary congestion
	localLimit     = 2 // local limit exceeded
)

// Results of a presentation context (PS3.8 section 9.3.3.2).
const (
	abstractSyntaxNotSupported   = 3
	transferSyntaxesNotSupported = 4
)

var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

// An association is a connection of a caller, and the one to the acceptor that
// was opened for it.
type association struct {
	f   *Front
	env *front.Env
	p   *Policy
	ctx context.Context

	calling, called string
	lists           *lists
	expected        bool // it follows from another, and is for nothing else
	limiter         *rate.Limiter
	caller          side
	acceptor        side
	forth, back     direction // from the caller, and to it

	known    bool // the contexts were understood
	contexts [128]presentation

	mu       sync.Mutex
	closing  *time.Timer          // until peers that do not close are closed
	requests [2]map[uint16]func() // by message ID: what waits for its answer, and what to do then

	busy     atomic.Int32 // messages under way, and requests that wait for answers
	draining atomic.Bool
	released atomic.Bool // it was released or aborted by a peer: a connection may close
	ended    atomic.Bool
	last     atomic.Int64 // when something was forwarded
}

// A presentation is an accepted presentation context.
type presentation struct {
	accepted       bool
	abstract, data string // abstract syntax, transfer syntax
}

// A side is one of both peers.
type side struct {
	conn    *front.Conn
	device  bool
	maximum uint32 // longest P-DATA-TF that it receives; 0 is no limit
	ahead   []byte // for its TLS to read into

	mu         sync.Mutex // what follows
	midPDU     bool       // a PDU of which not all is sent
	midMessage bool
	pending    []byte // answers of ours, for when the message is over
	closed     bool
}

var errEnded = errors.New("the association is over")

// write sends to the side; what it says is where it stands afterwards.
func (s *side) write(b []byte, midPDU, midMessage bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errEnded
	}
	s.midPDU, s.midMessage = midPDU, midMessage
	if !midMessage && len(s.pending) > 0 {
		b = append(slices.Clone(b), s.pending...)
		s.pending = nil
	}
	if len(b) == 0 {
		return nil
	}
	err := s.send(b)
	if err != nil {
		s.midPDU = true // nobody knows how much was sent
	}
	return err
}

// send writes. A device may take its time.
func (s *side) send(b []byte) error {
	if !s.device {
		_, err := s.conn.Write(b)
		return err
	}
	s.conn.SetWriteDeadline(time.Now().Add(s.conn.Settings.Limits.Idle))
	_, err := s.conn.Conn.Write(b)
	return err
}

// inject sends an answer of ours between two messages.
func (s *side) inject(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errEnded
	case !s.midMessage:
		return s.send(b)
	case len(s.pending)+len(b) > maxPending:
		return errEnded
	}
	s.pending = append(s.pending, b...)
	return nil
}

// abort tells the side that all is over, if it stands where it can be told.
func (s *side) abort(reason uint8, tell bool) {
	if s.conn == nil {
		return
	}
	s.conn.SetWriteDeadline(time.Now().Add(artim)) // of a write that holds the lock as well
	s.mu.Lock()
	defer s.mu.Unlock()
	if tell && !s.midPDU && !s.closed {
		s.conn.Conn.Write(dicom.Control{Type: dicom.Abort, Source: byProvider, Reason: reason}.Append(nil))
	}
	s.closed = true
	s.conn.CloseWrite()
}

// abort ends the association, and tells both sides. Nothing that was begun is
// completed: a data set whose last fragment is not sent is none.
func (a *association) abort(reason uint8) error {
	if a.ended.CompareAndSwap(false, true) {
		tell := !a.released.Load()
		device, other := &a.caller, &a.acceptor
		if a.p.Server {
			device, other = other, device
		}
		device.abort(reason, tell)
		other.abort(reason, tell)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.closing = time.AfterFunc(artim, a.close)
	}
	return errEnded
}

// refused records what no list allows, and reports whether it is refused indeed.
func (a *association) refused(operation, destination, why string) bool {
	if !dicom.PlainTitle([]byte(destination)) {
		destination = ""
	}
	return a.env.Refused(&a.p.Settings, a.caller.conn.Peer, operation, destination, why)
}

// unjudged records that the device says what cannot be read, and that it passes.
func (a *association) unjudged(operation, why string) {
	a.env.Unjudged(&a.p.Settings, a.caller.conn.Peer, operation, why+"; it passes as it is")
}

// handle serves one connection.
func (f *Front) handle(ctx context.Context, c *front.Conn) {
	p := f.policy.Load()
	a := &association{f: f, env: f.env, p: p, ctx: ctx, limiter: rate.NewLimiter(rate.Limit(p.requests), int(max(1, 2*p.requests)))}
	a.caller.conn, a.caller.device = c, !p.Server
	a.acceptor.device = p.Server
	a.forth = direction{a: a, src: &a.caller, dst: &a.acceptor, toDevice: p.Server, requests: &a.requests[0], answers: &a.requests[1]}
	a.back = direction{a: a, src: &a.acceptor, dst: &a.caller, toDevice: !p.Server, requests: &a.requests[1], answers: &a.requests[0]}
	a.touch()
	for _, b := range []*[]byte{&a.forth.buf, &a.back.buf, &a.caller.ahead, &a.acceptor.ahead} {
		buf := buffers.Get().(*[bufferBytes]byte)
		defer buffers.Put(buf)
		*b = buf[:]
	}
	c.ReadAhead(a.caller.ahead)
	stop := context.AfterFunc(ctx, func() { a.abort(notSpecified); a.close() })
	defer stop()
	defer a.over()
	if !a.negotiate() {
		a.abort(notSpecified)
		a.forth.linger()
		return
	}
	defer f.leave(a.calling, c.Own())
	var pumps, watch sync.WaitGroup
	done := make(chan struct{})
	watch.Go(func() {
		select {
		case <-front.Draining(ctx):
			a.draining.Store(true)
			a.settle(0)
		case <-done:
		}
	})
	pumps.Go(a.back.run)
	a.forth.run()
	pumps.Wait()
	close(done)
	watch.Wait()
}

// close closes both connections, whatever is unsent.
func (a *association) close() {
	a.caller.conn.Close()
	if a.acceptor.conn != nil {
		a.acceptor.conn.Close()
	}
}

// over closes what is left, and says of what is expected that nothing more
// runs of which it follows.
func (a *association) over() {
	a.close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing != nil {
		a.closing.Stop()
	}
	for _, m := range a.requests {
		for _, over := range m {
			if over != nil {
				over()
			}
		}
	}
}

func (a *association) touch() { a.last.Store(a.env.Now().UnixNano()) }

// settle adds to what is under way. While the front stops, an association in
// which nothing is under way ends.
func (a *association) settle(n int32) {
	if a.busy.Add(n) == 0 && a.draining.Load() {
		a.abort(notSpecified)
	}
}

// reject answers an A-ASSOCIATE-RQ.
func (a *association) reject(result, source, reason uint8) bool {
	a.caller.conn.Write(dicom.Control{Type: dicom.AssociateRJ, Result: result, Source: source, Reason: reason}.Append(nil))
	a.released.Store(true)
	return false
}

// negotiate reads the request, decides on it, and has it answered. It reports
// whether there is an association.
func (a *association) negotiate() bool {
	pdu, err := a.forth.associate()
	var rq dicom.Association
	if err == nil {
		_, err = rq.Parse(pdu)
	}
	if err == nil && a.p.Server && (rq.Type != dicom.AssociateRQ || !plainRequest(&rq)) {
		err = errNotDICOM
	}
	if err != nil {
		return a.unreadable(err)
	}
	a.calling, a.called = string(rq.CallingAETitle), string(rq.CalledAETitle)

	if !a.permit() {
		return false
	}
	if _, ok := a.p.routes[a.called]; !ok && len(a.p.routes) > 0 {
		a.refused("A-ASSOCIATE", a.called, "no route has the called AE title") // in every mode: there is nowhere to go
		return a.reject(permanent, byUser, unknownCalled)
	}
	own := a.caller.conn.Own()
	if why := a.f.enter(a.p, a.calling, own); why != "" {
		a.refused("A-ASSOCIATE", a.called, why) // a bound holds in every mode
		return a.reject(transient, byPresentation, localLimit)
	}
	ok := a.accept(pdu, &rq)
	if !ok {
		a.f.leave(a.calling, own)
	}
	return ok
}

// plainRequest reports whether a request means the same to every reader.
func plainRequest(rq *dicom.Association) bool {
	seen := [256]bool{}
	for i := range rq.Contexts {
		pc := &rq.Contexts[i]
		if seen[pc.ID] || !dicom.PlainUID(pc.AbstractSyntax) {
			return false
		}
		seen[pc.ID] = true
	}
	return len(rq.Contexts) <= 128 && dicom.PlainTitle(rq.CalledAETitle) && dicom.PlainTitle(rq.CallingAETitle)
}

// unreadable is what happens with a connection whose first PDU is no request
// that can be read. From a device it goes on as it is, to where the front forwards to.
func (a *association) unreadable(err error) bool {
	var late net.Error
	timeout := errors.As(err, &late) && late.Timeout()
	switch {
	case a.forth.n == 0:
		if timeout {
			a.refused("A-ASSOCIATE", "", "nothing came")
		}
		a.released.Store(true)
		return false
	case errors.Is(err, errNotDICOM), isSyntax(err), timeout && !a.p.Server: // a device that waits may have said all
	default:
		a.refused("A-ASSOCIATE", "", "it was not whole in time")
		return false
	}
	if a.p.Server && a.refused("A-ASSOCIATE", "", "not DICOM") {
		reason := uint8(invalidPDU)
		if t := a.forth.buf[0]; t < byte(dicom.AssociateRQ) || t > byte(dicom.Abort) {
			reason = unrecognized
		} else if t != byte(dicom.AssociateRQ) {
			reason = unexpected
		}
		a.abort(reason)
		return false
	}
	a.forth.raw = true
	if a.p.Server { // and observed
		a.back.raw = true
	} else {
		a.unjudged("A-ASSOCIATE", "not DICOM")
	}
	a.lists = &a.p.usual
	a.calling = "(unreadable)"
	own := a.caller.conn.Own()
	if why := a.f.enter(a.p, a.calling, own); why != "" {
		a.refused("A-ASSOCIATE", "", why)
		return false
	}
	if a.dial() != nil {
		a.f.leave(a.calling, own)
		return false
	}
	return true
}

// permit finds the lists that hold for the pair, or answers that there are none.
func (a *association) permit() bool {
	u, reason, why := a.p.ruleOf(a.calling, a.called, a.caller.conn.Certificate)
	if u != nil {
		a.lists = &u.lists
		return true
	}
	if v := a.follows(); v != 0 && why != otherCertificate {
		a.lists = &lists{verbs: v | verbsOf("C-ECHO"), commitments: true, classes: uids{any: true}, syntaxes: a.p.usual.syntaxes}
		a.expected = true
		return true
	}
	if a.refused("A-ASSOCIATE", a.called, why) {
		return a.reject(permanent, byUser, reason)
	}
	a.lists = &a.p.usual
	return true
}

// follows returns what the association may be for when it follows from another
// that was let through.
func (a *association) follows() (v verbs) {
	for _, operation := range []string{"C-STORE", "N-EVENT-REPORT"} {
		if a.env.Expected.Has(front.Expectation{Device: a.p.Device, From: a.calling, To: a.called, Operation: operation}) {
			v |= verbsOf(operation)
		}
	}
	return v
}

// dial opens the connection to the acceptor.
func (a *association) dial() error {
	to := a.p.Settings
	if address, ok := a.p.routes[a.called]; ok {
		to.Forward.Address = address
	}
	c, err := a.f.dial(a.ctx, &to)
	if err != nil {
		a.env.Log.Warn("forward", "front", a.p.Name, "err", err)
		return err
	}
	a.acceptor.conn = front.NewConn(c, &a.p.Settings, a.env.Now)
	a.acceptor.conn.ReadAhead(a.acceptor.ahead)
	return nil
}

// accept leaves out of the request what no list has, passes it on, and gives
// the caller an answer that has all of its contexts.
func (a *association) accept(pdu []byte, rq *dicom.Association) bool {
	left := [256]uint8{} // result by context
	var proposed []dicom.PresentationContext
	changed := false
	refused := map[uint8]bool{} // by result: it is recorded once, however many contexts there are
	for _, pc := range rq.Contexts {
		result, why := a.judge(&pc)
		if _, said := refused[result]; result != 0 && !said {
			refused[result] = a.refused("A-ASSOCIATE", a.called, why)
		}
		if refused[result] {
			left[pc.ID] = result
			changed = true
			continue
		}
		if result == 0 && a.p.Server && a.p.Mode == front.Enforce && !a.lists.syntaxes.any {
			kept := slices.DeleteFunc(slices.Clone(pc.TransferSyntaxes), func(ts []byte) bool { return !a.lists.syntaxes.has(ts) })
			changed = changed || len(kept) != len(pc.TransferSyntaxes)
			pc.TransferSyntaxes = kept
		}
		proposed = append(proposed, pc)
	}
	a.caller.maximum = rq.MaximumLength
	if len(proposed) == 0 && changed {
		a.refuseAll(rq, left[:])
		return false
	}
	if a.dial() != nil {
		return a.reject(transient, byPresentation, congestion)
	}
	out := pdu
	if limit := a.lower(a.caller.device, rq.MaximumLength); changed || limit != 0 {
		out = dicom.AppendRevised(nil, pdu, proposed, limit)
	}
	if _, err := a.acceptor.conn.Write(out); err != nil {
		return a.reject(transient, byPresentation, congestion)
	}
	ids := make([]uint8, len(rq.Contexts)) // rq aliases the buffer: consume it last
	for i := range rq.Contexts {
		pc := &rq.Contexts[i]
		ids[i] = pc.ID
		a.contexts[pc.ID>>1].abstract = string(pc.AbstractSyntax)
		if len(pc.TransferSyntaxes) > 0 {
			a.contexts[pc.ID>>1].data = string(pc.TransferSyntaxes[0])
		}
	}
	a.forth.consume(len(pdu))
	return a.answer(ids, left[:])
}

// lower returns the longest PDU that the device may be sent, when it says that it
// takes longer ones.
func (a *association) lower(device bool, says uint32) uint32 {
	if device && (says == 0 || says > uint32(a.p.pduBytes)) {
		return uint32(a.p.pduBytes)
	}
	return 0
}

// proof is the certificate of who calls, as a list would have it: by a name that stays when
// it is renewed, or by its fingerprint. Without a certificate, or where lists have none, "".
func (a *association) proof() string {
	c := a.caller.conn.Certificate
	switch {
	case c == nil || !a.p.proven():
		return ""
	case len(c.DNSNames) > 0:
		return "san:" + c.DNSNames[0]
	case len(c.URIs) > 0:
		return "san:" + c.URIs[0].String()
	}
	sum := sha256.Sum256(c.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// judge decides on a proposed context: 0 is to be proposed to the acceptor. What a
// device proposes is not held to lists: its commands are.
func (a *association) judge(pc *dicom.PresentationContext) (result uint8, why string) {
	switch {
	case !a.p.Server:
		return 0, ""
	case !a.lists.classes.has(pc.AbstractSyntax):
		return abstractSyntaxNotSupported, "no list has the SOP class"
	case !slices.ContainsFunc(pc.TransferSyntaxes, a.lists.syntaxes.has):
		return transferSyntaxesNotSupported, "no list has the transfer syntax"
	}
	return 0, ""
}

// refuseAll answers a request of which nothing is left: the association stands
// with us, and all that may come is its end.
func (a *association) refuseAll(rq *dicom.Association, left []uint8) {
	ac := dicom.Association{
		Type: dicom.AssociateAC, ProtocolVersion: 1, CalledAETitle: rq.CalledAETitle, CallingAETitle: rq.CallingAETitle,
		ApplicationContext: []byte(dicom.ApplicationContext), MaximumLength: uint32(a.p.pduBytes), ImplementationClassUID: []byte(implementation),
	}
	for _, pc := range rq.Contexts {
		ac.Contexts = append(ac.Contexts, dicom.PresentationContext{ID: pc.ID, Result: left[pc.ID], TransferSyntaxes: pc.TransferSyntaxes[:min(1, len(pc.TransferSyntaxes))]})
	}
	n := headerBytes + int(binary.BigEndian.Uint32(a.forth.buf[2:]))
	if _, err := a.caller.conn.Write(ac.Append(nil)); err != nil {
		return
	}
	a.forth.consume(n)
	pdu, err := a.forth.associate()
	if err == nil && dicom.PDUType(pdu[0]) == dicom.ReleaseRQ {
		a.caller.conn.Write(dicom.Control{Type: dicom.ReleaseRP}.Append(nil))
	}
	if err != nil || dicom.PDUType(pdu[0]) != dicom.ReleaseRQ && dicom.PDUType(pdu[0]) != dicom.Abort {
		a.abort(unexpected)
	}
	a.released.Store(true)
}

// answer reads the acceptor's answer and passes it on, with the contexts that
// were left out.
func (a *association) answer(ids, left []uint8) bool {
	pdu, err := a.back.associate()
	var ac dicom.Association
	if err == nil {
		switch dicom.PDUType(pdu[0]) {
		case dicom.AssociateRJ, dicom.Abort:
			a.caller.conn.Write(pdu)
			a.released.Store(true)
			return false
		case dicom.AssociateAC:
			_, err = ac.Parse(pdu)
		default:
			err = errNotDICOM
		}
	}
	if err != nil {
		if a.back.n == 0 || !errors.Is(err, errNotDICOM) && !isSyntax(err) {
			a.acceptor.abort(notSpecified, true)
			return a.reject(transient, byPresentation, congestion) // no answer
		}
		if a.back.toDevice && a.refused("A-ASSOCIATE", a.called, "not DICOM") {
			a.abort(unrecognized)
			return false
		}
		if !a.back.toDevice {
			a.unjudged("A-ASSOCIATE", "not DICOM")
		}
		a.back.raw = true // the device's answer goes on
		return true
	}
	a.known = true
	a.acceptor.maximum = ac.MaximumLength
	answered := [256]*dicom.PresentationContext{}
	for i := range ac.Contexts {
		pc := &ac.Contexts[i]
		answered[pc.ID] = pc
		if c := &a.contexts[pc.ID>>1]; pc.Result == 0 && left[pc.ID] == 0 && c.abstract != "" {
			c.accepted = true
			if len(pc.TransferSyntaxes) > 0 {
				c.data = string(pc.TransferSyntaxes[0])
			}
			a.env.Learned.Saw(a.p.Name, a.calling, a.called, "A-ASSOCIATE", c.abstract, "", c.data, a.proof())
		}
	}
	out := pdu
	limit := a.lower(a.acceptor.device, ac.MaximumLength)
	changed := limit != 0
	var contexts []dicom.PresentationContext
	for _, id := range ids { // in the order of the request
		switch {
		case left[id] != 0:
			changed = true
			contexts = append(contexts, dicom.PresentationContext{ID: id, Result: left[id], TransferSyntaxes: [][]byte{[]byte(a.contexts[id>>1].data)}})
		case answered[id] != nil:
			contexts = append(contexts, *answered[id])
		}
	}
	if changed {
		out = dicom.AppendRevised(nil, pdu, contexts, limit)
	}
	n := len(pdu)
	if a.caller.write(out, false, false) != nil {
		return false
	}
	a.back.consume(n)
	return true
}
