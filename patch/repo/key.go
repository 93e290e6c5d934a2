// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A Key signs metadata, or verifies it if it is the public half. It is Ed25519, or
// ECDSA with P-256.
type Key struct {
	ID string // the TUF key id: the SHA-256 of its canonical form, in hexadecimal

	public *metadata.Key
	signer crypto.Signer // nil in the public half
}

// Private keys in files are PEM: PKCS #8 as it is, or in the encryption of
// go-securesystemslib (scrypt and NaCl's secretbox), which cosign reads, too.
const (
	pemPublic    = "PUBLIC KEY"
	pemPrivate   = "PRIVATE KEY"
	pemEncrypted = "ENCRYPTED SIGSTORE PRIVATE KEY"
)

// What may be wrong with the file of a key.
var (
	ErrKey        = errors.New("not a key of Ed25519 or P-256 in PEM")
	ErrPassphrase = errors.New("the passphrase does not open this key")
)

// GenerateKey makes a key of Ed25519.
func GenerateKey() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newKey(private)
}

func newKey(signer crypto.Signer) (*Key, error) {
	k, err := publicKey(signer.Public())
	if err == nil {
		k.signer = signer
	}
	return k, err
}

func publicKey(p crypto.PublicKey) (*Key, error) {
	switch p := p.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return nil, ErrKey
		}
	default:
		return nil, ErrKey
	}
	m, err := metadata.KeyFromPublicKey(p)
	if err != nil {
		return nil, err
	}
	id, err := m.ID()
	return &Key{ID: id, public: m}, err
}

// ParseKey reads a key from PEM. Passphrase is asked for one that is encrypted; nil
// is nobody to ask.
func ParseKey(b []byte, passphrase func() ([]byte, error)) (*Key, error) {
	p, rest := pem.Decode(b)
	if p == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, ErrKey
	}
	der := p.Bytes
	switch p.Type {
	case pemPublic:
		public, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, ErrKey
		}
		return publicKey(public)
	case pemPrivate:
	case pemEncrypted:
		if passphrase == nil {
			return nil, ErrPassphrase
		}
		secret, err := passphrase()
		if err != nil {
			return nil, err
		}
		if der, err = encrypted.Decrypt(der, secret); err != nil {
			return nil, ErrPassphrase
		}
	default:
		return nil, ErrKey
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, ErrKey
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, ErrKey
	}
	return newKey(signer)
}

// AppendPublic appends the public half as PEM.
func (k *Key) AppendPublic(dst []byte) ([]byte, error) {
	public, err := k.public.ToPublicKey()
	if err != nil {
		return dst, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return dst, err
	}
	return append(dst, pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der})...), nil
}

// AppendPrivate appends the private key as PEM, encrypted unless the passphrase is
// nil. The key derivation takes 64 MiB and some tenths of a second.
func (k *Key) AppendPrivate(dst, passphrase []byte) ([]byte, error) {
	if k.signer == nil {
		return dst, errors.New("the public half of a key has no private one")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return dst, err
	}
	block := &pem.Block{Type: pemPrivate, Bytes: der}
	if passphrase != nil {
		block.Type = pemEncrypted
		if block.Bytes, err = encrypted.EncryptWithCustomKDFParameters(der, passphrase, encrypted.Standard); err != nil {
			return dst, err
		}
	}
	return append(dst, pem.EncodeToMemory(block)...), nil
}

// Public is the public half.
func (k *Key) Public() *Key { return &Key{ID: k.ID, public: k.public} }

// signs returns the key as go-tuf signs with it.
func (k *Key) signs() (signature.Signer, error) {
	switch s := k.signer.(type) {
	case ed25519.PrivateKey:
		return signature.LoadED25519Signer(s)
	case *ecdsa.PrivateKey:
		return signature.LoadECDSASigner(s, crypto.SHA256)
	}
	return nil, fmt.Errorf("key %s: only its public half is here", k.ID)
}

// String is the key's id: nothing that is secret.
func (k *Key) String() string               { return k.ID }
func (k *Key) Format(f fmt.State, _ rune)   { fmt.Fprint(f, k.ID) }
func (k *Key) LogValue() slog.Value         { return slog.StringValue(k.ID) }
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.ID), nil }
