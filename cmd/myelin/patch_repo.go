// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/patch/repo"
	"github.com/myelin-health/myelin/report"
)

// A passphraseFlag says how private keys are opened and closed.
type passphraseFlag struct {
	file        string
	unprotected bool
	c           *console

	asked  bool
	secret []byte
}

func (f *passphraseFlag) register(v *cobra.Command, c *console) {
	f.c = c
	v.Flags().StringVar(&f.file, "passphrase", "", "`FILE` whose first line is the passphrase of the keys; else it is asked for")
}

// leastPassphrase is how many bytes a passphrase has at least, as with people's passwords.
const leastPassphrase = 15

// get returns the passphrase, which is asked for once. A new one is asked for twice
// by whoever can see what he types.
func (f *passphraseFlag) get(fresh bool) ([]byte, error) {
	if f.asked {
		return f.secret, nil
	}
	var p string
	if f.file != "" {
		if err := onlyOwners(f.file); err != nil {
			return nil, err
		}
		b, err := readFile(f.file, 1024)
		if err != nil {
			return nil, err
		}
		p, _, _ = strings.Cut(string(b), "\n")
		p = strings.TrimSuffix(p, "\r")
	} else {
		var err error
		if p, err = f.c.onePassword("passphrase of the keys: "); err != nil {
			return nil, err
		}
		if in, ok := f.c.in.(*os.File); ok && fresh && terminal(in) {
			again, err := f.c.onePassword("again: ")
			if err != nil {
				return nil, err
			}
			if p != again {
				return nil, errors.New("these are two passphrases")
			}
		}
	}
	if fresh && len(p) < leastPassphrase {
		return nil, fmt.Errorf("the passphrase: want %d characters or more", leastPassphrase)
	}
	f.asked, f.secret = true, []byte(p)
	return f.secret, nil
}

// readRepoKey reads a key of a repository. A private one only its owner may read.
func (f *passphraseFlag) readRepoKey(file string) (*repo.Key, error) {
	b, err := readFile(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(b), "PRIVATE KEY") {
		if err := onlyOwners(file); err != nil {
			return nil, err
		}
	}
	k, err := repo.ParseKey(b, func() ([]byte, error) { return f.get(false) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// publicRepoKey reads the public half of a key.
func publicRepoKey(file string) (*repo.Key, error) {
	b, err := readFile(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(b), "PRIVATE KEY") {
		return nil, fmt.Errorf("%s: a private key, which belongs to one person; want the file that ends with .pub", file)
	}
	k, err := repo.ParseKey(b, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// newRepoKey makes a key, and writes its halves to FILE and FILE.pub.
func newRepoKey(file string, passphrase []byte) (*repo.Key, error) {
	k, err := repo.GenerateKey()
	if err != nil {
		return nil, err
	}
	private, err := k.AppendPrivate(nil, passphrase)
	if err != nil {
		return nil, err
	}
	public, err := k.AppendPublic(nil)
	if err != nil {
		return nil, err
	}
	if err := create(file, 0o600, private); err != nil {
		return nil, err
	}
	return k, create(file+".pub", 0o644, public)
}

func patchInitVerb(c *console) *cobra.Command {
	var whose string
	var root, targets []string
	var rootThreshold, targetsThreshold int
	var pass passphraseFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "init DIR [--for NAME] [flags]",
		Short:                 "Begin the repository of a manufacturer, or of a hospital",
		Long: `Init makes a repository in DIR: public/ for a web server, staged/ for what waits
for signatures, keys/ for keys. Two of three people sign for the root, which
says who signs for everything else, so that one key may be lost or stolen; two
of three sign for a manufacturer's releases, one for a hospital's assignments.
Those keys are encrypted, and belong offline, each in other hands; the two
others, of snapshot and timestamp, sign by program. People who made their keys
themselves ('myelin patch key new') give the .pub files to --root and --targets;
else init makes the keys.`,
		Example: `  myelin patch init norra
  myelin patch init ada --for hospital
  myelin patch init norra --root a.pub --root b.pub --root c.pub \
    --targets d.pub --targets e.pub`,
		Args: exactly(1, "init wants one folder, which it makes"),
		RunE: func(_ *cobra.Command, args []string) error {
			if whose != "maker" && whose != "hospital" {
				return usageError{fmt.Errorf("--for %s: want maker or hospital", whose)}
			}
			dir := args[0]
			keys := filepath.Join(dir, "keys")
			if _, err := os.Stat(filepath.Join(dir, "staged")); err == nil {
				return fmt.Errorf("%s: a repository is there already", dir)
			}
			if err := os.MkdirAll(keys, 0o700); err != nil {
				return err
			}
			var own []*repo.Key // that init made, and signs with
			role := func(name string, files []string, made, threshold int, offline bool) (s repo.Signers, err error) {
				s.Threshold = threshold
				for _, f := range files {
					k, err := publicRepoKey(f)
					if err != nil {
						return s, err
					}
					s.Keys = append(s.Keys, k)
				}
				if len(files) > 0 {
					return s, nil
				}
				var secret []byte
				if offline && !pass.unprotected {
					if secret, err = pass.get(true); err != nil {
						return s, err
					}
				}
				for i := range made {
					file := name + ".key"
					if made > 1 {
						file = name + "-" + strconv.Itoa(i+1) + ".key"
					}
					k, err := newRepoKey(filepath.Join(keys, file), secret)
					if err != nil {
						return s, err
					}
					s.Keys = append(s.Keys, k)
					own = append(own, k)
				}
				return s, nil
			}
			nTargets, tTargets := 3, 2
			if whose == "hospital" {
				nTargets, tTargets = 1, 1
			}
			if targetsThreshold > 0 {
				tTargets = targetsThreshold
				nTargets = max(nTargets, tTargets)
			} else if n := len(targets); n > 0 {
				tTargets = min(tTargets, n)
			}
			signers := map[string]repo.Signers{}
			for _, r := range []struct {
				name            string
				files           []string
				made, threshold int
				offline         bool
			}{
				{repo.Root, root, max(3, rootThreshold), rootThreshold, true},
				{repo.Targets, targets, nTargets, tTargets, true},
				{repo.Snapshot, nil, 1, 1, false},
				{repo.Timestamp, nil, 1, 1, false},
			} {
				s, err := role(r.name, r.files, r.made, r.threshold, r.offline)
				if err != nil {
					return err
				}
				signers[r.name] = s
			}
			r, err := repo.Create(dir, signers)
			if err != nil {
				return err
			}
			defer r.Close()
			for _, k := range own {
				if _, err := r.Sign(k); err != nil {
					return err
				}
			}
			pending, err := r.Pending()
			if err != nil {
				return err
			}
			complete := true
			for i := range pending {
				complete = complete && pending[i].Complete()
			}
			if complete {
				if err := r.Publish(own...); err != nil {
					return err
				}
			}
			return sayInit(c.out, dir, whose, complete, len(root) == 0, pass.unprotected)
		},
	}
	v.Flags().StringVar(&whose, "for", "maker", "`NAME`: maker or hospital")
	complete(v, "for", "maker", "hospital")
	v.Flags().StringArrayVar(&root, "root", nil, "`FILE` with a public key for the root; repeatable")
	v.Flags().StringArrayVar(&targets, "targets", nil, "`FILE` with a public key for the targets; repeatable")
	v.Flags().IntVar(&rootThreshold, "root-threshold", 2, "`N` keys that must sign the root")
	v.Flags().IntVar(&targetsThreshold, "targets-threshold", 0, "`N` keys that must sign targets (2, a hospital's 1)")
	v.Flags().BoolVar(&pass.unprotected, "unprotected", false, "write the offline keys without encryption")
	pass.register(v, c)
	return v
}

func sayInit(w io.Writer, dir, whose string, complete, made, unprotected bool) error {
	var b strings.Builder
	p := report.Plain(dir)
	if complete {
		fmt.Fprintf(&b, "The repository is in %s, and its first root is signed and public.\n\nWhat to do next:\n", p)
	} else {
		fmt.Fprintf(&b, "The repository is in %s. Its first root waits for signatures.\n\nWhat to do next:\n", p)
	}
	n := 0
	step := func(format string, args ...any) {
		n++
		fmt.Fprintf(&b, "  %d. %s\n", n, fmt.Sprintf(format, args...))
	}
	if made {
		step("Give each of %s/keys/root-*.key to another person, on a medium that is\n     kept offline, and take it away from here. The same with targets keys that you\n     do not use every day. snapshot.key and timestamp.key stay.", p)
		if unprotected {
			step("Encrypt the media: these keys are not.")
		}
	}
	if !complete {
		step("Let the people sign: 'myelin patch key sign %s --key FILE'; then\n     'myelin patch publish %s'.", p, p)
	}
	step("Give %s/public/metadata/1.root.json to whoever is to trust it, by a way that\n     nobody can alter, such as in the device when it is made.", p)
	if whose == "maker" {
		step("'myelin patch release add %s --description release.yaml' adds a release.", p)
	} else {
		step("'myelin patch assign %s --site SITE --ring NAME FOLDER' assigns one.", p)
	}
	step("'myelin patch publish %s' once a week at least: clients take an older\n     timestamp for a mirror that stands still.", p)
	_, err := io.WriteString(w, b.String())
	return err
}
