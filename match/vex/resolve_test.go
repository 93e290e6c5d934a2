// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/match/advisory"
)

const (
	affected  = advisory.Affected
	clean     = advisory.NotAffected
	fixed     = advisory.Fixed
	lookingAt = advisory.UnderInvestigation
)

var (
	flow     = advisory.Product{Manufacturer: "Norra Medical", Name: "Flow 500", Version: "2.2.0"}
	flowAll  = advisory.Product{Manufacturer: "Norra Medical", Name: "Flow 500"}
	flowOld  = advisory.Product{Manufacturer: "Norra Medical", Name: "Flow 500", Version: "2.1.4"}
	tlsPart  = &advisory.Product{Name: "tls", Version: "1.0", PURL: "pkg:generic/tls@1.0"}
	jsonPart = &advisory.Product{Name: "json", Version: "3", PURL: "pkg:generic/json@3"}
)

// says returns a statement of the supplier's, on a day of March, in a document of its own.
func says(day int, product advisory.Product, part *advisory.Product, status advisory.Status) Statement {
	return Statement{
		Vulnerability: "CVE-2026-1", Product: product, Component: part, Status: status, Author: "Norra Medical",
		Time: time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC), Document: time.Month(day).String(), Version: 1,
	}
}

func (st Statement) by(author string) Statement     { st.Author = author; return st }
func (st Statement) in(doc string, v int) Statement { st.Document, st.Version = doc, v; return st }

func (st Statement) of(id string, as ...string) Statement {
	st.Vulnerability, st.Aliases = id, as
	return st
}

// TestResolve is the table of rules. Said is the status that the product's
// supplier said last, of the whole product and of its part tls.
func TestResolve(t *testing.T) {
	none := advisory.NoStatus
	for _, c := range []struct {
		rule        string
		all         []Statement
		whole, part advisory.Status
		opinions    int // of the question about the whole
	}{
		{"nothing said", nil, none, none, 0},
		{"the supplier clears its product, and so every part", []Statement{says(1, flow, nil, clean)}, clean, clean, 0},
		{"and all versions of it", []Statement{says(1, flowAll, nil, fixed)}, fixed, fixed, 0},
		{"but not another version", []Statement{says(1, flowOld, nil, clean)}, none, none, 0},
		{"nor another vulnerability", []Statement{says(1, flow, nil, clean).of("CVE-2026-2")}, none, none, 0},
		{"nor nothing in particular", []Statement{says(1, advisory.Product{}, nil, clean)}, none, none, 0},
		{"nor all that it makes", []Statement{says(1, advisory.Product{Manufacturer: "Norra Medical"}, nil, clean)}, none, none, 0},
		{"an alias is the same vulnerability", []Statement{says(1, flow, nil, clean).of("NM-1", "cve-2026-1")}, clean, clean, 0},
		{"and so is an alias of the question", []Statement{says(1, flow, nil, clean).of("GHSA-1")}, clean, clean, 0},

		{"another's word is an opinion", []Statement{says(1, flow, nil, clean).by("CERT A")}, none, none, 1},
		{"however late", []Statement{says(1, flow, nil, affected), says(9, flow, nil, clean).by("CERT A")}, affected, affected, 1},
		{"also when it is worse", []Statement{says(1, flow, nil, clean), says(9, flow, nil, affected).by("CERT A")}, clean, clean, 1},
		{"a word of nobody is an opinion", []Statement{says(1, flow, nil, clean).by("")}, none, none, 1},
		{"each author has one opinion", []Statement{
			says(1, flow, nil, clean).by("CERT A"), says(2, flow, nil, affected).by("CERT A"), says(3, flow, nil, fixed).by("CERT B"),
		}, none, none, 2},
		{"an address behind the name is no name", []Statement{says(1, flow, nil, clean).by("norra medical <psirt@norra.example>")}, clean, clean, 0},
		{"a name in another's is not", []Statement{says(1, flow, nil, clean).by("Friends of Norra Medical")}, none, none, 1},

		{"the later counts", []Statement{says(2, flow, nil, clean), says(1, flow, nil, affected)}, clean, clean, 0},
		{"a later affected revokes", []Statement{says(1, flow, nil, clean), says(2, flow, nil, affected)}, affected, affected, 0},
		{"and so does looking into it again", []Statement{says(1, flow, nil, fixed), says(2, flow, nil, lookingAt)}, lookingAt, lookingAt, 0},
		{"and affected of all versions", []Statement{says(1, flow, nil, clean), says(2, flowAll, nil, affected)}, affected, affected, 0},
		{"without a time it is the oldest", []Statement{{Vulnerability: "CVE-2026-1", Product: flow, Status: clean, Author: "Norra Medical"}, says(1, flow, nil, affected)}, affected, affected, 0},
		{"in one document at one time the last counts", []Statement{
			says(1, flowAll, nil, affected).in("d", 1), says(1, flow, nil, fixed).in("d", 1),
		}, fixed, fixed, 0},
		{"in two documents at one time the more careful", []Statement{
			says(1, flow, nil, affected).in("d", 1), says(1, flow, nil, clean).in("e", 1),
		}, affected, affected, 0},
		{"and also without names of documents", []Statement{
			says(1, flow, nil, affected).in("", 1), says(1, flow, nil, clean).in("", 1),
		}, affected, affected, 0},
		{"a version of a document replaces those before", []Statement{
			says(1, flow, nil, clean).in("d", 1), says(1, flow, nil, clean).of("CVE-2026-9").in("d", 2),
		}, none, none, 0},
		{"whichever time they tell", []Statement{
			says(5, flow, nil, clean).in("d", 1), says(2, flow, nil, affected).in("d", 2),
		}, affected, affected, 0},
		{"but not another author's of the same name", []Statement{
			says(1, flow, nil, clean).in("d", 1), says(2, flow, nil, affected).in("d", 2).by("CERT A"),
		}, clean, clean, 1},

		{"a part that is clear does not clear the whole", []Statement{says(1, flow, tlsPart, clean)}, none, clean, 0},
		{"nor another part", []Statement{says(1, flow, jsonPart, fixed)}, none, none, 0},
		{"a part that is affected makes the whole so", []Statement{says(1, flow, nil, clean), says(2, flow, tlsPart, affected)}, affected, affected, 0},
		{"but not another part", []Statement{says(1, flow, nil, clean), says(2, flow, jsonPart, affected)}, affected, clean, 0},
		{"until that part is clear", []Statement{
			says(1, flow, nil, clean), says(2, flow, tlsPart, affected), says(3, flow, tlsPart, fixed),
		}, clean, fixed, 0},
		{"or the whole is", []Statement{says(1, flow, tlsPart, affected), says(2, flow, nil, fixed)}, fixed, fixed, 0},
		{"of whole and part at one time the more careful counts", []Statement{
			says(1, flow, nil, affected).in("d", 1), says(1, flow, tlsPart, clean).in("d", 1),
		}, affected, affected, 0},
		{"the same part in another product says nothing", []Statement{says(1, flowOld, tlsPart, clean)}, none, none, 0},
		{"the part alone is an opinion, its maker's", []Statement{says(1, *tlsPart, nil, clean).by("TLS Project")}, none, none, 0},
		{"and the supplier's", []Statement{says(1, *tlsPart, nil, clean)}, none, none, 0},
	} {
		q := Question{Vulnerability: "CVE-2026-1", Aliases: []string{"GHSA-1"}, Product: flow}
		whole := Resolve(c.all, q)
		q.Component = tlsPart
		part := Resolve(c.all, q)
		if got := said(&whole); got != c.whole {
			t.Errorf("%s: of the whole %q, want %q", c.rule, word(got), word(c.whole))
		}
		if got := said(&part); got != c.part {
			t.Errorf("%s: of the part %q, want %q", c.rule, word(got), word(c.part))
		}
		if len(whole.Opinions) != c.opinions {
			t.Errorf("%s: %d opinions, want %d", c.rule, len(whole.Opinions), c.opinions)
		}
		for _, a := range []Answer{whole, part} {
			if got := said(&a); a.Suppresses() != (got == clean || got == fixed) {
				t.Errorf("%s: %q suppresses: %v", c.rule, word(got), a.Suppresses())
			}
		}
	}
}

func said(a *Answer) advisory.Status {
	if a.Said == nil {
		return advisory.NoStatus
	}
	return a.Said.Status
}

// TestResolvePartAlone holds that what is said of a part alone is shown, beside
// the question about that part.
func TestResolvePartAlone(t *testing.T) {
	a := Resolve([]Statement{says(1, *tlsPart, nil, clean).by("TLS Project"), says(2, *tlsPart, nil, fixed)},
		Question{Vulnerability: "CVE-2026-1", Product: flow, Component: tlsPart})
	if a.Suppresses() || len(a.Opinions) != 2 {
		t.Fatalf("%+v", a)
	}
	if got := a.Opinions[1].Opinion(); got != "TLS Project says not affected, 2026-03-01" {
		t.Error(got)
	}
}

// TestResolveAsks holds that makers and products are compared as the caller does.
func TestResolveAsks(t *testing.T) {
	q := Question{
		Vulnerability: "CVE-2026-1", Product: flow, Suppliers: []string{"Norra", "Norra Medical GmbH"},
		Same:  func(author, maker string) bool { return author == "Norra PSIRT" && maker == "Norra Medical GmbH" },
		About: func(stated, asked *advisory.Product) bool { return stated.Name == "F500" && asked.Name == "Flow 500" },
	}
	if a := Resolve([]Statement{says(1, advisory.Product{Name: "F500"}, nil, clean).by("Norra PSIRT")}, q); !a.Suppresses() {
		t.Error("the caller's names were not asked")
	}
	anybody := Question{Vulnerability: "CVE-2026-1", Product: flow, Same: func(string, string) bool { return true }}
	if a := Resolve([]Statement{says(1, flow, nil, clean).by("")}, anybody); a.Suppresses() {
		t.Error("nobody is the supplier")
	}
	if a := Resolve([]Statement{says(1, flow, nil, clean)}, q); a.Said != nil || a.Opinions != nil {
		t.Errorf("the package's own names were asked: %+v", a)
	}
}

// TestResolveOrder holds that the order in which documents come does not matter.
func TestResolveOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	statuses := []advisory.Status{affected, clean, fixed, lookingAt}
	parts := []*advisory.Product{nil, tlsPart, jsonPart}
	products := []advisory.Product{flow, flowAll, *tlsPart}
	for range 300 {
		var documents [][]Statement
		for i := range 4 {
			var doc []Statement
			for range 1 + random.IntN(3) {
				st := says(1+random.IntN(2), products[random.IntN(3)], parts[random.IntN(3)], statuses[random.IntN(4)])
				doc = append(doc, st.in([]string{"a", "b", "c", "d"}[i], 1).by([]string{"Norra Medical", "CERT A"}[i%2]))
			}
			documents = append(documents, doc)
		}
		q := Question{Vulnerability: "CVE-2026-1", Product: flow, Component: parts[random.IntN(3)]}
		want := Resolve(slices.Concat(documents...), q)
		random.Shuffle(len(documents), func(i, j int) { documents[i], documents[j] = documents[j], documents[i] })
		if diff := cmp.Diff(want, Resolve(slices.Concat(documents...), q)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestIncludes(t *testing.T) {
	for _, c := range []struct {
		stated, asked string
		want          bool
	}{
		{"pkg:npm/%40norra/link@1.8", "pkg:npm/%40norra/link@1.8", true},
		{"pkg:npm/@norra/link@1.8", "pkg:npm/%40norra/link@1.8?arch=x", true},
		{"pkg:npm/%40norra/link", "pkg:npm/%40norra/link@1.8", true},
		{"pkg:npm/%40norra/link@1.8", "pkg:npm/%40norra/link@1.9", false},
		{"pkg:npm/link@1.8", "pkg:npm/%40norra/link@1.8", false},
		{"pkg:npm/link@1.8", "pkg:pypi/link@1.8", false},
		{"pkg:apk/alpine/tls@1?arch=x86_64&distro=3", "pkg:apk/alpine/tls@1?distro=3&arch=x86_64", true},
		{"pkg:apk/alpine/tls@1?arch=arm", "pkg:apk/alpine/tls@1?arch=x86_64", false},
		{"pkg:apk/alpine/tls@1?arch=arm", "pkg:apk/alpine/tls@1", false},
		{"cpe:2.3:h:norra:flow:2:*:*:*:*:*:*:*", "cpe:2.3:h:norra:flow:2:*:*:*:*:*:*:*", true},
		{"cpe:2.3:h:norra:flow:2:*:*:*:*:*:*:*", "cpe:2.3:h:norra:flow:3:*:*:*:*:*:*:*", false},
		{"pkg:generic/Norra%20Medical/Flow%20500@2.2.0", "", false},
	} {
		stated, asked := identified(c.stated), identified(c.asked)
		if got := Includes(&stated, &asked); got != c.want {
			t.Errorf("%s includes %s: %v", c.stated, c.asked, got)
		}
	}
	named := identified("pkg:generic/Norra%20Medical/Flow%20500@2.2.0")
	if !Includes(&named, &flow) {
		t.Error("a generic package URL is maker, name and version")
	}
	for text, want := range map[string]bool{
		"vers:generic/>=2.0": true, "vers:generic/>=2.0|<2.2.0": false, "vers:all/*": true, "vers:generic/2.2.0": true,
		"<=2.2.0": true, "<2.2.0": false, "2.2.0 and later": true, "those with a blue label": false, "2.2": false,
	} {
		ranged := flow
		ranged.Version = text
		rangeReader{}.understand(&ranged)
		if Includes(&ranged, &flow) != want {
			t.Errorf("%q includes 2.2.0: %v", text, !want)
		}
	}
	if p := "pkg:npm/@norra/link@1?a=@2"; withoutVersion(p) != "pkg:npm/@norra/link?a=@2" || withoutVersion("@") != "@" || withoutVersion("pkg:npm/@x") != "pkg:npm/@x" {
		t.Error(withoutVersion(p))
	}
}
