// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package register

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	const list = "Asset tag,Manufacturer,Model\na,b,c\n"
	for _, tt := range []struct {
		head, name string
		want       Kind
	}{
		{list, "", DeviceList},
		{"Inventarnr;Hersteller;Gerätetyp\n1;b;Gerät\xc3", "x", DeviceList}, // cut within a letter
		{`[{"id":"a","model":"b"},{"id":"c","mod`, "a.json", DeviceList},
		{`{"devices": [{"id":"a","model":"b"}]}`, "", DeviceList},
		{"# ours\n- id: a\n  model: b\n", "a.yml", DeviceList},
		{"devices:\n- {id: a, model: b}\n", "", DeviceList},
		{gudidDevices, "device.txt", GUDIDFile},
		{gudidCodes, "", GUDIDFile},
		{`{"gudid":{"device":{"companyName":"x`, "", GUDIDFile},
		{`{"meta":{},"results":[{"brand_name":"x","company_name":"y","identifiers":[{"id":"1"`, "", GUDIDFile},
		{classification, "x", ClassificationFile},
		{recalls, "x", RecallFile},
		{enforcement, "x", RecallFile},
		{"PK\x03\x04 ... xl/workbook.xml", "", MDS2File},
		{"PK\x03\x04", "FORM.XLSX", MDS2File},
		{"PK\x03\x04 ... word/document.xml", "a.docx", NoKind},
		{"", "", NoKind},
		{"\x00\x01", "a.csv", NoKind},
		{"hello", "a.yaml", NoKind},
		{"{", "", NoKind},
		{"[", "", NoKind},
		{"{}", "", NoKind},
		{`{"myelin":"0","schema":1,"devices":[{"id":"a","model":"b","manufacturer":"c"}]}`, "", NoKind},
		{"code,class,therapy,worn,harm,manufacturer,model,udi\n", "", NoKind},
	} {
		if got := Detect([]byte(tt.head), tt.name); got != tt.want || got.String() == "" && got != NoKind {
			t.Errorf("%.40q: %q, want %q", tt.head, got, tt.want)
		}
	}
	if Kind(200).String() != "" {
		t.Error("a kind that there is not")
	}
}

// Nothing of what lies beside the project, or in it, is taken for one of ours.
func TestDetectOthers(t *testing.T) {
	ours := map[string]bool{"register.csv": true}
	for _, dir := range []string{"../../../shared/sboms", "../../../shared/advisories", "../../../shared/matching", "../../../shared/schemas", "../../docs", "../../testdata", "../../proto/radio", "../../cmd/myelin/testdata"} {
		if _, err := os.Stat(dir); err != nil {
			t.Logf("%s is not there", dir)
			continue
		}
		n := 0
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			head := make([]byte, 16<<10)
			m, _ := f.Read(head)
			if n++; Detect(head[:m], d.Name()) != NoKind && !ours[d.Name()] && !strings.HasSuffix(p, "register.md") {
				t.Errorf("%s is %s", p, Detect(head[:m], d.Name()))
			}
			return nil
		})
		if err != nil || n == 0 {
			t.Error(dir, n, err)
		}
	}
}

func FuzzDetect(f *testing.F) {
	for _, s := range []string{gudidCodes, classification, "- id: a\n  model: b\n", "id;Hersteller;Modell\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if k := Detect(b, "x"); k != Detect(b, "x") || k != NoKind && k.String() == "" {
			t.Error(k)
		}
	})
}
