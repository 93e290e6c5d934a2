// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/match/advisory"
	"github.com/myelin-health/myelin/match/sbom"
	"github.com/myelin-health/myelin/match/vex"
	"github.com/myelin-health/myelin/patch/repo"
	"github.com/myelin-health/myelin/patch/suit"
	"github.com/myelin-health/myelin/report"
)

func patchReleaseVerb(c *console) *cobra.Command {
	v := &cobra.Command{
		Use:   "release VERB",
		Short: "Add a release to a manufacturer's repository",
		Long: `Release is about what a manufacturer publishes: a version of a product's
firmware, what it demands of the device and of the people around it, its papers.`,
		Example:               `  myelin patch release add norra --description release.yaml`,
		DisableFlagsInUseLine: true,
		Args:                  aVerb,
		Run:                   neverRun,
	}
	v.AddCommand(releaseAddVerb(c))
	return v
}

func releaseAddVerb(c *console) *cobra.Command {
	var description, role, signer string
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "add DIR --description FILE",
		Short:                 "Stage a release: envelope, images, SBOM, VEX, advisories",
		Long: `Add stages a release as its description says, a YAML file. It refuses an
envelope whose sequence number is another, and papers that cannot be read or are
about something else: an advisory that is said to be fixed has to have that id.
Then it waits for the signatures of the targets role, or of a supplier's.`,
		Example: `  myelin patch release add norra --description release.yaml \
    --signer firmware.key.pub`,
		Args: exactly(1, "release add wants one folder: a repository's"),
		RunE: func(_ *cobra.Command, args []string) error {
			if description == "" {
				return usageError{errors.New("release add wants --description: the YAML file that says what the release is")}
			}
			src, err := readFile(description, 64<<10)
			if err != nil {
				return err
			}
			d, err := repo.ParseDescription(description, src)
			if err != nil {
				return err
			}
			var files []repo.Attachment
			for _, f := range d.Files {
				path := filepath.Join(filepath.Dir(description), filepath.FromSlash(f.Path))
				if err := checkPaper(path, &f, d, signer); err != nil {
					return fmt.Errorf("%s:%d: %s: %w", description, f.Line, f.Path, err)
				}
				files = append(files, repo.Attachment{File: f.File, Open: func() (io.ReadCloser, error) { return os.Open(path) }})
			}
			return withRepository(args[0], func(r *repo.Repository) error {
				b, err := r.AddRelease(role, d.Release, files)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(c.out, "%s %s, in %s: %d files, envelope %s\n", report.Plain(b.Product()), b.Version, repo.Folder(&b.Release), len(b.Files), b.Release.Envelope); err != nil {
					return err
				}
				return saysStaged(c, r, args[0])
			})
		},
	}
	v.Flags().StringVar(&description, "description", "", "`FILE` that says what the release is, in YAML (docs/updates.md)")
	v.Flags().StringVar(&role, "role", repo.Targets, "`NAME` of the role that signs for it")
	v.Flags().StringVar(&signer, "signer", "", "`FILE` with the public key that the envelope has to be signed with")
	return v
}

// checkPaper refuses a file of a release that is not what it is said to be.
func checkPaper(path string, f *repo.DescribedFile, d *repo.Description, signer string) error {
	src, err := os.Open(path)
	if err != nil {
		return said(err)
	}
	defer src.Close()
	switch f.Kind {
	case repo.Envelope:
		return checkEnvelope(path, d.Release.Sequence, signer)
	case repo.SBOM:
		_, err = sbom.Read(src)
	case repo.VEX:
		_, err = vex.ReadDocument(src)
	case repo.Advisory:
		docs, err := advisory.Read(src)
		if err != nil {
			return err
		}
		if len(docs) != 1 || docs[0].ID != f.ID {
			return fmt.Errorf("it is not the advisory %s", f.ID)
		}
	}
	return err
}

func checkEnvelope(path string, sequence uint64, signer string) error {
	b, err := readFile(path, repo.MaxEnvelope)
	if err != nil {
		return said(err)
	}
	e, err := suit.Decode(b)
	if err != nil {
		return err
	}
	var m *suit.Manifest
	if signer != "" {
		k, err := publicKey(signer)
		if err != nil {
			return err
		}
		m, err = e.Verify([]cose.Key{k}...)
		if err != nil {
			return err
		}
	} else if m, err = e.UnverifiedManifest(); err != nil {
		return err
	}
	switch {
	case len(e.Blocks) == 0:
		return errors.New("nobody has signed it")
	case m.SequenceNumber != sequence:
		return fmt.Errorf("its sequence number is %d, and the release says %d", m.SequenceNumber, sequence)
	}
	return nil
}

func patchAssignVerb(c *console) *cobra.Command {
	var site, device, ring string
	var nothing bool
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "assign DIR (--device ID | --ring NAME) --site SITE FOLDER...",
		Short:                 "Say in a hospital's repository which device is to have a release",
		Long: `Assign stages that a device, or each device of a ring, is to have releases:
their folders in the manufacturers' repositories, which are read from the site's
copy and verified. It takes the place of what was assigned before. A device's
own assignment comes before its ring's; --nothing says that it is to have none.
The id is the hospital's, not a serial number.`,
		Example: `  myelin patch assign ada --ring icu --site /var/lib/myelin/updates \
    norra-medical/flow-500/2.2.0
  myelin patch assign ada --device pump-3 --nothing`,
		Args: atLeast(1, "assign wants a folder, the hospital's repository, and the folders of releases"),
		RunE: func(v *cobra.Command, args []string) error {
			folders := args[1:]
			switch {
			case (device == "") == (ring == ""):
				return usageError{errors.New("assign wants --device or --ring")}
			case nothing == (len(folders) > 0):
				return usageError{errors.New("assign wants the folders of releases, or --nothing")}
			case !nothing && site == "":
				return usageError{errors.New("assign wants --site: where the manufacturers' repositories are read")}
			}
			a := &repo.Assignment{Device: device, Ring: ring}
			for _, folder := range folders {
				s, err := repo.OpenSite(site)
				if err != nil {
					return err
				}
				maker, _, _ := strings.Cut(folder, "/")
				client, err := s.Client(repo.MakerName(maker), nil, nil)
				if err == nil {
					err = client.Refresh(v.Context())
				}
				if err != nil {
					return fmt.Errorf("%s: %w", repo.MakerName(maker), said(err))
				}
				r, err := client.Assigns(v.Context(), folder, nil)
				if err != nil {
					return err
				}
				a.Releases = append(a.Releases, r)
			}
			return withRepository(args[0], func(r *repo.Repository) error {
				if err := r.Assign(a); err != nil {
					return err
				}
				for _, x := range a.Releases {
					if _, err := fmt.Fprintf(c.out, "%s is to have %s %s %s, envelope %s\n", report.Plain(device+ring),
						report.Plain(x.Manufacturer), report.Plain(x.Model), x.Version, x.Envelope); err != nil {
						return err
					}
				}
				return saysStaged(c, r, args[0])
			})
		},
	}
	v.Flags().StringVar(&site, "site", "", "`DIR` of the site that has the manufacturers' repositories")
	v.Flags().StringVar(&device, "device", "", "`ID` of a device")
	v.Flags().StringVar(&ring, "ring", "", "`NAME` of a ring")
	v.Flags().BoolVar(&nothing, "nothing", false, "it is to have none")
	return v
}

func patchPublishVerb(c *console) *cobra.Command {
	var keys, lifetimes []string
	var pass passphraseFlag
	v := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "publish DIR",
		Short:                 "Make public what is signed, with a new snapshot and timestamp",
		Long: `Publish makes public what is staged and has its signatures, and signs a new
snapshot and timestamp, which say that this is the newest. With nothing staged
it renews those two: a client takes a timestamp of more than 14 days, or a
snapshot of more than 30, for a mirror that stands still.`,
		Example: `  myelin patch publish norra
  myelin patch publish ada --lifetime timestamp=24h`,
		Args: exactly(1, "publish wants one folder: a repository's"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(keys) == 0 {
				keys = []string{filepath.Join(args[0], "keys", "snapshot.key"), filepath.Join(args[0], "keys", "timestamp.key")}
			}
			return withRepository(args[0], func(r *repo.Repository) error {
				r.Lifetime = map[string]time.Duration{}
				for _, l := range lifetimes {
					role, text, _ := strings.Cut(l, "=")
					d, err := time.ParseDuration(text)
					if err != nil || d <= 0 || !slices.Contains([]string{repo.Snapshot, repo.Timestamp}, role) {
						return usageError{fmt.Errorf("--lifetime %s: want snapshot or timestamp, =, and a time such as 24h", l)}
					}
					r.Lifetime[role] = d
				}
				var online []*repo.Key
				for _, file := range keys {
					k, err := pass.readRepoKey(file)
					if err != nil {
						return err
					}
					online = append(online, k)
				}
				pending, err := r.Pending()
				if err != nil {
					return err
				}
				if err := r.Publish(online...); err != nil {
					return err
				}
				for _, p := range pending {
					if _, err := fmt.Fprintf(c.out, "public: %s %d\n", report.Plain(p.Role), p.Version); err != nil {
						return err
					}
				}
				status, err := r.Status()
				if err != nil {
					return err
				}
				for _, s := range status {
					if s.Role == repo.Snapshot || s.Role == repo.Timestamp {
						if _, err := fmt.Fprintf(c.out, "public: %s %d, until %s\n", s.Role, s.Version, s.Expires.Format(time.DateTime)); err != nil {
							return err
						}
					}
					if d := s.Expires.Sub(r.Now()); d < 30*24*time.Hour && s.Role != repo.Snapshot && s.Role != repo.Timestamp {
						c.hint("%s expires on %s: 'myelin patch key renew %s %s'", s.Role, s.Expires.Format(time.DateOnly), args[0], s.Role)
					}
				}
				return nil
			})
		},
	}
	v.Flags().StringArrayVar(&keys, "key", nil, "`FILE` with the key of snapshot or timestamp; repeatable (those in keys/)")
	v.Flags().StringArrayVar(&lifetimes, "lifetime", nil, "`ROLE=TIME` that new metadata is believed; repeatable")
	pass.register(v, c)
	return v
}
