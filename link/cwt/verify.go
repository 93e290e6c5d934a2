// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
)

// Why a token is not accepted. An [Error] that names the claim wraps one of these,
// or [ErrMissing], [ErrForm], [ErrScope], or an error of cose.
var (
	ErrIssuer    = errors.New("no authority that is trusted for this")
	ErrAudience  = errors.New("for another device")
	ErrExpired   = errors.New("expired")
	ErrNotYet    = errors.New("not valid yet")
	ErrHolder    = errors.New("bound to another key than the peer's")
	ErrRevoked   = errors.New("revoked")
	ErrRollback  = errors.New("the clock went back")
	ErrApprovals = errors.New("not enough approvals by different people")
)

// MaxEmergency is how long a break-glass token may be valid: expiry is what stands in
// for revocation where there is no network.
const MaxEmergency = 72 * time.Hour

// clockSlack is how many seconds a clock may be set back without suspicion.
const clockSlack = 60

// Uses is what an [Anchor] is trusted for.
type Uses uint8

// The uses.
const (
	Issues      Uses = 1 << iota // signs tokens
	Approves                     // is a person who approves break-glass tokens
	TellsTime                    // signs statements of the time
	Revokes                      // signs lists of revocations
	Emergencies                  // with Issues: also break-glass tokens
)

// An Anchor is a key that a device trusts.
type Anchor struct {
	// Name is an authority's, which the claim iss has to be, or a pseudonym of the
	// person who approves. Two keys with one name are one person.
	Name string

	Key  cose.Key // its ID is the kid
	Uses Uses

	// Roles are those that an authority may issue tokens for. None is none: a maker's
	// authority for updates has no say in therapy.
	Roles []device.Role
}

// A Verifier checks tokens. It changes nothing and remembers nothing; goroutines may
// share it while nobody writes to it. The zero value trusts nobody.
type Verifier struct {
	Anchors   []Anchor
	Audiences []string     // the device's own name, and its classes
	Enrolled  []cose.Key   // holders' keys that tokens may name by kid
	Revoked   *Revocations // nil: none
	Floor     int64        // seconds since 1970: it is not earlier than this; 0 is not known

	// Quorum is how many people have to approve a break-glass token, or it is one of
	// one person alone. Zero is 2.
	Quorum int
}

// A Token is one that was verified.
type Token struct {
	*Claims
	Grant    Grant
	Holder   [32]byte // thumbprint of the holder's key
	Received Instant

	// Approved is how many people approved a break-glass token. Alone: fewer than the
	// device's quorum.
	Approved int
	Alone    bool

	TimeUnknown bool     // it was verified without the time, and narrowed for that
	Sequence    uint64   // of a token with exi
	issuer      [32]byte // thumbprint
	approvers   [][32]byte
}

func (v *Verifier) anchor(kid []byte, use Uses) *Anchor {
	if kid == nil {
		return nil
	}
	for i := range v.Anchors {
		if a := &v.Anchors[i]; a.Uses&use == use && bytes.Equal(a.Key.ID, kid) {
			return a
		}
	}
	return nil
}

// signed verifies the signature of any document that an anchor signed.
func (v *Verifier) signed(b []byte, use Uses, most int) (*Anchor, *cose.Sign1, *Claims, error) {
	m, c, err := parseSigned(b, most)
	if err != nil {
		return nil, nil, nil, err
	}
	a, err := v.checkSigned(m, c, use)
	return a, m, c, err
}

func (v *Verifier) checkSigned(m *cose.Sign1, c *Claims, use Uses) (*Anchor, error) {
	switch m.Protected.Alg {
	case cose.ES256, cose.ESP256, cose.EdDSA, cose.Ed25519:
	default: // never by what the key says: that says nothing of the message
		return nil, bad("signature", cose.ErrAlgorithm)
	}
	a := v.anchor(kidOf(m), use)
	switch {
	case a == nil, c.Issuer != "" && c.Issuer != a.Name:
		return nil, bad("iss", ErrIssuer)
	case c.Issuer == "":
		return nil, bad("iss", ErrMissing)
	case v.Revoked.key(a.Key.Thumbprint()):
		return nil, bad("iss", ErrRevoked)
	}
	if err := m.Verify(&a.Key, nil); err != nil {
		return nil, bad("signature", err)
	}
	return a, nil
}

// Verify checks a token that a peer presents whose key is proven. It aliases the
// token. An error is an [Error].
//
// Tokens with exi, and break-glass tokens, are refused: they take a memory. See
// [Door.Admit].
func (v *Verifier) Verify(token []byte, peer *cose.Key, now Instant) (*Token, error) {
	m, c, err := parseSigned(token, MaxToken)
	switch {
	case err != nil:
		return nil, err
	case c.ExpiresIn > 0:
		return nil, bad("exi", ErrForm)
	case c.Emergency != nil:
		return nil, bad("break-glass", ErrForm)
	}
	return v.verify(m, c, peer, now)
}

func (v *Verifier) verify(m *cose.Sign1, c *Claims, peer *cose.Key, now Instant) (*Token, error) {
	use := Issues
	if c.Emergency != nil {
		use |= Emergencies
	}
	a, err := v.checkSigned(m, c, use)
	if err != nil {
		return nil, err
	}
	t := &Token{Claims: c, Received: now, issuer: a.Key.Thumbprint()}
	switch {
	case c.Revoked != nil: // another kind of document
		return nil, bad("revocations", ErrForm)
	case c.Nonce != nil:
		return nil, bad("cnonce", ErrForm)
	case c.Serial == nil:
		return nil, bad("cti", ErrMissing)
	case c.Scope == nil:
		return nil, bad("scope", ErrMissing)
	case c.Audience == "":
		return nil, bad("aud", ErrMissing)
	case !slices.Contains(v.Audiences, c.Audience):
		return nil, bad("aud", ErrAudience)
	}
	if err := v.holder(t, peer); err != nil {
		return nil, err
	}
	g, err := ParseGrant(c.Scope)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(a.Roles, g.Role) {
		return nil, bad("scope", ErrIssuer)
	}
	if (g.Role == device.Emergency) != (c.Emergency != nil) {
		return nil, bad("scope", ErrScope)
	}
	t.Grant = *g
	if c.Emergency != nil {
		if err := v.approved(t, m.Payload, peer); err != nil {
			return nil, err
		}
	} else if c.Approvals != nil {
		return nil, bad("approvals", ErrForm)
	}
	if c.ExpiresIn > 0 {
		var ok bool
		if t.Sequence, ok = c.sequence(); !ok {
			return nil, bad("cti", ErrForm)
		}
	}
	if err := c.checkDates(); err != nil {
		return nil, err
	}
	if err := v.Check(t, now); err != nil {
		return nil, err
	}
	if t.Alone {
		t.Grant.Narrow = true
	}
	// Nothing but uptime can say that a token with exi is too old, and that suffices.
	if !now.Known() && (c.ExpiresIn == 0 || c.NotBefore != 0) {
		t.TimeUnknown = true
		t.Grant.Narrow = true
	}
	return t, nil
}

// checkDates checks that a token ends, and what holds between its dates.
func (c *Claims) checkDates() error {
	switch {
	case c.Expires == 0 && c.ExpiresIn == 0:
		return bad("exp", ErrMissing)
	case c.Emergency != nil && (c.Expires == 0 || c.ExpiresIn != 0):
		return bad("exp", ErrForm)
	case c.Emergency != nil && c.NotBefore == 0:
		return bad("nbf", ErrMissing)
	case c.Expires != 0 && c.Expires <= c.NotBefore:
		return bad("exp", ErrForm)
	case c.Emergency != nil && c.Expires-c.NotBefore > int64(MaxEmergency/time.Second):
		return bad("exp", ErrScope)
	}
	return nil
}

// holder checks that the peer's key is the one that the token is bound to.
func (v *Verifier) holder(t *Token, peer *cose.Key) error {
	k := t.Key
	if t.KID != nil {
		for i := range v.Enrolled {
			if bytes.Equal(v.Enrolled[i].ID, t.KID) {
				k = &v.Enrolled[i]
			}
		}
	}
	switch {
	case t.Key == nil && t.KID == nil:
		return bad("cnf", ErrMissing)
	case k == nil || peer == nil || peer.Type == cose.Symmetric:
		return bad("cnf", ErrHolder)
	}
	t.Holder = k.Thumbprint()
	if t.Holder != peer.Thumbprint() {
		return bad("cnf", ErrHolder)
	}
	return nil
}

// Check looks at a verified token again, as time goes on and lists of revocations
// come in: a session does not outlive its token.
func (v *Verifier) Check(t *Token, now Instant) error {
	switch {
	case now.Known() && now.Unix < v.Floor-clockSlack:
		return bad("clock", ErrRollback)
	case v.Revoked.serial(t.Issuer, t.Serial):
		return bad("cti", ErrRevoked)
	case v.Revoked.key(t.Holder):
		return bad("cnf", ErrRevoked)
	case v.Revoked.key(t.issuer):
		return bad("iss", ErrRevoked)
	case t.Expires != 0 && max(now.Unix, v.Floor) >= t.Expires:
		return bad("exp", ErrExpired)
	case now.Known() && now.Unix < t.NotBefore:
		return bad("nbf", ErrNotYet)
	case t.ExpiresIn != 0 && (now.Boot != t.Received.Boot || now.atMost(t.Received) >= time.Duration(t.ExpiresIn)*time.Second):
		return bad("exi", ErrExpired)
	}
	for _, a := range t.approvers {
		if v.Revoked.key(a) {
			return bad("approvals", ErrRevoked)
		}
	}
	return nil
}

// approvalContext is the external data of an approval.
var approvalContext = []byte("myelin break-glass approval")

// approved counts the people who approved a break-glass token. One who is not known,
// who was revoked, or who would have approved of himself does not count.
func (v *Verifier) approved(t *Token, payload []byte, peer *cose.Key) error {
	request, err := requestOf(payload)
	if err != nil {
		return err
	}
	var names []string
	for _, b := range t.Approvals {
		m, err := cose.ParseSign1(b)
		if err != nil {
			return bad("approvals", err)
		}
		if !m.Detached || !m.Untagged || m.Protected.KID == nil || m.Protected.Alg == 0 {
			return bad("approvals", ErrForm)
		}
		a := v.anchor(m.Protected.KID, Approves)
		if a == nil || a.Name == "" || v.Revoked.key(a.Key.Thumbprint()) || a.Key.Equal(peer) {
			continue
		}
		m.Payload = request
		if err := m.Verify(&a.Key, approvalContext); err != nil {
			return bad("approvals", err)
		}
		if !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
			t.approvers = append(t.approvers, a.Key.Thumbprint())
		}
	}
	t.Approved = len(names)
	quorum := v.Quorum
	if quorum == 0 {
		quorum = 2
	}
	t.Alone = t.Approved < quorum
	if t.Approved < t.Emergency.Need {
		return bad("approvals", ErrApprovals)
	}
	return nil
}
