// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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

// Gates is a set of gates.
type Gates uint32

// Gates is the set of the one.
func (g Gate) Gates() Gates { return 1 << g }

// Has reports whether the gate is in the set.
func (s Gates) Has(g Gate) bool { return s&g.Gates() != 0 }

func (s *Gates) set(g Gate, in bool) {
	if in {
		*s |= g.Gates()
	}
}

// Each yields the gates of the set in their order.
func (s Gates) Each(yield func(Gate) bool) {
	for g := NoGate + 1; g < gateCount; g++ {
		if s.Has(g) && !yield(g) {
			return
		}
	}
}

func (s Gates) String() string {
	var w []string
	for g := range s.Each {
		w = append(w, g.String())
	}
	return strings.Join(w, ", ")
}

// MarshalText writes the words, with a comma between.
func (s Gates) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the words.
func (s *Gates) UnmarshalText(b []byte) error {
	*s = 0
	if len(b) == 0 {
		return nil
	}
	for w := range strings.SplitSeq(string(b), ", ") {
		var g Gate
		if err := g.UnmarshalText([]byte(w)); err != nil || g == NoGate {
			return errors.New("a gate is none of the words that are known")
		}
		*s |= g.Gates()
	}
	return nil
}

// A Wait is a gate that does not hold, and why, in words for the person who waits.
type Wait struct {
	Gate Gate   `json:"gate"`
	Why  string `json:"why"`
}

// leastLink is the quality of a link, in percent, below which nothing is switched.
const leastLink = 30

// Unmet are the demands that a state does not meet, of those that the device
// itself can judge: therapy, version, hardware, power, link, slot, settings. What is
// not known is not met. To is the release's version, sequence its manifest's.
func (d *Demands) Unmet(s *State, to string, sequence uint64) []Wait {
	var w []Wait
	for g := range d.Shut(s, to, sequence).Each {
		w = d.why(w, g, s, to, sequence)
	}
	return w
}

// Shut are the gates of [Demands.Unmet]: without the words, which is what many
// devices are asked for. It allocates nothing.
func (d *Demands) Shut(s *State, to string, sequence uint64) (shut Gates) {
	matters := d.matters()
	shut.set(TherapyGate, s.Doing&matters != 0 || matters&^s.Known != 0)
	shut.set(VersionGate, s.Sequence >= sequence || !slices.Contains(d.From, s.Version))
	shut.set(HardwareGate, !slices.Contains(d.Hardware, s.Hardware))
	// Mains can be pulled out in the middle: the battery counts all the same.
	shut.set(PowerGate, d.Battery > 0 && s.Battery < d.Battery || d.Longevity > 0 && s.Longevity < d.Longevity)
	shut.set(LinkGate, d.Near && !s.Near || s.Link < leastLink)
	shut.set(SlotGate, s.Trial || d.Free > 0 && s.Free < d.Free && s.Staged == Digest{})
	shut.set(SettingsGate, s.Settings == Digest{} || s.Settings != s.Saved)
	return shut
}

// matters are the activities that an update must not interrupt.
func (d *Demands) matters() Activity {
	return (Never | Delivering | Dependent) &^ (d.Keeps &^ Never)
}

// why appends why a gate is shut.
func (d *Demands) why(w []Wait, g Gate, s *State, to string, sequence uint64) []Wait {
	no := func(format string, args ...any) { w = append(w, Wait{g, fmt.Sprintf(format, args...)}) }
	switch g {
	case TherapyGate:
		for _, a := range (s.Doing & d.matters()).List() {
			no("%s", a.Sentence())
		}
		for _, a := range (d.matters() &^ s.Known &^ s.Doing).List() {
			no("the device does not say whether %s", a.Sentence())
		}
	case VersionGate:
		switch {
		case s.Version == to && s.Sequence >= sequence:
			no("it runs %s already", to)
		case s.Sequence >= sequence:
			no("it has confirmed a later release: this would be a step back")
		default:
			no("the release is not made for %s", or(s.Version, "a version that it does not say"))
		}
	case HardwareGate:
		no("the release is not made for hardware %s", or(s.Hardware, "that it does not say"))
	case PowerGate:
		switch {
		case d.Battery == 0 || s.Battery >= d.Battery:
		case s.Battery < 0:
			no("the device does not say how full its battery is")
		default:
			no("its battery is at %d %%: installing, and rolling back if need be, takes up to %d %%", s.Battery, d.Battery)
		}
		switch {
		case d.Longevity == 0 || s.Longevity >= d.Longevity:
		case s.Longevity < 0:
			no("the device does not say how long its battery lasts")
		default:
			no("its battery lasts %d days: the release wants %d", s.Longevity, d.Longevity)
		}
	case LinkGate:
		switch {
		case d.Near && !s.Near:
			no("the wand is not on the body")
		case s.Link < 0:
			no("the device does not say how good its link is")
		default:
			no("its link is at %d %%: %d %% is the least", s.Link, leastLink)
		}
	case SlotGate:
		if s.Trial {
			no("another version runs on trial")
		} else {
			no("there is no room to stage %d bytes", d.Free)
		}
	case SettingsGate:
		no("its settings are not saved, or were changed since")
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
