// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// updatePage answers: what does this device wait for, and what can somebody do for it?
type updatePage struct {
	frame          `json:"-"`
	Rollout        string
	RolloutPath    string
	Device, Name   string
	DevicePath     string
	Answer         string
	Mood           string
	Status         string // of the roll-out
	Member         memberLine
	Waits          []waitNow // at this moment, by what the device said last
	Heard          when      // of when that is
	State          []fact    // what it said
	Release        releaseLine
	Demands        []fact
	Terms          string // version of the text that is consented to
	NeedsClinician bool
	NeedsPatient   bool
	Person         bool // somebody installs it, by a work order
	Order          bool // the order is out
	Begin          bool // and may be begun
	Begun          bool // it may have been, for all that is known
	Until          when
	Steps          []rolloutStep
	More           string
	Wrong          string

	Wide         []relaxable `json:"-"`
	Dependencies []string    `json:"-"` // words of the plan
	Supervisions []string    `json:"-"`
	Open         bool        `json:"-"` // its update has not ended
}

type waitNow struct {
	Gate, Why string
	Fixed     bool // nobody can relax it
}

func (p *Pages) update(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showUpdate(w, r, who, nil)
}

func (p *Pages) showUpdate(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error) error {
	ctx := r.Context()
	id, dev := r.PathValue("rollout"), strings.TrimSuffix(r.PathValue("device"), ".json")
	names := namer{p: p, ctx: ctx}
	page := &updatePage{frame: p.framed(r, who, names.of(dev)+" in "+id), Rollout: id, RolloutPath: rolloutPath(id), Device: dev, Name: names.of(dev)}
	page.Live = p.Live != nil && who.May(access.SeeVerdicts)
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	heard, err := p.Updates.Heard(ctx, dev)
	if err != nil {
		return err
	}
	waits, err := p.Updates.Waits(ctx, who, id, dev)
	if err != nil {
		return err
	}
	if err := p.Updates.View(who, id, func(x *rollout.Rollout, now time.Time) error {
		m, ok := x.Member(dev)
		if !ok {
			return store.ErrNotFound
		}
		page.fill(p, x, &m, waits, now)
		return nil
	}); err != nil {
		return err
	}
	page.Member.Name, page.Member.Why = page.Name, p.named(page.Member.Why, &names)
	for i := range page.Waits {
		page.Waits[i].Why = p.named(page.Waits[i].Why, &names)
	}
	if d, err := p.Store.Device(ctx, dev); err == nil && owns(who, &d.Device) {
		page.DevicePath = "/devices/" + url.PathEscape(dev)
	}
	if heard.State != nil {
		page.Heard = p.whenever(heard.At)
		page.State = stateFacts(heard.State)
	}
	page.say()
	if page.Wide, err = p.relaxables(who, id, dev); err != nil {
		return err
	}
	before, _ := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if page.Steps, page.More, err = p.steps(ctx, who, id, dev, max(before, 0), &names); err != nil {
		return err
	}
	return p.show(w, r, "update", page)
}

// fill takes over what a roll-out says of a device.
func (page *updatePage) fill(p *Pages, x *rollout.Rollout, m *rollout.Member, waits []patch.Wait, now time.Time) {
	plan, rel, d := x.Plan(), x.Release(), x.Demands()
	page.Member = p.memberLine(page.Rollout, m)
	page.Status = x.Progress().Status
	page.Mood = page.Member.Mood
	page.Open = m.Status != rollout.Finished
	page.Person = plan.Executor == rollout.Person
	page.Order = page.Person && page.Open && m.Offer > 0 && !m.Void
	page.Begun = page.Person && (m.Status == rollout.Out || m.Status == rollout.Silent)
	page.Begin = page.Order && m.Status == rollout.Out && m.Shut == 0 && now.Before(m.Expires)
	if page.Open && m.Status != rollout.Out && m.Status != rollout.Silent || page.Order && m.Shut != 0 {
		for _, w := range waits {
			page.Waits = append(page.Waits, waitNow{w.Gate.String(), w.Why, !rollout.Relaxable(w.Gate)})
		}
	}
	page.Release = releaseLine{Product: rel.Product(), Version: rel.Version, Release: rel.Envelope.String(), Urgency: rel.Urgency.String(), Recall: rel.Recall, Notes: rel.Notes, Advisories: rel.Advisories}
	page.Terms, page.NeedsClinician, page.NeedsPatient = plan.Consent.Terms, plan.Consent.Clinician, plan.Consent.Patient
	page.Until = p.whenever(m.Expires)
	for word := range plan.Backup {
		page.Dependencies = append(page.Dependencies, word)
	}
	slices.Sort(page.Dependencies)
	for s := patch.PatientPresent; s <= patch.InClinic; s++ {
		page.Supervisions = append(page.Supervisions, s.String())
	}
	add := func(name, text string) { page.Demands = append(page.Demands, fact{Name: name, Text: text}) }
	add("Who is there", d.Supervision.String())
	if d.Backup > 0 {
		keeps := "gives nothing"
		if k := (d.Keeps &^ patch.Never).List(); len(k) > 0 {
			words := make([]string, len(k))
			for i, a := range k {
				words[i] = a.Sentence()
			}
			keeps = "while " + strings.Join(words, ", and ")
		}
		add("Backup mode", "up to "+lasting(d.Backup)+"; it "+strings.Replace(keeps, "while ", "may be updated while ", 1))
	}
	add("Takes at most", lasting(d.Longest)+", the way back included")
	if d.Resume > 0 {
		add("Back within", lasting(d.Resume)+": therapy as before, settings equal, self-test passed")
	}
	if d.Battery > 0 {
		add("Battery", "at least "+strconv.Itoa(d.Battery)+" %")
	}
	if d.Longevity > 0 {
		add("Battery life", "at least "+strconv.Itoa(d.Longevity)+" days")
	}
	if d.Near {
		add("Wand", "on the body")
	}
	if d.Spare {
		add("Spare", "at hand")
	}
}

// lasting is a duration as people say it.
func lasting(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return plural(int(d.Hours()), "hour")
	case d%time.Minute == 0:
		return plural(int(d.Minutes()), "minute")
	}
	return d.String()
}

// stateFacts are what a device said of itself.
func stateFacts(s *patch.State) []fact {
	number := func(n int, unit string) string {
		if n < 0 {
			return "not known"
		}
		return strconv.Itoa(n) + unit
	}
	var doing []string
	for _, a := range s.Doing.List() {
		doing = append(doing, a.Sentence())
	}
	for _, a := range (patch.All &^ s.Known &^ s.Doing).List() {
		doing = append(doing, "it does not say whether "+a.Sentence())
	}
	if len(doing) == 0 {
		doing = []string{"nothing that an update would interrupt"}
	}
	list := []fact{{Name: "It does", Text: strings.Join(doing, "; ")}, {Name: "Runs", Text: s.Version + " on hardware " + s.Hardware}, {Name: "Battery", Text: number(s.Battery, " %")}}
	if s.Longevity >= 0 {
		list = append(list, fact{Name: "Battery life", Text: number(s.Longevity, " days")})
	}
	settings := "saved, and the same since"
	if s.Settings != s.Saved || s.Settings == (patch.Digest{}) {
		settings = "not saved, or changed since"
	}
	return append(list, fact{Name: "Connection", Text: number(s.Link, " %")}, fact{Name: "Settings", Text: settings})
}

// say writes the sentence that answers the question.
func (page *updatePage) say() {
	m := &page.Member
	switch {
	case m.Word == "updated":
		page.Answer = page.Name + " is updated to " + page.Release.Version + "."
	case m.Word == "cannot be updated":
		page.Answer = page.Name + " cannot be updated: " + m.Why + "."
	case m.Word == patch.LostFunction.String():
		page.Answer = page.Name + " has lost its function: " + m.Why + ". Go to the patient now."
	case m.Word == patch.LostSettings.String():
		page.Answer = page.Name + " has lost its settings: " + m.Why + ". Go to the patient now, and check each setting."
	case !page.Open:
		page.Answer = page.Name + ": " + m.Word + ", " + m.Why + "."
	case m.Word == "silent":
		page.Answer = page.Name + " has not said how its update went. Look at it now."
	case page.Begin:
		page.Answer = page.Name + " may be updated now, by a person."
	case page.Begun && len(page.Waits) > 0:
		page.Answer = "Do not update " + page.Name + " now: " + page.Waits[0].Why + ". If it was begun, say how it went."
	case page.Begun:
		page.Answer = "Do not update " + page.Name + " any more: the order is void, or its time is over. If it was begun, say how it went."
	case m.Word == "updating":
		page.Answer = page.Name + " is being updated."
	case len(page.Waits) > 0:
		page.Answer = page.Name + " waits: " + page.Waits[0].Why + "."
	default:
		page.Answer = page.Name + " waits for nothing: it is told to install when it asks next."
	}
}

// changed answers a form of a device in a roll-out.
func (p *Pages) changed(w http.ResponseWriter, r *http.Request, who *access.Principal, err error, said string) error {
	return p.answer(w, r, err, said, updatePath(r.PathValue("rollout"), r.PathValue("device")), func(wrong *access.Error) error { return p.showUpdate(w, r, who, wrong) })
}

// reasonOf is what somebody typed as a reason: none is fine where nobody needs one.
func reasonOf(r *http.Request, needed bool) (string, error) {
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	if len(reason) > maxWhy || needed && reason == "" {
		return "", errReason
	}
	return reason, nil
}

func (p *Pages) consentUpdate(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	whose := rollout.Clinician
	if r.PostFormValue("whose") == rollout.Patient.String() {
		whose = rollout.Patient
	}
	id, dev := r.PathValue("rollout"), r.PathValue("device")
	reason, err := reasonOf(r, false)
	said := "The " + whose.String() + "'s consent is recorded."
	switch {
	case err != nil:
	case strings.HasSuffix(r.URL.Path, "/withdraw"):
		err, said = p.Updates.Withdraw(r.Context(), who, id, dev, whose, reason), "The "+whose.String()+"'s consent is withdrawn. What was offered to the device is void, unless it has begun already."
	default:
		err = p.Updates.Consent(r.Context(), who, id, dev, whose, r.PostFormValue("terms"), reason)
	}
	return p.changed(w, r, who, err, said)
}

func (p *Pages) judgeUpdate(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	reason, err := reasonOf(r, false)
	word := strings.TrimSpace(r.PostFormValue("word"))
	if err == nil {
		err = p.Updates.Judge(r.Context(), who, r.PathValue("device"), word, reason)
	}
	return p.changed(w, r, who, err, "It is recorded how much the patient depends on the device.")
}

func (p *Pages) attendUpdate(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	var s patch.Supervision
	minutes, wrong := strconv.Atoi(strings.TrimSpace(r.PostFormValue("minutes")))
	err := error(nil)
	if s.UnmarshalText([]byte(r.PostFormValue("as"))) != nil || wrong != nil || minutes < 1 || minutes > 24*60 {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say who is there, and for how many minutes. Nothing was recorded."}
	} else {
		err = p.Updates.Attend(r.Context(), who, r.PathValue("rollout"), r.PathValue("device"), s, r.PostFormValue("spare") != "", time.Duration(minutes)*time.Minute)
	}
	return p.changed(w, r, who, err, "It is recorded that somebody is there.")
}

// reportUpdate takes in how it went, of the person who installed an update, or that a
// device came to harm after one.
func (p *Pages) reportUpdate(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	id, dev := r.PathValue("rollout"), r.PathValue("device")
	res := patch.Result{Before: patch.Digest{1}, After: patch.Digest{2}, Resumed: r.PostFormValue("resumed") != "", SelfTest: r.PostFormValue("self-test") != ""}
	if r.PostFormValue("settings") != "" {
		res.After = res.Before
	}
	var err error
	minutes := 0
	if s := strings.TrimSpace(r.PostFormValue("minutes")); s != "" {
		if minutes, err = strconv.Atoi(s); err != nil || minutes < 0 || minutes > 24*60 {
			err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "How long it took is a number of minutes. Nothing was recorded."}
		}
	}
	res.Took = time.Duration(minutes) * time.Minute
	if res.Outcome.UnmarshalText([]byte(r.PostFormValue("outcome"))) != nil {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say how it went. Nothing was recorded."}
	}
	if err == nil {
		res.Reason, err = reasonOf(r, res.Outcome != patch.Installed)
	}
	if err == nil {
		err = p.Updates.View(who, id, func(x *rollout.Rollout, _ time.Time) error {
			if res.Outcome == patch.Installed {
				res.Version = x.Release().Version
			}
			return nil
		})
	}
	said := "It is recorded. It counts as done once a sensor or a signed receipt shows the new version."
	if err == nil {
		if err = p.Updates.Report(r.Context(), who, id, dev, res); res.Outcome != patch.Installed {
			said = "It is recorded: " + res.Outcome.String() + "."
		}
	}
	return p.changed(w, r, who, err, said)
}

func (p *Pages) ruleOutUpdate(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	reason, err := reasonOf(r, true)
	owner, control := strings.TrimSpace(r.PostFormValue("owner")), strings.TrimSpace(r.PostFormValue("control"))
	var review time.Time
	if s := strings.TrimSpace(r.PostFormValue("review")); s != "" && err == nil {
		if review, err = time.Parse(time.DateOnly, s); err != nil {
			err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "The review is a day, such as 2027-03-01. Nothing was recorded."}
		}
	}
	if err == nil && (owner == "" || control == "" || len(owner) > maxName || len(control) > maxWhy) {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say who owns it, and what protects the device instead. Nothing was recorded."}
	}
	if err == nil {
		err = p.Updates.RuleOut(r.Context(), who, r.PathValue("rollout"), r.PathValue("device"), owner, control, reason, review)
	}
	return p.changed(w, r, who, err, "It is recorded that the device cannot be updated, who owns that, and what protects it instead.")
}

func (p *Pages) relaxUpdate(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	said, err := p.relax(r, who, r.PathValue("device"))
	return p.changed(w, r, who, err, said)
}

// deviceUpdates are the roll-outs that a device takes part in, the newest first.
func (p *Pages) deviceUpdates(ctx context.Context, page *devicePage, who *access.Principal) error {
	if p.Updates == nil {
		return nil
	}
	names := namer{p: p, ctx: ctx}
	for _, g := range p.Updates.List(who) {
		err := p.Updates.View(who, g.ID, func(x *rollout.Rollout, _ time.Time) error {
			m, ok := x.Member(page.ID)
			if !ok {
				return nil
			}
			l := deviceUpdate{Rollout: g.ID, Version: g.Version, Status: g.Status, Line: p.memberLine(g.ID, &m)}
			l.Line.Name = page.Name
			page.Rollouts = append(page.Rollouts, l)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range page.Rollouts {
		page.Rollouts[i].Line.Why = p.named(page.Rollouts[i].Line.Why, &names)
	}
	return nil
}

// A deviceUpdate is a roll-out that a device takes part in.
type deviceUpdate struct {
	Rollout, Version, Status string
	Line                     memberLine
}

// find returns the number of the entry that an event is. The ledger is in the order of
// time, but for what several wrote at once.
func (l *Ledger) find(e *event.Event) (int64, error) {
	r, err := l.read()
	if err != nil {
		return 0, err
	}
	var wrong error
	size := r.Checkpoint.Size
	from := int64(sort.Search(int(size), func(i int) bool {
		late := false
		err := r.Entries(int64(i), int64(i)+1, func(_ int64, entry []byte) error {
			x, err := event.Parse(entry)
			late = err == nil && x.Time >= e.Time-int64(time.Minute)
			return nil
		})
		wrong = errors.Join(wrong, err)
		return late
	}))
	if wrong != nil {
		return 0, wrong
	}
	want, found := event.Append(nil, e), int64(-1)
	err = r.Entries(from, min(size, from+entryScan), func(i int64, entry []byte) error {
		if found < 0 && bytes.Equal(entry, want) {
			found = i
		}
		return nil
	})
	if err == nil && found < 0 {
		err = errNoEntry
	}
	return found, err
}
