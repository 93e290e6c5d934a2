// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/testpeer/chromium"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// A pump is one of the ward's, as it speaks for itself.
type pump struct {
	*ward
	patch.State
	pass   func(time.Duration)
	name   string
	signer cose.Signer
	kid    []byte
}

// A fleet is a ward whose pumps ask for updates.
type fleet struct {
	*ward
	pumps map[string]*pump

	mu sync.Mutex
	at time.Time
}

func (f *fleet) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

func (f *fleet) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = f.at.Add(d)
}

var (
	envelope = []byte("an envelope")
	release  = patch.Release{
		Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.0", Sequence: 8, Envelope: sha256.Sum256(envelope), Size: int64(len(envelope)), Urgency: patch.UncontrolledRisk,
		Learned: "2026-02-20", Advisories: []string{"ADA-2026-01"}, Recall: "Z-1234-2026", Notes: "The pump beeps twice when it is done.",
		Demands: patch.Demands{Hardware: []string{"C"}, From: []string{"2.1.4"}, Backup: 90 * time.Second, Longest: 10 * time.Minute, Resume: 3 * time.Minute, Battery: 40, Supervision: patch.ClinicianPresent},
	}
)

// flowPlan has the pump on the bench first.
func flowPlan() string {
	return fmt.Sprintf(`rollout: 1
rings:
  - name: bench
    devices: [%s]
  - name: ICU
bounds: {silence: 30m}
fresh: {usual: 10m}
capacity: 8
backup: {independent: 5m, depends on it: 1m}
consent: {clinician: true, terms: "2026-03"}
relax:
  - {gate: clinician's consent, urgency: uncontrolled risk, by: [clinician, clinical engineer], most: 12h}
`, device.IDOf("pump bench-1"))
}

// newFleet has pumps of which each has a key, people of each role, and a release.
func newFleet(t *testing.T, more ...device.Device) *fleet {
	t.Helper()
	f := &fleet{pumps: map[string]*pump{}, at: morning}
	flow := device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.1.4", Class: "infusion pump", Therapy: device.DrugInfusion, Harm: device.Catastrophic}
	for _, name := range []string{"bench-1", "pump-5", "pump-6"} {
		more = append(more, device.Device{ID: device.IDOf("pump " + name), Name: name, Ward: "ICU", Medical: true, Product: flow})
	}
	f.ward = newWardAt(t, f.now, func(s *store.Store) {
		hash, err := access.HashPassword(password)
		must(t, err)
		for _, p := range staff {
			one := &store.Person{Login: p.login, Name: p.name, Roles: uint32(p.role), Hash: hash}
			if p.role == access.Clinician {
				one.Clinical = "prescriber"
			}
			if p.role == access.Manufacturer {
				one.Products = []string{"Norra Medical Flow 500"}
			}
			must(t, s.SavePerson(t.Context(), one))
		}
		f.pumps = enrolPumps(t, s)
	}, more...)
	for _, name := range []string{"bench-1", "pump-3", "pump-5", "pump-6"} {
		if f.pumps[name] == nil {
			t.Fatalf("there is no %s", name)
		}
	}
	for _, p := range f.pumps {
		p.ward, p.pass = f.ward, f.pass
	}
	must(t, os.MkdirAll(filepath.Join(f.data, "updates", "flow"), 0o700))
	must(t, os.WriteFile(filepath.Join(f.data, "updates", "flow", "2.2.0.suit"), envelope, 0o600))
	return f
}

// enrolPumps gives each pump of the store a key of its own, and takes the release in.
func enrolPumps(t testing.TB, s *store.Store) map[string]*pump {
	t.Helper()
	list, err := s.Devices(t.Context(), store.DeviceQuery{Products: []string{"Norra Medical Flow 500"}})
	must(t, err)
	pumps := map[string]*pump{}
	for i := range list.Rows {
		d := &list.Rows[i]
		k, err := cose.GenerateKey(cose.P256, rand.Reader)
		must(t, err)
		signer, err := cose.NewSigner(k)
		must(t, err)
		public := k.Public()
		p := &pump{pass: func(time.Duration) {}, name: d.Label, signer: signer, kid: patch.KeyID(&k), State: patch.State{
			Device: d.ID, Hardware: "C", Version: "2.1.4", Sequence: 7, Count: 1, Known: patch.All, Battery: 80, Longevity: -1, Link: 90, Free: 1 << 20, Settings: patch.Digest{1}, Saved: patch.Digest{1}, Slot: "A",
		}}
		pumps[p.name] = p
		_, err = s.AddUpdateKeys(t.Context(), []store.UpdateKey{{Device: d.ID, KID: p.kid, Key: public.AppendPublic(nil), By: "lea.sommer"}})
		must(t, err)
		must(t, s.SetDependency(t.Context(), &store.Dependency{Device: d.ID, Word: "independent", By: "mira.holm"}))
	}
	doc, err := json.Marshal(&release)
	must(t, err)
	must(t, s.AddRelease(t.Context(), &store.UpdateRelease{Envelope: release.Envelope.String(), Product: release.Product(), Version: release.Version, Sequence: release.Sequence, Path: "flow/2.2.0.suit", By: "lea.sommer", Doc: doc}))
	return pumps
}

// rollouts are two, of a ward in which everything has happened: one that a person installs,
// and one that was halted. It returns pages of both.
func (w *ward) rollouts() (all, one []string) {
	w.t.Helper()
	var pumps map[string]*pump
	w.open(func(s *store.Store) { pumps = enrolPumps(w.t, s) })
	lea, mira := w.client("lea.sommer"), w.client("mira.holm")
	send := func(c *client, path string, form ...string) {
		w.t.Helper()
		if status, body := c.send(path, form...); status != 200 {
			w.t.Fatalf("%s: %d %s", path, status, body)
		}
	}
	three, four := pumps["pump-3"], pumps["pump-4"]
	three.ward, four.ward = w, w
	for id, plan := range map[string]string{
		"by-hand": "rollout: 1\nexecutor: person\nrings: [{name: all}]\nbackup: {independent: 5m}\nrelax: [{gate: ring, urgency: regular cycle, by: [clinician], most: 12h}]\n",
		"halted":  "rollout: 1\nrings: [{name: bench, devices: [" + three.Device + "]}, {name: ICU}]\nconsent: {clinician: true, patient: true, terms: \"1\"}\nbackup: {independent: 5m}\n",
	} {
		send(lea, "/updates", "id", id, "release", release.Envelope.String(), "plan", plan, "reason", hostile[0])
		send(lea, "/updates/"+id+"/start", "reason", hostile[3])
		one = append(one, "/updates/"+id+"/devices/"+three.Device, "/updates/"+id+"/devices/"+four.Device)
		all = append(all, "/updates/"+id)
	}
	send(mira, "/updates/by-hand/devices/"+three.Device+"/attend", "as", "clinician present", "minutes", "60")
	three.Doing = patch.Bolus
	three.polls() // the order goes out
	three.Doing = 0
	three.polls() // and it may be begun
	four.Battery = 10
	four.polls()
	send(lea, "/updates/by-hand/devices/"+four.Device+"/rule-out", "reason", hostile[0], "owner", hostile[2], "control", hostile[3], "review", "2026-09-01")
	send(mira, "/updates/by-hand/relax", "gate", "ring", "hours", "1", "reason", "an attack")
	send(mira, "/updates/halted/devices/"+three.Device+"/consent", "whose", "patient", "terms", "1")
	send(mira, "/updates/halted/halt", "reason", hostile[1][:200])
	return append(all, "/updates/halted?state=waiting", "/updates/by-hand?gate=therapy"), one
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// polls has a pump say how it is, and returns what it is offered.
func (p *pump) polls() *patch.Offer {
	p.t.Helper()
	b, err := patch.Sign(&p.State, p.signer, p.kid)
	p.must(err)
	res, err := http.Post(p.http.URL+"/update/v1/poll", "application/cose", bytes.NewReader(b))
	p.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	p.must(err)
	if res.StatusCode != http.StatusOK {
		p.t.Fatalf("%s polls: %d %s", p.name, res.StatusCode, body)
	}
	var a patch.Answer
	p.must(patch.Parse(body, &a))
	p.Count++
	p.Echo = a.Challenge
	p.pass(5 * time.Second)
	if a.Offer == nil {
		return nil
	}
	var o patch.Offer
	m, err := cose.ParseSign1(a.Offer)
	p.must(err)
	p.must(patch.Parse(m.Payload, &o))
	if o.Number <= a.Void {
		return nil
	}
	if !o.Install {
		p.Staged = o.Envelope
	}
	return &o
}

// told polls until the pump is told to install, or so often.
func (p *pump) told(often int) *patch.Offer {
	p.t.Helper()
	for range often {
		if o := p.polls(); o != nil && o.Install {
			return o
		}
	}
	return nil
}

// installs has a pump do as it is told, and say how it ended.
func (p *pump) installs(change func(*patch.Result)) {
	p.t.Helper()
	o := p.told(5)
	if o == nil {
		p.t.Fatalf("%s is not told to install", p.name)
	}
	r := patch.Result{Envelope: o.Envelope, Offer: o.Number, Version: o.Version, Outcome: patch.Installed, Resumed: true, SelfTest: true, Before: patch.Digest{1}, After: patch.Digest{1}, Took: time.Minute}
	p.Version, p.Sequence, p.Slot, p.Staged = o.Version, o.Sequence, "B", patch.Digest{}
	change(&r)
	p.Settings = r.After
	p.Result = &r
	p.polls()
	p.Result = nil
}

// attended has a clinician consent, and be there.
func (f *fleet) attended(names ...string) {
	f.t.Helper()
	c := f.client("mira.holm")
	for _, n := range names {
		path := "/updates/flow-500-2.2.0/devices/" + f.pumps[n].Device
		if status, body := c.send(path+"/consent", "whose", "clinician", "terms", "2026-03"); status != 200 || !strings.Contains(body, "consent is recorded") {
			f.t.Fatalf("consent for %s: %d %s", n, status, body)
		}
		if status, body := c.send(path+"/attend", "as", "clinician present", "minutes", "600"); status != 200 || !strings.Contains(body, "somebody is there") {
			f.t.Fatalf("attending %s: %d %s", n, status, body)
		}
	}
}

// TestUpdatesBrowser sends release 2.2.0 to the pumps of the sample ward: one in the
// middle of a bolus is never told to install, nor one whose battery would not last a
// roll-back; and settings that are lost halt it for all.
func TestUpdatesBrowser(t *testing.T) {
	f := newFleet(t)
	b := f.browse()
	b.signIn("lea.sommer")

	// Lea makes the roll-out, and starts it.
	b.open("/updates")
	b.see("[data-test=answer]", "No update is on its way.")
	b.do(chromedp.Click(css("[data-test=new]")), chromedp.SetValue("input[name=id]", "flow-500-2.2.0"), chromedp.SetValue("textarea[name=plan]", "rollout: 1\n"))
	b.send(chromedp.Click(css("[data-test=create]")))
	b.see("[data-test=wrong]", "rings")
	b.do(chromedp.SetValue("textarea[name=plan]", flowPlan()))
	b.send(chromedp.Click(css("[data-test=create]")))
	b.see("[data-test=answer]", "Ready, and not begun.")
	b.do(chromedp.SendKeys(css("[data-test=start-reason]"), "ADA-2026-01"))
	b.send(chromedp.Click(css("[data-test=start]")))
	b.see("[data-test=answer]", "0 of 5 devices are updated.")

	// The ICU waits for the bench, which is done.
	if o := f.pumps["pump-6"].polls(); o != nil {
		t.Errorf("before its ring's turn it is offered %+v", o)
	}
	f.attended("bench-1", "pump-3", "pump-5")
	f.pumps["bench-1"].installs(func(*patch.Result) {})
	b.open("/updates/flow-500-2.2.0")
	b.see("[data-test=answer]", "1 of 5 devices is updated.")

	// Without consent pump-6 waits for that; Dr. Holm gives it in the browser, without script.
	f.pumps["pump-6"].polls()
	if o := f.pumps["pump-6"].told(3); o != nil {
		t.Errorf("without consent it is told to install: %+v", o)
	}
	six := "/updates/flow-500-2.2.0/devices/" + f.pumps["pump-6"].Device
	b.open("/me")
	b.send(chromedp.Click(css("form.out button")))
	b.signIn("mira.holm")
	b.script(false)
	b.open(six)
	b.see("[data-test=answer]", "pump-6 waits: ")
	b.see("#waits-head ~ .card", "the clinician has not consented yet")
	b.do(chromedp.Click(css("[data-test=to-consent]")))
	b.send(chromedp.Click(css("[data-test=consent]")))
	b.see("[data-test=said]", "The clinician's consent is recorded.")
	b.see("[data-test=clinician]", "has consented")
	b.script(true)

	// A bolus: however often it asks, and whatever time passes.
	three := f.pumps["pump-3"]
	three.Doing = patch.Bolus | patch.Delivering
	for range 10 {
		if o := three.told(3); o != nil {
			t.Fatalf("in the middle of a bolus it is told to install: %+v", o)
		}
		f.pass(time.Minute)
		three.polls() // with a fresh echo
	}
	b.open("/updates/flow-500-2.2.0/devices/" + three.Device)
	b.see("[data-test=answer]", "pump-3 waits: therapy is being given.")
	b.see("#now", "a bolus is being given")
	b.see("#now", "nobody can")

	// A battery that would not last a roll-back.
	five := f.pumps["pump-5"]
	five.Battery = 39
	if o := five.told(10); o != nil {
		t.Fatalf("with too little battery it is told to install: %+v", o)
	}
	b.open("/updates/flow-500-2.2.0/devices/" + five.Device)
	b.see("[data-test=answer]", "pump-5 waits: its battery is at 39 %: installing, and rolling back if need be, takes up to 40 %.")

	b.open("/updates/flow-500-2.2.0")
	b.see("#waits", "for therapy to be over")
	b.see("#waits", "for its battery to be charged")
	b.open("/updates/flow-500-2.2.0?gate=power")
	b.see("#members", "pump-5")
	if strings.Contains(b.text("#members"), "pump-3") {
		t.Error("pump-3 is in the list of those that wait for their battery")
	}

	// Settings that are lost halt it, while somebody looks.
	b.open("/updates/flow-500-2.2.0")
	b.do(chromedp.WaitVisible("body[data-connected]"))
	f.attended("pump-6")
	f.pumps["pump-6"].installs(func(r *patch.Result) { r.After = patch.Digest{7} })
	for end := time.Now().Add(30 * time.Second); !strings.Contains(b.text("#answer"), "Halted: pump-6: settings were lost."); {
		if time.Now().After(end) {
			t.Fatalf("the page does not say so by itself: %s", b.text("main"))
		}
	}
	b.see("#steps", "rollout halted")

	// The bolus is over, and the battery is charged: there is nothing more to be had.
	three.Doing, five.Battery = 0, 100
	for _, p := range []*pump{three, five} {
		for range 3 {
			if o := p.polls(); o != nil {
				t.Errorf("%s is offered %+v by a roll-out that is halted", p.name, o)
			}
		}
	}
	b.open("/updates")
	b.see("[data-test=answer]", "1 roll-out is halted.")
	b.see("[data-test=never]", "pump-6: settings were lost")

	// Who may not let it go on is not asked to; who may needs a reason.
	if b.open("/updates/flow-500-2.2.0"); b.count("[data-test=resume]") != 0 {
		t.Error("a clinician is asked to let it go on")
	}
	b.send(chromedp.Click(css("form.out button")))
	b.signIn("lea.sommer")
	b.open("/updates/flow-500-2.2.0/devices/" + five.Device)
	b.do(chromedp.Click(css("[data-test=to-rule-out]")), chromedp.SendKeys(css("[data-test=out-reason]"), "its battery is worn"),
		chromedp.SendKeys(css("[data-test=out-control]"), "guard envelope icu-norepinephrine"), chromedp.SendKeys(css("[data-test=out-owner]"), "Lea Sommer"))
	b.send(chromedp.Click(css("[data-test=rule-out]")))
	b.see("[data-test=answer]", "pump-5 cannot be updated: its battery is worn.")
	b.open("/updates")
	b.see("[data-test=unable]", "guard envelope icu-norepinephrine")
	b.open("/devices/" + five.Device + "#updates")
	b.see("[data-test=device-update]", "cannot be updated")

	// All of it is in the ledger, of which each step knows its entry.
	b.open("/updates/flow-500-2.2.0")
	halt, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("[data-test=step]")].find(r => r.innerText.includes("rollout halted")).querySelector("a[aria-label]").pathname`))
	f.must(err)
	b.open(halt)
	b.until(halt, "main", "rollout-halted")
	b.see("main", "settings were lost")
	b.see("main", release.Envelope.String())
	for _, want := range []string{
		`"kind":"rollout-started"`, `"kind":"ring-opened"`, `"kind":"update-offered"`, `"kind":"update-waited"`, "a bolus is being given", "its battery is at 39 %", `"kind":"consent-given"`,
		`"kind":"update-attended"`, `"kind":"update-ended"`, `"ended":"settings lost"`, `"kind":"rollout-halted"`, `"kind":"update-ruled-out"`,
	} {
		if !strings.Contains(f.ledger(), want) {
			t.Errorf("%s is not in the ledger", want)
		}
	}
	if l := f.ledger(); strings.Contains(l, three.Device+`"},"attributes":{"executor":"agent","install":1`) || strings.Contains(l, five.Device+`"},"attributes":{"executor":"agent","install":1`) {
		t.Error("the ledger has an offer to install that must not be")
	}

	b.open("/updates/flow-500-2.2.0")
	b.do(chromedp.SendKeys(css("[data-test=resume-reason]"), "pump-6 was set by hand meanwhile"))
	b.send(chromedp.Click(css("[data-test=resume]")))
	b.see("[data-test=said]", "It goes on.")
	if o := three.told(4); o == nil {
		t.Error("pump-3 is not told to install after its bolus")
	}
	if said := b.complaints("Autocomplete", "422"); len(said) > 0 {
		t.Errorf("the browser said %q", said)
	}
	for _, path := range []string{"/updates", "/updates/flow-500-2.2.0", six} {
		b.open(path)
		for _, width := range []int64{1440, 1024, 390} {
			for _, scheme := range []string{"light", "dark"} {
				b.look(width, scheme)
				bad, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](chromium.Overflow))
				f.must(err)
				if len(bad) > 0 {
					t.Errorf("%s at %d: wider than the window: %q", path, width, bad)
				}
				if *shots != "" {
					picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
					f.must(err)
					f.must(os.WriteFile(filepath.Join(*shots, fmt.Sprintf("%s-%d-%s.png", strings.ReplaceAll(path[1:], "/", "-")[:min(len(path)-1, 30)], width, scheme)), picture, 0o600))
				}
			}
		}
	}
}

// TestUpdatesWithoutBrowser has the pages as programs see them, and what is refused.
func TestUpdatesWithoutBrowser(t *testing.T) {
	f := newFleet(t)
	lea, mira, tomas, maker, vera := f.client("lea.sommer"), f.client("mira.holm"), f.client("tomas.eklund"), f.client("norra"), f.client("vera.ito")
	const id = "/updates/flow-500-2.2.0"
	if status, _ := lea.send("/updates", "id", "flow-500-2.2.0", "release", release.Envelope.String(), "plan", flowPlan(), "reason", "ADA-2026-01"); status != 200 {
		t.Fatalf("created: %d", status)
	}
	for name, c := range map[string]struct {
		who    *client
		path   string
		form   []string
		status int
	}{
		"a viewer starts it":             {vera, id + "/start", []string{"reason", "x"}, 403},
		"a viewer halts it":              {vera, id + "/halt", []string{"reason", "x"}, 403},
		"an analyst starts it":           {tomas, id + "/start", []string{"reason", "x"}, 403},
		"nobody says why":                {lea, id + "/start", nil, 422},
		"one of that name":               {lea, "/updates", []string{"id", "flow-500-2.2.0", "release", release.Envelope.String(), "plan", flowPlan()}, 409},
		"no release":                     {lea, "/updates", []string{"id", "x", "release", "2.2.0", "plan", flowPlan()}, 422},
		"halted before it began":         {mira, id + "/halt", []string{"reason", "x"}, 409},
		"another roll-out":               {lea, "/updates/none/start", []string{"reason", "x"}, 404},
		"an engineer consents":           {lea, id + "/devices/" + f.pumps["pump-3"].Device + "/consent", []string{"whose", "clinician", "terms", "2026-03"}, 403},
		"consent for another device":     {mira, id + "/devices/none/consent", []string{"whose", "clinician", "terms", "2026-03"}, 404},
		"therapy is relaxed":             {mira, id + "/relax", []string{"gate", "therapy", "hours", "1", "reason", "x"}, 422},
		"a control that is none":         {lea, id + "/devices/" + f.pumps["pump-3"].Device + "/rule-out", []string{"reason", "x", "owner", "lea"}, 422},
		"done that was not begun":        {lea, id + "/devices/" + f.pumps["pump-3"].Device + "/report", []string{"outcome", "installed"}, 409},
		"harm of which nobody says what": {lea, id + "/devices/" + f.pumps["pump-3"].Device + "/report", []string{"outcome", "loss of function"}, 422},
		"a bad day":                      {lea, id + "/devices/" + f.pumps["pump-3"].Device + "/rule-out", []string{"reason", "x", "owner", "lea", "control", "y", "review", "soon"}, 422},
	} {
		if status, _ := c.who.send(c.path, c.form...); status != c.status {
			t.Errorf("%s: %d, not %d", name, status, c.status)
		}
	}
	for path, want := range map[string]int{id + "?gate=door": 400, id + "?after=-1": 400, id + "/devices/none": 404, "/updates/none": 404, id + "?ring=none": 200, id + ".json": 200, id + ".csv": 200, "/updates.csv": 200} {
		if status, _ := lea.get(path); status != want {
			t.Errorf("%s: %d, not %d", path, status, want)
		}
	}
	lea.send(id+"/start", "reason", "ADA-2026-01")
	f.pumps["bench-1"].polls()
	f.pumps["bench-1"].polls()

	var list struct {
		Answer   string
		Rollouts []struct {
			ID, Status string
			Devices    int
		}
	}
	maker.ask("/updates.json", &list)
	if len(list.Rollouts) != 1 || list.Rollouts[0].Devices != 5 || list.Rollouts[0].Status != "under way" {
		t.Errorf("%+v", list)
	}
	var one struct {
		Answer  string
		Rings   []struct{ Name, Shows string }
		Waits   []struct{ Gate, Words string }
		Devices []struct{ Device, Name, Word, Why string }
	}
	maker.ask(id+".json", &one)
	if len(one.Rings) != 2 || len(one.Devices) != 5 || len(one.Waits) == 0 {
		t.Errorf("%+v", one)
	}
	var dev struct {
		Answer string
		Waits  []struct {
			Gate, Why string
			Fixed     bool
		}
	}
	lea.ask(id+"/devices/"+f.pumps["bench-1"].Device+".json", &dev)
	if len(dev.Waits) != 2 || !strings.HasPrefix(dev.Answer, "bench-1 waits: ") {
		t.Errorf("%+v", dev)
	}
	for _, w := range dev.Waits {
		if w.Fixed != (w.Gate != "clinician's consent") {
			t.Errorf("people are told whether they can relax it: %+v", w)
		}
	}
	_, body := lea.get(id + ".csv")
	if rows, err := csv.NewReader(strings.NewReader(body)).ReadAll(); err != nil || len(rows) != 6 || !strings.Contains(body, "clinician's consent") {
		t.Errorf("%v %q", err, body)
	}

	// Two people relax a gate; neither of them alone.
	relax := func(c *client) string {
		_, body := c.send(id+"/relax", "gate", "clinician's consent", "hours", "1", "reason", "it is exploited now")
		return body
	}
	if b := relax(lea); !strings.Contains(b, "A second person has to ask") {
		t.Error("one is enough")
	}
	if b := relax(lea); !strings.Contains(b, "A second person has to ask") {
		t.Error("one is enough, who asks twice")
	}
	if b := relax(mira); !strings.Contains(b, "is relaxed") {
		t.Error("two are not enough")
	}
	if status, body := mira.send(id+"/devices/"+f.pumps["pump-3"].Device+"/report", "outcome", "loss of function", "reason", "it stopped"); status != 200 || !strings.Contains(body, "loss of function") {
		t.Errorf("harm: %d", status)
	}
	if _, body := lea.get(id + "/devices/" + f.pumps["pump-3"].Device); !strings.Contains(body, "pump-3 has lost its function: it stopped. Go to the patient now.") {
		t.Error("nobody is told what to do first")
	}
	if _, body := lea.get(id); !strings.Contains(body, "Go first to the patients") || !strings.Contains(body, "never offered again") || strings.Contains(body, `data-test="resume"`) {
		t.Error("a loss of function can be taken back")
	}
	if status, _ := lea.send(id+"/resume", "reason", "never mind"); status != 409 {
		t.Errorf("it goes on: %d", status)
	}
}

// TestWorkOrder has a person install: until when she may, and that she must not any more
// once the roll-out is halted, though she can say how it went.
func TestWorkOrder(t *testing.T) {
	f := newFleet(t)
	lea, mira := f.client("lea.sommer"), f.client("mira.holm")
	const id = "/updates/by-hand"
	if status, body := lea.send("/updates", "id", "by-hand", "release", release.Envelope.String(), "plan", "rollout: 1\nexecutor: person\nrings: [{name: all}]\nbackup: {independent: 5m}\n"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	lea.send(id+"/start", "reason", "ADA-2026-01")
	p := f.pumps["pump-3"]
	path := id + "/devices/" + p.Device
	mira.send(path+"/attend", "as", "clinician present", "minutes", "60")
	var list struct {
		Orders []struct {
			Name  string
			Begin bool
		}
	}
	see := func(orders int, begin bool, says string) {
		t.Helper()
		lea.ask("/updates.json", &list)
		if len(list.Orders) != orders || orders > 0 && (list.Orders[0].Name != "pump-3" || list.Orders[0].Begin != begin) {
			t.Errorf("the orders are %+v", list.Orders)
		}
		if _, body := lea.get(path); !strings.Contains(body, says) {
			t.Errorf("the page does not say %q", says)
		}
	}
	see(0, false, "pump-3 waits: ")
	p.Doing = patch.Bolus
	p.polls()
	p.polls()
	see(1, false, "pump-3 waits: a bolus is being given.")
	p.Doing = 0
	if o := p.polls(); o != nil {
		t.Errorf("the pump is offered %+v", o)
	}
	see(1, true, "pump-3 may be updated now, by a person.")
	p.Doing = patch.Bolus // which begins when the order is out already
	p.polls()
	see(1, false, "Do not update pump-3 now: a bolus is being given.")
	p.Doing = 0
	p.polls()
	see(1, true, "pump-3 may be updated now, by a person.")
	f.pass(6 * time.Minute)
	see(1, false, "Do not update pump-3 any more")
	p.polls()
	p.polls()
	see(1, true, "pump-3 may be updated now, by a person.")
	mira.send(id+"/halt", "reason", "a call from the maker")
	see(0, false, "Do not update pump-3 any more")
	if _, body := lea.send(path+"/report", "outcome", "installed", "resumed", "1", "self-test", "1", "settings", "1", "minutes", "2"); !strings.Contains(body, "It counts as done once a sensor or a signed receipt shows") {
		t.Error("what was begun cannot be told of")
	}
}
