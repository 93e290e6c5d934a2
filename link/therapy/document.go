// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package therapy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cwt"
)

// A Key names a field of what a resource says. Its number is a part of the encoding.
type Key uint8

// The fields, in groups with room for more. See the package's documentation for what
// they hold.
const (
	Verb Key = 1 + iota
	Value
	Limit
	Confirm
	Stage
	Effect
)

const (
	Kind Key = 8 + iota
	Time
	Boot
	Uptime
	Battery
	Alarms
	Doubt
)

const (
	BasalRate Key = 16 + iota
	Profile
	ProfileRates
	TemporaryBasal
	TemporaryLeft
	SuspendedLeft
	Bolus
	BolusLeft
	Priming
	Reservoir
	Delivered
	OnBoard
	Glucose
)

const (
	Mode Key = 32 + iota
	LowerRate
	Output
	PulseWidth
	Sensitivity
	Detection
	DetectionRate
	Therapies
	Preset
	Lead
	Charging
	Shocks
	Beats
)

const (
	Stimulation Key = 48 + iota
	Program
	Amplitude
	Frequency
	Charge
)

const (
	Lowest Key = 56 + iota
	Highest
	Step
	Limits
)

const (
	Number Key = 64 + iota
	Event
	Actor
	Role
	Verdict
	Why
	Count
	Entries
	Next
	Head
	Failed
	Frame
	Sealed
)

var names = map[Key]string{
	Verb: "verb", Value: "value", Limit: "limit", Confirm: "confirm", Stage: "stage", Effect: "effect",
	Kind: "kind", Time: "time", Boot: "boot", Uptime: "uptime", Battery: "battery",
	Alarms: "alarms", Doubt: "in-doubt",
	BasalRate: "basal-rate", Profile: "profile", ProfileRates: "profile-rates",
	TemporaryBasal: "temporary-basal", TemporaryLeft: "temporary-left", SuspendedLeft: "suspended-left",
	Bolus: "bolus", BolusLeft: "bolus-left", Priming: "priming", Reservoir: "reservoir",
	Delivered: "delivered", OnBoard: "insulin-on-board", Glucose: "glucose",
	Mode: "mode", LowerRate: "lower-rate", Output: "output", PulseWidth: "pulse-width",
	Sensitivity: "sensitivity", Detection: "detection", DetectionRate: "detection-rate",
	Therapies: "therapies", Preset: "emergency-preset", Lead: "lead-impedance", Charging: "charging",
	Shocks: "shocks", Beats: "paced-beats",
	Stimulation: "stimulation", Program: "program", Amplitude: "amplitude", Frequency: "frequency",
	Charge: "charge-per-phase",
	Lowest: "lowest", Highest: "highest", Step: "step", Limits: "limits",
	Number: "number", Event: "event", Actor: "actor", Role: "role", Verdict: "verdict", Why: "why",
	Count: "count", Entries: "entries", Next: "next", Head: "head", Failed: "refused",
	Frame: "frame", Sealed: "sealed",
}

// Is is a field.
func (k Key) Is(value any) Field { return Field{k, value} }

func (k Key) String() string { return names[k] }

// A Document is what a resource says: fields in any order, each once. A value is a
// device.Quantity, a string, a bool, an int64, a uint64, []byte, []device.Quantity,
// []string or []Document.
type Document []Field

// A Field is one of a document.
type Field struct {
	Key   Key
	Value any
}

// Append appends the encoding of a document.
func (d Document) Append(dst []byte) []byte {
	d = slices.Clone(d)
	slices.SortFunc(d, func(a, b Field) int { return int(a.Key) - int(b.Key) })
	dst = cbor.AppendMap(dst, len(d))
	for _, f := range d {
		dst = appendValue(cbor.AppendUint(dst, uint64(f.Key)), f.Value)
	}
	return dst
}

func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case device.Quantity:
		dst = cbor.AppendInt(cbor.AppendArray(dst, 3), v.Coefficient)
		return cbor.AppendText(cbor.AppendInt(dst, int64(v.Exponent)), v.Unit.String())
	case string:
		return cbor.AppendText(dst, v)
	case bool:
		return cbor.AppendBool(dst, v)
	case int64:
		return cbor.AppendInt(dst, v)
	case uint64:
		return cbor.AppendUint(dst, v)
	case []byte:
		return cbor.AppendBytes(dst, v)
	case []device.Quantity:
		return appendList(dst, v)
	case []string:
		return appendList(dst, v)
	case []Document:
		dst = cbor.AppendArray(dst, len(v))
		for _, d := range v {
			dst = d.Append(dst)
		}
		return dst
	}
	panic("therapy: a field of another type") // ours, not the peer's
}

func appendList[T any](dst []byte, list []T) []byte {
	dst = cbor.AppendArray(dst, len(list))
	for _, v := range list {
		dst = appendValue(dst, v)
	}
	return dst
}

// readQuantity reads [coefficient, exponent, unit]. Zeros at the end are welcome here:
// a person wrote the number.
func readQuantity(r *cbor.Reader) (q device.Quantity) {
	if r.Array() != 3 {
		r.Fail(cbor.ErrKind)
	}
	q.Coefficient = r.Int()
	e := r.Int()
	if e < math.MinInt8 || e > math.MaxInt8 {
		r.Fail(cbor.ErrRange)
	}
	q.Exponent = int8(e)
	text := r.Text()
	u, ok := device.UnitOfUCUM(text)
	if !ok || u == device.NoUnit {
		r.Fail(device.ErrUnit)
	}
	q.Unit = u
	return q
}

// A Request is what a POST to /therapy asks for.
type Request struct {
	Verb    device.Verb
	Value   device.Quantity // zero where the verb has none
	Limit   device.Quantity // a duration; zero is none
	Confirm bool            // an external defibrillator is at hand
}

// Append appends the encoding of a request.
func (q *Request) Append(dst []byte) []byte {
	d := Document{{Verb, uint64(cwt.VerbNumber(q.Verb))}}
	if !q.Value.IsNone() {
		d = append(d, Field{Value, q.Value})
	}
	if !q.Limit.IsNone() {
		d = append(d, Field{Limit, q.Limit})
	}
	if q.Confirm {
		d = append(d, Field{Confirm, true})
	}
	return d.Append(dst)
}

// ParseRequest reads the encoding of a request. A field that is not known is refused:
// a condition could hang on it.
func ParseRequest(b []byte) (*Request, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, err
	}
	q := new(Request)
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		switch Key(min(r.Uint(), math.MaxUint8)) {
		case Verb:
			v, ok := verbOf(r.Uint())
			if !ok {
				r.Fail(cbor.ErrRange)
			}
			q.Verb = v
		case Value:
			q.Value = readQuantity(&r)
		case Limit:
			q.Limit = readQuantity(&r)
		case Confirm:
			q.Confirm = r.Bool()
		default:
			r.Fail(cbor.ErrRange)
		}
	}
	if q.Verb == device.NoVerb {
		r.Fail(cbor.ErrRange)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return q, nil
}

// verbOf is the inverse of [cwt.VerbNumber].
func verbOf(n uint64) (device.Verb, bool) {
	for v := device.NoVerb + 1; v.String() != ""; v++ {
		if uint64(cwt.VerbNumber(v)) == n {
			return v, true
		}
	}
	return device.NoVerb, false
}

// Text returns what a resource said as lines for a person to read, "name: value". The
// fields of a limit or of an entry of the log are on one line.
func Text(content []byte) (string, error) {
	r, err := cbor.Parse(content)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		k := Key(min(r.Uint(), math.MaxUint8))
		if k == Entries || k == Limits {
			for m := r.Array(); m > 0 && r.Err() == nil; m-- {
				b.WriteString(textOfMap(&r) + "\n")
			}
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", nameOf(k), textOf(k, &r))
	}
	if err := r.Done(); err != nil {
		return "", err
	}
	return b.String(), nil
}

// Line returns one map of a document, such as an entry of the log, as one line.
func Line(content []byte) string {
	r, err := cbor.Parse(content)
	if err != nil {
		return err.Error()
	}
	return textOfMap(&r)
}

func nameOf(k Key) string {
	if s := k.String(); s != "" {
		return s
	}
	return strconv.Itoa(int(k))
}

func textOfMap(r *cbor.Reader) string {
	var parts []string
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		k := Key(min(r.Uint(), math.MaxUint8))
		parts = append(parts, nameOf(k)+" "+textOf(k, r))
	}
	return strings.Join(parts, ", ")
}

func textOf(k Key, r *cbor.Reader) string {
	switch r.Next() {
	case cbor.Text:
		return r.Text()
	case cbor.Uint, cbor.NegInt:
		n := r.Int()
		if k == Verb {
			if v, ok := verbOf(uint64(n)); ok {
				return v.String()
			}
		}
		return strconv.FormatInt(n, 10)
	case cbor.Simple:
		return strconv.FormatBool(r.Bool())
	case cbor.Bytes:
		return fmt.Sprintf("%x", r.Bytes())
	case cbor.Array:
		at := *r
		if q := readQuantity(&at); at.Err() == nil {
			*r = at
			return q.String()
		}
		var parts []string
		for n := r.Array(); n > 0 && r.Err() == nil; n-- {
			parts = append(parts, textOf(k, r))
		}
		return strings.Join(parts, "; ")
	}
	r.Fail(cbor.ErrKind)
	return ""
}
