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
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
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
// What people joined stays joined, what they parted stays apart. What a sensor has an
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
		case a.Value == "":
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
}

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
			err := tx.QueryRowContext(ctx, "SELECT id, born, device, strong = 1, last FROM identity WHERE live = 1 AND site = $1 AND kind = $2 AND value = $3", n.site, n.kind, n.value).Scan(&h.id, &h.born, &h.device, &h.strong, &h.last)
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
		q.WriteString("SELECT site, kind, value, id, born, device, strong = 1, last FROM identity WHERE live = 1 AND (site, kind, value) IN (VALUES ")
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
			if err := rows.Scan(&n.site, &n.kind, &n.value, &h.id, &h.born, &h.device, &h.strong, &h.last); err != nil {
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
		case !ok || slices.ContainsFunc(joins, func(j join) bool { return j.root == h.device }):
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
		case ok && i < strong && n.kind != made:
			// a hardware address of several devices: it stays where it is
		case ok:
			if _, err = tx.ExecContext(ctx, "UPDATE identity SET live = 0 WHERE id = $1", h.id); err == nil {
				err = s.name(ctx, tx, n, row, root, i < strong, at)
			}
			changed.moved = append(changed.moved, n)
			changed.device(h.device)
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

// changes are what a transaction has to bring up to date before it ends.
type changes struct {
	devices  map[string]bool // roots; true: also what is said of them, not the findings alone
	fresh    []string
	findings []string
	moved    []name         // to another device, under another number
	learned  map[name]int64 // numbers of identities
	pairs    map[pair]int64
	cube     map[cell]int
	counts   map[kindOf]int
}

// device notes that a root is to be described anew.
func (c *changes) device(root string) { c.touch(root, true) }

// counted notes that a root's findings are to be counted anew.
func (c *changes) counted(root string) { c.touch(root, false) }

func (c *changes) touch(root string, said bool) {
	if root == "" {
		return
	}
	if c.devices == nil {
		c.devices = map[string]bool{}
	}
	c.devices[root] = said || c.devices[root]
}

func (c *changes) added(root string) {
	c.device(root)
	c.fresh = append(c.fresh, root)
}

// apart reports whether somebody parted these two, or those they are made of.
func (s *Store) apart(ctx context.Context, tx *transaction, a, b string) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM merge m JOIN device x ON x.id = m.kept JOIN device y ON y.id = m.gone
		WHERE m.undone_by <> '' AND ((x.root = $1 AND y.root = $2) OR (x.root = $2 AND y.root = $1))`, a, b).Scan(&n)
	return n > 0, err
}

// merge makes one device of two roots, and remembers why.
func (s *Store) merge(ctx context.Context, tx *transaction, kept, gone, by, why string, via, at int64, changed *changes) (int64, error) {
	var id int64
	if err := tx.QueryRowContext(ctx, "INSERT INTO merge (kept, gone, why, via, by_whom, at) VALUES ($1,$2,$3,$4,$5,$6) RETURNING id", kept, gone, why, via, by, at).Scan(&id); err != nil {
		return 0, err
	}
	return id, s.reroot(ctx, tx, []string{kept, gone}, changed)
}

// reroot works out the roots of all devices that hang together with some, from the
// records of merges alone, and puts them where they are written down.
func (s *Store) reroot(ctx context.Context, tx *transaction, some []string, changed *changes) error {
	before := map[string]string{} // root, by device
	for queue := some; len(queue) > 0; {
		id := queue[0]
		queue = queue[1:]
		if _, ok := before[id]; ok {
			continue
		}
		var root string
		if err := tx.QueryRowContext(ctx, "SELECT root FROM device WHERE id = $1", id).Scan(&root); err != nil {
			return notFound(err)
		}
		before[id] = root
		near, err := texts(ctx, tx, "SELECT kept FROM merge WHERE gone = $1 UNION SELECT gone FROM merge WHERE kept = $1", id)
		if err != nil {
			return err
		}
		queue = append(queue, near...)
	}
	after := map[string]string{}
	for id := range before {
		after[id] = id
	}
	find := func(id string) string {
		for after[id] != id {
			id = after[id]
		}
		return id
	}
	var list []any
	for id := range before {
		list = append(list, id)
	}
	rows, err := tx.QueryContext(ctx, "SELECT kept, gone FROM merge WHERE undone_at = 0 AND kept IN ("+params(1, len(list))+") ORDER BY id", list...)
	if err != nil {
		return err
	}
	for rows.Next() {
		var kept, gone string
		if err := rows.Scan(&kept, &gone); err != nil {
			rows.Close()
			return err
		}
		if k, g := find(kept), find(gone); k != g {
			after[g] = k
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for id, was := range before {
		root := find(id)
		if root == was {
			continue
		}
		changed.device(root)
		changed.device(was)
		for _, q := range [...]string{
			"UPDATE device SET root = $1 WHERE id = $2",
			"UPDATE identity SET device = $1 WHERE born = $2",
		} {
			if _, err := tx.ExecContext(ctx, q, root, id); err != nil {
				return err
			}
		}
		if err := s.moveFindings(ctx, tx, id, root, changed); err != nil {
			return err
		}
	}
	return nil
}

// told is what people say of a device.
type told struct {
	Name, Ward, Owner, Criticality, Notes *string `json:",omitempty"`
}

// view puts together what is known of a root: what was said and told of it and of
// all that were merged into it, and whether some of that is implanted or worn.
func (s *Store) view(ctx context.Context, tx querier, root string) (r *Device, worn bool, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, site, said, told, first, last, version FROM device WHERE root = $1 ORDER BY last, num", root)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	r = &Device{}
	var t, others told
	found := false
	for rows.Next() {
		var id, site string
		var saidOf, toldOf []byte
		var first, last, version int64
		if err := rows.Scan(&id, &site, &saidOf, &toldOf, &first, &last, &version); err != nil {
			return nil, false, err
		}
		var d device.Device
		var people told
		if err := errors.Join(json.Unmarshal(saidOf, &d), json.Unmarshal(toldOf, &people)); err != nil {
			return nil, false, err
		}
		if id == root {
			found, t, r.Site, r.Edition = true, people, site, version
		} else {
			fill(&others, &people)
		}
		over(&r.Device, &d) // what was said last counts
		worn = worn || d.Therapy.Info().Worn
		if r.First == 0 || first < r.First {
			r.First = first
		}
		r.Last = max(r.Last, last)
	}
	if err := rows.Err(); err != nil {
		return nil, false, err
	}
	if !found {
		return nil, false, ErrNotFound
	}
	fill(&t, &others)
	r.ID = root
	take(&r.Name, t.Name)
	take(&r.Ward, t.Ward)
	take(&r.Owner, t.Owner)
	take(&r.Criticality, t.Criticality)
	take(&r.Notes, t.Notes)
	return r, worn, nil
}

func take(to, from *string) {
	if from != nil {
		*to = *from
	}
}

// fill takes what t has not from what others were told.
func fill(t, from *told) {
	for _, p := range [...][2]**string{{&t.Name, &from.Name}, {&t.Ward, &from.Ward}, {&t.Owner, &from.Owner}, {&t.Criticality, &from.Criticality}, {&t.Notes, &from.Notes}} {
		if *p[0] == nil {
			*p[0] = *p[1]
		}
	}
}

// addresses are the live names of a device that are addresses.
func (s *Store) addresses(ctx context.Context, tx querier, root string) ([]device.Address, error) {
	rows, err := tx.QueryContext(ctx, "SELECT kind, value FROM identity WHERE device = $1 AND live = 1 ORDER BY kind, value LIMIT 64", root)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []device.Address
	for rows.Next() {
		var kind string
		var a device.Address
		if err := rows.Scan(&kind, &a.Value); err != nil {
			return nil, err
		}
		if a.Kind.UnmarshalText([]byte(kind)) == nil {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b device.Address) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Value, b.Value)
	})
	return out, rows.Err()
}

// label is what people call a device.
func label(d *Device) string {
	if d.Name != "" {
		return d.Name
	}
	for _, kind := range [...]device.AddressKind{device.AET, device.Host, device.IP, device.EUI64} {
		for _, a := range d.Addresses {
			if a.Kind == kind {
				return a.Value
			}
		}
	}
	if what := strings.TrimSpace(d.Manufacturer + " " + d.Model); what != "" {
		return what
	}
	return d.ID
}

// derive brings the columns of devices, and what hangs on them, up to date.
func (s *Store) derive(ctx context.Context, tx *transaction, c *changes) error {
	if err := s.deriveDevices(ctx, tx, c); err != nil {
		return err
	}
	if err := s.deriveCounts(ctx, tx, c); err != nil {
		return err
	}
	return s.deriveCube(ctx, tx, c)
}

func (s *Store) deriveDevices(ctx context.Context, tx *transaction, c *changes) error {
	var counted []string
	for _, root := range slices.Sorted(maps.Keys(c.devices)) {
		if !c.devices[root] {
			counted = append(counted, root)
		} else if err := s.describe(ctx, tx, root, c); err != nil {
			return fmt.Errorf("device %s: %w", root, err)
		}
	}
	for part := range slices.Chunk(counted, 250) {
		if err := s.recount(ctx, tx, part, c); err != nil {
			return err
		}
	}
	c.devices = nil
	return nil
}

// A kindOf is what devices have in common that are counted together.
type kindOf struct {
	site, ward, therapy, harm string
	medical                   int64
	worst                     string
}

// compare is an order: transactions that change counts go in the same one.
func (k kindOf) compare(o kindOf) int {
	return cmp.Or(cmp.Compare(k.site, o.site), cmp.Compare(k.ward, o.ward), cmp.Compare(k.therapy, o.therapy), cmp.Compare(k.harm, o.harm), cmp.Compare(k.medical, o.medical), cmp.Compare(k.worst, o.worst))
}

// A row is what is derived of a device so far.
type row struct {
	root, label string
	kindOf
	urgency, harmRank int64
	open              [4]int64 // findings, by decision
}

// rows locks and reads rows of devices.
func (s *Store) rows(ctx context.Context, tx *transaction, ids []string) (map[string]row, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, root, site, ward, therapy, harm, label, medical, urgency, harm_rank, track, trackstar, attend, act FROM device WHERE id IN ("+params(1, len(ids))+") ORDER BY id"+s.d.Lock, anys(ids)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[string]row, len(ids))
	for rows.Next() {
		var id string
		var r row
		n := &r.open
		if err := rows.Scan(&id, &r.root, &r.site, &r.ward, &r.therapy, &r.harm, &r.label, &r.medical, &r.urgency, &r.harmRank, &n[0], &n[1], &n[2], &n[3]); err != nil {
			return nil, err
		}
		r.worst = worstWord(r.urgency)
		out[id] = r
	}
	return out, rows.Err()
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// open counts the open findings of roots by decision.
func (s *Store) open(ctx context.Context, tx *transaction, roots []string) (map[string][4]int64, error) {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT device, urgency / %d, count(*) FROM finding WHERE device IN (%s) AND state || '' IN ('open', 'acknowledged') GROUP BY device, urgency / %[1]d", perDecision, params(1, len(roots))), anys(roots)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[string][4]int64, len(roots))
	for rows.Next() {
		var root string
		var d, count int64
		if err := rows.Scan(&root, &d, &count); err != nil {
			return nil, err
		}
		n := out[root]
		n[d] = count
		out[root] = n
	}
	return out, rows.Err()
}

// urgencyWith is the order of devices: worst open decision, then harm.
func urgencyWith(open [4]int64, harm int64) int64 {
	for d := int64(3); d >= 0; d-- {
		if open[d] > 0 {
			return 10*(d+1) + harm
		}
	}
	return harm
}

// recount brings up to date what follows from the findings of devices.
func (s *Store) recount(ctx context.Context, tx *transaction, roots []string, c *changes) error {
	was, err := s.rows(ctx, tx, roots)
	if err != nil {
		return err
	}
	open, err := s.open(ctx, tx, roots)
	if err != nil {
		return err
	}
	for _, root := range roots {
		was, n := was[root], open[root]
		urgency := urgencyWith(n, was.harmRank)
		if was.root != root || n == was.open && urgency == was.urgency {
			continue
		}
		is := was.kindOf
		is.worst = worstWord(urgency)
		c.sorted(was.kindOf, -1)
		c.sorted(is, 1)
		if _, err := tx.ExecContext(ctx, "UPDATE device SET track=$1, trackstar=$2, attend=$3, act=$4, urgency=$5 WHERE id=$6", n[0], n[1], n[2], n[3], urgency, root); err != nil {
			return err
		}
	}
	return nil
}

// describe brings a device's whole row up to date.
func (s *Store) describe(ctx context.Context, tx *transaction, root string, c *changes) error {
	rows, err := s.rows(ctx, tx, []string{root})
	if err != nil {
		return err
	}
	was, ok := rows[root]
	if !ok {
		return ErrNotFound
	}
	counted := was.label != "" // it was derived before
	if counted {
		c.sorted(was.kindOf, -1)
	}
	if was.root != root {
		tx.text("device", root, "")
		_, err := tx.ExecContext(ctx, "UPDATE device SET label = '' WHERE id = $1", root)
		return err
	}
	r, worn, err := s.view(ctx, tx, root)
	if err != nil {
		return err
	}
	if worn && r.Serial != "" {
		if err := s.undress(ctx, tx, root); err != nil {
			return err
		}
		r.Serial = ""
	}
	if r.Addresses, err = s.addresses(ctx, tx, root); err != nil {
		return err
	}
	l := label(r)
	open, err := s.open(ctx, tx, []string{root})
	if err != nil {
		return err
	}
	n := open[root]
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	product := strings.TrimSpace(r.Manufacturer + " " + r.Model)
	urgency := urgencyWith(n, int64(r.Harm))
	_, err = tx.ExecContext(ctx, `UPDATE device SET name=$1, label=$2, ward=$3, owner=$4, criticality=$5, product=$6, therapy=$7, harm=$8, harm_rank=$9, medical=$10,
		track=$11, trackstar=$12, attend=$13, act=$14, urgency=$15, doc=$16, last=$17 WHERE id=$18`,
		r.Name, l, r.Ward, r.Owner, r.Criticality, product, r.Therapy.String(), r.Harm.String(), int64(r.Harm), number(r.Medical),
		n[0], n[1], n[2], n[3], urgency, doc, r.Last, root)
	if err != nil {
		return err
	}
	c.sorted(kindOf{r.Site, r.Ward, r.Therapy.String(), r.Harm.String(), number(r.Medical), worstWord(urgency)}, 1)
	tx.deviceText(r, l)
	if was.label != l || was.ward != r.Ward || was.site != r.Site || !counted {
		return s.relabel(ctx, tx, root, l, r.Ward, r.Site, c)
	}
	return nil
}

// deviceText is what a device is found by.
func (t *transaction) deviceText(d *Device, label string) {
	words := []string{label, d.Name, d.Manufacturer, d.Model, d.Version, d.Class, d.Therapy.String(), d.Ward, d.Owner, d.OS, d.Serial}
	for _, a := range d.Addresses {
		words = append(words, a.Value)
	}
	t.text("device", d.ID, strings.Join(words, " "))
}

// sorted notes that there are so many devices more of a kind.
func (c *changes) sorted(k kindOf, n int) {
	if c.counts == nil {
		c.counts = map[kindOf]int{}
	}
	c.counts[k] += n
}

// deriveCounts writes what sorted noted.
func (s *Store) deriveCounts(ctx context.Context, tx *transaction, c *changes) error {
	var rows [][]any
	for _, k := range slices.SortedFunc(maps.Keys(c.counts), kindOf.compare) {
		if n := c.counts[k]; n != 0 {
			rows = append(rows, []any{k.site, k.ward, k.therapy, k.harm, k.medical, k.worst, n})
		}
	}
	c.counts = nil
	return tx.insert(ctx, "device_count AS c (site, ward, therapy, harm, medical, worst, n)", " ON CONFLICT (site, ward, therapy, harm, medical, worst) DO UPDATE SET n = c.n + excluded.n", 7, rows)
}

// worstWord is the decision that a device's urgency stands for.
func worstWord(urgency int64) string {
	if urgency < 10 {
		return ""
	}
	return finding.Decision(urgency/10 - 1).String()
}

// notFound makes [ErrNotFound] of a missing row.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// A querier is a transaction or a database.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// texts is a query's only column.
func texts(ctx context.Context, tx querier, query string, args ...any) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// params writes "$2,$3,$4": n parameters from one on.
func params(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}
