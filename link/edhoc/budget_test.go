// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBudget(t *testing.T) {
	b := &Budget{Limits: Limits{
		HalfOpen: 2, Timeout: 10 * time.Second, Peers: 2,
		Peer: Allowance{2, time.Minute}, Device: Allowance{4, time.Hour}, Emergency: 5 * time.Minute,
	}}
	var tickets []uint64
	for i, tt := range []struct {
		name      string
		at        time.Duration
		peer      string
		emergency bool
		end       int // this many tickets first, verified when negative
		want      error
	}{
		{"first", 0, "a", false, 0, nil},
		{"second", 0, "a", false, 0, nil},
		{"two are half open", 0, "b", false, 0, ErrHalfOpen},
		{"a has had its two", 1 * time.Second, "a", false, 1, ErrPeerBudget},
		{"b has not", 1 * time.Second, "b", false, 0, nil},
		{"a third peer, and room for two", 1 * time.Second, "c", false, 1, ErrPeerBudget},
		{"what timed out makes room", 11 * time.Second, "b", false, 0, nil},
		{"the device has had its four", 12 * time.Second, "b", false, 2, ErrBudget},
		{"a claims an emergency", 13 * time.Second, "a", true, 0, nil},
		{"and once more", 14 * time.Second, "a", true, 0, ErrBudget},
		{"the clock goes backwards", 3 * time.Second, "a", true, 0, ErrBudget},
		{"one that was verified gives it back", 15 * time.Second, "d", true, -1, nil},
		{"a period later there is another", 15*time.Second + 5*time.Minute, "d", true, 1, nil},
		{"an hour later the device has one", time.Hour + 20*time.Second, "a", false, 1, nil},
		{"and one only", time.Hour + 21*time.Second, "a", false, 1, ErrBudget},
	} {
		for ; tt.end > 0; tt.end-- {
			b.End(tickets[0])
			tickets = tickets[1:]
		}
		if tt.end < 0 {
			b.Verified(tickets[len(tickets)-1])
		}
		ticket, err := b.Begin(tt.peer, tt.emergency, tt.at)
		if !errors.Is(err, tt.want) || err != nil && tt.want == nil {
			t.Fatalf("row %d, %s: %v; want %v", i, tt.name, err, tt.want)
		}
		if err == nil {
			tickets = append(tickets, ticket)
		}
	}
}

func TestVerifiedAttemptComesBack(t *testing.T) {
	var b Budget
	for i := range 50 { // 5 attempts of one peer, 60 of the device
		ticket, err := b.Begin("a", false, 0)
		if err != nil {
			t.Fatalf("attempt %d: %v", i, err)
		}
		b.Verified(ticket)
		b.Verified(ticket) // counts once
	}
}

// TestBudgetHolds asks in any order, with any clock, and counts.
func TestBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{
			HalfOpen: rapid.IntRange(1, 4).Draw(t, "half open"), Timeout: time.Second, Peers: 3,
			Peer:      Allowance{rapid.IntRange(1, 3).Draw(t, "peer"), 10 * time.Second},
			Device:    Allowance{rapid.IntRange(1, 6).Draw(t, "device"), 5 * time.Second},
			Emergency: 20 * time.Second,
		}
		b := &Budget{Limits: l}
		var now, latest time.Duration
		begun, emergencies := 0, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(-3, 6).Draw(t, "seconds")) * time.Second
			now = max(now, 0)
			latest = max(latest, now)
			emergency := rapid.Bool().Draw(t, "emergency")
			used := b.used
			at := b.emergency
			ticket, err := b.Begin(fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "peer")), emergency, now)
			if err == nil {
				begun++
				if b.used && (!used || b.emergency != at) {
					emergencies++
				}
				if rapid.Bool().Draw(t, "ends") {
					b.End(ticket)
				}
			}
			if most := l.Device.Attempts + int(latest/l.Device.Per) + emergencies; begun > most {
				t.Fatalf("%d attempts in %v; at most %d", begun, latest, most)
			}
			if most := 1 + int(latest/l.Emergency); emergencies > most {
				t.Fatalf("%d emergencies in %v; at most %d", emergencies, latest, most)
			}
			if b.HalfOpen() > l.HalfOpen+1 || len(b.peers) > l.Peers {
				t.Fatalf("%d half open, %d peers", b.HalfOpen(), len(b.peers))
			}
		}
	})
}
