// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"archive/zip"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/myelin-health/myelin/internal/lazyregexp"
)

const maxQuestions = 2000

// ErrNotMDS2 is a workbook that is no form.
var ErrNotMDS2 = errors.New("no MDS2 form: no sheet has questions such as CONN-1")

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
	Model        string // DOC-3, without the version
	Version      string // of the product, where DOC-3 has one: "2.1", "2.x"; else ""
	Document     string // DOC-4
	Released     string // DOC-7: "2006-01-02" where it is a date, else as written
	Questions    []Question
	Unknown      []string // ids of groups that HN 1-2019 does not have; they are kept
}

// Of reports whether the form is about a version of the product: its own, or one
// of it, as 2.1.4 is of 2.1 and of 2.x.
func (m *MDS2) Of(version string) bool {
	form, has := strings.Split(m.Version, "."), strings.Split(strings.ToLower(strings.TrimPrefix(version, "v")), ".")
	for i, part := range form {
		if part == "x" {
			return m.Version != ""
		}
		if i >= len(has) || has[i] != part {
			return false
		}
	}
	return m.Version != ""
}

// Question returns the question of an id, or nil.
func (m *MDS2) Question(id string) *Question {
	if i := slices.IndexFunc(m.Questions, func(q Question) bool { return q.ID == id }); i >= 0 {
		return &m.Questions[i]
	}
	return nil
}

// groups are those of HN 1-2019.
var groups = strings.Fields("DOC MPII ALOF AUDT AUTH CSUP DIDT DTBK EMRG IGAU MLDP NAUT CONN PAUT PLOK RDMP SBOM SAHD SGUD STCF TXCF TXIG RMOT OTHR")

var (
	id2019  = lazyregexp.New(`^([A-Z]{3,4})\s*[-\x{2010}-\x{2014}]\s*(\d+(?:\.\d+)*)\.?$`)
	id2013  = lazyregexp.New(`^\d{1,2}-\d{1,2}(\.\d+)*$`)
	noteRow = lazyregexp.New(`(?i)^notes?\s*#?\s*(\d+)\s*[:.)-]?\s*`)
	// "Flow 500, software version 2.1.4" ends with a version; "V2" is a model.
	modelVersion = lazyregexp.New(`(?i)[\s,;:/(-]+(?:(?:software|firmware|sw|fw)\s*)?(?:(?:version|ver|release|revision|rev|v)\b?\.?\s*)?(\d+(?:\.(?:\d+|x))+)\s*\)?$`)
	noteRef      = lazyregexp.New(`(?i)^(?:see\s+)?(?:notes?)?\s*#?\s*(\d+)$`)
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
	b, err := openBook(z)
	if err != nil {
		return nil, err
	}
	var best *sheet
	for _, in := range b.sheets {
		s, err := readSheet(b, in)
		if errors.Is(err, errUnpacked) {
			return nil, err
		}
		if err != nil {
			continue // damaged; another may be the form
		}
		if best == nil || s.before(best) {
			best = s
		}
	}
	switch {
	case best == nil:
		return nil, errWorkbook
	case best.isForm():
		return best.form2019(), nil
	case best.older >= 5 && best.titled:
		return best.form2013(), nil
	}
	return nil, ErrNotMDS2
}

// A sheet is one sheet's cells, bounded, and what they look like.
type sheet struct {
	name      string
	rows      [][]string
	idColumn  int // with most ids
	questions int // ids of 2019 in it
	older     int // ids of 2013
	titled    bool
	hidden    bool // as makers hide what they copy their forms from
	date1904  bool // see [book]
}

// isForm reports whether it has questions as HN 1-2019 has them.
func (s *sheet) isForm() bool { return s.questions >= 3 }

// before reports whether s is rather the form than o.
func (s *sheet) before(o *sheet) bool {
	if a, b := s.isForm() && !s.hidden, o.isForm() && !o.hidden; a != b {
		return a
	}
	return s.questions > o.questions || o.questions == 0 && s.older > o.older
}

func readSheet(b *book, in bookSheet) (*sheet, error) {
	s := &sheet{name: shownHeading(in.name), hidden: in.hidden, date1904: b.date1904}
	rows, merges, err := b.readCells(in.part)
	if err != nil {
		return nil, err
	}
	s.rows = rows
	var ids, older [maxMDS2Columns]int
	for _, cells := range rows {
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
	}
	for i := range ids {
		if ids[i] > s.questions {
			s.questions, s.idColumn = ids[i], i
		}
		if s.older = max(s.older, older[i]); s.questions == 0 && older[i] == s.older && s.older > 0 {
			s.idColumn = i
		}
	}
	for _, m := range merges {
		s.fill(m)
	}
	return s, nil
}

// fill copies the value of cells that are merged over several rows down its
// column: it is the answer to each of them. An id stays that of the first.
func (s *sheet) fill(m merge) {
	if m.column >= maxMDS2Columns || m.column == s.idColumn || m.first > len(s.rows) {
		return
	}
	v := at(s.rows[m.first-1], m.column)
	for i := m.first; i < min(m.last, len(s.rows)) && v != ""; i++ {
		for len(s.rows[i]) <= m.column {
			s.rows[i] = append(s.rows[i], "")
		}
		if s.rows[i][m.column] == "" {
			s.rows[i][m.column] = v
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
			m.about(&q, s.date1904)
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
func (m *MDS2) about(q *Question, date1904 bool) {
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
		if v := modelVersion().FindStringSubmatchIndex(m.Model); v != nil && v[0] > 0 {
			m.Model, m.Version = m.Model[:v[0]], strings.ToLower(m.Model[v[2]:v[3]])
		}
	case is("DOC-4", "document id"):
		m.Document = cut(q.Said)
	case is("DOC-7", "release date"):
		days, err := strconv.ParseFloat(q.Said, 64)
		if date1904 {
			days += 1462
		}
		if err == nil && days > 36526 && days < 73050 { // 2000 to 2099, as a workbook counts
			q.Said = time.Date(1899, time.December, 30+int(days), 0, 0, 0, 0, time.UTC).Format("2006-01-02")
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

// cellErrors are what a formula that fails gives (ECMA-376-1:2016 clause 18.17.3).
// "#N/A" is no answer.
var cellErrors = strings.Fields("#div/0! #getting_data #n/a #name? #null! #num! #ref! #value!")

// answerOf reads an answer: "Yes", "N/A", "No, see note 3".
func answerOf(s string) Answer {
	s = strings.ToLower(strings.TrimSpace(s))
	if slices.Contains(cellErrors, s) {
		return NoAnswer
	}
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
	case w == "yes" || w == "ja" || w == "oui" || s == "y" || s == "true":
		return Yes
	case w == "no" || w == "nein" || s == "non" || s == "n" || s == "false":
		return No
	case w == "n/a" || w == "na" || w == "n.a" || strings.HasPrefix(s, "not applicable") || strings.HasPrefix(s, "does not apply"):
		return NotApplicable
	case w == "see" || w == "note" || w == "notes" || w == "refer" || w == "siehe" || w == "voir":
		return SeeNote
	}
	return Other
}
