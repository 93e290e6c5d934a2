// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bufio"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/finding"
)

// A copy that both engines can read is JSON lines, with gzip: a [head], then for each
// table its name and columns, and its rows as arrays. Bytes are {"b":"base64"}. What
// finds texts is made anew. So a server grows from one file to PostgreSQL, too.

// A head is the first line of a copy.
type head struct {
	Myelin string `json:"myelin"` // "store"
	Schema int64  `json:"schema"`
}

// A tableHead is the line before the rows of a table.
type tableHead struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

type blob struct {
	B []byte `json:"b"`
}

// A copiedTable goes into copies.
type copiedTable struct {
	table, counter string
	since          int64 // version of the schema
}

// copied are all tables, those that others refer to first; sessions and leases end.
var copied = []copiedTable{
	{"device", "num", 1},
	{"device_count", "", 1},
	{"identity", "id", 1},
	{"merge", "id", 1},
	{"split", "id", 3},
	{"split_name", "", 3},
	{"worn", "", 1},
	{"device_step", "id", 1},
	{"pair", "id", 1},
	{"talk", "", 1},
	{"finding", "num", 1},
	{"finding_cve", "", 1},
	{"finding_count", "", 1},
	{"finding_cube", "", 1},
	{"finding_step", "id", 1},
	{"verdict", "seq", 1},
	{"held", "", 1},
	{"guard_state", "", 2},
	{"approval", "", 2},
	{"update_key", "", 4},
	{"update_member", "num", 4},
	{"update_release", "", 4},
	{"update_unit", "", 4},
	{"rollout", "num", 4},
	{"rollout_event", "seq", 4},
	{"sensor", "", 1},
	{"written", "", 1},
	{"enrolment", "", 1},
	{"document", "num", 1},
	{"person", "id", 1},
	{"token", "id", 1},
	{"setting", "", 1},
	{"notice", "seq", 1},
}

// Backup writes a copy of the data as they are now to a file that does not exist yet:
// SQLite's own, or one for [Store.Restore].
func (s *Store) Backup(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s: %w", file, os.ErrExist)
	}
	part := file + ".part"
	if s.d.Backup != nil {
		if err := s.d.Backup(ctx, s.read.DB, part); err != nil {
			return errors.Join(err, os.Remove(part))
		}
	} else if err := s.copyTo(ctx, part); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return publish(part, file)
}

// publish gives a whole file its name, durably.
func publish(part, file string) error {
	for _, step := range []func() error{
		func() error { return syncFile(part) },
		func() error { return os.Link(part, file) }, // never over another
		func() error { return os.Remove(part) },
		func() error { return syncFile(filepath.Dir(file)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s *Store) copyTo(ctx context.Context, file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(s.Dump(ctx, f), f.Close())
}

// Keep writes a copy of a database whose tables are of a version to a file, for
// [Store.Restore]: before they become newer. It does not write over another.
func (d *Dialect) Keep(ctx context.Context, db *sql.DB, version int64, file string) error {
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(New(db, db, d, nil).dump(ctx, f, version), f.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return publish(part, file)
}

// Dump writes a copy that [Store.Restore] of either engine reads, as the data are at
// one time, while others write.
func (s *Store) Dump(ctx context.Context, w io.Writer) error {
	return s.dump(ctx, w, int64(len(migrations)))
}

func (s *Store) dump(ctx context.Context, w io.Writer, version int64) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil && s.d.Alone {
		tx, err = s.read.BeginTx(ctx, nil) // a transaction of SQLite always reads what was there at first
	}
	if err != nil {
		return err
	}
	defer tx.Rollback()
	z := gzip.NewWriter(w)
	out := json.NewEncoder(z)
	if err := out.Encode(head{"store", version}); err != nil {
		return err
	}
	for _, t := range copied {
		if t.since > version {
			continue
		}
		if err := dumpTable(ctx, tx, t.table, out); err != nil {
			return fmt.Errorf("%s: %w", t.table, err)
		}
	}
	return z.Close()
}

func dumpTable(ctx context.Context, tx *sql.Tx, table string, out *json.Encoder) error {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if err := out.Encode(tableHead{table, columns}); err != nil {
		return err
	}
	row := make([]any, len(columns))
	to := make([]any, len(columns))
	for i := range row {
		to[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = blob{b}
			}
		}
		if err := out.Encode(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Restore reads what [Store.Dump] wrote into a store that has nothing yet: all of it, or
// nothing. [ErrConflict]: there is something. [ErrNewer].
func (s *Store) Restore(ctx context.Context, r io.Reader) error {
	return s.tx(ctx, func(tx *transaction) error {
		for _, table := range []string{"device", "sensor", "person", "finding", "document"} {
			var n int
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 AS one FROM "+table+" LIMIT 1) AS x").Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				return fmt.Errorf("%w: the store is not empty", ErrConflict)
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM setting"); err != nil { // what an empty server notes for its first start
			return err
		}
		z, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			return fmt.Errorf("that is no copy of a store: %w", err)
		}
		in := json.NewDecoder(z)
		in.UseNumber()
		var h head
		if err := in.Decode(&h); err != nil || h.Myelin != "store" {
			return fmt.Errorf("that is no copy of a store: %w", err)
		}
		if h.Schema > int64(len(migrations)) {
			return ErrNewer
		}
		if err := tx.restore(ctx, in); err != nil {
			return err
		}
		if s.d.Counted != nil {
			for _, t := range copied {
				if t.counter == "" {
					continue
				}
				if _, err := tx.ExecContext(ctx, s.d.Counted(t.table, t.counter)); err != nil {
					return err
				}
			}
		}
		return tx.allTexts(ctx)
	})
}

// restore reads tables until the end.
func (t *transaction) restore(ctx context.Context, in *json.Decoder) error {
	var table tableHead
	var rows [][]any
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		list := rows
		rows = nil
		return t.insert(ctx, table.Table+" ("+strings.Join(table.Columns, ",")+")", "", len(table.Columns), list)
	}
	for {
		var line json.RawMessage
		if err := in.Decode(&line); errors.Is(err, io.EOF) {
			if table.Table != copied[len(copied)-1].table {
				return io.ErrUnexpectedEOF
			}
			return flush()
		} else if err != nil {
			return err
		}
		if line[0] == '{' {
			if err := flush(); err != nil {
				return err
			}
			table = tableHead{}
			if err := json.Unmarshal(line, &table); err != nil {
				return err
			}
			if !slices.ContainsFunc(copied, func(c copiedTable) bool { return c.table == table.Table }) {
				return fmt.Errorf("a copy with a table %q", table.Table)
			}
			for _, c := range table.Columns { // they become SQL
				if c == "" || strings.Trim(c, "abcdefghijklmnopqrstuvwxyz_") != "" {
					return fmt.Errorf("a copy with a column %q", c)
				}
			}
			continue
		}
		row, err := restoreRow(line)
		if err != nil || len(row) != len(table.Columns) {
			return fmt.Errorf("a row of %q: %w", table.Table, errors.Join(err, errors.ErrUnsupported))
		}
		if rows = append(rows, row); len(rows) == 1000 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

func restoreRow(line []byte) ([]any, error) {
	var cells []json.RawMessage
	if err := json.Unmarshal(line, &cells); err != nil {
		return nil, err
	}
	row := make([]any, len(cells))
	for i, c := range cells {
		var err error
		switch c[0] {
		case 'n':
		case '{':
			var b blob
			err = json.Unmarshal(c, &b)
			if row[i] = b.B; b.B == nil {
				row[i] = []byte{}
			}
		case '"':
			var text string
			err = json.Unmarshal(c, &text)
			row[i] = text
		default:
			var n int64
			err = json.Unmarshal(c, &n)
			row[i] = n
		}
		if err != nil {
			return nil, err
		}
	}
	return row, nil
}

// allTexts makes anew what finds texts.
func (t *transaction) allTexts(ctx context.Context) error {
	each := func(query string, scan func(*sql.Rows) error) error {
		rows, err := t.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	return errors.Join(
		each("SELECT doc, label FROM device WHERE root = id", func(rows *sql.Rows) error {
			var doc []byte
			var l string
			var d Device
			if err := rows.Scan(&doc, &l); err != nil {
				return err
			}
			if err := json.Unmarshal(doc, &d); err != nil {
				return err
			}
			t.deviceText(&d, l)
			return nil
		}),
		each("SELECT doc, label, ward FROM finding", func(rows *sql.Rows) error {
			var doc []byte
			var l, ward string
			var f finding.Finding
			if err := rows.Scan(&doc, &l, &ward); err != nil {
				return err
			}
			if err := json.Unmarshal(doc, &f); err != nil {
				return err
			}
			t.findingText(&f, l, ward)
			return nil
		}),
		each("SELECT "+documentColumns+" FROM document", func(rows *sql.Rows) error {
			d, err := scanDocument(rows)
			if err != nil {
				return err
			}
			t.documentText(&d)
			return nil
		}),
	)
}
