// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
)

// cycloneDXNamespace is what the namespaces of CycloneDX begin with.
const cycloneDXNamespace = "http://cyclonedx.org/schema/bom/1."

// How CycloneDX writes in XML what it writes in JSON, as far as it is read here.
// Other elements are objects: they are passed over.
var (
	// xmlLists are the elements around a list, behind where they stand, and those in it.
	xmlLists = map[string]string{
		"bom/components": "component", "component/components": "component", "bom/services": "service", "service/services": "service",
		"bom/vulnerabilities": "vulnerability", "vulnerability/references": "reference", "vulnerability/affects": "target",
		"target/versions": "version", "metadata/authors": "author", "vulnerability/properties": "property", "analysis/responses": "response",
	}
	// xmlRepeated are those that repeat without an element around them.
	xmlRepeated = map[string]bool{"url": true, "contact": true, "omniborId": true, "swhid": true}
	// xmlKeys are those that JSON calls otherwise.
	xmlKeys = map[string]string{"responses": "response"}
	// xmlTexts are those that hold text alone.
	xmlTexts = map[string]bool{
		"timestamp": true, "name": true, "purl": true, "cpe": true, "publisher": true, "url": true, "omniborId": true, "swhid": true,
		"id": true, "description": true, "recommendation": true, "workaround": true, "state": true, "justification": true,
		"response": true, "detail": true, "firstIssued": true, "lastUpdated": true, "ref": true, "range": true, "status": true,
	}
)

// xmlTokens reads CycloneDX in XML as the tokens that it is in JSON, so that both
// are read by one reader. Namespaces other than the root's are passed over.
type xmlTokens struct {
	d     *xml.Decoder
	space string
	open  []xmlElement
	queue []json.Token
	begun bool
	err   error
}

// An xmlElement is one that is open.
type xmlElement struct {
	name     string
	list     string // name of its elements
	repeated string // name of the list within that is open
	text     bool
	object   bool
	chars    []byte
}

func newXMLScanner(b []byte) *scanner {
	return &scanner{d: &xmlTokens{d: xml.NewDecoder(bytes.NewReader(b))}}
}

func (x *xmlTokens) InputOffset() int64 { return x.d.InputOffset() }

func (x *xmlTokens) Token() (json.Token, error) {
	if !x.fill() {
		return nil, x.err
	}
	t := x.queue[0]
	x.queue = x.queue[1:]
	return t, nil
}

// More reports whether there is another element in the object or list.
func (x *xmlTokens) More() bool {
	return x.fill() && x.queue[0] != json.Delim('}') && x.queue[0] != json.Delim(']')
}

// fill makes sure that there is a token.
func (x *xmlTokens) fill() bool {
	for len(x.queue) == 0 && x.err == nil {
		var t xml.Token
		if t, x.err = x.d.Token(); x.err != nil {
			break
		}
		switch t := t.(type) {
		case xml.StartElement:
			x.start(&t)
		case xml.EndElement:
			x.end()
		case xml.CharData:
			switch n := len(x.open); {
			case n == 0 && len(bytes.TrimSpace(t)) > 0:
				x.err = ErrSyntax
			case n > 0 && (x.open[n-1].text || x.open[n-1].name == "property"):
				x.open[n-1].chars = append(x.open[n-1].chars, t...)
			}
		case xml.Directive: // a document type
			x.err = ErrSyntax
		}
	}
	return len(x.queue) > 0
}

func (x *xmlTokens) put(t ...json.Token) { x.queue = append(x.queue, t...) }

func (x *xmlTokens) start(t *xml.StartElement) {
	name := t.Name.Local
	e := xmlElement{name: name}
	switch n := len(x.open); {
	case n == 0:
		if x.begun || name != "bom" || !strings.HasPrefix(t.Name.Space, cycloneDXNamespace) {
			x.err = ErrSyntax
			return
		}
		x.begun, x.space, e.object = true, t.Name.Space, true
	case t.Name.Space != x.space:
		x.err = x.d.Skip()
		return
	default:
		in := &x.open[n-1]
		switch {
		case in.text:
			x.err = ErrType
			return
		case in.list != "" && name != in.list:
			x.err = ErrType
			return
		case in.list == "":
			if in.repeated != "" && in.repeated != name {
				x.put(json.Delim(']'))
				in.repeated = ""
			}
			if in.repeated == "" {
				key := name
				if k := xmlKeys[name]; k != "" {
					key = k
				}
				x.put(key)
				if xmlRepeated[name] {
					x.put(json.Delim('['))
					in.repeated = name
				}
			}
			e.list = xmlLists[in.name+"/"+name]
		}
		e.text = xmlTexts[name] || name == "version" && in.list == ""
		e.object = !e.text && e.list == ""
	}
	switch {
	case e.list != "":
		x.put(json.Delim('['))
	case e.object:
		x.put(json.Delim('{'))
		for _, a := range t.Attr {
			if a.Name.Space == "" && a.Name.Local != "xmlns" {
				x.put(a.Name.Local, a.Value)
			}
		}
	}
	x.open = append(x.open, e)
}

func (x *xmlTokens) end() {
	e := &x.open[len(x.open)-1] // the decoder has compared them
	x.open = x.open[:len(x.open)-1]
	if e.repeated != "" {
		x.put(json.Delim(']'))
	}
	switch {
	case e.list != "":
		x.put(json.Delim(']'))
	case e.text:
		x.put(string(bytes.TrimSpace(e.chars)))
	default:
		if e.name == "property" {
			x.put("value", string(bytes.TrimSpace(e.chars)))
		}
		x.put(json.Delim('}'))
	}
}

// isXML reports whether a document is XML.
func isXML(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '<'
}

// tokens are those of a document, as [json.Decoder] has them.
type tokens interface {
	Token() (json.Token, error)
	More() bool
	InputOffset() int64
}
