// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) *store.Store {
		s, err := Open(t.Context(), filepath.Join(t.TempDir(), "myelin.db"), now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestBackup opens a copy that was made while others wrote.
func TestBackup(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "myelin.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storetest.Some(t, s)
	stop := make(chan bool)
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Lease(ctx, "busy", "t", time.Hour); err != nil {
				t.Error(err)
				return
			}
		}
	})
	file := filepath.Join(t.TempDir(), "copy.db")
	err = s.Backup(ctx, file)
	close(stop)
	writer.Wait()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(ctx, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	storetest.Same(t, s, c)
	if _, err := s.Devices(ctx, store.DeviceQuery{}); err != nil {
		t.Fatal(err)
	}
}

// TestMain is also the program that TestKill kills.
func TestMain(m *testing.M) {
	if file := os.Getenv("MYELIN_KILLED"); file != "" {
		if err := written(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// written writes batches for ever, from the first that is not known to be written, and
// says so of each that is. A batch is ten observations, one of them of an address that
// is new, and a finding.
func written(file string) error {
	ctx := context.Background()
	s, err := Open(ctx, file, nil)
	if err != nil {
		return err
	}
	next, err := strconv.ParseUint(os.Getenv("MYELIN_NEXT"), 10, 64)
	if err != nil {
		return err
	}
	for ; ; next++ {
		if _, err := s.Write(ctx, killed(next)); err != nil {
			return err
		}
		fmt.Println(next)
	}
}

func killed(sequence uint64) *store.Batch {
	b := &store.Batch{Sensor: "icu", Sequence: sequence}
	address := func(n uint64) device.Address {
		return device.Address{Kind: device.IP, Value: fmt.Sprintf("10.0.%d.%d", n>>8, n&255)}
	}
	for i := range uint64(10) {
		o := store.Observation{Client: address(i), Server: address(1000), Protocol: "hl7", First: 1, Last: 1, Count: 1, Packets: 1}
		if i == 0 {
			o.Client = address(2000 + sequence)
		}
		b.Observations = append(b.Observations, o)
	}
	b.Findings = []finding.Finding{{ID: fmt.Sprint("f", sequence), Kind: finding.WeakTLS, Device: fmt.Sprint("d", sequence%5), Count: 1, First: 1, Last: 1}}
	return b
}

// TestKill kills a writer in the middle of its batches: what it said to be written is
// written once, and so is what it writes again because it had not said so.
func TestKill(t *testing.T) {
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "myelin.db")
	open := func() *store.Store {
		t.Helper()
		s, err := Open(ctx, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	storetest.Enrol(t, s, "icu")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	said := uint64(0)
	for round := range 6 {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), "MYELIN_KILLED="+file, fmt.Sprintf("MYELIN_NEXT=%d", said+1))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if said, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			if n == 7+13*round {
				if err := cmd.Process.Kill(); err != nil { // and read what it had said by then
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("it ended by itself")
		}
		s := open()
		sensor, err := s.Sensor(ctx, "icu")
		if err != nil {
			t.Fatal(err)
		}
		if sensor.Sequence != said && sensor.Sequence != said+1 {
			t.Fatalf("batch %d was said to be written, %d was", said, sensor.Sequence)
		}
		whole(t, s, sensor.Sequence)
		for range 2 { // the sensor sends again what nobody confirmed
			if _, err := s.Write(ctx, killed(said+1)); err != nil {
				t.Fatal(err)
			}
		}
		said++
		whole(t, s, said)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// whole says that so many batches are there, each once and whole.
func whole(t *testing.T, s *store.Store, batches uint64) {
	t.Helper()
	links, err := s.Links(t.Context(), "", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, l := range links {
		n += l.Count
	}
	l, err := s.Findings(t.Context(), store.FindingQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if n != 10*batches || l.Total != int(batches) {
		t.Fatalf("%d observations and %d findings of %d batches", n, l.Total, batches)
	}
}

// BenchmarkStore measures with a file that it fills, or with the one that
// MYELIN_DATA names, which it leaves there for the next time.
func BenchmarkStore(b *testing.B) {
	file := os.Getenv("MYELIN_DATA")
	if file == "" {
		file = filepath.Join(b.TempDir(), "myelin.db")
	}
	if _, err := os.Stat(file); err != nil {
		begin := time.Now()
		s, err := Open(b.Context(), file, nil)
		if err != nil {
			b.Fatal(err)
		}
		storetest.Fill(b, s, storetest.Size())
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.Logf("filled in %v", time.Since(begin))
	}
	begin := time.Now()
	s, err := Open(b.Context(), file, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l, err := s.Sensors(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Findings(b.Context(), store.FindingQuery{State: []string{store.Open}, Facets: true}); err != nil {
		b.Fatal(err)
	}
	b.Logf("opened, with a first page, in %v", time.Since(begin))
	var sequence atomic.Uint64
	sequence.Store(l[0].Sequence)
	b.Run("ingest", func(b *testing.B) { storetest.BenchmarkIngest(b, s, &sequence) })
	b.Run("pages", func(b *testing.B) { storetest.BenchmarkPages(b, s, &sequence) })
	storetest.BenchmarkLists(b, s)
}

// TestCheckpoint writes much, after which nobody who writes has to put it in its place.
func TestCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "myelin.db")
		s, err := Open(t.Context(), file, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.AddDocument(t.Context(), &store.Document{Digest: "d"}, make([]byte, 4096*(enough+1))); err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // of the test's own clock
		synctest.Wait()
		after, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if before.Size() >= 4096*enough || after.Size() < 4096*enough {
			t.Errorf("the file has %d bytes, and then %d", before.Size(), after.Size())
		}
	})
}

// TestCopy copies a file that a store has open.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	file, to := filepath.Join(dir, "myelin.db"), filepath.Join(dir, "copy.db")
	s, err := Open(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storetest.Some(t, s)
	if err := Copy(t.Context(), file, to); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), file, to); err == nil {
		t.Error("a copy over another")
	}
	c, err := Open(t.Context(), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	storetest.Same(t, s, c)
	if err := Copy(t.Context(), filepath.Join(dir, "none.db"), filepath.Join(dir, "x.db")); err == nil {
		t.Error("a copy of nothing")
	}
}
