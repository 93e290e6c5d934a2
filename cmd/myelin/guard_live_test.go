// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/testpeer"
	"github.com/myelin-health/myelin/proto/hl7"
	"github.com/myelin-health/myelin/sim/legacy"
	"github.com/myelin-health/myelin/sim/ward"
)

// eventually waits until something holds, and no longer than anybody would.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for try := time.NewTicker(10 * time.Millisecond); !holds(); <-try.C {
		select {
		case <-late:
			t.Fatalf("not yet: %s", what)
		default:
		}
	}
}

// says waits until a process has said a text on standard error once more than before.
func (p *process) says(t *testing.T, text string, before int) {
	t.Helper()
	eventually(t, text, func() bool { return strings.Count(p.errs.String(), text) > before })
}

// changes writes a file of a running guard's, and waits for what it says of that.
func (s *sample) changes(t *testing.T, guard *process, file, old, next, says string) {
	t.Helper()
	before := strings.Count(guard.errs.String(), says)
	s.edit(t, file, func(text string) string { return strings.Replace(text, old, next, 1) })
	if err := guard.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	guard.says(t, says, before)
}

// explains looks for an entry that says all of it, and wants 'guard explain' to name a line for it.
func (s *sample) explains(t *testing.T, ledger, line string, entry ...string) {
	t.Helper()
	i := -1
	for text := range strings.Lines(ledger) {
		all := true
		for _, w := range entry {
			all = all && strings.Contains(text, w)
		}
		if all {
			var e struct{ Index int }
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				t.Fatal(err)
			}
			i = e.Index
		}
	}
	if i < 0 {
		t.Errorf("no entry says %q:\n%s", entry, ledger)
		return
	}
	out, code := s.myelin(t, "guard", "explain", "--config", filepath.Join(s.dir, s.file), "--entry", fmt.Sprint(i))
	if code != exitDone || !regexp.MustCompile(`(?m)^line +\S*`+line).MatchString(out) {
		t.Errorf("%q: exit %d, no line %s in\n%s", entry, code, line, out)
	}
}

// myelin runs a verb; @ before a name is the sample's folder.
func (s *sample) myelin(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out strings.Builder
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@", s.dir+string(filepath.Separator))
	}
	code := run(t.Context(), args, strings.NewReader(""), &out, &out)
	return out.String(), code
}

// must is myelin where nothing may go wrong.
func (s *sample) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := s.myelin(t, args...)
	if code != exitDone {
		t.Fatalf("%q: exit %d, %s", args, code, out)
	}
	return out
}

// A session is one connection of the information system's, which sends one order after
// the other.
type session struct {
	net.Conn
	r *bufio.Reader
}

func (s *sample) session(t *testing.T, as string) *session {
	t.Helper()
	c, err := legacyTarget{s.at(24001), s.as(t, as)}.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &session{c, bufio.NewReader(c)}
}

// order returns MSA-1 of what an order is answered.
func (c *session) order(t *testing.T, id, rate string) string {
	t.Helper()
	three, _ := ward.Pumps()
	o := ward.Order{ID: id, Pump: three, Rate: rate, Unit: ward.MicrogPerKgM, Accept: "AL", Application: "AL"}
	if _, err := c.Write(hl7.AppendBlock(nil, o.Message(time.Now()))); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	b, err := c.r.ReadBytes(0x1c)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	c.r.ReadByte() // the carriage return behind it
	m, err := hl7.Parse(bytes.Trim(b, "\x0b\x1c"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := m.Answer()
	return a.Code.Text()
}

// TestGuardChanges changes an envelope under a running guard, while a sender is connected: a right one
// holds for its next order, a wrong one for none, and the connection is never lost.
func TestGuardChanges(t *testing.T) {
	s := theSample(t, testpeer.Port(t))
	s.process(t, "sim", "legacy", "--device", "castor", "--listen", s.at(24002))
	s.process(t, "sim", "legacy", "--device", "flowlink", "--listen", s.at(24000), "--confirm", "--upstream", s.at(24003))
	guard := s.guard(t)
	three, _ := ward.Pumps()
	if err := legacy.SendHL7(t.Context(), s.at(24003), [][]byte{ward.Report(time.Now(), "REPORT-1", three)}, nil); err != nil {
		t.Fatal(err)
	}
	const holds = "the new configuration holds"
	ehr := s.session(t, "ehr")
	ask := func(id, rate string) {
		t.Helper()
		if got := ehr.order(t, id, rate); got != "CA" {
			t.Errorf("%s is answered %s", id, got)
		}
	}
	ask("RGV-1", "0.6")
	s.changes(t, guard, "envelopes/pump-3.yaml", "max: 1.0 ug/kg/min", "max: 0.5 ug/kg/min", holds)
	ask("RGV-2", "0.6")
	s.changes(t, guard, "envelopes/pump-3.yaml", "max: 0.5 ug/kg/min", "max: 5.0 uug/kg/min", "pump-3.yaml:24:10: max has to be")
	ask("RGV-3", "0.6") // still more than the 0.5 that holds
	eventually(t, "the health of the guard tells it", func() bool {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: s.as(t, ""), DisableKeepAlives: true}}
		r, err := c.Get("https://" + s.at(8443) + "/healthz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		var b bytes.Buffer
		b.ReadFrom(r.Body)
		return r.StatusCode == http.StatusServiceUnavailable && strings.Contains(b.String(), "pump-3.yaml:24:10")
	})
	s.changes(t, guard, "envelopes/pump-3.yaml", "max: 5.0 uug/kg/min", "max: 0.7 ug/kg/min", holds)
	s.edit(t, "envelopes/pump-3.yaml", func(text string) string { return strings.Replace(text, "version: 3", "version: 4", 1) })
	s.changes(t, guard, "guard.yaml", "bypass: program the pumps at their keypads", "bypass: program all pumps at their keypads", holds)
	ask("RGV-4", "0.8")
	ledger := s.recorded(t, guard)
	for _, want := range [][]string{
		{"configuration-changed", "refused, and the old one goes on: ", "pump-3.yaml:24:10: max has to be a number and a unit that is known"},
		{"configuration-changed", "pump-3", "its envelope is enforced; the file changed, and its version did not"},
		{"configuration-changed", "pump-3", `"its envelope is enforced"`, `"version":"4"`},
		{"configuration-changed", "guard.yaml", "fronts that go on: gw-icu, archive, icd-anna, ipump-ben"},
		{"verdict-given", "pump-3", `"deny"`, "more than the most of 0.5 ug/kg/min", "line 24"},
		{"verdict-given", "pump-3", `"deny"`, "more than the most of 0.7 ug/kg/min (noradrenaline at ICU bed 3 v4"},
	} {
		has(t, ledger, want...)
	}
	if n := strings.Count(ledger, "more than the most of 0.5 ug/kg/min"); n != 2 {
		t.Errorf("%d orders were refused by the limit that a wrong file was to change", n)
	}
	s.explains(t, ledger, `pump-3.yaml:24: max: 0.7 ug/kg/min`, "verdict-given", "more than the most of 0.7")
	if strings.Contains(ledger, "more than the most of 1.0") {
		t.Error("an order within the first limits was refused by them")
	}
}

// A browser is a person at the guard's page.
type browser struct {
	*http.Client
	base string
}

func (s *sample) browser(t *testing.T, id string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{&http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: s.as(t, "")}}, "https://" + s.at(8443)}
	t.Cleanup(b.CloseIdleConnections)
	if code, text := b.post(t, "/login", url.Values{"id": {id}, "password": {"a sample to try the guard"}, "to": {"/"}}); code != http.StatusOK {
		t.Fatalf("%s cannot log in: %d %s", id, code, text)
	}
	return b
}

// do sends what a browser sends: where a form comes from stands in headers that no page can set.
func (b *browser) do(t *testing.T, method, path string, form url.Values, site string) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Sec-Fetch-Site", site)
	if method == "POST" {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r, err := b.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var body bytes.Buffer
	body.ReadFrom(r.Body)
	return r.StatusCode, body.String()
}

func (b *browser) get(t *testing.T, path string) string {
	t.Helper()
	code, text := b.do(t, "GET", path, nil, "same-origin")
	if code != http.StatusOK {
		t.Errorf("%s: %d", path, code)
	}
	return text
}

func (b *browser) post(t *testing.T, path string, form url.Values) (int, string) {
	t.Helper()
	return b.do(t, "POST", path, form, "same-origin")
}

// held is what waits: its number, and the form of its page that has an action.
func (b *browser) held(t *testing.T) (id string, form url.Values) {
	t.Helper()
	var rows []struct{ ID string }
	if err := json.Unmarshal([]byte(b.get(t, "/held.json")), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%d commands wait, %v", len(rows), err)
	}
	id = rows[0].ID
	form = url.Values{}
	for _, field := range regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`).FindAllStringSubmatch(b.get(t, "/held/"+id), -1) {
		form.Set(field[1], field[2])
	}
	return id, form
}

// TestGuardHolds plays an evening with Ben's pump: boluses that wait for a second person are confirmed,
// refused, forgotten, and judged again, and an ambulance breaks the glass.
func TestGuardHolds(t *testing.T) {
	s := theSample(t, testpeer.Port(t))
	s.edit(t, "envelopes/ipump-ben.yaml", func(text string) string { return strings.Replace(text, "above: 6 U", "above: 1 U", 1) })
	for _, args := range [][]string{
		{"keygen", "--out", "@ben.key"},
		{"enrol", "--authority", "@clinic", "--subject", "app-1", "--role", "patient", "@ben.key.pub"},
		{"issue", "--authority", "@clinic", "--subject", "app-1", "--device", "ipump-ben", "--allow", "deliver-bolus<=8U", "--out", "@ben.cwt"},
		{"keygen", "--out", "@medic.key"},
		{"keygen", "--out", "@dr3.key"},
		{"keygen", "--out", "@dr5.key"},
		{"enrol", "--authority", "@clinic", "--subject", "dr-3", "--approver", "@dr3.key.pub"},
		{"enrol", "--authority", "@clinic", "--subject", "dr-5", "--approver", "@dr5.key.pub"},
		{"enrol", "--authority", "@clinic", "--subject", "ambulance-2", "--role", "emergency", "@medic.key.pub"},
		{"issue", "--authority", "@clinic", "--subject", "ambulance-2", "--role", "emergency", "--class", "insulin-pump", "--break-glass", "--allow", "suspend", "--request", "@er.request"},
		{"approve", "--key", "@dr3.key", "--out", "@dr3.approval", "@er.request"},
		{"approve", "--key", "@dr5.key", "--out", "@dr5.approval", "@er.request"},
		{"issue", "--authority", "@clinic", "--break-glass", "--request", "@er.request", "--approve", "@dr3.approval", "--approve", "@dr5.approval", "--out", "@er.cwt"},
	} {
		s.must(t, append([]string{"link"}, args...)...)
	}
	pump := s.process(t, "sim", "legacy", "--device", "dose-classic", "--listen", s.at(5675), "--secret", "pump.secret")
	guard := s.guard(t)
	command := func(who string, args ...string) (string, int) {
		t.Helper()
		out, code := s.myelin(t, append(append([]string{"link", "command", "coap://" + s.at(5685) + "/therapy"}, args...),
			"--key", "@"+who+".key", "--token", "@"+map[string]string{"ben": "ben", "medic": "er"}[who]+".cwt", "--device", "@pump-front.key.pub")...)
		return out, code
	}
	waits := func(dose string) {
		t.Helper()
		if out, code := command("ben", "deliver-bolus", dose); code != exitError || !strings.Contains(out, "for a person to confirm it at the guard's page") {
			t.Fatalf("%s: exit %d, %s", dose, code, out)
		}
	}
	given := func(dose string) int { return strings.Count(pump.out.String(), "a bolus of "+dose) }
	analyst, nurse := s.browser(t, "te"), s.browser(t, "jr")

	// Confirmed: by somebody in a clinical role, from the guard's own page, as it was on the screen.
	waits("2U")
	id, form := nurse.held(t)
	for who, code := range map[string]int{
		"an analyst":       first(analyst.post(t, "/held/"+id+"/confirm", form)),
		"another site":     first(nurse.do(t, "POST", "/held/"+id+"/confirm", form, "cross-site")),
		"another command":  first(nurse.post(t, "/held/"+id+"/confirm", url.Values{"what": {"0123456789abcdef"}})),
		"without a reason": first(nurse.post(t, "/held/"+id+"/refuse", form)),
	} {
		if code == http.StatusOK {
			t.Errorf("%s decides", who)
		}
	}
	if given("2.000 U") != 0 {
		t.Fatal("given before anybody confirmed it")
	}
	if code, text := nurse.post(t, "/held/"+id+"/confirm", form); code != http.StatusOK || !strings.Contains(text, "You confirmed deliver-bolus 2") {
		t.Fatalf("confirmed: %d %s", code, text)
	}
	eventually(t, "the pump gives 2 U", func() bool { return given("2.000 U") == 1 })
	if code, _ := nurse.post(t, "/held/"+id+"/confirm", form); code != http.StatusGone {
		t.Errorf("confirmed again: %d", code)
	}

	// Refused, with a reason.
	waits("3U")
	id, form = nurse.held(t)
	form.Set("why", "he has eaten nothing")
	if code, text := nurse.post(t, "/held/"+id+"/refuse", form); code != http.StatusOK || !strings.Contains(text, "You refused deliver-bolus 3") {
		t.Errorf("refused: %d %s", code, text)
	}

	// Judged again: what was right when it was asked for is not when others have been given.
	waits("7U")
	id, form = nurse.held(t)
	for range 2 {
		if out, code := command("ben", "deliver-bolus", "1U"); code != exitDone {
			t.Fatalf("1 U: %s", out)
		}
	}
	if code, text := nurse.post(t, "/held/"+id+"/confirm", form); code != http.StatusConflict || !strings.Contains(text, "more than 10 U in 4h") {
		t.Errorf("judged again: %d %s", code, text)
	}

	// Forgotten: nobody decides in time, and then nobody can.
	s.changes(t, guard, "envelopes/ipump-ben.yaml", "hold: 5m", "hold: 1s", "the new configuration holds")
	waits("1.5U")
	eventually(t, "nothing waits", func() bool { return strings.HasPrefix(nurse.get(t, "/held.json"), "[]") })
	if code, _ := nurse.post(t, "/held/"+id+"/confirm", form); code != http.StatusGone {
		t.Errorf("what nobody confirmed in time: %d", code)
	}

	// Break-glass: what the emergency envelope names, and loud.
	if out, code := command("medic", "suspend", "--limit", "30min"); code != exitDone {
		t.Errorf("the ambulance suspends: %s", out)
	}
	if out, code := command("medic", "suspend", "--limit", "30min"); code != exitError || !strings.Contains(out, "a break-glass session may read, rescue") { // again it is no rescue
		t.Errorf("the ambulance suspends again: %s", out)
	}
	if out, code := command("medic", "deliver-bolus", "1U"); code != exitError {
		t.Errorf("the ambulance gives insulin: %s", out)
	}
	today := nurse.get(t, "/")
	if !strings.Contains(today, "1 emergency session is open.") || !strings.Contains(today, "opened: 2 approved") {
		t.Errorf("the page does not say that an emergency is open:\n%s", today)
	}
	if !strings.Contains(guard.errs.String(), "break-glass") {
		t.Error("the log does not say that somebody broke the glass")
	}

	ledger := s.recorded(t, guard)
	for _, want := range [][]string{
		{"verdict-given", `"hold"`, "a second person has to confirm it"},
		{"verdict-given", `"allow"`, "confirmed by jr (nurse)"},
		{"verdict-given", `"deny"`, "refused by jr", "he has eaten nothing"},
		{"verdict-given", `"deny"`, "confirmed by jr, and refused when it was judged again", "more than 10 U in 4h"},
		{"verdict-given", `"deny"`, "nobody confirmed it"},
		{"emergency-used", "ipump-ben", "opened: 2 approved", `"succeeded"`},
		{"verdict-given", `"suspend"`, `"rescues"`, `"allow"`},
		{"verdict-given", `"suspend"`, `"deny"`, "a break-glass session may read, rescue and set the emergency preset"},
		{"access-refused", "ipump-ben", "deliver-bolus"},
	} {
		has(t, ledger, want...)
	}
	s.explains(t, ledger, `ipump-ben.yaml:20: deliver-bolus: `, "verdict-given", `"hold"`)
	s.explains(t, ledger, `guard.yaml:\d+: - name: ipump-ben`, "access-refused", "ipump-ben", "deliver-bolus")
	if given("2.000 U") != 1 || given("1.000 U") != 2 || strings.Count(pump.out.String(), "a bolus of") != 3 {
		t.Errorf("the pump gave\n%s", &pump.out)
	}
}

func first(code int, _ string) int { return code }

// A fhir is a server of records that answers whatever it is asked, and counts.
func fhir(t *testing.T) (port int, asked *noise) {
	t.Helper()
	asked = new(noise)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		fmt.Fprintf(asked, "%s %s\n", r.Method, r.URL.Path)
		w.Header().Set("Content-Type", "application/fhir+json")
		fmt.Fprintln(w, `{"resourceType":"OperationOutcome"}`)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port, asked
}

// curl asks as somebody with one of the sample's certificates, and returns the status; 000 is none.
func (s *sample) curl(t *testing.T, as string, args ...string) string {
	t.Helper()
	all := []string{"-s", "-m", "20", "-o", os.DevNull, "-w", "%{http_code}"}
	if as != "" {
		all = append(all, "--cacert", "tls/ca.pem", "--cert", "tls/"+as+".pem", "--key", "tls/"+as+".key")
	}
	out, _ := testpeer.Try(t, s.dir, testpeer.Tool(t, "curl", "curl"), append(all, args...)...)
	return strings.TrimSpace(out)
}

// TestGuardLearns lets a guard of empty lists observe what real programs do, takes what it
// proposes for its lists, and sees that the same passes, and nothing else does.
func TestGuardLearns(t *testing.T) {
	for _, name := range []string{"dcmqrscp", "storescu", "findscu", "echoscu", "dump2dcm"} {
		testpeer.DCMTK(t, name)
	}
	records, asked := fhir(t)
	s := sampleOf(t, "observe.yaml", map[int]int{11112: testpeer.Dcmqrscp(t, "ADAPACS", nil), 8080: records})
	gateway := s.process(t, "sim", "legacy", "--device", "flowlink", "--listen", s.at(24000))
	object := testpeer.DICOMObject(t, `(0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]
(0008,0018) UI [1.2.276.0.99999.2.1.1]
(0008,0060) CS [CT]
(0010,0010) PN [Lindqvist^Anna]
(0010,0020) LO [ADA-0001]
(0020,000d) UI [1.2.276.0.99999.2]
(0020,000e) UI [1.2.276.0.99999.2.1]
`, "+te")
	dicom := func(program, as, ae string, args ...string) error {
		t.Helper()
		_, err := testpeer.Try(t, s.dir, testpeer.DCMTK(t, program), append([]string{
			"+tls", "tls/" + as + ".key", "tls/" + as + ".pem", "+cf", "tls/ca.pem", "-aet", ae, "-aec", "ADAPACS", "127.0.0.1", fmt.Sprint(s.ports[11113]),
		}, args...)...)
		return err
	}
	find := []string{"-S", "-k", "0008,0052=STUDY", "-k", "0020,000D"}
	orders := 0
	order := func(as string) string {
		t.Helper()
		orders++
		return s.order(t, as, fmt.Sprintf("RGV-%d", orders), "0.25")
	}
	fhirs := "https://" + s.at(8444) + "/fhir/"
	body := []string{"-H", "Content-Type: application/fhir+json", "-d", `{"resourceType":"Observation"}`, fhirs + "Observation"}
	usual := func(when string) {
		t.Helper()
		for what, err := range map[string]error{
			"the scanner stores":     dicom("storescu", "ct-1", "CT1", object),
			"the reading room looks": dicom("findscu", "view-1", "VIEW1", find...),
		} {
			if err != nil {
				t.Errorf("%s: %s: %v", when, what, err)
			}
		}
		for what, got := range map[string]string{
			"reads a study":         s.curl(t, "view-1", fhirs+"ImagingStudy/1"),
			"writes an observation": s.curl(t, "ehr", body...),
		} {
			if got != "200" {
				t.Errorf("%s: %s: %s", when, what, got)
			}
		}
		if got := order("ehr"); got != "CA" {
			t.Errorf("%s: an order is answered %s", when, got)
		}
	}
	guard := s.guard(t)
	usual("observed")
	if guard.interrupt(); guard.cmd.ProcessState.ExitCode() != exitDone {
		t.Fatal(&guard.errs)
	}

	// What it proposes stands in place of the empty lists, as it says itself.
	config := "@observe.yaml"
	for front, empty := range map[string][]string{"gw-icu": {"senders: {}"}, "archive": {"associations: []"}, "records": {"clients: {}", "allow: []"}} {
		proposed := s.must(t, "guard", "learn", "--config", config, "--front", front)
		_, lines, _ := strings.Cut(proposed, "\n\n")
		s.edit(t, s.file, func(text string) string {
			before, section, _ := strings.Cut(text, "- name: "+front+"\n")
			section = strings.Replace(section, "    mode: observe\n", "", 1)
			for _, key := range empty[1:] {
				section = strings.Replace(section, "    "+key+"\n", "", 1)
			}
			return before + "- name: " + front + "\n" + strings.Replace(section, "    "+empty[0]+"\n", lines, 1)
		})
	}
	if out := s.must(t, "guard", "check", config); strings.Count(out, "enforced") != 4 { // the fronts, and none of the devices
		t.Errorf("what learn proposes is\n%s", out)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, s.file))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`certificate: "san:ct-1.ada.example"`, `certificate: "san:view-1.ada.example"`, "certificates: [ehr.ada.example]", "view-1.ada.example: {certificate: view-1.ada.example}"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("learn does not propose %s:\n%s", want, text)
		}
	}

	guard = s.guard(t)
	before := strings.Count(asked.String(), "\n")
	usual("learned")
	for what, err := range map[string]error{
		"the scanner looks":                     dicom("findscu", "ct-1", "CT1", find...),
		"the reading room stores":               dicom("storescu", "view-1", "VIEW1", object),
		"the reading room as the scanner":       dicom("storescu", "view-1", "CT1", object),
		"the scanner under another name":        dicom("storescu", "ct-1", "CT2", object),
		"the information system as the scanner": dicom("echoscu", "ehr", "CT1"),
	} {
		if err == nil {
			t.Errorf("%s", what)
		}
	}
	for what, got := range map[string]string{
		"the reading room deletes":                s.curl(t, "view-1", "-X", "DELETE", fhirs+"ImagingStudy/1"),
		"the reading room searches":               s.curl(t, "view-1", fhirs+"ImagingStudy?x=1"),
		"the reading room writes":                 s.curl(t, "view-1", body...),
		"the information system reads":            s.curl(t, "ehr", fhirs+"Observation/1"),
		"the scanner reads":                       s.curl(t, "ct-1", fhirs+"ImagingStudy/1"),
		"the information system, another message": s.curl(t, "ehr", "-d", "x", fhirs+"Patient"),
	} {
		if got != "403" {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got := order("ct-1"); got != "AE" && got != "CE" {
		t.Errorf("the scanner orders: %s", got)
	}
	ledger := s.recorded(t, guard)
	if n := strings.Count(asked.String(), "\n") - before; n != 2 {
		t.Errorf("the server of records was asked %d times: %s", n, asked)
	}
	if after := last[legacy.FlowLinkState](t, gateway); after.Orders != 2 {
		t.Errorf("the gateway took %+v", after)
	}
	if strings.Contains(ledger, "Lindqvist") || strings.Contains(ledger, "ADA-0001") {
		t.Error("the ledger names the patient")
	}
	for _, e := range [][]string{
		{"archive", "A-ASSOCIATE", "no list has the SOP class", `"enforced":1`},
		{"archive", "the certificate is not that of the calling AE title"},
		{"records", "no rule allows it to this client", `"enforced":1`},
		{"gw-icu", `"enforced":1`},
	} {
		s.explains(t, ledger, `observe.yaml:\d+: - name: `+e[0], append(e, "access-refused")...)
	}
}

// TestGuardNetwork holds the fronts for what is no therapy to what their file states: what is allowed
// passes, and each limit refuses.
func TestGuardNetwork(t *testing.T) {
	records, asked := fhir(t)
	alarms, heard := fhir(t)
	echo := testpeer.Port(t)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", echo))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); bufio.NewReader(c).WriteTo(c) }()
		}
	}()
	s := sampleOf(t, "network.yaml", map[int]int{8080: records, 2200: echo})
	s.edit(t, s.file, func(text string) string { return strings.ReplaceAll(text, "[8081]", fmt.Sprintf("[%d]", alarms)) })
	guard := s.guard(t)

	// http: clients, rules, bodies, hosts, rates.
	fhirs := "https://" + s.at(8444) + "/fhir/"
	observation := func(bytes int) []string {
		return []string{"-H", "Content-Type: application/fhir+json", "-d", `{"resourceType":"Observation","note":"` + strings.Repeat("x", bytes) + `"}`, fhirs + "Observation"}
	}
	for _, tt := range []struct{ what, want, got string }{
		{"the reading room reads", "200", s.curl(t, "view-1", fhirs+"ImagingStudy/1")},
		{"the system writes", "200", s.curl(t, "ehr", observation(10)...)},
		{"the reading room deletes", "403", s.curl(t, "view-1", "-X", "DELETE", fhirs+"ImagingStudy/1")},
		{"another type", "403", s.curl(t, "ehr", fhirs+"Patient/1")},
		{"a certificate of nobody", "403", s.curl(t, "ct-1", fhirs+"ImagingStudy/1")},
		{"no certificate", "000", s.curl(t, "", "--cacert", "tls/ca.pem", fhirs+"ImagingStudy/1")},
		{"a body at the bound", "200", s.curl(t, "ehr", observation(4096-40)...)},
		{"a body beyond it", "413", s.curl(t, "ehr", observation(4096-39)...)},
		{"another host", "421", s.curl(t, "view-1", "-H", "Host: records.ada.example", fhirs+"ImagingStudy/1")},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	if n := strings.Count(asked.String(), "\n"); n != 3 {
		t.Errorf("the records were asked %d times: %s", n, asked)
	}
	many := s.curl(t, "view-1", fhirs+"ImagingStudy/[1-30]")
	if !strings.Contains(many, "200") || !strings.Contains(many, "429") {
		t.Errorf("30 requests at once: %s", many)
	}

	// tcp: who, and how many at once.
	maintenance := func(as string) (*bufio.Reader, net.Conn) {
		t.Helper()
		c, err := legacyTarget{s.at(2201), s.as(t, as)}.Dial(t.Context())
		if err != nil {
			return nil, nil
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return bufio.NewReader(c), c
	}
	says := func(as string) bool {
		t.Helper()
		r, c := maintenance(as)
		if c == nil {
			return false
		}
		defer c.Close()
		if _, err := fmt.Fprintln(c, "calibrate"); err != nil {
			return false
		}
		line, _ := r.ReadString('\n')
		return line == "calibrate\n"
	}
	openssl := testpeer.Tool(t, "openssl", "openssl")
	if out, err := testpeer.Try(t, s.dir, openssl, "s_client", "-connect", s.at(2201), "-CAfile", "tls/ca.pem", "-verify_return_error",
		"-cert", "tls/corvus.pem", "-key", "tls/corvus.key", "-verify_hostname", "guard.ada.example"); err != nil || !strings.Contains(out, "Verification: OK") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
	eventually(t, "the technician is heard", func() bool { return says("corvus") })
	if says("ehr") || says("") {
		t.Error("somebody else maintains the analyser")
	}
	var only net.Conn
	eventually(t, "the technician is back", func() bool { // who was there has to be gone
		r, c := maintenance("corvus")
		if c == nil {
			return false
		}
		fmt.Fprintln(c, "first")
		line, _ := r.ReadString('\n')
		only = c
		return line == "first\n"
	})
	if says("corvus") {
		t.Error("two technicians at once")
	}
	only.Close()

	// egress: where to, and how much in a day.
	proxy := func(args ...string) string {
		t.Helper()
		return s.curl(t, "", append([]string{"--proxy", "http://" + s.at(3128), "--proxytunnel"}, args...)...)
	}
	there := fmt.Sprintf("http://127.0.0.1:%d/alarm", alarms)
	for _, tt := range []struct{ what, want, got string }{
		{"an alarm", "200", proxy("-d", "x", there)},
		{"an alarm by SOCKS", "200", s.curl(t, "", "--socks5", s.at(3128), "-d", "x", there)},
		{"another port", "000", proxy(fmt.Sprintf("http://127.0.0.1:%d/alarm", records))},
		{"another name", "000", proxy(fmt.Sprintf("http://tunnel.example:%d/alarm", alarms))},
		{"another address", "000", proxy(fmt.Sprintf("http://127.0.0.2:%d/alarm", alarms))},
		{"more than a day's", "000", proxy("-H", "Expect:", "--data-binary", "@"+zeros(t, 2_000_000), there)},
		{"after a day's", "000", proxy("-d", "x", there)},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	if n := strings.Count(heard.String(), "\n"); n != 2 {
		t.Errorf("the alarm server heard %q", heard)
	}
	ledger := s.recorded(t, guard)
	for _, e := range [][]string{
		{"records", "no rule allows it to this client"},
		{"records", "the certificate is of no client that is listed here"},
		{"records", "too many requests a second of this client"},
		{"maintenance", "connect"},
		{"monitor", "it is on no list of what this device may open"},
		{"monitor", "the device has sent there what it may in a day"},
	} {
		s.explains(t, ledger, `network.yaml:\d+: - name: `+e[0], append(e, "access-refused")...)
	}
	if strings.Contains(ledger, "tunnel.example") {
		t.Error("the ledger has a name that is on no list")
	}
}

// zeros is a file of so many bytes.
func zeros(t *testing.T, bytes int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, make([]byte, bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestGuardReadme does what the sample's README says, word for word but for the ports: what
// stays in the foreground is started, everything else runs to its end, and none of it is a
// wrong call.
func TestGuardReadme(t *testing.T) {
	s := theSample(t, testpeer.Port(t))
	readme, err := os.ReadFile("../../examples/guard/README.md")
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{ // the commands that show a refusal, by what they say
		"deliver-bolus 7U": "for a person to confirm it at the guard's page",
	}
	bash := testpeer.Tool(t, "bash", "bash")
	var guard *process
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		text := loopback.ReplaceAllStringFunc(strings.ReplaceAll(block[1], "\\\n", ""), func(addr string) string {
			port, _ := strconv.Atoi(loopback.FindStringSubmatch(addr)[1])
			return s.at(port)
		})
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			switch {
			case line == "myelin guard run":
				guard = s.guard(t)
				three, _ := ward.Pumps() // nobody waits here until the gateway reports by itself
				if err := legacy.SendHL7(t.Context(), s.at(24003), [][]byte{ward.Report(time.Now(), "REPORT-1", three)}, nil); err != nil {
					t.Fatal(err)
				}
				continue
			case strings.HasPrefix(line, "myelin sim legacy --device"):
				s.process(t, strings.Fields(strings.TrimPrefix(line, "myelin "))...)
				continue
			case strings.HasPrefix(line, "myelin link command") && strings.Contains(line, "er.cwt"):
				guard.says(t, "the new configuration holds", 0) // it has seen the approvers
			case strings.HasPrefix(line, "myelin ledger show"): // entries of the last second are in no checkpoint yet
				eventually(t, "a checkpoint shows the refusal", func() bool {
					out, _ := testpeer.Try(t, s.dir, bash, "-c", line)
					return strings.Contains(out, "verdict=deny")
				})
			}
			out, err := testpeer.Try(t, s.dir, bash, "-c", line)
			want := ""
			for part, says := range refused {
				if strings.Contains(line, part) {
					want = says
				}
			}
			if (err != nil) != (want != "") || !strings.Contains(out, want) {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
		}
	}
	ledger := s.recorded(t, guard)
	has(t, ledger, "verdict-given", "pump-3", `"deny"`, "more than the most of 1.0 ug/kg/min")
	has(t, ledger, "verdict-given", "ipump-ben", `"hold"`)
	has(t, ledger, "emergency-used", "opened: 2 approved")
}
