// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ble

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// sharedCaptures is the folder of real captures beside the project. They are of
// real people's devices: a test prints no more than counts of what they hold.
var sharedCaptures = filepath.Join("..", "..", "shared", "captures-ble")

// shared is what is in each of them, as MANIFEST.tsv says it and, of what that
// leaves open, as a look at the packets does.
var shared = []struct {
	file          string
	link          string // in the manifest's words
	connections   int
	peripheral    AddressKind
	pairing       string // method, legacy or SC, key size, how far; of several the furthest
	levels        string // of c.Security, as it went
	before, after int    // PDUs of ATT, by c.Security.Encrypted
	odd           string
}{
	{"tandem-pump-btsnoop-2023.log", "btsnoop H4", 4, StaticRandom, "", "stored", 3, 763, ""},
	{"tesi-fascia_cardio.pcapng", "272", 1, Public, "", "", 68, 0, ""},
	{"tesi-Lv4_JW.pcapng", "272", 1, StaticRandom, "Just Works SC 16 encrypted", "2", 30, 0, ""},
	{"tesi-mouse.pcapng", "272", 1, Public, "Just Works legacy 16 done readable", "2", 41, 138, ""},
	{"ec521-btsnoop.log", "btsnoop H4", 1, StaticRandom, "Just Works legacy 16 done", "2", 0, 136, ""},
	{"wban-btsnoop.log", "btsnoop H4", 2, Public, "", "", 200, 0, ""},
	{"airbily-smartwatch.pcapng", "201", 1, StaticRandom, "", "", 391, 0, ""},
	{"dsd6-c-btsnoop.log", "btsnoop H4", 1, StaticRandom, "", "", 261, 0, ""},
	{"crackle-01-legacy-pairing-ltk.pcap", "192", 1, Public, "Just Works legacy 16 encrypted", "2", 0, 0, ""},
	{"crackle-01-decrypted.pcap", "192", 1, Public, "Just Works legacy 16 encrypted readable", "2", 0, 0, ""},
	{"crackle-02-known-ltk-encrypted.pcap", "192", 1, Public, "", "stored", 0, 0, ""},
	{"crackle-02-decrypted.pcap", "192", 1, Public, "", "stored", 0, 5, ""},
	{"crackle-04-le-secure-connections.pcapng", "256", 1, Resolvable, "Just Works SC 16 encrypted", "2", 37, 0, ""},
	{"sweyn-stm-sequential_att_deadlock.pcap", "272", 1, Public, "Just Works SC 16 done readable", "2", 7, 15, "RequestsOutstanding"},
	{"sweyn-microchip_ATSAMB11_invalid_fragment.pcap", "272", 1, Public, "", "", 6, 0, "TruncatedL2CAP"},
	{"sweyn-nxp_unexpected_encryption_start.pcapng", "272", 2, Public, "Just Works SC 16 answered", "unknown", 7, 40, "EncryptionWithoutKey"},
	{"sweyn-telink_key_overflow.pcap", "272", 1, Public, "Just Works legacy 16 answered", "", 10, 0, "KeySizeOutOfRange"},
	{"sweyn-telink_zero_ltk_installation.pcap", "272", 1, Public, "Just Works SC 16 answered", "unknown", 10, 144, "EncryptionWithoutKey"},
	{"sweyn-cc2640_dhcheck_skip.pcap", "272", 1, Public, "Just Works SC 16 confirming", "unknown", 2, 0, "EncryptionBeforeCheck"},
	{"sweyn-cypress_psoc6_crash_llid.pcapng", "272", 52, Public, "Just Works legacy 16 done readable", "2", 215, 238, "InvalidLLID KeySizeOutOfRange RequestsOutstanding StaticKey TruncatedL2CAP ZeroKey"},
	{"sweyn-dialog_truncated_l2cap_crash.pcap", "272", 1, Public, "", "", 2, 0, "TruncatedL2CAP"},
	{"sweyn-telink_respond_data_during_encryption.pcapng", "272", 3, Public, "Just Works legacy 16 done", "2 unknown", 24, 0, "DataDuringEncryption EncryptionWithoutKey InvalidLLID"},
	{"catsniffer-sonoff-matter.pcapng", "256", 2, StaticRandom, "", "", 111, 0, ""},
	{"a2dp-classic-btsnoop.log", "btsnoop H4", 0, NoAddress, "", "", 0, 0, ""},
}

// A census is what a follower says of a file.
type census struct {
	silent
	t            *testing.T
	packet       uint64
	connections  int
	peripheral   AddressKind
	furthest     Pairing
	levels, odd  []string
	before       []uint64 // the packets with a PDU of ATT
	after        []uint64
	passed       map[uint64]bool // those that were malformed
	disconnected int
}

func (s *census) Connected(c *Connection) {
	s.connections++
	s.peripheral = c.Peripheral.Kind
	if c.Midstream {
		s.t.Errorf("packet %d: a connection without a beginning", s.packet)
	}
}

func (s *census) Disconnected(*Connection) { s.disconnected++ }

func (s *census) Pairing(_ *Connection, p *Pairing) {
	if p.State >= Answered && p.State != Failed && p.State >= s.furthest.State {
		readable := s.furthest.KeysReadable
		s.furthest = *p
		s.furthest.KeysReadable = readable || p.KeysReadable
	}
}

func (s *census) Secured(c *Connection) {
	level := strconv.Itoa(c.Security.Level())
	switch {
	case c.Security.Stored:
		level = "stored"
	case c.Security.Level() == 0:
		level = "unknown"
	}
	s.levels = append(s.levels, level)
}

func (s *census) ATT(c *Connection, from Side, _ []byte) {
	if from == UnknownSide {
		s.t.Errorf("packet %d: of nobody", s.packet)
	}
	if c.Security.Encrypted {
		s.after = append(s.after, s.packet)
	} else {
		s.before = append(s.before, s.packet)
	}
}

func (s *census) Odd(_ *Connection, o Oddity) {
	names := [...]string{
		"", "ZeroKey", "EncryptionWithoutKey", "EncryptionBeforeCheck", "KeySizeOutOfRange", "InvalidLLID", "TruncatedL2CAP",
		"RequestsOutstanding", "DataDuringEncryption", "StaticKey", "ReflectedPublicKey", "InvalidPublicKey", "DebugKey",
	}
	s.odd = append(s.odd, names[o])
	s.passed[s.packet] = true
}

func (s *census) Malformed(*Connection, Side, error) { s.passed[s.packet] = true }

func words(s []string) string {
	s = slices.Clone(s)
	slices.Sort(s)
	return strings.Join(slices.Compact(s), " ")
}

func (s *census) pairing() string {
	p := s.furthest
	if p.State == NoPairing {
		return ""
	}
	kind := "legacy"
	if p.SecureConnections {
		kind = "SC"
	}
	state := map[PairingState]string{Answered: "answered", Confirming: "confirming", Agreed: "agreed", Encrypted: "encrypted", Done: "done"}[p.State]
	return fmt.Sprintf("%s %s %d %s%s", p.Method, kind, p.KeySize, state, flag(p.KeysReadable, " readable"))
}

// TestShared compares what is said of every capture with the manifest, and with
// tshark which packets hold a PDU of ATT.
func TestShared(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join(sharedCaptures, "MANIFEST.tsv"))
	if err != nil {
		t.Skip("the captures beside the project are not there: ", err)
	}
	listed := map[string][]string{}
	for line := range strings.Lines(string(manifest)) {
		if cols := strings.Split(line, "\t"); len(cols) >= 4 && cols[0] != "file" {
			listed[cols[0]] = cols
		}
	}
	file, err := os.Open(filepath.Join(sharedCaptures, "bluez-magic.btsnoop"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := capture.NewReader(file); !errors.Is(err, capture.ErrFormat) || !strings.Contains(err.Error(), "text, which") {
		t.Errorf("bluez-magic.btsnoop: %v, want a refusal, and why", err)
	}
	t.Logf("%-52s %-28s %5s %-40s %-10s %5s %5s %s", "bluez-magic.btsnoop", "refused: text", "", "", "", "", "", "")
	delete(listed, "bluez-magic.btsnoop")

	for _, tt := range shared {
		row := listed[tt.file]
		delete(listed, tt.file)
		if row == nil {
			t.Errorf("%s: not in the manifest", tt.file)
			continue
		}
		s := census{t: t, passed: map[uint64]bool{}}
		f := NewFollower(&s)
		packets, link := follow(t, f, &s, tt.file)
		if !strings.Contains(row[1], tt.link) || !strings.Contains(map[wire.LinkType]string{h4: "btsnoop H4", phdr: "201", radio: "256", nordic: "272", wire.LinkPPI: "192"}[link], tt.link) {
			t.Errorf("%s: link type %d, the manifest says %s", tt.file, link, row[1])
		}
		if strconv.FormatUint(packets, 10) != row[2] {
			t.Errorf("%s: %d packets, the manifest says %s", tt.file, packets, row[2])
		}
		got := fmt.Sprintf("%d connections, %d, %s, level %s, %d and %d PDUs, %s", s.connections, s.peripheral, s.pairing(), words(s.levels), len(s.before), len(s.after), words(s.odd))
		want := fmt.Sprintf("%d connections, %d, %s, level %s, %d and %d PDUs, %s", tt.connections, tt.peripheral, tt.pairing, tt.levels, tt.before, tt.after, tt.odd)
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.file, got, want)
		}
		if s.disconnected != s.connections {
			t.Errorf("%s: %d connections end of %d", tt.file, s.disconnected, s.connections)
		}
		t.Logf("%-52s %-28s %5d %-40s %-10s %5d %5d %s", tt.file, capture.LinkName(link), s.connections, s.pairing(), words(s.levels), len(s.before), len(s.after), words(s.odd))
		compareATT(t, tt.file, &s)
	}
	for file := range listed {
		t.Errorf("%s: in the manifest, and not in the table", file)
	}
}

// follow lets f follow a file. The packets that say nothing new are s.passed.
func follow(t *testing.T, f *Follower, s *census, name string) (packets uint64, link wire.LinkType) {
	t.Helper()
	file, err := os.Open(filepath.Join(sharedCaptures, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := capture.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var frame capture.Frame
	var p Packet
	for err = r.ReadFrame(&frame); err == nil; err = r.ReadFrame(&frame) {
		s.packet = frame.Packet
		packets, link = frame.Packet, frame.Link
		p.Decode(frame.Link, frame.Flags, frame.Data)
		// Those of SweynTooth are the log of a tool that writes any CRC.
		if strings.HasPrefix(name, "tesi-") && p.Kind == LLAdvertising && p.CRC == GoodCRC && p.check(advertisingCRC) == BadCRC {
			t.Errorf("%s: packet %d: the sniffer finds the CRC right", name, frame.Packet)
		}
		before := f.Stats()
		f.Packet(1, &p, frame.Time)
		after := f.Stats()
		if after.BadCRC+after.Repeated+after.Unreadable+after.Lost != before.BadCRC+before.Repeated+before.Unreadable+before.Lost {
			s.passed[frame.Packet] = true
		}
	}
	if err != io.EOF {
		t.Errorf("%s: %v", name, err)
	}
	f.Flush()
	return packets, link
}

// compareATT compares which packets have a PDU of ATT with what tshark finds.
// tshark shows what was sent again, what the air changed and what is no PDU.
func compareATT(t *testing.T, file string, s *census) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		return
	}
	// What PPI carries as user 0 it has to be told.
	out, err := exec.CommandContext(t.Context(), tshark, "-n", "-o", `uat:user_dlts:"User 0 (DLT=147)","btle","0","","0",""`,
		"-r", filepath.Join(sharedCaptures, file), "-Y", "btatt", "-T", "fields", "-e", "frame.number").Output()
	if err != nil {
		t.Errorf("%s: tshark: %v", file, err)
		return
	}
	ours := slices.Concat(s.before, s.after)
	slices.Sort(ours)
	theirs, passed := 0, 0
	for line := range strings.Lines(string(out)) {
		theirs++
		n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if i, ok := slices.BinarySearchFunc(ours, n, cmp.Compare[uint64]); ok {
			ours = slices.Delete(ours, i, i+1)
		} else if s.passed[n] {
			passed++
		} else {
			t.Errorf("%s: tshark has a PDU in packet %d", file, n)
		}
	}
	for _, n := range ours {
		t.Errorf("%s: tshark has no PDU in packet %d", file, n)
	}
	t.Logf("%-52s tshark: %d PDUs, of which %d were sent again, changed on the air, or are none", "", theirs, passed)
}

// A reconnection in one file has the level of the pairing in another: crackle's
// second example is encrypted with the key that its first distributes.
func TestSharedBond(t *testing.T) {
	if _, err := os.Stat(sharedCaptures); err != nil {
		t.Skip("the captures beside the project are not there: ", err)
	}
	s := census{t: t, passed: map[uint64]bool{}}
	f := NewFollower(&s)
	follow(t, f, &s, "crackle-01-decrypted.pcap")
	follow(t, f, &s, "crackle-02-decrypted.pcap")
	if !slices.Equal(s.levels, []string{"2", "2"}) || len(s.after) != 5 {
		t.Errorf("levels %v, %d PDUs behind encryption", s.levels, len(s.after))
	}
}
