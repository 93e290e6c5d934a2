// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Command myelin protects smart implants and connected medical devices: it
// sees what they say, and tells what could hurt a patient.
//
// Results go to standard output, everything else to standard error. It exits
// with 0 when done, 1 on an error or an input that could not be read, 2 on
// wrong usage, and 3 when something was found at or above --fail-on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/report"
)

// What stays in memory while a capture is read is bounded (150 MB is promised
// for all of the program), and little of it has pointers: collecting garbage at
// twice its size would be work for nothing, so it is done when memory nears
// the limit. What the program's own file takes counts, too, see [forget]. GOGC and GOMEMLIMIT in the environment override this.
const memoryLimit = 118 << 20

func collect() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(memoryLimit)
		runtime.AddCleanup(new(collection), widen, struct{}{})
	}
	forget()
}

// A collection is garbage: that it goes says that the collector has run. A
// smaller one shares its memory with what may stay.
type collection struct{ _ [32]byte }

// widen lets memory grow where what has to be kept is above the limit, as it is
// with a thousand bills of materials: the collector would run without end and
// free nothing.
func widen(struct{}) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(live); live[0].Value.Kind() == metrics.KindUint64 {
		limit := int64(memoryLimit)
		if n := int64(live[0].Value.Uint64()); n > memoryLimit { // no capture keeps that much
			limit = 2 * n
		}
		debug.SetMemoryLimit(limit)
	}
	runtime.AddCleanup(new(collection), widen, struct{}{})
}

func main() {
	collect()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // who asks twice does not wait for an input that says nothing
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	exitDone  = 0
	exitError = 1
	exitUsage = 2
	exitFound = 3
)

// A usageError is a call that makes no sense.
type usageError struct{ error }

// An exit ends a verb with a code after everything was said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// A console is where a verb reads and writes.
type console struct {
	in       io.Reader
	out, err io.Writer
}

// hint tells a person something that is not the result, in one line: a file's
// name may be anything.
func (c *console) hint(format string, args ...any) {
	fmt.Fprintln(c.err, report.Plain(fmt.Sprintf("myelin: "+format, args...)))
}

// verbs are the verbs.
func verbs(c *console) []*cobra.Command {
	return []*cobra.Command{assessVerb(c), senseVerb(c), reportVerb(c), affectedVerb(c), explainVerb(c), kindsVerb(c), vexVerb(c), linkVerb(c), guardVerb(c), drillVerb(c), serveVerb(c), backupVerb(c), restoreVerb(c), ledgerVerb(c), patchVerb(c), simVerb(c), completionVerb(c)}
}

// usage is the help of a verb, behind what it does.
const usage = `Usage:
  {{.UseLine}}
{{if .HasExample}}
Examples:
{{.Example}}
{{end}}{{if .HasAvailableSubCommands}}
Verbs (--help behind one tells more):{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}
{{end}}`

// run is the whole program, for tests too.
func run(ctx context.Context, args []string, in io.Reader, out, err io.Writer) int {
	c := &console{in, out, err}
	understood := false // the verb, its flags and the number of its arguments
	root := &cobra.Command{
		Use:   "myelin VERB [flags] ARGUMENT...",
		Short: "Protects smart implants and connected medical devices",
		Long: `Myelin sees what medical devices say on the network, and tells what could
hurt a patient and what to do about it. It works offline, from one program,
and sends nothing to anybody. It is no medical device.`,
		Example: `  myelin assess capture.pcap          what is here, and what is wrong?
  myelin sense -i eth1                the same, live
  myelin kinds                        what it looks for, and why`,
		Version:               version(),
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
		PersistentPreRunE: func(v *cobra.Command, _ []string) error {
			understood = true
			return noneEmpty(v)
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true // ours is written like the other verbs
	root.SetFlagErrorFunc(wrongFlag)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	root.SetArgs(args)
	root.SetUsageTemplate(usage)
	root.SetVersionTemplate("myelin {{.Version}}\n")
	root.AddCommand(verbs(c)...)

	verb, e := root.ExecuteContextC(ctx)
	var code exit
	var usage usageError
	switch {
	case e == nil:
		return exitDone
	case errors.As(e, &code):
		return int(code)
	}
	c.hint("%v", said(e))
	if !understood || errors.As(e, &usage) {
		if verb != root {
			c.hint("see '%s --help'", verb.CommandPath())
		}
		return exitUsage
	}
	return exitError
}

// said returns an error as a person reads it: of a file the name and what is
// wrong, without the system call that found that out.
func said(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	var p *fs.PathError
	if errors.As(err, &p) && err == error(p) {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// version is the module's, as built.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
