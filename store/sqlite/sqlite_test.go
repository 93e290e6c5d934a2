// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
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

func BenchmarkStore(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "myelin.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	begin := time.Now()
	var sequence atomic.Uint64
	sequence.Store(storetest.Fill(b, s, storetest.Size()))
	b.Logf("filled in %v", time.Since(begin))
	b.Run("ingest", func(b *testing.B) { storetest.BenchmarkIngest(b, s, &sequence) })
	storetest.BenchmarkLists(b, s)
}
