// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
	"github.com/myelin-health/myelin/watch"
	"github.com/myelin-health/myelin/wire"
)

// A place is where a device of sim/legacy stands in the sample ward's network, and what the
// hospital wrote down of it.
type place struct {
	at       netip.AddrPort // where it listens
	upstream netip.AddrPort // what it should connect to, where it does; an impostor listens at the same port
	from     netip.Addr     // of who attacks it
	segments bool           // it is told of TCP segments, which a sensor sees as such
	air      bool           // its datagrams are packets of Bluetooth's link layer, which a sniffer hears; nothing else here is said of it
	register string         // its row, without its address: maker, model, version, what it is, its FDA code
}

// Who should not be in that network: a laptop inside, an address outside.
var (
	laptop   = netip.MustParseAddr("10.20.8.99")
	outsider = netip.MustParseAddr("198.51.100.66")
)

// linePort is where devices listen that are asked in lines of their own: no protocol has it.
const linePort = "7011"

var places = map[string]place{
	"homelink": {
		at: netip.MustParseAddrPort("10.20.9.21:" + linePort), upstream: netip.MustParseAddrPort("203.0.113.40:80"), from: laptop,
		register: "Halden Cardio,HomeLink,2.0,home monitor,OSR",
	},
	"studio": {
		at: netip.MustParseAddrPort("10.20.9.4:" + linePort), upstream: netip.MustParseAddrPort("203.0.113.41:80"), from: laptop,
		register: "Halden Cardio,Studio,7,clinician programmer,OSR",
	},
	"cloud":         {at: netip.MustParseAddrPort("10.20.9.30:" + linePort), from: outsider, register: "Halden Cardio,HomeLink Clinic,3.1,home monitor,OSR"},
	"reader":        {at: netip.MustParseAddrPort("10.20.9.22:" + linePort), from: laptop, register: "Halden Cardio,HomeLink Reader,2.2,home monitor,OSR"},
	"clinic-app":    {at: netip.MustParseAddrPort("10.20.9.23:" + linePort), from: laptop, register: "Tessel Neuro,Calm App,1.3,clinician programmer,"},
	"clinic-server": {at: netip.MustParseAddrPort("10.20.9.31:" + linePort), from: laptop, register: "Halden Cardio,Courier,1.11,clinic server,"},
	"insulin-cloud": {at: netip.MustParseAddrPort("203.0.113.42:" + linePort), from: laptop, register: "Okapi Health,Dose Cloud,3.0,app cloud,"},
	"ip-stack":      {at: netip.MustParseAddrPort("10.20.3.31:23"), from: laptop, segments: true, register: "Veltis,M9,5.0,patient monitor,"},
	"dose-one":      {at: netip.MustParseAddrPort("10.20.3.45:5683"), from: laptop, register: "Okapi Health,Dose One,1.8,insulin pump,OZP"},
	"ble-soc":       {air: true},
	"flowlink":      {at: netip.MustParseAddrPort("10.20.3.10:24000"), upstream: netip.MustParseAddrPort("10.20.1.5:24001"), from: laptop, register: "Norra Medical,FlowLink,1.8,infusion pump gateway,PHC"},
}

// placed reports whether there is a place at which an attack on a device can be heard.
func placed(model string) bool { p := places[model]; return p.air || p.at.IsValid() }

// recorded runs an attack on the unprotected device and returns what a port that mirrors the network would have
// seen of it.
func recorded(ctx context.Context, a *legacy.Attack, cfg legacy.Config) ([]ward.Conversation, error) {
	cfg.Tap = new(legacy.Tap)
	if _, err := a.Try(ctx, cfg, &legacy.Env{Clock: legacy.NewClock(story)}); err != nil {
		return nil, err
	}
	p := places[a.Device]
	var out []ward.Conversation
	for _, talk := range cfg.Tap.Talks() {
		c := ward.Conversation{Client: p.from, Server: p.at}
		if talk.By == legacy.Itself { // it was told to come to somebody else
			c.Client, c.Server = p.at.Addr(), netip.AddrPortFrom(outsider, p.upstream.Port())
		}
		if talk.Network == "udp" {
			c.Form = ward.Datagrams
		}
		for _, said := range talk.Said {
			c.Said = append(c.Said, ward.Said(said))
		}
		if p.segments {
			c.Form, c.Said = ward.Segments, segments(c.Said)
		}
		out = append(out, c)
	}
	return out, nil
}

// segments are those that the lines of a conversation stand for.
func segments(lines []ward.Said) (out []ward.Said) {
	for _, l := range lines {
		if text, ok := bytes.CutPrefix(l.Bytes, []byte("packet ")); ok {
			if b, err := hex.DecodeString(string(bytes.TrimSpace(text))); err == nil {
				out = append(out, ward.Said{Bytes: b})
			}
		}
	}
	return out
}

// watched assesses a capture as a hospital would: beside its register, with a baseline of what
// its devices connect to.
func (w *world) watched(ctx context.Context, name string, a *legacy.Attack, heard []ward.Conversation) (*report.Assessment, error) {
	p := places[a.Device]
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var pcap bytes.Buffer
	if p.air {
		file := filepath.Join(dir, "air.pcap")
		err := sniffed(&pcap, heard)
		if err == nil {
			err = os.WriteFile(file, pcap.Bytes(), 0o600)
		}
		if err != nil {
			return nil, err
		}
		return assess.Run(ctx, []string{file}, assess.Config{})
	}
	if err := ward.Mirror(&pcap, heard); err != nil {
		return nil, err
	}
	register := fmt.Sprintf("Asset tag,Manufacturer,Model,Software version,Device type,Product code,IP address\n%s,%s,%s\n", a.Device, p.register, p.at.Addr())
	for file, b := range map[string][]byte{"mirror.pcap": pcap.Bytes(), "register.csv": []byte(register)} {
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			return nil, err
		}
	}
	expected := map[watch.Link]bool{}
	if p.upstream.IsValid() {
		expected[watch.Link{Client: p.at.Addr().String(), Server: p.upstream.Addr().String()}] = true
	}
	return assess.Run(ctx, []string{dir}, assess.Config{Baseline: &watch.Baseline{Links: expected}})
}

// sniffed writes packets of Bluetooth as a sniffer hears them that follows a connection: an event each 30 ms, all on
// one channel.
func sniffed(w io.Writer, heard []ward.Conversation) error {
	out, err := capture.NewWriter(w, wire.LinkBluetoothLELLPHDR)
	if err != nil {
		return err
	}
	at := story
	for _, c := range heard {
		for _, said := range c.Said {
			from, channel := ble.Central, uint8(0)
			at = at.Add(30 * time.Millisecond)
			if said.Answer {
				from = ble.Peripheral
				at = at.Add(-29 * time.Millisecond)
			}
			if len(said.Bytes) >= 4 && binary.LittleEndian.Uint32(said.Bytes) == ble.AdvertisingAccess {
				from, channel = ble.UnknownSide, 37
			}
			b := append(ble.AppendRadio(nil, channel, -60, from, false), said.Bytes...)
			if err := out.WriteFrame(&capture.Frame{Time: at.UnixNano(), Data: b, OrigLen: len(b), Link: wire.LinkBluetoothLELLPHDR}); err != nil {
				return err
			}
		}
	}
	return nil
}

// unheard says what of an assessment a sensor understood, in the way of a reason for what it did not find.
func unheard(a *report.Assessment) string {
	var known []string
	for _, s := range a.Sessions {
		if s.Protocol != "unknown" {
			known = append(known, s.Protocol)
		}
	}
	if len(known) == 0 {
		return "the lines are this device's own, and no protocol or dialect is of them"
	}
	return "heard was " + strings.Join(known, ", ")
}
