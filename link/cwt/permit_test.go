// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"pgregory.net/rapid"
)

const proven = device.Encrypted | device.Authenticated | device.Fresh

func TestPermits(t *testing.T) {
	q := func(s string) device.Quantity { return quantity(t, s) }
	patient := Grant{Role: device.Patient, Verbs: []VerbGrant{
		bolus(t),
		{device.SetTemporaryBasal, Limits{Highest: q("2 [iU]/h"), Longest: q("2 h")}},
		{device.SetAmplitude, Limits{Highest: q("3 mA")}},
		{Verb: device.ReadTelemetry},
	}}
	clinician := Grant{Role: device.Clinician, Verbs: []VerbGrant{
		{Verb: device.DeliverBolus},
		{Verb: device.Suspend},
		{Verb: device.Standby},
		{Verb: device.SetDetection},
		{device.SetPacingRate, Limits{Highest: q("120 {pulses}/min"), Lowest: q("50 {pulses}/min")}},
		{Verb: device.EmergencyPreset},
		{Verb: device.ReadSettings},
		{device.SetAmplitude, Limits{Highest: q("3 mA"), Lowest: q("-3 mA")}},
	}}
	narrow := clinician
	narrow.Narrow = true
	updater := Grant{Role: device.Updater, Verbs: []VerbGrant{{Verb: device.Install}}}
	forged := Grant{Role: device.Updater, Verbs: []VerbGrant{{Verb: device.DeliverBolus}}}
	loose := Grant{Role: device.Patient, Verbs: []VerbGrant{{Verb: device.DeliverBolus}}}

	insulin, pacing, icd := device.InsulinInfusion, device.Pacing, device.Defibrillation
	for name, test := range map[string]struct {
		g    Grant
		c    device.Command
		want error
	}{
		"patient's bolus":             {patient, device.Command{Verb: device.DeliverBolus, Value: q("3.0 [iU]")}, nil},
		"the same in thousandths":     {patient, device.Command{Verb: device.DeliverBolus, Value: q("3000 m[iU]")}, nil},
		"above the limit":             {patient, device.Command{Verb: device.DeliverBolus, Value: q("3.01 [iU]")}, ErrLimit},
		"in another kind of unit":     {patient, device.Command{Verb: device.DeliverBolus, Value: q("1 mL")}, ErrUndecided},
		"without a unit":              {patient, device.Command{Verb: device.DeliverBolus, Value: q("1")}, ErrUndecided},
		"without a value":             {patient, device.Command{Verb: device.DeliverBolus}, ErrUndecided},
		"negative":                    {patient, device.Command{Verb: device.DeliverBolus, Value: q("-1 [iU]")}, ErrLimit},
		"negative current":            {patient, device.Command{Verb: device.SetAmplitude, Value: q("-5 mA")}, ErrLimit},
		"negative current, in bounds": {clinician, device.Command{Verb: device.SetAmplitude, Value: q("-2 mA")}, nil},
		"and out of them":             {clinician, device.Command{Verb: device.SetAmplitude, Value: q("-5 mA")}, ErrLimit},
		"below the lowest":            {clinician, device.Command{Therapy: pacing, Verb: device.SetPacingRate, Value: q("30 {pulses}/min")}, ErrLimit},
		"between":                     {clinician, device.Command{Therapy: pacing, Verb: device.SetPacingRate, Value: q("60 {pulses}/min")}, nil},
		"for long enough":             {patient, device.Command{Verb: device.SetTemporaryBasal, Value: q("2 [iU]/h"), Limit: q("120 min")}, nil},
		"for too long":                {patient, device.Command{Verb: device.SetTemporaryBasal, Value: q("2 [iU]/h"), Limit: q("121 min")}, ErrLimit},
		"for ever":                    {patient, device.Command{Verb: device.SetTemporaryBasal, Value: q("2 [iU]/h")}, ErrLimit},
		"for a volume":                {patient, device.Command{Verb: device.SetTemporaryBasal, Value: q("2 [iU]/h"), Limit: q("1 mL")}, ErrUndecided},
		"not granted":                 {patient, device.Command{Verb: device.SetBasalRate, Value: q("1 [iU]/h")}, ErrVerb},
		"no verb":                     {patient, device.Command{}, ErrRole},
		"read":                        {patient, device.Command{Verb: device.ReadTelemetry}, nil},
		"read, maybe old":             {patient, device.Command{Verb: device.ReadTelemetry, Channel: device.Encrypted | device.Authenticated}, nil},
		"read, unproven":              {patient, device.Command{Verb: device.ReadTelemetry, Channel: device.Encrypted}, ErrUnproven},
		"bolus, maybe old":            {patient, device.Command{Verb: device.DeliverBolus, Value: q("1 [iU]"), Channel: device.Encrypted | device.Authenticated}, ErrUnproven},
		"bolus, unproven":             {patient, device.Command{Verb: device.DeliverBolus, Value: q("1 [iU]"), Channel: device.Fresh}, ErrUnproven},
		"in another role":             {patient, device.Command{Verb: device.DeliverBolus, Value: q("1 [iU]"), Role: device.Clinician}, ErrRole},
		"clinician's bolus":           {clinician, device.Command{Verb: device.DeliverBolus, Value: q("20 [iU]")}, nil},

		"rescue that was not granted":    {patient, device.Command{Therapy: insulin, Verb: device.CancelBolus}, nil},
		"rescue by an updater":           {updater, device.Command{Therapy: insulin, Verb: device.CancelBolus}, nil},
		"rescue, narrowed":               {narrow, device.Command{Therapy: insulin, Verb: device.StopPriming}, nil},
		"rescue, maybe old":              {patient, device.Command{Therapy: insulin, Verb: device.CancelBolus, Channel: device.Encrypted | device.Authenticated}, ErrUnproven},
		"rescue, unproven":               {patient, device.Command{Therapy: insulin, Verb: device.CancelBolus, Channel: device.Encrypted}, ErrUnproven},
		"rescue in another role":         {patient, device.Command{Therapy: insulin, Verb: device.CancelBolus, Role: device.Carer}, ErrRole},
		"suspend for a while":            {updater, device.Command{Therapy: insulin, Verb: device.Suspend, Limit: q("30 min")}, nil},
		"suspend for ever":               {patient, device.Command{Therapy: insulin, Verb: device.Suspend}, ErrVerb},
		"suspend for ever, updater":      {updater, device.Command{Therapy: insulin, Verb: device.Suspend}, ErrRole},
		"cancel-bolus is no rescue":      {patient, device.Command{Therapy: pacing, Verb: device.CancelBolus}, ErrVerb},
		"preset of a pacemaker":          {patient, device.Command{Therapy: pacing, Verb: device.EmergencyPreset}, nil},
		"ventilator, standby":            {clinician, device.Command{Therapy: device.Ventilation, Verb: device.Standby}, ErrStop},
		"detection off":                  {clinician, device.Command{Therapy: icd, Verb: device.SetDetection, Value: q("0 1")}, ErrUnattended},
		"detection off, attended":        {clinician, device.Command{Therapy: icd, Verb: device.SetDetection, Value: q("0 1"), Attended: true}, nil},
		"detection on":                   {clinician, device.Command{Therapy: icd, Verb: device.SetDetection, Value: q("1 1")}, nil},
		"shock, alone":                   {clinician, device.Command{Therapy: icd, Verb: device.DeliverShock}, ErrVerb},
		"shock, attended, is a rescue":   {clinician, device.Command{Therapy: icd, Verb: device.DeliverShock, Attended: true}, nil},
		"updater's install":              {updater, device.Command{Verb: device.Install}, nil},
		"updater's therapy":              {forged, device.Command{Verb: device.DeliverBolus, Value: q("1 [iU]")}, ErrRole},
		"patient without limits":         {loose, device.Command{Verb: device.DeliverBolus, Value: q("1 [iU]")}, ErrScope},
		"narrowed: bolus":                {narrow, device.Command{Verb: device.DeliverBolus, Value: q("1 [iU]")}, ErrNarrow},
		"narrowed: suspend for ever":     {narrow, device.Command{Therapy: insulin, Verb: device.Suspend}, ErrNarrow},
		"narrowed: read":                 {narrow, device.Command{Verb: device.ReadSettings}, nil},
		"narrowed: read not granted":     {narrow, device.Command{Verb: device.ReadTelemetry}, ErrVerb},
		"narrowed: preset of a stranger": {narrow, device.Command{Therapy: device.Neurostimulation, Verb: device.EmergencyPreset}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.c
			if c.Channel == 0 {
				c.Channel = proven
			}
			if c.Role == device.NoRole {
				c.Role = test.g.Role
			}
			if c.Therapy == device.NoTherapy {
				c.Therapy = insulin
			}
			err := test.g.Permits(&c, new(Meter), atNoon)
			if test.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkError(t, err, "scope", test.want)
		})
	}
}

// TestRescuesPass: each rescue of each therapy, from each role.
func TestRescuesPass(t *testing.T) {
	n := 0
	for therapy := device.NoTherapy + 1; therapy.String() != ""; therapy++ {
		for _, r := range therapy.Info().Rescues {
			for _, role := range allRoles {
				c := &device.Command{Therapy: therapy, Verb: r.Verb, Role: role, Channel: proven, Attended: r.Attended, Limit: r.Within}
				if err := (&Grant{Role: role, Narrow: true}).Permits(c, nil, Instant{}); err != nil {
					t.Errorf("%v: %v from %v: %v", therapy, r.Verb, role, err)
				}
				n++
			}
		}
	}
	if n < 70 {
		t.Errorf("only %d rescues", n)
	}
}

func TestSums(t *testing.T) {
	g := Grant{Role: device.Patient, Verbs: []VerbGrant{
		bolus(t), // 10 [iU] in 4 h
		{device.SetTemporaryBasal, Limits{Highest: quantity(t, "6 [iU]/h"), Sum: quantity(t, "3 [iU]"), Window: 2 * time.Hour}},
	}}
	m := new(Meter)
	try := func(at Instant, verb device.Verb, value, limit string, want error) {
		t.Helper()
		c := &device.Command{Therapy: device.InsulinInfusion, Verb: verb, Role: device.Patient, Channel: proven, Value: quantity(t, value)}
		if limit != "" {
			c.Limit = quantity(t, limit)
		}
		err := g.Permits(c, m, at)
		if !errors.Is(err, want) {
			t.Errorf("%v %s for %s: %v, want %v", verb, value, limit, err, want)
		}
		if err == nil {
			if err := m.Add(c, at); err != nil {
				t.Error(err)
			}
			// As after a restart.
			again, err := ParseMeter(m.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Append(nil), m.Append(nil)) {
				t.Errorf("%x, then %x", m.Append(nil), again.Append(nil))
			}
			*m = *again
		}
	}
	at := atNoon
	for range 3 {
		try(at, device.DeliverBolus, "3 [iU]", "", nil)
		at = at.after(time.Hour)
	}
	try(at, device.DeliverBolus, "1001 m[iU]", "", ErrLimit)
	try(at, device.DeliverBolus, "1 [iU]", "", nil)
	try(at, device.DeliverBolus, "0.001 [iU]", "", ErrLimit)
	at = at.after(time.Hour - time.Second)
	try(at, device.DeliverBolus, "1 [iU]", "", ErrLimit)
	back := at
	back.Unix += 7200 // the clock jumped: uptime says that it is early still
	try(back, device.DeliverBolus, "1 [iU]", "", ErrLimit)
	again := Instant{Boot: 2, Uptime: 90 * time.Hour} // after a restart without the time nothing ages
	try(again, device.DeliverBolus, "1 [iU]", "", ErrLimit)
	at = at.after(time.Second)
	try(at, device.DeliverBolus, "3 [iU]", "", nil)

	// Rates are areas: 10 min of 6 U/h are 1 U.
	at = atNoon.after(24 * time.Hour)
	try(at, device.SetTemporaryBasal, "6 [iU]/h", "", ErrLimit) // open-ended: 12 U
	try(at, device.SetTemporaryBasal, "6 [iU]/h", "10 min", nil)
	try(at, device.SetTemporaryBasal, "6 [iU]/h", "20.1 min", ErrLimit)
	try(at, device.SetTemporaryBasal, "1.5 [iU]/h", "1 h", nil)
	try(at, device.SetTemporaryBasal, "1.5 [iU]/h", "21 min", ErrLimit)
	// 10 min of 1 U/h have no end as a decimal, and count as 0.17 U: 612 s are 0.17 h.
	try(at, device.SetTemporaryBasal, "1 [iU]/h", "10 min", nil)
	try(at, device.SetTemporaryBasal, "3.4 [iU]/h", "6 min", ErrLimit)
	try(at, device.SetTemporaryBasal, "3.3 [iU]/h", "6 min", nil)
	// What began before the window reaches into it.
	at = at.after(2*time.Hour + 30*time.Minute)
	try(at, device.SetTemporaryBasal, "1.6 [iU]/h", "1 h", ErrLimit)
	try(at, device.SetTemporaryBasal, "1.5 [iU]/h", "1 h", nil)

	if err := g.Permits(&device.Command{
		Verb: device.DeliverBolus, Role: device.Patient, Channel: proven, Value: quantity(t, "1 [iU]"),
	}, nil, at); !errors.Is(err, ErrUndecided) {
		t.Errorf("without a meter: %v", err)
	}
	m.Forget(at.after(MaxWindow + time.Hour))
	if len(m.doses) != 0 {
		t.Errorf("%d doses are not forgotten", len(m.doses))
	}
}

// TestMeterBounded: however many commands there are, none is lost from the sum.
func TestMeterBounded(t *testing.T) {
	m := new(Meter)
	at := atNoon
	for i := range 3 * maxGiven {
		if err := m.Add(&device.Command{Verb: device.DeliverBolus, Value: quantity(t, "0.01 [iU]")}, at); err != nil {
			t.Fatal(err)
		}
		// Rates for so long, each another time.
		at = at.after(time.Second)
		c := &device.Command{Verb: device.SetTemporaryBasal, Value: quantity(t, "0.01 [iU]/h"), Limit: device.Quantity{Coefficient: int64(600 + i), Unit: unitOf("s")}}
		if err := m.Add(c, at); err != nil {
			t.Fatal(err)
		}
		at = at.after(time.Second)
	}
	got, err := m.given(device.DeliverBolus, unitOf("[iU]"), time.Hour, at)
	if c, _ := got.Cmp(quantity(t, "3.84 [iU]")); err != nil || c != 0 || len(m.doses) != maxGiven {
		t.Errorf("%v in %d, %v", got, len(m.doses), err)
	}
	// 384 of 0.01 U/h for 600 s and more: 0.85 U at least, and never less than that.
	got, err = m.given(device.SetTemporaryBasal, unitOf("[iU]"), time.Hour, at)
	if c, _ := got.Cmp(quantity(t, "0.85 [iU]")); err != nil || c < 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSumNeverExceeded: whatever is asked for, and however the clock goes, what was
// permitted within any window by uptime is within the limit.
func TestSumNeverExceeded(t *testing.T) {
	limit := quantity(t, "10 [iU]")
	unit := limit.Unit
	rapid.Check(t, func(t *rapid.T) {
		g := Grant{Role: device.Patient, Verbs: []VerbGrant{{device.DeliverBolus, Limits{Highest: limit, Sum: limit, Window: time.Hour}}}}
		m := new(Meter)
		at := atNoon
		type dose struct {
			at    time.Duration
			units int64
		}
		var given []dose
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			at.Uptime += time.Duration(rapid.Int64Range(0, 1800).Draw(t, "wait")) * time.Second
			at.Unix += rapid.Int64Range(-4000, 4000).Draw(t, "clock")
			units := rapid.Int64Range(1, 10).Draw(t, "units")
			c := &device.Command{Verb: device.DeliverBolus, Role: device.Patient, Channel: proven, Value: device.Quantity{Coefficient: units, Unit: unit}}
			if g.Permits(c, m, at) == nil {
				if err := m.Add(c, at); err != nil {
					t.Fatal(err)
				}
				given = append(given, dose{at.Uptime, units})
			}
			sum := int64(0)
			for _, d := range given {
				if at.Uptime-d.at < time.Hour {
					sum += d.units
				}
			}
			if sum > 10 {
				t.Fatalf("%d U in an hour", sum)
			}
		}
	})
}

func TestInstant(t *testing.T) {
	s := time.Second
	for name, test := range map[string]struct {
		then, now   Instant
		least, most time.Duration
	}{
		"the same":               {atNoon, atNoon, 0, 0},
		"ten seconds":            {atNoon, atNoon.after(10 * s), 10 * s, 10 * s},
		"clock ahead":            {Instant{1000, 1, 0}, Instant{2000, 1, 10 * s}, 10 * s, 1000 * s},
		"clock back":             {Instant{1000, 1, 0}, Instant{900, 1, 10 * s}, 0, 10 * s},
		"time not known":         {Instant{0, 1, 0}, Instant{0, 1, 10 * s}, 10 * s, 10 * s},
		"time known now":         {Instant{0, 1, 0}, Instant{1000, 1, 10 * s}, 10 * s, 10 * s},
		"restart, time known":    {Instant{1000, 1, 50 * s}, Instant{1010, 2, 1 * s}, 10 * s, 10 * s},
		"restart, time unknown":  {Instant{1000, 1, 50 * s}, Instant{0, 2, 100 * s}, 0, 0},
		"restart, clock back":    {Instant{1000, 1, 50 * s}, Instant{900, 2, 100 * s}, 0, 0},
		"a clock beyond measure": {Instant{1, 1, 0}, Instant{1 << 62, 1, 10 * s}, 10 * s, time.Duration(1<<62) / s * s},
	} {
		if least, most := test.now.atLeast(test.then), test.now.atMost(test.then); least != test.least || most != test.most {
			t.Errorf("%s: %v to %v, want %v to %v", name, least, most, test.least, test.most)
		}
	}
}
