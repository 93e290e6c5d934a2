// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/patch/repo"
)

// tufClientVerb is the client as the TUF conformance suite calls one.
func tufClientVerb(*console) *cobra.Command {
	var dir, metadata, targetDir, targets string
	var names []string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "tuf-client [flags] VERB",
		Short:                 "Read any TUF repository, as the conformance suite asks",
		Long: `Tuf-client speaks the command line of the TUF conformance suite, with the client
that devices and gateways have. It takes the time from 'date', which the suite
sets.`,
		Example: `  myelin patch tuf-client --metadata-dir D init root.json
  myelin patch tuf-client --metadata-url http://127.0.0.1:8080/metadata \
    --metadata-dir D --target-name a/file --target-dir T \
    --target-base-url http://127.0.0.1:8080/targets download`,
		Args: aVerb,
		Run:  neverRun,
	}
	v.PersistentFlags().StringVar(&dir, "metadata-dir", "", "`DIR` for the metadata that is trusted")
	v.PersistentFlags().StringVar(&metadata, "metadata-url", "", "`URL` of the metadata")
	v.PersistentFlags().StringArrayVar(&names, "target-name", nil, "`PATH` of a target; repeatable")
	v.PersistentFlags().StringVar(&targetDir, "target-dir", "", "`DIR` for the targets")
	v.PersistentFlags().StringVar(&targets, "target-base-url", "", "`URL` of the targets")

	refresh := func(ctx context.Context) (*repo.Client, error) {
		now, err := dateNow(ctx)
		if err != nil {
			return nil, err
		}
		c, err := repo.NewClient(repo.Config{
			Dir: dir, Metadata: repo.HTTP{Base: metadata}, Targets: repo.HTTP{Base: targets},
			Now: func() time.Time { return now },
		})
		if err != nil {
			return nil, err
		}
		return c, c.Refresh(ctx)
	}
	v.AddCommand(
		&cobra.Command{
			Use:   "init ROOT",
			Short: "Trust a root",
			Args:  exactly(1, "init wants one file: a root"),
			RunE: func(_ *cobra.Command, args []string) error {
				root, err := readFile(args[0], 1<<20)
				if err != nil {
					return err
				}
				return repo.Trust(dir, root)
			},
		},
		&cobra.Command{
			Use:   "refresh",
			Short: "Bring the metadata up to date",
			Args:  exactly(0, "refresh takes no arguments"),
			RunE: func(v *cobra.Command, _ []string) error {
				_, err := refresh(v.Context())
				return err
			},
		},
		&cobra.Command{
			Use:   "download",
			Short: "Bring the metadata up to date, and targets that it names",
			Args:  exactly(0, "download takes no arguments; --target-name says which target"),
			RunE: func(v *cobra.Command, _ []string) error {
				if len(names) == 0 || targetDir == "" || targets == "" {
					return usageError{errors.New("download wants --target-name, --target-dir and --target-base-url")}
				}
				c, err := refresh(v.Context())
				if err != nil {
					return err
				}
				for _, name := range names {
					t, err := c.Target(v.Context(), name)
					if err != nil {
						return err
					}
					if err := c.Download(v.Context(), t, filepath.Join(targetDir, url.PathEscape(name))); err != nil {
						return err
					}
				}
				return nil
			},
		},
	)
	return v
}

// dateNow asks 'date': the suite sets the clock of what uses libc.
func dateNow(ctx context.Context) (time.Time, error) {
	cmd := exec.CommandContext(ctx, "date", "+%s")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("date: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return time.Time{}, errors.New("date: no number of seconds")
	}
	return time.Unix(n, 0), nil
}
