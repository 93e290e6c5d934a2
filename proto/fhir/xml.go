// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"

	"github.com/myelin-health/myelin/wire"
)

// xml reads a document: elements are elements, their values are attributes
// (R4 section 2.6.1), and a resource inside another is an element named after
// its type.
func (s *scan) xml(b []byte) error {
	var x wire.XML
	x.Reset("fhir", b)
	var resources [wire.MaxXMLDepth + 1]bool // by depth: the element is a resource
	place := true                            // a resource may stand here
	for x.Next() {
		switch x.Kind() {
		case wire.XMLStart:
			if string(x.Space()) != namespace { // a narrative is XHTML
				if x.Depth() == 1 {
					return &wire.SyntaxError{Proto: "fhir", Field: "namespace", Off: x.Off(), Err: wire.ErrInvalid}
				}
				x.Skip()
				continue
			}
			name := x.Local()
			resources[x.Depth()] = place
			if place {
				s.begin(name, x.Off())
			} else if !s.enter(name) {
				return &wire.SyntaxError{Proto: "fhir", Field: "element", Off: x.Off(), Err: wire.ErrTooDeep}
			} else if v := x.Attr("", "value"); v != nil {
				s.value(v, bytes.IndexByte(v, '&') >= 0, wire.AppendXMLText)
			}
			place = !place && (string(name) == "resource" || string(name) == "contained")
		case wire.XMLEnd:
			place = false
			if resources[x.Depth()+1] {
				s.end()
			} else {
				s.leave()
			}
		}
	}
	return x.Err()
}
