// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package delta

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
)

// How much larger than the peers' a delta may be: bsdiff's on all pairs but one, and on any,
// and zstd's.
const (
	ofBsdiff    = 1.35
	ofBsdiffAny = 1.6
	ofZstd      = 1.2
)

// peers makes the deltas of bsdiff and of zstd --patch-from, at the better of its levels
// 19 and 22, and returns their sizes.
func peers(tb testing.TB, old, new []byte) (bsdiff, zstd int) {
	tb.Helper()
	dir := tb.TempDir()
	file := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			tb.Fatal(err)
		}
		return name
	}
	o, n, to := file("old", old), file("new", new), filepath.Join(dir, "delta")
	size := func(name string, args ...string) int {
		testpeer.Run(tb, dir, testpeer.Tool(tb, name, name), args...)
		st, err := os.Stat(to)
		if err != nil {
			tb.Fatal(err)
		}
		return int(st.Size())
	}
	bsdiff = size("bsdiff", o, n, to)
	zstd = size("zstd", "-q", "-f", "-19", "--single-thread", "--long=27", "--patch-from="+o, n, "-o", to)
	return bsdiff, min(zstd, size("zstd", "-q", "-f", "--ultra", "-22", "--single-thread", "--long=27", "--patch-from="+o, n, "-o", to))
}

// TestPeers compares deltas of generated images with theirs. BenchmarkPeers does it with real ones.
func TestPeers(t *testing.T) {
	old, new := firmware(11, 100_000)
	b, err := Diff(old, new, Options{})
	if err != nil {
		t.Fatal(err)
	}
	bsdiff, zstd := peers(t, old, new)
	t.Logf("%d bytes, bsdiff %d, zstd %d", len(b), bsdiff, zstd)
	if float64(len(b)) > ofBsdiff*float64(bsdiff) || float64(len(b)) > ofZstd*float64(zstd) {
		t.Errorf("%d bytes, bsdiff %d, zstd %d", len(b), bsdiff, zstd)
	}
}

// An image pair of testdata/pairs.txt.
type imagePair struct {
	name     string
	old, new []byte
}

// pairs reads the pairs that testdata/pairs.sh has fetched.
func pairs(tb testing.TB) (ps []imagePair) {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Skip(err)
	}
	cache = cmp.Or(os.Getenv("MYELIN_PAIRS"), filepath.Join(cache, "myelin-pairs"))
	list, err := os.ReadFile("testdata/pairs.txt")
	if err != nil {
		tb.Fatal(err)
	}
	missing := 0
	var last []byte
	lines := 0
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(cache, f[3]))
		if err != nil {
			missing++
		} else if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != f[3] {
			tb.Fatalf("%s of %s is another file", f[2], f[1])
		}
		if lines++; lines%2 == 0 && b != nil && last != nil {
			ps = append(ps, imagePair{f[0], last, b})
		}
		last = b
	}
	if missing > 0 {
		tb.Logf("%d of %d images are missing: bash patch/delta/testdata/pairs.sh", missing, lines)
	}
	if len(ps) == 0 {
		tb.Skip("no pair of images is here: bash patch/delta/testdata/pairs.sh")
	}
	return ps
}

// BenchmarkPeers compares the deltas of real firmware with bsdiff's and zstd's, and says what
// it costs to make and to apply them, and what to do it in place: with a page to spare, and with
// an eighth of the image.
func BenchmarkPeers(b *testing.B) {
	if dir := os.Getenv("MYELIN_DELTA_COST"); dir != "" {
		cost(b, dir)
		return
	}
	b.Logf("%-22s %8s %8s %8s %8s %8s %6s %6s %8s %8s %7s %7s %6s", "pair", "old", "new", "bsdiff", "zstd", "delta", "/bsd", "/zstd", "in place", "and 1/8", "diff s", "peak MB", "MB/s")
	over := 0
	d := NewDecoder()
	for _, p := range pairs(b) {
		bsdiff, zstd := peers(b, p.old, p.new)
		made := map[string][]byte{}
		for name, o := range map[string]Options{"": {}, "in place": {InPlace: true}, "1/8": {InPlace: true, Area: max(len(p.old), len(p.new)) * 9 / 8}} {
			delta, err := Diff(p.old, p.new, o)
			if err != nil {
				b.Fatal(err)
			}
			if got := patched(b, d, p.old, delta, 1024); !bytes.Equal(got, p.new) {
				b.Fatalf("%s: another image", p.name)
			}
			made[name] = delta
		}
		delta := made[""]
		start := time.Now()
		patched(b, d, p.old, delta, 1024)
		speed := float64(len(p.new)) / 1e6 / time.Since(start).Seconds()
		seconds, peak := costs(b, p)
		r, z := float64(len(delta))/float64(bsdiff), float64(len(delta))/float64(zstd)
		b.Logf("%-22s %8d %8d %8d %8d %8d %6.2f %6.2f %8d %8d %7.2f %7.1f %6.1f", p.name, len(p.old), len(p.new), bsdiff, zstd, len(delta), r, z, len(made["in place"]), len(made["1/8"]), seconds, peak, speed)
		if r > ofBsdiff {
			over++
		}
		if r > ofBsdiffAny || over > 1 || z > ofZstd {
			b.Errorf("%s: %.2f of bsdiff's, %.2f of zstd's", p.name, r, z)
		}
	}
}

// costs makes a delta in a process of its own, and says how many seconds of a processor it took
// and how many megabytes of memory at the most.
func costs(b *testing.B, p imagePair) (seconds, peak float64) {
	b.Helper()
	dir := b.TempDir()
	for name, image := range map[string][]byte{"old": p.old, "new": p.new} {
		if err := os.WriteFile(filepath.Join(dir, name), image, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	c := exec.Command(os.Args[0], "-test.run", "^$", "-test.bench", "^BenchmarkPeers$", "-test.benchtime", "1x", "-test.v")
	c.Env = append(os.Environ(), "MYELIN_DELTA_COST="+dir)
	out, err := c.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	_, kB, _ := strings.Cut(string(out), "VmHWM:")
	if kB, _, _ = strings.Cut(kB, "kB"); kB != "" {
		n, err := strconv.Atoi(strings.TrimSpace(kB))
		if err != nil {
			b.Fatal(err)
		}
		peak = float64(n) * 1024 / 1e6
	}
	return (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds(), peak
}

// cost is the process.
func cost(b *testing.B, dir string) {
	b.Helper()
	var images [2][]byte
	for i, name := range []string{"old", "new"} {
		var err error
		if images[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := Diff(images[0], images[1], Options{}); err != nil {
		b.Fatal(err)
	}
	status, _ := os.ReadFile("/proc/self/status") // where there is none, the peak is 0
	b.Log(string(status))
}
