// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// How long certificates hold. A sensor renews its own when a third of the time is left.
const (
	authorityYears = 20
	sensorTime     = 365 * 24 * time.Hour
	ServerTime     = 365 * 24 * time.Hour // of a server's certificate
	clockSkew      = time.Hour
)

// An Authority issues certificates to sensors and to the server that they talk to. It is
// this server's own, or that of the servers that share its two files.
type Authority struct {
	now  func() time.Time
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

// OpenAuthority reads ca.pem and ca.key in a folder, or makes them. now nil is the machine's clock.
func OpenAuthority(dir string, now func() time.Time) (*Authority, error) {
	if now == nil {
		now = time.Now
	}
	a := &Authority{now: now}
	key, err := keyOf(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	a.key = key
	file := filepath.Join(dir, "ca.pem")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		template := &x509.Certificate{
			Subject:   pkix.Name{CommonName: "Myelin " + pin(key.Public())[:8]},
			NotBefore: now().Add(-clockSkew), NotAfter: now().AddDate(authorityYears, 0, 0),
			IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		}
		var der []byte
		if der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err == nil {
			b = pemOf("CERTIFICATE", der)
			err = writeFile(file, b)
		}
	}
	if err != nil {
		return nil, err
	}
	if a.cert, err = certificateOf(b); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if pin(a.cert.PublicKey) != pin(key.Public()) {
		return nil, fmt.Errorf("%s: ca.key is the key of another", file)
	}
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	return a, nil
}

// Certificate returns the authority's own certificate, in PEM.
func (a *Authority) Certificate() []byte { return pemOf("CERTIFICATE", a.cert.Raw) }

// Pin is what a sensor knows the authority by: 128 bits of SHA-256 over its public key.
func (a *Authority) Pin() string { return pin(a.cert.PublicKey)[:32] }

// Issued reports whether a certificate is from this authority.
func (a *Authority) Issued(c *x509.Certificate) bool { return c.CheckSignatureFrom(a.cert) == nil }

// Server issues a certificate with a key for names and addresses of a server, in PEM:
// the certificate, and the authority's own behind it, which sensors ask for.
func (a *Authority) Server(hosts ...string) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "Myelin"}, NotAfter: a.now().Add(ServerTime), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := a.issue(template, k.Public())
	if err != nil {
		return nil, nil, err
	}
	if key, err = keyPEM(k); err != nil {
		return nil, nil, err
	}
	return append(pemOf("CERTIFICATE", der), a.Certificate()...), key, nil
}

// sensor issues a certificate to a sensor.
func (a *Authority) sensor(id string, key crypto.PublicKey) ([]byte, error) {
	der, err := a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: id}, NotAfter: a.now().Add(sensorTime), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key)
	return pemOf("CERTIFICATE", der), err
}

func (a *Authority) issue(c *x509.Certificate, key crypto.PublicKey) ([]byte, error) {
	c.NotBefore, c.BasicConstraintsValid, c.KeyUsage = a.now().Add(-clockSkew), true, x509.KeyUsageDigitalSignature
	return x509.CreateCertificate(rand.Reader, c, a.cert, key, a.key)
}

// Ask lets a TLS server ask for the certificates of sensors. A browser, which has none
// of this authority, is not asked anything. Who shows one, is looked at request by request.
func (a *Authority) Ask(c *tls.Config) {
	c.ClientAuth, c.ClientCAs = tls.RequestClientCert, a.pool
}

// pin is the fingerprint of a public key: SHA-256 over its DER, in hexadecimal.
func pin(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "" // of no kind that we take
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// taken reports whether a key is of a kind that sensors have.
func taken(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return true
	}
	return false
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func certificateOf(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("there is no certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

func keyPEM(k crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	return pemOf("PRIVATE KEY", der), err
}

// keyOf reads a private key, or makes one that nobody else can read.
func keyOf(file string) (crypto.Signer, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if b, err = keyPEM(k); err != nil {
			return nil, err
		}
		return k, writeFile(file, b)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: there is no key in it", file)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: it is no key to sign with", file)
	}
	return s, nil
}

// writeFile writes a file whole, or leaves what was there. It is durable on return.
func writeFile(file string, parts ...[]byte) error {
	name := file + ".new"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err = f.Write(p); err != nil {
			break
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		if err = os.Rename(name, file); err == nil {
			return syncFolder(filepath.Dir(file))
		}
	}
	return errors.Join(err, os.Remove(name))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
