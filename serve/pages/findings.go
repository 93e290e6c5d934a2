// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"errors"
	"fmt"
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

func (p *Pages) findingsRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /findings", Needs: access.SeeDevices, Handle: p.findings},
		{Pattern: "GET /findings.csv", Needs: access.Export, Handle: p.exportFindings},
		{Pattern: "GET /findings.json", Needs: access.Export, Handle: p.exportFindings},
		{Pattern: "GET /findings.ocsf", Needs: access.Export, Handle: p.exportFindings},
		{Pattern: "GET /findings.cef", Needs: access.Export, Handle: p.exportFindings},
		{Pattern: "POST /findings/triage", Needs: access.TriageFindings, Handle: p.triage, Most: maxTriageForm},
		{Pattern: "POST /findings/undo/{bulk}", Needs: access.TriageFindings, Handle: p.undoTriage},
		{Pattern: "GET /findings/{id}", Needs: access.SeeDevices, Handle: p.finding},
		{Pattern: "POST /findings/{id}", Needs: access.TriageFindings, Handle: p.triage},
	}
}

// Bounds of what people ask and write.
const (
	maxWord         = 200       // bytes of words to search for
	maxValue        = 1_000     // bytes of a value of a filter: sensors name wards
	maxValues       = 50        // of a filter
	maxTriageReason = 2_000     // bytes
	maxComment      = 10_000    // bytes
	maxTriageForm   = 512 << 10 // bytes: 10,000 ids would fit, and a page has fifty
	rowsOfPage      = 50        // of a list
	facetValues     = 12        // that are shown of one facet
	dayAndNight     = 24 * time.Hour
)

// The fields of a filter of findings, as they stand in the address of a list.
var (
	findingFields = []string{"decision", "harm", "state", "kind", "ward", "site", "device"} // several values each
	findingWords  = []string{"q", "assignee", "cve", "since", "sort"}
)

// canonical leaves of an address what says which list it is.
func canonical(v url.Values) url.Values {
	out := url.Values{}
	for _, k := range findingFields {
		if list := v[k]; len(list) > 0 {
			list = slices.Compact(slices.Sorted(slices.Values(list)))
			out[k] = list[:min(len(list), maxValues)]
		}
	}
	for _, k := range findingWords {
		if s := strings.TrimSpace(v.Get(k)); s != "" {
			out.Set(k, s)
		}
	}
	return out
}

// findingQuery reads which list is asked for.
func (p *Pages) findingQuery(v url.Values, who *access.Principal) (store.FindingQuery, error) {
	q := store.FindingQuery{
		Words: v.Get("q"), State: v["state"], Decision: v["decision"], Harm: v["harm"], Kind: v["kind"], Ward: v["ward"], Site: v["site"], Device: v["device"],
		Assignee: v.Get("assignee"), CVE: v.Get("cve"), Sort: v.Get("sort"), Products: who.Products(),
	}
	for k, list := range v {
		most := maxValue
		if k == "q" {
			most = maxWord
		}
		for _, s := range list {
			if len(s) > most {
				return q, &access.Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("This filter has at most %d characters.", most)}
			}
		}
	}
	if q.Assignee == "me" && who.Person != nil {
		q.Assignee = who.Person.Login
	}
	since, err := p.since(v.Get("since"))
	q.Since = since
	return q, err
}

// since reads a time, or how long ago it is: "24h", "7d", "2026-03-03".
func (p *Pages) since(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return p.Now().Add(-time.Duration(n) * dayAndNight).UnixNano(), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return p.Now().Add(-d).UnixNano(), nil
	}
	for _, layout := range [...]string{time.RFC3339, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, &access.Error{Status: http.StatusBadRequest, Text: "since is a time, such as 2026-03-03, or how long ago it is, such as 24h or 7d."}
}

// findingsPage is the ranked list.
type findingsPage struct {
	frame        `json:"-"`
	Answer       string
	Worst        string
	Total        int
	More         bool     // than Total
	Query        string   // of the list, for forms
	Narrowed     []chip   // by what
	Hidden       []hidden // the filter without words, for the form of words
	Filter       string   // words
	Facets       []facet
	Heads        []head
	Rows         []findingRow
	All          int // that a triage of all takes, if there are not more; 0: too many
	First, Next  string
	CSV, JSON    string
	triageChoice `json:"-"`
}

// A chip is a value by which a list is narrowed, and the list without it.
type chip struct{ Of, Value, Path string }

type hidden struct{ Name, Value string }

type facet struct {
	Of     string
	Values []facetValue
	More   int // values that are not shown
}

type facetValue struct {
	Value, Path string
	Count       int
	On          bool
}

// A head is the head of a column, which sorts by it.
type head struct {
	Word, Path string
	Here       bool
	Ends       bool // ascending, for screen readers
}

type findingRow struct {
	findingLine
	Assignee string
	CVE      []string
	KEV      bool
	Review   bool // a person has to look whether it is so at all
}

// triageChoice is what a form of triage offers.
type triageChoice struct {
	Can            bool
	States         []string
	Justifications []hidden
	People         []hidden
}

// states in which a finding can be, in the order of work.
var states = []string{store.Open, store.Acknowledged, store.Mitigated, store.Fixed, store.FalsePositive}

// justifications of OpenVEX 0.2.0, in its words and in plain ones.
var justifications = []hidden{
	{"component_not_present", "the part is not in this product"},
	{"vulnerable_code_not_present", "the part is there without the weak code"},
	{"vulnerable_code_not_in_execute_path", "the weak code is never run"},
	{"vulnerable_code_cannot_be_controlled_by_adversary", "nobody from outside reaches the weak code"},
	{"inline_mitigations_already_exist", "something else already protects it"},
}

// justified reports whether a state needs one.
func justified(state string) bool { return state == store.FalsePositive || state == store.Mitigated }

func (p *Pages) choice(r *http.Request, who *access.Principal) (c triageChoice, err error) {
	if c.Can = who.May(access.TriageFindings); !c.Can {
		return c, nil
	}
	c.States, c.Justifications = states, justifications
	people, err := p.Store.People(r.Context())
	for _, someone := range people {
		if !someone.Disabled && access.Role(someone.Roles).May(access.SeeDevices) {
			c.People = append(c.People, hidden{someone.Login, cmp.Or(someone.Name, someone.Login)})
		}
	}
	return c, err
}

func (p *Pages) findings(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	asked := r.URL.Query()
	if len(asked) == 0 && !wantsJSON(r) { // what is to be done, and not all that ever was
		http.Redirect(w, r, "/findings?state=open&state=acknowledged", http.StatusSeeOther)
		return nil
	}
	v := canonical(asked)
	q, err := p.findingQuery(v, who)
	if err != nil {
		return err
	}
	q.Page, q.Facets = store.Page{After: asked.Get("after"), Limit: rowsOfPage}, true
	list, err := p.Store.Findings(r.Context(), q)
	if err != nil {
		return err
	}
	page := &findingsPage{frame: p.framed(r, who, "Findings"), Total: list.Total, Query: v.Encode(), Filter: v.Get("q")}
	page.Words = ""
	if page.triageChoice, err = p.choice(r, who); err != nil {
		return err
	}
	if page.More = list.More; list.Total <= store.MaxTriage {
		page.All = list.Total
	}
	for i := range list.Rows {
		f := &list.Rows[i]
		page.Rows = append(page.Rows, findingRow{p.findingLine(f), f.Assignee, f.CVE, f.KEV, f.Certainty == "review"})
	}
	page.narrowed(v)
	page.facets(v, list.Facets)
	page.heads(v)
	if list.Next != "" {
		page.Next = "/findings?" + with(v, "after", list.Next)
	}
	if q.After != "" {
		page.First = "/findings?" + v.Encode()
	}
	if who.May(access.Export) {
		page.CSV, page.JSON = "/findings.csv?"+v.Encode(), "/findings.json?"+v.Encode()
	}
	page.say(q)
	return p.show(w, r, "findings", page)
}

// with is an address with one value more.
func with(v url.Values, key, value string) string {
	out := url.Values{}
	for k, list := range v {
		out[k] = list
	}
	out.Set(key, value)
	return out.Encode()
}

// without is an address without a value.
func without(v url.Values, key, value string) string {
	out := url.Values{}
	for k, list := range v {
		if k == key {
			list = slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == value })
		}
		if len(list) > 0 {
			out[k] = list
		}
	}
	if len(out) == 0 {
		return "sort=urgency" // all of them is an address, too
	}
	return out.Encode()
}

func (page *findingsPage) narrowed(v url.Values) {
	for _, k := range slices.Concat(findingFields, findingWords) {
		for _, s := range v[k] {
			if k == "sort" {
				page.Hidden = append(page.Hidden, hidden{k, s})
				continue
			}
			if k != "q" {
				page.Hidden = append(page.Hidden, hidden{k, s})
			}
			page.Narrowed = append(page.Narrowed, chip{word(k), cmp.Or(s, none(k)), "/findings?" + without(v, k, s)})
		}
	}
}

// word is what people call a field.
func word(field string) string {
	return cmp.Or(map[string]string{"q": "words", "cve": "CVE"}[field], field)
}

// none is what people call no value of a field.
func none(field string) string {
	if field == "harm" {
		return "not known"
	}
	return "none"
}

func (page *findingsPage) facets(v url.Values, all []store.Facet) {
	for _, of := range findingFields[:6] {
		f := facet{Of: of}
		var values []store.Facet
		for _, c := range all {
			if c.Of == of {
				values = append(values, c)
			}
		}
		slices.SortStableFunc(values, func(a, b store.Facet) int { return cmp.Compare(rank(b), rank(a)) })
		for _, c := range values {
			on := slices.Contains(v[of], c.Value)
			path := ""
			if on {
				path = without(v, of, c.Value)
			} else {
				next := url.Values{}
				for k, list := range v {
					next[k] = list
				}
				next[of] = append(slices.Clone(v[of]), c.Value)
				path = next.Encode()
			}
			if len(f.Values) >= facetValues && !on {
				f.More++
				continue
			}
			f.Values = append(f.Values, facetValue{cmp.Or(c.Value, none(of)), "/findings?" + path, c.Count, on})
		}
		if len(f.Values) > 1 || len(f.Values) == 1 && f.Values[0].On {
			page.Facets = append(page.Facets, f)
		}
	}
}

// rank orders the values of what has an order.
func rank(f store.Facet) int {
	switch f.Of {
	case "decision":
		d, _ := finding.ParseDecision(f.Value)
		return int(d)
	case "harm":
		h, _ := device.ParseHarm(f.Value)
		return int(h)
	case "state":
		return -slices.Index(states, f.Value)
	}
	return 0
}

func (page *findingsPage) heads(v url.Values) {
	for _, h := range [...]struct{ word, sort string }{{"Decision", "urgency"}, {"Device", "device"}, {"What", "kind"}, {"Harm", ""}, {"State", ""}, {"Last seen", "last"}} {
		one := head{Word: h.word, Here: h.sort != "" && cmp.Or(v.Get("sort"), "urgency") == h.sort, Ends: h.sort == "device" || h.sort == "kind"}
		if h.sort != "" {
			one.Path = "/findings?" + with(v, "sort", h.sort)
		}
		page.Heads = append(page.Heads, one)
	}
}

// brief shortens a name for a sentence: sensors name things as long as they like.
func brief(s string) string {
	const most = 80
	if list := []rune(s); len(list) > most {
		return string(list[:most]) + "…"
	}
	return s
}

// say puts the answer into one sentence.
func (page *findingsPage) say(q store.FindingQuery) {
	kind := "finding"
	if len(q.State) > 0 && !slices.ContainsFunc(q.State, func(s string) bool { return s != store.Open && s != store.Acknowledged }) {
		kind = "open finding"
	}
	page.Answer = plural(page.Total, kind)
	if page.More {
		page.Answer = "More than " + page.Answer
	}
	if page.Total == 0 {
		page.Answer = "No " + kind
	}
	if len(q.Decision) == 1 {
		page.Answer += " to " + q.Decision[0]
	}
	page.Answer += "."
	if len(page.Rows) > 0 && q.After == "" && strings.TrimPrefix(q.Sort, "urgency") == "" {
		first := &page.Rows[0]
		page.Worst = first.Decision
		page.Answer += " First: " + brief(first.Title) + ", at " + brief(cmp.Or(first.DeviceName, "a product")) + "."
	}
}

// triageForm reads what somebody decided about findings.
func (p *Pages) triageForm(r *http.Request, who *access.Principal) (t store.Triage, err error) {
	form := r.PostForm
	refuse := func(text string) (store.Triage, error) {
		return t, &access.Error{Status: http.StatusUnprocessableEntity, Text: text + " Nothing was changed; go back, and what you wrote is still there."}
	}
	t = store.Triage{State: form.Get("state"), Reason: strings.TrimSpace(form.Get("reason")), Comment: strings.TrimSpace(form.Get("comment")), By: who.Person.Login}
	switch to := form.Get("assignee"); to {
	case "", "=":
	case "-":
		none := ""
		t.Assignee = &none
	default:
		someone, err := p.Store.Person(r.Context(), to)
		if errors.Is(err, store.ErrNotFound) || err == nil && someone.Disabled {
			return refuse("There is nobody of this name to assign it to.")
		} else if err != nil {
			return t, err
		}
		t.Assignee = &someone.Login
	}
	switch {
	case t.State != "" && !slices.Contains(states, t.State):
		return refuse("There is no such state.")
	case t.State == "" && t.Assignee == nil && t.Comment == "":
		return refuse("Choose a state, somebody to do it, or write a comment.")
	case len(t.Reason) > maxTriageReason || len(t.Comment) > maxComment:
		return refuse(fmt.Sprintf("A reason has at most %d characters, a comment %d.", maxTriageReason, maxComment))
	case t.State != "" && t.State != store.Open && t.State != store.Acknowledged && t.Reason == "":
		return refuse("Say why it is " + t.State + ": others will rely on it.")
	case justified(t.State):
		t.Justification = form.Get("justification")
		if !slices.ContainsFunc(justifications, func(j hidden) bool { return j.Name == t.Justification }) {
			return refuse("Choose why it cannot hurt: " + t.State + " needs a justification, in the words of VEX.")
		}
	}
	return t, nil
}

// triage changes the findings that were chosen, all of a list, or the one whose page it was.
func (p *Pages) triage(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	t, err := p.triageForm(r, who)
	if err != nil {
		return err
	}
	back, target := "/findings", ""
	if id := r.PathValue("id"); id != "" {
		t.IDs, back, target = []string{id}, "/findings/"+url.PathEscape(id), id
		t.Version, _ = strconv.ParseInt(r.PostForm.Get("version"), 10, 64)
	} else {
		v, err := url.ParseQuery(r.PostForm.Get("query"))
		if err != nil {
			return &access.Error{Status: http.StatusBadRequest, Text: "There is no such list."}
		}
		v = canonical(v)
		back += "?" + cmp.Or(v.Encode(), "sort=urgency")
		if r.PostForm.Get("of") == "all" {
			q, err := p.findingQuery(v, who)
			if err != nil {
				return err
			}
			now, err := p.Store.Findings(r.Context(), exactly(q))
			if err != nil {
				return err
			}
			if now.Total > store.MaxTriage {
				return &access.Error{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf("At most %d findings are changed at once. Narrow the list.", store.MaxTriage)}
			}
			t.All, target = &q, "all of a list"
		} else if t.IDs = r.PostForm["id"]; len(t.IDs) == 0 {
			return &access.Error{Status: http.StatusUnprocessableEntity, Text: "No finding was chosen. Go back and tick some, or choose all of the list."}
		} else if len(t.IDs) > store.MaxTriage {
			return &access.Error{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf("At most %d findings are changed at once.", store.MaxTriage)}
		} else if target = "chosen findings"; len(t.IDs) == 1 {
			target = t.IDs[0]
		}
	}
	did := "triage"
	if t.State != "" {
		did += " " + t.State
	}
	var bulk int64
	n := 0
	if err := p.Access.Act(who.Person.Login, did, target, t.Reason, func() (_ int, err error) {
		bulk, n, err = p.Store.Triage(r.Context(), t)
		return n, err
	}); err != nil {
		return err
	}
	undo := ""
	if n > 0 && (t.State != "" || t.Assignee != nil) {
		undo = "/findings/undo/" + strconv.FormatInt(bulk, 10)
	}
	p.Access.Say(r.Context(), changedWords(&t, n), undo)
	http.Redirect(w, r, back, http.StatusSeeOther)
	return nil
}

// exactly asks how many a list has.
func exactly(q store.FindingQuery) store.FindingQuery {
	q.Limit, q.Exact = 1, true
	return q
}

// changedWords says what a triage did.
func changedWords(t *store.Triage, n int) string {
	if n == 0 {
		return "Nothing was to be changed: it was so already."
	}
	var did []string
	if t.State != "" {
		did = append(did, are(n)+" "+t.State)
	}
	if t.Assignee != nil {
		if *t.Assignee == "" {
			did = append(did, are(n)+" nobody's")
		} else {
			did = append(did, are(n)+" "+*t.Assignee+"'s")
		}
	}
	if t.Comment != "" {
		did = append(did, map[bool]string{true: "has", false: "have"}[n == 1]+" your comment")
	}
	return plural(n, "finding") + " " + strings.Join(did, " and ") + " now."
}

// undoTriage puts back what a triage changed.
func (p *Pages) undoTriage(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	bulk, err := strconv.ParseInt(r.PathValue("bulk"), 10, 64)
	if err != nil {
		return store.ErrNotFound
	}
	n, left, why := 0, 0, strings.TrimSpace(r.PostFormValue("reason"))
	if len(why) > maxTriageReason {
		return &access.Error{Status: http.StatusUnprocessableEntity, Text: fmt.Sprintf("A reason has at most %d characters. Nothing was changed.", maxTriageReason)}
	}
	err = p.Access.Act(who.Person.Login, "undo triage", "triage "+strconv.FormatInt(bulk, 10), why, func() (_ int, err error) {
		n, left, err = p.Store.UndoTriage(r.Context(), bulk, who.Person.Login, why)
		return n, err
	})
	said := ""
	switch {
	case errors.Is(err, store.ErrNotFound):
		said = "There was nothing to put back."
	case err != nil:
		return err
	default:
		said = plural(n, "change") + " put back."
		if left > 0 {
			said += " " + plural(left, "change") + " left as " + are(left) + ": somebody changed it since."
		}
	}
	p.Access.Say(r.Context(), said, "")
	http.Redirect(w, r, cameFrom(r), http.StatusSeeOther)
	return nil
}

// cameFrom is the list or finding that a form was on.
func cameFrom(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host || !strings.HasPrefix(u.Path, "/findings") {
		return "/findings"
	}
	return inside(u.RequestURI())
}
