// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package watch turns frames into events, and events into findings.
//
// A frame is decoded and given to one of 64 shards by its conversation. The
// shard's flow table puts streams together; an observer for the conversation's
// protocol reads them and emits events. The events of all shards meet, in the
// order of their packets, in one ordered stage, where the detectors that look
// across conversations and the inventory live. Nothing depends on the number
// of workers, or on where a batch of frames ends.
//
// Names that may be a person's stay inside: an event leaves the package only
// after the stage has cleared it.
//
// This API follows the server and may change.
package watch
