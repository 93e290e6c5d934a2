// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package cose signs, authenticates and encrypts what is written in CBOR: the
// single-party structures of RFC 9052 (COSE_Sign1, COSE_Mac0, COSE_Encrypt0) and
// its keys, with the algorithms of RFC 9053 and RFC 9864 that constrained
// devices have.
//
// A message is parsed, looked at for which key it wants (its kid, its
// certificates), and then verified or decrypted with that key. What it says is not
// to be believed before. Everything is in the strict profile of internal/cbor: what
// is read is written again as the same bytes.
//
// An algorithm is believed where it is protected, or where the key is for one
// algorithm only. ECDSA is bound to one curve an algorithm, and a key to its type,
// its algorithm and its key_ops. crit is obeyed; a label in both buckets, and IV
// beside Partial IV, are refused.
//
// AES-CCM is its own, because a device's messages are many and small: sealing and
// opening allocate nothing.
//
// Left out are messages of several signers or recipients, countersignatures,
// AES-CBC-MAC, RSA, and the curves of 448 bits.
//
// This API is stable.
package cose
