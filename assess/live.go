// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/watch"
)

// An Interface yields frames as they come: a [capture.Live].
type Interface interface {
	ReadBatch(*capture.Batch) error // of no frames, when none came for a moment
	Stats() (capture.LiveStats, error)
}

// Sense watches an interface until ctx is done or the interface ends, and
// returns the assessment of all that was seen; that ctx is done is no error. On
// the way tell is called, from this goroutine, with a part of the assessment as
// it is then: the devices and findings that are new or have changed.
func Sense(ctx context.Context, name string, in Interface, c Config, tell func(part *report.Assessment) error) (*report.Assessment, error) {
	start := time.Now()
	captures, beside, err := find(c.Papers, c, 1)
	if err != nil {
		return nil, err
	}
	if len(captures) > 0 {
		return nil, fmt.Errorf("%s: a capture, and no document", captures[0].path)
	}
	dialects, err := dialectsOf(c.Dialects, beside.dialects.set)
	if err != nil {
		return nil, err
	}
	w := watch.New(watch.Config{
		Jobs: c.Jobs, Key: c.Key, Baseline: c.Baseline, Catalogue: beside.learn(c.Catalogue), Record: c.Record, Register: beside.introduced(), Dialects: dialects,
	})
	src := &live{in: in}
	answer := func() *report.Assessment {
		r := w.Result()
		c.talked(&r)
		papers := beside.again()
		r.Findings = append(r.Findings, papers.know(&r, cmp.Or(c.Now, start))...)
		a := Answer(r, c)
		a.Cleared, a.Bills = papers.cleared, papers.quality
		a.Inputs = append([]report.Input{{Path: name, Kind: "interface", Bytes: src.bytes, Packets: src.packets}}, beside.list()...)
		if src.err != nil && !errors.Is(src.err, io.EOF) {
			a.Inputs[0].Error = src.err.Error()
		}
		if s, err := in.Stats(); err == nil && s.Dropped > 0 {
			a.Stats.Lost["packets that the kernel dropped because reading was too slow"] = s.Dropped
		}
		for i, warning := range papers.warnings {
			a.Inputs[i].Warning = warning
		}
		a.Stats.Seconds = time.Since(start).Seconds()
		return a
	}
	var known known
	packets, pause := uint64(0), lookEvery
	for src.err == nil && ctx.Err() == nil {
		src.until = time.Now().Add(pause)
		if err := w.Run(ctx, src); err != nil && err != src.err && ctx.Err() == nil {
			return nil, err
		}
		if src.packets == packets || src.err != nil || ctx.Err() != nil {
			continue
		}
		packets = src.packets
		began := time.Now()
		if part := known.news(answer()); part != nil {
			if err := tell(part); err != nil {
				return nil, err
			}
		}
		pause = max(lookEvery, lookShare*time.Since(began))
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	a := answer()
	if part := known.news(a); part != nil {
		if err := tell(part); err != nil {
			return nil, err
		}
	}
	return a, nil
}

const (
	lookEvery = time.Second // how often what is known is looked at, while packets come
	lookShare = 10          // looking takes at most one part in so many of the time
)

// live is the frames of an interface, as a [watch.Source] that ends when it is
// time to look at what is known.
type live struct {
	pool
	in      Interface
	until   time.Time
	batch   *batch
	next    int // index into batch.Frames
	packets uint64
	bytes   int64
	err     error // of the interface: it has ended
}

func (l *live) Next(dst []watch.Frame) (n int, release func(), err error) {
	if l.batch == nil {
		if !time.Now().Before(l.until) {
			return 0, nil, io.EOF
		}
		b := l.take()
		if l.err = l.in.ReadBatch(&b.Batch); l.err != nil {
			l.done(b)
			return 0, nil, l.err
		}
		l.batch, l.next = b, 0
	}
	b := l.batch
	for ; n < len(dst) && l.next < len(b.Frames); n++ {
		dst[n] = watch.Frame{Frame: b.Frames[l.next]}
		l.bytes += int64(len(dst[n].Data))
		l.next++
	}
	l.packets += uint64(n)
	if l.next < len(b.Frames) {
		b.users.Add(1) // this call's, beside our own
	} else {
		l.batch = nil // our own goes on to this call
	}
	return n, func() { l.done(b) }, nil
}

// known is what has been told, by id.
type known struct {
	devices  map[string]device.Device
	findings map[string]claim
}

// A claim is what of a finding is worth telling again when it changes. That it
// was seen once more is not.
type claim struct {
	kind                         finding.Kind
	title, device, product, peer string
	harm                         device.Harm
	decision                     finding.Decision
	confidence                   device.Confidence
	state                        string
	subjects                     int
}

// news returns what of a is new or has changed, or nil. What a has no longer is
// forgotten.
func (k *known) news(a *report.Assessment) *report.Assessment {
	part := &report.Assessment{Version: a.Version, Inputs: a.Inputs, Stats: a.Stats}
	devices := make(map[string]device.Device, len(a.Devices))
	for _, d := range a.Devices {
		devices[d.ID] = d
		if !reflect.DeepEqual(k.devices[d.ID], d) {
			part.Devices = append(part.Devices, d)
		}
	}
	findings := make(map[string]claim, len(a.Findings))
	for _, f := range a.Findings {
		c := claim{f.Kind, f.Title, f.Device, f.Product, f.Peer, f.Harm, f.Decision, f.Confidence, f.State, f.Subjects}
		findings[f.ID] = c
		if k.findings[f.ID] != c {
			part.Findings = append(part.Findings, f)
		}
	}
	k.devices, k.findings = devices, findings
	if part.Devices == nil && part.Findings == nil {
		return nil
	}
	return part
}
