// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"archive/zip"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
)

// The bounds of a workbook. A filled form has 100 KiB, some 20 sheets when a
// maker keeps all its products in one, and 350 rows; what writes sheets of a
// thousand rows of 26 empty cells has half a million elements in these. A cell
// far away is passed over and costs nothing: offices end sheets with an empty
// row 1048576.
const (
	maxWorkbookBytes = 16 << 20
	maxUnpackedBytes = 32 << 20 // of all parts; of all that is read; and of the values of all cells
	maxParts         = 2000
	maxElements      = 1_000_000 // of XML, in all that is read
	maxNesting       = 64        // of elements; a run within a text has eight above it
	maxEquals        = 32_768    // "=" without a "<" between: see [thrifty]
	maxSheets        = 64
	maxSheetRows     = 5000 // that are kept
	maxMDS2Columns   = 32   // likewise
	maxMerges        = 2000 // of one sheet, over several rows
	maxRowNumber     = 1 << 20
	maxColumnNumber  = 1 << 14 // "XFD"
)

var (
	errWorkbook = errors.New("not a workbook that can be read (xlsx)")
	errUnpacked = errors.New("a workbook that unpacks to more than a form can be")
)

// A book is an open workbook (ECMA-376-1:2016 clause 18). It has the values of
// cells as they are stored: a number or a date is a number, whatever its format,
// and a formula is what it was when the workbook was written.
type book struct {
	parts    map[string]*zip.File // by [partName]
	sheets   []bookSheet
	date1904 bool // days count from 1904 (18.2.28)
	strings  []string

	unpacked int64 // bytes so far
	elements int
	text     int // bytes of cells so far, where a shared string counts each time
}

type bookSheet struct {
	name, part string
	hidden     bool
}

// A relation is where a part refers to another (ECMA-376-2 clause 9.3).
type relation struct{ kind, part string }

// relations are those of one part.
type relations struct {
	byID  map[string]relation
	first map[string]string // part by kind
}

// A merge is cells of several rows that are shown as one; rows count from 1, and
// the column, which is the first, from 0.
type merge struct{ column, first, last int }

// partName is how part names compare: without case (ECMA-376-2 clause 9.1.1).
// Some writers begin them with a slash, or have backslashes.
func partName(s string) string {
	return strings.ToLower(strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(s, `\`, "/")), "/"))
}

func openBook(z *zip.Reader) (*book, error) {
	if len(z.File) > maxParts {
		return nil, errUnpacked
	}
	b := &book{parts: map[string]*zip.File{}}
	var total uint64
	for _, f := range z.File {
		if f.UncompressedSize64 > maxUnpackedBytes {
			return nil, errUnpacked
		}
		if total += f.UncompressedSize64; total > maxUnpackedBytes {
			return nil, errUnpacked
		}
		b.parts[partName(f.Name)] = f
	}
	main := "xl/workbook.xml"
	related, err := b.relations("")
	if err != nil {
		return nil, err
	}
	if part := related.first["officeDocument"]; part != "" {
		main = part
	}
	if related, err = b.relations(main); err != nil {
		return nil, err
	}
	shared := path.Join(path.Dir(main), "sharedstrings.xml")
	if part := related.first["sharedStrings"]; part != "" {
		shared = part
	}
	err = b.read(main, func(tok xml.Token) error {
		switch start, _ := tok.(xml.StartElement); start.Name.Local {
		case "workbookPr":
			v := attribute(start, "date1904")
			b.date1904 = v == "1" || v == "true"
		case "sheet":
			if r := related.byID[attribute(start, "id")]; r.kind == "worksheet" && len(b.sheets) < maxSheets {
				state := attribute(start, "state")
				b.sheets = append(b.sheets, bookSheet{attribute(start, "name"), r.part, state != "" && state != "visible"})
			}
		}
		return nil
	})
	if err == nil && b.parts[shared] != nil {
		err = b.readStrings(shared)
	}
	return b, err
}

// read calls visit for each token of a part.
func (b *book) read(part string, visit func(xml.Token) error) error {
	f := b.parts[part]
	if f == nil {
		return errWorkbook
	}
	r, err := f.Open()
	if err != nil {
		return errWorkbook
	}
	defer r.Close()
	dec := xml.NewDecoder(&thrifty{r: io.LimitReader(r, maxUnpackedBytes-b.unpacked+1)})
	defer func(before int64) { b.unpacked = before + dec.InputOffset() }(b.unpacked)
	for depth := 0; ; {
		tok, err := dec.Token()
		if b.unpacked+dec.InputOffset() > maxUnpackedBytes {
			return errUnpacked
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errUnpacked):
			return errUnpacked
		case err != nil:
			return errWorkbook
		}
		switch tok.(type) {
		case xml.StartElement:
			b.elements++
			if depth++; depth > maxNesting || b.elements > maxElements {
				return errUnpacked
			}
		case xml.EndElement:
			depth--
		}
		if err := visit(tok); err != nil {
			return err
		}
	}
}

// A thrifty reader ends where an element has more attributes than any has: package
// xml holds all of them at once, and makes a gigabyte of 30 MiB of them. A "=" is
// in a text, too, of which a cell has at most 32,767 characters.
type thrifty struct {
	r      io.Reader
	equals int
}

func (t *thrifty) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	for _, c := range b[:n] {
		switch c {
		case '<':
			t.equals = 0
		case '=':
			if t.equals++; t.equals > maxEquals {
				return 0, errUnpacked
			}
		}
	}
	return n, err
}

// relations returns what a part refers to; of "" it is what the package itself
// does. A part without any is no error.
func (b *book) relations(part string) (relations, error) {
	related := relations{map[string]relation{}, map[string]string{}}
	dir, file := path.Split(part)
	name := dir + "_rels/" + file + ".rels"
	if b.parts[name] == nil {
		return related, nil
	}
	err := b.read(name, func(tok xml.Token) error {
		start, _ := tok.(xml.StartElement)
		if start.Name.Local != "Relationship" || attribute(start, "TargetMode") == "External" {
			return nil
		}
		target := attribute(start, "Target")
		if !strings.HasPrefix(target, "/") {
			target = dir + target
		}
		r := relation{path.Base(attribute(start, "Type")), partName(target)}
		related.byID[attribute(start, "Id")] = r
		if related.first[r.kind] == "" {
			related.first[r.kind] = r.part
		}
		return nil
	})
	return related, err
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// A richText gathers a text from its runs, without how it is pronounced (18.4.6).
type richText struct {
	strings.Builder
	in, phonetic bool
}

func (t *richText) token(tok xml.Token) {
	switch tok := tok.(type) {
	case xml.StartElement:
		switch tok.Name.Local {
		case "rPh":
			t.phonetic = true
		case "t":
			t.in = !t.phonetic
		}
	case xml.EndElement:
		switch tok.Name.Local {
		case "rPh":
			t.phonetic = false
		case "t":
			t.in = false
		}
	case xml.CharData:
		if t.in {
			t.Write(tok)
		}
	}
}

// readStrings reads the table of texts that cells share (18.4.9).
func (b *book) readStrings(part string) error {
	var t richText
	return b.read(part, func(tok xml.Token) error {
		t.token(tok)
		switch tok := tok.(type) {
		case xml.StartElement:
			if tok.Name.Local == "si" {
				t = richText{}
			}
		case xml.EndElement:
			if tok.Name.Local == "si" {
				b.strings = append(b.strings, unescape(t.String()))
			}
		}
		return nil
	})
}

// unescape reads a text's characters that XML cannot have: "_x000D_" (22.9.2.19).
func unescape(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "_x")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		end := i + len("_x")
		if i+6 < len(s) && s[i+6] == '_' {
			if n, err := strconv.ParseUint(s[end:i+6], 16, 16); err == nil {
				b.WriteString(s[:i])
				b.WriteRune(rune(n))
				s = s[i+7:]
				continue
			}
		}
		b.WriteString(s[:end])
		s = s[end:]
	}
}

// readCells reads a sheet: its rows, the first being row 1, and what is merged
// over several of them.
func (b *book) readCells(part string) (rows [][]string, merges []merge, err error) {
	var (
		row, column             int
		kind                    string
		text                    richText // of <is>
		value                   strings.Builder
		inData, inCell, inValue bool
	)
	err = b.read(part, func(tok xml.Token) error {
		if inCell {
			text.token(tok)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			switch name := tok.Name.Local; {
			case name == "sheetData":
				inData = true
			case name == "row" && inData:
				row, column = row+1, 0
				if r := attribute(tok, "r"); r != "" {
					if row, err = strconv.Atoi(r); err != nil {
						row = 0
					}
				}
				if row < 1 || row > maxRowNumber {
					return errWorkbook
				}
			case name == "c" && row > 0 && inData:
				inCell, kind, text = true, attribute(tok, "t"), richText{}
				value.Reset()
				column++
				if ref := attribute(tok, "r"); ref != "" {
					var ok bool
					if column, _, ok = coordinates(ref); !ok {
						return errWorkbook
					}
				}
			case name == "v":
				inValue = inCell
			case name == "mergeCell":
				from, to, _ := strings.Cut(attribute(tok, "ref"), ":")
				left, top, ok := coordinates(from)
				right, bottom, ok2 := coordinates(to)
				if !ok || !ok2 || top == bottom {
					break
				}
				if len(merges) == maxMerges {
					return errUnpacked
				}
				merges = append(merges, merge{min(left, right) - 1, min(top, bottom), max(top, bottom)})
			}
		case xml.EndElement:
			switch name := tok.Name.Local; {
			case name == "sheetData":
				inData = false
			case name == "v":
				inValue = false
			case name == "c" && inCell:
				inCell = false
				if row > maxSheetRows || column > maxMDS2Columns {
					return nil
				}
				v, err := b.cell(kind, value.String(), &text)
				if err != nil || v == "" {
					return err
				}
				for len(rows) < row {
					rows = append(rows, nil)
				}
				for len(rows[row-1]) < column {
					rows[row-1] = append(rows[row-1], "")
				}
				rows[row-1][column-1] = v
			}
		case xml.CharData:
			if inValue {
				value.Write(tok)
			}
		}
		return nil
	})
	return rows, merges, err
}

// cell returns what a cell of a kind (18.18.11) holds.
func (b *book) cell(kind, v string, text *richText) (string, error) {
	switch {
	case kind == "s" && v != "":
		i, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil || i < 0 || i >= len(b.strings) {
			return "", nil
		}
		v = b.strings[i]
	case kind == "inlineStr" && text.Len() > 0:
		v = unescape(text.String())
	case kind == "str": // of a formula
		v = unescape(v)
	case kind == "b" && v == "1", kind == "b" && v == "true":
		v = "TRUE"
	case kind == "b" && v != "":
		v = "FALSE"
	}
	if b.text += len(v); b.text > maxUnpackedBytes {
		return "", errUnpacked
	}
	return v, nil
}

// coordinates reads a reference: of "B7" it is 2, 7.
func coordinates(ref string) (column, row int, ok bool) {
	digits := strings.TrimLeft(ref, "$ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	for _, c := range strings.ToUpper(ref[:len(ref)-len(digits)]) {
		if c == '$' {
			continue
		}
		if column = 26*column + int(c-'A') + 1; column > maxColumnNumber {
			return 0, 0, false
		}
	}
	row, err := strconv.Atoi(digits)
	return column, row, err == nil && column > 0 && row > 0 && row <= maxRowNumber
}
