// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"database/sql"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/storetest"
)

func TestStore(t *testing.T) {
	server := testpeer.PostgreSQL(t)
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	var n atomic.Int32
	storetest.Run(t, func(t *testing.T, now func() time.Time) *store.Store {
		name := fmt.Sprintf("test%d", n.Add(1))
		if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("search_path", name)
		u.RawQuery = q.Encode()
		s, err := Open(t.Context(), u.String(), now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
