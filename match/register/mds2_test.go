// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

// workbook makes one of sheets, each a list of rows that begin in column A.
func workbook(t testing.TB, sheets map[string][][]string, merged ...string) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	names := []string{}
	for name := range sheets {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, err := f.NewSheet(name); err != nil {
			t.Fatal(err)
		}
		for i, row := range sheets[name] {
			for j, v := range row {
				at, _ := excelize.CoordinatesToCellName(j+1, i+1)
				if v != "" {
					if err := f.SetCellValue(name, at, v); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	for _, m := range merged {
		from, to, _ := strings.Cut(m, ":")
		if err := f.MergeCell(names[len(names)-1], from, to); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readMDS2(b []byte) (*MDS2, error) { return ReadMDS2(bytes.NewReader(b), int64(len(b))) }

// gateway is the form of the sample ward's gateway, with what makers do to a
// form: a title, merged cells, notes in three ways, an id of their own.
var gateway = [][]string{
	{"Manufacturer Disclosure Statement for Medical Device Security -- MDS2"},
	{"Question ID", "Question", "", "", "See note", "IEC TR 80001-2-2"},
	{"DOC-1", "Manufacturer Name", "", "Norra Medical"},
	{"DOC-2", "Device Description", "", "Infusion pump gateway"},
	{"DOC-3", "Device Model", "", "FlowLink"},
	{"DOC-4", "Document ID", "", "MDS2-FL-18"},
	{"DOC-5", "Manufacturer Contact Information", "", "Kim Berg, +1 555 0177"},
	{"DOC-7", "Document Release Date", "", "45992"},
	{"DOC-8", "Coordinated disclosure: is there a programme?", "", "Yes"},
	{"CONNECTIVITY CAPABILITIES (CONN)"},
	{"CONN-1.1", "Does it support wireless connections?", "", "No"},
	{"CONN-1.1.1", "Does it support Wi-Fi?"},
	{"CONN-1.1.2", "Does it support Bluetooth?", "", "N/A"},
	{"CONN-3", "Can it communicate with other systems within the customer environment?", "", "Yes", "Note 1"},
	{"CONN-4", "Can it communicate with systems external to the customer environment?", "", "No", "none"},
	{"CONN-7", "Does it support Transport Layer Security (TLS)?", "", "See Note 2"},
	{"NAUT–3", "Does it use certificate-based authentication of connections?", "", "Yes (optional)"},
	{"TXCF-2", "Is personal data encrypted prior to transmission?", "", "Yes", "CFG"},
	{"TXCF-9", "Is there something the form does not ask?", "", "42"},
	{"RMOT-1", "Does it permit remote service connections for device analysis?", "", "Yes / No"},
	{"CSUP-2.3", "Can it receive remote installation of updates?", "", "No"},
	{"CSUP-3.3", "Can it receive remote installation of updates?", "", "Yes"},
	{"SHAD-15", "Can it prevent access to the boot loader?", "", "Yes"},
	{"Notes"},
	{"Note 1: only HL7"},
	{"Note 2", "with the option FL-T"},
	{"TXCF-2", "in the configuration 'secure'"},
}

func TestMDS2(t *testing.T) {
	b := workbook(t, map[string][][]string{"Cover": {{"Norra Medical"}, {"CONN-1", "see next sheet"}}, "Form (1)": gateway}, "B3:C3", "B4:C4", "D11:D12", "A1:F1")
	m, err := readMDS2(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s|%s|%s|%s|%s|%s|%s|%v", m.Edition, m.Sheet, m.Manufacturer, m.Description, m.Model, m.Document, m.Released, m.Unknown); got != "2019|Form (1)|Norra Medical|Infusion pump gateway|FlowLink|MDS2-FL-18|2025-12-01|[SHAD-15]" {
		t.Error(got)
	}
	var got []string
	for _, q := range m.Questions {
		got = append(got, fmt.Sprintf("%d %s %s|%s|%s", q.Row, q.ID, q.Answer, q.Said, q.Note))
	}
	want := []string{
		"3 DOC-1 other|Norra Medical|", "4 DOC-2 other|Infusion pump gateway|", "5 DOC-3 other|FlowLink|", "6 DOC-4 other|MDS2-FL-18|", "7 DOC-5 ||", "8 DOC-7 other|2025-12-01|", "9 DOC-8 yes|Yes|",
		"11 CONN-1.1 no|No|", "12 CONN-1.1.1 no|No|", "13 CONN-1.1.2 not applicable|N/A|", "14 CONN-3 yes|Yes|only HL7", "15 CONN-4 no|No|none", "16 CONN-7 see note|See Note 2|with the option FL-T",
		"17 NAUT-3 yes|Yes (optional)|", "18 TXCF-2 yes|Yes|CFG", "19 TXCF-9 other|42|", "20 RMOT-1 |Yes / No|", "21 CSUP-2.3 no|No|", "22 CSUP-3.3 yes|Yes|", "23 SHAD-15 yes|Yes|",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		c    Capability
		a    Answer
		ids  string
		what string
	}{
		{Wireless, No, "[CONN-1.1]", ""},
		{WiFi, No, "[CONN-1.1.1]", "merged"},
		{Bluetooth, NotApplicable, "[CONN-1.1.2]", ""},
		{TalksInside, Yes, "[CONN-3]", ""},
		{TalksOutside, No, "[CONN-4]", ""},
		{TLS, SeeNote, "[CONN-7]", ""},
		{UsesCertificates, Yes, "[NAUT-3]", ""},
		{EncryptsPersonalData, Yes, "[TXCF-2]", ""},
		{RemoteService, NoAnswer, "[]", "not chosen"},
		{RemoteUpdates, Yes, "[CSUP-3.3]", "one yes is a yes"},
		{HasSBOM, NoAnswer, "[]", "not asked"},
		{NoCapability, NoAnswer, "[]", ""},
		{capabilityCount, NoAnswer, "[]", ""},
		{255, NoAnswer, "[]", ""},
	} {
		if a, ids := m.Says(tt.c); a != tt.a || fmt.Sprint(ids) != tt.ids {
			t.Errorf("%v (%s): %v %v", tt.c, tt.what, a, ids)
		}
	}
}

// Another order of columns, another language, other numbers.
func TestMDS2Forms(t *testing.T) {
	m, err := readMDS2(workbook(t, map[string][][]string{"Sheet1": {
		{"", "No.", "Antwort", "Frage"},
		{"", "DOC-1", "Aeris", "Herstellername"},
		{"", "CONN-7", "Ja", "Unterstützt das Gerät verschlüsselte Verbindungen (TLS)?"},
		{"", "CONN-1.1.2", "Nein", "Unterstützt das Gerät Bluetooth-Verbindungen?"},
		{"", "TXCF-2", "Ja", "Werden Daten verschlüsselt, bevor sie übertragen werden?"},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if a, ids := m.Says(TLS); a != Yes || fmt.Sprint(ids) != "[CONN-7]" || m.Manufacturer != "Aeris" {
		t.Errorf("%v %v %q", a, ids, m.Manufacturer)
	}
	if a, _ := m.Says(EncryptsPersonalData); a != Yes {
		t.Error(a)
	}
	// An English question counts by its words, and its number for nothing.
	m, err = readMDS2(workbook(t, map[string][][]string{"Sheet1": {
		{"CONN-7", "Does it make or receive API calls?", "Yes"},
		{"CONN-9", "Does it support Transport Layer Security?", "No"},
		{"TXCF-2", "Is data encrypted prior to lunch?", "Yes"},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if a, ids := m.Says(TLS); a != No || fmt.Sprint(ids) != "[CONN-9]" {
		t.Errorf("%v %v", a, ids)
	}
	if a, ids := m.Says(EncryptsPersonalData); a != NoAnswer {
		t.Errorf("%v %v", a, ids)
	}
	if a, ids := m.Says(CallsAPI); a != Yes || fmt.Sprint(ids) != "[CONN-7]" {
		t.Errorf("%v %v", a, ids)
	}

	old := [][]string{{"Manufacturer Disclosure Statement for Medical Device Security – MDS2"}}
	for i := range 6 {
		old = append(old, []string{fmt.Sprintf("%d-1", i+1), "Can it do this?", "Yes", "1"})
	}
	m, err = readMDS2(workbook(t, map[string][][]string{"MDS2": old}))
	if err != nil || m.Edition != "2013" || len(m.Questions) != 6 || m.Questions[0] != (Question{ID: "1-1", Text: "Can it do this?", Said: "Yes", Row: 2}) {
		t.Fatalf("%v %+v", err, m)
	}
	for _, c := range Capabilities() {
		if a, _ := m.Says(c); a != NoAnswer {
			t.Errorf("%v: %v", c, a)
		}
	}
}

func TestAnswers(t *testing.T) {
	for a, list := range map[Answer]string{
		Yes:           "Yes|yes.|YES, see note 3|Yes (optional)|y|Ja|Oui|Yes, no exceptions|TRUE",
		No:            "No|no.|No, see note|n|Nein|non|No: no such part|FALSE",
		NotApplicable: "N/A|n/a.|NA|N.A.|Not applicable|not applicable: no display|Does not apply",
		SeeNote:       "See Note|see notes|Note 3|Notes|Refer to note 2|Siehe Anmerkung",
		NoAnswer:      "||-|—|____|Yes/No|Yes / No|Yes, No, N/A, or See Note|Yes or No|Select|Choose an item|please select|#N/A|#NAME?|#DIV/0!",
		Other:         "Northern|Not supported|Optional|42|1.2|Yesterday|none|Non-Windows|Linux",
	} {
		for s := range strings.SplitSeq(list, "|") {
			if got := answerOf(s); got != a {
				t.Errorf("%q: %v, want %v", s, got, a)
			}
		}
	}
}

func TestCapabilities(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Capabilities() {
		i := c.Info()
		if i.Name == "" || i.Words != plain(i.Words) || !slices.Contains(groups, i.Group) || len(i.IDs) == 0 || seen[i.Name] {
			t.Errorf("%d: %+v", c, i)
		}
		seen[i.Name] = true
		for _, id := range i.IDs {
			if questionID(id) != id || !strings.HasPrefix(id, i.Group+"-") || seen[id] {
				t.Errorf("%v: %s", c, id)
			}
			seen[id] = true
		}
	}
	if len(groups) != 24 {
		t.Errorf("%d groups", len(groups))
	}
}

// The groups are those that the facts about the form have, in their order, and the
// head of the form is in the order in which they have it.
func TestGroups(t *testing.T) {
	b, err := os.ReadFile("../../../shared/facts/mds2.md")
	if err != nil {
		t.Skip("no ../shared/facts/mds2.md")
	}
	var known []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]{3,4}) \|`).FindAllStringSubmatch(string(b), -1) {
		known = append(known, m[1])
	}
	if diff := cmp.Diff(known, groups); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(b), "DOC-1..11 carry header data (maker, device description, model, document id, contact, intended use in a connected environment, release date,") {
		t.Error("another order in the form's head")
	}
}

func TestMDS2Versions(t *testing.T) {
	for said, want := range map[string]string{
		"Flow 500": "Flow 500|", "Flow 500 2.1.4": "Flow 500|2.1.4", "Flow 500 v2.1": "Flow 500|2.1", "Flow 500, software version 2.x": "Flow 500|2.x", "Flow 500 (SW 2.2.0)": "Flow 500|2.2.0",
		"Aeris V2": "Aeris V2|", "V2": "V2|", "2.1.4": "2.1.4|", "Rev 3.1": "Rev|3.1", "MX450": "MX450|", "Flow 500 2.1 and Flow 700": "Flow 500 2.1 and Flow 700|",
	} {
		m, err := readMDS2(workbook(t, map[string][][]string{"a": {{"DOC-3", "Device Model", said}, {"CONN-1"}, {"CONN-2"}}}))
		if err != nil || m.Model+"|"+m.Version != want {
			t.Errorf("%q: %v %q %q", said, err, m.Model, m.Version)
		}
	}
	for _, tt := range []struct {
		form, device string
		want         bool
	}{
		{"2.1", "2.1", true},
		{"2.1", "2.1.4", true},
		{"2.x", "2.7", true},
		{"2.1", "v2.1.4", true},
		{"2.1.4", "2.1", false},
		{"2.1", "2.10", false},
		{"2.x", "3.0", false},
		{"2.1", "", false},
		{"", "2.1", false},
		{"", "", false},
	} {
		if got := (&MDS2{Version: tt.form}).Of(tt.device); got != tt.want {
			t.Errorf("%q of %q: %v", tt.form, tt.device, got)
		}
	}
}

// packed makes a zip of parts.
func packed(t testing.TB, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		w, err := z.Create(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(parts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oneSheet makes a workbook of a sheet's own XML and of the texts it shares.
func oneSheet(t testing.TB, sheet, shared string) []byte {
	t.Helper()
	const book = `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>`
	const rels = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`
	const (
		types = `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>`
		root  = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`
	)
	return packed(t, "[Content_Types].xml", types, "_rels/.rels", root, "xl/workbook.xml", book, "xl/_rels/workbook.xml.rels", rels, "xl/worksheets/sheet1.xml", sheet, "xl/sharedStrings.xml", shared)
}

func TestNotMDS2(t *testing.T) {
	for name, tt := range map[string]struct {
		b   []byte
		err error
	}{
		"nothing":      {nil, errWorkbook},
		"text":         {[]byte("CONN-1"), errWorkbook},
		"old Excel":    {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 600)), errWorkbook},
		"a zip":        {packed(t, "a.txt", "x"), errWorkbook},
		"no questions": {workbook(t, map[string][][]string{"MDS2": {{"a", "b"}, {"CONN-1", "c"}}}), ErrNotMDS2},
		"dates":        {workbook(t, map[string][][]string{"x": {{"1-1"}, {"1-2"}, {"1-3"}, {"1-4"}, {"1-5"}, {"1-6"}}}), ErrNotMDS2},
		"a bomb":       {packed(t, "xl/workbook.xml", strings.Repeat(" ", maxUnpackedBytes+1)), errUnpacked},
		"two halves":   {packed(t, "a", strings.Repeat(" ", maxUnpackedBytes/2+1), "b", strings.Repeat(" ", maxUnpackedBytes/2+1)), errUnpacked},
		"elements":     {oneSheet(t, "<worksheet/>", "<sst>"+strings.Repeat("<si/>", maxElements)+"</sst>"), errUnpacked},
	} {
		m, err := readMDS2(tt.b)
		if m != nil || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadMDS2(bytes.NewReader(nil), maxWorkbookBytes+1); !errors.Is(err, errUnpacked) {
		t.Error(err)
	}
}

func ExampleMDS2_Says() {
	f := excelize.NewFile()
	for cell, value := range map[string]string{
		"A1": "CONN-1.1.2", "B1": "Does the device support Bluetooth?", "C1": "No",
		"A2": "CONN-7", "B2": "Does the device support Transport Layer Security (TLS)?", "C2": "Yes",
		"A3": "RMOT-1", "B3": "Does the device permit remote service connections for device analysis or repair?", "C3": "See Note",
	} {
		f.SetCellValue("Sheet1", cell, value)
	}
	var b bytes.Buffer
	f.Write(&b)
	m, err := ReadMDS2(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		panic(err)
	}
	for _, c := range []Capability{Bluetooth, TLS, RemoteService} {
		answer, ids := m.Says(c)
		fmt.Println(c, answer, ids)
	}
	// Output:
	// supports Bluetooth no [CONN-1.1.2]
	// supports TLS yes [CONN-7]
	// permits remote service see note [RMOT-1]
}

func FuzzMDS2(f *testing.F) {
	f.Add(workbook(f, map[string][][]string{"Sheet1": gateway}, "D11:D12"))
	f.Add(packed(f, "xl/worksheets/sheet1.xml", `<worksheet/>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMDS2(b)
		if (m == nil) == (err == nil) {
			t.Error(m, err)
		}
		if m != nil {
			for _, c := range Capabilities() {
				m.Says(c)
			}
		}
	})
}

// FuzzSheet takes the sheet's own XML, which no fuzzer finds through a zip.
func FuzzSheet(f *testing.F) {
	f.Add(`<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>CONN-7</t></is></c><c r="B1" t="s"><v>0</v></c></row><row r="3"><c r="A3" t="str"><v>CONN-8</v></c></row><row><c t="str"><v>TXCF-1</v></c></row></sheetData><mergeCells><mergeCell ref="A1:B2"/></mergeCells></worksheet>`)
	f.Fuzz(func(t *testing.T, s string) {
		b := oneSheet(t, s, "<sst><si><t>Can it?</t></si></sst>")
		m, err := readMDS2(b)
		if (m == nil) == (err == nil) {
			t.Error(m, err)
		}
	})
}
