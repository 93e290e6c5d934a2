// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Source says how well a row of the table of product codes is known.
type Source uint8

// The sources, weakest first.
const (
	NoSource   Source = iota
	Recalled          // general knowledge, not read again: check before use
	SecondHand        // another public project's statement
	Seen              // read in FDA's own pages or the Federal Register
	Listed            // a row of FDA's own file of classifications
	Own               // a row of the user's own table
)

var sources = [...]string{"", "recalled", "second hand", "seen", "listed", "own"}

func (s Source) String() string { return name(sources[:], int(s)) }

// A ProductCode is what an FDA product code says about a device.
type ProductCode struct {
	Code      string // three letters
	Class     string // what a nurse would call it
	Therapies Therapies
	Worn      bool // implanted or worn on the body: serial and UDI-PI are patient data
	Harm      Harm // worst credible harm; where a part reaches an implant, the implant's
	Source    Source
}

// productCodes is the table that Myelin knows. Harm is that of the therapies
// unless the row says otherwise. FDA's device class is no measure of harm, and
// is not here: OSR is a class 3 "implanted" code for what stands at the bedside.
var productCodes = indexCodes([]ProductCode{
	// ISO 14117 in FDA's recognised standards (no. 39829), and product-code pages.
	{"LWP", "pacemaker", TherapiesOf(Pacing), true, 0, Seen},
	{"NKE", "CRT pacemaker", TherapiesOf(Pacing), true, 0, Seen},
	{"LWS", "defibrillator", TherapiesOf(Pacing, Defibrillation), true, 0, Seen},
	{"NIK", "CRT defibrillator", TherapiesOf(Pacing, Defibrillation), true, 0, Seen},
	{"NVY", "defibrillator lead", TherapiesOf(Pacing, Defibrillation), true, 0, Seen},
	{"OSR", "implant programmer or home monitor", TherapiesOf(Pacing, Defibrillation), false, 0, Seen},
	{"DTE", "external pacemaker", TherapiesOf(Pacing), false, 0, Seen}, // 81 FR 22525

	// ISO/IEEE 11073-10419 and CLSI POCT05 (no. 42505) in the recognised standards.
	{"LZG", "insulin pump", TherapiesOf(InsulinInfusion), true, 0, Seen},
	{"OPP", "insulin bolus pump", TherapiesOf(InsulinInfusion), true, 0, Seen},
	{"OYC", "insulin pump with glucose sensor", TherapiesOf(InsulinInfusion, Monitoring), true, 0, Seen},
	{"OZO", "automated insulin pump, threshold suspend", TherapiesOf(InsulinInfusion, Monitoring), true, 0, Seen},
	{"OZP", "automated insulin pump", TherapiesOf(InsulinInfusion, Monitoring), true, 0, Seen},
	{"QBJ", "continuous glucose monitor", TherapiesOf(Monitoring), true, Critical, Seen}, // doses insulin through a closed loop
	{"QDK", "continuous glucose monitor, non-intensive", TherapiesOf(Monitoring), true, 0, Seen},
	{"QDL", "continuous glucose monitor, retrospective", TherapiesOf(Monitoring), true, Minor, Seen}, // nobody acts on it at once
	{"QLG", "continuous glucose monitor, not for automated insulin", TherapiesOf(Monitoring), true, 0, Seen},
	{"MDS", "glucose sensor", TherapiesOf(Monitoring), true, Critical, Seen},

	// openFDA PMA record; projects that checked openFDA.
	{"LGW", "spinal cord stimulator", TherapiesOf(Neurostimulation), true, 0, SecondHand},
	{"GZB", "spinal cord stimulator", TherapiesOf(Neurostimulation), true, 0, SecondHand},
	{"MHY", "deep brain stimulator", TherapiesOf(Neurostimulation), true, Critical, SecondHand}, // sudden off can be an emergency
	{"LYJ", "vagus nerve stimulator", TherapiesOf(Neurostimulation), true, Critical, SecondHand},
	{"MNQ", "hypoglossal nerve stimulator", TherapiesOf(Neurostimulation), true, 0, SecondHand},
	{"PFN", "responsive brain stimulator", TherapiesOf(Neurostimulation), true, Critical, SecondHand},
	{"PMP", "dorsal root ganglion stimulator", TherapiesOf(Neurostimulation), true, 0, SecondHand},
	{"EZW", "sacral nerve stimulator", TherapiesOf(Neurostimulation), true, 0, SecondHand},

	{"MCM", "cochlear implant", TherapiesOf(Hearing), true, 0, Recalled},
	{"MEA", "patient-controlled analgesia pump", TherapiesOf(DrugInfusion), false, Catastrophic, Recalled}, // opioids
	{"LKK", "implanted infusion pump", TherapiesOf(IntrathecalInfusion), true, 0, Recalled},
	{"QFG", "insulin pump for other controllers", TherapiesOf(InsulinInfusion), true, 0, Recalled},
	{"QJI", "automated insulin controller", TherapiesOf(InsulinInfusion), true, 0, Recalled},
	{"DSQ", "ventricular assist device", TherapiesOf(CirculatorySupport), true, 0, Recalled},

	// AAMI TIR101 (no. 43452): 21 CFR 880.5725.
	{"FRN", "infusion pump", TherapiesOf(DrugInfusion), false, 0, Seen},
	{"LZH", "feeding pump", TherapiesOf(DrugInfusion), false, Serious, Seen},
	{"PHC", "infusion safety software", TherapiesOf(DrugInfusion), false, Catastrophic, Seen}, // the drug libraries of all pumps

	// ISO 80601-2-12 (no. 31596), ASTM F1246 (no. 31610): 21 CFR 868.5895.
	{"CBK", "ventilator", TherapiesOf(Ventilation), false, 0, Seen},
	{"MNT", "ventilator, minimal support", TherapiesOf(Ventilation), false, Critical, Seen},
	{"MNS", "ventilator, not life-supporting", TherapiesOf(Ventilation), false, Critical, Seen},
	{"NOU", "home ventilator", TherapiesOf(Ventilation), false, 0, Seen},
	// ISO 5356-1 (no. 29419): 21 CFR 868.5160.
	{"BSZ", "anaesthesia machine", TherapiesOf(Anaesthesia), false, 0, Seen},
})

func indexCodes(rows []ProductCode) map[string]ProductCode {
	m := make(map[string]ProductCode, len(rows))
	for _, r := range rows {
		if r.Harm == NoHarm {
			r.Harm = r.Therapies.Harm()
		}
		m[r.Code] = r
	}
	return m
}

// A Catalogue tells what FDA product codes mean, and which products have them.
// The nil and the zero Catalogue are Myelin's own table, which names no
// products; rows of a user's table come first, and then what was learnt from
// authorities' files.
type Catalogue struct {
	own      map[string]ProductCode
	products map[string]string // product code by UDI-DI, or by manufacturer and model
}

// Lookup returns what a product code means. Case does not count.
func (c *Catalogue) Lookup(code string) (ProductCode, bool) {
	code = strings.ToUpper(code)
	if c != nil {
		if p, ok := c.own[code]; ok {
			return p, true
		}
	}
	p, ok := productCodes[code]
	return p, ok
}

// Learn adds what an authority's file says a product code means, and reports
// whether that was news: a code that the user's table or Myelin's own explains
// keeps its meaning, and so does one that was learnt before.
func (c *Catalogue) Learn(p ProductCode) bool {
	p.Code = strings.ToUpper(p.Code)
	if _, known := c.Lookup(p.Code); known || len(p.Code) != 3 || !all(p.Code, isUpper) {
		return false
	}
	if c.own == nil {
		c.own = map[string]ProductCode{}
	}
	if p.Harm == NoHarm {
		p.Harm = p.Therapies.Harm()
	}
	c.own[p.Code] = p
	return true
}

// LearnProduct adds which product code an authority's file gives to a product,
// by its device identifier, by its make and model, or both, and reports whether
// that was news: what names a product already stays.
func (c *Catalogue) LearnProduct(di, manufacturer, model, code string) bool {
	code = strings.ToUpper(code)
	if len(code) != 3 || !all(code, isUpper) {
		return false
	}
	if c.products == nil {
		c.products = map[string]string{}
	}
	news := false
	learn := func(name string) {
		if c.products[name] == "" {
			c.products[name], news = code, true
		}
	}
	if di != "" {
		learn(di)
	}
	if manufacturer != "" && model != "" {
		learn(makeAndModel(manufacturer, model))
	}
	return news
}

// CodeOf returns the product code that the user's table gives to a product, or
// "". The UDI's device identifier counts first, then manufacturer and model.
func (c *Catalogue) CodeOf(di, manufacturer, model string) string {
	if c == nil || len(c.products) == 0 {
		return ""
	}
	if code := c.products[di]; di != "" && code != "" {
		return code
	}
	return c.products[makeAndModel(manufacturer, model)]
}

// makeAndModel is how a make and model are compared: case does not count, nor
// how many spaces stand between words. A UDI-DI has no such separator.
func makeAndModel(manufacturer, model string) string {
	plain := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
	return plain(manufacturer) + "\x00" + plain(model)
}

// What can be wrong with a user's table.
var (
	errHeader  = errors.New("the first line must name the columns code, class, therapy, worn, harm, and may name manufacturer, model, udi")
	errCode    = errors.New("a product code has three letters")
	errProduct = errors.New("manufacturer and model go together")
	errNothing = errors.New("says neither what the code means nor which product has it")
	errUnknown = errors.New("nobody says what this code means")
	errTherapy = errors.New("no such therapy")
	errYesNo   = errors.New("yes or no is wanted")
	errHarm    = errors.New("no such severity of harm")
)

// catalogueColumns are the columns of a user's table: the first five have to be
// there.
var catalogueColumns = []string{"code", "class", "therapy", "worn", "harm", "manufacturer", "model", "udi"}

// ParseCatalogue reads a user's table of product codes: CSV (RFC 4180) whose
// first line names the columns, in any order; lines that begin with "#" are
// passed over.
//
//	code,class,therapy,worn,harm,manufacturer,model,udi
//	FRN,infusion pump,drug infusion,no,critical,,,
//	NIK,CRT defibrillator,pacing;defibrillation,yes,,,,
//	FRN,,,,,Norra Medical,Flow 500,
//	MEA,,,,,,,04012345000016
//
// A row with a therapy says what the code means; an empty harm is that of the
// therapies. A row with a manufacturer and a model, or with a UDI (the device
// identifier alone, or one that holds it), says that this product has the code,
// which may be one of Myelin's own table. A row may do both. The last three
// columns may be missing. No code may be explained twice and no product named
// twice. An error names the line and nothing that stands in it.
func ParseCatalogue(table []byte) (*Catalogue, error) {
	r := csv.NewReader(bytes.NewReader(table))
	r.Comment = '#'
	r.TrimLeadingSpace = true
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, errHeader
	}
	column := map[string]int{}
	for i, h := range header {
		h = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))
		if _, twice := column[h]; twice || !slices.Contains(catalogueColumns, h) {
			return nil, errHeader
		}
		column[h] = i
	}
	for _, want := range catalogueColumns[:5] {
		if _, ok := column[want]; !ok {
			return nil, errHeader
		}
	}
	c := &Catalogue{own: map[string]ProductCode{}, products: map[string]string{}}
	used := map[string]int{} // codes of products, and the first line of each
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			var bad *csv.ParseError
			if errors.As(err, &bad) {
				return nil, fmt.Errorf("line %d: %w", bad.Line, bad.Err)
			}
			return nil, err
		}
		line, _ := r.FieldPos(0)
		code, err := c.row(func(name string) string {
			if i, ok := column[name]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		})
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if _, ok := used[code]; !ok {
			used[code] = line
		}
	}
	wrong := 0
	for code, line := range used {
		if _, ok := c.Lookup(code); !ok && (wrong == 0 || line < wrong) {
			wrong = line
		}
	}
	if wrong > 0 {
		return nil, fmt.Errorf("line %d: %w", wrong, errUnknown)
	}
	return c, nil
}

// row takes one row, and returns its code.
func (c *Catalogue) row(field func(string) string) (code string, err error) {
	code = strings.ToUpper(field("code"))
	if len(code) != 3 || !all(code, isUpper) {
		return code, errCode
	}
	means := field("class")+field("therapy")+field("worn")+field("harm") != ""
	if means {
		p, err := productCode(code, field)
		if err != nil {
			return code, err
		}
		if _, twice := c.own[code]; twice {
			return code, errTwice
		}
		c.own[code] = p
	}
	names := [2]string{field("udi"), ""}
	if u, err := ParseUDI(names[0]); err == nil {
		names[0] = u.DI
	}
	if manufacturer, model := field("manufacturer"), field("model"); manufacturer != "" && model != "" {
		names[1] = makeAndModel(manufacturer, model)
	} else if manufacturer+model != "" {
		return code, errProduct
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		if c.products[name] != "" {
			return code, errTwice
		}
		c.products[strings.Clone(name)] = code
	}
	if !means && names == ([2]string{}) {
		return code, errNothing
	}
	return code, nil
}

func productCode(code string, field func(string) string) (ProductCode, error) {
	p := ProductCode{Code: code, Class: strings.Clone(field("class")), Source: Own}
	for s := range strings.SplitSeq(field("therapy"), ";") {
		t, ok := ParseTherapy(strings.ToLower(strings.TrimSpace(s)))
		if !ok {
			return p, errTherapy
		}
		p.Therapies |= TherapiesOf(t)
	}
	switch worn := strings.ToLower(field("worn")); {
	case worn == "yes":
		p.Worn = true
	case worn != "no":
		return p, errYesNo
	}
	p.Harm = p.Therapies.Harm()
	if h := strings.ToLower(field("harm")); h != "" {
		var ok bool
		if p.Harm, ok = ParseHarm(h); !ok {
			return p, errHarm
		}
	}
	return p, nil
}

// ProductCodes returns Myelin's own table, sorted by code.
func ProductCodes() []ProductCode {
	rows := make([]ProductCode, 0, len(productCodes))
	for _, p := range productCodes {
		rows = append(rows, p)
	}
	slices.SortFunc(rows, func(a, b ProductCode) int { return strings.Compare(a.Code, b.Code) })
	return rows
}
