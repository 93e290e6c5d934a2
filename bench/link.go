// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A benchmark is one line that `go test -bench` printed: what it is called
// without "Benchmark", and what was measured, by unit.
type benchmark struct {
	name  string
	value map[string]float64
}

// benchmarks runs those of a package's that match, each so many times round.
func benchmarks(binary, pkg, match string, rounds int) (all []benchmark, err error) {
	c := exec.Command(binary, "-test.run", "^$", "-test.bench", match, "-test.benchtime", strconv.Itoa(rounds)+"x", "-test.cpu", "1")
	c.Dir = pkg
	out, err := c.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", pkg, err, out)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		name, ok := strings.CutPrefix(line, "Benchmark")
		if !ok || len(f) < 4 {
			continue
		}
		b := benchmark{strings.Fields(name)[0], map[string]float64{}}
		for i := 2; i+1 < len(f); i += 2 {
			if b.value[f[i+1]], err = strconv.ParseFloat(f[i], 64); err != nil {
				return nil, fmt.Errorf("%s: %q: %w", pkg, line, err)
			}
		}
		all = append(all, b)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no benchmark matches %s", pkg, match)
	}
	return all, nil
}

// link measures the secure link by the benchmarks that stand beside its code, with
// the floor and the peers in the same run. What 10,000 half-open handshakes cost is
// the median of so many pairs of processes, turn by turn: in one process the memory
// of one would weigh on the other.
func link(dir string, pairs int) error {
	binary := map[string]string{}
	for _, pkg := range []string{"edhoc", "oscore", "coap"} {
		binary[pkg] = filepath.Join(dir, pkg+".test")
		if out, err := exec.Command("go", "test", "-c", "-o", binary[pkg], "./link/"+pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("go test -c: %w: %s", err, out)
		}
	}
	of := func(pkg, match string, rounds int) ([]benchmark, error) {
		return benchmarks(binary[pkg], filepath.Join("link", pkg), match, rounds)
	}
	pion, err := exec.Command("go", "list", "-m", "github.com/pion/dtls/v3").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}

	handshakes, err := of("edhoc", "^BenchmarkHandshake$", 200)
	if err != nil {
		return err
	}
	fmt.Printf("\na handshake, both sides; beside %s\n%-30s %10s %10s %8s %8s %8s  %s\n", strings.TrimSpace(string(pion)),
		"", "us", "bare us", "times", "1/s", "allocs", "bytes of the messages")
	for _, h := range handshakes {
		v := h.value
		fmt.Printf("%-30s %10.0f ", strings.TrimPrefix(h.name, "Handshake/"), v["ns/handshake"]/1e3)
		if bare := v["ns/bare"]; bare > 0 {
			m1, m2, m3 := v["B/message_1"], v["B/message_2"], v["B/message_3"]
			fmt.Printf("%10.0f %8.2f %8.0f %8.0f  %.0f + %.0f + %.0f = %.0f\n", bare/1e3, v["times-bare"], v["handshakes/s"], v["allocs/handshake"], m1, m2, m3, m1+m2+m3)
		} else {
			fmt.Printf("%10s %8s %8.0f %8.0f\n", "", "", v["handshakes/s"], v["allocs/op"])
		}
	}

	trips, err := of("oscore", "^BenchmarkRoundTrip$", 2000)
	if err != nil {
		return err
	}
	fmt.Printf("\na message of 64 bytes, protected and unprotected\n%-30s %10s %10s %8s %8s  %s\n", "", "ns", "bare ns", "times", "allocs", "bytes more of a request, of its answer")
	for _, t := range trips {
		v := t.value
		fmt.Printf("%-30s %10.0f %10.0f %8.2f %8.0f  %.0f, %.0f\n", strings.TrimPrefix(t.name, "RoundTrip/"), v["ns/trip"], v["ns/bare"], v["times-bare"], v["allocs/trip"], v["B/request"], v["B/answer"])
	}

	peers, err := of("coap", "^BenchmarkPeers$", 1)
	if err != nil {
		return err
	}
	fmt.Printf("\n10,000 peers with a session: %.1f MB\n", peers[0].value["MB"])

	var rates [2][]float64
	var slower []float64
	for range pairs {
		for i, n := range []string{"0", "10000"} {
			h, err := of("coap", "^BenchmarkHandshake$/^half_open_"+n+"$", 1000)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], h[0].value["handshakes/cpu-s"])
		}
		last := len(slower)
		slower = append(slower, 100*(1-rates[1][last]/rates[0][last]))
	}
	fmt.Printf("\na handshake over CoAP and a first request, both sides, in %d pairs: %.0f a second of one core with nothing, %.0f with 10,000 half open; %.1f %% slower (%.1f to %.1f)\n",
		pairs, median(rates[0]), median(rates[1]), median(slower), slices.Min(slower), slices.Max(slower))
	return nil
}

func median(of []float64) float64 {
	s := slices.Sorted(slices.Values(of))
	return s[len(s)/2]
}
