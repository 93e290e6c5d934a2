// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/report"
)

func reportVerb(c *console) *cobra.Command {
	var format formatFlag
	var out string
	v := &cobra.Command{
		Use:   "report [flags] FILE",
		Short: "Say a saved answer in another format",
		Long: `Report reads what 'myelin assess --format json' or the last line of 'myelin
sense --format json' wrote, from a file or standard input ("-"), and says it as
a page, a table or whatever else is wanted. The captures are not needed.`,
		Example: `  myelin report saved.json
  myelin report --format html -o ward.html saved.json
  myelin report --format sarif - < saved.json`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "report what? name one file that 'myelin assess --format json' wrote, or - for standard input"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			a, err := c.saved(args[0])
			if err != nil {
				return err
			}
			return c.to(out, func(w io.Writer) error { return format.write(w, a) })
		},
	}
	format.register(v, answerFormats()...)
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE` instead of standard output")
	return v
}

// saved reads an assessment from a file, or from standard input when it is "-".
func (c *console) saved(file string) (*report.Assessment, error) {
	in := c.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	a, err := report.ReadJSON(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; it has to be what 'myelin assess --format json' wrote", file, err)
	}
	return a, nil
}
