// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
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
