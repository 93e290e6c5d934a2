// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/internal/journal"
)

// Meters are what pumps had given by their own totals, kept over a restart of the front:
// without them what somebody gave at a keypad while it was started again would be in no
// account. What is known for longer than a report holds, or over a restart of the machine,
// is not taken up again: when it was given nobody could say, and a dose that is counted
// as given now holds up a lowest sum. It is for one goroutine.
type meters struct {
	journal *journal.Journal // nil: they cannot be kept
	lapse   envelope.Lapse
	clock   func() envelope.Reading
	kept    map[string]keptMeter // as they are in the file
}

// A keptMeter is one record of the file, in JSON. The newest of a pump counts.
type keptMeter struct {
	Pump                string
	Total, Rate, Behind int64
	Concentration       string
	At                  time.Duration // of the lapse
	Lapse               envelope.Lapse
}

const keepMeterEvery = 10 * time.Second

// keepMeters opens the file, and takes up what holds.
func (f *Front) keepMeters(p *Policy) *meters {
	k := &meters{clock: f.clock, kept: map[string]keptMeter{}}
	if k.clock == nil {
		k.clock = envelope.ReadClock
	}
	j, records, err := journal.Open(filepath.Join(f.env.State, p.Name+".meters"), "myelin guard meters 1")
	for n := 0; err == nil && n < len(records); n++ {
		var m keptMeter
		if e := json.Unmarshal(records[n], &m); e != nil {
			err = fmt.Errorf("%w: record %d is of no pump", journal.ErrDamaged, n)
			j.Close()
			break
		}
		k.lapse = m.Lapse
		k.kept[m.Pump] = m
	}
	if err != nil {
		f.env.Troubled(p.Common(), "what pumps gave is not kept over a restart: "+p.Name+".meters: "+err.Error())
		return k
	}
	k.journal = j
	boot := k.lapse.Reading.Boot
	k.lapse.Pass(k.clock())
	f.mu.Lock()
	defer f.mu.Unlock()
	for pump, m := range k.kept {
		age := k.lapse.Least - m.At
		if boot != k.lapse.Reading.Boot || age > reportAge || len(p.Pumps[pump]) == 0 {
			delete(k.kept, pump)
			continue
		}
		c, _ := device.ParseQuantity(m.Concentration)
		f.meters[pump] = &meter{at: f.env.Now().Add(-age), total: m.Total, rate: m.Rate, behind: m.Behind, concentration: c}
	}
	return k
}

// keep writes down a pump's meter when the book was told what it reported: at once when
// that was an amount, which would be told twice, and else now and then.
func (k *meters) keep(f *Front, r *reported) {
	pump := r.device
	k.lapse.Pass(k.clock())
	before, ok := k.kept[pump]
	if k.journal == nil || ok && r.report.Amount.IsNone() && k.lapse.Least-before.At < keepMeterEvery {
		return
	}
	f.mu.Lock()
	m, all := *f.meter(pump), len(f.reports) == 0
	f.mu.Unlock()
	if m.at.IsZero() || !all { // a meter that is ahead of the book would hide what waits
		return
	}
	now := keptMeter{Pump: pump, Total: m.total, Rate: m.rate, Behind: m.behind, At: k.lapse.Least, Lapse: k.lapse}
	if !m.concentration.IsNone() {
		now.Concentration = m.concentration.String()
	}
	k.kept[pump] = now
	b, err := json.Marshal(now)
	if err == nil && k.journal.Full() {
		var all [][]byte
		for _, m := range k.kept {
			m.Lapse = k.lapse
			one, _ := json.Marshal(m)
			all = append(all, one)
		}
		err = k.journal.Replace(all)
	} else if err == nil {
		err = k.journal.Write(b)
	}
	if err != nil {
		f.env.Troubled(f.policy.Load().Common(), "what pumps gave is not kept over a restart: "+err.Error())
		k.close()
	}
}

func (k *meters) close() {
	if k.journal != nil {
		k.journal.Close()
		k.journal = nil
	}
}
