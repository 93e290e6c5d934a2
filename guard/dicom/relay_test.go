// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package dicom

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/dicom"
)

// A tape is a connection that says what it was given, in pieces, and keeps what
// it is told.
type tape struct {
	pieces [][]byte
	told   bytes.Buffer
	sizes  []int // of what is in told
}

func (c *tape) Read(b []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *tape) Write(b []byte) (int, error) {
	c.sizes = append(c.sizes, len(b))
	return c.told.Write(b)
}
func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (*tape) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// relayed has the caller say what is given in pieces, in an association in which
// the usual contexts were accepted, and then the acceptor; nil is one who is not
// asked. It returns what both were told.
func relayed(g *guard, p *Policy, calling string, maximum uint32, said, answered [][]byte) (toAcceptor, toCaller []byte, a *association) {
	f := New(g.env, p)
	caller, acceptor := &tape{pieces: said}, &tape{pieces: answered}
	a = &association{f: f, env: g.env, p: p, ctx: context.Background(), limiter: rate.NewLimiter(rate.Inf, 1), known: true, calling: calling, called: "ADAPACS"}
	a.caller.conn, a.acceptor.conn = front.NewConn(caller, &p.Settings, g.env.Now), front.NewConn(acceptor, &p.Settings, g.env.Now)
	a.caller.device, a.acceptor.device = !p.Server, p.Server
	a.acceptor.maximum, a.caller.maximum = maximum, maximum
	a.forth = direction{a: a, src: &a.caller, dst: &a.acceptor, toDevice: p.Server, requests: &a.requests[0], answers: &a.requests[1], buf: make([]byte, bufferBytes)}
	a.back = direction{a: a, src: &a.acceptor, dst: &a.caller, toDevice: !p.Server, requests: &a.requests[1], answers: &a.requests[0], buf: make([]byte, bufferBytes)}
	for _, c := range usual {
		a.contexts[c.ID>>1] = presentation{true, string(c.AbstractSyntax), implicitLE}
	}
	if !a.permit() {
		panic("the test's pair is in no list")
	}
	a.touch()
	if said != nil {
		a.forth.run()
	}
	if answered != nil {
		a.ended.Store(false)
		a.caller.closed, a.acceptor.closed = false, false
		a.back.run()
	}
	a.over()
	return acceptor.told.Bytes(), caller.told.Bytes(), a
}

func whole(b []byte) [][]byte { return [][]byte{b} }

// merge puts the fragments of several P-DATA-TF PDUs into one.
func merge(pdus []byte) []byte {
	b := []byte{byte(dicom.PDataTF), 0, 0, 0, 0, 0}
	for len(pdus) > 0 {
		n := headerBytes + int(binary.BigEndian.Uint32(pdus[2:]))
		b = append(b, pdus[headerBytes:n]...)
		pdus = pdus[n:]
	}
	binary.BigEndian.PutUint32(b[2:], uint32(len(b)-headerBytes))
	return b
}

var releaseRQ = dicom.Control{Type: dicom.ReleaseRQ}.Append(nil)

// A session is what a caller may say: allowed and forbidden messages, in PDUs of
// one or of many fragments.
func session(draw func(n int) int, longest int) (all []byte) {
	for range 1 + draw(5) {
		var m []byte
		data := bytes.Repeat([]byte{byte(draw(256))}, 1+draw(longest))
		fragment := 1 + draw(1000)
		switch draw(6) {
		case 0:
			m = said(1, rq(dicom.CStoreRQ, ctStorage), data, fragment)
		case 1:
			m = said(3, rq(dicom.CFindRQ, studyFind), data, fragment)
		case 2:
			m = said(5, move([]string{"WS1", "XFER1"}[draw(2)]), data, fragment)
		case 3:
			m = said(7, rq(dicom.CEchoRQ, echo), nil, 0)
		case 4:
			m = said(1, dicom.Command{Field: dicom.CStoreRQ | answer, SOPClass: dicom.MakeShort(ctStorage), MessageIDBeingRespondedTo: 1}, nil, 0)
		case 5: // a command set in many fragments
			c := rq(dicom.CFindRQ, studyFind)
			c.DataSet = true
			for b := c.Append(nil); len(b) > 0; {
				n := min(1+draw(40), len(b))
				m = dicom.AppendData(m, 3, true, n == len(b), b[:n])
				b = b[n:]
			}
			m = dicom.AppendData(m, 3, false, true, data)
		}
		if draw(2) == 1 {
			m = merge(m)
		}
		all = append(all, m...)
	}
	return append(all, releaseRQ...)
}

// cut cuts b at places that are drawn.
func cut(b []byte, draw func(n int) int) (pieces [][]byte) {
	for len(b) > 0 {
		n := 1 + draw(min(len(b), 1+draw(5000)))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}

// TestPieces: however the bytes arrive, the same bytes go on, to both sides; and
// a message in which each PDU has one fragment goes on as it came.
func TestPieces(t *testing.T) {
	s := &store{t: t, port: 1}
	p := s.policy(readers)
	g := newGuard(t)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
		all := session(draw, 3000)
		acceptor, caller, _ := relayed(g, p, "VIEW1", 0, whole(all), nil)
		acceptor2, caller2, _ := relayed(g, p, "VIEW1", 0, cut(all, draw), nil)
		if !bytes.Equal(acceptor, acceptor2) || !bytes.Equal(caller, caller2) {
			t.Fatalf("%d and %d bytes to the acceptor, %d and %d to the caller", len(acceptor), len(acceptor2), len(caller), len(caller2))
		}
		_, again, _ := relayed(g, p, "VIEW1", 0, nil, cut(all, draw)) // from the device, byte for byte the same messages
		want, got := messages(all), messages(again)
		if !slices.EqualFunc(want, got, func(a, b *message) bool {
			return a.command == b.command && bytes.Equal(a.data, b.data) && bytes.Equal(a.pdu, b.pdu)
		}) {
			t.Fatalf("%d messages of the device became %d", len(want), len(got))
		}
	})
}

func messages(b []byte) (all []*message) {
	c := &tape{pieces: whole(b)}
	for m := next(c); m != nil; m = next(c) {
		if m.pdu == nil || dicom.PDUType(m.pdu[0]) != dicom.Abort {
			all = append(all, m)
		}
	}
	return all
}

// TestByteForByte: what is allowed goes on as it came.
func TestByteForByte(t *testing.T) {
	s := &store{t: t, port: 1}
	g := newGuard(t)
	all := slices.Concat(said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 100000), 16372), said(7, rq(dicom.CEchoRQ, echo), nil, 0), releaseRQ)
	got, _, _ := relayed(g, s.policy(readers), "CT1", 16384, whole(all), whole(dicom.Control{Type: dicom.ReleaseRP}.Append(nil)))
	if got = bytes.TrimSuffix(got, dicom.Control{Type: dicom.Abort, Source: 2}.Append(nil)); !bytes.Equal(got, all) {
		t.Errorf("%d bytes became %d", len(all), len(got))
	}
}

// TestHeaderAlone: a header that comes alone, as DCMTK writes it, does not go on alone.
func TestHeaderAlone(t *testing.T) {
	s := &store{t: t, port: 1}
	var pieces [][]byte
	for all := said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 40000), 20000); len(all) > 0; {
		n := headerBytes + int(binary.BigEndian.Uint32(all[2:]))
		pieces = append(pieces, all[:2*headerBytes], all[2*headerBytes:n])
		all = all[n:]
	}
	_, _, a := relayed(newGuard(t), s.policy(readers), "CT1", 0, pieces, nil)
	if told := a.acceptor.conn.Conn.(*tape); len(told.sizes) < 3 || slices.Min(told.sizes[:3]) <= 2*headerBytes {
		t.Errorf("written: %d", told.sizes)
	}
}

// TestBounds has every stated bound at its edge: what is at it passes, what is a
// byte beyond ends the association, and nothing of it is completed.
func TestBounds(t *testing.T) {
	s := &store{t: t, port: 1}
	const bounds = "\nbounds: {pdu-bytes: 4096, object-bytes: 10000}"
	long := func(n int) []byte { // a C-FIND whose command set has so many bytes
		c := rq(dicom.CFindRQ, studyFind)
		b := c.Append(nil)
		b = append(b, 0x00, 0x00, 0xff, 0xff)
		b = binary.LittleEndian.AppendUint32(b, uint32(n-len(b)-4))
		b = append(b, make([]byte, n-len(b))...)
		binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-12))
		return b
	}
	command := func(b []byte) (all []byte) {
		for len(b) > 0 {
			n := min(4000, len(b))
			all = dicom.AppendData(all, 3, true, n == len(b), b[:n])
			b = b[n:]
		}
		return all
	}
	for _, tt := range []struct {
		name     string
		calling  string
		pass, no []byte
		why      string
	}{
		{"object", "CT1", said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 10000), 1000), said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 10001), 1000), "C-STORE: the object is longer than its bound"},
		{"PDU", "CT1", said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 4090), 4090), said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 4091), 4091), "P-DATA-TF: a PDU is longer than its bound"},
		{"command set", "VIEW1", command(long(maxCommand)), command(long(maxCommand + 2)), "P-DATA-TF: a command set is too long"},
	} {
		g := newGuard(t)
		p := s.policy(readers + bounds)
		got, _, _ := relayed(g, p, tt.calling, 0, whole(append(slices.Clone(tt.pass), releaseRQ...)), nil)
		if m := messages(got); len(m) != 2 || m[0].pdu != nil || len(g.refusals()) != 0 {
			t.Errorf("%s at the bound: %d messages, %q", tt.name, len(m), g.refusals())
		}
		got, back, _ := relayed(g, p, tt.calling, 0, whole(append(slices.Clone(tt.no), releaseRQ...)), nil)
		if m := messages(got); len(m) != 0 {
			t.Errorf("%s beyond the bound: a message was completed: %+v", tt.name, m[0].command)
		}
		abort := dicom.Control{Type: dicom.Abort, Source: 2}.Append(nil)[:9]
		if !bytes.Contains(got, abort) || !bytes.HasPrefix(back, abort) {
			t.Errorf("%s beyond the bound: no A-ABORT to both", tt.name)
		}
		if r := g.refusals(); len(r) != 1 || r[0] != tt.why {
			t.Errorf("%s: recorded %q", tt.name, r)
		}
	}
}

// TestNotDICOM: what has no meaning, or two, is refused towards the device, and
// nothing of it goes on; from the device it passes byte for byte.
func TestNotDICOM(t *testing.T) {
	good := said(3, rq(dicom.CFindRQ, studyFind), []byte{0, 0}, 2)
	find := rq(dicom.CFindRQ, studyFind)
	find.DataSet = true
	set := find.Append(nil)
	twice := slices.Concat(set, []byte{0, 0, 2, 0, 4, 0, 0, 0}, []byte("1.2\x00"))
	binary.LittleEndian.PutUint32(twice[8:], uint32(len(twice)-12))
	length := said(7, rq(dicom.CEchoRQ, echo), nil, 0)
	length[9]++
	for _, tt := range []struct {
		name   string
		in     []byte
		reason uint8
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), 1},
		{"a PDU of no type", []byte{9, 0, 0, 0, 0, 4, 0, 0, 0, 0}, 1},
		{"a second request", request("VIEW1", "ADAPACS", usual...), 2},
		{"a release with data", []byte{5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0}, 2},
		{"a PDU without a fragment", []byte{4, 0, 0, 0, 0, 0, 0, 0}, 2},
		{"a fragment longer than its PDU", length, 6},
		{"a data set without a command", dicom.AppendData(nil, 3, false, true, []byte{1}), 6},
		{"a data set before its command is whole", slices.Concat(dicom.AppendData(nil, 3, true, false, set[:20]), dicom.AppendData(nil, 3, false, true, set)), 6},
		{"a command in a data set", slices.Concat(dicom.AppendData(nil, 3, true, true, set), dicom.AppendData(nil, 3, true, true, set)), 6},
		{"a data set of another context", slices.Concat(dicom.AppendData(nil, 3, true, true, set), dicom.AppendData(nil, 5, false, true, set)), 6},
		{"a command set in two contexts", slices.Concat(dicom.AppendData(nil, 3, true, false, set[:20]), dicom.AppendData(nil, 5, true, true, set[20:])), 6},
		{"a command set with two meanings", dicom.AppendData(nil, 3, true, true, twice), 6},
		{"a command set that is cut", dicom.AppendData(nil, 3, true, true, set[:len(set)-1]), 6},
		{"a release in a message", slices.Concat(dicom.AppendData(nil, 3, true, true, set), releaseRQ), 2},
		{"a release in a command set", slices.Concat(dicom.AppendData(nil, 3, true, false, set[:20]), releaseRQ), 2},
	} {
		s := &store{t: t, port: 1}
		g := newGuard(t)
		in := slices.Concat(good, tt.in, good)
		got, back, _ := relayed(g, s.policy(readers), "VIEW1", 0, whole(in), nil)
		want := dicom.Control{Type: dicom.Abort, Source: 2, Reason: tt.reason}.Append(nil)
		if !bytes.HasSuffix(got, want) || !bytes.HasSuffix(back, want) {
			t.Errorf("%s: no A-ABORT with reason %d to both: %x", tt.name, tt.reason, back)
		}
		if m := messages(bytes.TrimSuffix(got, want)); len(m) != 1 || len(g.refusals()) != 1 {
			t.Errorf("%s: %d messages went on, %q", tt.name, len(m), g.refusals())
		}
		// The same from the device, in a front of a server and of a client.
		if _, back, _ := relayed(g, s.policy(readers), "VIEW1", 0, nil, whole(in)); !bytes.Equal(back, in) {
			t.Errorf("%s from the device: %d bytes became %d", tt.name, len(in), len(back))
		}
		if !settled(func() bool { return len(g.refusals()) == 2 }) || !strings.HasSuffix(g.refusals()[1], "; it passes as it is") {
			t.Errorf("%s from the device: %q", tt.name, g.refusals())
		}
		// And observed.
		if got, _, _ := relayed(g, s.policy("mode: observe\n"+readers), "VIEW1", 0, whole(in), nil); !bytes.Equal(got, in) {
			t.Errorf("%s, observed: %d bytes became %d", tt.name, len(in), len(got))
		}
	}
}

// TestCut: a message that is cut anywhere is never completed, and no byte of a
// command set goes on before all of it is there.
func TestCut(t *testing.T) {
	s := &store{t: t, port: 1}
	p := s.policy(readers)
	g := newGuard(t)
	all := said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 300), 100)
	command := len(dicom.AppendData(nil, 1, true, true, func() []byte { c := rq(dicom.CStoreRQ, ctStorage); c.DataSet = true; return c.Append(nil) }()))
	for n := range len(all) {
		got, _, _ := relayed(g, p, "CT1", 0, whole(all[:n:n]), nil)
		if len(messages(got)) != 0 {
			t.Fatalf("%d of %d bytes came, and a message went on", n, len(all))
		}
		if aborted := bytes.HasPrefix(got, []byte{byte(dicom.Abort)}); n < command && !aborted {
			t.Fatalf("%d bytes of a command set of %d: %x", n, command, got)
		}
	}
}

// TestAnswersBetweenMessages: an answer of ours never stands inside of a message
// that is on its way.
func TestAnswersBetweenMessages(t *testing.T) {
	s := side{conn: front.NewConn(&tape{}, &front.Settings{Limits: front.DefaultLimits}, time.Now)}
	told := func() []byte { return s.conn.Conn.(*tape).told.Bytes() }
	s.write([]byte("head"), false, true)
	s.inject([]byte("A"))
	s.write([]byte("body"), true, true)
	s.inject([]byte("B"))
	s.write([]byte("tail"), false, false)
	s.inject([]byte("C"))
	if got := string(told()); got != "headbodytailABC" {
		t.Errorf("%q", got)
	}
	s.write([]byte("head"), false, true)
	if err := s.inject(make([]byte, maxPending)); err != nil {
		t.Error(err)
	}
	if err := s.inject([]byte{0}); err == nil {
		t.Error("more waits than there is room for")
	}
}

func FuzzRelay(f *testing.F) {
	seed := func(n int) func(int) int { return func(m int) int { n = (n*31 + 7) % 1009; return n % m } }
	for i := range 5 {
		f.Add(session(seed(i), 40), session(seed(i+50), 40), uint8(i)) // small: the fuzzer shortens each find
	}
	f.Add([]byte("GET / HTTP/1.1"), []byte{4, 0, 0, 0, 0, 1}, uint8(0))
	f.Add(said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 30), 10)[:200], releaseRQ, uint8(3))
	s := &store{t: f, port: 1}
	policies := []*Policy{s.policy(readers + "\nbounds: {object-bytes: 50, pdu-bytes: 4096}"), s.policy("mode: observe\n" + readers), client(f, 1, readersOfClient)}
	g := newGuard(f)
	f.Fuzz(func(t *testing.T, said, answered []byte, how uint8) {
		p := policies[int(how)%len(policies)]
		step := 1 + int(how)
		in := func(b []byte, n int) [][]byte {
			return slices.AppendSeq([][]byte{}, slices.Chunk(slices.Clone(b), n))
		}
		acceptor, caller, _ := relayed(g, p, "CT1", uint32(how)*100, in(said, 1<<20), in(answered, 1<<20))
		acceptor2, caller2, _ := relayed(g, p, "CT1", uint32(how)*100, in(said, step), in(answered, step))
		if how%3 == 0 {
			// What went to the device is DICOM, whole but for the last message.
			c := &tape{pieces: whole(acceptor)}
			for m := next(c); m != nil; m = next(c) {
				if m.pdu == nil && !m.command.Field.Response() && m.command.Field != dicom.CCancelRQ && !storeOnly.has(m.command.Field.Operation()) {
					t.Fatalf("%s went on", m.command.Field.Operation())
				}
				if len(m.data) > 50 {
					t.Fatalf("an object of %d bytes went on", len(m.data))
				}
			}
		}
		abort := []byte{byte(dicom.Abort), 0, 0, 0, 0, 4} // what is cut ends with one, or without
		same := func(a, b []byte) bool {
			return bytes.Equal(a, b) || bytes.Contains(a[min(len(a), max(0, len(a)-10)):], abort) || bytes.Contains(b[max(0, len(b)-10):], abort)
		}
		if !same(acceptor, acceptor2) || !same(caller, caller2) {
			t.Fatalf("in pieces something else went on: %x, %x; %x, %x", acceptor, acceptor2, caller, caller2)
		}
	})
}

// FuzzAssociate has a whole connection: what both sides say from their first byte.
func FuzzAssociate(f *testing.F) {
	s := &store{t: f, port: 1}
	ask := request("CT1", "ADAPACS", usual[:4]...)
	take := s.accept(ask)
	f.Add(slices.Concat(ask, said(1, rq(dicom.CStoreRQ, ctStorage), make([]byte, 30), 10), releaseRQ), append(take, dicom.Control{Type: dicom.ReleaseRP}.Append(nil)...), uint8(0))
	f.Add(ask[:200], take[:50], uint8(1))
	f.Add([]byte("GET / HTTP/1.1\r\n"), []byte("HTTP/1.1 200"), uint8(2))
	f.Add(ask, dicom.Control{Type: dicom.AssociateRJ, Result: 1, Source: 1, Reason: 7}.Append(nil), uint8(0))
	policies := []*Policy{
		s.policy(readers + "\n  - {calling: CT1, called: ADAPACS, verbs: C-STORE, sop-classes: storage, transfer-syntaxes: uncompressed}"),
		s.policy("mode: observe\n" + readers), client(f, 1, readersOfClient),
	}
	policies[0].rules = policies[0].rules[len(policies[0].rules)-1:] // the last one
	g := newGuard(f)
	f.Fuzz(func(t *testing.T, said, answered []byte, how uint8) {
		p := policies[int(how)%len(policies)]
		fr := New(g.env, p)
		caller, acceptor := &tape{pieces: slices.Collect(slices.Chunk(slices.Clone(said), 1+int(how)))}, &tape{pieces: whole(slices.Clone(answered))}
		called := false
		fr.dial = func(context.Context, *front.Settings) (net.Conn, error) { called = true; return acceptor, nil }
		fr.handle(t.Context(), front.NewConn(caller, &p.Settings, g.env.Now))
		if !called || p != policies[0] {
			return
		}
		var rq dicom.Association
		if _, err := rq.Parse(acceptor.told.Bytes()); err != nil {
			t.Fatal(err)
		}
		for _, c := range rq.Contexts {
			if dicom.ServiceOf(c.AbstractSyntax) != dicom.Storage && dicom.ServiceOf(c.AbstractSyntax) != dicom.ResultStorage {
				t.Fatalf("proposed %q", c.AbstractSyntax)
			}
			for _, ts := range c.TransferSyntaxes {
				if !slices.Contains(uncompressed, string(ts)) {
					t.Fatalf("proposed %q", ts)
				}
			}
		}
		if fr.open[""] != 0 {
			t.Fatal("an association is not counted out")
		}
	})
}
