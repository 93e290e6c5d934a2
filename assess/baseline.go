// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/proto"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/watch"
)

// The bounds of what a person wrote. A table of a hundred thousand products
// has some 10 MiB.
const (
	maxBaseline  = 64 << 20
	maxCatalogue = 16 << 20
	maxDialect   = 64 << 10 // as package radio has it
)

// unrecognised is the protocol of sessions whose protocol was not recognised.
const unrecognised = "unknown"

// baselineYAML is a baseline written by a person. docs/baseline.md describes it.
type baselineYAML struct {
	// Allow are the links that are expected. An empty protocol means any.
	Allow []struct {
		Client   string `yaml:"client"`
		Server   string `yaml:"server"`
		Protocol string `yaml:"protocol"`
	} `yaml:"allow"`
	// Guards name the guard in front of a device, by address.
	Guards []struct {
		Device string `yaml:"device"`
		Guard  string `yaml:"guard"`
	} `yaml:"guards"`
	// Destinations are the DICOM application entities that may be sent records.
	Destinations []string `yaml:"destinations"`
}

// baselineJSON is what of an earlier assessment is an expectation.
type baselineJSON struct {
	Schema   int `json:"schema"`
	Sessions []struct {
		Protocol string `json:"protocol"`
		Client   string `json:"client"`
		Server   string `json:"server"`
	} `json:"sessions"`
	Devices []struct {
		Addresses []struct {
			Kind  string `json:"kind"`
			Value string `json:"value"`
		} `json:"addresses"`
	} `json:"devices"`
}

// ReadBaseline reads what is expected: an earlier assessment as JSON, whose
// sessions are then the expected ones, or YAML written by a person.
func ReadBaseline(file string) (*watch.Baseline, error) {
	b, err := readWritten(file, "a baseline", maxBaseline)
	if err != nil {
		return nil, err
	}
	out := &watch.Baseline{Links: map[watch.Link]bool{}, Guards: map[string]string{}, Names: map[string]bool{}}
	if t := bytes.TrimSpace(b); len(t) > 0 && t[0] == '{' {
		var d baselineJSON
		if err := json.Unmarshal(b, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if d.Schema == 0 {
			return nil, fmt.Errorf("%s: not an assessment; make one with 'myelin assess --format json'", file)
		}
		if d.Schema != report.Schema {
			return nil, fmt.Errorf("%s: schema %d; this program reads %d", file, d.Schema, report.Schema)
		}
		for _, s := range d.Sessions {
			out.Links[watch.Link{Client: s.Client, Server: s.Server, Protocol: s.Protocol}] = true
		}
		for _, d := range d.Devices {
			for _, a := range d.Addresses {
				if a.Kind == "aet" {
					out.Names[a.Value] = true
				}
			}
		}
		return out, nil
	}
	var d baselineYAML
	if err := yaml.UnmarshalWithOptions(b, &d, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %s", file, yaml.FormatError(err, false, false))
	}
	// What does not mean anything would allow nothing, and nobody would see why.
	wrong := func(list string, i int, what string) error {
		return fmt.Errorf("%s: %s, entry %d: %s", file, list, i+1, what)
	}
	for i, a := range d.Allow {
		client, ok := canonical(a.Client)
		server, both := canonical(a.Server)
		if !ok || !both {
			return nil, wrong("allow", i, "client and server have to be IP addresses")
		}
		if a.Protocol != "" && a.Protocol != unrecognised && proto.ByName(a.Protocol) == proto.None {
			return nil, wrong("allow", i, "no such protocol: "+a.Protocol)
		}
		out.Links[watch.Link{Client: client, Server: server, Protocol: a.Protocol}] = true
	}
	for i, g := range d.Guards {
		guarded, ok := canonical(g.Device)
		guard, both := canonical(g.Guard)
		if !ok || !both {
			return nil, wrong("guards", i, "device and guard have to be IP addresses")
		}
		out.Guards[guarded] = guard
	}
	for i, name := range d.Destinations {
		if name == "" {
			return nil, wrong("destinations", i, "is empty")
		}
		out.Names[name] = true
	}
	return out, nil
}

// ReadCatalogue reads a user's table of product codes, which
// docs/product-codes.md describes.
func ReadCatalogue(file string) (*device.Catalogue, error) {
	b, err := readWritten(file, "a table of product codes", maxCatalogue)
	if err != nil {
		return nil, err
	}
	c, err := device.ParseCatalogue(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// ReadDialects reads dialects of proprietary radios, which docs/dialects.md
// describes. Each has its own name.
func ReadDialects(files []string) ([]*radio.Dialect, error) {
	if len(files) == 0 {
		return nil, nil // reading those that are built in takes longer than most captures
	}
	var all []*radio.Dialect
	named := map[string]string{}
	for _, d := range radio.Samples() {
		named[d.Name] = "built in"
	}
	for _, file := range files {
		b, err := readWritten(file, "a dialect", maxDialect)
		if err != nil {
			return nil, err
		}
		d, err := radio.Load(file, b)
		if err != nil {
			return nil, err
		}
		if where := named[d.Name]; where != "" {
			return nil, fmt.Errorf("%s: there is another dialect %s (%s); give it another name", file, d.Name, where)
		}
		named[d.Name] = file
		all = append(all, d)
	}
	return all, nil
}

// maxDialectFiles bounds the dialects that are looked at among the inputs: few of
// them are used, and a hostile one takes some time.
const maxDialectFiles = 256

// dialects are those of proprietary radios that lie among the inputs. Nobody
// vouches for them as for those that were named to be dialects.
type dialects struct {
	named []*radio.Dialect
	set   *radio.Set // nil when there are none
	tried int
}

// read takes a dialect.
func (d *dialects) read(in *report.Input, p *Paper, f io.Reader) error {
	p.sifted = true // what is kept has a bound of its own
	if d.tried++; d.tried > maxDialectFiles {
		return fmt.Errorf("more than %d files of dialects", maxDialectFiles)
	}
	if p.papers.count >= p.papers.most {
		return errPapers
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDialect+1))
	if err != nil {
		return err
	}
	one, err := radio.Load(in.Path, b)
	var wrong *radio.LoadError
	if errors.As(err, &wrong) {
		return fmt.Errorf("line %d, column %d: %s", wrong.Line, wrong.Column, wrong.Problem)
	}
	if err != nil {
		return err
	}
	in.Items = len(one.Opcodes)
	in.Note = strings.Join(strings.Fields(one.Name+": "+one.Manufacturer+" "+one.Model), " ")
	if slices.ContainsFunc(d.named, func(n *radio.Dialect) bool { return n.Name == one.Name }) {
		in.Note = one.Name + ": the one that was named counts"
		return nil
	}
	if d.set == nil {
		if d.set, err = setOf(d.named); err != nil {
			return err
		}
	}
	if err := d.set.AddLast(one); err != nil {
		in.Items, in.Note = 0, ""
		return err
	}
	return nil
}

// readWritten reads a file that a person wrote.
func readWritten(file, what string, bound int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, bound+1)) // a device or a pipe has no size
	if err == nil && int64(len(b)) > bound {
		return nil, fmt.Errorf("%s: %s has at most %d bytes", file, what, bound)
	}
	return b, err
}

// canonical returns an IP address as it is written in answers.
func canonical(s string) (string, bool) {
	ip, err := netip.ParseAddr(s)
	return ip.Unmap().String(), err == nil
}
