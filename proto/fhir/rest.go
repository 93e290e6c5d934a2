// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package fhir

import "bytes"

// An Interaction is what a request of the RESTful API asks for (R4 section 3.1.0).
type Interaction struct {
	Verb      Verb
	Type      string // resource type, or ""
	Operation string // name of an Operation of the table, with its $; or "$" for one that is not there
	Instance  bool   // one resource is named
}

// A Verb is a kind of interaction, under its name in R4's CapabilityStatement.
type Verb uint8

// The kinds of interaction.
const (
	NoVerb Verb = iota
	Read
	History
	Search
	Create
	Update
	Patch
	Delete
	Transaction // or batch
	Capabilities
	Operation
)

var verbs = [...]string{"", "read", "history", "search", "create", "update", "patch", "delete", "transaction", "capabilities", "operation"}

func (v Verb) String() string { return verbs[v] }

// operations are those that hand out records (R4 section 3.3, Bulk Data Access).
var operations = []string{"$export", "$everything", "$docref", "$document", "$lastn", "$summary", "$match", "$graph"}

// Bulk reports whether the interaction hands out the records of many patients.
func (i Interaction) Bulk() bool { return i.Operation == "$export" }

// ParseInteraction reads a request's method and target. The base of a FHIR
// server may be any path, so the last resource type in the path counts. Verb is
// NoVerb when there is nothing of FHIR in the target: whether the answer is
// FHIR only its body can say.
func ParseInteraction(method, target []byte) Interaction {
	path, _, _ := bytes.Cut(target, []byte("?"))
	var i Interaction
	var id, search, history, metadata bool
	for more := true; more; { // each turn passes a slash
		var segment []byte
		segment, path, more = bytes.Cut(path, []byte("/"))
		switch {
		case len(segment) == 0:
		case segment[0] == '$' && len(segment) > 1:
			i.Operation = "$"
			for _, o := range operations {
				if string(segment) == o {
					i.Operation = o
				}
			}
		case string(segment) == "_history":
			history = true
		case string(segment) == "_search":
			search = true
		case string(segment) == "metadata":
			metadata = !more && i.Type == ""
		default:
			if t := typeOf(segment); t != "" {
				i.Type, id, history, search = t, false, false, false
			} else if i.Type != "" {
				id = true
			}
		}
	}
	i.Instance = id && i.Type != ""
	switch {
	case i.Operation == "$" && i.Type == "":
		return Interaction{} // OData has dollars too
	case i.Operation != "":
		i.Verb = Operation
	case metadata && string(method) == "GET":
		i.Verb = Capabilities
	case i.Type == "":
	case history:
		i.Verb = History
	case search && string(method) == "POST":
		i.Verb = Search
	default:
		i.Verb = verbOf(string(method), id)
	}
	return i
}

func verbOf(method string, id bool) Verb {
	switch method {
	case "GET", "HEAD":
		if id {
			return Read
		}
		return Search
	case "POST":
		if id {
			return NoVerb
		}
		return Create
	case "PUT":
		return Update
	case "PATCH":
		return Patch
	case "DELETE":
		return Delete
	}
	return NoVerb
}
