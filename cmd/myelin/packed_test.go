// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// packers write what is packed, with as much history as they may.
var packers = map[string]func(io.Writer) (io.WriteCloser, error){
	"gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestSpeed) },
	"zst": zstdOf(capture.MaxWindow),
}

func zstdOf(window int) func(io.Writer) (io.WriteCloser, error) {
	return func(w io.Writer) (io.WriteCloser, error) {
		return zstd.NewWriter(w, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	}
}

// pack writes what write writes, packed by each packer in turn, the innermost first.
func pack(t *testing.T, file string, write func(io.Writer) error, by ...func(io.Writer) (io.WriteCloser, error)) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	var w io.Writer = f
	var all []io.Closer
	for i := len(by) - 1; i >= 0; i-- {
		z, err := by[i](w)
		if err != nil {
			t.Fatal(err)
		}
		w = z
		all = append([]io.Closer{z}, all...)
	}
	err = write(w)
	for _, c := range append(all, f) {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// bomb writes a capture of n frames of 64 KiB of zeros, time apart.
func bomb(n int, time int64) func(io.Writer) error {
	return func(out io.Writer) error {
		w, err := capture.NewWriter(out, wire.LinkEthernet)
		for i := range n {
			if err == nil {
				err = w.WriteFrame(&capture.Frame{Data: make([]byte, 64<<10), Time: time + int64(i)*1e6, Link: wire.LinkEthernet})
			}
		}
		return err
	}
}

// TestBombs unpacks captures that are a thousand times as large as their files.
func TestBombs(t *testing.T) {
	dir := t.TempDir()
	whole := bomb(4000, 0)             // 262 MB
	zeros := func(w io.Writer) error { // no packet: the first record claims more than it may
		_, err := io.CopyN(w, zero{}, 256<<20)
		return err
	}
	head := func(w io.Writer) error { return errors.Join(bomb(0, 0)(w), zeros(w)) }
	for _, tt := range []struct {
		name  string
		write func(io.Writer) error
		by    []string
		code  int
		said  string
	}{
		{"bomb.pcap.gz", whole, []string{"gz"}, exitDone, ""},
		{"bomb.pcap.zst", whole, []string{"zst"}, exitDone, ""},
		{"bomb.pcap.gz.gz", whole, []string{"gz", "gz"}, exitDone, ""},
		{"bomb.pcap.zst.gz", whole, []string{"zst", "gz"}, exitDone, ""},
		{"bomb.pcap.zst.zst", whole, []string{"zst", "zst"}, exitDone, ""},
		{"bomb.pcap.gz.gz.gz", bomb(10, 0), []string{"gz", "gz", "gz"}, exitError, "compressed more than 2 times"},
		{"zeros.pcap.gz", zeros, []string{"gz"}, exitError, "not a capture file"},
		{"zeros.pcap.zst", zeros, []string{"zst"}, exitError, "not a capture file"},
		{"empty.pcap.gz", head, []string{"gz"}, exitDone, ""},
	} {
		file := filepath.Join(dir, tt.name)
		var by []func(io.Writer) (io.WriteCloser, error)
		for _, name := range tt.by {
			by = append(by, packers[name])
		}
		pack(t, file, tt.write, by...)
		n, _, errs, code := peak(t, "assess", file)
		if n > maxPeak || code != tt.code || !strings.Contains(errs, tt.said) {
			t.Errorf("%s: a peak of %.1f MB, exit %d, %q", tt.name, float64(n)/1e6, code, errs)
		}
		t.Logf("%s: %.1f MB", tt.name, float64(n)/1e6)
		os.Remove(file)
	}
}

type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestManyPacked has as many captures side by side as are open at once, each
// with as much history as it may ask for.
func TestManyPacked(t *testing.T) {
	for name, by := range packers {
		dir := t.TempDir()
		for i := range 64 {
			file := filepath.Join(dir, fmt.Sprintf("%02d.pcap.%s", i, name))
			pack(t, file, bomb(200, int64(i)), by)
		}
		n, _, errs, code := peak(t, "assess", dir)
		if n > maxPeak || code != exitDone {
			t.Errorf("64 of %s: a peak of %.1f MB, exit %d, %s", name, float64(n)/1e6, code, errs)
		}
		t.Logf("64 of %s: %.1f MB", name, float64(n)/1e6)
	}
}
