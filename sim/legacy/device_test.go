// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	link "github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/proto/coap"
	dialect "github.com/myelin-health/myelin/proto/radio"
	wire "github.com/myelin-health/myelin/proto/radio/seal"
	"github.com/myelin-health/myelin/sim/radio"
	"github.com/myelin-health/myelin/sim/ward"
)

func frame(t testing.TB, name, opcode string, fields ...any) []byte {
	t.Helper()
	b, err := radio.Compose(radio.Sample(name), opcode, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSeal is the link of a guard with a device that listens to nobody else.
func TestSeal(t *testing.T) {
	secret := []byte("sixteen bytes ok")
	kept := new(uint64)
	d, err := NewRhythmS(Config{Secret: secret, Counter: kept, Now: NewClock(morning).Now})
	if err != nil {
		t.Fatal(err)
	}
	guard, counter := wire.Secret(secret), uint64(40)
	sends := func(message []byte) []byte {
		counter++
		return guard.Append(nil, wire.ToDevice, counter, message)
	}
	ctx := t.Context()
	off := frame(t, "halden-mics", "therapies", "device", uint32(radio.ICDAddress), "state", 0)
	sealed := sends(off)
	for i := range sealed {
		for bit := range 8 {
			b := bytes.Clone(sealed)
			b[i] ^= 1 << bit
			if a := d.Handle(ctx, b); a != nil {
				t.Fatalf("bit %d of byte %d changed: it answers", bit, i)
			}
		}
	}
	stranger := wire.Secret([]byte("another secret !"))
	for name, b := range map[string][]byte{"bare": off, "short": sealed[:20], "another secret": stranger.Append(nil, wire.ToDevice, 1<<40, off)} {
		if d.Handle(ctx, b) != nil {
			t.Errorf("%s: it answers", name)
		}
	}
	if !d.State().(DefibrillatorState).Therapies {
		t.Fatal("therapies are off")
	}
	answers := d.Handle(ctx, sealed)
	if len(answers) != 1 || d.State().(DefibrillatorState).Therapies {
		t.Fatal("the guard is not listened to")
	}
	if d.Handle(ctx, sealed) != nil {
		t.Error("it listens to a message that came before")
	}
	b, n, ok := guard.Open(wire.FromDevice, answers[0])
	var m dialect.Message
	if !ok || n != counter || radio.Sample("halden-mics").Parse(b, &m) != nil || m.Outcome != dialect.Succeeded {
		t.Errorf("answer %x under %d: %v", b, n, ok)
	}
	on := sends(frame(t, "halden-mics", "therapies", "device", uint32(radio.ICDAddress), "state", 1))
	if d.Handle(ctx, on) == nil || !d.State().(DefibrillatorState).Therapies {
		t.Error("the guard is not listened to any more")
	}
	if d, err = NewRhythmS(Config{Secret: secret, Counter: kept, Now: NewClock(morning).Now}); err != nil {
		t.Fatal(err)
	}
	if d.Handle(ctx, sealed) != nil || d.Handle(ctx, on) != nil {
		t.Error("after a restart it listens to a message that came before")
	}
	if d.Handle(ctx, sends(off)) == nil {
		t.Error("after a restart it does not listen to the guard")
	}
	if _, err := NewRhythmS(Config{Secret: secret[1:]}); err == nil {
		t.Error("a secret of 15 bytes is taken")
	}
}

// TestPipe talks to a device through a byte pipe, in pieces.
func TestPipe(t *testing.T) {
	d, err := NewCalm(Config{Now: NewClock(morning).Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- d.ServeConn(ctx, far) }()
	wake := appendMessage(nil, counted, frame(t, "tessel-calm", "wake", "serial", uint32(radio.StimulatorSerial)))
	for i := range wake {
		if _, err := near.Write(wake[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	c := &channel{Conn: near, env: &Env{Patience: 10 * time.Second}}
	head := make([]byte, 2)
	if _, err := near.Read(head); err != nil || head[0] != 0 || head[1] == 0 {
		t.Fatalf("%x %v", head, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	c.Close()
}

// TestElsewhere holds devices and attacks to this machine.
func TestElsewhere(t *testing.T) {
	for _, addr := range []string{"10.0.0.1:5683", "0.0.0.0:1", "[::]:1", "example.org:80", "192.0.2.1:1", ":5683"} {
		if _, err := At("udp", addr); !errors.Is(err, ErrElsewhere) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if _, err := At("unix", "127.0.0.1:1"); err == nil {
		t.Error("a network that is none")
	}
	s, err := net.ListenPacket("udp", "0.0.0.0:0")
	if err != nil {
		t.Skip(err)
	}
	d, err := NewCalm(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Serve(t.Context(), s); !errors.Is(err, ErrElsewhere) {
		t.Errorf("it listens on every address: %v", err)
	}
}

// TestInsulin holds what a pump gives against what it should have given.
func TestInsulin(t *testing.T) {
	clock := NewClock(morning)
	p, err := NewClassic(Config{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	say := func(opcode string, fields ...any) {
		t.Helper()
		if p.Handle(t.Context(), frame(t, "okapi-classic", opcode, append(fields, "serial", radio.ClassicSerial)...)) == nil {
			t.Fatal(opcode, "is not answered")
		}
	}
	is := func(delivered, given, left int64) {
		t.Helper()
		if s := p.State().(PumpState); s.Delivered != delivered || s.BolusGiven != given || s.BolusLeft != left || s.Reservoir != 152_000-delivered {
			t.Fatalf("%+v", s)
		}
	}
	is(0, 0, 0)
	clock.Advance(2 * time.Hour)
	is(1700, 0, 0)
	say("bolus", "amount", 160)
	clock.Advance(time.Minute)
	is(1700+14+1500, 1500, 2500)
	say("cancel-bolus")
	clock.Advance(59 * time.Minute)
	is(1700+850+1500, 1500, 0)
	say("temporary-basal", "rate", 400, "duration", 30)
	clock.Advance(time.Hour)
	is(1700+850+1500+5000+425, 1500, 0)
	say("delivery", "state", 1, "duration", 60)
	say("bolus", "amount", 160) // is refused
	clock.Advance(2 * time.Hour)
	is(1700+850+1500+5000+425+850, 1500, 0)
	clock.Advance(-time.Hour)
	is(1700+850+1500+5000+425+850, 1500, 0)
	clock.Advance(1000 * 24 * time.Hour)
	if s := p.State().(PumpState); s.Reservoir != 0 || s.Delivered != 152_000 {
		t.Fatalf("%+v", s)
	}
}

// FuzzHandle gives each device what nobody would send.
func FuzzHandle(f *testing.F) {
	for i := range Models {
		for _, b := range seeds(f, Models[i].Name) {
			f.Add(uint8(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, model uint8, b []byte) {
		m := Models[int(model)%len(Models)]
		d, err := m.New(Config{Now: NewClock(morning).Now, Rand: newChance()})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range d.Handle(t.Context(), b) {
			if len(a) > MaxMessage {
				t.Errorf("%s answers with %d bytes", m.Name, len(a))
			}
		}
		_ = d.State()
	})
}

// seeds are what a device is told by those who may.
func seeds(t testing.TB, model string) (list [][]byte) {
	t.Helper()
	if r, ok := radios[model]; ok {
		for _, o := range radio.Sample(r.dialect).Opcodes {
			if o.Direction != dialect.FromDevice {
				list = append(list, frame(t, r.dialect, o.Name, r.always...))
			}
		}
		return list
	}
	switch model {
	case "dose-one":
		for _, path := range []string{"/therapy", "/secure", "/physician", "/pair"} {
			m := link.Request(coap.POST, path, formatCBOR, append([]byte(physicianPIN), asked(device.DeliverBolus, "1 U")...))
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, b)
		}
	case "ble-soc":
		scan := ble.ScanRequest{Scanner: foreignPhone, Advertiser: chipAddress}
		link := ble.ConnectRequest{Initiator: foreignPhone, Advertiser: chipAddress, Access: 0x50655641}
		for _, pdu := range [][]byte{scan.AppendPDU(nil), link.AppendPDU(nil)} {
			list = append(list, ble.AppendAir(nil, ble.AdvertisingAccess, advertisingCRC, pdu))
		}
	case "clinic-app":
		for _, path := range []string{"/reset", "/limit/1000"} {
			list = append(list, fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWRtaW46MTIzNA==\r\n\r\n", path))
		}
	case "flowlink", "castor":
		three, _ := ward.Pumps()
		o := ward.Order{ID: "1", Pump: three, Rate: "4", Unit: ward.MicrogPerKgM, Accept: "AL", Application: "NE"}
		list = append(list, o.Message(morning))
	default:
		for _, line := range []string{"auth 00", "debug 256 00", "stage 00", "message {}", "login x", "put a 00", "upload home-anna 3", "packet " + strings.Repeat("00", 20)} {
			list = append(list, []byte(line))
		}
	}
	return list
}
