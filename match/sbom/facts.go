// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"slices"
	"time"
)

// facts is what the hooks of all formats gather.
type facts struct {
	open     []opened // components that are being read, the innermost last
	interned map[string]string
	days     map[string]string
	ids      map[string]int32 // names in the document
	named    []naming         // by id
	overflow bool
	edges    []edge
	known    []int32 // ids that say what they depend on
	from     int32   // of the dependency that is read
	start    int     // of its edges
	turn     int32   // which dependency this is

	strings slab[string]
	hashes  slab[Hash]

	// Parts of what is being read.
	entity, person string
	hash           Hash
	licences       []string
	expressions    int
	said           map[string]bool // in a list of unique strings
	property       struct{ name, value []byte }
}

type opened struct {
	index int
	rank  uint8 // of who was named as supplier
}

// A naming is what carries a name: a bom-ref or an SPDX identifier.
type naming struct {
	name      string
	component int32 // or -1
	defined   bool
	turn      int32 // the last dependency that named it
}

// An edge says that from depends on to; both are ids.
type edge struct{ from, to int32 }

// intern returns v as a string that is kept once however often it is said.
func (r *reader) intern(v []byte) string {
	if s, ok := r.interned[string(v)]; ok {
		return s
	}
	s := r.words.keep(v)
	if len(r.interned) < 1<<16 {
		r.interned[s] = s
	}
	return s
}

// wrote keeps who made the document.
func (r *reader) wrote(who string) {
	if who == "" {
		return
	}
	if len(r.doc.Authors) >= maxAuthors {
		r.overflow = true
		return
	}
	r.doc.Authors = append(r.doc.Authors, who)
}

// id numbers a name. Past the bound on names it sets overflow, which ends the
// reading as soon as the hook is through.
func (r *reader) id(v []byte) int32 {
	if i, ok := r.ids[string(v)]; ok {
		return i
	}
	if len(r.named) >= maxNames {
		r.overflow = true
		return 0
	}
	i := int32(len(r.named))
	s := r.words.keep(v)
	r.ids[s] = i
	r.named = append(r.named, naming{name: s, component: -1})
	return i
}

// define says that v is the name of something here.
func (r *reader) define(v []byte) error {
	n := &r.named[r.id(v)]
	if n.defined {
		return r.fail(errDefined)
	}
	n.defined = true
	return nil
}

func (r *reader) current() *Component { return &r.doc.Components[r.open[len(r.open)-1].index] }

func (r *reader) beginComponent() error {
	if len(r.doc.Components) >= maxComponents {
		return r.fail(errTooMany)
	}
	parent := -1
	if n := len(r.open); n > 0 {
		parent = r.open[n-1].index
	}
	r.open = append(r.open, opened{index: len(r.doc.Components)})
	r.doc.Components = append(r.doc.Components, Component{Parent: parent})
	return nil
}

func (r *reader) endComponent() error {
	r.open = r.open[:len(r.open)-1]
	return nil
}

// componentRef gives the current component its name, which define has seen.
func (r *reader) componentRef(v []byte) error {
	n := &r.named[r.id(v)]
	n.component = int32(r.open[len(r.open)-1].index)
	r.current().Ref = n.name
	return nil
}

func (r *reader) addCPE(v []byte) {
	if c := r.current(); len(v) > 0 {
		c.CPEs = r.strings.add(c.CPEs, r.words.keep(v))
	}
}

// supplies names who supplies the current component. The higher rank wins.
func (r *reader) supplies(who string, rank uint8) {
	o := &r.open[len(r.open)-1]
	if who != "" && rank > o.rank {
		o.rank = rank
		r.current().Supplier = who
	}
}

func (r *reader) beginDependency() error {
	r.from, r.start = -1, len(r.edges)
	r.turn++
	return nil
}

func (r *reader) dependsOn(v []byte) error {
	if len(r.edges) >= maxEdges {
		return r.fail(errTooMany)
	}
	to := r.id(v)
	if n := &r.named[to]; n.turn == r.turn {
		if !r.isXML { // JSON: "uniqueItems"
			return r.fail(errDuplicate)
		}
		return nil
	} else {
		n.turn = r.turn
	}
	r.edges = append(r.edges, edge{-1, to})
	return nil
}

func (r *reader) endDependency() error {
	for i := r.start; i < len(r.edges); i++ {
		r.edges[i].from = r.from
	}
	r.known = append(r.known, r.from)
	return nil
}

// connect turns the edges into the components' lists. What is named and not a
// component (a service, a file, another document) falls away.
func (r *reader) connect() {
	c := r.doc.Components
	component := func(id int32) int { return int(r.named[id].component) }
	for _, id := range r.known {
		if id >= 0 && component(id) >= 0 {
			c[component(id)].DependsKnown = true
		}
	}
	n := 0
	count := make([]int32, len(c))
	for _, e := range r.edges {
		if e.from >= 0 && component(e.from) >= 0 && component(e.to) >= 0 {
			count[component(e.from)]++
			n++
		}
	}
	all := make([]int, n)
	for i, k := range count {
		if k > 0 {
			c[i].DependsOn, all = all[:0:k], all[k:]
		}
	}
	for _, e := range r.edges {
		if e.from >= 0 && component(e.from) >= 0 && component(e.to) >= 0 {
			d := &c[component(e.from)].DependsOn
			*d = append(*d, component(e.to))
		}
	}
	// SPDX may say the same from both ends.
	listed := make([]int32, len(c))
	for i := range c {
		d := c[i].DependsOn[:0]
		for _, j := range c[i].DependsOn {
			if j != i && listed[j] != int32(i+1) {
				listed[j] = int32(i + 1)
				d = append(d, j)
			}
		}
		if c[i].DependsOn = d; len(d) == 0 {
			c[i].DependsOn = nil
		}
	}
}

// supportNote looks for FDA's two additions in what a document says with a name
// of its own: the level of support and the end of support. CycloneDX has no
// field for them. An end of life counts where no end of support is said.
func (r *reader) supportNote(c *Component, name, value []byte) {
	if len(name) > 64 || len(value) == 0 {
		return
	}
	var letters [64]byte
	n := 0
	for _, b := range name {
		if b |= 0x20; 'a' <= b && b <= 'z' {
			letters[n] = b
			n++
		}
	}
	w := letters[:n]
	last := name[bytes.LastIndexFunc(name, func(c rune) bool { return c|0x20 < 'a' || c|0x20 > 'z' })+1:]
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(s string) bool { return bytes.Contains(w, []byte(s)) })
	}
	switch {
	case has("endofsupport", "supportend", "supporteduntil", "supportedthrough", "eosdate") || bytes.EqualFold(last, []byte("eos")):
		if d := r.day(value); d != "" {
			c.EndOfSupport = d
		} else if c.EndOfSupportText == "" {
			c.EndOfSupportText = r.intern(value)
		}
	case has("endoflife", "eoldate") || bytes.EqualFold(last, []byte("eol")):
		if d := r.day(value); d != "" && c.EndOfSupport == "" {
			c.EndOfSupport = d
		}
	case has("levelofsupport", "supportlevel", "supportstatus", "maintenancestatus"):
		c.SupportLevel = r.intern(value)
	}
}

// day is day for bytes, without its cost where one date is said often.
func (r *reader) day(v []byte) string {
	if len(v) > 40 {
		return ""
	}
	if d, ok := r.days[string(v)]; ok {
		return d
	}
	d := day(string(v))
	if r.days == nil {
		r.days = map[string]string{}
	}
	if len(r.days) < 1<<12 {
		r.days[string(v)] = d
	}
	return d
}

// day reads a date as people write one that cannot be misread, and returns it
// as "2006-01-02"; a month alone is its last day. It returns "" for anything
// else, "03/04/2026" among it.
func day(s string) string {
	if len(s) > 40 {
		return ""
	}
	for _, layout := range []string{"2006-01-02", time.RFC3339, "2006-01-02T15:04:05", "2006/01/02", "20060102", "2 January 2006", "2 Jan 2006", "January 2, 2006", "Jan 2, 2006", "02-Jan-2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(time.DateOnly)
		}
	}
	for _, layout := range []string{"2006-01", "January 2006", "Jan 2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.AddDate(0, 1, -1).Format(time.DateOnly)
		}
	}
	return ""
}
