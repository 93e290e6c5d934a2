// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package documents

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

const bill = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"component":{"bom-ref":"p","type":"device","name":"Flow 500","version":"2.1.4","supplier":{"name":"Norra Medical"}}},
"components":[{"bom-ref":"c","type":"library","name":"openssl","version":"1.0.2","purl":"pkg:generic/openssl@1.0.2"}]}`

const hit = `{"id":"ADA-2026-01","modified":"2026-01-01T00:00:00Z","summary":"orders","affected":[]}`

func kev(day string, cves ...string) string {
	var rows []string
	for _, id := range cves {
		rows = append(rows, fmt.Sprintf(`{"cveID":%q,"vendorProject":"v","product":"p","vulnerabilityName":"n","dateAdded":%q,"shortDescription":"s","requiredAction":"a","dueDate":%q,"knownRansomwareCampaignUse":"Unknown","notes":"","cwes":[]}`, id, day, day))
	}
	return `{"title":"CISA Catalog of Known Exploited Vulnerabilities","catalogVersion":"` + day + `","dateReleased":"` + day + `T00:00:00.0000Z","count":` + fmt.Sprint(len(cves)) + `,"vulnerabilities":[` + strings.Join(rows, ",") + `]}`
}

// form is a workbook of a maker's disclosure.
func form(t *testing.T, maker, model string) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, row := range [][]any{{"Question ID", "Question", "", "", "See note"}, {"DOC-1", "Manufacturer Name", "", maker}, {"DOC-3", "Device Model", "", model}, {"DOC-4", "Document ID", "", "MDS2-1"}, {"CONN-1.1", "Does it support wireless connections?", "", "No"}} {
		if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// newIntake is one of a store that knows two pumps.
func newIntake(t *testing.T) *Intake {
	t.Helper()
	ctx := t.Context()
	s, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "m.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.AddEnrolment(ctx, []byte("icu"), "icu", "", "sensor", "le", time.Now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Enrol(ctx, []byte("icu"), "icu", "key"); err != nil {
		t.Fatal(err)
	}
	b := &store.Batch{Sensor: "icu", Sequence: 1}
	for _, v := range []string{"2.1.4", "2.2.0"} {
		b.Devices = append(b.Devices, device.Device{ID: "pump " + v, Serial: v, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: v}})
	}
	if _, err := s.Write(ctx, b); err != nil {
		t.Fatal(err)
	}
	return NewIntake(s, NewFleet(s, time.Now, slog.New(slog.DiscardHandler)), t.TempDir(), time.Now, func(_, _, _, _ string, do func() (int, error)) error {
		_, err := do()
		return err
	})
}

// TestFolder puts files into a folder that is watched, some of them slowly or wrongly.
func TestFolder(t *testing.T) {
	in := newIntake(t)
	dir := t.TempDir()
	f := NewFolder(dir, "server-1", in)
	put := func(name, content string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func() *Looked {
		t.Helper()
		if err := f.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		l, err := LastLook(t.Context(), in.Store)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	kept := func() int {
		t.Helper()
		l, err := in.Store.Documents(t.Context(), nil, "", store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		return l.Total
	}
	put("deep/pump.json", bill)
	put("slow.json", bill[:100]) // it is being written
	put("wrong.json", `{"neither":"this","nor":"that"}`)
	put(".hidden.json", hit)
	outside := filepath.Join(t.TempDir(), "outside.json")
	if err := os.WriteFile(outside, []byte(hit), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.json")); err != nil {
		t.Fatal(err)
	}
	if l := look(); l.Files != 0 || l.Coming != 3 || kept() != 0 || l.Server != "server-1" {
		t.Errorf("nothing is read at the first look: %+v", l)
	}
	put("slow.json", bill[:200])
	if l := look(); l.Files != 1 || l.Coming != 1 || kept() != 1 || len(l.Trouble) != 1 || l.Trouble[0].File != "wrong.json" || !strings.Contains(l.Trouble[0].Why, "This is no document that is known here") {
		t.Errorf("what is still written is not read: %+v", l)
	}
	put("slow.json", strings.ReplaceAll(bill, "1.0.2", "1.0.3"))
	look()
	if l := look(); l.Files != 2 || l.Coming != 0 || kept() != 2 {
		t.Errorf("it is whole: %+v", l)
	}
	if l := look(); l.Files != 2 || kept() != 2 || len(l.Trouble) != 1 {
		t.Errorf("again: %+v", l)
	}
	f = NewFolder(dir, "server-2", in) // another server looks from now on
	look()
	if l := look(); l.Files != 2 || kept() != 2 || l.Server != "server-2" {
		t.Errorf("another server: %+v", l)
	}
	if err := os.Remove(filepath.Join(dir, "wrong.json")); err != nil {
		t.Fatal(err)
	}
	if l := look(); len(l.Trouble) != 0 || l.Files != 2 {
		t.Errorf("it is gone: %+v", l)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Look(t.Context()); err == nil {
		t.Error("a folder that is not there")
	}
	if l, err := LastLook(t.Context(), in.Store); err != nil || l.Wrong != "no such file or directory" {
		t.Error(l, err)
	}
}

// TestFeeds keeps the newest of a list, and says by it what attackers use.
func TestFeeds(t *testing.T) {
	in := newIntake(t)
	ctx := t.Context()
	add := func(name, content string) error {
		_, _, err := in.Add(ctx, "te", name, strings.NewReader(content))
		return err
	}
	csaf := `{"document":{"category":"csaf_security_advisory","csaf_version":"2.0","title":"t","publisher":{"category":"vendor","name":"Norra Medical","namespace":"https://example.com"},
"tracking":{"id":"ADA-2026-01","status":"final","version":"1","initial_release_date":"2026-01-01T00:00:00Z","current_release_date":"2026-01-01T00:00:00Z","revision_history":[{"date":"2026-01-01T00:00:00Z","number":"1","summary":"x"}]}},
"product_tree":{"branches":[{"category":"vendor","name":"Norra Medical","branches":[{"category":"product_name","name":"Flow 500","branches":[{"category":"product_version","name":"2.1.4","product":{"product_id":"P1","name":"Norra Medical Flow 500 2.1.4"}}]}]}]},
"vulnerabilities":[{"cve":"CVE-2026-0042","product_status":{"known_affected":["P1"]}}]}`
	for name, content := range map[string]string{"a.json": csaf, "kev.json": kev("2026-03-01", "CVE-2026-0042"), "epss.csv": "#model_version:v2025.03.14,score_date:2026-03-02T00:00:00+0000\ncve,epss,percentile\nCVE-2026-0042,0.43,0.97\n"} {
		if err := add(name, content); err != nil {
			t.Fatal(name, err)
		}
	}
	var said *access.Error
	if err := add("kev.json", kev("2026-02-01", "CVE-2020-0001")); !errors.As(err, &said) || !strings.Contains(said.Text, "KEV 2026-03-01") {
		t.Errorf("an older list: %v", err)
	}
	if err := add("kev.json", kev("2199-01-01", "CVE-2020-0001")); !errors.As(err, &said) || !strings.Contains(said.Text, "has not come") {
		t.Errorf("a list of the time to come: %v", err)
	}
	if err := add("kev.json", kev("2026-03-03", "CVE-2026-0042", "CVE-2020-0001")); err != nil {
		t.Fatal(err)
	}
	l, err := in.Store.Documents(ctx, Feeds(), "", store.Page{})
	if err != nil || l.Total != 2 || l.Rows[0].ID != "KEV 2026-03-03" {
		t.Fatalf("%+v %v", l, err)
	}
	if err := in.Fleet.Look(ctx); err != nil {
		t.Fatal(err)
	}
	v := in.Fleet.View()
	n := 0
	for _, list := range v.Of {
		for _, a := range list {
			if n++; !a.Attacked || a.EPSS != 0.43 || a.Device != "pump 2.1.4" {
				t.Errorf("%+v", a)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d devices", n)
	}
}

// TestForm takes in a maker's disclosure, and says which devices it is of.
func TestForm(t *testing.T) {
	in := newIntake(t)
	d, fresh, err := in.Add(t.Context(), "te", "mds2.xlsx", bytes.NewReader(form(t, "Norra Medical", "Flow 500, version 2.1")))
	if err != nil || !fresh || d.Kind != "mds2" || d.ID != "MDS2-1" {
		t.Fatal(d, fresh, err)
	}
	if err := in.Fleet.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range in.Fleet.View().Of[d.Digest] {
		got[a.Device] = a.Certainty
	}
	if len(got) != 2 || got["pump 2.1.4"] != "exact" || got["pump 2.2.0"] != "review" {
		t.Error(got)
	}
	book := excelize.NewFile()
	var b bytes.Buffer
	if err := errors.Join(book.Write(&b), book.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.Add(t.Context(), "te", "rota.xlsx", &b); err == nil || !strings.Contains(err.Error(), "no MDS2 form") {
		t.Error(err)
	}
}
