// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package cpe reads and writes names of the Common Platform Enumeration 2.3,
// as formatted strings ("cpe:2.3:a:vendor:product:1.0:*:...") and as the URIs
// of version 2.2 ("cpe:/a:vendor:product:1.0"), as NIST IR 7695 says, and
// compares them as NIST IR 7696 says.
//
// Two things that the standard refuses and the world writes are read: names
// with fewer than eleven attributes, of which the missing are any, and
// punctuation that is not quoted.
//
// This API is stable.
package cpe

import (
	"errors"
	"strings"
	"unicode"
)

// maxName bounds a name; the dictionary's longest have some 300 bytes.
const maxName = 4 << 10 // bytes

// The attributes of a name, in the order of the formatted string.
const (
	Part = iota // "a" application, "o" operating system, "h" hardware
	Vendor
	Product
	Version
	Update
	Edition
	Language
	SoftwareEdition
	TargetSoftware
	TargetHardware
	Other
	attributes
)

// The logical values of an attribute.
const (
	Any           = ""
	NotApplicable = "-"
)

// A Name is a well-formed CPE name: the values of its attributes, in lower
// case and quoted as in the formatted string, [Any] being "". The zero Name is
// any product.
type Name [attributes]string

// ErrSyntax is what [Parse] returns for what is no CPE name.
var ErrSyntax = errors.New("cpe: not a name of CPE 2.2 or 2.3")

// Parse reads a formatted string or a URI. It allocates nothing for a formatted
// string in lower case with its punctuation quoted; the values are then cut
// from s.
func Parse(s string) (Name, error) {
	switch {
	case len(s) > maxName:
		return Name{}, ErrSyntax
	case len(s) >= 8 && strings.EqualFold(s[:8], "cpe:2.3:"):
		return parseFormatted(s[8:])
	case len(s) >= 5 && strings.EqualFold(s[:5], "cpe:/"):
		return parseURI(s[5:])
	}
	return Name{}, ErrSyntax
}

// New returns a name of part, vendor, product and version in plain text, as
// registers and SBOMs write them: all of it is meant literally, and an empty
// value is any.
func New(part, vendor, product, version string) Name {
	n := Name{Part: part}
	for i, v := range [...]string{Vendor: vendor, Product: product, Version: version} {
		if i != Part && v != "" {
			n[i] = Quote(strings.ReplaceAll(v, " ", "_"))
		}
	}
	return n
}

// Quote quotes plain text as a value.
func Quote(text string) string {
	text = strings.ToLower(text)
	b := make([]byte, 0, len(text)+4)
	for i := range len(text) {
		b = appendQuoted(b, text[i])
	}
	if string(b) == "-" {
		return `\-`
	}
	return string(b)
}

// Plain returns a value as text, without quoting.
func Plain(value string) string {
	if strings.IndexByte(value, '\\') < 0 {
		return value
	}
	b := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		b = append(b, value[i])
	}
	return string(b)
}

// bare says whether a byte stands unquoted in a value, §6.2.2.1.
func bare(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c >= 0x80
}

func appendQuoted(b []byte, c byte) []byte {
	if !bare(c) {
		b = append(b, '\\')
	}
	return append(b, c)
}

// parseFormatted unbinds a formatted string, §6.2.3.
func parseFormatted(s string) (Name, error) {
	var n Name
	for i := range n {
		end := 0
		for end < len(s) && s[end] != ':' {
			if s[end] == '\\' {
				end++
			}
			end++
		}
		if end > len(s) {
			return Name{}, ErrSyntax // ends in a backslash
		}
		v, ok := unbindValue(s[:end])
		if !ok {
			return Name{}, ErrSyntax
		}
		n[i] = v
		if end == len(s) {
			if i < Vendor {
				return Name{}, ErrSyntax
			}
			return n, n.check()
		}
		s = s[end+1:]
	}
	return Name{}, ErrSyntax // more than eleven
}

// unbindValue reads one value of a formatted string.
func unbindValue(s string) (string, bool) {
	switch s {
	case "*":
		return Any, true
	case "-":
		return NotApplicable, true
	case "":
		return "", false
	}
	if normal(s) {
		return s, wildcardsOutside(s)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", false
	}
	b := make([]byte, 0, len(s)+4)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
			b = appendQuoted(b, lower(s[i]))
		case c == '*' || c == '?':
			b = append(b, c)
		default:
			b = appendQuoted(b, lower(c))
		}
	}
	if string(b) == "-" {
		return `\-`, true
	}
	return string(b), wildcardsOutside(string(b))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// normal says whether a value is in lower case and quoted where it must be and
// only there.
func normal(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
			if i == len(s) || bare(s[i]) && s != `\-` || 'A' <= s[i] && s[i] <= 'Z' || s[i] < ' ' || s[i] == 0x7f {
				return false
			}
		case !bare(c) && c != '*' && c != '?':
			return false
		}
	}
	return true
}

// wildcardsOutside says whether wildcards stand only where §5.3.2 lets them: a
// star or question marks at the start and at the end.
func wildcardsOutside(s string) bool {
	_, core, _ := cutWildcards(s)
	for i := 0; i < len(core); i++ {
		switch core[i] {
		case '\\':
			i++
		case '*', '?':
			return false
		}
	}
	return true
}

// check says whether part is one that there is.
func (n *Name) check() error {
	switch n[Part] {
	case Any, NotApplicable, "a", "o", "h":
		return nil
	}
	return ErrSyntax
}

// parseURI unbinds a URI, §6.1.3.
func parseURI(s string) (Name, error) {
	var n Name
	fields := 0
	for f := range strings.SplitSeq(s, ":") {
		ok := fields < SoftwareEdition
		switch {
		case !ok:
			return Name{}, ErrSyntax
		case fields == Edition && strings.HasPrefix(f, "~"):
			// §6.1.3.3: "~edition~sw_edition~target_sw~target_hw~other"
			packed := strings.Split(f[1:], "~")
			if len(packed) != 5 {
				return Name{}, ErrSyntax
			}
			for i, at := range [...]int{Edition, SoftwareEdition, TargetSoftware, TargetHardware, Other} {
				if n[at], ok = decodeURI(packed[i]); !ok {
					return Name{}, ErrSyntax
				}
			}
		default:
			if n[fields], ok = decodeURI(f); !ok {
				return Name{}, ErrSyntax
			}
		}
		fields++
	}
	return n, n.check()
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

// decodeURI reads one component of a URI; "%01" and "%02" are the wildcards.
func decodeURI(s string) (string, bool) {
	switch s {
	case "", "*":
		return Any, true
	case "-":
		return NotApplicable, true
	}
	b := make([]byte, 0, len(s)+4)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return "", false
			}
			c = byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			switch c {
			case 1:
				b = append(b, '?')
				continue
			case 2:
				b = append(b, '*')
				continue
			}
			if c < ' ' || c == 0x7f {
				return "", false
			}
		}
		b = appendQuoted(b, lower(c))
	}
	switch string(b) {
	case "-":
		return `\-`, true
	case "*":
		return Any, true
	}
	return string(b), wildcardsOutside(string(b)) && !strings.ContainsFunc(s, unicode.IsControl)
}

// String binds the name to a formatted string.
func (n Name) String() string {
	b := make([]byte, 0, 64)
	b = append(b, "cpe:2.3"...)
	for _, v := range n {
		b = append(b, ':')
		if v == Any {
			v = "*"
		}
		b = append(b, v...)
	}
	return string(b)
}

// URI binds the name to a URI of CPE 2.2, §6.1.2.
func (n Name) URI() string {
	b := []byte("cpe:/")
	last := Language
	packed := n[SoftwareEdition] != Any || n[TargetSoftware] != Any || n[TargetHardware] != Any || n[Other] != Any
	for last > Part && n[last] == Any && !(packed && last == Edition) {
		last--
	}
	for i := Part; i <= last; i++ {
		if i > Part {
			b = append(b, ':')
		}
		if i != Edition || !packed {
			b = encodeURI(b, n[i])
			continue
		}
		for _, at := range [...]int{Edition, SoftwareEdition, TargetSoftware, TargetHardware, Other} {
			b = encodeURI(append(b, '~'), n[at])
		}
	}
	return string(b)
}

func encodeURI(b []byte, v string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '?':
			b = append(b, "%01"...)
		case c == '*':
			b = append(b, "%02"...)
		case c == '\\' && v != `\-`:
			i++
			b = append(b, '%', hex[v[i]>>4], hex[v[i]&15])
		case v == `\-`:
			return append(b, "%2d"...)
		default:
			b = append(b, c)
		}
	}
	return b
}
