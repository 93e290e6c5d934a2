// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard/coap"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/guard/gate"
	"github.com/myelin-health/myelin/guard/hl7"
	"github.com/myelin-health/myelin/guard/tcp"
)

const pumpEnvelope = `envelope: 1
name: norepinephrine, ICU
version: 3
therapy: drug infusion
drug: norepinephrine
author: {id: mh, role: prescriber}
approver: {id: ap, role: pharmacist}
risk: {record: RM-2026-014, manufacturer: "letter of 2 February 2026: no objection"}
enforce: true
sums:
  unit: ug/kg
  windows:
    - {window: 1h, highest: 48 ug/kg}
verbs:
  set-infusion-rate:
    max: 1.0 ug/kg/min
    confirm: second-person
    above: 0.5 ug/kg/min
    hold: 2m
`

// guarded is the ward with an envelope for the pump.
func guarded(t *testing.T) string {
	t.Helper()
	file := ward(t)
	write(t, filepath.Join(filepath.Dir(file), "pump-3.yaml"), pumpEnvelope)
	edit(t, file, "therapy: drug infusion}", "therapy: drug infusion, envelope: pump-3.yaml}")
	return file
}

// ask asks the gate for a rate, as a front does, and says what became of it.
func (r *rig) ask(actor, rate string) (a *gate.Answer, became chan string) {
	r.t.Helper()
	became = make(chan string, 2)
	c := device.Command{
		Verb: device.SetInfusionRate, Value: quantity(r.t, rate), Now: quantity(r.t, "0.2 ug/kg/min"), Actor: actor, Role: device.Clinician,
		Channel: device.Encrypted | device.Authenticated | device.Fresh,
	}
	a = r.g.gate.Ask(r.ctx, gateAsk(actor, c, became))
	return a, became
}

var (
	heldLink  = regexp.MustCompile(`href="/held/(\d+)#confirm"`)
	whatField = regexp.MustCompile(`name="what" value="([0-9a-f]+)"`)
)

// A command waits, is confirmed by another clinician, and goes out once.
func TestHoldAndConfirm(t *testing.T) {
	r := run(t, guarded(t))
	a, became := r.ask("prog-1", "0.8 ug/kg/min")
	if a.Pass || a.Hold == "" {
		t.Fatalf("%+v", a)
	}
	nurse, prescriber := r.browser(), r.browser()
	nurse.login("jr", thePassword)
	prescriber.login("mh", thePassword)
	_, body := nurse.get("/")
	for _, want := range []string{
		"1 command is waiting for a clinician.", "set-infusion-rate", "<bdi>0.2 ug/kg/min</bdi>", "<strong><bdi>0.8 ug/kg/min</bdi></strong>", "prog-1",
		"a second person has to confirm it, as more than 0.5 ug/kg/min", "Confirm …", "Refuse …",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if !regexp.MustCompile(`expires in <strong class="left">0[12]:\d\d</strong>`).MatchString(body) {
		t.Error("the page does not say when it expires")
	}
	id := heldLink.FindStringSubmatch(body)[1]
	_, body = nurse.get("/held/" + id)
	what := whatField.FindStringSubmatch(body)[1]

	// Who asked for it, by a name that guard.yaml knows.
	if _, body := prescriber.get("/"); !strings.Contains(body, "You asked for it; another clinician has to confirm it.") || heldLink.MatchString(body) {
		t.Error("who asked is offered to confirm")
	}
	if code, _ := prescriber.post("/held/"+id+"/confirm", url.Values{"what": {what}}); code != http.StatusForbidden {
		t.Errorf("who asked confirms: %d", code)
	}
	// Another command under the number that was on the screen.
	if code, _ := nurse.post("/held/"+id+"/confirm", url.Values{"what": {strings.Repeat("0", 16)}}); code != http.StatusConflict {
		t.Errorf("what was not on the screen is confirmed: %d", code)
	}
	if len(became) > 0 {
		t.Fatalf("it became %s", <-became)
	}
	if code, body := nurse.post("/held/"+id+"/confirm", url.Values{"what": {what}}); code != http.StatusOK || !strings.Contains(body, "You confirmed set-infusion-rate 0.8 ug/kg/min for pump-3.") {
		t.Errorf("confirmed: %d", code)
	}
	if got := <-became; got != "released" {
		t.Errorf("it became %s", got)
	}
	if code, _ := nurse.post("/held/"+id+"/confirm", url.Values{"what": {what}}); code != http.StatusGone {
		t.Errorf("confirmed twice: %d", code)
	}
	if got := r.told.reasons(event.VerdictGiven); !strings.HasPrefix(got[len(got)-1], "confirmed by jr (nurse); ") {
		t.Errorf("recorded: %q", got)
	}
	var verdicts []verdictRow
	if _, body := nurse.get("/verdicts.json"); json.Unmarshal([]byte(body), &verdicts) != nil || len(verdicts) != 2 || verdicts[0].Verdict != "allow" || verdicts[1].Verdict != "hold" {
		t.Errorf("verdicts: %+v", verdicts)
	}
}

func TestHoldAndRefuse(t *testing.T) {
	r := run(t, guarded(t))
	a, became := r.ask("CASTOREHR", "0.8 ug/kg/min")
	nurse := r.browser()
	nurse.login("jr", thePassword)
	_, body := nurse.get("/held/" + a.Hold)
	what := whatField.FindStringSubmatch(body)[1]
	for why, want := range map[string]int{"": http.StatusBadRequest, " \n ": http.StatusBadRequest, strings.Repeat("é", maxReason+1): http.StatusBadRequest} {
		if code, _ := nurse.post("/held/"+a.Hold+"/refuse", url.Values{"what": {what}, "why": {why}}); code != want {
			t.Errorf("refused because of %q: %d", why, code)
		}
	}
	if code, _ := nurse.post("/held/"+a.Hold+"/refuse", url.Values{"what": {what}, "why": {strings.Repeat("é", maxReason)}}); code != http.StatusOK {
		t.Errorf("refused: %d", code)
	}
	if got := <-became; !strings.HasPrefix(got, "gone: refused by jr (nurse): é") {
		t.Errorf("it became %s", got)
	}
}

// Who has been away types the password with the decision.
func TestAway(t *testing.T) {
	r := run(t, guarded(t))
	a, became := r.ask("CASTOREHR", "0.8 ug/kg/min")
	nurse := r.browser()
	nurse.login("jr", thePassword)
	away := func() {
		r.g.page.sessions.mu.Lock()
		defer r.g.page.sessions.mu.Unlock()
		for _, s := range r.g.page.sessions.of {
			s.used = s.used.Add(-presentLong)
		}
	}
	away()
	_, body := nurse.get("/held/" + a.Hold)
	if !strings.Contains(body, "You have been away.") {
		t.Error("the password is not asked for again")
	}
	form := url.Values{"what": {whatField.FindStringSubmatch(body)[1]}}
	if code, _ := nurse.post("/held/"+a.Hold+"/confirm", form); code != http.StatusForbidden {
		t.Errorf("confirmed without a password: %d", code)
	}
	form.Set("password", "wrong")
	if code, _ := nurse.post("/held/"+a.Hold+"/confirm", form); code != http.StatusForbidden {
		t.Errorf("confirmed with a wrong one: %d", code)
	}
	form.Set("password", thePassword)
	if code, _ := nurse.post("/held/"+a.Hold+"/confirm", form); code != http.StatusOK || <-became != "released" {
		t.Errorf("confirmed with the password: %d", code)
	}
}

// A dose of which nobody knows is settled by a person in a clinical role, with a reason.
func TestSettle(t *testing.T) {
	r := run(t, guarded(t))
	a, _ := r.ask("CASTOREHR", "0.4 ug/kg/min")
	if !a.Pass {
		t.Fatalf("%+v", a)
	}
	a.Sent()
	a.Outcome(gate.Unknown)
	nurse := r.browser()
	nurse.login("jr", thePassword)
	_, body := nurse.get("/")
	link := regexp.MustCompile(`href="(/doubts/\d+)"`).FindStringSubmatch(body)
	if link == nil || !strings.Contains(body, "Of 1 dose nobody knows whether it was given.") {
		t.Fatalf("the page says nothing of the doubt")
	}
	if code, _ := nurse.get(link[1]); code != http.StatusOK {
		t.Errorf("the doubt: %d", code)
	}
	if code, _ := nurse.post(link[1], url.Values{"given": {"no"}}); code != http.StatusBadRequest {
		t.Errorf("settled without a reason: %d", code)
	}
	if code, body := nurse.post(link[1], url.Values{"given": {"no"}, "why": {"the pump's log does not have it"}}); code != http.StatusOK || !strings.Contains(body, "You said that the dose was not given.") {
		t.Errorf("settled: %d", code)
	}
	if n := len(r.g.book.Doubts()); n != 0 {
		t.Errorf("%d doubts are left", n)
	}
	until(t, "the settling is not recorded", func() bool {
		for _, why := range r.told.reasons(event.DoseDoubted) {
			if why == "the pump's log does not have it" {
				return true
			}
		}
		return false
	})
}

// A doubt is settled too when the guard is away.
func TestSettleAway(t *testing.T) {
	file := guarded(t)
	r := run(t, file)
	a, _ := r.ask("CASTOREHR", "0.4 ug/kg/min")
	a.Sent()
	a.Outcome(gate.Unknown)
	conf := r.g.conf.Load()
	if _, err := Doubts(conf); err == nil {
		t.Error("the book of a guard that runs is opened twice")
	}
	r.stop()
	doubts, err := Doubts(conf)
	if err != nil || len(doubts) != 1 {
		t.Fatalf("%v, %v", doubts, err)
	}
	var recorded told
	for _, x := range []struct{ person, password, why string }{{"jr", "wrong", "so"}, {"nobody", thePassword, "so"}, {"te", thePassword, "so"}, {"jr", thePassword, ""}} {
		if err := Settle(conf, recorded.record, x.person, x.password, doubts[0].ID, true, x.why); err == nil {
			t.Errorf("%+v settles it", x)
		}
	}
	if err := Settle(conf, recorded.record, "jr", thePassword, doubts[0].ID, true, "it stands in the pump's log"); err != nil {
		t.Fatal(err)
	}
	if got := recorded.reasons(event.DoseDoubted); len(got) != 1 || got[0] != "it stands in the pump's log" {
		t.Errorf("recorded %q", got)
	}
	if doubts, err = Doubts(conf); err != nil || len(doubts) != 0 {
		t.Errorf("%v, %v", doubts, err)
	}
}

// An envelope that changes holds from then on, and what was only observed is
// enforced since then.
func TestEnvelopeReload(t *testing.T) {
	file := guarded(t)
	pump := filepath.Join(filepath.Dir(file), "pump-3.yaml")
	edit(t, pump, "enforce: true", "enforce: false")
	r := run(t, file)
	if a, _ := r.ask("CASTOREHR", "4 ug/kg/min"); !a.Pass || a.Enforced || a.Verdict != device.Deny {
		t.Errorf("observed: %+v", a)
	}
	was := r.g.since["pump-3"]
	edit(t, pump, "enforce: false", "enforce: true")
	edit(t, pump, "version: 3", "version: 4")
	r.changed()
	if got := r.last(); got != "its envelope is enforced" {
		t.Errorf("recorded: %s", got)
	}
	if a, _ := r.ask("CASTOREHR", "4 ug/kg/min"); a.Pass || !a.Enforced {
		t.Errorf("enforced: %+v", a)
	}
	r.g.mu.Lock()
	now := r.g.since["pump-3"]
	r.g.mu.Unlock()
	if !now.After(was) {
		t.Error("since when it is enforced did not change")
	}
	edit(t, pump, "max: 1.0", "max: one")
	r.changed()
	if got := r.last(); !strings.Contains(got, "pump-3.yaml:16:10: max has to be a number and a unit") {
		t.Errorf("a broken envelope: %s", got)
	}
	if a, _ := r.ask("CASTOREHR", "4 ug/kg/min"); a.Pass {
		t.Error("a broken envelope let it pass")
	}
}

// Which line decides, with its text.
func TestExplain(t *testing.T) {
	conf, err := Load(guarded(t))
	if err != nil {
		t.Fatal(err)
	}
	request := func(value string) *envelope.Request {
		return &envelope.Request{Command: device.Command{
			Verb: device.SetInfusionRate, Value: quantity(t, value), Now: quantity(t, "0.2 ug/kg/min"), Actor: "x", Role: device.Clinician,
			Channel: device.Encrypted | device.Authenticated | device.Fresh,
		}}
	}
	for _, x := range []struct {
		value   string
		verdict device.Verdict
		text    string
	}{
		{"4 ug/kg/min", device.Deny, "max: 1.0 ug/kg/min"},
		{"0.9 ug/kg/min", device.Deny, "- {window: 1h, highest: 48 ug/kg}"},
		{"0.6 ug/kg/min", device.Hold, "confirm: second-person"},
		{"0.4 ug/kg/min", device.Allow, "set-infusion-rate:"},
	} {
		e, err := Explain(conf, "pump-3", request(x.value))
		if err != nil || e.Decision.Verdict != x.verdict || e.Text != x.text || e.Given {
			t.Errorf("%s: %+v, %v", x.value, e, err)
		}
	}
	r := request("0.4 ug/kg/min")
	r.Command.Channel = 0
	if e, err := Explain(conf, "pump-3", r); err != nil || e.Decision.Verdict != device.Deny || e.Decision.Line != 0 {
		t.Errorf("unproven: %+v, %v", e, err)
	}
	if _, err := Explain(conf, "pump-9", r); err == nil {
		t.Error("a device that is not there is explained")
	}
}

func TestStandingsAndRisks(t *testing.T) {
	file := guarded(t)
	edit(t, file, `{address: "`, `{address: "0.0.0.0:`)
	b := `listen: {address: "0.0.0.0:`
	edit(t, file, b+"127.0.0.1:", b)
	edit(t, file, "bypass: there is nothing to go around here", "bypass: none")
	edit(t, file, "role: nurse", "role: engineer")
	conf, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if s := conf.Standings(); len(s) != 1 || !s[0].Enforcing || len(s[0].Fronts) != 1 {
		t.Errorf("%+v", s)
	}
	var text strings.Builder
	for _, r := range conf.Risks() {
		text.WriteString(r.Text + "\n")
	}
	for _, want := range []string{
		"front one talks in clear on its outside: this is a test", "front one listens on all addresses", "front one: its bypass is hardly a sentence",
		"device pump-3 has commands that wait for a second person, and fewer than two people are in a clinical role",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("lacks %q:\n%s", want, text.String())
		}
	}
}

// TestInTheWay: what may keep an alarm of a device that calls from coming through is
// warned of, and nothing else.
func TestInTheWay(t *testing.T) {
	addresses := func(list ...string) (all []netip.Prefix) {
		for _, a := range list {
			all = append(all, netip.MustParsePrefix(a))
		}
		return all
	}
	asks := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}
	back := func(s front.Settings) front.Policy {
		return &hl7.Policy{Settings: front.Settings{Server: true}, Returns: map[string]hl7.Return{"ehr": {Settings: s}}}
	}
	for _, test := range []struct {
		p    front.Policy
		want string
	}{
		{&tcp.Policy{Settings: front.Settings{Server: true}}, ""},
		{&tcp.Policy{}, "has no from"},
		{&tcp.Policy{Settings: front.Settings{From: addresses("10.20.3.10/32", "10.20.4.0/24", "2001:db8::7/128")}}, ""},
		{&tcp.Policy{Settings: front.Settings{From: addresses("10.20.2.0/23")}}, "takes all of 10.20.2.0/23"},
		{&tcp.Policy{Settings: front.Settings{From: addresses("10.20.3.10/32"), Listen: front.Side{TLS: asks}}}, "asks the device for a certificate"},
		{&tcp.EgressPolicy{Settings: front.Settings{From: addresses("10.20.3.10/32")}, Peers: addresses("10.20.3.10/32")}, "refuses who is not in peers"},
		{&coap.Policy{Settings: front.Settings{Kind: "coap"}}, "hears nobody but the addresses in from of inside"},
		{back(front.Settings{From: addresses("10.20.3.10/32")}), ""},
		{back(front.Settings{From: addresses("10.20.3.10/32"), Listen: front.Side{TLS: asks}}), "the way back ehr asks the device for a certificate"},
		{back(front.Settings{From: addresses("10.20.0.0/16")}), "the way back ehr takes all of 10.20.0.0/16"},
	} {
		s := test.p.Common()
		s.Name, s.Bypass, s.Listen.Address = "one", "call the ward at once", "10.20.3.2:1"
		if s.Kind == "" {
			s.Kind = "egress"
		}
		var text []string
		for _, r := range (&Configuration{Fronts: []front.Policy{test.p}}).Risks() {
			text = append(text, r.Text)
		}
		if test.want == "" && len(text) > 0 || test.want != "" && (len(text) != 1 || !strings.HasPrefix(text[0], "front one") || !strings.Contains(text[0], " "+test.want)) {
			t.Errorf("%q; want %q", text, test.want)
		}
	}
}

func gateAsk(actor string, c device.Command, became chan string) *gate.Ask {
	return &gate.Ask{
		Front: "one", Device: "pump-3", Actor: actor, Peer: device.Address{Kind: device.IP, Value: "10.20.1.5"}, Request: envelope.Request{Command: c},
		Release: func(ctx context.Context, a *gate.Answer) {
			a.Sent()
			a.Outcome(gate.Accepted)
			became <- "released"
		},
		Still: func() string { return "" },
		Gone:  func(reason string) { became <- "gone: " + reason },
	}
}
