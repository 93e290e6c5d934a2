// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
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
		Example: `  myelin link keygen --out nurse.key
  myelin link show nurse.cwt
  myelin link get coap://127.0.0.1:5683/therapy --key nurse.key \
    --token nurse.cwt --device pump/device.key.pub`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(
		linkKeygenVerb(c), linkEnrolVerb(c), linkIssueVerb(c), linkApproveVerb(c), linkRevokeVerb(c), linkShowVerb(c),
		linkGetVerb(c), linkObserveVerb(c), linkCommandVerb(c), edhocPeerVerb(c), oscorePeerVerb(c),
	)
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
