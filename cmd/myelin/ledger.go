// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/report"
)

func ledgerVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "ledger VERB",
		Short: "Check, prove and read what the guard decided and did",
		Long: `Ledger reads the record that a guard keeps: an append-only Merkle log in a
folder, whose signed checkpoints say which entries there are. Nothing here
changes it, and none of it needs the guard to stop. docs/ledger.md tells what
it proves and what not.`,
		Example: `  myelin ledger verify /var/lib/myelin/ledger --key ledger.key.pub
  myelin ledger show /var/lib/myelin/ledger --key ledger.key.pub`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(ledgerVerifyVerb(c), ledgerShowVerb(c), ledgerExportVerb(c), ledgerProveVerb(c), ledgerWitnessVerb(c), ledgerKeyVerb(c))
	return v
}

// A ledgerFlags says whose signatures are believed.
type ledgerFlags struct {
	key       string
	witnesses []string
}

func (f *ledgerFlags) register(v *cobra.Command) {
	v.Flags().StringVar(&f.key, "key", "", "`FILE` with the ledger's public key, which ends with .pub")
}

func (f *ledgerFlags) registerWitnesses(v *cobra.Command) {
	v.Flags().StringArrayVar(&f.witnesses, "witness", nil, "`FILE` with the public key of a witness that must have signed; repeatable")
}

func (f *ledgerFlags) read() (k note.Verifier, witnesses []note.Verifier, err error) {
	if f.key == "" {
		return nil, nil, usageError{errors.New("--key: want the file with the ledger's public key: without it nobody knows whose this is")}
	}
	if k, err = ledgerPublicKey(f.key); err != nil {
		return nil, nil, err
	}
	for _, file := range f.witnesses {
		w, err := ledgerPublicKey(file)
		if err != nil {
			return nil, nil, err
		}
		witnesses = append(witnesses, w)
	}
	return k, witnesses, nil
}

func ledgerPublicKey(file string) (note.Verifier, error) {
	b, err := readFile(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	v, err := ledger.ParseVerifier(string(b))
	switch {
	case err != nil && strings.HasPrefix(string(b), "PRIVATE+KEY+"):
		return nil, fmt.Errorf("%s: a private key, which stays where it is used; want the file that ends with .pub", file)
	case err != nil:
		return nil, fmt.Errorf("%s: no public key of a ledger, as 'myelin ledger key' makes one", file)
	}
	return v, nil
}

// ledgerSigner reads a private key, and refuses one that others may read.
func ledgerSigner(file string, now func() time.Time) (note.Signer, note.Verifier, error) {
	if err := onlyOwners(file); err != nil {
		return nil, nil, err
	}
	b, err := readFile(file, maxKeyFile)
	if err != nil {
		return nil, nil, err
	}
	s, v, err := ledger.ParseSigner(string(b), now)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: no private key of a ledger or witness, as 'myelin ledger key' makes one", file)
	}
	return s, v, nil
}

// readCheckpoint reads a checkpoint that somebody kept.
func readCheckpoint(file string, k note.Verifier, witnesses ...note.Verifier) (ledger.Checkpoint, error) {
	b, err := readFile(file, maxLedgerFile)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	cp, err := ledger.ParseCheckpoint(b, k, witnesses...)
	if err != nil {
		return cp, fmt.Errorf("%s: %w", file, err)
	}
	return cp, nil
}

// maxLedgerFile is how many bytes a checkpoint may have.
const maxLedgerFile = 64 << 10

func ledgerKeyVerb(c *console) *cobra.Command {
	var out, name string
	var witness bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "key --name NAME --out FILE [--witness]",
		Short:                 "Make the key pair of a ledger, or of a witness",
		Long: `Key makes a key pair: the private key in FILE, which only its owner may read,
and the public key, to be given to whoever checks, in FILE.pub. NAME says whose
it is, such as ada.example/ledger, and is shown with each signature. It
overwrites nothing.`,
		Example: `  myelin ledger key --name ada.example/ledger --out ledger.key
  myelin ledger key --name ada.example/ines --out ines.key --witness`,
		Args: exactly(0, "key takes no arguments; --out says where to"),
		RunE: func(*cobra.Command, []string) error {
			if out == "" || name == "" {
				return usageError{errors.New("key wants --name, whose it is, and --out, the file for the private key")}
			}
			private, public, err := ledger.GenerateKey(nil, name, witness)
			if err != nil {
				return usageError{fmt.Errorf("--name %s: want a name without spaces and plus signs", name)}
			}
			if err := create(out, 0o600, []byte(private+"\n")); err != nil {
				return err
			}
			if err := create(out+".pub", 0o644, []byte(public+"\n")); err != nil {
				return err
			}
			c.hint("wrote %s, which nobody else may have, and %s.pub for whoever checks", out, out)
			return nil
		},
	}
	v.Flags().StringVar(&out, "out", "", "`FILE` for the private key; its public key goes to FILE.pub")
	v.Flags().StringVar(&name, "name", "", "`NAME` of the ledger or witness")
	v.Flags().BoolVar(&witness, "witness", false, "for a witness, who countersigns what others sign")
	return v
}

func ledgerWitnessVerb(c *console) *cobra.Command {
	var flags ledgerFlags
	var format formatFlag
	var sign, state string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "witness DIR --key FILE --sign FILE --state FILE",
		Short:                 "Countersign a ledger that grew from what was seen of it",
		Long: `Witness remembers the last checkpoint that it saw of a ledger. If all that it
showed is in the ledger still, in the same place, it countersigns the newest
one, with the time, and keeps it in the state file: whoever has that file can
show what the ledger said, and 'verify --since' holds the ledger to it. Where
entries were taken away or changed it signs nothing and exits with 1.`,
		Example: `  myelin ledger witness /mnt/ledger --key ledger.key.pub --sign ines.key \
    --state ada.checkpoint`,
		Args: exactly(1, "witness wants one folder: a ledger's"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			k, _, err := flags.read()
			if err != nil {
				return err
			}
			if sign == "" || state == "" {
				return usageError{errors.New("witness wants --sign, its own private key, and --state, where it remembers what it saw")}
			}
			s, own, err := ledgerSigner(sign, nil)
			if err != nil {
				return err
			}
			signed, seen, err := ledger.Witness(args[0], ledger.WitnessConfig{Ledger: k, Signer: s, Verifier: own, State: state})
			var conflict *ledger.ConflictError
			if err != nil && !errors.As(err, &conflict) {
				return err
			}
			return sayWitness(c, &format, args[0], own.Name(), signed, seen, conflict)
		},
	}
	flags.register(v)
	v.Flags().StringVar(&sign, "sign", "", "`FILE` with the witness's private key")
	v.Flags().StringVar(&state, "state", "", "`FILE` of what it saw last, signed; made the first time")
	format.register(v, "text", "json")
	return v
}

func sayWitness(c *console, format *formatFlag, dir, name string, signed, seen ledger.Checkpoint, conflict *ledger.ConflictError) error {
	if format.name == "json" {
		j := struct {
			OK      bool       `json:"ok"`
			Origin  string     `json:"origin"`
			Size    int64      `json:"size"`
			Before  *int64     `json:"before,omitempty"`
			Witness string     `json:"witness"`
			Time    *time.Time `json:"time,omitempty"`
			Problem string     `json:"problem,omitempty"`
		}{OK: conflict == nil, Origin: signed.Origin, Size: signed.Size, Witness: name}
		if seen.Origin != "" {
			j.Before = &seen.Size
		}
		if conflict != nil {
			j.Origin, j.Size, j.Problem = conflict.Shown.Origin, conflict.Shown.Size, conflict.Problem
		} else if at, ok := signed.Witnessed[name]; ok {
			j.Time = &at
		}
		if err := writeLine(c, j); err != nil {
			return err
		}
	} else {
		var text string
		switch {
		case conflict != nil:
			text = fmt.Sprintf("Nothing was signed: the ledger %s %s.\nWhat to do: keep the folder and the state file as they are, and find out who wrote to it since. What was seen is in the state file, signed by both.",
				conflict.Shown.Origin, conflict.Problem)
		case seen.Origin == "":
			text = fmt.Sprintf("Signed for the first time: %s with %s, as it is shown now. What was before nobody has witnessed; 'myelin ledger verify' reads it all.", signed.Origin, entriesOf(signed.Size))
		case signed.Size == seen.Size:
			text = fmt.Sprintf("Signed: %s has the same %s as before.", signed.Origin, entriesOf(signed.Size))
		default:
			text = fmt.Sprintf("Signed: %s grew from %d to %s, and all of before is in its place.", signed.Origin, seen.Size, entriesOf(signed.Size))
		}
		for line := range strings.Lines(text) {
			if _, err := fmt.Fprintln(c.out, report.Plain(strings.TrimSuffix(line, "\n"))); err != nil {
				return err
			}
		}
	}
	if conflict != nil {
		return exit(exitError)
	}
	return nil
}

func entriesOf(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func writeLine(c *console, v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
