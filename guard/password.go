// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/argon2"
)

// A hash is of a password, by Argon2id (RFC 9106), as the PHC string format
// writes it: $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH.
type hash struct {
	memory    uint32 // KiB
	time      uint32
	threads   uint8
	salt, sum []byte
}

// The parameters of new hashes: the second recommended option of RFC 9106
// section 4.
const (
	hashMemory  = 64 << 10 // KiB
	hashTime    = 3
	hashThreads = 4
	saltBytes   = 16
	sumBytes    = 32
)

// MinPassword is the least length of a password, in bytes (NIST SP 800-63B-4
// section 3.1.1.2: fifteen characters where a password is all that is asked for).
const MinPassword = 15

var phc = base64.RawStdEncoding.Strict()

// HashPassword returns what guard.yaml has of a password.
func HashPassword(password string, rand io.Reader) (string, error) {
	if len(password) < MinPassword {
		return "", fmt.Errorf("a password of %d bytes; it needs %d or more: a few words do", len(password), MinPassword)
	}
	h := hash{hashMemory, hashTime, hashThreads, make([]byte, saltBytes), nil}
	if _, err := io.ReadFull(rand, h.salt); err != nil {
		return "", err
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		phc.EncodeToString(h.salt), phc.EncodeToString(h.of(password, sumBytes))), nil
}

// parseHash reads what HashPassword writes, with parameters that are neither
// weak nor more than a small machine can bear.
func parseHash(s string) (h hash, err error) {
	parts := strings.Split(s, "$")
	var version int
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errors.New("it is no argon2id hash")
	}
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return h, errors.New("it is of another version of argon2")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); n != 3 || err != nil ||
		h.memory < 19<<10 || h.memory > 256<<10 || h.time < 2 || h.time > 16 || h.threads < 1 || h.threads > 16 {
		return h, errors.New("its parameters are weak or very costly")
	}
	var bad [2]error
	h.salt, bad[0] = phc.DecodeString(parts[4])
	h.sum, bad[1] = phc.DecodeString(parts[5])
	if errors.Join(bad[:]...) != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, errors.New("its salt or sum is damaged")
	}
	return h, nil
}

func (h *hash) of(password string, n uint32) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, n)
}

// matches reports whether a password is the one that was hashed.
func (h *hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.of(password, uint32(len(h.sum))), h.sum) == 1
}

// nobody is the hash that is computed for ids that nobody has, so that they
// take as long as others; nothing matches it.
var nobody = hash{hashMemory, hashTime, hashThreads, make([]byte, saltBytes), make([]byte, sumBytes)}
