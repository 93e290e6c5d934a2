// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func completionVerb(c *console) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what makes a shell complete verbs, flags and kinds",
		Long:  `Completion prints a script for bash, zsh, fish or powershell.`,
		Example: `  source <(myelin completion bash)
  myelin completion zsh > "${fpath[1]}/_myelin"
  myelin completion fish > ~/.config/fish/completions/myelin.fish`,
		DisableFlagsInUseLine: true,
		ValidArgs:             shells,
		Args:                  exactly(1, "completion for which shell? "+enumerate(shells)),
		RunE: func(v *cobra.Command, args []string) error {
			root := v.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.out, true)
			case "zsh":
				return root.GenZshCompletion(c.out)
			case "fish":
				return root.GenFishCompletion(c.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(c.out)
			}
			return usageError{fmt.Errorf("%s: no such shell; want %s", args[0], enumerate(shells))}
		},
	}
}

// complete names the values of a flag to the shell. The flag is registered.
func complete(v *cobra.Command, flag string, values ...string) {
	if err := v.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}
