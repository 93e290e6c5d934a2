// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cose

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-health/myelin/internal/cbor"
)

var (
	// ErrHeader is returned for header parameters that RFC 9052 section 3, or the
	// document that has the parameter, does not allow.
	ErrHeader = errors.New("cose: header parameter not allowed")

	// ErrCritical is returned when crit lists what is not understood.
	ErrCritical = errors.New("cose: critical header parameter not understood")
)

// Headers are the parameters of one of the two buckets of a message. In a parsed
// message they alias its bytes.
type Headers struct {
	Alg         Algorithm
	Crit        []int64 // labels in this bucket that must be understood; protected only
	ContentType string  // a media type, or the digits of a CoAP Content-Format
	KID         []byte  // nil is none
	IV          []byte  // nil is none
	PartialIV   []byte  // nil is none

	KCWT []byte // a CWT with the key (RFC 9528 section 3.5.3.1), encoded; nil is none
	KCCS []byte // a claims set with the key, encoded; nil is none

	X5Chain [][]byte // certificates, the key's first (RFC 9360)
	X5T     *X5T     // thumbprint of the certificate; nil is none
	X5U     string   // where the certificate is

	Other []Param // what is none of the above
}

// A Param is a header parameter that this package knows nothing of. Both are the
// encoding of one item, of which the label is a number or a text.
type Param struct{ Label, Value []byte }

// An X5T is the thumbprint of a certificate (RFC 9360 section 2).
type X5T struct {
	Alg  Algorithm // a digest: [SHA256], [SHA256_64], [SHA384] or [SHA512]
	Hash []byte
}

// NewX5T returns the thumbprint of a certificate in DER.
func NewX5T(a Algorithm, certificate []byte) (*X5T, error) {
	i := a.info()
	if i.mode != digest {
		return nil, ErrAlgorithm
	}
	h := a.newHash()
	h.Write(certificate)
	return &X5T{a, h.Sum(nil)[:i.tag]}, nil
}

// Match reports whether x is the thumbprint of a certificate in DER. One by a
// digest that is not known matches none.
func (x *X5T) Match(certificate []byte) bool {
	want, err := NewX5T(x.Alg, certificate)
	return err == nil && subtle.ConstantTimeCompare(x.Hash, want.Hash) == 1
}

// Labels of RFC 9052 table 3, RFC 9528 section 9.6 and RFC 9360 table 1.
const (
	labelAlg         = 1
	labelCrit        = 2
	labelContentType = 3
	labelKID         = 4
	labelIV          = 5
	labelPartialIV   = 6
	labelKCWT        = 13
	labelKCCS        = 14
	labelX5Chain     = 33
	labelX5T         = 34
	labelX5U         = 35

	tagURI = 32
)

// maxParams is how many parameters a bucket, labels crit and certificates a chain
// may have. Buckets are compared label by label.
const maxParams = 32

func badHeader(why string) error { return fmt.Errorf("%w: %s", ErrHeader, why) }

// Get returns the encoded value of a parameter among Other, or nil.
func (h *Headers) Get(label int64) []byte {
	want := cbor.AppendInt(make([]byte, 0, 9), label)
	for _, p := range h.Other {
		if bytes.Equal(p.Label, want) {
			return p.Value
		}
	}
	return nil
}

// ParseHeaders reads b, one map of header parameters and nothing else. It aliases
// b. An error is [ErrHeader], [ErrAlgorithm] or a [cbor.SyntaxError]. What crit
// says is not looked at: a message's own Parse function does.
func ParseHeaders(b []byte) (Headers, error) {
	r, err := cbor.Parse(b)
	if err != nil {
		return Headers{}, err
	}
	return readHeaders(&r)
}

func readHeaders(r *cbor.Reader) (h Headers, err error) {
	n := r.Map()
	if n > maxParams {
		return Headers{}, badHeader("too many parameters")
	}
	for ; n > 0 && r.Err() == nil; n-- {
		if k := r.Next(); k != cbor.Uint && k != cbor.NegInt && k != cbor.Text {
			return Headers{}, badHeader("label that is neither number nor text")
		}
		at := *r
		raw := r.Raw()
		label := int64(math.MinInt64) // of a text, or of what int64 has no room for
		if at.Next() != cbor.Text {
			if n := at.Int(); at.Err() == nil {
				label = n
			}
		}
		if err := h.read(r, label, raw); err != nil {
			return Headers{}, err
		}
	}
	return h, r.Err()
}

// read reads the value of one label, which is written as raw.
func (h *Headers) read(r *cbor.Reader, label int64, raw []byte) error {
	switch label {
	case labelAlg:
		if r.Next() == cbor.Text {
			return ErrAlgorithm
		}
		if h.Alg = Algorithm(readInt32(r)); h.Alg == 0 && r.Err() == nil {
			return ErrAlgorithm
		}
	case labelCrit:
		n := r.Array()
		if (n == 0 || n > maxParams) && r.Err() == nil {
			return badHeader("crit is empty or too long")
		}
		for ; n > 0 && r.Err() == nil; n-- {
			if r.Next() == cbor.Text {
				return ErrCritical // we know of no label that is a text
			}
			h.Crit = append(h.Crit, r.Int())
		}
	case labelContentType:
		if r.Next() == cbor.Text {
			if h.ContentType = r.Text(); !mediaType(h.ContentType) {
				return badHeader("content type that is no media type")
			}
			break
		}
		n := r.Uint()
		if n > math.MaxUint16 {
			return badHeader("content type that is no Content-Format")
		}
		h.ContentType = strconv.FormatUint(n, 10)
	case labelKID:
		h.KID = r.Bytes()
	case labelIV:
		h.IV = r.Bytes()
	case labelPartialIV:
		h.PartialIV = r.Bytes()
	case labelKCWT:
		if k := r.Next(); k != cbor.Array && k != cbor.Tag {
			return badHeader("kcwt that is no message")
		}
		h.KCWT = r.Raw()
	case labelKCCS:
		if r.Next() != cbor.Map {
			return badHeader("kccs that is no claims set")
		}
		h.KCCS = r.Raw()
	case labelX5Chain:
		n := 1
		if r.Next() == cbor.Array {
			if n = r.Array(); n < 2 || n > maxParams { // RFC 9360 section 2: one stands alone
				return badHeader("x5chain of one certificate in an array, or of too many")
			}
		}
		for ; n > 0 && r.Err() == nil; n-- {
			h.X5Chain = append(h.X5Chain, r.Bytes())
		}
		if slices.ContainsFunc(h.X5Chain, func(b []byte) bool { return len(b) == 0 }) {
			return badHeader("certificate without bytes")
		}
	case labelX5T:
		if r.Array() != 2 || r.Next() == cbor.Text {
			return badHeader("x5t that is not a known digest and its value")
		}
		if h.X5T = (&X5T{Algorithm(readInt32(r)), r.Bytes()}); len(h.X5T.Hash) == 0 {
			return badHeader("x5t that is not a known digest and its value")
		}
	case labelX5U:
		if r.Tag() != tagURI {
			return badHeader("x5u that is no URI")
		}
		if h.X5U = r.Text(); h.X5U == "" {
			return badHeader("x5u that is no URI")
		}
	default:
		h.Other = append(h.Other, Param{raw, r.Raw()})
	}
	return r.Err()
}

// mediaType reports whether s has the look that RFC 9052 section 3.1 asks of a
// content type.
func mediaType(s string) bool {
	return strings.Contains(s, "/") && strings.TrimSpace(s) == s
}

// Append appends the map of the parameters. It is [ErrHeader] where they could not
// be read back.
func (h *Headers) Append(dst []byte) ([]byte, error) {
	params := slices.Clone(h.Other)
	add := func(there bool, label int64, value func([]byte) []byte) {
		if there {
			params = append(params, Param{cbor.AppendInt(nil, label), value(nil)})
		}
	}
	str := func(b []byte) func([]byte) []byte {
		return func(dst []byte) []byte { return cbor.AppendBytes(dst, b) }
	}
	raw := func(b []byte) func([]byte) []byte { return func([]byte) []byte { return b } }
	add(h.Alg != 0, labelAlg, func(dst []byte) []byte { return cbor.AppendInt(dst, int64(h.Alg)) })
	add(h.Crit != nil, labelCrit, func(dst []byte) []byte {
		dst = cbor.AppendArray(dst, len(h.Crit))
		for _, label := range h.Crit {
			dst = cbor.AppendInt(dst, label)
		}
		return dst
	})
	add(h.ContentType != "", labelContentType, func(dst []byte) []byte {
		if n, err := strconv.ParseUint(h.ContentType, 10, 16); err == nil {
			return cbor.AppendUint(dst, n)
		}
		return cbor.AppendText(dst, h.ContentType)
	})
	add(h.KID != nil, labelKID, str(h.KID))
	add(h.IV != nil, labelIV, str(h.IV))
	add(h.PartialIV != nil, labelPartialIV, str(h.PartialIV))
	add(h.KCWT != nil, labelKCWT, raw(h.KCWT))
	add(h.KCCS != nil, labelKCCS, raw(h.KCCS))
	add(len(h.X5Chain) != 0, labelX5Chain, func(dst []byte) []byte {
		if len(h.X5Chain) > 1 {
			dst = cbor.AppendArray(dst, len(h.X5Chain))
		}
		for _, certificate := range h.X5Chain {
			dst = cbor.AppendBytes(dst, certificate)
		}
		return dst
	})
	add(h.X5T != nil, labelX5T, func(dst []byte) []byte {
		return cbor.AppendBytes(cbor.AppendInt(cbor.AppendArray(dst, 2), int64(h.X5T.Alg)), h.X5T.Hash)
	})
	add(h.X5U != "", labelX5U, func(dst []byte) []byte {
		return cbor.AppendText(cbor.AppendTag(dst, tagURI), h.X5U)
	})

	slices.SortFunc(params, func(a, b Param) int { return bytes.Compare(a.Label, b.Label) })
	at := len(dst)
	dst = cbor.AppendMap(dst, len(params))
	for _, p := range params {
		// One item each, or the map would say another thing than was meant.
		for _, b := range [...][]byte{p.Label, p.Value} {
			if _, err := cbor.Parse(b); err != nil {
				return nil, err
			}
			dst = append(dst, b...)
		}
	}
	if _, err := ParseHeaders(dst[at:]); err != nil {
		return nil, err
	}
	return dst, nil
}

// buckets reads the protected bucket, a byte string's content, and the
// unprotected one, a map, and checks what holds between them. Understood are
// labels that the caller takes care of if they are critical.
func buckets(protected, unprotected []byte, understood []int64) (p, u Headers, err error) {
	if len(protected) > 0 {
		if p, err = ParseHeaders(protected); err != nil {
			return p, u, err
		}
	} else {
		protected = []byte{0xa0} // an empty map
	}
	if u, err = ParseHeaders(unprotected); err != nil {
		return p, u, err
	}
	if u.Crit != nil {
		return p, u, badHeader("crit that is not protected")
	}
	for _, label := range p.Crit {
		switch label {
		case labelAlg, labelContentType, labelKID, labelIV, labelPartialIV,
			labelKCWT, labelKCCS, labelX5Chain, labelX5T, labelX5U:
		default:
			if !slices.Contains(understood, label) {
				return p, u, ErrCritical
			}
		}
		if !hasLabel(protected, cbor.AppendInt(make([]byte, 0, 9), label)) {
			return p, u, badHeader("crit names what is not there") // RFC 9052 section 3.1
		}
	}
	r, _ := cbor.Parse(protected)
	for n := r.Map(); n > 0; n-- {
		if hasLabel(unprotected, r.Raw()) {
			return p, u, badHeader("label in both buckets")
		}
		r.Raw()
	}
	if (p.IV != nil || u.IV != nil) && (p.PartialIV != nil || u.PartialIV != nil) {
		return p, u, badHeader("both IV and Partial IV")
	}
	return p, u, nil
}

// hasLabel reports whether a map that was checked has a label.
func hasLabel(m, label []byte) bool {
	r, _ := cbor.Parse(m)
	for n := r.Map(); n > 0; n-- {
		if bytes.Equal(r.Raw(), label) {
			return true
		}
		r.Raw()
	}
	return false
}
