// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed schema/*.sql
var files embed.FS

var schema fs.FS = files

// migrations are the files of schema, in their order. They only go forward.
var migrations = []string{"0001.sql", "0002.sql", "0003.sql", "0004.sql"}

// Migrate brings a database to the newest tables, each step in a transaction, and
// returns the version that it had and the one that it has. before is called when
// there is something to do and the database is not empty: it keeps a copy.
// [ErrNewer]: the tables are newer than this program.
func (d *Dialect) Migrate(ctx context.Context, db *sql.DB, before func(version int64) error) (from, to int64, err error) {
	var steps []*goose.Migration
	for i, name := range migrations {
		text, err := fs.ReadFile(schema, "schema/"+name)
		if err != nil {
			return 0, 0, err
		}
		statements := append(split(d.Types.Replace(string(text))), d.More[name]...)
		steps = append(steps, goose.NewGoMigration(int64(i+1), &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			for _, s := range statements {
				if _, err := tx.ExecContext(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}}, nil))
	}
	p, err := goose.NewProvider(database.Dialect(d.Goose), db, nil, goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return 0, 0, err
	}
	if from, err = p.GetDBVersion(ctx); err != nil {
		return 0, 0, err
	}
	to = int64(len(migrations))
	switch {
	case from > to:
		return from, to, ErrNewer
	case from == to:
		return from, to, nil
	case from > 0 && before != nil:
		if err := before(from); err != nil {
			return from, to, err
		}
	}
	_, err = p.Up(ctx)
	return from, to, err
}

// split takes a file apart into statements. A statement ends with a semicolon at the
// end of a line; comments go.
func split(text string) []string {
	var out []string
	var b strings.Builder
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "--")
		b.WriteString(strings.TrimRight(code, " \n") + "\n")
		if strings.HasSuffix(strings.TrimSpace(code), ";") {
			out = append(out, strings.TrimSuffix(strings.TrimSpace(b.String()), ";"))
			b.Reset()
		}
	}
	return out
}
