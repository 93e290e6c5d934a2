// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/serve"
)

func serveResetVerb(c *console) *cobra.Command {
	cfg, file := serve.Config{}, ""
	v := &cobra.Command{
		Use:   "reset LOGIN [flags]",
		Short: "Make a link by which an administrator sets a new password",
		Long: `Reset is the way back for an administrator whom no other one can help. It wants the
server's folder, and that the server is stopped meanwhile. The password, passkeys and
sessions of before end; who did it is in the server's ledger. The link is good once,
and for a day.`,
		Example: `  myelin serve reset ada --data /var/lib/myelin
  myelin serve reset ada --config serve.yaml --data /var/lib/myelin`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "serve reset wants the login of an administrator"),
		RunE: func(v *cobra.Command, args []string) error {
			listen := cfg.Listen
			if file != "" {
				if err := cfg.Read(file); err != nil {
					return err
				}
				if v.Flags().Changed("listen") {
					cfg.Listen = listen
				}
			}
			by := "command line"
			if u, err := user.Current(); err == nil {
				by += " of " + u.Username
			}
			link, err := serve.Recover(v.Context(), cfg, by, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, link)
			c.hint("start the server; %s sets a new password there, within a day", args[0])
			return nil
		},
	}
	v.Flags().StringVar(&file, "config", "", "`FILE` of the server's configuration, if it has one")
	v.Flags().StringVar(&cfg.Data, "data", "myelin-data", "`DIR` of the server's data")
	v.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:8440", "`ADDRESS` that the server listens on, for the link")
	v.Flags().BoolVar(&cfg.TLS, "tls", false, "the server speaks TLS on loopback, too")
	return v
}
