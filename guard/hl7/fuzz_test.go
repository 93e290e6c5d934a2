// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/hl7"
)

// A script reads bytes in pieces, and then ends.
type script struct {
	net.Conn
	b     []byte
	piece int
}

func (s *script) Read(b []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.piece)], s.b)
	s.b = s.b[n:]
	return n, nil
}

func (s *script) Begin()                           {}
func (s *script) End()                             {}
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) Write(b []byte) (int, error)      { return len(b), nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzSender: hostile bytes of a sender. What is handed out are whole blocks of the
// stream in their order, however it is cut into pieces; what is read of an order
// asks known pumps only.
func FuzzSender(f *testing.F) {
	order := hl7.AppendBlock(nil, []byte(noradrenaline("RGV-1", "0.2").String()))
	f.Add(order, 7)
	f.Add(append(bytes.Clone(order), order...), 4096)
	f.Add(hl7.AppendBlock(nil, []byte(admission("1", 5000))), 1)
	f.Add([]byte("\r\n\x0bMSH|^~\\&|A\x1c\x0bMSH|^~\\&|"+strings.Repeat("x", 3000)+"\x1c\r"), 3)
	p := testPolicy()
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = max(1, min(piece, 1<<16))
		all := func(piece int) (blocks []string, end error) {
			s := &script{b: b, piece: piece}
			r := blockReader{from: s, raw: s, most: 4000}
			rest := b
			for {
				raw, msg, quirks, err := r.next()
				if err != nil {
					return blocks, err
				}
				if !bytes.HasPrefix(rest, raw) || !bytes.Contains(raw, msg) || len(raw) == 0 || len(msg) > 4000 {
					t.Fatalf("%d bytes that are not those of the stream", len(raw))
				}
				rest = rest[len(raw):]
				blocks = append(blocks, string(raw))
				m, err := hl7.Parse(msg)
				if err != nil {
					continue
				}
				h := m.Header()
				if !mayOrder(&m, &h, msg) {
					continue
				}
				asks, why := p.read(&m, &h, quirks)
				if len(asks) == 0 && why == "" {
					t.Fatal("an order that asks nothing")
				}
				for _, a := range asks {
					if p.Pumps[a.device] == nil {
						t.Fatal("an unknown pump is asked")
					}
					r := a.request
					if r.Undecided == "" && (r.Command.Verb == device.NoVerb || r.Command.Value.Unit == device.NoUnit || r.Command.Value.Coefficient < 0 || quirks|m.Quirks != 0) {
						t.Fatalf("decided: %+v", r)
					}
				}
			}
		}
		one, end1 := all(piece)
		two, end2 := all(1 << 16)
		if strings.Join(one, "\x00") != strings.Join(two, "\x00") || (end1 == io.EOF) != (end2 == io.EOF) {
			t.Fatalf("%d blocks (%v) in pieces, %d (%v) at once", len(one), end1, len(two), end2)
		}
	})
}

// FuzzDevice: whatever the device says, the tap is in nobody's way, keeps a bounded
// number of bytes, and hears the same messages however they come in pieces.
func FuzzDevice(f *testing.F) {
	ack := hl7.AppendBlock(nil, []byte("MSH|^~\\&|C|D|A|B|2026||ACK|1|P|2.6\rMSA|AA|1\r"))
	f.Add(ack, 3)
	f.Add(append([]byte("junk\x1c\r"), ack...), 1)
	f.Add([]byte("MSH|^~\\&|A\rMSH|^~\\&|B\x0b\x0b\x1c"), 2)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = max(1, min(piece, 1<<16))
		hear := func(piece int) (heard []string) {
			tp := tap{heard: func(msg []byte) bool { heard = append(heard, string(msg)); return true }, odd: func(string) {}}
			for rest := b; len(rest) > 0; {
				n := min(piece, len(rest))
				tp.pass(rest[:n])
				rest = rest[n:]
				if len(tp.buf) > hl7.MaxMessage+1<<16 {
					t.Fatalf("%d bytes are kept", len(tp.buf))
				}
			}
			return heard
		}
		if one, two := hear(piece), hear(1<<16); strings.Join(one, "\x00") != strings.Join(two, "\x00") {
			t.Fatalf("%d messages in pieces, %d at once", len(one), len(two))
		}
		unanswerable(&Policy{}, b, 0)
	})
}

// FuzzAnswer: what is answered to any message is a message without oddities, and
// holds nothing of the message but its names and its number.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(noradrenaline("RGV-1", "0.2").String()), "refused: max 1.0 ug/kg/min | and ^ so on\r\n")
	f.Add([]byte("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.6\r"), "")
	f.Fuzz(func(t *testing.T, b []byte, reason string) {
		m, err := hl7.Parse(b)
		if err != nil {
			return
		}
		h := m.Header()
		for _, block := range [][]byte{testAnswers.accept(&m, &h, "CE", reason), testAnswers.application(&m, &h, "AE", reason, "AL")} {
			a, err := hl7.Parse(block[1 : len(block)-2])
			if err != nil {
				t.Fatal(err)
			}
			said, ok := a.Answer()
			if !ok || !bytes.Equal(said.ControlID.Raw(), h.ControlID.Raw()) {
				t.Fatalf("answers %q", said.ControlID.Raw())
			}
		}
	})
}
