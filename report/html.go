// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

var (
	//go:embed style.css
	style string
	//go:embed page.tmpl
	pageText string
)

// pageTemplate is parsed when there is a page to write.
var pageTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Parse(pageText)) })

// How much the page shows, in rows of each list. The JSON has all.
const (
	pageRows  = 1000
	rowLinks  = 4   // findings named in a device's row
	rowPlaces = 6   // addresses named there
	rowWords  = 400 // characters of one name
)

// How much of the page is printed, in rows of each list: what somebody carries
// to a ward. The rest is on the screen, and a sentence on paper says so.
const (
	paperFindings = 24 // in full: those that ask for something to be done
	paperMedical  = 40
	paperStations = 20
	paperSessions = 20
	paperRows     = 12 // of all other lists
	paperNames    = 6  // in a line that stands for several findings
)

// HTML writes the assessment as one self-contained page: no script, nothing
// from elsewhere, the same bytes for the same assessment.
func HTML(w io.Writer, a *Assessment) error {
	b := bufio.NewWriter(w)
	if err := pageTemplate().Execute(b, newPage(newDigest(a))); err != nil {
		return err
	}
	return b.Flush()
}

// A pageData is what the template shows.
type pageData struct {
	Style     template.CSS
	StyleHash string
	Answer    string
	Lead      string
	Worst     *look
	Unread    bool // not a single packet
	Columns   []look
	Matrix    []matrixRow
	Totals    []matrixCell
	Facts     []fact
	Map       *wardMap

	Findings                                                                       []findingRow
	Medical, Stations, Outside                                                     []deviceRow
	Sessions                                                                       []sessionRow
	Inputs                                                                         []inputRow
	Losses                                                                         []lossRow
	Cleared                                                                        []clearedRow
	Bills                                                                          []billRow
	MoreBills                                                                      string
	Clearance, MoreCleared                                                         string
	MoreFindings, MoreMedical, MoreStations, MoreOutside, MoreSessions, MoreInputs string // how many are left out; "" when none
	Version                                                                        string

	Short []shortRow // findings that paper has in short
	Paper paper      // rows that are not printed, by list; "" when none

	shown map[string]bool // devices that have a row
}

type bar struct {
	X  int
	On bool
}

// A harmView is a harm as bars and word.
type harmView struct {
	Bars []bar
	Word string
}

func viewHarm(h device.Harm) harmView {
	v := harmView{Word: harmWord(h)}
	for i := range int(device.Catastrophic) {
		v.Bars = append(v.Bars, bar{i * 8, i < int(h)})
	}
	return v
}

type matrixRow struct {
	Harm  harmView
	Cells []matrixCell
}

type matrixCell struct {
	N                          int
	Class, Link, Shown, Spoken string
}

type fact struct{ Name, Text, Note, Link string }

type answer struct{ Question, Answer, Words, From string }

type findingRow struct {
	ID, Title, Who, Link, Product, Peer, Times, Subjects, When, State string
	Advice, Why, References, Unlisted, Therapy                        string
	Anchors                                                           []string
	Look                                                              look
	Harm                                                              harmView
	Privacy, Review, Screen                                           bool
	Sure                                                              []fact // how sure, with what that means
	Published                                                         []fact
	Answers                                                           []answer
	First                                                             *sightingRow
	Sightings                                                         []sightingRow
}

type sightingRow struct {
	Input, Time, Note string
	Packet            uint64
	Line              bool // of a frame log, which no Wireshark filters
	Offset            int
}

type deviceRow struct {
	ID, Label, What, Protocols string
	Details, Addresses         []string
	Harm                       *harmView
	Screen                     bool // not printed
	Findings                   []findingLink
}

type findingLink struct {
	Look       look
	Link, Name string
}

type sessionRow struct {
	From, To, Protocol, Port, Protection, Count, Amount string
	Open, Screen                                        bool
}

// A shortRow stands for the findings of a kind and a decision that paper does
// not have in full.
type shortRow struct {
	Look                    look
	N, Title, Who, Do, What string

	kind  finding.Kind
	n     int
	who   []string
	seen  map[string]bool
	times uint64
}

// A paper says how many rows of each list are not printed.
type paper struct{ Findings, Cleared, Bills, Medical, Stations, Outside, Sessions, Inputs, Losses string }

type inputRow struct {
	Path, Kind, Holds, Size, Error, Read string
	Screen                               bool // not printed
}

type clearedRow struct {
	Vulnerability, What, Because, By string
	Screen                           bool // not printed
}

type billRow struct {
	Product, Components, NTIA, FDA, File string
	Screen                               bool // not printed
}

type lossRow struct {
	N, What string
	Screen  bool
}

func newPage(g *digest) *pageData {
	sum := sha256.Sum256([]byte(style))
	p := &pageData{
		Style: template.CSS(style), StyleHash: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
		Answer: g.answer(), Columns: looks[:], Version: g.Version, Unread: g.nothing(), shown: map[string]bool{},
	}
	for i := range looks {
		if g.decided[i] > 0 {
			p.Worst = &looks[i]
			break
		}
	}
	p.Lead = strings.Join(append([]string{g.lead()}, g.warnings()...), " ")
	p.devices(g)
	p.Map = newWardMap(g, p.shown)
	p.matrix(g)
	p.facts(g)
	p.findings(g)
	p.cleared(g)
	p.bills(g)
	p.sessions(g)
	p.inputs(g)
	p.print(g)
	return p
}

// print decides what is printed: what asks for something to be done first and
// in full, long lists cut, and what needs no action now in a line for each kind.
func (p *pageData) print(g *digest) {
	full := 0
	var rows []*shortRow
	for i := range g.Findings {
		f := &g.Findings[i]
		if f.Decision > finding.Track && full < paperFindings {
			full++
			continue
		}
		if i < len(p.Findings) {
			p.Findings[i].Screen = true
		}
		at := slices.IndexFunc(rows, func(r *shortRow) bool { return r.kind == f.Kind && r.Look.decision == f.Decision })
		if at < 0 {
			at = len(rows)
			rows = append(rows, &shortRow{Look: lookOf(f.Decision), Title: finding.Kinds[f.Kind].Title, Do: cut(Plain(f.Advice), rowWords), kind: f.Kind, seen: map[string]bool{}})
		}
		r := rows[at]
		r.n++
		r.times += f.Count
		if who := cut(g.who(f), 40); !r.seen[who] {
			r.seen[who] = true
			if len(r.who) < paperNames {
				r.who = append(r.who, who)
			}
		}
	}
	for _, r := range rows {
		r.N, r.What, r.Who = digits(r.n), "seen "+times(r.times), enumerate(r.who, len(r.seen))
		p.Short = append(p.Short, *r)
	}
	p.Paper = paper{
		Findings: more(len(g.Findings), full), Cleared: more(len(g.Cleared), paperRows), Bills: more(len(g.Bills), paperRows), Medical: more(g.medical, paperMedical), Stations: more(g.stations, paperStations),
		Outside: more(len(p.Outside), paperRows), Sessions: more(len(g.Sessions), paperSessions),
		Inputs: more(len(g.Inputs), paperRows), Losses: more(len(p.Losses), paperRows),
	}
	screen(p.Cleared, paperRows, func(r *clearedRow) *bool { return &r.Screen })
	screen(p.Bills, paperRows, func(r *billRow) *bool { return &r.Screen })
	screen(p.Medical, paperMedical, func(r *deviceRow) *bool { return &r.Screen })
	screen(p.Stations, paperStations, func(r *deviceRow) *bool { return &r.Screen })
	screen(p.Outside, paperRows, func(r *deviceRow) *bool { return &r.Screen })
	screen(p.Sessions, paperSessions, func(r *sessionRow) *bool { return &r.Screen })
	screen(p.Inputs, paperRows, func(r *inputRow) *bool { return &r.Screen })
	screen(p.Losses, paperRows, func(r *lossRow) *bool { return &r.Screen })
}

// screen keeps the rows behind the first n off the paper.
func screen[T any](rows []T, n int, flag func(*T) *bool) {
	for i := min(n, len(rows)); i < len(rows); i++ {
		*flag(&rows[i]) = true
	}
}

// lead says from when the findings are.
func (g *digest) lead() string {
	var first, last int64
	for i := range g.Findings {
		f := &g.Findings[i]
		if f.First != 0 && (first == 0 || f.First < first) {
			first = f.First
		}
		last = max(last, f.Last)
	}
	read := fmt.Sprintf("Read %s in %s.", count(g.Stats.Packets, "packet"), count(len(g.Inputs), "input"))
	if g.Stats.Packets == 0 && !g.nothing() {
		read = "Read " + count(len(g.Inputs), "input") + ", and no capture among them."
	}
	if first == 0 {
		return read
	}
	return read + " What was found happened " + span(first, last) + "."
}

// clock writes the time of day.
func clock(ns int64) string { return time.Unix(0, ns).UTC().Format("15:04:05.000 UTC") }

func more(all, shown int) string {
	if all <= shown {
		return ""
	}
	return digits(all - shown)
}

// cellID names the place of the first finding of a cell of the matrix.
func cellID(class string, h device.Harm) string { return class + "-" + harmWord(h) }

func (p *pageData) matrix(g *digest) {
	for h := device.Catastrophic; ; h-- {
		row := matrixRow{Harm: viewHarm(h)}
		some := h != device.NoHarm
		for i, l := range looks {
			n := g.cells[i][h]
			some = some || n > 0
			row.Cells = append(row.Cells, matrixCell{
				N: n, Class: l.Class, Link: cellID(l.Class, h), Shown: digits(n),
				Spoken: fmt.Sprintf("%s, %s, %s", count(n, "finding"), l.Word, harmWord(h)),
			})
		}
		if some {
			p.Matrix = append(p.Matrix, row)
		}
		if h == device.NoHarm {
			break
		}
	}
	for i, l := range looks {
		n := g.decided[i]
		p.Totals = append(p.Totals, matrixCell{N: n, Link: "all-" + l.Class, Shown: digits(n), Spoken: fmt.Sprintf("%s, %s", count(n, "finding"), l.Word)})
	}
}

func (p *pageData) cells() [][]matrixCell {
	var out [][]matrixCell
	for _, r := range p.Matrix {
		out = append(out, r.Cells)
	}
	return out
}

func (p *pageData) facts(g *digest) {
	devices := fact{Name: "Devices", Text: count(g.medical, "medical device"), Link: "devices"}
	worst := 0
	for i := range g.Devices {
		if d := &g.Devices[i]; d.Medical && d.Harm >= device.Critical {
			worst++
		}
	}
	if worst > 0 {
		devices.Note = digits(worst) + " of them could injure a patient irreversibly"
	}
	p.Facts = append(p.Facts, devices)
	if cleared := g.clearance(); cleared != "" {
		p.Facts = append(p.Facts, fact{Name: "Cleared", Text: cleared, Link: "cleared"})
	}
	if g.stations > 0 {
		p.Facts = append(p.Facts, fact{Name: "Others", Text: count(g.stations, "other station"), Link: "stations"})
	}
	if g.outside > 0 {
		outside := fact{Name: "Outside", Text: count(g.outside, "host") + " outside the hospital", Link: "map"}
		if len(p.Outside) > 0 {
			outside.Link = "outside"
		}
		p.Facts = append(p.Facts, outside)
	}
	patients := g.patients()
	p.Facts = append(p.Facts, fact{Name: "Patients", Text: strings.ToUpper(patients[:1]) + patients[1:], Note: g.taken(), Link: g.firstOf(finding.PHIInClear)})
	clear, encrypted := 0, 0
	for i := range g.Sessions {
		switch g.Sessions[i].protection() {
		case "encrypted":
			encrypted++
		case "in clear", byPort:
			clear++
		}
	}
	p.Facts = append(p.Facts, fact{Name: "Talk", Text: fmt.Sprintf("%s in clear, %s encrypted", digits(clear), digits(encrypted)), Note: "pairs of stations and their protocols", Link: "talk"})
	read := fact{Name: "Read", Text: fmt.Sprintf("%s, %s", count(len(g.Inputs), "input"), size(g.Stats.Bytes)), Link: "inputs"}
	if g.unread > 0 {
		read.Note = digits(g.unread) + " could not be read to the end"
	}
	p.Facts = append(p.Facts, read)
}

// firstOf returns the id of the first finding of a kind that is on the page.
func (g *digest) firstOf(k finding.Kind) string {
	for i := range g.Findings[:min(len(g.Findings), pageRows)] {
		if g.Findings[i].Kind == k {
			return g.Findings[i].ID
		}
	}
	return ""
}

// ssvcWords say SSVC's answers in plain words.
var ssvcWords = map[string]map[string]string{
	"Exploitation": {
		"none":       "nobody is known to use it",
		"public poc": "how to use it is published",
		"active":     "it is happening",
	},
	"Automatable": {
		"no":  "each device takes work by hand",
		"yes": "a program can do it to many devices",
	},
	"Technical impact": {
		"partial": "a view, or a part of the control",
		"total":   "full control of the part concerned",
	},
	"Mission and well-being": {
		"low":    "care goes on, nobody is hurt for long",
		"medium": "an injury that needs treatment, or care that stops",
		"high":   "irreversible injury or death of a patient",
	},
	"Exposure": {
		"small":      "hardly anybody reaches it",
		"controlled": "those on the hospital's network reach it",
		"open":       "the internet reaches it",
	},
}

func (p *pageData) findings(g *digest) {
	seen := map[string]bool{}
	for i := range g.Findings {
		f := &g.Findings[i]
		l := lookOf(f.Decision)
		if i >= pageRows {
			// Numbers of the matrix still lead somewhere: to the note at the end.
			for _, cells := range append(p.cells(), p.Totals) {
				for c := range cells {
					if !seen[cells[c].Link] {
						cells[c].Link = "more-findings"
					}
				}
			}
			break
		}
		k := &finding.Kinds[f.Kind]
		r := findingRow{
			ID: f.ID, Title: cut(Plain(f.Title), rowWords), Who: cut(g.who(f), rowWords), Product: Plain(f.Product),
			Advice: cut(Plain(f.Advice), 4*rowWords), Why: k.Why, Published: published(f),
			Look: l, Harm: viewHarm(f.Harm), Privacy: f.Privacy, Review: f.Certainty == "review",
		}
		if f.Harm > device.Negligible {
			r.Therapy = f.Therapy.String()
		}
		for _, anchor := range [...]string{"all-" + l.Class, cellID(l.Class, f.Harm)} {
			if !seen[anchor] {
				seen[anchor] = true
				r.Anchors = append(r.Anchors, anchor)
			}
		}
		if p.shown[f.Device] {
			r.Link = f.Device
		}
		r.Peer = g.peers(f, true)
		if f.Subjects > 0 {
			r.Subjects = count(f.Subjects, "patient")
		}
		if f.State != "open" {
			r.State = Plain(f.State)
		}
		if f.First != 0 {
			r.Times, r.When = times(f.Count), span(f.First, f.Last)
		}
		if f.Confidence != device.NoConfidence {
			r.Sure = append(r.Sure, fact{Text: f.Confidence.String() + " confidence"})
		}
		if f.Certainty != "" {
			r.Sure = append(r.Sure, fact{Text: Plain(f.Certainty) + " match", Note: certainties[f.Certainty]})
		}
		for _, q := range [...]answer{
			{Question: "Exploitation", Answer: f.SSVC.Exploitation, From: Plain(string(f.SSVC.From.Exploitation))},
			{Question: "Automatable", Answer: f.SSVC.Automatable, From: Plain(string(f.SSVC.From.Automatable))},
			{Question: "Technical impact", Answer: f.SSVC.TechnicalImpact, From: Plain(string(f.SSVC.From.TechnicalImpact))},
			{Question: "Mission and well-being", Answer: f.SSVC.MissionWellBeing},
			{Question: "Exposure", Answer: f.SSVC.Exposure, From: Plain(f.Exposed)},
			{Question: "Human impact", Answer: f.SSVC.HumanImpact},
			{Question: "CERT/CC's Deployer tree", Answer: f.SSVC.Action},
		} {
			if q.Answer != "" {
				q.Words, q.Answer = ssvcWords[q.Question][q.Answer], Plain(q.Answer)
				r.Answers = append(r.Answers, q)
			}
		}
		var refs []string
		for _, list := range [...][]string{cwe(f), k.Attack, f.CVE, f.Advisories, k.References} {
			refs = append(refs, list...)
		}
		r.References = cut(Plain(strings.Join(refs, ", ")), 4*rowWords)
		for _, s := range f.Sightings {
			row := sightingRow{Input: Plain(g.input(s.Input)), Packet: s.Packet, Offset: s.Offset, Note: Plain(s.Note)}
			row.Line = s.Input >= 0 && s.Input < len(g.Inputs) && g.Inputs[s.Input].Kind == "frame-log"
			if s.Time != 0 {
				row.Time = clock(s.Time)
			}
			r.Sightings = append(r.Sightings, row)
		}
		if len(r.Sightings) > 0 {
			r.First = &r.Sightings[0]
		}
		if n := f.Count - uint64(len(f.Sightings)); f.Count > uint64(len(f.Sightings)) {
			r.Unlisted = "and " + digits(n) + " more"
		}
		p.Findings = append(p.Findings, r)
	}
	p.MoreFindings = more(len(g.Findings), pageRows)
}

// span says from when to when, the day once where it is the same.
func span(first, last int64) string {
	a, b := time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
	switch {
	case a.Truncate(time.Second).Equal(b.Truncate(time.Second)):
		return a.Format("2006-01-02 15:04:05 UTC")
	case a.Format(time.DateOnly) == b.Format(time.DateOnly):
		return a.Format("2006-01-02 15:04:05 to ") + b.Format("15:04:05 UTC")
	}
	return a.Format("2006-01-02 15:04:05 to ") + b.Format("2006-01-02 15:04:05 UTC")
}

func (p *pageData) cleared(g *digest) {
	p.Clearance = g.clearance()
	for i := range g.Cleared[:min(len(g.Cleared), pageRows)] {
		c := &g.Cleared[i]
		p.Cleared = append(p.Cleared, clearedRow{Vulnerability: cut(Plain(c.Vulnerability), rowWords), What: cut(c.what(), rowWords), Because: cut(c.because(), 2*rowWords), By: cut(c.by(g.Assessment), rowWords)})
	}
	p.MoreCleared = more(len(g.Cleared), pageRows)
}

func (p *pageData) bills(g *digest) {
	for i := range g.Bills[:min(len(g.Bills), pageRows)] {
		m := &g.Bills[i]
		p.Bills = append(p.Bills, billRow{
			Product: cut(m.of(g.Assessment), rowWords), Components: digits(m.Components), NTIA: cmp.Or(m.lacks(false), "complete"), FDA: cmp.Or(m.lacks(true), "complete"),
			File: cut(Plain(g.input(m.Input)), rowWords),
		})
	}
	p.MoreBills = more(len(g.Bills), pageRows)
}

func (p *pageData) devices(g *digest) {
	links := map[string][]findingLink{}
	for i := range g.Findings {
		f := &g.Findings[i]
		switch n := len(links[f.Device]); {
		case n < rowLinks && i < pageRows:
			links[f.Device] = append(links[f.Device], findingLink{lookOf(f.Decision), f.ID, finding.Kinds[f.Kind].Title})
		case n == rowLinks:
			links[f.Device] = append(links[f.Device], findingLink{Name: "and more"})
		}
	}
	outside := 0
	for i := range g.Devices {
		d := &g.Devices[i]
		list := &p.Stations
		switch {
		case d.Medical:
			list = &p.Medical
		case d.Role == device.Outside:
			list = &p.Outside
			outside++
		}
		if len(*list) >= pageRows {
			continue
		}
		r := deviceRow{
			ID: d.ID, Label: cut(Plain(Label(d)), rowWords), What: cut(cmp.Or(Plain(d.Class), Plain(d.Role), "not known"), rowWords),
			Protocols: protocols(d, 20), Findings: links[d.ID],
		}
		var rest []string
		for _, s := range [...]string{d.Therapy.String(), Plain(d.OS)} {
			if s != "" && s != r.What {
				rest = append(rest, s)
			}
		}
		if d.Serial != "" {
			rest = append(rest, "serial "+Plain(d.Serial))
		}
		for _, s := range [...]string{product(d), strings.Join(rest, ", "), registered(d)} {
			if s != "" {
				r.Details = append(r.Details, cut(s, rowWords))
			}
		}
		if d.Harm != device.NoHarm {
			h := viewHarm(d.Harm)
			r.Harm = &h
		}
		r.Addresses = addresses(d, rowPlaces)
		*list = append(*list, r)
		p.shown[d.ID] = true
	}
	p.MoreMedical = more(g.medical, pageRows)
	p.MoreStations = more(g.stations, pageRows)
	p.MoreOutside = more(outside, pageRows)
}

func (p *pageData) sessions(g *digest) {
	list := g.sessions()
	for _, s := range list[:min(len(list), pageRows)] {
		r := sessionRow{
			From: cut(g.nameOf(s.Client), rowWords), To: cut(g.nameOf(s.Server), rowWords), Protocol: Plain(s.Protocol),
			Protection: s.protection(), Count: digits(s.Count), Amount: size(s.Bytes),
		}
		r.Open = strings.HasPrefix(r.Protection, "in clear")
		if s.Port > 0 {
			r.Port = strconv.Itoa(int(s.Port))
		}
		p.Sessions = append(p.Sessions, r)
	}
	p.MoreSessions = more(len(list), pageRows)
}

func (p *pageData) inputs(g *digest) {
	for _, in := range g.Inputs[:min(len(g.Inputs), pageRows)] {
		r := inputRow{
			Path: cut(Plain(in.Path), rowWords), Kind: cmp.Or(Plain(in.Kind), "not recognised"), Holds: in.holds(),
			Size: size(in.Bytes), Error: Plain(in.Error), Read: "to the end",
		}
		if in.Packets == 0 && in.Items == 0 {
			r.Read = "no packet in it"
			if items[in.Kind] != "" {
				r.Read = "nothing in it"
			}
		}
		if in.Note != "" {
			r.Read += ": " + cut(Plain(in.Note), rowWords)
		}
		p.Inputs = append(p.Inputs, r)
	}
	p.MoreInputs = more(len(g.Inputs), pageRows)
	for _, what := range g.Stats.losses() {
		p.Losses = append(p.Losses, lossRow{N: digits(g.Stats.Lost[what]), What: Plain(what)})
	}
}

// Style is the style sheet of reports, which the pages of a server share.
func Style() string { return style }
