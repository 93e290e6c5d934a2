// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/proto/radio"
)

// A listener is what somebody heard of the sample dialect "halden-mics".
type listener struct {
	*scene
	t       testing.TB
	dialect *radio.Dialect
}

func newListener(t testing.TB) *listener {
	for _, d := range radio.Samples() {
		if d.Name == "halden-mics" {
			return &listener{newScene(), t, d}
		}
	}
	t.Fatal("no sample dialect halden-mics")
	return nil
}

// hears hears a command to a device: one that has to be new each time, with a
// number of the session.
func (r *listener) hears(implant int64, session uint16) {
	r.hearsFrame("therapies", implant, 0, session)
}

func (r *listener) hearsFrame(opcode string, implant, programmer int64, session uint16) {
	m, err := r.dialect.Message(opcode)
	if err == nil {
		err = errors.Join(m.Set("device", implant), m.Set("programmer", programmer), m.SetBytes("session", binary.BigEndian.AppendUint16(nil, session)))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.now += 1e6
	r.frames = append(r.frames, Frame{Frame: capture.Frame{
		Data: r.dialect.Append(nil, m), Time: r.now, Link: capture.LinkFrameLog, Packet: uint64(len(r.frames) + 1),
	}, Dialect: r.dialect.Name})
}

func (r *listener) watched() *Watcher {
	w := New(Config{Jobs: 1, Dialects: func() *radio.Set {
		var s radio.Set
		if err := s.Add(r.dialect); err != nil {
			r.t.Fatal(err)
		}
		return &s
	}})
	if err := w.Run(context.Background(), &sliceSource{r.frames, nil}); err != nil {
		r.t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		r.t.Fatal(err)
	}
	return w
}

const implant = 0x5e2b90d4

// A flood of addresses takes no memory without end, and makes nobody forget a
// command that is then replayed.
func TestTransmitterFlood(t *testing.T) {
	r := newListener(t)
	r.hears(implant, 1)
	r.hears(implant, 2)
	for n := range int64(2 * maxTransmitters) {
		r.hears(n+1, uint16(n))
	}
	r.hears(implant, 1)
	w := r.watched()
	if n := len(w.shards[airShard].air.transmitters.rows); n > maxTransmitters {
		t.Errorf("%d transmitters", n)
	}
	result := w.Result()
	replays := func(f finding.Finding) bool { return f.Kind == finding.TherapyCommandReplayed }
	if i := slices.IndexFunc(result.Findings, replays); i < 0 || result.Findings[i].Sightings[0].Packet != uint64(len(r.frames)) {
		t.Error("the replay was not seen")
	}
	if result.Stats.Dropped < maxTransmitters {
		t.Errorf("that %d were forgotten is not counted", result.Stats.Dropped)
	}
}

// TestRepeats is about an unanswered frame, which is sent again for as long as
// its dialect says.
func TestRepeats(t *testing.T) {
	for _, tt := range []struct {
		repeats time.Duration
		later   int64
		replay  bool
	}{
		{0, 1, false},
		{0, 3, true},
		{time.Minute, 3, false},
		{time.Minute, 61, true},
	} {
		r := newListener(t)
		r.dialect.Repeats = tt.repeats
		r.hears(implant, 1)
		r.later(tt.later)
		r.hears(implant, 1)
		if s := kinds(r.watched().Result().Findings); strings.Contains(s, "replayed") != tt.replay {
			t.Errorf("repeated for %s, and heard %d s later: %s", tt.repeats, tt.later, s)
		}
	}
}
