// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"
)

// An Answer is what a program was told when it wrote something under a key of its
// own, so that it can ask again without writing twice.
type Answer struct {
	Sum  []byte // of the request
	Done []byte // the answer; nil while it is being made
}

// beingMade is how long nobody else makes the answer of a key. Whoever dies while
// making it leaves the key free after that.
const beingMade = time.Minute

// BeginAnswer takes a key to make its answer, or returns the answer that it has.
func (s *Store) BeginAnswer(ctx context.Context, key string, sum []byte) (have *Answer, err error) {
	at := s.now()
	err = s.tx(ctx, func(tx *transaction) error {
		have = nil
		r, err := tx.ExecContext(ctx, `INSERT INTO answer AS a (name, sum, done, expires) VALUES ($1,$2,NULL,$3)
			ON CONFLICT (name) DO UPDATE SET sum = excluded.sum, done = NULL, expires = excluded.expires WHERE a.expires <= $4`, key, sum, at.Add(beingMade).UnixNano(), at.UnixNano())
		if err := changedOne(r, err); err == nil || !errors.Is(err, ErrNotFound) {
			return err
		}
		have = &Answer{}
		return tx.QueryRowContext(ctx, "SELECT sum, done FROM answer WHERE name = $1", key).Scan(&have.Sum, &have.Done)
	})
	return have, err
}

// KeepAnswer keeps the answer of a key for a while; nil frees the key.
func (s *Store) KeepAnswer(ctx context.Context, key string, done []byte, d time.Duration) error {
	if done == nil {
		return s.one(ctx, "DELETE FROM answer WHERE name = $1", key)
	}
	return s.one(ctx, "UPDATE answer SET done = $1, expires = $2 WHERE name = $3", done, s.now().Add(d).UnixNano(), key)
}
