// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

func (p *Pages) peopleRoutes() []access.Route {
	return []access.Route{
		{Pattern: "GET /settings/people", Needs: access.ManagePeople, Handle: p.people},
		{Pattern: "GET /settings/people.json", Needs: access.ManagePeople, Handle: p.people},
		{Pattern: "GET /settings/people.csv", Needs: access.ManagePeople, Handle: p.people},
		{Pattern: "POST /settings/people", Needs: access.ManagePeople, Handle: p.addPerson},
		{Pattern: "GET /settings/people/{id}", Needs: access.ManagePeople, Handle: p.person},
		{Pattern: "POST /settings/people/{id}", Needs: access.ManagePeople, Handle: p.changePerson},
		{Pattern: "POST /settings/people/{id}/reset", Needs: access.ManagePeople, Handle: p.resetPerson},
		{Pattern: "POST /settings/people/{id}/disable", Needs: access.ManagePeople, Handle: p.disablePerson},
		{Pattern: "POST /settings/people/{id}/enable", Needs: access.ManagePeople, Handle: p.enablePerson},
		{Pattern: "POST /settings/people/{id}/token", Needs: access.ManagePeople, Handle: p.endToken},
	}
}

// peoplePage lists who may sign in.
type peoplePage struct {
	frame  `json:"-"`
	Answer string
	People []personLine
	Form   personForm `json:"-"` // of who is to be added
}

type personLine struct {
	ID          int64
	Login, Name string
	Roles       []string
	Clinical    string   `json:",omitempty"`
	Products    []string `json:",omitempty"`
	SignsIn     string   // how
	Disabled    bool
	Added       when
}

// A personForm asks what a person may.
type personForm struct {
	Wrong       string
	Login, Name string
	Roles       []roleBox
	Clinical    []option
	Products    string // one a line
	Locked      string // why the roles cannot be changed
}

type roleBox struct {
	Name, May string
	On        bool
}

type option struct {
	Name string
	On   bool
}

func (p *Pages) personLine(n *store.Person) personLine {
	var how []string
	if n.Hash != "" {
		how = append(how, "password")
	}
	if len(n.Passkeys) > len("[]") {
		how = append(how, "passkey")
	}
	if n.Subject != "" {
		how = append(how, p.Access.ProviderName())
	}
	if how == nil {
		how = []string{"not yet"}
		if n.Link != "" {
			how = []string{"has a one-time link"}
		}
	}
	return personLine{n.ID, n.Login, n.Name, roleWords(n), n.Clinical, n.Products, strings.Join(how, ", "), n.Disabled, p.when(n.Added)}
}

// may says what a role is for, in the words of the table.
func may(role access.Role) string {
	var out []string
	for n, g := range access.Permissions {
		if g.Roles&role != 0 && access.Permission(n) > access.Oneself {
			out = append(out, g.Name)
		}
	}
	return strings.Join(out, ", ")
}

func formOf(n *store.Person) personForm {
	f := personForm{Login: n.Login, Name: n.Name, Products: strings.Join(n.Products, "\n")}
	for i, name := range access.Names() {
		f.Roles = append(f.Roles, roleBox{name, may(1 << i), n.Roles&(1<<i) != 0})
	}
	for _, c := range access.Clinical() {
		f.Clinical = append(f.Clinical, option{c, n.Clinical == c})
	}
	return f
}

// asked is the person that a form describes.
func asked(r *http.Request) *store.Person {
	n := &store.Person{Login: r.PostFormValue("login"), Name: r.PostFormValue("name"), Clinical: r.PostFormValue("clinical"), Products: strings.Split(r.PostFormValue("products"), "\n")}
	for _, name := range r.PostForm["role"] {
		if role, ok := access.ParseRole(name); ok {
			n.Roles |= uint32(role)
		}
	}
	return n
}

func (p *Pages) people(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showPeople(w, r, who, nil)
}

func (page *peoplePage) rows() [][]string {
	out := [][]string{{"login", "name", "roles", "clinical", "signs in by", "disabled", "added"}}
	for _, o := range page.People {
		out = append(out, []string{o.Login, o.Name, strings.Join(o.Roles, " "), o.Clinical, o.SignsIn, strconv.FormatBool(o.Disabled), o.Added.Machine})
	}
	return out
}

func (p *Pages) showPeople(w http.ResponseWriter, r *http.Request, who *access.Principal, wrong *access.Error) error {
	list, err := p.Store.People(r.Context())
	if err != nil {
		return err
	}
	page := &peoplePage{frame: p.framed(r, who, "People"), Form: formOf(&store.Person{})}
	can, clinicians := 0, 0
	for i := range list {
		page.People = append(page.People, p.personLine(&list[i]))
		if !list[i].Disabled {
			can++
			if access.Role(list[i].Roles).May(access.ConfirmCommands) {
				clinicians++
			}
		}
	}
	page.Answer = "1 person may sign in, "
	if can != 1 {
		page.Answer = strconv.Itoa(can) + " people may sign in, "
	}
	switch clinicians {
	case 0:
		page.Answer += "and nobody can confirm therapy that a guard holds."
	case 1:
		page.Answer += "and 1 can confirm therapy that a guard holds."
	default:
		page.Answer += "and " + strconv.Itoa(clinicians) + " can confirm therapy that a guard holds."
	}
	if wrong != nil {
		page.Form = formOf(asked(r))
		page.Form.Wrong, page.status = wrong.Text, wrong.Status
	}
	return p.show(w, r, "people", page)
}

func (p *Pages) addPerson(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	n := asked(r)
	secret, err := p.Access.AddPerson(r.Context(), who, n)
	if err != nil {
		return p.answer(w, r, err, "", "", func(wrong *access.Error) error { return p.showPeople(w, r, who, wrong) })
	}
	return p.showPerson(w, r, who, n.ID, nil, p.Access.LinkTo(r, n.ID, secret))
}

// personPage is one person.
type personPage struct {
	frame   `json:"-"`
	Person  personLine
	Edition int64
	You     bool
	Form    personForm `json:"-"`
	Tokens  []tokenLine
	Link    string `json:",omitempty"` // that was just made
}

func (p *Pages) person(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.showPerson(w, r, who, number(r, "id"), nil, "")
}

func (p *Pages) showPerson(w http.ResponseWriter, r *http.Request, who *access.Principal, id int64, wrong *access.Error, link string) error {
	n, err := p.Store.PersonOf(r.Context(), id)
	if err != nil {
		return err
	}
	tokens, err := p.Store.Tokens(r.Context(), id)
	if err != nil {
		return err
	}
	page := &personPage{frame: p.framed(r, who, n.Name), Person: p.personLine(n), Edition: n.Version, You: id == who.Person.ID, Form: formOf(n), Tokens: p.tokenLines(tokens), Link: link}
	if wrong != nil {
		page.status = wrong.Status
		if r.PostForm.Has("name") {
			login := n.Login
			n = asked(r)
			n.Login = login
			page.Form = formOf(n)
		}
		page.Form.Wrong = wrong.Text
	}
	switch {
	case page.You:
		page.Form.Locked = "Nobody changes the own roles: another administrator can."
	case n.Provided:
		page.Form.Locked = "The roles come from the provider of identities: change them there."
	}
	w.Header().Set("Cache-Control", "no-store")
	return p.show(w, r, "person", page)
}

// personAgain shows a person with what was wrong.
func (p *Pages) personAgain(w http.ResponseWriter, r *http.Request, who *access.Principal) func(*access.Error) error {
	return func(wrong *access.Error) error { return p.showPerson(w, r, who, number(r, "id"), wrong, "") }
}

func (p *Pages) changePerson(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	now, err := p.Store.PersonOf(r.Context(), number(r, "id"))
	if err != nil {
		return err
	}
	n := asked(r)
	n.ID = now.ID
	if n.Version, err = strconv.ParseInt(r.PostFormValue("version"), 10, 64); err != nil {
		return store.ErrConflict
	}
	if now.ID == who.Person.ID || now.Provided { // the form has no roles then
		n.Roles, n.Clinical, n.Products = now.Roles, now.Clinical, slices.Clone(now.Products)
	}
	err = p.Access.ChangePerson(r.Context(), who, n)
	return p.answer(w, r, err, n.Name+" is changed.", "/settings/people/"+r.PathValue("id"), p.personAgain(w, r, who))
}

func (p *Pages) resetPerson(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	n, secret, err := p.Access.NewLink(r.Context(), who, number(r, "id"))
	if err != nil {
		return p.answer(w, r, err, "", "", p.personAgain(w, r, who))
	}
	return p.showPerson(w, r, who, n.ID, nil, p.Access.LinkTo(r, n.ID, secret))
}

func (p *Pages) disablePerson(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.disable(w, r, who, true, " cannot sign in any more, and is signed in nowhere.")
}

func (p *Pages) enablePerson(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	return p.disable(w, r, who, false, " can sign in again.")
}

func (p *Pages) disable(w http.ResponseWriter, r *http.Request, who *access.Principal, disabled bool, said string) error {
	n, err := p.Access.Disable(r.Context(), who, number(r, "id"), disabled)
	if err == nil {
		said = n.Name + said
	}
	return p.answer(w, r, err, said, "/settings/people/"+r.PathValue("id"), p.personAgain(w, r, who))
}

func (p *Pages) endToken(w http.ResponseWriter, r *http.Request, who *access.Principal) error {
	id, _ := strconv.ParseInt(r.PostFormValue("id"), 10, 64)
	err := p.Access.RemoveToken(r.Context(), who, id)
	return p.answer(w, r, err, "The token is removed.", "/settings/people/"+r.PathValue("id"), p.personAgain(w, r, who))
}
