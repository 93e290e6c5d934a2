// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/assess"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/report"
)

// verbs are the verbs, in the order of the help.
func verbs(c *console) []*cobra.Command {
	return []*cobra.Command{assessVerb(c), kindsVerb(c)}
}

// formats are how an assessment can be written.
var formats = map[string]func(io.Writer, *report.Assessment) error{
	"text":  report.Text,
	"json":  report.JSON,
	"csv":   report.CSV,
	"sarif": report.SARIF,
	"html":  report.HTML,
}

// An answerFlags says what of an assessment is wanted, and how.
type answerFlags struct {
	format, out         string
	only                []string
	minDecision, failOn string
}

func (f *answerFlags) register(v *cobra.Command) {
	v.Flags().StringVar(&f.format, "format", "text", "text, json, csv, sarif or html")
	v.Flags().StringVarP(&f.out, "out", "o", "", "write to `FILE` instead of standard output")
	v.Flags().StringSliceVar(&f.only, "only", nil, "report only findings of this `KIND` (may be repeated; see 'myelin kinds')")
	v.Flags().StringVar(&f.minDecision, "min-decision", "track", "leave out findings below this `LEVEL`: track, track*, attend or act")
	v.Flags().StringVar(&f.failOn, "fail-on", "", "exit with 3 when there is a finding at or above this `LEVEL`")
}

// kinds returns the kinds of --only.
func (f *answerFlags) kinds() ([]finding.Kind, error) {
	var out []finding.Kind
	for _, name := range f.only {
		k, ok := finding.ParseKind(name)
		if !ok {
			return nil, usageError{fmt.Errorf("--only %s: no such kind; 'myelin kinds' lists them", name)}
		}
		out = append(out, k)
	}
	return out, nil
}

func level(flag, name string) (finding.Decision, error) {
	d, ok := finding.ParseDecision(name)
	if !ok {
		return 0, usageError{fmt.Errorf("%s %s: want track, track*, attend or act", flag, name)}
	}
	return d, nil
}

// check looks at the flags before any work is done.
func (f *answerFlags) check() (least finding.Decision, err error) {
	if formats[f.format] == nil {
		return 0, usageError{fmt.Errorf("--format %s: want text, json, csv, sarif or html", f.format)}
	}
	if f.failOn != "" {
		if _, err := level("--fail-on", f.failOn); err != nil {
			return 0, err
		}
	}
	return level("--min-decision", f.minDecision)
}

// write says the assessment and chooses the exit code.
func (f *answerFlags) write(c *console, a *report.Assessment) error {
	if err := f.say(c, a); err != nil {
		return err
	}
	unread := false
	for _, in := range a.Inputs {
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

func (f *answerFlags) say(c *console, a *report.Assessment) (err error) {
	w := c.out
	if f.out != "" {
		file, err := os.Create(f.out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		w = file
	}
	return formats[f.format](w, a)
}

func assessVerb(c *console) *cobra.Command {
	var answer answerFlags
	var jobs int
	var keyFile, baselineFile string
	v := &cobra.Command{
		Use:   "assess [flags] PATH...",
		Short: "Tell what is in captures, and what of it could hurt a patient",
		Long: `Assess reads network captures (pcap, pcapng, also .gz and .zst), folders of
them, or standard input ("-"), and answers with the devices that speak there
and a ranked list of what could hurt a patient, with the packet to look at and
what to do. What a file is, its content decides. Nothing is sent anywhere.`,
		Example: `  myelin assess monday.pcapng
  myelin assess --format html -o ward.html captures/
  tcpdump -w - -i eth1 -G 60 -W 1 | myelin assess -
  myelin assess --fail-on act --baseline last-week.json today.pcap`,
		Args: atLeast(1, "assess what? name a capture, a folder, or - for standard input"),
		RunE: func(v *cobra.Command, args []string) error {
			least, err := answer.check()
			if err != nil {
				return err
			}
			config := assess.Config{Version: version(), Jobs: jobs, MinDecision: least, Stdin: c.in}
			if config.Only, err = answer.kinds(); err != nil {
				return err
			}
			if config.Key, err = key(keyFile); err != nil {
				return err
			}
			if baselineFile != "" {
				if config.Baseline, err = assess.ReadBaseline(baselineFile); err != nil {
					return err
				}
			}
			a, err := withProgress(v.Context(), c, args, config)
			if err != nil {
				return err
			}
			return answer.write(c, a)
		},
	}
	answer.register(v)
	v.Flags().IntVar(&jobs, "jobs", min(runtime.NumCPU(), 8), "work with this many `WORKERS`; the answer does not depend on it")
	v.Flags().StringVar(&keyFile, "key", "", "`FILE` with the key of patients' pseudonyms (32 bytes or more)")
	v.Flags().StringVar(&baselineFile, "baseline", "", "`FILE` that says what is expected: an earlier assessment as JSON, or YAML")
	return v
}

// key reads the key of pseudonyms.
func key(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if b = []byte(strings.TrimSpace(string(b))); len(b) < 32 {
		return nil, fmt.Errorf("--key %s: the key has %d bytes and needs 32 or more; 'openssl rand -hex 32' makes one", file, len(b))
	}
	return b, nil
}

// withProgress assesses with a line of progress where a person is watching and
// it takes long enough to wonder.
func withProgress(ctx context.Context, c *console, paths []string, config assess.Config) (*report.Assessment, error) {
	f, ok := c.err.(*os.File)
	if !ok || !terminal(f) {
		return assess.Run(ctx, paths, config)
	}
	text.DisableColors()
	w := progress.NewWriter()
	w.SetOutputWriter(f)
	w.SetAutoStop(false)
	w.SetUpdateFrequency(200 * time.Millisecond)
	w.Style().Visibility.Value = true
	w.Style().Visibility.Speed = true
	w.SetTrackerLength(20)
	t := &progress.Tracker{Message: "reading", Units: progress.UnitsBytes}
	packets := &progress.Tracker{Message: "packets", Units: progress.UnitsDefault}
	started := time.Now()
	shown := false
	config.Progress = func(n, bytes, total uint64) {
		if !shown {
			if time.Since(started) < time.Second {
				return
			}
			shown = true
			t.UpdateTotal(int64(total))
			w.AppendTrackers([]*progress.Tracker{t, packets})
			go w.Render()
		}
		t.SetValue(int64(bytes))
		packets.SetValue(int64(n))
	}
	a, err := assess.Run(ctx, paths, config)
	if shown {
		t.MarkAsDone()
		packets.MarkAsDone()
		w.Stop()
	}
	return a, err
}

// terminal reports whether f is one.
func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
