// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve/notify"
	"github.com/myelin-health/myelin/store"
)

// TestTell adds a receiver to a server that runs, which tells it of a finding, and
// looks for its secret in the database.
func TestTell(t *testing.T) {
	s := open(t, Config{})
	got := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m notify.Message
		json.NewDecoder(r.Body).Decode(&m)
		got <- m.Finding.ID
	}))
	defer hook.Close()
	const secret = "quite-a-secret-of-a-webhook"
	b, err := json.Marshal([]notify.Setting{{Kind: "webhook", ID: "a", Address: hook.URL, Secret: []byte(secret)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sealer.SetSecret(t.Context(), s.store, notify.SettingName, b); err != nil {
		t.Fatal(err)
	}
	runs(t, s)
	if err := s.store.AddEnrolment(t.Context(), []byte("x"), "s", "ada", "sensor", "test", time.Now().Add(time.Hour).UnixNano()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Enrol(t.Context(), []byte("x"), "s1", "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Write(t.Context(), &store.Batch{Sensor: "s1", Sequence: 1, Findings: []finding.Finding{{ID: "f1", Title: "t", Product: "p", State: "open"}}}); err != nil {
		t.Fatal(err)
	}
	if id := <-got; id != "f1" {
		t.Errorf("told of %q", id)
	}
	files, _ := filepath.Glob(filepath.Join(s.cfg.Data, "myelin.db*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || strings.Contains(string(b), secret) || strings.Contains(string(b), "cXVpdGUtYS1zZWNyZXQ") {
			t.Errorf("%s has the secret: %v", f, err)
		}
	}
}
