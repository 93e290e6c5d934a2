// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package hl7

import (
	"bytes"
	"path/filepath"
	"time"

	"github.com/myelin-health/myelin/guard/front"
	"github.com/myelin-health/myelin/proto/hl7"
)

// rememberFor is how long an order is known when it comes again. Whether one that is
// forgotten comes again, its own time tells (MSH-7).
const rememberFor = 24 * time.Hour

// An orderKey is what an order, a number or a report is told by.
type orderKey = front.OrderKey

func digest(parts ...[]byte) orderKey { return front.KeyOf(parts...) }

// remember opens the memory of the orders to a front.
func (f *Front) remember(p *Policy) {
	f.memory = front.OpenMemory(front.MemoryConfig{
		Path: filepath.Join(f.env.State, p.Name+".orders"), Clock: f.clock,
		Tell: func(err error) {
			f.env.Troubled(p.Common(), front.Why("no order is taken: what came before is not known", err))
		},
	})
}

// timeOf is the time that a message has of its own (MSH-7, DTM: YYYYMMDDHHMM[SS[.S...]]
// and, if it says so, its offset from UTC), in nanoseconds since 1970; 0 is none that
// one message could be told from the next by.
func timeOf(v hl7.Value) int64 {
	b := v.Component(1).Raw()
	offset := ""
	if i := bytes.IndexAny(b, "+-"); i >= 0 {
		offset, b = string(b[i:]), b[:i]
	}
	layout := "20060102150405"
	if whole, _, fraction := bytes.Cut(b, []byte(".")); len(whole) == len("200601021504") && !fraction {
		layout = "200601021504"
	}
	if offset != "" {
		layout += "-0700"
	}
	t, err := time.Parse(layout, string(b)+offset) // which takes a fraction behind the seconds
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		return 0
	}
	return t.UnixNano()
}
