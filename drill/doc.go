// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package drill runs the attack catalogue end to end: each attack first against
// an unprotected device, where it has to succeed, and then against each part of
// Myelin that may answer it. What the catalogue promises has to hold.
//
//	catalogue.yaml ─▶ Row ─▶ the attack (sim/legacy) on the bare device
//	                          ├─▶ sensor:  its recording (sim/radio), assessed
//	                          ├─▶ channel: the same device behind EDHOC and OSCORE
//	                          ├─▶ guard:   the same device behind the guard, and around it
//	                          ├─▶ update:  the mended release by Myelin's way, and attacks on that
//	                          └─▶ sbom:    what the device is made of, and an advisory
//	                 ─▶ report.Drill
//
// The catalogue is data. Everything is on this machine's loopback, against
// simulated devices with invented protocols.
//
// This API follows the server and may change.
package drill
