// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/report"
)

func ledgerVerifyVerb(c *console) *cobra.Command {
	var flags ledgerFlags
	var format formatFlag
	var since, proof string
	var quick bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "verify DIR --key FILE | verify --proof FILE --key FILE",
		Short:                 "Tell whether a ledger, or a proof from it, is as it was signed",
		Long: `Verify reads all of a ledger and holds every entry against the signed
checkpoint; it needs no lock and changes nothing. With --since it also holds it
against a checkpoint that somebody kept: the file 'checkpoint' of then, or what
a witness signed. With --proof it needs the proof's file alone. It exits with 1
if anything is not as it was signed, and says what and where.`,
		Example: `  myelin ledger verify /var/lib/myelin/ledger --key ledger.key.pub
  myelin ledger verify ledger --key ledger.key.pub --since march.checkpoint
  myelin ledger verify --proof order.tlog-proof --key ledger.key.pub`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || proof == "" != (len(args) == 1) || slices.Contains(args, "") {
				return errors.New("verify wants one folder, a ledger's, or --proof FILE")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			k, witnesses, err := flags.read()
			if err != nil {
				return err
			}
			if quick && since == "" {
				return usageError{errors.New("--quick: want --since, the checkpoint that was verified then")}
			}
			var old ledger.Checkpoint
			if since != "" {
				if old, err = readCheckpoint(since, k); err != nil {
					return err
				}
			}
			if proof != "" {
				return verifyProof(c, &format, proof, old, k, witnesses)
			}
			r, err := ledger.Verify(args[0], ledger.VerifyConfig{Ledger: k, Witnesses: witnesses, Since: old, Quick: quick})
			if err != nil {
				return err
			}
			return sayVerified(c, &format, r, old)
		},
	}
	flags.register(v)
	flags.registerWitnesses(v)
	v.Flags().StringVar(&since, "since", "", "`FILE` with an older checkpoint, which the ledger must have grown from")
	v.Flags().BoolVar(&quick, "quick", false, "read only what came after --since")
	v.Flags().StringVar(&proof, "proof", "", "`FILE` that 'prove' wrote; no ledger is needed")
	format.register(v, "text", "json")
	return v
}

// A verifiedJSON is the answer of verify for programs.
type verifiedJSON struct {
	OK        bool                 `json:"ok"`
	Origin    string               `json:"origin,omitempty"`
	Size      int64                `json:"size"`
	Root      string               `json:"root,omitempty"`
	Read      int64                `json:"read"`
	Unsigned  int64                `json:"unsigned"`
	CutOff    int                  `json:"cut_off"`
	Since     *int64               `json:"since,omitempty"`
	Witnessed map[string]time.Time `json:"witnessed,omitempty"`
	Problems  []problemJSON        `json:"problems"`
	More      int                  `json:"more"`
}

type problemJSON struct {
	File    string `json:"file"`
	Entry   *int64 `json:"entry,omitempty"`
	Offset  *int64 `json:"offset,omitempty"`
	Problem string `json:"problem"`
}

func sayVerified(c *console, format *formatFlag, r *ledger.Report, old ledger.Checkpoint) error {
	cp := r.Checkpoint
	if format.name == "json" {
		j := verifiedJSON{OK: r.OK(), Origin: cp.Origin, Size: cp.Size, Read: r.Entries, Unsigned: r.Unsigned, CutOff: r.Torn, Witnessed: cp.Witnessed, Problems: []problemJSON{}, More: r.More}
		if cp.Origin != "" {
			j.Root = cp.Hash.String()
		}
		if old.Origin != "" {
			j.Since = &old.Size
		}
		for _, d := range r.Problems {
			p := problemJSON{File: d.File, Problem: d.Problem}
			if d.Entry >= 0 {
				p.Entry = &d.Entry
			}
			if d.Offset >= 0 {
				p.Offset = &d.Offset
			}
			j.Problems = append(j.Problems, p)
		}
		if err := writeLine(c, j); err != nil {
			return err
		}
	} else if err := verifiedText(c, r, old); err != nil {
		return err
	}
	if !r.OK() {
		return exit(exitError)
	}
	return nil
}

func verifiedText(c *console, r *ledger.Report, old ledger.Checkpoint) error {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	cp := r.Checkpoint
	if r.OK() {
		say("The ledger is as it was signed: %s, by %s.", entriesOf(cp.Size), cp.Origin)
		if r.Entries < cp.Size {
			say("%d of them were read; those before were verified when the older checkpoint was.", r.Entries)
		}
	} else {
		n := len(r.Problems) + r.More
		places := "1 place"
		if n != 1 {
			places = fmt.Sprintf("%d places", n)
		}
		say("The ledger is not as it was signed, in %s.", places)
		for _, d := range r.Problems {
			say("  %v", &d)
		}
		if r.More > 0 {
			say("  and %d more", r.More)
		}
	}
	if old.Origin != "" && r.OK() {
		say("All that the older checkpoint shows (%s) is in it, in the same place.", entriesOf(old.Size))
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range cp.Witnessed {
			if !yield(name) {
				return
			}
		}
	}) {
		say("Witnessed by %s at %s.", name, cp.Witnessed[name].Format(time.RFC3339))
	}
	if r.Unsigned > 0 {
		say("%s behind it, durable and in no checkpoint yet: the next one shows them.", entriesOf(r.Unsigned))
	}
	if r.Torn > 0 {
		say("At its end %d bytes are of a write that was cut off, which nobody was told had been done.", r.Torn)
	}
	if !r.OK() {
		say("What to do: copy the folder as it is before anything else, and compare these places with a backup, or with what a witness keeps. docs/ledger.md tells what each means.")
	}
	return plainLines(c, lines)
}

func plainLines(c *console, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(c.out, report.Plain(l)); err != nil {
			return err
		}
	}
	return nil
}

// A provenJSON is the answer of verify --proof for programs.
type provenJSON struct {
	OK        bool                 `json:"ok"`
	Origin    string               `json:"origin,omitempty"`
	Size      int64                `json:"size"`
	Index     *int64               `json:"index,omitempty"`
	Since     *int64               `json:"since,omitempty"`
	Witnessed map[string]time.Time `json:"witnessed,omitempty"`
	Entry     json.RawMessage      `json:"entry,omitempty"`
	Base64    string               `json:"base64,omitempty"`
	Problem   string               `json:"problem,omitempty"`
}

func verifyProof(c *console, format *formatFlag, file string, old ledger.Checkpoint, k note.Verifier, witnesses []note.Verifier) error {
	b, err := readFile(file, ledger.MaxProof)
	if err != nil {
		return err
	}
	p, g, err := ledger.ParseProof(b)
	if err != nil {
		return fmt.Errorf("%s: no proof, as 'myelin ledger prove' writes one", file)
	}
	var cp ledger.Checkpoint
	j := provenJSON{}
	var lines []string
	if p != nil {
		cp, err = p.Verify(k, witnesses...)
		j.Index = &p.Index
		j.Entry, j.Base64 = entryJSON(p.Entry)
		lines = []string{
			fmt.Sprintf("The proof holds: this is entry %d of %d in the ledger of %s.", p.Index, cp.Size, cp.Origin),
			"  " + entryText(p.Entry),
		}
	} else {
		if old.Origin == "" {
			return usageError{fmt.Errorf("%s proves that a ledger grew: --since wants the checkpoint with %d entries that you kept", file, g.Old)}
		}
		cp, err = g.Verify(old, k, witnesses...)
		j.Since = &g.Old
		lines = []string{fmt.Sprintf("The proof holds: the ledger of %s has %d entries, and all %d of your checkpoint are in it, in the same place.", cp.Origin, cp.Size, old.Size)}
	}
	if j.OK, j.Origin, j.Size, j.Witnessed = err == nil, cp.Origin, cp.Size, cp.Witnessed; err != nil {
		j.Problem = strings.TrimPrefix(err.Error(), "ledger: ")
		j.Entry, j.Base64 = nil, ""
		lines = []string{
			"The proof does not hold: " + j.Problem + ".",
			"What to do: ask for it again, and check that the key is the one that the ledger's keeper gave you.",
		}
	}
	for _, w := range witnesses {
		if at, ok := cp.Witnessed[w.Name()]; ok {
			lines = append(lines, fmt.Sprintf("Witnessed by %s at %s.", w.Name(), at.Format(time.RFC3339)))
		}
	}
	if format.name == "json" {
		err = writeLine(c, j)
	} else {
		err = plainLines(c, lines)
	}
	if err == nil && !j.OK {
		return exit(exitError)
	}
	return err
}

// entryJSON returns an entry as it stands when it is JSON, and in base64 when not.
func entryJSON(entry []byte) (json.RawMessage, string) {
	if isObject(entry) {
		return entry, ""
	}
	return nil, base64.StdEncoding.EncodeToString(entry)
}
