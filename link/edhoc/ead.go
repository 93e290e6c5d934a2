// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package edhoc

import (
	"errors"

	"github.com/myelin-health/myelin/internal/cbor"
)

const (
	// MaxEAD is how many items of external authorization data a message may have,
	// padding included.
	MaxEAD = 8

	// MaxEADValue is how many bytes the value of one may have: a token with a
	// key in it has three hundred.
	MaxEADValue = 1024

	labelPadding = 0
)

// An EAD is one item of external authorization data (RFC 9528 section 3.8): of
// another protocol that travels along.
type EAD struct {
	Label    uint16
	Critical bool   // whoever does not understand it has to end the handshake
	Value    []byte // nil for an item without one
}

var (
	errManyEAD = errors.New("too many EAD items")
	errLongEAD = errors.New("EAD value too long")
	errPadding = errors.New("padding is never critical")
)

// Padding returns an item that makes a message n bytes longer (RFC 9528 section
// 3.8.1). The receiver takes no notice. It makes no bytes up: pad is the first of
// random bytes, n of them at least. Some lengths are not to be had with one item
// (26 and 259 are the first); it then returns one that is a byte longer.
func Padding(n int, pad []byte) EAD {
	switch {
	case n <= 1:
		return EAD{}
	case n <= 25: // 0x00, a head of one byte
		n -= 2
	case n <= 258: // a head of two
		n = max(n-3, 24)
	default:
		n = max(n-4, 256)
	}
	return EAD{Value: pad[:min(n, len(pad)):min(n, len(pad))]}
}

// appendEAD writes items; none gives no bytes.
func appendEAD(dst []byte, items []EAD) ([]byte, error) {
	if len(items) > MaxEAD {
		return nil, errManyEAD
	}
	for _, e := range items {
		label := int64(e.Label)
		switch {
		case e.Critical && e.Label == labelPadding:
			return nil, errPadding
		case len(e.Value) > MaxEADValue:
			return nil, errLongEAD
		case e.Critical:
			label = -label
		}
		dst = cbor.AppendInt(dst, label)
		if e.Value != nil {
			dst = cbor.AppendBytes(dst, e.Value)
		}
	}
	return dst, nil
}

// readEAD reads the items that are left. The values alias the message. Padding is
// left out.
func readEAD(r *cbor.Reader, into []EAD) []EAD {
	for n := 0; r.Err() == nil && r.Next() != cbor.None; n++ {
		if n == MaxEAD {
			r.Fail(errManyEAD)
			break
		}
		label := r.Int()
		e := EAD{Critical: label < 0}
		if e.Critical {
			label = -label
		}
		if label > 65535 { // RFC 9528 section 10.5
			r.Fail(cbor.ErrRange)
		}
		e.Label = uint16(label)
		if r.Next() == cbor.Bytes {
			e.Value = r.Bytes()
			if len(e.Value) > MaxEADValue {
				r.Fail(errLongEAD)
			}
		}
		if e.Label != labelPadding {
			into = append(into, e)
		}
	}
	return into
}
