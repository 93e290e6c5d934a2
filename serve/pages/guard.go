// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/store"
)

// Guards carry a clinician's word to a guard, which judges again itself, as if it had
// been said on its own page. The bus does.
type Guards interface {
	// Decide asks a guard to "confirm" or "refuse" a command that it holds, or says that
	// a dose in doubt was "given" or "not-given". It returns nil when the guard did so,
	// [bus.ErrSilent] when nobody knows, else why it did not.
	Decide(ctx context.Context, guard string, d *bus.Decision) error
}

// Bounds of the pages of guards.
const (
	answerTime  = 25 * time.Second
	goneTime    = 2 * time.Second // for a guard to say that what was decided on does not wait any more
	goneEvery   = 50 * time.Millisecond
	maxWhy      = 200    // bytes of what somebody types
	maxTable    = 10_000 // rows of a list as CSV
	maxPictures = 4      // of what was given, on the first page
	maxPlaces   = 50     // of what waits, the devices that are looked up
)

func (p *Pages) guardRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /guard", Needs: access.SeeVerdicts, Handle: p.guard},
		{Pattern: "GET /guard.json", Needs: access.SeeVerdicts, Handle: p.guard},
		{Pattern: "GET /guard.csv", Needs: access.Export, Handle: p.guardTable},
		{Pattern: "GET /guard/{guard}/held/{id}", Needs: access.SeeVerdicts, Handle: p.held},
		{Pattern: "POST /guard/{guard}/held/{id}", Needs: access.ConfirmCommands, Handle: p.decide},
		{Pattern: "GET /guard/{guard}/doubts/{id}", Needs: access.SeeVerdicts, Handle: p.doubt},
		{Pattern: "POST /guard/{guard}/doubts/{id}", Needs: access.SettleDoubts, Handle: p.settle},
		{Pattern: "GET /guard/{guard}/limits/{device}", Needs: access.SeeVerdicts, Handle: p.limits},
		{Pattern: "POST /guard/{guard}/limits/{device}", Needs: access.ApproveEnvelopes, Handle: p.approve},
	}
}

// guardPage answers: what waits for a clinician, and what did guards decide?
type guardPage struct {
	frame        `json:"-"`
	Answer, Lead string
	Mood         string // a verdict
	First        bool   // of the list: what is open now is above it
	Emergencies  []emergencyLine
	Held         []heldLine
	Doubts       []doubtLine
	Pictures     []*guard.Picture `json:"-"`
	Envelopes    []envelopeLine
	Guards       []guardLine
	Verdicts     []verdictLine
	Total        int
	Filter       verdictFilter
	Next         string // path of the rows after these
	Here         string // path of this list
	Table, JSON  string
}

// A verdictFilter is the query of the list of verdicts, with what can be chosen.
type verdictFilter struct {
	Verdict, Kind, Guard, Device, Since string
	Verdicts, Kinds, Sinces             []string `json:"-"`
	Guards                              []guardName
	Set                                 bool `json:"-"` // not all are shown
}

type guardName struct{ ID, Name string }

type heldLine struct {
	Guard, GuardName, ID, Front, Device, Actor string
	Place, DevicePath                          string // where the device is, and its page, as far as is known
	Verb, Effect, Value, Now, Reason           string
	Drug, Limit, Therapy, Harm                 string
	Dose                                       bool // Value is given once
	Asked, Expires                             when
	Left                                       string // until it expires
	Path                                       string
	What                                       string // fingerprint
	Self                                       bool   // whoever looks at it asked for it
	There                                      string // the guard's own page, when it lets nobody here decide
	Away                                       bool   // it lets nobody here decide
	asked                                      int64
}

type emergencyLine struct {
	GuardName, Device, Actor, Reason string
	At, Until                        when
	Left                             string
}

type doubtLine struct {
	Guard, GuardName, ID, Device, Verb, Value, Limit, Actor, Reason string
	At                                                              when
	Path                                                            string
	There                                                           string
	Away                                                            bool
	asked                                                           int64
}

// A verdictLine is something that a guard decided or did.
type verdictLine struct {
	Seq                     int64
	Kind                    string
	Verdict                 string // of the command, or what comes nearest
	Guard, GuardName, Front string
	Device, Actor, Peer     string
	What, Value, Reason     string
	Count                   int64
	Enforced                bool
	At                      when
}

// guardKinds are the kinds of event that guards send.
var guardKinds = []event.Kind{event.VerdictGiven, event.VerdictsCounted, event.AccessRefused, event.EmergencyUsed, event.DoseDoubted, event.ConfigurationChanged}

func namesOf(guards []guardNow) (list []guardName) {
	for _, g := range guards {
		list = append(list, guardName{g.ID, g.Name})
	}
	return list
}

// verdictQuery reads the filter of a request.
func (p *Pages) verdictQuery(r *http.Request) (q store.VerdictQuery, f verdictFilter, err error) {
	get := func(name string) string { return strings.TrimSpace(r.FormValue(name)) }
	f = verdictFilter{Verdict: get("verdict"), Kind: get("kind"), Guard: get("guard"), Device: get("device"), Since: get("since"), Sinces: []string{"1h", "24h", "168h"}}
	for v := device.Allow; v.String() != ""; v++ {
		f.Verdicts = append(f.Verdicts, v.String())
	}
	q = store.VerdictQuery{Guard: f.Guard, Device: f.Device, Verdict: f.Verdict, Page: store.Page{After: get("after"), Limit: 50}}
	for _, k := range guardKinds {
		f.Kinds = append(f.Kinds, k.String())
		if k.String() == f.Kind {
			q.Kinds = []event.Kind{k}
		}
	}
	bad := f.Kind != "" && q.Kinds == nil || f.Verdict != "" && !slices.Contains(f.Verdicts, f.Verdict) || len(f.Guard) > 100 || len(f.Device) > 100
	if f.Since != "" {
		d, err := time.ParseDuration(f.Since)
		bad = bad || err != nil || d <= 0
		q.Since = p.Now().Add(-d).UnixNano()
	}
	if bad {
		return q, f, &access.Error{Status: http.StatusBadRequest, Text: "This list has no such filter: since is a duration as 24h, verdict and kind are those that can be chosen."}
	}
	f.Set = f.Verdict+f.Kind+f.Guard+f.Device+f.Since != ""
	return q, f, nil
}

// values are the query of a filter.
func (f *verdictFilter) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"verdict": f.Verdict, "kind": f.Kind, "guard": f.Guard, "device": f.Device, "since": f.Since} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func (p *Pages) guard(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	ctx := r.Context()
	q, f, err := p.verdictQuery(r)
	if err != nil {
		return err
	}
	page := &guardPage{frame: p.framed(r, who, "Guard"), Filter: f, First: q.After == ""}
	page.Live = page.First && p.Live != nil
	guards, names, err := p.guardsNow(ctx)
	if err != nil {
		return err
	}
	page.Filter.Guards = namesOf(guards)
	list, err := p.Store.Verdicts(ctx, q)
	if err != nil {
		return err
	}
	page.Total = list.Total
	for i := range list.Rows {
		page.Verdicts = append(page.Verdicts, p.verdictLine(&list.Rows[i], names))
	}
	v := f.values()
	page.Table, page.JSON, page.Here = "/guard.csv?"+v.Encode(), "/guard.json?"+v.Encode(), "/guard?"+v.Encode()
	if list.Next != "" {
		v.Set("after", list.Next)
		page.Next = "/guard?" + v.Encode()
	}
	if page.First {
		if err := p.open(ctx, page, who, guards); err != nil {
			return err
		}
		page.say()
	} else {
		page.Answer = "Earlier verdicts."
	}
	return p.show(w, r, "guard", page)
}

// open fills in what is open now.
func (p *Pages) open(ctx context.Context, page *guardPage, who *access.Principal, guards []guardNow) (err error) {
	if page.Held, err = p.heldLines(ctx, who, guards); err != nil {
		return err
	}
	page.Doubts = p.doubtLines(guards)
	approvals, err := p.Store.Approvals(ctx, "", "")
	if err != nil {
		return err
	}
	for i := range guards {
		g := &guards[i]
		page.Guards = append(page.Guards, p.guardLine(g))
		for _, e := range g.State.Emergencies {
			if left := e.Until.Sub(p.Now()); left > 0 {
				l := emergencyLine{GuardName: g.Name, Device: e.Device, Actor: e.Actor, Reason: e.Reason, Until: p.when(e.Until.UnixNano()), Left: leftOf(left)}
				if !e.Time.IsZero() {
					l.At = p.when(e.Time.UnixNano())
				}
				page.Emergencies = append(page.Emergencies, l)
			}
		}
		for k := range g.State.Devices {
			page.Envelopes = append(page.Envelopes, p.envelopeLine(g, &g.State.Devices[k], approvals))
		}
	}
	slices.SortStableFunc(page.Emergencies, func(a, b emergencyLine) int { return strings.Compare(a.Until.Machine, b.Until.Machine) })
	// Those first that somebody has to decide about, and then those that are nearest to a limit.
	urgent := slices.Clone(page.Envelopes)
	slices.SortStableFunc(urgent, func(a, b envelopeLine) int { return cmp.Compare(page.weight(&b), page.weight(&a)) })
	page.Pictures = pictures(p.Now(), urgent, maxPictures)
	return nil
}

// weight says how much people want to see what was given to a device.
func (g *guardPage) weight(l *envelopeLine) (w float64) {
	if slices.ContainsFunc(g.Held, func(h heldLine) bool { return h.Guard == l.Guard && h.Device == l.Device }) ||
		slices.ContainsFunc(g.Doubts, func(d doubtLine) bool { return d.Guard == l.Guard && d.Device == l.Device }) {
		w = 2
	}
	near := 0.0
	for _, s := range l.Sums {
		if n := len(s.Hour); n > 0 && s.Most > 0 {
			near = max(near, s.Hour[n-1].Planned/s.Most)
		}
	}
	return w + min(near, 1)
}

func (p *Pages) heldLines(ctx context.Context, who *access.Principal, guards []guardNow) ([]heldLine, error) {
	held, err := p.Store.HeldCommands(ctx)
	if err != nil {
		return nil, err
	}
	var out []heldLine
	places := map[string]*store.Device{}
	for i := range held {
		h := &held[i]
		left := time.Unix(0, h.Expires).Sub(p.Now())
		if left <= 0 {
			continue // the guard has refused it, and says so soon
		}
		l := heldLine{
			Guard: h.Guard, GuardName: h.Guard, ID: h.ID, Front: h.Front, Device: h.Device, Actor: h.Actor, Verb: h.Verb, Effect: h.Effect, Value: h.Value, Now: h.Now,
			Reason: h.Reason, Drug: h.Drug, Limit: h.Limit, Therapy: h.Therapy, Harm: h.Harm, Dose: h.Dose, Asked: p.when(h.Asked), Expires: p.when(h.Expires), Left: leftOf(left),
			Path: "/guard/" + url.PathEscape(h.Guard) + "/held/" + url.PathEscape(h.ID), What: fingerprint(h), Self: who.Person != nil && strings.EqualFold(who.Person.Login, h.Actor), asked: h.Asked,
		}
		site := ""
		if g := guardOf(guards, h.Guard); g != nil {
			l.GuardName, site, l.Away, l.There = g.Name, g.Site, g.Said != 0 && !g.State.Confirms, pageOf(g.State.Page)
		}
		d, known := places[h.Device]
		if !known && len(places) < maxPlaces {
			if d, err = p.Store.Called(ctx, h.Device, site); err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			places[h.Device] = d
		}
		if d != nil {
			l.Place, l.DevicePath = d.Ward, "/devices/"+d.ID
		}
		out = append(out, l)
	}
	return out, nil
}

func guardOf(guards []guardNow, id string) *guardNow {
	if i := slices.IndexFunc(guards, func(g guardNow) bool { return g.ID == id }); i >= 0 {
		return &guards[i]
	}
	return nil
}

func (p *Pages) doubtLines(guards []guardNow) (out []doubtLine) {
	for i := range guards {
		g := &guards[i]
		for _, d := range g.State.Doubts {
			id := strconv.FormatUint(d.ID, 10)
			out = append(out, doubtLine{
				Guard: g.ID, GuardName: g.Name, ID: id, Device: d.Device, Verb: d.Verb, Value: d.Value, Limit: d.Limit, Actor: d.Actor, Reason: d.Why,
				At: p.when(d.Since.UnixNano()), Path: "/guard/" + url.PathEscape(g.ID) + "/doubts/" + id, Away: !g.State.Confirms, There: pageOf(g.State.Page), asked: d.Since.UnixNano(),
			})
		}
	}
	return out
}

// fingerprint tells one held command from another that has its number later.
func fingerprint(h *store.Held) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{h.Guard, h.ID, h.Front, h.Device, h.Actor, h.Verb, h.Drug, h.Value, h.Limit, h.Now, strconv.FormatInt(h.Asked, 10)}))
	return hex.EncodeToString(sum[:8])
}

// leftOf is a time that runs out, as a clock shows it.
func leftOf(d time.Duration) string {
	s := max(int(d.Round(time.Second).Seconds()), 0)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

func (p *Pages) verdictLine(v *store.Verdict, names map[string]string) verdictLine {
	l := verdictLine{
		Seq: v.Seq, Kind: v.Kind.String(), Guard: v.Guard, GuardName: cmp.Or(names[v.Guard], v.Guard), Front: v.Text(event.Front), Device: v.Event.Device.Value,
		Actor: v.Text(event.Actor), Peer: v.Peer.Value, Value: v.Text(event.Value), Reason: v.Text(event.Reason), Count: v.Int(event.Count),
		Enforced: v.Int(event.Enforced) == 1, At: p.when(v.Time),
	}
	outcome := event.Result(v.Int(event.Outcome))
	verb := cmp.Or(device.Verb(v.Int(event.Verb)).String(), "a command that is not understood")
	switch v.Kind {
	case event.VerdictGiven:
		l.Verdict, l.What = device.Verdict(v.Int(event.Verdict)).String(), verb
	case event.VerdictsCounted:
		l.Verdict, l.What, l.Enforced = device.Verdict(v.Int(event.Verdict)).String(), verb+", "+strconv.FormatInt(l.Count, 10)+" times", true
	case event.AccessRefused:
		l.Verdict, l.What = device.Deny.String(), v.Text(event.Operation)
		if to := v.Text(event.Destination); to != "" {
			l.What += " to " + to
		}
	case event.EmergencyUsed:
		l.Verdict, l.What, l.Enforced = device.Deny.String(), "emergency access", true
		if outcome == event.Succeeded {
			l.Verdict = device.AllowEmergency.String()
		}
	case event.DoseDoubted:
		l.Enforced = true
		switch l.What = verb + ": was it given?"; outcome {
		case event.Succeeded:
			l.What = verb + " was given"
		case event.Failed:
			l.What = verb + " was not given"
		}
	case event.ConfigurationChanged:
		l.What, l.Enforced = "rules: "+v.Text(event.Name), true
	}
	return l
}

// say writes the sentence that answers the question.
func (g *guardPage) say() {
	var parts []string
	part := func(n int, mood, one, more string) {
		switch {
		case n == 1:
			parts = append(parts, one)
		case n > 1:
			parts = append(parts, strconv.Itoa(n)+" "+more)
		default:
			return
		}
		g.Mood = cmp.Or(g.Mood, mood)
	}
	part(len(g.Emergencies), device.AllowEmergency.String(), "1 emergency session is open.", "emergency sessions are open.")
	part(len(g.Held), device.Hold.String(), "1 command is waiting for a clinician.", "commands are waiting for a clinician.")
	part(len(g.Doubts), device.Hold.String(), "1 dose may or may not have been given.", "doses may or may not have been given.")
	ill := 0
	for i := range g.Guards {
		if !g.Guards[i].well() {
			ill++
		}
	}
	part(ill, device.Deny.String(), "1 guard is not as it should be.", "guards are not as they should be.")
	if len(parts) == 0 {
		parts, g.Mood = []string{"Nothing is waiting."}, device.Allow.String()
	}
	g.Answer = strings.Join(parts, " ")
	g.Lead = "A held command is refused, never delivered late, when nobody confirms it in time. The guard judges it again before it is sent."
}

// guardTable is the list as CSV.
func (p *Pages) guardTable(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	q, f, err := p.verdictQuery(r)
	if err != nil {
		return err
	}
	_, names, err := p.guardsNow(r.Context())
	if err != nil {
		return err
	}
	rows := [][]string{{"seq", "time", "kind", "verdict", "guard", "front", "device", "what", "value", "actor", "peer", "reason", "count", "enforced"}}
	for q.Limit = 1000; len(rows) <= maxTable; {
		list, err := p.Store.Verdicts(r.Context(), q)
		if err != nil {
			return err
		}
		for i := range list.Rows {
			l := p.verdictLine(&list.Rows[i], names)
			rows = append(rows, []string{strconv.FormatInt(l.Seq, 10), l.At.Machine, l.Kind, l.Verdict, l.GuardName, l.Front, l.Device, l.What, l.Value, l.Actor, l.Peer, l.Reason, strconv.FormatInt(l.Count, 10), strconv.FormatBool(l.Enforced)})
		}
		if q.After = list.Next; q.After == "" {
			break
		}
	}
	if err := p.Access.Acted(who.Person.Login, "export", "verdicts", f.values().Encode(), len(rows)-1, event.Succeeded); err != nil {
		return err
	}
	return table(w, "verdicts", rows)
}

// heldPage asks a clinician for a decision.
type heldPage struct {
	frame    `json:"-"`
	Held     heldLine
	Decide   bool // who looks may
	Role     string
	Limits   *envelopeLine    // of the device
	Pictures []*guard.Picture `json:"-"`
	Recent   []verdictLine    // of the device
}

var errGone = &access.Error{Status: http.StatusGone, Text: "Nothing of that number waits: it was decided on, or its time is over. Nothing was done now."}

// waits returns what waits under the path of a request, with all guards.
func (p *Pages) waits(r *http.Request, who *access.Principal) (heldLine, []guardNow, map[string]string, error) {
	guards, names, err := p.guardsNow(r.Context())
	if err != nil {
		return heldLine{}, nil, nil, err
	}
	list, err := p.heldLines(r.Context(), who, guards)
	if err != nil {
		return heldLine{}, nil, nil, err
	}
	i := slices.IndexFunc(list, func(h heldLine) bool { return h.Guard == r.PathValue("guard") && h.ID == r.PathValue("id") })
	if i < 0 {
		return heldLine{}, nil, nil, errGone
	}
	return list[i], guards, names, nil
}

func (p *Pages) held(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	h, guards, names, err := p.waits(r, who)
	if errors.Is(err, errGone) && r.Header.Get(access.Unattended) != "" { // a page that is open says so itself
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	page := &heldPage{frame: p.framed(r, who, "Guard"), Held: h, Decide: who.May(access.ConfirmCommands) && who.Person.Clinical != "" && !h.Away, Role: who.Person.Clinical}
	page.Live = p.Live != nil
	page.Limits, page.Pictures = p.givenTo(guards, h.Guard, h.Device)
	list, err := p.Store.Verdicts(r.Context(), store.VerdictQuery{Guard: h.Guard, Device: h.Device, Page: store.Page{Limit: 10}})
	if err != nil {
		return err
	}
	for i := range list.Rows {
		page.Recent = append(page.Recent, p.verdictLine(&list.Rows[i], names))
	}
	return p.show(w, r, "held", page)
}

// givenTo is what holds for a device of a guard, and what was given to it; nil: nobody
// has said.
func (p *Pages) givenTo(guards []guardNow, guardID, name string) (*envelopeLine, []*guard.Picture) {
	g := guardOf(guards, guardID)
	if g == nil {
		return nil, nil
	}
	i := slices.IndexFunc(g.State.Devices, func(d guard.DeviceState) bool { return d.ID == name })
	if i < 0 {
		return nil, nil
	}
	l := p.envelopeLine(g, &g.State.Devices[i], nil)
	return &l, pictures(p.Now(), []envelopeLine{l}, 16)
}

// decide confirms or refuses what waits.
func (p *Pages) decide(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	h, _, _, err := p.waits(r, who)
	if err != nil {
		return err
	}
	what := r.PostFormValue("do")
	switch {
	case what != "confirm" && what != "refuse":
		return &access.Error{Status: http.StatusBadRequest, Text: "It can be confirmed or refused. Nothing was done."}
	case r.PostFormValue("what") != h.What:
		return &access.Error{Status: http.StatusConflict, Text: "What waits under this number now is not what was on your screen. Nothing was done; look again."}
	case what == "confirm" && h.Self:
		return &access.Error{Status: http.StatusForbidden, Text: "You asked for this command; another clinician has to confirm it."}
	}
	words := strings.Join(strings.Fields(h.Verb+" "+h.Drug+" "+h.Value), " ") + " for " + h.Device
	return p.ask(w, r, who, h.Guard, h.ID, h.asked, what, words, func(ctx context.Context) (bool, error) {
		list, err := p.Store.HeldCommands(ctx)
		return !slices.ContainsFunc(list, func(x store.Held) bool { return x.Guard == h.Guard && x.ID == h.ID && x.Asked == h.asked }), err
	})
}

// doubtPage asks what became of a dose.
type doubtPage struct {
	frame    `json:"-"`
	Doubt    doubtLine
	Decide   bool
	Limits   *envelopeLine    // of the device
	Pictures []*guard.Picture `json:"-"`
}

func (p *Pages) inDoubt(r *http.Request) (doubtLine, []guardNow, error) {
	guards, _, err := p.guardsNow(r.Context())
	if err != nil {
		return doubtLine{}, nil, err
	}
	list := p.doubtLines(guards)
	i := slices.IndexFunc(list, func(d doubtLine) bool { return d.Guard == r.PathValue("guard") && d.ID == r.PathValue("id") })
	if i < 0 {
		return doubtLine{}, nil, &access.Error{Status: http.StatusGone, Text: "No such dose is in doubt: somebody has settled it, or the device has. Nothing was done now."}
	}
	return list[i], guards, nil
}

func (p *Pages) doubt(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	d, guards, err := p.inDoubt(r)
	if err != nil {
		return err
	}
	page := &doubtPage{frame: p.framed(r, who, "Guard"), Doubt: d, Decide: who.May(access.SettleDoubts) && who.Person.Clinical != "" && !d.Away}
	page.Limits, page.Pictures = p.givenTo(guards, d.Guard, d.Device)
	return p.show(w, r, "doubt", page)
}

func (p *Pages) settle(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	d, _, err := p.inDoubt(r)
	if err != nil {
		return err
	}
	what := r.PostFormValue("do")
	if what != "given" && what != "not-given" {
		return &access.Error{Status: http.StatusBadRequest, Text: "It was given or not given. Nothing was done."}
	}
	words := strings.Join(strings.Fields(d.Verb+" "+d.Value), " ") + " for " + d.Device
	return p.ask(w, r, who, d.Guard, d.ID, d.asked, what, words, func(ctx context.Context) (bool, error) {
		guards, _, err := p.guardsNow(ctx)
		return !slices.ContainsFunc(p.doubtLines(guards), func(x doubtLine) bool { return x.Guard == d.Guard && x.ID == d.ID }), err
	})
}

var (
	errReason      = &access.Error{Status: http.StatusUnprocessableEntity, Text: "A reason is needed, of at most " + strconv.Itoa(maxWhy) + " bytes and without a patient's name. Nothing was done."}
	errNotClinical = &access.Error{Status: http.StatusForbidden, Text: "A prescriber, a pharmacist or a nurse decides, and your account says none of these. Nothing was done."}
)

// ask asks a guard, which is in the ledger before, and what came of it after. The next
// page does not show any more what gone reports.
func (p *Pages) ask(w http.ResponseWriter, r *http.Request, who *access.Principal, guard, id string, asked int64, what, words string, gone func(context.Context) (bool, error)) error {
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	switch {
	case reason == "" || len(reason) > maxWhy:
		return errReason
	case who.Person.Clinical == "":
		return errNotClinical
	case p.Guards == nil:
		return &access.Error{Status: http.StatusServiceUnavailable, Text: "No guard takes a clinician's word from here. Use the guard's own page; nothing was done."}
	}
	target := guard + "/" + id + ": " + words
	if err := p.Access.Acted(who.Person.Login, what, target, reason, 1, event.Unknown); err != nil {
		return err // what is not in the ledger is not asked for
	}
	// Who closes the browser has said it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTime)
	defer cancel()
	err := p.Guards.Decide(ctx, guard, &bus.Decision{ID: id, Asked: asked, What: what, By: who.Person.Login, Role: who.Person.Clinical, Reason: reason})
	outcome := event.Succeeded
	switch {
	case errors.Is(err, bus.ErrSilent) || errors.Is(err, context.DeadlineExceeded):
		outcome = event.Unknown
	case err != nil:
		outcome = event.Failed
	}
	if err := p.Access.Acted(who.Person.Login, what+": answer", target, answerOf(err), 1, outcome); err != nil {
		return err
	}
	done := map[string]string{"confirm": "You confirmed ", "refuse": "You refused ", "given": "You said that it was given: ", "not-given": "You said that it was not given: "}[what] + words + "."
	switch outcome {
	case event.Unknown:
		p.Access.Say(r.Context(), "The guard was asked and has not answered yet: "+words+". See whether it still waits.", "")
	case event.Failed:
		return &access.Error{Status: http.StatusConflict, Text: "The guard did not do it: " + err.Error() + "."}
	default:
		p.Access.Say(r.Context(), done, "")
		awaitGone(ctx, gone)
	}
	http.Redirect(w, r, "/guard", http.StatusSeeOther)
	return nil
}

// awaitGone waits a moment for what a guard did to be known here: it says so by itself, and
// nobody should be asked again meanwhile.
func awaitGone(ctx context.Context, gone func(context.Context) (bool, error)) {
	ctx, stop := context.WithTimeout(ctx, goneTime)
	defer stop()
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		if yes, err := gone(ctx); yes || err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func answerOf(err error) string {
	if err == nil {
		return "the guard did it"
	}
	return err.Error()
}
