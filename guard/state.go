// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A State is what holds at a guard, as its server is told: which limits are whose, what
// was given under them, and what waits for people. There is no word of a patient in it:
// devices are called as guard.yaml calls them, people by the ids that hospitals give.
type State struct {
	At          time.Time        `json:"at"`
	Page        string           `json:"page,omitempty"` // address of the guard's own
	Confirms    bool             `json:"confirms"`       // clinicians at the server decide
	Devices     []DeviceState    `json:"devices"`
	Emergencies []EmergencyState `json:"emergencies,omitempty"` // that are open
	Doubts      []DoubtState     `json:"doubts,omitempty"`
	Trouble     []string         `json:"trouble,omitempty"` // with the guard itself
}

// The bounds of a state: what is beyond is on the guard's own page.
const (
	MaxStateBytes = 2 << 20
	maxHours      = 256 // sums whose last hour is told
	maxOpen       = 512 // of each kind
	sampleTold    = time.Minute
)

// A DeviceState is how a device is guarded.
type DeviceState struct {
	ID           string     `json:"id"`
	Therapy      string     `json:"therapy"`
	Harm         string     `json:"harm"`
	Envelope     string     `json:"envelope,omitempty"`
	Version      int        `json:"version,omitempty"`
	Drug         string     `json:"drug,omitempty"`
	Author       string     `json:"author,omitempty"`
	AuthorRole   string     `json:"author_role,omitempty"`
	Approver     string     `json:"approver,omitempty"`
	ApproverRole string     `json:"approver_role,omitempty"`
	Risk         string     `json:"risk,omitempty"`         // where the decision of IEC 80001-1 is filed
	Manufacturer string     `json:"manufacturer,omitempty"` // its position
	Digest       string     `json:"digest,omitempty"`       // of the file: SHA-256, in hexadecimal
	Limits       []string   `json:"limits,omitempty"`       // in words
	Enforcing    bool       `json:"enforcing"`
	Because      string     `json:"because,omitempty"` // why it is only observed
	Since        time.Time  `json:"since"`
	State        string     `json:"state,omitempty"` // of the therapy, as the device reported it
	Rate         string     `json:"rate,omitempty"`
	Reported     time.Time  `json:"reported,omitzero"`
	Sums         []SumState `json:"sums"`

	NotCounted string `json:"not_counted,omitempty"`
	ClockDoubt string `json:"clock_doubt,omitempty"`

	When     when       `json:"-"`
	Heard    when       `json:"-"`
	Pictures []*Picture `json:"-"`
	Bars     []bool     `json:"-"`
}

// A HeldState is a command that waits for a person.
type HeldState struct {
	ID      string    `json:"id"`
	Front   string    `json:"front"`
	Device  string    `json:"device"`
	Actor   string    `json:"actor"` // as proven; "" is nobody
	Verb    string    `json:"verb"`
	Drug    string    `json:"drug,omitempty"`
	Now     string    `json:"now"` // "" when unknown
	Value   string    `json:"value"`
	Limit   string    `json:"limit,omitempty"`
	Effect  string    `json:"effect"`
	Therapy string    `json:"therapy"`
	Harm    string    `json:"harm"`
	Why     string    `json:"why"`
	Asked   time.Time `json:"asked"`
	Expires time.Time `json:"expires"`

	Left string `json:"-"`
	When when   `json:"-"`
	What string `json:"-"`              // which command this is
	Self bool   `json:"-"`              // the viewer asked for it
	Dose bool   `json:"dose,omitempty"` // the value is one dose, and nothing was before it
	Bars []bool `json:"-"`
}

// A DoubtState is a dose of which nobody knows whether it was given.
type DoubtState struct {
	ID     uint64    `json:"id"`
	Device string    `json:"device"`
	Verb   string    `json:"verb"`
	Value  string    `json:"value"`
	Limit  string    `json:"limit,omitempty"`
	Actor  string    `json:"actor"`
	Since  time.Time `json:"since"`
	Why    string    `json:"why"`

	When when `json:"-"`
}

// An EmergencyState is a session of emergency access.
type EmergencyState struct {
	Time    time.Time `json:"time"`
	Device  string    `json:"device"`
	Front   string    `json:"front"`
	Actor   string    `json:"actor"`
	Target  string    `json:"target"`
	Reason  string    `json:"reason"`
	Outcome string    `json:"outcome"`
	Until   time.Time `json:"until,omitzero"`

	When when   `json:"-"`
	Left string `json:"-"`
}

// Standing is the state without what was given, which changes by itself.
func (g *Guard) Standing() *State { return g.state((*Guard).standing) }

// State is what holds now.
func (g *Guard) State() *State {
	hours := 0
	return g.state(func(g *Guard, d *Device) DeviceState {
		row := g.deviceRow(d)
		for i := range row.Sums {
			if hours++; hours > maxHours {
				row.Sums[i].Hour = nil
			}
			row.Sums[i].Hour = thin(row.Sums[i].Hour)
		}
		return row
	})
}

func (g *Guard) state(of func(*Guard, *Device) DeviceState) *State {
	conf := g.conf.Load()
	s := &State{At: g.cfg.Now().UTC(), Confirms: conf.Server != nil && conf.Server.Confirms, Emergencies: g.openRows(), Doubts: g.doubtRows(), Trouble: g.Unready()}
	if conf.Page != nil {
		s.Page = conf.Page.Address
	}
	s.Emergencies, s.Doubts, s.Trouble = first(s.Emergencies), first(s.Doubts), first(s.Trouble)
	for i := range conf.Devices {
		s.Devices = append(s.Devices, of(g, &conf.Devices[i]))
	}
	return s
}

// Bytes is the state as JSON, of at most [MaxStateBytes]: what has no room is left out,
// pictures first, and then the words of limits.
func (s *State) Bytes() ([]byte, error) {
	for drop := 0; ; drop++ {
		b, err := json.Marshal(s)
		if err != nil || len(b) <= MaxStateBytes {
			return b, err
		}
		for i := range s.Devices {
			d := &s.Devices[i]
			switch drop {
			case 0:
				for k := range d.Sums {
					d.Sums[k].Hour = nil
				}
			case 1:
				d.Limits = nil
			default:
				return nil, fmt.Errorf("%w: %d bytes", errState, len(b))
			}
		}
	}
}

func first[T any](list []T) []T { return list[:min(len(list), maxOpen)] }

// thin keeps the last sample of each minute, in numbers that are short.
func thin(list []Sample) (out []Sample) {
	for _, s := range list {
		s.Delivered, s.Counted, s.Planned = short4(s.Delivered), short4(s.Counted), short4(s.Planned)
		if n := len(out); n > 0 && out[n-1].At/int64(sampleTold/time.Second) == s.At/int64(sampleTold/time.Second) {
			out[n-1] = s
		} else {
			out = append(out, s)
		}
	}
	return out
}

// short4 is a number to four digits.
func short4(f float64) float64 {
	f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', 4, 64), 64)
	return f
}

var errState = errors.New("not a guard's state")

// ParseState reads what [State] is as JSON, from a guard that may be hostile.
func ParseState(b []byte) (*State, error) {
	if len(b) > MaxStateBytes {
		return nil, fmt.Errorf("%w: %d bytes", errState, len(b))
	}
	s := &State{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	if len(s.Devices) > maxDevices || max(len(s.Emergencies), len(s.Doubts), len(s.Trouble)) > maxOpen {
		return nil, fmt.Errorf("%w: %d devices, %d emergencies, %d doubts", errState, len(s.Devices), len(s.Emergencies), len(s.Doubts))
	}
	for i := range s.Devices {
		for _, sum := range s.Devices[i].Sums {
			if len(sum.Hour) > maxSamples {
				return nil, fmt.Errorf("%w: %d samples", errState, len(sum.Hour))
			}
		}
	}
	return s, nil
}
