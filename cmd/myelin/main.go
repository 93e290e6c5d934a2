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
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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

func (c *console) hint(format string, args ...any) {
	fmt.Fprintf(c.err, "myelin: "+format+"\n", args...)
}

// run is the whole program, for tests too.
func run(ctx context.Context, args []string, in io.Reader, out, err io.Writer) int {
	c := &console{in, out, err}
	root := &cobra.Command{
		Use:   "myelin VERB [flags] ARGUMENT...",
		Short: "Protects smart implants and connected medical devices",
		Long: `Myelin sees what medical devices say on the network, and tells what could
hurt a patient and what to do about it. It works offline, from one program.

  myelin assess capture.pcap          what is here, and what is wrong?
  myelin sense -i eth1                the same, live`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	root.SetArgs(args)
	root.SetVersionTemplate("myelin {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, e error) error { return usageError{e} })
	root.AddCommand(verbs(c)...)

	e := root.ExecuteContext(ctx)
	var code exit
	var usage usageError
	switch {
	case e == nil:
		return exitDone
	case errors.As(e, &code):
		return int(code)
	case errors.As(e, &usage):
		c.hint("%v", e)
		c.hint("see 'myelin --help', or --help behind a verb")
		return exitUsage
	}
	c.hint("%v", e)
	return exitError
}

// exactly and atLeast check the number of arguments, as usage errors.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{errors.New(what)}
		}
		return nil
	}
}

// version is the module's, as built.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
