// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package purl reads and writes package URLs, "pkg:type/namespace/name@version",
// as the package-url specification (ECMA-427) says: the parts, the canonical
// form, and the rules of the types that change a name or ask for a part.
//
// It asks no more of a type than the specification's own tests do, because bills
// of materials are full of package URLs that are a little wrong.
//
// This API is stable.
package purl

import (
	"cmp"
	"slices"
	"strings"
)

// maxPURL bounds a package URL; the longest in real bills of materials, with a
// download address and checksums, have some 1,000 bytes.
const maxPURL = 16 << 10 // bytes

// A PURL is a package URL in canonical parts, decoded. Two are the same package
// at the same version when they are equal with ==.
type PURL struct {
	Type      string // "npm", lower case
	Namespace string // "@angular", "org.apache.commons", "github.com/gorilla"
	Name      string
	Version   string
	// Qualifiers is as in the canonical form, sorted and encoded:
	// "arch=i386&distro=jessie". [PURL.Qualifier] gives one of them.
	Qualifiers string
	Subpath    string
}

// A SyntaxError says where a string is no package URL. It holds nothing of it.
type SyntaxError struct {
	Part string // the specification's word: "type", "name", "qualifiers", ...
	Off  int    // bytes from the start of the part's text
}

func (e *SyntaxError) Error() string { return "purl: " + e.Part + " is missing or malformed" }

func fail(part string, off int) error { return &SyntaxError{part, off} }

// Parse reads a package URL. It allocates nothing where no part has to be
// decoded, put in lower case or sorted, which is nearly always so; the parts
// are then cut from s.
func Parse(s string) (PURL, error) {
	var p PURL
	var err error
	if len(s) > maxPURL {
		return PURL{}, fail("length", maxPURL)
	}
	// Section 5.6: from the right, the subpath, the qualifiers and the version.
	rest := s
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		if p.Subpath, err = decodePath(rest[i+1:], "subpath"); err != nil {
			return PURL{}, err
		}
		rest = rest[:i]
	}
	qualifiers := ""
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest, qualifiers = rest[:i], rest[i+1:]
	}
	if len(rest) < 4 || !strings.EqualFold(rest[:4], "pkg:") {
		return PURL{}, fail("scheme", 0)
	}
	rest = strings.Trim(rest[4:], "/")
	typ, rest, ok := strings.Cut(rest, "/")
	if !ok || !isType(typ) {
		return PURL{}, fail("type", 4)
	}
	p.Type = strings.ToLower(typ)
	rest = strings.TrimLeft(rest, "/")

	// The version follows the last "@", but "@" before a namespace is npm's.
	slash := strings.LastIndexByte(rest, '/')
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 && at < slash && (at == 0 || rest[at-1] == '/') {
		at = -1
	}
	if at >= 0 {
		if p.Version, err = decode(rest[at+1:], "version"); err != nil {
			return PURL{}, err
		}
		rest = strings.TrimRight(rest[:at], "/")
		if len(rest) < at { // "github.com/Alamofire/@5.4.3" has no name
			return PURL{}, fail("name", at)
		}
		slash = strings.LastIndexByte(rest, '/')
	}
	if slash >= 0 {
		if p.Namespace, err = decodePath(rest[:slash], "namespace"); err != nil {
			return PURL{}, err
		}
	}
	if p.Name, err = decode(rest[slash+1:], "name"); err != nil {
		return PURL{}, err
	}
	if qualifiers != "" {
		if p.Qualifiers, err = canonicalQualifiers(qualifiers); err != nil {
			return PURL{}, err
		}
	}
	err = p.normalize()
	return p, err
}

// New builds a package URL from its parts, none of them encoded.
func New(typ, namespace, name, version string, qualifiers map[string]string, subpath string) (PURL, error) {
	if !isType(typ) {
		return PURL{}, fail("type", 0)
	}
	p := PURL{Type: strings.ToLower(typ), Name: name, Version: version}
	p.Namespace = cleanPath(namespace, false)
	p.Subpath = cleanPath(subpath, true)
	pairs := make([]pair, 0, len(qualifiers))
	for key, value := range qualifiers {
		pairs = append(pairs, pair{key, value})
	}
	var err error
	if p.Qualifiers, err = join(pairs); err == nil {
		err = p.normalize()
	}
	if err == nil && len(p.String()) > maxPURL {
		err = fail("length", maxPURL)
	}
	if err != nil {
		return PURL{}, err
	}
	return p, nil
}

// String returns the canonical form.
func (p PURL) String() string {
	b := make([]byte, 0, 16+len(p.Type)+len(p.Namespace)+len(p.Name)+len(p.Version)+len(p.Qualifiers)+len(p.Subpath))
	b = append(append(b, "pkg:"...), p.Type...)
	b = append(b, '/')
	if p.Namespace != "" {
		b = append(appendEscaped(b, p.Namespace, true), '/')
	}
	b = appendEscaped(b, p.Name, p.Type == "git")
	if p.Version != "" {
		b = appendEscaped(append(b, '@'), p.Version, false)
	}
	if p.Qualifiers != "" {
		b = append(append(b, '?'), p.Qualifiers...)
	}
	if p.Subpath != "" {
		b = appendEscaped(append(b, '#'), p.Subpath, true)
	}
	return string(b)
}

// Package returns p without version, qualifiers and subpath.
func (p PURL) Package() PURL {
	return PURL{Type: p.Type, Namespace: p.Namespace, Name: p.Name}
}

// Qualifier returns the value of a qualifier, decoded, or "".
func (p PURL) Qualifier(key string) string {
	for q := range strings.SplitSeq(p.Qualifiers, "&") {
		if k, v, _ := strings.Cut(q, "="); k == key {
			v, _ = decode(v, "qualifiers")
			return v
		}
	}
	return ""
}

// Covers says whether a statement about p is one about q: the same package, the
// same version if p names one, and no other distribution.
func (p PURL) Covers(q PURL) bool {
	return p.Package() == q.Package() && (p.Version == "" || p.Version == q.Version) &&
		sameDistro(p.Namespace, p.Qualifier("distro"), q.Qualifier("distro"))
}

// sameDistro compares "bullseye", "debian-11" and "debian-11.7", or "3.14" and
// "alpine-3.14.2"; what is not said differs from nothing.
func sameDistro(namespace, a, b string) bool {
	family := FamilyOf(namespace)
	same, _ := DistroOf(family, a).Same(DistroOf(family, b))
	return a == b || same
}

// isType follows section 5.2: letters, digits, "." and "-", not first a digit.
func isType(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '.' || c == '-' || c == '+'):
		default:
			return false
		}
	}
	return s != ""
}

// A rule is what a type asks beyond the common rules.
type rule struct {
	lower     string // the parts that are in lower case: "s" namespace, "n" name, "v" version
	namespace int    // 1 required, -1 prohibited
}

var rules = map[string]rule{
	"alpm": {lower: "sn"}, "apk": {lower: "sn"}, "bitbucket": {lower: "sn"}, "bitnami": {lower: "n"}, "brew": {lower: "sn"},
	"composer": {lower: "sn"}, "deb": {lower: "sn"}, "git": {namespace: 1}, "github": {lower: "sn"}, "hex": {lower: "sn"},
	"huggingface": {lower: "v"}, "luarocks": {lower: "sn"}, "oci": {lower: "n"}, "otp": {lower: "n", namespace: -1}, "pub": {lower: "n"},
	"pypi": {lower: "n"}, "qpkg": {lower: "s"}, "rpm": {lower: "s"}, "swift": {namespace: 1}, "vcpkg": {lower: "n", namespace: -1},
	"vscode-extension": {lower: "sn", namespace: 1},
}

// normalize applies the rules of the type.
func (p *PURL) normalize() error {
	r := rules[p.Type]
	for i := range len(r.lower) {
		switch r.lower[i] {
		case 's':
			p.Namespace = strings.ToLower(p.Namespace)
		case 'n':
			p.Name = strings.ToLower(p.Name)
		case 'v':
			p.Version = strings.ToLower(p.Version)
		}
	}
	if r.namespace > 0 && p.Namespace == "" || r.namespace < 0 && p.Namespace != "" {
		return fail("namespace", 0)
	}
	bad := p.Name == ""
	switch p.Type {
	case "pypi":
		p.Name = strings.ReplaceAll(p.Name, "_", "-")
	case "git": // the host, and then the whole path of the repository
		p.Namespace, p.Name, _ = strings.Cut(p.Namespace+"/"+p.Name, "/")
		p.Name = cleanPath(p.Name, false)
		bad = p.Name == ""
	case "mlflow": // Databricks does not tell case apart, Azure does
		if strings.Contains(p.Qualifiers, "databricks") {
			p.Name = strings.ToLower(p.Name)
		}
	case "cpan": // a distribution, not a module
		bad = bad || strings.Contains(p.Name, "::")
	case "chrome-extension":
		bad = bad || len(p.Name) != 32 || strings.Trim(p.Name, "abcdefghijklmnop") != ""
	case "julia":
		if p.Qualifier("uuid") == "" {
			return fail("qualifiers", 0)
		}
	}
	if bad {
		return fail("name", 0)
	}
	return nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// decode resolves percent-encoding; without any it returns s itself.
func decode(s, part string) (string, error) {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s, nil
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return "", fail(part, i)
			}
			c = byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
		}
		b = append(b, c)
	}
	return string(b), nil
}

// cleanPath drops empty segments, and in a subpath "." and "..".
func cleanPath(s string, dots bool) string {
	clean := true
	for segment := range strings.SplitSeq(s, "/") {
		clean = clean && segment != "" && (!dots || segment != "." && segment != "..")
	}
	if clean || s == "" {
		return s
	}
	var kept []string
	for segment := range strings.SplitSeq(s, "/") {
		if segment != "" && (!dots || segment != "." && segment != "..") {
			kept = append(kept, segment)
		}
	}
	return strings.Join(kept, "/")
}

// decodePath decodes the segments of a namespace or subpath, none of which may
// hold a slash of its own.
func decodePath(s, part string) (string, error) {
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && s[i+1] == '2' && s[i+2]|0x20 == 'f' {
			return "", fail(part, i)
		}
	}
	d, err := decode(s, part)
	return cleanPath(d, part == "subpath"), err
}

// appendEscaped encodes as section 5.4 says: letters, digits, ".-_~" and the
// colon stay.
func appendEscaped(b []byte, s string, path bool) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; plain(c) || path && c == '/' {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c == '~' || c == ':'
}

type pair struct{ key, value string }

// isKey follows section 5.6.5: letters, digits, ".-_", not first a digit.
func isKey(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', c == '.', c == '-', c == '_', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return s != ""
}

// canonicalQualifiers returns s itself when it is in canonical form already.
func canonicalQualifiers(s string) (string, error) {
	canonical, last := true, ""
	for q := range strings.SplitSeq(s, "&") {
		key, value, _ := strings.Cut(q, "=")
		canonical = canonical && value != "" && isKey(key) && last < key
		for i := 0; i < len(value) && canonical; i++ {
			canonical = plain(value[i])
		}
		last = key
	}
	if canonical {
		return s, nil
	}
	var pairs []pair
	for q := range strings.SplitSeq(s, "&") {
		key, value, _ := strings.Cut(q, "=")
		value, err := decode(value, "qualifiers")
		if err != nil {
			return "", err
		}
		if q != "" {
			pairs = append(pairs, pair{key, value})
		}
	}
	return join(pairs)
}

// join writes qualifiers in canonical form; those without a value are none.
func join(pairs []pair) (string, error) {
	for i := range pairs {
		pairs[i].key = strings.ToLower(pairs[i].key)
		if !isKey(pairs[i].key) {
			return "", fail("qualifiers", 0)
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	var b []byte
	for i, q := range pairs {
		if i > 0 && pairs[i-1].key == q.key {
			return "", fail("qualifiers", 0) // a key may stand once
		}
		if q.value == "" {
			continue
		}
		if b != nil {
			b = append(b, '&')
		}
		b = append(append(b, q.key...), '=')
		b = appendEscaped(b, q.value, false)
	}
	return string(b), nil
}
