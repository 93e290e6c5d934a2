// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cwt

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/myelin-health/myelin/device"
	"github.com/myelin-health/myelin/link/cose"
	"pgregory.net/rapid"
)

// TestWalk goes through a gateway's door in any way: tokens, devices, keys, waiting,
// restarts in the midst, a store that is full for a while. A model knows of each token
// only when and where it opened first, and that is all that may count.
func TestWalk(t *testing.T) {
	c := newClinic(t)
	var tokens [][]byte
	for range 3 {
		tokens = append(tokens, c.breakGlass(t, []cose.Key{c.anna, c.bert}, nil))
	}
	devices := []string{pump, "pump-9"}
	const length = 30 * time.Minute
	type opening struct {
		device string
		at     Instant
		closed bool
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := new(store)
		at := atNoon
		restart := func() *Door {
			d := &Door{Verifier: c.v, Devices: devices, Durable: s.durable, Attempts: 1 << 30}
			if err := d.Restore(s.records); err != nil {
				rt.Fatal(err)
			}
			return d
		}
		d := restart()
		model := map[int]*opening{}
		sessions := map[int]*Session{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(tokens)-1).Draw(rt, "token")
			o := model[i]
			inTime := o != nil && !o.closed && at.Unix-o.at.Unix < int64(length/time.Second)
			switch rapid.SampledFrom([]string{"admit", "admit", "command", "wait", "restart", "close", "store", "checkpoint"}).Draw(rt, "step") {
			case "admit":
				a := &Attempt{
					Token: tokens[i], Now: at, Device: rapid.SampledFrom(devices).Draw(rt, "device"),
					Peer: rapid.SampledFrom([]*cose.Key{&c.ambulance, &c.ambulance, &c.nurse}).Draw(rt, "peer"),
				}
				session, err := d.Admit(a)
				want := a.Peer == &c.ambulance && !s.full && (o == nil || inTime && o.device == a.Device)
				if (err == nil) != want {
					rt.Fatalf("admitted: %v (%v), want %v", err == nil, err, want)
				}
				if err == nil {
					sessions[i] = session
					if o == nil {
						model[i] = &opening{a.Device, at, false}
					}
				}
			case "command":
				if sessions[i] == nil {
					continue
				}
				err := sessions[i].Permits(command(device.Resume, device.Emergency), at)
				if want := inTime && !s.full; (err == nil) != want {
					rt.Fatalf("permitted: %v (%v), want %v", err == nil, err, want)
				}
			case "wait":
				at = at.after(time.Duration(rapid.IntRange(0, 900).Draw(rt, "seconds")) * time.Second)
			case "restart":
				at.Boot++
				at.Uptime = 0
				d = restart()
				clear(sessions)
			case "close":
				if sessions[i] == nil || s.full {
					continue
				}
				if err := sessions[i].Close(Treated, at); err != nil {
					rt.Fatal(err)
				}
				o.closed = true
			case "store":
				s.full = !s.full
			case "checkpoint":
				if n := len(s.records); d.Checkpoint(at) == nil {
					s.records = slices.Clone(s.records[n:])
					if len(s.records) > 1 { // a window that ended just then has one too
						s.records = s.records[len(s.records)-1:]
					}
				}
			}
		}
	})
}

// TestClaimsRoundTrip: whatever is stated is read as it was written.
func TestClaimsRoundTrip(t *testing.T) {
	k := generate(t, cose.P256, 2, "k")
	k = k.Public()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abc:-é")), 0, 20, 100)
		date := rapid.Int64Range(0, 1<<40)
		some := rapid.SliceOfN(rapid.Byte(), 1, 20)
		c := &Claims{
			Issuer: text.Draw(t, "iss"), Subject: text.Draw(t, "sub"), Audience: text.Draw(t, "aud"),
			Expires: date.Draw(t, "exp"), NotBefore: date.Draw(t, "nbf"), IssuedAt: date.Draw(t, "iat"),
			ExpiresIn: rapid.Int64Range(0, 1<<31-1).Draw(t, "exi"),
		}
		may := func(what string, f func()) {
			if rapid.Bool().Draw(t, what) {
				f()
			}
		}
		may("cti", func() { c.Serial = some.Draw(t, "cti") })
		may("scope", func() { c.Scope = some.Draw(t, "scope") })
		may("cnonce", func() { c.Nonce = some.Draw(t, "cnonce") })
		switch rapid.IntRange(0, 2).Draw(t, "cnf") {
		case 1:
			c.Key = &k
		case 2:
			c.KID = some.Draw(t, "kid")
		}
		may("emergency", func() {
			c.Emergency = &Emergency{rapid.IntRange(1, MaxApprovals).Draw(t, "need"), rapid.Int64Range(1, 1<<31-1).Draw(t, "window")}
		})
		may("approvals", func() { c.Approvals = rapid.SliceOfN(some, 1, MaxApprovals).Draw(t, "approvals") })
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseClaims(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, got, sameKey); d != "" {
			t.Fatal(d)
		}
	})
}
