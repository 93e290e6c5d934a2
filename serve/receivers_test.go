// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/finding"
	"github.com/myelin-health/myelin/serve/notify"
	"github.com/myelin-health/myelin/store"
)

// TestTell adds a receiver to a server that runs, which tells it of a finding, of a
// command that waits and of an emergency, and looks for its secret in the database.
func TestTell(t *testing.T) {
	s := open(t, Config{URL: "https://myelin.ada.example"})
	got := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
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
	told := func(what, link string, has, hasNot []string) {
		t.Helper()
		text := <-got
		var m notify.Message
		if err := json.Unmarshal([]byte(text), &m); err != nil || m.What != what || m.Link != "https://myelin.ada.example"+link {
			t.Errorf("told %s, %v", text, err)
		}
		for i, list := range [][]string{has, hasNot} {
			for _, s := range list {
				if strings.Contains(text, s) != (i == 0) {
					t.Errorf("%q in %s", s, text)
				}
			}
		}
	}
	told("new", "/findings/f1", []string{`"id":"f1"`}, []string{"command"})
	held := store.Held{ID: "7/a", Device: "pump-3", Actor: "mh", Verb: "set-infusion-rate", Effect: "increases", Now: "0.2 ug/kg/min", Value: "0.8 ug/kg/min", Reason: "four times", Asked: 1, Expires: 2}
	e := event.Event{Kind: event.EmergencyUsed, Time: 3, Device: device.Address{Kind: device.Host, Value: "pump-4"}}
	e.Add(event.Text(event.Actor, "mh"))
	for i := range 2 { // what waits already is told once
		if _, err := s.store.Write(t.Context(), &store.Batch{Sensor: "s1", Sequence: uint64(2 + i), HeldToo: true, Held: []store.Held{held}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.store.Write(t.Context(), &store.Batch{Sensor: "s1", Sequence: 4, Events: []event.Event{e}}); err != nil {
		t.Fatal(err)
	}
	private := []string{`"mh"`, "0.8 ug", "0.2 ug", "four times", "finding"}
	told("held", "/guard/s1/held/7%2Fa", []string{`"guard":"s1"`, `"device":"pump-3"`, "set-infusion-rate", `"expires":"1970`}, private)
	told("emergency", "/guard", []string{"pump-4"}, private)
	files, _ := filepath.Glob(filepath.Join(s.cfg.Data, "myelin.db*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || strings.Contains(string(b), secret) || strings.Contains(string(b), "cXVpdGUtYS1zZWNyZXQ") {
			t.Errorf("%s has the secret: %v", f, err)
		}
	}
}
