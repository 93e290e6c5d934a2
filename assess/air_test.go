// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/ble"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
)

// radioCaptures is the folder of real Bluetooth captures beside the project.
// They are of real people's devices: a test prints kinds and counts of what they
// hold, and no names.
const radioCaptures = "../../shared/captures-ble"

// onTheRadio is what assess has to say of each: MANIFEST.tsv's verdicts and, of
// what these leave open, what the packets show.
var onTheRadio = []struct {
	file     string
	pairing  string // method, legacy or SC, key size and level of the pairings that encrypted; of those that failed nothing
	levels   string // the lowest at which something of value went over each connection with ATT; 0 is encrypted, level unknown
	services string // medical, with what was done in them
	findings string // all of them, and no others
	why      string
}{
	{
		"tandem-pump-btsnoop-2023.log", "", "0", "Tandem pump: opaque value, opaque write, subscription",
		"ble-trackable-address",
		"three reconnections with a stored key and a fourth without ATT: how the key came about is not in the log, and what goes over the link the vendor seals",
	},
	{
		"tesi-fascia_cardio.pcapng", "", "1", "Heart Rate: description, notify, subscription",
		"ble-medical-service-unencrypted ble-trackable-address phi-in-clear",
		"the pulse from packet 2101 on and the system ID in 2139, in clear, from a public address; the profile asks a strap that does not bond for nothing",
	},
	{"tesi-Lv4_JW.pcapng", "Just Works SC 16 level 2", "1", "", "", "a lamp and a button: not medical, though it refuses a write in 1306 until it is paired"},
	{"tesi-mouse.pcapng", "Just Works legacy 16 level 2", "1", "", "", "a mouse; what says who made it goes over in clear before it is paired"},
	{
		"ec521-btsnoop.log", "Just Works legacy 16 level 2", "2", "",
		"ble-pairing-just-works ble-pairing-legacy ble-trackable-address",
		"the band has a Heart Rate service and is taken for what it says it is; nothing of it goes over in clear",
	},
	{"wban-btsnoop.log", "", "1", "", "", "a vendor's services alone: what the bytes mean nobody can tell"},
	{"airbily-smartwatch.pcapng", "", "1", "", "", "a vendor's service of a watch: worn, but not medical"},
	{"dsd6-c-btsnoop.log", "", "1", "", "", "a vendor's service of a wristband: worn, but not medical"},
	{"crackle-01-legacy-pairing-ltk.pcap", "Just Works legacy 16 level 2", "", "", "", "not medical; behind the pairing it is ciphertext"},
	{"crackle-01-decrypted.pcap", "Just Works legacy 16 level 2", "", "", "", "its key can be read, but nothing shows a medical device"},
	{"crackle-02-known-ltk-encrypted.pcap", "", "", "", "", "ciphertext"},
	{"crackle-02-decrypted.pcap", "", "0", "", "", "the device's name, under a stored key"},
	{"crackle-04-le-secure-connections.pcapng", "Just Works SC 16 level 2", "2", "", "", "discovery in clear, and nothing of value"},
	{
		"sweyn-stm-sequential_att_deadlock.pcap", "Just Works SC 16 level 2", "2", "Blood Pressure: opaque write",
		"ble-encryption-skipped(CVE-2019-19192) ble-pairing-just-works ble-trackable-address",
		"a cuff, by its service; that the keys can be read shows that the attacker wrote the capture, not that a listener could",
	},
	{
		"sweyn-microchip_ATSAMB11_invalid_fragment.pcap", "", "1", "",
		"ble-encryption-skipped(CVE-2019-17517,CVE-2019-19195) ble-trackable-address",
		"a cuff; of its service only discovery was in clear",
	},
	{
		"sweyn-nxp_unexpected_encryption_start.pcapng", "", "1 2", "",
		"ble-encryption-skipped(CVE-2019-19194) ble-trackable-address",
		"a pulse sensor; encryption in 62 without the proof of a key, of which level 2 is the most that can be had",
	},
	{"sweyn-telink_key_overflow.pcap", "", "1", "", "ble-encryption-skipped(CVE-2019-19196)", "a key of 253 octets, but no medical device: no finding of its key"},
	{"sweyn-telink_zero_ltk_installation.pcap", "", "2", "", "ble-encryption-skipped(CVE-2019-19194)", "encryption in 173, of a Secure Connections pairing that had only begun"},
	{"sweyn-cc2640_dhcheck_skip.pcap", "", "2", "", "ble-encryption-skipped(CVE-2020-13593)", "encryption in 44 without the DHKey checks"},
	{
		"sweyn-cypress_psoc6_crash_llid.pcapng", "Just Works legacy 16 level 2", "1 2", "",
		"ble-encryption-skipped(CVE-2019-17060,CVE-2019-17061) ble-encryption-skipped(CVE-2019-17517,CVE-2019-19195) ble-encryption-skipped(CVE-2019-19192) " +
			"ble-encryption-skipped(CVE-2019-19194) ble-encryption-skipped(CVE-2019-19196) malformed-message",
		"a fuzzer's log: all at once, keys of zeros handed over included; no medical device",
	},
	{"sweyn-dialog_truncated_l2cap_crash.pcap", "", "1", "", "ble-encryption-skipped(CVE-2019-17517,CVE-2019-19195)", "packet 68"},
	{
		"sweyn-telink_respond_data_during_encryption.pcapng", "Just Works legacy 16 level 2", "1 2", "",
		"ble-encryption-skipped ble-encryption-skipped(CVE-2019-17060,CVE-2019-17061)",
		"data while encryption starts and encryption of a legacy pairing without a key have no CVE",
	},
	{"catsniffer-sonoff-matter.pcapng", "", "1", "", "", "Matter protects what it sends itself, and is not medical"},
	{"a2dp-classic-btsnoop.log", "", "", "", "", "BR/EDR"},
}

// TestRadioCaptures compares what is said of every Bluetooth capture with the
// table: no finding is missing, and none is made.
func TestRadioCaptures(t *testing.T) {
	manifest, err := os.Open(filepath.Join(radioCaptures, "MANIFEST.tsv"))
	if err != nil {
		t.Skip("the captures beside the project are not there: ", err)
	}
	defer manifest.Close()
	listed := map[string]bool{}
	for lines := bufio.NewScanner(manifest); lines.Scan(); {
		if cols := strings.Split(lines.Text(), "\t"); len(cols) > 3 && cols[0] != "file" {
			listed[cols[0]] = true
		}
	}
	refused := assessFile(t, filepath.Join(radioCaptures, "bluez-magic.btsnoop"))
	if len(refused.Inputs) != 1 || !strings.Contains(refused.Inputs[0].Error, "text, which begins neither like") {
		t.Errorf("bluez-magic.btsnoop is to be refused with a reason: %+v", refused.Inputs)
	}
	delete(listed, "bluez-magic.btsnoop")
	for _, want := range onTheRadio {
		if !listed[want.file] {
			t.Errorf("%s: not in the manifest", want.file)
		}
		delete(listed, want.file)
		var pairings, levels []string
		services := map[string][]string{}
		a, err := Run(context.Background(), []string{filepath.Join(radioCaptures, want.file)}, Config{Record: func(e *event.Event) error {
			level := e.Int(event.Level)
			switch e.Kind {
			case event.PairingSeen:
				if event.Result(e.Int(event.Outcome)) == event.Succeeded {
					kind := "SC"
					if e.Int(event.LegacyPairing) != 0 {
						kind = "legacy"
					}
					pairings = append(pairings, fmt.Sprintf("%s %s %d level %d", e.Text(event.PairingMethod), kind, e.Int(event.KeySize), level))
				}
			case event.LinkSeen:
				levels = append(levels, fmt.Sprint(level))
			case event.AttributeUsed:
				services[e.Text(event.Service)] = append(services[e.Text(event.Service)], e.Text(event.Operation))
			}
			return nil
		}})
		if err != nil || len(a.Inputs) != 1 || a.Inputs[0].Error != "" {
			t.Errorf("%s: %v, %+v", want.file, err, a.Inputs)
			continue
		}
		var used, found []string
		for s, operations := range services {
			slices.Sort(operations)
			used = append(used, s+": "+strings.Join(slices.Compact(operations), ", "))
		}
		for i := range a.Findings {
			f := &a.Findings[i]
			name := f.Kind.String()
			if f.Kind == finding.BLEEncryptionSkipped && len(f.CVE) > 0 {
				name += "(" + strings.Join(f.CVE, ",") + ")"
			}
			found = append(found, name)
		}
		set := func(words []string, between string) string {
			words = slices.Sorted(slices.Values(words))
			return strings.Join(slices.Compact(words), between)
		}
		speaks := slices.ContainsFunc(a.Sessions, func(s report.Session) bool { return s.Protocol == "gatt" })
		if speaks != (want.levels != "") {
			t.Errorf("%s: attributes %v", want.file, speaks)
		}
		t.Logf("%-50s %-30s levels %-4s %s", want.file, set(pairings, "; "), set(levels, " "), set(used, "; "))
		t.Logf("%-50s   %s", "", set(found, " "))
		t.Logf("%-50s   %s", "", want.why)
		for _, c := range [...]struct{ what, got, want string }{
			{"pairing", set(pairings, "; "), want.pairing},
			{"levels", set(levels, " "), want.levels},
			{"services", set(used, "; "), want.services},
			{"findings", set(found, " "), want.findings},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s:\n got %s\nwant %s", want.file, c.what, c.got, c.want)
			}
		}
	}
	for file := range listed {
		t.Errorf("%s: in the manifest, and not in the table", file)
	}
}

// TestDiscoveredLater holds that a handle is known in what was written down
// before somebody discovered it, in another file or in the same, whatever the
// order of the arguments, and that every event is recorded once.
func TestDiscoveredLater(t *testing.T) {
	pump := ble.Address{Bytes: [6]byte{0xc0, 0, 0x5e, 0, 0x53, 1}, Kind: ble.StaticRandom}
	e := newEther(t)
	begin := func(handle uint16) {
		e.event(ble.Event{Code: ble.EventLEConnectionComplete, Handle: handle, Local: ble.Central, Peer: pump, Interval: 24, Timeout: 500})
	}
	say := func(handle uint16, received bool, pdu ...byte) {
		flags := 0
		if received {
			flags = 1
		}
		e.hci(flags, ble.AppendACL([]byte{ble.H4ACL}, handle, true, received, ble.AppendL2CAP(nil, ble.CIDATT, pdu)))
	}
	doses := func() {
		begin(0x40)
		say(0x40, false, 0x12, 0x23, 0, 0x8d, 0x14, 0x19, 0) // Set Max Bolus Amount, 25 IU
		say(0x40, true, 0x13)
		e.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: 0x40, Reason: 0x13})
	}
	discovers := func() {
		begin(0x41)
		say(0x41, false, 0x10, 0x20, 0, 0xff, 0xff, 0, 0x28)
		say(0x41, true, 0x11, 6, 0x20, 0, 0x2f, 0, 0x3a, 0x18)
		say(0x41, false, 0x08, 0x20, 0, 0x2f, 0, 3, 0x28)
		say(0x41, true, 0x09, 7, 0x22, 0, 0x28, 0x23, 0, 0x25, 0x2b)
		e.event(ble.Event{Code: ble.EventDisconnectionComplete, Handle: 0x41, Reason: 0x13})
	}
	dir := t.TempDir()
	save := func(name string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, e.phone, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	doses()
	before := save("before.btsnoop")
	discovers()
	both := save("both.btsnoop")
	header := e.phone[:16:16]
	e.phone = header
	discovers()
	after := save("after.btsnoop")

	run := func(jobs int, record func(*event.Event) error, files ...string) *report.Assessment {
		a, err := Run(context.Background(), files, Config{Jobs: jobs, Record: record})
		if err != nil || damaged(a) {
			t.Fatal(err, a.Inputs)
		}
		a.Stats.Seconds = 0
		return a
	}
	orders := func(a *report.Assessment) (n int) {
		for i := range a.Findings {
			if f := &a.Findings[i]; f.Kind == finding.TherapyLimitLoosened || f.Kind == finding.TherapyCommandUnauthenticated {
				if s := f.Sightings[0]; s.Packet != 2 || f.Confidence < device.Medium {
					t.Errorf("%v %v at packet %d", f.Kind, f.Confidence, s.Packet)
				}
				n++
			}
		}
		return n
	}
	if n := orders(run(1, nil, before)); n != 0 {
		t.Fatalf("%d findings of commands without a discovery", n)
	}
	same := run(1, nil, both)
	if n := orders(same); n == 0 {
		t.Error("in the same file: no finding of a command")
	}
	want := run(1, nil, before, after)
	if n := orders(want); n != orders(same) {
		t.Errorf("in another file: %d findings of commands", n)
	}
	commands := 0
	for _, jobs := range []int{1, 2, 4} {
		for _, files := range [][]string{{before, after}, {after, before}} {
			if d := cmp.Diff(want, run(jobs, nil, files...)); d != "" {
				t.Errorf("%d workers, %v:\n%s", jobs, files, d)
			}
		}
	}
	run(1, func(e *event.Event) error {
		if e.Kind == event.CommandSeen {
			commands++
		}
		return nil
	}, before, after)
	if commands != 1 {
		t.Errorf("the command was recorded %d times", commands)
	}
}
