// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/wire"
)

// assessed runs `myelin assess --format json` here.
func assessed(t *testing.T, in io.Reader, args ...string) (out, errs string, code int) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = run(t.Context(), append([]string{"assess", "--format", "json"}, args...), in, &stdout, &stderr)
	if code == exitUsage || !json.Valid([]byte(stdout.String())) {
		t.Fatalf("exit %d, %d bytes, %s", code, stdout.Len(), &stderr)
	}
	return stdout.String(), stderr.String(), code
}

// TestCutAnywhere cuts captures of every format at many places: what stands
// before is answered, the damage has an offset within the file, and the exit
// code is 1 but where nothing was cut of a record.
func TestCutAnywhere(t *testing.T) {
	ward, err := os.ReadFile("../../testdata/ward/icu.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "plain.pcap")
	if err := writeCapture(plain); err != nil {
		t.Fatal(err)
	}
	small, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(small)
	z.Close()
	offset := regexp.MustCompile(`(?: at byte (\d+): |not a capture file)`)
	r := rand.New(rand.NewPCG(7, 9))
	for _, tt := range []struct {
		name string
		b    []byte
		cuts int // random ones; 0: every byte
		ends bool
	}{{"pcap", small, 0, true}, {"gzip", packed.Bytes(), 0, false}, {"pcapng", ward, 60, true}} {
		whole, ended := 0, 0
		n := len(tt.b)
		if tt.cuts > 0 {
			n = tt.cuts
		}
		for i := range n {
			if tt.cuts > 0 {
				i = r.IntN(len(tt.b))
			}
			out, errs, code := assessed(t, bytes.NewReader(tt.b[:i]), "-")
			switch {
			case code == exitDone && tt.ends:
				ended++ // between two records
			case code != exitError || !offset.MatchString(errs):
				t.Fatalf("%s cut at %d: exit %d, %q", tt.name, i, code, errs)
			}
			if strings.Contains(out, `"kind":"phi-in-clear"`) {
				whole++
			}
			if at := offset.FindStringSubmatch(errs); len(at) > 1 && at[1] != "" {
				var o int
				fmt.Sscan(at[1], &o)
				if limit := max(len(small), len(tt.b)); o > limit {
					t.Fatalf("%s cut at %d: damage at byte %d", tt.name, i, o)
				}
			}
		}
		if ended > n/4 || whole == 0 && tt.name == "pcap" {
			t.Errorf("%s: %d of %d cuts are no damage, %d answers", tt.name, ended, n, whole)
		}
	}
}

// TestHugeBlock has blocks that claim nearly all that 32 bits can say.
func TestHugeBlock(t *testing.T) {
	var b bytes.Buffer
	w, err := capture.NewNGWriter(&b, wire.LinkRaw)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFrame(&capture.Frame{Data: make([]byte, 60), Time: 1e18, OrigLen: 60, Link: wire.LinkRaw}); err != nil {
		t.Fatal(err)
	}
	at := b.Len()
	for _, typ := range []uint32{6, 1, 0x0a0d0d0a, 0x40000bad} { // packet, interface, section, somebody's own
		in := binary.LittleEndian.AppendUint32(bytes.Clone(b.Bytes()), typ)
		in = binary.LittleEndian.AppendUint32(in, 0xfffffff0)
		in = append(in, make([]byte, 4096)...)
		file := filepath.Join(t.TempDir(), "huge.pcapng")
		if err := os.WriteFile(file, in, 0o600); err != nil {
			t.Fatal(err)
		}
		n, out, errs, code := peak(t, "assess", "--format", "json", file)
		if code != exitError || n > maxPeak/2 || !strings.Contains(out, `"packets":1`) || !regexp.MustCompile(` at byte \d+: `).MatchString(errs) {
			t.Errorf("block %#x at byte %d: exit %d, a peak of %.1f MB, %s", typ, at, code, float64(n)/1e6, errs)
		}
	}
}

// growing is a capture that is written while it is read: at the end of the
// file there is more.
func TestGrowing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "growing.pcap")
	if err := writeCapture(file); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, have := range []int{10, 30, len(whole) - 5} {
		if err := os.WriteFile(file, whole[:have], 0o600); err != nil {
			t.Fatal(err)
		}
		grow, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		// The capture is looked at twice, to know when it begins and to be read: it grows between.
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := have; ctx.Err() == nil && i < 64<<20; i += len(whole) {
				grow.Write(whole[min(have, len(whole)):])
				grow.Write(whole[24:])
			}
		}()
		_, errs, code := assessed(t, nil, file)
		cancel()
		<-done
		grow.Close()
		if code != exitDone && !strings.Contains(errs, " at byte ") && !strings.Contains(errs, "not a capture file") {
			t.Errorf("from %d bytes on: exit %d, %s", have, code, errs)
		}
	}
}

// TestHostileFolder has in a folder what no folder should have.
func TestHostileFolder(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(writeCapture(filepath.Join(dir, "good.pcap")))
	must(os.Symlink(dir, filepath.Join(dir, "loop")))
	must(os.Symlink("self", filepath.Join(dir, "self")))
	must(syscall.Mkfifo(filepath.Join(dir, "fifo.pcap"), 0o600))
	odd := "\x1b[31mred\x1b]0;owned\x07\n=cmd|'x'!A1\u202e\u2066fdp.pcap"
	must(writeCapture(filepath.Join(dir, odd)))
	must(os.WriteFile(filepath.Join(dir, "\x1b[2Jbroken\r\n.pcap"), []byte("no capture"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "\xff\xfe.pcap"), []byte("no capture"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "closed.pcap"), nil, 0o000))
	must(os.Mkdir(filepath.Join(dir, "locked"), 0o000))
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "locked"), 0o700) })
	for _, f := range formats {
		var out, errs strings.Builder
		code := run(t.Context(), []string{"assess", "--format", f.name, dir}, nil, &out, &errs)
		if code != exitError || !strings.Contains(errs.String(), "closed.pcap") {
			t.Errorf("%s: exit %d, %q", f.name, code, errs.String())
		}
		checkPlain(t, "standard error", errs.String())
		checkFormat(t, f.name, out.String())
	}
	out, _, _ := assessed(t, nil, dir)
	if n := strings.Count(out, "good.pcap"); n == 0 || strings.Contains(out, "loop/") || strings.Contains(out, "fifo") {
		t.Errorf("%d times the good one; %s", n, out[:min(len(out), 2000)])
	}
}

// TestHTTPBombs has bodies of 10 MiB in a few kilobytes.
func TestHTTPBombs(t *testing.T) {
	text := []byte(`{"resourceType":"Patient","id":"p-17","text":"` + strings.Repeat(" ", 10<<20) + `"}`)
	for name, by := range map[string]func(io.Writer) io.WriteCloser{
		"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	} {
		var body bytes.Buffer
		z := by(&body)
		z.Write(text)
		z.Close()
		for _, media := range []string{"application/fhir+json", "text/plain"} {
			f := newFlood(t, "bomb.pcap")
			for i := range 300 {
				f.stream(i, false, 80, []byte("GET /fhir/Patient/p-17 HTTP/1.1\r\nHost: ehr\r\n\r\n"))
				f.stream(i, true, 80, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", media, name, body.Len(), &body))
			}
			n, out, errs, code := peak(t, "assess", "--format", "json", f.done())
			if n > maxPeak/2 || code != exitDone || !strings.Contains(out, `"kind":"malformed-message"`) || !strings.Contains(out, "decoded body") {
				t.Errorf("%s, %s: a peak of %.1f MB, exit %d, %s, %s", name, media, float64(n)/1e6, code, errs, out[:min(len(out), 1000)])
			}
		}
	}
}

// TestDamageTellsNothing damages what is heard on the radio, in every place and
// so that a length or a name is read out of somebody's data: what is said to be
// wrong repeats nothing of it.
func TestDamageTellsNothing(t *testing.T) {
	const name = "Qvzxkabc"
	be := binary.BigEndian
	record := be.AppendUint64(be.AppendUint32(be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, 11), 11), 3), 0), 0x00e3a0b1c2d3e4f5)
	record = append(append(record, 4, 0xff, 8), name...)
	phone := append(be.AppendUint32(be.AppendUint32([]byte("btsnoop\x00"), 1), 1002), record...)
	log := `{"time":"2026-03-03T07:17:00Z","dialect":"` + name + `","hex":"51767a786b616263"}` + "\n"
	log += strings.ReplaceAll(log, "51767", "5176") + strings.ReplaceAll(log, "2026", name) + strings.ReplaceAll(log, `"hex"`, name)
	section := binary.LittleEndian.AppendUint32([]byte("\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), 28)
	var files [][]byte
	for _, whole := range [][]byte{phone, []byte(log), append(bytes.Clone(section), section...)} {
		for i := 0; i < len(whole); i += 4 { // a length begins at each fourth byte
			files = append(files, whole[:i], append(append(bytes.Clone(whole[:i]), name...), whole[i:]...))
		}
	}
	spelled := []string{"qvzx", "51767a78", "7a7651", "51:76"}
	for i := range len(name) - 3 {
		for _, n := range []uint32{be.Uint32([]byte(name[i:])), binary.LittleEndian.Uint32([]byte(name[i:]))} {
			spelled = append(spelled, fmt.Sprint(n), fmt.Sprint(n-4), fmt.Sprintf("%x", n))
		}
	}
	silent := func(what string, b []byte, said string) {
		t.Helper()
		said = strings.ToLower(said)
		for _, s := range spelled {
			if strings.Contains(said, s) {
				t.Fatalf("%s %q: %s in %s", what, b, s, said)
			}
		}
	}
	damaged := 0
	for _, b := range files {
		var out, errs strings.Builder
		if run(t.Context(), []string{"assess", "-"}, bytes.NewReader(b), &out, &errs) == exitError {
			damaged++
		}
		silent("capture", b, out.String()+errs.String())
	}
	if damaged < len(files)/3 {
		t.Errorf("%d of %d files were damaged", damaged, len(files))
	}
	for i, b := range [][]byte{[]byte(log), []byte(name + ": 1"), []byte("name," + name + "\n"), phone} {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.yaml", i))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs strings.Builder
		if code := run(t.Context(), []string{"assess", "--dialect", file, "-"}, strings.NewReader(""), &out, &errs); code != exitError {
			t.Errorf("a dialect %q: exit %d", b, code)
		}
		silent("dialect", b, out.String()+errs.String())
	}
}
