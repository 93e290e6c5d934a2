// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/sim/radio"
	"github.com/myelin-health/myelin/sim/ward"
	"github.com/myelin-health/myelin/wire"
)

func simVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "sim VERB",
		Short: "Play an invented hospital and invented implants",
		Long: `Sim plays devices, people and attackers of an invented hospital, for examples
and tests. Nothing in it is real, and nothing leaves this machine.`,
		Example: `  myelin sim ward --out ward
  myelin sim radio --device pump --scenario replay --out x.pcapng`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(simWardVerb(c), simRadioVerb(c), simImplantVerb(c), simLegacyVerb(c))
	return v
}

func simWardVerb(c *console) *cobra.Command {
	var out string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "ward [flags]",
		Short:                 "Make the sample ward: a morning at St. Ada Hospital",
		Long: `Ward makes the captures of one morning at an invented hospital, in which a
vendor's laptop finds its way from the scanner to the infusion pumps and the
archive. Programs of DCMTK and Orthanc speak for the devices of radiology, on
loopback only: they have to be installed.`,
		Example: `  myelin sim ward --out ward
  myelin assess ward`,
		Args: exactly(0, "sim ward takes no arguments; --out says where to"),
		RunE: func(v *cobra.Command, _ []string) error {
			if err := ward.Make(v.Context(), out); err != nil {
				return err
			}
			c.hint("wrote %s; 'myelin assess %s' reads it", out, out)
			return nil
		},
	}
	v.Flags().StringVar(&out, "out", "ward", "write the captures into this `FOLDER`")
	return v
}

func simRadioVerb(c *console) *cobra.Command {
	var device, scenario, form, layer, out string
	var link uint16
	var seed uint64
	var decrypted, list bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "radio --device NAME --scenario NAME --out FILE [flags]",
		Short:                 "Make a capture of an implant or pump on the air",
		Long: `Radio plays an invented insulin pump, defibrillator, neurostimulator, glucose
meter, scale or heart-rate strap, and who talks to it: normal therapy, pairing
by every method, and attacks. It writes what a phone logs (hci), what a Bluetooth
sniffer hears (air), or frames of an older radio (frames). The file's name says
in which format: .pcap, .pcapng, or btsnoop and JSON lines.`,
		Example: `  myelin sim radio --list
  myelin sim radio --device pump --scenario replay --out x.pcapng
  myelin sim radio --device pump --scenario day --form protected --as hci --out phone.btsnoop
  myelin sim radio --device icd --scenario replay --out icd.jsonl`,
		Args: exactly(0, "sim radio takes no arguments; --list shows what there is"),
		RunE: func(v *cobra.Command, _ []string) error {
			if list {
				return listScenarios(c.out)
			}
			if device == "" || scenario == "" || out == "" {
				return usageError{errors.New("sim radio wants --device, --scenario and --out; --list shows what there is")}
			}
			sc, err := radio.Find(device, scenario)
			if err != nil {
				return usageError{err}
			}
			o := radio.Options{Device: device, Scenario: scenario, Form: sc.Forms[0], Layer: sc.Layers[0], Seed: seed}
			ok := true
			if form != "" {
				if o.Form, ok = radio.ParseForm(form); !ok {
					return usageError{fmt.Errorf("--form %s: want legacy or protected", form)}
				}
			}
			if layer != "" {
				if o.Layer, ok = radio.ParseLayer(layer); !ok {
					return usageError{fmt.Errorf("--as %s: want hci, air or frames", layer)}
				}
			}
			r, err := radio.Play(o)
			if err != nil {
				return usageError{err}
			}
			f := radio.FormatOf(o.Layer, out)
			f.Link, f.Decrypted = wire.LinkType(link), decrypted
			var b bytes.Buffer
			if err := r.Write(&b, f); err != nil {
				return usageError{err}
			}
			if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
				return err
			}
			c.hint("wrote %s; 'myelin assess %s' reads it", out, out)
			return nil
		},
	}
	v.Flags().StringVar(&device, "device", "", "play this `NAME`: "+strings.Join(radio.Devices(), ", "))
	v.Flags().StringVar(&scenario, "scenario", "", "play the story of this `NAME`")
	v.Flags().StringVar(&form, "form", "", "of the device, a `FORM`: legacy or protected")
	v.Flags().StringVar(&layer, "as", "", "record as `LAYER`: hci, air or frames")
	v.Flags().Uint16Var(&link, "link", 0, "write this link `TYPE`: 187 or 201 (hci), 251, 256 or 272 (air)")
	v.Flags().BoolVar(&decrypted, "decrypted", false, "the sniffer has the keys of the pairings that it hears")
	v.Flags().Uint64Var(&seed, "seed", 0, "a `NUMBER` for other keys and other chance")
	v.Flags().StringVar(&out, "out", "", "write to this `FILE`")
	v.Flags().BoolVar(&list, "list", false, "list devices and scenarios, with the rows of the attack catalogue that they show")
	return v
}

// listScenarios prints the table of stories.
func listScenarios(w io.Writer) error {
	var b bytes.Buffer
	for i := range radio.Scenarios {
		s := &radio.Scenarios[i]
		var rows []string
		for _, r := range radio.Rows {
			if r.Take.Device == s.Device && r.Take.Scenario == s.Name && !slices.Contains(rows, r.ID) {
				rows = append(rows, r.ID)
			}
		}
		if i == 0 || radio.Scenarios[i-1].Device != s.Device {
			fmt.Fprintf(&b, "%s\n", s.Device)
		}
		var how []string
		for _, f := range s.Forms {
			how = append(how, f.String())
		}
		for _, l := range s.Layers {
			how = append(how, l.String())
		}
		fmt.Fprintf(&b, "  %-18s %s (%s)", s.Name, s.About, strings.Join(how, ", "))
		if rows != nil {
			fmt.Fprintf(&b, " %s", strings.Join(rows, " "))
		}
		fmt.Fprintln(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}
