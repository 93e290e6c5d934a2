// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func patchVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "patch VERB",
		Short: "Make, sign, carry and check updates",
		Long: `Patch makes and signs updates, and keeps the two repositories that they come
from: the manufacturer's, which says what a release is, and the hospital's,
which says which device is to have it. A device takes an update that both name.`,
		Example: `  myelin patch manifest show flow500.suit
  myelin patch init norra
  myelin patch import /media/stick --site /var/lib/myelin/updates`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(
		patchManifestVerb(c), patchDiffVerb(c), patchApplyVerb(c), patchShowVerb(c), patchRolloutVerb(c),
		patchInitVerb(c), patchKeyVerb(c), patchReleaseVerb(c), patchAssignVerb(c), patchPublishVerb(c),
		patchExportVerb(c), patchImportVerb(c), patchAssignedVerb(c), patchOfferVerb(c), patchAgentVerb(c), patchPushVerb(c), tufClientVerb(c),
	)
	return v
}
