// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func patchVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:                   "patch VERB",
		Short:                 "Make, sign, carry and check updates",
		Long:                  `Patch makes and signs updates, and keeps the repositories that they come from.`,
		Example:               `  myelin patch manifest show flow500.suit`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(
		patchManifestVerb(c),
		tufClientVerb(c),
	)
	return v
}
