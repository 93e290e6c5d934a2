// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"reflect"
	"slices"
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
	m.Type, m.Token = protocol.Confirmable, []byte("observed")
	b, err := m.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	speakers := []speaker{
		&speakRadio{d: radio.Sample("okapi-classic"), to: 0x3b1f06, rate: "basal"},
		&speakRadio{d: radio.Sample("okapi-patch"), to: 0x1f0c9a52, stateFrom: "running"},
		&speakRadio{d: radio.Sample("halden-mics"), to: 0x5e2b90d4},
		&speakCoAP{observed: "observed"},
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

// FuzzCalls has a front take whatever a device that is a client sends, and pass on
// whatever its server answers.
func FuzzCalls(f *testing.F) {
	w := newWard(f)
	addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
	order := therapy.Request{Verb: device.CancelBolus}
	seed := func(m, a protocol.Message) {
		m.Token = []byte("t")
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		a.Type, a.Token = protocol.NonConfirmable, m.Token
		c, err := a.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, c)
	}
	seed(post("/alarm", "low"), protocol.Message{Code: protocol.Changed})
	seed(observe(0, "/settings"), coap.Response(protocol.Content, 60, []byte{0xa0}))
	seed(get("/orders"), coap.Response(protocol.Content, 60, order.Append(nil)))
	seed(post("/telemetry", "x"), coap.Response(protocol.NotFound, 0, []byte("words")))
	f.Add([]byte("\x00"), []byte("\x50\x45\x00\x00\xff"))
	f.Fuzz(func(t *testing.T, b, answer []byte) {
		w.client.take(bytes.Clone(b), addr)
		w.client.mu.Lock()
		asked := len(w.client.asked)
		w.client.mu.Unlock()
		if asked > maxAnswered+maxKept+2*maxReadings {
			t.Fatalf("%d requests are remembered", asked)
		}
		var m, a protocol.Message
		if m.Parse(b) == nil && m.Code.Request() {
			whole := forward(&m)
			if _, err := whole.Append(nil); err != nil {
				t.Fatal(err)
			}
		}
		if a.Parse(answer) != nil {
			return
		}
		for _, d := range append(w.client.policy().calls.resources, declared{}) {
			out, why := bounded(&d, &a)
			if why == "" && len(out.Payload) > 0 {
				o, ok := out.Options.Get(protocol.ContentFormat)
				if n, _ := o.Uint(); !ok || !slices.Contains(d.formats, n) {
					t.Fatalf("a payload of format %d passes at %s", n, d.path)
				}
			}
			if _, err := out.Append(nil); why == "" && err != nil {
				t.Fatal(err)
			}
		}
		if out, why := bounded(nil, &a); why == "" && len(out.Payload) > 0 {
			t.Fatal("a payload passes, and nothing is declared")
		}
	})
}
