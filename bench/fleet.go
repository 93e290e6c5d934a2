// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// fleet measures the index of 100,000 devices of 2,000 products: the benchmarks
// of package match, as a process of which the CPU time is known.
func fleet(dir string) error {
	program := filepath.Join(dir, "match.test")
	if out, err := exec.Command("go", "test", "-c", "-o", program, "github.com/myelin-health/myelin/match").CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w: %s", err, out)
	}
	fmt.Println("\nindex of 100,000 devices of 2,000 products of 650 components")
	for _, b := range []struct{ name, times string }{{"Index", "1x"}, {"Affected|AddSBOM", "1s"}} {
		file := filepath.Join(dir, "fleet.txt")
		u, err := measure(command{args: []string{program, "-test.run", "^$", "-test.bench", "^Benchmark(" + b.name + ")$", "-test.benchtime", b.times}, out: file})
		if err != nil {
			return err
		}
		said, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(string(said), "PASS\n") {
			return fmt.Errorf("go test -bench: %s", said)
		}
		for line := range strings.Lines(string(said)) {
			if strings.HasPrefix(line, "Benchmark") {
				io.WriteString(os.Stdout, line)
			}
		}
		fmt.Printf("%-26s %10.3f CPU s %10.3f wall s %10.0f peak MB, making the documents included\n", "the whole process", u.cpu.Seconds(), u.wall.Seconds(), float64(u.peak)/1e6)
	}
	return nil
}
