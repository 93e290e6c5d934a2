// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/patch/repo"
	"github.com/myelin-health/myelin/report"
)

func patchKeyVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "key VERB",
		Short: "Make and rotate a repository's keys, and sign with them",
		Long: `Key is about who signs for what. A change is staged, as a new version of the
metadata of a role, and waits for the signatures of as many of its keys as that
role wants; they come one after the other, from people who need not meet.
'myelin patch publish' makes public what is complete.`,
		Example: `  myelin patch key list norra
  myelin patch key sign norra --key /media/safe/root-1.key`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(keyNewVerb(c), keyListVerb(c), keySignVerb(c), keyRotateVerb(c), keyRenewVerb(c), keyDelegateVerb(c), keyRevokeVerb(c))
	return v
}

// withRepository opens a repository for the time that f takes.
func withRepository(dir string, f func(r *repo.Repository) error) error {
	r, err := repo.OpenRepository(dir)
	if err != nil {
		return err
	}
	return errors.Join(f(r), r.Close())
}

func keyNewVerb(c *console) *cobra.Command {
	var out string
	var pass passphraseFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "new --out FILE",
		Short:                 "Make a key pair (Ed25519), encrypted with a passphrase",
		Long: `New makes a key pair: the private key in FILE, encrypted, which only its owner
may read, and the public key, to be given to whoever keeps the repository, in
FILE.pub. It overwrites nothing.`,
		Example: `  myelin patch key new --out /media/safe/lea.key`,
		Args:    exactly(0, "new takes no arguments; --out says where to"),
		RunE: func(*cobra.Command, []string) (err error) {
			if out == "" {
				return usageError{errors.New("new wants --out: the file for the private key")}
			}
			var secret []byte
			if !pass.unprotected {
				if secret, err = pass.get(true); err != nil {
					return err
				}
			}
			k, err := newRepoKey(out, secret)
			if err != nil {
				return err
			}
			c.hint("wrote %s, which nobody else may have, and %s.pub; its id is %s", out, out, k.ID)
			return nil
		},
	}
	v.Flags().StringVar(&out, "out", "", "`FILE` for the private key; its public key goes to FILE.pub")
	v.Flags().BoolVar(&pass.unprotected, "unprotected", false, "write the private key without encryption, for a program that signs")
	pass.register(v, c)
	return v
}

func keyListVerb(c *console) *cobra.Command {
	var format formatFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "list DIR",
		Short:                 "Show the roles, who signs for each, and what waits for signatures",
		Long: `List shows each role of a repository: the version that is public, until when it
is believed, how many of which keys sign for it; and what is staged, with the
signatures that it has and wants.`,
		Example: `  myelin patch key list norra`,
		Args:    exactly(1, "list wants one folder: a repository's"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := format.check(); err != nil {
				return err
			}
			return withRepository(args[0], func(r *repo.Repository) error {
				status, err := r.Status()
				if err != nil {
					return err
				}
				pending, err := r.Pending()
				if err != nil {
					return err
				}
				if format.name == "json" {
					return sayRolesJSON(c, status, pending)
				}
				return sayRoles(c, status, pending)
			})
		},
	}
	format.register(v, "text", "json")
	return v
}

func sayRolesJSON(c *console, status []repo.RoleStatus, pending []repo.Pending) error {
	type role struct {
		Role      string     `json:"role"`
		Version   int64      `json:"version,omitempty"`
		Expires   *time.Time `json:"expires,omitempty"`
		Threshold int        `json:"threshold"`
		Keys      []string   `json:"keys"`
	}
	type staged struct {
		Role       string    `json:"role"`
		Version    int64     `json:"version"`
		Expires    time.Time `json:"expires"`
		Have       int       `json:"have"`
		Want       int       `json:"want"`
		Before     int       `json:"before,omitempty"`
		WantBefore int       `json:"wantBefore,omitempty"`
	}
	j := struct {
		Roles  []role   `json:"roles"`
		Staged []staged `json:"staged"`
	}{[]role{}, []staged{}}
	for _, s := range status {
		r := role{Role: s.Role, Version: s.Version, Threshold: s.Threshold}
		if s.Version > 0 {
			r.Expires = &s.Expires
		}
		for _, k := range s.Keys {
			r.Keys = append(r.Keys, k.ID)
		}
		j.Roles = append(j.Roles, r)
	}
	for _, p := range pending {
		j.Staged = append(j.Staged, staged(p))
	}
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(j)
}

func sayRoles(c *console, status []repo.RoleStatus, pending []repo.Pending) error {
	var b strings.Builder
	for _, s := range status {
		public := "not public yet"
		if s.Version > 0 {
			public = fmt.Sprintf("version %d, until %s", s.Version, s.Expires.Format(time.DateOnly))
		}
		fmt.Fprintf(&b, "%s: %s\n", report.Plain(s.Role), public)
		fmt.Fprintf(&b, "  %d of:", s.Threshold)
		for _, k := range s.Keys {
			fmt.Fprintf(&b, " %.16s", report.Plain(k.ID))
		}
		b.WriteByte('\n')
	}
	for i := range pending {
		b.WriteString(sayPending(&pending[i]))
	}
	if len(pending) == 0 {
		b.WriteString("Nothing waits for signatures.\n")
	}
	_, err := fmt.Fprint(c.out, b.String())
	return err
}

func sayPending(p *repo.Pending) string {
	s := fmt.Sprintf("staged: %s %d has %d of %d signatures", report.Plain(p.Role), p.Version, p.Have, p.Want)
	if p.WantBefore > 0 {
		s += fmt.Sprintf(", and %d of the %d that the root before it wants", p.Before, p.WantBefore)
	}
	return s + "\n"
}

func keySignVerb(c *console) *cobra.Command {
	var keys []string
	var pass passphraseFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "sign DIR --key FILE",
		Short:                 "Sign what is staged and a key counts for",
		Long: `Sign signs the staged metadata of every role that the key counts for, and says
what is still missing. A new root counts the keys of the root before it, too.`,
		Example: `  myelin patch key sign norra --key /media/safe/targets-1.key`,
		Args:    exactly(1, "sign wants one folder: a repository's"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(keys) == 0 {
				return usageError{errors.New("sign wants --key: the file with your private key")}
			}
			return withRepository(args[0], func(r *repo.Repository) error {
				for _, file := range keys {
					k, err := pass.readRepoKey(file)
					if err != nil {
						return err
					}
					roles, err := r.Sign(k)
					if err != nil {
						return fmt.Errorf("%s: %w", file, err)
					}
					if len(roles) == 0 {
						return fmt.Errorf("%s: nothing that is staged wants this key; 'myelin patch key list %s' shows what waits for whom", file, args[0])
					}
				}
				pending, err := r.Pending()
				if err != nil {
					return err
				}
				for i := range pending {
					if _, err := fmt.Fprint(c.out, sayPending(&pending[i])); err != nil {
						return err
					}
				}
				if !slices.ContainsFunc(pending, func(p repo.Pending) bool { return !p.Complete() }) {
					c.hint("all of it can be published: 'myelin patch publish %s'", args[0])
				}
				return nil
			})
		},
	}
	v.Flags().StringArrayVar(&keys, "key", nil, "`FILE` with a private key; repeatable")
	pass.register(v, c)
	return v
}

func keyRotateVerb(c *console) *cobra.Command {
	var role, old, fresh string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "rotate DIR --role NAME --old ID --new FILE",
		Short:                 "Replace one key of a role by another",
		Long: `Rotate stages what makes another key count for a role in place of the old one: a
new root, which as many of the old root's keys must sign as of its own, or for a
supplier's role new metadata of its delegator; and the role itself, where what
the old key signed counts no more.`,
		Example: `  myelin patch key rotate norra --role targets --old 1f3c9a --new lea.key.pub`,
		Args:    exactly(1, "rotate wants one folder: a repository's"),
		RunE: func(_ *cobra.Command, args []string) error {
			if role == "" || old == "" || fresh == "" {
				return usageError{errors.New("rotate wants --role, --old, the beginning of a key's id, and --new, the file of a public key")}
			}
			k, err := publicRepoKey(fresh)
			if err != nil {
				return err
			}
			return withRepository(args[0], func(r *repo.Repository) error {
				if err := r.ReplaceKey(role, old, k); err != nil {
					return err
				}
				return saysStaged(c, r, args[0])
			})
		},
	}
	v.Flags().StringVar(&role, "role", "", "`NAME` of the role: root, targets, snapshot, timestamp, or a supplier's")
	v.Flags().StringVar(&old, "old", "", "`ID` of the key that goes, or its beginning")
	v.Flags().StringVar(&fresh, "new", "", "`FILE` with the public key that comes")
	return v
}

// saysStaged says what waits for signatures now.
func saysStaged(c *console, r *repo.Repository, dir string) error {
	pending, err := r.Pending()
	if err != nil {
		return err
	}
	for i := range pending {
		if _, err := fmt.Fprint(c.out, sayPending(&pending[i])); err != nil {
			return err
		}
	}
	c.hint("sign with 'myelin patch key sign %s --key FILE', then 'myelin patch publish %s'", dir, dir)
	return nil
}

func keyRenewVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "renew DIR ROLE...",
		Short:                 "Stage a role as it is, so that it does not expire",
		Long: `Renew stages the metadata of roles as it is, with a new version and lifetime: a
year for the root, half a year for targets. Snapshot and timestamp are renewed
whenever something is published.`,
		Example: `  myelin patch key renew norra root targets`,
		Args:    atLeast(2, "renew wants a folder, a repository's, and roles"),
		RunE: func(_ *cobra.Command, args []string) error {
			return withRepository(args[0], func(r *repo.Repository) error {
				for _, role := range args[1:] {
					if role == repo.Snapshot || role == repo.Timestamp {
						return fmt.Errorf("%s: 'myelin patch publish %s' renews it", role, args[0])
					}
					if err := r.Renew(role); err != nil {
						return err
					}
				}
				return saysStaged(c, r, args[0])
			})
		},
	}
	return v
}

func keyDelegateVerb(c *console) *cobra.Command {
	var d repo.Delegation
	var keys []string
	var by string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "delegate DIR --role NAME --path PATH --key FILE",
		Short:                 "Let a supplier sign for paths of its own",
		Long: `Delegate stages that a supplier's keys count for paths: patterns in which * is
any part between two slashes. What the supplier signs elsewhere counts nothing,
and its role counts only for as long as, and with the keys that, its delegator
says now.`,
		Example: `  myelin patch key delegate norra --role radio \
    --path 'norra-medical/radio/*/*' --key supplier.pub`,
		Args: exactly(1, "delegate wants one folder: a repository's"),
		RunE: func(_ *cobra.Command, args []string) error {
			if d.Name == "" || len(d.Paths) == 0 || len(keys) == 0 {
				return usageError{errors.New("delegate wants --role, --path and --key")}
			}
			for _, f := range keys {
				k, err := publicRepoKey(f)
				if err != nil {
					return err
				}
				d.Keys = append(d.Keys, k)
			}
			return withRepository(args[0], func(r *repo.Repository) error {
				if err := r.Delegate(by, d); err != nil {
					return err
				}
				return saysStaged(c, r, args[0])
			})
		},
	}
	v.Flags().StringVar(&d.Name, "role", "", "`NAME` of the supplier's role")
	v.Flags().StringArrayVar(&d.Paths, "path", nil, "`PATTERN` of target paths; repeatable")
	v.Flags().StringArrayVar(&keys, "key", nil, "`FILE` with a public key of the supplier's; repeatable")
	v.Flags().IntVar(&d.Threshold, "threshold", 1, "`N` keys that must sign")
	v.Flags().BoolVar(&d.Terminating, "terminating", false, "no role after this one may name such a path")
	v.Flags().StringVar(&by, "by", repo.Targets, "`NAME` of the role that delegates")
	return v
}

func keyRevokeVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "revoke DIR ROLE",
		Short:                 "Believe a supplier's role no more",
		Long:                  `Revoke stages that a delegated role counts no more, nor what it named.`,
		Example:               `  myelin patch key revoke norra radio`,
		Args:                  exactly(2, "revoke wants a folder, a repository's, and a role"),
		RunE: func(_ *cobra.Command, args []string) error {
			return withRepository(args[0], func(r *repo.Repository) error {
				if err := r.Revoke(args[1]); err != nil {
					return err
				}
				return saysStaged(c, r, args[0])
			})
		},
	}
	return v
}
