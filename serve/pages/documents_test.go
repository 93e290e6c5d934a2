// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/store"
)

// csafOf is an advisory about a product.
func csafOf(id, maker, product, version, title string) string {
	b, _ := json.Marshal(map[string]any{
		"document": map[string]any{
			"category": "csaf_security_advisory", "csaf_version": "2.0", "title": title,
			"publisher": map[string]any{"category": "vendor", "name": maker, "namespace": "https://example.com"},
			"tracking":  map[string]any{"id": id, "status": "final", "version": "1", "initial_release_date": "2026-01-01T00:00:00Z", "current_release_date": "2026-01-01T00:00:00Z", "revision_history": []any{map[string]any{"date": "2026-01-01T00:00:00Z", "number": "1", "summary": "x"}}},
		},
		"product_tree": map[string]any{"branches": []any{map[string]any{"category": "vendor", "name": maker, "branches": []any{
			map[string]any{"category": "product_name", "name": product, "branches": []any{map[string]any{"category": "product_version", "name": version, "product": map[string]any{"product_id": "P1", "name": maker + " " + product + " " + version}}}},
		}}}},
		"vulnerabilities": []any{map[string]any{"cve": "CVE-2026-0042", "product_status": map[string]any{"known_affected": []any{"P1"}}}},
	})
	return string(b)
}

const bomOfPump = `{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79","version":1,
"metadata":{"component":{"bom-ref":"p","type":"device","name":"Flow 500","version":"2.1.4","supplier":{"name":"Norra Medical"}}},
"components":[{"bom-ref":"c","type":"library","name":"openssl","version":"1.0.2","purl":"pkg:generic/openssl@1.0.2"}]}`

// send uploads documents, pairs of a name and a content.
func (u *reader) send(files ...string) (int, string) {
	u.s.t.Helper()
	status, body, _ := u.do(upload(u.s.http.URL, files...))
	return status, body
}

func upload(server string, files ...string) *http.Request {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		f, _ := w.CreateFormFile("file", files[i])
		f.Write([]byte(files[i+1]))
	}
	w.Close()
	req, _ := http.NewRequest("POST", server+"/documents", &b)
	req.Header.Set("Content-Type", w.FormDataContentType())
	return req
}

func (s *shelf) look() {
	s.t.Helper()
	if err := s.pages.fleet.Look(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// TestDocuments has an advisory and a bill of materials find their devices, and what
// is no document be refused, with those beside it kept.
func TestDocuments(t *testing.T) {
	s := newShelf(t, 20)
	u := s.reader("te", access.Analyst)
	status, body := u.send("adv.json", csafOf("NORRA-2026-1", "Norra Medical", "Flow 500", "2.1.4", hostile[0]), hostile[1]+".json", bomOfPump,
		"register.csv", "id,manufacturer,model,serial\npump-1,Norra Medical,Flow 500,A1\n", "x.txt", "hello", "e.json", "")
	for _, want := range []string{"2 documents added.", "This is a list of devices", "This is no document that is known here"} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("%d: no %q", status, want)
		}
	}
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") {
		t.Error("markup")
	}
	if !strings.HasPrefix(s.last(), "te|add document|cyclonedx ") {
		t.Error(s.last())
	}
	if _, body = u.send("again.json", bomOfPump); !strings.Contains(body, "0 documents added. 1 document was here before.") {
		t.Error(body)
	}
	s.look()
	var l struct {
		Ready bool
		Rows  []struct {
			Digest, Kind, Name, ID, Title string
			Devices                       int
		}
	}
	u.json("/documents", &l)
	if len(l.Rows) != 2 || !l.Ready {
		t.Fatalf("%+v", l)
	}
	for _, d := range l.Rows {
		if d.Devices != 16 {
			t.Errorf("%s: %d devices", d.Kind, d.Devices)
		}
		status, body := u.get("/documents/" + d.Digest)
		if status != 200 || strings.Count(body, `data-test="affected"`) != 16 || strings.Contains(body, "<script>alert") {
			t.Errorf("%s: %d", d.Kind, status)
		}
		req, _ := http.NewRequest("GET", s.http.URL+"/documents/"+d.Digest+"/content", nil)
		status, body, head := u.do(req)
		if status != 200 || head.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(head.Get("Content-Disposition"), "attachment") || d.Kind == "cyclonedx" && body != bomOfPump {
			t.Errorf("%d %v", status, head)
		}
		if got := s.last(); got != "te|export|document "+d.Digest+"||1|after 0 bytes" {
			t.Error(got)
		}
	}
	for path, want := range map[string]int{"/documents?q=NORRA-2026": 1, "/documents?q=norra+flow": 2, "/documents?kind=csaf": 1, "/documents?kind=x%27": 0, "/documents?q=%22*": 0} {
		if u.json(path, &l); len(l.Rows) != want {
			t.Errorf("%s: %d, want %d", path, len(l.Rows), want)
		}
	}
	u.json("/documents?kind=csaf", &l)
	if status, _ := u.post("/documents/"+l.Rows[0].Digest+"/remove", nil); status != http.StatusUnprocessableEntity {
		t.Error(status)
	}
	if status, body := u.post("/documents/"+l.Rows[0].Digest+"/remove", url.Values{"sure": {"yes"}}); status != 200 || !strings.Contains(body, "The document is removed.") {
		t.Error(status)
	}
	if status, _ := u.get("/documents/" + l.Rows[0].Digest); status != http.StatusNotFound {
		t.Error(status)
	}
	viewer := s.reader("vi", access.Viewer)
	if status, _ := viewer.send("a.json", bomOfPump); status != http.StatusForbidden {
		t.Error(status)
	}
	if status, _ := u.post("/documents", url.Values{"file": {"x"}}); status != http.StatusUnsupportedMediaType {
		t.Error(status)
	}
}

// TestUploadBound takes as much as it says, and not one byte more.
// TestFeedsPage says which lists are here, and which are old.
func TestFeedsPage(t *testing.T) {
	s := newShelf(t, 3)
	u := s.reader("ad", access.Administrator|access.Analyst)
	if status, body := u.get("/settings/feeds"); status != 200 || strings.Count(body, ">none<") != 3 || strings.Contains(body, "older than a week") {
		t.Errorf("%d %s", status, body)
	}
	u.send("kev.json", `{"title":"CISA Catalog of Known Exploited Vulnerabilities","catalogVersion":"1","dateReleased":"2026-03-01T00:00:00.0000Z","count":1,"vulnerabilities":[{"cveID":"CVE-2026-0042","vendorProject":"v","product":"p","vulnerabilityName":"n","dateAdded":"2026-03-01","shortDescription":"s","requiredAction":"a","dueDate":"2026-03-08","knownRansomwareCampaignUse":"Unknown","notes":"","cwes":[]}]}`)
	if status, body := u.get("/settings/feeds"); status != 200 || !strings.Contains(body, "KEV 2026-03-01") || strings.Contains(body, "older than a week") {
		t.Errorf("%d %s", status, body)
	}
	now := s.pages.Now
	s.pages.Now = func() time.Time { return now().Add(8 * 24 * time.Hour) }
	if status, body := u.get("/settings/feeds"); status != 200 || !strings.Contains(body, "Older than a week: KEV.") {
		t.Errorf("%d %s", status, body)
	}
	folder := documents.NewFolder("/no/such/folder", "server-1", s.pages.intake)
	if err := folder.Look(t.Context()); err == nil {
		t.Error("there is such a folder")
	}
	for _, path := range []string{"/settings/feeds", "/documents"} {
		if status, body := u.get(path); status != 200 || !strings.Contains(body, "it could not be read: <bdi>no such file or directory</bdi>") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestUploadBound(t *testing.T) {
	s := newShelf(t, 1)
	u := s.reader("te", access.Analyst)
	exact := bomOfPump + strings.Repeat(" ", documents.Most-len(bomOfPump))
	if status, body := u.send("a.json", exact); status != 200 || !strings.Contains(body, "1 document added.") {
		t.Errorf("%d", status)
	}
	if status, body := u.send("a.json", exact+" "); status != 200 || !strings.Contains(body, "A document has at most 64 MiB.") {
		t.Errorf("%d %s", status, body)
	}
	many := make([]string, 0, 2*maxUploads+2)
	for i := range maxUploads + 1 {
		many = append(many, fmt.Sprint(i), "nothing")
	}
	if status, _ := u.send(many...); status != http.StatusRequestEntityTooLarge {
		t.Error(status)
	}
	if status, _ := u.send(many[:2*maxUploads]...); status != 200 {
		t.Error(status)
	}
}

// TestSoftware shows at a device what it is made of, and not what another version is.
func TestSoftware(t *testing.T) {
	s := newShelf(t, 1)
	u := s.reader("te", access.Analyst)
	next := strings.NewReplacer("2.1.4", "2.2.0", "a69b79", "a69b80").Replace(bomOfPump)
	var d struct{ Documents []fact }
	for _, sent := range []struct {
		bill string
		want int
	}{{next, 0}, {bomOfPump, 1}, {strings.NewReplacer(`"version":"2.1.4",`, "", "a69b79", "a69b81").Replace(bomOfPump), 2}} {
		u.send("bom.json", sent.bill)
		u.json("/devices/"+device.IDOf("Norra Medical", "Flow 500", "0"), &d)
		if len(d.Documents) != sent.want {
			t.Errorf("%d of %d: %+v", len(d.Documents), sent.want, d.Documents)
		}
	}
}

// TestReview lets a person decide once, for all documents, whether two names are one
// product; either answer can be taken back.
func TestReview(t *testing.T) {
	s := newShelf(t, 20)
	u := s.reader("te", access.Analyst)
	u.send("1.json", csafOf("A-1", "Norra Medical", "Flow", "2.1.4", "one"), "2.json", csafOf("A-2", "Norra Medical", "Flow", "2.1.4", "two"))
	s.look()
	reviews := func() []documents.Review {
		var l struct{ Reviews []documents.Review }
		u.json("/documents", &l)
		return l.Reviews
	}
	r := reviews()
	if len(r) != 2 || r[0].Model != "Flow 500" || r[0].Devices != 16 || len(r[0].Documents) != 2 {
		t.Fatalf("%+v", r)
	}
	form := url.Values{"maker": {r[0].Maker}, "model": {r[0].Model}, "as-maker": {r[0].AsMaker}, "as-model": {r[0].AsModel}}
	for name, change := range map[string]url.Values{"no answer": {"reason": {"x"}}, "no reason": {"same": {"yes"}}, "neither": {"same": {"perhaps"}, "reason": {"x"}}} {
		bad := url.Values{}
		for k, v := range form {
			bad[k] = v
		}
		for k, v := range change {
			bad[k] = v
		}
		if status, _ := u.post("/names", bad); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, status)
		}
	}
	for same, want := range map[string]string{"yes": "exact", "no": ""} {
		form.Set("same", same)
		form.Set("reason", "the label says so: \"x\" <b>")
		status, body := u.post("/names", form)
		if status != 200 || !strings.Contains(body, "Decided for all documents.") {
			t.Fatalf("%d %s", status, body)
		}
		s.look()
		if left := reviews(); len(left) != 1 || left[0].Model != "Flow 600" {
			t.Errorf("%s: %+v", same, left)
		}
		// Of a document that comes later nobody is asked, nor by a server that begins anew.
		u.send("3.json", csafOf("A3"+same, "Norra Medical", "Flow", "2.1.4", "three"))
		s.pages.fleet = documents.NewFleet(s.store, s.pages.Now, slog.New(slog.DiscardHandler))
		s.look()
		if left := reviews(); len(left) != 1 || left[0].Model != "Flow 600" {
			t.Errorf("%s: %+v", same, left)
		}
		late, err := s.store.Documents(t.Context(), nil, "A3"+same, store.Page{})
		if err != nil || len(late.Rows) != 1 {
			t.Fatal(late, err)
		}
		for _, digest := range append(r[0].Documents, late.Rows[0].Digest) {
			var d struct{ Affected []documents.Affected }
			u.json("/documents/"+digest, &d)
			got := ""
			for _, a := range d.Affected {
				if a.Model == "Norra Medical Flow 500" {
					got = a.Certainty
				}
			}
			if got != want {
				t.Errorf("%s: %q, want %q", same, got, want)
			}
		}
		list, err := s.pages.fleet.Namings(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if status, _ := u.post(fmt.Sprintf("/names/undo/%d", list[0].At), nil); status != 200 {
			t.Error(status)
		}
		s.look()
		if left := reviews(); len(left) != 2 {
			t.Errorf("taken back: %+v", left)
		}
	}
	if status, _ := u.post("/names/undo/1", nil); status != http.StatusNotFound {
		t.Error(status)
	}
}
