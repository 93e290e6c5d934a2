// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"strings"
	"time"
)

// An Activity is a set of what a device does to a body, or is in the middle of.
type Activity uint16

// The activities.
const (
	Delivering  Activity = 1 << iota // therapy is being given: an infusion, a basal rate, pacing, stimulation
	Dependent                        // the patient depends on it from moment to moment: paced at every beat, a drug whose stop kills
	Bolus                            // a bolus, or priming
	Charging                         // for a shock, or inducing
	Episode                          // an arrhythmia, or low glucose, within the hours that its class names
	MRI                              // in its mode for an MR scanner
	Programming                      // somebody is changing its settings
	Alarming                         // an alarm that nobody has silenced
	activityEnd
)

// Never is what no update ever interrupts, whatever its release keeps.
const Never = Bolus | Charging | Episode | MRI | Programming | Alarming

// All is every activity.
const All = activityEnd - 1

var activities = []string{
	"therapy is being given", "the patient depends on it from moment to moment", "a bolus is being given", "a shock is being prepared",
	"an episode was hours ago", "it is in its mode for an MR scanner", "its settings are being changed", "it is alarming",
}

var activityWords = []string{"delivering", "dependent", "bolus", "charging", "episode", "mri", "programming", "alarming"}

// List is each activity of the set by itself, lowest first.
func (a Activity) List() []Activity {
	var list []Activity
	for i := range activityWords {
		if b := Activity(1) << i; a&b != 0 {
			list = append(list, b)
		}
	}
	return list
}

// Sentence says of one activity what a nurse would say of it.
func (a Activity) Sentence() string {
	for i, s := range activities {
		if a == 1<<i {
			return s
		}
	}
	return "?"
}

func (a Activity) String() string {
	var w []string
	for i, s := range activityWords {
		if a&(1<<i) != 0 {
			w = append(w, s)
		}
	}
	return strings.Join(w, " ")
}

// MarshalText writes the words, with a space between.
func (a Activity) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the words.
func (a *Activity) UnmarshalText(b []byte) error {
	*a = 0
next:
	for w := range strings.FieldsSeq(string(b)) {
		for i, s := range activityWords {
			if w == s {
				*a |= 1 << i
				continue next
			}
		}
		return errors.New("an activity is none of the words that are known")
	}
	return nil
}

// A State is how a device says that it is, at one moment, signed by it or by the
// gateway that speaks for it. With a Result it is a receipt.
//
// What it does not know it says so: an activity that is not in Known, a number
// below zero.
type State struct {
	Device   string `json:"device"` // device.Device's id; never a serial number
	Hardware string `json:"hardware"`
	Version  string `json:"version"`
	Sequence uint64 `json:"sequence"` // confirmed: nothing lower is ever installed
	Count    uint64 `json:"count"`    // rises with each State of the device, over restarts too

	// Echo is the Challenge of the last Answer, which is how the server knows how
	// old the state is without a clock in the device; Nonce, when it is not nil,
	// asks for a signed answer, which is how the device knows the time.
	Echo  []byte `json:"-"`
	Nonce []byte `json:"-"`

	Doing     Activity `json:"doing"`
	Known     Activity `json:"known"`     // the activities that it can tell of
	Battery   int      `json:"battery"`   // percent; -1 unknown
	Mains     bool     `json:"mains"`     // the power is not from the battery
	Longevity int      `json:"longevity"` // days; -1 unknown, or a battery that is charged
	Link      int      `json:"link"`      // quality in percent; -1 unknown
	Near      bool     `json:"near"`      // the wand is on the body
	Free      int64    `json:"free"`      // bytes to stage in; -1 unknown
	Settings  Digest   `json:"settings"`  // of what is programmed
	Saved     Digest   `json:"saved"`     // of the settings that were saved off the device; zero is none

	Slot   string  `json:"slot"`             // that runs: "A" or "B"
	Trial  bool    `json:"trial"`            // it runs on trial, not confirmed
	Staged Digest  `json:"staged"`           // the envelope that is staged whole, and verified
	Bytes  int64   `json:"bytes,omitempty"`  // staged so far
	Result *Result `json:"result,omitempty"` // how the last update ended; nil: none since it was acknowledged
}

// An Outcome is how an update ended.
type Outcome uint8

// The outcomes. Only Installed is a success.
const (
	NoOutcome    Outcome = iota
	Installed            // confirmed: resumed, settings equal, self-test passed, in time
	FellBack             // the old version runs again
	Refused              // by the device, before anything was written over: signature, digest, version, gate
	LostSettings         // it runs, and its settings are not what they were
	LostFunction         // therapy is not given as before
	Withdrawn            // by a person, or by a halt, before the switch
	Unable               // it cannot be updated: another control holds instead, and somebody owns it
	outcomeCount
)

var outcomes = [outcomeCount]string{"none", "installed", "fell back", "refused", "settings lost", "loss of function", "withdrawn", "cannot be updated"}

func (o Outcome) String() string { return word(outcomes[:], int(o)) }

// MarshalText writes the word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the word.
func (o *Outcome) UnmarshalText(b []byte) error { return parse(o, "outcome", outcomes[:], b) }

// A Result is how an update ended.
type Result struct {
	Envelope Digest        `json:"envelope"`
	Offer    uint64        `json:"offer"`   // number of the offer that it was installed under
	Version  string        `json:"version"` // that runs now
	Outcome  Outcome       `json:"outcome"`
	Resumed  bool          `json:"resumed"`  // therapy was seen resumed
	SelfTest bool          `json:"selfTest"` // passed
	Before   Digest        `json:"before"`   // settings
	After    Digest        `json:"after"`
	Took     time.Duration `json:"took"` // from the switch until the end
	Reason   string        `json:"reason,omitempty"`
}

// reasons are what a device may say for others to repeat it: the agent's own words.
var reasons = []string{
	"the offer is void", "its self-test failed", "its settings are not what they were", "therapy was not seen resumed in time", "it took too long",
	"the boot record cannot be written", "changed between the switch and the start", "it did not confirm itself", "after it was staged", "there is no way back",
	"other bytes than those that were offered", "the slot holds something else than what was verified", "the image does not fit into its slot",
	"a delta of another image than the manifest's", "the manifest is not of the release that was offered", "the manifest installs no firmware",
	"a path that leads out of the release's folder", "digest of other bytes", "no signature or MAC verifies with these keys", "not supported", "over the limit",
	"is for another product", "the release is not made for", "this would be a step back",
}

// Said is what of the Reason may be told on. It is a text of the device, in which a
// self-test or a hook can say anything, a patient's name too: so what is known of it is
// repeated, and nothing else.
func (r *Result) Said() string {
	var said []string
	for _, s := range reasons {
		if strings.Contains(r.Reason, s) {
			said = append(said, s)
		}
	}
	if said == nil && r.Reason != "" {
		return "for a reason that is in its receipt"
	}
	return strings.Join(said, ": ")
}

// Judge is the outcome that a result's own evidence bears out: a device that
// calls itself updated while therapy was not resumed, in time, has lost its
// function, and one whose settings differ has lost them.
func (r *Result) Judge(d *Demands) Outcome {
	switch {
	case r.Outcome != Installed && r.Outcome != FellBack:
		return r.Outcome
	case !r.Resumed || !r.SelfTest || d.Resume > 0 && r.Took > d.Resume:
		return LostFunction
	case r.Before != r.After || r.Before == Digest{}:
		return LostSettings
	}
	return r.Outcome
}
