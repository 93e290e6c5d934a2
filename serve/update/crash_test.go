// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/ledger"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/store"
	"github.com/myelin-health/myelin/store/sqlite"
)

// killedEnv says that this process is not the test, but a server in that folder.
const killedEnv = "MYELIN_UPDATE_KILLED"

// openKilled opens a server's store, ledger and updates.
func openKilled(ctx context.Context, dir string) (*store.Store, *ledger.Log, *Service, error) {
	st, err := sqlite.Open(ctx, filepath.Join(dir, "myelin.db"), nil)
	if err != nil {
		return nil, nil, nil, err
	}
	private, err := os.ReadFile(filepath.Join(dir, "ledger.key"))
	if err != nil {
		return nil, nil, nil, err
	}
	signer, verifier, err := ledger.ParseSigner(string(private), nil)
	if err != nil {
		return nil, nil, nil, err
	}
	log, err := ledger.Open(filepath.Join(dir, "ledger"), ledger.Config{Signer: signer, Verifier: verifier})
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := Open(ctx, Config{Data: dir, Store: st, Record: log.Record})
	return st, log, s, err
}

// killed consents, withdraws consent, halts, lets go on, and has a device say how updates
// ended, for ever: each with a number, which it prints when it was acknowledged.
func killed(dir string) error {
	ctx := context.Background()
	_, _, s, err := openKilled(ctx, dir)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, "pump.key"))
	if err != nil {
		return err
	}
	k, err := cose.ParseKey(b)
	if err != nil {
		return err
	}
	signer, err := cose.NewSigner(k)
	if err != nil {
		return err
	}
	public := k.Public()
	n, err := strconv.ParseUint(os.Getenv("MYELIN_NEXT"), 10, 64)
	if err != nil {
		return err
	}
	pump := device.IDOf("Norra Medical", "Flow 500", "3")
	st := patch.State{Device: pump, Hardware: "C", Version: "2.2.0", Sequence: 8, Known: patch.All, Battery: 80, Link: 90}
	for ; ; n++ {
		why := fmt.Sprint("n=", n)
		var err error
		switch n % 5 {
		case 0:
			err = s.Consent(ctx, mira, "r", pump, rollout.Patient, "3", why)
		case 1:
			err = s.Withdraw(ctx, mira, "r", pump, rollout.Patient, why)
		case 2:
			err = s.Halt(ctx, mira, "r", why, false)
		case 3:
			if err = s.Resume(ctx, lea, "r", why); statusOf(err) == 409 {
				err = nil // the halt was not acknowledged, nor kept
			}
		case 4:
			st.Count = n
			st.Result = &patch.Result{Envelope: release.Envelope, Offer: n, Version: "2.2.0", Outcome: patch.Installed, Resumed: true, SelfTest: true, Before: patch.Digest{1}, After: patch.Digest{1}}
			var signed []byte
			if signed, err = patch.Sign(&st, signer, patch.KeyID(&public)); err == nil {
				_, err = s.hear(ctx, signed, time.Unix(int64(n)*60, 0))
			}
		}
		if err != nil {
			return fmt.Errorf("%d: %w", n, err)
		}
		fmt.Println(n)
	}
}

// TestKill kills a server again and again. What it acknowledged, the receipt of a device,
// consent, and a halt, is in the store and in the ledger afterwards, and it goes on.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	private, public, err := ledger.GenerateKey(nil, "myelin-server-kill", false)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "ledger.key"), []byte(private), 0o600))
	k, err := cose.GenerateKey(cose.P256, crand.Reader)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "pump.key"), k.AppendSecret(nil), 0o600))
	st, log, s, err := openKilled(ctx, dir)
	must(t, err)
	must(t, st.AddEnrolment(ctx, []byte("icu"), "icu", "icu", "sensor", "le", time.Now().Add(time.Hour).UnixNano()))
	_, err = st.Enrol(ctx, []byte("icu"), "icu", "key")
	must(t, err)
	pump := device.IDOf("Norra Medical", "Flow 500", "3")
	_, err = st.Write(ctx, &store.Batch{Sensor: "icu", Sequence: 1, Devices: []device.Device{{ID: pump, Serial: "3", Medical: true, Product: device.Product{Manufacturer: "Norra Medical", Model: "Flow 500", Version: "2.1.4"}}}})
	must(t, err)
	pub := k.Public()
	_, err = s.Register(ctx, lea, []Key{{pump, pub.AppendPublic(nil)}})
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, "updates", "flow500"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "updates", envelopePath), envelope, 0o600))
	must(t, s.AddRelease(ctx, lea, &release, envelopePath))
	must(t, s.Create(ctx, lea, "r", release.Envelope, []byte("rollout: 1\nconsent: {patient: true, terms: \"3\"}\nrings: [{name: all}]\n"), ""))
	must(t, s.Start(ctx, lea, "r", "now"))
	must(t, errors.Join(s.Close(), log.Close(), st.Close()))

	next := uint64(1)
	var acknowledged []uint64
	for range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedEnv+"="+dir, fmt.Sprint("MYELIN_NEXT=", next))
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for left := 5 + rand.IntN(40); left > 0 && lines.Scan(); left-- {
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			must(t, err)
			acknowledged = append(acknowledged, n)
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() { // what it acknowledged before it was dead
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				acknowledged = append(acknowledged, n)
			}
		}
		cmd.Wait()
		if said.Len() > 0 {
			t.Fatal(said.String())
		}
		next = acknowledged[len(acknowledged)-1] + 2 // the next one may be there or not

		st, log, s, err := openKilled(ctx, dir)
		must(t, err)
		kept := map[string]string{}
		events, err := st.RolloutEvents(ctx, store.RolloutQuery{Limit: 1 << 20})
		must(t, err)
		for i, e := range events {
			if e.Seq != int64(i+1) {
				t.Fatalf("event %d has the number %d", i+1, e.Seq)
			}
			kept[whyOf(&e.Event)] = e.Kind.String()
		}
		must(t, errors.Join(s.Close(), log.Close(), st.Close()))
		verifier, err := ledger.ParseVerifier(public)
		must(t, err)
		r, err := ledger.Read(filepath.Join(dir, "ledger"), verifier)
		must(t, err)
		written := map[string]string{}
		must(t, r.Entries(0, r.Checkpoint.Size, func(_ int64, b []byte) error {
			e, err := event.Parse(b)
			written[whyOf(&e)] = e.Kind.String()
			return err
		}))
		for _, n := range acknowledged {
			want := []string{"consent-given", "consent-withdrawn", "rollout-halted", "rollout-resumed", "update-ended"}[n%5]
			why := fmt.Sprint("n=", n)
			if want == "rollout-resumed" && kept[why] == "" {
				continue // there was nothing to let go on
			}
			if kept[why] != want || written[why] != want {
				t.Fatalf("%d was acknowledged: the store has %q, the ledger %q, not %s", n, kept[why], written[why], want)
			}
		}
	}
	t.Logf("%d were acknowledged", len(acknowledged))
}

// whyOf is the number that an act had: of a result, that of its offer.
func whyOf(e *event.Event) string {
	if e.Kind == event.UpdateEnded {
		return fmt.Sprint("n=", e.Int(event.Offer))
	}
	return e.Text(event.Reason)
}
