// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/cpe"
	"github.com/myelin-health/myelin/match/version"
)

// titleNoise is what stands in the title of an advisory beside the product.
var titleNoise = lazyregexp.New(`(?i)\b(ICSMA-[\d-]+[A-Z]?_?|vulnerabilit(y|ies)|\(update [a-z]\)|medical (device )?advisory|hard-coded passwords?|open redirect)`)

// wholes returns the products, or some of their devices, that a statement is
// about as a whole: by manufacturer, model and version.
func (x *Index) wholes(d *advisory.Document, p *advisory.Product) []candidate {
	limit := Exact
	name, vendor := p.Name, p.Manufacturer
	if c, err := cpe.Parse(p.CPE); err == nil && (name == "" || strings.EqualFold(name, cpe.Plain(c[cpe.Product]))) {
		name = strings.TrimSuffix(plainCPE(c[cpe.Product]), " firmware")
		vendor = plainCPE(c[cpe.Vendor])
		limit = least(limit, Likely)
	}
	out := x.identified(p)
	if name == "" {
		return out
	}
	m := x.maker(vendor)
	h := x.house(m)
	var alts []pattern
	for _, alt := range alternatives(name) {
		a := pattern{parseModel(alt.name, h), alt.cap, alt.why}
		if !a.model.distinct() && len(a.model.versions) == 0 && d.Title != "" {
			// "Version: <= R8.0.3" in an advisory about the Alice 6.
			t := parseModel(titleNoise().ReplaceAllString(d.Title, " "), h)
			if t.distinct() && len(alts) == 0 && (len(a.model.generic) == 0 || !within(a.model.generic, t.generic)) {
				a = pattern{t, Review, "the product is named in the advisory's title only"}
			}
		}
		alts = append(alts, a)
	}
	if models := append(slices.Clone(p.Text.Models), append(p.Models, p.SKUs...)...); len(models) > 0 {
		alts = withModels(alts, models, h)
	}
	if t := parseModel(p.Version, h); p.Text.Kind == version.Review && !p.HasRange && len(t.words) > 0 && len(t.codes) > 0 {
		alts = append(alts, pattern{t, Review, fmt.Sprintf("the advisory names %q where versions stand", p.Version)})
	}
	if t := parseModel(p.Text.Condition, h); len(t.oneOf)+len(t.codes) > 0 { // "X3/MX100 for Rev M only"
		said := append(slices.Clone(alts[0].model.words), t.codes...)
		for _, list := range t.oneOf {
			said = append(said, strings.Join(list, "/"))
		}
		alts = append(alts, pattern{parseModel(strings.Join(said, " "), h), Review, fmt.Sprintf("the advisory names it beside the versions: %q", p.Text.Condition)})
	}
	near := map[int]bool{}
	for _, a := range alts {
		for i := range x.near(a.model) {
			near[i] = true
		}
	}
	x.vague(alts, near)
	order := make([]int, 0, len(near))
	for i, ok := range near {
		if ok {
			order = append(order, i)
		}
	}
	slices.Sort(order)
	for _, i := range order {
		n := &x.models[i]
		mc, mwhy := x.names.same(m, n.maker)
		if mc == "" {
			continue
		}
		for _, pi := range n.products {
			prod := &x.products[pi]
			// A package of an ecosystem is what products are made of. That one is
			// called like it is not enough: it has to be the package.
			if p.Ecosystem != "" && p.Package != "" && p.Manufacturer == "" && !strings.EqualFold(prod.Model, p.Package) || prod.nameless {
				continue
			}
			var best []candidate
			for _, a := range alts {
				found := x.whole(p, a, prod)
				if len(found) > 0 && (best == nil || found[0].certainty.rank() > best[0].certainty.rank()) {
					best = found
				}
			}
			for _, c := range best {
				c.product, c.component = pi, -1
				c.certainty = least(least(c.certainty, mc), limit)
				if mwhy != "" {
					c.why = append(slices.Clone(c.why), mwhy)
				}
				out = append(out, c)
			}
		}
	}
	return out
}

// identified returns the products that have a device identifier which a
// statement lists. It names a product and never its version.
func (x *Index) identified(p *advisory.Product) (out []candidate) {
	of := map[int]*roaring.Bitmap{}
	for _, di := range p.DIs {
		for _, i := range x.byDI[di] {
			pi := x.devices[i].product
			if x.devices[i].di != di || !x.products[pi].devices.Contains(i) {
				continue
			}
			if of[pi] == nil {
				of[pi] = roaring.New()
			}
			of[pi].Add(i)
		}
	}
	for _, pi := range slices.Sorted(maps.Keys(of)) {
		const why = "its device identifier is listed"
		prod := &x.products[pi]
		vc, says, ok := ofProduct(p, prod.Version)
		if !ok {
			continue
		}
		c := candidate{product: pi, component: -1, devices: of[pi], certainty: vc, why: []string{why}, says: says}
		if says != "" {
			c.why = append(c.why, says)
		}
		found := []candidate{c}
		if p.Text.Kind == version.Dates && !p.HasRange {
			had := *prod
			had.devices = of[pi]
			found = x.made(p, c, &had, []string{why})
		}
		out = append(out, x.serials(p, found)...)
	}
	return out
}

// A pattern is one of the products that a statement names.
type pattern struct {
	model *model
	cap   Certainty
	why   string
}

// withModels are the patterns where a statement names models beside the
// product: "MiniMed 640G" with "MMT-1711 | MMT-1712". Each stands with the
// product's name and alone; the name alone is less than the advisory says.
func withModels(alts []pattern, models []string, h *house) []pattern {
	var out []pattern
	for _, name := range models {
		alone := parseModel(name, h)
		for _, a := range alts {
			out = append(out, pattern{parseModel(a.model.written+" "+name, h), a.cap, a.why})
		}
		if alone.distinct() {
			out = append(out, pattern{alone, Exact, ""})
		}
	}
	return out
}

// vague adds the models of which a register says no more than "infusion pump".
func (x *Index) vague(alts []pattern, near map[int]bool) {
	for i := range x.byWord["?"] {
		m := x.models[x.byWord["?"][i]].model
		for _, a := range alts {
			if within(m.generic, a.model.generic) {
				near[int(x.byWord["?"][i])] = true
			}
		}
	}
}

// whole compares one product with one pattern: names, the Windows that it runs
// on, versions within the name, then versions or dates.
func (x *Index) whole(p *advisory.Product, a pattern, prod *product) []candidate {
	am, dm := a.model, x.models[prod.model].model
	// Numbers of models in the place of versions: "MyCareLink Monitor: 24950 | 24952".
	points := modelPoints(p)
	stated := false
	if len(points) > 0 {
		for _, c := range append(slices.Clone(dm.codes), dm.optional...) {
			if slices.Contains(points, c) {
				withPoint := *am
				withPoint.optional = append(slices.Clone(am.optional), c)
				am, stated = &withPoint, true
			}
		}
		if !stated && len(am.codes) == 0 && slices.ContainsFunc(dm.codes, func(c string) bool { return len(c) == len(points[0]) && letters(c) == letters(points[0]) }) {
			return nil
		}
	}
	c, why := compare(am, dm)
	if c == "" {
		return nil
	}
	if c.rank() > a.cap.rank() {
		c, why = a.cap, a.why
	}
	var reasons []string
	if why != "" {
		reasons = append(reasons, why)
	} else {
		reasons = append(reasons, "manufacturer and model are the same")
	}
	if am.windows != "" {
		os := windows().FindStringSubmatch(prod.OS + " " + dm.written)
		switch {
		case os == nil:
			c, reasons = Review, append(reasons, fmt.Sprintf("only those on Windows %s, and what it runs on is not written down", am.windows))
		case strings.ToLower(os[1]) != am.windows:
			return nil
		}
	}
	if len(am.versions) > 0 {
		vc, vwhy, ok := release(am.versions, prod.Version)
		if !ok {
			return nil
		}
		c, reasons = least(c, vc), append(reasons, vwhy)
	}
	all := candidate{devices: prod.devices, certainty: c, why: reasons}
	if stated {
		all.says = p.Version
		return []candidate{all}
	}
	vc, says, ok := ofProduct(p, prod.Version)
	if !ok {
		return nil
	}
	all.says = says
	all.certainty = least(c, vc)
	all.why = slices.Clone(reasons)
	if says != "" {
		all.why = append(all.why, says)
	}
	found := []candidate{all}
	if p.Text.Kind == version.Dates && !p.HasRange {
		found = x.made(p, all, prod, reasons)
	}
	return x.serials(p, found)
}

// modelPoints are the single numbers of three digits or more that stand where
// versions do.
func modelPoints(p *advisory.Product) (out []string) {
	list := strings.FieldsFunc(p.Version, func(r rune) bool { return r == '|' || r == ',' || r == ';' })
	if len(list) == 1 {
		list = strings.Split(p.Version, " and ")
	}
	for _, s := range list {
		s = strings.ToLower(strings.TrimSpace(s))
		digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyz")
		if len(digits) < 3 || len(s)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
			return nil
		}
		out = append(out, s)
	}
	return out
}

// release says whether a version is one that a name has in it: "8.0.x", "3.0".
func release(in []string, v string) (Certainty, string, bool) {
	v = cleaned(v)
	if v == "" {
		return Review, "the advisory means " + strings.Join(in, ", ") + ", and which version this is, is not written down", true
	}
	for _, r := range in {
		stem := strings.TrimSuffix(r, ".x")
		if v == stem || strings.HasPrefix(v, stem+".") {
			return Exact, "affected is " + r + ", and this is " + v, true
		}
	}
	return "", "", false
}

// made cuts the devices of a product by when they were made or distributed.
func (x *Index) made(p *advisory.Product, c candidate, prod *product, reasons []string) []candidate {
	in, unknown := roaring.New(), roaring.New()
	distributed := strings.Contains(p.Version, "distribut") || strings.Contains(p.Version, "shipped") || strings.Contains(p.Version, "sold")
	for it := prod.devices.Iterator(); it.HasNext(); {
		i := it.Next()
		when := x.devices[i].made
		if d := x.devices[i].distributed; d != "" && (distributed || when == "") {
			when = d
		} else if distributed && !p.Text.Range.Contains(when) {
			when = "" // it was made after that, or may have been made before and sold later
			if x.devices[i].made != "" && after(p.Text.Range, x.devices[i].made) {
				continue
			}
		}
		switch {
		case when == "":
			unknown.Add(i)
		case len(when) < 10 && undecided(p.Text.Range, when):
			unknown.Add(i)
		case p.Text.Range.Contains(when):
			in.Add(i)
		}
	}
	var out []candidate
	if !in.IsEmpty() || prod.devices.IsEmpty() {
		d := c
		d.devices, d.why, d.says = in, append(slices.Clone(reasons), "affected is what was "+p.Text.Why+", and so was this"), p.Text.Why
		if prod.devices.IsEmpty() {
			d.certainty = Review
		}
		out = append(out, d)
	}
	if !unknown.IsEmpty() {
		d := c
		d.devices, d.certainty, d.says = unknown, Review, p.Text.Why
		d.why = append(slices.Clone(reasons), "affected is what was "+p.Text.Why+", and when this one was, is not written down")
		out = append(out, d)
	}
	return out
}

// after reports whether a date is after all of a range.
func after(r version.Range, date string) bool {
	for _, i := range r.Intervals {
		if i.High == "" || r.Scheme.Compare(date, i.High) <= 0 {
			return false
		}
	}
	return true
}

// undecided reports whether a date without day or month may be on either side
// of a bound: "2018" of "< 2018-04-01".
func undecided(r version.Range, date string) bool {
	return slices.ContainsFunc(r.Intervals, func(i version.Interval) bool {
		return strings.HasPrefix(i.Low, date) || strings.HasPrefix(i.High, date)
	})
}

// serials cuts the devices by the serial numbers and lots that a statement lists.
func (x *Index) serials(p *advisory.Product, list []candidate) []candidate {
	if len(p.Serials)+len(p.Lots) == 0 {
		return list
	}
	var what []string
	if len(p.Serials) > 0 {
		what = append(what, "serial number")
	}
	if len(p.Lots) > 0 {
		what = append(what, "lot")
	}
	called := strings.Join(what, " or ")
	var out []candidate
	for _, c := range list {
		in, unknown := roaring.New(), roaring.New()
		for it := c.devices.Iterator(); it.HasNext(); {
			i := it.Next()
			d := &x.devices[i]
			switch {
			case d.serial != "" && slices.ContainsFunc(p.Serials, func(pattern string) bool { return glob(pattern, d.serial) }),
				d.lot != "" && slices.Contains(p.Lots, d.lot):
				in.Add(i)
			case d.serial == "" && len(p.Serials) > 0 || d.lot == "" && len(p.Lots) > 0:
				unknown.Add(i)
			}
		}
		if !in.IsEmpty() {
			d := c
			d.devices, d.why = in, append(slices.Clone(c.why), "its "+called+" is listed")
			out = append(out, d)
		}
		if !unknown.IsEmpty() {
			d := c
			d.devices, d.certainty, d.why = unknown, Review, append(slices.Clone(c.why), "only some are affected, by "+called+", and this one's is not written down")
			out = append(out, d)
		}
	}
	return out
}

// glob matches CSAF's patterns (section 3.1.3.3.6): ? is a character, * any
// number of them, and a backslash takes that away.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p+1 < len(pattern) && pattern[p] == '\\' && pattern[p+1] == s[i]:
			p, i = p+2, i+1
		case p < len(pattern) && pattern[p] != '\\' && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
