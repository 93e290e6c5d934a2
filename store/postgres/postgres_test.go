// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
	"github.com/myelin-health/myelin/store/storetest"
)

// databases starts a server and returns what makes one empty place after another in it.
func databases(t *testing.T) func(t *testing.T) (dsn string) {
	server := testpeer.PostgreSQL(t, testpeer.Forgetful)
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	var n atomic.Int32
	return func(t *testing.T) string {
		t.Helper()
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
		return u.String()
	}
}

func open(t *testing.T, dsn string, now func() time.Time) *store.Store {
	t.Helper()
	s, err := Open(t.Context(), dsn, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	next := databases(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) *store.Store { return open(t, next(t), now) })
	t.Run("servers", func(t *testing.T) { servers(t, next(t)) })
	t.Run("grow", func(t *testing.T) { grow(t, next(t)) })
	t.Run("upgrade", func(t *testing.T) { upgrade(t, next(t)) })
	t.Run("migrate", func(t *testing.T) { migrateTogether(t, next(t)) })
}

// servers has two of them write the same things to one database at the same time.
func servers(t *testing.T, dsn string) {
	stores := []*store.Store{open(t, dsn, nil), open(t, dsn, nil)}
	storetest.Together(t, stores...)
	for _, s := range stores {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// grow moves a server from one file to PostgreSQL, and back from a backup.
func grow(t *testing.T, dsn string) {
	ctx := t.Context()
	small, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "myelin.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	storetest.Some(t, small)
	var dump bytes.Buffer
	if err := small.Dump(ctx, &dump); err != nil {
		t.Fatal(err)
	}
	large := open(t, dsn, nil)
	defer large.Close()
	if err := large.Restore(ctx, &dump); err != nil {
		t.Fatal(err)
	}
	storetest.Same(t, small, large)
	file := filepath.Join(t.TempDir(), "copy")
	if err := large.Backup(ctx, file); err != nil {
		t.Fatal(err)
	}
	again, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "myelin.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := again.Restore(ctx, f); err != nil {
		t.Fatal(err)
	}
	storetest.Same(t, small, again)
}

// upgrade opens a database of version 1 from several servers at once: one of them keeps
// a copy of it, from which another server begins.
func upgrade(t *testing.T, dsn string) {
	ctx := t.Context()
	s := open(t, dsn, nil)
	storetest.Some(t, s)
	later, err := filepath.Glob("../schema/*.sql")
	if err != nil || len(later) < 2 {
		t.Fatal(later, err)
	}
	var tables []string
	for _, file := range later[1:] { // Glob's order is the versions'
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`).FindAllSubmatch(b, -1) {
			tables = append(tables, string(m[1]))
		}
	}
	for _, q := range []string{"DROP TABLE " + strings.Join(tables, ", "), "DELETE FROM goose_db_version WHERE version_id > 1"} {
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	copies := t.TempDir()
	var servers sync.WaitGroup
	for range 3 {
		servers.Go(func() {
			s, err := OpenKeeping(ctx, dsn, copies, nil)
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	servers.Wait()
	defer s.Close()
	kept, err := filepath.Glob(filepath.Join(copies, "*"))
	if err != nil || len(kept) != 1 || !strings.Contains(kept[0], "postgres.before-1-") {
		t.Fatal(kept, err)
	}
	f, err := os.Open(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	again, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "myelin.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Restore(ctx, f); err != nil {
		t.Fatal(err)
	}
	storetest.Same(t, s, again)
}

// migrateTogether opens an empty database from several servers at once, and then one of
// a newer version.
func migrateTogether(t *testing.T, dsn string) {
	var servers sync.WaitGroup
	for range 4 {
		servers.Go(func() {
			s, err := Open(t.Context(), dsn, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	servers.Wait()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dsn, nil); !errors.Is(err, store.ErrNewer) {
		t.Fatalf("an older program opens it: %v", err)
	}
}

// BenchmarkStore measures as that of SQLite does, on a server of its own that makes
// durable what it says is durable, and says what the tables take of the disk.
func BenchmarkStore(b *testing.B) {
	dsn := testpeer.PostgreSQL(b, "max_wal_size=4GB")
	s, err := Open(b.Context(), dsn, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	begin := time.Now()
	last := storetest.Fill(b, s, storetest.Size())
	b.Logf("filled in %v", time.Since(begin))
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(b.Context(), "SELECT relname, n_live_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE pg_total_relation_size(relid) > 1000000 ORDER BY 3 DESC")
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		var n, size int64
		if err := rows.Scan(&table, &n, &size); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %d rows, %.1f MB", table, n, float64(size)/1e6)
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	var sequence atomic.Uint64
	sequence.Store(last)
	b.Run("ingest", func(b *testing.B) { storetest.BenchmarkIngest(b, s, &sequence) })
	b.Run("pages", func(b *testing.B) { storetest.BenchmarkPages(b, s, &sequence) })
	storetest.BenchmarkLists(b, s)
}
