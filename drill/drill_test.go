// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/sim/implant"
	"github.com/myelin-health/myelin/sim/legacy"
)

// TestCatalogue holds the catalogue to the counts that it was agreed with, and, where it
// is at hand, to the table of attacks itself.
func TestCatalogue(t *testing.T) {
	rows := Catalogue()
	promised := map[string]int{}
	for _, r := range rows {
		for part, mark := range r.Promises {
			if mark == "Y" {
				promised[part]++
			}
		}
	}
	want := map[string]int{"sensor": 6, "channel": 30, "guard": 20, "update": 11, "sbom": 4}
	if len(rows) != 43 {
		t.Errorf("%d rows", len(rows))
	}
	for part, n := range want {
		if promised[part] != n {
			t.Errorf("%s promises %d rows, want %d", part, promised[part], n)
		}
	}
	facts := fact(t, "implant-attacks.md")
	lines := regexp.MustCompile(`(?m)^\| (A\d\d) \|.*\| ([YPR-]) \| ([YPR-]) \| ([YPR-]) \| ([YPR-]) \| ([YPR-]) \|$`).FindAllStringSubmatch(facts, -1)
	if len(lines) != len(rows) {
		t.Errorf("%d rows, and %d in the table of attacks", len(rows), len(lines))
	}
	for _, m := range lines {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.ID == m[1] })
		if i < 0 {
			t.Errorf("%s is not in the catalogue", m[1])
			continue
		}
		for n, part := range report.DrillParts {
			if rows[i].Promises[part] != m[2+n] {
				t.Errorf("%s %s is %s, want %s", m[1], part, rows[i].Promises[part], m[2+n])
			}
		}
		for _, cve := range regexp.MustCompile(`CVE-\d{4}-\d+`).FindAllString(m[0], 1) {
			if !strings.Contains(rows[i].Reference, cve) {
				t.Errorf("%s is of %q, want %s", m[1], rows[i].Reference, cve)
			}
		}
	}
}

// fact is a file of facts that we were given, where it is at hand.
func fact(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../shared/facts/" + name)
	if err != nil {
		t.Skipf("%s is not here; what it says was checked by our own list alone", name)
	}
	return string(b)
}

// acceptance is how each kind of row was agreed to be shown.
var acceptance = []struct {
	kind           string // as the facts call it
	rows           []string
	channel, guard []string // checks, where the part is promised
	sensor         []string // one of these is found in what a sensor hears
}{
	{"replay", []string{"A02", "A07", "A12", "A15"}, []string{"replay"}, []string{"replay"}, nil},
	{"no-auth", []string{"A05", "A09", "A14", "A20"}, []string{"stranger"}, []string{"stranger"}, []string{"therapy-command-unauthenticated"}},
	{"bounded-dose", []string{"A06", "A07", "A09"}, []string{"absurd"}, []string{"absurd"}, nil},
	{"battery", []string{"A03", "A23"}, []string{"wake"}, []string{"wake"}, []string{"radio-wake-flood"}},
	{"cleartext", []string{"A01", "A08", "A10", "A21", "A24", "A39"}, []string{"eavesdrop"}, nil, []string{"phi-in-clear"}},
	{"component", []string{"A35", "A38", "A41", "A42"}, nil, nil, nil},
}

// TestAcceptance holds the rows to what was agreed that they show, and the list above to the facts where they are at hand.
func TestAcceptance(t *testing.T) {
	rows := map[string]*Row{}
	for _, r := range Catalogue() {
		rows[r.ID] = &r
	}
	for _, kind := range acceptance {
		for _, id := range kind.rows {
			r := rows[id]
			for _, want := range kind.channel {
				if !slices.Contains(r.Channel.Checks, want) {
					t.Errorf("%s, a %s row: the channel is not held to %s", id, kind.kind, want)
				}
			}
			for _, want := range kind.guard {
				if !slices.Contains(r.Guard.Checks, want) {
					t.Errorf("%s, a %s row: the guard is not held to %s", id, kind.kind, want)
				}
			}
			for _, want := range kind.sensor {
				if !slices.ContainsFunc(r.Sensor, func(h Heard) bool {
					return slices.ContainsFunc(h.Finds, func(k finding.Kind) bool { return k.String() == want })
				}) {
					t.Errorf("%s, a %s row: a sensor does not have to find %s", id, kind.kind, want)
				}
			}
			if kind.kind == "component" && (r.Promises["sbom"] != "Y" || r.SBOM.Fixed == "" || r.SBOM.CVE == "") {
				t.Errorf("%s: %+v", id, r.SBOM)
			}
		}
	}
	for id, r := range rows {
		modelled := slices.Contains([]string{"A31", "A41", "A42"}, id) // what no simulator can suffer
		for _, a := range r.Attack {
			if (a.Realism == legacy.Modelled) != modelled {
				t.Errorf("%s: %s is %s", id, a.Name, a.Realism)
			}
		}
		if slices.Contains([]string{"A05", "A09", "A14", "A20"}, id) && r.Guard.Topology != "bypassable" {
			t.Errorf("%s: who transmits straight at the implant goes around the guard, and it is %s", id, r.Guard.Topology)
		}
	}
	facts := fact(t, "implant-attacks.md")
	for _, kind := range acceptance {
		m := regexp.MustCompile(`(?m)^- ` + kind.kind + ` rows \(([^)]*)\)`).FindStringSubmatch(facts)
		if m == nil {
			t.Errorf("there are no %s rows in the facts", kind.kind)
			continue
		}
		want := regexp.MustCompile(`A\d\d`).FindAllString(m[1], -1)
		slices.Sort(want)
		if !slices.Equal(want, kind.rows) {
			t.Errorf("%s rows are %v, want %v", kind.kind, kind.rows, want)
		}
	}
	if !strings.Contains(fact(t, "therapy-safety.md"), "A31, A41 and A42 cannot truly succeed") {
		t.Error("other rows are modelled in the facts")
	}
}

// strangers is a catalogue as somebody else would write one.
const strangers = `catalogue: 1
rows:
  - id: A44
    title: "limit and amplitude raised by a made-up command"
    device: neurostimulator
    stake: "stimulation"
    promises: {sensor: "R", channel: "Y", guard: "-", update: "-", sbom: "Y"}
    attack:
      - device: calm
        say: [wake, "highest-amplitude message=1 amplitude=1000 amplitude-now=400", "amplitude message=2 amplitude=950 amplitude-now=230"]
        changes: [Amplitude, Highest]
    sensor:
      - {play: stim/spoof, layer: frames, finds: [therapy-command-unauthenticated]}
    channel: {device: neurostimulator, checks: [attack, stranger]}
    sbom: {component: calm-firmware, version: "1.0.0", fixed: "1.1.0", cve: CVE-2026-0001}
`

func drilled(t *testing.T, src string, parts ...string) *report.Drill {
	t.Helper()
	rows, err := Load("rows.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Run(context.Background(), Config{Rows: rows, Parts: parts})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestStranger holds that a row needs no code.
func TestStranger(t *testing.T) {
	d := drilled(t, strangers, "sensor", "channel", "sbom")
	r := d.Rows[0]
	for part, want := range map[string]string{
		"sensor": report.DrillDetected, "channel": report.DrillStopped, "sbom": report.DrillDetected, "guard": report.DrillNotRun,
	} {
		if got := r.Parts[part]; got.Result != want {
			t.Errorf("%s: %+v, want %s", part, got, want)
		}
	}
	if broken, worthless := d.Broken(); len(broken)+len(worthless) > 0 || r.Unprotected != "succeeded" || !strings.Contains(r.How, "amplitude from 230 to 950") {
		t.Errorf("%+v", r)
	}
}

// TestBroken holds that a drill can fail: in what a part finds, in what it accuses, and in
// the attack itself.
func TestBroken(t *testing.T) {
	for _, test := range []struct{ was, is, broken, worthless string }{
		{`sensor: "R"`, `sensor: "Y"`, "", ""},
		{`sensor: "R", channel: "Y"`, `sensor: "Y", channel: "-"`, "", ""},
		{`finds: [therapy-command-unauthenticated]`, `finds: [lateral-movement]`, "", ""}, // R is not promised
		{"version: \"1.0.0\", fixed: \"1.1.0\"", "version: \"1.2.0\", fixed: \"1.1.0\"", "A44 sbom", ""},
		{"changes: [Amplitude, Highest]", "changes: [Amplitude, Highest, On]", "", "A44"},
		{`guard: "-", update: "-"`, `guard: "-", update: "Y"`, "", ""},
	} {
		src := strings.Replace(strangers, test.was, test.is, 1)
		if src == strangers {
			t.Fatal(test.was)
		}
		broken, worthless := drilled(t, src, "sensor", "channel", "update", "sbom").Broken()
		if strings.Join(broken, ",") != test.broken || strings.Join(worthless, ",") != test.worthless {
			t.Errorf("%s: broken %v, worthless %v", test.is, broken, worthless)
		}
	}
	src := strings.Replace(strings.Replace(strangers, `sensor: "R"`, `sensor: "Y"`, 1), "therapy-command-unauthenticated", "lateral-movement", 1)
	if broken, _ := drilled(t, src, "sensor").Broken(); strings.Join(broken, ",") != "A44 sensor" {
		t.Errorf("a sensor that finds nothing: %v", broken)
	}
	src = strings.Replace(strings.Replace(strangers, `update: "-"`, `update: "Y"`, 1), `fixed: "1.1.0"`, `fixed: "one"`, 1)
	if broken, _ := drilled(t, src, "update").Broken(); strings.Join(broken, ",") != "A44 update" {
		t.Errorf("a release that cannot be made: %v", broken)
	}
}

func TestLoadRefuses(t *testing.T) {
	for was, test := range map[string]struct{ is, want string }{
		"id: A44":                       {"id: 44", "rows.yaml:3:9: id has to be a letter"},
		"device: calm":                  {"device: dose-one", `rows.yaml:9:9: "dose-one" has no radio`},
		"changes: [Amplitude, Highest]": {"changes: [Ampere]", "has no Ampere"},
		"play: stim/spoof":              {"play: stim/nothing", "rows.yaml:13:16: "},
		"finds: [therapy-command-unauthenticated]":         {"finds: [nothing]", "there is no kind of finding"},
		"checks: [attack, stranger]":                       {"checks: [luck]", `checks cannot be "luck"`},
		"    channel: {device":                             {"    chanel: {device", `has no key "chanel"`},
		`channel: "Y", guard: "-"`:                         {`channel: "Y", guard: "Y"`, `row "A44" promises that guard answers it`},
		`promises: {sensor: "R", channel: "Y", guard: "-"`: {`promises: {sensor: "X", channel: "Y", guard: "-"`, `sensor cannot be "X"`},
	} {
		src := strings.Replace(strangers, was, test.is, 1)
		if _, err := Load("rows.yaml", []byte(src)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %s", test.is, err, test.want)
		}
	}
	if _, err := Choose(Catalogue(), []string{"A99"}); err == nil || !strings.Contains(err.Error(), "A01 to A43") {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(strangers))
	f.Add(builtin)
	f.Fuzz(func(t *testing.T, src []byte) {
		a, err := Load("f.yaml", src)
		b, again := Load("f.yaml", src)
		if len(a) != len(b) || (err == nil) != (again == nil) || len(a) > MaxRows {
			t.Fatal("the same file read twice differs")
		}
	})
}

// TestFormats holds that all forms of a drill say the same.
func TestFormats(t *testing.T) {
	d := drilled(t, strangers, "channel", "sbom")
	var text, page, js bytes.Buffer
	for _, err := range []error{report.DrillText(&text, d, 80), report.DrillHTML(&page, d), report.DrillJSON(&js, d)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(text.String(), "All 2 promises hold: 1 attack") || !strings.Contains(page.String(), "All 2 promises hold") {
		t.Errorf("%s", text.String())
	}
	for line := range strings.Lines(text.String()) {
		if len([]rune(strings.TrimRight(line, "\n"))) > 80 {
			t.Errorf("longer than a line: %s", line)
		}
	}
	var back report.Drill
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Rows[0].Parts["sbom"].Result != report.DrillDetected || !back.Rows[0].Parts["sbom"].Promised {
		t.Errorf("%v\n%s", err, js.String())
	}
}

// TestDrill runs the catalogue: each attack succeeds on the unprotected device, and what is promised holds.
func TestDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	for _, row := range Catalogue() {
		t.Run(row.ID, func(t *testing.T) {
			t.Parallel()
			d, err := Run(context.Background(), Config{Rows: []Row{row}})
			if err != nil {
				t.Fatal(err)
			}
			if broken, worthless := d.Broken(); len(broken)+len(worthless) > 0 {
				t.Errorf("%+v", d.Rows[0])
			}
		})
	}
}

// TestBrokenParts breaks what protects a device, and holds that the drill sees it: an envelope that is too wide although
// the device would refuse for itself, sums without a window, a dose that a channel takes.
func TestBrokenParts(t *testing.T) {
	calm, classic, pump := models["calm"], models["dose-classic"], usuals[implant.Pump]
	t.Cleanup(func() { models["calm"], models["dose-classic"], usuals[implant.Pump] = calm, classic, pump })
	for _, test := range []struct {
		name, row, part, how string
		broken               func()
	}{
		{"an envelope without a limit", "A05", "guard", "the guard let it pass", func() {
			m := calm
			m.limits = "verbs: {set-amplitude: {unit: V, max: 30.00 V}}"
			models["calm"] = m
		}},
		{"no window", "A07", "guard", "after 10 of them, was answered 4.29", func() {
			m := classic
			m.limits = "verbs: {deliver-bolus: {unit: U, max: 10 U}}"
			models["dose-classic"] = m
		}},
		{"a device that takes what it should not", "A06", "channel", "was answered 2.04", func() {
			u := pump
			u.absurd = ask(device.CancelBolus, "")
			usuals[implant.Pump] = u
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			models["calm"], models["dose-classic"], usuals[implant.Pump] = calm, classic, pump
			test.broken()
			rows, err := Choose(Catalogue(), []string{test.row})
			if err != nil {
				t.Fatal(err)
			}
			d, err := Run(context.Background(), Config{Rows: rows, Parts: []string{test.part}})
			if err != nil {
				t.Fatal(err)
			}
			if c := d.Rows[0].Parts[test.part]; c.Result != report.DrillFailed || !strings.Contains(c.How, test.how) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestJSON holds the JSON of a drill to its shape: these keys and no others, these words and no others.
func TestJSON(t *testing.T) {
	rows, err := Choose(Catalogue(), []string{"A22", "A41"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Run(context.Background(), Config{Rows: rows, Parts: []string{"guard", "sbom"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.DrillJSON(&b, d); err != nil {
		t.Fatal(err)
	}
	var top map[string][]map[string]any
	if err := json.Unmarshal(b.Bytes(), &top); err != nil || len(top) != 1 || len(top["rows"]) != 2 {
		t.Fatalf("%v\n%s", err, &b)
	}
	keys := func(what string, m map[string]any, need ...string) {
		t.Helper()
		if have := slices.Sorted(maps.Keys(m)); !slices.Equal(have, slices.Sorted(slices.Values(need))) {
			t.Errorf("%s has %v, want %v", what, have, need)
		}
	}
	word := func(what string, v any, of ...string) {
		t.Helper()
		if s, ok := v.(string); !ok || !slices.Contains(of, s) {
			t.Errorf("%s is %v, want one of %v", what, v, of)
		}
	}
	for _, r := range top["rows"] {
		keys("a row", r, "id", "title", "device", "stake", "reference", "realism", "unprotected", "how", "parts")
		word("realism", r["realism"], "wire", "modelled")
		word("unprotected", r["unprotected"], "succeeded", "failed")
		parts, _ := r["parts"].(map[string]any)
		keys("parts", parts, report.DrillParts...)
		for name, v := range parts {
			c, _ := v.(map[string]any)
			need := []string{"promised", "mark", "result"}
			word(name, c["result"], "stopped", "detected", "both", "failed", "not-run")
			word(name, c["mark"], "Y", "P", "R", "-")
			if c["result"] != "not-run" {
				need = append(need, "how")
				if name == "guard" {
					need = append(need, "topology", "residual")
					word(name, c["topology"], "sole-path", "bypassable")
					word(name, c["residual"], "succeeded", "failed")
				}
			}
			keys(name, c, need...)
			if promised, ok := c["promised"].(bool); !ok || promised != (c["mark"] == "Y") {
				t.Errorf("%s: promised is %v, and the mark %v", name, c["promised"], c["mark"])
			}
		}
	}
}
