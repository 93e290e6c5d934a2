// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// A splitLine is a record of addresses that are another device than sensors say.
type splitLine struct {
	ID                 int64
	Names              string
	Kept, Gone         string // "" for who may not see it
	KeptName, GoneName string
	Why, By, UndoneBy  string
	When, Undone       when
	Together           bool // it was undone
}

// splitDevice makes a device of its own of those addresses whose numbers the form has.
func (p *Pages) splitDevice(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	why, err := line(r.Form.Get("why"), maxReason, "The reason")
	if err == nil && why == "" {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say why these are two devices. Nothing was changed."}
	}
	if err == nil && len(r.Form["name"]) == 0 {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Choose the addresses that are another device. Nothing was changed."}
	}
	if err != nil {
		return err
	}
	d, err := p.own(r, who)
	if err != nil {
		return err
	}
	names, _, err := p.Store.Identities(r.Context(), d.ID)
	if err != nil {
		return err
	}
	var ids []int64
	var said []string
	for _, name := range r.Form["name"] {
		at := slices.IndexFunc(names, func(i store.Identity) bool { return strconv.FormatInt(i.ID, 10) == name })
		if at < 0 {
			return store.ErrConflict // another device has it since
		}
		ids, said = append(ids, names[at].ID), append(said, names[at].Value)
	}
	var split int64
	err = p.Access.Act(who.Person.Login, "split device", d.ID, why, func() (_ int, err error) {
		split, _, err = p.Store.SplitDevice(r.Context(), d.ID, ids, who.Person.Login, why)
		return len(ids), err
	})
	if errors.Is(err, store.ErrWhole) {
		return &access.Error{Status: http.StatusUnprocessableEntity, Text: "Leave this device an address, or a serial number. Nothing was changed."}
	}
	if err != nil {
		return err
	}
	are := " are"
	if len(said) == 1 {
		are = " is"
	}
	return p.done(w, r, who, cut(strings.Join(said, ", "), maxName)+are+" another device from now on.", fmt.Sprintf("/devices/%s/split/%d/undo?why=undo", d.ID, split), d.ID)
}

// undoSplit brings back what was split off.
func (p *Pages) undoSplit(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	why, err := line(r.Form.Get("why"), maxReason, "The reason")
	if err == nil && why == "" {
		err = &access.Error{Status: http.StatusUnprocessableEntity, Text: "Say why they are one device. Nothing was changed."}
	}
	if err != nil {
		return err
	}
	d, err := p.own(r, who)
	if err != nil {
		return err
	}
	splits, err := p.Store.SplitsOf(r.Context(), d.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(splits, func(s store.Split) bool { return strconv.FormatInt(s.ID, 10) == r.PathValue("split") })
	if at < 0 {
		return store.ErrNotFound // it is one of others
	}
	s := splits[at]
	if err := p.Access.Act(who.Person.Login, "undo split", s.Kept+" "+s.Gone, why, func() (int, error) {
		return len(s.Names), p.Store.UndoSplit(r.Context(), s.ID, who.Person.Login, why)
	}); err != nil {
		return err
	}
	again := url.Values{"why": {"undo"}}
	names, _, err := p.Store.Identities(r.Context(), d.ID)
	if err != nil {
		return err
	}
	for _, n := range names {
		if slices.ContainsFunc(s.Names, func(o store.Identity) bool {
			return n.Splits() && n.Site == o.Site && n.Kind == o.Kind && n.Value == o.Value
		}) {
			again.Add("name", strconv.FormatInt(n.ID, 10))
		}
	}
	return p.done(w, r, who, "They are one device from now on.", "/devices/"+s.Kept+"/split?"+again.Encode(), s.Kept)
}
