// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package repo keeps and reads the two TUF repositories that an update comes
// from. The manufacturer's says what a release is: its SUIT envelope, images and
// deltas, its bill of materials, its VEX statements and the advisories it fixes.
// The hospital's says which device, or ring of devices, is to have which envelope.
// A client accepts an envelope that both name with the same digest and length,
// as in Uptane's full verification (Uptane Standard 2.1.0 section 5.4.4.2): who
// steals one signer's keys can neither invent firmware nor send it anywhere.
//
// A [Repository] is the signers' side: keys with thresholds, metadata that waits
// for signatures, what is published. A [Client] is the other side, in a device, a
// gateway or a server, with the workflow of section 5 of the TUF specification,
// version 1.0.31. Formats, canonical JSON and signatures are those of go-tuf, whose
// metadata and trustedmetadata packages do all verification here. The workflow
// around them is ours, because go-tuf's updater (v2.4.2)
//
//   - believes a delegated role that it once verified for one delegator when it
//     comes to it from another,
//   - compares path_hash_prefixes with base64, where section 4.5 says hexadecimal,
//   - has neither deadlines nor targets larger than memory, and
//   - panics on metadata that is JSON and of the right type but has null where an
//     object belongs, or an Ed25519 key of another length.
//
// What arrives is therefore looked through first: depth, size, names twice, nulls,
// keys, versions.
//
// Metadata and targets travel by HTTP, in a folder, or on a stick: a [Source] is
// where they are read from, and no source is trusted. A mirror is a folder with the
// layout
//
//	metadata/N.root.json N.targets.json N.ROLE.json N.snapshot.json timestamp.json
//	targets/PATH/SHA256.NAME
//
// which any web server can serve. Consistent snapshots are always on.
//
// Neither side looks at the clock but through its Now, which a device sets from a
// signed source.
//
// This API follows the server and may change.
package repo

import (
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What is wrong with a repository, a mirror, or what a person asked of one.
var (
	// ErrExpired says that metadata is older than its signer meant it to be
	// believed: a mirror that stands still, or one that is made to (freeze).
	ErrExpired = errors.New("has expired")

	// ErrVersion says that metadata has a version that it must not have: one older
	// than was seen before (rollback), or than other metadata names (mix and match).
	ErrVersion = errors.New("does not have the version that it must have")

	// ErrUnsigned says that too few of a role's keys signed.
	ErrUnsigned = errors.New("is not signed by enough of its keys")

	// ErrMismatch says that bytes are not those that signed metadata names.
	ErrMismatch = errors.New("is not what the signed metadata says")

	// ErrTooLong says that more bytes came than may.
	ErrTooLong = errors.New("is longer than it may be")

	// ErrMalformed says that bytes do not follow the format.
	ErrMalformed = errors.New("is malformed")

	// ErrNotFound says that no role that may name a target does.
	ErrNotFound = errors.New("is in no role that may name it")

	// ErrDisagree says that manufacturer and hospital do not say the same.
	ErrDisagree = errors.New("the manufacturer and the hospital do not say the same")

	// ErrWrongModel says that an update is for another product.
	ErrWrongModel = errors.New("is for another product")
)

// Bounds of what is read before it is verified, in bytes; go-tuf's and python-tuf's
// own. A target's bound is its length in signed metadata and [Config.MaxTarget].
const (
	maxRoot      = 512_000
	maxTimestamp = 16_384
	maxSnapshot  = 2_000_000
	maxTargets   = 5_000_000
)

const (
	maxRotations   = 256 // roots fetched in one refresh (section 5.3.3)
	maxDelegations = 32  // roles visited for one target (section 5.6.7)
)

// reason turns an error of go-tuf's into one of this package's, with what is wrong
// in its text.
func reason(what string, err error) error {
	if err == nil {
		return nil
	}
	var (
		expired  *metadata.ErrExpiredMetadata
		version  *metadata.ErrBadVersionNumber
		unsigned *metadata.ErrUnsignedMetadata
		mismatch *metadata.ErrLengthOrHashMismatch
		own      error
	)
	switch {
	case errors.As(err, &expired):
		return fmt.Errorf("%s %w", what, ErrExpired)
	case errors.As(err, &version):
		own = ErrVersion
	case errors.As(err, &unsigned):
		own = ErrUnsigned
	case errors.As(err, &mismatch):
		own = ErrMismatch
	default:
		return fmt.Errorf("%s %w: %w", what, ErrMalformed, err)
	}
	return fmt.Errorf("%s %w: %w", what, own, err)
}
