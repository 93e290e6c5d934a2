// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// A Person may sign in.
type Person struct {
	ID       int64
	Login    string
	Name     string   // staff: shown to staff
	Roles    uint32   // package access
	Clinical string   // "prescriber", "pharmacist", "nurse"; "" is none
	Products []string // a manufacturer's own; empty is none
	Hash     string   // argon2id, or "" when only elsewhere
	Subject  string   // issuer and subject of OIDC, or ""
	Passkeys []byte   // of package access
	Disabled bool
	Added    int64
	Version  int64
}

// People lists all.
func (s *Store) People(ctx context.Context) ([]Person, error) { panic("to be written") }

// Person returns one by login. [ErrNotFound].
func (s *Store) Person(ctx context.Context, login string) (*Person, error) { panic("to be written") }

// PersonOf returns one by number. [ErrNotFound].
func (s *Store) PersonOf(ctx context.Context, id int64) (*Person, error) { panic("to be written") }

// SavePerson adds one (ID 0) or changes one whose Version fits. [ErrConflict].
func (s *Store) SavePerson(ctx context.Context, p *Person) error { panic("to be written") }

// Nobody reports whether there is no person yet.
func (s *Store) Nobody(ctx context.Context) (bool, error) { panic("to be written") }

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
func (s *Store) Tokens(ctx context.Context, person int64) ([]Token, error) { panic("to be written") }

// AddToken keeps one.
func (s *Store) AddToken(ctx context.Context, t *Token) error { panic("to be written") }

// TokenOf returns one by hash and notes its use, at most once a minute. [ErrNotFound]: also when it has expired.
func (s *Store) TokenOf(ctx context.Context, hash []byte) (*Token, error) { panic("to be written") }

// RemoveToken ends one.
func (s *Store) RemoveToken(ctx context.Context, id int64) error { panic("to be written") }

// Sessions of people: scs.CtxStore has these three.
func (s *Store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	panic("to be written")
}

// CommitCtx keeps a session until it expires.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	panic("to be written")
}

// DeleteCtx ends a session.
func (s *Store) DeleteCtx(ctx context.Context, token string) error { panic("to be written") }

// Setting returns a setting, or nil.
func (s *Store) Setting(ctx context.Context, name string) ([]byte, error) { panic("to be written") }

// SetSetting changes a setting; old must be what it was, nil when there was none. [ErrConflict].
func (s *Store) SetSetting(ctx context.Context, name string, old, value []byte) error {
	panic("to be written")
}

// Lease takes or renews the right to do what is done once (a schedule), for a while.
// It returns false while somebody else has it.
func (s *Store) Lease(ctx context.Context, name, holder string, d time.Duration) (bool, error) {
	panic("to be written")
}

// A Notice waits to be sent to a receiver outside: written in the transaction of what it tells.
type Notice struct {
	Seq     int64
	Finding string // notices of one finding are sent in their order
	What    string // "new", "changed", "verdict", "emergency", "sensor"
	Body    []byte // JSON
	At      int64
}

// Notices returns those after a number, at most limit.
func (s *Store) Notices(ctx context.Context, after int64, limit int) ([]Notice, error) {
	panic("to be written")
}

// Retain removes what is older than its kind is kept: observations, closed findings,
// verdicts (which are in the ledger, too), sessions. It returns how many rows went.
func (s *Store) Retain(ctx context.Context, keep map[string]time.Duration) (int, error) {
	panic("to be written")
}

// Counts says how many rows the tables have, for /metrics.
func (s *Store) Counts(ctx context.Context) (map[string]int64, error) { panic("to be written") }

// Backup writes a copy of the data as they are now to a file that does not exist yet.
func (s *Store) Backup(ctx context.Context, file string) error { panic("to be written") }
