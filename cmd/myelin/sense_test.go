// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// gateway answers messages on 127.0.0.1 as gw-icu would.
func gateway(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString(0x1c)
			fmt.Fprint(conn, "\x0bMSH|^~\\&|GW|ADA|EHR|ADA|20260303070001||ACK^A01|A1|P|2.6\rMSA|AA|M1\r\x1c\r")
			conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func admit(t *testing.T, port int, record string) {
	t.Helper()
	conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "\x0bMSH|^~\\&|EHR|ADA|GW|ADA|20260303070000||ADT^A01|M1|P|2.6\rPID|1||%s^^^ADA^MR||Lindqvist^Anna\r\x1c\r", record)
	io.Copy(io.Discard, conn)
}

// sensed runs sense on lo beside an admission of a patient, until a line of
// its output satisfies until; it returns the lines and the exit code.
func sensed(t *testing.T, until func(line string) bool, args ...string) (lines []string, stderr string, code int) {
	t.Helper()
	port := gateway(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	outRead, out := io.Pipe()
	errRead, errw := io.Pipe()
	done := make(chan int, 1)
	go func() {
		args := append([]string{"sense", "-i", "lo", "--ports", strconv.Itoa(port)}, args...)
		code := run(ctx, args, strings.NewReader(""), out, errw)
		out.Close()
		errw.Close()
		done <- code
	}()
	said := bufio.NewReader(errRead)
	first, err := said.ReadString('\n')
	if strings.Contains(first, "not permitted") || strings.Contains(first, "not supported") || strings.Contains(first, "no such network interface") {
		t.Skip("this needs the right to capture from lo: ", first)
	}
	if err != nil || !strings.Contains(first, "listening on lo") {
		t.Fatalf("%q, %v", first, err)
	}
	rest := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(said)
		rest <- string(b)
	}()
	admit(t, port, "4711")
	all := bufio.NewScanner(outRead)
	all.Buffer(nil, 1<<20)
	for all.Scan() {
		lines = append(lines, all.Text())
		if until(all.Text()) {
			cancel()
		}
	}
	return lines, <-rest, <-done
}

func TestSenseText(t *testing.T) {
	lines, stderr, code := sensed(t, func(line string) bool { return strings.Contains(line, "Patient data") })
	text := strings.Join(lines, "\n")
	for _, want := range []string{"device   127.0.0.1: hospital information system", "○ track", "WHO TALKS TO WHOM", "hl7"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Lindqvist") || strings.Contains(text, "4711") {
		t.Error("a patient is named")
	}
	if code != exitDone || !strings.Contains(stderr, "packets seen, 0 of them dropped") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestSenseJSON(t *testing.T) {
	hasFinding := func(line string) bool { return strings.Contains(line, `"kind":"phi-in-clear"`) }
	lines, _, code := sensed(t, hasFinding, "--format", "json", "--fail-on", "track")
	if code != exitFound {
		t.Errorf("exit %d, want %d", code, exitFound)
	}
	var last struct {
		Schema   int
		Inputs   []struct{ Path, Kind string }
		Devices  []struct{ Class string }
		Findings []struct{ Kind string }
		Sessions []struct{ Protocol string }
	}
	for _, line := range lines {
		if err := json.Unmarshal([]byte(line), &last); err != nil || last.Schema != 1 {
			t.Fatalf("%v in %s", err, line)
		}
	}
	if len(lines) < 2 || last.Inputs[0].Path != "lo" || last.Inputs[0].Kind != "interface" || len(last.Devices) != 1 ||
		len(last.Findings) != 1 || len(last.Sessions) != 1 || last.Sessions[0].Protocol != "hl7" {
		t.Errorf("of %d lines the last is %+v", len(lines), last)
	}
	if !slices.ContainsFunc(lines, hasFinding) {
		t.Error("no finding")
	}
}

func TestSenseEnds(t *testing.T) {
	var errs strings.Builder
	code := run(t.Context(), []string{"sense", "-i", "lo", "--duration", "1ms"}, strings.NewReader(""), io.Discard, &errs)
	if strings.Contains(errs.String(), "not permitted") {
		t.Skip("this needs the right to capture from lo: ", errs.String())
	}
	if code != exitDone || !strings.Contains(errs.String(), "dropped") {
		t.Errorf("exit %d: %s", code, &errs)
	}
}
