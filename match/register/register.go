// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package register reads what a hospital and the authorities know of devices:
// the hospital's own register (CSV, YAML, JSON: [Read]), AccessGUDID's device
// identifiers ([GUDID]) and openFDA's product codes ([ReadClassification]) and
// recalls ([ReadRecalls]), and manufacturers' MDS2 workbooks ([ReadMDS2]).
//
// A register is read as it comes out of whatever keeps it. Columns are known by
// their headings; what was made of each is told, and so is what could not be
// used and where. Serial numbers of implanted and body-worn devices are patient
// data: they are there to be compared, and [Entry.Shown] is what may be told.
//
// This API is stable.
package register

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/myelin-health/myelin/device"
)

// The bounds of a list of devices. A hospital of a hundred thousand devices has
// one of some 30 MiB.
const (
	maxListBytes = 64 << 20
	maxTreeBytes = 8 << 20 // of YAML, whose parser needs fifty times that
	maxEntries   = 250_000
	maxColumns   = 512
	maxCellBytes = 4 << 10
	maxProblems  = 1000 // that are told one by one
	maxPreamble  = 16   // lines before the headings
)

// An Entry is one device as somebody wrote it down. Empty fields are unknown.
type Entry struct {
	ID string // the hospital's own: "pump-3"
	device.Identity
	ProductCode string
	Therapy     device.Therapy
	Class       string
	Worn        bool // implanted or worn on the body: see [Entry.Shown]
	Ward        string
	Location    string
	Owner       string
	Made        string // date of manufacture: "2006-01-02", "2006-01", "2006", or ""
	Distributed string // date of distribution or delivery, likewise
	Guarded     bool
	SBOM        string // serial number of its bill of materials, or ""
	Line        int    // of the file

	saidWorn bool // by a column of its own
	guessed  struct {
		code, class string
		therapy     device.Therapy
	} // by [Entry.Classify], and so no more than what it knew
}

// Shown returns what of the entry may leave the program. Of a device that is
// implanted or worn, its serial number, the UDI's production identifiers, its
// addresses, and where and whose it is would lead to the patient.
func (e *Entry) Shown() Entry {
	s := *e
	if e.Worn {
		s.Serial, s.Addresses, s.Location, s.Owner = "", nil, "", ""
		s.UDI = device.UDI{Issuer: e.UDI.Issuer, DI: e.UDI.DI}
	}
	return s
}

// String names the entry without anything that could be patient data.
func (e Entry) String() string {
	return strings.Join(strings.Fields(e.ID+" "+e.Manufacturer+" "+e.Model), " ")
}

// LogValue implements [slog.LogValuer].
func (e Entry) LogValue() slog.Value { return slog.StringValue(e.String()) }

// Classify decides therapy, class and whether it is worn by what the catalogue
// (nil: Myelin's own) knows of the product: its code first, then its therapy,
// then what it is called, which is its model's name where it has no class. What the entry says itself is kept, and nothing makes
// worn what a code says is not, but a column of the register itself. It may be
// called again with another catalogue: what the last one said counts no more.
func (e *Entry) Classify(c *device.Catalogue) {
	if e.ProductCode == e.guessed.code {
		e.ProductCode = c.CodeOf(e.UDI.DI, e.Manufacturer, e.Model)
		e.guessed.code = e.ProductCode
	}
	p, known := c.Lookup(e.ProductCode)
	if e.Class == e.guessed.class {
		e.Class = p.Class
		e.guessed.class = e.Class
	}
	if e.Therapy == e.guessed.therapy {
		if e.Therapy = p.Therapies.First(); e.Therapy == device.NoTherapy {
			e.Therapy = therapyOf(cmp.Or(e.Class, e.Model))
		}
		e.guessed.therapy = e.Therapy
	}
	switch {
	case e.saidWorn: // e.Worn is what it said
	case known:
		e.Worn = p.Worn
	default:
		e.Worn = namedWorn(e.Class, e.Therapy)
	}
}

// A Register is a list of devices, with how its columns were understood.
type Register struct {
	Entries  []Entry
	Columns  []Column
	Unused   []string  // headings that nothing was made of
	Problems []Problem // what could not be used, at most a thousand
	More     int       // problems beyond these
}

// Classify does so for all entries.
func (r *Register) Classify(c *device.Catalogue) {
	for i := range r.Entries {
		r.Entries[i].Classify(c)
	}
}

// Lacks returns which fields no column was taken for of those without which what
// is published of products can hardly be held against a device: "manufacturer",
// "model", "version".
func (r *Register) Lacks() (missing []string) {
	for _, f := range [...]field{fieldManufacturer, fieldModel, fieldVersion} {
		if !slices.ContainsFunc(r.Columns, func(c Column) bool { return c.Field == fields[f].name }) {
			missing = append(missing, fields[f].name)
		}
	}
	return missing
}

// A Column is a heading and the field that it was taken for. The values of a
// column taken for [PatientColumn] were not read.
type Column struct{ Heading, Field string }

// PatientColumn is the field of columns that are about a patient, not a device.
const PatientColumn = "patient (not read)"

// A Problem is what could not be used of a list, and where. It repeats nothing
// that stands there.
type Problem struct {
	Line, Column int    // from 1; Column counts bytes, 0 is the whole line
	Field        string // the field, or ""
	Err          error
}

func (p Problem) Error() string {
	where := fmt.Sprintf("line %d", p.Line)
	if p.Column > 0 {
		where += fmt.Sprintf(", column %d", p.Column)
	}
	if p.Field != "" {
		where += ": " + p.Field
	}
	return where + ": " + p.Err.Error()
}

func (p Problem) Unwrap() error { return p.Err }

// What can be wrong with a list as a whole, and with a row of it.
var (
	ErrNotList    = errors.New("no list of devices: no line names columns such as manufacturer, model, serial number, IP address")
	errTooLarge   = errors.New("larger than a list of devices may be")
	errNotText    = errors.New("not text")
	errTooMany    = errors.New("more devices than there is room for; the rest is not read")
	errNameless   = errors.New("names no device: neither an id, nor a model, a serial number, a UDI or an address")
	errTwice      = errors.New("another row has this id already; this one is not used")
	errSerial     = errors.New("another row has this serial number of the same product; one device is there twice, or one of them is wrong; both are kept")
	errHeadings   = errors.New("this heading is there twice; of a row that has both the first counts")
	errLong       = errors.New("longer than this field can be")
	errControl    = errors.New("a control character")
	errColumns    = errors.New("more cells than columns")
	errQuote      = errors.New("a quote that is not closed")
	errAfterQuote = errors.New("text between a closing quote and the next column")
)

// Read reads a list of devices: CSV (with commas, semicolons or tabs), YAML or
// JSON, told apart by their content; name is the file's, and only a hint. Text
// is UTF-8, UTF-16, or else Windows-1252.
//
// CSV has one line of headings, of which at least two are known and one says
// which device it is. YAML and JSON are a list of maps whose keys are read as
// headings are, or a map with that list under "devices", "register", "entries",
// "assets", "equipment" or "inventory"; maps within maps are looked into.
// Addresses may also be a list, of texts or of kind and value.
//
// A row that cannot be used, or a cell, is a [Problem] and stops nothing. An
// error is of the whole.
func Read(r io.Reader, name string) (*Register, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxListBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxListBytes {
		return nil, errTooLarge
	}
	if b, err = text(b); err != nil {
		return nil, err
	}
	l := &list{ids: map[string]bool{}, serials: map[string]bool{}, columns: map[string]*known{}}
	switch formOf(b) {
	case inJSON:
		err = l.readJSON(b)
	case inYAML:
		err = l.readYAML(b)
	case inCSV:
		err = l.readCSV(b)
	default:
		err = ErrNotList
	}
	if err != nil {
		return nil, err
	}
	l.columnsUsed()
	return &l.Register, nil
}

// text returns what was read as UTF-8 without a mark.
func text(b []byte) ([]byte, error) {
	if rest, ok := bytes.CutPrefix(b, []byte("\ufeff")); ok {
		b = rest
	}
	if big, wide := utf16Order(b); wide {
		units := make([]uint16, 0, len(b)/2)
		for ; len(b) >= 2; b = b[2:] {
			u := uint16(b[0]) | uint16(b[1])<<8
			if big {
				u = u<<8 | u>>8
			}
			units = append(units, u)
		}
		b = bytes.TrimPrefix([]byte(string(utf16.Decode(units))), []byte("\ufeff"))
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, errNotText
	}
	if utf8.Valid(b) {
		return b, nil
	}
	latin := make([]byte, 0, len(b)+len(b)/8) // what spreadsheets still write in Europe
	for _, c := range b {
		r := rune(c)
		if 0x80 <= c && c < 0xa0 {
			r = windows1252[c-0x80]
		}
		latin = utf8.AppendRune(latin, r)
	}
	return latin, nil
}

// windows1252 are its characters 80 to 9f; all others are those of Latin-1. Where
// it has none there is that of Latin-1, a control character.
var windows1252 = [32]rune([]rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"))

// utf16Order reports whether a text is UTF-16, by its mark or because each of its
// first letters has a zero byte, and whether the upper byte comes first.
func utf16Order(b []byte) (big, wide bool) {
	if len(b) < 4 {
		return false, false
	}
	big = b[0] == 0xfe && b[1] == 0xff || b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0
	return big, big || b[0] == 0xff && b[1] == 0xfe || b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0
}

// A form is how a list is written.
type form uint8

const (
	inNone form = iota
	inCSV
	inYAML
	inJSON
)

func formOf(b []byte) form {
	t := bytes.TrimLeft(b, " \t\r\n")
	switch {
	case len(t) == 0:
		return inNone
	case t[0] == '{' || t[0] == '[' && !looksLikeHeadings(b):
		return inJSON
	case looksLikeHeadings(b):
		return inCSV
	case looksLikeYAML(t):
		return inYAML
	}
	return inNone
}

// A cell is what a list says of one field of one device. In YAML and JSON the
// heading is its key.
type cell struct {
	heading, value string
	line, column   int
}

// A known is a heading and what it was taken for.
type known struct {
	heading string
	field   field
}

// A list is a register being read.
type list struct {
	Register
	ids     map[string]bool
	serials map[string]bool   // with what each is of
	columns map[string]*known // by heading
	order   []*known
	full    bool
}

// problem notes what could not be used.
func (l *list) problem(line, column int, f field, err error) {
	if len(l.Problems) >= maxProblems {
		l.More++
		return
	}
	l.Problems = append(l.Problems, Problem{line, column, fields[f].name, err})
}

// heading returns what a heading is taken for, or nil when there are too many.
func (l *list) heading(s string) *known {
	if k := l.columns[s]; k != nil {
		return k
	}
	if len(l.order) >= maxColumns {
		return nil
	}
	k := &known{heading: shownHeading(s), field: fieldOf(s)}
	l.columns[strings.Clone(s)] = k
	l.order = append(l.order, k)
	return k
}

// columnsUsed tells what was made of the headings.
func (l *list) columnsUsed() {
	for _, k := range l.order {
		if k.field == noField {
			l.Unused = append(l.Unused, k.heading)
		} else {
			l.Columns = append(l.Columns, Column{k.heading, fields[k.field].name})
		}
	}
}

// again reports whether another row has the serial number of an entry's product:
// one of that device identifier, or of that make and model.
func (l *list) again(e *Entry) (found bool) {
	for _, product := range [...]string{e.UDI.DI, plain(e.Manufacturer) + "\x00" + plain(e.Model)} {
		if k := product + "\x00" + strings.ToLower(e.Serial); e.Serial != "" && len(product) > 1 {
			found = found || l.serials[k]
			l.serials[k] = true
		}
	}
	return found
}

// row takes one device. It reports whether there is room for more.
func (l *list) row(line int, cells []cell) bool {
	e := Entry{Line: line}
	for _, c := range cells {
		k := l.heading(c.heading)
		if k == nil || k.field == noField || k.field == fieldPatient {
			continue
		}
		v, err := tidy(c.value)
		if err == nil && v != "" {
			err = fields[k.field].set(&e, v)
		}
		if err != nil {
			l.problem(c.line, c.column, k.field, err)
		}
	}
	switch {
	case e.ID == "" && e.Model == "" && e.Serial == "" && e.UDI.DI == "" && len(e.Addresses) == 0:
		l.problem(line, 0, noField, errNameless)
		return true
	case e.ID != "" && l.ids[e.ID]:
		l.problem(line, 0, fieldID, errTwice)
		return true
	case len(l.Entries) >= maxEntries:
		if !l.full {
			l.problem(line, 0, noField, errTooMany)
		}
		l.full = true
		return false
	}
	if e.ID != "" {
		l.ids[e.ID] = true
	}
	if e.Serial == "" {
		e.Serial = e.UDI.Serial
	}
	if e.Made == "" {
		e.Made = e.UDI.Made
	}
	if l.again(&e) {
		l.problem(line, 0, fieldSerial, errSerial)
	}
	slices.SortFunc(e.Addresses, func(a, b device.Address) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Value, b.Value)
	})
	e.Addresses = slices.Compact(e.Addresses)
	e.Classify(nil)
	l.Entries = append(l.Entries, e)
	return true
}
