// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package wire reads bytes that somebody else wrote: a [Cursor] for variable
// formats, and fixed-offset readers for the link, network and transport
// headers that every packet has ([Packet.Decode]).
//
// Nothing here keeps state between packets, allocates per packet, or panics
// on any input.
//
// This API is stable.
package wire
