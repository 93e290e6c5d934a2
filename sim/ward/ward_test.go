// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ward

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/flow"
	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/sim/radio"
	"github.com/myelin-health/myelin/wire"
)

// committed is where the ward lies that the tests know.
const committed = "../../testdata/ward"

// frames reads all frames of a folder's captures of the network.
func frames(t testing.TB, dir string, each func(*capture.Frame)) {
	t.Helper()
	for _, tap := range networkTaps {
		name := filepath.Join(dir, tap.name)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := capture.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		for {
			var frame capture.Frame
			if err := r.ReadFrame(&frame); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(name, err)
			}
			each(&frame)
		}
	}
}

// sound holds a ward's frames to their headers, checksums and hours.
func sound(t *testing.T, dir string) {
	begin, end := morning.UnixNano(), morning.Add(20*time.Minute).UnixNano()
	var p wire.Packet
	n := 0
	frames(t, dir, func(f *capture.Frame) {
		n++
		if f.Time < begin || f.Time >= end || len(f.Data) > 1518 || f.OrigLen != len(f.Data) {
			t.Fatalf("frame %d of %d bytes at %s", f.Packet, len(f.Data), time.Unix(0, f.Time))
		}
		p.Decode(f.Link, f.Data)
		if p.Fault.Err != nil {
			t.Fatalf("frame %d: %v", f.Packet, p.Fault.Err)
		}
		if p.IPVersion != 4 {
			return
		}
		src, dst := p.Src.Netip().Unmap(), p.Dst.Netip().Unmap()
		i := bytes.Index(f.Data[12:], []byte{0x08, 0x00, 0x45, 0x00}) + 14
		h := f.Data[i:]
		length := int(h[2])<<8 | int(h[3])
		if fold(sum(0, h[:20])) != 0 || !p.Fragmented && checksum(src, dst, p.Proto, h[20:length]) != 0 {
			t.Fatalf("frame %d, %s to %s: wrong checksum", f.Packet, src, dst)
		}
	})
	if n < 5000 {
		t.Errorf("%d frames", n)
	}
}

func TestSound(t *testing.T) { sound(t, committed) }

// said collects what each side of each conversation said.
type said struct{ bytes.Buffer }

func (s *said) Opened(*flow.Conversation)                            {}
func (s *said) Data(_ *flow.Conversation, _ flow.Side, b []byte) int { s.Write(b); return len(b) }
func (s *said) Gap(_ *flow.Conversation, _ flow.Side, n int) bool    { s.WriteString("GAP"); return true }
func (s *said) Overlap(*flow.Conversation, flow.Side)                { s.WriteString("OVERLAP") }
func (s *said) Closed(*flow.Conversation)                            {}

// TestSecrets holds that the list of secrets is of what is really there, so
// that a search of outputs for it means something.
func TestSecrets(t *testing.T) {
	var all said
	table := flow.NewTable(&all)
	var p wire.Packet
	frames(t, committed, func(f *capture.Frame) {
		p.Decode(f.Link, f.Data)
		if p.IPVersion == 4 && !p.Fragmented {
			table.Packet(&p, flow.Place{Time: f.Time, Packet: f.Packet})
		}
	})
	whole := all.Bytes()
	ofRadio := radio.Secrets() // which has a test of its own
	if bytes.Contains(whole, []byte("GAP")) || bytes.Contains(whole, []byte("OVERLAP")) {
		t.Error("a conversation has gaps or overlaps")
	}
	var missing []string
	for _, s := range Secrets() {
		if slices.Contains(ofRadio, s) && s != anna.family {
			continue
		}
		if !bytes.Contains(whole, []byte(s)) && !bytes.Contains(whole, wide(s)) {
			missing = append(missing, s)
		}
	}
	// The spellings that nobody used that morning.
	if len(missing) > 30 || slices.ContainsFunc(missing, func(s string) bool { return strings.HasPrefix(s, "Archived") }) {
		t.Errorf("%d are not there: %q", len(missing), missing)
	}
	if len(Secrets()) < 3*studies {
		t.Errorf("%d secrets", len(Secrets()))
	}
}

var update = flag.Bool("update", false, "write what was heard on the radio into the sample ward")

// TestHeard holds that what lies in the ward is what the radio's stories are now,
// and that they are of the ward's patients.
func TestHeard(t *testing.T) {
	if *update {
		if err := heard(committed); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := heard(dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		now, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if was, err := os.ReadFile(filepath.Join(committed, f.Name())); err != nil || !bytes.Equal(was, now) {
			t.Errorf("%s differs (%v); -update makes it again", f.Name(), err)
		}
	}
	for name, p := range map[string]person{radio.AnnaName: anna, radio.BenName: ben, radio.CleoName: cleo} {
		if p.given+" "+p.family != name {
			t.Errorf("%s is %s %s here", name, p.given, p.family)
		}
	}
}

// TestRegister holds that the list of devices in the ward is what it is now,
// that it can be read whole, and that it names no patient.
func TestRegister(t *testing.T) {
	if *update {
		if err := written(committed); err != nil {
			t.Fatal(err)
		}
	}
	now := RegisterFile()
	if was, err := os.ReadFile(filepath.Join(committed, "register.csv")); err != nil || !bytes.Equal(was, now) {
		t.Errorf("register.csv differs (%v); -update makes it again", err)
	}
	r, err := register.Read(bytes.NewReader(now), "register.csv")
	if err != nil || len(r.Problems) > 0 || len(r.Unused) > 0 || len(r.Entries) != len(devices) {
		t.Fatalf("%v %+v", err, r)
	}
	worn := map[string]bool{"icd-1": true, "ipump-1": true, "stim-1": true}
	for i := range r.Entries {
		e, shown := &r.Entries[i], r.Entries[i].Shown()
		if e.Worn != worn[e.ID] || e.Therapy == device.NoTherapy || e.UDI.DI != "" && !e.UDI.Checked {
			t.Errorf("%+v", shown)
		}
		text := strings.ToLower(fmt.Sprintf("%#v", shown))
		for _, s := range Secrets() {
			if len(s) > 3 && strings.Contains(text, strings.ToLower(s)) {
				t.Errorf("%s tells a secret of %d characters", e.ID, len(s))
			}
		}
	}
	lower := strings.ToLower(string(now))
	for _, p := range all {
		for _, s := range []string{p.family, p.given, p.record, p.birth, p.visit} {
			if strings.Contains(lower, strings.ToLower(s)) {
				t.Errorf("the list has the patient's %q", s)
			}
		}
	}
}

// TestMake makes a whole ward again.
func TestMake(t *testing.T) {
	if os.Getenv("MYELIN_WARD") == "" {
		t.Skip("takes two minutes; MYELIN_WARD=1 says that there is time")
	}
	testpeer.DCMTK(t, "dump2dcm")
	testpeer.Tool(t, "Orthanc", "orthanc")
	dir := t.TempDir()
	if err := Make(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	sound(t, dir)
}
