// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/drill"
	"github.com/myelin-health/myelin/report"
)

func drillVerb(c *console) *cobra.Command {
	var format formatFlag
	var catalogue, out string
	var parts []string
	var list bool
	v := &cobra.Command{
		Use:   "drill [flags] [ROW...]",
		Short: "Run the attack catalogue against simulated devices",
		Long: `Drill runs published attacks on implants and devices on the body: first
against an unprotected, simulated device, where they have to succeed, and then
against the parts of Myelin that may answer them. All of it is on this
machine's loopback. It exits with 3 when something that the catalogue promises
does not hold, or an attack does not succeed on the unprotected device.`,
		Example: `  myelin drill                                   every attack, every part
  myelin drill A02 A04 --parts channel,guard     two of them, and how it went
  myelin drill --format html -o drill.html       the matrix as a page`,
		DisableFlagsInUseLine: true,
		RunE: func(v *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			for _, p := range parts {
				if !slices.Contains(report.DrillParts, p) {
					return usageError{fmt.Errorf("--parts %s: want %s", p, enumerate(report.DrillParts))}
				}
			}
			rows := drill.Catalogue()
			if catalogue != "" {
				b, err := os.ReadFile(catalogue)
				if err != nil {
					return err
				}
				if rows, err = drill.Load(catalogue, b); err != nil {
					return err
				}
			}
			rows, err := drill.Choose(rows, args)
			if err != nil {
				return usageError{err}
			}
			if list {
				return c.to(out, func(w io.Writer) error { return drill.List(w, rows) })
			}
			return c.drill(v, drill.Config{Rows: rows, Parts: parts}, format.name, out)
		},
	}
	format.register(v, "text", "json", "html")
	v.Flags().StringSliceVar(&parts, "parts", nil, "only these `PARTS`: "+enumerate(report.DrillParts))
	v.Flags().StringVar(&catalogue, "catalogue", "", "`FILE` of attacks instead of the catalogue that comes with it")
	v.Flags().BoolVar(&list, "list", false, "only list the attacks, and what a row of your own can use")
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE` instead of standard output")
	complete(v, "parts", report.DrillParts...)
	return v
}

// drill runs a drill and says how it went.
func (c *console) drill(v *cobra.Command, config drill.Config, format, out string) error {
	line := newMeter(c.err)
	done := 0
	config.Told = func(row string) {
		line.say("drilling %s, %d of %d", row, done+1, len(config.Rows))
		done++
	}
	d, err := drill.Run(v.Context(), config)
	line.clear()
	if err != nil {
		return err
	}
	err = c.to(out, func(w io.Writer) error {
		switch format {
		case "json":
			return report.DrillJSON(w, d)
		case "html":
			return report.DrillHTML(w, d)
		}
		return report.DrillText(w, d, textWidth(w))
	})
	if broken, worthless := d.Broken(); err == nil && len(broken)+len(worthless) > 0 {
		return exit(exitFound)
	}
	return err
}
