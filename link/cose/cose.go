// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package cose signs, authenticates and encrypts what is written in CBOR: the
// single-party structures of RFC 9052 (COSE_Sign1, COSE_Mac0, COSE_Encrypt0) and
// its keys, with the algorithms of RFC 9053 and RFC 9864 that constrained
// devices have. AES-CCM is its own, because a device's messages are many and
// small: sealing and opening allocate nothing.
//
// This API is stable.
package cose
