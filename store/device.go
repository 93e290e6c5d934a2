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
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// A Device is one unit of a product with what people said of it.
type Device struct {
	device.Device
	Site        string
	Owner       string
	Criticality string // "", "low", "high", "life-sustaining": what people say, beside the harm
	Notes       string
	First, Last int64  // nanoseconds since 1970-01-01 UTC
	Edition     int64  // grows with each change by people, for ETags
	Label       string // what people call it
	Into        string // the device that it was merged into, or ""

	Act, Attend, TrackStar, Track int // open findings by decision
	Worst                         string
}

// A DeviceQuery says which devices.
type DeviceQuery struct {
	Page
	Words    string // full-text search
	Site     string
	Ward     string
	Therapy  string
	Harm     string
	Medical  bool   // only those
	Decision string // that have an open finding of this decision
	Product  string // maker and model, for a manufacturer's people
	Sort     string // "urgency" (default), "name", "last", "ward"
}

// A List is a page of rows with what is around it.
type List[T any] struct {
	Rows   []T
	Next   string // cursor of the page that follows, or ""
	Total  int    // of the whole list; exact
	Facets []Facet
}

// A Facet is how many rows have a value.
type Facet struct {
	Of, Value string // "ward", "icu"
	Count     int
}

// A Merge is a record of two devices that are held to be one, or no longer.
type Merge struct {
	ID         int64
	Kept, Gone string // devices
	Why        string
	By         string // person, or "" for the rules
	At         int64
	UndoneBy   string
	UndoneAt   int64
}

// An Identity is a name that a device is known by, and how sure that is.
type Identity struct {
	Site        string // "" everywhere
	Kind, Value string // an address and its kind; "made" and maker, model, serial; "dev" and the id at a sensor
	Strong      bool   // joins by itself
	Live        bool   // no other device has it since
	First, Last int64
}

// A Link is what two devices were seen to say in a span of time.
type Link struct {
	Device, Peer   string // ids
	Protocol       string
	Hour           int64 // nanoseconds: its beginning, or the last one of a sum
	Count          uint64
	Packets, Bytes uint64
	Clear, Sealed  uint64 // conversations in clear and encrypted
	First, Last    int64
}

// A DeviceEdit is what people change of a device. nil fields stay.
type DeviceEdit struct {
	ID                                    string
	Version                               int64 // as read; 0 does not compare
	Name, Ward, Owner, Criticality, Notes *string
	By, Why                               string
}

var deviceOrders = map[string]order{
	"":     {"urgency", true, true},
	"name": {"label", false, false},
	"last": {"last", true, true},
	"ward": {"ward", false, false},
}

// Devices lists devices.
func (s *Store) Devices(ctx context.Context, q DeviceQuery) (*List[Device], error) {
	o, ok := deviceOrders[strings.TrimPrefix(q.Sort, "urgency")]
	if !ok {
		return nil, fmt.Errorf("%w: there is no order %q", ErrCursor, q.Sort)
	}
	cond := "root = id"
	var args []any
	arg := func(c string, v any) {
		args = append(args, v)
		cond += " AND " + strings.ReplaceAll(c, "?", "$"+strconv.Itoa(len(args)))
	}
	dims := true
	for _, f := range q.fields() {
		if f.values != nil {
			arg(f.name+" = ?", f.values[0])
		}
	}
	if q.Medical {
		cond += " AND medical = 1"
	}
	if q.Decision != "" {
		d, ok := finding.ParseDecision(q.Decision)
		if !ok {
			return nil, fmt.Errorf("%w: there is no decision %q", ErrCursor, q.Decision)
		}
		cond += " AND " + [...]string{"track", "trackstar", "attend", "act"}[d] + " > 0"
		dims = false
	}
	if q.Product != "" {
		arg("product = ?", q.Product)
		dims = false
	}
	if q.Words != "" {
		dims = false
		if w := s.d.Words(q.Words); w != "" {
			args = append(args, w)
			cond += " AND id IN (" + s.d.Match("device", len(args), maxMatches) + ")"
		} else {
			cond += " AND 1 = 0"
		}
	}
	where, pageArgs, limit, err := o.page(cond, slices.Clone(args), q.Page)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT id, urgency, label, last, ward, act, attend, trackstar, track FROM device WHERE "+where, pageArgs...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := &List[Device]{}
	cursor := ""
	for rows.Next() {
		var d Device
		var urgency int64
		var l string
		if err := rows.Scan(&d.ID, &urgency, &l, &d.Last, &d.Ward, &d.Act, &d.Attend, &d.TrackStar, &d.Track); err != nil {
			return nil, err
		}
		if len(out.Rows) == limit {
			out.Next = cursor
			break
		}
		d.Worst, d.Label = worstWord(urgency), l
		cursor = o.cursor(map[string]int64{"urgency": urgency, "last": d.Last}[o.column], map[string]string{"label": l, "ward": d.Ward}[o.column], d.ID)
		out.Rows = append(out.Rows, d)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for i := range out.Rows { // a page's worth
		if err := s.whole(ctx, s.read, &out.Rows[i]); err != nil {
			return nil, err
		}
	}
	if dims {
		return out, s.deviceFacets(ctx, &q, out)
	}
	return out, s.read.QueryRowContext(ctx, "SELECT count(*) FROM device WHERE "+cond, args...).Scan(&out.Total)
}

// fields are those of the query that are counted.
func (q *DeviceQuery) fields() []field {
	list := []field{{"site", nil}, {"ward", nil}, {"therapy", nil}, {"harm", nil}}
	for i, v := range [...]string{q.Site, q.Ward, q.Therapy, q.Harm} {
		if v != "" {
			list[i].values = []string{v}
		}
	}
	return list
}

// deviceFacets sums up from what is counted.
func (s *Store) deviceFacets(ctx context.Context, q *DeviceQuery, out *List[Device]) error {
	rows, err := s.read.QueryContext(ctx, "SELECT site, ward, therapy, harm, medical, worst, n FROM device_count WHERE n > 0")
	if err != nil {
		return err
	}
	defer rows.Close()
	sums := map[Facet]int{}
	fields := q.fields()
	for rows.Next() {
		var v [4]string
		var worst string
		var medical, n int
		if err := rows.Scan(&v[0], &v[1], &v[2], &v[3], &medical, &worst, &n); err != nil {
			return err
		}
		if q.Medical && medical == 0 {
			continue
		}
		misses, missed := 0, 0
		for i, f := range fields {
			if f.values != nil && f.values[0] != v[i] {
				misses, missed = misses+1, i
			}
		}
		if misses == 0 {
			out.Total += n
			sums[Facet{Of: "worst", Value: worst}] += n
		}
		for i, f := range fields {
			if misses == 0 || misses == 1 && missed == i {
				sums[Facet{Of: f.name, Value: v[i]}] += n
			}
		}
	}
	out.facets(sums)
	return rows.Err()
}

// whole fills in what is said and told of a device.
func (s *Store) whole(ctx context.Context, tx querier, d *Device) error {
	w, err := s.view(ctx, tx, d.ID)
	if err != nil {
		return err
	}
	w.Act, w.Attend, w.TrackStar, w.Track, w.Worst, w.Label = d.Act, d.Attend, d.TrackStar, d.Track, d.Worst, d.Label
	if w.Addresses, err = s.addresses(ctx, tx, d.ID); err != nil {
		return err
	}
	*d = *w
	return nil
}

// Device returns one, also when it was merged into another. [ErrNotFound].
func (s *Store) Device(ctx context.Context, id string) (*Device, error) {
	var root string
	if err := s.read.QueryRowContext(ctx, "SELECT root FROM device WHERE id = $1", id).Scan(&root); err != nil {
		return nil, notFound(err)
	}
	d := &Device{}
	d.ID = root
	var urgency int64
	err := s.read.QueryRowContext(ctx, "SELECT urgency, label, act, attend, trackstar, track FROM device WHERE id = $1", root).
		Scan(&urgency, &d.Label, &d.Act, &d.Attend, &d.TrackStar, &d.Track)
	if err != nil {
		return nil, notFound(err)
	}
	d.Worst = worstWord(urgency)
	if err := s.whole(ctx, s.read, d); err != nil {
		return nil, err
	}
	if root != id {
		d.Into = root
	}
	return d, nil
}

// Identities returns why a device is one device, and its records of merges.
func (s *Store) Identities(ctx context.Context, id string) ([]Identity, []Merge, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT site, kind, value, strong, live, first, last FROM identity WHERE device = $1 ORDER BY strong DESC, live DESC, kind, value LIMIT 1000", id)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var names []Identity
	for rows.Next() {
		var i Identity
		var strong, live int64
		if err := rows.Scan(&i.Site, &i.Kind, &i.Value, &strong, &live, &i.First, &i.Last); err != nil {
			return nil, nil, err
		}
		i.Strong, i.Live = strong == 1, live == 1
		if i.Kind == made {
			i.Value = strings.ReplaceAll(i.Value, "\x1f", " ")
		}
		names = append(names, i)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, nil, err
	}
	rows, err = s.read.QueryContext(ctx, `SELECT m.id, m.kept, m.gone, m.why, m.by_whom, m.at, m.undone_by, m.undone_at FROM merge m
		WHERE m.kept IN (SELECT id FROM device WHERE root = $1) OR m.gone IN (SELECT id FROM device WHERE root = $1) ORDER BY m.id DESC LIMIT 1000`, id)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var merges []Merge
	for rows.Next() {
		var m Merge
		if err := rows.Scan(&m.ID, &m.Kept, &m.Gone, &m.Why, &m.By, &m.At, &m.UndoneBy, &m.UndoneAt); err != nil {
			return nil, nil, err
		}
		merges = append(merges, m)
	}
	return names, merges, rows.Err()
}

// EditDevice changes what people say of a device, and adds it to its history.
// [ErrNotFound], [ErrConflict].
func (s *Store) EditDevice(ctx context.Context, e DeviceEdit) error {
	at := s.now().UnixNano()
	return s.tx(ctx, func(tx *sql.Tx) error {
		var doc []byte
		var version int64
		var root string
		if err := tx.QueryRowContext(ctx, "SELECT told, version, root FROM device WHERE id = $1", e.ID).Scan(&doc, &version, &root); err != nil {
			return notFound(err)
		}
		if root != e.ID || e.Version != 0 && e.Version != version {
			return ErrConflict
		}
		var t told
		if err := json.Unmarshal(doc, &t); err != nil {
			return err
		}
		changed := false
		for _, f := range [...]struct {
			what string
			to   **string
			from *string
		}{{"name", &t.Name, e.Name}, {"ward", &t.Ward, e.Ward}, {"owner", &t.Owner, e.Owner}, {"criticality", &t.Criticality, e.Criticality}, {"notes", &t.Notes, e.Notes}} {
			was := ""
			take(&was, *f.to)
			if f.from == nil || *f.to != nil && was == *f.from {
				continue
			}
			*f.to, changed = f.from, true
			if err := s.deviceStep(ctx, tx, e.ID, at, e.By, f.what, was, *f.from, e.Why); err != nil {
				return err
			}
		}
		if !changed {
			return nil
		}
		doc, err := json.Marshal(&t)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE device SET told = $1, version = version + 1 WHERE id = $2", doc, e.ID); err != nil {
			return err
		}
		c := &changes{}
		c.device(e.ID)
		return s.derive(ctx, tx, c)
	})
}

func (s *Store) deviceStep(ctx context.Context, tx *sql.Tx, id string, at int64, by, what, before, after, reason string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO device_step (device, at, by_whom, what, before, after, reason) VALUES ($1,$2,$3,$4,$5,$6,$7)", id, at, by, what, before, after, reason)
	return err
}

// MergeDevices makes one device of two; the rules never part them again by themselves.
func (s *Store) MergeDevices(ctx context.Context, keep, gone, by, why string) (id int64, err error) {
	at := s.now().UnixNano()
	c := &changes{}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		*c = changes{}
		for _, d := range []*string{&keep, &gone} {
			if err := tx.QueryRowContext(ctx, "SELECT root FROM device WHERE id = $1", *d).Scan(d); err != nil {
				return notFound(err)
			}
		}
		if keep == gone {
			return ErrConflict // they are one already
		}
		if id, err = s.merge(ctx, tx, keep, gone, by, why, at, c); err != nil {
			return err
		}
		if err := s.deviceStep(ctx, tx, keep, at, by, "merge", gone, keep, why); err != nil {
			return err
		}
		return s.derive(ctx, tx, c)
	})
	return id, err
}

// UndoMerge parts what a merge joined. The rules never join these two again.
// [ErrNotFound], [ErrConflict]: it was undone before.
func (s *Store) UndoMerge(ctx context.Context, merge int64, by string) error {
	at := s.now().UnixNano()
	return s.tx(ctx, func(tx *sql.Tx) error {
		var kept, gone string
		var undone int64
		if err := tx.QueryRowContext(ctx, "SELECT kept, gone, undone_at FROM merge WHERE id = $1", merge).Scan(&kept, &gone, &undone); err != nil {
			return notFound(err)
		}
		if undone != 0 {
			return ErrConflict
		}
		if _, err := tx.ExecContext(ctx, "UPDATE merge SET undone_by = $1, undone_at = $2 WHERE id = $3", by, at, merge); err != nil {
			return err
		}
		c := &changes{}
		if err := s.reroot(ctx, tx, []string{kept, gone}, c); err != nil {
			return err
		}
		if err := s.deviceStep(ctx, tx, kept, at, by, "part", kept, gone, ""); err != nil {
			return err
		}
		return s.derive(ctx, tx, c)
	})
}

// Links sums what was seen since a time, of one device or of all (""): by pair of
// devices and protocol, the most talkative first.
func (s *Store) Links(ctx context.Context, id string, since int64, limit int) ([]Link, error) {
	since -= since % int64(time.Hour)
	const columns = `a.device, b.device, t.protocol, CAST(max(t.hour) AS BIGINT), CAST(sum(t.n) AS BIGINT), CAST(sum(t.packets) AS BIGINT), CAST(sum(t.bytes) AS BIGINT), CAST(sum(t.clear) AS BIGINT), CAST(sum(t.sealed) AS BIGINT), CAST(min(t.first) AS BIGINT), CAST(max(t.last) AS BIGINT)`
	const from = " FROM talk t JOIN identity a ON a.id = t.client JOIN identity b ON b.id = t.server WHERE t.hour >= $1"
	const group = " GROUP BY a.device, b.device, t.protocol"
	q, args := "SELECT "+columns+from+group, []any{since}
	if id != "" { // one side after the other, each by its index
		mine := " AND t.client IN (SELECT id FROM identity WHERE device = $2)"
		theirs := " AND t.server IN (SELECT id FROM identity WHERE device = $2) AND a.device <> $2"
		q, args = "SELECT "+columns+from+mine+group+" UNION ALL SELECT "+columns+from+theirs+group, append(args, id)
	}
	rows, err := s.read.QueryContext(ctx, q+" ORDER BY 5 DESC, 1, 2, 3 LIMIT "+strconv.Itoa(Page{Limit: limit}.limit()), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Link
	for rows.Next() {
		var l Link
		if err := rows.Scan(&l.Device, &l.Peer, &l.Protocol, &l.Hour, &l.Count, &l.Packets, &l.Bytes, &l.Clear, &l.Sealed, &l.First, &l.Last); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

// A Happening is a line of a device's timeline.
type Happening struct {
	At       int64
	Kind     string // "seen", "talk", "verdict", "finding", "edit", "merge"
	What, By string // in words; who, if somebody
	Link     string // what it belongs to: a finding's id, a verdict's number
}

// Timeline returns what happened to a device lately, the newest first.
func (s *Store) Timeline(ctx context.Context, id string, limit int) ([]Happening, error) {
	limit = Page{Limit: limit}.limit()
	d, err := s.Device(ctx, id)
	if err != nil {
		return nil, err
	}
	id = d.ID
	out := []Happening{{At: d.First, Kind: "seen", What: "seen for the first time"}}
	add := func(kind, query string, args ...any) error {
		rows, err := s.read.QueryContext(ctx, query+" LIMIT "+strconv.Itoa(limit), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			h := Happening{Kind: kind}
			if err := rows.Scan(&h.At, &h.What, &h.By, &h.Link); err != nil {
				return err
			}
			out = append(out, h)
		}
		return rows.Err()
	}
	err = errors.Join(
		add("finding", `SELECT s.at, s.what || ': ' || f.kind || ' ' || s.before || CASE WHEN s.before <> '' AND s.after <> '' THEN ' to ' ELSE '' END || CASE WHEN s.what = 'comment' THEN '' ELSE s.after END, s.by_whom, f.id
			FROM finding_step s JOIN finding f ON f.id = s.finding WHERE f.device = $1 ORDER BY s.id DESC`, id),
		add("edit", "SELECT at, what || ': ' || before || ' to ' || after, by_whom, '' FROM device_step WHERE device IN (SELECT id FROM device WHERE root = $1) ORDER BY id DESC", id),
		add("merge", "SELECT at, why, by_whom, '' FROM merge WHERE by_whom = '' AND kept IN (SELECT id FROM device WHERE root = $1) ORDER BY id DESC", id),
		add("talk", `SELECT CAST(t.hour AS BIGINT), t.protocol || ' with ' || count(DISTINCT b.device) || ' others', '', '' FROM talk t JOIN identity b ON b.id = t.server
			WHERE t.client IN (SELECT id FROM identity WHERE device = $1) GROUP BY t.hour, t.protocol ORDER BY t.hour DESC`, id),
	)
	if err != nil {
		return nil, err
	}
	verdicts, err := s.Verdicts(ctx, VerdictQuery{Device: id, Page: Page{Limit: limit}})
	if err != nil {
		return nil, err
	}
	for i := range verdicts.Rows {
		v := &verdicts.Rows[i]
		out = append(out, Happening{At: v.Time, Kind: "verdict", What: strings.TrimSpace(v.Kind.String() + " " + device.Verdict(v.Int(event.Verdict)).String() + " " + device.Verb(v.Int(event.Verb)).String()), Link: strconv.FormatInt(v.Seq, 10)})
	}
	slices.SortStableFunc(out, func(a, b Happening) int { return cmp.Compare(b.At, a.At) })
	return out[:min(len(out), limit)], nil
}
