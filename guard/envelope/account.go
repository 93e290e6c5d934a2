// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
)

// The bounds of what is known about one device. Where there is no room the two
// oldest are told as one, which counts more than was given and never less; but
// what waits for an answer cannot be, and no more changes pass until it has one.
const (
	maxSections = 512
	maxDoses    = 512
	maxOpen     = 16
)

// rescueAgain is how long after a stop another one is repeated, and so a change
// (facts: "repeated suspend", "repeated off").
const rescueAgain = int64(4 * time.Hour)

// An account is what is known about what one device gave, gives, and will give.
// It is a fold over the records of the journal, each with its moment, and nothing
// else: replayed, they make the same account.
type account struct {
	Unit     device.Unit `json:"-"`
	UnitText string      `json:"unit,omitempty"` // UCUM, of the amounts

	Known bool    `json:"known,omitempty"` // something said what runs
	Since moment  `json:"since"`           // when that became known
	Sure  program `json:"sure"`            // what runs if nothing that is open was done
	Runs  program `json:"runs"`            // what runs if perhaps it was

	Past  []section `json:"past,omitempty"` // oldest first; each ends where the next begins, the last at Mark
	Mark  moment    `json:"mark"`           // what came after is told by Runs
	Doses []dose    `json:"doses,omitempty"`
	Open  []*entry  `json:"open,omitempty"` // in flight or in doubt, oldest first
	Last  []latest  `json:"last,omitempty"`
	Meter meter     `json:"meter,omitzero"`
	Waits []waits   `json:"waits,omitempty"` // for a person at the device, oldest first
	Turn  int       `json:"turn"`            // how often Sure was replaced

	Confirmed moment `json:"confirmed"`          // when the device last said what runs
	Reported  int64  `json:"reported,omitempty"` // the same by the machine's clock
	Record    uint64 `json:"record,omitempty"`   // of the device's history
	Lost      string `json:"lost,omitempty"`     // what could not be counted
	unread    string // why the device's counter cannot be, or ""

	curve curve // for judging, so that nothing is allocated
}

// A section is a time in which the same may have run.
type section struct {
	rate
	Begin moment `json:"b"`
}

// A dose is an amount that is given at some time from From to To.
type dose struct {
	ID   uint64      `json:"id,omitempty"`
	Verb device.Verb `json:"v,omitempty"`
	From moment      `json:"f"`
	To   moment      `json:"t"`
	Lo   int64       `json:"lo,omitempty"`
	Hi   int64       `json:"hi,omitempty"`
	Seen seen        `json:"s,omitzero"` // of it, by the device's counter
}

// latest is when a verb was last asked for, and when a stop by it ends.
type latest struct {
	Verb  device.Verb `json:"v"`
	At    moment      `json:"at"`
	Until moment      `json:"u"`
}

// An entry is a command that may have been done.
//
//	reserved --sent--> in flight --accepted--> a dose, or what runs
//	    \                 |    \--rejected---> nothing
//	     withdrawn        doubted, or the guard died
//	                      v
//	                  in doubt --settled by a person or the device--> either
type entry struct {
	ID      uint64   `json:"id"`
	Shape   shape    `json:"shape"`
	Takes   int64    `json:"takes"` // after it was sent it is begun, or given, within this
	Text    wording  `json:"text"`
	Begin   moment   `json:"begin"` // reserved
	Sent    moment   `json:"sent"`  // never: not yet
	Under   program  `json:"under"` // what ran before it
	Turn    int      `json:"turn"`  // of the account then
	Program program  `json:"program"`
	Stale   bool     `json:"stale,omitempty"` // what came later has replaced its program
	Doubt   string   `json:"doubt,omitempty"` // why nobody knows; "": an answer may still come
	Before  []latest `json:"before,omitempty"`
}

// A waits is a command that the device's system took, and that a person at the device
// begins, or does not (IHE PCD-03): until it is over a report of the device may be of
// before that.
type waits struct {
	Program program `json:"program"`
	Until   moment  `json:"until"`
}

// A wording is the command as a person reads it.
type wording struct {
	Value, Limit string `json:",omitempty"`
	Actor        string `json:",omitempty"`
	Wall         int64
}

func newAccount(now moment) *account {
	return &account{Sure: nothing, Runs: nothing, Since: now, Mark: now, Confirmed: now}
}

// ends is the moment by which a command was begun if it ever was: as long as it
// was not sent, that moves on.
func (e *entry) ends(now moment) moment {
	from := e.Sent
	if from == never {
		from = now
	}
	return moment{later(from.Least, e.Takes), later(from.Most, e.Takes)}
}

// begun reports whether the command was begun for certain, if it ever was or will be.
func (e *entry) begun(now moment) bool {
	end := e.ends(now)
	return end.Least <= now.Least && end.Most <= now.Most
}

// dose is what the command gives at some time, if it is a dose.
func (e *entry) dose(now moment) dose {
	d := dose{ID: e.ID, Verb: e.Shape.Verb, From: e.Begin, Hi: e.Shape.Hi}
	end := e.ends(now)
	own := e.Shape.Most
	d.To = moment{later(end.Least, own), later(end.Most, own)}
	return d
}

// runs reports whether the command changes what runs.
func (s *shape) runs() bool { return s.Kind != noKind && s.Kind != doses && s.Kind != cancels }

// advance brings the account up to now: what ended by itself closes a section.
func (a *account) advance(now moment) {
	for cut := a.nextEnd(now); cut != now; cut = a.nextEnd(now) {
		a.close(cut)
	}
	for i := range a.Runs[:base] {
		if u := a.Runs[i].Until; u.Least > a.Mark.Least && u.Least <= now.Least {
			a.close(now) // it is over just now
		}
	}
	a.Runs.expire(now)
	a.Sure.expire(now)
}

// nextEnd is the moment of the next end of a layer, or now.
func (a *account) nextEnd(now moment) moment {
	cut := now
	for i := range a.Runs[:base] {
		if u := a.ended(a.Runs[i].Until, now); u.Least < cut.Least && u.Most <= cut.Most {
			cut = u
		}
	}
	return cut
}

// ended is the moment by which a layer was over that ended since the last section
// was closed, or now. Where it may have been over long ago all that passed on the
// faster scale only is told before that moment: so more counts as what the layer
// was.
func (a *account) ended(u, now moment) moment {
	if u.Least <= a.Mark.Least || u.Least >= now.Least {
		return now
	}
	if u.Most <= a.Mark.Most || u.Most >= now.Most {
		u.Most = now.Most - (now.Least - u.Least)
	}
	return u
}

// close ends the section that is under way.
func (a *account) close(now moment) {
	if now != a.Mark {
		r := a.Runs.over(a.Mark, now)
		if n := len(a.Past); n == 0 || a.Past[n-1].rate != r {
			a.Past = append(a.Past, section{r, a.Mark})
		}
		a.Mark = now
	}
}

// forget drops what no window reaches any more, and tells the oldest as one where
// there is no room.
func (a *account) forget(now moment) {
	old := now.Least - int64(MaxWindow)
	gone := 0
	for gone < len(a.Past)-1 && a.Past[gone+1].Begin.Least <= old {
		gone++
	}
	a.Past = slices.Delete(a.Past, 0, gone)
	for len(a.Past) > maxSections {
		a.Past[1].rate = a.Past[1].rate.or(a.Past[0].rate)
		a.Past[1].Begin = a.Past[0].Begin
		a.Past = slices.Delete(a.Past, 0, 1)
	}
	a.Doses = slices.DeleteFunc(a.Doses, func(d dose) bool { return d.To.Least < old })
	for len(a.Doses) > maxDoses {
		a.joinOldest()
	}
	a.Last = slices.DeleteFunc(a.Last, func(l latest) bool { return later(l.Until.Least, rescueAgain) < old })
}

// joinOldest tells the oldest dose together with the next of its verb.
func (a *account) joinOldest() {
	old := a.Doses[0]
	i := 1 + slices.IndexFunc(a.Doses[1:], func(d dose) bool { return d.Verb == old.Verb })
	if i == 0 { // hundreds of verbs do not exist
		i = 1
		a.Doses[i].Verb = device.NoVerb
	}
	d := &a.Doses[i]
	d.ID = 0
	d.From = moment{min(d.From.Least, old.From.Least), min(d.From.Most, old.From.Most)}
	d.To = moment{max(d.To.Least, old.To.Least), max(d.To.Most, old.To.Most)}
	d.Lo = min(d.Lo+old.Lo, maxAmount)
	d.Hi = min(d.Hi+old.Hi, maxAmount)
	a.Doses = slices.Delete(a.Doses, 0, 1)
}

// mixed is what runs if what is open was done, or not.
func (a *account) mixed(now moment) program {
	a.Sure.expire(now)
	p := a.Sure
	for _, e := range a.Open {
		if e.Shape.runs() && !e.Stale {
			q := e.Program
			q.expire(now)
			p = p.or(&q)
		}
	}
	return p
}

// change ends the section under way, does something, and begins the next.
func (a *account) change(now moment, do func()) {
	a.advance(now)
	a.close(now)
	do()
	a.Runs = a.mixed(now)
	a.forget(now)
}

// reserve counts a command as perhaps done.
func (a *account) reserve(now moment, e *entry) {
	a.change(now, func() {
		e.Begin, e.Sent, e.Under, e.Turn = now, never, a.Runs, a.Turn
		end := e.ends(now)
		e.Program = e.Under.apply(&e.Shape, now, end)
		e.Before = a.note(e, now)
		if e.Shape.ends() {
			a.cut(now)
		}
		for _, f := range a.Open { // what was asked for before may be done after
			if f.Shape.ends() && !f.begun(now) && e.Shape.Kind == doses {
				e.Shape.Lo = 0
			}
		}
		a.Open = append(a.Open, e)
	})
}

// ends reports whether the command may end a dose that is being given.
func (s *shape) ends() bool { return s.Kind == cancels || s.Kind == stops }

// cut says of all doses that are being given that they may have been ended.
func (a *account) cut(now moment) {
	for i := range a.Doses {
		if d := &a.Doses[i]; d.To.Most > now.Most || d.To.Least > now.Least {
			d.Lo = 0
		}
	}
	for _, e := range a.Open {
		if e.Shape.Kind == doses {
			e.Shape.Lo = 0
		}
	}
}

// note keeps when the verb was asked for, and returns what was kept of it before.
func (a *account) note(e *entry, now moment) []latest {
	l := latest{Verb: e.Shape.Verb, At: now, Until: now}
	if e.Shape.Kind == stops && e.Shape.Most < forever {
		l.Until = now.after(e.ends(now), e.Shape.Least, e.Shape.Most)
	}
	if i := a.lastOf(l.Verb); i >= 0 {
		before := []latest{a.Last[i]}
		l.Until.Least = max(l.Until.Least, a.Last[i].Until.Least)
		a.Last[i] = l
		return before
	}
	a.Last = append(a.Last, l)
	return nil
}

func (a *account) lastOf(v device.Verb) int {
	return slices.IndexFunc(a.Last, func(l latest) bool { return l.Verb == v })
}

// entry returns an open entry, or nil.
func (a *account) entry(id uint64) *entry {
	for _, e := range a.Open {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// sent says that from now on the command may be done.
func (a *account) sent(now moment, e *entry) {
	if e.Sent != never {
		return
	}
	a.change(now, func() {
		e.Sent = now
		e.Program = e.Under.apply(&e.Shape, e.Begin, e.ends(now))
	})
}

// accepted says that the command was done, now at the latest.
func (a *account) accepted(now moment, e *entry) {
	a.change(now, func() {
		a.remove(e)
		end := e.ends(now)
		switch {
		case e.Shape.Kind == doses:
			d := e.dose(now)
			d.Lo = e.Shape.Lo
			a.Doses = append(a.Doses, d)
		case e.Shape.runs() && !e.Stale:
			end = moment{min(end.Least, now.Least), min(end.Most, now.Most)}
			p := e.Under.apply(&e.Shape, e.Begin, end)
			if a.Turn != e.Turn {
				p = p.or(&a.Sure) // which was done first, nobody knows
			}
			a.replace(now, p, e)
		}
	})
}

// proposed says that the device's system took the command, and that somebody there
// decides: what ran before and what it asks for both may run, until a report says which.
func (a *account) proposed(now moment, e *entry) {
	a.change(now, func() {
		a.remove(e)
		switch {
		case e.Shape.Kind == doses:
			a.Doses = append(a.Doses, e.dose(now)) // perhaps
		case e.Shape.runs() && !e.Stale:
			p := e.Program
			if a.Turn != e.Turn {
				p = p.or(&a.Sure)
			}
			a.Sure = a.Sure.or(&p)
			a.Turn++
			w := waits{p, e.ends(now)}
			if n := len(a.Waits); n == maxOpen {
				last := &a.Waits[n-1]
				w.Program = w.Program.or(&last.Program)
				w.Until = moment{max(w.Until.Least, last.Until.Least), max(w.Until.Most, last.Until.Most)}
				a.Waits = a.Waits[:n-1]
			}
			a.Waits = append(a.Waits, w)
		}
	})
}

// replace says what runs. What was surely done before that, if ever, no longer matters.
func (a *account) replace(now moment, p program, by *entry) {
	from := now
	if by != nil {
		from = by.Begin
	}
	for _, e := range a.Open {
		if end := e.ends(now); end.Least <= from.Least && end.Most <= from.Most {
			e.Stale = true
		}
	}
	if !a.Known && (by == nil || by.Shape.Kind == runs || by.Shape.Kind == runsFor) {
		a.Known, a.Since = true, from
	}
	a.Sure = p
	a.Turn++
}

// released says that the command was not done, and never will be.
func (a *account) released(now moment, e *entry) {
	a.change(now, func() {
		a.remove(e)
		if i := a.lastOf(e.Shape.Verb); i >= 0 && a.Last[i].At == e.Begin {
			a.Last = append(slices.Delete(a.Last, i, i+1), e.Before...)
		}
	})
}

func (a *account) remove(e *entry) {
	a.Open = slices.DeleteFunc(a.Open, func(f *entry) bool { return e == f })
}

// died says that the guard was stopped, and that its journal ends with a moment:
// nobody knows what came of all that is open; nor, unless it ended in order, whether
// a rescue, which waits for no record, was done since.
func (a *account) died(from, now moment, inOrder bool) {
	if !inOrder {
		a.change(from, func() {
			a.Sure.unsure()
			a.cut(from)
			for i := range a.Waits {
				for k := range a.Waits[i].Program {
					a.Waits[i].Program[k].Lo = 0
				}
			}
			for _, e := range a.Open {
				e.Under.unsure()
				e.Program.unsure()
			}
		})
	}
	a.change(now, func() {
		for _, e := range a.Open {
			if e.Doubt == "" {
				e.Doubt = "the guard was stopped before the device had answered"
			}
			if e.Sent == never {
				e.Sent = now
			}
			e.Program = e.Under.apply(&e.Shape, e.Begin, e.ends(now))
		}
	})
}

// unsure says that perhaps less runs.
func (p *program) unsure() {
	for i := range p {
		p[i].Lo = 0
	}
}

// lose says that a command was done which cannot be counted: the sums lack it, and
// nothing is sure that runs. When it was asked for is known all the same, and that
// it may have stopped what ran: a stop again is a change.
func (a *account) lose(now moment, why string, e *entry) {
	a.change(now, func() {
		a.Lost = why
		if e != nil {
			a.note(e, now)
		}
		if e != nil && e.Shape.Kind == stops {
			stopped := a.Sure.apply(&e.Shape, now, e.ends(now))
			a.Sure = a.Sure.or(&stopped)
			a.Turn++
		}
		a.Sure.unsure()
		a.cut(now)
		for _, e := range a.Open {
			e.Under.unsure()
			e.Program.unsure()
		}
	})
}

// settledBy counts the doubts that a word of the device about what runs settles.
func (a *account) settledBy(now moment) (n int) {
	for _, e := range a.Open {
		if a.outdated(e, now) {
			n++
		}
	}
	return n
}

// outdated: whatever came of the command, what the device says now is newer.
func (a *account) outdated(e *entry, now moment) bool {
	return e.Doubt != "" && e.Shape.runs() && e.begun(now)
}

// says takes what the device says that runs: until it said so last, perhaps the
// same ran, and from now on only that.
func (a *account) says(now moment, r rate) {
	a.change(now, func() {
		a.split(a.Confirmed)
		for i := len(a.Past) - 1; i >= 0 && a.Past[i].Begin.Least >= a.Confirmed.Least; i-- {
			a.Past[i].rate = a.Past[i].rate.or(r)
		}
		a.Open = slices.DeleteFunc(a.Open, func(e *entry) bool { return a.outdated(e, now) })
		p := a.Runs
		p.shows(r, now)
		a.Waits = slices.DeleteFunc(a.Waits, func(w waits) bool { return w.Until.Least <= now.Least && w.Until.Most <= now.Most })
		for i := range a.Waits { // what it says may be of before that
			p = p.or(&a.Waits[i].Program)
		}
		a.replace(now, p, nil)
		a.Confirmed = now
	})
}

// end is when a section of the past ended.
func (a *account) end(i int) moment {
	if i+1 < len(a.Past) {
		return a.Past[i+1].Begin
	}
	return a.Mark
}

// split makes two of the section in which something happened.
func (a *account) split(at moment) {
	for i := len(a.Past) - 1; i >= 0; i-- {
		b := a.Past[i].Begin
		if b.Least > at.Least || b.Most > at.Most {
			continue
		}
		if b != at && at != a.Mark && (i+1 == len(a.Past) || a.Past[i+1].Begin != at) {
			a.Past = slices.Insert(a.Past, i+1, section{a.Past[i].rate, at})
		}
		return
	}
}

// gave takes an amount that the device says it gave: for one of our commands, or
// for somebody else since it reported last.
func (a *account) gave(now moment, id uint64, lo, hi int64, final bool) {
	a.change(now, func() {
		if e := a.entry(id); e != nil && e.Shape.Kind == doses { // then it took the command
			a.remove(e)
			a.Doses = append(a.Doses, e.dose(now))
		}
		i := slices.IndexFunc(a.Doses, func(d dose) bool { return d.ID == id && id != 0 })
		if i < 0 {
			// Perhaps it is one of our own that the device did not name: it adds to what is
			// counted, and to nothing that is sure.
			a.Doses = append(a.Doses, dose{Verb: device.DeliverBolus, From: a.Confirmed, To: now, Hi: hi})
			return
		}
		d := &a.Doses[i]
		d.Lo, d.Hi = max(d.Lo, lo), max(d.Hi, hi)
		if final {
			d.Lo, d.Hi = lo, hi
			d.To = moment{min(d.To.Least, now.Least), min(d.To.Most, now.Most)}
		}
	})
}
