// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

var formats = map[string]func(io.Writer, *Assessment) error{"text": Text, "json": JSON, "csv": CSV, "sarif": SARIF, "html": HTML}

func TestSARIFFollowsSchema(t *testing.T) {
	file := filepath.Join("..", "..", "shared", "schemas", "sarif", "sarif-schema-2.1.0.json")
	if _, err := os.Stat(file); err != nil {
		t.Skip("the schema of SARIF 2.1.0 is not here: ", file)
	}
	schema, err := jsonschema.NewCompiler().Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	marked := sampleWard()
	marked.Findings[0].State = "false-positive"
	marked.Findings[1].Sightings = nil
	marked.Inputs[0].Path = "/srv/captures/a b:c%.pcap"
	marked.Inputs[1].Path = "-"
	for name, a := range map[string]*Assessment{"ward": sampleWard(), "hostile": hostileWard(), "marked": marked, "empty": {}} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(write(t, SARIF, a)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A document's words are in a title and a note; a viewer shows them as they are.
func TestSARIFHasNoControlCharacters(t *testing.T) {
	a := sampleWard()
	const bad = "\x1b[2J\u202epwn"
	a.Inputs[0].Error = bad
	a.Findings[0].Title, a.Findings[0].Sightings[0].Note = bad, bad
	var doc sarifLog
	if err := json.Unmarshal(write(t, SARIF, a), &doc); err != nil {
		t.Fatal(err)
	}
	run := doc.Runs[0]
	texts := []string{run.Results[0].Message.Text, run.Results[0].Locations[0].Message.Text, run.Invocations[0].Notifications[0].Message.Text}
	for _, s := range texts {
		if !strings.Contains(s, "pwn") || strings.ContainsAny(s, "\x1b\u202e") {
			t.Errorf("%q", s)
		}
	}
}

func TestSARIF(t *testing.T) {
	var doc sarifLog
	a := sampleWard()
	if err := json.Unmarshal(write(t, SARIF, a), &doc); err != nil {
		t.Fatal(err)
	}
	run := doc.Runs[0]
	rank := 101.0
	if n := len(run.Results) - len(a.Findings); n != len(a.Cleared) {
		t.Fatalf("%d results besides findings, want %d", n, len(a.Cleared))
	}
	for _, r := range run.Results[len(a.Findings):] { // what suppliers cleared
		if len(r.Suppressions) != 1 || r.Suppressions[0].Status != "accepted" || !strings.Contains(r.Suppressions[0].Justification, "Norra Medical, NORRA-VEX-2026-01, 2026-03-02") && !strings.HasPrefix(r.Suppressions[0].Justification, "fixed; Veltis") {
			t.Errorf("%s: %+v", r.Message.Text, r.Suppressions)
		}
	}
	for i, r := range run.Results[:len(a.Findings)] {
		f := &a.Findings[i]
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.RuleID != f.Kind.String() {
			t.Errorf("%s: rule %d is not that of the kind", r.RuleID, r.RuleIndex)
		}
		if r.Rank >= rank {
			t.Errorf("rank %v does not come after %v", r.Rank, rank)
		}
		rank = r.Rank
		if want := map[finding.Decision]string{finding.Act: "error", finding.Attend: "warning", finding.TrackStar: "note", finding.Track: "note"}[f.Decision]; r.Level != want {
			t.Errorf("%s: level %s for %s", f.ID, r.Level, f.Decision)
		}
		if l := r.Locations[0]; (l.Frame != nil) != (f.Sightings[0].Packet > 0) || l.Frame != nil && l.Frame.Packet != f.Sightings[0].Packet || l.Physical.Artifact.URI != a.Inputs[f.Sightings[0].Input].Path {
			t.Errorf("%s: leads to %+v", f.ID, l)
		}
	}
	if run.Invocations[0].ExecutionSuccessful {
		t.Error("an input was cut, and the run is called a success")
	}
}

func TestURI(t *testing.T) {
	for path, want := range map[string]string{
		"a.pcap": "a.pcap", "x/a b.pcap": "x/a%20b.pcap", "/srv/a.pcap": "file:///srv/a.pcap", "a:b.pcap": "./a:b.pcap", "-": "-", "50%.pcap": "50%25.pcap",
	} {
		if got := uri(path); got != want {
			t.Errorf("uri(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestCSV(t *testing.T) {
	a := hostileWard()
	for i, evil := range []string{"=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "a,\"b\"\r\nc"} {
		a.Findings[i].Title = evil
	}
	rows, err := csv.NewReader(bytes.NewReader(write(t, CSV, a))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(a.Findings)+1 {
		t.Fatalf("%d rows for %d findings", len(rows), len(a.Findings))
	}
	for _, row := range rows {
		if len(row) != len(columns) {
			t.Fatalf("%d cells, want %d", len(row), len(columns))
		}
		for _, c := range row {
			if c != "" && strings.ContainsAny(c[:1], "=+-@\t\r") {
				t.Errorf("a spreadsheet would run %q", c)
			}
		}
	}
	if got := rows[1][2]; got != "'=HYPERLINK(1)" {
		t.Errorf("title %q", got)
	}
	if bytes.Contains(bytes.ReplaceAll(write(t, CSV, sampleWard()), []byte("\r\n"), nil), []byte("\n")) {
		t.Error("a line does not end as RFC 4180 section 2 wants")
	}
}

// TestColumns: the columns are the keys of the JSON document, and the label.
func TestColumns(t *testing.T) {
	doc := string(write(t, JSON, sampleWard()))
	for _, c := range columns {
		if c != "label" && c != "certainty" && !strings.Contains(doc, `"`+c+`":`) {
			t.Errorf("column %s is no key of the document", c)
		}
	}
}

// wideText writes text where sentences have room.
func wideText(w io.Writer, a *Assessment) error { return TextWide(w, a, widest) }

// TestWholeWords: no address, id or place is broken, however narrow the screen.
func TestWholeWords(t *testing.T) {
	a := sampleWard()
	for i := range a.Devices {
		a.Devices[i].Addresses = append(a.Devices[i].Addresses, device.Address{Kind: device.MAC, Value: fmt.Sprintf("00:00:5e:00:53:%02x", i)})
	}
	short := ShortIDs(a.Findings)
	for _, width := range []int{80, 100, 120} {
		text := string(write(t, func(w io.Writer, a *Assessment) error { return TextWide(w, a, width) }, a))
		for i := range a.Findings {
			if !strings.Contains(text, short[a.Findings[i].ID]) {
				t.Errorf("at %d the id %s is broken", width, short[a.Findings[i].ID])
			}
		}
		for i := range a.Devices {
			if d := &a.Devices[i]; d.Medical {
				for _, address := range addresses(d, 3)[:min(3, len(addresses(d, 3)))] {
					if !strings.Contains(text, address) {
						t.Errorf("at %d the address %s is broken", width, address)
					}
				}
			}
		}
	}
}

func TestWrap(t *testing.T) {
	for in, want := range map[string]string{
		"one two three":      "one two\nthree",
		"a 00:00:5e:00:53:1": "a\n00:00:5e:\n00:53:1",
		"to\u00a010.2 x":     "to 10.2 x",
		"x to\u00a010.20.3":  "x\nto 10.20.\n3",
		"four\n\nfive ":      "four\n\nfive",
		"病院病院病院":             "病院病院\n病院",
	} {
		if got := wrap(in, 9); got != want {
			t.Errorf("wrap(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTextWidth(t *testing.T) {
	for name, a := range map[string]*Assessment{"ward": sampleWard(), "hostile": hostileWard(), "large": largeWard(3000), "empty": {}} {
		for _, width := range []int{60, 100, 120} {
			wide := write(t, func(w io.Writer, a *Assessment) error { return TextWide(w, a, width) }, a)
			for line := range strings.Lines(string(wide)) {
				if n := utf8.RuneCountInString(line) - 1; n > width && !strings.HasPrefix(line, "Next: ") {
					t.Errorf("%s: %d of %d columns: %s", name, n, width, line)
				}
			}
		}
		text := string(write(t, Text, a))
		lines := strings.Split(text, "\n")
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > 140 || n > 80 && !strings.HasPrefix(line, "Next: ") {
				t.Errorf("%s: %d columns: %s", name, n, line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%s: blanks at the end of %q", name, line)
			}
		}
		if !strings.Contains(text, "\nNext: myelin ") && name != "empty" {
			t.Errorf("%s: the last line is %q", name, lines[len(lines)-2])
		}
		if strings.ContainsAny(text, "\x1b\u202e\r\a") {
			t.Errorf("%s: something in it moves the cursor or the direction", name)
		}
		if len(lines) > 2500 {
			t.Errorf("%s: %d lines", name, len(lines))
		}
	}
}

func TestAnswer(t *testing.T) {
	ward := sampleWard()
	only := func(keep func(*finding.Finding) bool) *Assessment {
		a := *ward
		a.Inputs, a.Findings = ward.Inputs[:1], nil
		for i := range ward.Findings {
			if keep(&ward.Findings[i]) {
				a.Findings = append(a.Findings, ward.Findings[i])
			}
		}
		return &a
	}
	calm := only(func(f *finding.Finding) bool { return f.Decision <= finding.TrackStar })
	cut := *calm
	cut.Inputs = ward.Inputs
	bare := *calm
	bare.Devices = nil
	bluetooth, partly := bare, bare
	bluetooth.Stats = Stats{Packets: 9, Lost: map[string]uint64{NotRead: 9}}
	partly.Stats = Stats{Packets: 9, Lost: map[string]uint64{NotRead: 4, NoDialect: 4}}
	frames := bare
	frames.Stats = Stats{Packets: 9, Lost: map[string]uint64{NoDialect: 6, Misfit + " (crc)": 3}}
	if got, want := newDigest(&frames).answer(), newDigest(&Assessment{}).answer(); got != want {
		t.Errorf("of frames of an unknown radio: %q, want %q", got, want)
	}
	for want, a := range map[string]*Assessment{
		"2 devices need action now: gw-icu (10.20.3.10) and 10.20.8.99.":                                                          ward,
		"1 device needs action now: gw-icu (10.20.3.10).":                                                                         only(func(f *finding.Finding) bool { return f.Kind == finding.TherapyCommandUnexpectedSender }),
		"Nothing here needs action now; 5 devices need attention soon: gw-icu (10.20.3.10), pump-3, CT1 (10.20.8.11) and 2 more.": only(func(f *finding.Finding) bool { return f.Decision < finding.Act }),
		"Nothing here needs action now.":                                                                                          calm,
		"Nothing in what could be read needs action now.":                                                                         &cut,
		"Nothing here needs action now, and no medical device was seen.":                                                          &bare,
		"Nothing can be said: no packet could be read.":                                                                           {},
		"Nothing in what could be read needs action now, and no medical device was seen.":                                         &partly,
	} {
		if got := newDigest(a).answer(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got, want := newDigest(&bluetooth).answer(), newDigest(&Assessment{}).answer(); got != want {
		t.Errorf("of frames of an unread link type: %q, want %q", got, want)
	}
}

// TestPapers: of papers alone it is products that need attention, nobody counts
// packets, and what is certain is 100 %.
func TestPapers(t *testing.T) {
	a := &Assessment{
		Inputs: []Input{{Path: "a.cdx.json", Kind: "cyclonedx", Items: 1}},
		Findings: []finding.Finding{{
			Kind: finding.KnownExploited, Product: "Flow 500", Decision: finding.Attend, EPSS: 0.99999,
			CVSS: []finding.Score{{Version: "3.1", Vector: "a", Base: 9, Source: "N"}, {Version: "3.1", Vector: "b", Base: 9, Source: "N"}},
		}},
	}
	got := string(write(t, Text, a))
	for _, want := range []string{"1 product needs attention soon: Flow 500.", "1 input, no capture among them", "of 100 % (EPSS)"} {
		if !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if page := string(write(t, HTML, a)); strings.Count(page, "<bdi>Flow 500</bdi>") != 1 {
		t.Errorf("the page names a product beside itself:\n%s", page)
	}
	if n := strings.Count(got, "CVSS 3.1"); n != 1 || strings.Contains(got, "packet") {
		t.Errorf("a score is said %d times:\n%s", n, got)
	}
}

// largeWard has n devices, a finding for each, and a session from each to the next.
func largeWard(n int) *Assessment {
	a := sampleWard()
	find := a.Findings[0]
	for i := range n {
		ip := fmt.Sprintf("10.%d.%d.%d", 32+i>>16, i>>8&255, i&255)
		d := device.Device{
			ID: device.IDOf("large", ip), Confidence: device.Medium, Protocols: []string{"hl7"},
			Addresses: []device.Address{{Kind: device.IP, Value: ip}},
		}
		if i%3 == 0 {
			d.Medical, d.Therapy, d.Class, d.Harm = true, device.DrugInfusion, "infusion pump", device.Catastrophic
		}
		a.Devices = append(a.Devices, d)
		f := find
		f.ID, f.Device = finding.IDOf(f.Kind, ip), d.ID
		f.Decision = finding.Decision(3 - 4*i/n)
		a.Findings = append(a.Findings, f)
		next := fmt.Sprintf("10.%d.%d.%d", 32+(i+1)>>16, (i+1)>>8&255, (i+1)&255)
		a.Sessions = append(a.Sessions, Session{Protocol: "hl7", Client: ip, Server: next, Port: 2575, Count: 1, Bytes: uint64(i), Encrypted: i%2 == 0})
	}
	return a
}

// TestLarge: what people read is bounded, whatever the network's size.
func TestLarge(t *testing.T) {
	a := largeWard(100_000)
	page := write(t, HTML, a)
	if len(page) > 8<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	for what, n := range map[string]int{`<article`: pageRows, `<tr id="dev-`: 2 * pageRows, `<rect class="node`: maxMapNodes, `<path class="line`: maxMapEdges + 3} {
		if got := bytes.Count(page, []byte(what)); got > n {
			t.Errorf("%d times %s, want at most %d", got, what, n)
		}
	}
	for _, want := range []string{digits(len(a.Findings)-pageRows) + " more findings", "--format json"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
	links(t, page)
	if n := bytes.Count(write(t, Text, a), []byte("\n")); n > 1500 {
		t.Errorf("the text has %d lines", n)
	}
}

var (
	hrefs = regexp.MustCompile(`href="#([^"]*)"`)
	ids   = regexp.MustCompile(` id="([^"]*)"`)
)

// links checks that every link of a page leads to one place on it.
func links(t *testing.T, page []byte) {
	t.Helper()
	places := map[string]int{}
	for _, m := range ids.FindAllSubmatch(page, -1) {
		places[string(m[1])]++
	}
	for id, n := range places {
		if n > 1 {
			t.Errorf("the id %s comes %d times", id, n)
		}
	}
	for _, m := range hrefs.FindAllSubmatch(page, -1) {
		if places[string(m[1])] == 0 {
			t.Errorf("the link %s leads nowhere", m[1])
			return
		}
	}
}

func TestHTML(t *testing.T) {
	a := sampleWard()
	page := write(t, HTML, a)
	links(t, page)
	for _, d := range a.Devices {
		if !bytes.Contains(page, []byte(Label(&d))) {
			t.Errorf("the page does not name %s", Label(&d))
		}
	}
	for _, f := range a.Findings {
		if want := fmt.Sprintf("frame.number == %d", f.Sightings[0].Packet); f.Sightings[0].Packet > 0 && !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page does not have %q", want)
		}
	}
	// Of a frame log it says the line: no Wireshark opens it.
	for _, f := range radioWard().Findings {
		s, page := f.Sightings[0], write(t, HTML, radioWard())
		if want := fmt.Sprintf("02-attack.jsonl</bdi>, line %d, byte %d of its frame", s.Packet, s.Offset); (s.Input == 1) != bytes.Contains(page, []byte(want)) {
			t.Errorf("input %d: does the page have %q?", s.Input, want)
		}
	}
	for _, never := range []string{"<script", "http://", "https://", " style=", "@import", "url(", " on", "javascript:"} {
		if tag := regexp.MustCompile(`<[^>]*` + regexp.QuoteMeta(never)); never == " on" {
			if m := regexp.MustCompile(`<[a-z][^>]* on[a-z]+=`).Find(page); m != nil {
				t.Errorf("the page has a handler: %s", m)
			}
		} else if bytes.Contains(page, []byte(never)) {
			t.Errorf("the page has %q: %s", never, tag.Find(page))
		}
	}
	if bytes.Contains(write(t, HTML, hostileWard()), []byte("<script")) {
		t.Error("a name became a script")
	}
	if !bytes.Equal(page, write(t, HTML, sampleWard())) {
		t.Error("the same assessment is another page")
	}
}

// TestDeterministic: everything said is the same twice, however maps iterate.
// On paper stands what asks for something to be done; the rest is there in a
// line for each kind, and nothing is left out without a word.
func TestPaper(t *testing.T) {
	for name, a := range map[string]*Assessment{"ward": sampleWard(), "large": largeWard(5000), "empty": {}} {
		p := newPage(newDigest(a))
		full, short := 0, 0
		for i := range p.Findings {
			if !p.Findings[i].Screen {
				full++
				if name == "ward" && i > 0 && p.Findings[i-1].Screen {
					t.Errorf("%s: finding %d is printed in full, and one before it is not", name, i)
				}
			}
		}
		for _, r := range p.Short {
			short += r.n
			if r.Who == "" || r.Do == "" || r.Title == "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if full > paperFindings || full+short != len(a.Findings) || p.Paper.Findings != more(len(a.Findings), full) {
			t.Errorf("%s: %d findings in full and %d in short, of %d; %q", name, full, short, len(a.Findings), p.Paper.Findings)
		}
		if len(p.Short) > len(looks)*len(finding.Kinds) {
			t.Errorf("%s: %d lines", name, len(p.Short))
		}
		rows := 0
		for i := range p.Sessions {
			if !p.Sessions[i].Screen {
				rows++
			}
		}
		if rows > paperSessions || p.Paper.Sessions != more(len(a.Sessions), rows) {
			t.Errorf("%s: %d sessions printed of %d; %q", name, rows, len(a.Sessions), p.Paper.Sessions)
		}
	}
}

func TestDeterministic(t *testing.T) {
	for name, say := range formats {
		first := write(t, say, largeWard(2000))
		for range 3 {
			if !bytes.Equal(first, write(t, say, largeWard(2000))) {
				t.Errorf("%s differs from run to run", name)
				break
			}
		}
	}
}

// TestWardMap: stations of a column do not cover each other, and lines end at them.
func TestWardMap(t *testing.T) {
	for name, a := range map[string]*Assessment{"ward": sampleWard(), "large": largeWard(5000), "hostile": hostileWard()} {
		m := newWardMap(newDigest(a), nil)
		for i, n := range m.Nodes {
			if n.Y < mapTop || n.Y+n.H > m.Height {
				t.Errorf("%s: %s stands outside the picture", name, n.Label)
			}
			for _, o := range m.Nodes[:i] {
				if n.column == o.column && n.Y < o.Y+o.H && o.Y < n.Y+n.H {
					t.Errorf("%s: %s covers %s", name, n.Label, o.Label)
				}
			}
		}
		for _, e := range m.Edges {
			for end, n := range [...]*mapNode{e.a, e.b} {
				if e.y[end] <= n.Y || e.y[end] >= n.Y+n.H {
					t.Errorf("%s: the line %q does not end at %s", name, e.Title, n.Label)
				}
			}
		}
		if len(m.Nodes) > maxMapNodes || len(m.Edges) > maxMapEdges {
			t.Errorf("%s: %d stations and %d lines", name, len(m.Nodes), len(m.Edges))
		}
	}
	if newWardMap(newDigest(&Assessment{}), nil) != nil {
		t.Error("a map of nobody")
	}
}

// A line has the colour of what is found about its protocol, and no other
// line between the same two stations has.
func TestWardMapColours(t *testing.T) {
	station := func(ip string) device.Device {
		return device.Device{ID: device.IDOf("ip", ip), Addresses: []device.Address{{Kind: device.IP, Value: ip}}}
	}
	talk := func(client, server, protocol string, encrypted bool) Session {
		return Session{Protocol: protocol, Client: client, Server: server, Port: 1, Count: 1, Bytes: 9, Encrypted: encrypted}
	}
	const a, b, c = "10.20.8.11", "10.20.8.20", "10.20.8.99"
	found := func(about, peer, protocol string, d finding.Decision) finding.Finding {
		return finding.Finding{Kind: finding.LateralMovement, Device: device.IDOf("ip", about), Peer: peer, Protocol: protocol, Decision: d}
	}
	talks := []Session{talk(a, b, "dicom", false), talk(a, b, "rdp", true), talk(a, b, "tls", true), talk(c, b, "dicom", false)}
	for name, tt := range map[string]struct {
		findings []finding.Finding
		want     string
	}{
		"one protocol":    {[]finding.Finding{found(a, b, "rdp", finding.Act)}, "dicom clear; rdp encrypted act; tls encrypted; dicom clear"},
		"the other way":   {[]finding.Finding{found(b, a, "rdp", finding.Attend)}, "dicom clear; rdp encrypted attend; tls encrypted; dicom clear"},
		"two":             {[]finding.Finding{found(a, b, "rdp", finding.Act), found(a, b, "dicom", finding.Attend)}, "dicom clear attend; rdp encrypted act; tls encrypted; dicom clear"},
		"not urgent":      {[]finding.Finding{found(a, b, "rdp", finding.TrackStar)}, "dicom clear; rdp tls encrypted; dicom clear"},
		"no protocol":     {[]finding.Finding{found(a, b, "", finding.Act)}, "dicom clear act; rdp tls encrypted act; dicom clear"},
		"one never heard": {[]finding.Finding{found(a, b, "smb", finding.Act)}, "dicom clear act; rdp tls encrypted act; dicom clear"},
		"by several senders": {
			[]finding.Finding{{Kind: finding.TherapyCommandUnauthenticated, Device: device.IDOf("ip", b), Peer: a, Peers: []string{a, c}, Protocol: "dicom", Decision: finding.Attend}},
			"dicom clear attend; rdp tls encrypted; dicom clear attend",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newWardMap(newDigest(&Assessment{Devices: []device.Device{station(a), station(b), station(c)}, Findings: tt.findings, Sessions: talks}), nil)
			var got []string
			for _, from := range [...]string{a, c} {
				for _, class := range [...]string{"clear", "encrypted"} {
					for _, protocol := range [...]string{"dicom", "rdp", "tls"} {
						for _, e := range m.Edges {
							if e.Class != class || e.protocols[0] != protocol || e.a.device.Addresses[0].Value != from && e.b.device.Addresses[0].Value != from {
								continue
							}
							line := strings.Join(e.protocols, " ") + " " + e.Class
							if e.Decision != nil {
								line += " " + e.Decision.Word
							}
							got = append(got, line)
						}
					}
				}
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("%s, want %s", s, tt.want)
			}
		})
	}
}

// Hosts on the internet are no stations of the ward: they are counted apart,
// and are one on the map.
func TestOutsideStandsApart(t *testing.T) {
	a := sampleWard()
	stranger := device.Device{ID: "dev-out", Role: device.Outside, Addresses: []device.Address{{Kind: device.IP, Value: "198.51.100.7"}}, Protocols: []string{"tls"}}
	inside := newDigest(a).stations
	a.Devices = append(a.Devices, stranger)
	g := newDigest(a)
	if g.stations != inside || g.outside != 2 {
		t.Errorf("%d stations and %d hosts outside; want %d and 2", g.stations, g.outside, inside)
	}
	m := newWardMap(g, map[string]bool{})
	n := 0
	for _, x := range m.Nodes {
		if x.zone == zoneOutside {
			n++
			if x.members != 2 || x.Label != "Outside" || x.Kind != "2 hosts on the internet" || x.column != rightColumn {
				t.Errorf("%+v", x)
			}
		}
	}
	if n != 1 || !strings.Contains(m.Desc, "; 2 hosts outside.") {
		t.Errorf("%d stations stand for the outside: %s", n, m.Desc)
	}
	text, page := string(write(t, wideText, a)), string(write(t, HTML, a))
	for what, want := range map[string]string{
		text: "5 other stations; talk with 2 hosts outside the hospital", page: `<a href="#outside">2 hosts outside the hospital</a>`,
	} {
		if !strings.Contains(what, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if others, _, _ := strings.Cut(text[strings.Index(text, "OTHER STATIONS"):], "OUTSIDE THE HOSPITAL"); strings.Contains(others, "198.51.100.7") {
		t.Errorf("a host outside among the stations:\n%s", others)
	}
}

// What documents say of a finding is said in every format, and what a finding
// of a wire has not is said in none.
func TestPublished(t *testing.T) {
	a := sampleWard()
	a.Findings = slices.DeleteFunc(a.Findings, func(f finding.Finding) bool { return f.Kind != finding.KnownExploited })
	said := []string{"libtls 1.0.2k", "CVE-2026-1002", "ADA-2026-01", "likely", "package URL pkg:generic/libtls@1.0.2k", "A research group says not affected", "7.5"}
	for name, tt := range map[string]struct {
		say  func(io.Writer, *Assessment) error
		also []string
	}{
		"text":  {Text, []string{"KEV", "94 % (EPSS)", "CVSS 3.1 7.5 (NVD)"}},
		"html":  {HTML, []string{"KEV", "94 % (EPSS)", "CVSS 3.1 7.5 (NVD)", `title="` + certainties["likely"] + `"`, "it is happening (KEV)", "(CVSS)"}},
		"json":  {JSON, []string{`"kev":true`, `"epss":0.94`, `"vector":"CVSS:3.1/AV:N/`, `"sources":{"exploitation":"KEV","automatable":"CVSS","technical_impact":"CVSS"}`, `"privacy":true`, `"items":1404`}},
		"csv":   {CSV, []string{",7.5,CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N,,0.94,yes,"}},
		"sarif": {SARIF, []string{`"kev": true`, `"epss": 0.94`, `"vector": "CVSS:3.1/AV:N/`}},
	} {
		got := string(write(t, tt.say, a))
		plain := strings.Join(strings.Fields(got), " ") // as the text's columns break lines
		for _, want := range append(tt.also, said...) {
			if !strings.Contains(plain, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	a = sampleWard()
	a.Cleared = nil
	a.Findings = slices.DeleteFunc(a.Findings, func(f finding.Finding) bool { return finding.Kinds[f.Kind].Group == finding.KnownWeakness })
	for _, never := range []string{`"kev":`, `"epss":`, `"cvss":`, `"rubric"`, `"why"`, `"opinions"`, `"component"`, `"sources"`} {
		if bytes.Contains(write(t, JSON, a), []byte(never)) {
			t.Errorf("%s is said of what was seen on a wire", never)
		}
	}
}

// Documents alone are an answer, too, and what was only read was never seen.
func TestDocumentsAlone(t *testing.T) {
	a := sampleWard()
	a.Stats, a.Sessions = Stats{}, nil
	a.Inputs = a.Inputs[4:]
	a.Findings = slices.DeleteFunc(a.Findings, func(f finding.Finding) bool { return f.First != 0 })
	for i := range a.Findings {
		for j := range a.Findings[i].Sightings {
			a.Findings[i].Sightings[j].Input -= 4
		}
	}
	text, page, doc := string(write(t, wideText, a)), string(write(t, HTML, a)), string(write(t, JSON, a))
	for _, want := range []string{"2 devices need attention soon: pump-3 and gw-icu", "read in testdata/ward/ada-2026-01.json"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not say %q:\n%s", want, text)
		}
	}
	for _, want := range []string{"Read 5 inputs, and no capture among them.", "1,404 entries", "61 components", "9 devices", "1 advisory", "0 components"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for name, got := range map[string]string{"text": text, "page": page, "document": doc} {
		if strings.Contains(got, "1970") || strings.Contains(got, "00:00:00") {
			t.Errorf("the %s says when what was never seen was seen", name)
		}
	}
	if again, err := ReadJSON(strings.NewReader(doc)); err != nil || again.Findings[0].First != 0 {
		t.Errorf("read again: %v", err)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"CT1": "CT1", "a\x1b[31mb": "a\uFFFD[31mb", "a\nb\tc": "a b c", "x\u202egnp": "x\uFFFDgnp", "\xff\xfe": "\uFFFD", "Zürich 病院": "Zürich 病院", "a\u2028b": "a b",
	} {
		if got := Plain(in); got != want {
			t.Errorf("Plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func BenchmarkHTML(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		a := largeWard(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := HTML(io.Discard, a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleText() {
	a := &Assessment{
		Stats:  Stats{Packets: 120, Bytes: 40_000},
		Inputs: []Input{{Path: "ward.pcap", Kind: "pcap", Bytes: 42_000, Packets: 120}},
	}
	if err := Text(os.Stdout, a); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Nothing here needs action now, and no medical device was seen.
	//
	//   devices   0 medical devices
	//   findings  none
	//   patients  no patient data in clear was seen
	//   read      1 input, 120 packets, 39.1 KiB
	//
	// Next: myelin assess --format json ward.pcap > baseline.json, then --baseline baseline.json the next time
}

func ExampleReadJSON() {
	doc := `{"myelin":"v0.1.0","schema":1,"inputs":[],"devices":[],"findings":[],"sessions":[],"stats":{"packets":1}}`
	a, err := ReadJSON(strings.NewReader(doc))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Version, a.Stats.Packets)
	// Output: v0.1.0 1
}
