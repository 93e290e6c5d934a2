// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package pages has the pages of a server: rendered here, usable without script, and
// the same as JSON and CSV.
//
// A page is a struct with exactly what its template shows. It embeds [frame], and
// [Pages.show] writes it: as HTML by the template of its name, as JSON when the
// path ends in ".json" or the request accepts that before HTML.
//
// This API follows the server and may change.
package pages

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/serve/live"
	"github.com/myelin-health/myelin/serve/update"
	"github.com/myelin-health/myelin/store"
)

//go:embed templates/*.tmpl static/*
var files embed.FS

// A Config is what the pages are given.
type Config struct {
	Store   *store.Store
	Access  *access.Access
	Live    *live.Hub         // nil: no page renews itself
	Guards  Guards            // nil: no guard takes a word from here
	Ledger  *Ledger           // nil: there are no pages of it
	Updates *update.Service   // nil: there are no pages of it
	Now     func() time.Time  // nil: the machine's clock
	Site    string            // the hospital's name
	Version string            // of the program
	Fleet   *documents.Fleet  // knows which devices documents concern; somebody runs it. nil: nobody does
	Intake  *documents.Intake // nil: one of the pages' own

	Sealer *access.Sealer // nil: no identities of what is in or on a body are kept

	// Sensors is where sensors reach the server, host and port; "": where people do.
	Sensors string

	// Enrol makes a token by which a sensor ("sensor", "guard") enrols; nil: none can.
	Enrol func(ctx context.Context, name, site, kind, by string, expires time.Time) (string, error)
}

// Pages are all pages.
type Pages struct {
	Config
	templates map[string]*template.Template
	style     []byte
	fleet     *documents.Fleet
	intake    *documents.Intake
}

// New makes the pages.
func New(c Config) (*Pages, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Pages{Config: c, templates: map[string]*template.Template{}, fleet: c.Fleet, intake: c.Intake}
	if p.fleet == nil {
		p.fleet = documents.NewFleet(c.Store, c.Now, slog.New(slog.DiscardHandler))
	}
	if p.intake == nil {
		p.intake = documents.NewIntake(c.Store, p.fleet, "", c.Now, c.Access.Act)
	}
	base, err := template.New("").Funcs(p.functions()).ParseFS(files, "templates/frame.tmpl", "templates/guard-parts.tmpl")
	if err != nil {
		return nil, err
	}
	if base, err = base.ParseFS(guard.PictureFiles, "picture.tmpl"); err != nil {
		return nil, err
	}
	list, err := fs.Glob(files, "templates/*.tmpl")
	if err != nil {
		return nil, err
	}
	for _, file := range list {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(files, file)
		}
		if err != nil {
			return nil, err
		}
		p.templates[strings.TrimSuffix(path.Base(file), ".tmpl")] = t
	}
	own, err := files.ReadFile("static/pages.css")
	if err != nil {
		return nil, err
	}
	pictures, err := guard.PictureFiles.ReadFile("picture.css")
	if err != nil {
		return nil, err
	}
	p.style = slices.Concat([]byte(report.Style()), pictures, own)
	return p, nil
}

// Routes is the table of all pages. Each file of this package has its rows.
func (p *Pages) Routes() []access.Route {
	return slices.Concat([]access.Route{
		{Pattern: "GET /static/{file}", Needs: access.Anyone, Handle: p.static},
	}, p.todayRoutes(), p.deviceRoutes(), p.findingsRoutes(), p.documentsRoutes(), p.liveRoutes(), p.guardRoutes(), p.ledgerRoutes(), p.updateRoutes(), p.searchRoutes(),
		p.signRoutes(), p.meRoutes(), p.peopleRoutes(), p.settingsRoutes(), p.bodyRoutes(), p.notifyRoutes(), p.helpRoutes())
}

// static serves what never changes while the program runs.
func (p *Pages) static(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
	name := r.PathValue("file")
	b, err := p.style, error(nil)
	if name != "pages.css" {
		b, err = files.ReadFile("static/" + name)
	}
	if err != nil {
		return store.ErrNotFound
	}
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	return nil
}

// A frame is what is around every page.
type frame struct {
	Title         string
	Site, Version string
	Nav           []navItem
	Who           *access.Principal
	Words         string // in the search box
	Said          string // what the request before did
	Undo          string // path that undoes it
	Live          bool   // the page renews what is marked
	At            when
	Here          string // its own address, which a print has

	status int // of the answer; 0 is 200
}

func (f *frame) around() *frame { return f }

type navItem struct {
	Path, Word string
	Key        string // after "g"
	Here       bool
}

// nav is what is in the head of each page, for whom it is.
var nav = []struct {
	path, word, key string
	needs           access.Permission
}{
	{"/", "Today", "t", access.SeeAll},
	{"/devices", "Devices", "d", access.SeeDevices},
	{"/findings", "Findings", "f", access.SeeDevices},
	{"/documents", "Advisories and SBOMs", "a", access.SeeDocuments},
	{"/guard", "Guard", "u", access.SeeVerdicts},
	{"/updates", "Updates", "p", access.SeeDevices},
	{"/ledger", "Ledger", "l", access.SeeLedger},
	{"/settings", "Settings", "s", access.SignedIn},
}

// framed fills in what is around a page.
func (p *Pages) framed(r *http.Request, who *access.Principal, title string) frame {
	f := frame{Title: title, Site: p.Site, Version: p.Version, Who: who, Words: r.FormValue("q"), At: p.when(p.Now().UnixNano()), Here: r.URL.RequestURI()}
	if who.Person != nil && r.Header.Get(access.Unattended) == "" { // it is said once, to somebody
		f.Said, f.Undo = p.Access.Said(r.Context())
	}
	for _, n := range nav {
		if who.May(n.needs) && (n.path != "/updates" || p.Updates != nil) {
			here := r.URL.Path == n.path || n.path != "/" && strings.HasPrefix(r.URL.Path, n.path+"/")
			f.Nav = append(f.Nav, navItem{n.path, n.word, n.key, here})
		}
	}
	return f
}

// A lister is a page whose list can be had as CSV: its head, and all rows.
type lister interface{ rows() [][]string }

// show writes a page. That somebody took a list along is in the ledger before its first row.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, name string, page interface{ around() *frame }) error {
	w.Header().Set("Vary", "Accept, Cookie")
	if list, ok := page.(lister); ok && strings.HasSuffix(r.URL.Path, ".csv") {
		rows, asked := list.rows(), r.URL.Query()
		if asked.Has("q") {
			asked.Set("q", "…") // what somebody searches for may be anything
		}
		if err := p.Access.Acted(page.around().Who.Person.Login, "export", but(r.URL.Path, asked, "", ""), "", len(rows)-1, event.Succeeded); err != nil {
			return err
		}
		return table(w, strings.TrimSuffix(path.Base(r.URL.Path), ".csv"), rows)
	}
	if wantsJSON(r) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(cmp.Or(page.around().status, http.StatusOK))
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		return e.Encode(page)
	}
	var b bytes.Buffer // an error must not come after half a page
	if err := p.templates[name].ExecuteTemplate(&b, "frame", page); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(cmp.Or(page.around().status, http.StatusOK))
	_, err := w.Write(readable(b.Bytes()))
	return err
}

// readable marks in a page what no text has: bytes that are not UTF-8, what controls a
// terminal, and what turns the direction of all that follows.
func readable(page []byte) []byte {
	odd := func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == utf8.RuneError
	}
	if bytes.IndexFunc(page, odd) < 0 {
		return page
	}
	return bytes.Map(func(r rune) rune {
		if odd(r) {
			return utf8.RuneError
		}
		return r
	}, page)
}

// wantsJSON reports whether a request is a program's.
func wantsJSON(r *http.Request) bool {
	if strings.HasSuffix(r.URL.Path, ".json") {
		return true
	}
	for kind := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, _ = strings.Cut(strings.TrimSpace(kind), ";")
		switch kind {
		case "application/json":
			return true
		case "text/html", "*/*":
			return false
		}
	}
	return false
}

// A when is a time as people read it.
type when struct {
	Relative, Absolute, Machine string
}

// MarshalText writes the time for programs.
func (w when) MarshalText() ([]byte, error) { return []byte(w.Machine), nil }

func (p *Pages) when(at int64) when {
	if at == 0 {
		return when{Relative: "never"}
	}
	t, now := time.Unix(0, at), p.Now()
	return when{Relative: relative(now.Sub(t)), Absolute: t.Local().Format("Mon 2 Jan 2006 15:04:05 -0700"), Machine: t.UTC().Format(time.RFC3339Nano)}
}

// relative says how long ago, or how far ahead, something is.
func relative(d time.Duration) string {
	ago := " ago"
	if d < 0 {
		d, ago = -d, ""
	}
	word := ""
	switch {
	case d < time.Minute:
		if ago == "" {
			return "in " + strconv.Itoa(int(d.Seconds())) + " s"
		}
		return "just now"
	case d < time.Hour:
		word = plural(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		word = plural(int(d.Hours()), "hour")
	default:
		word = plural(int(d.Hours()/24), "day")
	}
	if ago == "" {
		return "in " + word
	}
	return word + ago
}

// plural counts: "1 device", "2 devices".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if stem, ok := strings.CutSuffix(word, "y"); ok && !strings.HasSuffix(stem, "a") { // "day"
		word = stem + "ie"
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// functions are what templates can call.
func (p *Pages) functions() template.FuncMap {
	return template.FuncMap{
		"when":     p.when,
		"plural":   plural,
		"class":    class,
		"bars":     bars,
		"sentence": sentence,
		"may":      func(who *access.Principal, permission string) bool { return who.May(access.Named(permission)) },
	}
}

// sentence makes a sentence of words that begin small, as they do behind a colon.
func sentence(words string) string {
	first, size := utf8.DecodeRuneInString(words)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(words[size:], ".") + "."
}

// class is the name of a decision's shape and colour.
func class(decision string) string { return strings.ReplaceAll(decision, "track*", "trackstar") }

// bars draw a harm: five, of which some are full.
func bars(harm string) (out []struct {
	X  int
	On bool
},
) {
	h, _ := device.ParseHarm(harm)
	for i := range int(device.Catastrophic) {
		out = append(out, struct {
			X  int
			On bool
		}{8 * i, i < int(h)})
	}
	return out
}

// decisions are all, the most urgent first.
var decisions = []string{finding.Act.String(), finding.Attend.String(), finding.TrackStar.String(), finding.Track.String()}
