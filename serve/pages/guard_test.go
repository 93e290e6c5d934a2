// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/serve/bus"
	"github.com/myelin-health/myelin/serve/live"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// A ward is a server with one guard before a pump, as pages see them.
type ward struct {
	t     *testing.T
	store *store.Store
	pages *Pages
	hub   *live.Hub
	http  *httptest.Server

	mu       sync.Mutex
	at       time.Time
	recorded []string // in the ledger
	sequence uint64
	held     []store.Held
	state    guard.State // of the guard
	stood    []byte      // the same, as it was said last
	asked    []string    // of the guard
	answer   error       // nil: the guard does what it is asked
	full     bool        // the ledger writes nothing
}

func (d *ward) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func newWard(t *testing.T) *ward {
	t.Helper()
	d := &ward{t: t, at: time.Now(), hub: &live.Hub{}, state: guard.State{Page: "https://guard.icu:8443/", Confirms: true}}
	var err error
	if d.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "m.db"), d.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.store.Close() })
	a, err := access.New(access.Config{Store: d.store, Now: d.now, Site: "server", Record: func(e *event.Event) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.full {
			return errors.New("no space left")
		}
		d.recorded = append(d.recorded, strings.Join([]string{e.Text(event.Actor), e.Text(event.Operation), e.Text(event.Target), e.Text(event.Reason), event.Result(e.Int(event.Outcome)).String()}, " | "))
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.pages, err = New(Config{Store: d.store, Access: a, Live: d.hub, Guards: d, Now: d.now, Site: "St. Ada Hospital", Version: "v0"})
	if err != nil {
		t.Fatal(err)
	}
	mux := access.Mux(d.pages.Routes(), func(w http.ResponseWriter, r *http.Request, err error) {
		if d.pages.Fail(w, r, err) {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
	})
	d.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		http.NewCrossOriginProtection().Handler(a.Identify(mux)).ServeHTTP(w, r)
	}))
	t.Cleanup(func() { d.http.CloseClientConnections(); d.http.Close() })
	if err := d.store.AddEnrolment(t.Context(), []byte("x"), "gw-icu", "St. Ada", "guard", "test", d.now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Enrol(t.Context(), []byte("x"), "g1", "key"); err != nil {
		t.Fatal(err)
	}
	hash, err := access.HashPassword(goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []store.Person{
		{Login: "holm", Name: "Dr. Holm", Roles: uint32(access.Clinician), Clinical: "prescriber"},
		{Login: "ada", Name: "Ada Admin", Roles: uint32(access.Administrator | access.Analyst)},
		{Login: "odd", Name: "Odd One", Roles: uint32(access.Clinician)},
		{Login: "maker", Name: "Maker", Roles: uint32(access.Manufacturer)},
		{Login: "vera", Name: "Vera Viewer", Roles: uint32(access.Viewer)},
	} {
		p.Hash = hash
		if err := d.store.SavePerson(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// sends is what the guard sends: events, and what waits now.
func (d *ward) sends(events ...event.Event) {
	d.mu.Lock()
	d.sequence++
	b := &store.Batch{Sensor: "g1", Sequence: d.sequence, Events: events, Held: slices.Clone(d.held), HeldToo: true}
	doc, err := d.state.Bytes()
	b.State, b.StateNews = doc, !bytes.Equal(doc, d.stood)
	d.stood = doc
	d.mu.Unlock()
	if err != nil {
		d.t.Error(err)
	}
	w, err := d.store.Write(context.Background(), b)
	if err != nil {
		d.t.Error(err)
		return
	}
	for _, v := range w.Verdicts {
		d.hub.Tell(live.Event{What: live.Verdict, ID: v.Seq})
	}
	if w.Held {
		d.hub.Tell(live.Event{What: live.Held})
	}
}

func (d *ward) verdict(v device.Verdict, who, value, reason string) event.Event {
	e := event.Event{Kind: event.VerdictGiven, Time: d.now().UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump-3"}, Peer: device.Address{Kind: device.IP, Value: "10.20.3.9"}}
	e.Add(event.Text(event.Front, "gw-icu-front"), event.Int(event.Verb, device.SetInfusionRate), event.Int(event.Effect, device.Increases), event.Text(event.Value, value), event.Text(event.Actor, who), event.Int(event.Verdict, v), event.Text(event.Reason, reason), event.Bool(event.Enforced, true))
	return e
}

// waits makes a command wait.
func (d *ward) waits(id, actor string) {
	d.mu.Lock()
	d.held = append(d.held, store.Held{
		ID: id, Front: "gw-icu-front", Device: "pump-3", Actor: actor, Verb: "set-infusion-rate", Drug: "norepinephrine", Therapy: "drug infusion", Harm: "catastrophic", Effect: "increases", Now: "0.2 ug/kg/min", Value: "0.8 ug/kg/min",
		Reason: "four times what runs now", Asked: d.at.UnixNano(), Expires: d.at.Add(100 * time.Second).UnixNano(),
	})
	d.mu.Unlock()
	d.sends()
}

// Decide is what a guard does with a clinician's word: it is a fake that behaves.
func (d *ward) Decide(_ context.Context, of string, said *bus.Decision) error {
	id, what, person, role, reason := said.ID, said.What, said.By, said.Role, said.Reason
	d.mu.Lock()
	d.asked = append(d.asked, strings.Join([]string{of, id, what, person, role, reason}, " | "))
	err := d.answer
	i := slices.IndexFunc(d.held, func(h store.Held) bool { return h.ID == id && h.Asked == said.Asked })
	if err == nil && (what == "confirm" || what == "refuse") {
		if i < 0 {
			err = errors.New("nothing of that number waits")
		} else {
			d.held = slices.Delete(d.held, i, i+1)
		}
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	switch what {
	case "confirm":
		d.sends(d.verdict(device.Allow, person, "0.8 ug/kg/min", "confirmed by "+person))
	case "refuse":
		d.sends(d.verdict(device.Deny, person, "0.8 ug/kg/min", "refused by "+person))
	default:
		e := event.Event{Kind: event.DoseDoubted, Time: d.now().UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
		outcome := event.Failed
		if what == "given" {
			outcome = event.Succeeded
		}
		e.Add(event.Int(event.Verb, device.DeliverBolus), event.Text(event.Target, id), event.Text(event.Reason, reason), event.Int(event.Outcome, outcome), event.Text(event.Actor, person))
		d.mu.Lock()
		d.state.Doubts = slices.DeleteFunc(d.state.Doubts, func(x guard.DoubtState) bool {
			return strconv.FormatUint(x.ID, 10) == id && x.Since.UnixNano() == said.Asked
		})
		d.mu.Unlock()
		d.sends(e)
	}
	return nil
}

// doubts makes a dose doubted.
func (d *ward) doubts(id uint64, why string) {
	d.mu.Lock()
	d.state.Doubts = append(d.state.Doubts, guard.DoubtState{ID: id, Device: "pump-3", Verb: "deliver-bolus", Value: "2 mL", Actor: "emr", Since: d.at.UTC(), Why: why})
	d.mu.Unlock()
	d.sends()
}

// guards makes the guard say what holds for the pump.
func (d *ward) guards() {
	var hour []guard.Sample
	for m := range int64(60) {
		given := float64(m) / 4
		s := guard.Sample{At: d.at.Unix() - 60*(59-m), Delivered: given, Counted: given, Planned: given + 12}
		if m > 40 {
			s.Counted, s.Planned = given+4, given+20
		}
		hour = append(hour, s)
	}
	d.mu.Lock()
	d.state.Devices = []guard.DeviceState{
		{
			ID: "pump-3", Therapy: "drug infusion", Harm: "catastrophic", Envelope: "norepinephrine at ICU bed 3", Version: 4, Drug: "norepinephrine", Author: "kp", AuthorRole: "prescriber",
			Approver: "ap", ApproverRole: "pharmacist", Risk: "RM-2026-014", Manufacturer: "letter of 2 February 2026: no objection", Digest: strings.Repeat("0d", 32), Enforcing: true,
			Limits: []string{"set-infusion-rate: min 0.02 ug/kg/min, max 1.0 ug/kg/min, step 0.5 ug/kg/min, roles clinician, confirm second-person above 0.5 ug/kg/min, held for 2m", "everything highest 48 ug/kg in 1h"},
			Since:  d.at.Add(-26 * time.Hour).UTC(), State: "infusing", Rate: "0.2 ug/kg/min", Reported: d.at.Add(-8 * time.Second).UTC(),
			Sums: []guard.SumState{{What: "all that is given", Window: "1 h", Delivered: "14.75 ug/kg", Counted: "18.75 ug/kg", Planned: "34.75 ug/kg", Highest: "48 ug/kg", Most: 48, Lowest: "1.2 ug/kg", Least: 1.2, Hour: hour}},
		},
		{ID: "pump-4", Therapy: "drug infusion", Harm: "critical", Because: "the device has no envelope", Since: d.at.Add(-26 * time.Hour).UTC(), Sums: []guard.SumState{}},
	}
	d.mu.Unlock()
	d.sends()
}

// emergency opens an emergency session.
func (d *ward) emergency() {
	d.mu.Lock()
	d.state.Emergencies = []guard.EmergencyState{{Time: d.at.UTC(), Device: "pump-3", Actor: "nurse-2", Reason: "reanimation", Outcome: "open", Until: d.at.Add(10 * time.Minute).UTC()}}
	d.mu.Unlock()
	d.sends()
}

// client is somebody's browser, without script.
func (d *ward) client(login string) *http.Client {
	d.t.Helper()
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar}
	if login == "" {
		return c
	}
	if page, status := d.post(c, "/sign-in", url.Values{"login": {login}, "password": {goodPassword}, "to": {"/guard"}}); status != 200 && login != "maker" {
		d.t.Fatalf("%s could not sign in: %d %s", login, status, page)
	}
	return c
}

func (d *ward) get(c *http.Client, path string) (string, int) {
	d.t.Helper()
	return d.read(c.Get(d.http.URL + path))
}

func (d *ward) post(c *http.Client, path string, form url.Values) (string, int) {
	d.t.Helper()
	return d.read(c.PostForm(d.http.URL+path, form))
}

func (d *ward) read(resp *http.Response, err error) (string, int) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

var whatIs = regexp.MustCompile(`name="what" value="([0-9a-f]+)"`)

// form is a decision on what waits under a number, as its page has it.
func (d *ward) form(c *http.Client, id, do, reason string) url.Values {
	d.t.Helper()
	page, status := d.get(c, "/guard/g1/held/"+id)
	m := whatIs.FindStringSubmatch(page)
	if m == nil {
		d.t.Fatalf("the page of what waits: %d\n%s", status, page)
	}
	return url.Values{"do": {do}, "reason": {reason}, "what": {m[1]}}
}

func TestDecide(t *testing.T) {
	d := newWard(t)
	d.waits("7", "emr")
	holm := d.client("holm")
	page, _ := d.get(holm, "/guard")
	for _, want := range []string{"1 command is waiting for a clinician.", "0.2 ug/kg/min", "0.8 ug/kg/min", "01:40", "four times what runs now", "gw-icu"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	form := d.form(holm, "7", "confirm", "seen at the bed")
	if page, status := d.post(holm, "/guard/g1/held/7", form); status != 200 || !strings.Contains(page, "You confirmed set-infusion-rate norepinephrine 0.8 ug/kg/min for pump-3.") || !strings.Contains(page, "Nothing is waiting.") {
		t.Errorf("confirm: %d\n%s", status, page)
	}
	if want := []string{"g1 | 7 | confirm | holm | prescriber | seen at the bed"}; !slices.Equal(d.asked, want) {
		t.Errorf("the guard was asked %q, want %q", d.asked, want)
	}
	if n := len(d.recorded); n < 2 || d.recorded[n-2] != "holm | confirm | g1/7: set-infusion-rate norepinephrine 0.8 ug/kg/min for pump-3 | seen at the bed | unknown" ||
		d.recorded[n-1] != "holm | confirm: answer | g1/7: set-infusion-rate norepinephrine 0.8 ug/kg/min for pump-3 | the guard did it | succeeded" {
		t.Errorf("the ledger has %q", d.recorded)
	}
	if _, status := d.post(holm, "/guard/g1/held/7", form); status != http.StatusGone {
		t.Errorf("the same again: %d, want 410", status)
	}
	d.waits("8", "emr")
	if page, status := d.post(holm, "/guard/g1/held/8", d.form(holm, "8", "refuse", "not this patient's drug")); status != 200 || !strings.Contains(page, "You refused ") {
		t.Errorf("refuse: %d\n%s", status, page)
	}
}

// TestDecideRefused shows each way in which nothing is asked of the guard.
func TestDecideRefused(t *testing.T) {
	d := newWard(t)
	d.waits("7", "emr")
	d.waits("8", "holm")
	holm, ada, odd, vera, maker := d.client("holm"), d.client("ada"), d.client("odd"), d.client("vera"), d.client("maker")
	good := d.form(holm, "7", "confirm", "seen at the bed")
	with := func(name, value string) url.Values {
		f := url.Values{}
		for k, v := range good {
			f[k] = v
		}
		f.Set(name, value)
		return f
	}
	for _, c := range []struct {
		name   string
		who    *http.Client
		path   string
		form   url.Values
		status int
	}{
		{"an administrator", ada, "7", good, 403},
		{"a viewer", vera, "7", good, 403},
		{"a manufacturer", maker, "7", good, 403},
		{"a clinician of no kind", odd, "7", good, 403},
		{"no reason", holm, "7", with("reason", " "), 422},
		{"a reason of 201 bytes", holm, "7", with("reason", strings.Repeat("x", maxWhy+1)), 422},
		{"something else", holm, "7", with("do", "deliver"), 400},
		{"another command than was on the screen", holm, "7", with("what", "0123456789abcdef"), 409},
		{"one that is not there", holm, "9", good, 410},
		{"one's own", holm, "8", url.Values{"do": {"confirm"}, "reason": {"x"}, "what": d.form(holm, "8", "confirm", "x")["what"]}, 403},
	} {
		if page, status := d.post(c.who, "/guard/g1/held/"+c.path, c.form); status != c.status {
			t.Errorf("%s: %d, want %d\n%s", c.name, status, c.status, page)
		}
	}
	d.full = true
	func() {
		defer func() { d.full = false }()
		r := httptest.NewRecorder()
		who := &access.Principal{Person: &store.Person{ID: 1, Login: "holm", Clinical: "prescriber"}, Roles: access.Clinician}
		req := httptest.NewRequest("POST", "/", strings.NewReader("reason=x"))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := d.pages.ask(r, req, who, "g1", "7", 1, "confirm", "words", nil); err == nil {
			t.Error("what the ledger does not have was asked for")
		}
	}()
	d.mu.Lock()
	d.at = d.at.Add(101 * time.Second)
	d.mu.Unlock()
	renews, _ := http.NewRequest("GET", d.http.URL+"/guard/g1/held/7", nil)
	renews.Header.Set(access.Unattended, "1")
	if a, err := holm.Do(renews); err != nil || a.StatusCode != http.StatusNoContent {
		t.Errorf("a page that renews itself is told %v, %v", a, err)
	} else {
		a.Body.Close()
	}
	if _, status := d.post(holm, "/guard/g1/held/7", good); status != 410 {
		t.Errorf("after its time: %d, want 410", status)
	}
	if len(d.asked) > 0 {
		t.Errorf("the guard was asked %q", d.asked)
	}
}

// TestAnswers shows what becomes of a guard that refuses, and of one that does not answer.
func TestAnswers(t *testing.T) {
	d := newWard(t)
	d.waits("7", "emr")
	holm := d.client("holm")
	form := d.form(holm, "7", "confirm", "seen at the bed")
	for _, c := range []struct {
		answer       error
		status       int
		says, result string
	}{
		{errors.New("the envelope does not allow it any more"), 409, "the envelope does not allow it any more", "failed"},
		{bus.ErrSilent, 200, "has not answered yet", "unknown"},
	} {
		d.answer = c.answer
		page, status := d.post(holm, "/guard/g1/held/7", form)
		if last := d.recorded[len(d.recorded)-1]; status != c.status || !strings.Contains(page, c.says) || !strings.HasSuffix(last, c.result) {
			t.Errorf("%v: %d, ledger %q\n%s", c.answer, status, last, page)
		}
	}
}

func TestDoubts(t *testing.T) {
	d := newWard(t)
	d.doubts(5, "the link broke")
	holm := d.client("holm")
	if page, _ := d.get(holm, "/guard"); !strings.Contains(page, "1 dose may or may not have been given.") || !strings.Contains(page, "the link broke") {
		t.Errorf("the page does not ask what became of it:\n%s", page)
	}
	if page, status := d.get(holm, "/guard/g1/doubts/5"); status != 200 || !strings.Contains(page, "2 mL") {
		t.Errorf("its page: %d\n%s", status, page)
	}
	if _, status := d.post(d.client("ada"), "/guard/g1/doubts/5", url.Values{"do": {"given"}, "reason": {"x"}}); status != 403 {
		t.Errorf("an administrator settled it: %d", status)
	}
	if page, status := d.post(holm, "/guard/g1/doubts/5", url.Values{"do": {"not-given"}, "reason": {"the pump's own log"}}); status != 200 || !strings.Contains(page, "Nothing is waiting.") {
		t.Errorf("settled: %d\n%s", status, page)
	}
	if _, status := d.post(holm, "/guard/g1/doubts/5", url.Values{"do": {"given"}, "reason": {"x"}}); status != 410 {
		t.Errorf("settled twice: %d, want 410", status)
	}
}

func TestVerdicts(t *testing.T) {
	d := newWard(t)
	const evil = `<script>alert(1)</script>`
	d.sends(d.verdict(device.Deny, evil, "9 mL/h", "over the limit"), d.verdict(device.Allow, "=cmd|'/c calc'!A1", "1 mL/h", "as usual"))
	rules := event.Event{Kind: event.ConfigurationChanged, Time: d.now().UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	rules.Add(event.Text(event.Name, "icu-norepinephrine"), event.Text(event.Version, "4"), event.Text(event.Reason, "its envelope is enforced"), event.Text(event.Actor, "holm"))
	open := event.Event{Kind: event.EmergencyUsed, Time: d.now().UnixNano(), Device: device.Address{Kind: device.Host, Value: "pump-3"}}
	open.Add(event.Text(event.Target, "pump-3"), event.Text(event.Actor, "nurse-2"), event.Text(event.Reason, "reanimation"), event.Int(event.NotAfter, d.now().Add(10*time.Minute).Unix()), event.Int(event.Digest, 9), event.Int(event.Outcome, event.Succeeded))
	d.sends(rules, open)
	d.guards()
	d.emergency()
	vera := d.client("vera")
	page, _ := d.get(vera, "/guard")
	for _, want := range []string{"1 emergency session is open.", "reanimation", "norepinephrine at ICU bed 3</bdi>, version 4", "RM-2026-014", "ap (pharmacist)", "rules: icu-norepinephrine", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, evil) {
		t.Error("the page runs what a packet said")
	}
	var answer struct {
		Total    int
		Verdicts []struct{ Actor, Verdict string }
	}
	body, _ := d.get(vera, "/guard.json?verdict=deny")
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Total != 1 || len(answer.Verdicts) != 1 || answer.Verdicts[0].Actor != evil {
		t.Errorf("JSON: %v\n%s", err, body)
	}
	body, _ = d.get(vera, "/guard.csv")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(rows) != 5 || strings.Contains(body, ",=cmd") {
		t.Errorf("CSV: %v\n%s", err, body)
	}
	if last := d.recorded[len(d.recorded)-1]; !strings.HasPrefix(last, "vera | export | verdicts") {
		t.Errorf("the export is not in the ledger: %q", last)
	}
	if _, status := d.get(vera, "/guard?verdict=perhaps"); status != 400 {
		t.Errorf("a verdict that there is not: %d", status)
	}
	if _, status := d.get(d.client("maker"), "/guard"); status != 403 {
		t.Errorf("a manufacturer saw verdicts: %d", status)
	}
	if page, _ := d.get(vera, "/guard?device=pump-3&verdict=allow&since=24h&guard=g1"); !strings.Contains(page, "as usual") || strings.Contains(page, "over the limit") {
		t.Error("the filter passes on something else")
	}
}

func TestVerdictPages(t *testing.T) {
	d := newWard(t)
	for range 12 {
		var events []event.Event
		for range 10 {
			events = append(events, d.verdict(device.Allow, "emr", "1 mL/h", "as usual"))
		}
		d.sends(events...)
	}
	vera := d.client("vera")
	more := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	n, path := 0, "/guard"
	for path != "" {
		page, status := d.get(vera, path)
		if status != 200 {
			t.Fatalf("%s: %d", path, status)
		}
		n += strings.Count(page, `data-test="verdict"`)
		path = ""
		if m := more.FindStringSubmatch(page); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if n != 120 {
		t.Errorf("%d verdicts on all pages, want 120", n)
	}
}

// TestLimits shows whose limits hold, and a clinician approves them: those that were on
// the screen, once, and not her own.
func TestLimits(t *testing.T) {
	d := newWard(t)
	d.guards()
	const path = "/guard/g1/limits/pump-3"
	holm := d.client("holm")
	page, status := d.get(holm, path)
	for _, want := range []string{
		"are enforced", "norepinephrine at ICU bed 3</bdi>, version 4", "kp (prescriber)", "ap (pharmacist)", "RM-2026-014", "no objection", "min 0.02 ug/kg/min, max 1.0 ug/kg/min",
		"highest 48 ug/kg", "nobody here", strings.Repeat("0d", 32), "Approve version 4", `class="limit"`,
	} {
		if status != 200 || !strings.Contains(page, want) {
			t.Errorf("%d, and the page does not say %q", status, want)
		}
	}
	if page, status := d.get(holm, "/guard/g1/limits/pump-4"); status != 200 || !strings.Contains(page, "only observed") || strings.Contains(page, "Approve version") {
		t.Errorf("a device without limits: %d\n%s", status, page)
	}
	if _, status := d.get(holm, "/guard/g1/limits/pump-5"); status != 404 {
		t.Errorf("a device that there is not: %d", status)
	}
	good := func() url.Values {
		return url.Values{"what": {strings.Repeat("0d", 32)}, "reason": {"read with the ward's pharmacist"}}
	}
	for what, c := range map[string]struct {
		who, name, value string
		status           int
	}{
		"an administrator":      {"ada", "reason", "x", 403},
		"a clinician of no job": {"odd", "reason", "x", 403},
		"a viewer":              {"vera", "reason", "x", 403},
		"other limits":          {"holm", "what", strings.Repeat("0e", 32), 409},
		"no limits":             {"holm", "what", "", 409},
		"no reason":             {"holm", "reason", " ", 422},
		"a long reason":         {"holm", "reason", strings.Repeat("x", maxWhy+1), 422},
	} {
		form := good()
		form.Set(c.name, c.value)
		if _, status := d.post(d.client(c.who), path, form); status != c.status {
			t.Errorf("%s: %d, want %d", what, status, c.status)
		}
	}
	if list, err := d.store.Approvals(t.Context(), "", ""); err != nil || len(list) != 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	if page, status := d.post(holm, path, good()); status != 200 || !strings.Contains(page, "You approved norepinephrine at ICU bed 3 version 4 for pump-3.") || !strings.Contains(page, "You have approved these limits.") ||
		!strings.Contains(page, "read with the ward&#39;s pharmacist") {
		t.Errorf("approved: %d\n%s", status, page)
	}
	if last := d.recorded[len(d.recorded)-1]; last != "holm | approve limits | g1: norepinephrine at ICU bed 3 version 4 for pump-3, file "+strings.Repeat("0d", 32)+" | read with the ward's pharmacist | succeeded" {
		t.Errorf("the ledger has %q", last)
	}
	if _, status := d.post(holm, path, good()); status != 409 {
		t.Errorf("approved twice: %d", status)
	}
	if page, _ := d.get(holm, "/guard"); !strings.Contains(page, "<bdi>holm</bdi> (prescriber)") {
		t.Error("the list does not say who approved")
	}
	// Another file, which she wrote, is not approved by that, nor by her.
	d.mu.Lock()
	d.state.Devices[0].Digest, d.state.Devices[0].Author = strings.Repeat("0f", 32), "Holm"
	d.mu.Unlock()
	d.sends()
	if page, _ := d.get(holm, path); !strings.Contains(page, "nobody here") || !strings.Contains(page, "You wrote these limits") || !strings.Contains(page, "another file, SHA-256 0d0d0d0d0d0d0d0d") {
		t.Errorf("another file:\n%s", page)
	}
	form := good()
	form.Set("what", strings.Repeat("0f", 32))
	if _, status := d.post(holm, path, form); status != 403 {
		t.Errorf("who wrote them approves them: %d", status)
	}
	d.full = true
	d.state.Devices[0].Author = "kp"
	d.sends()
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetPathValue("guard", "g1")
	r.SetPathValue("device", "pump-3")
	who := &access.Principal{Person: &store.Person{ID: 1, Login: "holm", Clinical: "prescriber"}, Roles: access.Clinician}
	if err := d.pages.approve(httptest.NewRecorder(), r, who); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("approved without a ledger: %v", err)
	}
	if list, err := d.store.Approvals(t.Context(), "", ""); err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
}

// TestGuardAway shows guards that do not let people here decide, are silent, or in trouble.
func TestGuardAway(t *testing.T) {
	d := newWard(t)
	d.guards()
	d.state.Confirms = false
	d.waits("7", "emr")
	d.doubts(5, "the link broke")
	holm := d.client("holm")
	for path, forms := range map[string]int{"/guard": 0, "/guard/g1/held/7": 0, "/guard/g1/doubts/5": 0} {
		page, status := d.get(holm, path)
		if status != 200 || strings.Count(page, `method="post" action="/guard`) != forms || !strings.Contains(page, `href="https://guard.icu:8443/">Its own page`) {
			t.Errorf("%s: %d\n%s", path, status, page)
		}
	}
	const evil = `<img src=x onerror=alert(1)>`
	d.state.Trouble = []string{evil}
	d.state.Page = "javascript:alert(1)"
	d.state.Devices[0].Limits = []string{evil}
	d.state.Devices[0].Sums[0].Highest, d.state.Devices[0].Sums[0].What = evil, evil
	d.state.Devices[0].Digest = evil
	d.sends()
	for _, path := range []string{"/guard", "/guard/g1/limits/pump-3", "/guard/g1/held/7"} {
		page, status := d.get(holm, path)
		if status != 200 || strings.Contains(page, evil) || strings.Contains(page, "javascript:") {
			t.Errorf("%s: %d, the page runs what a guard said", path, status)
		}
	}
	if page, _ := d.get(holm, "/guard"); !strings.Contains(page, "1 guard is not as it should be.") || !strings.Contains(page, "&lt;img") {
		t.Errorf("a guard in trouble:\n%s", page)
	}
	d.mu.Lock()
	d.state.Trouble, d.at = nil, d.at.Add(2*silent)
	d.mu.Unlock()
	if page, _ := d.get(holm, "/guard"); !strings.Contains(page, "Nothing was heard of it since") {
		t.Error("a guard that is silent")
	}
	// What is not heard is not among what could hurt, and nothing known is no good news.
	if page, _ := d.get(holm, "/"); !strings.Contains(page, "Nothing is known of any device yet.") || !strings.Contains(page, "1 sensor is silent.") {
		t.Errorf("the first sentence of Today does not say that nobody listens:\n%s", page)
	}
	// What cannot be read is said, and the rest of the page stands.
	if _, err := d.store.Write(t.Context(), &store.Batch{Sensor: "g1", Sequence: 1000, State: []byte(`{"devices":7}`)}); err != nil {
		t.Fatal(err)
	}
	if page, status := d.get(holm, "/guard"); status != 200 || !strings.Contains(page, "cannot be read") {
		t.Errorf("a state that cannot be read: %d", status)
	}
}

// TestHeldPlace shows where a device is that the server knows, and how it is called.
func TestHeldPlace(t *testing.T) {
	d := newWard(t)
	three := device.Device{ID: "d-3", Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500"}, Name: "pump-3", Ward: "ICU bed 3", Serial: "N-3"}
	if _, err := d.store.Write(t.Context(), &store.Batch{Sensor: "g1", Sequence: 999, Devices: []device.Device{three}}); err != nil {
		t.Fatal(err)
	}
	d.sequence = 1000
	d.waits("7", "emr")
	holm := d.client("holm")
	for _, path := range []string{"/guard", "/guard/g1/held/7"} {
		if page, _ := d.get(holm, path); !strings.Contains(page, "ICU bed 3") || !strings.Contains(page, `href="/devices/`) || !strings.Contains(page, "norepinephrine") || !strings.Contains(page, "catastrophic") {
			t.Errorf("%s does not say where it is:\n%s", path, page)
		}
	}
	// Nobody knows what holds now: that is said, and of a dose nothing is.
	d.held[0].Now = ""
	d.sends()
	if page, _ := d.get(holm, "/guard"); !strings.Contains(page, `<span class="quiet">unknown</span>`) {
		t.Error("a value now that nobody knows")
	}
	d.held[0].Dose = true
	d.sends()
	if page, _ := d.get(holm, "/guard"); strings.Contains(page, `<span class="quiet">unknown</span>`) || strings.Contains(page, "→") {
		t.Error("a dose changes from something to something")
	}
}
