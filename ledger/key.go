// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// ErrKey is returned for a text that is no key: see [GenerateKey].
var ErrKey = errors.New("ledger: not a key in the form of a signed note")

// The types of key of c2sp.org/signed-note that are used here.
const (
	typeEd25519     = 1 // signs checkpoints
	typeCosignature = 4 // signs what a witness saw, with the time (c2sp.org/tlog-cosignature)
)

const cosignatureBytes = 8 + ed25519.SignatureSize

// GenerateKey makes a key that signs in this name, or one that countersigns as a
// witness. Both halves are one line of text, as in c2sp.org/signed-note:
//
//	PRIVATE+KEY+name+keyid+base64(type, seed)
//	name+keyid+base64(type, public key)
//
// The zero of rand is crypto/rand. A name has no space and no plus, and should be one that nobody else uses, such
// as ada.example/ledger.
func GenerateKey(rand io.Reader, name string, witness bool) (private, public string, err error) {
	if !validName(name) {
		return "", "", fmt.Errorf("ledger: the name %q: want one without spaces and plus signs", name)
	}
	pub, priv, err := ed25519.GenerateKey(rand)
	if err != nil {
		return "", "", err
	}
	typ := byte(typeEd25519)
	if witness {
		typ = typeCosignature
	}
	id := keyID(name, typ, pub)
	text := func(k []byte) string { return base64.StdEncoding.EncodeToString(append([]byte{typ}, k...)) }
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, id, text(priv.Seed())), fmt.Sprintf("%s+%08x+%s", name, id, text(pub)), nil
}

// ParseSigner reads a private key, and returns what its signatures are checked with
// too. The signer of a witness asks now for the time; nil is time.Now.
func ParseSigner(private string, now func() time.Time) (note.Signer, note.Verifier, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(private), "PRIVATE+KEY+")
	name, id, typ, seed, err := parseKey(rest)
	if !ok || err != nil {
		return nil, nil, ErrKey
	}
	priv := ed25519.NewKeyFromSeed(seed)
	v := &verifier{name, id, typ, priv.Public().(ed25519.PublicKey)}
	if id != keyID(name, typ, v.key) {
		return nil, nil, ErrKey
	}
	if now == nil {
		now = time.Now
	}
	return &signer{v, priv, now}, v, nil
}

// ParseVerifier reads a public key.
func ParseVerifier(public string) (note.Verifier, error) {
	name, id, typ, key, err := parseKey(strings.TrimSpace(public))
	if err != nil || id != keyID(name, typ, key) {
		return nil, ErrKey
	}
	return &verifier{name, id, typ, key}, nil
}

func parseKey(s string) (name string, id uint32, typ byte, key []byte, err error) {
	name, s, _ = strings.Cut(s, "+")
	id16, key64, _ := strings.Cut(s, "+")
	id64, err := strconv.ParseUint(id16, 16, 32)
	if err != nil || len(id16) != 8 || !validName(name) {
		return "", 0, 0, nil, ErrKey
	}
	key, err = base64.StdEncoding.DecodeString(key64)
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != typeEd25519 && key[0] != typeCosignature {
		return "", 0, 0, nil, ErrKey
	}
	return name, uint32(id64), key[0], key[1:], nil
}

// validName says whether a key may have that name: c2sp.org/signed-note, "Format".
func validName(s string) bool {
	return s != "" && len(s) <= 255 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r == '+' || unicode.IsSpace(r) || r < 0x20 })
}

func keyID(name string, typ byte, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), append([]byte{typ}, key...)...))
	return binary.BigEndian.Uint32(sum[:])
}

type verifier struct {
	name string
	id   uint32
	typ  byte
	key  ed25519.PublicKey
}

func (v *verifier) Name() string    { return v.name }
func (v *verifier) KeyHash() uint32 { return v.id }

func (v *verifier) Verify(msg, sig []byte) bool {
	if v.typ == typeEd25519 {
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(v.key, msg, sig)
	}
	if len(sig) != cosignatureBytes {
		return false
	}
	t := binary.BigEndian.Uint64(sig)
	return t <= 1<<63-1 && ed25519.Verify(v.key, cosigned(t, msg), sig[8:])
}

type signer struct {
	*verifier
	priv ed25519.PrivateKey
	now  func() time.Time
}

func (s *signer) Sign(msg []byte) ([]byte, error) {
	if s.typ == typeEd25519 {
		return ed25519.Sign(s.priv, msg), nil
	}
	t := uint64(max(s.now().Unix(), 0))
	return append(binary.BigEndian.AppendUint64(nil, t), ed25519.Sign(s.priv, cosigned(t, msg))...), nil
}

// cosigned is what a witness signs: c2sp.org/tlog-cosignature, "Ed25519 signed message".
func cosigned(t uint64, msg []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", t), msg...)
}

// isWitness says whether a key is of a witness.
func isWitness(v note.Verifier) bool {
	own, ok := v.(*verifier)
	return ok && own.typ == typeCosignature
}
