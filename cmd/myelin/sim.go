// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/sim/ward"
)

func simVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "sim VERB",
		Short: "Make captures of an invented hospital",
		Long: `Sim plays devices, people and attackers of an invented hospital, for examples
and tests. Nothing in it is real, and nothing leaves this machine.`,
		Example:               `  myelin sim ward --out ward`,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("sim what? there is the ward: 'myelin sim ward'")}
		},
	}
	v.AddCommand(simWardVerb(c))
	return v
}

func simWardVerb(c *console) *cobra.Command {
	var out string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "ward [flags]",
		Short:                 "Make the sample ward: a morning at St. Ada Hospital",
		Long: `Ward makes the captures of one morning at an invented hospital, in which a
vendor's laptop finds its way from the scanner to the infusion pumps and the
archive. Programs of DCMTK and Orthanc speak for the devices of radiology, on
loopback only: they have to be installed.`,
		Example: `  myelin sim ward --out ward
  myelin assess ward`,
		Args: exactly(0, "sim ward takes no arguments; --out says where to"),
		RunE: func(v *cobra.Command, _ []string) error {
			if err := ward.Make(v.Context(), out); err != nil {
				return err
			}
			c.hint("wrote %s; 'myelin assess %s' reads it", out, out)
			return nil
		},
	}
	v.Flags().StringVar(&out, "out", "ward", "write the captures into this `FOLDER`")
	return v
}
