// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/notify"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) notifyRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /settings/receivers", Needs: access.ManageSettings, Handle: p.receivers},
		{Pattern: "POST /settings/receivers", Needs: access.ManageSettings, Handle: p.addReceiver},
		{Pattern: "POST /settings/receivers/{kind}/{id}/remove", Needs: access.ManageSettings, Handle: p.removeReceiver},
	}
}

// receiversPage says which systems outside are told of findings.
type receiversPage struct {
	frame     `json:"-"`
	Answer    string
	Receivers []receiverLine
	Secret    string `json:"-"` // of a webhook that was just made: shown once
	Wrong     string
}

type receiverLine struct{ Kind, ID, Address, Form, To, Path string }

func (p *Pages) keptReceivers(ctx context.Context) ([]notify.Setting, error) {
	if p.Sealer == nil {
		return nil, store.ErrNotFound
	}
	b, err := p.Sealer.Secret(ctx, p.Store, notify.SettingName)
	if err != nil {
		return nil, err
	}
	return notify.ParseSettings(b)
}

func (p *Pages) keepReceivers(ctx context.Context, list []notify.Setting) error {
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return p.Sealer.SetSecret(ctx, p.Store, notify.SettingName, b)
}

func (p *Pages) receivers(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showReceivers(w, r, who, &receiversPage{})
}

func (p *Pages) showReceivers(w http.ResponseWriter, r *http.Request, who *access.Principal, page *receiversPage) error {
	list, err := p.keptReceivers(r.Context())
	if err != nil {
		return err
	}
	status := page.status
	page.frame = p.framed(r, who, "Receivers")
	page.status = status
	for _, s := range list {
		address := s.Address
		if u, err := url.Parse(address); s.Kind == "webhook" && err == nil {
			address = u.Scheme + "://" + u.Host + "/…" // a path is often a secret
		}
		page.Receivers = append(page.Receivers, receiverLine{s.Kind, s.ID, address, s.Form, strings.Join(s.To, ", "), "/settings/receivers/" + s.Kind + "/" + url.PathEscape(s.ID) + "/remove"})
	}
	page.Answer = plural(len(list), "system") + " outside " + are(len(list)) + " told of findings."
	if len(list) == 0 {
		page.Answer = "No system outside is told of findings."
	}
	return p.show(w, r, "receivers", page)
}

func (p *Pages) addReceiver(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	field := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	s := notify.Setting{Kind: field("kind"), ID: field("id"), Address: field("address"), Form: field("form"), From: field("from"), To: strings.Fields(strings.ReplaceAll(field("to"), ",", " ")), Login: field("login"), Secret: []byte(r.PostFormValue("password"))}
	page := &receiversPage{}
	if s.Kind == "webhook" {
		b := make([]byte, 24)
		rand.Read(b)
		page.Secret = hex.EncodeToString(b)
		s.Secret = []byte(page.Secret)
	}
	list, err := p.keptReceivers(r.Context())
	if err != nil {
		return err
	}
	_, err = s.Receiver("", "")
	switch {
	case err != nil:
		page.Wrong = err.Error()
	case len(list) >= notify.MaxReceivers:
		page.Wrong = "there are as many as there may be"
	case slices.ContainsFunc(list, func(o notify.Setting) bool { return o.Kind == s.Kind && o.ID == s.ID }):
		page.Wrong = "there is one of this name"
	}
	if page.Wrong != "" {
		page.Secret, page.status = "", http.StatusUnprocessableEntity
		return p.showReceivers(w, r, who, page)
	}
	if err := p.Access.Act(who.Person.Login, "add receiver", s.Kind+" "+s.ID, "", func() (int, error) {
		return 1, p.keepReceivers(r.Context(), append(list, s))
	}); err != nil {
		return err
	}
	return p.showReceivers(w, r, who, page)
}

func (p *Pages) removeReceiver(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	list, err := p.keptReceivers(r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(s notify.Setting) bool { return s.Kind == r.PathValue("kind") && s.ID == r.PathValue("id") })
	if i < 0 {
		return store.ErrNotFound
	}
	if err := p.Access.Act(who.Person.Login, "remove receiver", list[i].Kind+" "+list[i].ID, "", func() (int, error) {
		return 1, p.keepReceivers(r.Context(), slices.Delete(list, i, i+1))
	}); err != nil {
		return err
	}
	p.Access.Say(r.Context(), "It is not told any more. Add it again under the same name, and it is told what came meanwhile.", "")
	http.Redirect(w, r, "/settings/receivers", http.StatusSeeOther)
	return nil
}
