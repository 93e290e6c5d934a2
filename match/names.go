// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A Certainty says how sure a match is. "" is no match.
type Certainty string

// The certainties.
const (
	Exact  Certainty = "exact"  // the names and the version say the same
	Likely Certainty = "likely" // an alias, a predecessor or a shorter name stands between them
	Review Certainty = "review" // a person has to look: too little is written down to decide
)

func (c Certainty) rank() int {
	switch c {
	case Exact:
		return 3
	case Likely:
		return 2
	case Review:
		return 1
	}
	return 0
}

// least returns the less sure of two.
func least(a, b Certainty) Certainty {
	if a.rank() < b.rank() {
		return a
	}
	return b
}

// The bounds of a file of aliases.
const (
	maxAliasBytes = 4 << 20
	maxMakers     = 20000
	maxNames      = 500 // of one maker or product
	maxNesting    = 4   // of [ and {
	maxIndent     = 40  // where a "-" may stand
	maxLine       = 64 << 10
)

// Names is what is known of how makers and products are spelled. It is not
// changed after it was made, and may be used by several goroutines.
type Names struct {
	companies []company
	byName    map[string]int   // folded spelling, without legal form -> company
	joined    map[string]int   // the same without spaces, as CPE names have it: "gehealthcare"
	renames   map[int][]rename // by company: how its products are spelled otherwise
}

type company struct {
	name    string
	related []int      // sorted
	parents []int      // the companies that name it as related
	phrases [][]string // folded spellings: what may be repeated in the name of a product
}

//go:embed aliases.yaml
var shippedAliases []byte

var shipped = sync.OnceValue(func() *Names {
	n, err := (&Names{}).Extend("aliases.yaml", shippedAliases)
	if err != nil {
		panic(err) // a test holds the file
	}
	return n
})

// Shipped returns the names that Myelin comes with.
func Shipped() *Names { return shipped() }

type aliasFile struct {
	Makers []struct {
		Name    string   `yaml:"name"`
		Same    []string `yaml:"same"`
		Related []string `yaml:"related"`
	} `yaml:"makers"`
	Products []struct {
		Maker string   `yaml:"maker"`
		Name  string   `yaml:"name"`
		Same  []string `yaml:"same"`
	} `yaml:"products"`
}

// An AliasError is what is wrong with a file of aliases. Line and Column count
// from 1.
type AliasError struct {
	File         string
	Line, Column int
	Err          error
}

func (e *AliasError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
}

func (e *AliasError) Unwrap() error { return e.Err }

// Extend returns n with the aliases of a file (docs/aliases.md) added. n stays
// as it is. An error is an [*AliasError].
func (n *Names) Extend(file string, b []byte) (*Names, error) {
	fail := func(line, column int, format string, args ...any) (*Names, error) {
		return nil, &AliasError{file, max(line, 1), max(column, 1), fmt.Errorf(format, args...)}
	}
	if len(b) > maxAliasBytes {
		return fail(1, 1, "the file has %d bytes; there is room for %d", len(b), maxAliasBytes)
	}
	if strings.TrimSpace(string(b)) == "" {
		return fail(1, 1, "the file is empty; it wants the keys makers or products")
	}
	// The YAML parser takes time with the square of the nesting, and expands
	// aliases: both are looked for before.
	tokens, depth := lexer.Tokenize(string(b)), 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			if t.Position.Column > maxIndent {
				return fail(t.Position.Line, t.Position.Column, "nested deeper than aliases are")
			}
		case token.AnchorType, token.AliasType, token.TagType, token.DirectiveType, token.MergeKeyType, token.MappingKeyType:
			return fail(t.Position.Line, t.Position.Column, "aliases do without anchors, tags and directives; put this in quotes if it is a name")
		}
		if depth > maxNesting || depth > 0 && t.Position.Column > maxLine {
			return fail(t.Position.Line, t.Position.Column, "nested deeper than aliases are, or a line of more than %d characters", maxLine)
		}
	}
	var f aliasFile
	tree, err := parser.Parse(tokens, 0)
	if err == nil {
		err = yaml.UnmarshalWithOptions(b, &f, yaml.Strict())
	}
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
			p := at.GetToken().Position
			return fail(p.Line, p.Column, "%s", at.GetMessage())
		}
		return fail(1, 1, "this is not YAML that can be read")
	}
	failAt := func(format string, path string, args ...any) (*Names, error) {
		line, column := position(tree, path)
		return fail(line, column, format, args...)
	}
	if len(f.Makers) > maxMakers || len(f.Products) > maxMakers {
		return fail(1, 1, "there is room for %d makers and as many products", maxMakers)
	}

	out := n.clone()
	for i, m := range f.Makers {
		at := fmt.Sprintf("$.makers[%d]", i)
		if len(m.Same)+len(m.Related) > maxNames {
			return failAt("more than %d names for one maker", at, maxNames)
		}
		if key(m.Name) == "" {
			return failAt("a maker wants a name", at)
		}
		c := out.company(m.Name)
		for j, s := range m.Same {
			at := fmt.Sprintf("%s.same[%d]", at, j)
			if key(s) == "" {
				return failAt("a name without a letter or digit", at)
			}
			if err := out.join(c, s); err != nil {
				return failAt("%v", at, err)
			}
		}
		for j, s := range m.Related {
			if key(s) == "" {
				return failAt("a name without a letter or digit", fmt.Sprintf("%s.related[%d]", at, j))
			}
			if d := out.company(s); d != c {
				out.relate(c, d)
				out.relate(d, c)
				out.companies[d].parents = append(out.companies[d].parents, c)
			}
		}
	}
	for i, p := range f.Products {
		at := fmt.Sprintf("$.products[%d]", i)
		if len(p.Same) > maxNames {
			return failAt("more than %d names for one product", at, maxNames)
		}
		if key(p.Maker) == "" || key(p.Name) == "" {
			return failAt("a product wants a maker and a name", at)
		}
		c := out.company(p.Maker)
		to := strings.Fields(fold(p.Name))
		for j, alias := range p.Same {
			from := strings.Fields(fold(alias))
			if len(from) == 0 {
				return failAt("a name without a letter or digit", fmt.Sprintf("%s.same[%d]", at, j))
			}
			if !slices.Equal(from, to) {
				out.renames[c] = append(out.renames[c], rename{from, to})
			}
		}
	}
	return out, nil
}

// position returns where a path of a YAML file stands.
func position(tree *ast.File, path string) (line, column int) {
	p, err := yaml.PathString(path)
	if err != nil {
		return 1, 1
	}
	node, err := p.FilterFile(tree)
	if err != nil || node == nil || node.GetToken() == nil {
		return 1, 1
	}
	return node.GetToken().Position.Line, node.GetToken().Position.Column
}

func (n *Names) clone() *Names {
	out := &Names{companies: slices.Clone(n.companies), byName: map[string]int{}, joined: map[string]int{}, renames: map[int][]rename{}}
	for i := range out.companies {
		out.companies[i].related = slices.Clone(out.companies[i].related)
		out.companies[i].parents = slices.Clone(out.companies[i].parents)
		out.companies[i].phrases = slices.Clone(out.companies[i].phrases)
	}
	for k, c := range n.byName {
		out.byName[k] = c
	}
	for k, c := range n.joined {
		out.joined[k] = c
	}
	for c, r := range n.renames {
		out.renames[c] = slices.Clone(r)
	}
	return out
}

// company returns the company of a name, and makes it where there is none.
func (n *Names) company(name string) int {
	k := key(name)
	c, ok := n.byName[k]
	if !ok {
		c = len(n.companies)
		n.companies = append(n.companies, company{name: name})
		n.byName[k] = c
		n.joined[strings.ReplaceAll(k, " ", "")] = c
		n.companies[c].phrases = append(n.companies[c].phrases, strings.Fields(k))
	}
	return c
}

// join makes a name one of a company's. A company of that name that stands
// alone goes into it; one that has names of its own does not.
func (n *Names) join(c int, name string) error {
	k := key(name)
	switch d, ok := n.byName[k]; {
	case !ok:
		n.byName[k] = c
	case d == c:
		return nil
	case len(n.companies[d].phrases) > 1:
		return fmt.Errorf("this name is one of %s already", n.companies[d].name)
	default: // it was only named as related, so far
		n.byName[k] = c
		for _, r := range n.companies[d].related {
			if r != c {
				n.relate(c, r)
				n.relate(r, c)
			}
		}
	}
	n.joined[strings.ReplaceAll(k, " ", "")] = c
	n.companies[c].phrases = append(n.companies[c].phrases, strings.Fields(k))
	return nil
}

func (n *Names) relate(c, d int) {
	if i, found := slices.BinarySearch(n.companies[c].related, d); !found {
		n.companies[c].related = slices.Insert(n.companies[c].related, i, d)
	}
}

// A maker is a manufacturer's name, taken apart once.
type maker struct {
	written string
	key     string   // folded, without legal form
	core    []string // without the words that every maker has
	company int      // or -1
	loose   bool     // the company was found by the core of the name only
	parts   []*maker // where it names several: "ENEA, Green Hills Software and Wind River"
}

func (n *Names) maker(written string) *maker {
	m := n.oneMaker(written)
	if m.company < 0 && strings.ContainsAny(written, ",;/") {
		for part := range strings.FieldsFuncSeq(written, func(r rune) bool { return r == ',' || r == ';' || r == '/' }) {
			part = strings.TrimPrefix(strings.TrimSpace(part), "and ")
			if p := n.oneMaker(part); len(p.core) > 0 && len(m.parts) < 16 {
				m.parts = append(m.parts, p)
			}
		}
		if len(m.parts) < 2 {
			m.parts = nil
		}
	}
	return m
}

func (n *Names) oneMaker(written string) *maker {
	m := &maker{written: written, key: key(written), company: -1}
	words := strings.Fields(m.key)
	m.core = core(words)
	if c, ok := n.byName[m.key]; ok {
		m.company = c
		return m
	}
	if c, ok := n.joined[m.key]; ok {
		m.company = c
		return m
	}
	// "Becton, Dickinson and Company (BD)": without the brackets, or by what is in them.
	if i := strings.IndexByte(written, '('); i > 0 {
		short, _, _ := strings.Cut(written[i+1:], ")")
		for _, s := range []string{written[:i], short} {
			if c, ok := n.byName[key(s)]; ok {
				m.key, m.core, m.company = key(s), core(strings.Fields(key(s))), c
				return m
			}
		}
	}
	for i := len(words) - 1; i > 0 && makerWords[words[i]]; i-- {
		if c, ok := n.byName[strings.Join(words[:i], " ")]; ok {
			m.company, m.loose = c, true
			break
		}
	}
	return m
}

// SameMaker says how surely two names are of one maker.
func (n *Names) SameMaker(a, b string) Certainty {
	c, _ := n.same(n.maker(a), n.maker(b))
	return c
}

// SameProduct says how surely two products are one, whatever their versions.
func (n *Names) SameProduct(a, b Product) Certainty {
	x, y := n.maker(a.Manufacturer), n.maker(b.Manufacturer)
	c, _ := n.same(x, y)
	named, _ := compare(parseModel(a.Model, n.house(x)), parseModel(b.Model, n.house(y)))
	return least(c, named)
}

// same says whether two makers are one, and why.
func (n *Names) same(a, b *maker) (Certainty, string) {
	switch {
	case a.key == "" || b.key == "":
		return Review, "no manufacturer is written down"
	case a.key == b.key:
		return Exact, ""
	case strings.ReplaceAll(a.key, " ", "") == strings.ReplaceAll(b.key, " ", ""):
		return Exact, fmt.Sprintf("%s and %s are the same but for spaces", a.written, b.written)
	case a.company >= 0 && b.company >= 0:
		name := n.companies[b.company].name
		switch {
		case a.company == b.company && !a.loose && !b.loose:
			return Exact, fmt.Sprintf("%s and %s are names of the same company", a.written, b.written)
		case a.company == b.company:
			return Likely, fmt.Sprintf("%s and %s are names of %s", a.written, b.written, name)
		case n.kin(a.company, b.company):
			return Likely, fmt.Sprintf("%s and %s are houses whose products passed from one to the other", a.written, b.written)
		}
		return "", ""
	}
	for _, p := range a.parts {
		if c, _ := n.same(p, b); c.rank() >= Likely.rank() {
			return Likely, fmt.Sprintf("%s is one of several makers named together", p.written)
		}
	}
	for _, p := range b.parts {
		if c, _ := n.same(a, p); c.rank() >= Likely.rank() {
			return Likely, fmt.Sprintf("%s is one of several makers named together", p.written)
		}
	}
	short, long := a, b
	if len(short.core) > len(long.core) {
		short, long = b, a
	}
	switch {
	case len(short.core) == 0 || len(short.core[0]) < 3 && len(short.core) == 1 && short.company < 0:
		return "", ""
	case slices.Equal(short.core, long.core):
		return Likely, fmt.Sprintf("%s and %s differ in common words only", a.written, b.written)
	case !slices.Equal(short.core, long.core[:len(short.core)]):
		return "", ""
	case short.company >= 0 && len(short.core[0]) > 3:
		return Likely, fmt.Sprintf("%s begins with the name of %s", long.written, short.written)
	}
	return Review, fmt.Sprintf("%s begins with the name of %s", long.written, short.written)
}

// kin reports whether products passed between two companies.
func (n *Names) kin(c, d int) bool {
	_, found := slices.BinarySearch(n.companies[c].related, d)
	if found {
		return true
	}
	// Two that were bought by the same house: Hillrom and Welch Allyn by Baxter.
	return slices.ContainsFunc(n.companies[c].parents, func(p int) bool { return slices.Contains(n.companies[d].parents, p) })
}

// A rename is an alias of a product, as words.
type rename struct{ from, to []string }

// A house is what a maker's products may be called beside their names: the
// brands, the longest first, and the aliases.
type house struct {
	brands  [][]string
	renames []rename
}

func (n *Names) house(m *maker) *house {
	h := &house{}
	if len(m.core) > 0 {
		h.brands = append(h.brands, strings.Fields(m.key), m.core)
	}
	if m.company >= 0 {
		for _, c := range append([]int{m.company}, n.companies[m.company].related...) {
			h.brands = append(h.brands, n.companies[c].phrases...)
			h.renames = append(h.renames, n.renames[c]...)
		}
	}
	slices.SortStableFunc(h.brands, func(a, b []string) int { return len(b) - len(a) })
	slices.SortStableFunc(h.renames, func(a, b rename) int { return len(b.from) - len(a.from) })
	return h
}

// legalForms end the name of a company without being part of it.
var legalForms = set("inc incorporated ltd limited llc llp lp plc corp corporation co company gmbh ag kg kgaa se sa sas sarl srl spa nv bv ab as aps oy oyj kk pty pte pvt sl slu sro zoo ev and cv kft ltda bhd sdn holdings holding")

// makerWords are words that many makers have in their names, and which alone
// tell none from another.
var makerWords = set("medical healthcare health care technologies technology systems system international group solutions products industries devices instruments laboratories laboratory diagnostics usa us uk america north american europe european deutschland germany nederland netherlands japan canada france global worldwide medtech services electronics software")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// key folds a maker's name: lower case, no accents, no punctuation, no legal
// form at its end.
func key(name string) string {
	words := strings.Fields(fold(name))
	for i := 0; i+1 < len(words); i++ { // "s.a." became "s a"
		if len(words[i]) == 1 && len(words[i+1]) == 1 && legalForms[words[i]+words[i+1]] && i > 0 {
			words = slices.Replace(words, i, i+2, words[i]+words[i+1])
		}
	}
	for len(words) > 1 && legalForms[words[len(words)-1]] {
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
}

// core drops from the end the words that many makers have.
func core(words []string) []string {
	for len(words) > 1 && makerWords[words[len(words)-1]] {
		words = words[:len(words)-1]
	}
	return words
}

// fold writes a name in lower case without accents, its words separated by one
// space. An ampersand is "and", a plus is "plus"; an apostrophe is nothing.
func fold(name string) string {
	name = unmangled(name)
	var b strings.Builder
	b.Grow(len(name))
	space := false
	for _, r := range name {
		s := folded(r)
		switch {
		case r == '\'' || r == '’' || r == '®' || r == '™' || r == '©':
			continue
		case s == "":
			space = true
			continue
		case r == '&' || r == '+':
			space = true
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = r == '&' || r == '+'
		b.WriteString(s)
	}
	return b.String()
}

// folded returns a letter or digit in lower case without accents; "" for what
// separates words.
func folded(r rune) string {
	switch {
	case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
		return ascii[r : r+1]
	case 'A' <= r && r <= 'Z':
		return ascii[r+'a'-'A' : r+'a'-'A'+1]
	case r == '&':
		return "and"
	case r == '+':
		return "plus"
	case r < 0x80:
		return ""
	}
	for _, row := range accents {
		if strings.ContainsRune(row.from, r) {
			return row.to
		}
	}
	if r >= 0x370 && r != 0xFFFD && (r < 0x2000 || r > 0x2FFF) { // letters of other alphabets stay
		return string(r)
	}
	return ""
}

var ascii = func() string {
	b := make([]byte, 128)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

// accents: letters of Latin alphabets, without what stands above and below them.
var accents = []struct{ from, to string }{
	{"àáâãäåāăąÀÁÂÃÄÅĀĂĄ", "a"},
	{"çćčÇĆČ", "c"},
	{"ďđðĎĐÐ", "d"},
	{"èéêëēėęěÈÉÊËĒĖĘĚ", "e"},
	{"ğģĞĢ", "g"},
	{"ìíîïīįıÌÍÎÏĪĮİ", "i"},
	{"łľĺŁĽĹ", "l"},
	{"ñńňÑŃŇ", "n"},
	{"òóôõöøōőÒÓÔÕÖØŌŐ", "o"},
	{"řŕŘŔ", "r"},
	{"śšşșŚŠŞȘ", "s"},
	{"ťţțŤŢȚ", "t"},
	{"ùúûüūůűÙÚÛÜŪŮŰ", "u"},
	{"ýÿÝŸ", "y"},
	{"źžżŹŽŻ", "z"},
	{"ß", "ss"},
	{"æÆ", "ae"},
	{"œŒ", "oe"},
	{"þÞ", "th"},
	{"µμ", "u"},
	{"¹", "1"},
	{"²", "2"}, // Aisys CS²
	{"³", "3"},
}

// unmangled undoes what happens to UTF-8 that was read as Latin-1 and written
// as UTF-8 again ("YhtymÃ¤" for "Yhtymä").
func unmangled(s string) string {
	if !strings.ContainsAny(s, "ÂÃÅ") {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xFF {
			return s
		}
		b = append(b, byte(r))
	}
	if t := string(b); t != s && utf8.Valid(b) {
		return t
	}
	return s
}
