// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"bytes"
	"crypto/x509"
	"errors"

	"github.com/myelin-health/myelin/wire"
)

// A Certificate is what an X.509 certificate says of itself (RFC 5280 section
// 4.1), as far as its weaknesses go. Nothing here says that it is trusted.
type Certificate struct {
	NotBefore  int64 // seconds since 1970-01-01 UTC
	NotAfter   int64
	KeyBits    int    // of the RSA or DSA modulus or the curve; 0 when the kind of key is unknown
	WeakKey    bool   // RSA or DSA under 2048 bits, a curve under 224 (RFC 9325 section 4.5, SP 800-57 part 1)
	WeakHash   bool   // signed over MD2, MD4, MD5 or SHA-1 (RFC 6151, RFC 6194)
	SelfIssued bool   // issuer and subject are the same (RFC 5280 section 3.2)
	DNSName    []byte // the first dNSName of subjectAltName, or nil
	CommonName []byte // the subject's last, or nil
	raw        []byte
}

// The tags of DER that occur here and nowhere else.
const (
	tagUTCTime    = wire.Tag(0x17)
	tagVersion    = wire.Tag(0xa0)
	tagExtensions = wire.Tag(0xa3)
	tagDNSName    = wire.Tag(0x82)
	maxNameParts  = 64 // attributes in a name; 5 to 10 are usual
	maxExtensions = 64 // 10 are usual
)

// The object identifiers that are read, in DER.
const (
	oidCommonName     = "\x55\x04\x03"
	oidSubjectAltName = "\x55\x1d\x11"
	oidRSA            = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	oidRSAPSS         = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"
	oidDSA            = "\x2a\x86\x48\xce\x38\x04\x01"
	oidEC             = "\x2a\x86\x48\xce\x3d\x02\x01"
)

// keyBits has the sizes of keys whose kind or curve says it.
var keyBits = []struct {
	oid  string
	bits int
}{
	{"\x2a\x86\x48\xce\x3d\x03\x01\x01", 192},     // secp192r1 (RFC 5480 section 2.1.1.1)
	{"\x2b\x81\x04\x00\x08", 160},                 // secp160r1
	{"\x2b\x81\x04\x00\x1f", 192},                 // secp192k1
	{"\x2b\x81\x04\x00\x01", 163},                 // sect163k1
	{"\x2b\x81\x04\x00\x0f", 163},                 // sect163r2
	{"\x2b\x81\x04\x00\x21", 224},                 // secp224r1
	{"\x2a\x86\x48\xce\x3d\x03\x01\x07", 256},     // secp256r1
	{"\x2b\x81\x04\x00\x0a", 256},                 // secp256k1
	{"\x2b\x81\x04\x00\x22", 384},                 // secp384r1
	{"\x2b\x81\x04\x00\x23", 521},                 // secp521r1
	{"\x2b\x65\x70", 256},                         // Ed25519 (RFC 8410 section 3)
	{"\x2b\x65\x71", 456},                         // Ed448
	{"\x2b\x24\x03\x03\x02\x08\x01\x01\x07", 256}, // brainpoolP256r1 (RFC 5639 section 4.1)
	{"\x2b\x24\x03\x03\x02\x08\x01\x01\x0b", 384}, // brainpoolP384r1
	{"\x2b\x24\x03\x03\x02\x08\x01\x01\x0d", 512}, // brainpoolP512r1
}

// weakHashes are the signature algorithms over broken hashes (RFC 3279 section
// 2.2, RFC 8017 appendix C).
var weakHashes = []string{
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x02", // md2WithRSAEncryption
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x03", // md4WithRSAEncryption
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", // md5WithRSAEncryption
	"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", // sha1WithRSAEncryption
	"\x2b\x0e\x03\x02\x1d",                 // sha-1WithRSAEncryption, the OIW's
	"\x2b\x0e\x03\x02\x03",                 // md5WithRSA, the OIW's
	"\x2a\x86\x48\xce\x38\x04\x03",         // dsa-with-sha1
	"\x2a\x86\x48\xce\x3d\x04\x01",         // ecdsa-with-SHA1
}

// ParseCertificate reads a certificate in DER. Unlike [x509.ParseCertificate]
// it reads those that old devices show (serial numbers below zero, unknown
// curves, names in odd encodings), and it allocates nothing.
func ParseCertificate(der []byte) (cert Certificate, err error) {
	cert.raw = der
	c := wire.NewCursor("tls", der)
	outer := c.Expect("Certificate", wire.TagSequence)
	if c.Len() > 0 {
		c.Fail("Certificate", wire.ErrTrailing)
	}
	tbs := outer.Expect("tbsCertificate", wire.TagSequence)
	tbs.Optional("version", tagVersion)
	tbs.Expect("serialNumber", wire.TagInteger)
	tbs.Expect("signature", wire.TagSequence)
	issuer := tbs.Expect("issuer", wire.TagSequence)
	validity := tbs.Expect("validity", wire.TagSequence)
	cert.NotBefore = derTime(&validity, "notBefore")
	cert.NotAfter = derTime(&validity, "notAfter")
	tbs.Join(&validity)
	subject := tbs.Expect("subject", wire.TagSequence)
	cert.SelfIssued = tbs.Ok() && bytes.Equal(rest(issuer), rest(subject))
	cert.CommonName = commonName(subject)
	key := tbs.Expect("subjectPublicKeyInfo", wire.TagSequence)
	cert.KeyBits, cert.WeakKey = publicKey(&key)
	tbs.Join(&key)
	for tbs.Len() > 0 { // section 4.1: at most issuerUniqueID, subjectUniqueID, extensions
		if tag, e := tbs.Element("extensions"); tag == tagExtensions && tbs.Ok() {
			cert.DNSName = firstDNSName(e)
		}
	}
	outer.Join(&tbs)
	algorithm := outer.Expect("signatureAlgorithm", wire.TagSequence)
	oid := algorithm.Expect("algorithm", wire.TagOID)
	outer.Join(&algorithm)
	if outer.Ok() {
		id := oid.Rest()
		for _, weak := range weakHashes {
			cert.WeakHash = cert.WeakHash || string(id) == weak
		}
	}
	outer.Expect("signatureValue", wire.TagBitString)
	c.Join(&outer)
	return cert, c.Err()
}

// rest returns what c has still to read, without reading it.
func rest(c wire.Cursor) []byte { return c.Peek(c.Len()) }

// derTime reads a UTCTime or GeneralizedTime in the one form of each that
// RFC 5280 section 4.1.2.5 allows: in seconds, and in UTC.
func derTime(c *wire.Cursor, field string) int64 {
	at := c.Off()
	tag, e := c.Element(field)
	if !c.Ok() {
		return 0
	}
	b := rest(e)
	for i, d := range b {
		if last := i == len(b)-1; last && d != 'Z' || !last && (d < '0' || d > '9') {
			c.FailAt(field, at, wire.ErrInvalid)
			return 0
		}
	}
	century := 0
	switch {
	case tag == wire.TagGeneralizedTime && len(b) == len("YYYYMMDDhhmmssZ"):
		century = two(b) * 100
		b = b[2:]
	case tag == tagUTCTime && len(b) == len("YYMMDDhhmmssZ"):
		century = 1900
		if two(b) < 50 {
			century = 2000
		}
	default:
		c.FailAt(field, at, wire.ErrInvalid)
		return 0
	}
	year, month, day := century+two(b), two(b[2:]), two(b[4:])
	if month < 1 || month > 12 || day < 1 || day > 31 || two(b[6:]) > 23 || two(b[8:]) > 59 || two(b[10:]) > 60 {
		c.FailAt(field, at, wire.ErrInvalid)
		return 0
	}
	return daysSince1970(year, month, day)*86400 + int64(two(b[6:])*3600+two(b[8:])*60+two(b[10:]))
}

// two reads two digits.
func two(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }

// daysSince1970 counts the days of the Gregorian calendar with the year begun
// in March, so that the leap day is its last.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	year += 400 // the year 0 has a January too, and division rounds towards zero
	days := 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1
	return int64(days) - 146097 - 719468 // 400 years; 1970-01-01
}

// commonName returns the last commonName of a name (section 4.1.2.4). What it
// cannot read it takes for absent: a name is a hint.
func commonName(name wire.Cursor) (cn []byte) {
	for i := 0; i < maxNameParts && name.Len() > 0; i++ {
		set := name.Expect("RelativeDistinguishedName", wire.TagSet)
		for ; i < maxNameParts && name.Ok() && set.Len() > 0; i++ {
			attr := set.Expect("AttributeTypeAndValue", wire.TagSequence)
			oid := attr.Expect("type", wire.TagOID)
			_, value := attr.Element("value")
			if attr.Ok() && string(rest(oid)) == oidCommonName {
				cn = rest(value)
			}
		}
	}
	return cn
}

// firstDNSName returns the first dNSName of the subjectAltName extension
// (section 4.2.1.6), or nil.
func firstDNSName(e wire.Cursor) []byte {
	list := e.Expect("Extensions", wire.TagSequence)
	for i := 0; i < maxExtensions && list.Len() > 0; i++ {
		ext := list.Expect("Extension", wire.TagSequence)
		oid := ext.Expect("extnID", wire.TagOID)
		if !ext.Ok() || string(rest(oid)) != oidSubjectAltName {
			continue
		}
		ext.Optional("critical", wire.TagBoolean)
		value := ext.Expect("extnValue", wire.TagOctetString)
		names := value.Expect("GeneralNames", wire.TagSequence)
		for j := 0; j < maxNameParts && names.Len() > 0; j++ {
			if tag, name := names.Element("GeneralName"); tag == tagDNSName && names.Ok() {
				return rest(name)
			}
		}
	}
	return nil
}

// publicKey returns the size of a key and whether it is too small. Keys of an
// unknown kind have size 0, and nothing is said against them.
func publicKey(key *wire.Cursor) (size int, weak bool) {
	algorithm := key.Expect("algorithm", wire.TagSequence)
	oid := algorithm.Expect("algorithm", wire.TagOID)
	bits := key.Expect("subjectPublicKey", wire.TagBitString)
	bits.Uint8("unused bits") // X.690 section 8.6.2.2
	key.Join(&algorithm)
	if !key.Ok() || !bits.Ok() {
		key.Join(&bits)
		return 0, false
	}
	const minModulus, minCurve = 2048, 224
	id := rest(oid)
	switch string(id) {
	case oidRSA, oidRSAPSS:
		rsa := bits.Expect("RSAPublicKey", wire.TagSequence) // RFC 3279 section 2.3.1
		modulus := rsa.Expect("modulus", wire.TagInteger)
		rsa.Join(&modulus)
		bits.Join(&rsa)
		key.Join(&bits)
		if !key.Ok() {
			return 0, false
		}
		size = bitLen(rest(modulus))
		return size, size < minModulus
	case oidDSA:
		dss := algorithm.Expect("Dss-Parms", wire.TagSequence) // section 2.3.2; may be inherited
		p := dss.Expect("p", wire.TagInteger)
		if !dss.Ok() {
			return 0, false
		}
		size = bitLen(rest(p))
		return size, size < minModulus
	case oidEC:
		if curve, named := algorithm.Optional("namedCurve", wire.TagOID); named { // RFC 5480 section 2.1.1
			id = rest(curve)
		}
	}
	for i := range keyBits {
		if string(id) == keyBits[i].oid {
			return keyBits[i].bits, keyBits[i].bits < minCurve
		}
	}
	return 0, false
}

// IsSelfSigned reports whether the certificate's own key signed it. It is the
// one costly question here: some 50 microseconds. A self-issued certificate
// whose signature cannot be checked, as its algorithm is too old for
// crypto/x509, counts as self-signed; one whose signature does not fit does not.
func (cert *Certificate) IsSelfSigned() bool {
	if !cert.SelfIssued {
		return false
	}
	c, err := x509.ParseCertificate(cert.raw)
	if err != nil {
		return true
	}
	err = c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}
