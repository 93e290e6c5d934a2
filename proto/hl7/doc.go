// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package hl7 reads and writes HL7 version 2 messages in their vertical-bar
// form (ER7), frames them for TCP, and understands those of them that concern
// medical devices.
//
// It implements
//
//   - HL7 v2.6 and v2.7 chapter 2: delimiters, segments, fields, repetitions,
//     components, subcomponents, escape sequences, batches, continuation;
//   - the Minimal Lower Layer Protocol, release 1 (HL7 v2 transport
//     specification): 0x0B, message, 0x1C, 0x0D ([Framer]);
//   - of chapters 3, 4, 5 and 7 what says who is spoken about and what is to be
//     done: which kinds of patient data a message holds ([PatientFields]),
//     orders, queries, observations;
//   - IHE Patient Care Device Technical Framework volume 2 (PCD TF-2, revision
//     8, with change proposals 140 to 142): PCD-01 and PCD-10 observations and the devices behind a gateway
//     ([Devices]), PCD-04 alerts, PCD-03 infusion orders ([Orders])
//     and their answers.
//
// A [Message] aliases the bytes it was parsed from and allocates nothing: every
// segment, field and component is a slice of the input, decoded only when
// [Value.AppendText] asks for it. What real systems do against the standard and
// every receiver puts up with is accepted and named in [Quirks], so that one
// who watches can read on and one who guards can refuse.
//
// Left out: the XML encoding, MLLP release 2 (its commit blocks are passed
// through as blocks that are no message), the hybrid lower layer protocol with
// its checksum, conversion of character sets, and validation of a message
// against its structure.
//
// This API is stable.
package hl7
