// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/ledger"
)

// keeps gives a server a ledger with so many entries.
func (d *ward) keeps(n int) string {
	d.t.Helper()
	private, public, err := ledger.GenerateKey(nil, "test-ledger", false)
	if err != nil {
		d.t.Fatal(err)
	}
	signer, verifier, err := ledger.ParseSigner(private, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	dir := filepath.Join(d.t.TempDir(), "ledger")
	l, err := ledger.Open(dir, ledger.Config{Signer: signer, Verifier: verifier})
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range n {
		e := event.Event{Kind: event.PersonActed, Time: d.now().UnixNano() + int64(i), Device: device.Address{Kind: device.Host, Value: "server"}}
		e.Add(event.Text(event.Actor, "holm"), event.Text(event.Operation, "sign-in"), event.Text(event.Reason, "<b>password</b>"), event.Int(event.Outcome, event.Succeeded))
		if err := l.Record(&e); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.pages.Ledger = &Ledger{Dir: dir, Key: public}
	return dir
}

func TestLedger(t *testing.T) {
	d := newWard(t)
	const entries = 120
	dir := d.keeps(entries)
	ada := d.client("ada")
	page, status := d.get(ada, "/ledger")
	if status != 200 || !strings.Contains(page, "120 entries are signed.") || strings.Count(page, `data-test="entry"`) != ledgerRows || strings.Contains(page, "<b>password") {
		t.Errorf("the list: %d\n%s", status, page)
	}
	if page, _ := d.get(ada, "/ledger?before=20"); strings.Count(page, `data-test="entry"`) != 20 || strings.Contains(page, `rel="next"`) {
		t.Errorf("the last page:\n%s", page)
	}
	if page, _ := d.get(ada, "/ledger/7"); !strings.Contains(page, "Entry 7 is in the ledger as it was signed.") {
		t.Errorf("an entry:\n%s", page)
	}
	if body, _ := d.get(ada, "/ledger/7.json"); !strings.Contains(body, `"Proven": true`) {
		t.Errorf("an entry as JSON:\n%s", body)
	}
	text, _ := d.get(ada, "/ledger/7/proof")
	proof, _, err := ledger.ParseProof([]byte(text))
	if err != nil {
		t.Fatalf("the file of a proof: %v\n%s", err, text)
	}
	k, _ := ledger.ParseVerifier(d.pages.Ledger.Key)
	if _, err := proof.Verify(k); err != nil || proof.Index != 7 {
		t.Errorf("the proof: %v", err)
	}
	if body, _ := d.get(ada, "/ledger/export?from=10&to=15"); strings.Count(body, "\n") != 5 || !strings.Contains(body, `"person-acted"`) {
		t.Errorf("the export:\n%s", body)
	}
	if last := d.recorded[len(d.recorded)-1]; !strings.HasPrefix(last, "ada | export | ledger | entries from 10 to before 15") {
		t.Errorf("the export is not in the ledger: %q", last)
	}
	if body, _ := d.get(ada, "/ledger.csv?before=5"); strings.Count(body, "\n") != 6 || !strings.HasPrefix(body, "number,time,kind,who,did,") || !strings.Contains(body, "\n4,") {
		t.Errorf("the table:\n%s", body)
	}
	for path, want := range map[string]int{"/ledger/120": 404, "/ledger/-1": 404, "/ledger/x": 404, "/ledger?before=121": 400, "/ledger/export?from=0&to=121": 400, "/ledger/export?from=5&to=4": 400} {
		if _, status := d.get(ada, path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	for _, path := range []string{"/ledger", "/ledger/7", "/ledger/7/proof", "/ledger/export"} {
		if _, status := d.get(d.client("vera"), path); status != 403 {
			t.Errorf("a viewer got %s: %d", path, status)
		}
	}
	verify := func(want string) {
		t.Helper()
		if _, status := d.post(ada, "/ledger/verify", url.Values{}); status != 200 {
			t.Errorf("verify now: %d", status)
		}
		d.pages.Ledger.Wait()
		if page, _ := d.get(ada, "/ledger"); !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	verify("all is as it was signed")
	// One bit of an entry, and it is seen.
	var bundle string
	filepath.WalkDir(filepath.Join(dir, "tile", "entries"), func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			bundle = p
		}
		return err
	})
	b, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	os.Chmod(bundle, 0o600)
	if err := os.WriteFile(bundle, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.pages.prove("0"); err == nil {
		t.Error("an entry of a bundle that was changed was proven")
	}
	verify("Some of it is not as it was signed.")
	if last := d.recorded[len(d.recorded)-1]; !strings.HasSuffix(last, "failed") {
		t.Errorf("what came of it is not in the ledger: %q", last)
	}
	r, _ := http.NewRequest("POST", d.http.URL+"/ledger/verify", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if resp, err := ada.Do(r); err != nil || resp.StatusCode != 403 {
		t.Errorf("another site asked to verify: %v %d", err, resp.StatusCode)
	}
}
