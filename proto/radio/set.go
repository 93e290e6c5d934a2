// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"embed"
	"fmt"
	"path"

	"github.com/myelin-health/myelin/device"
)

//go:embed dialects/*.yaml
var files embed.FS

// Samples returns the dialects that come with Myelin, those of invented devices
// that stand for weaknesses of real ones.
func Samples() []*Dialect {
	entries, err := files.ReadDir("dialects")
	if err != nil {
		panic(err) // the program was built wrong
	}
	var out []*Dialect
	for _, e := range entries {
		file := path.Join("dialects", e.Name())
		src, err := files.ReadFile(file)
		if err != nil {
			panic(err)
		}
		d, err := Load(file, src)
		if err != nil {
			panic(err)
		}
		out = append(out, d)
	}
	return out
}

// MayBeOf reports whether there may be a sample of a product, without the time
// that it takes to read them: false is sure.
func MayBeOf(manufacturer, model string) bool {
	entries, err := files.ReadDir("dialects")
	if err != nil {
		return true
	}
	for _, e := range entries {
		src, err := files.ReadFile(path.Join("dialects", e.Name()))
		if err != nil || bytes.Contains(src, []byte("manufacturer: "+manufacturer+"\n")) && bytes.Contains(src, []byte("model: "+model+"\n")) {
			return true
		}
	}
	return false
}

// maxDialects bounds a set: each is tried on a frame that does not name its own.
const maxDialects = 64

// A Set is the dialects that are known. The zero Set is empty. It is safe for
// concurrent use when nothing is added any more.
type Set struct {
	dialects []*Dialect
	byName   map[string]*Dialect
}

// Add adds a dialect. One of the same name is an error, and so is the 65th.
func (s *Set) Add(d *Dialect) error {
	switch {
	case s.byName[d.Name] != nil:
		return fmt.Errorf("radio: a second dialect %s; give it another name", d.Name)
	case len(s.dialects) == maxDialects:
		return fmt.Errorf("radio: more than %d dialects", maxDialects)
	case s.byName == nil:
		s.byName = map[string]*Dialect{}
	}
	s.dialects = append(s.dialects, d)
	s.byName[d.Name] = d
	return nil
}

// Named returns the dialect of that name, or nil.
func (s *Set) Named(name string) *Dialect { return s.byName[name] }

// Of returns the first dialect of a product, or nil.
func (s *Set) Of(manufacturer, model string) *Dialect {
	for _, d := range s.dialects {
		if d.Model != "" && d.Manufacturer == manufacturer && d.Model == model {
			return d
		}
	}
	return nil
}

// The bits of a frame that have to be as a dialect wants them for the frame to
// be taken for one of it: of 65,536 frames of others, or of noise, one is.
const (
	provenMedium = 16
	provenHigh   = 32
)

// Identify finds the one dialect that a frame is of, which m then holds. It has to follow it to the
// last byte, and to be proven by more bits ([Message.Proof]) than of any other: sync,
// constants, length, checksum, opcode. NoConfidence is where there is none, or where two are proven alike.
func (s *Set) Identify(frame []byte, m *Message) device.Confidence {
	var best *Dialect
	proof := provenMedium - 1
	for _, d := range s.dialects {
		switch err := d.Parse(frame, m); {
		case err != nil || m.Proof < proof:
		case m.Proof == proof:
			best = nil
		default:
			best, proof = d, m.Proof
		}
	}
	switch {
	case best == nil:
		m.reset(nil)
		return device.NoConfidence
	case best.Parse(frame, m) != nil:
		return device.NoConfidence
	case proof >= provenHigh:
		return device.High
	}
	return device.Medium
}
