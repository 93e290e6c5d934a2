// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/proto/dicom"
)

// A peer is one end of an association in a test.
type peer struct {
	t testing.TB
	c net.Conn
}

// A message is what a peer was told: a DIMSE message, or another PDU.
type message struct {
	command dicom.Command
	data    []byte
	pdu     []byte // not P-DATA-TF
}

func dialTo(t testing.TB, port int) *peer {
	t.Helper()
	return dialFrom(t, "127.0.0.1", port)
}

func dialFrom(t testing.TB, host string, port int) *peer {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).Dial("tcp", address(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{t, c}
}

// readPDU returns the next PDU whole, or nil when there is none.
func readPDU(c net.Conn) []byte {
	b := make([]byte, headerBytes)
	if _, err := io.ReadFull(c, b); err != nil {
		return nil
	}
	b = append(b, make([]byte, binary.BigEndian.Uint32(b[2:]))...)
	if _, err := io.ReadFull(c, b[headerBytes:]); err != nil {
		return nil
	}
	return b
}

// next reads a message, or a PDU of another type; nil is the end.
func next(c net.Conn) *message {
	var m message
	var set []byte
	for {
		b := readPDU(c)
		if b == nil {
			return nil
		}
		if dicom.PDUType(b[0]) != dicom.PDataTF {
			return &message{pdu: b}
		}
		for b = b[headerBytes:]; len(b) >= headerBytes; {
			n := int(binary.BigEndian.Uint32(b))
			control, body := b[5], b[headerBytes:4+n]
			m.command.ContextID = b[4]
			if b = b[4+n:]; control&isCommand == 0 {
				m.data = append(m.data, body...)
			} else if set = append(set, body...); control&isLast != 0 {
				c, err := dicom.ParseCommand(set)
				if err != nil {
					return nil
				}
				c.ContextID = m.command.ContextID
				m.command = c
				if !c.DataSet {
					return &m
				}
			}
			if control == isLast {
				return &m
			}
		}
	}
}

func pc(id uint8, abstract string, syntaxes ...string) dicom.PresentationContext {
	c := dicom.PresentationContext{ID: id, AbstractSyntax: []byte(abstract)}
	for _, s := range syntaxes {
		c.TransferSyntaxes = append(c.TransferSyntaxes, []byte(s))
	}
	return c
}

// usual are the contexts of most tests.
var usual = []dicom.PresentationContext{
	pc(1, ctStorage, implicitLE, explicitLE), pc(3, studyFind, implicitLE), pc(5, studyMove, implicitLE),
	pc(7, echo, implicitLE), pc(9, commitment, implicitLE), pc(11, studyGet, implicitLE),
}

func request(calling, called string, contexts ...dicom.PresentationContext) []byte {
	rq := dicom.Association{
		Type: dicom.AssociateRQ, ProtocolVersion: 1, CallingAETitle: []byte(calling), CalledAETitle: []byte(called),
		ApplicationContext: []byte(dicom.ApplicationContext), Contexts: contexts, MaximumLength: 16384, ImplementationClassUID: []byte("1.2.276.0.99999"),
	}
	return rq.Append(nil)
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.c.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// associate asks for an association and returns the answer.
func (p *peer) associate(calling, called string, contexts ...dicom.PresentationContext) (ac dicom.Association) {
	p.t.Helper()
	p.write(request(calling, called, contexts...))
	m := next(p.c)
	if m == nil || m.pdu == nil {
		p.t.Fatal("no answer to an A-ASSOCIATE-RQ")
	}
	if _, err := ac.Parse(m.pdu); err != nil {
		p.t.Fatal(err, m.pdu)
	}
	return ac
}

// expectControl reads a PDU without data.
func (p *peer) expectControl(want dicom.Control) {
	p.t.Helper()
	m := next(p.c)
	if m == nil || m.pdu == nil {
		p.t.Fatalf("got %+v, want %+v", m, want)
	}
	if c, _, err := dicom.ParseControl(m.pdu); c != want || err != nil {
		p.t.Fatalf("got %+v, want %+v", c, want)
	}
}

// said is a message as bytes: the data set in fragments of at most so many bytes.
func said(context uint8, c dicom.Command, data []byte, fragment int) []byte {
	c.DataSet = data != nil
	b := dicom.AppendData(nil, context, true, true, c.Append(nil))
	for data != nil {
		n := min(fragment, len(data))
		b = dicom.AppendData(b, context, false, n == len(data), data[:n])
		if data = data[n:]; len(data) == 0 {
			break
		}
	}
	return b
}

// ask sends a request and returns the answer's status.
func (p *peer) ask(context uint8, c dicom.Command, data []byte) uint16 {
	p.t.Helper()
	p.write(said(context, c, data, 16000))
	m := next(p.c)
	if m == nil || m.pdu != nil {
		p.t.Fatalf("%s: no answer: %+v", c.Field.Operation(), m)
	}
	if m.command.Field != c.Field|answer || m.command.MessageIDBeingRespondedTo != c.MessageID || m.command.ContextID != context || m.command.SOPClass != c.SOPClass {
		p.t.Fatalf("%#04x in context %d is no answer to %s", m.command.Field, m.command.ContextID, c.Field.Operation())
	}
	return m.command.Status
}

// An store is an archive of a test: it accepts everything, answers everything with
// success, and remembers what it was told.
type store struct {
	t    testing.TB
	port int

	mu       sync.Mutex
	proposed []dicom.PresentationContext
	told     []*message
	calls    int
	ended    chan struct{} // one for each connection that is over
	maximum  uint32
	says     func(c net.Conn, m *message) bool // instead of success; false: nothing was said
}

func newStore(t testing.TB) *store {
	t.Helper()
	s := &store{t: t, ended: make(chan struct{}, 1000), maximum: 16384}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = ln.Addr().(*net.TCPAddr).Port
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c); s.ended <- struct{}{} })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return s
}

func (s *store) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	for {
		m := next(c)
		if m == nil {
			return
		}
		if m.pdu != nil {
			switch dicom.PDUType(m.pdu[0]) {
			case dicom.AssociateRQ:
				c.Write(s.accept(m.pdu))
				continue
			case dicom.ReleaseRQ:
				c.Write(dicom.Control{Type: dicom.ReleaseRP}.Append(nil))
			}
		}
		s.mu.Lock()
		s.told = append(s.told, m)
		s.mu.Unlock()
		if s.says != nil && s.says(c, m) {
			continue
		}
		if m.pdu == nil && !m.command.Field.Response() && m.command.Field != dicom.CCancelRQ {
			c.Write(said(m.command.ContextID, dicom.Command{Field: m.command.Field | answer, MessageIDBeingRespondedTo: m.command.MessageID, SOPClass: m.command.SOPClass, SOPInstance: m.command.SOPInstance}, nil, 0))
		}
	}
}

func (s *store) accept(pdu []byte) []byte {
	var a dicom.Association
	if _, err := a.Parse(pdu); err != nil {
		s.t.Error(err)
		return nil
	}
	s.mu.Lock()
	s.proposed = slices.Clone(a.Contexts)
	s.mu.Unlock()
	a.Type, a.MaximumLength = dicom.AssociateAC, s.maximum
	for i := range a.Contexts {
		a.Contexts[i].AbstractSyntax, a.Contexts[i].TransferSyntaxes = nil, a.Contexts[i].TransferSyntaxes[:1]
	}
	return a.Append(nil)
}

func (s *store) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// heard is what the store was told, in words.
func (s *store) heard() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.told {
		if m.pdu != nil {
			all = append(all, dicom.PDUType(m.pdu[0]).String())
		} else {
			all = append(all, fmt.Sprintf("%s %d", m.command.Field.Operation(), len(m.data)))
		}
	}
	return all
}

// before makes a front in clear before the store.
func (s *store) before(g *guard, more string) int {
	_, port := g.start(s.policy(more))
	return port
}

func (s *store) policy(more string) *Policy {
	return policy(s.t, fmt.Sprintf(`name: archive
kind: dicom
device: pacs
protects: server
listen: {address: "127.0.0.1:0", clear: a test}
forward: "127.0.0.1:%d"
bypass: none
%s`, s.port, more))
}

const readers = `associations:
  - {calling: VIEW1, called: ADAPACS, access: read-only, sop-classes: any, destinations: [WS1]}
  - {calling: CT1, called: ADAPACS, access: store-only, sop-classes: any}
  - {calling: ALL1, called: ADAPACS, verbs: [C-STORE, C-FIND, C-GET, C-MOVE, C-ECHO, N-EVENT-REPORT, N-GET, N-SET, N-ACTION, N-CREATE, N-DELETE], sop-classes: [verification, query-retrieve], destinations: []}`

func rq(f dicom.CommandField, class string) dicom.Command {
	c := dicom.Command{Field: f, MessageID: 7, SOPClass: dicom.MakeShort(class)}
	if f == dicom.CStoreRQ || f >= dicom.NEventReportRQ {
		c.SOPInstance = dicom.MakeShort("1.2.276.0.99999.2.1.1")
	}
	return c
}

func move(to string) dicom.Command {
	c := rq(dicom.CMoveRQ, studyMove)
	c.MoveDestination = dicom.MakeShort(to)
	return c
}

// TestRefusedRequests: each forbidden request has its own status, its data set goes
// nowhere, and the association goes on.
func TestRefusedRequests(t *testing.T) {
	data := bytes.Repeat([]byte("Lindqvist^Anna"), 5000)
	for _, tt := range []struct {
		calling string
		context uint8
		c       dicom.Command
		data    []byte
		status  uint16
		why     string
	}{
		{"VIEW1", 1, rq(dicom.CStoreRQ, ctStorage), data, 0x0124, "C-STORE: no list has the operation"},
		{"VIEW1", 9, rq(dicom.NActionRQ, commitment), data, 0x0124, "N-ACTION: no list has the operation"},
		{"VIEW1", 9, rq(dicom.NSetRQ, commitment), data, 0x0124, "N-SET: no list has the operation"},
		{"VIEW1", 9, rq(dicom.NCreateRQ, commitment), data, 0x0124, "N-CREATE: no list has the operation"},
		{"VIEW1", 9, rq(dicom.NDeleteRQ, commitment), nil, 0x0124, "N-DELETE: no list has the operation"},
		{"VIEW1", 9, rq(dicom.NEventReportRQ, commitment), data, 0x0110, "N-EVENT-REPORT: no list has the operation"},
		{"VIEW1", 5, move("XFER1"), data, 0xA801, "C-MOVE XFER1: no list has the destination"},
		{"VIEW1", 3, rq(0x0042, studyFind), data, 0x0211, "unknown: no operation of the standard"},
		{"CT1", 3, rq(dicom.CFindRQ, studyFind), data, 0x0122, "C-FIND: no list has the operation"},
		{"CT1", 5, move("WS1"), data, 0x0124, "C-MOVE WS1: no list has the operation"},
		{"CT1", 11, rq(dicom.CGetRQ, studyGet), data, 0x0124, "C-GET: no list has the operation"},
		{"CT1", 9, rq(dicom.NGetRQ, commitment), nil, 0x0124, "N-GET: no list has the operation"},
		{"CT1", 9, rq(dicom.NActionRQ, "1.2.840.10008.1.42"), data, 0x0118, "N-ACTION: no list has the SOP class"},
		{"ALL1", 7, rq(dicom.CStoreRQ, ctStorage), data, 0x0122, "C-STORE: no list has the SOP class"},
		{"ALL1", 7, rq(dicom.NSetRQ, commitment), data, 0x0118, "N-SET: no list has the SOP class"},
		{"ALL1", 5, move("WS1"), data, 0xA801, "C-MOVE WS1: no list has the destination"},
	} {
		g, s := newGuard(t), newStore(t)
		p := dialTo(t, s.before(g, readers))
		p.associate(tt.calling, "ADAPACS", usual...)
		if got := p.ask(tt.context, tt.c, tt.data); got != tt.status {
			t.Errorf("%s by %s: %#04x, want %#04x", tt.c.Field.Operation(), tt.calling, got, tt.status)
		}
		if got := p.ask(7, rq(dicom.CEchoRQ, echo), nil); got != 0 {
			t.Errorf("a C-ECHO afterwards: %#04x", got)
		}
		p.write(dicom.Control{Type: dicom.ReleaseRQ}.Append(nil))
		p.expectControl(dicom.Control{Type: dicom.ReleaseRP})
		p.c.Close()
		<-s.ended
		if got := s.heard(); !slices.Equal(got, []string{"C-ECHO 0", "A-RELEASE-RQ"}) {
			t.Errorf("%s: the archive was told %q", tt.c.Field.Operation(), got)
		}
		if got := g.refusals(); len(got) == 0 || got[len(got)-1] != tt.why {
			t.Errorf("recorded %q, want %q", got, tt.why)
		}
	}
}

// TestAllowedRequests: what the lists have goes on, with its data set.
func TestAllowedRequests(t *testing.T) {
	data := bytes.Repeat([]byte{1}, 40000)
	g, s := newGuard(t), newStore(t)
	port := s.before(g, readers)
	p := dialTo(t, port)
	p.associate("VIEW1", "ADAPACS", usual...)
	for _, c := range []struct {
		context uint8
		command dicom.Command
	}{{5, move("WS1")}, {3, rq(dicom.CFindRQ, studyFind)}, {11, rq(dicom.CGetRQ, studyGet)}} {
		if got := p.ask(c.context, c.command, data); got != 0 {
			t.Errorf("%s: %#04x", c.command.Field.Operation(), got)
		}
	}
	p.write(said(3, dicom.Command{Field: dicom.CCancelRQ, MessageIDBeingRespondedTo: 7}, nil, 0))
	ct := dialTo(t, port)
	ct.associate("CT1", "ADAPACS", usual...)
	for _, c := range []dicom.Command{rq(dicom.CStoreRQ, ctStorage), rq(dicom.NActionRQ, commitment)} {
		context := uint8(1)
		if c.Field == dicom.NActionRQ {
			context = 9
		}
		if got := ct.ask(context, c, data); got != 0 {
			t.Errorf("%s: %#04x", c.Field.Operation(), got)
		}
	}
	p.c.Close()
	ct.c.Close()
	<-s.ended
	<-s.ended
	got := s.heard()
	for _, want := range []string{"C-MOVE 40000", "C-FIND 40000", "C-GET 40000", "C-CANCEL 0", "C-STORE 40000", "N-ACTION 40000"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not in %q", want, got)
		}
	}
	if r := g.refusals(); len(r) != 0 {
		t.Errorf("refused %q", r)
	}
}

// TestRejected: who may not associate is told in the standard's numbers, and
// the archive is not even called.
func TestRejected(t *testing.T) {
	g, s := newGuard(t), newStore(t)
	port := s.before(g, readers+"\n  - {calling: CT1, called: OTHER, access: store-only, sop-classes: any}\nbounds: {associations: 2, per-ae: 1}")
	for _, tt := range []struct {
		calling, called string
		want            dicom.Control
	}{
		{"EVIL", "ADAPACS", dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 3}},
		{"VIEW1", "NOBODY", dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 7}},
		{"VIEW1", "OTHER", dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 3}},
		{"view1", "ADAPACS", dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 3}},
	} {
		p := dialTo(t, port)
		p.write(request(tt.calling, tt.called, usual...))
		p.expectControl(tt.want)
		if m := next(p.c); m != nil {
			t.Errorf("after the rejection: %+v", m)
		}
		p.c.Close()
	}
	if n := s.called(); n != 0 {
		t.Errorf("the archive was called %d times", n)
	}
	// The bounds at their edges: one association of an AE title, two of all.
	busy := dicom.Control{Type: dicom.AssociateRJ, Result: 2, Source: 3, Reason: 2}
	first := dialTo(t, port)
	first.associate("CT1", "ADAPACS", usual...)
	p := dialTo(t, port)
	p.write(request("CT1", "ADAPACS", usual...))
	p.expectControl(busy)
	dialTo(t, port).associate("VIEW1", "ADAPACS", usual...)
	p = dialTo(t, port)
	p.write(request("ALL1", "ADAPACS", usual...))
	p.expectControl(busy)
	first.c.Close()
	<-s.ended
	want := []string{
		"A-ASSOCIATE ADAPACS: no list has the calling AE title", "A-ASSOCIATE NOBODY: no list has the called AE title",
		"A-ASSOCIATE OTHER: the calling AE title may not call the called one", "A-ASSOCIATE ADAPACS: too many associations of this AE title", "A-ASSOCIATE ADAPACS: too many associations",
	}
	for _, w := range want {
		if !slices.Contains(g.refusals(), w) {
			t.Errorf("%q is not in %q", w, g.refusals())
		}
	}
}

// TestContexts: what no list has is not proposed to the archive, and the
// caller's answer has all of its contexts, with the numbers that it gave them.
func TestContexts(t *testing.T) {
	g, s := newGuard(t), newStore(t)
	s.maximum = 0 // no limit: the front says its own
	port := s.before(g, `verbs: [C-STORE, C-ECHO]
sop-classes: [storage, verification]
transfer-syntaxes: uncompressed
associations:
  - {calling: CT1, called: ADAPACS}
  - {calling: US1, called: ADAPACS, transfer-syntaxes: any, sop-classes: ["`+mrStorage+`"]}`)
	p := dialTo(t, port)
	ac := p.associate("CT1", "ADAPACS", pc(21, studyFind, implicitLE), pc(3, ctStorage, jpeg, explicitLE, implicitLE), pc(7, mrStorage, jpeg), pc(255, echo, implicitLE))
	type result struct {
		id, result uint8
		syntax     string
	}
	of := func(a *dicom.Association) (all []result) {
		for _, c := range a.Contexts {
			all = append(all, result{c.ID, c.Result, string(c.TransferSyntaxes[0])})
		}
		return all
	}
	if got, want := of(&ac), []result{{21, 3, implicitLE}, {3, 0, explicitLE}, {7, 4, jpeg}, {255, 0, implicitLE}}; !slices.Equal(got, want) {
		t.Errorf("answered %v, want %v", got, want)
	}
	if ac.MaximumLength != 128<<10 {
		t.Errorf("the longest PDU is %d", ac.MaximumLength)
	}
	s.mu.Lock()
	if len(s.proposed) != 2 || s.proposed[0].ID != 3 || len(s.proposed[0].TransferSyntaxes) != 2 || s.proposed[1].ID != 255 {
		t.Errorf("proposed to the archive: %+v", s.proposed)
	}
	s.mu.Unlock()
	if got := p.ask(255, rq(dicom.CEchoRQ, echo), nil); got != 0 {
		t.Errorf("C-ECHO: %#04x", got)
	}
	p.c.Close()
	<-s.ended

	// A list of its own stands for the front's.
	p = dialTo(t, port)
	ac = p.associate("US1", "ADAPACS", pc(1, ctStorage, implicitLE), pc(3, mrStorage, jpeg))
	if got, want := of(&ac), []result{{1, 3, implicitLE}, {3, 0, jpeg}}; !slices.Equal(got, want) {
		t.Errorf("answered %v, want %v", got, want)
	}
	p.c.Close()
	<-s.ended

	// Nothing is left: the front answers alone.
	p = dialTo(t, port)
	ac = p.associate("CT1", "ADAPACS", pc(1, studyFind, implicitLE), pc(3, ctStorage, jpeg))
	if got, want := of(&ac), []result{{1, 3, implicitLE}, {3, 4, jpeg}}; !slices.Equal(got, want) {
		t.Errorf("answered %v, want %v", got, want)
	}
	p.write(dicom.Control{Type: dicom.ReleaseRQ}.Append(nil))
	p.expectControl(dicom.Control{Type: dicom.ReleaseRP})
	if n := s.called(); n != 2 {
		t.Errorf("the archive was called %d times", n)
	}

	// A context that was not accepted is used all the same.
	p = dialTo(t, port)
	p.associate("CT1", "ADAPACS", pc(1, studyFind, implicitLE), pc(3, ctStorage, implicitLE))
	p.write(said(1, rq(dicom.CFindRQ, studyFind), []byte{0, 0}, 2))
	p.expectControl(dicom.Control{Type: dicom.Abort, Source: 2, Reason: 6})
	<-s.ended
	if got := s.heard(); got[len(got)-1] != "A-ABORT" {
		t.Errorf("the archive was told %q", got)
	}
}
