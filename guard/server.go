// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// A Server is a server of Myelin that is told what the guard decides and holds.
type Server struct {
	URL       string // https://host:port
	Enrolment string // file of the one-time token; needed until the guard is enrolled
	Authority string // file of the authority of the server's certificate; "": the server's own
	State     string // folder of what waits to be sent, and of the guard's key there
	Confirms  bool   // its clinicians may confirm and refuse what is held here, and settle doubts
	line      int
}

func readServer(r *strictyaml.Reader, n ast.Node, dir, state string) *Server {
	s := r.Section(n, "server", "url", "enrolment", "authority", "state", "confirms")
	v := &Server{line: strictyaml.Line(n), State: at(state, "server")}
	address := s.Need("url", "the server's address, https://...")
	v.URL = r.Text(address, "url")
	if u, err := url.Parse(v.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		r.Fail(address, "url has to be https://host:port/")
	}
	v.Enrolment = at(dir, r.Text(s.Need("enrolment", "the file of the enrolment's token; the server's page Settings gives one"), "enrolment"))
	if s.Has("authority") {
		v.Authority = at(dir, r.Text(s.Get("authority"), "authority"))
	}
	if s.Has("state") {
		v.State = at(dir, r.Text(s.Get("state"), "state"))
	}
	v.Confirms = r.Truth(s.Get("confirms"), "confirms", false)
	return v
}

// A Decision is what somebody decided at the server on a held command, or said of a dose
// in doubt.
type Decision struct {
	ID     string // of the held command or the doubt
	Asked  int64  // when it was asked for, in nanoseconds since 1970: numbers may begin anew
	What   string // one of the words below
	By     string // login there
	Role   string // "prescriber", "pharmacist", "nurse"
	Reason string // of all but Confirm
}

// What a [Decision] says.
const (
	Confirm  = "confirm"
	Refuse   = "refuse"
	Given    = "given" // the dose in doubt was
	NotGiven = "not-given"
)

// loginWord is who decides at a server, as it stands in the ledger.
var loginWord = lazyregexp.New(`^[a-zA-Z0-9][a-zA-Z0-9._@+-]{0,63}$`)

// Why a decision of the server is not done.
var (
	errNotLet   = errors.New("guard.yaml does not let people at the server decide (server: confirms)")
	errStranger = errors.New("the guard cannot record who that is")
	errOther    = errors.New("what has this number now is not what was on your screen. Nothing was done; look again")
	errSettled  = errors.New("no such dose is in doubt: somebody has settled it, or the device has. Nothing was done now")
	errNotKnown = errors.New("the guard does not know such a decision")
)

// atServer stands behind who decides at a server. No person of guard.yaml is called so.
const atServer = " at the server"

// elsewhere reports whether somebody who is not of guard.yaml may decide.
func (g *Guard) elsewhere(p gate.Person) bool {
	conf := g.conf.Load()
	return conf.Server != nil && conf.Server.Confirms && strings.HasSuffix(p.ID, atServer)
}

// Held returns what waits for a person, the oldest first.
func (g *Guard) Held() []HeldState { return g.heldRows(nil) }

// Decide does what somebody decided at the server, if the configuration lets people
// there decide. The guard asks for the role itself, does not let who asked be the second
// person, records who it was, and judges a held command again.
func (g *Guard) Decide(ctx context.Context, d *Decision) error {
	conf := g.conf.Load()
	if conf.Server == nil || !conf.Server.Confirms {
		return errNotLet
	}
	role, ok := envelope.ParseClinicalRole(d.Role)
	if !ok {
		return gate.ErrRole
	}
	if !loginWord().MatchString(d.By) {
		return errStranger
	}
	who := gate.Person{ID: d.By + atServer, Role: role}
	switch d.What {
	case Confirm, Refuse:
		return g.decideHeld(ctx, d, who)
	case Given, NotGiven:
		return g.decideDoubt(d, who)
	}
	return errNotKnown
}

func (g *Guard) decideHeld(ctx context.Context, d *Decision, who gate.Person) error {
	held := g.gate.Held()
	i := slices.IndexFunc(held, func(h gate.Held) bool { return h.ID == d.ID })
	switch {
	case i < 0:
		return gate.ErrGone
	case held[i].Asked.UnixNano() != d.Asked:
		return errOther
	}
	if d.What == Refuse {
		why, err := typed(d.Reason)
		if err != nil {
			return err
		}
		return g.gate.Refuse(who, d.ID, why)
	}
	asked := held[i].Actor
	here, _ := g.conf.Load().Person(strings.ToLower(d.By))
	if strings.EqualFold(asked, d.By) || slices.Contains(here.Actors, asked) {
		return gate.ErrSelf
	}
	return g.gate.Confirm(context.WithoutCancel(ctx), who, d.ID)
}

func (g *Guard) decideDoubt(d *Decision, who gate.Person) error {
	doubts := g.book.Doubts()
	i := slices.IndexFunc(doubts, func(x envelope.Doubt) bool { return strconv.FormatUint(x.ID, 10) == d.ID })
	switch {
	case i < 0:
		return errSettled
	case doubts[i].Since.UnixNano() != d.Asked:
		return errOther
	}
	why, err := typed(d.Reason)
	if err != nil {
		return err
	}
	return g.gate.Settle(who, doubts[i].ID, d.What == Given, why)
}
