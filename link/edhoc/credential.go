// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto/ecdh"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// MaxCredential is how many bytes a CRED_x may have. A certificate with a P-384
// key and a few extensions has one thousand.
const MaxCredential = 2048

// ErrCredential is wrapped by the errors for a credential that is malformed, or
// whose key is not one for this method and suite.
var ErrCredential = errors.New("edhoc: credential")

// ErrValidity is returned for a credential before or after the times that it
// states.
var ErrValidity = errors.New("edhoc: credential outside of its validity")

// Claims (RFC 8392 section 4, RFC 8747 section 3).
const (
	claimSub = 2
	claimExp = 4
	claimNbf = 5
	claimCnf = 8

	cnfCOSEKey = 1
	tagCWT     = 61
)

// A Credential is a CRED_x, the public key in it, and how it is referred to. It
// does not change once made, so that any number of handshakes may share it.
type Credential struct {
	cred []byte // CRED_x, one CBOR item
	id   []byte // ID_CRED_x, a header map
	wire []byte // ID_CRED_x as a plaintext has it

	key  cose.Key
	dh   *public // nil for a key that only signs
	der  []byte  // of an X.509 certificate
	cert *x509.Certificate
	cwt  bool
	sub  string

	notBefore, notAfter time.Time // zero: not said
}

// Bytes is CRED_x: a claims set, an untagged CWT, or a certificate as a byte
// string. The caller must not change it.
func (c *Credential) Bytes() []byte { return c.cred }

// ID is ID_CRED_x, a CBOR header map. The caller must not change it.
func (c *Credential) ID() []byte { return c.id }

// Key is the public key.
func (c *Credential) Key() cose.Key { return c.key }

// Subject is the claim "sub" of a claims set or token, or the common name of a
// certificate, or empty. Of a body-worn device it is patient data.
func (c *Credential) Subject() string { return c.sub }

// Certificate is the X.509 certificate, or nil.
func (c *Credential) Certificate() *x509.Certificate { return c.cert }

// ValidAt is [ErrValidity] when the credential says that it is not valid at that
// time. One that says nothing is valid.
func (c *Credential) ValidAt(now time.Time) error {
	if !c.notBefore.IsZero() && now.Before(c.notBefore) || !c.notAfter.IsZero() && now.After(c.notAfter) {
		return ErrValidity
	}
	return nil
}

func badCredential(err error) error { return fmt.Errorf("%w: %w", ErrCredential, err) }

var (
	errLong     = errors.New("too long")
	errNoKey    = errors.New("no COSE_Key in a cnf claim")
	errNotCWT   = errors.New("not a signed or authenticated CWT")
	errKeyKind  = errors.New("key of an unsupported kind")
	errKeyUsage = errors.New("key usage forbids it")
	errWrongKey = errors.New("key of another curve than the suite's")
	errMismatch = errors.New("private key of another credential")
	errNotX509  = errors.New("x5t, x5u and x5chain are for X.509 certificates")
)

// ParseCCS reads a CWT claims set with a COSE_Key in its cnf claim, which is how
// raw public keys are dressed (RFC 9528 section 3.5.2). It goes by the key's kid
// when it has one, else by value. It keeps a copy of b.
func ParseCCS(b []byte) (*Credential, error) {
	c := &Credential{cred: bytes.Clone(b)}
	if err := c.readClaims(c.cred); err != nil {
		return nil, badCredential(err)
	}
	if c.key.ID != nil && len(c.key.ID) <= MaxKID {
		c.refer(idKID(c.key.ID))
	} else {
		c.refer(idValue(labelKCCS, c.cred))
	}
	return c, nil
}

// NewCCS makes the claims set of a public key and, unless it is empty, a subject.
// It goes by kid, which stands in the key too; nil sends it by value.
func NewCCS(key cose.Key, subject string, kid []byte) (*Credential, error) {
	var b []byte
	if subject == "" {
		b = cbor.AppendMap(b, 1)
	} else {
		b = cbor.AppendText(cbor.AppendUint(cbor.AppendMap(b, 2), claimSub), subject)
	}
	b = cbor.AppendMap(cbor.AppendUint(b, claimCnf), 1)
	b = cbor.AppendUint(b, cnfCOSEKey)
	key = key.Public()
	key.ID = kid
	b = key.AppendPublic(b)
	return ParseCCS(b)
}

// ParseCWT reads a CWT that is signed or has a MAC, with or without its tags. Who
// issued it is for the caller to verify: this reads what it says. It goes by the
// key's kid when it has one, else by value. It keeps a copy of b.
func ParseCWT(b []byte) (*Credential, error) {
	c := &Credential{cwt: true}
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, badCredential(err)
	}
	for range 2 { // 61 and COSE's own; CRED_x is the CWT without (RFC 9528 section 3.5.2)
		if r.Next() == cbor.Tag {
			switch r.Tag() {
			case tagCWT, 17, 18:
			default:
				return nil, badCredential(errNotCWT)
			}
		}
	}
	c.cred = bytes.Clone(r.Rest())
	r, err = cbor.Parse(c.cred)
	if err != nil {
		return nil, badCredential(err)
	}
	if r.Next() != cbor.Array || r.Array() != 4 {
		return nil, badCredential(errNotCWT)
	}
	r.Bytes() // protected
	if r.Next() != cbor.Map {
		return nil, badCredential(errNotCWT)
	}
	r.Raw() // unprotected
	claims := r.Bytes()
	r.Bytes() // signature or tag
	if err := r.Done(); err != nil {
		return nil, badCredential(err)
	}
	if err := c.readClaims(claims); err != nil {
		return nil, badCredential(err)
	}
	if c.key.ID != nil && len(c.key.ID) <= MaxKID {
		c.refer(idKID(c.key.ID))
	} else {
		c.refer(idValue(labelKCWT, c.cred))
	}
	return c, nil
}

func (c *Credential) readClaims(b []byte) error {
	if len(c.cred) > MaxCredential {
		return errLong
	}
	r, err := cbor.Parse(b)
	if err != nil {
		return err
	}
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		if k := r.Next(); k != cbor.Uint && k != cbor.NegInt {
			r.Raw()
			r.Raw()
			continue
		}
		switch r.Int() {
		case claimSub:
			c.sub = r.Text()
		case claimExp:
			c.notAfter = readDate(&r)
		case claimNbf:
			c.notBefore = readDate(&r)
		case claimCnf:
			if err := c.readCnf(&r); err != nil {
				return err
			}
		default:
			r.Raw()
		}
	}
	if err := r.Done(); err != nil {
		return err
	}
	if c.key.X == nil {
		return errNoKey
	}
	return c.usable()
}

// readDate reads a NumericDate: seconds, which may have a fraction.
func readDate(r *cbor.Reader) time.Time {
	if r.Next() == cbor.Float {
		return time.Unix(int64(r.Float()), 0)
	}
	return time.Unix(r.Int(), 0)
}

func (c *Credential) readCnf(r *cbor.Reader) error {
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		if r.Next() != cbor.Uint || r.Int() != cnfCOSEKey {
			return errNoKey // another kind of confirmation is not understood
		}
		b := r.Raw()
		key, err := cose.ParseKey(b)
		if err != nil {
			var ok bool
			if key, ok = parseKey448(b); !ok {
				return err
			}
		}
		c.key = key
	}
	return r.Err()
}

// parseKey448 reads a public key of X448 or Ed448, which package cose does not compute
// with and so does not read.
func parseKey448(b []byte) (cose.Key, bool) {
	var k cose.Key
	r, err := cbor.Parse(b)
	if err != nil {
		return k, false
	}
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		switch r.Int() {
		case 1:
			k.Type = cose.KeyType(r.Int())
		case 2:
			k.ID = bytes.Clone(r.Bytes())
		case -1:
			k.Curve = cose.Curve(r.Int())
		case -2:
			k.X = bytes.Clone(r.Bytes())
		default:
			return k, false
		}
	}
	return k, r.Done() == nil && k.Type == cose.OKP && (k.Curve == cose.X448 || k.Curve == cose.CurveEd448)
}

// usable makes the key ready once, so that no handshake has to.
func (c *Credential) usable() error {
	c.key = c.key.Public()
	switch c.key.Curve {
	case cose.X25519, cose.P256, cose.P384:
		pub, err := c.key.PublicECDH()
		if err == nil {
			c.dh = &public{key: pub}
		} else if c.key.Curve == cose.X25519 {
			return err
		}
	case cose.X448:
		pub, err := (&suite{curve: cose.X448}).toPoint(c.key.X)
		if err != nil {
			return err
		}
		c.dh = pub
	case cose.CurveEd25519:
	case cose.CurveEd448:
		if len(c.key.X) != ed448.PublicKeySize {
			return errLength
		}
	default:
		return errKeyKind
	}
	return nil
}

// ParseX509 reads a DER certificate. It goes by x5t, with SHA-256 cut to 64 bits as
// RFC 9528 section 9.3 recommends. Its chain is for the caller to verify.
func ParseX509(der []byte) (*Credential, error) {
	if len(der) > MaxCredential-3 {
		return nil, badCredential(errLong)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, badCredential(err)
	}
	c := &Credential{
		der: cert.Raw, cert: cert, sub: cert.Subject.CommonName,
		cred:      cbor.AppendBytes(nil, cert.Raw), // RFC 9528 section 3.5.2
		notBefore: cert.NotBefore, notAfter: cert.NotAfter,
	}
	// ParseCertificate leaves keys out that do not sign: X25519.
	pub, err := x509.ParsePKIXPublicKey(cert.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, badCredential(err)
	}
	if dh, ok := pub.(*ecdh.PublicKey); ok {
		c.key, err = cose.NewECDHKey(dh)
	} else {
		c.key, err = cose.NewSignatureKey(pub)
	}
	if err != nil {
		return nil, badCredential(err)
	}
	if err := c.usable(); err != nil {
		return nil, badCredential(err)
	}
	c.refer(idX5T(cose.SHA256_64, cert.Raw))
	return c, nil
}

// refer sets ID_CRED_x, and its compact form where there is one.
func (c *Credential) refer(id []byte) {
	c.id, c.wire = id, id
	if r, err := cbor.Parse(id); err == nil && r.Map() == 1 && r.Next() == cbor.Uint && r.Uint() == labelKID {
		c.wire = appendIdentifier(nil, r.Bytes()) // RFC 9528 section 3.5.3.2
	}
}

func idValue(label uint64, item []byte) []byte {
	return append(cbor.AppendUint(cbor.AppendMap(nil, 1), label), item...)
}

func idX5T(a cose.Algorithm, der []byte) []byte {
	b := cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(nil, 1), labelX5T), 2)
	return cbor.AppendBytes(cbor.AppendInt(b, int64(a)), certHash(a, der))
}

func (c *Credential) by(id []byte) *Credential {
	d := *c
	d.refer(id)
	return &d
}

// ByKID returns the credential with a key identifier to go by. Any credential may
// go by one that both sides know.
func (c *Credential) ByKID(kid []byte) (*Credential, error) {
	if len(kid) > MaxKID {
		return nil, badCredential(errKID)
	}
	return c.by(idKID(kid)), nil
}

// ByValue returns the credential sent whole: as kccs, kcwt, or as x5chain with the
// DER certificates of the authorities behind it, if any are given.
func (c *Credential) ByValue(chain ...[]byte) (*Credential, error) {
	switch {
	case c.der == nil && len(chain) > 0:
		return nil, badCredential(errNotX509)
	case c.der == nil && c.cwt:
		return c.by(idValue(labelKCWT, c.cred)), nil
	case c.der == nil:
		return c.by(idValue(labelKCCS, c.cred)), nil
	case len(chain) >= MaxChain:
		return nil, badCredential(errChain)
	case len(chain) == 0:
		return c.by(idValue(labelX5Chain, c.cred)), nil
	}
	b := cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(nil, 1), labelX5Chain), 1+len(chain))
	b = append(b, c.cred...)
	for _, der := range chain {
		b = cbor.AppendBytes(b, der)
	}
	if len(b) > MaxCredential {
		return nil, badCredential(errLong)
	}
	return c.by(b), nil
}

// ByHash returns the certificate with x5t to go by, its hash made by SHA-256/64,
// SHA-256, SHA-384 or SHA-512.
func (c *Credential) ByHash(a cose.Algorithm) (*Credential, error) {
	if c.der == nil || certHash(a, nil) == nil {
		return nil, badCredential(errNotX509)
	}
	return c.by(idX5T(a, c.der)), nil
}

// ByURI returns the certificate with x5u to go by.
func (c *Credential) ByURI(uri string) (*Credential, error) {
	if c.der == nil {
		return nil, badCredential(errNotX509)
	}
	if len(uri) > MaxCredential {
		return nil, badCredential(errLong)
	}
	b := cbor.AppendTag(cbor.AppendUint(cbor.AppendMap(nil, 1), labelX5U), tagURI)
	return c.by(cbor.AppendText(b, uri)), nil
}

// Credential reads the credential that an identifier carries. That somebody sent
// it is no reason to trust it. It is nil when the identifier is a reference.
func (id *ID) Credential() (*Credential, error) {
	var c *Credential
	var err error
	switch {
	case id.KCCS != nil:
		c, err = ParseCCS(id.KCCS)
	case id.KCWT != nil:
		c, err = ParseCWT(id.KCWT)
	case id.certs > 0:
		c, err = ParseX509(id.chain[0])
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.by(bytes.Clone(id.raw)), nil
}

// names reports whether an identifier may stand for the credential.
func (c *Credential) names(id *ID) bool {
	switch {
	case bytes.Equal(id.raw, c.id):
		return true
	case id.KCCS != nil:
		return bytes.Equal(id.KCCS, c.cred)
	case id.KCWT != nil:
		return c.cwt && bytes.HasSuffix(id.KCWT, c.cred) // with or without tags
	case id.certs > 0:
		return c.der != nil && bytes.Equal(id.chain[0], c.der)
	case id.X5T.Hash != nil:
		return c.der != nil && id.X5T.matches(c.der)
	}
	return false
}

// same reports whether two credentials have one key, whatever else they say.
func (c *Credential) same(d *Credential) bool {
	return c.key.Curve == d.key.Curve && bytes.Equal(c.key.X, d.key.X)
}

// fits checks that the key is one that proves a party's identity in this suite,
// by signature or by Diffie-Hellman (RFC 9528 section 3.5.1).
func (c *Credential) fits(s *suite, signs bool) error {
	want, usage := s.curve, x509.KeyUsageKeyAgreement
	if signs {
		want, usage = s.signCurve(), x509.KeyUsageDigitalSignature
	}
	if c.key.Curve != want {
		return badCredential(errWrongKey)
	}
	if !signs && c.dh == nil {
		return badCredential(errKeyUsage)
	}
	if c.cert != nil && c.cert.KeyUsage != 0 && c.cert.KeyUsage&usage == 0 {
		return badCredential(errKeyUsage)
	}
	return nil
}
