// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// A Policy is a front's part of the configuration.
type Policy struct {
	front.Settings
	Hosts   []string      // what a Host header may say, in lower case
	Base    string        // path of the FHIR base, "/fhir", or ""
	Body    int           // bytes of a message at most
	Buffer  int           // bytes of all messages that are under way at most
	Answer  time.Duration // the other side may take until its answer begins, and between its pieces
	Clients map[string]*Client
	Allow   []Rule
}

// A Client is somebody who may ask, by what its certificate proves.
type Client struct {
	Certificate string      // a name in it
	Role        device.Role // on whose behalf its commands are
	Requests    int         // a second at most, with a burst of as many
}

// A Rule allows some clients some interactions.
type Rule struct {
	Clients      []string // ids; empty: all that the front knows
	Interactions []string // FHIR's words, or names of operations with their $
	Types        []string // resource types; "*" is every type and none; empty is the system level
	Include      bool     // a search may draw in resources of other types
	Paths        []string // outside FHIR, to be read: a path, or one that ends in / with all below it
}

// Bounds and what holds without a word.
const (
	defaultBody     = 1 << 20
	maxBody         = 64 << 20
	defaultBuffer   = 64 << 20
	maxBuffer       = 4 << 30
	defaultAnswer   = time.Minute
	defaultRequests = 50
	maxClients      = 256
	maxRules        = 256
	maxListed       = 256 // words in one list of a rule
)

// interactions are FHIR's words (R4 section 3.1.0; the codes of
// CapabilityStatement, where one word there is two in deed they are told apart).
var interactions = []string{
	"", "read", "vread", "history", "search", "create", "update", "conditional-update", "patch", "conditional-patch", "delete",
	"conditional-delete", "batch", "transaction", "capabilities",
}

var (
	operationName = lazyregexp.New(`^\$[A-Za-z][A-Za-z0-9_-]{0,63}$`)
	typeName      = lazyregexp.New(`^[A-Z][A-Za-z]{1,63}$`)
	pathName      = lazyregexp.New(`^(/[A-Za-z0-9_~$-][A-Za-z0-9._~$-]*)+/?$`)
	hostName      = lazyregexp.New(`^[A-Za-z0-9.:\[\]-]{1,255}$`)
)

// Keys are those of an http front, beside [front.Keys].
var Keys = []string{"host", "base", "body", "buffer", "answer", "clients", "allow"}

// Read reads a front of kind http.
func Read(r *strictyaml.Reader, s *strictyaml.Section, dir string) *Policy {
	p := &Policy{
		Settings: front.ReadSettings(r, s, dir), Body: defaultBody, Buffer: defaultBuffer, Answer: defaultAnswer,
		Clients: map[string]*Client{},
	}
	for _, n := range r.List(s.Need("host", "the host that requests name, such as fhir.ada.example"), "host", 8) {
		h := r.Text(n, "host")
		if r.Err() == nil && !hostName().MatchString(h) {
			r.Fail(n, "host has to be a name, or a name and a port, such as fhir.ada.example:8443")
		}
		p.Hosts = append(p.Hosts, strings.ToLower(h))
	}
	if p.Base = r.Text(s.Get("base"), "base"); p.Base == "/" {
		p.Base = ""
	}
	if p.Base != "" && (!pathName().MatchString(p.Base) || strings.HasSuffix(p.Base, "/")) {
		r.Fail(s.Get("base"), "base has to be a path that begins with a slash and does not end with one, such as /fhir")
	}
	if s.Has("body") {
		p.Body = int(r.Number(s.Get("body"), "body", 1, maxBody))
	}
	if s.Has("buffer") {
		p.Buffer = int(r.Number(s.Get("buffer"), "buffer", int64(p.Body), maxBuffer))
	}
	p.Buffer = max(p.Buffer, p.Body)
	if s.Has("answer") {
		p.Answer = r.Duration(s.Get("answer"), "answer", 10*time.Millisecond, time.Hour)
	}
	p.readClients(r, s.Get("clients"))
	if p.Server && len(p.Clients) == 0 {
		s.Need("clients", "who may ask, by a name in the client certificate")
	}
	if p.Server && p.Listen.Clear != "" && p.Listen.TLS == nil && r.Err() == nil {
		r.Fail(s.Get("listen"), "an http front knows who asks by the client certificate: listen needs tls")
	}
	for _, n := range r.List(s.Need("allow", "who may do what; what no rule allows is refused"), "allow", maxRules) {
		p.Allow = append(p.Allow, p.readRule(r, n))
	}
	return p
}

func (p *Policy) readClients(r *strictyaml.Reader, n ast.Node) {
	r.Each(n, "clients", maxClients, func(name string, _, value ast.Node) {
		s := r.Section(value, "client "+name, "certificate", "role", "requests")
		c := &Client{Certificate: r.Text(s.Need("certificate", "a name in its certificate, such as ehr.ada.example"), "certificate"), Requests: defaultRequests}
		if s.Has("role") {
			role, ok := device.ParseRole(r.Text(s.Get("role"), "role"))
			if r.Err() == nil && (!ok || role == device.NoRole) {
				r.Fail(s.Get("role"), "role has to be one of patient, carer, clinician, technician, emergency, updater, controller")
			}
			c.Role = role
		}
		if s.Has("requests") {
			c.Requests = int(r.Number(s.Get("requests"), "requests", 1, 1_000_000))
		}
		for other, o := range p.Clients {
			if strings.EqualFold(o.Certificate, c.Certificate) {
				r.Fail(s.Get("certificate"), "client %s has the same certificate name; a certificate is one client", strictyaml.Quoted(other))
			}
		}
		p.Clients[name] = c
	})
}

func (p *Policy) readRule(r *strictyaml.Reader, n ast.Node) Rule {
	s := r.Section(n, "a rule of allow", "clients", "interactions", "types", "include", "paths")
	words := func(key string, check func(string) bool, hint string) []string {
		var list []string
		for _, v := range r.List(s.Get(key), key, maxListed) {
			w := r.Text(v, key)
			if r.Err() == nil && !check(w) {
				r.Fail(v, "%s cannot have %s; %s", key, strictyaml.Quoted(w), hint)
			}
			list = append(list, w)
		}
		return list
	}
	rule := Rule{
		Clients: words("clients", func(w string) bool { return p.Clients[w] != nil }, "it has names that stand in clients"),
		Interactions: words("interactions", func(w string) bool { return slices.Contains(interactions, w) || operationName().MatchString(w) },
			"it has some of "+strictyaml.Words(interactions)+", or an operation with its $"),
		Types:   words("types", func(w string) bool { return w == "*" || typeName().MatchString(w) }, "it has resource types, such as Observation, or *"),
		Include: r.Truth(s.Get("include"), "include", false),
		Paths:   words("paths", pathName().MatchString, "it has paths that begin with a slash, such as /system, or /studies/ with all below it"),
	}
	if r.Err() == nil && len(rule.Interactions) == 0 && len(rule.Paths) == 0 {
		r.Fail(n, "a rule of allow has interactions or paths")
	}
	return rule
}

// insideHost is what the other side is called in a Host field.
func (p *Policy) insideHost() string {
	if t := p.Forward.TLS; t != nil && t.ServerName != "" {
		return t.ServerName
	}
	return p.Forward.Address
}

// client returns who a connection is by its certificate, or by being the device
// itself, whose certificate, when it has one, the listener checked.
func (p *Policy) client(c *front.Conn) (id string, who *Client) {
	for _, name := range c.Names() {
		for i, w := range p.Clients {
			switch {
			case !strings.EqualFold(name, w.Certificate):
			case id == "" || id == i:
				id, who = i, w
			default: // a certificate that is two clients is neither
				return "", nil
			}
		}
	}
	if who != nil {
		return id, who
	}
	if !p.Server && len(p.Clients) == 0 {
		return p.Device, &Client{Requests: defaultRequests}
	}
	return "", nil
}

// allows reports whether a rule allows a client something.
func (p *Policy) allows(client string, in *interaction) bool {
	return slices.ContainsFunc(p.Allow, func(r Rule) bool {
		if len(r.Clients) > 0 && !slices.Contains(r.Clients, client) {
			return false
		}
		if in.word == pathWord {
			return slices.ContainsFunc(r.Paths, func(path string) bool {
				return in.path == path || strings.HasSuffix(path, "/") && strings.HasPrefix(in.path, path)
			})
		}
		return slices.Contains(r.Interactions, in.word) && (r.Include || !in.include) &&
			(slices.Contains(r.Types, "*") || slices.Contains(r.Types, in.typ) || len(r.Types) == 0 && in.typ == "")
	})
}
