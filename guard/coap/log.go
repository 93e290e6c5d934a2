// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"math/bits"
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cwt"
	"github.com/myelin-health/myelin/link/therapy"
	protocol "github.com/myelin-health/myelin/proto/coap"
)

func (f *Front) getLog(q *request) protocol.Message {
	if a, ok := f.reads(q, device.ReadSettings); !ok {
		return a
	}
	f.quick.Lock()
	all, next := slices.Clone(f.log), f.number
	f.quick.Unlock()
	return page(q, all, next, false)
}

// An entry is one line of the front's own log, for who asks for it over the link. The
// events are what counts as a record.
type entry struct {
	event, actor string
	role         device.Role
	verb         device.Verb
	value        device.Quantity
	verdict, why string
}

func (f *Front) note(e entry) {
	f.quick.Lock()
	defer f.quick.Unlock()
	if e.verdict == "refused" { // those that are alike are noted each time their number has doubled
		key := e.event + "\x00" + e.actor + "\x00" + e.why
		if len(f.alike) >= maxPeers {
			clear(f.alike)
		}
		f.alike[key]++
		if bits.OnesCount64(f.alike[key]) != 1 {
			return
		}
	}
	d := therapy.Document{therapy.Number.Is(f.number), therapy.Time.Is(f.env.Now().Unix()), therapy.Event.Is(e.event)}
	if e.verb != device.NoVerb {
		d = append(d, therapy.Verb.Is(uint64(cwt.VerbNumber(e.verb))))
	}
	some := therapy.Document{
		therapy.Value.Is(e.value), therapy.Actor.Is(e.actor), therapy.Role.Is(e.role.String()), therapy.Verdict.Is(e.verdict), therapy.Why.Is(e.why),
	}
	for _, x := range some {
		if x.Value != "" && x.Value != (device.Quantity{}) {
			d = append(d, x)
		}
	}
	f.log = append(f.log, d.Append(nil))
	if len(f.log) > maxEntries {
		f.log = slices.Clone(f.log[maxEntries/4:])
	}
	f.number++
}
