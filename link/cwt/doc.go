// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package cwt says who may do what to a device: CBOR Web Tokens (RFC 8392) bound
// to the holder's key (RFC 8747), with a scope of a role and what it may command,
// for devices that may have no clock (RFC 9200 section 5.10.3), lists of what was
// revoked, and break-glass tokens that open a device to a rescuer, offline and once.
//
// A [Verifier] checks a token by itself. A [Door] is what a device adds to that: it
// remembers which tokens were used, and records what it let in and what it did not.
// An [Authority] issues. There is no clock in here, no socket and no file: times,
// randomness and a function that makes a record durable are handed in. All CBOR is
// in the profile of deterministic encoding (RFC 8949 section 4.2.1), and refused
// outside of it. Tokens with a MAC are not for here: who could check one could
// issue it.
//
// # Tokens
//
// A token is a COSE_Sign1, with the tags 18 and 61 or without, whose protected
// header has alg (ES256, ESP256, EdDSA or Ed25519) and kid, the authority's. Claims:
//
//	iss 1  text  the authority's name                              required
//	sub 2  text  the holder, by a pseudonym
//	aud 3  text  one device, or a class: "class:insulin-pump"      required
//	exp 4  int   seconds since 1970                                exp or exi
//	nbf 5  int
//	iat 6  int
//	cti 7  bytes the serial, 1 to 64 bytes; no two are the same    required
//	cnf 8  map   {1: COSE_Key} or {3: kid} of an enrolled key      required
//	scope 9 bytes see below                                        required
//	cnonce 39 bytes  in statements of the time
//	exi 40 int   seconds from its first reception; then cti is aud
//	             followed by a sequence number of eight bytes, the
//	             most significant first, which counts the tokens with
//	             exi for that audience
//	-70001 array [need, window]: it is a break-glass token
//	-70002 array the approvals of it, each a byte string
//	-70003 array [number, [serial, ...], [thumbprint, ...]]: what is revoked
//
// A claim with another key is ignored, as RFC 8392 says.
//
// # Scope
//
// The scope is a byte string with the encoding of
//
//	[role, {verb: limits, ...}]
//	limits   = {? 1: highest, ? 2: lowest, ? 3: longest, ? (4: sum, 5: window)}
//	highest, lowest, longest, sum = [coefficient, exponent, unit]
//
// Roles and verbs are the numbers in [RoleNumber] and [VerbNumber]. A quantity is
// coefficient x 10^exponent of a unit by its UCUM code; the coefficient has no zero
// at its end, and zero has the exponent 0. Highest and lowest bound the value of one
// command, longest is the longest time that one command may be for, sum is the most
// that commands with this verb may ask for within window, in seconds. What is not
// said is not bounded by the token. For instance, a patient who may give herself up
// to 3 U at once and 10 U in four hours, and read:
//
//	82 01 a2                             patient
//	   01 a3                             deliver-bolus
//	      01 83 03 00 64 5b69555d        3 [iU]
//	      04 83 01 01 64 5b69555d        1 x 10^1 [iU]
//	      05 19 3840                     14400 s
//	   18 2b a0                          read-telemetry
//
// # Break-glass
//
// A break-glass token has the role emergency, nbf and exp not more than
// [MaxEmergency] apart, and the claim -70001: how many approvals it needs, and how
// many seconds it opens a device for. An approval is an untagged COSE_Sign1 with
// alg and kid in its protected header, a detached payload, and the external data
// "myelin break-glass approval" in UTF-8. Its payload is the encoded claims of the
// token without the claim -70002, which makes approvals fit one token only.
//
// It cannot stop who holds a valid break-glass token and is near the patient: it
// limits what that person can do, and for how long, and makes it known. It cannot
// prove that there is an emergency, and does not replace the magnet. A token for a
// class of devices opens each of them once: offline, one cannot know of another.
//
// This API is stable.
package cwt
