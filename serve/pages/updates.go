// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) updateRoutes() []access.Route {
	routes := []access.Route{
		{Pattern: "GET /updates", Needs: access.SeeDevices, Handle: p.updates},
		{Pattern: "GET /updates.json", Needs: access.SeeDevices, Handle: p.updates},
		{Pattern: "GET /updates.csv", Needs: access.Export, Handle: p.updates},
		{Pattern: "POST /updates", Needs: access.RunUpdates, Most: 256 << 10, Handle: p.createRollout},
		{Pattern: "GET /updates/{rollout}", Needs: access.SeeDevices, Handle: p.rollout},
		{Pattern: "POST /updates/{rollout}/start", Needs: access.RunUpdates, Handle: p.runRollout},
		{Pattern: "POST /updates/{rollout}/resume", Needs: access.RunUpdates, Handle: p.runRollout},
		{Pattern: "POST /updates/{rollout}/pause", Needs: access.HaltUpdates, Handle: p.runRollout},
		{Pattern: "POST /updates/{rollout}/halt", Needs: access.HaltUpdates, Handle: p.runRollout},
		{Pattern: "POST /updates/{rollout}/relax", Needs: access.RelaxUpdates, Handle: p.relaxRollout},
		{Pattern: "GET /updates/{rollout}/steps/{step}", Needs: access.SeeLedger, Handle: p.stepInLedger},
		{Pattern: "GET /updates/{rollout}/devices/{device}", Needs: access.SeeDevices, Handle: p.update},
		{Pattern: "POST /updates/{rollout}/devices/{device}/consent", Needs: access.ConsentUpdates, Handle: p.consentUpdate},
		{Pattern: "POST /updates/{rollout}/devices/{device}/withdraw", Needs: access.ConsentUpdates, Handle: p.consentUpdate},
		{Pattern: "POST /updates/{rollout}/devices/{device}/depends", Needs: access.ConsentUpdates, Handle: p.judgeUpdate},
		{Pattern: "POST /updates/{rollout}/devices/{device}/attend", Needs: access.AttendUpdates, Handle: p.attendUpdate},
		{Pattern: "POST /updates/{rollout}/devices/{device}/report", Needs: access.AttendUpdates, Handle: p.reportUpdate},
		{Pattern: "POST /updates/{rollout}/devices/{device}/rule-out", Needs: access.AttendUpdates, Handle: p.ruleOutUpdate},
		{Pattern: "POST /updates/{rollout}/devices/{device}/relax", Needs: access.RelaxUpdates, Handle: p.relaxUpdate},
	}
	if p.Updates == nil {
		for i := range routes {
			routes[i].Handle = func(http.ResponseWriter, *http.Request, *access.Principal) error { return store.ErrNotFound }
		}
	}
	return routes
}

// Bounds of the pages of updates.
const (
	rolloutRows  = 50
	rolloutDots  = 60 // a ring of more devices is a bar
	rolloutSteps = 50
	maxRolloutID = 80
	entryScan    = 10_000 // entries of the ledger that are looked at for one
)

// gateWords say what a device waits for, as a nurse would.
var gateWords = map[patch.Gate]string{
	patch.TherapyGate:     "for therapy to be over, or for a word that it is",
	patch.VersionGate:     "because the release is not made for the version that it runs",
	patch.HardwareGate:    "because the release is not made for its hardware",
	patch.PowerGate:       "for its battery to be charged",
	patch.LinkGate:        "for a better connection, or for the wand",
	patch.SlotGate:        "for room to put the update in",
	patch.SettingsGate:    "for its settings to be saved",
	patch.FreshGate:       "for a word of the device: what is known of it is too old",
	patch.BackupGate:      "because this patient cannot be in backup mode for so long",
	patch.SupervisionGate: "for somebody to be with it",
	patch.ClinicianGate:   "for a clinician's consent",
	patch.PatientGate:     "for the patient's consent",
	patch.WindowGate:      "for its ward's maintenance window",
	patch.CapacityGate:    "for others of its ward to be done, or for a spare",
	patch.RingGate:        "for its ring's turn",
	patch.FreezeGate:      "because nothing is installed now",
}

// memberWord is how a device of a roll-out stands, with a shape of its own.
func memberWord(m *rollout.Member) (word, mood string) {
	switch {
	case m.Status == rollout.Finished && m.Outcome == patch.Installed:
		return "updated", "allow"
	case m.Status == rollout.Finished && m.Outcome == patch.Unable:
		return "cannot be updated", "track"
	case m.Status == rollout.Finished:
		return m.Outcome.String(), "deny"
	case m.Status == rollout.Silent:
		return "silent", "deny"
	case m.Status == rollout.Out:
		return "updating", "trackstar"
	case m.Status == rollout.Staging:
		return "getting ready", "trackstar"
	case m.Shut == patch.RingGate.Gates():
		return "not its turn", "track"
	}
	return "waiting", "hold"
}

// memberWords are those words, in the order of a bar.
var memberWords = []string{"updated", "updating", "getting ready", "waiting", "not its turn", "cannot be updated", "refused", "silent", "fell back", "settings lost", "loss of function"}

// updatesPage answers: what is on its way to which devices, and does it go well?
type updatesPage struct {
	frame    `json:"-"`
	Answer   string
	Mood     string
	Rollouts []rolloutLine
	Orders   []orderLine
	Unable   []unableLine
	Never    []neverLine
	Releases []releaseLine
	New      newRollout `json:"-"`
	Wrong    string
}

type rolloutLine struct {
	ID, Path, Product, Version, Status, Mood, By, Why string
	Devices, Updated, Ended, Out                      int
	Ring                                              string // that goes on
	Waits                                             string // for what most devices do
	Began                                             when
}

type orderLine struct {
	Rollout, Device, Name, Ward, Product, Version, Path string
	Begin                                               bool
	Until                                               when
}

type unableLine struct {
	Rollout, Device, Name, Ward, Version, Owner, Control, Why, Path string
	Review                                                          when
}

type neverLine struct {
	Rollout, Path, Product, Version, Release, Device, By, Why string
	Final                                                     bool
	At                                                        when
}

type releaseLine struct {
	Product, Version, Release, Urgency, Recall, Notes string
	Advisories                                        []string
	Told, Mended                                      when // FDA's clocks
	By                                                string
	Added                                             when
}

// A newRollout is what somebody typed.
type newRollout struct{ ID, Release, Plan, Reason string }

// rows are the roll-outs as CSV.
func (page *updatesPage) rows() [][]string {
	out := [][]string{{"id", "product", "version", "status", "by", "why", "devices", "updated", "ended", "out", "ring", "began"}}
	for _, l := range page.Rollouts {
		out = append(out, []string{l.ID, l.Product, l.Version, l.Status, l.By, l.Why, strconv.Itoa(l.Devices), strconv.Itoa(l.Updated), strconv.Itoa(l.Ended), strconv.Itoa(l.Out), l.Ring, l.Began.Machine})
	}
	return out
}

// statusMood is the shape of a roll-out's status.
var statusMood = map[string]string{"halted": "deny", "paused": "hold", "under way": "trackstar", "ended": "allow", "not begun": "track"}

func (p *Pages) rolloutLine(g *rollout.Progress) rolloutLine {
	l := rolloutLine{
		ID: g.ID, Path: rolloutPath(g.ID), Product: g.Product, Version: g.Version, Status: g.Status, Mood: statusMood[g.Status], By: g.By, Why: g.Why,
		Devices: g.Devices, Updated: g.Outcomes[patch.Installed], Ended: g.Ended, Out: g.Out, Began: p.whenever(g.Began),
	}
	for i := range g.Rings {
		if !g.Rings[i].Began.IsZero() {
			l.Ring = g.Rings[i].Name
		}
	}
	if len(g.Gates) > 0 && g.Status == "under way" {
		l.Waits = gateWords[g.Gates[0].Gate]
	}
	return l
}

// whenever is a time that may be none.
func (p *Pages) whenever(t time.Time) when {
	if t.IsZero() {
		return when{}
	}
	return p.when(t.UnixNano())
}

func rolloutPath(id string) string { return "/updates/" + url.PathEscape(id) }

func updatePath(id, device string) string {
	return rolloutPath(id) + "/devices/" + url.PathEscape(device)
}

// A namer looks up what people call devices.
type namer struct {
	p     *Pages
	ctx   context.Context
	names map[string]string
}

func (n *namer) of(id string) string {
	if n.names == nil {
		n.names = map[string]string{}
	}
	if _, ok := n.names[id]; !ok {
		n.names[id] = id
		if d, err := n.p.Store.Device(n.ctx, id); err == nil {
			n.names[id] = cut(d.Label, maxName)
		}
	}
	return n.names[id]
}

func (p *Pages) updates(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showUpdates(w, r, who, newRollout{}, nil)
}

func (p *Pages) showUpdates(w http.ResponseWriter, r *http.Request, who *access.Principal, typed newRollout, wrong *access.Error) error {
	ctx := r.Context()
	page := &updatesPage{frame: p.framed(r, who, "Updates"), New: typed}
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	names := namer{p: p, ctx: ctx}
	count := map[string]int{}
	for _, g := range p.Updates.List(who) {
		l := p.rolloutLine(&g)
		l.Why = p.named(l.Why, &names)
		page.Rollouts = append(page.Rollouts, l)
		count[l.Status]++
		if g.Outcomes[patch.Unable] == 0 || len(page.Unable) >= rolloutRows {
			continue
		}
		if err := p.Updates.View(who, g.ID, func(x *rollout.Rollout, _ time.Time) error {
			for m := range x.Members() {
				if m.Outcome == patch.Unable && len(page.Unable) < rolloutRows {
					page.Unable = append(page.Unable, unableLine{
						Rollout: g.ID, Device: m.Device, Ward: m.Ward, Version: g.Version, Owner: m.Owner, Control: m.Control, Why: m.Why, Path: updatePath(g.ID, m.Device), Review: p.whenever(m.Review),
					})
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for i := range page.Unable {
		page.Unable[i].Name = names.of(page.Unable[i].Device)
	}
	for _, o := range p.Updates.Orders(who) {
		if len(page.Orders) == rolloutRows {
			break
		}
		page.Orders = append(page.Orders, orderLine{o.Rollout, o.Device, names.of(o.Device), o.Ward, o.Product, o.Version, updatePath(o.Rollout, o.Device), o.Install, p.whenever(o.Expires)})
	}
	for _, h := range p.Updates.Never(who) {
		l := neverLine{h.Rollout, rolloutPath(h.Rollout), h.Product, h.Version, h.Release.String(), "", h.By, h.Why, h.Final, p.when(h.At)}
		if h.Device != "" {
			l.Device = names.of(h.Device)
		}
		page.Never = append(page.Never, l)
	}
	releases, err := p.Updates.Releases(ctx, who)
	if err != nil {
		return err
	}
	for i := range releases {
		rel := &releases[i]
		told, mended := rel.Clocks()
		page.Releases = append(page.Releases, releaseLine{
			Product: rel.Product(), Version: rel.Version, Release: rel.Envelope.String(), Urgency: rel.Urgency.String(), Recall: rel.Recall, Notes: rel.Notes, Advisories: rel.Advisories,
			Told: p.whenever(told), Mended: p.whenever(mended), By: rel.By, Added: p.whenever(rel.Added),
		})
	}
	page.Answer, page.Mood = "No update is on its way.", "allow"
	var parts []string
	for _, s := range []struct{ status, words string }{{"halted", "halted"}, {"paused", "paused"}, {"under way", "under way"}, {"not begun", "ready to begin"}} {
		if n := count[s.status]; n > 0 {
			parts = append(parts, plural(n, "roll-out")+" "+are(n)+" "+s.words+".")
			if len(parts) == 1 {
				page.Mood = statusMood[s.status]
			}
		}
	}
	if n := len(page.Orders); n > 0 {
		parts = append(parts, plural(n, "work order")+" "+are(n)+" open.")
	}
	if len(parts) > 0 {
		page.Answer = strings.Join(parts, " ")
	}
	return p.show(w, r, "updates", page)
}

func (p *Pages) createRollout(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	n := newRollout{strings.TrimSpace(r.PostFormValue("id")), r.PostFormValue("release"), strings.ReplaceAll(r.PostFormValue("plan"), "\r\n", "\n"), strings.TrimSpace(r.PostFormValue("reason"))}
	var d patch.Digest
	err := error(nil)
	if d.UnmarshalText([]byte(n.Release)) != nil || len(n.ID) > maxRolloutID {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Choose a release, and a short name. Nothing was begun."}
	} else {
		err = p.Updates.Create(r.Context(), who, n.ID, d, []byte(n.Plan), n.Reason)
	}
	return p.answer(w, r, err, "The roll-out is ready. Nothing is offered before it is started.", rolloutPath(n.ID), func(wrong *access.Error) error {
		return p.showUpdates(w, r, who, n, wrong)
	})
}

// rolloutPage answers: how far is it, what does it wait for, and is anybody harmed?
type rolloutPage struct {
	frame        `json:"-"`
	ID           string
	Answer, Lead string
	Mood         string
	Status       string
	By, Why      string
	Final        bool
	Progress     rollout.Progress
	Began        when
	Told, Mended when // until when FDA wants customers told, and devices mended
	Release      releaseLine
	Executor     string
	Rings        []ringPicture
	Waits        []waitLine
	Wide         []relaxable `json:"-"`
	Devices      []memberLine
	Total        int // of the list
	Filter       memberFilter
	Next         string
	JSON, Table  string
	Steps        []rolloutStep
	More         string
	CanStart     bool `json:"-"`
	CanPause     bool `json:"-"`
	CanHalt      bool `json:"-"`
	CanResume    bool `json:"-"`
	Wrong        string
	all          [][]string
}

// A ringPicture is a ring as a bar, and as dots where there are few devices.
type ringPicture struct {
	Name, State, Shows string
	Devices, Finished  int
	Wanted             int
	Began, Soaked      when
	Parts              []ringPart
	Dots               []memberLine `json:"-"`
	Path               string       // of its devices
}

// A ringPart is a piece of a bar of a width of 1000.
type ringPart struct {
	Word, Mood string
	Count      int
	Path       string
	X, Width   float64 `json:"-"`
}

type waitLine struct {
	Gate, Words, Path string
	Count             int
	Fixed             bool // nobody can relax it
}

// A memberLine is a device of a roll-out.
type memberLine struct {
	Device, Name, Ward, Ring, Path string
	Word, Mood, Why                string
	Waits                          patch.Gates
	Owner, Control, Dependency     string
	Clinician, Patient             bool // consents
	Ended                          when
}

// A memberFilter is which devices.
type memberFilter struct {
	Ring, State, Gate    string
	Rings, States, Gates []string `json:"-"`
	Set                  bool     `json:"-"`
}

func (f *memberFilter) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"ring": f.Ring, "state": f.State, "gate": f.Gate} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func (p *Pages) memberLine(id string, m *rollout.Member) memberLine {
	l := memberLine{
		Device: m.Device, Name: m.Device, Ward: m.Ward, Ring: m.Ring, Path: updatePath(id, m.Device), Why: m.Why, Waits: m.Shut, Owner: m.Owner, Control: m.Control,
		Dependency: m.Dependency, Clinician: m.Clinician, Patient: m.Patient, Ended: p.whenever(m.Ended),
	}
	l.Word, l.Mood = memberWord(m)
	return l
}

// rows are the devices as CSV.
func (page *rolloutPage) rows() [][]string { return page.all }

func (p *Pages) rollout(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showRollout(w, r, who, nil)
}

func (p *Pages) showRollout(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error) error {
	ctx := r.Context()
	id, csv := strings.CutSuffix(strings.TrimSuffix(r.PathValue("rollout"), ".json"), ".csv")
	if csv && !who.May(access.Export) {
		return store.ErrNotFound
	}
	page := &rolloutPage{frame: p.framed(r, who, id), ID: id}
	page.Live = p.Live != nil && who.May(access.SeeVerdicts)
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	get := func(name string) string { return strings.TrimSpace(r.URL.Query().Get(name)) }
	page.Filter = memberFilter{Ring: get("ring"), State: get("state"), Gate: get("gate"), States: memberWords}
	after, _ := strconv.Atoi(get("after"))
	if after < 0 {
		return store.ErrCursor
	}
	var gate patch.Gate
	if page.Filter.Gate != "" && gate.UnmarshalText([]byte(page.Filter.Gate)) != nil {
		return &access.Error{Status: http.StatusBadRequest, Text: "This list has no such filter: gate is one of those that can be chosen."}
	}
	page.Filter.Set = page.Filter.Ring+page.Filter.State+page.Filter.Gate != ""
	for g := patch.NoGate + 1; g <= patch.FreezeGate; g++ {
		page.Filter.Gates = append(page.Filter.Gates, g.String())
	}
	if csv {
		page.all = [][]string{{"device", "ward", "ring", "state", "waits for", "why", "owner", "control"}}
	}
	err := p.Updates.View(who, id, func(x *rollout.Rollout, _ time.Time) error {
		page.fill(p, x, who)
		counts := make([]map[string]int, len(page.Rings))
		ring := map[string]int{}
		for i := range page.Rings {
			ring[page.Rings[i].Name], counts[i] = i, map[string]int{}
		}
		for m := range x.Members() {
			l := p.memberLine(id, &m)
			g := ring[m.Ring]
			counts[g][l.Word]++
			if page.Rings[g].Devices <= rolloutDots {
				page.Rings[g].Dots = append(page.Rings[g].Dots, l)
			}
			f := &page.Filter
			if f.Ring != "" && f.Ring != m.Ring || f.State != "" && f.State != l.Word || gate != patch.NoGate && !l.Waits.Has(gate) {
				continue
			}
			page.Total++
			if csv && len(page.all) <= maxTable {
				page.all = append(page.all, []string{l.Device, l.Ward, l.Ring, l.Word, l.Waits.String(), l.Why, l.Owner, l.Control})
			}
			if page.Total > after && len(page.Devices) <= rolloutRows {
				page.Devices = append(page.Devices, l)
			}
		}
		for i := range page.Rings {
			page.Rings[i].draw(counts[i])
		}
		return nil
	})
	if err != nil {
		return err
	}
	names := namer{p: p, ctx: ctx}
	v := page.Filter.values()
	page.JSON, page.Table = rolloutPath(id)+".json?"+v.Encode(), rolloutPath(id)+".csv?"+v.Encode()
	if len(page.Devices) > rolloutRows {
		page.Devices = page.Devices[:rolloutRows]
		v.Set("after", strconv.Itoa(after+rolloutRows))
		page.Next = rolloutPath(id) + "?" + v.Encode()
	}
	for i := range page.Devices {
		l := &page.Devices[i]
		l.Name, l.Why = names.of(l.Device), p.named(l.Why, &names)
	}
	for i := range page.Rings {
		for k := range page.Rings[i].Dots {
			l := &page.Rings[i].Dots[k]
			l.Name, l.Why = names.of(l.Device), p.named(l.Why, &names)
		}
	}
	page.Why = p.named(page.Why, &names)
	page.say()
	if page.Wide, err = p.relaxables(who, id, ""); err != nil {
		return err
	}
	before, _ := strconv.ParseInt(get("before"), 10, 64)
	if page.Steps, page.More, err = p.steps(ctx, who, id, "", max(before, 0), &names); err != nil {
		return err
	}
	return p.show(w, r, "rollout", page)
}

var deviceID = lazyregexp.New(`\bdev-[a-z2-7]{16}\b`)

// named puts what people call devices in the place of their ids.
func (p *Pages) named(why string, names *namer) string {
	return deviceID().ReplaceAllStringFunc(why, names.of)
}

// fill takes over what a roll-out says of itself.
func (page *rolloutPage) fill(p *Pages, x *rollout.Rollout, who *access.Principal) {
	g, rel := x.Progress(), x.Release()
	page.Progress, page.Status, page.By, page.Why, page.Final, page.Began, page.Mood = g, g.Status, g.By, g.Why, g.Final, p.whenever(g.Began), statusMood[g.Status]
	page.Executor = x.Plan().Executor.String()
	told, mended := rel.Clocks()
	page.Release = releaseLine{
		Product: rel.Product(), Version: rel.Version, Release: rel.Envelope.String(), Urgency: rel.Urgency.String(), Recall: rel.Recall, Notes: rel.Notes, Advisories: rel.Advisories,
		Told: p.whenever(told), Mended: p.whenever(mended),
	}
	for i := range g.Rings {
		ring := &g.Rings[i]
		pic := ringPicture{
			Name: ring.Name, Devices: ring.Devices, Finished: ring.Finished, Wanted: ring.Wanted, Began: p.whenever(ring.Began), Soaked: p.whenever(ring.Soaked), Shows: ring.Shows,
			Path: rolloutPath(g.ID) + "?" + url.Values{"ring": {ring.Name}}.Encode(),
		}
		switch {
		case ring.Began.IsZero():
			pic.State = "has not begun"
		case ring.Soaked.IsZero():
			pic.State = fmt.Sprintf("%d of the %d that the next ring waits for are updated", ring.Finished, ring.Wanted)
		default:
			pic.State = "enough are updated; the next ring may begin"
		}
		page.Rings = append(page.Rings, pic)
		page.Filter.Rings = append(page.Filter.Rings, ring.Name)
	}
	for _, c := range g.Gates {
		if g.Status != "under way" { // then it is for that alone
			break
		}
		page.Waits = append(page.Waits, waitLine{c.Gate.String(), gateWords[c.Gate], rolloutPath(g.ID) + "?" + url.Values{"gate": {c.Gate.String()}}.Encode(), c.Count, !rollout.Relaxable(c.Gate)})
	}
	run, stop := who.May(access.RunUpdates), who.May(access.HaltUpdates)
	page.CanStart = run && g.Began.IsZero()
	page.CanResume = run && !g.Final && (g.Status == "halted" || g.Status == "paused")
	page.CanPause = stop && g.Status == "under way"
	page.CanHalt = stop && !g.Final && !g.Began.IsZero()
}

// draw makes a bar of a width of 1000.
func (g *ringPicture) draw(counts map[string]int) {
	x := 0.0
	for _, word := range memberWords {
		n := counts[word]
		if n == 0 {
			continue
		}
		mood := map[string]string{"updated": "allow", "updating": "trackstar", "getting ready": "trackstar", "waiting": "hold", "not its turn": "track", "cannot be updated": "track"}[word]
		part := ringPart{Word: word, Mood: cmp.Or(mood, "deny"), Count: n, Path: g.Path + "&" + url.Values{"state": {word}}.Encode(), X: x, Width: 1000 * float64(n) / float64(max(g.Devices, 1))}
		x += part.Width
		g.Parts = append(g.Parts, part)
	}
}

// say writes the sentence that answers the question.
func (page *rolloutPage) say() {
	g := &page.Progress
	done := g.Outcomes[patch.Installed]
	count := fmt.Sprintf("%d of %s %s updated", done, plural(g.Devices, "device"), are(done))
	switch page.Status {
	case "halted":
		page.Answer = "Halted: " + page.Why + "."
		if page.By != "" {
			page.Answer = "Halted by " + page.By + ": " + page.Why + "."
		}
		page.Lead = "Nothing more is offered, and what was offered is void. " + count + "."
		if g.Outcomes[patch.LostFunction]+g.Outcomes[patch.LostSettings]+g.Silent > 0 {
			page.Lead = "Go first to the patients whose devices lost something, or are silent. " + page.Lead
		}
		if page.Final {
			page.Lead += " This release is never offered again; its maker has to publish another."
		}
	case "paused":
		page.Answer, page.Lead = "Paused by "+page.By+": "+page.Why+".", "Nothing begins until somebody lets it go on. "+count+"."
	case "not begun":
		page.Answer, page.Lead = "Ready, and not begun.", "Nothing is offered before somebody starts it."
	case "ended":
		page.Answer, page.Lead = "It has ended: "+count+".", ""
	default:
		page.Answer = count + "."
		if g.Out > 0 {
			page.Answer += " " + plural(g.Out, "device") + " " + are(g.Out) + " being updated."
		}
		if len(page.Waits) > 0 {
			page.Lead = plural(page.Waits[0].Count, "device") + " " + map[bool]string{true: "waits", false: "wait"}[page.Waits[0].Count == 1] + " " + page.Waits[0].Words + "."
		}
	}
}

// A rolloutStep is an event of a roll-out.
type rolloutStep struct {
	Seq                    int64
	Kind, Name, Path, What string
	By, Why                string
	Ledger                 string // path of its entry
	At                     when
}

// steps are the events of a roll-out or of one device in it, the newest first, and the
// path of those before.
func (p *Pages) steps(ctx context.Context, who *access.Principal, id, device string, before int64, names *namer) (list []rolloutStep, more string, err error) {
	events, err := p.Updates.Events(ctx, who, id, device, before, rolloutSteps)
	if err != nil {
		return nil, "", err
	}
	for i := range events {
		e := &events[i]
		l := rolloutStep{Seq: e.Seq, Kind: strings.ReplaceAll(e.Kind.String(), "-", " "), By: e.Text(event.Actor), Why: p.named(e.Text(event.Reason), names), At: p.when(e.Time)}
		if e.Device != "" {
			l.Name, l.Path = names.of(e.Device), updatePath(id, e.Device)
		}
		if who.May(access.SeeLedger) && p.Ledger != nil {
			l.Ledger = rolloutPath(id) + "/steps/" + strconv.FormatInt(e.Seq, 10)
		}
		l.What = stepWords(&e.Event)
		list = append(list, l)
	}
	if len(events) == rolloutSteps {
		more = rolloutPath(id)
		if device != "" {
			more = updatePath(id, device)
		}
		more += "?before=" + strconv.FormatInt(events[len(events)-1].Seq, 10) + "#history"
	}
	return list, more, nil
}

// stepWords say what an event says, beside its kind, its reason and who did it.
func stepWords(e *event.Event) string {
	switch e.Kind {
	case event.RolloutStarted:
		return strings.Join([]string{e.Text(event.Manufacturer), e.Text(event.Model), e.Text(event.Version)}, " ")
	case event.RingOpened:
		return e.Text(event.Ring) + ", " + plural(int(e.Int(event.Count)), "device")
	case event.UpdateOffered:
		what := "to get ready"
		if e.Int(event.Install) != 0 {
			what = "to install"
		}
		if e.Text(event.Executor) == rollout.Person.String() {
			what += ", by a work order"
		}
		return e.Text(event.Version) + ", " + what
	case event.UpdateWaited:
		return e.Text(event.Gates)
	case event.ConsentGiven, event.ConsentWithdrawn:
		return "the " + e.Text(event.Consent) + "'s"
	case event.UpdateAttended:
		return e.Text(event.Attended)
	case event.UpdateOverridden:
		return e.Text(event.Gate) + ", with " + e.Text(event.Second)
	case event.UpdateEnded:
		return e.Text(event.Ended) + ", as a " + e.Text(event.Shown) + " shows"
	case event.UpdateShown:
		return e.Text(event.Version)
	case event.UpdateRuledOut:
		return e.Text(event.Owner) + " owns it; " + e.Text(event.Control) + " holds instead"
	case event.RolloutHalted:
		if e.Int(event.Final) != 0 {
			return "for good"
		}
	}
	return ""
}

// runRollout starts, pauses, halts a roll-out, or lets it go on.
func (p *Pages) runRollout(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	id, do, reason := r.PathValue("rollout"), r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], strings.TrimSpace(r.PostFormValue("reason"))
	err, said := error(nil), ""
	switch {
	case reason == "" || len(reason) > maxWhy:
		err = errReason
	case do == "start":
		err, said = p.Updates.Start(r.Context(), who, id, reason), "It has begun."
	case do == "pause":
		err, said = p.Updates.Pause(r.Context(), who, id, reason), "It pauses. Nothing more begins."
	case do == "resume":
		err, said = p.Updates.Resume(r.Context(), who, id, reason), "It goes on."
	default:
		err, said = p.Updates.Halt(r.Context(), who, id, reason, r.PostFormValue("final") != ""), "It is halted. What was offered is void; devices in the middle of an update finish it or go back, and say so."
	}
	return p.answer(w, r, err, said, rolloutPath(id), func(wrong *access.Error) error { return p.showRollout(w, r, who, wrong) })
}

// A relaxable is a gate that a plan lets people relax.
type relaxable struct {
	Gate, Words string
	By          []string // roles
	Most        string
	Asked       string // by whom already
	Self        bool   // that is who looks
}

// relaxables are the gates that the plan of a roll-out lets people relax.
func (p *Pages) relaxables(who *access.Principal, id, device string) (list []relaxable, err error) {
	if !who.May(access.RelaxUpdates) {
		return nil, nil
	}
	asked, err := p.Updates.Asked(who, id, device)
	if err != nil {
		return nil, err
	}
	err = p.Updates.View(who, id, func(x *rollout.Rollout, _ time.Time) error {
		for _, rule := range x.Plan().Relax {
			if x.Release().Urgency < rule.Urgency {
				continue
			}
			l := relaxable{Gate: rule.Gate.String(), Words: gateWords[rule.Gate], By: rule.By, Most: rule.Most.String(), Asked: asked[rule.Gate].Name}
			l.Self = l.Asked != "" && l.Asked == who.Person.Login
			list = append(list, l)
		}
		return nil
	})
	return list, err
}

func (p *Pages) relax(r *http.Request, who *access.Principal, device string) (said string, err error) {
	var g patch.Gate
	hours, wrong := strconv.Atoi(strings.TrimSpace(r.PostFormValue("hours")))
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	switch {
	case reason == "" || len(reason) > maxWhy:
		return "", errReason
	case g.UnmarshalText([]byte(r.PostFormValue("gate"))) != nil || wrong != nil || hours < 1 || hours > 24*366:
		return "", &access.Error{Status: http.StatusUnprocessableEntity, Text: "Choose a gate, and for how many hours. Nothing was done."}
	}
	done, err := p.Updates.Override(r.Context(), who, r.PathValue("rollout"), device, g, time.Duration(hours)*time.Hour, reason)
	if done {
		return "The gate " + g.String() + " is relaxed. Both names and the reason are in the ledger.", err
	}
	return "You asked for the gate " + g.String() + " to be relaxed. A second person has to ask for the same within an hour.", err
}

func (p *Pages) relaxRollout(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	said, err := p.relax(r, who, "")
	return p.answer(w, r, err, said, rolloutPath(r.PathValue("rollout")), func(wrong *access.Error) error { return p.showRollout(w, r, who, wrong) })
}

// stepInLedger leads to the entry of the ledger that a step is.
func (p *Pages) stepInLedger(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	seq, err := strconv.ParseInt(r.PathValue("step"), 10, 64)
	if err != nil || seq < 1 {
		return store.ErrNotFound
	}
	events, err := p.Updates.Events(r.Context(), who, r.PathValue("rollout"), "", seq+1, 1)
	if err != nil {
		return err
	}
	if len(events) == 0 || events[0].Seq != seq {
		return store.ErrNotFound
	}
	i, err := p.Ledger.find(&events[0].Event)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/ledger/"+strconv.FormatInt(i, 10), http.StatusSeeOther)
	return nil
}

var errNoEntry = &access.Error{Status: http.StatusNotFound, Text: "The ledger has not got this entry where its time says. Look through the ledger, or verify it."}
