// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func patchVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:                   "patch VERB",
		Short:                 "Make, sign, carry and check updates",
		Long:                  `Patch keeps the repositories that updates come from.`,
		Example:               `  myelin patch tuf-client --help`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(tufClientVerb(c))
	return v
}
