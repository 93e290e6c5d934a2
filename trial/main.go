// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Trial is for what takes too long for a test: the real program, run from files that it
// writes, is killed again and again under load, or used for long, and what came of it is held
// against what all sides saw. Everything is on loopback, and invented.
//
//	go run ./trial chaos -kills 200
//	go run ./trial soak -for 10m -connections 200
//	go run ./trial disk
//	go run ./trial hospital -for 5m -cluster
//
// Chaos kills a guard by SIGKILL at random moments, while orders go to a gateway of infusion
// pumps and boluses to an insulin pump, some orders wait for a second person, an archive is sent records and
// objects, somebody cancels, and the configuration changes. No entry of the ledger that somebody relied on may be
// lost, what the devices gave is never more than what is counted, nothing reaches a device twice or that was not
// sent whole, nothing that waits goes out without its confirmation or after its time, no rescue is refused, and each
// guard serves again at once.
//
// Soak uses a guard for a time. Its memory, its goroutines, its file descriptors and the files that it makes for a
// while are then what they were.
//
// Disk has a guard's disk take no more writes: therapy is refused, rescues and reports pass, people are
// told, and it goes on when the disk does.
//
// Hospital kills servers, sensors, a guard and nodes of a cluster by SIGKILL at random moments, and cuts the lines
// between sensors and servers, while they send and people triage. What a sensor said that it has on its disk is in
// the store once, and a guard's verdicts in their order; a request is done whole or not at all, also of those that
// were killed: the state of each finding is where its history ends, facets, counts and notices are what follows
// from that, who outside is told has each notice, and what was answered is in a ledger that verifies.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// execute is the program, with its exit status.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	const usage = "usage: trial chaos [-kills N] [-for TIME] [-seed N] | soak [-for TIME] [-connections N] | disk | hospital [-for TIME] [-seed N] [-cluster]"
	if len(args) == 0 {
		fmt.Fprintln(errs, usage)
		return 2
	}
	if len(args) == 2 && (args[0] == "node" || args[0] == "sensor") { // a process of the hospital
		var err error
		if args[0] == "node" {
			err = node(ctx, args[1])
		} else {
			err = watch(ctx, args[1], out)
		}
		if err != nil {
			fmt.Fprintln(errs, err)
			return 1
		}
		return 0
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.SetOutput(errs)
	length := f.Duration("for", 10*time.Minute, "`TIME` after which it ends")
	binary := f.String("binary", "", "`FILE` of the program; else it is built")
	kept := f.Bool("keep", false, "keep the folder")
	var kills, connections *int
	var seed *uint64
	var late, forget, cluster *bool
	switch args[0] {
	case "chaos":
		kills = f.Int("kills", 200, "how often the guard is killed, if there is time")
		seed = f.Uint64("seed", uint64(time.Now().UnixNano()), "of all that is random")
		late = f.Bool("late", false, "orders are confirmed at the pump after a while, not at once")
		forget = f.Bool("forget", false, "break it: the guard's disk forgets what was written since the kill before")
	case "soak":
		connections = f.Int("connections", 200, "how many talk at the same time")
	case "disk":
	case "hospital":
		seed = f.Uint64("seed", uint64(time.Now().UnixNano()), "of all that is random")
		cluster = f.Bool("cluster", false, "two servers, PostgreSQL and three nodes; else one server with all in it")
		forget = f.Bool("forget", false, "break it: the disk of a sensor that is killed forgets what it kept last")
	default:
		fmt.Fprintln(errs, usage)
		return 2
	}
	if err := f.Parse(args[1:]); err != nil || f.NArg() > 0 {
		return 2
	}
	dir, err := os.MkdirTemp("", "myelin-trial-")
	if err != nil {
		fmt.Fprintln(errs, "trial:", err)
		return 1
	}
	if *kept {
		fmt.Fprintln(errs, "trial: in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	var problems []string
	switch {
	case kills != nil:
		fmt.Fprintf(out, "chaos: seed %d\n", *seed)
		var e *Evidence
		e, err = chaos(ctx, dir, chaosConfig{kills: *kills, most: *length, seed: *seed, binary: *binary, late: *late, forget: *forget, out: out})
		if err == nil {
			problems = e.Problems()
		}
	case connections != nil:
		problems, err = soak(ctx, dir, soakConfig{length: *length, connections: *connections, binary: *binary, out: out})
	case cluster != nil:
		fmt.Fprintf(out, "hospital: seed %d\n", *seed)
		var b *Books
		if b, err = hospitalize(ctx, dir, hospitalConfig{most: *length, seed: *seed, binary: *binary, cluster: *cluster, forget: *forget}); err == nil {
			fmt.Fprintln(out, b.summary())
			problems = b.Problems()
		}
	default:
		var d *Disk
		if d, err = full(ctx, dir, *binary, out); err == nil {
			problems = d.Problems()
		}
	}
	const most = 30
	for i, p := range problems {
		if i == most {
			fmt.Fprintf(out, "... and %d more\n", len(problems)-most)
			break
		}
		fmt.Fprintln(out, "FAILED:", p)
	}
	switch {
	case err != nil:
		fmt.Fprintln(errs, "trial:", errors.Join(err))
		return 1
	case len(problems) > 0:
		return 3
	}
	fmt.Fprintln(out, "all holds")
	return 0
}
