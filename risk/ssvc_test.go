// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package risk

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

func ExampleDecide() {
	a := AnswersFor(finding.TherapyCommandUnauthenticated, device.Catastrophic, Controlled)
	fmt.Println(Decide(a), Deploy(a))
	fmt.Println(a.SSVC().MissionWellBeing, a.SSVC().HumanImpact)
	// Output:
	// attend scheduled
	// high very high
}

// table reads one of the SSVC project's own tables.
func table(t *testing.T, file string, rows int) [][]string {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "matching", "ssvc", file)
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		t.Skipf("the SSVC project's %s is not beside the repository (../shared/matching/ssvc)", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != rows+1 {
		t.Fatalf("%s has %d rows, want %d", file, len(records)-1, rows)
	}
	return records[1:]
}

func TestDecideAgainstTable(t *testing.T) {
	seen := map[Answers]bool{}
	for _, r := range table(t, "cisa_coordinator_2_0_3.csv", 36) {
		a := Answers{
			Exploitation: Exploitation(slices.Index(exploitations[:], r[1])),
			Automatable:  r[2] == "yes", Total: r[3] == "total",
			WellBeing: WellBeing(slices.Index(wellBeings[:], r[4])),
		}
		seen[a] = true
		if got := Decide(a); got.String() != r[5] {
			t.Errorf("row %s: %v, want %s", r[0], got, r[5])
		}
		if s := a.SSVC(); s.Exploitation != r[1] || s.Automatable != r[2] || s.TechnicalImpact != r[3] || s.MissionWellBeing != r[4] {
			t.Errorf("row %s: its words are %+v", r[0], s)
		}
	}
	if len(seen) != 36 {
		t.Errorf("%d combinations of answers were checked, want 36", len(seen))
	}
}

func TestDeployAgainstTable(t *testing.T) {
	seen := map[Answers]bool{}
	for _, r := range table(t, "deployer_patch_application_priority_1_0_0.csv", 72) {
		a := Answers{
			Exploitation: Exploitation(slices.Index(exploitations[:], r[1])),
			Exposure:     Exposure(slices.Index(exposures[:], r[2])),
			Automatable:  r[3] == "yes",
			HumanImpact:  HumanImpact(slices.Index(humanImpacts[:], r[4])),
		}
		seen[a] = true
		if got := Deploy(a); got.String() != r[5] {
			t.Errorf("row %s: %v, want %s", r[0], got, r[5])
		}
		if s := a.SSVC(); s.Exposure != r[2] || s.HumanImpact != r[4] || s.Action != r[5] {
			t.Errorf("row %s: its words are %+v", r[0], s)
		}
	}
	if len(seen) != 72 {
		t.Errorf("%d combinations of answers were checked, want 72", len(seen))
	}
}

func TestJoinHumanImpactAgainstTable(t *testing.T) {
	for _, r := range table(t, "human_impact_1_0_0.csv", 16) {
		s, m := Safety(slices.Index(safeties[:], r[1])), Mission(slices.Index(missions[:], r[2]))
		if got := JoinHumanImpact(s, m); got.String() != r[3] || s.String() != r[1] || m.String() != r[2] {
			t.Errorf("row %s: %v, want %s", r[0], got, r[3])
		}
	}
}

// The corners of CISA's table, and the sentence about act, stand here for
// whoever has no copy of the tables: act only when exploitation is active and
// total and high, or automatable and high, or automatable, total and medium.
func TestWhenToAct(t *testing.T) {
	for x := NoExploitation; x <= Active; x++ {
		for w := LowWellBeing; w <= HighWellBeing; w++ {
			for i := range 4 {
				a := Answers{Exploitation: x, Automatable: i&1 != 0, Total: i&2 != 0, WellBeing: w}
				want := x == Active && (a.Total && w == HighWellBeing || a.Automatable && w == HighWellBeing || a.Automatable && a.Total && w == MediumWellBeing)
				if got := Decide(a) == finding.Act; got != want {
					t.Errorf("%+v: act is %v", a, got)
				}
			}
		}
	}
	if got := Decide(Answers{}); got != finding.Track {
		t.Errorf("nothing at all is %v", got)
	}
}

func TestHarm(t *testing.T) {
	for _, test := range []struct {
		harm  device.Harm
		well  string
		human string
	}{
		{device.NoHarm, "medium", "medium"},
		{device.Negligible, "low", "low"},
		{device.Minor, "low", "low"},
		{device.Serious, "medium", "medium"},
		{device.Critical, "high", "high"},
		{device.Catastrophic, "high", "very high"},
		{device.Harm(99), "high", "very high"},
	} {
		if w, h := WellBeingOf(test.harm), HumanImpactOf(test.harm); w.String() != test.well || h.String() != test.human {
			t.Errorf("%v: well-being %v, human impact %v", test.harm, w, h)
		}
	}
}

// Every kind of finding has exploitation in SSVC's words.
func TestAnswersFor(t *testing.T) {
	for k := range finding.Kinds {
		info := finding.Kinds[k]
		if _, ok := ParseExploitation(info.Exploitation); !ok && info.Name != "" {
			t.Errorf("%s: exploitation is %q", info.Name, info.Exploitation)
		}
	}
	if a := AnswersFor(finding.Kind(250), device.Serious, Open); a.Exploitation != Active {
		t.Errorf("an unknown kind has exploitation %v", a.Exploitation)
	}
	a := AnswersFor(finding.TherapyCommandReplayed, device.Catastrophic, Open)
	if Decide(a) != finding.Act || Deploy(a) != Immediate {
		t.Errorf("a replayed therapy command is %v, %v", Decide(a), Deploy(a))
	}
}

// A worse answer never makes a finding less urgent.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) Answers {
			return Answers{
				Exploitation: Exploitation(rapid.IntRange(0, 4).Draw(t, label+" exploitation")),
				Automatable:  rapid.Bool().Draw(t, label+" automatable"),
				Total:        rapid.Bool().Draw(t, label+" total"),
				WellBeing:    WellBeing(rapid.IntRange(0, 4).Draw(t, label+" well-being")),
				Exposure:     Exposure(rapid.IntRange(0, 4).Draw(t, label+" exposure")),
				HumanImpact:  HumanImpact(rapid.IntRange(0, 5).Draw(t, label+" human impact")),
			}
		}
		a, b := draw("a"), draw("b")
		worse := Answers{
			max(a.Exploitation, b.Exploitation), a.Automatable || b.Automatable, a.Total || b.Total,
			max(a.WellBeing, b.WellBeing), max(a.Exposure, b.Exposure), max(a.HumanImpact, b.HumanImpact),
		}
		if Decide(worse) < Decide(a) || Deploy(worse) < Deploy(a) {
			t.Fatalf("%+v is %v, %v; the worse %+v is %v, %v", a, Decide(a), Deploy(a), worse, Decide(worse), Deploy(worse))
		}
	})
}
