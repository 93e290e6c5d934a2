// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/serve"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// TestPatchRollout runs a roll-out from the command line, at a server.
func TestPatchRollout(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	write := func(name string, b []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	envelope := []byte("a SUIT envelope")
	suit := write("data/updates/flow500/2.2.0.suit", envelope)
	pump := device.IDOf("Norra Medical", "Flow 500", "p3")
	st, err := sqlite.Open(t.Context(), write("data/myelin.db", nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	token := func(login string, roles access.Role, clinical string) string {
		p := &store.Person{Login: login, Roles: uint32(roles), Clinical: clinical}
		hash := sha256.Sum256([]byte("token of " + login))
		if err := st.SavePerson(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := st.AddToken(t.Context(), &store.Token{Person: p.ID, Name: "t", Hash: hash[:], Scopes: []string{"read", "update", "admin"}, Expires: time.Now().Add(time.Hour).UnixNano()}); err != nil {
			t.Fatal(err)
		}
		return write(login+".token", []byte("token of "+login+"\n"))
	}
	lea, mira := token("le", access.Engineer, ""), token("mh", access.Clinician, "prescriber")
	err = st.AddEnrolment(t.Context(), []byte("icu"), "icu", "icu", "sensor", "le", time.Now().Add(time.Hour).UnixNano())
	if err == nil {
		_, err = st.Enrol(t.Context(), []byte("icu"), "icu", "key")
	}
	if err == nil {
		_, err = st.Write(t.Context(), &store.Batch{Sensor: "icu", Sequence: 1, Devices: []device.Device{{ID: pump, Serial: "p3", Ward: "ICU", Medical: true, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.1.4", Therapy: device.DrugInfusion}}}})
	}
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := serve.Open(t.Context(), serve.Config{Data: data, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Run(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	defer func() { stop(); serving.Wait(); s.Close() }()

	verb := func(as string, want int, says string, args ...string) {
		t.Helper()
		var out strings.Builder
		code := run(t.Context(), append([]string{"patch", "rollout"}, append(args, "--server", "http://"+ln.Addr().String(), "--token", as)...), strings.NewReader(""), &out, &out)
		if code != want || !strings.Contains(out.String(), says) {
			t.Errorf("%q: exit %d, not %d with %q\n%s", args, code, want, says, &out)
		}
	}
	k, err := cose.GenerateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	public := k.Public()
	release, _ := json.Marshal(patch.Release{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.2.0", Sequence: 8, Envelope: sha256.Sum256(envelope), Size: int64(len(envelope)), Demands: patch.Demands{Hardware: []string{"C"}, From: []string{"2.1.4"}}})
	plan := write("plan.yaml", []byte("rollout: 1\nconsent: {clinician: true, terms: \"3\"}\nrings: [{name: all}]\n"))

	verb(lea, exitDone, "1 of 1 keys are new", "keys", pump+"="+write("pump.pub", public.AppendPublic(nil)))
	verb(lea, exitError, "a private key", "keys", pump+"="+write("pump.key", k.AppendSecret(nil)))
	verb(lea, exitError, "its digest or its length differs", "release", write("other.json", []byte(strings.Replace(string(release), `"size":15`, `"size":16`, 1))), "--path", "flow500/2.2.0.suit")
	verb(mira, exitError, "", "release", write("flow.json", release), "--path", "flow500/2.2.0.suit")
	verb(lea, exitDone, "", "release", write("flow.json", release), "--path", "flow500/2.2.0.suit")
	verb(lea, exitDone, "not begun", "create", "flow-2.2.0", "--release", suit, "--plan", plan, "--reason", "ADA-2026-01")
	verb(lea, exitError, "There is a roll-out of this name.", "create", "flow-2.2.0", "--release", suit, "--plan", plan)
	verb(lea, exitDone, "under way", "start", "flow-2.2.0", "--reason", "ADA-2026-01")
	verb(lea, exitDone, "all ", "show", "flow-2.2.0")
	verb(lea, exitDone, pump, "devices", "flow-2.2.0")
	verb(lea, exitError, "", "consent", "flow-2.2.0", pump, "--terms", "3")
	verb(mira, exitDone, pump, "consent", "flow-2.2.0", pump, "--terms", "3")
	verb(mira, exitDone, pump, "withdraw", "flow-2.2.0", pump)
	verb(lea, exitDone, pump, "attend", "flow-2.2.0", pump, "--for", "10m")
	verb(mira, exitError, "A reason is needed", "halt", "flow-2.2.0")
	verb(mira, exitDone, "halted: an alarm (mh)", "halt", "flow-2.2.0", "--reason", "an alarm")
	verb(mira, exitError, "", "resume", "flow-2.2.0", "--reason", "it was a cable")
	verb(lea, exitDone, "under way", "resume", "flow-2.2.0", "--reason", "it was a cable")
	verb(lea, exitDone, "rollout-halted", "events", "flow-2.2.0")
	verb(lea, exitDone, `"status": "under way"`, "list", "--format", "json")
	verb(lea, exitDone, "ROLL-OUT", "orders")

	sign := func(count uint64, signer cose.Signer) string {
		b, err := patch.Sign(&patch.State{Device: pump, Hardware: "C", Version: "2.2.0", Sequence: 8, Count: count, Known: patch.All, Battery: 80, Link: 90}, signer, patch.KeyID(&public))
		if err != nil {
			t.Fatal(err)
		}
		return write("receipt", b)
	}
	file := sign(1, signer)
	verb(lea, exitDone, "taken", "receipts", file)
	verb(lea, exitError, "this was said before", "receipts", file)
	verb(lea, exitDone, "installed", "devices", "flow-2.2.0")
}
