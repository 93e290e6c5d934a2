// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package suit reads, makes, signs and runs SUIT manifests: the signed program
// that tells a device what an update is, whom it is for, and how it is fetched,
// installed, checked and started.
//
// It follows draft-ietf-suit-manifest-37, and of the documents that extend it
// draft-ietf-suit-trust-domains (dependencies, staging, uninstall),
// draft-ietf-suit-update-management (use-before, battery, priority, versions,
// wait, override-multiple, copy-params, CoSWID), draft-ietf-suit-firmware-encryption
// (AES-KW and ECDH-ES+A128KW, content in AES-GCM or AES-CTR) and
// draft-ietf-suit-mud.
//
// [Decode] reads an envelope without believing it. [Envelope.Verify] checks a
// signature or MAC over the digest of the manifest, that digest, and that of each
// severable member, and only then reads the manifest. A [Processor] runs the
// manifest's sequences over a [Platform], the device; [NewEnvelope] and
// [Envelope.Sign] make what is read.
//
// Everything is in the strict profile of internal/cbor, the one form of section 8.1,
// maps within COSE included: what was signed, checked and used is the same. What
// the drafts let a recipient ignore and Myelin does not know is refused: a custom
// command, an unknown label, a delegation chain (label 1, which the working group
// withdrew), a payload beside the manifest that no URI in it names, an
// authentication block of several signers where no other verifies.
//
// Left out are custom commands, COSE_Sign and COSE_Mac, and parallel processing:
// commands run in the order that they stand in, whatever Strict Order says.
//
// This API is stable.
package suit

import (
	"errors"
	"strconv"
)

// Bounds, in bytes unless said otherwise. A manifest is kept in memory while it
// runs; an image passes through and is bounded by [Processor.MaxImage].
const (
	MaxEnvelope = 16 << 20 // integrated payloads included
	MaxManifest = 64 << 10 // and of each severable member

	maxBlocks       = 8   // authentication blocks
	maxPayloads     = 32  // integrated payloads
	maxComponents   = 64  // components, dependencies among them
	maxSegments     = 16  // segments of a component identifier
	maxIdentifier   = 256 // bytes of them together
	maxURI          = 2048
	maxCommands     = 1024 // commands in a manifest, those of nested sequences among them
	maxNesting      = 6    // sequences in sequences
	maxAlternatives = 32   // sequences of one try-each
	maxParameters   = 32   // parameters in one map
	maxVersion      = 16   // integers of a version
	maxTexts        = 256  // entries of a text section
)

var (
	// ErrDigest is returned when bytes are not those that a digest was made of.
	ErrDigest = errors.New("digest of other bytes")

	// ErrVerification is returned when no authentication block verifies with the
	// keys that were given.
	ErrVerification = errors.New("no signature or MAC verifies with these keys")

	// ErrUnsupported is returned for what the drafts allow and this package does
	// not know: the manifest has to be refused as a whole (section 6.1).
	ErrUnsupported = errors.New("not supported")

	// ErrLimit is returned for what is larger, deeper or more than this package
	// allows.
	ErrLimit = errors.New("over the limit")

	// ErrStructure is returned for what is CBOR, but not in the shape that the
	// drafts give.
	ErrStructure = errors.New("not the structure of the draft")
)

// A SyntaxError reports an envelope that does not follow the drafts. It holds none
// of its bytes.
type SyntaxError struct {
	Path string // where, in the drafts' names: "manifest/install[4]/try-each[0]"
	Off  int    // bytes from the start of the envelope
	Err  error  // [ErrStructure], [ErrLimit], [ErrUnsupported], [ErrDigest], or an error of internal/cbor
}

func (e *SyntaxError) Error() string {
	return "suit: " + e.Path + " at byte " + strconv.Itoa(e.Off) + ": " + e.Err.Error()
}

func (e *SyntaxError) Unwrap() error { return e.Err }
