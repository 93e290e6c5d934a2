// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package suit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/myelin-health/myelin/internal/cbor"
	"github.com/myelin-health/myelin/link/cose"
)

// Algorithms of draft-ietf-suit-firmware-encryption that link/cose has no name for.
const (
	A128KW       cose.Algorithm = -3
	A192KW       cose.Algorithm = -4
	A256KW       cose.Algorithm = -5
	ECDHESA128KW cose.Algorithm = -29 // ECDH-ES, HKDF with SHA-256, then A128KW
	ECDHESA192KW cose.Algorithm = -30
	ECDHESA256KW cose.Algorithm = -31
	A128CTR      cose.Algorithm = -65534 // no integrity of its own
	A192CTR      cose.Algorithm = -65533
	A256CTR      cose.Algorithm = -65532
)

const (
	maxRecipients = 64
	maxSealed     = 16 << 20 // content of an AEAD is opened as a whole, in memory

	headerEphemeralKey = -1
	headerSalt         = -20
)

// ErrDecryption is returned when content does not open with the keys of the device.
var ErrDecryption = errors.New("content does not open with these keys")

// An encryptionInfo is a SUIT_Encryption_Info: a COSE_Encrypt whose ciphertext is
// elsewhere.
type encryptionInfo struct {
	protected  []byte // content of the byte string
	alg        cose.Algorithm
	iv         []byte
	recipients []recipient
}

// A recipient has the content's key, wrapped for one key.
type recipient struct {
	protected []byte
	alg       cose.Algorithm
	kid       []byte
	ephemeral *cose.Key
	salt      []byte
	wrapped   []byte
}

// contentKey is how many bytes the key of a content encryption algorithm has, or 0.
func contentKey(a cose.Algorithm) int {
	switch a {
	case A128CTR:
		return 16
	case A192CTR:
		return 24
	case A256CTR:
		return 32
	}
	if a.AEAD() {
		return a.KeySize()
	}
	return 0
}

func counterMode(a cose.Algorithm) bool { return a >= A128CTR && a <= A256CTR }

// wrapKey is the key wrap algorithm of a recipient's, and how many bytes its key has.
func wrapKey(a cose.Algorithm) (kw cose.Algorithm, size int, ecdh bool) {
	switch a {
	case A128KW, A192KW, A256KW:
		return a, 16 + 8*int(A128KW-a), false
	case ECDHESA128KW, ECDHESA192KW, ECDHESA256KW:
		n := ECDHESA128KW - a
		return A128KW - n, 16 + 8*int(n), true
	}
	return 0, 0, false
}

// headers reads the two buckets of a COSE structure.
func (r *reader) headers() (raw []byte, p, u cose.Headers, err error) {
	raw, off := r.bytes()
	if len(raw) > 0 && r.Err() == nil {
		if p, err = cose.ParseHeaders(raw); err != nil {
			return nil, p, u, r.foreign(off, err)
		}
	}
	at := r.at()
	if r.Next() != cbor.Map {
		return nil, p, u, r.bad(r.Off(), ErrStructure, "no header parameters")
	}
	if u, err = cose.ParseHeaders(r.Raw()); err != nil {
		return nil, p, u, r.foreign(at, err)
	}
	if p.Crit != nil || u.Crit != nil {
		return nil, p, u, r.bad(at-r.base, ErrUnsupported, "critical header parameters")
	}
	if p.Alg != 0 && u.Alg != 0 {
		return nil, p, u, r.bad(at-r.base, ErrStructure, "an algorithm in both buckets")
	}
	return raw, p, u, nil
}

// foreign wraps an error of link/cose about what begins at an offset.
func (r *reader) foreign(off int, err error) error {
	var s *cbor.SyntaxError
	if errors.As(err, &s) {
		off, err = off+s.Off, s.Err
	}
	return &SyntaxError{r.path, off, err}
}

// encryptionInfo reads a SUIT_Encryption_Info.
func (r *reader) encryptionInfo() (*encryptionInfo, error) {
	if r.Next() != cbor.Tag || r.Tag() != tagEncrypt || r.Array() != 4 {
		return nil, r.bad(0, ErrStructure, "no COSE_Encrypt")
	}
	raw, p, u, err := r.headers()
	if err != nil {
		return nil, err
	}
	e := &encryptionInfo{protected: raw, alg: p.Alg + u.Alg, iv: u.IV} // one of them is zero
	if p.IV != nil {
		e.iv = p.IV
	}
	nonce := e.alg.NonceSize()
	switch {
	case contentKey(e.alg) == 0:
		return nil, r.bad(0, ErrUnsupported, "content encryption algorithm")
	case counterMode(e.alg):
		nonce = aes.BlockSize
		if len(raw) > 0 { // firmware-encryption section 7: there is nothing to authenticate it with
			return nil, r.bad(0, ErrStructure, "protected header parameters of a cipher that protects none")
		}
	case p.Alg == 0:
		return nil, r.bad(0, ErrStructure, "an algorithm that is not protected")
	}
	if len(e.iv) != nonce {
		return nil, r.bad(0, ErrStructure, "IV of another length than the algorithm's")
	}
	if !r.Null() {
		return nil, r.bad(r.Off(), ErrUnsupported, "ciphertext that is not detached")
	}
	n := r.Array()
	if err := r.count(n, 1, maxRecipients); err != nil {
		return nil, err
	}
	for range n {
		at := r.Off()
		if r.Array() != 3 {
			return nil, r.bad(at, ErrStructure, "no COSE_recipient")
		}
		raw, p, u, err := r.headers()
		if err != nil {
			return nil, err
		}
		x := recipient{protected: raw, alg: p.Alg + u.Alg, kid: u.KID, wrapped: r.Bytes()}
		kw, _, dh := wrapKey(x.alg)
		switch {
		case kw == 0:
			return nil, r.bad(at, ErrUnsupported, "content key distribution")
		case len(x.wrapped) != contentKey(e.alg)+8:
			return nil, r.bad(at, ErrStructure, "a wrapped key of another length than the algorithm's")
		case !dh:
			if len(raw) > 0 { // RFC 9053 section 6.2.1
				return nil, r.bad(at, ErrStructure, "protected header parameters of a key wrap")
			}
		default:
			b := u.Get(headerEphemeralKey)
			if p.Alg == 0 || b == nil {
				return nil, r.bad(at, ErrStructure, "no ephemeral key, or an algorithm that is not protected")
			}
			k, err := cose.ParseKey(b)
			if err != nil {
				return nil, r.foreign(r.base+at, err)
			}
			x.ephemeral = &k
			if b := u.Get(headerSalt); b != nil {
				s, err := cbor.Parse(b)
				if err != nil {
					return nil, r.foreign(r.base+at, err)
				}
				if x.salt = s.Bytes(); s.Done() != nil {
					return nil, r.bad(at, ErrStructure, "salt")
				}
			}
		}
		e.recipients = append(e.recipients, x)
	}
	return e, r.err()
}

// key unwraps the content's key with one of the device's. A kid is a hint.
func (e *encryptionInfo) key(keys []cose.Key) ([]byte, error) {
	for i := range e.recipients {
		for j := range keys {
			if cek, err := e.recipients[i].unwrap(&keys[j]); err == nil {
				return cek, nil
			}
		}
	}
	return nil, ErrDecryption
}

func (x *recipient) unwrap(k *cose.Key) ([]byte, error) {
	kek := k.K
	_, size, dh := wrapKey(x.alg)
	switch {
	case dh:
		private, err := k.PrivateECDH()
		if err != nil {
			return nil, err
		}
		public, err := x.ephemeral.PublicECDH()
		if err != nil {
			return nil, err
		}
		if kek, err = x.derive(private, public); err != nil {
			return nil, err
		}
	case k.Type != cose.Symmetric || k.Alg != 0 && k.Alg != x.alg || len(k.K) != size ||
		k.Ops != 0 && k.Ops&(cose.OpUnwrapKey|cose.OpDecrypt) == 0:
		return nil, cose.ErrKey
	}
	return unwrap(kek, x.wrapped)
}

// derive is the key that a Diffie-Hellman exchange gives: HKDF over the context of
// firmware-encryption section 6.2.4.
func (x *recipient) derive(private *ecdh.PrivateKey, public *ecdh.PublicKey) ([]byte, error) {
	if private.Curve() != public.Curve() {
		return nil, cose.ErrKey
	}
	secret, err := private.ECDH(public)
	if err != nil {
		return nil, err
	}
	kw, size, _ := wrapKey(x.alg)
	info := cbor.AppendInt(cbor.AppendArray(nil, 4), int64(kw))
	for range 2 { // PartyUInfo and PartyVInfo
		info = cbor.AppendArray(info, 3)
		info = cbor.AppendNull(cbor.AppendNull(cbor.AppendNull(info)))
	}
	info = cbor.AppendUint(cbor.AppendArray(info, 3), uint64(8*size))
	info = cbor.AppendBytes(info, x.protected)
	info = cbor.AppendBytes(info, []byte("SUIT Payload Encryption"))
	return hkdf.Key(sha256.New, secret, x.salt, string(info), size)
}

// decrypt returns a reader of the plaintext of what r has. Of an AEAD nothing is
// returned before all of it is authentic; what a cipher in counter mode returns is
// not authentic, and a digest has to follow.
func (e *encryptionInfo) decrypt(r io.Reader, keys []cose.Key) (io.Reader, error) {
	cek, err := e.key(keys)
	if err != nil {
		return nil, err
	}
	if counterMode(e.alg) {
		block, err := aes.NewCipher(cek)
		if err != nil {
			return nil, err
		}
		return cipher.StreamReader{S: cipher.NewCTR(block, e.iv), R: r}, nil
	}
	aead, err := cose.NewAEAD(e.alg, cek)
	if err != nil {
		return nil, err
	}
	sealed, err := io.ReadAll(io.LimitReader(r, maxSealed+1))
	if err != nil {
		return nil, err
	}
	if len(sealed) > maxSealed {
		return nil, fmt.Errorf("%w: content of an AEAD", ErrLimit)
	}
	plain, err := aead.Open(sealed[:0], e.iv, sealed, e.associated())
	if err != nil {
		return nil, ErrDecryption
	}
	return &plainReader{plain}, nil
}

// associated is the Enc_structure of a COSE_Encrypt (RFC 9052 section 5.3).
func (e *encryptionInfo) associated() []byte {
	b := cbor.AppendText(cbor.AppendArray(nil, 3), "Encrypt")
	return cbor.AppendBytes(cbor.AppendBytes(b, e.protected), nil)
}

// A plainReader reads bytes, and clears what was read.
type plainReader struct{ b []byte }

func (p *plainReader) Read(dst []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(dst, p.b)
	clear(p.b[:n])
	p.b = p.b[n:]
	return n, nil
}

// Encrypt encrypts an image for the keys of devices, symmetric or for Diffie-Hellman,
// and returns the parameter that a write or copy needs to decrypt it. The algorithm
// is one of AES-GCM, or of AES-CTR, whose manifest must check a digest.
func Encrypt(a cose.Algorithm, plaintext []byte, recipients ...cose.Key) (info Parameter, ciphertext []byte, err error) {
	size := contentKey(a)
	if size == 0 || len(recipients) == 0 || len(recipients) > maxRecipients {
		return info, nil, fmt.Errorf("suit: %w: no such content encryption, or no recipients", ErrUnsupported)
	}
	e := encryptionInfo{alg: a, iv: make([]byte, max(a.NonceSize(), aes.BlockSize*b2i(counterMode(a))))}
	cek := make([]byte, size)
	rand.Read(e.iv)
	rand.Read(cek)
	u := cose.Headers{IV: e.iv}
	if counterMode(a) {
		u.Alg = a
		block, err := aes.NewCipher(cek)
		if err != nil {
			return info, nil, err
		}
		ciphertext = make([]byte, len(plaintext))
		cipher.NewCTR(block, e.iv).XORKeyStream(ciphertext, plaintext)
	} else {
		if e.protected, err = (&cose.Headers{Alg: a}).Append(nil); err != nil {
			return info, nil, err
		}
		aead, err := cose.NewAEAD(a, cek)
		if err != nil {
			return info, nil, err
		}
		if len(plaintext) > maxSealed-aead.Overhead() {
			return info, nil, fmt.Errorf("suit: %w: content of an AEAD", ErrLimit)
		}
		ciphertext = aead.Seal(nil, e.iv, plaintext, e.associated())
	}
	b := cbor.AppendBytes(cbor.AppendArray(cbor.AppendTag(nil, tagEncrypt), 4), e.protected)
	if b, err = u.Append(b); err != nil {
		return info, nil, err
	}
	b = cbor.AppendArray(cbor.AppendNull(b), len(recipients))
	for i := range recipients {
		if b, err = appendRecipient(b, &recipients[i], cek); err != nil {
			return info, nil, err
		}
	}
	return bytesParameter(ParameterEncryptionInfo, b), ciphertext, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func appendRecipient(dst []byte, k *cose.Key, cek []byte) (_ []byte, err error) {
	var x recipient
	kek, u := k.K, cose.Headers{KID: k.ID}
	if k.Type == cose.Symmetric {
		switch len(kek) {
		case 16, 24, 32:
			u.Alg = A128KW - cose.Algorithm(len(kek)/8-2)
		default:
			return nil, cose.ErrKey
		}
	} else {
		x.alg = ECDHESA128KW
		public, err := k.PublicECDH()
		if err != nil {
			return nil, err
		}
		private, err := public.Curve().GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		ephemeral, err := cose.NewECDHKey(private.PublicKey())
		if err != nil {
			return nil, err
		}
		if x.protected, err = (&cose.Headers{Alg: x.alg}).Append(nil); err != nil {
			return nil, err
		}
		if kek, err = x.derive(private, public); err != nil {
			return nil, err
		}
		u.Other = []cose.Param{{Label: cbor.AppendInt(nil, headerEphemeralKey), Value: ephemeral.AppendPublic(nil)}}
	}
	dst = cbor.AppendBytes(cbor.AppendArray(dst, 3), x.protected)
	if dst, err = u.Append(dst); err != nil {
		return nil, err
	}
	wrapped, err := wrap(kek, cek)
	return cbor.AppendBytes(dst, wrapped), err
}

// wrapIV is the initial value of RFC 3394 section 2.2.3.1.
const wrapIV = 0xa6a6a6a6a6a6a6a6

// wrap is the key wrap of RFC 3394 section 2.2.1. A key has two blocks of 8 bytes at
// least.
func wrap(kek, key []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(key) / 8
	out := append(binary.BigEndian.AppendUint64(nil, wrapIV), key...)
	var b [16]byte
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(b[:8], out[:8])
			copy(b[8:], out[8*i:])
			block.Encrypt(b[:], b[:])
			binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(b[:])^uint64(n*j+i))
			copy(out[8*i:8*i+8], b[8:])
		}
	}
	return out, nil
}

// unwrap is section 2.2.2.
func unwrap(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(wrapped)/8 - 1
	if n < 2 || len(wrapped)%8 != 0 {
		return nil, ErrDecryption
	}
	out := append([]byte(nil), wrapped...)
	var b [16]byte
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(out)^uint64(n*j+i))
			copy(b[8:], out[8*i:])
			block.Decrypt(b[:], b[:])
			copy(out[:8], b[:8])
			copy(out[8*i:8*i+8], b[8:])
		}
	}
	if subtle.ConstantTimeCompare(out[:8], binary.BigEndian.AppendUint64(nil, wrapIV)) != 1 {
		return nil, ErrDecryption
	}
	return out[8:], nil
}
