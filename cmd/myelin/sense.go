// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/report"
)

func senseVerb(c *console) *cobra.Command {
	var format formatFlag
	var answer answerFlags
	var server serverFlags
	var iface string
	var ports, notPorts []int
	var papers []string
	var duration time.Duration
	v := &cobra.Command{
		Use:   "sense [flags] -i IFACE",
		Short: "Watch an interface, and tell at once what could hurt a patient",
		Long: `Sense watches an interface (a mirror port, on Linux) until Ctrl-C or for a
duration. It tells each device and finding when it becomes known, and again when
it has changed; at the end comes the whole answer, as from 'myelin assess'. In
JSON each line is a document of what is new, and the last line is the whole one.
It sends nothing to anybody but to a server that is named. With -i - it reads
what tcpdump writes into a pipe.`,
		Example: `  myelin sense -i eth1
  myelin sense -i eth1 --papers register.csv --papers advisories/
  myelin sense -i eth1 --server https://myelin.example:8443 --enrol @token
  myelin sense -i eth1 --duration 24h --format json | tail -n 1 > baseline.json`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(0, "sense takes no arguments; the interface stands behind -i"),
		RunE: func(v *cobra.Command, _ []string) error {
			if err := format.check(); err != nil {
				return err
			}
			if iface == "" {
				return usageError{errors.New("sense where? name an interface: -i " + interfaces())}
			}
			if duration < 0 {
				return usageError{fmt.Errorf("--duration %v: want a time ahead", duration)}
			}
			var live capture.LiveConfig
			var err error
			if live.Ports, err = portNumbers("--ports", ports); err != nil {
				return err
			}
			if live.NotPorts, err = portNumbers("--not-ports", notPorts); err != nil {
				return err
			}
			config, err := answer.config()
			if err != nil {
				return err
			}
			config.Papers = papers
			in, stopReading, err := c.openSensed(iface, live)
			if err != nil {
				return err
			}
			defer stopReading()
			ctx := v.Context()
			client, err := server.open(ctx, c, func() (uint64, string) {
				s, err := in.Stats()
				if err != nil {
					return 0, err.Error()
				}
				return uint64(s.Dropped), ""
			})
			if err != nil {
				return err
			}
			tell := newTeller(c, format.name)
			part, end := tell.part, func() {}
			if client != nil {
				if config.Key == nil {
					if config.Key, err = pseudonyms(server.state); err != nil {
						return errors.Join(err, client.Close())
					}
				}
				forward := newForwarder(client, true)
				config.Sessions = forward.sessions
				part = func(a *report.Assessment) error {
					forward.part(a)
					return tell.part(a)
				}
				stop := running(client)
				end = func() { stop(context.Background(), lastTime) } // what is not sent then, is sent the next time
			}
			if duration > 0 {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, duration)
				defer stop()
			}
			if iface == "-" {
				iface = "standard input"
			}
			c.hint("listening on %s; Ctrl-C ends it", iface)
			a, err := assess.Sense(ctx, iface, in, config, part)
			end()
			if err != nil {
				return err
			}
			if err := tell.whole(a); err != nil {
				return err
			}
			if s, err := in.Stats(); err == nil {
				c.hint("%d packets seen, %d of them dropped by the kernel", s.Packets, s.Dropped)
			}
			return answer.verdict(c, a)
		},
	}
	v.Flags().StringVarP(&iface, "interface", "i", "", "watch `IFACE`, or - for standard input")
	v.Flags().IntSliceVar(&ports, "ports", nil, "watch only TCP, UDP and SCTP `PORT`s, separated by commas")
	v.Flags().IntSliceVar(&notPorts, "not-ports", nil, "leave `PORT`s out; wins over --ports")
	v.Flags().StringArrayVar(&papers, "papers", nil, "`PATH` of documents as assess reads; repeatable")
	v.Flags().DurationVar(&duration, "duration", 0, "stop after `TIME`, as in 90s or 24h; 0 never")
	server.register(v)
	v.Flags().StringVar(&server.token, "enrol", "", "`TOKEN` of an enrolment, or @FILE, once")
	format.register(v, "text", "json")
	answer.register(v)
	return v
}

// openSensed opens an interface, or standard input.
func (c *console) openSensed(iface string, live capture.LiveConfig) (in assess.Interface, end func() error, err error) {
	if iface == "-" {
		if live.Ports != nil || live.NotPorts != nil {
			return nil, nil, usageError{errors.New("--ports and --not-ports are for an interface; give tcpdump a filter instead")}
		}
		s := capture.NewStream(c.in)
		return s, s.Close, nil
	}
	on, err := capture.OpenLive(iface, live)
	if err != nil {
		return nil, nil, explain(err)
	}
	return on, on.Close, nil
}

// lastTime is how long a sensor that ends tries to send the rest.
const lastTime = 5 * time.Second

func portNumbers(flag string, numbers []int) (ports []uint16, err error) {
	for _, n := range numbers {
		if n < 1 || n > 65535 {
			return nil, usageError{fmt.Errorf("%s %d: want 1 to 65535", flag, n)}
		}
		ports = append(ports, uint16(n))
	}
	return ports, nil
}

// explain adds to an error of opening an interface what to do about it.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run it as root, or give it the right: setcap cap_net_raw+ep $(command -v myelin)", err)
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%w; capture with tcpdump or Wireshark, and 'myelin assess' the file", err)
	}
	return fmt.Errorf("%w; there is %s", err, interfaces())
}

// interfaces names the interfaces of this machine that are up.
func interfaces() string {
	all, err := net.Interfaces()
	if err != nil {
		return "IFACE"
	}
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		return "no interface that is up"
	}
	return enumerate(names)
}

// A teller says what becomes known.
type teller struct {
	c     *console
	json  bool
	lines map[string]string // last line of each device and finding, by id
}

func newTeller(c *console, format string) *teller {
	return &teller{c: c, json: format == "json", lines: map[string]string{}}
}

// part says what is new or has changed.
func (t *teller) part(a *report.Assessment) error {
	if t.json {
		return t.document(a)
	}
	now := time.Now().Format(time.TimeOnly)
	for i := range a.Devices {
		d := &a.Devices[i]
		if err := t.line(now, d.ID, "device   "+report.DeviceLine(d)); err != nil {
			return err
		}
	}
	for i := range a.Findings {
		f := &a.Findings[i]
		if err := t.line(now, f.ID, report.FindingLine(a, f)); err != nil {
			return err
		}
	}
	return nil
}

// line says a line unless it was the last one about the same thing: not every
// change is worth one.
func (t *teller) line(now, id, line string) error {
	if t.lines[id] == line {
		return nil
	}
	t.lines[id] = line
	_, err := fmt.Fprintf(t.c.out, "%s  %s\n", now, line)
	return err
}

// whole says the answer at the end.
func (t *teller) whole(a *report.Assessment) error {
	if t.json {
		return t.document(a)
	}
	if _, err := fmt.Fprintf(t.c.out, "\n%s\n\n", strings.Repeat("-", 40)); err != nil {
		return err
	}
	return report.TextWide(t.c.out, a, textWidth(t.c.out))
}

// document writes an assessment in one line.
func (t *teller) document(a *report.Assessment) error {
	var doc, line bytes.Buffer
	if err := report.JSON(&doc, a); err != nil {
		return err
	}
	if err := json.Compact(&line, doc.Bytes()); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err := line.WriteTo(t.c.out)
	return err
}
