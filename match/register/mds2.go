// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"archive/zip"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/xuri/excelize/v2"

	"github.com/myelin-health/myelin/internal/lazyregexp"
)

// The bounds of a workbook. A filled form has 100 KiB, some 20 sheets when a
// maker keeps all its products in one, and 350 rows. What is within these
// bounds was measured before anything is made of it: a sheet of one cell far
// away would otherwise become millions.
const (
	maxWorkbookBytes = 16 << 20
	maxUnpackedBytes = 32 << 20
	maxParts         = 2000
	maxElements      = 500_000 // of XML, in all parts
	maxSheets        = 64
	maxSheetRows     = 5000 // that are read
	maxRowNumber     = 100_000
	maxSheetCells    = 200_000 // of one part, with the empty ones before the last of a row
	maxMerges        = 2000
	maxMDS2Columns   = 32
	maxQuestions     = 2000
)

// What is wrong with a workbook.
var (
	ErrNotMDS2  = errors.New("no MDS2 form: no sheet has questions such as CONN-1")
	errWorkbook = errors.New("not a workbook that can be read (xlsx)")
	errUnpacked = errors.New("a workbook that unpacks to more than a form can be")
)

// An Answer is what a maker answered.
type Answer uint8

// The answers. What is not among the form's own is Other, as written in
// [Question.Said].
const (
	NoAnswer Answer = iota
	Yes
	No
	NotApplicable
	SeeNote
	Other
)

var answers = [...]string{"", "yes", "no", "not applicable", "see note", "other"}

func (a Answer) String() string {
	if int(a) < len(answers) {
		return answers[a]
	}
	return ""
}

// A Question is one question of the form, with what was answered.
type Question struct {
	ID     string // "CONN-1.1.2"
	Text   string
	Answer Answer
	Said   string // the answer as written
	Note   string
	Row    int // of the sheet, from 1
}

// An MDS2 is a manufacturer's disclosure statement (ANSI/NEMA HN 1).
type MDS2 struct {
	Edition      string // "2019"; of "2013" the questions are kept as text, and say nothing
	Sheet        string
	Manufacturer string // DOC-1
	Description  string // DOC-2
	Model        string // DOC-3
	Document     string // DOC-4
	Released     string // DOC-7: "2006-01-02" where it is a date, else as written
	Questions    []Question
	Unknown      []string // ids of groups that HN 1-2019 does not have; they are kept
}

// groups are those of HN 1-2019.
var groups = strings.Fields("DOC MPII ALOF AUDT AUTH CSUP DIDT DTBK EMRG IGAU MLDP NAUT CONN PAUT PLOK RDMP SBOM SAHD SGUD STCF TXCF TXIG RMOT OTHR")

var (
	id2019  = lazyregexp.New(`^([A-Z]{3,4})\s*[-\x{2010}-\x{2014}]\s*(\d+(?:\.\d+)*)\.?$`)
	id2013  = lazyregexp.New(`^\d{1,2}-\d{1,2}(\.\d+)*$`)
	noteRow = lazyregexp.New(`(?i)^notes?\s*#?\s*(\d+)\s*[:.)-]?\s*`)
	noteRef = lazyregexp.New(`(?i)^(?:see\s+)?(?:notes?)?\s*#?\s*(\d+)$`)
)

// questionID returns the id that a cell holds, or "".
func questionID(s string) string {
	m := id2019().FindStringSubmatch(strings.ToUpper(strings.TrimSpace(s)))
	if m == nil || len(s) > 40 {
		return ""
	}
	return m[1] + "-" + m[2]
}

// ReadMDS2 reads the form from a workbook (xlsx) of HN 1-2019. The sheet is
// found by its questions, whatever it is called; so are its columns. Of the
// edition of 2013 the questions are shown as text, for a person to read.
func ReadMDS2(r io.ReaderAt, size int64) (*MDS2, error) {
	if size > maxWorkbookBytes {
		return nil, errUnpacked
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, errWorkbook
	}
	if err := measure(z); err != nil {
		return nil, err
	}
	f, err := excelize.OpenReader(io.NewSectionReader(r, 0, size), excelize.Options{
		UnzipSizeLimit: maxUnpackedBytes, UnzipXMLSizeLimit: maxUnpackedBytes, RawCellValue: true,
	})
	if err != nil {
		return nil, errWorkbook
	}
	defer f.Close()
	var best *sheet
	for i, name := range f.GetSheetList() {
		if i >= maxSheets {
			break
		}
		s, err := readSheet(f, name)
		if err != nil {
			continue // of pictures, or damaged; another may be the form
		}
		if best == nil || s.questions > best.questions || best.questions == 0 && s.older > best.older {
			best = s
		}
	}
	switch {
	case best == nil:
		return nil, errWorkbook
	case best.questions >= 3:
		return best.form2019(), nil
	case best.older >= 5 && best.titled:
		return best.form2013(), nil
	}
	return nil, ErrNotMDS2
}

// measure holds the parts of a workbook against the bounds. That it is XML is
// for excelize to say.
func measure(z *zip.Reader) error {
	if len(z.File) > maxParts {
		return errUnpacked
	}
	var total uint64
	for _, f := range z.File {
		if f.UncompressedSize64 > maxUnpackedBytes {
			return errUnpacked
		}
		if total += f.UncompressedSize64; total > maxUnpackedBytes {
			return errUnpacked
		}
	}
	elements := 0
	for _, f := range z.File {
		part, err := f.Open()
		if err != nil {
			return errWorkbook
		}
		err = measurePart(part, &elements)
		part.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// measurePart counts elements, rows, cells and merged cells of a part, which
// may be a sheet whatever its name is.
func measurePart(r io.Reader, elements *int) error {
	dec := xml.NewDecoder(io.LimitReader(r, maxUnpackedBytes+1))
	dec.Strict = false
	row, width, cells, merges := 0, 0, 0, 0
	for {
		tok, err := dec.RawToken()
		if err != nil {
			return nil
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if *elements++; *elements > maxElements {
			return errUnpacked
		}
		at := ""
		for _, a := range start.Attr {
			if a.Name.Local == "r" {
				at = a.Value
			}
		}
		switch start.Name.Local {
		case "row":
			row, width = row+1, 0
			if n, err := strconv.Atoi(at); err == nil {
				row = n
			}
		case "c":
			was := width
			width++
			if column, line, err := excelize.CellNameToCoordinates(at); err == nil {
				width, row = max(width, column), max(row, line)
			}
			cells += width - was
		case "mergeCell":
			merges++
		}
		if row > maxRowNumber || row < 0 || cells > maxSheetCells || merges > maxMerges {
			return errUnpacked
		}
	}
}

// A sheet is one sheet's cells, bounded, and what they look like.
type sheet struct {
	name      string
	rows      [][]string
	idColumn  int // with most ids
	questions int // ids of 2019 in it
	older     int // ids of 2013
	titled    bool
}

func readSheet(f *excelize.File, name string) (*sheet, error) {
	s := &sheet{name: shownHeading(name)}
	rows, err := f.Rows(name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids, older [maxMDS2Columns]int
	for rows.Next() && len(s.rows) < maxSheetRows {
		cells, err := rows.Columns()
		if err != nil {
			return nil, err
		}
		cells = cells[:min(len(cells), maxMDS2Columns)]
		for i, c := range cells {
			cells[i] = prose(c)
			if questionID(c) != "" {
				ids[i]++
			}
			if id2013().MatchString(strings.TrimSpace(c)) {
				older[i]++
			}
			if low := strings.ToLower(c); strings.Contains(low, "mds2") || strings.Contains(low, "manufacturer disclosure statement") {
				s.titled = true
			}
		}
		s.rows = append(s.rows, cells)
	}
	for i := range ids {
		if ids[i] > s.questions {
			s.questions, s.idColumn = ids[i], i
		}
		if s.older = max(s.older, older[i]); s.questions == 0 && older[i] == s.older && s.older > 0 {
			s.idColumn = i
		}
	}
	merged, err := f.GetMergeCells(name, true)
	if err != nil {
		return nil, err
	}
	for _, m := range merged {
		s.fill(m.GetStartAxis(), m.GetEndAxis())
	}
	return s, nil
}

// fill copies the value of cells that are merged over several rows down its
// column: it is the answer to each of them. An id stays that of the first.
func (s *sheet) fill(from, to string) {
	column, first, err := excelize.CellNameToCoordinates(from)
	_, last, err2 := excelize.CellNameToCoordinates(to)
	if column--; err != nil || err2 != nil || column >= maxMDS2Columns || column == s.idColumn || first > len(s.rows) {
		return
	}
	v := at(s.rows[first-1], column)
	for i := first; i < min(last, len(s.rows)) && v != ""; i++ {
		for len(s.rows[i]) <= column {
			s.rows[i] = append(s.rows[i], "")
		}
		if s.rows[i][column] == "" {
			s.rows[i][column] = v
		}
	}
}

// at returns a cell of a row, which may end before it.
func at(row []string, i int) string {
	if i < 0 || i >= len(row) {
		return ""
	}
	return row[i]
}

// columns finds where the questions' text and answers stand: the text is what
// is longest, answers are yes and no.
func (s *sheet) columns() (text, answer int) {
	var length, answered [maxMDS2Columns]int
	for _, row := range s.rows {
		id := questionID(at(row, s.idColumn))
		if id == "" {
			continue
		}
		for i, c := range row {
			if i <= s.idColumn {
				continue
			}
			switch a := answerOf(c); {
			case a >= Yes && a <= SeeNote && !strings.HasPrefix(id, "DOC-"):
				answered[i]++
			case !strings.HasPrefix(id, "DOC-"):
				length[i] += min(len(c), 200)
			}
		}
	}
	text, answer = s.idColumn+1, 0
	for i := range length {
		if i > s.idColumn && length[i] > at2(length[:], text) {
			text = i
		}
	}
	for i := range answered {
		if i != text && answered[i] > at2(answered[:], answer) {
			answer = i
		}
	}
	if answer == 0 {
		answer = text + 1
	}
	return text, answer
}

func at2(n []int, i int) int {
	if i < 0 || i >= len(n) {
		return 0
	}
	return n[i]
}

func (s *sheet) form2019() *MDS2 {
	m := &MDS2{Edition: "2019", Sheet: s.name}
	text, answer := s.columns()
	seen := map[string]int{} // index into Questions, plus one
	notes := map[string]string{}
	for n, row := range s.rows {
		id := questionID(at(row, s.idColumn))
		if id == "" {
			for i, c := range row {
				if k := noteRow().FindStringSubmatch(c); k != nil {
					if note := first(c[len(k[0]):], next(row, i)); note != "" && len(notes) < maxQuestions {
						notes[k[1]] = note
					}
				}
				if c != "" {
					break
				}
			}
			continue
		}
		if i := seen[id]; i > 0 { // a table of notes, by id
			if q := &m.Questions[i-1]; q.Note == "" || noteRef().MatchString(q.Note) {
				q.Note = first(next(row, s.idColumn), q.Note)
			}
			continue
		}
		if len(m.Questions) >= maxQuestions {
			break
		}
		q := Question{ID: id, Text: at(row, text), Said: at(row, answer), Row: n + 1}
		if strings.HasPrefix(id, "DOC-") {
			if q.Said == "" {
				q.Said = next(row, text)
			}
			m.about(&q)
		} else {
			q.Note = next(row, answer)
		}
		q.Answer = answerOf(q.Said)
		m.Questions = append(m.Questions, q)
		seen[id] = len(m.Questions)
		if group, _, _ := strings.Cut(id, "-"); !slices.Contains(groups, group) {
			m.Unknown = append(m.Unknown, id)
		}
	}
	for i := range m.Questions {
		q := &m.Questions[i]
		if ref := noteRef().FindStringSubmatch(q.Note); ref != nil && notes[ref[1]] != "" {
			q.Note = notes[ref[1]]
		} else if ref := noteRef().FindStringSubmatch(q.Said); ref != nil && q.Note == "" {
			q.Note = notes[ref[1]]
		}
	}
	return m
}

// next returns the first cell behind i that holds something.
func next(row []string, i int) string {
	for _, c := range row[min(i+1, len(row)):] {
		if c != "" {
			return c
		}
	}
	return ""
}

// about takes the head of the form. Whom to call is a person's name, and is not
// kept.
func (m *MDS2) about(q *Question) {
	is := func(id string, words ...string) bool {
		return q.ID == id && !inEnglish(q.Text) || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(plain(q.Text), w) })
	}
	switch {
	case is("DOC-5", "contact"):
		q.Said = ""
	case is("DOC-1", "manufacturer name"):
		m.Manufacturer = cut(q.Said)
	case is("DOC-2", "device description"):
		m.Description = cut(q.Said)
	case is("DOC-3", "device model"):
		m.Model = cut(q.Said)
	case is("DOC-4", "document id"):
		m.Document = cut(q.Said)
	case is("DOC-7", "release date"):
		if days, err := strconv.ParseFloat(q.Said, 64); err == nil && days > 36526 && days < 73050 { // 2000 to 2099, as a workbook counts
			if t, err := excelize.ExcelDateToTime(days, false); err == nil {
				q.Said = t.Format("2006-01-02")
			}
		}
		m.Released = cut(q.Said)
		if d, err := parseDate(m.Released); err == nil {
			m.Released = d
		}
	}
}

// inEnglish reports whether a question is one, or one of the head's names: then
// its words say what it asks, and its number does not.
func inEnglish(s string) bool {
	word, _, _ := strings.Cut(plain(s), " ")
	return slices.Contains([]string{"does", "is", "can", "are", "if", "do", "has", "have", "was", "will", "indicate", "manufacturer", "device", "document", "intended", "coordinated", "isao", "diagram", "samd"}, word)
}

// form2013 keeps what the older edition asks and was answered, as text.
func (s *sheet) form2013() *MDS2 {
	m := &MDS2{Edition: "2013", Sheet: s.name}
	for n, row := range s.rows {
		id := strings.TrimSpace(at(row, s.idColumn))
		if id2013().MatchString(id) && len(m.Questions) < maxQuestions {
			q := Question{ID: id, Text: next(row, s.idColumn), Row: n + 1}
			i := slices.Index(row, q.Text)
			q.Said = next(row, max(i, s.idColumn))
			m.Questions = append(m.Questions, q)
		}
	}
	return m
}

// choices are the words of an answer that was not chosen yet: "Yes / No".
var choices = strings.Fields("yes no n/a na or / see note notes choose select please an item")

// answerOf reads an answer: "Yes", "N/A", "No, see note 3".
func answerOf(s string) Answer {
	s = strings.ToLower(strings.TrimSpace(s))
	words := strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && r != '/' && r != '.' })
	if len(words) == 0 {
		if strings.ContainsAny(s, "0123456789") {
			return Other
		}
		return NoAnswer
	}
	w := strings.Trim(words[0], "./")
	open := w == "choose" || w == "select" || w == "please" || strings.HasPrefix(words[0], "yes/no") || (w == "yes" && slices.Contains(words, "no"))
	if open && !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(choices, w) && !strings.HasPrefix(w, "yes/no") }) {
		return NoAnswer
	}
	switch {
	case w == "yes" || w == "ja" || w == "oui" || s == "y":
		return Yes
	case w == "no" || w == "nein" || s == "non" || s == "n":
		return No
	case w == "n/a" || w == "na" || w == "n.a" || strings.HasPrefix(s, "not applicable") || strings.HasPrefix(s, "does not apply"):
		return NotApplicable
	case w == "see" || w == "note" || w == "notes" || w == "refer" || w == "siehe" || w == "voir":
		return SeeNote
	}
	return Other
}
