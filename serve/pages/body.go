// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// Whose pacemaker it is can be found by its serial number: somebody must be able to
// find the patient to recall, and nobody else shall. It is sealed in the store, shown
// to clinicians in the answer to a reason, and that is in the ledger before.

func (p *Pages) bodyRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /devices/{id}/body", Needs: access.SeeBodyWorn, Handle: p.body},
		{Pattern: "POST /devices/{id}/body", Needs: access.SeeBodyWorn, Handle: p.seeBody},
		{Pattern: "POST /devices/{id}/body/add", Needs: access.SeeBodyWorn, Handle: p.addBody},
		{Pattern: "POST /devices/{id}/body/remove", Needs: access.SeeBodyWorn, Handle: p.removeBody},
	}
}

// bodyPage shows identities, or asks why.
type bodyPage struct {
	frame      `json:"-"`
	ID, Device string
	Wrong      string     `json:",omitempty"`
	Reasons    []string   `json:",omitempty"`
	Kinds      []string   `json:",omitempty"`
	Known      int        // how many there are
	Shown      []wornLine // with a reason
}

type wornLine struct {
	Device, Kind, Value, By string
	At                      when
}

// The reasons are these: a reason in words of one's own, which the ledger keeps for
// ever, would sooner or later have the name of a patient in it.
var (
	bodyReasons = []string{"recall or safety notice", "finding about this device", "follow-up or replacement", "emergency care", "correction of what was entered"}
	bodyKinds   = []string{"serial number", "production identifier (UDI)", "radio address", "name of the phone"}
)

const maxWorn = 100 // characters

// wornDevice is the device of the path, if it is one that is in or on a body.
func (p *Pages) wornDevice(r *http.Request) (*store.Device, error) {
	d, err := p.Store.Device(r.Context(), r.PathValue("id"))
	if err != nil || p.Sealer == nil || !d.Product.Therapy.Info().Worn {
		return nil, notThere(err)
	}
	return d, nil
}

func notThere(err error) error {
	if err == nil {
		return store.ErrNotFound
	}
	return err
}

func (p *Pages) body(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showBody(w, r, who, nil, false)
}

func (p *Pages) showBody(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error, open bool) error {
	d, err := p.wornDevice(r)
	if err != nil {
		return err
	}
	list, err := p.Store.WornBy(r.Context(), d.ID)
	if err != nil {
		return err
	}
	page := &bodyPage{frame: p.framed(r, who, "Identities on the body"), ID: d.ID, Device: d.Label, Reasons: bodyReasons, Kinds: bodyKinds, Known: len(list)}
	if wrong != nil {
		page.Wrong, page.status = wrong.Text, wrong.Status
	}
	for _, n := range list {
		if !open {
			break
		}
		value, err := p.Sealer.Open("worn", wornRow(n.Device, n.Kind), n.Sealed)
		if err != nil {
			return err
		}
		page.Shown = append(page.Shown, wornLine{n.Device, n.Kind, string(value), n.By, p.when(n.At)})
	}
	w.Header().Set("Cache-Control", "no-store")
	return p.show(w, r, "body", page)
}

func wornRow(device, kind string) string { return device + "\x00" + kind }

// bodyAsked is the device, after the ledger has who did what to it, and why.
func (p *Pages) bodyAsked(r *http.Request, who *access.Principal, did, why string) (*store.Device, error) {
	d, err := p.wornDevice(r)
	if err != nil {
		return nil, err
	}
	return d, p.Access.Acted(who.Person.Login, did, d.ID, why, 0, event.Succeeded)
}

func (p *Pages) seeBody(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	why := r.PostFormValue("reason")
	if !slices.Contains(bodyReasons, why) {
		return p.showBody(w, r, who, &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say why you need to see them. It goes into the ledger with your name."}, false)
	}
	if _, err := p.bodyAsked(r, who, "see body-worn identities", why); err != nil {
		return err
	}
	return p.showBody(w, r, who, nil, true)
}

func (p *Pages) addBody(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	kind, value := r.PostFormValue("kind"), strings.TrimSpace(r.PostFormValue("value"))
	if !slices.Contains(bodyKinds, kind) || value == "" || !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxWorn || strings.ContainsFunc(value, unicode.IsControl) {
		return p.showBody(w, r, who, &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say which identity it is, and enter it: at most 100 characters."}, false)
	}
	d, err := p.bodyAsked(r, who, "enter body-worn identity", kind)
	if err == nil {
		err = p.Store.KeepWorn(r.Context(), &store.Worn{Device: d.ID, Kind: kind, Sealed: p.Sealer.Seal("worn", wornRow(d.ID, kind), []byte(value)), By: who.Person.Login, At: p.Now().UnixNano()})
	}
	return p.answer(w, r, err, "The "+kind+" is kept, sealed.", "/devices/"+url.PathEscape(r.PathValue("id"))+"/body", nil)
}

func (p *Pages) removeBody(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	kind := r.PostFormValue("kind")
	if !slices.Contains(bodyKinds, kind) {
		return store.ErrNotFound
	}
	d, err := p.bodyAsked(r, who, "remove body-worn identity", kind)
	if err != nil {
		return err
	}
	list, err := p.Store.WornBy(r.Context(), d.ID)
	if err != nil {
		return err
	}
	at := r.PostFormValue("device") // or one that was merged into it
	if !slices.ContainsFunc(list, func(n store.Worn) bool { return n.Device == at && n.Kind == kind }) {
		return store.ErrNotFound
	}
	err = p.Store.RemoveWorn(r.Context(), at, kind)
	return p.answer(w, r, err, "The "+kind+" is removed. That cannot be undone.", "/devices/"+url.PathEscape(r.PathValue("id"))+"/body", nil)
}
