// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package store keeps what a server knows: devices and their identities, what
// they were seen to talk, findings and what people decided about them, verdicts
// of guards, sensors, people, documents.
//
// One [Store] speaks plain SQL through database/sql. The two engines, in
// store/sqlite and store/postgres, open it: each brings its migrations and what
// its SQL has in a dialect of its own (full-text search). Parameters are written
// $1, $2 in both. store/storetest is the suite that both pass.
//
// An exported method is one transaction; what it returns without an error is
// durable. Evidence (history of findings, verdicts, records of merges) is only
// ever added to. No patient data is in here: see package event.
//
// This API follows the server and may change.
package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"time"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("somebody else changed it meanwhile") // a version does not fit
	ErrCursor   = errors.New("there is no such page of this list")
	ErrNewer    = errors.New("the data were written by a newer version of myelin; run that, or restore a copy")
)

// A Dialect is what the SQL of an engine has for itself.
type Dialect struct {
	Goose string              // the dialect's name there
	Types *strings.Replacer   // of the words in schema that stand for types
	More  map[string][]string // statements after a file of schema: tables of texts
	Alone bool                // no other process writes

	// Match is a subquery for the ids of a table's rows ("device", "finding",
	// "document") whose text has words that begin like all of these, at most limit.
	// n is the number of its one parameter.
	Match func(table string, n, limit int) string
	// Words is that parameter for what a person typed; "" when there is no word in it.
	Words func(typed string) string
	// Text writes a row's text, which replaces what it had; its parameters are id and text.
	Text func(table string) string
	// Forget removes a row's text before the row goes; its parameter is the id.
	Forget func(table string) string
	// Again reports whether a transaction failed because of another, and can be tried again.
	Again func(error) bool
	// Backup writes a copy of the data to a file.
	Backup func(ctx context.Context, db *sql.DB, file string) error
}

// A Store is a database. Its methods may be called from several goroutines.
type Store struct {
	write *sql.DB // one writer at a time on SQLite
	read  *sql.DB // the same on PostgreSQL
	d     *Dialect
	now   func() time.Time

	mu    sync.Mutex
	known map[name]int64 // identities by name; valid iff d.Alone
}

// New makes a store of an open database with its tables. now nil is the machine's clock.
func New(write, read *sql.DB, d *Dialect, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{write: write, read: read, d: d, now: now}
}

// Close closes the database.
func (s *Store) Close() error {
	err := s.write.Close()
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	return err
}

// A Page is a part of a list: at most Limit rows after the cursor.
type Page struct {
	After string // Next of the page before, or ""
	Limit int    // 0 is 50; at most 1,000
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 50
	}
	return min(p.Limit, 1000)
}

// tries is how often a transaction is tried that others come in the way of.
const tries = 8

// tx runs f in one transaction of the writer, again from the start when another
// came in its way: f must set what it returns anew.
func (s *Store) tx(ctx context.Context, f func(tx *sql.Tx) error) (err error) {
	for range tries {
		if err = s.once(ctx, f); err == nil || !s.d.Again(err) {
			break
		}
	}
	return err
}

func (s *Store) once(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
