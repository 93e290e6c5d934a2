// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
)

// An Instant is when something is, as a device knows it: it may not know the time,
// but counts since it started.
type Instant struct {
	Unix   int64         // seconds since 1970; 0: the time is not known
	Boot   uint64        // which start of the device this is; none has the number twice
	Uptime time.Duration // since that start, monotonic
}

// Known reports whether the time is known.
func (i Instant) Known() bool { return i.Unix > 0 }

// atLeast is what has passed for sure from then to i: the less of wall clock and
// uptime. Over a restart without the time that is nothing.
func (i Instant) atLeast(then Instant) time.Duration {
	up, wall, both := i.since(then)
	switch {
	case i.Boot != then.Boot && !both:
		return 0
	case i.Boot != then.Boot:
		return max(0, wall)
	case both:
		return max(0, min(up, wall))
	}
	return max(0, up)
}

// atMost is the most that is known to have passed: the more of both.
func (i Instant) atMost(then Instant) time.Duration {
	up, wall, both := i.since(then)
	switch {
	case i.Boot != then.Boot && !both:
		return 0
	case i.Boot != then.Boot:
		return max(0, wall)
	case both:
		return max(0, up, wall)
	}
	return max(0, up)
}

func (i Instant) since(then Instant) (up, wall time.Duration, both bool) {
	const most = int64(1<<62) / int64(time.Second)
	seconds := min(max(i.Unix-then.Unix, -most), most)
	return i.Uptime - then.Uptime, time.Duration(seconds) * time.Second, i.Known() && then.Known()
}

func (i Instant) append(dst []byte) []byte {
	// What a careless caller hands in can be read back, or all records with it are lost.
	dst = cbor.AppendInt(cbor.AppendArray(dst, 3), max(0, i.Unix))
	return cbor.AppendInt(cbor.AppendUint(dst, i.Boot), max(0, int64(i.Uptime)))
}

func readInstant(r *cbor.Reader) (i Instant) {
	if r.Array() != 3 {
		r.Fail(ErrForm)
	}
	i.Unix, i.Boot, i.Uptime = r.Int(), r.Uint(), time.Duration(r.Int())
	if i.Unix < 0 || i.Uptime < 0 {
		r.Fail(cbor.ErrRange)
	}
	return i
}
