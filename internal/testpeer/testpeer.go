// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package testpeer finds other people's implementations on this machine,
// starts them on loopback ports of their own, and stops them again, for tests
// that want a real peer. A test whose peer is not installed is skipped and says
// what to install; where CI is set in the environment it fails.
//
// This API follows the server and may change.
package testpeer

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/myelin-health/myelin/internal/loopback"
)

const (
	// patience is how long a peer may take to listen, and to end when told to.
	patience = 30 * time.Second
	// interval is how often its port is tried meanwhile.
	interval = 10 * time.Millisecond
)

// A TB is what of testing.TB is needed here, so that a program which is no test
// can start peers too.
type TB interface {
	Helper()
	Context() context.Context
	TempDir() string
	Cleanup(func())
	Skipf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Tool returns the path of a program, or skips the test when it is not
// installed. pkg is the Debian package that has it.
func Tool(t TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s is not installed: apt-get install %s", name, pkg)
	}
	return path
}

// Missing skips a test that wants what is not here, and says what to install. In CI,
// which has all of it, the test fails: nothing is left out there without being seen.
func Missing(t TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
		return
	}
	t.Skipf(format, args...)
}

// Run runs a program in dir to its end and returns what it printed. The test
// fails when the program does.
func Run(t TB, dir, path string, args ...string) string {
	t.Helper()
	out, err := Try(t, dir, path, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, out)
	}
	return out
}

// Try is [Run] for a program that may fail.
func Try(t TB, dir, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Port returns a TCP port of the loopback interface that nobody listens on; see [loopback.Free].
func Port(t TB) int {
	t.Helper()
	address, err := loopback.Free("tcp")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return n
}

// Start starts a server in dir, waits until it listens on port, and stops it
// at the end of the test. The test fails, with what the server printed, when
// it ends before.
func Start(t TB, dir string, port int, path string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	// A group of its own, so that what it forks ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = patience // then it is killed
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	try := time.NewTicker(interval)
	defer try.Stop()
	for {
		if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			c.Close()
			return
		}
		select {
		case <-try.C:
		case <-ended:
			t.Fatalf("%s ended before it listened:\n%s", path, &out)
		case <-deadline.C:
			t.Fatalf("%s does not listen on port %d:\n%s", path, port, &out)
		}
	}
}

// output is a buffer that a running program writes and a test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
