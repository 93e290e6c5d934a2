// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// holdDICOM measures the DICOM front by the benchmark that stands beside its
// code: an object of 50 MB from DCMTK's storescu to its storescp, directly, through
// a pair of stunnels, and through the front, turn by turn. Without these peers it
// says what is missing.
func holdDICOM(dir string, rounds int) error {
	binary := filepath.Join(dir, "guard-dicom.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, "./guard/dicom").CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w: %s", err, out)
	}
	for _, peer := range []string{"storescu", "storescp", "dump2dcm", "stunnel4"} {
		if _, err := exec.LookPath(peer); err != nil {
			fmt.Printf("\nC-STORE through the guard: %s is not installed\n", peer)
			return nil
		}
	}
	of, err := benchmarks(binary, filepath.Join("guard", "dicom"), "^BenchmarkStore$", rounds)
	if err != nil {
		return err
	}
	v := of[0].value
	fmt.Printf("\nC-STORE of 50 MiB by %s, median of %d rounds\n%-22s %10s %10s\n", version("storescu", "--version"), rounds, "", "MB/s", "of direct")
	for _, way := range []string{"direct", "direct-TLS", "stunnel-pair", "stunnel-far", "front-TLS"} {
		rate := v[way+"-MB/s"]
		fmt.Printf("%-22s %10.0f %9.0f%%\n", way, rate, 100*rate/v["direct-MB/s"])
	}
	fmt.Printf("the front: %.0f ms of the processor for an object, %.0f KB of memory for an association under way; beside %s\n", v["CPU-ms/object"], v["KB/association"], version("stunnel4", "-version"))
	return nil
}

// version is the first line that a peer says of itself that has a version in it.
func version(program string, args ...string) string {
	out, _ := exec.Command(program, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if line = strings.Trim(strings.TrimSpace(line), "$ "); strings.Contains(line, ".") && !strings.HasPrefix(line, "[") {
			return line
		}
	}
	return program
}
