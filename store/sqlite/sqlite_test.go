// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"path/filepath"
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
