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
	Medical  bool     // only those
	Decision string   // that have an open finding of this decision
	Products []string // of these alone, each maker and model; nil is all, an empty list none
	Sort     string   // "urgency" (default), "name", "last", "ward"
}

// A List is a page of rows with what is around it.
type List[T any] struct {
	Rows   []T
	Next   string // cursor of the page that follows, or ""
	Total  int    // of the whole list
	More   bool   // there are more than Total, which nobody counted
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
	ID          int64
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
	"":     {"urgency", true, true, true},
	"name": {"label", false, false, true},
	"last": {"last", true, true, true},
	"ward": {"ward", false, false, true},
}

const deviceColumns = "id, doc, last, version, urgency, label, track, trackstar, attend, act"

func scanDevice(rows interface{ Scan(...any) error }) (d Device, urgency int64, err error) {
	var id string
	var doc []byte
	var last, version int64
	var l string
	var n [4]int
	if err := rows.Scan(&id, &doc, &last, &version, &urgency, &l, &n[0], &n[1], &n[2], &n[3]); err != nil {
		return d, 0, err
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		return d, 0, err
	}
	d.ID, d.Last, d.Edition, d.Label, d.Worst = id, last, version, l, worstWord(urgency)
	d.Track, d.TrackStar, d.Attend, d.Act = n[0], n[1], n[2], n[3]
	return d, urgency, nil
}

// Devices lists devices. Of what Words finds, only the newest 1,000 count.
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
	for _, f := range q.fields() {
		if f.values != nil {
			arg(f.name+" = ?", f.values[0])
		}
	}
	counted := true
	if q.Medical {
		cond += " AND medical = 1"
	}
	if q.Decision != "" {
		d, ok := finding.ParseDecision(q.Decision)
		if !ok {
			return nil, fmt.Errorf("%w: there is no decision %q", ErrCursor, q.Decision)
		}
		cond += " AND " + [...]string{"track", "trackstar", "attend", "act"}[d] + " > 0"
		counted = false
	}
	if q.Products != nil {
		cond += " AND " + in("product", q.Products, func(v string) string {
			args = append(args, v)
			return "$" + strconv.Itoa(len(args))
		})
		counted = false
	}
	if q.Words != "" {
		c, err := s.matches(ctx, s.read, "device", q.Words)
		if err != nil {
			return nil, err
		}
		cond += " AND " + c
		counted = false
	}
	out := &List[Device]{}
	if counted {
		if err := s.deviceFacets(ctx, &q, out); err != nil {
			return nil, err
		}
	} else if err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM device WHERE "+cond, args...).Scan(&out.Total); err != nil {
		return nil, err
	}
	if rank, ok := harmRank(q.Harm); ok {
		cond += fmt.Sprintf(" AND urgency %% 10 = %d", rank) // the index of urgency has that, too
	}
	// a few are found by what narrows them, and sorted
	o.index = out.Total > few || q.Ward+q.Therapy+q.Words == "" && q.Products == nil
	where, pageArgs, limit, err := o.page(cond, slices.Clone(args), q.Page)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT "+deviceColumns+" FROM device WHERE num IN (SELECT num FROM device WHERE "+where+") ORDER BY "+o.by(), pageArgs...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	cursor := ""
	for rows.Next() {
		d, urgency, err := scanDevice(rows)
		if err != nil {
			return nil, err
		}
		if len(out.Rows) == limit {
			out.Next = cursor
			break
		}
		cursor = o.cursor(map[string]int64{"urgency": urgency, "last": d.Last}[o.column], map[string]string{"label": d.Label, "ward": d.Ward}[o.column], d.ID)
		out.Rows = append(out.Rows, d)
	}
	return out, rows.Err()
}

func harmRank(word string) (device.Harm, bool) {
	var h device.Harm
	return h, word != "" && h.UnmarshalText([]byte(word)) == nil
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
	cond := "n > 0"
	if q.Medical {
		cond += " AND medical = 1"
	}
	var all sql.NullString
	err := s.read.QueryRowContext(ctx, "SELECT string_agg(site || $1 || ward || $1 || therapy || $1 || harm || $1 || worst || $1 || n, $1) FROM device_count WHERE "+cond, glue).Scan(&all)
	if err == nil && all.String != "" {
		out.sum(all.String, append(q.fields(), field{name: "worst"}), true)
	}
	return err
}

// Device returns one, also when it was merged into another. [ErrNotFound].
func (s *Store) Device(ctx context.Context, id string) (*Device, error) {
	d, _, err := scanDevice(s.read.QueryRowContext(ctx, "SELECT "+deviceColumns+" FROM device WHERE id = (SELECT root FROM device WHERE id = $1)", id))
	if err != nil {
		return nil, notFound(err)
	}
	if d.ID != id {
		d.Into = d.ID
	}
	return &d, nil
}

// Identities returns why a device is one device, and its records of merges.
func (s *Store) Identities(ctx context.Context, id string) ([]Identity, []Merge, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, site, kind, value, strong, live, first, last FROM identity WHERE device = $1 ORDER BY strong DESC, live DESC, kind, value LIMIT 1000", id)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var names []Identity
	for rows.Next() {
		var i Identity
		var strong, live int64
		if err := rows.Scan(&i.ID, &i.Site, &i.Kind, &i.Value, &strong, &live, &i.First, &i.Last); err != nil {
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
	for _, f := range []**string{&e.Name, &e.Ward, &e.Owner, &e.Criticality, &e.Notes} {
		if *f != nil {
			clean := text(**f, maxName)
			if f == &e.Notes {
				clean = Text(**f)
			}
			*f = &clean
		}
	}
	at := s.now().UnixNano()
	return s.tx(ctx, func(tx *transaction) error {
		var doc []byte
		var version int64
		var root string
		if err := tx.QueryRowContext(ctx, "SELECT told, version, root FROM device WHERE id = $1"+s.d.Lock, e.ID).Scan(&doc, &version, &root); err != nil {
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

func (s *Store) deviceStep(ctx context.Context, tx *transaction, id string, at int64, by, what, before, after, reason string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO device_step (device, at, by_whom, what, before, after, reason) VALUES ($1,$2,$3,$4,$5,$6,$7)", id, at, by, what, before, after, reason)
	return err
}

// both adds to the history of two devices what they have in common.
func (s *Store) both(ctx context.Context, tx *transaction, at int64, by, what, before, after, reason string) error {
	return errors.Join(s.deviceStep(ctx, tx, before, at, by, what, before, after, reason), s.deviceStep(ctx, tx, after, at, by, what, before, after, reason))
}

// MergeDevices makes one device of two; the rules never part them again by themselves.
func (s *Store) MergeDevices(ctx context.Context, keep, gone, by, why string) (id int64, err error) {
	at := s.now().UnixNano()
	c := &changes{}
	err = s.tx(ctx, func(tx *transaction) error {
		*c = changes{}
		if err := s.inventory(ctx, tx); err != nil {
			return err
		}
		for _, d := range []*string{&keep, &gone} {
			if err := tx.QueryRowContext(ctx, "SELECT root FROM device WHERE id = $1", *d).Scan(d); err != nil {
				return notFound(err)
			}
		}
		if keep == gone {
			return ErrConflict // they are one already
		}
		if id, err = s.merge(ctx, tx, keep, gone, by, why, 0, at, c); err != nil {
			return err
		}
		if err := s.both(ctx, tx, at, by, "merge", gone, keep, why); err != nil {
			return err
		}
		return s.derive(ctx, tx, c)
	})
	return id, err
}

// undo notes that a merge or a split holds no more, as the table says which it is, and
// returns the two devices that it was about.
func undo(ctx context.Context, tx *transaction, table string, id int64, by string, at int64) (kept, gone string, err error) {
	var undone int64
	if err := tx.QueryRowContext(ctx, "SELECT kept, gone, undone_at FROM "+table+" WHERE id = $1", id).Scan(&kept, &gone, &undone); err != nil {
		return "", "", notFound(err)
	}
	if undone != 0 {
		return "", "", ErrConflict
	}
	_, err = tx.ExecContext(ctx, "UPDATE "+table+" SET undone_by = $1, undone_at = $2 WHERE id = $3", by, at, id)
	return kept, gone, err
}

// UndoMerge parts what a merge joined. The rules never join these two again.
// [ErrNotFound], [ErrConflict]: it was undone before.
func (s *Store) UndoMerge(ctx context.Context, merge int64, by, why string) error {
	at := s.now().UnixNano()
	return s.tx(ctx, func(tx *transaction) error {
		if err := s.inventory(ctx, tx); err != nil {
			return err
		}
		kept, gone, err := undo(ctx, tx, "merge", merge, by, at)
		if err != nil {
			return err
		}
		c := &changes{}
		if err := s.reroot(ctx, tx, []string{kept, gone}, c); err != nil {
			return err
		}
		if err := s.both(ctx, tx, at, by, "part", kept, gone, Text(why)); err != nil {
			return err
		}
		return s.derive(ctx, tx, c)
	})
}

// Links sums what was seen since a time, of one device or of all (""): by pair of
// devices and protocol, the most talkative first.
func (s *Store) Links(ctx context.Context, id string, since int64, limit int) ([]Link, error) {
	const sums = `CAST(max(t.hour) AS BIGINT) AS hour, CAST(sum(t.clear + t.sealed) AS BIGINT) AS n, CAST(sum(t.packets) AS BIGINT) AS packets, CAST(sum(t.bytes) AS BIGINT) AS bytes,
		CAST(sum(t.clear) AS BIGINT) AS clear, CAST(sum(t.sealed) AS BIGINT) AS sealed, CAST(min(t.first) AS BIGINT) AS first, CAST(max(t.last) AS BIGINT) AS last`
	with, from, args := "", "SELECT t.pair, "+sums+" FROM talk t WHERE t.hour >= $1 GROUP BY t.pair", []any{since / int64(time.Hour)}
	if id != "" { // hour by hour of those that there are, and in each its pairs
		with = `WITH RECURSIVE hours (h) AS (SELECT min(hour) FROM talk WHERE hour >= $1 UNION ALL SELECT (SELECT min(hour) FROM talk WHERE hour > h) FROM hours WHERE h IS NOT NULL),
			names (id) AS (SELECT id FROM identity WHERE device = $2),
			mine (id) AS (SELECT id FROM pair WHERE client IN (SELECT id FROM names) UNION SELECT id FROM pair WHERE server IN (SELECT id FROM names)) `
		from, args = "SELECT t.pair, "+sums+" FROM hours CROSS JOIN mine CROSS JOIN talk t WHERE t.hour = hours.h AND t.pair = mine.id GROUP BY t.pair", append(args, id)
	}
	rows, err := s.read.QueryContext(ctx, with+"SELECT a.device, b.device, p.protocol, "+strings.ReplaceAll(sums, " AS hour,", ",")+
		" FROM ("+from+") AS t JOIN pair p ON p.id = t.pair JOIN identity a ON a.id = p.client JOIN identity b ON b.id = p.server GROUP BY a.device, b.device, p.protocol ORDER BY 5 DESC, 1, 2, 3 LIMIT "+strconv.Itoa(Page{Limit: limit}.limit()), args...)
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
		l.Hour *= int64(time.Hour)
		out = append(out, l)
	}
	return out, rows.Err()
}

// talks adds to a timeline what a device talked as a client, by hour: at most limit
// of the last days.
func (s *Store) talks(ctx context.Context, id string, limit int, out *[]Happening) error {
	rows, err := s.read.QueryContext(ctx, `WITH RECURSIVE hours (h, n) AS (SELECT max(hour), 0 FROM talk UNION ALL SELECT (SELECT max(hour) FROM talk WHERE hour < h), n + 1 FROM hours WHERE h IS NOT NULL AND n < 200),
		mine (id, protocol, server) AS (SELECT id, protocol, server FROM pair WHERE client IN (SELECT id FROM identity WHERE device = $1))
		SELECT hours.h, mine.protocol, count(DISTINCT b.device) FROM hours CROSS JOIN mine CROSS JOIN talk t JOIN identity b ON b.id = mine.server
		WHERE t.hour = hours.h AND t.pair = mine.id GROUP BY hours.h, mine.protocol ORDER BY hours.h DESC LIMIT `+strconv.Itoa(limit), id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var hour, others int64
		var protocol string
		if err := rows.Scan(&hour, &protocol, &others); err != nil {
			return err
		}
		who := strconv.FormatInt(others, 10) + " others"
		if others == 1 {
			who = "1 other"
		}
		*out = append(*out, Happening{At: hour * int64(time.Hour), Kind: "talk", What: protocol + " with " + who + ", in the hour from then"})
	}
	return rows.Err()
}

// A Happening is a line of a device's timeline.
type Happening struct {
	At       int64
	Kind     string // "seen", "talk", "verdict", "finding", "edit", "merge"
	What, By string // in words; who, if somebody
	Link     string // what it belongs to: a finding's id, a verdict's number, the other device of a merge or split
	Why      string // as somebody said, or the rule
}

// pairSteps are the steps of a device's history that are another one's, too.
const pairSteps = "'merge', 'part', 'split', 'unsplit'"

// inWords are these in words, that are true of both.
var inWords = map[string]string{
	"merge": "one device with another", "part": "no longer one device with another",
	"split": "addresses split off into a device of their own", "unsplit": "addresses that were split off came back",
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
			if err := rows.Scan(&h.At, &h.What, &h.By, &h.Link, &h.Why); err != nil {
				return err
			}
			if kind == "merge" {
				h.What = inWords[h.What]
			}
			out = append(out, h)
		}
		return rows.Err()
	}
	err = errors.Join(
		add("finding", `SELECT s.at, s.what || ': ' || f.kind || ' ' || s.before || CASE WHEN s.before <> '' AND s.after <> '' THEN ' to ' ELSE '' END || CASE WHEN s.what = 'comment' THEN '' ELSE s.after END, s.by_whom, f.id, ''
			FROM finding_step s JOIN finding f ON f.id = s.finding WHERE f.device = $1 ORDER BY s.id DESC`, id),
		add("edit", "SELECT at, what || ': ' || before || ' to ' || after, by_whom, '', reason FROM device_step WHERE what NOT IN ("+pairSteps+") AND device IN (SELECT id FROM device WHERE root = $1) ORDER BY id DESC", id),
		add("merge", `SELECT s.at, s.what, s.by_whom, CASE WHEN x.root <> $1 THEN x.root WHEN y.root <> $1 THEN y.root ELSE '' END, s.reason FROM device_step s JOIN device x ON x.id = s.before JOIN device y ON y.id = s.after
			WHERE s.what IN (`+pairSteps+`) AND s.device IN (SELECT id FROM device WHERE root = $1) GROUP BY s.at, s.what, s.before, s.after, s.by_whom, s.reason, x.root, y.root ORDER BY max(s.id) DESC`, id),
		add("merge", "SELECT at, 'merge', '', '', why FROM merge WHERE by_whom = '' AND kept IN (SELECT id FROM device WHERE root = $1) ORDER BY id DESC", id),
		s.talks(ctx, id, limit, &out),
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
