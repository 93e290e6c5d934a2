// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// Bounds of what is read.
const (
	MaxToken     = 4096 // bytes of a token; one with eight approvals has 1100
	MaxSerial    = 64   // bytes of a serial
	MaxApprovals = 8    // of one break-glass token
	maxClaims    = 32
	maxName      = 128 // bytes of iss, sub and aud
	maxKID       = 64
	maxNonce     = 64
)

// An Error says which claim is wrong. Claim is its name as in RFC 8392, or
// "signature", "scope", "clock", "approvals", "presence", "window", "record".
type Error struct {
	Claim string
	Err   error
}

func (e *Error) Error() string { return "cwt: " + e.Claim + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

func bad(claim string, err error) error { return &Error{claim, err} }

// What can be wrong with a claim. An [Error] wraps one of these, or an error of
// cbor or cose.
var (
	ErrMissing = errors.New("missing")
	ErrForm    = errors.New("not as this profile has it")
)

// Claim keys (RFC 8392 section 4, RFC 8747 section 3, RFC 9200 section 8.14), and
// three of the private range.
const (
	claimIss    = 1
	claimSub    = 2
	claimAud    = 3
	claimExp    = 4
	claimNbf    = 5
	claimIat    = 6
	claimCti    = 7
	claimCnf    = 8
	claimScope  = 9
	claimCnonce = 39
	claimExi    = 40

	claimEmergency   = -70001
	claimApprovals   = -70002
	claimRevocations = -70003

	cnfKey = 1
	cnfKID = 3
)

// claimNames is in the order in which the encoding has them.
var claimNames = [...]struct {
	key  int64
	name string
}{
	{claimIss, "iss"},
	{claimSub, "sub"},
	{claimAud, "aud"},
	{claimExp, "exp"},
	{claimNbf, "nbf"},
	{claimIat, "iat"},
	{claimCti, "cti"},
	{claimCnf, "cnf"},
	{claimScope, "scope"},
	{claimCnonce, "cnonce"},
	{claimExi, "exi"},
	{claimEmergency, "break-glass"},
	{claimApprovals, "approvals"},
	{claimRevocations, "revocations"},
}

func claimName(key int64) string {
	for _, c := range claimNames {
		if c.key == key {
			return c.name
		}
	}
	return ""
}

// Claims are what a token states. The zero value states nothing. What was parsed
// aliases the bytes it was parsed from.
type Claims struct {
	Issuer    string
	Subject   string // a pseudonym, never a name
	Audience  string
	Expires   int64 // seconds since 1970; 0 is not said, in all three
	NotBefore int64
	IssuedAt  int64
	Serial    []byte // cti

	Key *cose.Key // the holder's, of cnf
	KID []byte    // in its place: of a key that the device knows

	Scope     []byte // an encoded [Grant]
	Nonce     []byte // cnonce
	ExpiresIn int64  // exi: seconds from the first reception; 0 is not said

	Emergency *Emergency // of a break-glass token
	Approvals [][]byte

	Revoked *Revoked // of a list of revocations
}

// An Emergency is what makes a token a break-glass token.
type Emergency struct {
	Need   int   // approvals by different people
	Window int64 // seconds that a device stays open for
}

// Revoked is what a list of revocations states.
type Revoked struct {
	Number      uint64
	Serials     [][]byte // of the issuer's tokens
	Thumbprints [][]byte // of keys: a holder's, an approver's, an authority's
}

// ParseClaims reads an encoded claims set and nothing else. Nothing of it is proven.
// Dates may have a fraction, which is cut off so that a token is never longer valid.
func ParseClaims(b []byte) (*Claims, error) {
	if len(b) > maxList {
		return nil, bad("claims", cbor.ErrTooMany)
	}
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, bad("claims", err)
	}
	c := new(Claims)
	n := r.Map()
	if n > maxClaims {
		return nil, bad("claims", cbor.ErrTooMany)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		key := int64(0) // of a text, or of what int64 has no room for: no claim of ours
		at := r
		r.Raw()
		if k := at.Next(); k == cbor.Uint || k == cbor.NegInt {
			if i := at.Int(); at.Err() == nil {
				key = i
			}
		} else if k != cbor.Text {
			return nil, bad("claims", cbor.ErrKind)
		}
		name := claimName(key)
		if name == "" {
			r.Raw()
			continue
		}
		if err := c.read(&r, key); err != nil {
			return nil, bad(name, err)
		}
		if err := r.Err(); err != nil {
			return nil, bad(name, err)
		}
	}
	if err := r.Done(); err != nil {
		return nil, bad("claims", err)
	}
	return c, nil
}

func (c *Claims) read(r *cbor.Reader, key int64) error {
	switch key {
	case claimIss:
		return readName(r, &c.Issuer)
	case claimSub:
		return readName(r, &c.Subject)
	case claimAud:
		return readName(r, &c.Audience)
	case claimExp:
		return readDate(r, &c.Expires, math.Floor)
	case claimNbf:
		return readDate(r, &c.NotBefore, math.Ceil)
	case claimIat:
		return readDate(r, &c.IssuedAt, math.Ceil)
	case claimCti:
		return readBytes(r, &c.Serial, MaxSerial)
	case claimCnf:
		return c.readCnf(r)
	case claimScope:
		// RFC 9200 section 5.8.1 also lets it be text; that says nothing here.
		return readBytes(r, &c.Scope, MaxToken)
	case claimCnonce:
		return readBytes(r, &c.Nonce, maxNonce)
	case claimExi:
		n := r.Uint()
		if (n == 0 || n > math.MaxInt32) && r.Err() == nil {
			return cbor.ErrRange
		}
		c.ExpiresIn = int64(n)
	case claimEmergency:
		if r.Array() != 2 && r.Err() == nil {
			return ErrForm
		}
		need, window := r.Uint(), r.Uint()
		if (need == 0 || need > MaxApprovals || window == 0 || window > math.MaxInt32) && r.Err() == nil {
			return cbor.ErrRange
		}
		c.Emergency = &Emergency{int(need), int64(window)}
	case claimApprovals:
		n := r.Array()
		if (n == 0 || n > MaxApprovals) && r.Err() == nil {
			return cbor.ErrTooMany
		}
		for ; n > 0 && r.Err() == nil; n-- {
			c.Approvals = append(c.Approvals, r.Bytes())
		}
	case claimRevocations:
		return c.readRevoked(r)
	}
	return r.Err()
}

func readName(r *cbor.Reader, s *string) error {
	*s = r.Text()
	if (*s == "" || len(*s) > maxName) && r.Err() == nil {
		return cbor.ErrRange
	}
	return r.Err()
}

// readBytes reads bytes, which may not be none: nil means that they were not said.
func readBytes(r *cbor.Reader, b *[]byte, most int) error {
	*b = r.Bytes()
	if (len(*b) == 0 || len(*b) > most) && r.Err() == nil {
		return cbor.ErrRange
	}
	return r.Err()
}

// readDate reads a NumericDate. One of 1970 or before is refused: zero means that
// nothing is said, and an exp of 0 must not become no exp at all.
func readDate(r *cbor.Reader, date *int64, round func(float64) float64) error {
	if r.Next() == cbor.Float {
		if f := round(r.Float()); f > 0 && f < 1<<53 {
			*date = int64(f)
		}
	} else {
		*date = r.Int()
	}
	if (*date <= 0 || *date >= 1<<53) && r.Err() == nil {
		return cbor.ErrRange
	}
	return r.Err()
}

// readCnf reads a confirmation. A symmetric key would be told to everybody who sees
// the token, and a private one is none of the authority's business.
func (c *Claims) readCnf(r *cbor.Reader) error {
	if r.Map() != 1 {
		return ErrForm
	}
	switch r.Uint() {
	case cnfKey:
		k, err := cose.ReadKey(r)
		if err != nil {
			return err
		}
		if k.Type == cose.Symmetric || k.D != nil {
			return fmt.Errorf("%w: a key that is secret", ErrForm)
		}
		c.Key = &k
		return nil
	case cnfKID:
		return readBytes(r, &c.KID, maxKID)
	}
	return ErrForm
}

func (c *Claims) check() error {
	if c.Key != nil && (c.KID != nil || c.Key.Type == cose.Symmetric) {
		return bad("cnf", ErrForm)
	}
	return nil
}

// Append appends the claims set, which is also how raw public keys are dressed as
// EDHOC credentials (CCS, RFC 9528 section 3.5.2).
func (c *Claims) Append(dst []byte) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	at := len(dst)
	n := 0
	var b []byte
	key := func(k int64) {
		n++
		b = cbor.AppendInt(b, k)
	}
	text := func(k int64, s string) {
		if s != "" {
			key(k)
			b = cbor.AppendText(b, s)
		}
	}
	number := func(k, i int64) {
		if i != 0 {
			key(k)
			b = cbor.AppendInt(b, i)
		}
	}
	bytes := func(k int64, s []byte) {
		if s != nil {
			key(k)
			b = cbor.AppendBytes(b, s)
		}
	}
	text(claimIss, c.Issuer)
	text(claimSub, c.Subject)
	text(claimAud, c.Audience)
	number(claimExp, c.Expires)
	number(claimNbf, c.NotBefore)
	number(claimIat, c.IssuedAt)
	bytes(claimCti, c.Serial)
	switch {
	case c.Key != nil:
		key(claimCnf)
		b = cbor.AppendUint(cbor.AppendMap(b, 1), cnfKey)
		b = c.Key.AppendPublic(b)
	case c.KID != nil:
		key(claimCnf)
		b = cbor.AppendUint(cbor.AppendMap(b, 1), cnfKID)
		b = cbor.AppendBytes(b, c.KID)
	}
	bytes(claimScope, c.Scope)
	bytes(claimCnonce, c.Nonce)
	number(claimExi, c.ExpiresIn)
	if e := c.Emergency; e != nil {
		key(claimEmergency)
		b = cbor.AppendInt(cbor.AppendInt(cbor.AppendArray(b, 2), int64(e.Need)), e.Window)
	}
	if c.Approvals != nil {
		key(claimApprovals)
		b = appendList(b, c.Approvals)
	}
	if v := c.Revoked; v != nil {
		key(claimRevocations)
		b = cbor.AppendUint(cbor.AppendArray(b, 3), v.Number)
		b = appendList(appendList(b, v.Serials), v.Thumbprints)
	}
	dst = append(cbor.AppendMap(dst, n), b...)
	// What could not be read back is not written.
	if _, err := ParseClaims(dst[at:]); err != nil {
		return nil, err
	}
	return dst, nil
}

func appendList(dst []byte, list [][]byte) []byte {
	dst = cbor.AppendArray(dst, len(list))
	for _, b := range list {
		dst = cbor.AppendBytes(dst, b)
	}
	return dst
}

// ParseCCS reads a claims set with the public key of a credential, such as EDHOC
// has it for kccs. Nothing of it is proven.
func ParseCCS(b []byte) (*Claims, error) {
	c, err := ParseClaims(b)
	if err == nil && c.Key == nil {
		err = bad("cnf", ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AppendSequence appends the serial of a token with exi (RFC 9200 section 5.10.3).
func AppendSequence(dst []byte, audience string, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, audience...), sequence)
}

// sequence is the inverse of [AppendSequence].
func (c *Claims) sequence() (uint64, bool) {
	n := len(c.Audience)
	if len(c.Serial) != n+8 || string(c.Serial[:n]) != c.Audience {
		return 0, false
	}
	return binary.BigEndian.Uint64(c.Serial[n:]), true
}

// Tags (RFC 8392 section 6, RFC 9052 table 1).
const (
	tagCWT   = 61
	tagSign1 = 18
)

// ParseToken reads what a token states, and verifies nothing of it.
func ParseToken(b []byte) (*Claims, error) {
	_, c, err := parseSigned(b, MaxToken)
	return c, err
}

// parseSigned reads a token's signature and claims, of which nothing is proven yet.
func parseSigned(b []byte, most int) (*cose.Sign1, *Claims, error) {
	if len(b) > most {
		return nil, nil, bad("signature", cbor.ErrTooMany)
	}
	if r, err := cbor.Parse(b); err == nil && r.Next() == cbor.Tag && r.Tag() == tagCWT {
		// RFC 8392 section 6: what follows has COSE's own tag.
		if b = r.Rest(); len(b) == 0 || b[0] != 0xc0|tagSign1 {
			return nil, nil, bad("signature", ErrForm)
		}
	}
	m, err := cose.ParseSign1(b)
	if err != nil {
		return nil, nil, bad("signature", err)
	}
	if m.Detached {
		return nil, nil, bad("signature", cose.ErrDetached)
	}
	c, err := ParseClaims(m.Payload)
	return m, c, err
}

// Show reads what a token states, without a proof of any of it: for people to look
// at. The kid is that of the authority which it says it is from.
func Show(token []byte) (c *Claims, kid []byte, err error) {
	m, c, err := parseSigned(token, maxList)
	if err != nil {
		return nil, nil, err
	}
	return c, kidOf(m), nil
}

func kidOf(m *cose.Sign1) []byte {
	if m.Protected.KID != nil {
		return m.Protected.KID
	}
	return m.Unprotected.KID
}

// sign makes a tagged token of claims.
func sign(c *Claims, s cose.Signer, kid []byte) ([]byte, error) {
	payload, err := c.Append(nil)
	if err != nil {
		return nil, err
	}
	return cose.AppendSign1(nil, &cose.Headers{KID: kid}, nil, payload, nil, s)
}
