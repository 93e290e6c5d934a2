// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/internal/lazyregexp"
)

// A shape is what a schema asks of one place. Properties that it does not name
// are free, as CSAF's schema has it.
type shape struct {
	kind     byte // as in node
	need     []string
	fields   map[string]*shape
	item     *shape
	min      int // properties, elements or characters
	most     int // properties, where they are bounded
	distinct bool
	words    []string          // the only values
	form     func(string) bool // of a string
	formName string
	max      float64  // of a number, from 0
	either   []*shape // one of these fits; they differ in what they ask of "version"
}

type fields = map[string]*shape

func object(need string, f fields) *shape {
	return &shape{kind: '{', need: strings.Fields(need), fields: f}
}

// some is an object that says something of one kind or another.
func some(min int, need string, f fields) *shape {
	s := object(need, f)
	s.min = min
	return s
}

func array(item *shape) *shape  { return &shape{kind: '[', item: item, min: 1} }
func set(item *shape) *shape    { return &shape{kind: '[', item: item, min: 1, distinct: true} }
func oneOf(words string) *shape { return &shape{kind: '"', words: strings.Fields(words)} }

func form(name string, f func(string) bool) *shape {
	return &shape{kind: '"', form: f, formName: name}
}

func pattern(name, expr string) *shape { return form(name, regexp.MustCompile(expr).MatchString) }

// check reports the first place that does not have the shape, in the order of the document.
func (s *shape) check(v value) *Error {
	if len(s.either) > 0 {
		var wrong *Error
		for _, e := range s.either {
			err := e.check(v)
			if err == nil {
				return nil
			}
			if wrong == nil || strings.HasSuffix(wrong.Path, ".version") {
				wrong = err // of the one that was meant
			}
		}
		return wrong
	}
	wrong := func(err error) *Error { return &Error{v.path(), err} }
	if v.kind() != s.kind {
		return wrong(ErrType)
	}
	switch s.kind {
	case '{':
		return s.checkObject(v)
	case '[':
		var seen map[string]bool
		if s.distinct {
			seen = map[string]bool{}
		}
		n := 0
		for e := v.first(); e.ok(); e = e.next() {
			if err := s.item.check(e); err != nil {
				return err
			}
			if s.distinct {
				key := string(e.canonical(nil))
				if seen[key] {
					return &Error{e.path(), errTwice}
				}
				seen[key] = true
			}
			n++
		}
		if n < s.min {
			return wrong(errors.New("too few"))
		}
	case '0':
		if f := v.num(); f < 0 || f > s.max {
			return wrong(ErrInvalid)
		}
	case '"':
		if s.words != nil && !slices.ContainsFunc(s.words, v.is) {
			return wrong(errors.New("none of the values that are allowed"))
		}
		if n := v.node(); n.start == n.end && s.min > 0 {
			return wrong(errors.New("empty"))
		}
		if s.form != nil && !s.form(v.str()) {
			return wrong(errors.New("not " + s.formName))
		}
	}
	return nil
}

func (s *shape) checkObject(v value) *Error {
	n := 0
	for c := v.first(); c.ok(); c = c.next() {
		n++
		f := s.fields[string(c.key())]
		if f == nil {
			continue
		}
		if v.get(string(c.key())) != c {
			return &Error{c.path(), errTwice}
		}
		if err := f.check(c); err != nil {
			return err
		}
	}
	for _, name := range s.need {
		if !v.get(name).ok() {
			path := v.path()
			if path != "" {
				path += "."
			}
			return &Error{path + name, ErrMissing}
		}
	}
	if n < s.min {
		return &Error{v.path(), errors.New("says too little")}
	}
	if s.most > 0 && n > s.most {
		return &Error{v.path(), errors.New("says too much")}
	}
	return nil
}

// canonical appends a form of v that two equal values share.
func (v value) canonical(dst []byte) []byte {
	switch n := v.node(); n.kind {
	case '"':
		return strconv.AppendQuote(dst, v.str())
	case '{':
		var members []string
		for c := v.first(); c.ok(); c = c.next() {
			members = append(members, string(c.canonical(append(strconv.AppendQuote(nil, string(c.key())), ':'))))
		}
		slices.Sort(members)
		return append(append(append(dst, '{'), strings.Join(members, ",")...), '}')
	case '[':
		dst = append(dst, '[')
		for c := v.first(); c.ok(); c = c.next() {
			dst = append(c.canonical(dst), ',')
		}
		return append(dst, ']')
	default:
		return append(dst, v.t.src[n.start:n.end]...)
	}
}

func isDateTime(s string) bool {
	_, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	return err == nil
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs()
}

// isVector tells a CVSS vector by the metrics that its version has: a list of
// "AV:NALP", the metric and the letters that it may take.
func isVector(prefix string, metrics string) func(string) bool {
	allowed := map[string]bool{}
	for _, m := range strings.Fields(metrics) {
		name, values, _ := strings.Cut(m, ":")
		for _, v := range strings.Split(values, "|") {
			allowed[name+":"+v] = true
		}
	}
	return func(s string) bool {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok {
			return false
		}
		for _, m := range strings.Split(rest, "/") {
			if !allowed[m] {
				return false
			}
		}
		return true
	}
}

// csafShape is the schema of the Common Security Advisory Framework 2.0 (OASIS
// standard of 18 November 2022), section 3. Dates are RFC 3339, links absolute.
var csafShape = sync.OnceValue(func() *shape {
	text := &shape{kind: '"', min: 1}
	texts := array(text)
	date := form("a date and time", isDateTime)
	uri := form("an absolute URI", isURI)
	lang := form("a language tag", isLanguage)
	number := pattern("a version number", // §3.1.11: whole numbers or semantic versions
		`^(0|[1-9]\d*|(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?)$`)
	ids := set(text)
	acknowledgments := array(some(1, "", fields{"names": texts, "organization": text, "summary": text, "urls": array(uri)}))
	notes := array(object("category text", fields{
		"audience": text, "text": text, "title": text,
		"category": oneOf("description details faq general legal_disclaimer other summary"),
	}))
	references := array(object("summary url", fields{"category": oneOf("external self"), "summary": text, "url": uri}))
	product := object("name product_id", fields{
		"name": text, "product_id": text,
		"product_identification_helper": some(1, "", fields{
			"cpe": form("a CPE name", isCPE),
			"hashes": array(object("file_hashes filename", fields{
				"filename": text,
				"file_hashes": array(object("algorithm value", fields{
					"algorithm": text, "value": pattern("a hash in hexadecimal", `^[0-9a-fA-F]{32,}$`),
				})),
			})),
			"model_numbers":  ids,
			"purl":           form("a package URL", func(s string) bool { return isURI(s) && isPURL().MatchString(s) }),
			"sbom_urls":      array(uri),
			"serial_numbers": ids,
			"skus":           texts,
			"x_generic_uris": array(object("namespace uri", fields{"namespace": uri, "uri": uri})),
		}),
	})
	branch := some(3, "category name", fields{
		"category": oneOf("architecture host_name language legacy patch_level product_family product_name product_version product_version_range service_pack specification vendor"),
		"name":     text, "product": product,
	})
	branch.most = 3
	branches := array(branch)
	branch.fields["branches"] = branches
	concerns := func(need string, f fields) *shape { // what names products and groups
		f["date"], f["group_ids"], f["product_ids"] = date, ids, ids
		return object(need, f)
	}
	status := some(1, "", fields{})
	for _, name := range csafStatuses {
		status.fields[name.name] = ids
	}
	return object("document", fields{
		"document": object("category csaf_version publisher title tracking", fields{
			"acknowledgments":    acknowledgments,
			"aggregate_severity": object("text", fields{"namespace": uri, "text": text}),
			"category":           pattern("a category", `^[^\s\-_.](.*[^\s\-_.])?$`),
			"csaf_version":       oneOf("2.0"),
			"distribution": some(1, "", fields{
				"text": text, "tlp": object("label", fields{"label": oneOf("AMBER GREEN RED WHITE"), "url": uri}),
			}),
			"lang": lang, "source_lang": lang, "notes": notes, "references": references, "title": text,
			"publisher": object("category name namespace", fields{
				"category":        oneOf("coordinator discoverer other translator user vendor"),
				"contact_details": text, "issuing_authority": text, "name": text, "namespace": uri,
			}),
			"tracking": object("current_release_date id initial_release_date revision_history status version", fields{
				"aliases": ids, "current_release_date": date, "initial_release_date": date, "version": number,
				"generator": object("engine", fields{"date": date, "engine": object("name", fields{"name": text, "version": text})}),
				"id":        pattern("an identifier", `^\S(.*\S)?$`),
				"revision_history": array(object("date number summary", fields{
					"date": date, "legacy_version": text, "number": number, "summary": text,
				})),
				"status": oneOf("draft final interim"),
			}),
		}),
		"product_tree": some(1, "", fields{
			"branches": branches, "full_product_names": array(product),
			"product_groups": array(object("group_id product_ids", fields{
				"group_id": text, "summary": text, "product_ids": &shape{kind: '[', item: text, min: 2, distinct: true},
			})),
			"relationships": array(object("category full_product_name product_reference relates_to_product_reference", fields{
				"category":          oneOf("default_component_of external_component_of installed_on installed_with optional_component_of"),
				"full_product_name": product, "product_reference": text, "relates_to_product_reference": text,
			})),
		}),
		"vulnerabilities": array(some(1, "", fields{
			"acknowledgments": acknowledgments, "notes": notes, "references": references, "title": text,
			"discovery_date": date, "release_date": date,
			"cve": pattern("a CVE identifier", `^CVE-[0-9]{4}-[0-9]{4,}$`),
			"cwe": object("id name", fields{"id": pattern("a CWE identifier", `^CWE-[1-9]\d{0,5}$`), "name": text}),
			"flags": set(concerns("label", fields{
				"label": oneOf("component_not_present inline_mitigations_already_exist vulnerable_code_cannot_be_controlled_by_adversary vulnerable_code_not_in_execute_path vulnerable_code_not_present"),
			})),
			"ids": set(object("system_name text", fields{"system_name": text, "text": text})),
			"involvements": set(object("party status", fields{
				"date": date, "party": oneOf("coordinator discoverer other user vendor"), "summary": text,
				"status": oneOf("completed contact_attempted disputed in_progress not_contacted open"),
			})),
			"product_status": status,
			"remediations": array(concerns("category details", fields{
				"category": oneOf("mitigation no_fix_planned none_available vendor_fix workaround"),
				"details":  text, "entitlements": texts, "url": uri,
				"restart_required": object("category", fields{
					"category": oneOf("connected dependencies machine none parent service system vulnerable_component zone"), "details": text,
				}),
			})),
			"scores": array(some(2, "products", fields{
				"products": ids, "cvss_v2": cvss2Shape(), "cvss_v3": {either: []*shape{cvss3Shape("3.0"), cvss3Shape("3.1")}},
			})),
			"threats": array(concerns("category details", fields{"category": oneOf("exploit_status impact target_set"), "details": text})),
		})),
	})
})

var isPURL = lazyregexp.New(`^pkg:[A-Za-z.+-][A-Za-z0-9.+-]*/.+`)

// isCPE tells the two bindings of a CPE name, as far as CSAF's schema does.
var isCPE = func() func(string) bool {
	const part = `(\?*|\*?)([a-zA-Z0-9\-._]|\\[\\*?!"#$%&'()+,/:;<=>@\[\]^` + "`" + `{|}~])+(\?*|\*?)|[*-]`
	formatted := regexp.MustCompile(`^cpe:2\.3:[aho*-](:(` + part + `)){5}(:([a-zA-Z]{2,3}(-([a-zA-Z]{2}|[0-9]{3}))?|[*-]))(:(` + part + `)){4}$`)
	uri := regexp.MustCompile(`^[cC][pP][eE]:/[AHOaho]?(:[A-Za-z0-9._\-~%]*){0,6}$`)
	return func(s string) bool { return formatted.MatchString(s) || uri.MatchString(s) }
}()

// isLanguage tells a language tag (RFC 5646 §2.1) by its form.
var isLanguage = regexp.MustCompile(`^(` +
	`([A-Za-z]{2,3}(-[A-Za-z]{3}(-[A-Za-z]{3}){0,2})?|[A-Za-z]{4,8})` + // language
	`(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*` + // script, region, variants
	`(-[A-WY-Za-wy-z0-9](-[A-Za-z0-9]{2,8})+)*(-[Xx](-[A-Za-z0-9]{1,8})+)?` + // extensions, private use
	`|[Xx](-[A-Za-z0-9]{1,8})+|(?i:i-default|i-mingo))$`).MatchString

func cvss2Shape() *shape {
	const level = "LOW MEDIUM HIGH NOT_DEFINED"
	score := &shape{kind: '0', max: 10}
	cia, required := oneOf("NONE PARTIAL COMPLETE"), oneOf(level)
	return object("version vectorString baseScore", fields{
		"version": oneOf("2.0"),
		"vectorString": form("a CVSS 2.0 vector", isVector("", `AV:N|A|L AC:L|M|H Au:M|S|N C:N|P|C I:N|P|C A:N|P|C
			E:U|POC|F|H|ND RL:OF|TF|W|U|ND RC:UC|UR|C|ND CDP:N|L|LM|MH|H|ND TD:N|L|M|H|ND CR:L|M|H|ND IR:L|M|H|ND AR:L|M|H|ND`)),
		"accessVector": oneOf("NETWORK ADJACENT_NETWORK LOCAL"), "accessComplexity": oneOf("HIGH MEDIUM LOW"),
		"authentication":        oneOf("MULTIPLE SINGLE NONE"),
		"confidentialityImpact": cia, "integrityImpact": cia, "availabilityImpact": cia,
		"baseScore": score, "temporalScore": score, "environmentalScore": score,
		"exploitability":            oneOf("UNPROVEN PROOF_OF_CONCEPT FUNCTIONAL HIGH NOT_DEFINED"),
		"remediationLevel":          oneOf("OFFICIAL_FIX TEMPORARY_FIX WORKAROUND UNAVAILABLE NOT_DEFINED"),
		"reportConfidence":          oneOf("UNCONFIRMED UNCORROBORATED CONFIRMED NOT_DEFINED"),
		"collateralDamagePotential": oneOf("NONE LOW LOW_MEDIUM MEDIUM_HIGH HIGH NOT_DEFINED"),
		"targetDistribution":        oneOf("NONE " + level), "confidentialityRequirement": required, "integrityRequirement": required, "availabilityRequirement": required,
	})
}

func cvss3Shape(version string) *shape {
	score := &shape{kind: '0', max: 10}
	severity := oneOf("NONE LOW MEDIUM HIGH CRITICAL")
	f := fields{
		"version": oneOf(version),
		"vectorString": form("a CVSS "+version+" vector", isVector("CVSS:"+version+"/", `AV:N|A|L|P AC:L|H PR:N|L|H UI:N|R S:U|C C:N|L|H I:N|L|H A:N|L|H
			E:X|U|P|F|H RL:X|O|T|W|U RC:X|U|R|C CR:X|L|M|H IR:X|L|M|H AR:X|L|M|H
			MAV:X|N|A|L|P MAC:X|L|H MPR:X|N|L|H MUI:X|N|R MS:X|U|C MC:X|N|L|H MI:X|N|L|H MA:X|N|L|H`)),
		"baseScore": score, "temporalScore": score, "environmentalScore": score,
		"baseSeverity": severity, "temporalSeverity": severity, "environmentalSeverity": severity,
		"exploitCodeMaturity": oneOf("UNPROVEN PROOF_OF_CONCEPT FUNCTIONAL HIGH NOT_DEFINED"),
		"remediationLevel":    oneOf("OFFICIAL_FIX TEMPORARY_FIX WORKAROUND UNAVAILABLE NOT_DEFINED"),
		"reportConfidence":    oneOf("UNKNOWN REASONABLE CONFIRMED NOT_DEFINED"),
	}
	for _, name := range []string{"confidentiality", "integrity", "availability"} {
		f[name+"Requirement"] = oneOf("LOW MEDIUM HIGH NOT_DEFINED")
	}
	for name, words := range map[string]string{
		"attackVector": "NETWORK ADJACENT_NETWORK LOCAL PHYSICAL", "attackComplexity": "HIGH LOW",
		"privilegesRequired": "HIGH LOW NONE", "userInteraction": "NONE REQUIRED", "scope": "UNCHANGED CHANGED",
		"confidentialityImpact": "NONE LOW HIGH", "integrityImpact": "NONE LOW HIGH", "availabilityImpact": "NONE LOW HIGH",
	} {
		f[name] = oneOf(words)
		f["modified"+strings.ToUpper(name[:1])+name[1:]] = oneOf(words + " NOT_DEFINED")
	}
	return object("version vectorString baseScore baseSeverity", f)
}
