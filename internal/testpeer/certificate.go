// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"

	"github.com/myelin-health/myelin/internal/testpki"
)

// Certificate makes a key and a certificate that it signs itself, for
// pacs.example, and returns the names of their PEM files.
func Certificate(t TB) (cert, key string) {
	t.Helper()
	c, err := testpki.SelfSigned("pacs.example")
	if err != nil {
		t.Fatal(err)
	}
	return files(t, t.TempDir(), c)
}

// files writes a certificate and its key.
func files(t TB, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	certPEM, keyPEM, err := testpki.PEM(c)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, "cert.pem", certPEM), write(t, dir, "key.pem", keyPEM)
}

func write(t TB, dir, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An Authority issues certificates to both sides of a test.
type Authority struct{ a *testpki.Authority }

// NewAuthority makes one.
func NewAuthority(t TB) *Authority {
	t.Helper()
	a, err := testpki.New("ada.example authority")
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{a}
}

// Pool has the authority alone.
func (a *Authority) Pool() *x509.CertPool { return a.a.Pool() }

// PEM is its certificate.
func (a *Authority) PEM() []byte { return a.a.PEM() }

// Issue makes a certificate for a name, or for an IP address, of a client and server.
func (a *Authority) Issue(t TB, name string) tls.Certificate {
	t.Helper()
	c, err := a.a.Issue(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Files writes what Issue makes, and the authority, as PEM files, and returns their names.
func (a *Authority) Files(t TB, name string) (cert, key, authority string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = files(t, dir, a.Issue(t, name))
	return cert, key, write(t, dir, "authority.pem", a.PEM())
}
