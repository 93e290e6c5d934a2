// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package update is the server's side of updates: it hears what devices say of
// themselves, says what they may have, and keeps what became of it.
//
//	POST /update/v1/poll    a patch.State, signed -> a patch.Answer
//	GET  /update/v1/PATH    an envelope, a payload, metadata: files of DATA/updates
//
// A device proves itself by the signature on its State, whose key a person here
// registered for it ([Service.Register]); a gateway's key may speak for several. The
// certificate of a TLS client is not needed, but one that is shown has to be that of a
// sensor or gateway that is enrolled here. Files are open: each is signed by its maker,
// who encrypts what is not to be read, as in any TUF repository.
//
// # What is fresh
//
// Each answer has a challenge, which the next State echoes: the server's time, and a MAC
// over it and the device's id, under a key that follows from the hospital's. So the
// server knows how old a State is and remembers nothing for it. A State is taken once:
// its Count has to be above the last one of its device.
//
// # What is durable
//
// A State with a Result is answered when the ledger and the store have it, and so is one
// of which something was decided: an offer, a halt. What is only said, that a device is
// there and waits, is written with that of others, some twenty times a second, and
// answered at once. A server that is killed has lost at most that; the devices say it
// again with their next poll. One that was heard and lost can be sent again by somebody
// who copied it, for as long as its echo is fresh: the same word of the same device.
//
// This API follows the server and may change.
package update

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/myelin-health/myelin/event"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/patch"
	"github.com/myelin-health/myelin/patch/rollout"
	"github.com/myelin-health/myelin/serve/access"
	"github.com/myelin-health/myelin/store"
)

// A Config is what the service is given.
type Config struct {
	Data   string // the server's folder: update.key, and the files in updates/
	Store  *store.Store
	Record func(*event.Event) error // into the server's ledger; returns when durable
	// Act does what a person does, and has it in the ledger: access.Access.Act.
	Act  func(who, did, to, why string, do func() (count int, err error)) error
	Site string // the hospital, of which events say that it did something
	// Client reports who a TLS client is that shows a certificate; nil: nobody is asked.
	Client func(*http.Request) error
	Now    func() time.Time // nil: the machine's clock
	Log    *slog.Logger     // nil: nothing is logged

	Tell   func() // when something of a roll-out is kept; nil: nobody is told
	Shared bool   // other servers have the same store

	Every time.Duration // between the polls of a device that waits for nothing; 0 is 5 minutes
}

// A Service is the server's side of updates. Its methods may be called from several goroutines.
type Service struct {
	cfg     Config
	signer  cose.Signer // the hospital's
	kid     []byte
	public  cose.Key
	macs    sync.Pool // of hash.Hash, keyed for challenges
	files   *os.Root
	keep    keeper
	fails   fails
	open    chan struct{} // polls that are being answered
	serving chan struct{} // files that are being read

	closing sync.Once
	taken   map[string]bool // receipts of the folder that were looked at; with Run
	closed  error           // why that failed

	fold     sync.Mutex // of what follows
	rollouts []*running // the oldest first
	never    *rollout.Never
	asked    map[string]asked // by roll-out, device and gate
	seq      int64            // of the last event that they have
	damaged  bool             // they have what is not kept: they are to be made anew

	mu       sync.Mutex
	speakers store.Memory[[8]byte, *cose.Key]
	members  store.Memory[string, *member]
	clients  store.Memory[[32]byte, time.Time] // certificates that were looked at, and until when that is enough
	trust    time.Duration                     // how long that is
}

// Open opens the service, and makes the hospital's key when there is none.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Record == nil {
		c.Record = func(*event.Event) error { return nil }
	}
	if c.Act == nil {
		c.Act = func(_, _, _, _ string, do func() (int, error)) error { _, err := do(); return err }
	}
	if c.Tell == nil {
		c.Tell = func() {}
	}
	if c.Site == "" {
		c.Site = "hospital"
	}
	if c.Every == 0 {
		c.Every = 5 * time.Minute
	}
	s := &Service{cfg: c, open: make(chan struct{}, maxOpen), serving: make(chan struct{}, maxFiles), trust: clientTime, asked: map[string]asked{}, taken: map[string]bool{}}
	key, err := hospitalKey(filepath.Join(c.Data, "update.key"))
	if err != nil {
		return nil, err
	}
	if s.signer, err = cose.NewSigner(key); err != nil {
		return nil, err
	}
	s.public = key.Public()
	s.kid = patch.KeyID(&s.public)
	secret := challengeKey(&key)
	s.macs.New = func() any { return hmac.New(sha256.New, secret) }
	files := filepath.Join(c.Data, "updates")
	if err := os.MkdirAll(files, 0o700); err != nil {
		return nil, err
	}
	if s.files, err = os.OpenRoot(files); err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil { // nothing is offered until that is right; all else of the server goes on
		c.Log.Error("the roll-outs cannot be read", "err", err)
		s.never, s.damaged = &rollout.Never{}, true
	}
	s.keep.init(s)
	return s, nil
}

// Close writes what is not written yet, and ends the service.
func (s *Service) Close() error {
	s.closing.Do(func() { s.closed = errors.Join(s.keep.close(), s.files.Close()) })
	return s.closed
}

// Key is the hospital's public key, a COSE_Key, by which devices know its offers and answers.
func (s *Service) Key() []byte { return s.public.AppendPublic(nil) }

// hospitalKey reads the key that offers are signed with, or makes it.
func hospitalKey(file string) (cose.Key, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		k, err := cose.GenerateKey(cose.P256, rand.Reader)
		if err != nil {
			return k, err
		}
		k.Alg = cose.ES256
		k.ID = patch.KeyID(&k)
		if err := writeKey(file+".pub", 0o644, k.AppendPublic(nil)); err != nil {
			return k, err
		}
		return k, writeKey(file, 0o600, k.AppendSecret(nil))
	}
	if err != nil {
		return cose.Key{}, err
	}
	k, err := cose.ParseKey(b)
	if err == nil && k.D == nil {
		err = errors.New("it is a public key; the private one is wanted")
	}
	if err != nil {
		return k, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// writeKey writes a file whole and durably, or leaves what was there.
func writeKey(file string, mode fs.FileMode, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Routes are what devices ask. They are open to anyone: who asks, is known by the
// signature on what it says.
func (s *Service) Routes() []access.Route {
	return []access.Route{
		{Pattern: "POST /update/v1/poll", Needs: access.Anyone, Handle: s.poll, Most: patch.MaxMessage},
		{Pattern: "GET /update/v1/{path...}", Needs: access.Anyone, Handle: s.file},
	}
}

func fail(status int, text string) error { return &access.Error{Status: status, Text: text} }

func later(w http.ResponseWriter, status int, seconds, text string) error {
	w.Header().Set("Retry-After", seconds)
	return fail(status, text)
}

// speaker is the key of an id, or nil. An error is the store's.
func (s *Service) speaker(ctx context.Context, kid []byte) (*cose.Key, error) {
	if len(kid) != 8 {
		return nil, nil
	}
	id := [8]byte(kid)
	s.mu.Lock()
	k, ok := s.speakers.Get(id)
	s.mu.Unlock()
	if ok {
		return k, nil
	}
	b, err := s.cfg.Store.UpdateKeyOf(ctx, kid)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // not remembered: whoever makes up ids would fill the memory
	}
	if err != nil {
		return nil, err
	}
	parsed, err := cose.ParseKey(b)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.speakers.Put(id, &parsed)
	return &parsed, nil
}

// forget forgets what is remembered of keys, since they changed.
func (s *Service) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.speakers = store.Memory[[8]byte, *cose.Key]{}
	for m := range s.members.Values() {
		m.stale.Store(true)
	}
}
