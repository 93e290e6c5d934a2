// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package documents

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/store"
)

// An Affected device is one that a document concerns, or is about.
type Affected struct {
	Device, Label, Ward, Product string
	Model                        string // maker and model, without a version
	Maker, Type, Version         string `json:"-"`
	Certainty                    string
	Vulnerabilities              []string
	Why                          []string
	Cleared                      string // by its supplier: the statement
	Attacked                     bool   // attackers use one of the vulnerabilities: CISA's list
	EPSS                         float64
}

// A Review is a pair of names of which nobody knows yet whether they are one product.
type Review struct {
	Maker, Model     string   // as devices say
	AsMaker, AsModel string   // as documents say
	Devices          int      // that it is about
	Documents        []string // digests
}

// A Naming is what a person decided of a pair of names, for all documents.
type Naming struct {
	Maker, Model     string
	AsMaker, AsModel string
	Same             bool
	Reason, By       string
	At               int64 // names the decision
}

// A View is what was known at a time.
type View struct {
	At      time.Time
	Devices int
	Of      map[string][]Affected // by digest; at most [MostAffected] each
	Total   map[string]int        // of those, all
	Trouble map[string]string     // documents that could not be read any more
	Reviews []Review
	stamp   string
}

// Bounds of a view.
const (
	MostAffected = 500   // devices of a document that are listed
	mostReviews  = 500   // pairs of names
	mostNamings  = 5_000 // decisions
)

// A Fleet says which devices documents concern. It looks at the store again when
// something changed, and keeps what it found.
type Fleet struct {
	store *store.Store
	now   func() time.Time
	log   *slog.Logger
	wake  chan struct{}
	view  atomic.Pointer[View]
}

// NewFleet returns a fleet that has looked at nothing yet.
func NewFleet(s *store.Store, now func() time.Time, log *slog.Logger) *Fleet {
	f := &Fleet{store: s, now: now, log: log, wake: make(chan struct{}, 1)}
	f.view.Store(&View{})
	return f
}

// View returns what is known; its time is zero when nothing is yet.
func (f *Fleet) View() *View { return f.view.Load() }

// Changed tells that documents or decisions changed.
func (f *Fleet) Changed() {
	select {
	case f.wake <- struct{}{}:
	default: // it is told already
	}
}

// lookEvery is how often a fleet looks whether devices came.
const lookEvery = time.Minute

// Run keeps the view until ctx is done.
func (f *Fleet) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := f.Look(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("which devices documents concern could not be found out", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-tick.C:
		}
	}
}

// Look looks at all devices and documents if something changed since.
func (f *Fleet) Look(ctx context.Context) error {
	counts, err := f.store.Counts(ctx)
	if err != nil {
		return err
	}
	names, err := f.store.Setting(ctx, namings)
	if err != nil {
		return err
	}
	newest, err := f.store.Documents(ctx, nil, "", store.Page{Limit: 1})
	if err != nil {
		return err
	}
	stamp := fmt.Sprint(counts["devices"], counts["last version"], counts["documents"], string(names))
	if len(newest.Rows) > 0 {
		stamp += newest.Rows[0].Digest
	}
	if f.View().stamp == stamp {
		return nil
	}
	v, err := f.build(ctx, names)
	if err != nil {
		return err
	}
	v.stamp = stamp
	f.view.Store(v)
	return nil
}

// namings is the setting that has what people decided.
const namings = "names of products"

// Namings returns what people decided.
func (f *Fleet) Namings(ctx context.Context) ([]Naming, error) {
	b, err := f.store.Setting(ctx, namings)
	if err != nil || b == nil {
		return nil, err
	}
	var list []Naming
	return list, json.Unmarshal(b, &list)
}

// Decide keeps what a person decided, once for all documents. [store.ErrConflict].
func (f *Fleet) Decide(ctx context.Context, n Naming) error {
	return f.change(ctx, func(list []Naming) ([]Naming, error) {
		if len(list) >= mostNamings {
			return nil, refuse("There is room for %d decisions about names.", mostNamings)
		}
		list = slices.DeleteFunc(list, func(o Naming) bool {
			return o.Maker == n.Maker && o.Model == n.Model && o.AsMaker == n.AsMaker && o.AsModel == n.AsModel
		})
		list = append(list, n)
		if _, err := namesOf(list); err != nil {
			return nil, refuse("This cannot be so together with what is known: %s.", err)
		}
		return list, nil
	})
}

// Forget takes a decision back. [store.ErrNotFound], [store.ErrConflict].
func (f *Fleet) Forget(ctx context.Context, at int64) error {
	return f.change(ctx, func(list []Naming) ([]Naming, error) {
		left := slices.DeleteFunc(slices.Clone(list), func(n Naming) bool { return n.At == at })
		if len(left) == len(list) {
			return nil, store.ErrNotFound
		}
		return left, nil
	})
}

func (f *Fleet) change(ctx context.Context, change func([]Naming) ([]Naming, error)) error {
	old, err := f.store.Setting(ctx, namings)
	if err != nil {
		return err
	}
	var list []Naming
	if old != nil {
		if err := json.Unmarshal(old, &list); err != nil {
			return err
		}
	}
	if list, err = change(list); err != nil {
		return err
	}
	b, err := json.Marshal(list)
	if err == nil {
		err = f.store.SetSetting(ctx, namings, old, b)
	}
	if err == nil {
		f.Changed()
	}
	return err
}

// namesOf returns the names that Myelin comes with, and those that people decided
// are of one product: a file of aliases.
func namesOf(list []Naming) (*match.Names, error) {
	type entry struct {
		Maker string   `yaml:"maker,omitempty"`
		Name  string   `yaml:"name"`
		Same  []string `yaml:"same"`
	}
	var file struct {
		Makers   []entry `yaml:"makers,omitempty"`
		Products []entry `yaml:"products,omitempty"`
	}
	add := func(to *[]entry, maker, name, same string) {
		i := slices.IndexFunc(*to, func(e entry) bool { return e.Maker == maker && e.Name == name })
		if i < 0 {
			i = len(*to)
			*to = append(*to, entry{Maker: maker, Name: name})
		}
		if !slices.Contains((*to)[i].Same, same) {
			(*to)[i].Same = append((*to)[i].Same, same)
		}
	}
	names := match.Shipped()
	for _, n := range list {
		if !n.Same {
			continue
		}
		if names.SameMaker(n.Maker, n.AsMaker) != match.Exact {
			add(&file.Makers, "", n.AsMaker, n.Maker)
		}
		if n.Model != n.AsModel {
			add(&file.Products, n.AsMaker, n.AsModel, n.Model)
		}
	}
	if len(file.Makers)+len(file.Products) == 0 {
		return names, nil
	}
	b, err := yaml.MarshalWithOptions(&file, yaml.JSON()) // quoted, whatever the names are
	if err != nil {
		return nil, err
	}
	return names.Extend("decisions", b)
}

// build looks at everything.
func (f *Fleet) build(ctx context.Context, decided []byte) (*View, error) {
	var list []Naming
	if decided != nil {
		if err := json.Unmarshal(decided, &list); err != nil {
			return nil, err
		}
	}
	names, err := namesOf(list)
	if err != nil {
		return nil, err
	}
	v := &View{At: f.now(), Of: map[string][]Affected{}, Total: map[string]int{}, Trouble: map[string]string{}}
	b := &builder{View: v, names: names, index: match.NewIndex(names), reviews: map[Naming]*Review{}, apart: map[Naming]bool{}}
	b.suppliers = assess.NewSuppliers(b.index, names)
	for _, n := range list {
		if !n.Same {
			b.apart[Naming{Maker: n.Maker, Model: n.Model, AsMaker: n.AsMaker, AsModel: n.AsModel}] = true
		}
	}
	q := store.DeviceQuery{Sort: "name", Page: store.Page{Limit: 1000}}
	for {
		l, err := f.store.Devices(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range l.Rows {
			b.device(&l.Rows[i])
		}
		if q.After = l.Next; q.After == "" {
			break
		}
	}
	v.Devices = len(b.devices)
	var after store.Page
	var forms []*register.MDS2
	var formOf []string // digests
	var advisories []*advisory.Document
	var said []vex.Statement
	bills := map[int]string{}               // digests, by the index's ordinals
	of := map[string][]*advisory.Document{} // by digest
	for {
		l, err := f.store.Documents(ctx, nil, "", after)
		if err != nil {
			return nil, err
		}
		for i := range l.Rows {
			digest := l.Rows[i].Digest
			_, content, err := f.store.Content(ctx, digest)
			if errors.Is(err, store.ErrNotFound) {
				continue // somebody removed it just now
			} else if err != nil {
				return nil, err
			}
			_, p, err := read(content, v.At)
			if err != nil {
				v.Trouble[digest] = err.Error()
			}
			if p == nil {
				continue
			}
			if p.form != nil {
				forms, formOf = append(forms, p.form), append(formOf, digest)
			}
			if p.attacked != nil {
				b.attacked = p.attacked
			}
			if p.scores != nil {
				b.scores = p.scores
			}
			if p.bill != nil {
				bills[b.suppliers.Made(p.bill)] = digest
			}
			for _, a := range p.advisories {
				b.index.AddAdvisory(a)
			}
			advisories, said, of[digest] = append(advisories, p.advisories...), append(said, p.said...), p.advisories
		}
		if after.After = l.Next; after.After == "" {
			break
		}
	}
	b.suppliers.Hear(said, advisories)
	for digest, docs := range of {
		for _, d := range docs {
			b.affected(digest, d)
		}
	}
	for i, d := range b.devices {
		made, sure := b.index.Bills(uint32(i))
		for _, n := range made {
			if digest := bills[n]; digest != "" && d.Device != "" {
				d.Certainty, d.Why = string(sure), nil
				v.add(digest, d)
			}
		}
	}
	for i, form := range forms {
		b.form(formOf[i], form)
	}
	for _, r := range b.reviews {
		v.Reviews = append(v.Reviews, *r)
	}
	slices.SortFunc(v.Reviews, func(x, y Review) int {
		return cmp.Or(cmp.Compare(y.Devices, x.Devices), strings.Compare(x.Maker+x.Model, y.Maker+y.Model), strings.Compare(x.AsMaker+x.AsModel, y.AsMaker+y.AsModel))
	})
	return v, ctx.Err()
}

// A builder makes a view.
type builder struct {
	*View
	names     *match.Names
	index     *match.Index
	suppliers *assess.Suppliers
	devices   []Affected // by the index's ordinals
	reviews   map[Naming]*Review
	apart     map[Naming]bool
	attacked  map[string]advisory.KEVEntry
	scores    *advisory.EPSS
}

func (b *builder) device(d *store.Device) {
	e := &register.Entry{
		ID: d.ID, Therapy: d.Therapy, Class: d.Class, ProductCode: d.ProductCode, Ward: d.Ward,
		Identity: device.Identity{Manufacturer: d.Manufacturer, Model: d.Model, Version: d.Version, OS: d.OS, Serial: d.Serial},
	}
	at := int(b.index.AddDevice(e))
	for len(b.devices) <= at {
		b.devices = append(b.devices, Affected{})
	}
	b.devices[at] = Affected{Device: d.ID, Label: cmp.Or(d.Label, d.ID), Ward: d.Ward, Product: strings.Join(strings.Fields(d.Manufacturer+" "+d.Model+" "+d.Version), " "), Model: strings.TrimSpace(d.Manufacturer + " " + d.Model), Maker: d.Manufacturer, Type: d.Model, Version: d.Version}
}

// form adds the devices that a maker's disclosure is of.
func (b *builder) form(digest string, m *register.MDS2) {
	for _, d := range b.devices {
		if d.Device == "" {
			continue
		}
		sure := b.names.SameProduct(match.Product{Manufacturer: d.Maker, Model: d.Type}, match.Product{Manufacturer: m.Manufacturer, Model: m.Model})
		if sure == "" {
			continue
		}
		if m.Version != "" && !m.Of(d.Version) {
			sure, d.Why = match.Review, []string{"the form is of version " + m.Version + ", and this device's is " + cmp.Or(d.Version, "not known")}
		}
		d.Certainty = string(sure)
		b.add(digest, d)
	}
}

func (v *View) add(digest string, d Affected) {
	v.Total[digest]++
	if len(v.Of[digest]) < MostAffected {
		v.Of[digest] = append(v.Of[digest], d)
	}
}

// affected adds the devices that an advisory concerns: each once, by its surest hit.
func (b *builder) affected(digest string, d *advisory.Document) {
	at := map[uint32]int{}
	var list []Affected
	hits := b.index.Affected(d) // the surest first
	for i := range hits {
		h := &hits[i]
		if h.Certainty == match.Review && h.Component < 0 && b.review(digest, d, h) {
			continue // a person decided that it is another product
		}
		cleared := ""
		if stands, by, _ := b.suppliers.Judge(h); by != nil {
			cleared = by.Opinion()
		} else if !stands {
			continue
		}
		for it := h.Devices.Iterator(); it.HasNext(); {
			n := it.Next()
			j, known := at[n]
			if !known {
				j = len(list)
				at[n] = j
				one := b.devices[n]
				one.Certainty, one.Why, one.Cleared = string(h.Certainty), h.Why, cleared
				list = append(list, one)
			}
			if h.Vulnerability != "" && !slices.Contains(list[j].Vulnerabilities, h.Vulnerability) {
				list[j].Vulnerabilities = append(list[j].Vulnerabilities, h.Vulnerability)
			}
		}
	}
	for _, one := range list {
		for _, id := range one.Vulnerabilities {
			if _, ok := b.attacked[id]; ok {
				one.Attacked = true
			}
			if b.scores != nil {
				p, _, _ := b.scores.Score(id)
				one.EPSS = max(one.EPSS, p)
			}
		}
		b.add(digest, one)
	}
}

// review notes the names between which a hit is unsure, and reports whether a person
// decided that all of them are of other products.
func (b *builder) review(digest string, d *advisory.Document, h *match.Hit) (apart bool) {
	p := b.index.Product(h.Product)
	seen, all := map[[2]string]bool{}, true
	for i := range d.Vulnerabilities {
		for j := range d.Vulnerabilities[i].Statements {
			s := &d.Vulnerabilities[i].Statements[j].Product
			key := [2]string{s.Manufacturer, s.Name}
			if s.Name == "" || seen[key] || len(seen) >= mostReviews {
				continue
			}
			sure := b.names.SameProduct(match.Product{Manufacturer: p.Manufacturer, Model: p.Model}, match.Product{Manufacturer: s.Manufacturer, Model: s.Name})
			if sure == "" {
				continue
			}
			seen[key] = true
			pair := Naming{Maker: p.Manufacturer, Model: p.Model, AsMaker: s.Manufacturer, AsModel: s.Name}
			if b.apart[pair] {
				continue
			}
			all = false
			if sure != match.Review {
				return false // the names are clear: the version is not
			}
			r := b.reviews[pair]
			if r == nil {
				if len(b.reviews) >= mostReviews {
					continue
				}
				r = &Review{Maker: p.Manufacturer, Model: p.Model, AsMaker: s.Manufacturer, AsModel: s.Name, Devices: int(h.Devices.GetCardinality())}
				b.reviews[pair] = r
			}
			if !slices.Contains(r.Documents, digest) {
				r.Documents = append(r.Documents, digest)
			}
		}
	}
	return all && len(seen) > 0
}
