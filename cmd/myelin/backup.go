// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/serve"
)

func backupVerb(c *console) *cobra.Command {
	var data string
	v := &cobra.Command{
		Use:   "backup --data DIR FILE",
		Short: "Write what a server keeps to one file, while it runs",
		Long: `Backup writes the store, the ledger and the keys of a server to one tar file with
a manifest. Whoever has the file can be the server: keep it as such. With PostgreSQL,
back up the database with pg_dump.`,
		Example:               `  myelin backup --data /var/lib/myelin /backup/myelin-monday.tar`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "backup wants one file, which is not there yet"),
		RunE: func(v *cobra.Command, args []string) error {
			m, err := serve.Backup(v.Context(), data, args[0], version(), nil)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s has %d files of %s.\n", args[0], len(m.Files), data)
			return nil
		},
	}
	v.Flags().StringVar(&data, "data", "myelin-data", "`DIR` of the server's data")
	return v
}

func restoreVerb(c *console) *cobra.Command {
	var data string
	v := &cobra.Command{
		Use:   "restore FILE --data DIR",
		Short: "Write a backup into an empty folder, for a server to begin from",
		Long: `Restore writes what 'myelin backup' wrote into a folder that is empty or not there.
Nothing is written unless all is as the manifest says.`,
		Example:               `  myelin restore /backup/myelin-monday.tar --data /var/lib/myelin`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "restore wants one file, that 'myelin backup' wrote"),
		RunE: func(v *cobra.Command, args []string) error {
			m, err := serve.Restore(v.Context(), args[0], data)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s has %d files as they were at %s.\n", data, len(m.Files), m.Made.Format("2006-01-02 15:04:05 MST"))
			return nil
		},
	}
	v.Flags().StringVar(&data, "data", "myelin-data", "`DIR` for a server's data")
	return v
}
