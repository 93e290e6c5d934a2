// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a plan's zone is known on a machine that has none

	"github.com/myelin-health/myelin/patch"
)

// A Plan says how a release goes through a fleet. [ParsePlan] makes one, and nothing
// else does; in JSON it has the same keys as in YAML, and ParsePlan reads that too.
type Plan struct {
	Format   int          `json:"rollout"`           // 1
	Release  patch.Digest `json:"release,omitzero"`  // the only one that it is for; zero: any
	Executor Executor     `json:"executor"`          // who installs
	Approve  []string     `json:"approve,omitempty"` // roles that may start it and let it go on; none: every one that the server lets

	Rings  []Ring `json:"rings"`
	Bounds Bounds `json:"bounds"`

	Fresh map[string]Span `json:"fresh"` // how old a state may be, by class of device; "usual" for the others
	Poll  Span            `json:"poll"`  // how often a device asks when nothing is up
	Offer Span            `json:"offer"` // how long an offer to install holds

	Zone    string   `json:"zone"`              // time zone of windows and freezes
	Windows []Window `json:"windows,omitempty"` // none: at any time
	Freezes []Freeze `json:"freezes,omitempty"`

	Capacity int            `json:"capacity"`        // devices of a ward that are out at once, at most
	Wards    map[string]int `json:"wards,omitempty"` // the same of wards by name

	// Backup is how long therapy may be in backup mode, by how much the patient
	// depends on it, in words of the hospital's own. One whose dependency nobody
	// judged, or that is not in here, waits if the release needs any.
	Backup  map[string]Span `json:"backup,omitempty"`
	Raise   Raise           `json:"raise,omitzero"`
	Consent Consent         `json:"consent,omitzero"`
	Relax   []Relaxation    `json:"relax,omitempty"`

	zone *time.Location
}

// An Executor is who installs.
type Executor uint8

// The executors.
const (
	Agent  Executor = iota // the device itself, or its gateway
	Person                 // somebody, by a work order: done once a sensor or a signed receipt shows it
)

var executors = []string{"agent", "person"}

func (e Executor) String() string {
	if int(e) < len(executors) {
		return executors[e]
	}
	return "?"
}

// MarshalText writes the word.
func (e Executor) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads the word.
func (e *Executor) UnmarshalText(b []byte) error {
	i := slices.Index(executors, string(b))
	if i < 0 {
		return errors.New("an executor is agent or person")
	}
	*e = Executor(i)
	return nil
}

// A Ring is a stage. A device is in the first ring that takes it: one that lists it,
// or its ward, or has a share of all; a ring with none of these takes what is left.
type Ring struct {
	Name       string   `json:"name"`
	Devices    []string `json:"devices,omitempty"`    // by id
	Wards      []string `json:"wards,omitempty"`      //
	Dependency []string `json:"dependency,omitempty"` // of those, only patients who depend on it this much
	Share      int      `json:"share,omitempty"`      // percent of all devices, picked by a hash of their ids
	Least      int      `json:"least"`                // devices in it, else the roll-out does not begin; usually 1
	Finished   int      `json:"finished"`             // updated well before the next ring; usually Least
	Soak       Span     `json:"soak"`                 // and for how long after
}

// Bounds are what halts a roll-out by itself, beside loss of function and lost
// settings, of which the first does.
type Bounds struct {
	FallBack     Rate    `json:"fall-back"`
	LostSettings Rate    `json:"lost-settings"`
	Alpha        float64 `json:"alpha"`   // percent: the chance that a good release is halted
	Beta         float64 `json:"beta"`    // percent: the chance that a bad one is not, at once
	Silence      Span    `json:"silence"` // after the end of an offer, until a device that may have switched has said how it went; at least the release's Longest
	Silent       int     `json:"silent"`  // so many silent devices halt it; usually 1
}

// A Rate is what a sequential test compares, in percent.
type Rate struct {
	Usual float64 `json:"usual"` // what is to be expected
	Most  float64 `json:"most"`  // what is too much
}

// Consent is what is asked for.
type Consent struct {
	Clinician bool   `json:"clinician,omitempty"`
	Patient   bool   `json:"patient,omitempty"`
	Terms     string `json:"terms,omitempty"` // version of the text; consent to another one does not count
}

// Raise is what the hospital demands beyond the maker.
type Raise struct {
	Supervision patch.Supervision `json:"supervision,omitempty"`
	Battery     int               `json:"battery,omitempty"`   // percent
	Longevity   int               `json:"longevity,omitempty"` // days
	Spare       bool              `json:"spare,omitempty"`
	Near        bool              `json:"near,omitempty"`
}

// A Relaxation lets two people relax a gate, with a reason.
type Relaxation struct {
	Gate    patch.Gate    `json:"gate"`    // that is Relaxable
	Urgency patch.Urgency `json:"urgency"` // of the release, at least
	By      []string      `json:"by"`      // roles, of which both have one
	Most    Span          `json:"most"`    // how long it holds at most
}

// Relaxable reports whether a plan may let people relax a gate. None of those that the
// device judges, which would refuse; not its backup mode, nor who has to be there,
// which can be raised and never lowered. Of the freeze gate only a planned freeze is
// meant: no one relaxes a pause or a halt.
func Relaxable(g patch.Gate) bool {
	switch g {
	case patch.ClinicianGate, patch.PatientGate, patch.WindowGate, patch.CapacityGate, patch.RingGate, patch.FreezeGate:
		return !g.Fixed()
	}
	return false
}

// A Span is a duration that is written as text: "1h30m".
type Span time.Duration

func (s Span) String() string { return time.Duration(s).String() }

// MarshalText writes the text.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Freeze is days on which nothing is installed, the first and the last included.
type Freeze struct {
	From  string   `json:"from"` // 2026-12-20
	To    string   `json:"to"`
	Wards []string `json:"wards,omitempty"` // none: all
	Why   string   `json:"why"`

	from, to time.Time
}

// A Window is when something may be installed in some wards, by the clock on the wall.
type Window struct {
	Wards []string `json:"wards,omitempty"` // none: all
	Open  string   `json:"open"`            // "mon-fri 01:00-05:00"; one that ends before it begins lasts into the next day

	days     [7]bool // by time.Weekday
	from, to int     // minutes of the day
}

// A Unit is a device that takes part, and what the hospital knows of it.
type Unit struct {
	Device     string `json:"device"`               // its id
	Ward       string `json:"ward,omitempty"`       //
	Class      string `json:"class,omitempty"`      // "infusion pump": how fresh its state has to be
	Dependency string `json:"dependency,omitempty"` // of the patient who has it now, as a clinician judged; "" nobody did
}

// Somebody is a person who acts, as the server knows her.
type Somebody struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// read reads Open.
func (w *Window) read() error {
	bad := fmt.Errorf("a window has days and hours, such as mon-fri 01:00-05:00 or sat,sun 22:00-06:00")
	days, hours, _ := strings.Cut(w.Open, " ")
	from, to, ok := strings.Cut(hours, "-")
	for d := range strings.SplitSeq(days, ",") {
		first, last, ranged := strings.Cut(d, "-")
		i, j := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if !ranged {
			j = i
		}
		if i < 0 || j < 0 {
			return bad
		}
		for ; ; i = (i + 1) % 7 {
			w.days[i] = true
			if i == j {
				break
			}
		}
	}
	var ok1, ok2 bool
	w.from, ok1 = minuteOf(from)
	w.to, ok2 = minuteOf(to)
	if !ok || !ok1 || !ok2 || w.from == 24*60 || w.from == w.to {
		return bad
	}
	return nil
}

// minuteOf reads hh:mm; 24:00 is the end of the day.
func minuteOf(s string) (int, bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil && len(s) == 5
}

// until returns when the window ends that is open at a time in the plan's zone; zero: it
// is not open. On the nights when that clock jumps, a window is as long as it then is.
func (w *Window) until(t time.Time) time.Time {
	for back := range 2 { // that of today, that of yesterday
		y, m, d := t.Date()
		d -= back
		if !w.days[time.Date(y, m, d, 12, 0, 0, 0, t.Location()).Weekday()] {
			continue
		}
		to := w.to
		if to < w.from {
			to += 24 * 60
		}
		from := time.Date(y, m, d, 0, w.from, 0, 0, t.Location())
		end := time.Date(y, m, d, 0, to, 0, 0, t.Location())
		if !t.Before(from) && t.Before(end) {
			return end
		}
	}
	return time.Time{}
}
