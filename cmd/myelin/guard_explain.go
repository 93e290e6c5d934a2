// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/guard"
	"github.com/myelin-health/myelin/guard/envelope"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/report"
)

// randomness is where secrets come from.
var randomness = rand.Reader

// An explainFlags is a command that somebody asks about.
type explainFlags struct {
	device, verb, value, now, limit, role string
	weight, concentration, state, confirm string
	proven, attended, emergency, replayed bool
	entry                                 int64
	event                                 string
	assumed                               string // of a recorded verdict
}

func guardExplainVerb(c *console) *cobra.Command {
	var file string
	var x explainFlags
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "explain (--entry N | --event FILE | --device ID --verb VERB ...)",
		Short:                 "Say which line of an envelope allows or refuses a command",
		Long: `Explain judges a command as the guard would now, on a copy of its book of doses,
and shows the line that decides. A recorded verdict is shown as it was, and
judged again with what the record has and what the flags add; of a refusal by a
list it says where the front stands.`,
		Example: `  myelin guard explain --device pump-3 --verb set-infusion-rate \
    --value "4 ug/kg/min" --now "0.2 ug/kg/min" --role clinician --proven
  myelin guard explain --entry 17`,
		Args: exactly(0, "guard explain takes no arguments; --device and --verb, --entry or --event say what"),
		RunE: func(*cobra.Command, []string) error {
			r := envelope.Request{}
			id := x.device
			var recorded *event.Event
			ways := 0
			for _, given := range []bool{x.verb != "", x.entry >= 0, x.event != ""} {
				if given {
					ways++
				}
			}
			if ways != 1 {
				return usageError{errors.New("guard explain wants --device and --verb, or --entry, or --event")}
			}
			conf, err := guard.Load(file)
			if err != nil {
				return err
			}
			if x.verb == "" {
				e, err := c.recorded(conf, &x)
				if err != nil {
					return err
				}
				if e.Kind == event.AccessRefused {
					return c.explainedList(conf, &e)
				}
				if id, r, err = guard.RequestOf(&e); err != nil {
					if x.event == "" {
						err = fmt.Errorf("entry %d: %w", x.entry, err)
					}
					return err
				}
				recorded = &e
				// Who asked by a name was proven; the record does not have the role.
				if e.Text(event.Actor) != "" && x.role == "" {
					x.role, x.proven = device.Clinician.String(), true
					x.assumed = "a clinician, proven; --role says another"
				}
			}
			if err := x.request(&r); err != nil {
				return usageError{err}
			}
			if id == "" {
				return usageError{errors.New("guard explain --verb wants --device too")}
			}
			e, err := guard.Explain(conf, id, &r)
			if err != nil {
				return err
			}
			return c.explained(id, &r, e, recorded, x.assumed)
		},
	}
	configFlag(v, &file)
	v.Flags().Int64Var(&x.entry, "entry", -1, "number `N` of a verdict in the ledger")
	v.Flags().StringVar(&x.event, "event", "", "`FILE` with a verdict as the ledger has it; - is standard input")
	v.Flags().StringVar(&x.device, "device", "", "`ID` of the device, from guard.yaml")
	v.Flags().StringVar(&x.verb, "verb", "", "`VERB` of the command, such as deliver-bolus")
	v.Flags().StringVar(&x.value, "value", "", "`QUANTITY` that is asked for")
	v.Flags().StringVar(&x.now, "now", "", "`QUANTITY` that holds now; else unknown")
	v.Flags().StringVar(&x.limit, "limit", "", "`QUANTITY`: time, volume or dose that comes with it")
	v.Flags().StringVar(&x.weight, "weight", "", "`QUANTITY` of the patient")
	v.Flags().StringVar(&x.concentration, "concentration", "", "`QUANTITY` of the drug")
	v.Flags().StringVar(&x.state, "state", "", "`WORD`: the therapy's state as the device reports it")
	v.Flags().StringVar(&x.role, "role", "", "`ROLE` of who asks, as proven")
	v.Flags().StringVar(&x.confirm, "confirmed-by", "", "`ROLE` of a second person who confirmed it")
	v.Flags().BoolVar(&x.proven, "proven", false, "the sender is proven, and the message fresh")
	v.Flags().BoolVar(&x.attended, "attended", false, "somebody entitled is with the patient")
	v.Flags().BoolVar(&x.emergency, "emergency", false, "a break-glass session is open")
	v.Flags().BoolVar(&x.replayed, "replayed", false, "it repeats what has to be fresh")
	return v
}

// request fills in what the flags say.
func (x *explainFlags) request(r *envelope.Request) error {
	if x.verb != "" {
		v, ok := device.ParseVerb(x.verb)
		if !ok {
			return fmt.Errorf("--verb %s: no such verb; docs/dialects.md lists them", x.verb)
		}
		r.Command.Verb = v
		r.Command.Actor = "somebody"
	}
	for _, q := range []struct {
		name, text string
		to         *device.Quantity
	}{
		{"value", x.value, &r.Command.Value},
		{"now", x.now, &r.Command.Now},
		{"limit", x.limit, &r.Command.Limit},
		{"weight", x.weight, &r.Weight},
		{"concentration", x.concentration, &r.Concentration},
	} {
		if q.text == "" {
			continue
		}
		v, err := device.ParseQuantity(q.text)
		if err != nil || v.Unit == device.NoUnit {
			return fmt.Errorf("--%s %s: want a number and a unit, such as \"0.8 ug/kg/min\"", q.name, q.text)
		}
		*q.to = v
	}
	if x.role != "" {
		var ok bool
		if r.Command.Role, ok = device.ParseRole(x.role); !ok {
			return fmt.Errorf("--role %s: no such role", x.role)
		}
	}
	if x.proven {
		r.Command.Channel = device.Encrypted | device.Authenticated | device.Fresh
	}
	if x.confirm != "" {
		role, ok := envelope.ParseClinicalRole(x.confirm)
		if !ok {
			return fmt.Errorf("--confirmed-by %s: want prescriber, pharmacist or nurse", x.confirm)
		}
		r.Confirmed = &envelope.Confirmation{Person: "second", Role: role, Time: time.Now()}
	}
	r.State, r.Command.Attended, r.Emergency, r.Replayed = x.state, x.attended, x.emergency, x.replayed
	return nil
}

// recorded reads the verdict that is asked about.
func (c *console) recorded(conf *guard.Configuration, x *explainFlags) (e event.Event, err error) {
	if x.event != "" {
		var b []byte
		if x.event == "-" {
			b, err = io.ReadAll(io.LimitReader(c.in, maxEventFile))
		} else {
			b, err = readFile(x.event, maxEventFile)
		}
		if err != nil {
			return e, err
		}
		b = bytes.TrimSpace(b)
		var line struct{ Entry json.RawMessage } // as 'myelin ledger show --format json' prints one
		if json.Unmarshal(b, &line) == nil && line.Entry != nil {
			b = line.Entry
		}
		return event.Parse(b)
	}
	_, verifier, err := ledgerSigner(conf.Ledger.Key, nil)
	if err != nil {
		return e, err
	}
	r, err := ledger.Read(conf.Ledger.Folder, verifier)
	if err != nil {
		return e, err
	}
	err = r.Entries(x.entry, x.entry+1, func(_ int64, entry []byte) (err error) {
		e, err = event.Parse(entry)
		return err
	})
	return e, noEntry(err, x.entry, r)
}

const maxEventFile = 64 << 10

// explained says why.
func (c *console) explained(id string, r *envelope.Request, x *guard.Explanation, recorded *event.Event, assumed string) error {
	d := &x.Decision
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	say := func(key, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); strings.TrimSpace(text) != "" {
			fmt.Fprintf(t, "%s\t%s\n", key, report.Plain(text))
		}
	}
	what := strings.TrimSpace(r.Command.Verb.String() + " " + r.Command.Value.String())
	word := map[device.Verdict]string{device.Allow: "is allowed", device.Hold: "waits for a second person", device.Deny: "is refused", device.AllowEmergency: "is allowed in this emergency"}[d.Verdict]
	if !d.Enforced && d.Verdict != device.Allow {
		word = "would pass, because nothing is enforced; it would be said to be " + d.Verdict.String()
	}
	fmt.Fprintf(c.out, "%s for %s %s: %s.\n\n", report.Plain(what), report.Plain(id), word, report.Plain(d.Reason))
	if recorded != nil {
		say("recorded", "%s, %s %s: %s", device.Verdict(recorded.Int(event.Verdict)), map[bool]string{true: "enforced,", false: "only observed,"}[recorded.Int(event.Enforced) == 1], time.Unix(0, recorded.Time).UTC().Format(time.RFC3339), recorded.Text(event.Reason))
	}
	if recorded != nil && device.Verdict(recorded.Int(event.Verdict)) != d.Verdict {
		say("differs", "the record has no value now, no weight and no state, and doses count as they are now; flags add what was known then")
	}
	say("assumed", "%s", assumed)
	say("verdict", "%s", d.Verdict)
	say("effect", "%s", d.Effect)
	say("rescue", "%s", map[bool]string{true: "yes: it waits for nothing"}[d.Rescue])
	switch {
	case x.Envelope == nil:
		say("line", "none: the device has no envelope, and is only observed")
	case d.Line == 0:
		say("line", "none of %s; the rules that hold for all therapies decide", x.File)
	default:
		say("line", "%s:%d: %s", x.File, d.Line, x.Text)
	}
	say("limit", "%s", d.Limit)
	say("asked", "%s", r.Command.Value)
	say("now", "%s", orUnknown(r.Command.Now, r.Command.Value))
	say("sum", "%s", d.Sum)
	say("in doubt", "%s", d.Unknown)
	say("waits", "%s", map[bool]string{true: d.Hold.String() + " at most, for " + d.Confirm.String()}[d.Verdict == device.Hold])
	if e := x.Envelope; e != nil {
		say("envelope", "%s, version %d, by %s, approved by %s (%s)", e.Name, e.Version, e.Author.ID, e.Approver.ID, e.Approver.Role)
		if ok, why := e.Enforcing(); !ok {
			say("enforced", "no: %s", why)
		}
	}
	say("doses", "%s", map[bool]string{true: "as the guard's book has them now", false: "none: there is no book of doses yet"}[x.Given])
	return t.Flush()
}

// explainedList says which front refused what no list of it has.
func (c *console) explainedList(conf *guard.Configuration, e *event.Event) error {
	name := e.Text(event.Front)
	line, text, err := guard.FrontLine(conf, name)
	if err != nil {
		return err
	}
	word := "was refused"
	if e.Int(event.Enforced) == 0 {
		word = "passed, because the front only observes; its lists refuse it"
	}
	what := strings.TrimSpace(e.Text(event.Operation) + " " + e.Text(event.Destination))
	fmt.Fprintf(c.out, "%s at front %s %s: %s.\n\n", report.Plain(what), report.Plain(name), word, report.Plain(e.Text(event.Reason)))
	where := fmt.Sprintf("%s:%d: %s, and the lists below it", conf.File, line, text)
	if line == 0 {
		where = fmt.Sprintf("none: %s has no front %s any more", conf.File, name)
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "recorded\t%s, from %s, %s\n", time.Unix(0, e.Time).UTC().Format(time.RFC3339), report.Plain(dash(e.Peer.Value)), plural(int(e.Int(event.Count)), "time"))
	fmt.Fprintf(t, "line\t%s\n", report.Plain(where))
	return t.Flush()
}

func orUnknown(q, beside device.Quantity) string {
	if q.IsNone() && !beside.IsNone() {
		return "unknown: the worse effect holds"
	}
	return q.String()
}
