// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

package cbor

import (
	"encoding/binary"
	"math"
)

func appendHead(dst []byte, k Kind, arg uint64) []byte {
	m := byte(k) << 5
	switch {
	case arg < 24:
		return append(dst, m|byte(arg))
	case arg < 1<<8:
		return append(dst, m|24, byte(arg))
	case arg < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, m|25), uint16(arg))
	case arg < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, m|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(dst, m|27), arg)
}

// AppendUint appends an unsigned integer.
func AppendUint(dst []byte, n uint64) []byte { return appendHead(dst, Uint, n) }

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) []byte {
	if n < 0 {
		return appendHead(dst, NegInt, uint64(-1-n))
	}
	return appendHead(dst, Uint, uint64(n))
}

// AppendBytes appends a byte string.
func AppendBytes(dst, b []byte) []byte {
	return append(appendHead(dst, Bytes, uint64(len(b))), b...)
}

// AppendBytesHead appends the head of a byte string; the caller appends its n
// bytes.
func AppendBytesHead(dst []byte, n int) []byte { return appendHead(dst, Bytes, uint64(n)) }

// AppendText appends a text string, which has to be UTF-8.
func AppendText(dst []byte, s string) []byte {
	return append(appendHead(dst, Text, uint64(len(s))), s...)
}

// AppendArray appends the head of an array; the caller appends its n items.
func AppendArray(dst []byte, n int) []byte { return appendHead(dst, Array, uint64(n)) }

// AppendMap appends the head of a map; the caller appends its n pairs, in the
// bytewise order of their encoded keys.
func AppendMap(dst []byte, n int) []byte { return appendHead(dst, Map, uint64(n)) }

// AppendTag appends the number of a tag; the caller appends the item it is about.
func AppendTag(dst []byte, number uint64) []byte { return appendHead(dst, Tag, number) }

// AppendBool appends false or true.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, byte(Simple)<<5|simpleTrue)
	}
	return append(dst, byte(Simple)<<5|simpleFalse)
}

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, byte(Simple)<<5|simpleNull) }

// AppendFloat appends a floating-point number in the shortest form that has its
// value.
func AppendFloat(dst []byte, f float64) []byte {
	short := float32(f)
	h, half := toHalf(short)
	switch {
	case f != f:
		return append(dst, 0xf9, 0x7e, 0x00)
	case float64(short) != f:
		return binary.BigEndian.AppendUint64(append(dst, 0xfb), math.Float64bits(f))
	case !half:
		return binary.BigEndian.AppendUint32(append(dst, 0xfa), math.Float32bits(short))
	}
	return binary.BigEndian.AppendUint16(append(dst, 0xf9), h)
}
