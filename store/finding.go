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
	"maps"
	"math"
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
	Assignee, CVE                                   string
	Products                                        []string // of these alone, each maker and model; nil is all, an empty list none
	Since                                           int64    // changed or new since
	Sort                                            string   // "urgency" (default), "last", "first", "device", "kind"
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
	Version       int64 // of the one finding, as read; 0 does not compare
}

// urgencyOf is the order of findings in one number: decision, harm, EPSS.
func urgencyOf(f *finding.Finding) int64 {
	return perDecision*int64(f.Decision) + perHarm*int64(f.Harm) + int64(1_000_000*f.EPSS)
}

const (
	perHarm     = 1_100_000
	perDecision = 10_000_000 // more than that of the worst harm
)

// A cell of the cube: what findings have in common.
type cell struct{ state, decision, harm, kind, ward, site string }

func (a cell) compare(b cell) int {
	return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.decision, b.decision), cmp.Compare(a.harm, b.harm), cmp.Compare(a.kind, b.kind), cmp.Compare(a.ward, b.ward), cmp.Compare(a.site, b.site))
}

func (f *Finding) cell() cell {
	return cell{f.State, f.Decision.String(), f.Harm.String(), f.Kind.String(), f.Ward, f.Site}
}

// cubed notes that a cell has so many findings more.
func (c *changes) cubed(at cell, n int) {
	if c.cube == nil {
		c.cube = map[cell]int{}
	}
	c.cube[at] += n
}

// deriveCube writes what cubed noted.
func (s *Store) deriveCube(ctx context.Context, tx *transaction, c *changes) error {
	var rows [][]any
	for _, at := range slices.SortedFunc(maps.Keys(c.cube), cell.compare) {
		if n := c.cube[at]; n != 0 {
			rows = append(rows, []any{at.state, at.decision, at.harm, at.kind, at.ward, at.site, n})
		}
	}
	c.cube = nil
	return tx.insert(ctx, "finding_cube AS c (state, decision, harm, kind, ward, site, n)", " ON CONFLICT (state, decision, harm, kind, ward, site) DO UPDATE SET n = c.n + excluded.n", 7, rows)
}

// moveFindings gives what was found at one device to another root.
func (s *Store) moveFindings(ctx context.Context, tx *transaction, born, root string, c *changes) error {
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
func (s *Store) relabel(ctx context.Context, tx *transaction, root, l, ward, site string, c *changes) error {
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
	docs, err := tx.QueryContext(ctx, "SELECT doc FROM finding WHERE device = $1 AND (label <> $2 OR ward <> $3 OR site <> $4)", root, l, ward, site)
	if err != nil {
		return err
	}
	var list []finding.Finding
	for docs.Next() {
		var doc []byte
		var f finding.Finding
		if err := docs.Scan(&doc); err != nil {
			docs.Close()
			return err
		}
		if err := json.Unmarshal(doc, &f); err != nil {
			docs.Close()
			return err
		}
		list = append(list, f)
	}
	if err := errors.Join(docs.Err(), docs.Close()); err != nil {
		return err
	}
	for i := range list {
		tx.findingText(&list[i], l, ward)
	}
	_, err = tx.ExecContext(ctx, "UPDATE finding SET label = $1, ward = $2, site = $3 WHERE device = $4 AND (label <> $1 OR ward <> $2 OR site <> $3)", l, ward, site, root)
	return err
}

// found takes over what a sensor says of a finding. at is now.
func (s *Store) found(ctx context.Context, tx *transaction, sensor, site string, f *finding.Finding, at int64, c *changes) error {
	said := *f
	f = &said
	f.First, f.Last = min(f.First, at), min(f.Last, at) // a sensor's clock may be wrong
	f.Count = min(f.Count, maxCount)
	if f.EPSS = min(f.EPSS, 1); !(f.EPSS >= 0) { // NaN, too
		f.EPSS = 0
	}
	f.Decision, f.Harm = min(f.Decision, finding.Act), min(f.Harm, device.Catastrophic)
	born, label, ward := "", f.Product, ""
	if f.Device != "" {
		called := []name{{site, "dev", f.Device}}
		held, err := s.holders(ctx, tx, called)
		if err == nil && len(held) == 0 {
			if err = s.inventory(ctx, tx); err == nil { // it may have come meanwhile
				held, err = s.holders(ctx, tx, called)
			}
		}
		if err != nil {
			return err
		}
		born = held[called[0]].device
		if born == "" {
			stub := device.Device{ID: f.Device, Product: device.Product{Therapy: f.Therapy}} // its sensor says the rest later
			if born, err = s.said(ctx, tx, site, &stub, at, c); err != nil {
				return err
			}
		}
		if err := tx.QueryRowContext(ctx, "SELECT label, ward, site FROM device WHERE id = $1"+s.d.Lock, born).Scan(&label, &ward, &site); err != nil {
			return err
		}
		c.counted(born)
	}
	id := f.ID
	n, err := s.count(ctx, tx, id, sensor, f.Count)
	if err != nil {
		return err
	}
	var old Finding
	var doc []byte
	var state, bornBefore, at0 string // at0 is where it was
	err = tx.QueryRowContext(ctx, "SELECT doc, state, ward, site, changed, born, device FROM finding WHERE id = $1"+s.d.Lock, id).Scan(&doc, &state, &old.Ward, &old.Site, &old.Changed, &bornBefore, &at0)
	if errors.Is(err, sql.ErrNoRows) {
		now := *f
		now.State, now.Device, now.Count = Open, born, n
		if doc, err = json.Marshal(&now); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO finding (id, kind, born, device, product, label, ward, site, harm, decision, urgency, state, first, last, changed, doc)
			VALUES ($1,$2,$3,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)`,
			id, f.Kind.String(), born, f.Product, label, ward, site, f.Harm.String(), f.Decision.String(), urgencyOf(f), Open, f.First, f.Last, at, doc)
		if err != nil {
			return err
		}
		c.cubed(cell{Open, f.Decision.String(), f.Harm.String(), f.Kind.String(), ward, site}, 1)
		c.findings = append(c.findings, id)
		if err := s.names(ctx, tx, id, f.CVE); err != nil {
			return err
		}
		if err := s.step(ctx, tx, &Step{Finding: id, At: at, What: "seen", To: f.Decision.String()}); err != nil {
			return err
		}
		if err := s.notice(ctx, tx, id, "new", at, &now); err != nil {
			return err
		}
		tx.findingText(&now, label, ward)
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, &old.Finding); err != nil {
		return err
	}
	c.counted(at0)
	now := old.Finding
	root, moved := born, at0 != born // its sensor calls another device so now
	if !moved {
		born, ward, site = bornBefore, old.Ward, old.Site
	}
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
	is := cell{now.State, now.Decision.String(), now.Harm.String(), now.Kind.String(), ward, site}
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
	if _, err = tx.ExecContext(ctx, "UPDATE finding SET harm=$1, decision=$2, urgency=$3, state=$4, first=$5, last=$6, changed=$7, doc=$8, born=$9, device=$10, ward=$11, site=$12, label=$13, kind=$14, product=$15 WHERE id=$16",
		is.harm, is.decision, urgencyOf(&now), is.state, now.First, now.Last, changed, doc, born, root, ward, site, label, now.Kind.String(), now.Product, id); err != nil {
		return err
	}
	if !slices.Equal(now.CVE, old.CVE) || now.Title != old.Title || now.Product != old.Product || moved {
		if _, err := tx.ExecContext(ctx, "DELETE FROM finding_cve WHERE finding = $1", id); err != nil {
			return err
		}
		if err := s.names(ctx, tx, id, now.CVE); err != nil {
			return err
		}
		tx.findingText(&now, label, ward)
	}
	return nil
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
func (s *Store) count(ctx context.Context, tx *transaction, id, sensor string, n uint64) (uint64, error) {
	_, err := tx.ExecContext(ctx, `INSERT INTO finding_count AS c (finding, sensor, base, n) VALUES ($1,$2,0,$3)
		ON CONFLICT (finding, sensor) DO UPDATE SET base = c.base + CASE WHEN excluded.n < c.n THEN c.n ELSE 0 END, n = excluded.n`, id, sensor, int64(n))
	if err != nil {
		return 0, err
	}
	var sum int64
	err = tx.QueryRowContext(ctx, "SELECT CAST(sum(base + n) AS BIGINT) FROM finding_count WHERE finding = $1", id).Scan(&sum)
	return uint64(sum), err
}

// names notes which CVEs a finding is about.
func (s *Store) names(ctx context.Context, tx *transaction, id string, cve []string) error {
	var rows [][]any
	for _, name := range cve {
		rows = append(rows, []any{strings.ToUpper(name), id})
	}
	return tx.insert(ctx, "finding_cve (cve, finding)", " ON CONFLICT (cve, finding) DO NOTHING", 2, rows)
}

func (t *transaction) findingText(f *finding.Finding, label, ward string) {
	t.text("finding", f.ID, strings.Join([]string{f.Title, f.Kind.String(), f.Product, f.Component, label, ward, f.Protocol, strings.Join(f.CVE, " "), strings.Join(f.Advisories, " "), f.ID}, " "))
}

const stepColumns = "finding, at, by_whom, what, before, after, reason, justification, undoes, bulk"

func (st *Step) row() []any {
	return []any{st.Finding, st.At, st.By, st.What, st.From, st.To, st.Reason, st.Justification, st.Undoes, st.Bulk}
}

func (s *Store) step(ctx context.Context, tx *transaction, st ...*Step) error {
	rows := make([][]any, len(st))
	for i := range st {
		rows[i] = st[i].row()
	}
	return tx.insert(ctx, "finding_step ("+stepColumns+")", "", 10, rows)
}

// notice is what is to be told outside of a finding.
func (s *Store) notice(ctx context.Context, tx *transaction, id, what string, at int64, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO notice (finding, what, at, body) VALUES ($1,$2,$3,$4)", id, what, at, b)
	return err
}

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
	if len(n.states) > 0 && len(n.conds) > 0 { // not by an index: what else there is narrows more
		all = append(all, "state || '' IN ('"+strings.Join(n.states, "','")+"')")
	} else if len(n.states) > 0 {
		all = append(all, "state IN ('"+strings.Join(n.states, "','")+"')")
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

// list writes the query of a page. total is about how many rows all pages have. A few
// are found by what narrows them, and sorted; of many, those of the page are looked for
// in the order of an index: for the most urgent a part for each state and range of
// urgency, which are put together.
func (n *narrowing) list(columns string, o order, p Page, total int) (query string, args []any, limit int, err error) {
	if total <= few {
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

// Findings lists findings. Of what Words finds, only the newest 1,000 count.
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
	query, args, limit, err := n.list(findingColumns, o, q.Page, out.Total)
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
	switch {
	case n.cube && !q.Facets && len(n.states) > 0:
		query = "SELECT string_agg(" + fmt.Sprintf(key, 1) + " || n, $1) FROM finding_cube WHERE n > 0 AND state IN ('" + strings.Join(n.states, "','") + "')"
	case n.cube:
		query = "SELECT string_agg(" + fmt.Sprintf(key, 1) + " || n, $1) FROM finding_cube WHERE n > 0"
	case q.Facets:
		args = append(slices.Clone(n.args), glue)
		query = "SELECT string_agg(" + fmt.Sprintf(key, len(args)) + " || n, " + fmt.Sprintf("$%d", len(args)) + ") FROM (SELECT state, decision, harm, kind, ward, site, count(*) AS n FROM finding WHERE " + n.where() + " GROUP BY state, decision, harm, kind, ward, site) AS f"
	default:
		return s.read.QueryRowContext(ctx, "SELECT count(*) FROM finding WHERE "+n.where(), n.args...).Scan(&out.Total)
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
	return nil
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

// MaxTriage is how many findings one triage changes.
const MaxTriage = 10_000

// Triage changes findings, all or none, and adds to their history. It returns the
// number for [Store.UndoTriage], and how many were changed. [ErrNotFound], [ErrConflict].
func (s *Store) Triage(ctx context.Context, t Triage) (bulk int64, n int, err error) {
	if t.State != "" && !slices.Contains([]string{Open, Acknowledged, Mitigated, Fixed, FalsePositive}, t.State) {
		return 0, 0, fmt.Errorf("there is no state %q", t.State)
	}
	t.Comment, t.Reason, t.Justification = Text(t.Comment), Text(t.Reason), Text(t.Justification)
	at := s.now().UnixNano()
	err = s.tx(ctx, func(tx *transaction) error {
		bulk, n = 0, 0
		c := &changes{}
		list, err := s.chosen(ctx, tx, &t)
		if err != nil {
			return err
		}
		var steps []*Step
		var moved, assigned []*Finding
		for i := range list {
			f := &list[i]
			if t.Version != 0 && t.Version != f.Version {
				return ErrConflict
			}
			did := len(steps)
			if t.State != "" && t.State != f.State {
				steps = append(steps, &Step{Finding: f.ID, What: "state", From: f.State, To: t.State, Reason: t.Reason, Justification: t.Justification})
				moved = append(moved, f)
			}
			if t.Assignee != nil && *t.Assignee != f.Assignee {
				steps = append(steps, &Step{Finding: f.ID, What: "assign", From: f.Assignee, To: *t.Assignee, Reason: t.Reason})
				assigned = append(assigned, f)
			}
			if t.Comment != "" {
				steps = append(steps, &Step{Finding: f.ID, What: "comment", To: t.Comment})
			}
			if len(steps) > did {
				n++
			}
		}
		if n == 0 {
			return nil
		}
		for i, st := range steps {
			if st.At, st.By, st.Bulk = at, t.By, bulk; i > 0 {
				continue
			}
			// the first step gives the number of all
			if err := tx.QueryRowContext(ctx, "INSERT INTO finding_step ("+stepColumns+") VALUES ("+params(1, 10)+") RETURNING id", st.row()...).Scan(&bulk); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE finding_step SET bulk = $1 WHERE id = $1", bulk); err != nil {
				return err
			}
		}
		if err := s.step(ctx, tx, steps[1:]...); err != nil {
			return err
		}
		for _, f := range assigned {
			if _, err := tx.ExecContext(ctx, "UPDATE finding SET assignee = $1, version = version + 1 WHERE id = $2", *t.Assignee, f.ID); err != nil {
				return err
			}
		}
		for _, f := range moved {
			if err := s.setState(ctx, tx, f, t.State, at, c); err != nil {
				return err
			}
		}
		return s.derive(ctx, tx, c)
	})
	return bulk, n, err
}

// setState changes the state of a finding, and what follows from it.
func (s *Store) setState(ctx context.Context, tx *transaction, f *Finding, state string, at int64, c *changes) error {
	if _, err := tx.ExecContext(ctx, "UPDATE finding SET state = $1, changed = $2, version = version + 1 WHERE id = $3", state, at, f.ID); err != nil {
		return err
	}
	is := f.cell()
	c.cubed(is, -1)
	is.state = state
	c.cubed(is, 1)
	c.counted(f.Device)
	now := f.Finding
	now.State = state
	return s.notice(ctx, tx, f.ID, "changed", at, &now)
}

// chosen are the findings that a triage is about.
func (s *Store) chosen(ctx context.Context, tx *transaction, t *Triage) ([]Finding, error) {
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
			if out = append(out, f); len(out) > MaxTriage {
				return fmt.Errorf("more than %d findings at once: narrow the list", MaxTriage)
			}
		}
		return rows.Err()
	}
	if t.All != nil {
		n, err := t.All.narrow(ctx, s, tx)
		if err != nil {
			return nil, err
		}
		err = read(n.where()+fmt.Sprintf(" ORDER BY id LIMIT %d", MaxTriage+1)+s.d.Lock, n.args...)
		return out, err
	}
	ids := slices.Compact(slices.Sorted(slices.Values(t.IDs)))
	for part := range slices.Chunk(ids, 500) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if err := read("id IN ("+params(1, len(part))+") ORDER BY id"+s.d.Lock, args...); err != nil {
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
	err = s.tx(ctx, func(tx *transaction) error {
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
			f, _, err := scanFinding(tx.QueryRowContext(ctx, "SELECT "+findingColumns+" FROM finding WHERE id = $1"+s.d.Lock, st.Finding), order{})
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
