// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"fmt"
	"slices"
)

// A Gate is a condition that must hold before a release is installed.
type Gate uint8

// The gates. The first are the device's and hold everywhere, in the server and in
// the device itself; the others are for a hospital to see to.
const (
	NoGate          Gate = iota
	TherapyGate          // nothing is being given that the update would interrupt
	VersionGate          // the version that runs is one that the release is made for, and older
	HardwareGate         // so is the hardware
	PowerGate            // the battery lasts for a whole roll-back
	LinkGate             // the link is good; the wand is there
	SlotGate             // there is room, and no other version on trial
	SettingsGate         // the settings are saved, and the same still
	FreshGate            // what is known of the device is fresh, and signed
	BackupGate           // therapy in backup mode is short enough for this patient
	SupervisionGate      // who has to be there is
	ClinicianGate        // a clinician's consent
	PatientGate          // the patient's consent
	WindowGate           // a maintenance window that is long enough
	CapacityGate         // not too many of a ward at once; a spare at hand
	RingGate             // its ring's turn
	FreezeGate           // no freeze, no pause, no halt
	gateCount
)

var gates = [gateCount]string{
	"none", "therapy", "version", "hardware", "power", "link", "slot", "settings", "fresh state", "backup mode", "supervision",
	"clinician's consent", "patient's consent", "maintenance window", "ward capacity", "ring", "freeze",
}

func (g Gate) String() string { return word(gates[:], int(g)) }

// MarshalText writes the word.
func (g Gate) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads the word.
func (g *Gate) UnmarshalText(b []byte) error { return parse(g, "gate", gates[:], b) }

// Fixed reports whether nobody can relax the gate.
func (g Gate) Fixed() bool {
	return g == TherapyGate || g == VersionGate || g == HardwareGate || g == PowerGate || g == FreshGate
}

// A Wait is a gate that does not hold, and why, in words for the person who waits.
type Wait struct {
	Gate Gate   `json:"gate"`
	Why  string `json:"why"`
}

// leastLink is the quality of a link, in percent, below which nothing is switched.
const leastLink = 30

// Unmet are the demands that a state does not meet, of those that the device
// itself can judge: therapy, version, hardware, power, link, slot. What is not
// known is not met. To is the release's version, sequence its manifest's.
func (d *Demands) Unmet(s *State, to string, sequence uint64) []Wait {
	var w []Wait
	no := func(g Gate, format string, args ...any) { w = append(w, Wait{g, fmt.Sprintf(format, args...)}) }

	matters := (Never | Delivering | Dependent) &^ (d.Keeps &^ Never)
	for _, a := range (s.Doing & matters).List() {
		no(TherapyGate, "%s", a.Sentence())
	}
	for _, a := range (matters &^ s.Known &^ s.Doing).List() {
		no(TherapyGate, "the device does not say whether %s", a.Sentence())
	}
	switch {
	case s.Version == to && s.Sequence >= sequence:
		no(VersionGate, "it runs %s already", to)
	case s.Sequence >= sequence:
		no(VersionGate, "it has confirmed a later release: this would be a step back")
	case !slices.Contains(d.From, s.Version):
		no(VersionGate, "the release is not made for %s", or(s.Version, "a version that it does not say"))
	}
	if !slices.Contains(d.Hardware, s.Hardware) {
		no(HardwareGate, "the release is not made for hardware %s", or(s.Hardware, "that it does not say"))
	}
	switch { // mains can be pulled out in the middle: the battery counts all the same
	case d.Battery == 0:
	case s.Battery < 0:
		no(PowerGate, "the device does not say how full its battery is")
	case s.Battery < d.Battery:
		no(PowerGate, "its battery is at %d %%: installing, and rolling back if need be, takes up to %d %%", s.Battery, d.Battery)
	}
	switch {
	case d.Longevity == 0:
	case s.Longevity < 0:
		no(PowerGate, "the device does not say how long its battery lasts")
	case s.Longevity < d.Longevity:
		no(PowerGate, "its battery lasts %d days: the release wants %d", s.Longevity, d.Longevity)
	}
	switch {
	case d.Near && !s.Near:
		no(LinkGate, "the wand is not on the body")
	case s.Link < 0:
		no(LinkGate, "the device does not say how good its link is")
	case s.Link < leastLink:
		no(LinkGate, "its link is at %d %%: %d %% is the least", s.Link, leastLink)
	}
	switch {
	case s.Trial:
		no(SlotGate, "another version runs on trial")
	case d.Free > 0 && s.Free < d.Free && s.Staged == Digest{}:
		no(SlotGate, "there is no room to stage %d bytes", d.Free)
	}
	if s.Settings == (Digest{}) || s.Settings != s.Saved {
		no(SettingsGate, "its settings are not saved, or were changed since")
	}
	return w
}

// Raised is the stricter of each demand: what a hospital asks on top of a maker,
// whose list of versions, of hardware, and of what backup mode keeps, stand.
func (d Demands) Raised(by Demands) Demands {
	d.Backup = max(d.Backup, by.Backup)
	d.Longest = max(d.Longest, by.Longest)
	if by.Resume > 0 && (d.Resume == 0 || by.Resume < d.Resume) {
		d.Resume = by.Resume
	}
	d.Battery = max(d.Battery, by.Battery)
	d.Longevity = max(d.Longevity, by.Longevity)
	d.Free = max(d.Free, by.Free)
	d.Near = d.Near || by.Near
	d.Spare = d.Spare || by.Spare
	d.Supervision = max(d.Supervision, by.Supervision)
	return d
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
