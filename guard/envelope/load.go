// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/strictyaml"
)

// The bounds of an envelope's file.
const (
	maxVerbs  = 64
	maxSums   = 8
	maxStates = 16
	maxText   = 200

	defaultHold = 5 * time.Minute
	maxHold     = time.Hour
)

// The keys of a verb, and of the rules that they make.
const (
	keyNamed = iota // the verb itself
	keyMin
	keyMax
	keyStep
	keyLongest
	keyInterval
	keyRoles
	keyConfirm
	keyRefusedIn
	limitKeys
)

var (
	fileKeys = []string{
		"envelope", "name", "version", "therapy", "drug", "weight", "concentration", "author", "approver", "risk", "enforce", "sums", "interruption", "state-holds", "verbs", "emergency",
	}
	verbKeys = []string{
		"unit", "min", "max", "step", "longest", "interval", "roles", "confirm", "above", "confirmers", "refused-in", "hold", "takes", "counts",
	}
	roles = []string{"", "patient", "carer", "clinician", "technician", "emergency", "updater", "controller"}
)

// A loader reads one envelope.
type loader struct {
	*strictyaml.Reader
	e *Envelope
}

// Load reads an envelope. An error is a *[strictyaml.Error] with line and column.
// An envelope that lacks what it needs to enforce is no error: it observes, and
// [Envelope.Enforcing] says what it lacks.
func Load(file string, src []byte) (*Envelope, error) {
	l := loader{strictyaml.New(file, strictyaml.Format{Name: "therapy envelope", Marker: "envelope: 1"}), &Envelope{digest: sha256.Sum256(src)}}
	l.file(l.Section(l.Document(src), "the file", fileKeys...))
	if err := l.Err(); err != nil {
		return nil, err
	}
	l.e.enforces, _ = l.e.Enforcing()
	return l.e, nil
}

func (l *loader) file(s *strictyaml.Section) {
	e := l.e
	l.Number(s.Need("envelope", "the version of this format, 1"), "envelope", 1, 1)
	e.Name = l.text(s.Need("name", "what it is for: \"noradrenaline at bed 3\""), "name")
	e.Version = int(l.Number(s.Need("version", "a number that grows with each change"), "version", 1, 1<<31-1))
	for _, n := range l.List(s.Need("therapy", "what the device does to a body: drug infusion, pacing ..."), "therapy", 4) {
		t, ok := device.ParseTherapy(l.Text(n, "therapy"))
		if !ok || t == device.NoTherapy {
			l.Fail(n, "therapy cannot be %s; it is one of %s", strictyaml.Quoted(l.Text(n, "therapy")), therapyNames())
		}
		if e.Therapy == device.NoTherapy {
			e.Therapy = t
		}
		e.Therapies |= device.TherapiesOf(t)
	}
	e.Drug = l.text(s.Get("drug"), "drug")
	if n := s.Get("weight"); n != nil {
		if e.Weight = l.Quantity(n, "weight"); !e.Weight.Unit.IsMass() || e.Weight.Coefficient <= 0 {
			l.Fail(n, "weight is the patient's, such as 80 kg")
		}
	}
	if n := s.Get("concentration"); n != nil {
		if e.Concentration = l.Quantity(n, "concentration"); !e.Concentration.Unit.IsConcentration() || e.Concentration.Coefficient <= 0 {
			l.Fail(n, "concentration is the drug's, such as 0.08 mg/mL")
		}
	}
	e.Author = l.person(s.Get("author"), "author")
	e.Approver = l.person(s.Get("approver"), "approver")
	if n := s.Get("risk"); n != nil {
		r := l.Section(n, "risk", "record", "manufacturer")
		e.Risk.Record = l.text(r.Get("record"), "record")
		e.Risk.Manufacturer = l.text(r.Get("manufacturer"), "manufacturer")
	}
	e.Enforce = l.Truth(s.Need("enforce", "true, or false to record decisions only"), "enforce", false)
	l.sums(s.Get("sums"))
	if n := s.Get("interruption"); n != nil {
		e.Interruption = l.Duration(n, "interruption", time.Second, MaxWindow)
		e.stays = rule{strictyaml.Line(n), "interruption " + said(e.Interruption), "it would leave the patient without therapy for longer than " + said(e.Interruption)}
	}
	e.StateHolds = StateHolds
	if n := s.Get("state-holds"); n != nil {
		e.StateHolds = l.Duration(n, "state-holds", time.Second, 24*time.Hour)
	}
	e.orders = map[device.Verb]int{}
	l.Each(s.Need("verbs", "what may be asked for; all else is refused"), "verbs", maxVerbs, l.verb)
	l.emergency(s.Get("emergency"))
}

// text is a text of a bounded length.
func (l *loader) text(n ast.Node, what string) string {
	t := l.Text(n, what)
	if len(t) > maxText {
		l.Fail(n, "%s has %d bytes; there is room for %d", what, len(t), maxText)
	}
	return t
}

func therapyNames() string {
	return strings.Join(slices.Collect(func(yield func(string) bool) {
		for t := range (^device.Therapies(0)).All() {
			if !yield(t.String()) {
				return
			}
		}
	}), ", ")
}

func (l *loader) person(n ast.Node, what string) (p Person) {
	if n == nil {
		return p
	}
	s := l.Section(n, what, "id", "role")
	p.ID = l.text(s.Need("id", "initials or a number that the hospital gives; never a name"), "id")
	p.Role = ClinicalRole(l.Word(s.Need("role", "prescriber, pharmacist or nurse"), "role", clinicalRoles))
	return p
}

// sums reads the sums over windows, and in which unit they are counted.
func (l *loader) sums(n ast.Node) {
	if n == nil {
		return
	}
	e := l.e
	s := l.Section(n, "sums", "unit", "windows")
	at := s.Need("unit", "in which doses are added up: \"[iU]\", mg, mL, ug/kg ...")
	u, ok := device.UnitOf(l.Text(at, "unit"))
	if ok {
		e.rateUnit, ok = device.UnitOfUCUM(u.String() + "/h")
	}
	if !ok || !u.IsDose() {
		l.Fail(at, "unit has to be one in which doses and rates are given: U, mg, mL, ug/kg ...")
		return
	}
	e.Unit = u
	for _, n := range l.List(s.Need("windows", "a list of {window: 4h, highest: 10 U}"), "windows", maxSums) {
		e.Sums = append(e.Sums, l.sum(n))
	}
}

func (l *loader) sum(n ast.Node) (sum Sum) {
	s := l.Section(n, "a window", "window", "verb", "highest", "lowest")
	sum.Line = strictyaml.Line(n)
	sum.Window = l.Duration(s.Need("window", "its length: 1h, 24h ..."), "window", time.Minute, MaxWindow)
	name := "everything"
	if v := s.Get("verb"); v != nil {
		name = l.Text(v, "verb")
		sum.Verb, _ = device.ParseVerb(name)
		if !counted(sum.Verb) {
			l.Fail(v, "verb cannot be %s; what delivers is deliver-bolus, prime, set-infusion-rate, set-basal-rate ...", strictyaml.Quoted(name))
		}
	}
	if !s.Has("highest") && !s.Has("lowest") {
		l.Fail(n, "a window needs a highest or a lowest sum")
	}
	sum.Highest, sum.most = l.amount(s.Get("highest"), "highest")
	sum.Lowest, sum.least = l.amount(s.Get("lowest"), "lowest")
	if s.Has("highest") && s.Has("lowest") && sum.least > sum.most {
		l.Fail(s.Get("lowest"), "lowest is more than highest")
	}
	in := " in " + said(sum.Window)
	sum.above = rule{
		strictyaml.Line(s.Get("highest")), name + " highest " + dosed(sum.Highest) + in,
		"with what was given, runs or may have been given it would come to more than " + dosed(sum.Highest) + in,
	}
	sum.below = rule{
		strictyaml.Line(s.Get("lowest")), name + " lowest " + dosed(sum.Lowest) + in,
		"it would leave the patient with less than " + dosed(sum.Lowest) + in,
	}
	return sum
}

// amount reads a dose that is compared with sums.
func (l *loader) amount(n ast.Node, what string) (q device.Quantity, millionths int64) {
	q = l.Quantity(n, what)
	if n == nil || l.Err() != nil {
		return q, 0
	}
	lo, hi, why := l.e.amount(q, device.Basis{})
	if why != "" || lo != hi {
		l.Fail(n, "%s has to be a dose in %s, or what comes out even in it", what, l.e.Unit)
	}
	return q, lo
}

// dosed is a quantity as a nurse writes it: units of insulin are U.
func dosed(q device.Quantity) string { return strings.ReplaceAll(q.String(), "[iU]", "U") }

// said is a time as a person says it: "4h", "90m", "30s".
func said(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// verb reads what one verb may be asked for.
func (l *loader) verb(name string, key, value ast.Node) {
	v, ok := device.ParseVerb(name)
	if !ok || v == device.NoVerb {
		l.Fail(key, "there is no verb %s", strictyaml.Quoted(name))
		return
	}
	s := l.Section(value, name, verbKeys...)
	o := Limits{Verb: v, Line: strictyaml.Line(key)}
	set := func(k int, at, limit, reason string) {
		line := o.Line
		if at != "" {
			line = strictyaml.Line(s.Get(at))
		}
		o.rules[k] = rule{line, strings.TrimSpace(name + " " + at + " " + limit), reason}
	}
	set(keyNamed, "", "", "it is within the envelope")
	if at := s.Get("unit"); at != nil {
		if o.Unit, ok = device.UnitOf(l.Text(at, "unit")); !ok {
			l.Fail(at, "unit is not one that is known")
		}
	}
	l.values(&o, s, set)
	if o.Longest = l.Quantity(s.Get("longest"), "longest"); s.Has("longest") {
		if !o.Longest.Unit.IsTime() {
			l.Fail(s.Get("longest"), "longest has to be a time, such as 2 h")
		}
		set(keyLongest, "longest", o.Longest.String(), "it has to say for how long, and not for more than "+o.Longest.String())
	}
	if o.Interval = l.Duration(s.Get("interval"), "interval", time.Second, MaxWindow); o.Interval > 0 {
		set(keyInterval, "interval", said(o.Interval), "the last one was asked for less than "+said(o.Interval)+" ago")
	}
	for _, n := range l.List(s.Get("roles"), "roles", len(roles)) {
		o.Roles = append(o.Roles, device.Role(l.Word(n, "a role", roles)))
	}
	if len(o.Roles) == 0 {
		o.Roles = []device.Role{device.Clinician}
	}
	if s.Has("roles") {
		set(keyRoles, "roles", roleNames(o.Roles), "")
	} else {
		set(keyRoles, "", "roles clinician", "")
	}
	o.rules[keyRoles].reason = "who asks may not; it is for " + roleNames(o.Roles)
	for _, n := range l.List(s.Get("refused-in"), "refused-in", maxStates) {
		o.RefusedIn = append(o.RefusedIn, l.text(n, "a state"))
	}
	if len(o.RefusedIn) > 0 {
		set(keyRefusedIn, "refused-in", strings.Join(o.RefusedIn, ", "), "the therapy is in a state in which this is refused")
	}
	l.confirm(&o, s, set)
	o.Takes = l.Duration(s.Get("takes"), "takes", time.Second, 24*time.Hour)
	l.counts(&o, s, key)
	l.attended(&o, s, key)
	l.e.orders[v] = len(l.e.Verbs)
	l.e.Verbs = append(l.e.Verbs, o)
}

// values reads the limits of a value, which are in units that compare.
func (l *loader) values(o *Limits, s *strictyaml.Section, set func(k int, at, limit, reason string)) {
	for _, x := range []struct {
		key    string
		k      int
		q      *device.Quantity
		reason string
	}{
		{"min", keyMin, &o.Min, "it asks for less than the least of "},
		{"max", keyMax, &o.Max, "it asks for more than the most of "},
		{"step", keyStep, &o.Step, "it changes at once by more than "},
		{"above", 0, &o.Above, ""},
	} {
		n := s.Get(x.key)
		if n == nil {
			continue
		}
		*x.q = l.Quantity(n, x.key)
		if o.Unit == device.NoUnit {
			o.Unit = x.q.Unit
		}
		if !x.q.Unit.SameKind(o.Unit) || x.q.Coefficient < 0 {
			l.Fail(n, "%s has to be in %s, and not less than nothing", x.key, o.Unit)
		}
		if x.k != 0 {
			set(x.k, x.key, dosed(*x.q), x.reason+dosed(*x.q))
		}
	}
	if c, ok := o.Min.Cmp(o.Max); !o.Min.IsNone() && !o.Max.IsNone() && ok && c > 0 {
		l.Fail(s.Get("min"), "min is more than max")
	}
}

func (l *loader) confirm(o *Limits, s *strictyaml.Section, set func(k int, at, limit, reason string)) {
	o.Confirm = Confirm(l.Word(s.Get("confirm"), "confirm", confirms))
	for _, n := range l.List(s.Get("confirmers"), "confirmers", len(clinicalRoles)) {
		o.Confirmers = append(o.Confirmers, ClinicalRole(l.Word(n, "a confirmer", clinicalRoles)))
	}
	o.Hold = l.Duration(s.Get("hold"), "hold", time.Second, maxHold)
	for _, key := range []string{"above", "confirmers", "hold"} {
		if s.Has(key) && o.Confirm == NoConfirm {
			l.Fail(s.Get(key), "%s is of a confirmation; say confirm: second-person or on-device", key)
		}
	}
	if o.Confirm == NoConfirm {
		return
	}
	if o.Hold == 0 {
		o.Hold = defaultHold
	}
	limit, who := o.Confirm.String(), "a second person has to confirm it"
	if o.Confirm == OnDevice {
		who = "a person has to confirm it at the device"
	}
	if !o.Above.IsNone() {
		limit += " above " + dosed(o.Above)
		who += ", as more than " + dosed(o.Above)
	}
	set(keyConfirm, "confirm", limit, who)
}

// counts reads what runs after a verb whose value does not say. Without it no sum
// would be true.
func (l *loader) counts(o *Limits, s *strictyaml.Section, key ast.Node) {
	n := s.Get("counts")
	says := o.Verb == device.SetProfile || o.Verb == device.SetClosedLoop
	switch {
	case n == nil && says && l.e.Unit != device.NoUnit:
		l.Fail(key, "what the device gives after %s has to be known where sums are counted: counts: [0.4 U/h, 1.6 U/h], the least and the most", o.Verb)
	case n != nil && (!says || l.e.Unit == device.NoUnit):
		l.Fail(n, "counts is for set-profile and set-closed-loop where sums are counted")
	case n == nil:
		return
	}
	list := l.List(n, "counts", 2)
	if len(list) != 2 {
		l.Fail(n, "counts has two rates, the least and the most")
		return
	}
	for i, n := range list {
		o.Counts[i] = l.Quantity(n, "a rate")
		if _, _, why := l.e.rate(o.Counts[i], device.Basis{}); why != "" {
			l.Fail(n, "a rate has to be in %s", l.e.rateUnit)
		}
	}
	if c, ok := o.Counts[0].Cmp(o.Counts[1]); !ok || c > 0 {
		l.Fail(n, "the least comes first")
	}
}

// attended: a defibrillator is not switched off before a person has confirmed that
// another one is there.
func (l *loader) attended(o *Limits, s *strictyaml.Section, key ast.Node) {
	if !l.e.Therapies.Has(device.Defibrillation) || o.Confirm != NoConfirm {
		return
	}
	switch o.Verb {
	case device.SetDetection, device.SetTherapies, device.Suspend:
		l.Fail(key, "%s switches a defibrillator off: say confirm: second-person or on-device, for an external one", o.Verb)
	}
}

// emergency reads what a break-glass session may ask for. It is narrow.
func (l *loader) emergency(n ast.Node) {
	if n == nil {
		return
	}
	s := l.Section(n, "emergency", "verbs")
	l.e.Emergency.Line = strictyaml.Line(n)
	for _, n := range l.List(s.Need("verbs", "a list of reads, rescues and emergency-preset"), "verbs", maxVerbs) {
		name := l.Text(n, "a verb")
		v, _ := device.ParseVerb(name)
		if !l.e.narrow(v) {
			l.Fail(n, "an emergency cannot have %s; it has reads, the rescues of this therapy, and emergency-preset", strictyaml.Quoted(name))
		}
		l.e.Emergency.Verbs = append(l.e.Emergency.Verbs, v)
	}
}

// narrow reports whether a verb may be in the emergency section.
func (e *Envelope) narrow(v device.Verb) bool {
	if v == device.ReadSettings || v == device.ReadTelemetry || v == device.EmergencyPreset {
		return true
	}
	for t := range e.Therapies.All() {
		if slices.ContainsFunc(t.Info().Rescues, func(r device.Rescue) bool { return r.Verb == v }) {
			return true
		}
	}
	return false
}

func roleNames(rs []device.Role) string {
	var names []string
	for _, r := range rs {
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}
