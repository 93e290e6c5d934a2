// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
)

// watchScene watches the frames of a scene; chunk chooses how many come at a time.
func watchScene(t testing.TB, s *scene, jobs int, chunk func() int) *Watcher {
	t.Helper()
	w := New(Config{Jobs: jobs, Key: []byte("the key of tests")})
	if err := w.Run(context.Background(), &sliceSource{s.frames, chunk}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

// sameHowever watches frames with one, two and four workers, in units that end
// elsewhere, and expects the same of everything, down to what was given up.
func sameHowever(t *testing.T, s *scene) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	few, many := func() int { return 1 + r.IntN(3) }, func() int { return 1 + r.IntN(2*unitFrames) }
	want := watchScene(t, s, 1, nil).Result()
	type how struct {
		name  string
		jobs  int
		chunk func() int
	}
	ways := []how{
		{"two workers", 2, nil},
		{"four workers, a few frames at a time", 4, few},
		{"one worker, a few frames at a time", 1, few},
		{"two workers, many frames at a time", 2, many},
		{"four workers", 4, nil},
	}
	if len(s.frames) > 50000 {
		ways = ways[:2]
	}
	for _, how := range ways {
		w := watchScene(t, s, how.jobs, how.chunk)
		if got := w.Result(); !reflect.DeepEqual(want, got) { // gocmp takes seconds for what is the same
			diff := gocmp.Diff(want, got, gocmp.AllowUnexported(Session{}))
			t.Fatalf("%s: %s", how.name, diff[:min(len(diff), 4000)])
		}
	}
	if len(s.frames) > 50000 {
		return
	}
	w := watchScene(t, s, 2, nil)
	w.Result()
	if got := w.Result(); !reflect.DeepEqual(want, got) {
		diff := gocmp.Diff(want, got, gocmp.AllowUnexported(Session{}))
		t.Fatalf("asked again: %s", diff[:min(len(diff), 4000)])
	}
}

// captured is all real captures beside the repository, merged by time.
func captured(t *testing.T) *scene {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(sharedCaptures, "*.pcap*"))
	if len(names) == 0 {
		t.Skip("the captures beside the repository (../shared/captures) are not here")
	}
	s := newScene()
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := capture.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var f capture.Frame
		var last int64
		for r.ReadFrame(&f) == nil {
			last = max(last, f.Time)
			f.Time, f.Data = last, bytes.Clone(f.Data)
			s.frames = append(s.frames, Frame{Frame: f, Input: int32(i)})
		}
	}
	slices.SortStableFunc(s.frames, func(a, b Frame) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Input, b.Input)) })
	return s
}

func TestSameHoweverCaptures(t *testing.T) { sameHowever(t, captured(t)) }

// TestSameHoweverFlood reaches the bounds of the flow tables and of the
// ordered stage, so that what is given up must be the same, too.
func TestSameHoweverFlood(t *testing.T) {
	sameHowever(t, synFlood(maxNodes+20000))
}

func TestSameHoweverScenes(t *testing.T) {
	all := newScene()
	for _, d := range slices.Concat(therapyDetections, recordDetections, scanDetections, accessDetections, networkDetections, outsideDetections, weaknessDetections) {
		d.scene(all)
		all.wait(20 * time.Minute)
	}
	all.events = nil
	sameHowever(t, all)
}

// Events come in the order of their packets, whoever worked on them.
func TestEventsInOrder(t *testing.T) {
	s := newScene()
	for i := range 300 {
		s.ftp(host(i), ct1, i%2 == 0)
		s.talk(ehr, gate, 24000, told1(fmt.Sprint(i))...)
	}
	record := func(jobs int, chunk func() int) (out []string) {
		w := New(Config{Jobs: jobs, Key: []byte("k"), Record: func(e *event.Event) error {
			var b strings.Builder
			fmt.Fprint(&b, e.Kind, e.Time, e.Device, e.Peer, e.Sighting)
			for _, a := range e.Attrs() {
				fmt.Fprint(&b, " ", a.Key, a.Int, a.Text)
			}
			out = append(out, b.String())
			return nil
		}})
		if err := w.Run(context.Background(), &sliceSource{s.frames, chunk}); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := record(1, nil)
	if len(want) < 600 {
		t.Fatalf("%d events", len(want))
	}
	for _, jobs := range []int{1, 2, 4} {
		if diff := gocmp.Diff(want, record(jobs, func() int { return 7 })); diff != "" {
			t.Errorf("%d workers: %s", jobs, diff)
		}
	}
}

// A source that fails, a listener that fails and a context that is done end a
// run, with whatever number of workers, and what came before is not lost.
func TestRunEnds(t *testing.T) {
	broken, refused := errors.New("broken"), errors.New("refused")
	for _, jobs := range []int{1, 2, 4} {
		s := newScene()
		s.ftp(laptop, ct1, true)
		src := &failing{sliceSource{frames: s.frames}, broken}
		w := New(Config{Jobs: jobs})
		if err := w.Run(context.Background(), src); !errors.Is(err, broken) {
			t.Errorf("%d workers: %v, want the source's error", jobs, err)
		}
		w.Flush()
		if r := w.Result(); r.Stats.Packets != uint64(len(s.frames)) || len(r.Sessions) == 0 {
			t.Errorf("%d workers: %d packets, %d sessions before the error", jobs, r.Stats.Packets, len(r.Sessions))
		}
		w = New(Config{Jobs: jobs, Record: func(*event.Event) error { return refused }})
		if err := errors.Join(w.Run(context.Background(), &sliceSource{frames: s.frames}), w.Flush()); !errors.Is(err, refused) {
			t.Errorf("%d workers: %v, want the listener's error", jobs, err)
		}
		done, cancel := context.WithCancel(context.Background())
		cancel()
		if err := New(Config{Jobs: jobs}).Run(done, &sliceSource{frames: s.frames}); !errors.Is(err, context.Canceled) {
			t.Errorf("%d workers: %v, want %v", jobs, err, context.Canceled)
		}
		if err := New(Config{Jobs: jobs}).Run(context.Background(), &sliceSource{}); err != nil {
			t.Errorf("%d workers: nothing to watch: %v", jobs, err)
		}
	}
}

// failing yields frames, and then an error with none.
type failing struct {
	sliceSource
	err error
}

func (f *failing) Next(dst []Frame) (int, func(), error) {
	n, release, err := f.sliceSource.Next(dst)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, release, err
}

// TestOwnBaseline takes what was seen as what is expected: the same once more
// is nothing unexpected.
func TestOwnBaseline(t *testing.T) {
	scenes := []*scene{captured(t)}
	for _, d := range slices.Concat(therapyDetections, scanDetections, accessDetections, networkDetections, outsideDetections) {
		s := newScene()
		d.scene(s)
		s.events = nil
		scenes = append(scenes, s)
	}
	for i, s := range scenes {
		first := s.play(t, Config{})
		b := expects()
		for _, x := range first.Sessions {
			b.Links[Link{x.Client.Value, x.Server.Value, cmp.Or(x.Protocol, "unknown")}] = true
		}
		for _, d := range first.Devices {
			for _, a := range d.Addresses {
				b.Names[a.Value] = true
			}
		}
		for _, f := range s.play(t, Config{Baseline: b}).Findings {
			if finding.Kinds[f.Kind].Unexpected {
				t.Errorf("scene %d: %v of %s with %s: %s", i, f.Kind, f.Device, f.Peer, f.Sightings[0].Note)
			}
		}
	}
}
