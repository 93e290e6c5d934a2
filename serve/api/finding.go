// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// A Finding as programs are told of it.
type Finding struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`
	Title      string     `json:"title"`
	Decision   string     `json:"decision"`
	Harm       string     `json:"harm"`
	State      string     `json:"state"`
	Assignee   string     `json:"assignee"`
	Reason     string     `json:"reason,omitempty" doc:"of the state, in an export"`
	Why        string     `json:"justification,omitempty" doc:"of false-positive and mitigated, in the words of OpenVEX, in an export"`
	Device     string     `json:"device"`
	Label      string     `json:"label"`
	Ward       string     `json:"ward"`
	Site       string     `json:"site"`
	Product    string     `json:"product"`
	Component  string     `json:"component"`
	Protocol   string     `json:"protocol"`
	CVE        []string   `json:"cve" nullable:"false"`
	Advisories []string   `json:"advisories" nullable:"false"`
	KEV        bool       `json:"kev"`
	EPSS       float64    `json:"epss"`
	Certainty  string     `json:"certainty"`
	SSVC       SSVC       `json:"ssvc"`
	Count      uint64     `json:"count"`
	First      *time.Time `json:"first,omitempty"`
	Last       *time.Time `json:"last,omitempty"`
	Changed    *time.Time `json:"changed,omitempty"`
	Sightings  []Sighting `json:"sightings" nullable:"false"`
	Advice     string     `json:"advice"`
	History    []Step     `json:"history,omitempty" doc:"of a single finding, the newest first"`
}

// SSVC are the answers behind the decision.
type SSVC struct {
	Exploitation     string `json:"exploitation"`
	Automatable      string `json:"automatable"`
	TechnicalImpact  string `json:"technical_impact"`
	MissionWellBeing string `json:"mission_well_being"`
	Exposure         string `json:"exposure"`
	HumanImpact      string `json:"human_impact"`
	Action           string `json:"deployer"`
}

// A Sighting is a place to look.
type Sighting struct {
	Time    *time.Time `json:"time,omitempty"`
	Capture string     `json:"capture,omitempty" doc:"of the sensor: an interface, or the name of a file"`
	Packet  uint64     `json:"packet,omitempty"`
	Offset  int        `json:"offset,omitempty"`
	Note    string     `json:"note"`
}

// A Step of the history.
type Step struct {
	ID            int64      `json:"id"`
	Time          *time.Time `json:"time"`
	By            string     `json:"by"`
	What          string     `json:"what"`
	From          string     `json:"from,omitempty"`
	To            string     `json:"to,omitempty"`
	Reason        string     `json:"reason,omitempty"`
	Justification string     `json:"justification,omitempty"`
	Undoes        int64      `json:"undoes,omitempty"`
	Triage        int64      `json:"triage,omitempty" doc:"the number by which it can be undone"`
}

// FindingOf is a finding of the store as programs are told of it.
func FindingOf(f *store.Finding) Finding {
	out := Finding{
		ID: f.ID, Kind: f.Kind.String(), Title: f.Title, Decision: f.Decision.String(), Harm: f.Harm.String(), State: f.State, Assignee: f.Assignee, Reason: f.Reason, Why: f.Justification,
		Device: f.Device, Label: f.DeviceName, Ward: f.Ward, Site: f.Site, Product: f.Product, Component: f.Component, Protocol: f.Protocol,
		CVE: append([]string{}, f.CVE...), Advisories: append([]string{}, f.Advisories...), KEV: f.KEV, EPSS: f.EPSS, Certainty: f.Certainty,
		SSVC:  SSVC{f.SSVC.Exploitation, f.SSVC.Automatable, f.SSVC.TechnicalImpact, f.SSVC.MissionWellBeing, f.SSVC.Exposure, f.SSVC.HumanImpact, f.SSVC.Action},
		Count: f.Count, First: at(f.First), Last: at(f.Last), Changed: at(f.Changed), Sightings: []Sighting{}, Advice: f.Advice,
	}
	for _, s := range f.Sightings {
		out.Sightings = append(out.Sightings, Sighting{at(s.Time), s.Capture, s.Packet, s.Offset, s.Note})
	}
	return out
}

type oneFinding struct {
	ETag string `header:"ETag"`
	Body Finding
}

func (a *API) tellFinding(ctx context.Context, who *access.Principal, id string) (*oneFinding, error) {
	f, steps, err := a.Store.Finding(ctx, id)
	if err != nil {
		return nil, err
	}
	if who.Products() != nil && !who.Sees(f.Product) {
		if f.Device == "" {
			return nil, store.ErrNotFound
		}
		if _, err := a.ownDevice(ctx, who, f.Device); err != nil {
			return nil, err
		}
	}
	out := &oneFinding{Body: FindingOf(f)}
	for _, s := range steps {
		out.Body.History = append(out.Body.History, Step{s.ID, at(s.At), s.By, s.What, s.From, s.To, s.Reason, s.Justification, s.Undoes, s.Bulk})
	}
	out.ETag = etag(f.Version, &out.Body)
	return out, nil
}

// A Decision is what somebody decided about findings.
type Decision struct {
	State         string  `json:"state,omitempty" enum:"open,acknowledged,mitigated,fixed,false-positive"`
	Assignee      *string `json:"assignee,omitempty" maxLength:"100" doc:"login; empty is nobody"`
	Comment       string  `json:"comment,omitempty" maxLength:"10000"`
	Reason        string  `json:"reason,omitempty" maxLength:"2000" doc:"needed to close a finding"`
	Justification string  `json:"justification,omitempty" enum:"component_not_present,vulnerable_code_not_present,vulnerable_code_not_in_execute_path,vulnerable_code_cannot_be_controlled_by_adversary,inline_mitigations_already_exist" doc:"of OpenVEX; needed for false-positive and mitigated"`
}

// triage turns a decision into one of the store.
func (a *API) triage(ctx context.Context, who *access.Principal, d *Decision) (store.Triage, error) {
	t := store.Triage{State: d.State, Assignee: d.Assignee, Comment: strings.TrimSpace(d.Comment), Reason: strings.TrimSpace(d.Reason), Justification: d.Justification, By: who.Person.Login}
	vex := d.State == store.FalsePositive || d.State == store.Mitigated
	switch {
	case t.State == "" && t.Assignee == nil && t.Comment == "":
		return t, huma.Error422UnprocessableEntity("say a state, an assignee or a comment")
	case (vex || t.State == store.Fixed) && t.Reason == "":
		return t, huma.Error422UnprocessableEntity("say the reason")
	case vex != (t.Justification != ""):
		return t, huma.Error422UnprocessableEntity("a justification belongs to false-positive and mitigated, and to nothing else")
	}
	if t.Assignee != nil && *t.Assignee != "" {
		p, err := a.Store.Person(ctx, *t.Assignee)
		if errors.Is(err, store.ErrNotFound) || err == nil && p.Disabled {
			return t, huma.Error422UnprocessableEntity("there is nobody of this login")
		} else if err != nil {
			return t, err
		}
	}
	return t, nil
}

// acted does a triage, and writes it into the ledger.
func (a *API) acted(ctx context.Context, t store.Triage, target string) (bulk int64, n int, err error) {
	err = a.Access.Act(t.By, strings.TrimSpace("triage "+t.State), target, t.Reason, func() (_ int, err error) {
		bulk, n, err = a.Store.Triage(ctx, t)
		return n, err
	})
	return bulk, n, err
}

type counted struct {
	Body struct {
		Triage  int64 `json:"triage,omitempty" doc:"the number by which it can be undone"`
		Changed int   `json:"changed"`
		Left    int   `json:"left,omitempty" doc:"left as they are, as somebody changed them since"`
	}
}

func (a *API) findings() {
	add(a, operation{id: "list-findings", method: http.MethodGet, path: "/findings", needs: access.SeeDevices, says: "Findings, the most urgent first"},
		func(ctx context.Context, who *access.Principal, in *struct {
			Page
			Q        string    `query:"q" maxLength:"200" doc:"words"`
			State    []string  `query:"state,explode" maxItems:"50"`
			Decision []string  `query:"decision,explode" maxItems:"50"`
			Harm     []string  `query:"harm,explode" maxItems:"50"`
			Kind     []string  `query:"kind,explode" maxItems:"50"`
			Ward     []string  `query:"ward,explode" maxItems:"50"`
			Site     []string  `query:"site,explode" maxItems:"50"`
			Device   []string  `query:"device,explode" maxItems:"50"`
			Assignee string    `query:"assignee" maxLength:"100"`
			CVE      string    `query:"cve" maxLength:"100"`
			Since    time.Time `query:"since" doc:"new or changed since"`
			Sort     string    `query:"sort" enum:"urgency,last,first,device,kind"`
		},
		) (*listed[Finding], error) {
			q := store.FindingQuery{
				Page: in.Page.of(), Words: in.Q, State: in.State, Decision: in.Decision, Harm: in.Harm, Kind: in.Kind, Ward: in.Ward, Site: in.Site, Device: in.Device,
				Assignee: in.Assignee, CVE: in.CVE, Sort: in.Sort, Products: who.Products(),
			}
			if !in.Since.IsZero() {
				q.Since = in.Since.UnixNano()
			}
			l, err := a.Store.Findings(ctx, q)
			if err != nil {
				return nil, err
			}
			return listOf(l, FindingOf), nil
		})
	add(a, operation{id: "get-finding", method: http.MethodGet, path: "/findings/{id}", needs: access.SeeDevices, says: "A finding with its history"},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID          string `path:"id" maxLength:"200"`
			IfNoneMatch string `header:"If-None-Match"`
		},
		) (*oneFinding, error) {
			out, err := a.tellFinding(ctx, who, in.ID)
			if err != nil {
				return nil, err
			}
			return out, unchanged(in.IfNoneMatch, out.ETag)
		})
	add(a, operation{id: "triage-finding", method: http.MethodPost, path: "/findings/{id}/triage", needs: access.TriageFindings, says: "Decide about a finding", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID      string `path:"id" maxLength:"200"`
			IfMatch string `header:"If-Match"`
			Body    Decision
		},
		) (*oneFinding, error) {
			version, err := matched(in.IfMatch)
			if err != nil {
				return nil, err
			}
			t, err := a.triage(ctx, who, &in.Body)
			if err != nil {
				return nil, err
			}
			t.IDs, t.Version = []string{in.ID}, version
			if _, _, err := a.acted(ctx, t, in.ID); err != nil {
				return nil, err
			}
			return a.tellFinding(ctx, who, in.ID)
		})
	add(a, operation{id: "triage-findings", method: http.MethodPost, path: "/triages", needs: access.TriageFindings, says: "Decide about many findings, all or none", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Body struct {
				Decision
				IDs []string `json:"ids" minItems:"1" maxItems:"1000" nullable:"false"`
			}
		},
		) (*counted, error) {
			t, err := a.triage(ctx, who, &in.Body.Decision)
			if err != nil {
				return nil, err
			}
			t.IDs = in.Body.IDs
			out := &counted{}
			out.Body.Triage, out.Body.Changed, err = a.acted(ctx, t, "chosen findings")
			return out, err
		})
	add(a, operation{id: "undo-triage", method: http.MethodPost, path: "/triages/{number}/undo", needs: access.TriageFindings, says: "Put back what a triage changed and nobody changed since", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Number int64 `path:"number"`
		},
		) (*counted, error) {
			out := &counted{}
			err := a.Access.Act(who.Person.Login, "undo triage", "triage "+strconv.FormatInt(in.Number, 10), "", func() (_ int, err error) {
				out.Body.Changed, out.Body.Left, err = a.Store.UndoTriage(ctx, in.Number, who.Person.Login, "")
				return out.Body.Changed, err
			})
			return out, err
		})
}
