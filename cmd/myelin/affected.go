// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/report"
)

// maxAliases bounds the file of them.
const maxAliases = 4 << 20

func affectedVerb(c *console) *cobra.Command {
	var registers, sboms, advisories []string
	var aliases string
	var keys []string
	var format formatFlag
	v := &cobra.Command{
		Use:   "affected [flags] WHAT",
		Short: "Tell which devices an advisory, a CVE or a component concerns",
		Long: `Affected looks up what is asked for in advisories and bills of materials, and
prints the devices of the register that it concerns, by ward, with how sure
that is and why. WHAT is a CVE or the id of an advisory, a package URL, or the
name of a component or product.

exact: names and version say so. likely: an alias or a predecessor stands
between them. review: too little is written down; a person has to look.

Files may be packed (.gz, .zst); one of them may be "-", standard input.`,
		Example: `  myelin affected CVE-2024-1275 --register devices.csv --advisories csaf/
  myelin affected pkg:npm/lodash --register devices.csv --sboms sboms/
  myelin affected 'Medfusion 4000' --register devices.csv`,
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
			var err error
			if l.papers.Keys, err = assess.ReadKeys(keys); err != nil {
				return fmt.Errorf("--keys %w; it has to hold OpenPGP public keys, armored or not", said(err))
			}
			for _, name := range registers {
				l.read(name, l.register)
			}
			l.walk(sboms, l.sbom)
			l.walk(advisories, l.advisory)
			hits, known := l.index.Find(args[0])
			if !known {
				c.hint("%s: in no advisory and no bill of materials that was read, and no product is called so", args[0])
			}
			a := l.answer(args[0], hits)
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
	v.Flags().StringArrayVar(&advisories, "advisories", nil, "`PATH`: advisories (CSAF, OSV, CVE, NVD), a file or folder")
	v.Flags().StringVar(&aliases, "aliases", "", "`FILE`: how makers and products are spelled here, beside what is known")
	registerKeys(v, &keys)
	format.register(v, "text", "json")
	return v
}

// A library is what was read, and whether all could be.
type library struct {
	*console
	papers  assess.Papers
	index   *match.Index
	entries []register.Entry // by ordinal
	failed  bool

	signatures []signature
}

// note counts what came of a document's signature.
func (l *library) note(says string) {
	if says == "" {
		return
	}
	i := slices.IndexFunc(l.signatures, func(s signature) bool { return s.Says == says })
	if i < 0 {
		i = len(l.signatures)
		l.signatures = append(l.signatures, signature{Says: says})
	}
	l.signatures[i].Documents++
}

// A signature is what came of the signatures of so many documents.
type signature struct {
	Says      string `json:"says"`
	Documents int    `json:"documents"`
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
	l.index = match.NewIndex(names)
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

func (l *library) advisory(p *assess.Paper, f io.Reader) (int, func(), error) {
	kind := advisory.Detect(p.Head)
	switch kind {
	case advisory.CSAF, advisory.OSV, advisory.CVE5, advisory.NVD, advisory.GitHub:
	default:
		return 0, nil, nil
	}
	docs, err := advisory.Read(f)
	if kind == advisory.CSAF && len(docs) == 1 {
		_, note, wrong := p.Beside()
		if wrong != nil {
			return 0, nil, errors.Join(err, wrong)
		}
		l.note(note)
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
		}
	}, err
}

// affected is the answer, and in JSON one document.
type affected struct {
	Schema   int              `json:"schema"`
	What     string           `json:"what"`
	Devices  []affectedDevice `json:"devices"`
	Products []affectedDevice `json:"products"` // that are hit, and of which the register has no device

	Signatures []signature `json:"signatures,omitempty"` // of advisories
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
	Do              []string        `json:"do,omitempty"`
}

// answer puts the hits together by device: of several vulnerabilities the
// surest says why.
func (l *library) answer(what string, hits []match.Hit) *affected {
	a := &affected{Schema: 1, What: what, Signatures: l.signatures, Devices: []affectedDevice{}, Products: []affectedDevice{}}
	device, product := map[uint32]int{}, map[int]int{}
	for i := range hits { // the surest first
		h := &hits[i]
		for it := h.Devices.Iterator(); it.HasNext(); {
			at := it.Next()
			j, known := device[at]
			if !known {
				j = len(a.Devices)
				device[at] = j
				e := &l.entries[at]
				a.Devices = append(a.Devices, affectedDevice{
					ID: e.ID, Ward: e.Ward, Location: e.Location, Manufacturer: e.Manufacturer, Model: e.Model, Version: e.Version, Certainty: h.Certainty, Why: h.Why,
				})
			}
			l.add(&a.Devices[j], h)
		}
		if h.Devices.IsEmpty() {
			j, known := product[h.Product]
			if !known {
				j = len(a.Products)
				product[h.Product] = j
				p := l.index.Product(h.Product)
				a.Products = append(a.Products, affectedDevice{Manufacturer: p.Manufacturer, Model: p.Model, Version: p.Version, Certainty: h.Certainty, Why: h.Why})
			}
			l.add(&a.Products[j], h)
		}
	}
	slices.SortStableFunc(a.Devices, func(a, b affectedDevice) int { return cmp.Or(cmp.Compare(a.Ward, b.Ward), cmp.Compare(a.ID, b.ID)) })
	return a
}

func (l *library) add(d *affectedDevice, h *match.Hit) {
	also := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	also(&d.Vulnerabilities, h.Vulnerability)
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
	fmt.Fprintf(b, "%s: %d affected, %d to look at\n", report.Plain(a.What), sure, len(a.Devices)-sure)
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
	for i, s := range a.Signatures {
		if i == 0 {
			fmt.Fprint(b, "\nsignatures of advisories\n")
		}
		fmt.Fprintf(b, "  %d: %s\n", s.Documents, s.Says)
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
	line("for", slices.Concat(d.Vulnerabilities, d.Advisories[:min(len(d.Advisories), most)]), ", ")
	line("has", d.Components, ", ")
	line("why", d.Why, "; ")
	for i, s := range d.Do {
		if i == mostAdvice {
			fmt.Fprintf(w, "    do    %d more: --format json has them\n", len(d.Do)-i)
			break
		}
		line("do", []string{strings.Join(strings.Fields(s), " ")}, "")
	}
}
