// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/myelin-health/myelin/serve/documents"
	"github.com/myelin-health/myelin/store"
)

// TestWatch has two servers of one store watch a folder: one of them looks, and when it
// is gone the other.
func TestWatch(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	k := &clock{at: time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)}
	a := open(t, Config{Now: k.now, Watch: dir})
	b := &Server{cfg: a.cfg, store: a.store, access: a.access, name: "server-b"}
	b.folder = documents.NewFolder(dir, b.name, a.intake)
	round := func(servers ...*Server) {
		t.Helper()
		for _, s := range servers {
			for _, j := range s.jobs() {
				if j.name != "watch" {
					continue
				}
				if err := s.once(ctx, &j); err != nil {
					t.Fatal(err)
				}
			}
		}
		k.pass(time.Minute)
	}
	looked := func(server string, files, kept int) {
		t.Helper()
		l, err := documents.LastLook(ctx, a.store)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := a.store.Documents(ctx, nil, "", store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		if l == nil || l.Server != server || l.Files != files || docs.Total != kept {
			t.Fatalf("%+v and %d documents, want %d by %s", l, docs.Total, kept, server)
		}
	}
	put := func(name, version string) {
		t.Helper()
		text := `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{"bom-ref":"c","type":"library","name":"openssl","version":"` + version + `"}]}`
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a.json", "1.0.2")
	round(a, b)
	looked(a.name, 0, 0)
	round(b, a)
	looked(a.name, 1, 1)
	put("b.json", "1.0.3")
	k.pass(10 * time.Minute) // a does not look any more
	round(b)
	looked(b.name, 0, 1)
	round(b)
	looked(b.name, 2, 2)
	if c, err := a.ledger.Checkpoint(); err != nil || c.Size < 2 {
		t.Errorf("the ledger has nothing of it: %v", err)
	}
}
