// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package risk orders findings by what they could do to a patient, with
// published tables and no number of its own: CISA's SSVC table decides
// ([Decide]), CERT/CC's Deployer tree stands beside it ([Deploy]). Everything
// is a pure function of the answers.
//
// The tables are those of the SSVC project, CISA Coordinator 2.0.3, Deployer
// Patch Application Priority 1.0.0 and Human Impact 1.0.0. What SSVC leaves to
// its user is stated here:
//
//   - Mission and well-being follow from the worst credible harm of a finding
//     ([WellBeingOf]). SSVC's public well-being looks at populations; we count
//     irreversible harm to a single patient as high. That is a deviation.
//   - Human impact follows from it too ([HumanImpactOf]). SSVC's safety impact
//     keeps "catastrophic" for several deaths; we count one. The same deviation.
//   - Harm that is not known is in the middle of both, never at the bottom.
//   - What was published of a weakness answers exploitation, automatable and
//     technical impact where it can, and says whose harm it has ([AnswersOf],
//     [ReachOf]). An EPSS score never sets exploitation.
//   - CISA's BOD 26-04 ([DeadlineOf]) has no question about harm, so it decides
//     nothing here.
//
// This API follows the server and may change.
package risk

import (
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
)

// Exploitation is SSVC's Exploitation 1.1.0. Without a CVE, something that
// happens (a scan, a replay) is Active, and a weakness that a public catalogue
// shows is a PublicPoC.
type Exploitation uint8

// The values of Exploitation.
const (
	NoExploitation Exploitation = iota
	PublicPoC
	Active
)

// Exposure is SSVC's System Exposure 1.0.1.
type Exposure uint8

// The values of Exposure.
const (
	Small Exposure = iota
	Controlled
	Open
)

// WellBeing is CISA's Mission and Well-Being Impact 1.0.0.
type WellBeing uint8

// The values of WellBeing.
const (
	LowWellBeing WellBeing = iota
	MediumWellBeing
	HighWellBeing
)

// Safety is SSVC's Safety Impact 2.0.1.
type Safety uint8

// The values of Safety.
const (
	NegligibleSafety Safety = iota
	MarginalSafety
	CriticalSafety
	CatastrophicSafety
)

// Mission is SSVC's Mission Impact 2.0.0; MEF is a mission-essential function.
type Mission uint8

// The values of Mission.
const (
	Degraded Mission = iota
	MEFSupportCrippled
	MEFFailure
	MissionFailure
)

// HumanImpact is SSVC's Human Impact 2.0.2.
type HumanImpact uint8

// The values of HumanImpact.
const (
	LowHuman HumanImpact = iota
	MediumHuman
	HighHuman
	VeryHighHuman
)

// Action is what the Deployer tree answers, in the order of urgency.
type Action uint8

// The values of Action.
const (
	Defer Action = iota
	Scheduled
	OutOfCycle
	Immediate
)

// The names, in SSVC's own spelling.
var (
	exploitations = [...]string{"none", "public poc", "active"}
	exposures     = [...]string{"small", "controlled", "open"}
	wellBeings    = [...]string{"low", "medium", "high"}
	safeties      = [...]string{"negligible", "marginal", "critical", "catastrophic"}
	missions      = [...]string{"degraded", "mef support crippled", "mef failure", "mission failure"}
	humanImpacts  = [...]string{"low", "medium", "high", "very high"}
	actions       = [...]string{"defer", "scheduled", "out-of-cycle", "immediate"}
	yesNo         = [...]string{"no", "yes"}
	technical     = [...]string{"partial", "total"}
)

func name[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return ""
}

func (e Exploitation) String() string { return name(exploitations[:], e) }
func (e Exposure) String() string     { return name(exposures[:], e) }
func (w WellBeing) String() string    { return name(wellBeings[:], w) }
func (s Safety) String() string       { return name(safeties[:], s) }
func (m Mission) String() string      { return name(missions[:], m) }
func (h HumanImpact) String() string  { return name(humanImpacts[:], h) }
func (a Action) String() string       { return name(actions[:], a) }

// ParseExploitation is the inverse of [Exploitation.String].
func ParseExploitation(s string) (Exploitation, bool) {
	for i, n := range exploitations {
		if n == s {
			return Exploitation(i), true
		}
	}
	return NoExploitation, false
}

// Answers are the answers to the questions of both tables.
type Answers struct {
	Exploitation Exploitation
	Automatable  bool
	Total        bool // technical impact: total, else partial
	WellBeing    WellBeing
	Exposure     Exposure
	HumanImpact  HumanImpact
}

// index returns 1 for true.
func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

const (
	track    = finding.Track
	trackMax = finding.TrackStar
	attend   = finding.Attend
	act      = finding.Act
)

// coordinator is CISA's table: exploitation, automatable, technical impact
// (partial, total), mission and well-being (low, medium, high).
var coordinator = [3][2][2][3]finding.Decision{
	NoExploitation: {
		{{track, track, track}, {track, track, trackMax}},
		{{track, track, attend}, {track, track, attend}},
	},
	PublicPoC: {
		{{track, track, trackMax}, {track, trackMax, attend}},
		{{track, track, attend}, {track, trackMax, attend}},
	},
	Active: {
		{{track, track, attend}, {track, attend, act}},
		{{attend, attend, act}, {attend, act, act}},
	},
}

// deployer is CERT/CC's table: exploitation, exposure, automatable, human
// impact (low, medium, high, very high).
var deployer = [3][3][2][4]Action{
	NoExploitation: {
		Small:      {{Defer, Defer, Scheduled, Scheduled}, {Defer, Scheduled, Scheduled, Scheduled}},
		Controlled: {{Defer, Scheduled, Scheduled, Scheduled}, {Scheduled, Scheduled, Scheduled, Scheduled}},
		Open:       {{Defer, Scheduled, Scheduled, Scheduled}, {Scheduled, Scheduled, Scheduled, OutOfCycle}},
	},
	PublicPoC: {
		Small:      {{Defer, Scheduled, Scheduled, Scheduled}, {Scheduled, Scheduled, Scheduled, Scheduled}},
		Controlled: {{Defer, Scheduled, Scheduled, Scheduled}, {Scheduled, Scheduled, Scheduled, OutOfCycle}},
		Open:       {{Scheduled, Scheduled, Scheduled, OutOfCycle}, {Scheduled, Scheduled, OutOfCycle, OutOfCycle}},
	},
	Active: {
		Small:      {{Scheduled, Scheduled, OutOfCycle, OutOfCycle}, {Scheduled, OutOfCycle, OutOfCycle, OutOfCycle}},
		Controlled: {{Scheduled, Scheduled, OutOfCycle, OutOfCycle}, {OutOfCycle, OutOfCycle, OutOfCycle, OutOfCycle}},
		Open:       {{Scheduled, OutOfCycle, OutOfCycle, Immediate}, {OutOfCycle, OutOfCycle, Immediate, Immediate}},
	},
}

// humanImpact joins safety and mission impact.
var humanImpact = [4][4]HumanImpact{
	NegligibleSafety:   {LowHuman, LowHuman, MediumHuman, VeryHighHuman},
	MarginalSafety:     {LowHuman, LowHuman, MediumHuman, VeryHighHuman},
	CriticalSafety:     {MediumHuman, HighHuman, HighHuman, VeryHighHuman},
	CatastrophicSafety: {VeryHighHuman, VeryHighHuman, VeryHighHuman, VeryHighHuman},
}

// Decide returns what CISA's table says. An answer outside its values counts
// as the worst one.
func Decide(a Answers) finding.Decision {
	return coordinator[min(a.Exploitation, Active)][index(a.Automatable)][index(a.Total)][min(a.WellBeing, HighWellBeing)]
}

// Deploy returns what the Deployer tree says. An answer outside its values
// counts as the worst one.
func Deploy(a Answers) Action {
	return deployer[min(a.Exploitation, Active)][min(a.Exposure, Open)][index(a.Automatable)][min(a.HumanImpact, VeryHighHuman)]
}

// JoinHumanImpact returns SSVC's join of safety and mission impact.
func JoinHumanImpact(s Safety, m Mission) HumanImpact {
	return humanImpact[min(s, CatastrophicSafety)][min(m, MissionFailure)]
}

// An impact is what a harm means in SSVC's words.
type impact struct {
	wellBeing WellBeing
	safety    Safety
	mission   Mission
}

// impacts maps harm to SSVC. A device that injures a patient fails the
// hospital's essential function, which is to treat her. Critical harm is
// permanent or threatens life: irreversible, and so high.
var impacts = [...]impact{
	device.NoHarm:       {MediumWellBeing, MarginalSafety, MEFFailure}, // not known, so not harmless
	device.Negligible:   {LowWellBeing, NegligibleSafety, Degraded},
	device.Minor:        {LowWellBeing, NegligibleSafety, Degraded},
	device.Serious:      {MediumWellBeing, MarginalSafety, MEFFailure},
	device.Critical:     {HighWellBeing, CriticalSafety, MEFFailure},
	device.Catastrophic: {HighWellBeing, CatastrophicSafety, MEFFailure},
}

// WellBeingOf returns the mission and well-being impact of a harm: low for
// negligible and minor, medium for serious (material, in CISA's words) and
// unknown, high for critical and catastrophic (irreversible).
func WellBeingOf(h device.Harm) WellBeing { return impacts[min(h, device.Catastrophic)].wellBeing }

// HumanImpactOf returns the human impact of a harm: low for negligible and
// minor, medium for serious and unknown, high for critical, very high for
// catastrophic.
func HumanImpactOf(h device.Harm) HumanImpact {
	i := impacts[min(h, device.Catastrophic)]
	return JoinHumanImpact(i.safety, i.mission)
}

// infoOf describes a kind; nothing is said of one that does not exist.
func infoOf(k finding.Kind) (info finding.KindInfo) {
	if int(k) < len(finding.Kinds) {
		info = finding.Kinds[k]
	}
	return info
}

// AnswersFor returns the answers for a kind of finding with a harm, on a device
// exposed like that. Where the kind's exploitation is none of SSVC's words it
// counts as active, so that a slip makes noise and not silence.
func AnswersFor(k finding.Kind, h device.Harm, e Exposure) Answers {
	info := infoOf(k)
	x, ok := ParseExploitation(info.Exploitation)
	if !ok {
		x = Active
	}
	return Answers{
		Exploitation: x, Automatable: info.Automatable, Total: info.Total,
		WellBeing: WellBeingOf(h), Exposure: e, HumanImpact: HumanImpactOf(h),
	}
}

// SSVC returns the answers, and the Deployer's action, in SSVC's words.
func (a Answers) SSVC() finding.SSVC {
	return finding.SSVC{
		Exploitation:     a.Exploitation.String(),
		Automatable:      yesNo[index(a.Automatable)],
		TechnicalImpact:  technical[index(a.Total)],
		MissionWellBeing: a.WellBeing.String(),
		Exposure:         a.Exposure.String(),
		HumanImpact:      a.HumanImpact.String(),
		Action:           Deploy(a).String(),
	}
}
