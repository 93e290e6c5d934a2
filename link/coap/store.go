// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package coap

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
	"github.com/myelin-health/myelin/link/edhoc"
	"github.com/myelin-health/myelin/link/oscore"
)

// A Store is a folder that sessions survive a restart in, kill -9 and loss of power
// included. Of each it has two files, mode 0600, which are never written in place:
//
//	NAME.session   keys, identifiers, the peer's credential, the token
//	NAME.sequence  up to where sender sequence numbers may have been used
//
// The first is a CBOR sequence with the SHA-256 of it behind it. Names are random. A
// session whose files are not both whole is given up: its numbers must not be
// guessed. Which requests were served is not kept; the first request after a restart
// has to prove that it is a new one (RFC 8613 appendix B.1.2).
//
// A Store is for one Endpoint at a time, of one process.
type Store struct {
	dir  string
	lock *os.File
}

// OpenStore opens a folder, and makes it when there is none. It fails when another
// process has it open.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("coap: sessions in %s are in use: %w", dir, err), f.Close())
	}
	return &Store{dir, f}, nil
}

// Close lets go of the folder, after the Endpoint was closed.
func (st *Store) Close() error { return st.lock.Close() }

// sessionFile is where one session is kept.
type sessionFile struct {
	path  string // without what follows the last dot
	fixed []byte // what does not change
	seq   *oscore.SequenceFile
}

const (
	storeVersion = 1

	extSession  = ".session"
	extSequence = ".sequence"
	extNew      = ".new"

	// maxStored bounds a file: a credential and a token, each twice as large as any.
	maxStored = 16384

	// recoverWithin is how long a peer may take to prove itself after a restart.
	recoverWithin = time.Minute
)

// begin keeps a session from now on. It is called with the session's mutex held.
func (st *Store) begin(s *Session) (err error) {
	var name [8]byte
	rand.Read(name[:])
	f := &sessionFile{path: filepath.Join(st.dir, hex.EncodeToString(name[:]))}
	m := s.material
	b := cbor.AppendUint(nil, storeVersion)
	for _, v := range [][]byte{m.Secret, m.Salt, m.SenderID, m.RecipientID, s.CI, s.CR, s.Peer.ID(), s.Peer.Bytes()} {
		b = cbor.AppendBytes(b, v)
	}
	for _, v := range []int64{int64(m.AEAD), int64(m.Hash), int64(s.Method), int64(s.Suite)} {
		b = cbor.AppendInt(b, v)
	}
	f.fixed = cbor.AppendBool(b, s.Initiator)
	if f.seq, err = oscore.CreateSequence(f.path + extSequence); err != nil {
		return err
	}
	// Numbers were used before there was anything to keep.
	if s.granted > 0 {
		if err := f.seq.Reserve(s.granted); err != nil {
			return err
		}
	}
	if err := f.save(s); err != nil {
		return err
	}
	s.file = f
	return nil
}

func (f *sessionFile) reserve(limit uint64) error { return f.seq.Reserve(limit) }

// save writes the session with its token.
func (f *sessionFile) save(s *Session) error {
	b := cbor.AppendBytes(bytes.Clone(f.fixed), s.token)
	sum := sha256.Sum256(b)
	return writeDurable(f.path+extSession, append(b, sum[:]...))
}

// unkeep erases what is kept of a session.
func (s *Session) unkeep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.erase()
	s.file = nil
	return err
}

func (f *sessionFile) erase() error {
	return errors.Join(os.Remove(f.path+extSession), os.Remove(f.path+extSequence), syncFolder(f.path))
}

// writeDurable replaces a file: whoever loses power has the old one or the new one.
func writeDurable(path string, b []byte) error {
	f, err := os.OpenFile(path+extNew, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(path)
}

func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// restore reads the sessions of before the restart. Those whose peer is not trusted
// any more, and what is not whole, are erased.
func (e *Endpoint) restore() error {
	st := e.cfg.Keep
	entries, err := os.ReadDir(st.dir)
	if err != nil {
		return err
	}
	whole := map[string]bool{}
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), extSession)
		if !ok {
			continue
		}
		if s, err := e.load(filepath.Join(st.dir, name)); err == nil {
			if e.cfg.Accept == nil || e.cfg.Accept(s, nil) == nil {
				whole[name] = e.add(s) == nil
			}
		}
	}
	for _, entry := range entries {
		name, kind, ok := strings.Cut(entry.Name(), ".")
		if ok && !whole[name] || strings.HasSuffix(kind, extNew) {
			if err := os.Remove(filepath.Join(st.dir, entry.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

var errStored = errors.New("coap: a kept session is damaged, or its peer is not trusted any more")

func (e *Endpoint) load(path string) (*Session, error) {
	info, err := os.Stat(path + extSession)
	if err != nil || info.Size() > maxStored {
		return nil, errors.Join(errStored, err)
	}
	b, err := os.ReadFile(path + extSession)
	if err != nil || len(b) < sha256.Size {
		return nil, errors.Join(errStored, err)
	}
	b, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sha256.Sum256(b) != [sha256.Size]byte(sum) {
		return nil, errStored
	}
	s, p, idCred, cred, fixed, err := parseStored(b)
	if err != nil {
		return nil, err
	}
	if e.cfg.EDHOC == nil {
		return nil, errStored
	}
	id, err := edhoc.ParseID(idCred)
	if err != nil {
		return nil, err
	}
	candidates, err := e.cfg.EDHOC.Peers(id, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		if bytes.Equal(c.Bytes(), cred) {
			s.Peer = c
		}
	}
	if s.Peer == nil {
		return nil, errStored
	}
	f := &sessionFile{path: path, fixed: fixed}
	if f.seq, err = oscore.OpenSequence(path + extSequence); err != nil {
		return nil, err
	}
	s.file, s.granted = f, f.seq.Next()
	p.Sequence, p.Reserve = s.granted, s.reserve
	p.Recover = func(echo []byte) bool { return e.echo.Fresh(echo, s.osc, e.now(), recoverWithin) }
	s.osc, err = oscore.New(p)
	return s, err
}

// parseStored reads what [sessionFile.save] wrote.
func parseStored(b []byte) (s *Session, p oscore.Params, idCred, cred, fixed []byte, err error) {
	r, err := cbor.ParseSequence(b)
	if err != nil {
		return nil, p, nil, nil, nil, err
	}
	s = &Session{Protection: OSCORE, Restored: true}
	version := r.Uint()
	for _, v := range []*[]byte{&p.MasterSecret, &p.MasterSalt, &p.SenderID, &p.RecipientID, &s.CI, &s.CR, &idCred, &cred} {
		*v = bytes.Clone(r.Bytes())
	}
	p.AEAD, p.Hash = cose.Algorithm(r.Int()), cose.Algorithm(r.Int())
	s.Method, s.Suite = edhoc.Method(r.Int()), edhoc.Suite(r.Int())
	s.Initiator = r.Bool()
	fixed = bytes.Clone(b[:r.Off()])
	s.token = bytes.Clone(r.Bytes())
	if err := r.Done(); err != nil {
		return nil, p, nil, nil, nil, err
	}
	if version != storeVersion {
		return nil, p, nil, nil, nil, errStored
	}
	s.id = string(p.RecipientID)
	s.confirmed.Store(true)
	return s, p, idCred, cred, fixed, nil
}
