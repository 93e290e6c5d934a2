// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/sim/radio"
)

// FuzzDevice reads whatever a device says, on a pipe and by itself.
func FuzzDevice(f *testing.F) {
	for _, frame := range [][]any{{"done"}, {"refused"}, {"alarm", "cause", 2}, {"bolus-given", "amount", 7}, {"status", "glucose", 90}} {
		b, err := radio.Compose(radio.Sample("okapi-classic"), frame[0].(string), append([]any{"serial", int64(0x3b1f06)}, frame[1:]...)...)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
		f.Add(b)
	}
	m := coap.Response(protocol.Content, 60, therapy.Document{therapy.Alarms.Is([]string{"low"})}.Append(nil))
	m.Type, m.Token = protocol.Confirmable, []byte(observeToken)
	b, err := m.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	speakers := []speaker{
		&speakRadio{d: radio.Sample("okapi-classic"), to: 0x3b1f06, rate: "basal"},
		&speakRadio{d: radio.Sample("okapi-patch"), to: 0x1f0c9a52, stateFrom: "running"},
		&speakRadio{d: radio.Sample("halden-mics"), to: 0x5e2b90d4},
		&speakCoAP{},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range speakers {
			one, two := s.understand(b), s.understand(bytes.Clone(b))
			if !reflect.DeepEqual(one, two) {
				t.Fatalf("%+v, then %+v", one, two)
			}
			one.fields.Append(nil)
		}
		(&seal{}).open(b)
		r := bufio.NewReaderSize(bytes.NewReader(b), maxMessage+2)
		total := 0
		for {
			m, err := readMessage(r)
			if total += len(m); total > len(b) {
				t.Fatal("more than there is")
			}
			if err != nil {
				break
			}
		}
	})
}

// FuzzRequest has a front answer whatever somebody who is proven asks.
func FuzzRequest(f *testing.F) {
	w := newWorld(f, classic)
	w.connect("nurse")
	var s *coap.Session
	w.front.mu.Lock()
	for c, own := range w.front.sessions {
		if own.held != nil {
			s = c
		}
	}
	w.front.mu.Unlock()
	for _, r := range []therapy.Request{
		{Verb: device.CancelBolus}, {Verb: device.Suspend, Limit: quantity(f, "1 h")}, {Verb: device.DeliverBolus, Value: quantity(f, "2 [iU]")},
	} {
		f.Add(uint8(protocol.POST), "/therapy", "", r.Append(nil))
	}
	f.Add(uint8(protocol.GET), "/raw", "from=1", []byte(nil))
	f.Add(uint8(protocol.DELETE), "/authz-info", "", []byte{1})
	f.Add(uint8(protocol.POST), "/authz-info", "", w.token("nurse"))
	f.Fuzz(func(t *testing.T, code uint8, path, query string, payload []byte) {
		m := coap.Request(protocol.Code(code%8), path, 60, payload)
		if query != "" && len(query) < 255 {
			m.Options = protocol.AppendOption(nil, 0, protocol.Option{Number: protocol.URIPath, Value: []byte("log")})
			m.Options = protocol.AppendOption(m.Options, protocol.URIPath, protocol.Option{Number: protocol.URIQuery, Value: []byte(query)})
		}
		a := w.front.handle(s, &m)
		if a.Code.Class() < 2 || a.Code.Class() > 5 {
			t.Fatalf("%v", a.Code)
		}
		if a.Code.Class() == 5 && a.Code != protocol.GatewayTimeout && a.Code != protocol.NotImplemented {
			t.Fatalf("%v: %q", a.Code, w.recorded(event.AccessRefused))
		}
		if len(a.Payload) > maxFrame+pageBytes {
			t.Fatalf("%d bytes", len(a.Payload))
		}
	})
}
