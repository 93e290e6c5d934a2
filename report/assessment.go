// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package report says an [Assessment] to people and programs: as text, JSON,
// CSV, SARIF 2.1.0 and one self-contained HTML page.
//
// Nothing here decides anything; all orders and words come with the
// assessment or from the tables of package finding.
//
// This API follows the server and may change.
package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// An Assessment is the answer to "what is here, and what could hurt a patient?".
type Assessment struct {
	Version  string // of myelin
	Inputs   []Input
	Devices  []device.Device   // medical ones first, by harm
	Findings []finding.Finding // in the order of urgency
	Sessions []Session
	Cleared  []Cleared // what suppliers say is no finding
	Bills    []Bill    // of materials, in the order of their inputs
	Stats    Stats
}

// A Cleared is a weakness in a product, or in a part of it, of which the
// product's supplier says that it does not concern it.
type Cleared struct {
	Vulnerability string
	Product       string   // maker, model and version
	Component     string   // the part, or ""
	Devices       []string // ids
	Status        string   // OpenVEX's word: "not_affected" or "fixed"
	Justification string   // OpenVEX's word, or ""
	Impact        string   // the same in prose
	Supplier      string
	Document      string // its id
	Time          int64  // of the statement, in nanoseconds since 1970; 0 when it has none
	Input         int    // the document's
}

// A Bill says what is in a bill of materials, and what it lacks of NTIA's
// minimum elements and of FDA's additions.
type Bill struct {
	Input      int
	Product    string // that it is about, or ""
	Components int
	Lacks      []Lack
}

// A Lack is an element that is missing of a bill of materials.
type Lack struct {
	Element    string   // in NTIA's and FDA's words
	FDA        bool     // FDA asks for it, and NTIA does not
	Components int      // that lack it; 0 when the document itself does
	Names      []string // of them, all; nil when each component of the bill lacks it
}

// An Input is one file, stream or interface that was read.
type Input struct {
	Path    string
	Kind    string // "pcap", "pcapng", "btsnoop", "interface", ...; "" when it was not recognised
	Bytes   int64
	Packets uint64 // of a capture
	Items   int    // of a document: components, advisories, devices, as its kind has it
	Note    string // how a register's columns were understood; what a dialect is of
	Error   string // why reading ended early, and where; "" when it did not
	Warning string // what it does not tell, and much depends on; "" is nothing
}

// items names what a document of a kind holds.
var items = map[string]string{
	"cyclonedx": "component", "spdx": "component",
	"csaf": "advisory", "osv": "advisory", "cve": "advisory", "nvd": "advisory",
	"kev": "entry", "epss": "score", "vex": "statement", "openvex": "statement",
	"register": "device", "mds2": "answer", "gudid": "identifier", "classification": "product code", "recalls": "recall",
	"dialect": "opcode",
}

// holds says how much there was in an input.
func (in *Input) holds() string {
	if in.Items > 0 || items[in.Kind] != "" {
		return count(in.Items, cmp.Or(items[in.Kind], "item"))
	}
	return count(in.Packets, "packet")
}

// nothing reports whether neither a packet nor a document could be looked at.
func (a *Assessment) nothing() bool {
	for i := range a.Inputs {
		if a.Inputs[i].Items > 0 {
			return false
		}
	}
	return a.Stats.nothing()
}

// A Session is all conversations of one protocol between two addresses.
type Session struct {
	Protocol       string // package name under proto/; "unknown" when it was not recognised
	Client, Server string
	Port           uint16
	Count, Bytes   uint64
	Encrypted      bool
	Inferred       bool // from the registered port alone
}

// Stats counts what was read, and what was given up while reading.
type Stats struct {
	Packets, Bytes, Flows uint64
	Seconds               float64           // of wall-clock time
	LeftOut               int               // findings that the flags left out
	Lost                  map[string]uint64 // what was not read or not kept, by reason in plain words; only what is not zero
}

// The reasons in Stats.Lost of frames that nobody looked at: whose link type is
// not read, of a radio of which there is no dialect, and those that do not fit
// theirs, which goes on with the field in parentheses.
const (
	NotRead   = "frames of a link type that is not read"
	NoDialect = "frames of a radio that no dialect reads"
	Misfit    = "frames of a radio that are not as their dialect says"
)

// nothing reports whether not a single packet could be looked at.
func (s *Stats) nothing() bool {
	n := s.Lost[NotRead] + s.Lost[NoDialect]
	for why, lost := range s.Lost {
		if strings.HasPrefix(why, Misfit) {
			n += lost
		}
	}
	return s.Packets <= n
}

// Medical returns the medical devices.
func (a *Assessment) Medical() []device.Device {
	var out []device.Device
	for _, d := range a.Devices {
		if d.Medical {
			out = append(out, d)
		}
	}
	return out
}

// Label is what a person calls a device: its name in the register, else its
// application name, the first part of its host name, its address, else its model.
func Label(d *device.Device) string {
	if d.Name != "" {
		return d.Name
	}
	for _, kind := range [...]device.AddressKind{device.AET, device.Host, device.IP, device.EUI64} {
		for _, a := range d.Addresses {
			if a.Kind != kind {
				continue
			}
			name := a.Value
			if kind == device.Host && net.ParseIP(name) == nil {
				name, _, _ = strings.Cut(name, ".")
			}
			if name != "" {
				return name
			}
		}
	}
	for _, a := range d.Addresses {
		if a.OnAir() {
			return strings.TrimSpace(cmp.Or(d.Model, d.Class) + " " + a.Value)
		}
	}
	return cmp.Or(d.Model, d.ID)
}

// The JSON document. Its keys are a promise; see the command's documentation.
type (
	jsonDocument struct {
		Myelin   string        `json:"myelin"`
		Schema   int           `json:"schema"`
		Inputs   []jsonInput   `json:"inputs"`
		Devices  []jsonDevice  `json:"devices"`
		Findings []jsonFinding `json:"findings"`
		Sessions []jsonSession `json:"sessions"`
		Cleared  []jsonCleared `json:"cleared"`
		Bills    []jsonBill    `json:"bills"`
		Stats    jsonStats     `json:"stats"`
	}
	jsonInput struct {
		Path    string `json:"path"`
		Kind    string `json:"kind"`
		Bytes   int64  `json:"bytes"`
		Packets uint64 `json:"packets"`
		Items   int    `json:"items,omitempty"`
		Note    string `json:"note,omitempty"`
		Error   string `json:"error"`
		Warning string `json:"warning,omitempty"`
	}
	jsonAddress struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	}
	jsonDevice struct {
		ID           string        `json:"id"`
		Name         string        `json:"name,omitempty"` // in a register
		Ward         string        `json:"ward,omitempty"`
		Via          *jsonAddress  `json:"via,omitempty"` // the gateway that it is reached through
		Unseen       bool          `json:"unseen,omitempty"`
		Manufacturer string        `json:"manufacturer"`
		Model        string        `json:"model"`
		Version      string        `json:"version"`
		Serial       string        `json:"serial"`
		OS           string        `json:"os"`
		Class        string        `json:"class"`
		Role         string        `json:"role"`
		Therapy      string        `json:"therapy"`
		Harm         string        `json:"harm"`
		Medical      bool          `json:"medical"`
		ProductCode  string        `json:"product_code,omitempty"`
		Confidence   string        `json:"confidence"`
		Addresses    []jsonAddress `json:"addresses"`
		Protocols    []string      `json:"protocols"`
	}
	jsonSSVC struct {
		Exploitation     string `json:"exploitation"`
		Automatable      string `json:"automatable"`
		TechnicalImpact  string `json:"technical_impact"`
		MissionWellBeing string `json:"mission_well_being"`
		HumanImpact      string `json:"human_impact"`
		Action           string `json:"deployer"`

		From jsonSources `json:"sources,omitzero"`
	}
	jsonSources struct {
		Exploitation    finding.Source `json:"exploitation,omitempty"`
		Automatable     finding.Source `json:"automatable,omitempty"`
		TechnicalImpact finding.Source `json:"technical_impact,omitempty"`
	}
	jsonScore struct {
		Version string   `json:"version"`
		Vector  string   `json:"vector"`
		Base    *float64 `json:"base"`
		Source  string   `json:"source"`
	}
	jsonSighting struct {
		Time   string `json:"time"`
		Input  string `json:"input"`
		Packet uint64 `json:"packet"`
		Offset int    `json:"offset"`
		Note   string `json:"note"`
	}
	jsonFinding struct {
		ID         string         `json:"id"`
		Kind       string         `json:"kind"`
		Title      string         `json:"title"`
		Device     string         `json:"device"`
		Product    string         `json:"product"`
		Peer       string         `json:"peer"`
		Peers      []string       `json:"peers"`
		Protocol   string         `json:"protocol"`
		Therapy    string         `json:"therapy"`
		Harm       string         `json:"harm"`
		Privacy    bool           `json:"privacy,omitempty"`
		Decision   string         `json:"decision"`
		SSVC       jsonSSVC       `json:"ssvc"`
		Exposure   string         `json:"exposure"`
		Confidence string         `json:"confidence"`
		Certainty  string         `json:"certainty,omitempty"`
		State      string         `json:"state"`
		Count      uint64         `json:"count"`
		Subjects   int            `json:"subjects"`
		First      string         `json:"first"`
		Last       string         `json:"last"`
		Advisories []string       `json:"advisories"`
		CVE        []string       `json:"cve"`
		CWE        []string       `json:"cwe"`
		Attack     []string       `json:"attack"`
		References []string       `json:"references"`
		Component  string         `json:"component,omitempty"`
		CVSS       []jsonScore    `json:"cvss,omitempty"`
		Rubric     string         `json:"rubric,omitempty"`
		EPSS       float64        `json:"epss,omitempty"`
		KEV        bool           `json:"kev,omitempty"`
		Why        []string       `json:"why,omitempty"`
		Opinions   []string       `json:"opinions,omitempty"`
		Sightings  []jsonSighting `json:"sightings"`
		Advice     string         `json:"advice"`
	}
	jsonSession struct {
		Protocol  string `json:"protocol"`
		Client    string `json:"client"`
		Server    string `json:"server"`
		Port      uint16 `json:"port"`
		Count     uint64 `json:"count"`
		Bytes     uint64 `json:"bytes"`
		Encrypted bool   `json:"encrypted"`
		Inferred  bool   `json:"inferred"`
	}
	jsonCleared struct {
		Vulnerability string   `json:"vulnerability"`
		Product       string   `json:"product"`
		Component     string   `json:"component,omitempty"`
		Devices       []string `json:"devices"`
		Status        string   `json:"status"`
		Justification string   `json:"justification,omitempty"`
		Impact        string   `json:"impact,omitempty"`
		Supplier      string   `json:"supplier"`
		Document      string   `json:"document"`
		Time          string   `json:"time"`
		Input         string   `json:"input"`
	}
	jsonBill struct {
		Input      string     `json:"input"`
		Product    string     `json:"product"`
		Components int        `json:"components"`
		Lacks      []jsonLack `json:"lacks"`
	}
	jsonLack struct {
		Element    string   `json:"element"`
		FDA        bool     `json:"fda,omitempty"`
		Components int      `json:"components"`
		Names      []string `json:"names,omitempty"`
	}
	jsonStats struct {
		Packets uint64            `json:"packets"`
		Bytes   uint64            `json:"bytes"`
		Flows   uint64            `json:"flows"`
		Seconds float64           `json:"seconds"`
		LeftOut int               `json:"left_out"`
		Lost    map[string]uint64 `json:"lost"`
	}
)

// Schema is the version of the JSON document. It grows when a key changes its meaning.
const Schema = 1

// JSON writes the assessment as one document, a line for each thing in it: it
// can be as large as the network, and is never held in memory as a whole.
func JSON(w io.Writer, a *Assessment) error {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(PlainJSON(b)) // ends each value with a line feed
	e.SetEscapeHTML(false)
	var errs [8]error
	b.WriteString("{\n\"myelin\": ")
	errs[5] = e.Encode(a.Version)
	fmt.Fprintf(b, ",\"schema\": %d,\n", Schema)
	errs[0] = jsonList(b, e, "inputs", a.Inputs, func(in *Input) any { return jsonInput(*in) })
	errs[1] = jsonList(b, e, "devices", a.Devices, func(d *device.Device) any { return deviceJSON(d) })
	errs[2] = jsonList(b, e, "findings", a.Findings, func(f *finding.Finding) any { return findingJSON(a, f) })
	errs[3] = jsonList(b, e, "sessions", a.Sessions, func(s *Session) any {
		j := jsonSession(*s)
		return &j
	})
	errs[6] = jsonList(b, e, "cleared", a.Cleared, func(c *Cleared) any {
		return &jsonCleared{
			c.Vulnerability, c.Product, c.Component, list(c.Devices), c.Status, c.Justification, c.Impact, c.Supplier, c.Document, stamp(c.Time), a.input(c.Input),
		}
	})
	errs[7] = jsonList(b, e, "bills", a.Bills, func(m *Bill) any {
		j := &jsonBill{a.input(m.Input), m.Product, m.Components, []jsonLack{}}
		for _, l := range m.Lacks {
			j.Lacks = append(j.Lacks, jsonLack(l))
		}
		return j
	})
	b.WriteString("\"stats\": ")
	lost := a.Stats.Lost
	if lost == nil {
		lost = map[string]uint64{}
	}
	errs[4] = e.Encode(jsonStats{a.Stats.Packets, a.Stats.Bytes, a.Stats.Flows, a.Stats.Seconds, a.Stats.LeftOut, lost})
	b.WriteString("}\n")
	return errors.Join(errors.Join(errs[:]...), b.Flush())
}

func jsonList[T any](b *bufio.Writer, e *json.Encoder, name string, list []T, of func(*T) any) error {
	fmt.Fprintf(b, "%q: [", name)
	for i := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		if err := e.Encode(of(&list[i])); err != nil {
			return err
		}
	}
	_, err := b.WriteString("],\n")
	return err
}

func deviceJSON(d *device.Device) *jsonDevice {
	j := &jsonDevice{
		ID: d.ID, Name: d.Name, Ward: d.Ward, Unseen: d.Unseen, Manufacturer: d.Manufacturer, Model: d.Model, Version: d.Version, Serial: d.Serial, OS: d.OS,
		Class: d.Class, Role: d.Role, Therapy: d.Therapy.String(), Harm: d.Harm.String(), Medical: d.Medical,
		ProductCode: d.ProductCode, Confidence: d.Confidence.String(), Addresses: []jsonAddress{}, Protocols: d.Protocols,
	}
	if d.Via.Kind != device.NoAddress {
		j.Via = &jsonAddress{d.Via.Kind.String(), d.Via.Value}
	}
	for _, a := range d.Addresses {
		j.Addresses = append(j.Addresses, jsonAddress{a.Kind.String(), a.Value})
	}
	if j.Protocols == nil {
		j.Protocols = []string{}
	}
	return j
}

// exposure is SSVC's word, and what was seen of it.
func exposure(f *finding.Finding) string {
	if f.Exposed == "" {
		return f.SSVC.Exposure
	}
	return f.SSVC.Exposure + ", " + f.Exposed
}

func findingJSON(a *Assessment, f *finding.Finding) *jsonFinding {
	k := &finding.Kinds[f.Kind]
	j := &jsonFinding{
		ID: f.ID, Kind: f.Kind.String(), Title: f.Title, Device: f.Device, Product: f.Product, Peer: f.Peer, Peers: list(f.Peers), Protocol: f.Protocol,
		Therapy: f.Therapy.String(), Harm: f.Harm.String(), Decision: f.Decision.String(),
		Privacy:  f.Privacy,
		SSVC:     jsonSSVC{f.SSVC.Exploitation, f.SSVC.Automatable, f.SSVC.TechnicalImpact, f.SSVC.MissionWellBeing, f.SSVC.HumanImpact, f.SSVC.Action, jsonSources(f.SSVC.From)},
		Exposure: exposure(f), Confidence: f.Confidence.String(), Certainty: f.Certainty, State: f.State,
		Count: f.Count, Subjects: f.Subjects, First: stamp(f.First), Last: stamp(f.Last),
		Advisories: list(f.Advisories), CVE: list(f.CVE), CWE: list(cwe(f)), Attack: list(k.Attack), References: list(k.References),
		Component: f.Component, Rubric: f.Rubric, EPSS: f.EPSS, KEV: f.KEV, Why: f.Why, Opinions: f.Opinions,
		Sightings: []jsonSighting{}, Advice: f.Advice,
	}
	for i := range f.CVSS {
		s := &f.CVSS[i]
		score := jsonScore{Version: s.Version, Vector: s.Vector, Source: s.Source}
		if s.Base >= 0 {
			score.Base = &s.Base
		}
		j.CVSS = append(j.CVSS, score)
	}
	for _, s := range f.Sightings {
		j.Sightings = append(j.Sightings, jsonSighting{stamp(s.Time), a.input(s.Input), s.Packet, s.Offset, s.Note})
	}
	return j
}

// cwe returns the weaknesses as published, or those of the kind.
func cwe(f *finding.Finding) []string {
	if len(f.CWE) > 0 {
		return f.CWE
	}
	return finding.Kinds[f.Kind].CWE
}

func (a *Assessment) input(i int) string {
	if i < 0 || i >= len(a.Inputs) {
		return ""
	}
	return a.Inputs[i].Path
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// stamp writes nanoseconds since 1970 as RFC 3339 in UTC, and 0, which is no
// time, as nothing.
func stamp(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z")
}
