// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package myelin holds what the program carries of its own folders: the sample ward, and the
// guard to try out. Its tests are those of the house itself: who may import whom, and how
// every file is formatted and headed.
//
// This API follows the server and may change.
package myelin

import "embed"

// Sample is testdata/ward and examples/guard. Everything in it is invented.
//
//go:embed testdata/ward/*.* examples/guard/*.yaml examples/guard/envelopes
var Sample embed.FS
