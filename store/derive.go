// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

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
	for part := range slices.Chunk(counted, maxCounting) {
		open, err := s.open(ctx, tx, part)
		if err == nil {
			err = s.recount(ctx, tx, part, c, func(root string, _ [4]int64) [4]int64 { return open[root] })
		}
		if err != nil {
			return err
		}
	}
	var more []string
	for _, root := range slices.Sorted(maps.Keys(c.open)) {
		if _, ok := c.devices[root]; !ok && c.open[root] != [4]int64{} {
			more = append(more, root)
		}
	}
	for part := range slices.Chunk(more, maxCounting) {
		if err := s.recount(ctx, tx, part, c, func(root string, was [4]int64) [4]int64 {
			for d, n := range c.open[root] {
				was[d] += n
			}
			return was
		}); err != nil {
			return err
		}
	}
	c.devices, c.open = nil, nil
	return nil
}

// maxCounting is how many devices are counted at once.
const maxCounting = 500

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
	rows, err := tx.QueryContext(ctx, "SELECT id, root, site, ward, therapy, harm, label, medical, urgency, harm_rank, track, trackstar, attend, act FROM device WHERE "+s.these("id", "$1")+" ORDER BY id"+s.d.Lock, listOf(ids))
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

// open counts the open findings of roots by decision.
func (s *Store) open(ctx context.Context, tx *transaction, roots []string) (map[string][4]int64, error) {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT device, urgency / %d, count(*) FROM finding WHERE %s AND state || '' IN ('open', 'acknowledged') GROUP BY device, urgency / %[1]d", perDecision, s.these("device", "$1")), listOf(roots))
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

// recount brings up to date what follows from the findings of devices. now says how
// many of one are open, by decision; before there were was.
func (s *Store) recount(ctx context.Context, tx *transaction, roots []string, c *changes, now func(root string, was [4]int64) [4]int64) error {
	was, err := s.rows(ctx, tx, roots)
	if err != nil {
		return err
	}
	type counts struct {
		open    [4]int64
		urgency int64
	}
	alike := map[counts][]string{}
	for _, root := range roots {
		was := was[root]
		n := now(root, was.open)
		urgency := urgencyWith(n, was.harmRank)
		if was.root != root || n == was.open && urgency == was.urgency {
			continue
		}
		is := was.kindOf
		is.worst = worstWord(urgency)
		c.sorted(was.kindOf, -1)
		c.sorted(is, 1)
		alike[counts{n, urgency}] = append(alike[counts{n, urgency}], root)
	}
	for is, roots := range alike {
		n := is.open
		if _, err := tx.ExecContext(ctx, "UPDATE device SET track=$1, trackstar=$2, attend=$3, act=$4, urgency=$5 WHERE "+s.these("id", "$6"), n[0], n[1], n[2], n[3], is.urgency, listOf(roots)); err != nil {
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
