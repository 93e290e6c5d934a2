// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

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
