// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package oscore

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/proto/coap"
)

// A renewing is a client and a server that renew their keys.
type renewing struct {
	client, server Params
	r              *Renewal
	s              *Renewer
	x, y           Exchange
	now            time.Duration
}

var r1, r3 = []byte("client 1"), []byte("client 3")

func renew(t *testing.T) *renewing {
	t.Helper()
	p := Params{MasterSecret: secret, SenderID: []byte{1}, RecipientID: []byte{2}}
	q := Params{MasterSecret: secret, SenderID: []byte{2}, RecipientID: []byte{1}}
	r, err := NewRenewal(p, r1)
	if err != nil {
		t.Fatal(err)
	}
	return &renewing{client: p, server: q, r: r, s: NewRenewer(q, [32]byte{7}, time.Minute)}
}

// request1 is sent, and answered.
func (n *renewing) request1(t *testing.T) (request, response []byte) {
	t.Helper()
	request, err := n.r.ProtectRequest(nil, bolus(t), &n.x)
	if err != nil {
		t.Fatal(err)
	}
	response, c, err := n.s.Receive(nil, request, &n.y, [8]byte{1}, n.now)
	if !errors.Is(err, ErrUnproven) || c != nil {
		t.Fatal(err)
	}
	return request, response
}

// third is the client's new context, and its request #2.
func (n *renewing) third(t *testing.T) (*Context, []byte) {
	t.Helper()
	_, response := n.request1(t)
	c, err := n.r.UnprotectResponse(response, &n.x, r3)
	if err != nil {
		t.Fatal(err)
	}
	q, err := c.ProtectRequest(nil, bolus(t), &n.x)
	if err != nil {
		t.Fatal(err)
	}
	return c, q
}

// TestRenewal goes through all of RFC 8613 figure 14.
func TestRenewal(t *testing.T) {
	n := renew(t)
	client, q := n.third(t)
	got, server, err := n.s.Receive([]byte("kept"), q, &n.y, [8]byte{2}, 0)
	if err != nil || !bytes.Equal(got, append([]byte("kept"), bolus(t)...)) {
		t.Fatalf("%x, %v", got, err)
	}
	answer := message(t, coap.Changed, "given")
	b, err := server.ProtectResponse(nil, answer, &n.y)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.UnprotectResponse(nil, b, &n.x); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("%x, %v", got, err)
	}
	// From then on the new contexts serve, in the server's table too.
	var peers Peers
	if err := peers.Add(server); err != nil {
		t.Fatal(err)
	}
	if _, _, err := peers.UnprotectRequest(nil, q, &n.y); !errors.Is(err, ErrReplay) {
		t.Errorf("request #2 again: %v", err)
	}
	q, _ = protectRequest(t, client, bolus(t))
	if _, c, err := peers.UnprotectRequest(nil, q, &n.y); err != nil || c != server {
		t.Error(err)
	}
	// A server that forgot begins another.
	s := NewRenewer(n.server, [32]byte{8}, time.Minute)
	q, x := protectRequest(t, client, bolus(t))
	response, _, err := s.Receive(nil, q, &n.y, [8]byte{3}, 0)
	if !errors.Is(err, ErrUnproven) {
		t.Fatal(err)
	}
	if _, err := client.UnprotectResponse(nil, response, x); !errors.Is(err, ErrContext) {
		t.Errorf("response #1 as an answer: %v", err)
	}
	r, err := ContinueRenewal(n.client, client)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = r.UnprotectResponse(response, x, []byte("client 5")); err != nil {
		t.Fatal(err)
	}
	q, _ = protectRequest(t, client, bolus(t))
	if _, c, err := s.Receive(nil, q, &n.y, [8]byte{4}, 0); err != nil || c == nil {
		t.Error(err)
	}
	// So it does with a context whose kid context was never wrapped.
	old, _ := pair(t, func(c, s *Params) { *c = n.client; c.IDContext = []byte("ward"); s.MasterSalt = nil })
	s = NewRenewer(n.server, [32]byte{9}, time.Minute)
	q, x = protectRequest(t, old, bolus(t))
	if response, _, err = s.Receive(nil, q, &n.y, [8]byte{5}, 0); !errors.Is(err, ErrUnproven) {
		t.Fatal(err)
	}
	if r, err = ContinueRenewal(n.client, old); err != nil {
		t.Fatal(err)
	}
	if _, err := r.UnprotectResponse(response, x, r3); err != nil {
		t.Error(err)
	}
	if _, err := ContinueRenewal(n.client, &Context{}); err == nil {
		t.Error("a context without an ID context")
	}
}

// TestRenewalSteps has what must not be taken at each step.
func TestRenewalSteps(t *testing.T) {
	// Step 1.
	n := renew(t)
	for name, r := range map[string][]byte{"short": []byte("1234567"), "long": make([]byte, maxRenewalNonce+1), "none": nil} {
		if _, err := NewRenewal(n.client, r); err == nil {
			t.Errorf("R1 that is %s", name)
		}
	}

	// Step 2: request #1 at the server.
	request, response := n.request1(t)
	var m coap.Message
	if err := m.Parse(request); err != nil {
		t.Fatal(err)
	}
	option9 := func(kid string, kidContext []byte, payload []byte) []byte {
		v, err := (&coap.OSCORE{PartialIV: []byte{0}, KID: []byte(kid), KIDContext: kidContext}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return message(t, coap.POST, string(payload), option(coap.OSCOREOption, string(v)))
	}
	wrapped := cbor.AppendBytes(nil, r1)
	flipped := slices.Clone(request)
	flipped[len(flipped)-1] ^= 1
	for name, tt := range map[string]struct {
		msg []byte
		err error
	}{
		"the same again": {request, ErrUnproven}, // and under another R2
		"changed":        {flipped, ErrDecrypt},
		"another R1":     {option9("\x01", cbor.AppendBytes(nil, []byte("client 2")), m.Payload), ErrDecrypt},
		"not wrapped":    {option9("\x01", []byte("ward"), m.Payload), ErrDecrypt},
		"of another":     {option9("\x05", wrapped, m.Payload), ErrContext},
		"no kid context": {option9("\x01", nil, m.Payload), ErrContext},
		"not protected":  {bolus(t), ErrOption},
		"an R1 too long": {option9("\x01", cbor.AppendBytes(nil, make([]byte, 250)), m.Payload), ErrDecrypt},
		"no kid":         {message(t, coap.POST, "123456789", option(coap.OSCOREOption, "\x01\x00")), ErrOption},
	} {
		var y Exchange
		got, c, err := n.s.Receive([]byte("kept"), tt.msg, &y, [8]byte{9}, 0)
		if !errors.Is(err, tt.err) || c != nil || !errors.Is(err, ErrUnproven) && string(got) != "kept" {
			t.Errorf("request #1, %s: %v; want %v", name, err, tt.err)
		}
	}

	// Step 3: response #1 at the client.
	if err := m.Parse(response); err != nil {
		t.Fatal(err)
	}
	value, _ := Identify(response)
	with := func(kidContext []byte) []byte {
		v, err := (&coap.OSCORE{PartialIV: value.PartialIV, KIDContext: kidContext}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return message(t, coap.Changed, string(m.Payload), option(coap.OSCOREOption, string(v)))
	}
	r2, _ := unwrap(value.KIDContext)
	other := slices.Clone(r2)
	other[0] ^= 1
	flipped = slices.Clone(response)
	flipped[len(flipped)-1] ^= 1
	for name, tt := range map[string]struct {
		msg []byte
		err error
	}{
		"another R2":       {with(cbor.AppendBytes(nil, other)), ErrDecrypt},
		"R2 not wrapped":   {with(r2), ErrContext},
		"R2 too short":     {with(cbor.AppendBytes(nil, r2[:7])), ErrContext},
		"R2 too long":      {with(cbor.AppendBytes(nil, make([]byte, maxRenewalNonce+1))), ErrContext},
		"no kid context":   {with(nil), ErrContext},
		"changed":          {flipped, ErrDecrypt},
		"not protected":    {message(t, coap.Unauthorized, ""), ErrOption},
		"its own request":  {request, ErrMessage},
		"an inner success": {n.success(t, r2), ErrInner},
	} {
		x := n.x
		if c, err := n.r.UnprotectResponse(tt.msg, &x, r3); c != nil || !errors.Is(err, tt.err) {
			t.Errorf("response #1, %s: %v; want %v", name, err, tt.err)
		}
	}
	var stranger Exchange
	_, _ = n.r.ProtectRequest(nil, bolus(t), &stranger)
	if _, err := n.r.UnprotectResponse(response, &stranger, r3); !errors.Is(err, ErrDecrypt) {
		t.Errorf("response #1 to another request: %v", err)
	}
	if _, err := n.r.UnprotectResponse(response, &n.x, r3[:7]); !errors.Is(err, ErrRenewal) {
		t.Errorf("a short R3: %v", err)
	}
	third, err := n.r.UnprotectResponse(response, &n.x, r3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.r.UnprotectResponse(response, &n.x, r3); !errors.Is(err, ErrRenewal) {
		t.Errorf("response #1 twice: %v", err)
	}
	if _, err := n.r.ProtectRequest(nil, bolus(t), &n.x); !errors.Is(err, ErrRenewal) {
		t.Errorf("request #1 after the renewal: %v", err)
	}

	// Step 4: request #2 at the server.
	second, err := third.ProtectRequest(nil, bolus(t), &n.x)
	if err != nil {
		t.Fatal(err)
	}
	flipped = slices.Clone(second)
	flipped[len(flipped)-1] ^= 1
	if err := m.Parse(second); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		msg []byte
		err error
	}{
		"changed":           {flipped, ErrDecrypt},
		"R2 of another run": {option9("\x01", cbor.AppendBytes(nil, slices.Concat(other, r3)), m.Payload), ErrDecrypt},
		"another R3":        {option9("\x01", cbor.AppendBytes(nil, slices.Concat(r2, r1)), m.Payload), ErrDecrypt},
		"a short R3":        {option9("\x01", cbor.AppendBytes(nil, slices.Concat(r2, r3[:7])), m.Payload), ErrDecrypt},
	} {
		var y Exchange
		if got, c, err := n.s.Receive([]byte("kept"), tt.msg, &y, [8]byte{8}, 0); !errors.Is(err, tt.err) || c != nil || string(got) != "kept" {
			t.Errorf("request #2, %s: %v; want %v", name, err, tt.err)
		}
	}
	// Not wrapped it is a request #1, of a client that has this context already.
	if _, c, err := n.s.Receive(nil, option9("\x01", slices.Concat(r2, r3), m.Payload), &n.y, [8]byte{8}, 0); c != nil || !errors.Is(err, ErrUnproven) {
		t.Errorf("request #2 that is not wrapped: %v", err)
	}
	restarted := NewRenewer(n.server, [32]byte{77}, time.Minute)
	if _, c, err := restarted.Receive(nil, second, &n.y, [8]byte{8}, 0); c != nil || !errors.Is(err, ErrUnproven) {
		t.Errorf("request #2 of before a restart: %v", err)
	}
	late := NewRenewer(n.server, [32]byte{7}, time.Minute)
	if _, c, err := late.Receive(nil, second, &n.y, [8]byte{8}, time.Minute+1); c != nil || !errors.Is(err, ErrContext) {
		t.Errorf("request #2 that is late: %v", err)
	}
	if _, c, err := late.Receive(nil, second, &n.y, [8]byte{8}, 0); c != nil || !errors.Is(err, ErrContext) {
		t.Errorf("a clock that went back: %v", err)
	}
	_, server, err := n.s.Receive(nil, second, &n.y, [8]byte{8}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for name, msg := range map[string][]byte{"request #2": second, "request #1": request} {
		if _, c, err := n.s.Receive(nil, msg, &n.y, [8]byte{8}, 0); c != nil || !errors.Is(err, ErrContext) {
			t.Errorf("%s when it is closed: %v", name, err)
		}
	}

	// Step 5: response #2 at the client.
	b, err := server.ProtectResponse(nil, message(t, coap.Changed, ""), &n.y)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if _, err := third.UnprotectResponse(nil, b, &n.x); !errors.Is(err, ErrDecrypt) {
		t.Errorf("response #2 changed: %v", err)
	}
	b[len(b)-1] ^= 1
	if _, err := third.UnprotectResponse(nil, b, &n.x); err != nil {
		t.Errorf("response #2: %v", err)
	}
}

// success is response #1 of a server that keeps no rules: 2.04 inside.
func (n *renewing) success(t *testing.T, r2 []byte) []byte {
	t.Helper()
	c, err := derived(n.server, slices.Concat(r2, r1), true)
	if err != nil {
		t.Fatal(err)
	}
	var m coap.Message
	if err := m.Parse(message(t, coap.Changed, "")); err != nil {
		t.Fatal(err)
	}
	b, err := c.protect(nil, &m, coap.Changed, &coap.OSCORE{PartialIV: []byte{0}, KIDContext: cbor.AppendBytes(nil, r2)}, c.nonce(&n.y.nonceRoom, c.senderID, []byte{0}), &n.y)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzRenewer(f *testing.F) {
	p := Params{MasterSecret: secret, SenderID: []byte{1}, RecipientID: []byte{2}}
	r, err := NewRenewal(p, r1)
	if err != nil {
		f.Fatal(err)
	}
	var x Exchange
	q, err := r.ProtectRequest(nil, bolus(f), &x)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(q)
	f.Fuzz(func(t *testing.T, b []byte) {
		var y Exchange
		s := NewRenewer(Params{MasterSecret: secret, SenderID: []byte{2}, RecipientID: []byte{1}}, [32]byte{}, 1)
		got, c, err := s.Receive([]byte("kept"), b, &y, [8]byte{}, 0)
		if c != nil || err == nil || !errors.Is(err, ErrUnproven) && string(got) != "kept" {
			t.Fatalf("%x, %v", got, err)
		}
		r, _ := NewRenewal(p, r1)
		_, _ = r.ProtectRequest(nil, bolus(t), &y)
		if c, err := r.UnprotectResponse(b, &y, r3); c != nil || err == nil {
			t.Fatal(err)
		}
	})
}
