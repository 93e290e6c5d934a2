// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch/agent/linux"
	"github.com/myelin-health/myelin/report"
)

// maxConfig is how many bytes an agent's file may have.
const maxConfig = 64 << 10

func patchAgentVerb(c *console) *cobra.Command {
	var file, image, running string
	var sequence uint64
	var once bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "agent --config FILE [flags]",
		Short:                 "Keep a device that runs Linux up to date",
		Long: `Agent asks a server for updates, verifies and stages them, and has a program of
the device, the hook, switch between two slots when nothing speaks against it:
no therapy is being given, the battery would last a roll-back, the settings are
saved. A version that does not pass its self-test, or with which therapy is not
seen resumed in time, is replaced by the one before. It runs until interrupted.

The first time it is told what runs: --provision, --running and --sequence. The
hook's words, and the keys of FILE, are in the documentation of patch/agent/linux:
device, hardware, vendor, class, component, server, ca, key, makers, hospital,
state, slot, hook, timeout, repositories.`,
		Example: `  myelin patch agent --config agent.yaml --provision m9.bin --running 5.0 --sequence 50
  myelin patch agent --config agent.yaml`,
		Args: exactly(0, "patch agent takes no arguments; --config says what it is"),
		RunE: func(v *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("patch agent wants --config: a file of YAML")}
			}
			if (image == "") != (running == "") || image != "" && sequence == 0 {
				return usageError{errors.New("--provision wants --running and --sequence: which version the image is, and its number")}
			}
			src, err := readFile(file, maxConfig)
			if err != nil {
				return err
			}
			cfg, err := linux.ParseConfig(file, src)
			if err != nil {
				return err
			}
			keys := &linux.Keys{}
			if keys.Own, err = privateKey(cfg.Key); err != nil {
				return err
			}
			for _, x := range []struct {
				files []string
				keys  *[]cose.Key
			}{{cfg.Makers, &keys.Makers}, {cfg.Hospital, &keys.Hospital}} {
				for _, f := range x.files {
					k, err := publicKey(f)
					if err != nil {
						return err
					}
					*x.keys = append(*x.keys, k)
				}
			}
			m, err := linux.Open(cfg, keys, func(format string, args ...any) {
				fmt.Fprintln(c.out, report.Plain(fmt.Sprintf(format, args...)))
			})
			if err != nil {
				return err
			}
			defer m.Close()
			if image != "" {
				if err := m.Provision(image, running, sequence); err != nil {
					return err
				}
				c.hint("%s runs %s", cfg.Device, running)
			}
			return m.Run(v.Context(), once)
		},
	}
	v.Flags().StringVar(&file, "config", "", "`FILE` that says what the device is, and whom it believes")
	v.Flags().BoolVar(&once, "once", false, "end when there is nothing more to do for a while")
	v.Flags().StringVar(&image, "provision", "", "`FILE` of the image that the device was delivered with")
	v.Flags().StringVar(&running, "running", "", "`VERSION` of it")
	v.Flags().Uint64Var(&sequence, "sequence", 0, "`NUMBER` of its manifest")
	return v
}
