// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
)

// formats are how an assessment can be written, in the order of the help.
var formats = []struct {
	name  string
	write func(io.Writer, *report.Assessment) error
}{
	{"text", func(w io.Writer, a *report.Assessment) error { return report.TextWide(w, a, textWidth(w)) }},
	{"json", report.JSON},
	{"csv", report.CSV},
	{"sarif", report.SARIF},
	{"html", report.HTML},
}

// textWidth is how many columns there are for text: what COLUMNS says, or the
// terminal that w is.
func textWidth(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f, ok := w.(*os.File); ok && terminal(f) {
		if n := columnsOf(f); n > 0 {
			return n
		}
	}
	return report.TextWidth
}

// A formatFlag chooses among formats.
type formatFlag struct {
	name    string
	allowed []string
}

func (f *formatFlag) register(v *cobra.Command, allowed ...string) {
	f.allowed = allowed
	v.Flags().StringVar(&f.name, "format", allowed[0], "`FORMAT`: "+enumerate(allowed))
	complete(v, "format", allowed...)
}

func (f *formatFlag) check() error {
	if !slices.Contains(f.allowed, f.name) {
		return usageError{fmt.Errorf("--format %s: want %s", f.name, enumerate(f.allowed))}
	}
	return nil
}

// answerFormats are the names of formats.
func answerFormats() (names []string) {
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// write says an assessment in the format chosen.
func (f *formatFlag) write(w io.Writer, a *report.Assessment) error {
	i := slices.Index(answerFormats(), f.name)
	return formats[i].write(w, a)
}

// levels are the names of decisions, the least urgent first.
var levels = []string{finding.Track.String(), finding.TrackStar.String(), finding.Attend.String(), finding.Act.String()}

// An answerFlags says which findings are wanted, and what the exit code says
// of them.
type answerFlags struct {
	only                  []string
	minDecision, failOn   string
	keyFile, baselineFile string
	dialectFiles          []string
	keyFiles              []string
	codesFile             string
	aliasFile             string
	jobs                  int
}

func (f *answerFlags) register(v *cobra.Command) {
	v.Flags().StringSliceVar(&f.only, "only", nil, "report only this `KIND` of finding; repeatable")
	v.Flags().StringVar(&f.minDecision, "min-decision", levels[0], "leave out what is below `LEVEL`")
	v.Flags().StringVar(&f.failOn, "fail-on", "", "exit with 3 at `LEVEL` or above: "+enumerate(levels))
	complete(v, "only", kindNames()...)
	complete(v, "min-decision", levels...)
	complete(v, "fail-on", levels...)
	f.registerInputs(v)
}

// registerInputs registers what says how inputs are read.
func (f *answerFlags) registerInputs(v *cobra.Command) {
	v.Flags().StringVar(&f.keyFile, "key", "", "`FILE` with the key of pseudonyms, 32 bytes or more")
	v.Flags().StringVar(&f.baselineFile, "baseline", "", "`FILE` of what is expected: YAML or an answer")
	v.Flags().StringArrayVar(&f.dialectFiles, "dialect", nil, "`FILE` of a radio's frames in YAML; repeatable")
	registerKeys(v, &f.keyFiles)
	registerAliases(v, &f.aliasFile)
	v.Flags().StringVar(&f.codesFile, "product-codes", "", "`FILE` of your products and FDA codes, CSV")
	v.Flags().IntVar(&f.jobs, "jobs", defaultJobs(), "work with `N` workers")
}

// registerAliases registers the file of a user's own spellings.
func registerAliases(v *cobra.Command, file *string) {
	v.Flags().StringVar(file, "aliases", "", "`FILE`: how products are spelled here")
}

// registerKeys registers whose signatures are believed.
func registerKeys(v *cobra.Command, files *[]string) {
	v.Flags().StringArrayVar(files, "keys", nil, "`FILE` of keys that sign advisories; repeatable")
}

// config checks the flags before any work is done.
func (f *answerFlags) config() (c assess.Config, err error) {
	c = assess.Config{Version: version(), Jobs: f.jobs}
	if f.jobs < 1 {
		return c, usageError{fmt.Errorf("--jobs %d: want 1 or more", f.jobs)}
	}
	if c.MinDecision, err = level("--min-decision", f.minDecision); err != nil {
		return c, err
	}
	if f.failOn != "" {
		if _, err = level("--fail-on", f.failOn); err != nil {
			return c, err
		}
	}
	for _, name := range f.only {
		k, ok := finding.ParseKind(name)
		if !ok {
			return c, usageError{fmt.Errorf("--only %s: no such kind; 'myelin kinds' lists them", name)}
		}
		c.Only = append(c.Only, k)
	}
	if c.Key, err = key(f.keyFile); err != nil {
		return c, err
	}
	if c.Keys, err = assess.ReadKeys(f.keyFiles); err != nil {
		return c, fmt.Errorf("--keys %w; it has to hold OpenPGP public keys, armored or not", said(err))
	}
	if c.Names, err = assess.ReadAliases(f.aliasFile); err != nil {
		return c, fmt.Errorf("--aliases %w; docs/aliases.md tells what it has to be", said(err))
	}
	if f.codesFile != "" {
		if c.Catalogue, err = assess.ReadCatalogue(f.codesFile); err != nil {
			return c, fmt.Errorf("--product-codes %w; docs/product-codes.md tells what it has to be", said(err))
		}
	}
	if f.baselineFile != "" {
		if c.Baseline, err = assess.ReadBaseline(f.baselineFile); err != nil {
			return c, fmt.Errorf("--baseline %w; docs/baseline.md tells what it has to be", said(err))
		}
	}
	if c.Dialects, err = assess.ReadDialects(f.dialectFiles); err != nil {
		return c, fmt.Errorf("--dialect %w; docs/dialects.md tells what it has to be", said(err))
	}
	return c, nil
}

// verdict is the exit code for an assessment that was said.
func (f *answerFlags) verdict(c *console, a *report.Assessment) error {
	unread := false
	for _, in := range a.Inputs {
		if in.Warning != "" {
			c.hint("%s: %s", in.Path, in.Warning)
		}
		if in.Error != "" {
			c.hint("%s: %s", in.Path, in.Error)
			unread = true
		}
	}
	if unread {
		return exit(exitError)
	}
	if f.failOn == "" {
		return nil
	}
	bar, _ := finding.ParseDecision(f.failOn)
	if slices.ContainsFunc(a.Findings, func(x finding.Finding) bool { return x.Decision >= bar }) {
		return exit(exitFound)
	}
	return nil
}

func level(flag, name string) (finding.Decision, error) {
	d, ok := finding.ParseDecision(name)
	if !ok {
		return 0, usageError{fmt.Errorf("%s %s: want %s", flag, name, enumerate(levels))}
	}
	return d, nil
}

// maxKey bounds the key of pseudonyms: more than that is another file.
const maxKey = 64 << 10

// key reads it.
func key(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	var b []byte
	f, err := os.Open(file)
	if err == nil {
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, maxKey+1))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("--key %w; 'openssl rand -hex 32' makes a key", said(err))
	case len(b) > maxKey:
		return nil, fmt.Errorf("--key %s: more than %d bytes; 'openssl rand -hex 32' makes a key", file, maxKey)
	}
	// A text ends with a line feed that nobody chose; a key of random bytes may
	// end with any.
	text := bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if utf8.Valid(text) && !bytes.ContainsFunc(text, unicode.IsControl) {
		b = text
	}
	if len(b) < 32 {
		return nil, fmt.Errorf("--key %s: the key has %d bytes and needs 32 or more; 'openssl rand -hex 32' makes one", file, len(b))
	}
	return b, nil
}

// to writes to a file, or to standard output when its name is empty. The file
// is opened before write is called, so that no hours of work are lost to a place
// that cannot be written. On failure the file is as it was: what is half written
// stands beside it under another name, and goes.
func (c *console) to(file string, write func(io.Writer) error) (err error) {
	if file == "" {
		return write(c.out)
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	if st, err := os.Stat(file); err == nil && !st.Mode().IsRegular() { // /dev/stdout, a pipe
		w, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return written(w, write)
	}
	dir, base := filepath.Split(file)
	half, err := os.OpenFile(filepath.Join(dir, "."+base+"."+rand.Text()[:8]), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return &fs.PathError{Op: "create", Path: file, Err: errors.Unwrap(err)} // the name that was asked for
	}
	if err = written(half, write); err == nil {
		err = os.Rename(half.Name(), file)
	}
	if err != nil {
		os.Remove(half.Name())
	}
	return err
}

// written writes a file and closes it.
func written(f *os.File, write func(io.Writer) error) error {
	err := write(f)
	return cmp.Or(err, f.Close())
}

// enumerate writes "a, b or c".
func enumerate(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// aVerb checks the arguments of what has only verbs: one of them is none of its own.
func aVerb(v *cobra.Command, args []string) error {
	v.SuggestionsMinimumDistance = 2
	switch {
	case len(args) == 0 && v == v.Root():
		return errors.New("which verb? 'myelin --help' lists them")
	case len(args) == 0:
		return fmt.Errorf("%s what? '%s --help' lists its verbs", v.Name(), v.CommandPath())
	}
	if like := v.SuggestionsFor(args[0]); len(like) > 0 {
		return fmt.Errorf("%s: no such verb; is it '%s %s'?", args[0], v.CommandPath(), like[0])
	}
	return fmt.Errorf("%s: no such verb; '%s --help' lists them", args[0], v.CommandPath())
}

// neverRun is the run of a verb that [aVerb] never lets it come to.
func neverRun(*cobra.Command, []string) {}

// exactly and atLeast check the number of arguments. An empty one is none: a
// script's variable was empty.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n || slices.Contains(args, "") {
			return errors.New(what)
		}
		return nil
	}
}

func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n || slices.Contains(args, "") {
			return errors.New(what)
		}
		return nil
	}
}
