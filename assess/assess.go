// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package assess answers "what is here, and what could hurt a patient?" from
// files: it tells what each is by its content, reads captures side by side in
// the order of time, and puts devices and findings in the order of urgency.
//
// This API follows the server and may change.
package assess

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/myelin-health/myelin/capture"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/match"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/register"
	"github.com/myelin-health/myelin/proto/radio"
	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/risk"
	"github.com/myelin-health/myelin/watch"
)

// A Config says how to assess. The zero value works.
type Config struct {
	Version     string                             // of myelin, for the document
	Jobs        int                                // workers
	Key         []byte                             // of pseudonyms
	Baseline    *watch.Baseline                    // what is expected
	Dialects    []*radio.Dialect                   // of proprietary radios, besides those that Myelin brings
	Catalogue   *device.Catalogue                  // what products and their FDA codes mean, and learns what authorities' files among the inputs say; nil: what Myelin knows
	Keys        *advisory.Keyring                  // of publishers whose signatures are believed; nil: none is checked
	Names       *match.Names                       // of makers and products; nil: those that Myelin brings
	Now         time.Time                          // of the answer: what is supported today; zero: the clock's
	Only        []finding.Kind                     // kinds to report; none means all
	MinDecision finding.Decision                   // leave out what is less urgent
	Stdin       io.Reader                          // what "-" is
	Papers      []string                           // of Sense: files and folders of documents that lie beside the interface
	Record      func(*event.Event) error           // is told every event, in order, for which files are read twice; nil: nobody is
	Sessions    func([]watch.Session)              // is told who talks to whom so far, each time that it is looked at; nil: nobody is
	Progress    func(packets, bytes, total uint64) // is told how much was read, of a total that is 0 when nobody knows; nil: nobody is

	papers Papers // whose bounds a test may make smaller
}

// Run assesses files and folders; "-" is standard input. The error is of the
// arguments or of ctx: what is wrong with a single input stands in
// [report.Input], and does not stop the others.
func Run(ctx context.Context, paths []string, c Config) (*report.Assessment, error) {
	start := time.Now()
	captures, inputs, err := find(paths, c, 0)
	if err != nil {
		return nil, err
	}
	dialects, err := dialectsOf(c.Dialects, inputs.dialects.set)
	if err != nil {
		return nil, err
	}
	order(captures)
	inputs.captures = captures
	again := unread(captures)
	catalogue := inputs.learn(c.Catalogue)
	watched := func(captures []*input, wc watch.Config) (*watch.Watcher, error) {
		m := &merger{}
		for i, in := range captures {
			in.index = int32(i)
			if in.same == "" {
				m.waiting = append(m.waiting, in)
			}
		}
		wc.Progress = m.progress(c.Progress)
		w := watch.New(wc)
		if err := w.Run(ctx, m); err != nil {
			return nil, err
		}
		return w, w.Flush()
	}
	wc := watch.Config{Jobs: c.Jobs, Key: c.Key, Baseline: c.Baseline, Register: inputs.introduced(), Catalogue: catalogue, Dialects: dialects}
	if len(c.Dialects) == 0 && inputs.dialects.set == nil {
		wc.Makes = radio.MayBeOf
	}
	if again == nil {
		wc.Record = c.Record
	}
	w, err := watched(captures, wc)
	if err != nil {
		return nil, err
	}
	// What a handle on the radio is for may be discovered after it was used: then
	// a second look knows it from the beginning, and says all in the order of time.
	if wc.Handles = w.Handles(); again != nil && (wc.Handles != nil || c.Record != nil) {
		wc.Record, inputs.captures = c.Record, again
		if w, err = watched(again, wc); err != nil {
			return nil, err
		}
	}
	r := w.Result()
	c.talked(&r)
	r.Findings = append(r.Findings, inputs.know(&r, cmp.Or(c.Now, start))...)
	a := Answer(r, c)
	a.Cleared, a.Bills = inputs.cleared, inputs.quality
	a.Inputs = inputs.list()
	for i, warning := range inputs.warnings {
		a.Inputs[i].Warning = warning
	}
	maps.Copy(a.Stats.Lost, inputs.leftOut.Counts())
	a.Stats.Seconds = time.Since(start).Seconds()
	return a, nil
}

// talked tells who talks to whom.
func (c *Config) talked(r *watch.Result) {
	if c.Sessions != nil {
		c.Sessions(r.Sessions)
	}
}

// unread returns inputs that can be read anew, or nil where one is a stream.
func unread(captures []*input) []*input {
	out := make([]*input, len(captures))
	for i, in := range captures {
		if in.stream != nil {
			return nil
		}
		fresh := *in
		out[i] = &fresh
	}
	return out
}

// dialectsOf returns the dialects that Myelin brings and others, or the set that
// they and those among the inputs are. Without others they are read when there
// is a frame for them: most captures have none.
func dialectsOf(others []*radio.Dialect, set *radio.Set) (_ func() *radio.Set, err error) {
	if set == nil && len(others) == 0 {
		return func() *radio.Set {
			set, _ := setOf(nil) // whose names differ
			return set
		}, nil
	}
	if set == nil {
		set, err = setOf(others)
	}
	return func() *radio.Set { return set }, err
}

// setOf returns the dialects that Myelin brings, and others.
func setOf(others []*radio.Dialect) (*radio.Set, error) {
	set := new(radio.Set)
	for _, d := range slices.Concat(radio.Samples(), others) {
		if err := set.Add(d); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// progress tells how much of the inputs was read. What is packed is fewer bytes
// than were captured. How much there is nobody knows when one of them is a pipe.
func (m *merger) progress(f func(packets, bytes, total uint64)) func(packets, bytes uint64) {
	if f == nil {
		return nil
	}
	var total uint64
	var streams []*input
	for _, in := range m.waiting {
		total += uint64(in.bytes)
		if in.stream != nil {
			streams = append(streams, in)
		}
	}
	if streams != nil {
		total = 0
	}
	return func(packets, _ uint64) {
		read := m.read
		for _, in := range streams {
			read += in.bytes
		}
		f(packets, uint64(read), total)
	}
}

// found are the inputs in the order in which they are listed: captures by
// time, then what is no capture.
type found struct {
	captures []*input
	others   []report.Input
	opened   Papers
	documents
}

func (f *found) list() []report.Input {
	out := make([]report.Input, 0, len(f.captures)+len(f.others))
	for _, in := range f.captures {
		r := report.Input{Path: in.path, Kind: in.kind, Bytes: in.bytes, Packets: in.packets}
		switch {
		case in.err != nil:
			r.Error = in.err.Error()
		case in.same != "":
			r.Kind = "copy of " + in.same
		}
		out = append(out, r)
	}
	return append(out, f.others...)
}

// find lists the captures under paths, and reads what is none. What cannot be
// read is an error of that input when it was named, and a line without one when
// it merely lies in a named folder. So many inputs are counted before them.
func find(paths []string, c Config, before int) ([]*input, *found, error) {
	var captures []*input
	f := &found{opened: c.papers}
	f.opened.Keys, f.now, f.names = c.Keys, cmp.Or(c.Now, time.Now()), c.Names
	f.dialects.named = c.Dialects
	seen := map[string]bool{}
	type paper struct {
		named bool
		tap   *tap // of what comes as a stream
	}
	papers := map[string]paper{} // paths of what is no capture
	add := func(in *input, named bool) {
		if seen[in.path] {
			return
		}
		seen[in.path] = true
		var t *tap
		if in.stream != nil {
			t = &tap{r: in.stream}
			in.stream = t
		}
		err := in.probe()
		if err == nil {
			if t != nil {
				t.shut = true
			}
			captures = append(captures, in)
			return
		}
		f.others = append(f.others, report.Input{Path: in.path, Kind: in.kind, Bytes: in.bytes, Error: err.Error()})
		if errors.Is(err, capture.ErrFormat) && !namedCapture(in.path) {
			papers[in.path] = paper{named, t}
		}
	}
	for _, path := range paths {
		if path == "-" {
			add(&input{path: "-", stream: c.Stdin}, true)
			continue
		}
		st, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		if !st.IsDir() {
			in := &input{path: filepath.Clean(path)}
			if !st.Mode().IsRegular() { // a pipe can be read once
				file, err := os.Open(path)
				if err != nil {
					return nil, nil, err
				}
				in.stream = file
			}
			add(in, true)
			continue
		}
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				f.others = append(f.others, report.Input{Path: p, Error: err.Error()})
			case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "."):
				add(&input{path: p}, false)
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(f.others, func(a, b report.Input) int { return strings.Compare(a.Path, b.Path) })
	for i := range f.others {
		in := &f.others[i]
		at, ok := papers[in.Path]
		if !ok {
			continue
		}
		var p *Paper
		var err error
		if at.tap != nil {
			p, err = f.opened.pipe(in.Path, at.tap.all())
		} else {
			p, err = f.opened.Open(in.Path)
		}
		if err == nil {
			in.Bytes = p.Bytes
			err = f.read(in, p)
			f.note(before + len(captures) + i)
		} else if errors.Is(err, capture.ErrFormat) { // packed too often
			err = errNoDocument
		}
		switch {
		case err == nil:
			in.Error = ""
		case !errors.Is(err, errNoDocument):
			in.Error = err.Error()
		case at.named && isTable(in.Path):
			in.Error = register.ErrNotList.Error()
		case !at.named:
			in.Kind, in.Error = "other", ""
		}
	}
	return captures, f, nil
}

// A tap remembers what is read of a stream, until it is shut.
type tap struct {
	r    io.Reader
	b    []byte
	shut bool
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	if !t.shut {
		t.b = append(t.b, b[:n]...)
	}
	return n, err
}

// all reads the stream from its beginning.
func (t *tap) all() io.Reader {
	t.shut = true
	return io.MultiReader(bytes.NewReader(t.b), t.r)
}

// isTable reports whether a file calls itself a table, and so was given as a list
// of devices if it is nothing else.
func isTable(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".csv" || ext == ".tsv"
}

// namedCapture reports whether a file calls itself a capture, so that it is an
// error when it is none.
func namedCapture(path string) bool {
	path = strings.ToLower(path)
	path = strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".zst")
	switch filepath.Ext(path) {
	case ".pcap", ".pcapng", ".cap", ".btsnoop":
		return true
	}
	return false
}

// Answer puts what was watched in order: decisions, then devices and findings
// by urgency.
func Answer(r watch.Result, c Config) *report.Assessment {
	a := &report.Assessment{Version: c.Version}
	left := 0
	kept := make([]*finding.Finding, 0, len(r.Findings))
	for i := range r.Findings {
		f := &r.Findings[i]
		decide(f, c.Baseline != nil)
		if len(c.Only) > 0 && !slices.Contains(c.Only, f.Kind) || f.Decision < c.MinDecision {
			left++
			continue
		}
		kept = append(kept, f)
	}
	a.Findings = ordered(kept, func(x, y *finding.Finding) int {
		return cmp.Or(
			risk.Compare(x, y),
			cmp.Compare(y.Confidence, x.Confidence),
			cmp.Compare(finding.Kinds[x.Kind].Group, finding.Kinds[y.Kind].Group),
			cmp.Compare(x.Kind, y.Kind), strings.Compare(x.Device, y.Device), strings.Compare(x.ID, y.ID))
	})
	devices := make([]*device.Device, len(r.Devices))
	for i := range devices {
		devices[i] = &r.Devices[i]
	}
	a.Devices = ordered(devices, func(x, y *device.Device) int {
		return cmp.Or(truth(y.Medical)-truth(x.Medical), cmp.Compare(y.Harm, x.Harm))
	})
	a.Sessions = make([]report.Session, 0, len(r.Sessions))
	for _, s := range r.Sessions {
		a.Sessions = append(a.Sessions, report.Session{
			Protocol: cmp.Or(s.Protocol, "unknown"), Client: s.Client.Value, Server: s.Server.Value, Port: s.Port,
			Count: s.Count, Bytes: s.Bytes, Encrypted: s.Encrypted, Inferred: s.Inferred,
		})
	}
	a.Stats = report.Stats{Packets: r.Stats.Packets, Bytes: r.Stats.Bytes, Flows: r.Stats.Flow.Conversations, LeftOut: left, Lost: lost(&r.Stats)}
	return a
}

// ordered returns what the pointers point to, in order; what is equal keeps its
// place. The values are large, and so moved once.
func ordered[T any](list []*T, compare func(x, y *T) int) []T {
	slices.SortStableFunc(list, compare)
	out := make([]T, len(list))
	for i, p := range list {
		out[i] = *p
	}
	return out
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// lost says what was not read or not kept, and why.
func lost(s *watch.Stats) map[string]uint64 {
	m := map[string]uint64{
		"frames that are not IP or ARP":                              s.NotIP,
		"conversations given up to make room":                        s.Flow.Evicted,
		"bytes of streams that were not captured":                    s.Flow.GapBytes,
		"bytes of streams given up because of a bound":               s.Flow.Dropped,
		"fragmented datagrams that stayed incomplete":                s.Frag.Expired + s.Frag.Evicted,
		"entries that a full table of the detectors had no room for": s.Dropped,
		"radio connections and keys given up to make room":           s.Air.Evicted,
		"radio packets that the air changed":                         s.Air.BadCRC,
		"radio messages of which a part was not heard":               s.Air.Lost,
		"radio advertising and host events that were not whole":      s.Air.Cut,
		"addresses on the radio, heard once, that are told as one":   s.Crowded,
		"facts of messages with more of them than are taken":         s.Unsaid,
	}
	for f, n := range s.Faults {
		switch {
		case f == watch.Fault{Proto: "link", Field: "dialect"}:
			m[report.NoDialect] += n
		case f.Proto == "link":
			m[report.NotRead] += n
		case f.Proto == "radio":
			m[fmt.Sprintf("%s (%s)", report.Misfit, f.Field)] += n
		case f.Proto == "opcode":
			m[fmt.Sprintf("messages of a radio whose opcode is unknown (%s)", f.Field)] += n
		default:
			m[fmt.Sprintf("packets with a broken %s header (%s)", f.Proto, f.Field)] += n
		}
	}
	m["frames that are not IP or ARP"] -= m[report.NotRead] + m[report.NoDialect] // counted among them
	for k, n := range m {
		if n == 0 {
			delete(m, k)
		}
	}
	return m
}
