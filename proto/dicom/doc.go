// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package dicom reads what two DICOM application entities say to each other
// over TCP: the upper layer's PDUs (PS3.8 section 9.3), the DIMSE messages in
// them (PS3.7 sections 6.3, 9, 10 and annex E), and the data sets of those
// messages (PS3.5 section 7 and annex A) in implicit and explicit VR, big
// endian and deflated.
//
// A [Stream] is fed the bytes of one side and tells a [Visitor] what they are.
// It keeps about a kilobyte for a message, however large the objects are:
// values longer than [MaxValue] bytes are passed over, and a data set is read
// up to its pixel data. (Of a deflated one up to 16 KiB are collected, and what
// comes behind them is not read.) What nobody looks at need not even be handed in: see [Stream.Feed].
// [Association], [Command] and [DataSet] also stand alone.
//
// Left out: pixel data, value multiplicity and character sets (a value is its
// bytes), extended negotiation items, files (PS3.10), and DICOM over HTTP
// (PS3.18). The values of user identities are never returned.
//
// This API is stable.
package dicom
