// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

// A Person may sign in.
type Person struct {
	ID       int64
	Login    string
	Name     string   // staff: shown to staff
	Roles    uint32   // package access
	Clinical string   // "prescriber", "pharmacist", "nurse"; "" is none
	Products []string // a manufacturer's own, each as maker and model; empty is none
	Hash     string   // argon2id, or "" when only elsewhere
	Subject  string   // issuer and subject of OIDC, or ""
	Passkeys []byte   // of package access
	Link     string   // hash and end of a one-time link of package access, or ""
	Provided bool     // by OIDC: the provider says the roles
	Disabled bool
	Signed   int64 // what was so at its sign-in ended every session before
	Added    int64
	Version  int64
}

// People lists all.
func (s *Store) People(ctx context.Context) ([]Person, error) {
	return s.people(ctx, "ORDER BY login")
}

// Person returns one by login. [ErrNotFound].
func (s *Store) Person(ctx context.Context, login string) (*Person, error) {
	return onlyPerson(s.people(ctx, "WHERE login = $1", login))
}

// PersonOf returns one by number. [ErrNotFound].
func (s *Store) PersonOf(ctx context.Context, id int64) (*Person, error) {
	return onlyPerson(s.people(ctx, "WHERE id = $1", id))
}

// PersonOfSubject returns one by issuer and subject of OIDC. [ErrNotFound].
func (s *Store) PersonOfSubject(ctx context.Context, subject string) (*Person, error) {
	if subject == "" {
		return nil, ErrNotFound
	}
	return onlyPerson(s.people(ctx, "WHERE subject = $1", subject))
}

// SavePerson adds one (ID 0) or changes one whose Version fits. [ErrConflict].
func (s *Store) SavePerson(ctx context.Context, p *Person) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if p.ID == 0 {
		err := s.tx(ctx, func(tx *transaction) error {
			return tx.QueryRowContext(ctx, "INSERT INTO person (login, subject, doc, version) VALUES ($1,$2,$3,1) ON CONFLICT DO NOTHING RETURNING id", p.Login, p.Subject, doc).Scan(&p.ID)
		})
		if errors.Is(err, sql.ErrNoRows) {
			return ErrConflict
		}
		p.Version = 1
		return err
	}
	err = s.one(ctx, "UPDATE person SET login = $1, subject = $2, doc = $3, version = version + 1 WHERE id = $4 AND version = $5 AND ($2 = '' OR NOT EXISTS (SELECT 1 FROM person WHERE subject = $2 AND id <> $4)) AND NOT EXISTS (SELECT 1 FROM person WHERE login = $1 AND id <> $4)", p.Login, p.Subject, doc, p.ID, p.Version)
	if errors.Is(err, ErrNotFound) {
		return ErrConflict
	}
	if err == nil {
		p.Version++
	}
	return err
}

// Nobody reports whether there is no person yet.
func (s *Store) Nobody(ctx context.Context) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM person").Scan(&n)
	return n == 0, err
}

// A Token of a program acts for a person, in fewer ways.
type Token struct {
	ID      int64
	Person  int64
	Name    string
	Hash    []byte // SHA-256 of the secret
	Scopes  []string
	Expires int64
	Used    int64
}

// Tokens lists those of a person, or all (0).
func (s *Store) Tokens(ctx context.Context, person int64) ([]Token, error) {
	if person == 0 {
		return s.tokens(ctx, s.read, "ORDER BY id")
	}
	return s.tokens(ctx, s.read, "WHERE person = $1 ORDER BY id", person)
}

// AddToken keeps one.
func (s *Store) AddToken(ctx context.Context, t *Token) error {
	return s.tx(ctx, func(tx *transaction) error {
		return tx.QueryRowContext(ctx, "INSERT INTO token (person, name, hash, scopes, expires, used) VALUES ($1,$2,$3,$4,$5,0) RETURNING id", t.Person, t.Name, t.Hash, strings.Join(t.Scopes, " "), t.Expires).Scan(&t.ID)
	})
}

// TokenOf returns one by hash and notes its use, at most once a minute. [ErrNotFound]: also when it has expired.
func (s *Store) TokenOf(ctx context.Context, hash []byte) (*Token, error) {
	at := s.now().UnixNano()
	list, err := s.tokens(ctx, s.read, "WHERE hash = $1 AND (expires = 0 OR expires > $2)", hash, at)
	if err != nil || len(list) == 0 {
		return nil, cmp.Or(err, ErrNotFound)
	}
	t := &list[0]
	if at-t.Used > int64(time.Minute) {
		_, err = s.exec(ctx, "UPDATE token SET used = $1 WHERE id = $2", at, t.ID)
	}
	return t, err
}

// RemoveToken ends one.
func (s *Store) RemoveToken(ctx context.Context, id int64) error {
	return s.one(ctx, "DELETE FROM token WHERE id = $1", id)
}

// A Session of a person, as package access wrote it.
type Session struct {
	Token string // a hash of it
	Doc   []byte
}

// Sessions lists those of a person that have not ended, at most 100, the one that
// ends last first.
func (s *Store) Sessions(ctx context.Context, person int64) ([]Session, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT token, doc FROM session WHERE person = $1 AND expires > $2 AND length(doc) > 0 ORDER BY expires DESC, token LIMIT 100", person, s.now().UnixNano())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Session
	for rows.Next() {
		var n Session
		if err := rows.Scan(&n.Token, &n.Doc); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// FindSession returns a session that has not ended.
func (s *Store) FindSession(ctx context.Context, token string) ([]byte, bool, error) {
	var doc []byte
	err := s.read.QueryRowContext(ctx, "SELECT doc FROM session WHERE token = $1 AND expires > $2 AND length(doc) > 0", token, s.now().UnixNano()).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return doc, err == nil, err
}

// KeepSession keeps a session of a person (0: of nobody yet) until it expires. One
// that was ended stays so: a request that was on its way does not bring it back.
func (s *Store) KeepSession(ctx context.Context, token string, person int64, doc []byte, expires time.Time) error {
	_, err := s.exec(ctx, "INSERT INTO session AS o (token, person, expires, doc) VALUES ($1,$2,$3,$4) ON CONFLICT (token) DO UPDATE SET person = excluded.person, expires = excluded.expires, doc = excluded.doc WHERE length(o.doc) > 0", token, person, expires.UnixNano(), doc)
	return err
}

// EndSession ends a session. What stays until it would have expired is its token.
func (s *Store) EndSession(ctx context.Context, token string) error {
	_, err := s.exec(ctx, "UPDATE session SET doc = $1 WHERE token = $2", []byte{}, token)
	return err
}

// Setting returns a setting, or nil.
func (s *Store) Setting(ctx context.Context, name string) ([]byte, error) {
	var v []byte
	err := s.read.QueryRowContext(ctx, "SELECT value FROM setting WHERE name = $1", name).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return v, err
}

// SetSetting changes a setting; old must be what it was, nil when there was none. [ErrConflict].
func (s *Store) SetSetting(ctx context.Context, name string, old, value []byte) error {
	err := error(nil)
	if old == nil {
		err = s.one(ctx, "INSERT INTO setting (name, value) VALUES ($1,$2) ON CONFLICT (name) DO NOTHING", name, value)
	} else {
		err = s.one(ctx, "UPDATE setting SET value = $1 WHERE name = $2 AND value = $3", value, name, old)
	}
	if errors.Is(err, ErrNotFound) {
		return ErrConflict
	}
	return err
}

// Lease takes or renews the right to do what is done once (a schedule), for a while.
// It returns false while somebody else has it.
func (s *Store) Lease(ctx context.Context, name, holder string, d time.Duration) (bool, error) {
	at := s.now()
	err := s.one(ctx, "INSERT INTO lease AS l (name, holder, expires) VALUES ($1,$2,$3) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires WHERE l.holder = excluded.holder OR l.expires <= $4",
		name, holder, at.Add(d).UnixNano(), at.UnixNano())
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// A Notice waits to be sent to a receiver outside: written in the transaction of what it tells.
type Notice struct {
	Seq     int64
	Finding string // notices of one finding are sent in their order; "" is of a guard
	What    string // "new", "changed": Body is the finding; "held", "emergency": it is a [Held], without who asked and for how much; "rollout-halted", "update-ended", "update-silent": an [UpdateNotice]
	Body    []byte // JSON
	At      int64
}

// Notices returns those after a number, at most limit.
func (s *Store) Notices(ctx context.Context, after int64, limit int) ([]Notice, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT seq, finding, what, at, body FROM notice WHERE seq > $1 ORDER BY seq LIMIT "+strconv.Itoa(Page{Limit: limit}.limit()), after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Notice
	for rows.Next() {
		var n Notice
		if err := rows.Scan(&n.Seq, &n.Finding, &n.What, &n.At, &n.Body); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// Counts says how many rows the tables have, for /metrics.
func (s *Store) Counts(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	for what, q := range map[string]string{
		"devices":      "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM device_count",
		"findings":     "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM finding_cube",
		"open":         "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM finding_cube WHERE state = 'open'",
		"held":         "SELECT count(*) FROM held",
		"sensors":      "SELECT count(*) FROM sensor WHERE revoked = 0",
		"people":       "SELECT count(*) FROM person",
		"documents":    "SELECT count(*) FROM document",
		"last verdict": "SELECT coalesce(max(seq), 0) FROM verdict",
		"last version": "SELECT coalesce(max(id), 0) FROM device_step WHERE what = 'version'",
	} {
		var n int64
		if err := s.read.QueryRowContext(ctx, q).Scan(&n); err != nil {
			return nil, err
		}
		out[what] = n
	}
	return out, nil
}

func (s *Store) people(ctx context.Context, rest string, args ...any) ([]Person, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, doc, version FROM person "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Person
	for rows.Next() {
		var p Person
		var doc []byte
		var id, version int64
		if err := rows.Scan(&id, &doc, &version); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, &p); err != nil {
			return nil, err
		}
		p.ID, p.Version = id, version
		out = append(out, p)
	}
	return out, rows.Err()
}

func onlyPerson(list []Person, err error) (*Person, error) {
	if err != nil || len(list) == 0 {
		return nil, cmp.Or(err, ErrNotFound)
	}
	return &list[0], nil
}

func (s *Store) tokens(ctx context.Context, tx querier, rest string, args ...any) ([]Token, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, person, name, hash, scopes, expires, used FROM token "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Token
	for rows.Next() {
		var t Token
		var scopes string
		if err := rows.Scan(&t.ID, &t.Person, &t.Name, &t.Hash, &scopes, &t.Expires, &t.Used); err != nil {
			return nil, err
		}
		t.Scopes = strings.Fields(scopes)
		out = append(out, t)
	}
	return out, rows.Err()
}
