// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// ledger measures how many events a second become durable on one core, by how many
// callers who each wait for their own, beside a bare fsync; and how long a million
// entries take to verify. The files are real, in the folder for temporary files.
func ledger(dir string) error {
	binary := filepath.Join(dir, "ledger.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, "./ledger").CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w: %s", err, out)
	}
	fmt.Printf("\nthe ledger, on one core\n%-30s %12s %12s %14s\n", "", "us", "entries/s", "entries/cpu-s")
	for _, m := range []struct {
		match  string
		rounds int
	}{
		{"^BenchmarkFsync$", 5000},
		{"^BenchmarkRecord$/^callers=1$", 5000},
		{"^BenchmarkRecord$/^callers=64$", 300_000},
		{"^BenchmarkRecord$/^callers=512$", 500_000},
		{"^BenchmarkVerify$", 3},
	} {
		all, err := benchmarks(binary, "ledger", m.match, m.rounds)
		if err != nil {
			return err
		}
		v := all[0].value
		name := strings.TrimPrefix(all[0].name, "Record/")
		if v["entries/s"] == 0 {
			v["entries/s"] = 1e9 / v["ns/op"]
		}
		cpu := ""
		if n := v["entries/cpu-s"]; n > 0 {
			cpu = fmt.Sprintf(" %14.0f", n)
		}
		fmt.Printf("%-30s %12.1f %12.0f%s\n", name, v["ns/op"]/1e3, v["entries/s"], cpu)
	}
	return nil
}
