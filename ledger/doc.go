// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package ledger is an append-only record that cannot be altered afterwards
// without being noticed: a Merkle tree of entries in files, and signed
// checkpoints of it.
//
// The tree is that of RFC 6962 section 2.1 with SHA-256. What stands in the
// folder follows c2sp.org/tlog-checkpoint, signed-note and tlog-tiles, so that
// other programs can read it, and docs/ledger.md tells all of it:
//
//	checkpoint              origin, size and root hash, signed
//	tile/L/N[.p/W]          hashes of level L
//	tile/entries/N[.p/W]    the entries, 256 a file
//	journal/N               entries from N on, in the order of their writing
//	lock                    held by the one process that appends
//
// The journal is what makes an entry durable. [Log.Append] returns when the
// group of entries that it came in is in the journal and fsync has returned. Tiles
// and checkpoint follow, at the latest [Config.Every] later, in this order: tiles and
// entries, fsynced; the checkpoint, fsynced and renamed; only then is what the
// journal has twice removed. So kill -9 or a loss of power at any moment loses no
// entry that was acknowledged, and a checkpoint shows nothing that is not durable.
//
// Left out: pruning, several logs of one key, and the HTTP side of the
// specifications; a web server can hand out the folder as it is.
//
// This API is stable.
package ledger
