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
	Own               // a row of the user's own table
)

var sources = [...]string{"", "recalled", "second hand", "seen", "own"}

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

// A Catalogue tells what FDA product codes mean. The zero value is Myelin's own
// table; rows of a user's table come first.
type Catalogue struct {
	own map[string]ProductCode
}

// Lookup returns what a product code means. Case does not count.
func (c *Catalogue) Lookup(code string) (ProductCode, bool) {
	code = strings.ToUpper(code)
	if p, ok := c.own[code]; ok {
		return p, true
	}
	p, ok := productCodes[code]
	return p, ok
}

// What can be wrong with a user's table.
var (
	errHeader  = errors.New("the first line must name the columns code, class, therapy, worn, harm")
	errCode    = errors.New("a product code has three letters")
	errTherapy = errors.New("no such therapy")
	errYesNo   = errors.New("yes or no is wanted")
	errHarm    = errors.New("no such severity of harm")
)

// ParseCatalogue reads a user's table of product codes: CSV (RFC 4180) whose
// first line names the columns, in any order; lines that begin with "#" are
// passed over.
//
//	code,class,therapy,worn,harm
//	FRN,infusion pump,drug infusion,no,critical
//	NIK,CRT defibrillator,pacing;defibrillation,yes,
//
// An empty harm is that of the therapies. An error names the line and nothing
// that stands in it. No code may come twice, which bounds the table at 26^3 rows.
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
		column[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))] = i
	}
	for _, want := range []string{"code", "class", "therapy", "worn", "harm"} {
		if _, ok := column[want]; !ok {
			return nil, errHeader
		}
	}
	c := &Catalogue{own: map[string]ProductCode{}}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			var bad *csv.ParseError
			if errors.As(err, &bad) {
				return nil, fmt.Errorf("line %d: %w", bad.Line, bad.Err)
			}
			return nil, err
		}
		line, _ := r.FieldPos(0)
		field := func(name string) string { return strings.TrimSpace(row[column[name]]) }
		p, err := productCode(field)
		if err == nil {
			if _, twice := c.own[p.Code]; twice {
				err = errTwice
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		c.own[p.Code] = p
	}
}

func productCode(field func(string) string) (ProductCode, error) {
	p := ProductCode{Code: strings.ToUpper(field("code")), Class: strings.Clone(field("class")), Source: Own}
	if len(p.Code) != 3 || !all(p.Code, isUpper) {
		return p, errCode
	}
	for _, s := range strings.Split(field("therapy"), ";") {
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
