// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// The bounds of a document that is read.
const (
	maxDocument = 1 << 30 // bytes: 100,000 devices and their findings take a tenth
	maxDepth    = 8       // the document has 5
)

// ReadJSON reads what [JSON] wrote: the same assessment. The ATT&CK ids come from
// the table of kinds, as do CWE ids where they are the kind's. It is strict: a key that is unknown or
// comes twice, or a word that stands in none of our tables, is an error.
func ReadJSON(r io.Reader) (*Assessment, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxDocument {
		return nil, fmt.Errorf("the document is larger than %s", size(int64(maxDocument)))
	}
	if err := checkKeys(b); err != nil {
		return nil, err
	}
	var doc jsonDocument
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if doc.Schema != Schema {
		return nil, fmt.Errorf("schema %d: this program reads %d", doc.Schema, Schema)
	}
	a := &Assessment{
		Version: doc.Myelin,
		Stats:   Stats{doc.Stats.Packets, doc.Stats.Bytes, doc.Stats.Flows, doc.Stats.Seconds, doc.Stats.LeftOut, doc.Stats.Lost},
	}
	inputs := map[string]int{}
	for i, in := range doc.Inputs {
		a.Inputs = append(a.Inputs, Input(in))
		if _, ok := inputs[in.Path]; !ok {
			inputs[in.Path] = i
		}
	}
	for i := range doc.Devices {
		d, err := doc.Devices[i].device()
		if err != nil {
			return nil, fmt.Errorf("devices[%d]: %w", i, err)
		}
		a.Devices = append(a.Devices, d)
	}
	for i := range doc.Findings {
		f, err := doc.Findings[i].finding(inputs)
		if err != nil {
			return nil, fmt.Errorf("findings[%d]: %w", i, err)
		}
		a.Findings = append(a.Findings, f)
	}
	for _, s := range doc.Sessions {
		a.Sessions = append(a.Sessions, Session(s))
	}
	for _, m := range doc.Bills {
		b := Bill{Input: -1, Product: m.Product, Components: m.Components}
		if i, ok := inputs[m.Input]; ok {
			b.Input = i
		}
		for _, l := range m.Lacks {
			b.Lacks = append(b.Lacks, Lack(l))
		}
		a.Bills = append(a.Bills, b)
	}
	for i, c := range doc.Cleared {
		at, err := unstamp("time", c.Time)
		if err != nil {
			return nil, fmt.Errorf("cleared[%d]: %w", i, err)
		}
		input, ok := inputs[c.Input]
		if !ok {
			input = -1
		}
		a.Cleared = append(a.Cleared, Cleared{
			c.Vulnerability, c.Product, c.Component, some(c.Devices), c.Status, c.Justification, c.Impact, c.Supplier, c.Document, at, input,
		})
	}
	return a, nil
}

// checkKeys refuses what the decoder lets pass: a key that comes twice, or
// differs in case only, of which another reader may believe the other one;
// nesting without end; and anything behind the document.
func checkKeys(b []byte) error {
	type level struct {
		keys map[string]bool // nil in an array
		key  bool            // a key is next
	}
	var stack []level
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		t, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		top := len(stack) - 1
		switch t := t.(type) {
		case json.Delim:
			if t == '}' || t == ']' {
				stack = stack[:top]
				break
			}
			if top >= 0 {
				stack[top].key = true
			}
			if len(stack) == maxDepth {
				return fmt.Errorf("byte %d: nested too deeply", d.InputOffset())
			}
			l := level{}
			if t == '{' {
				l = level{map[string]bool{}, true}
			}
			stack = append(stack, l)
		case string:
			if top >= 0 && stack[top].keys != nil && stack[top].key {
				folded := strings.ToLower(t)
				if stack[top].keys[folded] {
					return fmt.Errorf("byte %d: a key comes twice", d.InputOffset())
				}
				stack[top].keys[folded] = true
				stack[top].key = false
				continue
			}
			if top >= 0 {
				stack[top].key = true
			}
		default:
			if top >= 0 {
				stack[top].key = true
			}
		}
		if len(stack) == 0 {
			if _, err := d.Token(); !errors.Is(err, io.EOF) {
				return fmt.Errorf("byte %d: something follows the document", d.InputOffset())
			}
			return nil
		}
	}
}

// A word looks a name up in one of our tables; "" is the zero value.
func word[T any](key, name string, parse func(string) (T, bool)) (v T, err error) {
	if name == "" {
		return v, nil
	}
	v, ok := parse(name)
	if !ok {
		return v, fmt.Errorf("%s: %.40q is not known", key, name)
	}
	return v, nil
}

// parseName is the inverse of a String method over a small table.
func parseName[T ~uint8](name string, last T, text func(T) string) (T, bool) {
	for v := range last + 1 {
		if text(v) == name {
			return v, true
		}
	}
	return 0, false
}

func parseConfidence(s string) (device.Confidence, bool) {
	return parseName(s, device.High, device.Confidence.String)
}

func parseAddressKind(s string) (device.AddressKind, bool) {
	return parseName(s, device.Radio, device.AddressKind.String)
}

func (j *jsonDevice) device() (device.Device, error) {
	therapy, errT := word("therapy", j.Therapy, device.ParseTherapy)
	harm, errH := word("harm", j.Harm, device.ParseHarm)
	confidence, errC := word("confidence", j.Confidence, parseConfidence)
	d := device.Device{
		ID: j.ID, Name: j.Name, Ward: j.Ward, Unseen: j.Unseen, OS: j.OS, Serial: j.Serial, Medical: j.Medical, Confidence: confidence, Role: j.Role,
		Product: device.Product{
			Manufacturer: j.Manufacturer, Model: j.Model, Version: j.Version, Class: j.Class, Therapy: therapy, Harm: harm,
			ProductCode: j.ProductCode,
		},
		Protocols: some(j.Protocols),
	}
	if j.Via != nil {
		kind, err := word("via", j.Via.Kind, parseAddressKind)
		if err != nil {
			return d, err
		}
		d.Via = device.Address{Kind: kind, Value: j.Via.Value}
	}
	for _, a := range j.Addresses {
		kind, err := word("addresses", a.Kind, parseAddressKind)
		if err != nil {
			return d, err
		}
		d.Addresses = append(d.Addresses, device.Address{Kind: kind, Value: a.Value})
	}
	return d, cmp.Or(errT, errH, errC)
}

// some is the inverse of list.
func some(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return s
}

func (j *jsonFinding) finding(inputs map[string]int) (finding.Finding, error) {
	kind, ok := finding.ParseKind(j.Kind)
	if !ok {
		return finding.Finding{}, fmt.Errorf("kind: %.40q is not known", j.Kind)
	}
	decision, ok := finding.ParseDecision(j.Decision)
	if !ok {
		return finding.Finding{}, fmt.Errorf("decision: %.40q is not known", j.Decision)
	}
	if len(j.Sightings) > finding.MaxSightings {
		return finding.Finding{}, fmt.Errorf("sightings: %d, more than %d", len(j.Sightings), finding.MaxSightings)
	}
	if j.Subjects < 0 {
		return finding.Finding{}, errors.New("subjects: negative")
	}
	if j.EPSS < 0 || j.EPSS > 1 {
		return finding.Finding{}, errors.New("epss: not between 0 and 1")
	}
	therapy, errT := word("therapy", j.Therapy, device.ParseTherapy)
	harm, errH := word("harm", j.Harm, device.ParseHarm)
	confidence, errC := word("confidence", j.Confidence, parseConfidence)
	first, errF := unstamp("first", j.First)
	last, errL := unstamp("last", j.Last)
	open, seen, _ := strings.Cut(j.Exposure, ", ")
	f := finding.Finding{
		Exposed: seen,
		ID:      j.ID, Kind: kind, Title: j.Title, Device: j.Device, Product: j.Product, Peer: j.Peer, Peers: some(j.Peers), Protocol: j.Protocol, Therapy: therapy, Harm: harm,
		Privacy: j.Privacy || finding.Kinds[kind].Group == finding.PatientData, Decision: decision,
		SSVC: finding.SSVC{
			Exploitation: j.SSVC.Exploitation, Automatable: j.SSVC.Automatable, TechnicalImpact: j.SSVC.TechnicalImpact,
			MissionWellBeing: j.SSVC.MissionWellBeing, Exposure: open, HumanImpact: j.SSVC.HumanImpact, Action: j.SSVC.Action,
			From: finding.Sources(j.SSVC.From),
		},
		Confidence: confidence, Certainty: j.Certainty, State: j.State, Count: j.Count, Subjects: j.Subjects,
		First: first, Last: last, Advisories: some(j.Advisories), CVE: some(j.CVE), Advice: j.Advice,
		Component: j.Component, Rubric: j.Rubric, EPSS: j.EPSS, KEV: j.KEV, Why: some(j.Why), Opinions: some(j.Opinions),
	}
	if !slices.Equal(j.CWE, finding.Kinds[kind].CWE) {
		f.CWE = some(j.CWE)
	}
	for _, s := range j.CVSS {
		score := finding.Score{Version: s.Version, Vector: s.Vector, Base: -1, Source: s.Source}
		if s.Base != nil {
			score.Base = *s.Base
		}
		if s.Base != nil && (score.Base < 0 || score.Base > 10) {
			return f, errors.New("cvss: base is not between 0 and 10")
		}
		f.CVSS = append(f.CVSS, score)
	}
	for _, s := range j.Sightings {
		at, err := unstamp("sightings: time", s.Time)
		if err != nil {
			return f, err
		}
		input, ok := inputs[s.Input]
		if !ok {
			input = -1
		}
		f.Sightings = append(f.Sightings, finding.Sighting{Time: at, Input: input, Packet: s.Packet, Offset: s.Offset, Note: s.Note})
	}
	return f, cmp.Or(errT, errH, errC, errF, errL)
}

// unstamp is the inverse of stamp.
func unstamp(key, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("%s: not a time of RFC 3339", key)
	}
	if ns := t.UnixNano(); time.Unix(0, ns).Equal(t) {
		return ns, nil
	}
	return 0, fmt.Errorf("%s: out of range", key)
}
