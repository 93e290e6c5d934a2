// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
)

func simLegacyVerb(c *console) *cobra.Command {
	var model, listen, network, secret, attack, frames, order string
	var cfg legacy.Config
	var as legacyCaller
	var list bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "legacy --device NAME --listen ADDRESS [flags]",
		Short:                 "Be an old device that protects nothing, or attack one",
		Long: `Legacy plays an invented device as devices were built for long, on a port of
this machine: it does what anybody tells it. What it does goes to standard
output, and when it is interrupted, what it is then. With --attack it is the
attacker of what listens there instead, with --order the hospital information
system, which orders noradrenaline for bed 3. Nothing leaves this machine.`,
		Example: `  myelin sim legacy --list
  myelin sim legacy --device dose-one --listen 127.0.0.1:5683
  myelin sim legacy --attack A18 --listen 127.0.0.1:5683
  myelin sim legacy --order "0.25 ug/kg/min" --listen 127.0.0.1:24001 \
    --cert tls/ehr.pem --cert-key tls/ehr.key --ca tls/ca.pem`,
		Args: exactly(0, "sim legacy takes no arguments; --list shows what there is"),
		RunE: func(v *cobra.Command, _ []string) error {
			switch {
			case list:
				return listLegacy(c)
			case listen == "" || given(model, attack, order) != 1:
				return usageError{errors.New("sim legacy wants --listen, and --device, --attack or --order; --list shows what there is")}
			}
			if err := onlyLoopback(listen, false); err != nil {
				return err
			}
			if err := as.read(); err != nil {
				return err
			}
			switch {
			case attack != "":
				return attackLegacy(v.Context(), c, attack, network, listen, frames, &as)
			case order != "":
				return orderLegacy(v.Context(), c, order, listen, &as)
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
			d, err := legacy.New(model, cfg)
			if err != nil {
				return usageError{err}
			}
			if network == "" {
				network = legacy.NetworkOf(model)
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
	v.Flags().StringVar(&model, "device", "", "be the device of this `NAME`")
	v.Flags().StringVar(&listen, "listen", "", "`ADDRESS` and port on this machine's loopback")
	v.Flags().StringVar(&network, "network", "", "`NET`: udp or tcp; without it, the device's usual one")
	v.Flags().StringVar(&secret, "secret", "", "`FILE`: listen only to who seals with these 16 bytes, in hexadecimal")
	v.Flags().StringVar(&cfg.Upstream, "upstream", "", "`ADDRESS` on loopback that the device itself connects to")
	v.Flags().BoolVar(&cfg.Confirms, "confirm", false, "a nurse starts whatever is ordered (flowlink)")
	v.Flags().BoolVar(&cfg.Mended, "mended", false, "built as it should have been")
	v.Flags().StringVar(&attack, "attack", "", "be the attacker of this `ROW`, such as A05 or A05/replay")
	v.Flags().StringVar(&order, "order", "", "order this `RATE` of noradrenaline, in ug/kg/min, of a gateway")
	v.Flags().StringVar(&as.cert, "cert", "", "attack or order by TLS, with the certificate in `FILE`")
	v.Flags().StringVar(&as.key, "cert-key", "", "`FILE` with the private key of --cert")
	v.Flags().StringVar(&as.ca, "ca", "", "by TLS, and believe the authority in `FILE`")
	v.Flags().StringVar(&frames, "frames", "", "write what a receiver hears of an attack by radio to this `FILE`")
	v.Flags().BoolVar(&list, "list", false, "list devices and attacks")
	return v
}

// given counts the texts that are not empty.
func given(texts ...string) (n int) {
	for _, t := range texts {
		if t != "" {
			n++
		}
	}
	return n
}

// A legacyCaller is by which certificate somebody calls, if by any.
type legacyCaller struct {
	cert, key, ca string
	tls           *tls.Config // nil: in clear
}

func (l *legacyCaller) read() error {
	if (l.cert == "") != (l.key == "") || l.cert != "" && l.ca == "" {
		return usageError{errors.New("--cert wants --cert-key and --ca, which says whom to believe")}
	}
	if l.ca == "" {
		return nil
	}
	b, err := readFile(l.ca, maxKeyFile)
	if err != nil {
		return err
	}
	l.tls = &tls.Config{RootCAs: x509.NewCertPool()}
	if !l.tls.RootCAs.AppendCertsFromPEM(b) {
		return fmt.Errorf("%s: no certificate in PEM", l.ca)
	}
	if l.cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(l.cert, l.key)
	l.tls.Certificates = []tls.Certificate{pair}
	return err
}

// A legacyTarget is what listens at an address, with TLS before it.
type legacyTarget struct {
	addr string
	tls  *tls.Config
}

func (l legacyTarget) Dial(ctx context.Context) (net.Conn, error) {
	return (&tls.Dialer{Config: l.tls}).DialContext(ctx, "tcp", l.addr)
}

// at is where somebody calls.
func (l *legacyCaller) at(network, addr string) (legacy.Target, error) {
	if l.tls == nil {
		return legacy.At(network, addr)
	}
	if network != "tcp" {
		return nil, errors.New("--ca: TLS needs tcp, and this talks udp")
	}
	return legacyTarget{addr, l.tls}, nil
}

// orderPatience is how long an order waits for its answer.
const orderPatience = 30 * time.Second

// orderLegacy orders an infusion, and says what the answer is.
func orderLegacy(ctx context.Context, c *console, rate, addr string, as *legacyCaller) error {
	q, err := device.ParseQuantity(rate)
	if number, ok := strings.CutSuffix(q.String(), " ug/kg/min"); err == nil && ok {
		rate = number
	} else {
		return usageError{fmt.Errorf("--order %s: want a rate such as \"0.25 ug/kg/min\"", rate)}
	}
	target, err := as.at("tcp", addr)
	if err != nil {
		return usageError{err}
	}
	ctx, stop := context.WithTimeout(ctx, orderPatience)
	defer stop()
	conn, err := target.Dial(ctx)
	if err != nil {
		return err
	}
	three, _ := ward.Pumps()
	now := time.Now()
	o := ward.Order{ID: fmt.Sprintf("RGV-%d", now.UnixMicro()), Pump: three, Rate: rate, Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}
	err = legacy.ExchangeHL7(ctx, conn, [][]byte{o.Message(now)}, func(_, answer []byte) {
		m, err := hl7.Parse(answer)
		if err != nil {
			c.hint("the answer is no message: %v", err)
			return
		}
		a, _ := m.Answer()
		means := "refused"
		if ok, _ := a.Accepted(); ok {
			means = "received; the application answer, which comes on another connection, says what became of it"
		}
		fmt.Fprintf(c.out, "%s is answered %s: %s\n", o.ID, report.Plain(a.Code.Text()), means)
	})
	if err != nil && as.tls == nil {
		err = fmt.Errorf("%w; what listens there may want TLS: --cert, --cert-key and --ca", err)
	}
	return err
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
func attackLegacy(ctx context.Context, c *console, row, network, addr, frames string, as *legacyCaller) error {
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
		target, err := as.at(on, addr)
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
