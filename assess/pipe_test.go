// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/watch"
)

// frames returns a capture of n frames of size bytes.
func frames(t *testing.T, n, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := capture.NewWriter(&b, capture.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	f := capture.Frame{Link: capture.LinkEthernet, Data: make([]byte, size)}
	for range n {
		if err := w.WriteFrame(&f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// TestPipe names a pipe, as a shell's <(command) does: it can be read once.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := "/dev/fd/" + strconv.Itoa(int(r.Fd()))
	if _, err := os.Stat(path); err != nil {
		t.Skip("no names for open files here: ", err)
	}
	if _, err := w.Write(frames(t, 3, 60)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	a, err := Run(t.Context(), []string{path}, Config{})
	if err != nil || len(a.Inputs) != 1 || a.Inputs[0].Packets != 3 || a.Inputs[0].Error != "" {
		t.Errorf("inputs %+v, error %v; want one of three packets", a, err)
	}
}

// TestLargeFrames has as many frames together as would be a gigabyte.
func TestLargeFrames(t *testing.T) {
	in := &input{stream: bytes.NewReader(frames(t, 12, capture.MaxFrame))}
	if err := in.probe(); err != nil {
		t.Fatal(err)
	}
	m := &merger{waiting: []*input{in}}
	var dst [1024]watch.Frame
	total := 0
	for {
		n, release, err := m.Next(dst[:])
		bytes := 0
		for _, f := range dst[:n] {
			bytes += len(f.Data)
		}
		if bytes > maxRefilled+2*capture.MaxFrame {
			t.Fatalf("%d bytes go out together", bytes)
		}
		total += n
		release()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if total != 12 {
		t.Errorf("%d frames of 12", total)
	}
}

// TestWindows opens files that were compressed with much history: as many as
// the bound allows are read side by side, in the order of time.
func TestWindows(t *testing.T) {
	dir := t.TempDir()
	write := func(n, window int) {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w, err := capture.NewWriter(z, capture.LinkEthernet)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			f := capture.Frame{Link: capture.LinkEthernet, Data: make([]byte, 9000), Time: int64(i*1000 + n)}
			if err := w.WriteFrame(&f); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(z.Close(), os.WriteFile(filepath.Join(dir, strconv.Itoa(n)), b.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ files, window, open int }{
		{2, capture.MaxWindow, 2}, {3, capture.MaxWindow, 2}, {8, 2 << 20, 8}, {9, 2 << 20, 8}, {9, 64 << 10, 8},
	} {
		m := &merger{}
		for n := range tt.files {
			write(n, tt.window)
			in := &input{path: filepath.Join(dir, strconv.Itoa(n)), index: int32(n)}
			if err := in.probe(); err != nil {
				t.Fatal(err)
			}
			m.waiting = append(m.waiting, in)
		}
		var dst [64]watch.Frame
		total, most, last, ordered := 0, 0, int64(0), true
		for {
			n, release, err := m.Next(dst[:])
			if err == io.EOF {
				break
			}
			for _, f := range dst[:n] {
				ordered = ordered && f.Time >= last
				last = f.Time
			}
			release()
			total += n
			most = max(most, len(m.open))
			if m.windows > maxWindows {
				t.Fatalf("%d bytes of history", m.windows)
			}
		}
		if total != 200*tt.files || most != tt.open || ordered != (tt.files == tt.open) || m.windows != 0 {
			t.Errorf("%d files with %d bytes of history: %d frames, %d open, in order %v, %d bytes left", tt.files, tt.window, total, most, ordered, m.windows)
		}
	}
}

// TestOrderExtremes sorts by times that cannot be subtracted.
func TestOrderExtremes(t *testing.T) {
	inputs := []*input{{first: math.MaxInt64}, {first: math.MinInt64}, {first: 0}}
	order(inputs)
	if inputs[0].first != math.MinInt64 || inputs[2].first != math.MaxInt64 {
		t.Errorf("%d, %d, %d", inputs[0].first, inputs[1].first, inputs[2].first)
	}
}

// TestProgress: of a pipe nobody knows the end, but what was read is counted.
func TestProgress(t *testing.T) {
	b := frames(t, 5000, 600)
	file := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path        string
		read, total uint64
	}{
		{file, uint64(len(b)), uint64(len(b))},
		{"-", uint64(len(b)), 0},
	} {
		var read, total uint64
		_, err := Run(t.Context(), []string{test.path}, Config{Stdin: bytes.NewReader(b), Progress: func(_, r, n uint64) { read, total = r, n }})
		if err != nil || read != test.read || total != test.total {
			t.Errorf("%s: read %d of %d, error %v; want %d of %d", test.path, read, total, err, test.read, test.total)
		}
	}
}

// TestNotRead: frames of a link type that is not read are counted once.
func TestNotRead(t *testing.T) {
	const ppp = 9
	var b bytes.Buffer
	w, err := capture.NewWriter(&b, ppp)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.WriteFrame(&capture.Frame{Link: ppp, Data: make([]byte, 20)}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Run(t.Context(), []string{"-"}, Config{Stdin: &b})
	if err != nil || a.Stats.Packets != 3 || a.Stats.Lost[report.NotRead] != 3 || len(a.Stats.Lost) != 1 {
		t.Errorf("%v, %+v; want three frames that were not read", err, a.Stats)
	}
}
