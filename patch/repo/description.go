// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/patch"
)

// A Description is what a maker writes of a release before it is one, in YAML: what
// [patch.Release] has, and its files.
//
//	release: 1
//	manufacturer: Norra Medical
//	model: Flow 500
//	version: "2.2.0"
//	sequence: 22                     # of the SUIT manifest
//	hardware: [C]
//	from: [2.1.3, 2.1.4]             # versions that it is installed over
//	urgency: uncontrolled risk       # or regular cycle, out of cycle
//	learned: 2026-01-12              # when the maker learned of what it mends
//	recall: Z-1234-2026              # if there is one
//	notes: for the people who consent
//	demands:
//	  backup: 3m                     # therapy in backup mode at most
//	  keeps: delivering              # what backup mode goes on giving
//	  longest: 12m                   # installed, and rolled back
//	  resume: 1m                     # until when therapy is seen resumed
//	  supervision: clinician present # or unattended, patient present, in clinic, with backup equipment
//	  battery: 40                    # percent
//	  longevity: 90                  # days
//	  free: 4194304                  # bytes to stage in
//	  near: false                    # only with the wand on the body
//	  spare: false                   # only with a spare device at hand
//	envelope: flow500.suit
//	images: [flow500.bin]
//	deltas: {2.1.4: from-2.1.4.delta}
//	sbom: bom.cdx.json
//	vex: vex.json
//	advisories: {ADA-2026-01: ada-2026-01.json}
//
// Paths of files are relative to the description's folder, and their last part is
// their name in the release, but for a delta, whose name says which version it is for. SBOM and advisories are wanted: of a release that mends
// nothing that was known, "advisories: {}" says so.
type Description struct {
	Release patch.Release
	Files   []DescribedFile
}

// A DescribedFile is a file of a description: where it is, and what.
type DescribedFile struct {
	Path string // as written
	File        // Name, Kind, From, ID
	Line int    // where the description names it
}

// ParseDescription reads a description. File is its name, for errors, which are a
// *[strictyaml.Error] with the line.
func ParseDescription(file string, src []byte) (*Description, error) {
	r := strictyaml.New(file, strictyaml.Format{Name: "release", Marker: "release: 1"})
	s := r.Section(r.Document(src), "the release", "release", "manufacturer", "model", "version", "sequence", "hardware", "from", "urgency",
		"learned", "recall", "notes", "demands", "envelope", "images", "deltas", "sbom", "vex", "advisories")
	var d Description
	p := &d.Release
	p.Manufacturer = r.Text(s.Need("manufacturer", "whose product it is"), "manufacturer")
	p.Model = r.Text(s.Need("model", "which product it is for"), "model")
	p.Version = r.Text(s.Need("version", "of the firmware"), "version")
	p.Sequence = uint64(r.Number(s.Need("sequence", "the number of the SUIT manifest"), "sequence", 1, 1<<62))
	p.Urgency = patch.Urgency(word(r, s.Get("urgency"), "urgency", patch.Regular, patch.UncontrolledRisk))
	p.Learned, p.Recall, p.Notes = r.Text(s.Get("learned"), "learned"), r.Text(s.Get("recall"), "recall"), r.Text(s.Get("notes"), "notes")
	if p.Learned != "" {
		if _, err := time.Parse(time.DateOnly, p.Learned); err != nil {
			r.Fail(s.Get("learned"), "learned has to be a date, such as 2026-01-12")
		}
	}
	readDemands(r, s, &p.Demands)

	add := func(n ast.Node, f File) {
		path := r.Text(n, string(f.Kind))
		f.Name = filepath.Base(filepath.FromSlash(path))
		if f.Kind == Delta {
			f.Name = f.From + ".delta"
		}
		if !plain(f.Name) {
			r.Fail(n, "the %s has a name that is not of letters, digits, dots and dashes", f.Kind)
		}
		d.Files = append(d.Files, DescribedFile{path, f, strictyaml.Line(n)})
	}
	add(s.Need("envelope", "the signed SUIT envelope"), File{Kind: Envelope})
	for _, n := range r.List(s.Get("images"), "images", maxFiles) {
		add(n, File{Kind: Image})
	}
	r.Each(s.Get("deltas"), "deltas", maxFiles, func(from string, _, n ast.Node) { add(n, File{Kind: Delta, From: from}) })
	for _, n := range r.List(s.Need("sbom", "its bill of materials"), "sbom", maxFiles) {
		add(n, File{Kind: SBOM})
	}
	for _, n := range r.List(s.Get("vex"), "vex", maxFiles) {
		add(n, File{Kind: VEX})
	}
	fixed := s.Need("advisories", "those that it fixes with their documents, or {} for none")
	r.Each(fixed, "advisories", maxVersions, func(id string, _, n ast.Node) {
		p.Advisories = append(p.Advisories, id)
		add(n, File{Kind: Advisory, ID: id})
	})
	if err := r.Err(); err != nil {
		return nil, err
	}
	return &d, nil
}

func readDemands(r *strictyaml.Reader, s *strictyaml.Section, d *patch.Demands) {
	for _, n := range r.List(s.Need("hardware", "the revisions that it runs on"), "hardware", maxVersions) {
		d.Hardware = append(d.Hardware, r.Text(n, "hardware"))
	}
	for _, n := range r.List(s.Need("from", "the versions that it is installed over"), "from", maxVersions) {
		d.From = append(d.From, r.Text(n, "from"))
	}
	s = r.Section(s.Need("demands", "what has to be so before it is installed"), "demands",
		"backup", "keeps", "longest", "resume", "supervision", "battery", "longevity", "free", "near", "spare")
	d.Backup = r.Duration(s.Need("backup", "how long therapy is in backup mode at most; 0s is not at all"), "backup", 0, longestUpdate)
	d.Longest = r.Duration(s.Need("longest", "the worst case: installed, and rolled back again"), "longest", time.Second, longestUpdate)
	d.Resume = r.Duration(s.Need("resume", "until when therapy has to be seen resumed"), "resume", time.Second, longestUpdate)
	d.Supervision = patch.Supervision(word(r, s.Need("supervision", "who has to be there"), "supervision", patch.Unattended, patch.InClinic))
	if n := s.Get("keeps"); n != nil && d.Keeps.UnmarshalText([]byte(r.Text(n, "keeps"))) != nil {
		r.Fail(n, "keeps has a word that is none of %s", patch.All)
	}
	d.Battery, d.Longevity = int(r.Number(s.Get("battery"), "battery", 0, 100)), int(r.Number(s.Get("longevity"), "longevity", 0, 36500))
	d.Free = r.Number(s.Get("free"), "free", 0, 1<<40)
	d.Near, d.Spare = r.Truth(s.Get("near"), "near", false), r.Truth(s.Get("spare"), "spare", false)
}

// word reads one of the words that a type has between two of its values.
func word[T interface {
	~uint8
	String() string
}](r *strictyaml.Reader, n ast.Node, what string, least, most T) int {
	var words []string
	for v := least; v <= most; v++ {
		words = append(words, v.String())
	}
	return r.Word(n, what, words)
}
