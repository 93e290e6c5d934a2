// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package assess

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/watch"
	"github.com/myelin-health/myelin/wire"
)

// A playedInterface yields batches as an interface would, then nothing more,
// or its end.
type playedInterface struct {
	batches [][]capture.Frame
	end     error // nil: it stays quiet
	dropped uint64
}

func (p *playedInterface) ReadBatch(b *capture.Batch) error {
	b.Frames = b.Frames[:0]
	switch {
	case len(p.batches) > 0:
		b.Frames = append(b.Frames, p.batches[0]...)
		p.batches = p.batches[1:]
	case p.end != nil:
		return p.end
	}
	time.Sleep(50 * time.Millisecond) // in a bubble
	return nil
}

func (p *playedInterface) Stats() (capture.LiveStats, error) {
	return capture.LiveStats{Dropped: p.dropped}, nil
}

// ward is the morning of 3 March 2026 in St. Ada Hospital.
var ward = time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC).UnixNano()

// orders are the frames of a conversation in which the hospital information
// system tells gw-icu of one patient in each message.
func orders(patients ...string) (frames []capture.Frame) {
	seq := uint32(1)
	add := func(flags byte, payload string) {
		b := make([]byte, 40, 40+len(payload))
		b[0], b[8], b[9] = 0x45, 64, wire.ProtoTCP
		binary.BigEndian.PutUint16(b[2:], uint16(40+len(payload)))
		copy(b[12:], []byte{10, 20, 1, 5, 10, 20, 3, 10})
		binary.BigEndian.PutUint16(b[20:], 40001)
		binary.BigEndian.PutUint16(b[22:], 24000)
		binary.BigEndian.PutUint32(b[24:], seq)
		b[32], b[33] = 5<<4, flags
		b = append(b, payload...)
		n := uint64(len(frames) + 1)
		frames = append(frames, capture.Frame{Data: b, Time: ward + int64(n)*1e6, Packet: n, OrigLen: len(b), Link: wire.LinkRaw})
		seq += uint32(len(payload))
	}
	add(wire.SYN, "")
	seq++
	for i, p := range patients {
		add(wire.ACK|wire.PSH, fmt.Sprintf("\x0bMSH|^~\\&|EHR|ADA|GW|ADA|20260303070000||ADT^A01|M%d|P|2.6\rPID|1||%s^^^ADA^MR||%s\r\x1c\r", i, p, p))
	}
	return frames
}

func sense(t *testing.T, in Interface, c Config, d time.Duration, tell func(*report.Assessment) error) (*report.Assessment, error) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	return Sense(ctx, "eth1", in, c, tell)
}

func TestSense(t *testing.T) {
	for _, jobs := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			frames := orders("4711", "0815")
			quiet := make([][]capture.Frame, 40) // two seconds
			in := &playedInterface{dropped: 7}
			in.batches = append(in.batches, frames[:2])
			in.batches = append(in.batches, quiet...)
			in.batches = append(in.batches, frames[2:])

			start := time.Now()
			var told []string
			a, err := sense(t, in, Config{Jobs: jobs}, time.Minute, func(part *report.Assessment) error {
				for _, f := range part.Findings {
					told = append(told, fmt.Sprintf("%v %s, %d patients", time.Since(start).Truncate(time.Second), f.Kind, f.Subjects))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			// At the first look, and again when there is a second patient.
			want := []string{"1s phi-in-clear, 1 patients", "3s phi-in-clear, 2 patients"}
			if fmt.Sprint(told) != fmt.Sprint(want) {
				t.Errorf("told %q, want %q", told, want)
			}
			if len(a.Findings) != 1 || a.Findings[0].Kind != finding.PHIInClear || a.Findings[0].Subjects != 2 {
				t.Errorf("findings %+v", a.Findings)
			}
			if in := a.Inputs[0]; in.Path != "eth1" || in.Kind != "interface" || in.Packets != 3 || in.Error != "" {
				t.Errorf("input %+v", in)
			}
			if a.Stats.Lost["packets that the kernel dropped because reading was too slow"] != 7 {
				t.Errorf("lost %v", a.Stats.Lost)
			}
			if d := time.Since(start); d.Round(time.Second) != time.Minute {
				t.Errorf("it took %v, want a minute", d)
			}
		})
	}
}

// TestSenseOpenLink tells of a link for orders while it is open, and counts it once when
// it has ended.
func TestSenseOpenLink(t *testing.T) {
	for _, jobs := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			frames := orders("4711", "0815")
			in := &playedInterface{batches: append(append([][]capture.Frame{frames[:2]}, make([][]capture.Frame, 40)...), frames[2:])}
			var told []string
			c := Config{Jobs: jobs, Sessions: func(list []watch.Session) {
				for _, s := range list {
					told = append(told, fmt.Sprintf("%s %s>%s:%d %d, %d bytes", s.Protocol, s.Client.Value, s.Server.Value, s.Port, s.Count, s.Bytes))
				}
			}}
			if _, err := sense(t, in, c, time.Minute, func(*report.Assessment) error { return nil }); err != nil {
				t.Fatal(err)
			}
			n := len(frames[1].Data) - 40
			one, two := fmt.Sprintf("hl7 10.20.1.5>10.20.3.10:24000 1, %d bytes", n), fmt.Sprintf("hl7 10.20.1.5>10.20.3.10:24000 1, %d bytes", 2*n)
			if want := []string{one, two, two}; !slices.Equal(told, want) { // at two looks, and at the end
				t.Errorf("told %q, want %q", told, want)
			}
		})
	}
}

func TestSenseTellsTheRestAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &playedInterface{batches: [][]capture.Frame{orders("4711")}, end: io.EOF}
		n := 0
		a, err := sense(t, in, Config{}, time.Minute, func(part *report.Assessment) error {
			n += len(part.Findings)
			return nil
		})
		if err != nil || n != 1 || len(a.Findings) != 1 {
			t.Errorf("%d findings told, %v", n, err)
		}
	})
}

func TestSenseErrors(t *testing.T) {
	gone := errors.New("network is down")
	synctest.Test(t, func(t *testing.T) {
		in := &playedInterface{batches: [][]capture.Frame{orders("4711")}, end: gone}
		a, err := sense(t, in, Config{Jobs: 2}, time.Minute, func(*report.Assessment) error { return nil })
		if err != nil || a.Inputs[0].Error != gone.Error() || len(a.Findings) != 1 {
			t.Errorf("the interface went away: %v, %+v", err, a)
		}
		in = &playedInterface{batches: [][]capture.Frame{orders("4711")}}
		_, err = sense(t, in, Config{}, time.Minute, func(*report.Assessment) error { return gone })
		if err != gone {
			t.Errorf("nobody could be told: %v", err)
		}
	})
}

// More frames than a unit of watching holds go through in several.
func TestSenseLargeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frame := orders()[0]
		var batch []capture.Frame
		for i := range 5000 {
			frame.Packet = uint64(i + 1)
			batch = append(batch, frame)
		}
		in := &playedInterface{batches: [][]capture.Frame{batch, batch}, end: io.EOF}
		a, err := sense(t, in, Config{Jobs: 2}, time.Minute, func(*report.Assessment) error { return nil })
		if err != nil || a.Stats.Packets != 10000 || a.Inputs[0].Packets != 10000 || a.Inputs[0].Bytes != int64(10000*len(frame.Data)) {
			t.Errorf("%v, %+v", err, a.Inputs)
		}
	})
}

// TestSensePapers: with the same papers beside it an interface is answered as its capture
// is, however often it was looked at on the way; and a capture is no paper.
func TestSensePapers(t *testing.T) {
	const folder = "../testdata/ward/"
	papers := []string{folder + "register.csv", folder + "ada-2026-01.csaf.json", folder + "flowlink-1.8.cdx.json"}
	want, err := Run(t.Context(), append([]string{folder + "icu.pcapng"}, papers...), Config{Jobs: 1})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(folder + "icu.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := capture.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	played := &playedInterface{end: io.EOF}
	var b capture.Batch
	for err = r.ReadBatch(&b); err == nil; err = r.ReadBatch(&b) {
		played.batches = append(played.batches, b.Frames)
		b = capture.Batch{}
	}
	for len(played.batches) < 60 { // three seconds: it is looked at on the way
		played.batches = append(played.batches, nil)
	}
	synctest.Test(t, func(t *testing.T) {
		got, err := Sense(t.Context(), "eth1", played, Config{Jobs: 1, Papers: papers}, func(*report.Assessment) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		ids := func(a *report.Assessment) (ids []string) {
			for _, f := range a.Findings {
				ids = append(ids, f.ID)
			}
			return ids
		}
		if d := cmp.Diff(ids(want), ids(got)); d != "" {
			t.Error(d)
		}
		if len(got.Inputs) != 4 || len(got.Bills) != len(want.Bills) || len(got.Devices) != len(want.Devices) {
			t.Errorf("%d inputs, %d bills, %d devices", len(got.Inputs), len(got.Bills), len(got.Devices))
		}
	})
	if _, err := Sense(t.Context(), "eth1", &playedInterface{end: io.EOF}, Config{Jobs: 1, Papers: []string{folder + "icu.pcapng"}}, nil); err == nil {
		t.Error("a capture is taken for a document")
	}
}
