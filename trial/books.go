// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/store"
)

// Books are what all sides of a hospital have written down.
type Books struct {
	Kills    [4]int // of sensors, of lines, of servers, of nodes
	Senders  []Sender
	Requests []*Request
	Told     []int64 // numbers of notices that the program outside has taken, in order

	Findings []row
	Steps    []step
	Notices  []note
	Cube     map[string]int // as it is prepared
	Devices  []owner        // as they are prepared
	Reasons  map[string]int // entries of all ledgers, by their reason
	Ledgers  []string       // what is wrong with them

	servers []string
}

// A Sender is a sensor or a guard, and what the store has of it.
type Sender struct {
	Number int
	Guard  bool
	Name   string
	Kept   []int       // items that it said it has on its disk
	Left   int         // batches that it still has, or that were refused
	There  map[int]int // how often an item is in the store
	Others int         // observations without a number
	Order  []int       // of a guard: verdicts, as they were written
}

type row struct {
	id, device, state, assignee, decision, harm, kind, ward, site string
	doc                                                           finding.Finding
}

type step struct {
	id                               int64
	finding, by, what, before, after string
	reason                           string
	at, undoes, bulk                 int64
}

type note struct {
	seq     int64
	finding string
	what    string
	at      int64
	state   string
	grade   string // decision
}

type owner struct {
	id, root                      string
	track, trackstar, attend, act int
}

// read reads the store and the ledgers after all has ended.
func (h *hospital) read(ctx context.Context) error {
	driver, at := "sqlite", "file:"+filepath.Join(h.data(0), "myelin.db")
	if h.dsn != "" {
		driver, at = "pgx", h.dsn
	}
	db, err := sql.Open(driver, at)
	if err != nil {
		return err
	}
	defer db.Close()
	b := &h.books
	for i := range b.Senders {
		if err := b.Senders[i].read(ctx, db); err != nil {
			return err
		}
	}
	if err := each(ctx, db, "SELECT id, device, state, assignee, decision, harm, kind, ward, site, doc FROM finding ORDER BY id", func(scan func(...any) error) error {
		var r row
		var doc []byte
		if err := scan(&r.id, &r.device, &r.state, &r.assignee, &r.decision, &r.harm, &r.kind, &r.ward, &r.site, &doc); err != nil {
			return err
		}
		b.Findings = append(b.Findings, r)
		return json.Unmarshal(doc, &b.Findings[len(b.Findings)-1].doc)
	}); err != nil {
		return err
	}
	if err := each(ctx, db, "SELECT id, finding, by_whom, what, before, after, reason, at, undoes, bulk FROM finding_step ORDER BY id", func(scan func(...any) error) error {
		var s step
		err := scan(&s.id, &s.finding, &s.by, &s.what, &s.before, &s.after, &s.reason, &s.at, &s.undoes, &s.bulk)
		b.Steps = append(b.Steps, s)
		return err
	}); err != nil {
		return err
	}
	if err := each(ctx, db, "SELECT seq, finding, what, at, body FROM notice ORDER BY seq", func(scan func(...any) error) error {
		var n note
		var body []byte
		var f finding.Finding
		err := scan(&n.seq, &n.finding, &n.what, &n.at, &body)
		if err == nil {
			err = json.Unmarshal(body, &f)
		}
		n.state, n.grade = f.State, f.Decision.String()
		b.Notices = append(b.Notices, n)
		return err
	}); err != nil {
		return err
	}
	b.Cube = map[string]int{}
	if err := each(ctx, db, "SELECT state, decision, harm, kind, ward, site, n FROM finding_cube", func(scan func(...any) error) error {
		var r row
		var n int
		err := scan(&r.state, &r.decision, &r.harm, &r.kind, &r.ward, &r.site, &n)
		b.Cube[r.cell()] += n
		return err
	}); err != nil {
		return err
	}
	if err := each(ctx, db, "SELECT id, root, track, trackstar, attend, act FROM device", func(scan func(...any) error) error {
		var o owner
		err := scan(&o.id, &o.root, &o.track, &o.trackstar, &o.attend, &o.act)
		b.Devices = append(b.Devices, o)
		return err
	}); err != nil {
		return err
	}
	b.Reasons = map[string]int{}
	for i := range h.servers {
		if err := b.readLedger(h.data(i)); err != nil {
			return err
		}
	}
	return nil
}

// each reads the rows of a query.
func each(ctx context.Context, db *sql.DB, query string, f func(scan func(...any) error) error, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	return rows.Err()
}

func (s *Sender) read(ctx context.Context, db *sql.DB) error {
	s.There = map[int]int{}
	if s.Guard {
		return each(ctx, db, "SELECT v.at FROM verdict v JOIN sensor s ON s.id = v.guard WHERE s.name = $1 ORDER BY v.seq", func(scan func(...any) error) error {
			var n int
			err := scan(&n)
			s.Order = append(s.Order, n)
			s.There[n]++
			return err
		}, s.Name)
	}
	return each(ctx, db, "SELECT p.protocol, p.port, SUM(t.clear + t.sealed) FROM talk t JOIN pair p ON p.id = t.pair JOIN identity i ON i.id = p.client WHERE i.value LIKE $1 GROUP BY p.protocol, p.port", func(scan func(...any) error) error {
		var protocol string
		var port, n int
		err := scan(&protocol, &port, &n)
		if protocol == "hl7" {
			s.There[port] += n
		} else {
			s.Others += n
		}
		return err
	}, fmt.Sprintf("10.%d.%%", s.Number))
}

// readLedger reads what people did at a server.
func (b *Books) readLedger(data string) error {
	public, err := os.ReadFile(filepath.Join(data, "ledger.key.pub"))
	if err != nil {
		return err
	}
	k, err := ledger.ParseVerifier(strings.TrimSpace(string(public)))
	if err != nil {
		return err
	}
	dir := filepath.Join(data, "ledger")
	rep, err := ledger.Verify(dir, ledger.VerifyConfig{Ledger: k})
	if err != nil {
		return err
	}
	for i := range rep.Problems {
		b.Ledgers = append(b.Ledgers, rep.Problems[i].Error())
	}
	l, err := ledger.Read(dir, k)
	if err != nil {
		return err
	}
	return l.Entries(0, l.Checkpoint.Size, func(_ int64, entry []byte) error {
		e, err := event.Parse(entry)
		if err == nil {
			b.Reasons[e.Text(event.Reason)]++
		}
		return err
	})
}

func (r *row) cell() string {
	return fmt.Sprintf("%q", []string{r.state, r.decision, r.harm, r.kind, r.ward, r.site})
}

// Problems are what does not fit together; nothing when all does.
func (b *Books) Problems() (all []string) {
	bad := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for i := range b.Senders {
		b.Senders[i].check(bad)
	}
	b.prepared(bad)
	b.histories(bad)
	b.requests(bad)
	b.outside(bad)
	for _, l := range b.Ledgers {
		bad("ledger: %s", l)
	}
	ok := 0
	for _, q := range b.Requests {
		if q.Status == http.StatusOK {
			ok++
		}
	}
	switch {
	case ok == 0:
		bad("it was not used: nobody triaged")
	case len(b.Told) == 0:
		bad("it was not used: nobody outside was told")
	case slices.ContainsFunc(b.Senders, func(s Sender) bool { return len(s.Kept) == 0 }):
		bad("it was not used: a sensor kept nothing")
	}
	return all
}

// check holds what a sensor said against what the store has.
func (s *Sender) check(bad func(string, ...any)) {
	lost, twice := 0, 0
	for _, n := range s.Kept {
		if s.There[n] == 0 {
			lost++
		}
	}
	for _, n := range s.There {
		if n > 1 {
			twice++
		}
	}
	if lost > 0 {
		bad("%s: %d of the %d items that it kept are lost", s.Name, lost, len(s.Kept))
	}
	if twice > 0 {
		bad("%s: %d items are there more than once", s.Name, twice)
	}
	if !s.Guard && s.Others != perItem*len(s.There) {
		bad("%s: %d observations of %d items, not %d", s.Name, s.Others, len(s.There), perItem*len(s.There))
	}
	if !slices.IsSorted(s.Order) {
		bad("%s: its verdicts are not in their order", s.Name)
	}
	if s.Left > 0 {
		bad("%s: %d batches are left, or were refused", s.Name, s.Left)
	}
}

// prepared compares what is kept prepared with what it is made from.
func (b *Books) prepared(bad func(string, ...any)) {
	cube := map[string]int{}
	counts := map[string]*owner{}
	for i := range b.Findings {
		f := &b.Findings[i]
		cube[f.cell()]++
		if f.state != store.Open && f.state != store.Acknowledged {
			continue
		}
		o := counts[f.device]
		if o == nil {
			o = &owner{}
			counts[f.device] = o
		}
		switch f.decision {
		case finding.Track.String():
			o.track++
		case finding.TrackStar.String():
			o.trackstar++
		case finding.Attend.String():
			o.attend++
		case finding.Act.String():
			o.act++
		}
	}
	for at, n := range b.Cube {
		if cube[at] != n {
			bad("facet %s says %d findings, and there are %d", at, n, cube[at])
		}
		delete(cube, at)
	}
	for at, n := range cube {
		bad("facet %s is missing for %d findings", at, n)
	}
	for _, d := range b.Devices {
		want := counts[d.id]
		if d.root != d.id {
			continue
		}
		if want == nil {
			want = &owner{}
		}
		if d.track != want.track || d.trackstar != want.trackstar || d.attend != want.attend || d.act != want.act {
			bad("device %s counts %d, %d, %d, %d open findings, and has %d, %d, %d, %d", d.id, d.track, d.trackstar, d.attend, d.act, want.track, want.trackstar, want.attend, want.act)
		}
	}
}

// histories replays the history of each finding, and holds it against what it is now
// and against what is told of it outside.
func (b *Books) histories(bad func(string, ...any)) {
	of := map[string][]step{}
	what := map[int64]string{}
	for _, s := range b.Steps {
		of[s.finding] = append(of[s.finding], s)
		what[s.id] = s.what
	}
	notes := map[string][]note{}
	for _, n := range b.Notices {
		notes[n.finding] = append(notes[n.finding], n)
	}
	for i := range b.Findings {
		f := &b.Findings[i]
		now := map[string]string{"state": store.Open}
		changes := map[string]bool{} // each is told once
		for _, s := range of[f.id] {
			field := s.what
			switch s.what {
			case "undo":
				field = what[s.undoes]
			case "seen":
				now["decision"] = s.after
				continue
			case "comment":
				continue
			}
			if now[field] != s.before {
				bad("finding %s: step %d changes %s from %q, and it was %q", f.id, s.id, field, s.before, now[field])
			}
			now[field] = s.after
			switch {
			case field == "assign":
			case s.by == "":
				changes[fmt.Sprint("batch ", s.at)] = true
			default:
				changes[fmt.Sprint("step ", s.id)] = true
			}
		}
		if now["state"] != f.state || now["assign"] != f.assignee || now["decision"] != f.decision {
			bad("finding %s is %s, %s, of %q, and its history ends with %s, %s, %q", f.id, f.state, f.decision, f.assignee, now["state"], now["decision"], now["assign"])
		}
		if f.doc.Decision.String() != f.decision {
			bad("finding %s is written as %s, and listed as %s", f.id, f.doc.Decision, f.decision)
		}
		list := notes[f.id]
		if len(list) != 1+len(changes) {
			bad("finding %s changed %d times, and %d notices tell of it", f.id, len(changes), len(list)-1)
		}
		if n := len(list); n > 0 && (list[n-1].state != f.state || list[n-1].grade != f.decision) {
			bad("finding %s is %s, %s, and the last that is told is %s, %s", f.id, f.state, f.decision, list[n-1].state, list[n-1].grade)
		}
	}
}

// requests holds what analysts were told against what was done: all of a request, or nothing.
func (b *Books) requests(bad func(string, ...any)) {
	comments, moves := map[string][]step{}, map[string][]step{}
	undone := map[int64]int{} // by bulk
	bulks := map[int64]int64{}
	for _, s := range b.Steps {
		bulks[s.id] = s.bulk
		switch {
		case s.what == "comment":
			comments[s.after] = append(comments[s.after], s)
		case s.what == "undo":
			undone[bulks[s.undoes]]++
		case s.reason != "":
			moves[s.reason] = append(moves[s.reason], s)
		}
	}
	for _, q := range b.Requests {
		if q.Undoes != 0 {
			if q.Status == http.StatusOK && undone[q.Undoes] != q.Changed {
				bad("%s took back %d steps, and said %d", q.Key, undone[q.Undoes], q.Changed)
			}
			continue
		}
		got := map[string]int{}
		for _, s := range comments[q.Key] {
			got[s.finding]++
			if s.bulk != comments[q.Key][0].bulk {
				bad("%s has two numbers, %d and %d", q.Key, s.bulk, comments[q.Key][0].bulk)
			}
		}
		for _, s := range moves[q.Key] {
			if len(comments[q.Key]) > 0 && s.bulk != comments[q.Key][0].bulk {
				bad("%s has two numbers, %d and %d", q.Key, s.bulk, comments[q.Key][0].bulk)
			}
			if s.by != "" && got[s.finding] == 0 {
				bad("%s changed %s without its comment", q.Key, s.finding)
			}
		}
		whole := len(got) == len(q.IDs)
		for _, n := range got {
			whole = whole && n == 1
		}
		switch {
		case len(got) > 0 && !whole:
			bad("%s is done by half: %v of %d findings", q.Key, slices.Sorted(maps.Values(got)), len(q.IDs))
		case q.Status == http.StatusOK && len(got) == 0:
			bad("%s was answered, and is lost", q.Key)
		case q.Status == http.StatusOK && b.Reasons[q.Key] == 0:
			bad("%s was answered, and is in no ledger", q.Key)
		case q.Status >= 400 && q.Repeated == 0 && len(got) > 0:
			bad("%s was refused (%d), and is done", q.Key, q.Status)
		}
	}
}

// outside looks whether the program outside was told all, those of a finding in their order.
func (b *Books) outside(bad func(string, ...any)) {
	of := map[int64]string{}
	for _, n := range b.Notices {
		of[n.seq] = n.finding
	}
	first := map[int64]bool{}
	last := map[string]int64{}
	for _, n := range b.Told {
		f, ok := of[n]
		if !ok {
			bad("notice %d was told, and is none", n)
			continue
		}
		if first[n] {
			continue // again, after a kill
		}
		first[n] = true
		if n < last[f] {
			bad("of finding %s notice %d was told behind %d", f, n, last[f])
		}
		last[f] = n
	}
	if lost := len(of) - len(first); lost > 0 {
		missing := []string{}
		for _, n := range slices.Sorted(maps.Keys(of)) {
			if !first[n] {
				missing = append(missing, strconv.FormatInt(n, 10))
			}
		}
		bad("%d of %d notices were not told: %s", lost, len(of), strings.Join(missing[:min(5, len(missing))], ", "))
	}
}

// summary is how much there was.
func (b *Books) summary() string {
	kept, refused := 0, map[int]int{}
	for _, s := range b.Senders {
		kept += len(s.Kept)
	}
	for _, q := range b.Requests {
		refused[q.Status]++
	}
	ok, unknown := refused[http.StatusOK], refused[0]
	delete(refused, http.StatusOK)
	delete(refused, 0)
	return fmt.Sprintf("killed: %d sensors, %d lines, %d servers, %d nodes; %d items kept; %d requests, %d answered, %d not, refused %v; %d steps, %d notices, %d told",
		b.Kills[0], b.Kills[1], b.Kills[2], b.Kills[3], kept, len(b.Requests), ok, unknown, refused, len(b.Steps), len(b.Notices), len(b.Told))
}
