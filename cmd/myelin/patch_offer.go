// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/repo"
)

func patchOfferVerb(c *console) *cobra.Command {
	var s repo.Subject
	var site, key, out string
	var number uint64
	var lifetime time.Duration
	var install bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "offer --device ID --number N --key FILE --out FILE [flags]",
		Short:                 "Sign a short-lived offer for a device that cannot verify TUF",
		Long: `Offer verifies both repositories in a device's place, as 'myelin patch assigned'
does, and signs what both say of it with the hospital's key: device, envelope,
demands, a number that rises, and until when it counts. The server makes such
offers itself; this one is for a device that it does not reach.`,
		Example: `  myelin patch offer --site updates --device pump-3 --ring icu --number 7 \
    --manufacturer 'Norra Medical' --model 'Flow 500' --hardware C \
    --key hospital.key --out pump-3.offer`,
		Args: exactly(0, "offer takes no arguments; --device says for which"),
		RunE: func(v *cobra.Command, _ []string) error {
			if s.Device == "" || s.Manufacturer == "" || s.Model == "" || s.Hardware == "" || key == "" || out == "" || number == 0 {
				return usageError{errors.New("offer wants --device, --manufacturer, --model, --hardware, --number, --key and --out")}
			}
			k, err := privateKey(key)
			if err != nil {
				return err
			}
			signer, err := cose.NewSigner(k)
			if err != nil {
				return err
			}
			u, err := verifiedUpdate(v, site, s)
			if err != nil {
				return err
			}
			o, err := u.Offer(s.Device, number, time.Now().UTC(), lifetime, install)
			if err != nil {
				return err
			}
			b, err := patch.Sign(o, signer, patch.KeyID(&k))
			if err != nil {
				return err
			}
			if err := create(out, 0o644, b); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "Offer %d: %s may have %s %s until %s.\n", number, s.Device, u.Product(), u.Version, o.Expires.Format(time.DateTime))
			return err
		},
	}
	registerSubject(v, &site, &s)
	v.Flags().Uint64Var(&number, "number", 0, "`N` of the offer, above the last one that the device had")
	v.Flags().DurationVar(&lifetime, "lifetime", 10*time.Minute, "`TIME` that it counts, an hour at most")
	v.Flags().BoolVar(&install, "install", false, "it may be installed, not only staged")
	v.Flags().StringVar(&key, "key", "", "`FILE` with the hospital's private key, a COSE_Key")
	v.Flags().StringVar(&out, "out", "", "`FILE` for the offer")
	return v
}
