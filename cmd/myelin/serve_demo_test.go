// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to read what the store has

	"github.com/myelin-health/myelin/serve"
	"github.com/myelin-health/myelin/serve/demo"
	"github.com/myelin-health/myelin/sim/radio"
	"github.com/myelin-health/myelin/sim/ward"
)

// A search looks for what nobody may tell.
type search struct {
	texts []string // in small letters
	words *regexp.Regexp
}

// patients searches for every text of the ward's captures that stands for a patient, a
// login or a password. The staff has accounts of those names here.
func patients() *search {
	s := &search{}
	var words []string
	for _, secret := range ward.Secrets() {
		switch {
		case slices.ContainsFunc(demo.Staff, func(p demo.Person) bool { return strings.HasSuffix(p.Name, secret) }):
		case strings.Trim(secret, "0123456789") == "", len(secret) < 5: // a longer number, a key or a signature may have it by chance
			words = append(words, regexp.QuoteMeta(strings.ToLower(secret)))
		default:
			s.texts = append(s.texts, strings.ToLower(secret))
		}
	}
	s.words = regexp.MustCompile(`(?:^|[^0-9a-z])(` + strings.Join(words, "|") + `)(?:[^0-9a-z]|$)`)
	return s
}

// in returns what of it is in b.
func (s *search) in(b []byte) (found []string) {
	low := strings.ToLower(string(b))
	for _, text := range s.texts {
		if strings.Contains(low, text) {
			found = append(found, text)
		}
	}
	for _, m := range s.words.FindAllStringSubmatch(low, -1) {
		found = append(found, m[1])
	}
	return found
}

// TestPatientSearch: whatever is planted is found.
func TestPatientSearch(t *testing.T) {
	s := patients()
	for _, secret := range ward.Secrets() {
		if slices.ContainsFunc(demo.Staff, func(p demo.Person) bool { return strings.HasSuffix(p.Name, secret) }) {
			continue
		}
		for _, form := range []string{`{"name":"%s"}`, "<td>%s</td>", "a\x00%s\x00b", "msg=\"%s\" b"} {
			if len(s.in(fmt.Appendf(nil, form, strings.ToUpper(secret)))) == 0 {
				t.Errorf("%q is not found in %q", secret, form)
			}
		}
	}
	for _, name := range []string{"Lindqvist", "Ben Okafor", "SATO", "Sato^Emil", "STA-096114", "88 Tannery Row", "19580214", "1958-02-14"} {
		if len(s.in([]byte("x="+name+";"))) == 0 {
			t.Errorf("%q is not searched for", name)
		}
	}
	if found := s.in([]byte("at 20261127T065804.19580214999 pump-3, Dr. Mira Holm")); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

// A browsing is what somebody of the staff does at the pages.
type browsing struct {
	t      *testing.T
	server string
	client *http.Client
}

func visit(t *testing.T, server, login string) *browsing {
	t.Helper()
	jar, _ := cookiejar.New(nil)
	v := &browsing{t, server, &http.Client{Jar: jar}}
	t.Cleanup(v.client.CloseIdleConnections)
	eventually(t, login+" can sign in", func() bool {
		status, _ := v.send("/sign-in", "login", login, "password", demo.Password)
		return status == http.StatusOK
	})
	return v
}

func (v *browsing) do(method, path, accept string, form url.Values) (status int, header http.Header, body []byte) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.server+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err = io.ReadAll(a.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return a.StatusCode, a.Header, body
}

func (v *browsing) send(path string, fields ...string) (int, string) {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	status, _, b := v.do("POST", path, "text/html", form)
	return status, string(b)
}

func (v *browsing) json(path string, into any) {
	v.t.Helper()
	status, _, b := v.do("GET", path, "application/json", nil)
	if status != http.StatusOK {
		v.t.Fatalf("%s: %d %s", path, status, b)
	}
	if err := json.Unmarshal(b, into); err != nil {
		v.t.Fatalf("%s: %v", path, err)
	}
}

var tag = regexp.MustCompile(`</?bdi>|</?strong>`)

// shows waits until a page has all words.
func (v *browsing) shows(path string, words ...string) {
	v.t.Helper()
	for _, w := range words {
		eventually(v.t, fmt.Sprintf("%s has %q", path, w), func() bool {
			_, _, b := v.do("GET", path, "text/html", nil)
			return bytes.Contains(tag.ReplaceAll(b, nil), []byte(w))
		})
	}
}

// id is the device of a name.
func (v *browsing) id(name string) string {
	v.t.Helper()
	var page struct{ Rows []struct{ ID, Name string } }
	v.json("/devices?q="+url.QueryEscape(name), &page)
	for _, r := range page.Rows {
		if r.Name == name {
			return r.ID
		}
	}
	v.t.Fatalf("no device %s: %+v", name, page.Rows)
	return ""
}

// demonstrate starts a demo as a person does, and returns where it is and what ends it.
func demonstrate(t *testing.T, args ...string) (address string, out, errs *noise, end func() int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, errs = &noise{}, &noise{}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"serve", "--demo", "--listen", "127.0.0.1:0"}, args...), strings.NewReader(""), out, errs)
	}()
	end = func() int {
		stop()
		code := <-ended
		ended <- code
		return code
	}
	t.Cleanup(func() {
		if end(); t.Failed() {
			t.Log(errs)
		}
	})
	eventually(t, "it says where it is", func() bool { return strings.Contains(out.String(), "Ctrl-C") || len(ended) > 0 })
	address, _, _ = strings.Cut(out.String(), "/\n")
	return address, out, errs, end
}

// TestDemo: a newcomer sees every page alive and confirms what waits, the pump does it, and
// after that no patient of the ward is anywhere at the server.
func TestDemo(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	address, out, errs, end := demonstrate(t, "--data", data)
	did := func() string {
		b, err := os.ReadFile(filepath.Join(data, "demo", "log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	te, mh, id := visit(t, address, "te"), visit(t, address, "mh"), visit(t, address, "id")
	te.shows("/documents", "ADA-2026-01")
	te.shows("/guard", "Emergency access to icd-1", "Was this given?")
	te.shows("/documents", "Are these one product?", "Calm Rechargeable")
	eventually(t, "the morning is over", func() bool { return strings.Contains(errs.String(), "the morning is over") })

	te.shows("/", "icd-1", "need action now", "1 command is waiting", "4 of 4 alive", "commands refused")
	te.shows("/devices", "pump-3", "gw-icu", "ct-1", "Radiology")
	te.shows("/devices/"+te.id("pump-3"), "Norra Medical Flow 500 2.1.4", "noradrenaline at ICU bed 3", "it asks for more than the most", "An advisory says", "Timeline")
	te.shows("/devices/"+te.id("ct-1"), "Off the network since the morning", "pacs", "rdp")
	te.shows("/devices/"+te.id("icd-1"), "woken again and again", "emergency", "read out at the bedside")
	te.shows("/map?ward=ICU", "<svg", "gw-icu", "in clear")
	te.shows("/findings", "act", "attend", "track", "acknowledged")
	te.shows("/guard", "set-infusion-rate", "noradrenaline at ICU bed 3", "nobody", "allow", "deny", "it does not speak TLS")
	te.shows("/search?q=pump", "pump-3")
	te.shows("/settings/sensors", "4 of 4 are alive", "receiver, cardiology")
	te.shows("/settings/people", "Dr. Mira Holm", "Jon Reyes", "Lea Sommer", "Ines Duarte")
	id.shows("/ledger", "sign-in", "merge", "add document")

	// What waits is confirmed by a clinician, and the pump does it.
	if strings.Contains(did(), "31.500 mL/h") {
		t.Error("the pump gives 0.6 ug/kg/min before anybody has confirmed it")
	}
	var page struct {
		Held []struct{ Device, Value, Path, What string }
	}
	eventually(t, "a command waits", func() bool { mh.json("/guard", &page); return len(page.Held) == 1 })
	h := page.Held[0]
	if h.Device != "pump-3" || h.Value != "0.6 ug/kg/min" {
		t.Fatalf("%+v", h)
	}
	if status, _ := te.send(h.Path, "do", "confirm", "what", h.What, "reason", "as an analyst"); status != http.StatusForbidden {
		t.Errorf("an analyst confirms: %d", status)
	}
	if status, b := mh.send(h.Path, "do", "confirm", "what", h.What, "reason", "titrated at the bedside"); status != http.StatusOK {
		t.Fatalf("%d %s", status, b)
	}
	eventually(t, "the pump gives 0.6 ug/kg/min", func() bool { return strings.Contains(did(), "pump-3: confirmed, now 31.500 mL/h") })
	te.shows("/guard", "confirmed by mh at the server (prescriber)")
	te.shows("/guard", "1 waiting") // the next one

	// Release 2.2.0 waits for the infusion of pump-3 to end.
	te.shows("/updates", demo.Rollout, "Norra Medical Flow 500 2.2.0", "ADA-2026-01", "for therapy to be over")

	// What is in a body is sealed, and shown to a clinician with a reason, in the ledger.
	body := "/devices/" + te.id("icd-1") + "/body"
	if status, _, _ := te.do("GET", body, "text/html", nil); status != http.StatusForbidden {
		t.Errorf("an analyst sees identities on a body: %d", status)
	}
	if status, b := mh.send(body, "reason", "because"); status == http.StatusOK || strings.Contains(b, radio.ICDSerial) {
		t.Errorf("without a reason: %d", status)
	}
	before := strings.Count(ledgerOf(id), "see body-worn identities")
	if status, b := mh.send(body, "reason", "recall or safety notice"); status != http.StatusOK || !strings.Contains(b, radio.ICDSerial) {
		t.Errorf("with a reason: %d %s", status, b)
	}
	eventually(t, "it is in the ledger", func() bool { return strings.Count(ledgerOf(id), "see body-worn identities") == before+1 })

	s := patients()
	crawl(t, s, address)
	backup := filepath.Join(t.TempDir(), "backup.tar")
	var said strings.Builder
	if code := run(t.Context(), []string{"backup", "--data", data, backup}, strings.NewReader(""), &said, &said); code != exitDone {
		t.Fatalf("backup: %d %s", code, &said)
	}
	searchFolder(t, s, data) // while it runs, with the WAL
	if code := end(); code != exitDone {
		t.Errorf("exit %d, %s", code, errs)
	}
	searchFolder(t, s, data)
	searchTables(t, s, filepath.Join(data, "myelin.db"))
	if len(searchFile(t, s, backup, "gw-icu")) == 0 {
		t.Error("the backup cannot be searched so")
	}
	for what, text := range map[string]string{"output": out.String(), "log": errs.String()} {
		if found := s.in([]byte(text)); len(found) > 0 {
			t.Errorf("%s: %q", what, found)
		}
	}
}

// ledgerOf is the newest page of the ledger.
func ledgerOf(v *browsing) string {
	_, _, b := v.do("GET", "/ledger", "application/json", nil)
	return string(b)
}

// crawl reads every page that anybody of the staff finds, as HTML and JSON, its lists as CSV,
// and what programs are answered, and searches it. Every route that can be read is among them.
func crawl(t *testing.T, s *search, address string) {
	other, err := serve.Open(t.Context(), serve.Config{Data: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	routes, reached := http.NewServeMux(), map[string]bool{}
	for _, r := range other.Routes() {
		routes.HandleFunc(r.Pattern, func(http.ResponseWriter, *http.Request) {})
	}
	link := regexp.MustCompile(`(?:href|src|action)="(/[^"#]*)`)
	identity := regexp.MustCompile(`"(?:id|ID|digest|Digest)": ?"?([A-Za-z0-9.-]+)`)
	member := regexp.MustCompile(`"device": ?"([a-z0-9-]+)"`)
	requests := 0
	for _, p := range demo.Staff {
		v := visit(t, address, p.Login)
		seen, todo := map[string]bool{}, []string{"/", "/me", "/metrics", "/healthz", "/readyz", "/api/v1/openapi.json", "/map", "/map?ward=", "/no/such/page"}
		add := func(path string) {
			if !seen[path] && len(seen) < 3000 {
				seen[path] = true
				todo = append(todo, path)
			}
		}
		for _, r := range other.Routes() {
			method, path, _ := strings.Cut(r.Pattern, " ")
			if method == "GET" && !strings.Contains(path, "{") && path != "/live" {
				add(path)
			}
		}
		per := map[string]int{}
		for len(todo) > 0 {
			path := todo[0]
			todo = todo[1:]
			r, err := http.NewRequest("GET", address+path, nil)
			if err != nil {
				t.Fatalf("%s: a link to %q: %v", p.Login, path, err)
			}
			_, pattern := routes.Handler(r)
			most := mostOf
			if strings.Contains(path, "?") || strings.Contains(pattern, "{index}") {
				most = mostAlike
			}
			if per[pattern]++; pattern == "GET /live" || per[pattern] > most {
				continue
			}
			requests++
			as := []string{"text/html", "application/json"}
			if p.Login != "te" && p.Login != "mh" { // the same, and less of it
				as = as[:1]
			}
			for _, accept := range as {
				status, header, b := v.do("GET", path, accept, nil)
				if status >= 500 {
					t.Errorf("%s: %s: %d", p.Login, path, status)
				}
				reached[pattern] = reached[pattern] || status == http.StatusOK
				if found := s.in(append(fmt.Appendf(nil, "%v\n", header), b...)); len(found) > 0 {
					t.Errorf("%s: %s (%s): %q", p.Login, path, accept, found)
				}
				for _, m := range link.FindAllSubmatch(b, -1) {
					add(strings.ReplaceAll(string(m[1]), "&amp;", "&"))
				}
				if status != http.StatusOK || !strings.HasPrefix(path, "/api/v1/") {
					continue
				}
				if strings.HasPrefix(path, "/api/v1/rollouts/") && strings.HasSuffix(path, "/devices") {
					for _, m := range member.FindAllSubmatch(b, 200) {
						add(path + "/" + string(m[1]))
					}
				}
				for _, m := range identity.FindAllSubmatch(b, 200) {
					for _, r := range other.Routes() {
						if of, more, one := strings.Cut(strings.TrimPrefix(r.Pattern, "GET "), "{"); one && of == path+"/" {
							_, rest, _ := strings.Cut(more, "}")
							add(of + string(m[1]) + rest)
						}
					}
				}
			}
		}
	}
	if len(reached) < 40 || requests < 500 {
		t.Errorf("%d routes were read, by %d paths", len(reached), requests)
	}
	for _, r := range other.Routes() {
		if strings.HasPrefix(r.Pattern, "GET ") && !reached[r.Pattern] && !slices.Contains(unread, strings.TrimPrefix(r.Pattern, "GET ")) {
			t.Errorf("%s was never read", r.Pattern)
		}
	}
}

// Of one route each person reads at most so many pages, more than there are devices, findings
// and documents, and so many that are alike: entries of the ledger, which is searched as a
// file, too, and lists, which are the same rows in other orders.
const (
	mostOf    = 120
	mostAlike = 8
)

// unread are routes that a person of the demo has no answer from: a stream, which has numbers
// alone, links that were used, a provider that there is not, and what sensors and devices ask,
// of which the files are searched in the folder.
var unread = []string{"/live", "/set-up/{secret}", "/password/{id}/{secret}", "/sign-in/provider", "/sign-in/provider/back", "/uplink/v1/state", "/uplink/v1/decisions", "/update/v1/{path...}"}

// searchFolder searches every file of a server's data but what the hospital gave to a sensor and
// to the guard, and the server has not: the list of devices, and where old implants are called.
func searchFolder(t *testing.T, s *search, dir string) {
	t.Helper()
	files, has := 0, map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) { // it has just been done with
			return nil
		}
		rel, _ := filepath.Rel(dir, name)
		if err != nil || e.IsDir() || rel == filepath.Join("demo", "papers", "register.csv") || rel == filepath.Join("demo", "guard", "guard.yaml") {
			return err
		}
		files++
		for _, text := range searchFile(t, s, name, "gw-icu", "pump-3") {
			kind, _, _ := strings.Cut(rel, "-")
			has[kind+" "+text] = true
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Errorf("%d files, %v", files, err)
	}
	for _, want := range []string{"myelin.db gw-icu", filepath.Join("demo", "log") + " pump-3"} {
		if !has[want] {
			t.Errorf("no %s: it cannot be searched so", want)
		}
	}
}

// searchFile searches a file, and returns which texts are in it that are no secret.
func searchFile(t *testing.T, s *search, name string, has ...string) (found []string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	if found := s.in(b); len(found) > 0 {
		t.Errorf("%s: %q", name, found)
	}
	return slices.DeleteFunc(has, func(text string) bool { return !bytes.Contains(b, []byte(text)) })
}

// searchTables searches each column of each row.
func searchTables(t *testing.T, s *search, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	rows.Close()
	cells := 0
	for _, table := range tables {
		rows, err := db.Query(`SELECT * FROM "` + table + `"`)
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		names, _ := rows.Columns()
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(sql.RawBytes)
		}
		for rows.Next() {
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			for i := range values {
				cells++
				if found := s.in(*values[i].(*sql.RawBytes)); len(found) > 0 {
					t.Errorf("%s.%s: %q", table, names[i], found)
				}
			}
		}
		rows.Close()
	}
	if len(tables) < 20 || cells < 5000 {
		t.Errorf("%d tables with %d values", len(tables), cells)
	}
}

// TestDemoRefuses: it shows itself to nobody else, and touches no hospital.
func TestDemoRefuses(t *testing.T) {
	real := t.TempDir()
	if err := os.WriteFile(filepath.Join(real, "myelin.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for says, args := range map[string][]string{
		"not this machine":          {"--listen", "0.0.0.0:0"},
		"begins in an empty folder": {"--data", real, "--listen", "127.0.0.1:0"},
		"not with --tls":            {"--tls"},
	} {
		var errs strings.Builder
		if code := run(t.Context(), append([]string{"serve", "--demo"}, args...), strings.NewReader(""), &errs, &errs); code != exitUsage || !strings.Contains(errs.String(), says) {
			t.Errorf("%q: %d, %s", args, code, &errs)
		}
	}
}

// TestDemoEnds: whenever it ends, nothing of it is left: no file, and nobody who works.
func TestDemoEnds(t *testing.T) {
	room := t.TempDir()
	t.Setenv("TMPDIR", room)
	address, _, errs, end := demonstrate(t)
	te := visit(t, address, "te")
	te.shows("/settings/sensors", "receiver, cardiology") // which play then
	te.client.CloseIdleConnections()
	if code := end(); code != exitDone {
		t.Errorf("exit %d, %s", code, errs)
	}
	if left, err := os.ReadDir(room); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	eventually(t, "nobody works any more", func() bool {
		b := make([]byte, 1<<20)
		b = b[:runtime.Stack(b, true)]
		return !regexp.MustCompile(`myelin/(serve|guard|sim)[/.]`).Match(b)
	})
}
