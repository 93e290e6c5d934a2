// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/myelin-health/myelin/report"
)

// A Config is what a drill runs.
type Config struct {
	Rows  []Row
	Parts []string       // of report.DrillParts; empty is all
	Told  func(r string) // is told which row begins; nil is nobody
}

// A part answers an attack, or does not. Its error says that it could not be
// run, which is neither.
type part func(ctx context.Context, w *world, row *Row) (report.DrillCell, error)

var parts = map[string]part{"sensor": listen, "channel": secure, "guard": guarded, "update": mend, "sbom": match}

// A world is where a drill happens: a folder of its own, that goes afterwards.
type world struct {
	dir string
}

// Run runs the drill. What fails in it is in the answer; an error says that it
// could not be run.
func Run(ctx context.Context, c Config) (*report.Drill, error) {
	if len(c.Parts) == 0 {
		c.Parts = report.DrillParts
	}
	dir, err := os.MkdirTemp("", "myelin-drill-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w := &world{dir: dir}
	d := &report.Drill{}
	for i := range c.Rows {
		if c.Told != nil {
			c.Told(c.Rows[i].ID)
		}
		row, err := w.run(ctx, &c.Rows[i], c.Parts)
		if err != nil {
			return nil, fmt.Errorf("row %s: %w", c.Rows[i].ID, err)
		}
		d.Rows = append(d.Rows, row)
	}
	return d, nil
}

// run runs one row.
func (w *world) run(ctx context.Context, row *Row, chosen []string) (report.DrillRow, error) {
	out := report.DrillRow{
		ID: row.ID, Title: row.Title, Device: row.Device, Stake: row.Stake, Reference: row.Reference,
		Parts: map[string]report.DrillCell{},
	}
	bare, err := w.bare(ctx, row)
	if err != nil {
		return out, err
	}
	out.Realism, out.Unprotected, out.How = bare.realism, bare.word(), bare.how
	for _, name := range report.DrillParts {
		mark := row.Promises[name]
		c := report.DrillCell{Result: report.DrillNotRun}
		asked := slices.Contains(chosen, name)
		if mark != "-" && asked {
			if c, err = parts[name](ctx, w, row); err != nil {
				return out, fmt.Errorf("%s: %w", name, err)
			}
		}
		c.Mark, c.Promised, c.Chosen = mark, mark == "Y", asked
		out.Parts[name] = c
	}
	return out, ctx.Err()
}

// errNoWay says that a row does not tell how a part is shown.
var errNoWay = errors.New("the row does not say how")

// cell is a result with how it came to it.
func cell(result, how string, a ...any) report.DrillCell {
	return report.DrillCell{Result: result, How: fmt.Sprintf(how, a...)}
}
