// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// The states of a finding.
const (
	Open          = "open"
	Acknowledged  = "acknowledged"
	Mitigated     = "mitigated"
	Fixed         = "fixed"
	FalsePositive = "false-positive"
)

// A Finding with what people made of it.
type Finding struct {
	finding.Finding
	DeviceName string // as people call it
	Ward, Site string
	Assignee   string // person
	Version    int64  // grows with each change
	Changed    int64  // nanoseconds since 1970-01-01 UTC: of its state or decision
}

// A FindingQuery says which findings. Empty fields do not narrow; several values
// of one field are alternatives.
type FindingQuery struct {
	Page
	Words                                           string
	State, Decision, Harm, Kind, Ward, Site, Device []string
	Assignee, CVE, Product                          string
	Since                                           int64  // changed or new since
	Sort                                            string // "urgency" (default), "last", "first", "device", "kind"
	Facets                                          bool
}

// A Step of a finding's history.
type Step struct {
	ID            int64
	Finding       string
	At            int64
	By            string // person; "" is the server
	What          string // "seen", "state", "decision", "assign", "comment", "undo"
	From, To      string
	Reason        string
	Justification string // VEX: a justification of OpenVEX for false-positive and mitigated
	Undoes        int64  // step
	Bulk          int64  // the same number for all of one triage; 0 is none
}

// A Triage is one decision of a person about many findings.
type Triage struct {
	IDs           []string      // of these
	All           *FindingQuery // or of all of a list
	State         string        // "" stays
	Assignee      *string       // nil stays
	Comment       string
	Reason        string
	Justification string
	By            string
}

// urgencyOf is the order of findings in one number: decision, harm, EPSS.
func urgencyOf(f *finding.Finding) int64 {
	return 10_000_000*int64(f.Decision) + 1_100_000*int64(f.Harm) + int64(1_000_000*min(max(f.EPSS, 0), 1))
}

// A cell of the cube: what findings have in common.
type cell struct{ state, decision, harm, kind, ward, site string }

// cubed notes that a cell has so many findings more.
func (c *changes) cubed(at cell, n int) {
	if c.cube == nil {
		c.cube = map[cell]int{}
	}
	c.cube[at] += n
}

// deriveCube writes what cubed noted.
func (s *Store) deriveCube(ctx context.Context, tx *sql.Tx, c *changes) error {
	for at, n := range c.cube {
		if n == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO finding_cube AS c (state, decision, harm, kind, ward, site, n) VALUES ($1,$2,$3,$4,$5,$6,$7)
			ON CONFLICT (state, decision, harm, kind, ward, site) DO UPDATE SET n = c.n + excluded.n`, at.state, at.decision, at.harm, at.kind, at.ward, at.site, n)
		if err != nil {
			return err
		}
	}
	c.cube = nil
	return nil
}

// moveFindings gives what was found at one device to another root.
func (s *Store) moveFindings(ctx context.Context, tx *sql.Tx, born, root string, c *changes) error {
	_, err := tx.ExecContext(ctx, "UPDATE finding SET device = $1 WHERE born = $2", root, born)
	if err != nil {
		return err
	}
	var l, ward, site string
	if err := tx.QueryRowContext(ctx, "SELECT label, ward, site FROM device WHERE id = $1", root).Scan(&l, &ward, &site); err != nil {
		return err
	}
	return s.relabel(ctx, tx, root, l, ward, site, c)
}

// relabel writes what a device is called, and where it is, into its findings.
func (s *Store) relabel(ctx context.Context, tx *sql.Tx, root, l, ward, site string, c *changes) error {
	rows, err := tx.QueryContext(ctx, "SELECT state, decision, harm, kind, ward, site, count(*) FROM finding WHERE device = $1 AND (ward <> $2 OR site <> $3) GROUP BY state, decision, harm, kind, ward, site", root, ward, site)
	if err != nil {
		return err
	}
	for rows.Next() {
		var at cell
		var n int
		if err := rows.Scan(&at.state, &at.decision, &at.harm, &at.kind, &at.ward, &at.site, &n); err != nil {
			rows.Close()
			return err
		}
		c.cubed(at, -n)
		at.ward, at.site = ward, site
		c.cubed(at, n)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE finding SET label = $1, ward = $2, site = $3 WHERE device = $4 AND (label <> $1 OR ward <> $2 OR site <> $3)", l, ward, site, root)
	return err
}

// found takes over what a sensor says of a finding. at is now.
func (s *Store) found(ctx context.Context, tx *sql.Tx, sensor, site string, f *finding.Finding, at int64, c *changes) error {
	born, label, ward := "", f.Product, ""
	if f.Device != "" {
		held, err := s.holders(ctx, tx, []name{{site, "dev", f.Device}})
		if err != nil {
			return err
		}
		born = held[name{site, "dev", f.Device}].device
		if born == "" {
			stub := device.Device{ID: f.Device, Product: device.Product{Therapy: f.Therapy}} // its sensor says the rest later
			if born, err = s.said(ctx, tx, site, &stub, at, c); err != nil {
				return err
			}
		}
		if err := tx.QueryRowContext(ctx, "SELECT label, ward, site FROM device WHERE id = $1", born).Scan(&label, &ward, &site); err != nil {
			return err
		}
		c.device(born)
	}
	id := f.ID
	n, err := s.count(ctx, tx, id, sensor, f.Count)
	if err != nil {
		return err
	}
	var old Finding
	var doc []byte
	var state string
	err = tx.QueryRowContext(ctx, "SELECT doc, state, ward, site, changed FROM finding WHERE id = $1", id).Scan(&doc, &state, &old.Ward, &old.Site, &old.Changed)
	if errors.Is(err, sql.ErrNoRows) {
		now := *f
		now.State, now.Device, now.Count = Open, born, n
		if doc, err = json.Marshal(&now); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO finding (id, kind, born, device, product, label, ward, site, harm, decision, urgency, state, cve, first, last, changed, doc)
			VALUES ($1,$2,$3,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)`,
			id, f.Kind.String(), born, f.Product, label, ward, site, f.Harm.String(), f.Decision.String(), urgencyOf(f), Open, spaced(f.CVE), f.First, f.Last, at, doc)
		if err != nil {
			return err
		}
		c.cubed(cell{Open, f.Decision.String(), f.Harm.String(), f.Kind.String(), ward, site}, 1)
		c.findings = append(c.findings, id)
		if err := s.step(ctx, tx, &Step{Finding: id, At: at, What: "seen", To: f.Decision.String()}); err != nil {
			return err
		}
		if err := s.notice(ctx, tx, id, "new", at, &now); err != nil {
			return err
		}
		return s.findingText(ctx, tx, &now, label, ward)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, &old.Finding); err != nil {
		return err
	}
	now := old.Finding
	was := cell{state, now.Decision.String(), now.Harm.String(), now.Kind.String(), old.Ward, old.Site}
	seen := f.Last
	renew(&now, f)
	now.Count, now.State = n, state
	if state == Fixed && seen > old.Changed {
		now.State = Open
		if err := s.step(ctx, tx, &Step{Finding: id, At: at, What: "state", From: state, To: Open, Reason: "seen again after it was fixed"}); err != nil {
			return err
		}
	}
	is := cell{now.State, now.Decision.String(), now.Harm.String(), now.Kind.String(), old.Ward, old.Site}
	changed := old.Changed
	if is.decision != was.decision {
		if err := s.step(ctx, tx, &Step{Finding: id, At: at, What: "decision", From: was.decision, To: is.decision}); err != nil {
			return err
		}
	}
	if is != was {
		changed = at
		c.cubed(was, -1)
		c.cubed(is, 1)
		c.findings = append(c.findings, id)
		if err := s.notice(ctx, tx, id, "changed", at, &now); err != nil {
			return err
		}
	}
	if doc, err = json.Marshal(&now); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE finding SET harm=$1, decision=$2, urgency=$3, state=$4, cve=$5, first=$6, last=$7, changed=$8, doc=$9 WHERE id=$10",
		is.harm, is.decision, urgencyOf(&now), is.state, spaced(now.CVE), now.First, now.Last, changed, doc, id)
	return err
}

// renew takes over what is new in a finding: it may come from several sensors, and
// again from one that began anew.
func renew(now, f *finding.Finding) {
	first, last, all, at := now.First, now.Last, now.Sightings, now.Device
	*now = *f
	now.Device = at
	if first != 0 && (now.First == 0 || first < now.First) {
		now.First = first
	}
	now.Last = max(now.Last, last)
	now.Sightings = nil
	count := now.Count
	for _, s := range slices.Concat(all, f.Sightings) {
		now.Add(s)
	}
	now.Count = count
	if first != 0 && (now.First == 0 || first < now.First) {
		now.First = first
	}
}

// count adds up what sensors counted of a finding; one that began anew begins at one again.
func (s *Store) count(ctx context.Context, tx *sql.Tx, id, sensor string, n uint64) (uint64, error) {
	_, err := tx.ExecContext(ctx, `INSERT INTO finding_count AS c (finding, sensor, base, n) VALUES ($1,$2,0,$3)
		ON CONFLICT (finding, sensor) DO UPDATE SET base = c.base + CASE WHEN excluded.n < c.n THEN c.n ELSE 0 END, n = excluded.n`, id, sensor, int64(n))
	if err != nil {
		return 0, err
	}
	var sum int64
	err = tx.QueryRowContext(ctx, "SELECT CAST(sum(base + n) AS BIGINT) FROM finding_count WHERE finding = $1", id).Scan(&sum)
	return uint64(sum), err
}

func spaced(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return " " + strings.Join(list, " ") + " "
}

func (s *Store) findingText(ctx context.Context, tx *sql.Tx, f *finding.Finding, label, ward string) error {
	text := strings.Join([]string{f.Title, f.Kind.String(), f.Product, f.Component, label, ward, f.Protocol, strings.Join(f.CVE, " "), strings.Join(f.Advisories, " "), f.ID}, " ")
	_, err := tx.ExecContext(ctx, s.d.Text("finding"), f.ID, text)
	return err
}

func (s *Store) step(ctx context.Context, tx *sql.Tx, st *Step) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO finding_step (finding, at, by_whom, what, before, after, reason, justification, undoes, bulk) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)`,
		st.Finding, st.At, st.By, st.What, st.From, st.To, st.Reason, st.Justification, st.Undoes, st.Bulk)
	return err
}

// notice is what is to be told outside of a finding.
func (s *Store) notice(ctx context.Context, tx *sql.Tx, id, what string, at int64, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO notice (finding, what, at, body) VALUES ($1,$2,$3,$4)", id, what, at, b)
	return err
}

// where writes a query's conditions, its arguments from $1 on. dims reports that
// they are all of what the cube has.
func (q *FindingQuery) where(s *Store) (cond string, args []any, dims bool) {
	dims = true
	var all []string
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	for _, f := range q.fields() {
		if len(f.values) == 0 {
			continue
		}
		var list []string
		for _, v := range f.values {
			list = append(list, arg(v))
		}
		if len(list) == 1 {
			all = append(all, f.name+" = "+list[0])
		} else {
			all = append(all, f.name+" IN ("+strings.Join(list, ",")+")")
		}
	}
	if len(q.Device) > 0 {
		dims = false
		var list []string
		for _, v := range q.Device {
			list = append(list, arg(v))
		}
		all = append(all, "device IN (SELECT root FROM device WHERE id IN ("+strings.Join(list, ",")+"))")
	}
	narrow := func(c string) {
		dims = false
		all = append(all, c)
	}
	if q.Assignee != "" {
		narrow("assignee = " + arg(q.Assignee))
	}
	if q.CVE != "" {
		narrow("cve LIKE " + arg("% "+strings.NewReplacer("%", "", "_", "").Replace(strings.ToUpper(q.CVE))+" %"))
	}
	if q.Product != "" {
		narrow("(product = " + arg(q.Product) + " OR device IN (SELECT id FROM device WHERE product = " + arg(q.Product) + "))")
	}
	if q.Since != 0 {
		narrow("changed >= " + arg(q.Since))
	}
	if q.Words != "" {
		if w := s.d.Words(q.Words); w != "" {
			arg(w)
			narrow("id IN (" + s.d.Match("finding", len(args), maxMatches) + ")")
		} else {
			narrow("1 = 0")
		}
	}
	if len(all) == 0 {
		return "1 = 1", args, dims
	}
	return strings.Join(all, " AND "), args, dims
}

// maxMatches is how many rows a search looks at, the newest first.
const maxMatches = 5000

type field struct {
	name   string
	values []string
}

// fields are those of the query that the cube has.
func (q *FindingQuery) fields() []field {
	return []field{{"state", q.State}, {"decision", q.Decision}, {"harm", q.Harm}, {"kind", q.Kind}, {"ward", q.Ward}, {"site", q.Site}}
}

// An order is how a list can be sorted: an expression, and its direction.
type order struct {
	column string
	desc   bool
	number bool
}

var findingOrders = map[string]order{
	"":       {"urgency", true, true},
	"last":   {"last", true, true},
	"first":  {"first", true, true},
	"device": {"label", false, false},
	"kind":   {"kind", false, false},
}

// page writes the end of a list's query: after which row, in which order, how many.
func (o order) page(cond string, args []any, p Page) (string, []any, int, error) {
	limit := p.limit()
	dir, than := "", ">"
	if o.desc {
		dir, than = " DESC", "<"
	}
	if p.After != "" {
		value, id, ok := strings.Cut(p.After, "~")
		if !ok {
			return "", nil, 0, ErrCursor
		}
		var v any
		if o.number {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return "", nil, 0, ErrCursor
			}
			v = n
		} else {
			b, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil {
				return "", nil, 0, ErrCursor
			}
			v = string(b)
		}
		args = append(args, v, id)
		cond += fmt.Sprintf(" AND (%[1]s %[2]s $%[3]d OR (%[1]s = $%[3]d AND id > $%[4]d))", o.column, than, len(args)-1, len(args))
		if o.number { // so that the index is used from there on
			cond += fmt.Sprintf(" AND %s %s= $%d", o.column, than, len(args)-1)
		}
	}
	return fmt.Sprintf("%s ORDER BY %s%s, id LIMIT %d", cond, o.column, dir, limit+1), args, limit, nil
}

// cursor is After of the page behind a row.
func (o order) cursor(number int64, text, id string) string {
	if o.number {
		return strconv.FormatInt(number, 10) + "~" + id
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text)) + "~" + id
}

const findingColumns = "id, device, label, ward, site, state, assignee, version, changed, doc, urgency, last, first, kind"

func scanFinding(rows interface{ Scan(...any) error }, o order) (f Finding, cursor string, err error) {
	var doc []byte
	var id, dev, state, kind string
	var urgency, last, first int64
	if err := rows.Scan(&id, &dev, &f.DeviceName, &f.Ward, &f.Site, &state, &f.Assignee, &f.Version, &f.Changed, &doc, &urgency, &last, &first, &kind); err != nil {
		return f, "", err
	}
	if err := json.Unmarshal(doc, &f.Finding); err != nil {
		return f, "", err
	}
	f.State, f.Device = state, dev
	number := map[string]int64{"urgency": urgency, "last": last, "first": first}[o.column]
	text := map[string]string{"label": f.DeviceName, "kind": kind}[o.column]
	return f, o.cursor(number, text, id), nil
}

// Findings lists findings.
func (s *Store) Findings(ctx context.Context, q FindingQuery) (*List[Finding], error) {
	o, ok := findingOrders[strings.TrimPrefix(q.Sort, "urgency")]
	if !ok {
		return nil, fmt.Errorf("%w: there is no order %q", ErrCursor, q.Sort)
	}
	cond, args, dims := q.where(s)
	where, pageArgs, limit, err := o.page(cond, slices.Clone(args), q.Page)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE "+where, pageArgs...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := &List[Finding]{}
	cursor := ""
	for rows.Next() {
		f, at, err := scanFinding(rows, o)
		if err != nil {
			return nil, err
		}
		if len(out.Rows) == limit {
			out.Next = cursor
			break
		}
		out.Rows, cursor = append(out.Rows, f), at
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	if dims {
		return out, s.cubeFacets(ctx, &q, out)
	}
	err = s.read.QueryRowContext(ctx, "SELECT count(*) FROM finding WHERE "+cond, args...).Scan(&out.Total)
	if err == nil && q.Facets {
		err = s.countedFacets(ctx, cond, args, out)
	}
	return out, err
}

// cubeFacets sums up facets and the total from the cube. The facet of a field is
// what there would be if the field were not narrowed.
func (s *Store) cubeFacets(ctx context.Context, q *FindingQuery, out *List[Finding]) error {
	rows, err := s.read.QueryContext(ctx, "SELECT state, decision, harm, kind, ward, site, n FROM finding_cube WHERE n > 0")
	if err != nil {
		return err
	}
	defer rows.Close()
	fields := q.fields()
	sums := map[Facet]int{}
	for rows.Next() {
		var v [6]string
		var n int
		if err := rows.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &n); err != nil {
			return err
		}
		misses, missed := 0, 0
		for i, f := range fields {
			if len(f.values) > 0 && !slices.Contains(f.values, v[i]) {
				misses, missed = misses+1, i
			}
		}
		if misses == 0 {
			out.Total += n
		}
		if !q.Facets || misses > 1 {
			continue
		}
		for i, f := range fields {
			if misses == 0 || missed == i {
				sums[Facet{Of: f.name, Value: v[i]}] += n
			}
		}
	}
	out.facets(sums)
	return rows.Err()
}

// countedFacets counts in the rows of a list, which a search or a device made short.
func (s *Store) countedFacets(ctx context.Context, cond string, args []any, out *List[Finding]) error {
	rows, err := s.read.QueryContext(ctx, "SELECT state, decision, harm, kind, ward, site, count(*) FROM finding WHERE "+cond+" GROUP BY state, decision, harm, kind, ward, site", args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	sums := map[Facet]int{}
	for rows.Next() {
		var v [6]string
		var n int
		if err := rows.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &n); err != nil {
			return err
		}
		for i, of := range [...]string{"state", "decision", "harm", "kind", "ward", "site"} {
			sums[Facet{Of: of, Value: v[i]}] += n
		}
	}
	out.facets(sums)
	return rows.Err()
}

// facets puts sums in the order of fields, then of how many.
func (l *List[T]) facets(sums map[Facet]int) {
	for f, n := range sums {
		f.Count = n
		l.Facets = append(l.Facets, f)
	}
	slices.SortFunc(l.Facets, func(a, b Facet) int {
		return cmp.Or(cmp.Compare(a.Of, b.Of), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
}

// EachFinding yields all findings of a list without holding them, for export.
func (s *Store) EachFinding(ctx context.Context, q FindingQuery, yield func(*Finding) error) error {
	q.Limit, q.Facets = 1000, false
	for {
		l, err := s.Findings(ctx, q)
		if err != nil {
			return err
		}
		for i := range l.Rows {
			if err := yield(&l.Rows[i]); err != nil {
				return err
			}
		}
		if q.After = l.Next; q.After == "" {
			return nil
		}
	}
}

// Finding returns one with its history, the newest step first. [ErrNotFound].
func (s *Store) Finding(ctx context.Context, id string) (*Finding, []Step, error) {
	f, _, err := scanFinding(s.read.QueryRowContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE id = $1", id), order{})
	if err != nil {
		return nil, nil, notFound(err)
	}
	rows, err := s.read.QueryContext(ctx, "SELECT id, finding, at, by_whom, what, before, after, reason, justification, undoes, bulk FROM finding_step WHERE finding = $1 ORDER BY id DESC LIMIT 1000", id)
	if err != nil {
		return nil, nil, err
	}
	steps, err := scanSteps(rows)
	return &f, steps, err
}

func scanSteps(rows *sql.Rows) ([]Step, error) {
	defer rows.Close()
	var out []Step
	for rows.Next() {
		var st Step
		if err := rows.Scan(&st.ID, &st.Finding, &st.At, &st.By, &st.What, &st.From, &st.To, &st.Reason, &st.Justification, &st.Undoes, &st.Bulk); err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, rows.Err()
}

// maxTriage is how many findings one triage changes.
const maxTriage = 10_000

// Triage changes findings, all or none, and adds to their history. It returns the
// number for [Store.UndoTriage], and how many were changed.
func (s *Store) Triage(ctx context.Context, t Triage) (bulk int64, n int, err error) {
	if t.State != "" && !slices.Contains([]string{Open, Acknowledged, Mitigated, Fixed, FalsePositive}, t.State) {
		return 0, 0, fmt.Errorf("there is no state %q", t.State)
	}
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		bulk, n = 0, 0
		c := &changes{}
		list, err := s.chosen(ctx, tx, &t)
		if err != nil {
			return err
		}
		add := func(st Step) error {
			st.At, st.By, st.Bulk = at, t.By, bulk
			var id int64
			err := tx.QueryRowContext(ctx, `INSERT INTO finding_step (finding, at, by_whom, what, before, after, reason, justification, undoes, bulk) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,0,$9) RETURNING id`,
				st.Finding, st.At, st.By, st.What, st.From, st.To, st.Reason, st.Justification, st.Bulk).Scan(&id)
			if err == nil && bulk == 0 { // the first step gives the number of all
				bulk = id
				_, err = tx.ExecContext(ctx, "UPDATE finding_step SET bulk = $1 WHERE id = $1", id)
			}
			return err
		}
		for i := range list {
			f := &list[i]
			did := false
			if t.State != "" && t.State != f.State {
				if err := add(Step{Finding: f.ID, What: "state", From: f.State, To: t.State, Reason: t.Reason, Justification: t.Justification}); err != nil {
					return err
				}
				if err := s.setState(ctx, tx, f, t.State, at, c); err != nil {
					return err
				}
				did = true
			}
			if t.Assignee != nil && *t.Assignee != f.Assignee {
				if err := add(Step{Finding: f.ID, What: "assign", From: f.Assignee, To: *t.Assignee, Reason: t.Reason}); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, "UPDATE finding SET assignee = $1, version = version + 1 WHERE id = $2", *t.Assignee, f.ID); err != nil {
					return err
				}
				did = true
			}
			if t.Comment != "" {
				if err := add(Step{Finding: f.ID, What: "comment", To: t.Comment}); err != nil {
					return err
				}
				did = true
			}
			if did {
				n++
			}
		}
		return s.derive(ctx, tx, c)
	})
	return bulk, n, err
}

// setState changes the state of a finding, and what follows from it.
func (s *Store) setState(ctx context.Context, tx *sql.Tx, f *Finding, state string, at int64, c *changes) error {
	if _, err := tx.ExecContext(ctx, "UPDATE finding SET state = $1, changed = $2, version = version + 1 WHERE id = $3", state, at, f.ID); err != nil {
		return err
	}
	at1 := cell{f.State, f.Decision.String(), f.Harm.String(), f.Kind.String(), f.Ward, f.Site}
	c.cubed(at1, -1)
	at1.state = state
	c.cubed(at1, 1)
	c.device(f.Device)
	now := f.Finding
	now.State = state
	return s.notice(ctx, tx, f.ID, "changed", at, &now)
}

// chosen are the findings that a triage is about.
func (s *Store) chosen(ctx context.Context, tx *sql.Tx, t *Triage) ([]Finding, error) {
	var out []Finding
	read := func(where string, args ...any) error {
		rows, err := tx.QueryContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE "+where, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			f, _, err := scanFinding(rows, order{})
			if err != nil {
				return err
			}
			if out = append(out, f); len(out) > maxTriage {
				return fmt.Errorf("more than %d findings at once: narrow the list", maxTriage)
			}
		}
		return rows.Err()
	}
	if t.All != nil {
		cond, args, _ := t.All.where(s)
		return out, read(cond+fmt.Sprintf(" ORDER BY id LIMIT %d", maxTriage+1), args...)
	}
	ids := slices.Compact(slices.Sorted(slices.Values(t.IDs)))
	for part := range slices.Chunk(ids, 500) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if err := read("id IN ("+params(1, len(part))+")", args...); err != nil {
			return nil, err
		}
	}
	if len(out) != len(ids) {
		return nil, fmt.Errorf("%w: %d of these findings", ErrNotFound, len(ids)-len(out))
	}
	return out, nil
}

// UndoTriage puts back what a triage changed and nobody changed since; how many it
// left alone because somebody did is returned, too.
func (s *Store) UndoTriage(ctx context.Context, bulk int64, by string) (n, left int, err error) {
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		n, left = 0, 0
		c := &changes{}
		rows, err := tx.QueryContext(ctx, "SELECT id, finding, at, by_whom, what, before, after, reason, justification, undoes, bulk FROM finding_step WHERE bulk = $1 AND bulk > 0 AND what IN ('state', 'assign') ORDER BY id", bulk)
		if err != nil {
			return err
		}
		steps, err := scanSteps(rows)
		if err != nil {
			return err
		}
		if len(steps) == 0 {
			return ErrNotFound
		}
		for _, st := range steps {
			f, _, err := scanFinding(tx.QueryRowContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE id = $1", st.Finding), order{})
			if err != nil {
				return err
			}
			var later int
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM finding_step WHERE finding = $1 AND id > $2 AND (what = $3 OR undoes = $2)", st.Finding, st.ID, st.What).Scan(&later); err != nil {
				return err
			}
			if later > 0 {
				left++
				continue
			}
			if st.What == "state" {
				err = s.setState(ctx, tx, &f, st.From, at, c)
			} else {
				_, err = tx.ExecContext(ctx, "UPDATE finding SET assignee = $1, version = version + 1 WHERE id = $2", st.From, f.ID)
			}
			if err != nil {
				return err
			}
			if err := s.step(ctx, tx, &Step{Finding: st.Finding, At: at, By: by, What: "undo", From: st.To, To: st.From, Undoes: st.ID}); err != nil {
				return err
			}
			n++
		}
		return s.derive(ctx, tx, c)
	})
	return n, left, err
}

// A Cell of the matrix of harm and decision: open findings.
type Cell struct {
	Harm, Decision string
	Count          int
}

// Matrix counts open findings by harm and decision, and devices with one to act on.
func (s *Store) Matrix(ctx context.Context) (cells []Cell, act int, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT harm, decision, sum(n) FROM finding_cube WHERE state IN ('open', 'acknowledged') GROUP BY harm, decision HAVING sum(n) > 0")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var c Cell
		if err := rows.Scan(&c.Harm, &c.Decision, &c.Count); err != nil {
			return nil, 0, err
		}
		cells = append(cells, c)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	return cells, act, s.read.QueryRowContext(ctx, "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM device_count WHERE worst = 'act'").Scan(&act)
}
