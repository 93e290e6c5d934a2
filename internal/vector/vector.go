// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Package vector reads test vectors, for tests.
//
// This API follows the server and may change.
package vector

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Bytes returns the bytes that a vector writes in hexadecimal. White space does not
// count.
func Bytes(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
