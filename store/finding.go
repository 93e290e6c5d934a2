// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
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

	Reason, Justification string // that a person gave for its state; [Store.EachFinding] has them alone
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
	Exact                                           bool // count all, however long it takes: see [Store.Findings]
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
