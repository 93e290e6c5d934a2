// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// A store keeps records, and can be full.
type store struct {
	records [][]byte
	full    bool
}

func (s *store) durable(b []byte) error {
	if s.full {
		return errors.New("no space left")
	}
	s.records = append(s.records, bytes.Clone(b))
	return nil
}

func (s *store) last(t testing.TB) *Record {
	t.Helper()
	if len(s.records) == 0 {
		t.Fatal("nothing is recorded")
	}
	e, err := ParseRecord(s.records[len(s.records)-1])
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// door is a new start of the pump: what it knows it has from the store.
func (c *clinic) door(t testing.TB, s *store) *Door {
	t.Helper()
	d := &Door{Verifier: c.v, Devices: []string{pump}, Durable: s.durable, Meter: new(Meter)}
	d.Revoked = nil
	if err := d.Restore(s.records); err != nil {
		t.Fatal(err)
	}
	return d
}

func emergencyTerms(t testing.TB) *Terms {
	return &Terms{
		Audience: pumps, IssuedAt: noon - hour, NotBefore: noon - hour, Expires: noon + 11*hour,
		Verbs: []VerbGrant{
			{Verb: device.ReadTelemetry},
			{Verb: device.ReadSettings},
			{Verb: device.Suspend},
			{Verb: device.Resume},
			{Verb: device.EmergencyPreset},
		},
		Emergency: &Emergency{Need: 2, Window: 1800},
	}
}

// breakGlass issues a token that people approved; change is done to its terms.
func (c *clinic) breakGlass(t testing.TB, approvers []cose.Key, change func(*Terms)) []byte {
	t.Helper()
	terms := emergencyTerms(t)
	if change != nil {
		change(terms)
	}
	request, err := c.Request("a-1", terms)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.IssueEmergency(request, c.approve(t, request, approvers), &c.v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c *clinic) approve(t testing.TB, request []byte, approvers []cose.Key) (approvals [][]byte) {
	t.Helper()
	for _, k := range approvers {
		a, err := Approve(request, signer(t, k), k.ID)
		if err != nil {
			t.Fatal(err)
		}
		approvals = append(approvals, a)
	}
	return approvals
}

// forge makes a break-glass token as an authority that does not look.
func (c *clinic) forge(t testing.TB, approvers []cose.Key, change func(*Claims)) []byte {
	t.Helper()
	request, err := c.Request("a-1", emergencyTerms(t))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := ParseClaims(request)
	if err != nil {
		t.Fatal(err)
	}
	change(claims)
	if request, err = claims.Append(nil); err != nil {
		t.Fatal(err)
	}
	claims.Approvals = c.approve(t, request, approvers)
	b, err := sign(claims, c.Signer, c.KID)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func command(v device.Verb, role device.Role) *device.Command {
	return &device.Command{Therapy: device.InsulinInfusion, Verb: v, Role: role, Channel: proven}
}

// TestBreakGlass is a genuine case: offline, two approvals that were given when the
// token was issued, a reconnection, and the end.
func TestBreakGlass(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	token := c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
	if len(token) > 1024 {
		t.Errorf("a token of %d bytes", len(token))
	}
	a := &Attempt{Token: token, Peer: &c.ambulance, Now: atNoon}
	session, err := d.Admit(a)
	if err != nil {
		t.Fatal(err)
	}
	if session.Token.Approved != 2 || session.Token.Alone || session.Token.Grant.Narrow || session.Device != pump {
		t.Errorf("%+v", session.Token)
	}
	if e := s.last(t); e.Kind != Opened || e.Device != pump || e.Holder != c.ambulance.Thumbprint() || e.Why != "2 approved" {
		t.Errorf("%+v", e)
	}
	if left := session.Left(atNoon); left != 30*time.Minute {
		t.Errorf("%v left", left)
	}
	for v, want := range map[device.Verb]error{
		device.ReadTelemetry: nil,
		device.Suspend:       nil, // open-ended: a change, and granted
		device.CancelBolus:   nil, // a rescue
		device.DeliverBolus:  ErrRole,
		device.Install:       ErrRole,
		device.Pair:          ErrRole,
		device.SetLimit:      ErrRole,
		device.DeleteRecords: ErrRole,
	} {
		if err := session.Permits(command(v, device.Emergency), atNoon.after(time.Minute)); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", v, err, want)
		}
		if e := s.last(t); v != device.ReadTelemetry && (e.Kind != Commanded || !strings.HasPrefix(e.Why, v.String()+": ")) {
			t.Errorf("%v is recorded as %v, %q", v, e.Kind, e.Why)
		}
	}

	// The radio link breaks; the same key comes back, and the window goes on.
	a.Now = atNoon.after(20 * time.Minute)
	if session, err = d.Admit(a); err != nil {
		t.Fatal(err)
	}
	if e := s.last(t); e.Kind != Reconnected {
		t.Errorf("%+v", e)
	}
	// The device restarts: no second window, and the first one still.
	d = c.door(t, s)
	a.Now.Boot, a.Now.Uptime = 2, 0
	checkError(t, session.Permits(command(device.CancelBolus, device.Emergency), a.Now), "window", ErrClosed)
	if session, err = d.Admit(a); err != nil {
		t.Fatal(err)
	}
	if left := session.Left(a.Now); left != 10*time.Minute {
		t.Errorf("%v left", left)
	}
	checkError(t, session.Close(0, a.Now), "window", ErrReason)
	if err := session.Close(HandedOver, a.Now); err != nil {
		t.Fatal(err)
	}
	if e := s.last(t); e.Kind != Closed || e.Why != "handed over" {
		t.Errorf("%+v", e)
	}
	checkError(t, session.Permits(command(device.CancelBolus, device.Emergency), a.Now), "window", ErrClosed)
	_, err = d.Admit(a)
	checkError(t, err, "cti", ErrUsed)

	key := generate(t, cose.P256, 30, "pump")
	head, err := d.SignHead(signer(t, key), key.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyRecords(s.records, head, &key); err != nil {
		t.Error(err)
	}
}

// TestAcceptance has a row for each line of "Acceptance ideas" of the facts of
// emergency access: each is refused, or narrowed, and leaves a record.
func TestAcceptance(t *testing.T) {
	both := func(c *clinic) []cose.Key { return []cose.Key{c.anna, c.bert} }
	for name, test := range map[string]struct {
		token    func(*testing.T, *clinic) []byte
		before   func(*testing.T, *clinic, *Door, *store, []byte) // what happened before
		peer     func(*clinic) *cose.Key
		presence *Presence
		device   string
		now      Instant
		claim    string // "" is narrowed
		want     error
		why      string // recorded when narrowed
	}{
		"expired":       {now: atNoon.after(11 * time.Hour), claim: "exp", want: ErrExpired},
		"not yet valid": {now: Instant{Unix: noon - hour - 1, Boot: 1, Uptime: time.Hour}, claim: "nbf", want: ErrNotYet},
		"wrong device": {token: func(t *testing.T, c *clinic) []byte {
			return c.breakGlass(t, both(c), func(t *Terms) { t.Audience = "pump-8" })
		}, claim: "aud", want: ErrAudience},
		"wrong key": {peer: func(c *clinic) *cose.Key { return &c.nurse }, claim: "cnf", want: ErrHolder},
		"replayed serial, window over": {before: func(t *testing.T, c *clinic, d *Door, s *store, token []byte) {
			if _, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon}); err != nil {
				t.Fatal(err)
			}
		}, now: atNoon.after(31 * time.Minute), claim: "cti", want: ErrUsed},
		"replayed serial, second device": {before: func(t *testing.T, c *clinic, d *Door, s *store, token []byte) {
			d.Devices = append(d.Devices, "pump-9") // a gateway's door
			if _, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon}); err != nil {
				t.Fatal(err)
			}
		}, device: "pump-9", claim: "cti", want: ErrUsed},
		"replayed serial, other claims": {before: func(t *testing.T, c *clinic, d *Door, s *store, token []byte) {
			claims, _, _ := Show(token)
			again := c.forge(t, both(c), func(c *Claims) { c.Serial, c.Emergency.Window = claims.Serial, 60 })
			if _, err := d.Admit(&Attempt{Token: again, Peer: &c.ambulance, Now: atNoon}); err != nil {
				t.Fatal(err)
			}
		}, claim: "cti", want: ErrUsed},
		"scope above the role": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, both(c), func(c *Claims) { c.Scope = []byte{0x82, 5, 0xa1, 0x18, 42, 0xa0} })
		}, claim: "scope", want: ErrScope},
		"scope of a clinician": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, both(c), func(c *Claims) { c.Scope = []byte{0x82, 3, 0xa0} })
		}, claim: "scope", want: ErrScope},
		"valid for weeks": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, both(c), func(c *Claims) { c.Expires += 14 * 24 * hour })
		}, claim: "exp", want: ErrScope},
		"valid from ever": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, both(c), func(c *Claims) { c.NotBefore = 0 })
		}, claim: "nbf", want: ErrMissing},
		"with exi": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, both(c), func(c *Claims) {
				c.ExpiresIn = 60
				c.Serial = AppendSequence(nil, pumps, 1)
			})
		}, claim: "exp", want: ErrForm},
		"one signature of two": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, []cose.Key{c.anna}, func(*Claims) {})
		}, claim: "approvals", want: ErrApprovals},
		"none of two": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, nil, func(*Claims) {})
		}, claim: "approvals", want: ErrApprovals},
		"same person twice": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, []cose.Key{c.anna, c.anna}, func(*Claims) {})
		}, claim: "approvals", want: ErrApprovals},
		"same person with two keys": {token: func(t *testing.T, c *clinic) []byte {
			second := generate(t, cose.P256, 31, "anna-2")
			c.v.Anchors = append(c.v.Anchors, Anchor{Name: "anna", Key: second.Public(), Uses: Approves})
			return c.forge(t, []cose.Key{c.anna, second}, func(*Claims) {})
		}, claim: "approvals", want: ErrApprovals},
		"approved by the holder": {token: func(t *testing.T, c *clinic) []byte {
			c.v.Anchors = append(c.v.Anchors, Anchor{Name: "a-1", Key: c.ambulance.Public(), Uses: Approves})
			return c.forge(t, []cose.Key{c.anna, c.ambulance}, func(*Claims) {})
		}, claim: "approvals", want: ErrApprovals},
		"approved by a stranger": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, []cose.Key{c.anna, c.nurse}, func(*Claims) {})
		}, claim: "approvals", want: ErrApprovals},
		"approved by the authority": {token: func(t *testing.T, c *clinic) []byte {
			return c.forge(t, []cose.Key{c.anna, c.key}, func(*Claims) {})
		}, claim: "approvals", want: ErrApprovals},
		"approval of another request": {token: func(t *testing.T, c *clinic) []byte {
			one, _, _ := Show(c.breakGlass(t, both(c), nil))
			two, _, _ := Show(c.breakGlass(t, both(c), nil))
			two.Approvals = one.Approvals
			b, err := sign(two, c.Signer, c.KID)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}, claim: "approvals", want: cose.ErrVerification},
		"approver revoked": {before: func(t *testing.T, c *clinic, d *Door, s *store, _ []byte) {
			c.revoke(t, d, c.bert)
		}, claim: "approvals", want: ErrApprovals},
		"clock rolled back": {before: func(t *testing.T, c *clinic, d *Door, s *store, _ []byte) {
			d.Floor = noon + 2*hour
		}, claim: "clock", want: ErrRollback},
		"audit store full": {before: func(t *testing.T, c *clinic, d *Door, s *store, _ []byte) {
			s.full = true
		}, claim: "record", want: ErrRecord},
		"issuer revoked": {before: func(t *testing.T, c *clinic, d *Door, s *store, _ []byte) {
			c.revoke(t, d, c.key)
		}, claim: "iss", want: ErrRevoked},
		"holder revoked": {before: func(t *testing.T, c *clinic, d *Door, s *store, _ []byte) {
			c.revoke(t, d, c.ambulance)
		}, claim: "cnf", want: ErrRevoked},
		"issuer not of break-glass": {before: func(t *testing.T, c *clinic, d *Door, s *store, _ []byte) {
			d.Anchors = slices.Clone(d.Anchors)
			d.Anchors[0].Uses = Issues
		}, claim: "iss", want: ErrIssuer},
		"emergency while a normal session is open": {before: func(t *testing.T, c *clinic, d *Door, s *store, _ []byte) {
			if _, err := d.Admit(&Attempt{Token: c.issue(t, "n-1", nil), Peer: &c.nurse, Now: atNoon}); err != nil {
				t.Fatal(err)
			}
		}, why: "2 approved, a clinician is connected, narrowed"},
		"time unknown": {now: Instant{Boot: 1, Uptime: time.Hour}, why: "2 approved, time unknown, narrowed"},
		"one person alone, absent": {token: func(t *testing.T, c *clinic) []byte {
			return c.breakGlass(t, []cose.Key{c.anna}, func(t *Terms) { t.Emergency.Need = 1 })
		}, claim: "presence", want: ErrPresence},
		"one person alone, was there": {token: func(t *testing.T, c *clinic) []byte {
			return c.breakGlass(t, []cose.Key{c.anna}, func(t *Terms) { t.Emergency.Need = 1 })
		}, presence: &Presence{Wand, atNoon.after(-61 * time.Second)}, claim: "presence", want: ErrPresence},
		"one person alone, there before a restart": {token: func(t *testing.T, c *clinic) []byte {
			return c.breakGlass(t, []cose.Key{c.anna}, func(t *Terms) { t.Emergency.Need = 1 })
		}, presence: &Presence{Wand, Instant{Unix: noon, Boot: 0, Uptime: time.Hour}}, claim: "presence", want: ErrPresence},
		"one person alone, of no kind": {token: func(t *testing.T, c *clinic) []byte {
			return c.breakGlass(t, []cose.Key{c.anna}, func(t *Terms) { t.Emergency.Need = 1 })
		}, presence: &Presence{At: atNoon}, claim: "presence", want: ErrPresence},
		"one person alone, at the patient": {token: func(t *testing.T, c *clinic) []byte {
			return c.breakGlass(t, []cose.Key{c.anna}, func(t *Terms) { t.Emergency.Need = 1 })
		}, presence: &Presence{Wand, atNoon.after(-12 * time.Second)}, why: "1 approved, one person alone, presence by wand 12s ago, narrowed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClinic(t)
			s := new(store)
			var token []byte
			if test.token != nil {
				token = test.token(t, c)
			} else {
				token = c.breakGlass(t, both(c), nil)
			}
			d := c.door(t, s)
			if test.before != nil {
				test.before(t, c, d, s, token)
			}
			if test.now == (Instant{}) {
				test.now = atNoon
			}
			a := &Attempt{Token: token, Peer: &c.ambulance, Presence: test.presence, Device: test.device, Now: test.now}
			if test.peer != nil {
				a.Peer = test.peer(c)
			}
			records := len(s.records)
			session, err := d.Admit(a)
			if test.claim != "" {
				checkError(t, err, test.claim, test.want)
				if s.full {
					s.full = false // the next record tells of it
					if _, err := d.Admit(&Attempt{Token: nil, Now: test.now}); err == nil {
						t.Error("nothing was admitted")
					}
					if e := s.last(t); e.Kind != Refused || e.Count != 2 {
						t.Errorf("%+v", e)
					}
					return
				}
				if e := s.last(t); len(s.records) <= records || e.Kind != Refused || e.Why != err.Error() || e.Count != 1 || e.At != test.now {
					t.Errorf("%d records, then %d, the last %+v", records, len(s.records), e)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e := s.last(t); e.Kind != Opened || e.Why != test.why {
				t.Errorf("%v, %q", e.Kind, e.Why)
			}
			for v, want := range map[device.Verb]error{
				device.ReadTelemetry:   nil,
				device.CancelBolus:     nil,
				device.EmergencyPreset: nil,
				device.Suspend:         ErrNarrow, // open-ended
				device.Resume:          ErrNarrow,
			} {
				if err := session.Permits(command(v, device.Emergency), test.now); !errors.Is(err, want) {
					t.Errorf("%v: %v, want %v", v, err, want)
				}
			}
		})
	}
}

// revoke revokes a key by another authority's list: one's own key is revoked by
// somebody else.
func (c *clinic) revoke(t testing.TB, d *Door, k cose.Key) {
	t.Helper()
	key := generate(t, cose.CurveEd25519, 40, "maker")
	maker := &Authority{Name: "maker.example", KID: key.ID, Signer: signer(t, key)}
	d.Anchors = append(slices.Clone(d.Anchors), Anchor{Name: maker.Name, Key: key.Public(), Uses: Revokes})
	if err := maker.RevokeKey(k.Thumbprint()); err != nil {
		t.Fatal(err)
	}
	list, err := maker.List(noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(list, atNoon); err != nil {
		t.Fatal(err)
	}
}

// TestClinicianLeaves: what was narrowed for another's session is so no longer than it.
func TestClinicianLeaves(t *testing.T) {
	c := newClinic(t)
	d := c.door(t, new(store))
	nurse, err := d.Admit(&Attempt{Token: c.issue(t, "n-1", nil), Peer: &c.nurse, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	session, err := d.Admit(&Attempt{Token: c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	resume := command(device.Resume, device.Emergency)
	if err := session.Permits(resume, atNoon); !errors.Is(err, ErrNarrow) {
		t.Errorf("%v, want %v", err, ErrNarrow)
	}
	if err := nurse.Close(0, atNoon); err != nil {
		t.Fatal(err)
	}
	if err := session.Permits(resume, atNoon); err != nil {
		t.Error(err)
	}
	checkError(t, nurse.Permits(command(device.ReadTelemetry, device.Clinician), atNoon), "window", ErrClosed)
}

// TestClinicianGoesAway: one who went without a word narrows a rescuer for a few minutes
// from the last thing that he asked for, and not until his token expires.
func TestClinicianGoesAway(t *testing.T) {
	c := newClinic(t)
	d := c.door(t, new(store))
	nurse, err := d.Admit(&Attempt{Token: c.issue(t, "n-1", nil), Peer: &c.nurse, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	session, err := d.Admit(&Attempt{Token: c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	after := func(d time.Duration) Instant {
		return Instant{Unix: atNoon.Unix + int64(d/time.Second), Boot: atNoon.Boot, Uptime: atNoon.Uptime + d}
	}
	resume := command(device.Resume, device.Emergency)
	if err := nurse.Permits(command(device.ReadTelemetry, device.Clinician), after(4*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := session.Permits(resume, after(9*time.Minute)); !errors.Is(err, ErrNarrow) {
		t.Errorf("%v, want %v", err, ErrNarrow)
	}
	if err := session.Permits(resume, after(9*time.Minute+time.Second)); err != nil {
		t.Error(err)
	}
}

// TestRepeatedRescue: who knows that a rescue is repeated has it judged as a change.
func TestRepeatedRescue(t *testing.T) {
	c := newClinic(t)
	d := c.door(t, new(store))
	session, err := d.Admit(&Attempt{Token: c.issue(t, "p-1", nil), Peer: &c.patient, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	suspend := command(device.Suspend, device.Patient)
	suspend.Limit = quantity(t, "1 h")
	if err := session.Permits(suspend, atNoon); err != nil {
		t.Error(err)
	}
	checkError(t, session.PermitsChange(suspend, atNoon), "scope", ErrVerb)
}

// TestTokenIsCopied: the buffer that a token came in is used again.
func TestTokenIsCopied(t *testing.T) {
	c := newClinic(t)
	d := c.door(t, new(store))
	token := c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
	buffer := bytes.Clone(token)
	session, err := d.Admit(&Attempt{Token: buffer, Peer: &c.ambulance, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	clear(buffer)
	if err := session.Permits(command(device.Resume, device.Emergency), atNoon); err != nil {
		t.Error(err)
	}
	if _, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon}); err != nil {
		t.Error(err)
	}
	if want, _, _ := Show(token); !bytes.Equal(session.Token.Serial, want.Serial) {
		t.Error("the session's token was written over")
	}
}

// TestGateway: a token for one of the devices behind a door is for that one.
func TestGateway(t *testing.T) {
	c := newClinic(t)
	c.v.Audiences = append(c.v.Audiences, "pump-9")
	d := c.door(t, new(store))
	d.Devices = []string{pump, "pump-9"}
	token := c.issue(t, "p-1", func(t *Terms) { t.Audience = "pump-9" })
	breakGlass := c.breakGlass(t, []cose.Key{c.anna, c.bert}, func(t *Terms) { t.Audience = "pump-9" })
	for _, a := range []Attempt{
		{Token: token, Peer: &c.patient, Now: atNoon},
		{Token: breakGlass, Peer: &c.ambulance, Now: atNoon},
	} {
		_, err := d.Admit(&a)
		checkError(t, err, "aud", ErrAudience)
		a.Device = "pump-10"
		_, err = d.Admit(&a)
		checkError(t, err, "aud", ErrAudience)
		a.Device = "pump-9"
		if s, err := d.Admit(&a); err != nil || s.Device != "pump-9" {
			t.Error(err)
		}
	}
}

// TestSerialsBounded: a serial is remembered until its token has expired for sure, and
// when there is no room for another, another is refused.
func TestSerialsBounded(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	d.Attempts = 1 << 30
	first := c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
	token := first
	for range maxWindows {
		session, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon})
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Close(Drill, atNoon); err != nil {
			t.Fatal(err)
		}
		token = c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
	}
	_, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon})
	checkError(t, err, "window", cbor.ErrTooMany)
	_, err = d.Admit(&Attempt{Token: first, Peer: &c.ambulance, Now: atNoon})
	checkError(t, err, "cti", ErrUsed)
	later := atNoon.after(11 * time.Hour)
	token = c.breakGlass(t, []cose.Key{c.anna, c.bert}, func(t *Terms) { t.NotBefore, t.Expires = later.Unix, later.Unix+hour })
	if _, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: later}); err != nil {
		t.Error(err)
	}
	d = c.door(t, s) // the same is so after a restart
	d.Attempts = 1 << 30
	if len(d.windows) != 1 {
		t.Errorf("%d serials are remembered, want 1", len(d.windows))
	}
	_, err = d.Admit(&Attempt{Token: first, Peer: &c.ambulance, Now: Instant{Boot: 2}}) // it has forgotten the time
	checkError(t, err, "exp", ErrExpired)
}

// TestStoreFull: in a session a rescue does not wait for the record, a change does.
func TestStoreFull(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	a := &Attempt{Token: c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon}
	session, err := d.Admit(a)
	if err != nil {
		t.Fatal(err)
	}
	s.full = true
	if err := session.Permits(command(device.Resume, device.Emergency), atNoon); !errors.Is(err, ErrRecord) {
		t.Errorf("a change: %v, want %v", err, ErrRecord)
	}
	if err := session.Permits(command(device.CancelBolus, device.Emergency), atNoon); err != nil {
		t.Errorf("a rescue: %v", err)
	}
	_, err = d.Admit(a) // coming back is recorded too
	checkError(t, err, "record", ErrRecord)
	d.Durable = nil
	_, err = d.Admit(&Attempt{Token: c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon})
	checkError(t, err, "record", ErrRecord)
}

// TestRecordBeforeOpen kills the device at each record: whenever that is, a token
// that opened something is known to be used afterwards.
func TestRecordBeforeOpen(t *testing.T) {
	c := newClinic(t)
	token := c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
	s := new(store)
	d := c.door(t, s)
	opened := false
	d.Durable = func(b []byte) error {
		if opened {
			t.Error("opened before the record was durable")
		}
		return s.durable(b)
	}
	session, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon})
	opened = err == nil
	if !opened || session.Left(atNoon) == 0 {
		t.Fatal(err)
	}
	// kill -9, and the window is over while the device is off.
	later := Instant{Unix: noon + hour, Boot: 2}
	_, err = c.door(t, s).Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: later})
	checkError(t, err, "cti", ErrUsed)
}

// TestRestartsWithoutTime: who can restart a device does not get a window without end
// for it. What was counted before a restart stays counted, and of what was not there
// is a bound.
func TestRestartsWithoutTime(t *testing.T) {
	c := newClinic(t)
	for name, test := range map[string]struct {
		step time.Duration // from one record to the next
		most time.Duration
	}{
		"counted":     {time.Minute, 35 * time.Minute},
		"not counted": {29 * time.Minute, (1 + maxRestarts) * 29 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := new(store)
			token := c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
			var err error
			total := time.Duration(0)
			for boot := uint64(1); boot < 100 && err == nil; boot++ {
				d := c.door(t, s)
				a := &Attempt{Token: token, Peer: &c.ambulance, Now: Instant{Boot: boot}}
				for err == nil && a.Now.Uptime < 29*time.Minute {
					var session *Session
					if session, err = d.Admit(a); err != nil {
						break
					}
					a.Now.Uptime += test.step
					if session.Permits(command(device.ReadTelemetry, device.Emergency), a.Now) == nil {
						total += test.step
					}
				}
			}
			checkError(t, err, "cti", ErrUsed)
			if total == 0 || total > test.most {
				t.Errorf("open for %v", total)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	forged := bytes.Clone(c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil))
	forged[len(forged)-1] ^= 1
	at := atNoon
	for i := range 1000 {
		_, err := d.Admit(&Attempt{Token: forged, Peer: &c.ambulance, Now: at})
		want := cose.ErrVerification
		if i >= defaultAttempts-1 {
			want = ErrBudget
		}
		if !errors.Is(err, want) {
			t.Fatalf("attempt %d: %v, want %v", i, err, want)
		}
		at = at.after(10 * time.Millisecond)
	}
	if len(s.records) != defaultAttempts-1 {
		t.Errorf("%d records of 1000 attempts", len(s.records))
	}
	// The flood has not used up the true rescuer's attempt.
	genuine := &Attempt{Token: c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: at.after(defaultSpacing)}
	if _, err := d.Admit(genuine); err != nil {
		t.Fatal(err)
	}
	// Nor does it keep him from coming back, or another authority's holder from coming.
	at = genuine.Now
	for range 100 {
		_, _ = d.Admit(&Attempt{Token: forged, Peer: &c.ambulance, Now: at})
	}
	session, err := d.Admit(genuine)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Close(Drill, at); err != nil {
		t.Fatal(err)
	}
	// A restart gives nobody a new budget; the next refusal says how many there were.
	d = c.door(t, s)
	at = Instant{Unix: at.Unix + 10, Boot: 2}
	_, err = d.Admit(&Attempt{Token: forged, Peer: &c.ambulance, Now: at})
	if !errors.Is(err, cose.ErrVerification) { // the first since the restart is looked at
		t.Error(err)
	}
	_, err = d.Admit(&Attempt{Token: forged, Peer: &c.ambulance, Now: at})
	checkError(t, err, "window", ErrBudget)
	at = at.after(budgetPeriod)
	_, err = d.Admit(&Attempt{Token: forged, Peer: &c.ambulance, Now: at})
	if !errors.Is(err, cose.ErrVerification) {
		t.Error(err)
	}
	if e := s.last(t); e.Count != 2 {
		t.Errorf("%d refusals, want 2", e.Count)
	}
}

// TestFloodOfRecords: who floods a device for a day does not fill its store.
func TestFloodOfRecords(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	forged := bytes.Clone(c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil))
	forged[len(forged)-1] ^= 1
	at, n := atNoon, uint64(0)
	for range 4 * 60 * 11 { // until it would have expired
		_, err := d.Admit(&Attempt{Token: forged, Peer: &c.ambulance, Now: at})
		_, other := d.Admit(&Attempt{Token: []byte{0xa0}, Peer: &c.ambulance, Now: at})
		if err == nil || other == nil {
			t.Fatal("admitted")
		}
		at, n = at.after(15*time.Second), n+2
	}
	if len(s.records) > 2*(defaultAttempts+11) {
		t.Errorf("%d records", len(s.records))
	}
	counted := d.skipped
	for _, b := range s.records {
		e, err := ParseRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		counted += e.Count
	}
	if counted != n {
		t.Errorf("%d refusals are counted, of %d", counted, n)
	}
}

// TestCommandsBounded: nor does a holder with many commands; a rescue still passes.
func TestCommandsBounded(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	session, err := d.Admit(&Attempt{Token: c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	for range maxMarks + 10 {
		_ = session.Permits(command(device.DeliverBolus, device.Emergency), atNoon)
	}
	if len(s.records) != 1+maxMarks {
		t.Errorf("%d records", len(s.records))
	}
	checkError(t, session.Permits(command(device.Resume, device.Emergency), atNoon), "record", ErrBudget)
	if err := session.Permits(command(device.CancelBolus, device.Emergency), atNoon); err != nil {
		t.Error(err)
	}
}

// BenchmarkAdmit opens a door by break-glass, with three signatures to verify.
func BenchmarkAdmit(b *testing.B) {
	c := newClinic(b)
	a := &Attempt{Token: c.breakGlass(b, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon}
	b.ReportAllocs()
	for b.Loop() {
		d := &Door{Verifier: c.v, Devices: []string{pump}, Durable: new(store).durable}
		if _, err := d.Admit(a); err != nil {
			b.Fatal(err)
		}
	}
}

// TestOpenings: nor do genuine tokens open without end.
func TestOpenings(t *testing.T) {
	c := newClinic(t)
	d := c.door(t, new(store))
	for i := range defaultAttempts + 1 {
		_, err := d.Admit(&Attempt{Token: c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil), Peer: &c.ambulance, Now: atNoon})
		if i < defaultAttempts {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		checkError(t, err, "window", ErrBudget)
	}
}

func TestSequence(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	exi := func(t *Terms) { t.NotBefore, t.Expires, t.ExpiresIn = 0, 0, 600 }
	one, two, three := c.issue(t, "p-1", exi), c.issue(t, "p-1", exi), c.issue(t, "p-1", exi)
	at := Instant{Boot: 1} // the device has no clock
	admit := func(token []byte) (*Session, error) {
		return d.Admit(&Attempt{Token: token, Peer: &c.patient, Now: at})
	}
	session, err := admit(two)
	if err != nil {
		t.Fatal(err)
	}
	if session.Token.Grant.Narrow || session.Token.TimeUnknown || session.Left(at) != 10*time.Minute {
		t.Errorf("%+v, %v left", session.Token, session.Left(at))
	}
	if e := s.last(t); e.Kind != Admitted {
		t.Errorf("%+v", e)
	}
	at.Uptime = 9 * time.Minute
	if session, err = admit(two); err != nil || session.Left(at) != time.Minute { // it does not begin again
		t.Errorf("%v left, %v", session.Left(at), err)
	}
	if _, err = admit(one); err != nil { // older, but nothing has expired that is newer
		t.Error(err)
	}
	at.Uptime = 10 * time.Minute
	checkError(t, session.Permits(command(device.ReadTelemetry, device.Patient), at), "exi", ErrExpired)
	_, err = admit(two)
	checkError(t, err, "exi", ErrStale)
	_, err = admit(one) // its own time is not over
	checkError(t, err, "exi", ErrStale)
	if _, err = admit(three); err != nil {
		t.Fatal(err)
	}
	// After a restart nobody can tell how long ago that was.
	d = c.door(t, s)
	at = Instant{Boot: 2}
	_, err = admit(three)
	checkError(t, err, "exi", ErrStale)
	if _, err = admit(c.issue(t, "p-1", exi)); err != nil {
		t.Error(err)
	}
	_, err = admit(c.resign(t, three, func(c *Claims) { c.Serial = []byte("serial") }))
	checkError(t, err, "cti", ErrForm)
	s.full = true
	_, err = admit(c.issue(t, "p-1", exi))
	checkError(t, err, "record", ErrRecord)
}

func TestTime(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	at := func(up time.Duration) Instant { return d.Now(1, up) }
	if at(0).Known() {
		t.Error("the time is known from the start")
	}
	tell := func(unix int64, up time.Duration) error {
		t.Helper()
		challenge, err := d.Challenge(random(byte(unix)), at(up))
		if err != nil {
			t.Fatal(err)
		}
		statement, err := c.Time(unix, challenge)
		if err != nil {
			t.Fatal(err)
		}
		return d.SetTime(statement, at(up))
	}
	if err := tell(noon, time.Minute); err != nil {
		t.Fatal(err)
	}
	if now := at(2 * time.Minute); now.Unix != noon+60 {
		t.Errorf("%+v", now)
	}
	if now := d.Now(2, 2*time.Minute); now.Known() {
		t.Errorf("known after a restart: %+v", now)
	}
	checkError(t, tell(noon-hour, 3*time.Minute), "iat", ErrRollback)
	if err := tell(noon+110, 3*time.Minute); err != nil { // 10 s behind: it does not go back
		t.Error(err)
	}
	if now := at(3 * time.Minute); now.Unix != noon+120 {
		t.Errorf("%+v", now)
	}

	challenge, err := d.Challenge(random(1), at(4*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	old, err := c.Time(noon+500, []byte("12345678"))
	if err != nil {
		t.Fatal(err)
	}
	checkError(t, d.SetTime(old, at(4*time.Minute)), "cnonce", ErrStale)
	statement, err := c.Time(noon+500, challenge)
	if err != nil {
		t.Fatal(err)
	}
	checkError(t, d.SetTime(statement, at(6*time.Minute)), "cnonce", ErrStale) // held back
	if challenge, err = d.Challenge(random(2), at(6*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if statement, err = c.Time(noon+340, challenge); err != nil {
		t.Fatal(err)
	}
	d.Anchors = slices.Clone(d.Anchors)
	d.Anchors[0].Uses &^= TellsTime
	checkError(t, d.SetTime(statement, at(6*time.Minute)), "iss", ErrIssuer)
	d.Anchors[0].Uses |= TellsTime
	if err := d.SetTime(statement, at(6*time.Minute)); err != nil {
		t.Error(err)
	}
	checkError(t, d.SetTime(statement, at(6*time.Minute)), "cnonce", ErrStale) // once
	checkError(t, d.SetTime(c.issue(t, "p-1", nil), at(6*time.Minute)), "scope", ErrForm)

	// What is known survives: it is not earlier than that.
	again := c.door(t, s)
	if again.Floor < noon+340 {
		t.Errorf("floor %d", again.Floor)
	}
}

func TestRecords(t *testing.T) {
	c := newClinic(t)
	s := new(store)
	d := c.door(t, s)
	token := c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil)
	for range 3 {
		if _, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon}); err != nil {
			t.Fatal(err)
		}
	}
	key := generate(t, cose.P256, 30, "pump")
	head, err := d.SignHead(signer(t, key), key.ID)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, records [][]byte, want bool) {
		t.Helper()
		err := VerifyRecords(records, head, &key)
		if want && err != nil || !want && err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	check("all", s.records, true)
	check("none", nil, false)
	check("the last is gone", s.records[:2], false)
	check("the first is gone", s.records[1:], false)
	check("one within is gone", slices.Delete(slices.Clone(s.records), 1, 2), false)
	check("swapped", [][]byte{s.records[0], s.records[2], s.records[1]}, false)
	for i := range s.records {
		for j := range s.records[i] {
			changed := slices.Clone(s.records)
			changed[i] = bytes.Clone(changed[i])
			changed[i][j] ^= 1
			check("changed", changed, false)
		}
	}
	other := generate(t, cose.P256, 31, "pump")
	if VerifyRecords(s.records, head, &other) == nil {
		t.Error("verified with another key")
	}

	// A checkpoint stands for all before it.
	if err := d.Checkpoint(atNoon); err != nil {
		t.Fatal(err)
	}
	short := &store{records: s.records[3:]}
	d = c.door(t, short)
	if _, err := d.Admit(&Attempt{Token: token, Peer: &c.ambulance, Now: atNoon}); err != nil {
		t.Error(err)
	}
	if e := short.last(t); e.Kind != Reconnected || e.Number != 5 {
		t.Errorf("%+v", e)
	}
	if err := new(Door).Restore([][]byte{s.records[1]}); !errors.Is(err, ErrRecord) {
		t.Errorf("without the first: %v", err)
	}
	if err := new(Door).Restore([][]byte{s.records[0], s.records[2]}); !errors.Is(err, ErrRecord) {
		t.Errorf("without the second: %v", err)
	}
}
