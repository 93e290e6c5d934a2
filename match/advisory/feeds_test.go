// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func zipped(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const epssDay = "#model_version:v2025.03.14,score_date:2026-01-02T12:55:00Z\ncve,epss,percentile\n" +
	"CVE-2026-10000,5e-05,0.00123\r\nCVE-1999-0001,0.97,1\nCVE-2026-9999,0.10000,0.5,9.8\n"

func TestEPSS(t *testing.T) {
	for _, b := range [][]byte{[]byte(epssDay), zipped(t, epssDay)} {
		e, err := ReadEPSS(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if e.Model != "v2025.03.14" || e.Date.Format("2006-01-02 15:04") != "2026-01-02 12:55" || e.Len() != 3 {
			t.Errorf("%q %v %d", e.Model, e.Date, e.Len())
		}
		for cve, want := range map[string]string{
			"CVE-2026-10000": "5e-05 0.00123 true", "CVE-1999-0001": "0.97 1 true", "CVE-2026-9999": "0.1 0.5 true",
			"CVE-2026-1000": "0 0 false", "CVE-2026-99990": "0 0 false", "GHSA-x": "0 0 false", "": "0 0 false",
		} {
			p, q, ok := e.Score(cve)
			if got := fmt.Sprint(p, q, ok); got != want {
				t.Errorf("%s: %s, want %s", cve, got, want)
			}
		}
	}
	for _, c := range []struct{ text, path string }{
		{"", ""},
		{"a,b,c\n", "line 1"},
		{"cve,epss,percentile\nCVE-2026-1111,1.1,0.5\n", "line 2"},
		{"cve,epss,percentile\nCVE-2026-1111,NaN,0.5\n", "line 2"},
		{"cve,epss,percentile\nCVE-2026-1111,0.5\n", "line 2"},
		{"cve,epss,percentile\nGHSA-1,0.5,0.5\n", "line 2"},
		{"cve,epss,percentile\n" + strings.Repeat("x", 1<<16), "line 2"},
	} {
		e, err := ReadEPSS(strings.NewReader(c.text))
		var at *Error
		if e != nil || !errors.As(err, &at) || at.Path != c.path {
			t.Errorf("%.40q: %v, want the path %s", c.text, err, c.path)
		}
	}
	whole := zipped(t, epssDay)
	if _, err := ReadEPSS(bytes.NewReader(whole[:len(whole)-9])); err == nil {
		t.Error("half an archive was read")
	}
}

const kevDay = `{"title":"t","catalogVersion":"2026.01.01","count":1,"vulnerabilities":[{"cveID":"CVE-2026-1111","vendorProject":"Maker","product":"Pump","vulnerabilityName":"n",
 "dateAdded":"2026-01-01","shortDescription":"s","requiredAction":"a","dueDate":"2026-02-01","knownRansomwareCampaignUse":"Known","cwes":["CWE-306"]}]}`

func TestKEV(t *testing.T) {
	all, err := ReadKEV(strings.NewReader(kevDay))
	if err != nil {
		t.Fatal(err)
	}
	e := all["CVE-2026-1111"]
	if len(all) != 1 || e.Vendor != "Maker" || !e.Ransomware || e.Due.Format("2006-01-02") != "2026-02-01" || e.Added.IsZero() || e.CWE[0] != "CWE-306" {
		t.Errorf("%+v", all)
	}
	for _, c := range []struct{ old, new, path string }{
		{`"CVE-2026-1111"`, `"CVE-26-1"`, "vulnerabilities[0].cveID"},
		{`"CVE-2026-1111"`, `"CVE-2026-111"`, "vulnerabilities[0].cveID"},
		{`"CVE-2026-1111"`, `"CVE-2026-1111-2"`, "vulnerabilities[0].cveID"},
		{`"CVE-2026-1111"`, `"cve-2026-1111"`, "vulnerabilities[0].cveID"},
		{`"CVE-2026-1111"`, `"CVE-0000-0000"`, "vulnerabilities[0].cveID"},
		{`"CVE-2026-1111"`, `"GHSA-aaaa-bbbb-cccc"`, "vulnerabilities[0].cveID"},
		{`"2026-01-01"`, `"soon"`, "vulnerabilities[0].dateAdded"},
		{`"vulnerabilities"`, `"rows"`, "vulnerabilities"},
		{`"catalogVersion"`, `"version"`, "catalogVersion"},
		{`}]}`, `}]`, ""},
		{`}]}`, `}]}x`, ""},
	} {
		all, err := ReadKEV(strings.NewReader(strings.Replace(kevDay, c.old, c.new, 1)))
		var at *Error
		if all != nil || !errors.As(err, &at) || at.Path != c.path {
			t.Errorf("%s: %v, want the path %s", c.new, err, c.path)
		}
	}
}

func FuzzReadEPSS(f *testing.F) {
	f.Add([]byte(epssDay))
	f.Add(zipped(f, epssDay))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ReadEPSS(bytes.NewReader(b))
		if (e == nil) == (err == nil) {
			t.Fatal("neither or both")
		}
	})
}

func FuzzReadKEV(f *testing.F) {
	f.Add([]byte(kevDay))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := ReadKEV(bytes.NewReader(b))
		if err != nil && all != nil {
			t.Fatal("rows beside an error")
		}
	})
}
