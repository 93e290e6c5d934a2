// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
)

// Which names are one device:
//
//	name of a device     belongs to               joins
//	maker, model, serial everybody                always
//	MAC, EUI-64          everybody                unless local, or seen with several serial numbers
//	id of the sensor     a site                   unless the serial numbers differ
//	IP, AE title, host   a site                   when the other was seen within a day,
//	                                              and the serial numbers do not differ
//
// What people joined stays joined, what they parted or split off stays apart. What a sensor has an
// id for has a row of its own, and what joins it to others is a record. root says into
// which row it was merged, and identities and findings say at which they were born. So
// a merge is undone by working out the roots again: by people, and by the rules when a
// hardware address turns out to be of several devices.

// overlap is how long an address stays with its device after it was seen there last.
const overlap = 24 * time.Hour

// A name is one of the names of a device, as the table identity has it.
type name struct{ site, kind, value string }

func (n name) compare(m name) int {
	return cmp.Or(cmp.Compare(n.site, m.site), cmp.Compare(n.kind, m.kind), cmp.Compare(n.value, m.value))
}

// made is the kind of name that two devices never share.
const made = "made"

// sameSerial joins what a maker calls a unit.
func sameSerial(d *device.Device) string {
	if d.Serial == "" || d.Manufacturer == "" || d.Therapy.Info().Worn {
		return ""
	}
	return strings.ToLower(d.Manufacturer) + "\x1f" + strings.ToLower(d.Model) + "\x1f" + d.Serial
}

// namesOf returns the names of a device, the strongest first, and how many are strong.
func namesOf(site string, d *device.Device) (names []name, strong int) {
	if s := sameSerial(d); s != "" {
		names = append(names, name{"", made, s})
	}
	var weak []name
	if d.ID != "" {
		weak = append(weak, name{site, "dev", d.ID})
	}
	for _, a := range d.Addresses {
		switch {
		case !a.Single():
		case a.Kind == device.EUI64, a.Kind == device.MAC && !localMAC(a.Value):
			if n := (name{"", a.Kind.String(), a.Value}); !slices.Contains(names, n) {
				names = append(names, n)
			}
		default:
			weak = append(weak, name{site, a.Kind.String(), a.Value})
		}
	}
	strong = len(names)
	for _, n := range weak {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names, strong
}

// localMAC reports whether a hardware address was made up on the spot: IEEE 802,
// the second bit of the first octet.
func localMAC(mac string) bool {
	return len(mac) < 2 || strings.ContainsRune("2367abefABEF", rune(mac[1]))
}

// A holder is who has a name now.
type holder struct {
	id           int64
	born, device string // row, root
	strong       bool
	last         int64
	split        bool // there is a record of a split of it
}

// isSplit is that column.
const isSplit = "EXISTS (SELECT 1 FROM split_name n WHERE n.site = identity.site AND n.kind = identity.kind AND n.value = identity.value)"

// inventory waits until no other transaction changes which device is which, and
// keeps others waiting until this one ends. It comes before anything is looked up.
func (s *Store) inventory(ctx context.Context, tx *transaction) error {
	if tx.locked || s.d.Inventory == "" {
		return nil
	}
	tx.locked = true
	_, err := tx.ExecContext(ctx, s.d.Inventory)
	return err
}

// holders looks up names.
func (s *Store) holders(ctx context.Context, tx *transaction, names []name) (map[name]holder, error) {
	out := make(map[name]holder, len(names))
	if s.d.Alone {
		for _, n := range names {
			var h holder
			err := tx.QueryRowContext(ctx, "SELECT id, born, device, strong = 1, last, "+isSplit+" FROM identity WHERE live = 1 AND site = $1 AND kind = $2 AND value = $3", n.site, n.kind, n.value).Scan(&h.id, &h.born, &h.device, &h.strong, &h.last, &h.split)
			if err == nil {
				out[n] = h
			} else if !errors.Is(err, sql.ErrNoRows) {
				return nil, err
			}
		}
		return out, nil
	}
	for part := range slices.Chunk(names, 2000) { // one round trip
		var q strings.Builder
		q.WriteString("SELECT site, kind, value, id, born, device, strong = 1, last, " + isSplit + " FROM identity WHERE live = 1 AND (site, kind, value) IN (VALUES ")
		args := make([]any, 0, 3*len(part))
		for i, n := range part {
			if i > 0 {
				q.WriteByte(',')
			}
			q.WriteString("(" + params(3*i+1, 3) + ")")
			args = append(args, n.site, n.kind, n.value)
		}
		q.WriteByte(')')
		rows, err := tx.QueryContext(ctx, q.String(), args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var n name
			var h holder
			if err := rows.Scan(&n.site, &n.kind, &n.value, &h.id, &h.born, &h.device, &h.strong, &h.last, &h.split); err != nil {
				rows.Close()
				return nil, err
			}
			out[n] = h
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// said takes over what a sensor says of a device, and returns which one it is. What
// has to be derived anew goes into changed.
func (s *Store) said(ctx context.Context, tx *transaction, site string, d *device.Device, at int64, changed *changes) (root string, err error) {
	if d.Therapy.Info().Worn { // its serial number is patient data
		bare := *d
		bare.Serial = ""
		d = &bare
	}
	names, strong := namesOf(site, d)
	held, err := s.holders(ctx, tx, names)
	if err != nil {
		return "", err
	}
	barred, err := s.barred(ctx, tx, names, held)
	if err != nil {
		return "", err
	}
	foreign := func(n name) bool { // split off from what others of these names are of
		return slices.ContainsFunc(names, func(m name) bool { return m != n && slices.Contains(barred[n].off, held[m].device) })
	}
	serial := sameSerial(d)
	serials := map[string]string{} // by root
	differs := func(root string) (bool, error) {
		other, ok := serials[root]
		if !ok {
			err := tx.QueryRowContext(ctx, "SELECT value FROM identity WHERE device = $1 AND kind = $2 AND live = 1 ORDER BY id LIMIT 1", root, made).Scan(&other)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return false, err
			}
			serials[root] = other
		}
		if serial == "" {
			serial = other // of those that are joined so far
		}
		return other != "" && other != serial, nil
	}
	type join struct {
		root string
		by   name
	}
	var joins []join // roots that these names join, the strongest first
	var several []holder
	for i, n := range names {
		h, ok := held[n]
		switch {
		case !ok || foreign(n) || slices.ContainsFunc(joins, func(j join) bool { return j.root == h.device }):
			continue
		case i < strong && !h.strong: // a gateway has it
			continue
		case i >= strong && (len(joins) > 0 || n.kind != "dev" && at-h.last > int64(overlap)):
			continue
		}
		if no, err := differs(h.device); err != nil {
			return "", err
		} else if !no {
			joins = append(joins, join{h.device, n})
		} else if i < strong && n.kind != made {
			several = append(several, h)
		}
	}
	// its own row
	self := name{site, "dev", d.ID}
	_, known := held[self]
	row := held[self].born
	if row != "" && !slices.ContainsFunc(joins, func(j join) bool { return j.root == held[self].device }) {
		if no, err := differs(held[self].device); err != nil {
			return "", err
		} else if no {
			row = "" // the sensor calls another one so now
		} else {
			joins = append(joins, join{held[self].device, self})
		}
	}
	switch {
	case row != "":
		root = held[self].device
	case len(joins) > 0 && (known || d.ID == ""): // not a new one each time that it changes its mind
		row, root = held[joins[0].by].born, joins[0].root
	default:
		if row, err = s.newDevice(ctx, tx, site, d, at); err != nil {
			return "", err
		}
		if changed.device(row); len(joins) == 0 {
			changed.added(row)
		}
		root = row
	}
	roots := []string{root} // of those that are one with it now
	for _, j := range joins {
		roots = append(roots, j.root)
		if j.root == root {
			continue
		}
		kept, gone := root, j.root
		if err := s.older(ctx, tx, &kept, &gone); err != nil {
			return "", err
		}
		if apart, err := s.apart(ctx, tx, kept, gone); err != nil {
			return "", err
		} else if apart {
			roots = roots[:len(roots)-1]
			continue
		}
		if _, err := s.merge(ctx, tx, kept, gone, "", "the same "+kindWords(j.by.kind), held[j.by].id, at, changed); err != nil {
			return "", err
		}
		root = kept
	}
	for i, n := range names {
		h, ok := held[n]
		switch {
		case ok && slices.Contains(roots, h.device):
			if at-h.last >= int64(time.Minute) {
				_, err = tx.ExecContext(ctx, "UPDATE identity SET last = $1 WHERE id = $2", at, h.id)
			}
		case ok && (foreign(n) || slices.ContainsFunc(barred[n].all, func(root string) bool { return slices.Contains(roots, root) })):
			err = s.stays(ctx, tx, &h, at)
		case ok && i < strong && n.kind != made:
			// a hardware address of several devices: it stays where it is
		case ok:
			if _, err = tx.ExecContext(ctx, "UPDATE identity SET live = 0 WHERE id = $1", h.id); err == nil {
				err = s.name(ctx, tx, n, row, root, i < strong, at)
			}
			changed.moved = append(changed.moved, n)
			changed.device(h.device)
			changed.device(root)
		default:
			err = s.name(ctx, tx, n, row, root, i < strong, at)
			changed.device(root)
		}
		if err != nil {
			return "", err
		}
	}
	if err := s.fold(ctx, tx, row, root, d, at, changed); err != nil {
		return "", err
	}
	for _, h := range several {
		if err := s.shared(ctx, tx, h.id, at, changed); err != nil {
			return "", err
		}
	}
	if len(several) > 0 {
		err = tx.QueryRowContext(ctx, "SELECT root FROM device WHERE id = $1", row).Scan(&root)
	}
	return root, err
}

// stays notes that a name was seen where it is.
func (s *Store) stays(ctx context.Context, tx *transaction, h *holder, at int64) error {
	if at-h.last < int64(time.Minute) {
		return nil
	}
	_, err := tx.ExecContext(ctx, "UPDATE identity SET last = $1 WHERE id = $2", at, h.id)
	if err == nil {
		_, err = tx.ExecContext(ctx, "UPDATE device SET last = $1 WHERE id IN ($2, $3) AND last < $1", at, h.born, h.device)
	}
	return err
}

// shared notes that a hardware address is of several devices, a gateway's: it joins
// none from now on, and those that it joined are parted.
func (s *Store) shared(ctx context.Context, tx *transaction, identity, at int64, changed *changes) error {
	if _, err := tx.ExecContext(ctx, "UPDATE identity SET strong = 0 WHERE id = $1", identity); err != nil {
		return err
	}
	ids, err := texts(ctx, tx, "SELECT kept FROM merge WHERE via = $1 AND undone_at = 0 UNION SELECT gone FROM merge WHERE via = $1 AND undone_at = 0", identity)
	if err != nil || len(ids) == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE merge SET undone_at = $1 WHERE via = $2 AND undone_at = 0", at, identity); err != nil {
		return err
	}
	return s.reroot(ctx, tx, ids, changed)
}

func kindWords(kind string) string {
	switch kind {
	case made:
		return "maker, model and serial number"
	case "mac", "eui64":
		return "hardware address"
	case "dev":
		return "id at the sensor"
	}
	return kind
}

func (s *Store) name(ctx context.Context, tx *transaction, n name, row, root string, strong bool, at int64) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO identity (site, kind, value, born, device, strong, live, first, last) VALUES ($1,$2,$3,$4,$5,$6,1,$7,$7)",
		n.site, n.kind, n.value, row, root, number(strong), at)
	return err
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// older puts the device that was there first first.
func (s *Store) older(ctx context.Context, tx *transaction, a, b *string) error {
	var first string
	err := tx.QueryRowContext(ctx, "SELECT id FROM device WHERE id IN ($1, $2) ORDER BY num LIMIT 1", *a, *b).Scan(&first)
	if first == *b {
		*a, *b = *b, *a
	}
	return err
}

// newDevice makes a device that nobody knew.
func (s *Store) newDevice(ctx context.Context, tx *transaction, site string, d *device.Device, at int64) (string, error) {
	id := d.ID
	for try := 0; ; try++ {
		if try > 0 || id == "" {
			id = device.IDOf(d.ID, site, fmt.Sprint(at), fmt.Sprint(try))
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO device (id, site, root, said, told, doc, name, label, ward, owner, criticality, product, therapy, harm, harm_rank, medical, first, last)
			VALUES ($1,$2,$1,$3,$3,$3,'','','','','','','','',0,0,$4,$4) ON CONFLICT (id) DO NOTHING`, id, site, []byte("{}"), at)
		if err != nil {
			return "", err
		}
		if n, err := r.RowsAffected(); err != nil || n == 1 {
			return id, err
		}
	}
}

// fold puts what is said of a device now over what was said before.
func (s *Store) fold(ctx context.Context, tx *transaction, row, root string, d *device.Device, at int64, changed *changes) error {
	var old []byte
	var last int64
	if err := tx.QueryRowContext(ctx, "SELECT said, last FROM device WHERE id = $1"+s.d.Lock, row).Scan(&old, &last); err != nil {
		return err
	}
	var all device.Device
	if err := json.Unmarshal(old, &all); err != nil {
		return err
	}
	over(&all, d)
	now, err := json.Marshal(&all)
	if err != nil {
		return err
	}
	if string(now) != string(old) {
		changed.device(root)
		_, err = tx.ExecContext(ctx, "UPDATE device SET said = $1, last = $2 WHERE id = $3", now, max(last, at), row)
	} else if at-last >= int64(time.Minute) {
		_, err = tx.ExecContext(ctx, "UPDATE device SET last = $1 WHERE id IN ($2, $3) AND last < $1", at, row, root)
	}
	return err
}

// undress forgets the serial numbers of what is found to be implanted or worn.
func (s *Store) undress(ctx context.Context, tx *transaction, root string) error {
	ids, err := texts(ctx, tx, "SELECT id FROM device WHERE root = $1", root)
	if err != nil {
		return err
	}
	for _, id := range ids {
		var doc []byte
		var d device.Device
		if err := tx.QueryRowContext(ctx, "SELECT said FROM device WHERE id = $1"+s.d.Lock, id).Scan(&doc); err != nil {
			return err
		}
		if err := json.Unmarshal(doc, &d); err != nil {
			return err
		}
		d.Serial = ""
		if doc, err = json.Marshal(&d); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE device SET said = $1 WHERE id = $2", doc, id); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM identity WHERE device = $1 AND kind = $2", root, made)
	return err
}

// over puts what d says over what all has. Addresses are in the table identity.
func over(all, d *device.Device) {
	harm := min(d.Harm, device.Catastrophic)
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	all.Addresses = nil
	set(&all.Manufacturer, d.Manufacturer)
	set(&all.Model, d.Model)
	set(&all.Version, d.Version)
	set(&all.ProductCode, d.ProductCode)
	set(&all.Class, d.Class)
	set(&all.Name, d.Name)
	set(&all.Ward, d.Ward)
	set(&all.OS, d.OS)
	set(&all.Serial, d.Serial)
	set(&all.Role, d.Role)
	if d.Therapy != device.NoTherapy {
		all.Therapy = d.Therapy
	}
	all.Harm = max(all.Harm, harm)
	all.Medical = all.Medical || d.Medical
	all.Confidence = max(all.Confidence, d.Confidence)
	if d.Via.Kind != device.NoAddress {
		all.Via = d.Via
	}
	for _, p := range d.Protocols {
		if i, ok := slices.BinarySearch(all.Protocols, p); !ok {
			all.Protocols = slices.Insert(all.Protocols, i, p)
		}
	}
}
