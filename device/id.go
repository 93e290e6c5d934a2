// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// IDOf returns the stable id of a device: "dev-" and 80 bits of SHA-256, in 16
// characters of base32, over its strongest identity, field by field (a UDI and
// serial; manufacturer, model and serial; an address and its kind). The key of
// a pseudonym is never among these.
func IDOf(fields ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(fields, "\x00")))
	return "dev-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}
