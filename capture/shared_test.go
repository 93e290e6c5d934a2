// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/capture"
)

// sharedCaptures returns the files of the material beside the repository.
func sharedCaptures(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, dir := range []string{"captures", "captures-ble"} {
		found, err := filepath.Glob(filepath.Join("..", "..", "shared", dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Skip("the captures beside the repository (../shared/captures) are not here")
	}
	return files
}

func readFile(t *testing.T, name string) ([]capture.Frame, error) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return readAll(file)
}

// TestShared compares how many packets there are with what Wireshark says.
func TestShared(t *testing.T) {
	var files []string
	for _, name := range sharedCaptures(t) {
		switch filepath.Base(name) {
		case "MANIFEST.tsv":
		case "bluez-magic.btsnoop": // a file of magics for file(1), of which Wireshark too says that it is none
			if _, err := readFile(t, name); !errors.Is(err, capture.ErrFormat) {
				t.Errorf("%s: %v, want ErrFormat", name, err)
			}
		default:
			files = append(files, name)
		}
	}
	capinfos, err := exec.LookPath("capinfos")
	if err != nil {
		t.Skip("capinfos is not installed")
	}
	// -T and the rest: one line a file, without a heading, of the count in plain digits.
	out, err := exec.Command(capinfos, append([]string{"-c", "-M", "-T", "-r"}, files...)...).Output()
	if err != nil {
		t.Fatalf("capinfos: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(files) {
		t.Fatalf("capinfos has %d lines for %d files", len(lines), len(files))
	}
	for i, name := range files {
		frames, err := readFile(t, name)
		if err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if want := name + "\t" + strconv.Itoa(len(frames)); lines[i] != want {
			t.Errorf("got %q, capinfos has %q", want, lines[i])
		}
	}
}

// TestSharedFrames compares lengths and times of a file of each kind with what
// Wireshark says.
func TestSharedFrames(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	few := map[string]bool{
		"cs-ip_frag_source.pcapng": true, "ndpi-modbus.pcap": true, "ndpi-gre.pcapng": true, "zeek-fuzz-1011.pcap": true,
		"airbily-smartwatch.pcapng": true, "dsd6-c-btsnoop.log": true, "sweyn-nxp_unexpected_encryption_start.pcapng": true,
	}
	for _, name := range sharedCaptures(t) {
		if !few[filepath.Base(name)] {
			continue
		}
		frames, err := readFile(t, name)
		if err != io.EOF {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := exec.Command(tshark, "-n", "-r", name, "-T", "fields", "-e", "frame.number",
			"-e", "frame.cap_len", "-e", "frame.len", "-e", "frame.time_epoch").Output()
		if err != nil {
			t.Fatalf("tshark: %v", err)
		}
		var got strings.Builder
		for _, f := range frames {
			header := 0
			if f.Link == capture.LinkBluetoothHCIH4PHDR {
				header = 4 // which tshark does not count
			}
			fmt.Fprintf(&got, "%d\t%d\t%d\t%d.%09d\n", f.Packet, len(f.Data)-header, f.OrigLen-header, f.Time/1e9, f.Time%1e9)
		}
		if diff := cmp.Diff(string(out), got.String()); diff != "" {
			t.Errorf("%s: tshark (-), frames (+):\n%s", name, diff)
		}
	}
}

// TestSharedCut cuts every file at random places: what comes before the cut is
// read, and the cut is told.
func TestSharedCut(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, name := range sharedCaptures(t) {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := capture.Recognise(whole); !ok || len(whole) > 4<<20 {
			continue
		}
		want, end := readAll(bytes.NewReader(whole))
		if end != io.EOF {
			t.Fatalf("%s: %v", name, end)
		}
		for range 5 {
			cut := 24 + rnd.IntN(len(whole)-24)
			got, err := readAll(bytes.NewReader(whole[:cut]))
			if len(got) > len(want) || !slices.EqualFunc(got, want[:len(got)], equal) {
				t.Fatalf("%s cut at %d: other frames", name, cut)
			}
			if err == io.EOF {
				continue // the cut was between records
			}
			checkDamage(t, err, len(got), cut)
		}
	}
}
