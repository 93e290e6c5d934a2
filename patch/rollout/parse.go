// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/internal/strictyaml"
)

// Format is how a plan is told from other files.
var Format = strictyaml.Format{Name: "roll-out plan", Marker: "rollout: 1"}

// Bounds of a plan, and what holds without a word.
const (
	maxRings   = 32
	maxListed  = 1000 // names in a list
	maxRules   = 64
	maxName    = 80 // bytes
	longest    = 366 * 24 * time.Hour
	usualFresh = 5 * time.Minute
	usualPoll  = 15 * time.Minute
	usualOffer = 5 * time.Minute
	maxOffer   = time.Hour
)

// ParsePlan reads a plan, in YAML, or in JSON with the same keys. File is what errors,
// which say line and column, call it. See [Plan] for the keys; what is not said is as
// strict as can be: one device of a ward at a time, five minutes for a state to be
// fresh, alpha and beta of 5 %, the first silent device halts.
func ParsePlan(file string, src []byte) (*Plan, error) {
	if b := bytes.TrimSpace(src); len(b) > 0 && b[0] == '{' && len(b) <= strictyaml.MaxFileBytes {
		var lines bytes.Buffer
		if json.Indent(&lines, b, "", " ") == nil { // else it is a mapping of YAML
			src = lines.Bytes()
		}
	}
	r := strictyaml.New(file, Format)
	s := r.Section(r.Document(src), "a roll-out plan", "rollout", "release", "executor", "approve", "rings", "bounds", "fresh", "poll", "offer",
		"zone", "windows", "freezes", "capacity", "wards", "backup", "raise", "consent", "relax")
	q := reader{r}
	p := &Plan{
		Format:   int(r.Number(s.Need("rollout", "the version of the format, 1"), "rollout", 1, 1)),
		Executor: Executor(r.Word(s.Get("executor"), "executor", executors)),
		Approve:  q.names(s.Get("approve"), "approve"),
		Fresh:    map[string]Span{},
		Poll:     q.span(s.Get("poll"), "poll", 10*time.Second, 24*time.Hour, usualPoll),
		Offer:    q.span(s.Get("offer"), "offer", 10*time.Second, maxOffer, usualOffer),
		Capacity: 1,
		Wards:    map[string]int{},
		Backup:   map[string]Span{},
	}
	if s.Has("release") && p.Release.UnmarshalText([]byte(r.Text(s.Get("release"), "release"))) != nil {
		r.Fail(s.Get("release"), "release has to be the SHA-256 of its envelope, in 64 hexadecimal digits")
	}
	for _, n := range r.List(s.Need("rings", "the stages, such as bench, staff, canary, waves"), "rings", maxRings) {
		p.Rings = append(p.Rings, q.ring(n, p.Rings))
	}
	if len(p.Rings) == 0 {
		r.Fail(s.Get("rings"), "a plan has at least one ring")
	}
	p.Bounds = q.bounds(s.Get("bounds"))
	q.spans(s.Get("fresh"), "fresh", p.Fresh)
	if _, ok := p.Fresh[Usual]; !ok {
		p.Fresh[Usual] = Span(usualFresh)
	}
	q.spans(s.Get("backup"), "backup", p.Backup)

	p.Zone, p.zone = "UTC", time.UTC
	if s.Has("zone") {
		p.Zone = r.Text(s.Get("zone"), "zone")
		loc, err := time.LoadLocation(p.Zone)
		if r.Err() == nil && (err != nil || p.Zone == "Local") {
			r.Fail(s.Get("zone"), "zone has to be a time zone that this machine knows, such as Europe/Stockholm or UTC")
		}
		if err == nil {
			p.zone = loc
		}
	} else if s.Has("windows") || s.Has("freezes") {
		s.Need("zone", "the time zone of windows and freezes, such as Europe/Stockholm")
	}
	for _, n := range r.List(s.Get("windows"), "windows", maxRules) {
		o := r.Section(n, "a window", "wards", "open")
		w := Window{Wards: q.names(o.Get("wards"), "wards"), Open: r.Text(o.Need("open", "when it is open, such as mon-fri 01:00-05:00"), "open")}
		if r.Err() == nil {
			if err := w.read(); err != nil {
				r.Fail(o.Get("open"), "open has to have days and hours, such as mon-fri 01:00-05:00 or sat,sun 22:00-06:00")
			}
		}
		p.Windows = append(p.Windows, w)
	}
	for _, n := range r.List(s.Get("freezes"), "freezes", maxRules) {
		p.Freezes = append(p.Freezes, q.freeze(n, p.zone))
	}
	if s.Has("capacity") {
		p.Capacity = int(r.Number(s.Get("capacity"), "capacity", 1, 1_000_000))
	}
	r.Each(s.Get("wards"), "wards", maxListed, func(name string, _, value ast.Node) {
		p.Wards[name] = int(r.Number(value, "a ward's number of devices", 0, 1_000_000))
	})
	o := r.Section(s.Get("raise"), "raise", "supervision", "battery", "longevity", "spare", "near")
	p.Raise = Raise{
		Battery: int(r.Number(o.Get("battery"), "battery", 0, 100)), Longevity: int(r.Number(o.Get("longevity"), "longevity", 0, 36_500)),
		Spare: r.Truth(o.Get("spare"), "spare", false), Near: r.Truth(o.Get("near"), "near", false),
	}
	q.word(o.Get("supervision"), "supervision", "unattended, patient present, clinician present, or in clinic, with backup equipment", p.Raise.Supervision.UnmarshalText)
	o = r.Section(s.Get("consent"), "consent", "clinician", "patient", "terms")
	p.Consent = Consent{Clinician: r.Truth(o.Get("clinician"), "clinician", false), Patient: r.Truth(o.Get("patient"), "patient", false), Terms: q.name(o.Get("terms"), "terms")}
	if p.Consent.Clinician || p.Consent.Patient {
		o.Need("terms", "the version of the text that is consented to, such as 2026-03")
	}
	for _, n := range r.List(s.Get("relax"), "relax", maxRules) {
		p.Relax = append(p.Relax, q.relax(n))
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// A reader reads the parts of a plan.
type reader struct{ *strictyaml.Reader }

func (q reader) name(n ast.Node, what string) string {
	s := q.Text(n, what)
	if q.Err() == nil && (len(s) > maxName || strings.TrimSpace(s) != s) {
		q.Fail(n, "%s has to be a name of at most %d bytes", what, maxName)
	}
	return s
}

func (q reader) names(n ast.Node, what string) []string {
	var list []string
	for _, v := range q.List(n, what, maxListed) {
		list = append(list, q.name(v, what))
	}
	return list
}

func (q reader) span(n ast.Node, what string, least, most, usual time.Duration) Span {
	if n == nil {
		return Span(usual)
	}
	return Span(q.Duration(n, what, least, most))
}

func (q reader) spans(n ast.Node, what string, to map[string]Span) {
	q.Each(n, what, maxListed, func(name string, _, value ast.Node) {
		to[name] = q.span(value, what, 0, 24*time.Hour, 0)
	})
}

// word reads a word of package patch.
func (q reader) word(n ast.Node, what, words string, read func([]byte) error) {
	if n != nil && read([]byte(q.Text(n, what))) != nil {
		q.Fail(n, "%s has to be one of: %s", what, words)
	}
}

func (q reader) ring(n ast.Node, before []Ring) Ring {
	s := q.Section(n, "a ring", "name", "devices", "wards", "dependency", "share", "least", "finished", "soak")
	g := Ring{
		Name: q.name(s.Need("name", "what people call it, such as canary"), "name"), Devices: q.names(s.Get("devices"), "devices"),
		Wards: q.names(s.Get("wards"), "wards"), Dependency: q.names(s.Get("dependency"), "dependency"), Share: int(q.Number(s.Get("share"), "share", 1, 100)),
		Least: 1, Soak: q.span(s.Get("soak"), "soak", 0, longest, 0),
	}
	if s.Has("least") {
		g.Least = int(q.Number(s.Get("least"), "least", 1, 10_000_000))
	}
	if g.Finished = g.Least; s.Has("finished") {
		g.Finished = int(q.Number(s.Get("finished"), "finished", 1, 10_000_000))
	}
	for i := range before {
		if before[i].Name == g.Name {
			q.Fail(s.Get("name"), "another ring has this name")
		}
	}
	return g
}

func (q reader) bounds(n ast.Node) Bounds {
	s := q.Section(n, "bounds", "fall-back", "lost-settings", "alpha", "beta", "silence", "silent")
	rate := func(key string, usual Rate) Rate {
		if !s.Has(key) {
			return usual
		}
		o := q.Section(s.Get(key), key, "usual", "most")
		r := Rate{q.percent(o.Need("usual", "the rate that is to be expected, in percent"), "usual", 0), q.percent(o.Need("most", "the rate that is too much, in percent"), "most", 0)}
		if q.Err() == nil && r.Usual >= r.Most {
			q.Fail(o.Node, "most has to be more than usual: a test tells the two apart")
		}
		return r
	}
	b := Bounds{ // of earlier updates of pacemakers: 0.161 % fell back, 0.023 % lost their settings
		FallBack: rate("fall-back", Rate{0.2, 1}), LostSettings: rate("lost-settings", Rate{0.02, 0.1}),
		Alpha: q.percent(s.Get("alpha"), "alpha", 5), Beta: q.percent(s.Get("beta"), "beta", 5),
		Silence: q.span(s.Get("silence"), "silence", time.Second, longest, time.Hour), Silent: 1,
	}
	if q.Err() == nil && (b.Alpha >= 50 || b.Beta >= 50) {
		q.Fail(s.Node, "alpha and beta have to be less than 50 percent")
	}
	if s.Has("silent") {
		b.Silent = int(q.Number(s.Get("silent"), "silent", 1, 1_000_000))
	}
	return b
}

// percent reads a number between 0 and 100, both left out.
func (q reader) percent(n ast.Node, what string, usual float64) float64 {
	if n == nil || q.Err() != nil {
		return usual
	}
	v, err := strconv.ParseFloat(q.Text(n, what), 64)
	if err != nil || math.IsNaN(v) || v < 0.0001 || v > 99.9999 {
		q.Fail(n, "%s has to be a number of percent, between 0.0001 and 99.9999", what)
		return usual
	}
	return v
}

func (q reader) freeze(n ast.Node, zone *time.Location) Freeze {
	s := q.Section(n, "a freeze", "from", "to", "wards", "why")
	f := Freeze{
		From: q.Text(s.Need("from", "its first day, such as 2026-12-20"), "from"), To: q.Text(s.Need("to", "its last day, such as 2027-01-06"), "to"),
		Wards: q.names(s.Get("wards"), "wards"), Why: q.name(s.Need("why", "a reason, for those who wait"), "why"),
	}
	if q.Err() != nil {
		return f
	}
	day := func(key, v string) time.Time {
		t, err := time.ParseInLocation(time.DateOnly, v, zone)
		if err != nil {
			q.Fail(s.Get(key), "%s has to be a day, such as 2026-12-20", key)
		}
		return t
	}
	f.from, f.to = day("from", f.From), day("to", f.To).AddDate(0, 0, 1)
	if q.Err() == nil && !f.from.Before(f.to) {
		q.Fail(s.Get("to"), "to is before from")
	}
	return f
}

func (q reader) relax(n ast.Node) Relaxation {
	s := q.Section(n, "an entry of relax", "gate", "urgency", "by", "most")
	x := Relaxation{By: q.names(s.Need("by", "the roles of which both people have one"), "by"), Most: q.span(s.Need("most", "for how long at most, such as 12h"), "most", time.Minute, longest, 0)}
	const gates = "clinician's consent, patient's consent, maintenance window, ward capacity, ring, freeze"
	q.word(s.Need("gate", "one of "+gates), "gate", gates, x.Gate.UnmarshalText)
	if q.Err() == nil && !Relaxable(x.Gate) {
		q.Fail(s.Get("gate"), "nobody can relax the gate %s; one of %s can be", strictyaml.Quoted(x.Gate.String()), gates)
	}
	q.word(s.Need("urgency", "from which class of release on: regular cycle, out of cycle, uncontrolled risk"), "urgency", "regular cycle, out of cycle, uncontrolled risk", x.Urgency.UnmarshalText)
	if q.Err() == nil && len(x.By) == 0 {
		q.Fail(s.Get("by"), "by needs at least one role")
	}
	return x
}
