// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/match/advisory"
)

// tool is who made a document.
const tool = "Myelin"

// maxVersion bounds the versions of a document, whose history CSAF lists.
const maxVersion = 10_000

// noAction stands where somebody says that a product is affected and not what to
// do: OpenVEX and CSAF want a sentence there.
const noAction = "The supplier has stated no action yet."

var cve = lazyregexp.New(`^CVE-[0-9]{4}-[0-9]{4,}$`)

// Write writes a document: OpenVEX 0.2.0, CycloneDX 1.6 or CSAF 2.0. The same
// document is written in the same bytes. Where it says two things of one product,
// the later is written, as [Resolve] has it.
func Write(w io.Writer, f Format, d Decided) error {
	if err := d.check(f); err != nil {
		return err
	}
	d.Statements = d.settled()
	var doc any
	switch f {
	case OpenVEX:
		doc = d.openVEX()
	case CycloneDX:
		doc = d.cycloneDX()
	case CSAF:
		doc = d.csaf()
	default:
		return errors.New("no such format")
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

// check says what is missing.
func (d *Decided) check(f Format) error {
	u, err := url.Parse(d.Namespace)
	switch {
	case strings.TrimSpace(d.ID) == "" || strings.TrimSpace(d.ID) != d.ID:
		return errors.New("a document needs an id")
	case strings.TrimSpace(d.Author) == "":
		return errors.New("a document needs an author")
	case d.First.IsZero() || d.Time.Before(d.First):
		return errors.New("a document needs the time when it was made, and the first time not after that")
	case d.Version < 1 || d.Version > maxVersion:
		return fmt.Errorf("a document's version is from 1 to %d", maxVersion)
	case d.Category != "" && !slices.Contains(categories, d.Category):
		return fmt.Errorf("an author is one of %s", strings.Join(categories, ", "))
	case d.Namespace != "" && (err != nil || !u.IsAbs() || u.Host == ""):
		return errors.New("the author's namespace has to be a URL")
	case f == CSAF && d.Namespace == "":
		return errors.New("CSAF wants the author's namespace, a URL")
	case len(d.Statements) == 0:
		return errors.New("nothing was decided")
	}
	for i := range d.Statements {
		if err := d.Statements[i].check(); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return nil
}

func (st *Statement) check() error {
	switch {
	case st.Vulnerability == "":
		return errors.New("names no vulnerability")
	case title(&st.Product) == "" || packageURL(&st.Product)+st.Product.CPE == "":
		return errors.New("names no product")
	case st.Component != nil && packageURL(st.Component)+st.Component.CPE == "":
		return errors.New("names no component")
	case word(st.Status) == "":
		return errors.New("has no status that can be stated")
	case st.Status == advisory.NotAffected && st.Justification == "" && st.Impact == "":
		return errors.New("says not affected and not why")
	case st.Justification != "" && !slices.Contains(justifications, st.Justification):
		return errors.New("has a justification that OpenVEX does not know")
	case st.Remedy != "" && !slices.Contains(remedies, st.Remedy):
		return errors.New("has a remedy that CSAF does not know")
	}
	return nil
}

// settled returns what the document says in the end, and no word that its status
// gives no place to.
func (d *Decided) settled() []Statement {
	var out []Statement
	at := map[string]int{}
	for _, st := range d.Statements {
		if st.Time.IsZero() {
			st.Time = d.Time
		}
		if st.Status != advisory.NotAffected {
			st.Justification, st.Impact = "", ""
		}
		if st.Status != advisory.Affected {
			st.Action, st.Remedy = "", ""
		} else if st.Action == "" {
			st.Action, st.Remedy = noAction, "none_available"
		}
		st.Aliases = slices.DeleteFunc(slices.Clone(st.Aliases), func(a string) bool { return a == "" || a == st.Vulnerability })
		slices.Sort(st.Aliases)
		st.Aliases = slices.Compact(st.Aliases)
		k := st.Vulnerability + "\x00\x00" + key(&st.Product) + "\x00\x00" + key(st.Component)
		if i, ok := at[k]; ok {
			if !out[i].Time.After(st.Time) {
				out[i] = st
			}
			continue
		}
		at[k] = len(out)
		out = append(out, st)
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// urn names the document in all its versions.
func (d *Decided) urn() string {
	if u, ok := strings.CutPrefix(d.ID, "urn:uuid:"); ok && uuid().MatchString(u) {
		return d.ID
	}
	h := sha256.Sum256([]byte("myelin vex\x00" + d.Namespace + "\x00" + d.Author + "\x00" + d.ID))
	h[6] = h[6]&0x0f | 0x80 // RFC 9562 section 5.8: of our own making
	h[8] = h[8]&0x3f | 0x80
	x := hex.EncodeToString(h[:16])
	return "urn:uuid:" + x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

var uuid = lazyregexp.New(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// iri is the document's name in OpenVEX.
func (d *Decided) iri() string {
	switch {
	case isURL(d.ID):
		return d.ID
	case d.Namespace != "":
		return strings.TrimRight(d.Namespace, "/") + "/" + url.PathEscape(d.ID)
	}
	return d.urn()
}
