// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package uplink is the way of sensors and guards to a server: [Server] there, [Client] here.
//
//	POST /uplink/v1/enrol      {"token","csr"} -> {"id","name","site","kind","certificate","authority"}
//	GET  /uplink/v1/state      -> {"sequence","id","name","site","kind"}
//	POST /uplink/v1/batch      a store.Batch -> {"sequence"}
//	GET  /uplink/v1/decisions  -> {"do":[{"key","decision"}]}, after at most 25 s
//	POST /uplink/v1/decisions  {"key","why"}
//
// # Who is who
//
// An enrolment is a token that is used once: 160 random bits, and the fingerprint of
// the server's authority by which the sensor knows it is talking to it (or the
// certificate of the hospital's own, from a file). The sensor makes a key, which never
// leaves it, and has a certificate for it. From then on both sides show certificates; the
// server asks its store, at each request, whether the key is that of the sensor and was not
// revoked. Who shows the same key again has a new certificate, without a token: so
// certificates are renewed, and so an answer that was lost does no harm. No proxy may
// end TLS in between.
//
// # What is sent
//
// Batches have numbers, which grow. The next one is sent when the one before was
// acknowledged, which is when the server's bus has it on disk. Both sides may be killed
// at any time: what is not acknowledged is sent again, and a number that was
// written before is not written again. A client that finds that the server knows higher
// numbers than it has itself (its disk was put back to an older state) goes on behind
// them.
//
// What waits lies in a folder, a file a batch, up to a number of bytes. When there is
// no room, neighbouring batches are put together, the oldest first: observations are
// summed by addresses, protocol, port and hour, of devices and findings the latest is
// kept. When that makes no room, the oldest observations are given up. Events, held commands,
// devices and findings are not: rather nothing more is taken. A batch that may have been
// sent is left as it is.
//
// No patient data is sent: events, devices and findings have none. Serial numbers of
// devices that are implanted or worn on a body do not leave the sensor, and are not
// taken by the server.
//
// This API follows the server and may change.
package uplink
