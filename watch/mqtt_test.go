// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/event"
)

// told writes an event as its kind, its device and its attributes that are not zero.
func told(e *event.Event) string {
	s := fmt.Sprintf("%v %v", e.Kind, e.Device)
	for _, a := range e.Attrs() {
		switch {
		case a.Text != "":
			s += fmt.Sprintf(" %d=%s", a.Key, a.Text)
		case a.Int != 0:
			s += fmt.Sprintf(" %d=%d", a.Key, a.Int)
		}
	}
	return s
}

func toldAll(events []event.Event) (all []string) {
	for i := range events {
		all = append(all, told(&events[i]))
	}
	return all
}

// inAnyCut hands a TCP conversation to observers whole, byte by byte, and in
// random pieces, and expects the same events each time.
func inAnyCut(t *testing.T, name string, new func() observer, pieces []piece, want ...string) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for _, way := range []struct {
		name string
		size func() int
	}{
		{"whole", func() int { return 1 << 20 }},
		{"byte by byte", func() int { return 1 }},
		{"in random pieces", func() int { return 1 + random.IntN(20) }},
	} {
		var cut []piece
		for _, p := range pieces {
			for b := p.b; len(b) > 0; {
				n := min(len(b), way.size())
				cut = append(cut, piece{p.from, b[:n]})
				b = b[n:]
			}
		}
		if got := toldAll(observe(t, new(), cut...)); !slices.Equal(got, want) {
			t.Errorf("%s, %s:\n got %s\nwant %s", name, way.name, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

// recorded watches a capture by others, and returns each kind of thing that
// was told, without addresses, and how often.
func recorded(t *testing.T, name string) map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "captures", name))
	if err != nil {
		t.Skip("captures by others are not here: ", err)
	}
	defer f.Close()
	r, err := capture.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]int)
	w := New(Config{Record: func(e *event.Event) error {
		switch e.Kind {
		case event.ConversationEnded, event.BindingSeen:
		case event.ProtocolSeen:
			all[strings.TrimSpace(e.Text(event.Protocol)+" "+e.Text(event.Version))]++
		default:
			_, attrs, _ := strings.Cut(told(e), e.Device.Value)
			all[e.Kind.String()+attrs]++
		}
		return nil
	}})
	if err := w.Run(context.Background(), frames{r}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return all
}

// frames are those of a capture, one at a time.
type frames struct{ r *capture.Reader }

func (s frames) Next(dst []Frame) (int, func(), error) {
	if err := s.r.ReadFrame(&dst[0].Frame); err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("packet %d: %w", dst[0].Packet, err)
		}
		return 0, nil, err
	}
	return 1, nil, nil
}

// tells expects these lines of a capture, and none of the kinds that they are of besides.
func tells(t *testing.T, name string, want map[string]int) {
	t.Helper()
	got := recorded(t, name)
	kinds := make(map[string]bool)
	for line, n := range want {
		if got[line] != n {
			t.Errorf("%s: %d times %q, want %d", name, got[line], line, n)
		}
		kind, _, _ := strings.Cut(line, " ")
		kinds[kind] = true
	}
	for line, n := range got {
		if kind, _, _ := strings.Cut(line, " "); want[line] == 0 && (kinds[kind] || kind == "malformed-seen") {
			t.Errorf("%s: %d times %q", name, n, line)
		}
	}
}

const (
	connect311 = "\x10\x1b\x00\x04MQTT\x04\xc2\x00\x3c\x00\x03icu\x00\x04gate\x00\x04word"
	connect5   = "\x10\x16\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x00\x00\x01a\x00\x04open"
	refused5   = "\x20\x03\x00\x86\x00"
	oru        = "MSH|^~\\&|FLOW|ICU|||20260303070900||ORU^R01|1|P|2.6\rPID|||4711^^^ADA||Lindqvist^Anna\r"
)

// publish311 is a PUBLISH of QoS 0 with a payload below 16 KiB.
func publish311(payload string) string {
	n := 7 + len(payload)
	length := []byte{byte(n)}
	if n > 127 {
		length = []byte{byte(n | 0x80), byte(n >> 7)}
	}
	return "\x30" + string(length) + "\x00\x05icu/3" + payload
}

func TestMQTTObserver(t *testing.T) {
	c, s := func(b string) piece { return client([]byte(b)) }, func(b string) piece { return server([]byte(b)) }
	version := func(v string) string {
		return fmt.Sprintf("protocol-seen 10.20.1.5 %d=mqtt %d=%s", event.Protocol, event.Version, v)
	}
	login := func(rest string) string {
		return fmt.Sprintf("login-seen 10.20.1.5 %d=mqtt %d=user-pass%s", event.Protocol, event.Scheme, rest)
	}
	outcome := func(r event.Result) string { return fmt.Sprintf(" %d=%d", event.Outcome, r) }
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   []string
	}{
		{"accepted", []piece{c(connect311), s("\x20\x02\x00\x00"), c("\xc0\x00"), s("\xd0\x00"), c("\xe0\x00")}, []string{version("3.1.1"), login(outcome(event.Succeeded))}},
		{"refused", []piece{c(connect311), s("\x20\x02\x00\x05")}, []string{version("3.1.1"), login(outcome(event.Failed))}},
		{"not answered", []piece{c(connect311)}, []string{version("3.1.1"), login("")}},
		{
			"well known",
			[]piece{c("\x10\x1c\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02ab\x00\x05admin\x00\x05admin"), s("\x20\x02\x00\x00")},
			[]string{version("3.1.1"), login(outcome(event.Succeeded) + fmt.Sprintf(" %d=1", event.DefaultSecret))},
		},
		{"name without password", []piece{c("\x10\x14\x00\x04MQTT\x04\x82\x00\x3c\x00\x02ab\x00\x04gate"), s("\x20\x02\x00\x00")}, []string{version("3.1.1")}},
		{
			"bodies are passed over",
			[]piece{c(connect311), s("\x20\x02\x00\x00"), c(publish311(strings.Repeat("x", 9000))), c(publish311("MSh")), c("\x10\xff")},
			[]string{version("3.1.1"), login(outcome(event.Succeeded))},
		},
		{
			"sync lost",
			[]piece{c(connect311), s("\x20\x02\x00\x00"), c("\x00\x00"), c(connect311)},
			[]string{
				version("3.1.1"), login(outcome(event.Succeeded)),
				fmt.Sprintf("malformed-seen 10.20.1.5 %d=mqtt %d=Control Packet type %d=reserved value", event.Protocol, event.Field, event.Reason),
			},
		},
		{"midstream", []piece{c("\xc0\x00"), s("\xd0\x00"), c(publish311("{}"))}, nil},
	} {
		inAnyCut(t, tt.name, newMQTTObserver, tt.pieces, tt.want...)
	}
	got := toldAll(observe(t, newMQTTObserver(), c("\x10\x1a\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x01a\x00\x04gate\x00\x04word"), s(refused5)))
	if want := []string{version("5"), login(outcome(event.Failed))}; !slices.Equal(got, want) {
		t.Errorf("version 5: %q", got)
	}
}

func TestMQTTPatientData(t *testing.T) {
	events := observe(t, newMQTTObserver(), client([]byte(connect311)), server([]byte("\x20\x02\x00\x00")), client([]byte(publish311(oru))))
	var fields int64
	for i := range events {
		if events[i].Kind == event.PatientDataSeen {
			fields |= events[i].Int(event.Fields)
		}
		if s := told(&events[i]); strings.Contains(s, "Anna") || strings.Contains(s, "4711") {
			t.Errorf("patient data in %q", s)
		}
	}
	if want := int64(event.FieldName | event.FieldRecordNumber); fields&want != want {
		t.Errorf("fields %b", fields)
	}
}

// A packet that is larger than the bound is neither kept nor waited for.
func TestMQTTBound(t *testing.T) {
	huge := append([]byte("\x82\x80\x80\x20\x00\x01"), make([]byte, 512<<10-2)...)
	pieces := []piece{client([]byte(connect311))}
	for ; len(huge) > 0; huge = huge[min(len(huge), 1400):] {
		pieces = append(pieces, client(huge[:min(len(huge), 1400)]))
	}
	pieces = append(pieces, client([]byte("\xe0\x00")))
	var kinds []event.Kind
	for _, e := range observe(t, newMQTTObserver(), pieces...) {
		kinds = append(kinds, e.Kind)
	}
	if want := []event.Kind{event.ProtocolSeen, event.BoundReached, event.LoginSeen}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
}

func TestMQTTCaptures(t *testing.T) {
	succeeded := fmt.Sprintf("login-seen %d=mqtt %d=user-pass %d=%d", event.Protocol, event.Scheme, event.Outcome, event.Succeeded)
	unknown := fmt.Sprintf("login-seen %d=mqtt %d=user-pass", event.Protocol, event.Scheme)
	tells(t, "ndpi-mqtt.pcap", map[string]int{"mqtt 3.1": 1, "mqtt 3.1.1": 1, "mqtt": 2, succeeded: 1, unknown: 1})
	tells(t, "zeek-mqtt.pcap", map[string]int{"mqtt 3.1": 2, "mqtt": 2})
	tells(t, "sv-mqtt31-pub-userpass-input.pcap", map[string]int{"mqtt 3.1": 1, "mqtt": 1, succeeded: 1})
	tells(t, "sv-mqtt-pub-rules-mqtt5_pub_jpeg.pcap", map[string]int{"mqtt 5": 1, "mqtt": 1, succeeded: 1})
	tells(t, "ndpi-coap_mqtt.pcap", map[string]int{"mqtt 3.1.1": 1, "mqtt": 4, "coap": 8})
}

// Whatever is said, the observers of things stay upright, and no text of an
// event is longer than allowed.
func FuzzThingObservers(f *testing.F) {
	f.Add(uint8(0), []byte(connect311), []byte("\x20\x02\x00\x00"))
	f.Add(uint8(1), []byte("\x40\x01\x7d\x34\xb3icd"), []byte("\x60\x45\x7d\x34\xffx"))
	f.Add(uint8(2), modbusADU("\xff\x2b\x0e\x01\x00"), modbusADU("\xff\x2b\x0e\x01\x01\x00\x00\x01\x00\x05Norra"))
	f.Add(uint8(3), bacnetIP(0x0b, "\x01\x00\x10\x08"), bacnetIP(0x04, "\x0a\x14\x07\x07\xba\xc0\x01\x00\x10\x00\xc4\x02\x00\x00\x01\x22\x05\xc4\x91\x03\x21\x05"))
	f.Add(uint8(4), []byte("<30>1 - gw-icu - - - -"), []byte("22 <30>1 - gw-icu - - - -"))
	f.Add(uint8(5), snmp2c("public", snmpPDU(0)), snmp3(4, "\x30\x00"))
	constructors := []func() observer{newMQTTObserver, newCoAPObserver, newModbusObserver, newBACnetObserver, newSyslogObserver, newSNMPObserver}
	f.Fuzz(func(t *testing.T, which uint8, c, s []byte) {
		o := constructors[int(which)%len(constructors)]
		pieces := []piece{client(c), server(s), client(s), server(c)}
		events := append(observe(t, o(), pieces...), observeDatagrams(t, o(), pieces...)...)
		for i := range events {
			for _, a := range events[i].Attrs() {
				if len(a.Text) > maxText {
					t.Fatalf("%d bytes of text", len(a.Text))
				}
			}
		}
	})
}
