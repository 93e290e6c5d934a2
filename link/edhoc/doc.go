// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package edhoc makes two parties agree on a key and on who they are, in three or
// four small messages: Ephemeral Diffie-Hellman Over COSE (RFC 9528). With static
// Diffie-Hellman keys that go by a key identifier these have 37, 45 and 19 bytes.
//
// An [Initiator] or a [Responder] is one handshake: a state machine with a method
// for each message, which either appends the message or takes it. What comes of it
// is a [Session], with the exporter, the key update, and what an OSCORE context is
// made of. Bytes go in and bytes come out: the package opens no socket, reads no
// clock, and logs nothing. [AppendStart], [AppendPrefixed] and [SplitPrefixed] are
// the frames that CoAP carries the messages in (RFC 9528 appendix A.2; that of
// RFC 9668, with an OSCORE request behind message_3, is in link/oscore). A [Budget]
// limits what strangers cost.
//
// It has all four methods; the suites 0 to 6, 24 and 25; credentials that are CWT
// claims sets, CWTs and X.509 certificates, which go by kid, kccs, kcwt, x5t,
// x5u or x5chain; external authorization data; message_4. It has no C509
// certificates, no suites of its own, and no PLAINTEXT_2 beyond 4 kB.
//
// Messages are hostile until they are verified. CBOR that is not deterministic is
// refused, every size has a bound, and what fails leaves no keys behind. Who may be
// at the other end is not left open: [Config].Peers is required.
//
// This API is stable.
package edhoc
