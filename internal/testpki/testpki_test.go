// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package testpki

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

// TestIssue holds that a certificate is of its authority and its name, and of no other.
func TestIssue(t *testing.T) {
	a, err := New("one")
	if err != nil {
		t.Fatal(err)
	}
	b, err := New("another")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pacs.example", "127.0.0.1"} {
		c, err := a.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name, KeyUsages: both}); err != nil {
			t.Error(err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: b.Pool()}); err == nil {
			t.Errorf("%s: of an authority that did not issue it", name)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: "ris.example"}); err == nil {
			t.Errorf("%s: of a name that is not its own", name)
		}
		cert, key, err := PEM(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			t.Error(err)
		}
	}
	c, err := SelfSigned("cloud.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool()}); err == nil {
		t.Error("nobody signed it, and it is believed")
	}
}
