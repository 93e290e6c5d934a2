// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package testpki is a certificate authority for tests, drills and simulated peers: P-256
// keys, valid for a day from an hour ago, of the machine's chance. Nobody trusts it
// who was not given it.
//
// This API follows the server and may change.
package testpki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// An Authority gives out certificates. Several goroutines may use it.
type Authority struct {
	own tls.Certificate // with its Leaf
}

// New makes an authority.
func New(name string) (*Authority, error) {
	own, err := certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return &Authority{own}, err
}

// Pool has the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.own.Leaf)
	return pool
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return block("CERTIFICATE", a.own.Certificate[0]) }

// Issue makes a certificate for a DNS name, or for an IP address, of a client and server.
func (a *Authority) Issue(name string) (tls.Certificate, error) { return certificate(leaf(name), a) }

// SelfSigned makes one that nobody vouches for.
func SelfSigned(name string) (tls.Certificate, error) { return certificate(leaf(name), nil) }

func leaf(name string) *x509.Certificate {
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	return c
}

// certificate makes a key, and the certificate of it that an authority signs, or, where there is none, itself.
func certificate(c *x509.Certificate, by *Authority) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(24*time.Hour)
	parent, signer := c, any(key)
	if by != nil {
		parent, signer = by.own.Leaf, by.own.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	made, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: made}, err
}

// PEM is a certificate and its key as files have them.
func PEM(c tls.Certificate) (cert, key []byte, err error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	return block("CERTIFICATE", c.Certificate[0]), block("PRIVATE KEY", pkcs8), nil
}

func block(kind string, b []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
}
