// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package flow puts packets together again: fragments to datagrams
// ([Defragmenter]), packets to conversations and TCP segments to streams
// ([Table]).
//
// All state is bounded, expires by packet time, and every piece that is given
// up is counted ([Stats]). Conversations are spread over [Shards] tables by
// [Hash]; what a table does depends on its own packets alone, so the result is
// the same however many goroutines share the tables.
//
// This API follows the server and may change.
package flow
