// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/sim/legacy"
)

func simLegacyVerb(c *console) *cobra.Command {
	var device, listen, network, secret, attack, frames string
	var cfg legacy.Config
	var list bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "legacy --device NAME --listen ADDRESS [flags]",
		Short:                 "Be an old device that protects nothing, or attack one",
		Long: `Legacy plays an invented device as devices were built for long, on a port of
this machine: it does what anybody tells it. What it does goes to standard
output, and when it is interrupted, what it is then. With --attack it is the
attacker of what listens there instead. Nothing leaves this machine.`,
		Example: `  myelin sim legacy --list
  myelin sim legacy --device dose-one --listen 127.0.0.1:5683
  myelin sim legacy --attack A18 --listen 127.0.0.1:5683`,
		Args: exactly(0, "sim legacy takes no arguments; --list shows what there is"),
		RunE: func(v *cobra.Command, _ []string) error {
			switch {
			case list:
				return listLegacy(c)
			case listen == "" || (device == "") == (attack == ""):
				return usageError{errors.New("sim legacy wants --listen, and --device or --attack; --list shows what there is")}
			}
			if err := onlyLoopback(listen, false); err != nil {
				return err
			}
			if attack != "" {
				return attackLegacy(v.Context(), c, attack, network, listen, frames)
			}
			if secret != "" {
				b, err := readFile(secret, 1<<10)
				if err != nil {
					return err
				}
				if cfg.Secret, err = hex.DecodeString(strings.TrimSpace(string(b))); err != nil {
					return usageError{fmt.Errorf("--secret %s: want 32 hexadecimal digits", secret)}
				}
			}
			cfg.Noted = func(e legacy.Entry) { fmt.Fprintln(c.out, e) }
			d, err := legacy.New(device, cfg)
			if err != nil {
				return usageError{err}
			}
			if network == "" {
				network = legacy.NetworkOf(device)
			}
			if err := serveLegacy(v.Context(), c, d, network, listen); err != nil {
				return err
			}
			b, err := json.Marshal(d.State())
			if err == nil {
				_, err = fmt.Fprintf(c.out, "%s\n", b)
			}
			return err
		},
	}
	v.Flags().StringVar(&device, "device", "", "be the device of this `NAME`")
	v.Flags().StringVar(&listen, "listen", "", "`ADDRESS` and port on this machine's loopback")
	v.Flags().StringVar(&network, "network", "", "`NET`: udp or tcp; without it, the device's usual one")
	v.Flags().StringVar(&secret, "secret", "", "`FILE`: listen only to who seals with these 16 bytes, in hexadecimal")
	v.Flags().StringVar(&cfg.Upstream, "upstream", "", "`ADDRESS` on loopback that the device itself connects to")
	v.Flags().BoolVar(&cfg.Confirms, "confirm", false, "a nurse starts whatever is ordered (flowlink)")
	v.Flags().BoolVar(&cfg.Mended, "mended", false, "built as it should have been")
	v.Flags().StringVar(&attack, "attack", "", "be the attacker of this `ROW`, such as A05 or A05/replay")
	v.Flags().StringVar(&frames, "frames", "", "write what a receiver hears of an attack by radio to this `FILE`")
	v.Flags().BoolVar(&list, "list", false, "list devices and attacks")
	return v
}

// serveLegacy serves a device until ctx ends.
func serveLegacy(ctx context.Context, c *console, d legacy.Device, network, listen string) error {
	switch network {
	case "udp":
		s, err := net.ListenPacket(network, listen)
		if err != nil {
			return err
		}
		c.hint("listening on %v, udp", s.LocalAddr())
		return d.Serve(ctx, s)
	case "tcp":
		l, err := net.Listen(network, listen)
		if err != nil {
			return err
		}
		c.hint("listening on %v, tcp", l.Addr())
		if g, ok := d.(*legacy.FlowLink); ok {
			return withReports(ctx, g, func() error { return legacy.ServeListener(ctx, l, d) })
		}
		return legacy.ServeListener(ctx, l, d)
	}
	return usageError{fmt.Errorf("--network %s: want udp or tcp", network)}
}

// withReports has the gateway report every minute while it serves.
func withReports(ctx context.Context, g *legacy.FlowLink, serve func() error) error {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t := time.NewTicker(time.Minute); ; {
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
				g.Report(ctx)
			}
		}
	}()
	err := serve()
	stop()
	<-done
	return err
}

// attackLegacy runs the attacks of a row, or one of them.
func attackLegacy(ctx context.Context, c *console, row, network, addr, frames string) error {
	row, name, _ := strings.Cut(row, "/")
	n := 0
	var heard bytes.Buffer
	for i := range legacy.Attacks {
		a := &legacy.Attacks[i]
		if !strings.EqualFold(a.Row, row) || name != "" && a.Name != name {
			continue
		}
		n++
		on := network
		if on == "" {
			on = legacy.NetworkOf(a.Device)
		}
		target, err := legacy.At(on, addr)
		if err != nil {
			return usageError{err}
		}
		env := &legacy.Env{Target: target, Log: &heard}
		if err := a.Record(ctx, env); err != nil {
			c.hint("%s/%s: those who may use the device could not: %v", a.Row, a.Name, err)
		}
		r, err := a.Run(ctx, env)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", a.Row, a.Name, err)
		}
		went := "failed"
		if r.Succeeded {
			went = "succeeded"
		}
		fmt.Fprintf(c.out, "%s/%s %s: %s\n", a.Row, a.Name, went, r.How)
	}
	switch {
	case n == 0:
		return usageError{fmt.Errorf("--attack %s: no such attack; --list shows what there is", row)}
	case frames != "":
		return os.WriteFile(frames, heard.Bytes(), 0o644)
	}
	return nil
}

// listLegacy prints the tables of devices and attacks.
func listLegacy(c *console) error {
	var b strings.Builder
	for i := range legacy.Models {
		m := &legacy.Models[i]
		fmt.Fprintf(&b, "%-16s %s: %s\n", m.Name, m.Network, m.About)
	}
	for i := range legacy.Attacks {
		a := &legacy.Attacks[i]
		fmt.Fprintf(&b, "%-24s %s, %s: %s\n", a.Row+"/"+a.Name, a.Device, a.Realism, a.About)
	}
	_, err := fmt.Fprint(c.out, b.String())
	return err
}
