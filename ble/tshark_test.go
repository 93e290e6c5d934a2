// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sdus writes down what goes through channels, and makes a capture of what is
// heard (pcap, link type 187).
type sdus struct {
	silent
	said []string
	log  []byte
}

func (s *sdus) SDU(_ *Connection, _ Side, spsm uint16, sdu []byte) {
	s.said = append(s.said, fmt.Sprintf("0x%04x %x", spsm, sdu))
}

// TestTsharkChannels lets tshark put together the SDUs of credit-based channels:
// of the same bytes it has the same.
func TestTsharkChannels(t *testing.T) {
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	le := binary.LittleEndian
	s := &sdus{log: le.AppendUint32([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00"), 187)}
	f := NewFollower(s)
	var p Packet
	packets := 0
	frame := func(flags uint32, b []byte) {
		packets++
		s.log = le.AppendUint32(le.AppendUint32(s.log, 1772521200), uint32(packets))
		s.log = append(le.AppendUint32(le.AppendUint32(s.log, uint32(len(b))), uint32(len(b))), b...)
		p.Decode(h4, flags, b)
		f.Packet(1, &p, int64(packets))
	}
	send := func(from Side, cid uint16, payload []byte) {
		received := from == Peripheral
		flags := uint32(0)
		if received {
			flags = 1
		}
		b := AppendL2CAP(nil, cid, payload)
		for start := true; start || len(b) > 0; start = false {
			part := b[:min(27, len(b))]
			b = b[len(part):]
			frame(flags, AppendACL([]byte{H4ACL}, 0x40, start, received, part))
		}
	}
	signal := func(from Side, x Signal) {
		b, err := x.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		send(from, CIDSignaling, b)
	}
	frame(1, (&Event{Code: EventLEConnectionComplete, Handle: 0x40, Local: Central, Peer: static, Interval: 24, Timeout: 500}).Append([]byte{H4Event}))
	signal(Central, Signal{Code: LECreditBasedConnectionRequest, Identifier: 1, SPSM: 0x80, MTU: 512, MPS: 64, Credits: 9, CIDs: [5]uint16{0x40}, NumCIDs: 1})
	signal(Peripheral, Signal{Code: LECreditBasedConnectionResponse, Identifier: 1, MTU: 512, MPS: 64, Credits: 9, CIDs: [5]uint16{0x41}, NumCIDs: 1})
	signal(Peripheral, Signal{Code: LECreditBasedConnectionRequest, Identifier: 2, SPSM: SPSMOTS, MTU: 512, MPS: 64, Credits: 9, CIDs: [5]uint16{0x51}, NumCIDs: 1})
	signal(Central, Signal{Code: LECreditBasedConnectionResponse, Identifier: 2, MTU: 512, MPS: 64, Credits: 9, CIDs: [5]uint16{0x50}, NumCIDs: 1})
	for i, n := range []int{5, 62, 63, 100, 300} { // one K-frame, just one, two, more
		from, cid := Central, uint16(0x41)
		if i%2 == 1 {
			from, cid = Peripheral, 0x50
		}
		sdu := bytes.Repeat([]byte{byte(0x10 + i)}, n)
		for rest := append(le.AppendUint16(nil, uint16(n)), sdu...); len(rest) > 0; {
			k := rest[:min(64, len(rest))]
			rest = rest[len(k):]
			send(from, cid, k)
		}
	}
	name := filepath.Join(t.TempDir(), "channels.pcap")
	if err := os.WriteFile(name, s.log, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "-r", name, "-T", "fields", "-Y", "btl2cap.psm && btl2cap.cid >= 0x40",
		"-e", "btl2cap.psm", "-e", "btl2cap.payload", "-e", "btl2cap.le_sdu_length", "-e", "btl2cap.le_sdu.reassembled.length").Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs []string
	sdu := ""
	for line := range strings.Lines(string(out)) {
		field := strings.Split(strings.TrimRight(line, "\n"), "\t")
		sdu += field[1]
		size := strconv.Itoa(len(sdu) / 2)
		if field[2] == size || field[3] == size { // in one frame, or put together
			theirs = append(theirs, field[0]+" "+sdu)
			sdu = ""
		}
	}
	if len(theirs) != 5 || sdu != "" || !slices.Equal(theirs, s.said) {
		t.Errorf("tshark has\n%s\nand we\n%s", strings.Join(theirs, "\n"), strings.Join(s.said, "\n"))
	}
}
