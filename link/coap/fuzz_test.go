// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"testing"

	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/proto/coap"
)

// FuzzServe hands a server any datagrams: no panic, no session, and its handler is
// not asked.
func FuzzServe(f *testing.F) {
	a, b := two(f)
	asked := false
	b.Handler = func(s *Session, m *coap.Message) coap.Message { asked = true; return echoes(s, m) }
	e := endpoint(f, b)
	l, _ := onAir(1, 0, 0, 0)
	i, err := edhoc.NewInitiator(a.EDHOC, nil)
	if err != nil {
		f.Fatal(err)
	}
	message1, err := i.Message1(nil)
	if err != nil {
		f.Fatal(err)
	}
	value := coap.OSCORE{PartialIV: []byte{0}, KID: []byte{1}}
	kid, _ := value.Append(nil)
	for _, m := range []coap.Message{
		Request(coap.POST, edhoc.Path, edhoc.CIDContentFormat, edhoc.AppendStart(nil, message1)),
		Request(coap.POST, edhoc.Path, edhoc.CIDContentFormat, edhoc.AppendPrefixed(nil, []byte{1}, []byte{0x41, 1})),
		Request(coap.POST, edhoc.Path, 0, nil),
		WithOption(Request(coap.POST, "", 42, []byte("ciphertext")), coap.OSCOREOption, kid),
		WithOption(WithOption(Request(coap.POST, "", 42, []byte("\x52message_3 and the ciphertext")), coap.OSCOREOption, kid), coap.EDHOC, nil),
		WithOption(Request(coap.GET, "/telemetry", 0, nil), coap.Observe, nil),
		Response(coap.Content, 0, []byte("unasked")),
	} {
		m.Token = []byte{1, 2}
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxMessage {
			return
		}
		c := e.newConn("fuzz", l.Send)
		defer c.Close()
		m, err := parse(b)
		if err != nil {
			c.process(b)
			return
		}
		if m.Code.Request() {
			if a := e.serve(c, m); a != nil && a.Code.Request() {
				t.Error("a request in answer")
			}
		}
		if asked || len(e.Sessions()) != 0 {
			t.Error("served without proof")
		}
	})
}

// FuzzStored reads any bytes as a kept session: no panic, and what is taken says the
// same when it is written again.
func FuzzStored(f *testing.F) {
	f.Add([]byte{1, 0x41, 1, 0x41, 2, 0x41, 3, 0x41, 4, 0x41, 3, 0x41, 4, 0xa0, 0x41, 5, 10, 0x2f, 3, 2, 0xf5, 0x40})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, _, _, fixed, err := parseStored(b)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, fixed) || s.Protection != OSCORE || !s.Restored {
			t.Error("not what was kept")
		}
	})
}
