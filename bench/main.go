// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures `myelin assess` beside the peers that are installed,
// in one run: on one large capture, made by repeating a folder of captures
// with other addresses and later times. It prints CPU and wall-clock seconds,
// peak memory and packets per CPU-second, and judges nothing. The radio is
// measured alike, on logs of a phone that it makes: a large one, one of a tenth
// of its size, and one that is small enough for peers. So is the matching of
// bills of materials, of packages that records of OSV name, beside osv-scanner,
// with what one of both found and the other did not, and the index of a large
// fleet; the secure link, by the benchmarks of its packages, beside the bare
// operations, DTLS and TLS; the ledger, beside a bare fsync; and the guard's fronts,
// beside stunnel.
//
//	go run ./bench [-captures DIR] [-megabytes 1000] [-radio-megabytes 200] [-osv DIR] [-boms 1000] [-fleet] [-link 11] [-runs 3] [-keep FILE] [-only NAME]
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/myelin-health/myelin/capture"
)

func main() {
	captures := flag.String("captures", "../shared/captures", "folder of captures to repeat")
	megabytes := flag.Int("megabytes", 1000, "size of the capture to make")
	runs := flag.Int("runs", 3, "runs of each command; the median is printed")
	keep := flag.String("keep", "", "make the capture here and keep it")
	radio := flag.Int("radio-megabytes", 200, "size of the radio log to make")
	osv := flag.String("osv", "../shared/advisories/osv", "folder of OSV records, a line each")
	boms := flag.Int("boms", 1000, "bills of materials to make; osv-scanner, which is run once, takes a second for each")
	whole := flag.Bool("fleet", true, "measure the index of a fleet")
	pairs := flag.Int("link", 11, "pairs of runs with and without half-open handshakes; 0 leaves the secure link out")
	only := flag.String("only", "", "run only the commands whose name contains this")
	flag.Parse()
	if err := bench(*captures, *keep, *osv, *only, int64(*megabytes)*1e6, int64(*radio)*1e6, *boms, *pairs, *runs, *whole); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(captures, keep, osv, only string, size, radio int64, boms, pairs, runs int, whole bool) error {
	dir, err := os.MkdirTemp("", "myelin-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "myelin")
	build := exec.Command("go", "build", "-o", program, "./cmd/myelin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	fmt.Printf("%d CPUs, %s\n", runtime.NumCPU(), runtime.Version())
	if size > 0 {
		file := keep
		if file == "" {
			file = filepath.Join(dir, "bench.pcap")
		}
		packets, err := generate(captures, file, size)
		if err != nil {
			return err
		}
		err = run(file, packets, only, runs, []command{
			{name: "myelin --jobs 1", args: []string{program, "assess", "--format", "json", "--jobs", "1", file}},
			{name: "myelin --jobs 2", args: []string{program, "assess", "--format", "json", "--jobs", "2", file}},
			{name: "ndpiReader -q", args: []string{"ndpiReader", "-q", "-i", file}},
			{name: "tshark -z io,stat,0", args: []string{"tshark", "-q", "-z", "io,stat,0", "-r", file}},
			{name: "tcpdump -w /dev/null", args: []string{"tcpdump", "-r", file, "-w", "/dev/null"}},
			{name: "cat", args: []string{"cat", file}},
		})
		if err != nil {
			return err
		}
	}
	const small = 3e6 // tshark needs seconds for it
	for _, size := range []int64{radio, radio / 10, min(small, radio)} {
		if size == 0 {
			continue
		}
		file := filepath.Join(dir, "radio.btsnoop")
		records, err := generateRadio(file, size)
		if err != nil {
			return err
		}
		commands := []command{{name: "myelin radio --jobs 1", args: []string{program, "assess", "--format", "json", "--jobs", "1", file}}}
		if size <= small {
			// What tshark needs to take the log apart: the frames alone it passes over.
			commands = append(commands, command{name: "tshark radio -z io,stat,0", args: []string{"tshark", "-q", "-z", "io,stat,0", "-r", file}},
				command{name: "tshark radio -Y btatt", args: []string{"tshark", "-Y", "btatt", "-r", file}})
		}
		if err := run(file, records, only, runs, commands); err != nil {
			return err
		}
	}
	if pairs > 0 && strings.Contains("link", only) {
		if err := link(dir, pairs); err != nil {
			return err
		}
	}
	if strings.Contains("ledger", only) {
		if err := ledger(dir); err != nil {
			return err
		}
	}
	if strings.Contains("hold", only) {
		if err := holdDICOM(dir, runs); err != nil {
			return err
		}
		if err := holdHL7(dir, runs); err != nil {
			return err
		}
	}
	if boms > 0 {
		if err := know(dir, program, osv, only, boms, runs); err != nil {
			return err
		}
	}
	if whole {
		return fleet(dir)
	}
	return nil
}

// A command is one program on one file.
type command struct {
	name string
	args []string
	out  string // file of what it answers; "" is nowhere
	once bool   // one run has to do
}

func run(file string, packets uint64, only string, runs int, commands []command) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d packets, %d bytes\n%-26s %10s %10s %10s %16s\n", packets, st.Size(), "command", "CPU s", "wall s", "peak MB", "packets/CPU s")
	for _, c := range commands {
		if !strings.Contains(c.name, only) {
			continue
		}
		if _, err := exec.LookPath(c.args[0]); err != nil {
			fmt.Printf("%-26s not installed\n", c.name)
			continue
		}
		var all []usage
		if c.once {
			runs = 1
		}
		for range runs {
			u, err := measure(c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			all = append(all, u)
		}
		slices.SortFunc(all, func(a, b usage) int { return int(a.cpu - b.cpu) })
		u := all[len(all)/2]
		fmt.Printf("%-26s %10.3f %10.3f %10.0f %16.0f\n", c.name, u.cpu.Seconds(), u.wall.Seconds(),
			float64(u.peak)/1e6, float64(packets)/u.cpu.Seconds())
	}
	return nil
}

type usage struct {
	cpu, wall time.Duration
	peak      int64 // bytes
}

func measure(what command) (usage, error) {
	c := exec.Command(what.args[0], what.args[1:]...)
	c.Stdout, c.Stderr = io.Discard, io.Discard
	if what.out != "" {
		f, err := os.Create(what.out)
		if err != nil {
			return usage{}, err
		}
		defer f.Close()
		c.Stdout = f
	}
	start := time.Now()
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // some inputs are damaged on purpose
		return usage{}, err
	}
	ru := c.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{c.ProcessState.UserTime() + c.ProcessState.SystemTime(), time.Since(start), ru.Maxrss * 1024}, nil
}

// generate writes a pcap of about size bytes: the Ethernet frames of all
// captures in dir, again and again, each time with other addresses and later.
// Captures of port scans, where nearly each packet is a flow of its own, are in
// every eighth round only, which makes some 15 packets a flow.
func generate(dir, file string, size int64) (packets uint64, err error) {
	frames, span, err := load(dir)
	if err != nil {
		return 0, err
	}
	out, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buffered := bufio.NewWriterSize(out, 1<<20)
	defer func() { err = errors.Join(err, buffered.Flush()) }() // before Close: deferred later
	w, err := capture.NewWriter(buffered, capture.LinkEthernet)
	if err != nil {
		return 0, err
	}
	var written int64
	for round := uint32(0); written < size; round++ {
		for _, f := range frames {
			if f.Interface == scan && round%8 != 0 {
				continue
			}
			f.Interface = 0
			f.Time += int64(round) * span
			f.Data = renumber(slices.Clone(f.Data), round)
			if err := w.WriteFrame(&f); err != nil {
				return packets, err
			}
			packets++
			if written += int64(len(f.Data)) + 16; written >= size {
				break
			}
		}
	}
	return packets, nil
}

// scan marks the frames of a port scan.
const scan = -1

// load reads the Ethernet frames of all captures, one capture after the other
// in time.
func load(dir string) (frames []capture.Frame, span int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	at := int64(1772517600e9)
	for _, e := range entries {
		in, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, 0, err
		}
		r, err := capture.NewReader(in)
		if err != nil {
			in.Close()
			continue // the manifest
		}
		first, last := int64(0), int64(0)
		for {
			var f capture.Frame
			if r.ReadFrame(&f) != nil {
				break
			}
			if f.Link != capture.LinkEthernet {
				continue
			}
			if first == 0 {
				first = f.Time
			}
			f.Data = slices.Clone(f.Data)
			f.Interface = 0
			if strings.Contains(e.Name(), "scan") {
				f.Interface = scan
			}
			f.Time = at + max(0, min(f.Time-first, 60e9))
			last = max(last, f.Time)
			frames = append(frames, f)
		}
		at = max(at, last) + 1e9
		in.Close()
	}
	if len(frames) == 0 {
		return nil, 0, fmt.Errorf("%s: no captures", dir)
	}
	return frames, at - 1772517600e9 + 120e9, nil
}

// renumber changes the addresses of the outermost IP header by the round, the
// same on both sides.
func renumber(b []byte, round uint32) []byte {
	if round == 0 || len(b) < 34 {
		return b
	}
	off := 14
	typ := binary.BigEndian.Uint16(b[12:])
	if typ == 0x8100 && len(b) >= 38 {
		typ, off = binary.BigEndian.Uint16(b[16:]), 18
	}
	x := uint16(round * 0x9e37)
	switch {
	case typ == 0x0800 && len(b) >= off+20:
		for _, at := range [...]int{off + 12, off + 16} {
			if b[at] >= 224 {
				continue
			}
			binary.BigEndian.PutUint16(b[at+1:], binary.BigEndian.Uint16(b[at+1:])^x)
		}
	case typ == 0x86dd && len(b) >= off+40:
		for _, at := range [...]int{off + 8, off + 24} {
			if b[at] != 0xff {
				binary.BigEndian.PutUint16(b[at+6:], binary.BigEndian.Uint16(b[at+6:])^x)
			}
		}
	}
	return b
}
