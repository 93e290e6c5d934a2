// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/jedib0t/go-pretty/v6/text"
)

// A Drill is what came of the rows of the attack catalogue: each attack against
// the unprotected device, and against each part that may answer it.
type Drill struct {
	Rows []DrillRow `json:"rows"`
}

// A DrillRow is one row.
type DrillRow struct {
	ID          string `json:"id"` // "A02"
	Title       string `json:"title"`
	Device      string `json:"device"`      // what kind of device it is against
	Stake       string `json:"stake"`       // what is at stake
	Reference   string `json:"reference"`   // where it was published
	Realism     string `json:"realism"`     // wire or modelled
	Unprotected string `json:"unprotected"` // succeeded or failed: without success the row shows nothing
	How         string `json:"how"`         // what the attack did to the unprotected device

	Parts map[string]DrillCell `json:"parts"` // by the name of DrillParts
}

// DrillParts are the parts that may answer an attack, in the catalogue's order.
var DrillParts = []string{"sensor", "channel", "guard", "update", "sbom"}

// The results of a cell.
const (
	DrillStopped  = "stopped"
	DrillDetected = "detected"
	DrillBoth     = "both"
	DrillFailed   = "failed"
	DrillNotRun   = "not-run" // the part was not asked for, or it is not its job
)

// A DrillCell is what one part did about one row.
type DrillCell struct {
	Promised bool   `json:"promised"`
	Mark     string `json:"mark"` // of the catalogue: Y, P, R or -
	Result   string `json:"result"`
	How      string `json:"how,omitempty"`

	// Of the guard: whether it is the only way to the device, and what the direct
	// attack comes to where it is not.
	Topology string `json:"topology,omitempty"` // sole-path or bypassable
	Residual string `json:"residual,omitempty"` // succeeded or failed

	Chosen bool `json:"-"` // the part was asked for
}

// Holds reports whether the part did something about the attack.
func (c *DrillCell) Holds() bool {
	return c.Result == DrillStopped || c.Result == DrillDetected || c.Result == DrillBoth
}

// broken reports whether a promise was run and does not hold.
func (c *DrillCell) broken() bool {
	return c.Promised && c.Chosen && c.Result == DrillFailed
}

// Broken returns what does not hold, as in "A05 guard", and the rows whose attack
// did not succeed on the unprotected device.
func (d *Drill) Broken() (promises, worthless []string) {
	for i := range d.Rows {
		r := &d.Rows[i]
		if r.Unprotected != "succeeded" {
			worthless = append(worthless, r.ID)
		}
		for _, p := range DrillParts {
			if c := r.Parts[p]; c.broken() {
				promises = append(promises, r.ID+" "+p)
			}
		}
	}
	return promises, worthless
}

// answer is the first sentence.
func (d *Drill) answer() string {
	broken, worthless := d.Broken()
	promised, kept := 0, 0
	for i := range d.Rows {
		for _, c := range d.Rows[i].Parts {
			if c.Promised && c.Chosen && c.Result != DrillNotRun {
				promised++
				if c.Holds() {
					kept++
				}
			}
		}
	}
	attacks, were := fmt.Sprintf("%d attacks", len(d.Rows)), "were"
	if len(d.Rows) == 1 {
		attacks, were = "1 attack", "was"
	}
	switch {
	case len(worthless) > 0:
		return fmt.Sprintf("The drill shows nothing for %s: the attack did not succeed on the unprotected device.", strings.Join(worthless, ", "))
	case len(broken) > 0:
		return fmt.Sprintf("%d of %d promises do not hold: %s.", len(broken), promised, strings.Join(broken, ", "))
	}
	hold := fmt.Sprintf("All %d promises hold", kept)
	if kept == 1 {
		hold = "The one promise holds"
	}
	return fmt.Sprintf("%s: %s succeeded on the unprotected device, and %s stopped or detected wherever that is promised.", hold, attacks, were)
}

// DrillJSON writes a drill as JSON.
func DrillJSON(w io.Writer, d *Drill) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// shown is a cell's word: what is not promised stands in parentheses.
func (c *DrillCell) shown() string {
	switch {
	case c.Result == DrillNotRun:
		return "-"
	case c.broken():
		return strings.ToUpper(c.Result)
	case !c.Promised:
		return "(" + c.Result + ")"
	}
	return c.Result
}

const drillDetails = 5 // rows of which the text says how

// DrillText writes a drill for a person at a terminal.
func DrillText(w io.Writer, d *Drill, width int) error {
	narrowOnce.Do(func() { text.OverrideRuneWidthEastAsianWidth(false) })
	g := &digest{width: min(max(width, narrowest), widest)}
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, wrap(d.answer(), g.width))
	run := d.run()
	rows := make([][]string, len(d.Rows))
	for i := range d.Rows {
		r := &d.Rows[i]
		line := []string{r.ID, r.Title, r.Unprotected}
		for _, p := range run {
			c := r.Parts[p]
			line = append(line, c.shown())
		}
		rows[i] = line
	}
	columns := []column{{name: "ROW"}, {name: "ATTACK"}, {name: "BARE"}}
	for _, p := range run {
		columns = append(columns, column{name: strings.ToUpper(p)})
	}
	g.textTable(b, "ATTACKS", columns, rows, 0)
	fmt.Fprintln(b, wrap("\nBARE is the unprotected device. In parentheses: run, and not promised. A channel helps if the maker builds it in. An update "+
		"stops an attack when the release that mends it was installed, and attacks on the update itself were refused.", g.width))
	if len(d.Rows) <= drillDetails {
		for i := range d.Rows {
			d.Rows[i].text(b, g.width)
		}
	} else {
		for i := range d.Rows { // of what does not hold, how
			if r := &d.Rows[i]; r.Unprotected != "succeeded" || slices.ContainsFunc(DrillParts, func(p string) bool { c := r.Parts[p]; return c.broken() && c.How != "" }) {
				r.text(b, g.width)
			}
		}
		d.residuals(b, g.width)
	}
	next := "myelin drill --format html -o drill.html writes it as a page"
	if len(d.Rows) > drillDetails {
		next = "myelin drill A02 tells how it went; --format html is the matrix as a page"
	}
	if broken, worthless := d.Broken(); len(broken)+len(worthless) > 0 {
		next = "myelin drill " + strings.Fields(append(worthless, broken...)[0])[0] + " tells how it went"
	}
	fmt.Fprintf(b, "\nNext: %s\n", next)
	return b.Flush()
}

// run are the parts that were asked for.
func (d *Drill) run() []string {
	return slices.DeleteFunc(slices.Clone(DrillParts), func(p string) bool {
		return !slices.ContainsFunc(d.Rows, func(r DrillRow) bool { return r.Parts[p].Chosen })
	})
}

// residuals names the rows where who goes around the guard succeeds.
func (d *Drill) residuals(b *bufio.Writer, width int) {
	var ids []string
	for i := range d.Rows {
		if c := d.Rows[i].Parts["guard"]; c.Residual == "succeeded" {
			ids = append(ids, d.Rows[i].ID)
		}
	}
	if len(ids) > 0 {
		fmt.Fprintln(b, wrap("\nResidual: "+strings.Join(ids, ", ")+" still succeed for somebody who transmits straight at the device, past the guard. Only a radio that is off, or that accepts the guard's secret alone, ends that.", width))
	}
}

// text says how one row went.
func (r *DrillRow) text(b *bufio.Writer, width int) {
	fmt.Fprintf(b, "\n%s  %s\n", r.ID, wrap(r.Title+" ("+r.Device+"; "+r.Stake+"; "+r.Realism+")", width-5))
	say := func(name, result, how string) {
		if how != "" {
			result += ": " + how
		}
		lines := strings.Split(wrap(result, width-13), "\n")
		fmt.Fprintf(b, "  %-10s %s\n", name, lines[0])
		for _, l := range lines[1:] {
			fmt.Fprintf(b, "  %-10s %s\n", "", l)
		}
	}
	say("bare", r.Unprotected, r.How)
	for _, p := range DrillParts {
		c := r.Parts[p]
		if c.Result == DrillNotRun || !c.Chosen {
			continue
		}
		how := c.How
		if c.Topology != "" {
			how += "; " + c.Topology
			if c.Residual != "" {
				how += ", residual: " + c.Residual
			}
		}
		say(p, c.shown(), how)
	}
	if r.Reference != "" {
		say("source", r.Reference, "")
	}
}

var (
	//go:embed drill.tmpl
	drillText     string
	drillTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("drill").Parse(drillText)) })
)

// A drillPage is what the template shows.
type drillPage struct {
	Style     template.CSS
	StyleHash string
	Answer    string
	Bad       bool
	Parts     []string
	Rows      []drillPageRow
	Totals    []string // by part: "30 of 30"
	Residual  []string
}

type drillPageRow struct {
	DrillRow
	Cells []drillPageCell
}

type drillPageCell struct {
	DrillCell
	Part  string
	Class string // holds, broken, open, none
	Word  string
}

// DrillHTML writes a drill as one self-contained page.
func DrillHTML(w io.Writer, d *Drill) error {
	sum := sha256.Sum256([]byte(style))
	p := drillPage{
		Style: template.CSS(style), StyleHash: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
		Answer: d.answer(), Parts: DrillParts,
	}
	broken, worthless := d.Broken()
	p.Bad = len(broken)+len(worthless) > 0
	kept, promised := make([]int, len(DrillParts)), make([]int, len(DrillParts))
	for _, r := range d.Rows {
		row := drillPageRow{DrillRow: r}
		for i, part := range DrillParts {
			c := r.Parts[part]
			cell := drillPageCell{DrillCell: c, Part: part, Word: strings.Trim(c.shown(), "()"), Class: "open"}
			switch {
			case c.Result == DrillNotRun:
				cell.Class = "none"
			case c.broken():
				cell.Class = "broken"
			case c.Holds():
				cell.Class = "holds"
			}
			if c.Promised && c.Chosen && c.Result != DrillNotRun {
				promised[i]++
				if c.Holds() {
					kept[i]++
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		if slices.ContainsFunc(row.Cells, func(c drillPageCell) bool { return c.Residual == "succeeded" }) {
			p.Residual = append(p.Residual, r.ID)
		}
		p.Rows = append(p.Rows, row)
	}
	for i := range DrillParts {
		word := "–"
		if promised[i] > 0 {
			word = fmt.Sprintf("%d of %d", kept[i], promised[i])
		}
		p.Totals = append(p.Totals, word)
	}
	b := bufio.NewWriter(w)
	if err := drillTemplate().Execute(b, p); err != nil {
		return err
	}
	return b.Flush()
}
