// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"strings"
)

// A Sensor is a program that sends: a sensor of a network, or a guard.
type Sensor struct {
	ID, Name, Site string
	Kind           string // "sensor", "guard"
	Key            string // fingerprint of its certificate's key
	Enrolled, Seen int64
	Sequence       uint64 // of the last batch that was written
	Revoked        int64
	Beat
}

// Sensors lists all.
func (s *Store) Sensors(ctx context.Context) ([]Sensor, error) {
	return s.sensors(ctx, "ORDER BY name, id")
}

// Sensor returns one. [ErrNotFound].
func (s *Store) Sensor(ctx context.Context, id string) (*Sensor, error) {
	list, err := s.sensors(ctx, "WHERE id = $1", id)
	if err != nil || len(list) == 0 {
		return nil, cmp.Or(err, ErrNotFound)
	}
	return &list[0], nil
}

// AddEnrolment keeps the hash of a one-time token for a sensor that is to come.
func (s *Store) AddEnrolment(ctx context.Context, hash []byte, name, site, kind, by string, expires int64) error {
	_, err := s.exec(ctx, "INSERT INTO enrolment (hash, name, site, kind, by_whom, expires) VALUES ($1,$2,$3,$4,$5,$6)", hash, name, site, kind, by, expires)
	return err
}

// Enrol uses a token once and makes its sensor. [ErrNotFound]: it is unknown, used or expired.
func (s *Store) Enrol(ctx context.Context, hash []byte, id, key string) (*Sensor, error) {
	at := s.now().UnixNano()
	n := &Sensor{ID: id, Key: key, Enrolled: at, Seen: at}
	err := s.tx(ctx, func(tx *transaction) error {
		err := tx.QueryRowContext(ctx, "DELETE FROM enrolment WHERE hash = $1 AND expires > $2 RETURNING name, site, kind", hash, at).Scan(&n.Name, &n.Site, &n.Kind)
		if err != nil {
			return notFound(err)
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO sensor (id, name, site, kind, key_hash, enrolled, seen, beat) VALUES ($1,$2,$3,$4,$5,$6,$6,$7)", id, n.Name, n.Site, n.Kind, key, at, []byte("{}"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// RevokeSensor ends what a sensor may do.
func (s *Store) RevokeSensor(ctx context.Context, id string) error {
	return s.one(ctx, "UPDATE sensor SET revoked = $1 WHERE id = $2 AND revoked = 0", s.now().UnixNano(), id)
}

// A Document is an advisory, a bill of materials, a VEX document, a register: its
// published bytes, with what lists need.
type Document struct {
	Digest    string // SHA-256, in hexadecimal
	Kind      string // of assess: "csaf", "cyclonedx", "register", ...
	Name      string // file name
	ID, Title string // as it says
	Bytes     int64
	Added     int64
	By        string
	Products  []string
}

// AddDocument keeps a document, once.
func (s *Store) AddDocument(ctx context.Context, d *Document, content []byte) (fresh bool, err error) {
	products, err := json.Marshal(d.Products)
	if err != nil {
		return false, err
	}
	err = s.tx(ctx, func(tx *transaction) error {
		r, err := tx.ExecContext(ctx, "INSERT INTO document (id, kind, name, said_id, title, size, added, by_whom, products, content) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10) ON CONFLICT (id) DO NOTHING",
			d.Digest, d.Kind, d.Name, d.ID, d.Title, int64(len(content)), s.now().UnixNano(), d.By, products, content)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if fresh = n == 1; !fresh || err != nil {
			return err
		}
		tx.documentText(d)
		return nil
	})
	return fresh, err
}

func (t *transaction) documentText(d *Document) {
	t.text("document", d.Digest, strings.Join(append([]string{d.Name, d.ID, d.Title, d.Kind}, d.Products...), " "))
}

// Documents lists documents of some kinds, the newest first.
func (s *Store) Documents(ctx context.Context, kinds []string, words string, p Page) (*List[Document], error) {
	cond := "1 = 1"
	var args []any
	if len(kinds) > 0 {
		for _, k := range kinds {
			args = append(args, k)
		}
		cond += " AND kind IN (" + params(1, len(kinds)) + ")"
	}
	if words != "" {
		c, err := s.matches(ctx, s.read, "document", words)
		if err != nil {
			return nil, err
		}
		cond += " AND " + c
	}
	out := &List[Document]{}
	if err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM document WHERE "+cond, args...).Scan(&out.Total); err != nil {
		return nil, err
	}
	o := order{"added", true, true, true}
	where, args, limit, err := o.page(cond, args, p)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT "+documentColumns+" FROM document WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		d, err := scanDocument(rows)
		if err != nil {
			return nil, err
		}
		if len(out.Rows) == limit {
			last := out.Rows[limit-1]
			out.Next = o.cursor(last.Added, "", last.Digest)
			break
		}
		out.Rows = append(out.Rows, d)
	}
	return out, rows.Err()
}

// Content returns a document and its bytes. [ErrNotFound].
func (s *Store) Content(ctx context.Context, digest string) (*Document, []byte, error) {
	d, err := scanDocument(s.read.QueryRowContext(ctx, "SELECT "+documentColumns+" FROM document WHERE id = $1", digest))
	if err != nil {
		return nil, nil, notFound(err)
	}
	var content []byte
	err = s.read.QueryRowContext(ctx, "SELECT content FROM document WHERE id = $1", digest).Scan(&content)
	return &d, content, notFound(err)
}

// RemoveDocument forgets a document.
func (s *Store) RemoveDocument(ctx context.Context, digest string) error {
	return s.tx(ctx, func(tx *transaction) error {
		tx.text("document", digest, "")
		if err := tx.writeTexts(ctx); err != nil {
			return notFound(err)
		}
		tx.texts = nil
		return changedOne(tx.ExecContext(ctx, "DELETE FROM document WHERE id = $1", digest))
	})
}

const documentColumns = "id, kind, name, said_id, title, size, added, by_whom, products"

func scanDocument(rows interface{ Scan(...any) error }) (d Document, err error) {
	var products []byte
	if err := rows.Scan(&d.Digest, &d.Kind, &d.Name, &d.ID, &d.Title, &d.Bytes, &d.Added, &d.By, &products); err != nil {
		return d, err
	}
	return d, json.Unmarshal(products, &d.Products)
}

func (s *Store) sensors(ctx context.Context, rest string, args ...any) ([]Sensor, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, name, site, kind, key_hash, enrolled, seen, revoked, beat, coalesce((SELECT max(sequence) FROM written WHERE sensor = sensor.id), 0) FROM sensor "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Sensor
	for rows.Next() {
		var n Sensor
		var doc []byte
		var sequence int64
		if err := rows.Scan(&n.ID, &n.Name, &n.Site, &n.Kind, &n.Key, &n.Enrolled, &n.Seen, &n.Revoked, &doc, &sequence); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, &n.Beat); err != nil {
			return nil, err
		}
		n.Sequence = uint64(sequence)
		out = append(out, n)
	}
	return out, rows.Err()
}

// one runs a statement that has to change one row. [ErrNotFound].
func (s *Store) one(ctx context.Context, statement string, args ...any) error {
	return changedOne(s.exec(ctx, statement, args...))
}

func changedOne(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrNotFound
}
