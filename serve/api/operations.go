// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/store"
)

// A Device as programs are told of it. Identities of what is in or on a body are not
// among what the store has in clear.
type Device struct {
	ID           string     `json:"id"`
	Label        string     `json:"label"`
	Name         string     `json:"name"`
	Site         string     `json:"site"`
	Ward         string     `json:"ward"`
	Owner        string     `json:"owner"`
	Criticality  string     `json:"criticality"`
	Notes        string     `json:"notes"`
	Manufacturer string     `json:"manufacturer"`
	Model        string     `json:"model"`
	Version      string     `json:"version"`
	Therapy      string     `json:"therapy"`
	Harm         string     `json:"harm"`
	Medical      bool       `json:"medical"`
	Addresses    []Address  `json:"addresses" nullable:"false"`
	First        *time.Time `json:"first,omitempty"`
	Last         *time.Time `json:"last,omitempty"`
	Worst        string     `json:"worst" doc:"decision of the most urgent open finding"`
	Act          int        `json:"act"`
	Attend       int        `json:"attend"`
	TrackStar    int        `json:"track_star"`
	Track        int        `json:"track"`
	MergedInto   string     `json:"merged_into,omitempty"`
}

// An Address is one of a device's.
type Address struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

func deviceOf(d *store.Device) Device {
	out := Device{
		ID: d.ID, Label: d.Label, Name: d.Name, Site: d.Site, Ward: d.Ward, Owner: d.Owner, Criticality: d.Criticality, Notes: d.Notes,
		Manufacturer: d.Manufacturer, Model: d.Model, Version: d.Version, Therapy: d.Therapy.String(), Harm: d.Harm.String(), Medical: d.Medical, Addresses: []Address{},
		First: at(d.First), Last: at(d.Last), Worst: d.Worst, Act: d.Act, Attend: d.Attend, TrackStar: d.TrackStar, Track: d.Track, MergedInto: d.Into,
	}
	for _, a := range d.Addresses {
		out.Addresses = append(out.Addresses, Address{a.Kind.String(), a.Value})
	}
	return out
}

type oneDevice struct {
	ETag string `header:"ETag"`
	Body Device
}

func tellDevice(d *store.Device) *oneDevice {
	out := deviceOf(d)
	return &oneDevice{etag(d.Edition, &out), out}
}

func (a *API) ownDevice(ctx context.Context, who *access.Principal, id string) (*store.Device, error) {
	d, err := a.Store.Device(ctx, id)
	if err == nil && !who.Sees(strings.TrimSpace(d.Manufacturer+" "+d.Model)) {
		return nil, store.ErrNotFound
	}
	return d, err
}

func (a *API) devices() {
	add(a, operation{id: "list-devices", method: http.MethodGet, path: "/devices", needs: access.SeeDevices, says: "Devices, the most urgent first"},
		func(ctx context.Context, who *access.Principal, in *struct {
			Page
			Q        string `query:"q" maxLength:"200" doc:"words"`
			Site     string `query:"site" maxLength:"1000"`
			Ward     string `query:"ward" maxLength:"1000"`
			Therapy  string `query:"therapy" maxLength:"100"`
			Harm     string `query:"harm" maxLength:"100"`
			Decision string `query:"decision" enum:"track,track*,attend,act"`
			Medical  bool   `query:"medical"`
			Sort     string `query:"sort" enum:"urgency,name,last,ward"`
		},
		) (*listed[Device], error) {
			l, err := a.Store.Devices(ctx, store.DeviceQuery{Page: in.Page.of(), Words: in.Q, Site: in.Site, Ward: in.Ward, Therapy: in.Therapy, Harm: in.Harm, Decision: in.Decision, Medical: in.Medical, Sort: in.Sort, Products: who.Products()})
			if err != nil {
				return nil, err
			}
			return listOf(l, deviceOf), nil
		})
	type one struct {
		ID          string `path:"id" maxLength:"200"`
		IfNoneMatch string `header:"If-None-Match"`
	}
	add(a, operation{id: "get-device", method: http.MethodGet, path: "/devices/{id}", needs: access.SeeDevices, says: "A device"},
		func(ctx context.Context, who *access.Principal, in *one) (*oneDevice, error) {
			d, err := a.ownDevice(ctx, who, in.ID)
			if err != nil {
				return nil, err
			}
			out := tellDevice(d)
			return out, unchanged(in.IfNoneMatch, out.ETag)
		})
	add(a, operation{id: "edit-device", method: http.MethodPatch, path: "/devices/{id}", needs: access.EditDevices, says: "What people say of a device", once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID      string `path:"id" maxLength:"200"`
			IfMatch string `header:"If-Match"`
			Body    struct {
				Name        *string `json:"name,omitempty" maxLength:"200"`
				Ward        *string `json:"ward,omitempty" maxLength:"200"`
				Owner       *string `json:"owner,omitempty" maxLength:"200"`
				Criticality *string `json:"criticality,omitempty" enum:",low,high,life-sustaining"`
				Notes       *string `json:"notes,omitempty" maxLength:"10000"`
				Reason      string  `json:"reason,omitempty" maxLength:"2000"`
			}
		},
		) (*oneDevice, error) {
			version, err := matched(in.IfMatch)
			if err != nil {
				return nil, err
			}
			b := &in.Body
			if err := a.Access.Act(who.Person.Login, "edit device", in.ID, b.Reason, func() (int, error) {
				return 1, a.Store.EditDevice(ctx, store.DeviceEdit{ID: in.ID, Version: version, Name: b.Name, Ward: b.Ward, Owner: b.Owner, Criticality: b.Criticality, Notes: b.Notes, By: who.Person.Login, Why: b.Reason})
			}); err != nil {
				return nil, err
			}
			d, err := a.Store.Device(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return tellDevice(d), nil
		})
}

// A Verdict is what a guard decided.
type Verdict struct {
	Number  int64      `json:"number"`
	Guard   string     `json:"guard"`
	Time    *time.Time `json:"time"`
	Kind    string     `json:"kind"`
	Device  string     `json:"device"`
	Verdict string     `json:"verdict,omitempty"`
	Verb    string     `json:"verb,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Actor   string     `json:"actor,omitempty"`
}

func verdictOf(v *store.Verdict) Verdict {
	return Verdict{v.Seq, v.Guard, at(v.Time), v.Kind.String(), v.Event.Device.Value, device.Verdict(v.Int(event.Verdict)).String(), device.Verb(v.Int(event.Verb)).String(), v.Text(event.Reason), v.Text(event.Actor)}
}

// A Held command waits for a clinician, who confirms it in person and not by a token.
type Held struct {
	Guard   string     `json:"guard"`
	ID      string     `json:"id"`
	Device  string     `json:"device"`
	Actor   string     `json:"actor"`
	Verb    string     `json:"verb"`
	Effect  string     `json:"effect"`
	Now     string     `json:"now"`
	Value   string     `json:"value"`
	Drug    string     `json:"drug,omitempty"`
	Limit   string     `json:"limit,omitempty" doc:"for how long, or how much of it"`
	Dose    bool       `json:"dose,omitempty" doc:"the value is given once, and changes nothing that holds now"`
	Therapy string     `json:"therapy,omitempty"`
	Harm    string     `json:"harm,omitempty"`
	Reason  string     `json:"reason"`
	Asked   *time.Time `json:"asked,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

// A Sensor or guard, and how it is.
type Sensor struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Site     string     `json:"site"`
	Kind     string     `json:"kind"`
	Version  string     `json:"version"`
	Problem  string     `json:"problem"`
	Dropped  uint64     `json:"dropped" doc:"packets that it could not look at"`
	Buffered uint64     `json:"buffered" doc:"batches that wait on its disk"`
	Enrolled *time.Time `json:"enrolled,omitempty"`
	Seen     *time.Time `json:"seen,omitempty"`
	Revoked  *time.Time `json:"revoked,omitempty"`
}

func (a *API) guards() {
	add(a, operation{id: "list-verdicts", method: http.MethodGet, path: "/verdicts", needs: access.SeeVerdicts, says: "What guards decided, the newest first"},
		func(ctx context.Context, _ *access.Principal, in *struct {
			Page
			Guard   string    `query:"guard" maxLength:"200"`
			Device  string    `query:"device" maxLength:"200"`
			Verdict string    `query:"verdict" maxLength:"100"`
			Since   time.Time `query:"since"`
			Until   time.Time `query:"until"`
		},
		) (*listed[Verdict], error) {
			q := store.VerdictQuery{Page: in.Page.of(), Guard: in.Guard, Device: in.Device, Verdict: in.Verdict}
			if !in.Since.IsZero() {
				q.Since = in.Since.UnixNano()
			}
			if !in.Until.IsZero() {
				q.Until = in.Until.UnixNano()
			}
			l, err := a.Store.Verdicts(ctx, q)
			if err != nil {
				return nil, err
			}
			return listOf(l, verdictOf), nil
		})
	add(a, operation{id: "list-held", method: http.MethodGet, path: "/held", needs: access.SeeVerdicts, says: "Commands that wait for a clinician, the next to expire first"},
		func(ctx context.Context, _ *access.Principal, _ *struct{}) (*listed[Held], error) {
			held, err := a.Store.HeldCommands(ctx)
			return listOf(&store.List[store.Held]{Rows: held, Total: len(held)}, func(h *store.Held) Held {
				return Held{h.Guard, h.ID, h.Device, h.Actor, h.Verb, h.Effect, h.Now, h.Value, h.Drug, h.Limit, h.Dose, h.Therapy, h.Harm, h.Reason, at(h.Asked), at(h.Expires)}
			}), err
		})
	add(a, operation{id: "list-sensors", method: http.MethodGet, path: "/sensors", needs: access.SeeAll, says: "Sensors and guards, and how they are"},
		func(ctx context.Context, _ *access.Principal, _ *struct{}) (*listed[Sensor], error) {
			all, err := a.Store.Sensors(ctx)
			return listOf(&store.List[store.Sensor]{Rows: all, Total: len(all)}, func(s *store.Sensor) Sensor {
				return Sensor{s.ID, s.Name, s.Site, s.Kind, s.Version, s.Problem, s.Dropped, s.Buffered, at(s.Enrolled), at(s.Seen), at(s.Revoked)}
			}), err
		})
}

// A Document is an advisory, a bill of materials, a VEX document, a register.
type Document struct {
	Digest   string     `json:"digest" doc:"SHA-256"`
	Kind     string     `json:"kind"`
	Name     string     `json:"name"`
	ID       string     `json:"id"`
	Title    string     `json:"title"`
	Bytes    int64      `json:"bytes"`
	Added    *time.Time `json:"added,omitempty"`
	By       string     `json:"by"`
	Products []string   `json:"products" nullable:"false"`
}

func documentOf(d *store.Document) Document {
	return Document{d.Digest, d.Kind, d.Name, d.ID, d.Title, d.Bytes, at(d.Added), d.By, append([]string{}, d.Products...)}
}

type oneDocument struct {
	Status int
	Body   Document
}

// seesDocument says which documents who may see: of a manufacturer, what names its
// products. nil is all of them.
func seesDocument(who *access.Principal) func(*store.Document) bool {
	only := who.Products()
	if only == nil {
		return nil
	}
	return func(d *store.Document) bool { return documents.Names(d, only) }
}

func (a *API) documents() {
	add(a, operation{id: "list-documents", method: http.MethodGet, path: "/documents", needs: access.SeeDocuments, says: "Advisories and bills of materials, the newest first"},
		func(ctx context.Context, who *access.Principal, in *struct {
			Page
			Q    string   `query:"q" maxLength:"200"`
			Kind []string `query:"kind,explode" maxItems:"20"`
		},
		) (*listed[Document], error) {
			l, err := documents.List(ctx, a.Store, seesDocument(who), in.Kind, in.Q, in.Page.of())
			if err != nil {
				return nil, err
			}
			return listOf(l, documentOf), nil
		})
	add(a, operation{id: "get-document", method: http.MethodGet, path: "/documents/{digest}", needs: access.SeeDocuments, says: "What is known of a document"},
		func(ctx context.Context, who *access.Principal, in *struct {
			Digest string `path:"digest" pattern:"^[0-9a-f]{64}$"`
		},
		) (*oneDocument, error) {
			d, _, err := a.Store.Content(ctx, in.Digest)
			if err != nil {
				return nil, err
			}
			if sees := seesDocument(who); sees != nil && !sees(d) {
				return nil, store.ErrNotFound
			}
			return &oneDocument{http.StatusOK, documentOf(d)}, nil
		})
	if a.Add == nil {
		return
	}
	add(a, operation{id: "add-document", method: http.MethodPost, path: "/documents", needs: access.AddDocuments, says: "Add a document; its content says what it is", status: http.StatusCreated, most: a.Most, once: true},
		func(ctx context.Context, who *access.Principal, in *struct {
			Name    string `query:"name" maxLength:"200" doc:"file name"`
			RawBody []byte `contentType:"application/octet-stream"`
		},
		) (*oneDocument, error) {
			d, fresh, err := a.Add(ctx, who.Person.Login, in.Name, in.RawBody)
			if err != nil {
				return nil, err
			}
			out := &oneDocument{http.StatusCreated, documentOf(d)}
			if !fresh {
				out.Status = http.StatusOK
			}
			return out, nil
		})
}

// A Token of a program acts for who made it.
type Token struct {
	ID      int64      `json:"id"`
	Name    string     `json:"name"`
	Scopes  []string   `json:"scopes" nullable:"false"`
	Expires *time.Time `json:"expires,omitempty"`
	Used    *time.Time `json:"used,omitempty"`
}

func tokenOf(t *store.Token) Token {
	return Token{t.ID, t.Name, append([]string{}, t.Scopes...), at(t.Expires), at(t.Used)}
}

// inPerson refuses what a program may not do for somebody: make what outlives it.
func inPerson(who *access.Principal) error {
	if who.Token != nil {
		return huma.Error403Forbidden("tokens are made and removed by people, not by tokens")
	}
	return nil
}

func (a *API) tokens() {
	add(a, operation{id: "list-tokens", method: http.MethodGet, path: "/tokens", needs: access.SignedIn, says: "The own tokens"},
		func(ctx context.Context, who *access.Principal, _ *struct{}) (*listed[Token], error) {
			l, err := a.Store.Tokens(ctx, who.Person.ID)
			return listOf(&store.List[store.Token]{Rows: l, Total: len(l)}, tokenOf), err
		})
	add(a, operation{id: "add-token", method: http.MethodPost, path: "/tokens", needs: access.SignedIn, says: "Make a token; its secret is told once", status: http.StatusCreated},
		func(ctx context.Context, who *access.Principal, in *struct {
			Body struct {
				Name   string   `json:"name" minLength:"1" maxLength:"100"`
				Scopes []string `json:"scopes" minItems:"1" maxItems:"5" enum:"read,triage,ingest,update,admin" nullable:"false"`
				Days   int      `json:"days" minimum:"1" maximum:"365"`
			}
		}) (*struct {
			Body struct {
				Secret string `json:"secret"`
			}
		}, error,
		) {
			if err := inPerson(who); err != nil {
				return nil, err
			}
			err := a.Access.Fresh(ctx)
			if err != nil {
				return nil, err
			}
			out := &struct {
				Body struct {
					Secret string `json:"secret"`
				}
			}{}
			out.Body.Secret, err = a.Access.AddToken(ctx, who, in.Body.Name, in.Body.Scopes, time.Duration(in.Body.Days)*24*time.Hour)
			return out, err
		})
	add(a, operation{id: "remove-token", method: http.MethodDelete, path: "/tokens/{id}", needs: access.SignedIn, says: "End a token of one's own", status: http.StatusNoContent},
		func(ctx context.Context, who *access.Principal, in *struct {
			ID int64 `path:"id"`
		},
		) (*struct{}, error) {
			if err := inPerson(who); err != nil {
				return nil, err
			}
			own, err := a.Store.Tokens(ctx, who.Person.ID)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(own, func(t store.Token) bool { return t.ID == in.ID }) {
				return nil, store.ErrNotFound
			}
			return nil, a.Access.RemoveToken(ctx, who, in.ID)
		})
}
