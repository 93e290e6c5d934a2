// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/finding"
)

func kindsVerb(c *console) *cobra.Command {
	var format formatFlag
	v := &cobra.Command{
		Use:   "kinds [flags] [KIND...]",
		Short: "List the kinds of finding: why each matters and what to do",
		Long: `Kinds prints the table of what Myelin looks for: what each kind of finding
means for a patient, what to do about it, and where that is written.`,
		Example: `  myelin kinds
  myelin kinds dns-tunnel phi-in-clear
  myelin kinds --format json`,
		DisableFlagsInUseLine: true,
		ValidArgs:             kindNames(),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			if len(args) == 0 {
				args = kindNames()
			}
			var list []*finding.KindInfo
			for _, name := range args {
				k, ok := finding.ParseKind(name)
				if !ok {
					return usageError{fmt.Errorf("%s: no such kind; 'myelin kinds' lists them", name)}
				}
				list = append(list, &finding.Kinds[k])
			}
			switch format.name {
			case "json":
				return kindsJSON(c.out, list)
			case "markdown":
				return kindsMarkdown(c.out, list)
			}
			return kindsText(c.out, list)
		},
	}
	format.register(v, "text", "json", "markdown")
	return v
}

// kindNames are the names of all kinds of finding, in the order of the table.
func kindNames() (names []string) {
	for k := range finding.Kinds {
		if name := finding.Kinds[k].Name; name != "" {
			names = append(names, name)
		}
	}
	return names
}

func kindsText(w io.Writer, list []*finding.KindInfo) error {
	for i, k := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s\n  %s (%s)\n", k.Name, k.Title, k.Group)
		fmt.Fprintf(w, "  why   %s\n  do    %s\n", fold(k.Why), fold(k.Advice))
		see := append(append([]string{}, k.References...), k.CWE...)
		for _, id := range k.Attack {
			if id = "ATT&CK " + id; !slices.Contains(see, id) {
				see = append(see, id)
			}
		}
		if _, err := fmt.Fprintf(w, "  see   %s\n", fold(strings.Join(see, ", "))); err != nil {
			return err
		}
	}
	return nil
}

// fold breaks a text into lines that a terminal has room for, with the
// continuation where the text began.
func fold(text string) string { return foldAt(text, 72, 8) }

// foldAt does so for a width and a place.
func foldAt(text string, width, at int) string {
	indent := "\n" + strings.Repeat(" ", at)
	var b strings.Builder
	used := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case used == 0:
		case used+1+len(word) > width:
			b.WriteString(indent)
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += len(word)
	}
	return b.String()
}

func kindsMarkdown(w io.Writer, list []*finding.KindInfo) error {
	fmt.Fprint(w, "# Kinds of finding\n\n"+
		"What `myelin` looks for, why each matters, and what to do. Printed by `myelin kinds --format markdown` (`make docs`).\n")
	var group finding.Group
	for _, k := range list {
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(w, "\n## %s\n", strings.ToUpper(group.String()[:1])+group.String()[1:])
		}
		fmt.Fprintf(w, "\n### %s\n\n**%s.** %s\n\nWhat to do: %s\n\n", k.Name, k.Title, k.Why, k.Advice)
		if k.Unexpected {
			fmt.Fprint(w, "Without a [baseline](baseline.md) its confidence is low, or medium where the capture itself speaks against it, and it is never `act`.\n\n")
		}
		if _, err := fmt.Fprintf(w, "See %s; %s; ATT&CK %s.\n",
			strings.Join(k.References, ", "), strings.Join(k.CWE, ", "), strings.Join(k.Attack, ", ")); err != nil {
			return err
		}
	}
	return nil
}

func kindsJSON(w io.Writer, list []*finding.KindInfo) error {
	type kind struct {
		Kind       string   `json:"kind"`
		Title      string   `json:"title"`
		Group      string   `json:"group"`
		Why        string   `json:"why"`
		Advice     string   `json:"advice"`
		Unexpected bool     `json:"needs_baseline"`
		CWE        []string `json:"cwe"`
		Attack     []string `json:"attack"`
		References []string `json:"references"`
	}
	out := make([]kind, 0, len(list))
	for _, k := range list {
		out = append(out, kind{k.Name, k.Title, k.Group.String(), k.Why, k.Advice, k.Unexpected, k.CWE, k.Attack, k.References})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
