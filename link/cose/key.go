// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"github.com/myelin-health/myelin/internal/cbor"
)

// A KeyType is a number of IANA's registry "COSE Key Types". Zero is none.
type KeyType int32

// The key types.
const (
	OKP       KeyType = 1 // octet key pair: X25519, Ed25519
	EC2       KeyType = 2 // elliptic curve with x and y
	Symmetric KeyType = 4
)

// KeyOps is a set of what a key may be used for (RFC 9052 table 5): bit n is
// operation n. The empty set is no restriction.
type KeyOps uint16

// The operations.
const (
	OpSign       KeyOps = 1 << 1
	OpVerify     KeyOps = 1 << 2
	OpEncrypt    KeyOps = 1 << 3
	OpDecrypt    KeyOps = 1 << 4
	OpWrapKey    KeyOps = 1 << 5
	OpUnwrapKey  KeyOps = 1 << 6
	OpDeriveKey  KeyOps = 1 << 7
	OpDeriveBits KeyOps = 1 << 8
	OpMACCreate  KeyOps = 1 << 9
	OpMACVerify  KeyOps = 1 << 10
)

// A Key is a COSE_Key (RFC 9052 section 7, RFC 9053 section 7). Printed or
// logged it shows no secret.
type Key struct {
	Type   KeyType
	ID     []byte    // kid; nil is none
	Alg    Algorithm // the only algorithm the key is for; zero is any that fits it
	Ops    KeyOps    // what the key may be used for; zero is anything
	BaseIV []byte    // what a Partial IV is added to; nil is none

	Curve Curve  // of OKP and EC2
	X, Y  []byte // the public key, as long as the curve's field; of OKP only X
	D     []byte // the private key of OKP and EC2; nil for a public key
	K     []byte // the Symmetric key
}

// Labels of RFC 9052 table 4 and RFC 9053 tables 18 to 20.
const (
	keyKty    = 1
	keyKid    = 2
	keyAlg    = 3
	keyOps    = 4
	keyBaseIV = 5
	keyCrv    = -1 // and k of Symmetric
	keyX      = -2
	keyY      = -3
	keyD      = -4
)

// size is how many bytes a coordinate has, or zero for a curve that is not known.
func (c Curve) size() int {
	switch c {
	case P256, X25519, CurveEd25519:
		return 32
	case P384:
		return 48
	case P521:
		return 66
	}
	return 0
}

// keyType is the type that keys on a curve have.
func (c Curve) keyType() KeyType {
	switch c {
	case P256, P384, P521:
		return EC2
	case X25519, CurveEd25519:
		return OKP
	}
	return 0
}

func (c Curve) ecdh() ecdh.Curve {
	switch c {
	case P256:
		return ecdh.P256()
	case P384:
		return ecdh.P384()
	case P521:
		return ecdh.P521()
	case X25519:
		return ecdh.X25519()
	}
	return nil
}

func (c Curve) elliptic() elliptic.Curve {
	switch c {
	case P256:
		return elliptic.P256()
	case P384:
		return elliptic.P384()
	case P521:
		return elliptic.P521()
	}
	return nil
}

// String is the curve's name in the registry.
func (c Curve) String() string {
	switch c {
	case P256:
		return "P-256"
	case P384:
		return "P-384"
	case P521:
		return "P-521"
	case X25519:
		return "X25519"
	case X448:
		return "X448"
	case CurveEd25519:
		return "Ed25519"
	case CurveEd448:
		return "Ed448"
	}
	return fmt.Sprintf("curve %d", int32(c))
}

func badKey(why string) error { return fmt.Errorf("%w: %s", ErrKey, why) }

// ParseKey reads b, one COSE_Key and nothing else. The key owns its bytes.
//
// It is strict: lengths are exact, points lie on their curve, a private key
// belongs to its public key, and a parameter of the key's type that is not known
// is refused, for it would be a part of the key. Labels outside of the key's type
// that are not known are ignored. A point that was compressed is not afterwards; a
// public key that was left out beside a private one is worked out.
//
// An error is [ErrKey], or a [cbor.SyntaxError].
func ParseKey(b []byte) (Key, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return Key{}, err
	}
	return ReadKey(&r)
}

// ReadKey is [ParseKey] of the next item.
func ReadKey(r *cbor.Reader) (Key, error) {
	var (
		k          Key
		compressed bool // y is a sign
		odd        bool
	)
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		if kind := r.Next(); kind != cbor.Uint && kind != cbor.NegInt {
			if kind != cbor.Text {
				return Key{}, badKey("label that is neither number nor text")
			}
			r.Raw()
			r.Raw()
			continue
		}
		switch label := r.Int(); {
		case label == keyKty:
			if r.Next() == cbor.Text {
				return Key{}, badKey("type not known")
			}
			k.Type = KeyType(readInt32(r))
		case label == keyKid:
			k.ID = clone(r.Bytes())
		case label == keyAlg:
			if r.Next() == cbor.Text {
				return Key{}, badKey("algorithm not known")
			}
			if k.Alg = Algorithm(readInt32(r)); k.Alg == 0 {
				return Key{}, badKey("algorithm not known")
			}
		case label == keyOps:
			ops := r.Array()
			if ops == 0 {
				return Key{}, badKey("no key_ops") // RFC 9052 section 7: one or more
			}
			for ; ops > 0 && r.Err() == nil; ops-- {
				op := r.Int()
				if op < 1 || op > 10 || k.Ops&(1<<op) != 0 {
					return Key{}, badKey("key_ops not known or said twice")
				}
				k.Ops |= 1 << op
			}
		case label == keyBaseIV:
			k.BaseIV = clone(r.Bytes())
		case label >= 0:
			r.Raw()
		case label == keyCrv && k.Type == Symmetric: // kty comes first: its label is the lowest
			k.K = clone(r.Bytes())
		case label == keyCrv && (k.Type == OKP || k.Type == EC2):
			if r.Next() == cbor.Text {
				return Key{}, badKey("curve not known")
			}
			k.Curve = Curve(readInt32(r))
		case label == keyX && k.Type != Symmetric:
			k.X = clone(r.Bytes())
		case label == keyY && k.Type == EC2:
			if r.Next() == cbor.Simple {
				compressed, odd = true, r.Bool()
			} else {
				k.Y = clone(r.Bytes())
			}
		case label == keyD && k.Type != Symmetric:
			k.D = clone(r.Bytes())
		default:
			return Key{}, badKey("parameter not known")
		}
	}
	if err := r.Err(); err != nil {
		return Key{}, err
	}
	if compressed {
		if len(k.X) != k.Curve.size() || k.Curve.elliptic() == nil {
			return Key{}, badKey("x of the wrong length")
		}
		if k.Y = decompress(k.Curve, k.X, odd); k.Y == nil {
			return Key{}, badKey("point not on the curve")
		}
	}
	if k.D != nil && k.X == nil && k.Y == nil {
		if err := k.derive(); err != nil {
			return Key{}, err
		}
	}
	if err := k.check(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// readInt32 reads an integer of 32 bits; all that the registries have are
// shorter.
func readInt32(r *cbor.Reader) int32 {
	n := r.Int()
	if n != int64(int32(n)) {
		r.Fail(cbor.ErrRange)
	}
	return int32(n)
}

// clone copies bytes, and keeps what is there but empty apart from what is not.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// check reports what is wrong with a key.
func (k *Key) check() error {
	if err := k.checkPublic(); err != nil || k.D == nil {
		return err
	}
	pair := Key{Type: k.Type, Curve: k.Curve, D: k.D}
	if err := pair.derive(); err != nil {
		return err
	}
	if !bytes.Equal(pair.X, k.X) || !bytes.Equal(pair.Y, k.Y) {
		return badKey("private key of another public key")
	}
	return nil
}

// checkPublic is check but for what D is. That is not cheap.
func (k *Key) checkPublic() error {
	switch k.Type {
	case Symmetric:
		if len(k.K) == 0 {
			return badKey("no k")
		}
		if k.Curve != 0 || k.X != nil || k.Y != nil || k.D != nil {
			return badKey("symmetric and a curve")
		}
		return nil
	case OKP, EC2:
	default:
		return badKey("type not known")
	}
	switch n := k.Curve.size(); {
	case n == 0:
		return badKey("curve not known")
	case k.Curve.keyType() != k.Type:
		return badKey("curve of another key type")
	case len(k.X) != n:
		return badKey("x of the wrong length")
	case k.Type == EC2 && len(k.Y) != n:
		return badKey("y of the wrong length")
	case k.Type == OKP && k.Y != nil:
		return badKey("y where the curve has none")
	case k.D != nil && len(k.D) != n:
		return badKey("d of the wrong length")
	case k.K != nil:
		return badKey("k beside a curve")
	}
	if k.Type == EC2 {
		if _, err := k.Curve.ecdh().NewPublicKey(k.point()); err != nil {
			return badKey("point not on the curve")
		}
	}
	if k.Curve == CurveEd25519 && smallOrder([32]byte(k.X)) {
		return badKey("point of small order")
	}
	return nil
}

// smallOrder reports whether x is a point of Ed25519 of order 1, 2, 4 or 8. There
// are signatures that fit any message and such a key. One of X25519 needs no such
// look: crypto/ecdh refuses what it leads to.
func smallOrder(x [32]byte) bool {
	x[31] &= 0x7f // the sign of the other coordinate
	switch hex.EncodeToString(x[:]) {
	case "0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p - 1
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, which is 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": // p + 1
		return true
	}
	return false
}

// derive works out X and Y of D.
func (k *Key) derive() error {
	if n := k.Curve.size(); n == 0 || len(k.D) != n {
		return badKey("d of the wrong length")
	}
	if k.Curve == CurveEd25519 {
		k.X = ed25519.NewKeyFromSeed(k.D)[32:]
		return nil
	}
	private, err := k.Curve.ecdh().NewPrivateKey(k.D)
	if err != nil {
		return badKey("d out of range")
	}
	k.setPublic(private.PublicKey())
	return nil
}

// setPublic sets X and Y. The key is on the curve.
func (k *Key) setPublic(public *ecdh.PublicKey) {
	b := public.Bytes()
	if k.Type == OKP {
		k.X = b
		return
	}
	n := k.Curve.size()
	k.X, k.Y = b[1:1+n:1+n], b[1+n:]
}

// point is the uncompressed form of SEC 1 section 2.3.3.
func (k *Key) point() []byte {
	b := make([]byte, 0, 1+2*66)
	return append(append(append(b, 4), k.X...), k.Y...)
}

// decompress works out y (SEC 1 section 2.3.4). It is nil where x is not a
// coordinate of a point of the curve, or is not less than p. x has the length of
// the field.
func decompress(c Curve, x []byte, odd bool) []byte {
	b := append(make([]byte, 0, 1+66), 2)
	if odd {
		b[0] = 3
	}
	px, py := elliptic.UnmarshalCompressed(c.elliptic(), append(b, x...))
	if px == nil {
		return nil
	}
	return py.FillBytes(make([]byte, len(x)))
}

// P256PointFromX returns a point of P-256 whose coordinate is x. There are two,
// and for Diffie-Hellman, of which only x is used, either will do. It is [ErrKey]
// when x is not 32 bytes, not less than p, or of no point.
func P256PointFromX(x []byte) (*ecdh.PublicKey, error) { return pointFromX(P256, x) }

// P384PointFromX is [P256PointFromX] of P-384, whose coordinates have 48 bytes.
func P384PointFromX(x []byte) (*ecdh.PublicKey, error) { return pointFromX(P384, x) }

func pointFromX(c Curve, x []byte) (*ecdh.PublicKey, error) {
	if len(x) != c.size() {
		return nil, badKey("x of the wrong length")
	}
	y := decompress(c, x, false)
	if y == nil {
		return nil, badKey("point not on the curve")
	}
	k := Key{X: x, Y: y}
	return c.ecdh().NewPublicKey(k.point())
}

// GenerateKey makes a key pair on a curve of random's bytes alone. It is for
// Diffie-Hellman on X25519, for signatures on Ed25519, for either on the others.
func GenerateKey(c Curve, random io.Reader) (Key, error) {
	k := Key{Type: c.keyType(), Curve: c, D: make([]byte, c.size())}
	if k.Type == 0 {
		return Key{}, badKey("curve not known")
	}
	for range 64 { // a scalar of P-256 is too large once in 2^32 times
		if _, err := io.ReadFull(random, k.D); err != nil {
			return Key{}, err
		}
		if c == P521 {
			k.D[0] &= 1
		}
		if k.derive() == nil {
			return k, nil
		}
	}
	return Key{}, badKey("randomness that is not random")
}

// NewECDHKey returns the COSE_Key of a public key of crypto/ecdh.
func NewECDHKey(public *ecdh.PublicKey) (Key, error) {
	for _, c := range []Curve{X25519, P256, P384, P521} {
		if c.ecdh() == public.Curve() {
			k := Key{Type: c.keyType(), Curve: c}
			k.setPublic(public)
			return k, nil
		}
	}
	return Key{}, badKey("curve not known")
}

// allow is [ErrKey] unless the key may be used for one of ops.
func (k *Key) allow(ops KeyOps) error {
	if k.Ops != 0 && k.Ops&ops == 0 {
		return badKey("key_ops do not allow this use")
	}
	return nil
}

// PublicECDH returns the public key for Diffie-Hellman. It is [ErrKey] when the
// key is not for that.
func (k *Key) PublicECDH() (*ecdh.PublicKey, error) {
	c := k.Curve.ecdh()
	if c == nil || k.Alg.info().mode != none {
		return nil, badKey("not for Diffie-Hellman")
	}
	if err := k.allow(OpDeriveKey | OpDeriveBits); err != nil {
		return nil, err
	}
	if err := k.checkPublic(); err != nil {
		return nil, err
	}
	b := k.X
	if k.Type == EC2 {
		b = k.point()
	}
	return c.NewPublicKey(b)
}

// PrivateECDH returns the private key for Diffie-Hellman. It is [ErrKey] when the
// key has none, or is not for that.
func (k *Key) PrivateECDH() (*ecdh.PrivateKey, error) {
	if _, err := k.PublicECDH(); err != nil {
		return nil, err
	}
	if k.D == nil {
		return nil, badKey("no private key")
	}
	private, err := k.Curve.ecdh().NewPrivateKey(k.D)
	if err != nil {
		return nil, badKey("d out of range")
	}
	return private, nil
}

// Public returns the key without its secret. Of a Symmetric key nothing is left.
func (k *Key) Public() Key {
	if k.Type == Symmetric {
		return Key{}
	}
	p := *k
	p.D, p.Ops, p.BaseIV = nil, 0, nil
	if k.Ops&(OpSign|OpVerify) != 0 {
		p.Ops = OpVerify
	}
	return p
}

// AppendPublic appends the public key. Of a Symmetric key it appends nothing.
func (k *Key) AppendPublic(dst []byte) []byte {
	if k.Type == Symmetric {
		return dst
	}
	p := k.Public()
	return p.AppendSecret(dst)
}

// AppendSecret appends the key, with D and K where it has them.
func (k *Key) AppendSecret(dst []byte) []byte {
	n := 1 // kty
	for _, there := range [...]bool{
		k.ID != nil, k.Alg != 0, k.Ops != 0, k.BaseIV != nil,
		k.Curve != 0 || k.K != nil, k.X != nil, k.Y != nil, k.D != nil,
	} {
		if there {
			n++
		}
	}
	dst = cbor.AppendMap(dst, n)
	dst = cbor.AppendInt(cbor.AppendInt(dst, keyKty), int64(k.Type))
	dst = appendLabel(dst, keyKid, k.ID)
	if k.Alg != 0 {
		dst = cbor.AppendInt(cbor.AppendInt(dst, keyAlg), int64(k.Alg))
	}
	if k.Ops != 0 {
		dst = cbor.AppendInt(dst, keyOps)
		at := len(dst)
		dst = append(dst, 0)
		ops := 0
		for op := range int64(11) {
			if k.Ops&(1<<op) != 0 {
				dst = cbor.AppendInt(dst, op)
				ops++
			}
		}
		dst[at] = cbor.AppendArray(nil, ops)[0] // ten at most: one byte
	}
	dst = appendLabel(dst, keyBaseIV, k.BaseIV)
	if k.Type == Symmetric {
		return appendLabel(dst, keyCrv, k.K)
	}
	if k.Curve != 0 {
		dst = cbor.AppendInt(cbor.AppendInt(dst, keyCrv), int64(k.Curve))
	}
	dst = appendLabel(dst, keyX, k.X)
	dst = appendLabel(dst, keyY, k.Y)
	return appendLabel(dst, keyD, k.D)
}

func appendLabel(dst []byte, label int64, b []byte) []byte {
	if b == nil {
		return dst
	}
	return cbor.AppendBytes(cbor.AppendInt(dst, label), b)
}

// Thumbprint is the SHA-256 thumbprint of the key (RFC 9679): of what makes the
// key, and of nothing else that is written in it. That of a Symmetric key lets
// others try guesses of it, if it can be guessed.
func (k *Key) Thumbprint() [32]byte {
	bare := Key{Type: k.Type, Curve: k.Curve, X: k.X, Y: k.Y, K: k.K}
	return sha256.Sum256(bare.AppendSecret(nil))
}

// Equal reports whether two keys have the same public part, or the same secret
// if they are symmetric. It takes the same time wherever they differ.
func (k *Key) Equal(other *Key) bool {
	return k.Type == other.Type && k.Curve == other.Curve &&
		subtle.ConstantTimeCompare(k.X, other.X)&
			subtle.ConstantTimeCompare(k.Y, other.Y)&
			subtle.ConstantTimeCompare(k.K, other.K) == 1
}

// String tells what sort of key it is, and its id.
func (k Key) String() string {
	what := "key of unknown type"
	switch {
	case k.Type == Symmetric:
		what = "symmetric key"
	case k.D != nil:
		what = "private key on " + k.Curve.String()
	case k.Type != 0:
		what = "public key on " + k.Curve.String()
	}
	if k.ID != nil {
		what += fmt.Sprintf(" with kid %x", k.ID)
	}
	return what
}

// Format writes [Key.String] whatever the verb, so that no key is printed.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is [Key.String].
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
