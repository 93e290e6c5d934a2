// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package match joins what devices are and are made of with what advisories
// say: [Names] knows how makers and products are spelled, [Index] holds a
// fleet and answers which of its devices an advisory hits, how sure that is,
// and why.
//
// This API follows the server and may change.
package match
