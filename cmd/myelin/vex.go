// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/match/vex"
)

func vexVerb(c *console) *cobra.Command {
	var format formatFlag
	var products []string
	var out string
	var says vexFlags
	v := &cobra.Command{
		Use:   "vex [flags] FILE",
		Short: "State which products a vulnerability affects, and which not",
		Long: `Vex writes a VEX document: what was decided, of products and vulnerabilities.
FILE holds decisions in YAML or JSON (docs/vex.md tells how), or is a VEX
document (OpenVEX, CycloneDX, CSAF) that is wanted in another format;
"-" is standard input. Where it says two things of one product, the later counts.`,
		Example: `  myelin vex norra.yaml
  myelin vex --format csaf --product "Flow 500@2.2.0" -o flow-500.json norra.yaml
  myelin vex --format openvex --author "Norra Medical" vex.cdx.json`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "vex of what? name one file of decisions, one VEX document, or - for standard input"),
		RunE: func(v *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			f, _ := vex.ParseFormat(format.name)
			d, err := c.decided(args[0])
			if err != nil {
				return err
			}
			if err := says.complete(d, f); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if len(products) > 0 {
				if err := d.Only(products); err != nil {
					return fmt.Errorf("--product %w", err)
				}
			}
			if says.id != "" {
				d.ID = says.id
			}
			return c.to(out, func(w io.Writer) error {
				if err := vex.Write(w, f, *d); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				return nil
			})
		},
	}
	format.register(v, vex.OpenVEX.String(), vex.CycloneDX.String(), vex.CSAF.String())
	v.Flags().StringArrayVar(&products, "product", nil, "only what was decided of `NAME@VERSION`, or of all versions of NAME; repeatable")
	v.Flags().StringVar(&says.author, "author", "", "`NAME` of who wrote a document that does not say it")
	v.Flags().StringVar(&says.namespace, "namespace", "", "`URL` of the author, which CSAF wants")
	v.Flags().StringVar(&says.time, "time", "", "`TIME` of a document that has none, such as 2026-03-02T09:00:00Z")
	v.Flags().StringVar(&says.id, "id", "", "`ID` of the document that is written")
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE` instead of standard output")
	return v
}

// decided reads decisions or a document, from a file or standard input.
func (c *console) decided(file string) (*vex.Decided, error) {
	in := c.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	d, err := vex.ReadDecided(in)
	var wrong *vex.DecisionsError
	switch {
	case errors.As(err, &wrong):
		return nil, fmt.Errorf("%s: %w; docs/vex.md tells what it has to be", file, err)
	case errors.Is(err, vex.ErrFormat):
		return nil, fmt.Errorf("%s: neither decisions, which begin with \"vex: 1\", nor a VEX document; docs/vex.md tells what it has to be", file)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, said(err))
	case len(d.Statements) == 0:
		return nil, fmt.Errorf("%s: says nothing of any vulnerability", file)
	}
	return d, nil
}

// A vexFlags says what a document leaves out. What it says itself stays.
type vexFlags struct{ author, namespace, time, id string }

func (f *vexFlags) complete(d *vex.Decided, format vex.Format) error {
	for _, x := range []struct {
		flag, value string
		field       *string
		needed      bool
	}{
		{"author", f.author, &d.Author, true},
		{"namespace", f.namespace, &d.Namespace, format == vex.CSAF},
		{"id", f.id, &d.ID, true},
	} {
		switch {
		case *x.field == "":
			*x.field = x.value
		case x.value != "" && x.flag != "id":
			return fmt.Errorf("says its %s itself; leave --%s out", x.flag, x.flag)
		}
		if *x.field == "" && x.needed {
			return fmt.Errorf("does not say its %s; say it with --%s", x.flag, x.flag)
		}
	}
	switch {
	case d.Time.IsZero() && f.time == "":
		return errors.New("does not say when it was made; say it with --time")
	case d.Time.IsZero():
		t, err := time.Parse(time.RFC3339, f.time)
		if err != nil {
			return usageError{fmt.Errorf("--time %s: want a time such as 2026-03-02T09:00:00Z", f.time)}
		}
		d.Time = t
	case f.time != "":
		return errors.New("says its time itself; leave --time out")
	}
	if d.First.IsZero() || d.First.After(d.Time) {
		d.First = d.Time
	}
	return nil
}
