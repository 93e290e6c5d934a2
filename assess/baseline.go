// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/myelin-health/myelin/watch"
)

// maxBaseline bounds a baseline file.
const maxBaseline = 64 << 20

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
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxBaseline {
		return nil, fmt.Errorf("%s: %d bytes; a baseline has at most %d", file, st.Size(), maxBaseline)
	}
	b, err := os.ReadFile(file)
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
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i, a := range d.Allow {
		if a.Client == "" || a.Server == "" {
			return nil, fmt.Errorf("%s: allow, entry %d: needs client and server", file, i+1)
		}
		out.Links[watch.Link{Client: a.Client, Server: a.Server, Protocol: a.Protocol}] = true
	}
	for i, g := range d.Guards {
		if g.Device == "" || g.Guard == "" {
			return nil, fmt.Errorf("%s: guards, entry %d: needs device and guard", file, i+1)
		}
		out.Guards[g.Device] = g.Guard
	}
	for _, name := range d.Destinations {
		out.Names[name] = true
	}
	return out, nil
}
