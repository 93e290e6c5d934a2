// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/proto/coap"
)

var secret = []byte("0123456789abcdef")

// pair is a client and a server that share keys.
func pair(t testing.TB, change func(client, server *Params)) (client, server *Context) {
	t.Helper()
	c := Params{MasterSecret: secret, MasterSalt: []byte("salt"), SenderID: []byte{1}, RecipientID: []byte{2}}
	s := Params{MasterSecret: secret, MasterSalt: []byte("salt"), SenderID: []byte{2}, RecipientID: []byte{1}}
	if change != nil {
		change(&c, &s)
	}
	var err error
	if client, err = New(c); err != nil {
		t.Fatal(err)
	}
	if server, err = New(s); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// message is a CoAP message with options in ascending order.
func message(t testing.TB, code coap.Code, payload string, options ...coap.Option) []byte {
	t.Helper()
	m := coap.Message{Code: code, ID: 7, Token: []byte{0xaa}, Payload: []byte(payload)}
	if code.Class() > 1 {
		m.Type = coap.Acknowledgement
	}
	last := coap.OptionNumber(0)
	for _, o := range options {
		m.Options = coap.AppendOption(m.Options, last, o)
		last = o.Number
	}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func option(n coap.OptionNumber, v string) coap.Option {
	return coap.Option{Number: n, Value: []byte(v)}
}

func observe(n uint32) coap.Option {
	return coap.Option{Number: coap.Observe, Value: coap.AppendUint(nil, n)}
}

func protectRequest(t testing.TB, c *Context, msg []byte) ([]byte, *Exchange) {
	t.Helper()
	var x Exchange
	b, err := c.ProtectRequest(nil, msg, &x)
	if err != nil {
		t.Fatal(err)
	}
	return b, &x
}

func bolus(t testing.TB) []byte {
	return message(t, coap.POST, "2 U", option(coap.URIPath, "therapy"))
}

// serve has a server read a request and answer it.
func serve(t testing.TB, s *Context, request []byte, answer []byte) []byte {
	t.Helper()
	var y Exchange
	if _, err := s.UnprotectRequest(nil, request, &y); err != nil {
		t.Fatal(err)
	}
	b, err := s.ProtectResponse(nil, answer, &y)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOptions puts each option where its class says, and gives the message that
// went in.
func TestOptions(t *testing.T) {
	client, server := pair(t, nil)
	msg := message(t, coap.PUT, "body",
		option(coap.IfMatch, "tag"), option(coap.URIHost, "pump"), option(coap.URIPort, "\x16\x33"), option(coap.URIPath, "secret-path"),
		option(coap.ContentFormat, "\x3c"), option(coap.URIQuery, "secret-query"), option(coap.HopLimit, "\x05"), option(coap.Accept, "\x3c"),
		option(coap.Block1, "\x06"), option(coap.ProxyScheme, "coap"), option(coap.Size1, "\x04"), option(coap.Echo, "echo"),
		option(coap.NoResponse, "\x02"), option(coap.RequestTag, "rt"), option(65000, "unknown"))
	b, x := protectRequest(t, client, msg)
	var m coap.Message
	if err := m.Parse(b); err != nil {
		t.Fatal(err)
	}
	var outside []coap.OptionNumber
	for o := range m.Options.All() {
		outside = append(outside, o.Number)
	}
	if want := []coap.OptionNumber{coap.URIHost, coap.URIPort, coap.OSCOREOption, coap.HopLimit, coap.ProxyScheme}; !slices.Equal(outside, want) {
		t.Errorf("outside: %v; want %v", outside, want)
	}
	if m.Code != coap.POST || bytes.Contains(b, []byte("secret")) || bytes.Contains(b, []byte("body")) {
		t.Errorf("code %v, or something in clear", m.Code)
	}
	var y Exchange
	got, err := server.UnprotectRequest(nil, b, &y)
	if err != nil || !bytes.Equal(got, msg) {
		t.Errorf("%x, %v; want %x", got, err, msg)
	}
	answer := message(t, coap.Content, "", option(coap.ETag, "x"), option(coap.ContentFormat, ""), option(coap.MaxAge, "\x05"))
	b, err = server.ProtectResponse([]byte("before"), answer, &y)
	if err != nil || !bytes.HasPrefix(b, []byte("before")) {
		t.Fatal(err)
	}
	got, err = client.UnprotectResponse([]byte("kept"), b[len("before"):], x)
	if err != nil || !bytes.Equal(got, append([]byte("kept"), answer...)) {
		t.Errorf("%x, %v; want %x", got, err, answer)
	}
}

// TestOutside has an attacker put options outside that belong inside: they do
// not count; and the ciphertext of a message with OSCORE in OSCORE is refused.
func TestOutside(t *testing.T) {
	client, server := pair(t, nil)
	msg := bolus(t)
	b, _ := protectRequest(t, client, msg)
	var m coap.Message
	if err := m.Parse(b); err != nil {
		t.Fatal(err)
	}
	o, _ := m.Options.Get(coap.OSCOREOption)
	forged := m
	forged.Options = nil
	last := coap.OptionNumber(0)
	for _, o := range []coap.Option{option(coap.IfNoneMatch, ""), o, option(coap.URIPath, "other"), option(coap.URIQuery, "force"), option(coap.Echo, "echo")} {
		forged.Options = coap.AppendOption(forged.Options, last, o)
		last = o.Number
	}
	fb, err := forged.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var y Exchange
	if got, err := server.UnprotectRequest(nil, fb, &y); err != nil || !bytes.Equal(got, msg) {
		t.Errorf("%x, %v; want %x", got, err, msg)
	}
	if _, err := client.ProtectRequest(nil, b, &y); !errors.Is(err, ErrMessage) {
		t.Errorf("protected twice: %v", err)
	}
	// What a peer that does nest would send.
	client, server = pair(t, nil)
	inside := message(t, coap.POST, "x", option(coap.OSCOREOption, "\x09\x01\x01"))
	_ = m.Parse(inside)
	var x Exchange
	piv, _ := client.take(&x.piv)
	x.kidSize, x.pivSize = uint8(copy(x.kid[:], client.senderID)), uint8(len(piv))
	plain := append([]byte{byte(m.Code)}, m.Options...)
	nested, _ := (&coap.OSCORE{PartialIV: piv, KID: client.senderID}).Append(nil)
	whole := message(t, coap.POST, string(client.seal.Seal(nil, client.nonce(&x.nonceRoom, client.senderID, piv), plain, client.aad(nil, client.senderID, piv))), option(coap.OSCOREOption, string(nested)))
	if _, err := server.UnprotectRequest(nil, whole, &y); !errors.Is(err, ErrInner) {
		t.Errorf("nested: %v", err)
	}
}

// TestHostile has a row for what an attacker does to a request.
func TestHostile(t *testing.T) {
	client, server := pair(t, func(c, s *Params) { c.IDContext, s.IDContext = []byte("ward"), []byte("ward") })
	good, _ := protectRequest(t, client, bolus(t))
	var m coap.Message
	if err := m.Parse(good); err != nil {
		t.Fatal(err)
	}
	with := func(value string, payload []byte) []byte {
		return message(t, coap.POST, string(payload), option(coap.OSCOREOption, value))
	}
	for _, tt := range []struct {
		name string
		msg  []byte
		err  error
	}{
		{"no option", message(t, coap.POST, "x"), ErrOption},
		{"empty option in a request", with("", m.Payload), ErrOption},
		{"no kid", with("\x01\x00", m.Payload), ErrOption},
		{"no Partial IV", with("\x08\x01", m.Payload), ErrOption},
		{"reserved flag 0x20", with("\x29\x00\x01", m.Payload), ErrOption},
		{"reserved flag 0x40", with("\x49\x00\x01", m.Payload), ErrOption},
		{"reserved flag 0x80", with("\x89\x00\x01", m.Payload), ErrOption},
		{"Partial IV of 6 bytes, 2^40", with("\x0e\x01\x00\x00\x00\x00\x00\x01", m.Payload), ErrOption},
		{"Partial IV of 7 bytes", with("\x0f\x01\x00\x00\x00\x00\x00\x00\x01", m.Payload), ErrOption},
		{"Partial IV with a leading zero", with("\x0a\x00\x00\x01", m.Payload), ErrOption},
		{"kid context longer than the option", with("\x19\x00\xff\x01", m.Payload), ErrOption},
		{"no ciphertext", with("\x09\x00\x01", nil), ErrOption},
		{"two options", message(t, coap.POST, "xxxxxxxxx", option(coap.OSCOREOption, "\x09\x00\x01"), option(coap.OSCOREOption, "\x09\x00\x01")), ErrOption},
		{"a response", message(t, coap.Changed, "xxxxxxxxx", option(coap.OSCOREOption, "\x09\x00\x01")), ErrOption},
		{"no CoAP", []byte("GET / HTTP/1.1\r\n\r\n"), ErrOption},
		{"kid unknown", with("\x09\x00\x07", m.Payload), ErrContext},
		{"kid longer", with("\x09\x00\x01\x01", m.Payload), ErrContext},
		{"another kid context", with("\x19\x00\x04hall\x01", m.Payload), ErrContext},
		{"tag only", with("\x09\x00\x01", m.Payload[:8]), ErrDecrypt},
		{"shorter than a tag", with("\x09\x00\x01", m.Payload[:3]), ErrDecrypt},
		{"another Partial IV", with("\x09\x05\x01", m.Payload), ErrDecrypt},
	} {
		var y Exchange
		got, err := server.UnprotectRequest([]byte("kept"), tt.msg, &y)
		if !errors.Is(err, tt.err) || string(got) != "kept" {
			t.Errorf("%s: %v, %q; want %v", tt.name, err, got, tt.err)
		}
	}
	for i := range m.Payload {
		for bit := range 8 {
			b := slices.Clone(good)
			b[len(b)-len(m.Payload)+i] ^= 1 << bit
			var y Exchange
			if _, err := server.UnprotectRequest(nil, b, &y); !errors.Is(err, ErrDecrypt) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
	var y Exchange
	if _, err := server.UnprotectRequest(nil, good, &y); err != nil {
		t.Errorf("the genuine one after all of that: %v", err)
	}
	if _, err := server.UnprotectRequest(nil, good, &y); !errors.Is(err, ErrReplay) {
		t.Errorf("replayed: %v", err)
	}
}

// TestTooLate has a genuine request that comes when the window is past it, and one
// that is just in time.
func TestTooLate(t *testing.T) {
	client, server := pair(t, nil)
	var held [][]byte
	for range DefaultWindow + 1 {
		q, _ := protectRequest(t, client, bolus(t))
		held = append(held, q)
	}
	var y Exchange
	for _, tt := range []struct {
		i   int
		err error
	}{{DefaultWindow, nil}, {0, ErrReplay}, {1, nil}, {1, ErrReplay}} {
		if _, err := server.UnprotectRequest(nil, held[tt.i], &y); !errors.Is(err, tt.err) {
			t.Errorf("request %d: %v; want %v", tt.i, err, tt.err)
		}
	}
}

// TestWindow stands at its edges.
func TestWindow(t *testing.T) {
	for _, size := range []int{1, 31, 32, 64, 65, MaxWindow} {
		var w window
		if err := w.init(size); err != nil {
			t.Fatal(err)
		}
		w.receive(5000)
		oldest := uint64(5001 - size)
		if w.fresh(oldest-1) || w.fresh(5000) || size > 1 && !w.fresh(oldest) || !w.fresh(5001) {
			t.Errorf("window of %d: %v %v %v %v", size, w.fresh(oldest-1), w.fresh(5000), w.fresh(oldest), w.fresh(5001))
		}
	}
	for _, size := range []int{-1, MaxWindow + 1} {
		if _, err := New(Params{MasterSecret: secret, SenderID: []byte{1}, Window: size}); err == nil {
			t.Errorf("a window of %d", size)
		}
	}
	// Against a set of all that was received.
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 100).Draw(t, "size")
		var w window
		if err := w.init(size); err != nil {
			t.Fatal(err)
		}
		seen, top := map[uint64]bool{}, uint64(0)
		for _, step := range rapid.SliceOfN(rapid.IntRange(-150, 150), 1, 200).Draw(t, "steps") {
			n := uint64(max(0, int(top)+step))
			want := !seen[n] && n+uint64(size) >= top
			if got := w.fresh(n); got != want {
				t.Fatalf("number %d with top %d and size %d: fresh %v", n, top, size, got)
			}
			if want {
				w.receive(n)
				seen[n] = true
				top = max(top, n+1)
			}
		}
	})
}

// TestResponses has answers that are not those of the request, or come again.
func TestResponses(t *testing.T) {
	client, server := pair(t, nil)
	q1, x1 := protectRequest(t, client, bolus(t))
	q2, x2 := protectRequest(t, client, bolus(t))
	a1 := serve(t, server, q1, message(t, coap.Changed, "first"))
	a2 := serve(t, server, q2, message(t, coap.Changed, "second"))
	if _, err := client.UnprotectResponse(nil, a2, x1); !errors.Is(err, ErrDecrypt) {
		t.Errorf("the answer to another request: %v", err)
	}
	for _, tt := range []struct {
		a []byte
		x *Exchange
	}{{a1, x1}, {a2, x2}} {
		if _, err := client.UnprotectResponse(nil, tt.a, tt.x); err != nil {
			t.Error(err)
		}
		if _, err := client.UnprotectResponse(nil, tt.a, tt.x); !errors.Is(err, ErrReplay) {
			t.Errorf("an answer that came again: %v", err)
		}
	}
	// A server that answers twice does not use a nonce twice.
	var y Exchange
	q, _ := protectRequest(t, client, bolus(t))
	if _, err := server.UnprotectRequest(nil, q, &y); err != nil {
		t.Fatal(err)
	}
	var pivs []string
	for range 3 {
		b, err := server.ProtectResponse(nil, message(t, coap.Changed, "x"), &y)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := Identify(b)
		pivs = append(pivs, fmt.Sprintf("%x", v.PartialIV))
	}
	if !slices.Equal(pivs, []string{"", "00", "01"}) {
		t.Errorf("Partial IVs %q", pivs)
	}
	// A request does for a response as little as the other way round.
	if _, err := client.UnprotectResponse(nil, q, x1); !errors.Is(err, ErrMessage) {
		t.Errorf("a request as a response: %v", err)
	}
}

// TestObserve takes notifications in order, once each.
func TestObserve(t *testing.T) {
	client, server := pair(t, nil)
	q, x := protectRequest(t, client, message(t, coap.GET, "", observe(0), option(coap.URIPath, "telemetry")))
	var m coap.Message
	if err := m.Parse(q); err != nil || m.Code != coap.FETCH {
		t.Errorf("outer code %v", m.Code)
	}
	var y Exchange
	if _, err := server.UnprotectRequest(nil, q, &y); err != nil || !y.Observe() || !x.Observe() {
		t.Fatal(err, y.Observe(), x.Observe())
	}
	var sent [][]byte
	for i := range 5 {
		b, err := server.ProtectResponse(nil, message(t, coap.Content, fmt.Sprint(i), observe(uint32(100+i))), &y)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := Identify(b); v.PartialIV == nil {
			t.Error("a notification without a Partial IV")
		}
		sent = append(sent, b)
	}
	for _, step := range []struct {
		i   int
		err error
	}{{0, nil}, {2, nil}, {1, ErrReplay}, {2, ErrReplay}, {0, ErrReplay}, {4, nil}, {3, ErrReplay}} {
		got, err := client.UnprotectResponse(nil, sent[step.i], x)
		if !errors.Is(err, step.err) {
			t.Fatalf("notification %d: %v; want %v", step.i, err, step.err)
		}
		if err != nil {
			continue
		}
		if err := m.Parse(got); err != nil {
			t.Fatal(err)
		}
		o, ok := m.Options.Get(coap.Observe)
		if v, _ := o.Uint(); !ok || v != uint32(step.i) || string(m.Payload) != fmt.Sprint(step.i) {
			t.Errorf("notification %d: Observe %d, %q", step.i, v, m.Payload)
		}
	}
	// A proxy that takes the outer Observe away does not change what is asked for
	// (RFC 8613 section 4.1.3.5.1).
	q, _ = protectRequest(t, client, message(t, coap.GET, "", observe(0), option(coap.URIPath, "telemetry")))
	_ = m.Parse(q)
	o, _ := m.Options.Get(coap.OSCOREOption)
	m.Options = coap.AppendOption(nil, 0, o)
	q, _ = m.Append(nil)
	if _, err := server.UnprotectRequest(nil, q, &y); err != nil || !y.Observe() {
		t.Fatal(err, y.Observe())
	}
	// One that puts it there does not ask for an observation.
	q, _ = protectRequest(t, client, message(t, coap.GET, "", option(coap.URIPath, "telemetry")))
	_ = m.Parse(q)
	o, _ = m.Options.Get(coap.OSCOREOption)
	m.Options = coap.AppendOption(coap.AppendOption(nil, 0, observe(0)), coap.Observe, o)
	q, _ = m.Append(nil)
	if got, err := server.UnprotectRequest(nil, q, &y); err != nil || y.Observe() || hasObserve(t, got) {
		t.Fatal(err, y.Observe())
	}
}

func hasObserve(t *testing.T, msg []byte) bool {
	t.Helper()
	var m coap.Message
	if err := m.Parse(msg); err != nil {
		t.Fatal(err)
	}
	_, ok := m.Options.Get(coap.Observe)
	return ok
}

// An observation is one that a client registered and a server accepted.
type observation struct {
	client, server *Context
	x, y           *Exchange
}

func register(t *testing.T) *observation {
	t.Helper()
	client, server := pair(t, nil)
	o := &observation{client: client, server: server, y: new(Exchange)}
	var q []byte
	q, o.x = protectRequest(t, client, message(t, coap.GET, "", observe(0), option(coap.URIPath, "telemetry")))
	if _, err := server.UnprotectRequest(nil, q, o.y); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *observation) send(t *testing.T, code coap.Code, options ...coap.Option) []byte {
	t.Helper()
	b, err := o.server.ProtectResponse(nil, message(t, code, "x", options...), o.y)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestObservation goes through what may come in an observation (RFC 8613 section
// 4.1.3.5).
func TestObservation(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(o *observation) error
		err  error
		on   bool // the observation goes on, for client and server
	}{
		{"a notification", func(o *observation) error {
			_, err := o.client.UnprotectResponse(nil, o.send(t, coap.Content, observe(5)), o.x)
			return err
		}, nil, true},
		{"an answer that declines", func(o *observation) error {
			_, err := o.client.UnprotectResponse(nil, o.send(t, coap.Content), o.x)
			return err
		}, nil, false},
		{"an error that ends it, under a Partial IV of its own", func(o *observation) error {
			first, last := o.send(t, coap.Content, observe(5)), o.send(t, coap.NotFound)
			if v, _ := Identify(last); v.PartialIV == nil {
				t.Error("the error has no Partial IV")
			}
			if _, err := o.client.UnprotectResponse(nil, first, o.x); err != nil {
				return err
			}
			_, err := o.client.UnprotectResponse(nil, last, o.x)
			return err
		}, nil, false},
		{"a notification after the error", func(o *observation) error {
			first, last := o.send(t, coap.Content, observe(5)), o.send(t, coap.NotFound)
			if _, err := o.client.UnprotectResponse(nil, last, o.x); err != nil {
				return err
			}
			_, err := o.client.UnprotectResponse(nil, first, o.x)
			return err
		}, ErrReplay, false},
		{"the server goes on after the error", func(o *observation) error {
			o.send(t, coap.NotFound)
			_, err := o.server.ProtectResponse(nil, message(t, coap.Content, "", observe(1)), o.y)
			return err
		}, ErrMessage, false},
		{"a notification without a Partial IV comes first", func(o *observation) error {
			first := o.bare(t, coap.Content, observe(1))
			_, err := o.client.UnprotectResponse(nil, first, o.x)
			return err
		}, nil, true},
		{"it comes again", func(o *observation) error {
			first := o.bare(t, coap.Content, observe(1))
			if _, err := o.client.UnprotectResponse(nil, first, o.x); err != nil {
				return err
			}
			_, err := o.client.UnprotectResponse(nil, first, o.x)
			return err
		}, ErrReplay, true},
		{"it comes after one with a Partial IV: it is the oldest", func(o *observation) error {
			first := o.bare(t, coap.Content, observe(1))
			if _, err := o.client.UnprotectResponse(nil, o.send(t, coap.Content, observe(2)), o.x); err != nil {
				return err
			}
			_, err := o.client.UnprotectResponse(nil, first, o.x)
			return err
		}, ErrReplay, true},
		{"a forged one in between ends nothing", func(o *observation) error {
			b := o.send(t, coap.Content, observe(5))
			b[len(b)-1] ^= 1
			_, err := o.client.UnprotectResponse(nil, b, o.x)
			return err
		}, ErrDecrypt, true},
		{"the outer Observe has another value", func(o *observation) error {
			b := o.send(t, coap.Content, observe(5))
			var m coap.Message
			if err := m.Parse(b); err != nil {
				return err
			}
			v, _ := m.Options.Get(coap.OSCOREOption)
			m.Options = coap.AppendOption(coap.AppendOption(nil, 0, observe(77)), coap.Observe, v)
			b, _ = m.Append(nil)
			got, err := o.client.UnprotectResponse(nil, b, o.x)
			if err == nil && !bytes.Contains(got, []byte{0x60}) { // Partial IV 0
				t.Errorf("%x", got)
			}
			return err
		}, nil, true},
		{"cancelled with the same token, under a new Partial IV", func(o *observation) error {
			q, x := protectRequest(t, o.client, message(t, coap.GET, "", observe(1), option(coap.URIPath, "telemetry")))
			var y Exchange
			got, err := o.server.UnprotectRequest(nil, q, &y)
			if err != nil || !hasObserve(t, got) || y.Observe() || x.Observe() || x.pivSize == 0 || x.piv == o.x.piv {
				t.Error(err, y.Observe(), x.Observe())
			}
			o.x, o.y = x, &y
			_, err = o.client.UnprotectResponse(nil, o.send(t, coap.Content), x)
			return err
		}, nil, false},
		{"registered again with the same token: the old one stays", func(o *observation) error {
			q, x := protectRequest(t, o.client, message(t, coap.GET, "", observe(0), option(coap.URIPath, "telemetry")))
			old := o.send(t, coap.Content, observe(1))
			var y Exchange
			if _, err := o.server.UnprotectRequest(nil, q, &y); err != nil {
				return err
			}
			if _, err := o.client.UnprotectResponse(nil, old, x); !errors.Is(err, ErrDecrypt) {
				t.Errorf("a notification of the old registration: %v", err)
			}
			_, err := o.client.UnprotectResponse(nil, old, o.x)
			return err
		}, nil, true},
		{"a replayed registration", func(o *observation) error {
			q, _ := protectRequest(t, o.client, message(t, coap.GET, "", observe(0)))
			var y Exchange
			if _, err := o.server.UnprotectRequest(nil, q, &y); err != nil {
				return err
			}
			_, err := o.server.UnprotectRequest(nil, q, &y)
			return err
		}, ErrReplay, true},
	} {
		o := register(t)
		if err := tt.run(o); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.err)
		}
		if o.x.Observe() != tt.on && tt.name != "the server goes on after the error" {
			t.Errorf("%s: the observation goes on: %v", tt.name, o.x.Observe())
		}
	}

	// A notification that answers a request without Observe.
	o := register(t)
	q, x := protectRequest(t, o.client, bolus(t))
	var y Exchange
	if _, err := o.server.UnprotectRequest(nil, q, &y); err != nil {
		t.Fatal(err)
	}
	y.observe = true // a server that does not keep the rules
	b, err := o.server.ProtectResponse(nil, message(t, coap.Content, "x", observe(1)), &y)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.client.UnprotectResponse(nil, b, x); !errors.Is(err, ErrInner) {
		t.Errorf("a notification that was not asked for: %v", err)
	}
}

// bare is a first notification under the request's nonce, as other servers send it.
func (o *observation) bare(t *testing.T, code coap.Code, options ...coap.Option) []byte {
	t.Helper()
	var m coap.Message
	if err := m.Parse(message(t, code, "x", options...)); err != nil {
		t.Fatal(err)
	}
	kid, piv := o.y.request()
	b, err := o.server.protect(nil, &m, coap.Content, &coap.OSCORE{}, o.server.nonce(&o.y.nonceRoom, kid, piv), o.y)
	if err != nil {
		t.Fatal(err)
	}
	o.y.answered = true
	return b
}

// TestProxyURI hides what a request is about from the proxy that it goes to
// (RFC 8613 section 4.1.3.3, whose example comes first).
func TestProxyURI(t *testing.T) {
	for _, tt := range []struct {
		uri, outside string
		inside       []coap.Option
	}{
		{"coap://example.com/resource?q=1", "coap://example.com", []coap.Option{option(coap.URIPath, "resource"), option(coap.URIQuery, "q=1")}},
		{"coap://example.com", "coap://example.com", nil},
		{"coap://example.com/", "coap://example.com", nil},
		{"coaps://[::1]:99/a%2fb//c?x&y=%20", "coaps://[::1]:99", []coap.Option{option(coap.URIPath, "a/b"), option(coap.URIPath, ""), option(coap.URIPath, "c"), option(coap.URIQuery, "x"), option(coap.URIQuery, "y= ")}},
		{"coap://h?", "coap://h", []coap.Option{option(coap.URIQuery, "")}},
	} {
		client, server := pair(t, nil)
		b, _ := protectRequest(t, client, message(t, coap.GET, "", option(coap.ProxyURI, tt.uri), option(coap.Size1, "\x01")))
		var m coap.Message
		if err := m.Parse(b); err != nil {
			t.Fatal(err)
		}
		if o, _ := m.Options.Get(coap.ProxyURI); string(o.Value) != tt.outside {
			t.Errorf("%s: outside %q", tt.uri, o.Value)
		}
		var y Exchange
		got, err := server.UnprotectRequest(nil, b, &y)
		want := append(slices.Clone(tt.inside), option(coap.ProxyURI, tt.outside), option(coap.Size1, "\x01"))
		if err != nil || !bytes.Equal(got, message(t, coap.GET, "", want...)) {
			t.Errorf("%s: %x, %v", tt.uri, got, err)
		}
	}
	for _, msg := range [][]byte{
		message(t, coap.GET, "", option(coap.ProxyURI, "coap:/nothing")),
		message(t, coap.GET, "", option(coap.ProxyURI, "://host/x")),
		message(t, coap.GET, "", option(coap.ProxyURI, "coap:///x")),
		message(t, coap.GET, "", option(coap.ProxyURI, "coap://user@host/x")),
		message(t, coap.GET, "", option(coap.ProxyURI, "coap://host/x#part")),
		message(t, coap.GET, "", option(coap.ProxyURI, "coap://host/%zz")),
		message(t, coap.GET, "", option(coap.ProxyURI, "coap://host/"+strings.Repeat("x", 256))),
		message(t, coap.GET, "", option(coap.URIPath, "x"), option(coap.ProxyURI, "coap://host/x")),
	} {
		client, _ := pair(t, nil)
		var x Exchange
		if _, err := client.ProtectRequest(nil, msg, &x); !errors.Is(err, ErrMessage) {
			t.Errorf("%q: %v", msg, err)
		}
	}
}

// TestInside has what a peer that keeps no rules encrypts.
func TestInside(t *testing.T) {
	for name, plain := range map[string]string{
		"nothing":                 "",
		"a response in a request": "\x45",
		"an empty code":           "\x00",
		"a signalling code":       "\xe1",
		"OSCORE again":            "\x02\x93\x09\x01\x01",
		"Uri-Host, of class U":    "\x02\x34host",
		"EDHOC":                   "\x02\xd0\x08",
		"options that end early":  "\x02\xb5ab",
		"a marker before nothing": "\x02\xff",
	} {
		client, server := pair(t, nil)
		var room [coap.MaxPartialIV]byte
		piv, _ := client.take(&room)
		var n [maxNonce]byte
		value, _ := (&coap.OSCORE{PartialIV: piv, KID: client.senderID}).Append(nil)
		b := message(t, coap.POST, string(client.seal.Seal(nil, client.nonce(&n, client.senderID, piv), []byte(plain), client.aad(nil, client.senderID, piv))), option(coap.OSCOREOption, string(value)))
		var y Exchange
		if got, err := server.UnprotectRequest(nil, b, &y); !errors.Is(err, ErrInner) || len(got) > 0 {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

// TestTCP goes through the form that CoAP has over TCP (RFC 8323), which has no
// type and no ID.
func TestTCP(t *testing.T) {
	client, server := pair(t, nil)
	q, _ := protectRequest(t, client, bolus(t))
	var m, over coap.Message
	if err := m.Parse(q); err != nil {
		t.Fatal(err)
	}
	stream, err := m.AppendTCP(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := over.ParseTCP(stream); err != nil || n != len(stream) {
		t.Fatal(n, err)
	}
	if q, err = over.Append(nil); err != nil {
		t.Fatal(err)
	}
	var y Exchange
	got, err := server.UnprotectRequest(nil, q, &y)
	if err != nil || m.Parse(got) != nil || string(m.Payload) != "2 U" {
		t.Errorf("%x, %v", got, err)
	}
}

// TestWorn counts what was sealed and what was forged.
func TestWorn(t *testing.T) {
	client, server := pair(t, func(_, s *Params) { s.Sequence = usageLimit - 1 })
	if client.Worn() || server.Worn() {
		t.Error("new keys are worn")
	}
	q, x := protectRequest(t, client, bolus(t))
	var y Exchange
	if _, err := server.UnprotectRequest(nil, q, &y); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a, err := server.ProtectResponse(nil, message(t, coap.Changed, ""), &y)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = client.UnprotectResponse(nil, a, x)
	}
	if !server.Worn() {
		t.Error("as many messages as there may be, and the keys are not worn")
	}
	q[len(q)-1] ^= 1
	for range forgeryLimitShort {
		if client.Worn() {
			t.Fatal("worn too early")
		}
		if _, err := client.UnprotectRequest(nil, message(t, coap.POST, "123456789", option(coap.OSCOREOption, "\x09\x01\x02")), &y); !errors.Is(err, ErrDecrypt) {
			t.Fatal(err)
		}
	}
	if !client.Worn() {
		t.Error("so many forgeries, and the keys are not worn")
	}
}

// TestSequence runs out of numbers, and starts again where nothing was used.
func TestSequence(t *testing.T) {
	client, server := pair(t, func(c, _ *Params) { c.Sequence = MaxSequence })
	q, _ := protectRequest(t, client, bolus(t))
	if v, _ := Identify(q); !bytes.Equal(v.PartialIV, []byte{0xff, 0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("%x", v.PartialIV)
	}
	serve(t, server, q, message(t, coap.Changed, ""))
	var x Exchange
	if _, err := client.ProtectRequest(nil, bolus(t), &x); !errors.Is(err, ErrExhausted) {
		t.Error(err)
	}
	if _, err := New(Params{MasterSecret: secret, SenderID: []byte{1}, Sequence: MaxSequence + 1}); !errors.Is(err, ErrExhausted) {
		t.Error(err)
	}

	// A device that is cut off at any moment starts at what it had written.
	durable, used := uint64(0), map[uint64]bool{}
	full := errors.New("disk full")
	for life := range 5 {
		failing := false
		c, _ := pair(t, func(c, _ *Params) {
			c.Sequence = durable
			c.Reserve = func(limit uint64) error {
				if failing {
					return full
				}
				durable = limit
				return nil
			}
		})
		for range ReserveStep*2 + life*17 {
			q, _ := protectRequest(t, c, bolus(t))
			v, _ := Identify(q)
			n := number(v.PartialIV)
			if used[n] || n >= durable {
				t.Fatalf("number %d: used %v, reserved to %d", n, used[n], durable)
			}
			used[n] = true
		}
		failing = true
		var err error
		for range ReserveStep + 1 {
			if _, err = c.ProtectRequest(nil, bolus(t), &x); err != nil {
				break
			}
		}
		if !errors.Is(err, full) {
			t.Errorf("nothing could be reserved: %v", err)
		}
	}
}

// TestRecover is a server that lost its window: it serves nobody who does not
// answer its challenge, an old request never.
func TestRecover(t *testing.T) {
	client, before := pair(t, nil)
	old, _ := protectRequest(t, client, bolus(t))
	heldBack, _ := protectRequest(t, client, bolus(t)) // an attacker kept it
	serve(t, before, old, message(t, coap.Changed, "given"))

	e, now := NewEcho([32]byte{1}), 5*time.Second
	var server *Context
	_, server = pair(t, func(_, s *Params) {
		s.Sequence = 1000
		s.Recover = func(v []byte) bool { return e.Fresh(v, server, now, time.Second) }
	})
	var y Exchange
	for _, q := range [][]byte{old, old, heldBack} {
		if got, err := server.UnprotectRequest(nil, q, &y); !errors.Is(err, ErrUnproven) || len(got) > 0 {
			t.Fatalf("%v, %x", err, got)
		}
	}
	msg := bolus(t)
	q, x := protectRequest(t, client, msg)
	if _, err := server.UnprotectRequest(nil, q, &y); !errors.Is(err, ErrUnproven) {
		t.Fatal(err)
	}
	value := e.Append(nil, server, now)
	challenge, err := server.AppendChallenge(nil, q, value, &y)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := Identify(challenge); v.PartialIV == nil {
		t.Error("the challenge goes under the nonce of a request that may have been answered before")
	}
	got, err := client.UnprotectResponse(nil, challenge, x)
	if err != nil || !bytes.Equal(EchoOf(got), value) {
		t.Fatalf("%x, %v", got, err)
	}
	again, err := AppendWithEcho(nil, msg, EchoOf(got))
	if err != nil {
		t.Fatal(err)
	}
	q, _ = protectRequest(t, client, again)
	now += 2 * time.Second
	if _, err := server.UnprotectRequest(nil, q, &y); !errors.Is(err, ErrUnproven) {
		t.Errorf("an answer that was held back: %v", err)
	}
	now -= 2 * time.Second
	if got, err = server.UnprotectRequest(nil, q, &y); err != nil || !bytes.Equal(got, again) {
		t.Fatalf("%x, %v", got, err)
	}
	for _, q := range [][]byte{q, old, heldBack} {
		if _, err := server.UnprotectRequest(nil, q, &y); !errors.Is(err, ErrReplay) {
			t.Errorf("after it recovered: %v", err)
		}
	}
	q, _ = protectRequest(t, client, msg)
	serve(t, server, q, message(t, coap.Changed, ""))
}

// TestEcho has values of others, of other times, and changed ones.
func TestEcho(t *testing.T) {
	_, a := pair(t, nil)
	_, b := pair(t, func(c, s *Params) { c.MasterSalt, s.MasterSalt = nil, nil })
	e := NewEcho([32]byte{1})
	v := e.Append(nil, a, time.Minute)
	for _, tt := range []struct {
		name  string
		fresh bool
	}{
		{"at once", e.Fresh(v, a, time.Minute, time.Second) == true},
		{"at the edge", e.Fresh(v, a, time.Minute+time.Second, time.Second) == true},
		{"too late", e.Fresh(v, a, time.Minute+time.Second+1, time.Second) == false},
		{"before it was made", e.Fresh(v, a, time.Minute-1, time.Second) == false},
		{"of other keys", e.Fresh(v, b, time.Minute, time.Second) == false},
		{"of before the restart", NewEcho([32]byte{2}).Fresh(v, a, time.Minute, time.Second) == false},
		{"none", e.Fresh(nil, a, time.Minute, time.Second) == false},
		{"longer", e.Fresh(append(slices.Clone(v), 0), a, time.Minute, time.Second) == false},
	} {
		if !tt.fresh {
			t.Error(tt.name)
		}
	}
	for i := range v {
		w := slices.Clone(v)
		w[i] ^= 1
		if e.Fresh(w, a, time.Minute, time.Hour) {
			t.Errorf("byte %d changed", i)
		}
	}
}

// TestHeldBack has a genuine command that an attacker kept and delivers later: it
// is not carried out, nor is one whose proof is kept.
func TestHeldBack(t *testing.T) {
	client, server := pair(t, nil)
	e, now, within := NewEcho([32]byte{1}), time.Hour, 10*time.Second
	command := bolus(t)
	var y Exchange
	receive := func(q []byte) (plain, answer []byte, err error) {
		if plain, err = server.UnprotectRequest(nil, q, &y); err != nil {
			return nil, nil, err
		}
		answer, err = e.Require([]byte("kept"), plain, server, &y, now, within)
		return plain, answer[len("kept"):], err
	}
	q, x := protectRequest(t, client, command)
	_, challenge, err := receive(q)
	if !errors.Is(err, ErrUnproven) {
		t.Fatal(err)
	}
	got, err := client.UnprotectResponse(nil, challenge, x)
	if err != nil {
		t.Fatal(err)
	}
	var m coap.Message
	if err := m.Parse(got); err != nil || m.Code != coap.Unauthorized {
		t.Fatal(err, m.Code)
	}
	proof := EchoOf(got)
	again, err := AppendWithEcho(nil, command, proof)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := protectRequest(t, client, again)
	second, _ := protectRequest(t, client, again)
	now += within
	plain, answer, err := receive(first)
	if err != nil || len(answer) > 0 || !bytes.Equal(plain, again) {
		t.Errorf("proven in time: %v", err)
	}
	now++
	if _, _, err := receive(second); !errors.Is(err, ErrUnproven) {
		t.Errorf("proven, held back: %v", err)
	}
	now -= time.Second
	if _, _, err := receive(second); !errors.Is(err, ErrReplay) {
		t.Errorf("delivered again: %v", err)
	}
	// A value that another peer was given, one of before a restart, one outside.
	other, _ := pair(t, func(c, s *Params) { c.MasterSalt = nil })
	for name, value := range map[string][]byte{
		"of another peer":       e.Append(nil, other, now),
		"of before a restart":   NewEcho([32]byte{2}).Append(nil, server, now),
		"of the future":         e.Append(nil, server, now+1),
		"of another length":     proof[1:],
		"of too long ago":       e.Append(nil, server, now-within-1),
		"of somebody's fantasy": bytes.Repeat([]byte{1}, echoSize),
	} {
		msg, err := AppendWithEcho(nil, command, value)
		if err != nil {
			t.Fatal(err)
		}
		q, _ := protectRequest(t, client, msg)
		if _, _, err := receive(q); !errors.Is(err, ErrUnproven) {
			t.Errorf("a value %s: %v", name, err)
		}
	}
	q, _ = protectRequest(t, client, command)
	if err := m.Parse(q); err != nil {
		t.Fatal(err)
	}
	m.Options = coap.AppendOption(m.Options, coap.OSCOREOption, coap.Option{Number: coap.Echo, Value: e.Append(nil, server, now)})
	q, _ = m.Append(nil)
	if _, _, err := receive(q); !errors.Is(err, ErrUnproven) {
		t.Errorf("a good value outside: %v", err)
	}
	if _, err := e.Require(nil, q, server, &y, now, within); !errors.Is(err, ErrUnproven) {
		t.Errorf("a request that was not decrypted: %v", err)
	}
	if _, err := e.Require(nil, []byte("x"), server, &y, now, within); !errors.Is(err, ErrMessage) {
		t.Error(err)
	}
}

func TestParams(t *testing.T) {
	for name, p := range map[string]Params{
		"no secret":        {SenderID: []byte{1}},
		"one id":           {MasterSecret: secret, SenderID: []byte{1}, RecipientID: []byte{1}},
		"two empty ids":    {MasterSecret: secret},
		"long id":          {MasterSecret: secret, SenderID: make([]byte, 8)},
		"long id of GCM":   {MasterSecret: secret, SenderID: make([]byte, 7), AEAD: cose.A128GCM},
		"long id context":  {MasterSecret: secret, SenderID: []byte{1}, IDContext: make([]byte, 256)},
		"no AEAD":          {MasterSecret: secret, SenderID: []byte{1}, AEAD: cose.ES256},
		"no hash":          {MasterSecret: secret, SenderID: []byte{1}, Hash: cose.A128GCM},
		"an unknown AEAD":  {MasterSecret: secret, SenderID: []byte{1}, AEAD: 999},
		"negative window":  {MasterSecret: secret, SenderID: []byte{1}, Window: -5},
		"sequence of 2^40": {MasterSecret: secret, SenderID: []byte{1}, Sequence: 1 << 40},
	} {
		if _, err := New(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAlgorithms talks under each AEAD, with the longest ids that it allows.
func TestAlgorithms(t *testing.T) {
	for _, alg := range []cose.Algorithm{cose.AESCCM16_64_128, cose.AESCCM16_128_128, cose.AESCCM64_64_128, cose.A128GCM, cose.A256GCM, cose.ChaCha20Poly1305} {
		client, server := pair(t, func(c, s *Params) {
			c.AEAD, s.AEAD = alg, alg
			id := bytes.Repeat([]byte{3}, alg.NonceSize()-6)
			c.SenderID, s.RecipientID = id, id
		})
		msg, answer := bolus(t), message(t, coap.Changed, "done")
		q, x := protectRequest(t, client, msg)
		got, err := client.UnprotectResponse(nil, serve(t, server, q, answer), x)
		if err != nil || !bytes.Equal(got, answer) {
			t.Errorf("%v: %x, %v", alg, got, err)
		}
	}
}

// TestOverhead: with a kid and a Partial IV of one byte each, a request grows by
// 14 bytes and a response by 11.
func TestOverhead(t *testing.T) {
	client, server := pair(t, nil)
	msg, answer := bolus(t), message(t, coap.Changed, "done")
	q, _ := protectRequest(t, client, msg)
	a := serve(t, server, q, answer)
	if len(q)-len(msg) != 14 || len(a)-len(answer) != 11 {
		t.Errorf("request %d, response %d bytes more", len(q)-len(msg), len(a)-len(answer))
	}
}

// TestGoroutines shares both contexts: no number twice, each request once.
func TestGoroutines(t *testing.T) {
	client, server := pair(t, func(_, s *Params) { s.Window = MaxWindow })
	msg := bolus(t)
	const each = 100
	var mu sync.Mutex
	served := map[string]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range each {
				var x, y Exchange
				q, err := client.ProtectRequest(nil, msg, &x)
				if err != nil {
					t.Error(err)
					return
				}
				var twice sync.WaitGroup
				for range 2 {
					twice.Go(func() {
						var y Exchange
						if _, err := server.UnprotectRequest(nil, q, &y); err == nil {
							mu.Lock()
							served[string(q)]++
							mu.Unlock()
						}
					})
				}
				twice.Wait()
				_ = y
			}
		})
	}
	wg.Wait()
	if len(served) != 4*each {
		t.Errorf("%d requests were served", len(served))
	}
	for _, n := range served {
		if n != 1 {
			t.Fatalf("a request was served %d times", n)
		}
	}
}

func TestAppendError(t *testing.T) {
	client, _ := pair(t, nil)
	q, _ := protectRequest(t, client, bolus(t))
	for err, code := range map[error]coap.Code{ErrOption: coap.BadOption, ErrContext: coap.Unauthorized, ErrReplay: coap.Unauthorized, ErrDecrypt: coap.BadRequest, ErrInner: coap.BadRequest, ErrUnproven: coap.Unauthorized} {
		b, e := AppendError(nil, q, fmt.Errorf("peer: %w", err))
		var m coap.Message
		if e != nil || m.Parse(b) != nil {
			t.Fatal(e)
		}
		o, ok := m.Options.Get(coap.MaxAge)
		if m.Code != code || m.Type != coap.Acknowledgement || m.ID != 7 || !bytes.Equal(m.Token, []byte{0xaa}) || len(m.Payload) > 0 || !ok || len(o.Value) > 0 {
			t.Errorf("%v: %v", err, m)
		}
	}
	if _, err := AppendError(nil, []byte("x"), ErrOption); err == nil {
		t.Error("an answer to no request")
	}
}

// TestRoundTrip protects and unprotects any message: it comes back as it was but
// for the values of Observe.
func TestRoundTrip(t *testing.T) {
	client, server := pair(t, nil)
	numbers := []coap.OptionNumber{coap.IfMatch, coap.URIHost, coap.ETag, coap.URIPort, coap.URIPath, coap.ContentFormat, coap.URIQuery, coap.HopLimit, coap.Block2, coap.ProxyScheme, coap.Echo, 300, 2000, 65535}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.SampledFrom(numbers), 0, 12).Draw(t, "options")
		slices.Sort(list)
		m := coap.Message{
			Type: rapid.SampledFrom([]coap.Type{coap.Confirmable, coap.NonConfirmable}).Draw(t, "type"), Code: rapid.SampledFrom([]coap.Code{coap.GET, coap.POST, coap.FETCH, coap.IPATCH}).Draw(t, "code"),
			ID: rapid.Uint16().Draw(t, "id"), Token: rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "token"), Payload: rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "payload"),
		}
		last := coap.OptionNumber(0)
		outside := 0
		for _, n := range list {
			if classOf(n)&outer != 0 {
				if outside++; outside > maxOutside {
					continue
				}
			}
			m.Options = coap.AppendOption(m.Options, last, coap.Option{Number: n, Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")})
			last = n
		}
		msg, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var x, y Exchange
		q, err := client.ProtectRequest(nil, msg, &x)
		if err != nil {
			t.Fatal(err)
		}
		got, err := server.UnprotectRequest(nil, q, &y)
		if err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("%x\n%x\n%v", got, msg, err)
		}
	})
}

func TestAllocations(t *testing.T) {
	client, server := pair(t, nil)
	msg, answer := message(t, coap.POST, string(make([]byte, 64)), option(coap.URIPath, "therapy")), message(t, coap.Changed, string(make([]byte, 64)))
	var x, y Exchange
	var q, p, a, b []byte
	fill := func(name string, f func() error) {
		if n := testing.AllocsPerRun(200, func() {
			if err := f(); err != nil {
				t.Fatal(name, err)
			}
		}); n > 2 {
			t.Errorf("%s: %v allocations", name, n)
		} else {
			t.Logf("%s: %v allocations", name, n)
		}
	}
	var err error
	fill("request, both sides", func() error {
		if q, err = client.ProtectRequest(q[:0], msg, &x); err != nil {
			return err
		}
		p, err = server.UnprotectRequest(p[:0], q, &y)
		return err
	})
	fill("response, both sides", func() error {
		y.answered, x.answered = false, false
		if a, err = server.ProtectResponse(a[:0], answer, &y); err != nil {
			return err
		}
		b, err = client.UnprotectResponse(b[:0], a, &x)
		return err
	})
}

// BenchmarkRoundTrip protects and unprotects a request of 64 bytes, beside the bare
// calls of the AEAD for as many: turn by turn in one loop, so that what else the
// machine does weighs on both. The median of the turns counts.
func BenchmarkRoundTrip(b *testing.B) {
	const each = 50 // trips a turn
	for _, alg := range []cose.Algorithm{cose.AESCCM16_64_128, cose.A128GCM, cose.ChaCha20Poly1305} {
		b.Run(alg.String(), func(b *testing.B) {
			client, server := pair(b, func(c, s *Params) { c.AEAD, s.AEAD = alg, alg })
			msg, answer := message(b, coap.POST, string(make([]byte, 64)), option(coap.URIPath, "therapy")), message(b, coap.Changed, "done")
			var x, y Exchange
			var q, p []byte
			var err error
			trip := func() {
				if q, err = client.ProtectRequest(q[:0], msg, &x); err != nil {
					b.Fatal(err)
				}
				if p, err = server.UnprotectRequest(p[:0], q, &y); err != nil {
					b.Fatal(err)
				}
			}
			trip()
			request := len(q) - len(msg)
			another, _ := protectRequest(b, client, msg)
			response := len(serve(b, server, another, answer)) - len(answer)
			allocs := testing.AllocsPerRun(100, trip)
			nonce, plain, aad := make([]byte, alg.NonceSize()), make([]byte, 64+10), make([]byte, 24)
			var c []byte
			bare := func() {
				c = client.seal.Seal(c[:0], nonce, plain, aad)
				if p, err = client.seal.Open(p[:0], nonce, c, aad); err != nil {
					b.Fatal(err)
				}
			}
			var ours, floor []time.Duration
			turn := func(spent []time.Duration, do func()) []time.Duration {
				begin := time.Now()
				for range each {
					do()
				}
				return append(spent, time.Since(begin)/each)
			}
			for b.Loop() {
				ours, floor = turn(ours, trip), turn(floor, bare)
			}
			slices.Sort(ours)
			slices.Sort(floor)
			trips, floors := float64(ours[len(ours)/2]), float64(floor[len(floor)/2])
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(trips, "ns/trip")
			b.ReportMetric(floors, "ns/bare")
			b.ReportMetric(trips/floors, "times-bare")
			b.ReportMetric(allocs, "allocs/trip")
			b.ReportMetric(float64(request), "B/request")
			b.ReportMetric(float64(response), "B/answer")
		})
	}
}

func FuzzUnprotect(f *testing.F) {
	client, _ := pair(f, nil)
	q, _ := protectRequest(f, client, bolus(f))
	f.Add(q)
	f.Add(message(f, coap.POST, "xxxxxxxxxxxx", option(coap.OSCOREOption, "\x09\x00\x01")))
	f.Add(message(f, coap.Content, "xxxxxxxxxxxx", option(coap.OSCOREOption, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		client, server := pair(t, nil)
		var x, y Exchange
		if got, err := server.UnprotectRequest([]byte("kept"), b, &y); err == nil && !bytes.HasPrefix(b, q[:len(q)-1]) {
			t.Logf("%x", got)
			var m coap.Message
			if m.Parse(got[4:]) != nil {
				t.Fatal("a message that cannot be read")
			}
		} else if err != nil && string(got) != "kept" {
			t.Fatalf("%q", got)
		}
		protectRequest(t, client, bolus(t))
		if got, err := client.UnprotectResponse([]byte("kept"), b, &x); err != nil && string(got) != "kept" {
			t.Fatalf("%q", got)
		}
		Identify(b)
		EchoOf(b)
		AppendError(nil, b, ErrOption)
	})
}

func Example() {
	secret := []byte("from EDHOC") // the same on both sides
	client, _ := New(Params{MasterSecret: secret, SenderID: []byte{1}, RecipientID: []byte{2}})
	server, _ := New(Params{MasterSecret: secret, SenderID: []byte{2}, RecipientID: []byte{1}})

	request := coap.Message{Code: coap.GET, ID: 1, Options: coap.AppendOption(nil, 0, coap.Option{Number: coap.URIPath, Value: []byte("limits")})}
	plain, _ := request.Append(nil)

	var x, y Exchange
	onTheAir, _ := client.ProtectRequest(nil, plain, &x)
	received, _ := server.UnprotectRequest(nil, onTheAir, &y)
	fmt.Println(bytes.Equal(received, plain))

	_, err := server.UnprotectRequest(nil, onTheAir, &y)
	fmt.Println(err)
	// Output:
	// true
	// oscore: this message was received before, or is too late
}

// A pump serves its programmers, and carries out no command that may be an old one.
func ExampleEcho_Require() {
	secret := []byte("from EDHOC")
	programmer, _ := New(Params{MasterSecret: secret, SenderID: []byte{1}, RecipientID: []byte{2}})
	pump, _ := New(Params{MasterSecret: secret, SenderID: []byte{2}, RecipientID: []byte{1}})
	var peers Peers
	_ = peers.Add(pump)
	echo := NewEcho([32]byte{}) // of random bytes
	now := 3 * time.Second      // since the pump started

	ask := func(msg []byte) []byte {
		var x, y Exchange
		onTheAir, _ := programmer.ProtectRequest(nil, msg, &x)
		plain, peer, err := peers.UnprotectRequest(nil, onTheAir, &y)
		if err != nil {
			return nil
		}
		answer, err := echo.Require(nil, plain, peer, &y, now, 10*time.Second)
		if err == nil {
			fmt.Println("the bolus is given")
			return nil
		}
		got, _ := programmer.UnprotectResponse(nil, answer, &x)
		return EchoOf(got)
	}
	m := coap.Message{Code: coap.POST, ID: 1, Payload: []byte("2 U"), Options: coap.AppendOption(nil, 0, coap.Option{Number: coap.URIPath, Value: []byte("therapy")})}
	command, _ := m.Append(nil)
	value := ask(command)
	fmt.Println("challenged:", value != nil)
	again, _ := AppendWithEcho(nil, command, value)
	ask(again)
	// Output:
	// challenged: true
	// the bolus is given
}
