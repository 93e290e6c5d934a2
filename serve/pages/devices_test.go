// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/internal/testpeer/chromium"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

var shots = flag.String("ward-shots", "", "write pictures of the pages to this folder, for eyes")

// morning is after what happened at St. Ada.
var morning = time.Date(2026, 3, 3, 6, 25, 0, 0, time.UTC)

func now() time.Time { return morning }

const password = "a heron stands in the reeds"

// hostile are names that try to break a page.
var hostile = []string{"<script>alert(1)</script>", strings.Repeat("very-long-name", 22)[:300], "מכשיר-הנשמה-3", `"><img src=x onerror=alert(1)>`}

// sampleWard is the assessment of the sample ward.
var sampleWard = sync.OnceValues(func() (*report.Assessment, error) {
	return assess.Run(context.Background(), []string{"../../testdata/ward"}, assess.Config{Now: morning})
})

// A ward is a server that knows St. Ada.
type ward struct {
	t    testing.TB
	http *httptest.Server
	data string
	link string // of the first person
}

// newWard starts one.
func newWard(t testing.TB, more ...device.Device) *ward {
	t.Helper()
	return newWardAt(t, now, func(*store.Store) {}, more...)
}

// newWardAt starts one with a clock, in whose store there is more before.
func newWardAt(t testing.TB, now func() time.Time, before func(*store.Store), more ...device.Device) *ward {
	t.Helper()
	w := &ward{t: t, data: t.TempDir()}
	w.open(func(s *store.Store) { fill(t, s, more); before(s) })
	s, err := serve.Open(t.Context(), serve.Config{Data: w.data, Listen: "127.0.0.1:0", Site: "St. Ada Hospital", Now: now, Version: "0.7"})
	w.must(err)
	t.Cleanup(func() { s.Close() })
	w.http = httptest.NewServer(s.Handler())
	t.Cleanup(w.http.Close)
	w.link, err = s.SetUpLink(t.Context())
	w.must(err)
	return w
}

func (w *ward) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// open opens the store for a while.
func (w *ward) open(f func(*store.Store)) {
	w.t.Helper()
	s, err := sqlite.Open(w.t.Context(), filepath.Join(w.data, "myelin.db"), now)
	w.must(err)
	defer s.Close()
	f(s)
}

// person adds one who may sign in with the password.
func (w *ward) person(login, name string, roles access.Role, products ...string) {
	w.t.Helper()
	hash, err := access.HashPassword(password)
	w.must(err)
	w.open(func(s *store.Store) {
		w.must(s.SavePerson(w.t.Context(), &store.Person{Login: login, Name: name, Roles: uint32(roles), Products: products, Hash: hash}))
	})
}

// fill writes what a sensor and a guard would have sent that morning.
func fill(t testing.TB, s *store.Store, more []device.Device) {
	t.Helper()
	ctx := t.Context()
	a, err := sampleWard()
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range [][2]string{{"icu-switch", "sensor"}, {"gw-icu-front", "guard"}} {
		must(s.AddEnrolment(ctx, []byte(n[0]), n[0], "", n[1], "le", morning.Add(time.Hour).UnixNano()))
		_, err := s.Enrol(ctx, []byte(n[0]), n[0], "key-"+n[0])
		must(err)
	}
	kinds := map[string]device.Address{}
	for _, d := range slices.Concat(a.Devices, more) {
		for _, at := range d.Addresses {
			kinds[at.Value] = at
		}
	}
	address := func(value string) device.Address {
		if at, ok := kinds[value]; ok {
			return at
		}
		if _, err := netip.ParseAddr(value); err == nil {
			return device.Address{Kind: device.IP, Value: value}
		}
		return device.Address{Kind: device.Radio, Value: value}
	}
	b := &store.Batch{Sensor: "icu-switch", Sequence: 1, Sent: morning.UnixNano(), Devices: slices.Concat(a.Devices, more), Findings: a.Findings, Beat: &store.Beat{Version: "0.7"}}
	_, err = s.Write(ctx, b)
	must(err)
	seven := time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC).UnixNano()
	var seen []store.Observation
	for i, c := range a.Sessions {
		if c.Bytes == 0 {
			continue // a scan's, without an answer
		}
		first := seven + int64(i%20)*int64(time.Minute)
		seen = append(seen, store.Observation{
			Client: address(c.Client), Server: address(c.Server), Protocol: c.Protocol, Port: c.Port, First: first, Last: first + int64(time.Second),
			Count: c.Count, Packets: 2 * c.Count, Bytes: c.Bytes, Encrypted: c.Encrypted,
		})
	}
	for part := range slices.Chunk(seen, 1000) {
		b = &store.Batch{Sensor: "icu-switch", Sequence: b.Sequence + 1, Sent: morning.UnixNano(), Observations: part}
		_, err = s.Write(ctx, b)
		must(err)
	}
	var events []event.Event
	for _, v := range []struct {
		minute       time.Duration
		verdict      device.Verdict
		value, actor string
		why          string
	}{{2, device.Allow, "0.2 mcg/kg/min", "ehr", ""}, {9, device.Deny, "4 mcg/kg/min", "ehr", "the sender is not proven; the limit is 1 mcg/kg/min"}} {
		e := event.Event{
			Kind: event.VerdictGiven, Time: seven + int64(v.minute*time.Minute), Device: device.Address{Kind: device.Host, Value: "pump-3"},
			Peer: device.Address{Kind: device.IP, Value: "10.20.8.11"},
		}
		e.Add(event.Text(event.Front, "gw-icu"), event.Int(event.Verb, device.SetInfusionRate), event.Text(event.Value, v.value), event.Text(event.Actor, v.actor),
			event.Int(event.Verdict, v.verdict), event.Text(event.Reason, v.why), event.Bool(event.Enforced, true))
		events = append(events, e)
	}
	_, err = s.Write(ctx, &store.Batch{Sensor: "gw-icu-front", Sequence: 1, Sent: morning.UnixNano(), Events: events, Beat: &store.Beat{Version: "0.7"}})
	must(err)
}

// strangers are devices with hostile names.
func strangers() (out []device.Device) {
	for i, n := range hostile {
		at := device.Address{Kind: device.Host, Value: n}
		out = append(out, device.Device{
			ID: device.IDOf("stranger", n), Name: n, Ward: n, Medical: true, Product: device.Product{Manufacturer: n, Model: n, Class: n, Version: n, Therapy: device.Monitoring, Harm: device.Serious},
			Addresses: []device.Address{at, {Kind: device.IP, Value: fmt.Sprintf("10.20.7.%d", i+1)}},
		})
	}
	return out
}

// A client is a browser without script.
type client struct {
	*ward
	http.Client
}

func (w *ward) client(login string) *client {
	w.t.Helper()
	jar, _ := cookiejar.New(nil)
	c := &client{w, http.Client{Jar: jar}}
	if login != "" {
		if status, body := c.send("/sign-in", "login", login, "password", password, "to", "/devices"); status != 200 || strings.Contains(body, "do not belong") {
			w.t.Fatalf("%s could not sign in: %d", login, status)
		}
	}
	return c
}

func (c *client) get(path string) (int, string) {
	c.t.Helper()
	a, err := c.Get(c.ward.http.URL + path)
	c.must(err)
	return c.read(a)
}

func (c *client) read(a *http.Response) (int, string) {
	c.t.Helper()
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	c.must(err)
	return a.StatusCode, string(b)
}

func (c *client) send(path string, form ...string) (int, string) {
	c.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	a, err := c.PostForm(c.ward.http.URL+path, values)
	c.must(err)
	return c.read(a)
}

// ask reads a page as JSON.
func (c *client) ask(path string, to any) {
	c.t.Helper()
	status, body := c.get(path)
	if status != 200 {
		c.t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), to); err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
}

// listed is what a list of devices says.
type listed struct {
	Answer string
	Rows   []struct{ ID, Name, Ward, Decision string }
	Total  int
	Next   string
}

// named returns the id of a device.
func (c *client) named(name string) string {
	c.t.Helper()
	var l listed
	c.ask("/devices.json?q="+url.QueryEscape(name), &l)
	for _, r := range l.Rows {
		if r.Name == name {
			return r.ID
		}
	}
	c.t.Fatalf("no device %q: %+v", name, l)
	return ""
}

// ledger is all that is written in the server's ledger now.
func (w *ward) ledger() string {
	w.t.Helper()
	var b strings.Builder
	w.must(filepath.WalkDir(filepath.Join(w.data, "ledger"), func(file string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var text []byte
			text, err = os.ReadFile(file)
			b.Write(text)
		}
		return err
	}))
	return b.String()
}

func TestDevices(t *testing.T) {
	w := newWard(t, strangers()...)
	w.person("te", "Tomas Eklund", access.Analyst)
	c := w.client("te")
	var all, icu, found, act listed
	c.ask("/devices.json", &all)
	c.ask("/devices.json?ward=ICU", &icu)
	c.ask("/devices.json?q=flow+500", &found)
	c.ask("/devices.json?decision=act", &act)
	if all.Total < 15 || icu.Total == 0 || icu.Total >= all.Total || found.Total != 2 || act.Total == 0 || !strings.Contains(all.Answer, fmt.Sprintf("; %d need", act.Total)) {
		t.Errorf("%d devices, %d in the ICU, %d pumps, %d to act on: %s", all.Total, icu.Total, found.Total, act.Total, all.Answer)
	}
	for _, r := range icu.Rows {
		if r.Ward != "ICU" {
			t.Errorf("%s is in %q", r.Name, r.Ward)
		}
	}
	var names []string
	for path := "/devices.json?sort=name"; path != ""; {
		var l listed
		c.ask(path, &l)
		for _, r := range l.Rows {
			names = append(names, r.Name)
		}
		path = strings.Replace(l.Next, "/devices?", "/devices.json?", 1)
	}
	if len(names) != all.Total || !slices.IsSorted(names) {
		t.Errorf("%d of %d devices by name, in order: %v", len(names), all.Total, slices.IsSorted(names))
	}
	status, body := c.get("/devices.csv?q=flow+500")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if status != 200 || err != nil || len(rows) != 3 || rows[0][1] != "name" {
		t.Errorf("csv: %d %v %q", status, err, body)
	}
	if l := w.ledger(); !strings.Contains(l, "/devices.csv?q=") || strings.Contains(l, "flow") {
		t.Error("the ledger has not the export, or what was searched for")
	}
	for path, want := range map[string]int{
		"/devices?sort=colour": 400, "/devices?after=x": 400, "/devices?decision=panic": 400, "/devices/nothing": 404, "/map?days=-1": 400, "/map?days=36526": 400, "/map?days=36525": 200,
		"/devices?q=" + strings.Repeat("a", 5000): 200, "/devices?ward=" + url.QueryEscape("' OR 1=1 --"): 200, "/devices?q=%00%ff": 200,
	} {
		if status, _ := c.get(path); status != want {
			t.Errorf("%.60s: %d, not %d", path, status, want)
		}
	}
	if _, body := c.get("/devices?ward=Nowhere"); !strings.Contains(body, "No device is like that") || !strings.Contains(body, "Take a filter away") {
		t.Error("an empty list does not say what to do next")
	}
	for i, n := range hostile {
		status, body := c.get("/devices/" + c.named(n))
		if status != 200 || strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") {
			t.Errorf("the page of hostile device %d: %d", i, status)
		}
	}
}

// What people say of a device is changed by its page, once by each version, undone,
// and in the ledger.
func TestEditDevice(t *testing.T) {
	w := newWard(t)
	w.person("te", "Tomas Eklund", access.Analyst)
	w.person("vi", "Vera Ito", access.Viewer)
	c := w.client("te")
	id := c.named("pump-3")
	type told struct {
		Ward, Owner, Criticality, Notes, Name string
		Edition                               int64
	}
	var was, is told
	c.ask("/devices/"+id+".json", &was)
	version := fmt.Sprint(was.Edition)
	status, body := c.send("/devices/"+id, "version", version, "ward", " ICU   2 ", "owner", "Lea Sommer", "criticality", "high", "notes", "two\r\nlines")
	c.ask("/devices/"+id+".json", &is)
	if status != 200 || is.Ward != "ICU 2" || is.Owner != "Lea Sommer" || is.Criticality != "high" || is.Notes != "two\nlines" || is.Name != "pump-3" {
		t.Fatalf("%d %+v", status, is)
	}
	if l := w.ledger(); !strings.Contains(l, "edit device") || !strings.Contains(l, "ward, owner, criticality, notes") || strings.Contains(l, "two") {
		t.Error("the ledger has not the change, or what the notes say")
	}
	undo := regexp.MustCompile(`action="(/devices/[^"]*version=[^"]*)"`).FindStringSubmatch(body)
	if undo == nil {
		t.Fatal("nothing undoes the change")
	}
	for name, form := range map[string][]string{
		"an old version":      {"version", version, "ward", "X"},
		"no version":          {"ward", "X"},
		"version 0":           {"version", "0", "ward", "X"},
		"a long ward":         {"version", fmt.Sprint(is.Edition), "ward", strings.Repeat("w", 101)},
		"long notes":          {"version", fmt.Sprint(is.Edition), "notes", strings.Repeat("n", 2001)},
		"another criticality": {"version", fmt.Sprint(is.Edition), "criticality", "worst"},
		"a control character": {"version", fmt.Sprint(is.Edition), "ward", "a\x00b"},
	} {
		if status, _ := c.send("/devices/"+id, form...); status < 400 || status >= 500 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := w.client("vi").send("/devices/"+id, "version", fmt.Sprint(is.Edition), "ward", "X"); status != 403 {
		t.Errorf("a viewer: %d", status)
	}
	c.send(strings.ReplaceAll(undo[1], "&amp;", "&"))
	c.ask("/devices/"+id+".json", &is)
	if is.Edition = was.Edition; is != was {
		t.Errorf("undone: %+v, was %+v", is, was)
	}
	c.ask("/devices/"+id+".json", &is)
	if status, _ := c.send("/devices/"+id, "version", fmt.Sprint(is.Edition), "ward", strings.Repeat("w", 100), "notes", strings.Repeat("n", 2000)); status != 200 {
		t.Errorf("the longest: %d", status)
	}
}

func TestMergeAndPart(t *testing.T) {
	w := newWard(t)
	w.person("te", "Tomas Eklund", access.Engineer)
	c := w.client("te")
	keep, gone := c.named("mon-3"), c.named("vent-3")
	if status, body := c.get("/devices/" + keep + "/merge?with=vent-3"); status != 200 || !strings.Contains(body, gone) {
		t.Fatalf("the form does not find it: %d", status)
	}
	for name, form := range map[string][]string{"no reason": {"gone", gone}, "no device": {"gone", "nothing", "why", "x"}, "itself": {"gone", keep, "why", "x"}, "a long reason": {"gone", gone, "why", strings.Repeat("x", 301)}} {
		if status, _ := c.send("/devices/"+keep+"/merge", form...); status < 400 || status >= 500 {
			t.Errorf("%s: %d", name, status)
		}
	}
	var before, after listed
	c.ask("/devices.json", &before)
	status, body := c.send("/devices/"+keep+"/merge", "gone", gone, "why", "one housing")
	c.ask("/devices.json", &after)
	if status != 200 || after.Total != before.Total-1 || !strings.Contains(body, "one housing") {
		t.Fatalf("%d: %d devices, before %d", status, after.Total, before.Total)
	}
	var page struct{ ID string }
	if c.ask("/devices/"+gone+".json", &page); page.ID != keep {
		t.Errorf("the other leads to %s", page.ID)
	}
	part := regexp.MustCompile(`/devices/[^"]*/part/[0-9]+`).FindString(body)
	if status, _ := c.send(part); status != 422 {
		t.Errorf("parted without a reason: %d", status)
	}
	if status, _ := c.send("/devices/"+c.named("pump-3")+part[strings.Index(part, "/part/"):], "why", "x"); status != 404 {
		t.Errorf("parted from another's page: %d", status)
	}
	c.send(part, "why", "two housings")
	c.ask("/devices.json", &after)
	if after.Total != before.Total {
		t.Errorf("parted: %d devices, before %d", after.Total, before.Total)
	}
	if l := w.ledger(); !strings.Contains(l, "merge devices") || !strings.Contains(l, "part devices") || !strings.Contains(l, "two housings") {
		t.Error("the ledger has not both")
	}
}

// What sensors take for one device is two from its page, and one again, with the reasons
// in the timeline of both; a manufacturer's people see no more of the other than that.
func TestSplitAndUndo(t *testing.T) {
	w := newWard(t)
	w.person("te", "Tomas Eklund", access.Engineer)
	w.person("vi", "Vera Ito", access.Viewer)
	c := w.client("te")
	id := c.named("pump-3")
	type paged struct {
		ID         string
		Identities []struct {
			Number      int64
			Kind, Value string
			Live        bool
		}
		Splits   []struct{ Kept, Gone, Names, Why, UndoneBy string }
		Timeline []struct{ Kind, What, Why, By, Path string }
	}
	var page paged
	c.ask("/devices/"+id+".json", &page)
	var off []string
	for _, n := range page.Identities {
		if n.Number != 0 && len(off) == 0 {
			off = []string{"name", fmt.Sprint(n.Number)}
		}
		if (n.Number != 0) != (n.Live && n.Kind != "maker, model, serial" && n.Kind != "id at a sensor") {
			t.Errorf("%+v", n)
		}
	}
	if off == nil {
		t.Fatalf("%+v", page)
	}
	all := []string{"why", "x"}
	for _, n := range page.Identities {
		all = append(all, "name", fmt.Sprint(n.Number))
	}
	path := "/devices/" + id + "/split"
	for name, form := range map[string][]string{"no reason": off, "no address": {"why", "x"}, "another's": {"why", "x", "name", "999999"}, "all": all, "a long reason": append([]string{"why", strings.Repeat("x", 301)}, off...)} {
		if status, _ := c.send(path, form...); status < 400 || status >= 500 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := w.client("vi").send(path, append([]string{"why", "x"}, off...)...); status != 403 {
		t.Errorf("a viewer: %d", status)
	}
	var before, after listed
	c.ask("/devices.json", &before)
	status, body := c.send(path, append([]string{"why", "a hub between them"}, off...)...)
	c.ask("/devices.json", &after)
	page = paged{}
	c.ask("/devices/"+id+".json", &page)
	if status != 200 || after.Total != before.Total+1 || len(page.Splits) != 1 || page.Splits[0].Kept != id {
		t.Fatalf("%d: %d devices, before %d: %+v", status, after.Total, before.Total, page.Splits)
	}
	gone := page.Splits[0].Gone
	says := func(of, why, other string) {
		t.Helper()
		var p paged
		c.ask("/devices/"+of+".json", &p)
		for _, h := range p.Timeline {
			if h.Why == why && h.By == "te" && h.Path == other {
				return
			}
		}
		t.Errorf("the timeline of %s has no %q: %+v", of, why, p.Timeline)
	}
	says(id, "a hub between them", "/devices/"+gone)
	says(gone, "a hub between them", "/devices/"+id)
	if _, body := c.get("/devices/" + id); !strings.Contains(body, "a hub between them") {
		t.Error("the page does not say why")
	}
	undo := regexp.MustCompile(`/devices/[^"]*/split/[0-9]+/undo`).FindString(body)
	if status, _ := c.send(undo); status != 422 {
		t.Errorf("undone without a reason: %d", status)
	}
	if status, _ := c.send("/devices/"+c.named("mon-3")+undo[strings.Index(undo, "/split/"):], "why", "x"); status != 404 {
		t.Errorf("undone from another's page: %d", status)
	}
	status, body = c.send(undo, "why", "the hub is its own")
	c.ask("/devices.json", &after)
	if status != 200 || after.Total != before.Total {
		t.Errorf("%d, undone: %d devices, before %d", status, after.Total, before.Total)
	}
	says(id, "the hub is its own", "")
	again := regexp.MustCompile(`action="(/devices/[^"]*/split\?[^"]*)"`).FindStringSubmatch(body)
	if again == nil {
		t.Fatal("nothing undoes that it was undone")
	}
	c.send(strings.ReplaceAll(again[1], "&amp;", "&"))
	if c.ask("/devices.json", &after); after.Total != before.Total+1 {
		t.Errorf("split again: %d devices, before %d", after.Total, before.Total)
	}
	page = paged{}
	c.ask("/devices/"+id+".json", &page)
	gone = page.Splits[0].Gone
	if l := w.ledger(); !strings.Contains(l, "split device") || !strings.Contains(l, "undo split") || !strings.Contains(l, "a hub between them") || !strings.Contains(l, "the hub is its own") {
		t.Error("the ledger has not both")
	}
	keep, other := c.named("mon-3"), id
	c.send("/devices/"+keep+"/merge", "gone", other, "why", "one housing")
	says(keep, "one housing", "")
	var merged struct{ Merges []struct{ ID int64 } }
	c.ask("/devices/"+keep+".json", &merged)
	c.send(fmt.Sprintf("/devices/%s/part/%d", keep, merged.Merges[0].ID), "why", "two housings")
	says(keep, "two housings", "/devices/"+other)
	says(other, "two housings", "/devices/"+keep)
	w.person("norra", "Norra Field Service", access.Manufacturer, "Norra Medical Flow 500")
	for _, form := range []string{"", ".json"} {
		status, body := w.client("norra").get("/devices/" + id + form)
		for _, no := range []string{keep, gone, "mon-3"} {
			if status != 200 || strings.Contains(body[strings.Index(body, "dentities"):], no) {
				t.Errorf("%d, and a manufacturer's people are told %s", status, no)
			}
		}
		if !strings.Contains(body, "two housings") || !strings.Contains(body, "a hub between them") {
			t.Error("they are not told why")
		}
	}
}

// The page of a device says which guard stands before it, to whoever may know of guards, and
// each thing that a guard decided has a verdict.
func TestGuarded(t *testing.T) {
	w := busy(t, strangers()...)
	c := w.client("tomas.eklund")
	for name, want := range map[string]string{
		"pump-3":   `What protects it: guard <a href="/guard/gw-icu-front/limits/pump-3">`,
		hostile[0]: "stands before it and only watches: <bdi>the device has no envelope</bdi>.",
		"icd-anna": "No guard is known to stand before it.",
	} {
		if _, page := c.get("/devices/" + c.named(name)); !strings.Contains(page, want) {
			t.Errorf("the page of %.20s does not say %s", name, want)
		}
	}
	_, page := c.get("/devices/" + c.named("pump-3"))
	for _, want := range []string{"enforcing since <time", ">allow-emergency<", "was it given?"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of the pump does not say %s", want)
		}
	}
	if _, page := w.client("norra").get("/devices/" + c.named("pump-3")); strings.Contains(page, "guard ") {
		t.Error("a manufacturer is told of guards, or that there is none")
	}
}

// A manufacturer's people see their products, and of others not even that they are there.
func TestManufacturersDevices(t *testing.T) {
	w := newWard(t)
	w.person("norra", "Norra Field Service", access.Manufacturer, "Norra Medical Flow 500")
	w.person("none", "Nobody's", access.Manufacturer)
	w.person("vi", "Vera Ito", access.Viewer)
	ct := w.client("vi").named("ct-1")
	for login, want := range map[string]int{"norra": 2, "none": 0} {
		c := w.client(login)
		var l listed
		if c.ask("/devices.json", &l); l.Total != want || len(l.Rows) != want {
			t.Errorf("%s sees %d devices", login, l.Total)
		}
		for path, want := range map[string]int{"/devices/" + ct: 404, "/devices/" + ct + ".json": 404, "/devices.csv": 403, "/map": 403, "/today.json": 403, "/": 200} {
			if status, _ := c.get(path); status != want {
				t.Errorf("%s %s: %d", login, path, status)
			}
		}
	}
	c := w.client("norra")
	if status, body := c.get("/devices/" + c.named("pump-3")); status != 200 || strings.Contains(body, "gw-icu-front") || strings.Contains(body, "ct-1<") {
		t.Errorf("the pump's page: %d, or it tells of others", status)
	}
}

// cutScript returns texts of maps that touch the edge of their box.
const cutScript = `[...document.querySelectorAll('.map svg svg > text, .map .zone + .caption')].filter(t => {
  const b = t.getBBox(), zone = t.previousElementSibling
  const end = t.matches('.zone + .caption') ? zone.x.baseVal.value + zone.width.baseVal.value : t.parentElement.width.baseVal.value
  return b.x + b.width > end
}).map(t => t.textContent)`

// A tab is a page of a real browser, which notes what it complains of.
type tab struct {
	*ward
	ctx  context.Context
	mu   sync.Mutex
	said []string
}

func (w *ward) browse() *tab {
	w.t.Helper()
	ctx := chromium.Open(w.t)
	b := &tab{ward: w, ctx: ctx}
	note := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, fmt.Sprintf(format, args...))
	}
	w.must(chromedp.Listen(ctx, func(e any) {
		switch e := e.(type) {
		case *log.EventEntryAdded:
			note("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		case *runtime.EventConsoleAPICalled:
			note("console.%s", e.Type)
		case *runtime.EventExceptionThrown:
			note("exception: %s", e.ExceptionDetails.Text)
		case *page.EventJavascriptDialogOpening:
			note("a dialog opened: %s", e.Message)
		}
	}))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	w.must(err)
	return b
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, actions...))
}

func (b *tab) open(path string) { b.t.Helper(); b.do(chromedp.Navigate(b.http.URL + path)) }

func (b *tab) script(on bool) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
	b.must(err)
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	for try := 1; ; try++ {
		s, err := chromedp.Run(b.ctx, chromedp.Text(selector))
		if err != nil && try < 10 && strings.Contains(err.Error(), "No node with given id") {
			continue // a page that renews itself did so between finding it and reading it
		}
		b.must(err)
		return s
	}
}

// TestWardInBrowser signs in by the set-up link, finds a device and edits its ward, with
// script and without, and looks at every page: wide, narrow, light, dark, on paper, and
// with names that try to break it.
func TestWardInBrowser(t *testing.T) {
	w := newWard(t, strangers()...)
	b := w.browse()
	b.open(w.link)
	b.do(chromedp.SetValue("input[name=login]", "jr"), chromedp.SetValue("input[name=name]", "Jon Reyes"), chromedp.SetValue("input[name=password]", password),
		chromedp.Submit("input[name=password]"), chromedp.WaitVisible("main[data-page=Today] [data-test=matrix]"))
	if h := b.text("h1"); !strings.Contains(h, "action now") || !strings.Contains(h, "ct-1") {
		t.Errorf("Today says %q", h)
	}
	b.do(chromedp.Submit("form.out"), chromedp.WaitVisible(`main[data-page="Sign in"]`))
	w.person("te", "Tomas Eklund", access.Analyst|access.Engineer)
	b.do(chromedp.SetValue("input[name=login]", "te"), chromedp.SetValue("input[name=password]", password), chromedp.Submit("input[name=password]"),
		chromedp.WaitVisible("main[data-page=Today]"))
	was, is := "ICU", "ICU 2"
	for _, script := range [...]bool{true, false} {
		b.script(script)
		b.open("/devices")
		b.do(chromedp.SetValue("[data-test=words]", "pump-3"), chromedp.Click("[data-test=filter]"), chromedp.WaitVisible(`main[data-page=Devices] input[value="pump-3"]`),
			chromedp.Click(chromedp.Search(`//tr[@data-test="device"]//a[.="pump-3"]`)), chromedp.WaitVisible(`main[data-page="pump-3"]`))
		if ward := b.text("[data-test=ward]"); ward != was {
			t.Errorf("script %v: the ward is %q", script, ward)
		}
		b.do(chromedp.Click("[data-test=edit]"), chromedp.SetValue("details input[name=ward]", is), chromedp.Click("[data-test=save]"), chromedp.WaitVisible("[data-test=said]"))
		if ward := b.text("[data-test=ward]"); ward != is {
			t.Errorf("script %v: the ward is %q after the change", script, ward)
		}
		was, is = is, was
	}
	c := w.client("te")
	pump := c.named("pump-3")
	looks := []struct{ name, path string }{
		{"today", "/"},
		{"devices", "/devices"},
		{"narrowed", "/devices?ward=ICU&sort=name"},
		{"empty", "/devices?q=nothing"},
		{"device", "/devices/" + pump},
		{"gateway", "/devices/" + c.named("gw-icu")},
		{"merge", "/devices/" + pump + "/merge?with=pump"},
		{"map", "/map?ward=ICU"},
		{"map-radiology", "/map?ward=Radiology"},
		{"map-all", "/map?ward="},
		{"map-empty", "/map?ward=Nowhere"},
	}
	for i, n := range hostile {
		looks = append(looks, struct{ name, path string }{fmt.Sprint("hostile-", i), "/devices/" + c.named(n)})
	}
	for _, l := range looks {
		b.open(l.path)
		for _, width := range []int64{1440, 1024, 390} {
			_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
			w.must(err)
			for _, scheme := range [...]string{"light", "dark"} {
				_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				w.must(err)
				for what, script := range map[string]string{"wider than the window": chromium.Overflow, "too little contrast": chromium.Contrast, "without a name": chromium.Nameless, "cut": cutScript} {
					bad, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](script))
					w.must(err)
					if len(bad) > 0 {
						t.Errorf("%s at %d, %s: %s: %q", l.name, width, scheme, what, bad[:min(len(bad), 8)])
					}
				}
				if *shots != "" && (scheme == "light" || width == 1440) && (width != 1024 || l.name == "device" || l.name == "devices") {
					picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
					w.must(err)
					w.must(os.WriteFile(filepath.Join(*shots, fmt.Sprintf("%s-%d-%s.png", l.name, width, scheme)), picture, 0o600))
				}
			}
		}
		if *shots != "" && (l.name == "today" || l.name == "device") {
			own := true
			paper, err := chromedp.Call(b.ctx, page.PrintToPDF, page.PrintToPDFParams{PaperWidth: 8.27, PaperHeight: 11.69, PreferCSSPageSize: &own})
			w.must(err)
			w.must(os.WriteFile(filepath.Join(*shots, l.name+".pdf"), paper.Data, 0o600))
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 {
		t.Errorf("the browser complained: %q", b.said)
	}
}
