// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// A guardNow is a guard, and what it said last of what holds there.
type guardNow struct {
	ID, Name, Site string
	Seen           int64
	Said           int64        // when; 0: never, or nothing that can be read
	State          *guard.State // never nil
}

// guardsNow are all guards that were not revoked, by name, and the names of all that
// ever sent anything.
func (p *Pages) guardsNow(ctx context.Context) (list []guardNow, names map[string]string, err error) {
	sensors, err := p.Store.Sensors(ctx)
	if err != nil {
		return nil, nil, err
	}
	states, err := p.Store.GuardStates(ctx)
	if err != nil {
		return nil, nil, err
	}
	names = map[string]string{}
	for _, s := range sensors {
		names[s.ID] = cmp.Or(s.Name, s.ID)
		if s.Kind != "guard" || s.Revoked != 0 {
			continue
		}
		g := guardNow{ID: s.ID, Name: names[s.ID], Site: s.Site, Seen: s.Seen, State: &guard.State{}}
		if i := slices.IndexFunc(states, func(x store.GuardState) bool { return x.Guard == s.ID }); i >= 0 {
			if state, err := guard.ParseState(states[i].Doc); err == nil {
				g.State, g.Said = state, states[i].At
			} else {
				g.State.Trouble = []string{"what it says cannot be read: is it of another version?"}
			}
		}
		list = append(list, g)
	}
	return list, names, nil
}

// A guardLine is how a guard does.
type guardLine struct {
	ID, Name, Page    string
	Devices, Enforces int
	Confirms          bool // clinicians here decide for it
	Silent            bool
	Seen              when
	Trouble           []string
}

// well reports whether nobody has to look after a guard.
func (l *guardLine) well() bool { return !l.Silent && len(l.Trouble) == 0 }

func (p *Pages) guardLine(g *guardNow) guardLine {
	l := guardLine{
		ID: g.ID, Name: g.Name, Page: pageOf(g.State.Page), Devices: len(g.State.Devices), Confirms: g.State.Confirms,
		Silent: p.Now().UnixNano()-g.Seen > int64(silent), Seen: p.when(g.Seen), Trouble: g.State.Trouble,
	}
	for i := range g.State.Devices {
		if g.State.Devices[i].Enforcing {
			l.Enforces++
		}
	}
	return l
}

// pageOf is the address of a guard's own page, if it is one that a browser may be sent to.
func pageOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}

// An envelopeLine is whose limits hold for a device.
type envelopeLine struct {
	Guard, GuardName, Device, Therapy, Harm, Drug string
	Name                                          string // of the envelope; "": there is none
	Version                                       int
	Author, Approver                              string // as the file says: "mh (prescriber)"
	Risk, Manufacturer                            string
	Limits                                        []string
	Enforcing                                     bool
	Because                                       string // it is only observed
	Since                                         when
	State, Rate, NotCounted, ClockDoubt           string
	Reported                                      when
	Sums                                          []guard.SumState
	Said                                          when // by the guard
	Digest                                        string
	Approvals                                     []approvalLine // of this file, here
	Before                                        []approvalLine // of other versions
	Path                                          string

	author string
}

type approvalLine struct {
	Person, Role, Reason, Digest string
	At                           when
}

// personWord is a person as an envelope names one.
func personWord(id, role string) string {
	if id == "" || role == "" {
		return id
	}
	return id + " (" + role + ")"
}

func (p *Pages) envelopeLine(g *guardNow, d *guard.DeviceState, approvals []store.Approval) envelopeLine {
	l := envelopeLine{
		Guard: g.ID, GuardName: g.Name, Device: d.ID, Therapy: d.Therapy, Harm: d.Harm, Drug: d.Drug, Name: d.Envelope, Version: d.Version,
		Author: personWord(d.Author, d.AuthorRole), Approver: personWord(d.Approver, d.ApproverRole), Risk: d.Risk, Manufacturer: d.Manufacturer, Limits: d.Limits,
		Enforcing: d.Enforcing, Because: d.Because, Since: p.when(d.Since.UnixNano()), State: strings.ReplaceAll(d.State, "-", " "), Rate: d.Rate, NotCounted: d.NotCounted, ClockDoubt: d.ClockDoubt,
		Sums: d.Sums, Said: p.when(g.Said), Digest: d.Digest, Path: "/guard/" + url.PathEscape(g.ID) + "/limits/" + url.PathEscape(d.ID), author: d.Author,
	}
	if d.Since.IsZero() {
		l.Since = when{}
	}
	if !d.Reported.IsZero() {
		l.Reported = p.when(d.Reported.UnixNano())
	}
	for _, a := range approvals {
		if a.Guard != g.ID || a.Device != d.ID {
			continue
		}
		line := approvalLine{a.Person, a.Role, a.Reason, a.Digest, p.when(a.At)}
		if a.Digest == d.Digest && d.Digest != "" {
			l.Approvals = append(l.Approvals, line)
		} else {
			l.Before = append(l.Before, line)
		}
	}
	return l
}

// pictures draw what was given to devices, some of them.
func pictures(now time.Time, lines []envelopeLine, most int) (list []*guard.Picture) {
	for i := range lines {
		for k := range lines[i].Sums {
			s := &lines[i].Sums[k]
			if len(s.Hour) == 0 || len(list) == most {
				continue
			}
			pic := s.Picture(lines[i].Device, now)
			pic.ID = strconv.Itoa(i) + "-" + strconv.Itoa(k)
			list = append(list, pic)
		}
	}
	return list
}

// limitsPage has the limits of a device, and asks a clinician whether they are right.
type limitsPage struct {
	frame    `json:"-"`
	Limits   envelopeLine
	Pictures []*guard.Picture `json:"-"`
	Approve  bool             // who looks may, and has not yet
	Done     bool             // has
	Self     bool             // wrote them
	Role     string
	Recent   []verdictLine // of the device
}

// limitsOf are the limits under the path of a request.
func (p *Pages) limitsOf(r *http.Request) (*envelopeLine, map[string]string, error) {
	guards, names, err := p.guardsNow(r.Context())
	if err != nil {
		return nil, nil, err
	}
	for i := range guards {
		for k := range guards[i].State.Devices {
			g, d := &guards[i], &guards[i].State.Devices[k]
			if g.ID != r.PathValue("guard") || d.ID != r.PathValue("device") {
				continue
			}
			approvals, err := p.Store.Approvals(r.Context(), g.ID, d.ID)
			if err != nil {
				return nil, nil, err
			}
			l := p.envelopeLine(g, d, approvals)
			return &l, names, nil
		}
	}
	return nil, nil, store.ErrNotFound
}

func (p *Pages) limits(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	l, names, err := p.limitsOf(r)
	if err != nil {
		return err
	}
	page := &limitsPage{frame: p.framed(r, who, "Limits of "+cut(l.Device, maxName)), Limits: *l, Pictures: pictures(p.Now(), []envelopeLine{*l}, 16), Role: who.Person.Clinical}
	page.Done = slices.ContainsFunc(l.Approvals, func(a approvalLine) bool { return a.Person == who.Person.Login })
	page.Self = strings.EqualFold(l.author, who.Person.Login)
	page.Approve = who.May(access.ApproveEnvelopes) && who.Person.Clinical != "" && l.Digest != "" && !page.Done && !page.Self
	list, err := p.Store.Verdicts(r.Context(), store.VerdictQuery{Guard: l.Guard, Device: l.Device, Page: store.Page{Limit: 20}})
	if err != nil {
		return err
	}
	for i := range list.Rows {
		page.Recent = append(page.Recent, p.verdictLine(&list.Rows[i], names))
	}
	return p.show(w, r, "limits", page)
}

// approve records that a clinician says that limits are right. At the guard its file
// counts: nothing changes there.
func (p *Pages) approve(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	l, _, err := p.limitsOf(r)
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	switch {
	case l.Digest == "" || r.PostFormValue("what") != l.Digest:
		return &access.Error{Status: http.StatusConflict, Text: "The limits that hold now are not those that were on your screen. Nothing was done; look again."}
	case who.Person.Clinical == "":
		return errNotClinical
	case strings.EqualFold(l.author, who.Person.Login):
		return &access.Error{Status: http.StatusForbidden, Text: "You wrote these limits; another clinician has to approve them."}
	case reason == "" || len(reason) > maxWhy:
		return errReason
	}
	a := &store.Approval{Guard: l.Guard, Device: l.Device, Digest: l.Digest, Person: who.Person.Login, Role: who.Person.Clinical, Reason: store.Text(reason), At: p.Now().UnixNano()}
	words := fmt.Sprintf("%s version %d for %s", l.Name, l.Version, l.Device)
	err = p.Access.Act(who.Person.Login, "approve limits", l.Guard+": "+words+", file "+cut(l.Digest, 64), reason, func() (int, error) { return 1, p.Store.Approve(r.Context(), a) })
	if errors.Is(err, store.ErrConflict) {
		return &access.Error{Status: http.StatusConflict, Text: "You have approved these limits already."}
	}
	if err != nil {
		return err
	}
	p.Access.Say(r.Context(), "You approved "+words+".", "")
	http.Redirect(w, r, l.Path, http.StatusSeeOther)
	return nil
}
