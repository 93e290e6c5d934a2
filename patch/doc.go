// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package patch has the words of an update that the server, the gateway and the
// device share: a [Release] and what it [Demands], the [State] that a device
// signs, the [Offer] that a hospital signs, and how an update ended ([Result]).
//
// The life of an update. A maker publishes a release: a SUIT envelope and its
// papers, targets of the maker's repository (patch/repo). A hospital assigns it
// in its own. A device polls: it sends its State, signed, and is given an
// [Answer]; in it is an Offer once its turn has come (patch/rollout). It
// downloads, verifies and stages at once; it installs only under an offer that
// says Install, made for a state that was fresh, and only while what the release
// demands of the body it is in is so ([Demands.Unmet]): the server asks that, and
// the device asks it again itself, at the last moment (patch/agent). Then it says
// how it ended, in a State with a Result: a receipt.
//
// Messages are COSE_Sign1 over maps of integers in the strict profile of
// internal/cbor; each has a context of its own that is signed with it, so that no
// message is taken for another.
//
// This API follows the server and may change.
package patch
