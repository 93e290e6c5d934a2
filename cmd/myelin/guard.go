// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/report"
)

func guardVerb(c *console) *cobra.Command {
	var file string
	v := &cobra.Command{
		Use:   "guard VERB",
		Short: "Stand before devices that cannot defend themselves",
		Long: `Guard understands what is said to a device, and lets through what is safe for
the body it is connected to. Alarms and measurements always pass. It begins by
observing; docs/guard.md tells how to come from there to limits that hold. It
is not cleared as a medical device.`,
		Example: `  myelin guard check guard.yaml
  myelin guard run --config guard.yaml
  myelin guard learn --config guard.yaml`,
		DisableFlagsInUseLine: true,
		Args: func(v *cobra.Command, args []string) error {
			if file != "" && len(args) == 0 {
				return nil
			}
			return aVerb(v, args)
		},
		RunE: func(v *cobra.Command, _ []string) error { return c.guard(v, file) },
	}
	v.Flags().StringVar(&file, "config", "", "`FILE`: run this configuration, as 'guard run' does")
	v.AddCommand(guardRunVerb(c), guardCheckVerb(c), guardLearnVerb(c), guardExplainVerb(c), guardPasswdVerb(c), guardSettleVerb(c))
	return v
}

// configFlag is where the configuration is.
func configFlag(v *cobra.Command, file *string) {
	v.Flags().StringVar(file, "config", "guard.yaml", "`FILE` of the guard's configuration")
}

func guardRunVerb(c *console) *cobra.Command {
	var file string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "run [--config FILE]",
		Short:                 "Run the fronts and the page of a configuration",
		Long: `Run serves until it is interrupted, and then lets what was begun end. A change
of the configuration, or of a file that it names, is taken over without dropping
a connection, or refused whole with the reason; SIGHUP has it look at once. The
log is on standard error, verdicts are in the ledger.`,
		Example: `  myelin guard run --config /etc/myelin/guard.yaml`,
		Args:    exactly(0, "guard run takes no arguments; --config says which configuration"),
		RunE:    func(v *cobra.Command, _ []string) error { return c.guard(v, file) },
	}
	configFlag(v, &file)
	return v
}

// guard runs a configuration.
func (c *console) guard(v *cobra.Command, file string) error {
	conf, err := guard.Load(file)
	if err != nil {
		return err
	}
	log, err := guardLedger(conf)
	if err != nil {
		return err
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	record := log.Record
	var up *guardUplink
	if conf.Server != nil {
		if up, err = c.openGuardUplink(conf.Server); err != nil {
			return errors.Join(err, log.Close())
		}
		record = func(e *event.Event) error {
			err := log.Record(e)
			if err == nil {
				up.record(e)
			}
			return err
		}
	}
	g, err := guard.New(conf, guard.Config{Record: record, Log: slog.New(slog.NewTextHandler(c.err, nil)), Reload: again, Version: version()})
	if err != nil {
		return errors.Join(err, up.close(), log.Close())
	}
	end := up.begin(g)
	err = g.Run(v.Context())
	err = errors.Join(err, g.Close())
	end()
	return errors.Join(err, up.close(), log.Close())
}

// guardLedger opens the ledger of a guard, to append to it.
func guardLedger(conf *guard.Configuration) (*ledger.Log, error) {
	signer, verifier, err := ledgerSigner(conf.Ledger.Key, nil)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; 'myelin ledger key' makes one", said(err))
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the ledger: %w", err)
	}
	return ledger.Open(conf.Ledger.Folder, ledger.Config{Signer: signer, Verifier: verifier})
}

func guardCheckVerb(c *console) *cobra.Command {
	var f formatFlag
	var failOn string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "check FILE [flags]",
		Short:                 "Say what is wrong or risky in a configuration",
		Long: `Check reads a configuration and all that it names. It says per device whether
its limits would be enforced or only observed, and why, and what is risky.
Nothing is started and nothing is changed.`,
		Example: `  myelin guard check guard.yaml
  myelin guard check guard.yaml --fail-on risk`,
		Args: exactly(1, "guard check wants one configuration, such as guard.yaml"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if failOn != "" && failOn != "risk" {
				return usageError{fmt.Errorf("--fail-on %s: want risk", failOn)}
			}
			conf, err := guard.Load(args[0])
			if err != nil {
				return err
			}
			risks := conf.Risks()
			if f.name == "json" {
				err = c.checkJSON(conf, risks)
			} else {
				err = c.checkText(conf, risks)
			}
			if err == nil && failOn != "" && len(risks) > 0 {
				return exit(exitFound)
			}
			return err
		},
	}
	f.register(v, "text", "json")
	v.Flags().StringVar(&failOn, "fail-on", "", "exit with 3 when something is risky: `risk`")
	return v
}

func (c *console) checkText(conf *guard.Configuration, risks []guard.Risk) error {
	standings := conf.Standings()
	enforced := 0
	for _, s := range standings {
		if s.Enforcing {
			enforced++
		}
	}
	fmt.Fprintf(c.out, "%s: %s. Of %s the limits would be enforced, of %s only observed.\n\n", conf.File,
		report.Plain(conf.Site), plural(enforced, "device"), plural(len(standings)-enforced, "device"))
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tWOULD\tENVELOPE\tFRONTS\tWHY")
	for _, s := range standings {
		would, env, why := "observe", "none", s.Because
		if s.Enforcing {
			would = "enforce"
		}
		if e := s.Device.Envelope; e != nil {
			env = fmt.Sprintf("%s v%d", s.Device.File, e.Version)
			if s.Enforcing {
				why = fmt.Sprintf("approved by %s (%s)", e.Approver.ID, e.Approver.Role)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.Device.ID, would, report.Plain(env), dash(strings.Join(s.Fronts, " ")), report.Plain(why))
	}
	fmt.Fprintln(t, "\nFRONT\tKIND\tBEFORE\tLISTENS\tFORWARDS\tLISTS")
	for _, p := range conf.Fronts {
		s := p.Common()
		lists := "enforced"
		if s.Mode != 0 {
			lists = "observed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Kind, s.Device, s.Listen.Address, dash(s.Forward.Address), lists)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(risks) > 0 {
		fmt.Fprintf(c.out, "\nRisky:\n")
		for _, r := range risks {
			fmt.Fprintf(c.out, "  %s:%d: %s\n", conf.File, r.Line, report.Plain(r.Text))
		}
	}
	_, err := fmt.Fprintf(c.out, "\nNext: myelin guard run --config %s\n", conf.File)
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func (c *console) checkJSON(conf *guard.Configuration, risks []guard.Risk) error {
	type row struct {
		ID       string   `json:"id"`
		Therapy  string   `json:"therapy"`
		Enforce  bool     `json:"enforce"`
		Why      string   `json:"why,omitempty"`
		Envelope string   `json:"envelope,omitempty"`
		Version  int      `json:"version,omitempty"`
		Fronts   []string `json:"fronts"`
	}
	out := struct {
		File    string       `json:"file"`
		Site    string       `json:"site"`
		Devices []row        `json:"devices"`
		Risks   []guard.Risk `json:"risks"`
	}{conf.File, conf.Site, []row{}, append([]guard.Risk{}, risks...)}
	for _, s := range conf.Standings() {
		r := row{ID: s.Device.ID, Therapy: s.Device.Therapy.String(), Enforce: s.Enforcing, Why: s.Because, Envelope: s.Device.File, Fronts: append([]string{}, s.Fronts...)}
		if s.Device.Envelope != nil {
			r.Version = s.Device.Envelope.Version
		}
		out.Devices = append(out.Devices, r)
	}
	return c.json(out)
}

// json writes one document.
func (c *console) json(v any) error {
	e := json.NewEncoder(report.PlainJSON(c.out))
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func guardLearnVerb(c *console) *cobra.Command {
	var file, front string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "learn [--config FILE] [--front NAME]",
		Short:                 "Propose allow-lists from what the fronts were used for",
		Long: `Learn prints sections for the fronts' allow-lists, with how often each use was
seen. It proposes what happened, not what is right: take out what nobody can
explain, and add what happens once a month. The guard may run meanwhile.`,
		Example: `  myelin guard learn --config guard.yaml --front archive`,
		Args:    exactly(0, "guard learn takes no arguments; --front chooses a front"),
		RunE: func(*cobra.Command, []string) error {
			conf, err := guard.Load(file)
			if err != nil {
				return err
			}
			proposals, err := guard.Propose(conf, front)
			if err != nil {
				return err
			}
			var seen int64
			for _, p := range proposals {
				seen += p.Seen
			}
			fmt.Fprintf(c.out, "# What %s saw, %s. This is what happened, not what is right:\n# read each line, and add what happens once a month. A front's lines stand in\n# place of the same keys in its section; without mode: observe they hold.\n", plural(len(proposals), "front"), plural(int(seen), "use"))
			for _, p := range proposals {
				fmt.Fprintf(c.out, "\n# front %s, %s: %s of %s\n", p.Front, p.Kind, plural(int(p.Seen), "use"), plural(p.Kinds, "different kind"))
				if len(p.Lines) == 0 {
					fmt.Fprintln(c.out, "# nothing came: let it observe for as long as it takes to see all that is usual")
				}
				for _, line := range p.Lines {
					fmt.Fprintln(c.out, "    "+report.Plain(line))
				}
			}
			if len(proposals) > 0 && proposals[0].Lost > 0 {
				fmt.Fprintf(c.out, "\n# %d more different uses had no room, and are not here.\n", proposals[0].Lost)
			}
			return nil
		},
	}
	configFlag(v, &file)
	v.Flags().StringVar(&front, "front", "", "`NAME` of the front; else all")
	return v
}

// onePassword reads a password from standard input: typed without being shown,
// or the first line of a pipe.
func (c *console) onePassword(prompt string) (string, error) {
	f, ok := c.in.(*os.File)
	if ok && terminal(f) {
		fmt.Fprint(c.err, prompt)
		restore, err := hideInput(f)
		if err != nil {
			return "", err
		}
		defer fmt.Fprintln(c.err)
		defer restore()
	}
	// Byte by byte: what stands behind the line is somebody else's.
	var line []byte
	one := make([]byte, 1)
	for len(line) < 1024 {
		n, err := c.in.Read(one)
		if n == 1 && one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, one[:n]...)
		if errors.Is(err, io.EOF) {
			return string(line), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", errors.New("a password of more than 1023 bytes")
}

func guardPasswdVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "passwd",
		Short:                 "Make the hash of a password for guard.yaml",
		Long: `Passwd reads a password from standard input and prints its hash (Argon2id) for a
person's line in guard.yaml. A password has 15 characters or more.`,
		Example: `  myelin guard passwd`,
		Args:    exactly(0, "guard passwd takes no arguments; the password is read from standard input"),
		RunE: func(*cobra.Command, []string) error {
			p, err := c.onePassword("password: ")
			if err != nil {
				return err
			}
			if f, ok := c.in.(*os.File); ok && terminal(f) {
				q, err := c.onePassword("again: ")
				if err != nil {
					return err
				}
				if p != q {
					return errors.New("these are two passwords")
				}
			}
			h, err := guard.HashPassword(p, randomness)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, h)
			return err
		},
	}
	return v
}

func guardSettleVerb(c *console) *cobra.Command {
	var file, person, why string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "settle [--person ID --why TEXT DOSE given|not-given]",
		Short:                 "Say what became of a dose in doubt, when the guard is away",
		Long: `Settle lists the doses of which nobody knows whether they were given, or says of
one that it was or was not, in the name of a person in a clinical role, whose
password is read from standard input. While the guard runs, its page does that.`,
		Example: `  myelin guard settle --config guard.yaml
  myelin guard settle --config guard.yaml --person jr \
    --why "the pump's log has it at 07:12" 17 given`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return errors.New("guard settle wants nothing, or the number of a dose and given or not-given")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			conf, err := guard.Load(file)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				doubts, err := guard.Doubts(conf)
				if err != nil {
					return settleError(err)
				}
				return c.doubts(doubts)
			}
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || args[1] != "given" && args[1] != "not-given" {
				return usageError{fmt.Errorf("%s %s: want the number of a dose, and given or not-given", args[0], args[1])}
			}
			if person == "" || why == "" {
				return usageError{errors.New("guard settle wants --person, whose password it asks for, and --why")}
			}
			password, err := c.onePassword("password of " + person + ": ")
			if err != nil {
				return err
			}
			log, err := guardLedger(conf)
			if err != nil {
				return settleError(err)
			}
			err = guard.Settle(conf, log.Record, person, password, id, args[1] == "given", why)
			if err = errors.Join(settleError(err), log.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "Dose %d is settled: %s.\n", id, strings.ReplaceAll(args[1], "-", " "))
			return err
		},
	}
	configFlag(v, &file)
	v.Flags().StringVar(&person, "person", "", "`ID` of the person of guard.yaml who found out")
	v.Flags().StringVar(&why, "why", "", "`TEXT`: how that is known; no patient's name")
	return v
}

// settleError says what to do when the guard runs.
func settleError(err error) error {
	if errors.Is(err, envelope.ErrLocked) || errors.Is(err, ledger.ErrLocked) {
		return fmt.Errorf("%w: the guard runs; settle it on its page", err)
	}
	return err
}

func (c *console) doubts(doubts []envelope.Doubt) error {
	if len(doubts) == 0 {
		_, err := fmt.Fprintln(c.out, "No dose is in doubt.")
		return err
	}
	fmt.Fprintf(c.out, "Of %s nobody knows; they count as given until somebody does.\n\n", plural(len(doubts), "dose"))
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DOSE\tDEVICE\tWHAT\tASKED BY\tSINCE\tWHY")
	for _, d := range doubts {
		fmt.Fprintf(t, "%d\t%s\t%s %s\t%s\t%s\t%s\n", d.ID, d.Device, d.Verb, d.Value, dash(report.Plain(d.Actor)), d.Since.UTC().Format(time.RFC3339), report.Plain(d.Why))
	}
	return t.Flush()
}
