// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

const (
	meterAfter = time.Second // what is done sooner needs no meter
	meterEvery = 200 * time.Millisecond
)

// A meter shows in one line how far reading has come: rate, amount, and the
// time that is left.
type meter struct {
	w     io.Writer // nil: nobody is watching
	began time.Time
	next  time.Time
	shown bool
}

// newMeter returns a meter that shows itself only to a person at a terminal.
func newMeter(w io.Writer) *meter {
	now := time.Now()
	m := &meter{began: now, next: now.Add(meterAfter)}
	if f, ok := w.(*os.File); ok && terminal(f) {
		m.w = w
	}
	return m
}

// show is told how much was read; total is 0 when nobody knows.
func (m *meter) show(packets, bytes, total uint64) {
	now := time.Now()
	if m.w == nil || now.Before(m.next) {
		return
	}
	m.next, m.shown = now.Add(meterEvery), true
	fmt.Fprintf(m.w, "\r\x1b[K%s", meterLine(packets, bytes, total, now.Sub(m.began)))
}

// say shows another line.
func (m *meter) say(format string, args ...any) {
	now := time.Now()
	if m.w == nil || now.Before(m.next) {
		return
	}
	m.next, m.shown = now.Add(meterEvery), true
	fmt.Fprintf(m.w, "\r\x1b[K"+format, args...)
}

// clear takes the line away.
func (m *meter) clear() {
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
}

func meterLine(packets, bytes, total uint64, spent time.Duration) string {
	const mega = 1e6
	rate := float64(packets) / spent.Seconds() / mega
	if bytes == 0 || total < bytes {
		return fmt.Sprintf("reading: %.0f MB, %.2f million packets/s", float64(bytes)/mega, rate)
	}
	left := time.Duration(float64(spent) * float64(total-bytes) / float64(bytes))
	return fmt.Sprintf("reading: %.0f of %.0f MB, %.2f million packets/s, %v left",
		float64(bytes)/mega, float64(total)/mega, rate, left.Round(time.Second))
}

// terminal reports whether f is one whose line can be rewritten.
func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
