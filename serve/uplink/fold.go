// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"slices"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/store"
)

// talk is what observations that are summed have in common.
type talk struct {
	client, server device.Address
	protocol       string
	port           uint16
	hour           int64
	encrypted      bool
}

// fold puts a batch and the one behind it together, or returns nil when both have no
// room in one. Nothing of theirs is changed.
func fold(a, b *store.Batch) *store.Batch {
	out := &store.Batch{Sequence: b.Sequence, Sent: b.Sent, Held: a.Held, HeldToo: a.HeldToo, State: a.State, StateNews: a.StateNews || b.StateNews, Beat: a.Beat}
	out.Observations = sum(a.Observations, b.Observations)
	out.Devices = latest(a.Devices, b.Devices, func(d *device.Device) string { return d.ID })
	out.Findings = latest(a.Findings, b.Findings, func(f *finding.Finding) string { return f.ID })
	out.Events = slices.Concat(a.Events, b.Events)
	if b.HeldToo {
		out.Held, out.HeldToo = b.Held, true
	}
	if b.State != nil {
		out.State = b.State
	}
	if b.Beat != nil {
		out.Beat = b.Beat
	}
	if len(out.Observations) > store.MaxObservations || len(out.Devices) > store.MaxDevices || len(out.Findings) > store.MaxFindings || len(out.Events) > store.MaxEvents {
		return nil
	}
	if body, err := out.Encode(); err != nil || len(body) > maxFolded {
		return nil
	}
	return out
}

// sum adds up what is the same but for its time within an hour.
func sum(lists ...[]store.Observation) (out []store.Observation) {
	at := map[talk]int{}
	for _, list := range lists {
		for _, o := range list {
			k := talk{o.Client, o.Server, o.Protocol, o.Port, o.Last / hourNanos, o.Encrypted}
			i, ok := at[k]
			if !ok {
				at[k] = len(out)
				out = append(out, o)
				continue
			}
			s := &out[i]
			s.First, s.Last = min(s.First, o.First), max(s.Last, o.Last)
			s.Count += o.Count
			s.Packets += o.Packets
			s.Bytes += o.Bytes
		}
	}
	return out
}

// latest keeps the last of what has the same id, in the place of the first.
func latest[T any](a, b []T, id func(*T) string) []T {
	out := slices.Clone(a)
	at := make(map[string]int, len(out))
	for i := range out {
		at[id(&out[i])] = i
	}
	for i := range b {
		if j, ok := at[id(&b[i])]; ok {
			out[j] = b[i]
		} else {
			at[id(&b[i])] = len(out)
			out = append(out, b[i])
		}
	}
	return out
}
