// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
)

// A Worn is an identity of a device that is implanted or worn on a body, which is
// patient data: a person entered it, and package access sealed it.
type Worn struct {
	Device, Kind string
	Sealed       []byte
	By           string
	At           int64
}

// KeepWorn keeps one in place of the one of the same device and kind. [ErrNotFound]:
// there is no such device.
func (s *Store) KeepWorn(ctx context.Context, w *Worn) error {
	return s.tx(ctx, func(tx *transaction) error {
		var id string
		if err := tx.QueryRowContext(ctx, "SELECT id FROM device WHERE id = $1", w.Device).Scan(&id); err != nil {
			return notFound(err)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO worn (device, kind, sealed, by_whom, at) VALUES ($1,$2,$3,$4,$5) ON CONFLICT (device, kind) DO UPDATE SET sealed = excluded.sealed, by_whom = excluded.by_whom, at = excluded.at",
			w.Device, w.Kind, w.Sealed, w.By, w.At)
		return err
	})
}

// WornBy lists those of a device and of what was merged into it.
func (s *Store) WornBy(ctx context.Context, device string) ([]Worn, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT w.device, w.kind, w.sealed, w.by_whom, w.at FROM worn w JOIN device d ON d.id = w.device WHERE d.root = (SELECT root FROM device WHERE id = $1) ORDER BY w.kind, w.device", device)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Worn
	for rows.Next() {
		var w Worn
		if err := rows.Scan(&w.Device, &w.Kind, &w.Sealed, &w.By, &w.At); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, rows.Err()
}

// RemoveWorn removes one. [ErrNotFound].
func (s *Store) RemoveWorn(ctx context.Context, device, kind string) error {
	return s.one(ctx, "DELETE FROM worn WHERE device = $1 AND kind = $2", device, kind)
}
