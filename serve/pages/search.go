// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) searchRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /search", Needs: access.SeeAll, Handle: p.search},
		{Pattern: "GET /search.json", Needs: access.SeeAll, Handle: p.search},
	}
}

// hitsShown is how many of each the page of a search shows.
const hitsShown = 10

// searchPage is what has all words that somebody typed, or words that begin so.
type searchPage struct {
	frame  `json:"-"`
	Asked  string
	Answer string
	Groups []hits
}

// hits are those of one kind.
type hits struct {
	Of    string
	one   string // of them, in words
	Total int
	All   string // list of all of them
	Rows  []hit
}

type hit struct{ Title, Text, Path, Decision string }

func (p *Pages) search(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	ctx, words := r.Context(), strings.TrimSpace(r.URL.Query().Get("q"))
	if len(words) > maxWord {
		return &access.Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("A search has at most %d characters.", maxWord)}
	}
	page := &searchPage{frame: p.framed(r, who, "Search"), Asked: words, Answer: "What are you looking for?"}
	if words == "" {
		return p.show(w, r, "search", page)
	}
	few, query := store.Page{Limit: hitsShown}, url.Values{"q": {words}}.Encode()
	devices, err := p.Store.Devices(ctx, store.DeviceQuery{Words: words, Products: who.Products(), Page: few})
	if err != nil {
		return err
	}
	h := hits{Of: "Devices", one: "device", Total: devices.Total, All: "/devices?" + query}
	for i := range devices.Rows {
		d := &devices.Rows[i]
		h.Rows = append(h.Rows, hit{cmp.Or(d.Label, d.ID), joined(d.Manufacturer+" "+d.Model+" "+d.Version, d.Ward), "/devices/" + url.PathEscape(d.ID), d.Worst})
	}
	page.Groups = append(page.Groups, h)
	found, err := p.Store.Findings(ctx, store.FindingQuery{Words: words, Products: who.Products(), Page: few})
	if err != nil {
		return err
	}
	h = hits{Of: "Findings", one: "finding", Total: found.Total, All: "/findings?" + query}
	for i := range found.Rows {
		f := &found.Rows[i]
		h.Rows = append(h.Rows, hit{f.Title, joined(f.DeviceName, f.Ward, f.State), "/findings/" + url.PathEscape(f.ID), f.Decision.String()})
	}
	page.Groups = append(page.Groups, h)
	papers, err := p.Store.Documents(ctx, nil, words, few)
	if err != nil {
		return err
	}
	h = hits{Of: "Advisories and SBOMs", one: "document", Total: papers.Total, All: "/documents?" + query}
	for _, d := range papers.Rows {
		h.Rows = append(h.Rows, hit{cmp.Or(d.Title, d.ID, d.Name), joined(d.Kind, d.ID), "/documents/" + d.Digest, ""})
	}
	page.Groups = append(page.Groups, h)
	var counts []string
	for _, g := range page.Groups {
		if g.Total > 0 {
			counts = append(counts, plural(g.Total, g.one))
		}
	}
	page.Answer = "Nothing has all of these words."
	if len(counts) > 0 {
		page.Answer = strings.Join(counts, ", ") + "."
	}
	return p.show(w, r, "search", page)
}

// joined puts together what is there.
func joined(list ...string) string {
	var out []string
	for _, s := range list {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}
