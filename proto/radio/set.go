// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package radio

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"slices"

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
	last     []*Dialect // that are asked when no other knows a frame
	byName   map[string]*Dialect
}

// Add adds a dialect. One of the same name is an error, and so is the 65th.
func (s *Set) Add(d *Dialect) error { return s.add(&s.dialects, d) }

// AddLast adds a dialect that nobody vouches for: a frame that those of
// [Set.Add] know stays theirs, and one that two of them know alike is nobody's, so
// that it cannot hide what they would have seen.
func (s *Set) AddLast(d *Dialect) error { return s.add(&s.last, d) }

func (s *Set) add(to *[]*Dialect, d *Dialect) error {
	switch {
	case s.byName[d.Name] != nil:
		return fmt.Errorf("radio: a second dialect %s; give it another name", d.Name)
	case len(s.byName) == maxDialects:
		return fmt.Errorf("radio: more than %d dialects", maxDialects)
	case s.byName == nil:
		s.byName = map[string]*Dialect{}
	}
	*to = append(*to, d)
	s.byName[d.Name] = d
	return nil
}

// Detect reports whether a file says of itself that it is a dialect: its first
// line that is no comment is one of a dialect's sections, and one line is
// "dialect: 1". The whole file has to be given, which has at most 64 KiB.
func Detect(src []byte) bool {
	begun := false
	for line := range bytes.Lines(bytes.TrimPrefix(src, []byte("\ufeff"))) {
		text := bytes.TrimSpace(line)
		if !begun && (len(text) == 0 || text[0] == '#' || string(text) == "---") {
			continue
		}
		if key, _, ok := bytes.Cut(line, []byte(":")); !begun && (!ok || !slices.Contains(sections, string(key))) {
			return false
		}
		if begun = true; format.Declares(line) {
			return true
		}
	}
	return false
}

// Named returns the dialect of that name, or nil.
func (s *Set) Named(name string) *Dialect { return s.byName[name] }

// Of returns the first dialect of a product, or nil.
func (s *Set) Of(manufacturer, model string) *Dialect {
	for _, d := range slices.Concat(s.dialects, s.last) {
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
	best, proof := provenBest(s.dialects, frame, m)
	if proof < provenMedium {
		best, proof = provenBest(s.last, frame, m)
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

// provenBest returns the dialect that proves a frame best, or nil where two do,
// and by how many bits; fewer than provenMedium are none.
func provenBest(dialects []*Dialect, frame []byte, m *Message) (best *Dialect, proof int) {
	proof = provenMedium - 1
	for _, d := range dialects {
		switch err := d.Parse(frame, m); {
		case err != nil || m.Proof < proof:
		case m.Proof == proof:
			best = nil
		default:
			best, proof = d, m.Proof
		}
	}
	return best, proof
}
