// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/store"
)

// A child is a process of the test.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	read  sync.WaitGroup
}

// spawn starts a server or a sensor.
func spawn(t testing.TB, kind string, env ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0]), lines: make(chan string, 1<<16)}
	c.cmd.Env = append(append(os.Environ(), childEnv+"="+kind), env...)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	must(t, err)
	c.stdin, err = c.cmd.StdinPipe()
	must(t, err)
	must(t, c.cmd.Start())
	c.read.Go(func() {
		defer close(c.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			c.lines <- in.Text()
		}
	})
	return c
}

// kill ends a process as a loss of power ends it, but for the page cache.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.read.Wait()
	c.cmd.Wait()
}

// end lets a process end.
func (c *child) end() error {
	c.stdin.Close()
	c.read.Wait()
	return c.cmd.Wait()
}

// A cable is between a sensor and a server, and can be cut.
type cable struct {
	ln  net.Listener
	to  string
	all sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newCable(t testing.TB, to string) *cable {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cable{ln: ln, to: to, conns: map[net.Conn]bool{}}
	c.all.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { c.join(a) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		c.set(true)
		c.all.Wait()
	})
	return c
}

func (c *cable) join(a net.Conn) {
	defer a.Close()
	b, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer b.Close()
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return
	}
	c.conns[a], c.conns[b] = true, true
	c.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { io.Copy(a, b); a.Close(); b.Close() })
	both.Go(func() { io.Copy(b, a); a.Close(); b.Close() })
	both.Wait()
	c.mu.Lock()
	delete(c.conns, a)
	delete(c.conns, b)
	c.mu.Unlock()
}

// set cuts the cable, in the middle of whatever is said, or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for conn := range c.conns {
			conn.Close()
		}
	}
}

// TestCrash kills sensor and server, and cuts the cable between them, under load: what
// the sensor said that it has, is in the store once, in its order, and nothing is there by half.
func TestCrash(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	crash(t, rounds)
}

func crash(t *testing.T, rounds int) {
	serverDir, sensorDir := t.TempDir(), t.TempDir()
	first, err := openSite(serverDir, "127.0.0.1:0")
	must(t, err)
	listen, token := first.http.Addr, first.token(t, "guard")
	first.close()

	startServer := func() *child {
		c := spawn(t, "server", "DIR="+serverDir, "LISTEN="+listen)
		if line := <-c.lines; line != "ready" {
			t.Fatal("the server does not start")
		}
		return c
	}
	wire := newCable(t, listen)
	next := 1
	var kept []int
	startSensor := func() *child {
		return spawn(t, "sensor", "DIR="+sensorDir, "SERVER=https://"+wire.ln.Addr().String(), "TOKEN="+token, fmt.Sprintf("FROM=%d", next))
	}
	server, sensor := startServer(), startSensor()
	defer func() {
		server.kill()
		sensor.kill()
	}()
	take := func(line string) {
		var n int
		fmt.Sscan(line, &n)
		for i := range step {
			kept = append(kept, n-i)
		}
		next = n + 1
	}
	// more waits until the sensor has kept so many more.
	more := func(n int) {
		for range n {
			line, ok := <-sensor.lines
			if !ok {
				t.Fatal("the sensor ended")
			}
			take(line)
		}
	}
	for round := range rounds {
		more(1 + rand.IntN(8))
		what := (round + rand.IntN(2)) % 3
		switch what {
		case 0:
			sensor.kill()
			for line := range sensor.lines {
				take(line)
			}
			next += step // those under way may have been kept: they are not tried again
			sensor = startSensor()
		case 1:
			server.kill()
			more(rand.IntN(3))
			server = startServer()
		case 2:
			wire.set(true)
			more(rand.IntN(6))
			wire.set(false)
		}
	}
	more(3)
	sensor.stdin.Close()
	for line := range sensor.lines {
		take(line)
	}
	if err := sensor.end(); err != nil {
		t.Fatal("the sensor could not send the rest: ", err)
	}
	if err := server.end(); err != nil {
		t.Fatal(err)
	}

	s, err := openSite(serverDir, "127.0.0.1:0")
	must(t, err)
	defer s.close()
	s.settled(t)
	numbers, observations := items(t, s.store)
	seen := map[int]int{}
	for i, n := range numbers {
		if seen[n]++; seen[n] > 1 {
			t.Errorf("%d is there %d times", n, seen[n])
		}
		if i > 0 && numbers[i-1] >= n {
			t.Errorf("%d comes behind %d", n, numbers[i-1])
		}
	}
	for _, n := range kept {
		if seen[n] == 0 {
			t.Errorf("%d was kept, and is lost", n)
		}
	}
	if observations != uint64(each*len(numbers)) {
		t.Errorf("%d observations of %d items", observations, len(numbers))
	}
	t.Logf("%d kept, %d there, %d observations", len(kept), len(numbers), observations)
}

// BenchmarkPath is observations in batches of 1,000: kept on the sensor's disk, sent by
// mutual TLS, kept on the bus, written into the store and rolled up.
func BenchmarkPath(b *testing.B) {
	s := newSite(b)
	c := s.client(b, "sensor", nil)
	batch := talks(store.MaxObservations)
	for i := range batch.Observations {
		batch.Observations[i].Last = time.Now().UnixNano()
	}
	must(b, c.Keep(b.Context(), batch))
	ctx, stop := context.WithTimeout(b.Context(), 10*time.Minute)
	defer stop()
	must(b, c.Drain(ctx))
	s.settled(b)
	n, start := 0, time.Now()
	for b.Loop() {
		n++
		for { // not more than a little may wait: the slowest of the path is what counts
			if waiting, _, _, _ := c.queue.status(); waiting < 16 && c.Put(batch) == nil {
				break
			}
			pause(ctx, time.Millisecond)
		}
	}
	must(b, c.Drain(ctx))
	s.settled(b)
	b.ReportMetric(store.MaxObservations*float64(n)/time.Since(start).Seconds(), "observations/s")
}
