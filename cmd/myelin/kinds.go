// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/finding"
)

func kindsVerb(c *console) *cobra.Command {
	format := "text"
	v := &cobra.Command{
		Use:   "kinds [KIND...]",
		Short: "List the kinds of finding: why each matters and what to do",
		Example: `  myelin kinds
  myelin kinds dns-tunnel
  myelin kinds --format json`,
		RunE: func(_ *cobra.Command, args []string) error {
			var list []finding.Kind
			for _, name := range args {
				k, ok := finding.ParseKind(name)
				if !ok {
					return usageError{fmt.Errorf("%s: no such kind; 'myelin kinds' lists them", name)}
				}
				list = append(list, k)
			}
			if len(list) == 0 {
				for k := range finding.Kinds {
					if finding.Kinds[k].Name != "" {
						list = append(list, finding.Kind(k))
					}
				}
			}
			switch format {
			case "json":
				return kindsJSON(c, list)
			case "markdown":
				fmt.Fprint(c.out, "# Kinds of finding\n\nPrinted by `myelin kinds --format markdown`.\n")
				kindsText(c, list, "\n## %s\n\n**%s** (%s)\n\n%s\n\nWhat to do: %s\n\nReferences: %s. CWE: %s. ATT&CK: %s.\n")
			case "text":
				kindsText(c, list, "%s\n  %s (%s)\n  why   %s\n  do    %s\n  see   %s; %s; %s\n\n")
			default:
				return usageError{fmt.Errorf("--format %s: want text, json or markdown", format)}
			}
			return nil
		},
	}
	v.Flags().StringVar(&format, "format", format, "text, json or markdown")
	return v
}

func kindsText(c *console, list []finding.Kind, layout string) {
	for _, k := range list {
		i := &finding.Kinds[k]
		fmt.Fprintf(c.out, layout, i.Name, i.Title, i.Group, i.Why, i.Advice,
			strings.Join(i.References, ", "), strings.Join(i.CWE, ", "), strings.Join(i.Attack, ", "))
	}
}

func kindsJSON(c *console, list []finding.Kind) error {
	type kind struct {
		Kind       string   `json:"kind"`
		Title      string   `json:"title"`
		Group      string   `json:"group"`
		Why        string   `json:"why"`
		Advice     string   `json:"advice"`
		CWE        []string `json:"cwe"`
		Attack     []string `json:"attack"`
		References []string `json:"references"`
	}
	out := make([]kind, 0, len(list))
	for _, k := range list {
		i := &finding.Kinds[k]
		out = append(out, kind{i.Name, i.Title, i.Group.String(), i.Why, i.Advice, i.CWE, i.Attack, i.References})
	}
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
