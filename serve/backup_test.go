// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve/pages"
	"github.com/myelin-health/myelin/store"
)

// TestBackupOfBus backs up a server with batches that it acknowledged and has not
// written into its store: they are in the restored one, each once. Sensors go on
// sending meanwhile.
func TestBackupOfBus(t *testing.T) {
	ctx := t.Context()
	s := open(t, Config{})
	if err := s.store.AddEnrolment(ctx, []byte("x"), "icu", "", "sensor", "le", time.Now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(ctx, []byte("x"), "s1", "key"); err != nil {
		t.Fatal(err)
	}
	sequence := uint64(0)
	put := func(n int) {
		for range n {
			sequence++
			now := time.Now().UnixNano()
			b := &store.Batch{Sensor: "s1", Sequence: sequence, Observations: []store.Observation{{Client: device.Address{Kind: device.IP, Value: "10.20.3.10"}, Server: device.Address{Kind: device.IP, Value: "10.20.1.5"}, Protocol: "hl7", First: now, Last: now, Count: 1, Packets: 1}}}
			if err := s.bus.Put(ctx, b); err != nil {
				t.Error(err)
				return
			}
		}
	}
	// written says how many batches are in a store, as the sensor's number and as a sum.
	written := func(s *Server) (sequence, sum uint64) {
		t.Helper()
		sensor, err := s.store.Sensor(ctx, "s1")
		if err != nil {
			t.Fatal(err)
		}
		links, err := s.store.Links(ctx, "", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			sum += l.Count
		}
		return sensor.Sequence, sum
	}
	drain := func(s *Server) {
		t.Helper()
		ctx, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		running.Go(func() {
			if err := s.bus.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for {
			if n, err := s.bus.Waiting(ctx); err != nil || n == 0 {
				if err != nil {
					t.Error(err)
				}
				break
			}
		}
		stop()
		running.Wait()
	}
	restored := func(during func()) *Server {
		t.Helper()
		var beside sync.WaitGroup
		beside.Go(during)
		file := filepath.Join(t.TempDir(), "b.tar")
		_, err := Backup(ctx, s.cfg.Data, file, "v0", nil)
		beside.Wait()
		if err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(t.TempDir(), "restored")
		if _, err := Restore(ctx, file, data); err != nil {
			t.Fatal(err)
		}
		return open(t, Config{Data: data})
	}
	put(20)
	drain(s)
	put(30) // nobody writes these
	again := restored(func() {})
	if n, sum := written(again); n != 20 || sum != 20 {
		t.Fatalf("the copy of the store has %d batches, %d counted", n, sum)
	}
	drain(again)
	if n, sum := written(again); n != 50 || sum != 50 {
		t.Errorf("of 50 acknowledged batches there are %d, %d counted", n, sum)
	}
	before := sequence
	again = restored(func() { // they are written, and more come, while it is copied
		put(60)
		drain(s)
		put(20)
	})
	drain(again)
	if n, sum := written(again); n < before || n != sum {
		t.Errorf("of %d batches that were acknowledged before there are %d, %d counted", before, n, sum)
	}
}

// TestDumpStore carries what a running server's store has into an empty one.
func TestDumpStore(t *testing.T) {
	ctx := t.Context()
	s := open(t, Config{})
	if err := s.store.SavePerson(ctx, &store.Person{Login: "ada"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "store.gz")
	if err := DumpStore(ctx, Config{Data: s.cfg.Data}, file); err != nil {
		t.Fatal(err)
	}
	if !IsDump(file) || IsDump(filepath.Join(s.cfg.Data, "myelin.db")) {
		t.Error("it is not told by what it is")
	}
	if err := DumpStore(ctx, Config{Data: s.cfg.Data}, file); err == nil {
		t.Error("it was written over another")
	}
	c := Config{Data: filepath.Join(t.TempDir(), "new")}
	if err := LoadStore(ctx, c, file); err != nil {
		t.Fatal(err)
	}
	if err := LoadStore(ctx, c, file); !errors.Is(err, store.ErrConflict) {
		t.Errorf("into one that is not empty: %v", err)
	}
	if err := LoadStore(ctx, Config{Data: s.cfg.Data}, file); !errors.Is(err, ErrInUse) {
		t.Errorf("into one that runs: %v", err)
	}
	if err := copyFile(filepath.Join(s.cfg.Data, "secret.key"), filepath.Join(c.Data, "secret.key")); err != nil { // of what is sealed in it
		t.Fatal(err)
	}
	if p, err := open(t, c).store.Person(ctx, "ada"); err != nil || p.Login != "ada" {
		t.Error(err)
	}
}

// TestRetention lets a year pass for a server that keeps each kind for ten days: what is
// ten days old is there until the next day's run, what is open or younger stays, and so
// does what is of a kind that is kept for ever.
func TestRetention(t *testing.T) {
	for _, kind := range store.Kept() {
		t.Run(kind, func(t *testing.T) {
			ctx := t.Context()
			k := &clock{at: time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)}
			s := open(t, Config{Now: k.now})
			if err := s.store.SetSetting(ctx, pages.RetentionSetting, nil, []byte(`{"`+kind+`":10}`)); err != nil {
				t.Fatal(err)
			}
			if err := s.store.AddEnrolment(ctx, []byte("x"), "icu", "", "guard", "le", k.now().Add(time.Hour).UnixNano()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.store.Enrol(ctx, []byte("x"), "s1", "key"); err != nil {
				t.Fatal(err)
			}
			sequence := uint64(0)
			// happens is one of each kind, and a finding that stays open.
			happens := func() {
				t.Helper()
				sequence++
				now := k.now().UnixNano()
				f := finding.Finding{ID: fmt.Sprint("fixed", sequence), Kind: finding.WeakTLS, Product: "P", Count: 1, First: now, Last: now}
				stays := f
				stays.ID = fmt.Sprint("open", sequence)
				b := &store.Batch{Sensor: "s1", Sequence: sequence, Findings: []finding.Finding{f, stays}, Events: []event.Event{{Kind: event.VerdictGiven, Time: now, Device: device.Address{Kind: device.Host, Value: "pump-3"}}}}
				b.Observations = []store.Observation{{Client: device.Address{Kind: device.IP, Value: "10.20.3.10"}, Server: device.Address{Kind: device.IP, Value: "10.20.1.5"}, Protocol: "hl7", First: now, Last: now, Count: 1, Packets: 1}}
				if _, err := s.store.Write(ctx, b); err != nil {
					t.Fatal(err)
				}
				if _, _, err := s.store.Triage(ctx, store.Triage{IDs: []string{f.ID}, State: store.Fixed, By: "te", Reason: "x"}); err != nil {
					t.Fatal(err)
				}
			}
			there := func() map[string]int {
				t.Helper()
				links, err1 := s.store.Links(ctx, "", 0, 10)
				verdicts, err2 := s.store.Verdicts(ctx, store.VerdictQuery{})
				notices, err3 := s.store.Notices(ctx, 0, 100)
				fixed, err4 := s.store.Findings(ctx, store.FindingQuery{State: []string{store.Fixed}})
				unsettled, err5 := s.store.Findings(ctx, store.FindingQuery{State: []string{store.Open}})
				if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
					t.Fatal(err)
				}
				if unsettled.Total != int(sequence) {
					t.Errorf("of %d open findings %d are left", sequence, unsettled.Total)
				}
				n := map[string]int{"verdicts": len(verdicts.Rows), "notices": len(notices), "findings": fixed.Total, "observations": 0}
				for _, l := range links {
					n["observations"] += int(l.Count)
				}
				return n
			}
			work := func() {
				t.Helper()
				for _, j := range s.jobs() {
					if err := s.once(ctx, &j); err != nil {
						t.Fatal(err)
					}
				}
			}
			happens()
			first := there()
			k.pass(10 * 24 * time.Hour)
			work() // exactly ten days
			if n := there(); !maps.Equal(n, first) {
				t.Errorf("after ten days: %v of %v", n, first)
			}
			happens()
			both := there()
			k.pass(24*time.Hour - time.Second)
			work() // the day is not over
			if n := there(); !maps.Equal(n, both) {
				t.Errorf("before the next run: %v of %v", n, both)
			}
			k.pass(time.Second)
			work()
			want := maps.Clone(both)
			want[kind] -= first[kind]
			if n := there(); !maps.Equal(n, want) {
				t.Errorf("after eleven days: %v, want %v", n, want)
			}
			for range 12 {
				k.pass(30 * 24 * time.Hour)
				work()
			}
			want[kind] = 0
			if n := there(); !maps.Equal(n, want) {
				t.Errorf("after a year: %v, want %v", n, want)
			}
		})
	}
}

// TestFolderOfSomethingElse leaves a folder alone that has other folders, but for those that
// the configuration names.
func TestFolderOfSomethingElse(t *testing.T) {
	data := t.TempDir()
	papers := filepath.Join(data, "papers")
	if err := os.Mkdir(papers, 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), Config{Data: data, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "it has papers") {
		if err == nil {
			s.Close()
		}
		t.Fatalf("a folder of something else: %v", err)
	}
	if list, err := os.ReadDir(data); err != nil || len(list) != 1 {
		t.Errorf("something was written there: %v %v", list, err)
	}
	for range 2 { // made, and opened again
		s, err := Open(t.Context(), Config{Data: data, Listen: "127.0.0.1:0", Watch: papers})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOneServer lets one server have a folder at a time, and leaves no lock behind.
func TestOneServer(t *testing.T) {
	s := open(t, Config{})
	for range 2 {
		if other, err := Open(t.Context(), Config{Data: s.cfg.Data, Listen: "127.0.0.1:0"}); !errors.Is(err, ErrInUse) {
			if err == nil {
				other.Close()
			}
			t.Fatalf("a second server: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), Config{Data: s.cfg.Data, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}
