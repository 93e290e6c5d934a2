// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/report"
)

func ledgerShowVerb(c *console) *cobra.Command {
	var flags ledgerFlags
	var format formatFlag
	var last int64
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "show DIR --key FILE [ENTRY...]",
		Short:                 "Tell what entries of a ledger say",
		Long: `Show prints entries, each held against the signed checkpoint before it is
shown: the ones with these numbers, counted from 0, or the last ones.`,
		Example: `  myelin ledger show /var/lib/myelin/ledger --key ledger.key.pub
  myelin ledger show ledger --key ledger.key.pub 17 18`,
		Args: atLeast(1, "show what? name a ledger's folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			if last < 1 {
				return usageError{fmt.Errorf("--last %d: want 1 or more", last)}
			}
			numbers, err := entryNumbers(args[1:])
			if err != nil {
				return err
			}
			r, err := openLedger(&flags, args[0])
			if err != nil {
				return err
			}
			say := func(i int64, entry []byte) error { return showEntry(c, &format, i, entry) }
			if len(numbers) == 0 {
				from := max(0, r.Checkpoint.Size-last)
				if format.name == "text" {
					what := fmt.Sprintf("%s has %s; these are the last %d.", r.Checkpoint.Origin, entriesOf(r.Checkpoint.Size), r.Checkpoint.Size-from)
					if from == 0 {
						what = fmt.Sprintf("%s has %s.", r.Checkpoint.Origin, entriesOf(r.Checkpoint.Size))
					}
					if err := plainLines(c, []string{what}); err != nil {
						return err
					}
				}
				if err := r.Entries(from, r.Checkpoint.Size, say); err != nil {
					return more(args[0], err)
				}
				if format.name == "text" {
					c.hint("entries of the last second may be in no signed checkpoint yet; 'myelin ledger verify' counts them")
				}
				return nil
			}
			for _, n := range numbers {
				if err := r.Entries(n, n+1, say); err != nil {
					return more(args[0], noEntry(err, n, r))
				}
			}
			return nil
		},
	}
	flags.register(v)
	flags.registerWitnesses(v)
	v.Flags().Int64Var(&last, "last", 20, "show the last `N`, where no numbers are given")
	format.register(v, "text", "json")
	return v
}

func openLedger(flags *ledgerFlags, dir string) (*ledger.Reader, error) {
	k, witnesses, err := flags.read()
	if err != nil {
		return nil, err
	}
	r, err := ledger.Read(dir, k, witnesses...)
	return r, more(dir, err)
}

// more says of damage that was met where to read on.
func more(dir string, err error) error {
	var d *ledger.DamageError
	if errors.As(err, &d) {
		return fmt.Errorf("%w; 'myelin ledger verify %s' says what else is not as it was signed", err, dir)
	}
	return err
}

func entryNumbers(args []string) (numbers []int64, err error) {
	for _, arg := range args {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 0 {
			return nil, usageError{fmt.Errorf("%s: want the number of an entry, counted from 0", arg)}
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func noEntry(err error, n int64, r *ledger.Reader) error {
	if errors.Is(err, ledger.ErrNoEntry) {
		err = fmt.Errorf("no entry %d: the checkpoint shows %s, counted from 0", n, entriesOf(r.Checkpoint.Size))
	}
	return err
}

func showEntry(c *console, format *formatFlag, i int64, entry []byte) error {
	if format.name == "json" {
		return exportEntry(c.out, i, entry)
	}
	_, err := fmt.Fprintln(c.out, report.Plain(fmt.Sprintf("%6d  %s", i, entryText(entry))))
	return err
}

// entryText says an entry in a line.
func entryText(entry []byte) string {
	e, err := event.Parse(entry)
	switch {
	case err == nil:
		return eventText(&e)
	case isObject(entry):
		return string(entry)
	}
	return fmt.Sprintf("%d bytes: %.200q", len(entry), entry)
}

// eventText says an event as its kind does, with what is known of it behind.
func eventText(e *event.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s", time.Unix(0, e.Time).UTC().Format("2006-01-02 15:04:05Z"), e.Device, e.Kind)
	if e.Peer != (device.Address{}) {
		fmt.Fprintf(&b, "  peer=%s", e.Peer)
	}
	keys := event.Kinds[e.Kind].Keys
	rank := func(a event.Attr) int { // in the order of the table, and what is not in it behind
		if i := slices.Index(keys, a.Key); i >= 0 {
			return i
		}
		return len(keys)
	}
	attrs := slices.Clone(e.Attrs())
	slices.SortStableFunc(attrs, func(a, b event.Attr) int { return rank(a) - rank(b) })
	for _, a := range attrs {
		info := event.Keys[a.Key]
		value := strconv.FormatInt(a.Int, 10)
		switch {
		case info.Text:
			if value = a.Text; value == "" || strings.ContainsAny(value, " \"=") {
				value = strconv.Quote(value)
			}
		case a.Key == event.Digest: // of a SHA-256, as sha256sum says it
			value = fmt.Sprintf("%016x", uint64(a.Int))
		case info.Word != nil && info.Word(a.Int) != "":
			value = info.Word(a.Int)
		}
		fmt.Fprintf(&b, "  %s=%s", info.Name, value)
	}
	return b.String()
}

func ledgerExportVerb(c *console) *cobra.Command {
	var flags ledgerFlags
	var format formatFlag
	var out string
	var from, to int64
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "export DIR --key FILE [--out FILE]",
		Short:                 "Write the entries of a ledger as JSON lines",
		Long: `Export writes a line of JSON for each entry, held against the signed checkpoint:
{"index": 17, "entry": {...}}, with the entry's own bytes where it is JSON, and
{"index": 17, "base64": "..."} where not.`,
		Example: `  myelin ledger export ledger --key ledger.key.pub --out all.jsonl
  myelin ledger export ledger --key ledger.key.pub --from 500 --to 600`,
		Args: exactly(1, "export wants one folder: a ledger's"),
		RunE: func(v *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			r, err := openLedger(&flags, args[0])
			if err != nil {
				return err
			}
			if !v.Flags().Changed("to") {
				to = r.Checkpoint.Size
			}
			if from < 0 || to < from || to > r.Checkpoint.Size {
				return fmt.Errorf("no entries from %d to %d: the checkpoint shows %s, counted from 0", from, to, entriesOf(r.Checkpoint.Size))
			}
			if err := c.to(out, func(w io.Writer) error {
				b := bufio.NewWriterSize(w, 64<<10)
				if err := r.Entries(from, to, func(i int64, entry []byte) error { return exportEntry(b, i, entry) }); err != nil {
					return more(args[0], err)
				}
				return b.Flush()
			}); err != nil {
				return err
			}
			if out != "" {
				c.hint("wrote %s of %s to %s", entriesOf(to-from), r.Checkpoint.Origin, out)
			}
			return nil
		},
	}
	flags.register(v)
	flags.registerWitnesses(v)
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE`, which is whole or not there")
	v.Flags().Int64Var(&from, "from", 0, "the first entry, `N`")
	v.Flags().Int64Var(&to, "to", 0, "the entry before which it ends, `N`; all where it is not given")
	format.register(v, "json")
	return v
}

// exportEntry writes an entry in a line of JSON. What is JSON is not written anew: its
// bytes are what was signed.
func exportEntry(w io.Writer, i int64, entry []byte) error {
	object, text := entryJSON(entry)
	if object != nil {
		_, err := fmt.Fprintf(w, "{\"index\":%d,\"entry\":%s}\n", i, object)
		return err
	}
	_, err := fmt.Fprintf(w, "{\"index\":%d,\"base64\":%q}\n", i, text)
	return err
}

// isObject says whether an entry can stand in a line of JSON as it is.
func isObject(entry []byte) bool {
	return len(entry) > 0 && entry[0] == '{' && !bytes.ContainsAny(entry, "\n\r") && utf8.Valid(entry) && json.Valid(entry)
}

func ledgerProveVerb(c *console) *cobra.Command {
	var flags ledgerFlags
	var out, since string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "prove DIR --key FILE (ENTRY | --since FILE) [--out FILE]",
		Short:                 "Write a proof that somebody else can check without the ledger",
		Long: `Prove writes a proof that an entry is in the ledger (c2sp.org/tlog-proof, with
the entry), or with --since that the ledger has all that an older checkpoint
shows. Whoever has the ledger's public key checks it offline with
'myelin ledger verify --proof'.`,
		Example: `  myelin ledger prove ledger --key ledger.key.pub 17 --out order.tlog-proof
  myelin ledger prove ledger --key ledger.key.pub --since march.checkpoint`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 && (len(args) != 1 || since == "") || len(args) == 2 && since != "" || slices.Contains(args, "") {
				return errors.New("prove wants a ledger's folder and the number of an entry, or --since FILE")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			numbers, err := entryNumbers(args[1:])
			if err != nil {
				return err
			}
			r, err := openLedger(&flags, args[0])
			if err != nil {
				return err
			}
			var text []byte
			if since != "" {
				k, _, err := flags.read()
				if err != nil {
					return err
				}
				old, err := readCheckpoint(since, k)
				if err != nil {
					return err
				}
				g, err := r.ProveGrowth(old.Size)
				if err == nil {
					_, err = g.Verify(old, k)
				}
				if err != nil {
					return fmt.Errorf("nothing to prove: the ledger with %s did not grow from %s, which shows %d", entriesOf(r.Checkpoint.Size), since, old.Size)
				}
				text, _ = g.AppendText(nil)
			} else {
				p, err := r.Prove(numbers[0])
				if err != nil {
					return more(args[0], noEntry(err, numbers[0], r))
				}
				text, _ = p.AppendText(nil)
			}
			if err := c.to(out, func(w io.Writer) error {
				_, err := w.Write(text)
				return err
			}); err != nil {
				return err
			}
			if out != "" {
				c.hint("wrote %s; 'myelin ledger verify --proof %s' checks it", out, out)
			}
			return nil
		},
	}
	flags.register(v)
	flags.registerWitnesses(v)
	v.Flags().StringVarP(&out, "out", "o", "", "write to `FILE`, which is whole or not there")
	v.Flags().StringVar(&since, "since", "", "prove that the ledger grew from the checkpoint in `FILE`")
	return v
}
