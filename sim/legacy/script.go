// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/sim/radio"
)

// radios are the models that speak a dialect, and what an attacker's frames to
// them always have.
var radios = map[string]struct {
	dialect string
	always  []any
}{
	"rhythm-a": {"halden-wand", toWand}, "rhythm-s": {"halden-mics", byStudio}, "calm": {"tessel-calm", toCalm},
	"dose-classic": {"okapi-classic", toClassic}, "dose-patch": {"okapi-patch", toPod},
}

// MaxScript bounds the frames of a script.
const MaxScript = 64

// A Script is an attack on a device with a radio that needs no code: frames to send, in
// their order, and what of the device's state changes when it succeeds.
type Script struct {
	Device  string   // model
	Say     []string // an opcode of its dialect, and fields: "amplitude amplitude=1000 message=2"
	Changes []string // fields of its state, all of which have to be different afterwards
}

// Attack makes an attack of a script. It says what is wrong with one that cannot run.
func (s *Script) Attack(row, name string) (*Attack, error) {
	r, ok := radios[s.Device]
	if !ok {
		return nil, fmt.Errorf("%q has no radio; those that have are %s", s.Device, strings.Join(scriptable(), ", "))
	}
	if len(s.Say) == 0 || len(s.Say) > MaxScript || len(s.Changes) == 0 {
		return nil, fmt.Errorf("a script says 1 to %d frames, and what has to change", MaxScript)
	}
	var steps []step
	for _, line := range s.Say {
		words := strings.Fields(line)
		if len(words) == 0 {
			return nil, fmt.Errorf("a frame without an opcode")
		}
		st := step{words[0]}
		for _, w := range words[1:] {
			field, value, ok := strings.Cut(w, "=")
			if !ok {
				return nil, fmt.Errorf("%q is no field=value", w)
			}
			if n, err := strconv.ParseInt(value, 0, 64); err == nil {
				st = append(st, field, n)
			} else {
				st = append(st, field, value)
			}
		}
		if _, err := radio.Compose(radio.Sample(r.dialect), words[0], append(slices.Clone(r.always), st[1:]...)...); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		steps = append(steps, st)
	}
	d, err := New(s.Device, Config{})
	if err != nil {
		return nil, err
	}
	for _, f := range s.Changes {
		if !reflect.ValueOf(d.State()).FieldByName(f).IsValid() {
			return nil, fmt.Errorf("the state of a %s has no %s", s.Device, f)
		}
	}
	return &Attack{
		Row: row, Name: name, Device: s.Device, Realism: Wire, About: "a script of frames",
		Run: sends(r.dialect, r.always, "every frame was answered", steps...),
		hurt: func(before, after any, _ []byte) string {
			var how []string
			for _, f := range s.Changes {
				b, a := reflect.ValueOf(before).FieldByName(f), reflect.ValueOf(after).FieldByName(f)
				if reflect.DeepEqual(b.Interface(), a.Interface()) {
					return ""
				}
				how = append(how, fmt.Sprintf("%s from %v to %v", strings.ToLower(f), b.Interface(), a.Interface()))
			}
			return strings.Join(how, ", ")
		},
	}, nil
}

// scriptable are the models with a radio, in order.
func scriptable() []string {
	var names []string
	for name := range radios {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Find returns an attack of the table by row and name, as in "A02/replay".
func Find(name string) (*Attack, bool) {
	for i := range Attacks {
		if a := &Attacks[i]; a.Row+"/"+a.Name == name {
			return a, true
		}
	}
	return nil, false
}
