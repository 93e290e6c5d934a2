// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/version"
)

// The bounds of openFDA's files: FDA has 7,000 product codes and 100,000
// recalls of devices since 2002.
const (
	maxCodes   = 50_000
	maxRecalls = 400_000
	maxNamed   = 500 // models, lots, serial numbers of one recall
	maxProse   = 4 << 10
)

var errFull = errors.New("more records than there is room for; the rest is not read")

// A Classification is what FDA says of a product code.
type Classification struct {
	Code           string
	Name           string // "Pump, Infusion"
	Class          string // "1" to "3", "U", "N", "F"; no measure of harm
	Regulation     string // of Title 21 of the Code of Federal Regulations: "880.5725"
	Implant        bool
	LifeSustaining bool
}

// ReadClassification reads openFDA's file of product codes
// (open.fda.gov/apis/device/classification). A [RecordsError] says that some
// records were passed over.
func ReadClassification(r io.Reader) ([]Classification, error) {
	var out []Classification
	full := false
	err := records(r, func(v *struct {
		Code       string `json:"product_code"`
		Name       string `json:"device_name"`
		Class      string `json:"device_class"`
		Regulation string `json:"regulation_number"`
		Implant    string `json:"implant_flag"`
		Life       string `json:"life_sustain_support_flag"`
	},
	) {
		switch {
		case len(v.Code) != 3 || v.Name == "":
		case len(out) >= maxCodes:
			full = true
		default:
			out = append(out, Classification{strings.ToUpper(v.Code), cut(v.Name), cut(v.Class), cut(v.Regulation), flag(v.Implant), flag(v.Life)})
		}
	})
	switch {
	case err == nil && full:
		err = errFull
	case err == nil && len(out) == 0:
		err = errFeed
	}
	return out, err
}

// flag: "Y" or "N"; FDA's pages print the words.
func flag(s string) bool { return strings.EqualFold(s, "Y") || strings.EqualFold(s, "Yes") }

// byRegulation are the therapies of whole regulations, of those which stand
// beside their codes in package device.
var byRegulation = map[string]device.Therapy{
	"880.5725": device.DrugInfusion, "868.5895": device.Ventilation, "868.5160": device.Anaesthesia,
}

// ProductCode returns the row for a catalogue. FDA says what is implanted; what
// is worn it does not say. Harm is known of what sustains a life only.
func (c Classification) ProductCode() device.ProductCode {
	p := device.ProductCode{Code: c.Code, Class: strings.ToLower(c.Name), Worn: c.Implant, Source: device.Listed}
	if t, ok := byRegulation[c.Regulation]; ok {
		p.Therapies = device.TherapiesOf(t)
	}
	if c.LifeSustaining {
		p.Harm = device.Catastrophic
	}
	return p
}

// A recall is a record of openFDA's files of recalls and of enforcement
// reports, which name the same things in two ways.
type recall struct {
	Number       string `json:"product_res_number"`
	RecallNumber string `json:"recall_number"`
	ID           string `json:"cfres_id"`
	State        string `json:"recall_status"`
	Status       string `json:"status"`
	Class        string `json:"classification"`
	Firm         string `json:"recalling_firm"`
	Product      string `json:"product_description"`
	Codes        string `json:"code_info"`
	MoreCodes    string `json:"more_code_info"`
	Reason       string `json:"reason_for_recall"`
	Action       string `json:"action"`
	ProductCode  string `json:"product_code"`
	ProductType  string `json:"product_type"`
	Initiated    string `json:"event_date_initiated"`
	Posted       string `json:"event_date_posted"`
	Created      string `json:"event_date_created"`
	Began        string `json:"recall_initiation_date"`
	Reported     string `json:"report_date"`
	KNumbers     texts  `json:"k_numbers"`
	PMANumbers   texts  `json:"pma_numbers"`
}

// ReadRecalls reads openFDA's recalls of devices
// (open.fda.gov/apis/device/recall) or its enforcement reports
// (.../device/enforcement); reports of drugs and food are passed over. A
// [RecordsError] says that some records were, too.
//
// A recall says in prose which units it is about. What was found there are
// device identifiers, models, lots and serial numbers; what it says of versions
// stands in the product's Version, and as far as it is understood in its Text.
func ReadRecalls(r io.Reader) ([]*advisory.Document, error) {
	var out []*advisory.Document
	full := false
	var bad RecordsError
	n := 0
	err := records(r, func(v *recall) {
		n++
		switch {
		case v.ProductType != "" && v.ProductType != "Devices":
		case len(out) >= maxRecalls:
			full = true
		default:
			if d := v.document(); d != nil {
				out = append(out, d)
			} else {
				bad.bad(n)
			}
		}
	})
	switch {
	case err == nil && full:
		err = errFull
	case err == nil && len(out) == 0:
		err = errFeed
	case err == nil:
		err = bad.orNil()
	}
	return out, err
}

// document makes an advisory of a recall, or nil where it does not say what it
// is about.
func (v *recall) document() *advisory.Document {
	id := cut(first(v.Number, v.RecallNumber))
	if id == "" || v.Product == "" {
		return nil
	}
	about := prose(v.Product + ". " + v.Codes + ". " + v.MoreCodes)
	product := advisory.Product{
		Manufacturer: cut(v.Firm), Name: prose(v.Product), ProductCode: strings.ToUpper(cut(v.ProductCode)),
		Models: named(about, modelWords()), Lots: named(about, lotWords()), Serials: named(about, serialWords()), DIs: deviceIdentifiers(about),
		Version: versionIn(about),
	}
	product.Text = version.Text{Why: "a recall in prose"}
	switch {
	case product.Version != "":
		product.Text = version.ParseText(product.Version)
	case allUnits().MatchString(v.Codes):
		product.Text = version.Text{Kind: version.All, Why: "the recall is of all units"}
	case len(product.Serials)+len(product.Lots) > 0:
		product.Text.Why = "the recall names units by lot or serial number, not versions"
	}
	if unitSpan().MatchString(about) { // what is between two numbers nobody can tell
		product.Serials, product.Lots = nil, nil
		product.Text.Condition = cmp.Or(product.Text.Condition, "it is one of the units that the recall names by their numbers")
	}
	initiated := day(first(v.Initiated, v.Began))
	s := advisory.Statement{Product: product, Status: advisory.Affected}
	if v.Action != "" || v.ID != "" {
		m := advisory.Remediation{Category: "mitigation", Details: prose(v.Action), Date: initiated}
		if v.ID != "" && strings.Trim(v.ID, "0123456789") == "" {
			m.URL = "https://www.accessdata.fda.gov/scripts/cdrh/cfdocs/cfRES/res.cfm?id=" + v.ID
		}
		s.Remediations = []advisory.Remediation{m}
	}
	published := day(first(v.Posted, v.Created, v.Reported))
	if published.IsZero() {
		published = initiated
	}
	return &advisory.Document{
		Kind: advisory.Recall, ID: id, Title: cut("recall: " + first(v.Reason, v.Product)), Publisher: "FDA", Category: "other",
		Published: published, Modified: published, Class: cut(v.Class), State: cut(first(v.State, v.Status)),
		Vulnerabilities: []advisory.Vulnerability{{ID: id, Title: prose(v.Reason), Aliases: aliases(v.KNumbers, v.PMANumbers), Statements: []advisory.Statement{s}}},
	}
}

// aliases are the numbers of the clearances and approvals that are recalled.
func aliases(lists ...texts) []string {
	var out []string
	for _, l := range lists {
		for _, s := range l[:min(len(l), 64)] {
			if s = cut(s); s != "" {
				out = append(out, s)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func first(s ...string) string {
	for _, s := range s {
		if strings.TrimSpace(s) != "" {
			return s
		}
	}
	return ""
}

// cut is a text on one line, of at most 200 characters.
func cut(s string) string { return shorten(s, 200) }

// prose is a text on one line, bounded.
func prose(s string) string { return shorten(s, maxProse) }

func shorten(s string, most int) string {
	if len(s) > 4*most { // before anything is made of it
		s = s[:4*most]
	}
	s = strings.ToValidUTF8(strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)), " "), "")
	if r := []rune(s); len(r) > most {
		s = string(r[:most])
	}
	return strings.Clone(s)
}

// day reads a date of either file: "2016-11-15" or "20180820".
func day(s string) time.Time {
	for _, layout := range []string{"2006-01-02", "20060102"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t
		}
	}
	return time.Time{}
}

// What a recall calls what it lists. A word is followed by numbers: of one
// letter or digit and more, at least one of them a digit.
var (
	modelWords  = lazyregexp.New(`(?i)\b(?:models?|catalog(?:ue)?|cat\.?|ref(?:erence)?|part|item|product|order)(?:\s*/\s*\w+)?\s*(?:no\.?s?|nos\.?|numbers?|codes?|#s?)?\s*[:;.#]*\s*`)
	lotWords    = lazyregexp.New(`(?i)\b(?:lots?|batch(?:es)?)\s*(?:no\.?s?|nos\.?|numbers?|codes?|#s?)?\s*[:;.#]*\s*`)
	serialWords = lazyregexp.New(`(?i)\b(?:serial|s/n|sn)s?\s*(?:no\.?s?|nos\.?|numbers?|#s?)?\s*[:;.#]*\s*`)

	allUnits  = lazyregexp.New(`(?i)^\s*all\s+(?:\w+\s+){0,4}(?:serial|lots?|units?|devices?|models?|versions?|products?|systems?|codes?)\b`)
	softwords = lazyregexp.New(`(?i)\b(?:software|firmware|sw|fw)\b[^;,:]{0,20}?\b(?:versions?|revisions?|releases?|rev\.?|ver\.?|v)\s*[:;#.]?\s*([^;]{1,100})`)
	unitSpan  = lazyregexp.New(`(?i)\b(?:serial|s/n|sn|lot|batch)\w*\b[^.;]{0,80}?\d\s+(?:to|through|thru|until|-|–)\s+[A-Za-z]{0,8}[-.]?\d`)
	notOf     = lazyregexp.New(`(?i)[\s,(:/-]*(?:\b(?:with|and|or|having|for)\s+)?(?:\ball\s+)?\b(?:udi|gtin|serials?|s/n|sn|lots?|batch(?:es)?|catalog(?:ue)?|cat|ref|reference|part|item|models?|product|units?|devices?|k\d{6})\b`)
	gtins     = lazyregexp.New(`\b(?:01\)?)?(\d{14})\b`)
	number    = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._/+-]{0,39}$`)
)

// named returns what stands after one of the words, in the order of the text.
func named(about string, words *regexp.Regexp) []string {
	var out []string
	for _, at := range words.FindAllStringIndex(about, 200) {
		for token := range strings.FieldsSeq(about[at[1]:]) {
			last := strings.ContainsAny(token, ".;)") && strings.TrimRight(token, ".;)") != token
			t := strings.Trim(token, ".,;:&()")
			if t == "" || strings.EqualFold(t, "and") || strings.EqualFold(t, "or") {
				continue
			}
			if !number().MatchString(t) || !strings.ContainsAny(t, "0123456789") {
				break
			}
			if !slices.Contains(out, t) && len(out) < maxNamed {
				out = append(out, strings.Clone(t))
			}
			if last && !strings.HasSuffix(token, ";") || len(out) >= maxNamed {
				break
			}
		}
	}
	return out
}

// deviceIdentifiers returns the GTINs that check.
func deviceIdentifiers(about string) []string {
	var out []string
	for _, m := range gtins().FindAllStringSubmatch(about, maxNamed) {
		if u, err := device.ParseUDI(m[1]); err == nil && u.Checked && !slices.Contains(out, u.DI) {
			out = append(out, u.DI)
		}
	}
	return out
}

// versionIn returns what is said of the software's version, up to where the
// sentence ends or goes on to identifiers, lots and serial numbers.
func versionIn(about string) string {
	m := softwords().FindStringSubmatch(about)
	if m == nil {
		return ""
	}
	s, _, _ := strings.Cut(m[1], ". ")
	if at := notOf().FindStringIndex(s); at != nil {
		s = s[:at[0]]
	}
	return cut(strings.TrimRight(s, " .,"))
}
