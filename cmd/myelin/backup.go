// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/serve"
)

func backupVerb(c *console) *cobra.Command {
	var data, file string
	alone := false
	v := &cobra.Command{
		Use:   "backup [flags] FILE",
		Short: "Write what a server keeps to one file, while it runs",
		Long: `Backup writes the store, the bus, the ledger and the keys of a server to one tar
file with a manifest. Whoever has the file can be the server: keep it as such. With
PostgreSQL, back up the database with pg_dump. With --store it writes what the store
has, and nothing else, in a form that 'myelin restore' reads into either database.`,
		Example: `  myelin backup --data /var/lib/myelin /backup/myelin-monday.tar
  myelin backup --data /var/lib/myelin --store /tmp/store.gz`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "backup wants one file, which is not there yet"),
		RunE: func(v *cobra.Command, args []string) error {
			if alone {
				cfg, err := configured(data, file)
				if err == nil {
					err = serve.DumpStore(v.Context(), cfg, args[0])
				}
				return err
			}
			m, err := serve.Backup(v.Context(), data, args[0], version(), nil)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s has %d files of %s.\n", args[0], len(m.Files), data)
			return nil
		},
	}
	v.Flags().StringVar(&data, "data", "myelin-data", "`DIR` of the server's data")
	v.Flags().BoolVar(&alone, "store", false, "the store alone, for either database")
	v.Flags().StringVar(&file, "config", "", "`FILE` of the server's configuration, which names its database")
	return v
}

// configured is the configuration of a server that does not run here.
func configured(data, file string) (serve.Config, error) {
	cfg := serve.Config{Data: data}
	if file == "" {
		return cfg, nil
	}
	return cfg, cfg.Read(file)
}

func restoreVerb(c *console) *cobra.Command {
	var data, file string
	v := &cobra.Command{
		Use:   "restore FILE [flags]",
		Short: "Write a backup into an empty folder, for a server to begin from",
		Long: `Restore writes what 'myelin backup' wrote into a folder that is empty or not there.
Nothing is written unless all is as the manifest says. A copy of the store alone, or
the one that was kept before an upgrade, goes into the database of a server that does
not run, which has to be empty; the server wants the other's secret.key, too.`,
		Example: `  myelin restore /backup/myelin-monday.tar --data /var/lib/myelin
  myelin restore /tmp/store.gz --config /etc/myelin.yaml`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "restore wants one file, that 'myelin backup' wrote"),
		RunE: func(v *cobra.Command, args []string) error {
			if serve.IsDump(args[0]) {
				cfg, err := configured(data, file)
				if err == nil {
					err = serve.LoadStore(v.Context(), cfg, args[0])
				}
				return err
			}
			m, err := serve.Restore(v.Context(), args[0], data)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s has %d files as they were at %s.\n", data, len(m.Files), m.Made.Format("2006-01-02 15:04:05 MST"))
			return nil
		},
	}
	v.Flags().StringVar(&data, "data", "myelin-data", "`DIR` for a server's data")
	v.Flags().StringVar(&file, "config", "", "`FILE` of the server's configuration, which names its database")
	return v
}
