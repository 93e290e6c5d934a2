// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/link/coap"
	"github.com/myelin-health/myelin/link/oscore"
)

func oscorePeerVerb(c *console) *cobra.Command {
	var listen, connect, secret, salt, sender, recipient string
	var wait time.Duration
	var remote bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "oscore-peer --listen|--connect ADDR --secret HEX --salt HEX ...",
		Short:                 "Serve or ask /time and /.well-known/core under OSCORE",
		Long: `Oscore-peer puts another implementation of OSCORE (RFC 8613) at the other end,
with AES-CCM-16-64-128 and HKDF-SHA-256. What stands behind --secret others on
this machine can read: use keys for tests only, or @FILE, or - for a line of
standard input. Sequence numbers begin at 0: never use a secret twice.`,
		Example: `  myelin link oscore-peer --listen 127.0.0.1:5683 --secret @s.hex --salt - \
    --sender 01 --recipient 02
  myelin link oscore-peer --connect 127.0.0.1:5683 --secret @s.hex \
    --salt 9e7ca92223786340 --sender 02 --recipient 01`,
		Args: exactly(0, "oscore-peer takes no arguments; --listen or --connect says where"),
		RunE: func(v *cobra.Command, _ []string) error {
			if (listen == "") == (connect == "") {
				return usageError{errors.New("oscore-peer wants --listen ADDR or --connect ADDR")}
			}
			if err := onlyLoopback(listen+connect, remote); err != nil {
				return err
			}
			var p oscore.Params
			for _, x := range []struct {
				flag, text string
				b          *[]byte
			}{{"secret", secret, &p.MasterSecret}, {"salt", salt, &p.MasterSalt}, {"sender", sender, &p.SenderID}, {"recipient", recipient, &p.RecipientID}} {
				b, err := c.hexOf(x.text)
				if err != nil {
					return usageError{fmt.Errorf("--%s: %w", x.flag, said(err))}
				}
				*x.b = b
			}
			if len(p.MasterSecret) == 0 || !v.Flags().Changed("sender") || !v.Flags().Changed("recipient") {
				return usageError{errors.New("oscore-peer wants --secret, --sender and --recipient")}
			}
			e, err := coap.New(coap.Config{Handler: coap.PeerHandler(time.Now)})
			if err != nil {
				return err
			}
			defer e.Close()
			s, err := e.Add(p)
			if err != nil {
				return err
			}
			if listen != "" {
				socket, err := net.ListenPacket("udp", listen)
				if err != nil {
					return err
				}
				c.hint("listens on %v", socket.LocalAddr())
				return e.Serve(v.Context(), socket)
			}
			ctx, cancel := context.WithTimeout(v.Context(), wait)
			defer cancel()
			conn, err := e.Dial(ctx, connect)
			if err != nil {
				return err
			}
			return coap.AskPeer(ctx, conn, s, c.out)
		},
	}
	v.Flags().StringVar(&listen, "listen", "", "serve on this `ADDR`, such as 127.0.0.1:5683")
	v.Flags().StringVar(&connect, "connect", "", "ask at this `ADDR`")
	v.Flags().StringVar(&secret, "secret", "", "master secret: `HEX`, @FILE or -")
	v.Flags().StringVar(&salt, "salt", "", "master salt: `HEX`, @FILE or -")
	v.Flags().StringVar(&sender, "sender", "", "own sender id: `HEX`")
	v.Flags().StringVar(&recipient, "recipient", "", "the other's id: `HEX`")
	v.Flags().DurationVar(&wait, "wait", 30*time.Second, "give up after this `DURATION`")
	v.Flags().BoolVar(&remote, "allow-remote", false, "an address that is not on this machine")
	return v
}

// maxHex is how many bytes a secret may have, in hex.
const maxHex = 1024

// hexOf reads hex, or a file or a line of standard input that has it.
func (c *console) hexOf(text string) ([]byte, error) {
	switch {
	case text == "-":
		var line []byte
		for b := make([]byte, 1); len(line) < maxHex; { // no further: the next flag may want a line too
			if _, err := io.ReadFull(c.in, b); err != nil || b[0] == '\n' {
				break
			}
			line = append(line, b[0])
		}
		text = string(bytes.TrimSpace(line))
	case strings.HasPrefix(text, "@"):
		b, err := readFile(text[1:], maxHex)
		if err != nil {
			return nil, err
		}
		if st, err := os.Stat(text[1:]); err == nil && st.Mode().Perm()&0o077 != 0 {
			c.hint("%s: others may read it", text[1:])
		}
		text = string(bytes.TrimSpace(b))
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, errors.New("want hex, @FILE or -")
	}
	return b, nil
}
