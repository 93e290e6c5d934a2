// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"net"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/edhoc"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

// A watched socket records what the endpoint refuses of strangers, before it is
// answered: requests in clear, handshakes that fail, messages that are forged or were
// received before.
type watched struct {
	net.PacketConn
	front *Front
}

func (w *watched) WriteTo(b []byte, addr net.Addr) (int, error) {
	var m protocol.Message
	if m.Parse(b) == nil && (m.Code.Class() == 4 || m.Code.Class() == 5) {
		if _, ok := m.Options.Get(protocol.OSCOREOption); !ok {
			w.front.stranger(&m, addr)
		}
	}
	return w.PacketConn.WriteTo(b, addr)
}

// ReadFrom notes what is no message of CoAP, or an answer to what nobody asked: somebody speaks the
// radio's own language to the guard, or wakes it.
func (w *watched) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := w.PacketConn.ReadFrom(b)
	if err == nil {
		var m protocol.Message
		if m.Parse(b[:n]) != nil || m.Code.Class() > 0 {
			w.front.refusedTo(addr, "datagram", "it is no CoAP: a frame of a radio, or a wake-up")
		}
	}
	return n, addr, err
}

func (f *Front) stranger(m *protocol.Message, addr net.Addr) {
	operation, why := "request", "in clear, or forged, or received before"
	if o, ok := m.Options.Get(protocol.ContentFormat); ok {
		if n, _ := o.Uint(); n == edhoc.ContentFormat {
			operation, why = "handshake", "it did not prove a key that is known here"
		}
	}
	if _, ok := m.Options.Get(protocol.MaxAge); ok { // link/oscore says that nobody may keep this
		operation, why = "message", "not by a session of the front, forged, or received before"
	}
	f.refusedTo(addr, operation, why)
}

// refusedTo records what was refused to somebody who proved nothing.
func (f *Front) refusedTo(addr net.Addr, operation, why string) {
	host, _, _ := net.SplitHostPort(addr.String())
	p := f.policy()
	f.env.Refused(&p.Settings, device.Address{Kind: device.IP, Value: host}, operation, "", why)
	f.note(entry{event: operation, verdict: "refused", why: why})
}
