// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package http

import (
	"net/url"
	"strings"

	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/proto/fhir"
)

// An interaction is what a request asks for.
type interaction struct {
	word    string // of [interactions], an operation with its $, or pathWord
	typ     string // resource type, or "" at the system level
	id      string // of one resource, or ""
	path    string // of pathWord
	include bool   // a search that draws in resources of other types
	sure    bool   // of a batch: its body says that it is one, and no transaction
}

// pathWord is the word for what is not FHIR.
const pathWord = "get"

// idName is R4 section 2.24.0.1, id; not a name of dots, which a path takes for a folder.
var idName = lazyregexp.New(`^[A-Za-z0-9-][A-Za-z0-9.-]{0,63}$`)

// parseInteraction reads what a request asks for (R4 section 3.1.0). Unlike
// [fhir.ParseInteraction], which guesses for a watcher, it takes only what has
// one meaning. why says in words what is wrong otherwise.
func parseInteraction(base, method, path, query string) (in interaction, why string) {
	rest, inside := strings.CutPrefix(path, base)
	if inside && rest != "" && rest[0] != '/' {
		inside = false // /fhirs is not below /fhir
	}
	in, ok := interaction{}, false
	if inside {
		in, ok = fhirInteraction(method, strings.Split(strings.TrimPrefix(rest, "/"), "/"), query)
	}
	if !ok {
		if method != "GET" && method != "HEAD" {
			return in, "this is no interaction of FHIR that has one meaning; outside FHIR this front only reads"
		}
		in = interaction{word: pathWord, path: path}
	}
	if in.include, why = parameters(query); why != "" {
		return in, why
	}
	return in, ""
}

func fhirInteraction(method string, seg []string, query string) (in interaction, ok bool) {
	get := method == "GET" || method == "HEAD"
	if typeName().MatchString(seg[0]) {
		in.typ, seg = seg[0], seg[1:]
	} else if seg[0] == "" { // the base itself
		seg = seg[1:]
		if len(seg) > 0 {
			return in, false
		}
	}
	is := func(word string) (interaction, bool) {
		in.word = word
		return in, true
	}
	one := func(get, post string) (interaction, bool) { // what stands alone behind a type or an id
		switch {
		case method == "GET" || method == "HEAD":
			in.word = get
		case method == "POST":
			in.word = post
		}
		return in, in.word != ""
	}
	if len(seg) == 0 {
		conditional := query != ""
		switch {
		case in.typ == "" && method == "POST":
			return is("batch") // or transaction: its body says
		case in.typ == "" && !get:
			return in, false
		case method == "POST" && !conditional:
			return is("create")
		case get:
			return is("search")
		case method == "PUT" && conditional:
			return is("conditional-update")
		case method == "PATCH" && conditional:
			return is("conditional-patch")
		case method == "DELETE" && conditional:
			return is("conditional-delete")
		}
		return in, false
	}
	switch {
	case len(seg) == 1 && in.typ == "" && seg[0] == "metadata" && get:
		return is("capabilities")
	case len(seg) == 1 && seg[0] == "_history":
		return one("history", "")
	case len(seg) == 1 && seg[0] == "_search":
		return one("", "search")
	case len(seg) == 1 && operationName().MatchString(seg[0]):
		return one(seg[0], seg[0])
	}
	if in.typ == "" || !idName().MatchString(seg[0]) {
		return in, false
	}
	in.id, seg = seg[0], seg[1:]
	if len(seg) == 0 {
		switch {
		case get:
			return is("read")
		case query != "": // what a server makes of a condition here has no one meaning
			return in, false
		case method == "PUT":
			return is("update")
		case method == "PATCH":
			return is("patch")
		case method == "DELETE":
			return is("delete")
		}
		return in, false
	}
	switch {
	case len(seg) == 1 && seg[0] == "_history":
		return one("history", "")
	case len(seg) == 2 && seg[0] == "_history" && idName().MatchString(seg[1]):
		return one("vread", "")
	case len(seg) == 1 && operationName().MatchString(seg[0]):
		return one(seg[0], seg[0])
	case len(seg) == 1 && typeName().MatchString(seg[0]): // a compartment (R4 section 3.1.0.9.2)
		in.typ, in.id = seg[0], ""
		return one("search", "")
	case len(seg) == 2 && typeName().MatchString(seg[0]) && seg[1] == "_search":
		in.typ, in.id = seg[0], ""
		return one("", "search")
	}
	return in, false
}

// parameters reads those of a query or of a form.
func parameters(query string) (include bool, why string) {
	values, err := url.ParseQuery(query) // a semicolon is an error
	if err != nil {
		return false, "its parameters can be read in more than one way"
	}
	for name := range values {
		switch name, _, _ := strings.Cut(name, ":"); strings.ToLower(name) {
		case "_method", "x-http-method-override":
			return false, "a parameter that changes the method"
		case "_query":
			return false, "a named query does what only its server knows"
		case "_include", "_revinclude", "_contained":
			include = true
		}
	}
	return include, ""
}

// operation is the interaction as an event and a metric name it: a small set.
func (in *interaction) operation() string {
	switch {
	case in.word == "":
		return "unknown"
	case in.word[0] == '$':
		return "$"
	}
	return in.word
}

// target is the resource type as an event names it: only one that FHIR has,
// since a path may have anything in it, also a name.
func (in *interaction) target() string {
	return knownType(in.typ)
}

func knownType(t string) string {
	if t == "" {
		return ""
	}
	return fhir.ParseInteraction([]byte("GET"), []byte("/"+t)).Type
}
