// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/internal/vector"
	"github.com/myelin-health/myelin/link/cose"
)

var sameKey = cmp.Comparer(func(a, b *cose.Key) bool {
	return a == b || a != nil && b != nil && a.Equal(b) && bytes.Equal(a.ID, b.ID)
})

// random is the same in every run.
func random(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func generate(t testing.TB, c cose.Curve, seed byte, kid string) cose.Key {
	t.Helper()
	k, err := cose.GenerateKey(c, random(seed))
	if err != nil {
		t.Fatal(err)
	}
	k.ID = []byte(kid)
	return k
}

func signer(t testing.TB, k cose.Key) cose.Signer {
	t.Helper()
	s, err := cose.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func quantity(t testing.TB, s string) device.Quantity {
	t.Helper()
	q, err := device.ParseQuantity(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return q
}

const (
	noon = 1_795_953_600 // an hour in November 2026
	hour = 3600
)

var atNoon = Instant{Unix: noon, Boot: 1, Uptime: time.Hour}

func (i Instant) after(d time.Duration) Instant {
	i.Uptime += d
	if i.Known() {
		i.Unix += int64(d / time.Second)
	}
	return i
}

// A clinic is an authority with everybody who has to do with one pump.
type clinic struct {
	*Authority
	key                       cose.Key
	nurse, patient, ambulance cose.Key
	anna, bert                cose.Key // who approve
	v                         Verifier
}

const (
	pump  = "pump-7"
	pumps = "class:insulin-pump"
)

var allRoles = []device.Role{
	device.Patient, device.Carer, device.Clinician, device.Technician, device.Emergency, device.Updater, device.Controller,
}

func newClinic(t testing.TB) *clinic {
	t.Helper()
	c := &clinic{
		key:       generate(t, cose.P256, 1, "clinic"),
		nurse:     generate(t, cose.P256, 2, "nurse"),
		patient:   generate(t, cose.CurveEd25519, 3, "patient"),
		ambulance: generate(t, cose.P256, 4, "ambulance"),
		anna:      generate(t, cose.CurveEd25519, 5, "anna"),
		bert:      generate(t, cose.P256, 6, "bert"),
	}
	c.Authority = &Authority{Name: "clinic.example", KID: c.key.ID, Signer: signer(t, c.key), Random: random(7)}
	for _, h := range []Holder{
		{"n-1", device.Clinician, c.nurse},
		{"p-1", device.Patient, c.patient},
		{"a-1", device.Emergency, c.ambulance},
	} {
		if err := c.Enrol(h); err != nil {
			t.Fatal(err)
		}
	}
	c.v = Verifier{
		Anchors: []Anchor{
			{Name: c.Name, Key: c.key.Public(), Uses: Issues | Emergencies | Revokes | TellsTime, Roles: allRoles},
			{Name: "anna", Key: c.anna.Public(), Uses: Approves},
			{Name: "bert", Key: c.bert.Public(), Uses: Approves},
		},
		Audiences: []string{pump, pumps},
	}
	return c
}

func bolus(t testing.TB) VerbGrant {
	return VerbGrant{device.DeliverBolus, Limits{
		Highest: quantity(t, "3 [iU]"), Sum: quantity(t, "10 [iU]"), Window: 4 * time.Hour,
	}}
}

func (c *clinic) issue(t testing.TB, subject string, change func(*Terms)) []byte {
	t.Helper()
	terms := &Terms{
		Audience: pump, IssuedAt: noon - hour, NotBefore: noon - hour, Expires: noon + 8*hour,
		Verbs: []VerbGrant{bolus(t), {Verb: device.ReadTelemetry}},
	}
	if change != nil {
		change(terms)
	}
	b, err := c.Issue(subject, terms)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkError checks what an error says is wrong, and why.
func checkError(t *testing.T, err error, claim string, why error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v, want one about %s: %v", err, claim, why)
	}
	if e.Claim != claim || !errors.Is(err, why) {
		t.Errorf("%v, want one about %s: %v", err, claim, why)
	}
}

// RFC 8392 appendix A.1 to A.3 and A.7.
const (
	rfcClaims = "a70175636f61703a2f2f61732e6578616d706c652e636f6d02656572696b77037818636f61703a2f2f6c696768742e6578616d706c652e636f6d041a5612aeb0051a5610d9f0061a5610d9f007420b71"
	rfcX      = "143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f"
	rfcY      = "60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9"
	rfcSigned = "d28443a10126a05850" + rfcClaims + "58405427c1ff28d23fbad1f29c4c7c6a555e601d6fa29f9179bc3d7438bacaca5acd08c8d4d4f96131680c429a01f85951ecee743a52b9b63632c57209120e1c9e30"
	rfcFloat  = "a106fb41d584367c200000"
)

func TestRFC8392(t *testing.T) {
	want := &Claims{
		Issuer: "coap://as.example.com", Subject: "erikw", Audience: "coap://light.example.com",
		Expires: 1444064944, NotBefore: 1443944944, IssuedAt: 1443944944, Serial: []byte{0x0b, 0x71},
	}
	c, err := ParseClaims(vector.Bytes(t, rfcClaims)) // A.1
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, c, sameKey); d != "" {
		t.Error(d)
	}
	b, err := c.Append(nil)
	if err != nil || !bytes.Equal(b, vector.Bytes(t, rfcClaims)) {
		t.Errorf("written again: %x, %v", b, err)
	}

	k := cose.Key{Type: cose.EC2, Curve: cose.P256, X: vector.Bytes(t, rfcX), Y: vector.Bytes(t, rfcY)} // A.2.3
	for _, prefix := range []string{"", "d83d"} {                                                       // A.3; tag 61 as in section 6
		m, c, err := parseSigned(vector.Bytes(t, prefix+rfcSigned), MaxToken)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, c, sameKey); d != "" {
			t.Error(d)
		}
		if err := m.Verify(&k, nil); err != nil {
			t.Error(err)
		}
	}
	if c, err := ParseClaims(vector.Bytes(t, rfcFloat)); err != nil || c.IssuedAt != 1443944945 { // A.7
		t.Errorf("%+v, %v", c, err)
	}
}

// TestWorkingGroupVectors reads the examples of the COSE working group that are CWTs.
func TestWorkingGroupVectors(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/vectors/cose/CWT/*.json")
	if len(files) == 0 {
		t.Skip("no ../shared/vectors/cose/CWT")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var example struct {
				Input struct {
					Plaintext string         `json:"plaintext_hex"`
					Sign0     map[string]any `json:"sign0"`
				}
				Output struct{ CBOR string }
			}
			if err := json.Unmarshal(b, &example); err != nil {
				t.Fatal(err)
			}
			plaintext := vector.Bytes(t, example.Input.Plaintext)
			token := vector.Bytes(t, example.Output.CBOR)
			_, _, err = Show(token)
			if example.Input.Sign0 == nil { // A.4 to A.7: a MAC or encrypted, which is not for devices here
				if !errors.Is(err, cose.ErrMessage) {
					t.Errorf("%v, want %v", err, cose.ErrMessage)
				}
			} else if err != nil {
				t.Error(err)
			}
			if plaintext[0] == 0xd2 {
				_, _, err = Show(plaintext) // A.6: the signed one inside
			} else {
				_, err = ParseClaims(plaintext)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClaimsRefuse(t *testing.T) {
	for name, test := range map[string]struct {
		in, claim string
		want      error
	}{
		"nothing":               {"", "claims", cbor.ErrTruncated},
		"no map":                {"80", "claims", cbor.ErrKind},
		"trailing byte":         {"a000", "claims", cbor.ErrTrailing},
		"twice":                 {"a2 0161 61 0161 62", "claims", cbor.ErrDuplicate},
		"out of order":          {"a2 0261 61 0161 62", "claims", cbor.ErrOrder},
		"a long number":         {"a1 04 1b0000000000000001", "claims", cbor.ErrShortest},
		"key that is bytes":     {"a1 4101 00", "claims", cbor.ErrKind},
		"iss bytes":             {"a1 01 4161", "iss", cbor.ErrKind},
		"iss empty":             {"a1 01 60", "iss", cbor.ErrRange},
		"aud array":             {"a1 03 81 6161", "aud", cbor.ErrKind},
		"exp zero":              {"a1 04 00", "exp", cbor.ErrRange},
		"exp negative":          {"a1 04 20", "exp", cbor.ErrRange},
		"exp text":              {"a1 04 6131", "exp", cbor.ErrKind},
		"exp NaN":               {"a1 04 f97e00", "exp", cbor.ErrRange},
		"exp infinite":          {"a1 04 f97c00", "exp", cbor.ErrRange},
		"exp a half":            {"a1 04 f93800", "exp", cbor.ErrRange},
		"exp of 64 bits":        {"a1 04 1bffffffffffffffff", "exp", cbor.ErrRange},
		"exp tagged":            {"a1 04 c1 01", "exp", cbor.ErrKind},
		"nbf zero":              {"a1 05 00", "nbf", cbor.ErrRange},
		"cti empty":             {"a1 07 40", "cti", cbor.ErrRange},
		"cti text":              {"a1 07 6161", "cti", cbor.ErrKind},
		"cnf empty":             {"a1 08 a0", "cnf", ErrForm},
		"cnf of two":            {"a1 08 a2 03 4101 0400", "cnf", ErrForm},
		"cnf encrypted key":     {"a1 08 a1 02 83 40a040", "cnf", ErrForm},
		"cnf symmetric key":     {"a1 08 a1 01 a2 0104 20 50 00000000000000000000000000000000", "cnf", ErrForm},
		"cnf key that is none":  {"a1 08 a1 01 a0", "cnf", cose.ErrKey},
		"scope text":            {"a1 09 6161", "scope", cbor.ErrKind},
		"scope empty":           {"a1 09 40", "scope", cbor.ErrRange},
		"exi zero":              {"a1 1828 00", "exi", cbor.ErrRange},
		"exi negative":          {"a1 1828 20", "exi", cbor.ErrKind},
		"break-glass no array":  {"a1 3a00011170 00", "break-glass", cbor.ErrKind},
		"break-glass needs 0":   {"a1 3a00011170 82 00 01", "break-glass", cbor.ErrRange},
		"break-glass needs 9":   {"a1 3a00011170 82 09 01", "break-glass", cbor.ErrRange},
		"break-glass no window": {"a1 3a00011170 82 01 00", "break-glass", cbor.ErrRange},
		"no approvals":          {"a1 3a00011171 80", "approvals", cbor.ErrTooMany},
		"nine approvals":        {"a1 3a00011171 89 404040404040404040", "approvals", cbor.ErrTooMany},
		"list 0":                {"a1 3a00011172 83 00 80 80", "revocations", cbor.ErrRange},
		"list out of order":     {"a1 3a00011172 83 01 82 4102 4101 80", "revocations", cbor.ErrOrder},
		"list with one twice":   {"a1 3a00011172 83 01 82 4101 4101 80", "revocations", cbor.ErrOrder},
		"list of no serial":     {"a1 3a00011172 83 01 81 40 80", "revocations", cbor.ErrRange},
		"list of a short key":   {"a1 3a00011172 83 01 80 81 4101", "revocations", cbor.ErrRange},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseClaims(vector.Bytes(t, test.in))
			checkError(t, err, test.claim, test.want)
		})
	}
	// RFC 8392 section 3: what is not understood is ignored.
	c, err := ParseClaims(vector.Bytes(t, "a4 0161 61 0a f6 1bffffffffffffffff 00 6161 00"))
	if err != nil || c.Issuer != "a" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestVerify(t *testing.T) {
	c := newClinic(t)
	token := c.issue(t, "p-1", nil)
	peer := c.patient.Public()
	for name, form := range map[string][]byte{
		"tag 18":         token,
		"tags 61 and 18": append([]byte{0xd8, 61}, token...),
		"untagged":       token[1:],
	} {
		got, err := c.v.Verify(form, &peer, atNoon)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Subject != "p-1" || got.Grant.Role != device.Patient || got.Grant.Narrow || got.Holder != peer.Thumbprint() {
			t.Errorf("%s: %+v", name, got)
		}
		if d := cmp.Diff(bolus(t), got.Grant.Verbs[0], cmp.Comparer(func(a, b device.Quantity) bool { return normal(a) == normal(b) })); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, err := c.v.Verify(append([]byte{0xd8, 61}, token[1:]...), &peer, atNoon); !errors.Is(err, ErrForm) {
		t.Errorf("tag 61 alone: %v", err)
	}
	// By the kid of a key that was enrolled.
	c.v.Enrolled = []cose.Key{c.patient.Public()}
	byKID := c.issue(t, "p-1", func(t *Terms) { t.ByKID = true })
	if len(byKID) >= len(token) {
		t.Error("a kid is no shorter than a key")
	}
	if _, err := c.v.Verify(byKID, &peer, atNoon); err != nil {
		t.Error(err)
	}
	nurse := c.nurse.Public()
	nurse.ID = peer.ID // what a peer says of its own key
	_, err := c.v.Verify(byKID, &nurse, atNoon)
	checkError(t, err, "cnf", ErrHolder)
	c.v.Enrolled = nil
	_, err = c.v.Verify(byKID, &peer, atNoon)
	checkError(t, err, "cnf", ErrHolder)
}

// resign signs changed claims, as an authority would that makes mistakes.
func (c *clinic) resign(t testing.TB, token []byte, change func(*Claims)) []byte {
	t.Helper()
	claims, _, err := Show(token)
	if err != nil {
		t.Fatal(err)
	}
	change(claims)
	b, err := sign(claims, c.Signer, c.KID)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerifyRefuses(t *testing.T) {
	c := newClinic(t)
	peer := c.patient.Public()
	other := generate(t, cose.P256, 20, "clinic") // another key by the same kid
	for name, test := range map[string]struct {
		token  func(*Terms)
		claims func(*Claims)
		v      func(*Verifier)
		peer   *cose.Key
		now    Instant
		claim  string
		want   error
	}{
		"expired":              {now: atNoon.after(8 * time.Hour), claim: "exp", want: ErrExpired},
		"not yet valid":        {now: atNoon.after(-2 * time.Hour), claim: "nbf", want: ErrNotYet},
		"another device":       {token: func(t *Terms) { t.Audience = "pump-8" }, claim: "aud", want: ErrAudience},
		"another class":        {token: func(t *Terms) { t.Audience = "class:pacemaker" }, claim: "aud", want: ErrAudience},
		"another holder":       {peer: &c.nurse, claim: "cnf", want: ErrHolder},
		"a peer without a key": {peer: &cose.Key{}, claim: "cnf", want: ErrHolder},
		"authority not known":  {v: func(v *Verifier) { v.Anchors = nil }, claim: "iss", want: ErrIssuer},
		"authority only approves": {
			v: func(v *Verifier) { v.Anchors[0].Uses = Approves | Revokes | TellsTime }, claim: "iss", want: ErrIssuer,
		},
		"authority by another name": {v: func(v *Verifier) { v.Anchors[0].Name = "x" }, claim: "iss", want: ErrIssuer},
		"authority of other roles":  {v: func(v *Verifier) { v.Anchors[0].Roles = []device.Role{device.Updater} }, claim: "scope", want: ErrIssuer},
		"authority of no role":      {v: func(v *Verifier) { v.Anchors[0].Roles = nil }, claim: "scope", want: ErrIssuer},
		"another key by that kid":   {v: func(v *Verifier) { v.Anchors[0].Key = other.Public() }, claim: "signature", want: cose.ErrVerification},
		"no issuer":                 {claims: func(c *Claims) { c.Issuer = "" }, claim: "iss", want: ErrMissing},
		"no serial":                 {claims: func(c *Claims) { c.Serial = nil }, claim: "cti", want: ErrMissing},
		"no audience":               {claims: func(c *Claims) { c.Audience = "" }, claim: "aud", want: ErrMissing},
		"no key":                    {claims: func(c *Claims) { c.Key = nil }, claim: "cnf", want: ErrMissing},
		"no scope":                  {claims: func(c *Claims) { c.Scope = nil }, claim: "scope", want: ErrMissing},
		"no end":                    {claims: func(c *Claims) { c.Expires = 0 }, claim: "exp", want: ErrMissing},
		"ends before it begins":     {claims: func(c *Claims) { c.NotBefore = c.Expires }, claim: "exp", want: ErrForm},
		"a nonce":                   {claims: func(c *Claims) { c.Nonce = []byte{1} }, claim: "cnonce", want: ErrForm},
		"approvals, no emergency":   {claims: func(c *Claims) { c.Approvals = [][]byte{{1}} }, claim: "approvals", want: ErrForm},
		"a list of revocations":     {claims: func(c *Claims) { c.Revoked = &Revoked{Number: 1} }, claim: "revocations", want: ErrForm},
		"break-glass without a memory": {
			claims: func(c *Claims) { c.Emergency = &Emergency{1, 60} }, claim: "break-glass", want: ErrForm,
		},
		"emergency without break-glass": {
			claims: func(c *Claims) { c.Scope = []byte{0x82, 5, 0xa0} }, claim: "scope", want: ErrScope,
		},
		"patient who installs": {claims: func(c *Claims) { c.Scope = vector.Bytes(t, "8201a1182aa0") }, claim: "scope", want: ErrScope},
		"exi without a memory": {
			token: func(t *Terms) { t.ExpiresIn = 60 }, claim: "exi", want: ErrForm,
		},
		"clock rolled back": {v: func(v *Verifier) { v.Floor = noon + hour }, claim: "clock", want: ErrRollback},
		"expired by what is known, time unknown": {
			v: func(v *Verifier) { v.Floor = noon + 8*hour }, now: Instant{Boot: 2}, claim: "exp", want: ErrExpired,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := c.v
			v.Anchors = append([]Anchor(nil), v.Anchors...)
			if test.v != nil {
				test.v(&v)
			}
			token := c.issue(t, "p-1", test.token)
			if test.claims != nil {
				token = c.resign(t, token, test.claims)
			}
			if test.peer == nil {
				test.peer = &peer
			}
			if test.now == (Instant{}) {
				test.now = atNoon
			}
			_, err := v.Verify(token, test.peer, test.now)
			checkError(t, err, test.claim, test.want)
		})
	}
	// What is wrong with the message itself.
	claims, _, _ := Show(c.issue(t, "p-1", nil))
	payload, err := claims.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		m     cose.Sign1
		key   cose.Key
		claim string
		want  error
	}{
		"no kid":       {cose.Sign1{Payload: payload}, c.key, "iss", ErrIssuer},
		"detached":     {cose.Sign1{Payload: payload, Detached: true, Protected: cose.Headers{KID: c.KID}}, c.key, "signature", cose.ErrDetached},
		"P-384":        {cose.Sign1{Payload: payload, Protected: cose.Headers{KID: c.KID}}, generate(t, cose.P384, 21, ""), "signature", cose.ErrAlgorithm},
		"by a stanger": {cose.Sign1{Payload: payload, Protected: cose.Headers{KID: c.KID}}, other, "signature", cose.ErrVerification},
		"no claims":    {cose.Sign1{Payload: []byte{0x80}, Protected: cose.Headers{KID: c.KID}}, c.key, "claims", cbor.ErrKind},
		"critical": {cose.Sign1{Payload: payload, Protected: cose.Headers{
			KID: c.KID, Crit: []int64{99}, Other: []cose.Param{{Label: []byte{0x18, 99}, Value: []byte{0}}},
		}}, c.key, "signature", cose.ErrCritical},
	} {
		t.Run(name, func(t *testing.T) {
			m := test.m
			if err := m.Sign(signer(t, test.key), nil); err != nil {
				t.Fatal(err)
			}
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.v.Verify(b, &peer, atNoon)
			checkError(t, err, test.claim, test.want)
		})
	}
	_, err = c.v.Verify(make([]byte, MaxToken+1), &peer, atNoon)
	checkError(t, err, "signature", cbor.ErrTooMany)
}

// TestBitFlips changes each bit of a token: none may be accepted.
func TestBitFlips(t *testing.T) {
	c := newClinic(t)
	peer := c.patient.Public()
	token := c.issue(t, "p-1", nil)
	for i := range 8 * len(token) {
		b := bytes.Clone(token)
		b[i/8] ^= 1 << (i % 8)
		if _, err := c.v.Verify(b, &peer, atNoon); err == nil {
			t.Errorf("bit %d of byte %d changed, and accepted", i%8, i/8)
		}
	}
}

// TestTimeUnknown narrows what cannot be shown to be valid still.
func TestTimeUnknown(t *testing.T) {
	c := newClinic(t)
	peer := c.nurse.Public()
	got, err := c.v.Verify(c.issue(t, "n-1", nil), &peer, Instant{Boot: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !got.TimeUnknown || !got.Grant.Narrow {
		t.Errorf("%+v", got)
	}
}

func TestCredential(t *testing.T) {
	k := generate(t, cose.P256, 1, "a")
	k = k.Public()
	b, err := (&Claims{Subject: "42-50-31-FF-EF-37-32-39", Key: &k}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCCS(b)
	if err != nil || !c.Key.Equal(&k) || !bytes.Equal(c.Key.ID, k.ID) {
		t.Errorf("%+v, %v", c, err)
	}
	// RFC 9529 section 3: the claims set of the Responder's P-256 key.
	c, err = ParseCCS(vector.Bytes(t, "a2026b6578616d706c652e65647508a101a501020241322001215820bbc34960526ea4d32e940cad2a234148ddc21791a12afbcbac93622046dd44f02258204519e257236b2a0ce2023f0931f1f386ca7afda64fcde0108c224c51eabf6072"))
	if err != nil || c.Subject != "example.edu" || c.Key.Curve != cose.P256 || c.Key.ID[0] != 0x32 {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = ParseCCS(vector.Bytes(t, rfcClaims))
	checkError(t, err, "cnf", ErrMissing)
	if _, err := (&Claims{Key: &k, KID: []byte{1}}).Append(nil); !errors.Is(err, ErrForm) {
		t.Errorf("key and kid: %v", err)
	}
	symmetric := cose.Key{Type: cose.Symmetric, K: make([]byte, 16)}
	if _, err := (&Claims{Key: &symmetric}).Append(nil); !errors.Is(err, ErrForm) {
		t.Errorf("symmetric key: %v", err)
	}
	secret := generate(t, cose.P256, 1, "a")
	b, err = (&Claims{Key: &secret}).Append(nil)
	if err != nil || bytes.Contains(b, secret.D) {
		t.Errorf("a private key was written: %v", err)
	}
}
