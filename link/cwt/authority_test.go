// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

func TestEnrol(t *testing.T) {
	c := newClinic(t)
	other := generate(t, cose.P256, 50, "x")
	for name, test := range map[string]struct {
		h     Holder
		claim string
		want  error
	}{
		"no subject":   {Holder{"", device.Patient, other}, "sub", ErrForm},
		"no role":      {Holder{"x", device.NoRole, other}, "sub", ErrForm},
		"no key":       {Holder{"x", device.Patient, cose.Key{}}, "sub", ErrForm},
		"symmetric":    {Holder{"x", device.Patient, cose.Key{Type: cose.Symmetric, K: make([]byte, 16)}}, "sub", ErrForm},
		"same subject": {Holder{"n-1", device.Patient, other}, "sub", ErrEnrolled},
		"same key":     {Holder{"x", device.Patient, c.nurse}, "sub", ErrEnrolled},
	} {
		t.Run(name, func(t *testing.T) { checkError(t, c.Enrol(test.h), test.claim, test.want) })
	}
	for _, h := range c.Holders() {
		if h.Key.D != nil {
			t.Error("the authority keeps a holder's private key")
		}
	}
	if err := c.RevokeKey(c.nurse.Thumbprint()); err != nil {
		t.Fatal(err)
	}
	checkError(t, c.Enrol(Holder{"n-2", device.Clinician, c.nurse}), "cnf", ErrRevoked)
	_, err := c.Issue("n-1", &Terms{Audience: pump, Expires: noon})
	checkError(t, err, "sub", ErrSubject)
}

func TestIssueRefuses(t *testing.T) {
	c := newClinic(t)
	for name, test := range map[string]struct {
		subject string
		change  func(*Terms)
		claim   string
		want    error
	}{
		"a stranger":          {"x", func(*Terms) {}, "sub", ErrSubject},
		"for no device":       {"p-1", func(t *Terms) { t.Audience = "" }, "aud", ErrMissing},
		"for ever":            {"p-1", func(t *Terms) { t.Expires = 0 }, "exp", ErrMissing},
		"expired":             {"p-1", func(t *Terms) { t.Expires = t.IssuedAt }, "exp", ErrExpired},
		"by a kid it has not": {"k-1", func(t *Terms) { t.ByKID = true }, "cnf", ErrMissing},
		"verb of others":      {"p-1", func(t *Terms) { t.Verbs = []VerbGrant{{Verb: device.Install}} }, "scope", ErrScope},
		"verb twice":          {"p-1", func(t *Terms) { t.Verbs = []VerbGrant{{Verb: device.Wake}, {Verb: device.Wake}} }, "scope", ErrScope},
		"no limit":            {"p-1", func(t *Terms) { t.Verbs = []VerbGrant{{Verb: device.DeliverBolus}} }, "scope", ErrScope},
		"a unit without code": {"p-1", func(t *Terms) {
			t.Verbs = []VerbGrant{{device.DeliverBolus, Limits{Highest: device.Quantity{Coefficient: 1}}}}
		}, "scope", ErrScope},
		"emergency":        {"a-1", func(*Terms) {}, "break-glass", ErrScope},
		"not an emergency": {"p-1", func(t *Terms) { t.Emergency = &Emergency{1, 60} }, "break-glass", ErrScope},
		"long audience":    {"p-1", func(t *Terms) { t.Audience = string(make([]byte, 57)); t.ExpiresIn = 60 }, "cti", cbor.ErrRange},
	} {
		t.Run(name, func(t *testing.T) {
			k := generate(t, cose.P256, 51, "")
			k.ID = nil
			if err := c.Enrol(Holder{"k-1", device.Patient, k}); err != nil && !errors.Is(err, ErrEnrolled) {
				t.Fatal(err)
			}
			terms := &Terms{Audience: pump, IssuedAt: noon, Expires: noon + hour}
			test.change(terms)
			_, err := c.Issue(test.subject, terms)
			checkError(t, err, test.claim, test.want)
		})
	}
	if len(c.Tokens()) != 0 {
		t.Errorf("%d tokens are remembered that were not issued", len(c.Tokens()))
	}
	for name, test := range map[string]struct {
		change func(*Terms)
		claim  string
		want   error
	}{
		"install":    {func(t *Terms) { t.Verbs = []VerbGrant{{Verb: device.Install}} }, "scope", ErrScope},
		"with exi":   {func(t *Terms) { t.ExpiresIn = 60 }, "exi", ErrForm},
		"for a week": {func(t *Terms) { t.Expires += 7 * 24 * hour }, "exp", ErrScope},
		"from ever":  {func(t *Terms) { t.NotBefore = 0 }, "nbf", ErrMissing},
		"needs none": {func(t *Terms) { t.Emergency.Need = 0 }, "break-glass", cbor.ErrRange},
		"no window":  {func(t *Terms) { t.Emergency.Window = 0 }, "break-glass", cbor.ErrRange},
	} {
		t.Run("break-glass "+name, func(t *testing.T) {
			terms := emergencyTerms(t)
			test.change(terms)
			_, err := c.Request("a-1", terms)
			checkError(t, err, test.claim, test.want)
		})
	}
	// The authority does not sign what has too few approvals either.
	request, err := c.Request("a-1", emergencyTerms(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.IssueEmergency(request, c.approve(t, request, []cose.Key{c.anna, c.anna}), &c.v)
	checkError(t, err, "approvals", ErrApprovals)
	// Nor what is not its own request, whoever approved.
	for name, test := range map[string]struct {
		change func(*Claims)
		claim  string
		want   error
	}{
		"another authority's": {func(c *Claims) { c.Issuer = "x" }, "break-glass", ErrForm},
		"no serial":           {func(c *Claims) { c.Serial = nil }, "break-glass", ErrForm},
		"another's key":       {func(c *Claims) { k := generate(t, cose.P256, 60, "x"); c.Key = &k }, "cnf", ErrHolder},
		"another's kid":       {func(c *Claims) { c.Key, c.KID = nil, []byte("x") }, "cnf", ErrHolder},
		"another's name":      {func(c *Claims) { c.Subject = "n-1" }, "sub", ErrSubject},
		"a patient's scope":   {func(c *Claims) { c.Scope = []byte{0x82, 1, 0xa0} }, "scope", ErrScope},
		"no scope":            {func(c *Claims) { c.Scope = nil }, "scope", cbor.ErrTruncated},
		"valid for a month":   {func(c *Claims) { c.Expires += 30 * 24 * hour }, "exp", ErrScope},
	} {
		claims, err := ParseClaims(request)
		if err != nil {
			t.Fatal(err)
		}
		test.change(claims)
		changed, err := claims.Append(nil)
		if err != nil {
			t.Fatal(name, err)
		}
		_, err = c.IssueEmergency(changed, c.approve(t, changed, []cose.Key{c.anna, c.bert}), &c.v)
		checkError(t, err, test.claim, test.want)
	}
	approvals := c.approve(t, request, []cose.Key{c.anna, c.bert})
	token, err := c.IssueEmergency(request, approvals, &c.v)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.IssueEmergency(request, approvals, &c.v)
	checkError(t, err, "cti", ErrUsed)
	_, err = c.v.Verify(token, &c.ambulance, atNoon)
	checkError(t, err, "break-glass", ErrForm)

	_, err = Approve([]byte{0xa0}, signer(t, c.anna), c.anna.ID)
	checkError(t, err, "break-glass", ErrForm)
}

// TestHardwareKey issues with a key that another holds, as PKCS#11 and a TPM do.
func TestHardwareKey(t *testing.T) {
	c := newClinic(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.Signer, err = cose.NewCryptoSigner(private, cose.ES256); err != nil {
		t.Fatal(err)
	}
	k, err := cose.NewSignatureKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	k.ID = c.KID
	c.v.Anchors[0].Key = k
	peer := c.patient.Public()
	if _, err := c.v.Verify(c.issue(t, "p-1", nil), &peer, atNoon); err != nil {
		t.Error(err)
	}
}

func TestAuthorityState(t *testing.T) {
	c := newClinic(t)
	c.issue(t, "p-1", nil)
	c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
	exi := func(t *Terms) { t.Expires, t.NotBefore, t.ExpiresIn = 0, 0, 60 }
	for range 5 {
		c.issue(t, "n-1", exi)
	}
	if err := c.Revoke(c.Tokens()[0].Serial); err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeKey(c.bert.Thumbprint()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(noon); err != nil {
		t.Fatal(err)
	}
	b := c.Append(nil)
	if bytes.Contains(b, c.key.D) || bytes.Contains(b, c.nurse.D) {
		t.Error("a private key is in the authority's state")
	}
	again, err := ParseAuthority(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Append(nil), b) {
		t.Errorf("%x, then %x", b, again.Append(nil))
	}
	if n := len(again.Tokens()); n != 3 { // of those with exi the last
		t.Errorf("%d tokens", n)
	}
	again.Signer, again.Random = c.Signer, random(99)
	c.Authority = again
	token, _, err := Show(c.issue(t, "n-1", exi))
	if n := binary.BigEndian.Uint64(token.Serial[len(pump):]); err != nil || n != 6 {
		t.Errorf("sequence number %d, %v", n, err)
	}
	again.Forget(noon + 9*hour)
	if n := len(again.Tokens()); n != 2 || len(again.revoked.Serials) != 0 || len(again.revoked.Thumbprints) != 1 {
		t.Errorf("%d tokens, %+v", n, again.revoked)
	}
	for i := range b {
		if _, err := ParseAuthority(b[:i]); err == nil {
			t.Errorf("cut to %d bytes, and read", i)
		}
	}
}

func TestRevocations(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	peer := c.patient.Public()
	first, second := c.issue(t, "p-1", nil), c.issue(t, "p-1", nil)
	session, err := d.Admit(&Attempt{Token: first, Peer: &peer, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	list := func() []byte {
		t.Helper()
		b, err := c.List(noon)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	empty := list()
	if err := c.Revoke(c.Tokens()[0].Serial); err != nil {
		t.Fatal(err)
	}
	one := list()
	if err := d.Update(one, atNoon); err != nil {
		t.Fatal(err)
	}
	if e := s.last(t); e.Kind != Listed || e.Count != 2 {
		t.Errorf("%+v", e)
	}
	// What is revoked ends a session that is open.
	checkError(t, session.Permits(command(device.ReadTelemetry, device.Patient), atNoon), "cti", ErrRevoked)
	_, err = d.Admit(&Attempt{Token: first, Peer: &peer, Now: atNoon})
	checkError(t, err, "cti", ErrRevoked)
	if _, err = d.Admit(&Attempt{Token: second, Peer: &peer, Now: atNoon}); err != nil {
		t.Error(err)
	}
	checkError(t, d.Update(empty, atNoon), "revocations", ErrStale)
	checkError(t, d.Update(one, atNoon), "revocations", ErrStale)

	// After a restart no older one is taken, and the same one is.
	documents := d.Revoked.Documents()
	d = c.door(t, s)
	checkError(t, d.Update(empty, atNoon), "revocations", ErrStale)
	// Until it is there nobody knows who is revoked.
	if session, err = d.Admit(&Attempt{Token: second, Peer: &peer, Now: atNoon}); err != nil || !session.Token.Grant.Narrow {
		t.Errorf("the list is lost: %v", err)
	}
	for _, b := range documents {
		if err := d.Update(b, atNoon); err != nil {
			t.Error(err)
		}
	}
	_, err = d.Admit(&Attempt{Token: first, Peer: &peer, Now: atNoon})
	checkError(t, err, "cti", ErrRevoked)
	if session, err = d.Admit(&Attempt{Token: second, Peer: &peer, Now: atNoon}); err != nil || session.Token.Grant.Narrow {
		t.Errorf("the list is there: %v", err)
	}

	if err := c.RevokeKey(peer.Thumbprint()); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(list(), atNoon); err != nil {
		t.Fatal(err)
	}
	_, err = d.Admit(&Attempt{Token: second, Peer: &peer, Now: atNoon})
	checkError(t, err, "cnf", ErrRevoked)

	// Who may not revoke does not; a token is no list, and a list no token.
	d.Anchors = slices.Clone(d.Anchors)
	d.Anchors[0].Uses = Issues
	checkError(t, d.Update(list(), atNoon), "iss", ErrIssuer)
	d.Anchors[0].Uses = Issues | Revokes
	checkError(t, d.Update(second, atNoon), "revocations", ErrMissing)
	_, err = c.v.Verify(one, &peer, atNoon)
	checkError(t, err, "revocations", ErrForm)
	flipped := list()
	flipped[len(flipped)/2] ^= 1
	if err := d.Update(flipped, atNoon); err == nil {
		t.Error("a changed list was taken")
	}
	// A full store keeps no list from being obeyed.
	last := list()
	s.full = true
	checkError(t, d.Update(last, atNoon), "record", ErrRecord)
	if n := d.Revoked.lists[0].Number; n != c.revoked.Number {
		t.Errorf("list %d, want %d", n, c.revoked.Number)
	}
}

// TestRevocationsBounded makes the largest list, which is read, and no larger one.
func TestRevocationsBounded(t *testing.T) {
	c := newClinic(t)
	for i := range MaxRevoked {
		serial := binary.BigEndian.AppendUint64(make([]byte, MaxSerial-8), uint64(i))
		if err := c.Revoke(serial); err != nil {
			t.Fatal(err)
		}
		var thumbprint [32]byte
		binary.BigEndian.PutUint32(thumbprint[:], uint32(i))
		if err := c.RevokeKey(thumbprint); err != nil {
			t.Fatal(err)
		}
	}
	checkError(t, c.Revoke([]byte{1}), "cti", cbor.ErrTooMany)
	checkError(t, c.RevokeKey([32]byte{1}), "cnf", cbor.ErrTooMany)
	list, err := c.List(noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.v.Update(list); err != nil {
		t.Error(err)
	}
	if err := c.v.Update(make([]byte, maxList+1)); !errors.Is(err, cbor.ErrTooMany) {
		t.Errorf("%v, want %v", err, cbor.ErrTooMany)
	}
	peer := c.patient.Public()
	token := c.issue(t, "p-1", nil)
	if got, err := c.v.Verify(token, &peer, atNoon); err != nil {
		t.Error(err)
	} else if n := testing.AllocsPerRun(100, func() {
		if c.v.Check(got, atNoon) != nil {
			t.Error("revoked")
		}
	}); n != 0 {
		t.Errorf("looking at a token again allocates %v times", n)
	}
}

func TestPermitsAllocatesNothing(t *testing.T) {
	g := Grant{Role: device.Patient, Verbs: []VerbGrant{{device.SetTemporaryBasal, Limits{Highest: quantity(t, "2 [iU]/h"), Longest: quantity(t, "2 h")}}}}
	c := command(device.SetTemporaryBasal, device.Patient)
	c.Value, c.Limit = quantity(t, "1.5 [iU]/h"), quantity(t, "30 min")
	if n := testing.AllocsPerRun(100, func() {
		if g.Permits(c, nil, Instant{Uptime: time.Second}) != nil {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}
