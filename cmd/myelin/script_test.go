// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"myelin": main, "myelin-peak": peaking, "myelin-record": recording})
}

// TestScript plays the stories of testdata/script. Beside testscript's own
// commands there are:
//
//	capture FILE  makes a capture in which the hospital information system
//	              tells gw-icu of Anna Lindqvist, in clear
//	cut FILE N    takes N bytes off the end
//	pack FILE     makes FILE.gz
//	exits N COMMAND...  runs a command that has to exit with N
//	port VAR           sets VAR to an address that nothing listens on
//	answering ADDR     waits until something answers CoAP there
//	relay VAR ADDR     passes datagrams on to ADDR, from an address set in VAR
//	replay ADDR        passes all on again that came to a relay
//	log URL FLAGS...   prints all of a device's log, page by page
//	count N PATTERN    wants N lines of the last log to match
//	kept FILE          wants the last output to have each entry that FILE says was recorded
//	depot FILE KEY HOSPITAL VERSION N DIR  offers the release in DIR to the device $DEVICE, whose
//	                   public key KEY is, and puts its address in $SERVER, and for SERVER in FILE unless that is -
//	flip FILE N        flips a bit of byte N
//	first DIR ROLE VAR sets VAR to the id of the first key of a role of a repository of updates
//
// $WARD is the sample ward, $EXAMPLES are the examples, and text is 100 columns wide.
func TestScript(t *testing.T) {
	ward, err := filepath.Abs("../../testdata/ward")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("WARD", ward)
			e.Setenv("EXAMPLES", filepath.Join(ward, "../../examples"))
			e.Setenv("COLUMNS", "100") // of text
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"port":      scriptPort,
			"answering": scriptAnswering,
			"relay":     scriptRelay,
			"replay":    scriptReplay,
			"log":       scriptLog,
			"kept":      scriptKept,
			"flip":      scriptFlip,
			"first":     scriptFirst,
			"depot":     scriptDepot,
			"count":     scriptCount,
			"capture": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(writeCapture(ts.MkAbs(args[0])))
			},
			"cut": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				b, err := os.ReadFile(ts.MkAbs(args[0]))
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b[:len(b)-n], 0o600))
			},
			"pack": func(ts *testscript.TestScript, _ bool, args []string) {
				b, err := os.ReadFile(ts.MkAbs(args[0]))
				ts.Check(err)
				var packed bytes.Buffer
				w := gzip.NewWriter(&packed)
				_, err = w.Write(b)
				ts.Check(errors.Join(err, w.Close()))
				ts.Check(os.WriteFile(ts.MkAbs(args[0])+".gz", packed.Bytes(), 0o600))
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if strconv.Itoa(got) != args[0] {
					ts.Fatalf("exit status %d, want %s", got, args[0])
				}
			},
		},
	})
}

// writeCapture writes one conversation of HL7 v2 over MLLP: an admission and
// its acknowledgement, 7 packets.
func writeCapture(file string) error {
	var b bytes.Buffer
	w, err := capture.NewWriter(&b, wire.LinkRaw)
	if err != nil {
		return err
	}
	const (
		admission = "\x0bMSH|^~\\&|EHR|ADA|GW|ADA|20260303070000||ADT^A01|M1|P|2.6\r" +
			"PID|1||4711-0815^^^ADA^MR||Lindqvist^Anna||19520417|F|||Birkenweg 3^^Adastadt\r\x1c\r"
		answer = "\x0bMSH|^~\\&|GW|ADA|EHR|ADA|20260303070001||ACK^A01|A1|P|2.6\rMSA|AA|M1\r\x1c\r"
	)
	ends := [2]struct {
		ip   [4]byte
		port uint16
		seq  uint32
	}{{[4]byte{10, 20, 1, 5}, 40001, 1000}, {[4]byte{10, 20, 3, 10}, 24000, 2000}}
	now := time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC)
	for _, s := range []struct {
		from    int
		flags   byte
		payload string
	}{
		{0, wire.SYN, ""},
		{1, wire.SYN | wire.ACK, ""},
		{0, wire.ACK, ""},
		{0, wire.ACK | wire.PSH, admission},
		{1, wire.ACK | wire.PSH, answer},
		{0, wire.ACK | wire.FIN, ""},
		{1, wire.ACK | wire.FIN, ""},
	} {
		from, to := &ends[s.from], &ends[1-s.from]
		p := make([]byte, 40, 40+len(s.payload))
		p[0], p[8], p[9] = 0x45, 64, wire.ProtoTCP
		binary.BigEndian.PutUint16(p[2:], uint16(40+len(s.payload)))
		copy(p[12:], from.ip[:])
		copy(p[16:], to.ip[:])
		binary.BigEndian.PutUint16(p[20:], from.port)
		binary.BigEndian.PutUint16(p[22:], to.port)
		binary.BigEndian.PutUint32(p[24:], from.seq)
		binary.BigEndian.PutUint32(p[28:], to.seq)
		p[32], p[33] = 5<<4, s.flags
		p = append(p, s.payload...)
		from.seq += uint32(len(s.payload))
		if s.flags&(wire.SYN|wire.FIN) != 0 {
			from.seq++
		}
		now = now.Add(time.Millisecond)
		if err := w.WriteFrame(&capture.Frame{Data: p, Time: now.UnixNano(), OrigLen: len(p), Link: wire.LinkRaw}); err != nil {
			return err
		}
	}
	return os.WriteFile(file, b.Bytes(), 0o600)
}

// TestHelp holds every verb's help to a screen of 80 columns and 40 lines, and to an example that begins
// as the verb does.
func TestHelp(t *testing.T) {
	verbs := [][]string{{}, {"assess"}, {"sense"}, {"affected"}, {"report"}, {"kinds"}, {"sim"}, {"sim", "ward"}, {"link"}, {"link", "edhoc-peer"}, {"link", "keygen"}, {"link", "enrol"}, {"link", "issue"}, {"link", "approve"}, {"link", "revoke"}, {"link", "show"}, {"link", "get"}, {"link", "observe"}, {"link", "command"}, {"link", "oscore-peer"}, {"sim", "implant"}, {"sim", "legacy"}, {"drill"}, {"guard"}, {"guard", "run"}, {"guard", "check"}, {"guard", "learn"}, {"guard", "explain"}, {"guard", "passwd"}, {"guard", "settle"}, {"ledger"}, {"ledger", "verify"}, {"ledger", "show"}, {"ledger", "export"}, {"ledger", "prove"}, {"ledger", "witness"}, {"ledger", "key"}, {"patch"}, {"patch", "manifest"}, {"patch", "manifest", "make"}, {"patch", "manifest", "sign"}, {"patch", "manifest", "show"}, {"patch", "manifest", "verify"}, {"patch", "diff"}, {"patch", "apply"}, {"patch", "show"}, {"patch", "init"}, {"patch", "key"}, {"patch", "key", "new"}, {"patch", "key", "list"}, {"patch", "key", "sign"}, {"patch", "key", "rotate"}, {"patch", "key", "renew"}, {"patch", "key", "delegate"}, {"patch", "key", "revoke"}, {"patch", "release"}, {"patch", "release", "add"}, {"patch", "assign"}, {"patch", "publish"}, {"patch", "export"}, {"patch", "import"}, {"patch", "assigned"}, {"patch", "offer"}, {"patch", "tuf-client"}, {"patch", "rollout"}, {"patch", "rollout", "list"}, {"patch", "rollout", "show"}, {"patch", "rollout", "devices"}, {"patch", "rollout", "events"}, {"patch", "rollout", "orders"}, {"patch", "rollout", "release"}, {"patch", "rollout", "create"}, {"patch", "rollout", "start"}, {"patch", "rollout", "pause"}, {"patch", "rollout", "resume"}, {"patch", "rollout", "halt"}, {"patch", "rollout", "consent"}, {"patch", "rollout", "withdraw"}, {"patch", "rollout", "attend"}, {"patch", "rollout", "rule-out"}, {"patch", "rollout", "report"}, {"patch", "rollout", "override"}, {"patch", "rollout", "keys"}, {"patch", "rollout", "receipts"}, {"completion"}}
	for _, verb := range verbs {
		name := strings.Join(append([]string{"myelin"}, verb...), " ")
		var out, errs strings.Builder
		code := run(t.Context(), append(verb, "--help"), strings.NewReader(""), &out, &errs)
		text := out.String()
		if code != exitDone || errs.Len() > 0 {
			t.Errorf("%s --help: exit %d, %s", name, code, &errs)
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) > 40 {
			t.Errorf("%s --help has %d lines", name, len(lines))
		}
		for _, line := range lines {
			if len(line) > 80 {
				t.Errorf("%s --help: %q is wider than 80 columns", name, line)
			}
		}
		_, examples, _ := strings.Cut(text, "Examples:\n")
		if !strings.Contains(examples, name) {
			t.Errorf("%s --help has no example", name)
		}
	}
}

func TestInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "monday.pcap")
	if err := writeCapture(file); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	if code := run(ctx, []string{"assess", file}, strings.NewReader(""), &out, &errs); code != exitError || errs.String() != "myelin: interrupted\n" || out.Len() > 0 {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}

// TestKindsPage holds docs/kinds.md to the table that it is printed from.
func TestKindsPage(t *testing.T) {
	var want strings.Builder
	if code := run(t.Context(), []string{"kinds", "--format", "markdown"}, strings.NewReader(""), &want, &want); code != exitDone {
		t.Fatal(&want)
	}
	if have, err := os.ReadFile("../../docs/kinds.md"); err != nil || string(have) != want.String() {
		t.Errorf("docs/kinds.md is not current; run 'make docs' (%v)", err)
	}
}

func TestMeterLine(t *testing.T) {
	for _, tt := range []struct {
		packets, bytes, total uint64
		want                  string
	}{
		{8_000_000, 500e6, 1500e6, "reading: 500 of 1500 MB, 2.00 million packets/s, 8s left"},
		{8_000_000, 500e6, 500e6, "reading: 500 of 500 MB, 2.00 million packets/s, 0s left"},
		{4_000, 1e6, 0, "reading: 1 MB, 0.00 million packets/s"}, // standard input
		{0, 0, 7e6, "reading: 0 MB, 0.00 million packets/s"},
	} {
		if got := meterLine(tt.packets, tt.bytes, tt.total, 4*time.Second); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A key of random bytes is taken as it is, whatever it begins and ends with; of
// a text the line's end is none of it.
func TestKey(t *testing.T) {
	text, random := strings.Repeat("0a", 32), "\n \xff\x00"+strings.Repeat("k", 28)+"\r\n"
	for _, tt := range []struct{ file, want string }{
		{text, text},
		{text + "\n", text},
		{text + "\r\n", text},
		{text + " \n", text + " "},
		{random, random},
		{random[:31] + "\n", random[:31] + "\n"},
		{strings.Repeat("k", 31) + "\n", ""},
	} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := key(file)
		if string(got) != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: %q, %v", tt.file, got, err)
		}
	}
}
