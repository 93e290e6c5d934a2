// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/patch/agent/coap"
	"github.com/myelin-health/myelin/patch/agent/https"
)

// pushPatience is how long a device may want nothing before it is left.
const pushPatience = 10 * time.Second

func patchPushVerb(c *console) *cobra.Command {
	p := &client{console: c}
	var server, ca string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "push URL --server URL --key FILE --token FILE --device FILE [--ca FILE]",
		Short:                 "Bring a device that only answers its updates",
		Long: `Push shakes hands with a device (EDHOC), shows it an updater's token, and brings
what it wants from a server: answers, envelopes, images. The device believes
what is signed, so whoever pushes needs no more trust than a cable; it installs
when its therapy lets it, and says how that ended the next time.`,
		Example: `  myelin patch push coap://127.0.0.1:5683/update --server https://updates.st-ada.example \
    --key monitor.key --token updater.cwt --device pump/device.key.pub`,
		Args: exactly(1, "push to what? name a URL, such as coap://127.0.0.1:5683/update"),
		RunE: func(v *cobra.Command, args []string) error {
			if server == "" {
				return usageError{errors.New("push wants --server: the https:// URL that updates come from")}
			}
			t := http.DefaultTransport.(*http.Transport).Clone()
			t.DisableCompression = true
			if ca != "" {
				pem, err := readFile(ca, maxKeyFile)
				if err != nil {
					return err
				}
				pool := x509.NewCertPool()
				if !pool.AppendCertsFromPEM(pem) {
					return fmt.Errorf("%s: no certificate in PEM", ca)
				}
				t.TLSClientConfig = &tls.Config{RootCAs: pool}
			}
			s, err := https.New(server, t)
			if err != nil {
				return usageError{err}
			}
			defer s.Close()
			return p.talk(v.Context(), args[0], func(ctx context.Context, t *talk) error {
				return coap.Push(v.Context(), t.Conn, t.s, s, pushPatience, nil) // --wait is for the handshake
			})
		},
	}
	p.register(v)
	v.Flags().StringVar(&server, "server", "", "`URL` of the server")
	v.Flags().StringVar(&ca, "ca", "", "`FILE` of the certificate that vouches for it; else the system's")
	return v
}
