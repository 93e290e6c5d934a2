// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package implant

import (
	"errors"
	"fmt"
	"math"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/therapy"
	"github.com/myelin-health/myelin/patch"
)

// A Kind is which implant it is.
type Kind uint8

// The kinds.
const (
	NoKind          Kind = iota
	Pump                 // an insulin pump with a glucose sensor
	Defibrillator        // a pacemaker that is a defibrillator too
	Neurostimulator      // of the deep brain
)

var kinds = [...]string{"", "pump", "pacemaker", "neurostimulator"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return ""
}

// ParseKind is the inverse of [Kind.String].
func ParseKind(s string) (Kind, bool) {
	for i, name := range kinds {
		if name == s && s != "" {
			return Kind(i), true
		}
	}
	return NoKind, false
}

// Class is the audience of tokens for every device of a kind.
func (k Kind) Class() string {
	switch k {
	case Pump:
		return "class:insulin-pump"
	case Defibrillator:
		return "class:pacemaker"
	case Neurostimulator:
		return "class:neurostimulator"
	}
	return ""
}

// Why a command is not done, whoever asks. The text is what the peer and the log get.
var (
	errNotBuilt = errors.New("not built into this device")
	errHard     = errors.New("beyond a hard limit of the device")
	errStep     = errors.New("between the steps that the device has")
	errBusy     = errors.New("not now: another is under way")
	errNothing  = errors.New("there is nothing to cancel")
	errEmpty    = errors.New("the reservoir has not so much")
	errConfirm  = errors.New("an external defibrillator has to be confirmed at hand")
	errNever    = errors.New("never done from afar")
)

// A bound is a hard limit: no token opens it.
type bound struct {
	verb                  device.Verb
	lowest, highest, step int64 // in units of 10^exponent
	exponent              int8
	unit                  device.Unit
	note                  string
}

func (b *bound) quantity(n int64) device.Quantity {
	return device.Quantity{Coefficient: n, Exponent: b.exponent, Unit: b.unit}
}

// count returns a value as a number of the bound's units, if it is within.
func (b *bound) count(q device.Quantity) (int64, error) {
	n, err := countIn(q, b.exponent, b.unit)
	switch {
	case err != nil:
		return 0, err
	case n < b.lowest || n > b.highest:
		return 0, fmt.Errorf("%w: %v to %v", errHard, b.quantity(b.lowest), b.quantity(b.highest))
	case b.step > 1 && (n-b.lowest)%b.step != 0:
		return 0, fmt.Errorf("%w: %v", errStep, b.quantity(b.step))
	}
	return n, nil
}

// countIn returns q as a whole number of 10^exponent of a unit.
func countIn(q device.Quantity, exponent int8, unit device.Unit) (int64, error) {
	if q.IsNone() || q.Unit == device.NoUnit {
		return 0, device.ErrMissing
	}
	q, err := q.Convert(unit)
	if err != nil {
		return 0, err
	}
	n, e := q.Coefficient, int(q.Exponent)-int(exponent)
	for ; e > 0 && n != 0; e-- {
		if n > math.MaxInt64/10 || n < math.MinInt64/10 {
			return 0, errHard
		}
		n *= 10
	}
	for ; e < 0 && n != 0; e++ {
		if n%10 != 0 {
			return 0, errStep
		}
		n /= 10
	}
	return n, nil
}

func unitOf(ucum string) device.Unit {
	u, ok := device.UnitOfUCUM(ucum)
	if !ok {
		panic("implant: unit " + ucum) // of our own tables
	}
	return u
}

var (
	unitU       = unitOf("[iU]")
	unitUPerH   = unitOf("[iU]/h")
	unitMilliS  = unitOf("ms")
	unitSecond  = unitOf("s")
	unitMG      = unitOf("mg/dL")
	unitOne     = unitOf("1")
	unitPercent = unitOf("%")
	unitPPM     = unitOf("{pulses}/min")
	unitBPM     = unitOf("{beats}/min")
	unitVolt    = unitOf("V")
	unitMilliV  = unitOf("mV")
	unitMicroS  = unitOf("us")
	unitOhm     = unitOf("Ohm")
	unitJoule   = unitOf("J")
	unitMilliA  = unitOf("mA")
	unitHertz   = unitOf("Hz")
	unitMicroC  = unitOf("uC")
)

func quantity(n int64, exponent int8, u device.Unit) device.Quantity {
	return device.Quantity{Coefficient: n, Exponent: exponent, Unit: u}
}

// Times are milliseconds of the device's life, which its journal counts over restarts.
const (
	second int64 = 1000
	minute       = 60 * second
	hour         = 60 * minute
	day          = 24 * hour

	forever int64 = math.MaxInt64
)

// durationOf returns a limit in milliseconds, 0 for none.
func durationOf(q device.Quantity) (int64, error) {
	if q.IsNone() {
		return 0, nil
	}
	return countIn(q, 0, unitMilliS)
}

// A model is the therapy of one kind of implant. It knows no clock, no peers and no
// tokens: a whole number says what time it is in the device's life.
type model interface {
	// bounds are the hard limits.
	bounds() []bound

	// complete adds to a command what the device knows: its therapy, and what value
	// holds now. It is errNotBuilt for a verb that the device does not have.
	complete(c *device.Command) error

	// repeated reports whether a command is a rescue again, and has to be judged as the
	// change that it then is.
	repeated(c *device.Command) bool

	// check is nil when the hard limits and the state allow a command. It changes
	// nothing.
	check(c *device.Command, confirm bool) error

	// apply does a command that was checked.
	apply(c *device.Command)

	// advance moves the therapy on to a time, and woke says how often the radio was
	// awake since.
	advance(to int64, woke int64)

	// restart is after a loss of power, at a time that may be long after the last: what
	// may have been given counts as given, and is not given again.
	restart(to int64)

	// detached ends what holds only as long as somebody attends.
	detached()

	// busy reports whether something is under way that a log has to tell the end of.
	busy() bool

	therapy() therapy.Document
	telemetry() therapy.Document

	// events returns what happened since it was asked last.
	events() []string

	// vars are the whole state. What is added to it later comes last: an older journal has
	// nothing of it.
	vars() []*int64

	// settings are those of it that are programmed.
	settings() []*int64

	// activity is what the device does to the body, or is in the middle of.
	activity() patch.Activity

	// giving reports whether therapy is to be given.
	giving() bool

	// longevity is how many days the battery lasts; -1 for one that is changed.
	longevity() int

	base() *body
}

func newModel(k Kind, clock int64) (model, error) {
	switch k {
	case Pump:
		return newPump(clock), nil
	case Defibrillator:
		return newPacemaker(), nil
	case Neurostimulator:
		return newStimulator(), nil
	}
	return nil, errors.New("implant: no such kind")
}

// body is what all kinds have: time, battery and a list of what happened.
type body struct {
	now    int64
	used   int64 // of the battery, nA x ms
	full   int64
	drawn  int64 // nA, without the therapy
	said   []string
	alarms int64 // bits, by kind

	gave    int64 // ms in which therapy was given since the firmware started
	stopped bool  // it gives none
}

func (b *body) base() *body { return b }

// gives counts time in which therapy is given, and reports whether it is.
func (b *body) gives(ms int64) bool {
	if !b.stopped {
		b.gave += ms
	}
	return !b.stopped
}

// episode is how long ago one must be, so that an update does not come into another.
const episode = 4 * hour

func (b *body) within(at int64) bool { return at != 0 && b.now-(at-1) < episode }

// alarming is the activity of alarms.
func (b *body) alarming() patch.Activity {
	if b.alarms != 0 {
		return patch.Alarming
	}
	return 0
}

// days is how long the battery lasts at so many nA beside its own.
func (b *body) days(therapy int64) int { return int((b.full - b.used) / (b.drawn + therapy) / day) }

// wakeCost is what one wake-up of the radio takes: 3 mA for 30 ms.
const wakeCost = 3_000_000 * 30

const milliampereHour = 1_000_000 * hour // nA x ms

func (b *body) drain(ms, therapy, woke int64) {
	b.used = min(b.full, b.used+ms*(b.drawn+therapy)+woke*wakeCost)
}

// percent of the battery that is left, rounded down.
func (b *body) percent() device.Quantity {
	return quantity((b.full-b.used)/(b.full/100), 0, unitPercent)
}

func (b *body) say(format string, args ...any) {
	if len(b.said) < 64 {
		b.said = append(b.said, fmt.Sprintf(format, args...))
	}
}

func (b *body) events() []string {
	s := b.said
	b.said = nil
	return s
}

// left is the time up to an end, as a quantity in seconds rounded up.
func left(now, end int64) device.Quantity {
	return quantity((end-now+second-1)/second, 0, unitSecond)
}

func find(bounds []bound, v device.Verb) *bound {
	for i := range bounds {
		if bounds[i].verb == v {
			return &bounds[i]
		}
	}
	return nil
}
