// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
)

// ErrScope is returned for a scope that nobody may be given: verbs that are not for
// the role, or without the limits that they need.
var ErrScope = errors.New("more than may be granted")

// verbNumbers gives verbs their numbers in a scope: a verb's is its place. A number
// is never given to another verb; new ones go at the end.
var verbNumbers = [...]device.Verb{
	1:  device.DeliverBolus,
	2:  device.CancelBolus,
	3:  device.Prime,
	4:  device.StopPriming,
	5:  device.SetBasalRate,
	6:  device.SetTemporaryBasal,
	7:  device.CancelTemporaryBasal,
	8:  device.SetInfusionRate,
	9:  device.StopInfusion,
	10: device.SetProfile,
	11: device.SetClosedLoop,
	12: device.Suspend,
	13: device.Resume,
	14: device.SetPacingMode,
	15: device.SetPacingRate,
	16: device.SetOutput,
	17: device.SetSensitivity,
	18: device.SetDetection,
	19: device.SetTherapies,
	20: device.EmergencyPreset,
	21: device.DeliverShock,
	22: device.AbortShock,
	23: device.Induce,
	24: device.SetAmplitude,
	25: device.SelectProgram,
	26: device.StimulationOff,
	27: device.BeamOff,
	28: device.SetVentilation,
	29: device.Standby,
	30: device.Calibrate,
	31: device.ReportGlucose,
	32: device.SetClock,
	33: device.SetLimit,
	34: device.SetAlarm,
	35: device.AcknowledgeAlarm,
	36: device.LoadDrugLibrary,
	37: device.AssociatePatient,
	38: device.DeleteRecords,
	39: device.DisableRadio,
	40: device.Wake,
	41: device.Pair,
	42: device.Install,
	43: device.ReadTelemetry,
	44: device.ReadSettings,
}

// roleNumbers gives roles their numbers in a scope, likewise.
var roleNumbers = [...]device.Role{
	1: device.Patient,
	2: device.Carer,
	3: device.Clinician,
	4: device.Technician,
	5: device.Emergency,
	6: device.Updater,
	7: device.Controller,
}

// VerbNumber is the verb's number in a scope, or 0.
func VerbNumber(v device.Verb) int { return max(0, slices.Index(verbNumbers[:], v)) }

// RoleNumber is the role's number in a scope, or 0.
func RoleNumber(r device.Role) int { return max(0, slices.Index(roleNumbers[:], r)) }

// A verbSet is a set of verbs, which are fewer than 64.
type verbSet uint64

func setOf(verbs ...device.Verb) (s verbSet) {
	for _, v := range verbs {
		s |= 1 << v
	}
	return s
}

func (s verbSet) has(v device.Verb) bool { return v < 64 && s&(1<<v) != 0 }

var (
	reads = setOf(device.ReadTelemetry, device.ReadSettings)

	patientVerbs = reads | setOf(device.DeliverBolus, device.CancelBolus, device.Prime, device.StopPriming,
		device.SetBasalRate, device.SetTemporaryBasal, device.CancelTemporaryBasal, device.SetProfile,
		device.SetClosedLoop, device.Suspend, device.Resume, device.SetAmplitude, device.SelectProgram,
		device.StimulationOff, device.Calibrate, device.ReportGlucose, device.SetAlarm, device.AcknowledgeAlarm,
		device.Wake)

	// roleVerbs is what a role may be granted at all, whatever an authority signs.
	// Only clinical roles have verbs of the therapy besides patient, carer and the
	// algorithm; emergency trusts nothing new, loosens nothing, hides nothing; the
	// record of a device is deleted by nobody. To be signed by clinicians before it is
	// used on patients.
	roleVerbs = [...]verbSet{
		device.Patient: patientVerbs,
		device.Carer:   patientVerbs,
		device.Clinician: patientVerbs | setOf(device.SetInfusionRate, device.StopInfusion, device.SetPacingMode,
			device.SetPacingRate, device.SetOutput, device.SetSensitivity, device.SetDetection, device.SetTherapies,
			device.EmergencyPreset, device.DeliverShock, device.AbortShock, device.Induce, device.BeamOff,
			device.SetVentilation, device.Standby, device.SetClock, device.SetLimit, device.LoadDrugLibrary,
			device.AssociatePatient, device.Pair),
		device.Technician: reads | setOf(device.SetClock, device.DisableRadio, device.Wake, device.Pair, device.Install),
		device.Emergency: reads | setOf(device.CancelBolus, device.StopPriming, device.CancelTemporaryBasal,
			device.Suspend, device.Resume, device.SetPacingMode, device.SetPacingRate, device.SetOutput,
			device.SetDetection, device.SetTherapies, device.EmergencyPreset, device.AbortShock, device.SetAmplitude,
			device.StimulationOff, device.BeamOff, device.Wake),
		device.Updater: reads | setOf(device.Wake, device.Install),
		device.Controller: reads | setOf(device.DeliverBolus, device.CancelBolus, device.SetBasalRate,
			device.SetTemporaryBasal, device.CancelTemporaryBasal, device.Suspend, device.Resume, device.ReportGlucose),
	}

	// bounded are the verbs that say how much, which clinicians alone may be granted
	// without a highest value.
	bounded = setOf(device.DeliverBolus, device.Prime, device.SetBasalRate, device.SetTemporaryBasal,
		device.SetInfusionRate, device.SetPacingRate, device.SetOutput, device.SetAmplitude)

	// narrowest is what is left of a grant that is narrowed, besides rescues.
	narrowest = reads | setOf(device.EmergencyPreset)
)

// MaxWindow is the longest window of a sum.
const MaxWindow = 31 * 24 * time.Hour

// Limits bound one verb of a [Grant]. A quantity that is none bounds nothing.
type Limits struct {
	Highest device.Quantity // of a command's Value
	Lowest  device.Quantity
	Longest device.Quantity // of a command's Limit, which then has to be a time

	// Sum is the most that may be asked for within Window, which is in whole seconds.
	Sum    device.Quantity
	Window time.Duration
}

// A VerbGrant is one verb that may be used within limits.
type VerbGrant struct {
	Verb device.Verb
	Limits
}

// A Grant is what a holder may do: the scope of a token.
type Grant struct {
	Role  device.Role
	Verbs []VerbGrant // each once

	// Narrow is set where doubt leaves the narrowest scope: reads, rescues and the
	// maker's emergency preset. It is not a part of the encoding.
	Narrow bool
}

// Limits keys of the encoding.
const (
	limitHighest = 1 + iota
	limitLowest
	limitLongest
	limitSum
	limitWindow
)

// normal is q with no zero at the end of its coefficient.
func normal(q device.Quantity) device.Quantity {
	if q.Coefficient == 0 {
		q.Exponent = 0
	}
	for q.Coefficient != 0 && q.Coefficient%10 == 0 && q.Exponent < math.MaxInt8 {
		q.Coefficient, q.Exponent = q.Coefficient/10, q.Exponent+1
	}
	return q
}

// check is [ErrScope] when limits contradict themselves.
func (l *Limits) check() error {
	positive := func(q device.Quantity) bool { return q.IsNone() || q.Coefficient > 0 }
	switch {
	case !l.Highest.IsNone() && l.Highest.Unit == device.NoUnit, !l.Lowest.IsNone() && l.Lowest.Unit == device.NoUnit:
		return ErrScope
	case !l.Longest.IsNone() && !l.Longest.Unit.IsTime(), !positive(l.Longest):
		return ErrScope
	case !l.Sum.IsNone() && l.Sum.Unit == device.NoUnit, !positive(l.Sum), l.Sum.IsNone() != (l.Window == 0):
		return ErrScope
	case l.Window < 0, l.Window > MaxWindow, l.Window%time.Second != 0:
		return ErrScope
	}
	if !l.Highest.IsNone() && !l.Lowest.IsNone() {
		if c, ok := l.Lowest.Cmp(l.Highest); !ok || c > 0 {
			return ErrScope
		}
	}
	return nil
}

// Check is [ErrScope] when nobody may be given the grant.
func (g *Grant) Check() error {
	if RoleNumber(g.Role) == 0 {
		return ErrScope
	}
	var seen verbSet
	for i := range g.Verbs {
		v := &g.Verbs[i]
		if !roleVerbs[g.Role].has(v.Verb) || VerbNumber(v.Verb) == 0 || seen.has(v.Verb) {
			return ErrScope
		}
		if g.Role != device.Clinician && bounded.has(v.Verb) && v.Highest.IsNone() {
			return ErrScope
		}
		if err := v.check(); err != nil {
			return err
		}
		seen |= setOf(v.Verb)
	}
	return nil
}

// Append appends the encoding that a scope claim has. It is [ErrScope] when nobody
// may be given the grant.
func (g *Grant) Append(dst []byte) ([]byte, error) {
	if err := g.Check(); err != nil {
		return nil, bad("scope", err)
	}
	dst = cbor.AppendUint(cbor.AppendArray(dst, 2), uint64(RoleNumber(g.Role)))
	verbs := slices.Clone(g.Verbs)
	slices.SortFunc(verbs, func(a, b VerbGrant) int { return VerbNumber(a.Verb) - VerbNumber(b.Verb) })
	dst = cbor.AppendMap(dst, len(verbs))
	for i := range verbs {
		v := &verbs[i]
		dst = cbor.AppendUint(dst, uint64(VerbNumber(v.Verb)))
		n := 0
		quantities := [...]device.Quantity{v.Highest, v.Lowest, v.Longest, v.Sum}
		for _, q := range quantities {
			if !q.IsNone() {
				n++
			}
		}
		if !v.Sum.IsNone() {
			n++
		}
		dst = cbor.AppendMap(dst, n)
		for i, q := range quantities {
			if !q.IsNone() {
				dst = appendQuantity(cbor.AppendUint(dst, uint64(limitHighest+i)), q)
			}
		}
		if !v.Sum.IsNone() {
			dst = cbor.AppendUint(cbor.AppendUint(dst, limitWindow), uint64(v.Window/time.Second))
		}
	}
	return dst, nil
}

func appendQuantity(dst []byte, q device.Quantity) []byte {
	q = normal(q)
	dst = cbor.AppendInt(cbor.AppendArray(dst, 3), q.Coefficient)
	return cbor.AppendText(cbor.AppendInt(dst, int64(q.Exponent)), q.Unit.String())
}

func readQuantity(r *cbor.Reader) (q device.Quantity) {
	if r.Array() != 3 {
		r.Fail(ErrForm)
	}
	q.Coefficient = r.Int()
	e := r.Int()
	if e < math.MinInt8 || e > math.MaxInt8 {
		r.Fail(cbor.ErrRange)
	}
	q.Exponent = int8(e)
	text := r.Text()
	u, ok := device.UnitOfUCUM(text)
	if !ok || u == device.NoUnit || u.String() != text { // "U" is no other way to write [iU]
		r.Fail(device.ErrUnit)
	}
	q.Unit = u
	if q != normal(q) {
		r.Fail(cbor.ErrShortest)
	}
	return q
}

// ParseGrant reads a scope and nothing else. It is [ErrScope] when nobody may be
// given it.
func ParseGrant(b []byte) (*Grant, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, bad("scope", err)
	}
	g := new(Grant)
	if r.Array() != 2 {
		r.Fail(ErrForm)
	}
	role := r.Uint()
	if role == 0 || role >= uint64(len(roleNumbers)) {
		r.Fail(cbor.ErrRange)
	} else {
		g.Role = roleNumbers[role]
	}
	n := r.Map()
	for ; n > 0 && r.Err() == nil; n-- {
		verb := r.Uint()
		if verb == 0 || verb >= uint64(len(verbNumbers)) {
			// A verb of later versions is refused, not ignored: a limit could hang on it.
			r.Fail(cbor.ErrRange)
			break
		}
		v := VerbGrant{Verb: verbNumbers[verb]}
		for m := r.Map(); m > 0 && r.Err() == nil; m-- {
			switch r.Uint() {
			case limitHighest:
				v.Highest = readQuantity(&r)
			case limitLowest:
				v.Lowest = readQuantity(&r)
			case limitLongest:
				v.Longest = readQuantity(&r)
			case limitSum:
				v.Sum = readQuantity(&r)
			case limitWindow:
				s := r.Uint()
				if s == 0 || s > uint64(MaxWindow/time.Second) {
					r.Fail(cbor.ErrRange)
					break
				}
				v.Window = time.Duration(s) * time.Second
			default:
				r.Fail(ErrForm) // a limit that is not known would not be kept
			}
		}
		g.Verbs = append(g.Verbs, v)
	}
	if err := r.Done(); err != nil {
		return nil, bad("scope", err)
	}
	if err := g.Check(); err != nil {
		return nil, bad("scope", err)
	}
	return g, nil
}
