// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/report"
)

func assessVerb(c *console) *cobra.Command {
	var format formatFlag
	var out string
	var answer answerFlags
	var server serverFlags
	v := &cobra.Command{
		Use:   "assess [flags] PATH...",
		Short: "Tell what is in captures and papers, and what could hurt a patient",
		Long: `Assess reads network captures (pcap, pcapng), documents beside them, folders of
both, or standard input ("-"), packed (.gz, .zst) or not, and answers with the
devices and a ranked list of what could hurt a patient, with the place to look
at and what to do. What a file is, its content decides. Nothing is sent anywhere
but to a server that is named.

Documents: the hospital's register of devices (CSV, YAML, JSON), bills of
materials (CycloneDX, SPDX), advisories (CSAF, OSV, CVE, NVD), VEX, KEV, EPSS,
FDA's files of products and recalls, and dialects of radios.`,
		Example: `  myelin assess monday.pcapng
  myelin assess --format html -o ward.html captures/
  myelin assess captures/ register.csv sboms/ advisories/
  tcpdump -w - -i eth1 -G 60 -W 1 | myelin assess -
  myelin assess --fail-on act --baseline last-week.json today.pcap`,
		DisableFlagsInUseLine: true,
		Args:                  atLeast(1, "assess what? name a capture, a folder, or - for standard input"),
		RunE: func(v *cobra.Command, args []string) (err error) {
			if err := format.check(); err != nil {
				return err
			}
			config, err := answer.config()
			if err != nil {
				return err
			}
			config.Stdin = c.in
			client, err := server.open(v.Context(), c, nil)
			if err != nil {
				return err
			}
			var forward *forwarder
			if client != nil {
				if config.Key == nil {
					if config.Key, err = pseudonyms(server.state); err != nil {
						return errors.Join(err, client.Close())
					}
				}
				forward = newForwarder(client, false)
				config.Sessions = forward.sessions
				end := running(client)
				defer func() {
					if sent := end(v.Context(), sendTime); sent != nil && err == nil {
						err = fmt.Errorf("not all of it reached the server; it is sent the next time: %w", sent)
					}
				}()
			}
			var a *report.Assessment
			err = c.to(out, func(w io.Writer) error {
				m := newMeter(c.err)
				config.Progress = m.show
				a, err = assess.Run(v.Context(), args, config)
				m.clear()
				if err != nil {
					return err
				}
				if forward != nil {
					forward.part(a)
				}
				return format.write(w, a)
			})
			if err != nil {
				return err
			}
			return answer.verdict(c, a)
		},
	}
	format.register(v, answerFormats()...)
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE` instead of standard output")
	server.register(v)
	v.Flags().StringVar(&server.tokenFile, "token-file", "", "`FILE` with an enrolment's token, once")
	answer.register(v)
	return v
}

// sendTime is how long an answer may take to reach the server.
const sendTime = 2 * time.Minute

// defaultJobs is how many workers there are unless somebody says otherwise.
// More than eight have nothing to do: reading is the limit.
func defaultJobs() int { return min(runtime.NumCPU(), 8) }
