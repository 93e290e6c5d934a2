// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/myelin-health/myelin"
	"github.com/myelin-health/myelin/capture"
)

// The morning of the captures.
var (
	ended   = time.Date(2026, 3, 3, 6, 20, 0, 0, time.UTC)
	morning = 20 * time.Minute
)

// A tape is what a sensor hears: captures of the ward, as one.
type tape []line

// A line is one frame, as it stands in a capture.
type line struct {
	at    time.Time
	frame capture.Frame
	text  []byte // of a frame log
}

// tapeOf reads captures of the ward. A frame log goes with no other.
func tapeOf(files ...string) (t tape, err error) {
	for _, name := range files {
		b, err := myelin.Sample.ReadFile("testdata/ward/" + name)
		if err != nil {
			return nil, err
		}
		r, err := capture.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		lines := bytes.SplitAfter(b, []byte("\n"))
		var f capture.Frame
		for err = r.ReadFrame(&f); err == nil; err = r.ReadFrame(&f) {
			l := line{at: time.Unix(0, f.Time), frame: f}
			l.frame.Data, l.frame.Interface = bytes.Clone(f.Data), 0
			if r.Kind() == "frame-log" {
				l.text = lines[f.Packet-1]
			}
			t = append(t, l)
		}
		if !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	slices.SortStableFunc(t, func(a, b line) int { return cmp.Compare(a.frame.Time, b.frame.Time) })
	return t, nil
}

// play writes the tape to w as if the morning ended at now, so many times as fast as it
// was.
func (t tape) play(ctx context.Context, w io.Writer, now time.Time, speed float64) error {
	later, began := now.Sub(ended), time.Now()
	write := func(l *line) error {
		was, _ := l.at.UTC().MarshalJSON()
		is, _ := l.at.Add(later).UTC().MarshalJSON()
		_, err := w.Write(bytes.Replace(l.text, was, is, 1))
		return err
	}
	if t[0].text == nil {
		out, err := capture.NewWriter(w, t[0].frame.Link)
		if err != nil {
			return err
		}
		write = func(l *line) error {
			f := l.frame
			f.Time = l.at.Add(later).UnixNano()
			return out.WriteFrame(&f)
		}
	}
	for i := range t {
		due := time.Duration(float64(t[i].at.Sub(ended.Add(-morning))) / speed)
		if left := due - time.Since(began); left > 0 {
			if err := awhile(ctx, left); err != nil {
				return err
			}
		}
		if err := write(&t[i]); err != nil {
			return err
		}
	}
	return nil
}
