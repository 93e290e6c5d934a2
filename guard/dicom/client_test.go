// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/dicom"
)

const readersOfClient = `verbs: [C-FIND, C-MOVE, N-EVENT-REPORT]
sop-classes: [worklist, query-retrieve, storage-commitment]
destinations: [CT1]
associations: [{calling: CT1, called: ADAPACS}]`

// client makes the policy of a front that a device calls others through.
func client(t testing.TB, to int, more string) *Policy {
	t.Helper()
	return policy(t, fmt.Sprintf(`name: ct-out
kind: dicom
device: ct-1
protects: client
listen: "127.0.0.1:0"
forward: {address: "127.0.0.1:%d", clear: a test}
bypass: none
%s`, to, more))
}

// TestClient: what a device sends is not held to lists, but whom it calls and
// which records it asks for; what it is told is.
func TestClient(t *testing.T) {
	s, g := newStore(t), newGuard(t)
	_, port := g.start(client(t, s.port, readersOfClient))
	data := bytes.Repeat([]byte{1}, 50000)

	p := dialTo(t, port)
	p.write(request("CT1", "XFER1", usual...))
	p.expectControl(dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 7})

	p = dialTo(t, port)
	p.associate("CT1", "ADAPACS", usual...)
	for _, tt := range []struct {
		context uint8
		c       dicom.Command
		status  uint16
	}{
		{1, rq(dicom.CStoreRQ, ctStorage), 0}, // an image: in no list
		{9, rq(dicom.NActionRQ, commitment), 0},
		{9, rq(dicom.NCreateRQ, "1.2.840.10008.3.1.2.3.3"), 0}, // a procedure step
		{3, rq(dicom.CFindRQ, studyFind), 0},
		{5, move("CT1"), 0},
		{5, move("XFER1"), 0xA801},
		{11, rq(dicom.CGetRQ, studyGet), 0x0124},
	} {
		if got := p.ask(tt.context, tt.c, data); got != tt.status {
			t.Errorf("%s: %#04x, want %#04x", tt.c.Field.Operation(), got, tt.status)
		}
	}
	p.c.Close()
	<-s.ended
	if got := s.heard(); slices.Contains(got, "C-GET 50000") || !slices.Contains(got, "C-STORE 50000") {
		t.Errorf("the archive was told %q", got)
	}
}

// TestToDevice: what a device that called is told is held to lists and has to
// be DICOM: a request that the other side makes on the same association, and bytes
// that are no DICOM at all.
func TestToDevice(t *testing.T) {
	g := newGuard(t)
	p := client(t, 1, readersOfClient)
	report := rq(dicom.NEventReportRQ, commitment)
	store := rq(dicom.CStoreRQ, ctStorage)
	all := slices.Concat(said(9, report, make([]byte, 100), 50), said(1, store, make([]byte, 100), 50), said(9, rq(dicom.NEventReportRQ, mrStorage), make([]byte, 100), 50))
	_, toDevice, a := relayed(g, p, "CT1", 0, nil, whole(all))
	heard := messages(toDevice)
	if len(heard) != 1 || heard[0].command.Field != dicom.NEventReportRQ || len(heard[0].data) != 100 {
		t.Errorf("the device was told %d messages", len(heard))
	}
	back := messages(a.acceptor.conn.Conn.(*tape).told.Bytes())
	if len(back) != 2 || back[0].command.Status != 0x0124 || back[1].command.Status != 0x0118 {
		t.Errorf("the other side was told %d answers", len(back))
	}
	http := []byte("HTTP/1.1 400 Bad Request\r\n\r\n")
	if _, toDevice, _ = relayed(g, p, "CT1", 0, nil, whole(http)); bytes.Contains(toDevice, []byte("HTTP")) || toDevice[0] != byte(dicom.Abort) {
		t.Errorf("the device was told %q", toDevice)
	}
	if toOthers, _, _ := relayed(g, p, "CT1", 0, whole(http), nil); !bytes.Equal(toOthers, http) {
		t.Errorf("others were told %q", toOthers)
	}
}

// TestUnreadableRequest: a request for an association that cannot be read goes on
// when it is the device's, byte for byte, and so does the answer that is DICOM; from
// others it does not.
func TestUnreadableRequest(t *testing.T) {
	odd := request("CT1", "ADAPACS", usual...)
	odd[7] = 2 // a version that the standard does not have
	s, g := newStore(t), newGuard(t)
	heard := make(chan []byte, 1)
	s.says = func(c net.Conn, m *message) bool { return true }
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := readPDU(c)
		c.Write(s.accept(request("CT1", "ADAPACS", usual...)))
		heard <- append(b, readPDU(c)...)
		c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		readPDU(c)
	}()
	_, port := g.start(client(t, ln.Addr().(*net.TCPAddr).Port, readersOfClient))
	p := dialTo(t, port)
	p.write(odd)
	if m := next(p.c); m == nil || m.pdu == nil || dicom.PDUType(m.pdu[0]) != dicom.AssociateAC {
		t.Fatalf("%+v", m)
	}
	image := said(1, rq(dicom.CStoreRQ, ctStorage), nil, 0)
	p.write(image)
	if got := <-heard; !bytes.Equal(got, append(odd, image...)) {
		t.Errorf("%d bytes became %d", len(odd)+len(image), len(got))
	}
	if m := next(p.c); m == nil || m.pdu == nil || dicom.PDUType(m.pdu[0]) != dicom.Abort {
		t.Errorf("the device was told %+v", m)
	}
	p.c.Close()

	port = s.before(g, readers)
	for _, tt := range []struct {
		said   []byte
		reason uint8
	}{{odd, 6}, {[]byte("GET / HTTP/1.1\r\n\r\n"), 1}, {releaseRQ, 2}, {request("CT1\x00X", "ADAPACS", usual...), 6}, {request("CT1", "ADAPACS", usual[0], usual[0]), 6}, {request("CT1", "ADAPACS", pc(1, "1.2\x00.3", implicitLE)), 6}} {
		p = dialTo(t, port)
		p.write(tt.said)
		p.expectControl(dicom.Control{Type: dicom.Abort, Source: 2, Reason: tt.reason})
		p.c.Close()
	}
	if n := s.called(); n != 0 {
		t.Errorf("the archive was called %d times", n)
	}
}

// TestSecondAssociation: a scanner listens behind one front and calls through
// another. The archive may call it for what the scanner asked for, and for nothing else.
func TestSecondAssociation(t *testing.T) {
	g := newGuard(t)
	pacs, ct := newStore(t), newStore(t)
	_, out := g.start(client(t, pacs.port, `verbs: [C-MOVE]
sop-classes: any
destinations: [CT1]
associations: [{calling: CT1, called: ADAPACS}]`))
	_, in := g.start(policy(t, fmt.Sprintf(`name: ct-in
kind: dicom
device: ct-1
protects: server
listen: {address: "127.0.0.1:0", clear: a test}
forward: "127.0.0.1:%d"
bypass: none
associations: []`, ct.port)))
	rejected := dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 7}
	call := func(calling, called string) *peer {
		p := dialTo(t, in)
		p.write(request(calling, called, usual...))
		return p
	}
	call("ADAPACS", "CT1").expectControl(rejected) // nothing was asked for

	done := make(chan struct{})
	pacs.says = func(_ net.Conn, m *message) bool {
		if m.pdu != nil || m.command.Field != dicom.CMoveRQ {
			return false
		}
		defer close(done)
		p := dialTo(t, in) // while the C-MOVE runs
		p.associate("ADAPACS", "CT1", usual...)
		if got := p.ask(1, rq(dicom.CStoreRQ, ctStorage), []byte{0, 0}); got != 0 {
			t.Errorf("C-STORE: %#04x", got)
		}
		if got := p.ask(3, rq(dicom.CFindRQ, studyFind), []byte{0, 0}); got != 0x0122 {
			t.Errorf("C-FIND: %#04x", got)
		}
		if got := p.ask(9, rq(dicom.NEventReportRQ, commitment), []byte{0, 0}); got != 0x0110 {
			t.Errorf("N-EVENT-REPORT before a commitment was asked for: %#04x", got)
		}
		p.c.Close()
		return false
	}
	p := dialTo(t, out)
	p.associate("CT1", "ADAPACS", usual...)
	if got := p.ask(5, move("CT1"), []byte{0, 0}); got != 0 {
		t.Errorf("C-MOVE: %#04x", got)
	}
	<-done
	<-ct.ended
	if got := ct.heard(); !slices.Contains(got, "C-STORE 2") || slices.Contains(got, "C-FIND 2") {
		t.Errorf("the scanner was told %q", got)
	}
	call("OTHER", "CT1").expectControl(rejected)
	call("ADAPACS", "CT2").expectControl(rejected)

	if got := p.ask(9, rq(dicom.NActionRQ, commitment), []byte{0, 0}); got != 0 {
		t.Errorf("N-ACTION: %#04x", got)
	}
	p.c.Close()
	p = dialTo(t, in)
	p.associate("ADAPACS", "CT1", usual...)
	if got := p.ask(9, rq(dicom.NEventReportRQ, commitment), []byte{0, 0}); got != 0 {
		t.Errorf("N-EVENT-REPORT: %#04x", got)
	}
	p.c.Close()
	<-ct.ended
	<-pacs.ended
}

// TestObserved: what would be refused is recorded, and passes; and what was used can
// be learned.
func TestObserved(t *testing.T) {
	g, s := newGuard(t), newStore(t)
	port := s.before(g, "mode: observe\n"+readers)
	p := dialTo(t, port)
	p.associate("EVIL", "ADAPACS", usual...)
	if got := p.ask(5, move("XFER1"), []byte{0, 0}); got != 0 {
		t.Errorf("C-MOVE: %#04x", got)
	}
	p.c.Close()
	<-s.ended
	if !settled(func() bool {
		r := g.refusals()
		return slices.Contains(r, "A-ASSOCIATE ADAPACS: no list has the calling AE title") && slices.Contains(r, "C-MOVE XFER1: no list has the operation")
	}) {
		t.Errorf("%q", g.refusals())
	}
	uses, _ := g.env.Learned.Uses()
	want := [7]string{"EVIL", "ADAPACS", "C-MOVE", studyMove, "XFER1", implicitLE}
	if !slices.ContainsFunc(uses, func(u front.Counted) bool { return u.Fields == want && u.Count == 1 }) {
		t.Errorf("learned %v", uses)
	}
}

// TestExpectedByAnother: whoever says the name of an archive that is expected, and
// has another certificate than the archive's, is not let in.
func TestExpectedByAnother(t *testing.T) {
	g := newGuard(t)
	p := policy(t, head+"associations: [{calling: ADAPACS, called: CT1, verbs: C-ECHO, sop-classes: any}]")
	for _, bound := range []bool{false, true} {
		g.env.Expected = new(front.Expected)
		f := New(g.env, p)
		p.rules[0].calling = "OTHER"
		if bound {
			p.rules[0].calling, p.rules[0].certificates = "ADAPACS", []binding{{"san", "pacs.example"}}
		}
		g.env.Expected.Expect(front.Expectation{Device: "pacs", From: "ADAPACS", To: "CT1", Operation: "C-STORE"}, 0)
		a := &association{f: f, env: g.env, p: p, calling: "ADAPACS", called: "CT1"}
		a.caller.conn = front.NewConn(&tape{}, &p.Settings, time.Now)
		if got := a.permit(); got == bound {
			t.Errorf("bound to a certificate %t: let in %t", bound, got)
		}
	}
}

// TestCommitmentAfterRestart: an archive says that a scanner's images are safe when the
// guard was killed and started again since it was asked, and on another day's clock.
func TestCommitmentAfterRestart(t *testing.T) {
	pacs, ct := newStore(t), newStore(t)
	file := filepath.Join(t.TempDir(), "expected")
	// start is a guard that knows what the file has.
	start := func(b []byte) (g *guard) {
		t.Helper()
		if b != nil {
			file = filepath.Join(t.TempDir(), "expected")
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		g = newGuard(t)
		g.env.Expected = new(front.Expected)
		if err := g.env.Expected.Open(file); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.env.Expected.Close() })
		return g
	}
	out := func(g *guard) int {
		_, port := g.start(policy(t, fmt.Sprintf(`name: archive-out
kind: dicom
device: pacs
protects: client
listen: {address: "127.0.0.1:0", clear: a test}
forward: {address: "127.0.0.1:%d", clear: a test}
bypass: none
associations: []`, ct.port)))
		return port
	}
	g := start(nil)
	p := dialTo(t, pacs.before(g, readers))
	p.associate("CT1", "ADAPACS", usual...)
	if got := p.ask(9, rq(dicom.NActionRQ, commitment), []byte{0, 0}); got != 0 {
		t.Fatalf("N-ACTION: %#04x", got)
	}
	p.c.Close()
	<-pacs.ended
	killed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p = dialTo(t, out(start(killed)))
	p.associate("ADAPACS", "CT1", usual...)
	if got := p.ask(9, rq(dicom.NEventReportRQ, commitment), []byte{0, 0}); got != 0 {
		t.Errorf("N-EVENT-REPORT: %#04x", got)
	}
	if got := p.ask(1, rq(dicom.CStoreRQ, ctStorage), []byte{0, 0}); got == 0 {
		t.Error("an image came with it")
	}
	p.c.Close()
	<-ct.ended
	p = dialTo(t, out(start([]byte{}))) // of which nobody asked anything
	p.write(request("ADAPACS", "CT1", usual...))
	p.expectControl(dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 7})
	p.c.Close()
}
