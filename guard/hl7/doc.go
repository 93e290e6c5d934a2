// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package hl7 is the guard's front for HL7 version 2 over MLLP: it stands before
// a pumps' gateway, or between a device that sends and those who receive.
//
//	protects: server    senders ──TLS──▶ listen │ guard │ forward ──▶ gateway
//	                    senders ◀──TLS── returns │ guard │ returns ◀── gateway
//	protects: client    device ──▶ listen │ guard │ forward ──TLS──▶ others
//
// What comes to the device is received whole, read, held against the lists of
// the [Policy] and, when it is an order, put before the gate; what may pass is
// forwarded byte for byte. An order is one of IHE PCD-03 (RGV^O15); any other order,
// and whatever two readers may read differently, cannot be decided. What comes
// from the device passes as it comes, whatever it is.
//
// A sender is proven by its certificate, which the policy binds to the
// application (MSH-3) and facility (MSH-4) that it may speak for. One that is only
// named in MSH-3 is not proven.
//
// Answers follow HL7 v2.6 section 2.9 and PCD TF-2 section 3.3: in enhanced mode
// an accept acknowledgement on the same connection, and the application's answer
// on a connection of its own; what the guard refuses is answered AE, never AR,
// which makes engines send again.
//
// This API follows the server and may change.
package hl7
