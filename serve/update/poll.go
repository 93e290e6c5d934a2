// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package update

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// The bounds of what devices may ask.
const (
	maxOpen    = 4096                   // polls that are being answered
	pollsEvery = 500 * time.Millisecond // of one device, in the long run
	pollsOnce  = 10                     // and at once: it stages, and asks again
	failsEvery = 2 * time.Second        // of one address, polls that are refused
	failsOnce  = 50
	clientTime = time.Minute // a certificate is looked at again after this
	keepTime   = 10 * time.Second
)

// contentType is that of a State and of an Answer (RFC 9052 section 11.2).
const contentType = "application/cose; cose-type=\"cose-sign1\""

// A member is a device that polls.
type member struct {
	device string
	stale  atomic.Bool // its keys changed

	mu    sync.Mutex
	kids  [][]byte // keys that speak for it
	count uint64
	heard uint64 // Count of the State whose Result is on record
	empty int64  // when it has asked so little that all is allowed
}

// member returns a device, or nil when no key speaks for it.
func (s *Service) member(ctx context.Context, device string) (*member, error) {
	s.mu.Lock()
	m, ok := s.members.Get(device)
	s.mu.Unlock()
	if ok && !m.stale.Load() {
		return m, nil
	}
	last, kids, err := s.cfg.Store.UpdateMemberOf(ctx, device)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok = s.members.Get(device); !ok { // else it knows more than the store
		m = &member{device: device}
		s.members.Put(device, m)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kids = kids
	if last != nil {
		m.count = max(m.count, last.Count)
	}
	m.stale.Store(false)
	return m, nil
}

// What is wrong with a poll. Who asks is told no more than this.
var (
	errUnknown = fail(http.StatusForbidden, "no key that is registered here has signed this")
	errBroken  = fail(http.StatusBadRequest, "this is no state of a device")
)

const tooOften = "this device asks too often"

// poll answers a device.
func (s *Service) poll(w http.ResponseWriter, r *http.Request, _ *access.Principal) error {
	select {
	case s.open <- struct{}{}:
		defer func() { <-s.open }()
	default:
		return later(w, http.StatusServiceUnavailable, "5", "too many devices ask at once")
	}
	now := s.cfg.Now()
	if !s.fails.may(r.RemoteAddr, now) {
		return later(w, http.StatusTooManyRequests, "10", "too much that is not to be believed came from there")
	}
	ctx := r.Context()
	if err := s.client(r, now); err != nil {
		s.fails.count(r.RemoteAddr, now)
		return err
	}
	buf := bodies.Get().(*[patch.MaxMessage + 1]byte)
	defer bodies.Put(buf)
	n, err := io.ReadFull(r.Body, buf[:])
	switch {
	case err == nil:
		return fail(http.StatusRequestEntityTooLarge, "a state has at most "+strconv.Itoa(patch.MaxMessage)+" bytes")
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	answer, err := s.hear(ctx, buf[:n], now)
	if err != nil {
		var said *access.Error
		if errors.As(err, &said) && said.Status < http.StatusInternalServerError {
			s.fails.count(r.RemoteAddr, now)
		}
		if errors.As(err, &said) && said.After > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(said.After/time.Second)))
		}
		return err
	}
	h := w.Header()
	h["Content-Type"] = headerType
	h["Content-Length"] = []string{strconv.Itoa(len(answer))}
	_, err = w.Write(answer)
	return err
}

var headerType = []string{contentType}

var bodies = sync.Pool{New: func() any { return new([patch.MaxMessage + 1]byte) }}

// client looks at the certificate of a TLS client that shows one.
func (s *Service) client(r *http.Request, now time.Time) error {
	if s.cfg.Client == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	id := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	s.mu.Lock()
	until, ok := s.clients.Get(id)
	s.mu.Unlock()
	if ok && now.Before(until) {
		return nil
	}
	if err := s.cfg.Client(r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients.Put(id, now.Add(s.trust))
	return nil
}

// hear takes a State, as it was signed, and returns the Answer.
func (s *Service) hear(ctx context.Context, b []byte, now time.Time) ([]byte, error) {
	var st patch.State
	var kid []byte
	var lookup error
	err := patch.Open(b, &st, func(id []byte) *cose.Key {
		var k *cose.Key
		k, lookup = s.speaker(ctx, id)
		kid = id
		return k
	})
	switch {
	case lookup != nil:
		return nil, lookup
	case errors.Is(err, patch.ErrSigner), errors.Is(err, cose.ErrVerification), errors.Is(err, cose.ErrKey), errors.Is(err, cose.ErrAlgorithm):
		return nil, errUnknown
	case err != nil || st.Device == "" || st.Count == 0:
		return nil, errBroken
	}
	m, err := s.member(ctx, st.Device)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, errUnknown
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(m.kids, func(k []byte) bool { return string(k) == string(kid) }) {
		return nil, errUnknown
	}
	if st.Count <= m.count {
		return nil, fail(http.StatusConflict, "this was said before")
	}
	if wait := m.slow(now); wait > 0 {
		return nil, &access.Error{Status: http.StatusTooManyRequests, Text: tooOften, After: wait}
	}
	row := &store.UpdateMember{Device: st.Device, Count: st.Count, Seen: now.UnixNano(), KID: slices.Clone(kid), Version: st.Version, Sequence: st.Sequence, State: slices.Clone(b)}
	said, err := s.decide(ctx, row, s.heard(&st, now), now)
	if errors.Is(err, errBusy) {
		return nil, &access.Error{Status: http.StatusServiceUnavailable, Text: "the server is busy", After: 5 * time.Second}
	}
	if err != nil {
		return nil, err
	}
	m.count = st.Count
	if said.kept != nil {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
		defer stop()
		if err := said.kept.wait(ctx); err != nil {
			s.cfg.Log.Error("a device is not answered: what was decided is not kept", "err", err)
			return nil, &access.Error{Status: http.StatusServiceUnavailable, Text: "the server is busy", After: 5 * time.Second}
		}
		if said.heard {
			m.heard = st.Count
		}
	}
	a := patch.Answer{Device: st.Device, Nonce: st.Nonce, Time: now, Challenge: s.challenge(now, st.Device), Next: jittered(said.next), Void: said.void, Heard: m.heard}
	if said.offer != nil {
		if a.Offer, err = patch.Sign(said.offer, s.signer, s.kid); err != nil {
			return nil, err
		}
	}
	if st.Nonce == nil {
		return patch.Append(make([]byte, 0, 256+len(a.Offer)), &a), nil
	}
	return patch.Sign(&a, s.signer, s.kid)
}

// slow counts a poll, and says how long to wait where a device asks too often.
func (m *member) slow(now time.Time) time.Duration {
	t := now.UnixNano()
	at := min(max(m.empty, t), t+pollsOnce*int64(pollsEvery)) // also of a clock that was set back
	if wait := at - t - (pollsOnce-1)*int64(pollsEvery); wait > 0 {
		return max(time.Duration(wait), time.Second)
	}
	m.empty = at + int64(pollsEvery)
	return 0
}

// jittered keeps devices from asking all at once.
func jittered(d time.Duration) time.Duration {
	return d - d/8 + rand.N(d/4+1)
}

// fails count polls that were refused, by address: a hash of it that nobody outside can
// foresee has a counter. A flood of them takes no memory, and few verifications.
type fails struct {
	once  sync.Once
	seed  maphash.Seed
	empty [1 << 12]atomic.Int64 // when each has forgotten all
}

func (f *fails) counter(address string) *atomic.Int64 {
	f.once.Do(func() { f.seed = maphash.MakeSeed() })
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return &f.empty[0]
	}
	ip := at.Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64 // a host has as many as it likes of these
	}
	p, _ := ip.WithZone("").Prefix(bits)
	return &f.empty[maphash.Comparable(f.seed, p)%uint64(len(f.empty))]
}

func (f *fails) may(address string, now time.Time) bool {
	return f.counter(address).Load()-now.UnixNano() < (failsOnce-1)*int64(failsEvery)
}

func (f *fails) count(address string, now time.Time) {
	c, t := f.counter(address), now.UnixNano()
	c.Store(min(max(c.Load(), t), t+failsOnce*int64(failsEvery)) + int64(failsEvery))
}
