// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/repo"
)

// A maker releases, a hospital assigns, and a pump takes what both say. Each has one
// key for all roles here; a real root has more, and they are offline.
func Example() {
	dir, err := os.MkdirTemp("", "repo-")
	check(err)
	defer os.RemoveAll(dir)
	maker, hospital := begin(dir, "norra"), begin(dir, "ada")

	// Norra Medical releases 2.2.0.
	release := patch.Release{
		Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.0", Sequence: 22,
		Demands: patch.Demands{
			Hardware: []string{"C"}, From: []string{"2.1.4"},
			Backup: 3 * time.Minute, Longest: 12 * time.Minute, Resume: time.Minute, Supervision: patch.ClinicianPresent,
		},
	}
	file := func(name string, k repo.Kind, content string) repo.Attachment {
		return repo.Attachment{
			File: repo.File{Name: name, Kind: k},
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(content))), nil },
		}
	}
	_, err = maker.AddRelease(repo.Targets, release, []repo.Attachment{
		file("flow500.suit", repo.Envelope, "a SUIT envelope"), file("flow500.bin", repo.Image, "an image"),
	})
	check(err)
	maker.publish()

	// St. Ada reads it, and assigns it to a pump.
	c := maker.client("hospital's")
	check(c.Refresh(context.Background()))
	a, err := c.Assigns(context.Background(), "norra-medical/flow-500/2.2.0", nil)
	check(err)
	check(hospital.Assign(&repo.Assignment{Device: "pump-3", Releases: []repo.Assigned{a}}))
	hospital.publish()

	// The pump believes both, or nothing.
	u, err := repo.FullVerification(context.Background(), maker.client("pump's"), hospital.client("pump's"),
		repo.Subject{Device: "pump-3", Manufacturer: "Norra Medical", Model: "Flow 500", Hardware: "C"})
	check(err)
	fmt.Println(u.Product(), u.Version, u.Demands.Supervision, len(u.Envelope))
	// Output: Norra Medical Flow 500 2.2.0 clinician present 15
}

type signer struct {
	*repo.Repository
	key *repo.Key
	dir string
}

func begin(dir, name string) *signer {
	k, err := repo.GenerateKey()
	check(err)
	s := &signer{key: k, dir: filepath.Join(dir, name)}
	one := repo.Signers{Keys: []*repo.Key{k}, Threshold: 1}
	s.Repository, err = repo.Create(s.dir, map[string]repo.Signers{repo.Root: one, repo.Targets: one, repo.Snapshot: one, repo.Timestamp: one})
	check(err)
	s.publish()
	return s
}

func (s *signer) publish() {
	_, err := s.Sign(s.key)
	check(err)
	check(s.Publish(s.key))
}

// client trusts the first root, which came some way that nobody can alter.
func (s *signer) client(whose string) *repo.Client {
	root, err := os.ReadFile(filepath.Join(s.dir, "public/metadata/1.root.json"))
	check(err)
	dir := filepath.Join(s.dir, whose)
	check(repo.Trust(dir, root))
	public := repo.Dir{FS: os.DirFS(filepath.Join(s.dir, "public"))}
	c, err := repo.NewClient(repo.Config{Dir: dir, Metadata: repo.Below(public, "metadata"), Targets: repo.Below(public, "targets")})
	check(err)
	return c
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
