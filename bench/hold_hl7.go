// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// holdHL7 measures the HL7 front by the benchmarks that stand beside its code, with
// the guard a process of its own: 500 orders a second straight to a gateway, and
// through TLS, envelope and ledger, with a bare fsync measured between them; and the memory
// of 2,000 connections that are idle.
func holdHL7(dir string, rounds int) error {
	binary := filepath.Join(dir, "guard-hl7.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, "./guard/hl7").CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w: %s", err, out)
	}
	pkg := filepath.Join("guard", "hl7")
	orders, err := benchmarks(binary, pkg, "^BenchmarkOrders$", rounds)
	if err != nil {
		return err
	}
	v := orders[0].value
	fmt.Printf("\n%d orders of HL7, 500 a second\n%-22s %10s %10s\n", 1000*rounds, "microseconds", "p50", "p99")
	for _, way := range []string{"direct", "fsync", "guard"} {
		fmt.Printf("%-22s %10.0f %10.0f\n", way, v[way+"-p50-us"], v[way+"-p99-us"])
	}
	fmt.Printf("%-22s %10.0f %10.0f\n", "above direct and fsync", v["guard-p50-us"]-v["direct-p50-us"]-v["fsync-p50-us"], v["guard-p99-us"]-v["direct-p99-us"]-v["fsync-p99-us"])
	idle, err := benchmarks(binary, pkg, "^BenchmarkIdle$", 1)
	if err != nil {
		return err
	}
	fmt.Printf("2,000 idle connections with TLS: %.0f MB resident\n", idle[0].value["MB"])
	return nil
}
