// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/ble"
)

// hostileRadio is a phone's log of heart-rate straps, and a frame log, in which every
// name that somebody on the radio may choose is one of hostile.
func hostileRadio(t *testing.T) (files []string) {
	be := binary.BigEndian
	log := append([]byte("btsnoop\x00"), 0, 0, 0, 1, 0, 0, 3, 0xea) // version 1, H4
	at := uint64(0x00e2_0000_0000_0000)
	record := func(flags uint32, b []byte) {
		at += 5000
		for _, v := range [...]uint32{uint32(len(b)), uint32(len(b)), flags, 0} {
			log = be.AppendUint32(log, v)
		}
		log = append(be.AppendUint64(log, at), b...)
	}
	att := func(toPhone bool, pdu ...byte) {
		flags := uint32(0)
		if toPhone {
			flags = 1
		}
		record(flags, ble.AppendACL([]byte{ble.H4ACL}, 0x40, true, toPhone, ble.AppendL2CAP(nil, ble.CIDATT, pdu)))
	}
	var frames []byte
	for i, s := range hostile {
		name := []byte(s)[:min(len(s), 200)]
		strap := ble.Address{Kind: ble.StaticRandom, Bytes: [6]byte{0xc0, 0, 0, 0, 1, byte(i)}}
		ad := ble.Advertisement{Advertiser: strap, Connectable: true, Data: ble.AppendAD(ble.AppendAD(nil, ble.ADAllServices16, []byte{0x0d, 0x18}), ble.ADName, name[:min(len(name), 20)])}
		record(3, ad.AppendReport([]byte{ble.H4Event}))
		connected := ble.Event{Code: ble.EventLEConnectionComplete, Handle: 0x40, Local: ble.Central, Peer: strap, Interval: 24, Timeout: 500}
		record(3, connected.Append([]byte{ble.H4Event}))
		att(false, 0x02, 247, 0)
		att(true, 0x03, 247, 0)
		att(false, 0x10, 1, 0, 0xff, 0xff, 0, 0x28)
		att(true, 0x11, 6, 0x20, 0, 0x2f, 0, 0x0d, 0x18, 0x30, 0, 0x3f, 0, 0x0a, 0x18)
		att(false, 0x08, 0x20, 0, 0x2f, 0, 3, 0x28)
		att(true, 0x09, 7, 0x21, 0, 0x10, 0x22, 0, 0x37, 0x2a)
		att(false, 0x08, 0x30, 0, 0x3f, 0, 3, 0x28)
		att(true, 0x09, 7, 0x31, 0, 2, 0x32, 0, 0x29, 0x2a, 0x33, 0, 2, 0x34, 0, 0x24, 0x2a, 0x35, 0, 2, 0x36, 0, 0x26, 0x2a)
		for _, h := range []byte{0x32, 0x34, 0x36} { // manufacturer, model, firmware
			att(false, 0x0a, h, 0)
			att(true, append([]byte{0x0b}, name...)...)
		}
		att(true, 0x1b, 0x22, 0, 0, 74)
		gone := ble.Event{Code: ble.EventDisconnectionComplete, Handle: 0x40, Reason: 0x13}
		record(3, gone.Append([]byte{ble.H4Event}))

		line, err := json.Marshal(map[string]any{"time": "2026-03-03T07:17:00Z", "dialect": s, "receiver": s, "hex": "d39110005060"})
		if err != nil {
			t.Fatal(err)
		}
		frames = append(append(frames, line...), '\n')
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"phone.btsnoop": log, "frames.jsonl": frames} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	slices.Sort(files)
	return files
}

// TestHostileNamesOnRadio is TestHostileNames for what is heard on the air.
func TestHostileNamesOnRadio(t *testing.T) {
	files := hostileRadio(t)
	for _, f := range formats {
		var out, errs strings.Builder
		if code := run(t.Context(), append([]string{"assess", "--format", f.name}, files...), nil, &out, &errs); code == exitUsage {
			t.Fatalf("%s: exit %d, %s", f.name, code, &errs)
		}
		for _, shown := range []string{"script", "cmd|", "@SUM", "long long"} {
			if !strings.Contains(out.String(), shown) {
				t.Errorf("%s: %q is nowhere: the test shows nothing", f.name, shown)
			}
		}
		checkPlain(t, "standard error", errs.String())
		checkFormat(t, f.name, out.String())
	}
}
