// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

const goodFront = `guard: 1
front:
  name: radio
  kind: coap
  device: device-7
  protects: server
  listen: 127.0.0.1:5683
  forward: 127.0.0.1:7000
  bypass: the wand
  key: guard.key
  trust: [trust.json]
  inside: {carrier: udp, dialect: okapi-classic, address: 0x3b1f06, topology: sole-path, secret: secret}
`

// TestRead: every wrong value is named with its line and column.
func TestRead(t *testing.T) {
	w := newWorld(t, classic)
	w.write("others.key", w.guardKey.AppendSecret(nil))
	w.write("short", []byte("abcd"))
	if err := os.Chmod(filepath.Join(w.dir, "others.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ from, to, want string }{
		{"", "", ""},
		{"protects: server", "protects: client", "11:10: trust is of protects: server"},
		{"trust: [trust.json]", "trust: [trust.json]\n  resources: [{path: /x}]", "12:14: resources is of protects: client"},
		{"carrier: udp", "carrier: udp, from: [127.0.0.1]", "from is of protects: client"},
		{"bypass: the wand", "bypass: the wand\n  mode: observe", "10:9: a coap front has nothing to observe"},
		{"key: guard.key", "key: nowhere.key", "10:8: key cannot be used: no such file"},
		{"key: guard.key", "key: others.key", "10:8: key cannot be used: others may read it (mode 0644)"},
		{"key: guard.key", "key: trust.json", "10:8: key cannot be used: "},
		{"trust: [trust.json]", "trust: [secret]", "11:11: trust cannot be used: "},
		{"  trust: [trust.json]\n", "", "3:3: front lacks the key trust"},
		{"secret: secret", "secret: short", ": secret cannot be used: a secret has 16 bytes"},
		{"okapi-classic", "okapi-nothing", "12:35: no dialect of this name"},
		{"okapi-classic", "trust.json.yaml", "12:35: dialect cannot be used: no such file"},
		{", address: 0x3b1f06", "", "12:11: inside lacks the key address"},
		{"0x3b1f06", "many", "address has to be a whole number"},
		{"topology: sole-path", "topology: alone", "topology cannot be"},
		{", topology: sole-path", "", "inside lacks the key topology"},
		{"carrier: udp", "carrier: pigeon", "12:21: carrier"},
		{"carrier: udp", "carrier: serial", "12:11: inside lacks the key path"},
		{"carrier: udp", "carrier: serial, path: /dev/null", "8:12: the device is at the path"},
		{"carrier: udp", "carrier: udp, path: /dev/null", "a path is for carrier"},
		{"  forward: 127.0.0.1:7000\n", "", "front lacks the key forward"},
		{"carrier: udp", "carrier: udp, answer-within: 9s", "answer-within has to be a time from 50ms to 8s"},
		{"carrier: udp", "carrier: udp, rate: nothing", "rate has to be a field of what the device says"},
		{"carrier: udp", "carrier: udp, therapy: pacing", "leave therapy out"},
		{"dialect: okapi-classic, address: 0x3b1f06", "therapy: insulin", "no such therapy"},
		{"dialect: okapi-classic, address: 0x3b1f06", "therapy: insulin infusion, rate: basal", "rate is of a dialect"},
		{"bypass: the wand", "bypass: the wand\n  wake-ups: {peer: 0}", "peer has to be a whole number from 1 to 600"},
		{"bypass: the wand", "bypass: the wand\n  break-glass: {window: 5h}", "window has to be a time from 1m0s to 4h0m0s"},
		{"bypass: the wand", "bypass: the wand\n  break-glass: {approvals: 0}", "approvals has to be a whole number from 1 to 8"},
		{"bypass: the wand", "bypass: the wand\n  colour: red", "front has no key"},
		{"listen: 127.0.0.1:5683", "listen: {address: 127.0.0.1:5683, tls: {certificate: a, key: b}}", "7:"},
	} {
		src := strings.Replace(goodFront, test.from, test.to, 1)
		file := filepath.Join(w.dir, "other.yaml")
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := readPolicy(file)
		if test.want == "" {
			if err != nil || p.answer != 2*time.Second || p.quorum != 2 || len(p.anchors) != 3 {
				t.Errorf("%+v, %v", p, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q for %q: %v, without %q", test.to, test.from, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "3b1f06") || strings.Contains(err.Error(), "abcd")) {
			t.Errorf("the error tells a secret or an address: %v", err)
		}
	}
}

// TestReadCalls: the same of a front before a client.
func TestReadCalls(t *testing.T) {
	w := newWard(t)
	good := fmt.Sprintf(clientLines, "127.0.0.1:5683", "127.0.0.1:5684")
	for _, test := range []struct{ from, to, want string }{
		{"", "", ""},
		{"{path: /telemetry}", "{path: telemetry}", "14:14: path has to begin with a slash"},
		{"{path: /telemetry}", "{path: /alarm}", "15:14: there is a resource"},
		{"observe: true", "observe: true, commands: true", "16:52: a notification may be kept back and come late"},
		{"formats: [60], commands: true", "formats: [50], commands: true", "17:7: commands are read in content format 60 alone"},
		{"formats: [60], commands: true", "commands: true", "17:7: commands are read in content format 60 alone"},
		{"formats: [0, 60]", "formats: [70000]", "16:35: formats has to be a whole number from 0 to 65535"},
		{", role: clinician", "", "12:11: server lacks the key role: there are commands"},
		{"role: clinician", "role: king", "12:39: role has to be one of"},
		{"key: server.key.pub", "key: nowhere", "12:17: key cannot be used: no such file"},
		{"  server: {key: server.key.pub, role: clinician}\n", "", "lacks the key server"},
		{"forward: 127.0.0.1:5684", "forward: {address: 127.0.0.1:5684, tls: {name: x}}", "8:12: EDHOC and OSCORE protect this front"},
		{"  forward: 127.0.0.1:5684\n", "", "lacks the key forward"},
		{"from: [127.0.0.1]", "from: [device.ward]", "18:19: from has to be an IP address"},
		{"from: [127.0.0.1], ", "", "inside lacks the key from"},
		{"key: guard.key", "key: guard.key\n  from: [127.0.0.1]", "12:9: from stands in inside here"},
		{"therapy: insulin infusion, ", "", "inside lacks the key therapy"},
		{"therapy: insulin infusion", "dialect: okapi-classic", "18:40: a dialect lays out what a radio tells its device"},
		{"therapy: insulin infusion", "therapy: insulin infusion, carrier: serial", "18:67: a device that calls does so over udp"},
		{"therapy: insulin infusion", "therapy: insulin infusion, carrier: udp", ""},
		{"therapy: insulin infusion", "therapy: insulin infusion, secret: secret", "18:66: a secret is of a device that listens"},
		{"therapy: insulin infusion", "therapy: insulin infusion, rate: basal", "18:64: rate is of protects: server"},
		{"key: guard.key", "key: guard.key\n  wake-ups: {peer: 1}", "12:13: wake-ups is of protects: server"},
		{"bypass: the wand in room 4", "bypass: the wand in room 4\n  mode: observe", "a coap front has nothing to observe"},
	} {
		file := w.write("other.yaml", []byte(strings.Replace(good, test.from, test.to, 1)))
		p, err := readPolicy(file)
		if test.want == "" {
			if err != nil || p.Server || p.calls == nil || p.calls.role != device.Clinician || len(p.calls.resources) != 4 {
				t.Errorf("%q: %+v, %v", test.to, p, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q for %q: %v, without %q", test.to, test.from, err, test.want)
		}
	}
}

// TestUpdate: another policy holds for what is begun from then on, and drops no session.
func TestUpdate(t *testing.T) {
	w := newWorld(t, classic)
	nurse, patient := w.connect("nurse"), w.connect("patient")
	nurse.order(protocol.Changed, device.DeliverBolus, "1 [iU]", "")
	file := filepath.Join(w.dir, "guard.yaml")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// One key is revoked.
	k := w.holders["patient"]
	if err := w.authority.RevokeKey(k.Thumbprint()); err != nil {
		t.Fatal(err)
	}
	list, err := w.authority.List(time.Now().Unix())
	if err != nil {
		t.Fatal(err)
	}
	w.write("revoked.cwt", list)
	more := strings.Replace(string(src), "  key: guard.key", "  revoked: [revoked.cwt]\n  wake-ups: {peer: 2}\n  key: guard.key", 1)
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := readPolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	w.front.Update(p)
	nurse.order(protocol.Changed, device.DeliverBolus, "1 [iU]", "")
	patient.order(protocol.Forbidden, device.CancelBolus, "", "")
	// Another key needs a restart: the old one is still whom the front is.
	w.guardKey2()
	if p, err = readPolicy(file); err != nil {
		t.Fatal(err)
	}
	w.front.Update(p)
	nurse.order(protocol.Changed, device.CancelBolus, "", "")
	w.connect("nurse")
}

// guardKey2 replaces the file of the guard's key.
func (w *world) guardKey2() {
	k := newKey(w.t, "")
	w.write("guard.key", k.AppendSecret(nil))
}

// TestBudget holds the budget of wake-ups at its edge.
func TestBudget(t *testing.T) {
	var b budget
	now := time.Now()
	for i := range 13 {
		if got := b.spend(12, now); got != (i < 12) {
			t.Errorf("%d: %v", i, got)
		}
	}
	if b.spend(12, now.Add(5*time.Second-time.Millisecond)) {
		t.Error("one before its time")
	}
	if !b.spend(12, now.Add(5*time.Second+time.Millisecond)) {
		t.Error("none at its time")
	}
	if b.spend(12, now.Add(-time.Hour)) {
		t.Error("one of a clock that went back")
	}
}

// section makes a file of a front as a list in a file has it.
func section(lines string) string {
	src := "guard: 1\nfront:\n"
	for line := range strings.Lines(lines) {
		line = strings.TrimPrefix(line, "    ")
		if strings.HasPrefix(line, "  - ") {
			line = "    " + line[4:]
		}
		src += strings.TrimPrefix(line, "  ")
	}
	return src
}

// TestDocumentation reads the examples that the documentation has.
func TestDocumentation(t *testing.T) {
	doc, err := os.ReadFile("../../docs/guard-coap.md")
	if err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile("../../examples/guard/calls.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, classic)
	k := w.holders["nurse"]
	w.write("prog-1.key.pub", k.AppendPublic(nil))
	w.write("monitor.key.pub", k.AppendPublic(nil))
	w.write("hub-front.key", w.guardKey.AppendSecret(nil))
	w.write("radio.secret", []byte(strings.Repeat("0a", secretBytes)))
	w.write("revoked.cwt", nil)
	read := func(text, before string) *Policy {
		t.Helper()
		_, example, ok := strings.Cut(text, before)
		example, _, _ = strings.Cut(example, "\n\n")
		if !ok {
			t.Fatal("no example")
		}
		src := section(strings.ReplaceAll(example, "clinic/", "") + "\n")
		p, err := readPolicy(w.write("doc.yaml", []byte(src)))
		if err != nil {
			t.Fatalf("%v in\n%s", err, src)
		}
		return p
	}
	if p := read(string(doc), "    fronts:\n"); p.dialect.Name != "halden-mics" || p.state != "mode" || p.quorum != 2 || p.window != 30*time.Minute || p.bypassed {
		t.Errorf("%+v", p)
	}
	_, calling, _ := strings.Cut(string(doc), "## A device that calls")
	indented := strings.ReplaceAll(string(sample), "\n", "\n    ")
	for _, p := range []*Policy{read(calling, "is one to begin with.\n\n"), read(indented, "    fronts:\n")} {
		if p.calls.role != device.Controller || len(p.calls.resources) != 4 || !p.calls.at("/alarms").alarms || !p.calls.at("/orders").commands || p.bypassed {
			t.Errorf("%+v", p)
		}
	}
}
