// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// What an authority refuses.
var (
	ErrSubject  = errors.New("not enrolled")
	ErrEnrolled = errors.New("enrolled already, or with a key that is")
)

// maxKept is how many holders, and how many tokens, an authority remembers.
const maxKept = 4096

// serialBytes are random: two serials by the same authority are never the same.
const serialBytes = 16

// An Authority enrols holders of keys, issues their tokens, and revokes. It does no
// more than that: who may be enrolled is for people to say. What it knows goes into a
// file with [Authority.Append]; its private key does not. It is not safe for use by
// several goroutines.
type Authority struct {
	Name   string      // the claim iss
	KID    []byte      // of its key, as devices know it
	Signer cose.Signer // its key: here, in a PKCS#11 token or in a TPM
	Random io.Reader   // for serials

	holders   []Holder
	issued    []Issued
	sequences []sequence
	revoked   Revoked
}

// A Holder is one who is enrolled.
type Holder struct {
	Subject string // a pseudonym, never a name
	Role    device.Role
	Key     cose.Key // public
}

// Issued is what an authority remembers of a token.
type Issued struct {
	Subject, Audience string
	Serial            []byte
	Expires           int64 // seconds since 1970; 0 of a token with exi
}

type sequence struct {
	audience string
	last     uint64
}

// Terms are what a token is to state.
type Terms struct {
	Audience  string
	Verbs     []VerbGrant
	IssuedAt  int64 // seconds since 1970; now
	NotBefore int64
	Expires   int64
	ExpiresIn int64 // seconds from the first reception, for a device without a clock
	ByKID     bool  // the device knows the holder's key: name it by its kid

	Emergency *Emergency // for [Authority.Request]
}

// Enrol makes a holder known. It is [ErrEnrolled] when the subject or the key is
// already: a key that served two people would prove neither.
func (a *Authority) Enrol(h Holder) error {
	h.Key = h.Key.Public()
	if h.Subject == "" || len(h.Subject) > maxName || RoleNumber(h.Role) == 0 || h.Key.Type == 0 {
		return bad("sub", ErrForm)
	}
	if len(a.holders) == maxKept {
		return bad("sub", cbor.ErrTooMany)
	}
	if a.revokedKey(&h.Key) {
		return bad("cnf", ErrRevoked)
	}
	for i := range a.holders {
		if a.holders[i].Subject == h.Subject || a.holders[i].Key.Thumbprint() == h.Key.Thumbprint() {
			return bad("sub", ErrEnrolled)
		}
	}
	a.holders = append(a.holders, h)
	return nil
}

func (a *Authority) revokedKey(k *cose.Key) bool {
	t := k.Thumbprint()
	return has(a.revoked.Thumbprints, t[:])
}

// Holders are those who are enrolled, and Tokens what was issued to them. The caller
// must not change either.
func (a *Authority) Holders() []Holder { return a.holders }

// Tokens are those that were issued and not forgotten.
func (a *Authority) Tokens() []Issued { return a.issued }

// claims makes a token's claims, but for the serial.
func (a *Authority) claims(subject string, t *Terms) (*Claims, error) {
	i := slices.IndexFunc(a.holders, func(h Holder) bool { return h.Subject == subject })
	if i < 0 {
		return nil, bad("sub", ErrSubject)
	}
	if len(a.issued) == maxKept { // see Forget
		return nil, bad("cti", cbor.ErrTooMany)
	}
	h := &a.holders[i]
	switch {
	case t.Audience == "":
		return nil, bad("aud", ErrMissing)
	case t.Expires == 0 && t.ExpiresIn == 0:
		return nil, bad("exp", ErrMissing)
	case t.Expires != 0 && t.Expires <= max(t.NotBefore, t.IssuedAt):
		return nil, bad("exp", ErrExpired)
	case t.ByKID && h.Key.ID == nil:
		return nil, bad("cnf", ErrMissing)
	case (h.Role == device.Emergency) != (t.Emergency != nil):
		return nil, bad("break-glass", ErrScope)
	}
	scope, err := (&Grant{Role: h.Role, Verbs: t.Verbs}).Append(nil)
	if err != nil {
		return nil, err
	}
	c := &Claims{
		Issuer: a.Name, Subject: subject, Audience: t.Audience, IssuedAt: t.IssuedAt,
		NotBefore: t.NotBefore, Expires: t.Expires, ExpiresIn: t.ExpiresIn, Scope: scope,
	}
	if t.ByKID {
		c.KID = h.Key.ID
	} else {
		c.Key = &h.Key
	}
	return c, nil
}

// Issue signs a token for one who is enrolled, in his role.
func (a *Authority) Issue(subject string, t *Terms) ([]byte, error) {
	c, err := a.claims(subject, t)
	if err != nil {
		return nil, err
	}
	if t.Emergency != nil {
		return nil, bad("approvals", ErrMissing)
	}
	var s *sequence
	if t.ExpiresIn == 0 {
		c.Serial, err = a.serial()
	} else {
		s = a.sequence(t.Audience)
		if s.last == math.MaxUint64 || len(t.Audience)+8 > MaxSerial {
			err = bad("cti", cbor.ErrRange)
		}
		c.Serial = AppendSequence(nil, t.Audience, s.last+1)
	}
	if err != nil {
		return nil, err
	}
	b, err := sign(c, a.Signer, a.KID)
	if err != nil {
		return nil, err
	}
	if s != nil {
		s.last++
		// The newest of them is enough to remember: they have no date to be forgotten by.
		a.issued = slices.DeleteFunc(a.issued, func(t Issued) bool {
			return t.Expires == 0 && t.Subject == subject && t.Audience == c.Audience
		})
	}
	a.issued = append(a.issued, Issued{subject, c.Audience, c.Serial, c.Expires})
	return b, nil
}

func (a *Authority) serial() ([]byte, error) {
	b := make([]byte, serialBytes)
	_, err := io.ReadFull(a.Random, b)
	return b, err
}

func (a *Authority) sequence(audience string) *sequence {
	for i := range a.sequences {
		if a.sequences[i].audience == audience {
			return &a.sequences[i]
		}
	}
	a.sequences = append(a.sequences, sequence{audience: audience})
	return &a.sequences[len(a.sequences)-1]
}

// Request makes the claims of a break-glass token, for people to [Approve].
func (a *Authority) Request(subject string, t *Terms) ([]byte, error) {
	c, err := a.claims(subject, t)
	if err != nil {
		return nil, err
	}
	switch {
	case t.Emergency == nil:
		return nil, bad("break-glass", ErrMissing)
	case t.ExpiresIn != 0:
		return nil, bad("exi", ErrForm)
	}
	if c.Serial, err = a.serial(); err != nil {
		return nil, err
	}
	c.Emergency = t.Emergency
	if err := c.checkDates(); err != nil {
		return nil, err
	}
	return c.Append(nil)
}

// IssueEmergency signs a break-glass token with the approvals that its request needs.
// It checks them as a device will, by the approvers that the verifier trusts.
func (a *Authority) IssueEmergency(request []byte, approvals [][]byte, v *Verifier) ([]byte, error) {
	c, err := ParseClaims(request)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(a.holders, func(h Holder) bool { return h.Subject == c.Subject })
	switch g, err := ParseGrant(c.Scope); {
	case c.Emergency == nil || c.Approvals != nil || c.Revoked != nil || c.Issuer != a.Name || c.Serial == nil:
		return nil, bad("break-glass", ErrForm)
	case i < 0 || a.holders[i].Role != device.Emergency:
		return nil, bad("sub", ErrSubject)
	case c.Key != nil && !c.Key.Equal(&a.holders[i].Key), c.Key == nil && !bytes.Equal(c.KID, a.holders[i].Key.ID):
		return nil, bad("cnf", ErrHolder)
	case err != nil:
		return nil, err
	case g.Role != device.Emergency:
		return nil, bad("scope", ErrScope)
	case slices.ContainsFunc(a.issued, func(t Issued) bool { return bytes.Equal(t.Serial, c.Serial) }):
		return nil, bad("cti", ErrUsed)
	}
	if err := c.checkDates(); err != nil {
		return nil, err
	}
	c.Approvals = approvals
	if err := v.approved(&Token{Claims: c}, request, &a.holders[i].Key); err != nil {
		return nil, err
	}
	b, err := sign(c, a.Signer, a.KID)
	if err != nil {
		return nil, err
	}
	a.issued = append(a.issued, Issued{c.Subject, c.Audience, c.Serial, c.Expires})
	return b, nil
}

// Revoke takes back one token by its serial.
func (a *Authority) Revoke(serial []byte) error {
	list, err := insert(a.revoked.Serials, serial)
	if err != nil {
		return bad("cti", err)
	}
	a.revoked.Serials = list
	return nil
}

// RevokeKey takes back a key: a holder's with all tokens for it, an approver's with
// what he approved, or another authority's. A holder with that key is no longer
// enrolled.
func (a *Authority) RevokeKey(thumbprint [32]byte) error {
	list, err := insert(a.revoked.Thumbprints, thumbprint[:])
	if err != nil {
		return bad("cnf", err)
	}
	a.revoked.Thumbprints = list
	a.holders = slices.DeleteFunc(a.holders, func(h Holder) bool { return h.Key.Thumbprint() == thumbprint })
	return nil
}

func insert(list [][]byte, b []byte) ([][]byte, error) {
	i, found := slices.BinarySearchFunc(list, b, bytes.Compare)
	switch {
	case found:
		return list, nil
	case len(list) == MaxRevoked:
		return nil, cbor.ErrTooMany
	}
	return slices.Insert(slices.Clone(list), i, bytes.Clone(b)), nil
}

// Forget drops the serials of tokens that have expired, which need no revocation any
// more. Keys stay.
func (a *Authority) Forget(now int64) {
	a.issued = slices.DeleteFunc(a.issued, func(t Issued) bool {
		gone := t.Expires != 0 && t.Expires < now
		if i, found := slices.BinarySearchFunc(a.revoked.Serials, t.Serial, bytes.Compare); gone && found {
			a.revoked.Serials = slices.Delete(a.revoked.Serials, i, i+1)
		}
		return gone
	})
}

// List signs what is revoked now, under the next number.
func (a *Authority) List(now int64) ([]byte, error) {
	next := a.revoked
	next.Number++
	b, err := sign(&Claims{Issuer: a.Name, IssuedAt: now, Revoked: &next}, a.Signer, a.KID)
	if err == nil {
		a.revoked.Number = next.Number
	}
	return b, err
}

// Time signs a statement of the time, in answer to a device's challenge.
func (a *Authority) Time(now int64, challenge []byte) ([]byte, error) {
	return sign(&Claims{Issuer: a.Name, IssuedAt: now, Nonce: challenge}, a.Signer, a.KID)
}

// Append appends what the authority knows, without its private key.
func (a *Authority) Append(dst []byte) []byte {
	dst = cbor.AppendText(cbor.AppendArray(dst, 7), a.Name)
	dst = cbor.AppendBytes(dst, a.KID)
	// Each in a byte string, which is one item for the bound that cbor has.
	var b []byte
	dst = cbor.AppendArray(dst, len(a.holders))
	for i := range a.holders {
		h := &a.holders[i]
		b = cbor.AppendText(cbor.AppendArray(b[:0], 3), h.Subject)
		b = cbor.AppendUint(b, uint64(RoleNumber(h.Role)))
		b = h.Key.AppendPublic(b)
		dst = cbor.AppendBytes(dst, b)
	}
	dst = cbor.AppendArray(dst, len(a.issued))
	for i := range a.issued {
		t := &a.issued[i]
		b = cbor.AppendText(cbor.AppendText(cbor.AppendArray(b[:0], 4), t.Subject), t.Audience)
		b = cbor.AppendInt(cbor.AppendBytes(b, t.Serial), t.Expires)
		dst = cbor.AppendBytes(dst, b)
	}
	slices.SortFunc(a.sequences, func(s, t sequence) int { return strings.Compare(s.audience, t.audience) })
	dst = cbor.AppendArray(dst, len(a.sequences))
	for _, s := range a.sequences {
		dst = cbor.AppendUint(cbor.AppendText(cbor.AppendArray(dst, 2), s.audience), s.last)
	}
	dst = cbor.AppendUint(dst, a.revoked.Number)
	return appendList(appendList(cbor.AppendArray(dst, 2), a.revoked.Serials), a.revoked.Thumbprints)
}

// ParseAuthority reads what [Authority.Append] wrote; Signer and Random are for the
// caller to set. It aliases b.
func ParseAuthority(b []byte) (*Authority, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return nil, err
	}
	items := func(r *cbor.Reader, n int) {
		if r.Array() != n {
			r.Fail(ErrForm)
		}
	}
	items(&r, 7)
	a := &Authority{Name: r.Text(), KID: r.Bytes()}
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		e, err := cbor.Parse(r.Bytes())
		if err != nil {
			return nil, err
		}
		items(&e, 3)
		h := Holder{Subject: e.Text()}
		role := e.Uint()
		if role == 0 || role >= uint64(len(roleNumbers)) {
			return nil, bad("scope", cbor.ErrRange)
		}
		h.Role = roleNumbers[role]
		if h.Key, err = cose.ReadKey(&e); err != nil {
			return nil, err
		}
		a.holders = append(a.holders, h)
	}
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		e, err := cbor.Parse(r.Bytes())
		if err != nil {
			return nil, err
		}
		items(&e, 4)
		a.issued = append(a.issued, Issued{e.Text(), e.Text(), e.Bytes(), e.Int()})
		if err := e.Done(); err != nil {
			return nil, err
		}
	}
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		items(&r, 2)
		a.sequences = append(a.sequences, sequence{r.Text(), r.Uint()})
	}
	a.revoked.Number = r.Uint()
	items(&r, 2)
	a.revoked.Serials = readSorted(&r, 1, MaxSerial)
	a.revoked.Thumbprints = readSorted(&r, 32, 32)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return a, nil
}
