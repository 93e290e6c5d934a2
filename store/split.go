// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"slices"

	"github.com/myelin-health/myelin/device"
)

// A Split is a record of addresses that are another device than the one that sensors
// say them of.
type Split struct {
	ID         int64
	Kept, Gone string // devices: whose they were, and the one that was made for them
	Names      []Identity
	Why        string
	By         string // person
	At         int64
	UndoneBy   string
	UndoneAt   int64
}

// ErrWhole is what is said of a split that would leave nothing of a device.
var ErrWhole = errors.New("nothing would be left of the device")

// Splits reports whether an identity can be split off: it is an address that the device
// has now. What the sensor calls the device, and what its maker does, stay with each
// other: split off what is not theirs.
func (i *Identity) Splits() bool { return i.Live && i.Kind != made && i.Kind != "dev" }

// SplitDevice makes a device of its own of some identities of one, by their numbers. From
// then on the rules have none of them on a device that has one of the others, or that it
// was split off from, whatever sensors say: what a sensor says of both stands where it
// was. People may merge the two, and undo the split.
//
// What was said to and by an address is kept by address, and goes with it, also what was
// said before. Findings, what sensors know of the product and what people said are kept
// by device, as sensors go on calling it: they stay. [ErrNotFound]; [ErrConflict]: the
// device has not, or has no longer, all of these, or they cannot be split; [ErrWhole].
func (s *Store) SplitDevice(ctx context.Context, id string, identities []int64, by, why string) (split int64, gone string, err error) {
	why = Text(why)
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *transaction) error {
		if err := s.inventory(ctx, tx); err != nil {
			return err
		}
		var root, site string
		if err := tx.QueryRowContext(ctx, "SELECT r.id, r.site FROM device d JOIN device r ON r.id = d.root WHERE d.id = $1", id).Scan(&root, &site); err != nil {
			return notFound(err)
		}
		rows, err := tx.QueryContext(ctx, "SELECT id, site, kind, value, born, first, last FROM identity WHERE device = $1 AND live = 1 ORDER BY id", root)
		if err != nil {
			return err
		}
		defer rows.Close()
		var off []int64
		var names [][]any
		var first, last int64
		left := false
		for rows.Next() {
			i := Identity{Live: true}
			var born string
			if err := rows.Scan(&i.ID, &i.Site, &i.Kind, &i.Value, &born, &i.First, &i.Last); err != nil {
				return err
			}
			goes := slices.Contains(identities, i.ID)
			if goes {
				if !i.Splits() {
					return ErrConflict
				}
				if len(off) == 0 || i.First < first {
					first = i.First
				}
				last = max(last, i.Last)
				off = append(off, i.ID)
			}
			left = left || !goes && i.Kind != "dev"
			if i.Splits() {
				names = append(names, []any{i.Site, i.Kind, i.Value, int64(0), number(goes), born})
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		if n := len(slices.Compact(slices.Sorted(slices.Values(identities)))); n == 0 || n != len(off) {
			return ErrConflict
		}
		if !left {
			return ErrWhole
		}
		if gone, err = s.newDevice(ctx, tx, site, &device.Device{}, at); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE device SET first = $1, last = $2 WHERE id = $3", first, last, gone); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "INSERT INTO split (kept, gone, why, by_whom, at) VALUES ($1,$2,$3,$4,$5) RETURNING id", root, gone, why, by, at).Scan(&split); err != nil {
			return err
		}
		for _, n := range names {
			n[3] = split
		}
		if err := tx.insert(ctx, "split_name (site, kind, value, split, off, born)", "", 6, names); err != nil {
			return err
		}
		for _, i := range off {
			if _, err := tx.ExecContext(ctx, "UPDATE identity SET born = $1, device = $1 WHERE id = $2", gone, i); err != nil {
				return err
			}
		}
		if err := s.both(ctx, tx, at, by, "split", root, gone, why); err != nil {
			return err
		}
		c := &changes{}
		c.device(root)
		c.device(gone)
		return s.derive(ctx, tx, c)
	})
	return split, gone, err
}

// UndoSplit brings back what was split off, with the device that was made for it and all
// that this one has got since. [ErrNotFound], [ErrConflict]: it was undone before.
func (s *Store) UndoSplit(ctx context.Context, split int64, by, why string) error {
	at := s.now().UnixNano()
	return s.tx(ctx, func(tx *transaction) error {
		if err := s.inventory(ctx, tx); err != nil {
			return err
		}
		kept, gone, err := undo(ctx, tx, "split", split, by, at)
		if err != nil {
			return err
		}
		c := &changes{}
		back, err := texts(ctx, tx, "SELECT root FROM device WHERE id = $1 OR id IN (SELECT born FROM split_name WHERE split = $2 AND off = 1)", gone, split)
		if err != nil {
			return err
		}
		for _, root := range back {
			c.device(root)
		}
		const these = " FROM split_name n JOIN device d ON d.id = n.born WHERE n.split = $1 AND n.off = 1 AND n.site = identity.site AND n.kind = identity.kind AND n.value = identity.value)"
		if _, err := tx.ExecContext(ctx, "UPDATE identity SET born = (SELECT d.id"+these+", device = (SELECT d.root"+these+" WHERE born = $2 AND live = 1 AND EXISTS (SELECT 1"+these, split, gone); err != nil {
			return err
		}
		if err := s.reroot(ctx, tx, []string{kept, gone}, c); err != nil {
			return err
		}
		if err := s.both(ctx, tx, at, by, "unsplit", kept, gone, Text(why)); err != nil {
			return err
		}
		return s.derive(ctx, tx, c)
	})
}

// SplitsOf are the records of splits of a device, the newest first: of what was split off
// from it, and of what it was made for.
func (s *Store) SplitsOf(ctx context.Context, id string) ([]Split, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT s.id, s.kept, s.gone, s.why, s.by_whom, s.at, s.undone_by, s.undone_at, n.site, n.kind, n.value FROM split s JOIN split_name n ON n.split = s.id AND n.off = 1
		WHERE s.id IN (SELECT x.id FROM split x WHERE x.kept IN (SELECT id FROM device WHERE root = $1) OR x.gone IN (SELECT id FROM device WHERE root = $1) ORDER BY x.id DESC LIMIT 100)
		ORDER BY s.id DESC, n.kind, n.value, n.site`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Split
	for rows.Next() {
		var x Split
		var n Identity
		if err := rows.Scan(&x.ID, &x.Kept, &x.Gone, &x.Why, &x.By, &x.At, &x.UndoneBy, &x.UndoneAt, &n.Site, &n.Kind, &n.Value); err != nil {
			return nil, err
		}
		if len(out) == 0 || out[len(out)-1].ID != x.ID {
			out = append(out, x)
		}
		out[len(out)-1].Names = append(out[len(out)-1].Names, n)
	}
	return out, rows.Err()
}

// A barred name may not come to some devices, because of a split.
type barred struct {
	all []string // roots
	off []string // those of them that it was split off from
}

// barred looks up those of the names of a device that a split is of.
func (s *Store) barred(ctx context.Context, tx *transaction, names []name, held map[name]holder) (map[name]barred, error) {
	out := map[name]barred{}
	for _, n := range names {
		if !held[n].split {
			continue
		}
		var b barred
		for off, to := range map[int]*[]string{1: &b.off, 0: &b.all} {
			roots, err := texts(ctx, tx, `SELECT d.root FROM split_name n JOIN split s ON s.id = n.split JOIN device d ON d.id IN (s.kept, n.born)
					WHERE n.site = $1 AND n.kind = $2 AND n.value = $3 AND n.off = $4 AND n.off = 1 AND s.undone_at = 0
				UNION SELECT i.device FROM split_name n JOIN split s ON s.id = n.split JOIN split_name o ON o.split = n.split AND o.off <> n.off
					JOIN identity i ON i.live = 1 AND i.site = o.site AND i.kind = o.kind AND i.value = o.value
					WHERE n.site = $1 AND n.kind = $2 AND n.value = $3 AND n.off = $4 AND s.undone_at = 0`, n.site, n.kind, n.value, off)
			if err != nil {
				return nil, err
			}
			*to = roots
		}
		b.all = append(b.all, b.off...)
		out[n] = b
	}
	return out, nil
}

// splitApart reports whether a split keeps the rules from making one device of two.
func (s *Store) splitApart(ctx context.Context, tx *transaction, a, b string) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM split s JOIN device k ON k.id = s.kept JOIN device g ON g.id = s.gone
		WHERE s.undone_at = 0 AND (k.root = $1 AND g.root = $2 OR k.root = $2 AND g.root = $1
		OR EXISTS (SELECT 1 FROM split_name n JOIN identity i ON i.live = 1 AND i.site = n.site AND i.kind = n.kind AND i.value = n.value
			JOIN device d ON d.id IN (s.kept, n.born) WHERE n.split = s.id AND n.off = 1 AND (i.device = $1 AND d.root = $2 OR i.device = $2 AND d.root = $1))
		OR EXISTS (SELECT 1 FROM split_name n JOIN identity i ON i.live = 1 AND i.site = n.site AND i.kind = n.kind AND i.value = n.value
			JOIN split_name o ON o.split = n.split AND o.off = 0 JOIN identity j ON j.live = 1 AND j.site = o.site AND j.kind = o.kind AND j.value = o.value
			WHERE n.split = s.id AND n.off = 1 AND (i.device = $1 AND j.device = $2 OR i.device = $2 AND j.device = $1)))`, a, b).Scan(&n)
	return n > 0, err
}
