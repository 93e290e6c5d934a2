// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/report"
	"github.com/myelin-health/myelin/serve/api"
	"github.com/myelin-health/myelin/serve/update"
)

// A programFlags says which server a program of a person asks, and with which token.
type programFlags struct {
	url, token, authority string
	format                formatFlag
}

func (f *programFlags) register(v *cobra.Command) {
	v.Flags().StringVar(&f.url, "server", "", "ask the server at `URL`")
	v.Flags().StringVar(&f.token, "token", "", "`FILE` with a token of yours, of the page Me, with the scopes read and update")
	v.Flags().StringVar(&f.authority, "server-ca", "", "`FILE` of the authority of its certificate")
	f.format.register(v, "text", "json")
}

const maxAPIAnswer = 64 << 20

// ask has the server do something, and reads what it answers.
func (f *programFlags) ask(ctx context.Context, method, path string, in, out any) error {
	if err := f.format.check(); err != nil {
		return err
	}
	if f.url == "" || f.token == "" {
		return usageError{errors.New("which server? --server URL --token FILE")}
	}
	at, err := url.Parse(f.url)
	if err != nil || at.Host == "" {
		return usageError{fmt.Errorf("--server %s: want https://host:port", f.url)}
	}
	if err := onlyOwners(f.token); err != nil {
		return err
	}
	token, err := tokenIn(f.token)
	if err != nil {
		return err
	}
	var roots *x509.CertPool
	if f.authority != "" {
		pem, err := os.ReadFile(f.authority)
		if err != nil {
			return err
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: there is no certificate in it", f.authority)
		}
	}
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(f.url, "/")+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	c := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Proxy: http.ProxyFromEnvironment}, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // which would have the token
	}
	defer c.CloseIdleConnections()
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAPIAnswer))
	switch {
	case err != nil:
		return err
	case res.StatusCode >= 300:
		var problem struct{ Title, Detail string }
		json.Unmarshal(b, &problem)
		if problem.Detail == "" {
			problem.Detail = problem.Title
		}
		if problem.Detail == "" {
			problem.Detail = res.Status
		}
		return fmt.Errorf("%s: %s", f.url, report.Plain(problem.Detail))
	case out == nil || len(b) == 0:
		return nil
	}
	return json.Unmarshal(b, out)
}

// A deed is what a person does to a roll-out, or to a device of it.
type deed struct {
	name, args, short, long, example string
	more                             func(v *cobra.Command) func() (any, error) // its own flags; returns what is sent
}

func patchRolloutVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "rollout VERB",
		Short: "Send updates through a hospital's devices, and stop them",
		Long: `Rollout has a server send a release through its devices, ring by ring, past
every gate, and stop when something goes wrong. It asks the server of --server
with a token of a person, who may with it no more than on the server's pages.`,
		Example: `  myelin patch rollout list --server https://m.example:8440 --token me.token
  myelin patch rollout halt flow-2.2.0 --reason "pump-3 alarms" --server ...`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(rolloutListVerb(c), rolloutShowVerb(c), rolloutDevicesVerb(c), rolloutEventsVerb(c), rolloutOrdersVerb(c), rolloutReleaseVerb(c), rolloutCreateVerb(c))
	reason := func(v *cobra.Command) func() (any, error) {
		why := v.Flags().String("reason", "", "why, in `WORDS` for the ledger")
		return func() (any, error) { return map[string]any{"reason": *why}, nil }
	}
	consent := func(v *cobra.Command) func() (any, error) {
		why := v.Flags().String("reason", "", "`WORDS` for the ledger")
		whose := v.Flags().String("whose", "clinician", "`WHOSE`: clinician or patient")
		terms := v.Flags().String("terms", "", "`VERSION` of the text that was agreed to")
		return func() (any, error) { return map[string]any{"reason": *why, "whose": *whose, "terms": *terms}, nil }
	}
	for _, d := range []deed{
		{"start", "ID", "Send a roll-out on its way", "", "flow-2.2.0 --reason ADA-2026-01", reason},
		{"pause", "ID", "Let nothing more begin", "", `flow-2.2.0 --reason "the ward is full"`, reason},
		{"resume", "ID", "Let a roll-out go on", "Resume lets a roll-out go on that pauses, or was halted and not for good.", `flow-2.2.0 --reason "a cable was loose"`, reason},
		{"halt", "ID", "Void every offer of a roll-out", "Halt voids every offer of a roll-out at once. With --final no roll-out ever\noffers the release again.", `flow-2.2.0 --reason "pump-3 alarms"`, func(v *cobra.Command) func() (any, error) {
			why := v.Flags().String("reason", "", "why, in `WORDS` for the ledger")
			final := v.Flags().Bool("final", false, "for good, and the release with it")
			return func() (any, error) { return map[string]any{"reason": *why, "final": *final}, nil }
		}},
		{"consent", "ID DEVICE", "Record the clinician's, or the patient's, consent", "", "flow-2.2.0 dev-k3... --whose patient \\\n    --terms 2026-03 --server ...", consent},
		{"withdraw", "ID DEVICE", "Take consent back: what was offered is void", "", "flow-2.2.0 dev-k3... --whose patient", func(v *cobra.Command) func() (any, error) {
			why := v.Flags().String("reason", "", "`WORDS` for the ledger")
			whose := v.Flags().String("whose", "clinician", "`WHOSE`: clinician or patient")
			return func() (any, error) { return map[string]any{"reason": *why, "whose": *whose}, nil }
		}},
		{"attend", "ID DEVICE", "Say who is beside a device, and for how long", "", "flow-2.2.0 dev-k3... \\\n    --as \"clinician present\" --for 30m --server ...", func(v *cobra.Command) func() (any, error) {
			as := v.Flags().String("as", "clinician present", "`WHO`: patient present; clinician present; in clinic, with backup equipment")
			spare := v.Flags().Bool("spare", false, "a spare device is at hand")
			last := v.Flags().Duration("for", 30*time.Minute, "for this `TIME`")
			return func() (any, error) {
				return map[string]any{"as": *as, "spare": *spare, "minutes": int(last.Minutes())}, nil
			}
		}},
		{"rule-out", "ID DEVICE", "Say that a device cannot be updated, and what holds instead", "", "flow-2.2.0 dev-k3... --owner \"Lea Sommer\" \\\n    --control gw-icu --reason \"hardware B\" --server ...", func(v *cobra.Command) func() (any, error) {
			owner := v.Flags().String("owner", "", "`NAME` of who answers for it")
			control := v.Flags().String("control", "", "what holds instead, in `WORDS`: the envelope of a guard, returned, ...")
			why := v.Flags().String("reason", "", "why, in `WORDS`")
			review := v.Flags().String("review", "", "`DATE` on which it is looked at again: 2026-09-01")
			return func() (any, error) {
				in := map[string]any{"owner": *owner, "control": *control, "reason": *why}
				if *review != "" {
					t, err := time.Parse(time.DateOnly, *review)
					if err != nil {
						return nil, usageError{fmt.Errorf("--review %s: want a date, such as 2026-09-01", *review)}
					}
					in["review"] = t
				}
				return in, nil
			}
		}},
		{"report", "ID DEVICE", "Say how a work order went, or that an update did harm", "", "flow-2.2.0 dev-k3... --outcome installed \\\n    --resumed --self-test --settings-kept --took 40s --server ...", func(v *cobra.Command) func() (any, error) {
			outcome := v.Flags().String("outcome", "", "`HOW` it ended: installed, fell back, refused, settings lost, loss of function")
			resumed := v.Flags().Bool("resumed", false, "therapy was seen resumed")
			test := v.Flags().Bool("self-test", false, "it passed its self-test")
			kept := v.Flags().Bool("settings-kept", false, "its settings are what they were")
			took := v.Flags().Duration("took", 0, "`TIME` from the switch until therapy was resumed")
			why := v.Flags().String("reason", "", "`WORDS` for the ledger")
			return func() (any, error) {
				return map[string]any{"outcome": *outcome, "resumed": *resumed, "self_test": *test, "settings_kept": *kept, "seconds": int(took.Seconds()), "reason": *why}, nil
			}
		}},
		{"override", "ID", "Relax a gate, as one of the two people who have to", "Override relaxes a gate that the plan lets two people relax, once both have\nasked for it within an hour.", "flow-2.2.0 --gate \"maintenance window\" \\\n    --for 2h --reason \"it is exploited\" --server ...", func(v *cobra.Command) func() (any, error) {
			gate := v.Flags().String("gate", "", "`GATE`: clinician's consent, patient's consent, maintenance window, ward capacity, ring, freeze")
			dev := v.Flags().String("device", "", "`ID` of the one device for which; without it, for all")
			last := v.Flags().Duration("for", time.Hour, "for this `TIME`")
			why := v.Flags().String("reason", "", "why, in `WORDS` for the ledger")
			return func() (any, error) {
				return map[string]any{"gate": *gate, "device": *dev, "minutes": int(last.Minutes()), "reason": *why}, nil
			}
		}},
	} {
		v.AddCommand(rolloutDeedVerb(c, d))
	}
	v.AddCommand(rolloutKeysVerb(c), rolloutReceiptsVerb(c))
	return v
}

func rolloutDeedVerb(c *console, d deed) *cobra.Command {
	var flags programFlags
	long := d.long
	if long == "" {
		long = d.short + "."
	}
	var body func() (any, error)
	n := len(strings.Fields(d.args))
	v := &cobra.Command{
		Use: d.name + " " + d.args, Short: d.short, Long: long, Example: "  myelin patch rollout " + d.name + " " + d.example, DisableFlagsInUseLine: true,
		Args: exactly(n, d.name+" what? it wants "+strings.ReplaceAll(d.args, " ", ", and ")),
		RunE: func(v *cobra.Command, args []string) error {
			in, err := body()
			if err != nil {
				return err
			}
			path := "/rollouts/" + url.PathEscape(args[0])
			if n > 1 {
				path += "/devices/" + url.PathEscape(args[1])
			}
			var out json.RawMessage
			if err := flags.ask(v.Context(), http.MethodPost, path+"/"+d.name, in, &out); err != nil {
				return err
			}
			if flags.format.name == "json" {
				return c.writeJSON(out)
			}
			switch {
			case n > 1:
				var m api.Member
				if err := json.Unmarshal(out, &m); err != nil {
					return err
				}
				return c.members([]api.Member{m})
			case d.name == "override":
				var said struct{ Relaxed bool }
				if err := json.Unmarshal(out, &said); err != nil {
					return err
				}
				if said.Relaxed {
					fmt.Fprintln(c.out, "The gate is relaxed.")
				} else {
					fmt.Fprintln(c.out, "A second person has to ask for it, within an hour.")
				}
				return nil
			}
			var r api.Rollout
			if err := json.Unmarshal(out, &r); err != nil {
				return err
			}
			return c.rollouts([]api.Rollout{r})
		},
	}
	body = d.more(v)
	flags.register(v)
	return v
}

func (c *console) writeJSON(b json.RawMessage) error {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.out, strings.TrimSpace(out.String()))
	return err
}

// table writes rows of cells, which may be anything, one a line.
func (c *console) table(head string, rows [][]string) error {
	w := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " | ", "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = report.Plain(r[i])
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

func (c *console) rollouts(list []api.Rollout) error {
	var rows [][]string
	for _, r := range list {
		status := r.Status
		if r.Why != "" {
			status += ": " + r.Why
		}
		if r.By != "" {
			status += " (" + r.By + ")"
		}
		rows = append(rows, []string{r.ID, r.Product + " " + r.Version, fmt.Sprintf("%d of %d", r.Ended, r.Devices), strconv.Itoa(r.Outcomes["installed"]), strconv.Itoa(r.Out), status})
	}
	return c.table("ROLL-OUT | RELEASE | ENDED | INSTALLED | OUT | STATUS", rows)
}

func (c *console) members(list []api.Member) error {
	var rows [][]string
	for _, m := range list {
		status := m.Status
		if m.Outcome != "" {
			status = m.Outcome
		}
		rows = append(rows, []string{m.Device, m.Ward, m.Ring, status, m.Why})
	}
	return c.table("DEVICE | WARD | RING | STATUS | WHY", rows)
}

// A reading is a verb that reads, and shows what it read.
func reading[T any](c *console, v *cobra.Command, path func(args []string) string, show func(*T) error) *cobra.Command {
	var flags programFlags
	v.DisableFlagsInUseLine = true
	v.RunE = func(v *cobra.Command, args []string) error {
		var raw json.RawMessage
		if err := flags.ask(v.Context(), http.MethodGet, path(args), nil, &raw); err != nil {
			return err
		}
		if flags.format.name == "json" {
			return c.writeJSON(raw)
		}
		var out T
		if err := json.Unmarshal(raw, &out); err != nil {
			return err
		}
		return show(&out)
	}
	flags.register(v)
	return v
}

type items[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
	Total int    `json:"total"`
}

func rolloutListVerb(c *console) *cobra.Command {
	return reading(c, &cobra.Command{
		Use: "list", Short: "List roll-outs", Long: "List lists the roll-outs of a server, the newest first.", Example: "  myelin patch rollout list --server https://m.example:8440 --token me.token",
		Args: exactly(0, "list takes no arguments"),
	}, func([]string) string { return "/rollouts" }, func(l *items[api.Rollout]) error { return c.rollouts(l.Items) })
}

func rolloutShowVerb(c *console) *cobra.Command {
	return reading(c, &cobra.Command{
		Use: "show ID", Short: "Tell how far a roll-out is, ring by ring", Long: "Show tells how far a roll-out is, ring by ring, and what its devices wait for.", Example: "  myelin patch rollout show flow-2.2.0 --server https://m.example:8440 \\\n    --token me.token",
		Args: exactly(1, "show what? name a roll-out"),
	}, func(args []string) string { return "/rollouts/" + url.PathEscape(args[0]) }, func(r *api.Rollout) error {
		if err := c.rollouts([]api.Rollout{*r}); err != nil {
			return err
		}
		var rows [][]string
		for _, g := range r.Rings {
			began := "-"
			if g.Began != nil {
				began = g.Began.Format(time.DateTime)
			}
			rows = append(rows, []string{g.Name, began, strconv.Itoa(g.Devices), fmt.Sprintf("%d of %d", g.Finished, g.Wanted), strconv.Itoa(g.Out), strconv.Itoa(g.Waiting), g.Shows})
		}
		fmt.Fprintln(c.out)
		if err := c.table("RING | BEGAN | DEVICES | FINISHED | OUT | WAITING | SHOWS", rows); err != nil || len(r.Gates) == 0 {
			return err
		}
		rows = nil
		for _, g := range r.Gates {
			rows = append(rows, []string{g.Gate, strconv.Itoa(g.Count)})
		}
		fmt.Fprintln(c.out)
		return c.table("GATE | WAITING", rows)
	})
}

func rolloutDevicesVerb(c *console) *cobra.Command {
	var status, gate, ward string
	var after int
	v := reading(c, &cobra.Command{
		Use: "devices ID", Short: "List the devices of a roll-out, and what they wait for", Long: "Devices lists the devices of a roll-out and what each waits for, a thousand at a\ntime.", Example: "  myelin patch rollout devices flow-2.2.0 --status waiting --server ...",
		Args: exactly(1, "devices of what? name a roll-out"),
	}, func(args []string) string {
		q := url.Values{"limit": {"1000"}, "after": {strconv.Itoa(after)}}
		for key, v := range map[string]string{"status": status, "gate": gate, "ward": ward} {
			if v != "" {
				q.Set(key, v)
			}
		}
		return "/rollouts/" + url.PathEscape(args[0]) + "/devices?" + q.Encode()
	}, func(l *items[api.Member]) error {
		if l.Next != "" {
			c.hint("%d of %d devices; --after %s shows more", len(l.Items), l.Total, l.Next)
		}
		return c.members(l.Items)
	})
	v.Flags().StringVar(&status, "status", "", "`STATUS`: waiting, staging, told to install, silent, ended")
	v.Flags().StringVar(&gate, "gate", "", "those that wait for this `GATE`")
	v.Flags().StringVar(&ward, "ward", "", "those of this `WARD`")
	v.Flags().IntVar(&after, "after", 0, "leave out so many")
	return v
}

func rolloutEventsVerb(c *console) *cobra.Command {
	var dev string
	var before int64
	v := reading(c, &cobra.Command{
		Use: "events ID", Short: "Tell what was decided in a roll-out, and what came of it", Long: "Events tells what was decided in a roll-out and what came of it, the newest\nfirst.", Example: "  myelin patch rollout events flow-2.2.0 --device dev-k3... --server ...",
		Args: exactly(1, "events of what? name a roll-out"),
	}, func(args []string) string {
		q := url.Values{"limit": {"1000"}, "before": {strconv.FormatInt(before, 10)}}
		if dev != "" {
			q.Set("device", dev)
		}
		return "/rollouts/" + url.PathEscape(args[0]) + "/events?" + q.Encode()
	}, func(l *items[api.RolloutEvent]) error {
		var rows [][]string
		for _, e := range l.Items {
			var says []string
			for k, v := range e.Says {
				if k != "rollout" && v != "" {
					says = append(says, k+"="+v)
				}
			}
			slices.Sort(says)
			rows = append(rows, []string{strconv.FormatInt(e.Number, 10), e.Time.Format(time.DateTime), e.Kind, e.Device, strings.Join(says, " ")})
		}
		return c.table("NUMBER | TIME | KIND | DEVICE | SAYS", rows)
	})
	v.Flags().StringVar(&dev, "device", "", "of the device with this `ID` alone")
	v.Flags().Int64Var(&before, "before", 0, "before this `NUMBER` of an event")
	return v
}

func rolloutOrdersVerb(c *console) *cobra.Command {
	return reading(c, &cobra.Command{
		Use: "orders", Short: "List the devices that a person is to update", Long: "Orders lists the devices that a person is to update, the first to expire first.", Example: "  myelin patch rollout orders --server https://m.example:8440 --token me.token",
		Args: exactly(0, "orders takes no arguments"),
	}, func([]string) string { return "/orders" }, func(l *items[update.Order]) error {
		var rows [][]string
		for _, o := range l.Items {
			do := "get ready"
			if o.Install {
				do = "install"
			}
			rows = append(rows, []string{o.Rollout, o.Device, o.Ward, o.Product + " " + o.Version, do, o.Expires.Format(time.DateTime)})
		}
		return c.table("ROLL-OUT | DEVICE | WARD | RELEASE | DO | UNTIL", rows)
	})
}

func rolloutReleaseVerb(c *console) *cobra.Command {
	var flags programFlags
	var path string
	v := &cobra.Command{
		Use: "release FILE --path PATH", Short: "Take a release in, which roll-outs can then have",
		Long: `Release takes in a release, a file of JSON, whose envelope is in the folder
"updates" of the server at --path.`,
		Example:               `  myelin patch rollout release flow.json --path flow500/2.2.0.suit --server ...`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "which release? name a file of JSON"),
		RunE: func(v *cobra.Command, args []string) error {
			b, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			if !json.Valid(b) {
				return fmt.Errorf("%s: that is no JSON", args[0])
			}
			if path == "" {
				return usageError{errors.New("where is its envelope? --path says, in the folder updates of the server")}
			}
			return flags.ask(v.Context(), http.MethodPost, "/releases", map[string]any{"path": path, "release": json.RawMessage(b)}, nil)
		},
	}
	v.Flags().StringVar(&path, "path", "", "`PATH` of its envelope in the folder updates of the server")
	flags.register(v)
	return v
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func rolloutCreateVerb(c *console) *cobra.Command {
	var flags programFlags
	var release, plan, reason string
	v := &cobra.Command{
		Use: "create ID --release ENVELOPE --plan FILE", Short: "Make a roll-out of a release by a plan",
		Long: `Create makes a roll-out of a release that the server has, by a plan: of all
devices of its product that are known now. Nothing is offered before start.`,
		Example: `  myelin patch rollout create flow-2.2.0 --release flow500.suit \
    --plan plan.yaml --reason ADA-2026-01 --server ...`,
		DisableFlagsInUseLine: true,
		Args:                  exactly(1, "what is the roll-out called? give it a name of small letters, digits, dots and dashes"),
		RunE: func(v *cobra.Command, args []string) error {
			if release == "" || plan == "" {
				return usageError{errors.New("of what? --release names an envelope, --plan a file")}
			}
			if !digestForm.MatchString(release) {
				b, err := os.ReadFile(release)
				if err != nil {
					return err
				}
				sum := sha256.Sum256(b)
				release = hex.EncodeToString(sum[:])
			}
			text, err := os.ReadFile(plan)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := flags.ask(v.Context(), http.MethodPost, "/rollouts", map[string]any{"id": args[0], "release": release, "plan": string(text), "reason": reason}, &raw); err != nil {
				return err
			}
			if flags.format.name == "json" {
				return c.writeJSON(raw)
			}
			var r api.Rollout
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			return c.rollouts([]api.Rollout{r})
		},
	}
	v.Flags().StringVar(&release, "release", "", "`ENVELOPE`: a file, or its SHA-256 in hexadecimal")
	v.Flags().StringVar(&plan, "plan", "", "`FILE` of the plan")
	v.Flags().StringVar(&reason, "reason", "", "why, in `WORDS` for the ledger")
	flags.register(v)
	return v
}

func rolloutKeysVerb(c *console) *cobra.Command {
	var flags programFlags
	v := &cobra.Command{
		Use: "keys DEVICE=FILE...", Short: "Let keys speak for devices when these ask for updates",
		Long: `Keys registers public keys, files of "myelin link keygen" or PEM, for devices,
by their ids on the server. A gateway's key may be given for several. The token
wants the scope admin.`,
		Example:               `  myelin patch rollout keys dev-k3...=pump-3.key.pub --server ...`,
		DisableFlagsInUseLine: true,
		Args:                  atLeast(1, "which keys? name devices with files, as DEVICE=FILE"),
		RunE: func(v *cobra.Command, args []string) error {
			var keys []update.Key
			for _, a := range args {
				dev, file, ok := strings.Cut(a, "=")
				if !ok || dev == "" || file == "" {
					return usageError{fmt.Errorf("%s: want DEVICE=FILE", a)}
				}
				k, err := publicKey(file)
				if err != nil {
					return err
				}
				keys = append(keys, update.Key{Device: dev, Key: k.AppendPublic(nil)})
			}
			var out struct{ Added int }
			if err := flags.ask(v.Context(), http.MethodPost, "/update-keys", map[string]any{"keys": keys}, &out); err != nil {
				return err
			}
			c.hint("%d of %d keys are new", out.Added, len(keys))
			return nil
		},
	}
	flags.register(v)
	return v
}

func rolloutReceiptsVerb(c *console) *cobra.Command {
	var flags programFlags
	v := &cobra.Command{
		Use: "receipts FILE...", Short: "Take in what devices signed, and a stick carried",
		Long: `Receipts takes in files that devices signed, one State each, as if they had
sent them. Of each it is said whether it was taken; exit status 1: one was not.`,
		Example:               `  myelin patch rollout receipts stick/.receipts/* --server ...`,
		DisableFlagsInUseLine: true,
		Args:                  atLeast(1, "which receipts? name files"),
		RunE: func(v *cobra.Command, args []string) error {
			failed := false
			for part := range slices.Chunk(args, 100) {
				in := struct {
					Receipts [][]byte `json:"receipts"`
				}{}
				for _, file := range part {
					f, err := os.Open(file)
					if err != nil {
						return err
					}
					b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
					f.Close()
					if err != nil {
						return err
					}
					in.Receipts = append(in.Receipts, b)
				}
				var out items[update.Receipt]
				if err := flags.ask(v.Context(), http.MethodPost, "/receipts", in, &out); err != nil {
					return err
				}
				if len(out.Items) != len(part) {
					return fmt.Errorf("%s: it speaks of %d of %d receipts", flags.url, len(out.Items), len(part))
				}
				var rows [][]string
				for i, r := range out.Items {
					said := "taken"
					if !r.Taken {
						said, failed = r.Why, true
					}
					rows = append(rows, []string{part[i], r.Device, said})
				}
				if err := c.table("FILE | DEVICE | RECEIPT", rows); err != nil {
					return err
				}
			}
			if failed {
				return exit(exitError)
			}
			return nil
		},
	}
	flags.register(v)
	return v
}
