// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func linkVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "link VERB",
		Short: "Talk to an implant over a secure channel, and say who may do what",
		Long: `Link speaks EDHOC and OSCORE, the secure channel of devices that have too little
power for TLS, and issues the tokens that say who may command what.
docs/LINK.md tells how a device has to speak to be talked to.`,
		Example: `  myelin link edhoc-peer --role responder --method 3 --suite 2 --creds keys.json`,
		DisableFlagsInUseLine: true,
		RunE: func(v *cobra.Command, _ []string) error {
			return usageError{errors.New("link what? 'myelin link --help' lists its verbs")}
		},
	}
	v.AddCommand(edhocPeerVerb(c))
	return v
}

// readFile reads a file that has no reason to be longer than most.
func readFile(name string, most int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("more than %d bytes: this is some other file", most)}
	}
	return b, nil
}
