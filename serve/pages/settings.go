// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) settingsRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /settings", Needs: access.SignedIn, Handle: p.settings},
		{Pattern: "GET /settings/sensors", Needs: access.ManageSensors, Handle: p.sensors},
		{Pattern: "GET /settings/sensors.json", Needs: access.ManageSensors, Handle: p.sensors},
		{Pattern: "GET /settings/sensors.csv", Needs: access.ManageSensors, Handle: p.sensors},
		{Pattern: "POST /settings/sensors", Needs: access.ManageSensors, Handle: p.enrolSensor},
		{Pattern: "POST /settings/sensors/{id}/revoke", Needs: access.ManageSensors, Handle: p.revokeSensor},
		{Pattern: "GET /settings/retention", Needs: access.ManageSettings, Handle: p.retention},
		{Pattern: "GET /settings/feeds", Needs: access.ManageSettings, Handle: p.feeds},
		{Pattern: "POST /settings/retention", Needs: access.ManageSettings, Handle: p.setRetention},
	}
}

// settingsPage leads to what can be set, and says who may what.
type settingsPage struct {
	frame `json:"-"`
	Can   []fact
	Roles []string
	May   []mayRow
	Yours []string // roles
}

// A mayRow is a row of the table of permissions.
type mayRow struct {
	Says  string
	Cells []mayCell // by role
	Scope string    // of a token; "" is people alone
}

type mayCell struct {
	Role string
	On   bool
}

func (p *Pages) settings(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	page := &settingsPage{frame: p.framed(r, who, "Settings"), Roles: access.Names(), Yours: roleWords(who.Person)}
	for _, n := range []struct {
		needs            access.Permission
		name, text, path string
	}{
		{access.Oneself, "Your account", "password, passkeys, tokens, where you are signed in", "/me"},
		{access.ManagePeople, "People", "who may sign in, and what they may do", "/settings/people"},
		{access.ManageSensors, "Sensors and guards", "enrol, see what is alive, revoke", "/settings/sensors"},
		{access.ManageSettings, "Retention", "how long is kept what was seen", "/settings/retention"},
		{access.ManageSettings, "Feeds", "lists and advisories that are carried in, and how old they are", "/settings/feeds"},
		{access.ManageSettings, "Receivers", "systems outside that are told of findings", "/settings/receivers"},
	} {
		if who.May(n.needs) {
			page.Can = append(page.Can, fact{n.name, n.text, n.path})
		}
	}
	for n, g := range access.Permissions {
		if access.Permission(n) <= access.Oneself {
			continue
		}
		row := mayRow{Says: g.Name + ": " + g.Says, Scope: g.Scope}
		for i, name := range access.Names() {
			row.Cells = append(row.Cells, mayCell{name, g.Roles&(1<<i) != 0})
		}
		page.May = append(page.May, row)
	}
	return p.show(w, r, "settings", page)
}

// sensorsPage lists what sends.
type sensorsPage struct {
	frame      `json:"-"`
	Answer     string
	Sensors    []sensorRow
	CanEnrol   bool
	Wrong      string `json:",omitempty"`
	Name, Kind string `json:"-"` // of what is to be enrolled
	Token      string `json:",omitempty"`
	Command    string `json:",omitempty"`
}

type sensorRow struct {
	ID, Name, Site, Kind, Version string
	Enrolled, Seen                when
	Dropped, Buffered             uint64
	Problem                       string `json:",omitempty"`
	Revoked                       bool
}

const enrolLife = 24 * time.Hour

func (p *Pages) sensors(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showSensors(w, r, who, nil, "")
}

func (page *sensorsPage) rows() [][]string {
	out := [][]string{{"id", "name", "site", "kind", "version", "enrolled", "seen", "dropped", "waiting", "problem", "revoked"}}
	for _, s := range page.Sensors {
		out = append(out, []string{s.ID, s.Name, s.Site, s.Kind, s.Version, s.Enrolled.Machine, s.Seen.Machine, strconv.FormatUint(s.Dropped, 10), strconv.FormatUint(s.Buffered, 10), s.Problem, strconv.FormatBool(s.Revoked)})
	}
	return out
}

func (p *Pages) showSensors(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error, token string) error {
	list, err := p.Store.Sensors(r.Context())
	if err != nil {
		return err
	}
	page := &sensorsPage{frame: p.framed(r, who, "Sensors and guards"), CanEnrol: p.Enrol != nil, Name: r.PostFormValue("name"), Kind: r.PostFormValue("kind")}
	alive, all := 0, 0
	for _, s := range list {
		row := sensorRow{s.ID, s.Name, s.Site, s.Kind, s.Version, p.when(s.Enrolled), p.when(s.Seen), s.Dropped, s.Buffered, s.Problem, s.Revoked != 0}
		switch {
		case row.Revoked:
		case p.Now().UnixNano()-s.Seen > int64(silent):
			all++
			row.Problem = strings.TrimPrefix(row.Problem+"; silent", "; ")
		default:
			all, alive = all+1, alive+1
		}
		page.Sensors = append(page.Sensors, row)
	}
	switch {
	case all == 0:
		page.Answer = "Nothing sends yet."
	case alive == all:
		page.Answer = strconv.Itoa(all) + " of " + strconv.Itoa(all) + " " + are(all) + " alive."
	default:
		page.Answer = strconv.Itoa(all-alive) + " of " + strconv.Itoa(all) + " " + are(all-alive) + " silent."
	}
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	if token != "" {
		page.Token, page.Command, page.Name = token, "myelin sense -i eth1 --server https://"+p.sensorsAt(r)+" --enrol "+token, ""
		if page.Kind == "guard" {
			page.Command = `server: {url: "https://` + p.sensorsAt(r) + `", enrolment: server.token, confirms: true}`
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	return p.show(w, r, "sensors", page)
}

// sensorsAt is where sensors reach the server: by the name that people use, where its
// address is any.
func (p *Pages) sensorsAt(r *http.Request) string {
	host, port, err := net.SplitHostPort(p.Sensors)
	if err != nil {
		return r.Host
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort((&url.URL{Host: r.Host}).Hostname(), port)
	}
	return p.Sensors
}

func (p *Pages) enrolSensor(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	name, site, kind := strings.Join(strings.Fields(r.PostFormValue("name")), " "), strings.Join(strings.Fields(r.PostFormValue("site")), " "), r.PostFormValue("kind")
	var wrong *access.Error
	switch {
	case p.Enrol == nil:
		return store.ErrNotFound
	case name == "" || len(name) > 100 || len(site) > 100:
		wrong = &access.Error{Status: http.StatusUnprocessableEntity, Text: "A sensor has a name and perhaps a site, of at most 100 bytes each."}
	case kind != "sensor" && kind != "guard":
		wrong = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say what enrols: a sensor or a guard."}
	}
	if wrong != nil {
		return p.showSensors(w, r, who, wrong, "")
	}
	token := ""
	if err := p.Access.Act(who.Person.Login, "make enrolment token", name, kind, func() (_ int, err error) {
		token, err = p.Enrol(r.Context(), name, site, kind, who.Person.Login, p.Now().Add(enrolLife))
		return 1, err
	}); err != nil {
		return err
	}
	return p.showSensors(w, r, who, nil, token)
}

func (p *Pages) revokeSensor(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	s, err := p.Store.Sensor(r.Context(), r.PathValue("id"))
	if err == nil {
		err = p.Access.Act(who.Person.Login, "revoke sensor", s.Name, "", func() (int, error) { return 1, p.Store.RevokeSensor(r.Context(), s.ID) })
	}
	if err != nil {
		return err
	}
	return p.answer(w, r, nil, s.Name+" is revoked: what it sends is refused. To bring it back, enrol it anew.", "/settings/sensors", nil)
}

// retentionPage asks how long is kept what was seen.
type retentionPage struct {
	frame  `json:"-"`
	Answer string
	Wrong  string `json:",omitempty"`
	Kinds  []keptKind
}

type keptKind struct {
	Name string
	Days int // 0 is for ever
}

const (
	// RetentionSetting has days by kind, as JSON; a kind that it does not have is kept for ever.
	RetentionSetting = "retention"
	maxDays          = 36_525 // a hundred years
)

// Retention is how long each kind is kept, as [store.Store.Retain] takes it.
func Retention(setting []byte) (map[string]time.Duration, error) {
	days := map[string]int{}
	if setting != nil {
		if err := json.Unmarshal(setting, &days); err != nil {
			return nil, err
		}
	}
	keep := map[string]time.Duration{}
	for kind, n := range days {
		keep[kind] = time.Duration(n) * 24 * time.Hour
	}
	return keep, nil
}

func (p *Pages) retention(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showRetention(w, r, who, nil)
}

func (p *Pages) showRetention(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error) error {
	b, err := p.Store.Setting(r.Context(), RetentionSetting)
	if err != nil {
		return err
	}
	keep, err := Retention(b)
	if err != nil {
		return err
	}
	page := &retentionPage{frame: p.framed(r, who, "Retention")}
	var kept []string
	for _, kind := range store.Kept() {
		days := int(keep[kind] / (24 * time.Hour))
		page.Kinds = append(page.Kinds, keptKind{kind, days})
		if days > 0 {
			kept = append(kept, kind+" for "+plural(days, "day"))
		}
	}
	page.Answer = "Everything is kept for ever."
	if kept != nil {
		page.Answer = "Kept: " + strings.Join(kept, ", ") + "."
	}
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	return p.show(w, r, "retention", page)
}

func (p *Pages) setRetention(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	days := map[string]int{}
	var said []string
	for _, kind := range store.Kept() {
		n, err := strconv.Atoi(strings.TrimSpace(r.PostFormValue(kind)))
		if err != nil || n < 0 || n > maxDays {
			return p.showRetention(w, r, who, &access.Error{Status: http.StatusUnprocessableEntity, Text: "Days are a number from 0, which is for ever, to 36525. Nothing was changed."})
		}
		if n > 0 {
			days[kind] = n
		}
		said = append(said, kind+" "+strconv.Itoa(n))
	}
	ctx := r.Context()
	old, err := p.Store.Setting(ctx, RetentionSetting)
	if err != nil {
		return err
	}
	b, err := json.Marshal(days)
	if err == nil {
		err = p.Access.Act(who.Person.Login, "set retention", strings.Join(said, ", "), "days", func() (int, error) {
			return 1, p.Store.SetSetting(ctx, RetentionSetting, old, b)
		})
	}
	return p.answer(w, r, err, "That is how long they are kept from now on.", "/settings/retention", nil)
}

// feedsPage says what is carried in from outside, and how old it is.
type feedsPage struct {
	frame  `json:"-"`
	Answer string
	Feeds  []feedRow
	Folder *watchedLine
}

type feedRow struct {
	Name, What string
	Here       string // what it calls itself, "" is none
	Path       string // of the document, or of those that there are
	Added      when
	Old        bool
}

// feedLife is how old a list may be before somebody is asked for a new one: FIRST
// makes forecasts anew each day, CISA adds to its list each week.
const feedLife = 7 * 24 * time.Hour

func (p *Pages) feeds(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	page := &feedsPage{frame: p.framed(r, who, "Feeds")}
	var old, none []string
	for _, f := range []struct {
		name, what string
		kinds      []string
		path       string // of several documents; "" is one
	}{
		{"KEV", "vulnerabilities that attackers use, by CISA", []string{documents.KEV}, ""},
		{"EPSS", "forecasts of attacks, by FIRST", []string{documents.EPSS}, ""},
		{"Advisories", "of makers, authorities and databases", []string{"csaf", "osv", "cve", "nvd", "github", "recalls", "vex", "openvex"}, "/documents"},
	} {
		l, err := p.Store.Documents(r.Context(), f.kinds, "", store.Page{Limit: 1})
		if err != nil {
			return err
		}
		row := feedRow{Name: f.name, What: f.what, Added: p.when(0), Path: f.path}
		for _, d := range l.Rows {
			row.Added, row.Old = p.when(d.Added), p.Now().UnixNano()-d.Added > int64(feedLife)
			if row.Here = plural(l.Total, "document"); f.path == "" {
				row.Here, row.Path = d.ID, "/documents/"+d.Digest
			}
		}
		switch {
		case row.Old:
			old = append(old, f.name)
		case row.Here == "":
			none = append(none, f.name)
		}
		page.Feeds = append(page.Feeds, row)
	}
	switch {
	case old != nil:
		page.Answer = "Older than a week: " + strings.Join(old, ", ") + "."
	case none == nil:
		page.Answer = "All lists are here, and none is older than a week."
	}
	if none != nil {
		page.Answer = strings.TrimSpace(page.Answer + " Not here: " + strings.Join(none, ", ") + ".")
	}
	var err error
	if page.Folder, err = p.watched(r, who); err != nil {
		return err
	}
	return p.show(w, r, "feeds", page)
}
