// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// An exported finding is a row of a file, named as the report of an assessment names it.
type exported struct {
	ID         string   `json:"id"`
	Kind       string   `json:"kind"`
	Title      string   `json:"title"`
	Decision   string   `json:"decision"`
	Harm       string   `json:"harm"`
	State      string   `json:"state"`
	Assignee   string   `json:"assignee"`
	Device     string   `json:"device"`
	Label      string   `json:"label"`
	Ward       string   `json:"ward"`
	Site       string   `json:"site"`
	Product    string   `json:"product"`
	Component  string   `json:"component"`
	Protocol   string   `json:"protocol"`
	CVE        []string `json:"cve"`
	Advisories []string `json:"advisories"`
	KEV        bool     `json:"kev"`
	EPSS       float64  `json:"epss"`
	Certainty  string   `json:"certainty"`
	Count      uint64   `json:"count"`
	First      string   `json:"first"`
	Last       string   `json:"last"`
	Advice     string   `json:"advice"`
}

var exportedColumns = []string{
	"id", "kind", "title", "decision", "harm", "state", "assignee", "device", "label", "ward", "site", "product", "component", "protocol",
	"cve", "advisories", "kev", "epss", "certainty", "count", "first", "last", "advice",
}

func exportedOf(f *store.Finding) *exported {
	at := func(n int64) string {
		if n == 0 {
			return ""
		}
		return time.Unix(0, n).UTC().Format(time.RFC3339Nano)
	}
	return &exported{
		f.ID, f.Kind.String(), f.Title, f.Decision.String(), f.Harm.String(), f.State, f.Assignee, f.Device, f.DeviceName, f.Ward, f.Site, f.Product, f.Component, f.Protocol,
		f.CVE, f.Advisories, f.KEV, f.EPSS, f.Certainty, f.Count, at(f.First), at(f.Last), f.Advice,
	}
}

func (e *exported) cells() []string {
	kev, epss := "", ""
	if e.KEV {
		kev = "yes"
	}
	if e.EPSS > 0 {
		epss = strconv.FormatFloat(e.EPSS, 'f', -1, 64)
	}
	row := []string{
		e.ID, e.Kind, e.Title, e.Decision, e.Harm, e.State, e.Assignee, e.Device, e.Label, e.Ward, e.Site, e.Product, e.Component, e.Protocol,
		strings.Join(e.CVE, " "), strings.Join(e.Advisories, " "), kev, epss, e.Certainty, strconv.FormatUint(e.Count, 10), e.First, e.Last, e.Advice,
	}
	for i := range row {
		row[i] = defused(row[i])
	}
	return row
}

// defused keeps a spreadsheet from taking text from outside for a formula: it looks
// behind blanks, and some take the wide forms of these signs, too.
func defused(s string) string {
	s = report.Plain(s)
	if t := strings.TrimLeft(s, " "); t != "" && strings.ContainsAny(string([]rune(t)[:1]), "=+-@|%＝＋－＠") {
		return "'" + s
	}
	return s
}

// exportFindings writes all of a list, without holding it. That somebody takes it
// along is in the ledger before the first byte; what was searched for is not, as it
// may be a name.
func (p *Pages) exportFindings(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	v := canonical(r.URL.Query())
	q, err := p.findingQuery(v, who)
	if err != nil {
		return err
	}
	now, err := p.Store.Findings(r.Context(), withLimit(q, 1))
	if err != nil {
		return err
	}
	noted := url.Values{}
	for k, list := range v {
		if k == "q" {
			list = []string{"…"}
		}
		noted[k] = list
	}
	if err := p.Access.Acted(who.Person.Login, "export", r.URL.Path+"?"+noted.Encode(), "", now.Total, event.Succeeded); err != nil {
		return err
	}
	h := w.Header()
	name := "findings-" + p.Now().UTC().Format("2006-01-02") + r.URL.Path[strings.LastIndex(r.URL.Path, "."):]
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	b := bufio.NewWriterSize(w, 64<<10)
	if strings.HasSuffix(r.URL.Path, ".json") {
		h.Set("Content-Type", "application/json")
		err = p.exportJSON(b, r, q)
	} else {
		h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
		err = p.exportCSV(b, r, q)
	}
	if err == nil {
		err = b.Flush()
	}
	if err != nil { // half a file must not look like a whole one
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (p *Pages) exportCSV(b *bufio.Writer, r *http.Request, q store.FindingQuery) error {
	out := csv.NewWriter(b)
	out.UseCRLF = true // RFC 4180 section 2
	if err := out.Write(exportedColumns); err != nil {
		return err
	}
	err := p.Store.EachFinding(r.Context(), q, func(f *store.Finding) error { return out.Write(exportedOf(f).cells()) })
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return err
}

func (p *Pages) exportJSON(b *bufio.Writer, r *http.Request, q store.FindingQuery) error {
	e := json.NewEncoder(report.PlainJSON(b))
	sep := "[\n"
	err := p.Store.EachFinding(r.Context(), q, func(f *store.Finding) error {
		b.WriteString(sep)
		sep = ","
		return e.Encode(exportedOf(f))
	})
	if err == nil && sep == "[\n" {
		b.WriteString(sep)
	}
	b.WriteString("]\n")
	return err
}
