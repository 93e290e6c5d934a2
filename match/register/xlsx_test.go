// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

func open(t testing.TB, b []byte) *book {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := openBook(z)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// asExcelize holds every cell, merge, name and place of a workbook's sheets against
// what excelize reads, and returns how many cells that were. Only what is kept is
// compared, and a truth by its word.
func asExcelize(t *testing.T, b []byte) (cells int) {
	t.Helper()
	oracle, err := excelize.OpenReader(bytes.NewReader(b), excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	in := open(t, b)
	var names []string
	for _, s := range in.sheets {
		names = append(names, s.name)
		if visible, err := oracle.GetSheetVisible(s.name); err != nil || visible == s.hidden {
			t.Errorf("%s: hidden is %v (%v)", s.name, s.hidden, err)
		}
		want, err := oracle.GetRows(s.name)
		if err != nil {
			t.Fatal(err)
		}
		got, merges, err := in.readCells(s.part)
		if err != nil {
			t.Fatal(err)
		}
		for i := range max(len(want), len(got)) {
			var w, g []string
			if i < len(want) && i < maxSheetRows {
				w = want[i][:min(len(want[i]), maxMDS2Columns)]
			}
			if i < len(got) {
				g = got[i]
			}
			for j := range max(len(w), len(g)) {
				name, _ := excelize.CoordinatesToCellName(j+1, i+1)
				w := at(w, j)
				if kind, _ := oracle.GetCellType(s.name, name); kind == excelize.CellTypeBool {
					w = map[string]string{"0": "FALSE", "1": "TRUE"}[w]
				}
				if g := at(g, j); g != w {
					t.Errorf("%s!%s: %.80q, and excelize reads %.80q", s.name, name, g, w)
				}
				if w != "" {
					cells++
				}
			}
		}
		merged, err := oracle.GetMergeCells(s.name)
		if err != nil {
			t.Fatal(err)
		}
		var wantMerges []merge
		for _, m := range merged {
			column, first, _ := excelize.CellNameToCoordinates(m.GetStartAxis())
			if _, last, _ := excelize.CellNameToCoordinates(m.GetEndAxis()); last > first {
				wantMerges = append(wantMerges, merge{column - 1, first, last})
			}
		}
		if diff := cmp.Diff(wantMerges, merges, cmp.AllowUnexported(merge{})); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
	}
	if diff := cmp.Diff(oracle.GetSheetList(), names); diff != "" {
		t.Error(diff)
	}
	return cells
}

// mixed is a workbook with what excelize can write.
func mixed(t testing.TB) *excelize.File {
	t.Helper()
	f := excelize.NewFile()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	day := time.Date(2025, time.December, 1, 0, 0, 0, 0, time.UTC)
	for i, v := range []any{
		"text", "", " spaces around ", "two\nlines\tand & <tags>", "_x000D_", "_x005F_x000D_", "_x12_ and _xZZZZ_", "\u0001\r", "größer 漢字 😀", "'quoted", "=1+1", "0123",
		42, -1.5, 1e21, 0.1, 1.0 / 3, int64(9007199254740993), true, false, day, day.Add(7*time.Hour + time.Second), 90 * time.Minute, nil, strings.Repeat("long ", 6553),
	} {
		check(f.SetCellValue("Sheet1", fmt.Sprintf("B%d", 2*i+3), v))
	}
	check(f.SetCellRichText("Sheet1", "D4", []excelize.RichTextRun{{Text: "Does it "}, {Text: "support ", Font: &excelize.Font{Bold: true}}, {Text: " TLS?"}}))
	check(f.SetCellFormula("Sheet1", "AF6", "1+1")) // the last column that is kept, without a value
	check(f.SetCellValue("Sheet1", "AG6", "one more"))
	check(f.SetCellValue("Sheet1", "A4999", "far"))
	check(f.SetCellValue("Sheet1", "XFD1048576", "the last cell that there can be"))
	check(f.SetCellHyperLink("Sheet1", "B3", "https://norra.example", "External"))
	check(f.AddComment("Sheet1", excelize.Comment{Cell: "B5", Author: "x", Text: "a remark"}))
	for _, m := range [][2]string{{"B3", "C9"}, {"D4", "D6"}, {"E1", "H1"}, {"E9", "E2"}} {
		check(f.MergeCell("Sheet1", m[0], m[1]))
	}
	for _, name := range []string{"zweites & Blatt", "inline", "a third", "hidden", "very hidden", "empty"} {
		_, err := f.NewSheet(name)
		check(err)
		if name != "empty" {
			check(f.SetCellValue(name, "C7", "in "+name))
		}
	}
	check(f.SetSheetVisible("hidden", false))
	check(f.SetSheetVisible("very hidden", false, true))
	check(f.MoveSheet("a third", "Sheet1"))
	check(f.DeleteSheet("empty"))
	style, err := f.NewStyle(&excelize.Style{NumFmt: 14})
	check(err)
	check(f.SetCellStyle("Sheet1", "B15", "B60", style))
	w, err := f.NewStreamWriter("inline") // writes texts into their cells
	check(err)
	check(w.SetRow("A2", []any{"inline", 7, excelize.Cell{Value: "_x0041_"}, true, day, " kept "}))
	check(w.SetRow("B4", []any{[]excelize.RichTextRun{{Text: "in "}, {Text: "runs"}}, nil, "after a gap"}))
	check(w.MergeCell("A2", "A4"))
	check(w.Flush())
	return f
}

func TestWorkbookAsExcelize(t *testing.T) {
	for _, date1904 := range []bool{false, true} {
		f := mixed(t)
		if err := f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &date1904}); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := errors.Join(f.Write(&b), f.Close()); err != nil {
			t.Fatal(err)
		}
		if in := open(t, b.Bytes()); in.date1904 != date1904 {
			t.Error("days count from another year")
		}
		if n := asExcelize(t, b.Bytes()); n < 35 {
			t.Errorf("%d cells", n)
		}
	}
	asExcelize(t, workbook(t, map[string][][]string{"Cover": {{"x"}}, "Form (1)": gateway}, "B3:C3", "D11:D12"))

	// Written by others, with what excelize does not write but reads.
	const shared = `<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>plain</t></si><si><r><t>two </t></r><r><rPr><b/></rPr><t xml:space="preserve">runs </t></r></si>` +
		`<si><t>課きく</t><rPh sb="0" eb="1"><t>カ</t></rPh><phoneticPr fontId="1"/></si><si><r><t>a_x000D_b</t></r></si><si/></sst>`
	for _, cells := range []string{
		`<row r="2"><c r="B2" t="s"><v>0</v></c><c r="D2" t="s"><v> 1 </v></c></row>`,
		`<row r="1"><c r="A1" t="s"><v>2</v></c><c r="B1" t="s"><v>3</v></c><c r="C1" t="s"><v>4</v></c><c r="D1"><v>1</v></c></row>`,
		`<row r="1"><c r="A1" t="inlineStr"><is><r><t>a </t></r><r><t>c</t></r><rPh sb="0" eb="1"><t>b</t></rPh></is></c></row>`,
		`<row r="1"><c r="A1" t="str"><f>A1&amp;"x"</f><v>yx</v></c><c r="B1" t="e"><f>1/0</f><v>#DIV/0!</v></c><c r="C1"><f>2</f><v>2</v></c></row>`,
		`<row r="1"><c r="A1" t="b"><v>1</v></c><c r="B1" t="b"><v>0</v></c><c r="C1" t="n"><v>4.50</v></c><c r="D1"><v>1E+2</v></c></row>`,
		`<row r="3"><c r="C3"><v>3</v></c></row><row r="9" ht="12"/><row r="12"><c r="A12" s="0"/><c r="B12"><v>7</v></c></row>`,
		`<row><c><v>1</v></c><c><v>2</v></c></row><row><c><v>3</v></c></row>`,
	} {
		if asExcelize(t, oneSheet(t, `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>`+cells+`</sheetData></worksheet>`, shared)) == 0 {
			t.Errorf("no cells: %s", cells)
		}
	}
}

// What excelize does not read so, with the clause of ECMA-376-1:2016.
func TestWorkbookCells(t *testing.T) {
	const shared = `<sst><si><t>a</t></si></sst>`
	for cells, want := range map[string]string{
		`<row><c t="s"><v>-1</v></c><c t="s"><v>x</v></c><c t="s"/><c t="s"><v>1</v></c><c t="s"><v>0</v></c></row>`: "[[    a]]",            // indices of no text
		`<row><c t="b"><v>true</v></c><c t="b"/><c t="d"><v>2025-12-01</v></c></row>`:                                "[[TRUE  2025-12-01]]", // 18.18.11
		`<row><c t="str"><v>a_x0041_</v></c></row>`:                                                                  "[[aA]]",               // 18.3.1.96: <v> is an ST_Xstring
		`<row r="3"><c><v>3</v></c></row><row r="1"><c r="$a$1"><v>1</v></c></row>`:                                  "[[1] [] [3]]",
		`<row><c r="AG1"><v>1</v></c><c r="A1"><v>2</v></c></row>`:                                                   "[[2]]",
		`<row><c r="A1"><v>2</v></c><c r="XFD1"/></row><row r="1048576" ht="12.8"/>`:                                 "[[2]]",
		`<row r="5000"><c><v>1</v></c></row>`:                                                                        "[" + strings.Repeat("[] ", 4999) + "[1]]",
		`<row r="5001"><c><v>1</v></c></row>`:                                                                        "[]",
		`<x:row><x:c><x:v>1</x:v></x:c></x:row>`:                                                                     "[[1]]",
		`<row><c><v>1</v><extLst><ext><v>2</v></ext></extLst></c></row>`:                                             "[[12]]",
	} {
		b := open(t, oneSheet(t, `<worksheet xmlns:x="x"><sheetData>`+cells+`</sheetData><extLst><row><c><v>9</v></c></row></extLst></worksheet>`, shared))
		rows, _, err := b.readCells(b.sheets[0].part)
		if got := fmt.Sprint(rows); err != nil || got != want {
			t.Errorf("%s: %.80s, want %.80s (%v)", cells, got, want, err)
		}
	}
	for sheet, want := range map[string]error{
		`<row><c r="1A"/></row>`:                  errWorkbook,
		`<row><c r="XFD1"/></row>`:                nil,
		`<row><c r="XFE1"/></row>`:                errWorkbook,
		`<row><c r="A1048577"/></row>`:            errWorkbook,
		`<row>`:                                   errWorkbook,
		`<row r="0"/>`:                            errWorkbook,
		`<row r="-1"/>`:                           errWorkbook,
		`<row r="99999999999999999999"/>`:         errWorkbook,
		`<row r="1048576"/>`:                      nil,
		`<row r="1048577"/>`:                      errWorkbook,
		`<row r="1048576"/><row/>`:                errWorkbook,
		strings.Repeat(`<row/>`, maxSheetRows+1):  nil,
		`<row><c><v>&b;</v></c></row>`:            errWorkbook,
		`<row><c><v>` + "\xff" + `</v></c></row>`: errWorkbook,
	} {
		b := open(t, oneSheet(t, `<worksheet><sheetData>`+sheet+`</sheetData></worksheet>`, ""))
		if _, _, err := b.readCells(b.sheets[0].part); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, want %v", sheet, err, want)
		}
	}
}

// Where parts are is for relations to say.
func TestWorkbookParts(t *testing.T) {
	rel := func(kind, target string) string {
		return `<Relationships><Relationship Id="r1" Type="http://purl.oclc.org/ooxml/officeDocument/relationships/` + kind + `" Target="` + target + `"/></Relationships>`
	}
	const form = `<worksheet><sheetData><row><c t="str"><v>DOC-7</v></c><c t="str"><v>Document Release Date</v></c><c><v>44530</v></c></row>` +
		`<row><c t="str"><v>CONN-1</v></c><c t="str"><v>Can it?</v></c><c t="str"><v>No</v></c></row><row><c t="str"><v>CONN-2</v></c></row></sheetData></worksheet>`
	parts := []string{
		"_rels/.rels", rel("officeDocument", "/Book/main.xml"),
		`book\MAIN.xml`, `<workbook xmlns:r="r"><workbookPr date1904="1"/><sheets><sheet name="x" r:id="r9"/><sheet name="form" sheetId="4" r:id="r1"/></sheets></workbook>`,
		"book/_rels/main.xml.rels", rel("worksheet", "../other/s.xml"),
		"other/s.xml", form,
	}
	m, err := readMDS2(packed(t, parts...))
	if err != nil || m.Sheet != "form" || m.Released != "2025-12-01" { // 45992 from 1900
		t.Errorf("%v %+v", err, m)
	}
	for _, sheet := range []string{
		rel("worksheet", "/OTHER/S.xml"), rel("worksheet", `..\other\.\s.xml`), // the same place
	} {
		parts[5] = sheet
		if m, err := readMDS2(packed(t, parts...)); err != nil || m.Sheet != "form" {
			t.Errorf("%s: %v", sheet, err)
		}
	}
	for _, sheet := range []string{
		rel("chartsheet", "../other/s.xml"), rel("worksheet", "../../../other/gone.xml"), rel("worksheet", ""),
		rel("worksheet", "main.xml"), rel("worksheet", "_rels/main.xml.rels"), // in circles
		strings.Replace(rel("worksheet", "https://norra.example/s.xml"), `/></`, ` TargetMode="External"/></`, 1),
	} {
		parts[5] = sheet
		if m, err := readMDS2(packed(t, parts...)); err == nil {
			t.Errorf("%s: %+v", sheet, m)
		}
	}
	// The package's main part is where its relations are.
	if m, err := readMDS2(packed(t, "_rels/.rels", rel("officeDocument", "_rels/.rels"))); err == nil {
		t.Errorf("%+v", m)
	}

	// Makers keep what they copy their forms from in a hidden sheet, often in front.
	template := strings.ReplaceAll(form, ">No<", ">Yes<")
	for state, want := range map[string]string{"hidden": "form", "veryHidden": "form", "visible": "template"} {
		m, err := readMDS2(packed(t, "xl/workbook.xml", `<workbook><sheets><sheet name="template" state="`+state+`" id="r1"/><sheet name="form" id="r2"/></sheets></workbook>`,
			"xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="r1" Type="/worksheet" Target="b.xml"/><Relationship Id="r2" Type="/worksheet" Target="a.xml"/></Relationships>`,
			"xl/a.xml", form, "xl/b.xml", template))
		if err != nil || m.Sheet != want {
			t.Errorf("%s: %v %+v", state, err, m)
		}
	}
}

// repacked writes the parts of a workbook anew: as others pack them.
func repacked(t testing.TB, b []byte, header func(*zip.FileHeader)) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate}
		header(h)
		part, err := w.CreateHeader(h) // with a data descriptor behind it
		if err == nil {
			_, err = part.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWorkbookPacking(t *testing.T) {
	plain := workbook(t, map[string][][]string{"Form": gateway})
	want, err := readMDS2(plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"data descriptors": repacked(t, plain, func(*zip.FileHeader) {}),
		"not compressed":   repacked(t, plain, func(h *zip.FileHeader) { h.Method = zip.Store }),
		"rooted":           repacked(t, plain, func(h *zip.FileHeader) { h.Name = "/" + h.Name }),
		"backslashes":      repacked(t, plain, func(h *zip.FileHeader) { h.Name = strings.ReplaceAll(h.Name, "/", `\`) }),
		"in capitals":      repacked(t, plain, func(h *zip.FileHeader) { h.Name = strings.ToUpper(h.Name) }),
		"with a head":      append([]byte("#!/bin/sh\n"), plain...),
	} {
		if got, err := readMDS2(b); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%s: %v %s", name, err, cmp.Diff(want, got))
		}
	}
	for name, b := range map[string][]byte{
		"cut":               plain[:len(plain)-30],
		"of another method": repacked(t, bytes.Clone(plain), func(h *zip.FileHeader) {})[:100],
	} {
		if m, err := readMDS2(b); !errors.Is(err, errWorkbook) {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
	for i := range 64 { // a changed byte is told, or changes nothing
		b := bytes.Clone(plain)
		b[len(b)*i/64] ^= 0x10
		if m, err := readMDS2(b); err == nil && cmp.Diff(want, m) != "" {
			t.Errorf("byte %d: %s", len(b)*i/64, cmp.Diff(want, m))
		}
	}
}

// Each bound at its edge, and one beyond.
func TestWorkbookBounds(t *testing.T) {
	const head, end = `<worksheet><sheetData><row><c t="str"><v>CONN-1</v></c></row><row><c t="str"><v>CONN-2</v></c></row><row><c t="str"><v>CONN-3</v></c></row></sheetData>`, `</worksheet>`
	plain := open(t, oneSheet(t, head+end, ""))
	if _, _, err := plain.readCells(plain.sheets[0].part); err != nil {
		t.Fatal(err)
	}
	inBook := plain.elements
	form := []string{"xl/workbook.xml", `<workbook><sheets><sheet name="a" id="r1"/></sheets></workbook>`, "xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="r1" Type="/worksheet" Target="s.xml"/></Relationships>`, "xl/s.xml", head + end}
	parts := func(n int) []byte {
		list := slices.Clone(form)
		for i := len(list) / 2; i < n; i++ {
			list = append(list, fmt.Sprintf("p%d", i), "")
		}
		return packed(t, list...)
	}
	for _, tt := range []struct {
		name       string
		edge, over []byte
	}{
		{"parts", parts(maxParts), parts(maxParts + 1)},
		{"nesting", oneSheet(t, head+strings.Repeat("<a>", maxNesting-1)+strings.Repeat("</a>", maxNesting-1)+end, ""), oneSheet(t, head+strings.Repeat("<a>", maxNesting)+strings.Repeat("</a>", maxNesting)+end, "")},
		{"elements", oneSheet(t, head+strings.Repeat("<a/>", maxElements-inBook)+end, ""), oneSheet(t, head+strings.Repeat("<a/>", maxElements-inBook+1)+end, "")},
		{"attributes", oneSheet(t, head+"<a"+strings.Repeat(` b=""`, maxEquals)+"/>"+end, ""), oneSheet(t, head+"<a"+strings.Repeat(` b=""`, maxEquals+1)+"/>"+end, "")},
		{"a text of a cell", oneSheet(t, head+end, "<sst><si><t>"+strings.Repeat("=", 32767)+"</t></si></sst>"), oneSheet(t, head+end, "<sst><si><t>"+strings.Repeat("=", maxEquals+1)+"</t></si></sst>")},
		{"merges", oneSheet(t, head+strings.Repeat(`<mergeCell ref="A1:A2"/>`, maxMerges)+strings.Repeat(`<mergeCell ref="A1:B1"/>`, maxMerges)+end, ""), oneSheet(t, head+strings.Repeat(`<mergeCell ref="A1:A2"/>`, maxMerges+1)+end, "")},
	} {
		if m, err := readMDS2(tt.edge); err != nil || len(m.Questions) != 3 {
			t.Errorf("%s, at the edge: %v", tt.name, err)
		}
		if m, err := readMDS2(tt.over); m != nil || !errors.Is(err, errUnpacked) {
			t.Errorf("%s, beyond: %v", tt.name, err)
		}
	}

	// All parts together, those that are read and others, and a part each time.
	room := func(n int) []byte {
		for i := 1; i < len(form); i += 2 {
			n -= len(form[i])
		}
		return packed(t, slices.Concat(form, []string{"picture.png", strings.Repeat("x", n)})...)
	}
	if _, err := readMDS2(room(maxUnpackedBytes)); err != nil {
		t.Error(err)
	}
	if _, err := readMDS2(room(maxUnpackedBytes + 1)); !errors.Is(err, errUnpacked) {
		t.Error(err)
	}
	b := open(t, oneSheet(t, "<worksheet>"+strings.Repeat(" ", maxUnpackedBytes*2/3)+"</worksheet>", ""))
	if _, _, err := b.readCells(b.sheets[0].part); err != nil {
		t.Error(err)
	}
	if _, _, err := b.readCells(b.sheets[0].part); !errors.Is(err, errUnpacked) {
		t.Error("a part counts once only:", err)
	}
	// A text that cells share counts each time.
	share := func(cells int) []byte {
		return oneSheet(t, head+"<sheetData>"+strings.Repeat(`<row><c t="s"><v>0</v></c></row>`, cells)+"</sheetData>"+end, "<sst><si><t>"+strings.Repeat("x", 1<<20)+"</t></si></sst>")
	}
	if _, err := readMDS2(share(31)); err != nil {
		t.Error(err)
	}
	if _, err := readMDS2(share(33)); !errors.Is(err, errUnpacked) {
		t.Error(err)
	}
	// What a part says of its size counts for nothing.
	for _, size := range []uint32{0, 100} {
		lies := oneSheet(t, head+strings.Repeat(" ", maxUnpackedBytes)+end, "")
		at := 0
		for i := range 6 { // of the central directory, where the sheet is the fifth
			n := bytes.Index(lies[at:], []byte("PK\x01\x02"))
			if at += n; i == 4 {
				break
			}
		}
		binary.LittleEndian.PutUint32(lies[at+24:], size) // "uncompressed size" (APPNOTE 4.3.12)
		if m, err := readMDS2(lies); err == nil {
			t.Errorf("%+v", m)
		}
	}
}

// A formula that failed is no answer.
func TestWorkbookErrors(t *testing.T) {
	row := func(id, kind, v string) string {
		return `<row><c t="str"><v>` + id + `</v></c><c t="str"><v>Does it support Bluetooth?</v></c><c t="` + kind + `"><f>x</f><v>` + v + `</v></c></row>`
	}
	m, err := readMDS2(oneSheet(t, `<worksheet><sheetData>`+row("CONN-1", "str", "No")+row("CONN-2", "e", "#N/A")+row("CONN-3", "e", "#NAME?")+row("CONN-4", "str", "Yes")+row("CONN-5", "b", "1")+`</sheetData></worksheet>`, ""))
	if err != nil {
		t.Fatal(err)
	}
	var got []Answer
	for _, q := range m.Questions {
		got = append(got, q.Answer)
	}
	if diff := cmp.Diff([]Answer{No, NoAnswer, NoAnswer, Yes, Yes}, got); diff != "" {
		t.Error(diff)
	}
}

// Workbooks that others wrote, where there are any.
func TestWorkbookOthers(t *testing.T) {
	found, _ := filepath.Glob("../../../shared/*/*.xlsx")
	if len(found) == 0 {
		t.Skip("no workbooks in ../shared")
	}
	for _, name := range found {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		asExcelize(t, b)
	}
}

// FuzzWorkbook takes the XML of each part.
func FuzzWorkbook(f *testing.F) {
	const (
		main   = `<workbook><workbookPr date1904="1"/><sheets><sheet name="a" id="r1"/><sheet name="b" state="hidden" id="r2"/></sheets></workbook>`
		rels   = `<Relationships><Relationship Id="r1" Type="/worksheet" Target="s.xml"/><Relationship Id="r2" Type="/worksheet" Target="/xl/s.xml"/></Relationships>`
		sheet  = `<worksheet><sheetData><row r="2"><c r="B2" t="s"><v>0</v></c><c t="inlineStr"><is><t>a</t></is></c></row></sheetData><mergeCells><mergeCell ref="A1:B2"/></mergeCells></worksheet>`
		shared = `<sst><si><r><t>a_x000D_</t></r><rPh><t>b</t></rPh></si></sst>`
	)
	f.Add(main, rels, sheet, shared)
	f.Add(main, strings.ReplaceAll(rels, "s.xml", "workbook.xml"), sheet, shared)
	f.Add(main, rels, strings.ReplaceAll(sheet, "B2", "XFD1048576"), shared)
	f.Add(main, rels, `<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]>`+strings.ReplaceAll(sheet, ">0<", ">&d;<"), shared)
	f.Add(main, rels, sheet, strings.Repeat("<si>", maxNesting)+shared)
	f.Fuzz(func(t *testing.T, main, rels, sheet, shared string) {
		b := packed(t, "xl/workbook.xml", main, "xl/_rels/workbook.xml.rels", rels, "xl/s.xml", sheet, "xl/sharedStrings.xml", shared)
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		in, err := openBook(z)
		if err != nil {
			if !errors.Is(err, errWorkbook) && !errors.Is(err, errUnpacked) {
				t.Error(err)
			}
			return
		}
		if len(in.sheets) > maxSheets {
			t.Error(len(in.sheets))
		}
		for _, s := range in.sheets {
			rows, merges, err := in.readCells(s.part)
			if err != nil && !errors.Is(err, errWorkbook) && !errors.Is(err, errUnpacked) {
				t.Error(err)
			}
			if len(rows) > maxSheetRows || len(merges) > maxMerges {
				t.Error(len(rows), len(merges))
			}
			for _, row := range rows {
				if len(row) > maxMDS2Columns {
					t.Error(len(row))
				}
			}
			for _, m := range merges {
				if m.column < 0 || m.first < 1 || m.last <= m.first || m.last > maxRowNumber {
					t.Error(m)
				}
			}
		}
		if in.unpacked > maxUnpackedBytes || in.elements > maxElements+1 || in.text > maxUnpackedBytes {
			t.Error(in.unpacked, in.elements, in.text)
		}
	})
}
