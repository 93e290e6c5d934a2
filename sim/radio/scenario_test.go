// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/wire"
)

// A listener remembers how links were protected when they ended.
type listener struct {
	ble.Handler // nil: what is not below is not called
	pairings    []ble.Pairing
	security    []ble.Security
	parties     [][2]ble.Address
	att         int
	wrong       []string
}

func (l *listener) Advertised(*ble.Advertisement) {}
func (l *listener) Connected(*ble.Connection)     {}
func (l *listener) Secured(*ble.Connection)       {}

func (l *listener) Pairing(_ *ble.Connection, p *ble.Pairing) {
	if p.State == ble.Encrypted && !p.KeysReadable { // else it is told again
		l.pairings = append(l.pairings, *p)
	}
}

func (l *listener) ATT(*ble.Connection, ble.Side, []byte) { l.att++ }

func (l *listener) Odd(_ *ble.Connection, o ble.Oddity) { l.wrong = append(l.wrong, o.String()) }

func (l *listener) Malformed(_ *ble.Connection, _ ble.Side, err error) {
	l.wrong = append(l.wrong, err.Error())
}

func (l *listener) Disconnected(c *ble.Connection) {
	l.security = append(l.security, c.Security)
	l.parties = append(l.parties, [2]ble.Address{c.Identity(ble.Central), c.Identity(ble.Peripheral)})
}

// follow reads a recording back.
func follow(t *testing.T, r *Recording, f Format) *listener {
	t.Helper()
	file, err := os.Open(write(t, r, f))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in, err := capture.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{}
	follower := ble.NewFollower(l)
	var x capture.Frame
	var p ble.Packet
	for err = in.ReadFrame(&x); err == nil; err = in.ReadFrame(&x) {
		p.Decode(x.Link, x.Flags, x.Data)
		if p.Fault.Err != nil {
			t.Fatalf("packet %d: %v", x.Packet, p.Fault)
		}
		if p.CRC == ble.BadCRC {
			t.Errorf("packet %d: wrong CRC", x.Packet)
		}
		follower.Packet(0, &p, x.Time)
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	follower.Flush()
	if s := follower.Stats(); s.Lost+s.BadCRC+s.Repeated+s.Evicted > 0 {
		t.Errorf("%+v", s)
	}
	return l
}

var formats = []struct {
	layer Layer
	f     Format
}{
	{HCI, Format{}},
	{HCI, Format{Container: "pcap", Link: wire.LinkBluetoothHCIH4}},
	{HCI, Format{Container: "pcapng", Link: wire.LinkBluetoothHCIH4}},
	{HCI, Format{Container: "pcapng"}},
	{Air, Format{}},
	{Air, Format{Container: "pcap", Link: wire.LinkBluetoothLELL}},
	{Air, Format{Link: wire.LinkNordicBLE}},
	{Air, Format{Decrypted: true}},
	{Air, Format{Link: wire.LinkNordicBLE, Decrypted: true}},
}

// TestPairing pairs by every method, and holds what is seen of it in every format to what was done.
func TestPairing(t *testing.T) {
	for _, tt := range []struct {
		scenario string
		form     Form
		method   ble.Method
		level    int
	}{
		{"pair-just-works", Legacy, ble.JustWorks, 2},
		{"pair-passkey", Legacy, ble.PasskeyEntry, 3},
		{"pair-oob", Legacy, ble.OutOfBand, 3},
		{"pair-just-works", Protected, ble.JustWorks, 2},
		{"pair-passkey", Protected, ble.PasskeyEntry, 4},
		{"pair-numeric", Protected, ble.NumericComparison, 4},
		{"pair-oob", Protected, ble.OutOfBand, 4},
	} {
		for _, f := range formats {
			t.Run(fmt.Sprint(tt.scenario, tt.form, f.layer, f.f), func(t *testing.T) {
				r, err := Play(Options{Device: "pump", Scenario: tt.scenario, Form: tt.form, Layer: f.layer})
				if err != nil {
					t.Fatal(err)
				}
				l := follow(t, r, f.f)
				if len(l.wrong) > 0 || len(l.pairings) != 1 || len(l.security) != 1 {
					t.Fatalf("%d pairings, %d connections, wrong: %q", len(l.pairings), len(l.security), l.wrong)
				}
				p, s := l.pairings[0], l.security[0]
				want := ble.Security{Encrypted: true, Method: tt.method, SecureConnections: tt.form == Protected, KeySize: 16, Bonded: true}
				if s != want || s.Level() != tt.level || p.Method != tt.method || !p.Asked {
					t.Errorf("%+v, %+v of level %d", p, s, s.Level())
				}
				readable := f.layer == HCI || f.f.Decrypted
				if most := 6; !readable && l.att > most || readable && l.att < 40 {
					t.Errorf("%d PDUs of the attribute protocol can be read", l.att)
				}
				// Identities are handed over under encryption.
				if known := l.parties[0] == [2]ble.Address{benAddress, pumpAddress}; known != readable && tt.form == Protected {
					t.Errorf("the identities are known: %v", known)
				}
			})
		}
	}
}

// TestPlay plays every story in every way. It is the same each time, and in other
// keys with another seed.
func TestPlay(t *testing.T) {
	bytesOf := func(o Options) []byte {
		r, err := Play(o)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := r.Write(&b, Format{}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, s := range Scenarios {
		for _, form := range s.Forms {
			for _, layer := range s.Layers {
				o := Options{Device: s.Device, Scenario: s.Name, Form: form, Layer: layer}
				b := bytesOf(o)
				if len(b) < 300 || len(b) > 512<<10 || !bytes.Equal(b, bytesOf(o)) {
					t.Errorf("%+v: %d bytes", o, len(b))
				}
				if o.Seed = 7; layer != Frames && bytes.Equal(b, bytesOf(o)) {
					t.Errorf("%+v: the same with another seed", o)
				}
			}
		}
	}
	for _, o := range []Options{
		{Device: "toaster", Scenario: "day"},
		{Device: "pump", Scenario: "levitation"},
		{Device: "pump", Scenario: "pair-numeric", Form: Legacy},
		{Device: "pump", Scenario: "day", Layer: Frames},
	} {
		if _, err := Play(o); err == nil {
			t.Errorf("%+v can be played", o)
		}
	}
	r, err := Play(Options{Device: "icd", Scenario: "read-out", Layer: Frames})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Format{{Container: "btsnoop"}, {Container: "pcap"}, {Link: wire.LinkNordicBLE}, {Decrypted: true}} {
		if err := r.Write(io.Discard, f); err == nil {
			t.Errorf("frames can be written as %+v", f)
		}
	}
}

// TestSecrets holds that the secrets are of what goes over the air, and that
// none leaves an assessment of it.
func TestSecrets(t *testing.T) {
	var raw bytes.Buffer
	for _, s := range Scenarios {
		for _, form := range s.Forms {
			for _, layer := range s.Layers {
				r, err := Play(Options{Device: s.Device, Scenario: s.Name, Form: form, Layer: layer})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range r.frames {
					raw.Write(f.hci)
					raw.Write(f.raw)
					if f.air != nil {
						raw.Write(f.air.pdu)
						raw.Write(f.air.plain)
					}
				}
			}
		}
	}
	digits := hex.EncodeToString(raw.Bytes())
	for _, s := range []string{AnnaName, CleoName, physician, annaRecord, pumpSerial, icdSerial, strapSerial, meterSerial, scaleSerial, pin, fmt.Sprintf("%06x", classicSerial), fmt.Sprintf("%06x", wandSerial), fmt.Sprintf("%08x", podSerial)} {
		if !bytes.Contains(raw.Bytes(), []byte(s)) && !strings.Contains(digits, s) {
			t.Errorf("%q goes over no air", s)
		}
	}
	for i := range Rows {
		for j, k := range []Take{Rows[i].Take, Rows[i].Twin} {
			var out bytes.Buffer
			var key []byte // with one every device has another name besides
			if (i+j)%2 == 0 {
				key = []byte("an invented key of 32 bytes, here")
			}
			a, err := assess.Run(context.Background(), []string{record(t, k, Format{})}, assess.Config{Key: key, Record: func(e *event.Event) error {
				fmt.Fprintln(&out, e.Kind, e.Device, e.Peer, e.Attrs())
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			for _, write := range []func(io.Writer, *report.Assessment) error{report.Text, report.JSON, report.CSV, report.SARIF, report.HTML} {
				if err := write(&out, a); err != nil {
					t.Fatal(err)
				}
			}
			said := bytes.ToLower(out.Bytes())
			for _, s := range Secrets() {
				if i := bytes.Index(said, bytes.ToLower([]byte(s))); i >= 0 {
					t.Errorf("%+v: %q in %q", k, s, said[max(i-60, 0):min(i+60, len(said))])
				}
			}
		}
	}
}
