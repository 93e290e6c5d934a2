// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// devicePage is all that is known of a device.
type devicePage struct {
	frame               `json:"-"`
	ID, Name, What      string
	Therapy, Harm       string
	Decision            string
	Answer, Protection  string
	First, Last         when
	Guarded             []guardedBy
	Radio               bool `json:"-"` // a radio's pseudonym is a name of it
	Open                []openCount
	Runs                string // version
	Called              string // the name in the register, or what people gave it; "" when it has none
	Ward, Place         string // Place is the site
	Owner, Criticality  string
	Notes               string
	Edition             int64
	Facts               []fact
	Body                string   // path of the identities that lead to a patient, or ""
	Wards, Criticalness []string `json:"-"`

	Findings     []findingLine
	MoreFindings string // path, or ""
	Verdicts     []deviceVerdict
	MoreVerdicts string
	Map          template.HTML `json:"-"`
	Talks        []talkLine
	Documents    []fact
	Updates      []fact         // what makers and advisories say to do, of what is open
	Rollouts     []deviceUpdate // that it takes part in
	Identities   []identityLine
	Merges       []mergeLine
	Splits       []splitLine
	CanSplit     bool      `json:"-"` // something would be left
	Picture      *timeline `json:"-"`
	Timeline     []happeningLine
}

// guardedBy is a guard that says that it stands before a device.
type guardedBy struct {
	GuardName, Path string // of its limits
	Enforcing       bool
	Because         string // it only observes
	Since           when
}

// A deviceVerdict is what a guard decided about a device.
type deviceVerdict struct {
	Seq                              int64
	When                             when
	Guard, Kind, Verdict, What       string
	Verb, Effect, Value, Actor, From string
	Reason                           string
	Watched                          bool // decided, and not enforced
}

// A talkLine is what a device says to another.
type talkLine struct {
	Peer, Name, Ward, Path string
	Protocol, Role         string // "asks", "answers"
	Count, Packets, Bytes  uint64
	Protection             string // "in clear", "encrypted", "both", "no data"
	Last                   when
}

// An identityLine is a name of a device, and why it joins.
type identityLine struct {
	Number                    int64 // for a split; 0 is none
	Kind, Value, Place, Joins string
	Live                      bool
	First, Last               when
}

// A mergeLine is a record of two devices that are held to be one.
type mergeLine struct {
	ID                 int64
	Kept, Gone         string // "" for who may not see it
	KeptName, GoneName string
	Why, By, UndoneBy  string
	When, Undone       when
	Apart              bool
}

type happeningLine struct {
	When                      when
	Kind, What, Why, By, Path string
}

// What a device page has at most of each.
const (
	deviceFindings = 50
	deviceVerdicts = 50
	deviceTalks    = 100
	deviceHappened = 200
	devicePapers   = 20
	maxUpdates     = 10
)

// criticalities are what people can say of a device, beside its harm.
var criticalities = []string{"", "low", "high", "life-sustaining"}

func (p *Pages) device(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	ctx := r.Context()
	id, json := strings.CutSuffix(r.PathValue("id"), ".json")
	d, err := p.Store.Device(ctx, id)
	if err != nil {
		return err
	}
	if !owns(who, &d.Device) {
		return store.ErrNotFound // whether it exists is no business of theirs
	}
	if d.Into != "" {
		to := "/devices/" + url.PathEscape(d.Into)
		if json {
			to += ".json"
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	page := &devicePage{
		frame: p.framed(r, who, d.Label), ID: d.ID, Name: cut(d.Label, maxName), What: cut(what(&d.Device), 2*maxName), Therapy: d.Therapy.String(), Harm: d.Harm.String(), Decision: d.Worst,
		Runs: d.Device.Version, Called: d.Device.Name, Ward: d.Ward, Place: d.Site, Owner: d.Owner, Criticality: d.Criticality, Notes: d.Notes, Edition: d.Edition, Criticalness: criticalities,
	}
	for i := range page.Nav {
		page.Nav[i].Here = page.Nav[i].Path == "/devices"
	}
	page.facts(p, d)
	if who.May(access.SeeBodyWorn) && d.Therapy.Info().Worn {
		page.Body = "/devices/" + d.ID + "/body"
	}
	page.First, page.Last = p.when(d.First), p.when(d.Last)
	if err := errors.Join(p.deviceFindings(ctx, page), p.deviceVerdicts(ctx, page, who), p.deviceTalks(ctx, page, who, d), p.deviceNames(ctx, page, who), p.deviceTime(ctx, page, who), p.deviceGuards(ctx, page, who, d), p.deviceUpdates(ctx, page, who)); err != nil {
		return err
	}
	if who.May(access.SeeDocuments) {
		if err := p.devicePapers(ctx, page, d); err != nil {
			return err
		}
	}
	if who.May(access.EditDevices) {
		list, err := p.Store.Devices(ctx, store.DeviceQuery{Products: who.Products(), Page: store.Page{Limit: 1}})
		if err != nil {
			return err
		}
		for _, f := range list.Facets {
			if f.Of == "ward" && f.Value != "" && len(page.Wards) < 200 {
				page.Wards = append(page.Wards, f.Value)
			}
		}
	}
	page.answer(d, who.May(access.SeeVerdicts))
	return p.show(w, r, "device", page)
}

// answer says in a sentence what could hurt the patient, and what protects the device, as
// far as who asks may know of guards.
func (page *devicePage) answer(d *store.Device, guarded bool) {
	var open []string
	page.Open = openCounts(d)
	for _, o := range page.Open {
		open = append(open, strconv.Itoa(o.Count)+" "+o.Decision)
	}
	page.Answer = "Nothing that is known of it could hurt a patient."
	if len(open) > 0 {
		page.Answer = "What could hurt the patient: " + strings.Join(open, ", ") + "."
	}
	guards, watching, clear, sealed := []string{}, []string{}, 0, 0
	for _, v := range page.Verdicts {
		if list := map[bool]*[]string{false: &guards, true: &watching}[v.Watched]; !slices.Contains(*list, v.Guard) {
			*list = append(*list, v.Guard)
		}
	}
	for _, t := range page.Talks {
		switch t.Protection {
		case "encrypted":
			sealed++
		case "in clear":
			clear++
		case "both":
			sealed, clear = sealed+1, clear+1
		}
	}
	switch {
	case !guarded || len(page.Guarded) > 0: // which have sentences of their own
	case len(guards) > 0:
		page.Protection = "What protects it: guard " + strings.Join(guards, ", ") + ", which enforces what it decides."
	case len(watching) > 0:
		page.Protection = "Guard " + strings.Join(watching, ", ") + " watches and lets everything through."
	default:
		page.Protection = "No guard is known to stand before it."
	}
	switch {
	case clear > 0 && sealed > 0:
		page.Protection += " Some of what it says is encrypted, some is in clear."
	case clear > 0:
		page.Protection += " All that it was heard to say is in clear."
	case sealed > 0:
		page.Protection += " All that it was heard to say is encrypted."
	}
	page.Protection = strings.TrimSpace(page.Protection)
}

func (page *devicePage) facts(p *Pages, d *store.Device) {
	add := func(name, text string) {
		if text != "" {
			page.Facts = append(page.Facts, fact{Name: name, Text: text})
		}
	}
	add("Maker", d.Manufacturer)
	add("Model", d.Model)
	add("Version", d.Version)
	if !d.Therapy.Info().Worn { // elsewhere it leads to a patient
		add("Serial", d.Serial)
	}
	add("Runs on", d.OS)
	add("Role", d.Role)
	add("Reached by", d.Via.Value)
	add("Sure", d.Confidence.String())
}

func (p *Pages) deviceFindings(ctx context.Context, page *devicePage) error {
	q := store.FindingQuery{Device: []string{page.ID}, Page: store.Page{Limit: deviceFindings}}
	list, err := p.Store.Findings(ctx, q)
	if err != nil {
		return err
	}
	for i := range list.Rows {
		f := &list.Rows[i]
		page.Findings = append(page.Findings, p.findingLine(f))
		if (f.Kind == finding.VulnerableProduct || f.Kind == finding.VulnerableComponent) && f.Advice != "" && slices.Contains(unsettled, f.State) && len(page.Updates) < maxUpdates &&
			!slices.ContainsFunc(page.Updates, func(u fact) bool { return u.Text == f.Advice }) {
			page.Updates = append(page.Updates, fact{cmp.Or(strings.Join(f.Advisories, ", "), strings.Join(f.CVE, ", "), "Advisory"), f.Advice, "/findings/" + f.ID})
		}
	}
	if list.Next != "" {
		page.MoreFindings = "/findings?device=" + url.QueryEscape(page.ID)
	}
	return nil
}

func (p *Pages) deviceVerdicts(ctx context.Context, page *devicePage, who *access.Principal) error {
	if !who.May(access.SeeVerdicts) {
		return nil
	}
	list, err := p.Store.Verdicts(ctx, store.VerdictQuery{Device: page.ID, Page: store.Page{Limit: deviceVerdicts}})
	if err != nil {
		return err
	}
	names := map[string]string{}
	for i := range list.Rows {
		v := &list.Rows[i]
		if _, ok := names[v.Guard]; !ok {
			names[v.Guard] = v.Guard
			if s, err := p.Store.Sensor(ctx, v.Guard); err == nil {
				names[v.Guard] = s.Name
			}
		}
		l := deviceVerdict{
			Seq: v.Seq, When: p.when(v.Time), Guard: names[v.Guard], Kind: strings.ReplaceAll(v.Kind.String(), "-", " "), Value: v.Text(event.Value), Actor: v.Text(event.Actor),
			From: v.Peer.Value, Reason: v.Text(event.Reason),
		}
		told := p.verdictLine(v, names)
		l.Verdict, l.What = told.Verdict, told.What
		if v.Kind == event.VerdictGiven || v.Kind == event.VerdictsCounted {
			l.Verb, l.Effect = device.Verb(v.Int(event.Verb)).String(), device.Effect(v.Int(event.Effect)).String()
		}
		l.Watched = v.Kind == event.VerdictGiven && v.Int(event.Enforced) == 0
		page.Verdicts = append(page.Verdicts, l)
	}
	if list.Next != "" {
		page.MoreVerdicts = "/guard?device=" + url.QueryEscape(page.ID)
	}
	return nil
}

// deviceGuards looks which guards say that they stand before it: they call a device as the
// register does, or by its host name.
func (p *Pages) deviceGuards(ctx context.Context, page *devicePage, who *access.Principal, d *store.Device) error {
	if !who.May(access.SeeVerdicts) {
		return nil
	}
	guards, _, err := p.guardsNow(ctx)
	if err != nil {
		return err
	}
	for i := range guards {
		for k := range guards[i].State.Devices {
			l := p.envelopeLine(&guards[i], &guards[i].State.Devices[k], nil)
			if l.Device != d.Label && !slices.ContainsFunc(page.Identities, func(n identityLine) bool { return n.Live && n.Value == l.Device }) {
				continue
			}
			switch called, err := p.Store.Called(ctx, l.Device, guards[i].Site); {
			case errors.Is(err, store.ErrNotFound): // it may be another one
			case err != nil:
				return err
			case called.ID == d.ID:
				page.Guarded = append(page.Guarded, guardedBy{l.GuardName, l.Path, l.Enforcing, l.Because, l.Since})
			}
		}
	}
	return nil
}

func (p *Pages) deviceTalks(ctx context.Context, page *devicePage, who *access.Principal, d *store.Device) error {
	links, err := p.Store.Links(ctx, d.ID, 0, deviceTalks)
	if err != nil {
		return err
	}
	known := map[string]*store.Device{d.ID: d}
	if err := p.know(ctx, known, links); err != nil {
		return err
	}
	for _, l := range links {
		t := talkLine{Protocol: l.Protocol, Role: "asks", Peer: l.Peer, Count: l.Count, Packets: l.Packets, Bytes: l.Bytes, Last: p.when(l.Last), Protection: protection(&l)}
		if l.Device != d.ID {
			t.Peer, t.Role = l.Device, "answers"
		}
		peer := known[t.Peer]
		if owns(who, &peer.Device) {
			t.Name, t.Ward, t.Path = peer.Label, peer.Ward, "/devices/"+peer.ID
		} else { // a manufacturer's people see that there is another, and not which
			t.Peer, t.Name = "", "another device"
		}
		page.Talks = append(page.Talks, t)
	}
	if who.May(access.SeeAll) {
		page.Map, err = p.drawMap(ctx, known, links)
	}
	return err
}

// protection says whether a link can be read on its way.
func protection(l *store.Link) string {
	switch {
	case l.Bytes == 0:
		return "no data"
	case l.Sealed > 0 && l.Clear > 0:
		return "both"
	case l.Sealed > 0:
		return "encrypted"
	}
	return "in clear"
}

// know looks up the devices of links that are not known yet.
func (p *Pages) know(ctx context.Context, known map[string]*store.Device, links []store.Link) error {
	for _, l := range links {
		for _, id := range [...]string{l.Device, l.Peer} {
			if known[id] != nil {
				continue
			}
			d, err := p.Store.Device(ctx, id)
			if err != nil {
				return err
			}
			known[id] = d
		}
	}
	return nil
}

// joins says why a kind of name makes two devices one, in words.
var joins = map[string][2]string{ // the kind in words, and why
	"made":  {"maker, model, serial", "always: no two devices share it"},
	"dev":   {"id at a sensor", "within its site"},
	"mac":   {"hardware address (MAC)", "always, unless the serial numbers differ"},
	"eui64": {"hardware address (EUI-64)", "always, unless the serial numbers differ"},
	"ip":    {"IP address", "within its site and a day"},
	"aet":   {"AE title (DICOM)", "within its site and a day"},
	"host":  {"host name", "within its site and a day"},
	"ble":   {"pseudonym on Bluetooth", "within its site and a day"},
	"radio": {"pseudonym on a radio", "within its site and a day"},
}

func (p *Pages) deviceNames(ctx context.Context, page *devicePage, who *access.Principal) error {
	names, merges, err := p.Store.Identities(ctx, page.ID)
	if err != nil {
		return err
	}
	lasting := 0
	for _, n := range names {
		j := joins[n.Kind]
		l := identityLine{Kind: cmp.Or(j[0], n.Kind), Value: n.Value, Place: n.Site, Joins: j[1], Live: n.Live, First: p.when(n.First), Last: p.when(n.Last)}
		if n.Splits() {
			l.Number = n.ID
		}
		if n.Live && n.Kind != "dev" {
			lasting++
		}
		if n.Kind == "mac" && !n.Strong {
			l.Joins = "within its site and a day: it was made up on the spot"
		}
		page.Radio = page.Radio || n.Kind == "radio"
		page.Identities = append(page.Identities, l)
	}
	page.CanSplit = lasting > 1
	labels := map[string]string{}
	label := func(id *string) (string, error) { // "another device", and no id, of what is not to be seen
		if l, ok := labels[*id]; ok {
			return l, nil
		}
		d, err := p.Store.Device(ctx, *id)
		if err != nil {
			return "", err
		}
		if !owns(who, &d.Device) {
			*id = ""
			return "another device", nil
		}
		labels[*id] = *id
		if d.Into == "" {
			labels[*id] = d.Label
		}
		return labels[*id], nil
	}
	for _, m := range merges {
		l := mergeLine{ID: m.ID, Kept: m.Kept, Gone: m.Gone, Why: m.Why, By: cmp.Or(m.By, "the rules"), When: p.when(m.At), UndoneBy: m.UndoneBy, Undone: p.when(m.UndoneAt), Apart: m.UndoneAt != 0}
		if l.Apart && l.UndoneBy == "" {
			l.UndoneBy = "the rules"
		}
		var no [2]error
		l.KeptName, no[0] = label(&l.Kept)
		l.GoneName, no[1] = label(&l.Gone)
		if err := errors.Join(no[:]...); err != nil {
			return err
		}
		page.Merges = append(page.Merges, l)
	}
	splits, err := p.Store.SplitsOf(ctx, page.ID)
	if err != nil {
		return err
	}
	for _, s := range splits {
		l := splitLine{ID: s.ID, Kept: s.Kept, Gone: s.Gone, Why: s.Why, By: s.By, When: p.when(s.At), UndoneBy: s.UndoneBy, Undone: p.when(s.UndoneAt), Together: s.UndoneAt != 0}
		var said []string
		for _, n := range s.Names {
			said = append(said, n.Value)
		}
		l.Names = cut(strings.Join(said, ", "), 2*maxName)
		var no [2]error
		l.KeptName, no[0] = label(&l.Kept)
		l.GoneName, no[1] = label(&l.Gone)
		if err := errors.Join(no[:]...); err != nil {
			return err
		}
		page.Splits = append(page.Splits, l)
	}
	return nil
}

func (p *Pages) deviceTime(ctx context.Context, page *devicePage, who *access.Principal) error {
	list, err := p.Store.Timeline(ctx, page.ID, deviceHappened)
	if err != nil {
		return err
	}
	if !who.May(access.SeeVerdicts) {
		list = slices.DeleteFunc(list, func(h store.Happening) bool { return h.Kind == "verdict" })
	}
	for _, h := range list {
		l := happeningLine{When: p.when(h.At), Kind: h.Kind, What: plainly(h.Kind, h.What), Why: h.Why, By: h.By}
		switch {
		case h.Kind == "finding":
			l.Path = "/findings/" + h.Link
		case h.Kind == "merge" && h.Link != "" && who.May(access.SeeAll):
			l.Path = "/devices/" + h.Link
		}
		page.Timeline = append(page.Timeline, l)
	}
	page.Picture = newTimeline(list)
	return nil
}

// plainly is what a timeline says in words that people use.
func plainly(kind, what string) string {
	switch kind {
	case "verdict":
		return strings.ReplaceAll(strings.TrimPrefix(what, event.VerdictGiven.String()+" "), "-", " ")
	case "finding":
		did, of, _ := strings.Cut(what, ": ")
		name, now, _ := strings.Cut(of, " ")
		if k, ok := finding.ParseKind(name); ok {
			return strings.TrimSpace(finding.Kinds[k].Title + ": " + did + " " + now)
		}
	}
	return what
}

// devicePapers are the bills of materials of its product.
func (p *Pages) devicePapers(ctx context.Context, page *devicePage, d *store.Device) error {
	if d.Model == "" {
		return nil
	}
	list, err := p.Store.Documents(ctx, []string{"cyclonedx", "spdx", "csaf", "mds2"}, d.Model, store.Page{Limit: devicePapers})
	if err != nil {
		return err
	}
	for _, doc := range list.Rows {
		if !slices.ContainsFunc(doc.Products, func(of string) bool { return concerns(doc.Kind, of, &d.Device) }) {
			continue
		}
		page.Documents = append(page.Documents, fact{Name: doc.Kind, Text: cmp.Or(doc.Title, doc.ID, doc.Name), Path: "/documents/" + doc.Digest})
	}
	return nil
}

// concerns reports whether a document of a product is one of a device: a bill of
// materials is of a version, and of what another is made this one is not.
func concerns(kind, of string, d *device.Device) bool {
	product := strings.ToLower(productOf(d))
	rest, ok := strings.CutPrefix(strings.ToLower(of), product)
	if rest = strings.TrimLeft(rest, " "); !ok || rest == "" || d.Version == "" || kind != "cyclonedx" && kind != "spdx" {
		return ok
	}
	return rest == strings.ToLower(d.Version)
}

// What people can write of a device, in characters.
const (
	maxName   = 100
	maxNotes  = 2000
	maxReason = 300
)

// line takes a line that somebody typed.
func line(s string, most int, what string) (string, error) {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	return s, fits(s, most, what)
}

func fits(s string, most int, what string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		return &access.Error{Status: http.StatusUnprocessableEntity, Text: what + " has characters that cannot be written. Nothing was changed."}
	}
	if utf8.RuneCountInString(s) > most {
		return &access.Error{Status: http.StatusUnprocessableEntity, Text: what + " has at most " + strconv.Itoa(most) + " characters. Nothing was changed."}
	}
	return nil
}

// own is the device of the path, if somebody may see it.
func (p *Pages) own(r *http.Request, who *access.Principal) (*store.Device, error) {
	d, err := p.Store.Device(r.Context(), r.PathValue("id"))
	if err == nil && !owns(who, &d.Device) {
		err = store.ErrNotFound
	}
	return d, err
}

// editDevice changes those fields that the request has: also those of its URL, where
// what undoes a change has them.
func (p *Pages) editDevice(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	d, err := p.own(r, who)
	if err != nil {
		return err
	}
	if d.Into != "" {
		return store.ErrConflict
	}
	e := store.DeviceEdit{ID: d.ID, By: who.Person.Login}
	if e.Version, err = strconv.ParseInt(r.Form.Get("version"), 10, 64); err != nil || e.Version <= 0 {
		return &access.Error{Status: http.StatusBadRequest, Text: "The change does not say which version it is of."}
	}
	undo := url.Values{}
	var said []string
	for _, f := range [...]struct {
		key, word, was string
		to             **string
	}{{"name", "The name", d.Name, &e.Name}, {"ward", "The ward", d.Ward, &e.Ward}, {"owner", "The owner", d.Owner, &e.Owner}, {"criticality", "The criticality", d.Criticality, &e.Criticality}, {"notes", "The notes", d.Notes, &e.Notes}} {
		if !r.Form.Has(f.key) {
			continue
		}
		value := strings.ReplaceAll(strings.TrimSpace(strings.ToValidUTF8(r.Form.Get(f.key), "\uFFFD")), "\r\n", "\n")
		if f.key == "notes" {
			err = fits(value, maxNotes, f.word)
		} else {
			value, err = line(value, maxName, f.word)
		}
		if err == nil && f.key == "criticality" && !slices.Contains(criticalities, value) {
			err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "There is no such criticality. Nothing was changed."}
		}
		if err != nil {
			return err
		}
		if value != f.was {
			*f.to = &value
			undo.Set(f.key, f.was)
			said = append(said, f.key)
		}
	}
	if len(said) == 0 {
		return p.done(w, r, who, "Nothing was changed.", "", d.ID)
	}
	if err := p.Access.Act(who.Person.Login, "edit device", d.ID, strings.Join(said, ", "), func() (int, error) {
		return len(said), p.Store.EditDevice(r.Context(), e)
	}); err != nil {
		return err
	}
	undo.Set("version", strconv.FormatInt(e.Version+1, 10))
	return p.done(w, r, who, "Changed: "+strings.Join(said, ", ")+".", "/devices/"+d.ID+"?"+undo.Encode(), d.ID)
}

// formError is what is wrong with a form.
func formError(err error) error {
	var too *http.MaxBytesError
	if errors.As(err, &too) {
		return err
	}
	return &access.Error{Status: http.StatusBadRequest, Text: "The form could not be read."}
}

// done leads on to a device, which says what was done.
func (p *Pages) done(w http.ResponseWriter, r *http.Request, who *access.Principal, said, undo, id string) error {
	to := "/devices/" + url.PathEscape(id)
	if who.Token == nil {
		p.Access.Say(r.Context(), said, undo)
	} else {
		to += ".json"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// mergePage asks which other device is the same, and why.
type mergePage struct {
	frame    `json:"-"`
	ID, Name string
	This     deviceLine
	With     string
	Others   []deviceLine
	More     bool
}

const maxOthers = 20

func (p *Pages) mergeForm(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	d, err := p.own(r, who)
	if err != nil {
		return err
	}
	page := &mergePage{frame: p.framed(r, who, "Merge "+d.Label), ID: d.ID, Name: d.Label, This: p.deviceLine(d), With: r.FormValue("with")}
	if page.With = page.With[:min(len(page.With), maxWords)]; page.With != "" {
		list, err := p.Store.Devices(r.Context(), store.DeviceQuery{Words: page.With, Products: who.Products(), Page: store.Page{Limit: maxOthers}})
		if err != nil {
			return err
		}
		for i := range list.Rows {
			if o := &list.Rows[i]; o.ID != d.ID {
				page.Others = append(page.Others, p.deviceLine(o))
			}
		}
		page.More = list.Next != ""
	}
	return p.show(w, r, "merge", page)
}

func (p *Pages) mergeDevices(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	why, err := line(r.Form.Get("why"), maxReason, "The reason")
	if err == nil && why == "" {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say why these are one device. Nothing was changed."}
	}
	if err != nil {
		return err
	}
	d, err := p.own(r, who)
	if err != nil {
		return err
	}
	gone, err := p.Store.Device(r.Context(), r.Form.Get("gone"))
	if err == nil && !owns(who, &gone.Device) {
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	var merge int64
	if err := p.Access.Act(who.Person.Login, "merge devices", d.ID+" "+gone.ID, why, func() (_ int, err error) {
		merge, err = p.Store.MergeDevices(r.Context(), d.ID, gone.ID, who.Person.Login, why)
		return 2, err
	}); err != nil {
		return err
	}
	return p.done(w, r, who, fmt.Sprintf("%s is %s from now on.", gone.Label, d.Label), fmt.Sprintf("/devices/%s/part/%d?why=undo", d.ID, merge), d.ID)
}

func (p *Pages) partDevices(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	why, err := line(r.Form.Get("why"), maxReason, "The reason")
	if err == nil && why == "" {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say why these are two devices. Nothing was changed."}
	}
	if err != nil {
		return err
	}
	d, err := p.own(r, who)
	if err != nil {
		return err
	}
	_, merges, err := p.Store.Identities(r.Context(), d.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(merges, func(m store.Merge) bool { return strconv.FormatInt(m.ID, 10) == r.PathValue("merge") })
	if at < 0 {
		return store.ErrNotFound // it is a merge of others
	}
	m := merges[at]
	if err := p.Access.Act(who.Person.Login, "part devices", m.Kept+" "+m.Gone, why, func() (int, error) {
		return 2, p.Store.UndoMerge(r.Context(), m.ID, who.Person.Login, why)
	}); err != nil {
		return err
	}
	again := url.Values{"gone": {m.Gone}, "why": {"undo"}}
	return p.done(w, r, who, "They are two devices from now on.", "/devices/"+m.Kept+"/merge?"+again.Encode(), m.Kept)
}
