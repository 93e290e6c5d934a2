// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/ledger"
)

// recording is a program that keeps a ledger as the guard does:
//
//	myelin-record DIR KEY FILE N [kill]
//
// It records N verdicts and writes to FILE which of them it was told are durable. With
// kill several goroutines record, and after N the process kills itself, as kill -9.
func recording() {
	if err := record(os.Args[1], os.Args[2], os.Args[3], os.Args[4], len(os.Args) > 5); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func record(dir, key, file, count string, kill bool) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	signer, verifier, err := ledgerSigner(key, nil)
	if err != nil {
		return err
	}
	l, err := ledger.Open(dir, ledger.Config{Signer: signer, Verifier: verifier, Every: time.Millisecond})
	if err != nil {
		return err
	}
	told, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	callers := 1 // in order
	if kill {
		callers = 8
	}
	me, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := 0; i < n || kill; i++ {
				e := &event.Event{
					Kind: event.VerdictGiven, Time: time.Date(2026, 3, 3, 6, 9, i, 0, time.UTC).UnixNano(),
					Device: device.Address{Kind: device.Host, Value: "pump-3"}, Peer: device.Address{Kind: device.IP, Value: "10.20.8.11"},
				}
				e.Add(event.Text(event.Front, "gw-icu-front"), event.Int(event.Verb, device.SetInfusionRate), event.Text(event.Value, "4 ug/kg/min"),
					event.Int(event.Verdict, device.Deny), event.Text(event.Reason, fmt.Sprintf("order %d of caller %d", i, caller)), event.Bool(event.Enforced, true))
				if err := l.Record(e); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Fprintf(told, "order %d of caller %d\n", i, caller) // one write, so that it is whole
				if done.Add(1) == int64(n) && kill {
					me.Kill()
				}
			}
		})
	}
	wg.Wait()
	return l.Close()
}

func scriptKept(ts *testscript.TestScript, _ bool, args []string) {
	have := map[string]bool{}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		_, reason, _ := strings.Cut(line, `"reason":"`)
		reason, _, _ = strings.Cut(reason, `"`)
		have[reason] = true
	}
	lines := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[0])))
	n := 0
	for ; lines.Scan(); n++ {
		if !have[lines.Text()] {
			ts.Fatalf("%s was acknowledged and is lost", lines.Text())
		}
	}
	ts.Logf("%d entries acknowledged, %d there", n, len(have))
}

func scriptFlip(ts *testscript.TestScript, _ bool, args []string) {
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b[at] ^= 0x40
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}
