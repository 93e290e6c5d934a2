// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"fmt"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
)

// An Event is what a wait may wait for (update-management 4.5).
type Event uint8

// The events.
const (
	EventAuthorization      Event = 1
	EventPower              Event = 2
	EventNetwork            Event = 3
	EventOtherDeviceVersion Event = 4
	EventTime               Event = 5
	EventTimeOfDay          Event = 6 // where the device is
	EventDayOfWeek          Event = 7
	EventTimeOfDayUTC       Event = 8
	EventDayOfWeekUTC       Event = 9
)

// String is the draft's name of the event.
func (e Event) String() string {
	switch e {
	case EventAuthorization:
		return "authorization"
	case EventPower:
		return "power"
	case EventNetwork:
		return "network"
	case EventOtherDeviceVersion:
		return "other-device-version"
	case EventTime:
		return "time"
	case EventTimeOfDay:
		return "time-of-day"
	case EventDayOfWeek:
		return "day-of-week"
	case EventTimeOfDayUTC:
		return "time-of-day-utc"
	case EventDayOfWeekUTC:
		return "day-of-week-utc"
	}
	return fmt.Sprintf("event %d", e)
}

// A WaitEvent is one event to wait for.
type WaitEvent struct {
	Event Event

	// Value is the priority to authorise, the state of power or network that the
	// deployment has a number for, seconds since 1970, seconds since midnight, or
	// days since Sunday.
	Value int64

	// Of EventOtherDeviceVersion: which device, and all that its version has to be.
	Device   []byte
	Versions []VersionMatch
}

// String says what is waited for, for people.
func (w WaitEvent) String() string {
	switch w.Event {
	case EventOtherDeviceVersion:
		return fmt.Sprintf("another device's version %v", w.Versions)
	case EventTime:
		return "time " + time.Unix(w.Value, 0).UTC().Format(time.RFC3339)
	case EventTimeOfDay, EventTimeOfDayUTC:
		return fmt.Sprintf("%v %02d:%02d:%02d", w.Event, w.Value/3600, w.Value/60%60, w.Value%60)
	case EventDayOfWeek, EventDayOfWeekUTC:
		return fmt.Sprintf("%v %v", w.Event, time.Weekday(w.Value))
	}
	return fmt.Sprintf("%v %d", w.Event, w.Value)
}

// timed reports whether an event is one of time, and if so whether it has come. A
// time of day has come from then until midnight: the hour that a clock leaves out
// in spring has come when it has been left out.
func (w WaitEvent) timed(now time.Time) (come, timed bool) {
	utc := now.UTC()
	ofDay := func(t time.Time) int64 {
		return int64(t.Hour())*3600 + int64(t.Minute())*60 + int64(t.Second())
	}
	switch w.Event {
	case EventTime:
		return now.Unix() >= w.Value, true
	case EventTimeOfDay:
		return ofDay(now) >= w.Value, true
	case EventDayOfWeek:
		return int64(now.Weekday()) == w.Value, true
	case EventTimeOfDayUTC:
		return ofDay(utc) >= w.Value, true
	case EventDayOfWeekUTC:
		return int64(utc.Weekday()) == w.Value, true
	}
	return false, false
}

// waitInfo reads a SUIT_Wait_Event.
func (r *reader) waitInfo() ([]WaitEvent, error) {
	n := r.Map()
	if err := r.count(n, 1, int(EventDayOfWeekUTC)); err != nil {
		return nil, err
	}
	var events []WaitEvent
	for range n {
		at := r.Off()
		label := r.Uint()
		if label < uint64(EventAuthorization) || label > uint64(EventDayOfWeekUTC) {
			return nil, r.bad(at, ErrUnsupported, "wait event")
		}
		w := WaitEvent{Event: Event(label)}
		most := int64(-1)
		switch w.Event {
		case EventOtherDeviceVersion:
			if r.Array() != 2 {
				return nil, r.bad(at, ErrStructure, "a device and its versions")
			}
			w.Device = r.Bytes()
			k := r.Array()
			if err := r.count(k, 1, maxVersion); err != nil {
				return nil, err
			}
			for range k {
				v, err := r.versionMatch()
				if err != nil {
					return nil, err
				}
				w.Versions = append(w.Versions, v)
			}
		case EventTimeOfDay, EventTimeOfDayUTC:
			most = 24*3600 - 1
		case EventDayOfWeek, EventDayOfWeekUTC:
			most = 6
		case EventTime:
			most = 1 << 53
		}
		if w.Event != EventOtherDeviceVersion {
			w.Value = r.Int()
		}
		if most >= 0 && (w.Value < 0 || w.Value > most) {
			return nil, r.bad(at, ErrStructure, "no such time")
		}
		events = append(events, w)
	}
	return events, r.err()
}

func appendWaitInfo(dst []byte, events []WaitEvent) []byte {
	dst = cbor.AppendMap(dst, len(events))
	for _, w := range events {
		dst = cbor.AppendUint(dst, uint64(w.Event))
		if w.Event != EventOtherDeviceVersion {
			dst = cbor.AppendInt(dst, w.Value)
			continue
		}
		dst = cbor.AppendBytes(cbor.AppendArray(dst, 2), w.Device)
		dst = cbor.AppendArray(dst, len(w.Versions))
		for _, v := range w.Versions {
			dst = v.append(dst)
		}
	}
	return dst
}
