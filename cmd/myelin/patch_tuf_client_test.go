// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-health/myelin/patch/repo"
)

// TestTUFClient calls the client as the TUF conformance suite does: what it asks for in
// which order, what it keeps, and how it exits.
func TestTUFClient(t *testing.T) {
	dir := t.TempDir()
	norra := filepath.Join(dir, "norra")
	call := func(args ...string) (int, string) {
		var out, errs strings.Builder
		return run(t.Context(), args, strings.NewReader(""), &out, &errs), out.String() + errs.String()
	}
	if code, text := call("patch", "init", norra, "--for", "hospital", "--unprotected"); code != exitDone {
		t.Fatal(text)
	}
	publish := func(path, content string) {
		t.Helper()
		r, err := repo.OpenRepository(norra)
		if err == nil {
			err = r.PutTarget(repo.Targets, path, strings.NewReader(content))
			r.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"key", "sign", norra, "--key", filepath.Join(norra, "keys/targets.key")}, {"publish", norra}} {
			if code, text := call(append([]string{"patch"}, args...)...); code != exitDone {
				t.Fatal(text)
			}
		}
	}
	publish("a/file", "one")

	var asked []string
	files := http.FileServer(http.Dir(filepath.Join(norra, "public")))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	kept, got := filepath.Join(dir, "kept"), filepath.Join(dir, "got")
	if err := os.Mkdir(got, 0o755); err != nil {
		t.Fatal(err)
	}
	client := func(want int, args ...string) {
		t.Helper()
		asked = nil
		all := append([]string{"patch", "tuf-client", "--metadata-url", server.URL + "/metadata", "--metadata-dir", kept}, args...)
		if code, text := call(all...); code != want {
			t.Fatalf("exit %d: %s", code, text)
		}
	}
	download := []string{"--target-name", "a/file", "--target-dir", got, "--target-base-url", server.URL + "/targets", "download"}
	order := func(want ...string) {
		t.Helper()
		for i := range asked { // with its digest in the name
			if strings.HasPrefix(asked[i], "/targets/") {
				asked[i] = "/targets/"
			}
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked for %v, not %v", asked, want)
		}
	}

	client(exitDone, "init", filepath.Join(norra, "public/metadata/1.root.json"))
	order()
	client(exitDone, "refresh")
	order("/metadata/2.root.json", "/metadata/timestamp.json", "/metadata/2.snapshot.json", "/metadata/2.targets.json")
	for _, name := range []string{"root.json", "timestamp.json", "snapshot.json", "targets.json"} {
		served := map[string]string{"root.json": "1.root.json", "timestamp.json": "timestamp.json"}[name]
		if served == "" {
			served = "2." + name
		}
		a, err := os.ReadFile(filepath.Join(kept, name))
		if b, _ := os.ReadFile(filepath.Join(norra, "public/metadata", served)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is not as it was served: %v", name, err)
		}
	}
	client(exitDone, download...)
	order("/metadata/2.root.json", "/metadata/timestamp.json", "/targets/")
	client(exitDone, download...)
	order("/metadata/2.root.json", "/metadata/timestamp.json")
	publish("a/file", "two")
	client(exitDone, download...)
	order("/metadata/2.root.json", "/metadata/timestamp.json", "/metadata/3.snapshot.json", "/metadata/3.targets.json", "/targets/")
	list, err := os.ReadDir(got)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if b, _ := os.ReadFile(filepath.Join(got, list[0].Name())); string(b) != "two" {
		t.Errorf("%s has %q", list[0].Name(), b)
	}
	download[1] = "no/file"
	client(exitError, download...)
	if err := os.WriteFile(filepath.Join(norra, "public/metadata/timestamp.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	client(exitError, "refresh")

	// A site is brought up to date over the same server.
	site := filepath.Join(dir, "site")
	if code, text := call("patch", "import", "--site", site, "--trust", "hospital="+filepath.Join(norra, "public/metadata/1.root.json"), "hospital="+server.URL); code != exitError || !strings.Contains(text, "hospital: timestamp is malformed") {
		t.Errorf("exit %d: %s", code, text)
	}
	if code, text := call("patch", "publish", norra); code != exitError || !strings.Contains(text, "malformed") {
		t.Errorf("exit %d: %s", code, text)
	}
}
