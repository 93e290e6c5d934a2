// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/proto/tls"
	"github.com/myelin-health/myelin/wire"
)

// certificate makes a certificate for key, signed by issuer, or by itself when
// issuer is nil.
func certificate(t testing.TB, subject string, key crypto.Signer, issuer string, issuerKey crypto.Signer, notAfter time.Time) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{Organization: []string{"St. Ada Hospital"}, CommonName: subject},
		NotBefore:    time.Date(2026, 3, 3, 6, 0, 0, 0, time.UTC),
		NotAfter:     notAfter,
		DNSNames:     []string{subject, "second." + subject},
	}
	parent := template
	if issuer != subject {
		parent = &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ExampleParseCertificate() {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"pacs.ada.example"}, NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	cert, err := tls.ParseCertificate(der)
	fmt.Printf("%s %d %v %v\n", cert.DNSName, cert.NotAfter, cert.IsSelfSigned(), err)
	// Output: pacs.ada.example 1798761600 true <nil>
}

func TestCertificate(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p256 := ecKey(t, elliptic.P256())
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	soon, late := time.Date(2026, 3, 3, 7, 0, 0, 0, time.UTC), time.Date(2061, 12, 31, 23, 59, 59, 0, time.UTC)
	tests := []struct {
		der        []byte
		bits       int
		weakKey    bool
		selfSigned bool
	}{
		{certificate(t, "pacs.ada", weak, "pacs.ada", weak, soon), 1024, true, true},
		{certificate(t, "pacs.ada", p256, "pacs.ada", p256, late), 256, false, true}, // a GeneralizedTime
		{certificate(t, "pacs.ada", ecKey(t, elliptic.P224()), "ca.ada", p256, late), 224, false, false},
		{certificate(t, "pacs.ada", ecKey(t, elliptic.P521()), "ca.ada", p256, late), 521, false, false},
		{certificate(t, "pacs.ada", ed, "ca.ada", p256, soon), 256, false, false},
		{certificate(t, "pacs.ada", p256, "ca.ada", weak, soon), 256, false, false},
	}
	for i, tt := range tests {
		cert, err := tls.ParseCertificate(tt.der)
		if err != nil {
			t.Fatal(i, err)
		}
		oracle, err := x509.ParseCertificate(tt.der)
		if err != nil {
			t.Fatal(i, err)
		}
		if cert.NotBefore != oracle.NotBefore.Unix() || cert.NotAfter != oracle.NotAfter.Unix() ||
			string(cert.CommonName) != oracle.Subject.CommonName || string(cert.DNSName) != oracle.DNSNames[0] {
			t.Errorf("%d: %+v", i, cert)
		}
		if cert.KeyBits != tt.bits || cert.WeakKey != tt.weakKey || cert.IsSelfSigned() != tt.selfSigned || cert.WeakHash {
			t.Errorf("%d: bits %d, weak %v, self-signed %v", i, cert.KeyBits, cert.WeakKey, cert.IsSelfSigned())
		}
		for n := range tt.der {
			if _, err := tls.ParseCertificate(tt.der[:n]); !errors.Is(err, wire.ErrTruncated) {
				t.Fatalf("%d bytes of a certificate: %v", n, err)
			}
		}
		if _, err := tls.ParseCertificate(append(slices.Clone(tt.der), 0)); !errors.Is(err, wire.ErrTrailing) {
			t.Error(err)
		}
	}

	// One that names itself its issuer, and is signed by another key.
	der := certificate(t, "pacs.ada", p256, "pacs.ada", p256, late)
	der[len(der)-1] ^= 1
	if cert, err := tls.ParseCertificate(der); err != nil || !cert.SelfIssued || cert.IsSelfSigned() {
		t.Errorf("%+v, %v", cert, err)
	}
	// What Go refuses, and old devices show: a serial number below zero.
	der = certificate(t, "pacs.ada", p256, "pacs.ada", p256, late)
	der = bytes.Replace(der, []byte{0x02, 1, 7}, []byte{0x02, 1, 0x87}, 1)
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Error("crypto/x509 reads a serial number below zero now")
	}
	if cert, err := tls.ParseCertificate(der); err != nil || string(cert.CommonName) != "pacs.ada" || !cert.IsSelfSigned() {
		t.Errorf("%+v, %v", cert, err)
	}
	// The object identifier of ecdsa-with-SHA256 becomes that of SHA1.
	sha256OID, sha1OID := []byte("\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"), []byte("\x06\x07\x2a\x86\x48\xce\x3d\x04\x01")
	if der = certificate(t, "pacs.ada", p256, "ca.ada", p256, late); bytes.Count(der, sha256OID) != 2 {
		t.Fatal("expected two algorithm identifiers")
	}
	i := bytes.LastIndex(der, sha256OID)
	der = slices.Concat(der[:i], sha1OID, der[i+len(sha256OID):])
	der[i-1]-- // length of AlgorithmIdentifier
	n := int(der[2])<<8 | int(der[3]) - 1
	der[2], der[3] = byte(n>>8), byte(n)
	if cert, err := tls.ParseCertificate(der); err != nil || !cert.WeakHash {
		t.Errorf("%+v, %v", cert, err)
	}
}

func TestCertificateTime(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	der := certificate(t, "pacs.ada", key, "pacs.ada", key, time.Date(2027, 2, 28, 1, 2, 3, 0, time.UTC))
	i := bytes.Index(der, []byte("270228010203Z"))
	tests := []struct {
		in   string
		want time.Time // zero: refused
	}{
		{"490101000000Z", time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"500101000000Z", time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)}, // RFC 5280 section 4.1.2.5.1
		{"240229235959Z", time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)},
		{"000301000000Z", time.Date(2000, 3, 1, 0, 0, 0, 0, time.UTC)},
		{"991231235959Z", time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{"271301010203Z", time.Time{}},
		{"270028010203Z", time.Time{}},
		{"270200010203Z", time.Time{}},
		{"270232010203Z", time.Time{}},
		{"270228240203Z", time.Time{}},
		{"270228016003Z", time.Time{}},
		{"2702280102031", time.Time{}},
		{"27022801020xZ", time.Time{}},
	}
	for _, tt := range tests {
		copy(der[i:], tt.in)
		cert, err := tls.ParseCertificate(der)
		if tt.want.IsZero() != errors.Is(err, wire.ErrInvalid) || !tt.want.IsZero() && cert.NotAfter != tt.want.Unix() {
			t.Errorf("%s: %d, %v; want %d", tt.in, cert.NotAfter, err, tt.want.Unix())
		}
	}
}

func TestCertificateAllocs(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	der := certificate(t, "pacs.ada", key, "ca.ada", key, time.Now())
	if n := testing.AllocsPerRun(100, func() {
		if cert, err := tls.ParseCertificate(der); err != nil || cert.IsSelfSigned() {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a certificate", n)
	}
}

func FuzzParseCertificate(f *testing.F) {
	key := ecKey(f, elliptic.P256())
	f.Add(certificate(f, "pacs.ada", key, "pacs.ada", key, time.Date(2061, 1, 1, 0, 0, 0, 0, time.UTC)))
	f.Add(certificate(f, "pacs.ada", key, "ca.ada", key, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)))
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := tls.ParseCertificate(der)
		again, _ := tls.ParseCertificate(der)
		if !bytes.Equal(cert.DNSName, again.DNSName) || cert.NotAfter != again.NotAfter || cert.KeyBits != again.KeyBits {
			t.Fatal("two answers")
		}
		if !bytes.Contains(der, cert.DNSName) || cap(cert.DNSName) != len(cert.DNSName) {
			t.Fatal("name is not part of the input")
		}
		if err != nil {
			return
		}
		// What crypto/x509 reads as well it reads the same way.
		oracle, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if cert.NotAfter != oracle.NotAfter.Unix() || cert.NotBefore != oracle.NotBefore.Unix() ||
			cert.SelfIssued != bytes.Equal(oracle.RawIssuer, oracle.RawSubject) {
			t.Fatalf("%+v", cert)
		}
	})
}

func BenchmarkParseCertificate(b *testing.B) {
	key := ecKey(b, elliptic.P256())
	der := certificate(b, "pacs.ada", key, "ca.ada", key, time.Now())
	b.SetBytes(int64(len(der)))
	b.ReportAllocs()
	for b.Loop() {
		tls.ParseCertificate(der)
	}
}
