// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import "github.com/myelin-health/myelin/device"

// A moment is when something happened, on two scales: least goes by the slower of
// the machine's clocks, most by the faster. The time between two moments lies
// between the differences on both, whatever a clock was set to; when both clocks
// are right they agree.
type moment struct {
	Least int64 `json:"l"`
	Most  int64 `json:"m"`
}

var (
	never  = moment{-forever, -forever} // over, for as long as anybody knows
	always = moment{forever, forever}   // not over before it is changed
)

// since returns the least and the most time from an earlier moment to m.
func (m moment) since(n moment) (least, most int64) {
	least, most = m.Least-n.Least, m.Most-n.Most
	if least > most {
		least, most = most, least
	}
	return max(0, least), max(0, most)
}

// after is the moment that comes at least one, at most another time after
// something that happened from m to n.
func (m moment) after(n moment, least, most int64) moment {
	return moment{Least: later(n.Least, most), Most: later(m.Most, least)}
}

func later(at, by int64) int64 { return min(at+min(by, forever), forever) }

// A rate is the least and the most that runs, in millionths per hour.
type rate struct {
	Lo  int64 `json:"lo,omitempty"`
	Hi  int64 `json:"hi,omitempty"`
	Off bool  `json:"off,omitempty"` // perhaps a command has stopped it
}

// or is what runs when one or the other does.
func (r rate) or(s rate) rate { return rate{min(r.Lo, s.Lo), max(r.Hi, s.Hi), r.Off || s.Off} }

// A layer is a rate that hides what lies below it until it is over. Until.Least
// says when that is certain, Until.Most when it may be.
type layer struct {
	rate
	Until moment      `json:"u"`
	By    device.Verb `json:"by,omitempty"` // what stopped
}

// The layers of a program, the upper first.
const (
	stop      = iota // nothing is given until ...
	temporary        // a rate that ends by itself
	base             // what runs until it is changed
	layers
)

// A program is what a device gives by itself from now on.
type program [layers]layer

// nothing is the program of a device of which nothing is known.
var nothing = program{stop: {Until: never}, temporary: {Until: never}, base: {Until: always}}

// over is what may run at some time from a to b.
func (p *program) over(a, b moment) rate {
	r, seen := rate{}, false
	for i := range p {
		l := &p[i]
		if l.Until.Least <= a.Least {
			continue
		}
		if seen {
			r = r.or(l.rate)
		} else {
			r, seen = l.rate, true
		}
		if b.Most <= l.Until.Most {
			break // it hides the rest
		}
	}
	return r
}

// ahead is what may run from a time after now on.
func (p *program) ahead(now moment, by int64) rate {
	at := moment{later(now.Least, by), later(now.Most, by)}
	return p.over(at, moment{at.Least + 1, at.Most + 1})
}

// or is the program of a device that has one or the other.
func (p *program) or(q *program) program {
	r := *p
	for i := range r {
		l, m := &r[i], &q[i]
		switch {
		case m.Until == never:
			l.Until.Most = never.Most // perhaps it is not there
		case l.Until == never:
			*l = *m
			l.Until.Most = never.Most
		default:
			l.rate = l.rate.or(m.rate)
			if l.By != m.By {
				l.By = device.NoVerb
			}
			l.Until = moment{max(l.Until.Least, m.Until.Least), min(l.Until.Most, m.Until.Most)}
		}
		if l.Until.Least == never.Least {
			*l = layer{Until: never}
		}
	}
	return r
}

// expire takes away what is over for certain.
func (p *program) expire(now moment) {
	for i := range p[:base] {
		if p[i].Until.Least <= now.Least {
			p[i] = layer{Until: never}
		}
	}
}

// shows takes in what the device says that runs now. Of what the program can have it
// is the first that fits, and what lies above is over; unless that was certain, it
// may as well be that somebody has set it at the device, for ever. What does not fit
// was set there.
func (p *program) shows(r rate, now moment) {
	for i := range p {
		l := &p[i]
		if l.Until == never || r.Lo < l.Lo || l.Hi < r.Hi {
			continue
		}
		for j := range p[:i] {
			p[j] = layer{Until: never}
		}
		if i < base && (l.rate != r || l.Until.Most <= now.Most) {
			p[base].rate = p[base].rate.or(r)
		}
		l.rate = r
		return
	}
	*p = nothing
	p[base].rate = r
}

// perhaps says of a layer that it may be over.
func (p *program) perhaps(i int, now moment) {
	p[i].Until.Most = min(p[i].Until.Most, now.Most)
}

// A shape is what a command does to a program, or gives at once.
type shape struct {
	Kind  kind        `json:"k,omitempty"`
	Verb  device.Verb `json:"v,omitempty"`
	Lo    int64       `json:"lo,omitempty"` // rate or amount
	Hi    int64       `json:"hi,omitempty"`
	Off   bool        `json:"off,omitempty"`
	Least int64       `json:"tl,omitempty"` // its own time: at least, at most, as it was rounded
	Most  int64       `json:"tm,omitempty"` // forever: no end
}

// A kind of shape.
type kind uint8

const (
	noKind   kind = iota
	doses         // an amount
	runs          // a rate until it is changed
	runsFor       // a rate that ends by itself, with nothing behind it
	overlays      // a rate that ends by itself, with what ran before behind it
	stops         // nothing, for a time or until it is changed
	restores      // what was stopped runs again
	uncovers      // what ran before the temporary rate
	cancels       // what is being given may have been ended
	kindCount
)

// apply returns the program of a device that took a command at some time from
// first to last.
func (p *program) apply(s *shape, first, last moment) program {
	q := *p
	r := rate{s.Lo, s.Hi, s.Off}
	until := always
	if s.Most < forever {
		until = first.after(last, s.Least, s.Most)
	}
	switch s.Kind {
	case runs, runsFor:
		// Whether a temporary rate or a stop holds on is the device's to say.
		q.perhaps(stop, first)
		if q[temporary].Until != never {
			q[temporary].rate = q[temporary].rate.or(r)
			q.perhaps(temporary, first)
		}
		if q[stop].By == s.Verb { // by a rate of nothing, which is no longer set
			q[stop] = layer{Until: never}
		}
		if s.Kind == runs {
			q[base] = layer{rate: r, Until: always}
			break
		}
		q[base] = layer{Until: always}
		if q[temporary].Until != never {
			until = moment{max(until.Least, q[temporary].Until.Least), min(until.Most, q[temporary].Until.Most)}
			r = r.or(q[temporary].rate)
		}
		q[temporary] = layer{rate: r, Until: until}
	case overlays:
		q.perhaps(stop, first)
		q[temporary] = layer{rate: r, Until: until}
	case stops:
		if q[stop].Until != never {
			until = moment{max(until.Least, q[stop].Until.Least), min(until.Most, q[stop].Until.Most)}
		}
		q[stop] = layer{rate: rate{Off: true}, Until: until, By: s.Verb}
		q.perhaps(temporary, first)
	case restores:
		if s.Verb == device.Resume || s.Verb == q[stop].By {
			q[stop] = layer{Until: never}
		} else {
			q.perhaps(stop, first)
		}
		q.perhaps(temporary, first)
	case uncovers:
		q[temporary] = layer{Until: never}
	}
	return q
}
