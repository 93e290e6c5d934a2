// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package agent is the device's side of an update, as a small library: it keeps two
// slots for firmware and a boot record, and an [Agent] that polls a server, stages
// what it is offered, switches when nothing speaks against it, and confirms the new
// version or falls back to the old.
//
// # The life of an update on a device
//
//	poll    a State, signed; an Answer, with an Offer of the hospital
//	stage   the envelope is fetched, the maker's signature verified, the manifest run by
//	        patch/suit; the image goes to the slot that does not run, block by block,
//	        and is hashed there; the settings are saved
//	gate    the Offer says Install, and is not over by a time that was signed; every
//	        demand of the release is met by the device's state at this moment
//	        (patch.Demands.Unmet): asked, then no more therapy is let begin, then asked again
//	switch  the slot is hashed again; one boot record says that it is on trial; the
//	        device starts again, and its loader ([Boot]) hashes it once more
//	trial   self-test passed, settings equal, therapy seen resumed: confirmed by one
//	        record, in which the anti-rollback counter moves too; else, or when the watchdog bites,
//	        the old version is started, which says so when it is seen to work
//	report  a State with the Result, until an Answer says that it was heard
//
// Where a file VERSION.delta of patch/delta is beside the envelope, VERSION being what runs,
// the image is made out of that and the slot that runs; else, or where it does not fit,
// the whole image is fetched. A delta needs no signature of its own: what comes out is
// worth what its digest in the manifest says. There is no update in place: a device
// with one slot has no way back.
//
// # Loss of power
//
// All that is decided is in one record (see log.go), of which there is always the one
// before or the next, whole. The slot that runs is never written to, and what stands in the
// other is nothing before a record says so. A test cuts the power at every erasure
// and write of an update, in several parts of it, and again soon after: the device
// starts the old or the new version, and goes on.
//
// # What is believed
//
// An envelope by the maker's key, an offer by the hospital's, and a time by the
// server's if it answers a random question that was signed for this device. Where
// something is at stake, an update under way or a result that is not acknowledged, that
// question is asked each time: what is void, and what was heard, is believed of a signed
// answer only, so that who carries it in between can do no more than cut it off. Time
// never goes back, over restarts too. An offer counts once, and none that came before
// one that counted. Of what a release demands the offer says more than the maker, and
// the device has only its word for it, unless it verifies the repositories itself
// (Config.Vouch).
//
// This API follows the server and may change.
package agent
