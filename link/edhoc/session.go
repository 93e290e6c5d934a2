// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"

	"github.com/myelin-health/myelin/link/cose"
)

// Labels of EDHOC_KDF and EDHOC_Exporter (RFC 9528 sections 4.1.2, 10.1 and
// appendix H).
const (
	labelPRKOut      = 7
	labelPRKExporter = 10
	labelKeyUpdate   = 11

	// ExporterOSCORESecret and ExporterOSCORESalt are the exporter's labels for
	// OSCORE (RFC 9528 appendix A.1).
	ExporterOSCORESecret = 0
	ExporterOSCORESalt   = 1
)

// MaxExport is how many bytes the exporter gives at once: 255 digests of SHA-256.
const MaxExport = 255 * 32

// maxExporterLabel is the last label of the registry (RFC 9528 section 10.1).
const maxExporterLabel = 65535

// maxContext bounds the context of the exporter and of a key update.
const maxContext = 1024

var (
	// ErrErased is returned by a session without keys.
	ErrErased = errors.New("edhoc: session has been erased")

	// ErrExport is returned for a label, context or length out of bounds.
	ErrExport = errors.New("edhoc: label, context or length of an export out of bounds")
)

// A Session is a completed handshake: who is at the other end, and the key that
// both have, PRK_out. One goroutine at a time may use it.
type Session struct {
	Suite     Suite
	Method    Method
	Initiator bool        // this side's role
	Own       *Credential // what this side proved to be
	Peer      *Credential // who is at the other end, verified

	cI, cR    identifier
	k         kdf
	out       [maxHash]byte // PRK_out
	exporter  [maxHash]byte // PRK_exporter
	epoch     uint32
	confirmed bool
	erased    bool
}

// ConnectionIDs returns C_I and C_R.
func (s *Session) ConnectionIDs() (cI, cR []byte) { return s.cI.bytes(), s.cR.bytes() }

// Confirmed reports whether the peer is known to have the key. A Responder knows it
// at once, an Initiator by message_4 or by the first answer under the key. Before,
// an Initiator must not store the session (RFC 9528 section 5.4.2); and where MACs
// have 64 bits, only that answer makes the Responder as sure as 128 (section 9.1).
func (s *Session) Confirmed() bool { return s.confirmed }

// Confirm says that a message under a key of this session was verified, such as the
// first OSCORE response.
func (s *Session) Confirm() { s.confirmed = true }

func (s *Session) derive() {
	n := s.k.size
	s.k.see("PRK_out", s.out[:n])
	s.k.expand(s.exporter[:n], s.out[:n], labelPRKExporter, nil)
	s.k.see("PRK_exporter", s.exporter[:n])
}

// Exporter is EDHOC_Exporter: n bytes for a label of the registry and a context.
// The same label and context must not serve two purposes.
func (s *Session) Exporter(label uint32, context []byte, n int) ([]byte, error) {
	if s == nil || s.erased {
		return nil, ErrErased
	}
	if label > maxExporterLabel || len(context) > maxContext || n < 0 || n > MaxExport {
		return nil, ErrExport
	}
	out := make([]byte, n)
	s.k.expand(out, s.exporter[:s.k.size], uint64(label), context)
	return out, nil
}

// KeyUpdate is EDHOC_KeyUpdate (RFC 9528 appendix H): the key becomes a hash of
// itself and the context, which both sides agree on, and the old one is gone. What
// was exported before is for the caller to forget. Both sides must have made the
// same updates in the same order: [Session.Epoch] counts them.
func (s *Session) KeyUpdate(context []byte) error {
	if s == nil || s.erased {
		return ErrErased
	}
	if len(context) > maxContext {
		return ErrExport
	}
	n := s.k.size
	next := s.exporter[:n] // made anew below
	s.k.expand(next, s.out[:n], labelKeyUpdate, context)
	copy(s.out[:n], next)
	s.derive()
	s.epoch++
	return nil
}

// Epoch is how many key updates there were.
func (s *Session) Epoch() uint32 { return s.epoch }

// An OSCORE is what an OSCORE security context is made of (RFC 9528 appendix A.1).
type OSCORE struct {
	Secret, Salt          []byte
	SenderID, RecipientID []byte // ours to send with, and to be addressed by
	AEAD                  cose.Algorithm
	Hash                  cose.Algorithm
}

// OSCORE exports a master secret, a master salt of eight bytes, and the identifiers.
// It is [ErrExport] when the peer's connection identifier is longer than the AEAD
// algorithm's nonce allows (RFC 8613 section 3.3).
func (s *Session) OSCORE() (*OSCORE, error) {
	o := &OSCORE{SenderID: s.cR.bytes(), RecipientID: s.cI.bytes(), AEAD: s.Suite.AEAD(), Hash: s.Suite.Hash()}
	if !s.Initiator {
		o.SenderID, o.RecipientID = o.RecipientID, o.SenderID
	}
	if longest := o.AEAD.NonceSize() - 6; len(o.SenderID) > longest || len(o.RecipientID) > longest {
		return nil, ErrExport
	}
	var err error
	if o.Secret, err = s.Exporter(ExporterOSCORESecret, nil, o.AEAD.KeySize()); err != nil {
		return nil, err
	}
	o.Salt, err = s.Exporter(ExporterOSCORESalt, nil, 8)
	return o, err
}

// Erase zeroes the keys. The session then exports nothing.
func (s *Session) Erase() {
	if s == nil {
		return
	}
	clear(s.out[:])
	clear(s.exporter[:])
	s.k.wipe()
	s.erased = true
}
