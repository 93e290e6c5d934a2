// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"encoding/csv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) deviceRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /devices", Needs: access.SeeDevices, Handle: p.devices},
		{Pattern: "GET /devices.json", Needs: access.SeeDevices, Handle: p.devices},
		{Pattern: "GET /devices.csv", Needs: access.Export, Handle: p.devicesCSV},
		{Pattern: "GET /devices/{id}", Needs: access.SeeDevices, Handle: p.device},
		{Pattern: "POST /devices/{id}", Needs: access.EditDevices, Handle: p.editDevice},
		{Pattern: "GET /devices/{id}/merge", Needs: access.EditDevices, Handle: p.mergeForm},
		{Pattern: "POST /devices/{id}/merge", Needs: access.EditDevices, Handle: p.mergeDevices},
		{Pattern: "POST /devices/{id}/part/{merge}", Needs: access.EditDevices, Handle: p.partDevices},
		{Pattern: "POST /devices/{id}/split", Needs: access.EditDevices, Handle: p.splitDevice},
		{Pattern: "POST /devices/{id}/split/{split}/undo", Needs: access.EditDevices, Handle: p.undoSplit},
		{Pattern: "GET /map", Needs: access.SeeAll, Handle: p.wardMap},
		{Pattern: "GET /map.json", Needs: access.SeeAll, Handle: p.wardMap},
		{Pattern: "GET /map.csv", Needs: access.Export, Handle: p.wardMap},
	}
}

// devicesPage is the list of devices.
type devicesPage struct {
	frame     `json:"-"`
	Answer    string
	Filters   []filter
	Chosen    []filterValue // each leads to the list without it
	Medical   bool
	Sort      string
	Columns   []sortColumn
	Rows      []deviceLine
	Total     int
	Next      string // path of the page that follows, or ""
	CSV, JSON string // paths of the same list; CSV "" for who may not export
	Map       string // path, or ""
}

// A filter narrows a list by one field.
type filter struct {
	Name, Word string
	Values     []filterValue
}

type filterValue struct {
	Text, Value string
	Count       int // 0 is not known
	On          bool
	Path        string
}

// A sortColumn is a column's head. Path "" does not sort.
type sortColumn struct {
	Word, Path string
	On         bool
	Descending bool
}

// A deviceLine is a row of a list of devices.
type deviceLine struct {
	ID, Name, What, Ward, Site string
	Therapy, Harm, Decision    string
	Open                       []openCount
	Addresses                  []string
	Last                       when
}

// An openCount is how many findings of a decision are open.
type openCount struct {
	Decision, Path string
	Count          int
}

// maxAddresses is how many addresses a row has.
const maxAddresses = 3

func (p *Pages) deviceLine(d *store.Device) deviceLine {
	l := deviceLine{
		ID: d.ID, Name: d.Label, What: what(&d.Device), Ward: d.Ward, Site: d.Site,
		Therapy: d.Therapy.String(), Harm: d.Harm.String(), Decision: d.Worst, Open: openCounts(d), Last: p.when(d.Last),
	}
	for _, a := range d.Addresses {
		if a.Value != l.Name && len(l.Addresses) < maxAddresses {
			l.Addresses = append(l.Addresses, a.Value)
		}
	}
	return l
}

// what says what a device is: class, maker, model and version.
func what(d *device.Device) string {
	product := strings.Join(strings.Fields(d.Manufacturer+" "+d.Model+" "+d.Version), " ")
	return strings.Trim(cmp.Or(d.Class, d.Role)+", "+product, ", ")
}

func openCounts(d *store.Device) (out []openCount) {
	for i, n := range [...]int{d.Act, d.Attend, d.TrackStar, d.Track} {
		if n > 0 {
			q := url.Values{"device": {d.ID}, "state": {store.Open, store.Acknowledged}, "decision": {decisions[i]}}
			out = append(out, openCount{decisions[i], "/findings?" + q.Encode(), n})
		}
	}
	return out
}

// owns reports whether somebody sees a device: a manufacturer's people see those of their products alone.
func owns(who *access.Principal, d *device.Device) bool { return who.Sees(productOf(d)) }

// productOf names a product as the store does.
func productOf(d *device.Device) string { return strings.TrimSpace(d.Manufacturer + " " + d.Model) }

// maxWords is how many bytes of a search are looked at.
const maxWords = 200

// deviceFilters are the fields that a list of devices can be narrowed by, and its
// other parameters, in the URL.
var deviceFilters = []filter{{Name: "decision", Word: "Decision"}, {Name: "ward", Word: "Ward"}, {Name: "therapy", Word: "Therapy"}, {Name: "harm", Word: "Harm"}, {Name: "site", Word: "Site"}}

// deviceQuery reads the list that is asked for, and what of the URL says so.
func deviceQuery(r *http.Request, who *access.Principal) (q store.DeviceQuery, values url.Values) {
	values = url.Values{}
	for _, key := range [...]string{"q", "decision", "ward", "therapy", "harm", "site", "medical", "sort"} {
		if v := r.FormValue(key); v != "" {
			values.Set(key, v[:min(len(v), maxWords)])
		}
	}
	q = store.DeviceQuery{
		Page: store.Page{After: r.FormValue("after")}, Words: values.Get("q"), Site: values.Get("site"), Ward: values.Get("ward"), Therapy: values.Get("therapy"),
		Harm: values.Get("harm"), Medical: values.Get("medical") != "", Decision: values.Get("decision"), Sort: values.Get("sort"), Products: who.Products(),
	}
	return q, values
}

// but is the path of a list with a parameter changed; "" takes it away.
func but(path string, values url.Values, key, value string) string {
	v := url.Values{}
	for k, list := range values {
		v[k] = list
	}
	if v.Set(key, value); value == "" {
		v.Del(key)
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

func (p *Pages) devices(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	q, values := deviceQuery(r, who)
	list, err := p.Store.Devices(r.Context(), q)
	if err != nil {
		return err
	}
	page := &devicesPage{frame: p.framed(r, who, "Devices"), Medical: q.Medical, Sort: cmp.Or(q.Sort, "urgency"), Total: list.Total, JSON: but("/devices.json", values, "", "")}
	for i := range list.Rows {
		page.Rows = append(page.Rows, p.deviceLine(&list.Rows[i]))
	}
	if list.Next != "" {
		page.Next = but("/devices", values, "after", list.Next)
	}
	if who.May(access.Export) {
		page.CSV = but("/devices.csv", values, "", "")
	}
	if who.May(access.SeeAll) {
		page.Map = but("/map", url.Values{}, "ward", q.Ward)
	}
	page.filters(values, list.Facets)
	for _, c := range [...]struct {
		word, sort string
		desc       bool
	}{{"Decision", "urgency", true}, {"Device", "name", false}, {"Ward", "ward", false}, {"Therapy and harm", "", false}, {"Addresses", "", false}, {"Open findings", "", false}, {"Last seen", "last", true}} {
		h := sortColumn{Word: c.word, On: c.sort == page.Sort, Descending: c.desc}
		if c.sort != "" {
			h.Path = but("/devices", values, "sort", strings.TrimPrefix(c.sort, "urgency"))
		}
		page.Columns = append(page.Columns, h)
	}
	page.Answer = devicesAnswer(list, len(page.Chosen) > 0 || q.Words != "" || q.Medical)
	return p.show(w, r, "devices", page)
}

// devicesAnswer is the list in a sentence.
func devicesAnswer(list *store.List[store.Device], narrowed bool) string {
	said := plural(list.Total, "device")
	switch {
	case list.Total == 0 && !narrowed:
		return "No device is known yet."
	case list.Total == 0:
		return "No device is like that."
	case narrowed:
		said += " " + are(list.Total) + " like that"
	default:
		said += " " + are(list.Total) + " known"
	}
	for _, f := range list.Facets {
		if f.Of == "worst" && f.Value == finding.Act.String() {
			return said + "; " + strconv.Itoa(f.Count) + " " + need(f.Count) + " action now."
		}
	}
	return said + "."
}

// filters says by what the list can be narrowed, and by what it is.
func (page *devicesPage) filters(values url.Values, facets []store.Facet) {
	page.Filters = slices.Clone(deviceFilters)
	for i := range page.Filters {
		f := &page.Filters[i]
		chosen := values.Get(f.Name)
		if f.Name == "decision" {
			for _, d := range decisions {
				f.Values = append(f.Values, filterValue{Text: d, Value: d, On: d == chosen})
			}
		}
		for _, c := range facets {
			if c.Of == f.Name && c.Value != "" {
				f.Values = append(f.Values, filterValue{Text: c.Value, Value: c.Value, Count: c.Count, On: c.Value == chosen})
			}
		}
		if chosen == "" {
			continue
		}
		if !slices.ContainsFunc(f.Values, func(v filterValue) bool { return v.On }) {
			f.Values = append(f.Values, filterValue{Text: chosen, Value: chosen, On: true})
		}
		page.Chosen = append(page.Chosen, filterValue{Text: f.Word + ": " + chosen, Value: chosen, On: true, Path: but("/devices", values, f.Name, "")})
	}
	page.Filters = slices.DeleteFunc(page.Filters, func(f filter) bool { return len(f.Values) == 0 })
}

// devicesCSV is the list as a file. That it was taken is in the ledger before its first row.
func (p *Pages) devicesCSV(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	q, values := deviceQuery(r, who)
	q.After, q.Limit = "", 1000
	list, err := p.Store.Devices(r.Context(), q)
	if err != nil {
		return err
	}
	if values.Has("q") {
		values.Set("q", "…") // what somebody searches for may be anything
	}
	if err := p.Access.Acted(who.Person.Login, "export", but("/devices.csv", values, "", ""), "", list.Total, event.Succeeded); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="devices.csv"`)
	out := csv.NewWriter(w)
	out.Write([]string{"id", "name", "class", "manufacturer", "model", "version", "therapy", "harm", "ward", "site", "owner", "criticality", "decision", "act", "attend", "track*", "track", "addresses", "first", "last"})
	for {
		for i := range list.Rows {
			d := &list.Rows[i]
			addresses := make([]string, len(d.Addresses))
			for j, a := range d.Addresses {
				addresses[j] = a.Value
			}
			row := []string{
				d.ID, d.Label, d.Class, d.Manufacturer, d.Model, d.Version, d.Therapy.String(), d.Harm.String(), d.Ward, d.Site, d.Owner, d.Criticality, d.Worst,
				strconv.Itoa(d.Act), strconv.Itoa(d.Attend), strconv.Itoa(d.TrackStar), strconv.Itoa(d.Track), strings.Join(addresses, " "), machine(d.First), machine(d.Last),
			}
			for j := range row {
				row[j] = report.Cell(row[j])
			}
			out.Write(row)
		}
		if out.Flush(); out.Error() != nil {
			return nil // nobody reads it any more
		}
		if q.After = list.Next; q.After == "" {
			return nil
		}
		if list, err = p.Store.Devices(r.Context(), q); err != nil {
			panic(http.ErrAbortHandler) // so that who reads it sees that it is cut
		}
	}
}

// machine writes a time for programs; 0 is never.
func machine(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}
