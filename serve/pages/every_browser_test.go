// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"mime/multipart"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/internal/testpeer/chromium"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/pages"
	"github.com/myelin-health/myelin/store"
)

var everyShot = flag.String("every-shot", "", "write pictures of every page to this folder, for eyes")

// staff are people of each role, and one who has none.
var staff = []struct {
	login, name string
	role        access.Role
}{
	{"ada.berg", "Ada Berg", access.Administrator},
	{"tomas.eklund", "Tomas Eklund", access.Analyst},
	{"lea.sommer", "Lea Sommer", access.Engineer},
	{"mira.holm", "Dr. Mira Holm", access.Clinician},
	{"ines.duarte", "Ines Duarte", access.Auditor},
	{"vera.ito", "Vera Ito", access.Viewer},
	{"norra", "Norra Field Service", access.Manufacturer},
	{"nobody.yet", "Nils Ohm", 0},
}

// busy is a ward in which everything has happened that a page shows: documents, a
// command that waits, a dose in doubt, an open emergency, limits; and each of [staff].
func busy(t *testing.T, more ...device.Device) *ward {
	t.Helper()
	w := newWard(t, append(more, device.Device{
		ID: device.IDOf("icd-anna"), Name: "icd-anna", Medical: true, Product: device.Product{Manufacturer: "Halden Cardio", Model: "Rhythm S", Version: "4.2", Therapy: device.Pacing},
	})...)
	hash, err := access.HashPassword(password)
	w.must(err)
	at := func(k event.Kind, v ...event.Attr) event.Event {
		e := event.Event{Kind: k, Time: morning.UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
		e.Add(v...)
		return e
	}
	w.open(func(s *store.Store) {
		for _, p := range staff {
			one := &store.Person{Login: p.login, Name: p.name, Roles: uint32(p.role), Hash: hash}
			switch p.role {
			case access.Clinician:
				one.Clinical = "prescriber"
			case access.Manufacturer:
				one.Products = []string{"Norra Medical Flow 500"}
			}
			w.must(s.SavePerson(t.Context(), one))
		}
		state, err := (&guard.State{
			At: morning, Confirms: true, Trouble: []string{"front archive does not serve: the address is in use"},
			Devices: []guard.DeviceState{
				{
					ID: "pump-3", Therapy: "drug infusion", Harm: "catastrophic", Envelope: "norepinephrine at ICU bed 3", Version: 4, Author: "kp", AuthorRole: "prescriber", Approver: "ap", ApproverRole: "pharmacist",
					Risk: "RM-2026-014", Manufacturer: "letter of 2 February 2026: no objection", Digest: strings.Repeat("0d", 32), Enforcing: true, Limits: []string{"set-infusion-rate: max 1.0 ug/kg/min"},
					Since: morning.Add(-time.Hour), Rate: "0.2 ug/kg/min", Reported: morning,
					Sums: []guard.SumState{{
						What: "all that is given", Window: "1 h", Delivered: "14 ug/kg", Counted: "18 ug/kg", Planned: "34 ug/kg", Highest: "48 ug/kg", Most: 48,
						Hour: []guard.Sample{{At: morning.Add(-time.Hour).Unix(), Planned: 12}, {At: morning.Unix(), Delivered: 14, Counted: 18, Planned: 34}},
					}},
				},
				{ID: hostile[0], Therapy: "defibrillation", Harm: "catastrophic", Because: "the device has no envelope", Since: morning},
			},
			Emergencies: []guard.EmergencyState{{Time: morning, Device: "pump-3", Actor: "jon.reyes", Reason: "reanimation", Until: morning.Add(10 * time.Minute)}},
			Doubts:      []guard.DoubtState{{ID: 5, Device: "pump-3", Verb: "deliver-bolus", Value: "2 mL", Actor: "ehr", Since: morning, Why: "the link broke"}},
		}).Bytes()
		w.must(err)
		_, err = s.Write(t.Context(), &store.Batch{
			Sensor: "gw-icu-front", Sequence: 2, Sent: morning.UnixNano(), HeldToo: true, State: state,
			Events: []event.Event{
				at(event.ConfigurationChanged, event.Text(event.Name, "icu-norepinephrine"), event.Text(event.Version, "4"), event.Text(event.Reason, "its envelope is enforced"), event.Text(event.Actor, "mira.holm")),
				at(event.DoseDoubted, event.Int(event.Verb, device.DeliverBolus), event.Text(event.Value, "2 mL"), event.Text(event.Target, "5"), event.Text(event.Reason, "the link broke")),
				at(event.EmergencyUsed, event.Text(event.Target, "pump-3"), event.Text(event.Actor, "jon.reyes"), event.Text(event.Reason, "reanimation"),
					event.Int(event.NotAfter, morning.Add(10*time.Minute).Unix()), event.Int(event.Digest, 9), event.Int(event.Outcome, event.Succeeded)),
			},
			Held: []store.Held{{
				ID: "7", Front: "gw-icu", Device: "pump-3", Actor: "ehr", Verb: "set-infusion-rate", Effect: "increases", Now: "0.2 mcg/kg/min", Value: "0.8 mcg/kg/min",
				Reason: "four times what runs now", Asked: morning.UnixNano(), Expires: morning.Add(100 * time.Second).UnixNano(),
			}},
		})
		w.must(err)
	})
	c := w.client("tomas.eklund")
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, file := range []string{"ada-2026-01.csaf.json", "flow-500-2.1.4.cdx.json", "flow-500-2.2.0.spdx.json", "flowlink-1.8.cdx.json"} {
		text, err := os.ReadFile(filepath.Join("../../testdata/ward", file))
		w.must(err)
		part, err := form.CreateFormFile("file", file)
		w.must(err)
		part.Write(text)
	}
	form.Close()
	a, err := c.Post(w.http.URL+"/documents", form.FormDataContentType(), &b)
	w.must(err)
	if status, body := c.read(a); status != 200 {
		t.Fatalf("documents: %d %s", status, body)
	}
	return w
}

// addresses are those of each page that people read, of which the first is one that
// everybody with the permission may see.
func (w *ward) addresses() map[string][]string {
	w.t.Helper()
	c, admin, doctor := w.client("tomas.eklund"), w.client("ada.berg"), w.client("mira.holm")
	pump, icd := c.named("pump-3"), c.named("icd-anna")
	var found, papers struct {
		Rows []struct{ ID, Digest, DeviceName string }
	}
	c.ask("/devices/"+pump+".json", &struct{}{})
	for _, q := range []string{"/findings?device=" + pump} {
		status, body := c.get(q)
		if status != 200 {
			w.t.Fatalf("%s: %d", q, status)
		}
		for _, id := range regexp.MustCompile(`href="/findings/([^"?]+)"`).FindAllStringSubmatch(body, -1) {
			found.Rows = append(found.Rows, struct{ ID, Digest, DeviceName string }{ID: id[1]})
		}
	}
	c.ask("/documents.json", &papers)
	_, body := admin.send("/settings/people", "login", "jon.reyes", "name", "Jon Reyes", "role", "viewer")
	link := regexp.MustCompile(`/password/9/[\w-]+`).FindString(body)
	doctor.send("/devices/"+icd+"/body/add", "kind", "serial number", "value", "CT-0042")
	if len(found.Rows) == 0 || len(papers.Rows) < 4 || link == "" {
		w.t.Fatalf("%d findings, %d documents, link %q", len(found.Rows), len(papers.Rows), link)
	}
	devices := []string{"/devices/" + pump, "/devices/" + c.named("gw-icu"), "/devices/" + icd}
	for _, n := range hostile {
		devices = append(devices, "/devices/"+c.named(n))
	}
	var documents []string
	for _, d := range papers.Rows {
		documents = append(documents, "/documents/"+d.Digest)
	}
	rollouts, updates := w.rollouts()
	return map[string][]string{
		"GET /updates":                            {"/updates"},
		"GET /updates/{rollout}":                  rollouts,
		"GET /updates/{rollout}/devices/{device}": updates,
		"GET /{$}":                                {"/"},
		"GET /devices":                            {"/devices", "/devices?ward=ICU&sort=name", "/devices?q=nothing"},
		"GET /devices/{id}":                       devices,
		"GET /devices/{id}/merge":                 {"/devices/" + pump + "/merge?with=pump", "/devices/" + pump + "/merge"},
		"GET /devices/{id}/body":                  {"/devices/" + icd + "/body"},
		"GET /map":                                {"/map?ward=ICU", "/map?ward=", "/map?ward=Nowhere"},
		"GET /findings":                           {"/findings?state=open&state=acknowledged", "/findings?q=nothing", "/findings?ward=" + url.QueryEscape(hostile[0])},
		"GET /findings/{id}":                      {"/findings/" + found.Rows[0].ID, "/findings/" + found.Rows[len(found.Rows)-1].ID},
		"GET /documents":                          {"/documents", "/documents?q=nothing"},
		"GET /documents/{digest}":                 documents,
		"GET /search":                             {"/search?q=norra", "/search", "/search?q=nothing"},
		"GET /guard":                              {"/guard", "/guard?verdict=deny", "/guard?device=nothing"},
		"GET /guard/{guard}/held/{id}":            {"/guard/gw-icu-front/held/7"},
		"GET /guard/{guard}/doubts/{id}":          {"/guard/gw-icu-front/doubts/5"},
		"GET /guard/{guard}/limits/{device}":      {"/guard/gw-icu-front/limits/pump-3", "/guard/gw-icu-front/limits/" + url.PathEscape(hostile[0])},
		"GET /ledger":                             {"/ledger"},
		"GET /ledger/{index}":                     {"/ledger/1"},
		"GET /settings":                           {"/settings"},
		"GET /settings/people":                    {"/settings/people"},
		"GET /settings/people/{id}":               {"/settings/people/3", "/settings/people/1"},
		"GET /settings/sensors":                   {"/settings/sensors"},
		"GET /settings/retention":                 {"/settings/retention"},
		"GET /settings/receivers":                 {"/settings/receivers"},
		"GET /settings/feeds":                     {"/settings/feeds"},
		"GET /me":                                 {"/me"},
		"GET /help":                               {"/help"},
		"GET /sign-in":                            {"/sign-in"},
		"GET /set-up/{secret}":                    {strings.TrimPrefix(w.link, w.http.URL)},
		"GET /password/{id}/{secret}":             {link},
		"what there is not, and is not to":        {"/nothing", "/settings/people"},
	}
}

// notRead are routes of what is no page: files, streams, what leads elsewhere.
var notRead = regexp.MustCompile(`^POST |\.(json|csv|ocsf|cef)$|/(live|proof|export|content|provider|provider/back|\{file\}|\{step\})$`)

// looks are how a page is looked at.
var looks = []struct {
	width  int64
	scheme string
	axe    bool
}{{1440, "light", true}, {390, "light", true}, {1440, "dark", true}, {390, "dark", false}, {1280, "light", false}, {1024, "light", false}}

func (b *tab) look(width int64, scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
	b.must(err)
	_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	b.must(err)
}

func (b *tab) signIn(login string) {
	b.t.Helper()
	b.open("/sign-in?to=/me")
	b.do(chromedp.SetValue("main input[name=login]", login), chromedp.SetValue("main input[name=password]", password))
	b.send(chromedp.Submit("main input[name=password]"))
	b.see("form.out", "Sign out")
}

// complaints are what the browser said that nobody expects.
func (b *tab) complaints(but ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.said), func(s string) bool {
		return slices.ContainsFunc(but, func(part string) bool { return strings.Contains(s, part) })
	})
}

// TestEveryPage has each page of the table of routes, as each role that may see it,
// looked at by axe-core and by rules of our own: light and dark, on a desk and in a
// hand. What two roles see alike is looked at once, and where they see a page of one
// address in two ways, the second is looked at on a desk.
func TestEveryPage(t *testing.T) {
	axe := chromium.Axe(t)
	w := busy(t, strangers()...)
	addresses := w.addresses()
	table, err := pages.New(pages.Config{})
	w.must(err)
	b := w.browse()
	seen, before := map[[32]byte]bool{}, map[string]bool{}
	name := regexp.MustCompile(`[^a-z0-9]+`)
	visit := func(who, path string) {
		t.Helper()
		b.open(path)
		main, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("main").outerHTML`))
		w.must(err)
		key := sha256.Sum256([]byte(main))
		if seen[key] {
			return
		}
		seen[key] = true
		some := looks
		if before[path] {
			some = looks[:1]
		}
		before[path] = true
		for _, l := range some {
			b.look(l.width, l.scheme)
			checks := map[string]string{"wider than the window": chromium.Overflow, "too little contrast": chromium.Contrast, "cut": cutScript}
			if l.axe && l.scheme == "light" {
				checks["focus unseen"] = chromium.Unseen
			}
			for what, script := range checks {
				bad, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](script))
				w.must(err)
				if len(bad) > 0 {
					t.Errorf("%.60s as %s at %d, %s: %s: %q", path, who, l.width, l.scheme, what, bad[:min(len(bad), 8)])
				}
			}
			if l.axe {
				bad, err := chromium.Violations(b.ctx, axe, l.scheme == "dark")
				w.must(err)
				if len(bad) > 0 {
					t.Errorf("%.60s as %s at %d, %s: axe-core:\n%s", path, who, l.width, l.scheme, strings.Join(bad, "\n"))
				}
			}
			if *everyShot != "" {
				picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
				w.must(err)
				w.must(os.WriteFile(filepath.Join(*everyShot, fmt.Sprintf("%.40s-%s-%d-%s.png", name.ReplaceAllString(path, "-"), who, l.width, l.scheme)), picture, 0o600))
			}
		}
		if *everyShot != "" && len(some) > 1 {
			own := true
			paper, err := chromedp.Call(b.ctx, page.PrintToPDF, page.PrintToPDFParams{PaperWidth: 8.27, PaperHeight: 11.69, PreferCSSPageSize: &own})
			w.must(err)
			w.must(os.WriteFile(filepath.Join(*everyShot, fmt.Sprintf("%.40s-%s.pdf", name.ReplaceAllString(path, "-"), who)), paper.Data, 0o600))
		}
	}
	see := func(who string, may func(access.Permission) bool) {
		t.Helper()
		for _, route := range table.Routes() {
			if notRead.MatchString(route.Pattern) || !may(route.Needs) {
				continue
			}
			list := addresses[route.Pattern]
			if len(list) == 0 {
				t.Errorf("no address of %s: a page that nobody looked at", route.Pattern)
			}
			for i, path := range list {
				if i == 0 || !before[path] && who != "norra" { // others are no products of its
					visit(who, path)
				}
			}
		}
		for _, path := range addresses["what there is not, and is not to"] {
			visit(who, path)
		}
	}
	b.ward = newWard(t) // in which there is nobody yet
	visit("no one", b.link)
	b.ward = w
	see("no one", func(p access.Permission) bool { return p == access.Anyone })
	for _, p := range staff {
		b.signIn(p.login)
		see(p.login, func(needs access.Permission) bool { return needs != access.Anyone && p.role.May(needs) })
	}
	if said := b.complaints("status of 404", "status of 403"); len(said) > 0 {
		t.Errorf("the browser complained: %q", said)
	}
	if len(seen) < 50 {
		t.Errorf("%d pages were looked at", len(seen))
	}
}
