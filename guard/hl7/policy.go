// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/proto/hl7"
)

// A Policy is what guard.yaml says of a front of this kind.
type Policy struct {
	front.Settings

	Pumps     map[string][]string // by id of guard.yaml: the names that OBX-18 has for it
	Senders   []Sender
	Receivers []Party // what may be addressed (MSH-5, MSH-6); empty: anything
	Returns   map[string]Return

	// Answers are types of message that the others may send to a client's
	// connection, beside acknowledgements: "RSP^K11". No order can be one.
	Answers []string

	AnswerWithin time.Duration // a sender is told something by then
	MessageBytes int           // of the largest message to the device
	OrderRate    float64       // orders a second of one sender
	OrderBurst   int

	pumpOf map[string]string // id by name, as names are compared; see index
}

// A Party is an application, or one in a facility, as MSH names it.
type Party struct {
	Application string // MSH-3.1 or MSH-5.1, or its EUI-64
	Facility    string // MSH-4.1 or MSH-6.1; "": any
}

// A Sender may send to the device.
type Sender struct {
	Name string // by which events call it
	Party
	Certificates []string // names that its certificate, from a trusted authority, may bear ([front.Conn.Names])
	Role         device.Role
	Messages     []string // MSH-9: "RGV^O15"
	Returns      string   // where its application answers go
}

// A Return is a way back: the device connects to Settings.Listen instead of the
// sender, and the guard connects to the sender.
type Return struct {
	front.Settings // From has the addresses whose reports are believed: the device's own
}

// Keys are those of this kind of front, beside those of all.
var Keys = []string{"pumps", "senders", "receivers", "returns", "answers", "answer-within", "message-bytes", "order-rate", "order-burst"}

// Bounds of a policy.
const (
	maxPumps    = 512
	maxNames    = 8
	maxSenders  = 64
	maxMessages = 64
	maxReturns  = 16
)

var messageType = lazyregexp.New(`^[A-Z][A-Z0-9]{2}(\^[A-Z][A-Z0-9]{2})?$`)

// Read reads the policy from a front's section; names of files are relative to dir.
func Read(r *strictyaml.Reader, s *strictyaml.Section, dir string) *Policy {
	p := &Policy{
		Settings:     front.ReadSettings(r, s, dir),
		AnswerWithin: 10 * time.Second, MessageBytes: 64 << 10, OrderRate: 20, OrderBurst: 100,
		Pumps: map[string][]string{}, Returns: map[string]Return{},
	}
	if s.Has("answer-within") {
		p.AnswerWithin = r.Duration(s.Get("answer-within"), "answer-within", 100*time.Millisecond, 5*time.Minute)
	}
	if s.Has("message-bytes") {
		p.MessageBytes = int(r.Number(s.Get("message-bytes"), "message-bytes", 512, hl7.MaxMessage))
	}
	if s.Has("order-rate") {
		p.OrderRate = float64(r.Number(s.Get("order-rate"), "order-rate", 1, 100000))
	}
	if s.Has("order-burst") {
		p.OrderBurst = int(r.Number(s.Get("order-burst"), "order-burst", 1, 100000))
	}
	if !p.Server {
		for _, key := range []string{"pumps", "senders", "receivers", "returns"} {
			if s.Has(key) {
				r.Fail(s.Get(key), "%s is of a front that protects a server; this one protects a client, which is who connects", key)
			}
		}
		p.Answers = readMessages(r, s.Get("answers"), "answers")
		for i, t := range p.Answers {
			if Orders(t) {
				r.Fail(r.List(s.Get("answers"), "answers", maxMessages)[i], "an order is no answer; let it come through a front that protects the device as a server")
			}
		}
		return p
	}
	if s.Has("answers") {
		r.Fail(s.Get("answers"), "answers is of a front that protects a client; say messages of each sender")
	}
	p.readPumps(r, s.Get("pumps"))
	p.readReturns(r, s.Get("returns"), dir)
	r.Each(s.Need("senders", "who may send, each with application, certificates and messages"), "senders", maxSenders, func(name string, key, value ast.Node) {
		p.readSender(r, name, value)
	})
	for _, n := range r.List(s.Get("receivers"), "receivers", maxSenders) {
		q := r.Section(n, "a receiver", "application", "facility")
		p.Receivers = append(p.Receivers, readParty(r, q))
	}
	return p
}

// readPumps reads which names a pump has in messages. One name is of one pump.
func (p *Policy) readPumps(r *strictyaml.Reader, n ast.Node) {
	taken := map[string]bool{}
	r.Each(n, "pumps", maxPumps, func(id string, key, value ast.Node) {
		for _, n := range r.List(value, "the names of a pump", maxNames) {
			name := r.Text(n, "the name of a pump")
			if taken[plain(name)] {
				r.Fail(n, "%s is the name of two pumps; an order for it cannot be decided", strictyaml.Quoted(name))
			}
			taken[plain(name)] = true
			p.Pumps[id] = append(p.Pumps[id], name)
		}
	})
}

func (p *Policy) readReturns(r *strictyaml.Reader, n ast.Node, dir string) {
	host, _, _ := net.SplitHostPort(p.Forward.Address)
	r.Each(n, "returns", maxReturns, func(name string, key, value ast.Node) {
		s := r.Section(value, "a way back", "listen", "forward", "from")
		ret := Return{Settings: p.Settings}
		ret.Server = false // the device calls
		ret.Listen = front.ReadSide(r, s.Need("listen", "where the device connects to instead of the sender"), "listen", dir, true)
		ret.Forward = front.ReadSide(r, s.Need("forward", "where the sender takes answers"), "forward", dir, false)
		if o := ret.Outside(); o.TLS == nil && o.Clear == "" && r.Err() == nil {
			r.Fail(value, "the way back %s has no tls on its outside; give forward tls, or say clear: with the reason why it has to be without", strictyaml.Quoted(name))
		}
		if a, err := netip.ParseAddr(host); s.Has("from") {
			ret.From = front.ReadNetworks(r, s, "from")
		} else if err == nil {
			ret.From = []netip.Prefix{netip.PrefixFrom(a.Unmap().WithZone(""), a.Unmap().BitLen())}
		} else if r.Err() == nil {
			r.Fail(value, "the way back %s needs from: the addresses of the device, whose reports are believed", strictyaml.Quoted(name))
		}
		p.Returns[name] = ret
	})
}

func (p *Policy) readSender(r *strictyaml.Reader, name string, n ast.Node) {
	s := r.Section(n, "a sender", "application", "facility", "certificates", "role", "messages", "returns")
	q := Sender{Name: name, Party: readParty(r, s)}
	for _, n := range r.List(s.Need("certificates", "the DNS names or fingerprints (cert-...) that prove it; [] when nothing does"), "certificates", maxNames) {
		q.Certificates = append(q.Certificates, r.Text(n, "certificates"))
	}
	if s.Has("role") {
		role, ok := device.ParseRole(r.Text(s.Get("role"), "role"))
		if !ok && r.Err() == nil {
			r.Fail(s.Get("role"), "role is on whose behalf it sends: clinician, technician, controller ...")
		}
		q.Role = role
	}
	q.Messages = readMessages(r, s.Need("messages", "the types of message that it may send, such as RGV^O15"), "messages")
	if slices.ContainsFunc(q.Messages, Orders) && q.Role == device.NoRole && r.Err() == nil {
		r.Fail(n, "%s may send orders and has no role; say on whose behalf, such as role: clinician", strictyaml.Quoted(name))
	}
	if s.Has("returns") {
		q.Returns = r.Text(s.Get("returns"), "returns")
		if _, ok := p.Returns[q.Returns]; !ok && r.Err() == nil {
			r.Fail(s.Get("returns"), "there is no way back %s in returns", strictyaml.Quoted(q.Returns))
		}
	}
	if i := slices.IndexFunc(p.Senders, func(o Sender) bool { return o.Party == q.Party }); i >= 0 && r.Err() == nil {
		r.Fail(n, "%s and %s are the same application; give one sender both certificates", strictyaml.Quoted(name), strictyaml.Quoted(p.Senders[i].Name))
	}
	p.Senders = append(p.Senders, q)
}

func readParty(r *strictyaml.Reader, s *strictyaml.Section) Party {
	return Party{
		r.Text(s.Need("application", "the application, as MSH-3 or MSH-5 names it"), "application"),
		r.Text(s.Get("facility"), "facility"),
	}
}

func readMessages(r *strictyaml.Reader, n ast.Node, what string) (types []string) {
	for _, n := range r.List(n, what, maxMessages) {
		t := r.Text(n, what)
		if !messageType().MatchString(t) && r.Err() == nil {
			r.Fail(n, "%s has to have types of message as MSH-9 has them, such as RGV^O15", what)
		}
		types = append(types, t)
	}
	return types
}

// Orders reports whether a type of message tells a device what to do.
func Orders(t string) bool {
	code, _, _ := strings.Cut(t, "^")
	return slices.Contains([]string{"RGV", "ORM", "OMG", "OML", "OMP", "OMI", "OMN", "OMS", "OMD", "RDE", "RDS", "RAS", "OPL"}, code)
}

// index has the pumps found by name, however many there are.
func (p *Policy) index() *Policy {
	p.pumpOf = make(map[string]string, len(p.Pumps))
	for id, names := range p.Pumps {
		for _, n := range names {
			p.pumpOf[plain(n)] = id
		}
	}
	return p
}

// Devices are the ids of the pumps for which the gate is asked.
func (p *Policy) Devices() []string { return slices.Sorted(maps.Keys(p.Pumps)) }

// Listens are the addresses on which the front listens beside its own.
func (p *Policy) Listens() (all []string) {
	for _, r := range p.Returns {
		all = append(all, r.Listen.Address)
	}
	slices.Sort(all)
	return all
}

// plain is a name of a device as it is compared: EUI-64 identifiers have many spellings.
func plain(name string) string {
	return strings.ToUpper(strings.NewReplacer("-", "", ":", "", " ", "").Replace(name))
}

// names reports whether a designator of MSH is the party's.
func (q *Party) names(application, facility hl7.Designator) bool {
	is := func(d hl7.Designator, want string) bool {
		return d.Namespace.Is(want) || d.EUI64() != "" && d.EUI64() == plain(want)
	}
	return is(application, q.Application) && (q.Facility == "" || is(facility, q.Facility))
}

// sender is the one that a header names, or nil.
func (p *Policy) sender(h *hl7.Header) *Sender {
	for i := range p.Senders {
		if p.Senders[i].names(h.SendingApplication, h.SendingFacility) {
			return &p.Senders[i]
		}
	}
	return nil
}

// proves reports whether a connection's certificate is the sender's.
func (q *Sender) proves(c *front.Conn) bool {
	return slices.ContainsFunc(c.Names(), func(name string) bool {
		return slices.ContainsFunc(q.Certificates, func(of string) bool { return strings.EqualFold(of, name) })
	})
}

// receives reports whether what a header names may be addressed.
func (p *Policy) receives(h *hl7.Header) bool {
	return len(p.Receivers) == 0 || slices.ContainsFunc(p.Receivers, func(q Party) bool {
		return q.names(h.ReceivingApplication, h.ReceivingFacility)
	})
}

// allows reports whether a type of message is in a list. A type without a
// trigger in the list is of all triggers.
func allows(list []string, h *hl7.Header) bool {
	return slices.ContainsFunc(list, func(t string) bool {
		code, trigger, _ := strings.Cut(t, "^")
		return h.Code.Is(code) && (trigger == "" || h.Trigger.Is(trigger))
	})
}
