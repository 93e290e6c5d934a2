// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"context"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// What is drawn of a ward.
const (
	mapAsked    = 10  // of the most urgent devices that are asked for talk, where no ward is
	mapLooked   = 200 // devices of the ward that are looked at, the most urgent
	mapDevices  = 60  // of those that are drawn, the most talkative
	mapLinks    = 40  // of each, the most talkative
	mapFindings = 1000
	mapDays     = 30 // that are drawn unless somebody asks for others
	maxMapDays  = 36_525
)

// mapPage draws who talks to whom in a ward.
type mapPage struct {
	frame  `json:"-"`
	Answer string
	Ward   string // "" is all
	Days   int
	Wards  []filterValue
	Spans  []filterValue
	Map    template.HTML `json:"-"`
	Talks  []mapTalk
	All    int // devices of the ward
	Drawn  int
	JSON   string
	CSV    string
}

// A mapTalk is a line of the map.
type mapTalk struct {
	Client, ClientName, Server, ServerName string
	Protocol, Protection                   string
	Count, Bytes                           uint64
	Last                                   when
}

// wardMap shows the ward of the URL; without one, that of the most urgent device that was
// heard talking, or else of the most urgent one.
func (p *Pages) wardMap(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	ctx := r.Context()
	page := &mapPage{frame: p.framed(r, who, "Map"), Ward: r.FormValue("ward"), Days: mapDays}
	for i := range page.Nav {
		page.Nav[i].Here = page.Nav[i].Path == "/devices"
	}
	if v := r.FormValue("days"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > maxMapDays {
			return &access.Error{Status: http.StatusBadRequest, Text: "Days are a number from 0, which is all that is kept, to " + strconv.Itoa(maxMapDays) + "."}
		}
		page.Days = n
	}
	first, err := p.Store.Devices(ctx, store.DeviceQuery{Page: store.Page{Limit: 50}})
	if err != nil {
		return err
	}
	if !r.Form.Has("ward") {
		warded := slices.DeleteFunc(slices.Clone(first.Rows), func(d store.Device) bool { return d.Ward == "" })
		for _, d := range warded[:min(len(warded), mapAsked)] {
			page.Ward = cmp.Or(page.Ward, d.Ward)
			if links, err := p.Store.Links(ctx, d.ID, 0, 1); err != nil {
				return err
			} else if len(links) > 0 {
				page.Ward = d.Ward
				break
			}
		}
	}
	path := func(ward string, days int) string {
		q := url.Values{"ward": {ward}}
		if days != mapDays {
			q.Set("days", strconv.Itoa(days))
		}
		return "?" + q.Encode()
	}
	page.JSON, page.CSV = "/map.json"+path(page.Ward, page.Days), "/map.csv"+path(page.Ward, page.Days)
	page.Wards = []filterValue{{Text: "all wards", Count: first.Total, On: page.Ward == "", Path: "/map" + path("", page.Days)}}
	for _, f := range first.Facets {
		if f.Of == "ward" && f.Value != "" {
			page.Wards = append(page.Wards, filterValue{Text: f.Value, Value: f.Value, Count: f.Count, On: f.Value == page.Ward, Path: "/map" + path(f.Value, page.Days)})
		}
	}
	for _, n := range [...]int{1, 7, 30, 0} {
		text := "the last " + plural(n, "day")
		switch n {
		case 0:
			text = "all that is kept"
		case 1:
			text = "the last day"
		}
		page.Spans = append(page.Spans, filterValue{Text: text, Value: strconv.Itoa(n), On: n == page.Days, Path: "/map" + path(page.Ward, n)})
	}
	list, err := p.Store.Devices(ctx, store.DeviceQuery{Ward: page.Ward, Page: store.Page{Limit: mapLooked}})
	if err != nil {
		return err
	}
	page.All = list.Total
	since := int64(0)
	if page.Days > 0 {
		since = p.Now().Add(-time.Duration(page.Days) * 24 * time.Hour).UnixNano()
	}
	known, links, err := p.talkative(ctx, list.Rows, since)
	if err != nil {
		return err
	}
	page.Drawn = len(known)
	if err := p.know(ctx, known, links); err != nil {
		return err
	}
	clear := 0
	for _, l := range links {
		t := mapTalk{
			Client: l.Device, ClientName: known[l.Device].Label, Server: l.Peer, ServerName: known[l.Peer].Label,
			Protocol: l.Protocol, Protection: protection(&l), Count: l.Count, Bytes: l.Bytes, Last: p.when(l.Last),
		}
		if t.Protection == "in clear" || t.Protection == "both" {
			clear++
		}
		page.Talks = append(page.Talks, t)
	}
	if page.Map, err = p.drawMap(ctx, known, links); err != nil {
		return err
	}
	where := "the hospital"
	if page.Ward != "" {
		where = page.Ward
	}
	switch {
	case len(links) == 0:
		page.Answer = "Nobody was heard talking in " + where + "."
	case clear == 0:
		page.Answer = "All that was heard in " + where + " is encrypted."
	default:
		page.Answer = strconv.Itoa(clear) + " of " + plural(len(links), "link") + " in " + where + " can be read by everybody on the way."
	}
	return p.show(w, r, "map", page)
}

func (page *mapPage) rows() [][]string {
	out := [][]string{{"client", "client name", "server", "server name", "protocol", "protection", "conversations", "bytes", "last"}}
	for _, t := range page.Talks {
		out = append(out, []string{t.Client, t.ClientName, t.Server, t.ServerName, t.Protocol, t.Protection, strconv.FormatUint(t.Count, 10), strconv.FormatUint(t.Bytes, 10), t.Last.Machine})
	}
	return out
}

// talkative are those of a list that talk most, with what they say.
func (p *Pages) talkative(ctx context.Context, list []store.Device, since int64) (map[string]*store.Device, []store.Link, error) {
	type talker struct {
		d     *store.Device
		links []store.Link
		n     uint64
	}
	all := make([]talker, 0, len(list))
	for i := range list {
		t := talker{d: &list[i]}
		var err error
		if t.links, err = p.Store.Links(ctx, t.d.ID, since, mapLinks); err != nil {
			return nil, nil, err
		}
		for _, l := range t.links {
			t.n += l.Count
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b talker) int { return cmp.Compare(b.n, a.n) })
	known := map[string]*store.Device{}
	type pair struct{ device, peer, protocol string }
	links := map[pair]store.Link{}
	for _, t := range all[:min(mapDevices, len(all))] {
		known[t.d.ID] = t.d
		for _, l := range t.links {
			links[pair{l.Device, l.Peer, l.Protocol}] = l
		}
	}
	return known, slices.SortedFunc(maps.Values(links), func(a, b store.Link) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Protocol, b.Protocol))
	}), nil
}

// drawMap draws links between devices, as the report draws a ward: zones are wards.
func (p *Pages) drawMap(ctx context.Context, known map[string]*store.Device, links []store.Link) (template.HTML, error) {
	if len(links) == 0 {
		return "", nil
	}
	a := &report.Assessment{}
	ids := slices.Sorted(maps.Keys(known))
	for _, id := range ids {
		d := known[id].Device
		d.Name = known[id].Label
		d.Unseen = false
		d.Addresses = append(slices.Clone(d.Addresses), device.Address{Kind: device.Host, Value: id}) // links say ids
		a.Devices = append(a.Devices, d)
	}
	for _, l := range links {
		s := report.Session{Protocol: l.Protocol, Client: l.Device, Server: l.Peer, Bytes: l.Bytes}
		for _, half := range [...]struct {
			n         uint64
			encrypted bool
		}{{l.Clear, false}, {l.Sealed, true}} {
			if half.n > 0 {
				s.Count, s.Encrypted = half.n, half.encrypted
				a.Sessions = append(a.Sessions, s)
			}
		}
	}
	for part := range slices.Chunk(ids, 100) {
		list, err := p.Store.Findings(ctx, store.FindingQuery{Device: part, State: []string{store.Open, store.Acknowledged}, Page: store.Page{Limit: mapFindings}})
		if err != nil {
			return "", err
		}
		for i := range list.Rows {
			a.Findings = append(a.Findings, list.Rows[i].Finding)
		}
	}
	return report.Map(a, func(d *device.Device) string { return d.Ward }, func(d *device.Device) string { return "/devices/" + d.ID })
}

// A timeline is a picture of what happened to a device: a row for each kind.
type timeline struct {
	Width, Height, Base int
	Desc                string
	From, To            string
	Rows                []timelineRow
}

type timelineRow struct {
	Y    int
	Word string
	Dots []timelineDot
}

type timelineDot struct {
	X     int
	Title string
	Class string
}

// The sizes of the picture, in its units.
const (
	timeWidth = 960
	timeLeft  = 120
	timeRow   = 28
	timePad   = 16
)

// newTimeline draws what happened, or returns nil when it was all at one time.
func newTimeline(list []store.Happening) *timeline {
	if len(list) == 0 {
		return nil
	}
	first, last := list[len(list)-1].At, list[0].At
	if first == last {
		return nil
	}
	t := &timeline{Width: timeWidth, From: absolute(first), To: absolute(last)}
	for _, row := range [...]struct{ kinds, word string }{{"talk", "talk"}, {"verdict", "commands"}, {"finding", "findings"}, {"edit merge seen", "changes"}} {
		r := timelineRow{Y: timePad + timeRow*len(t.Rows), Word: row.word}
		at := map[int]int{}
		for _, h := range list {
			if !slices.Contains(strings.Fields(row.kinds), h.Kind) {
				continue
			}
			x := timeLeft + int(float64(timeWidth-timeLeft-timePad)*float64(h.At-first)/float64(last-first))
			if i, ok := at[x/8]; ok { // dots that would cover each other are one
				r.Dots[i].Title = cut(r.Dots[i].Title+"; "+h.What, 300)
				continue
			}
			at[x/8] = len(r.Dots)
			r.Dots = append(r.Dots, timelineDot{X: x, Title: absolute(h.At) + ": " + cut(h.What, 200), Class: row.word})
		}
		if len(r.Dots) > 0 {
			t.Rows = append(t.Rows, r)
		}
	}
	t.Base = timePad + timeRow*len(t.Rows)
	t.Height = t.Base + 20
	t.Desc = plural(len(list), "thing") + " happened between " + t.From + " and " + t.To + "; the table below has them."
	return t
}

func absolute(ns int64) string { return time.Unix(0, ns).Local().Format("2 Jan 2006 15:04:05") }

// cut shortens a text to so many characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
