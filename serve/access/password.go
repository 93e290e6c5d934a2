// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// The cost of a password: OWASP's second choice for argon2id, 19 MiB and two passes,
// some 20 ms of one core.
const (
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonThreads = 1
	saltBytes    = 16
	keyBytes     = 32

	// MinPassword is the fewest characters of a password (NIST SP 800-63B section 3.1.1.2).
	MinPassword = 15
	maxPassword = 256 // bytes
)

var errPassword = fmt.Errorf("a password has at least %d characters and at most %d bytes; a sentence is easy to remember", MinPassword, maxPassword)

// HashPassword returns the hash that is kept, in the form of the reference
// implementation: $argon2id$v=19$m=19456,t=2,p=1$SALT$KEY.
func HashPassword(password string) (string, error) {
	if utf8.RuneCountInString(password) < MinPassword || len(password) > maxPassword {
		return "", errPassword
	}
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonThreads, keyBytes)
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonThreads, b.EncodeToString(salt), b.EncodeToString(key)), nil
}

// nobodys is the hash of a password that nobody knows: a login that does not exist
// takes as long as one that does.
var nobodys = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

var errHash = errors.New("a hash of a password that this version does not know")

// checkPassword reports whether a password has a hash.
func checkPassword(hash, password string) (bool, error) {
	if hash == "" {
		hash = nobodys
	}
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return false, errHash
	}
	var version, memory, passes, threads uint32
	if _, err := fmt.Sscanf(part[2]+" "+part[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &threads); err != nil || version != argon2.Version || memory > 1<<20 || passes > 16 || threads > 16 || threads == 0 || passes == 0 {
		return false, errHash
	}
	salt, err := base64.RawStdEncoding.DecodeString(part[4])
	if err != nil {
		return false, errHash
	}
	want, err := base64.RawStdEncoding.DecodeString(part[5])
	if err != nil || len(want) == 0 {
		return false, errHash
	}
	if len(password) > maxPassword {
		return false, nil
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, uint8(threads), uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}
