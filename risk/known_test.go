// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

func ExampleSettle() {
	f := finding.Finding{
		Kind: finding.VulnerableProduct, Confidence: device.High, Certainty: finding.Exact,
		CVE:  []string{"CVE-2026-1001"},
		CVSS: []finding.Score{{Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:H/A:N"}},
	}
	f.Harm, f.Privacy = HarmOf(&f, device.Catastrophic)
	Settle(&f, Controlled, false)
	fmt.Println(f.Harm, f.Decision)
	f.KEV = true
	Settle(&f, Controlled, false)
	fmt.Println(f.Decision, f.SSVC.From.Exploitation, f.SSVC.From.Automatable)
	// Output:
	// catastrophic attend
	// act KEV CVSS
}

// The vectors of the tests: all is lost and anybody takes it; nobody in
// particular, but with help; disclosure; something is altered.
const (
	worm      = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	lure      = "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H"
	leak      = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
	scratch   = "CVSS:3.1/AV:A/AC:L/PR:L/UI:N/S:U/C:N/I:L/A:N"
	stop      = "CVSS:3.1/AV:A/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
	attacked  = "CVSS:4.0/AV:L/AC:L/AT:N/PR:H/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N/E:A"
	published = "CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:N/I:N/A:L/E:P"
	unproven  = "CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:N/I:N/A:L/E:U"
	nobody    = "CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:N/I:N/A:N"
)

func about(k finding.Kind, vectors ...string) finding.Finding {
	f := finding.Finding{Kind: k, Confidence: device.High, Certainty: finding.Exact}
	for _, v := range vectors {
		f.CVSS = append(f.CVSS, finding.Score{Vector: v})
	}
	return f
}

// Where each answer comes from: kind, vectors, CISA's container, KEV.
func TestAnswersOf(t *testing.T) {
	none := finding.SSVC{}
	for _, tt := range []struct {
		name   string
		kind   finding.Kind
		cvss   []string
		rubric string
		adp    finding.SSVC
		kev    bool
		want   string
	}{
		{"nothing but the kind", finding.VulnerableProduct, nil, "", none, false, "none no partial; , , "},
		{"a kind that says the worst", finding.KnownExploited, nil, "", none, false, "active yes total; , , "},
		{"a vector", finding.VulnerableProduct, []string{worm}, "", none, false, "none yes total; , CVSS, CVSS"},
		{"a vector against the kind", finding.KnownExploited, []string{scratch}, "", none, true, "active no partial; KEV, CVSS, CVSS"},
		{"the worst of vectors", finding.VulnerableProduct, []string{leak, lure, scratch}, "", none, false, "none yes total; , CVSS, CVSS"},
		{"what is no vector", finding.VulnerableProduct, []string{"9.8", ""}, "", none, false, "none no partial; , , "},
		{"an attack by CVSS", finding.VulnerableProduct, []string{published, attacked}, "", none, false, "active no partial; CVSS, CVSS, CVSS"},
		{"a proof by CVSS", finding.VulnerableProduct, []string{published, unproven}, "", none, false, "public poc no partial; CVSS, CVSS, CVSS"},
		{"no proof by CVSS", finding.VulnerableProduct, []string{unproven}, "", none, false, "none no partial; CVSS, CVSS, CVSS"},
		{"the rubric", finding.VulnerableProduct, []string{scratch}, nothing, none, false, "none yes partial; , rubric, rubric"},
		{"the rubric and a worse vector", finding.VulnerableProduct, []string{worm}, nothing, none, false, "none yes total; , rubric, CVSS"},
		{"CISA against a vector", finding.VulnerableProduct, []string{worm}, "", ADP("PoC", "No", "Partial"), false, "public poc no partial; ADP, ADP, ADP"},
		{"CISA in part", finding.VulnerableProduct, []string{worm}, "", ADP("none", "", "perhaps"), false, "none yes total; ADP, CVSS, CVSS"},
		{"KEV against CISA", finding.VulnerableProduct, []string{scratch}, "", ADP("none", "yes", "total"), true, "active yes total; KEV, ADP, ADP"},
		{"a kind that was seen", finding.ScanHorizontal, nil, "", none, false, "active yes partial; , , "},
	} {
		f := about(tt.kind, tt.cvss...)
		f.Rubric, f.SSVC, f.KEV = tt.rubric, tt.adp, tt.kev
		for range 2 { // a second time nothing changes
			Settle(&f, Controlled, false)
			s := f.SSVC
			got := fmt.Sprintf("%s %s %s; %s, %s, %s", s.Exploitation, s.Automatable, s.TechnicalImpact, s.From.Exploitation, s.From.Automatable, s.From.TechnicalImpact)
			if got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	}
}

func TestSettleDoubts(t *testing.T) {
	certain := about(finding.KnownExploited, worm)
	certain.Harm, certain.KEV = device.Catastrophic, true
	review, low := certain, certain
	review.Certainty, low.Confidence = finding.Review, device.Low
	for _, tt := range []struct {
		f     finding.Finding
		want  finding.Decision
		doubt string
	}{
		{certain, finding.Act, ""},
		{review, finding.Attend, "review"},
		{low, finding.Attend, "confidence"},
	} {
		Settle(&tt.f, Open, false)
		x := Explain(&tt.f)
		if tt.f.Decision != tt.want || x.Level != finding.Act || !strings.Contains(x.Doubt, tt.doubt) || (x.Doubt == "") != (tt.doubt == "") {
			t.Errorf("%v, by the table %v, %q; want %v, %q", tt.f.Decision, x.Level, x.Doubt, tt.want, tt.doubt)
		}
	}
}

func TestHarmOf(t *testing.T) {
	body := strings.Replace(nothing, "XAT:N", "XAT:L", 1)
	keys := strings.Replace(strings.Replace(nothing, "XCS:N", "XCS:H", 1), "XIS:N", "XIS:H", 1)
	read := strings.Replace(nothing, "XCP:N", "XCP:L", 1)
	for _, tt := range []struct {
		name      string
		kind      finding.Kind
		component string
		cvss      []string
		rubric    string
		worst     device.Harm
		want      string
	}{
		{"a product, no vector", finding.VulnerableProduct, "", nil, "", device.Catastrophic, "catastrophic false"},
		{"a product's disclosure", finding.VulnerableProduct, "", []string{leak}, "", device.Catastrophic, "negligible true"},
		{"a product stopped", finding.VulnerableProduct, "", []string{stop}, "", device.Critical, "critical false"},
		{"a product altered a little", finding.VulnerableProduct, "", []string{scratch}, "", device.Critical, "serious false"},
		{"the worst of vectors", finding.VulnerableProduct, "", []string{leak, scratch, stop}, "", device.Critical, "critical false"},
		{"nothing is lost", finding.VulnerableProduct, "", []string{nobody}, "", device.Critical, "negligible false"},
		{"a component, no vector", finding.VulnerableComponent, "zlib 1.2.11", nil, "", device.Critical, "serious false"},
		{"a component taken", finding.VulnerableComponent, "zlib 1.2.11", []string{worm}, "", device.Critical, "critical false"},
		{"a component stopped", finding.VulnerableComponent, "zlib 1.2.11", []string{stop}, "", device.Critical, "serious false"},
		{"a component's disclosure", finding.KnownExploited, "zlib 1.2.11", []string{leak}, "", device.Critical, "negligible true"},
		{"people can be hurt", finding.VulnerableComponent, "rtos 3", []string{attacked + "/S:P"}, "", device.Critical, "critical false"},
		{"the rubric: therapy", finding.VulnerableComponent, "rtos 3", []string{leak}, body, device.Critical, "critical false"},
		{"the rubric: keys", finding.VulnerableProduct, "", []string{worm}, keys, device.Critical, "serious false"},
		{"the rubric: disclosure", finding.VulnerableProduct, "", []string{worm}, read, device.Critical, "negligible true"},
		{"harm that is not known", finding.VulnerableComponent, "x", nil, "", device.NoHarm, " false"},
		{"below negligible is nothing", finding.UnsupportedProduct, "", nil, "", device.Negligible, "negligible false"},
		{"papers", finding.SBOMMissing, "", nil, "", device.Catastrophic, "negligible false"},
		{"a recall", finding.RecalledProduct, "", nil, "", device.Serious, "serious false"},
		{"what was seen", finding.PHIInClear, "", nil, "", device.Critical, "negligible true"},
		{"what was seen, with a vector", finding.ExploitAttempt, "", []string{leak}, "", device.Critical, "critical false"},
	} {
		f := about(tt.kind, tt.cvss...)
		f.Component, f.Rubric = tt.component, tt.rubric
		harm, privacy := HarmOf(&f, tt.worst)
		if got := fmt.Sprint(harm, " ", privacy); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// The order is decision, harm, EPSS; it is an order; and EPSS decides nothing.
func TestCompare(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) finding.Finding {
		return finding.Finding{
			Decision: finding.Decision(rapid.IntRange(0, 3).Draw(t, "decision")),
			Harm:     device.Harm(rapid.IntRange(0, 5).Draw(t, "harm")),
			EPSS:     rapid.SampledFrom([]float64{0, 5e-05, 0.02, 0.9, 1}).Draw(t, "EPSS"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := draw.Draw(t, "x"), draw.Draw(t, "y"), draw.Draw(t, "z")
		if Compare(&x, &y) != -Compare(&y, &x) || Compare(&x, &y) <= 0 && Compare(&y, &z) <= 0 && Compare(&x, &z) > 0 {
			t.Fatal("no order")
		}
		before := x.Decision > y.Decision || x.Decision == y.Decision && x.Harm > y.Harm ||
			x.Decision == y.Decision && x.Harm == y.Harm && x.EPSS != y.EPSS && (x.EPSS == 0 || y.EPSS != 0 && x.EPSS > y.EPSS)
		if (Compare(&x, &y) < 0) != before {
			t.Fatalf("%+v and %+v: %d", x, y, Compare(&x, &y))
		}
		x.Kind = finding.VulnerableProduct
		z = x
		z.EPSS = 0.97
		Settle(&x, Controlled, false)
		Settle(&z, Controlled, false)
		if x.Decision != z.Decision || x.SSVC != z.SSVC {
			t.Fatalf("EPSS changed %+v to %+v", x.SSVC, z.SSVC)
		}
	})
}

func TestDeadlineAgainstTable(t *testing.T) {
	for i, r := range table(t, "cisa_bod_26_04_1_0_0.csv", 16) {
		a := Answers{Automatable: r[3] == "yes", Total: r[4] == "total", Exposure: Controlled}
		if r[2] == "yes" {
			a.Exposure = Open
		}
		if got := DeadlineOf(r[1] == "yes", a); got.String() != r[5] {
			t.Errorf("row %d: %v, want %s", i, got, r[5])
		}
	}
	// What stands here for whoever has no copy of the table.
	for kev, want := range map[bool]Deadline{false: OnUpgrade, true: In14Days} {
		if got := DeadlineOf(kev, Answers{}); got != want {
			t.Errorf("at least, KEV %v: %v", kev, got)
		}
	}
	if got := DeadlineOf(true, Answers{Exposure: Open, Automatable: true, Total: true}); got != In3DaysForensics || Deadline(9).String() != "" {
		t.Errorf("at most: %v", got)
	}
}

// Explain names the rows as the SSVC project does.
func TestExplainRows(t *testing.T) {
	said := map[string]string{}
	for _, r := range table(t, "cisa_coordinator_2_0_3.csv", 36) {
		said["coordinator "+strings.Join(r[1:5], ", ")] = r[0] + " " + r[5]
	}
	for _, r := range table(t, "deployer_patch_application_priority_1_0_0.csv", 72) {
		said["deployer "+strings.Join(r[1:5], ", ")] = r[0] + " " + r[5]
	}
	for x := range 3 {
		for y := range 3 {
			for z := range 16 {
				a := Answers{
					Exploitation: Exploitation(x), Exposure: Exposure(y), Automatable: z&1 != 0, Total: z&2 != 0,
					WellBeing: WellBeing(y), HumanImpact: HumanImpact(z >> 2),
				}
				f := finding.Finding{SSVC: a.SSVC()}
				e := Explain(&f)
				s := f.SSVC
				if got, want := fmt.Sprint(e.Row, " ", e.Level), said["coordinator "+strings.Join([]string{s.Exploitation, s.Automatable, s.TechnicalImpact, s.MissionWellBeing}, ", ")]; got != want {
					t.Errorf("%+v: row %s, want %s", s, got, want)
				}
				if got, want := fmt.Sprint(e.Deployer, " ", e.Action), said["deployer "+strings.Join([]string{s.Exploitation, s.Exposure, s.Automatable, s.HumanImpact}, ", ")]; got != want {
					t.Errorf("%+v: row %s of the deployer's, want %s", s, got, want)
				}
			}
		}
	}
}

func TestExplain(t *testing.T) {
	f := about(finding.VulnerableProduct, stop)
	f.CVE, f.SSVC = []string{"CVE-2026-1001"}, ADP("none", "", "")
	f.Harm, f.Privacy = HarmOf(&f, device.Catastrophic)
	Settle(&f, Controlled, false)
	x := Explain(&f)
	want := []string{"track* if technical impact were total", "attend if automatable were yes", "track* if exploitation were public poc", "attend if exploitation were active"}
	slices.Sort(want)
	slices.Sort(x.Worse)
	if f.Decision != finding.Track || !slices.Equal(x.Worse, want) {
		t.Errorf("%v; more urgent: %q, want %q", f.Decision, x.Worse, want)
	}
	if x.Deadline != "fix on system upgrade" || x.Doubt != "" || !strings.Contains(x.Harm, "own harm") {
		t.Errorf("%+v", x)
	}
	for _, r := range x.Reasons {
		if r.Answer == "" || r.Because == "" {
			t.Errorf("%+v", r)
		}
	}
	// Whatever a saved finding says can be explained.
	x = Explain(&finding.Finding{Kind: 250, SSVC: finding.SSVC{Exploitation: "x", From: finding.Sources{Exploitation: "somebody"}}})
	if x.Level != finding.Act {
		t.Errorf("answers that are none: %v", x.Level)
	}
}
