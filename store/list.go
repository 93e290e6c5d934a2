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
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// A narrowing is what of a query narrows it: conditions, their arguments from $1 on.
type narrowing struct {
	args   []any
	conds  []string // of what only the rows have
	states []string
	ranges [][2]int64 // of urgency; nil is all
	urgent string     // the same as a condition
	kind   string     // conditions of kind, ward and site
	ward   string
	site   string
	cube   bool // the cube has all of it
	since  bool
}

func (n *narrowing) arg(v any) string {
	n.args = append(n.args, v)
	return "$" + strconv.Itoa(len(n.args))
}

// in writes a condition on a column.
func (n *narrowing) in(column string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	var list []string
	for _, v := range values {
		list = append(list, n.arg(v))
	}
	return column + " IN (" + strings.Join(list, ",") + ")"
}

// in is the condition that a column has one of these values; of none it is never so.
func in(column string, values []string, arg func(string) string) string {
	switch len(values) {
	case 0:
		return "1 = 0"
	case 1:
		return column + " = " + arg(values[0])
	}
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = arg(v)
	}
	return column + " IN (" + strings.Join(list, ",") + ")"
}

// where writes all conditions as one.
func (n *narrowing) where() string {
	all := slices.Clone(n.conds)
	for _, c := range [...]string{n.urgent, n.kind, n.ward, n.site} {
		if c != "" {
			all = append(all, c)
		}
	}
	among := n.states
	if len(among) == 0 && n.since { // an index has states, and when they changed
		among = states
	}
	if len(among) > 0 && len(n.conds) > 0 && !n.since { // not by an index: what else there is narrows more
		all = append(all, "state || '' IN ('"+strings.Join(among, "','")+"')")
	} else if len(among) > 0 {
		all = append(all, "state IN ('"+strings.Join(among, "','")+"')")
	}
	if len(all) == 0 {
		return "1 = 1"
	}
	return strings.Join(all, " AND ")
}

var states = []string{Open, Acknowledged, Mitigated, Fixed, FalsePositive}

// narrow writes a query's conditions.
func (q *FindingQuery) narrow(ctx context.Context, s *Store, tx querier) (*narrowing, error) {
	n := &narrowing{cube: true}
	never := func() { n.conds = append(n.conds, "1 = 0") }
	for _, state := range q.State {
		if slices.Contains(states, state) {
			n.states = append(n.states, state)
		}
	}
	if len(q.State) > 0 && len(n.states) == 0 {
		never()
	}
	var decisions, harms []string // their numbers
	for _, word := range q.Decision {
		if d, ok := finding.ParseDecision(word); ok {
			decisions = append(decisions, strconv.Itoa(int(d)))
		}
	}
	for _, word := range q.Harm {
		var h device.Harm
		if h.UnmarshalText([]byte(word)) == nil {
			harms = append(harms, strconv.Itoa(int(h)))
		}
	}
	if len(q.Decision) > 0 && len(decisions) == 0 || len(q.Harm) > 0 && len(harms) == 0 {
		never()
	}
	if len(decisions) > 0 {
		n.urgent = fmt.Sprintf("urgency / %d IN (%s)", perDecision, strings.Join(decisions, ","))
	}
	if len(harms) > 0 {
		if n.urgent != "" {
			n.urgent += " AND "
		}
		n.urgent += fmt.Sprintf("urgency %% %d / %d IN (%s)", perDecision, perHarm, strings.Join(harms, ","))
	}
	if n.urgent != "" {
		for d := range int64(4) {
			if len(decisions) > 0 && !slices.Contains(decisions, strconv.FormatInt(d, 10)) {
				continue
			}
			if len(harms) == 0 {
				n.ranges = append(n.ranges, [2]int64{d * perDecision, (d + 1) * perDecision})
			}
			for _, h := range harms {
				k, _ := strconv.ParseInt(h, 10, 64)
				n.ranges = append(n.ranges, [2]int64{d*perDecision + k*perHarm, d*perDecision + (k+1)*perHarm})
			}
		}
	}
	n.kind, n.ward, n.site = n.in("kind", q.Kind), n.in("ward", q.Ward), n.in("site", q.Site)
	more := func(c string) {
		n.cube = false
		n.conds = append(n.conds, c)
	}
	if len(q.Device) > 0 {
		more("device IN (SELECT root FROM device WHERE " + n.in("id", q.Device) + ")")
	}
	if q.Assignee != "" {
		more("assignee <> '' AND assignee = " + n.arg(q.Assignee))
	}
	if q.CVE != "" {
		more("id IN (SELECT finding FROM finding_cve WHERE cve = " + n.arg(strings.ToUpper(strings.TrimSpace(q.CVE))) + ")")
	}
	if q.Products != nil {
		arg := func(v string) string { return n.arg(v) }
		more("(device = '' AND " + in("product", q.Products, arg) + " OR device IN (SELECT id FROM device WHERE root = id AND " + in("product", q.Products, arg) + "))")
	}
	if q.Since != 0 {
		more("changed >= " + n.arg(q.Since))
		n.since = true
	}
	if q.Words != "" {
		c, err := s.matches(ctx, tx, "finding", q.Words)
		if err != nil {
			return nil, err
		}
		more(c)
	}
	return n, nil
}

// maxMatches is how many rows a search looks at, the newest.
const maxMatches = 1000

// maxTyped is how much of what a person searches for is read, in bytes.
const maxTyped = 200

// matches is the condition that a row's text has these words.
func (s *Store) matches(ctx context.Context, tx querier, table, typed string) (string, error) {
	words := s.d.Words(text(typed, maxTyped))
	if words == "" {
		return "1 = 0", nil
	}
	rows, err := tx.QueryContext(ctx, s.d.Match(table, maxMatches), words)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	list := []byte("num IN (0")
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return "", err
		}
		list = strconv.AppendInt(append(list, ','), n, 10)
	}
	return string(append(list, ')')), rows.Err()
}

// few is how many rows are sorted, instead of looking for them in the order of an index.
const few = 2000

// list writes the query of a page. A few rows are found by what narrows them, and
// sorted: the whole list; of many, those of the page are looked for
// in the order of an index: for the most urgent a part for each state and range of
// urgency, which are put together.
func (n *narrowing) list(columns string, o order, p Page, whole bool) (query string, args []any, limit int, err error) {
	if whole {
		o.index = false
		query, args, limit, err = n.part("num", o, p, n.where())
		return "SELECT " + columns + " FROM finding WHERE num IN (" + query + ") ORDER BY " + o.by(), args, limit, err
	}
	kind, ward := n.kind, n.ward
	if ward != "" {
		kind = apart(kind, "kind") // a ward has fewer
	}
	if o.column != "urgency" {
		kind, ward = apart(n.kind, "kind"), apart(ward, "ward")
	}
	common := slices.Clone(n.conds)
	for _, c := range [...]string{kind, ward, n.site} {
		if c != "" {
			common = append(common, c)
		}
	}
	if o.column != "urgency" {
		if n.urgent != "" {
			common = append(common, n.urgent)
		}
		if len(n.states) > 0 {
			common = append(common, "state || '' IN ('"+strings.Join(n.states, "','")+"')")
		}
		return n.part(columns, o, p, strings.Join(append(common, "1 = 1"), " AND "))
	}
	parts, ranges := n.states, n.ranges
	if len(parts) == 0 {
		parts = states
	}
	if len(ranges)*len(parts) > 30 {
		ranges, common = nil, append(common, n.urgent)
	}
	if ranges == nil {
		ranges = [][2]int64{{0, math.MaxInt64}}
	}
	var all []string
	for _, state := range parts {
		for _, r := range ranges {
			cond := append([]string{"state = '" + state + "'", fmt.Sprintf("urgency >= %d AND urgency < %d", r[0], r[1])}, common...)
			if query, args, limit, err = n.part(columns, o, p, strings.Join(cond, " AND ")); err != nil {
				return "", nil, 0, err
			}
			all = append(all, query)
		}
	}
	if len(all) == 1 {
		return all[0], args, limit, nil
	}
	for i := range all {
		all[i] = fmt.Sprintf("SELECT * FROM (%s) AS p%d", all[i], i)
	}
	return "SELECT * FROM (" + strings.Join(all, " UNION ALL ") + ") AS p ORDER BY " + o.by() + " LIMIT " + strconv.Itoa(limit+1), args, limit, nil
}

func (n *narrowing) part(columns string, o order, p Page, cond string) (string, []any, int, error) {
	where, args, limit, err := o.page(cond, slices.Clone(n.args), p)
	return "SELECT " + columns + " FROM finding WHERE " + where, args, limit, err
}

// apart keeps an index of a column of text from being used.
func apart(cond, column string) string {
	if cond == "" {
		return ""
	}
	return column + " || ''" + strings.TrimPrefix(cond, column)
}

type field struct {
	name   string
	values []string
}

// fields are those of the query that the cube has.
func (q *FindingQuery) fields() []field {
	return []field{{"state", q.State}, {"decision", q.Decision}, {"harm", q.Harm}, {"kind", q.Kind}, {"ward", q.Ward}, {"site", q.Site}}
}

// An order is how a list can be sorted: a column, and its direction; then by id.
type order struct {
	column string
	desc   bool
	number bool
	index  bool // an index has this order
}

var findingOrders = map[string]order{
	"":       {"urgency", true, true, true},
	"last":   {"last", true, true, true},
	"first":  {"first", true, true, true},
	"device": {"label", false, false, true},
	"kind":   {"kind", false, false, true},
}

// sorted is what is sorted by.
func (o order) sorted() string {
	switch {
	case o.index:
		return o.column
	case o.number:
		return o.column + " + 0"
	}
	return o.column + " || ''"
}

func (o order) by() string {
	if o.desc {
		return o.sorted() + " DESC, id"
	}
	return o.sorted() + ", id"
}

// page writes the end of a list's query: after which row, in which order, how many.
func (o order) page(cond string, args []any, p Page) (string, []any, int, error) {
	limit := p.limit()
	than := ">"
	if o.desc {
		than = "<"
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
		by := o.sorted()
		// the first condition is for the index
		cond += fmt.Sprintf(" AND %[1]s %[2]s= $%[3]d AND (%[1]s %[2]s $%[3]d OR id > $%[4]d)", by, than, len(args)-1, len(args))
	}
	return fmt.Sprintf("%s ORDER BY %s LIMIT %d", cond, o.by(), limit+1), args, limit, nil
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

// maxCounted is how many rows a page counts one by one, 5 µs each. The cube counts all.
const maxCounted = 2000

// Findings lists findings. Of what Words finds, only the newest 1,000 count. Where a
// list is narrowed by more than states, decisions, harms, kinds, wards and sites, the
// total and the facets are of 2,000 at most, unless it is to be Exact.
func (s *Store) Findings(ctx context.Context, q FindingQuery) (*List[Finding], error) {
	o, ok := findingOrders[strings.TrimPrefix(q.Sort, "urgency")]
	if !ok {
		return nil, fmt.Errorf("%w: there is no order %q", ErrCursor, q.Sort)
	}
	n, err := q.narrow(ctx, s, s.read)
	if err != nil {
		return nil, err
	}
	out := &List[Finding]{}
	if err := s.cells(ctx, &q, n, out); err != nil {
		return nil, err
	}
	query, args, limit, err := n.list(findingColumns, o, q.Page, !out.More && out.Total <= few)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
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
	return out, rows.Err()
}

// glue is between texts that a query puts into one: [Text] leaves none in them.
const glue = "\x1f"

// cells sums up facets and the total. Where the cube has all that the query narrows
// by, the facet of a field is what there would be if the field were not narrowed;
// else rows are counted. Counts come as one text: a row each is ten times slower.
func (s *Store) cells(ctx context.Context, q *FindingQuery, n *narrowing, out *List[Finding]) error {
	const key = "state || $%[1]d || decision || $%[1]d || harm || $%[1]d || kind || $%[1]d || ward || $%[1]d || site || $%[1]d"
	query, args := "", []any{glue}
	bound := " LIMIT " + strconv.Itoa(maxCounted+1)
	if q.Exact {
		bound = ""
	}
	switch {
	case n.cube && !q.Facets && len(n.states) > 0:
		query = "SELECT string_agg(" + fmt.Sprintf(key, 1) + " || n, $1) FROM finding_cube WHERE n > 0 AND state IN ('" + strings.Join(n.states, "','") + "')"
	case n.cube:
		query = "SELECT string_agg(" + fmt.Sprintf(key, 1) + " || n, $1) FROM finding_cube WHERE n > 0"
	case q.Facets:
		args = append(slices.Clone(n.args), glue)
		query = "SELECT string_agg(" + fmt.Sprintf(key, len(args)) + " || n, " + fmt.Sprintf("$%d", len(args)) + ") FROM (SELECT state, decision, harm, kind, ward, site, count(*) AS n FROM (SELECT state, decision, harm, kind, ward, site FROM finding WHERE " + n.where() + bound + ") AS g GROUP BY state, decision, harm, kind, ward, site) AS f"
	default:
		if err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM finding WHERE "+n.where()+bound+") AS f", n.args...).Scan(&out.Total); err != nil {
			return err
		}
		out.bounded(q)
		return nil
	}
	var all sql.NullString
	if err := s.read.QueryRowContext(ctx, query, args...).Scan(&all); err != nil || all.String == "" {
		return err
	}
	fields := q.fields()
	if !n.cube {
		for i := range fields {
			fields[i].values = nil
		}
	}
	out.sum(all.String, fields, q.Facets)
	if !n.cube {
		out.bounded(q)
	}
	return nil
}

// bounded says that there are more rows than were counted.
func (l *List[T]) bounded(q *FindingQuery) {
	if l.More = !q.Exact && l.Total > maxCounted; l.More {
		l.Total = maxCounted
	}
}

// sum reads counts: the values of fields and a number, again and again.
func (l *List[T]) sum(all string, fields []field, facets bool) {
	sums := make([]map[string]int, len(fields))
	for i := range sums {
		sums[i] = map[string]int{}
	}
	v := make([]string, len(fields)+1)
	for more := true; more; {
		for i := range v {
			v[i], all, more = strings.Cut(all, glue)
		}
		n, _ := strconv.Atoi(v[len(fields)])
		misses, missed := 0, 0
		for i, f := range fields {
			if len(f.values) > 0 && !slices.Contains(f.values, v[i]) {
				misses, missed = misses+1, i
			}
		}
		if misses == 0 {
			l.Total += n
		}
		if !facets || misses > 1 {
			continue
		}
		for i := range fields {
			if misses == 0 || missed == i {
				sums[i][v[i]] += n
			}
		}
	}
	for i, f := range fields {
		for value, n := range sums[i] {
			if f.name != "" {
				l.Facets = append(l.Facets, Facet{f.name, value, n})
			}
		}
	}
	l.facets()
}

// facets puts facets in the order of fields, then of how many.
func (l *List[T]) facets() {
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
			if err := s.because(ctx, &l.Rows[i]); err != nil {
				return err
			}
			if err := yield(&l.Rows[i]); err != nil {
				return err
			}
		}
		if q.After = l.Next; q.After == "" {
			return nil
		}
	}
}

// because reads what a person gave as the reason of a finding's state.
func (s *Store) because(ctx context.Context, f *Finding) error {
	if f.State == Open {
		return nil
	}
	err := s.read.QueryRowContext(ctx, "SELECT reason, justification FROM finding_step WHERE finding = $1 AND what = 'state' AND after = $2 ORDER BY id DESC LIMIT 1", f.ID, f.State).Scan(&f.Reason, &f.Justification)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
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
