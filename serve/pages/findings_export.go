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
	"github.com/myelin-health/myelin/serve/api"
	"github.com/myelin-health/myelin/serve/notify"
	"github.com/myelin-health/myelin/store"
)

// exportedColumns are named as the interface for programs names them.
var exportedColumns = []string{
	"id", "kind", "title", "decision", "harm", "state", "assignee", "device", "label", "ward", "site", "product", "component", "protocol",
	"cve", "advisories", "kev", "epss", "certainty", "count", "first", "last", "advice", "reason", "justification",
}

// cells are a finding's row of a spreadsheet.
func cells(f *store.Finding) []string {
	at := func(n int64) string {
		if n == 0 {
			return ""
		}
		return time.Unix(0, n).UTC().Format(time.RFC3339Nano)
	}
	kev, epss := "", ""
	if f.KEV {
		kev = "yes"
	}
	if f.EPSS > 0 {
		epss = strconv.FormatFloat(f.EPSS, 'f', -1, 64)
	}
	row := []string{
		f.ID, f.Kind.String(), f.Title, f.Decision.String(), f.Harm.String(), f.State, f.Assignee, f.Device, f.DeviceName, f.Ward, f.Site, f.Product, f.Component, f.Protocol,
		strings.Join(f.CVE, " "), strings.Join(f.Advisories, " "), kev, epss, f.Certainty, strconv.FormatUint(f.Count, 10), at(f.First), at(f.Last), f.Advice, f.Reason, f.Justification,
	}
	for i := range row {
		row[i] = report.Cell(row[i])
	}
	return row
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
	now, err := p.Store.Findings(r.Context(), exactly(q))
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
	switch r.URL.Path {
	case "/findings.json":
		h.Set("Content-Type", "application/json")
		err = p.exportJSON(b, r, q)
	case "/findings.ocsf":
		h.Set("Content-Type", "application/x-ndjson")
		err = p.exportLines(b, r, q, func(m *notify.Message) ([]byte, error) { return notify.OCSF(m, p.Version) })
	case "/findings.cef":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		err = p.exportLines(b, r, q, func(m *notify.Message) ([]byte, error) { return []byte(notify.CEF(m, p.Version)), nil })
	default:
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
	err := p.Store.EachFinding(r.Context(), q, func(f *store.Finding) error { return out.Write(cells(f)) })
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return err
}

// exportLines writes each finding as what receivers are told of it, in a line.
func (p *Pages) exportLines(b *bufio.Writer, r *http.Request, q store.FindingQuery, form func(*notify.Message) ([]byte, error)) error {
	return p.Store.EachFinding(r.Context(), q, func(f *store.Finding) error {
		line, err := form(notify.MessageOf(&f.Finding, p.Site))
		if err != nil {
			return err
		}
		b.Write(line)
		return b.WriteByte('\n')
	})
}

func (p *Pages) exportJSON(b *bufio.Writer, r *http.Request, q store.FindingQuery) error {
	e := json.NewEncoder(report.PlainJSON(b))
	sep := "[\n"
	err := p.Store.EachFinding(r.Context(), q, func(f *store.Finding) error {
		b.WriteString(sep)
		sep = ","
		return e.Encode(api.FindingOf(f))
	})
	if err == nil && sep == "[\n" {
		b.WriteString(sep)
	}
	b.WriteString("]\n")
	return err
}
