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
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/report"
)

func affectedVerb(c *console) *cobra.Command {
	var registers, sboms, advisories, statements []string
	var aliases string
	var keys []string
	var format formatFlag
	v := &cobra.Command{
		Use:   "affected [flags] WHAT [PATH...]",
		Short: "Tell which devices an advisory, a CVE or a component concerns",
		Long: `Affected looks up what is asked for in advisories and bills of materials, and
prints the devices of the register that it concerns, by ward, with how sure
that is and why. WHAT is a CVE or the id of an advisory, a package URL, or the
name of a component, product or maker. PATH is a document or a folder of them:
what each is, its content decides, and the flags below are another way to name
them. What a product's own supplier clears in a VEX document is told apart.

exact: names and version say so. likely: an alias or a predecessor stands
between them. review: too little is written down; a person has to look.

Files may be packed (.gz, .zst); one of them may be "-", standard input.`,
		Example: `  myelin affected CVE-2021-44228 register.csv sboms/ advisories/
  myelin affected CVE-2024-1275 --register devices.csv --advisories csaf/
  myelin affected pkg:npm/lodash --register devices.csv --sboms sboms/
  myelin affected 'Medfusion 4000' --register devices.csv`,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if err := atLeast(1, "affected by what? name a CVE, an advisory, a package URL, or a component or product")(nil, args); err != nil {
				return err
			}
			for _, path := range args[1:] {
				if _, err := os.Stat(path); err != nil && path != "-" {
					return fmt.Errorf("one thing at a time: %q comes after it and is no file or folder; quote a name of several words", path)
				}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			if len(registers)+len(sboms)+len(args[1:]) == 0 {
				return usageError{errors.New("whose devices? name a list of them with --register, or what products are made of with --sboms")}
			}
			l := library{console: c, papers: assess.Papers{Stdin: c.in}, now: time.Now()}
			if err := l.open(aliases); err != nil {
				return err
			}
			var err error
			if l.papers.Keys, err = assess.ReadKeys(keys); err != nil {
				return fmt.Errorf("--keys %w; it has to hold OpenPGP public keys, armored or not", said(err))
			}
			for _, name := range registers {
				if st, err := os.Stat(name); err == nil && st.IsDir() {
					l.walk([]string{name}, l.document)
				} else {
					l.read(name, l.register)
				}
			}
			for _, paths := range [][]string{sboms, advisories, statements, args[1:]} {
				l.walk(paths, l.document)
			}
			l.suppliers.Hear(l.said, l.advisories)
			for _, doc := range l.suppliers.Affected() {
				l.index.AddAdvisory(doc)
			}
			hits, known := l.index.Find(args[0])
			var makes []makerProduct
			if !known {
				makes = l.madeBy(args[0])
				known = len(makes) > 0
			}
			if !known {
				c.hint("%s: in no advisory and no bill of materials that was read, and no product is called so", args[0])
			}
			a := l.answer(args[0], hits)
			if a.Maker = makes; makes != nil {
				a.Unknown = nil
			}
			if format.name == "json" {
				e := json.NewEncoder(report.PlainJSON(c.out))
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				err = e.Encode(a)
			} else {
				err = a.text(c.out)
			}
			if err == nil && (l.failed || !known || len(a.Lost) > 0) {
				err = exit(exitError)
			}
			return err
		},
	}
	v.Flags().StringArrayVar(&registers, "register", nil, "`FILE`: the hospital's list of devices (CSV, YAML, JSON)")
	v.Flags().StringArrayVar(&sboms, "sboms", nil, "`PATH`: bills of materials (CycloneDX, SPDX), a file or folder")
	v.Flags().StringArrayVar(&advisories, "advisories", nil, "`PATH`: advisories (CSAF, OSV, CVE, NVD), recalls (FDA), KEV, EPSS, a file or folder")
	v.Flags().StringArrayVar(&statements, "vex", nil, "`PATH`: what suppliers say (OpenVEX, CycloneDX, CSAF), a file or folder")
	registerAliases(v, &aliases)
	registerKeys(v, &keys)
	format.register(v, "text", "json")
	return v
}

// A library is what was read, and whether all could be.
type library struct {
	*console
	papers  assess.Papers
	index   *match.Index
	names   *match.Names
	entries []register.Entry // by ordinal
	failed  bool
	now     time.Time

	kev  map[string]advisory.KEVEntry
	epss *advisory.EPSS

	suppliers  *assess.Suppliers
	said       []vex.Statement
	advisories []*advisory.Document
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
	names, err := assess.ReadAliases(aliases)
	if err != nil {
		return err
	}
	l.names, l.index = names, match.NewIndex(names)
	l.suppliers, l.kev = assess.NewSuppliers(l.index, names), map[string]advisory.KEVEntry{}
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
		unknown := 0
		for i := range r.Entries {
			e := &r.Entries[i]
			if e.Therapy == device.NoTherapy {
				unknown++
			}
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
		if says := assess.Untold(r.Lacks(), unknown, len(r.Entries)); says != "" {
			l.hint("%s: %s", p.Path, says)
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

// document takes one of any kind.
func (l *library) document(p *assess.Paper, f io.Reader) (int, func(), error) {
	if _, ok := sbom.Detect(p.Head); ok {
		return l.sbom(p, f)
	}
	switch advisory.Detect(p.Head) {
	case advisory.NoKind:
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
		return l.advisory(p, f)
	}
	if assess.IsOpenVEX(p.Head) {
		return l.vex(p)
	}
	switch register.Detect(p.Head, p.Name) {
	case register.RecallFile:
		docs, err := register.ReadRecalls(f)
		n, add := l.published(docs)
		return n, add, err
	case register.DeviceList:
		if !p.NamesList() {
			break
		}
		n, add, err := l.register(p, f)
		if errors.Is(err, register.ErrNotList) {
			break
		}
		return n, add, err
	}
	return 0, nil, nil
}

func (l *library) sbom(p *assess.Paper, f io.Reader) (int, func(), error) {
	d, err := sbom.Read(f)
	if err != nil {
		return 0, nil, err
	}
	n, add := 0, func() {}
	if d.Vulnerabilities > 0 {
		if n, add, err = l.vex(p); err != nil {
			return 0, nil, err
		}
	}
	return len(d.Components) + n, func() {
		l.suppliers.Made(d)
		add()
	}, nil
}

// vex takes what suppliers and others say of vulnerabilities.
func (l *library) vex(p *assess.Paper) (int, func(), error) {
	said, early, err := assess.ReadVEX(p, l.now)
	if err != nil {
		return 0, nil, err
	}
	return len(said), func() {
		if early > 0 {
			l.hint("%s: %s", p.Path, assess.Early(early))
		}
		l.said = append(l.said, said...)
	}, nil
}

func (l *library) advisory(p *assess.Paper, f io.Reader) (int, func(), error) {
	docs, err := advisory.Read(f)
	n, add := l.published(docs)
	if len(docs) != 1 || docs[0].Kind != advisory.CSAF {
		return n, add, err
	}
	_, note, wrong := p.Beside()
	if wrong != nil {
		return 0, nil, errors.Join(err, wrong)
	}
	l.note(note)
	if docs[0].Profile != "csaf_vex" {
		return n, add, err
	}
	m, say, wrong := l.vex(p)
	if wrong != nil {
		return 0, nil, errors.Join(err, wrong)
	}
	return n + m, func() { add(); say() }, err
}

// published takes advisories and recalls: of several, those that could be read.
func (l *library) published(docs []*advisory.Document) (items int, add func()) {
	if len(docs) == 0 {
		return 0, nil
	}
	for _, d := range docs {
		items++
		for i := range d.Vulnerabilities {
			items += 1 + len(d.Vulnerabilities[i].Statements)
		}
	}
	return items, func() {
		for _, d := range docs {
			l.index.AddAdvisory(d)
		}
		l.advisories = append(l.advisories, docs...)
	}
}

// affected is the answer, and in JSON one document.
type affected struct {
	Schema   int              `json:"schema"`
	What     string           `json:"what"`
	Has      bool             `json:"has,omitempty"` // What is a component or product, and these have it, be they vulnerable or not
	Devices  []affectedDevice `json:"devices"`
	Products []affectedDevice `json:"products"` // that are hit, and of which the register has no device
	Cleared  []affectedDevice `json:"cleared"`  // by their suppliers: devices, and products of which there is none

	Maker      []makerProduct `json:"maker_products,omitempty"` // where a maker was asked for
	Unknown    *unknown       `json:"unknown,omitempty"`
	Signatures []signature    `json:"signatures,omitempty"` // of advisories

	Lost map[string]uint64 `json:"lost,omitempty"` // what there was no room for, as an assessment has it
}

// An unknown is how many devices may contain it without anybody knowing.
type unknown struct {
	WithoutSBOM int `json:"without_sbom"`
	Devices     int `json:"of_devices"`
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
	Do              []string        `json:"do,omitempty"`
	Cleared         []string        `json:"cleared,omitempty"`  // by whom, and why
	Opinions        []string        `json:"opinions,omitempty"` // of others than the supplier
}

// answer puts the hits together by device: of several vulnerabilities the
// surest says why.
func (l *library) answer(what string, hits []match.Hit) *affected {
	a := &affected{Schema: 1, What: what, Signatures: l.signatures, Lost: l.index.LeftOut().Counts(), Devices: []affectedDevice{}, Products: []affectedDevice{}, Cleared: []affectedDevice{}}
	type place struct {
		list *[]affectedDevice
		at   int64 // ordinal of a device, or of a product from -1 down
	}
	have := map[place]int{}
	whole := false // a product is meant, not a part
	put := func(list *[]affectedDevice, at int64, make func() affectedDevice, h *match.Hit) *affectedDevice {
		j, known := have[place{list, at}]
		if !known {
			j = len(*list)
			have[place{list, at}] = j
			d := make()
			d.Certainty, d.Why = h.Certainty, h.Why
			*list = append(*list, d)
		}
		d := &(*list)[j]
		l.add(d, h)
		return d
	}
	for i := range hits { // the surest first
		h := &hits[i]
		devices, products := &a.Devices, &a.Products
		cleared, opinions := "", []string(nil)
		if a.Has = h.Vulnerability == ""; !a.Has {
			var stands bool
			var by *vex.Statement
			if stands, by, opinions = l.suppliers.Judge(h); by != nil {
				cleared = h.Vulnerability + ": " + by.Opinion()
				if by.Document != "" {
					cleared += ", in " + by.Document
				}
				devices, products = &a.Cleared, &a.Cleared
			} else if !stands {
				continue // its supplier alone said so, and no longer does
			}
		}
		whole = whole || h.Component < 0
		note := func(d *affectedDevice) {
			if cleared != "" && !slices.Contains(d.Cleared, cleared) {
				d.Cleared = append(d.Cleared, cleared)
			}
			for _, s := range opinions {
				if !slices.Contains(d.Opinions, s) {
					d.Opinions = append(d.Opinions, s)
				}
			}
		}
		for it := h.Devices.Iterator(); it.HasNext(); {
			at := it.Next()
			note(put(devices, int64(at), func() affectedDevice {
				e := &l.entries[at]
				return affectedDevice{ID: e.ID, Ward: e.Ward, Location: e.Location, Manufacturer: e.Manufacturer, Model: e.Model, Version: e.Version}
			}, h))
		}
		if h.Devices.IsEmpty() {
			note(put(products, -1-int64(h.Product), func() affectedDevice {
				p := l.index.Product(h.Product)
				return affectedDevice{Manufacturer: p.Manufacturer, Model: p.Model, Version: p.Version}
			}, h))
		}
	}
	for _, list := range []*[]affectedDevice{&a.Devices, &a.Cleared} {
		slices.SortStableFunc(*list, func(a, b affectedDevice) int { return cmp.Or(cmp.Compare(a.Ward, b.Ward), cmp.Compare(a.ID, b.ID)) })
	}
	if !whole {
		a.Unknown = l.unknown()
	}
	return a
}

// A makerProduct is a product of the maker that was asked for.
type makerProduct struct {
	Manufacturer string   `json:"manufacturer"`
	Model        string   `json:"model"`
	Devices      int      `json:"devices"` // in the register
	Advisories   []string `json:"advisories"`
}

// madeBy lists the products of a maker that are in the register or in advisories.
func (l *library) madeBy(maker string) (list []makerProduct) {
	of := map[[2]string]int{}
	at := func(manufacturer, model string) *makerProduct {
		if c := l.names.SameMaker(maker, manufacturer); model == "" || c != match.Exact && c != match.Likely {
			return nil
		}
		key := [2]string{strings.ToLower(manufacturer), strings.ToLower(model)}
		i, known := of[key]
		if !known {
			i = len(list)
			of[key] = i
			list = append(list, makerProduct{Manufacturer: manufacturer, Model: model, Advisories: []string{}})
		}
		return &list[i]
	}
	for i := range l.entries {
		if p := at(l.entries[i].Manufacturer, l.entries[i].Model); p != nil {
			p.Devices++
		}
	}
	for _, doc := range l.advisories {
		for i := range doc.Vulnerabilities {
			for j := range doc.Vulnerabilities[i].Statements {
				s := &doc.Vulnerabilities[i].Statements[j]
				if p := at(s.Product.Manufacturer, s.Product.Name); p != nil && !slices.Contains(p.Advisories, doc.ID) {
					p.Advisories = append(p.Advisories, doc.ID)
				}
			}
		}
	}
	slices.SortStableFunc(list, func(a, b makerProduct) int {
		return cmp.Or(cmp.Compare(b.Devices, a.Devices), cmp.Compare(a.Model, b.Model))
	})
	return list
}

// makerText lists the products of a maker.
func (a *affected) makerText(b *bufio.Writer) {
	devices := 0
	for i := range a.Maker {
		devices += a.Maker[i].Devices
	}
	fmt.Fprintf(b, "%s is a maker: %s here, %s in the register; ask for one of them, or for one of the advisories\n\n",
		report.Plain(a.What), counted(len(a.Maker), "product"), counted(devices, "device"))
	for i := range a.Maker {
		p := &a.Maker[i]
		fmt.Fprintf(b, "  %s: %s", report.Plain(strings.TrimSpace(p.Manufacturer+" "+p.Model)), counted(p.Devices, "device"))
		if n := len(p.Advisories); n > 0 {
			const most = 4
			fmt.Fprintf(b, "; named in %s", report.Plain(strings.Join(p.Advisories[:min(n, most)], ", ")))
			if n > most {
				fmt.Fprintf(b, " and %d more", n-most)
			}
		}
		fmt.Fprintln(b)
	}
}

// counted writes "1 device", "2 devices".
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// unknown counts the devices of which nobody told what they are made of; nil
// when there is none.
func (l *library) unknown() *unknown {
	n := 0
	for at := range l.entries {
		if bills, sure := l.index.Bills(uint32(at)); len(bills) == 0 || sure == match.Review {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return &unknown{n, len(l.entries)}
}

func (l *library) add(d *affectedDevice, h *match.Hit) {
	also := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	also(&d.Vulnerabilities, h.Vulnerability)
	for _, id := range append([]string{h.Vulnerability}, h.Aliases...) {
		if row, known := l.kev[id]; known {
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
	if a.Maker != nil {
		a.makerText(b)
		return b.Flush()
	}
	sure := 0
	for _, d := range a.Devices {
		if d.Certainty != match.Review {
			sure++
		}
	}
	verb := "affected"
	switch {
	case a.Has && sure == 1:
		verb = "device has it"
	case a.Has:
		verb = "devices have it"
	}
	fmt.Fprintf(b, "%s: %d %s, %d to look at", report.Plain(a.What), sure, verb, len(a.Devices)-sure)
	switch n := len(a.Cleared); {
	case n == 1:
		fmt.Fprint(b, ", 1 cleared by its supplier")
	case n > 1:
		fmt.Fprintf(b, ", %d cleared by their suppliers", n)
	}
	fmt.Fprintln(b)
	if u := a.Unknown; u != nil {
		if fmt.Fprintf(b, "%d of %d devices have no bill of materials: whether they contain it is not known\n", u.WithoutSBOM, u.Devices); len(a.Devices) == 0 {
			fmt.Fprintln(b, "ask their makers for one (CycloneDX or SPDX), or whether they are affected")
		}
	}
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
			fmt.Fprint(b, "\ncleared by their suppliers\n")
		}
		a.Cleared[i].text(b)
	}
	for i, s := range a.Signatures {
		if i == 0 {
			fmt.Fprint(b, "\nsignatures of advisories\n")
		}
		fmt.Fprintf(b, "  %d: %s\n", s.Documents, s.Says)
	}
	for i, what := range slices.Sorted(maps.Keys(a.Lost)) {
		if i == 0 {
			fmt.Fprint(b, "\nthere was no room for\n")
		}
		fmt.Fprintf(b, "  %d: %s\n", a.Lost[what], what)
	}
	return b.Flush()
}

func (d *affectedDevice) text(w io.Writer) {
	const (
		most       = 8 // of a list on one line
		mostAdvice = 3
	)
	name := strings.Join(strings.Fields(d.ID+"  "+d.Manufacturer+" "+d.Model+" "+d.Version), " ")
	state := string(d.Certainty)
	if len(d.Cleared) > 0 {
		state = "cleared"
	}
	fmt.Fprintf(w, "  %s: %s\n", report.Plain(name), state)
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
	if len(d.Cleared) > 0 {
		line("by", d.Cleared, "; ")
		line("has", d.Components, ", ")
		return
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
	line("but", d.Opinions, "; ")
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
