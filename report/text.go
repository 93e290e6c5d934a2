// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// How much the text shows, in rows. The JSON has all.
const (
	textFindings = 60
	textCleared  = 40
	textDevices  = 60
	textStations = 20
	textSessions = 40
	textBills    = 20
	textInputs   = 20
	textLosses   = 12
)

// narrowOnce fixes the width of symbols that a locale may call wide: the same
// assessment is the same text everywhere.
var narrowOnce sync.Once

// The widths of text, in columns: of a terminal whose width nobody knows, and the
// bounds of what a width may be.
const (
	TextWidth = 80
	narrowest = 60
	widest    = 120
)

// Text writes the assessment for a person at a terminal of 80 columns.
func Text(w io.Writer, a *Assessment) error { return TextWide(w, a, TextWidth) }

// TextWide writes the assessment for a person at a terminal: the answer in a
// sentence, a summary, and tables. What is narrower than 60 columns or wider than
// 120 is taken for that.
func TextWide(w io.Writer, a *Assessment, width int) error {
	narrowOnce.Do(func() { text.OverrideRuneWidthEastAsianWidth(false) })
	g := newDigest(a)
	g.width = min(max(width, narrowest), widest)
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, wrap(g.answer(), g.width))
	for _, warning := range g.warnings() {
		fmt.Fprintln(b, wrap(warning, g.width))
	}
	g.textSummary(b)
	g.textFindings(b)
	g.textCleared(b)
	g.textDevices(b)
	g.textStations(b, "OTHER STATIONS", false)
	g.textStations(b, "OUTSIDE THE HOSPITAL", true)
	g.textSessions(b)
	g.textBills(b)
	g.textInputs(b)
	fmt.Fprintf(b, "\nNext: %s\n", g.next())
	return b.Flush()
}

// A column of a table. Width 0 is as wide as its content.
type column struct {
	name  string
	width int
	right bool
}

// textTable writes rows under a heading and says how many it left out.
func (g *digest) textTable(b *bufio.Writer, heading string, columns []column, rows [][]string, more int) {
	if len(rows) == 0 {
		return
	}
	columns = fit(columns, rows, g.width)
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format = table.FormatOptions{}
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	var head table.Row
	var configs []table.ColumnConfig
	for i, c := range columns {
		head = append(head, c.name)
		config := table.ColumnConfig{Number: i + 1, WidthMax: c.width, WidthMaxEnforcer: wrap}
		if c.right {
			config.Align, config.AlignHeader = text.AlignRight, text.AlignRight
		}
		configs = append(configs, config)
	}
	t.SetColumnConfigs(configs)
	t.AppendHeader(head)
	for _, r := range rows {
		var row table.Row
		for _, cell := range r {
			row = append(row, cell)
		}
		t.AppendRow(row)
	}
	fmt.Fprintf(b, "\n%s\n%s\n", heading, t.Render())
	if more > 0 {
		fmt.Fprintf(b, "and %s more, see --format json\n", digits(more))
	}
}

// fit shares a line among columns by what stands in them: none is wider than its
// widest line, and none is so narrow that a word of it breaks while another can
// give room.
func fit(columns []column, rows [][]string, width int) []column {
	columns = slices.Clone(columns)
	least, most := make([]int, len(columns)), make([]int, len(columns))
	sum := 2 * (len(columns) - 1)
	for i := range columns {
		c := &columns[i]
		see := func(cell string) {
			for line := range strings.SplitSeq(cell, "\n") {
				most[i] = max(most[i], text.StringWidthWithoutEscSequences(line))
				for word := range strings.SplitSeq(line, " ") {
					least[i] = max(least[i], text.StringWidthWithoutEscSequences(word))
				}
			}
		}
		see(c.name)
		for _, row := range rows {
			see(row[i])
		}
		least[i] = min(least[i], longestWord)
		c.width = min(max(c.width, least[i]), most[i])
		sum += c.width
	}
	for sum != width {
		at, best := -1, 0
		for i := range columns { // the one with most to give, or that lacks most
			spare := columns[i].width - least[i]
			if sum < width {
				spare = min(most[i], readable) - columns[i].width
			}
			if spare > best {
				at, best = i, spare
			}
		}
		switch {
		case sum < width && at < 0:
			return columns
		case sum < width:
			columns[at].width++
			sum++
			continue
		case at < 0: // a word has to break
			for i := range columns {
				if at < 0 || columns[i].width > columns[at].width {
					at = i
				}
			}
		}
		columns[at].width--
		sum--
	}
	return columns
}

const (
	longestWord = 42 // that is not broken: ids, addresses, places in files
	readable    = 80 // longer lines are hard to read
)

// narrow says that a screen has no room for a column that only qualifies another.
func (g *digest) narrow() bool { return g.width < 100 }

// wrap breaks each line between words, and a word that is longer than a line where
// it is full. A no-break space is none to break at, and is written as a blank.
func wrap(s string, width int) string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		now := ""
		for word := range strings.SplitSeq(line, " ") {
			if now != "" && text.StringWidthWithoutEscSequences(now+" "+word) > width {
				out, now = append(out, now), ""
			} else if now != "" {
				now += " "
			}
			for now += word; text.StringWidthWithoutEscSequences(now) > width; {
				head := text.Trim(now, width)
				if head == "" {
					break // a rune is wider than the line
				}
				out, now = append(out, head), now[len(head):]
			}
		}
		out = append(out, now)
	}
	for i := range out {
		out[i] = strings.TrimRight(strings.ReplaceAll(out[i], nobreak, " "), " ")
	}
	return strings.Join(out, "\n")
}

const nobreak = "\u00a0" // of which [Plain] leaves none

func (g *digest) textSummary(b *bufio.Writer) {
	devices := count(g.medical, "medical device")
	if g.stations > 0 {
		devices += ", " + count(g.stations, "other station")
	}
	if g.outside > 0 {
		devices += "; talk with " + count(g.outside, "host") + " outside the hospital"
	}
	line := func(name, text string) {
		fmt.Fprintf(b, "  %-8s  %s\n", name, strings.ReplaceAll(wrap(text, g.width-12), "\n", "\n            "))
	}
	fmt.Fprintln(b)
	line("devices", devices)
	line("findings", g.byDecision())
	if cleared := g.clearance(); cleared != "" {
		line("", cleared)
	}
	line("patients", g.patients())
	if taken := g.taken(); taken != "" {
		line("", taken)
	}
	inputs := fmt.Sprintf("%s, %s, %s", count(len(g.Inputs), "input"), count(g.Stats.Packets, "packet"), size(g.Stats.Bytes))
	if g.Stats.Packets == 0 && !g.nothing() {
		inputs = count(len(g.Inputs), "input") + ", no capture among them"
	}
	if g.unread > 0 {
		inputs += fmt.Sprintf("; %s could not be read to the end", digits(g.unread))
	}
	line("read", inputs)
}

func (g *digest) textFindings(b *bufio.Writer) {
	var rows [][]string
	advised := map[finding.Kind]string{}
	short := ShortIDs(g.Findings)
	for i := range g.Findings {
		if len(rows) == textFindings {
			break
		}
		f := &g.Findings[i]
		what := Plain(f.Title)
		switch sides := g.peers(f, false); {
		case len(f.Peers) > 1:
			what += "\nother sides: " + sides
		case sides != "":
			what += "\nother side: " + sides
		}
		for _, line := range published(f) {
			what += "\n" + strings.ToLower(line.Name[:1]) + line.Name[1:] + ": " + cut(line.Text, 400)
		}
		where := "seen " + times(f.Count)
		if f.First == 0 {
			where = "read"
		}
		if len(f.Sightings) > 0 {
			first := &f.Sightings[0]
			if first.Time != 0 {
				where += ", first at " + time.Unix(0, first.Time).UTC().Format("15:04:05") + nobreak + "UTC"
			}
			where += " in " + g.where(*first)
			if f.First == 0 && first.Note != "" {
				where += ", " + cut(Plain(first.Note), 160)
			} else if first.Note != "" && (f.Kind != finding.PHIInClear || f.Protocol == "gatt" || f.Protocol == "radio") { // whose title else says it all
				what += "\n" + cut(Plain(first.Note), 160)
			}
		}
		if f.Therapy != device.NoTherapy && f.Harm > device.Negligible {
			what += "\nendangers: " + f.Therapy.String()
		}
		what += "\n" + where + "; " + cmp.Or(f.Confidence.String(), "unknown") + " confidence"
		switch {
		case f.Advice == "":
		case advised[f.Kind] == f.Advice:
			what += "\nto do: as above for this kind"
		default:
			what += "\nto do: " + cut(Plain(f.Advice), 600)
		}
		advised[f.Kind] = f.Advice
		what += "\nid: " + Plain(short[f.ID])
		decision, harm, who := lookOf(f.Decision).String(), bars(f.Harm)+" "+harmWord(f.Harm), cut(g.who(f), 60)
		if g.narrow() {
			rows = append(rows, []string{decision + "\n" + strings.Replace(harm, " ", "\n", 1), who + "\n" + what + "\n "})
		} else {
			rows = append(rows, []string{decision, harm, who, what + "\n "})
		}
	}
	columns := []column{{"decision", 8, false}, {"harm", 18, false}, {"device", 16, false}, {"what, where, what to do", 52, false}}
	if g.narrow() {
		columns = []column{{"decision", 12, false}, {"device, what, where, what to do", 66, false}}
	}
	g.textTable(b, "FINDINGS", columns, rows, len(g.Findings)-len(rows))
}

func (g *digest) textCleared(b *bufio.Writer) {
	var rows [][]string
	for i := range g.Cleared[:min(len(g.Cleared), textCleared)] {
		c := &g.Cleared[i]
		rows = append(rows, []string{cut(Plain(c.Vulnerability), 40), cut(c.what(), 120), cut(c.because(), 200), cut(c.by(g.Assessment), 200)})
	}
	g.textTable(b, "CLEARED BY THEIR SUPPLIERS", []column{{"weakness", 16, false}, {"product", 24, false}, {"which says", 26, false}, {"supplier, document", 28, false}},
		rows, len(g.Cleared)-len(rows))
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return digits(n) + " times"
}

// addresses lists a device's addresses but for its label, the IP first.
func addresses(d *device.Device, most int) []string {
	var out []string
	label := Label(d)
	for _, kind := range [...]device.AddressKind{device.IP, device.EUI64, device.AET, device.Host, device.BLE, device.Radio, device.MAC} {
		for _, a := range d.Addresses {
			if a.Kind == kind && a.Value != label {
				out = append(out, cut(Plain(a.Value), rowWords))
			}
		}
	}
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("and %d more", len(out)-most))
	}
	return out
}

func protocols(d *device.Device, most int) string {
	shown := cut(Plain(strings.Join(d.Protocols[:min(len(d.Protocols), most)], " ")), 16*most)
	if n := len(d.Protocols) - most; n > 0 {
		shown += fmt.Sprintf(" +%d", n)
	}
	return shown
}

// registered says where the register has a device, and that it was not seen.
func registered(d *device.Device) string {
	words := Plain(d.Ward)
	if d.Unseen {
		if words != "" {
			words += ", "
		}
		words += "in the register, not seen"
	}
	return words
}

// lines writes what is not empty, a line each.
func lines(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), "\n")
}

// cells writes a list into a cell, a line each.
func cells(list []string) string {
	for i := range list {
		list[i] = cut(list[i], 40)
	}
	return strings.Join(list, "\n")
}

func (g *digest) textDevices(b *bufio.Writer) {
	var rows [][]string
	for i := range g.Devices {
		d := &g.Devices[i]
		if !d.Medical {
			continue
		}
		if len(rows) == textDevices {
			break
		}
		label, harm := cut(Plain(Label(d)), 48), bars(d.Harm)+" "+harmWord(d.Harm)
		what := lines(cut(cmp.Or(Plain(d.Class), d.Therapy.String()), 60), cut(product(d), 80), cut(registered(d), 60))
		if g.narrow() {
			rows = append(rows, []string{label + "\n" + strings.ReplaceAll(harm, " ", nobreak), what, cells(addresses(d, 3)), protocols(d, 8)})
		} else {
			rows = append(rows, []string{label, harm, what, cells(addresses(d, 3)), protocols(d, 8)})
		}
	}
	columns := []column{{"device", 16, false}, {"harm", 18, false}, {"what it is", 24, false}, {"addresses", 20, false}, {"speaks", 17, false}}
	if g.narrow() {
		columns = append([]column{{"device, harm", 18, false}}, columns[2:]...)
	}
	g.textTable(b, "MEDICAL DEVICES", columns, rows, g.medical-len(rows))
}

func (g *digest) textStations(b *bufio.Writer, heading string, outside bool) {
	var rows [][]string
	n := 0
	for pass := range 2 { // those with findings first
		for i := range g.Devices {
			d := &g.Devices[i]
			_, found := g.worst[d.ID]
			if d.Medical || (d.Role == device.Outside) != outside || found == (pass == 1) {
				continue
			}
			if n++; len(rows) == textStations {
				continue
			}
			worst := ""
			if found {
				worst = lookOf(g.worst[d.ID]).String()
			}
			rows = append(rows, []string{cut(Plain(Label(d)), 60), worst, cut(cmp.Or(Plain(d.Role), Plain(d.OS), product(d)), 60), cells(addresses(d, 2)), protocols(d, 8)})
		}
	}
	g.textTable(b, heading, []column{{"station", 24, false}, {"finding", 8, false}, {"what it is", 18, false}, {"addresses", 17, false}, {"speaks", 22, false}},
		rows, n-len(rows))
}

// byPort is the protection of a session that was not recognised by what it says.
const byPort = "in clear, by its port"

// protection says whether a session can be read on its way.
func (s *Session) protection() string {
	switch {
	case s.Encrypted:
		return "encrypted"
	case s.Bytes == 0:
		return "no data"
	case s.Protocol == "unknown":
		return "unknown"
	case s.Inferred:
		return byPort
	}
	return "in clear"
}

func (g *digest) textSessions(b *bufio.Writer) {
	var rows [][]string
	for _, s := range g.sessions() {
		if len(rows) == textSessions {
			break
		}
		port := ""
		if s.Port > 0 {
			port = fmt.Sprint(s.Port)
		}
		rows = append(rows, []string{cut(g.nameOf(s.Client), 44), "→" + nobreak + cut(g.nameOf(s.Server), 44), cut(Plain(s.Protocol), 40), port, s.protection(), digits(s.Count), strings.ReplaceAll(size(s.Bytes), " ", nobreak)})
	}
	g.textTable(b, "WHO TALKS TO WHOM", []column{{"from", 22, false}, {"to", 24, false}, {"protocol", 10, false}, {"port", 5, true}, {"", 10, false}, {"times", 7, true}, {"amount", 9, true}},
		rows, len(g.Sessions)-len(rows))
}

// textBills says what is in each bill of materials and what it lacks.
func (g *digest) textBills(b *bufio.Writer) {
	for i := range g.Bills[:min(len(g.Bills), textBills)] {
		m := &g.Bills[i]
		if i == 0 {
			fmt.Fprint(b, "\nBILLS OF MATERIALS\n")
		}
		fmt.Fprintln(b, wrap(m.sentence(g.Assessment), g.width))
		if more := m.lacks(true); more != "" {
			fmt.Fprintln(b, "  "+strings.ReplaceAll(wrap("FDA asks for more: "+more, g.width-2), "\n", "\n  "))
		}
	}
	if n := len(g.Bills) - textBills; n > 0 {
		fmt.Fprintf(b, "and %s more, see --format json\n", digits(n))
	}
}

func (g *digest) textInputs(b *bufio.Writer) {
	var rows [][]string
	n := 0
	for _, in := range g.Inputs {
		if in.Error == "" {
			continue
		}
		if n++; len(rows) < textInputs {
			rows = append(rows, []string{Plain(in.Path), cmp.Or(Plain(in.Kind), "not recognised"), in.holds(), Plain(in.Error)})
		}
	}
	g.textTable(b, "INPUTS NOT READ TO THE END", []column{{"input", 30, false}, {"kind", 10, false}, {"holds", 18, true}, {"why", 35, false}}, rows, n-len(rows))

	notes := func(title, input, what string, is func(*Input) bool) {
		var rows [][]string
		n := 0
		for i := range g.Inputs {
			in := &g.Inputs[i]
			if in.Note == "" || !is(in) {
				continue
			}
			if n++; len(rows) < textInputs {
				rows = append(rows, []string{Plain(in.Path), Plain(in.Note)})
			}
		}
		g.textTable(b, title, []column{{input, 30, false}, {what, 70, false}}, rows, n-len(rows))
	}
	notes("HOW COLUMNS WERE UNDERSTOOD", "register", "what was taken from which column", func(in *Input) bool { return in.Kind == "register" })
	notes("DIALECTS AMONG THE INPUTS", "file", "whose frames were read by it", func(in *Input) bool { return in.Kind == "dialect" })
	g.textSignatures(b)

	rows = nil
	losses := g.Stats.losses()
	for _, what := range losses {
		if len(rows) < textLosses {
			rows = append(rows, []string{digits(g.Stats.Lost[what]), Plain(what)})
		}
	}
	g.textTable(b, "NOT LOOKED AT", []column{{"how many", 15, true}, {"what", 80, false}}, rows, len(losses)-len(rows))
}

// textSignatures says what came of signatures, a line for all that came out so.
func (g *digest) textSignatures(b *bufio.Writer) {
	var rows [][]string
	at, n := map[string]int{}, map[string]int{}
	for i := range g.Inputs {
		in := &g.Inputs[i]
		if in.Note == "" || in.Kind != "csaf" && in.Kind != "vex" {
			continue
		}
		if n[in.Note]++; n[in.Note] == 1 {
			at[in.Note] = len(rows)
			rows = append(rows, []string{Plain(in.Path), Plain(in.Note)})
		} else {
			rows[at[in.Note]][0] = count(n[in.Note], "document")
		}
	}
	most := min(len(rows), textInputs)
	g.textTable(b, "SIGNATURES OF ADVISORIES", []column{{"document", 30, false}, {"what came of it", 70, false}}, rows[:most], len(rows)-most)
}

// next says what to run next.
func (g *digest) next() string {
	path := "PATH"
	if len(g.Inputs) == 1 && g.Inputs[0].Path != "-" && len(g.Inputs[0].Path) < 40 && !strings.ContainsAny(g.Inputs[0].Path, " '\"$\\\t\n") {
		path = Plain(g.Inputs[0].Path)
	}
	switch {
	case len(g.Inputs) == 1 && g.Inputs[0].Kind == "interface":
		return "myelin sense -i " + path + " --format json | tail -n 1 > saved.json, then myelin report --format html -o ward.html saved.json"
	case len(g.Findings) > 0:
		return "myelin explain ID " + path + " (why; ID: of a finding, a CVE, a kind)\n  or: myelin assess --format html -o ward.html " + path
	case g.nothing() && g.Stats.Packets > g.Stats.Lost[NotRead]:
		return "myelin assess --dialect FILE " + path + " (docs/dialects.md tells how to write one)"
	case g.nothing():
		return "tcpdump -i eth1 -w ward.pcap, then myelin assess ward.pcap"
	}
	return "myelin assess --format json " + path + " > baseline.json, then --baseline baseline.json the next time"
}
