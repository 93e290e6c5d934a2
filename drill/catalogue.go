// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/internal/lazyregexp"
	"github.com/myelin-health/myelin/internal/strictyaml"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/implant"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/radio"
)

//go:embed catalogue.yaml
var builtin []byte

// A Row is one attack of the catalogue, and how it is run.
type Row struct {
	ID        string // "A02"
	Title     string
	Device    string // what kind of device it is against
	Stake     string
	Reference string
	Promises  map[string]string // Y, P, R or - by part

	Attack  []*legacy.Attack // all of them have to succeed on the unprotected device
	Sensor  []Heard          // what a sensor is given, and has to find
	Channel Channelled
	Guard   Guarded
	SBOM    Parts
}

// A Heard is a recording of sim/radio, or an attack that is recorded as it goes over IP or the air, and the
// kinds of finding that have to be in its assessment.
type Heard struct {
	Take    radio.Take
	Capture *legacy.Attack // nil: Take is played
	Finds   []finding.Kind
}

// A Channelled is a device that has the secure channel, and what it is held to.
type Channelled struct {
	Kind   implant.Kind
	Checks []string // by their names in channelChecks
}

// A Guarded is how a guard stands before the device, and what it is held to.
type Guarded struct {
	Attack   []*legacy.Attack // at the guard, where that is another than the row's
	Topology string           // sole-path or bypassable
	Checks   []string         // by their names in guardChecks
}

// A Parts is what a device is made of, and what is published about that. Its component and versions name the releases of
// an update too.
type Parts struct {
	Component, Version, Fixed, CVE string
}

// MaxRows bounds a catalogue.
const MaxRows = 200

var catalogueFormat = strictyaml.Format{Name: "catalogue", Marker: "catalogue: 1"}

// Catalogue returns the catalogue that comes with Myelin.
func Catalogue() []Row {
	rows, err := Load("catalogue.yaml", builtin)
	if err != nil {
		panic(err) // ours
	}
	return rows
}

var rowID = lazyregexp.New(`^[A-Z][0-9]{2,3}$`)

// Load reads a catalogue. An error names line and column.
func Load(file string, src []byte) ([]Row, error) {
	r := strictyaml.New(file, catalogueFormat)
	top := r.Section(r.Document(src), "the catalogue", "catalogue", "rows")
	r.Number(top.Need("catalogue", "the version of the language, 1"), "catalogue", 1, 1)
	var rows []Row
	seen := map[string]bool{}
	for _, n := range r.List(top.Need("rows", "the list of attacks"), "rows", MaxRows) {
		row := readRow(r, n)
		if r.Err() == nil && seen[row.ID] {
			r.Fail(n, "there are two rows %s", strictyaml.Quoted(row.ID))
		}
		seen[row.ID] = true
		rows = append(rows, row)
	}
	return rows, r.Err()
}

func readRow(r *strictyaml.Reader, n ast.Node) Row {
	s := r.Section(n, "a row", "id", "title", "device", "stake", "reference", "promises", "attack", "sensor", "channel", "guard", "sbom")
	row := Row{Promises: map[string]string{}}
	id := s.Need("id", "such as A44")
	if row.ID = r.Text(id, "id"); r.Err() == nil && !rowID().MatchString(row.ID) {
		r.Fail(id, "id has to be a letter and two or three digits, such as A44")
	}
	row.Title = r.Text(s.Need("title", "the attack in a few words"), "title")
	row.Device = r.Text(s.Need("device", "what kind of device it is against"), "device")
	row.Stake = r.Text(s.Need("stake", "what is at stake"), "stake")
	row.Reference = r.Text(s.Get("reference"), "reference")
	p := r.Section(s.Need("promises", "what each part promises: Y, P, R or -"), "promises", report.DrillParts...)
	for _, part := range report.DrillParts {
		mark := p.Need(part, "Y, P, R or \"-\"")
		r.Word(mark, part, []string{"-", "Y", "P", "R"})
		row.Promises[part] = r.Text(mark, part)
	}
	for i, a := range r.List(s.Need("attack", "attacks of sim/legacy, such as A02/replay, or scripts"), "attack", 8) {
		row.Attack = append(row.Attack, readAttack(r, a, row.ID, i))
	}
	for _, h := range r.List(s.Get("sensor"), "sensor", 16) {
		row.Sensor = append(row.Sensor, readHeard(r, h))
	}
	if s.Has("channel") {
		c := r.Section(s.Get("channel"), "channel", "device", "checks")
		kinds := []string{"", implant.Pump.String(), implant.Defibrillator.String(), implant.Neurostimulator.String()}
		row.Channel.Kind, _ = implant.ParseKind(kinds[r.Word(c.Need("device", "a kind of sim/implant"), "device", kinds)])
		row.Channel.Checks = words(r, c.Need("checks", "what the channel is held to"), "checks", names(channelChecks))
	}
	if s.Has("guard") {
		g := r.Section(s.Get("guard"), "guard", "attack", "topology", "checks")
		for i, a := range r.List(g.Get("attack"), "attack", 8) {
			row.Guard.Attack = append(row.Guard.Attack, readAttack(r, a, row.ID, i))
		}
		topologies := []string{"", "sole-path", "bypassable"}
		row.Guard.Topology = topologies[r.Word(g.Need("topology", "sole-path or bypassable"), "topology", topologies)]
		row.Guard.Checks = words(r, g.Need("checks", "what the guard is held to"), "checks", names(guardChecks))
	}
	if s.Has("sbom") {
		b := r.Section(s.Get("sbom"), "sbom", "component", "version", "fixed", "cve")
		row.SBOM = Parts{
			r.Text(b.Need("component", "its name"), "component"), r.Text(b.Need("version", "the one that is in the device"), "version"),
			r.Text(b.Need("fixed", "the first one without the weakness"), "fixed"), r.Text(b.Need("cve", "its number"), "cve"),
		}
	}
	for _, part := range []struct {
		name string
		none bool
	}{
		{"sensor", len(row.Sensor) == 0},
		{"channel", len(row.Channel.Checks) == 0},
		{"guard", len(row.Guard.Checks) == 0},
		{"update", row.SBOM == (Parts{})}, // which names the releases
		{"sbom", row.SBOM == (Parts{})},
	} {
		if r.Err() == nil && part.none && row.Promises[part.name] == "Y" {
			r.Fail(n, "row %s promises that %s answers it, and does not say how that is shown", strictyaml.Quoted(row.ID), part.name)
		}
	}
	return row
}

func readHeard(r *strictyaml.Reader, n ast.Node) Heard {
	s := r.Section(n, "sensor", "play", "layer", "form", "decrypted", "capture", "finds")
	h := Heard{Finds: kinds(r, s.Need("finds", "kinds of finding"))}
	if s.Has("capture") {
		c := s.Get("capture")
		name := r.Text(c, "capture")
		if a, ok := legacy.Find(name); ok {
			h.Capture = a
		} else if r.Err() == nil {
			r.Fail(c, "there is no attack %s; 'myelin drill --list' names them", strictyaml.Quoted(name))
		}
		if h.Capture != nil && !placed(h.Capture.Device) {
			r.Fail(c, "%s is against %s, which is in no network and on no air that a sniffer hears", strictyaml.Quoted(name), h.Capture.Device)
		}
		for _, key := range []string{"play", "layer", "form", "decrypted"} {
			if s.Has(key) {
				r.Fail(s.Get(key), "%s belongs to play, not to capture", key)
			}
		}
		return h
	}
	play := s.Need("play", "a recording of sim/radio, such as pump/replay, or capture, an attack over IP")
	h.Take.Device, h.Take.Scenario, _ = strings.Cut(r.Text(play, "play"), "/")
	if r.Err() == nil {
		if _, err := radio.Find(h.Take.Device, h.Take.Scenario); err != nil {
			r.Fail(play, "%v", err)
		}
	}
	h.Take.Layer = radio.Layer(r.Word(s.Need("layer", "hci, air or frames"), "layer", []string{radio.HCI.String(), radio.Air.String(), radio.Frames.String()}))
	h.Take.Form = radio.Form(r.Word(s.Get("form"), "form", []string{radio.Legacy.String(), radio.Protected.String()}))
	h.Take.Decrypted = r.Truth(s.Get("decrypted"), "decrypted", false)
	return h
}

// kinds reads a list of kinds of finding.
func kinds(r *strictyaml.Reader, n ast.Node) (out []finding.Kind) {
	for _, f := range r.List(n, "finds", 16) {
		name := r.Text(f, "finds")
		k, ok := finding.ParseKind(name)
		if r.Err() == nil && !ok {
			r.Fail(f, "there is no kind of finding %s; 'myelin kinds' lists them", strictyaml.Quoted(name))
		}
		out = append(out, k)
	}
	return out
}

// words reads a list of words out of those that are known.
func words(r *strictyaml.Reader, n ast.Node, what string, known []string) []string {
	var out []string
	for _, w := range r.List(n, what, 16) {
		r.Word(w, what, known)
		out = append(out, r.Text(w, what))
	}
	return out
}

// names are the keys of a table, in order.
func names[V any](table map[string]V) []string {
	var out []string
	for name := range table {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Choose returns the rows of these ids, all when there is none.
func Choose(rows []Row, ids []string) ([]Row, error) {
	if len(ids) == 0 {
		return rows, nil
	}
	var out []Row
	for _, id := range ids {
		i := slices.IndexFunc(rows, func(r Row) bool { return strings.EqualFold(r.ID, id) })
		if i < 0 {
			return nil, fmt.Errorf("there is no row %s; the catalogue has %s to %s", id, rows[0].ID, rows[len(rows)-1].ID)
		}
		out = append(out, rows[i])
	}
	return out, nil
}

// List writes the rows, and what a row of somebody's own can use.
func List(w io.Writer, rows []Row) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "The catalogue has %d attacks.\n\nROWS\n", len(rows))
	for i := range rows {
		fmt.Fprintf(b, "%-4s %s\n", rows[i].ID, rows[i].Title)
	}
	fmt.Fprintf(b, "\nATTACKS OF SIM/LEGACY\n")
	for i := range legacy.Attacks {
		a := &legacy.Attacks[i]
		fmt.Fprintf(b, "%-18s %-14s %s\n", a.Row+"/"+a.Name, a.Device, a.About)
	}
	fmt.Fprintf(b, "\nATTACKS ON UPDATES\n")
	for i := range legacy.UpdateAttacks {
		a := &legacy.UpdateAttacks[i]
		fmt.Fprintf(b, "%-18s %s\n", a.Name, a.About)
	}
	fmt.Fprintf(b, "\nCHECKS\nchannel: %s\nguard:   %s\n", strings.Join(names(channelChecks), ", "), strings.Join(names(guardChecks), ", "))
	fmt.Fprintf(b, "\nRecordings for the sensor: myelin sim radio --list\n")
	return b.Flush()
}
