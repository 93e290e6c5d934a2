// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Who is at the page. Sessions are in memory: they end with the guard.
const (
	cookieName   = "__Host-myelin-guard" // RFC 6265bis section 4.1.3.2: Secure, of this host, for all of it
	sessionLong  = 12 * time.Hour        // a shift
	presentLong  = 10 * time.Minute      // after that a decision asks for the password again
	maxSessions  = 256
	maxHashes    = 2 // at once: each takes 64 MiB
	maxTries     = 4096
	tryWindow    = 15 * time.Minute
	triesPerID   = 10 // wrong ones in a window
	triesPerAddr = 30
)

// A session is of a person who has logged in.
type session struct {
	person string
	hash   []byte // of the password then: another one ends the session
	began  time.Time
	used   time.Time // when the person last did something; a page that renews itself is nobody
	said   string    // what is shown once on the next page
}

// sessions are those of the page.
type sessions struct {
	mu   sync.Mutex
	of   map[[32]byte]*session
	home map[string]bool // person and address from which the person has logged in: nobody else locks these out

	tries map[string]*tries
	hashN chan struct{}
}

// tries are wrong passwords of an id or an address.
type tries struct {
	n     int
	began time.Time
}

func newSessions() *sessions {
	return &sessions{of: map[[32]byte]*session{}, home: map[string]bool{}, tries: map[string]*tries{}, hashN: make(chan struct{}, maxHashes)}
}

var (
	errWrong = errors.New("the id or the password is wrong")
	errMany  = errors.New("too many wrong passwords; wait a quarter of an hour, or decide at the device itself")
	errBusy  = errors.New("too many people log in at this moment; try again")
)

// check holds a password against a person's, at the same cost whoever it is.
func (s *sessions) check(c *Configuration, id, password, address string, now time.Time) (Person, error) {
	p, known := c.Person(id)
	idKey, addrKey := "id "+id, "addr "+address
	s.mu.Lock()
	if s.home[id+" "+address] {
		idKey += " " + address
	}
	if s.over(idKey, triesPerID, now) || s.over(addrKey, triesPerAddr, now) {
		s.mu.Unlock()
		return Person{}, errMany
	}
	s.fail(idKey, now) // counted before it is known, so that many at once are counted too
	s.fail(addrKey, now)
	s.mu.Unlock()
	select {
	case s.hashN <- struct{}{}:
		defer func() { <-s.hashN }()
	case <-time.After(3 * time.Second):
		return Person{}, errBusy
	}
	h := &nobody
	if known {
		h = &p.password
	}
	if ok := h.matches(password); !ok || !known {
		return Person{}, errWrong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tries, idKey)
	if t := s.tries[addrKey]; t != nil { // else forgotten meanwhile, as there are many
		t.n--
	}
	return p, nil
}

// over reports whether a key had too many wrong passwords. The caller holds the lock.
func (s *sessions) over(key string, most int, now time.Time) bool {
	t := s.tries[key]
	return t != nil && now.Sub(t.began) < tryWindow && t.n >= most
}

// fail counts a wrong password. The caller holds the lock.
func (s *sessions) fail(key string, now time.Time) {
	t := s.tries[key]
	if t == nil || now.Sub(t.began) >= tryWindow {
		if t == nil && len(s.tries) >= maxTries {
			s.forget()
		}
		t = &tries{began: now}
		s.tries[key] = t
	}
	t.n++
}

// forget drops the oldest tries.
func (s *sessions) forget() {
	var oldest string
	for k, t := range s.tries {
		if oldest == "" || t.began.Before(s.tries[oldest].began) {
			oldest = k
		}
	}
	delete(s.tries, oldest)
}

// begin begins a session, and returns what its cookie has.
func (s *sessions) begin(p Person, address string, now time.Time) string {
	token := rand.Text() + rand.Text()[:8]
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, x := range s.of {
		if now.Sub(x.began) >= sessionLong {
			delete(s.of, k)
		}
	}
	if len(s.of) >= maxSessions { // the one that was used least recently
		var oldest [32]byte
		for k, x := range s.of {
			if o := s.of[oldest]; o == nil || x.used.Before(o.used) {
				oldest = k
			}
		}
		delete(s.of, oldest)
	}
	if len(s.home) < maxTries {
		s.home[p.ID+" "+address] = true
	}
	s.of[sha256.Sum256([]byte(token))] = &session{person: p.ID, hash: p.password.sum, began: now, used: now}
	return token
}

// who returns the person of a request's session. Acts is whether the person did
// something, rather than a page that renews itself.
func (s *sessions) who(c *Configuration, r *http.Request, now time.Time, acts bool) (p Person, present, ok bool) {
	k, ok := sessionKey(r)
	if !ok {
		return p, false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of[k]
	if x == nil {
		return p, false, false
	}
	p, ok = c.Person(x.person)
	if !ok || !bytes.Equal(p.password.sum, x.hash) || now.Sub(x.began) >= sessionLong || now.Before(x.began) {
		delete(s.of, k)
		return Person{}, false, false
	}
	present = now.Sub(x.used) < presentLong
	if acts && present {
		x.used = now
	}
	return p, present, true
}

// prove says that the person of a session has just given the password.
func (s *sessions) prove(r *http.Request, now time.Time) {
	if k, ok := sessionKey(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		if x := s.of[k]; x != nil {
			x.used = now
		}
	}
}

// say leaves a sentence for the session's next page, and said takes it.
func (s *sessions) say(r *http.Request, text string) {
	if k, ok := sessionKey(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		if x := s.of[k]; x != nil {
			x.said = text
		}
	}
}

func (s *sessions) said(r *http.Request) (text string) {
	if k, ok := sessionKey(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		if x := s.of[k]; x != nil {
			text, x.said = x.said, ""
		}
	}
	return text
}

// end ends a session.
func (s *sessions) end(r *http.Request) {
	if k, ok := sessionKey(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.of, k)
	}
}

func sessionKey(r *http.Request) (k [32]byte, ok bool) {
	c, err := r.Cookie(cookieName)
	if err != nil || len(c.Value) > 128 {
		return k, false
	}
	return sha256.Sum256([]byte(c.Value)), true
}
