// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

// A Verb is what a [Command] asks for, in one vocabulary for every protocol.
type Verb uint8

// The verbs.
const (
	NoVerb Verb = iota // unknown: an operation whose meaning was not seen
	DeliverBolus
	CancelBolus
	Prime
	StopPriming
	SetBasalRate
	SetTemporaryBasal
	CancelTemporaryBasal
	SetInfusionRate
	StopInfusion
	SetProfile
	SetClosedLoop
	Suspend
	Resume
	SetPacingMode
	SetPacingRate
	SetOutput
	SetSensitivity
	SetDetection
	SetTherapies
	EmergencyPreset // the maker's emergency pacing preset
	DeliverShock
	AbortShock // abort of a commanded shock or induction
	Induce
	SetAmplitude
	SelectProgram
	StimulationOff
	BeamOff
	SetVentilation
	Standby
	Calibrate
	ReportGlucose
	SetClock
	SetLimit
	SetAlarm
	AcknowledgeAlarm
	LoadDrugLibrary
	AssociatePatient
	DeleteRecords
	DisableRadio
	Wake
	Pair
	Install
	ReadTelemetry
	ReadSettings
	verbCount
)

var verbs = [verbCount]string{
	"", "deliver-bolus", "cancel-bolus", "prime", "stop-priming", "set-basal-rate", "set-temporary-basal",
	"cancel-temporary-basal", "set-infusion-rate", "stop-infusion", "set-profile", "set-closed-loop",
	"suspend", "resume", "set-pacing-mode", "set-pacing-rate", "set-output", "set-sensitivity",
	"set-detection", "set-therapies", "emergency-preset", "deliver-shock", "abort-shock", "induce",
	"set-amplitude", "select-program", "stimulation-off", "beam-off", "set-ventilation", "standby",
	"calibrate", "report-glucose", "set-clock", "set-limit", "set-alarm", "acknowledge-alarm",
	"load-drug-library", "associate-patient", "delete-records", "disable-radio", "wake", "pair",
	"install", "read-telemetry", "read-settings",
}

func (v Verb) String() string { return name(verbs[:], int(v)) }

// ParseVerb is the inverse of [Verb.String].
func ParseVerb(s string) (Verb, bool) {
	i, ok := parse(verbs[:], s)
	return Verb(i), ok
}

// An Effect is what a command does to the therapy. It follows from therapy,
// verb, new value and value now; see [EffectOf].
type Effect uint8

// The effects.
const (
	NoEffect   Effect = iota
	Increases         // more is delivered
	Decreases         // less is delivered
	Interrupts        // nothing is delivered
	Restores          // back to what was confirmed last
	Rescues           // in the therapy's table of rescues
	Masks             // an alarm is hidden, delayed or widened
	Loosens           // a limit allows more
	Steers            // changes an input that a closed loop uses
	Trusts            // pairs, keys or installs
	Drains            // wakes a device whose battery is in a body
	Reads
	effectCount
)

var effects = [effectCount]string{
	"", "increases", "decreases", "interrupts", "restores", "rescues", "masks", "loosens",
	"steers", "trusts", "drains", "reads",
}

func (e Effect) String() string { return name(effects[:], int(e)) }

// A Role is on whose behalf a command is sent, as proven, not as claimed.
type Role uint8

// The roles.
const (
	NoRole Role = iota
	Patient
	Carer
	Clinician
	Technician
	Emergency
	Updater
	Controller // the algorithm of an automated insulin system
)

var roles = [...]string{"", "patient", "carer", "clinician", "technician", "emergency", "updater", "controller"}

func (r Role) String() string { return name(roles[:], int(r)) }

// Protection is what protects the channel of a command. The bits are what was
// seen; none set means in clear.
type Protection uint8

// What may protect a channel.
const (
	Encrypted Protection = 1 << iota
	Authenticated
	Fresh
	Unseen // there may be more than a capture shows: a bond from before it, or protection by the application
)

// A Stage is how far a command has come.
type Stage uint8

// The stages.
const (
	NoStage   Stage = iota
	Proposed        // sent to the device, or proposed to a person at it
	Accepted        // the device answered that it will
	Delivered       // the device reported that it did
)

var stages = [...]string{"", "proposed", "accepted", "delivered"}

func (s Stage) String() string { return name(stages[:], int(s)) }

// A Verdict is what the guard said to one command.
type Verdict uint8

// The verdicts.
const (
	NoVerdict Verdict = iota
	Allow
	Hold           // until a person in a clinical role confirms it, and never longer than it says
	Deny           // the device does not see it
	AllowEmergency // by a break-glass token, within the emergency envelope
)

var verdicts = [...]string{"", "allow", "hold", "deny", "allow-emergency"}

func (v Verdict) String() string { return name(verdicts[:], int(v)) }

// ParseVerdict is the inverse of [Verdict.String].
func ParseVerdict(s string) (Verdict, bool) {
	i, ok := parse(verdicts[:], s)
	return Verdict(i), ok
}

// ParseRole is the inverse of [Role.String].
func ParseRole(s string) (Role, bool) {
	i, ok := parse(roles[:], s)
	return Role(i), ok
}

// ParseEffect is the inverse of [Effect.String].
func ParseEffect(s string) (Effect, bool) {
	i, ok := parse(effects[:], s)
	return Effect(i), ok
}

// A Command is one request to change or read a therapy.
//
// What Value and Now count is the verb's own: a rate, an amplitude, a limit.
// Of cancel-temporary-basal Value is the rate that comes back and Now the
// temporary one. A switch is 0 or 1 in the unit "1". Of set-alarm they are how
// much may pass without a sound (the width of the silent band, a delay), so
// that less is safer on either side of the band.
type Command struct {
	Verb    Verb
	Therapy Therapy
	Value   Quantity // what is asked for; zero when the verb has none
	Now     Quantity // the value that holds now; zero when unknown
	Limit   Quantity // the dose limit, volume or duration that comes with it; zero when none
	Device  string   // the device's own id as the protocol gives it (EUI-64, handle); never a serial of a body-worn device
	Actor   string   // the application or station that asks, as proven; never a person's name
	Role    Role
	Channel Protection
	Stage   Stage
	Time    int64  // nanoseconds since 1970-01-01 UTC
	Drug    string // code or generic name of the drug, or ""

	// Attended: the session proves that somebody entitled to it is with the
	// patient. Never set from what a message merely says.
	Attended bool
}
