// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package sbom

// An Element is one of the facts that NTIA's "Minimum Elements for a Software
// Bill of Materials" (2021) asks for, or one of the two that FDA adds for
// medical devices in "Cybersecurity in Medical Devices" (section V.A.4.b).
type Element uint8

// The elements. Author and Timestamp are the document's; the others are each
// component's.
const (
	SupplierName Element = iota
	ComponentName
	ComponentVersion
	UniqueIdentifier // purl, CPE or a hash
	DependencyRelationship
	SupportLevel
	EndOfSupport
	AuthorOfData
	Timestamp
	elements
)

var elementNames = [elements]string{
	"supplier name", "component name", "version", "other unique identifier", "dependency relationship",
	"level of support", "end-of-support date", "author of SBOM data", "timestamp",
}

// String returns the name of the element as NTIA and FDA write it.
func (e Element) String() string {
	if e < elements {
		return elementNames[e]
	}
	return "unknown element"
}

// OfDocument reports whether the element is the document's, and not each component's.
func (e Element) OfDocument() bool { return e == AuthorOfData || e == Timestamp }

// FDA reports whether FDA asks for the element and NTIA does not.
func (e Element) FDA() bool { return e == SupportLevel || e == EndOfSupport }

// A Report says what a document lacks.
type Report struct {
	Components int           // the subject among them
	Missing    [elements]int // how many components lack an element; for the document's own elements 0 or 1
	NoSubject  bool          // the document does not say what it describes
	Gaps       []Gap         // the components that lack something, in document order
	Incomplete int           // how many components lack something
}

// A Gap is a component with what it lacks.
type Gap struct {
	Component int // index
	Missing   Set
}

// A Set is a set of elements.
type Set uint16

// Has reports whether the element is in the set.
func (s Set) Has(e Element) bool { return s>>e&1 == 1 }

// Elements lists what is in the set, in order.
func (s Set) Elements() []Element {
	var out []Element
	for e := range elements {
		if s.Has(e) {
			out = append(out, e)
		}
	}
	return out
}

// Complete reports whether the document has all minimum elements; with fda,
// whether it also has FDA's.
func (r Report) Complete(fda bool) bool {
	for e, n := range r.Missing {
		if n > 0 && (fda || !Element(e).FDA()) {
			return false
		}
	}
	return true
}

// Quality compares the document with NTIA's minimum elements and FDA's
// additions. A component's relationship is known when the document says what it
// depends on, be it nothing, when another depends on it, or when it is part of
// another.
func (d *Document) Quality() Report {
	r := Report{Components: len(d.Components), NoSubject: d.Subject < 0}
	if len(d.Authors) == 0 {
		r.Missing[AuthorOfData] = 1
	}
	if d.Created.IsZero() {
		r.Missing[Timestamp] = 1
	}
	related := make([]bool, len(d.Components))
	for i := range d.Components {
		c := &d.Components[i]
		related[i] = related[i] || c.DependsKnown || c.Parent >= 0
		for _, j := range c.DependsOn {
			related[j] = true
		}
	}
	for i := range d.Components {
		c := &d.Components[i]
		var s Set
		lacks := func(e Element, missing bool) {
			if missing {
				s |= 1 << e
				r.Missing[e]++
			}
		}
		lacks(SupplierName, c.Supplier == "" && (i != d.Subject || d.Supplier == ""))
		lacks(ComponentName, c.Name == "")
		lacks(ComponentVersion, c.Version == "")
		lacks(UniqueIdentifier, c.PURL == "" && len(c.CPEs) == 0 && len(c.Hashes) == 0)
		lacks(DependencyRelationship, !related[i])
		lacks(SupportLevel, c.SupportLevel == "")
		lacks(EndOfSupport, c.EndOfSupport == "")
		if s == 0 {
			continue
		}
		r.Incomplete++
		r.Gaps = append(r.Gaps, Gap{i, s})
	}
	return r
}
