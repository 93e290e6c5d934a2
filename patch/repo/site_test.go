// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
)

// A journey is a hospital's server, a stick, and a gateway.
type journey struct {
	*pair
	server, gateway *Site
	stick           string
}

func newJourney(t *testing.T) *journey {
	j := &journey{pair: newPair(t), stick: t.TempDir()}
	for _, s := range []**Site{&j.server, &j.gateway} {
		site, err := OpenSite(t.TempDir())
		j.maker.must(err)
		site.Now = func() time.Time { return j.hospital.now }
		for name, p := range map[string]*party{Hospital: j.hospital, "makers/norra-medical": j.maker} {
			root, err := os.ReadFile(filepath.Join(p.dir, "public/metadata/1.root.json"))
			p.must(err, site.Trust(name, root))
		}
		*s = site
	}
	return j
}

// fromParties reads what the two signers publish.
func (j *journey) fromParties(name string) Source {
	return Dir{os.DirFS(filepath.Join(map[string]string{Hospital: j.hospital.dir, "makers/norra-medical": j.maker.dir}[name], "public"))}
}

func fromStick(dir string) func(name string) Source {
	return func(name string) Source { return Dir{os.DirFS(filepath.Join(dir, name))} }
}

// update is what pump-3 gets from a site's copy.
func (j *journey) update(s *Site) (*Update, error) {
	t := j.hospital.t
	client := func(p *party, name string) *Client {
		c := p.client()
		own := Dir{os.DirFS(s.path(name))}
		c.cfg.Metadata, c.cfg.Targets = Below(own, "metadata"), Below(own, "targets")
		return c
	}
	return FullVerification(t.Context(), client(j.maker, "makers/norra-medical"), client(j.hospital, Hospital), j.pump)
}

// TestSite carries a release from its maker over the hospital's server and a stick to
// a gateway, and a receipt back.
func TestSite(t *testing.T) {
	j := newJourney(t)
	j.assign(Assignment{Device: "pump-3"}, nil)
	in, err := j.server.Import(t.Context(), j.fromParties)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Updates) != 1 || in.Updates[0].Version != "2.2.0" || len(in.Repositories) != 2 {
		t.Errorf("%+v", in)
	}
	// Keys that were rotated since the gateway was set up come along.
	fresh := keyring(t, 1)[0]
	j.maker.must(j.maker.ReplaceKey(Root, j.maker.keys[Root][2].ID, fresh))
	j.maker.publish()
	if _, err := j.server.Import(t.Context(), j.fromParties); err != nil {
		t.Fatal(err)
	}
	if _, err := j.server.Export(t.Context(), j.stick); err != nil {
		t.Fatal(err)
	}
	if _, err := j.gateway.Import(t.Context(), fromStick(j.stick)); err != nil {
		t.Fatal(err)
	}
	u, err := j.update(j.gateway)
	if err != nil || string(u.Envelope) != "envelope of 2.2.0" {
		t.Fatalf("%+v, %v", u, err)
	}

	for name, content := range map[string]string{"flow500.suit": "envelope of 2.2.0", "2.1.4.delta": "delta to 2.2.0", "flow500.bin": "image of 2.2.0"} {
		b, err := os.ReadFile(j.gateway.path(files, "norra-medical/flow-500/2.2.0", name))
		if err != nil || string(b) != content {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}

	// The pump's receipt goes back.
	key, err := cose.GenerateKey(cose.P256, rand.Reader)
	j.maker.must(err)
	public := key.Public()
	for _, s := range []*Site{j.server, j.gateway} {
		j.maker.must(os.WriteFile(s.path(devices, "pump-3.pub"), public.AppendPublic(nil), 0o600))
	}
	signer, err := cose.NewSigner(key)
	j.maker.must(err)
	receipt := func(device string, r *patch.Result) []byte {
		b, err := patch.Sign(&patch.State{Device: device, Version: "2.2.0", Count: 7, Result: r}, signer, patch.KeyID(&public))
		j.maker.must(err)
		return b
	}
	b := receipt("pump-3", &patch.Result{Envelope: u.Release.Envelope, Version: "2.2.0", Outcome: patch.Installed, Resumed: true, SelfTest: true})
	for _, want := range []bool{true, false} {
		if _, isNew, err := j.gateway.AddReceipt(b); err != nil || isNew != want {
			t.Errorf("new: %v, %v", isNew, err)
		}
	}
	if n, err := j.gateway.GiveReceipts(j.stick); err != nil || n != 1 {
		t.Errorf("%d receipts went, %v", n, err)
	}
	// Somebody adds others on the way.
	for name, bad := range map[string][]byte{
		"another device's": receipt("pump-4", &patch.Result{Version: "2.2.0", Outcome: patch.Installed}),
		"no result":        receipt("pump-3", nil), "altered": flip(b, len(b)/2), "long": make([]byte, patch.MaxMessage+1), "empty": {},
	} {
		j.maker.must(os.WriteFile(filepath.Join(j.stick, receipts, strings.ReplaceAll(name, " ", "-")[:4]+".cose"), bad, 0o600))
	}
	in = &Imported{}
	j.maker.must(j.server.TakeReceipts(os.DirFS(j.stick), in))
	if len(in.Receipts) != 1 || in.Receipts[0].State.Result.Outcome != patch.Installed || len(in.Refused) != 5 {
		t.Errorf("%+v", in)
	}
}

// TestStick alters, exchanges and holds back what is on a stick: the gateway goes on
// serving what it had.
func TestStick(t *testing.T) {
	j := newJourney(t)
	j.assign(Assignment{Device: "pump-3"}, nil)
	saved := ""
	bring := func(stick string) error {
		t.Helper()
		if saved != "" { // what an attempt before has verified is not asked for again
			j.gateway.dir = t.TempDir()
			j.maker.must(os.CopyFS(j.gateway.dir, os.DirFS(saved)))
		}
		_, err := j.gateway.Import(t.Context(), fromStick(stick))
		return err
	}
	load := func(stick string) {
		t.Helper()
		if _, err := j.server.Import(t.Context(), j.fromParties); err != nil {
			t.Fatal(err)
		}
		if _, err := j.server.Export(t.Context(), stick); err != nil {
			t.Fatal(err)
		}
	}
	load(j.stick)
	j.maker.must(bring(j.stick))
	saved = j.gateway.dir

	r, files := flow500("2.3.0")
	r.Demands.From, r.Sequence, files = []string{"2.2.0"}, 23, append(files[:2], files[3:]...)
	_, err := j.maker.AddRelease(Targets, r, files)
	j.maker.must(err)
	j.maker.publish()
	c := j.maker.client()
	j.maker.must(c.Refresh(t.Context()))
	a, err := c.Assigns(t.Context(), "norra-medical/flow-500/2.3.0", nil)
	j.hospital.must(err, j.hospital.Assign(&Assignment{Device: "pump-3", Releases: []Assigned{a}}))
	j.hospital.publish()
	newer := t.TempDir()
	load(newer)

	was := func(what string) {
		t.Helper()
		if u, err := j.update(j.gateway); err != nil || u.Version != "2.2.0" {
			t.Fatalf("%s: the gateway serves %+v, %v", what, u, err)
		}
	}
	altered := 0
	err = filepath.WalkDir(newer, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(newer, p)
		if old, err := os.ReadFile(filepath.Join(j.stick, rel)); err == nil {
			if b, _ := os.ReadFile(p); string(b) == string(old) {
				return nil // the gateway has it
			}
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		altered++
		switch altered % 3 {
		case 0:
			j.maker.must(os.WriteFile(p, flip(b, len(b)/2), 0o600))
		case 1:
			j.maker.must(os.WriteFile(p, b[:len(b)/2], 0o600))
		case 2:
			j.maker.must(os.Remove(p))
		}
		if bring(newer) == nil {
			t.Errorf("%s altered, cut or gone, and believed", rel)
		}
		was(rel)
		j.maker.must(os.WriteFile(p, b, 0o600))
		return nil
	})
	j.maker.must(err)
	if altered < 10 {
		t.Errorf("%d files were altered", altered)
	}
	// Half of one stick, half of the other: the maker's is older than what is assigned.
	mixed := t.TempDir()
	j.maker.must(os.CopyFS(filepath.Join(mixed, Hospital), os.DirFS(filepath.Join(newer, Hospital))), os.CopyFS(filepath.Join(mixed, makers), os.DirFS(filepath.Join(j.stick, makers))))
	if err := bring(mixed); err == nil {
		t.Error("a mixture was believed")
	}
	was("mixture")

	j.maker.must(bring(newer))
	saved = ""
	if u, err := j.update(j.gateway); err != nil || u.Version != "2.3.0" {
		t.Fatalf("%+v, %v", u, err)
	}
	if err := bring(j.stick); !errors.Is(err, ErrVersion) {
		t.Errorf("the older stick: %v", err)
	}
	j.hospital.now = j.hospital.now.Add(Lifetime[Timestamp] + time.Second)
	if err := bring(newer); !errors.Is(err, ErrExpired) {
		t.Errorf("after two weeks: %v", err)
	}
}
