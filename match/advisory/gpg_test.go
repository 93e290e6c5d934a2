// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGnuPG checks what GnuPG signs and coreutils hash, as publishers do.
func TestGnuPG(t *testing.T) {
	for _, tool := range []string{"gpg", "sha256sum", "sha512sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	home, err := os.MkdirTemp("", "gpg") // short: the agent's socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) []byte {
		t.Helper()
		c := exec.Command(name, args...)
		c.Env = append(os.Environ(), "GNUPGHOME="+home, "LC_ALL=C")
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, stderr.Bytes())
		}
		return out
	}
	t.Cleanup(func() {
		c := exec.Command("gpgconf", "--kill", "gpg-agent")
		c.Env = append(os.Environ(), "GNUPGHOME="+home)
		_ = c.Run()
		_ = os.RemoveAll(home)
	})
	doc := sample(t)
	file := filepath.Join(t.TempDir(), "pm-2026-01.json")
	if err := os.WriteFile(file, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	sum256, sum512 := run("sha256sum", file), run("sha512sum", file)
	for _, algorithm := range []string{"ed25519", "rsa2048", "nistp256"} {
		user := algorithm + "@maker.example"
		run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", user, algorithm, "sign", "never")
		sig := run("gpg", "--batch", "--quiet", "--armor", "--local-user", user, "--output", "-", "--detach-sign", file)
		keys := &Keyring{}
		if err := keys.Add(bytes.NewReader(run("gpg", "--batch", "--armor", "--export", user))); err != nil {
			t.Fatal(err)
		}
		got := Verify(doc, sig, sum256, sum512, keys)
		if got.Signature != Good || got.SHA256 != Good || got.SHA512 != Good || len(got.Signer) != 40 {
			t.Errorf("%s: %+v", algorithm, got)
		}
		if got := Verify(append(doc[:len(doc):len(doc)], '\n'), sig, sum256, sum512, keys); got.Signature != Bad || got.SHA256 != Bad || got.SHA512 != Bad {
			t.Errorf("%s, one byte more: %+v", algorithm, got)
		}
	}
}
