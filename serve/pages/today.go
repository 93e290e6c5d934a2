// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) todayRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /{$}", Needs: access.SignedIn, Handle: p.today},
		{Pattern: "GET /today.json", Needs: access.SeeAll, Handle: p.today},
	}
}

// todayPage answers: what could hurt a patient now?
type todayPage struct {
	frame   `json:"-"`
	Answer  string
	Lead    string
	Worst   string // decision
	Columns []string
	Matrix  []matrixRow
	Totals  []matrixCell
	Wards   []wardRow
	Since   []fact
	Changed []changedBy // since yesterday
	Sensors []sensorLine
	Alive   int
	First   []findingRow
	Devices int
}

// A changedBy is what is new or changed, by one field.
type changedBy struct {
	Of     string
	Values []facetValue
}

// A wardRow is what is open in a ward.
type wardRow struct {
	Ward, Path, Map string // Path of its devices
	Cells           []matrixCell
}

type matrixRow struct {
	Harm  string
	Cells []matrixCell
}

type matrixCell struct {
	Harm, Decision, Path string
	Count                int
}

// A fact is a line of a list of facts.
type fact struct{ Name, Text, Path string }

type sensorLine struct {
	Name, Problem string
	Seen          when
}

// A findingLine is a row of a list of findings.
type findingLine struct {
	ID, Title, Decision, Harm, State string
	Device, DeviceName, Ward         string
	Last                             when
}

func (p *Pages) findingLine(f *store.Finding) findingLine {
	last := p.when(f.Last)
	if f.Last == 0 {
		last.Relative = "in a document"
	}
	return findingLine{f.ID, f.Title, f.Decision.String(), f.Harm.String(), f.State, f.Device, f.DeviceName, f.Ward, last}
}

// silent is how long a sensor may say nothing before it is called silent: it sends a
// heartbeat every ten seconds.
const silent = time.Minute

func (p *Pages) today(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if !who.May(access.SeeAll) { // a manufacturer's people, whose products are what they are here for
		http.Redirect(w, r, "/devices", http.StatusSeeOther)
		return nil
	}
	ctx := r.Context()
	page := &todayPage{frame: p.framed(r, who, "Today"), Columns: decisions}
	cells, act, err := p.Store.Matrix(ctx)
	if err != nil {
		return err
	}
	n := map[[2]string]int{}
	for _, c := range cells {
		n[[2]string{c.Harm, c.Decision}] = c.Count
	}
	for h := device.Catastrophic; h >= device.NoHarm && h <= device.Catastrophic; h-- {
		row := matrixRow{Harm: h.String()}
		some := h > device.NoHarm
		for _, d := range decisions {
			q := url.Values{"state": unsettled, "decision": {d}, "harm": {h.String()}}
			c := matrixCell{h.String(), d, "/findings?" + q.Encode(), n[[2]string{h.String(), d}]}
			some = some || c.Count > 0
			row.Cells = append(row.Cells, c)
		}
		if some {
			page.Matrix = append(page.Matrix, row)
		}
	}
	if err := p.todayWards(ctx, page); err != nil {
		return err
	}
	first, err := p.Store.Findings(ctx, store.FindingQuery{State: unsettled, Page: store.Page{Limit: 20}})
	if err != nil {
		return err
	}
	known, err := p.Store.Devices(ctx, store.DeviceQuery{Page: store.Page{Limit: 1}})
	if err != nil {
		return err
	}
	page.Devices = known.Total
	for i := range first.Rows {
		f := &first.Rows[i]
		page.First = append(page.First, findingRow{p.findingLine(f), f.Assignee, f.CVE, f.KEV, f.Certainty == "review"})
	}
	held, err := p.Store.HeldCommands(ctx)
	if err != nil {
		return err
	}
	yesterday := p.Now().Add(-24 * time.Hour).UnixNano()
	changed, err := p.Store.Findings(ctx, store.FindingQuery{Since: yesterday, Facets: true, Page: store.Page{Limit: 1}})
	if err != nil {
		return err
	}
	some := plural(changed.Total, "finding")
	if changed.More {
		some = "more than " + some
	}
	page.Since, page.Changed = append(page.Since, fact{"Findings", some + " new or changed", "/findings?since=24h"}), changes(changed)
	denied, err := p.Store.Verdicts(ctx, store.VerdictQuery{Verdict: device.Deny.String(), Since: yesterday, Page: store.Page{Limit: 1}})
	if err != nil {
		return err
	}
	page.Since = append(page.Since, fact{"Guards", plural(denied.Total, "command") + " refused", "/guard?since=24h&verdict=deny"})
	if len(held) > 0 {
		page.Since = append(page.Since, fact{"Waiting", plural(len(held), "command") + " for a clinician", "/guard"})
	}
	sensors, err := p.Store.Sensors(ctx)
	if err != nil {
		return err
	}
	for _, s := range sensors {
		if s.Revoked != 0 {
			continue
		}
		line := sensorLine{Name: s.Name, Problem: s.Problem, Seen: p.when(s.Seen)}
		switch {
		case p.Now().UnixNano()-s.Seen > int64(silent):
			line.Problem = s.Name + " was heard " + line.Seen.Relative + " for the last time"
		default:
			page.Alive++
		}
		page.Sensors = append(page.Sensors, line)
	}
	switch {
	case act > 0:
		page.Worst, page.Answer = finding.Act.String(), plural(act, "device")+" "+need(act)+" action now"+named(first.Rows, act)+"."
	case first.Total > 0:
		page.Worst, page.Answer = first.Rows[0].Decision.String(), "No device needs action now; "+plural(first.Total, "finding")+" "+are(first.Total)+" open."
	case known.Total == 0: // that nothing was heard is no good news
		page.Answer = "Nothing is known of any device yet."
	default:
		page.Answer = "Nothing that is known could hurt a patient now."
	}
	if len(held) > 0 {
		page.Answer += " " + plural(len(held), "command") + " " + are(len(held)) + " waiting for a clinician."
	}
	if quiet := len(page.Sensors) - page.Alive; quiet > 0 { // what is not heard is not here
		page.Answer += " " + plural(quiet, "sensor") + " " + are(quiet) + " silent."
	}
	page.Lead = "What could hurt a patient, by harm and by what to do; what is most urgent stands first."
	return p.show(w, r, "today", page)
}

// maxChanged is how many wards Today has of those where something changed.
const maxChanged = 8

// changes says of what changed since yesterday how much it is by harm and by ward. Where
// there is more than is counted, it says nothing.
func changes(list *store.List[store.Finding]) (out []changedBy) {
	if list.More {
		return nil
	}
	for _, of := range [...]string{"harm", "ward"} {
		by := changedBy{Of: of}
		for _, f := range list.Facets {
			if f.Of == of {
				q := url.Values{of: {f.Value}, "since": {"24h"}}
				by.Values = append(by.Values, facetValue{Value: cmp.Or(f.Value, none(of)), Path: "/findings?" + q.Encode(), Count: f.Count})
			}
		}
		slices.SortStableFunc(by.Values, func(a, b facetValue) int {
			if of == "harm" {
				x, _ := device.ParseHarm(a.Value)
				y, _ := device.ParseHarm(b.Value)
				return int(y) - int(x)
			}
			return b.Count - a.Count
		})
		if by.Values = by.Values[:min(len(by.Values), maxChanged)]; len(by.Values) > 0 {
			out = append(out, by)
		}
	}
	return out
}

// unsettled are the states of findings that something is still to be done about.
var unsettled = []string{store.Open, store.Acknowledged}

// maxNamed is how many devices the first sentence names.
const maxNamed = 3

// named names devices that need action, when these are all of them or more than it names.
func named(list []store.Finding, act int) string {
	var names []string
	for i := range list {
		if f := &list[i]; f.Decision == finding.Act && f.Device != "" && !slices.Contains(names, cut(f.DeviceName, 60)) && len(names) < maxNamed {
			names = append(names, cut(f.DeviceName, 60))
		}
	}
	switch n := len(names); {
	case n == 0:
		return ""
	case act > n:
		return ": " + strings.Join(names, ", ") + " and " + strconv.Itoa(act-n) + " more"
	case n == 1:
		return ": " + names[0]
	default:
		return ": " + strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// maxWards is how many wards Today has, those with the most that is urgent.
const maxWards = 20

// todayWards counts what is open by ward and decision.
func (p *Pages) todayWards(ctx context.Context, page *todayPage) error {
	rows := map[string]*wardRow{}
	for i, d := range decisions {
		list, err := p.Store.Findings(ctx, store.FindingQuery{State: unsettled, Decision: []string{d}, Facets: true, Page: store.Page{Limit: 1}})
		if err != nil {
			return err
		}
		page.Totals = append(page.Totals, matrixCell{Decision: d, Count: list.Total, Path: "/findings?" + url.Values{"state": unsettled, "decision": {d}}.Encode()})
		for _, f := range list.Facets {
			if f.Of != "ward" {
				continue
			}
			if rows[f.Value] == nil {
				r := &wardRow{Ward: f.Value}
				for _, d := range decisions {
					r.Cells = append(r.Cells, matrixCell{Decision: d, Path: "/findings?" + url.Values{"state": unsettled, "decision": {d}, "ward": {f.Value}}.Encode()})
				}
				if f.Value != "" {
					r.Path, r.Map = "/devices?ward="+url.QueryEscape(f.Value), "/map?ward="+url.QueryEscape(f.Value)
				}
				rows[f.Value] = r
			}
			rows[f.Value].Cells[i].Count = f.Count
		}
	}
	for _, r := range rows {
		page.Wards = append(page.Wards, *r)
	}
	slices.SortFunc(page.Wards, func(a, b wardRow) int {
		for i := range decisions {
			if n := b.Cells[i].Count - a.Cells[i].Count; n != 0 {
				return n
			}
		}
		return strings.Compare(a.Ward, b.Ward)
	})
	page.Wards = page.Wards[:min(len(page.Wards), maxWards)]
	return nil
}

func need(n int) string {
	if n == 1 {
		return "needs"
	}
	return "need"
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
