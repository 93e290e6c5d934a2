// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-health/myelin/finding"
)

// TestRetold compares what is written over with what is read and written again.
func TestRetold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string {
			part := rapid.SampledFrom([]string{`"`, `\`, `,"State":"open"`, `,"Device":"`, `\"State\":\"`, "{", "<", "\n", "ü", "State", ""})
			return rapid.String().Draw(t, name) + part.Draw(t, name) + part.Draw(t, name)
		}
		f := finding.Finding{ID: text("id"), Title: text("title"), Device: text("device"), Product: text("product"), Peers: []string{text("peer")}, State: text("state"), Advice: text("advice"), CVE: []string{text("CVE")}}
		f.SSVC.Action = text("action")
		f.Add(finding.Sighting{Note: text("note")})
		doc, err := json.Marshal(&f)
		if err != nil {
			t.Fatal(err)
		}
		f.Device, f.State = text("root"), text("state now")
		got, err := retold(doc, f.Device, f.State)
		if want, _ := json.Marshal(&f); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s, %v; want %s", got, err, want)
		}
	})
	for _, doc := range []string{"", `{"ID":"x"}`, `{"ID":"x","Device":"`, `{"ID":"x","Device":"\`, `{"ID":"x","Device":""}`} {
		if got, err := retold([]byte(doc), "a", "b"); err == nil {
			t.Errorf("%s: %s", doc, got)
		}
	}
}
