// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// negotiate begins as often as it takes, three times at most, with the suites that
// each side has. Forge changes what the Initiator is answered.
func negotiate(t *testing.T, m *SuiteMemory, initiator, responder []Suite, forge func(*Error)) (Suite, int, error) {
	t.Helper()
	ci, cr := pair(t, DHDH, 2, true)
	ci.Suites, cr.Suites = initiator, responder
	for attempt := 1; attempt <= 3; attempt++ {
		i, err := NewInitiator(ci, m.Learned("R"))
		if err != nil {
			return 0, attempt, err
		}
		r, err := NewResponder(cr)
		if err != nil {
			t.Fatal(err)
		}
		m1, err := i.Message1(nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Begun("R")
		if err := r.Message1(m1); err != nil {
			var e *Error
			if err := i.Message2(AppendError(nil, err)); !errors.As(err, &e) || e.Code != WrongSuite {
				t.Fatal(err)
			}
			if forge != nil {
				forge(e)
			}
			if err := m.Refused("R", i, e); err != nil {
				return 0, attempt, err
			}
			continue
		}
		h := &run{i: i, r: r, messages: 4}
		h.m[1] = m1
		for n := 2; n <= 4; n++ {
			if err := h.step(n); err != nil {
				t.Fatal(err)
			}
		}
		h.agree(t)
		m.Completed("R", h.si.Suite)
		return h.si.Suite, attempt, nil
	}
	return 0, 3, errors.New("no end")
}

func TestNegotiation(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		initiator, responder []Suite
		want                 Suite
		attempts             int
		err                  error
	}{
		{"the first is supported", []Suite{2, 3}, []Suite{3, 2}, 2, 1, nil},
		{"RFC 9528 section 6.3.2, example 1", []Suite{5, 6, 4, 3, 2}, []Suite{6}, 6, 2, nil},
		{"RFC 9528 section 6.3.2, example 2", []Suite{5, 6, 4, 3, 2}, []Suite{2, 3}, 3, 2, nil},
		{"none in common", []Suite{5, 6}, []Suite{2, 3}, 0, 1, ErrNoSuite},
	} {
		var m SuiteMemory
		s, attempts, err := negotiate(t, &m, tt.initiator, tt.responder, nil)
		if s != tt.want || attempts != tt.attempts || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v after %d: %v", tt.name, s, attempts, err)
		}
		if err != nil {
			continue
		}
		if s, attempts, err = negotiate(t, &m, tt.initiator, tt.responder, nil); s != tt.want || attempts != 1 || err != nil {
			t.Errorf("%s, remembered: %v after %d: %v", tt.name, s, attempts, err)
		}
		// The Responder gets the best suite: the Initiator finds out by itself, for what
		// was remembered did not shorten its offer.
		if !slices.Contains(tt.responder, tt.initiator[0]) {
			tt.responder = append(tt.responder, tt.initiator[0])
		}
		s, attempts, err = negotiate(t, &m, tt.initiator, tt.responder, nil)
		if s != tt.initiator[0] || attempts > 2 || err != nil {
			t.Errorf("%s, updated: %v after %d: %v", tt.name, s, attempts, err)
		}
	}
}

// TestDowngrade has an attacker answer for the Responder.
func TestDowngrade(t *testing.T) {
	both := []Suite{5, 3, 2}
	// What a forged error message says is tried once, and the Responder sees that it
	// would have had a better suite.
	var m SuiteMemory
	ci, _ := pair(t, DHDH, 2, true)
	ci.Suites = both
	i, err := NewInitiator(ci, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Refused("R", i, &Error{Code: WrongSuite, Suites: []Suite{2}}); err != nil {
		t.Fatal(err)
	}
	if s, attempts, err := negotiate(t, &m, both, both, nil); s != 5 || attempts != 2 || err != nil {
		t.Errorf("misled once: %v after %d: %v", s, attempts, err)
	}
	// A list with the suite that was refused contradicts itself.
	if err := m.Refused("R", i, &Error{Code: WrongSuite, Suites: []Suite{2, 5}}); !errors.Is(err, ErrContradiction) {
		t.Errorf("the selected suite among those supported: %v", err)
	}
	if got := m.Learned("R"); !slices.Equal(got, []Suite{5}) {
		t.Errorf("after that %v is remembered", got)
	}
	// What an error message says is for one message_1.
	if err := m.Refused("R", i, &Error{Code: WrongSuite, Suites: []Suite{2}}); err != nil {
		t.Fatal(err)
	}
	m.Begun("R")
	if got := m.Learned("R"); !slices.Equal(got, []Suite{5}) {
		t.Errorf("a claim that was used up: %v is remembered", got)
	}
	if err := m.Refused("another", i, &Error{Code: WrongSuite, Suites: []Suite{2}}); err != nil {
		t.Fatal(err)
	}
	m.Begun("another")
	if got := m.Learned("another"); got != nil {
		t.Errorf("a claim that was used up, and nothing else: %v is remembered", got)
	}
	m.Forget("R")
	if got := m.Learned("R"); got != nil {
		t.Errorf("forgotten, and yet %v", got)
	}

	// SUITES_I changed on the way: the transcript tells.
	ci, cr := pair(t, DHDH, 2, false)
	ci.Suites, cr.Suites = []Suite{3, 2}, []Suite{2}
	h := newRun(t, ci, cr)
	if h.i, err = NewInitiator(ci, []Suite{2}); err != nil {
		t.Fatal(err)
	}
	if err := h.make(1); err != nil {
		t.Fatal(err)
	}
	short := append([]byte{h.m[1][0], 2}, h.m[1][4:]...) // [3, 2] becomes 2
	if err := h.r.Message1(short); err != nil {
		t.Fatal(err)
	}
	if err := h.make(2); err != nil {
		t.Fatal(err)
	}
	if err := h.i.Message2(h.m[2]); err == nil {
		t.Error("message_2 for another SUITES_I is taken")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var m SuiteMemory
	for i := range MaxRemembered + 10 {
		m.Completed(fmt.Sprint(i), 2)
		if len(m.peers) > MaxRemembered {
			t.Fatalf("%d peers are remembered", len(m.peers))
		}
	}
	if len(m.peers) != MaxRemembered {
		t.Errorf("%d peers are remembered; want %d", len(m.peers), MaxRemembered)
	}
}
