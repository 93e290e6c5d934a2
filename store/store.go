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
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

	// Alone: no other process writes, and nobody else while a transaction runs.
	// Statements are prepared once, and what was looked up is remembered.
	Alone bool
	// List is a table of the texts in a parameter that is a JSON array of them, with the
	// column value: a statement about many rows is the same for however many.
	List func(param string) string
	// Lock ends a SELECT whose rows nobody else may change until the transaction ends.
	Lock string
	// Inventory is a statement that waits until no other transaction changes which
	// device is which; "" when there is none.
	Inventory string

	// Match is a query for the numbers of a table's rows ("device", "finding",
	// "document") whose text has words that begin like all of these, the newest first,
	// at most limit. Its one parameter is what Words returns.
	Match func(table string, limit int) string
	// Words is that parameter for what a person typed; "" when there is no word in it.
	Words func(typed string) string
	// Text writes a row's text, which replaces what it had; its parameters are num and text.
	Text func(table string) string
	// Forget removes a row's text; its parameter is the num.
	Forget func(table string) string
	// Again reports whether a transaction failed because of another, and can be tried again.
	Again func(error) bool
	// Backup writes a copy of the data to a file that does not exist; nil: there is
	// nothing better than [Store.Dump].
	Backup func(ctx context.Context, db *sql.DB, file string) error
	// Checkpoint puts what was committed in its place when that is much, while others read
	// and write, so that who commits has not to; nil: the engine does so by itself.
	Checkpoint func(ctx context.Context, db *sql.DB) error
	// Counted is a statement that makes a key count on from the rows that are there;
	// nil: it does so by itself.
	Counted func(table, column string) string
}

// A Store is a database. Its methods may be called from several goroutines.
type Store struct {
	write *sql.DB // one writer at a time on SQLite
	read  reader  // the same on PostgreSQL
	d     *Dialect
	now   func() time.Time

	beside  sync.WaitGroup // a checkpoint, at most one
	pending atomic.Bool    // there is one
	closing context.Context
	close   context.CancelFunc

	mu       sync.Mutex
	known    Memory[name, int64] // identities; valid iff d.Alone
	pairs    Memory[pair, int64]
	prepared map[string]*sql.Stmt // nil: seen once
}

// New makes a store of an open database with its tables. now nil is the machine's clock.
func New(write, read *sql.DB, d *Dialect, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	s := &Store{write: write, read: reader{read}, d: d, now: now, prepared: map[string]*sql.Stmt{}}
	s.closing, s.close = context.WithCancel(context.Background())
	return s
}

// Close closes the database.
func (s *Store) Close() error {
	s.close()
	s.beside.Wait()
	err := s.write.Close()
	if s.read.DB != s.write {
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
const tries = 20

// tx runs f in one transaction of the writer, again from the start when another
// came in its way: f must set what it returns anew.
func (s *Store) tx(ctx context.Context, f func(tx *transaction) error) (err error) {
	for range tries {
		if err = s.once(ctx, f); err == nil || !s.d.Again(err) || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (s *Store) once(ctx context.Context, f func(tx *transaction) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	t := &transaction{Tx: tx, s: s, ready: map[string]*sql.Stmt{}}
	if err := f(t); err != nil {
		return err
	}
	if err := t.writeTexts(ctx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.prepare(t.strange)
	s.checkpoint()
	return nil
}

// checkpointAfter is how long after a commit there is a checkpoint: who changes much at
// once often does so again.
const checkpointAfter = 100 * time.Millisecond

// checkpoint has one come, if the engine wants any.
func (s *Store) checkpoint() {
	if s.d.Checkpoint == nil || s.pending.Swap(true) {
		return
	}
	s.beside.Go(func() {
		defer s.pending.Store(false)
		select {
		case <-s.closing.Done(): // who closes the file does it
		case <-time.After(checkpointAfter):
			_ = s.d.Checkpoint(s.closing, s.read.DB) // when it fails, who writes does it some time
		}
	})
}

// exec runs one statement of the writer.
func (s *Store) exec(ctx context.Context, query string, args ...any) (r sql.Result, err error) {
	err = s.tx(ctx, func(tx *transaction) error {
		r, err = tx.ExecContext(ctx, query, args...)
		return err
	})
	return r, err
}

// A transaction cleans the texts that go in, and prepares what comes again and again.
type transaction struct {
	*sql.Tx
	s       *Store
	ready   map[string]*sql.Stmt
	strange []string // statements that nobody prepared
	texts   map[of]string
	locked  bool // it is the one that changes which device is which
}

// maxPrepared is how many statements are kept ready, some 10 kB each.
const maxPrepared = 256

// statement returns a statement that is ready, or nil.
func (t *transaction) statement(ctx context.Context, query string) *sql.Stmt {
	if !t.s.d.Alone {
		return nil // pgx has its own
	}
	if st, ok := t.ready[query]; ok {
		return st
	}
	t.s.mu.Lock()
	st := t.s.prepared[query]
	t.s.mu.Unlock()
	if st == nil {
		t.strange = append(t.strange, query)
	} else {
		st = t.StmtContext(ctx, st)
	}
	t.ready[query] = st
	return st
}

// prepare makes statements ready that came a second time. One that cannot be is not:
// what was done is done.
func (s *Store) prepare(list []string) {
	for _, query := range list {
		s.mu.Lock()
		st, seen := s.prepared[query]
		if !seen && len(s.prepared) < maxPrepared {
			s.prepared[query] = nil
		}
		s.mu.Unlock()
		if !seen || st != nil {
			continue
		}
		st, err := s.write.Prepare(query)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.prepared[query] = st
		s.mu.Unlock()
	}
}

func (t *transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	clean(args)
	if st := t.statement(ctx, query); st != nil {
		return st.ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, query, args...)
}

func (t *transaction) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	clean(args)
	if st := t.statement(ctx, query); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, query, args...)
}

func (t *transaction) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	clean(args)
	if st := t.statement(ctx, query); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return t.Tx.QueryRowContext(ctx, query, args...)
}

// A row of a table that can be searched.
type of struct{ table, id string }

// text notes what a row is found by; "" when it goes.
func (t *transaction) text(table, id, words string) {
	if t.texts == nil {
		t.texts = map[of]string{}
	}
	t.texts[of{table, id}] = words
}

// writeTexts writes what text noted, at the end, in one go and in the order of numbers:
// FTS5 writes out what it has before each other statement that may have to be taken
// back, and whenever a number is less than the one before.
func (t *transaction) writeTexts(ctx context.Context) error {
	type line struct {
		table string
		num   int64
		words string
	}
	var lines []line
	for row, words := range t.texts {
		l := line{row.table, 0, words}
		if err := t.QueryRowContext(ctx, "SELECT num FROM "+row.table+" WHERE id = $1", row.id).Scan(&l.num); err != nil {
			return err
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(strings.Compare(a.table, b.table), cmp.Compare(a.num, b.num)) })
	for _, l := range lines {
		var err error
		if l.words != "" {
			_, err = t.ExecContext(ctx, t.s.d.Text(l.table), l.num, l.words)
		} else {
			_, err = t.ExecContext(ctx, t.s.d.Forget(l.table), l.num)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// insert adds rows to a table ("t (a, b)"), with one statement each or for many where
// that is what is fast, else with as few as there can be. rest follows the values.
func (t *transaction) insert(ctx context.Context, table, rest string, columns int, rows [][]any) error {
	const many = 50
	for len(rows) > 0 {
		n := 1
		switch {
		case !t.s.d.Alone:
			n = min(len(rows), 20_000/columns) // PostgreSQL takes 65,535 parameters
		case len(rows) >= many: // or one: there are two statements to prepare
			n = many
		}
		var values strings.Builder
		for i := range n {
			if i > 0 {
				values.WriteByte(',')
			}
			values.WriteString("(" + params(i*columns+1, columns) + ")")
		}
		if _, err := t.ExecContext(ctx, "INSERT INTO "+table+" VALUES "+values.String()+rest, slices.Concat(rows[:n]...)...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// these is a condition that a column is one of a list, which is a parameter.
func (s *Store) these(column, param string) string {
	return column + " IN (SELECT value FROM " + s.d.List(param) + ")"
}

// listOf is that parameter.
func listOf(texts []string) string {
	list := make([]any, len(texts))
	for i, t := range texts {
		list[i] = t
	}
	clean(list)
	b, _ := json.Marshal(list)
	return string(b)
}

// A reader cleans the texts of queries.
type reader struct{ *sql.DB }

func (r reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	clean(args)
	return r.DB.QueryContext(ctx, query, args...)
}

func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	clean(args)
	return r.DB.QueryRowContext(ctx, query, args...)
}

// A Memory remembers at most some 260,000 things, those that were used last. Its zero
// value is empty; it is not for several goroutines at once.
type Memory[K comparable, V any] struct{ young, old map[K]V }

// maxYoung is how many are used before those that were not since are forgotten: some 40 MB.
const maxYoung = 1 << 17

// Get returns what is remembered under a key.
func (m *Memory[K, V]) Get(k K) (V, bool) {
	v, ok := m.young[k]
	if !ok {
		if v, ok = m.old[k]; ok {
			m.Put(k, v)
		}
	}
	return v, ok
}

// Put remembers a value under a key.
func (m *Memory[K, V]) Put(k K, v V) {
	if m.young == nil || len(m.young) >= maxYoung {
		m.young, m.old = map[K]V{}, m.young
	}
	m.young[k] = v
}

// Values are what is remembered, in no order; one that was used lately may come twice.
func (m *Memory[K, V]) Values() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, values := range []map[K]V{m.young, m.old} {
			for _, v := range values {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// Forget forgets a key.
func (m *Memory[K, V]) Forget(k K) {
	delete(m.young, k)
	delete(m.old, k)
}
