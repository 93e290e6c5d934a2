// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// A look is how a decision is shown: always by shape and word, and where there
// is colour, by colour too.
type look struct {
	decision finding.Decision
	Symbol   string
	Word     string
	Class    string // in CSS
	Means    string
}

// looks are the decisions, the most urgent first.
var looks = [...]look{
	{finding.Act, "●", "act", "act", "needs action now"},
	{finding.Attend, "◆", "attend", "attend", "remedy sooner than usual"},
	{finding.TrackStar, "■", "track*", "trackstar", "watch closely, remedy at the next maintenance"},
	{finding.Track, "○", "track", "track", "no action now"},
}

func lookOf(d finding.Decision) look {
	for _, l := range looks {
		if l.decision == d {
			return l
		}
	}
	return looks[len(looks)-1]
}

func (l look) String() string { return l.Symbol + " " + l.Word }

// bars shows a harm as one to five bars; nothing is known when there are none.
func bars(h device.Harm) string {
	n := min(int(h), int(device.Catastrophic))
	return strings.Repeat("▮", n) + strings.Repeat("▯", int(device.Catastrophic)-n)
}

func harmWord(h device.Harm) string { return cmp.Or(h.String(), "unknown") }

// Plain makes text from outside safe to show in a line: what would move the
// cursor, break the line or turn the direction of writing becomes a mark.
func Plain(s string) string {
	clean := func(r rune) bool { return r != utf8.RuneError && r >= ' ' && r < 0x7f }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	return strings.Map(plainRune, strings.ToValidUTF8(s, "\uFFFD"))
}

func plainRune(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
		return '\uFFFD'
	}
	return r
}

// PlainJSON returns a writer that does to the strings of JSON what [Plain] does
// to a text, and leaves them JSON. An encoder's Write holds whole values.
func PlainJSON(w io.Writer) io.Writer { return &plainJSON{w: w} }

type plainJSON struct {
	w     io.Writer
	lines bool // a string may have several
	out   []byte
}

func (p *plainJSON) Write(b []byte) (int, error) {
	p.out = p.out[:0]
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == '\\' && i+1 < len(b) {
			n = 2
			switch b[i+1] {
			case 'u':
				if n = 6; i+n <= len(b) {
					code, _ := strconv.ParseUint(string(b[i+2:i+n]), 16, 16)
					r = rune(code)
				}
			default:
				if at := strings.IndexByte("bfnrt", b[i+1]); at >= 0 && (b[i+1] != 'n' || !p.lines) {
					r = rune("\b\f\n\r\t"[at])
				}
			}
			if c := plainRune(r); c != r {
				p.out = utf8.AppendRune(p.out, c)
			} else {
				p.out = append(p.out, b[i:min(i+n, len(b))]...)
			}
		} else if r < 0x7f { // outside of strings too, where lines end
			p.out = append(p.out, b[i])
		} else {
			p.out = utf8.AppendRune(p.out, plainRune(r))
		}
		i += n
	}
	if _, err := p.w.Write(p.out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// cut shortens to n runes.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// count writes "1 device", "2,345 devices".
func count[N ~int | ~uint64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	many := one + "s"
	if stem, ok := strings.CutSuffix(one, "y"); ok {
		many = stem + "ies"
	}
	return digits(n) + " " + many
}

// digits groups a number by thousands.
func digits[N ~int | ~int64 | ~uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes in a unit a person can compare.
func size[N ~int64 | ~uint64](n N) string {
	f, unit := float64(n), "B"
	for _, u := range [...]string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, u
	}
	if unit == "B" || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, unit)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// A digest is what every way of saying an assessment needs to look up.
type digest struct {
	*Assessment
	byID      map[string]*device.Device
	byAddress map[string]*device.Device
	worst     map[string]finding.Decision // of the open findings about a device, by id
	medical   int
	stations  int                                      // other devices of the hospital
	outside   int                                      // hosts that are none of the hospital's, listed as devices or not
	cells     [len(looks)][device.Catastrophic + 1]int // findings by decision (as in looks) and harm
	decided   [len(looks)]int
	unread    int // inputs with an error
	clear     int // patients whose data crossed in clear, of the finding with the most
	clears    int // findings of that kind
	width     int // of text
	bulk      int // patients whose records were taken at once
}

func newDigest(a *Assessment) *digest {
	g := &digest{
		Assessment: a, byID: make(map[string]*device.Device, len(a.Devices)),
		byAddress: make(map[string]*device.Device, 2*len(a.Devices)), worst: map[string]finding.Decision{},
	}
	for i := range a.Devices {
		d := &a.Devices[i]
		g.byID[d.ID] = d
		for _, addr := range d.Addresses {
			if g.byAddress[addr.Value] == nil {
				g.byAddress[addr.Value] = d
			}
		}
		switch {
		case d.Medical:
			g.medical++
		case d.Role == device.Outside:
			g.outside++
		default:
			g.stations++
		}
	}
	strangers := map[string]bool{}
	for i := range a.Sessions {
		for _, address := range [...]string{a.Sessions[i].Client, a.Sessions[i].Server} {
			if zone, _ := place(address); zone == zoneOutside && g.byAddress[address] == nil {
				strangers[address] = true
			}
		}
	}
	g.outside += len(strangers)
	for i := range a.Findings {
		f := &a.Findings[i]
		g.worst[f.Device] = max(g.worst[f.Device], f.Decision)
		row := slices.IndexFunc(looks[:], func(l look) bool { return l.decision == f.Decision })
		if row < 0 {
			continue
		}
		g.decided[row]++
		g.cells[row][min(f.Harm, device.Catastrophic)]++
		switch f.Kind {
		case finding.PHIInClear:
			g.clear = max(g.clear, f.Subjects)
			g.clears++
		case finding.BulkRecordAccess:
			g.bulk = max(g.bulk, f.Subjects)
		}
	}
	for _, in := range a.Inputs {
		if in.Error != "" {
			g.unread++
		}
	}
	return g
}

// about returns the device of a finding, or nil.
func (g *digest) about(f *finding.Finding) *device.Device { return g.byID[f.Device] }

// who names whom a finding is about.
func (g *digest) who(f *finding.Finding) string {
	if d := g.about(f); d != nil {
		return Plain(Label(d))
	}
	return Plain(cmp.Or(f.Device, f.Product, "unknown"))
}

// nameOf names the owner of an address.
func (g *digest) nameOf(address string) string {
	if d := g.byAddress[address]; d != nil {
		return Plain(Label(d))
	}
	return Plain(address)
}

// maxSides is how many other sides of a finding are named.
const maxSides = 6

// peers names the other sides of a finding, each with its address where that is
// not the name and addressed asks for it.
func (g *digest) peers(f *finding.Finding, addressed bool) string {
	sides := f.Peers
	if len(sides) == 0 && f.Peer != "" {
		sides = []string{f.Peer}
	}
	var names []string
	for _, p := range sides[:min(len(sides), maxSides)] {
		name := cut(g.nameOf(p), 60)
		if addressed && name != Plain(p) {
			name += " (" + Plain(p) + ")"
		}
		names = append(names, name)
	}
	return enumerate(names, len(sides))
}

// full names a device with the address to find it at.
func full(d *device.Device) string {
	label := Plain(Label(d))
	for _, a := range d.Addresses {
		if a.Kind == device.IP && a.Value != Label(d) {
			return label + " (" + Plain(a.Value) + ")"
		}
	}
	return label
}

// maxNamed is how many devices the first sentence names.
const maxNamed = 3

// names says whom the findings of a decision are about, each once, in the
// order of urgency, and what they are: devices, or products when no device of
// any of them is known.
func (g *digest) names(decision finding.Decision) (names []string, n int, what string) {
	seen := map[string]bool{}
	what = "product"
	for i := range g.Findings {
		f := &g.Findings[i]
		key := cmp.Or(f.Device, f.Product)
		if f.Decision != decision || seen[key] {
			continue
		}
		seen[key] = true
		if f.Device != "" || f.Product == "" {
			what = "device"
		}
		if n++; n > maxNamed {
			continue
		}
		if d := g.about(f); d != nil {
			names = append(names, cut(full(d), 60))
		} else {
			names = append(names, cut(g.who(f), 60))
		}
	}
	return names, n, what
}

// enumerate writes "a", "a and b", "a, b and c", "a, b, c and 4 more".
func enumerate(names []string, n int) string {
	if n > len(names) {
		return strings.Join(names, ", ") + " and " + digits(n-len(names)) + " more"
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// answer is the assessment in a sentence.
func (g *digest) answer() string {
	if names, n, what := g.names(finding.Act); n > 0 {
		verb := "need"
		if n == 1 {
			verb = "needs"
		}
		return fmt.Sprintf("%s %s action now: %s.", count(n, what), verb, enumerate(names, n))
	}
	if g.nothing() {
		return "Nothing can be said: no packet could be read."
	}
	calm := "Nothing here needs action now"
	if g.unread > 0 || g.Stats.Lost[NotRead]+g.Stats.Lost[NoDialect] > 0 {
		calm = "Nothing in what could be read needs action now"
	}
	if g.Stats.LeftOut > 0 {
		calm = "Of the findings asked for, none needs action now"
	}
	if names, n, what := g.names(finding.Attend); n > 0 {
		verb := "need"
		if n == 1 {
			verb = "needs"
		}
		return fmt.Sprintf("%s; %s %s attention soon: %s.", calm, count(n, what), verb, enumerate(names, n))
	}
	if n := len(g.Bills); n > 0 && len(g.Devices) == 0 && g.Stats.Packets == 0 {
		incomplete := 0
		for i := range g.Bills {
			if g.Bills[i].lacks(false) != "" {
				incomplete++
			}
		}
		bills := "1 bill of materials"
		if n > 1 {
			bills = digits(n) + " bills of materials"
		}
		return fmt.Sprintf("%s. Of %s, %s not complete.", calm, bills, digits(incomplete)+map[bool]string{true: " is", false: " are"}[incomplete == 1])
	}
	if g.medical == 0 {
		return calm + ", and no medical device was seen."
	}
	return calm + "."
}

// warnings say what inputs do not tell, and the answer depends on.
func (g *digest) warnings() (out []string) {
	const most = 4
	n := 0
	for i := range g.Inputs {
		if in := &g.Inputs[i]; in.Warning != "" {
			if n++; n <= most {
				out = append(out, Plain(in.Path+": "+in.Warning)+".")
			}
		}
	}
	if n > most {
		out = append(out, "So it is with "+count(n-most, "other input")+": --format json says which.")
	}
	return out
}

// patients says how many patients' data crossed the network in clear. Findings
// count their patients apart and may count the same ones, so that of several
// only the largest is certain.
func (g *digest) patients() string {
	switch {
	case g.clears == 0 && g.Stats.nothing():
		return "nothing can be said"
	case g.clears == 0 && g.Stats.LeftOut > 0:
		return "nothing can be said: findings were left out"
	case g.clears == 0:
		return "no patient data in clear was seen"
	case g.clear == 0:
		return "patient data crossed the network in clear"
	case g.clears == 1:
		return "data of " + count(g.clear, "patient") + " crossed the network in clear"
	}
	return "data of at least " + count(g.clear, "patient") + " crossed the network in clear"
}

// taken says of how many patients records were taken, or nothing.
func (g *digest) taken() string {
	if g.bulk == 0 {
		return ""
	}
	return "records of " + count(g.bulk, "patient") + " were taken at once"
}

// byDecision says how many findings have each decision.
func (g *digest) byDecision() string {
	var parts []string
	for i, l := range looks {
		if g.decided[i] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s %s", l.Symbol, digits(g.decided[i]), l.Word))
		}
	}
	if parts == nil {
		parts = append(parts, "none")
	}
	if n := g.Stats.LeftOut; n > 0 {
		parts = append(parts, "("+digits(n)+" left out, as asked)")
	}
	return strings.Join(parts, "   ")
}

// sessions returns the sessions, the important ones first: of medical devices
// and of devices with urgent findings, in clear before encrypted, by harm.
func (g *digest) sessions() []*Session {
	type ranked struct {
		*Session
		rank int
	}
	list := make([]ranked, len(g.Sessions))
	for i := range g.Sessions {
		s := &g.Sessions[i]
		r := 0
		for _, address := range [...]string{s.Client, s.Server} {
			d := g.byAddress[address]
			if d == nil {
				continue
			}
			r = max(r, int(g.worst[d.ID])*8)
			if d.Medical {
				r = max(r, 16+int(d.Harm)*2)
			}
		}
		if r > 0 && !s.Encrypted {
			r++
		}
		list[i] = ranked{s, r}
	}
	slices.SortStableFunc(list, func(x, y ranked) int {
		return cmp.Or(y.rank-x.rank, cmp.Compare(y.Bytes, x.Bytes))
	})
	out := make([]*Session, len(list))
	for i := range list {
		out[i] = list[i].Session
	}
	return out
}

// How much of what documents say of a finding is shown. The JSON has all.
const (
	maxSaid  = 6   // ids, reasons, opinions
	saidRune = 300 // of each
)

// said joins what documents say, or its beginning.
func said(list []string, between string) string {
	var out []string
	for _, s := range list[:min(len(list), maxSaid)] {
		out = append(out, cut(Plain(s), saidRune))
	}
	if n := len(list) - len(out); n > 0 {
		out = append(out, "and "+digits(n)+" more")
	}
	return strings.Join(out, between)
}

// certainties say how sure a match is, for whoever asks.
var certainties = map[string]string{
	finding.Exact:  "the document names this product or part by an identifier or its own name, and this version",
	finding.Likely: "the names agree after spelling, aliases and model families were taken into account",
	finding.Review: "the document does not say enough to decide: a person has to compare",
}

// published is what documents say of a finding, a line each.
func published(f *finding.Finding) (lines []fact) {
	add := func(name, text, note string) {
		if text != "" {
			lines = append(lines, fact{Name: name, Text: text, Note: note})
		}
	}
	add("Part", cut(Plain(f.Component), saidRune), "")
	weakness := said(f.CVE, ", ")
	if f.KEV {
		weakness = strings.TrimPrefix(weakness+", used in attacks (KEV)", ", ")
	}
	add("Weakness", weakness, said(f.CWE, ", "))
	var scores []string
	for i := range f.CVSS {
		s := &f.CVSS[i]
		line := strings.TrimSpace("CVSS " + s.Version)
		if s.Base >= 0 {
			line += " " + strconv.FormatFloat(s.Base, 'f', 1, 64)
		}
		if s.Source != "" {
			line += " (" + s.Source + ")"
		}
		if !slices.Contains(scores, line) {
			scores = append(scores, line)
		}
	}
	if f.EPSS > 0 {
		scores = append(scores, "attacked within 30 days with a probability of "+percent(f.EPSS)+" (EPSS)")
	}
	add("Severity", said(scores, ", "), "")
	add("Advisory", said(f.Advisories, ", "), "")
	if f.Certainty != "" || len(f.Why) > 0 {
		add("Match", strings.TrimPrefix(Plain(f.Certainty)+": "+said(f.Why, "; "), ": "), certainties[f.Certainty])
	}
	add("Others say", said(f.Opinions, "; "), "")
	return lines
}

// percent writes a probability with two significant digits.
func percent(p float64) string {
	if p > 0.0995 { // 'g' writes 100 as 1e+02
		return strconv.FormatFloat(100*p, 'f', 0, 64) + " %"
	}
	return strconv.FormatFloat(100*p, 'g', 2, 64) + " %"
}

// losses returns what was lost, in the order of the words.
func (s *Stats) losses() []string {
	var out []string
	for what := range s.Lost {
		out = append(out, what)
	}
	slices.Sort(out)
	return out
}

// where says where a sighting is.
func (a *Assessment) where(s finding.Sighting) string {
	w := Plain(a.input(s.Input))
	if s.Packet > 0 {
		w += ":" + strconv.FormatUint(s.Packet, 10)
	}
	return strings.TrimPrefix(w, ":")
}

// product names maker, model and version.
func product(d *device.Device) string {
	return strings.Join(strings.Fields(Plain(d.Manufacturer+" "+d.Model+" "+d.Version)), " ")
}

// clearance says in a sentence how many findings suppliers cleared, or nothing.
func (g *digest) clearance() string {
	if len(g.Cleared) == 1 {
		return "1 finding cleared by its supplier"
	}
	if len(g.Cleared) == 0 {
		return ""
	}
	return count(len(g.Cleared), "finding") + " cleared by their suppliers"
}

// what names the product that is cleared, and its part.
func (c *Cleared) what() string {
	if c.Component != "" {
		return Plain(c.Product + ": " + c.Component)
	}
	return Plain(c.Product)
}

// because says what the supplier says, and why.
func (c *Cleared) because() string {
	s := strings.ReplaceAll(c.Status, "_", " ")
	if c.Justification != "" {
		s += ": " + strings.ReplaceAll(c.Justification, "_", " ")
	}
	if c.Impact != "" {
		s += " (" + c.Impact + ")"
	}
	return Plain(s)
}

// Sentence says in words what is cleared, by whom and why.
func (c *Cleared) Sentence(a *Assessment) string {
	return "its supplier cleared it in " + c.what() + ": " + c.because() + "; " + c.by(a)
}

// by names the supplier, its document and when it said so.
func (c *Cleared) by(a *Assessment) string {
	list := []string{c.Supplier}
	if c.Document != "" {
		list = append(list, c.Document)
	}
	if c.Time != 0 {
		list = append(list, time.Unix(0, c.Time).UTC().Format(time.DateOnly))
	}
	s := strings.Join(list, ", ")
	if file := a.input(c.Input); file != "" {
		s += ", in " + file
	}
	return Plain(s)
}

// shownGaps is how many components are named of those that lack an element.
const shownGaps = 10

// lacks says which elements are missing of how many components, and names the
// first of them; of NTIA's minimum elements, or of FDA's additions.
func (m *Bill) lacks(fda bool) string {
	var list []string
	for i := range m.Lacks {
		l := &m.Lacks[i]
		switch {
		case l.FDA != fda:
		case l.Components == 0:
			list = append(list, "no "+l.Element)
		case l.Names == nil:
			list = append(list, "all without "+l.Element)
		default:
			names := make([]string, 0, shownGaps)
			for _, s := range l.Names[:min(len(l.Names), shownGaps)] {
				names = append(names, cut(Plain(s), 60))
			}
			list = append(list, digits(l.Components)+" without "+l.Element+" ("+enumerate(names, len(l.Names))+")")
		}
	}
	return strings.Join(list, "; ")
}

// of names the product of a bill, or its file.
func (m *Bill) of(a *Assessment) string {
	return Plain(cmp.Or(m.Product, a.input(m.Input), "an unnamed product"))
}

// sentence says what is in a bill, and whether it is complete.
func (m *Bill) sentence(a *Assessment) string {
	s := "bill of materials of " + m.of(a) + ": " + count(m.Components, "component") + "; "
	if lacks := m.lacks(false); lacks != "" {
		return s + "not complete: " + lacks
	}
	return s + "complete by NTIA's minimum elements"
}

// ShortIDs returns for each finding, by its id, the beginning of it that no other
// finding's id has: the kind and at least four letters.
func ShortIDs(findings []finding.Finding) map[string]string {
	const letters = 4
	ids := make([]string, len(findings))
	for i := range findings {
		ids[i] = findings[i].ID
	}
	slices.Sort(ids)
	shared := func(a, b string) (n int) {
		for n < len(a) && n < len(b) && a[n] == b[n] {
			n++
		}
		return n
	}
	short := make(map[string]string, len(ids))
	for i, id := range ids {
		n := strings.LastIndexByte(id, '-') + 1 + letters
		if i > 0 {
			n = max(n, shared(id, ids[i-1])+1)
		}
		if i+1 < len(ids) {
			n = max(n, shared(id, ids[i+1])+1)
		}
		short[id] = id[:min(n, len(id))]
	}
	return short
}
