// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package event has the noun of what was seen or decided: [Event], one flat
// struct, and the one table of its kinds.
//
// An event carries no patient data: which kinds of field were seen, and a
// number that tells one subject from another, never the field's text.
//
// This API is stable.
package event

import "github.com/myelin-health/myelin/device"

// MaxAttrs is how many attributes an event has room for.
const MaxAttrs = 8

// An Event is something seen or decided, with a time and a place to look. It
// is passed by pointer and valid until the callback returns; a copy may be kept.
type Event struct {
	Kind     Kind
	Time     int64          // nanoseconds since 1970-01-01 UTC
	Device   device.Address // whom it is about
	Peer     device.Address // the other side, or the zero Address
	Sighting Sighting
	attrs    [MaxAttrs]Attr
	n        int
}

// A Sighting is the place to look: which input, which packet of it, which byte
// of the packet.
type Sighting struct {
	Input  int    // index into the inputs of the assessment
	Packet uint64 // counted from 1 within the input, as Wireshark does; 0 is none
	Offset int    // bytes from the start of the frame
}

// An Attr is one attribute: a key, and a number or a text. Text never aliases
// captured bytes.
type Attr struct {
	Key  Key
	Int  int64
	Text string
}

// Int returns a numeric attribute.
func Int[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](k Key, v T) Attr {
	return Attr{Key: k, Int: int64(v)}
}

// Bool returns an attribute that is 1 or 0.
func Bool(k Key, v bool) Attr {
	if v {
		return Attr{Key: k, Int: 1}
	}
	return Attr{Key: k}
}

// Text returns an attribute that is a string, which must not alias captured bytes.
func Text(k Key, s string) Attr { return Attr{Key: k, Text: s} }

// Add appends attributes. Beyond [MaxAttrs] they are dropped: that is a bug of
// the caller, and a test of kinds.go says that no kind has more.
func (e *Event) Add(attrs ...Attr) {
	e.n += copy(e.attrs[e.n:], attrs)
}

// Attrs returns the event's attributes, which belong to it.
func (e *Event) Attrs() []Attr { return e.attrs[:e.n:e.n] }

// Int returns the number under k, or 0.
func (e *Event) Int(k Key) int64 {
	for i := range e.n {
		if e.attrs[i].Key == k {
			return e.attrs[i].Int
		}
	}
	return 0
}

// Text returns the text under k, or "".
func (e *Event) Text(k Key) string {
	for i := range e.n {
		if e.attrs[i].Key == k {
			return e.attrs[i].Text
		}
	}
	return ""
}

// Set changes the attribute under k, or adds it.
func (e *Event) Set(a Attr) {
	for i := range e.n {
		if e.attrs[i].Key == a.Key {
			e.attrs[i] = a
			return
		}
	}
	e.Add(a)
}
