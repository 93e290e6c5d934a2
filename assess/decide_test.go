// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// What nobody stated to be unexpected, and what is seen with low confidence,
// makes nobody drop everything.
func TestDecideWithoutExpectation(t *testing.T) {
	acts := map[bool]int{}
	for k := finding.NoKind + 1; int(k) < len(finding.Kinds); k++ {
		for harm := device.NoHarm; harm <= device.Catastrophic; harm++ {
			for confidence := device.Low; confidence <= device.High; confidence++ {
				for _, baseline := range []bool{false, true} {
					for _, peer := range []string{"10.20.8.99", "203.0.113.9", ""} {
						f := finding.Finding{Kind: k, Harm: harm, Confidence: confidence, Peer: peer}
						decide(&f, baseline)
						if f.Decision != finding.Act {
							continue
						}
						acts[baseline]++
						if confidence == device.Low || finding.Kinds[k].Unexpected && !baseline {
							t.Errorf("%v, harm %v, confidence %v, baseline %v: act", k, harm, confidence, baseline)
						}
					}
				}
			}
		}
	}
	if acts[false] == 0 || acts[true] <= acts[false] {
		t.Errorf("act %d times without a baseline and %d with one: a baseline gives more reason to", acts[false], acts[true])
	}
	// A command that a baseline does not have, to something that can kill.
	f := finding.Finding{Kind: finding.TherapyCommandUnexpectedSender, Harm: device.Catastrophic, Confidence: device.High}
	if decide(&f, true); f.Decision != finding.Act {
		t.Errorf("%v with a baseline, want act", f.Decision)
	}
	if decide(&f, false); f.Decision != finding.Attend {
		t.Errorf("%v without, want attend", f.Decision)
	}
	if f.SSVC.Exploitation != "active" || f.SSVC.MissionWellBeing != "high" {
		t.Errorf("the answers behind it: %+v", f.SSVC)
	}
}

// What need not be done now is not to be done today: an advice that hurries
// says for which decision.
func TestAdviceAgreesWithDecision(t *testing.T) {
	for k := finding.NoKind + 1; int(k) < len(finding.Kinds); k++ {
		f := finding.Finding{Kind: k, Harm: device.Negligible, Confidence: device.High}
		decide(&f, true)
		advice := finding.Kinds[k].Advice
		if f.Decision < finding.Attend && strings.Contains(advice, "today") && !strings.Contains(advice, "today where the decision is act or attend") {
			t.Errorf("%v can be %v, and says %q", k, f.Decision, advice)
		}
	}
}

// Every kind says what it is, how it hurts and what to do, in words and ids
// that are there.
func TestKindsAreComplete(t *testing.T) {
	names := map[string]bool{}
	for k := finding.NoKind + 1; int(k) < len(finding.Kinds); k++ {
		i := &finding.Kinds[k]
		if names[i.Name] || i.Title == "" || i.Why == "" || i.Advice == "" || i.Group == finding.NoGroup || len(i.CWE) == 0 || len(i.Attack) == 0 || len(i.References) == 0 {
			t.Errorf("%v: %+v", k, i)
		}
		names[i.Name] = true
		if got, ok := finding.ParseKind(i.Name); !ok || got != k {
			t.Errorf("%q is %v", i.Name, got)
		}
		// Disclosure alone hurts no body.
		if i.Group == finding.PatientData && i.Reach != finding.ReachNothing {
			t.Errorf("%v reaches a device", k)
		}
	}
}
