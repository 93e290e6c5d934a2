// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/purl"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/report"
)

// maxAliases bounds the file of them.
const maxAliases = 4 << 20

func affectedVerb(c *console) *cobra.Command {
	var registers, sboms, advisories []string
	var aliases string
	var format formatFlag
	v := &cobra.Command{
		Use:   "affected [flags] WHAT",
		Short: "Tell which devices an advisory, a CVE or a component concerns",
		Long: `Affected looks up what is asked for in advisories and bills of materials, and
prints the devices of the register that it concerns, by ward, with how sure
that is and why. WHAT is a CVE or the id of an advisory, or a component or
product by its package URL, CPE name, or name; with a version only that counts.

exact: names and version say so. likely: an alias or a predecessor stands
between them. review: too little is written down; a person has to look.

Files may be packed (.gz, .zst); one of them may be "-", standard input.`,
		Example: `  myelin affected CVE-2024-1275 --register devices.csv --advisories csaf/
  myelin affected pkg:npm/lodash --register devices.csv --sboms sboms/
  myelin affected 'Medfusion 4000 1.5' --register devices.csv`,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("one thing at a time: %q comes after it; quote a name of several words, and name files with --register, --sboms and --advisories", args[1])
			}
			return exactly(1, "affected by what? name a CVE, an advisory, a package URL, or a component or product")(nil, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			if len(registers)+len(sboms) == 0 {
				return usageError{errors.New("whose devices? name a list of them with --register, or what products are made of with --sboms")}
			}
			l := library{console: c, papers: assess.Papers{Stdin: c.in}}
			if err := l.open(aliases); err != nil {
				return err
			}
			for _, name := range registers {
				l.read(name, l.register)
			}
			l.walk(sboms, l.sbom)
			l.walk(advisories, l.advisory)
			hits, known := l.index.Find(args[0])
			if !known {
				c.hint("%s: in no advisory and no bill of materials that was read, and no product of that version is called so", args[0])
			}
			a := l.answer(args[0], hits)
			var err error
			if format.name == "json" {
				e := json.NewEncoder(c.out)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				err = e.Encode(a)
			} else {
				err = a.text(c.out)
			}
			if err == nil && (l.failed || !known) {
				err = exit(exitError)
			}
			return err
		},
	}
	v.Flags().StringArrayVar(&registers, "register", nil, "`FILE`: the hospital's list of devices (CSV, YAML, JSON)")
	v.Flags().StringArrayVar(&sboms, "sboms", nil, "`PATH`: bills of materials (CycloneDX, SPDX), a file or folder")
	v.Flags().StringArrayVar(&advisories, "advisories", nil, "`PATH`: advisories (CSAF, OSV, CVE, NVD), FDA's recalls, VEX, KEV, EPSS, a file or folder")
	v.Flags().StringVar(&aliases, "aliases", "", "`FILE`: how makers and products are spelled here, beside what is known")
	format.register(v, "text", "json")
	return v
}

// A library is what was read, and whether all could be.
type library struct {
	*console
	papers  assess.Papers
	names   *match.Names
	index   *match.Index
	entries []register.Entry // by ordinal
	failed  bool

	published map[string][]*advisory.Document // advisories by id
	said      []vex.Statement
	kev       map[string]advisory.KEVEntry
	epss      *advisory.EPSS
}

func (l *library) open(aliases string) error {
	names := match.Shipped()
	if aliases != "" {
		f, err := os.Open(aliases)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxAliases+1))
		if err != nil {
			return err
		}
		if names, err = names.Extend(aliases, b); err != nil {
			return err
		}
	}
	l.names, l.index = names, match.NewIndex(names)
	l.published, l.kev = map[string][]*advisory.Document{}, map[string]advisory.KEVEntry{}
	return nil
}

// fail names an input that could not be read; the others go on.
func (l *library) fail(name string, err error) {
	l.failed = true
	if err = said(err); strings.HasPrefix(err.Error(), name+":") {
		l.hint("%v", err)
	} else {
		l.hint("%s: %v", name, err)
	}
}

// read opens a document and hands it to take, which says what it lists, and
// whether it is used at all. Nothing is made of one that there is no room for.
func (l *library) read(name string, take func(*assess.Paper, io.Reader) (items int, add func(), err error)) (used bool) {
	p, err := l.papers.Open(name)
	if err != nil {
		l.fail(name, err)
		return true
	}
	if p.Same != "" {
		l.hint("%s: a copy of %s", name, p.Same)
		return true
	}
	f, err := p.Open()
	if err != nil {
		l.fail(name, err)
		return true
	}
	defer f.Close()
	items, add, err := take(p, f)
	if err != nil {
		l.fail(name, err)
	}
	if add == nil {
		return err != nil
	}
	if err := p.Keep(items); err != nil {
		l.fail(name, err)
		return true
	}
	add()
	return true
}

func (l *library) register(p *assess.Paper, f io.Reader) (int, func(), error) {
	r, err := register.Read(f, p.Name)
	if err != nil {
		return 0, nil, err
	}
	if len(r.Problems) > 0 {
		err = r.Problems[0]
	}
	return len(r.Entries), func() {
		for i := range r.Entries {
			e := &r.Entries[i]
			at := int(l.index.AddDevice(e))
			for len(l.entries) <= at {
				l.entries = append(l.entries, register.Entry{})
			}
			l.entries[at] = e.Shown()
		}
		var columns []string
		for _, c := range r.Columns {
			columns = append(columns, strconv.Quote(c.Heading)+" is "+c.Field)
		}
		l.hint("%s: of its columns %s", p.Path, strings.Join(columns, ", "))
		if len(r.Unused) > 0 {
			l.hint("%s: nothing is made of the columns %s", p.Path, strings.Join(r.Unused, ", "))
		}
	}, err
}

// walk hands every file of the paths to take, in the order of their names.
func (l *library) walk(paths []string, take func(*assess.Paper, io.Reader) (int, func(), error)) {
	for _, path := range paths {
		st, err := os.Stat(path)
		if path == "-" || err == nil && !st.IsDir() {
			if !l.read(path, take) {
				l.fail(path, errors.New("this is not a document of a kind that is known"))
			}
			continue
		}
		skipped := 0
		err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				l.fail(name, err)
			case d.Type().IsRegular() && !l.read(name, take):
				skipped++
			}
			return nil
		})
		if err != nil {
			l.fail(path, err)
		}
		if skipped > 0 {
			l.hint("%s: %d files are of no kind that is known", path, skipped)
		}
	}
}

func (l *library) sbom(p *assess.Paper, f io.Reader) (int, func(), error) {
	if _, ok := sbom.Detect(p.Head); !ok {
		return 0, nil, nil
	}
	d, err := sbom.Read(f)
	if err != nil {
		return 0, nil, err
	}
	return len(d.Components), func() { l.index.AddSBOM(d) }, nil
}

// advisory reads what is said of vulnerabilities: advisories and recalls, what is
// exploited and how likely that is, and VEX.
func (l *library) advisory(p *assess.Paper, f io.Reader) (int, func(), error) {
	if _, ok := sbom.Detect(p.Head); ok || bytes.Contains(p.Head, []byte("openvex.dev/ns")) {
		return l.vex(f)
	}
	kind := advisory.Detect(p.Head)
	var docs []*advisory.Document
	var err error
	switch kind {
	case advisory.CSAF, advisory.OSV, advisory.CVE5, advisory.NVD, advisory.GitHub:
		docs, err = advisory.Read(f)
	case advisory.KEVCatalog:
		rows, err := advisory.ReadKEV(f)
		if err != nil {
			return 0, nil, err
		}
		return len(rows), func() { maps.Copy(l.kev, rows) }, nil
	case advisory.EPSSScores:
		scores, err := advisory.ReadEPSS(f)
		if err != nil {
			return 0, nil, err
		}
		return 0, func() {
			if l.epss == nil || scores.Date.After(l.epss.Date) {
				l.epss = scores
			}
		}, nil
	default:
		if register.Detect(p.Head, p.Name) != register.RecallFile {
			return 0, nil, nil
		}
		docs, err = register.ReadRecalls(f)
	}
	say := func() {}
	if kind == advisory.CSAF && len(docs) == 1 {
		if _, wrong := p.Beside(); wrong != nil {
			return 0, nil, errors.Join(err, wrong)
		}
		if docs[0].Profile == "csaf_vex" {
			again, wrong := p.Open()
			if wrong != nil {
				return 0, nil, wrong
			}
			defer again.Close()
			if _, also, wrong := l.vex(again); also != nil {
				say = also
			} else {
				err = errors.Join(err, wrong)
			}
		}
	}
	items := 0
	for _, d := range docs { // of several, those that could be read
		items++
		for i := range d.Vulnerabilities {
			items += 1 + len(d.Vulnerabilities[i].Statements)
		}
	}
	if len(docs) == 0 {
		return 0, nil, err
	}
	return items, func() {
		for _, d := range docs {
			l.index.AddAdvisory(d)
			l.published[d.ID] = append(l.published[d.ID], d)
		}
		say()
	}, err
}

func (l *library) vex(f io.Reader) (int, func(), error) {
	doc, err := vex.ReadDocument(f)
	if err != nil {
		return 0, nil, err
	}
	for i := range doc.Statements {
		st := &doc.Statements[i]
		st.Product.Manufacturer = cmp.Or(st.Product.Manufacturer, st.Supplier)
	}
	return len(doc.Statements), func() { l.said = append(l.said, doc.Statements...) }, nil
}

// judge returns what VEX documents say of a hit, and whether the product's
// supplier says there that it is none.
func (l *library) judge(h *match.Hit) (says []string, cleared bool) {
	if l.said == nil || h.Vulnerability == "" {
		return nil, false
	}
	p := l.index.Product(h.Product)
	supplies := func(author, maker string) bool { return l.names.SameMaker(author, maker) == match.Exact }
	q := vex.Question{
		Vulnerability: h.Vulnerability, Aliases: h.Aliases, Same: supplies,
		Product: advisory.Product{Manufacturer: p.Manufacturer, Name: p.Model, Version: p.Version},
		About: func(stated, asked *advisory.Product) bool {
			as := *stated
			if l.names.SameProduct(match.Product{Manufacturer: stated.Manufacturer, Model: stated.Name}, match.Product{Manufacturer: asked.Manufacturer, Model: asked.Name}) == match.Exact {
				as.PURL, as.CPE, as.Manufacturer, as.Name = "", "", asked.Manufacturer, asked.Name
			}
			return vex.Includes(&as, asked)
		},
	}
	if h.Component >= 0 {
		name, version := l.index.Component(h.Component)
		q.Component = &advisory.Product{Name: name, Version: version}
		if k, err := purl.Parse(name); err == nil {
			k.Version = version
			q.Component.PURL, q.Component.Name = k.String(), k.Name
		}
	}
	a := vex.Resolve(l.said, q)
	for i := range a.Opinions {
		says = append(says, a.Opinions[i].Opinion())
	}
	if a.Said == nil {
		return says, false
	}
	says = append(says, "the supplier: "+a.Said.Opinion())
	revoked := slices.ContainsFunc(h.Advisories, func(id string) bool {
		return slices.ContainsFunc(l.published[id], func(d *advisory.Document) bool {
			return d.Modified.After(a.Said.Time) && supplies(d.Publisher, p.Manufacturer)
		})
	})
	return says, a.Suppresses() && !revoked
}

// affected is the answer, and in JSON one document.
type affected struct {
	Schema   int              `json:"schema"`
	What     string           `json:"what"`
	Has      bool             `json:"has,omitempty"` // WHAT is a component or product, and these have it, be they vulnerable or not
	Devices  []affectedDevice `json:"devices"`
	Products []affectedDevice `json:"products"`          // that are hit, and of which the register has no device
	Cleared  []affectedDevice `json:"cleared,omitempty"` // that their supplier says are not affected
}

type affectedDevice struct {
	ID              string          `json:"id,omitempty"`
	Ward            string          `json:"ward,omitempty"`
	Location        string          `json:"location,omitempty"`
	Manufacturer    string          `json:"manufacturer"`
	Model           string          `json:"model"`
	Version         string          `json:"version,omitempty"`
	Certainty       match.Certainty `json:"certainty"`
	Vulnerabilities []string        `json:"vulnerabilities,omitempty"`
	Advisories      []string        `json:"advisories,omitempty"`
	Components      []string        `json:"components,omitempty"`
	Why             []string        `json:"why"`
	Exploited       bool            `json:"known_exploited,omitempty"` // CISA's catalogue has it
	EPSS            float64         `json:"epss,omitempty"`            // the highest of its vulnerabilities
	Says            []string        `json:"says,omitempty"`            // VEX
	Do              []string        `json:"do,omitempty"`
}

// answer puts the hits together by device: of several vulnerabilities the
// surest says why.
func (l *library) answer(what string, hits []match.Hit) *affected {
	a := &affected{Schema: 1, What: what, Devices: []affectedDevice{}, Products: []affectedDevice{}}
	device, product := map[uint32]int{}, map[int]int{}
	absolved := map[uint32]int{}
	for i := range hits { // the surest first
		h := &hits[i]
		a.Has = a.Has || h.Vulnerability == ""
		says, cleared := l.judge(h)
		list, of := &a.Devices, device
		if cleared {
			list, of = &a.Cleared, absolved
		}
		for it := h.Devices.Iterator(); it.HasNext(); {
			at := it.Next()
			j, known := of[at]
			if !known {
				j = len(*list)
				of[at] = j
				e := &l.entries[at]
				*list = append(*list, affectedDevice{
					ID: e.ID, Ward: e.Ward, Location: e.Location, Manufacturer: e.Manufacturer, Model: e.Model, Version: e.Version, Certainty: h.Certainty, Why: h.Why,
				})
			}
			l.add(&(*list)[j], h, says)
		}
		if h.Devices.IsEmpty() {
			j, known := product[h.Product]
			if !known {
				j = len(a.Products)
				product[h.Product] = j
				p := l.index.Product(h.Product)
				a.Products = append(a.Products, affectedDevice{Manufacturer: p.Manufacturer, Model: p.Model, Version: p.Version, Certainty: h.Certainty, Why: h.Why})
			}
			l.add(&a.Products[j], h, says)
		}
	}
	for _, list := range [][]affectedDevice{a.Devices, a.Cleared} {
		slices.SortStableFunc(list, func(a, b affectedDevice) int { return cmp.Or(cmp.Compare(a.Ward, b.Ward), cmp.Compare(a.ID, b.ID)) })
	}
	return a
}

func (l *library) add(d *affectedDevice, h *match.Hit, says []string) {
	also := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	also(&d.Vulnerabilities, h.Vulnerability)
	for _, s := range says {
		also(&d.Says, s)
	}
	for _, id := range append([]string{h.Vulnerability}, h.Aliases...) {
		if row, ok := l.kev[id]; ok {
			d.Exploited = true
			also(&d.Do, row.Action)
		}
		if l.epss != nil {
			p, _, _ := l.epss.Score(id)
			d.EPSS = max(d.EPSS, p)
		}
	}
	for _, s := range h.Advisories {
		also(&d.Advisories, s)
	}
	if h.Component >= 0 {
		name, version := l.index.Component(h.Component)
		also(&d.Components, strings.TrimSpace(name+" "+version))
	}
	for _, r := range h.Remediations {
		also(&d.Do, strings.TrimSpace(r.Details+" "+r.URL))
	}
}

// text prints the answer by ward.
func (a *affected) text(w io.Writer) error {
	b := bufio.NewWriter(w)
	sure := 0
	for _, d := range a.Devices {
		if d.Certainty != match.Review {
			sure++
		}
	}
	verb := "affected"
	if a.Has {
		verb = "devices have it"
		if sure == 1 {
			verb = "device has it"
		}
	}
	fmt.Fprintf(b, "%s: %d %s, %d to look at\n", report.Plain(a.What), sure, verb, len(a.Devices)-sure)
	for i := range a.Devices {
		d := &a.Devices[i]
		if i == 0 || a.Devices[i-1].Ward != d.Ward {
			fmt.Fprintf(b, "\n%s\n", report.Plain(cmp.Or(d.Ward, "no ward written down")))
		}
		d.text(b)
	}
	for i := range a.Products {
		if i == 0 {
			fmt.Fprint(b, "\nno device in the register\n")
		}
		a.Products[i].text(b)
	}
	for i := range a.Cleared {
		if i == 0 {
			fmt.Fprint(b, "\nnot affected, says the supplier\n")
		}
		a.Cleared[i].text(b)
	}
	return b.Flush()
}

func (d *affectedDevice) text(w io.Writer) {
	const (
		most       = 8 // of a list on one line
		mostAdvice = 3
	)
	name := strings.Join(strings.Fields(d.ID+"  "+d.Manufacturer+" "+d.Model+" "+d.Version), " ")
	fmt.Fprintf(w, "  %s: %s\n", report.Plain(name), d.Certainty)
	line := func(label string, list []string, sep string) {
		if len(list) == 0 {
			return
		}
		more := ""
		if len(list) > most {
			more = fmt.Sprintf(" and %d more", len(list)-most)
			list = list[:most]
		}
		fmt.Fprintf(w, "    %-5s %s\n", label, report.Plain(strings.Join(list, sep)+more))
	}
	ids := slices.Clone(d.Vulnerabilities)
	for _, id := range d.Advisories[:min(len(d.Advisories), most)] {
		if !slices.Contains(ids, id) { // the record of a CVE has its name
			ids = append(ids, id)
		}
	}
	line("for", ids, ", ")
	line("has", d.Components, ", ")
	line("why", d.Why, "; ")
	line("says", d.Says, "; ")
	if d.Exploited {
		line("now", []string{"attackers use it: CISA's catalogue of known exploited vulnerabilities has it"}, "")
	}
	if d.EPSS > 0 {
		line("epss", []string{strconv.FormatFloat(d.EPSS, 'f', -1, 64)}, "")
	}
	for i, s := range d.Do {
		if i == mostAdvice {
			fmt.Fprintf(w, "    do    %d more: --format json has them\n", len(d.Do)-i)
			break
		}
		line("do", []string{strings.Join(strings.Fields(s), " ")}, "")
	}
}
