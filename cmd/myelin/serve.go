// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/serve"
)

func serveVerb(c *console) *cobra.Command {
	cfg, file, demo := serve.Config{}, "", false
	v := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Keep what sensors and guards send, and show it to people",
		Long: `Serve keeps what sensors and guards send, and shows it to people who work through
it. All its data are in one folder. The first start prints a link by which the
first person begins. With --demo it is a hospital that was invented, with people,
devices and attackers, in a folder that goes with it. It is not cleared as a
medical device.`,
		Example: `  myelin serve --demo
  myelin serve
  myelin serve --data /var/lib/myelin --listen 0.0.0.0:8440`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(0, "serve takes no arguments; --data says where its folder is"),
		RunE: func(v *cobra.Command, _ []string) error {
			if demo {
				for _, name := range []string{"config", "sensors", "site", "tls", "tls-certificate", "tls-key"} {
					if v.Flags().Changed(name) {
						return usageError{fmt.Errorf("--demo goes with --data and --listen alone, not with --%s", name)}
					}
				}
				if !v.Flags().Changed("data") {
					cfg.Data = ""
				}
				return c.demo(v.Context(), cfg)
			}
			if file != "" { // flags count over the file
				given := cfg
				if err := cfg.Read(file); err != nil {
					return err
				}
				for name, f := range map[string]struct{ to, from *string }{
					"listen": {&cfg.Listen, &given.Listen}, "sensors": {&cfg.Sensors, &given.Sensors}, "site": {&cfg.Site, &given.Site}, "tls-certificate": {&cfg.TLSCertificate, &given.TLSCertificate}, "tls-key": {&cfg.TLSKey, &given.TLSKey},
				} {
					if v.Flags().Changed(name) {
						*f.to = *f.from
					}
				}
			}
			ctx, stop := signal.NotifyContext(v.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.serve(ctx, cfg)
		},
	}
	v.AddCommand(serveResetVerb(c))
	v.Flags().StringVar(&file, "config", "", "`FILE` of its configuration (docs/serve.md)")
	v.Flags().BoolVar(&demo, "demo", false, "show an invented hospital at work; on loopback only")
	v.Flags().StringVar(&cfg.Data, "data", "myelin-data", "`DIR` of its data")
	v.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:8440", "`ADDRESS` and port")
	v.Flags().StringVar(&cfg.Sensors, "sensors", "", "`ADDRESS` and port of sensors alone, by TLS, beside a server in clear")
	v.Flags().BoolVar(&cfg.TLS, "tls", false, "speak TLS on loopback, too, as sensors want")
	v.Flags().StringVar(&cfg.TLSCertificate, "tls-certificate", "", "`FILE` with its certificate, read again when it changes (PEM)")
	v.Flags().StringVar(&cfg.TLSKey, "tls-key", "", "`FILE` with the key of that (PEM)")
	v.Flags().StringVar(&cfg.Site, "site", "", "`NAME` of the hospital")
	return v
}

func (c *console) serve(ctx context.Context, cfg serve.Config) error {
	cfg.Log = slog.New(slog.NewTextHandler(c.err, nil))
	cfg.Version = version()
	ln, err := listen(cfg.Listen) // before a folder is made that is for nothing
	if err != nil {
		return err
	}
	defer ln.Close()
	s, err := serve.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	address, fingerprint := s.Address(ln)
	fmt.Fprintln(c.out, address+"/")
	if fingerprint != "" {
		fmt.Fprintln(c.out, "Its certificate has the SHA-256 fingerprint "+fingerprint)
	}
	if link, err := s.SetUpLink(ctx); err != nil {
		return err
	} else if link != "" {
		fmt.Fprintln(c.out, "The first person begins here, within a day: "+address+link)
	}
	return s.Run(ctx, ln)
}

// listen says what to do when an address cannot be had.
func listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	var wrong *net.AddrError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: another program listens there, perhaps another myelin; end it, or take another port: --listen 127.0.0.1:0 is any", address)
	case errors.As(err, &wrong):
		return nil, fmt.Errorf("where to listen: %q: %s; want an address and a port, as 127.0.0.1:8440", address, wrong.Err)
	}
	return ln, err
}
