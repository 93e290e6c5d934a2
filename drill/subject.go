// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/therapy"
	wire "github.com/myelin-health/myelin/proto/coap"
	"github.com/myelin-health/myelin/sim/legacy"
)

// A usual is what a kind of device is asked for in a drill.
type usual struct {
	legal   therapy.Request // within what it may be asked for
	absurd  therapy.Request // authorised, and beyond what any patient survives
	rescue  therapy.Request // what has to pass all the same
	stacked therapy.Request // legal once, and absurd when it comes again and again; none where nothing adds up
}

// verbs are what a clinician is granted: all of it, for what is refused has to be refused for what it is.
func (u *usual) verbs() []device.Verb {
	v := []device.Verb{u.legal.Verb, u.absurd.Verb, u.rescue.Verb}
	v = slices.DeleteFunc(v, func(v device.Verb) bool { return v == device.NoVerb })
	slices.Sort(v)
	return slices.Compact(v)
}

func ask(v device.Verb, value string) therapy.Request {
	return therapy.Request{Verb: v, Value: quantity(value)}
}

// A subject is a device behind the channel, as its maker built it in, or behind a guard.
type subject struct {
	*clinic
	usual
	attacks []*legacy.Attack // that it is held to
	model   string           // of sim/legacy, whose state is its state; "" where it is none
	network string           // udp or tcp
	addr    string           // where it listens
	state   func() any       // of the device itself
	did     func() int       // how many things it has done

	// refusals is how often a guard has refused something; nil where the device is its own guard.
	refusals func() int64

	restart func() error
	stop    func()
}

// come is somebody who comes with a token, to where the subject listens or over a path to it.
func (s *subject) come(ctx context.Context, role device.Role, addr string) (*programmer, error) {
	h := s.people[role]
	return connect(ctx, addr, h.own, s.device, h.token)
}

// A moment is what a device is, and how many things it has done: one that is told a second time to be what it is
// has done something.
type moment struct {
	state any
	did   int
}

func (s *subject) now() moment { return moment{s.state(), s.did()} }

// unchanged holds the device to a moment before.
func (s *subject) unchanged(before moment, what string) error {
	if now := s.now(); !reflect.DeepEqual(still(before.state), still(now.state)) || before.did != now.did {
		return errors.New(what + " changed the device")
	}
	return nil
}

// passing are the fields of a device's state that its radio changes, or the time: a bolus that was legally
// ordered is still being given. One that was ordered again would stand in Ordered and Boluses.
var passing = []string{"WakeUps", "Used", "BatteryMV", "Told", "Delivered", "BolusGiven", "BolusLeft", "Reservoir"}

// still is a device's state without what its radio did and what goes on by itself.
func still(state any) any {
	v := reflect.New(reflect.TypeOf(state)).Elem()
	v.Set(reflect.ValueOf(state))
	for _, name := range passing {
		if v.Kind() != reflect.Struct {
			break
		}
		if f := v.FieldByName(name); f.IsValid() {
			f.SetZero()
		}
	}
	return v.Interface()
}

// A check does something to a device that is protected. How says what was held; an error that it was not.
type check func(ctx context.Context, s *subject) (how string, err error)

// Whoever protects a device is held to the same.
var (
	channelChecks = with(map[string]check{"eavesdrop": eavesdrop, "impostor": impostor, "wake": wakeChannel})
	guardChecks   = with(map[string]check{"role": role, "rescue": rescue, "wake": wakeGuard})
)

func with(more map[string]check) map[string]check {
	more["attack"], more["replay"], more["stranger"], more["absurd"] = attack, replay, stranger, absurd
	return more
}

// attack runs the attack itself, as if this were the device.
func attack(ctx context.Context, s *subject) (string, error) {
	before := s.now()
	for _, a := range s.attacks {
		r, run, err := attackAt(ctx, a, s.network, s.addr)
		if err != nil {
			return "", err
		}
		if !run || a.Device != s.model {
			continue
		}
		if how, hurt := a.Hurt(before.state, s.state(), &r); hurt {
			return "", errors.New(how)
		}
	}
	return "the attack itself changes nothing", s.unchanged(before, "the attack")
}

// replay records what a clinician sends, and sends it again: in the session, in a new one, and after a
// restart.
func replay(ctx context.Context, s *subject) (string, error) {
	path, err := newRelay(s.addr)
	if err != nil {
		return "", err
	}
	defer path.close()
	p, err := s.come(ctx, device.Clinician, path.addr)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if err := p.passes(ctx, &s.legal); err != nil {
		return "", err
	}
	recorded := path.heard()
	for _, when := range []string{"in the same session", "in a new session", "after a restart"} {
		switch when {
		case "in a new session":
			q, err := s.come(ctx, device.Clinician, s.addr)
			if err != nil {
				return "", err
			}
			defer q.Close()
		case "after a restart":
			if err := s.restart(); err != nil {
				return "", err
			}
		}
		before := s.now()
		n, err := again(s.addr, recorded)
		if err != nil {
			return "", err
		}
		if n < 2 {
			return "", errors.New("nothing was recorded")
		}
		if err := s.unchanged(before, "a recorded command "+when); err != nil {
			return "", err
		}
	}
	return "recorded commands are refused in the session, in a new one and after a restart", nil
}

// stranger asks without protection, with a key that is not enrolled, and in a role without the right.
func stranger(ctx context.Context, s *subject) (string, error) {
	if s.network == "tcp" {
		return attack(ctx, s) // it comes without a certificate
	}
	before := s.now()
	if err := strange(ctx, s.addr, s.device, &s.legal); err != nil {
		return "", err
	}
	if err := s.unchanged(before, "a stranger"); err != nil {
		return "", err
	}
	if _, err := role(ctx, s); err != nil {
		return "", err
	}
	return "without protection, with a key that is not enrolled and in a role without the right: refused", nil
}

// refused orders a command. That it is refused has to be by the guard, where there is one: a device that
// does not do it either shows nothing of the guard.
func (s *subject) refused(ctx context.Context, p *programmer, command []byte) (wire.Code, error) {
	var before int64
	if s.refusals != nil {
		before = s.refusals()
	}
	code, err := p.order(ctx, command)
	if err == nil && code.Class() == 4 && s.refusals != nil && s.refusals() == before {
		err = fmt.Errorf("the guard let it pass, and the device answered %v", code)
	}
	return code, err
}

// role asks in a role without the right, for something that is no rescue: those are everybody's who is proven.
func role(ctx context.Context, s *subject) (string, error) {
	q := s.legal
	if q.Verb == s.usual.rescue.Verb {
		q = s.usual.absurd
	}
	p, err := s.come(ctx, device.Technician, s.addr)
	if err != nil {
		return "", err
	}
	defer p.Close()
	before := s.now()
	if code, err := s.refused(ctx, p, q.Append(nil)); err != nil || code != wire.Forbidden {
		return "", unwanted("a role without the right", code, err)
	}
	return "a role without the right is refused, whatever code it knows", s.unchanged(before, "a technician")
}

// tooOften is how often what is legal once is asked for.
const tooOften = 24

// absurd asks for doses that are authorised and absurd, and for a rescue, which has to be possible all the same.
func absurd(ctx context.Context, s *subject) (string, error) {
	p, err := s.come(ctx, device.Clinician, s.addr)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if err := p.passes(ctx, &s.legal); err != nil {
		return "", err
	}
	before := s.now()
	for name, payload := range absurdities(&s.usual) {
		if code, err := s.refused(ctx, p, payload); err != nil || code.Class() != 4 {
			return "", unwanted(name, code, err)
		}
		if err := s.unchanged(before, name); err != nil {
			return "", err
		}
	}
	how := fmt.Sprintf("%s %s, a negative one, 10^-12 of it, NaN and infinity are refused even to whom it is granted", s.usual.absurd.Verb, s.usual.absurd.Value)
	if !s.stacked.Value.IsNone() {
		passed, code := 0, wire.Changed
		for code == wire.Changed && passed < tooOften {
			if code, err = s.refused(ctx, p, s.stacked.Append(nil)); err != nil {
				return "", err
			}
			if code == wire.Changed {
				passed++
			}
		}
		if code.Class() != 4 || code == wire.TooManyRequests { // which is about the radio, and not about the dose
			return "", unwanted(fmt.Sprintf("%s %s, after %d of them,", s.stacked.Verb, s.stacked.Value, passed), code, nil)
		}
		how += fmt.Sprintf("; after %d of %s %s upon it the next is refused", passed, s.stacked.Verb, s.stacked.Value)
	}
	rescued, err := rescue(ctx, s)
	return how + "; " + rescued, err
}

// absurdities are commands that nobody may get through, by what they are.
func absurdities(u *usual) map[string][]byte {
	negative, tiny := u.absurd, u.absurd
	negative.Value.Coefficient *= -1
	tiny.Value = device.Quantity{Coefficient: 1, Exponent: -12, Unit: u.absurd.Value.Unit}
	bare := therapy.Request{Verb: u.absurd.Verb}
	float := func(half ...byte) []byte { // the value is a float of CBOR (RFC 8949 section 3.3), which no quantity is
		b := bare.Append(nil)
		b[0]++ // a map of one more
		return append(append(b, byte(therapy.Value), 7<<5|25), half...)
	}
	return map[string][]byte{
		u.absurd.Verb.String() + " " + u.absurd.Value.String(): u.absurd.Append(nil),
		"a negative value": negative.Append(nil), "a value of twelve places": tiny.Append(nil),
		"NaN": float(0x7e, 0), "infinity": float(0x7c, 0),
	}
}

// rescue asks for a rescue, which has to pass and to reach the device.
func rescue(ctx context.Context, s *subject) (string, error) {
	p, err := s.come(ctx, device.Clinician, s.addr)
	if err != nil {
		return "", err
	}
	defer p.Close()
	before := s.did()
	if err := p.passes(ctx, &s.usual.rescue); err != nil {
		return "", err
	}
	if s.did() == before {
		return "", errors.New("the rescue did not reach the device")
	}
	return "the rescue " + s.usual.rescue.Verb.String() + " passes", nil
}

// unwanted is the error of an answer that should have been another.
func unwanted(what string, code wire.Code, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s was answered %v", what, code)
}
