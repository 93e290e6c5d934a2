// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package sqlite opens a [store.Store] in one file. It is SQLite in Go, without cgo.
//
// This API follows the server and may change.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	_ "modernc.org/sqlite"

	"github.com/myelin-health/myelin/store"
)

var tables = []string{"device", "finding", "document"}

var dialect = store.Dialect{
	Goose: "sqlite3",
	Types: strings.NewReplacer("NUMBER", "INTEGER", "BYTES", "BLOB", "COUNTER", "INTEGER PRIMARY KEY AUTOINCREMENT", ")TABLEROWS;", ") STRICT, WITHOUT ROWID;", ")TABLE;", ") STRICT;"),
	More:  map[string][]string{"0001.sql": append(texts(), statistics...)},
	Alone: true,
	List:  func(param string) string { return "json_each(" + param + ")" },
	Match: func(table string, limit int) string {
		return fmt.Sprintf("SELECT rowid FROM %[1]s_text WHERE %[1]s_text MATCH $1 ORDER BY rowid DESC LIMIT %[2]d", table, limit)
	},
	Words: words,
	Text: func(table string) string {
		return fmt.Sprintf("INSERT OR REPLACE INTO %[1]s_text (rowid, body) VALUES ($1, $2)", table)
	},
	Forget: func(table string) string {
		return fmt.Sprintf("DELETE FROM %[1]s_text WHERE rowid = $1", table)
	},
	Checkpoint: func(ctx context.Context, db *sql.DB) error {
		var busy, frames, done int
		err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &frames, &done)
		if err != nil || frames-done < enough {
			return err
		}
		return db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &done)
	},
	Again: func(error) bool { return false }, // one writer: nobody comes in its way
	Backup: func(ctx context.Context, db *sql.DB, file string) error {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600) // it fills an empty one
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		c, err := db.Conn(ctx) // a reader's, so that nobody waits who writes
		if err != nil {
			return err
		}
		defer c.Close()
		var only int
		if err := c.QueryRowContext(ctx, "PRAGMA query_only").Scan(&only); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, "PRAGMA query_only(0)"); err != nil {
			return err
		}
		_, err = c.ExecContext(ctx, "VACUUM INTO $1", file)
		_, back := c.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA query_only(%d)", only))
		return errors.Join(err, back)
	},
}

// texts are the tables of full-text search, whose rows have the numbers of the rows
// that they are about.
func texts() []string {
	var out []string
	for _, t := range tables {
		out = append(out, "CREATE VIRTUAL TABLE "+t+"_text USING fts5(body, content='', contentless_delete=1, prefix='2 3', tokenize=\"unicode61 remove_diacritics 2\")")
	}
	return out
}

// statistics are what ANALYZE would find in a hospital of 100,000 devices: how many
// rows there are, and how many have the same first column, first two columns, and so
// on. The planner goes by them; they do not change, so that it does not change its mind.
var statistics = []string{"ANALYZE", "DELETE FROM sqlite_stat1", `INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
	('finding', 'sqlite_autoindex_finding_1', '200000 1'), ('finding', 'finding_urgency', '200000 60000 20 1'), ('finding', 'finding_kind', '200000 60000 6000 5 1'),
	('finding', 'finding_ward', '200000 60000 800 2 1'), ('finding', 'finding_last', '200000 2 1'), ('finding', 'finding_first', '200000 2 1'),
	('finding', 'finding_label', '200000 4 1'), ('finding', 'finding_name', '200000 6000 1'), ('finding', 'finding_device', '200000 3 2 1'), ('finding', 'finding_born', '200000 3'),
	('finding', 'finding_changed', '200000 60000 5 2 1 1'), ('finding', 'finding_assignee', '5000 100'), ('finding', 'finding_product', '1000 5'),
	('device', 'sqlite_autoindex_device_1', '100000 1'), ('device', 'device_urgency', '100000 4000 1'), ('device', 'device_label', '100000 2 1'),
	('device', 'device_ward', '100000 1000 100 1'), ('device', 'device_last', '100000 2 1'), ('device', 'device_root', '100000 1'), ('device', 'device_therapy', '100000 8000 5000 1'),
	('device', 'device_product', '100000 200 1'), ('identity', 'identity_live', '300000 100000 50000 1'), ('identity', 'identity_device', '300000 3'), ('identity', 'identity_born', '300000 3'),
	('pair', 'sqlite_autoindex_pair_1', '300000 4 1 1 1'), ('pair', 'pair_server', '300000 50'), ('talk', 'talk', '10000000 30000 1')`}

// words are a query of FTS5: all of these, each the beginning of a word. A single
// character beside others is a whole word ("bed 3"): a tenth of all words begin with it.
func words(typed string) string {
	list := strings.FieldsFunc(typed, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for i, w := range list {
		list[i] = `"` + w + `"*`
		if len(w) == 1 && len(list) > 1 {
			list[i] = `"` + w + `"`
		}
	}
	return strings.Join(list, " ")
}

// The log of what was written is put in its place when it has enough pages, beside those
// who write; when it has many, because they never pause, by who writes.
const (
	enough = 4000
	common = "_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)&_pragma=journal_mode(WAL)&_pragma=temp_store(MEMORY)&_pragma=wal_autocheckpoint(16000)"
)

// source names a file for the driver.
func source(file string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}).String()
}

// Copy writes a copy of the file as it is now to another, which must not be there, while
// a server may have it open.
func Copy(ctx context.Context, file, to string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", source(file)+"?_pragma=query_only(1)&"+common)
	if err != nil {
		return err
	}
	return errors.Join(dialect.Backup(ctx, db, to), db.Close())
}

// Open opens the file, which is made when it is not there, and brings it to the
// newest tables; of an older one a copy is kept beside it. now nil is the machine's clock.
// A store remembers what it looked up: who opens it sees that no other does to write
// what sensors say.
func Open(ctx context.Context, file string, now func() time.Time) (*store.Store, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	name := source(file)
	if f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	write, err := sql.Open("sqlite", name+"?_txlock=immediate&_pragma=cache_size(-32000)&"+common)
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1) // SQLite has one writer; here it waits its turn without polling
	_, _, err = dialect.Migrate(ctx, write, func(version int64) error {
		return dialect.Backup(ctx, write, fmt.Sprintf("%s.before-%d-%s", file, version, time.Now().UTC().Format("20060102T150405")))
	})
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	read, err := sql.Open("sqlite", name+"?_pragma=query_only(1)&_pragma=cache_size(-16000)&"+common)
	if err != nil {
		write.Close()
		return nil, err
	}
	read.SetMaxOpenConns(4)
	read.SetMaxIdleConns(4)
	return store.New(write, read, &dialect, now), nil
}
