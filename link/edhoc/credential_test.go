// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

// newCertificate issues a certificate for a public key.
func newCertificate(t testing.TB, name string, public crypto.PublicKey, usage x509.KeyUsage) []byte {
	t.Helper()
	ca := ed25519.NewKeyFromSeed(make([]byte, 32))
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, KeyUsage: usage,
		NotBefore: time.Unix(1000, 0), NotAfter: time.Unix(2000, 0),
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}}
	x25519, ok := public.(*ecdh.PublicKey)
	if ok { // which CreateCertificate does not write: the number of Ed25519 is two more
		public = ed25519.PublicKey(x25519.Bytes())
	}
	der, err := x509.CreateCertificate(nil, cert, issuer, public, ca)
	if err != nil {
		t.Fatal(err)
	}
	if ok {
		der = bytes.Replace(der, []byte("\x2b\x65\x70\x03\x21\x00"), []byte("\x2b\x65\x6e\x03\x21\x00"), 1)
	}
	return der
}

// publicKey is a key as package x509 has it.
func publicKey(t testing.TB, k cose.Key) crypto.PublicKey {
	t.Helper()
	switch k.Curve {
	case cose.CurveEd25519:
		return ed25519.PublicKey(k.X)
	case cose.X25519:
		p, err := k.PublicECDH()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	c := map[cose.Curve]elliptic.Curve{cose.P256: elliptic.P256(), cose.P384: elliptic.P384()}[k.Curve]
	p, err := ecdsa.ParseUncompressedPublicKey(c, append(append([]byte{4}, k.X...), k.Y...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newCWT is a CWT in the form of a COSE_Sign1, whose signature nobody here checks.
func newCWT(k cose.Key, tags ...uint64) []byte {
	claims := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), claimSub), "pump")
	claims = cbor.AppendUint(cbor.AppendMap(cbor.AppendUint(claims, claimCnf), 1), cnfCOSEKey)
	claims = k.AppendPublic(claims)
	var b []byte
	for _, tag := range tags {
		b = cbor.AppendTag(b, tag)
	}
	b = cbor.AppendBytes(cbor.AppendArray(b, 4), []byte{0xa1, 0x01, 0x26}) // {1: ES256}
	return cbor.AppendBytes(cbor.AppendBytes(cbor.AppendMap(b, 0), claims), make([]byte, 64))
}

// TestReferences shakes hands with each sort of credential under each sort of
// identifier, sent by either side.
func TestReferences(t *testing.T) {
	must := func(c *Credential, err error) *Credential {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, signs := range []bool{false, true} {
		usage := x509.KeyUsageKeyAgreement
		if signs {
			usage = x509.KeyUsageDigitalSignature
		}
		k := newKey(t, cose.P256, 77)
		der := newCertificate(t, "pump", publicKey(t, k), usage)
		root := newCertificate(t, "authority", ed25519.NewKeyFromSeed(make([]byte, 32)).Public(), 0)
		cert := must(ParseX509(der))
		ccs := must(NewCCS(k, "pump", nil))
		cwt := must(ParseCWT(newCWT(k)))
		for _, tt := range []struct {
			name   string
			sent   *Credential
			meant  *Credential // as the other side has it
			inline bool
			wire   string // how the identifier begins
		}{
			{"CCS by kid", must(ccs.ByKID([]byte{0x21})), must(ccs.ByKID([]byte{0x21})), false, "21"},
			{"CCS by kid that is no integer", must(ccs.ByKID([]byte{0x18})), must(ccs.ByKID([]byte{0x18})), false, "4118"},
			{"CCS by empty kid", must(ccs.ByKID([]byte{})), must(ccs.ByKID([]byte{})), false, "40"},
			{"CCS by the longest kid", must(ccs.ByKID(make([]byte, MaxKID))), must(ccs.ByKID(make([]byte, MaxKID))), false, "5820"},
			{"CCS as kccs", must(ccs.ByValue()), must(ccs.ByKID([]byte{0x21})), true, "a10ea2"},
			{"CWT by kid", must(cwt.ByKID([]byte{0x21})), must(cwt.ByKID([]byte{0x21})), false, "21"},
			{"CWT as kcwt", must(cwt.ByValue()), must(cwt.ByKID([]byte{0x21})), true, "a10d84"},
			{"certificate by x5t", cert, cert, false, "a11822822e48"},
			{"certificate by x5t of SHA-256", must(cert.ByHash(cose.SHA256)), cert, false, "a11822822f5820"},
			{"certificate by x5t of SHA-384", must(cert.ByHash(cose.SHA384)), cert, false, "a1182282382a5830"},
			{"certificate by x5t of SHA-512", must(cert.ByHash(cose.SHA512)), cert, false, "a1182282382b5840"},
			{"certificate by x5u", must(cert.ByURI("coap://clinic.example/p")), must(cert.ByURI("coap://clinic.example/p")), false, "a11823d820"},
			{"certificate as x5chain", must(cert.ByValue()), cert, true, "a1182159"},
			{"certificate with its root", must(cert.ByValue(root)), cert, true, "a118218259"},
			{"certificate by kid", must(cert.ByKID([]byte{0x21})), must(cert.ByKID([]byte{0x21})), false, "21"},
		} {
			for _, initiator := range []bool{false, true} {
				m := DHDH
				if signs {
					m = map[bool]Method{true: SignDH, false: DHSign}[initiator]
				}
				ci, cr := pair(t, m, 2, false)
				own, other := cr, ci
				if initiator {
					own, other = ci, cr
				}
				own.Own = []*Authenticator{authenticate(t, k, signs, tt.sent)}
				byReference := Only(tt.meant)
				var inline, carried bool
				other.Peers = func(id *ID, ead []EAD) ([]*Credential, error) {
					inline = id.Inline()
					c, err := id.Credential()
					if err != nil {
						t.Errorf("%s: %v", tt.name, err)
					}
					carried = c != nil && bytes.Equal(c.Bytes(), tt.sent.Bytes()) && bytes.Equal(c.ID(), tt.sent.ID())
					if again, err := ParseID(id.Bytes()); err != nil || !bytes.Equal(again.Bytes(), tt.sent.ID()) {
						t.Errorf("%s: ID is %x, %v; want %x", tt.name, id.Bytes(), err, tt.sent.ID())
					}
					return byReference(id, ead)
				}
				h := newRun(t, ci, cr)
				h.complete(t)
				if inline != tt.inline || carried != tt.inline {
					t.Errorf("%s: inline %t, carried %t; want %t", tt.name, inline, carried, tt.inline)
				}
				if want := vector.Bytes(t, tt.wire); !bytes.HasPrefix(tt.sent.wire, want) {
					t.Errorf("%s: goes as %x; want %x", tt.name, tt.sent.wire, want)
				}
				peer := h.sr.Peer
				if !initiator {
					peer = h.si.Peer
				}
				if peer.Subject() != "pump" || !bytes.Equal(peer.Bytes(), tt.sent.Bytes()) {
					t.Errorf("%s: the peer is %q", tt.name, peer.Subject())
				}
			}
		}
	}
}

// TestCertificates has a certificate for each curve, and such as cannot be used.
func TestCertificates(t *testing.T) {
	for _, c := range []cose.Curve{cose.X25519, cose.P256, cose.P384, cose.CurveEd25519} {
		k := newKey(t, c, 3)
		got, err := ParseX509(newCertificate(t, "n", publicKey(t, k), 0))
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		if key := got.Key(); key.Curve != c || !bytes.Equal(key.X, k.X) || !bytes.Equal(key.Y, k.Y) {
			t.Errorf("%v: the key is another", c)
		}
		if got.Certificate() == nil || got.ValidAt(time.Unix(1500, 0)) != nil || !errors.Is(got.ValidAt(time.Unix(2001, 0)), ErrValidity) {
			t.Errorf("%v: certificate or validity", c)
		}
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), chacha(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"P-224":     newCertificate(t, "n", &p224.PublicKey, 0),
		"RSA":       newCertificate(t, "n", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(3), 2046), E: 65537}, 0),
		"too long":  newCertificate(t, strings.Repeat("n", MaxCredential), publicKey(t, newKey(t, cose.P256, 3)), 0),
		"cut off":   newCertificate(t, "n", publicKey(t, newKey(t, cose.P256, 3)), 0)[:100],
		"trailing":  append(newCertificate(t, "n", publicKey(t, newKey(t, cose.P256, 3)), 0), 0),
		"no DER":    {1, 2, 3},
		"no bytes":  {},
		"long, 2MB": make([]byte, 2<<20),
	} {
		if c, err := ParseX509(der); !errors.Is(err, ErrCredential) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}

	// Key usage says what a key is for.
	k := newKey(t, cose.P256, 3)
	for _, tt := range []struct {
		usage     x509.KeyUsage
		sign, dhs bool
	}{{0, true, true}, {x509.KeyUsageDigitalSignature, true, false}, {x509.KeyUsageKeyAgreement, false, true}, {x509.KeyUsageCertSign, false, false}} {
		c, err := ParseX509(newCertificate(t, "n", publicKey(t, k), tt.usage))
		if err != nil {
			t.Fatal(err)
		}
		s := Suite(2).row()
		if sign, dhs := c.fits(s, true) == nil, c.fits(s, false) == nil; sign != tt.sign || dhs != tt.dhs {
			t.Errorf("usage %b: signs %t, agrees %t", tt.usage, sign, dhs)
		}
	}
}

// TestClaims has claims sets and tokens that are none.
func TestClaims(t *testing.T) {
	x := newKey(t, cose.X25519, 3)
	key := string(x.AppendPublic(nil))
	cnf := "\x08\xa1\x01" + key
	for _, tt := range []struct {
		name, b string
		want    error
	}{
		{"dressed as RFC 9528 section 3.5.2 says", "\xa1" + cnf, nil},
		{"with claims that are not known", "\xa4\x01\x61i" + cnf + "\x19\x10\x00\x80\x61t\xf6", nil},
		{"a naked COSE_Key", key, errNoKey},
		{"no cnf", "\xa1\x02\x61s", errNoKey},
		{"cnf with a kid", "\xa1\x08\xa1\x03\x41\x01", errNoKey},
		{"cnf empty", "\xa1\x08\xa0", errNoKey},
		{"cnf no map", "\xa1\x08\x01", cbor.ErrKind},
		{"sub no text", "\xa2\x02\x01" + cnf, cbor.ErrKind},
		{"exp no number", "\xa2\x04\x60" + cnf, cbor.ErrKind},
		{"a claim twice", "\xa2" + cnf + cnf, cbor.ErrDuplicate},
		{"claims not in order", "\xa2" + cnf + "\x02\x61s", cbor.ErrOrder},
		{"an array", "\x80", cbor.ErrKind},
		{"nothing", "", cbor.ErrTruncated},
		{"200 deep", "\xa1\x08" + strings.Repeat("\x81", 200) + "\x00", cbor.ErrTooDeep},
		{"trailing", "\xa1" + cnf + "\x00", cbor.ErrTrailing},
		{"indefinite", "\xbf" + cnf + "\xff", cbor.ErrIndefinite},
		{"X448 a byte short", "\xa1\x08\xa1\x01\xa3\x01\x01\x20\x05\x21\x58\x37" + strings.Repeat("x", 55), ErrCredential},
		{"X448 as EC2", "\xa1\x08\xa1\x01\xa3\x01\x02\x20\x05\x21\x58\x38" + strings.Repeat("x", 56), ErrCredential},
		{"X448 with a private key", "\xa1\x08\xa1\x01\xa4\x01\x01\x20\x05\x21\x58\x38" + strings.Repeat("x", 56) + "\x23\x41\x00", ErrCredential},
		{"Ed448 a byte long", "\xa1\x08\xa1\x01\xa3\x01\x01\x20\x07\x21\x58\x3a" + strings.Repeat("x", 58), ErrCredential},
		{"a key of no curve that is known", "\xa1\x08\xa1\x01\xa3\x01\x01\x20\x18\x63\x21\x40", cose.ErrKey},
	} {
		c, err := ParseCCS([]byte(tt.b))
		if tt.want == nil && err != nil || tt.want != nil && (!errors.Is(err, tt.want) || !errors.Is(err, ErrCredential)) {
			t.Errorf("%s: %v, %v; want %v", tt.name, c, err, tt.want)
		}
	}
	for n := MaxCredential; n <= MaxCredential+1; n++ {
		b := "\xa2\x02\x79" + string([]byte{byte((n - 5 - len(cnf)) >> 8), byte(n - 5 - len(cnf))})
		b += strings.Repeat("s", n-5-len(cnf)) + cnf
		if _, err := ParseCCS([]byte(b)); len(b) != n || (err == nil) != (n == MaxCredential) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}

	k := newKey(t, cose.P256, 3)
	for _, tags := range [][]uint64{{}, {18}, {61, 18}, {61, 17}} {
		c, err := ParseCWT(newCWT(k, tags...))
		if err != nil || !bytes.Equal(c.Bytes(), newCWT(k)) {
			t.Errorf("tags %v: %v", tags, err)
		}
	}
	for name, b := range map[string][]byte{
		"another tag":  newCWT(k, 98),
		"three tags":   newCWT(k, 61, 61, 18),
		"encrypted":    vector.Bytes(t, "83 43a1010a a0 4100"),
		"a claims set": []byte("\xa1" + cnf),
		"claims none":  vector.Bytes(t, "84 43a10126 a0 41a0 40"),
		"detached":     vector.Bytes(t, "84 43a10126 a0 f6 40"),
		"trailing":     append(newCWT(k), 0),
	} {
		if c, err := ParseCWT(b); !errors.Is(err, ErrCredential) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}

	// References that a credential cannot go by.
	ccs, err := NewCCS(k, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, byHash := ccs.ByHash(cose.SHA256)
	_, byURI := ccs.ByURI("coap://x")
	_, byChain := ccs.ByValue([]byte{1})
	_, byKID := ccs.ByKID(make([]byte, MaxKID+1))
	for _, err := range []error{byHash, byURI, byChain, byKID} {
		if !errors.Is(err, ErrCredential) {
			t.Errorf("%v", err)
		}
	}
	cert, err := ParseX509(newCertificate(t, "n", publicKey(t, k), 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.ByValue(make([][]byte, MaxChain)...); !errors.Is(err, errChain) {
		t.Error("a chain of five: ", err)
	}
	if _, err := cert.ByValue(make([]byte, MaxCredential)); !errors.Is(err, errLong) {
		t.Error("a long chain: ", err)
	}
	if _, err := cert.ByHash(cose.A128GCM); !errors.Is(err, ErrCredential) {
		t.Error("x5t by no hash: ", err)
	}
}

// TestMismatch gives keys another's credential.
func TestMismatch(t *testing.T) {
	a, b := newKey(t, cose.P256, 1), newKey(t, cose.P256, 2)
	c, err := NewCCS(b, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.PrivateECDH()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewStaticDH(d, c); !errors.Is(err, ErrCredential) {
		t.Error("static Diffie-Hellman: ", err)
	}
	s, err := cose.NewSigner(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSignature(s, c); !errors.Is(err, ErrCredential) {
		t.Error("signature: ", err)
	}
	x, err := ecdh.X25519().GenerateKey(chacha(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewStaticDH(x, c); !errors.Is(err, ErrCredential) {
		t.Error("another curve: ", err)
	}
}

// TestConfig has configurations that cannot work.
func TestConfig(t *testing.T) {
	good, _ := pair(t, DHDH, 2, false)
	for name, f := range map[string]func(*Config){
		"nobody is meant":       func(c *Config) { c.Peers = nil },
		"no method":             func(c *Config) { c.Methods = nil },
		"method 4":              func(c *Config) { c.Methods = []Method{4} },
		"no suite":              func(c *Config) { c.Suites = nil },
		"suite twice":           func(c *Config) { c.Suites = []Suite{2, 2} },
		"unknown suite":         func(c *Config) { c.Suites = []Suite{7} },
		"no key":                func(c *Config) { c.Own = nil },
		"no key for the suite":  func(c *Config) { c.Suites = []Suite{0}; c.Own = c.Own[1:2] },
		"no key for the method": func(c *Config) { c.Own = c.Own[3:] },
	} {
		c := *good
		f(&c)
		if _, err := NewInitiator(&c, nil); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewInitiator(good, []Suite{3, 99}); !errors.Is(err, ErrNoSuite) {
		t.Error("none in common: ", err)
	}
	if _, err := NewResponder(&Config{}); !errors.Is(err, ErrConfig) {
		t.Error("an empty responder: ", err)
	}
}

// failingReader has no randomness to give.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

// TestRandomness: two handshakes differ though Random repeats, if their keys do, and
// none begins without.
func TestRandomness(t *testing.T) {
	ci, _ := pair(t, DHDH, 2, false)
	public := func(c *Config) []byte {
		t.Helper()
		i, err := NewInitiator(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		m1, err := i.Message1(nil)
		if err != nil {
			t.Fatal(err)
		}
		return m1
	}
	ci.Random = chacha(9)
	a := public(ci)
	ci.Random = chacha(9)
	if !bytes.Equal(a, public(ci)) {
		t.Error("one key and one randomness make two messages")
	}
	ci.Random = chacha(9)
	ci.Own = side(t, "another", 0x11)
	if bytes.Equal(a[:36], public(ci)[:36]) {
		t.Error("another key and the same randomness make the same G_X: the key does not hedge it")
	}
	ci.Random = nil
	if bytes.Equal(public(ci), public(ci)) {
		t.Error("the system's randomness repeats")
	}
	ci.Random = failingReader{}
	i, err := NewInitiator(ci, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.Message1(nil)
	refused(t, "no randomness", &i.party, err, nil)
}
